//! The TLS side of the echo server: a certificate from files, or one that it makes itself.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use windlass::rustls::RootCertStore;
use windlass::rustls::crypto::CryptoProvider;
use windlass::rustls::pki_types::pem::{Error as PemError, PemObject};
use windlass::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use windlass::rustls::server::{NoServerSessionStorage, ProducesTickets, ServerConfig, WebPkiClientVerifier};
use windlass::{TlsServer, tls};

/// Where certificates come from.
#[derive(Default)]
pub(crate) struct Files {
    /// A chain and its key, in PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// Issuers of client certificates, in PEM; clients must show one then.
    pub(crate) client_ca: Option<PathBuf>,
}

/// What a listener needs to speak TLS.
///
/// Without files it makes a certificate for `localhost`, and writes it into `folder` for clients to trust.
pub(crate) fn server(files: &Files, folder: &Path) -> Result<TlsServer, Box<dyn Error>> {
    let (chain, key) = match &files.identity {
        Some((cert, key)) => read(cert, key)?,
        None => make(&folder.join(CERTIFICATE))?,
    };
    let provider = tls::provider();
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider.clone()).build()?,
        ),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    // Tickets hold the sessions, encrypted: nothing is stored here.
    config.ticketer = ticketer(&provider)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config).into())
}

/// The name of the certificate that is made.
pub(crate) const CERTIFICATE: &str = "echo.pem";

fn read(cert: &Path, key: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Box<dyn Error>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| format!("--cert {}: {error}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!("--cert {}: there is no certificate in it", cert.display()).into());
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        PemError::NoItemsFound => format!("--key {}: there is no private key in it", key.display()),
        error => format!("--key {}: {error}", key.display()),
    })?;
    Ok((chain, key))
}

fn make(path: &Path) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Box<dyn Error>> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)?;
    std::fs::write(path, made.cert.pem())?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    Ok((vec![made.cert.der().clone()], key))
}

fn roots(path: &Path) -> Result<RootCertStore, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    let failed = |error| format!("--client-ca {}: {error}", path.display());
    for root in CertificateDer::pem_file_iter(path).map_err(failed)? {
        roots.add(root.map_err(failed)?)?;
    }
    Ok(roots)
}

fn ticketer(provider: &CryptoProvider) -> Result<Arc<dyn ProducesTickets>, Box<dyn Error>> {
    let _ = provider;
    #[cfg(feature = "aws-lc-rs")]
    return Ok(windlass::rustls::crypto::aws_lc_rs::Ticketer::new()?);
    #[cfg(not(feature = "aws-lc-rs"))]
    Ok(windlass::rustls::crypto::ring::Ticketer::new()?)
}
