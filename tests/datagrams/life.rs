//! From `on_bound` to `on_close`: who ends an endpoint, and what follows.

use crate::support::post::{Mate, PostHooks, Wire, Word, close, close_other, each_wire, echoing};
use crate::support::{Echo, Kind, World, alone, descriptors};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::cell::RefCell;
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;
use windlass::{
    Address, Conn, ConnectConfig, DatagramConfig, DatagramPeer, Error, Expiry, ListenConfig, ReactorConfig, Reason,
    Status,
};

const CALLBACKS: [&str; 7] = ["bound", "datagram", "writable", "timer", "drain", "error", "close"];

/// A handler that comes to all its callbacks if `full` never reads and `gone` is nobody; in `place` it does `act`.
fn eventful(
    place: &'static str,
    full: DatagramPeer,
    gone: DatagramPeer,
    act: impl Fn(&mut windlass::Datagrams<'_>) + Clone + 'static,
) -> PostHooks {
    let at = move |here: &'static str| {
        let act = act.clone();
        move |sock: &mut windlass::Datagrams<'_>| {
            if here == place {
                act(sock);
            }
        }
    };
    let (bound, datagram, writable, timer) = (at("bound"), at("datagram"), at("writable"), at("timer"));
    let (drain, error, end) = (at("drain"), at("error"), at("close"));
    PostHooks::new()
        .bound(move |sock| {
            while sock.send_to(&full, b"x").is_ok() {}
            bound(sock);
        })
        .datagram(move |sock, _| {
            sock.set_timer(Duration::from_millis(1));
            datagram(sock);
        })
        .timer(move |sock| {
            let _ = sock.send_to(&gone, b"x");
            timer(sock);
        })
        .error(move |sock, _| error(sock))
        .writable(writable)
        .drain(move |sock| {
            drain(sock);
            close(sock);
        })
        .close(move |sock, _| end(sock))
}

/// Has an endpoint of an eventful handler come to all its callbacks, as far as it lives; a neighbour must not notice.
fn through_all(wire: Wire, place: &'static str, act: impl Fn(&mut windlass::Datagrams<'_>) + Clone + 'static) -> World {
    let mut world = World::new();
    let neighbour = world.bind(wire, DatagramConfig::default(), echoing()).1;
    let full = Mate::new(&mut world, wire);
    let gone = Mate::new(&mut world, wire).peer();
    let config = DatagramConfig { queue_datagrams_max: 30, ..DatagramConfig::default() };
    let (_, address) = world.bind(wire, config, eventful(place, full.peer(), gone, act));
    let mate = Mate::new(&mut world, wire);
    world.turns(3);
    let ended = |world: &World| world.posts.reason(1).is_some();
    let said = |world: &World, word: Word| world.posts.words(1).contains(&word);
    // What follows closes it only where it is still open: what is sent to it then may be refused.
    let steps = [Word::Writable, Word::Datagram(3), Word::Timer, Word::Error];
    for step in steps {
        if step == Word::Datagram(3) && !ended(&world) {
            mate.send(b"any", &address);
        }
        world.until("a callback", |world| {
            full.read_all();
            said(world, step) || ended(world)
        });
    }
    mate.send(b"how are you?", &neighbour);
    assert_eq!(mate.read_while(&mut world), b"how are you?");
    assert_eq!(world.posts.reason(0), None);
    world.reactor().shutdown(Duration::from_secs(10));
    world.until("the drain", |world| {
        full.read_all();
        matches!(world.reactor().poll_once(Some(Duration::ZERO)), Ok(Status::Stopped(_)))
    });
    world
}

#[test]
fn an_eventful_handler_comes_to_all_its_callbacks() {
    each_wire(Wire::UNIX, |wire| {
        let world = through_all(wire, "nowhere", |_| ());
        let words = world.posts.words(1);
        assert_eq!(words[0], Word::Bound);
        for word in [Word::Writable, Word::Datagram(3), Word::Timer, Word::Error, Word::Drain] {
            assert!(words.contains(&word), "{word:?} is not in {words:?}");
        }
        assert_eq!(words.last(), Some(&Word::Close(Reason::Drain)));
    });
}

#[test]
fn close_in_any_callback_ends_it_and_nobody_else() {
    each_wire(Wire::UNIX, |wire| {
        for place in CALLBACKS {
            eprintln!("in {place}:");
            let world = through_all(wire, place, |sock| {
                close(sock);
                sock.close();
                sock.set_timer(Duration::ZERO);
                sock.resume();
            });
            let reason = if matches!(place, "drain" | "close") { Reason::Drain } else { Reason::Local };
            assert_eq!(world.posts.reason(1), Some(reason));
        }
    });
}

#[test]
fn a_panic_in_any_callback_ends_it_and_nobody_else() {
    each_wire(Wire::UNIX, |wire| {
        for place in CALLBACKS {
            eprintln!("in {place}:");
            let mut world = through_all(wire, place, |_| panic!("the test"));
            let reason = if place == "close" { Reason::Drain } else { Reason::HandlerPanicked };
            assert_eq!(world.posts.reason(1), Some(reason));
            assert_eq!(world.reactor().snapshot().panics, 1);
        }
    });
}

#[test]
fn a_panic_in_on_datagram_ends_a_udp_endpoint_only() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let neighbour = world.bind(wire, DatagramConfig::default(), echoing()).1;
        let (_, address) = world.bind(wire, DatagramConfig::default(), PostHooks::new().datagram(|_, _| panic!("it")));
        let mate = Mate::new(&mut world, wire);
        for _ in 0..10 {
            mate.send(b"boom", &address);
        }
        assert_eq!(world.until_post_closed(1), Reason::HandlerPanicked);
        assert_eq!(world.posts.words(1), [Word::Bound, Word::Datagram(4), Word::Close(Reason::HandlerPanicked)]);
        mate.send(b"and you?", &neighbour);
        assert_eq!(mate.read_while(&mut world), b"and you?");
    });
}

#[test]
fn a_handler_that_panics_when_dropped_ends_nothing_else() {
    struct Spiteful;
    impl windlass::DatagramHandler for Spiteful {
        fn on_datagram(&mut self, _: &mut windlass::Datagrams<'_>, _: &windlass::Datagram<'_>) {}
    }
    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("the test");
        }
    }
    let mut world = World::new();
    let (id, _) = world.bind(Wire::UdpV4, DatagramConfig::default(), Spiteful);
    let (_, address) = world.bind(Wire::UdpV4, DatagramConfig::default(), echoing());
    world.close_post(id);
    world.until_post_closed(0);
    world.turns(2);
    let mate = Mate::new(&mut world, Wire::UdpV4);
    mate.send(b"hello", &address);
    assert_eq!(mate.read_while(&mut world), b"hello");
    assert_eq!(world.reactor().snapshot().panics, 1);
}

#[test]
fn nothing_is_shown_after_close_in_the_middle_of_a_batch() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let handler = PostHooks::new().datagram(|sock, datagram| {
            if datagram.data == b"3" {
                close(sock);
            }
        });
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        world.turns(2);
        let mate = Mate::new(&mut world, wire);
        for number in 0..9 {
            mate.send(number.to_string().as_bytes(), &address);
        }
        world.until_post_closed(0);
        assert_eq!(world.posts.datagrams(0), 4);
    });
}

#[test]
fn an_endpoint_can_be_closed_from_another_handler_and_from_another_thread() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (first, _) = world.bind(wire, DatagramConfig::default(), PostHooks::new());
        let (second, _) = world.bind(wire, DatagramConfig::default(), PostHooks::new());
        let handler = PostHooks::new().datagram(move |sock, _| close_other(sock.context(), first));
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        Mate::new(&mut world, wire).send(b"end it", &address);
        assert_eq!(world.until_post_closed(0), Reason::Local);
        let remote = world.reactor().remote();
        std::thread::spawn(move || remote.close_endpoint(second).expect("a command")).join().expect("it told");
        assert_eq!(world.until_post_closed(1), Reason::Local);
        assert_eq!(world.reactor().connections(), 1);
        assert!(world.reactor().endpoint_address(first).is_none());
        assert!(world.reactor().context().endpoint(first).is_none());
        assert_eq!(world.reactor().context().endpoints().len(), 1);
    });
}

#[test]
fn dropping_the_reactor_tells_every_endpoint() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        world.bind(wire, DatagramConfig::default(), PostHooks::new());
        world.turns(2);
        let (_, never_driven) = world.bind(wire, DatagramConfig::default(), PostHooks::new());
        world.drop_reactor();
        assert_eq!(world.posts.words(0), [Word::Bound, Word::Close(Reason::ReactorDropped)]);
        assert_eq!(world.posts.reason(1), Some(Reason::ReactorDropped));
        assert!(never_driven.path().is_none_or(|path| !path.exists()));
    });
}

#[test]
fn a_drain_closes_endpoints_and_sends_what_waits() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let to = mate.peer();
        let handler = PostHooks::new().bound(move |sock| {
            (0..60u32).for_each(|number| sock.send_to(&to, &number.to_be_bytes()).expect("room"));
        });
        world.bind(wire, DatagramConfig::default(), handler);
        world.turns(2);
        world.reactor().shutdown(Duration::from_secs(10));
        world.turns(3);
        let again = world.reactor().bind(
            &"udp://127.0.0.1:0".parse().expect("an address"),
            DatagramConfig::default(),
            echoing(),
        );
        assert!(matches!(again, Err(Error::Draining | Error::ReactorGone)));
        let got = mate.read_many_while(&mut world, 60);
        assert!(got.iter().map(Vec::as_slice).eq((0..60u32).map(u32::to_be_bytes)));
        let mut report = None;
        world.until("the end", |world| {
            if let Status::Stopped(told) = world.turn() {
                report = Some(told);
            }
            report.is_some()
        });
        let report = report.expect("it is over");
        assert_eq!((report.drained, report.cut, report.unsent_bytes), (1, 0, 0));
        assert_eq!(world.posts.words(0), [Word::Bound, Word::Drain, Word::Close(Reason::Drain)]);
    });
}

#[test]
fn what_came_before_a_drain_is_shown_before_the_handler_hears_of_it() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::with(ReactorConfig { events_per_turn: 2, ..ReactorConfig::default() });
        let config = DatagramConfig { datagrams_per_turn: 3, ..DatagramConfig::default() };
        let bound: Vec<_> = (0..5).map(|_| world.bind(wire, config.clone(), PostHooks::new().drain(close)).1).collect();
        world.turns(5);
        let mate = Mate::new(&mut world, wire);
        for address in &bound {
            // A Unix socket's queue holds ten.
            (0..8).for_each(|_| mate.send(b"hello", address));
        }
        world.reactor().shutdown(Duration::from_secs(10));
        world.until("the end", |world| matches!(world.reactor().poll_once(None), Ok(Status::Stopped(_))));
        for serial in 0..5 {
            let words = world.posts.words(serial);
            let shown =
                words.iter().take_while(|word| **word != Word::Drain).filter(|word| **word == Word::Datagram(5));
            assert_eq!(shown.count(), 8, "{words:?}");
        }
    });
}

#[test]
fn a_drains_deadline_cuts_what_waits_for_a_peer_that_does_not_read_and_counts_it() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let full = Mate::new(&mut world, wire);
        let to = full.peer();
        let handler = PostHooks::new()
            .bound(move |sock| (0..40).for_each(|_| sock.send_to(&to, b"1234567").expect("room")))
            // It stays; the deadline ends it.
            .drain(|_| ());
        let (id, _) = world.bind(wire, DatagramConfig::default(), handler);
        let to = full.peer();
        let closing = PostHooks::new()
            .bound(move |sock| (0..30).for_each(|_| sock.send_to(&to, b"12345").expect("room")))
            .drain(close);
        world.bind(wire, DatagramConfig::default(), closing);
        let idle = world.bind(wire, DatagramConfig::default(), PostHooks::new()).0;
        world.turns(3);
        let waiting = world.with_post(id, |post| post.waiting());
        assert!(waiting.0 > 20);
        world.with_post(idle, |_| ());
        world.reactor().shutdown(Duration::from_millis(100));
        let mut report = None;
        world.until("the end", |world| {
            if let Status::Stopped(told) = world.turn() {
                report = Some(told);
            }
            report.is_some()
        });
        let report = report.expect("it is over");
        assert_eq!((report.drained, report.cut), (1, 2));
        assert_eq!(report.unsent_bytes, waiting.1 as u64 + 30 * 5);
        assert_eq!(world.posts.words(0), [Word::Bound, Word::Drain, Word::Close(Reason::Timeout(Expiry::Drain))]);
        assert_eq!(world.posts.words(1), [Word::Bound, Word::Drain, Word::Close(Reason::Timeout(Expiry::Drain))]);
    });
}

#[test]
fn a_handler_that_stays_when_drained_goes_on_and_may_close_later() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let handler = PostHooks::new().drain(|_| ()).datagram(|sock, datagram| {
            sock.send_to(datagram.from, datagram.data).expect("room");
            if datagram.data == b"end" {
                close(sock);
            }
        });
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        let mate = Mate::new(&mut world, wire);
        world.turns(2);
        world.reactor().shutdown(Duration::from_secs(10));
        world.until("the drain", |world| world.posts.words(0).contains(&Word::Drain));
        for bytes in [&b"still here?"[..], b"end"] {
            mate.send(bytes, &address);
            assert_eq!(mate.read_while(&mut world), bytes);
        }
        assert_eq!(world.until_post_closed(0), Reason::Drain);
    });
}

#[test]
fn a_paused_endpoint_receives_nothing_until_it_is_resumed() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let handler = PostHooks::new().bound(|sock| {
            sock.pause();
            assert!(sock.is_paused());
        });
        let (id, address) = world.bind(wire, DatagramConfig::default(), handler);
        let mate = Mate::new(&mut world, wire);
        for _ in 0..5 {
            mate.send(b"wait", &address);
        }
        world.turns(5);
        assert_eq!(world.posts.datagrams(0), 0);
        let turns = world.turns_within(Duration::from_millis(50));
        assert!(turns < 10, "{turns} turns while it is paused");
        world.with_post(id, |post| post.resume());
        world.until("them", |world| world.posts.datagrams(0) == 5);
        world.with_post(id, |post| post.pause());
        mate.send(b"wait", &address);
        world.turns(5);
        assert_eq!(world.posts.datagrams(0), 5);
        // Paused and resumed at once: nothing is lost.
        world.with_post(id, |post| {
            post.resume();
            post.pause();
            post.resume();
        });
        world.until("it", |world| world.posts.datagrams(0) == 6);
    });
}

#[test]
fn an_endpoint_may_pause_itself_and_resume_by_a_timer() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let handler = PostHooks::new()
            .datagram(|sock, _| {
                sock.pause();
                sock.set_timer(Duration::from_millis(2));
            })
            .timer(|sock| sock.resume());
        let config = DatagramConfig { datagrams_per_turn: 1, ..DatagramConfig::default() };
        let (_, address) = world.bind(wire, config, handler);
        world.turns(2);
        let mate = Mate::new(&mut world, wire);
        (0..8).for_each(|_| mate.send(b"one", &address));
        world.until("all", |world| world.posts.datagrams(0) == 8);
        let words = world.posts.words(0);
        let pairs =
            words[1..].chunks(2).all(|pair| matches!(pair, [Word::Datagram(3), Word::Timer] | [Word::Datagram(3)]));
        assert!(pairs, "{words:?}");
    });
}

#[test]
fn timers_come_once_can_be_replaced_and_forgotten() {
    let mut world = World::new();
    let fired = Rc::new(RefCell::new(Vec::new()));
    let told = fired.clone();
    let handler = PostHooks::new()
        .bound(|sock| {
            sock.set_timer(Duration::from_secs(100));
            sock.set_timer(Duration::from_millis(10));
        })
        .timer(move |sock| {
            told.borrow_mut().push(sock.now());
            match told.borrow().len() {
                1 => sock.set_timer(Duration::ZERO),
                2 => {
                    sock.set_timer(Duration::from_millis(1));
                    sock.clear_timer();
                }
                _ => panic!("a timer that was forgotten"),
            }
        });
    let begun = std::time::Instant::now();
    world.bind(Wire::UdpV4, DatagramConfig::default(), handler);
    world.until("both", |_| fired.borrow().len() == 2);
    assert!(fired.borrow()[0] - begun >= Duration::from_millis(9));
    let turns = world.turns_within(Duration::from_millis(50));
    assert!(turns < 10, "{turns} turns with no timer");
    assert_eq!(world.posts.words(0), [Word::Bound, Word::Timer, Word::Timer]);
}

#[test]
fn an_endpoint_counts_as_one_connection_and_the_limit_holds_for_it() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::with(ReactorConfig { connections_max: 2, ..ReactorConfig::default() });
        assert_eq!(world.reactor().connections(), 0);
        let (id, address) = world.bind(wire, DatagramConfig::default(), PostHooks::new());
        assert_eq!(world.reactor().connections(), 1);
        world.connect_post(&address, DatagramConfig::default(), PostHooks::new());
        assert_eq!(world.reactor().connections(), 2);
        let third = world.free_post(wire);
        let refused = world.reactor().bind(&third, DatagramConfig::default(), PostHooks::new());
        assert!(matches!(refused, Err(Error::Connections { limit: 2 })));
        assert!(third.path().is_none_or(|path| !path.exists()));
        let refused = world.reactor().connect_datagrams(&address, DatagramConfig::default(), PostHooks::new());
        assert!(matches!(refused, Err(Error::Connections { limit: 2 })));
        world.close_post(id);
        world.until_post_closed(0);
        assert_eq!(world.reactor().connections(), 1);
        let handler = world.record_post(PostHooks::new());
        world.reactor().bind(&third, DatagramConfig::default(), handler).expect("there is room again");
        assert_eq!(world.reactor().snapshot().bound, 3);
    });
}

#[test]
fn addresses_for_streams_and_for_datagrams_are_told_apart() {
    let mut world = World::new();
    let address = |text: &str| text.parse::<Address>().expect("an address");
    for text in ["tcp://127.0.0.1:0", "tls://127.0.0.1:0", "unix:@w", "tls+unix:@w"] {
        let bound = world.reactor().bind(&address(text), DatagramConfig::default(), PostHooks::new());
        let connected = world.reactor().connect_datagrams(&address(text), DatagramConfig::default(), PostHooks::new());
        for error in [bound.expect_err("streams"), connected.expect_err("streams")] {
            assert!(matches!(error, Error::Transport { .. }), "{error}");
            assert!(error.to_string().contains(text) && error.to_string().contains("it is for streams"), "{error}");
        }
    }
    for text in ["udp://127.0.0.1:0", "udp6://[::1]:0", "unixgram:@w", "unixgram:/tmp/w"] {
        let listening = world.try_listen(&address(text), ListenConfig::default(), |_: &Conn<'_>| Echo);
        let dialled = world.reactor().connect(&address(text), ConnectConfig::default(), Echo);
        for error in [listening.expect_err("datagrams"), dialled.expect_err("datagrams")] {
            assert!(matches!(error, Error::Transport { .. }), "{error}");
            assert!(error.to_string().contains(text) && error.to_string().contains("it is for datagrams"), "{error}");
        }
    }
    let own = |text: &str| DatagramConfig { bind: Some(address(text)), ..DatagramConfig::default() };
    let refusals = [
        world.reactor().bind(&address("udp://127.0.0.1:0"), own("udp://127.0.0.1:0"), PostHooks::new()),
        world.reactor().connect_datagrams(&address("udp://127.0.0.1:9"), own("unixgram:@w"), PostHooks::new()),
        world.reactor().connect_datagrams(&address("udp://127.0.0.1:9"), own("tcp://127.0.0.1:0"), PostHooks::new()),
    ];
    for refusal in refusals {
        let error = refusal.expect_err("it cannot be");
        assert!(matches!(error, Error::Transport { .. }), "{error}");
    }
    let zero = DatagramConfig { bytes_max: 0, ..DatagramConfig::default() };
    let error = world.reactor().bind(&address("udp://127.0.0.1:0"), zero, PostHooks::new()).expect_err("nothing");
    assert!(error.to_string().contains("bytes_max"), "{error}");
    assert_eq!((world.reactor().connections(), world.reactor().snapshot().bound), (0, 0));
}

#[test]
fn a_taken_port_or_name_is_told_with_the_address() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let taken = mate.address();
        let error = world.reactor().bind(&taken, DatagramConfig::default(), PostHooks::new()).expect_err("taken");
        assert!(matches!(&error, Error::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse));
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        mate.send(b"to myself", &taken);
        assert_eq!(mate.try_read().as_deref(), Some(&b"to myself"[..]), "it is undisturbed");
    });
}

#[test]
fn a_unix_peer_that_is_not_there_cannot_be_connected_to() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let nobody = world.free_post(wire);
        let error = world.reactor().connect_datagrams(&nobody, DatagramConfig::default(), PostHooks::new());
        let error = error.expect_err("nobody is there");
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!("cannot connect to {nobody}: ")), "{error}");
        assert_eq!(world.reactor().connections(), 0);
    });
}

#[test]
fn a_bound_socket_can_be_adopted_with_what_waits_in_it() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (owner, mate) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let address = owner.address();
        mate.send(b"before", &address);
        owner.socket.set_nonblocking(false).expect("a blocking socket");
        let duplicate = owner.socket.try_clone().expect("a duplicate");
        let handler = world.record_post(echoing());
        let id =
            world.reactor().context().bind_on(owner.socket, DatagramConfig::default(), handler).expect("an endpoint");
        assert_eq!(world.endpoint_address(id), address);
        assert_eq!(mate.read_while(&mut world), b"before");
        mate.send(b"after", &address);
        assert_eq!(mate.read_while(&mut world), b"after");
        world.close_post(id);
        world.until_post_closed(0);
        assert!(address.path().is_none_or(|path| path.exists()), "the file is somebody else's");
        // It lives on elsewhere, and nobody is told of what comes.
        mate.send(b"too late", &address);
        world.turns(3);
        let mut buffer = [0; 20];
        assert_eq!(rustix::net::recv(&duplicate, &mut buffer[..], rustix::net::RecvFlags::DONTWAIT), Ok((8, 8)));
    });
}

#[test]
fn a_connected_socket_can_be_adopted() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (owner, mate) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        owner.socket.connect(&mate.socket.local_addr().expect("an address")).expect("a connected socket");
        let expected = mate.peer();
        let handler = PostHooks::new().bound(move |sock| {
            assert_eq!(sock.peer(), Some(&expected));
            sock.send(b"hello").expect("room");
        });
        let handler = world.record_post(handler);
        world.reactor().context().bind_on(owner.socket, DatagramConfig::default(), handler).expect("an endpoint");
        assert_eq!(mate.read_while(&mut world), b"hello");
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

#[test]
fn one_of_a_pair_of_unix_sockets_can_be_adopted() {
    let mut world = World::new();
    let (own, other) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
    other.set_nonblocking(true).expect("a non-blocking socket");
    let handler = PostHooks::new()
        .bound(|sock| {
            assert!(sock.peer().is_some_and(DatagramPeer::is_unnamed));
            sock.send(b"hello").expect("room");
        })
        .datagram(|sock, datagram| sock.send(datagram.data).expect("room"));
    let handler = world.record_post(handler);
    world.reactor().context().bind_on(own, DatagramConfig::default(), handler).expect("an endpoint");
    for expected in [b"hello", b"there"] {
        let mut buffer = [0; 9];
        world.until("a datagram", |_| other.recv(&mut buffer).is_ok_and(|count| count == 5));
        assert_eq!(&buffer[..5], expected);
        other.send(b"there").expect("room");
    }
    assert_eq!(world.reactor().snapshot().panics, 0);
}

#[test]
fn a_socket_that_is_bound_to_nothing_is_not_adopted() {
    let mut world = World::new();
    for address in ["udp://127.0.0.1:0", "udp://[::1]:0", "unixgram:@w"] {
        let unbound = Mate::unbound(&address.parse().expect("an address")).socket;
        let error = world.reactor().context().bind_on(unbound, DatagramConfig::default(), echoing());
        let error = error.expect_err("nobody can send to it");
        assert!(matches!(error, Error::Descriptor { .. }), "{error}");
        assert!(error.to_string().contains("not bound"), "{error}");
    }
    assert_eq!(world.reactor().connections(), 0);
}

#[test]
fn what_is_no_datagram_socket_is_not_adopted() {
    let mut world = World::new();
    let stream = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let (file, folder) = (world.path("file"), world.path(""));
    let file = std::fs::File::create(file).expect("a file");
    let folder = std::fs::File::open(folder).expect("a folder");
    let fds: [std::os::fd::OwnedFd; 3] = [stream.into(), file.into(), folder.into()];
    for fd in fds {
        let error = world.reactor().context().bind_on(fd, DatagramConfig::default(), echoing()).expect_err("no socket");
        assert!(matches!(error, Error::Descriptor { .. }), "{error}");
    }
    assert_eq!(world.reactor().connections(), 0);
}

#[test]
fn descriptors_that_a_peer_passes_along_are_not_kept() {
    alone("life::descriptors_that_a_peer_passes_along_are_not_kept", || {
        each_wire(Wire::UNIX, |wire| {
            let mut world = World::new();
            let (_, address) = world.bind(wire, DatagramConfig::default(), echoing());
            let mate = Mate::new(&mut world, wire);
            let to = match (address.path(), address.abstract_name()) {
                (Some(path), _) => rustix::net::SocketAddrUnix::new(path).expect("a path"),
                (None, name) => rustix::net::SocketAddrUnix::new_abstract_name(name.expect("a name")).expect("a name"),
            };
            mate.send(b"first", &address);
            assert_eq!(mate.read_while(&mut world), b"first");
            let before = descriptors();
            let passed = std::fs::File::open("/dev/null").expect("a file");
            for _ in 0..30 {
                let fds = [passed.as_fd(); 3];
                let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
                let bytes = [IoSlice::new(b"take these")];
                rustix::net::sendmsg_addr(&mate.socket, &to, &bytes, &mut control, SendFlags::empty()).expect("sent");
                assert_eq!(mate.read_while(&mut world), b"take these");
            }
            drop(passed);
            assert_eq!(descriptors(), before, "descriptors were kept");
        });
    });
}

#[test]
fn endpoints_keep_no_descriptors_and_no_slots_when_they_end() {
    alone("life::endpoints_keep_no_descriptors_and_no_slots_when_they_end", || {
        each_wire(Wire::ALL, |wire| {
            let mut world = World::new();
            world.turns(2);
            let before = descriptors();
            for round in 0..50 {
                let (id, address) = world.bind(wire, DatagramConfig::default(), echoing());
                let (client, _) = world.connect_post(&address, DatagramConfig::default(), PostHooks::new());
                world.turn();
                world.with_post(client, |post| post.send(b"x")).expect("room");
                world.until("the answer", |world| world.posts.datagrams(2 * round + 1) == 1);
                world.close_post(id);
                world.close_post(client);
                world.until("the end", |world| world.reactor().connections() == 0);
            }
            assert_eq!(descriptors(), before);
            let kind = if wire.is_unix() { Kind::Unix } else { Kind::Tcp };
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
            let mut peer = world.dial(&address);
            peer.send_all_while(&mut world, b"hello");
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        });
    });
}
