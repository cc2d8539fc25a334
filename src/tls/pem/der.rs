//! What is in DER: the kind of thing, of key, and what a certificate says of itself.
//!
//! For what is told only. Whether something is used is for rustls to say, but for what a peer would refuse.

use std::time::Duration;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::{AnyRef, BitString, ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, DecodeOwned, Reader, SliceReader, Tag};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::request::CertReq;
use x509_cert::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfo};

/// What a value in DER is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Kind {
    Certificate,
    Request,
    List,
    /// A private key in PKCS #8.
    Key,
    EncryptedKey,
    RsaKey,
    DsaKey,
    EcKey,
    PublicKey,
    Pkcs12,
    Pkcs7,
    /// Something else, or some of these cut off.
    Unknown,
}

const PKCS7: &str = "1.2.840.113549.1.7.";

/// What the bytes are; `None` for what is no DER, nor BER.
pub(in crate::tls) fn kind(bytes: &[u8]) -> Option<Kind> {
    match bytes {
        // BER of no definite length, in which Java and Windows write archives.
        [0x30, 0x80, 0x02, 0x01, 0x03, ..] => return Some(Kind::Pkcs12),
        [0x30, 0x80, 0x06, ..] => return Some(Kind::Pkcs7),
        [0x30, ..] if bytes.len() > 1 => {}
        _ => return None,
    }
    // Nothing of a text begins with a zero and a byte of a length.
    if Certificate::from_der(bytes).is_ok() {
        return Some(Kind::Certificate);
    }
    let parts = parts(bytes);
    Some(match &parts[..] {
        [(Tag::Integer, _), (Tag::Sequence, _), (Tag::OctetString, _), ..] => Kind::Key,
        [(Tag::Integer, [2, 1, 3]), (Tag::Sequence, _), ..] => Kind::Pkcs12,
        [(Tag::Integer, [2, 1, 1]), (Tag::OctetString, _), ..] => Kind::EcKey,
        [(Tag::Integer, _), rest @ ..] if rest.len() == 8 && rest.iter().all(|(tag, _)| *tag == Tag::Integer) => {
            Kind::RsaKey
        }
        [(Tag::Integer, _), rest @ ..] if rest.len() == 5 && rest.iter().all(|(tag, _)| *tag == Tag::Integer) => {
            Kind::DsaKey
        }
        [(Tag::Sequence, _), (Tag::OctetString, _)] => Kind::EncryptedKey,
        [(Tag::Sequence, _), (Tag::BitString, _)] => Kind::PublicKey,
        [(Tag::ObjectIdentifier, id), ..]
            if ObjectIdentifier::from_der(id).is_ok_and(|id: ObjectIdentifier| id.to_string().starts_with(PKCS7)) =>
        {
            Kind::Pkcs7
        }
        _ if CertReq::from_der(bytes).is_ok() => Kind::Request,
        _ if CertificateList::<x509_cert::certificate::Rfc5280>::from_der(bytes).is_ok() => Kind::List,
        _ => Kind::Unknown,
    })
}

/// The members of a sequence, each with its tag and length; empty for what is none.
fn parts(bytes: &[u8]) -> Vec<(Tag, &[u8])> {
    let read = |reader: &mut SliceReader<'_>| -> Result<Vec<(Tag, usize, usize)>, x509_cert::der::Error> {
        let header = x509_cert::der::Header::decode(reader)?;
        header.tag().assert_eq(Tag::Sequence)?;
        let mut parts = Vec::new();
        while !reader.is_finished() {
            let from = usize::try_from(reader.position())?;
            let tag = Tag::peek(reader)?;
            reader.tlv_bytes()?;
            parts.push((tag, from, usize::try_from(reader.position())?));
        }
        Ok(parts)
    };
    let Ok(mut reader) = SliceReader::new(bytes) else { return Vec::new() };
    let parts = read(&mut reader).unwrap_or_default();
    parts.into_iter().map(|(tag, from, to)| (tag, &bytes[from..to])).collect()
}

/// The kind of a key: what the algorithm is, and how many bits an RSA key has.
pub(in crate::tls) fn key_kind(key: &[u8]) -> Option<String> {
    let parts = parts(key);
    match kind(key)? {
        Kind::Key => {
            let algorithm = AlgorithmIdentifierRef::from_der(parts.get(1)?.1).ok()?;
            let inner = parts.get(2).and_then(|(_, octets)| AnyRef::from_der(octets).ok());
            let bits = inner.and_then(|inner| rsa_bits(inner.value(), 1));
            Some(algorithm_kind(&algorithm, bits))
        }
        Kind::RsaKey => Some(rsa_kind(rsa_bits(key, 1))),
        Kind::EcKey => {
            let curve = parts.get(2).filter(|(tag, _)| tag.is_context_specific());
            let curve = curve.and_then(|(_, value)| AnyRef::from_der(value).ok());
            let curve = curve.and_then(|curve| ObjectIdentifier::from_der(curve.value()).ok());
            Some(curve.map_or("an EC key whose curve is written out".to_owned(), |curve| ec_kind(&curve)))
        }
        Kind::DsaKey => Some("a DSA key".to_owned()),
        _ => None,
    }
}

/// The bits of the number at a place in a sequence.
fn rsa_bits(sequence: &[u8], place: usize) -> Option<usize> {
    let parts = parts(sequence);
    let modulus = UintRef::from_der(parts.get(place)?.1).ok()?.as_bytes().to_vec();
    Some(modulus.len() * 8 - modulus.first()?.leading_zeros() as usize)
}

fn rsa_kind(bits: Option<usize>) -> String {
    bits.map_or("an RSA key".to_owned(), |bits| format!("an RSA key of {bits} bits"))
}

fn algorithm_kind(algorithm: &AlgorithmIdentifierRef<'_>, bits: Option<usize>) -> String {
    match algorithm.oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" => rsa_kind(bits),
        "1.2.840.113549.1.1.10" => "an RSA-PSS key".to_owned(),
        "1.2.840.10040.4.1" => "a DSA key".to_owned(),
        "1.2.840.10045.2.1" => {
            let curve = algorithm.parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
            curve.map_or("an EC key whose curve is written out".to_owned(), |curve| ec_kind(&curve))
        }
        "1.3.101.110" => "an X25519 key, for key exchange only".to_owned(),
        "1.3.101.111" => "an X448 key, for key exchange only".to_owned(),
        "1.3.101.112" => "an Ed25519 key".to_owned(),
        "1.3.101.113" => "an Ed448 key".to_owned(),
        id if id.starts_with("2.16.840.1.101.3.4.3.") => "a post-quantum key".to_owned(),
        id => format!("a key of the algorithm {id}"),
    }
}

fn ec_kind(curve: &ObjectIdentifier) -> String {
    let name = match curve.to_string().as_str() {
        "1.2.840.10045.3.1.1" => "P-192",
        "1.3.132.0.33" => "P-224",
        "1.2.840.10045.3.1.7" => "P-256",
        "1.3.132.0.34" => "P-384",
        "1.3.132.0.35" => "P-521",
        "1.3.132.0.10" => "secp256k1",
        id => return format!("an EC key on the curve {id}"),
    };
    format!("an EC key on the curve {name}")
}

/// What a certificate says of itself.
#[derive(Clone, Debug)]
pub(in crate::tls) struct Says {
    pub(in crate::tls) version: u8,
    pub(in crate::tls) not_before: Moment,
    pub(in crate::tls) not_after: Moment,
    pub(in crate::tls) is_ca: bool,
    pub(in crate::tls) has_names: bool,
    /// `None` for any.
    pub(in crate::tls) purposes: Option<Vec<ObjectIdentifier>>,
    /// In one spelling for all encodings of a name.
    pub(in crate::tls) issuer: String,
    pub(in crate::tls) subject: String,
    pub(in crate::tls) key_kind: String,
}

/// A date, as it is told and compared.
#[derive(Clone, Debug)]
pub(in crate::tls) struct Moment {
    pub(in crate::tls) text: String,
    pub(in crate::tls) since_1970: Duration,
}

/// For TLS servers and clients; RFC 5280, section 4.2.1.12.
pub(in crate::tls) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
pub(in crate::tls) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// For whatever; GnuTLS, OpenSSL and Go take it for these too.
pub(in crate::tls) const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// `None` for what this reader is too strict for.
pub(in crate::tls) fn says(certificate: &[u8]) -> Option<Says> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let own = parsed.tbs_certificate();
    let moment = |time: &x509_cert::time::Time| Moment {
        text: time.to_date_time().to_string(),
        since_1970: time.to_unix_duration(),
    };
    fn extension<T: DecodeOwned + x509_cert::der::oid::AssociatedOid>(own: &x509_cert::TbsCertificate) -> Option<T> {
        let found = own.extensions()?.iter().find(|extension| extension.extn_id == T::OID)?;
        T::from_der(found.extn_value.as_bytes()).ok()
    }
    let key: &SubjectPublicKeyInfo<_, BitString> = own.subject_public_key_info();
    let bits = key.subject_public_key.as_bytes().and_then(|key| rsa_bits(key, 0));
    let algorithm = x509_cert::der::Encode::to_der(&key.algorithm).ok()?;
    let algorithm = AlgorithmIdentifierRef::from_der(&algorithm).ok()?;
    Some(Says {
        version: own.version() as u8 + 1,
        not_before: moment(&own.validity().not_before),
        not_after: moment(&own.validity().not_after),
        is_ca: extension::<BasicConstraints>(own).is_some_and(|constraints| constraints.ca),
        has_names: extension::<SubjectAltName>(own).is_some_and(|names| !names.0.is_empty()),
        purposes: extension::<ExtendedKeyUsage>(own).map(|purposes| purposes.0),
        issuer: own.issuer().to_string().to_lowercase(),
        subject: own.subject().to_string().to_lowercase(),
        key_kind: algorithm_kind(&algorithm, bits),
    })
}
