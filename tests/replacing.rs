//! Another handler for a connection, in the middle of its life: who hears what, over every transport.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use support::{Echo, Hooks, Kind, Log, Peer, Said, Sink, World, each_kind};
use windlass::{Conn, Error, Handler, Link, ListenConfig, Message, Reason};

/// Listens with one handler made by `make`, and connects a peer to it; both are open.
fn begin<H: Handler>(kind: Kind, make: impl Fn(Log) -> H + 'static) -> (World, Peer) {
    let mut world = World::new();
    let log = world.log.clone();
    let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| make(log.clone()));
    let peer = world.dial(&address);
    world.until("the connection to be there", |world| world.log.made() > 0 && world.log.open() == 1);
    (world, peer)
}

/// A handler of lines, which another one follows when the line came: `next` sets it.
fn login(log: Log, next: impl Fn(&Log, &mut Conn<'_>) + 'static) -> Hooks {
    Hooks::new().data(move |conn, data| {
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return 0 };
        next(&log, conn);
        end + 1
    })
}

fn echoes(log: &Log, conn: &mut Conn<'_>) {
    log.succeed(conn, Echo).expect("an open connection");
}

#[test]
fn what_one_handler_leaves_is_shown_to_the_next_and_the_connection_stays() {
    const ASKED: &[u8] = b"login\nwhat came right behind it";
    each_kind(|kind| {
        for piece in [1, 5, 6, 7, ASKED.len()] {
            let (mut world, mut peer) = begin(kind, |log| login(log, echoes));
            let id = world.log.id(0);
            for part in ASKED.chunks(piece) {
                peer.send_all_while(&mut world, part);
            }
            assert_eq!(peer.read_exact_while(&mut world, ASKED.len() - 6), &ASKED[6..]);
            peer.send_all_while(&mut world, b"more");
            assert_eq!(peer.read_exact_while(&mut world, 4), b"more");
            assert_eq!((world.log.id(1), world.log.made()), (id, 2));
            assert!(!world.log.said(0).contains(&Said::Close(Reason::PeerClosed)));
            assert_eq!(world.log.said(1)[0], Said::Open);
            assert_eq!(world.log.shown(1), ASKED.len() - 6 + 4);
            let counted = world.reactor().snapshot();
            assert_eq!((counted.opened, counted.closed_total()), (1, 0));
            peer.finish();
            assert_eq!(world.until_empty(), [Reason::PeerClosed]);
            assert_eq!(world.log.said(1).last(), Some(&Said::Close(Reason::PeerClosed)));
        }
    });
}

#[test]
fn the_next_handler_may_answer_first_and_what_was_written_before_leaves_before() {
    each_kind(|kind| {
        let (mut world, mut peer) = begin(kind, |log| {
            login(log, |log, conn| {
                conn.write(b"one ").expect("room");
                let next = Hooks::new().open(|conn| conn.write(b"three ").expect("room")).data(|conn, data| {
                    conn.write(data).expect("room");
                    data.len()
                });
                log.succeed(conn, next).expect("an open connection");
                conn.write(b"two ").expect("room");
            })
        });
        peer.send_all_while(&mut world, b"x\nfour");
        assert_eq!(peer.read_exact_while(&mut world, 18), b"one two three four");
    });
}

/// One handler for each callback in which another one can be set; `serial` 1 is the one that was set.
#[test]
fn it_can_be_set_in_every_callback() {
    type Make = fn(Log) -> Hooks;
    let cases: [(&str, Make); 6] = [
        ("on_open", |log| Hooks::new().open(move |conn| echoes(&log, conn))),
        ("on_message", |log| Hooks::new().message(move |conn, _| echoes(&log, conn))),
        ("on_timer", |log| {
            Hooks::new().open(|conn| conn.set_timer(Duration::ZERO)).timer(move |conn| echoes(&log, conn))
        }),
        ("on_writable", |log| {
            Hooks::new()
                .open(|conn| while conn.write(&[b'x'; 100_000]).is_ok() {})
                .writable(move |conn| echoes(&log, conn))
        }),
        ("on_hangup", |log| Hooks::new().open(|conn| conn.pause()).hangup(move |conn| echoes(&log, conn))),
        ("on_end", |log| Hooks::new().end(move |conn, _| echoes(&log, conn))),
    ];
    each_kind(|kind| {
        for (name, make) in cases {
            eprintln!("{name}");
            let mut world = World::new();
            let log = world.log.clone();
            let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| make(log.clone()));
            let mut peer = world.dial(&address);
            world
                .until("the first handler to be called", |world| world.log.made() > 0 && !world.log.said(0).is_empty());
            let id = world.log.id(0);
            let mut drained = 0;
            match name {
                "on_message" => world.reactor().remote().tell(id, ()).expect("room"),
                "on_hangup" | "on_end" => peer.finish(),
                "on_writable" => {
                    let mut buffer = vec![0; 65_536];
                    world.until("the queue to have room", |world| {
                        while let Some(read) = peer.try_read(&mut buffer) {
                            drained += read.expect("a read");
                        }
                        world.log.made() == 2
                    });
                }
                _ => {}
            }
            world
                .until("the next one", |world| world.log.made() == 2 && world.log.said(1).first() == Some(&Said::Open));
            match name {
                "on_end" => assert_eq!(world.until_empty(), [Reason::PeerClosed]),
                "on_hangup" => {
                    // It is told of it as well, before it takes input again.
                    world.until("the same word", |world| world.log.said(1).contains(&Said::HangUp));
                    world.reactor().context().other(id).expect("it is there").resume();
                    assert_eq!(world.until_empty(), [Reason::PeerClosed]);
                    assert!(world.log.said(1).contains(&Said::End(0)));
                }
                _ => {
                    peer.send_all_while(&mut world, b"again");
                    let mut end = Vec::new();
                    world.until("the echo", |_| {
                        let mut buffer = [0; 65_536];
                        while let Some(read) = peer.try_read(&mut buffer) {
                            end.extend_from_slice(&buffer[..read.expect("a read")]);
                        }
                        end.ends_with(b"again")
                    });
                }
            }
        }
    });
}

#[test]
fn messages_in_flight_and_values_that_wait_reach_the_next_handler() {
    each_kind(|kind| {
        let (mut world, mut peer) = begin(kind, |log| {
            let first = Hooks::new().open(|conn| {
                conn.tell_after(Duration::from_millis(20), 3_u32);
            });
            first.message(move |conn, message| {
                assert_eq!(message.take::<u32>(), Some(1));
                let next = Hooks::new().message(|conn, message: &mut Message| {
                    let value: u32 = message.take().expect("a number");
                    conn.write(&[value as u8]).expect("room");
                });
                log.succeed(conn, next).expect("an open connection");
            })
        });
        let id = world.log.id(0);
        let remote = world.reactor().remote();
        // Both in one turn.
        remote.tell(id, 1_u32).expect("room");
        remote.tell(id, 2_u32).expect("room");
        assert_eq!(peer.read_exact_while(&mut world, 2), [2, 3]);
        assert_eq!(world.log.said(0), [Said::Open, Said::Message]);
    });
}

#[test]
fn what_the_old_handler_waited_for_is_forgotten_and_what_is_asked_behind_holds() {
    each_kind(|kind| {
        let (mut world, mut peer) = begin(kind, |log| {
            Hooks::new().data(move |conn, data| {
                conn.need(data.len() + 1000).expect("less than the limit");
                conn.set_timer(Duration::ZERO);
                log.succeed(conn, Echo).expect("an open connection");
                0
            })
        });
        peer.send_all_while(&mut world, b"short");
        // Shown at once, without another byte, though the first one took nothing.
        assert_eq!(peer.read_exact_while(&mut world, 5), b"short");
        world.turns(3);
        assert_eq!(world.log.said(1), [Said::Open, Said::Data(5)]);

        let (mut world, mut peer) = begin(kind, |log| {
            Hooks::new().data(move |conn, data| {
                log.succeed(conn, Hooks::new().timer(|conn| conn.write(b"timer").expect("room"))).expect("open");
                conn.need(8).expect("less than the limit");
                conn.set_timer(Duration::from_millis(5));
                data.len()
            })
        });
        peer.send_all_while(&mut world, b"go");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"timer");
        peer.send_all_while(&mut world, b"1234567");
        world.turns(3);
        peer.send_all_while(&mut world, b"8");
        world.until("all eight", |world| world.log.shown(1) == 8);
        assert_eq!(world.log.said(1), [Said::Open, Said::Timer, Said::Data(8)]);
    });
}

#[test]
fn of_several_that_one_callback_sets_the_last_counts() {
    each_kind(|kind| {
        let (mut world, mut peer) = begin(kind, |log| {
            login(log, |log, conn| {
                for _ in 0..3 {
                    log.succeed(conn, Sink).expect("an open connection");
                }
                echoes(log, conn);
            })
        });
        peer.send_all_while(&mut world, b"\nx");
        assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        for unused in 1..4 {
            assert_eq!(world.log.said(unused), []);
        }
        drop(peer);
        world.until_empty();
        assert_eq!(world.log.reasons().len(), 1);
    });
}

#[test]
fn a_handler_that_took_over_may_set_the_next_at_once_but_not_for_ever() {
    struct Chain(u32);
    impl Handler for Chain {
        fn on_open(&mut self, conn: &mut Conn<'_>) {
            if self.0 > 0 {
                conn.set_handler(Chain(self.0 - 1)).expect("an open connection");
            }
        }
        fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
            assert_eq!(self.0, 0);
            conn.write_some(data)
        }
    }
    each_kind(|kind| {
        for (handlers, ends) in [(2, false), (15, false), (1_000_000, true)] {
            // Unrecorded, since so many follow.
            let mut world = World::new();
            let address = world.free_address(kind);
            let config = support::listening(&address, ListenConfig::default());
            let id = world.reactor().listen(&address, config, move |_: &Conn<'_>| Chain(handlers)).expect("a listener");
            let address = world.reactor().listener_address(id).expect("it listens");
            let mut peer = world.dial(&address);
            if ends {
                let _ = peer.read_to_end_while(&mut world);
                drop(peer);
                world.until("an end", |world| world.reactor().snapshot().closed_total() == 1);
                assert_eq!(world.reactor().snapshot().panics, 1);
            } else {
                peer.send_all_while(&mut world, b"x");
                assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
            }
        }
    });
}

/// What a callback does behind setting another handler, the reason that this one is told, and whether the peer hears an end.
#[test]
fn an_end_in_the_same_callback_is_told_to_the_one_that_was_to_take_over() {
    type Act = fn(&mut Conn<'_>);
    let cases: [(Act, Reason); 3] = [
        (|conn| conn.close(), Reason::Local),
        (|conn| conn.abort(), Reason::Aborted),
        (|conn| conn.detach(|link, _| drop(link)), Reason::Detached),
    ];
    each_kind(|kind| {
        for (act, reason) in cases {
            let (mut world, mut peer) = begin(kind, move |log| {
                login(log, move |log, conn| {
                    echoes(log, conn);
                    act(conn);
                    assert!(matches!(conn.set_handler(Sink), Err(Error::NotOpen)), "{reason:?}");
                })
            });
            peer.send_all_while(&mut world, b"\nx");
            world.until("the callback", |world| world.log.made() == 2);
            let _ = peer.read_to_end_while(&mut world);
            drop(peer);
            assert_eq!(world.until_empty(), [reason]);
            assert_eq!(world.log.said(1), [Said::Close(reason)]);
            assert_eq!(world.log.said(0).len(), 2, "{:?}", world.log.said(0));
        }
    });
}

#[test]
fn a_detached_link_carries_what_neither_handler_was_shown() {
    each_kind(|kind| {
        let left: Rc<RefCell<Option<Link>>> = Rc::default();
        let (given, bytes) = (left.clone(), Rc::new(RefCell::new(Vec::new())));
        let (mut world, mut peer) = begin(kind, move |log| {
            let given = given.clone();
            login(log, move |log, conn| {
                let given = given.clone();
                let next = Hooks::new().open(move |conn| {
                    let given = given.clone();
                    conn.detach(move |link, _| *given.borrow_mut() = Some(link));
                });
                log.succeed(conn, next).expect("an open connection");
            })
        });
        peer.send_all_while(&mut world, b"\nunread");
        world.until("the link", |_| left.borrow().is_some());
        assert_eq!(world.log.said(1), [Said::Open, Said::Close(Reason::Detached)]);
        let shown = bytes.clone();
        let last = Hooks::new().data(move |conn, data| {
            shown.borrow_mut().extend_from_slice(data);
            conn.write_some(data)
        });
        let last = world.log.record(last);
        let link = left.borrow_mut().take().expect("it was left");
        world.reactor().context().adopt(link, last).unwrap_or_else(|_| panic!("adopted"));
        assert_eq!(peer.read_exact_while(&mut world, 6), b"unread");
        assert_eq!(*bytes.borrow(), b"unread");
    });
}

#[test]
fn a_relay_in_the_same_callback_keeps_the_new_handler_for_the_end() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut right = world.dial(&address);
        world.until_open(1);
        let (other, log) = (world.log.id(0), world.log.clone());
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            login(log.clone(), move |log, conn| {
                echoes(log, conn);
                conn.relay(other).expect("two open connections");
                assert!(matches!(conn.set_handler(Sink), Err(Error::NotOpen)));
            })
        });
        let mut left = world.dial(&address);
        world.until_open(2);
        left.send_all_while(&mut world, b"\nthrough");
        assert_eq!(right.read_exact_while(&mut world, 7), b"through");
        left.finish();
        right.finish();
        world.until_empty();
        assert_eq!(world.log.said(2), [Said::Close(Reason::PeerClosed)]);
        assert_eq!(world.log.said(1).len(), 2);
    });
}

#[test]
fn a_pause_holds_for_the_next_handler_until_it_takes_input() {
    each_kind(|kind| {
        let (mut world, mut peer) = begin(kind, |log| {
            login(log, |log, conn| {
                let next = Hooks::new().message(|conn, _| conn.resume()).data(|conn, data| conn.write_some(data));
                log.succeed(conn, next).expect("an open connection");
                conn.pause();
            })
        });
        peer.send_all_while(&mut world, b"\nlater");
        world.until("the next handler", |world| world.log.made() == 2 && world.log.said(1) == [Said::Open]);
        world.turns(5);
        assert_eq!(world.log.said(1), [Said::Open]);
        let id = world.log.id(1);
        world.reactor().remote().tell(id, ()).expect("room");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"later");
    });
}

#[test]
fn it_is_refused_at_the_end() {
    each_kind(|kind| {
        let (mut world, peer) = begin(kind, |_| {
            Hooks::new().close(|conn, _| assert!(matches!(conn.set_handler(Sink), Err(Error::NotOpen))))
        });
        drop(peer);
        world.until_empty();
        assert_eq!((world.log.made(), world.reactor().snapshot().panics), (1, 0));
    });
}

/// Panics when it is dropped.
struct Spiteful;

impl Handler for Spiteful {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.set_handler(Sink).expect("an open connection");
        data.len()
    }
}

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_panic_ends_the_connection_and_each_handler_that_is_left_hears_of_it_once() {
    each_kind(|kind| {
        // In the callback that sets it: the new one never was.
        let (mut world, mut peer) = begin(kind, |log| {
            login(log, |log, conn| {
                echoes(log, conn);
                panic!("after it");
            })
        });
        peer.send_all_while(&mut world, b"\nx");
        let _ = peer.read_to_end_while(&mut world);
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::HandlerPanicked]);
        assert_eq!(world.log.said(1), []);
        assert_eq!(world.log.said(0).last(), Some(&Said::Close(Reason::HandlerPanicked)));
        assert_eq!(world.reactor().snapshot().panics, 1);

        // In the new one's first callback.
        let (mut world, mut peer) = begin(kind, |log| {
            login(log, |log, conn| {
                log.succeed(conn, Hooks::new().open(|_| panic!("on_open"))).expect("an open connection");
            })
        });
        peer.send_all_while(&mut world, b"\nx");
        let _ = peer.read_to_end_while(&mut world);
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::HandlerPanicked]);
        assert_eq!(world.log.said(1), [Said::Open, Said::Close(Reason::HandlerPanicked)]);

        // When the old one is dropped.
        let mut world = World::new();
        let address = world.free_address(kind);
        let config = support::listening(&address, ListenConfig::default());
        let id = world.reactor().listen(&address, config, |_: &Conn<'_>| Spiteful).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"x");
        let _ = peer.read_to_end_while(&mut world);
        drop(peer);
        world.until("an end", |world| world.reactor().snapshot().closed_total() == 1);
        assert_eq!(world.reactor().snapshot().panics, 1);
    });
}

#[test]
fn a_write_that_was_refused_before_is_followed_by_on_writable_of_the_next() {
    each_kind(|kind| {
        let (mut world, mut peer) = begin(kind, |log| {
            login(log, |log, conn| {
                while conn.write(&[b'x'; 100_000]).is_ok() {}
                echoes(log, conn);
            })
        });
        peer.send_all_while(&mut world, b"\n");
        let mut buffer = vec![0; 65_536];
        world.until("the queue to have room", |world| {
            while let Some(read) = peer.try_read(&mut buffer) {
                assert!(read.expect("a read") > 0);
            }
            world.log.made() == 2 && world.log.said(1).contains(&Said::Writable)
        });
        assert_eq!(world.log.said(1), [Said::Open, Said::Writable]);
    });
}

#[test]
fn the_end_and_its_rest_are_told_to_the_next_handler_and_states_once() {
    each_kind(|kind| {
        let rest = Rc::new(RefCell::new(Vec::new()));
        let shown = rest.clone();
        let (mut world, mut peer) = begin(kind, move |log| {
            let shown = shown.clone();
            Hooks::new().data(|_, _| 0).end(move |conn, rest| {
                assert_eq!(rest, b"the rest");
                let shown = shown.clone();
                let next = Hooks::new().data(move |_, data| {
                    shown.borrow_mut().extend_from_slice(data);
                    data.len() - 4
                });
                let next = next.end(|conn, rest| {
                    assert_eq!(rest, b"rest");
                    conn.write(b"answer").expect("room");
                    conn.close();
                });
                log.succeed(conn, next).expect("a half-open connection");
            })
        });
        peer.send_all_while(&mut world, b"the rest");
        peer.finish();
        assert_eq!(peer.read_to_end_while(&mut world).expect("an end in order"), b"answer");
        assert_eq!(rest.borrow()[..8], *b"the rest");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        assert!(world.log.said(1).contains(&Said::End(4)), "{:?}", world.log.said(1));
    });
}

#[test]
fn a_reset_after_the_change_is_told_to_the_one_that_took_over() {
    each_kind(|kind| {
        if kind.is_unix() {
            return; // it has no reset of its own
        }
        let (mut world, mut peer) = begin(kind, |log| login(log, echoes));
        peer.send_all_while(&mut world, b"\n");
        world.until("the next handler", |world| world.log.made() == 2);
        peer.reset();
        assert_eq!(world.until_empty(), [Reason::Reset]);
        assert_eq!(world.log.said(1).last(), Some(&Said::Close(Reason::Reset)));
    });
}

#[test]
fn a_drain_that_began_before_is_told_to_the_next_handler() {
    each_kind(|kind| {
        let (mut world, mut peer) = begin(kind, |log| {
            let drains = Hooks::new().drain(|_| {});
            drains.data(move |conn, data| {
                log.succeed(conn, Echo).expect("an open connection");
                data.len()
            })
        });
        peer.send_all_while(&mut world, b"");
        world.reactor().context().shutdown(Duration::from_secs(10));
        world.until("the drain to be told", |world| world.log.said(0).contains(&Said::Drain));
        peer.send_all_while(&mut world, b"go");
        world.until("the same word", |world| world.log.made() == 2 && world.log.said(1).contains(&Said::Drain));
        // The default closes.
        peer.read_to_close_while(&mut world);
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Drain]);
        assert_eq!(world.log.said(1)[..2], [Said::Open, Said::Drain]);
    });
}

/// One that takes over in `on_open`, while the reactor drains, is the one that the drain is told to, and once.
#[test]
fn a_drain_is_told_once_to_a_handler_that_took_over_at_the_beginning() {
    each_kind(|kind| {
        let mut world = World::new();
        let log = world.log.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let log = log.clone();
            Hooks::new()
                .open(move |conn| _ = log.succeed(conn, Hooks::new().drain(|_| {})).expect("an open connection"))
        });
        let peer = world.dial(&address);
        world.reactor().context().shutdown(Duration::from_secs(10));
        let drains = |world: &World| world.log.said(1).iter().filter(|said| **said == Said::Drain).count();
        world.until("the drain to be told", |world| world.log.made() == 2 && drains(world) > 0);
        world.turns(3);
        assert_eq!(drains(&world), 1);
        drop(peer);
        world.until_empty();
    });
}

#[cfg(feature = "tls")]
mod tls {
    use super::*;
    use support::security;

    /// TLS and another handler begin in one callback, in either order; the peer shakes hands, or does not.
    #[test]
    fn with_tls_begun_in_the_same_callback_the_next_handler_opens_when_it_is_done() {
        for is_first in [true, false] {
            let mut world = World::new();
            let log = world.log.clone();
            let address = world.listen(Kind::Tcp, ListenConfig::default(), move |_: &Conn<'_>| {
                login(log.clone(), move |log, conn| {
                    let next = Hooks::new().open(|conn| {
                        assert!(conn.tls().is_some());
                        conn.write(b"welcome ").expect("room");
                    });
                    let next = next.data(|conn, data| conn.write_some(data));
                    if is_first {
                        conn.start_tls_server(&security::server()).expect("a plain connection");
                        log.succeed(conn, next).expect("it will be open");
                    } else {
                        log.succeed(conn, next).expect("an open connection");
                        conn.start_tls_server(&security::server()).expect("a plain connection");
                    }
                })
            });
            let client = Hooks::new()
                .open(|conn| conn.write(b"STARTTLS\n").expect("room"))
                .secured(|conn| conn.write(b"hello").expect("room"));
            let got = Rc::new(RefCell::new(Vec::new()));
            let into = got.clone();
            let client = client.data(move |_, data| {
                into.borrow_mut().extend_from_slice(data);
                data.len()
            });
            let started = Rc::new(Cell::new(false));
            let starts = started.clone();
            let client = client.message(move |conn, message| {
                let _ = message.take::<()>();
                conn.start_tls_client(&security::client()).expect("a plain connection");
                starts.set(true);
            });
            let id = world.connect(&address, Default::default(), client);
            world.until("the request to be there", |world| world.log.made() == 3);
            world.turns(2);
            assert!(world.log.said(2).is_empty(), "{:?}", world.log.said(2));
            world.reactor().remote().tell(id, ()).expect("room");
            world.until("the answers", |_| got.borrow().len() == 13);
            assert_eq!(*got.borrow(), b"welcome hello");
            let serial = 2;
            assert_eq!(world.log.said(serial)[..2], [Said::Open, Said::Data(5)]);
            assert!(started.get());
        }
    }

    #[test]
    fn a_handshake_that_fails_is_told_to_the_next_handler_as_an_end_alone() {
        let (mut world, mut peer) = begin(Kind::Tcp, |log| {
            login(log, |log, conn| {
                conn.start_tls_server(&security::server()).expect("a plain connection");
                echoes(log, conn);
            })
        });
        peer.send_all_while(&mut world, b"\nthis is no ClientHello at all");
        let _ = peer.read_to_end_while(&mut world);
        drop(peer);
        let reasons = world.until_empty();
        assert!(matches!(reasons[..], [Reason::Tls(_)]), "{reasons:?}");
        assert_eq!(world.log.said(1), [Said::Close(reasons[0])]);
        assert_eq!(world.log.said(0).len(), 2);
    }
}
