//! Which fault an error of rustls' is, and what else it says, in words.
//!
//! Owns the details that stand beside a fault: dates, names, what either side offers. They are made when a handshake has
//! failed, and cost the others nothing.
//!
//! 1. A detail is one line of at most [`DETAIL_BYTES_MAX`]. Whatever the peer chose in it is escaped and shortened.

use crate::error::TlsFault;
use crate::tls::offer::{Asked, Offer};
use rustls::pki_types::UnixTime;
use rustls::server::ServerConfig;
use rustls::{
    CertRevocationListError, CertificateError, CipherSuite, Error, ExtendedKeyPurpose, InvalidMessage, NamedGroup,
    PeerIncompatible, PeerMisbehaved, SignatureScheme,
};
use std::fmt::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

/// The longest detail.
const DETAIL_BYTES_MAX: usize = 600;

/// The longest text of one thing that the peer chose, before it is escaped.
const QUOTED_BYTES_MAX: usize = 64;

/// Entries of a list that are told.
const LISTED_MAX: usize = 6;

/// What is known of a failed handshake or connection beyond its fault.
#[derive(Debug)]
pub(crate) struct Detail(String);

/// Where it failed.
#[derive(Default)]
pub(crate) struct Scene<'a> {
    /// The name that the client asks for, if that is known.
    pub(crate) asked: Option<&'a str>,
    /// What came before anything was opened: a client's first message, or something else than TLS.
    pub(crate) first: Option<&'a [u8]>,
    /// A client's first message, if it came in several records: in `first`, rustls has moved those together by now.
    pub(crate) hello: Option<&'a [u8]>,
    /// What a server goes by.
    pub(crate) config: Option<&'a ServerConfig>,
}

impl Detail {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// That of a client that asked for a name that is not served.
    pub(crate) fn of_unknown_name(first: &[u8]) -> Option<Box<Detail>> {
        Detail::joined([asked(&Offer::of(first))])
    }

    /// That of a client whose name is not the one that its first message was taken for.
    pub(crate) fn of_other_name(name: Option<&str>) -> Option<Box<Detail>> {
        let said = "its first message is not one that a configuration for a name can be chosen by".to_owned();
        Detail::joined([Some(said), name.map(|name| format!("asked for {}", quote(name.as_bytes())))])
    }

    fn joined(parts: impl IntoIterator<Item = Option<String>>) -> Option<Box<Detail>> {
        let mut text = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        cut(&mut text, DETAIL_BYTES_MAX);
        (!text.is_empty()).then(|| Box::new(Detail(text)))
    }
}

/// Which fault it is, with its detail.
pub(crate) fn diagnose(error: &Error, scene: &Scene<'_>) -> (TlsFault, Option<Box<Detail>>) {
    let joined = scene.first.and(scene.hello);
    let offer = joined.map(Offer::of_message).or_else(|| scene.first.map(Offer::of)).unwrap_or_default();
    let fault = match (TlsFault::of(error), &offer.name, error) {
        // A list of names that rustls cannot read, or an empty name, is to it a message like any other that is wrong.
        (TlsFault::Misbehaved, Asked::Garbled, Error::InvalidMessage(_)) => TlsFault::BadName,
        (TlsFault::Misbehaved, Asked::Name(name), Error::InvalidMessage(_)) if name.is_empty() => TlsFault::BadName,
        // Older clients lack extensions that are looked for first.
        (_, _, Error::PeerIncompatible(_)) if offer.is_outdated() => TlsFault::NoCommonVersion,
        // RSA key exchange, which needs no group and is never spoken.
        (TlsFault::NoCommonGroup, ..) if offer.groups.is_empty() && !offer.suites.is_empty() => TlsFault::NoCommonSuite,
        (fault, ..) => fault,
    };
    let said = match fault {
        TlsFault::NotTls => scene.first.and_then(spoken),
        TlsFault::NoCommonVersion => versions(error, &offer),
        TlsFault::NoCommonSuite => scene.config.and_then(|config| {
            let ours = config.crypto_provider().cipher_suites.iter().map(|suite| suite.suite());
            both(&offer.suites, &ours.map(u16::from).collect::<Vec<_>>(), suite_name)
        }),
        TlsFault::NoCommonGroup => scene.config.and_then(|config| {
            let ours = config.crypto_provider().kx_groups.iter().map(|group| group.name());
            both(&offer.groups, &ours.map(u16::from).collect::<Vec<_>>(), group_name)
        }),
        TlsFault::NoCommonSignature | TlsFault::NoUsableCertificate => {
            (!offer.schemes.is_empty()).then(|| format!("it can verify {}", list(&offer.schemes, scheme_name)))
        }
        TlsFault::NoApplicationProtocol => scene.config.map(|config| {
            let quoted = |names: &[Vec<u8>]| list(names, |name| quote(name));
            format!("it offers {}; here: {}", quoted(&offer.protocols), quoted(&config.alpn_protocols))
        }),
        // The name says it.
        TlsFault::BadName => None,
        _ => said(error),
    };
    let name = match (fault, scene.asked) {
        // It is part of the detail already.
        (TlsFault::WrongName, _) => None,
        (_, Some(name)) => Some(format!("asked for {}", quote(name.as_bytes()))),
        (_, None) => asked(&offer),
    };
    (fault, Detail::joined([said, name]))
}

impl TlsFault {
    /// What a fault that rustls tells means.
    pub(crate) fn of(error: &Error) -> TlsFault {
        match error {
            Error::AlertReceived(alert) => TlsFault::AlertReceived(u8::from(*alert)),
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion) => {
                TlsFault::NotTls
            }
            Error::InvalidMessage(
                InvalidMessage::MessageTooLarge
                | InvalidMessage::HandshakePayloadTooLarge
                | InvalidMessage::CertificatePayloadTooLarge,
            )
            | Error::PeerSentOversizedRecord => TlsFault::TooLarge,
            Error::PeerIncompatible(what) => TlsFault::of_incompatible(what),
            Error::NoApplicationProtocol => TlsFault::NoApplicationProtocol,
            Error::NoCertificatesPresented => TlsFault::NoCertificate,
            Error::InvalidCertificate(what) => TlsFault::of_certificate(what),
            Error::InvalidCertRevocationList(_) => TlsFault::RevocationUnknown,
            Error::UnsupportedNameType => TlsFault::WrongName,
            Error::DecryptError => TlsFault::BadRecord,
            Error::InvalidMessage(InvalidMessage::InvalidServerName)
            | Error::PeerMisbehaved(
                PeerMisbehaved::ServerNameMustContainOneHostName | PeerMisbehaved::DuplicateServerNameTypes,
            ) => TlsFault::BadName,
            Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => TlsFault::Misbehaved,
            // All that rustls says where a resolver has nothing.
            Error::General(what) if what == "no server certificate chain resolved" => TlsFault::NoUsableCertificate,
            _ => TlsFault::Internal,
        }
    }

    fn of_incompatible(what: &PeerIncompatible) -> TlsFault {
        use PeerIncompatible as What;
        match what {
            What::ServerDoesNotSupportTls12Or13
            | What::ServerTlsVersionIsDisabledByOurConfig
            | What::SupportedVersionsExtensionRequired
            | What::Tls12NotOffered
            | What::Tls12NotOfferedOrEnabled => TlsFault::NoCommonVersion,
            What::NoCipherSuitesInCommon => TlsFault::NoCommonSuite,
            What::NoKxGroupsInCommon | What::NamedGroupsExtensionRequired | What::KeyShareExtensionRequired => {
                TlsFault::NoCommonGroup
            }
            What::NoSignatureSchemesInCommon
            | What::NoCertificateRequestSignatureSchemesInCommon
            | What::SignatureAlgorithmsExtensionRequired => TlsFault::NoCommonSignature,
            _ => TlsFault::Incompatible,
        }
    }

    fn of_certificate(what: &CertificateError) -> TlsFault {
        use CertificateError as What;
        #[expect(deprecated, reason = "verifiers of users may say so still")]
        match what {
            What::Expired | What::ExpiredContext { .. } => TlsFault::CertificateExpired,
            What::NotValidYet | What::NotValidYetContext { .. } => TlsFault::CertificateNotYetValid,
            What::Revoked => TlsFault::CertificateRevoked,
            What::UnknownIssuer => TlsFault::UnknownIssuer,
            What::NotValidForName | What::NotValidForNameContext { .. } => TlsFault::WrongName,
            What::InvalidPurpose | What::InvalidPurposeContext { .. } => TlsFault::WrongPurpose,
            What::UnknownRevocationStatus => TlsFault::RevocationUnknown,
            What::ExpiredRevocationList | What::ExpiredRevocationListContext { .. } => TlsFault::RevocationListExpired,
            What::BadSignature => TlsFault::BadSignature,
            What::BadEncoding => TlsFault::BadEncoding,
            What::UnsupportedSignatureAlgorithm
            | What::UnsupportedSignatureAlgorithmContext { .. }
            | What::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => TlsFault::UnsupportedSignature,
            _ => TlsFault::BadCertificate,
        }
    }
}

/// What an error says beyond its fault.
fn said(error: &Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(what) => said_of_certificate(what),
        Error::InvalidCertRevocationList(what) => Some(match what {
            CertRevocationListError::BadSignature => "the list is not signed by the issuer's key".to_owned(),
            CertRevocationListError::IssuerInvalidForCrl => "the issuer may not sign lists (key usage)".to_owned(),
            other => format!("the list cannot be used: {}", words(other)),
        }),
        Error::PeerIncompatible(what) => Some(words(what)),
        Error::PeerMisbehaved(what) => Some(words(what)),
        Error::InvalidMessage(InvalidMessage::MessageTooLarge) | Error::PeerSentOversizedRecord => {
            Some("a record of more than 16 KiB".to_owned())
        }
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => {
            Some("a handshake message of more than 64 KiB".to_owned())
        }
        Error::InvalidMessage(InvalidMessage::CertificatePayloadTooLarge) => {
            Some("certificates of more than 64 KiB".to_owned())
        }
        Error::InvalidMessage(what) => Some(format!("a message cannot be read: {}", words(what))),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => Some(shown(error)),
        Error::General(what) => Some(shown(what)),
        Error::AlertReceived(_)
        | Error::NoCertificatesPresented
        | Error::NoApplicationProtocol
        | Error::UnsupportedNameType
        | Error::DecryptError => None,
        other => Some(shown(other)),
    }
}

fn said_of_certificate(what: &CertificateError) -> Option<String> {
    use CertificateError as What;
    match what {
        What::ExpiredContext { time, not_after } => {
            Some(format!("it was valid until {}, and now it is {}", date(*not_after), date(*time)))
        }
        What::NotValidYetContext { time, not_before } => {
            Some(format!("it is valid from {}, and now it is {}", date(*not_before), date(*time)))
        }
        What::ExpiredRevocationListContext { time, next_update } => {
            Some(format!("its next update was due {}, and now it is {}", date(*next_update), date(*time)))
        }
        What::NotValidForNameContext { expected, presented } => {
            let names = if presented.is_empty() {
                "it has no name".to_owned()
            } else {
                // Such as `DnsName("other.example")`.
                format!("it is for {}", list(presented, |name| quote(name_inside(name).as_bytes())))
            };
            Some(format!("asked for {}, and {names}", quote(expected.to_str().as_bytes())))
        }
        What::InvalidPurposeContext { required, presented } => {
            let allowed = if presented.is_empty() { "nothing".to_owned() } else { list(presented, purpose) };
            Some(format!("it is to serve for {}, and may only for {allowed}", purpose(required)))
        }
        What::UnsupportedSignatureAlgorithmContext { signature_algorithm_id, .. }
        | What::UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id, .. } => {
            Some(format!("by {}", algorithm(signature_algorithm_id)))
        }
        What::UnhandledCriticalExtension => Some("it has a critical extension that is not known here".to_owned()),
        What::InvalidOcspResponse => Some("its OCSP answer is not valid".to_owned()),
        What::ApplicationVerificationFailure => Some("by this program's own verifier".to_owned()),
        What::Other(other) => Some(said_of_path(&shown(other))),
        _ => None,
    }
}

/// What webpki has no place for among rustls' errors.
fn said_of_path(what: &str) -> String {
    let said = match what {
        "CaUsedAsEndEntity" => "it is an issuer's own (CA:TRUE), and no server's or client's",
        "EndEntityUsedAsCa" => "one of its issuers may not issue (CA:FALSE)",
        "UnsupportedCertVersion" => "it is X.509 version 1, and only version 3 is taken",
        "PathLenConstraintViolated" => "there are more issuers in its chain than one of them allows (pathlen)",
        "NameConstraintViolation" => {
            "its names are not among those that one of its issuers may give (name constraints)"
        }
        "MaximumPathDepthExceeded" | "MaximumPathBuildCallsExceeded" | "MaximumSignatureChecksExceeded" => {
            "its chain is too long or too tangled"
        }
        other => return other.to_owned(),
    };
    said.to_owned()
}

fn versions(error: &Error, offer: &Offer) -> Option<String> {
    let here = match error {
        Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired) => "; here: TLS 1.3 only",
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            return Some("the server answered with an older one than TLS 1.2".to_owned());
        }
        Error::PeerIncompatible(PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig) => {
            return Some("the server answered with one that is not allowed here".to_owned());
        }
        _ if offer.is_outdated() => "; here: TLS 1.2 or newer",
        _ => "",
    };
    let name = |version: &u16| match version {
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        other => format!("{other:#06x}"),
    };
    (!offer.versions.is_empty()).then(|| format!("it offers {}{here}", list(&offer.versions, name)))
}

fn both(theirs: &[u16], ours: &[u16], name: impl Fn(&u16) -> String) -> Option<String> {
    Some(format!("it offers {}; here: {}", list(theirs, &name), list(ours, &name)))
}

fn suite_name(suite: &u16) -> String {
    CipherSuite::from(*suite).as_str().map_or_else(|| format!("{suite:#06x}"), str::to_owned)
}

fn group_name(group: &u16) -> String {
    NamedGroup::from(*group).as_str().map_or_else(|| format!("{group:#06x}"), str::to_owned)
}

fn scheme_name(scheme: &u16) -> String {
    SignatureScheme::from(*scheme).as_str().map_or_else(|| format!("{scheme:#06x}"), str::to_owned)
}

fn purpose(purpose: &ExtendedKeyPurpose) -> String {
    match purpose {
        ExtendedKeyPurpose::ClientAuth => "clientAuth".to_owned(),
        ExtendedKeyPurpose::ServerAuth => "serverAuth".to_owned(),
        ExtendedKeyPurpose::Other(numbers) => dotted(numbers.iter().map(|number| *number as u64)),
    }
}

/// What somebody speaks who speaks no TLS, by its first bytes. Not more of them: a request may hold secrets.
fn spoken(first: &[u8]) -> Option<String> {
    const WORDS: [(&[&[u8]], &str); 6] = [
        (
            &[
                b"GET ",
                b"HEAD ",
                b"POST ",
                b"PUT ",
                b"DELETE ",
                b"OPTIONS ",
                b"PATCH ",
                b"CONNECT ",
                b"TRACE ",
                b"PRI ",
            ],
            "an HTTP request",
        ),
        (&[b"HTTP/"], "an HTTP answer"),
        (&[b"SSH-"], "SSH"),
        (&[b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"], "a PROXY protocol header, which a proxy in front sends"),
        (&[b"220 ", b"220-", b"EHLO ", b"HELO "], "SMTP or FTP"),
        (&[b"\x80\x2e\x01\x03"], "an SSL 2.0 hello"),
    ];
    // A TLS record that is wrong further back.
    if matches!(first, [20..=24, 3, ..] | []) {
        return None;
    }
    let known = WORDS.iter().find(|(words, _)| words.iter().any(|word| first.starts_with(word)));
    Some(match known {
        Some((_, what)) => format!("it began with {what}"),
        None => format!("it began with the bytes {}", quote(&first[..first.len().min(8)])),
    })
}

fn asked(offer: &Offer) -> Option<String> {
    match &offer.name {
        Asked::Nothing => None,
        Asked::Name(name) => Some(format!("asked for {}", quote(name))),
        Asked::Garbled => Some("its list of names cannot be read, or has more than one".to_owned()),
    }
}

/// An object identifier in DER, in words where it is a well-known one.
fn algorithm(der: &[u8]) -> String {
    // The contents of an AlgorithmIdentifier: an OBJECT IDENTIFIER, perhaps with something behind it. Or the bare one.
    let body = match der {
        [6, length, rest @ ..] => rest.get(..usize::from(*length)).unwrap_or(rest),
        bare => bare,
    };
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in body.iter().take(QUOTED_BYTES_MAX) {
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                numbers.extend([(number / 40).min(2), number - 40 * (number / 40).min(2)]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    let dots = dotted(numbers.into_iter());
    let name = match dots.as_str() {
        "1.2.840.113549.1.1.4" => "MD5 with RSA",
        "1.2.840.113549.1.1.5" => "SHA-1 with RSA",
        "1.2.840.113549.1.1.10" => "RSA-PSS",
        "1.2.840.113549.1.1.11" => "SHA-256 with RSA",
        "1.2.840.113549.1.1.12" => "SHA-384 with RSA",
        "1.2.840.113549.1.1.13" => "SHA-512 with RSA",
        "1.2.840.113549.1.1.14" => "SHA-224 with RSA",
        "1.2.840.10045.4.1" => "SHA-1 with ECDSA",
        "1.2.840.10045.4.3.2" => "SHA-256 with ECDSA",
        "1.2.840.10045.4.3.3" => "SHA-384 with ECDSA",
        "1.2.840.10045.4.3.4" => "SHA-512 with ECDSA",
        "1.2.840.10040.4.3" => "SHA-1 with DSA",
        "1.3.101.112" => "Ed25519",
        "1.3.101.113" => "Ed448",
        _ => return dots,
    };
    name.to_owned()
}

fn dotted(numbers: impl Iterator<Item = u64>) -> String {
    numbers.take(LISTED_MAX * 4).map(|number| number.to_string()).collect::<Vec<_>>().join(".")
}

/// A moment as RFC 3339 writes it.
fn date(time: UnixTime) -> String {
    // The end of the year 9999, which is what certificates that never expire have.
    const LAST: u64 = 253_402_300_799;
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST))).to_string()
}

/// Bytes that the peer chose, on one line and not too long.
fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    let _ = write!(text, "{}", bytes[..bytes.len().min(QUOTED_BYTES_MAX)].escape_ascii());
    text.push_str(if bytes.len() > QUOTED_BYTES_MAX { "...\"" } else { "\"" });
    text
}

/// What a library says of itself, on one line and not too long.
fn shown(what: &impl fmt::Display) -> String {
    let mut text = what.to_string();
    cut(&mut text, 2 * QUOTED_BYTES_MAX);
    text.escape_debug().to_string()
}

/// Cuts a text that is longer off, and marks that.
fn cut(text: &mut String, bytes_max: usize) {
    const MARK: &str = "...";
    if text.len() > bytes_max {
        let end = (0..=bytes_max - MARK.len()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(MARK);
    }
}

/// The name of a variant as words: `TooManyKeyUpdateRequests` is "too many key update requests".
fn words(variant: &impl fmt::Debug) -> String {
    let text = format!("{variant:?}");
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let mut words = String::new();
    for (at, letter) in text[..end].char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    // What the variant holds is a library's own text.
    let inside = text[end..].trim_matches(|c: char| "(){}\" ".contains(c));
    if inside.is_empty() { words } else { format!("{words}: {}", shown(&inside)) }
}

fn name_inside(shown: &str) -> &str {
    shown.split_once("(\"").map_or(shown, |(_, rest)| rest.trim_end_matches("\")"))
}

/// Some of them, and how many more there are.
fn list<T>(entries: &[T], name: impl Fn(&T) -> String) -> String {
    if entries.is_empty() {
        return "none".to_owned();
    }
    let named = entries.iter().take(LISTED_MAX).map(name).collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(LISTED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: Error) -> (TlsFault, String) {
        let (fault, detail) = diagnose(&error, &Scene::default());
        (fault, detail.map(|detail| detail.0).unwrap_or_default())
    }

    #[test]
    fn what_the_peer_chose_is_escaped_and_bounded() {
        let presented = vec![format!("DnsName(\"{}\")", "x\n\u{1b}[31m".repeat(1000)); 100];
        let expected = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let what = CertificateError::NotValidForNameContext { expected, presented };
        let (fault, text) = told(Error::InvalidCertificate(what));
        assert_eq!(fault, TlsFault::WrongName);
        assert!(text.len() <= DETAIL_BYTES_MAX && text.is_ascii(), "{text}");
        assert!(text.chars().all(|c| !c.is_control()), "{text}");
        assert!(text.starts_with("asked for \"localhost\", and it is for \"x\\n\\x1b[31m"), "{text}");
    }

    #[test]
    fn times_are_told_as_dates_also_those_that_never_come() {
        let at = |secs| UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let what = CertificateError::ExpiredContext { time: at(1_796_000_000), not_after: at(1_577_836_800) };
        let (fault, text) = told(Error::InvalidCertificate(what));
        let expected = "it was valid until 2020-01-01T00:00:00Z, and now it is 2026-11-30T00:53:20Z";
        assert_eq!((fault, text.as_str()), (TlsFault::CertificateExpired, expected));
        assert_eq!(date(at(u64::MAX)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn variants_of_errors_are_told_in_words() {
        assert_eq!(words(&PeerMisbehaved::TooManyKeyUpdateRequests), "too many key update requests");
        assert_eq!(words(&InvalidMessage::MissingData("Random")), "missing data: Random");
        assert_eq!(algorithm(&[6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5, 5, 0]), "SHA-1 with RSA");
        assert_eq!(algorithm(&[42, 134, 72, 206, 61, 4, 1]), "SHA-1 with ECDSA");
        let other = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        assert_eq!(told(other), (TlsFault::BadCertificate, "by this program's own verifier".to_owned()));
    }

    /// What verifiers say that are not rustls' own, too.
    #[test]
    #[expect(deprecated, reason = "verifiers of users may say so still")]
    fn each_fault_of_a_certificate_is_told_apart() {
        use CertificateError as What;
        let sha1 = || vec![6, 9, 42, 134, 72, 134, 247, 13, 1, 1, 5];
        let by_sha1 =
            What::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: sha1(), supported_algorithms: vec![] };
        let other =
            What::Other(rustls::OtherError(std::sync::Arc::new(std::io::Error::other("a\n\u{e9}".repeat(400)))));
        let cases = [
            (What::Expired, TlsFault::CertificateExpired, ""),
            (What::NotValidYet, TlsFault::CertificateNotYetValid, ""),
            (What::Revoked, TlsFault::CertificateRevoked, ""),
            (What::UnknownIssuer, TlsFault::UnknownIssuer, ""),
            (What::NotValidForName, TlsFault::WrongName, ""),
            (What::InvalidPurpose, TlsFault::WrongPurpose, ""),
            (What::UnknownRevocationStatus, TlsFault::RevocationUnknown, ""),
            (What::ExpiredRevocationList, TlsFault::RevocationListExpired, ""),
            (What::BadSignature, TlsFault::BadSignature, ""),
            (What::BadEncoding, TlsFault::BadEncoding, ""),
            (What::UnsupportedSignatureAlgorithm, TlsFault::UnsupportedSignature, ""),
            (by_sha1, TlsFault::UnsupportedSignature, "by SHA-1 with RSA"),
            (
                What::UnhandledCriticalExtension,
                TlsFault::BadCertificate,
                "it has a critical extension that is not known here",
            ),
            (What::InvalidOcspResponse, TlsFault::BadCertificate, "its OCSP answer is not valid"),
            (other, TlsFault::BadCertificate, "a\\n\u{e9}a\\n"),
        ];
        for (what, fault, starts) in cases {
            let (told_fault, text) = told(Error::InvalidCertificate(what.clone()));
            assert_eq!(told_fault, fault, "{what:?}");
            assert!(text.starts_with(starts) && starts.is_empty() == text.is_empty(), "{what:?}: {text}");
            assert!(text.len() <= DETAIL_BYTES_MAX && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn what_speaks_no_tls_is_known_by_its_first_bytes_and_no_more_of_them_is_told() {
        assert_eq!(spoken(b"GET /?token=secret HTTP/1.1").as_deref(), Some("it began with an HTTP request"));
        assert_eq!(spoken(b"password: x").as_deref(), Some("it began with the bytes \"password\""));
        assert_eq!(spoken(&[22, 3, 1, 0, 5]), None);
    }
}
