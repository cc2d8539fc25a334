//! Why a peer was refused: the golden table of faults and texts, as a server's `on_error`, `on_event` and the log have them,
//! and as a client does. Somebody who knows a little of TLS must know from each text what to do.

use crate::canary::{listen_to_the_log, was_logged};
use crate::hostile::{SERVER_NAME, counted, extension, hello, with_extensions};
use crate::support::blocking::{Tale, connect};
use crate::support::{Echo, PATIENCE};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, RevokedCertParams,
};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use windlass::rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use windlass::rustls::crypto::CryptoProvider;
use windlass::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use windlass::rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use windlass::rustls::sign::CertifiedKey;
use windlass::rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, ServerConfig, SignatureScheme, SupportedProtocolVersion, version,
};
use windlass::tls::{Pem, UnknownName};
use windlass::{
    Accept, AcceptEvent, Address, Backoff, Client, ClientTls, Conn, ConnectConfig, Connector, ConnectorState, Error,
    Limits, Link, ListenConfig, Reason, Server, ServerError, ServerTls, TlsFault, tls,
};

// --- who issues what ---------------------------------------------------------------------------------------------------

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A certificate, what is behind it in its chain, and its key.
#[derive(Clone)]
pub(crate) struct Identity(pub(crate) Vec<CertificateDer<'static>>, pub(crate) Arc<PrivateKeyDer<'static>>);

pub(crate) fn issuer(name: &str) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer")
}

pub(crate) fn issued(issuer: &Issuer, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.serial_number = Some(7u64.into());
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let made = params.signed_by(&key, issuer).expect("a certificate");
    let der = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    Identity(vec![made.der().clone()], Arc::new(der))
}

fn roots(issuers: &[&Issuer]) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    issuers.iter().for_each(|issuer| roots.add(issuer.der().clone()).expect("a root"));
    Arc::new(roots)
}

/// A list of `issuer`, which revokes such certificates, good until then.
fn list(issuer: &Issuer, serials: &[u64], year: i32) -> CertificateRevocationListDer<'static> {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: (*serial).into(),
        revocation_time: rcgen::date_time_ymd(2020, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(year, 1, 1),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).expect("a list").der().clone()
}

/// Those whose certificates are trusted, or not.
pub(crate) struct World {
    pub(crate) site: Issuer,
    pub(crate) members: Issuer,
    /// Of the same name as `members`, with another key.
    pub(crate) namesake: Issuer,
    pub(crate) strangers: Issuer,
    pub(crate) server: Identity,
    pub(crate) member: Identity,
}

pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let (site, members) = (issuer("site"), issuer("members"));
        let (server, member) = (issued(&site, "localhost", |_| {}), issued(&members, "member", |_| {}));
        World { site, members, namesake: issuer("members"), strangers: issuer("strangers"), server, member }
    })
}

// --- configurations ----------------------------------------------------------------------------------------------------

pub(crate) type Versions = &'static [&'static SupportedProtocolVersion];

pub(crate) const TLS12: Versions = &[&version::TLS12];
pub(crate) const TLS13: Versions = &[&version::TLS13];

/// A server that shows `identity`; `lists` and `roots` are what it checks clients against, if it does.
fn serving(versions: Versions, identity: &Identity) -> ServerConfig {
    ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(identity.0.clone(), identity.1.clone_key())
        .expect("a certificate and its key")
}

pub(crate) fn usual() -> ServerTls {
    Arc::new(serving(ALL_VERSIONS, &world().server)).into()
}

/// One that wants members.
fn demanding(issuers: &[&Issuer], lists: Vec<CertificateRevocationListDer<'static>>) -> ServerTls {
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots(issuers), tls::provider());
    if !lists.is_empty() {
        verifier = verifier.with_crls(lists).enforce_revocation_expiration();
    }
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(world().server.0.clone(), world().server.1.clone_key());
    Arc::new(config.expect("a certificate and its key")).into()
}

pub(crate) fn members_only() -> ServerTls {
    demanding(&[&world().members], vec![])
}

fn provider(change: impl FnOnce(&mut CryptoProvider)) -> Arc<CryptoProvider> {
    let mut provider = (*tls::provider()).clone();
    change(&mut provider);
    Arc::new(provider)
}

/// A client that trusts the site, shows `identity` and is changed.
pub(crate) fn visiting(
    versions: Versions,
    identity: Option<&Identity>,
    change: impl FnOnce(&mut ClientConfig),
) -> ClientTls {
    visiting_by(tls::provider(), versions, identity, change)
}

fn visiting_by(
    provider: Arc<CryptoProvider>,
    versions: Versions,
    identity: Option<&Identity>,
    change: impl FnOnce(&mut ClientConfig),
) -> ClientTls {
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots(&[&world().site]));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.0.clone(), identity.1.clone_key())
            .expect("a certificate and its key"),
    };
    change(&mut config);
    ClientTls::from(Arc::new(config)).for_server("localhost").expect("a name")
}

/// A client with revocation lists for its server.
fn checking(versions: Versions, lists: Vec<CertificateRevocationListDer<'static>>) -> ClientTls {
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(&[&world().site]), tls::provider());
    let verifier = verifier.with_crls(lists).enforce_revocation_expiration().build().expect("a verifier");
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    ClientTls::from(Arc::new(config)).for_server("localhost").expect("a name")
}

// --- a server of ours ---------------------------------------------------------------------------------------------------

/// What a server's `on_error` was told.
#[derive(Clone, Debug)]
struct Trouble {
    text: String,
    peer: SocketAddr,
    reason: Reason,
    detail: Option<String>,
}

pub(crate) struct House {
    server: Server,
    pub(crate) address: Address,
    errors: Tale<Trouble>,
    events: Tale<String>,
}

struct Porter(Tale<String>);

impl Accept for Porter {
    type Handler = Echo;

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        Echo
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        if let AcceptEvent::Failed { reason, .. } | AcceptEvent::Broken { reason, .. } = event {
            if reason.is_trouble() {
                self.0.tell(event.to_string());
            }
        }
    }
}

impl House {
    pub(crate) fn new(tls: ServerTls) -> House {
        listen_to_the_log();
        let (errors, events) = (Tale::default(), Tale::default());
        let (tells, hears) = (errors.clone(), events.clone());
        let server = Server::builder()
            .address("tls://127.0.0.1:0".parse().expect("an address"))
            .listen_config(ListenConfig { tls: Some(tls), ..ListenConfig::default() })
            .handler(move || Porter(hears.clone()))
            .on_error(move |error| {
                let ServerError::Connection { peer, reason, detail, .. } = error else { panic!("{error}") };
                let peer = peer.as_ref().and_then(|peer| peer.ip()).expect("an IP address");
                tells.tell(Trouble { text: error.to_string(), peer, reason: *reason, detail: detail.clone() });
            })
            .build()
            .expect("a server");
        let listening = server.clone();
        std::thread::spawn(move || listening.listen());
        crate::support::blocking::until("the server to listen", || !server.local_addresses().is_empty());
        let address = server.local_addresses().remove(0);
        House { server, address, errors, events }
    }

    /// What it says of the one peer that it refused: the same everywhere.
    pub(crate) fn told(&self, what: &str) -> (Reason, String) {
        let trouble = self.errors.until_count(what, 1).remove(0);
        let event = self.events.until_count(what, 1).remove(0);
        let Trouble { text, peer, reason, detail } = trouble;
        let text = after(&text, &format!("connection of tls://{peer} to {}: ", self.address));
        assert_eq!(text, after(&event, &format!("connection of {peer}: ")));
        assert_eq!(text, reason.with_detail(detail.as_deref()).to_string());
        let of = format!(" of {peer}: ended: {text}; 0 bytes of output were not sent");
        assert!(was_logged(&of), "{what}: not in the log: {of}");
        check(&text, reason, detail.as_deref());
        (reason, dateless(&text))
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.server.close();
        if !std::thread::panicking() {
            assert!(self.errors.count() <= 1 && self.events.count() <= 1, "it was told more than once");
        }
    }
}

fn after(text: &str, start: &str) -> String {
    text.strip_prefix(start).unwrap_or_else(|| panic!("{text:?} does not start with {start:?}")).to_owned()
}

/// What holds of every text.
fn check(text: &str, reason: Reason, detail: Option<&str>) {
    let short = detail.map_or(text.to_owned(), |detail| text.replacen(&format!(" ({detail})"), "", 1));
    assert_eq!(reason.to_string(), short);
    assert!(text.len() < 1000 && text.chars().all(|c| !c.is_control()), "{text:?}");
    assert!(!text.contains("Error") && !text.contains("Context"), "no words of the library's: {text}");
}

/// Without the present time.
fn dateless(text: &str) -> String {
    match text.split_once("and now it is ") {
        Some((before, rest)) => format!("{before}and now it is NOW{}", &rest["2026-11-29T00:00:00Z".len()..]),
        None => text.to_owned(),
    }
}

/// What a client of ours says, in `connect` or when it reads.
pub(crate) fn visit(address: &Address, tls: ClientTls) -> String {
    let errors = Tale::default();
    let tells = errors.clone();
    let client = Client::builder(address.clone())
        .with_tls(tls.clone(), tls.server_name.as_ref().expect("a name").to_str().as_ref())
        .read_timeout(Some(PATIENCE))
        .on_error(move |error| {
            let Error::Broken { reason, detail, .. } = error else { panic!("{error}") };
            let text = error.to_string();
            check(&text[text.find("TLS: ").expect("of TLS")..], *reason, detail.as_deref());
            tells.tell(text);
        })
        .build()
        .expect("a client");
    let said = match client.connect(PATIENCE) {
        Err(error) => error.to_string(),
        Ok(()) => {
            let error = (&client).read(&mut [0; 8]).expect_err("it was refused");
            format!("connection to {address}: {error}")
        }
    };
    assert_eq!(errors.until_count("the client's error", 1), std::slice::from_ref(&said));
    dateless(&after(&said, &format!("connection to {address}: ")))
}

/// Texts that are not as they should be, all of a table.
#[derive(Default)]
pub(crate) struct Differences(String);

impl Differences {
    pub(crate) fn compare(&mut self, what: &str, told: &str, expected: &str) {
        if told != expected {
            self.0 += &format!("\n{what}:\n  told     {told}\n  expected {expected}");
        }
    }
}

impl Drop for Differences {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{}", self.0);
        }
    }
}

// --- the table ---------------------------------------------------------------------------------------------------------

/// A server and a client of ours, and what each says of the other.
struct Row {
    what: &'static str,
    server: ServerTls,
    client: ClientTls,
    fault: TlsFault,
    /// What the server says.
    server_says: String,
    /// What the client says.
    client_says: String,
}

/// What the side says that is refused by an alert.
pub(crate) fn alert(name: &str, advice: &str) -> String {
    format!("TLS: the peer gave up, with the alert {name} (asked for \"localhost\"); {advice}")
}

pub(crate) const RENEW: &str = "this side's certificate is out of date or not valid yet: renew it and reload; if it is valid, the peer's \
    clock is wrong";
pub(crate) const UNTRUSTED: &str = "the peer does not trust the issuer of this side's certificate: give the whole chain here, the \
    certificate first and then the intermediate ones, or add the root at the peer";
pub(crate) const UNVERIFIED: &str = "a signature of this side does not verify: does the key belong to the certificate, and is the peer's \
    root the one that issued it, and not an older one of the same name?";
pub(crate) const UNFIT: &str = "this side's certificate is not for this use, or of a kind that the peer cannot verify: issue it with the \
    right extended key usage (serverAuth, clientAuth) and kind of key";
pub(crate) const REFUSED: &str = "the peer refused this side's certificate, or wants one and got none; its log says why. Mostly: it does \
    not trust the issuer (give the whole chain, or add the root at the peer), it is for another name, or it has expired";
pub(crate) const NOTHING_COMMON: &str = "mostly there is no cipher suite, group or signature scheme in common, or the peer wants a client \
    certificate: compare both sides' suites, groups and kinds of keys, and look at the peer's log";

pub(crate) const DENIED: &str = "the peer does not let this side in: it has no certificate for the name that was asked for \
    (rustls), this side's is valid and not allowed, or it was refused for whatever reason (GnuTLS): expired, or of an issuer \
    that the peer does not trust; look at the peer's log";
pub(crate) const UNREAD: &str = "is that port one of TLS, and does the peer want a client certificate (GnuTLS says so in TLS \
    1.2 where it got none)? Else: update both TLS libraries, and look at the peer's log";
pub(crate) const NONE: &str = "the peer wants a client certificate and got none: give one with its key (certificate)";

/// What a server says of a client that shows no good certificate.
pub(crate) fn of_client(cause: &str, detail: &str, advice: &str) -> String {
    let detail = if detail.is_empty() { String::new() } else { format!("{detail}; ") };
    format!("TLS: {cause} ({detail}asked for \"localhost\"); {advice}")
}

/// Clients whose certificates are refused, and those that have none.
fn refused_members(versions: Versions) -> Vec<Row> {
    let World { members, namesake, strangers, member, .. } = world();
    let of = |change: fn(&mut CertificateParams)| issued(members, "member", change);
    let visit = |identity: &Identity| visiting(versions, Some(identity), |_| {});
    vec![
        Row {
            what: "no certificate",
            server: members_only(),
            client: visiting(versions, None, |_| {}),
            fault: TlsFault::NoCertificate,
            server_says: of_client(
                "the peer showed no certificate, and one is required",
                "",
                "give the client a certificate and its key; one that it has is not shown if its issuer is not among client_roots; or require none (client_auth)",
            ),
            client_says: alert("certificate_required (116)", NONE),
        },
        Row {
            what: "expired",
            server: members_only(),
            client: visit(&of(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))),
            fault: TlsFault::CertificateExpired,
            server_says: of_client(
                "the peer's certificate, or one of its chain, has expired",
                "it was valid until 2020-01-01T00:00:00Z, and now it is NOW",
                "renew it at the peer; if it is in date, correct the clock of this machine",
            ),
            client_says: alert("certificate_expired (45)", RENEW),
        },
        Row {
            what: "not valid yet",
            server: members_only(),
            client: visit(&of(|params| params.not_before = rcgen::date_time_ymd(2090, 1, 1))),
            fault: TlsFault::CertificateNotYetValid,
            server_says: of_client(
                "the peer's certificate, or one of its chain, is not valid yet",
                "it is valid from 2090-01-01T00:00:00Z, and now it is NOW",
                "correct the clock of this machine, or that of the issuer; or wait until it is valid",
            ),
            client_says: alert("certificate_expired (45)", RENEW),
        },
        Row {
            what: "of an unknown issuer",
            server: members_only(),
            client: visit(&issued(strangers, "member", |_| {})),
            fault: TlsFault::UnknownIssuer,
            server_says: of_client(
                "the peer's certificate is of an issuer that is not trusted here",
                "",
                "add the issuer's root here (roots of a client, client_roots of a server), or have the peer send its whole chain, the intermediate certificates too",
            ),
            client_says: alert("unknown_ca (48)", UNTRUSTED),
        },
        Row {
            what: "of an issuer of the same name",
            server: members_only(),
            client: visit(&issued(namesake, "member", |_| {})),
            fault: TlsFault::BadSignature,
            server_says: of_client(
                "a signature of the peer's certificate, or by its key, does not verify",
                "",
                "if the issuer was recreated under its old name, add its new root here and issue the certificate again; else the certificate is damaged, or the peer's key is of another one",
            ),
            client_says: alert("decrypt_error (51)", UNVERIFIED),
        },
        Row {
            what: "for servers only",
            server: members_only(),
            client: visit(&of(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])),
            fault: TlsFault::WrongPurpose,
            server_says: of_client(
                "the peer's certificate is not for this use",
                "it is to serve for clientAuth, and may only for serverAuth",
                "issue it with the extended key usage that is wanted: serverAuth for a server, clientAuth for a client",
            ),
            client_says: alert("unsupported_certificate (43)", UNFIT),
        },
        Row {
            what: "revoked",
            server: demanding(&[members], vec![list(members, &[7], 2090)]),
            client: visit(member),
            fault: TlsFault::CertificateRevoked,
            server_says: of_client(
                "the peer's certificate has been revoked",
                "",
                "issue a new one for the peer; if it should be good, give a newer revocation list (revoked)",
            ),
            client_says: alert(
                "certificate_revoked (44)",
                "this side's certificate is on a revocation list: get a new one",
            ),
        },
        Row {
            what: "without a list of its issuer",
            server: demanding(&[members, strangers], vec![list(strangers, &[], 2090)]),
            client: visit(member),
            fault: TlsFault::RevocationUnknown,
            server_says: of_client(
                "no revocation list here covers the peer's certificate",
                "",
                "give the current list of each issuer in its chain (revoked)",
            ),
            client_says: alert("unknown_ca (48)", UNTRUSTED),
        },
        Row {
            what: "with an old list of its issuer",
            server: demanding(&[members], vec![list(members, &[], 2021)]),
            client: visit(member),
            fault: TlsFault::RevocationListExpired,
            server_says: of_client(
                "the revocation list of the certificate's issuer is out of date",
                "its next update was due 2021-01-01T00:00:00Z, and now it is NOW",
                "get the issuer's current list (revoked), and reload",
            ),
            client_says: alert("unknown_ca (48)", UNTRUSTED),
        },
        Row {
            what: "an issuer's own",
            server: members_only(),
            client: visit(&of(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
            fault: TlsFault::BadCertificate,
            server_says: of_client(
                "the peer's certificate was refused",
                "it is an issuer's own (CA:TRUE), and no server's or client's",
                "issue it again without what is named here; a verifier of your own must say what it refuses",
            ),
            client_says: alert("certificate_unknown (46)", REFUSED),
        },
    ]
}

#[test]
fn a_client_whose_certificate_is_refused_is_told_of_with_its_cause() {
    let mut differences = Differences::default();
    for (name, versions) in [("TLS 1.2", TLS12), ("TLS 1.3", TLS13)] {
        for row in refused_members(versions) {
            meet(name, row, &mut differences);
        }
    }
}

/// Has the two meet, and looks at what either says.
fn meet(version: &str, row: Row, differences: &mut Differences) {
    let Row { what, server, client, fault, server_says, client_says } = row;
    let house = House::new(server);
    let said = visit(&house.address, client);
    let (reason, told) = house.told(what);
    if reason != Reason::Tls(fault) {
        differences.0 += &format!("\n{version}: {what}: {reason:?}, and not {fault:?}");
    }
    differences.compare(&format!("{version}: {what}: the server"), &told, &server_says);
    differences.compare(&format!("{version}: {what}: the client"), &said, &client_says);
}

#[derive(Debug)]
struct Nothing;

impl ResolvesServerCert for Nothing {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

fn without_certificates() -> ServerTls {
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth();
    Arc::new(config.with_cert_resolver(Arc::new(Nothing))).into()
}

fn serving_by(provider: Arc<CryptoProvider>, versions: Versions) -> ServerTls {
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(world().server.0.clone(), world().server.1.clone_key());
    Arc::new(config.expect("a certificate and its key")).into()
}

/// One of several suites or groups.
fn only_suite(name: &str) -> Arc<CryptoProvider> {
    provider(|provider| provider.cipher_suites.retain(|suite| suite.suite().as_str() == Some(name)))
}

fn only_group(name: &str) -> Arc<CryptoProvider> {
    provider(|provider| provider.kx_groups.retain(|group| group.name().as_str() == Some(name)))
}

/// Clients that have nothing in common with the server.
fn refused_hellos(versions: Versions) -> Vec<Row> {
    let is_12 = versions[0].version == version::TLS12.version;
    let suites = if is_12 {
        ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]
    } else {
        ["TLS13_AES_128_GCM_SHA256", "TLS13_AES_256_GCM_SHA384"]
    };
    let mut protocols = serving(ALL_VERSIONS, &world().server);
    protocols.alpn_protocols = vec![b"echo/1".to_vec(), b"echo/2".to_vec()];
    let pem = |label: &str, der: &[u8]| Pem::bytes(crate::support::security::pem(label, der));
    let named = || {
        let Identity(chain, key) = &world().server;
        ServerTls::builder().certificate(pem("CERTIFICATE", &chain[0]), pem("PRIVATE KEY", key.secret_der()))
    };
    let named = named().name("other.example", named()).unknown_names(UnknownName::Refused);
    vec![
        Row {
            what: "no protocol",
            server: Arc::new(protocols).into(),
            client: visiting(versions, None, |config| config.alpn_protocols = vec![b"h2".to_vec(), b"x\n".to_vec()]),
            fault: TlsFault::NoApplicationProtocol,
            server_says: of_client(
                "no application protocol (ALPN) in common",
                "it offers \"h2\", \"x\\n\"; here: \"echo/1\", \"echo/2\"",
                "add one of the peer's here (alpn), or one of these at the peer",
            ),
            client_says: alert(
                "no_application_protocol (120)",
                "the peer speaks none of the protocols that were offered: add one of its own here (alpn), or one of these at the peer",
            ),
        },
        Row {
            what: "a name that is not served",
            server: named.build().expect("a server"),
            client: visiting(versions, None, |_| {}),
            fault: TlsFault::UnknownName,
            server_says: of_client(
                "the client asked for a name that is not served here",
                "",
                "add a certificate for it (name), correct the client's address, or serve such clients too (unknown_names)",
            ),
            client_says: alert(
                "unrecognized_name (112)",
                "the peer has no certificate for the name that was asked for: correct the address or server_name, or add the name at the peer",
            ),
        },
        Row {
            what: "a name without a certificate",
            server: without_certificates(),
            client: visiting(versions, None, |_| {}),
            fault: TlsFault::NoUsableCertificate,
            server_says: of_client(
                "there is no certificate here for this client",
                "it can verify ECDSA_NISTP384_SHA384, ECDSA_NISTP256_SHA256, ECDSA_NISTP521_SHA512, ED25519, RSA_PSS_SHA512, RSA_PSS_SHA384 and 7 more",
                "add one for the name that it asks for, or one with a kind of key that it can verify (RSA or ECDSA)",
            ),
            client_says: alert("access_denied (49)", DENIED),
        },
        Row {
            what: "no suite",
            server: serving_by(only_suite(suites[0]), versions),
            client: visiting_by(only_suite(suites[1]), versions, None, |_| {}),
            fault: TlsFault::NoCommonSuite,
            server_says: of_client(
                "no cipher suite in common",
                &format!("it offers {}; here: {}", suites[1], suites[0]),
                "allow one of the peer's here (suites), or one of these at the peer; TLS 1.2 needs one that fits the certificate's key, RSA or ECDSA",
            ),
            client_says: alert("handshake_failure (40)", NOTHING_COMMON),
        },
        Row {
            what: "no group",
            server: serving_by(only_group("X25519"), versions),
            client: visiting_by(only_group("secp256r1"), versions, None, |_| {}),
            fault: TlsFault::NoCommonGroup,
            server_says: of_client(
                "no key exchange group in common",
                "it offers secp256r1; here: X25519",
                "allow one of the peer's here (groups), or one of these at the peer",
            ),
            client_says: alert("handshake_failure (40)", NOTHING_COMMON),
        },
        Row {
            what: "no version",
            server: serving_by(tls::provider(), if is_12 { TLS13 } else { TLS12 }),
            client: visiting(versions, None, |_| {}),
            fault: TlsFault::NoCommonVersion,
            server_says: of_client(
                "no TLS version in common",
                if is_12 { "it offers TLS 1.2" } else { "it offers TLS 1.3" },
                "allow one of the peer's here (versions), or TLS 1.2 or 1.3 at the peer; older ones are never spoken",
            ),
            client_says: alert(
                "protocol_version (70)",
                "no TLS version in common: allow TLS 1.2 or 1.3 at the peer, or more versions here (versions)",
            ),
        },
    ]
}

#[test]
fn a_client_with_nothing_in_common_is_told_of_with_what_either_side_has() {
    let mut differences = Differences::default();
    for (name, versions) in [("TLS 1.2", TLS12), ("TLS 1.3", TLS13)] {
        for row in refused_hellos(versions) {
            meet(name, row, &mut differences);
        }
    }
}

/// Servers that a client refuses; the server says what the alert means.
fn refused_servers(versions: Versions) -> Vec<Row> {
    let World { site, strangers, server, .. } = world();
    let of = |change: fn(&mut CertificateParams)| -> ServerTls {
        Arc::new(serving(ALL_VERSIONS, &issued(site, "localhost", change))).into()
    };
    let usual_client = || visiting(versions, None, |_| {});
    let row =
        |what, fault, server, client, (cause, detail, advice): (&str, &str, &str), (name, means): (&str, &str)| Row {
            what,
            server,
            client,
            fault: TlsFault::AlertReceived(fault),
            server_says: alert(name, means),
            client_says: format!("TLS: {cause} ({detail}); {advice}"),
        };
    let asked = "asked for \"localhost\"";
    vec![
        row(
            "expired",
            45,
            of(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)),
            usual_client(),
            (
                "the peer's certificate, or one of its chain, has expired",
                &format!("it was valid until 2020-01-01T00:00:00Z, and now it is NOW; {asked}"),
                "renew it at the peer; if it is in date, correct the clock of this machine",
            ),
            ("certificate_expired (45)", RENEW),
        ),
        row(
            "not valid yet",
            45,
            of(|params| params.not_before = rcgen::date_time_ymd(2090, 1, 1)),
            usual_client(),
            (
                "the peer's certificate, or one of its chain, is not valid yet",
                &format!("it is valid from 2090-01-01T00:00:00Z, and now it is NOW; {asked}"),
                "correct the clock of this machine, or that of the issuer; or wait until it is valid",
            ),
            ("certificate_expired (45)", RENEW),
        ),
        row(
            "of an unknown issuer",
            48,
            Arc::new(serving(ALL_VERSIONS, &issued(strangers, "localhost", |_| {}))).into(),
            usual_client(),
            (
                "the peer's certificate is of an issuer that is not trusted here",
                asked,
                "add the issuer's root here (roots of a client, client_roots of a server), or have the peer send its whole chain, the intermediate certificates too",
            ),
            ("unknown_ca (48)", UNTRUSTED),
        ),
        row(
            "for another name",
            42,
            Arc::new(serving(ALL_VERSIONS, &issued(site, "other.example", |_| {}))).into(),
            usual_client(),
            (
                "the peer's certificate is for another name",
                &format!("{asked}, and it is for \"other.example\""),
                "connect by a name that is in the certificate, give that name (server_name), or issue the certificate for this name",
            ),
            ("bad_certificate (42)", REFUSED),
        ),
        row(
            "for clients only",
            43,
            of(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            usual_client(),
            (
                "the peer's certificate is not for this use",
                &format!("it is to serve for serverAuth, and may only for clientAuth; {asked}"),
                "issue it with the extended key usage that is wanted: serverAuth for a server, clientAuth for a client",
            ),
            ("unsupported_certificate (43)", UNFIT),
        ),
        row(
            "revoked",
            44,
            usual(),
            checking(versions, vec![list(site, &[7], 2090)]),
            (
                "the peer's certificate has been revoked",
                asked,
                "issue a new one for the peer; if it should be good, give a newer revocation list (revoked)",
            ),
            ("certificate_revoked (44)", "this side's certificate is on a revocation list: get a new one"),
        ),
        row(
            "with an old list of its issuer",
            48,
            Arc::new(serving(ALL_VERSIONS, server)).into(),
            checking(versions, vec![list(site, &[], 2021)]),
            (
                "the revocation list of the certificate's issuer is out of date",
                &format!("its next update was due 2021-01-01T00:00:00Z, and now it is NOW; {asked}"),
                "get the issuer's current list (revoked), and reload",
            ),
            ("unknown_ca (48)", UNTRUSTED),
        ),
    ]
}

#[test]
fn a_client_says_why_it_refuses_a_server_and_the_server_what_its_alert_means() {
    let mut differences = Differences::default();
    for (name, versions) in [("TLS 1.2", TLS12), ("TLS 1.3", TLS13)] {
        for row in refused_servers(versions) {
            meet(name, row, &mut differences);
        }
    }
}

// --- peers that are made by hand ----------------------------------------------------------------------------------------

/// What a server says of bytes, and of the end behind them.
fn of_bytes(tls: ServerTls, bytes: &[u8]) -> String {
    let house = House::new(tls);
    let mut peer = connect(&house.address).expect("a connection");
    peer.write_all(bytes).expect("written");
    let _ = peer.read_to_end(&mut Vec::new());
    drop(peer);
    house.told("bytes").1
}

/// A hello that asks for such a name.
fn asking(name: &[u8]) -> Vec<u8> {
    naming(&counted(&[&[0][..], &counted(name)].concat()))
}

fn naming(list: &[u8]) -> Vec<u8> {
    with_extensions(&hello(), &extension(SERVER_NAME, list), &[])
}

const BAD_NAME: &str = "the client asked for a server name that is none (SNI)";
const NAMES: &str = "the client must ask for a DNS name: no port, no URL, no spaces, nothing empty; RFC 6066";
const NO_TLS: &str = "the peer speaks something else than TLS";
const PORTS: &str = "plain text to a TLS port, or TLS to a plain one: check the port and the scheme on both sides";

#[test]
fn bytes_that_are_no_good_hello_are_told_of_with_what_they_are() {
    let long = [&[22, 3, 1, 0x48, 0x01][..], &[1; 100]].concat();
    let two = counted(&[&[0][..], &counted(b"a.example"), &[0], &counted(b"b.example")].concat());
    let old = {
        // TLS 1.1, without a list of versions.
        let suites = counted(&[0, 47, 0xc0, 0x13]);
        let body = [&[3, 2][..], &[7; 32], &[0], &suites, &[1, 0]].concat();
        let message = [&[1, 0, 0, body.len() as u8][..], &body].concat();
        [&[22, 3, 1][..], &counted(&message)].concat()
    };
    let cases: [(&str, Vec<u8>, &str, &str, &str); 14] = [
        ("HTTP", b"GET /?secret=1 HTTP/1.1\r\n\r\n".to_vec(), NO_TLS, "it began with an HTTP request", PORTS),
        (
            "a proxy's header",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            NO_TLS,
            "it began with a PROXY protocol header, which a proxy in front sends",
            PORTS,
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), NO_TLS, "it began with SSH", PORTS),
        (
            "something",
            b"\x00\x01pass\x1b[1mword".to_vec(),
            NO_TLS,
            "it began with the bytes \"\\x00\\x01pass\\x1b[\"",
            PORTS,
        ),
        ("a name with a port", asking(b"a.example:443"), BAD_NAME, "asked for \"a.example:443\"", NAMES),
        ("a name with escapes", asking(b"a\n\x1b[31m"), BAD_NAME, "asked for \"a\\n\\x1b[31m\"", NAMES),
        ("no letters at all", asking(b"\xff\xfe"), BAD_NAME, "asked for \"\\xff\\xfe\"", NAMES),
        ("an empty name", asking(b""), BAD_NAME, "asked for \"\"", NAMES),
        ("two names", naming(&two), BAD_NAME, "its list of names cannot be read, or has more than one", NAMES),
        (
            "a name cut short",
            naming(&[0, 9, 0, 0, 200]),
            BAD_NAME,
            "its list of names cannot be read, or has more than one",
            NAMES,
        ),
        (
            "a long record",
            long,
            "a record or handshake message was longer than allowed",
            "a record of more than 16 KiB",
            "shorten the peer's certificate chain, of which at most 64 KiB are taken; if there is none, it may not be TLS: check the port",
        ),
        (
            "TLS 1.1",
            old,
            "no TLS version in common",
            "it offers TLS 1.1; here: TLS 1.2 or newer",
            "allow one of the peer's here (versions), or TLS 1.2 or 1.3 at the peer; older ones are never spoken",
        ),
        ("an alert", vec![21, 3, 3, 0, 2, 2, 48], "the peer gave up, with the alert unknown_ca (48)", "", UNTRUSTED),
        (
            "an unknown alert",
            vec![21, 3, 3, 0, 2, 2, 200],
            "the peer gave up, with an unknown alert (200)",
            "",
            "what it means is in the peer's log, or its documentation",
        ),
    ];
    let mut differences = Differences::default();
    for (what, bytes, cause, detail, advice) in cases {
        let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
        differences.compare(what, &of_bytes(usual(), &bytes), &format!("TLS: {cause}{detail}; {advice}"));
    }
}

#[test]
fn an_ip_address_as_a_name_is_passed_over() {
    let house = House::new(usual());
    let mut peer = connect(&house.address).expect("a connection");
    peer.write_all(&asking(b"127.0.0.1")).expect("written");
    let mut first = [0];
    peer.read_exact(&mut first).expect("an answer");
    // A handshake record.
    assert_eq!((first, house.errors.count()), ([22], 0));
}

/// What a client says of a server that answers so.
fn of_answer(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let address: Address = format!("tls://{at}").parse().expect("an address");
    let serving = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.read_exact(&mut [0; 5]).expect("a hello");
        socket.write_all(bytes).expect("written");
        let _ = socket.shutdown(Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let said = visit(&address, visiting(ALL_VERSIONS, None, |_| {}));
    serving.join().expect("no panic");
    said
}

#[test]
fn a_server_that_speaks_no_tls_or_refuses_is_told_of_with_what_it_said() {
    let cases: [(&str, &'static [u8], &str, &str, &str); 4] = [
        (
            "HTTP",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            NO_TLS,
            "it began with an HTTP answer; asked for \"localhost\"",
            PORTS,
        ),
        ("SMTP", b"220 mail.example ESMTP\r\n", NO_TLS, "it began with SMTP or FTP; asked for \"localhost\"", PORTS),
        (
            "an alert",
            &[21, 3, 1, 0, 2, 2, 80],
            "the peer gave up, with the alert internal_error (80)",
            "asked for \"localhost\"",
            "the peer failed for a reason of its own: look at its log",
        ),
        (
            "TLS 1.1",
            &[
                22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
                7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 47, 0,
            ],
            "no TLS version in common",
            "the server answered with an older one than TLS 1.2; asked for \"localhost\"",
            "allow one of the peer's here (versions), or TLS 1.2 or 1.3 at the peer; older ones are never spoken",
        ),
    ];
    let mut differences = Differences::default();
    for (what, bytes, cause, detail, advice) in cases {
        differences.compare(what, &of_answer(bytes), &format!("TLS: {cause} ({detail}); {advice}"));
    }
}

/// What all say of a server that is for another name.
const OTHER_NAME: &str = "TLS: the peer's certificate is for another name (asked for \"localhost\", and it is for \
    \"other.example\"); connect by a name that is in the certificate, give that name (server_name), or issue the certificate for \
    this name";

fn misnamed() -> ServerTls {
    Arc::new(serving(ALL_VERSIONS, &issued(&world().site, "other.example", |_| {}))).into()
}

#[test]
fn a_handler_of_a_reactor_hears_the_same_when_it_closes() {
    let house = House::new(misnamed());
    let mut world = crate::support::World::new();
    let told = Tale::default();
    let tells = told.clone();
    let handler = crate::support::Hooks::new()
        .close(move |conn, reason| tells.tell(reason.with_detail(conn.failure_detail()).to_string()));
    let tls = Some(visiting(ALL_VERSIONS, None, |_| {}));
    world.connect(&house.address, ConnectConfig { tls, ..ConnectConfig::default() }, handler);
    assert_eq!(world.until_empty(), [Reason::Tls(TlsFault::WrongName)]);
    assert_eq!(told.all(), [OTHER_NAME]);
}

#[test]
fn a_connector_and_a_blocking_link_hear_the_same() {
    let house = House::new(misnamed());
    let tls = || visiting(ALL_VERSIONS, None, |_| {});
    let engine = windlass::Engine::start(windlass::EngineConfig::default()).expect("an engine");
    let told = Tale::default();
    let tells = told.clone();
    let connector = Connector::builder(house.address.clone())
        .connect_config(ConnectConfig { tls: Some(tls()), ..ConnectConfig::default() })
        .backoff(Backoff { first: PATIENCE, ..Backoff::default() })
        .on_state(move |state| {
            if let ConnectorState::Failed(error) = state {
                tells.tell(error.to_string());
            }
        })
        .start(engine.least_loaded(), |_: &Conn<'_>| Echo)
        .expect("a connector");
    let expected = format!("connection to {}: {OTHER_NAME}", house.address);
    assert_eq!(told.until_count("the failure", 1), [expected]);
    drop(connector);
    drop(house);

    let house = House::new(misnamed());
    let socket = connect(&house.address).expect("a connection");
    let link = Link::new(socket, Limits::default()).and_then(|link| link.with_tls_client(&tls())).expect("a link");
    let error = link.into_blocking().expect_err("it is refused").to_string();
    assert!(error.ends_with(&format!(": {OTHER_NAME}")) && error.starts_with("connection to tls://"), "{error}");
}

/// Shows bytes that are no certificate.
#[derive(Debug)]
struct Garbage(Arc<CertifiedKey>);

impl ResolvesClientCert for Garbage {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_told_of_as_that_without_its_bytes() {
    let key = tls::provider().key_provider.load_private_key(world().member.1.clone_key()).expect("a key");
    let garbage = Arc::new(CertifiedKey::new(vec![CertificateDer::from(b"secret garbage".to_vec())], key));
    for (name, versions) in [("TLS 1.2", TLS12), ("TLS 1.3", TLS13)] {
        let row = Row {
            what: "garbage",
            server: members_only(),
            client: visiting(versions, None, |config| {
                config.client_auth_cert_resolver = Arc::new(Garbage(garbage.clone()));
            }),
            fault: TlsFault::BadEncoding,
            server_says: of_client(
                "the peer's certificate cannot be read",
                "",
                "issue it again, as X.509 version 3 in correct DER",
            ),
            client_says: alert("bad_certificate (42)", REFUSED),
        };
        meet(name, row, &mut Differences::default());
    }
}

#[test]
fn a_server_that_hangs_up_in_the_handshake_is_told_of_as_that() {
    for (reset, cause) in [(false, "closed by the peer"), (true, "reset by the peer")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        let address: Address = format!("tls://{at}").parse().expect("an address");
        let serving = std::thread::spawn(move || {
            let mut socket = socket2::Socket::from(listener.accept().expect("a connection").0);
            socket.read_exact(&mut [0; 5]).expect("a hello");
            if reset {
                socket.set_linger(Some(std::time::Duration::ZERO)).expect("SO_LINGER");
            } else {
                socket.shutdown(Shutdown::Write).expect("a shutdown");
                let _ = socket.read_to_end(&mut Vec::new());
            }
        });
        let client = Client::builder(address.clone()).with_tls(visiting(ALL_VERSIONS, None, |_| {}), "localhost");
        let error = client.build().expect("a client").connect(PATIENCE).expect_err("it hung up");
        assert_eq!(error.to_string(), format!("connection to {address}: {cause} (in the TLS handshake)"));
        serving.join().expect("no panic");
    }
}

#[test]
fn a_stream_that_is_cut_is_told_of_with_the_option_that_allows_it() {
    let house = House::new(usual());
    // It is dropped without a word: its FIN comes without close_notify.
    let config = visiting(ALL_VERSIONS, None, |_| {}).config();
    let name = "localhost".try_into().expect("a name");
    let tls = windlass::rustls::ClientConnection::new(config, name).expect("a client");
    let mut client = windlass::rustls::StreamOwned::new(tls, connect(&house.address).expect("a connection"));
    client.write_all(b"hello").expect("written");
    client.read_exact(&mut [0; 5]).expect("an echo");
    drop(client);
    let (reason, told) = house.told("the cut");
    assert_eq!(reason, Reason::Truncated);
    let expected = "truncated: the peer ended without TLS' close_notify, so somebody may have cut the stream; if the protocol \
                    marks its own ends, set Truncation::Tolerated";
    assert_eq!(told, expected);
}
