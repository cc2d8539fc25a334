//! What a client is to be.
//!
//! Owns the fields and how they fit together. Opens nothing.

use super::{by_key, refuse};
use crate::address::{Address, Transport};
use crate::config::datagram::DatagramConfig;
use crate::config::{ConnectConfig, Limits, SocketOptions};
use crate::error::Error;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use crate::tls::plain::TlsClientConfig;
use std::time::Duration;

/// What a client is to be: plain values.
///
/// With the feature `serde` it reads and writes as [`ServerConfig`](crate::ServerConfig) does.
///
/// ```
/// use std::time::Duration;
/// use windlass::ClientConfig;
/// # fn main() -> Result<(), windlass::Error> {
/// let config = ClientConfig::new("tcp://127.0.0.1:8080".parse()?).connect_timeout(Duration::from_secs(3));
/// assert_eq!(config.connect_config()?.limits.connect_timeout, Duration::from_secs(3));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// What it connects to.
    pub address: Address,
    /// The local address to connect from: an IP address and port, or a Unix one for Unix datagrams. Default: the system's
    /// choice.
    pub bind: Option<Address>,
    /// For `tls://` and `tls+unix:` addresses. Default: none, which there means the platform's roots.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    pub tls: Option<TlsClientConfig>,
    /// How long a read may wait. Default: no limit.
    pub read_timeout: Option<Duration>,
    /// How long a write may wait. Default: no limit.
    pub write_timeout: Option<Duration>,
    /// For the connection.
    pub limits: Limits,
    /// For its socket.
    pub socket: SocketOptions,
    /// What is about datagrams alone; options and own address of its socket are those above.
    pub datagram: DatagramConfig,
}

impl ClientConfig {
    /// Connects to `address`, all else by default.
    pub fn new(address: Address) -> ClientConfig {
        ClientConfig {
            address,
            bind: None,
            #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
            tls: None,
            read_timeout: None,
            write_timeout: None,
            limits: Limits::default(),
            socket: SocketOptions::default(),
            datagram: DatagramConfig::default(),
        }
    }

    /// For `tls://` and `tls+unix:` addresses.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    #[must_use]
    pub fn tls(self, tls: TlsClientConfig) -> ClientConfig {
        ClientConfig { tls: Some(tls), ..self }
    }

    /// From the start of a connect until it is established, all addresses of a name together.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientConfig {
        self.limits.connect_timeout = timeout;
        self
    }

    /// How long no byte may move in either direction.
    #[must_use]
    pub fn con_idle_timeout(mut self, timeout: Duration) -> ClientConfig {
        self.limits.idle_timeout = Some(timeout);
        self
    }

    /// What it connects to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Checks that the values can work, reading what files of certificates it names.
    ///
    /// # Errors
    /// `Error::Config` names the key that cannot work, `Error::Tls` the file or list.
    pub fn validate(&self) -> Result<(), Error> {
        self.connect_config()?;
        self.datagram_config().map(drop)
    }

    fn check(&self) -> Result<(), Error> {
        if self.address.is_unspecified() {
            let why = "all addresses can only be listened on: write the host to connect to, such as 127.0.0.1 for this machine";
            return refuse("address", &self.address, why);
        }
        for (key, value) in [("read-timeout", self.read_timeout), ("write-timeout", self.write_timeout)] {
            if value == Some(Duration::ZERO) {
                return refuse(key, "0s", "it must be longer than zero; to wait without a limit, leave it out");
            }
        }
        if let Some(bind) = &self.bind {
            let fits = match self.address.transport() {
                Transport::Tcp | Transport::Tls | Transport::Udp => bind.ip().is_some(),
                Transport::Unixgram => bind.transport() == Transport::Unixgram,
                Transport::Unix | Transport::TlsUnix => false,
            };
            if !fits {
                let why = "it must be IP:PORT for tcp, tls and udp, unixgram:/PATH for unixgram, and left out for unix";
                return refuse("bind", bind, why);
            }
        }
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        {
            if self.tls.is_some() && !self.address.transport().is_tls() {
                let why = "the address is not for TLS: write tls:// or tls+unix:, or leave tls out";
                return refuse("tls", format!("given for {}", self.address), why);
            }
            let name = self.tls.as_ref().and_then(|tls| tls.server_name.as_ref());
            if self.address.transport() == Transport::TlsUnix && name.is_none() {
                let why = "a Unix address names no host: give the certificate's name";
                return refuse("tls.server-name", "nothing", why);
            }
        }
        Ok(())
    }

    /// What a stream is connected with. Reads what files of certificates are named.
    ///
    /// # Errors
    /// As [`ClientConfig::validate`].
    pub fn connect_config(&self) -> Result<ConnectConfig, Error> {
        self.check()?;
        let connect = ConnectConfig {
            limits: self.limits.clone(),
            socket: self.socket,
            bind: self.bind.as_ref().and_then(Address::ip),
            #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
            tls: match (&self.tls, self.address.transport().is_tls()) {
                (Some(tls), _) => Some(tls.to_builder().build().map_err(by_key)?),
                (None, true) => Some(TlsClientConfig::default().to_builder().build().map_err(by_key)?),
                (None, false) => None,
            },
            #[cfg(all(feature = "tls", not(any(feature = "aws-lc-rs", feature = "ring"))))]
            tls: None,
        };
        connect.validate().map_err(by_key)?;
        Ok(connect)
    }

    /// What a datagram socket is connected with.
    ///
    /// # Errors
    /// As [`ClientConfig::validate`].
    pub fn datagram_config(&self) -> Result<DatagramConfig, Error> {
        self.check()?;
        // Of an IP address only IP and port count, whatever its scheme.
        let bind = self.bind.as_ref().map(|bind| bind.ip().map_or_else(|| bind.clone(), Address::udp));
        let datagram = DatagramConfig { socket: self.socket, bind, ..self.datagram.clone() };
        datagram.validate().map_err(by_key)?;
        Ok(datagram)
    }
}
