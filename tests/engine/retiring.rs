//! Listeners that are paused, removed and closed while others connect, and calls that give up.

use crate::placement::{config, end, hold, sum};
use crate::support::blocking::{Client, Rig, connect, engine, until};
use crate::support::{Echo, Hooks, Kind, PATIENCE, each_kind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use windlass::{Conn, Engine, EngineConfig, Error, Placement, ReactorConfig};

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
        fill();
        listening.pause();
        drop(goes);
        until("it to pause", || engine.health().iter().any(|health| health.listeners_paused == 1));
        let goes: Vec<_> = engine.remotes().iter().map(hold).collect();
        fill();
        listening.resume();
        drop(goes);
        Client::dial(listening.address()).echoes(b"hello");
        let goes: Vec<_> = engine.remotes().iter().map(hold).collect();
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
