//! What a callback is lent of its own connection, and of others.
//!
//! Owns the public face of a link while it is driven. Every change made through it takes effect in the same drive; what
//! follows for another connection (deadline, end, callbacks) happens in that one's own drive (A2).

use crate::address::Address;
use crate::clock::Tick;
use crate::command::{Local, Order};
use crate::config::{ConnectConfig, Limits};
use crate::context::{Context, DetachRequest, Life, Place, ReactorState, Seat, TimerId};
use crate::counters::ConnStats;
use crate::error::{Error, Reason, WriteError};
use crate::handler::Handler;
use crate::id::{ConnId, ListenerId, SourceId};
use crate::link::Link;
use crate::link::phase::{Phase, Signal};
use crate::mailbox::Remote;
use crate::message::{Message, Untold};
use crate::net::file::FileRange;
use crate::net::system::pipe::Pipe;
use crate::net::{PeerCredentials, TcpInfo};
use bytes::Bytes;
use std::any::Any;
use std::fs::File;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A connection, lent to its handler for one callback.
///
/// ```
/// use windlass::{Conn, Handler};
/// struct Lines;
/// impl Handler for Lines {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
///         let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return 0 };
///         if conn.write(&data[..=end]).is_err() {
///             conn.abort();
///         }
///         end + 1
///     }
/// }
/// ```
pub struct Conn<'a> {
    pub(crate) id: SourceId,
    /// The slot of the listener that accepted it, `SourceId::NO_SLOT` if none did.
    pub(crate) acceptor: u32,
    pub(crate) link: &'a mut Link,
    pub(crate) cx: Context<'a>,
}

impl std::fmt::Debug for Conn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn").field("id", &self.id).field("link", &self.link).finish()
    }
}

impl<'a> Conn<'a> {
    /// Its name, for [`Remote`] and [`Conn::other`].
    pub fn id(&self) -> ConnId {
        ConnId(self.id)
    }

    /// The listener that accepted it; `None` if it was dialled or adopted.
    pub fn listener(&self) -> Option<ListenerId> {
        self.cx.table.id_at(self.acceptor).map(ListenerId)
    }

    /// Where the listener that accepted it listens, as [`Server::local_addresses`](crate::Server::local_addresses) and
    /// [`Listening::address`](crate::Listening::address) say it: [`Conn::local_address`] is the peer's choice of the host's
    /// addresses if it listens on all of them. `None` if the connection was dialled or adopted, or the listener is gone.
    pub fn accepted_at(&self) -> Option<Address> {
        self.cx.state.listener_address(self.listener()?)
    }

    /// What is common to all callbacks of this reactor: time, timers, listeners, other connections.
    pub fn context(&mut self) -> &mut Context<'a> {
        &mut self.cx
    }

    /// The turn's time; it is read once a turn, and not for each call.
    pub fn now(&self) -> Instant {
        self.cx.now()
    }

    /// The peer's address; a Unix peer is mostly unnamed. `None` if the system no longer knows.
    pub fn peer_address(&self) -> Option<Address> {
        self.link.peer_address()
    }

    /// The peer's IP address and port, `None` for Unix sockets. Free of system calls.
    pub fn peer_ip(&self) -> Option<SocketAddr> {
        self.link.peer_ip()
    }

    /// This side's address, `None` if the system no longer knows.
    pub fn local_address(&self) -> Option<Address> {
        self.link.local_address()
    }

    /// Who is at the other end of a Unix socket; `None` for TCP and where the system does not tell (Linux does).
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.link.peer_credentials()
    }

    /// What was agreed on in the TLS handshake; `None` for plain connections.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<crate::link::session::TlsInfo<'_>> {
        self.link.tls()
    }

    /// Bytes read so far.
    pub fn bytes_in(&self) -> u64 {
        self.link.bytes_in()
    }

    /// Bytes that the kernel has taken so far.
    pub fn bytes_out(&self) -> u64 {
        self.link.bytes_out()
    }

    /// What is known of a failure of TLS beyond the reason that `on_close` is told: dates, names, what either side offers;
    /// see [`Reason::with_detail`](crate::Reason::with_detail). `None` before, and where there is nothing more to tell.
    pub fn failure_detail(&self) -> Option<&str> {
        self.link.failure_detail()
    }

    /// Bytes of output that wait.
    pub fn unsent_bytes(&self) -> usize {
        self.link.unsent_bytes() + self.cx.state.buffers.gather.len()
    }

    /// What is known of this connection: bytes moved and waiting, how old it is, for how long it has been idle. No system
    /// call.
    pub fn stats(&self) -> ConnStats {
        let state = &self.cx.state;
        self.link.stats(state.buffers.gather.len(), state.now)
    }

    /// What the system measures of it: round-trip time, losses, window. `None` if it is not TCP.
    pub fn tcp_info(&self) -> Option<TcpInfo> {
        TcpInfo::of(&*self.link)
    }

    /// Gives this connection limits of its own from now on. If more input waits than they allow, it ends with
    /// `InboxLimit`.
    ///
    /// # Errors
    /// `Config` for limits that do not fit each other; the old ones stay then.
    pub fn set_limits(&mut self, limits: Arc<Limits>) -> Result<(), Error> {
        self.link.set_limits(limits)
    }

    // --- output ---------------------------------------------------------------------------------------------------

    /// How many bytes a write would take now; 0 unless the connection takes output.
    pub fn room(&self) -> usize {
        if self.is_detaching() { 0 } else { self.link.room(self.cx.state.buffers.gather.len()) }
    }

    /// Whether the link is about to leave the reactor.
    fn is_detaching(&self) -> bool {
        self.cx.state.detach_request.is_some()
    }

    /// Queues all of `bytes` or nothing.
    ///
    /// Small writes of one callback are gathered and leave in one system call when it ends. A failure of that system
    /// call is no error of this one: `on_close` follows.
    ///
    /// # Errors
    /// `Full` if it does not fit now (`on_writable` or `on_close` follows), `TooLong` if it never will, `NotOpen` if the
    /// connection takes no output (finished, closing, detached).
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_vectored(&[bytes])
    }

    /// Queues all of `slices`, in order, or nothing.
    ///
    /// # Errors
    /// As [`Conn::write`].
    pub fn write_vectored(&mut self, slices: &[&[u8]]) -> Result<(), WriteError> {
        if self.is_detaching() {
            return Err(WriteError::NotOpen);
        }
        let state = &mut *self.cx.state;
        self.link.write(slices, &mut state.buffers, state.now)
    }

    /// Queues what fits of `bytes` and says how much; if that is not all, `on_writable` or `on_close` follows.
    pub fn write_some(&mut self, bytes: &[u8]) -> usize {
        if self.is_detaching() {
            return 0;
        }
        let state = &mut *self.cx.state;
        self.link.write_some(bytes, &mut state.buffers, state.now)
    }

    /// Queues all of `bytes` or nothing, without a copy if they must wait and are 4 KiB or more: for bytes that go to many
    /// connections.
    ///
    /// # Errors
    /// As [`Conn::write`].
    pub fn write_bytes(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        if self.is_detaching() {
            return Err(WriteError::NotOpen);
        }
        let state = &mut *self.cx.state;
        self.link.write_bytes(&bytes, &mut state.buffers, state.now)
    }

    /// Queues the bytes of `file` that `range` names, behind all that was written and in front of all that will be. A plain
    /// connection sends them by sendfile(2) where the system can, one with TLS reads and seals them piece by piece.
    ///
    /// However long, a range that waits counts as 4 KiB of the output queue. In one turn `Limits::bytes_per_turn` of it are
    /// sent, by sendfile(2) four times as many. Its position is neither used nor moved, so that one `Arc<File>` serves many connections. What is written to
    /// the file meanwhile may be sent or not. Bytes that are not in the system's cache are waited for, by the whole
    /// reactor. If the file turns out to be shorter, or cannot be read, the connection is reset, and `on_close` told
    /// `FileTruncated` or `FileUnreadable`.
    ///
    /// # Errors
    /// `Full` or `NotOpen` as [`Conn::write`], `Range` for one that ends before it starts.
    pub fn send_file(&mut self, file: impl Into<Arc<File>>, range: Range<u64>) -> Result<(), WriteError> {
        if self.is_detaching() {
            return Err(WriteError::NotOpen);
        }
        let state = &mut *self.cx.state;
        self.link.send_file(FileRange::new(file.into(), range)?, &mut state.buffers, state.now)
    }

    /// Ends our side once all output is sent (half-close); input is still delivered.
    pub fn finish(&mut self) {
        self.link.signal(Signal::Finish, self.cx.state.now);
    }

    /// Ends the connection once all output is sent. Input from now on is read and discarded until the peer ends too, for
    /// a bounded time, so that our last bytes are not destroyed by a reset. Only `on_close` follows.
    pub fn close(&mut self) {
        let reason = self.cx.closing_reason();
        self.link.signal(Signal::Close(reason), self.cx.state.now);
    }

    /// Ends the connection at once: output that waits is dropped and the peer sees a reset (over a Unix socket, which has
    /// none, an end). Only `on_close` follows.
    pub fn abort(&mut self) {
        self.link.signal(Signal::Abort, self.cx.state.now);
    }

    // --- input ----------------------------------------------------------------------------------------------------

    /// Says how many bytes the next `on_data` must show, so that a large frame is not offered again for every segment.
    ///
    /// Holds until then. Fewer come only as the rest that `on_end` shows, after [`Conn::resume`], or never.
    ///
    /// # Errors
    /// `Need` if that is more than `Limits::inbox_bytes_max`.
    pub fn need(&mut self, bytes: usize) -> Result<(), Error> {
        let limit = self.link.limits().inbox_bytes_max;
        if bytes > limit {
            return Err(Error::Need { asked: bytes, limit });
        }
        self.link.set_need(bytes, &mut self.cx.state.buffers.pool);
        Ok(())
    }

    /// Stops `on_data` and `on_end` once this callback returns, and reading with them; a reset is told all the same.
    pub fn pause(&mut self) {
        self.link.pause(&mut self.cx.state.buffers.pool);
    }

    /// Takes input again, beginning next turn with what was left. Without a [`Conn::pause`] before it, in `on_data`, it
    /// changes nothing: what this callback leaves waits for more bytes.
    pub fn resume(&mut self) {
        self.link.resume();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.link.is_paused()
    }

    // --- time, others, elsewhere ----------------------------------------------------------------------------------

    /// Calls `on_timer` after `delay`, late by at most a fiftieth of it or one turn. It replaces the timer set before.
    pub fn set_timer(&mut self, delay: Duration) {
        let due = self.cx.state.now.after(delay);
        self.link.set_timer(due);
    }

    /// Forgets the timer of [`Conn::set_timer`].
    pub fn clear_timer(&mut self) {
        self.link.set_timer(Tick::NEVER);
    }

    /// Sends `value` to this connection's own handler after `delay`: its `on_message` is called with it. So a connection has as
    /// many timers as it likes, beside that of [`Conn::set_timer`]; each costs two allocations. [`Context::cancel`] cancels one.
    /// Nothing comes once the connection is over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use windlass::{Conn, Handler, Message};
    /// struct Heartbeat;
    /// struct Session;
    /// impl Handler for Session {
    ///     fn on_open(&mut self, conn: &mut Conn<'_>) {
    ///         conn.tell_after(Duration::from_secs(30), Heartbeat);
    ///     }
    ///     fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
    ///         data.len()
    ///     }
    ///     fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
    ///         if let Some(Heartbeat) = message.take() {
    ///             let _ = conn.write(b"ping\n");
    ///             conn.tell_after(Duration::from_secs(30), Heartbeat);
    ///         }
    ///     }
    /// }
    /// ```
    pub fn tell_after<T: Any + Send>(&mut self, delay: Duration, value: T) -> TimerId {
        let id = self.id();
        self.after(delay, move |cx| {
            if let Some(mut conn) = cx.other(id) {
                // Its message limit holds for those whose time has come, too.
                let _ = conn.tell(value);
            }
        })
    }

    /// Runs `job` on the reactor after `delay`, whether this connection still lives then or not; see [`Context::after`].
    pub fn after(&mut self, delay: Duration, job: impl FnOnce(&mut Context<'_>) + 'static) -> TimerId {
        self.cx.after(delay, job)
    }

    /// Another connection of this reactor; see [`Context::other`].
    pub fn other(&mut self, id: ConnId) -> Option<Other<'_>> {
        self.cx.other(id)
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
        self.cx.connect(address, config, handler)
    }

    /// Couples this connection with another one of this reactor, for good: what either peer sends goes to the other.
    ///
    /// From here on neither handler is called before its `on_close`: the timer of [`Conn::set_timer`] is forgotten, messages come
    /// back undelivered, and `pause`, `resume` and `detach` have no effect. What was read and not used goes first: what the callback that calls this
    /// does not use of its bytes (`on_end`: all that it is shown), and what the other connection had left. What was written
    /// before leaves before.
    ///
    /// - **Ends.** A peer's end is passed on behind all of its bytes ([`Conn::finish`] of the other side), also one that came
    ///   before this call, and the other direction goes on. When both have ended, both handlers get `PeerClosed`.
    /// - **Failures.** A connection that fails, is reset, aborted or out of time resets its partner, which gets `Aborted`; so
    ///   does a TLS stream that ends without close_notify (`Truncated`). A Unix socket has no reset, and ends.
    /// - **Closing.** If one side is closed (`Other::close`, `Remote::close`), its partner is closed in the same way. If somebody
    ///   else [finishes](Other::finish) one side, and the other one's peer sends still more, both are reset: those bytes have
    ///   nowhere to go. What others write to one side goes out between the bytes that are passed on.
    /// - **Back-pressure.** A side is read only while no output of the other one waits, 32 KiB at a time, or as much as the
    ///   kernel has room for: of a stalled direction about 32 KiB are held (with TLS a record more), as unsent bytes
    ///   of the side that does not take them.
    /// - **Without copies.** Between plain TCP and Unix connections on Linux, bytes go through a pipe, splice(2), once two reads
    ///   in a row have brought 32 KiB. They are copied while less comes at a time, where one side has TLS or is another kind of
    ///   stream over IP, on other systems, while the process has no descriptors left, and where `bytes_per_turn`, `inbox_bytes_max`
    ///   or `outbox_bytes_max` is less than 32 KiB. Where the kernel's own estimate of its room was too high, more than 32 KiB may
    ///   wait, within `outbox_bytes_max`. Nothing else differs.
    /// - **Descriptors.** Two, those of the connections, and two for one pipe that all relays of a reactor share. It is made when
    ///   it is first needed, and kept.
    /// - **Deadlines.** Each side keeps its own limits. A byte that moves on either side is life for both
    ///   ([`Limits::idle_timeout`]); a peer that takes nothing is cut by [`Limits::write_stall_timeout`].
    /// - **Draining.** `on_drain` is not called. Both sides go on to their end, or are cut at the drain's deadline.
    ///
    /// # Errors
    /// `Gone` if there is no other connection of this id, or it is this one, or was begun in this very turn; `NotOpen` if one of
    /// the two still connects or shakes hands, has finished or is closing, is detached, or is part of a relay. Nothing has
    /// changed then.
    pub fn relay(&mut self, other: ConnId) -> Result<(), Error> {
        let partner = self.cx.table.connection(other.0).ok_or(Error::Gone)?;
        if self.cx.state.detach_request.is_some() || !self.link.may_be_relayed() || !partner.may_be_relayed() {
            return Err(Error::NotOpen);
        }
        let pool = &mut self.cx.state.buffers.pool;
        partner.begin_relay(self.id, pool);
        self.link.begin_relay(pool);
        self.cx.state.relay_request = Some(other.0);
        self.cx.table.wake(other.0);
        Ok(())
    }

    /// Has `handler` serve this connection from the next callback on, for a protocol that becomes another one: an HTTP upgrade,
    /// a login before the service, a proxy's greeting before its traffic. The connection and its [`ConnId`] stay.
    ///
    /// The callback that calls this goes on with the old handler. When it has returned the old handler is dropped, without an
    /// `on_close`, and the new one gets `on_open`, as a handler that is given to [`Context::adopt`] does. Then it is shown, by
    /// `on_data`, what the old one left of the input. So no byte is lost that the peer sent right behind its request. What
    /// both need moves into the new handler before it is given. If a callback calls this twice, the last handler counts, and
    /// no callback reaches the others. A handler that wraps another one is replaced as a whole, whichever of the two calls this.
    ///
    /// - **What the old handler asked for.** [`Conn::need`] and the timer of [`Conn::set_timer`] are forgotten with this call;
    ///   what this callback asks for behind it holds for the new handler. Pauses, limits, output that waits and an
    ///   `on_writable` that is to follow belong to the connection, and stay. Messages, those of [`Conn::tell_after`] among
    ///   them, reach whichever handler is there when they come.
    /// - **The peer's end.** If the old handler was told of it, the new one is told again, by `on_end`; called in `on_end`
    ///   itself, all that was shown there goes to the new handler first. So is a drain, by `on_drain`.
    /// - **TLS.** If this callback begins TLS as well ([`Conn::start_tls_server`]), before or behind this call, `on_open` comes
    ///   when the handshake is done, in place of `on_secured`.
    /// - **Ends.** If this callback closes, aborts, detaches or relays the connection after this call, the new handler gets no
    ///   `on_open`, but `on_close` when its time comes. If this callback panics, the new handler is dropped, and the old one
    ///   gets `on_close`. A panic in the old handler's `Drop` ends the connection with `HandlerPanicked`.
    ///
    /// A [`Connector`](crate::Connector) goes on watching over the connection, and makes its first handler again for the next
    /// one. Another connection's handler cannot be set from outside, since nobody else knows how far its protocol is: send it a
    /// message ([`Other::tell`], [`Remote::tell`]), whose `on_message` sets it. A blocking handler needs none of this: it
    /// calls the next function. More than 16 handlers in a row that each set another one in `on_open` are treated as a panic.
    ///
    /// ```
    /// use windlass::{Conn, Handler};
    /// struct Login;
    /// struct Session { user: String }
    /// impl Handler for Login {
    ///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
    ///         let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return 0 };
    ///         let user = String::from_utf8_lossy(&data[..end]).into_owned();
    ///         if conn.set_handler(Session { user }).is_err() {
    ///             conn.abort();
    ///         }
    ///         // What came behind the line is the session's.
    ///         end + 1
    ///     }
    /// }
    /// impl Handler for Session {
    ///     fn on_open(&mut self, conn: &mut Conn<'_>) {
    ///         let _ = conn.write(format!("welcome, {}\n", self.user).as_bytes());
    ///     }
    ///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
    ///         conn.write_some(data)
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// `NotOpen` if the connection is closing or over, is detached, or is part of a relay. `handler` is dropped then, without a
    /// callback, and the old one stays.
    pub fn set_handler(&mut self, handler: impl Handler) -> Result<(), Error> {
        if self.is_detaching() || !self.link.may_change_handler() {
            return Err(Error::NotOpen);
        }
        self.link.begin_change(&mut self.cx.state.buffers.pool);
        self.cx.state.successor = Some(Box::new(handler));
        Ok(())
    }

    /// Takes back the handler that was set by this callback.
    pub(crate) fn take_successor(&mut self) -> Option<Box<dyn Handler>> {
        self.cx.state.successor.take()
    }

    pub(crate) fn put_successor(&mut self, handler: Box<dyn Handler>) {
        self.cx.state.successor = Some(handler);
    }

    /// The way into this reactor from other threads.
    pub fn remote(&self) -> Remote {
        self.cx.remote()
    }

    /// Begins TLS on this plain connection, as the server's side of it (STARTTLS, RFC 3207).
    ///
    /// What was written before leaves first, in plain. From here on nothing can be written and nothing is shown until
    /// `on_secured`; if the handshake fails, or takes longer than `Limits::handshake_timeout`, `on_close` follows. Bytes
    /// that this callback leaves unused must be the beginning of the handshake: what a peer has said in plain behind its
    /// request for TLS never passes for something it said under TLS.
    ///
    /// # Errors
    /// `NotOpen` unless the connection is plain, open, not half-closed, and sends no file; `Config` for limits or a configuration that
    /// cannot work.
    #[cfg(feature = "tls")]
    pub fn start_tls_server(&mut self, tls: &crate::tls::ServerTls) -> Result<(), Error> {
        tls.validate()?;
        self.start_tls(crate::link::session::Template::new(tls).session())
    }

    /// Begins TLS on this plain connection, as the client's side of it; see [`Conn::start_tls_server`].
    ///
    /// # Errors
    /// As [`Conn::start_tls_server`]; `Config` too if `ClientTls::server_name` is not given.
    #[cfg(feature = "tls")]
    pub fn start_tls_client(&mut self, tls: &crate::tls::ClientTls) -> Result<(), Error> {
        tls.validate()?;
        self.start_tls(crate::link::session::Session::client(tls, None)?)
    }

    #[cfg(feature = "tls")]
    fn start_tls(&mut self, session: crate::link::session::Session) -> Result<(), Error> {
        if self.is_detaching() || self.link.is_relayed() {
            return Err(Error::NotOpen);
        }
        let state = &mut *self.cx.state;
        self.link.upgrade(session, &mut state.buffers, state.now)
    }

    /// Takes the connection out of this reactor when this callback returns, and hands it to `then` with all that waits.
    ///
    /// Writes are refused from now on. The handler gets `on_close(Detached)`, and then `then` runs; it may adopt the link
    /// again, send it to another reactor or thread, or take it apart. Nothing happens in `on_close`. If the connection
    /// breaks before the callback has returned, `on_close` tells why and `then` is dropped.
    ///
    /// Nothing happens behind [`Conn::relay`] either. Its place within `connections_max` of its listener, reactor and engine is
    /// free then. Its limits in time go with it, if
    /// somebody waits on it ([`Link::into_blocking`]) or adopts it.
    pub fn detach(&mut self, then: impl FnOnce(Link, &mut Context<'_>) + 'static) {
        self.part(Place::GivenBack, |link, _, cx| then(link, cx));
    }

    /// As [`Conn::detach`], but its place is kept until the seat is dropped; there is none if no listener accepted it.
    pub(crate) fn detach_seated(&mut self, then: impl FnOnce(Link, Option<Seat>, &mut Context<'_>) + 'static) {
        self.part(Place::Kept, then);
    }

    fn part(&mut self, place: Place, then: impl FnOnce(Link, Option<Seat>, &mut Context<'_>) + 'static) {
        if !matches!(self.link.phase(), Phase::Closed(_)) && !self.link.is_relayed() {
            self.cx.state.detach_request = Some(DetachRequest { then: Box::new(then), place });
        }
    }
}

impl AsFd for Conn<'_> {
    /// The socket, to ask or set what is not named here. Reading, writing or closing it breaks the connection.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// Local commands beyond which no message is taken: handlers that answer each other for ever are told.
const LOCAL_MESSAGES_MAX: usize = 65_536;

/// Another connection of the same reactor, lent by [`Conn::other`] or [`Context::other`]; never its handler.
///
/// ```
/// use windlass::{Conn, ConnId, Handler};
/// /// Passes on what comes to another connection of the same reactor.
/// struct Copy {
///     to: ConnId,
/// }
/// impl Handler for Copy {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
///         match conn.other(self.to) {
///             Some(mut other) => other.write_some(data),
///             None => data.len(), // it is closed
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Other<'a> {
    pub(crate) id: SourceId,
    pub(crate) cx: Context<'a>,
}

impl Other<'_> {
    /// Runs `call` on the link, and drives the connection next turn if anything follows for it.
    fn with<T>(&mut self, call: impl FnOnce(&mut Link, &mut ReactorState) -> T) -> Option<T> {
        self.cx.gather_for(self.id);
        let link = self.cx.table.link(self.id)?;
        let state = &mut *self.cx.state;
        std::mem::swap(&mut state.buffers.gather, &mut state.gathered);
        let done = call(link, state);
        std::mem::swap(&mut state.buffers.gather, &mut state.gathered);
        if link.needs_drive() {
            self.cx.table.wake(self.id);
        }
        Some(done)
    }

    /// Runs `call` on the link, and drives the connection next turn.
    fn change(&mut self, call: impl FnOnce(&mut Link, &mut ReactorState)) {
        let _ = self.with(call);
        self.cx.table.wake(self.id);
    }

    /// As [`Conn::room`].
    pub fn room(&mut self) -> usize {
        self.with(|link, state| link.room(state.buffers.gather.len())).unwrap_or(0)
    }

    /// As [`Conn::stats`]; all zero once it is gone.
    pub fn stats(&mut self) -> ConnStats {
        self.with(|link, state| link.stats(state.buffers.gather.len(), state.now)).unwrap_or_default()
    }

    /// As [`Conn::tcp_info`].
    pub fn tcp_info(&mut self) -> Option<TcpInfo> {
        TcpInfo::of(self.cx.table.link(self.id)?)
    }

    /// Its peer's address, as [`Conn::peer_address`].
    pub fn peer_address(&mut self) -> Option<Address> {
        self.cx.table.link(self.id)?.peer_address()
    }

    /// Bytes of output that wait.
    pub fn unsent_bytes(&mut self) -> usize {
        self.with(|link, state| link.unsent_bytes() + state.buffers.gather.len()).unwrap_or(0)
    }

    /// As [`Conn::write`]; its `on_writable` follows a refusal.
    ///
    /// # Errors
    /// As [`Conn::write`]; `Gone` if there is no such connection.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_vectored(&[bytes])
    }

    /// As [`Conn::write_vectored`].
    ///
    /// # Errors
    /// As [`Conn::write`].
    pub fn write_vectored(&mut self, slices: &[&[u8]]) -> Result<(), WriteError> {
        self.with(|link, state| link.write(slices, &mut state.buffers, state.now)).unwrap_or(Err(WriteError::Gone))
    }

    /// As [`Conn::write_some`]; its `on_writable` follows a short write.
    pub fn write_some(&mut self, bytes: &[u8]) -> usize {
        self.with(|link, state| link.write_some(bytes, &mut state.buffers, state.now)).unwrap_or(0)
    }

    /// Takes what fits of `bytes`, and offers it to the kernel at once.
    pub(crate) fn send_at_once(&mut self, bytes: &[u8]) -> usize {
        let sent = self.with(|link, state| {
            let taken = link.write_some(bytes, &mut state.buffers, state.now);
            link.send_gathered(&mut state.buffers, state.now);
            taken
        });
        sent.unwrap_or(0)
    }

    /// Has it take what is in a pipe, as [`send_at_once`](Other::send_at_once) has it take bytes.
    pub(crate) fn send_piped(&mut self, pipe: &mut Pipe) {
        let _ = self.with(|link, state| link.send_piped(pipe, &mut state.buffers.pool, state.now));
    }

    /// As [`Conn::write_bytes`].
    ///
    /// # Errors
    /// As [`Conn::write`].
    pub fn write_bytes(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        self.with(|link, state| link.write_bytes(&bytes, &mut state.buffers, state.now))
            .unwrap_or(Err(WriteError::Gone))
    }

    /// As [`Conn::send_file`]; its `on_writable` follows a refusal.
    ///
    /// # Errors
    /// As [`Conn::send_file`].
    pub fn send_file(&mut self, file: impl Into<Arc<File>>, range: Range<u64>) -> Result<(), WriteError> {
        let range = FileRange::new(file.into(), range)?;
        self.with(|link, state| link.send_file(range, &mut state.buffers, state.now)).unwrap_or(Err(WriteError::Gone))
    }

    /// Sends `value` to its handler, whose [`on_message`](crate::Handler::on_message) is called in this turn, after this callback.
    /// What cannot be delivered goes to [`Reactor::on_undelivered`](crate::Reactor::on_undelivered).
    ///
    /// # Errors
    /// The value comes back with `MailboxFull` if 65,536 orders to connections of this reactor wait.
    pub fn tell<T: Any + Send>(&mut self, value: T) -> Result<(), Untold<T>> {
        if self.cx.state.local.len() >= LOCAL_MESSAGES_MAX {
            return Err(Untold { value, why: Error::MailboxFull { limit: LOCAL_MESSAGES_MAX, unit: "commands" } });
        }
        self.cx.state.local.push_back(Local::Order(self.id, Order::Tell(Message::new(value))));
        Ok(())
    }

    /// As [`Conn::pause`], at once.
    pub fn pause(&mut self) {
        self.change(|link, state| link.pause(&mut state.buffers.pool));
    }

    /// As [`Conn::resume`].
    pub fn resume(&mut self) {
        self.change(|link, _| link.resume());
    }

    /// As [`Conn::finish`].
    pub fn finish(&mut self) {
        self.change(|link, state| link.signal(Signal::Finish, state.now));
    }

    /// As [`Conn::close`].
    pub fn close(&mut self) {
        let reason = self.cx.closing_reason();
        self.change(|link, state| link.signal(Signal::Close(reason), state.now));
    }

    /// As [`Conn::abort`].
    pub fn abort(&mut self) {
        self.change(|link, state| link.signal(Signal::Abort, state.now));
    }
}

impl Context<'_> {
    /// Couples two other connections of this reactor for good; see [`Conn::relay`].
    ///
    /// # Errors
    /// As [`Conn::relay`]; `Gone` too if one of them is the one whose callback this is.
    pub fn relay(&mut self, one: ConnId, other: ConnId) -> Result<(), Error> {
        let mut may_be_relayed = |id: ConnId| self.table.connection(id.0).map(|connection| connection.may_be_relayed());
        match (may_be_relayed(one), may_be_relayed(other)) {
            (Some(true), Some(true)) if one != other => {}
            (Some(_), Some(_)) if one != other => return Err(Error::NotOpen),
            (Some(_) | None, Some(_) | None) => return Err(Error::Gone),
        }
        for (id, partner) in [(one, other), (other, one)] {
            if let Some(connection) = self.table.connection(id.0) {
                connection.begin_relay(partner.0, &mut self.state.buffers.pool);
            }
            self.table.wake(id.0);
        }
        Ok(())
    }

    /// Why a connection that is closed here and now ends.
    pub(crate) fn closing_reason(&self) -> Reason {
        match self.state.life {
            Life::Running => Reason::Local,
            Life::Draining { .. } | Life::Cutting(_) | Life::Stopped(_) => Reason::Drain,
        }
    }
}
