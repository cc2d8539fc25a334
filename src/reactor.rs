//! One poll, one table, one clock: the turn.
//!
//! Owns the loop and its five funnels (kernel events, those that said `Again`, commands, deadlines, steps of handshakes),
//! which all end in
//! [`Core::drive`], the only place where sources are driven. Each funnel has a budget or takes its queue before it
//! starts, so that a turn ends (A7). Only here the clock is read (A8).

mod alarm;
mod core;
mod drain;
mod hearing;
mod orders;
mod stopwatch;
pub(crate) mod table;
pub(crate) mod timers;

use crate::address::Address;
use crate::clock::Tick;
use crate::command::Order;
use crate::config::datagram::DatagramConfig;
use crate::config::{ConnectConfig, ListenConfig, ReactorConfig};
use crate::context::{Context, Life, TimerId};
use crate::counters::Counters;
use crate::error::Error;
use crate::handler::{Accept, DatagramHandler, Handler};
use crate::id::{ConnId, EndpointId, ListenerId, SourceId};
use crate::mailbox::{Driving, Mailbox, Remote, Report};
use crate::message::Undelivered;
use crate::net::Readiness;
use alarm::Alarm;
use core::Core;
use hearing::Polled;
use mio::{Events, Poll};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How far a reactor is in its life.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Reactor, ReactorConfig, Status};
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// reactor.shutdown(Duration::ZERO);
/// while !matches!(reactor.poll_once(None)?, Status::Stopped(_)) {}
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It accepts and connects.
    Running,
    /// It was asked to stop and waits for its connections to end, or for the deadline.
    Draining,
    /// It is over.
    Stopped(Report),
}

/// A loop that owns listeners, connections and watched descriptors, and calls their handlers.
///
/// It lives on one thread. Give it the thread with [`Reactor::run`], or drive it from a loop of your own:
/// [`Reactor::poll_once`] when its descriptor ([`AsFd`]) is readable or [`Reactor::next_deadline`] is past.
///
/// Dropping it ends every connection with `on_close(ReactorDropped)`.
///
/// ```
/// use windlass::{Conn, Handler, ListenConfig, Reactor, ReactorConfig};
/// # fn main() -> Result<(), windlass::Error> {
/// struct Echo;
/// impl Handler for Echo {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize { conn.write_some(data) }
/// }
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// reactor.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), |_: &Conn<'_>| Echo)?;
/// reactor.shutdown(std::time::Duration::ZERO); // or reactor.remote().stop(…) from another thread or callback
/// let report = reactor.run()?;
/// # Ok(()) }
/// ```
pub struct Reactor {
    poll: Poll,
    events: Events,
    core: Core,
    /// If the descriptor is to tell of deadlines as well.
    alarm: Option<Alarm>,
}

impl std::fmt::Debug for Reactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reactor").field("life", &self.core.state.life).field("sources", &self.core.table.len()).finish()
    }
}

/// Numbers reactors, so that ids of one are not taken for ids of another.
static REACTORS: AtomicU32 = AtomicU32::new(0);

impl Reactor {
    /// Makes a reactor for this thread.
    ///
    /// # Errors
    /// `Config`; `Poll` if the system has no descriptors or memory for it (it needs three).
    pub fn new(config: ReactorConfig) -> Result<Reactor, Error> {
        config.validate()?;
        let poll = Poll::new().map_err(Error::Poll)?;
        let number = REACTORS.fetch_add(1, Ordering::Relaxed);
        let registry = poll.registry().try_clone().map_err(Error::Poll)?;
        let core = Core::new(number, registry, &config).map_err(Error::Poll)?;
        Ok(Reactor { poll, events: Events::with_capacity(config.events_per_turn), core, alarm: None })
    }

    /// What closures and callbacks are lent too: everything that a reactor can be asked from its own thread.
    pub fn context(&mut self) -> Context<'_> {
        self.core.read_clock();
        let has_stopped = self.core.context().has_stopped();
        if let Some(alarm) = self.alarm.as_mut().filter(|_| !has_stopped) {
            alarm.ring();
        }
        self.core.context()
    }

    /// Has the descriptor ([`AsFd`]) become readable for deadlines and for work that waits as well, so that a loop around this
    /// reactor (epoll, glib, libuv, Qt) watches one descriptor and needs no timeout for it: it calls
    /// `poll_once(Some(Duration::ZERO))` when the descriptor is readable, and never asks for [`Reactor::next_deadline`]. Deadlines
    /// come to a few dozen microseconds, where epoll_wait(2) and many loops count in milliseconds.
    ///
    /// A timer of the system's (timerfd_create(2)) is set behind each turn, if what is due next has changed: one system call.
    /// Whoever takes the [context](Reactor::context) between two turns, by `listen`, `connect`, `after` and others too, makes the
    /// descriptor readable at once, and the turn that follows checks what is due. Handles of other threads ([`Remote`]) need
    /// nothing, as ever. It stays so until the reactor has stopped; a second call does nothing.
    ///
    /// ```
    /// use rustix::event::{PollFd, PollFlags, poll};
    /// use std::time::Duration;
    /// use windlass::{Reactor, ReactorConfig, Status};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut reactor = Reactor::new(ReactorConfig::default())?;
    /// # #[cfg(target_os = "linux")]
    /// # {
    /// reactor.arm_descriptor()?;
    /// reactor.after(Duration::from_millis(5), |cx| cx.shutdown(Duration::ZERO));
    /// loop {
    ///     poll(&mut [PollFd::new(&reactor, PollFlags::IN)], None)?; // for as long as it takes
    ///     if let Status::Stopped(_) = reactor.poll_once(Some(Duration::ZERO))? {
    ///         break;
    ///     }
    /// }
    /// # }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Descriptor` if the system has no descriptor left, or no such timers: only Linux and Android have. Nothing has changed
    /// then.
    pub fn arm_descriptor(&mut self) -> Result<(), Error> {
        if self.alarm.is_none() && !self.core.context().has_stopped() {
            let made = Alarm::new(&self.core.state.registry);
            self.alarm = Some(made.map_err(|source| Error::Descriptor { action: "make a timer", source })?);
            // With room for its own event: a turn that took nothing else is not full, and need not be followed by another.
            self.events = Events::with_capacity(self.core.more_events());
        }
        Ok(())
    }

    /// Listens on a stream address; see [`Context::listen`].
    ///
    /// # Errors
    /// As [`Context::listen`].
    pub fn listen(
        &mut self,
        address: &Address,
        config: ListenConfig,
        accept: impl Accept,
    ) -> Result<ListenerId, Error> {
        self.context().listen(address, config, accept)
    }

    /// Begins to connect; see [`Context::connect`].
    ///
    /// # Errors
    /// As [`Context::connect`].
    pub fn connect(
        &mut self,
        address: &Address,
        config: ConnectConfig,
        handler: impl Handler,
    ) -> Result<ConnId, Error> {
        self.context().connect(address, config, handler)
    }

    /// Binds a datagram socket; see [`Context::bind`].
    ///
    /// # Errors
    /// As [`Context::bind`].
    pub fn bind(
        &mut self,
        address: &Address,
        config: DatagramConfig,
        handler: impl DatagramHandler,
    ) -> Result<EndpointId, Error> {
        self.context().bind(address, config, handler)
    }

    /// Makes a datagram socket that talks to one peer; see [`Context::connect_datagrams`].
    ///
    /// # Errors
    /// As [`Context::connect_datagrams`].
    pub fn connect_datagrams(
        &mut self,
        peer: &Address,
        config: DatagramConfig,
        handler: impl DatagramHandler,
    ) -> Result<EndpointId, Error> {
        self.context().connect_datagrams(peer, config, handler)
    }

    /// Where a datagram socket is really bound, with the port or name that the system chose; `None` once it is gone.
    pub fn endpoint_address(&self, id: EndpointId) -> Option<Address> {
        self.core.state.endpoint_address(id)
    }

    /// Where a listener really listens, with the port that the system chose; `None` once it is gone.
    pub fn listener_address(&self, id: ListenerId) -> Option<Address> {
        self.core.state.listener_address(id)
    }

    /// Runs `job` on the reactor after `delay`; see [`Context::after`].
    pub fn after(&mut self, delay: Duration, job: impl FnOnce(&mut Context<'_>) + 'static) -> TimerId {
        self.context().after(delay, job)
    }

    /// The way into this reactor from other threads.
    pub fn remote(&self) -> Remote {
        self.core.state.remote.clone()
    }

    /// Calls `tell` with what [`Remote::send`], [`Remote::tell`] or [`Other::tell`](crate::Other::tell) took and that could not be
    /// delivered, and why: `Gone`, `NotOpen`, `NotTaken`, `Full`, `TooLong` or `ReactorGone`. Without it they are only counted.
    pub fn on_undelivered(&mut self, tell: impl FnMut(Undelivered, &Error) + 'static) {
        self.context().on_undelivered(tell);
    }

    /// What the reactor counted so far, the bytes of living connections included. Costs a pass over them.
    pub fn snapshot(&self) -> Counters {
        self.core.snapshot()
    }

    /// Bytes of memory that wait in all queues now; see [`ReactorConfig::queued_bytes_max`].
    pub fn queued_bytes(&self) -> usize {
        self.core.queued_bytes()
    }

    /// Connections that live now, those that connect or shake hands included; each datagram socket counts as one.
    pub fn connections(&self) -> usize {
        self.core.state.connections
    }

    /// Begins to drain, to be over within `drain`: what the kernel has accepted already is taken, listeners are closed,
    /// every handler gets `on_drain`. `run` and `poll_once` do the work; the report comes when the last connection has
    /// ended, or was cut at the deadline. Asked again, the sooner deadline counts.
    pub fn shutdown(&mut self, drain: Duration) {
        self.context().shutdown(drain);
    }

    /// How far it is in its life.
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// Its listeners, and where they really listen.
    pub fn listeners(&self) -> Vec<(ListenerId, Address)> {
        self.core.state.listeners()
    }

    /// When `poll_once` should be called at the latest, without an event; already past while something waits to be done, or
    /// while the kernel may have more events than the last turn had room for.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.due().and_then(Tick::instant)
    }

    /// Drives the reactor until it has stopped.
    ///
    /// # Errors
    /// `Poll` if the system's poll fails for good.
    pub fn run(&mut self) -> Result<Report, Error> {
        loop {
            if let Status::Stopped(report) = self.poll_once(None)? {
                return Ok(report);
            }
        }
    }

    /// Whether every source is driven in time for its deadline.
    #[cfg(test)]
    pub(crate) fn arms_every_deadline(&self) -> bool {
        self.core.arms_every_deadline()
    }

    /// How long it is till the first timer fires.
    #[cfg(test)]
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.core.next_timer()
    }

    /// Does one turn: waits at most `timeout` (`None`: as long as nothing happens and no deadline comes) and serves what
    /// came.
    ///
    /// # Errors
    /// `Poll` if the system's poll fails; an interrupting signal is no failure.
    pub fn poll_once(&mut self, timeout: Option<Duration>) -> Result<Status, Error> {
        if let Life::Stopped(report) = self.core.state.life {
            return Ok(Status::Stopped(report));
        }
        let _driving = Driving::reactor(self.core.number);
        // What was written between turns, through `context()`.
        self.core.context().send_gathered();
        let wait = self.core.wait(timeout);
        let polled = match self.poll.poll(&mut self.events, wait) {
            Ok(()) => Polled::All,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Polled::Part
            }
            Err(error) => return Err(Error::Poll(error)),
        };
        self.core.begin_turn();
        let mut events = 0;
        for event in &self.events {
            events += 1;
            let word = event.token().0;
            if word == Mailbox::WORD {
                self.core.has_mail();
            } else {
                let id = SourceId::from_word(self.core.number, word);
                self.core.drive_ready(id, Readiness::of(event));
            }
        }
        // What had no room has been reported to nobody yet, and a loop around this one would not hear of it.
        self.core.note_poll(polled, events);
        self.core.drive_again();
        self.core.run_commands();
        self.core.drive_due();
        self.core.drive_handshakes();
        self.core.relieve();
        let status = self.core.check_drain();
        self.core.end_turn();
        if self.alarm.is_some() {
            self.set_alarm(status);
        }
        Ok(status)
    }

    #[cold]
    fn set_alarm(&mut self, status: Status) {
        let due = match status {
            Status::Running | Status::Draining => self.due(),
            Status::Stopped(_) => None,
        };
        if let Some(alarm) = &mut self.alarm {
            alarm.set(due, || {
                self.core.read_clock();
                self.core.state.now
            });
        }
    }

    /// When there is something to do without an event.
    fn due(&self) -> Option<Tick> {
        if self.core.has_work() { Some(self.core.state.now) } else { self.core.next_due() }
    }
}

impl AsFd for Reactor {
    /// The poll's descriptor: readable when the kernel has something for `poll_once`, and behind
    /// [`Reactor::arm_descriptor`] when a deadline has.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.state.registry.as_fd()
    }
}

impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let _driving = Driving::reactor(self.core.number);
        if !matches!(self.core.state.life, Life::Stopped(_)) {
            self.core.read_clock();
            self.core.restart_stopwatch();
            self.core.context().send_gathered();
            // Nothing new is begun from now on.
            self.core.state.life = Life::Stopped(Report::default());
            self.core.end_connections(|| Order::ReactorDropped);
            self.core.end_others(|| Order::ReactorDropped);
            self.core.run_endings();
            // What was being driven when this thread panicked is lost, and must not count for ever.
            for _ in 0..self.core.state.connections {
                self.core.state.connection_ends();
            }
            self.core.end_mailbox(None);
        }
        // What users left behind may wait for reactors when it is dropped: it is refused here, as in callbacks.
        self.core.drop_rest();
    }
}
