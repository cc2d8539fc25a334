//! Clients that resume a session: they are let in by what counts now, not by what counted when the session began.
//!
//! rustls takes a client's certificates out of its ticket, or out of what the server stored, and verifies them no more.
//! Owns what stands between: it looks into the session and asks the verifier of the present configuration. Whatever
//! fails there makes the handshake a full one, in which a renewed certificate is taken and a bad one gets its alert.
//!
//! 1. A session that cannot be read to its last byte, in the form that rustls writes, is not resumed.
//! 2. A session is resumed only if its client would be let in by the certificates that it showed, or without any.

use crate::tls::asked;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, ServerConfig, StoresServerSessions};
use rustls::time_provider::TimeProvider;
use std::sync::Arc;

/// Has clients that resume a session checked as those are that do not: whether their certificate is still valid, has not
/// been revoked, and is of an issuer whom `verifier` trusts now. Who is not let in by what the session remembers shakes
/// hands in full.
///
/// For a `rustls::ServerConfig` of your own that asks for client certificates: rustls itself checks them once, and lets
/// their holder resume for as long as tickets last. `verifier` is the one that the configuration was built with; give it here
/// once the ticketer and the session storage are in place, both of which are wrapped. Configurations of a
/// [`ServerTlsBuilder`](super::ServerTlsBuilder) are checked without this. It costs one verification for each resumed
/// handshake with client certificates.
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")] {
/// # use std::sync::Arc;
/// # use windlass::rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
/// # use windlass::{ServerTls, tls};
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
/// # let mut roots = RootCertStore::empty();
/// # roots.add(made.cert.der().clone())?;
/// let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build()?;
/// let mut config = ServerConfig::builder_with_provider(tls::provider())
///     .with_safe_default_protocol_versions()?
///     .with_client_cert_verifier(verifier.clone())
///     # .with_cert_resolver(Arc::new(windlass::rustls::server::ResolvesServerCertUsingSni::new()));
///     // .with_single_cert(…)?
/// # ;
/// config.ticketer = windlass::rustls::crypto::aws_lc_rs::Ticketer::new()?;
/// tls::check_resumed(&mut config, verifier);
/// let server = ServerTls::from(Arc::new(config));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_resumed(config: &mut ServerConfig, verifier: Arc<dyn ClientCertVerifier>) {
    let check = Check { verifier: Some(verifier), clock: config.time_provider.clone() };
    check.stand_before(config);
}

/// The same for a configuration that asks for no certificates, where sessions with some are not resumed.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub(super) fn check(config: &mut ServerConfig, verifier: Option<Arc<dyn ClientCertVerifier>>) {
    let check = Check { verifier, clock: config.time_provider.clone() };
    check.stand_before(config);
}

#[derive(Clone, Debug)]
struct Check {
    /// None: nobody is asked for a certificate.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    clock: Arc<dyn TimeProvider>,
}

#[derive(Debug)]
struct Tickets {
    inner: Arc<dyn ProducesTickets>,
    check: Check,
}

#[derive(Debug)]
struct Stored {
    inner: Arc<dyn StoresServerSessions>,
    check: Check,
}

impl Check {
    fn stand_before(self, config: &mut ServerConfig) {
        let (tickets, stored) = (config.ticketer.clone(), config.session_storage.clone());
        config.ticketer = Arc::new(Tickets { inner: tickets, check: self.clone() });
        config.session_storage = Arc::new(Stored { inner: stored, check: self });
    }

    /// The session, if its client is let in.
    fn pass(&self, session: Vec<u8>) -> Option<Vec<u8>> {
        self.lets_in(&session).then_some(session)
    }

    fn lets_in(&self, session: &[u8]) -> bool {
        let Some(shown) = client_chain(session) else { return false };
        let verifier = self.verifier.as_deref().filter(|verifier| verifier.offer_client_auth());
        match (verifier, shown.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some(verifier), None) => !verifier.client_auth_mandatory(),
            (Some(verifier), Some((own, others))) => {
                let Some(now) = self.clock.current_time() else { return false };
                // Each costs some 100 us, and a hello has room for a hundred tickets.
                asked::may_verify() && verifier.verify_client_cert(own, others, now).is_ok()
            }
        }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.check.pass(self.inner.decrypt(cipher)?)
    }
}

impl StoresServerSessions for Stored {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.inner.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.check.pass(self.inner.get(key)?)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.check.pass(self.inner.take(key)?)
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}

/// The certificates that a client showed when its session began, none if it had none; `None` if this is no session as
/// rustls writes it (`ServerSessionValue` in its `msgs/persist.rs`).
fn client_chain(session: &[u8]) -> Option<Vec<CertificateDer<'_>>> {
    let mut rest = Rest(session);
    if rest.flag()? {
        let _server_name = rest.counted(1)?;
    }
    let (_version, _suite) = (rest.take(2)?, rest.take(2)?);
    let _master_secret = rest.counted(1)?;
    let _extended_master_secret = rest.flag()?;
    let mut chain = Vec::new();
    if rest.flag()? {
        let mut list = Rest(rest.counted(3)?);
        while !list.0.is_empty() {
            chain.push(CertificateDer::from(list.counted(3)?));
        }
        if chain.is_empty() {
            return None;
        }
    }
    if rest.flag()? {
        let _protocol = rest.counted(1)?;
    }
    let _application_data = rest.counted(2)?;
    let (_created, _age_offset) = (rest.take(8)?, rest.take(4)?);
    rest.0.is_empty().then_some(chain)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// What follows its length, which has so many bytes.
    fn counted(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let length = self.take(bytes)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.take(length)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests;
