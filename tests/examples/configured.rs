//! `echo --config`: a server by its file, what the command line changes of it, and files that cannot be used.

use crate::{Running, dial, exchange, run};
use std::path::PathBuf;

struct Files(tempfile::TempDir);

impl Files {
    /// A folder for files, and an example that takes them.
    fn new() -> Files {
        let output = run("echo", &["--config", "/nowhere.toml"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("/nowhere.toml: No such file"), "{told}");
        Files(tempfile::tempdir().expect("a folder"))
    }

    fn put(&self, text: &str) -> PathBuf {
        let path = self.0.path().join("echo.toml");
        std::fs::write(&path, text).expect("a file");
        path
    }
}

#[test]
fn echo_serves_by_its_file_and_drains() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    let socket = files.0.path().join("echo.sock");
    let path = files.put(&format!(
        "address = ['tcp://127.0.0.1:0', 'unix:{}', 'udp://127.0.0.1:0']\nperm-file = 'rw-------'\nreactors = 1\n\
         drain-timeout = '20s'\n",
        socket.display()
    ));
    let mut echo = Running::start("echo", &["--config", path.to_str().expect("text")]);
    assert_eq!(exchange(&mut dial(&echo.tcp()), "over tcp"), "over tcp");
    assert!(echo.address().starts_with("unix:"));
    assert_eq!(std::fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777, 0o600);
    let udp = echo.address().strip_prefix("udp://").expect("a UDP address").to_owned();
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    peer.set_read_timeout(Some(crate::PATIENCE)).expect("a timeout");
    peer.send_to(b"over udp", udp).expect("a datagram");
    let mut back = [0; 16];
    let count = peer.recv(&mut back).expect("an answer");
    assert_eq!(&back[..count], b"over udp");
    echo.signal(rustix::process::Signal::TERM);
    let (rest, ended_well) = echo.rest();
    assert!(ended_well && rest.starts_with("drained: ") && rest.contains(" 0 cut"), "{rest}");
    assert!(!socket.exists());
}

#[test]
fn options_beside_a_file_win() {
    let files = Files::new();
    let path = files.put("address = 'unix:/nowhere/at/all.sock'\nreactors = 1\ncon-idle-timeout = '1h'\n");
    let args =
        ["--config", path.to_str().expect("text"), "--listen", "tcp://127.0.0.1:0", "--idle", "0.1", "--stats", "0.05"];
    let mut echo = Running::start("echo", &args);
    let mut stream = dial(&echo.tcp());
    assert_eq!(exchange(&mut stream, "hello"), "hello");
    assert_eq!(std::io::Read::read(&mut stream, &mut [0]).expect("a clean end"), 0);
    assert!(echo.line().starts_with("stats: accepted "));
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn echo_speaks_tls_by_its_file_and_reads_its_certificates_again() {
    let files = Files::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (files.0.path().join("cert.pem"), files.0.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let path = files.put(&format!(
        "network = 'tcp'\naddress = '127.0.0.1:0'\nreactors = 1\n[tls]\nversionMin = '1.3'\ncerts = {{ cert = {cert:?}, key = {key:?} }}\n"
    ));
    let mut echo = Running::start("echo", &["--config", path.to_str().expect("text")]);
    let at = echo.address().strip_prefix("tls://").expect("a TLS address").to_owned();
    let config = windlass::TlsClientConfig {
        roots: windlass::Roots::Only(vec![cert.as_path().into()]),
        ..windlass::TlsClientConfig::default()
    };
    let tls = config.to_builder().build().expect("a client");
    let name = windlass::rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    let connection = windlass::rustls::ClientConnection::new(tls.config(), name).expect("a client");
    let mut stream = windlass::rustls::StreamOwned::new(connection, dial(&at));
    assert_eq!(exchange(&mut stream, "over tls"), "over tls");
    drop(stream);
    echo.signal(rustix::process::Signal::HUP);
    echo.signal(rustix::process::Signal::TERM);
    assert!(echo.rest().1);
}

/// A pipe, as a shell's `<(…)` makes it, has its certificate once.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn echo_takes_its_certificate_from_a_pipe() {
    let files = Files::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let pipe = files.0.path().join("both.pem");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let both = format!("{}{}", made.cert.pem(), made.signing_key.serialize_pem());
    let path = files.put(&format!("address = 'tls://127.0.0.1:0'\nreactors = 1\n[tls]\ncerts = [{pipe:?}]\n"));
    let empty = files.0.path().join("empty");
    std::fs::write(&empty, "").expect("a file");
    let writer = std::thread::spawn(move || {
        // It is open once somebody reads; who comes again finds nothing.
        let mut open = std::fs::OpenOptions::new().write(true).open(&pipe).expect("a reader");
        std::fs::rename(&empty, &pipe).expect("a place");
        std::io::Write::write_all(&mut open, both.as_bytes()).expect("it is read");
    });
    let mut echo = Running::start("echo", &["--config", path.to_str().expect("text")]);
    assert!(echo.address().starts_with("tls://127.0.0.1:"));
    writer.join().expect("it was read");
    echo.signal(rustix::process::Signal::TERM);
    assert!(echo.rest().1);
}

#[test]
fn a_file_that_cannot_be_used_is_told_with_file_and_key_or_line() {
    let files = Files::new();
    for (text, words) in [
        ("address = 'tcp://:0'\nbacklog = 0\n", &["backlog cannot be 0"][..]),
        ("address = 'tcp://:0'\nnonsense = 1\n", &["nonsense is no key"]),
        ("address = 'tcp://:0'\n[tls]\nversion-min = '1.0'\n", &["tls.version-min cannot be \"1.0\""]),
        ("address = \n", &["line 1"]),
        ("reactors = 1\n", &["address cannot be nothing"]),
        (
            "address = 'tls://127.0.0.1:0'\n[tls]\ncerts = { cert = '/nowhere.pem', key = '/nowhere.pem' }\n",
            &["/nowhere.pem"],
        ),
    ] {
        let path = files.put(text);
        let path = path.to_str().expect("text");
        let output = run("echo", &["--config", path]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}: {told}");
        assert!(told.starts_with(&format!("echo: {path}: ")), "{told}");
        words.iter().for_each(|word| assert!(told.contains(word), "{word:?} is not in {told}"));
        assert!(output.stdout.is_empty());
    }
}

/// An error that showed its line, as parsers' errors do, would have printed the key.
#[test]
fn no_line_of_a_file_with_a_key_in_it_is_printed() {
    let files = Files::new();
    let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let body: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let escaped = key.replace('\r', "").replace('\n', "\\n");
    for text in [
        format!("tls.certs = {{ cert = '/x.pem', key = \"{escaped}"),
        format!("tls.certs = {{ cert = '/x.pem', key = \"{escaped}\", nonsense = 1 }}"),
        format!("tls.certs = {{ cert = '/x.pem', key = {body} }}"),
        format!("{body} = 1\n{body} = 2"),
        format!("\"{body}\" = 1\n\"{body}\" = 2"),
        format!("tls.certs = [{{ cert = '/x.pem', key = '{body}' }}]"),
        format!("tls.certs = [{{ cert = '/x.pem', key = '{}' }}]", key.replace(['\r', '\n'], " ")),
        format!("tls.alpn = '{body}'"),
        format!("network = '{body}'"),
        format!("tls.certs = [{{ cert = '/x.pem', key = '{key}' }}]"),
        format!("tls.certs = [\"{escaped}\"], backlog = 'x'"),
        format!("backlog = 0x{body}"),
        format!("backlog = 1979-{body}"),
    ] {
        let path = files.put(&format!("address = 'tls://127.0.0.1:0'\n{text}\n"));
        let output = run("echo", &["--config", path.to_str().expect("text")]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}: {told}");
        let plain: String = told.split_whitespace().collect();
        let shown = body.as_bytes().windows(8).map(String::from_utf8_lossy).find(|part| plain.contains(&**part));
        assert_eq!(shown, None, "{told}");
    }
}
