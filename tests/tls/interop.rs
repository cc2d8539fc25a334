//! Programs of other houses that show certificates, resume, refuse and are refused: OpenSSL, GnuTLS, and Go by `peer.go`. What
//! each side says of it is asserted whole. What is not installed is passed over, and said so.

use crate::refusals::{
    DENIED, Differences, House, Identity, NONE, NOTHING_COMMON, REFUSED, RENEW, TLS12, TLS13, UNREAD, UNTRUSTED,
    Versions, alert, issued, members_only, of_client, usual, visit, visiting, world,
};
use crate::support::{Hooks, World as Reactor, security, skip};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;
use windlass::tls::{ClientAuth, Pem};
use windlass::{Address, ConnectConfig, Reason, ServerTls};

/// Seconds after which a program is ended.
const SECONDS: &str = "10";

/// The certificates and keys of the table, as files.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files { folder: tempfile::tempdir().expect("a folder") };
        let world = world();
        let of = |year| issued(&world.members, "member", |params| params.not_after = rcgen::date_time_ymd(year, 1, 1));
        files.put("site", world.site.pem());
        files.put("members", world.members.pem());
        files.put("strangers", world.strangers.pem());
        files.identity("server", &world.server);
        files.identity("member", &world.member);
        files.identity("expired", &of(2020));
        files.identity("stranger", &issued(&world.strangers, "member", |_| {}));
        files
    }

    fn put(&self, name: &str, text: String) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn identity(&self, name: &str, Identity(chain, key): &Identity) {
        self.put(name, security::pem("CERTIFICATE", &chain[0]));
        self.put(&format!("{name}-key"), security::pem("PRIVATE KEY", key.secret_der()));
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A program that ends when this is dropped, and at the latest after [`SECONDS`].
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program is installed; else says that a test is skipped.
fn has(name: &str) -> bool {
    match Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip(&format!("{name} is not installed"));
            false
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

fn start(name: &str, arguments: &[&str]) -> Program {
    let mut command = Command::new("timeout");
    command.arg(SECONDS).arg(name).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Program(command.spawn().expect("timeout(1) of coreutils"))
}

/// Runs a program to its end, its input open until then; returns all that it printed.
fn run(name: &str, arguments: &[&str]) -> String {
    let mut program = start(name, arguments);
    let _input = program.0.stdin.take();
    said(&mut program)
}

fn said(program: &mut Program) -> String {
    let mut text = Vec::new();
    program.0.stdout.take().expect("a pipe").read_to_end(&mut text).expect("its output");
    program.0.stderr.take().expect("a pipe").read_to_end(&mut text).expect("its errors");
    String::from_utf8_lossy(&text).into_owned()
}

/// Runs a program that sends its input and prints what it hears; ends its input once it has heard that.
fn talk(name: &str, arguments: &[&str]) -> String {
    let mut program = start(name, arguments);
    let mut input = program.0.stdin.take().expect("a pipe");
    input.write_all(b"hello\n").expect("it takes it");
    let mut output = BufReader::new(program.0.stdout.take().expect("a pipe"));
    let mut text = String::new();
    while output.read_line(&mut text).expect("its output") > 0 {
        // They print other things on the line too.
        if text.ends_with("hello\n") {
            drop(input);
            output.read_to_string(&mut text).expect("its output");
            return text;
        }
    }
    panic!("{name} heard no answer: {text}");
}

/// Go's peer, built by Go; `None` if that is not installed.
fn go_peer() -> Option<PathBuf> {
    if !has("go") {
        return None;
    }
    // Once for all tests: its linker takes half a second.
    static PEER: OnceLock<PathBuf> = OnceLock::new();
    let peer = PEER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let peer = folder.join("peer");
        let mut build = Command::new("timeout");
        build
            .args(["60", "go", "build", "-o"])
            .arg(&peer)
            .arg("tests/tls/peer.go")
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        build.env("GOCACHE", folder.join("go")).env("GO111MODULE", "off").env("GOFLAGS", "");
        let built = build.output().expect("timeout(1) of coreutils");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        peer
    });
    Some(peer.clone())
}

fn at(house: &House) -> String {
    house.address.ip().expect("an IP address").to_string()
}

fn pem(label: &str, der: &[u8]) -> Pem {
    Pem::bytes(security::pem(label, der))
}

/// A server that wants members, and gives tickets.
fn club() -> ServerTls {
    let Identity(chain, key) = &world().server;
    ServerTls::builder()
        .certificate(pem("CERTIFICATE", &chain[0]), pem("PRIVATE KEY", key.secret_der()))
        .client_auth(ClientAuth::Required)
        .client_roots(Pem::bytes(world().members.pem()))
        .build()
        .expect("a server")
}

const VERSIONS: [(&str, Versions); 2] = [("1.2", TLS12), ("1.3", TLS13)];

// --- who is welcome ----------------------------------------------------------------------------------------------------

#[test]
fn openssl_shows_its_certificate_and_resumes() {
    if !has("openssl") {
        return;
    }
    let (files, house) = (Files::new(), House::new(club()));
    for (version, _) in VERSIONS {
        let only = if version == "1.2" { "-tls1_2" } else { "-tls1_3" };
        let (session, member, key) = (files.path(version), files.path("member"), files.path("member-key"));
        let (at, roots) = (at(&house), files.path("site"));
        let usual = ["s_client", "-connect", &at, only, "-CAfile", &roots, "-servername", "localhost"];
        let mine = ["-verify_return_error", "-cert", &member, "-key", &key];
        let first = talk("openssl", &[&usual[..], &mine, &["-sess_out", &session]].concat());
        assert!(first.contains(&format!("New, TLSv{version}")) && first.contains("Verify return code: 0"), "{first}");
        let second = talk("openssl", &[&usual[..], &mine, &["-sess_in", &session]].concat());
        assert!(second.contains(&format!("Reused, TLSv{version}")), "{second}");
    }
}

#[test]
fn gnutls_shows_its_certificate_and_resumes() {
    if !has("gnutls-cli") {
        return;
    }
    let (files, house) = (Files::new(), House::new(club()));
    for (version, _) in VERSIONS {
        let port = house.address.ip().expect("an IP address").port().to_string();
        let (roots, member, key) = (files.path("site"), files.path("member"), files.path("member-key"));
        let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
        let names = ["--sni-hostname", "localhost", "--verify-hostname", "localhost", "--x509cafile", &roots];
        let mine = ["--x509certfile", &member, "--x509keyfile", &key, "--priority", &priority];
        let resumes = ["--resume", "--waitresumption", "--port", &port, "127.0.0.1"];
        let said = talk("gnutls-cli", &[&names[..], &mine, &resumes].concat());
        assert!(said.contains("*** This is a resumed session"), "{said}");
    }
}

#[test]
fn go_shows_its_certificate_and_resumes() {
    let Some(peer) = go_peer() else { return };
    let (files, house) = (Files::new(), House::new(club()));
    for (version, _) in VERSIONS {
        let (at, roots) = (at(&house), files.path("site"));
        let (member, key) = (files.path("member"), files.path("member-key"));
        let peer = peer.display().to_string();
        let said = run(&peer, &["client", &at, version, &roots, "localhost", &member, &key]);
        assert_eq!(said, "heard \"hello\\n\", resumed false\nheard \"hello\\n\", resumed true\n", "{version}");
    }
}

/// A server of another house, and where it listens.
struct Server {
    _program: Program,
    address: Address,
}

impl Server {
    fn new(name: &str, arguments: impl Fn(u16) -> Vec<String>) -> Server {
        for _ in 0..5 {
            let (_kept, port) = crate::foreign::keep_port();
            let arguments = arguments(port);
            let mut program = start(name, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
            if crate::foreign::listens(&mut program.0, port) {
                let address = format!("tls://127.0.0.1:{port}").parse().expect("an address");
                return Server { _program: program, address };
            }
        }
        panic!("{name} does not listen");
    }

    fn openssl(files: &Files, more: &[&str]) -> Server {
        Server::new("openssl", |port| {
            let at = format!("127.0.0.1:{port}");
            let (chain, key) = (files.path("server"), files.path("server-key"));
            let usual = ["s_server", "-quiet", "-rev", "-accept", &at, "-cert", &chain, "-key", &key];
            usual.iter().chain(more).map(|word| (*word).to_owned()).collect()
        })
    }

    fn gnutls(files: &Files, more: &[&str]) -> Server {
        Server::new("gnutls-serv", |port| {
            let at = format!("--port={port}");
            let (chain, key) = (files.path("server"), files.path("server-key"));
            let usual = ["--echo", "--quiet", &at, "--x509certfile", &chain, "--x509keyfile", &key];
            usual.iter().chain(more).map(|word| (*word).to_owned()).collect()
        })
    }

    fn go(peer: &Path, files: &Files, version: &str, more: &[&str]) -> Server {
        let (chain, key) = (files.path("server"), files.path("server-key"));
        let mut program = start(&peer.display().to_string(), &[&["server", version, &chain, &key][..], more].concat());
        let mut port = String::new();
        let mut output = BufReader::new(program.0.stdout.take().expect("a pipe"));
        output.read_line(&mut port).expect("its port");
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let address = format!("tls://127.0.0.1:{}", port.trim()).parse().expect("an address");
        Server { _program: program, address }
    }
}

/// Our client says a line in each of two connections of one configuration, and hears `answer`; the second one resumes.
fn is_welcome_and_resumes(server: &Server, versions: Versions, answer: &'static str) {
    let tls = visiting(versions, Some(&world().member), |_| {});
    for resumes in [false, true] {
        let mut world = Reactor::new();
        let heard = Rc::new(RefCell::new(String::new()));
        let hears = heard.clone();
        let handler = Hooks::new()
            .open(move |conn| {
                assert_eq!(conn.tls().map(|tls| tls.is_resumed()), Some(resumes), "resumed");
                conn.write(b"hello\n").expect("room");
            })
            .data(move |conn, data| {
                hears.borrow_mut().push_str(&String::from_utf8_lossy(data));
                if hears.borrow().as_str() == answer {
                    conn.close();
                }
                data.len()
            });
        world.connect(&server.address, ConnectConfig { tls: Some(tls.clone()), ..ConnectConfig::default() }, handler);
        assert_eq!((world.until_empty(), heard.borrow().as_str()), (vec![Reason::Local], answer));
    }
}

#[test]
fn our_client_shows_its_certificate_to_others_and_resumes() {
    let files = Files::new();
    let members = files.path("members");
    for (version, versions) in VERSIONS {
        if has("openssl") {
            let server = Server::openssl(&files, &["-Verify", "1", "-verify_return_error", "-CAfile", &members]);
            is_welcome_and_resumes(&server, versions, "olleh\n");
        }
        if has("gnutls-serv") {
            let server =
                Server::gnutls(&files, &["--require-client-cert", "--verify-client-cert", "--x509cafile", &members]);
            is_welcome_and_resumes(&server, versions, "hello\n");
        }
        if let Some(peer) = go_peer() {
            let server = Server::go(&peer, &files, version, &[&members]);
            is_welcome_and_resumes(&server, versions, "hello\n");
        }
    }
}

// --- who is refused, and refuses ----------------------------------------------------------------------------------------

/// What is said of a member whose certificate has expired, and of one that has none.
fn expired_and_none() -> [String; 2] {
    let expired = "the peer's certificate, or one of its chain, has expired";
    let dates = "it was valid until 2020-01-01T00:00:00Z, and now it is NOW";
    let renew = "renew it at the peer; if it is in date, correct the clock of this machine";
    let give = "give the client a certificate and its key; one that it has is not shown if its issuer is not among \
                client_roots; or require none (client_auth)";
    let none = "the peer showed no certificate, and one is required";
    [of_client(expired, dates, renew), of_client(none, "", give)]
}

#[test]
fn what_others_are_refused_for_is_told_and_they_hear_the_alert() {
    let (files, mut differences) = (Files::new(), Differences::default());
    let (expired, key, site) = (files.path("expired"), files.path("expired-key"), files.path("site"));
    let [of_expired, of_none] = expired_and_none();
    let mut refuses = |who: &str, says: &str, hears: &str, visit: &dyn Fn(&str, &str) -> String| {
        let house = House::new(members_only());
        let ip = house.address.ip().expect("an IP address");
        let heard = visit(&ip.to_string(), &ip.port().to_string());
        differences.compare(who, &house.told(who).1, says);
        assert!(heard.contains(hears), "{who}: {heard}");
    };
    for (version, _) in VERSIONS {
        if has("openssl") {
            let only = if version == "1.2" { "-tls1_2" } else { "-tls1_3" };
            let usual = ["s_client", only, "-CAfile", &site, "-servername", "localhost", "-quiet"];
            let who = format!("openssl {version}");
            refuses(&who, &of_expired, "SSL alert number 45", &|at, _| {
                run("openssl", &[&usual[..], &["-cert", &expired, "-key", &key, "-connect", at]].concat())
            });
            refuses(&who, &of_none, "SSL alert number 116", &|at, _| {
                run("openssl", &[&usual[..], &["-connect", at]].concat())
            });
        }
        if has("gnutls-cli") {
            let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
            let names = ["--sni-hostname", "localhost", "--verify-hostname", "localhost", "--x509cafile", &site];
            let mine = ["--x509certfile", &expired, "--x509keyfile", &key, "--priority", &priority];
            refuses(&format!("gnutls {version}"), &of_expired, "Received alert [45]", &|_, port| {
                run("gnutls-cli", &[&names[..], &mine, &["--port", port, "127.0.0.1"]].concat())
            });
        }
        if let Some(peer) = go_peer() {
            let (peer, who) = (peer.display().to_string(), format!("go {version}"));
            refuses(&who, &of_expired, "remote error: tls: expired certificate", &|at, _| {
                run(&peer, &["client", at, version, &site, "localhost", &expired, &key])
            });
            refuses(&who, &of_none, "remote error: tls: ", &|at, _| {
                run(&peer, &["client", at, version, &site, "localhost"])
            });
        }
    }
}

#[test]
fn others_that_do_not_trust_us_are_told_of_by_their_alert() {
    let (files, mut differences) = (Files::new(), Differences::default());
    let strangers = files.path("strangers");
    // What GnuTLS and Go 1.19 say of whatever is wrong with a certificate.
    let refused = alert("bad_certificate (42)", REFUSED);
    for (version, _) in VERSIONS {
        if has("openssl") {
            let only = if version == "1.2" { "-tls1_2" } else { "-tls1_3" };
            let house = House::new(usual());
            let distrusts = ["-CAfile", &strangers, "-verify_return_error", "-servername", "localhost"];
            run("openssl", &[&["s_client", only, "-connect", &at(&house)][..], &distrusts].concat());
            let expected = alert("unknown_ca (48)", UNTRUSTED);
            differences.compare(&format!("openssl {version}"), &house.told("distrust").1, &expected);
        }
        if has("gnutls-cli") {
            let house = House::new(usual());
            let port = house.address.ip().expect("an IP address").port().to_string();
            let priority = format!("NORMAL:-VERS-ALL:+VERS-TLS{version}");
            let names = ["--sni-hostname", "localhost", "--verify-hostname", "localhost", "--x509cafile", &strangers];
            run("gnutls-cli", &[&names[..], &["--priority", &priority, "--port", &port, "127.0.0.1"]].concat());
            differences.compare(&format!("gnutls {version}"), &house.told("distrust").1, &refused);
        }
        if let Some(peer) = go_peer() {
            let house = House::new(usual());
            run(&peer.display().to_string(), &["client", &at(&house), version, &strangers, "localhost"]);
            differences.compare(&format!("go {version}"), &house.told("distrust").1, &refused);
        }
    }
}

#[test]
fn openssl_with_nothing_in_common_is_told_of_with_what_it_offers() {
    if !has("openssl") {
        return;
    }
    let mut differences = Differences::default();
    let suites = "TLS13_AES_256_GCM_SHA384, TLS13_AES_128_GCM_SHA256, TLS13_CHACHA20_POLY1305_SHA256, \
                  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
                  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 and 3 more";
    let cases: [(&str, &[&str], String); 5] = [
        (
            "TLS 1.1",
            &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
            "no TLS version in common (it offers TLS 1.1; here: TLS 1.2 or newer); allow one of the peer's here (versions), or \
             TLS 1.2 or 1.3 at the peer; older ones are never spoken"
                .to_owned(),
        ),
        (
            "a suite for RSA keys",
            &["-tls1_2", "-cipher", "AES128-SHA"],
            format!(
                "no cipher suite in common (it offers TLS_RSA_WITH_AES_128_CBC_SHA; here: {suites}); allow one of the peer's \
                 here (suites), or one of these at the peer; TLS 1.2 needs one that fits the certificate's key, RSA or ECDSA"
            ),
        ),
        (
            "schemes for RSA keys",
            &["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"],
            "no signature scheme in common (it can verify RSA_PSS_SHA256); use a certificate with another kind of key (RSA or \
             ECDSA), or allow more schemes at the peer"
                .to_owned(),
        ),
        (
            "another group",
            &["-tls1_3", "-groups", "P-521"],
            "no key exchange group in common (it offers secp521r1; here: X25519MLKEM768, X25519, secp256r1, secp384r1); allow \
             one of the peer's here (groups), or one of these at the peer"
                .to_owned(),
        ),
        (
            "an odd name",
            &["-tls1_3", "-servername", "a_b c"],
            "the client asked for a server name that is none (SNI) (asked for \"a_b c\"); the client must ask for a DNS name: no \
             port, no URL, no spaces, nothing empty; RFC 6066"
                .to_owned(),
        ),
    ];
    for (what, arguments, expected) in cases {
        let house = House::new(usual());
        run("openssl", &[&["s_client", "-connect", &at(&house)][..], arguments].concat());
        differences.compare(what, &house.told(what).1, &format!("TLS: {expected}"));
    }
}

#[test]
fn servers_of_others_that_refuse_us_are_told_of_by_their_alert() {
    let (files, mut differences) = (Files::new(), Differences::default());
    let members = files.path("members");
    let expired = issued(&world().members, "member", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let stranger = issued(&world().strangers, "member", |_| {});
    for (version, versions) in VERSIONS {
        let is_12 = version == "1.2";
        let (required, denied) = (alert("certificate_required (116)", NONE), alert("access_denied (49)", DENIED));
        let refused = alert("bad_certificate (42)", REFUSED);
        let mut compare = |house: &str, server: &Server, expected: [&str; 3]| {
            let shown = [("none", None), ("expired", Some(&expired)), ("a stranger's", Some(&stranger))];
            for ((what, identity), expected) in shown.into_iter().zip(expected) {
                let told = visit(&server.address, visiting(versions, identity, |_| {}));
                differences.compare(&format!("{house} {version}, {what}"), &told, expected);
            }
        };
        if has("openssl") {
            let wants = ["-Verify", "1", "-verify_return_error", "-CAfile", &members];
            let none = if is_12 { &alert("handshake_failure (40)", NOTHING_COMMON) } else { &required };
            let (renew, untrusted) = (alert("certificate_expired (45)", RENEW), alert("unknown_ca (48)", UNTRUSTED));
            compare("openssl", &Server::openssl(&files, &wants), [none, &renew, &untrusted]);
        }
        if has("gnutls-serv") {
            let wants = ["--require-client-cert", "--verify-client-cert", "--x509cafile", &members];
            let none = if is_12 { &alert("decode_error (50)", UNREAD) } else { &required };
            compare("gnutls", &Server::gnutls(&files, &wants), [none, &denied, &denied]);
        }
        if let Some(peer) = go_peer() {
            let server = Server::go(&peer, &files, version, &[&members]);
            compare("go", &server, [&refused, &refused, &refused]);
        }
    }
}
