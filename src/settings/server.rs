//! What a server is to be.
//!
//! Owns the fields and how they fit together. Starts nothing but threads for handshakes, and those only for an engine.

use super::{by_key, refuse};
use crate::address::Address;
use crate::config::datagram::DatagramConfig;
use crate::config::{Limits, ListenConfig, ReactorConfig, Reuse, SocketOptions, Stack};
use crate::engine::{EngineConfig, Pinning};
use crate::error::Error;
use crate::placement::Placement;
use crate::server::ServerBuilder;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use crate::tls::plain::TlsServerConfig;
use std::time::Duration;

/// What a server is to be, but for its handlers and callbacks: plain values.
///
/// [`ServerBuilder::config`] takes it. With the feature `serde` it reads from TOML, JSON, YAML and the like, and writes what is
/// not as by default: the [guide](crate::guide::settings) has the keys, and what can be printed of errors. Ours, of reading
/// and of [`ServerConfig::validate`], never show a key; **a parser's own quote the line** that it stumbled over.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Conn, Handler, Server, ServerConfig};
/// # fn main() -> Result<(), windlass::Error> {
/// # struct Echo;
/// # impl Handler for Echo {
/// #     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize { conn.write_some(data) }
/// # }
/// let config = ServerConfig::new("tcp://127.0.0.1:0".parse()?).con_idle_timeout(Duration::from_secs(90));
/// config.validate()?;
/// let server = Server::builder().config(&config)?.handler(|| |_: &Conn<'_>| Echo).build()?;
/// server.listen()?;
/// server.shutdown(config.drain_timeout)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Where it listens: on all of them, or it does not start. Default: nowhere, and one is needed.
    pub addresses: Vec<Address>,
    /// The permission bits of socket files. Default: 0o770.
    pub perm_file: u32,
    /// The group of socket files, by number. Default: unchanged.
    pub group_perm: Option<u32>,
    /// For `tls://` and `tls+unix:` addresses. Default: none.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    pub tls: Option<TlsServerConfig>,
    /// Reactor threads. Default: one for each core that the process may use.
    pub reactors: usize,
    /// Where accepted connections go. Default: to the reactor with the fewest.
    pub placement: Placement,
    /// Whether reactor threads stay on one core each. Default: free.
    pub pinning: Pinning,
    /// Connections of all addresses together; above it, accepting pauses. Default: no limit.
    pub connections_max: Option<usize>,
    /// Connections that one peer address may have, as [`ServerBuilder::per_peer_max`]. Default: no limit.
    pub per_peer_max: Option<usize>,
    /// Connections that each address accepts in a second. Default: no limit.
    pub accepts_per_second: Option<u32>,
    /// TLS handshakes under way, in each reactor. Default: 16,384.
    pub handshakes_max: usize,
    /// Threads for slow steps of TLS handshakes, of all reactors together. Default: none.
    pub handshake_threads: Option<usize>,
    /// Bytes that may wait in all queues of all reactors together, as
    /// [`EngineConfig::queued_bytes_max`](crate::EngineConfig::queued_bytes_max). Default: no bound but each connection's.
    pub queued_bytes_max: Option<usize>,
    /// Connections that the kernel may hold ready. Default: 4,096.
    pub backlog: u32,
    /// Whether others may listen on the same port. Default: exclusive.
    pub reuse: Reuse,
    /// Which families an IPv6 socket takes. Default: dual.
    pub stack: Stack,
    /// How long a drain may take; the program gives it to [`Server::shutdown`](crate::Server::shutdown). Default: 30 s.
    pub drain_timeout: Duration,
    /// For each connection.
    pub limits: Limits,
    /// For all sockets.
    pub socket: SocketOptions,
    /// What is about datagrams alone; options, stack, reuse, mode and group of its sockets are those above.
    pub datagram: DatagramConfig,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        let (listen, engine) = (ListenConfig::default(), EngineConfig::default());
        ServerConfig {
            addresses: Vec::new(),
            perm_file: listen.unix_mode,
            group_perm: listen.unix_group,
            #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
            tls: None,
            reactors: engine.reactors,
            placement: engine.placement,
            pinning: engine.pinning,
            connections_max: None,
            per_peer_max: None,
            accepts_per_second: listen.accepts_per_second,
            handshakes_max: engine.reactor.handshakes_max,
            handshake_threads: None,
            queued_bytes_max: None,
            backlog: listen.backlog,
            reuse: listen.reuse,
            stack: listen.stack,
            drain_timeout: Duration::from_secs(30),
            limits: listen.limits,
            socket: listen.socket,
            datagram: DatagramConfig::default(),
        }
    }
}

/// Most threads for handshakes; more than any machine has cores is a slip of the pen.
const HANDSHAKE_THREADS_MAX: usize = 1024;

impl ServerConfig {
    /// Listens on `address`, all else by default; [`ServerConfig::address`] adds another one.
    pub fn new(address: Address) -> ServerConfig {
        ServerConfig { addresses: vec![address], ..ServerConfig::default() }
    }

    /// Also listens here.
    #[must_use]
    pub fn address(mut self, address: Address) -> ServerConfig {
        self.addresses.push(address);
        self
    }

    /// How long no byte may move in either direction of a connection.
    #[must_use]
    pub fn con_idle_timeout(mut self, timeout: Duration) -> ServerConfig {
        self.limits.idle_timeout = Some(timeout);
        self
    }

    /// For `tls://` and `tls+unix:` addresses.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    #[must_use]
    pub fn tls(self, tls: TlsServerConfig) -> ServerConfig {
        ServerConfig { tls: Some(tls), ..self }
    }

    /// Checks that the values can work, reading what files of certificates it names. Nothing is bound or started.
    ///
    /// # Errors
    /// `Error::Config` names the key that cannot work, `Error::Tls` the file or list.
    pub fn validate(&self) -> Result<(), Error> {
        self.listen_config()?;
        self.datagram_config()?;
        self.engine().validate().map_err(by_key)
    }

    fn check(&self) -> Result<(), Error> {
        if self.addresses.is_empty() {
            return refuse("address", "nothing", "a server needs one to listen on, such as \"tcp://:8080\"");
        }
        for (key, value) in [("per-peer-max", self.per_peer_max), ("connections-max", self.connections_max)] {
            if value == Some(0) {
                return refuse(key, 0, "it must be at least 1; without a limit, leave it out");
            }
        }
        if self.handshake_threads.is_some_and(|threads| !(1..=HANDSHAKE_THREADS_MAX).contains(&threads)) {
            let why = "it must be from 1 to 1,024; without such threads, leave it out";
            return refuse("handshake-threads", self.handshake_threads.unwrap_or_default(), why);
        }
        if self.handshake_threads.is_some() && cfg!(not(feature = "tls")) {
            let why = "windlass was built without TLS; turn the feature `tls` on, or leave it out";
            return refuse("handshake-threads", "given", why);
        }
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        {
            let secured = self.addresses.iter().find(|address| address.transport().is_tls());
            if let (Some(address), None) = (secured, &self.tls) {
                let why = "an address asks for TLS: give a table `tls` that has `certs` and is not switched off";
                return refuse("tls", format!("nothing for {address}"), why);
            }
            self.tls.as_ref().map_or(Ok(()), |tls| tls.check(""))?;
            if secured.is_none() && self.tls.is_some() {
                let why = "no address is for TLS: write tls:// or tls+unix:, or network tcp or unix, or leave tls out";
                return refuse("tls", "given", why);
            }
        }
        Ok(())
    }

    /// What stream addresses are listened on with. Reads what files of certificates are named.
    ///
    /// # Errors
    /// As [`ServerConfig::validate`].
    pub fn listen_config(&self) -> Result<ListenConfig, Error> {
        self.check()?;
        let listen = ListenConfig {
            limits: self.limits.clone(),
            socket: self.socket,
            backlog: self.backlog,
            accepts_per_second: self.accepts_per_second,
            stack: self.stack,
            reuse: self.reuse,
            unix_mode: self.perm_file,
            unix_group: self.group_perm,
            #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
            tls: self.tls.as_ref().map(|tls| tls.to_builder().build()).transpose().map_err(by_key)?,
            ..ListenConfig::default()
        };
        listen.validate().map_err(by_key)?;
        Ok(listen)
    }

    /// What datagram addresses are bound with.
    ///
    /// # Errors
    /// As [`ServerConfig::validate`].
    pub fn datagram_config(&self) -> Result<DatagramConfig, Error> {
        let datagram = DatagramConfig {
            socket: self.socket,
            stack: self.stack,
            reuse: self.reuse,
            unix_mode: self.perm_file,
            unix_group: self.group_perm,
            ..self.datagram.clone()
        };
        datagram.validate().map_err(by_key)?;
        Ok(datagram)
    }

    /// What it runs on. Threads for handshakes start here, if there are to be any.
    ///
    /// # Errors
    /// As [`ServerConfig::validate`], and what the system has against threads.
    pub fn engine_config(&self) -> Result<EngineConfig, Error> {
        self.check()?;
        #[cfg_attr(not(feature = "tls"), expect(unused_mut, reason = "there are no threads for handshakes"))]
        let mut engine = self.engine();
        engine.validate().map_err(by_key)?;
        #[cfg(feature = "tls")]
        if let Some(threads) = self.handshake_threads {
            engine.reactor.handshake_threads = Some(crate::tls::HandshakeThreads::new(threads)?);
        }
        Ok(engine)
    }

    fn engine(&self) -> EngineConfig {
        EngineConfig {
            reactors: self.reactors,
            placement: self.placement,
            pinning: self.pinning,
            connections_max: self.connections_max.unwrap_or(usize::MAX),
            queued_bytes_max: self.queued_bytes_max,
            reactor: ReactorConfig { handshakes_max: self.handshakes_max, ..ReactorConfig::default() },
            ..EngineConfig::default()
        }
    }
}

impl ServerBuilder {
    /// Takes addresses, limits and TLS from `config`; handlers and callbacks are still to be given. What it says replaces
    /// what was set before, but for addresses, to which its own are added.
    ///
    /// Certificates are read now. To read them again later, keep
    /// [`TlsServerConfig::to_builder`](crate::TlsServerConfig::to_builder) and the `tls` of
    /// [`ServerConfig::listen_config`], and give that to `listen_config`.
    ///
    /// # Errors
    /// As [`ServerConfig::validate`], and what the system has against threads for handshakes.
    pub fn config(self, config: &ServerConfig) -> Result<ServerBuilder, Error> {
        let mut builder = self
            .listen_config(config.listen_config()?)
            .datagram_config(config.datagram_config()?)
            .engine_config(config.engine_config()?);
        if let Some(connections) = config.per_peer_max {
            builder = builder.per_peer_max(connections);
        }
        Ok(config.addresses.iter().cloned().fold(builder, ServerBuilder::address))
    }
}
