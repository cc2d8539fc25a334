//! What a server is built anew from, piece by piece: what cannot be used leaves what was good before in its place.
//!
//! Owns what becomes of names; what is returned of them is in `reloaded.rs`. Pieces are the certificates of a name, each by itself, and what
//! its clients are checked against.
//!
//! 1. A name that has nothing is refused; it never falls back to a configuration that asks for less. So each name of a
//!    builder gets a slot, and a name that cannot have one is an error of the whole builder.
//! 2. A reload that could take nothing changes nothing.
//! 3. Of two reloads the one that began last counts: each waits for the one before it.

use super::build::{ServerTlsBuilder, UnknownName};
use super::reloaded::{Instead, Reloaded};
use super::{Choice, Entry, ServerTls, Slot, Unknown};
use crate::error::Error;
use crate::shown::shown;
use crate::tls::key_log::Logs;
use crate::tls::pem::files::Files;
use rustls::pki_types::ServerName;
use std::collections::{HashMap, HashSet};

impl ServerTls {
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
    /// # fn reload(server: &windlass::ServerTls, builder: &windlass::ServerTlsBuilder) {
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
    /// As [`ServerTlsBuilder::build`], if nothing at all could be taken, or if a name of the builder is no DNS name, is
    /// there twice or has names of its own; everything stays as it was then.
    ///
    /// # Threads
    /// A `reload` or [`replace`](ServerTls::replace) waits for one that has begun before it, so that the last one counts.
    pub fn reload(&self, builder: &ServerTlsBuilder) -> Result<Reloaded, Error> {
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

impl ServerTlsBuilder {
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
    pub fn build(&self) -> Result<ServerTls, Error> {
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
    /// As [`ServerTlsBuilder::build`], if the usual configuration cannot be built, or if a name is no DNS name, is there
    /// twice or has names of its own.
    pub fn build_lenient(&self) -> Result<(ServerTls, Reloaded), Error> {
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
