//! How many a server takes in, and what it counts.

use crate::support::blocking::{Client, Rig, Shooter, Tale, connect, engine, listen_config, until};
use crate::support::{Echo, Hooks, Kind, each_kind, each_kind_at_once, skip};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use windlass::{
    Address, BlockingConfig, Conn, ConnState, Datagram, DatagramHandler, Datagrams, EngineConfig, ListenConfig,
    PauseCause, Placement, ReactorConfig, Server, ServerBuilder, ServerEvent,
};

const CROWD: usize = 1000;

#[test]
fn a_thousand_at_once_are_counted_exactly_before_during_and_after() {
    windlass::raise_descriptor_limit().expect("descriptors");
    each_kind(|kind| {
        for reactors in [2, 3] {
            if kind.is_tls() && reactors == 2 {
                continue;
            }
            let rig = Rig::new();
            let (server, address) = rig.listen(rig.builder(reactors).handler(|| |_: &Conn<'_>| Echo), kind);
            assert_eq!(server.open_connections(), 0);
            let mut clients: Vec<Client> = (0..CROWD).map(|_| Client::dial(&address)).collect();
            rig.until_stated(if kind.is_tls() { ConnState::Handshake } else { ConnState::New }, CROWD);
            assert_eq!(server.open_connections(), CROWD);
            clients.iter_mut().for_each(|client| client.send(b"hello"));
            clients.iter_mut().for_each(|client| assert_eq!(client.read_exact(5), b"hello"));
            assert_eq!(server.open_connections(), CROWD);
            let loads: Vec<usize> = server.remotes().iter().map(|remote| remote.connections()).collect();
            let (least, most) = (loads.iter().min(), loads.iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{loads:?}");
            let leaving = clients.split_off(CROWD / 2);
            let left = leaving.len();
            leaving.into_iter().for_each(Client::close);
            until("half to have left", || server.open_connections() == CROWD - left);
            clients.into_iter().for_each(Client::close);
            until("all to have left", || server.open_connections() == 0);
            let counters = server.snapshots().expect("counters");
            let sum = |count: fn(&windlass::Counters) -> u64| counters.iter().map(count).sum::<u64>();
            assert_eq!((sum(|c| c.accepted), sum(|c| c.opened), sum(|c| c.failed)), (CROWD as u64, CROWD as u64, 0));
            assert_eq!(sum(|c| c.closed_total()), CROWD as u64);
            rig.end(&server);
            assert_eq!((rig.stated(ConnState::New), rig.stated(ConnState::Close)), (CROWD, CROWD));
        }
    });
}

#[test]
fn a_connection_counts_from_before_new_until_after_close() {
    each_kind(|kind| {
        let rig = Rig::new();
        let known = Arc::new(OnceLock::<Server>::new());
        let (for_states, counts) = (known.clone(), Tale::default());
        let told = counts.clone();
        let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).on_state(move |_, _, state| {
            told.tell((state, for_states.get().expect("it is known").open_connections()));
        });
        let server = builder.address(rig.address(kind)).build().expect("a server");
        known.set(server.clone()).expect("once");
        server.listen().expect("it listens");
        for round in 1..=4 {
            let mut client = Client::dial(&server.local_addresses()[0]);
            client.echoes(b"hello");
            client.close();
            until("it to have left", || server.open_connections() == 0);
            let closes = counts.all().iter().filter(|(state, _)| *state == ConnState::Close).count();
            assert_eq!(closes, round, "it does not count any more only after Close");
        }
        assert!(counts.all().iter().all(|(_, count)| *count == 1), "{:?}", counts.all());
        server.shutdown(Duration::from_secs(20)).expect("a report");
    });
}

struct Mute;

impl DatagramHandler for Mute {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        sock.send_to(datagram.from, b"heard").expect("room");
    }
}

#[test]
fn a_datagram_socket_counts_as_one_however_many_speak_to_it() {
    let rig = Rig::new();
    let builder = rig.builder(2).datagram_handler(|| Mute).address("udp://127.0.0.1:0".parse().expect("an address"));
    let server = builder.address(Address::unixgram(rig.path()).expect("a path")).build().expect("a server");
    server.listen().expect("it listens");
    let shooters: Vec<Shooter> =
        server.local_addresses().iter().flat_map(|at| [Shooter::to(at), Shooter::to(at)]).collect();
    for shooter in &shooters {
        shooter.send(b"hello");
        assert_eq!(shooter.receive(), b"heard");
    }
    assert_eq!(server.open_connections(), 2);
    let report = rig.end(&server);
    assert_eq!((report.drained, report.cut), (2, 0));
}

/// Fills a server up to `max`, and checks that the next one waits until somebody leaves.
fn check_limit(rig: &Rig, server: &Server, kind: Kind, max: usize) {
    let addresses = server.local_addresses();
    let dial = |number: usize| Client::dial(&addresses[number % addresses.len()]);
    let mut clients: Vec<Client> = (0..max).map(dial).collect();
    clients.iter_mut().for_each(|client| client.echoes(b"in"));
    let address = addresses[0].clone();
    let (sent, waits) = std::sync::mpsc::channel();
    let late = std::thread::spawn(move || {
        let mut client = Client::over(connect(&address).expect("the backlog takes it").into(), &address);
        let client = client.as_mut().expect("a handshake");
        client.send(b"late");
        let answer = client.read_exact(4);
        sent.send(()).expect("a taker");
        answer
    });
    let pauses = |told: &[ServerEvent]| {
        let full = |event: &&ServerEvent| matches!(event, ServerEvent::AcceptPaused(_, PauseCause::ConnectionLimit));
        told.iter().filter(full).count()
    };
    rig.events.until("a pause", |told| pauses(told) > 0);
    // Longer than a pause is.
    assert!(waits.recv_timeout(Duration::from_millis(250)).is_err(), "it waits");
    assert_eq!(server.open_connections(), max);
    clients.pop().expect("somebody").close();
    assert_eq!(late.join().expect("served at last"), b"late");
    clients.into_iter().for_each(Client::close);
    until("nobody to be left", || server.open_connections() == 0);
    // All places are free again.
    for _ in 0..3 {
        let mut clients: Vec<Client> = (0..max).map(dial).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"in"));
        assert_eq!(server.open_connections(), max);
        clients.into_iter().for_each(Client::close);
        until("nobody to be left", || server.open_connections() == 0);
    }
    let _ = kind;
}

/// Who echoes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Reactors,
    Threads,
}

impl Who {
    const ALL: [Who; 2] = [Who::Reactors, Who::Threads];

    fn serve(self, builder: ServerBuilder) -> ServerBuilder {
        match self {
            Who::Reactors => builder.handler(|| |_: &Conn<'_>| Echo),
            Who::Threads => builder.blocking_handler(BlockingConfig::default(), |mut reader, mut writer| {
                std::io::copy(&mut reader, &mut writer).map(drop)
            }),
        }
    }

    fn end(self, rig: &Rig, server: &Server) {
        match self {
            Who::Reactors => _ = rig.end(server),
            // States are told by several threads there.
            Who::Threads => _ = server.shutdown(Duration::from_secs(20)).expect("a report"),
        }
    }
}

#[test]
fn the_limit_of_all_addresses_together_holds_over_all_reactors() {
    for (placement, who) in [
        (Placement::LeastConnections, Who::Reactors),
        (Placement::RoundRobin, Who::Reactors),
        (Placement::Kernel, Who::Reactors),
        (Placement::LeastConnections, Who::Threads),
        (Placement::Kernel, Who::Threads),
    ] {
        each_kind_at_once(|kind| {
            let rig = Rig::new();
            let plan = EngineConfig { connections_max: 5, placement, ..engine(3) };
            let builder = who.serve(rig.builder(3).engine_config(plan));
            let builder = builder.address(rig.address(kind)).address(rig.address(kind));
            let server = builder.build().expect("a server");
            server.listen().expect("it listens");
            check_limit(&rig, &server, kind, 5);
            who.end(&rig, &server);
        });
    }
}

#[test]
fn the_limit_of_a_reactor_holds_whoever_serves() {
    for (reactors, who) in [(1, Who::Reactors), (1, Who::Threads), (2, Who::Threads)] {
        each_kind_at_once(|kind| {
            let rig = Rig::new();
            let reactor = ReactorConfig { connections_max: 4 / reactors, ..ReactorConfig::default() };
            let builder = who.serve(rig.builder(reactors).engine_config(EngineConfig { reactor, ..engine(reactors) }));
            let (server, _) = rig.listen(builder, kind);
            check_limit(&rig, &server, kind, 4);
            who.end(&rig, &server);
        });
    }
}

#[test]
fn the_limit_of_one_address_holds_over_all_reactors_and_for_it_alone() {
    each_kind_at_once(|kind| {
        for who in Who::ALL {
            let rig = Rig::new();
            let config = ListenConfig { connections_max: 4, ..listen_config() };
            let builder = who.serve(rig.builder(3).listen_config(config));
            let server = builder.address(rig.address(kind)).build().expect("a server");
            server.listen().expect("it listens");
            check_limit(&rig, &server, kind, 4);
            who.end(&rig, &server);
        }

        let rig = Rig::new();
        let config = ListenConfig { connections_max: 2, ..listen_config() };
        let builder = rig.builder(3).listen_config(config).handler(|| |_: &Conn<'_>| Echo);
        let builder = builder.address(rig.address(kind)).address(rig.address(kind));
        let server = builder.build().expect("a server");
        server.listen().expect("it listens");
        let addresses = server.local_addresses();
        let mut clients: Vec<Client> = (0..4).map(|number| Client::dial(&addresses[number % 2])).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"in"));
        assert_eq!(server.open_connections(), 4);
        drop(clients);
        rig.end(&server);
    });
}

/// They came back to the listener of a reactor that was no more.
#[test]
fn places_of_a_reactor_that_has_stopped_are_free_when_its_blocking_handlers_return() {
    each_kind(|kind| {
        let rig = Rig::new();
        let plan = EngineConfig { connections_max: 4, ..engine(2) };
        let (server, address) = rig.listen(Who::Threads.serve(rig.builder(2).engine_config(plan)), kind);
        let mut clients: Vec<Client> = (0..4).map(|_| Client::dial(&address)).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"in"));
        let other = server.remotes().remove(1);
        other.shutdown(Duration::from_secs(20)).expect("a report");
        clients.iter_mut().for_each(|client| client.echoes(b"it goes on"));
        clients.into_iter().for_each(Client::close);
        until("nobody to be left", || server.open_connections() == 0);
        let mut clients: Vec<Client> = (0..4).map(|_| Client::dial(&address)).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"in"));
        drop(clients);
        server.shutdown(Duration::from_secs(20)).expect("a report");
    });
}

#[test]
fn a_full_server_that_drains_tells_of_its_pause_once() {
    each_kind(|kind| {
        let rig = Rig::new();
        let config = ListenConfig { connections_max: 2, ..listen_config() };
        let builder = rig.builder(2).listen_config(config).handler(|| |_: &Conn<'_>| Echo);
        let (server, address) = rig.listen(builder, kind);
        let mut clients = [Client::dial(&address), Client::dial(&address)];
        clients.iter_mut().for_each(|client| client.echoes(b"in"));
        let paused = ServerEvent::AcceptPaused(address.clone(), PauseCause::ConnectionLimit);
        rig.events.until("a pause", |told| told.contains(&paused));
        let waiting = connect(&address).expect("the backlog takes it");
        server.stop(Duration::from_secs(20));
        drop((clients, waiting));
        rig.end(&server);
        let events = rig.events.all();
        assert_eq!(events.iter().filter(|event| **event == paused).count(), 1, "{events:?}");
    });
}

#[test]
fn a_full_server_that_accepts_at_a_pace_tells_that_it_goes_on() {
    each_kind(|kind| {
        let rig = Rig::new();
        let config = ListenConfig { connections_max: 1, accepts_per_second: Some(2), ..listen_config() };
        let builder = rig.builder(2).listen_config(config).handler(|| |_: &Conn<'_>| Echo);
        let (server, address) = rig.listen(builder, kind);
        let client = Client::dial(&address);
        let paused = ServerEvent::AcceptPaused(address.clone(), PauseCause::ConnectionLimit);
        rig.events.until("a pause", |told| told.contains(&paused));
        client.close();
        rig.events.until("it to go on", |told| told.contains(&ServerEvent::AcceptResumed(address.clone())));
        rig.end(&server);
    });
}

#[test]
fn what_waits_when_a_drain_begins_is_served_at_whatever_pace() {
    each_kind(|kind| {
        let rig = Rig::new();
        let config = ListenConfig { accepts_per_second: Some(1), ..listen_config() };
        let greet = |_: &Conn<'_>| Hooks::new().open(|conn| conn.write(b"hello").expect("room"));
        let (server, address) = rig.listen(rig.builder(2).listen_config(config).handler(move || greet), kind);
        let begin = |_| {
            let socket = connect(&address).expect("the backlog takes it");
            Client::begin(socket.into(), &address).expect("a handshake")
        };
        let clients: Vec<_> = (0..5).map(begin).collect();
        server.stop(Duration::from_secs(20));
        for mut client in clients {
            assert_eq!(client.read_to_end().expect("an end in order"), b"hello");
        }
        let report = rig.end(&server);
        assert_eq!((report.drained, report.cut), (5, 0));
    });
}

#[test]
fn a_full_reactor_is_passed_over_and_nobody_is_lost() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin] {
        each_kind(|kind| {
            let rig = Rig::new();
            let reactor = ReactorConfig { connections_max: 2, ..ReactorConfig::default() };
            let plan = EngineConfig { reactor, placement, ..engine(2) };
            let builder = rig.builder(2).engine_config(plan).handler(|| |_: &Conn<'_>| Echo);
            let (server, address) = rig.listen(builder, kind);
            let mut clients: Vec<Client> = (0..4).map(|_| Client::dial(&address)).collect();
            clients.iter_mut().for_each(|client| client.echoes(b"in"));
            // Those of the accepting reactor come and go, the other one stays full.
            for _ in 0..4 {
                let own = clients.iter().position(|client| {
                    let name = client.address(kind);
                    let told = rig.states.all();
                    let thread_of = |name: &Address| {
                        told.iter().find(|told| told.remote.as_ref() == Some(name)).map(|told| told.thread)
                    };
                    let acceptor = server.remotes().remove(0);
                    let (tell, thread) = std::sync::mpsc::channel();
                    let tells = move |_: &mut windlass::Context<'_>| tell.send(std::thread::current().id());
                    acceptor.run(move |cx| tells(cx).expect("a taker")).expect("it runs");
                    thread_of(&name) == thread.recv().ok()
                });
                clients.remove(own.expect("one of the accepting reactor")).close();
                until("it to have left", || server.open_connections() == 3);
                let mut next = Client::dial(&address);
                next.echoes(b"in");
                clients.push(next);
                assert_eq!(server.open_connections(), 4);
            }
            clients.into_iter().for_each(Client::close);
            rig.end(&server);
            assert_eq!(rig.errors.count(), 0, "{:?}", rig.errors.all());
        });
    }
}

#[cfg(feature = "tls")]
#[test]
fn handshakes_under_way_keep_nobody_out_who_needs_none() {
    let rig = Rig::new();
    let reactor = ReactorConfig { handshakes_max: 1, ..ReactorConfig::default() };
    let plan = EngineConfig { reactor, placement: Placement::RoundRobin, ..engine(2) };
    let builder = rig.builder(2).engine_config(plan).handler(|| |_: &Conn<'_>| Echo);
    let server = builder.address(rig.address(Kind::Tls)).address(rig.address(Kind::Tcp)).build().expect("a server");
    server.listen().expect("it listens");
    let [tls, tcp] = [0, 1].map(|at| server.local_addresses().remove(at));
    // One on each reactor.
    let silent = [Client::raw(&tls), Client::raw(&tls)];
    rig.until_stated(ConnState::New, 2);
    for _ in 0..6 {
        let mut plain = Client::dial(&tcp);
        plain.echoes(b"hello");
        plain.close();
    }
    drop(silent);
    rig.end(&server);
}

#[cfg(feature = "tls")]
#[test]
fn more_handshakes_than_there_may_be_wait_and_nobody_is_lost() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin, Placement::Kernel] {
        let rig = Rig::new();
        let reactor = ReactorConfig { handshakes_max: 1, ..ReactorConfig::default() };
        let plan = EngineConfig { reactor, placement, ..engine(3) };
        let builder = rig.builder(3).engine_config(plan).handler(|| |_: &Conn<'_>| Echo);
        let (server, address) = rig.listen(builder, Kind::Tls);
        let crowd: Vec<_> = (0..24)
            .map(|_| {
                let address = address.clone();
                std::thread::spawn(move || {
                    let mut client = Client::dial(&address);
                    client.echoes(b"hello");
                    client.close();
                })
            })
            .collect();
        let served = crowd.into_iter().filter_map(|client| client.join().ok()).count();
        assert_eq!(served, 24, "{placement:?}");
        rig.end(&server);
    }
}

/// A client from one of this host's own addresses, which are all of 127.0.0.0/8.
fn dial_from(from: Ipv4Addr, to: SocketAddr) -> std::net::TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of our own");
    socket.set_read_timeout(Some(crate::support::PATIENCE)).expect("SO_RCVTIMEO");
    socket.connect(&to.into()).expect("a connection");
    socket.into()
}

/// Whether it is served, or closed at once.
fn is_served(stream: &mut std::net::TcpStream) -> bool {
    use std::io::{Read, Write};
    let mut answer = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"hello"
}

#[test]
fn one_peer_has_as_many_as_it_may_mapped_or_not_and_others_are_let_in() {
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        skip("this machine has no IPv6");
        return;
    }
    let rig = Rig::new();
    let builder = rig.builder(3).per_peer_max(3).handler(|| |_: &Conn<'_>| Echo);
    // One listener of both families, and one of IPv4: the same peer is mapped on one of them.
    let builder = builder.address("tcp://[::]:0".parse().expect("an address"));
    let server = builder.address("tcp://127.0.0.1:0".parse().expect("an address")).build().expect("a server");
    server.listen().expect("it listens");
    let ports: Vec<u16> =
        server.local_addresses().iter().map(|address| address.ip().expect("an address").port()).collect();
    let to = |number: usize| SocketAddr::from((Ipv4Addr::LOCALHOST, ports[number % 2]));
    for _ in 0..3 {
        let mut streams: Vec<_> = (0..3).map(|number| dial_from(Ipv4Addr::LOCALHOST, to(number))).collect();
        assert!(streams.iter_mut().all(is_served));
        for number in 0..4 {
            assert!(!is_served(&mut dial_from(Ipv4Addr::LOCALHOST, to(number))), "one too many");
        }
        until("those to be gone", || server.open_connections() == 3);
        // The dual-stack listener is reached from another address, and from IPv6.
        let mut others: Vec<_> = (0..3).map(|_| dial_from(Ipv4Addr::new(127, 0, 0, 2), to(0))).collect();
        assert!(others.iter_mut().all(is_served));
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, ports[0]));
        let mut sixes: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(v6).expect("a connection")).collect();
        assert!(sixes.iter_mut().all(is_served));
        assert!(!is_served(&mut std::net::TcpStream::connect(v6).expect("a connection")));
        until("that to be gone", || server.open_connections() == 9);
        drop(streams.pop());
        until("it to have left", || server.open_connections() == 8);
        let mut next = dial_from(Ipv4Addr::LOCALHOST, to(1));
        assert!(is_served(&mut next), "a place is free");
        drop((streams, next, others, sixes));
        until("nobody to be left", || server.open_connections() == 0);
    }
    let counters = server.snapshots().expect("counters");
    assert_eq!(counters.iter().map(|counters| counters.refused).sum::<u64>(), 15);
    rig.end(&server);
    assert_eq!(rig.errors.count(), 0, "{:?}", rig.errors.all());
    assert_eq!((rig.stated(ConnState::New), rig.stated(ConnState::Close)), (30, 30));
}

#[test]
fn a_peers_places_come_free_however_its_connections_end() {
    let play = |_: &Conn<'_>| {
        Hooks::new().data(|conn, data| {
            match data[0] {
                b'p' => panic!("a handler's own"),
                b'a' => conn.abort(),
                b'c' => conn.close(),
                _ => conn.write(b"hello").expect("room"),
            }
            data.len()
        })
    };
    for kind in [Kind::ALL[0], Kind::ALL[Kind::ALL.len() / 2]] {
        let rig = Rig::new();
        let builder = rig.builder(2).per_peer_max(2).handler(move || play);
        let (server, address) = rig.listen(builder, kind);
        for round in 0..24 {
            let mut client = if round % 6 == 5 { Client::raw(&address) } else { Client::dial(&address) };
            match round % 6 {
                0 => client.send(b"p"),
                1 => client.send(b"a"),
                2 => client.send(b"c"),
                3 => client.send(b"h"),
                // No TLS; to a plain address just somebody else.
                _ => client.send(b"c\r\n\r\n\r\n"),
            }
            match round % 2 {
                0 => drop(client),
                _ => client.reset(),
            }
            rig.until_stated(ConnState::Close, round + 1);
            until("it to have left", || server.open_connections() == 0);
        }
        let mut clients = [Client::dial(&address), Client::dial(&address)];
        for client in &mut clients {
            client.send(b"h");
            client.read_exact(5);
        }
        drop(clients);
        rig.end(&server);
    }
}
