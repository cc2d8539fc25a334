//! What an `Error` or `Reason` is in the words of `std::io`: a timeout, or which kind of error of input and output.
//!
//! Owns that translation, for code that has one way for all errors of a stream.

use crate::address::AddressError;
use crate::error::{Error, Reason};
use std::io::{self, ErrorKind};

/// Whether an error of input or output is a timeout: of a read, write, flush or close of a [`Client`](crate::Client), a
/// [`BlockingLink`](crate::BlockingLink), a [`Reader`](crate::Reader) or a [`Writer`](crate::Writer), of a socket of `std`,
/// or one that an [`Error`] was made into.
///
/// Reads and writes whose timeout runs out say `WouldBlock`, as those of `std` do on Unix, and leave the connection as it is;
/// `TimedOut` comes from a deadline that ended it. Of a non-blocking socket `WouldBlock` is no timeout: do not ask there.
///
/// ```
/// use std::io::{self, ErrorKind};
/// use windlass::{Error, Expiry, Reason, is_timeout};
/// assert!(is_timeout(&ErrorKind::WouldBlock.into()) && is_timeout(&ErrorKind::TimedOut.into()));
/// assert!(!is_timeout(&ErrorKind::ConnectionReset.into()));
/// let address = Box::new("tcp://127.0.0.1:80".parse()?);
/// let broken = Error::Broken { address, reason: Reason::Timeout(Expiry::WriteStall), detail: None };
/// assert!(broken.is_timeout() && is_timeout(&broken.into()));
/// # Ok::<(), windlass::Error>(())
/// ```
pub fn is_timeout(error: &io::Error) -> bool {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(inner) => inner.is_timeout(),
        None => matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
    }
}

impl Error {
    /// Whether something took longer than it may: a lookup, a connect, a handshake, a read or write, a whole exchange, a
    /// datagram that waited, a reactor or server that did not end, or a peer that the kernel gave up on.
    ///
    /// What a reader or writer returns is an `io::Error`: [`is_timeout`](crate::is_timeout) asks the same of that.
    pub fn is_timeout(&self) -> bool {
        match self {
            // What was the user's to read and write.
            Error::Exchange { source, .. } => is_timeout(source),
            // There `WouldBlock` is a lack of something: threads, ports.
            Error::Thread { .. }
            | Error::ThreadFailed { .. }
            | Error::Listen { .. }
            | Error::Descriptor { .. }
            | Error::Group { .. } => false,
            Error::Poll(_) => false,
            Error::Address(_) | Error::Connect { .. } | Error::Broken { .. } => self.kind() == ErrorKind::TimedOut,
            Error::NotDriven => true,
            Error::PathTaken { .. } | Error::Transport { .. } | Error::Config { .. } | Error::Tls { .. } => false,
            Error::Full { .. } | Error::TooLong { .. } | Error::Oversize { .. } | Error::QueueFull { .. } => false,
            Error::Unanswerable
            | Error::NoPeer
            | Error::NotOpen
            | Error::NotTaken
            | Error::Need { .. }
            | Error::Connections { .. } => false,
            Error::Draining | Error::Gone | Error::MailboxFull { .. } | Error::ReactorGone | Error::Frame(_) => false,
            Error::CallbackPanicked { .. } | Error::NotConnected | Error::Cancelled | Error::Connecting => false,
            Error::AlreadyStarted | Error::ServerGone | Error::ThreadDied { .. } | Error::OnReactorThread => false,
        }
    }

    /// Which kind of error of input and output it is: that of the system's error where there is one, else the nearest.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Listen { source, .. } | Error::Descriptor { source, .. } | Error::Connect { source, .. } => {
                source.kind()
            }
            Error::Group { source, .. }
            | Error::Exchange { source, .. }
            | Error::Thread { source, .. }
            | Error::Poll(source) => source.kind(),
            Error::ThreadFailed { source, .. } => source.kind(),
            Error::Broken { reason, .. } => reason.kind(),
            Error::Address(error) => kind_of_address(error),
            Error::Frame(error) => error.kind(),
            Error::PathTaken { .. } => ErrorKind::AddrInUse,
            Error::Transport { .. } | Error::Config { .. } | Error::Tls { .. } | Error::NotTaken => {
                ErrorKind::InvalidInput
            }
            Error::TooLong { .. } | Error::Oversize { .. } | Error::Need { .. } => ErrorKind::InvalidInput,
            Error::Full { .. } | Error::QueueFull { .. } | Error::MailboxFull { .. } => ErrorKind::ResourceBusy,
            Error::Connections { .. } | Error::Connecting => ErrorKind::ResourceBusy,
            Error::Unanswerable => ErrorKind::AddrNotAvailable,
            Error::NoPeer | Error::NotOpen | Error::NotConnected | Error::Gone => ErrorKind::NotConnected,
            Error::Cancelled => ErrorKind::ConnectionAborted,
            Error::NotDriven => ErrorKind::TimedOut,
            Error::OnReactorThread => ErrorKind::Deadlock,
            Error::Draining | Error::ReactorGone | Error::ServerGone | Error::AlreadyStarted => ErrorKind::Other,
            Error::CallbackPanicked { .. } | Error::ThreadDied { .. } => ErrorKind::Other,
        }
    }
}

fn kind_of_address(error: &AddressError) -> ErrorKind {
    match error {
        AddressError::ResolutionFailed(_, source) => source.kind(),
        AddressError::NoAddress(_) => ErrorKind::NotFound,
        AddressError::Unsupported(..) => ErrorKind::Unsupported,
        AddressError::Empty(_) | AddressError::UnknownScheme(_) | AddressError::NoPort(_) => ErrorKind::InvalidInput,
        AddressError::PortOutOfRange(_) | AddressError::TooManyColons(_) => ErrorKind::InvalidInput,
        AddressError::BadHost(_) | AddressError::NoHost(..) | AddressError::FamilyMismatch(_) => {
            ErrorKind::InvalidInput
        }
        AddressError::PathTooLong { .. } | AddressError::ControlCharacter(_) => ErrorKind::InvalidInput,
        AddressError::UnknownService(_) | AddressError::NoTarget(_) => ErrorKind::InvalidInput,
        AddressError::WrongKind(..) => ErrorKind::InvalidInput,
    }
}

impl From<Error> for io::Error {
    /// For functions that return `io::Result`, such as a blocking handler that is a client of another server. The kind is
    /// [`Error::kind`], the text the same, and the error itself is what `get_ref` and `into_inner` give: a number of the
    /// system is to be found in its source.
    ///
    /// ```
    /// use std::io::{self, Read, Write};
    /// use std::time::Duration;
    /// use windlass::{BlockingConfig, Client, Server};
    /// # fn main() -> Result<(), windlass::Error> {
    /// let relay = Server::builder()
    ///     .address("tcp://127.0.0.1:0".parse()?)
    ///     .blocking_handler(BlockingConfig::default(), |reader, mut writer| -> io::Result<()> {
    ///         let behind = Client::builder("tcp://127.0.0.1:7007".parse()?).build()?;
    ///         behind.connect(Duration::from_secs(5))?;
    ///         io::copy(&mut &reader, &mut &behind)?;
    ///         behind.shutdown_write()?;
    ///         io::copy(&mut &behind, &mut writer)?;
    ///         Ok(behind.close()?)
    ///     })
    ///     .build()?;
    /// # Ok(()) }
    /// ```
    fn from(error: Error) -> io::Error {
        io::Error::new(error.kind(), error)
    }
}

impl From<AddressError> for io::Error {
    /// `InvalidInput` for one that is no address, that of the lookup for one that could not be resolved.
    fn from(error: AddressError) -> io::Error {
        Error::Address(error).into()
    }
}

impl Reason {
    /// Whether a deadline ended the connection, be it one of [`Limits`](crate::Limits), a drain's, or the kernel's, which
    /// has had no answer from the peer for too long.
    pub fn is_timeout(self) -> bool {
        self.kind() == ErrorKind::TimedOut
    }

    /// Which kind of error it is of a read or write that comes too late.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Reason::Local | Reason::Aborted | Reason::Drain | Reason::Detached => ErrorKind::NotConnected,
            Reason::ReactorDropped => ErrorKind::NotConnected,
            Reason::PeerClosed => ErrorKind::BrokenPipe,
            Reason::Reset => ErrorKind::ConnectionReset,
            Reason::Truncated | Reason::FileTruncated => ErrorKind::UnexpectedEof,
            Reason::Refused | Reason::SelfConnected => ErrorKind::ConnectionRefused,
            Reason::Unreachable => ErrorKind::HostUnreachable,
            Reason::Unresolved => ErrorKind::NotFound,
            Reason::Tls(_) => ErrorKind::InvalidData,
            Reason::Timeout(_) | Reason::Unresponsive => ErrorKind::TimedOut,
            // ETIMEDOUT of a connection is `Unresponsive`; EAGAIN here is a lack of something.
            Reason::Os(errno) | Reason::FileUnreadable(errno) => {
                match io::Error::from_raw_os_error(errno.into()).kind() {
                    ErrorKind::TimedOut | ErrorKind::WouldBlock => ErrorKind::Other,
                    kind => kind,
                }
            }
            Reason::InboxLimit | Reason::QueueLimit | Reason::HandlerPanicked | Reason::Bug => ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Expiry, TlsFault};
    use crate::framing::FrameError;
    use std::error::Error as _;

    fn all(source: fn() -> io::Error, reason: Reason) -> Vec<Error> {
        let at = || Box::new("tcp://127.0.0.1:80".parse().expect("an address"));
        let (what, why, action) = ("x".to_owned(), "x", "x");
        vec![
            Error::Address(AddressError::ResolutionFailed("x".to_owned(), source())),
            Error::Listen { address: at(), source: source() },
            Error::PathTaken { address: at(), what: "x" },
            Error::Transport { address: at(), why },
            Error::Config { field: "x", value: what.clone(), why },
            Error::Tls { what: what.clone(), why: what.clone() },
            Error::Descriptor { action, source: source() },
            Error::Full { asked: 1, room: 1 },
            Error::TooLong { asked: 1, limit: 1 },
            Error::Connect { address: at(), source: source() },
            Error::Group { action, group: [224, 0, 0, 1].into(), source: source() },
            Error::Oversize { bytes: 1, limit: 1 },
            Error::QueueFull { bytes: 1, datagrams: 1 },
            Error::Unanswerable,
            Error::NoPeer,
            Error::NotOpen,
            Error::Need { asked: 1, limit: 1 },
            Error::Frame(FrameError::PayloadTooLong { limit: 1, length: 2 }),
            Error::Connections { limit: 1 },
            Error::Draining,
            Error::Gone,
            Error::MailboxFull { limit: 1, unit: "commands" },
            Error::ReactorGone,
            Error::NotDriven,
            Error::CallbackPanicked { callback: "x" },
            Error::Broken { address: at(), reason, detail: None },
            Error::Exchange { address: at(), source: source() },
            Error::NotConnected,
            Error::Cancelled,
            Error::Connecting,
            Error::AlreadyStarted,
            Error::ServerGone,
            Error::Thread { name: what.clone(), source: source() },
            Error::ThreadDied { name: what.clone() },
            Error::ThreadFailed { name: what, source: source() },
            Error::OnReactorThread,
            Error::Poll(source()),
        ]
    }

    /// A word for each, so that the table below is read.
    fn word(error: &Error) -> String {
        format!("{error:?}").split([' ', '(', '{']).next().expect("a name").to_owned()
    }

    /// A timeout took five shapes, and nothing asked for all of them.
    #[test]
    fn a_timeout_is_one_in_whatever_shape_it_comes() {
        let timed_out: fn() -> io::Error = || io::Error::new(ErrorKind::TimedOut, "late");
        let said = |errors: Vec<Error>| errors.iter().filter(|error| error.is_timeout()).map(word).collect::<Vec<_>>();
        let always = ["NotDriven"];
        let of_reads = ["NotDriven", "Exchange"];
        let late = ["Address", "Connect", "NotDriven", "Broken", "Exchange"];
        let write_stall = Reason::Timeout(Expiry::WriteStall);
        assert_eq!(said(all(timed_out, write_stall)), late);
        assert_eq!(said(all(|| ErrorKind::WouldBlock.into(), Reason::Local)), of_reads);
        // EAGAIN is what a system says that has no more threads.
        let raw = || io::Error::from_raw_os_error(rustix::io::Errno::AGAIN.raw_os_error());
        assert_eq!(said(all(raw, Reason::Local)), of_reads);
        assert_eq!(said(all(|| ErrorKind::ConnectionReset.into(), Reason::Reset)), always);
        // What an `io::Error` was made of is asked, through several of them.
        for error in all(timed_out, write_stall) {
            let (is_timeout_itself, address) = (error.is_timeout(), Box::new("unix:/a".parse().expect("an address")));
            let made = io::Error::from(error);
            assert_eq!(is_timeout(&made), is_timeout_itself);
            assert_eq!(Error::Exchange { address, source: made }.is_timeout(), is_timeout_itself);
        }
    }

    #[test]
    fn reasons_that_are_timeouts_are_those_of_deadlines_and_of_a_silent_peer() {
        let expiries = [
            Expiry::Connect,
            Expiry::Handshake,
            Expiry::Idle,
            Expiry::WriteStall,
            Expiry::Lifetime,
            Expiry::Linger,
            Expiry::Drain,
        ];
        let mut timeouts: Vec<Reason> = expiries.into_iter().map(Reason::Timeout).collect();
        timeouts.push(Reason::Unresponsive);
        assert!(timeouts.iter().all(|reason| reason.is_timeout()), "{timeouts:?}");
        let again = 11;
        let others = [
            Reason::PeerClosed,
            Reason::Local,
            Reason::Aborted,
            Reason::Reset,
            Reason::Refused,
            Reason::Unreachable,
            Reason::Unresolved,
            Reason::SelfConnected,
            Reason::InboxLimit,
            Reason::QueueLimit,
            Reason::Drain,
            Reason::HandlerPanicked,
            Reason::Detached,
            Reason::ReactorDropped,
            Reason::Truncated,
            Reason::Tls(TlsFault::BadRecord),
            Reason::FileTruncated,
            Reason::FileUnreadable(again),
            Reason::Os(again),
            Reason::Bug,
        ];
        assert!(!others.iter().any(|reason| reason.is_timeout()), "{others:?}");
        let kinds: std::collections::HashSet<_> = timeouts.iter().chain(&others).map(|reason| reason.index()).collect();
        let of_tls = Reason::KINDS - kinds.len();
        assert_eq!(of_tls + 1, TlsFault::KINDS, "a kind of reason without a place in this test");
    }

    #[test]
    fn an_io_error_keeps_the_kind_the_text_and_the_source() {
        let source: fn() -> io::Error = || io::Error::from_raw_os_error(rustix::io::Errno::CONNREFUSED.raw_os_error());
        for error in all(source, Reason::Reset) {
            let (kind, text, word) = (error.kind(), error.to_string(), word(&error));
            let source = error.source().map(ToString::to_string);
            let made = io::Error::from(error);
            assert_eq!((made.kind(), made.to_string()), (kind, text), "{word}");
            assert_eq!(made.source().map(ToString::to_string), source, "{word}");
            let back = made.into_inner().and_then(|inner| inner.downcast::<Error>().ok());
            assert_eq!(back.map(|error| self::word(&error)), Some(word));
        }
        let at = || Box::new("tcp://127.0.0.1:80".parse().expect("an address"));
        for (error, kind) in [
            (Error::Connect { address: at(), source: source() }, ErrorKind::ConnectionRefused),
            (Error::Broken { address: at(), reason: Reason::Reset, detail: None }, ErrorKind::ConnectionReset),
            (Error::Broken { address: at(), reason: Reason::PeerClosed, detail: None }, ErrorKind::BrokenPipe),
            (Error::Broken { address: at(), reason: Reason::Timeout(Expiry::Idle), detail: None }, ErrorKind::TimedOut),
            (
                Error::Broken { address: at(), reason: Reason::Tls(TlsFault::NotTls), detail: None },
                ErrorKind::InvalidData,
            ),
            (Error::Config { field: "x", value: String::new(), why: "x" }, ErrorKind::InvalidInput),
            (Error::NotConnected, ErrorKind::NotConnected),
        ] {
            assert_eq!(io::Error::from(error).kind(), kind);
        }
        let parsed = "nonsense".parse::<crate::address::Address>().expect_err("no address");
        assert_eq!(io::Error::from(parsed).kind(), ErrorKind::InvalidInput);
    }
}
