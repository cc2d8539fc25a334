//! Connecting: names, addresses, attempts, and which of them becomes the connection.
//!
//! Owns the plan of a connect and what is told of it. What is done when is [`Race`](race::Race)'s to say. Reactors carry it out in
//! `source/connection/dialling.rs`, threads that wait in `client/dialling.rs`.

pub(crate) mod backoff;
pub(crate) mod race;
pub(crate) mod resolver;

use crate::address::{Address, AddressError};
use crate::clock::Tick;
use crate::config::ConnectConfig;
use crate::context::Context;
use crate::error::{Error, Expiry, Reason};
use crate::handler::{Handler, guarded};
use crate::id::SourceId;
use crate::link::Link;
use crate::link::session::Session;
use crate::net::stream::{Stream, Target, Watched};
use race::{Attempt, Failed, Race};
use resolver::{Resolver, Ticket};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Instant;

/// What is connected to, and how.
pub(crate) struct Plan {
    pub(crate) address: Address,
    pub(crate) config: ConnectConfig,
    pub(crate) resolver: Resolver,
    /// Addresses to be tried last.
    pub(crate) shunned: Vec<SocketAddr>,
    pub(crate) watcher: Option<Watcher>,
}

/// Is told how a connect comes along, on the reactor's thread.
pub(crate) type Watcher = Box<dyn FnMut(Progress, &mut Context<'_>)>;

/// What a connect does.
pub(crate) enum Progress {
    /// The addresses of its name are looked up.
    Looking,
    /// An attempt begins.
    Trying(Target),
    /// It is over, with the error if it failed, and with the addresses that are to be tried last next time.
    Over(Vec<SocketAddr>, Option<Error>),
}

/// A connect of a reactor under way, and who waits for it.
pub(crate) struct Dial {
    pub(crate) plan: Plan,
    pub(crate) handler: Box<dyn Handler>,
    pub(crate) race: Race<Failure>,
    /// A socket for the next attempt: where the address was known when the connect began, and of one that found a full backlog.
    pub(crate) spare: Option<Stream>,
    pub(crate) tickets: Vec<Ticket>,
    pub(crate) attempts: Vec<(Attempt, SourceId)>,
    /// The link of the attempt that won, and what the kernel was asked to report of it.
    pub(crate) winner: Option<(Link, Option<Watched>)>,
    /// When something is to be done at the latest.
    pub(crate) wake: Tick,
    /// When the last attempt began, and which.
    pub(crate) begun: (Tick, Option<Attempt>),
}

impl Dial {
    pub(crate) fn tell(&mut self, progress: Progress, cx: &mut Context<'_>) {
        if let Some(watcher) = &mut self.plan.watcher {
            if guarded(|| watcher(progress, cx)).is_none() {
                cx.state.counters.panics += 1;
            }
        }
    }
}

/// One attempt of a connect, in a place of its own in the table.
pub(crate) struct Trial {
    pub(crate) dial: SourceId,
    pub(crate) attempt: Attempt,
    /// Where to connect, until that has begun.
    pub(crate) target: Option<Target>,
    /// Why it was not connected: what the system said, or that a Unix backlog is full.
    pub(crate) unmade: Option<Result<(), io::Error>>,
}

/// Why there is no connection.
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    pub(crate) error: Error,
    /// What knows more of it.
    pub(crate) session: Option<Box<Session>>,
}

impl Failure {
    pub(crate) fn of(reason: Reason, error: Error) -> Failure {
        Failure { reason, error, session: None }
    }
}

/// What an attempt came to.
pub(crate) enum Outcome {
    /// It is ready, with TLS its handshake done.
    Ready(Box<Link>, Option<Watched>),
    /// Its Unix backlog is full; the socket may try again.
    Busy(Stream),
    /// It failed before it was connected.
    Unmade(Reason, io::Error),
    /// It was connected, and then failed, or ended.
    Broken(Reason, Option<String>, Option<Box<Session>>),
}

/// How a connect to `address` begins: a place that is known is tried, else its name is looked up.
pub(crate) fn race<E>(
    address: &Address,
    resolver: &Resolver,
    shunned: &[SocketAddr],
    now: Instant,
    until: Instant,
) -> Result<(Race<E>, Option<Target>), Error> {
    address.check_target()?;
    let known = match Target::unix(address) {
        Some(target) => Some(target.map_err(|source| refused(address, source))?),
        None if address.transport().is_unix() => return Err(AddressError::NoTarget(address.to_string()).into()),
        None => address.ip().map(Target::Ip),
    };
    let race = match &known {
        Some(target) => Race::to(target.clone(), now, until),
        None => Race::among(resolver.families(address), shunned.to_vec(), now, until),
    };
    Ok((race, known))
}

/// The error of a connect whose connection broke before it was ready.
pub(crate) fn broken(address: &Address, reason: Reason, detail: Option<String>) -> Error {
    Error::Broken { address: Box::new(address.clone()), reason, detail }
}

/// The error of a connect that the system refused.
pub(crate) fn refused(address: &Address, source: io::Error) -> Error {
    Error::Connect { address: Box::new(address.clone()), source }
}

/// The error of a connect that failed, with the number of addresses that were tried, if they were several. `late` is what its
/// attempts were in at the deadline.
pub(crate) fn failure(failed: Failed<Error>, address: &Address, deadline: &str, late: Expiry) -> Error {
    let timed_out = |what| refused(address, io::Error::new(ErrorKind::TimedOut, format!("{what} within {deadline}")));
    match failed {
        Failed::Unresolved => timed_out("its name was not looked up".to_owned()),
        Failed::Late(tried) if late == Expiry::Handshake => {
            counted(broken(address, Reason::Timeout(Expiry::Handshake), None), tried)
        }
        Failed::Late(1) => timed_out("nobody answered".to_owned()),
        Failed::Late(tried) => timed_out(format!("none of {tried} addresses answered")),
        Failed::Last(error, tried) => counted(error, tried),
    }
}

/// The error of the last of so many addresses.
fn counted(error: Error, tried: usize) -> Error {
    let last = format!("the last of {tried} addresses that were tried");
    match error {
        Error::Connect { address, source } if tried > 1 => {
            Error::Connect { address, source: io::Error::new(source.kind(), format!("{source} ({last})")) }
        }
        Error::Broken { address, reason, detail } if tried > 1 => {
            let detail = detail.map_or(last.clone(), |detail| format!("{detail}; {last}"));
            Error::Broken { address, reason, detail: Some(detail) }
        }
        error => error,
    }
}
