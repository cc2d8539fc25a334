//! A panic in user code ends what it belongs to and nothing else.

use crate::support::{Echo, Heard, Hooks, Peer, Said, World, each_kind};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Accept, AcceptEvent, Admission, Conn, Handler, ListenConfig, Reason};

/// A handler that panics in one callback and is asked into each of them.
fn panics_in(callback: &'static str) -> Hooks {
    let here = move |name: &str| assert_ne!(name, callback, "this panic is the test");
    Hooks::new()
        .open(move |conn| {
            // So that on_writable is owed.
            let _ = conn.write_some(&vec![7; 2 << 20]);
            conn.set_timer(Duration::from_millis(1));
            here("open");
        })
        .writable(move |_| here("writable"))
        .timer(move |_| here("timer"))
        .data(move |_, data| {
            here("data");
            data.len()
        })
        .end(move |conn, _| {
            here("end");
            conn.close();
        })
        .drain(move |conn| {
            here("drain");
            conn.close();
        })
        .close(move |_, _| here("close"))
}

/// Whether a connection still echoes.
fn check_echo(world: &mut World, peer: &mut Peer) {
    peer.send_all_while(world, b"still there?");
    assert_eq!(peer.read_exact_while(world, 12), b"still there?");
}

/// What a listener does whose next handler panics in `callback`, and what its other connections notice.
fn panic_in(callback: &'static str, expected: Reason, last: impl Fn(&[Said]) -> bool) {
    each_kind(|kind| {
        let mut world = World::new();
        let well = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let ill = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| panics_in(callback));
        let mut neighbour = world.dial(&well);
        check_echo(&mut world, &mut neighbour);

        let mut peer = world.dial(&ill);
        world.until("the handler", |world| world.log.made() == 2);
        world.until("its timer or output", |world| world.log.said(1).len() > 1 || callback == "open");
        if callback == "drain" {
            world.reactor().shutdown(Duration::from_secs(10));
        }
        let _ = peer.write_some(b"hello");
        if callback == "end" || callback == "close" {
            peer.finish();
        }
        let _ = peer.read_to_end_while(&mut world);
        drop(peer);
        if callback == "drain" {
            drop(neighbour);
            world.until_empty();
        } else {
            world.until("it to end", |world| !world.log.reasons().is_empty());
            check_echo(&mut world, &mut neighbour);
            let mut next = world.dial(&well);
            check_echo(&mut world, &mut next);
        }
        assert!(world.log.reasons().contains(&expected), "{:?}", world.log.reasons());
        let said = world.log.said(1);
        assert_eq!(said.last(), Some(&Said::Close(expected)));
        assert!(last(&said), "{said:?}");
        let counters = world.reactor().snapshot();
        assert_eq!((counters.panics, counters.closed_for(expected)), (1, 1));
        drop(world);
    });
}

/// Whether the last callback but `on_close` was `wanted`.
fn before_close(wanted: fn(Said) -> bool) -> impl Fn(&[Said]) -> bool {
    move |said| said.len() >= 2 && wanted(said[said.len() - 2])
}

#[test]
fn a_panic_in_on_open_ends_its_connection_alone() {
    panic_in("open", Reason::HandlerPanicked, before_close(|said| said == Said::Open));
}

#[test]
fn a_panic_in_on_data_ends_its_connection_alone() {
    panic_in("data", Reason::HandlerPanicked, before_close(|said| matches!(said, Said::Data(_))));
}

#[test]
fn a_panic_in_on_writable_ends_its_connection_alone() {
    panic_in("writable", Reason::HandlerPanicked, before_close(|said| said == Said::Writable));
}

#[test]
fn a_panic_in_on_timer_ends_its_connection_alone() {
    panic_in("timer", Reason::HandlerPanicked, before_close(|said| said == Said::Timer));
}

#[test]
fn a_panic_in_on_end_ends_its_connection_alone() {
    panic_in("end", Reason::HandlerPanicked, before_close(|said| matches!(said, Said::End(_))));
}

#[test]
fn a_panic_in_on_drain_ends_its_connection_alone() {
    panic_in("drain", Reason::HandlerPanicked, before_close(|said| said == Said::Drain));
}

#[test]
fn a_panic_in_on_close_is_swallowed_and_counted() {
    panic_in("close", Reason::PeerClosed, |_| true);
}

#[test]
fn a_panic_in_on_close_after_a_panic_is_swallowed_and_counted() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().data(|_, _| panic!("the first")).close(|_, _| panic!("the second"))
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::HandlerPanicked]);
        assert_eq!(world.reactor().snapshot().panics, 2);
    });
}

#[test]
fn output_written_before_a_panic_is_flushed() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().data(|conn, _| {
                conn.write(b"last words").expect("room");
                panic!("the test")
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"last words");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::HandlerPanicked]);
    });
}

#[test]
fn a_handler_that_panics_when_dropped_ends_nothing_else() {
    struct Spiteful;
    impl Handler for Spiteful {
        fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
            data.len()
        }
    }
    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("the test");
        }
    }
    each_kind(|kind| {
        let mut world = World::new();
        let well = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let ill = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Spiteful);
        let mut neighbour = world.dial(&well);
        drop(world.dial(&ill));
        world.until("it to end", |world| world.log.reasons().len() == 1);
        check_echo(&mut world, &mut neighbour);
        assert_eq!((world.reactor().connections(), world.reactor().snapshot().panics), (1, 1));
    });
}

/// A listener's maker that panics once, in one of its methods.
struct Trap {
    place: &'static str,
    sprung: Rc<Cell<bool>>,
}

impl Trap {
    fn step(&self, place: &str) {
        assert!(place != self.place || self.sprung.replace(true), "this panic is the test");
    }
}

impl Accept for Trap {
    type Handler = Echo;

    fn admit(&mut self, _: &windlass::Peer<'_>) -> Admission {
        self.step("admit");
        Admission::Admit
    }

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        self.step("make");
        Echo
    }

    fn on_event(&mut self, _: &AcceptEvent) {
        self.step("event");
    }
}

#[test]
fn a_panic_in_admit_or_make_ends_that_connection_and_is_told() {
    for place in ["admit", "make"] {
        each_kind(|kind| {
            let mut world = World::new();
            let trap = Trap { place, sprung: Rc::default() };
            let address = world.listen(kind, ListenConfig::default(), trap);
            let mut unlucky = world.dial(&address);
            assert_eq!(unlucky.read_to_close_while(&mut world), b"");
            drop(unlucky);
            world.until_empty();
            let mut next = world.dial(&address);
            check_echo(&mut world, &mut next);
            let counters = world.reactor().snapshot();
            let counts = (counters.accepted, counters.opened, counters.failed, counters.panics);
            assert_eq!(counts, (2, 1, 1, 1), "in {place}: accepted, opened, failed, panics");
            assert_eq!(world.log.heard(), [Heard::Failed(Reason::HandlerPanicked)], "in {place}");
        });
    }
}

#[test]
fn a_panic_in_on_event_ends_nothing() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.free_address(kind);
        let trap = Trap { place: "event", sprung: Rc::default() };
        let id = world.try_listen(&address, ListenConfig::default(), trap).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        let mut peer = world.dial(&address);
        check_echo(&mut world, &mut peer);
        world.reactor().context().pause_listener(id).expect("a listener");
        world.turns(3);
        let mut waiting = world.dial(&address);
        world.turns(3);
        assert_eq!(world.log.made(), 1, "it is paused all the same");
        world.reactor().context().resume_listener(id).expect("a listener");
        check_echo(&mut world, &mut waiting);
        check_echo(&mut world, &mut peer);
        assert_eq!(world.reactor().snapshot().panics, 1);
    });
}

#[test]
fn a_panic_in_a_job_a_call_or_on_undelivered_ends_nothing() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        check_echo(&mut world, &mut peer);
        world.reactor().on_undelivered(|_, _| panic!("the test"));
        world.reactor().after(Duration::ZERO, |_| panic!("the test"));
        world.reactor().remote().run(|_| panic!("the test")).expect("a command");
        drop(world.dial(&address));
        world.until("one to come and go", |world| world.log.reasons().len() == 1);
        world.send(1, "to nobody");
        world.until("three panics", |world| world.reactor().snapshot().panics == 3);
        check_echo(&mut world, &mut peer);
    });
}
