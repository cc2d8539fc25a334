//! How a reactor ends: by a drain, at its deadline, or dropped.

mod support;

use socket2::{Domain, SockAddr, Socket, Type};
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::{
    Echo, Heard, Hooks, Kind, Peer, Said, Sink, World, alone, descriptors, dialling, each_kind, each_plain_kind,
};
use windlass::{
    Address, Conn, ConnectConfig, Context, Direction, Error, Expiry, Handler, Limits, Link, ListenConfig, Next,
    ReactorConfig, Readiness, Reason, Report, Status, Undelivered, WatchHandler,
};

const LONG: Duration = Duration::from_secs(10);
const DRAIN: Reason = Reason::Drain;
const CUT: Reason = Reason::Timeout(Expiry::Drain);

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Turns until the reactor has stopped.
fn until_stopped(world: &mut World) -> Report {
    let mut report = None;
    world.until("the reactor to stop", |world| {
        if let Status::Stopped(told) = world.turn() {
            report = Some(told);
        }
        report.is_some()
    });
    assert_eq!(world.reactor().connections(), 0);
    report.expect("a report")
}

/// Drained, cut, bytes never sent.
fn counts(report: Report) -> (u64, u64, u64) {
    (report.drained, report.cut, report.unsent_bytes)
}

/// Peers that a handler of their own serves, all of them open.
fn peers<H: Handler>(
    world: &mut World,
    kind: Kind,
    count: usize,
    mut make: impl FnMut() -> H + 'static,
) -> (Address, Vec<Peer>) {
    let mut config = ListenConfig::default();
    // So that a peer that does not read is stuck with most of a megabyte.
    config.socket.send_buffer_bytes = Some(16 * 1024);
    let address = world.listen(kind, config, move |_: &Conn<'_>| make());
    let peers = (0..count).map(|_| world.dial(&address)).collect();
    world.until_open(count);
    (address, peers)
}

/// A handler with a megabyte to send.
fn full() -> Hooks {
    Hooks::new().open(|conn| conn.write(&vec![7; 1 << 20]).expect("room"))
}

fn assert_clean_end(world: &mut World, mut peer: Peer, expected: usize) {
    let got = peer.read_to_end_while(world).expect("a clean end, not a reset");
    assert!(got.len() == expected && got.iter().all(|byte| *byte == 7), "{} of {expected} bytes came", got.len());
}

/// A listener whose backlog is full, so that who connects to it must wait.
fn unanswering(world: &mut World, kind: Kind) -> (Address, Vec<Socket>) {
    let wanted = world.free_address(kind);
    let (domain, at) = match wanted.path() {
        Some(path) => (Domain::UNIX, SockAddr::unix(path).expect("a path")),
        None => (Domain::IPV4, SockAddr::from(wanted.ip().expect("an address"))),
    };
    let host = Socket::new(domain, Type::STREAM, None).expect("a socket");
    host.bind(&at).expect("a free address");
    host.listen(0).expect("a listener");
    let at = host.local_addr().expect("an address");
    let address = at.as_socket().map_or(wanted, Address::tcp);
    let mut sockets = vec![host];
    for _ in 0..8 {
        let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("a non-blocking socket");
        let _ = socket.connect(&at);
        sockets.push(socket);
    }
    (address, sockets)
}

#[test]
fn an_empty_reactor_stops_at_once() {
    each_kind(|kind| {
        for turns in [0, 3] {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
            world.turns(turns);
            world.reactor().shutdown(LONG);
            assert!(world.reactor().next_deadline().is_some_and(|due| due <= Instant::now()), "it has work to do");
            let since = Instant::now();
            assert_eq!(counts(until_stopped(&mut world)), (0, 0, 0));
            assert!(since.elapsed() < ms(500));
            assert_eq!(world.log.heard(), [Heard::Ended(None)]);
            assert!(Peer::dial(&address).is_err());
            // It stays stopped, and says so.
            assert!(matches!(world.turn(), Status::Stopped(_)));
            assert_eq!(world.reactor().run().map(counts).expect("a report"), (0, 0, 0));
        }
    });
}

#[test]
fn idle_connections_get_a_clean_end() {
    each_kind(|kind| {
        let mut world = World::new();
        let (address, peers) = peers(&mut world, kind, 10, || Echo);
        world.reactor().shutdown(LONG);
        assert_eq!(world.turn(), Status::Draining);
        assert!(Peer::dial(&address).is_err(), "nobody listens any more");
        peers.into_iter().for_each(|peer| assert_clean_end(&mut world, peer, 0));
        assert_eq!(counts(until_stopped(&mut world)), (10, 0, 0));
        assert_eq!(world.log.reasons(), [DRAIN; 10]);
        (0..10).for_each(|serial| assert_eq!(world.log.said(serial), [Said::Open, Said::Drain, Said::Close(DRAIN)]));
        assert_eq!(world.reactor().snapshot().closed_for(DRAIN), 10);
    });
}

#[test]
fn output_that_was_begun_is_flushed_whole() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, peers) = peers(&mut world, kind, 3, full);
        world.reactor().shutdown(LONG);
        world.turns(10);
        // They read late, one after the other, and still send what nobody will read.
        for mut peer in peers {
            let _ = peer.write_some(&[1; 100_000]).expect("a write");
            assert_clean_end(&mut world, peer, 1 << 20);
        }
        assert_eq!(counts(until_stopped(&mut world)), (3, 0, 0));
        assert_eq!(world.log.reasons(), [DRAIN; 3]);
    });
}

#[test]
fn what_was_read_of_many_before_a_drain_comes_back_whole() {
    const PEERS: usize = 20;
    const BYTES: usize = 300 * 1024;
    let message: Vec<u8> = (0..BYTES as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8).collect();
    each_kind(|kind| {
        let mut world = World::new();
        let taken = Rc::new(Cell::new(0));
        let tally = taken.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let tally = tally.clone();
            Hooks::new().data(move |conn, data| {
                let taken = conn.write_some(data);
                tally.set(tally.get() + taken);
                taken
            })
        });
        let mut peers: Vec<Peer> = (0..PEERS).map(|_| world.dial(&address)).collect();
        world.until_open(PEERS);
        // Nobody reads before all has been read of all.
        peers.iter_mut().for_each(|peer| peer.send_all_while(&mut world, &message));
        world.until("all to be read", |_| taken.get() == PEERS * BYTES);
        world.reactor().shutdown(LONG);
        for mut peer in peers {
            let got = peer.read_to_end_while(&mut world).expect("a clean end, not a reset");
            assert!(got == message, "{} bytes came, or others", got.len());
        }
        assert_eq!(counts(until_stopped(&mut world)), (PEERS as u64, 0, 0));
    });
}

#[test]
fn a_stuck_peer_is_cut_at_the_deadline_and_its_bytes_are_counted() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 2, full);
        let since = Instant::now();
        world.reactor().shutdown(ms(300));
        assert_clean_end(&mut world, peers.remove(0), 1 << 20);
        let report = until_stopped(&mut world);
        let took = since.elapsed();
        assert!(took >= ms(299) && took <= ms(400), "cut after {took:?}");
        let taken = world.reactor().snapshot().bytes_out;
        assert_eq!((report.drained, report.cut), (1, 1));
        // With TLS records are sent, and records are not.
        assert!(kind.is_tls() || report.unsent_bytes == (2 << 20) - taken);
        assert!(report.unsent_bytes > 0);
        assert_eq!(world.log.reasons(), [DRAIN, CUT]);
        if !kind.is_unix() {
            let end = peers[0].read_to_end_while(&mut world);
            assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_peer_that_never_ends_is_cut_at_the_deadline() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 1, || Echo);
        let since = Instant::now();
        world.reactor().shutdown(ms(200));
        assert_eq!(peers[0].read_to_end_while(&mut world).expect("a clean end"), b"");
        assert_eq!(counts(until_stopped(&mut world)), (0, 1, 0));
        let took = since.elapsed();
        assert!(took >= ms(199) && took <= ms(300), "cut after {took:?}");
    });
}

#[test]
fn a_handler_may_finish_what_it_does_before_it_closes() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 1, || {
            let hooks = Hooks::new().drain(|conn| conn.set_timer(ms(50)));
            let hooks = hooks.timer(|conn| {
                conn.write(b"goodbye").expect("room");
                conn.close();
            });
            hooks.data(|conn, data| conn.write_some(data))
        });
        world.reactor().shutdown(LONG);
        world.turns(2);
        peers[0].send_all_while(&mut world, b"one more ");
        assert_eq!(peers[0].read_to_end_while(&mut world).expect("a clean end"), b"one more goodbye");
        drop(peers);
        assert_eq!(counts(until_stopped(&mut world)), (1, 0, 0));
        assert_eq!(world.log.reasons(), [DRAIN]);
    });
}

#[test]
fn a_handler_that_never_closes_is_cut() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, _peers) = peers(&mut world, kind, 2, || Hooks::new().drain(|_| {}));
        world.reactor().shutdown(ms(100));
        assert_eq!(counts(until_stopped(&mut world)), (0, 2, 0));
        assert_eq!(world.log.reasons(), [CUT, CUT]);
    });
}

#[test]
fn of_two_deadlines_the_sooner_counts_and_both_get_the_same_report() {
    for (first, second) in [(LONG, ms(200)), (ms(200), LONG)] {
        each_kind(|kind| {
            let mut world = World::new();
            let (_, _peers) = peers(&mut world, kind, 1, full);
            let remote = world.reactor().remote();
            let since = Instant::now();
            let waiters: Vec<_> = [first, second]
                .into_iter()
                .map(|drain| {
                    remote.stop(drain).expect("a reactor that lives");
                    let remote = remote.clone();
                    std::thread::spawn(move || remote.wait(LONG).expect("a report"))
                })
                .collect();
            world.turns(2);
            world.reactor().shutdown(LONG);
            let report = until_stopped(&mut world);
            let took = since.elapsed();
            assert!(took >= ms(199) && took <= ms(300), "stopped after {took:?}");
            assert_eq!((report.drained, report.cut), (0, 1));
            waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().expect("a waiter"), report));
            assert_eq!(remote.shutdown(LONG).expect("the same report, later too"), report);
            assert_eq!(world.log.said(0).iter().filter(|said| **said == Said::Drain).count(), 1, "told once");
        });
    }
}

#[test]
fn a_second_shutdown_at_once_cuts() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, _peers) = peers(&mut world, kind, 3, full);
        world.reactor().shutdown(LONG);
        world.turns(3);
        world.reactor().shutdown(Duration::ZERO);
        let since = Instant::now();
        assert_eq!(until_stopped(&mut world).cut, 3);
        assert!(since.elapsed() < ms(100));
    });
}

#[test]
fn shutdown_from_a_callback_drains_its_own_connection_too() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 3, || {
            Hooks::new().data(|conn, data| {
                conn.context().shutdown(LONG);
                conn.write(&[7; 10]).expect("it is still open");
                data.len()
            })
        });
        peers[1].send_all_while(&mut world, b"stop");
        for (number, peer) in peers.into_iter().enumerate() {
            assert_clean_end(&mut world, peer, if number == 1 { 10 } else { 0 });
        }
        assert_eq!(counts(until_stopped(&mut world)), (3, 0, 0));
        // Handshakes on other threads may end in another order.
        let all = [world.log.said(0), world.log.said(1), world.log.said(2)];
        assert!(all.contains(&vec![Said::Open, Said::Data(4), Said::Drain, Said::Close(DRAIN)]), "{all:?}");
    });
}

#[test]
fn what_is_accepted_in_the_turn_of_a_shutdown_is_told_of_the_drain_once() {
    each_plain_kind("it counts turns", |kind| {
        let mut world = World::new();
        let (address, mut peers) = peers(&mut world, kind, 1, || {
            Hooks::new().drain(|_| {}).data(|conn, data| {
                conn.context().shutdown(ms(100));
                data.len()
            })
        });
        // One turn hears of both, first of what is in the kernel's queue first: the shutdown is carried out before what was
        // accepted begins.
        assert_eq!(peers[0].write_some(b"stop").expect("a write"), 4);
        peers.extend((0..3).map(|_| Peer::dial(&address).expect("room in the backlog")));
        world.turn();
        assert_eq!(counts(until_stopped(&mut world)), (0, 4, 0));
        for serial in 1..4 {
            assert_eq!(world.log.said(serial), [Said::Open, Said::Drain, Said::Close(CUT)]);
        }
    });
}

#[test]
fn shutdown_from_a_callback_at_once_cuts_its_own_connection_too() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 2, || {
            Hooks::new().drain(|_| {}).data(|conn, data| {
                conn.context().shutdown(Duration::ZERO);
                data.len()
            })
        });
        peers[0].send_all_while(&mut world, b"stop");
        assert_eq!(counts(until_stopped(&mut world)), (0, 2, 0));
    });
}

#[test]
fn connections_in_the_backlog_are_opened_answered_and_then_drained() {
    each_kind(|kind| {
        for (turns, paused) in [(0, false), (2, false), (2, true)] {
            let mut world = World::new();
            let wanted = world.free_address(kind);
            let config = ListenConfig { accepts_per_turn: 2, ..ListenConfig::default() };
            let id = world.try_listen(&wanted, config, |_: &Conn<'_>| Echo).expect("a listener");
            let address = world.reactor().listener_address(id).expect("it listens");
            world.turns(turns);
            if paused {
                world.reactor().context().pause_listener(id).expect("it lives");
                world.turn();
            }
            let mut peers: Vec<Peer> = (0..50).map(|_| world.dial(&address)).collect();
            for peer in &mut peers {
                assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
            }
            world.reactor().shutdown(LONG);
            world.turn();
            assert!(Peer::dial(&address).is_err());
            for mut peer in peers {
                assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"hello");
            }
            assert_eq!(counts(until_stopped(&mut world)), (50, 0, 0), "after {turns} turns, paused: {paused}");
            let said = [Said::Open, Said::Data(5), Said::Drain, Said::Close(DRAIN)];
            (0..50).for_each(|serial| assert_eq!(world.log.said(serial), said));
        }
    });
}

#[test]
fn a_connection_that_still_connects_ends_with_drain() {
    each_kind(|kind| {
        let mut world = World::new();
        let (address, _waiting) = unanswering(&mut world, kind);
        world.connect(&address, ConnectConfig::default(), Echo);
        world.turns(2);
        // One that did not even have its first turn.
        world.connect(&address, ConnectConfig::default(), Echo);
        assert_eq!(world.reactor().connections(), 2);
        world.reactor().shutdown(LONG);
        let since = Instant::now();
        assert_eq!(counts(until_stopped(&mut world)), (2, 0, 0));
        assert!(since.elapsed() < ms(500));
        (0..2).for_each(|serial| assert_eq!(world.log.said(serial), [Said::Close(DRAIN)]));
    });
}

#[test]
fn nothing_new_begins_once_it_drains() {
    each_kind(|kind| {
        let mut world = World::new();
        let (address, peers) = peers(&mut world, kind, 1, || Echo);
        let free = world.free_address(kind);
        let link = || Link::new(UnixStream::pair().expect("a pair").0, Limits::default()).expect("a link");
        world.reactor().shutdown(LONG);
        world.turn();
        let mut cx = world.reactor().context();
        let error = cx.connect(&address, ConnectConfig::default(), Echo).expect_err("it drains");
        assert!(matches!(error, Error::Draining), "{error}");
        let error = cx.listen(&free, ListenConfig::default(), |_: &Conn<'_>| Echo).expect_err("it drains");
        assert!(matches!(error, Error::Draining), "{error}");
        let error = cx.adopt(link(), Echo).expect_err("it drains");
        assert!(matches!(error.why, Error::Draining), "{error}");
        assert!(free.path().is_none_or(|path| !path.exists()));
        drop(peers);
        until_stopped(&mut world);
        let mut cx = world.reactor().context();
        let error = cx.connect(&address, ConnectConfig::default(), Echo).expect_err("it is over");
        assert!(matches!(error, Error::ReactorGone), "{error}");
        let error = cx.listen(&free, ListenConfig::default(), |_: &Conn<'_>| Echo).expect_err("it is over");
        assert!(matches!(error, Error::ReactorGone), "{error}");
    });
}

#[test]
fn another_thread_shuts_down_and_gets_the_report() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, peers) = peers(&mut world, kind, 5, full);
        let remote = world.reactor().remote();
        let other = std::thread::spawn(move || remote.shutdown(LONG).expect("a report"));
        peers.into_iter().for_each(|peer| assert_clean_end(&mut world, peer, 1 << 20));
        let report = until_stopped(&mut world);
        assert_eq!(counts(report), (5, 0, 0));
        assert_eq!(other.join().expect("the other thread"), report);
    });
}

#[test]
fn a_reactor_that_nobody_drives_is_told_as_such_at_the_deadline() {
    let mut world = World::new();
    let remote = world.reactor().remote();
    let since = Instant::now();
    assert!(matches!(remote.shutdown(ms(100)), Err(Error::NotDriven)));
    let took = since.elapsed();
    assert!(took >= ms(100) && took < Duration::from_secs(2), "{took:?}");
    assert!(matches!(remote.wait(Duration::ZERO), Err(Error::NotDriven)));
    // Whoever drives it then finds that it was asked to stop.
    assert_eq!(counts(until_stopped(&mut world)), (0, 0, 0));
    assert!(remote.wait(Duration::ZERO).is_ok());
}

#[test]
fn to_wait_for_the_reactor_on_its_own_thread_is_refused_and_changes_nothing() {
    each_kind(|kind| {
        let mut world = World::new();
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let (_, mut peers) = peers(&mut world, kind, 1, move || {
            let asked = asked.clone();
            Hooks::new().data(move |conn, data| {
                let since = Instant::now();
                assert!(matches!(conn.remote().wait(LONG), Err(Error::OnReactorThread)));
                assert!(matches!(conn.remote().shutdown(LONG), Err(Error::OnReactorThread)));
                assert!(since.elapsed() < ms(500), "it waited");
                asked.set(asked.get() + 1);
                conn.write_some(data)
            })
        });
        peers[0].send_all_while(&mut world, b"hello");
        assert_eq!(peers[0].read_exact_while(&mut world, 5), b"hello");
        assert_eq!(count.get(), 1);
        world.turns(5);
        assert_eq!(world.turn(), Status::Running, "a call that was refused changed something");
    });
}

#[test]
fn a_drop_tells_everybody() {
    each_kind(|kind| {
        let mut world = World::new();
        let (unanswered, _waiting) = unanswering(&mut world, kind);
        let (address, mut peers) = peers(&mut world, kind, 5, full);
        world.connect(&unanswered, ConnectConfig::default(), Echo);
        world.turn();
        world.connect(&address, ConnectConfig::default(), Echo);
        let remote = world.reactor().remote();
        let id = world.log.id(0);
        let waiter = {
            let remote = remote.clone();
            std::thread::spawn(move || remote.wait(LONG))
        };
        world.drop_reactor();
        let reasons = world.log.reasons();
        assert!(reasons.len() >= 7 && reasons.iter().all(|reason| *reason == Reason::ReactorDropped), "{reasons:?}");
        assert_eq!(world.log.said(5), [Said::Close(Reason::ReactorDropped)], "it never connected");
        assert_eq!(world.log.heard(), [Heard::Ended(None)]);
        assert!(Peer::dial(&address).is_err());
        // The peers see an end, of whatever kind.
        for peer in &mut peers {
            let since = Instant::now();
            let mut buffer = [0; 65536];
            while !matches!(peer.try_read(&mut buffer), Some(Ok(0) | Err(_))) {
                assert!(since.elapsed() < LONG, "no end came");
            }
        }
        assert!(matches!(waiter.join().expect("a waiter"), Err(Error::ReactorGone)));
        assert!(matches!(remote.stop(LONG), Err(Error::ReactorGone)));
        assert!(matches!(remote.shutdown(LONG), Err(Error::ReactorGone)));
        let unsent = remote.send(id, "too late".into()).expect_err("nobody is there");
        assert!(unsent.bytes == "too late" && matches!(unsent.why, Error::ReactorGone), "{unsent}");
    });
}

#[test]
fn a_drop_during_a_drain_tells_everybody() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, _peers) = peers(&mut world, kind, 2, full);
        let remote = world.reactor().remote();
        world.reactor().shutdown(LONG);
        world.turns(2);
        world.drop_reactor();
        assert_eq!(world.log.reasons(), [Reason::ReactorDropped; 2]);
        assert!(matches!(remote.wait(Duration::ZERO), Err(Error::ReactorGone)));
    });
}

#[test]
fn what_is_sent_after_the_end_comes_back() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, peers) = peers(&mut world, kind, 1, || Sink);
        let (remote, id) = (world.reactor().remote(), world.log.id(0));
        drop(peers);
        world.reactor().shutdown(LONG);
        until_stopped(&mut world);
        let unsent = remote.send(id, "too late".into()).expect_err("it is over");
        assert!(unsent.bytes == "too late" && matches!(unsent.why, Error::ReactorGone), "{unsent}");
        assert!(matches!(remote.close(id), Err(Error::ReactorGone)));
        assert!(matches!(remote.abort(id), Err(Error::ReactorGone)));
        assert!(matches!(remote.finish(id), Err(Error::ReactorGone)));
        assert!(matches!(remote.run(|_| panic!("it is over")), Err(Error::ReactorGone)));
        assert!(matches!(remote.stop(LONG), Err(Error::ReactorGone)));
        let link = Link::new(UnixStream::pair().expect("a pair").0, Limits::default()).expect("a link");
        let back = remote.adopt(link, |_| Echo).expect_err("it is over");
        assert!(matches!(back.why, Error::ReactorGone) && back.link.unread().is_empty(), "{back}");
    });
}

#[test]
fn what_was_sent_and_not_carried_out_before_the_end_is_told() {
    each_kind(|kind| {
        let mut world = World::new();
        let told = Rc::new(RefCell::new(Vec::new()));
        let all = told.clone();
        world.reactor().on_undelivered(move |what, why| {
            let Undelivered::Bytes(_, bytes) = what else { panic!("{what:?}") };
            all.borrow_mut().push((bytes, why.to_string()));
        });
        let (_, _peers) = peers(&mut world, kind, 1, || Sink);
        world.send(0, "never looked at");
        world.drop_reactor();
        assert_eq!(*told.borrow(), [("never looked at".into(), Error::ReactorGone.to_string())]);
    });
}

#[test]
fn messages_sent_before_a_shutdown_are_delivered() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 1, || Sink);
        let remote = world.reactor().remote();
        (0..10).for_each(|_| world.send(0, vec![7; 1000]));
        remote.stop(LONG).expect("it lives");
        assert_clean_end(&mut world, peers.remove(0), 10_000);
        assert_eq!(counts(until_stopped(&mut world)), (1, 0, 0));
    });
}

/// A watch that counts its end.
struct Counting(Rc<Cell<u32>>);

impl WatchHandler for Counting {
    fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, _: Readiness) -> Next {
        Next::Wait
    }

    fn on_close(&mut self, _: &mut Context<'_>, _: Reason) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn watches_end_with_the_reactor_and_do_not_hold_it() {
    for drop in [false, true] {
        let mut world = World::new();
        let ended = Rc::new(Cell::new(0));
        let (one, _other) = UnixStream::pair().expect("a pair");
        let watch = Counting(ended.clone());
        world.reactor().context().watch(OwnedFd::from(one), Direction::Read, watch).expect("a watch");
        world.turns(2);
        if drop {
            world.drop_reactor();
        } else {
            world.reactor().shutdown(LONG);
            assert_eq!(counts(until_stopped(&mut world)), (0, 0, 0));
        }
        assert_eq!(ended.get(), 1);
    }
}

#[test]
fn no_descriptor_is_left() {
    alone("no_descriptor_is_left", || {
        each_kind(|kind| {
            for drop_it in [false, true] {
                let before = descriptors();
                let mut world = World::new();
                let (unanswered, waiting) = unanswering(&mut world, kind);
                let (address, peers) = peers(&mut world, kind, 20, full);
                world.connect(&unanswered, ConnectConfig::default(), Echo);
                world.connect(&address, ConnectConfig::default(), Sink);
                let (one, other) = UnixStream::pair().expect("a pair");
                let watch = Counting(Rc::default());
                world.reactor().context().watch(OwnedFd::from(one), Direction::Read, watch).expect("a watch");
                world
                    .reactor()
                    .connect(&address, dialling(&address, ConnectConfig::default()), Echo)
                    .map(drop)
                    .expect("a connect");
                world.turns(3);
                // Some that were never accepted, too.
                let late: Vec<Peer> = (0..5).map(|_| world.dial(&address)).collect();
                if !drop_it {
                    world.reactor().shutdown(ms(50));
                    until_stopped(&mut world);
                    let left = descriptors() - before - peers.len() - late.len() - waiting.len() - 1;
                    assert!(left <= 3, "{left} descriptors after the stop");
                }
                world.drop_reactor();
                drop((peers, late, waiting, other, world));
                assert_eq!(descriptors(), before, "over {kind:?}, dropped: {drop_it}");
            }
        });
    });
}

#[test]
fn a_question_that_was_asked_before_a_drain_is_answered_before_the_handler_hears_of_it() {
    each_kind(|kind| {
        let mut world = World::with(ReactorConfig { events_per_turn: 4, ..ReactorConfig::default() });
        let (_, mut peers) = peers(&mut world, kind, 50, || Echo);
        peers.iter_mut().for_each(|peer| assert_eq!(peer.write_some(b"hello").expect("a write"), 5));
        // Mail that the reactor looks at before most of what the kernel holds.
        let remote = world.reactor().remote();
        (0..3).for_each(|_| remote.run(|_| ()).expect("room"));
        remote.stop(LONG).expect("it runs");
        for mut peer in peers {
            assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"hello");
        }
        assert_eq!(counts(until_stopped(&mut world)), (50, 0, 0));
        let said = [Said::Open, Said::Data(5), Said::Drain, Said::Close(DRAIN)];
        (0..50).for_each(|serial| assert_eq!(world.log.said(serial), said));
    });
}

#[test]
fn a_first_question_that_is_on_its_way_when_a_drain_begins_is_answered() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 2, || Echo);
        world.reactor().shutdown(LONG);
        world.turns(3);
        assert_eq!((world.log.said(0), world.log.said(1)), (vec![Said::Open], vec![Said::Open]));
        assert_eq!(peers[0].write_some(b"hello").expect("a write"), 5);
        assert_eq!(peers[0].read_to_end_while(&mut world).expect("a clean end"), b"hello");
        // Who says nothing is not waited for.
        assert_eq!(peers[1].read_to_end_while(&mut world).expect("a clean end"), b"");
        drop(peers);
        assert_eq!(counts(until_stopped(&mut world)), (2, 0, 0));
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(5), Said::Drain, Said::Close(DRAIN)]);
        assert_eq!(world.log.said(1), [Said::Open, Said::Drain, Said::Close(DRAIN)]);
    });
}

#[test]
fn who_has_asked_before_and_is_quiet_now_hears_of_a_drain_at_once() {
    each_plain_kind("behind a handshake a question is waited for", |kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 1, || Echo);
        peers[0].send_all_while(&mut world, b"hello");
        assert_eq!(peers[0].read_exact_while(&mut world, 5), b"hello");
        world.reactor().shutdown(LONG);
        // None of them waits for more than a millisecond.
        world.turns(5);
        assert_eq!(world.log.said(0)[1..3], [Said::Data(5), Said::Drain]);
    });
}

#[test]
fn whoever_says_nothing_hears_of_a_short_drain_before_its_deadline() {
    each_kind(|kind| {
        for drain in [ms(0), ms(40)] {
            let mut world = World::new();
            let (_, _peers) = peers(&mut world, kind, 2, || Hooks::new().drain(|_| ()));
            world.reactor().shutdown(drain);
            assert_eq!(counts(until_stopped(&mut world)), (0, 2, 0));
            assert_eq!(world.log.said(0), [Said::Open, Said::Drain, Said::Close(CUT)]);
        }
    });
}

#[test]
fn a_peer_that_never_stops_sending_puts_a_drain_off_for_a_moment_only() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 1, || Sink);
        world.reactor().shutdown(LONG);
        let chunk = [7; 64 * 1024];
        world.until("the handler to hear of the drain", |world| {
            let _ = peers[0].write_some(&chunk);
            world.log.said(0).contains(&Said::Drain)
        });
        until_stopped(&mut world);
    });
}

#[test]
fn a_first_question_that_came_in_time_behind_a_hold_up_is_answered() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, mut peers) = peers(&mut world, kind, 1, || Echo);
        let begun = Instant::now();
        world.reactor().shutdown(LONG);
        world.turns(3);
        world.reactor().after(Duration::ZERO, move |_| while begun.elapsed() < ms(400) {});
        assert_eq!(peers[0].write_some(b"hello").expect("a write"), 5);
        assert_eq!(peers[0].read_to_end_while(&mut world).expect("a clean end"), b"hello");
        drop(peers);
        until_stopped(&mut world);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(5), Said::Drain, Said::Close(DRAIN)]);
    });
}

#[test]
fn a_peer_that_has_ended_without_a_word_holds_up_no_drain() {
    each_kind(|kind| {
        let mut world = World::new();
        let (_, peers) = peers(&mut world, kind, 1, || Echo);
        peers[0].finish();
        let begun = Instant::now();
        world.reactor().shutdown(LONG);
        world.until("the handler to hear of its end", |world| world.log.said(0).len() > 1);
        until_stopped(&mut world);
        // Plain ones know of the end at once; that a TLS peer says nothing more is known by its close_notify.
        assert!(begun.elapsed() < ms(200), "{:?}", begun.elapsed());
    });
}
