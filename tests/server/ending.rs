//! How a server ends: drained, cut, asked from everywhere and at any time.

use crate::support::blocking::{Client, Rig, Tale, connect, listen_config, until};
use crate::support::{Echo, Hooks, Kind, PATIENCE, each_kind};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};
use windlass::{Address, Conn, Error, ListenConfig, Reason, Report, Server, ServerEvent, SocketOptions};

/// What may come between a deadline and its end, on a machine with other work.
const SLACK: Duration = Duration::from_millis(100);

#[test]
fn an_idle_server_ends_at_once() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, _) = rig.listen(rig.builder(2).handler(|| |_: &Conn<'_>| Echo), kind);
        let began = Instant::now();
        assert_eq!(rig.end_within(&server, Duration::from_secs(30)), Report::default());
        assert!(began.elapsed() < Duration::from_secs(5));
        let events = rig.events.all();
        let told = [ServerEvent::Draining, ServerEvent::Drained(Report::default()), ServerEvent::Gone];
        assert_eq!(events[1..], told);
    });
}

#[test]
fn a_slow_reader_still_gets_all_that_was_queued_and_an_end_in_order() {
    const BYTES: usize = 900_000;
    each_kind(|kind| {
        let rig = Rig::new();
        let payload: Arc<Vec<u8>> = Arc::new((0..BYTES).map(|n| (n % 251) as u8).collect());
        let (opened, queued) = (Tale::default(), payload.clone());
        let told = opened.clone();
        let builder = rig.builder(2).handler(move || {
            let (told, queued) = (told.clone(), queued.clone());
            move |_: &Conn<'_>| {
                let (told, queued) = (told.clone(), queued.clone());
                Hooks::new().open(move |conn| {
                    conn.write(&queued).expect("room");
                    told.tell(());
                })
            }
        });
        let (server, address) = rig.listen(builder, kind);
        let mut slow = Client::dial(&address);
        opened.until_count("all to be queued", 1);
        let remotes = server.remotes();
        server.stop(PATIENCE);
        assert!(!server.is_running() && !server.is_gone());
        assert_eq!(server.open_connections(), 1);
        let mut all = Vec::new();
        while all.len() < BYTES {
            all.extend(slow.read_exact((BYTES - all.len()).min(10_000)));
        }
        assert!(all == *payload, "exact bytes");
        assert_eq!(slow.read_to_end().expect("an end in order"), b"");
        drop(slow);
        let report = server.wait(PATIENCE).expect("a report");
        assert_eq!((report.drained, report.cut, report.unsent_bytes), (1, 0, 0));
        rig.check_gone(&server, &remotes);
        assert_eq!(rig.reasons(), []);
    });
}

/// Whether a reactor begins nothing new any more.
#[cfg(feature = "tls")]
fn is_draining(remote: &windlass::Remote) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    let ask = move |cx: &mut windlass::Context<'_>| {
        let address = "udp://127.0.0.1:0".parse().expect("an address");
        let refused = cx.bind(&address, windlass::DatagramConfig::default(), Nobody);
        tell.send(matches!(refused, Err(Error::Draining))).expect("a taker");
    };
    remote.run(ask).is_err() || told.recv_timeout(PATIENCE).unwrap_or(true)
}

#[cfg(feature = "tls")]
struct Nobody;

#[cfg(feature = "tls")]
impl windlass::DatagramHandler for Nobody {
    fn on_bound(&mut self, sock: &mut windlass::Datagrams<'_>) {
        sock.close();
    }

    fn on_datagram(&mut self, _: &mut windlass::Datagrams<'_>, _: &windlass::Datagram<'_>) {}
}

/// A handler that does not close when the reactor drains.
fn stubborn(_: &Conn<'_>) -> Hooks {
    Hooks::new().data(|conn, data| conn.write_some(data)).drain(|_| {})
}

#[test]
fn a_stuck_peer_is_cut_at_the_deadline_and_counted() {
    const BYTES: usize = 900_000;
    each_kind(|kind| {
        let rig = Rig::new();
        let queue = |_: &Conn<'_>| Hooks::new().open(|conn| conn.write(&vec![7; BYTES]).expect("room"));
        // Else the kernel takes it all.
        let socket = SocketOptions { send_buffer_bytes: Some(16 * 1024), ..SocketOptions::default() };
        let config = ListenConfig { socket, ..listen_config() };
        let (server, address) = rig.listen(rig.builder(2).listen_config(config).handler(move || queue), kind);
        let socket = connect(&address).expect("a connection");
        socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
        let mut stuck = Client::over(socket.into(), &address).expect("a handshake");
        rig.until_stated(windlass::ConnState::Write, 1);
        until("one connection", || server.open_connections() == 1);
        let (drain, began) = (Duration::from_millis(300), Instant::now());
        let report = server.shutdown(drain).expect("a report");
        let took = began.elapsed();
        assert!(took >= drain && took < drain + SLACK, "{took:?}");
        assert_eq!((report.drained, report.cut), (0, 1));
        assert!(report.unsent_bytes > 0 && report.unsent_bytes <= BYTES as u64 + BYTES as u64 / 64, "{report}");
        assert!(stuck.read_to_close() < BYTES);
        assert_eq!(server.wait(Duration::ZERO).expect("the same"), report);
        let events = rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
        assert!(events.contains(&ServerEvent::Drained(report)));
        assert_eq!(rig.reasons(), [], "the end of a drain is no error");
    });
}

#[test]
fn a_handler_that_stays_is_cut_at_the_deadline() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(3).handler(|| stubborn), kind);
        let mut clients: Vec<Client> = (0..6).map(|_| Client::dial(&address)).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"here"));
        let (drain, began) = (Duration::from_millis(200), Instant::now());
        server.stop(drain);
        clients.iter_mut().for_each(|client| client.echoes(b"still here"));
        let report = rig.end(&server);
        let took = began.elapsed();
        assert!(took >= drain && took < drain + SLACK, "{took:?}");
        assert_eq!((report.drained, report.cut, report.unsent_bytes), (0, 6, 0));
    });
}

#[test]
fn new_connects_are_refused_once_it_drains() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).handler(|| stubborn), kind);
        let mut client = Client::dial(&address);
        client.echoes(b"hello");
        server.stop(PATIENCE);
        until("nobody to listen", || connect(&address).is_err());
        assert!(address.path().is_none_or(|path| !path.exists()), "the file is gone");
        client.echoes(b"what is open lives on");
        client.close();
        assert_eq!(rig.end(&server).cut, 0);
    });
}

#[test]
fn everybody_who_shuts_it_down_gets_the_same_report() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).handler(|| stubborn), kind);
        let mut clients: Vec<Client> = (0..5).map(|_| Client::dial(&address)).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"here"));
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8u64)
            .map(|number| {
                let (server, barrier) = (server.clone(), barrier.clone());
                std::thread::spawn(move || {
                    barrier.wait();
                    server.shutdown(Duration::from_millis(200 + 1000 * number)).expect("a report")
                })
            })
            .collect();
        let began = Instant::now();
        let reports: Vec<Report> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert!(began.elapsed() < Duration::from_secs(1), "the soonest deadline counts");
        assert!(reports.iter().all(|report| *report == reports[0]), "{reports:?}");
        assert_eq!((reports[0].drained, reports[0].cut), (0, 5));
        assert_eq!(rig.end(&server), reports[0]);
    });
}

#[test]
fn a_sooner_deadline_counts_and_a_later_one_does_not() {
    let rig = Rig::new();
    let (server, address) = rig.listen(rig.builder(2).handler(|| stubborn), Kind::Tcp);
    let mut client = Client::dial(&address);
    client.echoes(b"here");
    server.stop(Duration::from_secs(30));
    let began = Instant::now();
    server.stop(Duration::from_millis(200));
    server.stop(Duration::from_secs(30));
    let report = server.wait(PATIENCE).expect("a report");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_millis(300), "{took:?}");
    assert_eq!(report.cut, 1);
    rig.end(&server);
}

/// A server that its own handlers know.
fn known(rig: &Rig, kind: Kind, call: impl Fn(&Server) + Send + Sync + 'static) -> (Arc<OnceLock<Server>>, Address) {
    let (known, call) = (Arc::new(OnceLock::<Server>::new()), Arc::new(call));
    let for_handlers = known.clone();
    let builder = rig.builder(2).handler(move || {
        let (known, call) = (for_handlers.clone(), call.clone());
        move |_: &Conn<'_>| {
            let (known, call) = (known.clone(), call.clone());
            Hooks::new().data(move |_, data| {
                call(known.get().expect("it is known"));
                data.len()
            })
        }
    });
    let server = builder.address(rig.address(kind)).build().expect("a server");
    known.set(server.clone()).expect("once");
    server.listen().expect("it listens");
    (known, server.local_addresses().remove(0))
}

#[test]
fn a_callback_can_stop_it_but_not_wait_for_it() {
    each_kind(|kind| {
        let rig = Rig::new();
        let answers = Tale::default();
        let told = answers.clone();
        let (known, address) = known(&rig, kind, move |server| {
            let refused = |answer: Result<Report, Error>| matches!(answer, Err(Error::OnReactorThread));
            let all = [server.shutdown(Duration::ZERO), server.close(), server.wait(Duration::MAX)].map(refused);
            let asked = matches!(server.snapshots(), Err(Error::OnReactorThread));
            told.tell((all, asked, server.is_running()));
            server.stop(PATIENCE);
            told.tell(([true; 3], !server.is_gone(), !server.is_running()));
        });
        let server = known.get().expect("it is known");
        let remotes = server.remotes();
        let mut client = Client::dial(&address);
        client.send(b"stop");
        assert_eq!(client.read_to_end().expect("an end in order"), b"");
        drop(client);
        assert_eq!(answers.until_count("both", 2), [([true; 3], true, true); 2]);
        let report = server.wait(PATIENCE).expect("a report");
        assert_eq!((report.drained, report.cut), (1, 0));
        rig.check_gone(server, &remotes);
    });
}

#[test]
fn event_and_state_callbacks_can_stop_it_too() {
    each_kind(|kind| {
        let rig = Rig::new();
        let known = Arc::new(OnceLock::<Server>::new());
        let (by_state, states) = (known.clone(), rig.states.clone());
        let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).on_state(move |local, remote, state| {
            let (local, remote) = (local.clone(), remote.cloned());
            let thread = std::thread::current().id();
            states.tell(crate::support::blocking::Stated { thread, local, remote, state });
            let server = by_state.get().expect("it is known");
            assert!(matches!(server.shutdown(Duration::ZERO), Err(Error::OnReactorThread)));
            server.stop(PATIENCE);
        });
        let server = builder.address(rig.address(kind)).build().expect("a server");
        known.set(server.clone()).expect("once");
        server.listen().expect("it listens");
        let remotes = server.remotes();
        let socket = connect(&server.local_addresses()[0]).expect("a connection");
        // It stops at New already; with TLS the handshake is still answered.
        rig.events.until("draining", |told| told.contains(&ServerEvent::Draining));
        drop(socket);
        server.wait(PATIENCE).expect("a report");
        rig.check_gone(&server, &remotes);
        assert_eq!(rig.errors.all().len(), 0, "{:?}", rig.errors.all());
    });
}

#[test]
fn a_handshake_that_is_under_way_gets_a_quarter_of_the_drain() {
    each_kind(|kind| {
        if !kind.is_tls() {
            return;
        }
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).handler(|| |_: &Conn<'_>| Echo), kind);
        let mut silent = Client::raw(&address);
        silent.send(&[22, 3, 1, 1]);
        rig.until_stated(windlass::ConnState::New, 1);
        assert_eq!(server.open_connections(), 1);
        let (drain, began) = (Duration::from_millis(400), Instant::now());
        let report = rig.end_within(&server, drain);
        let took = began.elapsed();
        assert!(took >= drain / 4 && took < drain / 4 + SLACK, "{took:?}");
        assert_eq!((report.drained, report.cut), (1, 0));
        assert_eq!(silent.read_to_close(), 0);
        assert_eq!(rig.reasons(), []);
    });
}

#[cfg(feature = "tls")]
#[test]
fn a_drain_does_not_wait_for_peers_that_shake_no_hands() {
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).handler(|| |_: &Conn<'_>| Echo), kind);
        let silent: Vec<Client> = (0..30).map(|_| Client::raw(&address)).collect();
        rig.until_stated(windlass::ConnState::New, 30);
        let began = Instant::now();
        let report = rig.end_within(&server, PATIENCE);
        assert!(began.elapsed() < PATIENCE / 4, "{:?}", began.elapsed());
        assert_eq!((report.drained, report.cut), (30, 0));
        drop(silent);
    }
}

#[cfg(feature = "tls")]
#[test]
fn a_handshake_that_goes_on_while_it_drains_is_finished_and_served_its_end() {
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let rig = Rig::new();
        let greet = |_: &Conn<'_>| {
            Hooks::new().open(|conn| conn.write(b"hello").expect("room")).drain(|conn| {
                conn.write(b" and goodbye").expect("room");
                conn.close();
            })
        };
        let (server, address) = rig.listen(rig.builder(2).handler(move || greet), kind);
        let socket = connect(&address).expect("a connection");
        let mut late = Client::begin(socket.into(), &address).expect("a handshake");
        rig.until_stated(windlass::ConnState::New, 1);
        server.stop(PATIENCE);
        // Behind the stop, of all reactors.
        until("it to drain", || server.remotes().iter().all(is_draining));
        assert_eq!(late.read_to_end().expect("an end in order"), b"hello and goodbye");
        drop(late);
        let report = rig.end(&server);
        assert_eq!((report.drained, report.cut), (1, 0));
    }
}

#[test]
fn a_handler_that_stops_it_while_it_begins_is_obeyed_once_it_has_begun() {
    each_kind(|kind| {
        if !kind.is_unix() {
            // The address must be known before.
            return;
        }
        for _ in 0..20 {
            let rig = Rig::new();
            let known = Arc::new(OnceLock::<Server>::new());
            let for_handlers = known.clone();
            let builder = rig.builder(2).handler(move || {
                let known = for_handlers.clone();
                move |_: &Conn<'_>| {
                    let known = known.clone();
                    Hooks::new().open(move |_| known.get().expect("it is known").stop(PATIENCE))
                }
            });
            let address = rig.address(kind);
            let more = rig.address(Kind::Tcp);
            let server = builder.address(address.clone()).address(more).build().expect("a server");
            known.set(server.clone()).expect("once");
            let at = address.clone();
            let client = std::thread::spawn(move || {
                let began = Instant::now();
                loop {
                    match Client::try_dial(&at) {
                        Ok(mut client) => return client.read_to_close(),
                        Err(_) => assert!(began.elapsed() < PATIENCE),
                    }
                    std::thread::park_timeout(Duration::from_micros(50));
                }
            });
            server.listen().expect("it listens");
            client.join().expect("served");
            let report = server.wait(PATIENCE).expect("a report");
            assert_eq!(report.cut, 0);
            rig.check_gone(&server, &[]);
        }
    });
}

#[test]
fn listening_is_told_before_draining_even_if_somebody_stops_it_meanwhile() {
    let rig = Rig::new();
    let known = Arc::new(OnceLock::<Server>::new());
    let (for_events, events) = (known.clone(), rig.events.clone());
    let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).on_event(move |event| {
        events.tell(event.clone());
        if let ServerEvent::Listening(_) = event {
            let server = for_events.get().expect("it is known").clone();
            assert!(server.local_addresses().len() == 2);
            // As a signal or a callback of a reactor would.
            std::thread::spawn(move || server.stop(PATIENCE)).join().expect("no panic");
        }
    });
    let builder = builder.address(rig.address(Kind::Unix)).address(rig.address(Kind::Tcp));
    let server = builder.build().expect("a server");
    known.set(server.clone()).expect("once");
    server.listen().expect("it listens");
    server.wait(PATIENCE).expect("a report");
    rig.check_gone(&server, &[]);
    assert!(matches!(rig.events.all()[..2], [ServerEvent::Listening(_), ServerEvent::Listening(_)]));
}

#[test]
fn dropping_the_last_handle_cuts_what_is_left() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).handler(|| stubborn), kind);
        let remotes = server.remotes();
        let mut client = Client::dial(&address);
        client.echoes(b"hello");
        drop(server.clone());
        client.echoes(b"a handle is left");
        let began = Instant::now();
        drop(server);
        assert!(began.elapsed() < Duration::from_secs(1));
        client.read_to_close();
        assert!(connect(&address).is_err());
        assert!(address.path().is_none_or(|path| !path.exists()));
        let events = rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
        crate::support::blocking::check_events(&events);
        assert!(remotes.iter().all(|remote| remote.connections() == 0));
    });
}

#[test]
fn a_handle_that_is_dropped_in_a_callback_ends_it_and_hangs_nobody() {
    each_kind(|kind| {
        let rig = Rig::new();
        let slot = Arc::new(std::sync::Mutex::new(None::<Server>));
        let for_handlers = slot.clone();
        let builder = rig.builder(2).handler(move || {
            let slot = for_handlers.clone();
            move |_: &Conn<'_>| {
                let slot = slot.clone();
                Hooks::new().data(move |_, data| {
                    drop(slot.lock().expect("no panic").take());
                    data.len()
                })
            }
        });
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        *slot.lock().expect("no panic") = Some(server);
        client.send(b"drop it");
        client.read_to_close();
        rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
    });
}

#[test]
fn a_handle_answers_sensibly_after_the_end() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).handler(|| |_: &Conn<'_>| Echo), kind);
        let remotes = server.remotes();
        Client::dial(&address).echoes(b"hello");
        let report = rig.end(&server);
        for handle in [server.clone(), server] {
            assert!(handle.is_gone() && !handle.is_running());
            assert_eq!((handle.open_connections(), handle.remotes().len()), (0, 0));
            assert_eq!(handle.local_addresses(), std::slice::from_ref(&address));
            assert!(handle.snapshots().expect("nothing").is_empty());
            assert!(matches!(handle.listen(), Err(Error::ServerGone)));
            handle.stop(Duration::ZERO);
            assert_eq!(handle.shutdown(Duration::MAX).expect("a report"), report);
            assert_eq!(handle.close().expect("a report"), report);
            assert_eq!(handle.wait(Duration::MAX).expect("a report"), report);
            assert!(format!("{handle:?}").contains("Server"));
        }
        for remote in remotes {
            assert!(matches!(remote.run(|_| {}), Err(Error::ReactorGone)));
            assert!(matches!(remote.stop(Duration::ZERO), Err(Error::ReactorGone)));
            remote.wait(Duration::ZERO).expect("a report");
        }
        assert_eq!(rig.events.all().iter().filter(|event| **event == ServerEvent::Gone).count(), 1);
    });
}

#[test]
fn an_event_callback_that_takes_its_time_does_not_hold_the_drain_up() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (drained, events) = (Tale::default(), rig.events.clone());
        let waits_for = drained.clone();
        let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).on_event(move |event| {
            events.tell(event.clone());
            if *event == ServerEvent::Draining {
                waits_for.until_count("the client to be told", 1);
            }
        });
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        client.echoes(b"hello");
        let stopper = std::thread::spawn({
            let server = server.clone();
            move || server.stop(PATIENCE)
        });
        assert_eq!(client.read_to_end().expect("an end in order"), b"");
        drop(client);
        drained.tell(());
        stopper.join().expect("no panic");
        rig.end(&server);
    });
}

#[test]
fn waiting_in_any_callback_is_refused_and_hangs_nobody() {
    let rig = Rig::new();
    let known = Arc::new(OnceLock::<Server>::new());
    let (for_events, events, answers) = (known.clone(), rig.events.clone(), Tale::default());
    let told = answers.clone();
    let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).on_event(move |event| {
        events.tell(event.clone());
        let server = for_events.get().expect("it is known");
        let waits = matches!(server.wait(Duration::MAX), Err(Error::OnReactorThread));
        told.tell((event.to_string(), waits));
    });
    let server = builder.address(rig.address(Kind::Tcp)).build().expect("a server");
    known.set(server.clone()).expect("once");
    server.listen().expect("it listens");
    server.shutdown(PATIENCE).expect("a report");
    rig.check_gone(&server, &[]);
    let answers = answers.until_count("all events", 4);
    assert!(answers.iter().all(|(_, refused)| *refused), "{answers:?}");
}

#[test]
fn a_reactor_that_is_held_up_is_told_as_such_and_ends_later() {
    let rig = Rig::new();
    let (go, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let (server, _) = rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Echo), Kind::Tcp);
    let remotes = server.remotes();
    let wait = move |_: &mut windlass::Context<'_>| {
        let _ = held.lock().expect("no panic").recv();
    };
    remotes[0].run(wait).expect("it runs");
    assert!(matches!(server.shutdown(Duration::ZERO), Err(Error::NotDriven)));
    assert!(!server.is_gone() && !server.is_running());
    drop(go);
    server.wait(PATIENCE).expect("a report");
    rig.check_gone(&server, &remotes);
    assert!(rig.reasons().iter().all(|reason| *reason != Reason::Bug));
}

#[test]
fn a_server_that_its_own_handlers_know_ends_with_its_last_handle() {
    each_kind(|kind| {
        let rig = Rig::new();
        let known = Arc::new(OnceLock::<windlass::WeakServer>::new());
        let asked = known.clone();
        let counts = Tale::default();
        let told = counts.clone();
        let (server, address) = rig.listen(
            rig.builder(2).handler(move || {
                let (asked, told) = (asked.clone(), told.clone());
                move |_: &Conn<'_>| {
                    let (asked, told) = (asked.clone(), told.clone());
                    Hooks::new().data(move |_, data| {
                        let server = asked.get().and_then(windlass::WeakServer::upgrade);
                        told.tell(server.map(|server| server.open_connections()));
                        data.len()
                    })
                }
            }),
            kind,
        );
        known.set(server.downgrade()).expect("the first");
        let mut client = Client::dial(&address);
        client.send(b"?");
        assert_eq!(counts.until_count("an answer", 1), [Some(1)]);
        drop(server);
        rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
        client.read_to_close();
        assert!(known.get().expect("it is set").upgrade().is_none());
    });
}
