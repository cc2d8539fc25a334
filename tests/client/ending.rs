//! How a connection ends, who is told, and what a client says of it from then on.

use crate::connecting::{clog, tight};
use crate::host::{Diary, Guest, Host};
use crate::support::blocking::until;
use crate::support::{Kind, dialling, each_kind};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use windlass::{Client, ConnState, ConnectConfig, Error, Reason, SocketOptions};

/// Whether an error says, to code and to people, that there is no connection.
fn says_not_connected(error: io::Error) {
    assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    assert!(matches!(inner, Some(Error::NotConnected)), "{error:?}");
    assert!(error.to_string().contains("must call connect"), "{error}");
}

fn is_over(mut client: &Client) {
    assert!(!client.is_connected());
    says_not_connected(client.read(&mut [0; 8]).expect_err("not connected"));
    says_not_connected(client.read(&mut []).expect_err("not connected"));
    says_not_connected(client.write(b"x").expect_err("not connected"));
    says_not_connected(client.write(b"").expect_err("not connected"));
    says_not_connected(client.flush().expect_err("not connected"));
    says_not_connected(client.shutdown_write().expect_err("not connected"));
    assert!(matches!(client.close(), Err(Error::NotConnected)));
    assert_eq!((client.local_address(), client.peer_address()), (None, None));
    #[cfg(feature = "tls")]
    assert!(client.tls(|_| ()).is_none());
}

#[test]
fn before_a_connect_and_after_a_close_it_is_not_connected() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        is_over(&client);
        let mut guest = host.connect(&client);
        client.close().expect("closed");
        is_over(&client);
        assert_eq!(guest.rest(), b"");
        assert!(diary.errors().is_empty(), "{:?}", diary.errors());
    });
}

/// Descriptors that somebody else holds, as a forked child does.
static COPIES: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

#[test]
fn the_host_hears_of_the_end_though_somebody_has_a_copy_of_the_socket() {
    for closes in [true, false] {
        each_kind(|kind| {
            let host = Host::new(kind);
            let prepare = |socket: &socket2::Socket| {
                COPIES.lock().expect("no panic").push(socket.try_clone()?.into());
                Ok(())
            };
            let socket = SocketOptions { prepare: Some(prepare), ..SocketOptions::default() };
            let config = dialling(host.client().address(), ConnectConfig { socket, ..ConnectConfig::default() });
            let client = host.builder().connect_config(config).build().expect("a client");
            let mut guest = host.connect(&client);
            if closes {
                client.close().expect("closed");
            } else {
                drop(client);
            }
            assert_eq!(guest.rest(), b"");
        });
    }
    assert!(COPIES.lock().expect("no panic").len() >= 4);
}

#[test]
fn a_clone_is_the_same_client() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (client, mut guest) = host.pair(host.builder());
        let clone = client.clone();
        assert!(clone.is_connected());
        drop(client);
        guest.send(b"x");
        let mut byte = [0];
        (&clone).read_exact(&mut byte).expect("a byte");
        let other = clone.clone();
        other.close().expect("closed");
        is_over(&clone);
        let _guest = host.connect(&clone);
        assert!(other.is_connected());
    });
}

#[test]
fn the_last_clone_that_is_dropped_says_the_end_and_tells_close() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (client, mut guest) = host.pair(diary.of(host.builder()));
        let clone = client.clone();
        (&client).write_all(b"last words").expect("written");
        drop(client);
        assert_ne!(diary.every_state().last(), Some(&ConnState::Close));
        drop(clone);
        assert_eq!(diary.every_state().last(), Some(&ConnState::Close));
        assert_eq!(guest.rest(), b"last words");
        diary.check(kind.is_tls());
    });
}

/// What a peer does that ends a connection.
type End = fn(Guest) -> Option<Guest>;

#[test]
fn it_is_not_connected_once_the_peer_has_ended_also_behind_what_it_sent() {
    // Bytes that waited to be read had hidden the end behind them.
    each_kind(|kind| {
        let ends: [(&str, End); 2] = [
            ("half", |mut guest| {
                guest.finish();
                Some(guest)
            }),
            ("whole", |mut guest| {
                guest.finish();
                drop(guest);
                None
            }),
        ];
        for unread in [&b""[..], b"last words"] {
            for (what, end) in ends {
                eprintln!("{what}, {} bytes unread", unread.len());
                let host = Host::new(kind);
                let diary = Diary::default();
                let (mut client, mut guest) = host.pair(diary.of(host.builder()));
                assert!(client.is_connected());
                guest.send(unread);
                let guest = end(guest);
                until("it to be noticed", || !client.is_connected());
                let mut got = Vec::new();
                client.read_to_end(&mut got).expect("what was sent, and an end in order");
                assert_eq!(got, unread);
                assert!(!client.is_connected());
                assert!(diary.errors().is_empty());
                client.close().expect("closed");
                drop(guest);
                diary.check(kind.is_tls());
            }
        }
    });
}

#[test]
fn it_is_not_connected_once_it_was_reset_and_who_reads_is_told() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, guest) = host.pair(diary.of(host.builder()));
        if kind.is_unix() {
            // Unread bytes make the kernel say it.
            client.write_all(b"unread").expect("written");
        }
        guest.reset();
        until("it to be noticed", || !client.is_connected());
        assert!(diary.errors().is_empty(), "nobody has been told yet");
        let error = client.read(&mut [0; 8]).expect_err("it was reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        assert_eq!(diary.reasons.all(), [Reason::Reset]);
        is_over(&client);
        assert_eq!(diary.errors().len(), 1);
        diary.check(kind.is_tls());
    });
}

#[test]
fn it_is_not_connected_after_a_write_that_failed() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, guest) = host.pair(diary.of(host.builder()));
        guest.reset();
        let error = (0..1000).find_map(|_| client.write(b"anybody?").err()).expect("nobody is there");
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        is_over(&client);
        assert_eq!(diary.errors().len(), 1, "{:?}", diary.errors());
        assert_eq!(diary.every_state().last(), Some(&ConnState::Close));
        diary.check(kind.is_tls());
    });
}

#[test]
fn after_our_own_half_close_it_is_not_connected_but_reads_and_a_write_is_refused_and_no_error() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, mut guest) = host.pair(diary.of(host.builder()));
        client.shutdown_write().expect("our end");
        client.shutdown_write().expect("it is said already");
        assert!(!client.is_connected());
        assert_eq!(client.write(b"x").expect_err("it is said").kind(), ErrorKind::BrokenPipe);
        guest.send(b"still here");
        let mut got = [0; 10];
        client.read_exact(&mut got).expect("ten bytes");
        guest.finish();
        assert_eq!(client.read(&mut got).expect("the end"), 0);
        // With both ends said it is as before: that had been told as a connection that broke.
        assert_eq!(client.write(b"x").expect_err("it is said").kind(), ErrorKind::BrokenPipe);
        assert_eq!(client.read(&mut got).expect("the end"), 0);
        client.shutdown_write().expect("it is said already");
        client.close().expect("closed");
        is_over(&client);
        assert!(diary.errors().is_empty(), "{:?}", diary.errors());
        use ConnState::{Close, CloseRead, CloseWrite, Dial, New, Read};
        let rest = [CloseWrite, Read, CloseRead, Close];
        let begin = if kind.is_tls() { vec![Dial, New, ConnState::Handshake] } else { vec![Dial, New] };
        assert_eq!(diary.every_state(), [begin, rest.to_vec()].concat());
    });
}

#[test]
fn a_write_after_the_peers_end_still_arrives() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (mut client, mut guest) = host.pair(host.builder());
        guest.finish();
        assert_eq!(client.read(&mut [0; 8]).expect("the end"), 0);
        client.write_all(b"an answer").expect("written");
        client.close().expect("closed");
        assert_eq!(guest.rest(), b"an answer");
    });
}

#[test]
fn reads_take_no_longer_than_they_may_and_nothing_is_lost_by_that() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, mut guest) = host.pair(diary.of(host.builder()));
        for time in [Duration::from_millis(1), Duration::from_millis(70)] {
            client.set_read_timeout(Some(time)).expect("a time");
            let since = Instant::now();
            assert_eq!(client.read(&mut [0; 8]).expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
            assert!(
                since.elapsed() >= time && since.elapsed() < time + Duration::from_secs(2),
                "{:?}",
                since.elapsed()
            );
            assert!(client.is_connected());
        }
        client.set_read_timeout(None).expect("for ever");
        guest.send(b"late");
        let mut got = [0; 4];
        client.read_exact(&mut got).expect("four bytes");
        assert_eq!(&got, b"late");
        assert!(diary.errors().is_empty(), "a timeout is told to its caller alone");
    });
}

#[test]
fn writes_take_no_longer_than_they_may_and_nothing_is_lost_by_that() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, mut guest) = host.pair(diary.of(host.builder()).connect_config(tight(kind)));
        let time = Duration::from_millis(60);
        client.set_write_timeout(Some(time)).expect("a time");
        let bytes = crate::host::noise(40_000);
        let (mut sent, mut since) = (Vec::new(), Instant::now());
        let error = loop {
            match client.write(&bytes) {
                Ok(taken) => sent.extend_from_slice(&bytes[..taken]),
                Err(error) => break error,
            }
            since = Instant::now();
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(since.elapsed() >= time && since.elapsed() < time + Duration::from_secs(2), "{:?}", since.elapsed());
        assert!(client.is_connected() && diary.errors().is_empty());
        for _ in 0..2 {
            assert_eq!(client.flush().expect_err("nobody reads").kind(), ErrorKind::WouldBlock);
            assert_eq!(client.shutdown_write().expect_err("nobody reads").kind(), ErrorKind::WouldBlock);
        }
        client.set_write_timeout(None).expect("for ever");
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| guest.rest());
            client.shutdown_write().expect("all of it, and our end");
            assert!(reading.join().expect("no panic") == sent, "other bytes came");
        });
        assert!(diary.errors().is_empty());
    });
}

#[test]
fn what_was_written_and_is_lost_by_a_reset_is_told_by_close_and_by_half_close() {
    // Both had said that all was well.
    each_kind(|kind| {
        for close in [true, false] {
            let host = Host::new(kind);
            let diary = Diary::default();
            let (client, guest) = host.pair(diary.of(host.builder()).connect_config(tight(kind)));
            clog(&client);
            guest.reset();
            if close {
                let error = client.close().expect_err("it is lost");
                assert!(matches!(error, Error::Broken { reason: Reason::Reset, .. }), "{error}");
            } else {
                let error = client.shutdown_write().expect_err("it is lost");
                assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
            }
            is_over(&client);
            assert_eq!(diary.errors().len(), 1, "{:?}", diary.errors());
            diary.check(kind.is_tls());
        }
    });
}

#[test]
fn a_server_that_goes_in_the_middle_is_told_once_to_whoever_waits() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (client, mut guest) = host.pair(diary.of(host.builder()));
        std::thread::scope(|scope| {
            let reading: Vec<_> = (0..3).map(|_| scope.spawn(|| (&client).read(&mut [0; 8]))).collect();
            (&client).write_all(b"a request, half of which").expect("written");
            guest.receive(9);
            if kind.is_tls() {
                // What TLS has read it has read: the end alone is an end without close_notify.
                drop(guest);
            } else {
                guest.reset();
            }
            let errors: Vec<_> = reading
                .into_iter()
                .map(|reading| reading.join().expect("no panic"))
                .map(|read| read.expect_err("it is gone").kind())
                .collect();
            let first = errors.iter().filter(|kind| **kind != ErrorKind::NotConnected).count();
            assert!(first <= 1, "{errors:?}");
        });
        until("it to be told", || !diary.errors().is_empty());
        is_over(&client);
        assert_eq!(diary.errors().len(), 1, "{:?}", diary.errors());
        let expected: &[Reason] = if kind.is_tls() { &[Reason::Truncated, Reason::Reset] } else { &[Reason::Reset] };
        assert!(expected.contains(&diary.reasons.all()[0]), "{:?}", diary.reasons.all());
        assert!(diary.errors()[0].contains(&host.address.to_string()), "{:?}", diary.errors());
        diary.check(kind.is_tls());
    });
}

#[cfg(feature = "tls")]
#[test]
fn an_end_without_close_notify_is_none() {
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_tls()) {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, mut guest) = host.pair(diary.of(host.builder()));
        guest.send(b"half an answer");
        drop(guest);
        let mut got = Vec::new();
        assert_eq!(client.read_to_end(&mut got).expect_err("it was cut").kind(), ErrorKind::UnexpectedEof);
        assert_eq!(got, b"half an answer");
        assert_eq!(diary.reasons.all(), [Reason::Truncated]);
        is_over(&client);
    }
}

#[test]
fn a_close_with_an_answer_unread_is_an_end_in_order_all_the_same() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (mut client, mut guest) = host.pair(host.builder());
        client.write_all(b"a request").expect("written");
        guest.send(&[7; 1000]);
        // It has come: TLS may have taken it, or the kernel holds it.
        client.read_exact(&mut [0]).expect("a byte");
        client.close().expect("closed");
        drop(client);
        assert_eq!(guest.rest(), b"a request");
    });
    let _ = Kind::ALL;
}
