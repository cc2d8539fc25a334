//! Secrets of sessions in a file for who debugs them: what is in it, who may read it, and which files are refused.
#![cfg(any(feature = "aws-lc-rs", feature = "ring"))]

use crate::support::security::{certificate_pem, key_pem};
use crate::support::skip;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use windlass::rustls::ClientConnection;
use windlass::rustls::pki_types::ServerName;
use windlass::tls::{KeyLog, Pem, Version};
use windlass::{ClientTls, ListenConfig, ServerTls};

fn server(key_log: KeyLog) -> Result<ServerTls, windlass::Error> {
    ServerTls::builder().certificate(Pem::bytes(certificate_pem()), Pem::bytes(key_pem())).key_log(key_log).build()
}

/// A client of one version.
fn client(key_log: KeyLog, version: Version) -> Result<ClientTls, windlass::Error> {
    ClientTls::builder().roots(Pem::bytes(certificate_pem())).versions(version, version).key_log(key_log).build()
}

/// Serves one connection by `server`, to `client`.
fn speak(server: ServerTls, client: &ClientTls) {
    use windlass::{Conn, Server};
    let listen = ListenConfig { tls: Some(server), ..ListenConfig::default() };
    let engine = windlass::EngineConfig { reactors: 1, ..windlass::EngineConfig::default() };
    let builder = Server::builder().listen_config(listen).engine_config(engine);
    let builder = builder.address("tls://127.0.0.1:0".parse().expect("an address"));
    let server = builder.handler(|| |_: &Conn<'_>| crate::support::Echo).build().expect("a server");
    server.listen().expect("it listens");
    let at = server.local_addresses()[0].ip().expect("an IP address");
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(client.config(), name).expect("a client");
    let stream = std::net::TcpStream::connect(at).expect("a connection");
    let mut stream = windlass::rustls::StreamOwned::new(connection, stream);
    stream.write_all(b"x").expect("a write");
    stream.read_exact(&mut [0]).expect("an echo");
    server.close().expect("a report");
}

/// Labels of the lines of a log; each has the client's random, 32 bytes, and a secret, in hexadecimal.
fn labels(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).expect("a log");
    let label = |line: &str| {
        let parts: Vec<_> = line.split(' ').collect();
        let [label, random, secret] = parts[..] else { panic!("{line:?} is no line of three") };
        let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        assert!(random.len() == 64 && secret.len() >= 64 && is_hex(random) && is_hex(secret), "{line}");
        label.to_owned()
    };
    text.lines().map(label).collect()
}

#[test]
fn each_side_writes_its_secrets_of_each_version_to_a_file_of_its_owner() {
    let folder = tempfile::tempdir().expect("a folder");
    for (version, expected) in [
        (Version::Tls12, &["CLIENT_RANDOM"][..]),
        (
            Version::Tls13,
            &[
                "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
                "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                "CLIENT_TRAFFIC_SECRET_0",
                "SERVER_TRAFFIC_SECRET_0",
            ],
        ),
    ] {
        let path = |side: &str| folder.path().join(format!("{side}{version:?}"));
        let (of_server, of_client) = (path("server"), path("client"));
        // The file is appended to.
        for round in 1..=2 {
            let client = client(KeyLog::File(of_client.clone()), version).expect("a client");
            speak(server(KeyLog::File(of_server.clone())).expect("a server"), &client);
            let read = |path: &Path| std::fs::read_to_string(path).expect("a log");
            for (path, text) in [(&of_server, read(&of_server)), (&of_client, read(&of_client))] {
                for label in expected {
                    assert!(labels(path).contains(*label), "{label} is not in {path:?}");
                    let count = text.lines().filter(|line| line.starts_with(&format!("{label} "))).count();
                    assert_eq!(count, round, "{label} in {path:?}");
                }
                assert_eq!(std::fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
            }
            // Both sides tell the same.
            let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
            assert!(!lines(read(&of_server)).is_disjoint(&lines(read(&of_client))));
        }
    }
}

#[test]
fn nothing_is_written_unless_it_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    // The variable counts in a process that has it from its start, and there only for who asks.
    let tests = std::env::current_exe().expect("this program");
    let mut written = Vec::new();
    for (asks, variable) in [("asks", Some(&path)), ("does not", Some(&path)), ("asks", None)] {
        let mut child = std::process::Command::new(&tests);
        child.args(["--exact", "key_log::one_connection_by_the_environment", "--ignored"]).env("KEY_LOG_TEST", asks);
        match variable {
            Some(path) => child.env("SSLKEYLOGFILE", path),
            None => child.env_remove("SSLKEYLOGFILE"),
        };
        let output = child.output().expect("a run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        written.push(path.exists());
        let _ = std::fs::remove_file(&path);
    }
    assert_eq!(written, [true, false, false]);
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn one_connection_by_the_environment() {
    let key_log = || match std::env::var("KEY_LOG_TEST").as_deref() {
        Ok("asks") => KeyLog::Environment,
        _ => KeyLog::default(),
    };
    speak(server(key_log()).expect("a server"), &client(key_log(), Version::Tls13).expect("a client"));
}

#[test]
fn a_file_that_is_not_for_its_owner_alone_is_refused_at_build() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("shared"), "").expect("a file");
    std::fs::set_permissions(at("shared"), std::fs::Permissions::from_mode(0o640)).expect("its mode");
    std::os::unix::fs::symlink(at("target"), at("link")).expect("a link");
    std::fs::write(at("one"), "").expect("a file");
    std::fs::set_permissions(at("one"), std::fs::Permissions::from_mode(0o600)).expect("its mode");
    std::fs::hard_link(at("one"), at("two")).expect("another name");
    let mut others = vec![("two", "another name")];
    std::fs::write(at("another's"), "").expect("a file");
    std::fs::set_permissions(at("another's"), std::fs::Permissions::from_mode(0o600)).expect("its mode");
    match std::os::unix::fs::chown(at("another's"), Some(65_534), None) {
        Ok(()) => others.push(("another's", "another user")),
        Err(_) => skip("it takes root to give a file to another user"),
    }
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
    for (name, words) in [
        ("shared", "chmod 600"),
        ("link", "symbolic link"),
        ("fifo", "no regular file"),
        (".", "directory"),
        ("nowhere/log", "No such file"),
    ]
    .into_iter()
    .chain(others)
    {
        for error in [server(KeyLog::File(at(name))).err(), client(KeyLog::File(at(name)), Version::Tls13).err()] {
            let error = error.expect(name).to_string();
            assert!(error.contains("key log") && error.contains(words), "{words} is not in {error}");
        }
    }
    assert!(!at("target").exists(), "no link is followed");
}

/// Each name had a descriptor, and a warning, of its own.
#[test]
fn many_names_that_log_to_one_file_open_it_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let one = || {
        let certificate = ServerTls::builder().certificate(Pem::bytes(certificate_pem()), Pem::bytes(key_pem()));
        certificate.key_log(KeyLog::File(path.clone()))
    };
    let builder = (0..20).fold(one(), |builder, number| builder.name(format!("{number}.example"), one()));
    let tls = builder.build().expect("a server");
    let opened = || {
        let open = std::fs::read_dir("/proc/self/fd").ok()?;
        let target = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
        Some(open.filter_map(target).filter(|target| *target == path).count())
    };
    match opened() {
        None => skip("there is no /proc"),
        Some(count) => {
            assert_eq!(count, 1);
            assert!(tls.reload(&builder).expect("nothing has changed").is_complete());
            assert_eq!(opened(), Some(1));
            // A name that is given up lets go of it.
            let without = ServerTls::builder().certificate(Pem::bytes(certificate_pem()), Pem::bytes(key_pem()));
            assert!(tls.reload(&without).expect("nothing has changed").is_complete());
            assert_eq!(opened(), Some(0));
        }
    }
}
