//! What can keep a write or a datagram from being taken: the few of all errors that such a call returns.
//!
//! Owns both types. Their texts and kinds are those of the `Error` that each becomes by `?`.

use crate::address::Address;
use crate::error::Error;
use crate::framing::FrameError;
use std::fmt;
use std::io;
use std::ops::Range;

/// A write to a connection was refused, and nothing of it was queued. By `?` it becomes an [`Error`] or `io::Error`.
///
/// ```
/// use windlass::{Conn, WriteError};
/// fn reply(conn: &mut Conn<'_>, answer: &[u8]) -> bool {
///     match conn.write(answer) {
///         Ok(()) => true,
///         Err(WriteError::Full { .. }) => false, // again in `on_writable`
///         Err(_) => {
///             conn.abort();
///             false
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The output queue has no room for all of it now; `on_writable` or `on_close` follows.
    Full {
        /// How many bytes were to be written.
        asked: usize,
        /// How many would have been taken.
        room: usize,
    },
    /// The output queue is too small for all of it, even when empty; nothing follows.
    TooLong {
        /// How many bytes were to be written.
        asked: usize,
        /// `Limits::outbox_bytes_max`.
        limit: usize,
    },
    /// The connection takes no output: it is not open yet, finished, closing or closed.
    NotOpen,
    /// This reactor has no such connection (already closed). Only writes to another connection return it.
    Gone,
    /// `send_file` was given a range that ends before it starts, or beyond what a file can hold.
    Range(Range<u64>),
    /// The payload cannot be written as one frame; only writers of [`framing`](crate::framing) return it.
    Frame(FrameError),
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Error {
        match error {
            WriteError::Full { asked, room } => Error::Full { asked, room },
            WriteError::TooLong { asked, limit } => Error::TooLong { asked, limit },
            WriteError::NotOpen => Error::NotOpen,
            WriteError::Gone => Error::Gone,
            WriteError::Frame(error) => Error::Frame(error),
            WriteError::Range(Range { start, end }) => {
                let why = "it must not end before it starts, nor beyond what a file can hold";
                Error::Config { field: "range", value: format!("{start}..{end}"), why }
            }
        }
    }
}

impl From<FrameError> for WriteError {
    fn from(error: FrameError) -> WriteError {
        WriteError::Frame(error)
    }
}

/// A datagram was refused, and not queued. By `?` it becomes an [`Error`] or `io::Error`.
///
/// ```
/// use windlass::{Datagram, Datagrams, SendError};
/// fn reply(sock: &mut Datagrams<'_>, to: &Datagram<'_>, answer: &[u8]) {
///     match sock.send_to(to.from, answer) {
///         Ok(()) | Err(SendError::QueueFull { .. } | SendError::Unanswerable) => {} // dropped, as the network may do
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// So many datagrams wait that no more are taken; `on_writable` or `on_close` follows.
    QueueFull {
        /// Bytes that wait.
        bytes: usize,
        /// Datagrams that wait.
        datagrams: usize,
    },
    /// It is longer than its socket can send.
    Oversize {
        /// How long it is.
        bytes: usize,
        /// The longest that can be sent.
        limit: usize,
    },
    /// The peer has no address, or one that cannot be sent to: port 0, `0.0.0.0` or `[::]`.
    Unanswerable,
    /// The socket is of another kind or IP version than this peer.
    OtherKind(Box<Address>),
    /// The socket is not connected: only [`send_to`](crate::Datagrams::send_to) can send.
    NoPeer,
    /// The socket is not bound yet, closing or closed.
    NotOpen,
    /// This reactor has no such socket (already closed). Only sends by [`OtherEndpoint`](crate::OtherEndpoint) return it.
    Gone,
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Error {
        match error {
            SendError::QueueFull { bytes, datagrams } => Error::QueueFull { bytes, datagrams },
            SendError::Oversize { bytes, limit } => Error::Oversize { bytes, limit },
            SendError::Unanswerable => Error::Unanswerable,
            SendError::OtherKind(address) => Error::Transport {
                address,
                why: "the socket is of another kind or IP version; send from one of that peer's",
            },
            SendError::NoPeer => Error::NoPeer,
            SendError::NotOpen => Error::NotOpen,
            SendError::Gone => Error::Gone,
        }
    }
}

macro_rules! as_error {
    ($($name:ident: $busy:literal,)*) => {$(
        impl $name {
            #[doc = concat!("The nearest kind of an error of input and output; `ResourceBusy` for `", $busy, "`.")]
            pub fn kind(&self) -> io::ErrorKind {
                Error::from(self.clone()).kind()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Error::from(self.clone()).fmt(f)
            }
        }

        impl std::error::Error for $name {}

        impl From<$name> for io::Error {
            fn from(error: $name) -> io::Error {
                Error::from(error).into()
            }
        }
    )*};
}

as_error! { WriteError: "Full", SendError: "QueueFull", }
