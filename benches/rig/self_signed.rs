//! Making the certificate of all servers, and its two files.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::rig::Outcome;
use crate::rig::certificate::NAME;

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

/// For a server within this process: a certificate of its own, made anew.
pub(crate) fn server(provider: Arc<CryptoProvider>) -> Outcome<(Arc<ServerConfig>, CertificateDer<'static>)> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    Ok((Arc::new(config), certificate))
}

/// For a client of a server with that certificate.
pub(crate) fn client(provider: Arc<CryptoProvider>, certificate: &CertificateDer<'static>) -> Outcome<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn make(algorithm: &'static SignatureAlgorithm) -> Outcome<Pem> {
    let key = KeyPair::generate_for(algorithm)?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
    Ok(Pem { certificate: certificate.pem(), key: key.serialize_pem() })
}
