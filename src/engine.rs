//! Reactors on threads of their own, as one: started, listened with, drained and joined together.
//!
//! Owns the threads. Connections are the reactors'; where an accepted one goes is decided in `placement.rs`.
//!
//! 1. Streams are handed over by the first reactor alone. A listener that it accepts for stays on the other reactors until it
//!    has closed its own, so that whatever it has accepted is served; they drain meanwhile.

use crate::address::{Address, Transport};
use crate::command::{Local, Order};
use crate::config::datagram::DatagramConfig;
use crate::config::{ListenConfig, QUEUED_BYTES_LEAST, ReactorConfig, Reuse, Wanted};
use crate::context::{Context, Sharing, check_stream};
use crate::cores;
use crate::counters::Counters;
use crate::error::Error;
use crate::factory::Factory;
use crate::handler::{Accept, DatagramHandler, Maker};
use crate::id::{EndpointId, ListenerId};
use crate::mailbox::{Driving, Health, Remote, Report, tell_all};
use crate::message::Undelivered;
use crate::net::datagram::DatagramSocket;
use crate::net::listener::Listener;
use crate::net::sigpipe;
use crate::placement::{Placement, Quota, ReactorLimits, Spread};
use crate::reactor::Reactor;
use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Whether reactor threads stay on one core each.
///
/// ```
/// use windlass::{EngineConfig, Pinning};
/// let config = EngineConfig { pinning: Pinning::Pinned, ..EngineConfig::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// The system places them, wherever the first thread of the process or the one that starts the engine may run (Linux). To
    /// confine reactors to some cores, confine the process.
    Free,
    /// Thread `n` runs on the `n`-th of the cores that the process may use, counted round and round. The threads that it
    /// starts, for blocking handlers and lookups, are not pinned. Elsewhere than on Linux it is logged that threads cannot be.
    Pinned,
}

/// How many reactors to run, and how.
///
/// ```
/// use windlass::{Engine, EngineConfig, Pinning, Placement};
/// let config = EngineConfig {
///     reactors: 2,
///     pinning: Pinning::Free,
///     placement: Placement::LeastConnections,
///     ..EngineConfig::default()
/// };
/// let engine = Engine::start(config)?;
/// assert_eq!(engine.remotes().len(), 2);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Reactor threads. Default: one for each core that the process may use.
    pub reactors: usize,
    /// Threads are named so, with their number behind it; the system keeps 15 bytes, of which the number is never cut. Default:
    /// `windlass`.
    pub name: String,
    /// Default: free.
    pub pinning: Pinning,
    /// Where accepted connections go. Default: to the reactor with the fewest.
    pub placement: Placement,
    /// Accepted connections of all reactors together; above it, accepting pauses. Default: no limit.
    pub connections_max: usize,
    /// Bytes of memory that may wait in all queues of all reactors together: each may hold an equal share, or what
    /// [`ReactorConfig::queued_bytes_max`] says if that is less. At least 1 MiB for each reactor. Default: `None`, no bound but
    /// each connection's.
    pub queued_bytes_max: Option<usize>,
    /// For each reactor.
    pub reactor: ReactorConfig,
}

impl Default for EngineConfig {
    fn default() -> EngineConfig {
        EngineConfig {
            reactors: cores::count(),
            name: "windlass".to_owned(),
            pinning: Pinning::Free,
            placement: Placement::LeastConnections,
            connections_max: usize::MAX,
            queued_bytes_max: None,
            reactor: ReactorConfig::default(),
        }
    }
}

impl EngineConfig {
    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |field, value: String, why| Err(Error::Config { field, value, why });
        if !(1..=REACTORS_MAX).contains(&self.reactors) {
            return refuse("reactors", self.reactors.to_string(), "it must be from 1 to 1,024");
        }
        if self.connections_max == 0 {
            return refuse("connections_max", "0".to_owned(), "it must be at least 1");
        }
        if let Some(bytes) = self.queued_bytes_max.filter(|bytes| bytes / self.reactors < QUEUED_BYTES_LEAST) {
            let value = bytes.to_string();
            return refuse("queued_bytes_max", value, "it must be at least 1 MiB for each reactor");
        }
        if self.name.contains('\0') {
            return refuse("name", format!("{:?}", self.name), "the name of a thread cannot hold a NUL");
        }
        self.reactor.validate()
    }

    /// What each reactor is, with its share of what all may hold.
    fn reactor_config(&self) -> ReactorConfig {
        let share = self.queued_bytes_max.map(|bytes| bytes / self.reactors);
        let queued_bytes_max = [share, self.reactor.queued_bytes_max].into_iter().flatten().min();
        ReactorConfig { queued_bytes_max, ..self.reactor.clone() }
    }
}

const REACTORS_MAX: usize = 1024;

/// How long a question to a reactor may take; it is answered between two callbacks.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a driven reactor may take, beyond its drain's deadline, to cut what is left and to report.
const REPORT_GRACE: Duration = Duration::from_millis(500);

/// Reactors on threads of their own.
///
/// All methods can be called from any thread; share it in an `Arc`. Those that say so wait for the reactors, and refuse
/// on a reactor's own thread. Dropping it cuts all connections and waits for the threads.
///
/// The reactors' threads block SIGPIPE, so that no peer can raise it by leaving while a file is sent to it. A thread or
/// process that a callback starts inherits that; the threads of blocking handlers do not.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Conn, Engine, EngineConfig, Handler, ListenConfig};
/// # fn main() -> Result<(), windlass::Error> {
/// struct Echo;
/// impl Handler for Echo {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize { conn.write_some(data) }
/// }
/// let engine = Engine::start(EngineConfig { reactors: 2, ..EngineConfig::default() })?;
/// // The outer closure makes the maker of each reactor; what that captures stays on its thread.
/// let listening = engine.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), || |_: &Conn<'_>| Echo)?;
/// println!("listening on {}", listening.address());
/// let report = engine.shutdown(Duration::from_secs(1))?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Engine {
    remotes: Vec<Remote>,
    threads: Mutex<Vec<Thread>>,
    deaths: Arc<Deaths>,
    placement: Placement,
    reactor_connections_max: usize,
    reactor_handshakes_max: usize,
    total: Arc<Quota>,
}

/// A reactor's thread.
#[derive(Debug)]
struct Thread {
    name: String,
    handle: JoinHandle<Result<Report, Error>>,
}

/// Ends of reactor threads that nobody has asked for, and the others.
#[derive(Debug, Default)]
struct Deaths {
    inside: Mutex<Ends>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Ends {
    ended: usize,
    /// What those that panicked or failed came to, unless it was told.
    died: Vec<Error>,
}

/// Tells of its thread's end, which it outlives as its last local.
struct TellsDeath {
    deaths: Arc<Deaths>,
    name: String,
    failed: Option<Error>,
}

impl Drop for TellsDeath {
    fn drop(&mut self) {
        let mut ends = self.deaths.inside.lock().unwrap_or_else(PoisonError::into_inner);
        ends.ended += 1;
        if std::thread::panicking() {
            ends.died.push(Error::ThreadDied { name: std::mem::take(&mut self.name) });
        }
        ends.died.extend(self.failed.take());
        drop(ends);
        self.deaths.changed.notify_all();
    }
}

/// A listener of an engine, at one address, on one or all of its reactors.
///
/// ```
/// use windlass::{Conn, Engine, EngineConfig, ListenConfig, handler_fn};
/// let engine = Engine::start(EngineConfig { reactors: 2, ..EngineConfig::default() })?;
/// let echo = || |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data));
/// let listening = engine.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), echo)?;
/// println!("listening on {}", listening.address());
/// listening.pause(); // nothing is accepted until `resume`
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Listening {
    address: Address,
    parts: Vec<(Remote, ListenerId)>,
}

impl Listening {
    /// Where it really listens, with the port that the system chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Stops accepting until it is resumed; the backlog waits in the kernel. It is never refused, and done soon: each call is a
    /// command that waits in the mailbox beside its limit.
    pub fn pause(&self) {
        self.order(|| Order::Pause);
    }

    /// Accepts again. It is never refused, and done soon.
    pub fn resume(&self) {
        self.order(|| Order::Resume);
    }

    /// Closes the listener; its connections stay. Who connected before that is served, a paused listener's backlog too, as far
    /// as limits leave room; who has not been accepted then is reset by the kernel. It is never refused, and done soon:
    /// [`Listening::close`] waits for it.
    pub fn remove(&self) {
        self.order(|| Order::Remove);
    }

    /// As [`Listening::remove`], and waits until nothing listens there any more, so that the address can be listened on again.
    ///
    /// # Errors
    /// `NotDriven` if a callback holds a reactor up for `timeout`, and `OnReactorThread` in a callback; the listener is closed
    /// soon all the same.
    pub fn close(&self, timeout: Duration) -> Result<(), Error> {
        self.remove();
        if Driving::is_any() {
            return Err(Error::OnReactorThread);
        }
        let until = Instant::now().checked_add(timeout);
        for (remote, _) in &self.parts {
            let (tell, told) = mpsc::channel();
            // One that has ended has closed its listeners.
            if remote.run_asked(move |_| _ = tell.send(())).is_err() {
                continue;
            }
            let left = until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
            if let Err(RecvTimeoutError::Timeout) = told.recv_timeout(left) {
                return Err(Error::NotDriven);
            }
        }
        Ok(())
    }

    fn order(&self, order: fn() -> Order) {
        for (remote, id) in &self.parts {
            remote.order_asked(id.0, order());
        }
    }
}

/// A datagram address of an engine, with a socket on one or all of its reactors.
///
/// ```
/// use windlass::{Datagram, DatagramConfig, DatagramHandler, Datagrams, Engine, EngineConfig};
/// struct Echo;
/// impl DatagramHandler for Echo {
///     fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
///         _ = sock.send_to(datagram.from, datagram.data);
///     }
/// }
/// let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() })?;
/// let bound = engine.bind(&"udp://127.0.0.1:0".parse()?, DatagramConfig::default(), || Echo)?;
/// println!("bound at {}, on {} reactors", bound.address(), bound.endpoints().len());
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BoundEndpoints {
    address: Address,
    parts: Vec<(Remote, EndpointId)>,
}

impl BoundEndpoints {
    /// Where it is really bound, with the port or name that the system chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Its sockets, each with the way into its reactor.
    pub fn endpoints(&self) -> &[(Remote, EndpointId)] {
        &self.parts
    }
}

/// Sockets that listen at one address and are no reactor's yet.
pub(crate) struct BoundListeners {
    address: Address,
    listeners: Vec<Listener>,
}

impl BoundListeners {
    /// The real address.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }
}

/// Makes the maker of one reactor, on its thread.
pub(crate) type MakeMaker = Arc<dyn Fn(&mut Context<'_>) -> Box<dyn Maker> + Send + Sync>;

/// An answer that somebody waits for, until he gives up: who gave up gets nothing, and nothing is left behind.
struct Answer<T> {
    state: Mutex<Awaited<T>>,
    changed: Condvar,
}

enum Awaited<T> {
    Waiting,
    Answered(T),
    /// The question was dropped unanswered.
    Dropped,
    GivenUp,
}

/// The end of an [`Answer`] that answers.
struct Answers<T>(Arc<Answer<T>>);

impl<T> Answer<T> {
    fn new() -> Arc<Answer<T>> {
        Arc::new(Answer { state: Mutex::new(Awaited::Waiting), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Awaited<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it came to within `timeout`; afterwards it is given up.
    fn wait(&self, timeout: Duration) -> Awaited<T> {
        let is_waiting = |state: &mut Awaited<T>| matches!(state, Awaited::Waiting);
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, is_waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *state, Awaited::GivenUp)
    }
}

impl<T> Answers<T> {
    fn is_wanted(&self) -> bool {
        !matches!(*self.0.lock(), Awaited::GivenUp)
    }

    /// Gives the answer; it comes back if nobody waits for it any more.
    fn give(self, answer: T) -> Option<T> {
        let mut state = self.0.lock();
        if let Awaited::GivenUp = *state {
            return Some(answer);
        }
        *state = Awaited::Answered(answer);
        None
    }
}

impl<T> Drop for Answers<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Awaited::Waiting = *state {
            *state = Awaited::Dropped;
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

/// Pins the calling thread if that is asked for.
fn pin_thread(pinning: Pinning, number: usize) {
    if pinning == Pinning::Pinned {
        if let Err(error) = cores::pin(number) {
            log::warn!("reactor thread {number} is not pinned: {error}");
        }
    }
}

impl Engine {
    /// Starts the reactor threads.
    ///
    /// # Errors
    /// `Config`; `Poll` if a reactor cannot be made, `Thread` if its thread cannot. None is left running then.
    pub fn start(config: EngineConfig) -> Result<Engine, Error> {
        config.validate()?;
        let mut engine = Engine {
            remotes: Vec::new(),
            threads: Mutex::default(),
            deaths: Arc::default(),
            placement: config.placement,
            reactor_connections_max: config.reactor.connections_max,
            reactor_handshakes_max: config.reactor.handshakes_max,
            total: Quota::new(config.connections_max),
        };
        // Dropped before the engine: a thread that waits here goes on then.
        let mut all = Vec::new();
        for number in 0..config.reactors {
            let name = cores::name(&config.name, &format!("-{number}"));
            let (reactor, pinning) = (config.reactor_config(), config.pinning);
            let (tell, told) = mpsc::channel();
            let (share, shared) = mpsc::channel::<Arc<[Remote]>>();
            all.push(share);
            let deaths = engine.deaths.clone();
            let told_dead = name.clone();
            let body = move || {
                let mut tells = TellsDeath { deaths, name: told_dead, failed: None };
                cores::roam();
                pin_thread(pinning, number);
                let mut reactor = match Reactor::new(reactor) {
                    Ok(reactor) => reactor,
                    Err(error) => {
                        let _ = tell.send(Err(error));
                        return Ok(Report::default());
                    }
                };
                let _ = tell.send(Ok(reactor.remote()));
                // Not before: a reactor starts threads that may run user code.
                sigpipe::block();
                if let Ok(remotes) = shared.recv() {
                    reactor.context().state.remotes = remotes;
                }
                match reactor.run() {
                    Ok(report) => Ok(report),
                    Err(error) => {
                        log::error!("reactor thread {number} has failed: {error}");
                        tells.failed = Some(failed(&tells.name, &error));
                        Err(failed(&tells.name, &error))
                    }
                }
            };
            let started = std::thread::Builder::new().name(name.clone()).spawn(body);
            let handle = started.map_err(|source| Error::Thread { name: name.clone(), source })?;
            engine.lock_threads().push(Thread { name: name.clone(), handle });
            let died = || Error::ThreadDied { name };
            let remote = told.recv().map_err(|_| died())??;
            engine.remotes.push(remote);
        }
        let remotes: Arc<[Remote]> = engine.remotes.clone().into();
        for share in all {
            // A thread that has died is reported by the next call that needs it.
            let _ = share.send(remotes.clone());
        }
        Ok(engine)
    }

    fn lock_threads(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ways into the reactors, in their order.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// The way into the reactor that has the fewest connections now, to begin something there.
    pub fn least_loaded(&self) -> &Remote {
        let running = self.remotes.iter().filter(|remote| !remote.has_ended());
        running.min_by_key(|remote| remote.connections()).unwrap_or(&self.remotes[0])
    }

    /// Connections of all reactors, each datagram socket counted as one.
    pub fn connections(&self) -> usize {
        self.remotes.iter().map(Remote::connections).sum()
    }

    /// How each reactor is, without asking it: see [`Remote::health`].
    pub fn health(&self) -> Vec<Health> {
        self.remotes.iter().map(Remote::health).collect()
    }

    /// Runs `question` on a reactor's thread, between callbacks, and waits for what it says.
    ///
    /// # Errors
    /// `OnReactorThread`, `MailboxFull`, `ReactorGone`; `NotDriven` if a callback holds the reactor up for ten seconds, and
    /// `question` is dropped then, unless it has begun; `CallbackPanicked` if `question` did.
    pub fn ask<T: Send + 'static>(
        &self,
        reactor: usize,
        question: impl FnOnce(&mut Context<'_>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_by("ask", reactor, question, |_, _| ())
    }

    /// As `ask`, for a question whose panic is called by this name.
    pub(crate) fn ask_as<T: Send + 'static>(
        &self,
        callback: &'static str,
        reactor: usize,
        question: impl FnOnce(&mut Context<'_>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.ask_by(callback, reactor, question, |_, _| ())
    }

    /// As `ask`; `undo` takes back what `question` has done, if it had begun when the asker gave up.
    fn ask_by<T: Send + 'static>(
        &self,
        callback: &'static str,
        reactor: usize,
        question: impl FnOnce(&mut Context<'_>) -> T + Send + 'static,
        undo: impl FnOnce(&mut Context<'_>, T) + Send + 'static,
    ) -> Result<T, Error> {
        let remote = self.remotes.get(reactor).ok_or(Error::ReactorGone)?;
        if Driving::is_any() {
            return Err(Error::OnReactorThread);
        }
        let answer = Answer::new();
        let answers = Answers(answer.clone());
        remote.run(move |cx| {
            if answers.is_wanted() {
                let answer = question(cx);
                if let Some(answer) = answers.give(answer) {
                    undo(cx, answer);
                }
            }
        })?;
        match answer.wait(ANSWER_TIMEOUT) {
            Awaited::Answered(answer) => Ok(answer),
            Awaited::Waiting | Awaited::GivenUp => Err(Error::NotDriven),
            Awaited::Dropped if remote.has_ended() => Err(Error::ReactorGone),
            Awaited::Dropped => Err(Error::CallbackPanicked { callback }),
        }
    }

    /// Has each reactor run a copy of `call`, between callbacks, and does not wait. Returns for each reactor, by its number, whether
    /// it will: it may be called in a callback too, and what was asked of a reactor by one thread is done in its order. A panic in
    /// it is counted and ends nothing.
    ///
    /// ```
    /// # fn reload(engine: &windlass::Engine) {
    /// struct Motd(String);
    /// let motd = "maintenance at noon".to_owned();
    /// for (number, told) in engine.tell_all(move |cx| drop(cx.set_local(Motd(motd)))).into_iter().enumerate() {
    ///     if let Err(error) = told {
    ///         eprintln!("reactor {number} has not heard: {error}");
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of each reactor: `ReactorGone`, or `MailboxFull`. What was taken and waits when a reactor ends is dropped.
    pub fn tell_all(&self, call: impl FnOnce(&mut Context<'_>) + Clone + Send + 'static) -> Vec<Result<(), Error>> {
        tell_all(&self.remotes, call)
    }

    /// Calls `tell` with what was sent to a connection or handler of any reactor and could not be delivered, and why: see
    /// [`Reactor::on_undelivered`]. It takes the place of the one before, and has done so on every reactor when it returns.
    ///
    /// # Threads
    /// `tell` is called on the thread of the reactor.
    ///
    /// # Errors
    /// As [`Engine::ask`].
    pub fn on_undelivered(&self, tell: impl Fn(Undelivered, &Error) + Send + Sync + 'static) -> Result<(), Error> {
        let tell = Arc::new(tell);
        for reactor in 0..self.remotes.len() {
            let tell = tell.clone();
            self.ask(reactor, move |cx| cx.on_undelivered(move |what, why| tell(what, why)))?;
        }
        Ok(())
    }

    /// What each reactor counted so far, living connections included.
    ///
    /// # Errors
    /// As [`Engine::ask`].
    pub fn snapshots(&self) -> Result<Vec<Counters>, Error> {
        (0..self.remotes.len()).map(|reactor| self.ask(reactor, |cx| cx.snapshot())).collect()
    }

    // --- listening ------------------------------------------------------------------------------------------------

    /// Listens on a stream address. `make` is called once on each reactor's thread and makes what makes handlers there, so
    /// that what the handlers of a reactor share can be an `Rc`: `|| …`, or `|cx: &mut Context<'_>| …`.
    ///
    /// `config.connections_max` holds for all reactors together.
    ///
    /// # Errors
    /// As [`Context::listen`], and as [`Engine::ask`]; nothing listens then.
    pub fn listen<Shape, F>(&self, address: &Address, config: ListenConfig, make: F) -> Result<Listening, Error>
    where
        F: Factory<Shape> + Send + Sync + 'static,
        F::Made: Accept,
    {
        let bound = self.bind_listeners(address, &config)?;
        self.begin(bound, config, Arc::new(move |cx: &mut Context<'_>| Box::new(make.make(cx)) as Box<dyn Maker>))
    }

    /// Binds what will listen at `address`.
    pub(crate) fn bind_listeners(&self, address: &Address, config: &ListenConfig) -> Result<BoundListeners, Error> {
        config.validate()?;
        check_stream(address, config.wants())?;
        let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
        let is_kernels = self.placement == Placement::Kernel && !address.transport().is_unix();
        if !is_kernels || self.remotes.len() == 1 {
            let listener = Listener::bind(address, config)?;
            let address = real_address(listener.local_address().map_err(refused)?, address.transport());
            return Ok(BoundListeners { address, listeners: vec![listener] });
        }
        let config = ListenConfig { reuse: Reuse::Port, ..config.clone() };
        let first = Listener::bind(address, &config)?;
        // Sockets of two families would not share the port: the kernel prefers those of IPv4.
        let shared = first.bound_at().map_err(refused)?.map(|ip| real_address(Address::tcp(ip), address.transport()));
        let address = real_address(first.local_address().map_err(refused)?, address.transport());
        let mut listeners = vec![first];
        for _ in 1..self.remotes.len() {
            listeners.push(Listener::bind(shared.as_ref().unwrap_or(&address), &config)?);
        }
        Ok(BoundListeners { address, listeners })
    }

    /// Has the reactors listen with what is bound.
    pub(crate) fn begin(
        &self,
        bound: BoundListeners,
        config: ListenConfig,
        make: MakeMaker,
    ) -> Result<Listening, Error> {
        let quotas: Arc<[Arc<Quota>]> = Arc::new([self.total.clone(), Quota::new(config.connections_max)]);
        let mut listening = Listening { address: bound.address, parts: Vec::new() };
        let begun = if bound.listeners.len() == self.remotes.len() {
            self.begin_each(bound.listeners, &config, &make, &quotas, &mut listening)
        } else {
            self.begin_spread(bound.listeners, &config, &make, &quotas, &mut listening)
        };
        if let Err(error) = begun {
            listening.remove();
            return Err(error);
        }
        Ok(listening)
    }

    /// Each reactor accepts for itself.
    fn begin_each(
        &self,
        listeners: Vec<Listener>,
        config: &ListenConfig,
        make: &MakeMaker,
        quotas: &Arc<[Arc<Quota>]>,
        listening: &mut Listening,
    ) -> Result<(), Error> {
        let each = u32::try_from(self.remotes.len()).unwrap_or(u32::MAX);
        for (reactor, listener) in listeners.into_iter().enumerate() {
            let accepts_per_second = config.accepts_per_second.map(|accepts| accepts.div_ceil(each));
            let (config, make) = (ListenConfig { accepts_per_second, ..config.clone() }, make.clone());
            let sharing = Sharing { quotas: quotas.clone(), ..Sharing::default() };
            let listen = move |cx: &mut Context<'_>| {
                let maker = make(cx);
                cx.listen_shared(listener, config, maker, sharing)
            };
            let id = self.ask_by("make", reactor, listen, unlisten)??;
            listening.parts.push((self.remotes[reactor].clone(), id));
        }
        Ok(())
    }

    /// The first reactor accepts, for all.
    fn begin_spread(
        &self,
        listeners: Vec<Listener>,
        config: &ListenConfig,
        make: &MakeMaker,
        quotas: &Arc<[Arc<Quota>]>,
        listening: &mut Listening,
    ) -> Result<(), Error> {
        let is_tls = config.wants() == Wanted::Tls;
        let limits = ReactorLimits {
            connections_max: self.reactor_connections_max,
            handshakes_max: is_tls.then_some(self.reactor_handshakes_max),
        };
        for listener in listeners {
            // However it ends, also here, it removes what it feeds.
            let mut spread = Spread::new(self.placement, self.remotes[0].clone(), limits);
            for (reactor, remote) in self.remotes.iter().enumerate().skip(1) {
                let (config, make, quotas) = (config.clone(), make.clone(), quotas.clone());
                let address = listening.address.clone();
                let sharing = Sharing { quotas, spread: None, feeder: Some(self.remotes[0].clone()) };
                let listen = move |cx: &mut Context<'_>| {
                    let maker = make(cx);
                    cx.listen_fed(address, config, maker, sharing)
                };
                spread.feed(remote.clone(), self.ask_by("make", reactor, listen, unlisten)??.0);
            }
            let (config, make, quotas) = (config.clone(), make.clone(), quotas.clone());
            let sharing = Sharing { quotas, spread: Some(spread), feeder: None };
            let listen = move |cx: &mut Context<'_>| {
                let maker = make(cx);
                cx.listen_shared(listener, config, maker, sharing)
            };
            listening.parts.push((self.remotes[0].clone(), self.ask_by("make", 0, listen, unlisten)??));
        }
        Ok(())
    }

    /// Binds a datagram address: with `Reuse::Port` one socket on each reactor, over which the kernel spreads the peers,
    /// else one on the reactor with the fewest connections. `make` makes each one's handler, on its thread: `|| …`, or
    /// `|cx: &mut Context<'_>| …`.
    ///
    /// # Errors
    /// As [`Context::bind`], and as [`Engine::ask`]; nothing is bound then.
    pub fn bind<Shape, F>(&self, address: &Address, config: DatagramConfig, make: F) -> Result<BoundEndpoints, Error>
    where
        F: Factory<Shape> + Send + Sync + 'static,
        F::Made: DatagramHandler,
    {
        config.validate()?;
        let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
        let first = DatagramSocket::bind_checked(address, &config)?;
        let real = first.local_address().map_err(refused)?;
        let shared = first.bound_at().map_err(refused)?.map_or(real.clone(), Address::udp);
        let mut sockets = vec![first];
        let is_spread = config.reuse == Reuse::Port && !address.transport().is_unix();
        for _ in 1..if is_spread { self.remotes.len() } else { 1 } {
            sockets.push(DatagramSocket::bind_checked(&shared, &config)?);
        }
        let make = Arc::new(make);
        let mut bound = BoundEndpoints { address: real, parts: Vec::new() };
        let least = self.remotes.iter().position(|remote| remote == self.least_loaded()).unwrap_or(0);
        for (number, socket) in sockets.into_iter().enumerate() {
            let reactor = if is_spread { number } else { least };
            let (config, make) = (config.clone(), make.clone());
            let bind = move |cx: &mut Context<'_>| {
                let handler = make.make(cx);
                cx.bind_bound(socket, &config, handler)
            };
            let begun = self.ask_by("make", reactor, bind, unbind);
            match begun.and_then(|id| id) {
                Ok(id) => bound.parts.push((self.remotes[reactor].clone(), id)),
                Err(error) => {
                    for (remote, id) in &bound.parts {
                        remote.order_asked(id.0, Order::Remove);
                    }
                    return Err(error);
                }
            }
        }
        Ok(bound)
    }

    // --- the end --------------------------------------------------------------------------------------------------

    /// Has all reactors drain within `drain`, and does not wait. What was accepted already is served. The soonest deadline
    /// that was asked for counts.
    pub fn stop(&self, drain: Duration) {
        for remote in &self.remotes {
            // One that has stopped already is what was asked for.
            let _ = remote.stop(drain);
        }
    }

    /// Waits until all reactor threads have ended; `died` is told of each that panics or fails, as soon as it has, and `ended`
    /// whenever some have ended, however.
    pub(crate) fn wait_for_threads(&self, mut died: impl FnMut(Error), mut ended: impl FnMut()) {
        let mut ends = self.deaths.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = 0;
        loop {
            let dead = std::mem::take(&mut ends.died);
            if !dead.is_empty() || ends.ended > told {
                told = ends.ended;
                drop(ends);
                dead.into_iter().for_each(&mut died);
                ended();
                ends = self.deaths.inside.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if told >= self.remotes.len() {
                return;
            }
            ends = self.deaths.changed.wait(ends).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until all reactors have stopped, and adds their reports up.
    ///
    /// # Errors
    /// `NotDriven` after `timeout`, `ReactorGone` if one has died, `OnReactorThread`.
    pub fn wait(&self, timeout: Duration) -> Result<Report, Error> {
        if Driving::is_any() {
            return Err(Error::OnReactorThread);
        }
        let until = Instant::now().checked_add(timeout);
        let mut sum = Report::default();
        for remote in &self.remotes {
            let left = until.map_or(timeout, |until| until.saturating_duration_since(Instant::now()));
            sum.add(&remote.wait(left)?);
        }
        Ok(sum)
    }

    /// Drains all reactors within `drain` and waits until they have stopped.
    ///
    /// # Errors
    /// As [`Engine::wait`], which is given a moment more than `drain`.
    pub fn shutdown(&self, drain: Duration) -> Result<Report, Error> {
        if Driving::is_any() {
            return Err(Error::OnReactorThread);
        }
        self.stop(drain);
        self.wait(drain.saturating_add(REPORT_GRACE))
    }

    /// Waits for the threads, for as long as they run, and says what became of each: its report, `ThreadDied` if it
    /// panicked, or `ThreadFailed`.
    ///
    /// Called again, or by another thread at once, it returns those that nobody has waited for yet.
    ///
    /// # Errors
    /// `OnReactorThread` in a callback; who calls it elsewhere gets them all then.
    pub fn join(&self) -> Result<Vec<Result<Report, Error>>, Error> {
        if Driving::is_any() {
            return Err(Error::OnReactorThread);
        }
        let mut threads = std::mem::take(&mut *self.lock_threads());
        // Whoever drops the last handle on a reactor's thread, behind its reactor, does not wait for itself.
        threads.retain(|thread| thread.handle.thread().id() != std::thread::current().id());
        let ended = threads.into_iter().map(|Thread { name, handle }| match handle.join() {
            Ok(report) => report,
            Err(_) => Err(Error::ThreadDied { name }),
        });
        Ok(ended.collect())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
        // On a reactor's thread nobody waits; the threads end by themselves.
        let _ = self.join();
    }
}

/// The end of a reactor's thread by its poll's error.
fn failed(name: &str, error: &Error) -> Error {
    let errno = if let Error::Poll(source) = error { source.raw_os_error() } else { None };
    let source = errno.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
    Error::ThreadFailed { name: name.to_owned(), source }
}

/// Takes a listener back that nobody waits for any more.
fn unlisten(cx: &mut Context<'_>, begun: Result<ListenerId, Error>) {
    if let Ok(id) = begun {
        // It was begun in this very turn, so it is there.
        let _ = cx.remove_listener(id);
    }
}

/// The same for a datagram socket.
fn unbind(cx: &mut Context<'_>, begun: Result<EndpointId, Error>) {
    if let Ok(id) = begun {
        cx.state.local.push_back(Local::Order(id.0, Order::Remove));
    }
}

/// The real address of a listener, as an address of the transport that was asked for.
fn real_address(address: Address, transport: Transport) -> Address {
    if transport.is_tls() { address.over_tls() } else { address }
}
