//! Handlers that block, on threads: served, counted, limited and drained like all others.

use crate::support::blocking::{Client, Rig, Stated, Tale, Trouble, until};
use crate::support::{Kind, PATIENCE, alone, each_kind};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};
use windlass::{BlockingConfig, ConnState, Error, Reason, Server, ServerEvent};

fn echo(mut reader: windlass::Reader, mut writer: windlass::Writer) -> io::Result<()> {
    io::copy(&mut reader, &mut writer).map(drop)
}

#[test]
fn copying_from_reader_to_writer_is_an_echo_server() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).blocking_handler(BlockingConfig::default(), echo), kind);
        let mut clients: Vec<Client> = (0..20).map(|_| Client::dial(&address)).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            client.echoes(format!("hello {n}").as_bytes());
            client.echoes(&vec![n as u8; 40_000]);
        }
        until("all to be counted", || server.open_connections() == 20);
        for client in clients {
            client.close();
        }
        until("all to be over", || server.open_connections() == 0);
        let report = server.shutdown(PATIENCE).expect("a report");
        assert_eq!((report.cut, server.open_connections()), (0, 0));
        assert!(rig.errors.all().is_empty(), "{:?}", rig.errors.all());
    });
}

#[test]
fn a_handler_that_fails_or_panics_closes_its_connection_and_is_told_once() {
    each_kind(|kind| {
        let rig = Rig::new();
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), |mut reader, _| {
            let mut byte = [0; 1];
            reader.read_exact(&mut byte)?;
            if byte[0] == b'p' { panic!("asked for") } else { Err(io::Error::other("out of luck")) }
        });
        let (server, address) = rig.listen(builder, kind);
        for byte in [b"p", b"f"] {
            let mut client = Client::dial(&address);
            client.send(byte);
            client.read_to_close();
        }
        let told = rig.errors.until_count("both troubles", 2);
        assert_eq!(told.iter().filter(|told| told.reason == Some(Reason::HandlerPanicked)).count(), 1);
        assert_eq!(told.iter().filter(|told| told.text.contains("out of luck")).count(), 1);
        until("all to be over", || server.open_connections() == 0);
        assert_eq!(rig.errors.count(), 2);
    });
}

#[test]
fn more_than_threads_wait_their_turn_and_more_than_may_wait_are_refused() {
    each_kind(|kind| {
        let rig = Rig::new();
        let config = BlockingConfig { threads_max: 2, waiting_max: 3, ..BlockingConfig::default() };
        let begun = Tale::default();
        let tell = begun.clone();
        let builder = rig.builder(1).blocking_handler(config, move |reader, writer| {
            tell.tell(());
            echo(reader, writer)
        });
        let (server, address) = rig.listen(builder, kind);
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..5 {
            clients.push(Client::dial(&address));
            until("it to be counted", || server.open_connections() == clients.len());
        }
        // One more is closed at once, in its handshake if it has one.
        if let Ok(mut refused) = Client::try_dial(&address) {
            assert_eq!(refused.read_to_close(), 0);
        }
        assert!(begun.count() <= 2);
        // In whatever order their handshakes were done.
        std::thread::scope(|scope| {
            for mut client in clients {
                scope.spawn(move || {
                    client.echoes(b"in turn");
                    client.close();
                });
            }
        });
        assert_eq!(begun.count(), 5);
        until("all to be over", || server.open_connections() == 0);
        let mut again = Client::dial(&address);
        again.echoes(b"room again");
    });
}

/// The last thread's next connection was accepted and never answered, and those behind the last that may wait were reset,
/// and nobody was told.
#[test]
fn connections_that_wait_for_a_thread_and_those_refused_are_told_once_and_so_is_their_end() {
    each_kind(|kind| {
        let rig = Rig::new();
        let config = BlockingConfig { threads_max: 2, waiting_max: 2, ..BlockingConfig::default() };
        let (server, address) = rig.listen(rig.builder(1).blocking_handler(config, echo), kind);
        let of_threads = |told: &[ServerEvent]| -> Vec<ServerEvent> {
            let is_one = |told: &&ServerEvent| told.to_string().contains("thread");
            told.iter().filter(is_one).cloned().collect()
        };
        let refuses = || {
            // One more is closed at once, in its handshake if it has one.
            if let Ok(mut refused) = Client::try_dial(&address) {
                assert_eq!(refused.read_to_close(), 0);
            }
        };
        let mut wanted = Vec::new();
        // An episode takes a second at least.
        for episode in 1..=if kind == Kind::Tcp { 2 } else { 1 } {
            let mut clients: Vec<Client> = Vec::new();
            for number in 1..=4 {
                clients.push(Client::dial(&address));
                until("it to be counted", || server.open_connections() == number);
                if number == 2 {
                    // In whatever order, a thread each.
                    clients.iter_mut().for_each(|client| client.echoes(b"served"));
                    assert_eq!(of_threads(&rig.events.all()), wanted, "nobody waits");
                }
            }
            wanted.push(ServerEvent::ThreadsBusy { threads: 2 });
            let told = rig.events.until("busy threads", |told| of_threads(told).len() >= wanted.len());
            assert_eq!(of_threads(&told), wanted);
            (0..3 * episode).for_each(|_| refuses());
            wanted.push(ServerEvent::ThreadsFull { connections: 4 });
            wanted.push(ServerEvent::ThreadsFree { refused: 3 * episode });
            std::thread::scope(|scope| {
                for mut client in clients {
                    scope.spawn(move || {
                        client.echoes(b"in turn");
                        client.close();
                    });
                }
            });
            // Without a connection more: an idle thread looks for the end.
            let told = rig.events.until("free threads", |told| of_threads(told).len() >= wanted.len());
            assert_eq!(of_threads(&told), wanted);
            until("all to be over", || server.open_connections() == 0);
        }
        assert!(rig.errors.all().is_empty(), "{:?}", rig.errors.all());
    });
}

/// The handler is content with what was taken, and what waited behind it was dropped in silence.
#[test]
fn output_that_a_peer_never_takes_is_told_of_whatever_the_handler_says() {
    each_kind(|kind| {
        let rig = Rig::new();
        let config = BlockingConfig { timeout: Some(Duration::from_millis(50)), ..BlockingConfig::default() };
        let builder = rig.builder(1).blocking_handler(config, |_, mut writer| {
            while writer.write(&[7; 256 * 1024]).is_ok() {}
            Ok(())
        });
        let (server, address) = rig.listen(builder, kind);
        let client = Client::dial(&address);
        let told = rig.errors.until_count("the loss", 1);
        assert!(told.len() == 1 && told[0].text.contains("its handler"), "{told:?}");
        drop(client);
        until("it to be over", || server.open_connections() == 0);
        assert_eq!(rig.errors.count(), 1);
    });
}

/// The thread was gone, its connection open for ever, and its place taken.
#[test]
fn an_error_whose_drop_panics_costs_no_thread_and_no_place() {
    #[derive(Debug)]
    struct Spiteful;
    impl std::fmt::Display for Spiteful {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("out of luck")
        }
    }
    impl std::error::Error for Spiteful {}
    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("asked for");
        }
    }
    each_kind(|kind| {
        let rig = Rig::new();
        let config = BlockingConfig { threads_max: 1, ..BlockingConfig::default() };
        let builder = rig.builder(1).blocking_handler(config, |mut reader, mut writer| {
            let mut word = [0; 4];
            reader.read_exact(&mut word)?;
            writer.write_all(&word)?;
            if &word == b"fail" { Err(io::Error::other(Spiteful)) } else { Ok(()) }
        });
        let (server, address) = rig.listen(builder, kind);
        for _ in 0..3 {
            let mut client = Client::dial(&address);
            client.echoes(b"fail");
            client.read_to_close();
        }
        let mut client = Client::dial(&address);
        client.echoes(b"well");
        drop(client);
        until("all to be over", || server.open_connections() == 0);
        assert_eq!(rig.errors.all().iter().filter(|told| told.text.contains("out of luck")).count(), 3);
        assert_eq!(server.shutdown(PATIENCE).expect("a report").cut, 0);
    });
}

#[test]
fn what_a_cut_blocking_connection_had_not_sent_is_in_the_report() {
    each_kind(|kind| {
        let rig = Rig::new();
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), |_, mut writer| {
            loop {
                writer.write_all(&[7; 256 * 1024])?;
            }
        });
        let (server, address) = rig.listen(builder, kind);
        let client = Client::dial(&address);
        until("it to be served", || server.open_connections() == 1 && rig.stated(ConnState::Write) > 0);
        let report = server.shutdown(Duration::from_millis(200)).expect("a report");
        assert!(report.cut == 1 && report.unsent_bytes > 0, "{report}");
        drop(client);
    });
}

#[test]
fn each_thread_of_blocking_handlers_has_a_name_of_its_own() {
    let rig = Rig::new();
    let names = Tale::default();
    let tell = names.clone();
    let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |reader, writer| {
        tell.tell(std::thread::current().name().unwrap_or_default().to_owned());
        echo(reader, writer)
    });
    let (_server, address) = rig.listen(builder, Kind::Tcp);
    let mut clients: Vec<Client> = (0..12).map(|_| Client::dial(&address)).collect();
    clients.iter_mut().for_each(|client| client.echoes(b"hello"));
    let mut names = names.all();
    names.sort();
    names.dedup();
    let is_one = |name: &String| name.starts_with("windlass-wor") && name.len() <= 15;
    assert!(names.len() == 12 && names.iter().all(is_one), "{names:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_system_that_has_no_more_threads_is_told_once_and_whoever_waits_is_served_in_turn() {
    alone("blocking::a_system_that_has_no_more_threads_is_told_once_and_whoever_waits_is_served_in_turn", || {
        let rig = Rig::new();
        let config = BlockingConfig { stack_bytes: 1 << 30, ..BlockingConfig::default() };
        let (server, address) = rig.listen(rig.builder(1).blocking_handler(config, echo), Kind::Tcp);
        // Room for two stacks and not for three.
        let status = std::fs::read_to_string("/proc/self/status").expect("its status");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let kib: u64 = size.and_then(|size| size.split_whitespace().next()?.parse().ok()).expect("a size");
        let limit = Some(kib * 1024 + (2 << 30) + (700 << 20));
        rustix::process::setrlimit(
            rustix::process::Resource::As,
            rustix::process::Rlimit { current: limit, maximum: limit },
        )
        .expect("a lower limit");
        let mut served: Vec<Client> = (0..2).map(|_| Client::dial(&address)).collect();
        served.iter_mut().for_each(|client| client.echoes(b"served"));
        let waiting: Vec<Client> = (0..4).map(|_| Client::dial(&address)).collect();
        let busy = ServerEvent::ThreadsBusy { threads: 2 };
        rig.events.until("busy threads", |told| told.contains(&busy));
        until("all to be counted", || server.open_connections() == 6);
        let errors = rig.errors.until_count("the lack of a thread", 1);
        assert!(errors.len() == 1 && errors[0].text.contains("windlass-work-"), "{errors:?}");
        served.into_iter().for_each(Client::close);
        for mut client in waiting {
            client.echoes(b"in turn");
            client.close();
        }
        assert_eq!(rig.errors.count(), 1);
        assert_eq!(rig.events.all().iter().filter(|event| **event == busy).count(), 1);
    });
}

#[test]
fn a_server_at_its_last_thread_does_not_tell_of_each_connection() {
    let rig = Rig::new();
    let config = BlockingConfig { threads_max: 1, waiting_max: 1, ..BlockingConfig::default() };
    let (server, address) = rig.listen(rig.builder(1).blocking_handler(config, echo), Kind::Tcp);
    let began = Instant::now();
    for _ in 0..50 {
        let (mut served, waiting) = (Client::dial(&address), Client::dial(&address));
        served.echoes(b"x");
        until("both to be counted", || server.open_connections() == 2);
        if let Ok(mut refused) = Client::try_dial(&address) {
            refused.read_to_close();
        }
        served.close();
        waiting.close();
        until("both to be over", || server.open_connections() == 0);
    }
    // An episode lasts for a second at least; it tells of waiting, of refusing, and of its end.
    let seconds = began.elapsed().as_secs() as usize;
    let told = rig.events.all().iter().filter(|told| told.to_string().contains("thread")).count();
    assert!((2..=2 + 3 * seconds).contains(&told), "{told} in {seconds} s: {:?}", rig.events.all());
}

#[test]
fn a_drain_lets_handlers_finish_and_its_deadline_cuts_those_that_do_not() {
    each_kind(|kind| {
        let rig = Rig::new();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (begun, failed, waits) = (Tale::default(), Tale::default(), gate.clone());
        let (tell, fail) = (begun.clone(), failed.clone());
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |mut reader, mut writer| {
            let mut byte = [0; 1];
            reader.read_exact(&mut byte)?;
            tell.tell(());
            if byte[0] == b'!' {
                let mut open = waits.0.lock().expect("no panic");
                while !*open {
                    open = waits.1.wait(open).expect("no panic");
                }
                return writer.write_all(b"finished");
            }
            fail.tell(reader.read_exact(&mut byte).expect_err("it is cut").kind());
            Ok(())
        });
        let (server, address) = rig.listen(builder, kind);
        let (mut patient, mut stuck) = (Client::dial(&address), Client::dial(&address));
        patient.send(b"!");
        stuck.send(b"?");
        begun.until_count("both to be served", 2);
        let began = Instant::now();
        server.stop(Duration::from_millis(400));
        *gate.0.lock().expect("no panic") = true;
        gate.1.notify_all();
        assert_eq!(patient.read_to_end().expect("an end in order"), b"finished");
        let report = server.wait(PATIENCE).expect("a report");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(900), "{took:?}");
        assert_eq!((report.drained, report.cut), (1, 1));
        stuck.read_to_close();
        let kinds = failed.until_count("the stuck one to be told", 1);
        assert!(matches!(kinds[0], ErrorKind::NotConnected | ErrorKind::UnexpectedEof), "{kinds:?}");
    });
}

#[test]
fn a_connection_that_is_opened_during_a_drain_is_counted_once() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(1).blocking_handler(BlockingConfig::default(), echo), kind);
        let (hold, held) = std::sync::mpsc::channel::<()>();
        server.remotes()[0].run(move |_| assert!(held.recv().is_err())).expect("room");
        let socket = crate::support::blocking::connect(&address).expect("a connection");
        let mut client = Client::begin(socket.into(), &address).expect("first words");
        server.stop(PATIENCE);
        drop(hold);
        client.echoes(b"late");
        client.close();
        let report = server.wait(PATIENCE).expect("a report");
        assert!((report.drained, report.cut) == (1, 0) && report.is_clean(), "{report}");
    });
}

#[test]
fn a_drain_without_a_deadline_cuts_nobody() {
    // A deadline beyond what the clock can count was once none at all, and everybody was cut at once.
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).blocking_handler(BlockingConfig::default(), echo), kind);
        let mut client = Client::dial(&address);
        client.echoes(b"before");
        let asked = server.clone();
        let waiting = std::thread::spawn(move || asked.shutdown(Duration::MAX));
        rig.events.until("the drain", |told| told.contains(&ServerEvent::Draining));
        assert!(matches!(server.wait(Duration::from_millis(50)), Err(Error::NotDriven)), "it waits for the handler");
        client.echoes(b"meanwhile");
        client.close();
        let report = waiting.join().expect("no panic").expect("a report");
        assert_eq!((report.drained, report.cut), (1, 0));
        rig.events.until("the end", |told| told.contains(&ServerEvent::Gone));
        assert_eq!(rig.errors.count(), 0, "{:?}", rig.errors.all());
    });
}

#[test]
fn an_on_state_that_panics_is_told_each_time_and_ends_nothing_else() {
    const COUNT: usize = 6;
    each_kind(|kind| {
        let rig = Rig::new();
        // Fewer threads than connections: one that was lost would be missed.
        let config = BlockingConfig { threads_max: 2, ..BlockingConfig::default() };
        let told = rig.states.clone();
        let builder = rig.builder(2).blocking_handler(config, echo).on_state(move |local, remote, state| {
            let (local, remote) = (local.clone(), remote.cloned());
            told.tell(Stated { thread: std::thread::current().id(), local, remote, state });
            panic!("in on_state: {state}");
        });
        let (server, address) = rig.listen(builder, kind);
        for _ in 0..COUNT {
            let mut client = Client::dial(&address);
            client.echoes(b"hello");
            client.close();
        }
        until("nobody to be left", || server.open_connections() == 0);
        rig.until_stated(ConnState::Close, COUNT);
        let panicked = |told: &[Trouble]| told.iter().filter(|told| told.callback == Some("on_state")).count();
        let errors = rig.errors.until("each panic to be told", |told| panicked(told) == rig.states.count());
        assert_eq!(errors.len(), panicked(&errors), "{errors:?}");
        let report = server.shutdown(PATIENCE).expect("a report");
        assert_eq!(report.cut, 0);
    });
}

#[test]
fn an_on_state_that_would_wait_for_its_server_is_refused() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (known, answers) = (Arc::new(OnceLock::<Server>::new()), Tale::default());
        let (asked, tell) = (known.clone(), answers.clone());
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), echo).on_state(move |_, _, state| {
            let server = asked.get().expect("it is known");
            let refused = matches!(server.shutdown(Duration::MAX), Err(Error::OnReactorThread))
                && matches!(server.wait(Duration::MAX), Err(Error::OnReactorThread));
            tell.tell((state, refused));
        });
        let server = builder.address(rig.address(kind)).build().expect("a server");
        known.set(server.clone()).expect("once");
        server.listen().expect("it listens");
        let mut client = Client::dial(&server.local_addresses()[0]);
        client.echoes(b"hello");
        client.close();
        let told = answers.until("its close", |told| told.iter().any(|(state, _)| *state == ConnState::Close));
        assert!(told.iter().all(|(_, refused)| *refused), "{told:?}");
        server.shutdown(PATIENCE).expect("a report");
    });
}

/// Whoever has a copy of the socket, as a forked child has: a cut is a reset, and a handler's end a FIN.
#[test]
fn the_peer_hears_of_a_cut_and_of_an_end_though_somebody_has_a_copy_of_the_socket() {
    for is_cut in [true, false] {
        each_kind(|kind| {
            let rig = Rig::new();
            let (copies, hold) = (Arc::new(Mutex::new(Vec::new())), Arc::new((Mutex::new(is_cut), Condvar::new())));
            let (copied, held) = (copies.clone(), hold.clone());
            let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |reader, _| {
                copied.lock().expect("no panic").push(reader.link().as_fd().try_clone_to_owned()?);
                let is_held = held.0.lock().expect("no panic");
                drop(held.1.wait_while(is_held, |is_held| *is_held).expect("no panic"));
                Ok(())
            });
            let (server, address) = rig.listen(builder, kind);
            let mut client = Client::dial(&address);
            until("the copy", || copies.lock().expect("no panic").len() == 1);
            if is_cut {
                assert_eq!(server.shutdown(Duration::ZERO).expect("a report").cut, 1);
            }
            let end = client.read_to_end().map_err(|error| error.kind());
            match (is_cut, kind.is_unix(), kind.is_tls()) {
                (false, ..) | (true, true, false) => assert_eq!(end.as_deref(), Ok(&b""[..])),
                (true, true, true) => assert_eq!(end, Err(ErrorKind::UnexpectedEof)),
                (true, false, _) => assert_eq!(end, Err(ErrorKind::ConnectionReset)),
            }
            *hold.0.lock().expect("no panic") = false;
            hold.1.notify_all();
            drop(server);
        });
    }
}

#[test]
fn no_threads_and_stacks_that_no_system_gives_are_refused_by_name() {
    let usual = BlockingConfig::default;
    let with_stack = |stack_bytes| BlockingConfig { stack_bytes, ..usual() };
    for (wanted, config) in [
        ("threads_max", BlockingConfig { threads_max: 0, ..usual() }),
        ("stack_bytes", with_stack(0)),
        ("stack_bytes", with_stack(65_535)),
        ("stack_bytes", with_stack((1 << 30) + 1)),
        ("stack_bytes", with_stack(usize::MAX)),
    ] {
        let address = "tcp://127.0.0.1:0".parse().expect("an address");
        let refused = Server::builder().address(address).blocking_handler(config, echo).build().expect_err("refused");
        assert!(matches!(refused, Error::Config { field, .. } if field == wanted), "{refused}");
    }
}

#[test]
fn the_smallest_and_the_largest_stack_serve() {
    for stack_bytes in [64 * 1024, 1 << 30] {
        let rig = Rig::new();
        let config = BlockingConfig { stack_bytes, threads_max: usize::MAX, waiting_max: usize::MAX, timeout: None };
        let (_server, address) = rig.listen(rig.builder(1).blocking_handler(config, echo), Kind::Tcp);
        Client::dial(&address).echoes(&[7; 100_000]);
    }
}
