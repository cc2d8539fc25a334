//! What is reported of connections that blocking handlers serve: as much, and in the same order, as of those of reactors.

use crate::support::blocking::{Client, Rig, Stated, Tale, until};
use crate::support::{Kind, PATIENCE, each_kind};
use ConnState::{Close, CloseRead, CloseWrite, Handshake, New};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use windlass::{BlockingConfig, ConnState, Reader, Writer};

/// What was told of one connection, those that repeat told once.
fn told(rig: &Rig) -> Vec<ConnState> {
    let told = rig.states.until("its close", |told| told.iter().any(|told| told.state == Close));
    let mut states: Vec<ConnState> = told.iter().map(|told| told.state).collect();
    states.dedup();
    states
}

/// The order that is promised, however often was read and written.
fn check(states: &[ConnState], kind: Kind) {
    let at = |state| states.iter().position(|other| *other == state);
    let last = |state| states.iter().rposition(|other| *other == state);
    assert_eq!((states.first(), states.last()), (Some(&New), Some(&Close)), "{states:?}");
    assert_eq!(at(Handshake), kind.is_tls().then_some(1), "{states:?}");
    for once in [New, Handshake, CloseRead, CloseWrite, Close] {
        assert!(states.iter().filter(|state| **state == once).count() <= 1, "{states:?}");
    }
    assert!(at(CloseRead).is_none_or(|end| last(ConnState::Read) < Some(end)), "{states:?}");
    assert!(at(CloseWrite).is_none_or(|end| last(ConnState::Write) < Some(end)), "{states:?}");
}

/// New, Handshake and Close were all that was told.
#[test]
fn reads_writes_and_both_ends_are_reported_in_their_order_with_the_right_addresses() {
    each_kind(|kind| {
        let rig = Rig::new();
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), |mut reader, mut writer| {
            io::copy(&mut reader, &mut writer).map(drop)
        });
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        let own = client.address(kind);
        client.echoes(b"hello");
        client.close();
        let states = told(&rig);
        check(&states, kind);
        // With TLS the tickets are written behind the handshake.
        let rest: Vec<_> = states.iter().filter(|state| !matches!(state, New | Handshake)).collect();
        let rest = if kind.is_tls() { &rest[rest.len() - 5..] } else { &rest[..] };
        assert_eq!(rest, [&ConnState::Read, &ConnState::Write, &CloseRead, &CloseWrite, &Close], "{states:?}");
        for told in rig.states.all() {
            assert_eq!((told.local, told.remote), (address.clone(), Some(own.clone())));
        }
        server.shutdown(PATIENCE).expect("a report");
    });
}

#[test]
fn a_side_that_is_ended_early_is_reported_early_whichever_way_it_is_done() {
    let finishes: [fn(&Writer) -> io::Result<()>; 2] = [Writer::finish, |writer| writer.link().finish()];
    for finish in finishes {
        each_kind(|kind| {
            let rig = Rig::new();
            let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |reader, mut writer| {
                writer.write_all(b"bye")?;
                finish(&writer)?;
                // By the link, not by the reader.
                reader.link().read_to_end(&mut Vec::new()).map(drop)
            });
            let (_server, address) = rig.listen(builder, kind);
            let mut client = Client::dial(&address);
            assert_eq!(client.read_to_end().expect("an end"), b"bye");
            rig.until_stated(CloseWrite, 1);
            client.send(b"more");
            client.finish();
            let states = told(&rig);
            check(&states, kind);
            assert_eq!(states[states.len() - 4..], [CloseWrite, ConnState::Read, CloseRead, Close], "{states:?}");
        });
    }
}

#[test]
fn of_what_is_cut_or_reset_no_end_in_order_is_reported() {
    each_kind(|kind| {
        // The server cuts it.
        let rig = Rig::new();
        let wait =
            |mut reader: Reader, _: Writer| reader.read(&mut [0; 8]).and_then(|_| reader.read(&mut [0; 8])).map(drop);
        let (server, address) = rig.listen(rig.builder(1).blocking_handler(BlockingConfig::default(), wait), kind);
        let mut client = Client::dial(&address);
        client.send(b"x");
        rig.until_stated(ConnState::Read, 1);
        server.shutdown(std::time::Duration::ZERO).expect("a report");
        let states = told(&rig);
        check(&states, kind);
        assert!(!states.contains(&CloseRead) && !states.contains(&CloseWrite), "{states:?}");
        // The peer resets it, which Unix sockets cannot.
        if !kind.is_unix() {
            let rig = Rig::new();
            let (_server, address) = rig.listen(rig.builder(1).blocking_handler(BlockingConfig::default(), wait), kind);
            let mut client = Client::dial(&address);
            client.send(b"x");
            rig.until_stated(ConnState::Read, 1);
            client.reset();
            let states = told(&rig);
            check(&states, kind);
            assert!(!states.contains(&CloseRead) && !states.contains(&CloseWrite), "{states:?}");
        }
    });
}

#[test]
fn two_threads_of_one_connection_never_report_at_once_and_close_is_the_last() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (running, states) = (Arc::new(AtomicUsize::new(0)), Tale::<ConnState>::default());
        let (inside, tell) = (running.clone(), states.clone());
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), |mut reader, writer| {
            let writing = std::thread::spawn(move || {
                for _ in 0..200 {
                    (&writer).write_all(&[7; 100])?;
                }
                writer.finish()
            });
            io::copy(&mut reader, &mut io::sink())?;
            writing.join().expect("no panic")
        });
        let builder = builder.on_state(move |_, _, state| {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two at once");
            std::thread::yield_now();
            tell.tell(state);
            inside.fetch_sub(1, Ordering::SeqCst);
        });
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        for _ in 0..200 {
            client.send(b"x");
        }
        assert_eq!(client.read_to_end().expect("an end").len(), 20_000);
        client.finish();
        until("its end", || server.open_connections() == 0);
        let mut states = states.all();
        states.dedup();
        check(&states, kind);
        assert!(states.contains(&CloseRead) && states.contains(&CloseWrite), "{states:?}");
        server.shutdown(PATIENCE).expect("a report");
        assert!(rig.errors.all().is_empty(), "{:?}", rig.errors.all());
    });
}

#[test]
fn a_connection_counts_until_its_close_was_reported_whoever_reports_it() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (hold, held) = mpsc::channel::<()>();
        let (held, begun) = (Mutex::new(held), Tale::default());
        let (tell, known) = (begun.clone(), begun.clone());
        let (returns, returned) = mpsc::channel();
        let builder =
            rig.builder(1).per_peer_max(1).blocking_handler(BlockingConfig::default(), move |mut reader, writer| {
                // The thread that reports the write is held up, and the handler returns meanwhile.
                std::thread::spawn(move || (&writer).write_all(b"x"));
                let copied = io::copy(&mut reader, &mut io::sink()).map(drop);
                let _ = returns.send(());
                copied
            });
        let states = rig.states.clone();
        let builder = builder.on_state(move |local, remote, state| {
            let (local, remote) = (local.clone(), remote.cloned());
            states.tell(Stated { thread: std::thread::current().id(), local, remote, state });
            if state == ConnState::Write && known.count() == 0 {
                tell.tell(());
                let _ = held.lock().expect("no panic").recv();
            }
        });
        // With TLS the first one is that of the tickets, on the reactor's thread.
        if kind.is_tls() {
            return drop(hold);
        }
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        assert_eq!(client.read_exact(1), b"x");
        begun.until_count("the report of the write", 1);
        client.close();
        returned.recv_timeout(PATIENCE).expect("the handler to return");
        // What comes behind its return takes no time, but for the callback that is held up.
        for _ in 0..1000 {
            assert_eq!((server.open_connections(), rig.stated(Close)), (1, 0));
            std::thread::yield_now();
        }
        drop(hold);
        until("its end", || server.open_connections() == 0);
        check(&told(&rig), kind);
    });
}

#[test]
fn a_handler_that_fails_or_panics_is_reported_closed_behind_its_error() {
    each_kind(|kind| {
        for panics in [false, true] {
            let (rig, all) = (Rig::new(), Tale::<String>::default());
            let (by_state, by_error) = (all.clone(), all.clone());
            let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |mut reader, _| {
                reader.read_exact(&mut [0; 1])?;
                if panics { panic!("on purpose") } else { Err(io::Error::other("out of luck")) }
            });
            let builder = builder
                .on_state(move |_, _, state| by_state.tell(format!("{state:?}")))
                .on_error(move |_| by_error.tell("error".to_owned()));
            let (server, address) = rig.listen(builder, kind);
            let mut client = Client::dial(&address);
            client.send(b"x");
            client.read_to_close();
            until("its end", || server.open_connections() == 0);
            let all = all.all();
            assert_eq!(all[all.len() - 4..], ["Read", "CloseWrite", "error", "Close"], "{all:?}");
        }
    });
}
