//! Limits, timeouts and options, with their defaults.
//!
//! Owns the numbers and what is wrong with them. Knows nothing of who keeps them.

pub(crate) mod accepted;
pub(crate) mod datagram;

use crate::config::accepted::PrepareAccepted;
use crate::error::Error;
use std::time::Duration;

/// The largest piece that is read from a plain stream at once, in bytes. Against pieces of 64 KiB it saves a fifth of the
/// processor time of bulk traffic (measured), and the peer is woken less often.
pub(crate) const READ_BYTES: usize = 256 * 1024;

/// The least that all queues of a reactor may hold: what one connection may.
pub(crate) const QUEUED_BYTES_LEAST: usize = 1024 * 1024;

/// The longest record, header and all, that a peer may send; RFC 5246, section 6.2.3.
pub(crate) const RECORD_BYTES: usize = 18 * 1024 + 5;

/// How many bytes sealing adds at most to `bytes`: 22 for each record of 16 KiB, and a key update.
pub(crate) const fn sealing_bytes(bytes: usize) -> usize {
    bytes / 512 + 128
}

/// What one connection may use, and for how long.
///
/// They are for connections that reactors drive. What counts for threads that wait is said at
/// [`BlockingLink`](crate::BlockingLink) and [`ClientBuilder::connect_config`](crate::ClientBuilder::connect_config).
///
/// ```
/// use std::time::Duration;
/// let limits = windlass::Limits { idle_timeout: Some(Duration::from_secs(60)), ..Default::default() };
/// assert!(limits.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of input that one `on_data` may be shown, and may leave; with TLS, up to one record (16 KiB) more. A handler
    /// that leaves so many and still waits for more ends its connection. Default: 256 KiB.
    pub inbox_bytes_max: usize,
    /// Bytes of output that may wait; a write beyond is refused. With TLS they wait as records, a 512th longer. Default:
    /// 1 MiB.
    pub outbox_bytes_max: usize,
    /// Above this many waiting bytes of output `on_writable` is owed; and the peer is not read, if they were written in
    /// `on_data`, as answers to it. Default: 256 KiB.
    pub outbox_bytes_high: usize,
    /// At or below this many the peer is read again and `on_writable` comes, if owed. Default: 64 KiB.
    pub outbox_bytes_low: usize,
    /// From the start of a connect until the connection can be used: lookup, all addresses and handshake together. Default: 10 s.
    pub connect_timeout: Duration,
    /// From the establishment of an attempt (or the accept) until its handshake is done; time in which its next step waits for its turn on
    /// this side does not count. In a drain a handshake gets at most a quarter of the drain's time, and a peer that has said
    /// nothing within a second gets none. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How long waiting output may not move. On Linux what the peer acknowledges of what the kernel holds counts, too (TCP),
    /// so that a peer that reads slowly but steadily is not cut; where the kernel's buffer still had room at the end, it is
    /// half as long again. Default: 30 s.
    pub write_stall_timeout: Duration,
    /// How long no byte may move in either direction; on Linux between the kernel and the peer, too (TCP). Default: `None`, for ever.
    pub idle_timeout: Option<Duration>,
    /// From the start until the connection is closed, whatever it does. Default: `None`, for ever.
    pub lifetime: Option<Duration>,
    /// After our end: how long the peer may be silent before its end. On Linux what it acknowledges of what the kernel holds
    /// counts, too (TCP), so that who reads a long answer slowly gets all of it. Default: 2 s.
    pub linger_timeout: Duration,
    /// After our end: how long its own is waited for in all. What it sends meanwhile is discarded. Default: 30 s.
    pub linger_total: Duration,
    /// Bytes that are read of one connection in one turn; of files, bytes that are sent, by sendfile(2) four times as many.
    /// Default: 256 KiB.
    pub bytes_per_turn: usize,
    /// Reads that are made of one connection in one turn. Default: 16.
    pub reads_per_turn: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            inbox_bytes_max: 256 * 1024,
            outbox_bytes_max: 1024 * 1024,
            outbox_bytes_high: 256 * 1024,
            outbox_bytes_low: 64 * 1024,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            write_stall_timeout: Duration::from_secs(30),
            idle_timeout: None,
            lifetime: None,
            linger_timeout: Duration::from_secs(2),
            linger_total: Duration::from_secs(30),
            bytes_per_turn: 256 * 1024,
            reads_per_turn: 16,
        }
    }
}

fn refuse(field: &'static str, value: impl std::fmt::Debug, why: &'static str) -> Result<(), Error> {
    Err(Error::Config { field, value: format!("{value:?}"), why })
}

fn positive(field: &'static str, value: usize) -> Result<(), Error> {
    if value == 0 { refuse(field, value, "it must be at least 1") } else { Ok(()) }
}

pub(crate) fn lasting(field: &'static str, value: Duration) -> Result<(), Error> {
    if value.is_zero() { refuse(field, value, "it must be longer than zero") } else { Ok(()) }
}

impl Limits {
    /// Whether an open connection with nothing to send has no deadline.
    pub(crate) fn is_timeless(&self) -> bool {
        self.idle_timeout.is_none() && self.lifetime.is_none()
    }

    /// Checks that the limits fit each other.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot work.
    pub fn validate(&self) -> Result<(), Error> {
        positive("inbox_bytes_max", self.inbox_bytes_max)?;
        positive("bytes_per_turn", self.bytes_per_turn)?;
        positive("reads_per_turn", self.reads_per_turn)?;
        positive("outbox_bytes_high", self.outbox_bytes_high)?;
        if self.outbox_bytes_low > self.outbox_bytes_high {
            return refuse("outbox_bytes_low", self.outbox_bytes_low, "it must not be above outbox_bytes_high");
        }
        // No more is ever shown than the inbox holds: below the high mark, an answer as long as that is never refused.
        if self.outbox_bytes_max < self.outbox_bytes_high.saturating_add(self.inbox_bytes_max) {
            let why = "it must be at least outbox_bytes_high and inbox_bytes_max together";
            return refuse("outbox_bytes_max", self.outbox_bytes_max, why);
        }
        if self.inbox_bytes_max > u32::MAX as usize {
            return refuse("inbox_bytes_max", self.inbox_bytes_max, "it must be below 4 GiB");
        }
        lasting("connect_timeout", self.connect_timeout)?;
        lasting("handshake_timeout", self.handshake_timeout)?;
        lasting("write_stall_timeout", self.write_stall_timeout)?;
        lasting("linger_timeout", self.linger_timeout)?;
        lasting("linger_total", self.linger_total)?;
        lasting("idle_timeout", self.idle_timeout.unwrap_or(Duration::MAX))?;
        lasting("lifetime", self.lifetime.unwrap_or(Duration::MAX))
    }

    /// Checks that TLS fits too: what is shown may be a record longer than the inbox.
    #[cfg(feature = "tls")]
    pub(crate) fn validate_sealed(&self) -> Result<(), Error> {
        let shown = self.inbox_bytes_max.saturating_add(RECORD_BYTES);
        if self.outbox_bytes_max < self.outbox_bytes_high.saturating_add(shown) {
            let why = "with TLS it must be at least outbox_bytes_high, inbox_bytes_max and a record (18,437) together";
            return refuse("outbox_bytes_max", self.outbox_bytes_max, why);
        }
        Ok(())
    }
}

/// TCP keepalive probes, tcp(7): they end a connection whose peer has vanished without a word, with
/// [`Reason::Unresponsive`](crate::Reason::Unresponsive), and keep those alive that a router on the way would forget.
///
/// By default a silent peer is asked after a minute, and given up after 3 minutes and a quarter. A probe is one packet each
/// way that the kernel sends: a million idle connections cost 17,000 a second, and no work of the process. OpenBSD has one
/// setting of these times for all connections, which counts there.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Keepalive, SocketOptions};
/// // A silent peer is given up after 30 + 3 × 10 seconds.
/// let keepalive = Keepalive { idle: Duration::from_secs(30), interval: Duration::from_secs(10), count: 3 };
/// let options = SocketOptions { keepalive: Some(keepalive), ..SocketOptions::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe, in whole seconds up to 32,767. Default: 60 s.
    pub idle: Duration,
    /// Between probes that are not answered, in whole seconds up to 32,767. Default: 15 s.
    pub interval: Duration,
    /// Probes without an answer until the connection is dead, up to 127. Default: 9.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(15), count: 9 }
    }
}

/// What the system is told about a socket before it is used; socket(7), tcp(7), ipv6(7).
///
/// `nodelay`, `keepalive` and `user_timeout` are TCP's own, and have no effect on other sockets; an adopted listener over MPTCP
/// gets those that the system has there.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Keepalive, ListenConfig, SocketOptions};
/// let keepalive = Keepalive { idle: Duration::from_secs(30), ..Keepalive::default() };
/// let socket = SocketOptions {
///     keepalive: Some(keepalive),
///     user_timeout: Some(Duration::from_secs(20)),
///     ..SocketOptions::default()
/// };
/// ListenConfig { socket, ..ListenConfig::default() }.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// TCP_NODELAY. Default: on.
    pub nodelay: Nodelay,
    /// SO_KEEPALIVE and its times; `None` is off. Default: on, after 60 s, then every 15 s, 9 times.
    pub keepalive: Option<Keepalive>,
    /// SO_RCVBUF in bytes. Default: the system's.
    pub receive_buffer_bytes: Option<usize>,
    /// SO_SNDBUF in bytes. Default: the system's.
    pub send_buffer_bytes: Option<usize>,
    /// TCP_USER_TIMEOUT: how long sent bytes may stay unacknowledged. Elsewhere than on Linux it is an error. Default: the
    /// system's.
    pub user_timeout: Option<Duration>,
    /// SO_LINGER. Default: `None`, off, and best left so: with it close(2) blocks the whole loop. Our own lingering close
    /// does not need it.
    pub linger: Option<Duration>,
    /// A hook that is given the raw socket before it is bound or connected, for what is not named here. Of a listener it sees
    /// the listening socket alone; [`ListenConfig::prepare_accepted`] sees what is accepted.
    pub prepare: Option<fn(&socket2::Socket) -> std::io::Result<()>>,
}

impl PartialEq for SocketOptions {
    /// Hooks are equal if they are at one address; the same function may be at several.
    fn eq(&self, other: &SocketOptions) -> bool {
        let SocketOptions {
            nodelay,
            keepalive,
            receive_buffer_bytes,
            send_buffer_bytes,
            user_timeout,
            linger,
            prepare,
        } = *self;
        let hooks_are_equal = match (prepare, other.prepare) {
            (None, None) => true,
            (Some(one), Some(other)) => std::ptr::fn_addr_eq(one, other),
            (Some(_), None) | (None, Some(_)) => false,
        };
        hooks_are_equal
            && (nodelay, keepalive, user_timeout, linger)
                == (other.nodelay, other.keepalive, other.user_timeout, other.linger)
            && (receive_buffer_bytes, send_buffer_bytes) == (other.receive_buffer_bytes, other.send_buffer_bytes)
    }
}

/// Whether small segments leave at once.
///
/// ```
/// use windlass::{Nodelay, SocketOptions};
/// let options = SocketOptions { nodelay: Nodelay::Off, ..SocketOptions::default() }; // Nagle's algorithm, RFC 896
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodelay {
    /// TCP_NODELAY: they do.
    On,
    /// Nagle's algorithm, RFC 896: they wait for acknowledgements.
    Off,
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions {
            nodelay: Nodelay::On,
            keepalive: Some(Keepalive::default()),
            receive_buffer_bytes: None,
            send_buffer_bytes: None,
            user_timeout: None,
            linger: None,
            prepare: None,
        }
    }
}

impl SocketOptions {
    /// Checks that the system can be told all of it.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(Keepalive { idle, interval, count }) = self.keepalive {
            for (field, time) in [("keepalive.idle", idle), ("keepalive.interval", interval)] {
                if time.subsec_nanos() != 0 || !(1..=KEEPALIVE_SECONDS_MAX).contains(&time.as_secs()) {
                    return refuse(field, time, "it must be whole seconds, from 1 to 32,767");
                }
            }
            if !(1..=KEEPALIVE_COUNT_MAX).contains(&count) {
                return refuse("keepalive.count", count, "it must be from 1 to 127");
            }
        }
        for (field, bytes) in
            [("receive_buffer_bytes", self.receive_buffer_bytes), ("send_buffer_bytes", self.send_buffer_bytes)]
        {
            if let Some(bytes) = bytes.filter(|bytes| !(1..=i32::MAX as usize).contains(bytes)) {
                return refuse(field, bytes, "it must be at least 1, and below 2 GiB");
            }
        }
        if let Some(timeout) = self.user_timeout {
            if !(1..=i32::MAX as u128).contains(&timeout.as_millis()) {
                return refuse("user_timeout", timeout, "it must be from 1 ms to 24 days");
            }
        }
        match self.linger {
            Some(linger) if linger.subsec_nanos() != 0 || linger.as_secs() > i32::MAX as u64 => {
                refuse("linger", linger, "it must be whole seconds")
            }
            _ => Ok(()),
        }
    }
}

/// What tcp(7) takes for TCP_KEEPIDLE and TCP_KEEPINTVL, and for TCP_KEEPCNT.
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;
const KEEPALIVE_COUNT_MAX: u32 = 127;

/// Which families an IPv6 listener takes.
///
/// ```
/// use windlass::{ListenConfig, Stack};
/// let config = ListenConfig { stack: Stack::V6Only, ..ListenConfig::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// IPv6 and IPv4, whose peers have IPv4 addresses. All addresses are those of IPv4 on a system without IPv6.
    Dual,
    /// IPV6_V6ONLY. On a system without IPv6 nothing can be bound.
    V6Only,
}

/// Whether several sockets may listen on one port.
///
/// ```
/// use windlass::{ListenConfig, Reuse};
/// // Another process may listen on the same port, and the kernel spreads connections over both.
/// let config = ListenConfig { reuse: Reuse::Port, ..ListenConfig::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// The port is ours alone (SO_REUSEADDR only, against TIME_WAIT).
    Exclusive,
    /// SO_REUSEPORT: the kernel spreads connections over those who ask the same. Linux does, and FreeBSD (SO_REUSEPORT_LB) and
    /// DragonFly; elsewhere listening is refused with it (`Unsupported`).
    Port,
}

/// What a configuration asks for between socket and handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Plain,
    Tls,
}

/// How to listen, and what accepted connections get.
///
/// ```
/// use windlass::{Limits, ListenConfig};
/// let config = ListenConfig {
///     limits: Limits { idle_timeout: Some(std::time::Duration::from_secs(60)), ..Limits::default() },
///     connections_max: 10_000,
///     unix_mode: 0o660,
///     ..ListenConfig::default()
/// };
/// config.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// For each accepted connection.
    pub limits: Limits,
    /// For the listener; accepted sockets inherit them.
    pub socket: SocketOptions,
    /// Connections that the kernel may hold ready. Default: 4,096; the system may lower it (`somaxconn`).
    pub backlog: u32,
    /// Connections that are accepted in one turn; with TLS a quarter of it. Default: 64.
    pub accepts_per_turn: usize,
    /// Connections that are accepted in a second, a tenth of them at once; the others wait in the backlog. Default: no limit.
    pub accepts_per_second: Option<u32>,
    /// Connections of this listener at once; above it, accepting pauses and the backlog waits. Default: no limit.
    pub connections_max: usize,
    /// For `tcp://` addresses of both families: which the socket takes. Default: dual; `tcp6://` is always IPv6 only.
    pub stack: Stack,
    /// Default: exclusive.
    pub reuse: Reuse,
    /// The socket file's permission bits. Default: 0o770.
    pub unix_mode: u32,
    /// The socket file's group, by number. Default: unchanged.
    pub unix_group: Option<u32>,
    /// How long accepting pauses when the system lacks descriptors or memory, or accept(2) has failed 64 times in a row. One
    /// try follows; if it fails the listener pauses again. Default: 100 ms.
    pub starved_pause: Duration,
    /// Sees each socket that was accepted and admitted, before it is used: for options that are not named here and depend on
    /// the connection, and to refuse it. With an error the connection is closed,
    /// [`AcceptEvent::Unprepared`](crate::AcceptEvent::Unprepared) tells of it (of a server, `on_error`), and
    /// `Counters::refused` counts it; accepting goes on. A panic is counted, and closes that connection too.
    ///
    /// It runs on the thread of the reactor that gets the connection, once for each, over TCP and Unix sockets, with TLS before the
    /// handshake. To read, write, or make the socket blocking breaks the connection. `SocketOptions::prepare` sees the
    /// listener instead, once, before it is bound. Default: none.
    pub prepare_accepted: Option<PrepareAccepted>,
    /// TLS, for `tls://` and `tls+unix:` addresses, and for listeners that are adopted. Default: none.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::ServerTls>,
}

impl Default for ListenConfig {
    fn default() -> ListenConfig {
        ListenConfig {
            limits: Limits::default(),
            socket: SocketOptions::default(),
            backlog: 4096,
            accepts_per_turn: 64,
            accepts_per_second: None,
            connections_max: usize::MAX,
            stack: Stack::Dual,
            reuse: Reuse::Exclusive,
            unix_mode: 0o770,
            unix_group: None,
            starved_pause: Duration::from_millis(100),
            prepare_accepted: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ListenConfig {
    pub(crate) fn wants(&self) -> Wanted {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return Wanted::Tls;
        }
        Wanted::Plain
    }

    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        self.limits.validate()?;
        self.socket.validate()?;
        positive("backlog", self.backlog as usize)?;
        positive("accepts_per_turn", self.accepts_per_turn)?;
        positive("connections_max", self.connections_max)?;
        positive("accepts_per_second", self.accepts_per_second.map_or(1, |accepts| accepts as usize))?;
        lasting("starved_pause", self.starved_pause)?;
        if self.backlog > i32::MAX as u32 {
            return refuse("backlog", self.backlog, "it must be below 2^31");
        }
        validate_file(self.unix_mode, self.unix_group)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.validate()?;
            self.limits.validate_sealed()?;
        }
        Ok(())
    }
}

/// Checks what a socket's file is to get.
fn validate_file(mode: u32, group: Option<u32>) -> Result<(), Error> {
    if mode > 0o777 {
        return refuse("unix_mode", format!("{mode:#o}"), "it must be permission bits, 0 to 0o777");
    }
    if group == Some(u32::MAX) {
        return refuse("unix_group", u32::MAX, "this number means 'unchanged' to the system; use None for that");
    }
    Ok(())
}

/// How to connect.
///
/// ```
/// use std::time::Duration;
/// use windlass::{ConnectConfig, Limits};
/// let limits = Limits { connect_timeout: Duration::from_secs(3), ..Limits::default() };
/// let config = ConnectConfig { limits, bind: Some(([127, 0, 0, 1], 0).into()), ..ConnectConfig::default() };
/// config.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ConnectConfig {
    /// For the connection.
    pub limits: Limits,
    /// For its socket.
    pub socket: SocketOptions,
    /// The local IP address to connect from; with a Unix address it is refused. Default: the system's choice.
    ///
    /// With port 0 there can be as many connections to each destination as the system has ephemeral ports, as there can
    /// without an address; IP_BIND_ADDRESS_NO_PORT of ip(7), on Linux. A port that is given can be used for several
    /// destinations at once, and for another one while a closed connection from it is in TIME_WAIT; SO_REUSEADDR of
    /// socket(7).
    pub bind: Option<std::net::SocketAddr>,
    /// TLS, for `tls://` and `tls+unix:` addresses. Default: none.
    #[cfg(feature = "tls")]
    pub tls: Option<crate::tls::ClientTls>,
}

impl ConnectConfig {
    pub(crate) fn wants(&self) -> Wanted {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return Wanted::Tls;
        }
        Wanted::Plain
    }

    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.validate()?;
            self.limits.validate_sealed()?;
        }
        self.socket.validate()?;
        self.limits.validate()
    }
}

/// What one reactor may use.
///
/// ```
/// use windlass::{Reactor, ReactorConfig};
/// let reactor = Reactor::new(ReactorConfig { connections_max: 50_000, ..ReactorConfig::default() })?;
/// assert_eq!(reactor.connections(), 0);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactorConfig {
    /// Kernel events that one turn takes, up to 1,048,576: there is room for so many, 12 bytes each. Default: 1,024.
    pub events_per_turn: usize,
    /// Commands of other threads that may wait in the mailbox; as many again may have been taken out and wait for their
    /// turn. Default: 65,536.
    pub mailbox_commands_max: usize,
    /// Bytes that may wait in the mailbox, of what other threads send; as many again may have been taken out and wait for their
    /// turn. A single send may be longer. Default: 64 MiB.
    pub mailbox_bytes_max: usize,
    /// Commands of other threads that one turn carries out. Default: 4,096.
    pub commands_per_turn: usize,
    /// Connections at once. Above it, accepting pauses and `connect` is refused. Default: no limit.
    pub connections_max: usize,
    /// Bytes of memory that may wait in all queues of the reactor together: output that the kernel has not taken, input that
    /// handlers have left, unfinished TLS records, datagrams.
    ///
    /// Above it, connections with output that waits are not read, nor are those with input that waits; others are read in
    /// pieces of 4 KiB. Connections whose output makes no progress for 5 s (1 s while more than half as much again waits, 30 s
    /// if it has moved before) are reset with [`Reason::QueueLimit`](crate::Reason::QueueLimit), the longest first, until an
    /// eighth is free. A connection that holds input alone is reset only where nothing else can make room, after 30 s.
    ///
    /// Output that handlers write of themselves is bounded by each connection's own limits. TLS handshakes go on. Not
    /// counted: what the kernel holds, 1.7 MiB of buffers that are kept for reuse, and what waits for threads, of which there are
    /// so many: a connection of a blocking handler holds 64 KiB of output, and as much input as its last read brought. Default:
    /// `None`, no bound but each connection's.
    pub queued_bytes_max: Option<usize>,
    /// Accepted connections whose TLS handshake is not done; above it, listeners with TLS pause. Each may hold 68 KiB of
    /// a peer's handshake, ordinary ones hold less than 5 KiB. Default: 16,384.
    pub handshakes_max: usize,
    /// A callback that runs for longer holds up everybody else: it is counted (`Counters::slow_callbacks`), and logged as a
    /// warning, at most one a second. Measured in steps of the system's clock tick, 1 to 10 ms. Default: 100 ms; `None`
    /// counts none.
    pub slow_callback: Option<Duration>,
    /// How long one turn works on TLS handshakes, after all other traffic; at least one step is taken. Default: 500 us.
    pub handshake_budget: Duration,
    /// Threads for steps of TLS handshakes that may take long; see `tls::Offload`. Several reactors may share them. Without
    /// them one RSA-2048 signature holds its reactor up for about half a millisecond. Default: `None`.
    #[cfg(feature = "tls")]
    pub handshake_threads: Option<crate::tls::HandshakeThreads>,
}

impl Default for ReactorConfig {
    fn default() -> ReactorConfig {
        ReactorConfig {
            events_per_turn: 1024,
            mailbox_commands_max: 65_536,
            mailbox_bytes_max: 64 << 20,
            commands_per_turn: 4096,
            connections_max: usize::MAX,
            queued_bytes_max: None,
            handshakes_max: 16_384,
            slow_callback: Some(Duration::from_millis(100)),
            handshake_budget: Duration::from_micros(500),
            #[cfg(feature = "tls")]
            handshake_threads: None,
        }
    }
}

/// There is memory for so many before the first of them comes.
const EVENTS_MAX: usize = 1 << 20;

impl ReactorConfig {
    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        positive("events_per_turn", self.events_per_turn)?;
        if self.events_per_turn > EVENTS_MAX {
            return refuse("events_per_turn", self.events_per_turn, "it must be at most 1,048,576");
        }
        positive("mailbox_commands_max", self.mailbox_commands_max)?;
        positive("mailbox_bytes_max", self.mailbox_bytes_max)?;
        positive("commands_per_turn", self.commands_per_turn)?;
        positive("handshakes_max", self.handshakes_max)?;
        if let Some(bytes) = self.queued_bytes_max.filter(|bytes| *bytes < QUEUED_BYTES_LEAST) {
            return refuse("queued_bytes_max", bytes, "it must be at least 1 MiB");
        }
        lasting("slow_callback", self.slow_callback.unwrap_or(Duration::MAX))?;
        positive("connections_max", self.connections_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Limits::default().validate().expect("limits");
        ListenConfig::default().validate().expect("listen");
        ConnectConfig::default().validate().expect("connect");
        ReactorConfig::default().validate().expect("reactor");
    }

    #[test]
    fn each_refusal_names_its_field() {
        let cases: [(&str, Limits); 6] = [
            ("inbox_bytes_max", Limits { inbox_bytes_max: 0, ..Limits::default() }),
            ("outbox_bytes_low", Limits { outbox_bytes_low: 300 << 10, ..Limits::default() }),
            ("outbox_bytes_max", Limits { outbox_bytes_max: 300 << 10, ..Limits::default() }),
            ("idle_timeout", Limits { idle_timeout: Some(Duration::ZERO), ..Limits::default() }),
            ("reads_per_turn", Limits { reads_per_turn: 0, ..Limits::default() }),
            ("linger_timeout", Limits { linger_timeout: Duration::ZERO, ..Limits::default() }),
        ];
        for (field, limits) in cases {
            let error = limits.validate().expect_err(field);
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let mode = ListenConfig { unix_mode: 0o1000, ..ListenConfig::default() };
        assert!(mode.validate().expect_err("mode").to_string().contains("0o1000"));
        let group = ListenConfig { unix_group: Some(u32::MAX), ..ListenConfig::default() };
        assert!(group.validate().is_err());
        let second = Duration::from_secs(1);
        let keepalive = Keepalive { idle: second, interval: second, count: 9 };
        let with = |keepalive| SocketOptions { keepalive: Some(keepalive), ..SocketOptions::default() };
        let half = Duration::from_millis(500);
        let sockets = [
            ("keepalive.idle", with(Keepalive { idle: half, ..keepalive })),
            ("keepalive.interval", with(Keepalive { interval: second * 40_000, ..keepalive })),
            ("keepalive.count", with(Keepalive { count: 1000, ..keepalive })),
            ("linger", SocketOptions { linger: Some(half), ..SocketOptions::default() }),
            ("user_timeout", SocketOptions { user_timeout: Some(second * 3_000_000), ..SocketOptions::default() }),
            ("send_buffer_bytes", SocketOptions { send_buffer_bytes: Some(1 << 31), ..SocketOptions::default() }),
        ];
        for (field, socket) in sockets {
            let listen = ListenConfig { socket, ..ListenConfig::default() }.validate();
            let connect = ConnectConfig { socket, ..ConnectConfig::default() }.validate();
            for refused in [listen, connect, socket.validate()] {
                assert!(refused.expect_err(field).to_string().starts_with(field));
            }
        }
    }
}
