//! A server: addresses, handlers, callbacks, and one end for all of it.
//!
//! Owns the order of its life. The work is the engine's.
//!
//! 1. The state is changed under one lock, and no user code runs while it is held.

mod callbacks;
mod crowd;
mod hooks;
mod peers;
#[cfg(feature = "signals")]
mod signals;
mod states;
mod workers;

use crate::address::Address;
use crate::clock;
use crate::config::ListenConfig;
use crate::config::accepted::PrepareAccepted;
use crate::config::datagram::DatagramConfig;
use crate::context::{Context, check_stream};
use crate::cores;
use crate::counters::Counters;
use crate::engine::{BoundListeners, Engine, EngineConfig};
use crate::error::{Error, ServerError};
use crate::factory::Factory;
use crate::handler::{Accept, ConnState, DatagramHandler, Maker};
use crate::mailbox::{Driving, Health, Remote, Report};
use crate::message::Undelivered;
use callbacks::Callbacks;
pub use callbacks::ServerEvent;
use hooks::{Blocking, DatagramFront, FrontParts, ReactorMaker, ServerHooks, SharedMaker};
use peers::Peers;
#[cfg(feature = "signals")]
pub use signals::Signals;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};
use workers::Serve;
use workers::Workers;
pub use workers::{BlockingConfig, Reader, Writer};

/// What serves streams.
#[derive(Clone)]
enum Streams {
    /// Makes what makes the handlers of a reactor.
    Handler(Arc<dyn Fn(&mut Context<'_>) -> SharedMaker + Send + Sync>),
    Blocking(BlockingConfig, Arc<Serve>),
}

/// What makes datagram handlers.
type MakeDatagrams = Arc<dyn Fn(&mut Context<'_>) -> Box<dyn DatagramHandler> + Send + Sync>;

/// Says what a server is to be; [`Server::builder`] begins it.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Conn, Server, handler_fn};
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
///     .build()?;
/// server.listen()?;
/// let weak = server.downgrade(); // for handlers: it does not keep the server alive
/// assert!(weak.upgrade().is_some_and(|server| server.is_running()));
/// assert!(server.shutdown(Duration::from_secs(1))?.is_clean());
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone)]
pub struct ServerBuilder {
    addresses: Vec<Address>,
    listen: ListenConfig,
    datagram: DatagramConfig,
    engine: EngineConfig,
    per_peer_max: Option<usize>,
    prepare_accepted: Option<PrepareAccepted>,
    streams: Option<Streams>,
    datagrams: Option<MakeDatagrams>,
    callbacks: Callbacks,
}

impl std::fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerBuilder").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Listens here too. Of all addresses, all are listened on or none. A name that has several addresses is listened on at the
    /// first that this system can bind, and only there.
    pub fn address(mut self, address: Address) -> ServerBuilder {
        self.addresses.push(address);
        self
    }

    /// For stream addresses; its `tls` is for `tls://` and `tls+unix:` alone. `connections_max` there holds for each
    /// address.
    pub fn listen_config(mut self, config: ListenConfig) -> ServerBuilder {
        self.listen = config;
        self
    }

    /// For datagram addresses.
    pub fn datagram_config(mut self, config: DatagramConfig) -> ServerBuilder {
        self.datagram = config;
        self
    }

    /// How many reactors, and how connections are spread; its `connections_max` holds for all addresses together.
    pub fn engine_config(mut self, config: EngineConfig) -> ServerBuilder {
        self.engine = config;
        self
    }

    /// Connections that one peer address may have at once; of IPv6 addresses the first 64 bits count. More are closed at
    /// once, and counted as refused. Default: no limit. 65,536 addresses are told apart; beyond that, new ones are let in
    /// uncounted.
    pub fn per_peer_max(mut self, connections: usize) -> ServerBuilder {
        self.per_peer_max = Some(connections);
        self
    }

    /// Sees each accepted socket before it is used, at every stream address, and may refuse the connection: see
    /// [`ListenConfig::prepare_accepted`], which it replaces. `on_error` gets each
    /// refusal as [`ServerError::Unprepared`], and a panic in it as `ServerError::Connection` with
    /// [`Reason::HandlerPanicked`](crate::Reason::HandlerPanicked).
    ///
    /// ```
    /// # use windlass::{Conn, Handler, Server};
    /// # struct Echo;
    /// # impl Handler for Echo { fn on_data(&mut self, c: &mut Conn<'_>, d: &[u8]) -> usize { c.write_some(d) } }
    /// # fn main() -> Result<(), windlass::Error> {
    /// let buffer_bytes = 64 * 1024;
    /// let server = Server::builder()
    ///     .address("tcp://127.0.0.1:0".parse()?)
    ///     .prepare_accepted(move |socket| socket.set_send_buffer_size(buffer_bytes))
    ///     .handler(|| |_: &Conn<'_>| Echo)
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn prepare_accepted(
        mut self,
        hook: impl Fn(&socket2::Socket) -> io::Result<()> + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.prepare_accepted = Some(PrepareAccepted::new(hook));
        self
    }

    /// What serves streams: `make` is called once on each reactor's thread, before any address is listened on, and makes what
    /// makes the handlers of all addresses there. It is `|| …`, or `|cx: &mut Context<'_>| …`.
    ///
    /// So an `Rc` that is made in `make` is shared by all connections of one reactor, and what `make` puts aside by
    /// [`Context::set_local`] is there for every callback of it. What several reactors are to share is made before, in an `Arc`
    /// that `make` captures: what it captures goes to other threads, so that an `Rc` "cannot be sent between threads safely".
    /// [`Conn::accepted_at`](crate::Conn::accepted_at) says which address a connection came to.
    ///
    /// If `make` panics, [`Server::listen`] fails with `CallbackPanicked`, and nothing listens.
    ///
    /// ```
    /// use std::cell::RefCell;
    /// use std::collections::HashMap;
    /// use std::rc::Rc;
    /// use windlass::{Conn, ConnId, Handler, Server};
    /// struct Member(Rc<RefCell<HashMap<ConnId, String>>>);
    /// impl Handler for Member {
    ///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
    ///         self.0.borrow_mut().insert(conn.id(), String::from_utf8_lossy(data).into_owned());
    ///         data.len()
    ///     }
    /// }
    /// # fn main() -> Result<(), windlass::Error> {
    /// let server = Server::builder()
    ///     .address("tcp://127.0.0.1:0".parse()?)
    ///     .handler(|| {
    ///         let names = Rc::default();
    ///         move |_: &Conn<'_>| Member(Rc::clone(&names))
    ///     })
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn handler<Shape, F>(mut self, make: F) -> ServerBuilder
    where
        F: Factory<Shape> + Send + Sync + 'static,
        F::Made: Accept,
    {
        self.streams =
            Some(Streams::Handler(Arc::new(move |cx: &mut Context<'_>| Rc::new(RefCell::new(make.make(cx))))));
        self
    }

    /// What serves streams, in place of `handler`: `serve` runs on a thread of its own for each connection, and may block.
    /// When it returns, or panics, the connection is closed. What it returns as an error is told to `on_error`.
    ///
    /// Accepting, TLS handshakes and limits are the reactors' as ever. At most 4,096 connections are served at once and
    /// 1,024 more wait for a thread, unless [`BlockingConfig`] says otherwise; [`ServerEvent::ThreadsBusy`] and
    /// [`ServerEvent::ThreadsFull`] tell when that is not enough. All of them are drained: at the deadline what is left is cut, and its reads and writes fail.
    ///
    /// Its states are reported as they happen: Read and Write behind each read and write that moved bytes, CloseRead when a
    /// read finds the peer's end, CloseWrite when this side has ended in order.
    ///
    /// ```
    /// # use windlass::{BlockingConfig, Server};
    /// # fn main() -> Result<(), windlass::Error> {
    /// let server = Server::builder()
    ///     .address("tcp://127.0.0.1:0".parse()?)
    ///     .blocking_handler(BlockingConfig::default(), |mut reader, mut writer| {
    ///         std::io::copy(&mut reader, &mut writer).map(drop)
    ///     })
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    pub fn blocking_handler(
        mut self,
        config: BlockingConfig,
        serve: impl Fn(Reader, Writer) -> io::Result<()> + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.streams = Some(Streams::Blocking(config, Arc::new(serve)));
        self
    }

    /// What serves datagrams: `make` makes the handler of each socket, on its reactor's thread, after what
    /// [`ServerBuilder::handler`] has made there. It is `|| …`, or `|cx: &mut Context<'_>| …`.
    pub fn datagram_handler<Shape, F>(mut self, make: F) -> ServerBuilder
    where
        F: Factory<Shape> + Send + Sync + 'static,
        F::Made: DatagramHandler,
    {
        self.datagrams =
            Some(Arc::new(move |cx: &mut Context<'_>| Box::new(make.make(cx)) as Box<dyn DatagramHandler>));
        self
    }

    /// Called with what went wrong: binding, accepting, a TLS handshake, a connection's input or output, a panic of a handler or
    /// callback. Each is told once, with its address. A peer that resets its connection is such a trouble:
    /// [`ServerError::Connection`] with [`Reason::Reset`](crate::Reason::Reset), which a busy server may want to leave out.
    ///
    /// # Threads
    /// On the reactor's thread; errors of binding on that of `listen`, those of blocking handlers on theirs, the end of a
    /// reactor on one of the server's own.
    pub fn on_error(mut self, call: impl Fn(&ServerError) + Send + Sync + 'static) -> ServerBuilder {
        self.callbacks.error = Some(Arc::new(call));
        self
    }

    /// Called with each state of each connection: local address, peer (`None` if it has no address), and what happened. The
    /// order is New, with TLS Handshake, then Read and Write, CloseRead and CloseWrite, Close; of datagrams New when
    /// bound, Read and Write for each, Close at the end. Without it nothing is looked at.
    ///
    /// # Threads
    /// On the reactor's thread; of a blocking handler New and Handshake there, and then on the thread that read, wrote or
    /// ended, or on another one of this connection that is reporting just now. Never two at once for one connection. While a
    /// call takes its time up to 1,024 states of a blocking handler's connection wait; of more, reads and writes are not
    /// reported.
    pub fn on_state(
        mut self,
        call: impl Fn(&Address, Option<&Address>, ConnState) + Send + Sync + 'static,
    ) -> ServerBuilder {
        self.callbacks.state = Some(Arc::new(call));
        self
    }

    /// Called with what [`Remote::send`], [`Remote::tell`] or [`Other::tell`](crate::Other::tell) took and that could not be
    /// delivered, and why: see [`Reactor::on_undelivered`](crate::Reactor::on_undelivered). Without it they are only counted.
    ///
    /// # Threads
    /// On the thread of the reactor.
    pub fn on_undelivered(mut self, call: impl Fn(Undelivered, &Error) + Send + Sync + 'static) -> ServerBuilder {
        self.callbacks.undelivered = Some(Arc::new(call));
        self
    }

    /// Called with what happens to the server as a whole: listening comes first, then pauses, then draining, drained and gone, each
    /// after the one before has been told. A stop that is asked for while listening is being told comes after that.
    ///
    /// # Threads
    /// On that of `listen` (listening), of `shutdown` (draining), of the reactors (pauses, threads), of blocking handlers
    /// (threads), or one of the server's own.
    pub fn on_event(mut self, call: impl Fn(&ServerEvent) + Send + Sync + 'static) -> ServerBuilder {
        self.callbacks.event = Some(Arc::new(call));
        self
    }

    /// Checks everything. Nothing is bound or started yet.
    ///
    /// # Errors
    /// `Config` or `Transport`, naming what is missing or cannot work.
    pub fn build(self) -> Result<Server, Error> {
        let missing = |field, why| Err(Error::Config { field, value: "nothing".to_owned(), why });
        if self.addresses.is_empty() {
            return missing("address", "a server needs an address to listen on");
        }
        if self.streams.is_none() && self.datagrams.is_none() {
            return missing("handler", "a server needs a handler, or a datagram_handler");
        }
        self.listen.validate()?;
        self.datagram.validate()?;
        self.engine.validate()?;
        let workers = match &self.streams {
            Some(Streams::Blocking(config, serve)) => {
                config.validate()?;
                Some(Workers::new(*config, serve.clone(), self.callbacks.clone()))
            }
            Some(Streams::Handler(_)) | None => None,
        };
        if self.per_peer_max == Some(0) {
            let why = "it must be at least 1";
            return Err(Error::Config { field: "per_peer_max", value: "0".to_owned(), why });
        }
        for address in &self.addresses {
            if !address.transport().is_datagram() {
                if self.streams.is_none() {
                    return missing("handler", "a stream address needs one");
                }
                check_stream(address, self.config_for(address).wants())?;
            } else if self.datagrams.is_none() {
                return missing("datagram_handler", "a datagram address needs one");
            }
        }
        let shared = Arc::new(Shared {
            run: Mutex::new(Run::Fresh),
            changed: Condvar::new(),
            workers,
            until: Mutex::default(),
            #[cfg(feature = "signals")]
            ends: Default::default(),
            callbacks: self.callbacks.clone(),
        });
        Ok(Server(Arc::new(Face { plan: self, shared })))
    }

    /// Binds the datagram addresses; returns where each one really is.
    fn begin_datagrams(&self, engine: &Engine) -> Result<Vec<(&Address, Address)>, Error> {
        let mut real = Vec::new();
        let Some(make) = &self.datagrams else { return Ok(real) };
        for address in self.addresses.iter().filter(|address| address.transport().is_datagram()) {
            let (make, local, callbacks) = (make.clone(), address.clone(), self.callbacks.clone());
            let made = move |cx: &mut Context<'_>| DatagramFront {
                inner: make(cx),
                callbacks: callbacks.clone(),
                local: local.clone(),
                sent: 0,
            };
            real.push((address, engine.bind(address, self.datagram.clone(), made)?.address().clone()));
        }
        Ok(real)
    }

    /// Has the reactors listen with what is bound; returns where each address really is.
    fn begin_streams<'a>(
        &self,
        engine: &Engine,
        bound: Vec<(&'a Address, BoundListeners)>,
        workers: Option<&Arc<Workers>>,
    ) -> Result<Vec<(&'a Address, Address)>, Error> {
        let peers = self.per_peer_max.map(|max| Arc::new(Peers::new(max)));
        let mut real = Vec::new();
        for (address, listeners) in bound {
            let parts = FrontParts {
                local: listeners.address().clone(),
                callbacks: self.callbacks.clone(),
                peers: peers.clone(),
                workers: workers.cloned(),
            };
            let make = move |cx: &mut Context<'_>| {
                let inner: SharedMaker = match cx.local::<ReactorMaker>() {
                    Some(made) => made.0.clone(),
                    None => Rc::new(RefCell::new(Blocking(parts.clone()))),
                };
                Box::new(ServerHooks { inner, parts: parts.clone() }) as Box<dyn Maker>
            };
            real.push((address, engine.begin(listeners, self.config_for(address), Arc::new(make))?.address().clone()));
        }
        Ok(real)
    }

    /// The configuration of a stream address: without TLS where its scheme says plain text.
    fn config_for(&self, address: &Address) -> ListenConfig {
        let mut config = self.listen.clone();
        if let Some(hook) = &self.prepare_accepted {
            config.prepare_accepted = Some(hook.clone());
        }
        #[cfg(feature = "tls")]
        if !address.transport().is_tls() {
            config.tls = None;
        }
        let _ = address;
        config
    }
}

/// Several addresses, their handlers and callbacks, on reactors of its own.
///
/// It can be cloned and used from any thread. When the last clone is dropped, what is left of it is cut; its own callbacks
/// and handlers hold a [`WeakServer`].
///
/// ```
/// use std::time::Duration;
/// use windlass::{Conn, Handler, Server};
/// # fn main() -> Result<(), windlass::Error> {
/// struct Echo;
/// impl Handler for Echo {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize { conn.write_some(data) }
/// }
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .handler(|| |_: &Conn<'_>| Echo)
///     .on_event(|event| println!("{event}"))
///     .build()?;
/// server.listen()?;
/// assert!(server.is_running());
/// let report = server.shutdown(Duration::from_secs(5))?;
/// assert!(server.is_gone());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Server(Arc<Face>);

#[derive(Debug)]
struct Face {
    plan: ServerBuilder,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    run: Mutex<Run>,
    changed: Condvar,
    workers: Option<Arc<Workers>>,
    /// The soonest deadline that a drain was asked for with.
    until: Mutex<Option<Instant>>,
    #[cfg(feature = "signals")]
    ends: signals::Ends,
    callbacks: Callbacks,
}

/// How far a server is in its life.
#[derive(Debug)]
enum Run {
    Fresh,
    /// It binds; if it is asked to stop meanwhile, that is done when it has begun.
    Starting(Option<Duration>),
    /// It listens, and that is being told; a stop that is asked for meanwhile comes after it.
    Announced(Arc<Engine>, Vec<Address>, Option<Duration>),
    Running(Arc<Engine>, Vec<Address>),
    /// It was asked to stop.
    Draining(Arc<Engine>, Vec<Address>, Announced),
    /// With the report, if no reactor died.
    Gone(Option<Report>, Vec<Address>),
}

/// Whether the callback knows of it: what follows is told after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    NotYet,
    Yes,
}

/// A server that this handle does not keep alive: what its own callbacks and handlers may hold.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Conn, Server, handler_fn};
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
///     .build()?;
/// server.listen()?;
/// let weak = server.downgrade(); // for handlers: it does not keep the server alive
/// assert!(weak.upgrade().is_some_and(|server| server.is_running()));
/// assert!(server.shutdown(Duration::from_secs(1))?.is_clean());
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WeakServer(Weak<Face>);

impl WeakServer {
    /// The server, unless its last clone was dropped.
    pub fn upgrade(&self) -> Option<Server> {
        self.0.upgrade().map(Server)
    }
}

impl Server {
    /// A handle that does not keep it alive. A clone that one of its own callbacks or handlers held would keep it alive without end.
    pub fn downgrade(&self) -> WeakServer {
        WeakServer(Arc::downgrade(&self.0))
    }

    /// Begins to say what a server is to be.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            addresses: Vec::new(),
            listen: ListenConfig::default(),
            datagram: DatagramConfig::default(),
            engine: EngineConfig::default(),
            per_peer_max: None,
            prepare_accepted: None,
            streams: None,
            datagrams: None,
            callbacks: Callbacks::default(),
        }
    }

    /// Binds all addresses or none, starts the reactors, and returns. [`Server::wait`] waits for the end.
    ///
    /// # Errors
    /// What stands against an address; `AlreadyStarted` if it was started before, `ServerGone` if it was shut down before.
    /// A server that could not bind can try again.
    pub fn listen(&self) -> Result<(), Error> {
        let shared = &self.0.shared;
        {
            let mut run = shared.lock();
            match &*run {
                Run::Fresh => *run = Run::Starting(None),
                Run::Gone(..) => return Err(Error::ServerGone),
                Run::Starting(_) | Run::Announced(..) | Run::Running(..) | Run::Draining(..) => {
                    return Err(Error::AlreadyStarted);
                }
            }
        }
        let outcome = match self.start() {
            Ok((engine, addresses)) => {
                shared.announce(&engine, &addresses);
                Ok(())
            }
            Err(error) => Err(error),
        };
        let stop = {
            let mut run = shared.lock();
            let (next, stop) = match std::mem::replace(&mut *run, Run::Fresh) {
                Run::Announced(engine, addresses, stop) => (Run::Running(engine, addresses), stop),
                Run::Starting(stop) => (Run::Fresh, stop),
                other @ (Run::Fresh | Run::Running(..) | Run::Draining(..) | Run::Gone(..)) => (other, None),
            };
            *run = next;
            stop
        };
        shared.changed.notify_all();
        let outcome = outcome.map_err(|error| shared.callbacks.tell_failure(error));
        if let Some(drain) = stop {
            shared.stop(drain);
        }
        outcome
    }

    fn start(&self) -> Result<(Arc<Engine>, Vec<Address>), Error> {
        let Face { plan, shared } = &*self.0;
        let engine = Arc::new(Engine::start(plan.engine.clone())?);
        // Before anybody can be accepted: there may be no thread to be had.
        let (tell, told) = mpsc::channel::<Arc<Engine>>();
        let (name, watcher) = (cores::name(&plan.engine.name, "-server"), shared.clone());
        let watch = move || {
            cores::roam();
            if let Ok(engine) = told.recv() {
                watcher.watch(&engine);
            }
        };
        let started = std::thread::Builder::new().name(name.clone()).spawn(watch);
        started.map_err(|source| Error::Thread { name, source })?;
        if plan.callbacks.undelivered.is_some() {
            let callbacks = plan.callbacks.clone();
            engine.on_undelivered(move |what, why| callbacks.tell_undelivered(what, why))?;
        }
        if let Some(Streams::Handler(make)) = &plan.streams {
            for reactor in 0..engine.remotes().len() {
                let make = make.clone();
                engine.ask_as("handler", reactor, move |cx| {
                    let maker = make(cx);
                    cx.set_local(ReactorMaker(maker));
                })?;
            }
        }
        let mut bound = Vec::new();
        for address in plan.addresses.iter().filter(|address| !address.transport().is_datagram()) {
            bound.push((address, engine.bind_listeners(address, &plan.config_for(address))?));
        }
        let mut real = plan.begin_datagrams(&engine)?;
        real.extend(plan.begin_streams(&engine, bound, shared.workers.as_ref())?);
        // In the order in which they were given.
        let mut addresses = Vec::new();
        for address in &plan.addresses {
            if let Some(at) = real.iter().position(|(asked, _)| std::ptr::eq(*asked, address)) {
                addresses.push(real.swap_remove(at).1);
            }
        }
        // It waits for this.
        let _ = tell.send(engine.clone());
        Ok((engine, addresses))
    }

    /// Whether it listens, and was not asked to stop.
    pub fn is_running(&self) -> bool {
        matches!(*self.0.shared.lock(), Run::Running(..) | Run::Announced(.., None))
    }

    /// Whether it is over: all its connections have ended, or it was shut down before it began.
    pub fn is_gone(&self) -> bool {
        matches!(*self.0.shared.lock(), Run::Gone(..))
    }

    /// Connections now, from before their `New` until after their `Close`; each datagram socket counts as one.
    pub fn open_connections(&self) -> usize {
        let blocking = || self.0.shared.workers.as_ref().map_or(0, |workers| workers.open());
        self.engine().map_or(0, |engine| engine.connections() + blocking())
    }

    /// Where it really listens, in the order in which the addresses were given; nothing before it has begun.
    pub fn local_addresses(&self) -> Vec<Address> {
        match &*self.0.shared.lock() {
            Run::Fresh | Run::Starting(_) => Vec::new(),
            Run::Announced(_, addresses, _) | Run::Running(_, addresses) => addresses.clone(),
            Run::Draining(_, addresses, _) | Run::Gone(_, addresses) => addresses.clone(),
        }
    }

    /// The ways into its reactors; none before it has begun and once it is gone.
    pub fn remotes(&self) -> Vec<Remote> {
        self.engine().map_or(Vec::new(), |engine| engine.remotes().to_vec())
    }

    /// Has each reactor run a copy of `call`: see [`Engine::tell_all`]. There is none before it has begun and once it is gone, so
    /// that nothing is returned then.
    ///
    /// # Errors
    /// Of each reactor: `ReactorGone`, or `MailboxFull`.
    pub fn tell_all(&self, call: impl FnOnce(&mut Context<'_>) + Clone + Send + 'static) -> Vec<Result<(), Error>> {
        self.engine().map_or(Vec::new(), |engine| engine.tell_all(call))
    }

    /// What each reactor counted so far; nothing before it has begun and once it is gone.
    ///
    /// # Errors
    /// As [`Engine::ask`].
    pub fn snapshots(&self) -> Result<Vec<Counters>, Error> {
        self.engine().map_or(Ok(Vec::new()), |engine| engine.snapshots())
    }

    /// How each reactor is, without asking it, for a health probe: see [`Remote::health`]. Nothing before it has begun and
    /// once it is gone.
    pub fn health(&self) -> Vec<Health> {
        self.engine().map_or(Vec::new(), |engine| engine.health())
    }

    fn engine(&self) -> Option<Arc<Engine>> {
        match &*self.0.shared.lock() {
            Run::Announced(engine, ..) | Run::Running(engine, _) | Run::Draining(engine, ..) => Some(engine.clone()),
            Run::Fresh | Run::Starting(_) | Run::Gone(..) => None,
        }
    }

    /// Asks it to drain within `drain`, and does not wait; for callbacks and signal handling. One that has not begun will
    /// not begin.
    pub fn stop(&self, drain: Duration) {
        self.0.shared.stop(drain);
    }

    /// Drains it within `drain` and waits until it is gone: accepting stops at once, what was begun is finished and flushed,
    /// and what is left at the deadline is cut. Whoever asks gets the same report; the soonest deadline counts. One that has
    /// not begun will not begin. `Ok` says that it has ended; whether anybody was cut for that, [`Report::is_clean`] says.
    ///
    /// # Errors
    /// `OnReactorThread` in a callback or a blocking handler, where [`Server::stop`] is the call; `NotDriven` if a callback holds a reactor up
    /// beyond the deadline; `ReactorGone` if a reactor has died.
    pub fn shutdown(&self, drain: Duration) -> Result<Report, Error> {
        if self.0.shared.waits_for_this_thread() {
            return Err(Error::OnReactorThread);
        }
        self.stop(drain);
        self.0.shared.wait(drain.saturating_add(END_GRACE))
    }

    /// Ends it at once: connections are cut.
    ///
    /// # Errors
    /// As [`Server::shutdown`].
    pub fn close(&self) -> Result<Report, Error> {
        self.shutdown(Duration::ZERO)
    }

    /// Waits until it is gone, for at most `timeout`.
    ///
    /// # Errors
    /// `NotDriven` after `timeout`, `ReactorGone` if a reactor has died, `OnReactorThread` in a callback.
    pub fn wait(&self, timeout: Duration) -> Result<Report, Error> {
        if self.0.shared.waits_for_this_thread() {
            return Err(Error::OnReactorThread);
        }
        self.0.shared.wait(timeout)
    }
}

/// How long the other reactors may drain when one has died.
const DEATH_DRAIN: Duration = Duration::from_secs(30);

/// How long it may take, beyond a drain's deadline, until everybody has been told of the end.
const END_GRACE: Duration = Duration::from_secs(1);

/// The longest time that the system's clock is asked to wait for at once.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Run> {
        // No user code runs under the lock.
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a wait for its end on this thread would wait for itself: it drives a reactor, runs a callback, or a blocking
    /// handler of this server.
    fn waits_for_this_thread(&self) -> bool {
        Driving::is_any() || self.workers.as_ref().is_some_and(|workers| workers.serve_here())
    }

    /// Tells where it listens, before anything else that happens to it.
    fn announce(&self, engine: &Arc<Engine>, addresses: &[Address]) {
        {
            let mut run = self.lock();
            let stop = if let Run::Starting(stop) = *run { stop } else { None };
            *run = Run::Announced(engine.clone(), addresses.to_vec(), stop);
        }
        for address in addresses {
            self.callbacks.tell_event(&ServerEvent::Listening(address.clone()));
        }
    }

    /// Waits for the reactors' end, on a thread of its own.
    fn watch(&self, engine: &Engine) {
        let died = |death: Error| {
            self.callbacks.tell_failure(death);
            // What it held is lost, and what it accepted for others: those end in order.
            self.stop(DEATH_DRAIN);
        };
        engine.wait_for_threads(died, || self.workers.iter().for_each(|workers| workers.watch_on(engine)));
        let mut report = engine.wait(Duration::ZERO).ok();
        if let Some(workers) = &self.workers {
            let served = workers.drain(|| self.lock_until().unwrap_or_else(Instant::now));
            report.iter_mut().for_each(|report| report.add(&served));
        }
        for error in engine.join().into_iter().flatten().filter_map(Result::err) {
            if !matches!(error, Error::ThreadDied { .. } | Error::ThreadFailed { .. }) {
                self.callbacks.tell_failure(error);
            }
        }
        let mut run = self.lock();
        while let Run::Starting(_) | Run::Announced(..) | Run::Draining(.., Announced::NotYet) = *run {
            run = self.changed.wait(run).unwrap_or_else(PoisonError::into_inner);
        }
        drop(run);
        if let Some(report) = report {
            self.callbacks.tell_event(&ServerEvent::Drained(report));
        }
        let mut run = self.lock();
        if let Run::Running(_, addresses) | Run::Draining(_, addresses, _) = &mut *run {
            let addresses = std::mem::take(addresses);
            *run = Run::Gone(report, addresses);
        }
        drop(run);
        self.changed.notify_all();
        #[cfg(feature = "signals")]
        self.ends.close();
        self.callbacks.tell_event(&ServerEvent::Gone);
    }

    fn lock_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long its end may still take; `None` if it was not asked to stop.
    #[cfg(feature = "signals")]
    fn time_left(&self) -> Option<Duration> {
        let until = (*self.lock_until())?;
        Some(clock::until(until, END_GRACE).saturating_duration_since(Instant::now()))
    }

    fn stop(&self, drain: Duration) {
        let asked = clock::until(Instant::now(), drain);
        {
            let mut until = self.lock_until();
            *until = Some(until.map_or(asked, |until| until.min(asked)));
        }
        let (engine, is_first) = {
            let mut run = self.lock();
            match std::mem::replace(&mut *run, Run::Fresh) {
                Run::Fresh => {
                    *run = Run::Gone(Some(Report::default()), Vec::new());
                    (None, false)
                }
                Run::Running(engine, addresses) => {
                    *run = Run::Draining(engine.clone(), addresses, Announced::NotYet);
                    (Some(engine), true)
                }
                Run::Draining(engine, addresses, told) => {
                    *run = Run::Draining(engine.clone(), addresses, told);
                    (Some(engine), false)
                }
                Run::Starting(asked) => {
                    *run = Run::Starting(Some(asked.map_or(drain, |asked| asked.min(drain))));
                    (None, false)
                }
                Run::Announced(engine, addresses, asked) => {
                    let asked = asked.map_or(drain, |asked| asked.min(drain));
                    *run = Run::Announced(engine, addresses, Some(asked));
                    (None, false)
                }
                gone @ Run::Gone(..) => {
                    *run = gone;
                    (None, false)
                }
            }
        };
        if engine.is_some() {
            self.workers.iter().for_each(|workers| workers.begin_drain());
        }
        self.changed.notify_all();
        // First: a callback that takes its time does not hold the drain up.
        if let Some(engine) = engine {
            engine.stop(drain);
        }
        if is_first {
            self.callbacks.tell_event(&ServerEvent::Draining);
            if let Run::Draining(_, _, told) = &mut *self.lock() {
                *told = Announced::Yes;
            }
            self.changed.notify_all();
        }
    }

    fn wait(&self, timeout: Duration) -> Result<Report, Error> {
        let is_gone = |run: &mut Run| !matches!(run, Run::Gone(..));
        let waited = self.changed.wait_timeout_while(self.lock(), timeout.min(A_YEAR), is_gone);
        let (run, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match &*run {
            Run::Gone(Some(report), _) => Ok(*report),
            Run::Gone(None, _) => Err(Error::ReactorGone),
            Run::Fresh | Run::Starting(_) | Run::Announced(..) | Run::Running(..) | Run::Draining(..) => {
                Err(Error::NotDriven)
            }
        }
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        let has_begun = matches!(*self.shared.lock(), Run::Running(..) | Run::Draining(..));
        if has_begun {
            self.shared.stop(Duration::ZERO);
            if !self.shared.waits_for_this_thread() {
                // Whatever came of it: nobody is left to be told.
                let _ = self.shared.wait(END_GRACE);
            }
        }
    }
}
