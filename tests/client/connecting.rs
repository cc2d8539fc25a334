//! How a client connects: to somebody, to nobody, again, to several addresses, and within which time.

use crate::host::{BlackHole, Diary, Host, Place, builder, loopback};
use crate::support::{self, Kind, PATIENCE, each_kind};
use socket2::{SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use windlass::{
    Address, AfterRequest, Client, ClientConfig, ConnState, ConnectConfig, DatagramConfig, Error, Limits, Resolver,
    SocketOptions,
};

/// A name with such addresses.
fn named(addresses: Vec<SocketAddr>) -> windlass::ClientBuilder {
    let resolver = Resolver::new(move |_| Ok(addresses.clone()));
    builder(&"tcp://service.example:1".parse().expect("an address")).resolver(resolver)
}

/// An address of this host that nobody listens on.
fn nobody(place: Place) -> SocketAddr {
    let socket = Socket::new(SockAddr::from(loopback(place)).domain(), Type::STREAM, None).expect("a socket");
    socket.bind(&loopback(place).into()).expect("a free port");
    socket.local_addr().expect("an address").as_socket().expect("an IP address")
}

fn echoes(client: &Client, guest: &mut crate::host::Guest) {
    let mut wire = client;
    wire.write_all(b"hello").expect("written");
    assert_eq!(guest.receive(5), b"hello");
    guest.send(b"you!");
    let mut got = [0; 4];
    wire.read_exact(&mut got).expect("four bytes");
    assert_eq!(&got, b"you!");
}

#[test]
fn it_connects_everywhere_and_knows_both_ends() {
    Host::everywhere(|host| {
        let (client, mut guest) = host.pair(host.builder());
        assert!(client.is_connected());
        assert_eq!((client.address(), client.peer_address()), (&host.address, Some(host.address.clone())));
        let local = client.local_address().expect("an address");
        assert_eq!(local.transport(), host.address.transport());
        let seen = guest.socket().peer_addr().expect("a peer").as_socket();
        assert_eq!(local.ip(), seen);
        echoes(&client, &mut guest);
        #[cfg(feature = "tls")]
        assert_eq!(client.tls(|tls| tls.version().is_some()), host.kind.is_tls().then_some(true));
        client.close().expect("closed");
        assert_eq!((client.local_address(), client.peer_address()), (None, None));
    });
}

#[test]
fn a_family_that_was_asked_for_is_the_only_one_that_is_dialled() {
    let host = Host::at(Kind::Tcp, Place::V4, 128);
    let port = host.address.ip().expect("an IP address").port();
    let both = vec![SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)), SocketAddr::from(([127, 0, 0, 1], port))];
    for (scheme, connects) in [("tcp", true), ("tcp4", true), ("tcp6", false)] {
        let (both, address) = (both.clone(), format!("{scheme}://service.example:{port}"));
        let client = builder(&address.parse().expect("an address")).resolver(Resolver::new(move |_| Ok(both.clone())));
        let client = client.build().expect("a client");
        assert_eq!(client.connect(PATIENCE).is_ok(), connects, "{scheme}");
    }
}

#[test]
fn a_client_to_nobody_is_refused_at_once_and_told_so_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let dead = folder.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("a socket"));
    let missing = Address::unix(folder.path().join("missing")).expect("a short path");
    let file = folder.path().join("file");
    std::fs::write(&file, b"").expect("a file");
    let all = [
        (Address::tcp(nobody(Place::V4)), ErrorKind::ConnectionRefused),
        (Address::tcp(nobody(Place::V6)), ErrorKind::ConnectionRefused),
        (Address::unix(&dead).expect("a short path"), ErrorKind::ConnectionRefused),
        (Address::unix(&file).expect("a short path"), ErrorKind::ConnectionRefused),
        (Address::unix_abstract("windlass-nobody-at-all").expect("a name"), ErrorKind::ConnectionRefused),
        (missing, ErrorKind::NotFound),
    ];
    for (address, kind) in all {
        for address in [address.clone(), address.over_tls_if_possible()] {
            let diary = Diary::default();
            let client = diary.of(builder(&address)).build().expect("a client");
            let since = Instant::now();
            let error = client.connect(PATIENCE).expect_err("nobody");
            let Error::Connect { address: told, source } = &error else { panic!("{error}") };
            assert_eq!((&**told, source.kind()), (&address, kind), "{error}");
            assert!(since.elapsed() < Duration::from_secs(5));
            assert_eq!((diary.states(), diary.errors()), (vec![ConnState::Dial], vec![error.to_string()]));
            assert!(!client.is_connected());
            assert!(matches!(client.close(), Err(Error::NotConnected)));
        }
    }
}

/// The same place with TLS, where the tests have that.
trait OverTls {
    fn over_tls_if_possible(&self) -> Address;
}

impl OverTls for Address {
    fn over_tls_if_possible(&self) -> Address {
        let kind = if self.ip().is_some() { Kind::ALL[Kind::ALL.len() - 2] } else { Kind::ALL[Kind::ALL.len() - 1] };
        kind.of(self.clone())
    }
}

#[test]
fn a_full_unix_backlog_that_comes_free_is_connected_to() {
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_unix()) {
        let host = Host::at(kind, Place::Path, 0);
        let path = host.address.path().expect("a path").to_owned();
        let filler = std::os::unix::net::UnixStream::connect(&path).expect("the first one");
        let client = host.client();
        let error = client.connect(Duration::from_millis(30)).expect_err("it is full");
        assert!(matches!(&error, Error::Connect { source, .. } if source.kind() == ErrorKind::TimedOut), "{error}");
        std::thread::scope(|scope| {
            let connecting = scope.spawn(|| client.connect(PATIENCE));
            drop(host.accept_raw());
            let mut guest = host.accept();
            connecting.join().expect("no panic").expect("there is room");
            echoes(&client, &mut guest);
        });
        drop(filler);
    }
}

#[test]
fn connecting_again_replaces_the_old_connection() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (client, mut first) = host.pair(diary.of(host.builder()));
        echoes(&client, &mut first);
        let mut second = host.connect(&client);
        assert_eq!(first.rest(), b"", "the old one ends in order");
        echoes(&client, &mut second);
        // Also from the other end's close, from an end in order, and from our own close.
        drop(second);
        while client.is_connected() {}
        let mut third = host.connect(&client);
        echoes(&client, &mut third);
        client.shutdown_write().expect("our end");
        let mut fourth = host.connect(&client);
        echoes(&client, &mut fourth);
        client.close().expect("closed");
        let mut fifth = host.connect(&client);
        echoes(&client, &mut fifth);
        drop(client);
        assert_eq!(diary.every_state().iter().filter(|state| **state == ConnState::Close).count(), 5);
        assert!(diary.errors().is_empty(), "{:?}", diary.errors());
        diary.check(kind.is_tls());
    });
}

/// With a kernel that takes little.
pub(crate) fn tight(kind: Kind) -> windlass::ConnectConfig {
    let socket = SocketOptions { send_buffer_bytes: Some(4096), ..SocketOptions::default() };
    let config = windlass::ConnectConfig { socket, ..windlass::ConnectConfig::default() };
    let place = if kind.is_unix() { "unix:/nowhere" } else { "tcp://127.0.0.1:1" };
    support::dialling(&kind.of(place.parse().expect("an address")), config)
}

/// Writes until the peer, who does not read, holds it up: then bytes wait here.
pub(crate) fn clog(client: &Client) {
    // Longer than the peer's system may wait before it says that it has taken something (delayed ACK).
    client.set_write_timeout(Some(Duration::from_millis(100))).expect("a time");
    let bytes = vec![7; 64 * 1024];
    let error = (0..10_000).find_map(|_| (&*client).write(&bytes).err()).expect("somebody reads");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    client.set_write_timeout(Some(PATIENCE)).expect("a time");
}

#[test]
fn a_peer_that_does_not_read_holds_up_no_new_connection() {
    // A reconnect is what people do about such a peer. It had waited for the old one to take what waits, until the time
    // was over, and then failed for want of time.
    each_kind(|kind| {
        let host = Host::new(kind);
        let (client, stuck) = host.pair(host.builder().connect_config(tight(kind)));
        clog(&client);
        let since = Instant::now();
        let mut fresh = host.connect(&client);
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        echoes(&client, &mut fresh);
        drop(stuck);
    });
}

#[test]
fn a_connection_has_one_descriptor_and_none_is_left_behind() {
    support::alone("connecting::a_connection_has_one_descriptor_and_none_is_left_behind", || {
        each_kind(|kind| {
            let host = Host::new(kind);
            let client = host.client();
            let before = support::descriptors();
            for _ in 0..5 {
                let guest = host.connect(&client);
                // The other end's is one, too.
                assert_eq!(support::descriptors(), before + 2);
                drop(guest);
            }
            assert_eq!(support::descriptors(), before + 1);
            client.close().expect("closed");
            assert_eq!(support::descriptors(), before);
        });
        for place in [Place::V4, Place::V6, Place::Path, Place::Name] {
            let post = crate::datagrams::Post::at(place);
            let client = builder(&post.address).build().expect("a client");
            let before = support::descriptors();
            for _ in 0..5 {
                client.connect(PATIENCE).expect("a socket");
                assert_eq!(support::descriptors(), before + 1);
            }
            drop(client);
            assert_eq!(support::descriptors(), before);
        }
        // Attempts that lost, failed or were late.
        let host = Host::at(Kind::Tcp, Place::V4, 128);
        let hole = BlackHole::new(Place::V6);
        let before = support::descriptors();
        let winner = host.address.ip().expect("an IP address");
        let client = named(vec![nobody(Place::V6), hole.ip, winner]).build().expect("a client");
        let guest = host.connect(&client);
        support::descriptors_become(before + 2);
        drop(guest);
        assert!(client.connect(Duration::ZERO).is_err());
        support::descriptors_become(before);
        let late = named(vec![hole.ip]).build().expect("a client");
        assert!(late.connect(Duration::from_millis(20)).is_err());
        support::descriptors_become(before);
    });
}

#[test]
fn a_black_hole_costs_a_quarter_of_a_second_where_there_is_another_address() {
    for (first, second) in [(Place::V6, Place::V4), (Place::V4, Place::V6)] {
        let hole = BlackHole::new(first);
        let host = Host::at(Kind::Tcp, second, 128);
        let there = host.address.ip().expect("an IP address");
        let quickest = (0..5).find_map(|_| {
            // Another address of the hole's own family does not come in between. Each is a new client: one that has found the
            // hole tries it last.
            let client = named(vec![hole.ip, there]).build().expect("a client");
            let since = Instant::now();
            let guest = host.connect(&client);
            let took = since.elapsed();
            assert!(took >= Duration::from_millis(250), "{took:?}");
            assert_eq!(client.peer_address().and_then(|peer| peer.ip()), Some(there));
            drop(guest);
            // The machine may have other work.
            (took <= Duration::from_millis(300)).then_some(took)
        });
        assert!(quickest.is_some(), "never within 300 ms");
    }
}

#[test]
fn an_address_that_refuses_costs_nothing_and_the_next_one_is_tried() {
    let host = Host::at(Kind::Tcp, Place::V4, 128);
    let there = host.address.ip().expect("an IP address");
    let refusing: Vec<SocketAddr> = (0..5).map(|_| nobody(Place::V6)).chain([nobody(Place::V4), there]).collect();
    let client = named(refusing).build().expect("a client");
    let since = Instant::now();
    let mut guest = host.connect(&client);
    assert!(since.elapsed() < Duration::from_millis(250), "{:?}", since.elapsed());
    echoes(&client, &mut guest);
}

#[test]
fn if_all_refuse_the_last_refusal_is_told() {
    let client = named(vec![nobody(Place::V4), nobody(Place::V6)]).build().expect("a client");
    let error = client.connect(PATIENCE).expect_err("nobody");
    assert!(
        matches!(&error, Error::Connect { source, .. } if source.kind() == ErrorKind::ConnectionRefused),
        "{error}"
    );
    assert!(error.to_string().contains("service.example:1"), "{error}");
}

#[test]
fn names_that_cannot_be_resolved_are_errors_of_the_address() {
    let fails = Resolver::new(|_| Err(std::io::Error::other("no such service")));
    let none = Resolver::new(|_| Ok(Vec::new()));
    let panics = Resolver::new(|_| panic!("on purpose"));
    for resolver in [fails, none, panics] {
        for scheme in ["tcp", "udp"] {
            let address = format!("{scheme}://service.example:1").parse().expect("an address");
            let client = builder(&address).resolver(resolver.clone()).build().expect("a client");
            let error = client.connect(PATIENCE).expect_err("no addresses");
            assert!(matches!(error, Error::Address(_)), "{error}");
            assert!(error.to_string().contains("service.example:1"), "{error}");
        }
    }
}

#[test]
fn no_time_at_all_is_over_at_once_and_all_the_time_there_is_waits_for_nobody() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let client = host.client();
        let since = Instant::now();
        match client.connect(Duration::ZERO) {
            Ok(()) => client.close().expect("closed"),
            Err(Error::Connect { source, .. }) => assert_eq!(source.kind(), ErrorKind::TimedOut),
            Err(Error::Broken { reason, .. }) => {
                assert_eq!(reason, windlass::Reason::Timeout(windlass::Expiry::Handshake));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(since.elapsed() < Duration::from_secs(5));
        let host = Host::new(kind);
        let client = host.client();
        let mut guest = std::thread::scope(|scope| {
            let guest = scope.spawn(|| host.accept());
            client.connect(Duration::MAX).expect("a connection");
            guest.join().expect("no panic")
        });
        client.set_read_timeout(Some(Duration::MAX)).expect("a time");
        client.set_write_timeout(Some(Duration::MAX)).expect("a time");
        echoes(&client, &mut guest);
        client.close().expect("closed");
    });
}

#[test]
fn the_time_of_a_connect_bounds_it_and_is_not_over_early() {
    let time = Duration::from_millis(60);
    let within = |client: &Client| {
        let since = Instant::now();
        let error = client.connect(time).expect_err("nobody answers");
        assert!(since.elapsed() >= time && since.elapsed() < time + Duration::from_secs(2), "{:?}", since.elapsed());
        error
    };
    // Nobody answers the SYN.
    let hole = BlackHole::new(Place::V4);
    let error = within(&builder(&Address::tcp(hole.ip)).build().expect("a client"));
    assert!(matches!(&error, Error::Connect { source, .. } if source.kind() == ErrorKind::TimedOut), "{error}");
    // Nobody answers the hello.
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_tls()) {
        let host = Host::new(kind);
        let error = within(&host.client());
        let reason = windlass::Reason::Timeout(windlass::Expiry::Handshake);
        assert!(matches!(error, Error::Broken { reason: told, .. } if told == reason), "{error}");
    }
    // The resolver takes its time.
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let never = std::sync::Mutex::new(never);
    let resolver = Resolver::new(move |_| {
        let _ = never.lock().expect("no panic").recv_timeout(Duration::from_millis(300));
        Ok(Vec::new())
    });
    let slow = builder(&"tcp://service.example:1".parse().expect("an address")).resolver(resolver);
    let error = within(&slow.build().expect("a client"));
    assert!(matches!(&error, Error::Connect { source, .. } if source.kind() == ErrorKind::TimedOut), "{error}");
}

/// `connect-timeout` of a file did nothing for a client: only the timeout of the call counted.
#[test]
fn the_connect_timeout_of_a_configuration_ends_lookups_connects_handshakes_and_exchanges() {
    let time = Duration::from_millis(60);
    let limits = Limits { connect_timeout: time, ..Limits::default() };
    let fails = |address: &Address, resolver: Option<&Resolver>| {
        let config = support::dialling(address, ConnectConfig { limits: limits.clone(), ..ConnectConfig::default() });
        let mut built = Client::builder(address.clone()).connect_config(config.clone());
        let mut builders = Vec::new();
        if !address.transport().is_tls() {
            let settings = ClientConfig::new(address.clone()).connect_timeout(time);
            builders.push(Client::configured(&settings).expect("it can work"));
        }
        builders.push(built.clone());
        if let Some(resolver) = resolver {
            built = built.resolver(resolver.clone());
            builders = builders.into_iter().map(|builder| builder.resolver(resolver.clone())).collect();
        }
        for builder in builders {
            let client = builder.build().expect("a client");
            let since = Instant::now();
            let error = client.connect(PATIENCE).expect_err("nobody answers");
            assert!(since.elapsed() >= time && since.elapsed() < time + Duration::from_secs(2), "{error}");
            is_late(&error, "connect_timeout");
            let once = client.once(&b"x"[..], AfterRequest::KeepOpen, PATIENCE, |_| Ok(()));
            is_late(&once.expect_err("nor now"), "connect_timeout");
        }
        // The call's own time is over sooner.
        let patient = Limits { connect_timeout: PATIENCE, handshake_timeout: PATIENCE, ..Limits::default() };
        let client = built.connect_config(ConnectConfig { limits: patient, ..config }).build().expect("a client");
        is_late(&client.connect(time).expect_err("nobody answers"), "the timeout of the call");
    };
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let never = std::sync::Mutex::new(never);
    let hangs = Resolver::new(move |_| {
        let _ = never.lock().expect("no panic").recv_timeout(PATIENCE);
        Ok(Vec::new())
    });
    for text in ["tcp://service.example:1", "udp://service.example:1"] {
        fails(&text.parse().expect("an address"), Some(&hangs));
    }
    let hole = BlackHole::new(Place::V4);
    fails(&Address::tcp(hole.ip), None);
    for kind in Kind::ALL.iter().copied() {
        // A backlog that is full, and a peer that accepts nothing and so shakes no hands.
        let host = Host::at(kind, if kind.is_unix() { Place::Path } else { Place::V4 }, 0);
        let _filler = kind.is_unix().then(|| {
            std::os::unix::net::UnixStream::connect(host.address.path().expect("a path")).expect("the first one")
        });
        if kind.is_unix() || kind.is_tls() {
            fails(&host.address, None);
        }
    }
}

/// Whether a connect was given up at its deadline, and says which; a handshake says that it was one.
fn is_late(error: &Error, deadline: &str) {
    match error {
        Error::Connect { source, .. } => {
            assert_eq!(source.kind(), ErrorKind::TimedOut, "{error}");
            assert!(error.to_string().ends_with(&format!("within {deadline}")), "{error}");
        }
        Error::Broken { reason: windlass::Reason::Timeout(windlass::Expiry::Handshake), .. } => {}
        _ => panic!("{error}"),
    }
}

#[test]
fn a_handshake_has_the_time_that_its_own_limit_gives_it() {
    let time = Duration::from_millis(60);
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_tls()) {
        let host = Host::new(kind);
        let limits = Limits { handshake_timeout: time, connect_timeout: PATIENCE, ..Limits::default() };
        let config = support::dialling(&host.address, ConnectConfig { limits, ..ConnectConfig::default() });
        let client = Client::builder(host.address.clone()).connect_config(config).build().expect("a client");
        let since = Instant::now();
        is_late(&client.connect(PATIENCE).expect_err("nobody shakes hands"), "");
        assert!(since.elapsed() >= time && since.elapsed() < time + Duration::from_secs(2), "{:?}", since.elapsed());
    }
}

#[test]
fn while_one_thread_connects_another_one_is_refused_and_disturbs_nothing() {
    let hole = BlackHole::new(Place::V4);
    let diary = Diary::default();
    let client = diary.of(builder(&Address::tcp(hole.ip))).build().expect("a client");
    std::thread::scope(|scope| {
        let connecting = scope.spawn(|| client.connect(PATIENCE));
        diary.told.until_count("the dial", 1);
        assert!(matches!(client.connect(PATIENCE), Err(Error::Connecting)));
        assert!(!client.is_connected());
        client.close().expect("called off");
        assert!(matches!(connecting.join().expect("no panic"), Err(Error::Cancelled)));
    });
    assert_eq!(diary.errors().len(), 2);
}

#[test]
fn options_of_the_socket_and_the_own_address_are_kept_to() {
    let host = Host::at(Kind::Tcp, Place::V4, 128);
    let own = SocketAddr::from(([127, 0, 0, 7], 0));
    let config = windlass::ConnectConfig { bind: Some(own), ..windlass::ConnectConfig::default() };
    let (client, _guest) = host.pair(host.builder().connect_config(config));
    assert_eq!(client.local_address().and_then(|local| local.ip()).map(|ip| ip.ip()), Some(own.ip()));
    let post = crate::datagrams::Post::at(Place::V4);
    let config = DatagramConfig { bind: Some(Address::udp(own)), ..DatagramConfig::default() };
    let client = builder(&post.address).datagram_config(config).build().expect("a client");
    client.connect(PATIENCE).expect("a socket");
    assert_eq!(client.local_address().and_then(|local| local.ip()).map(|ip| ip.ip()), Some(own.ip()));
}
