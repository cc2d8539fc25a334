//! A readiness-based event loop with sockets and TLS, on mio, without an async runtime.
//!
//! A [`Reactor`] owns listeners, connections and watched descriptors on one thread and calls a [`Handler`] for each
//! connection. Everything that waits is bounded; everything that is bounded says so. `ARCHITECTURE.md` in the repository
//! tells how it works, and the [`guide`] how to work with it, a subject a page.
#![forbid(unsafe_code)]

mod address;
mod blocking;
mod client;
mod clock;
mod command;
mod config;
mod conn;
mod connector;
mod context;
mod cores;
mod counters;
mod datagrams;
mod dial;
#[cfg(feature = "serde")]
mod document;
mod engine;
mod error;
pub mod framing;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(any(not(doctest), feature = "aws-lc-rs"))]
pub mod guide;
mod handler;
mod id;
mod link;
mod mailbox;
mod message;
mod net;
mod placement;
mod platform;
mod post;
mod reactor;
mod seldom;
mod server;
mod settings;
mod shown;
mod source;
#[cfg(feature = "tls")]
pub mod tls;

pub use address::{Address, AddressError, Family, Transport};
pub use blocking::BlockingLink;
pub use bytes::Bytes;
pub use client::{AfterRequest, Client, ClientBuilder};
pub use config::accepted::PrepareAccepted;
pub use config::datagram::{
    Broadcast, DatagramConfig, Fragmentation, Group, IcmpErrors, Interface, Loopback, Multicast, Offload,
};
pub use config::{ConnectConfig, Keepalive, Limits, ListenConfig, Nodelay, ReactorConfig, Reuse, SocketOptions, Stack};
pub use conn::{Conn, Other};
pub use connector::{Connector, ConnectorBuilder, ConnectorState, WeakConnector};
pub use context::{Context, TimerId};
pub use counters::{ConnStats, Counters, DatagramStats};
pub use datagrams::{Datagram, Datagrams, OtherEndpoint};
pub use dial::backoff::Backoff;
pub use dial::resolver::Resolver;
pub use engine::{BoundEndpoints, Engine, EngineConfig, Listening, Pinning};
pub use error::{Error, Expiry, Reason, TlsFault, is_timeout};
pub use handler::{
    Accept, AcceptEvent, Admission, ConnState, DatagramHandler, Handler, Next, PauseCause, Peer, WatchHandler,
    handler_fn,
};
pub use id::{ConnId, EndpointId, ListenerId, WatchId};
#[cfg(feature = "tls")]
pub use link::session::TlsInfo;
pub use link::{Behind, Link, Parts};
pub use mailbox::{Health, Remote, Report, Unadopted, Unsent};
pub use message::{Message, Undelivered, Untold};
pub use net::datagram::arrivals::Ecn;
pub use net::datagram::peer::DatagramPeer;
pub use net::datagram::{Receiving, Sending};
pub use net::{Direction, PeerCredentials, Readiness, TcpInfo, raise_descriptor_limit};
pub use placement::Placement;
pub use post::DatagramError;
pub use reactor::{Reactor, Status};
#[cfg(feature = "tls")]
pub use rustls;
#[cfg(feature = "signals")]
pub use server::Signals;
pub use server::{BlockingConfig, Reader, Server, ServerBuilder, ServerEvent, WeakServer, Writer};
pub use settings::{ClientConfig, ServerConfig};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use tls::plain::{CertPair, Roots, SessionTickets, TlsClientConfig, TlsServerConfig, TlsTerms};
#[cfg(feature = "tls")]
pub use tls::{TlsClient, TlsServer, Truncation};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use tls::{TlsClientBuilder, TlsServerBuilder};

/// The code in README.md compiles.
#[cfg(all(doctest, feature = "aws-lc-rs"))]
#[doc = include_str!("../README.md")]
struct Readme;
