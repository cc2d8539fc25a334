//! A stream with its queues and its phase: all of a connection but the handler.
//!
//! Owns the rules of reading and writing: when the kernel is asked, what waits where, and who is owed `on_writable`.
//! Knows nothing of handlers, tables or timers; the time is an argument.
//!
//! 1. While the outbox is not empty the gather buffer holds nothing of this link, so that bytes keep their order.
//! 2. `Input::Dry` and `Output::Blocked` are said only after the kernel said so (A1).
//! 3. `owed` is not `Nothing` after a refused or short write, until `on_writable` was called (A12).

pub(crate) mod buffers;
pub(crate) mod inbox;
pub(crate) mod outbox;
pub(crate) mod phase;

use crate::address::Address;
use crate::clock::Tick;
use crate::config::Limits;
use crate::error::{Error, Expiry, Reason};
use crate::net::stream::{Stream, Watched};
use crate::net::{PeerCredentials, Readiness};
use buffers::{Buffers, GATHER_BYTES};
use bytes::Bytes;
use inbox::Inbox;
use outbox::Outbox;
use phase::{Facts, Phase, Signal};
use std::io::{self, IoSlice};
use std::mem::discriminant;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Writes of at least this many bytes go to the kernel at once instead of into the gather buffer.
const DIRECT_BYTES: usize = 8 * 1024;

/// What is known of the bytes that the kernel holds for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// There may be some.
    Ready,
    /// There may be some, and the event told an end, an error or urgent data: a short read proves nothing.
    Flagged,
    /// There are none; an event will tell.
    Dry,
    /// The peer's end was read.
    Ended,
}

/// What is known of the room that the kernel has for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Free,
    Blocked,
}

/// Whether the handler takes input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Flowing,
    Paused,
    /// Flowing, and paused before: the rest is shown again, also if it is being shown just now.
    Resumed,
}

/// What the handler is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    /// `on_writable`, since a write was refused or short.
    Writable,
    /// The same, and the peer is not read: the outbox was above its high mark.
    Throttled,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(usize),
    /// None now, or never: the phase tells.
    Nothing,
}

/// A connection without its handler: socket, waiting bytes and state; what [`Conn::detach`](crate::Conn::detach) yields.
///
/// It can be sent to another thread and given to another reactor with a new handler, which loses no byte in either
/// direction. Dropping it closes the socket.
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    outbox: Outbox,
    inbox: Inbox,
    limits: Arc<Limits>,
    peer: Option<SocketAddr>,
    phase: Phase,
    input: Input,
    output: Output,
    delivery: Delivery,
    owed: Owed,
    /// How many bytes must wait before they are shown.
    need: u32,
    opened: Tick,
    entered: Tick,
    active: Tick,
    timer: Tick,
    bytes_in: u64,
    bytes_out: u64,
}

/// What [`Link::into_parts`] takes apart.
pub struct Parts {
    /// The socket, non-blocking.
    pub fd: OwnedFd,
    /// Bytes that were read of it and not used.
    pub unread: Vec<u8>,
    /// Bytes that were accepted for it and not sent.
    pub unsent: Vec<u8>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unread, unsent) = (self.unread.len(), self.unsent.len());
        f.debug_struct("Parts").field("fd", &self.fd).field("unread", &unread).field("unsent", &unsent).finish()
    }
}

impl Link {
    /// Takes over a connected stream socket, TCP or Unix, for a reactor to adopt.
    ///
    /// # Errors
    /// `Error::Config` for limits that do not fit each other, `Error::Descriptor` if it is no connected stream socket.
    pub fn new(socket: impl Into<OwnedFd>, limits: Limits) -> Result<Link, Error> {
        limits.validate()?;
        let stream = Stream::adopt(socket.into())
            .map_err(|source| Error::Descriptor { action: "adopt the socket as a stream", source })?;
        let peer = stream.peer();
        Ok(Link::in_phase(stream, peer, Arc::new(limits), Phase::Open, Tick::NEVER))
    }

    /// A link in a given phase. `Tick::NEVER` for `now` means that its life begins when a reactor takes it.
    pub(crate) fn in_phase(
        stream: Stream,
        peer: Option<SocketAddr>,
        limits: Arc<Limits>,
        phase: Phase,
        now: Tick,
    ) -> Link {
        Link {
            stream,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            limits,
            peer,
            phase,
            input: Input::Dry,
            output: Output::Free,
            delivery: Delivery::Flowing,
            owed: Owed::Nothing,
            need: 0,
            opened: now,
            entered: now,
            active: now,
            timer: Tick::NEVER,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Begins life in another reactor: whatever the kernel holds is asked for anew.
    pub(crate) fn settle_in(&mut self, now: Tick) {
        if self.opened == Tick::NEVER {
            self.opened = now;
        }
        if self.phase == Phase::HalfOpen {
            // The new handler has to be told of the peer's end, too.
            self.phase = Phase::Open;
        }
        self.entered = now;
        self.active = now;
        self.timer = Tick::NEVER;
        self.delivery = Delivery::Flowing;
        self.need = 0;
        if self.input != Input::Ended {
            self.input = Input::Flagged;
        }
        self.output = Output::Free;
    }

    // --- what it is -----------------------------------------------------------------------------------------------

    /// The peer's address; a Unix peer is mostly unnamed. `None` if the system no longer knows.
    pub fn peer_address(&self) -> Option<Address> {
        self.peer.map(Address::tcp).or_else(|| self.stream.peer_address().ok())
    }

    /// The peer's IP address and port, `None` for Unix sockets. Free of system calls.
    pub fn peer_ip(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// This side's address, `None` if the system no longer knows.
    pub fn local_address(&self) -> Option<Address> {
        self.stream.local_address().ok()
    }

    /// Who is at the other end of a Unix socket; `None` for TCP and where the system does not tell (Linux does).
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.stream.peer_credentials()
    }

    /// Bytes read so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes that the kernel has taken so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Bytes of output that wait.
    pub fn unsent_bytes(&self) -> usize {
        self.outbox.len()
    }

    /// Bytes of input that were read and not used.
    pub fn unread(&self) -> &[u8] {
        self.inbox.bytes()
    }

    /// Gives the socket back, with what was read and not used, and what was accepted and not sent.
    pub fn into_parts(self) -> Parts {
        let mut unsent = Vec::with_capacity(self.outbox.len());
        let mut outbox = self.outbox;
        let mut pool = buffers::Pool::default();
        while !outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); Outbox::SLICES_MAX];
            let before = unsent.len();
            let filled = outbox.slices(&mut slices);
            slices[..filled].iter().for_each(|slice| unsent.extend_from_slice(slice));
            outbox.advance(unsent.len() - before, self.active, &mut pool);
        }
        Parts { unread: self.inbox.bytes().to_vec(), unsent, fd: self.stream.into() }
    }

    /// Its limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn set_limits(&mut self, limits: Arc<Limits>) {
        self.limits = limits;
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Shows another phase for a while; returns the true one, to be set again.
    pub(crate) fn set_phase(&mut self, phase: Phase) -> Phase {
        std::mem::replace(&mut self.phase, phase)
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Puts another socket in the place of one that did not connect.
    pub(crate) fn replace_stream(&mut self, stream: Stream) {
        self.stream = stream;
    }

    pub(crate) fn set_peer(&mut self, peer: Option<SocketAddr>) {
        self.peer = peer;
    }

    // --- phases and deadlines -------------------------------------------------------------------------------------

    /// Moves the phase.
    pub(crate) fn signal(&mut self, signal: Signal, now: Tick) {
        let next = self.phase.after(signal);
        debug_assert!(next.is_some(), "{signal:?} cannot come in {:?}", self.phase);
        let next = next.unwrap_or(Phase::Closed(Reason::Bug));
        if discriminant(&next) != discriminant(&self.phase) {
            self.entered = now;
        }
        self.phase = next;
    }

    /// The next deadline of the phase, and which it is.
    pub(crate) fn phase_deadline(&self) -> Option<(Tick, Expiry)> {
        if self.phase == Phase::Open && self.outbox.is_empty() && self.limits.is_timeless() {
            return None;
        }
        let facts =
            Facts { opened: self.opened, entered: self.entered, active: self.active, stalled: self.outbox.stalled() };
        phase::deadline(self.phase, facts, &self.limits)
    }

    /// The handler's own timer, `Tick::NEVER` if none is set.
    pub(crate) fn timer(&self) -> Tick {
        self.timer
    }

    pub(crate) fn set_timer(&mut self, due: Tick) {
        self.timer = due;
    }

    /// What the kernel should report.
    pub(crate) fn watched(&self) -> Watched {
        match self.output {
            Output::Blocked => Watched::Both,
            Output::Free => self.stream.watched_first(),
        }
    }

    // --- input ----------------------------------------------------------------------------------------------------

    /// Takes note of what the kernel said.
    pub(crate) fn note(&mut self, ready: Readiness) {
        let flagged = ready.ended || ready.error || ready.priority;
        if self.input != Input::Ended && (ready.readable || flagged) {
            let flagged = flagged || self.input == Input::Flagged;
            self.input = if flagged { Input::Flagged } else { Input::Ready };
        }
        if ready.writable || ready.error {
            self.output = Output::Free;
        }
    }

    /// A reset is told at once where nobody reads.
    pub(crate) fn check_error(&mut self, now: Tick) {
        if let Some(error) = self.stream.take_error() {
            self.signal(Signal::Failed(Reason::of(&error)), now);
        }
    }

    /// Whether a read is wanted and may bring something.
    pub(crate) fn may_read(&self) -> bool {
        if !matches!(self.input, Input::Ready | Input::Flagged) {
            return false;
        }
        if self.phase.delivers_input() {
            self.delivery != Delivery::Paused && self.owed != Owed::Throttled && self.inbox_room() > 0
        } else {
            self.phase.discards_input()
        }
    }

    /// Whether input goes to the handler now.
    pub(crate) fn may_deliver(&self) -> bool {
        self.phase.delivers_input() && self.delivery != Delivery::Paused
    }

    /// Whether the handler should see what waits in the inbox.
    pub(crate) fn may_show_rest(&self) -> bool {
        self.may_deliver() && !self.inbox.is_empty() && self.inbox.len() >= self.need as usize
    }

    /// Whether the peer's end has come to the front: all before it was shown, and the rest is not waited for.
    pub(crate) fn end_is_due(&self) -> bool {
        self.input == Input::Ended && self.may_deliver() && (self.inbox.is_empty() || self.owed == Owed::Nothing)
    }

    /// Reads once into `buffer`, which must not be empty.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], now: Tick) -> Received {
        debug_assert!(!buffer.is_empty(), "an empty read would look like the peer's end");
        match self.stream.read(buffer) {
            Ok(0) => {
                self.input = Input::Ended;
                Received::Nothing
            }
            Ok(n) => {
                self.bytes_in += n as u64;
                self.active = now;
                if n < buffer.len() && self.input == Input::Ready && SHORT_READ_IS_DRY {
                    self.input = Input::Dry;
                }
                Received::Bytes(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.input = Input::Dry;
                Received::Nothing
            }
            // Still interrupted after many tries: it stays ready, and the source says `Again`.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Received::Nothing,
            Err(error) => {
                self.input = Input::Ended;
                self.signal(Signal::Failed(Reason::of(&error)), now);
                Received::Nothing
            }
        }
    }

    pub(crate) fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Bytes that the inbox can still take.
    pub(crate) fn inbox_room(&self) -> usize {
        self.limits.inbox_bytes_max.saturating_sub(self.inbox.len())
    }

    /// Whether the inbox is full and the handler waits for more all the same.
    pub(crate) fn is_stuck(&self) -> bool {
        self.inbox_room() == 0 && self.may_deliver() && self.owed == Owed::Nothing && !self.may_show_rest()
    }

    /// Forgets what the handler asked for before.
    pub(crate) fn about_to_show(&mut self) {
        self.need = 0;
        self.delivery = Delivery::Flowing;
    }

    /// The handler left `rest` bytes: without more there is nothing new to show, unless it asked for just that.
    pub(crate) fn shown(&mut self, rest: usize) {
        match self.delivery {
            Delivery::Resumed => self.delivery = Delivery::Flowing,
            Delivery::Flowing | Delivery::Paused => self.set_need((self.need as usize).max(rest + 1)),
        }
    }

    pub(crate) fn need(&self) -> usize {
        self.need as usize
    }

    pub(crate) fn set_need(&mut self, bytes: usize) {
        self.need = u32::try_from(bytes).unwrap_or(u32::MAX);
    }

    pub(crate) fn pause(&mut self) {
        self.delivery = Delivery::Paused;
    }

    /// Lets input flow; the rest is shown even without new bytes.
    pub(crate) fn resume(&mut self) {
        if self.delivery == Delivery::Paused {
            self.delivery = Delivery::Resumed;
        }
        self.need = 0;
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.delivery == Delivery::Paused
    }

    // --- output ---------------------------------------------------------------------------------------------------

    /// How many bytes a write would take, `gathered` of this link's being in the gather buffer.
    pub(crate) fn room(&self, gathered: usize) -> usize {
        if self.phase.takes_output() {
            self.limits.outbox_bytes_max.saturating_sub(self.outbox.len() + gathered)
        } else {
            0
        }
    }

    /// Refuses `asked` bytes if they do not fit whole.
    fn check_room(&mut self, asked: usize, gathered: usize) -> Result<(), Error> {
        if !self.phase.takes_output() {
            return Err(Error::NotOpen);
        }
        let room = self.room(gathered);
        if asked <= room {
            return Ok(());
        }
        if asked > self.limits.outbox_bytes_max {
            return Err(Error::TooLong { asked, limit: self.limits.outbox_bytes_max });
        }
        self.owe(Owed::Writable);
        Err(Error::Full { asked, room })
    }

    fn owe(&mut self, owed: Owed) {
        if self.owed != Owed::Throttled {
            self.owed = owed;
        }
    }

    /// Takes all of `slices` or nothing.
    pub(crate) fn write(&mut self, slices: &[&[u8]], buffers: &mut Buffers, now: Tick) -> Result<(), Error> {
        let asked = slices.iter().map(|slice| slice.len()).sum();
        self.check_room(asked, buffers.gather.len())?;
        slices.iter().for_each(|slice| self.accept(slice, buffers, now));
        Ok(())
    }

    /// Takes what fits of `bytes` and says how much.
    pub(crate) fn write_some(&mut self, bytes: &[u8], buffers: &mut Buffers, now: Tick) -> usize {
        let room = self.room(buffers.gather.len());
        if bytes.len() > room {
            if !self.phase.takes_output() {
                return 0;
            }
            self.owe(Owed::Writable);
        }
        let taken = bytes.len().min(room);
        self.accept(&bytes[..taken], buffers, now);
        taken
    }

    /// Takes all of `bytes`, without a copy if they must wait, or nothing.
    pub(crate) fn write_bytes(&mut self, bytes: Bytes, buffers: &mut Buffers, now: Tick) -> Result<(), Error> {
        self.check_room(bytes.len(), buffers.gather.len())?;
        if self.outbox.is_empty() && bytes.len() < DIRECT_BYTES {
            self.accept(&bytes, buffers, now);
            return Ok(());
        }
        let taken = if self.outbox.is_empty() { self.transmit(&bytes, buffers, now) } else { 0 };
        self.outbox.push_shared(bytes.slice(taken..), now, &mut buffers.pool);
        self.throttle();
        Ok(())
    }

    /// Takes bytes that have room: gathers few, sends many, queues behind what waits.
    fn accept(&mut self, bytes: &[u8], buffers: &mut Buffers, now: Tick) {
        if self.outbox.is_empty() {
            if bytes.len() < DIRECT_BYTES && buffers.gather.len() + bytes.len() <= GATHER_BYTES {
                buffers.gather.extend_from_slice(bytes);
                return;
            }
            let taken = self.transmit(bytes, buffers, now);
            self.outbox.push(&bytes[taken..], now, &mut buffers.pool);
        } else {
            self.outbox.push(bytes, now, &mut buffers.pool);
        }
        self.throttle();
    }

    /// Above the high mark the peer is not read.
    fn throttle(&mut self) {
        if self.outbox.len() > self.limits.outbox_bytes_high {
            self.owed = Owed::Throttled;
        }
    }

    /// Offers the gather buffer and then `bytes` to the kernel until it blocks; what it leaves of the gather buffer is
    /// queued. Returns how many of `bytes` it took, all of them if the link broke.
    fn transmit(&mut self, bytes: &[u8], buffers: &mut Buffers, now: Tick) -> usize {
        debug_assert!(self.outbox.is_empty(), "link 1: bytes would overtake those that wait");
        let gathered = buffers.gather.len();
        let mut sent = 0;
        while sent < gathered + bytes.len() {
            let result = match (buffers.gather.get(sent..).unwrap_or(&[]), &bytes[sent.saturating_sub(gathered)..]) {
                ([], rest) => self.stream.write(rest),
                (rest, []) => self.stream.write(rest),
                (first, second) => self.stream.write_slices(&[IoSlice::new(first), IoSlice::new(second)]),
            };
            match self.took(result, now) {
                Some(0) => break,
                Some(taken) => sent += taken,
                None => {
                    buffers.gather.clear();
                    return bytes.len();
                }
            }
        }
        if sent < gathered {
            self.outbox.push(&buffers.gather[sent..], now, &mut buffers.pool);
        }
        buffers.gather.clear();
        sent.saturating_sub(gathered)
    }

    /// What a write's result means: bytes that were taken, 0 if it would block, `None` if the link broke.
    fn took(&mut self, result: io::Result<usize>, now: Tick) -> Option<usize> {
        match result {
            Ok(taken) if taken > 0 => {
                self.bytes_out += taken as u64;
                self.active = now;
                Some(taken)
            }
            Ok(_) => {
                self.output = Output::Blocked;
                Some(0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.output = Output::Blocked;
                Some(0)
            }
            // Still interrupted after many tries: it stays free, and the source says `Again`.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            Err(error) => {
                self.signal(Signal::Failed(Reason::of(&error)), now);
                None
            }
        }
    }

    /// Whether output waits that the kernel may take.
    pub(crate) fn may_flush(&self) -> bool {
        self.output == Output::Free && !self.outbox.is_empty() && !matches!(self.phase, Phase::Closed(_))
    }

    /// Offers the kernel what waits, until it blocks or nothing is left; at most `outbox_bytes_max` bytes.
    pub(crate) fn flush(&mut self, buffers: &mut Buffers, now: Tick) {
        while self.may_flush() {
            let mut slices = [IoSlice::new(&[]); Outbox::SLICES_MAX];
            let filled = self.outbox.slices(&mut slices);
            let result = match &slices[..filled] {
                [only] => self.stream.write(only),
                several => self.stream.write_slices(several),
            };
            match self.took(result, now) {
                Some(taken) if taken > 0 => self.outbox.advance(taken, now, &mut buffers.pool),
                _ => break,
            }
        }
    }

    /// Whether `on_writable` is due: it is owed, and the outbox is at its low mark.
    ///
    /// Asked only after a flush or while nothing waits, so that a write that is refused again and again cannot spin.
    pub(crate) fn writable_is_due(&self) -> bool {
        self.owed != Owed::Nothing && self.phase.is_lively() && self.outbox.len() <= self.limits.outbox_bytes_low
    }

    /// The debt is paid: `on_writable` is about to be called. A rest that waits for nothing else is shown after it.
    pub(crate) fn pay(&mut self) {
        self.owed = Owed::Nothing;
        if self.need as usize <= self.inbox.len() + 1 {
            self.need = 0;
        }
    }

    // --- the end of a drive ---------------------------------------------------------------------------------------

    /// Sends what was gathered for this link; drops it if the link is over.
    pub(crate) fn send_gathered(&mut self, buffers: &mut Buffers, now: Tick) {
        if let Phase::Closed(_) = self.phase {
            buffers.gather.clear();
        }
        if buffers.gather.is_empty() {
            return;
        }
        // Nearly always the kernel takes it whole.
        match self.stream.write(&buffers.gather) {
            Ok(sent) if sent == buffers.gather.len() => {
                self.bytes_out += sent as u64;
                self.active = now;
                buffers.gather.clear();
            }
            Ok(sent) if sent > 0 => {
                self.bytes_out += sent as u64;
                self.active = now;
                buffers.gather.drain(..sent);
                self.transmit(&[], buffers, now);
                self.throttle();
            }
            result => {
                if self.took(result, now).is_some() {
                    self.outbox.push(&buffers.gather, now, &mut buffers.pool);
                    self.throttle();
                }
                buffers.gather.clear();
            }
        }
    }

    /// Whether output waits, or `on_writable` is owed.
    pub(crate) fn has_output_business(&self) -> bool {
        !self.outbox.is_empty() || self.owed != Owed::Nothing
    }

    /// Whether something follows from what was done to the link outside its own drive.
    pub(crate) fn needs_drive(&self) -> bool {
        !self.outbox.is_empty() || self.owed != Owed::Nothing || matches!(self.phase, Phase::Closed(_))
    }

    /// Says what the phase has to say once nothing waits.
    pub(crate) fn settle(&mut self, buffers: &mut Buffers, now: Tick) {
        if self.phase == Phase::Open {
            return;
        }
        if self.phase.discards_input() {
            self.inbox.clear(&mut buffers.pool);
        }
        if matches!(self.phase, Phase::Finishing | Phase::Flushing(_)) && self.outbox.is_empty() {
            // With the peer's end read, closing the socket says FIN and cannot reset.
            let over = matches!(self.phase, Phase::Flushing(_)) && self.input == Input::Ended;
            match if over { Ok(()) } else { self.stream.end() } {
                Ok(()) => self.signal(Signal::Flushed, now),
                Err(_) => self.signal(Signal::Failed(Reason::Reset), now),
            }
        }
        if matches!(self.phase, Phase::Lingering(_)) && self.input == Input::Ended {
            self.signal(Signal::PeerEnded, now);
        }
    }

    /// Whether there is work that no event will announce.
    pub(crate) fn wants_again(&self) -> bool {
        if self.input == Input::Dry && self.inbox.is_empty() && !self.has_output_business() {
            return false;
        }
        self.may_read()
            || self.may_flush()
            || self.may_show_rest()
            || self.end_is_due()
            || (self.owed != Owed::Nothing && self.outbox.is_empty() && self.phase.is_lively())
    }

    /// Drops what waits, and says how many bytes were never sent.
    pub(crate) fn discard(&mut self, buffers: &mut Buffers) -> usize {
        self.inbox.clear(&mut buffers.pool);
        self.outbox.clear(&mut buffers.pool)
    }
}

/// Whether a read shorter than its buffer means that the kernel has no more: on epoll and kqueue it does (A1).
const SHORT_READ_IS_DRY: bool = cfg!(unix);

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
