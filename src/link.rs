//! A stream with its queues and its phase: all of a connection but the handler.
//!
//! Owns the rules of reading and writing: when the kernel is asked, what waits where, and who is owed `on_writable`.
//! Knows nothing of handlers, tables or timers; the time is an argument.
//!
//! 1. Gathered bytes are younger than all that is queued: whatever queues or sends takes the gather buffer first.
//! 2. `Input::Dry` and `Output::Blocked` are said only after the kernel said so (A1).
//! 3. `owed` is not `Nothing` after a refused or short write, until `on_writable` was called (A12).

pub(crate) mod buffers;
mod cold;
mod files;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod input;
pub(crate) mod outbox;
mod output;
mod peer;
pub(crate) mod phase;
pub(crate) mod quota;
mod records;
mod relay;
mod rest;
#[cfg_attr(not(feature = "tls"), path = "link/session/none.rs")]
pub(crate) mod session;
mod stamp;
mod takeover;

use crate::address::Address;
use crate::clock::{Coarse, Fine, Tick};
use crate::config::Limits;
use crate::counters::ConnStats;
use crate::error::{Error, Expiry, Reason};
use crate::net::PeerCredentials;
use crate::net::stream::{Progress, Stream, Watched};
use crate::seldom::Seldom;
use buffers::{Buffers, Pool};
use cold::Cold;
use outbox::Outbox;
use peer::PeerIp;
use phase::{Facts, Phase, Signal};
use records::Security;
use session::Session;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::discriminant;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// By what of its time a deadline must be late for the loop to have been held up: the timers are late by up to half of it.
const HELD_UP: u32 = 25;

/// What is known of the bytes that the kernel holds for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// There may be some.
    Ready,
    /// There may be some, and the event told an error or urgent data: a short read proves nothing.
    Flagged,
    /// There may be some, and behind them is the peer's end.
    HangUp,
    /// The same, and the handler knows.
    HangUpTold,
    /// There are none; an event will tell.
    Dry,
    /// The peer's end was read: all that it will ever say is here. (With TLS: its FIN, or its close_notify.)
    Ended,
    /// The same, and the handler knows of the peer's end, which may not have been shown to it yet.
    EndedTold,
}

impl Input {
    fn has_ended(self) -> bool {
        matches!(self, Input::Ended | Input::EndedTold)
    }

    /// What it is once the end was read.
    fn ended(self) -> Input {
        match self {
            Input::HangUpTold | Input::EndedTold => Input::EndedTold,
            Input::Ready | Input::Flagged | Input::HangUp | Input::Dry | Input::Ended => Input::Ended,
        }
    }

    /// Whether a read may bring something.
    fn may_hold(self) -> bool {
        match self {
            Input::Ready | Input::Flagged | Input::HangUp | Input::HangUpTold => true,
            Input::Dry | Input::Ended | Input::EndedTold => false,
        }
    }

    /// Whether the peer's end has come, though perhaps not to the front.
    fn has_hangup(self) -> bool {
        match self {
            Input::HangUp | Input::HangUpTold | Input::Ended | Input::EndedTold => true,
            Input::Ready | Input::Flagged | Input::Dry => false,
        }
    }
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
    /// It goes to another link, and the handler is shown nothing any more.
    Relayed,
    /// The same, and the other link has no room: this one is not read.
    RelayBlocked,
}

impl Delivery {
    /// Whether input is taken, by whomever.
    fn takes_input(self) -> bool {
        match self {
            Delivery::Flowing | Delivery::Resumed | Delivery::Relayed => true,
            Delivery::Paused | Delivery::RelayBlocked => false,
        }
    }

    /// Whether it is the handler that takes it.
    fn is_shown(self) -> bool {
        match self {
            Delivery::Flowing | Delivery::Resumed => true,
            Delivery::Paused | Delivery::Relayed | Delivery::RelayBlocked => false,
        }
    }

    /// Whether it goes to another link.
    fn is_relayed(self) -> bool {
        match self {
            Delivery::Relayed | Delivery::RelayBlocked => true,
            Delivery::Flowing | Delivery::Paused | Delivery::Resumed => false,
        }
    }
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

/// Whether output answers input: only then not to read this peer keeps the output from growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answering {
    No,
    /// The handler is being shown input.
    Shown,
    /// It wrote meanwhile, in this drive.
    Answered,
}

/// Whether a deadline may have become earlier since the deadlines were last asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deadlines {
    Known,
    Changed,
}

/// What the peer has heard of our end. While somebody has a copy of the descriptor, as a forked child has, close(2) alone
/// tells it nothing: what it is to hear is said before, when the link is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goodbye {
    Unsaid,
    /// Our FIN; what it still sends is taken.
    Fin,
    /// Nothing yet, and it is to be reset.
    ResetDue,
    /// All that it will.
    Said,
}

/// A connection without its handler: socket, waiting bytes and state; what [`Conn::detach`](crate::Conn::detach) yields.
///
/// It can be sent to another thread and given to another reactor with a new handler, which loses no byte in either
/// direction. Dropping it closes the connection, even if somebody has a copy of the descriptor: with an end, or with a reset
/// if output waits that the peer will miss. Unix sockets have no reset: they end, and the loss is logged as a warning.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use windlass::{Limits, Link, Reactor, ReactorConfig, handler_fn};
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let link = Link::new(ours, Limits::default())?;
/// let adopted = reactor.context().adopt(link, handler_fn(|conn, data| conn.write_some(data)));
/// assert!(adopted.is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Link {
    stream: Stream,
    cold: Cold,
    limits: Arc<Limits>,
    peer: PeerIp,
    phase: Phase,
    input: Input,
    answering: Answering,
    goodbye: Goodbye,
    opened: Coarse,
    entered: Coarse,
    active: Coarse,
    timer: Fine,
    bytes_in: u64,
    bytes_out: u64,
}

/// What [`Link::into_parts`] takes apart.
///
/// ```
/// use std::os::unix::net::UnixStream;
/// use windlass::{Limits, Link};
/// let (ours, _theirs) = UnixStream::pair()?;
/// let parts = Link::new(ours, Limits::default())?.into_parts();
/// assert!(parts.unread.is_empty() && parts.unsent.is_empty() && parts.behind.is_empty());
/// let stream = UnixStream::from(parts.fd); // non-blocking still
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Parts {
    /// The socket, non-blocking.
    pub fd: OwnedFd,
    /// Bytes that were read of it and not used.
    pub unread: Vec<u8>,
    /// Bytes that were accepted for it and not sent.
    pub unsent: Vec<u8>,
    /// What was accepted behind them: file ranges, and the bytes that follow each.
    pub behind: Vec<Behind>,
}

/// What waits behind the unsent bytes of [`Parts`].
///
/// ```
/// use windlass::Behind;
/// fn bytes_behind(parts: &windlass::Parts) -> u64 {
///     parts.behind.iter().fold(0, |sum, behind| sum + match behind {
///         Behind::File { range, .. } => range.end - range.start,
///         Behind::Bytes(bytes) => bytes.len() as u64,
///     })
/// }
/// ```
pub enum Behind {
    /// What of a file was not sent.
    File {
        /// The file.
        file: Arc<File>,
        /// The bytes of it.
        range: Range<u64>,
    },
    /// Bytes behind a file; with TLS they are plaintext.
    Bytes(Vec<u8>),
}

impl std::fmt::Debug for Behind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Behind::File { range, .. } => f.debug_struct("File").field("range", range).finish_non_exhaustive(),
            Behind::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
        }
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unread, unsent) = (self.unread.len(), self.unsent.len());
        let behind = self.behind.len();
        let mut parts = f.debug_struct("Parts");
        parts.field("fd", &self.fd).field("unread", &unread).field("unsent", &unsent).field("behind", &behind).finish()
    }
}

impl Link {
    /// Takes over a connected stream socket, TCP or Unix, for a reactor to adopt. Other stream sockets over IP (MPTCP, SCTP)
    /// cost a system call more for each message. Descriptors that a Unix peer passes along are closed.
    ///
    /// The socket becomes non-blocking and close-on-exec. To pass it to another program later, clear FD_CLOEXEC first.
    ///
    /// # Errors
    /// `Error::Config` for limits that do not fit each other, `Error::Descriptor` if it is no connected stream socket.
    pub fn new(socket: impl Into<OwnedFd>, limits: Limits) -> Result<Link, Error> {
        limits.validate()?;
        let stream = Stream::adopt(socket.into())
            .map_err(|source| Error::Descriptor { action: "adopt the socket as a stream", source })?;
        let peer = stream.peer();
        Ok(Link::in_phase(stream, peer, Arc::new(limits), Phase::Open, None, Tick::NEVER))
    }

    /// Has a link that was made by [`Link::new`] speak TLS, as the server's side of it. The handshake begins when a
    /// reactor adopts it; its handler gets `on_open` when it is done.
    ///
    /// # Errors
    /// `Error::Config` for what cannot work, `Error::NotOpen` for a link that has been in use.
    #[cfg(feature = "tls")]
    pub fn with_tls_server(self, tls: &crate::tls::ServerTls) -> Result<Link, Error> {
        tls.validate()?;
        self.with_session(session::Template::new(tls).session())
    }

    /// Has a link that was made by [`Link::new`] speak TLS, as the client's side of it, to the server that
    /// `ClientTls::server_name` names.
    ///
    /// # Errors
    /// As [`Link::with_tls_server`]; `Error::Config` too if no name is given.
    #[cfg(feature = "tls")]
    pub fn with_tls_client(self, tls: &crate::tls::ClientTls) -> Result<Link, Error> {
        tls.validate()?;
        self.with_session(Session::client(tls, None)?)
    }

    #[cfg(feature = "tls")]
    fn with_session(mut self, session: Session) -> Result<Link, Error> {
        self.limits.validate_sealed()?;
        if self.opened() != Tick::NEVER || self.is_tls() {
            return Err(Error::NotOpen);
        }
        self.cold.security = Security::of(Some(session));
        self.phase = Phase::Handshaking;
        Ok(self)
    }

    /// What was agreed on in the TLS handshake; `None` before it is done, and for plain connections.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<session::TlsInfo<'_>> {
        match &self.cold.security {
            Security::Plain => None,
            Security::Tls(tls) => tls.session.info(),
        }
    }

    /// What is known of its end beyond the reason: what TLS says, or that it was in the middle of a handshake.
    pub(crate) fn failure_detail(&self) -> Option<&str> {
        let Security::Tls(tls) = &self.cold.security else { return None };
        let is_cut = matches!(self.phase, Phase::Closed(Reason::PeerClosed | Reason::Reset | Reason::Unresponsive));
        let in_handshake = (is_cut && tls.session.is_shaking()).then_some("in the TLS handshake");
        tls.session.failure().or(in_handshake)
    }

    /// Takes out what [`Link::failure_detail`] is read from; it goes on to its end without.
    pub(crate) fn take_failure(&mut self) -> Option<Box<Session>> {
        self.cold.tls().map(|tls| Box::new(tls.session.take()))
    }

    /// Tells of the failure of another link, in whose place it ends.
    pub(crate) fn fail_as(&mut self, session: Option<Box<Session>>) {
        self.cold.security = Security::of(session.map(|session| *session));
    }

    /// A link in a given phase. `Tick::NEVER` for `now` means that its life begins when a reactor takes it.
    pub(crate) fn in_phase(
        stream: Stream,
        peer: Option<SocketAddr>,
        limits: Arc<Limits>,
        phase: Phase,
        session: Option<Session>,
        now: Tick,
    ) -> Link {
        let mut cold = Cold::default();
        if session.is_some() {
            cold.security = Security::of(session);
        }
        Link {
            stream,
            cold,
            limits,
            peer: peer.into(),
            phase,
            input: Input::Dry,
            answering: Answering::No,
            goodbye: Goodbye::Unsaid,
            opened: now.into(),
            entered: now.into(),
            active: now.into(),
            timer: Tick::NEVER.into(),
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Itself, and a handle of its socket for threads that wait for it.
    pub(crate) fn shared(mut self) -> (Link, Arc<Stream>) {
        let (stream, handle) = self.stream.take().shared();
        self.stream = stream;
        (self, handle)
    }

    /// Itself, when no thread waits for it any more.
    pub(crate) fn alone(mut self) -> Link {
        self.stream = self.stream.take().alone();
        self
    }

    // --- what it is -----------------------------------------------------------------------------------------------

    /// The peer's address; a Unix peer is mostly unnamed. `None` if the system no longer knows.
    pub fn peer_address(&self) -> Option<Address> {
        self.peer_ip().map(Address::tcp).or_else(|| self.stream.peer_address().ok()).map(|address| self.named(address))
    }

    /// The address with the transport that this link is of.
    fn named(&self, address: Address) -> Address {
        if self.is_tls() { address.over_tls() } else { address }
    }

    /// The peer's IP address and port, `None` for Unix sockets. Free of system calls.
    pub fn peer_ip(&self) -> Option<SocketAddr> {
        self.peer.into()
    }

    /// This side's address, `None` if the system no longer knows.
    pub fn local_address(&self) -> Option<Address> {
        self.stream.local_address().ok().map(|address| self.named(address))
    }

    /// Who is at the other end of a Unix socket; `None` for TCP and where the system does not tell (Linux does).
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.stream.peer_credentials()
    }

    /// When it was begun or accepted; `Tick::NEVER` before a reactor took it.
    fn opened(&self) -> Tick {
        self.opened.into()
    }

    /// When its phase began.
    pub(crate) fn entered(&self) -> Tick {
        self.entered.into()
    }

    /// When a byte last moved, either way.
    fn active(&self) -> Tick {
        self.active.into()
    }

    /// Bytes read of the socket so far; with TLS, of records.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes that the kernel has taken so far; with TLS, of records.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// What is known of it; `gathered` bytes wait in front of its output.
    pub(crate) fn stats(&self, gathered: usize, now: Tick) -> ConnStats {
        ConnStats {
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            unread_bytes: self.cold.inbox.len(),
            unsent_bytes: self.unsent_bytes() + gathered,
            age: now.since(self.opened()),
            idle: now.since(self.active()),
        }
    }

    /// Bytes of output that wait, those of files among them; with TLS, of records where they are sealed already.
    pub fn unsent_bytes(&self) -> usize {
        usize::try_from(self.cold.outbox.unsent()).unwrap_or(usize::MAX)
    }

    /// Bytes of input that were read and not used.
    pub fn unread(&self) -> &[u8] {
        self.cold.inbox.bytes()
    }

    /// Gives the socket back, with what was read and not used, and what was accepted and not sent.
    ///
    /// With TLS the session is lost, and nobody can go on with it: `unread` is plaintext, `unsent` are records.
    pub fn into_parts(mut self) -> Parts {
        let mut outbox = std::mem::take(&mut self.cold.outbox);
        let mut unsent = Vec::with_capacity(outbox.len());
        let mut pool = Pool::default();
        while outbox.has_ready() {
            let mut slices = [IoSlice::new(&[]); Outbox::SLICES_MAX];
            let before = unsent.len();
            let filled = outbox.slices(&mut slices);
            slices[..filled].iter().for_each(|slice| unsent.extend_from_slice(slice));
            outbox.advance(unsent.len() - before, self.active(), &mut pool);
        }
        let mut behind = Vec::new();
        while let Some((file, then)) = outbox.pop_file(&mut pool) {
            let (file, range) = file.into_parts(&self.stream);
            behind.push(Behind::File { file, range });
            let bytes: Vec<u8> = then.iter().flat_map(|segment| segment.bytes()).copied().collect();
            if !bytes.is_empty() {
                behind.push(Behind::Bytes(bytes));
            }
        }
        Parts { unread: self.cold.inbox.bytes().to_vec(), unsent, behind, fd: self.stream.take().into() }
    }

    /// Its limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn set_limits(&mut self, limits: Arc<Limits>) -> Result<(), Error> {
        limits.validate()?;
        #[cfg(feature = "tls")]
        if self.is_tls() {
            limits.validate_sealed()?;
        }
        self.limits = limits;
        self.cold.deadlines = Deadlines::Changed;
        Ok(())
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

    /// Asks how far its connect is; a connect to itself is none.
    pub(crate) fn try_connecting(&mut self, now: Tick) -> io::Result<Progress> {
        let progress = self.stream.progress()?;
        if progress == Progress::Done {
            if self.stream.is_self_connected() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            self.peer = self.stream.peer().into();
            self.signal(Signal::Connected, now);
        }
        Ok(progress)
    }

    // --- phases and deadlines -------------------------------------------------------------------------------------

    /// Moves the phase.
    pub(crate) fn signal(&mut self, signal: Signal, now: Tick) {
        let next = self.phase.after(signal);
        debug_assert!(next.is_some(), "{signal:?} cannot come in {:?}", self.phase);
        let next = next.unwrap_or(Phase::Closed(Reason::Bug));
        if matches!(next, Phase::Closed(_)) && !matches!(self.phase, Phase::Closed(_)) {
            let fails = match signal {
                // Nothing failed.
                Signal::Failed(Reason::ReactorDropped) => false,
                // Once our end is said nothing of ours is missing.
                Signal::Failed(_) => !matches!(self.phase, Phase::Lingering(_)),
                signal => signal.resets(),
            };
            // Whatever ends it: a failure of this side may have cut a message short, too.
            if fails || !self.cold.outbox.is_empty() {
                self.loses_output();
            }
        }
        if discriminant(&next) != discriminant(&self.phase) {
            self.entered = now.into();
        }
        self.phase = next;
    }

    /// The next deadline of the phase, and which it is.
    pub(crate) fn phase_deadline(&self) -> Option<(Tick, Expiry)> {
        if matches!(self.phase, Phase::Open) && self.cold.outbox.is_empty() && self.limits.is_timeless() {
            return None;
        }
        let (opened, entered, active) = (self.opened(), self.entered(), self.active());
        let facts = Facts { opened, entered, active, stalled: self.cold.outbox.stalled() };
        let deadline = phase::deadline(self.phase, facts, &self.limits);
        if matches!(self.phase, Phase::Handshaking) {
            return deadline.map(|(due, expiry)| (due.min(self.hurried()), expiry));
        }
        deadline
    }

    /// Takes note of what moved since the kernel was last heard of: it reports room only when much is free, and nothing at
    /// all of what it sends by itself.
    pub(crate) fn note_progress(&mut self, now: Tick) {
        let Some(ago) = self.stream.last_progress() else { return };
        self.active = self.active().max(now.before(ago)).into();
    }

    /// Whether a connect's time is over so late that the loop was held up: an attempt that begins only now gets it once more.
    pub(crate) fn excuses_connect(&self, due: Tick, judged: Tick) -> bool {
        judged.since(due) > self.limits.connect_timeout / HELD_UP
    }

    /// Goes on with what others asked of the link whose place it takes, before there was a socket.
    pub(crate) fn take_place_of(&mut self, dialled: &Link) {
        if !dialled.cold.is_at_rest() {
            (self.cold.delivery, self.cold.need) = (dialled.cold.delivery, dialled.cold.need);
        }
        self.timer = dialled.timer;
        self.limits = dialled.limits.clone();
    }

    pub(crate) fn shared_limits(&self) -> Arc<Limits> {
        self.limits.clone()
    }

    /// The handler's own timer, `Tick::NEVER` if none is set.
    pub(crate) fn timer(&self) -> Tick {
        self.timer.into()
    }

    /// The same, to be compared with later.
    pub(crate) fn timer_set(&self) -> Fine {
        self.timer
    }

    pub(crate) fn set_timer(&mut self, due: Tick) {
        self.timer = due.into();
    }

    /// Its deadlines are about to be asked for, at the end of a drive: a box that nothing is in goes.
    #[inline]
    pub(crate) fn deadlines_known(&mut self, pool: &mut Pool) {
        if let Some(cold) = self.cold.there() {
            cold.deadlines = Deadlines::Known;
            self.cold.release_if_empty(pool);
        }
    }

    /// What the kernel should report.
    pub(crate) fn watched(&self) -> Watched {
        match self.cold.output {
            Output::Blocked => Watched::Both,
            Output::Free => self.stream.watched_first(),
        }
    }

    // --- the end of a drive ---------------------------------------------------------------------------------------

    /// Whether something follows from what was done to the link outside its own drive.
    pub(crate) fn needs_drive(&self) -> bool {
        !self.cold.outbox.is_empty() || self.cold.owed != Owed::Nothing || matches!(self.phase, Phase::Closed(_))
    }

    /// Says what the phase has to say once nothing waits.
    #[inline]
    pub(crate) fn advance_shutdown(&mut self, buffers: &mut Buffers, now: Tick) {
        self.answering = Answering::No;
        if !matches!(self.phase, Phase::Open) {
            self.say_what_is_due(buffers, now);
        } else if !self.cold.is_at_rest() {
            self.uncork(buffers, now);
        }
    }

    fn say_what_is_due(&mut self, buffers: &mut Buffers, now: Tick) {
        if self.phase.discards_input() {
            self.drop_inbox(buffers);
        }
        if matches!(self.phase, Phase::Handshaking) && self.input.has_ended() && !self.has_step_elsewhere() {
            self.signal(Signal::PeerEnded, now);
        }
        if self.cold.outbox.has_files() {
            self.uncork(buffers, now);
        }
        if self.cold.outbox.has_files() {
            // Our end is said behind them.
            return;
        }
        if matches!(self.phase, Phase::Finishing | Phase::Flushing(_)) {
            self.say_close(buffers, now);
        }
        self.uncork(buffers, now);
        if self.phase.discards_input() {
            // Not before close_notify was said, for which the session needs it.
            self.drop_kept(buffers);
        }
        if matches!(self.phase, Phase::Finishing | Phase::Flushing(_)) && self.cold.outbox.is_empty() {
            // With the peer's end read, it is said when the link is dropped.
            let over = matches!(self.phase, Phase::Flushing(_)) && self.input.has_ended();
            match if over { Ok(()) } else { self.say_fin() } {
                Ok(()) => self.signal(Signal::Flushed, now),
                Err(_) => self.signal(Signal::Failed(Reason::Reset), now),
            }
        }
        if matches!(self.phase, Phase::Lingering(_)) && self.input.has_ended() {
            self.signal(Signal::PeerEnded, now);
        }
    }

    /// Whether there is work that no event will announce.
    pub(crate) fn wants_again(&self) -> bool {
        if self.input == Input::Dry && self.cold.inbox.is_empty() && !self.has_output_business() && !self.has_unopened()
        {
            return false;
        }
        self.may_read() || self.wants_again_unread()
    }

    /// The same, of a link that is not to be read now.
    pub(crate) fn wants_again_unread(&self) -> bool {
        self.may_flush()
            || self.may_show_rest()
            || (self.has_unopened() && self.may_read())
            || self.end_is_due()
            || (self.cold.owed != Owed::Nothing && self.cold.outbox.is_empty() && self.phase.is_open())
    }

    /// Output will never be sent: an end in order would tell the peer that it has all (A9).
    pub(super) fn loses_output(&mut self) {
        if self.goodbye != Goodbye::Said {
            self.goodbye = Goodbye::ResetDue;
        }
    }

    /// Says our FIN, unless it was said.
    pub(crate) fn say_fin(&mut self) -> io::Result<()> {
        if self.goodbye == Goodbye::Unsaid {
            self.stream.end()?;
            self.goodbye = Goodbye::Fin;
        }
        Ok(())
    }

    /// Tells the peer all that it is to hear of our end, whoever has a copy of the descriptor: what it has not been told,
    /// and that nothing it still sends is taken.
    pub(crate) fn say_goodbye(&mut self) {
        let goodbye = std::mem::replace(&mut self.goodbye, Goodbye::Said);
        match goodbye {
            Goodbye::Said => {}
            Goodbye::Fin if self.input.has_ended() => {}
            // It fails where the peer has reset, or never was.
            Goodbye::Unsaid | Goodbye::Fin => drop(self.stream.shut(Shutdown::Both)),
            Goodbye::ResetDue => self.stream.reset(),
        }
    }

    /// Bytes of memory that what waits keeps, in either direction.
    pub(crate) fn held_bytes(&self) -> usize {
        let kept = match &self.cold.security {
            Security::Plain => 0,
            Security::Tls(tls) => tls.kept.capacity(),
        };
        self.cold.outbox.held() + self.cold.inbox.held() + kept
    }

    /// Whether output waits.
    pub(crate) fn has_output(&self) -> bool {
        !self.cold.outbox.is_empty()
    }

    /// Whether input waits, for the handler or for the rest of its record.
    pub(crate) fn has_input(&self) -> bool {
        let has_kept = matches!(&self.cold.security, Security::Tls(tls) if !tls.kept.is_empty());
        has_kept || !self.cold.inbox.is_empty()
    }

    /// Whether the kernel may hold input of it.
    pub(crate) fn may_hold_input(&self) -> bool {
        self.input.may_hold()
    }

    /// Whether its peer has ended, so that little more can come.
    pub(crate) fn has_hangup(&self) -> bool {
        self.input.has_hangup()
    }

    /// Counts as having moved now.
    pub(crate) fn touch(&mut self, now: Tick) {
        self.active = now.into();
    }

    /// When what waits was begun, and when some of it last moved, as far as this side can see; `None` if it holds no memory.
    pub(crate) fn progress(&self) -> Option<(Tick, Tick)> {
        if self.held_bytes() == 0 {
            return None;
        }
        Some(self.cold.outbox.begun().zip(self.cold.outbox.stalled()).unwrap_or((self.active(), self.active())))
    }

    /// What the kernel holds of its output, in bytes of its own reckoning, to compare with later; 0 where it does not tell.
    pub(crate) fn kernel_bytes(&self) -> u32 {
        self.stream.kernel_bytes()
    }

    /// Takes note in the log of bytes that were accepted and will never be sent, where nothing tells the peer.
    pub(crate) fn log_lost(&self, bytes: u64) {
        if self.stream.is_tcp() {
            log::debug!("{bytes} bytes of output were not sent, and the peer sees a reset");
        } else {
            static LOST: Seldom = Seldom::new();
            if let Some(missed) = LOST.passes() {
                log::warn!(
                    "{bytes} bytes of output were not sent over a Unix socket, and its peer sees an end in order{missed}"
                );
            }
        }
    }

    /// Drops what waits for the handler.
    fn drop_inbox(&mut self, buffers: &mut Buffers) {
        if let Some(cold) = self.cold.there() {
            cold.inbox.clear(&mut buffers.pool);
        }
    }

    /// Drops what waits, and says how many bytes were never sent.
    pub(crate) fn discard(&mut self, buffers: &mut Buffers) -> u64 {
        self.drop_inbox(buffers);
        self.drop_kept(buffers);
        self.cold.there().map_or(0, |cold| cold.outbox.clear(&mut buffers.pool))
    }
}

impl Drop for Link {
    /// What still waits is lost: an end in order would tell the peer that it has all (A9).
    fn drop(&mut self) {
        if self.stream.is_taken() {
            return;
        }
        if !self.cold.outbox.is_empty() {
            self.goodbye = Goodbye::ResetDue;
            self.log_lost(self.cold.outbox.unsent());
        }
        self.say_goodbye();
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
