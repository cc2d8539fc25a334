//! How a connect speaks TLS: a configuration that is given, or built from PEM and the platform's roots, and replaced
//! while running.
//!
//! Owns what connects share of it: a handshake takes the configuration that is current when it begins.
//!
//! 1. What is current was checked before it became so; a replacement that cannot be used changes nothing.
//! 2. No session is resumed after a certificate has expired that its server showed when it began.

use super::{NO_EARLY_DATA, Offload, Truncation};
use crate::error::Error;
use crate::shown::shown;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use build::ClientTlsBuilder;
pub(crate) use era::Era;
use rustls::client::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod build;
mod era;

/// How a connect speaks TLS. Clones share what is replaced: one kept aside reloads roots and certificate of all that
/// connect with it, each at its next handshake.
///
/// Remembered sessions are not resumed with other roots or another certificate than they began with, nor after a
/// certificate has expired that the server showed then: the next handshake is a full one. The first certificate that
/// expires of all that servers have shown ends the sessions with all of them, also if it was not needed to verify its
/// server: a server that shows one with a short life costs the others one full handshake each.
///
/// ```
/// use windlass::{Client, ClientTls};
/// let tls = ClientTls::builder().build()?; // trusts the roots of the system
/// let client = Client::builder("tls://example.org:443".parse()?).with_tls(tls, "example.org").build()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone)]
pub struct ClientTls {
    current: Arc<Current>,
    /// The name that the server's certificate must be for, and that it is told (SNI). Default: the host of the address;
    /// a Unix address has none, so it must be given there.
    pub server_name: Option<ServerName<'static>>,
    /// Default: refused.
    pub truncation: Truncation,
    /// Whether its handshakes are worked on by other threads, where the reactor has some. Default: if they may take long.
    pub offload: Offload,
}

/// What clones share.
struct Current {
    era: RwLock<Arc<Era>>,
    /// Held by who replaces it, from its first look at files on. No handshake waits for it.
    turn: Mutex<()>,
}

impl From<Arc<ClientConfig>> for ClientTls {
    /// Trusted roots, versions, suites and ALPN, as rustls knows them, and room for the sessions that are remembered. Each
    /// `ClientTls` that is made so resumes its own sessions alone: make one, and clone it for each connect.
    fn from(config: Arc<ClientConfig>) -> ClientTls {
        let current = Current { era: RwLock::new(Arc::new(Era::of(config))), turn: Mutex::new(()) };
        ClientTls {
            current: Arc::new(current),
            server_name: None,
            truncation: Truncation::default(),
            offload: Offload::default(),
        }
    }
}

impl ClientTls {
    /// What a handshake that begins now is done with.
    pub(crate) fn era(&self) -> Arc<Era> {
        let era = self.current.era.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !era.is_over() {
            return era;
        }
        let mut current = self.current.era.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, &era) {
            *current = Arc::new(era.next());
        }
        current.clone()
    }

    /// The configuration that a handshake begins with now, as rustls knows it.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.era().config().clone()
    }

    /// Takes another configuration, given as rustls knows it, for handshakes from now on; connections that there are
    /// keep theirs. `server_name`, `truncation` and `offload` stay. From any thread.
    ///
    /// # Errors
    /// As [`ClientTls::validate`]; the old one stays then.
    ///
    /// # Threads
    /// It waits for a `reload` that has begun before it, so that the last one counts.
    pub fn replace(&self, config: Arc<ClientConfig>) -> Result<(), Error> {
        validate(&config)?;
        let _turn = self.turn();
        self.swap(config);
        Ok(())
    }

    fn swap(&self, config: Arc<ClientConfig>) {
        *self.current.era.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Era::of(config));
    }

    /// The right to replace what is current, once whoever had it before is done.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.current.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether other threads should do handshakes with this configuration.
    pub(crate) fn is_offloaded(&self, config: &ClientConfig) -> bool {
        self.offload.applies(|| config.client_auth_cert_resolver.has_certs())
    }

    /// The same for a server whose certificate is for `name`, a host's name or an IP address.
    ///
    /// # Errors
    /// `Error::Config` for what is neither.
    pub fn for_server(mut self, name: &str) -> Result<ClientTls, Error> {
        let parsed = ServerName::try_from(name.to_owned());
        let why = "it is neither a host's name nor an IP address";
        self.server_name = Some(parsed.map_err(|_| Error::Config { field: "server_name", value: shown(name), why })?);
        Ok(self)
    }

    /// Checks that the configuration can work.
    ///
    /// # Errors
    /// `Error::Config` names the field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        validate(&self.config())
    }
}

fn validate(config: &ClientConfig) -> Result<(), Error> {
    if config.enable_early_data {
        return Err(Error::Config { field: "enable_early_data", value: "true".to_owned(), why: NO_EARLY_DATA });
    }
    Ok(())
}

// Not derived, as for servers.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("server_name", &self.server_name)
            .field("truncation", &self.truncation)
            .finish_non_exhaustive()
    }
}
