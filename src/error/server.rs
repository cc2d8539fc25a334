//! What `on_error` of a server is called with: failures that no call returns.
//!
//! Owns the type and its kinds.

use crate::address::Address;
use crate::error::{Error, Reason, is_timeout};
use std::io::{self, ErrorKind};

/// A failure of a server, one of its connections or a callback; [`ServerBuilder::on_error`](crate::ServerBuilder::on_error)
/// is called with each once.
///
/// ```
/// use windlass::{Reason, Server, ServerError};
/// let builder = Server::builder().on_error(|error| match error {
///     ServerError::Connection { reason: Reason::Reset, .. } => {} // ordinary on the Internet
///     error => eprintln!("{error}"),
/// });
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server could not start or go on: an address could not be bound, or a thread was not started, has panicked or
    /// failed. [`Server::listen`](crate::Server::listen) returns what it fails with as well.
    #[error(transparent)]
    Server(Error),
    /// A connection failed, or was never established.
    #[error("connection {}to {local}: {}", of(.peer), .reason.with_detail(.detail.as_deref()))]
    Connection {
        /// Where it was accepted.
        local: Box<Address>,
        /// Where it came from, if that has an address.
        peer: Option<Box<Address>>,
        /// Why it ended.
        reason: Reason,
        /// What is known beyond the reason, see [`Reason::with_detail`].
        detail: Option<String>,
    },
    /// `prepare_accepted` refused a connection, which was closed.
    #[error("connection {}to {local} was refused by prepare_accepted: {source}", of(.peer))]
    Unprepared {
        /// Where it was accepted.
        local: Box<Address>,
        /// Where it came from, if that has an address.
        peer: Option<Box<Address>>,
        /// What the hook returned.
        source: io::Error,
    },
    /// A blocking handler ended with an error.
    #[error("connection {}to {local}: its handler: {source}", of(.peer))]
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
        kind: ErrorKind,
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
}

fn of(peer: &Option<Box<Address>>) -> String {
    peer.as_ref().map(|peer| format!("of {peer} ")).unwrap_or_default()
}

impl ServerError {
    /// Whether something took longer than it may; as [`Error::is_timeout`].
    pub fn is_timeout(&self) -> bool {
        match self {
            ServerError::Server(error) => error.is_timeout(),
            ServerError::Served { source, .. } => is_timeout(source),
            ServerError::Connection { reason, .. } => reason.is_timeout(),
            ServerError::Datagram { kind, .. } => *kind == ErrorKind::TimedOut,
            ServerError::Unprepared { .. } | ServerError::Accept { .. } | ServerError::CallbackPanicked { .. } => false,
        }
    }

    /// Which kind of error of input and output it is: that of the system's error where there is one, else the nearest.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ServerError::Server(error) => error.kind(),
            ServerError::Connection { reason, .. } => reason.kind(),
            ServerError::Unprepared { source, .. } | ServerError::Served { source, .. } => source.kind(),
            ServerError::Accept { source, .. } => source.kind(),
            ServerError::Datagram { kind, .. } => *kind,
            ServerError::CallbackPanicked { .. } => ErrorKind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Expiry;

    #[test]
    fn a_timeout_is_one_whoever_reports_it() {
        let at = || Box::new("tcp://127.0.0.1:80".parse().expect("an address"));
        let source = || io::Error::from(ErrorKind::TimedOut);
        let reason = Reason::Timeout(Expiry::WriteStall);
        let late = [
            ServerError::Server(Error::NotDriven),
            ServerError::Connection { local: at(), peer: None, reason, detail: None },
            ServerError::Served { local: at(), peer: Some(at()), source: source() },
            ServerError::Datagram { address: at(), what: String::from("x"), kind: ErrorKind::TimedOut },
        ];
        for error in late {
            assert!(error.is_timeout() && error.kind() == ErrorKind::TimedOut, "{error}");
        }
        let others = [
            ServerError::Server(Error::Draining),
            ServerError::Connection { local: at(), peer: None, reason: Reason::Reset, detail: None },
            ServerError::Served { local: at(), peer: None, source: ErrorKind::ConnectionReset.into() },
            ServerError::Unprepared { local: at(), peer: None, source: source() },
            ServerError::Accept { address: at(), source: source() },
            ServerError::CallbackPanicked { callback: "x" },
        ];
        assert!(!others.iter().any(ServerError::is_timeout));
    }
}
