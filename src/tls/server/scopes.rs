//! Several revocation lists of one issuer, each for some of its certificates (issuing distribution points; RFC 5280,
//! section 5.2.5).
//!
//! Owns the way around rustls, which asks one list alone about each certificate: the first that may be for it. That is a
//! complete list although a newer one for some certificates revokes it, and for a certificate without distribution points
//! any list of its issuer. A serial number is one certificate's of its issuer: so whatever list has it, it is revoked.
//!
//! 1. No certificate that a client shows is on any list of its issuer, whichever path rustls has found from it to a root.

use super::ListPolicy;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{self, Decode, Reader, SliceReader, Tag, TagMode, TagNumber};
use x509_cert::ext::Extensions;

const DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");

/// What one of several lists of an issuer says.
#[derive(Debug)]
pub(super) struct Listed {
    /// Whether it is for all certificates of its issuer.
    pub(super) is_complete: bool,
    /// Since 1970.
    pub(super) due_seconds: u64,
    /// In DER.
    pub(super) serials: HashSet<Vec<u8>>,
}

/// By the issuer's name in DER; those with several lists alone.
pub(super) type Several = HashMap<Vec<u8>, Vec<Listed>>;

/// A verifier that has all lists, and what it overlooks.
#[derive(Debug)]
pub(super) struct Scopes {
    inner: Arc<dyn ClientCertVerifier>,
    several: Several,
    stale: ListPolicy,
}

impl Scopes {
    /// `inner`, with its gap closed where it has one.
    pub(super) fn of(
        inner: Arc<dyn ClientCertVerifier>,
        several: Several,
        stale: ListPolicy,
    ) -> Arc<dyn ClientCertVerifier> {
        match several.is_empty() {
            true => inner,
            false => Arc::new(Scopes { inner, several, stale }),
        }
    }

    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), CertificateError> {
        let shown = Shown::read(certificate).map_err(|_| CertificateError::BadEncoding)?;
        let Some(lists) = self.several.get(shown.issuer) else { return Ok(()) };
        if lists.iter().any(|list| list.serials.contains(shown.serial)) {
            return Err(CertificateError::Revoked);
        }
        let may_be_for_it = |list: &&Listed| list.is_complete || !shown.has_points;
        match lists.iter().filter(may_be_for_it).any(|list| list.due_seconds <= now.as_secs()) {
            true if self.stale == ListPolicy::Refuse => Err(CertificateError::ExpiredRevocationList),
            _ => Ok(()),
        }
    }
}

/// What a certificate says of itself.
struct Shown<'a> {
    /// With their tags.
    serial: &'a [u8],
    issuer: &'a [u8],
    /// Whether it names the lists that it is to be on.
    has_points: bool,
}

impl<'a> Shown<'a> {
    fn read(certificate: &'a [u8]) -> der::Result<Shown<'a>> {
        let mut outer = SliceReader::new(AnyRef::from_der(certificate)?.value())?;
        let mut inner = SliceReader::new(AnyRef::from_der(outer.tlv_bytes()?)?.value())?;
        if Tag::peek(&inner)? != Tag::Integer {
            let _version = inner.tlv_bytes()?;
        }
        let serial = inner.tlv_bytes()?;
        let _algorithm = inner.tlv_bytes()?;
        let issuer = inner.tlv_bytes()?;
        for _validity_subject_key in 0..3 {
            inner.tlv_bytes()?;
        }
        // Unique identifiers, which nobody uses.
        let behind = Tag::ContextSpecific { constructed: true, number: TagNumber(3) };
        while !inner.is_finished() && Tag::peek(&inner)? != behind {
            inner.tlv_bytes()?;
        }
        let extensions: Option<Extensions> = inner.context_specific(TagNumber(3), TagMode::Explicit)?;
        let has_points = extensions.unwrap_or_default().iter().any(|one| one.extn_id == DISTRIBUTION_POINTS);
        Ok(Shown { serial, issuer, has_points })
    }
}

impl ClientCertVerifier for Scopes {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(own, others, now)?;
        std::iter::once(own).chain(others).try_for_each(|one| self.check(one, now))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use super::*;
    use rustls::server::WebPkiClientVerifier;
    use std::time::Duration;

    fn certificate(serial: u64, uri: Option<&str>) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(["member".to_owned()]).expect("a name");
        let point = |uri: &str| rcgen::CrlDistributionPoint { uris: vec![uri.to_owned()] };
        params.crl_distribution_points = uri.map(point).into_iter().collect();
        params.serial_number = Some(serial.into());
        let key = rcgen::KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    #[test]
    fn a_stale_list_counts_for_who_it_may_be_for_and_a_revoked_one_for_all() {
        let (with, without) = (certificate(1, Some("http://example.org/1")), certificate(2, None));
        let issuer = Shown::read(&with).expect("a certificate").issuer.to_vec();
        let list = |is_complete, due_seconds, serials: &[u8]| Listed {
            is_complete,
            due_seconds,
            serials: serials.iter().map(|serial| vec![2, 1, *serial]).collect(),
        };
        let (revoked, stale) = (Err(CertificateError::Revoked), Err(CertificateError::ExpiredRevocationList));
        for (lists, policy, of_with, of_without) in [
            (vec![list(false, 9, &[]), list(false, 9, &[3])], ListPolicy::Refuse, Ok(()), Ok(())),
            (vec![list(false, 9, &[1]), list(false, 9, &[])], ListPolicy::Warn, revoked.clone(), Ok(())),
            (vec![list(false, 9, &[]), list(true, 9, &[2])], ListPolicy::Refuse, Ok(()), revoked.clone()),
            (vec![list(false, 5, &[]), list(false, 9, &[])], ListPolicy::Refuse, Ok(()), stale.clone()),
            (vec![list(false, 9, &[]), list(true, 5, &[])], ListPolicy::Refuse, stale.clone(), stale.clone()),
            (vec![list(false, 5, &[]), list(true, 5, &[2])], ListPolicy::Warn, Ok(()), revoked.clone()),
        ] {
            let several = Several::from([(issuer.clone(), lists)]);
            let scopes = Scopes { inner: WebPkiClientVerifier::no_client_auth(), several, stale: policy };
            let now = UnixTime::since_unix_epoch(Duration::from_secs(5));
            assert_eq!([scopes.check(&with, now), scopes.check(&without, now)], [of_with, of_without], "{scopes:?}");
            let cut = CertificateDer::from(with[..with.len() - 1].to_vec());
            assert_eq!(scopes.check(&cut, now), Err(CertificateError::BadEncoding));
        }
    }
}
