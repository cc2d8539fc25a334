//! Names with several addresses, slow names and silent addresses, as `Reactor::connect`, `Connector` and `Client` dial them by the
//! system's resolver. In a namespace of each test's own, with a name server of its own, where this user may make one (unshare(1),
//! mount(8), ip(8)); elsewhere it says that it was skipped.

mod support;

#[path = "dialling/troubles.rs"]
mod troubles;

use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use support::{Hooks, PATIENCE, dialling};
use windlass::{
    Address, Client, Conn, ConnectConfig, Connector, ConnectorState, Expiry, Limits, Reactor, ReactorConfig, Reason,
};

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Runs the body of the test `name` in a process of its own, in namespaces where port 53 of 127.0.0.1 is the name server.
fn apart(name: &str, body: impl FnOnce()) {
    if std::env::var("WINDLASS_APART").is_ok_and(|apart| apart == name) {
        serve_names();
        return body();
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (conf, hosts) =
        (file("resolv.conf", "nameserver 127.0.0.1\noptions timeout:30 attempts:1\n"), file("hosts", ""));
    let switch = file("nsswitch.conf", "hosts: files dns\n");
    let mounts = [(conf, "resolv.conf"), (hosts, "hosts"), (switch, "nsswitch.conf")];
    let mounts = mounts.map(|(from, to)| format!("mount --bind {from} /etc/{to}")).join(" && ");
    let setup = format!("ip link set lo up && {mounts}");
    let in_namespaces =
        |run: &str| Command::new("unshare").args(["-n", "-m", "sh", "-c", run]).env("WINDLASS_APART", name).output();
    if !in_namespaces(&setup).is_ok_and(|output| output.status.success()) {
        return support::skip("no namespaces can be made here, or ip or mount is not installed");
    }
    let test = std::env::current_exe().expect("our own path");
    let run = format!("{setup} && exec {} --exact {name} --nocapture --test-threads=1", test.display());
    let output = in_namespaces(&run).expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

/// Answers for `two.example` with both addresses; for `half.example` with the second one, and never for its IPv6; and nothing
/// for other names. RFC 1035.
fn serve_names() {
    let socket = UdpSocket::bind((FIRST, 53)).expect("port 53");
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            // A header of 12 bytes, the name's labels up to an empty one, type and class.
            let end = 12 + bytes[12..len].iter().position(|byte| *byte == 0).expect("a name") + 1;
            let is_v4 = bytes[end..end + 2] == [0, 1];
            let addresses: &[Ipv4Addr] = match (&bytes[12..end], is_v4) {
                (b"\x03two\x07example\0", true) => &[FIRST, SECOND],
                (b"\x03two\x07example\0", false) => &[],
                (b"\x04half\x07example\0", true) => &[SECOND],
                _ => continue,
            };
            let mut answer = bytes[..end + 4].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, addresses.len() as u8, 0, 0, 0, 0]);
            for address in addresses {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                answer.extend(address.octets());
            }
            socket.send_to(&answer, from).expect("an answer");
        }
    });
}

/// A listener whose backlog is full, so that nobody answers there.
fn black_hole(at: SocketAddr) -> Vec<Socket> {
    let new = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let listener = new();
    listener.bind(&at.into()).expect("a free port");
    listener.listen(0).expect("a listener");
    let at = listener.local_addr().expect("an address");
    let mut sockets = vec![listener];
    loop {
        let filler = new();
        filler.set_nonblocking(true).expect("O_NONBLOCK");
        let is_full = filler.connect(&at).is_err() && filler.peer_addr().is_err();
        sockets.push(filler);
        if is_full {
            return sockets;
        }
        assert!(sockets.len() < 100, "the backlog does not fill");
    }
}

/// Connects once, and says to where and how long it took.
type Face = fn(&Address, ConnectConfig) -> Result<(SocketAddr, Duration), String>;

const FACES: [(&str, Face); 3] = [("a reactor", by_reactor), ("a connector", by_connector), ("a client", by_client)];

fn by_reactor(address: &Address, config: ConnectConfig) -> Result<(SocketAddr, Duration), String> {
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let told = Arc::new(Mutex::new(None));
    let (opens, closes) = (told.clone(), told.clone());
    let since = Instant::now();
    let handler = Hooks::new()
        .open(move |conn| *opens.lock().expect("no panic") = Some(Ok((conn.id(), conn.peer_ip(), since.elapsed()))))
        .close(move |_, reason| *closes.lock().expect("no panic") = Some(Err(reason.to_string())));
    let id = reactor.connect(address, config, handler).map_err(|error| error.to_string())?;
    assert!(since.elapsed() < millis(100), "the call took {:?}", since.elapsed());
    loop {
        reactor.poll_once(Some(PATIENCE)).expect("a turn");
        if let Some(told) = told.lock().expect("no panic").take() {
            let (opened, peer, took) = told?;
            assert_eq!((opened, reactor.connections()), (id, 1), "the id of the call is the one that opens");
            return Ok((peer.expect("an IP address"), took));
        }
    }
}

fn by_connector(address: &Address, config: ConnectConfig) -> Result<(SocketAddr, Duration), String> {
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let told = Arc::new(Mutex::new(None));
    let (opens, fails) = (told.clone(), told.clone());
    let since = Instant::now();
    let builder = Connector::builder(address.clone()).connect_config(config).on_state(move |state| {
        if let ConnectorState::Failed(error) = state {
            *fails.lock().expect("no panic") = Some(Err(error.to_string()));
        }
    });
    let make = move |conn: &Conn<'_>| {
        *opens.lock().expect("no panic") = Some(Ok((conn.peer_ip().expect("an IP address"), since.elapsed())));
        Hooks::new()
    };
    let _connector = builder.start(&reactor.remote(), make).expect("it starts");
    loop {
        reactor.poll_once(Some(PATIENCE)).expect("a turn");
        if let Some(told) = told.lock().expect("no panic").take() {
            return told;
        }
    }
}

fn by_client(address: &Address, config: ConnectConfig) -> Result<(SocketAddr, Duration), String> {
    let client = Client::builder(address.clone()).connect_config(config).build().expect("a client");
    let since = Instant::now();
    client.connect(PATIENCE).map_err(|error| error.to_string())?;
    let took = since.elapsed();
    Ok((client.peer_address().and_then(|peer| peer.ip()).expect("an IP address"), took))
}

/// Does it until it was done within `limit`: the machine may have other work.
fn within(limit: Duration, what: &str, mut done: impl FnMut() -> Duration) {
    let mut tries = Vec::new();
    while tries.len() < 10 {
        let took = done();
        if took <= limit {
            return println!("{what}: {took:?}, of {limit:?} at most");
        }
        tries.push(took);
    }
    panic!("{what}: {tries:?}, and never within {limit:?}");
}

#[test]
fn an_address_that_swallows_packets_costs_a_quarter_of_a_second() {
    apart("an_address_that_swallows_packets_costs_a_quarter_of_a_second", || {
        let serves = TcpListener::bind((SECOND, 0)).expect("a free port");
        let there = serves.local_addr().expect("an address");
        let _hole = black_hole((FIRST, there.port()).into());
        let address: Address = format!("tcp://two.example:{}", there.port()).parse().expect("an address");
        for (what, face) in FACES {
            within(millis(300), &format!("a black hole, {what}"), || {
                let (peer, took) = face(&address, ConnectConfig::default()).expect(what);
                assert!(peer == there && took >= millis(250), "{what}: {peer} after {took:?}");
                took
            });
            // A time that was shorter than that was never enough for the second one.
            let limits = Limits { connect_timeout: millis(200), ..Limits::default() };
            within(millis(200), &format!("a black hole and 200 ms, {what}"), || {
                let config = ConnectConfig { limits: limits.clone(), ..ConnectConfig::default() };
                face(&address, config).map_or(Duration::MAX, |(_, took)| took)
            });
        }
    });
}

#[test]
fn a_name_is_used_as_soon_as_one_family_is_known() {
    apart("a_name_is_used_as_soon_as_one_family_is_known", || {
        let serves = TcpListener::bind((SECOND, 0)).expect("a free port");
        let there = serves.local_addr().expect("an address");
        for (scheme, least) in [("tcp", millis(50)), ("tcp4", millis(0))] {
            let address: Address = format!("{scheme}://half.example:{}", there.port()).parse().expect("an address");
            for (what, face) in FACES {
                within(millis(100), &format!("no answer for IPv6, {scheme}, {what}"), || {
                    let (peer, took) = face(&address, ConnectConfig::default()).expect(what);
                    assert!(peer == there && took >= least, "{what}: {peer} after {took:?}");
                    took
                });
            }
        }
    });
}

#[test]
fn a_name_that_is_never_answered_holds_no_turn_and_ends_at_the_deadline() {
    apart("a_name_that_is_never_answered_holds_no_turn_and_ends_at_the_deadline", || {
        let address: Address = "tcp://silent.example:1".parse().expect("an address");
        let limits = Limits { connect_timeout: millis(200), ..Limits::default() };
        let config = ConnectConfig { limits, ..ConnectConfig::default() };
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let told = Arc::new(Mutex::new(None));
        let tells = told.clone();
        let handler = Hooks::new().close(move |conn, reason| {
            assert_eq!((conn.peer_address(), conn.local_address(), conn.peer_ip()), (None, None, None));
            // There is no socket, and who asks for it gets an error.
            assert!(socket2::SockRef::from(&*conn).local_addr().is_err());
            *tells.lock().expect("no panic") = Some(reason);
        });
        let since = Instant::now();
        reactor.connect(&address, config.clone(), handler).expect("it begins");
        while told.lock().expect("no panic").is_none() {
            assert!(since.elapsed() < PATIENCE, "it never ended; {} panics", reactor.snapshot().panics);
            reactor.poll_once(Some(PATIENCE)).expect("a turn");
        }
        assert_eq!(*told.lock().expect("no panic"), Some(Reason::Timeout(Expiry::Connect)));
        assert!(since.elapsed() >= millis(200) && since.elapsed() < millis(1500), "{:?}", since.elapsed());
        assert_eq!(reactor.connections(), 0);
        // A timer beside it is on time.
        within(millis(50), "a timer of 1 ms beside a lookup, the latest of 20 late by", || {
            let id = reactor.connect(&address, ConnectConfig::default(), Hooks::new()).expect("it begins");
            let mut latest = Duration::ZERO;
            for _ in 0..20 {
                let (fired, set) = (Arc::new(Mutex::new(None)), Instant::now());
                let fires = fired.clone();
                let set_timer = move |cx: &mut windlass::Context<'_>| {
                    cx.after(millis(1), move |_| *fires.lock().expect("no panic") = Some(set.elapsed()));
                };
                reactor.remote().run(set_timer).expect("room");
                while fired.lock().expect("no panic").is_none() {
                    reactor.poll_once(Some(PATIENCE)).expect("a turn");
                }
                latest = latest.max(fired.lock().expect("no panic").expect("it fired") - millis(1));
            }
            reactor.remote().abort(id).expect("room");
            latest
        });
        for (what, face) in FACES.into_iter().skip(1) {
            let error = face(&address, config.clone()).expect_err(what);
            assert!(error.ends_with("its name was not looked up within connect_timeout"), "{what}: {error}");
        }
    });
}

#[test]
fn the_last_of_several_addresses_that_refuse_is_told_with_their_number() {
    apart("the_last_of_several_addresses_that_refuse_is_told_with_their_number", || {
        let address: Address = "tcp://two.example:9".parse().expect("an address");
        assert_eq!(by_reactor(&address, ConnectConfig::default()), Err("refused".to_owned()));
        for (what, face) in FACES.into_iter().skip(1) {
            let error = face(&address, ConnectConfig::default()).expect_err(what);
            assert!(error.contains("two.example:9") && error.contains("the last of 2 addresses"), "{what}: {error}");
        }
    });
}

#[test]
fn a_stream_that_begins_at_a_name_can_be_stopped_and_drained_before_it_is_known() {
    apart("a_stream_that_begins_at_a_name_can_be_stopped_and_drained_before_it_is_known", || {
        let address: Address = "tcp://silent.example:1".parse().expect("an address");
        for (ends, expected) in [
            ("closed", Reason::Local),
            ("aborted", Reason::Aborted),
            ("drained", Reason::Drain),
            ("dropped", Reason::ReactorDropped),
        ] {
            let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
            let told = Arc::new(Mutex::new(None));
            let tells = told.clone();
            let handler = Hooks::new().close(move |_, reason| *tells.lock().expect("no panic") = Some(reason));
            let id = reactor.connect(&address, ConnectConfig::default(), handler).expect("it begins");
            for _ in 0..3 {
                reactor.poll_once(Some(millis(1))).expect("a turn");
            }
            let other = move |call: fn(&mut windlass::Other<'_>)| {
                move |cx: &mut windlass::Context<'_>| {
                    let mut other = cx.other(id).expect("it is there");
                    assert_eq!((other.peer_address(), other.room(), other.unsent_bytes()), (None, 0, 0));
                    assert!(other.tcp_info().is_none());
                    call(&mut other);
                }
            };
            match ends {
                "closed" => reactor.remote().run(other(|other| other.close())).expect("room"),
                "aborted" => reactor.remote().run(other(|other| other.abort())).expect("room"),
                "drained" => reactor.shutdown(PATIENCE),
                _ => drop(std::mem::replace(&mut reactor, Reactor::new(ReactorConfig::default()).expect("another"))),
            }
            let since = Instant::now();
            while told.lock().expect("no panic").is_none() {
                assert!(since.elapsed() < PATIENCE, "{ends}");
                reactor.poll_once(Some(millis(1))).expect("a turn");
            }
            assert_eq!(*told.lock().expect("no panic"), Some(expected), "{ends}");
            assert_eq!(reactor.connections(), 0, "{ends}");
        }
    });
}

/// What the first address of a name does to whoever connects.
#[cfg(feature = "aws-lc-rs")]
fn spoil(listener: TcpListener, how: &'static str) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counts = count.clone();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            counts.fetch_add(1, Ordering::Relaxed);
            match how {
                "speaks no TLS" => {
                    let _ = std::io::Write::write_all(&mut &stream, b"220 hello\r\n");
                    kept.push(stream);
                }
                "hangs up" => drop(stream),
                _ => kept.push(stream),
            }
        }
    });
    count
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn an_address_without_tls_is_left_for_one_that_has_it() {
    apart("an_address_without_tls_is_left_for_one_that_has_it", || {
        let config = support::listening(&"tls://127.0.0.2:0".parse().expect("one"), support::blocking::listen_config());
        let server = windlass::Server::builder()
            .address("tls://127.0.0.2:0".parse().expect("an address"))
            .listen_config(config)
            .engine_config(support::blocking::engine(1))
            .handler(|| |_: &Conn<'_>| support::Echo)
            .build()
            .expect("a server");
        server.listen().expect("it listens");
        let there = server.local_addresses()[0].ip().expect("an IP address");
        let address: Address = format!("tls://two.example:{}", there.port()).parse().expect("an address");
        for how in ["speaks no TLS", "hangs up", "stays silent"] {
            let first = TcpListener::bind((FIRST, there.port())).expect("its port is free there");
            let came = spoil(first.try_clone().expect("a handle"), how);
            for (number, (what, face)) in FACES.into_iter().enumerate() {
                let (peer, took) = face(&address, dialling(&address, ConnectConfig::default())).expect(what);
                assert_eq!(peer, there, "{what}, {how}");
                assert!(took < Duration::from_secs(5), "{what}, {how}: {took:?}");
                assert_eq!(came.load(Ordering::Relaxed), number + 1, "{what}, {how}");
            }
            // Whoever connects again begins with the other one.
            let client = Client::builder(address.clone()).connect_config(dialling(&address, ConnectConfig::default()));
            let client = client.build().expect("a client");
            for _ in 0..3 {
                client.connect(PATIENCE).expect("it connects");
                assert_eq!(came.load(Ordering::Relaxed), FACES.len() + 1, "{how}");
            }
            // That thread goes on to accept; the next kind of listener needs the port.
            socket2::SockRef::from(&first).shutdown(std::net::Shutdown::Both).expect("it listens");
        }
    });
}
