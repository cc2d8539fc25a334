//! Connecting: how a connection of ours begins, and how it fails to.

mod scripted;
mod support;

use scripted::{Does, Shared, limited, on_other, shared};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use support::{Echo, Kind, PATIENCE, Said, World, dialling, each_kind, skip};
use windlass::{
    Address, AddressError, Conn, ConnectConfig, Datagram, DatagramConfig, DatagramHandler, DatagramPeer, Datagrams,
    Error, Expiry, Handler, Limits, ListenConfig, ReactorConfig, Reason, Resolver, SocketOptions, WriteError,
};

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn patient(connect_timeout: Duration) -> ConnectConfig {
    ConnectConfig { limits: Limits { connect_timeout, ..Limits::default() }, ..ConnectConfig::default() }
}

/// A port of 127.0.0.1 on which nobody listens, for a while.
fn dead_port() -> SocketAddr {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    taken.local_addr().expect("an address")
}

/// A listener with the smallest backlog, on which nobody accepts.
fn small_listener(at: &SockAddr) -> Socket {
    let socket = Socket::new(at.domain(), Type::STREAM, None).expect("a socket");
    socket.bind(at).expect("bind");
    socket.listen(0).expect("listen");
    socket
}

#[test]
fn a_connect_opens_and_talks() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let heard = shared(Vec::new());
        let told = heard.clone();
        let wanted = address.clone();
        let dialler = Does::new()
            .on_open(move |conn| {
                assert_eq!(conn.peer_address().as_ref(), Some(&wanted));
                assert_eq!(conn.peer_ip(), wanted.ip());
                conn.write(b"hello").expect("room");
            })
            .on_data(move |conn, data| {
                told.borrow_mut().extend_from_slice(data);
                if told.borrow().len() == 5 {
                    conn.close();
                }
                data.len()
            });
        world.connect(&address, ConnectConfig::default(), dialler);
        let mut reasons = world.until_empty();
        reasons.sort_by_key(|reason| reason.index());
        assert_eq!(reasons, [Reason::PeerClosed, Reason::Local]);
        assert_eq!(*heard.borrow(), b"hello");
        let counters = world.reactor().snapshot();
        assert_eq!((counters.dialled, counters.accepted, counters.opened), (1, 1, 2));
    });
}

#[test]
fn what_the_server_said_before_we_were_told_is_not_missed() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(b"banner").expect("room");
                conn.close();
            })
        });
        let log = world.log.clone();
        world.connect(&address, ConnectConfig::default(), Does::new());
        world.until_empty();
        let said = log.said(0);
        assert_eq!(said, [Said::Open, Said::Data(6), Said::End(0), Said::Close(Reason::PeerClosed)]);
    });
}

/// A name was connected to wherever the system's resolver said, so that nothing could keep a proxy from its own machine.
#[test]
fn a_connect_with_a_resolver_goes_only_to_the_addresses_that_it_returns() {
    let mut world = World::new();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let ip = address.ip().expect("an IP address");
    let named = format!("tcp://nowhere.invalid:{}", ip.port()).parse().expect("an address");
    for (found, ends) in [(vec![ip], 2), (Vec::new(), 3)] {
        let resolver = Resolver::new(move |_: &Address| Ok(found.clone()));
        let handler = world.log.record(Does::new().on_open(|conn| conn.close()));
        let connected = world.reactor().context().connect_with(&named, ConnectConfig::default(), resolver, handler);
        connected.expect("a connect that begins");
        assert_eq!(world.until_empty().len(), ends);
    }
    assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Local)]);
    assert_eq!(world.log.reasons()[2], Reason::Unresolved);
}

#[cfg(feature = "tls")]
#[test]
fn an_attempt_that_lost_is_ended_at_once_and_not_at_its_timeout() {
    let mut world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let found = vec![silent.local_addr().expect("an address"), address.ip().expect("an IP address")];
    let resolver = Resolver::new(move |_: &Address| Ok(found.clone()));
    let named: Address = "tls://localhost:1".parse().expect("an address");
    let handler = world.log.record(Does::new());
    let mut config = dialling(&named, patient(2 * PATIENCE));
    config.limits.handshake_timeout = 2 * PATIENCE;
    world.reactor().context().connect_with(&named, config, resolver, handler).expect("a connect that begins");
    world.until("somebody to win", |world| !world.log.said(0).is_empty());
    assert_eq!(world.log.said(0), [Said::Open]);
    let (mut lost, _) = silent.accept().expect("the first attempt");
    lost.set_nonblocking(true).expect("O_NONBLOCK");
    let mut hello = vec![0; 64 * 1024];
    world.until("its end", |_| matches!(lost.read(&mut hello), Ok(0)));
}

#[test]
fn a_refused_connect_tells_on_close_alone() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = if kind.is_unix() {
            let path = world.path("dead");
            drop(small_listener(&SockAddr::unix(&path).expect("a path")));
            Address::unix(path).expect("a path")
        } else {
            Address::tcp(dead_port())
        };
        let address = kind.of(address);
        world.connect(&address, ConnectConfig::default(), Does::new());
        assert_eq!(world.until_empty(), [Reason::Refused]);
        assert_eq!(world.log.said(0), [Said::Close(Reason::Refused)]);
    });
}

#[test]
fn a_path_where_nothing_is_cannot_be_reached() {
    let mut world = World::new();
    let address = Address::unix(world.path("nothing")).expect("a path");
    world.connect(&address, ConnectConfig::default(), Does::new());
    assert_eq!(world.until_empty(), [Reason::Unreachable]);
}

#[test]
fn a_connect_that_nobody_answers_times_out() {
    let mut world = World::new();
    let listener = small_listener(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into());
    let at = listener.local_addr().expect("an address").as_socket().expect("an IP address");
    // The backlog is full: further SYNs are dropped.
    let mut fillers = Vec::new();
    for _ in 0..3 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        filler.set_nonblocking(true).expect("non-blocking");
        let _ = filler.connect(&at.into());
        fillers.push(filler);
    }
    let since = Instant::now();
    world.connect(&Address::tcp(at), patient(millis(150)), Does::new());
    assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Connect)]);
    let took = since.elapsed();
    assert!(took >= millis(150) && took < millis(1500), "{took:?}");
    assert_eq!(world.log.said(0), [Said::Close(Reason::Timeout(Expiry::Connect))]);
}

/// A Unix listener whose backlog is full, and those who fill it.
fn full_unix(world: &World) -> (Socket, Vec<Socket>, Address) {
    let path = world.path("full");
    let at = SockAddr::unix(&path).expect("a path");
    let listener = small_listener(&at);
    let mut fillers = Vec::new();
    loop {
        let filler = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        filler.set_nonblocking(true).expect("non-blocking");
        match filler.connect(&at) {
            Ok(()) => fillers.push(filler),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                break;
            }
        }
    }
    (listener, fillers, Address::unix(path).expect("a path"))
}

#[test]
fn a_connect_to_a_full_unix_backlog_succeeds_once_there_is_room() {
    let mut world = World::new();
    let (listener, fillers, address) = full_unix(&world);
    let dialler = Does::new().on_open(|conn| {
        conn.write(b"made it").expect("room");
        conn.close();
    });
    world.connect(&address, patient(Duration::from_secs(10)), dialler);
    let since = Instant::now();
    while since.elapsed() < millis(60) {
        world.turn();
    }
    assert_eq!(world.log.said(0), []);
    // Waiting costs some tries, not a spin.
    let turns = world.reactor().snapshot().drives;
    assert!(turns < 30, "{turns} drives in 60 ms");
    for _ in 0..fillers.len() {
        drop(listener.accept().expect("a filler"));
    }
    world.until_open(1);
    let (mut accepted, _) = listener.accept().expect("ours");
    let mut got = String::new();
    accepted.set_nonblocking(true).expect("non-blocking");
    let mut buffer = [0; 64];
    world.until("the end", |_| match accepted.read(&mut buffer) {
        Ok(0) => true,
        Ok(n) => {
            got.push_str(&String::from_utf8_lossy(&buffer[..n]));
            false
        }
        Err(_) => false,
    });
    assert_eq!(got, "made it");
    drop(accepted);
    assert_eq!(world.until_empty(), [Reason::Local]);
}

#[test]
fn a_connect_to_a_unix_backlog_that_stays_full_times_out() {
    let mut world = World::new();
    let (_listener, _fillers, address) = full_unix(&world);
    let since = Instant::now();
    world.connect(&address, patient(millis(100)), Does::new());
    assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Connect)]);
    let took = since.elapsed();
    assert!(took >= millis(100) && took < millis(600), "{took:?}");
}

#[test]
fn a_unix_listener_that_goes_away_while_its_backlog_is_full_refuses() {
    let mut world = World::new();
    let (listener, fillers, address) = full_unix(&world);
    world.connect(&address, patient(Duration::from_secs(10)), Does::new());
    world.turns(3);
    drop((listener, fillers));
    assert_eq!(world.until_empty(), [Reason::Refused]);
}

#[test]
fn the_second_address_of_a_name_is_tried_when_the_first_refuses() {
    let address: Address = "tcp://localhost:1".parse().expect("an address");
    let found = address.resolve().expect("localhost");
    if found.len() < 2 {
        skip(&format!("localhost has only the address {found:?} here"));
        return;
    }
    let mut world = World::new();
    let listener = TcpListener::bind(SocketAddr::new(found[found.len() - 1].ip(), 0)).expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    let address = format!("tcp://localhost:{port}").parse().expect("an address");
    let last = listener.local_addr().expect("an address");
    let dialler = Does::new().on_open(move |conn| {
        assert_eq!(conn.peer_ip(), Some(last));
        conn.pause();
    });
    let id = world.connect(&address, ConnectConfig::default(), dialler);
    world.until_open(1);
    world.turns(5);
    // That the first address has hung up is no news of the second.
    assert_eq!(world.log.said(0), [Said::Open]);
    on_other(&mut world, id, |other| other.abort());
    assert_eq!(world.until_empty(), [Reason::Aborted]);
    assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Aborted)]);
}

#[test]
fn a_connection_of_a_socket_with_itself_is_told_as_such() {
    let mut world = World::new();
    let at = dead_port();
    let config = ConnectConfig { bind: Some(at), ..ConnectConfig::default() };
    world.connect(&Address::tcp(at), config, Does::new());
    assert_eq!(world.until_empty(), [Reason::SelfConnected]);
    assert_eq!(world.log.said(0), [Said::Close(Reason::SelfConnected)]);
    assert_eq!(world.reactor().snapshot().opened, 0);
}

#[test]
fn a_connect_comes_from_the_address_that_it_was_told_to() {
    let mut world = World::new();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |conn: &Conn<'_>| {
        assert_eq!(conn.peer_ip().expect("an IP address").ip().to_string(), "127.0.0.7");
        Echo
    });
    let config = ConnectConfig { bind: Some("127.0.0.7:0".parse().expect("an address")), ..ConnectConfig::default() };
    let dialler = Does::new().on_open(|conn| {
        let ip = conn.local_address().and_then(|address| address.ip()).expect("an IP address");
        assert_eq!(ip.ip().to_string(), "127.0.0.7");
        conn.close();
    });
    world.connect(&address, config, dialler);
    world.until_empty();
    assert_eq!((world.log.made(), world.reactor().snapshot().panics), (2, 0));
}

#[test]
fn an_address_that_cannot_be_bound_is_refused_at_the_call() {
    let mut world = World::new();
    let config = ConnectConfig { bind: Some("192.0.2.1:0".parse().expect("an address")), ..ConnectConfig::default() };
    let refused = world.reactor().connect(&Address::tcp(dead_port()), config, Echo);
    assert!(matches!(refused, Err(Error::Descriptor { .. })), "{refused:?}");
    world.turn();
    assert_eq!(world.reactor().connections(), 0);
}

/// Systems take all addresses for themselves: an empty host in a proxy's request reached what only this machine may.
#[test]
fn all_addresses_are_refused_as_a_target_at_the_call_and_can_still_be_listened_on() {
    let mut world = World::new();
    for text in ["tcp://:1", "tcp4://:1", "tcp6://:1", "tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://[::ffff:0.0.0.0]:1"] {
        let all: Address = text.parse().expect("an address");
        let error = world.reactor().connect(&all, ConnectConfig::default(), Echo).expect_err(text);
        assert!(matches!(error, Error::Address(AddressError::NoTarget(_))), "{error:?}");
        let told = error.to_string();
        assert!(told.contains(&all.to_string()) && told.contains("write the host's name or IP address"), "{told}");
    }
    for text in ["udp://:1", "udp4://:1", "udp://0.0.0.0:1", "udp://[::]:1"] {
        let all: Address = text.parse().expect("an address");
        let error = world.reactor().connect_datagrams(&all, DatagramConfig::default(), Silent).expect_err(text);
        assert!(matches!(error, Error::Address(AddressError::NoTarget(_))), "{error:?}");
        assert!(DatagramPeer::resolve(&all).is_err(), "{text}");
    }
    let make = |_: &Conn<'_>| Echo;
    world.reactor().listen(&"tcp://:0".parse().expect("one"), ListenConfig::default(), make).expect("all addresses");
    world.reactor().bind(&"udp://:0".parse().expect("one"), DatagramConfig::default(), Silent).expect("all addresses");
}

/// A datagram handler that does nothing.
struct Silent;

impl DatagramHandler for Silent {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &Datagram<'_>) {}
}

#[test]
fn a_callback_can_connect_and_the_new_one_opens_later_never_nested() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let there = address.clone();
        let log = world.log.clone();
        let seen = log.clone();
        let dialler = Does::new().on_open(move |conn| {
            let next = log.record(Does::new().on_open(|conn| conn.close()));
            let id =
                conn.connect(&there, dialling(&there, ConnectConfig::default()), next).expect("a connect that begins");
            assert!(conn.other(id).is_none(), "it has not begun yet");
            conn.close();
        });
        world.connect(&address, ConnectConfig::default(), dialler);
        world.until("four ends", |_| seen.reasons().len() == 4);
        assert_eq!(world.reactor().connections(), 0);
    });
}

/// Connects again whenever it ends, so many times.
struct Stubborn {
    address: Address,
    tries: usize,
    log: support::Log,
}

impl Handler for Stubborn {
    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        if self.tries > 0 {
            let next = Stubborn { address: self.address.clone(), tries: self.tries - 1, log: self.log.clone() };
            let next = self.log.record(next);
            conn.connect(&self.address.clone(), ConnectConfig::default(), next).expect("a connect that begins");
        }
    }
}

#[test]
fn a_handler_can_connect_again_in_on_close() {
    let mut world = World::new();
    let address = Address::tcp(dead_port());
    let log = world.log.clone();
    world.connect(&address.clone(), ConnectConfig::default(), Stubborn { address, tries: 20, log });
    assert_eq!(world.until_empty(), [Reason::Refused; 21]);
}

/// Connects again whenever it ends, for ever, and counts what was begun and what has ended.
struct Restless {
    address: Address,
    counts: Shared<(usize, usize)>,
}

impl Handler for Restless {
    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        self.counts.borrow_mut().1 += 1;
        let next = Restless { address: self.address.clone(), counts: self.counts.clone() };
        match conn.connect(&self.address, dialling(&self.address, ConnectConfig::default()), next) {
            Ok(_) => self.counts.borrow_mut().0 += 1,
            Err(refused) => assert!(matches!(refused, Error::ReactorGone | Error::Draining), "{refused}"),
        }
    }
}

#[test]
fn a_handler_that_connects_again_in_on_close_is_told_its_end_when_the_reactor_is_dropped() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let counts = shared((1, 0));
        let restless = Restless { address: address.clone(), counts: counts.clone() };
        world
            .reactor()
            .connect(&address, dialling(&address, ConnectConfig::default()), restless)
            .expect("a connect that begins");
        world.until("two connections", |world| world.reactor().snapshot().opened == 2);
        world.drop_reactor();
        assert_eq!(counts.borrow().0, counts.borrow().1, "begun and ended");
    });
}

#[test]
fn the_reactor_ends_if_its_connections_always_connect_again() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let log = world.log.clone();
        let there = address.clone();
        let dialler = Does::new().on_close(move |conn, _| {
            let refused = conn.connect(&there, ConnectConfig::default(), Echo);
            assert!(matches!(refused, Err(Error::Draining)), "{refused:?}");
        });
        world.connect(&address, ConnectConfig::default(), dialler);
        world.until_open(2);
        world.reactor().shutdown(Duration::from_secs(5));
        world.until_empty();
        assert_eq!((log.made(), world.reactor().snapshot().panics), (2, 0));
    });
}

#[test]
fn a_connect_while_draining_is_refused_and_one_under_way_is_given_up() {
    let mut world = World::new();
    let (_listener, _fillers, address) = full_unix(&world);
    world.connect(&address, patient(Duration::from_secs(10)), Does::new());
    world.turns(2);
    let tried = shared(None);
    let told = tried.clone();
    world.reactor().shutdown(Duration::from_secs(5));
    let there = address.clone();
    world.reactor().after(Duration::ZERO, move |cx| {
        *told.borrow_mut() = Some(cx.connect(&there, ConnectConfig::default(), Echo));
    });
    assert_eq!(world.until_empty(), [Reason::Drain]);
    let refused = world.reactor().connect(&address, ConnectConfig::default(), Echo);
    assert!(matches!(refused, Err(Error::Draining | Error::ReactorGone)), "{refused:?}");
}

#[test]
fn a_connect_above_the_limit_of_connections_is_refused_until_one_ends() {
    each_kind(|kind| {
        let mut world = World::with(ReactorConfig { connections_max: 2, ..ReactorConfig::default() });
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let id = world.connect(&address, ConnectConfig::default(), Does::new());
        world.until_open(2);
        let refused = world.reactor().connect(&address, ConnectConfig::default(), Echo);
        assert!(matches!(refused, Err(Error::Connections { limit: 2 })), "{refused:?}");
        scripted::on_other(&mut world, id, |other| other.close());
        world.until_empty();
        world.connect(&address, ConnectConfig::default(), Does::new());
        world.until_open(2);
    });
}

#[test]
fn another_callback_can_give_up_a_connect_under_way() {
    let mut world = World::new();
    let (_listener, _fillers, address) = full_unix(&world);
    for way in [0, 1, 2] {
        let id = world.connect(&address, patient(Duration::from_secs(10)), Does::new());
        world.turns(2);
        scripted::on_other(&mut world, id, move |other| {
            assert_eq!((other.room(), other.write_some(b"early")), (0, 0));
            assert!(matches!(other.write(b"early"), Err(WriteError::NotOpen)));
            match way {
                0 => other.close(),
                1 => other.finish(),
                _ => other.abort(),
            }
        });
        world.until_empty();
    }
    assert_eq!(world.log.reasons(), [Reason::Local, Reason::Local, Reason::Aborted]);
    assert_eq!(world.log.said(0), [Said::Close(Reason::Local)]);
}

#[test]
fn a_transport_that_is_no_stream_is_refused_at_the_call() {
    let mut world = World::new();
    for address in ["udp://127.0.0.1:9", "unixgram:/tmp/x"] {
        let address: Address = address.parse().expect("an address");
        let refused = world.reactor().connect(&address, ConnectConfig::default(), Echo);
        assert!(matches!(refused, Err(Error::Transport { .. })), "{refused:?}");
    }
}

#[test]
fn accepted_and_dialled_sockets_have_the_buffers_that_were_asked_for() {
    each_kind(|kind| {
        let mut world = World::new();
        let socket = SocketOptions {
            send_buffer_bytes: Some(20_000),
            receive_buffer_bytes: Some(30_000),
            ..SocketOptions::default()
        };
        let sizes = shared(Vec::new());
        let note = {
            let sizes = sizes.clone();
            move |who: &'static str, conn: &Conn<'_>| {
                let fd = conn.as_fd();
                let socket = SockRef::from(&fd);
                let size = (socket.send_buffer_size().expect("a size"), socket.recv_buffer_size().expect("a size"));
                sizes.borrow_mut().push((who, size));
            }
        };
        let config = ListenConfig { socket, ..limited(Limits::default()) };
        let noted = note.clone();
        let address = world.listen(kind, config, move |conn: &Conn<'_>| {
            noted("accepted", conn);
            Echo
        });
        let dialler = Does::new().on_open(move |conn| note("dialled", conn));
        world.connect(&address, ConnectConfig { socket, ..ConnectConfig::default() }, dialler);
        world.until_open(2);
        // Linux doubles what it is told.
        for (who, size) in sizes.borrow().iter() {
            assert_eq!(*size, (40_000, 60_000), "{who}");
        }
    });
}

#[test]
fn two_hundred_connects_at_once_all_open() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        for n in 0..200u8 {
            let dialler =
                Does::new().on_open(move |conn| conn.write(&[n; 9]).expect("room")).on_data(move |conn, data| {
                    assert!(data.iter().all(|byte| *byte == n));
                    if data.len() == 9 {
                        conn.close();
                    }
                    data.len()
                });
            world.connect(&address, ConnectConfig::default(), dialler);
        }
        let reasons = world.until_empty();
        assert_eq!(reasons.len(), 400);
        assert!(reasons.iter().all(|reason| matches!(reason, Reason::Local | Reason::PeerClosed)));
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

/// The handshake had a time of its own behind that of the connect.
#[cfg(feature = "tls")]
#[test]
fn a_handshake_that_is_not_done_at_the_connect_timeout_ends_the_connect() {
    let mut world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = Kind::Tls.of(Address::tcp(silent.local_addr().expect("an address")));
    let since = Instant::now();
    world.connect(&address, dialling(&address, patient(millis(100))), Does::new());
    assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Handshake)]);
    let took = since.elapsed();
    assert!(took >= millis(100) && took < millis(1500), "{took:?}");
    assert_eq!(world.log.said(0), [Said::Close(Reason::Timeout(Expiry::Handshake))]);
}

#[test]
fn what_was_asked_of_a_connection_before_it_opened_holds_when_it_is_open() {
    let mut world = World::new();
    let (listener, fillers, address) = full_unix(&world);
    let id = world.connect(&address, patient(Duration::from_secs(10)), Does::new());
    world.turns(2);
    on_other(&mut world, id, |other| other.pause());
    for _ in 0..fillers.len() {
        drop(listener.accept().expect("a filler"));
    }
    world.until_open(1);
    let (accepted, _) = listener.accept().expect("ours");
    accepted.send(b"hello").expect("room");
    world.turns(5);
    assert_eq!(world.log.said(0), [Said::Open]);
    on_other(&mut world, id, |other| other.resume());
    world.until("the bytes", |world| world.log.said(0) == [Said::Open, Said::Data(5)]);
    on_other(&mut world, id, |other| other.abort());
    world.until_empty();
}
