//! Connections that the reactor dials, and what becomes of them when the other side fails.

use super::bytes::pattern;
use crate::support::{Echo, Hooks, Kind, Log, Peer, Said, Sink, World, dialling, each_kind, each_kind_at_once, skip};
use crate::timeouts::until_with;
use socket2::{Domain, SockAddr, Socket, Type};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::{Address, Conn, ConnectConfig, Error, Expiry, Handler, Limits, ListenConfig, Reason, Undelivered};

/// A listener that is no reactor's: the test accepts by hand.
struct Host {
    socket: Socket,
    address: Address,
    kind: Kind,
}

impl Host {
    fn new(world: &mut World, kind: Kind, backlog: i32) -> Host {
        let host = Host::deaf(world, kind);
        host.socket.listen(backlog).expect("a listener");
        host
    }

    /// One that holds its address and does not listen: nobody else can be reached there meanwhile.
    fn deaf(world: &mut World, kind: Kind) -> Host {
        let wanted = world.free_address(kind);
        let (domain, at) = match wanted.path() {
            Some(path) => (Domain::UNIX, SockAddr::unix(path).expect("a path")),
            None => (Domain::IPV4, SockAddr::from(wanted.ip().expect("an address"))),
        };
        let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
        socket.bind(&at).expect("a free address");
        socket.set_nonblocking(true).expect("a non-blocking socket");
        let address = match socket.local_addr().expect("an address").as_socket() {
            Some(ip) => kind.of(Address::tcp(ip)),
            None => wanted,
        };
        Host { socket, address, kind }
    }

    /// Accepts the next connection, while the world turns.
    fn accept_while(&self, world: &mut World) -> Peer {
        let mut accepted = None;
        world.until("a connection at the host", |_| {
            accepted = self.socket.accept().ok();
            accepted.is_some()
        });
        let (socket, _) = accepted.expect("a connection");
        socket.set_nonblocking(true).expect("a non-blocking socket");
        Peer::host(socket, self.kind)
    }

    /// Fills the backlog, so that who connects next must wait.
    fn fill(&self) -> Vec<Socket> {
        let at = self.socket.local_addr().expect("an address");
        let mut waiting = Vec::new();
        for _ in 0..8 {
            let socket = Socket::new(at.domain(), Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a non-blocking socket");
            let _ = socket.connect(&at);
            waiting.push(socket);
        }
        waiting
    }
}

fn connect_within(timeout: Duration) -> ConnectConfig {
    let limits = Limits { connect_timeout: timeout, ..Limits::default() };
    ConnectConfig { limits, ..ConnectConfig::default() }
}

#[test]
fn a_dialled_connection_is_told_open_and_serves_like_an_accepted_one() {
    each_kind(|kind| {
        let mut world = World::new();
        let host = Host::new(&mut world, kind, 16);
        let id = world.connect(&host.address.clone(), ConnectConfig::default(), Echo);
        assert_eq!(world.reactor().connections(), 1);
        let mut peer = host.accept_while(&mut world);
        let bytes = pattern(100_000);
        peer.send_all_while(&mut world, &bytes);
        assert!(peer.read_exact_while(&mut world, bytes.len()) == bytes);
        assert_eq!(world.log.id(0), id);
        peer.finish();
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        let counters = world.reactor().snapshot();
        assert_eq!((counters.dialled, counters.opened, counters.accepted), (1, 1, 0));
    });
}

#[test]
fn both_ends_may_live_in_one_reactor_and_know_each_other() {
    each_kind(|kind| {
        let mut world = World::new();
        let peers = Rc::new(Cell::new(None));
        let seen = peers.clone();
        let address = world.listen(kind, ListenConfig::default(), move |conn: &Conn<'_>| {
            peers.set(Some((conn.peer_address(), conn.local_address(), conn.peer_ip())));
            Echo
        });
        let there = address.clone();
        let hooks = Hooks::new().open(move |conn| {
            conn.write(b"ping").expect("room");
            assert_eq!(conn.peer_address(), Some(there.clone()));
            assert_eq!(conn.peer_ip(), there.ip());
        });
        let hooks = hooks.data(|conn, data| {
            assert_eq!(data, b"ping");
            conn.close();
            data.len()
        });
        world.connect(&address, ConnectConfig::default(), hooks);
        world.until("both to end", |world| world.log.reasons().len() == 2);
        let (peer, local, ip) = seen.take().expect("an accepted connection");
        assert_eq!(local, Some(address.clone()));
        if kind.is_unix() {
            assert_eq!((peer, ip), (Some(kind.of(Address::unix_unnamed())), None));
        } else {
            assert_eq!(peer.and_then(|peer| peer.ip()), ip);
        }
        assert_eq!(world.reactor().connections(), 0);
    });
}

#[test]
fn to_dial_nobody_is_told_as_refused() {
    each_kind(|kind| {
        let mut world = World::new();
        let host = Host::deaf(&mut world, kind);
        let address = host.address.clone();
        for _ in 0..20 {
            world.connect(&address, ConnectConfig::default(), Echo);
        }
        world.until_empty();
        assert_eq!(world.log.reasons(), [Reason::Refused; 20]);
        assert_eq!(world.log.said(0), [Said::Close(Reason::Refused)]);
        assert_eq!(world.reactor().snapshot().closed_for(Reason::Refused), 20);
    });
}

#[test]
fn a_path_without_a_socket_is_told_as_unreachable() {
    let mut world = World::new();
    let nothing = Address::unix(world.path("nothing")).expect("a path");
    world.connect(&nothing, ConnectConfig::default(), Echo);
    assert_eq!(world.until_empty(), [Reason::Unreachable]);
    assert_eq!(world.log.said(0), [Said::Close(Reason::Unreachable)]);
}

#[test]
fn a_network_without_a_route_is_told_as_unreachable() {
    let nowhere = "[2001:db8::1]:9";
    // A datagram socket's connect asks the routing table and sends nothing.
    let probe = UdpSocket::bind("[::]:0").map(|probe| probe.connect(nowhere).map_err(|error| error.kind()));
    if !matches!(probe, Ok(Err(std::io::ErrorKind::NetworkUnreachable))) {
        return skip("this machine has no IPv6, or a route to everywhere");
    }
    let mut world = World::new();
    let address = format!("tcp://{nowhere}").parse().expect("an address");
    world.connect(&address, ConnectConfig::default(), Echo);
    assert_eq!(world.until_empty(), [Reason::Unreachable]);
}

#[test]
fn a_connect_that_nobody_answers_times_out() {
    each_kind_at_once(|kind| {
        let timeout = Duration::from_millis(200);
        let mut world = World::new();
        let host = Host::new(&mut world, kind, 0);
        let _waiting = host.fill();
        let since = Instant::now();
        world.connect(&host.address.clone(), connect_within(timeout), Echo);
        world.turns(3);
        assert_eq!((world.reactor().connections(), world.log.said(0)), (1, vec![]), "it still connects");
        let longest = until_with(&mut world, "it to end", |world| world.log.reasons().len() == 1);
        let took = since.elapsed();
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Connect)]);
        assert!(took >= timeout - Duration::from_millis(2), "{took:?}");
        let late = took.saturating_sub(timeout);
        assert!(
            late <= timeout / 50 + longest * 2 + Duration::from_millis(3),
            "{late:?} late, a turn took {longest:?}"
        );
        assert_eq!(world.log.said(0), [Said::Close(Reason::Timeout(Expiry::Connect))]);
    });
}

#[test]
fn a_full_backlog_of_a_unix_socket_is_waited_for() {
    let mut world = World::new();
    let host = Host::new(&mut world, Kind::Unix, 0);
    let waiting = host.fill();
    world.connect(&host.address.clone(), ConnectConfig::default(), Echo);
    world.turns(20);
    assert!(world.log.said(0).is_empty());
    let mut served = Vec::new();
    world.until("the connection to open", |world| {
        served.extend(host.socket.accept().ok());
        world.log.open() == 1
    });
    drop((waiting, served));
    world.until_empty();
}

#[test]
fn a_connect_can_be_aborted_and_closed_from_outside() {
    each_kind(|kind| {
        let mut world = World::new();
        let host = Host::new(&mut world, kind, 0);
        let _waiting = host.fill();
        let first = world.connect(&host.address.clone(), ConnectConfig::default(), Echo);
        let second = world.connect(&host.address.clone(), ConnectConfig::default(), Echo);
        world.turns(2);
        let remote = world.reactor().remote();
        remote.abort(first).expect("a command");
        remote.close(second).expect("a command");
        assert_eq!(world.until_empty(), [Reason::Aborted, Reason::Local]);
        assert_eq!(world.log.said(1), [Said::Close(Reason::Local)]);
    });
}

#[test]
fn every_address_of_a_name_is_tried() {
    let mut world = World::new();
    let host = Host::new(&mut world, Kind::Tcp, 16);
    let port = host.address.ip().expect("an address").port();
    // Where localhost is ::1 as well, nobody listens there.
    let name = format!("tcp://localhost:{port}").parse().expect("an address");
    world.connect(&name, ConnectConfig::default(), Sink);
    let _peer = host.accept_while(&mut world);
    world.until_open(1);
}

#[test]
fn a_connection_can_be_dialled_from_a_given_address() {
    let mut world = World::new();
    let host = Host::new(&mut world, Kind::Tcp, 16);
    let bind = Some((Ipv4Addr::new(127, 0, 0, 9), 0).into());
    world.connect(&host.address.clone(), ConnectConfig { bind, ..ConnectConfig::default() }, Sink);
    let peer = host.accept_while(&mut world);
    let from = peer.0.peer_addr().expect("an address").as_socket().expect("an IP address");
    assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 9));
}

#[test]
fn a_server_that_goes_in_mid_stream_is_told() {
    for reset in [false, true] {
        each_kind(|kind| {
            let mut world = World::new();
            let host = Host::new(&mut world, kind, 16);
            // Its request will never be read, and is longer than what the kernels hold: the size of this buffer is fixed.
            host.socket.set_recv_buffer_size(64 * 1024).expect("a buffer");
            let hooks = Hooks::new().open(|conn| {
                conn.write(&pattern(600_000)).expect("room");
            });
            let mut config = ConnectConfig::default();
            config.socket.send_buffer_bytes = Some(16 * 1024);
            world.connect(&host.address.clone(), config, hooks);
            let mut peer = host.accept_while(&mut world);
            world.until_open(1);
            if !reset {
                // It ends its side and goes without reading the rest.
                assert_eq!(peer.write_some(b"half an ans").expect("a write"), 11);
                peer.finish();
                world.until("the end", |world| world.log.said(0).contains(&Said::End(0)));
                assert_eq!(world.log.shown(0), 11);
            }
            // A Unix socket resets only if it leaves input unread, and some of the request may be on its way still.
            world.until("some of the request to lie there", |_| {
                peer.0.peek(&mut [MaybeUninit::uninit()]).is_ok_and(|there| there > 0)
            });
            peer.reset();
            let reasons = world.until_empty();
            assert_eq!(reasons, [Reason::Reset], "{:?}", (world.log.said(0), world.reactor().snapshot()));
        });
    }
}

/// A client that connects again whenever its connection ends, until it has done so often enough.
struct Persistent {
    address: Address,
    log: Log,
    left: u32,
}

impl Handler for Persistent {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        if self.left > 0 {
            let next = Persistent { address: self.address.clone(), log: self.log.clone(), left: self.left - 1 };
            let next = self.log.record(next);
            conn.connect(&self.address, dialling(&self.address, ConnectConfig::default()), next)
                .expect("a connect that begins");
        }
    }
}

#[test]
fn a_client_can_connect_again_from_on_close() {
    each_kind(|kind| {
        let mut world = World::new();
        let host = Host::new(&mut world, kind, 16);
        let (address, log) = (host.address.clone(), world.log.clone());
        world.connect(&address.clone(), ConnectConfig::default(), Persistent { address, log, left: 5 });
        for number in 0..6 {
            let mut peer = host.accept_while(&mut world);
            peer.send_all_while(&mut world, b"hello");
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
            assert_eq!((world.log.made(), world.reactor().connections()), (number + 1, 1));
            match number % 2 {
                0 => drop(peer),
                _ => peer.reset(),
            }
        }
        assert_eq!(world.until_empty().len(), 6);
        assert_eq!(world.reactor().snapshot().dialled, 6);
    });
}

#[test]
fn a_client_that_nobody_answers_can_try_again_from_on_close() {
    each_kind(|kind| {
        let mut world = World::new();
        let host = Host::deaf(&mut world, kind);
        let (address, log) = (host.address.clone(), world.log.clone());
        world.connect(&address.clone(), ConnectConfig::default(), Persistent { address, log, left: 50 });
        world.until("the last attempt", |world| world.log.reasons().len() == 51);
        assert_eq!(world.log.reasons(), [Reason::Refused; 51]);
        assert_eq!(world.until_empty().len(), 51);
    });
}

#[test]
fn a_connection_can_be_relayed_to_one_dialled_from_on_open() {
    each_kind(|kind| {
        let mut world = World::new();
        let echo = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let log = world.log.clone();
        let relay = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let (echo, log, onward) = (echo.clone(), log.clone(), Rc::new(Cell::new(None)));
            let there = onward.clone();
            let hooks = Hooks::new().open(move |conn| {
                let here = conn.id();
                let back = Hooks::new().data(move |conn, data| {
                    let Some(mut client) = conn.other(here) else { return data.len() };
                    let taken = client.write_some(data);
                    if taken < data.len() {
                        conn.pause();
                    }
                    taken
                });
                let back = back.open(move |conn| conn.other(here).expect("the client").resume());
                let back = log.record(back);
                onward.set(Some(
                    conn.connect(&echo, dialling(&echo, ConnectConfig::default()), back)
                        .expect("a connect that begins"),
                ));
                conn.pause();
            });
            let ended = there.clone();
            let resumed = there.clone();
            hooks
                .data(move |conn, data| {
                    let id = there.get().expect("dialled in on_open");
                    let Some(mut server) = conn.other(id) else { return 0 };
                    let taken = server.write_some(data);
                    if taken < data.len() {
                        conn.pause();
                        conn.set_timer(Duration::from_millis(1));
                    }
                    taken
                })
                .timer(|conn| conn.resume())
                .writable(move |conn| {
                    let id = resumed.get().expect("dialled in on_open");
                    if let Some(mut server) = conn.other(id) {
                        server.resume();
                    }
                })
                .end(move |conn, _| {
                    let id = ended.get().expect("dialled in on_open");
                    if let Some(mut server) = conn.other(id) {
                        server.close();
                    }
                    conn.close();
                })
        });
        let mut peer = world.dial(&relay);
        let bytes = pattern(3 << 20);
        let (mut sent, mut got, mut buffer) = (0, 0, vec![0; 64 * 1024]);
        world.until("the echo through the relay", |_| {
            sent += peer.write_some(&bytes[sent..]).expect("a write");
            while let Some(count) = peer.try_read(&mut buffer) {
                let count = count.expect("a read");
                assert!(count > 0 && bytes[got..].starts_with(&buffer[..count]), "other bytes came back near {got}");
                got += count;
            }
            got == bytes.len()
        });
        drop(peer);
        world.until_empty();
        assert_eq!(world.reactor().snapshot().opened, 3);
    });
}

#[test]
fn what_is_sent_before_the_connection_is_open_is_told_undelivered() {
    each_kind(|kind| {
        let mut world = World::new();
        let host = Host::new(&mut world, kind, 0);
        let _waiting = host.fill();
        let told = Rc::new(Cell::new(0));
        let count = told.clone();
        world.reactor().on_undelivered(move |what, why| {
            let Undelivered::Bytes(_, bytes) = what else { panic!("{what:?}") };
            assert!(bytes == "too soon" && matches!(why, Error::NotOpen), "{why}");
            count.set(count.get() + 1);
        });
        let id = world.connect(&host.address.clone(), ConnectConfig::default(), Echo);
        world.turns(2);
        world.reactor().remote().send(id, "too soon".into()).expect("a command");
        world.until("it to be told", |_| told.get() == 1);
    });
}

#[test]
fn addresses_that_cannot_be_dialled_are_refused_and_named() {
    let mut world = World::new();
    for (text, begin) in [
        ("udp://127.0.0.1:9", "udp://127.0.0.1:9 cannot be used here: "),
        ("unixgram:/tmp/x", "unixgram:/tmp/x cannot be used here: "),
    ] {
        let address: Address = text.parse().expect(text);
        let error = world.reactor().connect(&address, ConnectConfig::default(), Echo).expect_err(text).to_string();
        assert!(error.starts_with(begin), "{error}");
    }
    assert_eq!((world.reactor().connections(), world.reactor().snapshot().dialled), (0, 0));
}

/// The call had looked names up itself, and held the loop up for as long as that took.
#[test]
fn names_and_services_that_nobody_knows_end_a_connect_that_has_begun() {
    for text in ["tcp://name.invalid:80", "tcp://127.0.0.1:no-such-service"] {
        let mut world = World::new();
        world.connect(&text.parse().expect(text), ConnectConfig::default(), Echo);
        assert_eq!(world.until_empty(), [Reason::Unresolved], "{text}");
        assert_eq!(world.log.said(0), [Said::Close(Reason::Unresolved)], "{text}");
    }
}
