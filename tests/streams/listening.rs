//! Listeners: where they listen, whom they take, and how many.

use crate::support::{Echo, Heard, Hooks, Peer, World, alone, each_kind, listening, skip};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use windlass::{
    Accept, Address, Admission, Conn, ConnectConfig, Error, Keepalive, Limits, ListenConfig, ListenerId, PauseCause,
    Reactor, ReactorConfig, Reuse, Stack,
};

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Listens with [`greeter`] and tells id and port.
fn listen(world: &mut World, text: &str, config: ListenConfig) -> Result<(ListenerId, u16), Error> {
    let id = world.try_listen(&address(text), config, greeter)?;
    let real = world.reactor().listener_address(id).and_then(|address| address.ip()).expect("it listens");
    Ok((id, real.port()))
}

/// What only this test's listeners say: another test's may have the same port of the other family.
fn greeting() -> Vec<u8> {
    format!("{} {:?}", std::process::id(), std::thread::current().id()).into()
}

/// A handler that says it.
fn greeter(_: &Conn<'_>) -> Hooks {
    Hooks::new().open(|conn| conn.write(&greeting()).expect("room"))
}

/// Whether a peer that connects to `ip` is served here.
fn answers(world: &mut World, ip: SocketAddr) -> bool {
    let Ok(mut peer) = Peer::dial(&Address::tcp(ip)) else { return false };
    world.turns(5);
    let mut heard = [0; 64];
    matches!(peer.try_read(&mut heard), Some(Ok(count)) if heard[..count] == greeting())
}

/// Whether this machine has IPv6; says so if not.
fn has_v6() -> bool {
    let has = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has {
        skip("this machine has no IPv6");
    }
    has
}

fn echoes(world: &mut World, peer: &mut Peer) {
    peer.send_all_while(world, b"hello");
    assert_eq!(peer.read_exact_while(world, 5), b"hello");
}

#[test]
fn port_0_is_told_as_the_real_port() {
    let mut world = World::new();
    let (id, port) = listen(&mut world, "tcp://127.0.0.1:0", ListenConfig::default()).expect("a listener");
    assert_ne!(port, 0);
    let real = Address::tcp((Ipv4Addr::LOCALHOST, port).into());
    assert_eq!(world.reactor().context().listeners(), [(id, real.clone())]);
    assert_eq!(world.reactor().context().listener_address(id), Some(real));
    assert!(answers(&mut world, (Ipv4Addr::LOCALHOST, port).into()));
}

#[test]
fn each_family_is_reached_at_its_own_address() {
    for text in ["tcp://127.0.0.1:0", "tcp4://127.0.0.1:0", "tcp4://:0", "tcp4://localhost:0"] {
        let mut world = World::new();
        let (_, port) = listen(&mut world, text, ListenConfig::default()).expect(text);
        assert!(answers(&mut world, (Ipv4Addr::LOCALHOST, port).into()), "{text} over IPv4");
        assert!(!answers(&mut world, (Ipv6Addr::LOCALHOST, port).into()), "{text} over IPv6");
    }
    for text in ["tcp://[::1]:0", "tcp6://[::1]:0", "tcp6://[::]:0", "tcp6://:0"] {
        if has_v6() {
            let mut world = World::new();
            let (_, port) = listen(&mut world, text, ListenConfig::default()).expect(text);
            assert!(answers(&mut world, (Ipv6Addr::LOCALHOST, port).into()), "{text} over IPv6");
            assert!(!answers(&mut world, (Ipv4Addr::LOCALHOST, port).into()), "{text} over IPv4");
        }
    }
}

#[test]
fn all_addresses_are_dual_stack_unless_asked_otherwise() {
    if !has_v6() {
        return;
    }
    for text in ["tcp://[::]:0", "tcp://:0"] {
        let mut world = World::new();
        let (_, port) = listen(&mut world, text, ListenConfig::default()).expect(text);
        assert!(answers(&mut world, (Ipv4Addr::LOCALHOST, port).into()), "{text} over IPv4");
        assert!(answers(&mut world, (Ipv6Addr::LOCALHOST, port).into()), "{text} over IPv6");
        let mut world = World::new();
        let only = ListenConfig { stack: Stack::V6Only, ..ListenConfig::default() };
        let (_, port) = listen(&mut world, text, only).expect(text);
        assert!(!answers(&mut world, (Ipv4Addr::LOCALHOST, port).into()), "{text} over IPv4, V6Only");
        assert!(answers(&mut world, (Ipv6Addr::LOCALHOST, port).into()), "{text} over IPv6, V6Only");
    }
}

#[test]
fn an_address_in_use_is_told_and_its_owner_undisturbed() {
    each_kind(|kind| {
        let mut world = World::new();
        let taken = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let error = world.try_listen(&taken, ListenConfig::default(), |_: &Conn<'_>| Echo).expect_err("it is taken");
        let Error::Listen { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");
        let mut peer = world.dial(&taken);
        echoes(&mut world, &mut peer);
        assert_eq!(world.reactor().context().listeners().len(), 1);
    });
}

#[test]
fn a_port_can_be_shared_if_all_ask_for_it() {
    let mut world = World::new();
    let shared = ListenConfig { reuse: Reuse::Port, ..ListenConfig::default() };
    let (_, port) = listen(&mut world, "tcp://127.0.0.1:0", shared.clone()).expect("a listener");
    let text = format!("tcp://127.0.0.1:{port}");
    listen(&mut world, &text, shared).expect("another one");
    listen(&mut world, &text, ListenConfig::default()).expect_err("one that does not ask");
}

#[test]
fn a_socket_that_listens_already_is_taken_over() {
    let mut world = World::new();
    let socket = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let ip = socket.local_addr().expect("an address");
    let id = world.reactor().context().listen_on(socket, ListenConfig::default(), greeter).expect("taken");
    assert_eq!(world.reactor().listener_address(id), Some(Address::tcp(ip)));
    assert!(answers(&mut world, ip));
    let unbound = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let error = world.reactor().context().listen_on(unbound, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let error = error.expect_err("no stream listener");
    assert!(matches!(error, Error::Descriptor { .. }), "{error}");
}

/// A maker that refuses everybody.
struct Closed;

impl Accept for Closed {
    type Handler = Echo;

    fn admit(&mut self, peer: &windlass::Peer<'_>) -> Admission {
        match (peer.ip(), peer.credentials()) {
            (Some(ip), None) => assert!(ip.ip().is_loopback() && ip.port() != 0),
            (None, Some(who)) => assert_eq!(who.pid, i32::try_from(std::process::id()).expect("a pid")),
            other => panic!("{other:?}"),
        }
        Admission::Refuse
    }

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        unreachable!("nobody was admitted")
    }
}

#[test]
fn a_peer_that_admit_refuses_is_closed_without_a_handler_and_told_to_the_listener() {
    each_kind(|kind| {
        let mut world = World::new();
        let closed = world.listen(kind, ListenConfig::default(), Closed);
        for _ in 0..3 {
            let mut peer = world.dial(&closed);
            assert_eq!(peer.read_to_close_while(&mut world), b"");
        }
        world.until_empty();
        let counters = world.reactor().snapshot();
        assert_eq!((counters.accepted, counters.refused, counters.opened, counters.panics), (3, 3, 0, 0));
        assert_eq!(world.log.made(), 0);
        let heard = world.log.heard();
        assert!(heard.len() == 3 && heard.iter().all(|heard| matches!(heard, Heard::Failed(_))), "{heard:?}");
    });
}

#[test]
fn a_full_listener_pauses_and_resumes_when_a_connection_ends() {
    each_kind(|kind| {
        let mut world = World::new();
        let config = ListenConfig { connections_max: 2, ..ListenConfig::default() };
        let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
        let other = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let first = world.dial(&address);
        let mut second = world.dial(&address);
        let mut third = world.dial(&address);
        let mut fourth = world.dial(&address);
        world.until_open(2);
        world.turns(10);
        assert_eq!((world.reactor().connections(), world.log.made()), (2, 2));
        assert_eq!(world.log.heard(), [Heard::Paused(PauseCause::ConnectionLimit)]);
        // The limit is that listener's alone.
        let mut elsewhere = world.dial(&other);
        echoes(&mut world, &mut elsewhere);

        drop(first);
        echoes(&mut world, &mut third);
        world.turns(5);
        assert_eq!(world.log.open(), 3);
        echoes(&mut world, &mut second);
        drop((second, third));
        echoes(&mut world, &mut fourth);
        world.until("accepting to go on", |world| world.log.heard().last() == Some(&Heard::Resumed));
        let mut fifth = world.dial(&address);
        echoes(&mut world, &mut fifth);
        assert!(world.log.heard().len() <= 4, "told on change, not per try: {:?}", world.log.heard());
    });
}

#[test]
fn a_full_reactor_pauses_its_listeners_and_refuses_to_connect() {
    each_kind(|kind| {
        let mut world = World::with(ReactorConfig { connections_max: 3, ..ReactorConfig::default() });
        let addresses = [0, 1].map(|_| world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo));
        let mut peers: Vec<Peer> = (0..10).map(|number| world.dial(&addresses[number % 2])).collect();
        world.until_open(3);
        world.turns(10);
        assert_eq!((world.reactor().connections(), world.log.made()), (3, 3));
        let refused = world.reactor().connect(&addresses[0], ConnectConfig::default(), Echo).expect_err("it is full");
        assert!(matches!(refused, Error::Connections { limit: 3 }), "{refused}");
        // One after the other is served, whichever listener it came to, and never more than three.
        for served in 1..=10 {
            let mut answer = [0; 5];
            for peer in &mut peers {
                assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
            }
            let mut ready = None;
            world.until("somebody to be served", |world| {
                assert!(world.reactor().connections() <= 3);
                ready = peers.iter_mut().position(|peer| peer.try_read(&mut answer).is_some());
                ready.is_some()
            });
            peers.remove(ready.expect("somebody"));
            world.until("the next to come", |world| world.log.reasons().len() == served);
        }
        world.until_empty();
        assert_eq!(world.reactor().snapshot().opened, 10);
    });
}

#[test]
fn a_listener_can_be_paused_resumed_and_removed_while_its_connections_live() {
    each_kind(|kind| {
        let mut world = World::new();
        let wanted = world.free_address(kind);
        let id = world.try_listen(&wanted, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        let mut first = world.dial(&address);
        echoes(&mut world, &mut first);

        world.reactor().context().pause_listener(id).expect("it lives");
        world.turns(2);
        let mut second = world.dial(&address);
        world.turns(10);
        assert_eq!(world.log.made(), 1);
        echoes(&mut world, &mut first);
        world.reactor().context().resume_listener(id).expect("it lives");
        echoes(&mut world, &mut second);

        world.reactor().context().remove_listener(id).expect("it lives");
        world.turns(2);
        assert!(Peer::dial(&address).is_err(), "nobody listens any more");
        echoes(&mut world, &mut first);
        echoes(&mut world, &mut second);
        let heard = [Heard::Paused(PauseCause::Asked), Heard::Resumed, Heard::Ended(None)];
        assert_eq!(world.log.heard(), heard);
        assert_eq!(world.reactor().listener_address(id), None);
        let mut cx = world.reactor().context();
        assert!(matches!(cx.remove_listener(id), Err(Error::Gone)));
        assert!(matches!(cx.pause_listener(id), Err(Error::Gone)));
        assert!(matches!(cx.resume_listener(id), Err(Error::Gone)));
        assert!(cx.listeners().is_empty());
        // The address is free again.
        world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
        let mut third = world.dial(&address);
        echoes(&mut world, &mut third);
    });
}

#[test]
fn a_released_listener_still_listens() {
    each_kind(|kind| {
        let mut world = World::new();
        let mut heir = World::new();
        let wanted = world.free_address(kind);
        let id = world.try_listen(&wanted, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        let (send, receive) = std::sync::mpsc::channel();
        let then = move |fd| send.send(fd).expect("a taker");
        world.reactor().context().release_listener(id, then).expect("it lives");
        world.turns(2);
        let mut waiting = world.dial(&address);
        let fd = receive.try_recv().expect("the socket");
        let recorded =
            heir.reactor().context().listen_on(fd, listening(&address, ListenConfig::default()), |_: &Conn<'_>| Echo);
        recorded.expect("taken over");
        echoes(&mut heir, &mut waiting);
        assert_eq!(world.log.made(), 0);
    });
}

#[test]
fn a_panic_of_whoever_takes_a_released_listener_is_counted_and_ends_nothing_else() {
    let mut world = World::new();
    let stays = world.listen(crate::support::Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let wanted = world.free_address(crate::support::Kind::Tcp);
    let id = world.try_listen(&wanted, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
    world.reactor().context().release_listener(id, |_| panic!("expected")).expect("it lives");
    world.until("the panic", |world| world.reactor().snapshot().panics == 1);
    assert!(world.reactor().listener_address(id).is_none());
    let mut peer = world.dial(&stays);
    echoes(&mut world, &mut peer);
}

#[test]
fn want_of_descriptors_pauses_accepting_and_loses_nobody() {
    alone("listening::want_of_descriptors_pauses_accepting_and_loses_nobody", || {
        each_kind(|kind| {
            let mut world = World::new();
            // The pause is longer than the test: a descriptor that comes free must end it.
            let config = ListenConfig { starved_pause: Duration::from_secs(60), ..ListenConfig::default() };
            let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
            let mut peers: Vec<Peer> = (0..4).map(|_| world.dial(&address)).collect();
            let old = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            // Room for two more: the lowest free numbers.
            let spare = [0, 1].map(|_| world.reactor().as_fd().try_clone_to_owned().expect("a descriptor"));
            let next = spare.iter().map(AsRawFd::as_raw_fd).max().expect("two") as u64 + 1;
            drop(spare);
            let tight = rustix::process::Rlimit { current: Some(next), ..old };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, tight).expect("a lower limit");
            world.until_open(2);
            world.turns(20);
            assert_eq!(world.log.open(), 2);
            let emfile = rustix::io::Errno::MFILE.raw_os_error();
            assert_eq!(world.log.heard(), [Heard::Paused(PauseCause::Starved(emfile))], "told once");
            assert_eq!(world.reactor().snapshot().accepts_starved, 1, "it does not spin");
            // Both ends of one connection come free.
            drop(peers.remove(0));
            for peer in &mut peers {
                echoes(&mut world, peer);
            }
            rustix::process::setrlimit(rustix::process::Resource::Nofile, old).expect("the old limit");
            drop(peers);
            world.until_empty();
            assert_eq!(world.reactor().snapshot().opened, 4);
            let mut next = world.dial(&address);
            echoes(&mut world, &mut next);
            assert_eq!(world.log.heard().last(), Some(&Heard::Resumed));
        });
    });
}

#[test]
fn addresses_that_cannot_be_listened_on_are_refused_and_named() {
    let mut world = World::new();
    let cases = [
        ("udp://127.0.0.1:0", "udp://127.0.0.1:0 cannot be used here: "),
        ("unixgram:/tmp/x", "unixgram:/tmp/x cannot be used here: "),
        ("tcp://192.0.2.1:80", "cannot listen on tcp://192.0.2.1:80: "),
        ("unix:/no/such/directory/socket", "cannot listen on unix:/no/such/directory/socket: "),
        ("tcp://name.invalid:80", "cannot resolve \"tcp://name.invalid:80\": "),
    ];
    for (text, begin) in cases {
        let error = world.try_listen(&address(text), ListenConfig::default(), |_: &Conn<'_>| Echo);
        let error = error.expect_err(text).to_string();
        assert!(error.starts_with(begin), "{error}");
    }
    for text in ["", "127.0.0.1:80", "http://x:80", "tcp://127.0.0.1", "tcp://127.0.0.1:70000", "tcp://::1:80", "unix:"]
    {
        let error = text.parse::<Address>().expect_err(text).to_string();
        assert!(error.contains(&format!("{text:?}")), "{error}");
    }
    assert!(world.reactor().context().listeners().is_empty());
}

#[test]
fn configurations_that_cannot_work_are_refused_and_the_field_is_named() {
    let mut world = World::new();
    let limits = |change: fn(&mut Limits)| {
        let mut config = ListenConfig::default();
        change(&mut config.limits);
        config
    };
    let listen = |change: fn(&mut ListenConfig)| {
        let mut config = ListenConfig::default();
        change(&mut config);
        config
    };
    let cases = [
        ("inbox_bytes_max", limits(|limits| limits.inbox_bytes_max = 0)),
        ("outbox_bytes_high", limits(|limits| limits.outbox_bytes_high = 0)),
        ("outbox_bytes_low", limits(|limits| limits.outbox_bytes_low = 256 * 1024 + 1)),
        ("outbox_bytes_max", limits(|limits| limits.outbox_bytes_max = 300 * 1024)),
        ("bytes_per_turn", limits(|limits| limits.bytes_per_turn = 0)),
        ("reads_per_turn", limits(|limits| limits.reads_per_turn = 0)),
        ("idle_timeout", limits(|limits| limits.idle_timeout = Some(Duration::ZERO))),
        ("lifetime", limits(|limits| limits.lifetime = Some(Duration::ZERO))),
        ("connect_timeout", limits(|limits| limits.connect_timeout = Duration::ZERO)),
        ("handshake_timeout", limits(|limits| limits.handshake_timeout = Duration::ZERO)),
        ("write_stall_timeout", limits(|limits| limits.write_stall_timeout = Duration::ZERO)),
        ("linger_timeout", limits(|limits| limits.linger_timeout = Duration::ZERO)),
        ("linger_total", limits(|limits| limits.linger_total = Duration::ZERO)),
        ("backlog", listen(|config| config.backlog = 0)),
        ("accepts_per_turn", listen(|config| config.accepts_per_turn = 0)),
        ("connections_max", listen(|config| config.connections_max = 0)),
        ("starved_pause", listen(|config| config.starved_pause = Duration::ZERO)),
        ("unix_mode", listen(|config| config.unix_mode = 0o1777)),
        ("unix_group", listen(|config| config.unix_group = Some(u32::MAX))),
    ];
    for (field, config) in cases {
        let here = address("tcp://127.0.0.1:0");
        let connect = ConnectConfig { limits: config.limits.clone(), ..ConnectConfig::default() };
        let limits_are_bad = connect.validate().is_err();
        let error = world.try_listen(&here, config, |_: &Conn<'_>| Echo).expect_err(field).to_string();
        assert!(error.starts_with(&format!("{field} cannot be ")), "{error}");
        if limits_are_bad {
            let error = world.reactor().connect(&here, connect, Echo).expect_err(field).to_string();
            assert!(error.starts_with(&format!("{field} cannot be ")), "{error}");
        }
    }
    let reactors = [
        ("events_per_turn", ReactorConfig { events_per_turn: 0, ..ReactorConfig::default() }),
        ("mailbox_commands_max", ReactorConfig { mailbox_commands_max: 0, ..ReactorConfig::default() }),
        ("commands_per_turn", ReactorConfig { commands_per_turn: 0, ..ReactorConfig::default() }),
        ("connections_max", ReactorConfig { connections_max: 0, ..ReactorConfig::default() }),
    ];
    for (field, config) in reactors {
        let error = Reactor::new(config).expect_err(field).to_string();
        assert!(error.starts_with(&format!("{field} cannot be ")), "{error}");
    }
}

#[test]
fn limits_of_a_live_connection_can_be_changed_and_bad_ones_change_nothing() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            Hooks::new().open(move |conn| {
                let bad = Limits { outbox_bytes_max: 1, ..Limits::default() };
                assert!(matches!(conn.set_limits(bad.into()), Err(Error::Config { field: "outbox_bytes_max", .. })));
                assert_eq!(conn.room(), Limits::default().outbox_bytes_max);
                let idle = Limits { idle_timeout: Some(Duration::from_millis(50)), ..Limits::default() };
                conn.set_limits(idle.into()).expect("good limits");
            })
        });
        let _peer = world.dial(&address);
        world.until_open(1);
        assert_eq!(world.until_empty(), [windlass::Reason::Timeout(windlass::Expiry::Idle)]);
    });
}

#[test]
fn socket_options_reach_accepted_sockets() {
    each_kind(|kind| {
        let mut world = World::new();
        let mut config = ListenConfig::default();
        config.socket.keepalive =
            Some(Keepalive { idle: Duration::from_secs(77), interval: Duration::from_secs(7), count: 3 });
        config.socket.prepare = Some(|socket| socket.set_recv_buffer_size(50_000));
        let address = world.listen(kind, config, move |conn: &Conn<'_>| {
            let socket = socket2::SockRef::from(conn);
            if !kind.is_unix() {
                assert!(socket.tcp_nodelay().expect("TCP_NODELAY"), "on by default");
                assert!(socket.keepalive().expect("SO_KEEPALIVE"));
                assert_eq!(socket.tcp_keepalive_time().expect("TCP_KEEPIDLE"), Duration::from_secs(77));
                assert_eq!(socket.recv_buffer_size().expect("SO_RCVBUF"), 100_000, "Linux doubles it");
            }
            assert!(socket.nonblocking().expect("O_NONBLOCK"));
            Echo
        });
        let mut peer = world.dial(&address);
        echoes(&mut world, &mut peer);
    });
}
