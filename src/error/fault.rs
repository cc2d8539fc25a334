//! What went wrong in TLS: the faults, each with its cause and what to do about it.
//!
//! Owns the words. Knows no library: which of its errors is which fault, and what else it says, is found out in `tls/failure`.

use crate::error::alert::Alert;
use std::fmt;

/// What went wrong in TLS. Its text names the cause and the next step; what else is known of the one connection (dates,
/// names, what either side offers) stands beside it, in the `detail` of [`Error`](crate::Error) and
/// [`AcceptEvent`](crate::AcceptEvent).
///
/// Option names in texts (`client_roots`) are those of [`ServerTlsBuilder`](crate::ServerTls) and
/// [`ClientTlsBuilder`](crate::ClientTls).
///
/// ```
/// use windlass::{Reason, TlsFault};
/// fn needs_new_certificate(reason: Reason) -> bool {
///     matches!(reason, Reason::Tls(TlsFault::CertificateExpired))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFault {
    /// What came is no TLS: plain text, or another protocol.
    NotTls,
    /// The peer gave up and said so by this alert; RFC 8446, section 6.2. The text has its name, what it mostly means and
    /// what to do. An alert is never answered by one.
    AlertReceived(u8),
    /// No TLS version is common to both.
    NoCommonVersion,
    /// No cipher suite is common to both, or none that fits the certificate's key.
    NoCommonSuite,
    /// No key exchange group is common to both.
    NoCommonGroup,
    /// No signature scheme is common to both, or none that fits the certificate's key.
    NoCommonSignature,
    /// The peer lacks something else that is required here.
    Incompatible,
    /// No application protocol (ALPN, RFC 7301) is common to both.
    NoApplicationProtocol,
    /// The peer showed no certificate, and one is required.
    NoCertificate,
    /// The peer's certificate, or one of its chain, has expired.
    CertificateExpired,
    /// The peer's certificate, or one of its chain, is not valid yet.
    CertificateNotYetValid,
    /// The peer's certificate is on a revocation list.
    CertificateRevoked,
    /// Nobody who is trusted here has issued the peer's certificate, or a certificate between is missing.
    UnknownIssuer,
    /// The server's certificate is for another name.
    WrongName,
    /// The peer's certificate is not for this use (extended key usage; RFC 5280, section 4.2.1.12).
    WrongPurpose,
    /// There are revocation lists, and none of them is of the certificate's issuer, or that one cannot be used.
    RevocationUnknown,
    /// The revocation list of the certificate's issuer is past its next update.
    RevocationListExpired,
    /// A signature does not verify: that of the certificate, or that which proves that the peer has its key.
    BadSignature,
    /// The peer's certificate cannot be read.
    BadEncoding,
    /// The peer's certificate is signed by an algorithm that is not accepted, SHA-1 for instance.
    UnsupportedSignature,
    /// The peer's certificate was refused for another reason.
    BadCertificate,
    /// The client asked for a name that no configuration is for.
    UnknownName,
    /// The client asked for a name that is none (SNI; RFC 6066, section 3). One that is an IP address is passed over, as if
    /// it had asked for none.
    BadName,
    /// There is no certificate here for the name that the client asked for, or none with a key that it can verify.
    NoUsableCertificate,
    /// A record could not be decrypted.
    BadRecord,
    /// A record or handshake message was longer than it may be.
    TooLarge,
    /// The peer broke the protocol in another way.
    Misbehaved,
    /// It failed on this side: no random bytes, worn-out keys, a fault of the configuration.
    Internal,
}

impl TlsFault {
    pub(super) const KINDS: usize = 28;

    /// One of each kind.
    #[cfg(test)]
    pub(super) const ALL: [TlsFault; TlsFault::KINDS] = [
        TlsFault::NotTls,
        TlsFault::AlertReceived(40),
        TlsFault::NoCommonVersion,
        TlsFault::NoCommonSuite,
        TlsFault::NoCommonGroup,
        TlsFault::NoCommonSignature,
        TlsFault::Incompatible,
        TlsFault::NoApplicationProtocol,
        TlsFault::NoCertificate,
        TlsFault::CertificateExpired,
        TlsFault::CertificateNotYetValid,
        TlsFault::CertificateRevoked,
        TlsFault::UnknownIssuer,
        TlsFault::WrongName,
        TlsFault::WrongPurpose,
        TlsFault::RevocationUnknown,
        TlsFault::RevocationListExpired,
        TlsFault::BadSignature,
        TlsFault::BadEncoding,
        TlsFault::UnsupportedSignature,
        TlsFault::BadCertificate,
        TlsFault::UnknownName,
        TlsFault::BadName,
        TlsFault::NoUsableCertificate,
        TlsFault::BadRecord,
        TlsFault::TooLarge,
        TlsFault::Misbehaved,
        TlsFault::Internal,
    ];

    pub(super) fn index(self) -> usize {
        match self {
            TlsFault::NotTls => 0,
            TlsFault::AlertReceived(_) => 1,
            TlsFault::Incompatible => 2,
            TlsFault::NoApplicationProtocol => 3,
            TlsFault::NoCertificate => 4,
            TlsFault::BadCertificate => 5,
            TlsFault::BadRecord => 6,
            TlsFault::TooLarge => 7,
            TlsFault::Misbehaved => 8,
            TlsFault::Internal => 9,
            TlsFault::UnknownName => 10,
            TlsFault::NoCommonVersion => 11,
            TlsFault::NoCommonSuite => 12,
            TlsFault::NoCommonGroup => 13,
            TlsFault::NoCommonSignature => 14,
            TlsFault::CertificateExpired => 15,
            TlsFault::CertificateNotYetValid => 16,
            TlsFault::CertificateRevoked => 17,
            TlsFault::UnknownIssuer => 18,
            TlsFault::WrongName => 19,
            TlsFault::WrongPurpose => 20,
            TlsFault::RevocationUnknown => 21,
            TlsFault::RevocationListExpired => 22,
            TlsFault::BadSignature => 23,
            TlsFault::BadEncoding => 24,
            TlsFault::UnsupportedSignature => 25,
            TlsFault::BadName => 26,
            TlsFault::NoUsableCertificate => 27,
        }
    }

    /// What is wrong, and what to do about it.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            TlsFault::NotTls => (
                "the peer speaks something else than TLS",
                "plain text to a TLS port, or TLS to a plain one: check the port and the scheme on both sides",
            ),
            TlsFault::AlertReceived(number) => ("the peer gave up", Alert::of(number).advice),
            TlsFault::NoCommonVersion => (
                "no TLS version in common",
                "allow one of the peer's here (versions), or TLS 1.2 or 1.3 at the peer; older ones are never spoken",
            ),
            TlsFault::NoCommonSuite => (
                "no cipher suite in common",
                "allow one of the peer's here (suites), or one of these at the peer; TLS 1.2 needs one that fits the \
                 certificate's key, RSA or ECDSA",
            ),
            TlsFault::NoCommonGroup => (
                "no key exchange group in common",
                "allow one of the peer's here (groups), or one of these at the peer",
            ),
            TlsFault::NoCommonSignature => (
                "no signature scheme in common",
                "use a certificate with another kind of key (RSA or ECDSA), or allow more schemes at the peer",
            ),
            TlsFault::Incompatible => {
                ("the peer lacks something that is required here", "update the peer, or require less here")
            }
            TlsFault::NoApplicationProtocol => (
                "no application protocol (ALPN) in common",
                "add one of the peer's here (alpn), or one of these at the peer",
            ),
            TlsFault::NoCertificate => (
                "the peer showed no certificate, and one is required",
                "give the client a certificate and its key; one that it has is not shown if its issuer is not among \
                 client_roots; or require none (client_auth)",
            ),
            TlsFault::CertificateExpired => (
                "the peer's certificate, or one of its chain, has expired",
                "renew it at the peer; if it is in date, correct the clock of this machine",
            ),
            TlsFault::CertificateNotYetValid => (
                "the peer's certificate, or one of its chain, is not valid yet",
                "correct the clock of this machine, or that of the issuer; or wait until it is valid",
            ),
            TlsFault::CertificateRevoked => (
                "the peer's certificate has been revoked",
                "issue a new one for the peer; if it should be good, give a newer revocation list (revoked)",
            ),
            TlsFault::UnknownIssuer => (
                "the peer's certificate is of an issuer that is not trusted here",
                "add the issuer's root here (roots of a client, client_roots of a server), or have the peer send its \
                 whole chain, the intermediate certificates too",
            ),
            TlsFault::WrongName => (
                "the peer's certificate is for another name",
                "connect by a name that is in the certificate, give that name (server_name), or issue the certificate \
                 for this name",
            ),
            TlsFault::WrongPurpose => (
                "the peer's certificate is not for this use",
                "issue it with the extended key usage that is wanted: serverAuth for a server, clientAuth for a client",
            ),
            TlsFault::RevocationUnknown => (
                "no revocation list here covers the peer's certificate",
                "give the current list of each issuer in its chain (revoked)",
            ),
            TlsFault::RevocationListExpired => (
                "the revocation list of the certificate's issuer is out of date",
                "get the issuer's current list (revoked), and reload",
            ),
            TlsFault::BadSignature => (
                "a signature of the peer's certificate, or by its key, does not verify",
                "if the issuer was recreated under its old name, add its new root here and issue the certificate again; \
                 else the certificate is damaged, or the peer's key is of another one",
            ),
            TlsFault::BadEncoding => {
                ("the peer's certificate cannot be read", "issue it again, as X.509 version 3 in correct DER")
            }
            TlsFault::UnsupportedSignature => (
                "the peer's certificate is signed by an algorithm that is not accepted",
                "issue it again, signed by ECDSA, Ed25519 or RSA of 2048 bits or more, with SHA-256 or longer",
            ),
            TlsFault::BadCertificate => (
                "the peer's certificate was refused",
                "issue it again without what is named here; a verifier of your own must say what it refuses",
            ),
            TlsFault::UnknownName => (
                "the client asked for a name that is not served here",
                "add a certificate for it (name), correct the client's address, or serve such clients too \
                 (unknown_names)",
            ),
            TlsFault::BadName => (
                "the client asked for a server name that is none (SNI)",
                "the client must ask for a DNS name: no port, no URL, no spaces, nothing empty; RFC 6066",
            ),
            TlsFault::NoUsableCertificate => (
                "there is no certificate here for this client",
                "add one for the name that it asks for, or one with a kind of key that it can verify (RSA or ECDSA)",
            ),
            TlsFault::BadRecord => (
                "a record could not be decrypted",
                "something between the two changes bytes, or either side's TLS library is at fault",
            ),
            TlsFault::TooLarge => (
                "a record or handshake message was longer than allowed",
                "shorten the peer's certificate chain, of which at most 64 KiB are taken; if there is none, it may not \
                 be TLS: check the port",
            ),
            TlsFault::Misbehaved => (
                "the peer broke the protocol",
                "update the peer's TLS library; if it is current, look for something between that changes bytes",
            ),
            TlsFault::Internal => {
                ("it failed on this side", "correct the configuration or the system here; the peer is not the cause")
            }
        }
    }

    /// What to do about it, in one sentence.
    pub fn advice(self) -> &'static str {
        self.texts().1
    }

    fn cause(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.texts().0)?;
        match self {
            TlsFault::AlertReceived(number) => match Alert::of(number).name {
                Some(name) => write!(f, ", with the alert {name} ({number})"),
                None => write!(f, ", with an unknown alert ({number})"),
            },
            _ => Ok(()),
        }
    }

    pub(super) fn explain(self, detail: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause(f)?;
        write!(f, " ({detail}); {}", self.advice())
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause(f)?;
        write!(f, "; {}", self.advice())
    }
}
