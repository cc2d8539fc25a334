//! The table `tls`: each key, each refusal, and servers and clients that speak TLS by it.

use crate::running::echoes;
use crate::support::{Echo, Hooks, PATIENCE, World, security};
use crate::{client, round_trips, server};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::OnceLock;
use tempfile::TempDir;
use windlass::rustls::pki_types::ServerName;
use windlass::rustls::{CipherSuite, ClientConnection, HandshakeKind, NamedGroup, ProtocolVersion, StreamOwned};
use windlass::tls::{ClientAuth, KeyLog, ListPolicy, Offload, Pem, Truncation, UnknownName, Version};
use windlass::{
    CertPair, ClientConfig, Conn, Roots, Server, ServerConfig, SessionTickets, TlsClientConfig, TlsServerConfig,
    TlsTerms,
};

/// A folder with a certificate for localhost, its key, an issuer of client certificates, and one of those with its key.
struct Files {
    folder: TempDir,
}

fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| {
        let files = Files { folder: tempfile::tempdir().expect("a folder") };
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer");
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["me".to_owned()]).expect("a name");
        let member = params.signed_by(&key, &issuer).expect("a certificate");
        for (name, text) in [
            ("cert.pem", security::certificate_pem()),
            ("key.pem", security::key_pem()),
            ("ca.pem", issuer.pem()),
            ("me.pem", member.pem()),
            ("me.key", key.serialize_pem()),
        ] {
            std::fs::write(files.path(name), text).expect("a file");
        }
        files
    })
}

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server's file, and more of its table `tls`.
    fn server(&self, tls: &str) -> String {
        format!(
            "network = 'tcp'\naddress = '127.0.0.1:0'\nreactors = 1\n[tls]\n{tls}\ncerts = [{{ cert = {:?}, key = {:?} }}]\n",
            self.path("cert.pem"),
            self.path("key.pem")
        )
    }

    /// A client's file, and more of its table `tls`.
    fn client(&self, tls: &str) -> String {
        let root = self.path("cert.pem");
        format!("network = 'tcp'\naddress = 'localhost:1'\n[tls]\nroot-ca = {root:?}\n{tls}\n")
    }
}

/// A server that runs by this file, and where.
fn run(text: &str) -> (Server, SocketAddr) {
    let builder = Server::builder().config(&server(text)).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let server = builder.handler(|| |_: &Conn<'_>| Echo).build().expect("a server");
    server.listen().expect("it listens");
    let at = server.local_addresses()[0].ip().expect("an IP address");
    (server, at)
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A client by this configuration at another place, for the name that is in it or localhost.
fn dial(config: &ClientConfig, at: SocketAddr) -> Stream {
    let tls = config.connect_config().expect("a configuration").tls.expect("TLS");
    let name = tls.server_name.clone().unwrap_or(ServerName::try_from("localhost").expect("a name"));
    let stream = TcpStream::connect(at).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    StreamOwned::new(ClientConnection::new(tls.config(), name).expect("a client"), stream)
}

/// Whether a client by this file is served.
fn is_served(text: &str, at: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let mut stream = dial(&client(text), at);
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

#[test]
fn a_server_and_a_client_speak_tls_by_their_files() {
    let files = files();
    let (server, at) = run(&files.server("alpn = ['h2', 'echo/1']"));
    assert_eq!(server.local_addresses()[0].to_string(), format!("tls://{at}"));
    let mut stream = dial(&client(&files.client("alpn = 'echo/1'")), at);
    echoes(&mut stream);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"echo/1"[..]));
    assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let other = files.client("server-name = 'another.example'");
    assert!(!is_served(&other, at), "the certificate is for localhost");
    server.close().expect("a report");
}

#[test]
fn our_own_connect_takes_the_configuration() {
    let (server, at) = run(&files().server(""));
    let text = files().client("").replace("localhost:1", &format!("localhost:{}", at.port()));
    // The server is at 127.0.0.1 alone.
    let config = client(&text.replace("'tcp'", "'tcp4'"));
    assert_eq!(config.address().to_string(), format!("tls4://localhost:{}", at.port()));
    let mut world = World::new();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let told = heard.clone();
    let dialler = Hooks::new().open(|conn| conn.write(b"hello").expect("room")).data(move |_, data| {
        told.borrow_mut().extend_from_slice(data);
        data.len()
    });
    world.connect(config.address(), config.connect_config().expect("a configuration"), dialler);
    world.until("the echo", |_| *heard.borrow() == b"hello");
    drop(world);
    server.close().expect("a report");
}

#[test]
fn certificates_may_stand_in_the_file_itself() {
    let (cert, key) = (security::certificate_pem(), security::key_pem());
    let text =
        format!("address = 'tls://127.0.0.1:0'\nreactors = 1\n[[tls.certs]]\npem = '''{cert}'''\nkey = '''{key}'''\n");
    let (running, at) = run(&text);
    let of_client = format!("address = 'tls://localhost:1'\n[tls]\nrootCA = ['''{cert}''']\n");
    assert!(is_served(&of_client, at));
    round_trips(&server(&text));
    round_trips(&client(&of_client));
    assert!(!format!("{:?}", server(&text)).contains("BEGIN"), "keys are not shown");
    running.close().expect("a report");
}

#[test]
fn versions_suites_curves_and_tickets_are_as_the_file_says() {
    let files = files();
    let tls = "version-min = '1.2'\nversion-max = '1.2'\ncurve-list = 'P384'\nsession-ticket-disable = true\n\
               cipher-list = ['ECDHE-ECDSA-AES256-GCM-SHA384', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256']";
    let (server, at) = run(&files.server(tls));
    let config = client(&files.client(""));
    // One rustls configuration, so that sessions are remembered.
    let tls = config.connect_config().expect("a configuration").tls.expect("TLS");
    for _ in 0..2 {
        let stream = TcpStream::connect(at).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = StreamOwned::new(ClientConnection::new(tls.config(), name).expect("a client"), stream);
        echoes(&mut stream);
        assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_2));
        let suite = stream.conn.negotiated_cipher_suite().map(|suite| suite.suite());
        assert_eq!(suite, Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384));
        assert_eq!(stream.conn.negotiated_key_exchange_group().map(|group| group.name()), Some(NamedGroup::secp384r1));
        assert_eq!(stream.conn.handshake_kind(), Some(HandshakeKind::Full));
    }
    let newer = client(&files.client("version-min = '1.3'"));
    let mut stream = dial(&newer, at);
    assert!(std::io::Write::write_all(&mut stream, b"x").is_err(), "no version in common");
    server.close().expect("a report");
}

#[test]
fn clients_show_certificates_as_auth_client_says() {
    let files = files();
    let (ca, with) = (
        files.path("ca.pem"),
        files.client(&format!("certs = {{ cert = {:?}, key = {:?} }}", files.path("me.pem"), files.path("me.key"))),
    );
    let stranger =
        files.client(&format!("certs = {{ cert = {:?}, key = {:?} }}", files.path("cert.pem"), files.path("key.pem")));
    let without = files.client("");
    for (mode, served) in
        [("none", [true, true, true]), ("verify", [true, true, false]), ("strict", [true, false, false])]
    {
        let ca = if mode == "none" { String::new() } else { format!("clientCA = {ca:?}\n") };
        let (server, at) = run(&files.server(&format!("{ca}authClient = '{mode}'")));
        let got = [&with, &without, &stranger].map(|text| is_served(text, at));
        assert_eq!(got, served, "{mode}");
        server.close().expect("a report");
    }
}

#[test]
fn plain_and_secured_addresses_stand_side_by_side_and_enabled_turns_tls_off() {
    let files = files();
    let text = files.server("").replace("network = 'tcp'\n", "");
    let both = text.replace("'127.0.0.1:0'", "['tcp://127.0.0.1:0', 'tls://127.0.0.1:0']");
    let (server, at) = run(&both);
    let mut plain = TcpStream::connect(at).expect("a connection");
    echoes(&mut plain);
    let secured = server.local_addresses()[1].ip().expect("an IP address");
    assert!(is_served(&files.client(""), secured));
    server.close().expect("a report");

    let (server, at) = run(&files.server("enabled = false"));
    assert_eq!(server.local_addresses()[0].to_string(), format!("tcp://{at}"));
    echoes(&mut TcpStream::connect(at).expect("a connection"));
    server.close().expect("a report");
    assert_eq!(client(&files.client("enable = false")).tls, None);

    // Of a name: it is as unknown as if its table were not there.
    let named = |enabled: bool| crate::server(&files.server(&format!("names.'x.example' = {{ enabled = {enabled} }}")));
    let names = |config: ServerConfig| config.tls.expect("a table").names.into_keys().collect::<Vec<_>>();
    assert_eq!((names(named(true)), names(named(false))), (vec!["x.example".to_owned()], vec![]));
    for twice in ["{}", "{\"enabled\": false}"] {
        let json = format!(r#"{{"tls": {{"names": {{"x": {twice}, "x": {{}}}}}}}}"#);
        let error = serde_json::from_str::<ServerConfig>(&json).expect_err("a name that is given twice").to_string();
        assert!(error.contains("tls.names.x is given twice"), "{error}");
    }
    let empty = serde_json::from_str::<ServerConfig>(r#"{"tls": {"names": {"x": null}}}"#).expect_err("no table");
    assert!(empty.to_string().contains("tls.names.x is empty"), "{empty}");
    // Who reads the table alone cannot leave it out.
    let alone = toml::from_str::<TlsServerConfig>("enabled = false").expect_err("a table that is not there");
    assert!(alone.to_string().contains("enabled cannot be false where nothing but the table tls is read"), "{alone}");
}

#[test]
fn names_have_tables_of_their_own() {
    let files = files();
    let pair = format!("certs = {{ cert = {:?}, key = {:?} }}", files.path("me.pem"), files.path("me.key"));
    let text =
        format!("{}[tls.names.'*.example.org']\nalpn = 'own'\n{pair}\n", files.server("unknown-names = 'refused'"));
    let (running, at) = run(&text);
    round_trips(&server(&text));
    assert!(!is_served(&files.client("server-name = 'another.example'"), at));
    let config = client(&format!(
        "address = 'tls://x:1'\n[tls]\nalpn = 'own'\nserver-name = 'x.example.org'\nroot-ca = {:?}\n",
        files.path("ca.pem")
    ));
    let mut stream = dial(&config, at);
    // It is for `me`, and so refused; but it is this name's own that was shown, with its own ALPN.
    let error = std::io::Write::write_all(&mut stream, b"x").expect_err("another name");
    assert!(error.to_string().contains("me"), "{error}");
    running.close().expect("a report");
}

fn pem(name: &str) -> Pem {
    Pem::file(name)
}

#[test]
fn each_key_sets_its_field_and_the_predecessors_spelling_is_taken() {
    let usual = TlsServerConfig::default;
    let terms = |terms| TlsServerConfig { terms, ..usual() };
    let t = TlsTerms::default;
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let pairs = |count| vec![CertPair { chain: pem("a"), key: pem("b") }; count];
    let auth_client = |auth_client| TlsServerConfig { auth_client, ..usual() };
    let named = TlsServerConfig {
        names: [("x.example".to_owned(), terms(TlsTerms { alpn: list(&["own"]), ..t() }))].into(),
        ..usual()
    };
    for (line, expected) in [
        ("certs = [{ cert = 'a', key = 'b' }]", TlsServerConfig { certs: pairs(1), ..usual() }),
        ("certs = { pem = 'a', key = 'b' }", TlsServerConfig::new(pem("a"), pem("b"))),
        (
            "certs = [{ pub = 'a', key = 'b' }, { key = 'b', chain = 'a' }]",
            TlsServerConfig { certs: pairs(2), ..usual() },
        ),
        ("client-ca = 'a'", TlsServerConfig { client_ca: vec![pem("a")], ..usual() }),
        ("clientCA = ['a', 'b']", TlsServerConfig { client_ca: vec![pem("a"), pem("b")], ..usual() }),
        ("client-crl = 'a'", TlsServerConfig { client_crl: vec![pem("a")], ..usual() }),
        ("client-crl-issuers = 'a'", TlsServerConfig { client_crl_issuers: vec![pem("a")], ..usual() }),
        ("client-crl-stale = 'warn'", TlsServerConfig { client_crl_stale: ListPolicy::Warn, ..usual() }),
        ("client-crl-foreign = 'warn'", TlsServerConfig { client_crl_foreign: ListPolicy::Warn, ..usual() }),
        ("client-crl-stale = 'refuse'", usual()),
        ("auth-client = 'verify'", auth_client(ClientAuth::Optional)),
        ("authClient = 'strict'", auth_client(ClientAuth::Required)),
        ("authClient = 'none'", usual()),
        ("version-min = '1.3'", terms(TlsTerms { version_min: Version::Tls13, ..t() })),
        ("versionMin = 'TLS 1.3'", terms(TlsTerms { version_min: Version::Tls13, ..t() })),
        ("version-max = 1.2", terms(TlsTerms { version_max: Version::Tls12, ..t() })),
        ("versionMax = 'TLS1_2'", terms(TlsTerms { version_max: Version::Tls12, ..t() })),
        ("cipher-list = ['A', 'B']", terms(TlsTerms { cipher_list: list(&["A", "B"]), ..t() })),
        ("cipherList = 'A'", terms(TlsTerms { cipher_list: list(&["A"]), ..t() })),
        ("curve-list = ['X25519', 'P256']", terms(TlsTerms { curve_list: list(&["X25519", "P256"]), ..t() })),
        ("curveList = 'P256'", terms(TlsTerms { curve_list: list(&["P256"]), ..t() })),
        ("alpn = ['h2', 'http/1.1']", terms(TlsTerms { alpn: list(&["h2", "http/1.1"]), ..t() })),
        ("session-ticket-disable = true", terms(TlsTerms { session_tickets: SessionTickets::Off, ..t() })),
        ("sessionTicketDisable = false", usual()),
        ("truncation = 'tolerated'", terms(TlsTerms { truncation: Truncation::Tolerated, ..t() })),
        ("offload = 'always'", terms(TlsTerms { offload: Offload::Always, ..t() })),
        ("offload = 'never'", terms(TlsTerms { offload: Offload::Never, ..t() })),
        ("key-log = '/run/keys'", terms(TlsTerms { key_log: KeyLog::File("/run/keys".into()), ..t() })),
        ("keyLog = 'environment'", terms(TlsTerms { key_log: KeyLog::Environment, ..t() })),
        ("key-log = 'off'", usual()),
        ("key-log = false", usual()),
        ("unknown-names = 'refused'", TlsServerConfig { unknown_names: UnknownName::Refused, ..usual() }),
        ("names.'x.example'.alpn = 'own'", named),
        ("enabled = true", usual()),
    ] {
        let read: TlsServerConfig = toml::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(read, expected, "{line}");
        round_trips(&expected);
        round_trips(&ServerConfig::default().address("tls://:1".parse().expect("an address")).tls(expected));
    }
    let usual = TlsClientConfig::default;
    for (line, expected) in [
        ("server-name = 'x'", TlsClientConfig { server_name: Some("x".to_owned()), ..usual() }),
        ("serverName = 'x'", TlsClientConfig { server_name: Some("x".to_owned()), ..usual() }),
        ("root-ca = 'a'", TlsClientConfig { roots: Roots::Only(vec![pem("a")]), ..usual() }),
        ("rootCA = ['a', 'b']", TlsClientConfig { roots: Roots::Only(vec![pem("a"), pem("b")]), ..usual() }),
        (
            "root-ca = 'a'\ninherit-default = true",
            TlsClientConfig { roots: Roots::PlatformAnd(vec![pem("a")]), ..usual() },
        ),
        (
            "inheritDefault = true\nrootCA = 'a'",
            TlsClientConfig { roots: Roots::PlatformAnd(vec![pem("a")]), ..usual() },
        ),
        ("inherit-default = true", usual()),
        ("inherit-default = false", usual()),
        ("certs = [{ cert = 'a', key = 'b' }]", TlsClientConfig { cert: pairs(1).pop(), ..usual() }),
        ("version-min = '1.3'", TlsClientConfig { terms: TlsTerms { version_min: Version::Tls13, ..t() }, ..usual() }),
    ] {
        let read: TlsClientConfig = toml::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(read, expected, "{line}");
        round_trips(&expected);
    }
}

#[cfg(not(windlass_oldest))]
#[test]
fn yaml_needs_no_quotes_around_versions() {
    let yaml: TlsServerConfig = serde_saphyr::from_str("versionMin: 1.3\nauthClient: none\n").expect("YAML");
    let terms = TlsTerms { version_min: Version::Tls13, ..TlsTerms::default() };
    assert_eq!(yaml, TlsServerConfig { terms, ..TlsServerConfig::default() });
}

#[test]
fn what_tls_cannot_be_is_told() {
    let files = files();
    let says = |text: &str, words: &[&str]| {
        let error = match toml::from_str::<ServerConfig>(text) {
            Ok(config) => config.validate().expect_err(text).to_string(),
            Err(error) => error.to_string(),
        };
        words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in\n{error}"));
    };
    for (line, words) in [
        ("authClient = 'require'", &["tls.authClient cannot be \"require\"", "\"strict\""][..]),
        ("auth-client = 'request'", &["tls.auth-client cannot be \"request\"", "\"verify\""]),
        ("auth-client = 'always'", &["tls.auth-client cannot be \"always\"", "\"none\", \"verify\", \"strict\""]),
        ("auth-client = 'strict'", &["tls.client-ca cannot be nothing", "tls.auth-client asks"]),
        ("names.x.auth-client = 'strict'", &["tls.client-ca cannot be nothing for x", "tls.auth-client asks"]),
        ("client-ca = '/x.pem'", &["tls.auth-client cannot be none", "tls.client-ca"]),
        ("client-crl = '/x.pem'", &["tls.auth-client cannot be none", "tls.client-crl"]),
        ("client-crl-issuers = '/x.pem'", &["tls.auth-client cannot be none", "tls.client-crl"]),
        ("client-crl-stale = 'never'", &["tls.client-crl-stale cannot be \"never\"", "\"refuse\", \"warn\""]),
        ("version-min = '1.1'", &["tls.version-min cannot be \"1.1\"", "broken", "1.2"]),
        ("version-max = 'new'", &["tls.version-max cannot be \"new\""]),
        ("version-min = '1.3'\nversion-max = '1.2'", &["tls.version-min cannot be 1.3 to 1.2", "above the newest"]),
        (
            "cipher-list = 'TLS_NULL'",
            &["TLS_NULL", "TLS_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"],
        ),
        ("cipher-list = 'ECDHE-ECDSA-AES128-GCM-SHA256'", &["tls.cipher-list cannot be", "none is of TLS 1.3"]),
        ("curve-list = 'P521'", &["tls.curve-list cannot have \"P521\"", "X25519"]),
        (
            "cipher-list = 'ECDHE-RSA-AES128-CBC-SHA'",
            &["tls.cipher-list cannot have \"ECDHE-RSA-AES128-CBC-SHA\"", "GCM"],
        ),
        ("cipher-list = 'TLS_RSA_WITH_AES_128_GCM_SHA256'", &["tls.cipher-list cannot have", "RSA key exchange"]),
        ("cipher-list = 'A:B'", &["tls.cipher-list cannot be \"A:B\"", "[\"A\", \"B\"]"]),
        ("alpn = 'h2,http/1.1'", &["tls.alpn cannot be \"h2,http/1.1\"", "[\"h2\", \"http/1.1\"]"]),
        ("alpn = ''", &["tls.alpn cannot be"]),
        ("client-ca = []", &["tls.client-ca cannot be []", "leave it out"]),
        ("client-ca = '/nowhere.pem'\nauth-client = 'strict'", &["/nowhere.pem", "No such file"]),
        ("rootCA = 'x'", &["tls.rootCA cannot be set here", "client-ca"]),
        ("inherit-default = true", &["tls.inherit-default cannot be set here"]),
        ("dynamicSizingDisable = true", &["tls.dynamicSizingDisable cannot be set here", "remove it"]),
        ("server-name = 'x'", &["tls.server-name cannot be set here", "a client's"]),
        ("version-mim = '1.2'", &["tls.version-mim is no key", "did you mean version-min?"]),
        ("key-log = true", &["tls.key-log cannot be true", "a text"]),
        ("key-log = ''", &["tls.key-log cannot be", "name a file"]),
        ("key-log = '/nowhere/keys'", &["key log /nowhere/keys", "No such file"]),
        ("session-ticket-disable = 'no'", &["tls.session-ticket-disable cannot be \"no\"", "true or false"]),
    ] {
        says(&files.server(line), words);
    }
    let bare = "network = 'tcp'\naddress = ':1'\n[tls]\n";
    says(bare, &["no certificate"]);
    says(&format!("{bare}certs = {{ cert = 'x' }}"), &["tls.certs cannot be without cert and key"]);
    says(&format!("{bare}certs = {{ crt = 'x' }}"), &["tls.certs.crt is no key", "cert, key"]);
    says(&format!("{bare}certs = 'x'"), &["tls.certs cannot be this text", "[\"both.pem\"]"]);
    says(&format!("{bare}certs = {{ cert = '', key = 'x' }}"), &["tls.certs.cert cannot be \"\""]);
    says(&format!("{bare}certs = {{ cert = '/nowhere.pem', key = '/nowhere.key' }}"), &["/nowhere.pem"]);
    says("address = 'tls://:1'", &["tls cannot be nothing for tls://[::]:1", "`certs`"]);
    says(&files.server("").replace("'tcp'", "'udp'"), &["tls cannot be given", "no address is for TLS"]);
    says(&files.server("").replace("network = 'tcp'\naddress = '", "address = 'tcp://"), &["no address is for TLS"]);

    let says = |text: &str, words: &[&str]| {
        let error = match toml::from_str::<ClientConfig>(text) {
            Ok(config) => config.validate().expect_err(text).to_string(),
            Err(error) => error.to_string(),
        };
        words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in\n{error}"));
    };
    let client = |line: &str| format!("network = 'tcp'\naddress = 'localhost:1'\n[tls]\n{line}\n");
    says(&client("authClient = 'none'"), &["tls.authClient cannot be set here", "a server's"]);
    says(&client("client-ca = 'x'"), &["tls.client-ca cannot be set here", "root-ca"]);
    says(&client("dynamic-sizing-disable = false"), &["cannot be set here"]);
    says(&client("root-ca = []"), &["tls.root-ca cannot be []"]);
    says(&client("root-ca = '/nowhere.pem'"), &["/nowhere.pem"]);
    says(&files.client("server-name = 'not a name'"), &["tls.server-name cannot be \"not a name\""]);
    let two = "certs = [{ cert = 'a', key = 'b' }, { cert = 'a', key = 'b' }]";
    says(&client(two), &["tls.certs cannot be 2 pairs", "a client shows one"]);
    says(&files.client("").replace("'tcp'", "'udp'"), &["tls cannot be given for udp://localhost:1"]);
    let unix = files.client("").replace("'tcp'", "'unix'").replace("localhost:1", "/x.sock");
    says(&unix, &["tls.server-name cannot be nothing"]);
    // Errors go to logs, where no key belongs.
    let json = format!("{{\"tls\": {{\"certs\": {{\"key\": [{:?}]}}}}}}", security::key_pem());
    let error = serde_json::from_str::<ServerConfig>(&json).expect_err("a list").to_string();
    assert!(error.contains("tls.certs.key cannot be a list: write the path of a file, or PEM"), "{error}");
    // One path is one path, whatever is in it.
    let (comma, one) = (vec![pem("/etc/my,ca.pem")], Roots::Only(vec![pem("/etc/my,ca.pem")]));
    round_trips(&TlsClientConfig { roots: one, ..TlsClientConfig::default() });
    round_trips(&TlsServerConfig {
        client_ca: comma.clone(),
        client_crl: comma.clone(),
        client_crl_issuers: comma,
        ..TlsServerConfig::default()
    });
    for name in ["a,b", "a b", "\"a\""] {
        let terms = TlsTerms { alpn: vec!["h2".to_owned(), name.to_owned()], ..TlsTerms::default() };
        let error = toml::to_string(&TlsServerConfig { terms, ..TlsServerConfig::default() }).expect_err(name);
        assert!(error.to_string().contains("cannot be written"), "{name}: {error}");
    }
    let none = TlsClientConfig { roots: Roots::Only(Vec::new()), ..TlsClientConfig::default() };
    assert!(none.to_builder().build().is_err(), "no roots are not all that the platform has");
    assert!(toml::to_string(&none).is_err(), "nor do they read as those");
    assert!(toml::to_string(&TlsServerConfig::new(Pem::bytes("x"), Pem::bytes("y"))).is_err());
}

/// Who logs keys means those of all names.
#[test]
fn the_log_of_keys_is_that_of_a_servers_names_too() {
    let (files, folder) = (files(), tempfile::tempdir().expect("a folder"));
    let log = folder.path().join("keys");
    let own = format!("certs = {{ cert = {:?}, key = {:?} }}", files.path("cert.pem"), files.path("key.pem"));
    let text = format!("{}[tls.names.localhost]\n{own}\n", files.server(&format!("key-log = {log:?}")));
    let (server, at) = run(&text);
    assert!(is_served(&files.client(""), at));
    server.close().expect("a report");
    let written = std::fs::read_to_string(&log).expect("a log");
    assert!(written.contains("SERVER_TRAFFIC_SECRET_0"), "{written}");
}
