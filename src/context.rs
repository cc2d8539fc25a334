//! What a source, a callback or a closure is lent while it runs: the clock, the table, and the way to begin new things.
//!
//! Owns the gather buffer's owner, the local commands and the timers of the reactor. Never the read scratch. Whatever a
//! callback begins is a local command: it enters the reactor in the same turn, after the callbacks.
//!
//! 1. `buffers.gather` holds bytes of the link that is being driven, `gathered` those of `gatherer`, another one. Both are
//!    empty between drives.

mod connecting;
pub(crate) mod handshakes;
pub(crate) mod reported;

use crate::address::Address;
use crate::clock::Tick;
use crate::command::{Local, Order};
use crate::config::datagram::DatagramConfig;
use crate::config::{ListenConfig, Wanted};
use crate::conn::Other;
use crate::counters::Counters;
use crate::datagrams::OtherEndpoint;
use crate::error::Error;
use crate::handler::{Accept, DatagramHandler, Handler, Maker, WatchHandler};
use crate::id::{ConnId, EndpointId, ListenerId, SourceId, WatchId};
use crate::link::Link;
use crate::link::buffers::Buffers;
use crate::mailbox::{Remote, Report, Unadopted, tell_all};
use crate::message::Undelivered;
use crate::net::datagram::DatagramSocket;
use crate::net::listener::Listener;
use crate::net::watched::Foreign;
use crate::net::{Direction, Registry};
use crate::placement::{Handoff, Permit, Quota, Spread};
use crate::post::{Departures, Post};
use crate::reactor::table::Table;
use crate::seldom::Seldom;
use handshakes::Handshakes;
use reported::ReportedStates;
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What lies ready for each turn: all of a reactor that is neither its poll nor its table.
pub(crate) struct ReactorState {
    pub(crate) now: Tick,
    /// Deadlines up to this moment may end something: what the kernel and the mailbox held then has been looked at.
    pub(crate) judged: Tick,
    pub(crate) life: Life,
    pub(crate) buffers: Buffers,
    pub(crate) departures: Departures,
    pub(crate) gathered: Vec<u8>,
    pub(crate) batch_owner: Option<SourceId>,
    pub(crate) local: VecDeque<Local>,
    pub(crate) handshakes: Handshakes,
    pub(crate) jobs: BTreeMap<TimerId, Job>,
    pub(crate) jobs_made: u64,
    /// What runs last, when the reactor stops or is dropped.
    pub(crate) endings: BTreeMap<u64, Job>,
    pub(crate) counters: Counters,
    /// What users keep for the reactor, by type.
    pub(crate) locals: HashMap<TypeId, Box<dyn Any>>,
    pub(crate) connections: usize,
    pub(crate) connections_max: usize,
    pub(crate) listeners: Vec<(SourceId, Address)>,
    pub(crate) endpoints: Vec<(SourceId, Address)>,
    pub(crate) reported: ReportedStates,
    /// Listeners that wait for something to come free.
    pub(crate) held: Vec<SourceId>,
    /// Who is still to hear of the drain; see `reactor/drain.rs`.
    pub(crate) untold: Vec<Untold>,
    /// Connections that are not read before the queues have room; see `reactor/core/relief.rs`.
    pub(crate) unread: HashSet<SourceId>,
    pub(crate) undelivered: Vec<(Undelivered, Error)>,
    pub(crate) tell_undelivered: Option<TellUndelivered>,
    pub(crate) moved_before: MovedBefore,
    /// Handlers that say they used more than there was.
    pub(crate) misused: Seldom,
    /// What becomes of the link that is being driven, if it is to leave the reactor.
    pub(crate) detach_request: Option<DetachRequest>,
    /// The handler that takes over from the one that is being called back, when it has returned.
    pub(crate) successor: Option<Box<dyn Handler>>,
    /// The connection that the one that is being driven is to be coupled with; its own drive does so.
    pub(crate) relay_request: Option<SourceId>,
    /// Connections that have left, and whose places are kept for them.
    pub(crate) away: usize,
    pub(crate) registry: Registry,
    pub(crate) remote: Remote,
    /// Those of all reactors that belong together, in their order.
    pub(crate) remotes: Arc<[Remote]>,
}

impl ReactorState {
    /// Where a listener really listens.
    pub(crate) fn listener_address(&self, id: ListenerId) -> Option<Address> {
        self.listeners.iter().find(|(listener, _)| *listener == id.0).map(|(_, address)| address.clone())
    }

    pub(crate) fn listeners(&self) -> Vec<(ListenerId, Address)> {
        self.listeners.iter().map(|(id, address)| (ListenerId(*id), address.clone())).collect()
    }

    /// Where a datagram socket is really bound.
    pub(crate) fn endpoint_address(&self, id: EndpointId) -> Option<Address> {
        self.endpoints.iter().find(|(endpoint, _)| *endpoint == id.0).map(|(_, address)| address.clone())
    }

    /// One more connection, or what counts as one.
    pub(crate) fn connection_begins(&mut self) {
        self.connections += 1;
        self.remote.load_more();
    }

    /// One more that another reactor has accepted, and counted for this one.
    pub(crate) fn connection_arrives(&mut self) {
        self.connections += 1;
    }

    pub(crate) fn connection_ends(&mut self) {
        self.connections -= 1;
        self.remote.load_less();
    }

    /// Whether there are as many connections as there may be, those that have left and kept their places among them.
    pub(crate) fn is_full(&self) -> bool {
        self.connections + self.away >= self.connections_max
    }

    /// A connection leaves and keeps its place.
    pub(crate) fn connection_leaves(&mut self) {
        // In this order, so that no place seems to come free meanwhile.
        self.away += 1;
        self.remote.away_more();
        self.connection_ends();
    }

    /// Has listeners that wait for something to come free try again.
    pub(crate) fn free_held(&mut self) {
        for held in std::mem::take(&mut self.held) {
            self.local.push_back(Local::Order(held, Order::CapacityAvailable));
        }
    }

    /// A connection with TLS was accepted.
    pub(crate) fn enter_handshake(&mut self) {
        self.handshakes.enter();
        self.remote.handshake_begins();
    }

    /// One that another reactor has accepted, and counted for this one.
    pub(crate) fn handshake_arrives(&mut self) {
        self.handshakes.enter();
    }

    /// One that another reactor has accepted has no listener, or no room: it counts here no longer, and its descriptor
    /// comes free.
    pub(crate) fn lose(&mut self, handed: &Handoff) {
        self.counters.accepted += 1;
        self.counters.failed += 1;
        if handed.shakes_hands {
            self.remote.handshake_ends();
        }
        self.remote.load_less();
        self.free_held();
    }

    /// An accepted connection with TLS is through with its handshake, or over.
    pub(crate) fn leave_handshake(&mut self) {
        self.remote.handshake_ends();
        if self.handshakes.leave() {
            self.free_held();
        }
    }

    /// Counts an adopted link, but not the bytes that it moved before.
    pub(crate) fn count_adopted(&mut self, id: SourceId, link: &Link) {
        self.counters.adopted += 1;
        self.buffers.pool.count_in(link.held_bytes());
        if link.bytes_in() > 0 || link.bytes_out() > 0 {
            self.moved_before.insert(id, (link.bytes_in(), link.bytes_out()));
        }
    }

    /// Adds the bytes that a link has moved here to `counters`.
    pub(crate) fn count_moved(moved_before: &MovedBefore, id: SourceId, link: &Link, counters: &mut Counters) {
        let (bytes_in, bytes_out) = moved_before.get(&id).copied().unwrap_or_default();
        counters.bytes_in += link.bytes_in() - bytes_in;
        counters.bytes_out += link.bytes_out() - bytes_out;
    }
}

/// Told of what came from elsewhere and could not be delivered.
pub(crate) type TellUndelivered = Box<dyn FnMut(Undelivered, &Error)>;

/// Bytes that adopted links had moved before they came here, in and out.
pub(crate) type MovedBefore = HashMap<SourceId, (u64, u64)>;

/// What takes a detached link.
pub(crate) struct DetachRequest {
    pub(crate) then: Then,
    pub(crate) place: Place,
}

/// Takes the link, and the place that was kept for it.
pub(crate) type Then = Box<dyn FnOnce(Link, Option<Seat>, &mut Context<'_>)>;

/// What becomes of the place that a connection took within the limits of its listener, reactor and engine, when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    GivenBack,
    Kept,
}

/// The place of a connection that has left its reactor. It is given back when this is dropped, on any thread.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) remote: Remote,
    pub(crate) acceptor: SourceId,
    pub(crate) quotas: Arc<[Arc<Quota>]>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        // Here, since the reactor may have ended: other reactors go on.
        Permit::return_to(&self.quotas);
        self.remote.give_back(self.acceptor);
    }
}

/// A closure that waits for its time.
pub(crate) type Job = Box<dyn FnOnce(&mut Context<'_>)>;

/// What of a drain's time goes at most to handshakes, and to first requests, that were under way when it began.
const DRAIN_SHARE: u32 = 4;

/// How long the peer of an accepted connection that has sent nothing yet may take to send its first bytes before the handler
/// hears of a drain: it connected before the listener closed, and its request is on the way.
pub(crate) const FIRST_REQUEST: Duration = Duration::from_millis(250);

/// A source that is still to hear of the drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Untold {
    pub(crate) id: SourceId,
    /// It waits no longer.
    pub(crate) until: Tick,
    /// More bytes than these must have come before.
    pub(crate) beyond: u64,
}

/// Where the reactor is in its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Draining {
        until: Tick,
        report: Report,
    },
    /// The deadline is past: what is left is being ended.
    Cutting(Report),
    Stopped(Report),
}

/// What a listener has in common with others.
#[derive(Default)]
pub(crate) struct Sharing {
    /// How many connections they may have together.
    pub(crate) quotas: Arc<[Arc<Quota>]>,
    /// Where its connections go.
    pub(crate) spread: Option<Spread>,
    /// The reactor that accepts for it.
    pub(crate) feeder: Option<Remote>,
}

/// Names a closure that waits for its time, so that it can be cancelled.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Reactor, ReactorConfig};
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let timer = reactor.after(Duration::from_secs(60), |_| println!("a minute is over"));
/// assert!(reactor.context().cancel(timer));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    pub(crate) due: Tick,
    number: u64,
}

impl TimerId {
    /// Whether it was made after the first `made` ones.
    pub(crate) fn is_later_than(self, made: u64) -> bool {
        self.number > made
    }
}

/// What a closure on the reactor is lent; a [`Conn`](crate::Conn) lends it too, by `context()`.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Reactor, ReactorConfig};
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let mut cx = reactor.context();
/// cx.set_local(0_u64);
/// cx.after(Duration::ZERO, |cx| *cx.local::<u64>().expect("set above") += 1);
/// reactor.poll_once(Some(Duration::ZERO))?;
/// assert_eq!(reactor.context().local::<u64>(), Some(&mut 1));
/// # Ok::<(), windlass::Error>(())
/// ```
pub struct Context<'a> {
    pub(crate) state: &'a mut ReactorState,
    pub(crate) table: &'a mut Table,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("now", &self.state.now).finish_non_exhaustive()
    }
}

impl Context<'_> {
    pub(crate) fn reborrow(&mut self) -> Context<'_> {
        Context { state: self.state, table: self.table }
    }

    /// The turn's time; it is read once a turn, and not for each call.
    pub fn now(&self) -> Instant {
        self.state.now.instant().expect("clock: the present is an instant")
    }

    /// The way into this reactor from other threads.
    pub fn remote(&self) -> Remote {
        self.state.remote.clone()
    }

    /// Handles of all reactors of the engine or server, in the order of their numbers there, this one among them; of a reactor
    /// that stands alone its own. [`Remote::run`] and [`Remote::tell`] reach what is on them.
    pub fn remotes(&self) -> Arc<[Remote]> {
        self.state.remotes.clone()
    }

    /// Which of [`Context::remotes`] this reactor is: from 0 on in an engine or server, 0 if it has no engine.
    pub fn number(&self) -> usize {
        self.state.remotes.iter().position(|remote| *remote == self.state.remote).unwrap_or(0)
    }

    /// Has each reactor of [`Context::remotes`], this one too, run a copy of `call`, after this callback: see
    /// [`Engine::tell_all`](crate::Engine::tell_all).
    ///
    /// # Errors
    /// Of each reactor: `ReactorGone`, or `MailboxFull`.
    pub fn tell_all(&self, call: impl FnOnce(&mut Context<'_>) + Clone + Send + 'static) -> Vec<Result<(), Error>> {
        tell_all(&self.state.remotes, call)
    }

    /// Has what could not be delivered shown to `tell`.
    pub(crate) fn on_undelivered(&mut self, tell: impl FnMut(Undelivered, &Error) + 'static) {
        self.state.tell_undelivered = Some(Box::new(tell));
    }

    /// What the reactor counted so far. Bytes of connections and datagrams of sockets that still live are counted when they
    /// end.
    pub fn counters(&self) -> &Counters {
        &self.state.counters
    }

    /// What the reactor counted so far, the bytes and datagrams of those that live included, but for the one whose callback
    /// this is. Costs a pass over them.
    pub fn snapshot(&self) -> Counters {
        let mut counters = self.state.counters;
        self.table.count_living(&self.state.moved_before, &mut counters);
        counters
    }

    /// Another connection of this reactor; `None` if it is gone, or the one whose callback this is, or was begun in this
    /// very turn. One that still connects takes no output yet.
    pub fn other(&mut self, id: ConnId) -> Option<Other<'_>> {
        self.table.link(id.0)?;
        Some(Other { id: id.0, cx: self.reborrow() })
    }

    /// All connections of this reactor, but the one whose callback this is.
    pub fn connections(&self) -> Vec<ConnId> {
        self.table.connections()
    }

    /// The listeners of this reactor and where they really listen.
    pub fn listeners(&self) -> Vec<(ListenerId, Address)> {
        self.state.listeners()
    }

    /// Where a listener really listens, with the port that the system chose; `None` once it is gone.
    pub fn listener_address(&self, id: ListenerId) -> Option<Address> {
        self.state.listener_address(id)
    }

    /// Another datagram socket of this reactor; `None` if it is gone, or the one whose callback this is, or was begun in
    /// this very turn.
    pub fn endpoint(&mut self, id: EndpointId) -> Option<OtherEndpoint<'_>> {
        self.table.post(id.0)?;
        Some(OtherEndpoint { id: id.0, cx: self.reborrow() })
    }

    /// The datagram sockets of this reactor and where they are really bound.
    pub fn endpoints(&self) -> Vec<(EndpointId, Address)> {
        self.state.endpoints.iter().map(|(id, address)| (EndpointId(*id), address.clone())).collect()
    }

    /// Where a datagram socket is really bound, with the port or name that the system chose; `None` once it is gone.
    pub fn endpoint_address(&self, id: EndpointId) -> Option<Address> {
        self.state.endpoint_address(id)
    }

    // --- what is kept for the reactor ----------------------------------------------------------------------------

    /// Keeps `value` for this reactor, where every callback finds it by its type; returns the one that was kept before. It is
    /// dropped with the reactor, on its thread: it need not be `Send`.
    ///
    /// ```
    /// use windlass::{Reactor, ReactorConfig};
    /// struct Rooms(Vec<String>);
    /// # fn main() -> Result<(), windlass::Error> {
    /// let mut reactor = Reactor::new(ReactorConfig::default())?;
    /// let mut cx = reactor.context();
    /// cx.set_local(Rooms(Vec::new()));
    /// // In any callback, by `conn.context()`:
    /// if let Some(rooms) = cx.local::<Rooms>() {
    ///     rooms.0.push("lobby".to_owned());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn set_local<T: 'static>(&mut self, value: T) -> Option<T> {
        let before = self.state.locals.insert(TypeId::of::<T>(), Box::new(value));
        before.and_then(|before| before.downcast().ok()).map(|before| *before)
    }

    /// What [`Context::set_local`] has kept of this type.
    pub fn local<T: 'static>(&mut self) -> Option<&mut T> {
        self.state.locals.get_mut(&TypeId::of::<T>())?.downcast_mut()
    }

    /// What is kept of this type; if nothing is, `T::default()` is kept first.
    ///
    /// ```
    /// # use windlass::Context;
    /// #[derive(Default)]
    /// struct Visits(u64);
    /// fn count(cx: &mut Context<'_>) -> u64 {
    ///     let visits = cx.local_or_default::<Visits>();
    ///     visits.0 += 1;
    ///     visits.0
    /// }
    /// # let mut reactor = windlass::Reactor::new(windlass::ReactorConfig::default())?;
    /// # assert_eq!((count(&mut reactor.context()), count(&mut reactor.context())), (1, 2));
    /// # Ok::<(), windlass::Error>(())
    /// ```
    pub fn local_or_default<T: Default + 'static>(&mut self) -> &mut T {
        let kept = self.state.locals.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        kept.downcast_mut().expect("context: a value is kept by its type")
    }

    /// Calls `call` with what is kept of this type, and with the context, to reach other connections meanwhile. Within `call`
    /// there is none of this type. Returns `None`, without a call, if none is kept.
    ///
    /// # Panics
    /// If `call` does; the value is kept all the same.
    pub fn with_local<T: 'static, R>(&mut self, call: impl FnOnce(&mut T, &mut Context<'_>) -> R) -> Option<R> {
        let mut kept = self.state.locals.remove(&TypeId::of::<T>())?;
        let value = kept.downcast_mut().expect("context: a value is kept by its type");
        let called = catch_unwind(AssertUnwindSafe(|| call(value, self)));
        self.state.locals.entry(TypeId::of::<T>()).or_insert(kept);
        match called {
            Ok(result) => Some(result),
            Err(panic) => resume_unwind(panic),
        }
    }

    // --- beginnings -----------------------------------------------------------------------------------------------

    /// Listens on a stream address; connections are accepted from the end of this turn on.
    ///
    /// A name with several addresses is listened on at one of them alone, the first that this system can bind: `localhost` may
    /// be `[::1]` and not `127.0.0.1`. To listen on all of them, listen on each. Resolving a name blocks.
    ///
    /// A dead Unix socket at the path is replaced if it belongs to this user, and refused if it belongs to another one. During
    /// the call a lock file, `.windlass-UID.lock`, exists in the folder, so that two processes of one user that start at the
    /// same time do not remove each other's socket.
    ///
    /// # Errors
    /// `Address`, `Listen`, `PathTaken`, `Transport` or `Config`, each naming the address or field; `Draining`.
    pub fn listen(
        &mut self,
        address: &Address,
        config: ListenConfig,
        accept: impl Accept,
    ) -> Result<ListenerId, Error> {
        config.validate()?;
        self.check_running()?;
        check_stream(address, config.wants())?;
        let listener = Listener::bind(address, &config)?;
        self.begin_listener(listener, config, Box::new(accept), Sharing::default())
    }

    /// Listens on a socket that already does. A Unix socket's file stays when the listener is removed. A TCP socket is given
    /// the options of `config`, for accepted ones to inherit, but the hook is not called; what is about binding has no
    /// effect.
    ///
    /// The socket becomes non-blocking and close-on-exec. To pass it to another program later, clear FD_CLOEXEC first.
    ///
    /// # Errors
    /// `Descriptor` if it is no listening stream socket; `Config`; `Draining`.
    pub fn listen_on(
        &mut self,
        socket: impl Into<OwnedFd>,
        config: ListenConfig,
        accept: impl Accept,
    ) -> Result<ListenerId, Error> {
        config.validate()?;
        self.check_running()?;
        let listener = Listener::adopt(socket.into(), &config.socket)
            .map_err(|source| Error::Descriptor { action: "adopt the socket as a listener", source })?;
        self.begin_listener(listener, config, Box::new(accept), Sharing::default())
    }

    fn begin_listener(
        &mut self,
        mut listener: Listener,
        config: ListenConfig,
        maker: Box<dyn Maker>,
        sharing: Sharing,
    ) -> Result<ListenerId, Error> {
        let failed = |source| Error::Descriptor { action: "register the listener", source };
        let address = listener.local_address().map_err(failed)?;
        let address = if config.wants() == Wanted::Tls { address.over_tls() } else { address };
        let id = self.table.reserve()?;
        if let Err(source) = listener.register(&self.state.registry, id.word()) {
            self.state.local.push_back(Local::Order(id, Order::Remove));
            return Err(failed(source));
        }
        self.state.listeners.push((id, address));
        let (listener, config) = (Some(listener), Box::new(config));
        self.state.local.push_back(Local::Listen { id, listener, config, maker, sharing });
        Ok(ListenerId(id))
    }

    /// Listens on a socket that is bound already, and shares with other reactors.
    pub(crate) fn listen_shared(
        &mut self,
        listener: Listener,
        config: ListenConfig,
        maker: Box<dyn Maker>,
        sharing: Sharing,
    ) -> Result<ListenerId, Error> {
        self.check_running()?;
        self.begin_listener(listener, config, maker, sharing)
    }

    /// A listener without a socket: another reactor accepts for it.
    pub(crate) fn listen_fed(
        &mut self,
        address: Address,
        config: ListenConfig,
        maker: Box<dyn Maker>,
        sharing: Sharing,
    ) -> Result<ListenerId, Error> {
        self.check_running()?;
        let id = self.table.reserve()?;
        self.state.listeners.push((id, address));
        let config = Box::new(config);
        self.state.local.push_back(Local::Listen { id, listener: None, config, maker, sharing });
        Ok(ListenerId(id))
    }

    /// Hands nothing more over to a reactor that drains.
    pub(crate) fn unfeed(&mut self, remote: &Remote) {
        let listeners = self.state.listeners.iter().map(|(id, _)| Local::Order(*id, Order::Unfeed(remote.clone())));
        self.state.local.extend(listeners);
    }

    /// Stops accepting on a listener until it is resumed; its backlog waits in the kernel.
    ///
    /// # Errors
    /// `Gone` if the listener is.
    pub fn pause_listener(&mut self, id: ListenerId) -> Result<(), Error> {
        self.order_listener(id, Order::Pause)
    }

    /// Accepts on a paused listener again.
    ///
    /// # Errors
    /// `Gone` if the listener is.
    pub fn resume_listener(&mut self, id: ListenerId) -> Result<(), Error> {
        self.order_listener(id, Order::Resume)
    }

    /// Closes a listener; its connections stay. Who connected before that is served, as far as limits leave room.
    ///
    /// # Errors
    /// `Gone` if the listener is.
    pub fn remove_listener(&mut self, id: ListenerId) -> Result<(), Error> {
        self.order_listener(id, Order::Remove)
    }

    /// Removes a listener and hands its socket, still listening, to `then`. A Unix socket's file stays.
    ///
    /// # Errors
    /// `Gone` if the listener is.
    pub fn release_listener(
        &mut self,
        id: ListenerId,
        then: impl FnOnce(OwnedFd) + Send + 'static,
    ) -> Result<(), Error> {
        self.order_listener(id, Order::Release(Box::new(then)))
    }

    fn order_listener(&mut self, id: ListenerId, order: Order) -> Result<(), Error> {
        if !self.state.listeners.iter().any(|(listener, _)| *listener == id.0) {
            return Err(Error::Gone);
        }
        self.state.local.push_back(Local::Order(id.0, order));
        Ok(())
    }

    /// Goes on with a link that was detached elsewhere, or made of a socket by [`Link::new`].
    ///
    /// `handler` gets `on_open` again, and then what the link still holds of input. A link that was detached after
    /// `close()` gets `on_close` alone.
    ///
    /// # Errors
    /// The link comes back with `Connections`, `Draining` or `ReactorGone`; the handler is dropped, without a callback.
    pub fn adopt(&mut self, link: Link, handler: impl Handler) -> Result<ConnId, Unadopted> {
        let link = Box::new(link);
        let place = self.check_begins().and_then(|()| self.table.reserve());
        let id = match place {
            Ok(id) => id,
            Err(why) => return Err(Unadopted { link, why }),
        };
        self.state.connection_begins();
        self.state.count_adopted(id, &link);
        self.state.local.push_back(Local::Adopt { id, link, handler: Box::new(handler) });
        Ok(ConnId(id))
    }

    /// Binds a datagram socket, `udp://` or `unixgram:`, that receives from anybody and sends to anybody.
    ///
    /// A name with several addresses is bound at one of them alone, the first that this system can bind. Resolving a name
    /// blocks. A dead Unix socket at the path is replaced as [`Context::listen`] does. It counts as one connection of the reactor
    /// while it lives.
    ///
    /// What a Unix socket has sent and nobody has read yet counts against its own send buffer, which is one for all peers: those
    /// that do not read can fill it. Where peers are not trusted set `SocketOptions::send_buffer_bytes` to suit their number.
    ///
    /// # Errors
    /// `Address`, `Listen`, `PathTaken`, `Transport`, `Config` or `Descriptor`, each naming the address or field;
    /// `Connections`, `Draining`, `ReactorGone`. The handler is dropped then, without a callback.
    pub fn bind(
        &mut self,
        address: &Address,
        config: DatagramConfig,
        handler: impl DatagramHandler,
    ) -> Result<EndpointId, Error> {
        self.begin_endpoint(&config, Box::new(handler), || DatagramSocket::bind_checked(address, &config))
    }

    /// Goes on with a socket that is bound already.
    pub(crate) fn bind_bound(
        &mut self,
        socket: DatagramSocket,
        config: &DatagramConfig,
        handler: impl DatagramHandler,
    ) -> Result<EndpointId, Error> {
        self.begin_endpoint(config, Box::new(handler), || Ok(socket))
    }

    /// Makes a datagram socket that sends to `peer` and receives from it alone; [`Datagrams::send`](crate::Datagrams::send)
    /// is its way to send. Nothing is sent yet, and nobody need be there. All addresses of a name are tried until there is
    /// a way to one. Resolving it blocks: give an IP address, or look the name up on another thread, with [`Address::resolve`].
    ///
    /// # Errors
    /// As [`Context::bind`]; `Connect` if there is no way to the peer, or no Unix socket of that name.
    pub fn connect_datagrams(
        &mut self,
        peer: &Address,
        config: DatagramConfig,
        handler: impl DatagramHandler,
    ) -> Result<EndpointId, Error> {
        if let Some(own) = &config.bind {
            if own.transport() != peer.transport() {
                let why = "DatagramConfig::bind and the peer must both be udp:// or both unixgram:";
                return Err(Error::Transport { address: Box::new(own.clone()), why });
            }
        }
        self.begin_endpoint(&config, Box::new(handler), || DatagramSocket::connect(peer, &config))
    }

    /// Goes on with a datagram socket that is bound already. A Unix socket's file stays when the endpoint ends. Its options
    /// for sending stay as they are: of `config` the queue's limits, `icmp_errors`, `gso`, `gro` and the groups to join
    /// count.
    ///
    /// The socket becomes non-blocking and close-on-exec. To pass it to another program later, clear FD_CLOEXEC first.
    ///
    /// # Errors
    /// `Descriptor` if it is no bound datagram socket; `Config`, `Connections`, `Draining`, `ReactorGone`.
    pub fn bind_on(
        &mut self,
        socket: impl Into<OwnedFd>,
        config: DatagramConfig,
        handler: impl DatagramHandler,
    ) -> Result<EndpointId, Error> {
        let socket = socket.into();
        self.begin_endpoint(&config, Box::new(handler), || {
            DatagramSocket::adopt(socket, &config)
                .map_err(|source| Error::Descriptor { action: "adopt the datagram socket", source })
        })
    }

    fn begin_endpoint(
        &mut self,
        config: &DatagramConfig,
        handler: Box<dyn DatagramHandler>,
        make: impl FnOnce() -> Result<DatagramSocket, Error>,
    ) -> Result<EndpointId, Error> {
        config.validate()?;
        self.check_begins()?;
        let mut socket = make()?;
        let failed = |source| Error::Descriptor { action: "register the datagram socket", source };
        let address = socket.local_address().map_err(failed)?;
        let id = self.table.reserve()?;
        if let Err(source) = socket.register(&self.state.registry, id.word()) {
            self.state.local.push_back(Local::Order(id, Order::Remove));
            return Err(failed(source));
        }
        self.state.connection_begins();
        self.state.counters.bound += 1;
        self.state.endpoints.push((id, address));
        self.state.local.push_back(Local::Bind { id, post: Box::new(Post::new(socket, config)), handler });
        Ok(EndpointId(id))
    }

    /// Watches a descriptor that belongs to the caller, and tells `handler` when it is ready.
    ///
    /// # Errors
    /// `Descriptor` if the system cannot watch it (plain files cannot be), `ReactorGone` once the reactor has stopped.
    pub fn watch(
        &mut self,
        fd: impl AsFd + 'static,
        direction: Direction,
        handler: impl WatchHandler,
    ) -> Result<WatchId, Error> {
        if let Life::Stopped(_) = self.state.life {
            return Err(Error::ReactorGone);
        }
        let foreign = Foreign::new(Box::new(fd), direction);
        let id = self.table.reserve()?;
        if let Err(source) = foreign.register(&self.state.registry, id.word()) {
            self.state.local.push_back(Local::Order(id, Order::Remove));
            return Err(Error::Descriptor { action: "watch the descriptor", source });
        }
        self.state.local.push_back(Local::Watch { id, foreign, handler: Box::new(handler) });
        Ok(WatchId(id))
    }

    /// Ends a watch; its handler gets `on_close`. Nothing happens if it has ended already.
    pub fn unwatch(&mut self, id: WatchId) {
        self.state.local.push_back(Local::Order(id.0, Order::Remove));
    }

    /// Runs `job` on the reactor after `delay`, never early by more than a turn. `Duration::MAX` never comes.
    ///
    /// A panic in it is counted and ends nothing.
    pub fn after(&mut self, delay: Duration, job: impl FnOnce(&mut Context<'_>) + 'static) -> TimerId {
        self.state.jobs_made += 1;
        let id = TimerId { due: self.state.now.after(delay), number: self.state.jobs_made };
        self.state.jobs.insert(id, Box::new(job));
        id
    }

    /// Cancels a job that has not run yet, and says whether there was one.
    pub fn cancel(&mut self, id: TimerId) -> bool {
        self.state.jobs.remove(&id).is_some()
    }

    /// Runs `job` last, when all connections have ended and the reactor stops or is dropped.
    pub(crate) fn at_end(&mut self, job: impl FnOnce(&mut Context<'_>) + 'static) -> u64 {
        self.state.jobs_made += 1;
        self.state.endings.insert(self.state.jobs_made, Box::new(job));
        self.state.jobs_made
    }

    /// Drains the reactor within `drain`; see `Reactor::shutdown`. Asked again, the sooner deadline counts.
    pub fn shutdown(&mut self, drain: Duration) {
        let until = self.state.now.after(drain);
        self.state.local.push_back(Local::Shutdown { until });
    }

    pub(crate) fn is_running(&self) -> bool {
        self.check_running().is_ok()
    }

    fn check_running(&self) -> Result<(), Error> {
        match self.state.life {
            Life::Running => Ok(()),
            Life::Draining { .. } | Life::Cutting(_) => Err(Error::Draining),
            Life::Stopped(_) => Err(Error::ReactorGone),
        }
    }

    /// Whether one more connection may begin.
    pub(crate) fn check_begins(&self) -> Result<(), Error> {
        self.check_running()?;
        let limit = self.state.connections_max;
        if self.state.is_full() { Err(Error::Connections { limit }) } else { Ok(()) }
    }

    // --- for sources ----------------------------------------------------------------------------------------------

    /// Makes `gathered` that of `id`, sending first what it holds of another link.
    pub(crate) fn gather_for(&mut self, id: SourceId) {
        if self.state.batch_owner != Some(id) {
            self.send_gathered();
            self.state.batch_owner = Some(id);
        }
    }

    /// Sends what was gathered for a link that is not being driven.
    #[inline]
    pub(crate) fn send_gathered(&mut self) {
        if self.state.batch_owner.is_some() {
            self.send_to_gatherer();
        }
    }

    fn send_to_gatherer(&mut self) {
        let Some(owner) = self.state.batch_owner.take() else { return };
        if self.state.gathered.is_empty() {
            return;
        }
        let state = &mut *self.state;
        if let Some(link) = self.table.link(owner) {
            std::mem::swap(&mut state.buffers.gather, &mut state.gathered);
            link.send_gathered(&mut state.buffers, state.now);
            std::mem::swap(&mut state.buffers.gather, &mut state.gathered);
            if link.needs_drive() {
                self.table.wake(owner);
            }
        }
        debug_assert!(state.gathered.is_empty(), "turn 1: gathered bytes of nobody");
        state.gathered.clear();
    }

    /// Until when a drain waits for what it need not wait for: a quarter of its time.
    pub(crate) fn drain_share(&self) -> Tick {
        match self.state.life {
            Life::Draining { until, .. } => self.state.now.after(until.since(self.state.now) / DRAIN_SHARE),
            Life::Running | Life::Cutting(_) | Life::Stopped(_) => self.state.now,
        }
    }

    pub(crate) fn has_stopped(&self) -> bool {
        matches!(self.state.life, Life::Stopped(_))
    }

    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.state.life, Life::Draining { .. } | Life::Cutting(_))
    }

    /// Has a source hear of the drain, if there is one, once more than `beyond` bytes have come of its peer, and nothing else
    /// waits in the kernel; see `reactor/drain.rs`.
    pub(crate) fn announce_drain(&mut self, id: SourceId, beyond: u64) {
        if self.is_draining() {
            let until = self.drain_share().min(self.state.now.after(FIRST_REQUEST));
            match self.state.untold.last_mut() {
                // It took over from another handler in this very drive.
                Some(last) if last.id == id => last.beyond = last.beyond.max(beyond),
                _ => self.state.untold.push(Untold { id, until, beyond }),
            }
        }
    }

    /// Counts the end of a connection into the drain's report.
    pub(crate) fn account_close(&mut self, unsent: u64) {
        match &mut self.state.life {
            Life::Draining { report, .. } => report.drained += 1,
            Life::Cutting(report) => {
                report.cut += 1;
                report.unsent_bytes += unsent;
            }
            Life::Running | Life::Stopped(_) => {}
        }
    }
}

/// Streams only, and TLS where the address says so.
pub(crate) fn check_stream(address: &Address, wanted: Wanted) -> Result<(), Error> {
    let refuse = |why| Err(Error::Transport { address: Box::new(address.clone()), why });
    if address.transport().is_datagram() {
        return refuse("it is for datagrams; use bind or connect_datagrams, or a stream address, tcp:// or unix:");
    }
    match (address.transport().is_tls(), wanted) {
        (true, Wanted::Plain) if cfg!(feature = "tls") => {
            refuse("its scheme asks for TLS; set `tls` in the configuration")
        }
        (true, Wanted::Plain) => refuse("windlass was built without TLS; turn the feature `tls` on"),
        (false, Wanted::Tls) => {
            refuse("its scheme says plain text, and `tls` is set; write tls:// or tls+unix:, or unset it")
        }
        (true, Wanted::Tls) | (false, Wanted::Plain) => Ok(()),
    }
}
