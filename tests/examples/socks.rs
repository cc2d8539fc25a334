//! The example `socks`, as curl uses it and as hostile peers do.

use super::running::{PATIENCE, Running, dial, finish, skip};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A proxy that may connect to `targets`, and its address.
fn start(targets: &[&str], more: &[&str]) -> (Running, String) {
    let allow = targets.iter().flat_map(|target| ["--allow", target]);
    let args: Vec<&str> = allow.chain(more.iter().copied()).collect();
    let mut socks = Running::start("socks", &args);
    let address = socks.tcp();
    (socks, address)
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

fn port(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn by_ip(address: &str) -> Vec<u8> {
    [&[5, 1, 0, 1, 127, 0, 0, 1][..], &port(address).to_be_bytes()].concat()
}

fn by_name(name: &[u8], port: u16) -> Vec<u8> {
    [&[5, 1, 0, 3, name.len() as u8][..], name, &port.to_be_bytes()].concat()
}

/// Greets, asks and returns the code of the reply.
fn ask(proxy: &str, request: &[u8]) -> (TcpStream, u8) {
    let mut stream = dial(proxy);
    stream.write_all(&[&[5, 1, 0], request].concat()).expect("a write");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("a choice and a reply");
    assert_eq!((answer[..3].to_vec(), &answer[4..]), (vec![5, 0, 5], &[0, 1, 0, 0, 0, 0, 0, 0][..]));
    (stream, answer[3])
}

/// A client and a target that are connected through a proxy.
fn through() -> (Running, TcpStream, TcpStream) {
    let (listener, address) = listener();
    let (socks, proxy) = start(&[&address], &[]);
    let (client, code) = ask(&proxy, &by_ip(&address));
    assert_eq!(code, 0);
    let (target, _) = listener.accept().expect("the proxy's connection");
    target.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    (socks, client, target)
}

#[test]
fn socks_passes_both_halves_of_a_connection_on_and_a_reset() {
    let (_socks, mut client, mut target) = through();
    client.write_all(b"question").expect("a write");
    client.shutdown(Shutdown::Write).expect("a half-close");
    let mut text = String::new();
    target.read_to_string(&mut text).expect("the question and its end");
    assert_eq!(text, "question");
    target.write_all(b"an answer behind the half-close").expect("a write");
    drop(target);
    text.clear();
    client.read_to_string(&mut text).expect("the answer and its end");
    assert_eq!(text, "an answer behind the half-close");

    let (_socks, mut client, mut target) = through();
    target.write_all(b"a greeting").expect("a write");
    target.shutdown(Shutdown::Write).expect("a half-close");
    text.clear();
    client.read_to_string(&mut text).expect("the greeting and its end");
    assert_eq!(text, "a greeting");
    client.write_all(b"said behind the half-close").expect("a write");
    drop(client);
    text.clear();
    target.read_to_string(&mut text).expect("the bytes and their end");
    assert_eq!(text, "said behind the half-close");

    for from_client in [true, false] {
        let (_socks, mut client, mut target) = through();
        client.write_all(b"x").expect("a write");
        target.read_exact(&mut [0]).expect("a byte");
        let (broken, mut other) = if from_client { (client, target) } else { (target, client) };
        socket2::SockRef::from(&broken).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(broken);
        assert_eq!(other.read(&mut [0]).expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn socks_takes_requests_byte_by_byte_and_what_comes_behind_them_at_once() {
    let (listener, address) = listener();
    let (_socks, proxy) = start(&[&address], &[]);
    let mut client = dial(&proxy);
    client.set_nodelay(true).expect("an option");
    for byte in [&[5, 3, 1, 0, 9][..], &by_ip(&address), b"hello"].concat() {
        client.write_all(&[byte]).expect("a write");
    }
    let (mut target, _) = listener.accept().expect("the proxy's connection");
    let mut text = [0; 5];
    target.read_exact(&mut text).expect("what came behind the request");
    assert_eq!(&text, b"hello");
}

#[test]
fn socks_holds_back_a_sender_whose_receiver_does_not_read() {
    let (socks, mut client, mut target) = through();
    target.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let (mut sent, piece) = (0, [7; 65536]);
    let error = loop {
        match target.write(&piece) {
            Ok(taken) => sent += taken,
            Err(error) => break error,
        }
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken, and nobody reads");
    };
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    println!("{sent} bytes were taken");
    if let Ok(status) = fs::read_to_string(format!("/proc/{}/status", socks.child.id())) {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(kilobytes < 48 * 1024, "{kilobytes} kB resident");
    }
    drop(target);
    let mut all = Vec::new();
    client.read_to_end(&mut all).expect("all bytes and the end");
    assert_eq!(all.len(), sent);
}

#[test]
fn socks_serves_a_thousand_at_once_and_mixes_nothing_up() {
    windlass::raise_descriptor_limit().expect("a limit");
    let mut echo = Running::start("echo", &["--listen", "tcp://127.0.0.1:0"]);
    let target = echo.tcp();
    let (socks, proxy) = start(&[&target], &[]);
    let mut clients: Vec<TcpStream> = (0..1_000).map(|_| dial(&proxy)).collect();
    let said = |number: usize| format!("client {number} says ").repeat(20 + number % 300);
    for (number, client) in clients.iter_mut().enumerate() {
        let asked = [&[5, 1, 0], by_ip(&target).as_slice(), said(number).as_bytes()].concat();
        client.write_all(&asked).expect("a write");
        client.shutdown(Shutdown::Write).expect("a half-close");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).expect("an answer and its end");
        assert_eq!(answer[..12], [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0], "client {number}");
        assert!(answer[12..] == *said(number).as_bytes(), "client {number}: {} bytes, or others", answer.len());
    }
    drop((clients, socks));
}

#[test]
fn socks_tells_why_it_does_not_connect() {
    let (gone, refusing) = listener();
    drop(gone);
    let (_listener, address) = listener();
    let here = format!("localhost:{}", port(&address));
    let (_socks, proxy) = start(&[&address, &here, &refusing, "nowhere.invalid:80"], &[]);
    let udp = [&[5, 3, 0, 1, 127, 0, 0, 1][..], &port(&address).to_be_bytes()].concat();
    let cases: [(&[u8], u8); 9] = [
        (&by_ip(&address), 0),
        (&by_name(b"LocalHost", port(&address)), 0),
        (&by_ip(&refusing), 5),
        (&by_name(b"nowhere.invalid", 80), 4),
        (&by_name(b"", 80), 2),
        (&by_name(b"a b\0c", 80), 2),
        (&by_ip("127.0.0.1:1"), 2),
        (&udp, 7),
        (&[5, 1, 0, 9, 127, 0, 0, 1, 0, 80], 8),
    ];
    for (request, expected) in cases {
        let (mut stream, code) = ask(&proxy, request);
        assert_eq!(code, expected, "{request:?}");
        assert!(code == 0 || stream.read(&mut [0]).expect("a clean end") == 0);
    }

    // Without a list: what is not public is refused, whatever it is called.
    let (_socks, proxy) = start(&[], &[]);
    for ip in
        ["127.0.0.1", "0.0.0.0", "0.1.2.3", "10.1.2.3", "169.254.169.254", "192.168.1.1", "100.64.0.1", "224.0.0.1"]
    {
        let ip: Ipv4Addr = ip.parse().expect("an address");
        let request = [&[5, 1, 0, 1][..], &ip.octets(), &port(&address).to_be_bytes()].concat();
        assert_eq!(ask(&proxy, &request).1, 2, "{ip}");
        let request = [&[5, 1, 0, 4][..], &ip.to_ipv6_mapped().octets(), &port(&address).to_be_bytes()].concat();
        assert_eq!(ask(&proxy, &request).1, 2, "{ip} as IPv6");
        assert_eq!(ask(&proxy, &by_name(ip.to_string().as_bytes(), port(&address))).1, 2, "{ip} as a name");
    }
    for ip in ["::1", "::", "fe80::1", "fd00::1", "ff02::1"] {
        let ip: std::net::Ipv6Addr = ip.parse().expect("an address");
        let request = [&[5, 1, 0, 4][..], &ip.octets(), &port(&address).to_be_bytes()].concat();
        assert_eq!(ask(&proxy, &request).1, 2, "{ip}");
    }
    assert_eq!(ask(&proxy, &by_name(b"sub.localhost", port(&address))).1, 2);
    // Names of this machine, as the system knows them.
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let ours = hosts.lines().filter(|line| line.starts_with("127.") || line.starts_with("::1"));
    for name in ours.flat_map(|line| line.split_whitespace().skip(1)).chain(["127.1", "localhost."]) {
        let (_, code) = ask(&proxy, &by_name(name.as_bytes(), port(&address)));
        assert!(matches!(code, 2 | 4), "{name}: {code}");
    }
}

#[test]
fn socks_tells_that_a_target_does_not_answer_in_time() {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    full.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    full.listen(0).expect("a listener");
    let address = full.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
    // Linux drops what the backlog has no room for.
    let fill = || TcpStream::connect_timeout(&address, Duration::from_millis(200));
    let filled: Vec<_> = (0..8).map_while(|_| fill().ok()).collect();
    if filled.len() == 8 {
        return skip("this system completes connections that nobody accepts");
    }
    let address = address.to_string();
    let (_socks, proxy) = start(&[&address], &[]);
    assert_eq!(ask(&proxy, &by_ip(&address)).1, 6);
}

#[test]
fn socks_closes_on_what_is_not_socks_and_on_a_handshake_that_takes_too_long() {
    let (_socks, proxy) = start(&[], &[]);
    let cases: [(&[u8], &[u8]); 5] = [
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (&[4, 1, 0, 80, 127, 0, 0, 1, 0], b""),
        (&[5, 0], &[5, 0xff]),
        (&[5, 2, 1, 2], &[5, 0xff]),
        (&[5, 1, 0, 4, 1, 0, 1], &[5, 0]),
    ];
    for (hostile, expected) in cases {
        let mut stream = dial(&proxy);
        stream.write_all(hostile).expect("a write");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer and a clean end");
        assert_eq!(answer, expected, "{hostile:?}");
    }
    // A byte now and then does not make it wait longer.
    let (mut slow, begin) = (dial(&proxy), Instant::now());
    slow.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    for byte in [&[5, 255][..], &[1; 30]].concat() {
        // The write may meet the end before the read does.
        let _ = slow.write_all(&[byte]);
        match slow.read(&mut [0]) {
            Ok(0) => break,
            Ok(_) => panic!("an answer to half a greeting"),
            // A byte behind the close is answered by a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
    }
    assert!((9..20).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}

#[test]
fn socks_lets_in_only_who_knows_the_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "secret\n").expect("a file");
    let (_listener, address) = listener();
    let (_socks, proxy) = start(&[&address], &["--user", "me", "--password-file", file.to_str().expect("text")]);
    let cases: [(&[u8], &[u8]); 6] = [
        (&[5, 1, 0], &[5, 0xff]),
        (b"\x05\x01\x02\x01\x02me\x06secreT", &[5, 2, 1, 1]),
        (b"\x05\x01\x02\x01\x02me\x07secrets", &[5, 2, 1, 1]),
        (b"\x05\x01\x02\x01\x00\x00", &[5, 2, 1, 1]),
        (b"\x05\x01\x02\x05\x01\x00", &[5, 2]),
        (b"\x05\x02\x00\x02\x01\x02me\x06secret\x05\x02", &[5, 2, 1, 0]),
    ];
    for (said, expected) in cases {
        let mut stream = dial(&proxy);
        stream.write_all(said).expect("a write");
        if said.ends_with(&[5, 2]) {
            stream.write_all(&by_ip(&address)[2..]).expect("a write");
            let mut answer = vec![0; 14];
            stream.read_exact(&mut answer).expect("an answer");
            assert_eq!(answer, [expected, &[5, 7, 0, 1, 0, 0, 0, 0, 0, 0]].concat());
            continue;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer and a clean end");
        assert_eq!(answer, expected, "{said:?}");
    }
}

/// A server of one file for requests that curl makes: it answers each connection with all of `body`.
fn serve(listener: TcpListener, body: Vec<u8>) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // A client that was refused hangs up.
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
}

fn curl(args: &[&str]) -> Option<Output> {
    match finish(Command::new("curl").args(["-sS", "--noproxy", "", "--max-time", "15"]).args(args), b"") {
        Ok(output) => Some(output),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip("curl not installed");
            None
        }
        Err(error) => panic!("curl: {error}"),
    }
}

#[test]
fn curl_fetches_50_megabytes_through_it_by_name_and_by_address() {
    let (target, address) = listener();
    let body: Vec<u8> = (0..50_000_000u32).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect();
    serve(target, body.clone());
    let port = port(&address);
    let named = format!("localhost:{port}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "secret").expect("a file");
    let (_open, open) = start(&[&address, &named], &[]);
    let login = ["--user", "me", "--password-file", file.to_str().expect("text")];
    let (_closed, closed) = start(&[&address, &named], &login);
    for (option, host) in [("--socks5-hostname", "localhost"), ("--socks5", "127.0.0.1")] {
        for proxy in [open.clone(), format!("me:secret@{closed}")] {
            let Some(output) = curl(&[option, &proxy, &format!("http://{host}:{port}/")]) else { return };
            assert!(output.status.success(), "{option} {proxy}: {}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout == body, "{option} {proxy}: {} bytes, or others", output.stdout.len());
        }
        for proxy in [closed.clone(), format!("me:wrong@{closed}")] {
            let output = curl(&[option, &proxy, &format!("http://{host}:{port}/")]).expect("curl");
            assert_eq!(output.status.code(), Some(97), "{option} {proxy}"); // CURLE_PROXY
        }
    }
    // Not on the list.
    let output = curl(&["--socks5-hostname", &open, "http://localhost:1/"]).expect("curl");
    assert_eq!(output.status.code(), Some(97));
}

/// Piece `number` of what the long download is.
fn piece(number: u32) -> Vec<u8> {
    (0..1_000_000u32).map(|index| (index ^ (index >> 8) ^ number) as u8).collect()
}

#[test]
fn curl_fetches_200_megabytes_through_it_each_byte_right() {
    const PIECES: u32 = 200;
    let (target, address) = listener();
    let (_socks, proxy) = start(&[&address], &[]);
    let args = ["-sS", "--noproxy", "", "--max-time", "60", "--socks5", &proxy];
    let mut command = Command::new("curl");
    command.args(args).arg(format!("http://{address}/")).stdout(std::process::Stdio::piped());
    let mut curl = match command.spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => return skip("curl not installed"),
        child => child.expect("curl"),
    };
    let server = std::thread::spawn(move || {
        let (mut stream, _) = target.accept().expect("the proxy's connection");
        assert!(stream.read(&mut [0; 4096]).expect("a request") > 0);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PIECES}000000\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("a write");
        (0..PIECES).for_each(|number| stream.write_all(&piece(number)).expect("a write"));
    });
    let (mut body, mut came) = (curl.stdout.take().expect("a pipe"), vec![0; 1_000_000]);
    for number in 0..PIECES {
        body.read_exact(&mut came).expect("a piece");
        assert!(came == piece(number), "piece {number}");
    }
    assert_eq!(body.read(&mut came).expect("an end"), 0);
    assert!(curl.wait().expect("its end").success());
    server.join().expect("no panic");
}

#[test]
fn socks_refuses_options_that_it_does_not_have_or_that_do_not_fit() {
    let cases: [(&[&str], &str); 5] = [
        (&["--nonsense", "x"], "--nonsense is not an option"),
        (&["--user", "me"], "belong together"),
        (&["--password-file", "/nowhere"], "/nowhere: "),
        (&["--allow", "nowhere"], "nowhere"),
        (&["--listen", "127.0.0.1:1"], "127.0.0.1:1"),
    ];
    for (args, text) in cases {
        let output = super::run("socks", args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.starts_with("socks: ") && told.contains(text), "{args:?}: {told}");
    }
}
