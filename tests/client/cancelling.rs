//! Calls that wait, and a `close` from another thread that wakes them.

use crate::connecting::tight;
use crate::datagrams::Post;
use crate::host::{BlackHole, Diary, Host, Place, builder};
use crate::support::blocking::{Tale, until};
use crate::support::{Kind, PATIENCE, each_kind};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use windlass::{Address, AfterRequest, Client, ConnState, Error, Resolver};

/// What may come between a close and what it wakes.
const SOON: Duration = Duration::from_secs(5);

/// Whether a thread of this process waits in such a system call: then there is something to be woken.
fn waits(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc").flatten();
    tasks.into_iter().any(|task| {
        let named = std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name);
        let state = std::fs::read_to_string(task.path().join("stat"));
        named && state.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('S')))
    })
}

/// Runs `call` on a thread, closes the client when that waits, and returns what the call did.
fn closed_during<T: Send>(client: &Client, call: impl FnOnce(&Client) -> T + Send) -> T {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let name = format!("waits{}", NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let since = Instant::now();
    let done = std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let waiting = std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || {
            tell.send(()).expect("told");
            call(client)
        });
        let waiting = waiting.expect("a thread");
        told.recv_timeout(PATIENCE).expect("it runs");
        until("the call to wait", || waits(&name) || waiting.is_finished());
        client.close().expect("closed");
        waiting.join().expect("no panic")
    });
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    assert!(!client.is_connected());
    done
}

/// The same, of a connect.
fn calls_off(client: &Client, diary: &Diary) {
    let error = closed_during(client, |client| client.connect(PATIENCE)).expect_err("called off");
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(diary.every_state(), [ConnState::Dial]);
    assert_eq!(diary.errors(), [error.to_string()]);
    assert!(matches!(client.close(), Err(Error::NotConnected)));
}

#[test]
fn a_connect_that_nobody_answers_is_called_off() {
    for place in [Place::V4, Place::V6] {
        let hole = BlackHole::new(place);
        let diary = Diary::default();
        calls_off(&diary.of(builder(&Address::tcp(hole.ip))).build().expect("a client"), &diary);
    }
}

#[test]
fn a_connect_to_several_black_holes_is_called_off() {
    let holes = [BlackHole::new(Place::V4), BlackHole::new(Place::V6)];
    let ips: Vec<_> = holes.iter().map(|hole| hole.ip).collect();
    let diary = Diary::default();
    let name = "tcp://service.example:1".parse().expect("an address");
    let client = diary.of(builder(&name)).resolver(Resolver::new(move |_| Ok(ips.clone()))).build().expect("a client");
    calls_off(&client, &diary);
}

#[test]
fn a_lookup_that_takes_long_is_called_off() {
    for scheme in ["tcp", "udp"] {
        let (go, held) = mpsc::channel::<()>();
        let held = Mutex::new(held);
        let resolver = Resolver::new(move |_| {
            let _ = held.lock().expect("no panic").recv();
            Ok(Vec::new())
        });
        let diary = Diary::default();
        let name = format!("{scheme}://service.example:1").parse().expect("an address");
        calls_off(&diary.of(builder(&name)).resolver(resolver).build().expect("a client"), &diary);
        drop(go);
    }
}

#[test]
fn a_handshake_with_a_peer_that_never_speaks_is_called_off() {
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_tls()) {
        let host = Host::new(kind);
        let diary = Diary::default();
        calls_off(&diary.of(host.builder()).build().expect("a client"), &diary);
        // The socket is closed.
        let mut guest = host.accept_raw();
        let mut hello = Vec::new();
        let _ = guest.read_to_end(&mut hello);
    }
}

#[test]
fn a_connect_to_a_full_unix_backlog_is_called_off() {
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_unix()) {
        let host = Host::at(kind, Place::Path, 0);
        let _filler = std::os::unix::net::UnixStream::connect(host.address.path().expect("a path")).expect("the first");
        let diary = Diary::default();
        calls_off(&diary.of(host.builder()).build().expect("a client"), &diary);
    }
}

fn is_gone(error: &io::Error) {
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::NotConnected)), "{error:?}");
}

#[test]
fn a_read_is_woken() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (client, mut guest) = host.pair(diary.of(host.builder().read_timeout(None)));
        is_gone(&closed_during(&client, |mut client| client.read(&mut [0; 8])).expect_err("closed"));
        assert_eq!(guest.rest(), b"", "an end in order");
        assert!(diary.errors().is_empty(), "{:?}", diary.errors());
        diary.check(kind.is_tls());
        assert_eq!(diary.every_state().last(), Some(&ConnState::Close));
    });
}

#[test]
fn a_write_to_a_peer_that_does_not_read_is_woken_when_the_close_gives_up() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (client, guest) = host.pair(diary.of(host.builder()).connect_config(tight(kind)));
        crate::connecting::clog(&client);
        client.set_write_timeout(None).expect("for ever");
        std::thread::scope(|scope| {
            let writing = std::thread::Builder::new().name("writes".to_owned());
            let writing = writing.spawn_scoped(scope, || (&client).write_all(b"one more")).expect("a thread");
            until("it to wait", || waits("writes"));
            let since = Instant::now();
            client.set_write_timeout(Some(Duration::from_millis(50))).expect("a time");
            let error = client.close().expect_err("the peer does not take it");
            assert!(matches!(error, Error::Broken { .. }), "{error}");
            assert!(since.elapsed() >= Duration::from_millis(50) && since.elapsed() < SOON);
            is_gone(&writing.join().expect("no panic").expect_err("closed"));
        });
        assert_eq!(diary.errors().len(), 1, "{:?}", diary.errors());
        diary.check(kind.is_tls());
        drop(guest);
    });
}

#[test]
fn a_flush_and_a_half_close_that_wait_are_woken() {
    each_kind(|kind| {
        for call in [|mut client: &Client| client.flush(), |client: &Client| client.shutdown_write()] {
            let host = Host::new(kind);
            let (client, guest) = host.pair(host.builder().connect_config(tight(kind)));
            crate::connecting::clog(&client);
            client.set_write_timeout(None).expect("for ever");
            std::thread::scope(|scope| {
                let waiting = std::thread::Builder::new().name("flushes".to_owned());
                let waiting = waiting.spawn_scoped(scope, || call(&client)).expect("a thread");
                until("the call to wait", || waits("flushes"));
                client.set_write_timeout(Some(Duration::from_millis(20))).expect("a time");
                assert!(matches!(client.close(), Err(Error::Broken { .. })));
                is_gone(&waiting.join().expect("no panic").expect_err("closed"));
            });
            drop(guest);
        }
    });
}

#[test]
fn a_read_of_a_datagram_is_woken() {
    Post::everywhere(|post| {
        let client = post.client();
        client.set_read_timeout(None).expect("for ever");
        is_gone(&closed_during(&client, |mut client| client.read(&mut [0; 8])).expect_err("closed"));
    });
}

#[test]
fn a_write_of_a_datagram_is_woken() {
    let post = Post::at(Place::Path);
    let client = post.client();
    client.set_write_timeout(None).expect("for ever");
    let filled = closed_during(&client, |mut client| (0..10_000).find_map(|_| client.write(b"who reads?").err()));
    is_gone(&filled.expect("its queue is short"));
}

#[test]
fn an_exchange_is_called_off() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut guest = host.accept();
                guest.receive(5);
                // Only when the answer is waited for.
                client.close().expect("closed");
            });
            let answer =
                client.once(&b"what?"[..], AfterRequest::KeepOpen, PATIENCE, |answer| answer.read(&mut [0; 8]));
            let error = answer.expect_err("called off");
            assert!(matches!(&error, Error::Exchange { source, .. } if source.kind() == ErrorKind::NotConnected));
            assert_eq!(diary.errors(), [error.to_string()]);
        });
        diary.check(kind.is_tls());
    });
}

#[test]
fn closes_connects_reads_and_writes_from_all_sides_hang_nobody_and_are_told_in_order() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let address = host.address.clone();
        let (stop, stopped) = mpsc::channel::<()>();
        let serving = std::thread::spawn(move || {
            let mut guests = Vec::new();
            // Each guest gets a little, and one in three is left with a reset.
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let wire = host.accept_raw();
                guests.push(std::thread::spawn(move || {
                    let Ok(mut guest) = crate::host::Guest::on(wire, kind) else { return };
                    let mut buffer = [0; 100];
                    for _ in 0..20 {
                        match guest.read(&mut buffer) {
                            Ok(some @ 1..) if guest.write_all(&buffer[..some]).is_ok() => {}
                            _ => break,
                        }
                    }
                }));
            }
            guests.into_iter().for_each(|guest| drop(guest.join()));
        });
        // Of several threads one may begin a connection while another one still ends the last: each has an order of its own.
        let told = Tale::default();
        let to = told.clone();
        let builder = builder(&address).on_state(move |local, _, state| to.tell((local.and_then(Address::ip), state)));
        let client = builder.build().expect("a client");
        let end = Instant::now() + Duration::from_millis(250);
        let goes_on = || Instant::now() < end;
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while goes_on() {
                        let _ = client.connect(PATIENCE);
                    }
                });
                scope.spawn(|| {
                    while goes_on() {
                        let _ = (&client).read(&mut [0; 50]);
                    }
                });
                scope.spawn(|| {
                    while goes_on() {
                        let _ = (&client).write(&[7; 70]);
                    }
                });
            }
            scope.spawn(|| {
                while goes_on() {
                    std::thread::park_timeout(Duration::from_millis(2));
                    let _ = client.close();
                    let _ = (client.is_connected(), client.shutdown_write());
                }
            });
        });
        let _ = client.close();
        stop.send(()).expect("it listens");
        let _ = client.connect(PATIENCE);
        drop(client);
        serving.join().expect("no panic");
        let told = told.all();
        let count = |state| told.iter().filter(|told| told.1 == state).count();
        assert_eq!(count(ConnState::New), count(ConnState::Close));
        assert!(count(ConnState::Handshake) == if kind.is_tls() { count(ConnState::New) } else { 0 });
        let ends: std::collections::HashSet<_> = told.iter().filter_map(|told| told.0).collect();
        for end in ends {
            let mut one: Vec<_> = told.iter().filter(|told| told.0 == Some(end)).map(|told| told.1).collect();
            one.dedup();
            assert_eq!((one.first(), one.last()), (Some(&ConnState::New), Some(&ConnState::Close)), "{one:?}");
        }
    });
}
