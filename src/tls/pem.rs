//! Certificates, keys and revocation lists in PEM (RFC 7468), from files or bytes.
//!
//! Owns what is read, which of its items are used where, and how it is told when it cannot be used.
//!
//! 1. Of what an item holds no byte gets into an error or into Debug, and of a text that is no path no eight characters in a
//!    row.
//! 2. Each item is used, passed over because it is of a kind that belongs beside the wanted one, or an error.

use crate::error::Error;
use items::{Fault, Item, Label};
use rustls::RootCertStore;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) mod der;
pub(super) mod files;
pub(super) mod foreign;
pub(super) mod items;
mod shown;

use files::Contents;

/// Where something in PEM comes from. A file is read once whenever a configuration is built or reloaded, however often it
/// is named there, also by a symbolic link, so it can be a pipe; it has at most 64 MiB. Reading waits for whoever writes to a
/// pipe: for as long as nobody does, `build` and `reload` do not return.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    File(PathBuf),
    /// A file, and what it held when it was read for one decision.
    Read(PathBuf, Arc<Contents>),
    Bytes(Arc<[u8]>),
}

/// What an item is to be used as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Certificate,
    Root,
    Key,
    List,
}

/// A certificate, and where it was found.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) der: CertificateDer<'static>,
    pub(super) number: usize,
    pub(super) line: usize,
}

/// A private key, and where it was found.
pub(super) struct HeldKey {
    pub(super) der: PrivateKeyDer<'static>,
    number: usize,
    line: usize,
}

impl Pem {
    /// From a file.
    pub fn file(path: impl Into<PathBuf>) -> Pem {
        Pem(Place::File(path.into()))
    }

    /// From these bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Pem {
        Pem(Place::Bytes(bytes.into().into()))
    }

    /// From a text of a configuration: PEM if it looks like that, or cannot be a path; else the path of a file.
    #[cfg(feature = "serde")]
    pub(crate) fn of_text(text: &str) -> Pem {
        // What many editors and shells leave behind a path.
        let path = text.strip_suffix('\n').map_or(text, |path| path.strip_suffix('\r').unwrap_or(path));
        let is_content = text.contains("-----BEGIN") || path.contains(['\n', '\r', '\0']);
        if is_content { Pem::bytes(text) } else { Pem::file(path) }
    }

    /// What [`Pem::of_text`] takes for the same; `None` if a path or the bytes are not UTF-8.
    #[cfg(feature = "serde")]
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.0 {
            Place::File(path) | Place::Read(path, _) => path.to_str(),
            Place::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }

    /// The same with its file read, unless that was done before.
    pub(super) fn read(&self, files: &mut files::Files) -> Pem {
        match &self.0 {
            Place::File(path) => Pem(Place::Read(path.clone(), files.read(path))),
            Place::Read(..) | Place::Bytes(_) => self.clone(),
        }
    }

    /// The same without what its file held.
    pub(super) fn place(&self) -> Pem {
        match &self.0 {
            Place::Read(path, _) => Pem(Place::File(path.clone())),
            Place::File(_) | Place::Bytes(_) => self.clone(),
        }
    }

    /// Every certificate of a chain, in its order.
    pub(super) fn certificates(&self) -> Result<Vec<Found>, Error> {
        self.found(Wanted::Certificate)
    }

    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        Ok(self.certificates()?.into_iter().map(|found| found.der).collect())
    }

    pub(super) fn revoked(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
        let items = self.used(Wanted::List)?;
        for item in &items {
            if let Some(why) = foreign::bad_list(&item.der, &self.name()) {
                return Err(self.unfit(Wanted::List.noun(), item.unfit(why).text()));
            }
        }
        Ok(items.into_iter().map(|item| CertificateRevocationListDer::from(item.der)).collect())
    }

    /// The only private key.
    pub(super) fn key(&self) -> Result<HeldKey, Error> {
        let mut items = self.used(Wanted::Key)?;
        if let [first, second, ..] = &items[..] {
            let why = format!(
                "it holds more than one private key, items {} (line {}) and {} (line {}); keep only the one to use",
                first.number, first.line, second.number, second.line
            );
            return Err(self.unfit(Wanted::Key.noun(), why));
        }
        let item = items.pop().expect("`used` returns at least one");
        let der = match item.label {
            Label::RsaKey => PrivatePkcs1KeyDer::from(item.der).into(),
            Label::EcKey => PrivateSec1KeyDer::from(item.der).into(),
            _ => PrivatePkcs8KeyDer::from(item.der).into(),
        };
        Ok(HeldKey { der, number: item.number, line: item.line })
    }

    pub(super) fn add_roots(&self, roots: &mut RootCertStore) -> Result<(), Error> {
        for root in self.found(Wanted::Root)? {
            let why = |error: rustls::Error| foreign::bad_certificate(&root.der, Wanted::Root, &self.name(), &error);
            roots.add(root.der.clone()).map_err(|error| self.unfit_item(Wanted::Root, &root, why(error)))?;
        }
        Ok(())
    }

    fn found(&self, wanted: Wanted) -> Result<Vec<Found>, Error> {
        let found = |item: Item| Found { number: item.number, line: item.line, der: item.der.into() };
        Ok(self.used(wanted)?.into_iter().map(found).collect())
    }

    /// The items that are to be used, at least one.
    fn used(&self, wanted: Wanted) -> Result<Vec<Item>, Error> {
        let faulty = |fault: Fault| self.unfit(wanted.noun(), fault.text());
        let held;
        let bytes = match &self.0 {
            Place::Bytes(bytes) => &bytes[..],
            Place::Read(_, contents) => contents.as_ref().as_ref().map_err(|failed| self.unread(wanted, failed))?,
            Place::File(path) => {
                held = files::read(path).map_err(|failed| self.unread(wanted, &failed))?;
                &held
            }
        };
        let name = self.name();
        let all = items::of(bytes).map_err(faulty)?;
        if all.is_empty() {
            return Err(self.unfit(wanted.noun(), foreign::what_it_is(bytes, wanted, &name)));
        }
        let (mut used, mut beside) = (Vec::new(), None);
        for item in all {
            match item.label.place(wanted) {
                items::Use::Wanted => used.push(item),
                items::Use::Beside => beside = beside.or(Some(item)),
                items::Use::Wrong => {
                    let why = foreign::wrong_item(&item, wanted, &name);
                    return Err(faulty(item.unfit(why)));
                }
            }
        }
        match (used.is_empty(), beside) {
            (true, Some(item)) => Err(self.unfit(wanted.noun(), foreign::only_beside(&item, wanted))),
            _ => Ok(used),
        }
    }

    /// For a command line: the file's name, or a word that stands for one.
    pub(super) fn name(&self) -> String {
        match &self.0 {
            Place::File(path) | Place::Read(path, _) if self.is_shown() => shown::quoted(path),
            _ => "FILE".to_owned(),
        }
    }

    /// A fault of it, behind its name.
    #[cfg(feature = "platform-roots")]
    pub(super) fn called(&self, error: &std::io::Error) -> String {
        match &self.0 {
            Place::File(path) if self.is_shown() => format!("{}: {error}", Path::display(path)),
            _ => error.to_string(),
        }
    }

    fn is_shown(&self) -> bool {
        match &self.0 {
            Place::File(path) => shown::may_be(path) || shown::is_known(path),
            Place::Read(path, contents) => files::is_there(contents) || shown::may_be(path) || shown::is_known(path),
            Place::Bytes(_) => false,
        }
    }

    /// It cannot be used as `what`.
    pub(super) fn unfit(&self, what: &str, why: String) -> Error {
        Error::Tls { what: self.described(what), why }
    }

    /// `what`, and where it is from.
    pub(super) fn described(&self, what: &str) -> String {
        match &self.0 {
            Place::File(path) | Place::Read(path, _) if self.is_shown() => format!("{what} {}", Path::display(path)),
            Place::File(path) | Place::Read(path, _) => match shown::in_part(path) {
                Some(part) => format!("{what} {part}"),
                None => format!("{what} from {}", shown::instead_of(path)),
            },
            Place::Bytes(_) => format!("{what} given as bytes"),
        }
    }

    /// One of its items cannot be used.
    pub(super) fn unfit_item(&self, wanted: Wanted, found: &Found, why: String) -> Error {
        self.unfit(wanted.noun(), Fault { item: Some((found.number, found.line)), why }.text())
    }

    /// Its key cannot be used.
    pub(super) fn unfit_key(&self, key: &HeldKey, why: String) -> Error {
        self.unfit(Wanted::Key.noun(), Fault { item: Some((key.number, key.line)), why }.text())
    }

    fn unread(&self, wanted: Wanted, failed: &files::Unread) -> Error {
        let content = match &self.0 {
            Place::File(path) | Place::Read(path, _) if !self.is_shown() && !failed.is_denied() => {
                Some(path.as_os_str().as_encoded_bytes())
            }
            _ => None,
        };
        let Some(content) = content else { return self.unfit(wanted.noun(), failed.text.clone()) };
        let is_in_folder = |path: &PathBuf| shown::in_part(path).is_some();
        let why = match items::of(content) {
            // It may well be a path, of which a name is not shown.
            _ if matches!(&self.0, Place::File(path) | Place::Read(path, _) if is_in_folder(path)) => {
                return self.unfit(wanted.noun(), failed.text.clone());
            }
            Err(fault) => fault.why,
            Ok(all) if all.is_empty() => foreign::what_it_is(content, wanted, "FILE"),
            Ok(_) => "it is PEM, not the name of a file".to_owned(),
        };
        let mend = "name a file, or give the PEM itself with all of its lines";
        self.unfit(wanted.noun(), format!("{}; as a text: {why}; {mend}", failed.text))
    }
}

impl Wanted {
    pub(super) fn noun(self) -> &'static str {
        match self {
            Wanted::Certificate => "certificate",
            Wanted::Root => "root certificate",
            Wanted::Key => "private key",
            Wanted::List => "revocation list",
        }
    }

    /// The same of one item: in a file a root is a certificate as any other.
    fn item(self) -> &'static str {
        match self {
            Wanted::Root => Wanted::Certificate.noun(),
            other => other.noun(),
        }
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

// Not derived: bytes may be a key, and so may a text that was given for a path.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::File(path) | Place::Read(path, _) if shown::may_be(path) => {
                f.debug_tuple("Pem").field(path).finish()
            }
            Place::File(path) | Place::Read(path, _) => write!(f, "Pem({})", shown::instead_of(path)),
            Place::Bytes(bytes) => write!(f, "Pem({} bytes)", bytes.len()),
        }
    }
}
