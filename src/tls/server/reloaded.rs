//! What building or reloading a server's configurations took, and what it could not.
//!
//! Owns the report, and its words. What is taken is decided in `build.rs` and `reload.rs`.

use super::Entry;
use crate::error::Error;
use crate::shown::shown_key;
use crate::tls::validity::{not_after, seconds};
use rustls::pki_types::UnixTime;
use rustls::sign::CertifiedKey;
use std::fmt;

/// What [`ServerTls::reload`](super::ServerTls::reload) took and what it could not, or what
/// [`ServerTlsBuilder::build_lenient`](super::ServerTlsBuilder::build_lenient) left out.
#[derive(Debug, Default)]
#[must_use = "it says what could not be taken; log it"]
pub struct Reloaded {
    /// The names whose configuration is new, wholly or in part, as the builder has them; `None` is the usual one.
    pub taken: Vec<Option<String>>,
    /// What could not be used, with what is in its place.
    pub faults: Vec<NotTaken>,
}

/// Something that [`ServerTls::reload`](super::ServerTls::reload) or
/// [`ServerTlsBuilder::build_lenient`](super::ServerTlsBuilder::build_lenient) could not use.
#[derive(Debug)]
pub struct NotTaken {
    /// The name whose configuration it belongs to, as the builder has it; `None` for the usual one.
    pub name: Option<String>,
    /// What it is, and what is wrong with it.
    pub error: Error,
    /// What is served in its place.
    pub instead: Instead,
}

/// What is served in the place of something that could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// What was good before: the certificate, the client roots and revocation lists, or the whole configuration.
    LastGood,
    /// The same, of which the certificate has expired meanwhile: clients refuse it.
    Expired,
    /// The whole configuration that was good before, which asks clients for something else than the builder does, possibly
    /// for less: for no certificate, without these lists, or with stale ones. It stays until its fault is mended.
    AsksOtherwise,
    /// Nothing. One certificate among several is not served. A client that asks for a name that has none is refused with the
    /// alert unrecognized_name, whatever [`UnknownName`](super::UnknownName) says, since another configuration may ask its
    /// clients for less.
    Nothing,
}

impl Reloaded {
    /// Whether everything was taken.
    pub fn is_complete(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} configurations are new", self.taken.len(), self.taken.len() + self.names_without())?;
        self.faults.iter().try_for_each(|fault| write!(f, "; {fault}"))
    }
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.error, self.instead)
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Instead::LastGood => "what was good before stays",
            Instead::Expired => "what was good before stays, and has expired",
            Instead::AsksOtherwise => {
                "the whole configuration that was good before stays, which asks its clients for something else, possibly less"
            }
            Instead::Nothing => "it is left out",
        })
    }
}

impl Reloaded {
    fn names_without(&self) -> usize {
        let mut names: Vec<_> = self.faults.iter().map(|fault| &fault.name).collect();
        names.sort();
        names.dedup();
        names.iter().filter(|name| !self.taken.contains(name)).count()
    }

    /// Takes down what became of a name; returns what it is served with.
    pub(super) fn note(
        &mut self,
        name: Option<&String>,
        made: Result<Made, Unmade>,
        staying: Instead,
        old: Option<&Entry>,
    ) -> Option<Entry> {
        let mut fault = |error, instead| {
            let error = match (name, error) {
                (Some(name), Error::Tls { what, why }) => {
                    Error::Tls { what: format!("{what} (for {})", shown_key(name)), why }
                }
                (Some(name), Error::Config { field, value, why }) => {
                    Error::Config { field, value: format!("{value} (for {})", shown_key(name)), why }
                }
                (_, error) => error,
            };
            self.faults.push(NotTaken { name: name.cloned(), error, instead });
        };
        match made {
            Ok(made) => {
                made.faults.into_iter().for_each(|(error, instead)| fault(error, instead));
                if made.news == News::Some {
                    self.taken.push(name.cloned());
                }
                Some(made.entry)
            }
            Err(unmade) => {
                std::iter::once(unmade.why).chain(unmade.beside).for_each(|error| fault(error, staying));
                old.cloned()
            }
        }
    }

    /// The first fault alone.
    pub(super) fn into_first(mut self) -> Error {
        self.faults.truncate(1);
        self.into_error()
    }

    /// All faults as one error.
    pub(super) fn into_error(mut self) -> Error {
        const TOLD_MAX: usize = 5;
        if self.faults.len() == 1 {
            if let Some(only) = self.faults.pop() {
                return only.into_error();
            }
        }
        let mut why: Vec<_> = self.faults.iter().take(TOLD_MAX).map(ToString::to_string).collect();
        if self.faults.len() > TOLD_MAX {
            why.push(format!("and {} more", self.faults.len() - TOLD_MAX));
        }
        Error::Tls { what: "any of the configurations".to_owned(), why: why.join("; ") }
    }
}

impl NotTaken {
    fn into_error(self) -> Error {
        match self.error {
            Error::Tls { what, why } if self.instead != Instead::Nothing => {
                Error::Tls { what, why: format!("{why}; {}", self.instead) }
            }
            error => error,
        }
    }
}

/// An entry, and what could not be used for it.
pub(super) struct Made {
    pub(super) entry: Entry,
    pub(super) faults: Vec<(Error, Instead)>,
    pub(super) news: News,
}

/// Why there is no entry, and what else could not be used for it.
pub(super) struct Unmade {
    pub(super) why: Error,
    pub(super) beside: Vec<Error>,
}

/// Whether there is anything in an entry that was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Some,
    None,
}

/// What it means that these certificates stay.
pub(super) fn staying<'a>(mut keys: impl Iterator<Item = &'a CertifiedKey>) -> Instead {
    let now = UnixTime::now().as_secs();
    let ended =
        |key: &CertifiedKey| key.cert.first().and_then(|own| not_after(own)).is_some_and(|end| seconds(&end) < now);
    if keys.all(ended) { Instead::Expired } else { Instead::LastGood }
}
