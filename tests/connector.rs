//! What a connector promises: names, addresses, handshakes and waits that hold nobody up, and an end.

mod support;

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use support::blocking::{Rig, Tale, engine, listen_config, until};
use support::{Echo, Hooks, Kind, PATIENCE, each_kind};
use windlass::{
    Address, Backoff, Bytes, Conn, ConnectConfig, Connector, ConnectorBuilder, ConnectorState, Engine, Error, Limits,
    Reactor, ReactorConfig, Reason, Resolver, Status,
};

/// A state as it was told, and when.
#[derive(Clone, Debug)]
struct Told {
    word: &'static str,
    text: String,
    /// How long it is to wait.
    wait: Option<Duration>,
    at: Instant,
}

/// Waits are short, so that tests are.
fn quick() -> Backoff {
    let (first, max) = (Duration::from_millis(2), Duration::from_millis(20));
    Backoff { first, max, spread: Duration::ZERO, ..Backoff::default() }
}

/// Peers of these tests may never end.
fn dialling(address: &Address, limits: Limits) -> ConnectConfig {
    let limits = Limits { linger_timeout: Duration::from_millis(5), ..limits };
    support::dialling(address, ConnectConfig { limits, ..ConnectConfig::default() })
}

/// A connector that is set up, and all that it tells.
fn builder(address: &Address) -> (ConnectorBuilder, Tale<Told>) {
    let tale = Tale::default();
    let told = tale.clone();
    let builder = Connector::builder(address.clone()).backoff(quick());
    let builder = builder.connect_config(dialling(address, Limits::default())).on_state(move |state| {
        let word = match state {
            ConnectorState::Resolving => "resolving",
            ConnectorState::Connecting(_) => "connecting",
            ConnectorState::Connected(_) => "connected",
            ConnectorState::Failed(_) => "failed",
            ConnectorState::Lost(_) => "lost",
            ConnectorState::Waiting(_) => "waiting",
            ConnectorState::Stopped => "stopped",
            other => panic!("{other}"),
        };
        let wait = if let ConnectorState::Waiting(wait) = state { Some(*wait) } else { None };
        told.tell(Told { word, text: state.to_string(), wait, at: Instant::now() });
    });
    (builder, tale)
}

fn words(tale: &Tale<Told>) -> Vec<&'static str> {
    tale.all().iter().map(|told| told.word).collect()
}

fn until_told(tale: &Tale<Told>, word: &str, count: usize) -> Vec<Told> {
    tale.until(word, |told| told.iter().filter(|told| told.word == word).count() >= count)
}

fn one_reactor() -> Engine {
    Engine::start(engine(1)).expect("an engine")
}

/// Keeps what comes.
fn keeping(heard: &Tale<u8>) -> impl Fn(&Conn<'_>) -> Hooks + Send + Sync + use<> {
    let heard = heard.clone();
    move |_: &Conn<'_>| {
        let heard = heard.clone();
        Hooks::new().data(move |_, data| {
            data.iter().for_each(|byte| heard.tell(*byte));
            data.len()
        })
    }
}

/// An address at which nobody answers, not even to refuse: a listener whose backlog is full drops what comes.
struct BlackHole {
    listener: socket2::Socket,
    _waiting: Vec<socket2::Socket>,
}

impl BlackHole {
    fn new() -> BlackHole {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
        listener.listen(0).expect("it listens");
        let at = listener.local_addr().expect("an address");
        let mut waiting = Vec::new();
        // One fits a backlog of 0; the next ones are dropped, and sent again by the kernel.
        for _ in 0..4 {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a flag");
            let _ = socket.connect(&at);
            waiting.push(socket);
        }
        BlackHole { listener, _waiting: waiting }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("an address").as_socket().expect("an IP address")
    }
}

/// An address that refuses: the port is taken, so that nobody else gets it, and nobody listens. Who asks for SO_REUSEADDR, as
/// listeners do, may listen there later.
fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a port");
    let at = socket.local_addr().expect("an address").as_socket().expect("an IP address");
    (socket, at)
}

fn resolver(addresses: Vec<SocketAddr>) -> Resolver {
    Resolver::new(move |_: &Address| Ok(addresses.clone()))
}

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

// --- connecting ---------------------------------------------------------------------------------------------------

#[test]
fn it_connects_sends_hears_and_stops() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Echo), kind);
        let (engine, heard) = (one_reactor(), Tale::default());
        let (builder, told) = builder(&address);
        let connector = builder.start(engine.least_loaded(), keeping(&heard)).expect("it starts");
        until_told(&told, "connected", 1);
        assert!(connector.connection().is_some() && !connector.is_stopped());
        connector.send(Bytes::from_static(b"hello")).expect("room");
        heard.until_count("the echo", 5);
        assert_eq!(heard.all(), b"hello");
        connector.stop();
        until_told(&told, "stopped", 1);
        assert_eq!(words(&told), ["connecting", "connected", "lost", "stopped"]);
        assert!(connector.is_stopped() && connector.connection().is_none());
        let unsent = connector.send(Bytes::from_static(b"more")).expect_err("it is over");
        assert_eq!(unsent.bytes, &b"more"[..]);
        assert!(matches!(unsent.why, Error::NotConnected));
        until("its connection to be gone", || engine.connections() == 0);
        rig.end(&server);
    });
}

/// The connector watches over the connection, whoever serves it: it hears of its end, and connects again.
#[test]
fn a_handler_that_follows_another_one_is_watched_over_like_the_first() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Echo), kind);
        let (engine, heard) = (one_reactor(), Tale::default());
        let (builder, told) = builder(&address);
        let hears = heard.clone();
        let make = move |_: &Conn<'_>| {
            let (hears, closes) = (hears.clone(), hears.clone());
            let first = Hooks::new().open(|conn| conn.write(b"abc").expect("room"));
            first.data(move |conn, data| {
                let hears = hears.clone();
                let next = Hooks::new().data(move |conn, data| {
                    data.iter().for_each(|byte| hears.tell(*byte));
                    conn.close();
                    data.len()
                });
                let closes = closes.clone();
                conn.set_handler(next.close(move |_, _| closes.tell(b'.'))).expect("an open connection");
                data.len().min(1)
            })
        };
        let connector = builder.start(engine.least_loaded(), make).expect("it starts");
        until_told(&told, "lost", 2);
        connector.stop();
        until_told(&told, "stopped", 1);
        assert_eq!(words(&told)[..5], ["connecting", "connected", "lost", "waiting", "connecting"]);
        assert!(heard.all().starts_with(b"bc.bc."), "{:?}", heard.all());
        until("its connections to be gone", || engine.connections() == 0);
        rig.end(&server);
    });
}

#[test]
fn a_connection_that_ends_comes_back_however_it_ended() {
    each_kind(|kind| {
        let rig = Rig::new();
        let builder_of_server = rig.builder(1).handler(|| {
            |_: &Conn<'_>| {
                Hooks::new().data(|conn, data| {
                    match data {
                        b"a" => conn.abort(),
                        b"c" => conn.close(),
                        _ => conn.finish(),
                    }
                    data.len()
                })
            }
        });
        let (server, address) = rig.listen(builder_of_server, kind);
        let engine = one_reactor();
        let (builder, told) = builder(&address);
        let connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
        for (number, word) in ["c", "a", "f"].into_iter().enumerate() {
            until_told(&told, "connected", number + 1);
            connector.send(Bytes::from_static(word.as_bytes())).expect("room");
            until_told(&told, "lost", number + 1);
        }
        until_told(&told, "connected", 4);
        let round = ["connecting", "connected", "lost", "waiting"];
        assert_eq!(words(&told), [&round[..], &round[..], &round[..], &round[..2]].concat());
        drop(connector);
        until_told(&told, "stopped", 1);
        rig.end(&server);
    });
}

#[test]
fn a_server_that_is_not_there_yet_is_found_when_it_is() {
    each_kind(|kind| {
        let rig = Rig::new();
        // A place where nobody listens, until somebody does.
        let (_taken, free) = refusing();
        let place = if kind.is_unix() { rig.address(kind) } else { kind.of(Address::tcp(free)) };
        let engine = one_reactor();
        let (builder, told) = builder(&place);
        let connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
        let failed = until_told(&told, "failed", 2);
        let text = &failed.iter().find(|told| told.word == "failed").expect("one").text;
        assert!(text.contains(&place.to_string()), "{text}");
        let server = rig.builder(1).address(place).handler(|| |_: &Conn<'_>| Echo).build().expect("a server");
        server.listen().expect("it listens");
        until_told(&told, "connected", 1);
        connector.stop();
        until_told(&told, "stopped", 1);
        rig.end(&server);
    });
}

#[test]
fn the_first_to_answer_is_taken_and_a_black_hole_costs_a_quarter_of_a_second() {
    let hole = BlackHole::new();
    let listener = TcpListener::bind("[::1]:0").expect("a port");
    let engine = one_reactor();
    let (builder, told) = builder(&address("tcp://both.example:1"));
    let builder = builder.resolver(resolver(vec![hole.address(), listener.local_addr().expect("an address")]));
    let began = Instant::now();
    let connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let told = until_told(&told, "connected", 1);
    let took = told.last().expect("the last").at - began;
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(1), "{took:?}");
    let words: Vec<_> = told.iter().map(|told| told.word).collect();
    assert_eq!(words, ["resolving", "connecting", "connecting", "connected"]);
    assert_eq!(engine.connections(), 1);
    drop(connector);
    engine.shutdown(PATIENCE).expect("an end");
}

#[test]
fn an_address_that_refuses_is_followed_by_the_next_at_once() {
    let (_taken, closed) = refusing();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let engine = one_reactor();
    let (builder, told) = builder(&address("tcp://two.example:1"));
    let builder = builder.resolver(resolver(vec![closed, listener.local_addr().expect("an address")]));
    let began = Instant::now();
    let _connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let told = until_told(&told, "connected", 1);
    assert!(told.last().expect("the last").at - began < Duration::from_millis(200));
    assert!(told.iter().all(|told| told.word != "failed"), "{told:?}");
}

#[test]
fn an_attempt_ends_at_its_timeout_and_says_so() {
    let hole = BlackHole::new();
    let engine = one_reactor();
    let place = Address::tcp(hole.address());
    let (builder, told) = builder(&place);
    let limits = Limits { connect_timeout: Duration::from_millis(30), ..Limits::default() };
    let builder = builder.connect_config(dialling(&place, limits));
    let _connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let told = until_told(&told, "failed", 2);
    assert!(told.iter().any(|told| told.word == "failed" && told.text.contains("connect_timeout")), "{told:?}");
    let waited = told[1].at - told[0].at;
    assert!(waited >= Duration::from_millis(29), "{waited:?}");
}

#[test]
fn a_lookup_that_takes_its_time_holds_nobody_up() {
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let slow = Resolver::new(move |_: &Address| {
        let _ = waits.lock().expect("the lock").recv();
        Ok(vec![at])
    });
    let engine = one_reactor();
    let (builder, told) = builder(&address("tcp://slow.example:1"));
    let _connector = builder.resolver(slow).start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    until_told(&told, "resolving", 1);
    // The reactor answers meanwhile.
    assert_eq!(engine.ask(0, |_| 7).expect("an answer"), 7);
    assert_eq!(words(&told), ["resolving"]);
    drop(go_on);
    until_told(&told, "connected", 1);
}

#[test]
fn names_that_cannot_be_resolved_are_told_and_tried_again() {
    let tries = Arc::new(Mutex::new(0));
    let counted = tries.clone();
    let engine = one_reactor();
    let (builder, told) = builder(&address("tcp://nowhere.example:1"));
    let builder = builder.resolver(Resolver::new(move |_: &Address| {
        *counted.lock().expect("the lock") += 1;
        Err(std::io::Error::from(ErrorKind::NotFound))
    }));
    let _connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let told = until_told(&told, "failed", 3);
    assert!(told.iter().filter(|told| told.word == "failed").all(|told| told.text.contains("nowhere.example")));
    assert!(*tries.lock().expect("the lock") >= 3);
}

#[test]
fn a_name_that_resolves_to_all_addresses_reaches_nobody_here() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let engine = one_reactor();
    let (builder, told) = builder(&address("tcp://blocked.example:1"));
    let builder = builder.resolver(Resolver::new(move |_: &Address| Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()])));
    let _connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let told = until_told(&told, "failed", 1);
    let failed = told.iter().find(|told| told.word == "failed").expect("it was told");
    assert!(failed.text.contains("blocked.example") && failed.text.contains("0.0.0.0"), "{}", failed.text);
    listener.set_nonblocking(true).expect("a mode");
    assert!(listener.accept().is_err(), "nobody came");
}

// --- waits --------------------------------------------------------------------------------------------------------

#[test]
fn waits_grow_between_failures_and_are_kept() {
    let (_taken, closed) = refusing();
    let engine = one_reactor();
    let (builder, told) = builder(&Address::tcp(closed));
    let backoff = Backoff { first: Duration::from_millis(8), max: Duration::from_millis(32), ..Backoff::default() };
    let _connector =
        builder.backoff(backoff).start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let told = until_told(&told, "failed", 5);
    let waits = told.windows(2).filter_map(|pair| Some((pair[0].wait?, pair[1].at - pair[0].at)));
    for ((wait, waited), whole) in waits.zip([8, 16, 32, 32].map(Duration::from_millis)) {
        assert!(wait <= whole && wait >= whole / 2, "{wait:?} of {whole:?}");
        assert!(waited >= wait - Duration::from_millis(1), "{waited:?} of {wait:?}");
    }
}

#[test]
fn a_server_that_hangs_up_at_once_is_not_hammered_and_a_stable_one_resets_the_waits() {
    let rig = Rig::new();
    let (server, place) =
        rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Hooks::new().open(|conn| conn.close())), Kind::Tcp);
    let engine = one_reactor();
    for (stable_after, grows) in [(Duration::from_secs(60), true), (Duration::ZERO, false)] {
        let (builder, told) = builder(&place);
        let backoff =
            Backoff { first: Duration::from_millis(2), max: Duration::from_secs(60), stable_after, ..quick() };
        let connector =
            builder.backoff(backoff).start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
        let told = until_told(&told, "connected", 6);
        let fifth = told.iter().filter_map(|told| told.wait).nth(4).expect("the fifth wait");
        assert_eq!(fifth >= Duration::from_millis(15), grows, "{told:?}");
        drop(connector);
    }
    rig.end(&server);
}

/// Connectors that lost one server at the same moment all came back within 24 ms of each other: the wait after a good
/// connection was the first of the growing ones.
#[test]
fn connectors_that_lose_one_server_wait_for_times_that_are_spread_out() {
    for (stable_after, spread) in [(Duration::ZERO, 20), (Duration::from_secs(60), 20), (Duration::ZERO, 0)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let engine = one_reactor();
        let backoff = Backoff { stable_after, spread: Duration::from_secs(spread), ..Backoff::default() };
        let begun: Vec<_> = (0..40)
            .map(|_| {
                let (builder, told) = builder(&Address::tcp(listener.local_addr().expect("an address")));
                let started = builder.backoff(backoff).start(engine.least_loaded(), keeping(&Tale::default()));
                (started.expect("it starts"), told)
            })
            .collect();
        let held: Vec<_> = (0..40).map(|_| listener.accept().expect("a connection")).collect();
        for (_, told) in &begun {
            until_told(told, "connected", 1);
        }
        drop(held);
        let wait = |told: &Tale<Told>| until_told(told, "waiting", 1).iter().find_map(|told| told.wait);
        let mut waits: Vec<_> = begun.iter().map(|(_, told)| wait(told).expect("a wait")).collect();
        waits.sort();
        assert!(waits[0] >= Duration::from_millis(50), "{waits:?}");
        let (first, last) = (waits[0], waits[39]);
        if spread == 0 {
            assert!(last <= Duration::from_millis(100), "{waits:?}");
        } else {
            // That 40 random times lie within one half has a chance of one in 10^10.
            assert!(last - first > Duration::from_secs(10) && last <= Duration::from_secs(20), "{waits:?}");
        }
        engine.shutdown(PATIENCE).expect("an end");
    }
}

#[test]
fn it_gives_up_after_as_many_failures_as_it_may_have() {
    let (_taken, closed) = refusing();
    let engine = one_reactor();
    let (builder, told) = builder(&Address::tcp(closed));
    let backoff = Backoff { attempts_max: Some(3), ..quick() };
    let connector =
        builder.backoff(backoff).start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    until_told(&told, "stopped", 1);
    let round = ["connecting", "failed", "waiting"];
    assert_eq!(words(&told), [&round[..], &round[..], &round[..2], &["stopped"]].concat());
    assert!(connector.is_stopped());
}

#[test]
fn what_the_system_refuses_is_told_alike_over_tcp_and_unix() {
    let (_taken, closed) = refusing();
    let folder = tempfile::tempdir().expect("a folder");
    let (dead, missing) = (folder.path().join("dead"), folder.path().join("missing"));
    drop(std::os::unix::net::UnixListener::bind(&dead).expect("a socket file"));
    let engine = one_reactor();
    let unix = |path: &std::path::Path| Address::unix(path).expect("an address");
    for (place, kind) in [
        (Address::tcp(closed), ErrorKind::ConnectionRefused),
        (unix(&dead), ErrorKind::ConnectionRefused),
        (unix(&missing), ErrorKind::NotFound),
    ] {
        let failures = Tale::default();
        let told = failures.clone();
        let builder = Connector::builder(place.clone()).backoff(quick()).on_state(move |state| match state {
            ConnectorState::Failed(Error::Connect { address, source }) => told.tell((address.clone(), source.kind())),
            ConnectorState::Failed(other) => panic!("{other:?}"),
            _ => {}
        });
        let connector = builder.start(engine.least_loaded(), |_: &Conn<'_>| Echo).expect("it starts");
        let told = failures.until("a failure", |told| !told.is_empty());
        assert_eq!((&*told[0].0, told[0].1), (&place, kind));
        drop(connector);
    }
}

/// It told of each try, 80 times in ten seconds.
#[test]
fn a_full_unix_backlog_is_told_of_once_however_often_it_is_tried() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("full");
    let new = || socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
    let (listener, filler) = (new(), new());
    let at = socket2::SockAddr::unix(&path).expect("a path");
    listener.bind(&at).expect("a free path");
    listener.listen(0).expect("it listens");
    filler.connect(&at).expect("the one place that there is");
    let engine = one_reactor();
    let (builder, told) = builder(&Address::unix(&path).expect("an address"));
    let limits = Limits { connect_timeout: Duration::from_millis(100), ..Limits::default() };
    let builder = builder.connect_config(ConnectConfig { limits, ..ConnectConfig::default() });
    let connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    until_told(&told, "failed", 1);
    assert_eq!(words(&told)[..2], ["connecting", "failed"]);
    drop(connector);
}

// --- ends ---------------------------------------------------------------------------------------------------------

#[test]
fn it_can_be_stopped_whatever_it_does_and_tells_nothing_more() {
    let hole = BlackHole::new();
    let (_taken, closed) = refusing();
    // A peer that never speaks TLS.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (stop_looking, looks) = mpsc::channel::<()>();
    let looks = Mutex::new(looks);
    let slow = Resolver::new(move |_: &Address| {
        let _ = looks.lock().expect("the lock").recv();
        Ok(vec![closed])
    });
    let shaking = Address::tcp(silent.local_addr().expect("an address"));
    let shaking = if cfg!(feature = "tls") { Kind::Tls.of(shaking) } else { shaking };
    let places = [
        (address("tcp://slow.example:1"), Some(slow), "resolving"),
        (Address::tcp(hole.address()), None, "connecting"),
        (Address::tcp(closed), None, "waiting"),
        (shaking, None, "connecting"),
    ];
    let engine = one_reactor();
    for (place, resolver, at) in places {
        let (mut builder, told) = builder(&place);
        if let Some(resolver) = resolver {
            builder = builder.resolver(resolver);
        }
        if at == "waiting" {
            builder = builder.backoff(Backoff { first: PATIENCE, max: PATIENCE, ..Backoff::default() });
        }
        let connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
        until_told(&told, at, 1);
        if place.transport().is_tls() {
            until("the handshake to begin", || engine.connections() == 1);
        }
        connector.stop();
        until_told(&told, "stopped", 1);
        let count = told.count();
        until("its connection to be gone", || engine.connections() == 0);
        engine.ask(0, |_| ()).expect("an answer");
        assert_eq!(told.count(), count, "{:?}", words(&told));
    }
    drop(stop_looking);
    engine.ask(0, |_| ()).expect("an answer");
    let report = engine.shutdown(PATIENCE).expect("an end");
    assert_eq!((report.drained, report.cut), (0, 0));
}

#[test]
fn a_reactor_that_drains_does_not_wait_for_what_only_tries() {
    let hole = BlackHole::new();
    let engine = one_reactor();
    let (builder, told) = builder(&Address::tcp(hole.address()));
    let connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    until_told(&told, "connecting", 1);
    let began = Instant::now();
    engine.shutdown(PATIENCE).expect("an end");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(connector.is_stopped());
    // What is asked of it now comes to nothing.
    connector.stop();
    assert!(connector.send(Bytes::from_static(b"x")).is_err());
}

#[test]
fn a_connection_that_a_drain_ends_does_not_come_back() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Echo), kind);
        let engine = one_reactor();
        let (builder, told) = builder(&address);
        let _connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
        until_told(&told, "connected", 1);
        let report = engine.shutdown(PATIENCE).expect("an end");
        assert_eq!((report.drained, report.cut), (1, 0));
        assert_eq!(words(&told), ["connecting", "connected", "lost", "stopped"]);
        rig.end(&server);
    });
}

#[test]
fn panics_of_handlers_makers_and_callbacks_end_one_connection_and_are_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = Address::tcp(listener.local_addr().expect("an address"));
    let engine = one_reactor();
    let (builder, told) = builder(&place);
    let made = Arc::new(Mutex::new(0));
    let counted = made.clone();
    let connector = builder.start(engine.least_loaded(), move |_: &Conn<'_>| {
        let number = {
            let mut made = counted.lock().expect("the lock");
            *made += 1;
            *made
        };
        match number {
            1 => panic!("make, on purpose"),
            2 => Hooks::new().open(|_| panic!("on_open, on purpose")),
            3 => Hooks::new().open(|conn| conn.close()).close(|_, _| panic!("on_close, on purpose")),
            _ => Hooks::new(),
        }
    });
    let connector = connector.expect("it starts");
    tale_until_open(&connector, &made);
    let counted = engine.snapshots().expect("counters")[0];
    assert_eq!(counted.panics, 3, "{:?}", words(&told));
    drop(connector);
    until_told(&told, "stopped", 1);

    let (builder, _) = self::builder(&place);
    let builder = builder.on_state(|_| panic!("on_state, on purpose"));
    let connector = builder.start(engine.least_loaded(), |_: &Conn<'_>| Hooks::new()).expect("it starts");
    until("it to connect", || connector.connection().is_some());
}

fn tale_until_open(connector: &Connector, made: &Mutex<u32>) {
    until("the fourth to be open", || *made.lock().expect("the lock") == 4 && connector.connection().is_some());
}

#[test]
fn a_link_that_was_handed_on_is_not_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = Address::tcp(listener.local_addr().expect("an address"));
    let engine = one_reactor();
    let (builder, told) = builder(&place);
    let links = Arc::new(Mutex::new(Vec::new()));
    let kept = links.clone();
    let _connector = builder.start(engine.least_loaded(), move |_: &Conn<'_>| {
        let kept = kept.clone();
        Hooks::new().open(move |conn| {
            let kept = kept.clone();
            conn.detach(move |link, _| kept.lock().expect("the lock").push(link));
        })
    });
    until_told(&told, "stopped", 1);
    assert!(told.all().iter().any(|told| told.text.contains(&Reason::Detached.to_string())));
    until("the link", || links.lock().expect("the lock").len() == 1);
}

#[test]
fn it_stops_however_full_the_mailbox_is_and_before_it_has_begun() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Echo), kind);
        let reactor = windlass::ReactorConfig { mailbox_commands_max: 1, ..windlass::ReactorConfig::default() };
        let engine = Engine::start(windlass::EngineConfig { reactor, ..engine(1) }).expect("an engine");
        let (hold, held) = mpsc::channel::<()>();
        let remote = engine.remotes()[0].clone();
        // It is begun and stopped in one batch, since the reactor is held up.
        remote.run(move |_| assert!(held.recv().is_err())).expect("room");
        until("it to be held up", || remote.health().busy.is_some() && remote.health().commands_waiting == 0);
        let (builder, told) = builder(&address);
        let opened = Tale::default();
        let tell = opened.clone();
        let connector = builder.start(&remote, move |_: &Conn<'_>| {
            tell.tell(());
            Hooks::new()
        });
        let connector = connector.expect("room");
        assert!(matches!(remote.run(|_| ()), Err(Error::MailboxFull { .. })));
        connector.stop();
        drop(hold);
        until_told(&told, "stopped", 1);
        assert!(connector.is_stopped());
        until("its connection to be gone", || engine.connections() == 0);
        assert_eq!(opened.count(), 0, "{:?}", words(&told));
        rig.end(&server);
    });
}

#[test]
fn a_weak_handle_keeps_nothing_going() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let engine = one_reactor();
    let (builder, told) = builder(&Address::tcp(listener.local_addr().expect("an address")));
    let connector = builder.start(engine.least_loaded(), |_: &Conn<'_>| Hooks::new()).expect("it starts");
    let weak = connector.downgrade();
    until_told(&told, "connected", 1);
    assert!(weak.upgrade().is_some_and(|connector| connector.connection().is_some()));
    drop(connector);
    until_told(&told, "stopped", 1);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_reactor_that_is_dropped_stops_it_and_takes_its_sockets_along() {
    let hole = BlackHole::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    for (place, at) in [(hole.address(), "connecting"), (listener.local_addr().expect("an address"), "connected")] {
        let mut reactor = windlass::Reactor::new(windlass::ReactorConfig::default()).expect("a reactor");
        let (builder, told) = builder(&Address::tcp(place));
        let connector = builder.start(&reactor.remote(), |_: &Conn<'_>| Hooks::new()).expect("it starts");
        while !told.all().iter().any(|told| told.word == at) {
            reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
        }
        drop(reactor);
        assert!(connector.is_stopped());
        let words = words(&told);
        assert!(!words.contains(&"waiting"), "{words:?}");
        assert_eq!(words.last(), Some(&"stopped"), "{words:?}");
    }
}

#[test]
fn the_end_of_a_good_connection_is_no_failure() {
    let rig = Rig::new();
    let (server, place) =
        rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Hooks::new().open(|conn| conn.close())), Kind::Tcp);
    let engine = one_reactor();
    let (builder, told) = builder(&place);
    let backoff = Backoff { stable_after: Duration::ZERO, attempts_max: Some(1), ..quick() };
    let _connector =
        builder.backoff(backoff).start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    until_told(&told, "connected", 3);
    assert!(!words(&told).contains(&"stopped"));
    rig.end(&server);
}

// --- refusals -----------------------------------------------------------------------------------------------------

#[test]
fn what_cannot_work_is_refused_at_the_start() {
    let engine = one_reactor();
    let start = |builder: ConnectorBuilder| {
        let refused = builder.start(engine.least_loaded(), |_: &Conn<'_>| Echo);
        refused.expect_err("a refusal").to_string()
    };
    for text in ["tcp://:1", "tcp4://:1", "tls://[::]:1", "tcp://0.0.0.0:1"] {
        let all = start(Connector::builder(address(text)));
        assert!(all.contains(&address(text).to_string()) && all.contains("write the host's name"), "{all}");
    }
    let udp = start(Connector::builder(address("udp://127.0.0.1:1")));
    assert!(udp.contains("udp://127.0.0.1:1"), "{udp}");
    let tls = start(Connector::builder(address("tls://127.0.0.1:1")));
    assert!(tls.contains("tls"), "{tls}");
    let tcp = || Connector::builder(address("tcp://127.0.0.1:1"));
    let first = start(tcp().backoff(Backoff { first: Duration::ZERO, ..Backoff::default() }));
    assert!(first.starts_with("first cannot be"), "{first}");
    let max = start(tcp().backoff(Backoff { max: Duration::from_millis(1), ..Backoff::default() }));
    assert!(max.starts_with("max cannot be"), "{max}");
    let none = start(tcp().backoff(Backoff { attempts_max: Some(0), ..Backoff::default() }));
    assert!(none.starts_with("attempts_max cannot be"), "{none}");
    let bound = ConnectConfig { bind: Some(([127, 0, 0, 1], 0).into()), ..ConnectConfig::default() };
    let unix = start(Connector::builder(address("unix:/tmp/windlass-none")).connect_config(bound));
    assert!(unix.contains("bind"), "{unix}");
    engine.shutdown(PATIENCE).expect("an end");
    assert!(matches!(tcp().start(&engine.remotes()[0], |_: &Conn<'_>| Echo), Err(Error::ReactorGone)));
}

// --- TLS ----------------------------------------------------------------------------------------------------------

#[cfg(feature = "aws-lc-rs")]
#[test]
fn a_connection_that_comes_back_resumes_its_session() {
    use support::security;
    use windlass::tls::Pem;
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let rig = Rig::new();
        let identity = (Pem::bytes(security::certificate_pem()), Pem::bytes(security::key_pem()));
        let tls = windlass::ServerTls::builder().certificate(identity.0, identity.1).build().expect("a configuration");
        let config = windlass::ListenConfig { tls: Some(tls), ..listen_config() };
        let (server, address) = rig.listen(rig.builder(1).listen_config(config).handler(|| |_: &Conn<'_>| Echo), kind);
        let engine = one_reactor();
        let resumed = Tale::default();
        let heard = resumed.clone();
        let (builder, told) = builder(&address);
        // With a memory of its own: that of the tests' common one holds other servers' tickets, too.
        let tls = windlass::ClientTls::builder().roots(Pem::bytes(security::certificate_pem())).build();
        let tls = tls.expect("a configuration").for_server(security::NAME).expect("a name");
        let limits = Limits { linger_timeout: Duration::from_millis(5), ..Limits::default() };
        let builder = builder.connect_config(ConnectConfig { tls: Some(tls), limits, ..ConnectConfig::default() });
        let connector = builder.start(engine.least_loaded(), move |conn: &Conn<'_>| {
            heard.tell(conn.tls().is_some_and(|tls| tls.is_resumed()));
            // The tickets come behind the handshake: the connection ends when something has come back.
            Hooks::new().open(|conn| conn.write(b"x").expect("room")).data(|conn, data| {
                conn.close();
                data.len()
            })
        });
        let connector = connector.expect("it starts");
        let resumed = resumed.until_count("three connections", 3);
        assert_eq!(&resumed[..3], [false, true, true]);
        drop(connector);
        until_told(&told, "stopped", 1);
        rig.end(&server);
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_handshake_that_fails_is_told_in_tls_words() {
    let plain = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = Address::tcp(plain.local_addr().expect("an address"));
    let place = Kind::Tls.of(place);
    let engine = one_reactor();
    let (builder, told) = builder(&place);
    let _connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let (mut socket, _) = plain.accept().expect("a connection");
    std::io::Write::write_all(&mut socket, b"this is no TLS, and never will be").expect("a write");
    let told = until_told(&told, "failed", 1);
    let text = &told.iter().find(|told| told.word == "failed").expect("it").text;
    assert!(text.contains(&place.to_string()) && text.contains("TLS"), "{text}");
}

#[test]
fn a_connector_tells_that_it_has_stopped_when_its_reactor_ends_however_that_is() {
    let (hole, refuser) = (BlackHole::new(), refusing());
    let host = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let open = host.local_addr().expect("an address");
    for (what, at, word) in
        [("open", open, "connected"), ("connecting", hole.address(), "connecting"), ("waiting", refuser.1, "waiting")]
    {
        for ends in ["drained", "cut", "dropped", "panicked"] {
            let mut reactor = windlass::Reactor::new(windlass::ReactorConfig::default()).expect("a reactor");
            let (builder, tale) = builder(&Address::tcp(at));
            let connector = builder.start(&reactor.remote(), |_: &Conn<'_>| Echo).expect("it begins");
            while !words(&tale).contains(&word) {
                reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
            }
            match ends {
                "drained" => reactor.shutdown(Duration::from_millis(300)),
                "cut" => reactor.shutdown(Duration::ZERO),
                "dropped" => {}
                _ => {
                    let panics = move || {
                        let _reactor = reactor;
                        panic!("the test");
                    };
                    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
                    assert!(caught.is_err());
                    assert_eq!(words(&tale).last(), Some(&"stopped"), "{what}, {ends}: {:?}", words(&tale));
                    continue;
                }
            }
            if ends != "dropped" {
                reactor.run().expect("a report");
                assert_eq!(words(&tale).last(), Some(&"stopped"), "{what}, {ends}: {:?}", words(&tale));
            }
            drop(reactor);
            let told = words(&tale);
            assert_eq!(told.iter().filter(|word| **word == "stopped").count(), 1, "{what}, {ends}: {told:?}");
            assert_eq!(told.last(), Some(&"stopped"), "{what}, {ends}");
            assert!(connector.is_stopped());
        }
    }
}

/// One whose TLS fails was tried first each time, for ever, and the other addresses never.
#[cfg(feature = "tls")]
#[test]
fn an_address_whose_handshake_fails_is_left_for_the_next_and_tried_last_from_then_on() {
    for how in ["speaks no TLS", "hangs up", "stays silent"] {
        let bad = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = bad.local_addr().expect("an address");
        let came = Arc::new(Mutex::new(0));
        let counts = came.clone();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in bad.incoming().flatten() {
                *counts.lock().expect("the lock") += 1;
                if how == "speaks no TLS" {
                    let _ = std::io::Write::write_all(&mut &stream, b"220 hello\r\n");
                }
                kept.extend((how != "hangs up").then_some(stream));
            }
        });
        let rig = Rig::new();
        let closes = || {
            |_: &Conn<'_>| {
                Hooks::new().data(|conn, data| {
                    conn.close();
                    data.len()
                })
            }
        };
        let (server, good) = rig.listen(rig.builder(1).handler(closes), Kind::Tls);
        let there = good.ip().expect("an IP address");
        let engine = one_reactor();
        let (builder, told) = builder(&address("tls://two.example:1"));
        let backoff = Backoff { stable_after: Duration::ZERO, ..quick() };
        let builder = builder.backoff(backoff).resolver(resolver(vec![at, there]));
        let connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
        for number in 1..4 {
            until_told(&told, "connected", number);
            connector.send(Bytes::from_static(b"x")).expect("room");
            until_told(&told, "lost", number);
        }
        assert_eq!(*came.lock().expect("the lock"), 1, "{how}: {:?}", words(&told));
        assert!(!words(&told).contains(&"failed"), "{how}: {:?}", words(&told));
        drop(connector);
        until_told(&told, "stopped", 1);
        rig.end(&server);
    }
}

#[test]
fn an_address_whose_connections_do_not_last_is_tried_last() {
    let (short, long) =
        (TcpListener::bind("127.0.0.1:0").expect("a port"), TcpListener::bind("127.0.0.1:0").expect("a port"));
    let both = vec![short.local_addr().expect("an address"), long.local_addr().expect("an address")];
    std::thread::spawn(move || short.incoming().for_each(drop));
    let engine = one_reactor();
    let (builder, told) = builder(&address("tcp://two.example:1"));
    let builder = builder.resolver(resolver(both));
    let _connector = builder.start(engine.least_loaded(), keeping(&Tale::default())).expect("it starts");
    let (kept, _) = long.accept().expect("a connection");
    until_told(&told, "connected", 2);
    drop(kept);
    assert_eq!(words(&told)[..5], ["resolving", "connecting", "connected", "lost", "waiting"]);
}

/// Polls the reactor until something holds.
fn poll_until(reactor: &mut Reactor, what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "no {what}");
        reactor.poll_once(Some(Duration::from_millis(5))).expect("a poll");
    }
}

#[test]
fn one_that_begins_on_its_reactor_shares_an_rc_and_lets_go_of_it_when_it_stops() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = Address::tcp(listener.local_addr().expect("an address"));
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let (builder, told) = builder(&address);
    let (made, mut number) = (Rc::new(Cell::new(0)), 0);
    let counted = made.clone();
    let make = move |_: &Conn<'_>| {
        number += 1;
        counted.set(number);
        Hooks::new()
    };
    let connector = builder.start_here(&mut reactor.context(), make).expect("it starts");
    assert_eq!((words(&told).len(), Rc::strong_count(&made)), (0, 2), "it begins later");
    for count in 1..3 {
        poll_until(&mut reactor, "handler", || made.get() == count);
        // It is lost, and made again.
        drop(listener.accept().expect("a connection"));
        poll_until(&mut reactor, "loss", || words(&told).iter().filter(|word| **word == "lost").count() == count);
    }
    connector.stop();
    poll_until(&mut reactor, "end", || connector.is_stopped());
    assert_eq!((Rc::strong_count(&made), words(&told).last().copied()), (1, Some("stopped")));
}

#[test]
fn one_that_begins_on_its_reactor_can_be_stopped_before_it_has_begun_and_ends_with_it() {
    let at = address("tcp://127.0.0.1:1");
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let kept = Rc::new(());
    let start = |reactor: &mut Reactor| {
        let (builder, told) = builder(&at);
        let kept = kept.clone();
        let make = move |_: &Conn<'_>| {
            let _ = &kept;
            Hooks::new()
        };
        (builder.start_here(&mut reactor.context(), make).expect("it starts"), told)
    };
    let (stopped, told) = start(&mut reactor);
    stopped.stop();
    let (dropped, _) = start(&mut reactor);
    drop(dropped);
    poll_until(&mut reactor, "end", || Rc::strong_count(&kept) == 1);
    assert!(stopped.is_stopped());
    assert_eq!(words(&told).last().copied(), Some("stopped"));
    let (last, _) = start(&mut reactor);
    drop(reactor);
    assert_eq!(Rc::strong_count(&kept), 1, "the reactor's end is its own");
    assert!(last.is_stopped());
}

#[test]
fn what_cannot_work_is_refused_on_its_reactor_as_elsewhere() {
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let builder = Connector::builder(address("udp://127.0.0.1:1"));
    let refused = builder.start_here(&mut reactor.context(), |_: &Conn<'_>| Hooks::new()).map(drop);
    assert!(matches!(refused, Err(Error::Transport { .. })), "{refused:?}");
    reactor.shutdown(Duration::ZERO);
    while !matches!(reactor.poll_once(None).expect("a turn"), Status::Stopped(_)) {}
    let builder = Connector::builder(address("tcp://127.0.0.1:1"));
    let refused = builder.start_here(&mut reactor.context(), |_: &Conn<'_>| Hooks::new()).map(drop);
    assert!(matches!(refused, Err(Error::ReactorGone)), "{refused:?}");
}
