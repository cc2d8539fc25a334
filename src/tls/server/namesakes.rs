//! Issuers of one name with different keys, as after a change of keys, of which each has revocation lists of its own.
//!
//! Owns the way around rustls, which looks a list up by its issuer's name alone, takes the first, and refuses clients whose
//! issuer's key did not sign it. Lists by different keys go to different verifiers here.
//!
//! 1. Who is let in was let in by one verifier alone: for each issuer in its chain there is a list there, by that issuer's key.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

/// Verifiers that differ in their revocation lists only.
#[derive(Debug)]
pub(super) struct Namesakes {
    first: Arc<dyn ClientCertVerifier>,
    others: Vec<Arc<dyn ClientCertVerifier>>,
}

impl Namesakes {
    /// One for all of them.
    pub(super) fn of(
        first: Arc<dyn ClientCertVerifier>,
        others: Vec<Arc<dyn ClientCertVerifier>>,
    ) -> Arc<dyn ClientCertVerifier> {
        match others.is_empty() {
            true => first,
            false => Arc::new(Namesakes { first, others }),
        }
    }
}

/// Whether it says no more than that something was signed by another key.
fn is_of_a_namesake(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertRevocationList(CertRevocationListError::BadSignature)
            | Error::InvalidCertificate(CertificateError::BadSignature)
    )
}

/// Whether lists by other keys may say something else. They do not of what is wrong apart from lists, nor where a list by
/// the right key has spoken: a refused client costs one verification then.
fn is_open(error: &Error) -> bool {
    is_of_a_namesake(error) || matches!(error, Error::InvalidCertificate(CertificateError::UnknownRevocationStatus))
}

/// Whether a client that shows these beside its own may have been refused on one path for another cause than on the next,
/// of which one is told: there are two with one name, or one with the name of a root. An expired cross-certificate is such.
fn is_forked(others: &[CertificateDer<'_>], roots: &[DistinguishedName]) -> bool {
    let mut names: Vec<Vec<u8>> = roots.iter().map(|root| root.as_ref().to_vec()).collect();
    others.iter().any(|other| {
        let Ok(parsed) = Certificate::from_der(other) else { return false };
        let Ok(name) = parsed.tbs_certificate().subject().to_der() else { return true };
        let is_known = names.contains(&name);
        names.push(name);
        is_known
    })
}

impl ClientCertVerifier for Namesakes {
    fn offer_client_auth(&self) -> bool {
        self.first.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.first.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.first.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut why = match self.first.verify_client_cert(own, others, now) {
            Err(why) => why,
            verified => return verified,
        };
        let is_forked = is_forked(others, self.root_hint_subjects());
        if !is_open(&why) && !is_forked {
            return Err(why);
        }
        for verifier in &self.others {
            match verifier.verify_client_cert(own, others, now) {
                // Of several causes the one that is not about another issuer's key is told.
                Err(next) if is_forked || is_open(&next) => why = if is_of_a_namesake(&why) { next } else { why },
                decided => return decided,
            }
        }
        Err(why)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.first.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.first.supported_verify_schemes()
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests;
