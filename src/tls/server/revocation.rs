//! Revocation lists (CRL; RFC 5280, section 5) for client certificates: which of them count, and which are refused.
//!
//! Owns what rustls leaves open: of several lists that cover the same certificates it takes the first, it looks at no
//! date before a handshake, and it finds out then that a list is nobody's, or has a bad signature.
//!
//! 1. The lists that are handed on in one set have different issuers or scopes, and the newest come first; those for all
//!    certificates of their issuer come last, since rustls asks none behind them. What it overlooks then `scopes` looks at.

use super::ListPolicy;
use super::scopes::{Listed, Several};
use crate::error::Error;
use crate::tls::pem::Pem;
use crate::tls::validity::seconds;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateRevocationListDer, TrustAnchor, UnixTime};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertRevocationListError, RootCertStore};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier};
use x509_cert::der::{self, Decode, Reader, SliceReader, Tag, TagMode, TagNumber};
use x509_cert::ext::{Extensions, pkix::KeyUsage};
use x509_cert::name::Name;
use x509_cert::time::Time;

/// What lists are measured by.
pub(super) struct Measure<'a> {
    /// Who may issue client certificates.
    pub(super) roots: &'a Arc<RootCertStore>,
    /// Issuers between roots and clients, as far as they are known.
    pub(super) between: &'a RootCertStore,
    pub(super) provider: &'a Arc<CryptoProvider>,
    pub(super) stale: ListPolicy,
    pub(super) foreign: ListPolicy,
    pub(super) now: UnixTime,
}

/// Lists for one verifier.
pub(super) type Lists = Vec<CertificateRevocationListDer<'static>>;

/// Lists with one key to each issuer's name.
pub(super) struct Set {
    pub(super) lists: Lists,
    pub(super) several: Several,
}

/// Verifiers that there may be for lists of issuers of one name. Of one more key to one name there are two.
const SETS_MAX: usize = 16;

/// How far ahead of this machine's clock an issuer's may be.
const SKEW_SECONDS: u64 = 300;

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// What a list says of itself.
struct Head<'a> {
    /// As it is signed.
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// The name, with its tag.
    issuer: &'a [u8],
    made: Time,
    due: Time,
    /// Its entries, with the tag around them; empty if there are none.
    revoked: &'a [u8],
    /// Its most significant byte first, without zeros in front.
    number: Vec<u8>,
    /// Its issuing distribution point, in DER; empty if it is for all certificates of its issuer.
    scope: Vec<u8>,
}

/// A list that may count.
struct Candidate<'p> {
    place: Place<'p>,
    list: CertificateRevocationListDer<'static>,
    issuer: Vec<u8>,
    scope: Vec<u8>,
    made: Time,
    due: Time,
    number: Vec<u8>,
    signer: Signer,
}

/// Whose key made the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Signer {
    /// This one's, as SubjectPublicKeyInfo without its tag.
    Key(Vec<u8>),
    /// That of an issuer who is not known here.
    Foreign,
}

/// Where a list comes from, for errors.
#[derive(Clone, Copy)]
struct Place<'p> {
    pem: &'p Pem,
    number: usize,
    of: usize,
}

impl Place<'_> {
    fn unfit(&self, why: String) -> Error {
        match self.of {
            1 => self.pem.unfit("revocation list", why),
            of => self.pem.unfit(&format!("revocation list {} of {of} in", self.number), why),
        }
    }
}

impl Measure<'_> {
    /// Those of `given` that count: in each set there is one key to an issuer's name, and there is at least one set.
    ///
    /// # Errors
    /// `Error::Tls` names the first that cannot be used.
    pub(super) fn choose(&self, given: &[Pem]) -> Result<Vec<Set>, Error> {
        let mut candidates = Vec::new();
        for pem in given {
            let lists = pem.revoked()?;
            let of = lists.len();
            for (at, list) in lists.into_iter().enumerate() {
                candidates.push(self.candidate(Place { pem, number: at + 1, of }, list)?);
            }
        }
        // The sort is stable: of two that say the same of themselves the first that was given counts.
        candidates.sort_by(|a, b| b.age().cmp(&a.age()));
        let mut chosen: Vec<Candidate<'_>> = Vec::new();
        for candidate in candidates {
            if !chosen.iter().any(|other| other.stands_for(&candidate)) {
                self.check_dates(&candidate)?;
                chosen.push(candidate);
            }
        }
        self.tell_of_missing(&chosen);
        apart(&chosen)
    }

    fn candidate<'p>(
        &self,
        place: Place<'p>,
        list: CertificateRevocationListDer<'static>,
    ) -> Result<Candidate<'p>, Error> {
        let one = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), self.provider.clone());
        if let Err(VerifierBuilderError::InvalidCrl(error)) = one.with_crls([list.clone()]).build() {
            return Err(place.unfit(unusable(&error)));
        }
        let head = Head::read(&list).map_err(|error| place.unfit(format!("it cannot be read: {error}")))?;
        let signer = self.signer(&head).map_err(|why| place.unfit(why))?;
        if signer == Signer::Foreign {
            let why = format!(
                "its issuer, {}, is none of client_roots and list_issuers: if none of your clients is its, the list does \
                 nothing, and clients of other issuers are refused for want of a list; give the right list, give the \
                 issuer's certificate to list_issuers, or set foreign_lists to warn",
                named(head.issuer)
            );
            self.foreign.apply(place.unfit(why))?;
        }
        let (issuer, scope, number) = (head.issuer.to_vec(), head.scope, head.number);
        let (made, due) = (head.made, head.due);
        Ok(Candidate { place, issuer, scope, made, due, number, signer, list })
    }

    /// Who signed it.
    fn signer(&self, head: &Head<'_>) -> Result<Signer, String> {
        let name = head.issuer_value();
        let known = || self.roots.roots.iter().chain(&self.between.roots);
        let mut named_so = known().filter(|anchor| anchor.subject.as_ref() == name).peekable();
        if named_so.peek().is_none() {
            return Ok(Signer::Foreign);
        }
        match named_so.find(|anchor| self.has_signed(anchor, head)) {
            Some(anchor) => Ok(Signer::Key(anchor.subject_public_key_info.to_vec())),
            None if !self.is_verifiable(head) => Err(format!(
                "{} has signed it by an algorithm that is not supported here, such as one with SHA-1; have it sign by RSA, \
                 ECDSA or Ed25519 with SHA-256 or a longer one",
                named(head.issuer)
            )),
            None => Err(format!(
                "its signature is not by the key of {}: it was altered, or is of another issuer of that name; fetch it anew",
                named(head.issuer)
            )),
        }
    }

    /// Whether there is any key that could verify it.
    fn is_verifiable(&self, head: &Head<'_>) -> bool {
        let all = self.provider.signature_verification_algorithms.all;
        all.iter().any(|one| one.signature_alg_id().as_ref() == head.algorithm)
    }

    fn has_signed(&self, anchor: &TrustAnchor<'_>, head: &Head<'_>) -> bool {
        let Ok((algorithm, key)) = key_of(anchor) else { return false };
        let all = self.provider.signature_verification_algorithms.all;
        all.iter()
            .filter(|one| {
                one.public_key_alg_id().as_ref() == algorithm && one.signature_alg_id().as_ref() == head.algorithm
            })
            .any(|one| one.verify_signature(key, head.signed, head.signature).is_ok())
    }

    fn check_dates(&self, list: &Candidate<'_>) -> Result<(), Error> {
        let now = self.now.as_secs();
        let why = if seconds(&list.due) <= now {
            format!(
                "a newer one of {} was due at {}, and who was revoked since is not on it; fetch the new one, or set \
                 stale_lists to warn",
                named(&list.issuer),
                list.due
            )
        } else if seconds(&list.made) > now.saturating_add(SKEW_SECONDS) {
            format!(
                "{} has made it for {} and later; set this machine's clock right, give the present list, or set \
                 stale_lists to warn",
                named(&list.issuer),
                list.made
            )
        } else {
            return Ok(());
        };
        self.stale.apply(list.place.unfit(why))
    }

    /// Once there is a list, a root that has none lets nobody in.
    fn tell_of_missing(&self, chosen: &[Candidate<'_>]) {
        let has = |root: &TrustAnchor<'_>| {
            let is_its = |list: &Candidate<'_>| match &list.signer {
                Signer::Key(key) => key.as_slice() == root.subject_public_key_info.as_ref(),
                Signer::Foreign => false,
            };
            chosen.iter().any(is_its)
        };
        for root in self.roots.roots.iter().filter(|root| !chosen.is_empty() && !has(root)) {
            let name = tagged(root.subject.as_ref());
            log::warn!(
                "tls: there are revocation lists, but none of the client root {}: whom it has issued a certificate is \
                 refused (unknown revocation status); give its list too",
                named(&name)
            );
        }
    }
}

impl ListPolicy {
    fn apply(self, error: Error) -> Result<(), Error> {
        match (self, error) {
            (ListPolicy::Refuse, error) => Err(error),
            (ListPolicy::Warn, Error::Tls { what, why }) => {
                log::warn!("tls: {what} is used, but {why}");
                Ok(())
            }
            (ListPolicy::Warn, error) => {
                log::warn!("tls: {error}");
                Ok(())
            }
        }
    }
}

impl Candidate<'_> {
    fn age(&self) -> (u64, usize, &[u8]) {
        (seconds(&self.made), self.number.len(), &self.number)
    }

    /// Whether it is for all certificates of its issuer.
    fn is_complete(&self) -> bool {
        self.scope.is_empty()
    }

    /// Whether it is about all that `older` is about.
    fn stands_for(&self, older: &Candidate<'_>) -> bool {
        (&self.issuer, &self.scope, &self.signer) == (&older.issuer, &older.scope, &older.signer)
    }
}

/// Sets of lists with one key to an issuer's name in each: one for every way to take a key of each name.
fn apart(chosen: &[Candidate<'_>]) -> Result<Vec<Set>, Error> {
    let mut keys: BTreeMap<&[u8], Vec<&Signer>> = BTreeMap::new();
    for one in chosen {
        let keys = keys.entry(&one.issuer).or_default();
        if !keys.contains(&&one.signer) {
            keys.push(&one.signer);
        }
    }
    let mut sets: Vec<Vec<&Candidate<'_>>> = vec![Vec::new()];
    for (name, keys) in &keys {
        if sets.len() * keys.len() > SETS_MAX {
            let what = format!("revocation lists of {}", named(name));
            let why = format!(
                "issuers of one name have {} keys with lists of their own, and with those of other names there are more \
                 than {SETS_MAX} ways to combine them; put the issuers in servers or names of their own",
                keys.len()
            );
            return Err(Error::Tls { what, why });
        }
        let mut next = Vec::new();
        for key in keys {
            let its = || chosen.iter().filter(|one| one.issuer == *name && one.signer == **key);
            next.extend(sets.iter().map(|set| set.iter().copied().chain(its()).collect::<Vec<_>>()));
        }
        sets = next;
    }
    sets.into_iter().map(Set::of).collect()
}

impl Set {
    fn of(mut given: Vec<&Candidate<'_>>) -> Result<Set, Error> {
        given.sort_by(|a, b| a.is_complete().cmp(&b.is_complete()).then(b.age().cmp(&a.age())));
        let mut several = Several::new();
        for one in &given {
            if given.iter().filter(|other| other.issuer == one.issuer).count() > 1 {
                let serials = Head::read(&one.list).and_then(|head| head.serials());
                let serials = serials.map_err(|error| one.place.unfit(format!("it cannot be read: {error}")))?;
                let listed = Listed { is_complete: one.is_complete(), due_seconds: seconds(&one.due), serials };
                several.entry(one.issuer.clone()).or_default().push(listed);
            }
        }
        Ok(Set { lists: given.iter().map(|one| one.list.clone()).collect(), several })
    }
}

impl<'a> Head<'a> {
    fn read(list: &'a [u8]) -> der::Result<Head<'a>> {
        let mut outer = SliceReader::new(AnyRef::from_der(list)?.value())?;
        let signed = outer.tlv_bytes()?;
        let algorithm: AnyRef<'a> = outer.decode()?;
        let signature: BitStringRef<'a> = outer.decode()?;
        let mut inner = SliceReader::new(AnyRef::from_der(signed)?.value())?;
        for _version_algorithm in 0..2 {
            inner.tlv_bytes()?;
        }
        let issuer = inner.tlv_bytes()?;
        let (made, due) = (inner.decode()?, inner.decode()?);
        let revoked = match Tag::peek(&inner)? {
            Tag::Sequence => inner.tlv_bytes()?,
            _ => &[],
        };
        let extensions: Option<Extensions> = inner.context_specific(TagNumber(0), TagMode::Explicit)?;
        let extensions = extensions.unwrap_or_default();
        let value = |id| extensions.iter().find(|one| one.extn_id == id).map(|one| one.extn_value.as_bytes());
        let number = value(CRL_NUMBER).map(AnyRef::from_der).transpose()?;
        let number = number.map(|number| number.value().to_vec()).unwrap_or_default();
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let scope = value(DISTRIBUTION_POINT).unwrap_or_default().to_vec();
        Ok(Head {
            signed,
            algorithm: algorithm.value(),
            signature: signature.raw_bytes(),
            issuer,
            made,
            due,
            revoked,
            number: number[zeros..].to_vec(),
            scope,
        })
    }

    /// Those that are revoked, with their tags.
    fn serials(&self) -> der::Result<HashSet<Vec<u8>>> {
        let mut serials = HashSet::new();
        if self.revoked.is_empty() {
            return Ok(serials);
        }
        let mut entries = SliceReader::new(AnyRef::from_der(self.revoked)?.value())?;
        while !entries.is_finished() {
            let entry: AnyRef<'_> = entries.decode()?;
            serials.insert(SliceReader::new(entry.value())?.tlv_bytes()?.to_vec());
        }
        Ok(serials)
    }

    /// The name without its tag, as rustls keeps those of issuers.
    fn issuer_value(&self) -> &'a [u8] {
        AnyRef::from_der(self.issuer).map(|name| name.value()).unwrap_or_default()
    }
}

/// The algorithm, without its tag, and the key of an issuer.
fn key_of<'a>(anchor: &'a TrustAnchor<'_>) -> der::Result<(&'a [u8], &'a [u8])> {
    let mut reader = SliceReader::new(anchor.subject_public_key_info.as_ref())?;
    let (algorithm, key): (AnyRef<'a>, BitStringRef<'a>) = (reader.decode()?, reader.decode()?);
    Ok((algorithm.value(), key.raw_bytes()))
}

/// Whether a certificate's key usage allows it to sign lists, or is not told; RFC 5280, section 4.2.1.3. rustls looks at
/// that of issuers that a client shows, not at roots'.
pub(super) fn may_sign_lists(certificate: &[u8]) -> bool {
    let Ok(certificate) = Certificate::from_der(certificate) else { return true };
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(Some((_, usage))) => usage.crl_sign(),
        Ok(None) | Err(_) => true,
    }
}

/// Why rustls cannot use a list.
fn unusable(error: &CertRevocationListError) -> String {
    use CertRevocationListError::*;
    let why = match error {
        UnsupportedDeltaCrl => "it is a delta list (RFC 5280, section 5.2.4); give the complete one",
        UnsupportedIndirectCrl => "it is an indirect list, with certificates of other issuers; give each issuer's own",
        UnsupportedCriticalExtension => {
            "it has a critical extension that is not known here, so that it must not be used; ask its issuer for one without"
        }
        UnsupportedCrlVersion => "it is of version 1; a list of version 2 is needed (RFC 5280)",
        ParseError => "it cannot be read; RFC 5280 wants version 2, a next update, and extensions such as its number",
        // Among these are lists for some reasons of revocation alone.
        other => return format!("it cannot be used ({other:?}); give a complete list in the form of RFC 5280"),
    };
    why.to_owned()
}

/// The name in DER of an issuer, as text.
fn named(name: &[u8]) -> impl fmt::Display {
    match Name::from_der(name) {
        Ok(name) if !name.is_empty() => format!("{:?}", name.to_string()),
        _ => "an issuer without a name".to_owned(),
    }
}

/// A name with the tag that rustls leaves out.
fn tagged(value: &[u8]) -> Vec<u8> {
    use x509_cert::der::Encode;
    AnyRef::new(Tag::Sequence, value).and_then(|name| name.to_der()).unwrap_or_default()
}
