//! Deadlines: each ends its own connection, on time, and nothing else.

use super::bytes::pattern;
use crate::support::{Echo, Hooks, Kind, PATIENCE, Peer, Sink, World, each_kind, each_kind_at_once};
use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::{Conn, Expiry, Limits, ListenConfig, Reason};

fn with(limits: Limits) -> ListenConfig {
    ListenConfig { limits, ..ListenConfig::default() }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Turns until the condition holds, calling `each` in between; tells the longest turn.
pub(super) fn until_with(world: &mut World, what: &str, mut done: impl FnMut(&mut World) -> bool) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    world.until(what, |world| {
        longest = longest.max(last.elapsed());
        last = Instant::now();
        done(world)
    });
    longest
}

#[test]
fn idle_timeout_closes_only_the_idle_connection_and_on_time() {
    each_kind_at_once(|kind| {
        let idle = ms(300);
        let mut world = World::new();
        let config = with(Limits { idle_timeout: Some(idle), ..Limits::default() });
        let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
        let mut talker = world.dial(&address);
        world.until_open(1);
        let silent = world.dial(&address);
        let before = Instant::now();
        world.until_open(2);
        let opened = Instant::now();
        let (mut told, mut answer) = (Instant::now(), [0; 16]);
        let mut closed = None;
        let longest = until_with(&mut world, "the talker to outlive the silent one twice", |world| {
            if told.elapsed() > ms(40) {
                told = Instant::now();
                assert_eq!(talker.write_some(b"x").expect("a write"), 1);
            }
            let _ = talker.try_read(&mut answer);
            if closed.is_none() && world.log.reasons().len() == 1 {
                closed = Some(Instant::now());
            }
            opened.elapsed() > idle * 5 / 2
        });
        let closed = closed.expect("the silent one to be closed");
        // 2 % and a turn, and a millisecond to look at it.
        assert!(closed - before >= idle - longest, "closed {:?} after it came", closed - before);
        let late = (closed - opened).saturating_sub(idle);
        assert!(late <= idle / 50 + longest + ms(1), "closed {late:?} late, the longest turn was {longest:?}");
        assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::Idle)]);
        assert_eq!(world.log.open(), 1);
        drop((silent, talker));
    });
}

#[test]
fn a_byte_in_either_direction_is_life() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let config = with(Limits { idle_timeout: Some(ms(400)), ..Limits::default() });
        let to_peer = world.listen(kind, config.clone(), |_: &Conn<'_>| {
            let hooks = Hooks::new().open(|conn| conn.set_timer(ms(40)));
            hooks.timer(|conn| {
                conn.write(b"x").expect("room");
                conn.set_timer(ms(40));
            })
        });
        let from_peer = world.listen(kind, config, |_: &Conn<'_>| Sink);
        let _listener = world.dial(&to_peer);
        let mut talker = world.dial(&from_peer);
        world.until_open(2);
        let (since, mut told) = (Instant::now(), Instant::now());
        world.until("three times the idle timeout", |_| {
            if told.elapsed() > ms(40) {
                told = Instant::now();
                assert_eq!(talker.write_some(b"x").expect("a write"), 1);
            }
            since.elapsed() > ms(1200)
        });
        assert_eq!(world.log.open(), 2, "{:?}", world.log.reasons());
    });
}

/// Reads at most `bytes` of what there is.
fn sip(peer: &mut Peer, bytes: usize) -> Vec<u8> {
    let (mut got, mut filled) = (vec![0; bytes], 0);
    while filled < bytes {
        match peer.try_read(&mut got[filled..]) {
            None | Some(Ok(0)) => break,
            Some(count) => filled += count.expect("a read"),
        }
    }
    got.truncate(filled);
    got
}

#[test]
fn one_long_write_that_drains_slowly_is_life() {
    let bytes = pattern(1_000_000);
    each_kind_at_once(|kind| {
        for close in [false, true] {
            let mut world = World::new();
            let limits = Limits { idle_timeout: Some(ms(400)), write_stall_timeout: ms(400), ..Limits::default() };
            let mut config = with(limits);
            config.socket.send_buffer_bytes = Some(32 * 1024);
            let of_each = bytes.clone();
            let address = world.listen(kind, config, move |_: &Conn<'_>| {
                let bytes = of_each.clone();
                Hooks::new().open(move |conn| {
                    conn.write(&bytes).expect("room");
                    if close {
                        conn.close();
                    }
                })
            });
            let mut peer = world.dial(&address);
            peer.0.set_recv_buffer_size(64 * 1024).expect("SO_RCVBUF");
            world.until_open(1);
            let (since, mut last, mut got) = (Instant::now(), Instant::now(), Vec::new());
            world.until("all to be read, in sips", |_| {
                if last.elapsed() >= ms(20) {
                    last = Instant::now();
                    got.extend(sip(&mut peer, 20 * 1024));
                }
                got.len() == bytes.len()
            });
            assert!(got == bytes);
            assert!(since.elapsed() > ms(600), "it was over too soon: the test proves nothing");
            drop(peer);
            world.until_empty();
        }
    });
}

#[test]
fn output_that_does_not_move_ends_the_connection_with_a_reset() {
    each_kind_at_once(|kind| {
        for close in [false, true] {
            let mut world = World::new();
            let mut config = with(Limits { write_stall_timeout: ms(200), ..Limits::default() });
            config.socket.send_buffer_bytes = Some(16 * 1024);
            let address = world.listen(kind, config, move |_: &Conn<'_>| {
                Hooks::new().open(move |conn| {
                    while conn.write(&[0; 100_000]).is_ok() {}
                    if close {
                        conn.close();
                    }
                })
            });
            let since = Instant::now();
            let mut peer = world.dial(&address);
            world.until_open(1);
            assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::WriteStall)]);
            assert!(since.elapsed() >= ms(190), "cut after {:?}", since.elapsed());
            if !kind.is_unix() {
                let end = peer.read_to_end_while(&mut world);
                assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
            }
        }
    });
}

#[test]
fn a_lifetime_ends_cleanly_whatever_the_connection_does() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let config = with(Limits { lifetime: Some(ms(200)), ..Limits::default() });
        let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        let since = Instant::now();
        let (mut buffer, mut ended) = ([0; 1024], false);
        world.until("the end of its life", |_| {
            if !ended {
                let _ = peer.write_some(&[7; 100]).expect("a write");
                if let Some(count) = peer.try_read(&mut buffer) {
                    ended = count.expect("an end, not a reset") == 0;
                }
            }
            ended
        });
        assert!(since.elapsed() >= ms(195), "ended after {:?}", since.elapsed());
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Lifetime)]);
    });
}

#[test]
fn a_peer_that_never_ends_is_left_after_the_linger_timeout() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let config = with(Limits { linger_timeout: ms(200), ..Limits::default() });
        let address = world.listen(kind, config, |_: &Conn<'_>| Hooks::new().open(|conn| conn.close()));
        let since = Instant::now();
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Linger)]);
        assert!(since.elapsed() >= ms(190), "left after {:?}", since.elapsed());
    });
}

/// Has the peer of a connection that lingers send until it is left, for `time` at most; `None` if it is not left. A busy
/// machine may hold this thread up for as long as `gap`, between two bytes: then another peer tries.
fn send_while_it_lingers(limits: &Limits, kind: Kind, gap: Duration, time: Duration) -> Option<(Duration, Reason)> {
    const TRIES: usize = 20;
    let mut world = World::new();
    let address = world.listen(kind, with(limits.clone()), |_: &Conn<'_>| Hooks::new().open(|conn| conn.close()));
    for _ in 0..TRIES {
        let since = Instant::now();
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        let (before, began) = (since.elapsed(), Instant::now());
        let longest = until_with(&mut world, "it to be left, or to have sent for long enough", |world| {
            let _ = peer.write_some(b"and another thing");
            world.reactor().connections() == 0 || began.elapsed() >= time
        });
        let reason = world.log.reasons().last().copied();
        match reason.filter(|_| world.reactor().connections() == 0) {
            None => return None,
            Some(reason) if longest.max(before) < gap => return Some((since.elapsed(), reason)),
            Some(_) => {}
        }
    }
    panic!("this machine is too busy: {TRIES} times nothing was sent for {gap:?}");
}

#[test]
fn a_peer_that_sends_for_ever_is_left_after_the_whole_linger() {
    each_kind_at_once(|kind| {
        // Silence ends nothing here, however long this thread is held up.
        let limits = Limits { linger_timeout: PATIENCE * 10, linger_total: ms(400), ..Limits::default() };
        let left = send_while_it_lingers(&limits, kind, Duration::MAX, PATIENCE);
        let (after, reason) = left.expect("it is left");
        assert!(after >= ms(390), "left after {after:?}");
        assert_eq!(reason, Reason::Timeout(Expiry::Linger));
    });
}

#[test]
fn a_peer_that_goes_on_sending_is_not_left_for_its_silence() {
    each_kind_at_once(|kind| {
        let limits = Limits { linger_timeout: ms(400), linger_total: PATIENCE * 10, ..Limits::default() };
        let left = send_while_it_lingers(&limits, kind, ms(200), ms(900));
        assert!(left.is_none(), "left after {left:?}");
    });
}

#[test]
fn a_busy_peer_does_not_outlive_its_deadline() {
    each_kind(|kind| {
        let mut world = World::new();
        let config = with(Limits { lifetime: Some(ms(150)), ..Limits::default() });
        // It always leaves one byte, and is always shown more.
        let address = world.listen(kind, config, |_: &Conn<'_>| Hooks::new().data(|_, data| data.len() - 1));
        let mut peer = world.dial(&address);
        world.until_open(1);
        let since = Instant::now();
        let longest = until_with(&mut world, "it to end", |world| {
            let _ = peer.write_some(&[7; 200_000]);
            let mut byte = [0];
            peer.try_read(&mut byte).is_some_and(|end| end.expect("an end") == 0) || world.log.open() == 0
        });
        let late = since.elapsed().saturating_sub(ms(150));
        assert!(late <= ms(3) + longest * 2, "ended {late:?} late, the longest turn was {longest:?}");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Lifetime)]);
    });
}

#[test]
fn a_timer_of_the_handler_comes_once_and_can_be_replaced_and_cleared() {
    each_kind(|kind| {
        let mut world = World::new();
        let (fired, since) = (Rc::new(Cell::new(None)), Instant::now());
        let at = fired.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let fired = fired.clone();
            let hooks = Hooks::new().open(|conn| {
                conn.set_timer(ms(5));
                conn.set_timer(ms(100));
            });
            hooks.timer(move |conn| {
                assert_eq!(fired.replace(Some(Instant::now())), None, "it came again");
                conn.set_timer(ms(5));
                conn.clear_timer();
            })
        });
        let _peer = world.dial(&address);
        world.until("the timer", |_| at.get().is_some());
        assert!(at.get().is_some_and(|at| at - since >= ms(98)), "it came early");
        world.turns(20);
    });
}

#[test]
fn jobs_run_on_time_in_order_and_can_be_cancelled() {
    let mut world = World::new();
    let ran = Rc::new(Cell::new(String::new()));
    let note = |name: &'static str| {
        let ran = ran.clone();
        move |_: &mut windlass::Context<'_>| ran.set(ran.take() + name)
    };
    let since = Instant::now();
    let reactor = world.reactor();
    reactor.after(ms(60), note("c"));
    reactor.after(ms(20), note("a"));
    let cancelled = reactor.after(ms(30), note("x"));
    reactor.after(ms(40), note("b"));
    reactor.after(Duration::MAX, note("never"));
    assert!(reactor.context().cancel(cancelled));
    assert!(!reactor.context().cancel(cancelled));
    let mut all = String::new();
    world.until("three jobs", |_| {
        all += &ran.take();
        all.len() == 3
    });
    assert_eq!(all, "abc");
    assert!(since.elapsed() >= ms(59));
}
