//! A handshake with oneself, in memory: whether anybody can take what a configuration shows.
//!
//! Sizes come first, because what is too long for its field in a message has rustls assert in debug builds. Then a
//! peer of our own takes the chain, from whatever issuer, and checks the signature: that finds suites that do not fit the
//! key, and what no peer can read.

use super::pem::{Pem, Wanted};
use crate::error::Error;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, ServerConfig, ServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{DigitallySignedStruct, DistinguishedName, NamedGroup, SignatureScheme, SupportedProtocolVersion};
use std::sync::Arc;

/// What rustls and GnuTLS take of a chain, together with the names of client issuers (CertificateRequest, RFC 8446, section
/// 4.3.2): rustls puts a flight of handshake messages together in 65,535 bytes, in which a signature and the headers of
/// records must have room too. OpenSSL takes 100 KiB, and Go 256; the names have a field of 64 KiB.
const FLIGHT_BYTES_MAX: usize = 64_000;

/// OpenSSL looks no deeper, webpki and Go check no more signatures.
pub(super) const CHAIN_LENGTH_MAX: usize = 100;

/// A message each way for each flight, of which TLS 1.2 has four, and a retry.
const ROUNDS_MAX: usize = 8;

/// A chain and its key that are tried, and where the chain is from.
pub(super) struct Shown<'a> {
    pub(super) pem: &'a Pem,
    pub(super) key: Arc<CertifiedKey>,
    /// Keys that are elsewhere are not asked for a signature.
    pub(super) is_tried: Tried,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tried {
    Yes,
    No,
}

/// Whether the names of application protocols fit into a hello; RFC 7301, section 3.1.
pub(super) fn protocols(alpn: &[Vec<u8>]) -> Result<(), Error> {
    let bytes: usize = alpn.iter().map(|name| name.len() + 1).sum();
    if bytes <= FLIGHT_BYTES_MAX {
        return Ok(());
    }
    let value = format!("{} names of {bytes} bytes", alpn.len());
    Err(Error::Config { field: "alpn", value, why: "a hello has room for 64,000 bytes of them; leave some out" })
}

/// Tries what a server shows, in each version that it speaks.
pub(super) struct Trial<'a> {
    provider: &'a Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
    /// What no certificate was good for, and why.
    unspoken: Vec<(&'static SupportedProtocolVersion, Option<rustls::Error>)>,
}

impl<'a> Trial<'a> {
    pub(super) fn of(provider: &'a Arc<CryptoProvider>, versions: &[&'static SupportedProtocolVersion]) -> Trial<'a> {
        let versions = spoken(provider, versions);
        let unspoken = versions.iter().map(|version| (*version, None)).collect();
        Trial { provider, versions, unspoken }
    }

    /// Whether a certificate is good for any version, once [`names`] has found room for those of `asks` beside it.
    pub(super) fn one(&mut self, shown: &Shown<'_>, asks: &[DistinguishedName]) -> Result<(), Error> {
        if shown.is_tried == Tried::No {
            self.pass();
            return Ok(());
        }
        let (mut failed, mut is_used) = (None, false);
        for version in &self.versions {
            match server_shakes(&shown.key, asks, self.provider, version) {
                Ok(()) => {
                    is_used = true;
                    self.unspoken.retain(|(other, _)| other.version != version.version);
                }
                Err(error) => {
                    let same = self.unspoken.iter_mut().find(|(other, _)| other.version == version.version);
                    same.into_iter().for_each(|(_, why)| *why = Some(error.clone()));
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if !is_used => Err(shown.unfit(&error)),
            _ => Ok(()),
        }
    }

    /// There is a certificate that was not tried: it may be for any version.
    pub(super) fn pass(&mut self) {
        self.unspoken.clear();
    }

    /// Whether each version can be spoken with some certificate; `first` is one of them.
    pub(super) fn end(mut self, first: &Shown<'_>) -> Result<(), Error> {
        match self.unspoken.pop() {
            Some((version, why)) => Err(first.unspoken(version, why)),
            None => Ok(()),
        }
    }
}

/// Tries what a client shows.
pub(super) fn client(
    shown: &Shown<'_>,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<(), Error> {
    sizes(shown)?;
    let mut failed = None;
    // Its suites are for servers' keys: any will do, so that the key is judged alone.
    let all = super::provider();
    for version in spoken(provider, versions) {
        match client_shakes(&shown.key, &all, version) {
            Ok(()) => return Ok(()),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), |error| Err(shown.unfit(&error)))
}

impl Shown<'_> {
    fn unspoken(&self, version: &SupportedProtocolVersion, error: Option<rustls::Error>) -> Error {
        let number = if version.version == rustls::ProtocolVersion::TLSv1_2 { "1.2" } else { "1.3" };
        let why = match error {
            None | Some(rustls::Error::PeerIncompatible(_)) => format!(
                "no suite of TLS {number} that is allowed fits a key of {:?}; allow one (ECDHE_RSA for RSA, else ECDHE_ECDSA), \
                 or leave that version out by `versions`",
                self.key.key.algorithm()
            ),
            Some(error) => format!("a test handshake in memory in TLS {number} failed: {error}; peers would fail too"),
        };
        self.pem.unfit(Wanted::Certificate.noun(), why)
    }

    fn unfit(&self, error: &rustls::Error) -> Error {
        let why = format!("a test handshake in memory failed: {error}; peers would fail too");
        self.pem.unfit(Wanted::Certificate.noun(), why)
    }
}

/// Whether the names of who may issue client certificates fit beside a chain.
pub(super) fn names(names: &[DistinguishedName], chain_bytes: usize) -> Result<(), Error> {
    let bytes: usize = names.iter().map(|name| name.as_ref().len() + 2).sum();
    let bytes_max = FLIGHT_BYTES_MAX.saturating_sub(chain_bytes);
    if names.is_empty() || bytes <= bytes_max {
        return Ok(());
    }
    let count = names.len();
    let why = format!(
        "the names of these {count} issuers take {bytes} bytes, and a server can send {bytes_max} bytes of them beside its \
         chain; remove those that issue no client certificates"
    );
    Err(Error::Tls { what: "client roots".to_owned(), why })
}

/// The bytes of the chain, if they are not too many.
pub(super) fn sizes(shown: &Shown<'_>) -> Result<usize, Error> {
    // Each has a length and extensions before and behind it, and the list a length; RFC 8446, section 4.4.2.
    let bytes = shown.key.cert.iter().map(|der| der.len() + 5).sum::<usize>() + 4;
    let count = shown.key.cert.len();
    let why = if count > CHAIN_LENGTH_MAX {
        format!("the chain has {count} certificates, and no peer follows more than {CHAIN_LENGTH_MAX}")
    } else if bytes > FLIGHT_BYTES_MAX {
        format!("the chain of {count} certificates takes {bytes} bytes, and peers take at most {FLIGHT_BYTES_MAX}")
    } else {
        return Ok(bytes);
    };
    let mend = "keep only the first and its issuers";
    Err(shown.pem.unfit(Wanted::Certificate.noun(), format!("{why}; {mend}")))
}

/// The versions that the provider has suites for; rustls leaves out others.
fn spoken(
    provider: &CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> Vec<&'static SupportedProtocolVersion> {
    let has_suite = |version: &&&'static SupportedProtocolVersion| {
        provider.cipher_suites.iter().any(|suite| suite.version().version == version.version)
    };
    versions.iter().filter(has_suite).copied().collect()
}

/// The same with the quickest of its groups: the key is what is tried.
fn quick(provider: &Arc<CryptoProvider>) -> Arc<CryptoProvider> {
    const QUICK: [NamedGroup; 2] = [NamedGroup::X25519, NamedGroup::secp256r1];
    let group = |name| provider.kx_groups.iter().find(|group| group.name() == name).copied();
    match QUICK.into_iter().find_map(group) {
        None => provider.clone(),
        Some(group) => Arc::new(CryptoProvider { kx_groups: vec![group], ..(**provider).clone() }),
    }
}

fn server_shakes(
    key: &Arc<CertifiedKey>,
    asks: &[DistinguishedName],
    provider: &Arc<CryptoProvider>,
    version: &'static SupportedProtocolVersion,
) -> Result<(), rustls::Error> {
    let provider = quick(provider);
    let anyone = Arc::new(Anyone::of(&provider, asks, Demand::Ask));
    let server = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(&[version])?;
    let server = match asks {
        [] => server.with_no_client_auth(),
        _ => server.with_client_cert_verifier(anyone.clone()),
    };
    let server = server.with_cert_resolver(Arc::new(SingleCertAndKey::from((**key).clone())));
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version])?;
    let client = client.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth();
    shake(server, client)
}

fn client_shakes(
    key: &Arc<CertifiedKey>,
    provider: &Arc<CryptoProvider>,
    version: &'static SupportedProtocolVersion,
) -> Result<(), rustls::Error> {
    let provider = quick(provider);
    let anyone = Arc::new(Anyone::of(&provider, &[], Demand::Require));
    let resolver = || Arc::new(SingleCertAndKey::from((**key).clone()));
    // The server shows the same: there is no other certificate, and its issuer counts as little.
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])?
        .with_client_cert_verifier(anyone.clone())
        .with_cert_resolver(resolver());
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version])?;
    let client = client.dangerous().with_custom_certificate_verifier(anyone).with_client_cert_resolver(resolver());
    shake(server, client)
}

/// The whole handshake, without a socket.
fn shake(mut server: ServerConfig, mut client: ClientConfig) -> Result<(), rustls::Error> {
    let none = |error: std::io::Error| rustls::Error::General(error.to_string());
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    client.resumption = Resumption::disabled();
    let name = ServerName::try_from("localhost").expect("it is a name");
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    let mut flight = Vec::new();
    for _ in 0..ROUNDS_MAX {
        flight.clear();
        while client.wants_write() {
            client.write_tls(&mut flight).map_err(none)?;
        }
        let mut rest = &flight[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).map_err(none)?;
            server.process_new_packets()?;
        }
        flight.clear();
        while server.wants_write() {
            server.write_tls(&mut flight).map_err(none)?;
        }
        let mut rest = &flight[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).map_err(none)?;
            client.process_new_packets()?;
        }
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    Err(rustls::Error::HandshakeNotComplete)
}

/// Takes a certificate of anybody, if it can be read and the signature is that of its key. It never leaves this file: no
/// connection is made with it.
#[derive(Debug)]
struct Anyone {
    algorithms: WebPkiSupportedAlgorithms,
    asks: Vec<DistinguishedName>,
    demand: Demand,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Ask,
    Require,
}

impl Anyone {
    fn of(provider: &CryptoProvider, asks: &[DistinguishedName], demand: Demand) -> Anyone {
        Anyone { algorithms: provider.signature_verification_algorithms, asks: asks.to_vec(), demand }
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        ParsedCertificate::try_from(own).map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, own, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, own, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Anyone {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Require
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.asks
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        ParsedCertificate::try_from(own).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, own, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, own, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
