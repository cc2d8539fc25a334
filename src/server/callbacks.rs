//! A server's callbacks, and the events that one of them gets.
//!
//! Owns how they are called: a panic in one is reported to the error callback and ends nothing.

use crate::address::Address;
use crate::error::{Error, ServerError};
use crate::handler::{ConnState, PauseCause, guarded};
use crate::mailbox::{Driving, Report};
use crate::message::Undelivered;
use crate::seldom::Seldom;
use std::panic::resume_unwind;
use std::sync::Arc;

/// Something that happened to a server. Its text is what people log.
///
/// ```
/// use windlass::{Server, ServerEvent};
/// let builder = Server::builder().on_event(|event| match event {
///     ServerEvent::Drained(report) => println!("{report}"),
///     event => println!("{event}"),
/// });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// It listens at this address, with the port that the system chose.
    Listening(Address),
    /// Accepting at this address pauses until something comes free.
    AcceptPaused(Address, PauseCause),
    /// It goes on.
    AcceptResumed(Address),
    /// All threads of the blocking handler are busy, so many: connections are accepted and wait until one is free. Told
    /// once, until `ThreadsFree`.
    ThreadsBusy {
        /// [`BlockingConfig::threads_max`](crate::BlockingConfig::threads_max), or fewer if the system has no more.
        threads: usize,
    },
    /// As many connections as may are served or wait for a thread of the blocking handler: more are closed at once. Told
    /// once, until `ThreadsFree`.
    ThreadsFull {
        /// How many there are, those in their TLS handshake among them.
        connections: usize,
    },
    /// No connection waits for a thread any more, nor had to for a second. Not told once the server drains.
    ThreadsFree {
        /// How many were refused meanwhile.
        refused: u64,
    },
    /// The server was asked to stop: nothing new is accepted.
    Draining,
    /// All connections have ended, or were cut.
    Drained(Report),
    /// The server is gone.
    Gone,
}

impl std::fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServerEvent::Listening(address) => write!(f, "listening on {address}"),
            ServerEvent::AcceptPaused(address, cause) => write!(f, "accepting on {address} pauses: {cause}"),
            ServerEvent::AcceptResumed(address) => write!(f, "accepting on {address} goes on"),
            ServerEvent::ThreadsBusy { threads } => write!(
                f,
                "all {threads} threads of the blocking handler are busy, and connections wait; raise threads_max"
            ),
            ServerEvent::ThreadsFull { connections } => write!(
                f,
                "{connections} connections are served or wait for a thread, and more are refused; raise threads_max or \
                 waiting_max"
            ),
            ServerEvent::ThreadsFree { refused } => {
                write!(f, "no connection waits for a thread any more; {refused} were refused meanwhile")
            }
            ServerEvent::Draining => f.write_str("draining"),
            ServerEvent::Drained(report) => write!(f, "drained: {report}"),
            ServerEvent::Gone => f.write_str("gone"),
        }
    }
}

type OnError = dyn Fn(&ServerError) + Send + Sync;
type OnState = dyn Fn(&Address, Option<&Address>, ConnState) + Send + Sync;
type OnEvent = dyn Fn(&ServerEvent) + Send + Sync;
type OnUndelivered = dyn Fn(Undelivered, &Error) + Send + Sync;

/// A server's callbacks.
#[derive(Clone, Default)]
pub(super) struct Callbacks {
    pub(super) error: Option<Arc<OnError>>,
    pub(super) state: Option<Arc<OnState>>,
    pub(super) event: Option<Arc<OnEvent>>,
    pub(super) undelivered: Option<Arc<OnUndelivered>>,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

impl Callbacks {
    pub(super) fn tell_error(&self, error: &ServerError) {
        log::debug!("server: {error}");
        if let Some(call) = &self.error {
            let _driving = Driving::callback();
            if guarded(|| call(error)).is_none() {
                static PANICKED: Seldom = Seldom::new();
                if let Some(missed) = PANICKED.passes() {
                    log::error!("server: the error callback panicked{missed}");
                }
            }
        }
    }

    /// Reports what a call returns, or a thread ended with; gives it back.
    pub(super) fn tell_failure(&self, error: Error) -> Error {
        let told = ServerError::Server(error);
        self.tell_error(&told);
        let ServerError::Server(error) = told else { unreachable!("it was made here") };
        error
    }

    pub(super) fn tell_event(&self, event: &ServerEvent) {
        let level = match event {
            ServerEvent::ThreadsBusy { .. } | ServerEvent::ThreadsFull { .. } => log::Level::Warn,
            ServerEvent::Listening(_)
            | ServerEvent::AcceptPaused(..)
            | ServerEvent::AcceptResumed(_)
            | ServerEvent::ThreadsFree { .. }
            | ServerEvent::Draining
            | ServerEvent::Drained(_)
            | ServerEvent::Gone => log::Level::Info,
        };
        log::log!(level, "server: {event}");
        if let Some(call) = &self.event {
            let _driving = Driving::callback();
            if guarded(|| call(event)).is_none() {
                self.tell_error(&ServerError::CallbackPanicked { callback: "on_event" });
            }
        }
    }

    /// Runs a callback that the user's [`Accept`] has. Its panic is told here, and goes on to the reactor, which counts it.
    pub(super) fn run<T>(&self, callback: &'static str, call: impl FnOnce() -> T) -> T {
        guarded(call).unwrap_or_else(|| {
            self.tell_error(&ServerError::CallbackPanicked { callback });
            resume_unwind(Box::new(callback))
        })
    }

    /// As `run`: its panic goes on to the reactor, which counts it.
    pub(super) fn tell_undelivered(&self, what: Undelivered, why: &Error) {
        if let Some(call) = &self.undelivered {
            self.run("on_undelivered", || call(what, why));
        }
    }

    pub(super) fn tell_state(&self, local: &Address, remote: Option<&Address>, state: ConnState) {
        if let Some(call) = &self.state {
            let _driving = Driving::callback();
            if guarded(|| call(local, remote, state)).is_none() {
                self.tell_error(&ServerError::CallbackPanicked { callback: "on_state" });
            }
        }
    }
}
