//! Everything at once: starts, stops, drops and peers without manners. Nobody hangs, and nothing is left.

use crate::support::blocking::{Client, Rig, Tale, connect, engine, listen_config, until};
use crate::support::{Echo, Hooks, Kind, PATIENCE, each_kind, each_kind_at_once};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;
use windlass::{
    Accept, Address, Admission, Conn, ConnState, EngineConfig, Error, ListenConfig, Peer, Placement, ReactorConfig,
    Server, ServerEvent,
};

/// Counts whom it admits and who leaves; every third is refused.
struct Ledger {
    seen: usize,
    admitted: Tale<Option<Address>>,
    left: Tale<Option<Address>>,
}

impl Accept for Ledger {
    type Handler = Echo;

    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        self.seen += 1;
        if self.seen % 3 == 0 {
            return Admission::Refuse;
        }
        self.admitted.tell(peer.address());
        Admission::Admit
    }

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        Echo
    }

    fn on_left(&mut self, peer: &Peer<'_>) {
        self.left.tell(peer.address());
    }
}

/// A peer that comes and goes in one of several ways, and does not care what becomes of it.
fn misbehave(address: &Address, number: usize) {
    let Ok(socket) = connect(address) else { return };
    match number % 4 {
        0 => drop(socket),
        1 => Client::Plain(socket.into()).reset(),
        2 => {
            let mut plain = Client::Plain(socket.into());
            let _ = plain.write(b"\x16\x03\x01 what is this?");
        }
        _ => {
            if let Ok(mut client) = Client::over(socket.into(), address) {
                if client.write(b"hello").is_ok() {
                    let _ = client.read(&mut [0; 5]);
                }
            }
        }
    }
}

#[test]
fn whoever_was_admitted_leaves_once_and_who_was_refused_never_also_in_a_shutdown() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin, Placement::Kernel] {
        each_kind(|kind| {
            let rig = Rig::new();
            let (admitted, left) = (Tale::default(), Tale::default());
            let (in_, out) = (admitted.clone(), left.clone());
            let plan = EngineConfig { placement, connections_max: 40, ..engine(3) };
            let builder = rig.builder(3).engine_config(plan).per_peer_max(30).handler(move || Ledger {
                seen: 0,
                admitted: in_.clone(),
                left: out.clone(),
            });
            let (server, address) = rig.listen(builder, kind);
            let peers: Vec<_> = (0..4)
                .map(|thread| {
                    let (address, rig_address) = (address.clone(), address.clone());
                    std::thread::spawn(move || {
                        for number in 0..60 {
                            misbehave(if number % 2 == 0 { &address } else { &rig_address }, thread + number);
                        }
                    })
                })
                .collect();
            admitted.until_count("some to be in", 20);
            server.stop(Duration::from_millis(50));
            let report = rig.end(&server);
            peers.into_iter().for_each(|peer| peer.join().expect("no panic"));
            let names = |tale: &Tale<Option<Address>>| {
                let mut names: Vec<String> = tale.all().iter().map(|name| format!("{name:?}")).collect();
                names.sort();
                names
            };
            let told = rig.stated(ConnState::New);
            assert_eq!(admitted.count(), left.count(), "{report}");
            assert_eq!((told, rig.stated(ConnState::Close)), (admitted.count(), admitted.count()));
            if !kind.is_unix() {
                assert_eq!(names(&admitted), names(&left));
            }
        });
    }
}

#[test]
fn places_come_free_however_connections_end() {
    each_kind(|kind| {
        let rig = Rig::new();
        let plan = EngineConfig { connections_max: 3, ..engine(2) };
        let config = ListenConfig { connections_max: 3, starved_pause: Duration::from_millis(5), ..listen_config() };
        let builder = rig.builder(2).engine_config(plan).listen_config(config);
        let (server, address) =
            rig.listen(builder.handler(|| Ledger { seen: 0, admitted: Tale::default(), left: Tale::default() }), kind);
        for number in 0..80 {
            misbehave(&address, number);
        }
        let accepted = || server.snapshots().expect("counters").iter().map(|counters| counters.accepted).sum::<u64>();
        until("all to be over", || accepted() == 80 && server.open_connections() == 0);
        let counters = server.snapshots().expect("counters");
        let sum = |count: fn(&windlass::Counters) -> u64| counters.iter().map(count).sum::<u64>();
        assert_eq!(sum(|c| c.accepted), sum(|c| c.opened) + sum(|c| c.failed));
        assert_eq!(sum(|c| c.opened), sum(|c| c.closed_total()));
        // Three are in at once still, of whom none is refused.
        let mut clients = Vec::new();
        until("three to be in at once", || {
            if let Ok(mut client) = Client::try_dial(&address) {
                if client.write(b"hello").is_ok() && matches!(client.read(&mut [0; 5]), Ok(5)) {
                    clients.push(client);
                }
            }
            clients.len() == 3
        });
        assert_eq!(server.open_connections(), 3);
        drop(clients);
        rig.end(&server);
    });
}

#[test]
fn starts_stops_and_drops_from_all_sides_hang_nobody() {
    each_kind(|kind| {
        for round in 0..25u64 {
            let rig = Rig::new();
            let known = Arc::new(OnceLock::<Server>::new());
            let in_handlers = known.clone();
            let builder = rig.builder(2).handler(move || {
                let known = in_handlers.clone();
                move |_: &Conn<'_>| {
                    let known = known.clone();
                    Hooks::new().open(move |_| {
                        let server = known.get().expect("it is known");
                        let _ = (server.is_running(), server.is_gone(), server.open_connections());
                        let _ = (server.local_addresses(), server.remotes().len());
                        if round % 3 == 0 {
                            server.stop(Duration::from_millis(round));
                        }
                    })
                }
            });
            let asked = rig.address(kind);
            let server = builder.address(asked.clone()).build().expect("a server");
            known.set(server.clone()).expect("once");
            let barrier = Arc::new(Barrier::new(5));
            let run = |act: fn(&Server, u64)| {
                let (server, barrier) = (server.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    act(&server, round);
                })
            };
            let listen = |server: &Server, _: u64| match server.listen() {
                Ok(()) | Err(Error::AlreadyStarted | Error::ServerGone) => {}
                Err(error) => panic!("{error}"),
            };
            let threads = [
                run(listen),
                run(listen),
                run(|server, round| {
                    if round % 2 == 0 {
                        server.shutdown(Duration::from_millis(20)).expect("a report");
                    }
                }),
                run(|server, _| {
                    if let Some(address) = server.local_addresses().first() {
                        (0..8).for_each(|number| misbehave(address, number));
                    }
                }),
                run(|server, round| {
                    server.stop(Duration::from_millis(10 + round));
                    server.wait(PATIENCE).expect("a report");
                }),
            ];
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            assert!(server.is_gone() && !server.is_running() && server.open_connections() == 0);
            assert!(asked.path().is_none_or(|path| !path.exists()));
            if rig.events.count() > 0 {
                let events = rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
                crate::support::blocking::check_events(&events);
            }
        }
    });
}

#[test]
fn a_callback_that_asks_its_server_everything_deadlocks_with_nobody() {
    each_kind(|kind| {
        let rig = Rig::new();
        let known = Arc::new(OnceLock::<Server>::new());
        let ask = |known: &Arc<OnceLock<Server>>| {
            let known = known.clone();
            move || {
                if let Some(server) = known.get() {
                    let _ = (server.is_running(), server.is_gone(), server.open_connections());
                    let _ = (server.local_addresses(), server.remotes().len(), server.listen().is_err());
                    assert!(matches!(server.shutdown(Duration::MAX), Err(Error::OnReactorThread)));
                    assert!(matches!(server.snapshots(), Ok(_) | Err(Error::OnReactorThread)));
                }
            }
        };
        let (a, b, c, d) = (ask(&known), ask(&known), ask(&known), ask(&known));
        let d = Arc::new(d);
        let (events, told) = (rig.events.clone(), rig.errors.clone());
        let builder = rig
            .builder(2)
            .on_state(move |_, _, _| a())
            .on_event(move |event| {
                b();
                events.tell(event.clone());
            })
            .on_error(move |error| {
                c();
                assert!(!error.to_string().is_empty());
                told.tell(crate::support::blocking::Trouble {
                    text: error.to_string(),
                    reason: None,
                    peer: None,
                    callback: None,
                });
            })
            .handler(move || {
                let d = d.clone();
                move |_: &Conn<'_>| {
                    let d = d.clone();
                    Hooks::new().data(move |conn, data| {
                        d();
                        conn.write_some(data)
                    })
                }
            });
        let server = builder.address(rig.address(kind)).build().expect("a server");
        known.set(server.clone()).expect("once");
        server.listen().expect("it listens");
        let address = server.local_addresses().remove(0);
        let stop = {
            let server = server.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let _ = (server.snapshots(), server.open_connections(), server.is_running());
                }
            })
        };
        for number in 0..20 {
            misbehave(&address, number);
            Client::dial(&address).echoes(b"hello");
        }
        stop.join().expect("no panic");
        server.shutdown(PATIENCE).expect("a report");
        rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
        assert_eq!(rig.errors.all().iter().filter(|told| told.text.contains("panicked")).count(), 0);
    });
}

#[test]
fn an_idle_server_takes_no_turns_nor_does_a_full_or_draining_one_spin() {
    each_kind_at_once(|kind| {
        let rig = Rig::new();
        let config = ListenConfig { connections_max: 2, ..listen_config() };
        let stay = |_: &Conn<'_>| Hooks::new().data(|conn, data| conn.write_some(data)).drain(|_| {});
        let (server, address) = rig.listen(rig.builder(2).listen_config(config).handler(move || stay), kind);
        let turns = || server.snapshots().expect("counters").iter().map(|counters| counters.turns).sum::<u64>();
        let (_keep, never) = std::sync::mpsc::channel::<()>();
        let idle = |what: &str, turns_max: u64| {
            let before = turns();
            assert!(never.recv_timeout(Duration::from_millis(500)).is_err());
            let taken = turns() - before;
            assert!(taken <= turns_max, "{what}: {taken} turns");
        };
        // Each question takes one of each reactor.
        idle("with nobody", 4);
        let mut clients = [Client::dial(&address), Client::dial(&address)];
        clients.iter_mut().for_each(|client| client.echoes(b"hello"));
        let waiting = connect(&address).expect("the backlog takes it");
        idle("full, with somebody who waits", 4 + 12);
        drop(waiting);
        server.stop(PATIENCE);
        until("it to drain", || connect(&address).is_err());
        idle("draining", 4 + 4);
        drop(clients);
        rig.end(&server);
    });
}

#[test]
fn what_is_left_in_the_mailbox_of_a_stopped_reactor_does_not_count() {
    for kind in [Kind::Tcp, Kind::Unix] {
        let rig = Rig::new();
        let reactor = ReactorConfig { commands_per_turn: 1, ..ReactorConfig::default() };
        let plan = EngineConfig { placement: Placement::RoundRobin, reactor, ..engine(2) };
        let builder = rig.builder(2).engine_config(plan).handler(|| |_: &Conn<'_>| Echo);
        let (server, address) = rig.listen(builder, kind);
        let remotes = server.remotes();
        let (go, held) = std::sync::mpsc::channel::<()>();
        let hold = move |_: &mut windlass::Context<'_>| {
            let _ = held.recv();
        };
        remotes[1].run(hold).expect("it runs");
        // The second one is told to stop, and then of streams.
        remotes[1].stop(Duration::ZERO).expect("it runs");
        let mut clients: Vec<Client> = (0..6).map(|_| Client::raw(&address)).collect();
        until("all to be handed over", || remotes[1].connections() == 3);
        drop(go);
        remotes[1].wait(PATIENCE).expect("a report");
        until("nothing to be left there", || remotes[1].connections() == 0);
        // Whoever comes now stays with the other one.
        for _ in 0..4 {
            Client::dial(&address).echoes(b"hello");
        }
        let echoed =
            clients.iter_mut().filter_map(|client| client.write(b"x").and_then(|()| client.read(&mut [0])).ok());
        assert_eq!(echoed.filter(|count| *count == 1).count(), 3);
        drop(clients);
        rig.end(&server);
        assert_eq!(rig.stated(ConnState::New), rig.stated(ConnState::Close));
    }
}
