//! What can go wrong: a call that was refused, and why a connection ended.
//!
//! Owns both vocabularies. An `Error` means that a call changed nothing; a `Reason` is what `on_close` is told, and a
//! `ServerError` what `on_error` of a server is.

mod alert;
mod fault;
mod kinds;
mod server;
mod writing;

use crate::address::{Address, AddressError};
use crate::framing::FrameError;
pub use fault::TlsFault;
pub use kinds::is_timeout;
pub use server::ServerError;
use std::fmt;
use std::io;
pub use writing::{SendError, WriteError};

/// A call was refused and changed nothing.
///
/// ```
/// use windlass::{Error, Server};
/// let refused = Server::builder().build(); // without an address
/// assert!(matches!(refused, Err(Error::Config { .. })));
/// println!("{}", refused.unwrap_err()); // names the field, and what would work
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is not one, or could not be resolved.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A payload cannot be written as one frame, or a received frame is too long or malformed; see [`framing`](crate::framing).
    #[error(transparent)]
    Frame(#[from] FrameError),
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
    /// The handler did not take the message out.
    #[error("the handler took no message of this type; take it in on_message")]
    NotTaken,
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
    #[error("no such connection or socket (already closed)")]
    Gone,
    /// The reactor's mailbox is full.
    #[error("the reactor's mailbox holds {limit} {unit}, which is its limit; try again later")]
    MailboxFull {
        /// `ReactorConfig::mailbox_commands_max`, or `mailbox_bytes_max`.
        limit: usize,
        /// Of what: commands, or bytes.
        unit: &'static str,
    },
    /// The reactor has stopped or was dropped.
    #[error("the reactor has stopped")]
    ReactorGone,
    /// Nobody polled the reactor until the deadline of its shutdown.
    #[error("the reactor was not driven until its deadline: somebody must call run or poll_once")]
    NotDriven,
    /// A closure that this call ran, or a callback of a client, panicked; nothing was ended by it.
    #[error("the callback {callback} panicked")]
    CallbackPanicked {
        /// Which one.
        callback: &'static str,
    },
    /// A connection broke, or its TLS handshake failed.
    #[error("connection to {address}: {}", .reason.with_detail(.detail.as_deref()))]
    Broken {
        /// The peer's address.
        address: Box<Address>,
        /// What happened.
        reason: Reason,
        /// What is known beyond the reason, see [`Reason::with_detail`].
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
    #[error("not connected: a client must call connect; a connector reconnects by itself")]
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
    /// A reactor's poll has failed for good, and its thread has ended.
    #[error("the thread {name} has ended, and its connections are closed: {source}")]
    ThreadFailed {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The call would wait for a thread on that thread: a reactor's own, or that of a blocking handler.
    #[error(
        "this call waits for the thread on which it was made, a reactor's or a blocking handler's; use the call that does not wait"
    )]
    OnReactorThread,
    /// The system's poll failed.
    #[error("cannot poll: {0}")]
    Poll(#[source] io::Error),
}

/// Which deadline ran out.
///
/// ```
/// use windlass::{Conn, Expiry, Handler, Reason};
/// struct Session;
/// impl Handler for Session {
///     fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
///         data.len()
///     }
///
///     fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
///         match reason {
///             Reason::PeerClosed | Reason::Local => {}
///             Reason::Timeout(Expiry::Idle) => println!("it was idle for too long"),
///             reason => println!("{reason}"),
///         }
///     }
/// }
/// ```
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
///
/// ```
/// use windlass::{Conn, Expiry, Handler, Reason};
/// struct Session;
/// impl Handler for Session {
///     fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
///         data.len()
///     }
///
///     fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
///         match reason {
///             Reason::PeerClosed | Reason::Local => {}
///             Reason::Timeout(Expiry::Idle) => println!("it was idle for too long"),
///             reason => println!("{reason}"),
///         }
///     }
/// }
/// ```
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
    /// No address was found for the name that was to be connected to; the log has the resolver's words, at debug level.
    Unresolved,
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
    /// The peer's FIN came without the close_notify that TLS wants before it: somebody may have cut the stream. Where the
    /// protocol marks its own ends, `Truncation::Tolerated` makes it an ordinary end.
    Truncated,
    /// TLS failed.
    Tls(TlsFault),
    /// A file that was being sent ended before the range that was promised.
    FileTruncated,
    /// A file that was being sent could not be read: this error number.
    FileUnreadable(u16),
    /// The system said this error number.
    Os(u16),
    /// An invariant of this library broke.
    Bug,
}

/// The system's number of an error. All that there are fit into 16 bits; a connection keeps it for as long as it ends.
pub(crate) fn error_number(error: &io::Error) -> Option<u16> {
    error.raw_os_error().and_then(|number| number.try_into().ok())
}

impl Reason {
    /// How many kinds there are, each timeout and TLS fault one of its own.
    pub const KINDS: usize = 27 + TlsFault::KINDS;

    /// The reason with what else is known of this one end: the dates of an expired certificate, the name that was asked for,
    /// what either side offers. `Error::Broken`, `ServerError::Connection`, `AcceptEvent` and `Conn::failure_detail` have such a
    /// detail; their own texts contain it already.
    ///
    /// A detail is one line of at most 600 bytes; what comes from the peer is escaped in it and shortened. It holds no
    /// certificate and no key.
    pub fn with_detail<'a>(self, detail: Option<&'a str>) -> impl fmt::Display + 'a {
        Explained { reason: self, detail }
    }

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
            Reason::Unresolved => 26 + TlsFault::KINDS,
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
            _ => error_number(error).map_or(Reason::Bug, Reason::Os),
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
            Reason::Reset | Reason::Refused | Reason::Unreachable | Reason::Unresolved => true,
            Reason::Unresponsive => true,
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
            Reason::Reset | Reason::Refused | Reason::Unreachable | Reason::Unresolved => false,
            Reason::Unresponsive => false,
            Reason::SelfConnected | Reason::InboxLimit | Reason::QueueLimit | Reason::Truncated => false,
            Reason::Timeout(_) | Reason::Tls(_) => false,
        }
    }

    /// Whether this is an ordinary end, which a later trouble may replace.
    pub(crate) fn is_ordinary(self) -> bool {
        matches!(self, Reason::PeerClosed | Reason::Local | Reason::Drain)
    }
}

/// A reason and its detail.
struct Explained<'a> {
    reason: Reason,
    detail: Option<&'a str>,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason, self.detail) {
            (reason, None) => reason.fmt(f),
            (Reason::Tls(fault), Some(detail)) => fault.explain(detail, f),
            (reason, Some(detail)) => write!(f, "{reason} ({detail})"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::PeerClosed => "closed by the peer",
            Reason::Local => "closed here",
            Reason::Aborted => "aborted here",
            Reason::Reset => "reset by the peer",
            Reason::Refused => "refused",
            Reason::Unreachable => "unreachable",
            Reason::Unresolved => "its name has no address",
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
            Reason::Truncated => {
                "truncated: the peer ended without TLS' close_notify, so somebody may have cut the stream; if the protocol \
                 marks its own ends, set Truncation::Tolerated"
            }
            Reason::Tls(fault) => return fault.fmt(f),
            Reason::FileTruncated => "a file that was being sent ended early",
            Reason::FileUnreadable(errno) => {
                return write!(f, "a file cannot be read: {}", io::Error::from_raw_os_error((*errno).into()));
            }
            Reason::Os(errno) => return io::Error::from_raw_os_error((*errno).into()).fmt(f),
            Reason::Timeout(expiry) => match expiry {
                Expiry::Connect => "connect timeout",
                Expiry::Handshake => {
                    "handshake timeout: the peer did not complete TLS in time; mostly one of the two sides speaks no TLS at \
                     this port"
                }
                Expiry::Idle => "idle timeout",
                Expiry::WriteStall => "write stall timeout",
                Expiry::Lifetime => "lifetime over",
                Expiry::Linger => "linger timeout",
                Expiry::Drain => "drain deadline",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Slots and links hold one.
    #[test]
    fn a_reason_has_4_bytes() {
        assert_eq!(size_of::<Reason>(), 4);
    }

    #[test]
    fn each_tls_fault_is_a_kind_of_its_own_and_says_what_to_do() {
        let mut indexes: Vec<usize> = TlsFault::ALL.iter().map(|fault| Reason::Tls(*fault).index()).collect();
        assert_eq!(indexes.len(), TlsFault::KINDS);
        indexes.push(Reason::QueueLimit.index());
        indexes.sort_unstable();
        assert!(indexes.windows(2).all(|pair| pair[0] < pair[1]), "{indexes:?}");
        assert!(indexes.iter().all(|index| *index < Reason::KINDS));
        let mut texts: Vec<String> = TlsFault::ALL.iter().map(|fault| Reason::Tls(*fault).to_string()).collect();
        for text in &texts {
            assert!(text.starts_with("TLS: ") && text.contains("; "), "{text}");
        }
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), TlsFault::KINDS);
    }

    #[test]
    fn every_alert_of_the_rfcs_is_told_by_its_name_and_says_what_to_do() {
        let named = [
            (0, "close_notify"),
            (10, "unexpected_message"),
            (20, "bad_record_mac"),
            (21, "decryption_failed"),
            (22, "record_overflow"),
            (30, "decompression_failure"),
            (40, "handshake_failure"),
            (41, "no_certificate"),
            (42, "bad_certificate"),
            (43, "unsupported_certificate"),
            (44, "certificate_revoked"),
            (45, "certificate_expired"),
            (46, "certificate_unknown"),
            (47, "illegal_parameter"),
            (48, "unknown_ca"),
            (49, "access_denied"),
            (50, "decode_error"),
            (51, "decrypt_error"),
            (60, "export_restriction"),
            (70, "protocol_version"),
            (71, "insufficient_security"),
            (80, "internal_error"),
            (86, "inappropriate_fallback"),
            (90, "user_canceled"),
            (100, "no_renegotiation"),
            (109, "missing_extension"),
            (110, "unsupported_extension"),
            (111, "certificate_unobtainable"),
            (112, "unrecognized_name"),
            (113, "bad_certificate_status_response"),
            (114, "bad_certificate_hash_value"),
            (115, "unknown_psk_identity"),
            (116, "certificate_required"),
            (117, "general_error"),
            (120, "no_application_protocol"),
            (121, "ech_required"),
        ];
        for number in 0..=u8::MAX {
            let text = Reason::Tls(TlsFault::AlertReceived(number)).to_string();
            let name = named.iter().find(|(known, _)| *known == number).map_or("unknown alert", |(_, name)| *name);
            assert!(text.contains(&format!("{name} ({number})")), "{text}");
            assert!(text.split_once("; ").is_some_and(|(_, advice)| advice.len() > 20), "{text}");
        }
    }
}
