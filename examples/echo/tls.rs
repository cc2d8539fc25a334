//! The TLS side of a server: a certificate from files, or one that it makes itself.

use std::error::Error;
use std::path::{Path, PathBuf};
use windlass::tls::{ClientAuth, Pem};
use windlass::{ServerTls, ServerTlsBuilder};

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
pub(crate) fn server(files: &Files, folder: &Path) -> Result<ServerTlsBuilder, Box<dyn Error>> {
    let (chain, key) = match &files.identity {
        Some((cert, key)) => (Pem::file(cert), Pem::file(key)),
        None => make(&folder.join(CERTIFICATE))?,
    };
    let tls = ServerTls::builder().certificate(chain, key);
    Ok(match &files.client_ca {
        None => tls,
        Some(path) => tls.client_auth(ClientAuth::Required).client_roots(Pem::file(path)),
    })
}

/// The name of the certificate that is made.
pub(crate) const CERTIFICATE: &str = "echo.pem";

fn make(path: &Path) -> Result<(Pem, Pem), Box<dyn Error>> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names)?;
    std::fs::write(path, made.cert.pem())?;
    Ok((Pem::bytes(made.cert.pem()), Pem::bytes(made.signing_key.serialize_pem())))
}
