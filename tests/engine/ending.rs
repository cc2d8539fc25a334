//! How an engine is asked, and how it ends: drained, cut, dropped, or by a thread that died.

use crate::placement::{config, echoing, end, hold, sum};
use crate::support::blocking::{self, Client, Rig, Tale, Trouble, connect, engine, until};
use crate::support::{Echo, Hooks, Kind, PATIENCE, alone, descriptors, each_kind};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};
use windlass::{
    Address, Conn, Context, Counters, Datagram, DatagramConfig, DatagramHandler, Datagrams, Engine, EngineConfig,
    Error, ListenConfig, Pinning, Placement, Reactor, ReactorConfig, Remote, Report, Server, ServerEvent,
};

#[test]
fn whatever_cannot_work_is_refused_by_its_name() {
    let base = EngineConfig::default;
    let cases = [
        ("reactors", EngineConfig { reactors: 0, ..base() }),
        ("reactors", EngineConfig { reactors: 1025, ..base() }),
        ("connections_max", EngineConfig { connections_max: 0, ..base() }),
        ("name", EngineConfig { name: "\0".to_owned(), ..base() }),
        (
            "commands_per_turn",
            EngineConfig { reactor: ReactorConfig { commands_per_turn: 0, ..ReactorConfig::default() }, ..base() },
        ),
    ];
    base().validate().expect("the defaults");
    for (field, config) in cases {
        let error = Engine::start(config).expect_err(field);
        assert!(matches!(&error, Error::Config { field: told, .. } if *told == field), "{error}");
    }
}

#[test]
fn threads_have_names_with_their_numbers_pinned_or_not() {
    for pinning in [Pinning::Free, Pinning::Pinned] {
        let engine = Engine::start(EngineConfig { name: "loop".to_owned(), pinning, ..engine(3) }).expect("an engine");
        assert_eq!(engine.remotes().len(), 3);
        // Linux keeps 15 bytes.
        let long = Engine::start(EngineConfig {
            name: "a-service-with-a-long-name".to_owned(),
            pinning,
            ..blocking::engine(2)
        });
        let long = long.expect("an engine");
        let name = |_: &mut Context<'_>| std::fs::read_to_string("/proc/thread-self/comm").expect("a name");
        assert_eq!(long.ask(1, name).expect("an answer"), "a-service-wit-1\n");
        end(&long);
        for reactor in 0..3 {
            let name = engine.ask(reactor, |_| std::thread::current().name().map(str::to_owned)).expect("an answer");
            assert_eq!(name, Some(format!("loop-{reactor}")));
        }
        assert!(matches!(engine.ask(3, |_| ()), Err(Error::ReactorGone)));
        end(&engine);
    }
}

#[test]
fn whoever_would_wait_for_a_reactor_on_a_reactors_thread_is_refused() {
    let rig = Rig::new();
    let engine = Arc::new(Engine::start(engine(2)).expect("an engine"));
    let asked = engine.clone();
    let address = rig.address(Kind::Unix);
    let gram = Address::unixgram(rig.path()).expect("a short path");
    let refused = engine.ask(0, move |_| {
        let listen = asked.listen(&address, ListenConfig::default(), || |_: &Conn<'_>| Echo).map(drop);
        let bind = asked.bind(&gram, DatagramConfig::default(), || Nobody).map(drop);
        let all = [
            asked.ask(0, |_| ()),
            asked.ask(1, |_| ()),
            asked.snapshots().map(drop),
            listen,
            bind,
            asked.shutdown(Duration::ZERO).map(drop),
            asked.wait(Duration::ZERO).map(drop),
        ];
        let left =
            address.path().is_some_and(std::path::Path::exists) || gram.path().is_some_and(std::path::Path::exists);
        (all.map(|answer| matches!(answer, Err(Error::OnReactorThread))), left)
    });
    assert_eq!(refused.expect("an answer"), ([true; 7], false));
    assert_eq!(engine.connections(), 0);
    end(&engine);
}

struct Nobody;

impl DatagramHandler for Nobody {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &Datagram<'_>) {}
}

#[test]
fn a_question_or_maker_that_panics_is_told_as_that_and_ends_nothing() {
    let rig = Rig::new();
    let (engine, address) = echoing(&rig, Kind::Tcp, engine(2));
    let answer = engine.ask(1, |_| -> () { panic!("in a question") });
    assert!(matches!(answer, Err(Error::CallbackPanicked { callback: "ask" })), "{answer:?}");
    let unix = rig.address(Kind::Unix);
    struct Never;
    impl windlass::Accept for Never {
        type Handler = Echo;

        fn make(&mut self, _: &Conn<'_>) -> Echo {
            Echo
        }
    }
    let make = || -> Never { panic!("in a maker's maker") };
    let answer = engine.listen(&unix, ListenConfig::default(), make).map(drop);
    assert!(matches!(answer, Err(Error::CallbackPanicked { callback: "make" })), "{answer:?}");
    until("nothing to be left", || !unix.path().expect("a path").exists());
    let gram = Address::unixgram(rig.path()).expect("a short path");
    let answer = engine.bind(&gram, DatagramConfig::default(), || -> Nobody { panic!("in a maker") }).map(drop);
    assert!(matches!(answer, Err(Error::CallbackPanicked { callback: "make" })), "{answer:?}");
    until("nothing to be left", || !gram.path().expect("a path").exists());
    Client::dial(&address).echoes(b"hello");
    until("it to have left", || engine.connections() == 0);
    assert_eq!(sum(&engine, |c| c.panics), 3);
    end(&engine);
}

#[test]
fn what_reactors_count_adds_up_exactly() {
    each_kind(|kind| {
        let rig = Rig::new();
        let engine = Engine::start(engine(3)).expect("an engine");
        let play = |_: &Conn<'_>| {
            Hooks::new().data(|conn, data| {
                assert!(data[0] != b'p', "a handler's own");
                conn.write_some(data)
            })
        };
        let listening = engine.listen(&rig.address(kind), config(kind), move || play).expect("it listens");
        let address = listening.address();
        const EACH: u64 = 12;
        for _ in 0..EACH {
            let mut client = Client::dial(address);
            client.echoes(&[7; 1000]);
            client.close();
            drop(Client::raw(address));
            let mut client = Client::dial(address);
            client.send(b"p");
            client.read_to_close();
        }
        until("all to be over", || sum(&engine, |c| c.accepted) == 3 * EACH && engine.connections() == 0);
        let all = engine.snapshots().expect("counters");
        let total = |count: fn(&Counters) -> u64| all.iter().map(count).sum::<u64>();
        assert_eq!(total(|c| c.accepted), total(|c| c.opened) + total(|c| c.failed));
        assert_eq!(total(|c| c.failed), if kind.is_tls() { EACH } else { 0 });
        assert_eq!((total(|c| c.opened), total(|c| c.panics)), (total(|c| c.closed_total()), EACH));
        let (came, left) = (total(|c| c.bytes_in), total(|c| c.bytes_out));
        if kind.is_tls() {
            assert!(came > EACH * 1001 && left > EACH * 1000);
        } else {
            assert_eq!((came, left), (EACH * 1001, EACH * 1000));
        }
        end(&engine);
    });
}

#[test]
fn shutdown_from_many_threads_gives_all_the_same_report() {
    each_kind(|kind| {
        let rig = Rig::new();
        let engine = Arc::new(Engine::start(engine(3)).expect("an engine"));
        let stay = |_: &Conn<'_>| Hooks::new().data(|conn, data| conn.write_some(data)).drain(|_| {});
        let listening = engine.listen(&rig.address(kind), config(kind), move || stay).expect("it listens");
        let mut clients: Vec<Client> = (0..7).map(|_| Client::dial(listening.address())).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"here"));
        let barrier = Arc::new(Barrier::new(8));
        let began = Instant::now();
        let threads: Vec<_> = (0..8u64)
            .map(|number| {
                let (engine, barrier) = (engine.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    engine.shutdown(Duration::from_millis(100 + 1000 * number)).expect("a report")
                })
            })
            .collect();
        let reports: Vec<Report> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert!(began.elapsed() < Duration::from_millis(900), "the soonest deadline counts");
        assert!(reports.iter().all(|report| *report == reports[0]), "{reports:?}");
        assert_eq!((reports[0].drained, reports[0].cut), (0, 7));
        assert_eq!(engine.connections(), 0);
        assert_eq!(engine.join().expect("outside of callbacks").len(), 3);
    });
}

#[test]
fn the_deadline_holds_though_a_callback_holds_the_accepting_reactor_up() {
    each_kind(|kind| {
        let rig = Rig::new();
        let engine = Engine::start(engine(2)).expect("an engine");
        let stay = |_: &Conn<'_>| Hooks::new().data(|conn, data| conn.write_some(data)).drain(|_| {});
        let listening = engine.listen(&rig.address(kind), config(kind), move || stay).expect("it listens");
        let mut clients: Vec<Client> = (0..2).map(|_| Client::dial(listening.address())).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"hello"));
        let homes: Vec<usize> = clients.iter_mut().map(|client| home_of(&engine, client)).collect();
        let mut client = clients.swap_remove(homes.iter().position(|home| *home == 1).expect("one there"));
        let go = hold(&engine.remotes()[0]);
        let (drain, began) = (Duration::from_millis(200), Instant::now());
        engine.stop(drain);
        client.read_to_close();
        let took = began.elapsed();
        assert!(took >= drain && took < drain + Duration::from_millis(100), "{took:?}");
        assert!(matches!(engine.wait(Duration::ZERO), Err(Error::NotDriven)));
        drop(go);
        assert_eq!(engine.wait(PATIENCE).expect("a report").cut, 2);
    });
}

#[test]
fn an_engine_answers_sensibly_after_its_end() {
    let rig = Rig::new();
    let (engine, address) = echoing(&rig, Kind::Tcp, engine(2));
    Client::dial(&address).echoes(b"hello");
    let report = engine.shutdown(PATIENCE).expect("a report");
    assert_eq!(engine.shutdown(Duration::ZERO).expect("the same"), report);
    assert_eq!(engine.wait(Duration::ZERO).expect("the same"), report);
    engine.stop(Duration::MAX);
    assert!(matches!(engine.ask(0, |_| ()), Err(Error::ReactorGone)));
    assert!(matches!(engine.snapshots(), Err(Error::ReactorGone)));
    let unix = rig.address(Kind::Unix);
    let refused = engine.listen(&unix, ListenConfig::default(), || |_: &Conn<'_>| Echo).map(drop);
    assert!(matches!(refused, Err(Error::ReactorGone)), "{refused:?}");
    assert!(!unix.path().expect("a path").exists());
    let gram = Address::unixgram(rig.path()).expect("a short path");
    let refused = engine.bind(&gram, DatagramConfig::default(), || Nobody).map(drop);
    assert!(matches!(refused, Err(Error::ReactorGone)), "{refused:?}");
    assert!(!gram.path().expect("a path").exists());
    assert_eq!((engine.connections(), engine.remotes().len()), (0, 2));
    assert_eq!(engine.least_loaded().connections(), 0);
    assert_eq!(
        (engine.join().expect("outside of callbacks").len(), engine.join().expect("outside of callbacks").len()),
        (2, 0)
    );
}

#[test]
fn listening_at_a_taken_address_is_an_error_and_disturbs_nobody() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (engine, address) = echoing(&rig, kind, engine(2));
        let refused = engine.listen(&address, config(kind), || |_: &Conn<'_>| Echo).map(drop);
        assert!(matches!(refused, Err(Error::Listen { .. })), "{refused:?}");
        Client::dial(&address).echoes(b"hello");
        end(&engine);
    });
}

#[test]
fn dropping_an_engine_cuts_all_and_leaves_no_descriptor() {
    alone("ending::dropping_an_engine_cuts_all_and_leaves_no_descriptor", || {
        each_kind(|kind| {
            let rig = Rig::new();
            let before = descriptors();
            for _ in 0..3 {
                let closes = Tale::default();
                let told = closes.clone();
                let engine = Engine::start(engine(3)).expect("an engine");
                let make = move || {
                    let told = told.clone();
                    move |_: &Conn<'_>| {
                        let told = told.clone();
                        Hooks::new()
                            .data(|conn, data| conn.write_some(data))
                            .drain(|_| {})
                            .close(move |_, reason| told.tell(reason))
                    }
                };
                let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
                let address = listening.address().clone();
                let gram = engine.bind(
                    &Address::unixgram(rig.path()).expect("a short path"),
                    DatagramConfig::default(),
                    || Nobody,
                );
                drop(gram.expect("it is bound"));
                let mut clients: Vec<Client> = (0..9).map(|_| Client::dial(&address)).collect();
                clients.iter_mut().for_each(|client| client.echoes(b"hello"));
                let remotes = engine.remotes().to_vec();
                drop(engine);
                assert_eq!(closes.count(), 9, "all are told before it returns");
                assert!(remotes.iter().all(|remote| remote.connections() == 0));
                assert!(connect(&address).is_err());
                drop(clients);
                assert_eq!(descriptors(), before, "whoever keeps remotes keeps no descriptor");
                drop((remotes, listening));
            }
        });
    });
}

#[test]
fn a_server_leaves_no_descriptor_however_it_ends() {
    alone("ending::a_server_leaves_no_descriptor_however_it_ends", || {
        each_kind(|kind| {
            let rig = Rig::new();
            let before = descriptors();
            for round in 0..4 {
                let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo);
                let builder = builder.address(rig.address(kind));
                if round == 3 {
                    // It cannot begin.
                    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
                    let at = Address::tcp(taken.local_addr().expect("an address"));
                    let server = builder.address(at).build().expect("a server");
                    server.listen().expect_err("it is taken");
                    continue;
                }
                let server = builder.build().expect("a server");
                server.listen().expect("it listens");
                let mut client = Client::dial(&server.local_addresses()[0]);
                client.echoes(b"hello");
                if round != 1 {
                    client.close();
                    server.shutdown(PATIENCE).expect("a report");
                }
                drop(server);
            }
            // The last thread of a server may still be on its way out.
            until("all descriptors to be closed", || descriptors() == before);
        });
    });
}

/// Panics in a reactor's own code, where no callback runs, when it is told of a handler that uses more than there was.
struct DeadlyLog;

impl log::Log for DeadlyLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert!(!record.args().to_string().contains("on_data used"), "in the log");
    }

    fn flush(&self) {}
}

/// Echoes, and kills its reactor when it is told to.
fn mortal(_: &Conn<'_>) -> Hooks {
    Hooks::new().data(|conn, data| if data == b"die" { data.len() + 1 } else { conn.write_some(data) })
}

fn with_deadly_log() {
    static LOG: OnceLock<()> = OnceLock::new();
    LOG.get_or_init(|| {
        log::set_logger(&DeadlyLog).expect("the first one");
        log::set_max_level(log::LevelFilter::Error);
    });
}

#[test]
fn a_thread_that_died_is_told_by_join_and_the_others_live_on() {
    alone("ending::a_thread_that_died_is_told_by_join_and_the_others_live_on", || {
        with_deadly_log();
        each_kind(|kind| {
            // The accepting one, or another.
            for dying in [0, 1] {
                let rig = Rig::new();
                let engine = Engine::start(EngineConfig { name: "mortal".to_owned(), ..engine(3) }).expect("an engine");
                let listening = engine.listen(&rig.address(kind), config(kind), || mortal).expect("it listens");
                // One on each.
                let mut clients: Vec<Client> = (0..3).map(|_| Client::dial(listening.address())).collect();
                clients.iter_mut().for_each(|client| client.echoes(b"hello"));
                let busy =
                    |engine: &Engine| -> Vec<usize> { engine.remotes().iter().map(Remote::connections).collect() };
                assert_eq!(busy(&engine), [1; 3]);
                let mut left = Vec::new();
                let homes: Vec<usize> = clients.iter_mut().map(|client| home_of(&engine, client)).collect();
                for (mut client, home) in clients.into_iter().zip(homes) {
                    if home == dying {
                        client.send(b"die");
                        client.read_to_close();
                    } else {
                        left.push(client);
                    }
                }
                let died = &engine.remotes()[dying];
                assert!(matches!(died.wait(PATIENCE), Err(Error::ReactorGone)));
                assert_eq!(died.connections(), 0);
                left.iter_mut().for_each(|client| client.echoes(b"still here"));
                assert!(matches!(engine.ask(dying, |_| ()), Err(Error::ReactorGone)));
                if dying != 0 {
                    for _ in 0..4 {
                        Client::dial(listening.address()).echoes(b"and new ones");
                    }
                }
                drop(left);
                assert!(matches!(engine.shutdown(PATIENCE), Err(Error::ReactorGone)));
                let name = format!("mortal-{dying}");
                for (number, ended) in engine.join().expect("outside of callbacks").into_iter().enumerate() {
                    match ended {
                        Err(Error::ThreadDied { name: told }) => assert_eq!((number, &told), (dying, &name)),
                        ended => assert!(number != dying && ended.is_ok(), "{number}: {ended:?}"),
                    }
                }
                assert_eq!(engine.connections(), 0);
            }
        });
    });
}

#[test]
fn a_thread_that_died_gets_nobody_more_and_the_others_share_evenly() {
    // It has no connections, so it once was the one with the fewest for ever, and all stayed with the accepting one.
    const COUNT: usize = 12;
    alone("ending::a_thread_that_died_gets_nobody_more_and_the_others_share_evenly", || {
        with_deadly_log();
        for placement in [Placement::LeastConnections, Placement::RoundRobin] {
            each_kind(|kind| {
                let rig = Rig::new();
                let engine = Engine::start(EngineConfig { placement, ..engine(3) }).expect("an engine");
                let listening = engine.listen(&rig.address(kind), config(kind), || mortal).expect("it listens");
                let mut clients: Vec<Client> = (0..3).map(|_| Client::dial(listening.address())).collect();
                clients.iter_mut().for_each(|client| client.echoes(b"hello"));
                let homes: Vec<usize> = clients.iter_mut().map(|client| home_of(&engine, client)).collect();
                let mut dying = clients.remove(homes.iter().position(|home| *home == 2).expect("one on each"));
                dying.send(b"die");
                dying.read_to_close();
                let died = &engine.remotes()[2];
                assert!(matches!(died.wait(PATIENCE), Err(Error::ReactorGone)));
                drop(clients);
                until("all to have left", || engine.connections() == 0);
                let mut clients = Vec::new();
                for _ in 0..COUNT {
                    let mut client = Client::dial(listening.address());
                    client.echoes(b"hello");
                    clients.push(client);
                    // The one that a dead reactor did not take is served by the one that accepts.
                    engine.least_loaded().run(|_| {}).expect("it lives");
                }
                let loads: Vec<usize> = engine.remotes().iter().map(Remote::connections).collect();
                assert!(loads[0].abs_diff(loads[1]) <= 2 && loads[2] == 0, "{placement:?}: {loads:?}");
                drop(clients);
                assert!(matches!(engine.shutdown(PATIENCE), Err(Error::ReactorGone)));
            });
        }
    });
}

/// The reactor that reads what this client sends.
fn home_of(engine: &Engine, client: &mut Client) -> usize {
    let read = || -> Vec<u64> {
        let counters = engine.snapshots().expect("counters");
        counters.iter().map(|counters| counters.bytes_in).collect()
    };
    let before = read();
    client.echoes(b"where?");
    let after = read();
    before.iter().zip(&after).position(|(before, after)| before != after).expect("somewhere")
}

#[test]
fn a_server_tells_at_once_of_a_thread_that_died_and_ends() {
    alone("ending::a_server_tells_at_once_of_a_thread_that_died_and_ends", || {
        with_deadly_log();
        each_kind(|kind| {
            let rig = Rig::new();
            let (server, address): (Server, Address) = rig.listen(rig.builder(2).handler(|| mortal), kind);
            let mut client = Client::dial(&address);
            client.echoes(b"hello");
            client.send(b"die");
            client.read_to_close();
            // Nobody has asked for an end.
            rig.errors.until("the death", |told| told.iter().any(is_death));
            until("it to be gone", || server.open_connections() == 0);
            assert!(matches!(server.shutdown(PATIENCE), Err(Error::ReactorGone)));
            rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
            assert!(server.is_gone());
            assert!(matches!(server.wait(Duration::ZERO), Err(Error::ReactorGone)));
            let told = rig.errors.until("the death", |told| told.iter().any(is_death));
            assert_eq!(told.iter().filter(|trouble| is_death(trouble)).count(), 1);
            assert!(connect(&address).is_err());
        });
    });
}

fn is_death(trouble: &Trouble) -> bool {
    trouble.text.starts_with("the thread windlass-") && trouble.text.contains("has panicked")
}

#[test]
fn join_in_a_callback_is_refused_and_loses_no_report() {
    let engine = Arc::new(Engine::start(engine(2)).expect("an engine"));
    let inner = Arc::downgrade(&engine);
    let refused = engine.ask(1, move |_| {
        let engine = inner.upgrade().expect("it lives");
        engine.stop(Duration::ZERO);
        engine.join().map(|reports| reports.len())
    });
    assert!(matches!(refused, Ok(Err(Error::OnReactorThread))), "{refused:?}");
    let reports = engine.join().expect("outside of callbacks");
    assert_eq!(reports.iter().filter(|report| report.is_ok()).count(), 2);
}

#[test]
fn whoever_would_wait_for_a_reactor_around_the_one_it_drives_is_refused() {
    let mut outer = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let remote = outer.remote();
    let answers = Rc::new(RefCell::new(Vec::new()));
    let told = answers.clone();
    outer.after(Duration::ZERO, move |_| {
        let mut inner = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let told = told.clone();
        inner.after(Duration::ZERO, move |cx| {
            told.borrow_mut().extend([remote.wait(PATIENCE), remote.shutdown(PATIENCE), cx.remote().wait(PATIENCE)]);
            cx.shutdown(Duration::ZERO);
        });
        inner.run().expect("a report");
    });
    while answers.borrow().is_empty() {
        outer.poll_once(None).expect("a turn");
    }
    assert!(answers.borrow().iter().all(|answer| matches!(answer, Err(Error::OnReactorThread))), "{answers:?}");
    // Once it is over, others may be waited for again.
    assert_eq!(outer.remote().wait(Duration::ZERO).expect_err("it runs").to_string(), Error::NotDriven.to_string());
}
