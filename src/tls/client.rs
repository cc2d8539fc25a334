//! How a connect speaks TLS: a configuration that is given, or built from PEM and the platform's roots.

use super::{NO_EARLY_DATA, Offload, Truncation};
use crate::error::Error;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use build::TlsClientBuilder;
use rustls::client::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::Arc;

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod build;

/// How a connect speaks TLS.
#[derive(Clone)]
pub struct TlsClient {
    /// Trusted roots, versions, suites, ALPN and remembered sessions, as rustls knows them.
    pub config: Arc<ClientConfig>,
    /// The name that the server's certificate must be for, and that it is told (SNI). Default: the host of the address;
    /// a Unix address has none, so it must be given there.
    pub server_name: Option<ServerName<'static>>,
    /// Default: refused.
    pub truncation: Truncation,
    /// Whether its handshakes are worked on by other threads, where the reactor has some. Default: if they may take long.
    pub offload: Offload,
}

impl From<Arc<ClientConfig>> for TlsClient {
    fn from(config: Arc<ClientConfig>) -> TlsClient {
        TlsClient { config, server_name: None, truncation: Truncation::default(), offload: Offload::default() }
    }
}

impl TlsClient {
    /// Whether other threads should do its handshakes.
    pub(crate) fn is_offloaded(&self) -> bool {
        self.offload.applies(|| self.config.client_auth_cert_resolver.has_certs())
    }

    /// The same for a server whose certificate is for `name`, a host's name or an IP address.
    ///
    /// # Errors
    /// `Error::Config` for what is neither.
    pub fn for_server(mut self, name: &str) -> Result<TlsClient, Error> {
        let parsed = ServerName::try_from(name.to_owned());
        let why = "it is neither a host's name nor an IP address";
        self.server_name =
            Some(parsed.map_err(|_| Error::Config { field: "server_name", value: format!("{name:?}"), why })?);
        Ok(self)
    }

    /// Checks that the configuration can work.
    ///
    /// # Errors
    /// `Error::Config` names the field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        if self.config.enable_early_data {
            return Err(Error::Config { field: "enable_early_data", value: "true".to_owned(), why: NO_EARLY_DATA });
        }
        Ok(())
    }
}

// Not derived, as for servers.
impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("server_name", &self.server_name)
            .field("truncation", &self.truncation)
            .finish_non_exhaustive()
    }
}
