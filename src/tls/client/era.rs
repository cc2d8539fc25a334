//! For how long sessions that a client remembers may be resumed.
//!
//! rustls verifies a server's certificates in full handshakes only. It resumes no session, though, that began with another
//! certificate resolver than it has now. So the sessions of a configuration are those of an era, which ends with the first
//! of all certificates that were shown in it; the next one has a resolver of its own, and begins without any session.
//! That costs every server one full handshake, as seldom as certificates expire, and others the look at one number. Which
//! certificates were needed to verify a server rustls does not say: all that it showed count, so that none is missed.

use crate::tls::validity::{not_after, seconds};
use rustls::SignatureScheme;
use rustls::client::{ClientConfig, ResolvesClientCert};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A configuration, and until when its sessions may be resumed.
pub(crate) struct Era {
    given: Arc<ClientConfig>,
    /// The same, with a resolver of its own: sessions that others remember with what was given are not resumed either, since
    /// nobody saw here what they began with.
    config: Arc<ClientConfig>,
    /// Its last second, since 1970.
    last: AtomicU64,
}

const WITHOUT_END: u64 = u64::MAX;

impl Era {
    pub(super) fn of(given: Arc<ClientConfig>) -> Era {
        let mut config = (*given).clone();
        config.client_auth_cert_resolver = Arc::new(Anew(config.client_auth_cert_resolver));
        Era { given, config: Arc::new(config), last: AtomicU64::new(WITHOUT_END) }
    }

    pub(super) fn next(&self) -> Era {
        Era::of(self.given.clone())
    }

    pub(crate) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    fn now(&self) -> Option<u64> {
        self.given.time_provider.current_time().map(|now| now.as_secs())
    }

    pub(super) fn is_over(&self) -> bool {
        match self.last.load(Ordering::Relaxed) {
            WITHOUT_END => false,
            last => self.now().is_none_or(|now| now > last),
        }
    }

    /// A server was verified by these certificates: sessions with it may be remembered from now on. One that had expired
    /// already was not needed. What is no certificate does not expire.
    pub(crate) fn saw(&self, chain: &[CertificateDer<'_>]) {
        let now = self.now().unwrap_or(0);
        let ends = chain.iter().filter_map(|certificate| not_after(certificate)).map(|end| seconds(&end));
        if let Some(first) = ends.filter(|end| *end >= now).min() {
            self.last.fetch_min(first, Ordering::Relaxed);
        }
    }
}

/// Another resolver, that does what the one that was given does.
#[derive(Debug)]
struct Anew(Arc<dyn ResolvesClientCert>);

impl ResolvesClientCert for Anew {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.resolve(issuers, schemes)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests;
