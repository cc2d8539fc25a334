//! Output that is lost: over TCP the peer sees a reset, and the handler and the counters are told how much it was.

use super::output::narrow;
use crate::support::{Hooks, Kind, Peer, Sink, World, each_kind};
use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Conn, Context, Limits, Link, ListenConfig, Reason};

/// More than the kernel's buffers hold, and than is ever read.
const WRITTEN: usize = 160 * 1024;

/// The peer of a stream that was cut: it may have got some, and never an end in order where there is another.
fn expect_cut(kind: Kind, world: &mut World, mut peer: Peer) {
    match peer.read_to_end_while(world) {
        Ok(got) => {
            assert_eq!(kind, Kind::Unix, "an end in order behind {} bytes", got.len());
        }
        Err(error) if kind.is_unix() => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "no close_notify"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

/// A link that is detached while its output waits, and its peer.
fn detached(kind: Kind, world: &mut World, then: impl Fn(Link, &mut Context<'_>) + Clone + 'static) -> Peer {
    let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
        let then = then.clone();
        Hooks::new().data(move |conn, data| {
            conn.write(&[7; WRITTEN]).expect("room");
            conn.detach(then.clone());
            data.len()
        })
    });
    let mut peer = world.dial(&address);
    world.until_open(1);
    peer.send_all_while(world, b"go");
    world.until("the link to leave", |world| world.reactor().connections() == 0);
    peer
}

#[test]
fn a_link_that_is_dropped_with_output_resets_its_peer() {
    each_kind(|kind| {
        let mut world = World::new();
        let peer = detached(kind, &mut world, |link, _| {
            assert!(link.unsent_bytes() > 0, "the kernel took all: the test proves nothing");
            drop(link);
        });
        expect_cut(kind, &mut world, peer);
    });
}

#[test]
fn a_link_that_no_reactor_takes_resets_its_peer() {
    each_kind(|kind| {
        let mut world = World::new();
        let peer = detached(kind, &mut world, |link, cx| {
            cx.shutdown(Duration::ZERO);
            cx.remote().adopt(link, |_| Sink).expect("a mailbox");
        });
        expect_cut(kind, &mut world, peer);
    });
}

#[test]
fn what_goes_on_elsewhere_is_not_reset() {
    each_kind(|kind| {
        let mut world = World::new();
        let kept: Rc<RefCell<Option<Link>>> = Rc::default();
        let keep = kept.clone();
        let mut peer = detached(kind, &mut world, move |link, _| *keep.borrow_mut() = Some(link));
        let link = kept.borrow_mut().take().expect("the link");
        world.reactor().context().adopt(link, Sink).expect("room");
        let got = peer.read_exact_while(&mut world, WRITTEN);
        assert!(got.iter().all(|byte| *byte == 7));
        drop(peer);
        world.until_empty();
    });
}

/// An idle end is an end in order, but not in front of output that waits.
#[test]
fn an_idle_end_that_loses_output_is_a_reset_and_says_how_much() {
    each_kind(|kind| {
        let mut world = World::new();
        let idle_timeout = Some(Duration::from_millis(50));
        let narrow = narrow();
        let limits = Limits { idle_timeout, outbox_bytes_max: 4 << 20, ..narrow.limits.clone() };
        let config = ListenConfig { limits, ..narrow };
        let lost = Rc::new(Cell::new(0));
        let tell = lost.clone();
        let address = world.listen(kind, config, move |_: &Conn<'_>| {
            let tell = tell.clone();
            let hooks = Hooks::new().data(move |conn, data| {
                conn.write(&vec![7; 3 << 20]).expect("room");
                data.len()
            });
            hooks.close(move |conn, _| tell.set(conn.unsent_bytes()))
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, b"go");
        let reasons = world.until_empty();
        assert_eq!(reasons, [Reason::Timeout(windlass::Expiry::Idle)]);
        assert!(lost.get() > 0, "the kernel took all: the test proves nothing");
        assert_eq!(world.reactor().snapshot().bytes_lost, lost.get() as u64);
        expect_cut(kind, &mut world, peer);
    });
}
