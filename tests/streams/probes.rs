//! TCP keepalive: on unless it is switched off, on every socket that carries a connection.

use crate::support::{Echo, Hooks, PATIENCE, World, dialling, each_kind, listening};
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;
use windlass::{Client, Conn, ConnectConfig, Connector, Keepalive, Limits, Link, ListenConfig, SocketOptions};

/// What the system says of a socket's probes: silence before the first, time between them, how many.
fn probes(socket: impl AsFd) -> Option<(Duration, Duration, u32)> {
    let socket = socket2::SockRef::from(&socket);
    socket.keepalive().expect("SO_KEEPALIVE").then(|| {
        let idle = socket.tcp_keepalive_time().expect("TCP_KEEPIDLE");
        let interval = socket.tcp_keepalive_interval().expect("TCP_KEEPINTVL");
        (idle, interval, socket.tcp_keepalive_retries().expect("TCP_KEEPCNT"))
    })
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// What may be said of them, and what comes of it.
fn each_choice(mut scenario: impl FnMut(SocketOptions, Option<(Duration, Duration, u32)>)) {
    let with = |keepalive| SocketOptions { keepalive, ..SocketOptions::default() };
    scenario(SocketOptions::default(), Some((SECONDS(60), SECONDS(15), 9)));
    scenario(with(None), None);
    scenario(
        with(Some(Keepalive { idle: SECONDS(77), interval: SECONDS(7), count: 3 })),
        Some((SECONDS(77), SECONDS(7), 3)),
    );
}

/// The accepted ones inherit it from the listener: none is told anything.
#[test]
fn accepted_connections_are_probed_unless_that_is_switched_off() {
    each_kind(|kind| {
        each_choice(|socket, expected| {
            let expected = if kind.is_unix() { None } else { expected };
            let mut world = World::new();
            let config = ListenConfig { socket, ..ListenConfig::default() };
            let seen = Rc::new(RefCell::new(Vec::new()));
            let note = |seen: &Rc<RefCell<Vec<_>>>| {
                let seen = seen.clone();
                move |conn: &Conn<'_>| {
                    seen.borrow_mut().push(probes(conn));
                    Echo
                }
            };
            let own = world.listen(kind, config.clone(), note(&seen));
            let mut addresses = vec![own.clone()];
            if !kind.is_unix() {
                // Somebody else may have made the listener, as systemd does.
                let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
                let id = world.reactor().context().listen_on(listener, listening(&own, config), note(&seen));
                addresses.push(kind.of(world.reactor().listener_address(id.expect("adopted")).expect("it listens")));
            }
            for address in &addresses {
                let before = seen.borrow().len();
                let mut peer = world.dial(address);
                peer.send_all_while(&mut world, b"hello");
                assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
                assert_eq!(seen.borrow()[before..], [expected], "{address}");
            }
        });
    });
}

/// What the hook of the next test was shown.
static SHOWN: Mutex<Vec<Option<(Duration, Duration, u32)>>> = Mutex::new(Vec::new());

/// A hook sees the socket behind all that was set.
fn show(socket: &socket2::Socket) -> std::io::Result<()> {
    SHOWN.lock().expect("no panic").push(probes(socket));
    Ok(())
}

#[test]
fn clients_of_every_make_are_probed_unless_that_is_switched_off() {
    each_kind(|kind| {
        each_choice(|socket, expected| {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
            let socket = SocketOptions { prepare: Some(show), ..socket };
            let config = dialling(&address, ConnectConfig { socket, ..ConnectConfig::default() });
            let expected = if kind.is_unix() { None } else { expected };
            let seen = Rc::new(RefCell::new(None));
            let told = seen.clone();
            let handler = Hooks::new().open(move |conn| *told.borrow_mut() = Some(probes(&*conn)));
            world.connect(&address, config.clone(), handler);
            world.until("the connection", |_| seen.borrow().is_some());
            assert_eq!(seen.take(), Some(expected));

            SHOWN.lock().expect("no panic").clear();
            let engine = windlass::Engine::start(windlass::EngineConfig { reactors: 1, ..Default::default() });
            let engine = engine.expect("an engine");
            let connector = Connector::builder(address.clone()).connect_config(config.clone());
            let connector = connector.start(engine.least_loaded(), |_: &Conn<'_>| Echo).expect("it starts");
            let shown = || SHOWN.lock().expect("no panic").clone();
            world.until("the connector", |_| shown().len() == 1);
            connector.stop();
            let client = Client::builder(address.clone()).connect_config(config).build().expect("a client");
            std::thread::scope(|scope| {
                let connected = scope.spawn(|| client.connect(PATIENCE));
                world.until("the client", |_| connected.is_finished());
                connected.join().expect("no panic").expect("a connection");
            });
            assert_eq!(shown(), [expected, expected]);
        });
    });
}

/// What is taken over keeps what it has.
#[test]
fn a_socket_that_was_made_elsewhere_keeps_its_options() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let socket = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let link = Link::new(socket, Limits::default()).expect("a link").into_blocking().expect("it blocks");
    assert_eq!(probes(&link), None);
}
