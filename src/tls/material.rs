//! Certificates and keys that are to be shown: whether a peer can take them.
//!
//! A chain that this side takes may be one that every peer refuses: then each handshake fails, and no text says why. So it
//! is looked at as a peer would, when it is read: whose key it is, dates, uses, names and order. `check` then
//! tries it.

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
    found: Vec<Found>,
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
    for (certificate, says) in found.iter().zip(&says) {
        let Some(says) = says else { continue };
        // A root at the end is for nobody: who trusts it has it.
        let is_own = certificate.number == found[0].number;
        let counts = is_own || says.issuer != says.subject;
        if let Some(why) = says.untimely(now).filter(|_| counts) {
            return Err(unfit(certificate, why));
        }
    }
    let refused = match &says[0] {
        Some(own) => own.unusable(side),
        None => untimely(&found, provider),
    };
    if let Some(why) = refused {
        return Err(unfit(&found[0], why));
    }
    in_order(&found, &says).map_err(|(found, why)| unfit(found, why))?;
    Ok(CertifiedKey::new(found.into_iter().map(|found| found.der).collect(), key))
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

    /// Why peers refuse it, whoever issued it.
    fn unusable(&self, side: Side) -> Option<String> {
        let (who, purpose, name) = match side {
            Side::Server => ("server", SERVER_AUTH, "serverAuth"),
            Side::Client => ("client", CLIENT_AUTH, "clientAuth"),
        };
        if self.is_ca {
            return Some(format!(
                "it is a CA certificate (CA:TRUE), which peers refuse as that of a {who}; issue one with it, or make \
                 it again with `openssl req -x509 … -addext basicConstraints=critical,CA:FALSE`"
            ));
        }
        if self.purposes.as_ref().is_some_and(|all| !all.contains(&purpose) && !all.contains(&ANY_USE)) {
            return Some(format!(
                "it is not for {who}s: its extended key usage lacks {name}; reissue it with `-addext \
                 extendedKeyUsage={name}`"
            ));
        }
        if side == Side::Server && !self.has_names {
            return Some(
                "it has no subjectAltName, and peers look for its names nowhere else (RFC 9525); reissue it with \
                 `-addext subjectAltName=DNS:host.example.org`"
                    .to_owned(),
            );
        }
        None
    }
}

/// Each but the first issued one that is before it; RFC 5246, section 7.4.2. RFC 8446 leaves the order free, for peers who
/// know of that.
fn in_order<'a>(found: &'a [Found], says: &[Option<Says>]) -> Result<(), (&'a Found, String)> {
    for (index, certificate) in found.iter().enumerate().skip(1) {
        let (before, Some(own)) = (&says[..index], &says[index]) else { continue };
        let has_issued = |other: &Option<Says>| other.as_ref().is_none_or(|other| other.issuer == own.subject);
        if before.iter().any(has_issued) {
            continue;
        }
        let behind = (index + 1..found.len()).find(|later| {
            says[*later].as_ref().is_some_and(|later| later.issuer == own.subject && later.subject != own.subject)
        });
        let why = match behind {
            Some(later) => {
                let later = &found[later];
                format!(
                    "it comes before item {} (line {}), which it issued; put the certificate of the key first, then \
                     the issuer of each",
                    later.number, later.line
                )
            }
            None => "it issued none of the certificates before it; remove it, or add the issuer of the first \
                 one"
            .to_owned(),
        };
        return Err((certificate, why));
    }
    Ok(())
}
