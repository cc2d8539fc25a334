//! What a server is built anew from, piece by piece: what cannot be used leaves what was good before in its place.
//!
//! Owns what becomes of names, and what is told of them. Pieces are the certificates of a name, each by itself, and what
//! its clients are checked against.
//!
//! 1. A name that has nothing is refused; it never falls back to a configuration that asks for less. So each name of a
//!    builder gets a slot, and a name that cannot have one is an error of the whole builder.
//! 2. A reload that could take nothing changes nothing.
//! 3. Of two reloads the one that began last counts: each waits for the one before it.

use super::build::{TlsServerBuilder, UnknownName};
use super::{Choice, Entry, Slot, TlsServer, Unknown};
use crate::error::Error;
use crate::shown::{shown, shown_key};
use crate::tls::key_log::Logs;
use crate::tls::pem::files::Files;
use crate::tls::validity::{not_after, seconds};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// What [`TlsServer::reload`] took and what it could not, or what [`TlsServerBuilder::build_lenient`] left out.
#[derive(Debug, Default)]
#[must_use = "it says what could not be taken; log it"]
pub struct Reloaded {
    /// The names whose configuration is new, wholly or in part, as the builder has them; `None` is the usual one.
    pub taken: Vec<Option<String>>,
    /// What could not be used, with what is in its place.
    pub faults: Vec<NotTaken>,
}

/// Something that [`TlsServer::reload`] or [`TlsServerBuilder::build_lenient`] could not use.
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
    /// alert unrecognized_name, whatever [`UnknownName`] says, since another configuration may ask its clients for less.
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

    /// The first fault alone.
    fn into_first(mut self) -> Error {
        self.faults.truncate(1);
        self.into_error()
    }

    /// All faults as one error.
    fn into_error(mut self) -> Error {
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

impl TlsServer {
    /// Builds anew, reading all files again, and takes the result for handshakes from now on; connections that there
    /// are keep what they have. From any thread; it blocks for as long as reading takes.
    ///
    /// What cannot be used does not keep the rest from being taken: for each certificate, and for the client roots and
    /// revocation lists of each name, what was good before stays, and what is returned names the fault (of the roots and
    /// lists of one name the first). A name that had nothing good before is left out: clients that ask for it are refused.
    /// The whole configuration of a name stays where the certificate that was good before does not fit the new settings,
    /// and where roots or lists are wrong and clients are asked for something else than before
    /// ([`Instead::AsksOtherwise`]). Names that are not in the builder any more
    /// are gone. So log what is returned:
    ///
    /// ```no_run
    /// # fn reload(server: &windlass::TlsServer, builder: &windlass::TlsServerBuilder) {
    /// match server.reload(builder) {
    ///     Ok(reloaded) => reloaded.faults.iter().for_each(|fault| log::warn!("certificates: {fault}")),
    ///     Err(error) => log::warn!("certificates: nothing is new: {error}"),
    /// }
    /// # }
    /// ```
    ///
    /// Ticket keys stay, for each name, and so do the `truncation` and `offload` of listeners. Who resumes a session is
    /// checked against what is new.
    ///
    /// # Errors
    /// As [`TlsServerBuilder::build`], if nothing at all could be taken, or if a name of the builder is no DNS name, is
    /// there twice or has names of its own; everything stays as it was then.
    ///
    /// # Threads
    /// A `reload` or [`replace`](TlsServer::replace) waits for one that has begun before it, so that the last one counts.
    pub fn reload(&self, builder: &TlsServerBuilder) -> Result<Reloaded, Error> {
        builder.check_names()?;
        let _turn = self.turn();
        let choice = builder.read(&mut Files::default()).choice(Some(&self.choice()));
        let (choice, reloaded) = choice.map_err(Reloaded::into_error)?;
        if reloaded.taken.is_empty() {
            return Err(reloaded.into_error());
        }
        self.swap(choice);
        Ok(reloaded)
    }
}

impl TlsServerBuilder {
    /// Reads and checks everything: each file once, so that it may be a pipe, then what peers would refuse, then a
    /// handshake with itself in memory for each certificate and version. That takes 0.2 to 1 ms a certificate, with RSA a
    /// few more.
    ///
    /// # Errors
    /// `Error::Tls` names the file, the item and line in it, name or list, what is wrong with it, and how to mend it: it
    /// cannot be read, is of another kind or form, is damaged, or has more than 64 MiB; the key is not that of the
    /// certificate, or of a kind that is not supported; the certificate of the key has expired or is not valid yet, is a CA's or is not
    /// for servers; the chain is out of order, or longer than peers take (64,000 bytes, 100
    /// certificates); the names of client issuers take more than the chain leaves of those bytes; no suite fits the key;
    /// a name is no DNS name, is there twice or has names of its own. `Error::Config` where settings do not fit each other.
    /// No text has a byte of PEM, or eight characters in a row of a key that was given for something else. What only some
    /// peers mind is taken, and a warning is logged: no subjectAltName (RFC 9525), issuers that have expired, certificates
    /// that are not of the chain.
    pub fn build(&self) -> Result<TlsServer, Error> {
        self.check_names()?;
        let (choice, built) = self.read(&mut Files::default()).choice(None).map_err(Reloaded::into_first)?;
        match built.faults.is_empty() {
            true => Ok(self.server(choice)),
            false => Err(built.into_first()),
        }
    }

    /// The same, for a server that must start although somebody's certificate has expired: what cannot be used is left out,
    /// and returned. A later `reload` takes it, once it is good.
    ///
    /// The usual configuration must be there: at least one of its certificates, and all that its clients are checked
    /// against. Clients that ask for a name that is left out are refused, also where a wildcard would be for it.
    ///
    /// # Errors
    /// As [`TlsServerBuilder::build`], if the usual configuration cannot be built, or if a name is no DNS name, is there
    /// twice or has names of its own.
    pub fn build_lenient(&self) -> Result<(TlsServer, Reloaded), Error> {
        self.check_names()?;
        let (choice, built) = self.read(&mut Files::default()).choice(None).map_err(Reloaded::into_error)?;
        Ok((self.server(choice), built))
    }

    /// Whether each name is one that clients can ask for. What is wrong here is the program's: no file mends it, and nobody
    /// knows which name was meant to have its configuration.
    fn check_names(&self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for (name, builder) in self.names() {
            let plain = plain(name);
            let host = plain.strip_prefix("*.").unwrap_or(&plain);
            let is_name = matches!(ServerName::try_from(host), Ok(ServerName::DnsName(_))) && !host.ends_with('.');
            let why = match (is_name, builder.names().is_empty()) {
                (false, _) => "it is no DNS name, and no *. before one",
                (true, false) => "its configuration has names of its own; put them beside it",
                (true, true) if seen.insert(plain.clone()) => continue,
                (true, true) => "it is given twice",
            };
            return Err(Error::Tls { what: format!("name {}", shown(name)), why: why.to_owned() });
        }
        Ok(())
    }

    /// What can be used, with what was good in `old` in the place of what cannot; else what is wrong with the usual
    /// configuration.
    fn choice(&self, old: Option<&Choice>) -> Result<(Choice, Reloaded), Reloaded> {
        let (mut told, mut logs) = (Reloaded::default(), Logs::default());
        let before = old.map(|old| &old.usual);
        let made = self.entry(before, &mut logs);
        let Some(usual) = told.note(None, made, self.staying(before), before) else { return Err(told) };
        let (mut exact, mut wildcards) = (HashMap::new(), HashMap::new());
        for (name, builder) in self.names() {
            let plain = plain(name);
            let (slots, old, plain) = match plain.strip_prefix("*.") {
                Some(parent) => (&mut wildcards, old.map(|old| &old.wildcards), parent),
                None => (&mut exact, old.map(|old| &old.exact), plain.as_str()),
            };
            let old = old.and_then(|old| old.get(plain)).and_then(Slot::entry);
            let made = builder.entry(old, &mut logs);
            let slot = match told.note(Some(name), made, builder.staying(old), old) {
                Some(entry) => Slot::Taken(entry),
                None => Slot::LeftOut,
            };
            slots.insert(Box::from(plain), slot);
        }
        let unknown = match self.unknown() {
            UnknownName::Usual => Unknown::Usual,
            UnknownName::Refused => Unknown::Refused,
        };
        Ok((Choice { usual, exact, wildcards, unknown }, told))
    }

    /// What it means that `old` stays as a whole.
    fn staying(&self, old: Option<&Entry>) -> Instead {
        match old {
            None => Instead::Nothing,
            Some(old) if !self.asks_as(old) => Instead::AsksOtherwise,
            Some(old) => old.staying(),
        }
    }
}

/// As names are compared.
fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl Reloaded {
    /// Takes down what became of a name; returns what it is served with.
    fn note(
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
}
