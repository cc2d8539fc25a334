//! Everything that has a token, behind one way in and one word out.
//!
//! Owns the closed set of sources. A source is driven with a [`Cause`] and answers with a `Next`; a source that answered
//! `Wait` has, in every direction it still wants, seen the kernel say that it would block (A1).

pub(crate) mod acceptor;
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod watch;

use crate::clock::Tick;
use crate::command::Order;
use crate::command::batch::Batch;
use crate::context::Context;
use crate::handler::Next;
use crate::id::SourceId;
use crate::link::buffers::Scratch;
use crate::link::handshake::OffloadedSession;
use crate::net::Readiness;
use crate::net::datagram::arrivals::Arrivals;
use crate::placement::Handoff;
use acceptor::Acceptor;
use connection::Connection;
use endpoint::Endpoint;
use watch::Watch;

/// Why a source is driven.
pub(crate) enum Cause {
    /// The kernel reported it.
    Ready(Readiness),
    /// It said `Again`, or another callback changed it.
    Again,
    /// Its deadline is past.
    Expired,
    /// It is told something.
    Order(Order),
    /// It is told several things.
    Orders(Batch),
    /// Its handshake may take its next step.
    Step,
    /// Its handshake's next step may go to another thread.
    Offload,
    /// It was taken there.
    OffloadDone(Box<OffloadedSession>),
    /// A listener: another reactor has accepted this for it.
    Arrived(Box<Handoff>),
}

/// Something with a token.
pub(crate) enum Source {
    Acceptor(Box<Acceptor>),
    Connection(Connection),
    /// `None` while an event drives it: a place is as large as a connection, and only the box leaves it.
    Endpoint(Option<Box<Endpoint>>),
    Watch(Box<Watch>),
}

impl Source {
    /// Does what `cause` asks for; user code runs in here and nowhere else.
    // It has one caller, the loop, and a call there is 14 instructions an event.
    #[inline(always)]
    pub(crate) fn drive(
        &mut self,
        id: SourceId,
        cause: Cause,
        scratch: &mut Scratch,
        arrivals: &mut Arrivals,
        cx: &mut Context<'_>,
    ) -> Next {
        match self {
            Source::Connection(connection) => connection.drive(id, cause, scratch, cx),
            Source::Acceptor(acceptor) => acceptor.drive(id, cause, cx),
            Source::Endpoint(Some(endpoint)) => endpoint.drive(id, cause, arrivals, cx),
            // It is being driven.
            Source::Endpoint(None) => Next::Wait,
            Source::Watch(watch) => watch.drive(cause, cx),
        }
    }

    /// What it is called where it is told of.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Source::Connection(_) => "connection",
            Source::Acceptor(_) => "listener",
            Source::Endpoint(_) => "endpoint",
            Source::Watch(_) => "watch",
        }
    }

    /// Whether what its peers have sent was shown, as far as is known, and more than `beyond` bytes of an accepted connection.
    pub(crate) fn is_heard(&self, beyond: u64) -> bool {
        match self {
            Source::Connection(connection) => connection.is_heard(beyond),
            Source::Endpoint(endpoint) => endpoint.as_ref().is_none_or(|endpoint| endpoint.is_heard()),
            Source::Acceptor(_) | Source::Watch(_) => true,
        }
    }

    /// When it wants to be driven at the latest.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        match self {
            Source::Connection(connection) => connection.deadline(),
            Source::Acceptor(acceptor) => acceptor.deadline(),
            Source::Endpoint(endpoint) => endpoint.as_ref()?.deadline(),
            Source::Watch(_) => None,
        }
    }
}
