//! What a reactor is told, and what one source is told.
//!
//! Owns the words only; the reactor carries them out. Everything new enters a reactor as one of these.

pub(crate) mod batch;

use crate::address::Family;
use crate::clock::Tick;
use crate::config::{Limits, ListenConfig};
use crate::conn::Conn;
use crate::context::{Context, Sharing};
use crate::dial::race::Attempt;
use crate::dial::resolver::Found;
use crate::dial::{Dial, Outcome};
use crate::handler::{DatagramHandler, Handler, Maker, WatchHandler};
use crate::id::SourceId;
use crate::link::Link;
use crate::link::handshake::OffloadedSession;
use crate::mailbox::Remote;
use crate::message::Message;
use crate::net::datagram::peer::DatagramPeer;
use crate::net::listener::Listener;
use crate::net::watched::Foreign;
use crate::placement::Handoff;
use crate::post::Post;
use bytes::Bytes;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What one source is told.
pub(crate) enum Order {
    /// Queue these bytes.
    Send(Bytes),
    /// Show this to the handler.
    Tell(Message),
    /// An endpoint: queue this datagram, for its own peer if none is named.
    SendTo(Option<Box<DatagramPeer>>, Bytes),
    Finish,
    Close,
    Abort,
    /// A connection: stop delivering. A listener: stop accepting. An endpoint: stop receiving.
    Pause,
    Resume,
    /// The reactor drains.
    Drain,
    /// A connection: the reactor drains, and will not wait for a handshake for as long as it would else.
    Hurry,
    /// The drain's deadline is past.
    Cut,
    /// The reactor holds too many bytes, and this connection has kept some for the longest without progress.
    Relieve,
    /// The reactor is dropped.
    ReactorDropped,
    /// A listener, a watch or an endpoint: close it.
    Remove,
    /// A listener: give the socket back.
    Release(Box<dyn FnOnce(OwnedFd) + Send>),
    /// A listener: a descriptor or a place came free.
    CapacityAvailable,
    /// A listener: one of its connections that had left the reactor is over.
    SeatBack,
    /// A connect: what a lookup of that family found.
    Found(Family, Box<Found>),
    /// A connect: what one of its attempts came to.
    Raced(Attempt, Outcome),
    /// A listener: the reactor of this mailbox drains, and takes no more connections that are accepted here.
    Unfeed(Remote),
}

/// What another thread tells a reactor.
pub(crate) enum Command {
    Order(SourceId, Order),
    Run(Box<dyn FnOnce(&mut Context<'_>) + Send>),
    Adopt(Box<Link>, Adopter),
    /// A stream that was accepted by another reactor.
    Accepted(Box<Handoff>),
    /// A step of a handshake was taken on another thread.
    OffloadDone(SourceId, Box<OffloadedSession>),
    /// Drain, by when the mailbox knows: what was sent before comes first.
    Stop,
}

impl Command {
    /// Bytes that it carries, and that wait with it.
    pub(crate) fn bytes(&self) -> usize {
        let Command::Order(_, Order::Send(bytes) | Order::SendTo(_, bytes)) = self else { return 0 };
        bytes.len()
    }
}

/// Whether a listener is told how its connections come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    No,
    Yes,
}

/// Makes the handler of an adopted link on its new reactor.
pub(crate) type Adopter = Box<dyn FnOnce(&Conn<'_>) -> Box<dyn Handler> + Send>;

/// What a reactor's own thread tells it; the ids are reserved.
pub(crate) enum Local {
    Order(SourceId, Order),
    /// It was accepted and admitted, and is in its place.
    Begin(SourceId),
    Dial {
        id: SourceId,
        dial: Box<Dial>,
        limits: Arc<Limits>,
    },
    Adopt {
        id: SourceId,
        link: Box<Link>,
        handler: Box<dyn Handler>,
    },
    Listen {
        id: SourceId,
        /// `None`: its connections are handed to it by another reactor.
        listener: Option<Listener>,
        config: Box<ListenConfig>,
        maker: Box<dyn Maker>,
        sharing: Sharing,
    },
    Bind {
        id: SourceId,
        post: Box<Post>,
        handler: Box<dyn DatagramHandler>,
    },
    Watch {
        id: SourceId,
        foreign: Foreign,
        handler: Box<dyn WatchHandler>,
    },
    Shutdown {
        until: Tick,
    },
}

impl Local {
    /// Whether it is a step of a connect that another one may follow at once.
    pub(crate) fn is_of_dial(&self) -> bool {
        matches!(self, Local::Dial { .. } | Local::Order(_, Order::Raced(..)) | Local::Begin(_))
    }
}
