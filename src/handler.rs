//! The contract with the user: what is called, when, and what is asked of a listener.
//!
//! Owns the traits and the guard around every call of user code. Callbacks never nest, and those of one connection all
//! run on its reactor's thread (A2).
//!
//! `( on_open ( on_data | on_writable | on_message | on_timer | on_drain | on_secured | on_hangup )* on_end? ( on_writable | on_message | on_timer | on_drain )* )? on_close`

use crate::address::Address;
use crate::conn::Conn;
use crate::context::Context;
use crate::context::reported::Ends;
use crate::datagrams::{Datagram, Datagrams};
use crate::error::Reason;
use crate::link::Link;
use crate::link::phase::Phase;
use crate::message::Message;
use crate::net::Readiness;
use crate::post::DatagramError;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a connection calls back; the state that belongs to one connection lives here.
///
/// Handlers live and die on their reactor's thread and need not be `Send`. After `close()` or `abort()` in any callback
/// only `on_close` follows, never nested.
///
/// A panic in a callback ends this connection with [`Reason::HandlerPanicked`] and no other; `on_close` is still called.
/// With `panic = "abort"` the process ends instead.
///
/// ```
/// use windlass::{Conn, Handler};
/// struct Echo;
/// impl Handler for Echo {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
///         conn.write_some(data)
///     }
/// }
/// ```
///
/// [`handler_fn`] makes a handler of a closure. A `Box<dyn Handler>` is a handler too, for a listener whose connections have
/// handlers of several types; it costs one more allocation for each connection.
///
/// ```
/// use windlass::{Conn, Handler, Server, handler_fn};
/// # struct Secured;
/// # impl Handler for Secured { fn on_data(&mut self, c: &mut Conn<'_>, d: &[u8]) -> usize { c.write_some(d) } }
/// # fn main() -> Result<(), windlass::Error> {
/// let make = |conn: &Conn<'_>| -> Box<dyn Handler> {
///     if conn.peer_ip().is_some() { Box::new(Secured) } else { Box::new(handler_fn(|_, data| data.len())) }
/// };
/// let server = Server::builder().address("tcp://127.0.0.1:0".parse()?).handler(move || make).build()?;
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `Handler`",
    label = "cannot serve a connection",
    note = "implement `windlass::Handler` for it, whose one required method is `on_data`",
    note = "a closure becomes a handler by `handler_fn(|conn, data| conn.write_some(data))`"
)]
pub trait Handler: 'static {
    /// The connection is established, and its handshake done; or this handler takes over from another one, by
    /// [`Conn::set_handler`], or takes a link that was detached.
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// Input came: `data` is all that was not used before, in one piece. Returns how many bytes were used.
    ///
    /// If some were used and some were left it is called again at once with the rest. 0 means: show me this again with
    /// more bytes; [`Conn::need`] says how many. After [`Conn::pause`], or a [`Conn::write_some`] that took less than it
    /// was given, what is left waits until [`Conn::resume`], or until after `on_writable`. What waits counts against
    /// `Limits::inbox_bytes_max`. The module [`framing`](crate::framing) finds lines and other frames in `data`.
    ///
    /// To return more than `data.len()` is treated as a panic.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize;

    /// The output queue is at its low mark, after a write was refused or short, or the high mark was passed.
    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// [`Remote::tell`](crate::Remote::tell) or [`Other::tell`](crate::Other::tell) sent `message` to this connection. Comes in
    /// the order in which they were sent, also while it is paused.
    ///
    /// [`Message::take`] takes the value out by its type. What is not taken goes to
    /// [`Reactor::on_undelivered`](crate::Reactor::on_undelivered) with `NotTaken`, and so does everything by default.
    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        let _ = (conn, message);
    }

    /// The timer of [`Conn::set_timer`] ran out.
    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// The TLS handshake that [`Conn::start_tls_server`] or [`Conn::start_tls_client`] began is done: from here on all
    /// bytes are the peer's own, and private.
    fn on_secured(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// The reactor drains. The default closes: output begun is flushed. It is told again after a TLS handshake that was
    /// begun in the middle.
    ///
    /// What the peer had sent before the drain began is shown first, unless the connection is paused or not read. An accepted connection that has sent nothing yet gets 250 ms
    /// for its first bytes, since its peer connected before the listener closed; a peer that never stops sending delays this
    /// call for no longer than that, and for at most a quarter of the drain's time.
    ///
    /// A handler that wants to finish something first does not close here but later; the drain's deadline ends it.
    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        conn.close();
    }

    /// The peer has ended its side, or is gone, while this connection is paused, or is not read until output has left: there
    /// may be input in front of the end, so that [`Handler::on_end`] comes only once it is resumed. Comes at most once. The
    /// default does nothing.
    ///
    /// With TLS it is the network that says so (a FIN), and not the peer's close_notify: whether the stream was cut is known
    /// only at its end. Linux and macOS report it as EPOLLRDHUP and EV_EOF; epoll_ctl(2), kqueue(2).
    fn on_hangup(&mut self, conn: &mut Conn<'_>) {
        let _ = conn;
    }

    /// The peer has ended its side and all that it sent was shown; `rest` is what was never used. The default closes.
    ///
    /// A handler that has more to say writes it and closes, or keeps the connection half open.
    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        let _ = rest;
        conn.close();
    }

    /// The connection is over. Comes exactly once, and last, for every handler that was made; of several that served one
    /// connection ([`Conn::set_handler`]) for the last.
    ///
    /// `conn` still tells addresses and counts and reaches other connections; its own writes are refused.
    /// [`Conn::unsent_bytes`] is how much of what was written is lost: the kernel had not taken it. The peer sees a reset
    /// then; a Unix socket has none, and its peer sees an end in order.
    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        let _ = (conn, reason);
    }
}

/// So that handlers of several types can be had from one place: a `Box<dyn Handler>` is one too.
impl<H: Handler + ?Sized> Handler for Box<H> {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        (**self).on_open(conn);
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        (**self).on_data(conn, data)
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        (**self).on_writable(conn);
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        (**self).on_message(conn, message);
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        (**self).on_timer(conn);
    }

    fn on_secured(&mut self, conn: &mut Conn<'_>) {
        (**self).on_secured(conn);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        (**self).on_drain(conn);
    }

    fn on_hangup(&mut self, conn: &mut Conn<'_>) {
        (**self).on_hangup(conn);
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        (**self).on_end(conn, rest);
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        (**self).on_close(conn, reason);
    }
}

/// A handler that is one closure: `on_data`, with the default of every other callback.
///
/// What the connection keeps between calls is what the closure captures by `move`.
///
/// ```
/// use windlass::{Conn, Server, handler_fn};
/// # fn main() -> Result<(), windlass::Error> {
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
///     .build()?;
/// # Ok(()) }
/// ```
pub fn handler_fn(on_data: impl FnMut(&mut Conn<'_>, &[u8]) -> usize + 'static) -> impl Handler {
    HandlerFn(on_data)
}

struct HandlerFn<F>(F);

impl<F: FnMut(&mut Conn<'_>, &[u8]) -> usize + 'static> Handler for HandlerFn<F> {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        (self.0)(conn, data)
    }
}

/// What a listener asks: whom to admit, and a handler for each connection.
///
/// A closure `FnMut(&Conn<'_>) -> impl Handler` is one that admits everybody. It lives on its reactor's thread, so what
/// its handlers share can be an `Rc<RefCell<…>>`: callbacks never nest, so the borrow holds.
///
/// ```no_run
/// # use windlass::*;
/// # struct Echo;
/// # impl Handler for Echo { fn on_data(&mut self, c: &mut Conn<'_>, d: &[u8]) -> usize { c.write_some(d) } }
/// struct LocalOnly;
/// impl Accept for LocalOnly {
///     type Handler = Echo;
///     fn admit(&mut self, peer: &Peer<'_>) -> Admission {
///         match peer.ip() {
///             Some(ip) if !ip.ip().is_loopback() => Admission::Refuse,
///             _ => Admission::Admit,
///         }
///     }
///     fn make(&mut self, _: &Conn<'_>) -> Echo { Echo }
/// }
/// ```
///
/// The closure's parameter needs its type, `|_: &Conn<'_>| Echo`. Without it the compiler takes one lifetime for all calls, and
/// says that the "implementation of `FnOnce` is not general enough", or "type annotations needed".
#[diagnostic::on_unimplemented(
    message = "`{Self}` makes no handlers for a listener",
    label = "expected a closure such as `|_: &Conn<'_>| Echo`",
    note = "a listener calls it for each connection; what it returns must implement `windlass::Handler`",
    note = "for `ServerBuilder::handler` and `Engine::listen`, write a closure that returns it: `|| |_: &Conn<'_>| Echo`"
)]
pub trait Accept: 'static {
    /// What serves one connection.
    type Handler: Handler;

    /// Whether to take this connection, before a byte of it is read. The default admits everybody.
    ///
    /// Several may be asked for before the first of them is made or opened. Who counts those that are there counts here,
    /// and gives back in `on_left`, which is called for each that was admitted.
    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        let _ = peer;
        Admission::Admit
    }

    /// The handler of a connection that is established; its `on_open` follows at once.
    fn make(&mut self, conn: &Conn<'_>) -> Self::Handler;

    /// What to answer a peer that speaks something else than TLS to a listener with TLS, an HTTP client for instance;
    /// `bytes` is what came first. The answer is sent as it is, and the connection ends with `TlsFault::NotTls`. The
    /// default says it by a TLS alert, decode_error: a peer that does speak TLS, of another kind, learns that much.
    fn answer_plain(&mut self, peer: &Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        let _ = (peer, bytes);
        None
    }

    /// Something happened to the listener, or a connection came to a bad end. The default logs nothing.
    fn on_event(&mut self, event: &AcceptEvent) {
        let _ = event;
    }

    /// A connection that was admitted is over, whether or not it ever had a handler. It comes last.
    fn on_left(&mut self, peer: &Peer<'_>) {
        let _ = peer;
    }

    /// Whether `on_state` is to be called. It is asked once, when the listener begins.
    fn wants_states(&self) -> bool {
        false
    }

    /// How a connection comes along: `New`, with TLS `Handshake`, then `Read` and `Write` as bytes come and leave, `CloseRead`
    /// and `CloseWrite` as the peer and this side end, and `Close`. A panic in it is counted and ends nothing.
    fn on_state(&mut self, peer: &Peer<'_>, state: ConnState) {
        let _ = (peer, state);
    }
}

/// How a connection comes along, as [`Accept::on_state`] is told.
///
/// ```
/// use windlass::{ConnState, Server};
/// let builder = Server::builder().on_state(|local, remote, state| {
///     if state == ConnState::Close {
///         println!("{local}: a connection of {remote:?} is over");
///     }
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnState {
    /// A connect begins.
    Dial,
    /// The connection is established, and admitted.
    New,
    /// Its TLS handshake is done.
    Handshake,
    /// Bytes came; datagrams: one came.
    Read,
    /// Bytes were taken by the kernel; datagrams: one was queued.
    Write,
    /// The peer has ended its side.
    CloseRead,
    /// This side has ended.
    CloseWrite,
    /// It is over.
    Close,
}

impl std::fmt::Display for ConnState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ConnState::Dial => "connecting",
            ConnState::New => "new connection",
            ConnState::Handshake => "TLS handshake done",
            ConnState::Read => "read",
            ConnState::Write => "written",
            ConnState::CloseRead => "the peer has ended",
            ConnState::CloseWrite => "this side has ended",
            ConnState::Close => "closed",
        })
    }
}

// So that an error is about what was given, and not about `FnMut`.
#[diagnostic::do_not_recommend]
impl<F, H> Accept for F
where
    F: FnMut(&Conn<'_>) -> H + 'static,
    H: Handler,
{
    type Handler = H;

    fn make(&mut self, conn: &Conn<'_>) -> H {
        self(conn)
    }
}

/// Whether a connection is taken.
///
/// ```
/// use windlass::{Admission, Peer};
/// fn admit(peer: &Peer<'_>) -> Admission {
///     if peer.ip().is_some_and(|ip| ip.ip().is_loopback()) { Admission::Admit } else { Admission::Refuse }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Admit,
    /// It is closed at once.
    Refuse,
}

/// Who asks to be admitted.
///
/// ```
/// use windlass::{Admission, Peer};
/// /// Of a Unix socket, only this user and root are let in.
/// fn admit(peer: &Peer<'_>, own_uid: u32) -> Admission {
///     match peer.credentials() {
///         Some(peer) if peer.uid == own_uid || peer.uid == 0 => Admission::Admit,
///         _ => Admission::Refuse,
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Peer<'a> {
    pub(crate) link: &'a Link,
    /// As a listener was told of them, if it is told of states.
    pub(crate) ends: Option<&'a Ends>,
}

impl Peer<'_> {
    /// Its IP address and port, `None` for Unix peers; over IPv4 an IPv4 address, on a listener of both families too. Free of
    /// system calls.
    pub fn ip(&self) -> Option<SocketAddr> {
        self.link.peer_ip()
    }

    /// Why it ended, where that is known: in `on_left`, and in `on_state` with `Close`.
    pub fn ended(&self) -> Option<Reason> {
        if let Phase::Closed(reason) = self.link.phase() { Some(reason) } else { None }
    }

    /// Its address; a Unix peer is mostly unnamed. `None` if the system no longer knows.
    pub fn address(&self) -> Option<Address> {
        self.link.peer_address()
    }

    /// The address that it connected to, `None` if the system no longer knows.
    pub fn local_address(&self) -> Option<Address> {
        self.link.local_address()
    }

    /// The kernel's credentials of a Unix peer, `None` for TCP and where the system does not tell.
    pub fn credentials(&self) -> Option<crate::net::PeerCredentials> {
        self.link.peer_credentials()
    }
}

/// What a listener tells through [`Accept::on_event`].
///
/// ```
/// use windlass::{AcceptEvent, PauseCause};
/// let events = [AcceptEvent::Paused(PauseCause::ConnectionLimit), AcceptEvent::Resumed];
/// for event in &events {
///     println!("{event}"); // a text to log
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptEvent {
    /// A connection ended before it had a handler: `Local` if `admit` refused it, `HandlerPanicked` if `admit`, `make` or
    /// `prepare_accepted` panicked, or what the system said.
    Failed {
        /// Where it came from, `None` for Unix peers.
        peer: Option<SocketAddr>,
        /// Why.
        reason: Reason,
        /// What is known beyond the reason, see [`Reason::with_detail`].
        detail: Option<String>,
    },
    /// `ListenConfig::prepare_accepted` refused a connection, which was closed. No other event of it follows.
    Unprepared {
        /// Where it came from, `None` for Unix peers.
        peer: Option<SocketAddr>,
        /// What the hook returned.
        error: io::Error,
    },
    /// A connection that had a handler came to no good end: it was reset after a byte had moved, cut by a deadline, truncated, or its handler
    /// panicked. `on_close` has been told.
    Broken {
        /// Where it came from, `None` for Unix peers.
        peer: Option<SocketAddr>,
        /// Why.
        reason: Reason,
        /// What is known beyond the reason, see [`Reason::with_detail`].
        detail: Option<String>,
    },
    /// Accepting pauses until something comes free. Told once, not per try.
    Paused(PauseCause),
    /// Accepting goes on.
    Resumed,
    /// The listener is closed: removed, drained, or its descriptor broke (with what the system said: EBADF, EINVAL or
    /// ENOTSOCK of accept(2); no other error ends it).
    Ended(Option<io::Error>),
}

impl std::fmt::Display for AcceptEvent {
    /// A sentence for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AcceptEvent::Failed { peer, reason, detail } | AcceptEvent::Broken { peer, reason, detail } => {
                f.write_str("connection")?;
                peer.map_or(Ok(()), |peer| write!(f, " of {peer}"))?;
                write!(f, ": {}", reason.with_detail(detail.as_deref()))
            }
            AcceptEvent::Unprepared { peer, error } => {
                f.write_str("connection")?;
                peer.map_or(Ok(()), |peer| write!(f, " of {peer}"))?;
                write!(f, ": refused by prepare_accepted: {error}")
            }
            AcceptEvent::Paused(cause) => write!(f, "accepting pauses: {cause}"),
            AcceptEvent::Resumed => f.write_str("accepting goes on"),
            AcceptEvent::Ended(Some(error)) => write!(f, "the listener broke: {error}"),
            AcceptEvent::Ended(None) => f.write_str("the listener is closed"),
        }
    }
}

/// Why accepting pauses.
///
/// ```
/// use windlass::{AcceptEvent, PauseCause};
/// fn lacks_descriptors(event: &AcceptEvent) -> bool {
///     matches!(event, AcceptEvent::Paused(PauseCause::Starved(_)))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseCause {
    /// `pause_listener` was called.
    Asked,
    /// `ListenConfig::connections_max` or `ReactorConfig::connections_max` is reached.
    ConnectionLimit,
    /// `ReactorConfig::handshakes_max` is reached.
    HandshakeLimit,
    /// The system lacks descriptors or memory, or accept(2) has failed 64 times in a row: this error number.
    Starved(i32),
}

impl std::fmt::Display for PauseCause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PauseCause::Asked => "it was asked for",
            PauseCause::ConnectionLimit => "there are as many connections as there may be",
            PauseCause::HandshakeLimit => "there are as many TLS handshakes as there may be",
            PauseCause::Starved(errno) => return io::Error::from_raw_os_error(*errno).fmt(f),
        })
    }
}

/// What a source says after it was driven; a [`WatchHandler`] says it too.
///
/// ```
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use windlass::{Context, Direction, Next, Reactor, ReactorConfig, Readiness, WatchHandler};
/// struct Doorbell;
/// impl WatchHandler for Doorbell {
///     fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, ready: Readiness) -> Next {
///         println!("{ready:?}");
///         Next::Remove // `Wait` once a read has said `WouldBlock`
///     }
/// }
/// let (watched, _bell) = UnixStream::pair()?;
/// watched.set_nonblocking(true)?;
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let id = reactor.context().watch(watched, Direction::Read, Doorbell)?;
/// reactor.context().unwatch(id);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The kernel will call: everything that it had announced was used up, until it would have blocked.
    Wait,
    /// It stopped early: no event will come, drive it again next turn.
    Again,
    /// It is over.
    Remove,
}

/// What a watched descriptor calls back.
///
/// A closure `FnMut(&mut Context<'_>, BorrowedFd<'_>, Readiness) -> Next` is one; its parameters need their types.
///
/// ```
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use windlass::{Context, Direction, Next, Reactor, ReactorConfig, Readiness, WatchHandler};
/// struct Doorbell;
/// impl WatchHandler for Doorbell {
///     fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, ready: Readiness) -> Next {
///         println!("{ready:?}");
///         Next::Remove // `Wait` once a read has said `WouldBlock`
///     }
/// }
/// let (watched, _bell) = UnixStream::pair()?;
/// watched.set_nonblocking(true)?;
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let id = reactor.context().watch(watched, Direction::Read, Doorbell)?;
/// reactor.context().unwatch(id);
/// # Ok::<(), std::io::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `WatchHandler`",
    label = "cannot be called for a watched descriptor",
    note = "write a closure `|cx: &mut Context<'_>, fd: BorrowedFd<'_>, ready: Readiness| Next::Wait`, with these types, or \
            implement `windlass::WatchHandler`"
)]
pub trait WatchHandler: 'static {
    /// The descriptor is ready. Reports are edges: before `Next::Wait`, read or write until it would block.
    fn on_ready(&mut self, cx: &mut Context<'_>, fd: BorrowedFd<'_>, ready: Readiness) -> Next;

    /// It is watched no longer. The default does nothing.
    fn on_close(&mut self, cx: &mut Context<'_>, reason: Reason) {
        let _ = (cx, reason);
    }
}

#[diagnostic::do_not_recommend]
impl<F> WatchHandler for F
where
    F: FnMut(&mut Context<'_>, BorrowedFd<'_>, Readiness) -> Next + 'static,
{
    fn on_ready(&mut self, cx: &mut Context<'_>, fd: BorrowedFd<'_>, ready: Readiness) -> Next {
        self(cx, fd, ready)
    }
}

/// What a datagram socket calls back.
///
/// `( on_bound ( on_datagram | on_writable | on_timer | on_drain | on_error )* )? on_close`
///
/// Handlers live and die on their reactor's thread and need not be `Send`. After `close()` only `on_error` and `on_close`
/// follow. A panic in a callback ends this endpoint with [`Reason::HandlerPanicked`] and no other.
///
/// ```
/// use windlass::{Datagram, DatagramHandler, Datagrams};
/// struct Echo;
/// impl DatagramHandler for Echo {
///     fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
///         // A refused answer is counted in `stats().refused`, and lost, as datagrams are.
///         let _ = sock.send_to(datagram.from, datagram.data);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `DatagramHandler`",
    label = "cannot serve a datagram socket",
    note = "implement `windlass::DatagramHandler` for it, whose one required method is `on_datagram`",
    note = "`ServerBuilder::datagram_handler` and `Engine::bind` take a closure that makes one, `|| Echo`; `Reactor::bind` and \
            `Context::bind` take the handler itself"
)]
pub trait DatagramHandler: 'static {
    /// The socket is bound, and watched from now on.
    fn on_bound(&mut self, sock: &mut Datagrams<'_>) {
        let _ = sock;
    }

    /// A datagram came; its bytes are lent for this call.
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>);

    /// Little waits to be sent, after a datagram was refused with `QueueFull`.
    fn on_writable(&mut self, sock: &mut Datagrams<'_>) {
        let _ = sock;
    }

    /// [`Remote::tell_endpoint`](crate::Remote::tell_endpoint) sent `message` to this socket. What is not taken goes to
    /// [`Reactor::on_undelivered`](crate::Reactor::on_undelivered).
    fn on_message(&mut self, sock: &mut Datagrams<'_>, message: &mut Message) {
        let _ = (sock, message);
    }

    /// The timer of [`Datagrams::set_timer`] ran out.
    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        let _ = sock;
    }

    /// Something went wrong with one datagram. It ends nothing; the default does nothing.
    fn on_error(&mut self, sock: &mut Datagrams<'_>, error: &DatagramError) {
        let _ = (sock, error);
    }

    /// The reactor drains. What had come before the drain began was shown first; peers that never stop sending delay this call
    /// for at most 250 ms, or a quarter of the drain's time. The default closes: what waits is sent, and what comes later is
    /// lost. A handler that wants more of it sets a timer here, and closes then.
    fn on_drain(&mut self, sock: &mut Datagrams<'_>) {
        sock.close();
    }

    /// The endpoint is over. Comes exactly once, and last. `sock` still tells addresses and counts; it sends no more.
    fn on_close(&mut self, sock: &mut Datagrams<'_>, reason: Reason) {
        let _ = (sock, reason);
    }
}

/// So that handlers of several types can be had from one place: a `Box<dyn DatagramHandler>` is one too.
impl<H: DatagramHandler + ?Sized> DatagramHandler for Box<H> {
    fn on_bound(&mut self, sock: &mut Datagrams<'_>) {
        (**self).on_bound(sock);
    }

    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        (**self).on_datagram(sock, datagram);
    }

    fn on_writable(&mut self, sock: &mut Datagrams<'_>) {
        (**self).on_writable(sock);
    }

    fn on_message(&mut self, sock: &mut Datagrams<'_>, message: &mut Message) {
        (**self).on_message(sock, message);
    }

    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        (**self).on_timer(sock);
    }

    fn on_error(&mut self, sock: &mut Datagrams<'_>, error: &DatagramError) {
        (**self).on_error(sock, error);
    }

    fn on_drain(&mut self, sock: &mut Datagrams<'_>) {
        (**self).on_drain(sock);
    }

    fn on_close(&mut self, sock: &mut Datagrams<'_>, reason: Reason) {
        (**self).on_close(sock, reason);
    }
}

/// [`Accept`] as the reactor keeps it.
pub(crate) trait Maker {
    fn admit(&mut self, peer: &Peer<'_>) -> Admission;
    fn make(&mut self, conn: &Conn<'_>) -> Box<dyn Handler>;
    fn answer_plain(&mut self, peer: &Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>>;
    fn on_event(&mut self, event: &AcceptEvent);
    fn on_left(&mut self, peer: &Peer<'_>);
    fn wants_states(&self) -> bool;
    fn on_state(&mut self, peer: &Peer<'_>, state: ConnState);
}

impl<A: Accept> Maker for A {
    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        Accept::admit(self, peer)
    }

    fn make(&mut self, conn: &Conn<'_>) -> Box<dyn Handler> {
        Box::new(Accept::make(self, conn))
    }

    fn answer_plain(&mut self, peer: &Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        Accept::answer_plain(self, peer, bytes)
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        Accept::on_event(self, event);
    }

    fn on_left(&mut self, peer: &Peer<'_>) {
        Accept::on_left(self, peer);
    }

    fn wants_states(&self) -> bool {
        Accept::wants_states(self)
    }

    fn on_state(&mut self, peer: &Peer<'_>, state: ConnState) {
        Accept::on_state(self, peer, state);
    }
}

/// Runs user code; `None` if it panicked. Whatever it panicked with is dropped, and what that panics with is not.
pub(crate) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Some(value),
        Err(payload) => {
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(again);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The methods of a block of this file's own text that begins with `head`, each with its body.
    fn methods(head: &str) -> BTreeSet<(&'static str, &'static str)> {
        let text = include_str!("handler.rs");
        // From the line break on, so that each method is behind one.
        let (_, block) = text.split_once(&format!("\n{head} {{")).expect(head);
        let (block, _) = block.split_once("\n}\n").expect("its end");
        let methods = block.split("\n    fn ").skip(1).map(|method| {
            let (name, rest) = method.split_once('(').expect("its parameters");
            (name, rest.split_once('{').map_or("", |(_, body)| body))
        });
        methods.collect()
    }

    #[test]
    fn a_boxed_handler_is_called_back_as_the_one_in_the_box_is() {
        for (name, least) in [("Handler", 9), ("DatagramHandler", 7)] {
            let asked: BTreeSet<_> =
                methods(&format!("pub trait {name}: 'static")).into_iter().map(|it| it.0).collect();
            assert!(asked.len() >= least, "{name}: {asked:?}");
            let boxed = methods(&format!("impl<H: {name} + ?Sized> {name} for Box<H>"));
            for (method, body) in &boxed {
                assert!(body.trim_start().starts_with(&format!("(**self).{method}(")), "{name}::{method}: {body}");
            }
            assert_eq!(
                boxed.into_iter().map(|it| it.0).collect::<BTreeSet<_>>(),
                asked,
                "Box<dyn {name}> forwards not all"
            );
        }
    }

    #[test]
    fn a_panic_that_panics_when_dropped_is_held() {
        struct Spiteful;
        impl Drop for Spiteful {
            fn drop(&mut self) {
                std::panic::panic_any(Worse);
            }
        }
        struct Worse;
        assert_eq!(guarded(|| -> u8 { std::panic::panic_any(Spiteful) }), None);
        assert_eq!(guarded(|| 7), Some(7));
    }
}
