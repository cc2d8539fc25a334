//! Certificates, keys and revocation lists in PEM (RFC 7468), from files or bytes.
//!
//! Owns what is read and how it is told when it cannot be used.

use crate::error::Error;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where something in PEM comes from. A file is read whenever a configuration is built or reloaded.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Pem {
    /// From a file.
    pub fn file(path: impl Into<PathBuf>) -> Pem {
        Pem(Place::File(path.into()))
    }

    /// From these bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Pem {
        Pem(Place::Bytes(bytes.into()))
    }

    /// From a text of a configuration: PEM if it looks like that, else the path of a file.
    #[cfg(feature = "serde")]
    pub(crate) fn of_text(text: &str) -> Pem {
        if text.contains("-----BEGIN") { Pem::bytes(text) } else { Pem::file(text) }
    }

    /// What [`Pem::of_text`] takes for the same; `None` if a path or the bytes are not UTF-8.
    #[cfg(feature = "serde")]
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.0 {
            Place::File(path) => path.to_str(),
            Place::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }

    /// Every item of one kind.
    fn all<T: PemObject>(&self, what: &str) -> Result<Vec<T>, Error> {
        let read = match &self.0 {
            Place::File(path) => T::pem_file_iter(path).and_then(Iterator::collect),
            Place::Bytes(bytes) => T::pem_slice_iter(bytes).collect(),
        };
        let items: Vec<T> = read.map_err(|error| self.unfit(what, told(&error)))?;
        if items.is_empty() { Err(self.unfit(what, format!("there is no {what} in it"))) } else { Ok(items) }
    }

    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.all("certificate")
    }

    pub(super) fn revoked(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        self.all("revocation list")
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        let read = match &self.0 {
            Place::File(path) => PrivateKeyDer::from_pem_file(path),
            Place::Bytes(bytes) => PrivateKeyDer::from_pem_slice(bytes),
        };
        read.map_err(|error| {
            let why = match error {
                pem::Error::NoItemsFound => {
                    "there is no private key in it (one behind a password must be decrypted first)".to_owned()
                }
                error => told(&error),
            };
            self.unfit("private key", why)
        })
    }

    pub(super) fn add_roots(&self, roots: &mut RootCertStore) -> Result<(), Error> {
        for root in self.chain()? {
            roots.add(root).map_err(|error| self.unfit("root certificate", error.to_string()))?;
        }
        Ok(())
    }

    /// It cannot be used as `what`.
    pub(super) fn unfit(&self, what: &str, why: String) -> Error {
        let what = match &self.0 {
            Place::File(path) => format!("{what} {}", Path::display(path)),
            Place::Bytes(_) => format!("{what} given as bytes"),
        };
        Error::Tls { what, why }
    }
}

fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Pem {
        Pem::file(path)
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Pem {
        Pem::file(path)
    }
}

// Not derived: bytes may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) => f.debug_tuple("Pem").field(path).finish(),
            Place::Bytes(bytes) => write!(f, "Pem({} bytes)", bytes.len()),
        }
    }
}
