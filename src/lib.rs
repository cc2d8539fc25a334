//! A readiness-based event loop with sockets and TLS, on mio, without an async runtime.
//!
//! A [`Reactor`] owns listeners, connections, datagram sockets and watched descriptors on one thread, and calls a [`Handler`] for
//! each connection with the bytes that arrived. Every queue has a limit, everything that can hang can have a deadline, and every end
//! has a [`Reason`].
//!
//! ```no_run
//! use windlass::{Conn, Error, ListenConfig, Reactor, ReactorConfig, handler_fn};
//!
//! fn main() -> Result<(), Error> {
//!     let mut reactor = Reactor::new(ReactorConfig::default())?;
//!     let echo = |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data));
//!     reactor.listen(&"tcp://127.0.0.1:7007".parse()?, ListenConfig::default(), echo)?;
//!     reactor.run().map(drop)
//! }
//! ```
//!
//! The [`guide`] explains one subject a page. Start with [getting started](guide::getting_started) and
//! [writing a handler](guide::handlers). `ARCHITECTURE.md` in the repository says how the library works.
//!
//! # Which type for which task
//!
//! | to | use | guide |
//! |---|---|---|
//! | run one loop on this thread | [`Reactor`], [`ReactorConfig`] | [getting started](guide::getting_started) |
//! | run a whole server: several addresses and threads, limits, one end | [`Server`], [`ServerBuilder`] | [servers](guide::servers) |
//! | run several loops and place listeners yourself | [`Engine`], [`EngineConfig`], [`Placement`] | [many reactors](guide::many_reactors) |
//! | put a reactor into poll, epoll, calloop or tokio | [`Reactor::poll_once`], [`Reactor::next_deadline`] | [inside another loop](guide::embedding) |
//! | answer one connection | [`Handler`] or [`handler_fn`], and [`Conn`] | [handlers](guide::handlers) |
//! | accept, refuse or count connections | [`Accept`], [`Peer`], [`Admission`] | [servers](guide::servers) |
//! | find messages in a stream | [`framing`]: `Lines`, `Delimited`, `LengthPrefixed` | [framing](guide::framing) |
//! | slow down a fast peer, or wait for a slow one | [`Conn::pause`], [`Handler::on_writable`], [`Limits`] | [back-pressure](guide::back_pressure) |
//! | reach another connection of the same reactor | [`Conn::other`], [`ConnId`] | [handlers](guide::handlers) |
//! | share state between handlers | [`Context::local`], [`ServerBuilder::handler`] | [sharing state](guide::sharing) |
//! | send from another thread | [`Remote`] | [many reactors](guide::many_reactors) |
//! | serve each connection by a blocking thread | [`ServerBuilder::blocking_handler`], [`BlockingConfig`] | [servers](guide::servers) |
//! | connect from a reactor, once | [`Reactor::connect`], [`ConnectConfig`] | [getting started](guide::getting_started) |
//! | connect from a reactor and reconnect | [`Connector`], [`Backoff`] | [clients](guide::clients) |
//! | connect with blocking calls | [`Client`] | [clients](guide::clients) |
//! | move a connection between threads | [`Conn::detach`], [`Link`], [`BlockingLink`] | [many reactors](guide::many_reactors) |
//! | send and receive datagrams | [`DatagramHandler`], [`Datagrams`], [`DatagramConfig`] | [datagrams](guide::datagrams) |
//! | speak TLS, reload certificates, STARTTLS | [`ServerTls`], [`ClientTls`], the module [`tls`](mod@tls) | [TLS](mod@guide::tls) |
//! | send a file | [`Conn::send_file`] | [back-pressure](guide::back_pressure) |
//! | run something later | [`Conn::set_timer`], [`Context::after`] | [handlers](guide::handlers) |
//! | watch a descriptor of your own | [`Context::watch`], [`WatchHandler`] | [draining](guide::draining) |
//! | stop without losing replies | [`Server::shutdown`], [`Reactor::shutdown`], [`Report`] | [draining](guide::draining) |
//! | read settings from a file | [`ServerConfig`], [`ClientConfig`] | [settings](guide::settings) |
//! | count, probe and log | [`Counters`], [`Health`], [`ConnStats`] | [observing](guide::observing) |
//! | know what went wrong | [`Error`] (a call failed), [`Reason`] (a connection ended), [`DatagramError`] | [observing](guide::observing) |
//!
//! All limits with their defaults are on [one page](guide::limits), and so is [what differs outside Linux](guide::platforms).
//!
//! # Features
//!
//! | feature | default | |
//! |---|---|---|
//! | `tls` | on | TLS; without it neither rustls nor a C compiler is needed |
//! | `aws-lc-rs` | on | cryptography by aws-lc-rs, with post-quantum key exchange |
//! | `ring` | off | cryptography by ring |
//! | `platform-roots` | on | clients without roots of their own trust those of the system |
//! | `serde` | off | [`ServerConfig`] and [`ClientConfig`] from TOML, JSON, YAML and other formats |
//! | `signals` | off | `Server::run_until_signal`: SIGTERM and SIGINT drain a server; `Signals` for SIGHUP |
//!
//! `tls` needs a cryptography provider: one of the two, or a `rustls` configuration that has its own. With both, aws-lc-rs is
//! the one that [`tls::provider`] returns.
#![cfg_attr(docsrs, feature(doc_cfg))]
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
mod factory;
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
pub use error::{Error, Expiry, Reason, SendError, ServerError, TlsFault, WriteError, is_timeout};
pub use factory::Factory;
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
pub use tls::{ClientTls, ServerTls, Truncation};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use tls::{ClientTlsBuilder, ServerTlsBuilder};

/// The code in README.md compiles.
#[cfg(all(doctest, feature = "aws-lc-rs"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The name that [`Context`] had before 0.1, for programs that were written then.
#[doc(hidden)]
#[deprecated(note = "is called `Context`")]
pub type Turn<'a> = Context<'a>;

/// The name that [`ServerTls`] had before 0.1.
#[cfg(feature = "tls")]
#[doc(hidden)]
#[deprecated(note = "is called `ServerTls`")]
pub type TlsServer = ServerTls;

/// The name that [`ClientTls`] had before 0.1.
#[cfg(feature = "tls")]
#[doc(hidden)]
#[deprecated(note = "is called `ClientTls`")]
pub type TlsClient = ClientTls;

/// The name that [`ServerTlsBuilder`] had before 0.1.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[doc(hidden)]
#[deprecated(note = "is called `ServerTlsBuilder`")]
pub type TlsServerBuilder = ServerTlsBuilder;

/// The name that [`ClientTlsBuilder`] had before 0.1.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[doc(hidden)]
#[deprecated(note = "is called `ClientTlsBuilder`")]
pub type TlsClientBuilder = ClientTlsBuilder;
