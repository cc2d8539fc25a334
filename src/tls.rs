//! TLS as users give it: what a listener or a connect is configured with, and where cryptography comes from.
//!
//! Owns the words and what is wrong with them; rustls' own configurations are used as they are. Knows nothing of links or
//! sessions.

use crate::error::{Error, TlsFault};
use rustls::client::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::server::ServerConfig;
use std::fmt;
use std::sync::Arc;

/// The cryptography that windlass was built with: aws-lc-rs, or ring if only that feature is on.
///
/// To be given to `rustls::ServerConfig::builder_with_provider` and its like. Nothing is installed for the process, and
/// nothing that another part of the program installed is used.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What a FIN without a close_notify before it means; RFC 8446, section 6.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// Somebody may have cut the stream: the connection ends with `Reason::Truncated`, behind all data that came.
    #[default]
    Refused,
    /// An end like any other, for protocols that mark their own ends, and peers that never say close_notify. Within a
    /// record it is refused all the same.
    Tolerated,
}

/// How a listener speaks TLS.
#[derive(Clone)]
pub struct TlsServer {
    /// Certificates, versions, suites, ALPN and tickets, as rustls knows them. One configuration may serve many
    /// listeners and reactors, which then share its tickets.
    pub config: Arc<ServerConfig>,
    /// Default: refused.
    pub truncation: Truncation,
}

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
}

impl From<Arc<ServerConfig>> for TlsServer {
    fn from(config: Arc<ServerConfig>) -> TlsServer {
        TlsServer { config, truncation: Truncation::default() }
    }
}

impl From<Arc<ClientConfig>> for TlsClient {
    fn from(config: Arc<ClientConfig>) -> TlsClient {
        TlsClient { config, server_name: None, truncation: Truncation::default() }
    }
}

// Not derived: what rustls shows of a configuration may change, and keys must never be shown.
impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServer").field("truncation", &self.truncation).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient")
            .field("server_name", &self.server_name)
            .field("truncation", &self.truncation)
            .finish_non_exhaustive()
    }
}

/// 0-RTT data can be replayed by anybody who saw it; handlers could not tell.
const NO_EARLY_DATA: &str = "0-RTT data is not served; leave it off";

impl TlsServer {
    /// Checks that the configuration can work.
    ///
    /// # Errors
    /// `Error::Config` names the field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        match self.config.max_early_data_size {
            0 => Ok(()),
            bytes => Err(Error::Config { field: "max_early_data_size", value: bytes.to_string(), why: NO_EARLY_DATA }),
        }
    }
}

impl TlsClient {
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

impl TlsFault {
    /// What a fault that rustls tells means.
    pub(crate) fn of(error: &rustls::Error) -> TlsFault {
        use rustls::{Error, InvalidMessage};
        match error {
            Error::AlertReceived(alert) => TlsFault::AlertReceived(u8::from(*alert)),
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                TlsFault::NotTls
            }
            Error::InvalidMessage(
                InvalidMessage::MessageTooLarge
                | InvalidMessage::HandshakePayloadTooLarge
                | InvalidMessage::CertificatePayloadTooLarge,
            )
            | Error::PeerSentOversizedRecord => TlsFault::TooLarge,
            Error::PeerIncompatible(_) => TlsFault::Incompatible,
            Error::NoApplicationProtocol => TlsFault::NoApplicationProtocol,
            Error::NoCertificatesPresented => TlsFault::NoCertificate,
            Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_)
            | Error::UnsupportedNameType
            | Error::InvalidEncryptedClientHello(_) => TlsFault::BadCertificate,
            Error::DecryptError => TlsFault::BadRecord,
            Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => TlsFault::Misbehaved,
            // No certificate for the name that was asked for is a fault of the configuration too.
            _ => TlsFault::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    #[test]
    fn early_data_is_refused_by_name() {
        use super::*;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
        assert!(TlsServer::from(Arc::new(config.clone())).validate().is_ok());
        config.max_early_data_size = 1;
        let error = TlsServer::from(Arc::new(config)).validate().expect_err("early data");
        assert!(error.to_string().starts_with("max_early_data_size cannot be 1"), "{error}");
    }
}
