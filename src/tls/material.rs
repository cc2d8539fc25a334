//! Certificates and keys that are to be shown: whether a peer can take them.
//!
//! A chain that this side takes may be one that every peer refuses: then each handshake fails, and no text says why. So it
//! is looked at as a peer would, when it is read: whose key it is, dates, uses, names and order. `check` then
//! tries it.

use super::check::CHAIN_LENGTH_MAX;
use super::pem::der::{self, ANY_USE, CLIENT_AUTH, Kind, SERVER_AUTH, Says};
use super::pem::{Found, Pem, Wanted, foreign};
use crate::error::Error;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{CertificateError, RootCertStore};
use std::sync::Arc;
use std::time::Duration;

/// Who shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Server,
    Client,
}

/// The chain and its key, both in PEM.
pub(super) fn with_pem_key(
    chain: &Pem,
    key: &Pem,
    side: Side,
    provider: &Arc<CryptoProvider>,
) -> Result<CertifiedKey, Error> {
    let found = chain.certificates()?;
    let held = key.key()?;
    let bad = |error: rustls::Error| key.unfit_key(&held, foreign::bad_key(held.der.secret_der(), &key.name(), &error));
    let loaded = provider.key_provider.load_private_key(held.der.clone_key()).map_err(bad)?;
    certified(chain, found, Some(key), loaded, (side, provider))
}

/// The chain and its key, which is elsewhere.
pub(super) fn with_key(
    chain: &Pem,
    key: Arc<dyn SigningKey>,
    side: Side,
    provider: &Arc<CryptoProvider>,
) -> Result<CertifiedKey, Error> {
    certified(chain, chain.certificates()?, None, key, (side, provider))
}

/// `pem` is where the key is from, if it is not elsewhere.
fn certified(
    chain: &Pem,
    mut found: Vec<Found>,
    pem: Option<&Pem>,
    key: Arc<dyn SigningKey>,
    (side, provider): (Side, &Arc<CryptoProvider>),
) -> Result<CertifiedKey, Error> {
    let name = chain.name();
    let unfit = |found: &Found, why: String| chain.unfit_item(Wanted::Certificate, found, why);
    for certificate in &found {
        let parsed = ParsedCertificate::try_from(&certificate.der).map(drop);
        // Peers pass over an issuer that they cannot use, such as a root of version 1 at the end.
        let is_own = certificate.number == found[0].number;
        if !is_own && der::kind(&certificate.der) == Some(Kind::Certificate) {
            continue;
        }
        let why = |error| foreign::bad_certificate(&certificate.der, Wanted::Certificate, &name, &error);
        parsed.map_err(|error| unfit(certificate, why(error)))?;
    }
    // A key that is elsewhere may not tell.
    if let Some(public) = key.public_key() {
        fits(chain, &found, pem, &public)?;
    }
    let says: Vec<Option<Says>> = found.iter().map(|found| der::says(&found.der)).collect();
    let now = Duration::from_secs(UnixTime::now().as_secs());
    let refused = match &says[0] {
        Some(own) => own.untimely(now).or_else(|| own.unusable(side)),
        None => untimely(&found, provider),
    };
    if let Some(why) = refused {
        return Err(unfit(&found[0], why));
    }
    // `check` refuses more, by their count.
    if found.len() <= CHAIN_LENGTH_MAX {
        in_order(&found, &says).map_err(|(found, why)| unfit(found, why))?;
        for (found, why) in doubts(&found, &says, side, now) {
            log::warn!("tls: {}", taken(chain, found, &why));
        }
        found = without_copies(found);
    }
    Ok(CertifiedKey::new(found.into_iter().map(|found| found.der).collect(), key))
}

/// Each once: with `cat cert.pem fullchain.pem` the first is there twice.
fn without_copies(found: Vec<Found>) -> Vec<Found> {
    let mut kept: Vec<Found> = Vec::with_capacity(found.len());
    for certificate in found {
        if !kept.iter().any(|before| before.der == certificate.der) {
            kept.push(certificate);
        }
    }
    kept
}

/// The key is that of the first certificate.
fn fits(chain: &Pem, found: &[Found], pem: Option<&Pem>, public: &SubjectPublicKeyInfoDer<'_>) -> Result<(), Error> {
    let is_of = |found: &&Found| {
        let parsed = ParsedCertificate::try_from(&found.der);
        parsed.is_ok_and(|parsed| parsed.subject_public_key_info() == *public)
    };
    let Some(own) = found.first().filter(|own| !is_of(own)) else { return Ok(()) };
    let noun = Wanted::Key.noun();
    let key = pem.map_or_else(|| noun.to_owned(), |pem| pem.described(noun));
    let why = match found.iter().find(is_of) {
        Some(other) => format!(
            "the {key} is not that of this certificate, but that of item {} (line {}); put that one first, then the \
             issuer of each",
            other.number, other.line
        ),
        None => {
            let kind = der::says(&own.der).map_or("a key".to_owned(), |says| says.key_kind);
            format!(
                "the {key} is not that of this certificate, which is for {kind}; `openssl x509 -noout -pubkey -in \
                 {}` and `openssl pkey -pubout -in {}` print the same if they belong together",
                chain.name(),
                pem.map_or_else(|| "KEY".to_owned(), Pem::name)
            )
        }
    };
    Err(chain.unfit_item(Wanted::Certificate, own, why))
}

/// Whether the first is valid now, where its dates cannot be read here: rustls tells the dates of no certificate, but it
/// refuses one by them before it looks at anything else, also its issuer.
fn untimely(found: &[Found], provider: &Arc<CryptoProvider>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(found[0].der.clone()).ok()?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    match verifier.verify_server_cert(&found[0].der, &[], &name, &[], UnixTime::now()).err()? {
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Some("it has expired; renew it, or correct this machine's clock".to_owned())
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Some("it is not valid yet; wait, or correct this machine's clock".to_owned()),
        _ => None,
    }
}

impl Says {
    fn untimely(&self, now: Duration) -> Option<String> {
        let (from, to) = (&self.not_before, &self.not_after);
        if from.since_1970 > now {
            let from = &from.text;
            return Some(format!(
                "it is not valid yet: it begins at {from}; wait until then, or correct this machine's clock"
            ));
        }
        let to = (to.since_1970 < now).then_some(&to.text)?;
        Some(format!("it expired at {to}; renew it, or correct this machine's clock"))
    }

    /// Why it is refused, whoever issued it. Not all peers do: OpenSSL and Go take a CA's.
    fn unusable(&self, side: Side) -> Option<String> {
        let (who, purpose, name) = match side {
            Side::Server => ("server", SERVER_AUTH, "serverAuth"),
            Side::Client => ("client", CLIENT_AUTH, "clientAuth"),
        };
        if self.is_ca {
            return Some(format!(
                "it is a CA certificate (CA:TRUE), which rustls and browsers refuse as that of a {who}; issue one with \
                 it, or make it again with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`"
            ));
        }
        if self.purposes.as_ref().is_some_and(|all| !all.contains(&purpose) && !all.contains(&ANY_USE)) {
            return Some(format!(
                "it is not for {who}s: its extended key usage lacks {name}; reissue it with `-addext \
                 extendedKeyUsage={name}`"
            ));
        }
        None
    }
}

/// What some peers mind and others do not, or what is of no use: such a chain is shown, and this is logged.
fn doubts<'a>(found: &'a [Found], says: &[Option<Says>], side: Side, now: Duration) -> Vec<(&'a Found, String)> {
    let mut doubts = Vec::new();
    let needed = path(says);
    if side == Side::Server && says[0].as_ref().is_some_and(|own| !own.has_names) {
        doubts.push((
            &found[0],
            "it has no subjectAltName: rustls, Go and browsers look for its names nowhere else (RFC 9525) and refuse it; \
             reissue it with `-addext subjectAltName=DNS:host.example.org`"
                .to_owned(),
        ));
    }
    for (index, certificate) in found.iter().enumerate().skip(1) {
        if let Some(first) = found[..index].iter().find(|before| before.der == certificate.der) {
            let (number, line) = (first.number, first.line);
            doubts
                .push((certificate, format!("it is the same as item {number} (line {line}), and not sent; remove it")));
            continue;
        }
        let Some(own) = &says[index] else { continue };
        let is_root = own.issuer == own.subject;
        // A root at the end is for nobody: who trusts it has it.
        if let Some(why) = own.untimely(now).filter(|_| !is_root) {
            doubts.push((certificate, format!("{why}; peers that do not know another way to a root refuse the chain")));
        }
        if !needed.contains(&index) {
            let why = "it has issued none of the chain, and peers have no use for it; remove it".to_owned();
            doubts.push((certificate, why));
        }
    }
    doubts
}

fn taken(chain: &Pem, found: &Found, why: &str) -> String {
    let (what, number, line) = (chain.described(Wanted::Certificate.noun()), found.number, found.line);
    format!("{what} is used, but of its item {number} (line {line}): {why}")
}

/// Those from which a way leads to the first: a certificate may have two issuers of one name. What cannot be read may have
/// issued any.
fn path(says: &[Option<Says>]) -> Vec<usize> {
    if says.iter().any(Option::is_none) {
        return (0..says.len()).collect();
    }
    let (mut path, mut next) = (vec![0], 0);
    while let Some(child) = path.get(next).and_then(|child| says[*child].as_ref()) {
        let has_issued = |own: &Option<Says>| own.as_ref().is_some_and(|own| own.subject == child.issuer);
        let issuers: Vec<usize> =
            (1..says.len()).filter(|index| has_issued(&says[*index]) && !path.contains(index)).collect();
        path.extend(issuers);
        next += 1;
    }
    path
}

/// The issuer of each, if it is there, comes behind it and before its own issuer; RFC 5246, section 7.4.2. RFC 8446 leaves the
/// order free, for peers who know of that. What is not of the chain, or twice in it, is for `doubts`.
fn in_order<'a>(found: &'a [Found], says: &[Option<Says>]) -> Result<(), (&'a Found, String)> {
    let needed = path(says);
    let firsts: Vec<usize> = (0..found.len())
        .filter(|index| needed.contains(index) && !found[..*index].iter().any(|before| before.der == found[*index].der))
        .collect();
    for (place, index) in firsts.iter().enumerate().skip(1) {
        let Some(own) = &says[*index] else { continue };
        let has_issued = |before: &usize| says[*before].as_ref().is_none_or(|before| before.issuer == own.subject);
        if firsts[..place].iter().any(has_issued) {
            continue;
        }
        let issued = firsts[place + 1..].iter().find(|later| {
            says[**later].as_ref().is_some_and(|later| later.issuer == own.subject && later.subject != own.subject)
        });
        if let Some(later) = issued.map(|later| &found[*later]) {
            let why = format!(
                "it comes before item {} (line {}), which it issued; put the certificate of the key first, then the issuer of \
                 each",
                later.number, later.line
            );
            return Err((&found[*index], why));
        }
    }
    Ok(())
}
