//! What can go wrong: a call that was refused, and why a connection ended.
//!
//! Owns both vocabularies. An `Error` means that a call changed nothing; a `Reason` is what `on_close` is told.

mod kinds;

use crate::address::{Address, AddressError};
pub use kinds::is_timeout;
use std::io;

/// A call was refused and changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is not one, or could not be resolved.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The system refused to listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was to be listened on.
        address: Box<Address>,
        /// What the system said.
        source: io::Error,
    },
    /// The path of a Unix listener is taken by something that is not a dead socket of this user.
    #[error("cannot listen on {address}: {what} is in the way; remove it or choose another path")]
    PathTaken {
        /// What was to be listened on.
        address: Box<Address>,
        /// What was found there.
        what: &'static str,
    },
    /// The address is of a transport that this call does not serve.
    #[error("{address} cannot be used here: {why}")]
    Transport {
        /// The address as it was given.
        address: Box<Address>,
        /// What stands against it, and what would do.
        why: &'static str,
    },
    /// A configuration holds a value that cannot work.
    #[error("{field} cannot be {value}: {why}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would work.
        why: &'static str,
    },
    /// A certificate, key, name or list for TLS cannot be used.
    #[error("cannot use {what}: {why}")]
    Tls {
        /// What it is, and where it comes from.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The system refused a descriptor: to make, adopt, watch or register it.
    #[error("cannot {action}: {source}")]
    Descriptor {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The output queue has no room for all of it; nothing was queued. `on_writable` or `on_close` follows.
    #[error("the output queue has room for {room} of {asked} bytes; wait for on_writable, or write_some")]
    Full {
        /// How many bytes were to be written.
        asked: usize,
        /// How many would have been taken.
        room: usize,
    },
    /// The output queue is too small for all of it, even when empty; nothing was queued, and nothing follows.
    #[error(
        "{asked} bytes can never be queued at once: the output queue holds {limit}; raise outbox_bytes_max, or write_some"
    )]
    TooLong {
        /// How many bytes were to be written.
        asked: usize,
        /// `Limits::outbox_bytes_max`.
        limit: usize,
    },
    /// A connection could not be made in time, or the system refused it.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// What was to be connected to.
        address: Box<Address>,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused to join or leave a multicast group.
    #[error("cannot {action} the group {group}: {source}")]
    Group {
        /// What was to be done.
        action: &'static str,
        /// The group.
        group: std::net::IpAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A datagram is longer than its socket can send.
    #[error("a datagram of {bytes} bytes cannot be sent: the limit here is {limit}; send it in parts")]
    Oversize {
        /// How long it is.
        bytes: usize,
        /// The longest that can be sent.
        limit: usize,
    },
    /// So many datagrams wait that no more are taken; `on_writable` or `on_close` follows.
    #[error("{datagrams} datagrams of {bytes} bytes wait to be sent, and no more are taken; wait for on_writable")]
    QueueFull {
        /// Bytes that wait.
        bytes: usize,
        /// Datagrams that wait.
        datagrams: usize,
    },
    /// The sender of a datagram has no address, or one that cannot be sent to: port 0, `0.0.0.0` or `[::]`.
    #[error(
        "the peer has no name, port 0, or the address 0.0.0.0 or [::], and cannot be sent to; it must bind its socket first"
    )]
    Unanswerable,
    /// The socket is not connected, so that it must be said where to send to.
    #[error("the socket has no peer of its own; name one with send_to, or use connect_datagrams")]
    NoPeer,
    /// The connection takes no output: it is not open yet, finished, closing or closed.
    #[error("the connection takes no output: it is not open yet, finished, closing or closed")]
    NotOpen,
    /// `need` asked for more than the input queue may hold.
    #[error("cannot wait for {asked} bytes in one piece: the input queue holds {limit}; raise inbox_bytes_max")]
    Need {
        /// How many bytes were asked for at once.
        asked: usize,
        /// `Limits::inbox_bytes_max`.
        limit: usize,
    },
    /// The reactor holds as many connections as it may.
    #[error("the reactor holds {limit} connections, which is its limit; close some or raise connections_max")]
    Connections {
        /// `ReactorConfig::connections_max`.
        limit: usize,
    },
    /// The reactor is draining: nothing new is begun.
    #[error("the reactor is draining and begins nothing new")]
    Draining,
    /// No source of this reactor has this id, or has it no longer.
    #[error("nothing has this id any more")]
    Gone,
    /// The reactor's mailbox is full.
    #[error("the reactor's mailbox holds {limit} commands, which is its limit; try again later")]
    MailboxFull {
        /// `ReactorConfig::mailbox_commands_max`.
        limit: usize,
    },
    /// The reactor has stopped or was dropped.
    #[error("the reactor has stopped")]
    ReactorGone,
    /// Nobody polled the reactor until the deadline of its shutdown.
    #[error("the reactor was not driven until its deadline: somebody must call run or poll_once")]
    NotDriven,
    /// A connection came to no good end, or to none at all.
    #[error("connection {}to {local}: {reason}", .peer.as_ref().map(|peer| format!("of {peer} ")).unwrap_or_default())]
    Connection {
        /// Where it was accepted.
        local: Box<Address>,
        /// Where it came from, if that has an address.
        peer: Option<Box<Address>>,
        /// Why it ended.
        reason: Reason,
    },
    /// `prepare_accepted` refused a connection, which was closed.
    #[error("connection {}to {local} was refused by prepare_accepted: {source}", .peer.as_ref().map(|peer| format!("of {peer} ")).unwrap_or_default())]
    Unprepared {
        /// Where it was accepted.
        local: Box<Address>,
        /// Where it came from, if that has an address.
        peer: Option<Box<Address>>,
        /// What the hook returned.
        source: io::Error,
    },
    /// A blocking handler ended with an error.
    #[error("connection {}to {local}: its handler: {source}", .peer.as_ref().map(|peer| format!("of {peer} ")).unwrap_or_default())]
    Served {
        /// Where it was accepted.
        local: Box<Address>,
        /// Where it came from, if that has an address.
        peer: Option<Box<Address>>,
        /// What the handler returned.
        source: io::Error,
    },
    /// Something went wrong with a datagram.
    #[error("{address}: {what}")]
    Datagram {
        /// The socket's address.
        address: Box<Address>,
        /// What it was.
        what: String,
        /// Which kind of error it was: `TimedOut` for a datagram that waited for too long.
        kind: io::ErrorKind,
    },
    /// A listener broke; its connections live on.
    #[error("cannot accept on {address} any more: {source}")]
    Accept {
        /// Where it listened.
        address: Box<Address>,
        /// What the system said.
        source: io::Error,
    },
    /// A callback panicked; nothing was ended by it.
    #[error("the callback {callback} panicked")]
    CallbackPanicked {
        /// Which one.
        callback: &'static str,
    },
    /// A client's connection broke, or its TLS handshake failed.
    #[error("connection to {address}: {reason}{}", .detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Broken {
        /// What it was connected to.
        address: Box<Address>,
        /// What happened.
        reason: Reason,
        /// What TLS said, in the words of its library.
        detail: Option<String>,
    },
    /// A client's request, or the answer to it, came to no good end.
    #[error("exchange with {address}: {source}")]
    Exchange {
        /// With whom.
        address: Box<Address>,
        /// What happened, or what the caller's code returned.
        source: io::Error,
    },
    /// The client is not connected: `connect` was not called, or the connection is over.
    #[error("there is no connection, not yet or not any more; a client must call connect, a connector is at it")]
    NotConnected,
    /// The client was closed while it was connecting.
    #[error("the client was closed while it was connecting")]
    Cancelled,
    /// Another thread connects this client just now.
    #[error("another thread is connecting this client; wait for it, or close it")]
    Connecting,
    /// A server listens only once.
    #[error("the server was started already; build another one")]
    AlreadyStarted,
    /// A server that was shut down does not listen any more.
    #[error("the server was shut down; build it again")]
    ServerGone,
    /// A reactor's thread could not be started.
    #[error("cannot start the thread {name}: {source}")]
    Thread {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// A reactor's thread has panicked.
    #[error("the thread {name} has panicked; its connections are closed")]
    ThreadDied {
        /// Its name.
        name: String,
    },
    /// The call would wait for the reactor on the reactor's own thread.
    #[error(
        "this call waits for the reactor and was made on the reactor's own thread; use the call that does not wait"
    )]
    OnReactorThread,
    /// The system's poll failed.
    #[error("cannot poll: {0}")]
    Poll(#[source] io::Error),
}

/// Which deadline ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expiry {
    /// `Limits::connect_timeout`.
    Connect,
    /// `Limits::handshake_timeout`.
    Handshake,
    /// `Limits::idle_timeout`.
    Idle,
    /// `Limits::write_stall_timeout`.
    WriteStall,
    /// `Limits::lifetime`.
    Lifetime,
    /// The peer did not end after we had; see `Limits::linger_timeout`.
    Linger,
    /// The deadline of a drain.
    Drain,
}

/// Why a connection ended; `on_close` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The peer ended, and so did we.
    PeerClosed,
    /// This side called `close`.
    Local,
    /// This side called `abort`.
    Aborted,
    /// The peer, or something between, reset the connection.
    Reset,
    /// Nobody listens there.
    Refused,
    /// The network, host or path cannot be reached.
    Unreachable,
    /// The kernel had no answer from the peer for too long (retransmission, keepalive, TCP_USER_TIMEOUT).
    Unresponsive,
    /// The kernel connected the socket to itself; nobody listened there.
    SelfConnected,
    /// A deadline ran out.
    Timeout(Expiry),
    /// The handler left `Limits::inbox_bytes_max` of input and waited for more. The likely causes: a relay that leaves
    /// what its other side has no room for, and does not [`pause`](crate::Conn::pause); or a message that is longer than
    /// the limit, which is to be raised then, or the message to be taken in pieces.
    InboxLimit,
    /// All that waits in the reactor's queues was more than `ReactorConfig::queued_bytes_max`, and some of it was this
    /// connection's, which had made no progress for the longest time.
    QueueLimit,
    /// The reactor drained.
    Drain,
    /// A callback of this connection panicked, or said that it used more than it was shown.
    HandlerPanicked,
    /// The connection went on elsewhere: `Conn::detach`.
    Detached,
    /// The reactor was dropped.
    ReactorDropped,
    /// The peer's FIN came without the close_notify that TLS wants before it: somebody may have cut the stream.
    Truncated,
    /// TLS failed.
    Tls(TlsFault),
    /// A file that was being sent ended before the range that was promised.
    FileTruncated,
    /// A file that was being sent could not be read: this error number.
    FileUnreadable(i32),
    /// The system said this error number.
    Os(i32),
    /// An invariant of this library broke.
    Bug,
}

/// What went wrong in TLS. The text that rustls has for it goes to the log, at debug level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// What came is no TLS: plain text, or another protocol.
    NotTls,
    /// The peer gave up and said so by this alert; RFC 8446, section 6.2.
    AlertReceived(u8),
    /// No version, suite, group or signature scheme is common to both.
    Incompatible,
    /// No application protocol (ALPN) is common to both.
    NoApplicationProtocol,
    /// The peer showed no certificate, and one is required.
    NoCertificate,
    /// The peer's certificate was refused: unknown issuer, expired, revoked, or for another name.
    BadCertificate,
    /// A record could not be decrypted.
    BadRecord,
    /// A record or handshake message was longer than it may be.
    TooLarge,
    /// The peer broke the protocol in another way.
    Misbehaved,
    /// The client asked for a name that no configuration is for.
    UnknownName,
    /// It failed on this side: no certificate for the name that was asked for, no random bytes, worn-out keys.
    Internal,
}

impl TlsFault {
    const KINDS: usize = 11;

    fn index(self) -> usize {
        match self {
            TlsFault::NotTls => 0,
            TlsFault::AlertReceived(_) => 1,
            TlsFault::Incompatible => 2,
            TlsFault::NoApplicationProtocol => 3,
            TlsFault::NoCertificate => 4,
            TlsFault::BadCertificate => 5,
            TlsFault::BadRecord => 6,
            TlsFault::TooLarge => 7,
            TlsFault::Misbehaved => 8,
            TlsFault::Internal => 9,
            TlsFault::UnknownName => 10,
        }
    }
}

impl std::fmt::Display for TlsFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TlsFault::NotTls => "TLS: the peer speaks something else",
            TlsFault::AlertReceived(alert) => return write!(f, "TLS: the peer sent alert {alert}"),
            TlsFault::Incompatible => "TLS: no version, suite or group in common",
            TlsFault::NoApplicationProtocol => "TLS: no application protocol in common",
            TlsFault::NoCertificate => "TLS: the peer showed no certificate",
            TlsFault::BadCertificate => "TLS: the peer's certificate was refused",
            TlsFault::BadRecord => "TLS: a record could not be decrypted",
            TlsFault::TooLarge => "TLS: a record or message was too long",
            TlsFault::Misbehaved => "TLS: the peer broke the protocol",
            TlsFault::UnknownName => "TLS: the peer asked for an unknown name",
            TlsFault::Internal => "TLS: failed on this side, by its configuration or system",
        })
    }
}

impl Reason {
    /// How many kinds there are, each timeout and TLS fault one of its own.
    pub const KINDS: usize = 26 + TlsFault::KINDS;

    /// A number below [`Reason::KINDS`], one for each kind; all error numbers of one kind share one, and all received alerts.
    pub fn index(self) -> usize {
        match self {
            Reason::PeerClosed => 0,
            Reason::Local => 1,
            Reason::Aborted => 2,
            Reason::Reset => 3,
            Reason::Refused => 4,
            Reason::Unreachable => 5,
            Reason::SelfConnected => 6,
            Reason::InboxLimit => 7,
            Reason::Drain => 8,
            Reason::HandlerPanicked => 9,
            Reason::Detached => 10,
            Reason::ReactorDropped => 11,
            Reason::Os(_) => 12,
            Reason::Bug => 13,
            Reason::Unresponsive => 14,
            Reason::Timeout(expiry) => 15 + expiry as usize,
            Reason::Truncated => 22,
            Reason::FileTruncated => 23,
            Reason::FileUnreadable(_) => 24,
            Reason::Tls(fault) => 25 + fault.index(),
            Reason::QueueLimit => 25 + TlsFault::KINDS,
        }
    }

    /// What an error of a connection's own system call means.
    pub(crate) fn of(error: &io::Error) -> Reason {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::ConnectionReset | Kind::BrokenPipe | Kind::ConnectionAborted => Reason::Reset,
            Kind::ConnectionRefused => Reason::Refused,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NotFound | Kind::NetworkDown => {
                Reason::Unreachable
            }
            Kind::TimedOut => Reason::Unresponsive,
            _ => error.raw_os_error().map_or(Reason::Bug, Reason::Os),
        }
    }

    /// Whether somebody should be told of it who does not look at each end: not of what either side has asked for, nor of
    /// an idle connection or the end of a drain.
    pub fn is_trouble(self) -> bool {
        match self {
            Reason::PeerClosed | Reason::Local | Reason::Aborted | Reason::Drain | Reason::Detached => false,
            Reason::ReactorDropped => false,
            Reason::Timeout(expiry) => match expiry {
                Expiry::Idle | Expiry::Lifetime | Expiry::Linger | Expiry::Drain => false,
                Expiry::Connect | Expiry::Handshake | Expiry::WriteStall => true,
            },
            Reason::Reset | Reason::Refused | Reason::Unreachable | Reason::Unresponsive => true,
            Reason::SelfConnected | Reason::InboxLimit | Reason::HandlerPanicked | Reason::Truncated => true,
            Reason::QueueLimit => true,
            Reason::Tls(_) | Reason::FileTruncated | Reason::FileUnreadable(_) | Reason::Os(_) | Reason::Bug => true,
        }
    }

    /// Whether something failed on this side that neither the peer nor the user of this side did.
    pub(crate) fn is_failure_here(self) -> bool {
        match self {
            Reason::Os(_) | Reason::FileTruncated | Reason::FileUnreadable(_) | Reason::Bug => true,
            Reason::HandlerPanicked | Reason::ReactorDropped => true,
            Reason::PeerClosed | Reason::Local | Reason::Aborted | Reason::Drain | Reason::Detached => false,
            Reason::Reset | Reason::Refused | Reason::Unreachable | Reason::Unresponsive => false,
            Reason::SelfConnected | Reason::InboxLimit | Reason::QueueLimit | Reason::Truncated => false,
            Reason::Timeout(_) | Reason::Tls(_) => false,
        }
    }

    /// Whether this is an ordinary end, which a later trouble may replace.
    pub(crate) fn is_ordinary(self) -> bool {
        matches!(self, Reason::PeerClosed | Reason::Local | Reason::Drain)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::PeerClosed => "closed by the peer",
            Reason::Local => "closed here",
            Reason::Aborted => "aborted here",
            Reason::Reset => "reset by the peer",
            Reason::Refused => "refused",
            Reason::Unreachable => "unreachable",
            Reason::Unresponsive => "no answer from the peer",
            Reason::SelfConnected => "connected to itself: nobody listens there",
            Reason::InboxLimit => {
                "input queue full: a message longer than inbox_bytes_max, or a relay that leaves input without pause"
            }
            Reason::QueueLimit => "all queues of the reactor together full, and no progress",
            Reason::Drain => "drained",
            Reason::HandlerPanicked => "handler panicked",
            Reason::Detached => "detached",
            Reason::ReactorDropped => "reactor dropped",
            Reason::Bug => "a fault in windlass",
            Reason::Truncated => "truncated: the peer ended without close_notify",
            Reason::Tls(fault) => return fault.fmt(f),
            Reason::FileTruncated => "a file that was being sent ended early",
            Reason::FileUnreadable(errno) => {
                return write!(f, "a file cannot be read: {}", io::Error::from_raw_os_error(*errno));
            }
            Reason::Os(errno) => return io::Error::from_raw_os_error(*errno).fmt(f),
            Reason::Timeout(expiry) => match expiry {
                Expiry::Connect => "connect timeout",
                Expiry::Handshake => "handshake timeout",
                Expiry::Idle => "idle timeout",
                Expiry::WriteStall => "write stall timeout",
                Expiry::Lifetime => "lifetime over",
                Expiry::Linger => "linger timeout",
                Expiry::Drain => "drain deadline",
            },
        })
    }
}
