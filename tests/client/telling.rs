//! What a client tells: in which order, never two at once, and what callbacks do that panic or use their client.

use crate::host::{Diary, Host, Told, builder};
use crate::support::blocking::Tale;
use crate::support::{PATIENCE, each_kind};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;
use windlass::ConnState::{Close, CloseRead, CloseWrite, Dial, Handshake, New};
use windlass::{Address, Client, ConnState, Error};

fn begin(is_tls: bool) -> Vec<ConnState> {
    if is_tls { vec![Dial, New, Handshake] } else { vec![Dial, New] }
}

#[test]
fn states_come_in_their_order_with_both_addresses() {
    Host::everywhere(|host| {
        let told = Tale::default();
        let to = told.clone();
        let builder = host.builder().on_state(move |local, remote, state| {
            to.tell((local.cloned(), remote.clone(), state));
        });
        let (mut client, mut guest) = host.pair(builder);
        let local = client.local_address();
        client.write_all(b"what?").expect("written");
        guest.receive(5);
        guest.send(b"this");
        client.read_exact(&mut [0; 4]).expect("four bytes");
        guest.finish();
        for _ in 0..2 {
            assert_eq!(client.read(&mut [0; 4]).expect("the end"), 0);
        }
        client.shutdown_write().expect("our end");
        client.close().expect("closed");
        let told = told.all();
        let states: Vec<_> = told.iter().map(|told| told.2).collect();
        let rest = [ConnState::Write, ConnState::Read, CloseRead, CloseWrite, Close];
        assert_eq!(states, [&begin(host.kind.is_tls())[..], &rest].concat());
        for (own, remote, state) in told {
            assert_eq!(remote, host.address);
            assert_eq!(own, if state == Dial { None } else { local.clone() }, "{state}");
        }
    });
}

#[test]
fn of_a_connect_that_failed_dial_and_an_error_are_all_however_it_failed() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let nobody = host.address.clone();
        drop(host);
        let diary = Diary::default();
        let client = diary.of(builder(&nobody)).build().expect("a client");
        let error = client.connect(PATIENCE).expect_err("nobody");
        assert_eq!(diary.told.all(), [Told::State(Dial), Told::Error(error.to_string())]);
        if kind.is_tls() {
            let host = Host::new(kind);
            let diary = Diary::default();
            let client = diary.of(host.builder()).build().expect("a client");
            std::thread::scope(|scope| {
                scope.spawn(|| drop(host.accept_raw()));
                let error = client.connect(PATIENCE).expect_err("no handshake");
                assert_eq!(diary.told.all(), [Told::State(Dial), Told::Error(error.to_string())]);
            });
        }
    });
}

#[test]
fn what_comes_behind_an_end_is_not_told_before_it_nor_what_was_before_it_behind() {
    // A thread that reads tells what it read after another one has closed: Read had come behind Close.
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        for _ in 0..12 {
            let mut guest = host.connect(&client);
            std::thread::scope(|scope| {
                let flooding = scope.spawn(move || {
                    let mut buffer = [0; 1000];
                    while guest.write_all(&[7; 100]).is_ok() && guest.read(&mut buffer).is_ok() {}
                });
                for _ in 0..3 {
                    scope.spawn(|| while (&client).read(&mut [0; 10]).is_ok_and(|some| some > 0) {});
                }
                for _ in 0..2 {
                    scope.spawn(|| while (&client).write(&[7; 10]).is_ok() {});
                }
                scope.spawn(|| {
                    while diary.told.count() % 256 < 200 {
                        std::thread::yield_now();
                    }
                    client.shutdown_write().expect("our end");
                    client.close().expect("closed");
                });
                flooding.join().expect("no panic");
            });
        }
        diary.check(kind.is_tls());
        assert_eq!(diary.every_state().iter().filter(|state| **state == Close).count(), 12);
    });
}

#[test]
fn a_callback_that_takes_its_time_holds_up_its_own_thread_alone() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (go, held) = mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let told = Tale::default();
        let to = told.clone();
        let builder = host.builder().on_state(move |_, _, state| {
            to.tell(state);
            if state == ConnState::Read {
                let _ = held.lock().expect("no panic").recv();
            }
        });
        let (client, mut guest) = host.pair(builder);
        guest.send(b"x");
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| (&client).read(&mut [0]).expect("a byte"));
            told.until("the read", |told| told.contains(&ConnState::Read));
            let taking = scope.spawn(move || guest.receive(5000));
            for _ in 0..5000 {
                (&client).write_all(b"y").expect("written");
            }
            taking.join().expect("no panic");
            drop(go);
            reading.join().expect("no panic");
        });
        client.close().expect("closed");
        let told = told.all();
        assert_eq!(told.last(), Some(&Close));
        // What nobody hears for so long is not kept for ever.
        let writes = told.iter().filter(|state| **state == ConnState::Write).count();
        assert!((1..5000).contains(&writes), "{writes}");
    });
}

#[test]
fn a_callback_that_panics_is_told_and_ends_nothing() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let errors = Tale::default();
        let to = errors.clone();
        let builder = host
            .builder()
            .on_state(|_, _, state| panic!("in {state}"))
            .on_error(move |error| to.tell(error.to_string()));
        let (mut client, mut guest) = host.pair(builder);
        client.write_all(b"hello").expect("written");
        assert_eq!(guest.receive(5), b"hello");
        client.close().expect("closed");
        let told = begin(kind.is_tls()).len() + 2;
        assert_eq!(errors.all(), vec!["the callback on_state panicked"; told]);
        // A panic of that one too is nothing.
        let client = host.builder().on_state(|_, _, _| panic!("here")).on_error(|_| panic!("and there")).build();
        let client = client.expect("a client");
        let mut guest = host.connect(&client);
        guest.send(b"x");
        (&client).read_exact(&mut [0]).expect("a byte");
        guest.finish();
        drop(client);
    });
}

/// A client that its own callbacks know.
fn known() -> (Arc<OnceLock<Client>>, Arc<OnceLock<Client>>) {
    let known = Arc::new(OnceLock::new());
    (known.clone(), known)
}

#[test]
fn a_callback_may_ask_and_use_its_client() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (known, inside) = known();
        let (told, calls) = (Tale::default(), Arc::new(AtomicUsize::new(0)));
        let (to, counted) = (told.clone(), calls.clone());
        let builder = host.builder().on_state(move |_, _, state| {
            to.tell(state);
            let client: &Client = inside.get().expect("it is known");
            let _ = (client.is_connected(), client.local_address(), client.peer_address());
            client.set_read_timeout(Some(PATIENCE)).expect("a time");
            if counted.fetch_add(1, Ordering::Relaxed) > 20 {
                return;
            }
            let mut wire = client;
            match state {
                Dial => assert!(matches!(client.connect(PATIENCE), Err(Error::Connecting))),
                New => wire.write_all(b"greeting").expect("it is connected when that is told"),
                ConnState::Write => drop(wire.flush()),
                ConnState::Read => {
                    wire.read_exact(&mut [0; 4]).expect("the rest");
                    client.close().expect("closed");
                }
                Close => assert!(matches!(client.close(), Err(Error::NotConnected))),
                _ => {}
            }
        });
        known.set(builder.build().expect("a client")).expect("once");
        let client = known.get().expect("it is known");
        let mut guest = host.connect(client);
        assert_eq!(guest.receive(8), b"greeting");
        guest.send(b"hello");
        assert_eq!((&mut &*client).read(&mut [0]).expect("a byte"), 1);
        assert!(!client.is_connected());
        let told = told.all();
        assert_eq!(told.last(), Some(&Close));
        assert_eq!(told[..begin(kind.is_tls()).len()], begin(kind.is_tls()));
    });
}

#[test]
fn an_error_callback_may_connect_again_and_is_not_called_inside_itself() {
    // One that reconnects had called itself for every connect that failed, until the stack was used up.
    each_kind(|kind| {
        let host = Host::new(kind);
        let address = host.address.clone();
        let (known, inside) = known();
        let errors = Tale::default();
        let (depth, to) = (AtomicUsize::new(0), errors.clone());
        let builder = builder(&address).on_error(move |error| {
            assert_eq!(depth.fetch_add(1, Ordering::SeqCst), 0, "inside itself: {error}");
            to.tell(error.to_string());
            let client: &Client = inside.get().expect("it is known");
            let again = client.connect(PATIENCE).expect_err("nobody");
            assert!(matches!(again, Error::Connect { .. }), "{again}");
            depth.fetch_sub(1, Ordering::SeqCst);
        });
        known.set(builder.build().expect("a client")).expect("once");
        let client = known.get().expect("it is known");
        let guest = host.connect(client);
        (&*client).write_all(b"unread").expect("written");
        drop(host);
        guest.reset();
        (&*client).read(&mut [0]).expect_err("it was reset");
        assert_eq!(errors.count(), 1, "{:?}", errors.all());
        client.connect(PATIENCE).expect_err("nobody");
        assert_eq!(errors.count(), 2, "{:?}", errors.all());
    });
}

#[test]
fn an_error_callback_that_connects_again_sees_the_old_connection_over() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (known, inside) = known();
        let diary = Diary::default();
        let errors = diary.clone();
        let builder = diary.of(host.builder()).on_error(move |error| {
            errors.note(error);
            let client: &Client = inside.get().expect("it is known");
            assert!(!client.is_connected());
            client.connect(PATIENCE).expect("somebody");
        });
        known.set(builder.build().expect("a client")).expect("once");
        let client = known.get().expect("it is known");
        let guest = host.connect(client);
        (&*client).write_all(b"unread").expect("written");
        guest.reset();
        let mut guest = std::thread::scope(|scope| {
            let guest = scope.spawn(|| host.accept());
            (&*client).read(&mut [0]).expect_err("it was reset");
            guest.join().expect("no panic")
        });
        guest.send(b"x");
        (&*client).read_exact(&mut [0]).expect("the new one");
        client.close().expect("closed");
        diary.check(kind.is_tls());
        assert_eq!(diary.errors().len(), 1);
    });
}

#[test]
fn errors_name_the_address_as_it_was_given() {
    let address: Address = "tcp://service.example:1".parse().expect("an address");
    let resolver = windlass::Resolver::new(|_| Ok(vec![([127, 0, 0, 1], 1).into()]));
    let diary = Diary::default();
    let client = diary.of(builder(&address)).resolver(resolver).build().expect("a client");
    let error = client.connect(Duration::from_secs(5)).expect_err("nobody");
    assert!(error.to_string().starts_with("cannot connect to tcp://service.example:1: "), "{error}");
}
