//! A connection of a reactor that comes back: names, addresses, handshakes and waits, none of which blocks the reactor.
//!
//! Owns what comes between connects. Each is one of `Context::dial`, as any other of the reactor's; the wait is `dial/backoff.rs`'s.
//!
//! 1. All steps are on the reactor's thread. No user code runs under the lock.

mod carried;

use crate::address::Address;
use crate::command::{Local, Order};
use crate::config::ConnectConfig;
use crate::conn::Conn;
use crate::context::{Context, TimerId, check_stream};
use crate::dial::backoff::Backoff;
use crate::dial::race::{forgive, shun};
use crate::dial::resolver::Resolver;
use crate::dial::{Plan, Progress};
use crate::error::{Error, Reason};
use crate::handler::{Handler, guarded};
use crate::id::ConnId;
use crate::link::session::Session;
use crate::mailbox::{Remote, Unsent};
use crate::net::stream::Target;
use crate::settings::ClientConfig;
use bytes::Bytes;
use carried::Carried;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a connector does; told in the order in which it happens.
///
/// ```
/// use windlass::ConnectorState;
/// fn log(state: &ConnectorState) {
///     match state {
///         ConnectorState::Failed(error) => eprintln!("{error}"),
///         ConnectorState::Waiting(wait) => eprintln!("next attempt in {wait:?}"),
///         state => println!("{state}"),
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectorState {
    /// The addresses of its name are looked up.
    Resolving,
    /// A connect to this address begins, beside others that were begun and are not decided. With TLS the handshake belongs to
    /// it.
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
type LocalMake = dyn FnMut(&Conn<'_>) -> Box<dyn Handler>;
type Tell = dyn Fn(&ConnectorState) + Send + Sync;

/// Says what a connector is to be; [`Connector::builder`] begins it.
///
/// ```
/// use windlass::{Backoff, Conn, Connector, Engine, EngineConfig, handler_fn};
/// let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() })?;
/// let connector = Connector::builder("tcp://127.0.0.1:7007".parse()?)
///     .backoff(Backoff { attempts_max: Some(3), ..Backoff::default() })
///     .on_state(|state| println!("{state}"))
///     .start(engine.least_loaded(), |_: &Conn<'_>| handler_fn(|_, data| data.len()))?;
/// let weak = connector.downgrade(); // for callbacks: it does not keep the connector
/// drop(connector);
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), windlass::Error>(())
/// ```
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
    /// Limits, socket options and TLS of each connection. `Limits::connect_timeout` is for lookup, connect and handshake
    /// together. With TLS the sessions are resumed that its configuration remembers.
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
        let inner = self.checked(remote, Maker::Anywhere(Box::new(move |conn| Box::new(make(conn)))))?;
        let begun = inner.clone();
        remote.run(move |cx| {
            begun.watch_end(cx);
            begun.begin(cx);
        })?;
        Ok(Connector(Arc::new(Handle(inner))))
    }

    /// As [`ConnectorBuilder::start`], on the reactor whose context this is: `make` stays on its thread, and need not be `Send`, so
    /// that the handlers can share an `Rc` with those of a listener. It begins when this callback has returned; `make` is dropped
    /// when the connector has stopped.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    /// use windlass::{Conn, Connector, Handler, Reactor, ReactorConfig};
    /// struct Upstream(Rc<RefCell<Vec<u8>>>);
    /// impl Handler for Upstream {
    ///     fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
    ///         self.0.borrow_mut().extend_from_slice(data);
    ///         data.len()
    ///     }
    /// }
    /// # fn main() -> Result<(), windlass::Error> {
    /// let mut reactor = Reactor::new(ReactorConfig::default())?;
    /// let heard = Rc::default();
    /// let builder = Connector::builder("tcp://127.0.0.1:7007".parse()?);
    /// let upstream = builder.start_here(&mut reactor.context(), move |_: &Conn<'_>| Upstream(Rc::clone(&heard)))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `Config`, `Transport` or `Address`, naming what cannot work; `ReactorGone` if the reactor has stopped.
    pub fn start_here<H: Handler>(
        self,
        cx: &mut Context<'_>,
        mut make: impl FnMut(&Conn<'_>) -> H + 'static,
    ) -> Result<Connector, Error> {
        if cx.has_stopped() {
            return Err(Error::ReactorGone);
        }
        let inner = self.checked(&cx.remote(), Maker::Here)?;
        let number = inner.watch_end(cx);
        let make: Box<LocalMake> = Box::new(move |conn| Box::new(make(conn)));
        cx.local_or_default::<LocalMakers>().0.insert(number, Rc::new(RefCell::new(make)));
        let begun = inner.clone();
        cx.after(Duration::ZERO, move |cx| begun.begin(cx));
        Ok(Connector(Arc::new(Handle(inner))))
    }

    /// What is to begin, if it can work.
    fn checked(self, remote: &Remote, maker: Maker) -> Result<Arc<Inner>, Error> {
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
        Ok(Arc::new(Inner {
            plan: self,
            maker,
            remote: remote.clone(),
            state: Mutex::new(State {
                phase: Phase::Fresh,
                failures: 0,
                shunned: Vec::new(),
                failure: None,
                ending: None,
            }),
        }))
    }
}

/// A connection that is made again when it ends, by a reactor.
///
/// Names are looked up on other threads; addresses of IPv6 and IPv4 are tried in turn, each 250 ms after the one before or when
/// that has failed, and the first one that is ready is taken, with TLS the first whose handshake is done (RFC 8305). Addresses
/// whose handshake failed, that were slower than another one or than `Limits::connect_timeout`, or whose connection did not last
/// for `Backoff::stable_after`, are tried last next time. What fails is tried again after a wait that grows ([`Backoff`]).
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
///
/// ```
/// use windlass::{Backoff, Conn, Connector, Engine, EngineConfig, handler_fn};
/// let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() })?;
/// let connector = Connector::builder("tcp://127.0.0.1:7007".parse()?)
///     .backoff(Backoff { attempts_max: Some(3), ..Backoff::default() })
///     .on_state(|state| println!("{state}"))
///     .start(engine.least_loaded(), |_: &Conn<'_>| handler_fn(|_, data| data.len()))?;
/// let weak = connector.downgrade(); // for callbacks: it does not keep the connector
/// drop(connector);
/// assert!(weak.upgrade().is_none());
/// # Ok::<(), windlass::Error>(())
/// ```
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
        if let Phase::Open(id, ..) = self.0.0.lock().phase { Some(id) } else { None }
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
    /// In a row.
    failures: u32,
    /// Addresses that are tried last.
    shunned: Vec<SocketAddr>,
    /// Why the connect failed that is just ending.
    failure: Option<Error>,
    /// Names what the reactor runs when it ends, and the maker that it keeps.
    ending: Option<u64>,
}

enum Phase {
    Fresh,
    /// A connect is under way.
    Opening(ConnId),
    /// Since when, and to where.
    Open(ConnId, Instant, Option<SocketAddr>),
    Waiting(TimerId),
    /// It was stopped, and what it had is closing.
    Closing(Was),
    Stopped,
}

/// What makes the handlers.
enum Maker {
    Anywhere(Box<Make>),
    /// The reactor keeps it, by the number of the connector's `ending`.
    Here,
}

/// Makers that need not be `Send`, where their reactor keeps them. No callback nests, so that a borrow holds.
#[derive(Default)]
struct LocalMakers(HashMap<u64, Rc<RefCell<Box<LocalMake>>>>);

struct Inner {
    plan: ConnectorBuilder,
    maker: Maker,
    remote: Remote,
    state: Mutex<State>,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, state: &ConnectorState, cx: &mut Context<'_>) {
        log::debug!("connector {}: {state}", self.plan.address);
        if let Some(tell) = &self.plan.tell {
            if guarded(|| tell(state)).is_none() {
                cx.state.counters.panics += 1;
            }
        }
    }

    /// The handler of a connection that has opened; `None` if it was stopped meanwhile.
    fn make(&self, conn: &mut Conn<'_>) -> Option<Box<dyn Handler>> {
        let make = match &self.maker {
            Maker::Anywhere(make) => return Some(make(conn)),
            Maker::Here => {
                let number = self.lock().ending?;
                conn.context().local::<LocalMakers>()?.0.get(&number)?.clone()
            }
        };
        let mut make = make.borrow_mut();
        Some((*make)(conn))
    }

    /// Has the reactor tell it of its end; returns the number of that.
    fn watch_end(self: &Arc<Self>, cx: &mut Context<'_>) -> u64 {
        let this = Arc::downgrade(self);
        let ending = cx.at_end(move |cx| this.upgrade().into_iter().for_each(|this| this.reactor_ends(cx)));
        self.lock().ending = Some(ending);
        ending
    }

    /// Does something on the reactor later; if that is over, so is this.
    fn later(self: &Arc<Self>, step: impl FnOnce(&Arc<Inner>, &mut Context<'_>) + Send + 'static) {
        let this = self.clone();
        if self.remote.run_asked(move |cx| step(&this, cx)).is_err() {
            self.lock().phase = Phase::Stopped;
        }
    }

    fn ask_to_stop(self: &Arc<Self>) {
        self.later(Inner::stop);
    }

    /// Moves on to another phase; all that the old one has waiting is called off.
    fn enter(&self, phase: Phase, cx: &mut Context<'_>) {
        let old = std::mem::replace(&mut self.lock().phase, phase);
        match old {
            Phase::Waiting(timer) => drop(cx.cancel(timer)),
            Phase::Fresh | Phase::Opening(_) | Phase::Open(..) | Phase::Closing(_) | Phase::Stopped => {}
        }
    }

    /// Whether what opens now is wanted.
    fn is_opening(&self) -> bool {
        matches!(self.lock().phase, Phase::Opening(_))
    }

    /// Begins to connect.
    fn begin(self: &Arc<Self>, cx: &mut Context<'_>) {
        if matches!(self.lock().phase, Phase::Closing(_) | Phase::Stopped) {
            return;
        }
        let ConnectorBuilder { address, config, resolver, .. } = &self.plan;
        let this = self.clone();
        let plan = Plan {
            address: address.clone(),
            config: config.clone(),
            resolver: resolver.clone(),
            shunned: self.lock().shunned.clone(),
            watcher: Some(Box::new(move |progress, cx| this.note(progress, cx))),
        };
        match cx.dial(plan, Box::new(Carried::new(self.clone()))) {
            Ok(id) => self.enter(Phase::Opening(id), cx),
            Err(error) => self.failed(error, cx),
        }
    }

    /// How the connect comes along.
    fn note(&self, progress: Progress, cx: &mut Context<'_>) {
        match progress {
            Progress::Looking => self.tell(&ConnectorState::Resolving, cx),
            Progress::Trying(target) => {
                let at = match target {
                    Target::Ip(ip) => self.at(ip),
                    Target::Unix(_) => self.plan.address.clone(),
                };
                self.tell(&ConnectorState::Connecting(at), cx);
            }
            Progress::Over(shunned, failure) => {
                let mut state = self.lock();
                (state.shunned, state.failure) = (shunned, failure);
            }
        }
    }

    /// An attempt has failed.
    fn failed(self: &Arc<Self>, error: Error, cx: &mut Context<'_>) {
        let is_over = matches!(error, Error::Draining | Error::ReactorGone);
        self.tell(&ConnectorState::Failed(error), cx);
        if is_over { self.stop_for_good(cx) } else { self.try_again(After::Failure, cx) }
    }

    /// Waits, unless so many attempts have failed that it gives up; the end of a good connection is no failure.
    fn try_again(self: &Arc<Self>, after: After, cx: &mut Context<'_>) {
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
        if !cx.is_running() || gives_up {
            return self.stop_for_good(cx);
        }
        let delay = match after {
            After::Failure => backoff.delay(failures, chance()),
            // Whoever ended it may have ended many others' connections at the same moment.
            After::End(_) => backoff.delay_after_loss(failures, chance(), chance()),
        };
        let this = self.clone();
        let timer = cx.after(delay, move |cx| this.begin(cx));
        self.enter(Phase::Waiting(timer), cx);
        self.tell(&ConnectorState::Waiting(delay), cx);
    }

    /// The reactor is over, and with it all that was connected.
    fn reactor_ends(&self, cx: &mut Context<'_>) {
        if !matches!(self.lock().phase, Phase::Stopped) {
            self.stop_for_good(cx);
        }
    }

    fn stop_for_good(&self, cx: &mut Context<'_>) {
        let ending = self.lock().ending.take();
        if let Some(ending) = ending {
            cx.state.endings.remove(&ending);
            let maker = cx.local::<LocalMakers>().and_then(|makers| makers.0.remove(&ending));
            if guarded(|| drop(maker)).is_none() {
                cx.state.counters.panics += 1;
            }
        }
        self.enter(Phase::Stopped, cx);
        self.tell(&ConnectorState::Stopped, cx);
    }

    fn stop(self: &Arc<Self>, cx: &mut Context<'_>) {
        let open = match self.lock().phase {
            Phase::Opening(id) => Some((id, Was::Opening)),
            Phase::Open(id, ..) => Some((id, Was::Closing)),
            Phase::Closing(_) | Phase::Stopped => return,
            Phase::Fresh | Phase::Waiting(_) => None,
        };
        match open {
            // Its end is told, and then that of this.
            Some((id, was)) => {
                self.enter(Phase::Closing(was), cx);
                // Behind what brings it into the table, if this is still to come.
                cx.state.local.push_back(Local::Order(id.0, Order::Close));
            }
            None => self.stop_for_good(cx),
        }
    }

    /// A connection is open.
    fn opened(&self, id: ConnId, peer: Option<SocketAddr>, cx: &mut Context<'_>) {
        let since = cx.now();
        let is_wanted = matches!(self.lock().phase, Phase::Opening(_));
        if is_wanted {
            self.enter(Phase::Open(id, since, peer), cx);
            self.tell(&ConnectorState::Connected(id), cx);
        }
    }

    /// A connection has ended, or never opened.
    fn ended(self: &Arc<Self>, reason: Reason, cx: &mut Context<'_>) {
        let now = cx.now();
        let was = {
            let mut state = self.lock();
            match state.phase {
                Phase::Open(_, since, peer) => {
                    let has_lasted = now.saturating_duration_since(since) >= self.plan.backoff.stable_after;
                    if has_lasted {
                        state.failures = 0;
                    }
                    if let Some(peer) = peer {
                        let note = if has_lasted { forgive } else { shun };
                        note(&mut state.shunned, peer);
                    }
                    Was::Open(if has_lasted { Ended::Well } else { Ended::Badly })
                }
                Phase::Opening(_) => Was::Opening,
                Phase::Closing(Was::Opening) => Was::NeverOpened,
                Phase::Closing(_) => Was::Closing,
                Phase::Fresh | Phase::Waiting(_) | Phase::Stopped => return,
            }
        };
        match was {
            Was::Opening => {
                let failure = self.lock().failure.take();
                let broken = || Error::Broken { address: Box::new(self.plan.address.clone()), reason, detail: None };
                self.failed(failure.unwrap_or_else(broken), cx);
            }
            Was::Open(ended) => {
                self.tell(&ConnectorState::Lost(reason), cx);
                // What was handed on is somebody else's, and no reason to make another.
                if reason == Reason::Detached { self.stop_for_good(cx) } else { self.try_again(After::End(ended), cx) }
            }
            Was::NeverOpened => self.stop_for_good(cx),
            Was::Closing => {
                self.tell(&ConnectorState::Lost(reason), cx);
                self.stop_for_good(cx);
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
