//! The example programs as people run them: options, signals, exit codes, and what they promise.
//!
//! The tests have cargo build them, so that what runs is what lies here.

#[cfg(feature = "aws-lc-rs")]
#[path = "examples/web.rs"]
mod web;

#[path = "examples/servers.rs"]
mod servers;

#[cfg(feature = "serde")]
#[path = "examples/configured.rs"]
mod configured;

#[path = "examples/clients.rs"]
mod clients;

#[path = "examples/datagrams.rs"]
mod datagrams;

#[cfg(feature = "signals")]
#[path = "examples/redis.rs"]
mod redis;

#[cfg(feature = "signals")]
#[path = "examples/socks.rs"]
mod socks;

#[path = "examples/throttle.rs"]
mod throttle;

#[path = "examples/upgrade.rs"]
mod upgrade;

#[path = "examples/running.rs"]
mod running;

use running::{PATIENCE, Running, dial, exchange, run};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn echo_with_no_arguments_serves_tcp_and_unix_and_tells_how_to_talk_to_it() {
    let mut echo = Running::start("echo", &[]);
    let tcp = echo.tcp();
    assert!(echo.line().contains("socat"));
    assert_eq!(exchange(&mut dial(&tcp), "over tcp"), "over tcp");
    let path = echo.address().strip_prefix("unix:").expect("a Unix address").to_owned();
    let mut unix = UnixStream::connect(&path).expect("a connection");
    unix.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(exchange(&mut unix, "over unix"), "over unix");
    drop(unix);
    // It listens on all that it wants to.
    while !echo.line().contains("Ctrl-C") {}
    echo.signal(rustix::process::Signal::TERM);
    let (rest, ended_well) = echo.rest();
    assert!(ended_well && rest.lines().last().is_some_and(|last| last.starts_with("drained: ")), "{rest}");
    assert!(!std::path::Path::new(&path).exists(), "its files are gone");
}

#[test]
fn echo_drains_on_the_first_signal_and_cuts_on_the_second() {
    let mut echo = Running::start("echo", &["--listen=tcp://127.0.0.1:0", "--drain", "60"]);
    let address = echo.tcp();
    let mut stuck = dial(&address);
    stuck.set_nonblocking(true).expect("a mode");
    // Until nothing moves any more: the server holds output that nobody reads.
    let mut blocked = 0;
    while blocked < 50 {
        match stuck.write(&[7; 65536]) {
            Ok(1..) => blocked = 0,
            Ok(0) => unreachable!("a write of something takes something, or blocks"),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                blocked += 1;
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
    }
    echo.signal(rustix::process::Signal::INT);
    // It accepts nothing new, and waits for the one that is stuck.
    let until = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(&address).is_ok() {
        assert!(std::time::Instant::now() < until, "it still accepts");
    }
    echo.signal(rustix::process::Signal::TERM);
    let (rest, ended_well) = echo.rest();
    assert!(ended_well && rest.contains(" 1 cut, "), "{rest}");
    assert!(!rest.contains(" 0 bytes never sent"), "{rest}");
}

#[test]
fn echo_closes_idle_connections_and_holds_the_limit_of_connections() {
    let args = ["--listen", "tcp://127.0.0.1:0", "--idle", "0.2", "--max-connections", "1", "--stats", "0.05"];
    let mut echo = Running::start("echo", &args);
    let address = echo.tcp();
    let mut first = dial(&address);
    assert_eq!(exchange(&mut first, "first"), "first");
    // Waits in the backlog until the first one is closed for being idle.
    let mut second = dial(&address);
    assert_eq!(exchange(&mut second, "second"), "second");
    assert_eq!(first.read(&mut [0; 1]).expect("a clean end"), 0);
    assert!(echo.line().starts_with("stats: accepted "));
}

#[test]
fn echo_refuses_what_it_cannot_do_and_says_why() {
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--nonsense"], 2, "--nonsense is not an option"),
        (&["--listen"], 2, "--listen needs a value"),
        (&["--listen", "127.0.0.1:80"], 2, "127.0.0.1:80"),
        (&["--idle", "soon"], 2, "soon is not a number of seconds"),
        (&["--drain", "-1"], 2, "--drain: -1"),
        (&["--max-connections", "0"], 2, "0 is not a positive number"),
        (&["--cert", "x.pem"], 2, "--cert and --key belong together"),
        (
            &["--listen", "tls://127.0.0.1:0", "--cert", "/nowhere.pem", "--key", "/nowhere.pem"],
            1,
            "cannot use certificate /nowhere.pem",
        ),
        (&["--listen", "unix:/nowhere/at/all.sock"], 1, "cannot listen on unix:/nowhere/at/all.sock"),
    ];
    for (args, code, text) in cases {
        let output = run("echo", args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        assert!(told.starts_with("echo: ") && told.contains(text), "{args:?}: {told}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn proxy_passes_bytes_and_half_closes_on_and_ends_the_other_side_with_a_reset() {
    let target = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let to = format!("tcp://{}", target.local_addr().expect("an address"));
    let mut proxy = Running::start("proxy", &["tcp://127.0.0.1:0", &to]);
    let address = proxy.tcp();

    let mut client = dial(&address);
    let (mut server, _) = target.accept().expect("the proxy's connection");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    client.write_all(b"question").expect("a write");
    client.shutdown(Shutdown::Write).expect("a half-close");
    let mut question = String::new();
    server.read_to_string(&mut question).expect("the question and its end");
    assert_eq!(question, "question");
    server.write_all(b"an answer behind the half-close").expect("a write");
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("the answer and its end");
    assert_eq!(answer, "an answer behind the half-close");

    let mut client = dial(&address);
    let (mut server, _) = target.accept().expect("the proxy's connection");
    client.write_all(b"x").expect("a write");
    server.read_exact(&mut [0]).expect("a byte");
    socket2::SockRef::from(&server).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(server);
    let error = client.read(&mut [0]).expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);

    drop(target);
    let mut client = dial(&address);
    assert!(client.read(&mut [0]).map_or(true, |read| read == 0), "nobody is behind the proxy any more");
}

#[test]
fn framed_answers_in_order_and_shares_what_is_shared() {
    let mut framed = Running::start("framed", &[]);
    let address = framed.address();
    let ask = |requests: &[&str]| {
        let args = [&[address.as_str()], requests].concat();
        String::from_utf8_lossy(&run("framed", &args).stdout).into_owned()
    };
    assert_eq!(ask(&["SET a one two", "GET a", "COUNT"]), "ok\none two\n3\n");
    assert_eq!(ask(&["GET a", "GET b", "COUNT", "nonsense here"]), "one two\nnone\n3\nwhat?\n");
    let mut huge = dial(address.strip_prefix("tcp://").expect("TCP"));
    huge.write_all(&u32::MAX.to_be_bytes()).expect("a write");
    assert_eq!(huge.read(&mut [0]).expect("a clean end"), 0);
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn chat_sends_each_line_to_everybody_else_in_the_room_whatever_they_came_by() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("a file");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
    let (cert, key) = (cert.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
    let socket = folder.path().join("socket");
    let unix = format!("unix:{}", socket.display());
    let addresses = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", &unix, "--cert", cert, "--key", key];
    let mut chat = Running::start("chat", &addresses);
    let (tcp, tls) = (chat.tcp(), chat.line());
    let tls = tls.strip_prefix("listening on tls://").expect("an address").to_owned();
    chat.line();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let session = rustls::ClientConnection::new(config.into(), name).expect("a client");
    trait Stream: Read + Write {}
    impl<S: Read + Write> Stream for S {}
    let streams: [Box<dyn Stream>; 4] = [
        Box::new(dial(&tcp)),
        Box::new(rustls::StreamOwned::new(session, dial(&tls))),
        Box::new(std::os::unix::net::UnixStream::connect(&socket).expect("a connection")),
        Box::new(dial(&tcp)),
    ];
    let mut members = streams.map(BufReader::new);
    let hears = |member: &mut BufReader<Box<dyn Stream>>, expected: &str| {
        let mut line = String::new();
        member.read_line(&mut line).expect("a line");
        assert_eq!(line, expected);
    };
    members.iter_mut().for_each(|member| hears(member, "* this is lobby\n"));
    members[3].get_mut().write_all(b"/join attic\n").expect("a write");
    hears(&mut members[3], "* this is attic\n");
    members[0].get_mut().write_all(b"hello\nto all\nnot yet a line").expect("a write");
    for member in &mut members[1..3] {
        hears(member, "hello\n");
        hears(member, "to all\n");
    }
    members[1].get_mut().write_all(b"/join attic\nup here\n").expect("a write");
    hears(&mut members[1], "* this is attic\n");
    hears(&mut members[3], "up here\n");
    // A line without an end costs its own connection.
    let _ = members[2].get_mut().write_all(&[b'x'; 5_000]);
    assert_eq!(members[2].read_line(&mut String::new()).expect("an end"), 0);
}

#[test]
fn hold_opens_what_it_is_told_and_reports() {
    let mut echo = Running::start("echo", &["--listen", "tcp://127.0.0.1:0"]);
    let address = format!("tcp://{}", echo.tcp());
    let output = run("hold", &[&address, "300"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.starts_with("300 connections echoed, 0 failed\n"), "{told}");
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn tls_client_prints_what_was_agreed_on_and_gives_up_after_so_many_failures() {
    let mut echo = Running::start("echo", &[]);
    let (mut port, mut trust) = (None, None);
    while port.is_none() || trust.is_none() {
        let line = echo.line();
        port = port.or(line.strip_prefix("listening on tls://127.0.0.1:").map(str::to_owned));
        trust = trust.or(line.split_once("-CAfile ").map(|(_, path)| path.to_owned()));
    }
    let (at, trust) = (format!("localhost:{}", port.expect("a port")), trust.expect("a path"));
    let program = running::program("tls_client");
    let mut command = Command::new(&program);
    let client = command.args([&at, "--ca", &trust]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut client = client.expect("a program that starts");
    let mut input = client.stdin.take().expect("its input");
    let mut client = Running::of(client);
    input.write_all(b"hello\n").expect("a pipe");
    let mut lines = vec![client.line()];
    while lines.last().is_some_and(|line| line != "hello") {
        lines.push(client.line());
    }
    drop(input);
    let (rest, ended_well) = client.rest();
    let told = lines.join("\n") + &rest;
    assert!(ended_well, "{told}");
    for word in ["connected to tls://localhost", "TLSv1_3", "certificates: 1 of", "closed: closed by the peer"] {
        assert!(told.contains(word), "{word:?} is not in {told}");
    }

    drop(echo);
    let refused = run("tls_client", &[&at, "--ca", &trust, "--tries", "1"]);
    // The certificate's folder went with the server, or it is still there: either is told.
    assert!(![refused.stdout, refused.stderr].concat().is_empty());
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn starttls_offers_tls_and_takes_no_plain_command_behind_it() {
    let mut server = Running::start("starttls", &[]);
    let mut stream = dial(&server.tcp());
    stream.write_all(b"EHLO me\r\nSTARTTLS\r\nNOOP\r\n").expect("commands");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the end");
    // The go-ahead, and then the alert: NOOP is no handshake.
    let offer = b"220 localhost\r\n250-localhost\r\n250 STARTTLS\r\n220 go ahead\r\n";
    assert_eq!(answer, [&offer[..], b"\x15\x03\x03\x00\x02\x02\x32"].concat());
}
