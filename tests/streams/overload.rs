//! All queues of a reactor together are bounded, if that is asked for: who would add to them waits, who stands still is cut,
//! and nobody else notices.

use super::bytes::pattern;
use super::output::narrow;
use crate::support::{Echo, Hooks, Kind, Peer, Sink, World, each_kind, each_kind_at_once};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::{Conn, EngineConfig, Error, Limits, Link, ListenConfig, ReactorConfig, Reason};

const BOUND: usize = 4 << 20;

/// A world whose queues may hold so much together.
fn bounded() -> World {
    World::with(ReactorConfig { queued_bytes_max: Some(BOUND), ..ReactorConfig::default() })
}

fn echoes(world: &mut World, peer: &mut Peer, bytes: &[u8]) {
    peer.send_all_while(world, bytes);
    assert!(peer.read_exact_while(world, bytes.len()) == bytes);
}

#[test]
fn clients_that_never_read_fill_no_more_than_the_bound_and_others_are_served() {
    const FLOODERS: usize = 40;
    each_kind_at_once(|kind| {
        let mut world = bounded();
        let address = world.listen(kind, narrow_but_long(), |_: &Conn<'_>| Echo);
        let (mut bystander, mut slow) = (world.dial(&address), world.dial(&address));
        world.until_open(2);
        let bytes = pattern(64 * 1024);
        let mut flooders = Vec::new();
        for _ in 0..FLOODERS {
            flooders.push(world.dial(&address));
            world.turn();
        }
        world.until_open(2 + FLOODERS);
        let (mut piece, mut read, mut most, mut sent) = (vec![0; 16 * 1024], 0, 0, 0);
        let began = Instant::now();
        world.until("somebody to be cut", |world| {
            for flooder in &mut flooders {
                // One that was cut fails.
                let _ = flooder.write_some(&bytes[..8 * 1024]);
            }
            // It always has something waiting, and takes a little at a time.
            sent += slow.write_some(&bytes[sent % bytes.len()..]).expect("a slow reader is never cut");
            if let Some(count) = slow.try_read(&mut piece) {
                let count = count.unwrap_or_else(|error| {
                    panic!("a slow reader is never cut: {error}; {:?}, {:?}", world.log.reasons(), began.elapsed())
                });
                assert!(count > 0, "the slow reader was ended");
                for (n, byte) in piece[..count].iter().enumerate() {
                    assert_eq!(*byte, bytes[(read + n) % bytes.len()]);
                }
                read += count;
            }
            most = most.max(world.reactor().queued_bytes());
            world.log.reasons().contains(&Reason::QueueLimit)
        });
        let waited = began.elapsed();
        // Each that has nothing waiting may add one small piece, which takes the smallest chunk; with TLS, a part of a record
        // and its answer, which take the next.
        let small = if kind.is_tls() { 40 } else { 4 } * 1024 * FLOODERS;
        assert!(most > BOUND && most <= BOUND + BOUND / 8 + small, "{most} bytes waited");
        assert!(world.reactor().snapshot().reads_held_back > 0);
        let asked = Instant::now();
        for _ in 0..20 {
            echoes(&mut world, &mut bystander, b"hello");
        }
        assert!(asked.elapsed() < waited.max(Duration::from_secs(2)), "the bystander waited {:?}", asked.elapsed());
        world.until("an eighth to be free", |world| world.reactor().queued_bytes() <= BOUND - BOUND / 8);
        let reasons = world.log.reasons();
        assert!(reasons.iter().all(|reason| *reason == Reason::QueueLimit), "{reasons:?}");
        assert!(reasons.len() < FLOODERS / 2, "{} were cut", reasons.len());
        let counted = world.reactor().snapshot().closed_for(Reason::QueueLimit);
        assert_eq!(counted as usize, reasons.len());
        // Who was held back goes on when there is room: whoever is left gets back all that was taken of it.
        let mut left = std::mem::take(&mut flooders);
        let mut last = left.pop().expect("one");
        drop((left, slow));
        last.finish();
        let ended = last.read_to_end_while(&mut world);
        assert!(ended.is_ok_and(|got| !got.is_empty()) || reasons.len() == FLOODERS, "the last one was cut");
        drop((last, bystander));
        world.until("nobody to be left", |world| world.reactor().connections() == 0);
        assert_eq!(world.reactor().queued_bytes(), 0);
    });
}

/// Its input waits for the rest of a message, and while the queues are full we do not read that: it is not the one that stands
/// still.
#[test]
fn who_has_begun_a_message_is_neither_cut_nor_idle_for_want_of_room() {
    each_kind_at_once(|kind| {
        let mut world = bounded();
        let (half, whole) = (pattern(20 * 1024), pattern(40 * 1024));
        let config = narrow_but_long();
        let limits = Limits { idle_timeout: Some(Duration::from_secs(3)), ..config.limits.clone() };
        let answer = pattern(900 * 1024);
        let address = world.listen(kind, ListenConfig { limits, ..config }, move |_: &Conn<'_>| {
            let answer = answer.clone();
            Hooks::new().data(move |conn, data| match data {
                b"go" => {
                    conn.write(&answer).expect("room");
                    data.len()
                }
                data if data.len() < 40 * 1024 => 0,
                data => conn.write_some(data),
            })
        });
        let mut asker = world.dial(&address);
        world.until_open(1);
        asker.send_all_while(&mut world, &half);
        let mut hoarders = Vec::new();
        for n in 0..8 {
            hoarders.push(world.dial(&address));
            world.until_open(n + 2);
            hoarders[n].send_all_while(&mut world, b"go");
        }
        world.until("the queues to be full", |world| world.reactor().queued_bytes() > BOUND);
        assert_eq!(asker.write_some(&whole[half.len()..]).expect("a write"), whole.len() - half.len());
        assert!(asker.read_exact_while(&mut world, whole.len()) == whole, "other bytes");
        let reasons = world.log.reasons();
        assert!(reasons.contains(&Reason::QueueLimit), "{reasons:?}");
        drop((asker, hoarders));
        world.until("nobody to be left", |world| world.reactor().connections() == 0);
        assert_eq!(world.reactor().queued_bytes(), 0);
    });
}

#[test]
fn those_that_stand_still_for_the_longest_are_cut_first_and_see_a_reset() {
    const PEERS: usize = 20;
    each_kind_at_once(|kind| {
        let mut world = bounded();
        let answer = pattern(900 * 1024);
        let address = world.listen(kind, narrow_but_long(), move |_: &Conn<'_>| {
            let answer = answer.clone();
            Hooks::new().data(move |conn, data| {
                conn.write(&answer).expect("room");
                data.len()
            })
        });
        let mut peers = Vec::new();
        for n in 0..PEERS {
            let mut peer = world.dial(&address);
            // The first may have been cut already.
            world.until("it to be open", |world| world.log.open() + world.log.reasons().len() == n + 1);
            peer.send_all_while(&mut world, b"go");
            peers.push(peer);
        }
        world.until("the bound to hold", |world| {
            !world.log.reasons().is_empty() && world.reactor().queued_bytes() <= BOUND
        });
        let cut = world.log.reasons().len();
        assert!(world.log.reasons().iter().all(|reason| *reason == Reason::QueueLimit));
        assert!((PEERS / 2..PEERS).contains(&cut), "{cut} of {PEERS} were cut");
        let last = peers.pop().expect("one");
        let mut first = peers.remove(0);
        match first.read_to_end_while(&mut world) {
            Ok(_) => assert_eq!(kind, Kind::Unix, "an end in order"),
            Err(error) if kind.is_unix() => assert_eq!(error.kind(), ErrorKind::UnexpectedEof),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        let mut last = last;
        assert_eq!(last.read_exact_while(&mut world, 900 * 1024).len(), 900 * 1024, "the youngest was cut");
        drop((peers, first, last));
        world.until("nobody to be left", |world| world.reactor().connections() == 0);
        assert_eq!(world.reactor().queued_bytes(), 0);
    });
}

fn narrow_but_long() -> ListenConfig {
    let narrow = narrow();
    ListenConfig { limits: Limits::default(), ..narrow }
}

#[test]
fn what_waits_in_a_link_counts_where_it_is() {
    each_kind(|kind| {
        let mut world = bounded();
        let kept: Rc<RefCell<Option<Link>>> = Rc::default();
        let keep = kept.clone();
        let address = world.listen(kind, narrow_but_long(), move |_: &Conn<'_>| {
            let keep = keep.clone();
            let hooks = Hooks::new().data(move |conn, data| {
                if data == b"go" {
                    conn.write(&pattern(700 * 1024)).expect("room");
                    conn.write_bytes(pattern(100 * 1024).into()).expect("room");
                    conn.set_timer(Duration::from_millis(200));
                }
                0
            });
            hooks.timer(move |conn| {
                let keep = keep.clone();
                conn.detach(move |link, _| *keep.borrow_mut() = Some(link));
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        assert_eq!(world.reactor().queued_bytes(), 0);
        peer.send_all_while(&mut world, b"go");
        world.until("the answer to wait", |world| world.reactor().queued_bytes() > 400 * 1024);
        let waiting = world.reactor().queued_bytes();
        world.until("the link to leave", |_| kept.borrow().is_some());
        assert_eq!(world.reactor().queued_bytes(), 0);
        let link = kept.borrow_mut().take().expect("the link");
        assert!(link.unsent_bytes() > 0 && !link.unread().is_empty());
        let handler = world.log.record(Sink);
        world.reactor().context().adopt(link, handler).expect("room");
        let back = world.reactor().queued_bytes();
        assert!(back >= 400 * 1024 && back <= waiting + 64 * 1024, "{back} after {waiting}");
        assert_eq!(peer.read_exact_while(&mut world, 800 * 1024).len(), 800 * 1024);
        world.until("nothing to wait", |world| world.reactor().queued_bytes() == 0);
        drop(peer);
        world.until_empty();
    });
}

/// What waits holds nobody back who has room: a frame that comes in many turns is read on behind its beginning.
#[test]
fn a_frame_is_read_on_behind_its_beginning_while_there_is_room() {
    const FRAME: usize = 100_000;
    for bound in [None, Some(BOUND)] {
        each_kind(|kind| {
            let mut world = World::with(ReactorConfig { queued_bytes_max: bound, ..ReactorConfig::default() });
            let limits = Limits { bytes_per_turn: 1024, reads_per_turn: 1, ..Limits::default() };
            let address = world.listen(kind, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| {
                let hooks = Hooks::new().open(|conn| conn.need(FRAME).expect("a need that fits"));
                hooks.data(|_, data| data.len())
            });
            let mut peer = world.dial(&address);
            world.until_open(1);
            peer.send_all_while(&mut world, &pattern(FRAME));
            world.until("the frame", |world| world.log.shown(0) == FRAME);
            assert_eq!(world.reactor().snapshot().reads_held_back, 0);
        });
    }
}

/// A peer that sends all the time has an event in each turn, beside what the turn before left.
#[test]
fn one_turn_shows_no_more_of_a_connection_than_its_budget() {
    const BUDGET: usize = 16 << 10;
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { bytes_per_turn: BUDGET, ..Limits::default() };
        let address = world.listen(kind, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| Sink);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let (bytes, mut sent, mut shown) = (pattern(40 * BUDGET), 0, 0);
        world.until("all of it", |world| {
            let now = world.log.shown(0);
            assert!(now - shown <= BUDGET, "{} bytes in one turn", now - shown);
            shown = now;
            // Two writes, so that records are small and an event comes each time.
            for _ in 0..2 {
                let piece = &bytes[sent..bytes.len().min(sent + BUDGET)];
                if !piece.is_empty() {
                    sent += peer.write_some(piece).unwrap_or(0);
                }
            }
            shown == bytes.len()
        });
    });
}

#[test]
fn bounds_that_cannot_work_are_refused_by_name() {
    let refused = ReactorConfig { queued_bytes_max: Some((1 << 20) - 1), ..ReactorConfig::default() }.validate();
    assert!(matches!(refused, Err(Error::Config { field: "queued_bytes_max", .. })), "{refused:?}");
    let engine = EngineConfig { reactors: 4, queued_bytes_max: Some(4 << 20), ..EngineConfig::default() };
    engine.validate().expect("1 MiB for each");
    let refused = EngineConfig { queued_bytes_max: Some((4 << 20) - 1), ..engine }.validate();
    assert!(matches!(refused, Err(Error::Config { field: "queued_bytes_max", .. })), "{refused:?}");
    for edge in [1 << 20, usize::MAX] {
        let mut world = World::with(ReactorConfig { queued_bytes_max: Some(edge), ..ReactorConfig::default() });
        let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        echoes(&mut world, &mut peer, b"hello");
        drop(peer);
    }
}
