//! How many verifications a client costs that is refused.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Answers as it was told, and counts.
#[derive(Debug)]
struct Fixed(Option<Error>, AtomicUsize);

impl ClientCertVerifier for Fixed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.clone().map_or(Ok(ClientCertVerified::assertion()), Err)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Vec::new()
    }
}

#[test]
fn only_what_lists_by_another_key_may_change_is_asked_again() {
    use CertificateError::{Expired, Revoked, UnknownIssuer, UnknownRevocationStatus};
    let certificate = |error| Some(Error::InvalidCertificate(error));
    let list = |error| Some(Error::InvalidCertRevocationList(error));
    let namesake = || list(CertRevocationListError::BadSignature);
    let open = || certificate(UnknownRevocationStatus);
    for (answers, decided_by, asked) in [
        (vec![None, open()], None, 1),
        (vec![certificate(Revoked), None], certificate(Revoked), 1),
        (vec![certificate(Expired), None, None], certificate(Expired), 1),
        (vec![certificate(UnknownIssuer), None, None], certificate(UnknownIssuer), 1),
        (vec![namesake(), certificate(Revoked), None], certificate(Revoked), 2),
        (vec![namesake(), open(), None], None, 3),
        (vec![open(), namesake()], open(), 2),
        (vec![namesake(), namesake()], namesake(), 2),
    ] {
        let mut fixed = answers.into_iter().map(|answer| Arc::new(Fixed(answer, AtomicUsize::new(0))));
        let all: Vec<_> = fixed.by_ref().collect();
        let mut verifiers = all.iter().map(|one| one.clone() as Arc<dyn ClientCertVerifier>);
        let first = verifiers.next().expect("there is one");
        let verifier = Namesakes::of(first, verifiers.collect());
        let verified = verifier.verify_client_cert(&CertificateDer::from(vec![1]), &[], UnixTime::now());
        assert_eq!(verified.err(), decided_by);
        assert_eq!(all.iter().map(|one| one.1.load(Ordering::Relaxed)).sum::<usize>(), asked);
    }
}
