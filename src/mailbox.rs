//! A reactor's cross-thread queue, and the senders into it.
//!
//! Owns how a reactor is woken, and what is known of its end. Knows nothing of what the commands do. Who wakes, and what is
//! refused, is decided in `mailbox/queue.rs`.

mod pulse;
mod queue;

use crate::address::Family;
use crate::clock::{self, Tick};
use crate::command::{Adopter, Command, Order};
use crate::conn::Conn;
use crate::context::Context;
use crate::dial::resolver::Found;
use crate::error::Error;
use crate::handler::Handler;
use crate::id::{ConnId, EndpointId, SourceId};
use crate::link::Link;
use crate::link::handshake::OffloadedSession;
use crate::message::{Message, Untold};
use crate::net::Registry;
use crate::net::datagram::peer::DatagramPeer;
use crate::placement::Handoff;
use crate::seldom::Seldom;
use bytes::Bytes;
pub(crate) use pulse::Accepting;
pub use pulse::Health;
use pulse::Pulse;
pub(crate) use queue::Room;
use queue::{Queue, Refusal};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a drain came to.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Engine, EngineConfig};
/// let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() })?;
/// let report = engine.shutdown(Duration::from_secs(1))?;
/// assert!(report.is_clean());
/// println!("{report}");
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Connections that ended by themselves during the drain.
    pub drained: u64,
    /// Connections that were cut at the deadline.
    pub cut: u64,
    /// Bytes of output that the cut ones had accepted and the kernel never took.
    pub unsent_bytes: u64,
}

impl Report {
    /// Whether everybody was served to the end: no connection was cut at the deadline, and no output that was accepted of one
    /// was lost by that. `shutdown` returns `Ok` in either case.
    ///
    /// A connection that ends by itself during the drain counts as drained, however it ends: one that the peer resets, and one
    /// whose TLS handshake is given up because it is not done in its share of the time. One that is detached is not counted.
    ///
    /// ```
    /// # fn end(server: &windlass::Server) -> Result<(), windlass::Error> {
    /// let report = server.shutdown(std::time::Duration::from_secs(30))?;
    /// if !report.is_clean() {
    ///     eprintln!("not everybody was served to the end: {report}");
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Report { drained: _, cut, unsent_bytes } = *self;
        cut == 0 && unsent_bytes == 0
    }

    /// Adds what another reactor's drain came to.
    pub(crate) fn add(&mut self, other: &Report) {
        self.drained += other.drained;
        self.cut += other.cut;
        self.unsent_bytes += other.unsent_bytes;
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} drained, {} cut, {} bytes never sent", self.drained, self.cut, self.unsent_bytes)
    }
}

/// Bytes that were not taken, and why.
///
/// ```
/// use windlass::{Bytes, ConnId, Remote};
/// /// Returns what could not be queued.
/// fn send(remote: &Remote, to: ConnId, bytes: Bytes) -> Option<Bytes> {
///     remote.send(to, bytes).err().map(|unsent| unsent.bytes)
/// }
/// ```
#[derive(thiserror::Error)]
#[error("not sent: {why}")]
pub struct Unsent {
    /// The bytes, as they were given.
    pub bytes: Bytes,
    /// `MailboxFull`, `ReactorGone`, `Gone`, `OnReactorThread`, or of a connector `NotConnected`.
    #[source]
    pub why: Error,
}

impl From<Unsent> for std::io::Error {
    /// Its kind is that of `why`; the bytes are inside.
    fn from(unsent: Unsent) -> std::io::Error {
        std::io::Error::new(unsent.why.kind(), unsent)
    }
}

/// A link that was not taken, and why.
///
/// ```
/// use windlass::{Context, Link, handler_fn};
/// fn take(cx: &mut Context<'_>, link: Link) -> Option<Link> {
///     match cx.adopt(link, handler_fn(|conn, data| conn.write_some(data))) {
///         Ok(_) => None,
///         Err(refused) => {
///             eprintln!("{}", refused.why);
///             Some(*refused.link)
///         }
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("not adopted: {why}")]
pub struct Unadopted {
    /// The link, as it was given.
    pub link: Box<Link>,
    /// `MailboxFull` or `ReactorGone`.
    #[source]
    pub why: Error,
}

impl std::fmt::Debug for Unsent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsent").field("bytes", &self.bytes.len()).field("why", &self.why).finish()
    }
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    reactor: u32,
    room: Room,
    pulse: Pulse,
    queue: Queue<Command, End, Arc<mio::Waker>>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Stopped(Report),
    Dropped,
}

thread_local! {
    /// The reactor that this thread is driving, so that a call that waits for it can refuse.
    static DRIVING: Cell<Option<u32>> = const { Cell::new(None) };
    /// Those within whose callbacks it is driven.
    static AROUND: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Stands for a thread that drives none and must not wait either; no reactor has this number.
const NO_REACTOR: u32 = u32::MAX;

/// Marks this thread as driving a reactor until it is dropped.
pub(crate) struct Driving(Option<u32>);

impl Driving {
    pub(crate) fn reactor(number: u32) -> Driving {
        let outer = DRIVING.replace(Some(number));
        if let Some(outer) = outer {
            AROUND.with_borrow_mut(|around| around.push(outer));
        }
        Driving(outer)
    }

    /// Marks this thread as running a callback, where waiting is refused as on a reactor's own.
    pub(crate) fn callback() -> Driving {
        match DRIVING.get() {
            None => Driving::reactor(NO_REACTOR),
            Some(number) => Driving::reactor(number),
        }
    }

    /// Whether this thread drives the reactor, perhaps around another one.
    fn is_of(reactor: u32) -> bool {
        let around = |around: &RefCell<Vec<u32>>| around.borrow().contains(&reactor);
        // A thread that ends has none left.
        DRIVING.get() == Some(reactor) || AROUND.try_with(around).unwrap_or(false)
    }

    /// Whether this thread drives any reactor, or runs a callback.
    pub(crate) fn is_any() -> bool {
        DRIVING.get().is_some()
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        DRIVING.set(self.0);
        if self.0.is_some() {
            AROUND.with_borrow_mut(|around| _ = around.pop());
        }
    }
}

impl Mailbox {
    /// The word under which the waker is registered; no source has it.
    pub(crate) const WORD: usize = usize::MAX;

    pub(crate) fn new(registry: &Registry, reactor: u32, room: Room) -> io::Result<Mailbox> {
        let waker = Arc::new(mio::Waker::new(registry, mio::Token(Mailbox::WORD))?);
        Ok(Mailbox { reactor, room, pulse: Pulse::default(), queue: Queue::new(room, waker) })
    }

    fn refused(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Full => Error::MailboxFull { limit: self.room.commands, unit: "commands" },
            Refusal::Bytes => Error::MailboxFull { limit: self.room.bytes, unit: "bytes" },
            Refusal::Ended => Error::ReactorGone,
        }
    }

    /// Queues a command; gives it back if it cannot.
    fn push(&self, command: Command) -> Result<(), (Command, Error)> {
        let bytes = command.bytes();
        let pushed = self.queue.push(command, bytes, |waker| self.wake(waker));
        pushed.map_err(|(command, refusal)| (command, self.refused(refusal)))
    }

    /// As `push`, and waits for room for at most `timeout`.
    fn push_within(&self, command: Command, timeout: Duration) -> Result<(), (Command, Error)> {
        if Driving::is_any() {
            return Err((command, Error::OnReactorThread));
        }
        let bytes = command.bytes();
        let pushed = self.queue.push_within(command, bytes, time_left(timeout), |waker| self.wake(waker));
        pushed.map_err(|(command, refusal)| (command, self.refused(refusal)))
    }

    fn wake(&self, waker: &mio::Waker) {
        if let Err(error) = waker.wake() {
            static FAILED: Seldom = Seldom::new();
            if let Some(missed) = FAILED.passes() {
                log::error!("reactor {}: cannot wake: {error}{missed}", self.reactor);
            }
        }
    }

    /// Moves all that is queued into `batch`, which is empty.
    pub(crate) fn take(&self, batch: &mut VecDeque<Command>) {
        self.queue.take(batch);
    }

    /// By when a stop was asked for, told once.
    pub(crate) fn take_stop(&self) -> Option<Instant> {
        self.queue.take_stop()
    }

    /// The reactor is gone: nothing is queued from now on, whoever waits is told. Returns what was still queued.
    pub(crate) fn end(&self, report: Option<Report>) -> VecDeque<Command> {
        self.queue.end(report.map_or(End::Dropped, End::Stopped))
    }
}

/// The way into a reactor from other threads. Cheap to clone.
///
/// One that is kept after the reactor's end costs a little memory and no descriptor.
///
/// No call blocks, but [`Remote::wait`], [`Remote::shutdown`] and those whose names end in `_timeout`. What one `Remote` asks of
/// one connection is done in its order, and a closure finds all done that was asked for before it. What is sent to one connection
/// while the reactor is busy leaves together. Two are equal if they are of the same reactor.
///
/// # When the mailbox is full
/// It has room for [`ReactorConfig::mailbox_commands_max`](crate::ReactorConfig::mailbox_commands_max) commands and
/// [`ReactorConfig::mailbox_bytes_max`](crate::ReactorConfig::mailbox_bytes_max) bytes. Beyond that a call returns what it was given
/// with `MailboxFull`; [`Remote::send_timeout`] and [`Remote::tell_timeout`] wait for room, which a thread that produces without
/// end should do. The reactor empties the whole mailbox at once, and then all who wait try again, in no order: whoever comes
/// just then may be first. So a thread waits longer than others only while they fill the whole mailbox again before it runs.
///
/// ```
/// use windlass::{Engine, EngineConfig};
/// let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() })?;
/// let remote = engine.remotes()[0].clone(); // for any thread
/// remote.run(|cx| println!("{} connections", cx.connections().len()))?;
/// assert!(!remote.health().has_ended);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Remote(pub(crate) Arc<Mailbox>);

impl PartialEq for Remote {
    fn eq(&self, other: &Remote) -> bool {
        self.0.reactor == other.0.reactor
    }
}

impl Eq for Remote {}

impl std::hash::Hash for Remote {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.reactor.hash(state);
    }
}

impl Remote {
    /// Connections of the reactor: those that connect or shake hands, datagram sockets, and what is on its way to it.
    pub fn connections(&self) -> usize {
        self.load()
    }

    /// How the reactor is: whether it lives, whether a callback holds it up, whether it accepts. Nothing is asked of the
    /// reactor, so that one that hangs is told too.
    pub fn health(&self) -> Health {
        let (waiting, has_ended) = self.0.queue.state();
        self.0.pulse.health(Tick::of(Instant::now()), has_ended, waiting)
    }

    pub(crate) fn turn_begins(&self, now: Tick) {
        self.0.pulse.turn_begins(now);
    }

    pub(crate) fn turn_ends(&self) {
        self.0.pulse.turn_ends();
    }

    pub(crate) fn listener_changes(&self, from: Accepting, to: Accepting) {
        self.0.pulse.listener_changes(from, to);
    }

    /// Whether a callback seems to hold it up.
    pub(crate) fn is_held_up(&self, now: Tick) -> bool {
        self.0.pulse.is_held_up(now)
    }

    pub(crate) fn load(&self) -> usize {
        self.0.pulse.load.load(Ordering::Acquire)
    }

    pub(crate) fn load_more(&self) {
        self.0.pulse.load.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn load_less(&self) {
        self.0.pulse.load.fetch_sub(1, Ordering::Release);
    }

    /// Connections that have left it and keep their places.
    pub(crate) fn away(&self) -> usize {
        self.0.pulse.away.load(Ordering::Relaxed)
    }

    pub(crate) fn away_more(&self) {
        self.0.pulse.away.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn away_less(&self) {
        self.0.pulse.away.fetch_sub(1, Ordering::Relaxed);
    }

    /// Gives back the place of a connection that had left.
    pub(crate) fn give_back(&self, acceptor: SourceId) {
        self.order_asked(acceptor, Order::SeatBack);
    }

    /// TLS handshakes of accepted connections that are under way there, or on their way.
    pub(crate) fn handshakes(&self) -> usize {
        self.0.pulse.handshakes.load(Ordering::Relaxed)
    }

    pub(crate) fn handshake_begins(&self) {
        self.0.pulse.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn handshake_ends(&self) {
        self.0.pulse.handshakes.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether its reactor is over.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.queue.state().1
    }

    /// Hands an accepted stream over; it comes back if it is not taken.
    pub(crate) fn hand(&self, handed: Box<Handoff>) -> Result<(), Box<Handoff>> {
        self.load_more();
        let shakes = handed.shakes_hands;
        if shakes {
            self.handshake_begins();
        }
        match self.0.push(Command::Accepted(handed)) {
            Err((Command::Accepted(back), _)) => {
                self.load_less();
                if shakes {
                    self.handshake_ends();
                }
                Err(back)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn own(&self, id: ConnId) -> Result<SourceId, Error> {
        if id.0.reactor == self.0.reactor { Ok(id.0) } else { Err(Error::Gone) }
    }

    fn order(&self, id: ConnId, order: Order) -> Result<(), Error> {
        let id = self.own(id)?;
        self.0.push(Command::Order(id, order)).map_err(|(_, why)| why)
    }

    /// Queues `bytes` on a connection, without a copy.
    ///
    /// What later cannot be delivered (the connection is gone or takes no output, its output queue is full) goes to
    /// `Reactor::on_undelivered`.
    ///
    /// # Errors
    /// The bytes come back with `MailboxFull`, `ReactorGone`, or `Gone` if the id is of another reactor.
    pub fn send(&self, id: ConnId, bytes: Bytes) -> Result<(), Unsent> {
        let id = match self.own(id) {
            Ok(id) => id,
            Err(why) => return Err(Unsent { bytes, why }),
        };
        self.0.push(Command::Order(id, Order::Send(bytes))).map_err(unsent)
    }

    /// As [`Remote::send`], and waits for at most `timeout` while the mailbox is full: see [`Remote`].
    ///
    /// # Errors
    /// As [`Remote::send`]; `MailboxFull` when the time is up. `OnReactorThread` in a callback, of whichever reactor: it would hold
    /// all its connections up.
    pub fn send_timeout(&self, id: ConnId, bytes: Bytes, timeout: Duration) -> Result<(), Unsent> {
        let id = match self.own(id) {
            Ok(id) => id,
            Err(why) => return Err(Unsent { bytes, why }),
        };
        self.0.push_within(Command::Order(id, Order::Send(bytes)), timeout).map_err(unsent)
    }

    /// Sends `value` to the handler of a connection: its `on_message` is called with it, on the reactor's thread, after what this
    /// `Remote` asked of the connection before.
    ///
    /// What its handler does not take, or what comes when the connection is gone, not open yet or closing, goes to
    /// `Reactor::on_undelivered`.
    ///
    /// ```
    /// use windlass::{Conn, Handler, Message};
    /// struct Session;
    /// struct Kick;
    /// impl Handler for Session {
    ///     fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
    ///         data.len()
    ///     }
    ///     fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
    ///         if let Some(Kick) = message.take() {
    ///             conn.close();
    ///         }
    ///     }
    /// }
    /// # fn from_another_thread(remote: &windlass::Remote, id: windlass::ConnId) {
    /// if let Err(untold) = remote.tell(id, Kick) {
    ///     eprintln!("{untold}");
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// The value comes back with `MailboxFull`, `ReactorGone`, or `Gone` if the id is of another reactor.
    pub fn tell<T: Any + Send>(&self, id: ConnId, value: T) -> Result<(), Untold<T>> {
        self.tell_source(id.0, value)
    }

    /// As [`Remote::tell`], and waits for at most `timeout` while the mailbox is full: see [`Remote`].
    ///
    /// ```
    /// # use std::time::Duration;
    /// # fn producer(remote: &windlass::Remote, id: windlass::ConnId, prices: std::sync::mpsc::Receiver<u64>) {
    /// for price in prices {
    ///     if let Err(untold) = remote.tell_timeout(id, price, Duration::from_secs(10)) {
    ///         eprintln!("{}: {}", untold.value, untold.why);
    ///         break;
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Remote::tell`]; `MailboxFull` when the time is up. `OnReactorThread` in a callback, of whichever reactor: it would hold
    /// all its connections up.
    pub fn tell_timeout<T: Any + Send>(&self, id: ConnId, value: T, timeout: Duration) -> Result<(), Untold<T>> {
        self.tell_source_by(id.0, value, |mailbox, command| mailbox.push_within(command, timeout))
    }

    /// Sends `value` to the handler of a datagram socket; see [`Remote::tell`].
    ///
    /// # Errors
    /// As [`Remote::tell`].
    pub fn tell_endpoint<T: Any + Send>(&self, id: EndpointId, value: T) -> Result<(), Untold<T>> {
        self.tell_source(id.0, value)
    }

    fn tell_source<T: Any + Send>(&self, id: SourceId, value: T) -> Result<(), Untold<T>> {
        self.tell_source_by(id, value, Mailbox::push)
    }

    fn tell_source_by<T: Any + Send>(
        &self,
        id: SourceId,
        value: T,
        push: impl FnOnce(&Mailbox, Command) -> Result<(), (Command, Error)>,
    ) -> Result<(), Untold<T>> {
        if id.reactor != self.0.reactor {
            return Err(Untold { value, why: Error::Gone });
        }
        let Err((command, why)) = push(&self.0, Command::Order(id, Order::Tell(Message::new(value)))) else {
            return Ok(());
        };
        let Command::Order(_, Order::Tell(mut message)) = command else {
            unreachable!("what was refused comes back as it was")
        };
        let value = message.take().expect("what was refused comes back as it was");
        Err(Untold { value, why })
    }

    /// Number of its reactor, which its connections' ids begin with. No other reactor of the process has or had it;
    /// [`Context::number`] counts those of an engine from 0.
    pub fn reactor(&self) -> u32 {
        self.0.reactor
    }

    /// Queues a datagram on a datagram socket, to its own peer if `to` is `None`.
    ///
    /// What is refused there is told to its handler's `on_error`, with the bytes; if the endpoint is gone by then, it is
    /// only counted.
    ///
    /// # Errors
    /// The bytes come back with `MailboxFull`, `ReactorGone`, or `Gone` if the id is of another reactor.
    pub fn send_datagram(&self, id: EndpointId, to: Option<DatagramPeer>, bytes: Bytes) -> Result<(), Unsent> {
        if id.0.reactor != self.0.reactor {
            return Err(Unsent { bytes, why: Error::Gone });
        }
        let order = Order::SendTo(to.map(Box::new), bytes);
        self.0.push(Command::Order(id.0, order)).map_err(unsent)
    }

    /// Closes a datagram socket, as [`Datagrams::close`](crate::Datagrams::close) does. Nothing happens if it is gone by
    /// then.
    ///
    /// # Errors
    /// `MailboxFull`, `ReactorGone`, or `Gone` if the id is of another reactor.
    pub fn close_endpoint(&self, id: EndpointId) -> Result<(), Error> {
        self.order(ConnId(id.0), Order::Close)
    }

    /// Half-closes a connection, as [`Conn::finish`] does. Nothing happens if it is gone by then.
    ///
    /// # Errors
    /// `MailboxFull`, `ReactorGone`, or `Gone` if the id is of another reactor.
    pub fn finish(&self, id: ConnId) -> Result<(), Error> {
        self.order(id, Order::Finish)
    }

    /// Closes a connection, as [`Conn::close`] does. Nothing happens if it is gone by then.
    ///
    /// # Errors
    /// `MailboxFull`, `ReactorGone`, or `Gone` if the id is of another reactor.
    pub fn close(&self, id: ConnId) -> Result<(), Error> {
        self.order(id, Order::Close)
    }

    /// Resets a connection, as [`Conn::abort`] does. Nothing happens if it is gone by then.
    ///
    /// # Errors
    /// `MailboxFull`, `ReactorGone`, or `Gone` if the id is of another reactor.
    pub fn abort(&self, id: ConnId) -> Result<(), Error> {
        self.order(id, Order::Abort)
    }

    /// Runs `call` on the reactor's thread, between callbacks. A panic in it is counted and ends nothing.
    ///
    /// # Errors
    /// `MailboxFull` or `ReactorGone`; `call` is dropped then. It is also dropped if the reactor ends before its turn.
    pub fn run(&self, call: impl FnOnce(&mut Context<'_>) + Send + 'static) -> Result<(), Error> {
        self.0.push(Command::Run(Box::new(call))).map_err(|(_, why)| why)
    }

    /// As `run`, for what must not be refused for lack of room, and is bounded elsewhere.
    pub(crate) fn run_asked(&self, call: impl FnOnce(&mut Context<'_>) + Send + 'static) -> Result<(), Error> {
        self.0.queue.push_asked(Command::Run(Box::new(call)), |waker| self.0.wake(waker));
        if self.has_ended() { Err(Error::ReactorGone) } else { Ok(()) }
    }

    /// Orders something of a listener or datagram socket; never refused for lack of room, since one that stays by mistake
    /// serves on.
    pub(crate) fn order_asked(&self, id: SourceId, order: Order) {
        self.0.queue.push_asked(Command::Order(id, order), |waker| self.0.wake(waker));
    }

    /// Tells a connect what a lookup found; never refused for lack of room, since each connect asks twice at most.
    pub(crate) fn tell_found(&self, id: SourceId, family: Family, found: Found) {
        let order = Order::Found(family, Box::new(found));
        self.0.queue.push_asked(Command::Order(id, order), |waker| self.0.wake(waker));
    }

    /// Gives a link to this reactor; `make` makes its handler there. If the reactor is full or draining by then the link is
    /// closed.
    ///
    /// # Errors
    /// The link comes back with `MailboxFull` or `ReactorGone`. If the reactor ends before its turn the link is closed.
    pub fn adopt<H: Handler>(
        &self,
        link: Link,
        make: impl FnOnce(&Conn<'_>) -> H + Send + 'static,
    ) -> Result<(), Unadopted> {
        let make: Adopter = Box::new(move |conn| Box::new(make(conn)));
        self.0.push(Command::Adopt(Box::new(link), make)).map_err(|(command, why)| {
            let Command::Adopt(link, _) = command else {
                unreachable!("push gives back the command that it was given")
            };
            Unadopted { link, why }
        })
    }

    /// Brings a session back from another thread.
    pub(crate) fn bring_back(&self, id: SourceId, away: Box<OffloadedSession>) {
        self.0.queue.push_asked(Command::OffloadDone(id, away), |waker| self.0.wake(waker));
    }

    /// Asks the reactor to drain within `drain`, and does not wait. The soonest deadline that was asked for counts.
    ///
    /// # Errors
    /// `ReactorGone` if it has stopped already.
    pub fn stop(&self, drain: Duration) -> Result<(), Error> {
        let until = clock::until(Instant::now(), drain);
        let pushed = self.0.queue.push_stop(until, Command::Stop, |waker| self.0.wake(waker));
        pushed.map_err(|refusal| self.0.refused(refusal))
    }

    /// Waits until the reactor has stopped. Everybody who waits gets the same report.
    ///
    /// # Errors
    /// `NotDriven` after `timeout`, `ReactorGone` if it was dropped without a stop, `OnReactorThread` if it would wait
    /// for itself.
    pub fn wait(&self, timeout: Duration) -> Result<Report, Error> {
        if Driving::is_of(self.0.reactor) && self.0.queue.ended().is_none() {
            return Err(Error::OnReactorThread);
        }
        match self.0.queue.wait(time_left(timeout)) {
            Some(End::Stopped(report)) => Ok(report),
            Some(End::Dropped) => Err(Error::ReactorGone),
            None => Err(Error::NotDriven),
        }
    }

    /// Drains the reactor within `drain` and waits until it has stopped.
    ///
    /// # Errors
    /// As [`Remote::wait`], which is given a moment more than `drain`.
    pub fn shutdown(&self, drain: Duration) -> Result<Report, Error> {
        if Driving::is_of(self.0.reactor) {
            return Err(Error::OnReactorThread);
        }
        match self.stop(drain) {
            Ok(()) | Err(Error::ReactorGone) => self.wait(drain.saturating_add(REPORT_GRACE)),
            Err(error) => Err(error),
        }
    }
}

/// What is left of a timeout that begins now; one that never ends is looked at again after an hour.
fn time_left(timeout: Duration) -> impl Fn() -> Duration {
    let until = Instant::now().checked_add(timeout);
    let an_hour = Duration::from_secs(3600);
    move || until.map_or(an_hour, |until| until.saturating_duration_since(Instant::now()).min(an_hour))
}

/// Has each of `remotes` run a copy of `call`.
pub(crate) fn tell_all(
    remotes: &[Remote],
    call: impl FnOnce(&mut Context<'_>) + Clone + Send + 'static,
) -> Vec<Result<(), Error>> {
    remotes.iter().map(|remote| remote.run(call.clone())).collect()
}

/// How long a driven reactor may take, beyond its drain's deadline, to cut what is left and to report.
const REPORT_GRACE: Duration = Duration::from_millis(500);

/// What becomes of bytes that were not queued.
fn unsent((command, why): (Command, Error)) -> Unsent {
    let Command::Order(_, Order::Send(bytes) | Order::SendTo(_, bytes)) = command else {
        unreachable!("push gives back the command that it was given")
    };
    Unsent { bytes, why }
}
