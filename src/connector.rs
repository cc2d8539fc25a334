//! A connection of a reactor that comes back: names, addresses, handshakes and waits, none of which blocks the reactor.
//!
//! Owns how far that is. The order of addresses is `dial/race.rs`'s, the wait `dial/backoff.rs`'s.
//!
//! 1. All steps are on the reactor's thread. No user code runs under the lock.
//! 2. A step that comes too late, for an attempt that is over, finds another number and does nothing.

mod attempt;
mod carried;

use crate::address::Address;
use crate::command::{Local, Order};
use crate::config::ConnectConfig;
use crate::conn::Conn;
use crate::dial::backoff::Backoff;
use crate::dial::resolver::{Found, Resolver, Ticket};
use crate::error::{Error, Reason};
use crate::handler::{Handler, guarded};
use crate::id::ConnId;
use crate::link::session::Session;
use crate::mailbox::{Remote, Unsent};
use crate::settings::ClientConfig;
use crate::turn::{TimerId, Turn, check_stream};
use attempt::Racing;
use bytes::Bytes;
use carried::Carried;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a connector does; told in the order in which it happens.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectorState {
    /// The addresses of its name are looked up.
    Resolving,
    /// A connect to this address begins, beside others that were begun and are not decided.
    Connecting(Address),
    /// The connection is open, and its handshake done.
    Connected(ConnId),
    /// No connection came about.
    Failed(Error),
    /// The connection has ended.
    Lost(Reason),
    /// The next attempt begins after so long.
    Waiting(Duration),
    /// It is over: it was stopped, has given up, or its reactor drains. Not told where the reactor ends while nothing is
    /// connected.
    Stopped,
}

impl std::fmt::Display for ConnectorState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectorState::Resolving => f.write_str("looking its name up"),
            ConnectorState::Connecting(address) => write!(f, "connecting to {address}"),
            ConnectorState::Connected(id) => write!(f, "connected, as {id}"),
            ConnectorState::Failed(error) => write!(f, "{error}"),
            ConnectorState::Lost(reason) => write!(f, "the connection has ended: {reason}"),
            ConnectorState::Waiting(delay) => write!(f, "trying again in {:.1} s", delay.as_secs_f64()),
            ConnectorState::Stopped => f.write_str("stopped"),
        }
    }
}

type Make = dyn Fn(&Conn<'_>) -> Box<dyn Handler> + Send + Sync;
type Tell = dyn Fn(&ConnectorState) + Send + Sync;

/// Says what a connector is to be; [`Connector::builder`] begins it.
#[derive(Clone)]
pub struct ConnectorBuilder {
    address: Address,
    config: ConnectConfig,
    resolver: Resolver,
    backoff: Backoff,
    tell: Option<Arc<Tell>>,
}

impl std::fmt::Debug for ConnectorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectorBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

impl ConnectorBuilder {
    /// Limits, socket options and TLS of each connection. `Limits::connect_timeout` is from the start of an attempt, its
    /// lookup included, until a connection is established. With TLS the sessions are resumed that its configuration
    /// remembers.
    pub fn connect_config(mut self, config: ConnectConfig) -> ConnectorBuilder {
        self.config = config;
        self
    }

    /// What finds the addresses of a name, on a thread for lookups. Default: the system.
    pub fn resolver(mut self, resolver: Resolver) -> ConnectorBuilder {
        self.resolver = resolver;
        self
    }

    /// How long to wait between attempts.
    pub fn backoff(mut self, backoff: Backoff) -> ConnectorBuilder {
        self.backoff = backoff;
        self
    }

    /// Is told what it does. A panic in it is counted and ends nothing.
    ///
    /// # Threads
    /// On the reactor's thread.
    pub fn on_state(mut self, call: impl Fn(&ConnectorState) + Send + Sync + 'static) -> ConnectorBuilder {
        self.tell = Some(Arc::new(call));
        self
    }

    /// Begins, on the reactor of `remote`: of an engine, [`Engine::least_loaded`](crate::Engine::least_loaded) is one.
    /// `make` makes the handler of each connection, on the reactor's thread, when it is open.
    ///
    /// # Errors
    /// `Config`, `Transport` or `Address`, naming what cannot work; `MailboxFull` or `ReactorGone`.
    pub fn start<H: Handler>(
        self,
        remote: &Remote,
        make: impl Fn(&Conn<'_>) -> H + Send + Sync + 'static,
    ) -> Result<Connector, Error> {
        self.config.validate()?;
        self.backoff.validate()?;
        self.address.check_target()?;
        check_stream(&self.address, self.config.wants())?;
        if self.config.bind.is_some() && self.address.transport().is_unix() {
            let why = "ConnectConfig::bind is for IP addresses; leave it out";
            return Err(Error::Transport { address: Box::new(self.address), why });
        }
        // Whether there is a name to check the certificate against.
        Session::dialled(&self.config, &self.address)?;
        let inner = Arc::new(Inner {
            plan: self,
            make: Arc::new(move |conn| Box::new(make(conn))),
            remote: remote.clone(),
            state: Mutex::new(State { phase: Phase::Fresh, number: 0, failures: 0, lookup: None }),
        });
        let begun = inner.clone();
        remote.run(move |turn| begun.begin(turn))?;
        Ok(Connector(Arc::new(Handle(inner))))
    }
}

/// A connection that is made again when it ends, by a reactor.
///
/// Names are looked up on other threads; addresses of IPv4 and IPv6 are tried in turn, each 250 ms after the one before or when
/// that has failed, and the first to answer is taken (RFC 8305). What fails is tried again after a wait that grows
/// ([`Backoff`]).
///
/// It can be cloned and used from any thread. When the last clone is dropped it stops; its own callback and handlers hold a
/// [`WeakConnector`].
///
/// ```
/// use std::time::Duration;
/// use windlass::{Conn, Connector, Engine, EngineConfig, Handler};
/// struct Greeter;
/// impl Handler for Greeter {
///     fn on_open(&mut self, conn: &mut Conn<'_>) { let _ = conn.write(b"hello"); }
///     fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize { data.len() }
/// }
/// # fn main() -> Result<(), windlass::Error> {
/// let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() })?;
/// let connector = Connector::builder("tcp://localhost:7007".parse()?)
///     .on_state(|state| println!("{state}"))
///     .start(engine.least_loaded(), |_: &Conn<'_>| Greeter)?;
/// connector.stop();
/// engine.shutdown(Duration::from_secs(1))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Connector(Arc<Handle>);

/// A connector that this handle does not keep going: what its own callback and handlers may hold.
#[derive(Clone, Debug, Default)]
pub struct WeakConnector(Weak<Handle>);

impl WeakConnector {
    /// The connector, unless its last clone was dropped.
    pub fn upgrade(&self) -> Option<Connector> {
        self.0.upgrade().map(Connector)
    }
}

/// Stops what it is a handle of when it is dropped.
struct Handle(Arc<Inner>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("address", &self.0.plan.address).finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ask_to_stop();
    }
}

impl Connector {
    /// Begins to say what a connector is to be.
    pub fn builder(address: Address) -> ConnectorBuilder {
        ConnectorBuilder {
            address,
            config: ConnectConfig::default(),
            resolver: Resolver::system(),
            backoff: Backoff::default(),
            tell: None,
        }
    }

    /// Begins with all that a configuration says, read from a file perhaps; its timeouts of reads and writes are for
    /// clients that wait, and do not apply.
    ///
    /// # Errors
    /// As [`ClientConfig::validate`].
    pub fn configured(config: &ClientConfig) -> Result<ConnectorBuilder, Error> {
        Ok(Connector::builder(config.address().clone()).connect_config(config.connect_config()?))
    }

    /// The connection there is now, open and through with its handshake.
    pub fn connection(&self) -> Option<ConnId> {
        match self.0.0.lock().phase {
            Phase::Open(id, _) => Some(id),
            _ => None,
        }
    }

    /// The way into its reactor.
    pub fn remote(&self) -> &Remote {
        &self.0.0.remote
    }

    /// Queues `bytes` on the connection there is now; see [`Remote::send`].
    ///
    /// # Errors
    /// The bytes come back with `NotConnected`, or as from [`Remote::send`].
    pub fn send(&self, bytes: Bytes) -> Result<(), Unsent> {
        match self.connection() {
            Some(id) => self.remote().send(id, bytes),
            None => Err(Unsent { bytes, why: Error::NotConnected }),
        }
    }

    /// Whether it is over: nothing will be connected any more.
    pub fn is_stopped(&self) -> bool {
        matches!(self.0.0.lock().phase, Phase::Stopped) || self.remote().has_ended()
    }

    /// A handle that does not keep it going. A clone that its own callback or handlers held would keep it for ever.
    pub fn downgrade(&self) -> WeakConnector {
        WeakConnector(Arc::downgrade(&self.0))
    }

    /// Asks it to make nothing new, and to close the connection there is, as [`Conn::close`] does. Does not wait:
    /// `ConnectorState::Stopped` tells that it is done.
    pub fn stop(&self) {
        self.0.0.ask_to_stop();
    }
}

/// How far it is.
struct State {
    phase: Phase,
    /// Numbers attempts, so that what comes too late is known.
    number: u64,
    /// In a row.
    failures: u32,
    /// A lookup that goes on, whichever attempt has begun it: there is one at most.
    lookup: Option<Ticket>,
}

enum Phase {
    Fresh,
    /// A lookup, or a connect, under way; the timer is the attempt's end.
    Trying(TimerId, Racing),
    /// Established; TLS may be shaking hands.
    Opening(ConnId),
    Open(ConnId, Instant),
    Waiting(TimerId),
    /// It was stopped, and what it had is closing.
    Closing(Was),
    Stopped,
}

struct Inner {
    plan: ConnectorBuilder,
    make: Arc<Make>,
    remote: Remote,
    state: Mutex<State>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &ConnectorState, turn: &mut Turn<'_>) {
        log::debug!("connector {}: {state}", self.plan.address);
        if let Some(tell) = &self.plan.tell {
            if guarded(|| tell(state)).is_none() {
                turn.desk.counters.panics += 1;
            }
        }
    }

    /// Does something on the reactor later; if that is over, so is this.
    fn later(self: &Arc<Self>, step: impl FnOnce(&Arc<Inner>, &mut Turn<'_>) + Send + 'static) {
        let this = self.clone();
        if self.remote.run_asked(move |turn| step(&this, turn)).is_err() {
            self.lock().phase = Phase::Stopped;
        }
    }

    fn ask_to_stop(self: &Arc<Self>) {
        self.later(Inner::stop);
    }

    /// Moves on to another phase; all that the old one has waiting is called off.
    fn enter(&self, phase: Phase, turn: &mut Turn<'_>) {
        let old = std::mem::replace(&mut self.lock().phase, phase);
        match old {
            Phase::Trying(timer, racing) => {
                turn.cancel(timer);
                racing.call_off(turn);
            }
            Phase::Waiting(timer) => drop(turn.cancel(timer)),
            Phase::Fresh | Phase::Opening(_) | Phase::Open(..) | Phase::Closing(_) | Phase::Stopped => {}
        }
    }

    /// Whether `number` is that of the attempt under way.
    fn is_current(&self, number: u64) -> bool {
        let state = self.lock();
        state.number == number && matches!(state.phase, Phase::Trying(..))
    }

    /// Whether what opens now is wanted.
    fn is_opening(&self) -> bool {
        matches!(self.lock().phase, Phase::Opening(_))
    }

    /// Begins an attempt.
    fn begin(self: &Arc<Self>, turn: &mut Turn<'_>) {
        if matches!(self.lock().phase, Phase::Closing(_) | Phase::Stopped) {
            return;
        }
        if let Err(error) = turn.check_begins() {
            return self.failed(error, turn);
        }
        let number = {
            let mut state = self.lock();
            state.number += 1;
            state.number
        };
        if self.plan.address.transport().is_unix() {
            return self.connect_unix(turn);
        }
        let this = self.clone();
        let timer = turn.after(self.plan.config.limits.connect_timeout, move |turn| this.ran_out(number, turn));
        self.enter(Phase::Trying(timer, Racing::default()), turn);
        match self.plan.resolver.known(&self.plan.address) {
            Some(known) => self.race(number, known, turn),
            None => self.look_up(turn),
        }
    }

    fn look_up(self: &Arc<Self>, turn: &mut Turn<'_>) {
        // That of an earlier attempt may go on still: what it finds will do.
        if self.lock().lookup.as_ref().is_some_and(Ticket::goes_on) {
            return;
        }
        self.tell(&ConnectorState::Resolving, turn);
        let this = self.clone();
        let found = move |found: Found| this.later(move |this, turn| this.found(found, turn));
        match self.plan.resolver.find(&self.plan.address, found) {
            Ok(ticket) => self.lock().lookup = Some(ticket),
            Err(source) => self.failed(self.refused(source), turn),
        }
    }

    fn found(self: &Arc<Self>, found: Found, turn: &mut Turn<'_>) {
        let number = {
            let mut state = self.lock();
            state.lookup = None;
            match &state.phase {
                Phase::Trying(_, racing) if racing.is_looking_up() => state.number,
                _ => return,
            }
        };
        match found {
            Ok(addresses) => self.race(number, addresses, turn),
            Err(error) => self.failed(error.into(), turn),
        }
    }

    fn ran_out(self: &Arc<Self>, number: u64, turn: &mut Turn<'_>) {
        if self.is_current(number) {
            let looks_up = matches!(&self.lock().phase, Phase::Trying(_, racing) if racing.is_looking_up());
            let why = if looks_up {
                "its name was not looked up within connect_timeout"
            } else {
                "nobody answered within connect_timeout"
            };
            let source = std::io::Error::new(std::io::ErrorKind::TimedOut, why);
            self.failed(self.refused(source), turn);
        }
    }

    fn refused(&self, source: std::io::Error) -> Error {
        Error::Connect { address: Box::new(self.plan.address.clone()), source }
    }

    /// A Unix address needs no race; the reactor asks again while a backlog is full.
    fn connect_unix(self: &Arc<Self>, turn: &mut Turn<'_>) {
        self.tell(&ConnectorState::Connecting(self.plan.address.clone()), turn);
        let carried = Carried::new(self.clone());
        match turn.connect(&self.plan.address, self.plan.config.clone(), carried) {
            Ok(id) => self.enter(Phase::Opening(id), turn),
            Err(error) => self.failed(error, turn),
        }
    }

    /// An attempt has failed.
    fn failed(self: &Arc<Self>, error: Error, turn: &mut Turn<'_>) {
        let is_over = matches!(error, Error::Draining | Error::ReactorGone);
        self.tell(&ConnectorState::Failed(error), turn);
        if is_over { self.stop_for_good(turn) } else { self.try_again(After::Failure, turn) }
    }

    /// Waits, unless so many attempts have failed that it gives up; the end of a good connection is no failure.
    fn try_again(self: &Arc<Self>, after: After, turn: &mut Turn<'_>) {
        let backoff = &self.plan.backoff;
        let failures = {
            let mut state = self.lock();
            if matches!(state.phase, Phase::Closing(_) | Phase::Stopped) {
                return;
            }
            state.failures = state.failures.saturating_add(1);
            state.failures
        };
        let counts = after != After::End(Ended::Well);
        let gives_up = counts && backoff.attempts_max.is_some_and(|max| failures >= max);
        if !turn.is_running() || gives_up {
            return self.stop_for_good(turn);
        }
        let delay = match after {
            After::Failure => backoff.delay(failures, chance()),
            // Whoever ended it may have ended many others' connections at the same moment.
            After::End(_) => backoff.delay_after_loss(failures, chance(), chance()),
        };
        let this = self.clone();
        let timer = turn.after(delay, move |turn| this.begin(turn));
        self.enter(Phase::Waiting(timer), turn);
        self.tell(&ConnectorState::Waiting(delay), turn);
    }

    fn stop_for_good(&self, turn: &mut Turn<'_>) {
        self.enter(Phase::Stopped, turn);
        self.tell(&ConnectorState::Stopped, turn);
    }

    fn stop(self: &Arc<Self>, turn: &mut Turn<'_>) {
        let open = match self.lock().phase {
            Phase::Opening(id) => Some((id, Was::Opening)),
            Phase::Open(id, _) => Some((id, Was::Closing)),
            Phase::Closing(_) | Phase::Stopped => return,
            Phase::Fresh | Phase::Trying(..) | Phase::Waiting(_) => None,
        };
        match open {
            // Its end is told, and then that of this.
            Some((id, was)) => {
                self.enter(Phase::Closing(was), turn);
                // Behind what brings it into the table, if this is still to come.
                turn.desk.local.push_back(Local::Order(id.0, Order::Close));
            }
            None => self.stop_for_good(turn),
        }
    }

    /// A connection is open.
    fn opened(&self, id: ConnId, turn: &mut Turn<'_>) {
        let since = turn.now();
        let is_wanted = matches!(self.lock().phase, Phase::Opening(_));
        if is_wanted {
            self.enter(Phase::Open(id, since), turn);
            self.tell(&ConnectorState::Connected(id), turn);
        }
    }

    /// A connection has ended, or never opened.
    fn ended(self: &Arc<Self>, reason: Reason, detail: Option<String>, turn: &mut Turn<'_>) {
        let now = turn.now();
        let was = {
            let mut state = self.lock();
            match state.phase {
                Phase::Open(_, since) if now.saturating_duration_since(since) >= self.plan.backoff.stable_after => {
                    state.failures = 0;
                    Was::Open(Ended::Well)
                }
                Phase::Open(..) => Was::Open(Ended::Badly),
                Phase::Opening(_) => Was::Opening,
                Phase::Closing(Was::Opening) => Was::NeverOpened,
                Phase::Closing(_) => Was::Closing,
                Phase::Fresh | Phase::Trying(..) | Phase::Waiting(_) | Phase::Stopped => return,
            }
        };
        match was {
            Was::Opening => {
                let address = Box::new(self.plan.address.clone());
                let error = match attempt::unmade(address.transport(), reason) {
                    Some(source) => Error::Connect { address, source },
                    None => Error::Broken { address, reason, detail },
                };
                self.failed(error, turn);
            }
            Was::Open(ended) => {
                self.tell(&ConnectorState::Lost(reason), turn);
                // What was handed on is somebody else's, and no reason to make another.
                if reason == Reason::Detached {
                    self.stop_for_good(turn)
                } else {
                    self.try_again(After::End(ended), turn)
                }
            }
            Was::NeverOpened => self.stop_for_good(turn),
            Was::Closing => {
                self.tell(&ConnectorState::Lost(reason), turn);
                self.stop_for_good(turn);
            }
        }
    }

    /// The address in front of which the race is.
    fn at(&self, ip: SocketAddr) -> Address {
        let address = Address::tcp(ip);
        if self.plan.address.transport().is_tls() { address.over_tls() } else { address }
    }
}

/// What has ended.
#[derive(Clone, Copy)]
enum Was {
    Opening,
    Open(Ended),
    /// The same, after a stop.
    NeverOpened,
    Closing,
}

/// Whether it lived long enough to have been a good one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
}

/// What comes before a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// No connection came about.
    Failure,
    /// One was open, and has ended.
    End(Ended),
}

/// Any number. Processes that were forked from one have the same random state, and must not wait for the same time.
fn chance() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
