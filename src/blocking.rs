//! A link for threads that wait: read, write, and a poll(2) of its own in place of a reactor.
//!
//! Owns when such a thread waits, and for what. The link is the same as a reactor's: its phases, TLS and queues.
//!
//! 1. Nobody waits while holding the lock: a reader and a writer can share a link, and a third can close it.
//! 2. What `write` took is with the kernel when it returns, unless its time ran out; then `flush` goes on with it.

pub(crate) mod ended;
pub(crate) mod opening;

use crate::address::Address;
use crate::clock::Tick;
use crate::error::{Error, Expiry, Reason};
use crate::handler::ConnState;
use crate::link::Link;
use crate::link::buffers::{Buffers, Scratch};
use crate::link::handshake::{Elsewhere, Stepped};
use crate::link::input::Received;
use crate::link::phase::{Phase, Signal};
use crate::link::quota::Quota;
use crate::net::stream::Stream;
use crate::net::system;
use crate::net::wait::{Wanted, look, wait};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that one `write` takes at most.
const PIECE_BYTES: usize = 64 * 1024;

/// Reads that are made for one of the user's before others have their turn: not all bring data.
const READS_MAX: usize = 1;

/// Reads that `close` makes of what the peer has sent already, so that the kernel need not answer it with a reset.
const LAST_READS: usize = 16;

/// How long `close` waits until the peer has taken what waits, if no write timeout says so.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection for threads that wait, plain or with TLS, over TCP or Unix sockets.
///
/// It reads and writes like a `TcpStream`, also through a shared reference: one thread may read while another writes, under
/// TLS too. It is made of a [`Link`], with all that waits there, by [`Link::into_blocking`], and can become one again.
///
/// A read or write that takes longer than its timeout fails with `WouldBlock`, as those of `std` do. The end of the stream
/// is `Ok(0)`; one without TLS' close_notify fails with `UnexpectedEof`. Dropping it says our end and waits
/// for nothing; output that the kernel has not taken is lost then, and over TCP the peer sees a reset.
///
/// Of its [`Limits`](crate::Limits) those in time hold in every call that waits: `handshake_timeout`, `write_stall_timeout`,
/// `idle_timeout` and `lifetime`, which began when the connection did. The call fails with `TimedOut`, and the connection is over; a
/// thread that is in no call finds it over at its next one. `inbox_bytes_max` and `outbox_bytes_max` bound what it holds.
/// The others are about turns of a reactor, and have no effect here: `connect_timeout`, `linger_timeout`, `linger_total`,
/// `outbox_bytes_high`, `outbox_bytes_low`, `bytes_per_turn` and `reads_per_turn`.
///
/// ```no_run
/// use std::io::{Read, Write};
/// use windlass::{Limits, Link};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let socket = std::net::TcpStream::connect("127.0.0.1:7007")?;
/// let mut link = Link::new(socket, Limits::default())?.into_blocking()?;
/// link.write_all(b"hello")?;
/// link.finish()?;
/// let mut answer = String::new();
/// link.read_to_string(&mut answer)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct BlockingLink {
    socket: Arc<Stream>,
    inside: Mutex<Inside>,
    timeouts: Mutex<Timeouts>,
    observer: Option<Observer>,
}

/// Called with each thing that was done with a link, by the thread that did it.
struct Observer(Box<dyn Fn(ConnState) + Send + Sync>);

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Observer")
    }
}

struct Inside {
    /// `None` only while the link is taken out for good.
    link: Option<Link>,
    buffers: Buffers,
    usage: Usage,
    /// What records are opened in; plain links read to where they are asked to.
    scratch: Option<Scratch>,
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inside").field("link", &self.link).finish_non_exhaustive()
    }
}

/// Whether `close` was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Usage {
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Timeouts {
    read: Option<Duration>,
    write: Option<Duration>,
}

/// What a try without waiting came to.
enum Tried<T> {
    Done(io::Result<T>),
    /// The kernel must be waited for.
    Waits,
}

impl Link {
    /// Goes on with this link on threads that wait. A TLS handshake that is not done yet is done here, within
    /// `Limits::handshake_timeout`.
    ///
    /// # Errors
    /// `Broken` if the handshake fails, or the link is over.
    pub fn into_blocking(self) -> Result<BlockingLink, Error> {
        let timeout = self.limits().handshake_timeout;
        let link = BlockingLink::new(self);
        link.shake_hands(deadline(Some(timeout)))?;
        Ok(link)
    }
}

fn now() -> Tick {
    Tick::of(Instant::now())
}

/// When a timeout runs out; `None` for one that never does.
fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

impl BlockingLink {
    pub(crate) fn new(mut link: Link) -> BlockingLink {
        link.reset_for_adoption(now());
        // Nobody is called back here, and whoever reads is not held up by what it wrote.
        link.clear_writable_pending();
        let scratch = link.is_tls().then(Scratch::new);
        let (link, socket) = link.shared();
        let inside = Inside { link: Some(link), buffers: Buffers::default(), usage: Usage::Open, scratch };
        BlockingLink { socket, inside: Mutex::new(inside), timeouts: Mutex::default(), observer: None }
    }

    /// Calls `observer` from now on with each read, write and end, once it is done.
    pub(crate) fn observe(&mut self, observer: impl Fn(ConnState) + Send + Sync + 'static) {
        self.observer = Some(Observer(Box::new(observer)));
    }

    fn tell(&self, state: ConnState) {
        if let Some(Observer(tell)) = &self.observer {
            tell(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // User code (certificate resolvers) runs under it in handshakes only, and a link that it broke is refused there.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timeouts(&self) -> MutexGuard<'_, Timeouts> {
        self.timeouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it a link for a reactor again. Whoever shares it must have given it back: this takes it whole.
    ///
    /// # Errors
    /// `NotOpen` if it is over.
    pub fn into_link(self) -> Result<Link, Error> {
        let BlockingLink { socket, inside, .. } = self;
        drop(socket);
        let mut inside = inside.into_inner().unwrap_or_else(PoisonError::into_inner);
        let link = inside.link.take().ok_or(Error::NotOpen)?;
        Ok(link.alone())
    }

    /// How long a read may take; `None`, and so it begins, leaves it to the [limits](crate::Limits) of the connection.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.timeouts().read = timeout;
    }

    /// How long a write may take; `None`, and so it begins, leaves it to `Limits::write_stall_timeout`.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.timeouts().write = timeout;
    }

    /// The peer's address; a Unix peer is mostly unnamed. `None` if the system no longer knows.
    pub fn peer_address(&self) -> Option<Address> {
        self.lock().link.as_ref()?.peer_address()
    }

    /// This side's address, `None` if the system no longer knows.
    pub fn local_address(&self) -> Option<Address> {
        self.lock().link.as_ref()?.local_address()
    }

    /// Runs `look` on what was agreed on in the TLS handshake; `None` for plain connections.
    #[cfg(feature = "tls")]
    pub fn tls<T>(&self, look: impl FnOnce(crate::link::session::TlsInfo<'_>) -> T) -> Option<T> {
        self.lock().link.as_ref()?.tls().map(look)
    }

    /// Whether the connection can still carry data both ways, as far as this side can know: not after the peer's end, a
    /// reset, a failed write, or an end of our own. What the peer has sent already is looked at, but not taken.
    pub fn is_connected(&self) -> bool {
        let mut inside = self.lock();
        let mut seen = look(&*self.socket);
        if matches!(seen, Ok(Some(ready)) if ready.error) {
            self.socket.drop_notices();
            seen = look(&*self.socket);
        }
        if let Ok(Some(ready)) = seen {
            inside.look(ready);
            if ready.ended || ready.error {
                // Whatever is to be read before that.
                return false;
            }
        }
        matches!(inside.phase(), Some(Phase::Open)) && !inside.has_ended()
    }

    /// Waits until `step` has done its work, for at most as long as is left until `until`.
    fn repeat<T>(
        &self,
        until: Option<Instant>,
        reads: Wanted,
        mut step: impl FnMut(&mut Inside) -> Tried<T>,
    ) -> io::Result<T> {
        let (mut left, mut lasts) = (None, None);
        loop {
            let (writes, due) = {
                let mut inside = self.lock();
                match step(&mut inside) {
                    Tried::Done(done) => return done,
                    Tried::Waits => (inside.wants_to_send(), inside.due()),
                }
            };
            if left == Some(Duration::ZERO) {
                // Also where more has come, as long as that was of no use.
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if lasts == Some(Duration::ZERO) {
                self.end_if_due();
            }
            left = until.map(|until| until.saturating_duration_since(Instant::now()));
            lasts = due.map(|due| due.since(now()));
            let shorter = match (left, lasts) {
                (Some(left), Some(lasts)) => Some(left.min(lasts)),
                (left, lasts) => left.or(lasts),
            };
            // Nothing may come of it: by a signal, or when the time is not quite over.
            if let Some(ready) = wait(&*self.socket, reads, writes, shorter)? {
                if ready.error {
                    self.socket.drop_notices();
                }
                if let Some(link) = &mut self.lock().link {
                    link.note(ready);
                }
            }
        }
    }

    /// Ends it if one of its limits in time is over, after what that is about was looked at once more. Returns when to ask
    /// again.
    pub(crate) fn end_if_due(&self) -> Option<Instant> {
        let mut inside = self.lock();
        let now = now();
        if inside.due()? > now {
            return inside.due().and_then(Tick::instant);
        }
        // A peer whose bytes wait for this side is not idle.
        let came = matches!(look(&*self.socket), Ok(Some(ready)) if ready.readable && !ready.ended);
        let expiry = inside.overdue(now, came);
        if let Some(expiry) = expiry {
            inside.signal(Signal::Expired(expiry));
            // What it still may say in order: close_notify, and the end of a link that owes nothing.
            inside.push_on(now);
            if let Some(Phase::Closed(reason)) = inside.phase() {
                inside.send_close_notify(reason);
            }
            if inside.wants_to_send() == Wanted::Yes {
                // Nobody will send it any more, and an end in order would say that it was all. The reason stays.
                inside.signal(Signal::Expired(Expiry::Drain));
            }
            self.say_goodbye(&mut inside);
        }
        inside.due().and_then(Tick::instant)
    }

    /// Does the TLS handshake, if there is one to do.
    pub(crate) fn shake_hands_by(&self, until: Option<Instant>) -> Result<(), Reason> {
        match self.repeat(until, Wanted::Yes, Inside::try_shaking) {
            Ok(shaken) => shaken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Reason::Timeout(Expiry::Handshake)),
            Err(error) => Err(Reason::of(&error)),
        }
    }

    /// The same, with an error for one that was accepted.
    pub(crate) fn shake_hands(&self, until: Option<Instant>) -> Result<(), Error> {
        let Err(reason) = self.shake_hands_by(until) else { return Ok(()) };
        let inside = self.lock();
        let link = inside.link.as_ref();
        let address = Box::new(link.and_then(Link::peer_address).unwrap_or(Address::unix_unnamed()));
        let detail = link.and_then(Link::failure_detail).map(str::to_owned);
        Err(Error::Broken { address, reason, detail })
    }

    /// Ends our side once all is sent (half-close, `shutdown_write`); the peer's data still comes.
    ///
    /// # Errors
    /// `NotConnected` if the connection is over, `WouldBlock` if the write timeout runs out, `TimedOut` if one of the
    /// connection's limits does, `ConnectionReset` if the peer has reset it before all was sent.
    pub fn finish(&self) -> io::Result<()> {
        let until = deadline(self.timeouts().write);
        self.finish_by(until)
    }

    pub(crate) fn finish_by(&self, until: Option<Instant>) -> io::Result<()> {
        let mut asked = Wanted::Yes;
        self.repeat(until, Wanted::No, |inside| {
            let asks = std::mem::replace(&mut asked, Wanted::No);
            inside.try_ending(Signal::Finish, asks)
        })?;
        // A link whose peer has ended leaves the FIN to its own end.
        if let Some(link) = &mut self.lock().link {
            let _ = link.say_fin();
        }
        self.tell(ConnState::CloseWrite);
        Ok(())
    }

    /// Ends the connection: what was written is sent, then our end. Whoever waits in a read or write of it returns with
    /// `NotConnected`. Later calls find it over.
    ///
    /// # Errors
    /// `NotConnected` if it was closed before; `WouldBlock` if the peer does not take what waits within the write timeout, or
    /// 10 s without one: it is reset then; `TimedOut` if one of the connection's limits runs out first; `ConnectionReset` if what waited is lost by a reset of the peer's.
    pub fn close(&self) -> io::Result<()> {
        self.close_by(deadline(Some(self.timeouts().write.unwrap_or(CLOSE_TIMEOUT))))
    }

    pub(crate) fn close_by(&self, until: Option<Instant>) -> io::Result<()> {
        if self.lock().usage == Usage::Closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let mut asked = Wanted::Yes;
        {
            let mut inside = self.lock();
            if let Some(Phase::Closed(reason)) = inside.phase() {
                // Both sides have ended, or something broke it.
                inside.usage = Usage::Closed;
                let lost = (inside.wants_to_send() == Wanted::Yes).then(|| told(reason, inside.detail()));
                drop(inside);
                if let Some(error) = lost {
                    return Err(error);
                }
                self.tell_last(Phase::Closed(reason));
                return Ok(());
            }
        }
        let ended = self.repeat(until, Wanted::No, |inside| {
            let asks = std::mem::replace(&mut asked, Wanted::No);
            inside.try_ending(Signal::Close(Reason::Local), asks)
        });
        let mut inside = self.lock();
        inside.read_last();
        inside.usage = Usage::Closed;
        let phase = inside.phase().filter(|_| ended.is_ok());
        // Our end is said behind all that was written: a reset, which drops what the system still holds, is only for what
        // was not sent in time.
        inside.signal(if ended.is_ok() { Signal::PeerEnded } else { Signal::Abort });
        self.say_goodbye(&mut inside);
        drop(inside);
        phase.into_iter().for_each(|phase| self.tell_last(phase));
        ended
    }

    /// Tells that this side has ended, if it has in order.
    fn tell_last(&self, phase: Phase) {
        match phase {
            Phase::Closed(Reason::PeerClosed | Reason::Local | Reason::Drain) => self.tell(ConnState::CloseWrite),
            Phase::Finishing | Phase::WriteClosed | Phase::Flushing(_) | Phase::Lingering(_) => {
                self.tell(ConnState::CloseWrite);
            }
            Phase::Closed(_) | Phase::Connecting | Phase::Handshaking | Phase::Open | Phase::HalfOpen => {}
        }
    }
}

impl BlockingLink {
    /// Reads, for at most as long as is left until `until`.
    pub(crate) fn read_by(&self, buffer: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = self.repeat(until, Wanted::Yes, |inside| inside.try_reading(buffer))?;
        self.tell(if read > 0 { ConnState::Read } else { ConnState::CloseRead });
        Ok(read)
    }

    /// Writes what is taken at once, for at most as long as is left until `until`.
    pub(crate) fn write_by(&self, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut taken = 0;
        let written = match self.repeat(until, Wanted::No, |inside| inside.try_writing(bytes, &mut taken)) {
            // It was taken, and `flush` goes on with it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => taken,
            done => done?,
        };
        if written > 0 {
            self.tell(ConnState::Write);
        }
        Ok(written)
    }

    /// Has the kernel take what was written.
    pub(crate) fn flush_by(&self, until: Option<Instant>) -> io::Result<()> {
        self.repeat(until, Wanted::No, |inside| {
            inside.push_on(now());
            match inside.phase() {
                Some(Phase::Closed(_)) | None => Tried::Done(Err(inside.refusal())),
                Some(_) if inside.wants_to_send() == Wanted::Yes => Tried::Waits,
                Some(_) => Tried::Done(Ok(())),
            }
        })
    }

    /// Why it is over, if it is, and what TLS said of that.
    pub(crate) fn ended(&self) -> (Option<Reason>, Option<String>) {
        let inside = self.lock();
        let Some(link) = &inside.link else { return (None, None) };
        (link.phase().reason(), link.failure_detail().map(str::to_owned))
    }

    /// Ends it at once, whatever waits: whoever reads or writes it returns with an error. Returns how many bytes waited.
    pub(crate) fn cut(&self) -> usize {
        let mut inside = self.lock();
        let unsent = inside.link.as_ref().map_or(0, Link::unsent_bytes);
        inside.usage = Usage::Closed;
        inside.signal(Signal::Abort);
        self.say_goodbye(&mut inside);
        unsent
    }

    /// Tells the peer, and wakes whoever waits elsewhere, as all that is said does but a reset elsewhere than on Linux.
    fn say_goodbye(&self, inside: &mut Inside) {
        if let Some(link) = &mut inside.link {
            link.say_goodbye();
        }
        if !system::RESET_WAKES {
            let _ = self.socket.shut(Shutdown::Both);
        }
    }
}

impl Inside {
    fn phase(&self) -> Option<Phase> {
        self.link.as_ref().map(Link::phase)
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(link) = &mut self.link {
            link.signal(signal, now());
        }
    }

    /// Says the last words that TLS has for this end, if any.
    fn send_close_notify(&mut self, reason: Reason) {
        if let Some(link) = &mut self.link {
            link.send_close_notify(reason, &mut self.buffers);
        }
    }

    /// When a limit in time is over.
    fn due(&self) -> Option<Tick> {
        let link = self.link.as_ref().filter(|link| !matches!(link.phase(), Phase::Closed(_)))?;
        link.phase_deadline().map(|(due, _)| due)
    }

    /// Which limit in time is over, also if it is looked at what moved meanwhile; `came` says whether bytes wait to be read.
    fn overdue(&mut self, now: Tick, came: bool) -> Option<Expiry> {
        let stalled = self.link.as_mut()?.try_output_again();
        self.push_on(now);
        let link = self.link.as_mut().filter(|link| !matches!(link.phase(), Phase::Closed(_)))?;
        link.judge_progress(stalled, now);
        link.note_progress(now);
        if came || link.has_unread() {
            link.touch(now);
        }
        link.phase_deadline().and_then(|(due, expiry)| (due <= now).then_some(expiry))
    }

    fn has_ended(&self) -> bool {
        self.link.as_ref().is_none_or(Link::has_ended)
    }

    fn wants_to_send(&self) -> Wanted {
        if self.link.as_ref().is_some_and(|link| link.unsent_bytes() > 0) { Wanted::Yes } else { Wanted::No }
    }

    /// Sends what waits, as far as the kernel takes it.
    fn push_on(&mut self, now: Tick) {
        let Some(link) = &mut self.link else { return };
        link.send_gathered(&mut self.buffers, now);
        link.advance_shutdown(&mut self.buffers, now);
        if link.may_flush() {
            link.flush(&mut self.buffers, now);
        }
        link.advance_shutdown(&mut self.buffers, now);
        link.deadlines_known(&mut self.buffers.pool);
    }

    /// What is known of its end beyond the reason.
    fn detail(&self) -> Option<&str> {
        self.link.as_ref().and_then(Link::failure_detail)
    }

    /// What a call says once the link is over or ended.
    fn refusal(&self) -> io::Error {
        if let Some(reason) = self.phase().and_then(Phase::reason) {
            return told(reason, self.detail());
        }
        let has_finished = matches!(self.phase(), Some(Phase::Finishing | Phase::WriteClosed));
        if has_finished { io::ErrorKind::BrokenPipe.into() } else { io::ErrorKind::NotConnected.into() }
    }

    fn try_shaking(&mut self) -> Tried<Result<(), Reason>> {
        let now = now();
        let Some(link) = &mut self.link else { return Tried::Done(Ok(Err(Reason::Local))) };
        if link.phase() == Phase::Handshaking && !link.is_tls() {
            link.signal(Signal::Secured, now);
        }
        if let (Phase::Handshaking, Some(scratch)) = (link.phase(), &mut self.scratch) {
            if link.queues_step(now) {
                if let Stepped::Taken(bytes) =
                    link.take_step(Elsewhere::No, &mut Quota::ALL.clone(), scratch, &mut self.buffers, now)
                {
                    if link.phase() == Phase::Open {
                        link.keep_input(bytes, &mut self.buffers.pool);
                    }
                }
            }
        }
        self.push_on(now);
        match self.phase() {
            Some(Phase::Handshaking | Phase::Connecting) => Tried::Waits,
            Some(Phase::Open | Phase::HalfOpen | Phase::Finishing | Phase::WriteClosed) => Tried::Done(Ok(Ok(()))),
            Some(Phase::Flushing(reason) | Phase::Lingering(reason) | Phase::Closed(reason)) => {
                Tried::Done(Ok(Err(reason)))
            }
            None => Tried::Done(Ok(Err(Reason::Local))),
        }
    }

    fn try_reading(&mut self, buffer: &mut [u8]) -> Tried<usize> {
        let now = now();
        if self.wants_to_send() == Wanted::Yes {
            self.push_on(now);
        }
        let Some(link) = &mut self.link else { return Tried::Done(Err(io::ErrorKind::NotConnected.into())) };
        let mut reads = 0;
        loop {
            if let Some(rest) = link.take_rest() {
                let taken = rest.bytes().len().min(buffer.len());
                buffer[..taken].copy_from_slice(&rest.bytes()[..taken]);
                link.put_rest_back(rest, taken, &mut self.buffers.pool);
                return Tried::Done(Ok(taken));
            }
            if let Phase::Closed(reason) | Phase::Flushing(reason) | Phase::Lingering(reason) = link.phase() {
                // The peer's end is told as long as it is asked for.
                let at_end = link.has_ended() && !reason.is_trouble() && self.usage == Usage::Open;
                return Tried::Done(if at_end { Ok(0) } else { Err(told(reason, link.failure_detail())) });
            }
            if link.has_ended() {
                return Tried::Done(peer_ended(link, now));
            }
            // Records without data may come for ever: others want the lock, and somebody has to look at the time.
            if !link.may_read() || reads == READS_MAX {
                return Tried::Waits;
            }
            reads += 1;
            match &mut self.scratch {
                None => {
                    if let Received::Bytes(read) = link.receive(buffer, now) {
                        return Tried::Done(Ok(read));
                    }
                }
                Some(scratch) => {
                    let piece = link.piece(usize::MAX, scratch);
                    if let Some((_, bytes)) =
                        link.receive_opened(piece, &mut Quota::ALL.clone(), scratch, &mut self.buffers, now)
                    {
                        let taken = bytes.len().min(buffer.len());
                        buffer[..taken].copy_from_slice(&bytes[..taken]);
                        link.keep_input(&bytes[taken..], &mut self.buffers.pool);
                        if taken > 0 {
                            return Tried::Done(Ok(taken));
                        }
                    }
                }
            }
        }
    }

    /// `taken` is how many bytes were taken before: all that is left is to have the kernel take them.
    fn try_writing(&mut self, bytes: &[u8], taken: &mut usize) -> Tried<usize> {
        let now = now();
        self.push_on(now);
        let Some(link) = &mut self.link else { return Tried::Done(Err(io::ErrorKind::NotConnected.into())) };
        if *taken == 0 {
            if !matches!(link.phase(), Phase::Open | Phase::HalfOpen) {
                return Tried::Done(Err(self.refusal()));
            }
            if link.unsent_bytes() > 0 {
                return Tried::Waits;
            }
            *taken = link.write_some(&bytes[..bytes.len().min(PIECE_BYTES)], &mut self.buffers, now);
            self.push_on(now);
        }
        if let Some(Phase::Closed(_)) | None = self.phase() {
            // It is refused, so that nothing waits any more.
            if let Some(link) = &mut self.link {
                link.discard(&mut self.buffers);
            }
            return Tried::Done(Err(self.refusal()));
        }
        if self.wants_to_send() == Wanted::Yes { Tried::Waits } else { Tried::Done(Ok(*taken)) }
    }

    fn try_ending(&mut self, signal: Signal, asked: Wanted) -> Tried<()> {
        if asked == Wanted::Yes && matches!(self.phase(), Some(Phase::Closed(_)) | None) {
            let is_ended = self.phase() == Some(Phase::Closed(Reason::PeerClosed)) && self.usage == Usage::Open;
            return Tried::Done(if is_ended { Ok(()) } else { Err(self.refusal()) });
        }
        // Who closes has no use for the news that the peer had gone before, if nothing is lost by it.
        let is_told = signal == Signal::Finish || asked == Wanted::No || self.wants_to_send() == Wanted::Yes;
        if asked == Wanted::Yes {
            self.signal(signal);
        }
        self.push_on(now());
        if matches!(self.phase(), Some(Phase::Finishing | Phase::Flushing(_))) {
            return Tried::Waits;
        }
        Tried::Done(match self.phase() {
            Some(Phase::Closed(reason)) if is_told && !matches!(reason, Reason::PeerClosed | Reason::Local) => {
                Err(told(reason, self.detail()))
            }
            Some(_) | None => Ok(()),
        })
    }

    /// Takes what the peer has sent, to look whether it has ended.
    fn look(&mut self, ready: crate::net::Readiness) {
        let now = now();
        let Some(link) = &mut self.link else { return };
        link.note(ready);
        match &mut self.scratch {
            None => link.look_for_end(now),
            Some(scratch) if link.may_read() => {
                let piece = link.piece(usize::MAX, scratch);
                if let Some((_, bytes)) =
                    link.receive_opened(piece, &mut Quota::ALL.clone(), scratch, &mut self.buffers, now)
                {
                    link.keep_input(bytes, &mut self.buffers.pool);
                }
            }
            Some(_) => {}
        }
    }

    fn read_last(&mut self) {
        let now = now();
        let mut bytes = [0; 4096];
        if let Some(link) = &mut self.link {
            // Up to what the kernel says is the last: a read may end early at urgent data.
            link.note(crate::net::Readiness { readable: true, priority: true, ..Default::default() });
            for _ in 0..LAST_READS {
                if !link.may_read() || !matches!(link.receive(&mut bytes, now), Received::Bytes(_)) {
                    break;
                }
            }
        }
    }
}

impl Drop for Inside {
    /// Says our end, as far as that needs no waiting; the kernel goes on with what it has taken.
    fn drop(&mut self) {
        if self.usage == Usage::Open && self.phase().is_some_and(|phase| !matches!(phase, Phase::Closed(_))) {
            self.signal(Signal::Close(Reason::Local));
            self.push_on(now());
            self.read_last();
        }
    }
}

/// The peer's end was reached: it is told as long as it is asked for.
fn peer_ended(link: &mut Link, now: Tick) -> io::Result<usize> {
    if link.is_truncated() {
        link.signal(Signal::Close(Reason::Truncated), now);
        return Err(told(Reason::Truncated, link.failure_detail()));
    }
    if matches!(link.phase(), Phase::Open | Phase::Finishing | Phase::WriteClosed) {
        link.signal(Signal::PeerEnded, now);
    }
    Ok(0)
}

/// Why a link ended, as an error of input or output.
fn told(reason: Reason, detail: Option<&str>) -> io::Error {
    match reason {
        Reason::Os(number) => io::Error::from_raw_os_error(number.into()),
        _ => io::Error::new(reason.kind(), reason.with_detail(detail).to_string()),
    }
}

impl Read for &BlockingLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = deadline(self.timeouts().read);
        self.read_by(buffer, until)
    }
}

impl Write for &BlockingLink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let until = deadline(self.timeouts().write);
        self.write_by(bytes, until)
    }

    fn flush(&mut self) -> io::Result<()> {
        let until = deadline(self.timeouts().write);
        self.flush_by(until)
    }
}

impl Read for BlockingLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for BlockingLink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl AsFd for BlockingLink {
    /// The socket, to ask or set what is not named here. Reading, writing or closing it breaks the connection.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
