//! The examples over clients: `once`, `pool` and `breaker`.

use crate::running::{Running, finish, program, run};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

/// An address that refuses: the port is taken, so that nobody else gets it, and nobody listens.
fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let at = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    (socket, at)
}

#[test]
fn once_sends_what_it_reads_and_prints_what_comes_back_over_every_transport() {
    let program = program("once");
    let mut echo = Running::start("echo", &[]);
    let mut places = Vec::new();
    let mut trust = None;
    loop {
        let line = echo.line();
        trust = trust.or(line.split_once("-CAfile ").map(|(_, path)| path.to_owned()));
        places.extend(line.strip_prefix("listening on ").map(str::to_owned));
        if line.contains("Ctrl-C") {
            break;
        }
    }
    assert!(places.len() >= 4, "{places:?}");
    for place in places {
        // The certificate is for this name.
        let place = place.replace("tls://127.0.0.1:", "tls://localhost:");
        if place.starts_with("tls+unix:") {
            continue;
        }
        let mut command = Command::new(&program);
        command.arg(&place);
        if let (Some(trust), true) = (&trust, place.starts_with("tls")) {
            command.args(["--ca", trust]);
        }
        let is_stream = !place.starts_with("udp") && !place.starts_with("unixgram");
        for half_close in [true, false].into_iter().filter(|half_close| is_stream || !half_close) {
            if half_close {
                command.arg("--half-close");
            }
            let output = finish(&mut command, b"hello there").expect("a program that starts");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && output.stdout == b"hello there", "{place}: {errors}");
        }
    }
}

#[test]
fn once_says_in_time_that_nobody_is_there_and_what_it_does_not_understand() {
    let (_taken, closed) = refusing();
    let output = run("once", &[&format!("tcp://{closed}")]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && errors.contains(&closed.to_string()), "{errors}");
    for (args, says) in [(&["tcp:/x"][..], "tcp:/x"), (&["--odd"], "--odd"), (&[], "usage")] {
        let output = run("once", args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && errors.contains(says), "{errors}");
    }
}

#[test]
fn programs_that_connect_refuse_a_target_without_a_host() {
    for (name, args) in [
        ("once", &["tcp://:7007"][..]),
        ("pool", &["tcp://:7007"]),
        ("breaker", &["tcp://:7007"]),
        ("hold", &["tcp://:7007", "1"]),
        ("framed", &["tcp://:7007", "COUNT"]),
        #[cfg(all(feature = "aws-lc-rs", feature = "platform-roots"))]
        ("tls_client", &[":7007", "--tries", "1"]),
        ("proxy", &["tcp://127.0.0.1:0", "tcp://0.0.0.0:7007"]),
        ("throttle", &["tcp://127.0.0.1:0", "tcp://:7007", "--bytes-per-second", "1"]),
    ] {
        let output = run(name, args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && errors.contains("write the host's name or IP address"), "{name}: {errors}");
    }
}

#[test]
fn pool_shares_few_connections_and_replaces_those_that_end() {
    let args = ["--size", "3", "--threads", "6", "--messages", "5000"];
    let output = run("pool", &args);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("5000 messages") && told.ends_with("; 0 failed\n"), "{told}");
    let made = told.split("over ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
    // The server hangs up after each thousand messages of one connection.
    assert!(made.is_some_and(|made| (3..=12).contains(&made)), "{told}");
}

/// A certificate authority of our own, as PEM, and a server's certificate and key that it made.
#[cfg(all(feature = "aws-lc-rs", feature = "platform-roots"))]
fn authority(name: &str) -> (String, windlass::tls::Pem, windlass::tls::Pem) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer");
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let made = params.signed_by(&key, &issuer).expect("a certificate");
    let pem = windlass::tls::Pem::bytes;
    (issuer.pem(), pem(made.pem()), pem(key.serialize_pem()))
}

#[cfg(all(feature = "aws-lc-rs", feature = "platform-roots"))]
#[test]
fn pool_trusts_a_tls_server_by_the_roots_of_a_bundle() {
    use std::time::Duration;
    use windlass::{Conn, ListenConfig, Server, ServerTls, handler_fn};
    let (trusted, chain, key) = authority("backends");
    let (other, ..) = authority("others");
    let tls = ServerTls::builder().certificate(chain, key).build().expect("a configuration");
    let server = Server::builder()
        .address("tls://127.0.0.1:0".parse().expect("an address"))
        .listen_config(ListenConfig { tls: Some(tls), ..ListenConfig::default() })
        .handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
        .build()
        .expect("a server");
    server.listen().expect("it listens");
    let port = server.local_addresses()[0].ip().expect("an IP address").port();
    let address = format!("tls://localhost:{port}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    };
    let bundle = file("bundle.pem", format!("{other}\n{trusted}"));
    let output = run("pool", &[&address, "--ca", &bundle, "--messages", "300", "--size", "2", "--threads", "4"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("300 messages") && told.ends_with("; 0 failed\n"), "{told}");
    // Whom somebody else has certified is not trusted, and what cannot work is said at once.
    let wrong = file("wrong.pem", other);
    let output = run("pool", &[&address, "--ca", &wrong, "--messages", "1", "--threads", "1"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("certificate") && String::from_utf8_lossy(&output.stdout).contains("1 failed"), "{errors}");
    let missing = folder.path().join("missing.pem");
    for (args, code, says) in [
        (&[&address, "--ca", missing.to_str().expect("a plain path")][..], 1, "missing.pem"),
        (&["tcp://127.0.0.1:1", "--ca", &bundle], 2, "--ca is for an address with TLS"),
        (&["--ca", &bundle], 2, "--ca is for an address with TLS"),
        (&[&address, "--ca"], 2, "--ca needs a value"),
    ] {
        let output = run("pool", args);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && errors.contains(says), "{args:?}: {errors}");
    }
    server.shutdown(Duration::from_secs(10)).expect("a report");
}

#[test]
fn breaker_opens_after_failures_and_closes_when_somebody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    let args = [&address, "--tries", "2", "--every", "0"];
    let output = run("breaker", &args);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "closed: connected\nclosed: connected\n");
    let (_taken, closed) = refusing();
    let address = format!("tcp://{closed}");
    let args = [&address, "--tries", "5", "--every", "0", "--failures", "2", "--open", "60"];
    let told = String::from_utf8_lossy(&run("breaker", &args).stdout).into_owned();
    let circuits: Vec<_> = told.lines().filter_map(|line| line.split_once(": ")).collect();
    let words: Vec<_> = circuits.iter().map(|(circuit, _)| *circuit).collect();
    assert_eq!(words, ["closed", "open", "open", "open", "open"], "{told}");
    assert_eq!(circuits.iter().filter(|(_, said)| *said == "not tried").count(), 3, "{told}");
}
