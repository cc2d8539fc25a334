//! Programs of other houses at the other end: OpenSSL, GnuTLS and NSS as servers of our client, OpenSSL as a client
//! that ends without a word or asks for what is long forbidden. What is not installed is passed over, and said so.

use crate::support::{Echo, Heard, Hooks, Kind, World, security, skip};
use socket2::{Domain, Socket, Type};
use std::cell::RefCell;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::rustls::ProtocolVersion;
use windlass::tls::{Pem, Version};
use windlass::{Address, ClientTls, Conn, ConnectConfig, ListenConfig, Reason};

/// A program that runs until this is dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program; `None` if it is not installed.
fn start(name: &str, arguments: &[&str]) -> Option<Program> {
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(Program(child)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip(&format!("{name} is not installed"));
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// A port that nobody is given who asks for any. Who asks for this one with SO_REUSEADDR gets it, as servers do.
pub(crate) fn keep_port() -> (Socket, u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    let port = socket.local_addr().expect("an address").as_socket().expect("an IP address").port();
    (socket, port)
}

/// Starts a program that listens, on whatever port is free; `None` if it is not installed.
fn serve(name: &str, arguments: impl Fn(u16) -> Vec<String>) -> Option<(Program, u16)> {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        let (_kept, port) = keep_port();
        let arguments = arguments(port);
        let mut program = start(name, &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
        // Somebody else may have taken the port, then it ends.
        if listens(&mut program.0, port) {
            return Some((program, port));
        }
    }
    panic!("{name} does not listen");
}

/// Waits until the program listens there, or has ended.
pub(crate) fn listens(program: &mut Child, port: u16) -> bool {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(10) && program.try_wait().expect("a child").is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    false
}

/// The tests' certificate and key as files in a folder.
fn files(folder: &Path) -> (String, String) {
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    };
    (put("chain.pem", security::certificate_pem()), put("key.pem", security::key_pem()))
}

/// Our client says something and hears an answer. It ends behind `answer`; if there is none, when the server does.
fn talk(port: u16, version: Version, says: &'static [u8], answer: Option<&'static str>) -> String {
    let mut world = World::new();
    let tls = ClientTls::builder().roots(Pem::bytes(security::certificate_pem())).server_name(security::NAME);
    let tls = tls.versions(version, version).build().expect("a client");
    let expected = if version == Version::Tls12 { ProtocolVersion::TLSv1_2 } else { ProtocolVersion::TLSv1_3 };
    let heard = Rc::new(RefCell::new(Vec::new()));
    let hears = heard.clone();
    let handler = Hooks::new()
        .open(move |conn| {
            assert_eq!(conn.tls().and_then(|tls| tls.version()), Some(expected));
            conn.write(says).expect("room");
        })
        .data(move |conn, data| {
            hears.borrow_mut().extend_from_slice(data);
            if answer.is_some_and(|answer| hears.borrow().ends_with(answer.as_bytes())) {
                conn.close();
            }
            data.len()
        });
    let address: Address = format!("tls://127.0.0.1:{port}").parse().expect("an address");
    world.connect(&address, ConnectConfig { tls: Some(tls), ..ConnectConfig::default() }, handler);
    let reasons = world.until_empty();
    let heard = String::from_utf8_lossy(&heard.borrow()).into_owned();
    assert_eq!(reasons, [if answer.is_some() { Reason::Local } else { Reason::PeerClosed }], "{heard}");
    heard
}

#[test]
fn our_client_talks_to_openssl() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = files(folder.path());
    for version in [Version::Tls12, Version::Tls13] {
        let only = if version == Version::Tls12 { "-tls1_2" } else { "-tls1_3" };
        let arguments = |port| {
            let at = format!("127.0.0.1:{port}");
            ["s_server", "-quiet", "-rev", only, "-accept", &at, "-cert", &chain, "-key", &key]
                .map(str::to_owned)
                .into()
        };
        let Some((_server, port)) = serve("openssl", arguments) else { return };
        assert_eq!(talk(port, version, b"hello\n", Some("olleh\n")), "olleh\n");
    }
}

#[test]
fn our_client_talks_to_gnutls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = files(folder.path());
    let arguments = |port| {
        let at = format!("--port={port}");
        ["--echo", "--quiet", &at, "--x509certfile", &chain, "--x509keyfile", &key].map(str::to_owned).into()
    };
    let Some((_server, port)) = serve("gnutls-serv", arguments) else { return };
    for version in [Version::Tls12, Version::Tls13] {
        assert_eq!(talk(port, version, b"hello\n", Some("hello\n")), "hello\n");
    }
}

/// Runs a program to its end; `None` if it is not installed.
fn run(name: &str, arguments: &[&str]) -> Option<()> {
    let mut program = start(name, arguments)?;
    assert!(program.0.wait().expect("a child").success(), "{name} failed");
    Some(())
}

/// Has NSS keep the tests' certificate and key in a folder; `None` if its tools are not installed.
fn nss_database(folder: &Path) -> Option<String> {
    let (chain, key) = files(folder);
    let database = format!("sql:{}", folder.display());
    let both = folder.join("both.p12").display().to_string();
    run("certutil", &["-N", "-d", &database, "--empty-password"])?;
    let made = ["-in", &chain, "-inkey", &key, "-out", &both, "-passout", "pass:", "-name", "server"];
    run("openssl", &[&["pkcs12", "-export"][..], &made].concat())?;
    run("pk12util", &["-i", &both, "-d", &database, "-W", "", "-K", ""])?;
    Some(database)
}

#[test]
fn our_client_talks_to_nss() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(database) = nss_database(folder.path()) else { return };
    let arguments = |port: u16| {
        let at = port.to_string();
        ["-n", "server", "-d", &database, "-p", &at, "-V", "tls1.2:tls1.3"].map(str::to_owned).into()
    };
    let Some((_server, port)) = serve("selfserv", arguments) else { return };
    for version in [Version::Tls12, Version::Tls13] {
        let page = talk(port, version, b"GET / HTTP/1.0\r\n\r\n", None);
        assert!(page.starts_with("HTTP/1.0 200 OK\r\n") && page.ends_with("EOF\r\n\r\n\r\n"), "{page:?}");
    }
}

/// An `openssl s_client` that speaks to an echo of ours, and its input.
fn client(world: &mut World, arguments: &[&str]) -> Option<(Program, ChildStdin)> {
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let at = address.ip().expect("an IP address").to_string();
    let mut program = start("openssl", &[&["s_client", "-connect", &at][..], arguments].concat())?;
    let input = program.0.stdin.take().expect("a pipe");
    world.until_open(1);
    Some((program, input))
}

#[test]
fn a_client_that_is_killed_is_a_truncation() {
    let mut world = World::new();
    let Some((program, _input)) = client(&mut world, &["-quiet"]) else { return };
    drop(program);
    assert_eq!(world.until_empty(), [Reason::Truncated]);
}

#[test]
fn a_renegotiation_is_refused_and_a_second_one_ends_it() {
    let mut world = World::new();
    let Some((_program, mut input)) = client(&mut world, &["-tls1_2"]) else { return };
    input.write_all(b"before\n").expect("a pipe");
    world.until("the line", |world| world.log.shown(0) == 7);
    for _ in 0..4 {
        // s_client may have given up already.
        let _ = input.write_all(b"R\n");
        world.turns(5);
    }
    let reasons = world.until_empty();
    assert!(matches!(reasons[..], [Reason::Tls(_) | Reason::Truncated | Reason::Reset]), "{reasons:?}");
    assert!(!world.log.heard().contains(&Heard::Failed(Reason::HandlerPanicked)));
}
