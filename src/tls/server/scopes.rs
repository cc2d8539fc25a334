//! Several revocation lists of one issuer, each for some of its certificates (issuing distribution points; RFC 5280,
//! section 5.2.5).
//!
//! Owns the way around rustls, which asks one list alone about each certificate: the first that may be for it. That is a
//! complete list although a newer one for some certificates revokes it, and for a certificate without distribution points
//! any list of its issuer.
//!
//! 1. A certificate passes only if no list that may be for it revokes it.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;

const DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");

/// Verifiers that differ in their revocation lists only; all of them must let a client in.
#[derive(Debug)]
pub(super) struct Scopes {
    /// Has all lists; those for some certificates go before complete ones.
    all: Arc<dyn ClientCertVerifier>,
    /// Has complete lists that others go before.
    complete: Vec<Arc<dyn ClientCertVerifier>>,
    /// Each has one more list for some certificates. A certificate with distribution points is asked for by those: it has
    /// found its list in `all`.
    each: Vec<Arc<dyn ClientCertVerifier>>,
}

impl Scopes {
    /// One for all of them.
    pub(super) fn of(
        all: Arc<dyn ClientCertVerifier>,
        complete: Vec<Arc<dyn ClientCertVerifier>>,
        each: Vec<Arc<dyn ClientCertVerifier>>,
    ) -> Arc<dyn ClientCertVerifier> {
        match complete.is_empty() && each.is_empty() {
            true => all,
            false => Arc::new(Scopes { all, complete, each }),
        }
    }
}

fn has_distribution_points(certificate: &CertificateDer<'_>) -> bool {
    let Ok(parsed) = Certificate::from_der(certificate) else { return false };
    let extensions = parsed.tbs_certificate().extensions();
    extensions.is_some_and(|all| all.iter().any(|one| one.extn_id == DISTRIBUTION_POINTS))
}

impl ClientCertVerifier for Scopes {
    fn offer_client_auth(&self) -> bool {
        self.all.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.all.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.all.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.all.verify_client_cert(own, others, now)?;
        for verifier in &self.complete {
            verifier.verify_client_cert(own, others, now)?;
        }
        if !std::iter::once(own).chain(others).all(has_distribution_points) {
            for verifier in &self.each {
                verifier.verify_client_cert(own, others, now)?;
            }
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.all.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.all.supported_verify_schemes()
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use super::super::namesakes::tests::Fixed;
    use super::*;
    use rustls::CertificateError::Revoked;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn certificate(uri: Option<&str>) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(["member".to_owned()]).expect("a name");
        let point = |uri: &str| rcgen::CrlDistributionPoint { uris: vec![uri.to_owned()] };
        params.crl_distribution_points = uri.map(point).into_iter().collect();
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    #[test]
    fn only_a_chain_without_distribution_points_costs_a_verification_for_each_list() {
        let (with, without) = (certificate(Some("http://example.org/1")), certificate(None));
        let unreadable = CertificateDer::from(vec![1, 2, 3]);
        let revoked = || Some(Error::InvalidCertificate(Revoked));
        for (chain, answers, asked) in [
            (vec![&with, &with], [None, None, None, None], 2),
            (vec![&with, &with], [None, None, None, revoked()], 2),
            (vec![&with, &with], [None, revoked(), None, None], 2),
            (vec![&without, &with], [None, None, None, None], 4),
            (vec![&with, &without], [None, None, None, revoked()], 4),
            (vec![&with, &unreadable], [None, None, revoked(), None], 3),
            (vec![&without], [revoked(), None, None, None], 1),
        ] {
            let lets_in = answers[..if asked > 2 { 4 } else { 2 }].iter().all(Option::is_none);
            let all = answers.map(|answer| Arc::new(Fixed(answer, AtomicUsize::new(0))));
            let [first, complete, one, two] = all.clone().map(|one| one as Arc<dyn ClientCertVerifier>);
            let verifier = Scopes::of(first, vec![complete], vec![one, two]);
            let others: Vec<_> = chain[1..].iter().map(|one| (*one).clone()).collect();
            let verified = verifier.verify_client_cert(chain[0], &others, UnixTime::now());
            assert_eq!(verified.is_ok(), lets_in);
            assert_eq!(all.iter().map(|one| one.1.load(Ordering::Relaxed)).sum::<usize>(), asked);
        }
    }
}
