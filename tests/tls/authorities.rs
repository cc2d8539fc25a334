//! Issuers made at run time: what they certify, what they revoke, and who visits with it.

use crate::building::{Own, shakes};
use crate::raw::Client;
use crate::support::{World, security};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CrlIssuingDistributionPoint, IsCa, KeyPair};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, KeyUsagePurpose, RevokedCertParams, SigningKey};
use std::ops::Add;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use windlass::rustls::client::Resumption;
use windlass::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use windlass::rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion, version};
use windlass::tls::Pem;
use windlass::{Address, tls};

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// Its certificate, and a key that signs what rcgen does not make.
pub(crate) struct Authority {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
    key: KeyPair,
    /// Those between it and a root, its own first; none if it is one.
    above: Vec<CertificateDer<'static>>,
}

impl Authority {
    pub(crate) fn root(name: &str) -> Authority {
        let (params, key, again) = of(name);
        let issuer = CertifiedIssuer::self_signed(params, again).expect("an issuer");
        Authority { issuer, key, above: Vec::new() }
    }

    pub(crate) fn under(&self, name: &str) -> Authority {
        let (params, key, again) = of(name);
        let issuer = CertifiedIssuer::signed_by(params, again, &self.issuer).expect("an issuer");
        let mut above = vec![issuer.der().clone()];
        above.extend(self.above.clone());
        Authority { issuer, key, above }
    }

    /// The same, that may sign no lists.
    pub(crate) fn under_without_lists(&self, name: &str) -> Authority {
        let (mut params, key, again) = of(name);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::signed_by(params, again, &self.issuer).expect("an issuer");
        Authority { above: vec![issuer.der().clone()], issuer, key }
    }

    /// A certificate for this one's name and key by another issuer, to the end of so many seconds.
    pub(crate) fn crossed(&self, name: &str, by: &Authority, seconds: i64) -> CertificateDer<'static> {
        let (mut params, ..) = of(name);
        lasting(seconds)(&mut params);
        params.signed_by(&self.key, &by.issuer).expect("a certificate").der().clone()
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem::bytes(self.issuer.pem())
    }

    /// A client with a certificate of this one's, trusting `server`.
    pub(crate) fn member(&self, server: &Own, change: impl FnOnce(&mut CertificateParams)) -> Member {
        let mut params = CertificateParams::new(["member".to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        let mut chain = vec![made.der().clone()];
        chain.extend(self.above.clone());
        Member { chain, key: key.serialize_der(), root: server.der(), config: None }
    }

    pub(crate) fn list(&self) -> List<'_> {
        let (scope, extension, algorithm, revoked) = (None, Vec::new(), None, Vec::new());
        List { by: self, made: -2 * DAY, due: 30 * DAY, number: 1, scope, extension, algorithm, revoked }
    }
}

pub(crate) const DAY: i64 = 86_400;

/// Of each issuer's own certificate.
pub(crate) const ISSUER_SERIAL: u64 = 77;

fn of(name: &str) -> (CertificateParams, KeyPair, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.serial_number = Some(ISSUER_SERIAL.into());
    let key = KeyPair::generate().expect("a key");
    let again = KeyPair::try_from(key.serialize_der()).expect("the same key");
    (params, key, again)
}

// --- revocation lists ------------------------------------------------------------------------------------------------

pub(crate) struct List<'a> {
    by: &'a Authority,
    made: i64,
    due: i64,
    number: u64,
    scope: Option<CrlIssuingDistributionPoint>,
    extension: Vec<u8>,
    algorithm: Option<Vec<u8>>,
    revoked: Vec<u64>,
}

impl List<'_> {
    /// Both in seconds from now.
    pub(crate) fn dated(mut self, made: i64, due: i64) -> Self {
        (self.made, self.due) = (made, due);
        self
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    pub(crate) fn scope(mut self, scope: CrlIssuingDistributionPoint) -> Self {
        self.scope = Some(scope);
        self
    }

    /// One more extension, in DER.
    pub(crate) fn extension(mut self, extension: &[u8]) -> Self {
        self.extension = extension.to_vec();
        self
    }

    /// Said to be signed by this algorithm, in DER.
    pub(crate) fn algorithm(mut self, algorithm: &[u8]) -> Self {
        self.algorithm = Some(algorithm.to_vec());
        self
    }

    pub(crate) fn revoking(mut self, serials: &[u64]) -> Self {
        self.revoked = serials.to_vec();
        self
    }

    pub(crate) fn pem(self) -> String {
        security::pem("X509 CRL", &self.der())
    }

    pub(crate) fn der(self) -> Vec<u8> {
        let epoch = || rcgen::date_time_ymd(1970, 1, 1);
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: from_now(epoch(), -3 * DAY),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: from_now(epoch(), self.made),
            next_update: from_now(epoch(), self.due),
            crl_number: self.number.into(),
            issuing_distribution_point: self.scope,
            revoked_certs: self.revoked.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let mut list = params.signed_by(&self.by.issuer).expect("a list").der().to_vec();
        if !self.extension.is_empty() || self.algorithm.is_some() {
            list = signed_anew(&list, &self.extension, self.algorithm.as_deref(), &self.by.key);
        }
        list
    }
}

/// A list with one more extension, and another algorithm in its two places.
fn signed_anew(list: &[u8], extension: &[u8], algorithm: Option<&[u8]>, key: &KeyPair) -> Vec<u8> {
    let parts = items(value(list));
    let mut signed = items(value(parts[0]));
    let algorithm = algorithm.unwrap_or(parts[1]);
    signed[1] = algorithm;
    let mut extensions = value(value(signed.pop().expect("extensions"))).to_vec();
    extensions.extend_from_slice(extension);
    let extensions = item(0xa0, &item(0x30, &extensions));
    signed.push(&extensions);
    let signed = item(0x30, &signed.concat());
    let signature = [&[0][..], &key.sign(&signed).expect("a signature")].concat();
    item(0x30, &[&signed[..], algorithm, &item(3, &signature)].concat())
}

pub(crate) fn item(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len().to_be_bytes();
    let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(7)..];
    let head = if value.len() < 128 { vec![tag] } else { vec![tag, 0x80 | length.len() as u8] };
    [&head[..], length, value].concat()
}

/// Where the value of the first item begins, and ends.
fn bounds(bytes: &[u8]) -> (usize, usize) {
    match usize::from(bytes[1]) {
        length @ ..128 => (2, 2 + length),
        more => {
            let count = more & 0x7f;
            let length = bytes[2..2 + count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (2 + count, 2 + count + length)
        }
    }
}

fn value(bytes: &[u8]) -> &[u8] {
    let (begin, end) = bounds(bytes);
    &bytes[begin..end]
}

fn items(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (item, rest) = bytes.split_at(bounds(bytes).1);
        items.push(item);
        bytes = rest;
    }
    items
}

/// So many seconds from now, in whatever type `epoch` has.
fn from_now<T: Add<Duration, Output = T>>(epoch: T, seconds: i64) -> T {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    epoch + Duration::from_secs(now.checked_add_signed(seconds).expect("a time after 1970"))
}

/// Has a certificate end so many seconds from now.
pub(crate) fn lasting(seconds: i64) -> impl Fn(&mut CertificateParams) {
    move |params| {
        params.not_before = from_now(rcgen::date_time_ymd(1970, 1, 1), -2 * DAY);
        params.not_after = from_now(rcgen::date_time_ymd(1970, 1, 1), seconds);
    }
}

// --- who visits ------------------------------------------------------------------------------------------------------

/// A client that has a certificate, and remembers its sessions.
pub(crate) struct Member {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    root: CertificateDer<'static>,
    config: Option<Arc<ClientConfig>>,
}

impl Member {
    /// Shows one more.
    pub(crate) fn showing(mut self, other: CertificateDer<'static>) -> Member {
        self.chain.push(other);
        self
    }

    pub(crate) fn speaking(mut self, version: &'static SupportedProtocolVersion) -> Member {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), PrivateKeyDer::try_from(self.key.clone()).expect("a key"))
            .expect("a certificate");
        config.resumption = Resumption::in_memory_sessions(8);
        self.config = Some(Arc::new(config));
        self
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.config.clone().expect("a version was said")
    }

    /// How it was let in; `None` if it was not.
    pub(crate) fn visit(&self, world: &mut World, address: &Address) -> Option<HandshakeKind> {
        let mut client = Client::new(address, self.config(), "localhost");
        if shakes(world, &mut client) { client.tls.handshake_kind() } else { None }
    }
}
