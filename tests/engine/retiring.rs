//! Listeners that are paused, removed and closed while others connect, and calls that give up.

use crate::placement::{config, echoing, end, hold, sum};
use crate::support::blocking::{Client, Rig, connect, engine, until};
use crate::support::skip;
use crate::support::{Echo, Hooks, Kind, PATIENCE, each_kind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use windlass::{
    Address, BlockingConfig, Conn, Connector, Datagram, DatagramConfig, DatagramHandler, Datagrams, Engine,
    EngineConfig, Error, ListenConfig, Pinning, Placement, ReactorConfig, Resolver, Reuse, ServerEvent,
};

#[test]
fn whoever_was_accepted_before_a_listener_is_removed_is_served() {
    for reactors in [1, 2, 4] {
        each_kind(|kind| {
            let rig = Rig::new();
            let engine = Engine::start(engine(reactors)).expect("an engine");
            for _ in 0..20 {
                let listening =
                    engine.listen(&rig.address(kind), config(kind), || |_: &Conn<'_>| Echo).expect("it listens");
                let begin = |_| connect(listening.address()).expect("a place");
                let sockets: Vec<_> = (0..20).map(begin).collect();
                listening.remove();
                for socket in sockets {
                    Client::over(socket.into(), listening.address()).expect("a handshake").echoes(b"hello");
                }
            }
            until("all to have left", || engine.connections() == 0);
            assert_eq!((sum(&engine, |c| c.accepted), sum(&engine, |c| c.failed)), (400, 0));
            end(&engine);
        });
    }
}

#[test]
fn no_connection_that_was_accepted_is_lost_by_a_removal_under_load() {
    let rig = Rig::new();
    for placement in [Placement::LeastConnections, Placement::RoundRobin, Placement::Kernel] {
        let engine = Engine::start(EngineConfig { placement, ..engine(4) }).expect("an engine");
        for _ in 0..5 {
            let listening =
                engine.listen(&rig.address(Kind::Tcp), config(Kind::Tcp), || |_: &Conn<'_>| Echo).expect("it listens");
            let (goes, answered) = (AtomicBool::new(true), AtomicU64::new(0));
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while goes.load(Ordering::Relaxed) {
                            let Ok(mut client) = Client::try_dial(listening.address()) else { break };
                            let mut answer = [0; 5];
                            if client.write(b"hello").is_ok() && client.read(&mut answer).is_ok_and(|n| n > 0) {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            client.reset();
                        }
                    });
                }
                until("some to be served", || answered.load(Ordering::Relaxed) > 100);
                listening.close(PATIENCE).expect("a reactor that is driven");
                goes.store(false, Ordering::Relaxed);
            });
            assert!(connect(listening.address()).is_err());
        }
        until("all to have left", || engine.connections() == 0);
        assert_eq!(sum(&engine, |c| c.failed), 0);
        end(&engine);
    }
}

/// The parts of a listener on the other reactors stayed until the last connection of the first one had ended.
#[test]
fn a_listener_is_gone_from_all_reactors_and_their_drain_is_over_while_a_connection_of_one_goes_on() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin, Placement::Kernel] {
        each_kind(|kind| {
            let rig = Rig::new();
            let engine = Engine::start(EngineConfig { placement, ..engine(3) }).expect("an engine");
            let stays = || |_: &Conn<'_>| Hooks::new().data(|conn, data| conn.write_some(data)).drain(|_| ());
            let listen = || engine.listen(&rig.address(kind), config(kind), stays).expect("it listens");
            let listening = listen();
            let mut clients = Vec::new();
            while engine.remotes()[0].connections() == 0 {
                let mut client = Client::dial(listening.address());
                client.echoes(b"hello");
                clients.push(client);
            }
            // The last is the first reactor's.
            let mut client = clients.pop().expect("one");
            drop(clients);
            until("the others to have left", || engine.connections() == 1);
            listening.remove();
            let listeners = |reactor| engine.ask(reactor, |cx| cx.listeners().len()).expect("an answer");
            until("nobody to listen", || (0..3).all(|reactor| listeners(reactor) == 0));
            client.echoes(b"it goes on");
            // And another one, which a drain ends.
            listen();
            engine.stop(PATIENCE);
            for other in &engine.remotes()[1..] {
                assert_eq!(other.wait(PATIENCE).expect("a report").cut, 0);
            }
            client.echoes(b"and on");
            drop(client);
            assert_eq!(engine.wait(PATIENCE).expect("a report").drained, 1);
        });
    }
}

/// It was handed connections for as long as its drain might take, and waited for more.
#[test]
fn a_reactor_that_is_stopped_alone_takes_no_more_and_is_over_with_its_last_connection() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin] {
        each_kind(|kind| {
            let rig = Rig::new();
            let (engine, address) = echoing(&rig, kind, EngineConfig { placement, ..engine(2) });
            let mut clients: Vec<Client> = (0..4).map(|_| Client::dial(&address)).collect();
            clients.iter_mut().for_each(|client| client.echoes(b"hello"));
            let (other, begun) = (&engine.remotes()[1], std::time::Instant::now());
            // Its handlers close.
            let closed = std::thread::scope(|scope| {
                let report = scope.spawn(|| other.shutdown(PATIENCE).expect("a report"));
                clients.into_iter().filter_map(|mut client| client.write(b"x").ok().map(|()| client)).for_each(drop);
                report.join().expect("no panic")
            });
            assert!(closed.cut == 0 && begun.elapsed() < PATIENCE / 2, "{closed} after {:?}", begun.elapsed());
            let mut clients: Vec<Client> = (0..4).map(|_| Client::dial(&address)).collect();
            clients.iter_mut().for_each(|client| client.echoes(b"by the one that is left"));
            assert_eq!(engine.remotes()[0].connections(), 4);
            drop(clients);
            assert_eq!(engine.shutdown(PATIENCE).expect("a report").cut, 0);
        });
    }
}

/// The order to close it was dropped with a full mailbox, and nobody had a handle of the socket.
#[test]
fn a_bind_that_fails_on_one_reactor_leaves_no_socket_on_another_one_with_a_full_mailbox() {
    let reactor = ReactorConfig { mailbox_commands_max: 4, ..ReactorConfig::default() };
    let engine = Engine::start(EngineConfig { reactor, ..engine(2) }).expect("an engine");
    let first = engine.remotes()[0].clone();
    let (go, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let (held, told) = (Mutex::new(Some((held, tell))), Mutex::new(told));
    let make = move || {
        if let Some((held, tell)) = held.lock().expect("no panic").take() {
            // On the first: from the end of this on it is held up, with a full mailbox.
            let own = first.clone();
            let hold = move |_: &mut windlass::Context<'_>| {
                while own.run(|_| ()).is_ok() {}
                tell.send(()).expect("somebody waits");
                let _ = held.recv();
            };
            first.run(hold).expect("room");
        } else {
            told.lock().expect("no panic").recv_timeout(PATIENCE).expect("the first is full");
            panic!("asked for");
        }
        Nobody
    };
    let config = DatagramConfig { reuse: Reuse::Port, ..DatagramConfig::default() };
    let refused = engine.bind(&"udp://127.0.0.1:0".parse().expect("an address"), config, make).map(drop);
    assert!(matches!(refused, Err(Error::CallbackPanicked { .. })), "{refused:?}");
    drop(go);
    until("nothing to be bound", || engine.connections() == 0);
    end(&engine);
}

#[test]
fn whoever_closes_a_listener_can_listen_there_again_at_once() {
    for placement in [Placement::LeastConnections, Placement::Kernel] {
        each_kind(|kind| {
            let rig = Rig::new();
            let engine = Engine::start(EngineConfig { placement, ..engine(2) }).expect("an engine");
            let make = || |_: &Conn<'_>| Echo;
            let mut listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
            for _ in 0..30 {
                listening.close(PATIENCE).expect("a reactor that is driven");
                listening = engine.listen(listening.address(), config(kind), make).expect("it is free");
            }
            Client::dial(listening.address()).echoes(b"hello");
            until("all to have left", || engine.connections() == 0);
            end(&engine);
        });
    }
}

#[test]
fn a_close_that_cannot_be_waited_for_says_so_and_is_done_later() {
    let rig = Rig::new();
    let engine = Engine::start(engine(1)).expect("an engine");
    let listening =
        engine.listen(&rig.address(Kind::Tcp), config(Kind::Tcp), || |_: &Conn<'_>| Echo).expect("it listens");
    let inner = listening.clone();
    let refused = engine.ask(0, move |_| inner.close(PATIENCE)).expect("an answer");
    assert!(matches!(refused, Err(Error::OnReactorThread)), "{refused:?}");
    until("nobody to listen", || connect(listening.address()).is_err());
    let listening =
        engine.listen(&rig.address(Kind::Tcp), config(Kind::Tcp), || |_: &Conn<'_>| Echo).expect("it listens");
    let go = hold(&engine.remotes()[0]);
    let refused = listening.close(Duration::from_millis(1));
    assert!(matches!(refused, Err(Error::NotDriven)), "{refused:?}");
    drop(go);
    until("nobody to listen", || connect(listening.address()).is_err());
    end(&engine);
    listening.close(Duration::ZERO).expect("what has ended has closed it");
}

#[test]
fn orders_to_a_listener_are_not_lost_while_the_mailbox_is_full() {
    each_kind(|kind| {
        let rig = Rig::new();
        let reactor = ReactorConfig { mailbox_commands_max: 8, ..ReactorConfig::default() };
        let engine = Engine::start(EngineConfig { reactor, ..engine(2) }).expect("an engine");
        let listening = engine.listen(&rig.address(kind), config(kind), || |_: &Conn<'_>| Echo).expect("it listens");
        let goes: Vec<_> = engine.remotes().iter().map(hold).collect();
        let fill = || engine.remotes().iter().for_each(|remote| while remote.run(|_| ()).is_ok() {});
        let hold_all = || -> Vec<_> {
            until("room", || engine.health().iter().all(|health| health.commands_waiting == 0));
            engine.remotes().iter().map(hold).collect()
        };
        fill();
        listening.pause();
        drop(goes);
        until("it to pause", || engine.health().iter().any(|health| health.listeners_paused == 1));
        let goes = hold_all();
        fill();
        listening.resume();
        drop(goes);
        Client::dial(listening.address()).echoes(b"hello");
        let goes = hold_all();
        fill();
        listening.remove();
        drop(goes);
        until("nobody to listen", || connect(listening.address()).is_err());
        until("all to have left", || engine.connections() == 0);
        end(&engine);
    });
}

#[test]
fn a_reactor_that_is_held_up_does_not_hold_up_the_drain_of_the_others() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin, Placement::Kernel] {
        each_kind(|kind| {
            for held in [0, 1] {
                let rig = Rig::new();
                let engine = Engine::start(EngineConfig { placement, ..engine(2) }).expect("an engine");
                let make = || |_: &Conn<'_>| Hooks::new().drain(|conn| _ = conn.write(b"bye"));
                let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
                let mut clients = Vec::new();
                // Until both have one; the kernel may take its time.
                while engine.remotes().iter().any(|remote| remote.connections() == 0) {
                    clients.push(Client::dial(listening.address()));
                }
                let go = hold(&engine.remotes()[held]);
                engine.stop(PATIENCE);
                let other = &engine.remotes()[1 - held];
                let mut heard = 0;
                let count = other.connections();
                std::thread::scope(|scope| {
                    let (tell, told) = std::sync::mpsc::channel();
                    for mut client in clients {
                        let tell = tell.clone();
                        scope.spawn(move || {
                            let said = client.read_exact(3);
                            let _ = tell.send(());
                            drop(client);
                            assert_eq!(said, b"bye");
                        });
                    }
                    while heard < count {
                        told.recv_timeout(PATIENCE).expect("a goodbye of the reactor that is not held up");
                        heard += 1;
                    }
                    drop(go);
                });
                let report = engine.wait(PATIENCE).expect("a report");
                assert_eq!(report.cut, 0);
            }
        });
    }
}

#[test]
fn a_question_that_was_given_up_leaves_nothing_behind() {
    let rig = Rig::new();
    let engine = Arc::new(Engine::start(engine(2)).expect("an engine"));
    let go = hold(&engine.remotes()[1]);
    let addresses: Vec<_> = [Kind::Tcp, Kind::Unix].map(|kind| rig.address(kind)).into();
    let gram = Address::unixgram(rig.path()).expect("a short path");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
    let addresses: Vec<_> = std::iter::once(Address::tcp(port)).chain(addresses.into_iter().skip(1)).collect();
    // All at once, since each waits for as long as a question may take.
    std::thread::scope(|scope| {
        for address in &addresses {
            let engine = &engine;
            scope.spawn(move || {
                let answer = engine.listen(address, ListenConfig::default(), || |_: &Conn<'_>| Echo).map(drop);
                assert!(matches!(answer, Err(Error::NotDriven)), "{answer:?}");
            });
        }
        scope.spawn(|| {
            let config = DatagramConfig::default();
            let answer = engine.ask(1, move |cx| cx.bind(&gram, config, Nobody).map(drop));
            assert!(matches!(answer, Err(Error::NotDriven)), "{answer:?}");
        });
    });
    drop(go);
    engine.snapshots().and_then(|_| engine.snapshots()).expect("counters");
    for address in &addresses {
        assert!(connect(address).is_err(), "{address}");
    }
    assert_eq!((engine.connections(), sum(&engine, |c| c.bound)), (0, 0));
    end(&engine);
}

struct Nobody;

impl DatagramHandler for Nobody {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &Datagram<'_>) {}
}

#[test]
fn streams_pass_over_a_reactor_that_is_held_up() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin] {
        each_kind(|kind| {
            let rig = Rig::new();
            let (engine, address) = echoing(&rig, kind, EngineConfig { placement, ..engine(3) });
            let go = hold(&engine.remotes()[1]);
            until("it to be seen as held up", || !engine.health()[1].is_responsive(Duration::from_millis(250)));
            let mut clients: Vec<Client> = (0..12).map(|_| Client::dial(&address)).collect();
            clients.iter_mut().for_each(|client| client.echoes(b"hello"));
            assert_eq!(engine.remotes()[1].connections(), 0);
            drop(go);
            let mut more: Vec<Client> = Vec::new();
            until("it to be given some again", || {
                more.push(Client::dial(&address));
                engine.remotes()[1].connections() > 0
            });
            drop((clients, more));
            until("all to have left", || engine.connections() == 0);
            end(&engine);
        });
    }
}

#[test]
fn helpers_and_reactors_run_on_all_cores_whoever_starts_them() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let cores = || sched_getaffinity(None).expect("a mask").count();
    let all = cores();
    if all < 2 {
        return skip("one core: no thread can be pinned");
    }
    let mask = sched_getaffinity(None).expect("a mask");
    let first = (0..CpuSet::MAX_CPU).find(|core| mask.is_set(*core)).expect("a core");
    let pinned = move || {
        let mut one = CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one).expect("a core");
        assert_eq!(EngineConfig::default().reactors as u32, all);
        let free = Engine::start(engine(2)).expect("an engine");
        assert_eq!(free.ask(1, move |_| cores()).expect("an answer"), all);
        let each = Engine::start(EngineConfig { pinning: Pinning::Pinned, ..engine(2) }).expect("an engine");
        let core = |reactor| each.ask(reactor, move |_| sched_getaffinity(None).expect("a mask")).expect("an answer");
        assert_eq!((core(0).count(), core(1).count()), (1, 1));
        assert!(core(0) != core(1));
        // What a pinned reactor starts.
        let (tell, told) = mpsc::channel();
        let resolver = Resolver::new(move |_| {
            let _ = tell.send(cores());
            Ok(Vec::new())
        });
        let connector = Connector::builder("tcp://nowhere.example:9".parse().expect("an address")).resolver(resolver);
        let _connector = connector.start(&each.remotes()[0], |_: &Conn<'_>| Echo).expect("it begins");
        assert_eq!(told.recv_timeout(PATIENCE), Ok(all));
        let rig = Rig::new();
        let (tell, told) = mpsc::channel();
        let (tell_end, told_end) = mpsc::channel();
        let plan = EngineConfig { pinning: Pinning::Pinned, ..engine(1) };
        let builder = rig.builder(1).engine_config(plan).on_event(move |event| {
            if *event == ServerEvent::Gone {
                let _ = tell_end.send(cores());
            }
        });
        let builder = builder.blocking_handler(BlockingConfig::default(), move |_, _| {
            let _ = tell.send(cores());
            Ok(())
        });
        let (server, address) = rig.listen(builder, Kind::Tcp);
        let _client = Client::dial(&address);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(all));
        server.shutdown(PATIENCE).expect("a report");
        assert_eq!(told_end.recv_timeout(PATIENCE), Ok(all), "the thread that tells of a server's end");
        end(&free);
        end(&each);
    };
    std::thread::spawn(pinned).join().expect("no panic");
}

#[test]
fn a_connection_of_the_accepting_reactor_holds_up_neither_a_removal_nor_the_others_drain() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin] {
        each_kind(|kind| {
            let rig = Rig::new();
            let engine = Engine::start(EngineConfig { placement, ..engine(2) }).expect("an engine");
            let make = || |_: &Conn<'_>| Hooks::new().data(|conn, data| conn.write_some(data)).drain(|_| ());
            let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
            let mut clients = Vec::new();
            // One that stays on the first reactor.
            while engine.remotes()[0].connections() == 0 {
                clients.push(Client::dial(listening.address()));
            }
            listening.close(PATIENCE).expect("a reactor that is driven");
            let of_second = |cx: &mut windlass::Context<'_>| cx.listeners().len();
            until("the other reactor to have no listener", || engine.ask(1, of_second).expect("an answer") == 0);
            let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
            let last = clients.iter().position(|client| {
                let _ = client;
                engine.remotes()[0].connections() > 0
            });
            assert!(last.is_some());
            let second = engine.remotes()[1].clone();
            // Those of the second leave; the first one's stay to the deadline.
            let on_second = engine.remotes()[1].connections();
            engine.stop(PATIENCE);
            if on_second == 0 {
                second.wait(PATIENCE / 4).expect("it has nothing to wait for");
            }
            drop(clients);
            engine.wait(PATIENCE).expect("a report");
            drop(listening);
        });
    }
}

#[test]
fn a_listener_with_a_pace_serves_its_backlog_when_it_is_removed() {
    each_kind(|kind| {
        let rig = Rig::new();
        let engine = Engine::start(engine(2)).expect("an engine");
        let config = ListenConfig { accepts_per_second: Some(10), ..config(kind) };
        let listening = engine.listen(&rig.address(kind), config, || |_: &Conn<'_>| Echo).expect("it listens");
        let sockets: Vec<_> = (0..20).map(|_| connect(listening.address()).expect("a place")).collect();
        listening.close(PATIENCE).expect("a reactor that is driven");
        for socket in sockets {
            Client::over(socket.into(), listening.address()).expect("a handshake").echoes(b"hello");
        }
        until("all to have left", || engine.connections() == 0);
        end(&engine);
    });
}

#[test]
fn an_engine_whose_last_handle_goes_with_its_reactor_ends_without_a_panic() {
    let engine = Arc::new(Engine::start(engine(2)).expect("an engine"));
    let (tell, told) = mpsc::channel();
    struct Tells(Arc<Engine>, mpsc::Sender<bool>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.1.send(matches!(self.0.join(), Err(Error::OnReactorThread)));
        }
    }
    let kept = Tells(engine.clone(), tell);
    // It never comes, and is dropped with the reactor.
    engine.remotes()[0].run(move |cx| _ = cx.after(Duration::MAX, move |_| drop(kept))).expect("it runs");
    engine.stop(Duration::ZERO);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
    let reports = engine.join().expect("outside of callbacks");
    assert!(reports.len() == 2 && reports.iter().all(Result::is_ok), "{reports:?}");
}
