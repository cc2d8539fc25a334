//! Making the certificate of all servers, and its two files.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};

use crate::Outcome;
use crate::certificate::NAME;

struct Pem {
    certificate: String,
    key: String,
}

/// Self-signed certificates with one kind of key; the same one as long as the process lives.
pub(crate) struct Kind {
    algorithm: &'static SignatureAlgorithm,
    made: OnceLock<Pem>,
}

pub(crate) static P256: Kind = Kind::new(&PKCS_ECDSA_P256_SHA256);

impl Kind {
    pub(crate) const fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        Kind { algorithm, made: OnceLock::new() }
    }

    /// Writes the certificate and its key as PEM.
    pub(crate) fn write(&self, certificate: &Path, key: &Path) -> Outcome<()> {
        let pem = match self.made.get() {
            Some(pem) => pem,
            None => self.made.get_or_init({
                let made = make(self.algorithm)?;
                || made
            }),
        };
        fs::write(certificate, &pem.certificate)?;
        fs::write(key, &pem.key)?;
        Ok(())
    }
}

fn make(algorithm: &'static SignatureAlgorithm) -> Outcome<Pem> {
    let key = KeyPair::generate_for(algorithm)?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}
