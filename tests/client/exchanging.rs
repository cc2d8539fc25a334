//! `once`: a request, its answer, and one deadline over all of it.

use crate::connecting::tight;
use crate::host::{BlackHole, Diary, Guest, Host, Place, builder, noise};
use crate::support::{PATIENCE, each_kind};
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use windlass::{Address, AfterRequest, Client, ConnState, Error};

/// The deadline of what cannot be done within it; a handshake can, also on a busy machine.
const TIME: Duration = Duration::from_millis(300);

fn all(answer: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    answer.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One exchange with a peer that plays this part.
fn exchange<T: Send>(
    host: &Host,
    client: &Client,
    play: impl FnOnce(Guest) + Send,
    exchange: impl FnOnce(&Client) -> T,
) -> T {
    std::thread::scope(|scope| {
        let playing = scope.spawn(|| play(host.accept()));
        let done = exchange(client);
        playing.join().expect("no panic");
        done
    })
}

#[test]
fn a_request_with_its_end_gets_its_whole_answer() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let (request, answer) = (noise(300_000), noise(1_000_000));
        for _ in 0..2 {
            let play = |mut guest: Guest| {
                assert!(guest.rest() == request, "another request came");
                guest.send(&answer);
                guest.finish();
            };
            let once = |client: &Client| client.once(&request[..], AfterRequest::HalfClose, PATIENCE, all);
            assert!(exchange(&host, &client, play, once).expect("an answer") == answer, "another answer came");
            assert!(!client.is_connected());
            assert!(matches!(client.close(), Err(Error::NotConnected)));
        }
        assert!(diary.errors().is_empty(), "{:?}", diary.errors());
        diary.check(kind.is_tls());
        assert_eq!(diary.states().iter().filter(|state| **state == ConnState::CloseWrite).count(), 2);
    });
}

#[test]
fn a_request_that_says_itself_where_it_ends_is_answered_and_then_comes_the_end() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let play = |mut guest: Guest| {
            assert_eq!(guest.receive(6), b"what?\n");
            guest.send(b"this\n");
            assert_eq!(guest.rest(), b"");
        };
        let once = |client: &Client| {
            client.once(&b"what?\n"[..], AfterRequest::KeepOpen, PATIENCE, |answer| {
                let mut line = [0; 5];
                answer.read_exact(&mut line)?;
                Ok(line)
            })
        };
        assert_eq!(&exchange(&host, &client, play, once).expect("an answer"), b"this\n");
        assert!(diary.errors().is_empty());
        diary.check(kind.is_tls());
        assert!(!diary.states().contains(&ConnState::CloseWrite));
    });
}

#[test]
fn without_an_answer_the_request_arrives_all_the_same() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let client = host.client();
        for after in [AfterRequest::KeepOpen, AfterRequest::HalfClose] {
            let request = noise(200_000);
            let play = |mut guest: Guest| assert!(guest.rest() == request, "another request came");
            let once = |client: &Client| client.once(&request[..], after, PATIENCE, |_| Ok(7));
            assert_eq!(exchange(&host, &client, play, once).expect("sent"), 7);
        }
        // An empty one is none.
        let play = |mut guest: Guest| assert_eq!(guest.rest(), b"");
        exchange(&host, &client, play, |client| {
            client.once(io::empty(), AfterRequest::HalfClose, PATIENCE, |_| Ok(()))
        })
        .expect("connected and closed");
    });
}

#[test]
fn it_replaces_a_connection_that_there_is() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let (client, mut old) = host.pair(host.builder());
        let play = |mut guest: Guest| assert_eq!(guest.rest(), b"x");
        exchange(&host, &client, play, |client| client.once(&b"x"[..], AfterRequest::HalfClose, PATIENCE, |_| Ok(())))
            .expect("sent");
        assert_eq!(old.rest(), b"");
    });
}

/// Fails at the deadline, not before and not much later, and tells so once.
fn late(diary: &Diary, once: impl FnOnce() -> Result<(), Error>) -> Error {
    let since = Instant::now();
    let error = once().expect_err("it is late");
    let took = since.elapsed();
    assert!(took >= TIME && took < TIME + Duration::from_secs(2), "{took:?}: {error}");
    assert_eq!(diary.errors(), [error.to_string()]);
    error
}

fn is_timeout(error: &Error) {
    assert!(matches!(error, Error::Exchange { source, .. } if source.kind() == ErrorKind::TimedOut), "{error}");
}

#[test]
fn the_deadline_is_one_over_connect_and_handshake() {
    let hole = BlackHole::new(Place::V4);
    let diary = Diary::default();
    let client = diary.of(builder(&Address::tcp(hole.ip))).build().expect("a client");
    let error = late(&diary, || client.once(io::empty(), AfterRequest::HalfClose, TIME, |_| Ok(())));
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    each_kind(|kind| {
        if kind.is_tls() {
            let host = Host::new(kind);
            let diary = Diary::default();
            let client = diary.of(host.builder()).build().expect("a client");
            let error = late(&diary, || client.once(io::empty(), AfterRequest::HalfClose, TIME, |_| Ok(())));
            assert!(matches!(error, Error::Broken { .. }), "{error}");
            diary.check(true);
        }
    });
}

#[test]
fn it_is_one_over_a_request_that_the_peer_does_not_read() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).connect_config(tight(kind)).build().expect("a client");
        let (keep, kept) = std::sync::mpsc::channel();
        let play = move |guest: Guest| keep.send(guest).expect("it is kept");
        let error = exchange(&host, &client, play, |client| {
            late(&diary, || client.once(io::repeat(7), AfterRequest::HalfClose, TIME, |_| Ok(())))
        });
        is_timeout(&error);
        assert!(!client.is_connected());
        diary.check(kind.is_tls());
        drop(kept);
    });
}

/// Waits until this is over.
fn outlast(time: Duration) {
    let end = Instant::now() + time;
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let _ = never.recv_timeout(left + Duration::from_millis(1));
    }
}

#[test]
fn it_is_one_over_what_request_and_response_take_themselves() {
    // As long as the socket was never waited for nobody had looked at the time: what never ended went on for ever.
    struct Slow;
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            outlast(TIME);
            buffer[0] = 7;
            Ok(1)
        }
    }
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let eats = |mut guest: Guest| {
            // However it ends.
            let _ = guest.read_to_end(&mut Vec::new());
        };
        let error = exchange(&host, &client, eats, |client| {
            late(&diary, || client.once(Slow, AfterRequest::HalfClose, TIME, |_| Ok(())))
        });
        is_timeout(&error);
        diary.check(kind.is_tls());

        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let answers = |mut guest: Guest| {
            guest.send(&[7; 1000]);
            let _ = guest.read_to_end(&mut Vec::new());
        };
        let error = exchange(&host, &client, answers, |client| {
            late(&diary, || {
                client.once(&b"what?"[..], AfterRequest::KeepOpen, TIME, |answer| {
                    answer.read_exact(&mut [0; 10])?;
                    outlast(TIME);
                    answer.read_exact(&mut [0; 10])
                })
            })
        });
        is_timeout(&error);
        diary.check(kind.is_tls());
    });
}

#[test]
fn it_is_one_over_an_answer_that_drips() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let drips = |mut guest: Guest| {
            let (_keep, never) = std::sync::mpsc::channel::<()>();
            while guest.write_all(b".").and_then(|()| guest.flush()).is_ok() {
                let _ = never.recv_timeout(Duration::from_millis(10));
            }
        };
        let error = exchange(&host, &client, drips, |client| {
            late(&diary, || client.once(&b"what?"[..], AfterRequest::HalfClose, TIME, all).map(drop))
        });
        is_timeout(&error);
        assert!(!client.is_connected());
        diary.check(kind.is_tls());
    });
}

#[test]
fn no_time_at_all_is_over_at_once() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let since = Instant::now();
        let error = client.once(&b"x"[..], AfterRequest::HalfClose, Duration::ZERO, all).expect_err("no time");
        assert!(since.elapsed() < Duration::from_secs(5));
        assert_eq!(diary.errors(), [error.to_string()]);
        diary.check(kind.is_tls());
    });
}

#[test]
fn what_request_or_response_say_is_returned_and_told_once() {
    each_kind(|kind| {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no more paper"))
            }
        }
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let play = |mut guest: Guest| assert!(guest.rest().is_empty());
        let error = exchange(&host, &client, play, |client| {
            client.once(Fails, AfterRequest::HalfClose, PATIENCE, all).expect_err("no request")
        });
        assert!(error.to_string().ends_with("no more paper"), "{error}");
        let play = |mut guest: Guest| assert_eq!(guest.rest(), b"x");
        let other = exchange(&host, &client, play, |client| {
            let respond = |_: &mut dyn Read| Err::<(), _>(io::Error::other("no such answer"));
            client.once(&b"x"[..], AfterRequest::HalfClose, PATIENCE, respond).expect_err("no answer")
        });
        assert!(other.to_string().ends_with("no such answer"), "{other}");
        assert!(other.to_string().contains(&host.address.to_string()));
        assert_eq!(diary.errors(), [error.to_string(), other.to_string()]);
        diary.check(kind.is_tls());
    });
}

#[test]
fn a_peer_that_goes_is_told_once() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let play = |mut guest: Guest| {
            guest.receive(1);
            guest.reset();
        };
        let error = exchange(&host, &client, play, |client| {
            client.once(&noise(9)[..], AfterRequest::KeepOpen, PATIENCE, all).expect_err("it is gone")
        });
        assert!(matches!(&error, Error::Exchange { .. }), "{error}");
        assert_eq!(diary.errors(), [error.to_string()]);
        diary.check(kind.is_tls());
        assert_eq!(diary.states().last(), Some(&ConnState::Close));
    });
}

#[test]
fn a_panic_in_request_or_response_goes_on_and_leaves_no_connection() {
    // It had left the connection open, and the client connected.
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("on purpose")
        }
    }
    each_kind(|kind| {
        let host = Host::new(kind);
        let diary = Diary::default();
        let client = diary.of(host.builder()).build().expect("a client");
        let caught = |call: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err();
        for panics_early in [true, false] {
            let play = |mut guest: Guest| {
                // However it ends.
                let _ = guest.read_to_end(&mut Vec::new());
            };
            exchange(&host, &client, play, |client| {
                let respond = |_: &mut dyn Read| -> io::Result<()> { panic!("on purpose") };
                let has_panicked = caught(&mut || {
                    let _ = match panics_early {
                        true => client.once(Panics, AfterRequest::HalfClose, PATIENCE, respond),
                        false => client.once(&b"x"[..], AfterRequest::HalfClose, PATIENCE, respond),
                    };
                });
                assert!(has_panicked && !client.is_connected());
                assert!(matches!(client.close(), Err(Error::NotConnected)));
            });
        }
        diary.check(kind.is_tls());
        assert_eq!(diary.every_state().iter().filter(|state| **state == ConnState::Close).count(), 2);
    });
}

#[test]
fn respond_may_use_the_client_itself() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let client = host.client();
        let play = |mut guest: Guest| {
            assert_eq!(guest.receive(1), b"x");
            guest.send(b"more?");
            assert_eq!(guest.rest(), b"yes");
        };
        exchange(&host, &client, play, |client| {
            client.once(&b"x"[..], AfterRequest::KeepOpen, PATIENCE, |answer| {
                answer.read_exact(&mut [0; 5])?;
                (&*client).write_all(b"yes")?;
                client.close().map_err(io::Error::other)
            })
        })
        .expect("an answer");
    });
}
