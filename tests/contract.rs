//! The contract of input and output: what a handler is shown, when, and what its writes come to.

mod scripted;
mod support;

use scripted::{Does, assert_same, limited, on_other, pattern, shared, tight};
use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Echo, Kind, Said, World, each_kind, each_kind_at_once, each_plain_kind};
use windlass::{Bytes, Conn, Error, Expiry, Limits, ListenConfig, Reason, WriteError};

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Turns until `condition` or until `time` has passed.
fn turn_for(world: &mut World, time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time {
        world.turn();
    }
}

// --- input --------------------------------------------------------------------------------------------------------

/// A rest whose answer was refused waits for room and not for more input: the end, which may have come meanwhile, is told
/// behind it.
#[test]
fn the_end_waits_behind_a_rest_whose_answer_was_refused_whole() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits {
            inbox_bytes_max: 4096,
            outbox_bytes_max: 1 << 20,
            outbox_bytes_high: 900_000,
            outbox_bytes_low: 4096,
            ..Limits::default()
        };
        let address = world.listen(kind, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| {
            Does::new()
                .on_open(|conn| while conn.write_some(&[b'.'; 65536]) > 0 {})
                .on_data(|conn, data| if conn.write(data).is_ok() { data.len() } else { 0 })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, b"abc");
        peer.finish();
        world.turns(20);
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert!(got.ends_with(b"abc"), "the answer is lost over {kind:?}: {:?}", world.log.said(0));
    });
}

#[test]
fn two_frames_in_one_read_are_two_calls_without_another_read() {
    each_plain_kind("reads are told apart by the bytes on the socket", |kind| {
        let mut world = World::new();
        let calls = shared(Vec::new());
        let told = calls.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_data(move |conn, data| {
                told.borrow_mut().push((data.to_vec(), conn.bytes_in()));
                4
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"onceTWIC");
        world.until("both frames", |_| calls.borrow().len() == 2);
        assert_eq!(*calls.borrow(), [(b"onceTWIC".to_vec(), 8), (b"TWIC".to_vec(), 8)]);
    });
}

#[test]
fn a_handler_that_uses_nothing_is_called_again_only_with_more_bytes() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Does::new().on_data(|_, _| 0));
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abc");
        world.until("the bytes", |world| world.log.made() == 1 && world.log.shown(0) > 0);
        world.turns(10);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(3)]);
        peer.send_all_while(&mut world, b"d");
        world.until("the next byte", |world| world.log.said(0).len() == 3);
        world.turns(10);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(3), Said::Data(4)]);
    });
}

#[test]
fn a_handler_that_needs_ten_bytes_is_not_offered_fewer() {
    each_plain_kind("reads are told apart by the bytes on the socket", |kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                if data.len() < 10 {
                    conn.need(10).expect("ten bytes");
                    return 0;
                }
                10
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        for (sent, byte) in b"0123456789".iter().enumerate() {
            peer.send_all_while(&mut world, &[*byte]);
            let id = world.log.id(0);
            world.until("the byte to be read", |world| world.reactor().snapshot().bytes_in == sent as u64 + 1);
            assert!(world.reactor().context().other(id).is_some());
        }
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(1), Said::Data(10)]);
        // The need was for once: the next byte is shown at once.
        peer.send_all_while(&mut world, b"x");
        world.until("the byte behind", |world| world.log.said(0).len() == 4);
        assert_eq!(world.log.said(0)[3], Said::Data(1));
    });
}

#[test]
fn what_is_needed_and_there_already_is_shown_at_once() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                conn.need(3).expect("three bytes");
                data.len().min(3)
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"aaabbbc");
        world.until("the frames", |world| world.log.made() == 1 && world.log.said(0).len() >= 3);
        world.turns(5);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(7), Said::Data(4)]);
        peer.send_all_while(&mut world, b"cc");
        world.until("the last frame", |world| world.log.said(0).len() == 4);
        assert_eq!(world.log.said(0)[3], Said::Data(3));
    });
}

#[test]
fn a_frame_of_200_kib_is_offered_at_most_twice() {
    each_kind(|kind| {
        let mut world = World::new();
        let frame = pattern(200 * KIB);
        let whole = shared(Vec::new());
        let told = whole.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_data(move |conn, data| {
                if data.len() < 200 * KIB {
                    conn.need(200 * KIB).expect("below the limit");
                    return 0;
                }
                told.borrow_mut().extend_from_slice(data);
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, frame);
        world.until("the frame", |_| !whole.borrow().is_empty());
        assert_same(&whole.borrow(), frame);
        assert!(world.log.said(0).len() <= 3, "{:?}", world.log.said(0));
    });
}

#[test]
fn a_frame_as_large_as_the_inbox_can_be_needed() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { inbox_bytes_max: 96 * KIB, ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                if data.len() < 96 * KIB {
                    conn.need(96 * KIB).expect("exactly the limit");
                    return 0;
                }
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        for _ in 0..3 {
            peer.send_all_while(&mut world, pattern(96 * KIB));
        }
        peer.finish();
        assert_eq!(world.until_empty_after_open(), [Reason::PeerClosed]);
        assert!(world.log.said(0).contains(&Said::End(0)), "{:?}", world.log.said(0));
    });
}

#[test]
fn to_need_more_than_the_inbox_holds_fails_at_the_call_and_harms_nothing() {
    each_kind(|kind| {
        let mut world = World::new();
        let refused = shared(None);
        let told = refused.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_data(move |conn, data| {
                *told.borrow_mut() = Some(conn.need(256 * KIB + 1));
                conn.write_some(data)
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"ab");
        assert_eq!(peer.read_exact_while(&mut world, 2), b"ab");
        let refused = refused.borrow_mut().take();
        assert!(matches!(refused, Some(Err(Error::Need { asked: 262_145, limit: 262_144 }))), "{refused:?}");
    });
}

#[test]
fn a_handler_that_never_uses_anything_ends_with_the_inbox_limit() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { inbox_bytes_max: 100 * KIB, ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| Does::new().on_data(|_, _| 0));
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, pattern(300 * KIB));
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::InboxLimit]);
        let most = world.log.said(0).iter().map(|said| if let Said::Data(n) = said { *n } else { 0 }).max();
        let record = if kind.is_tls() { 18 * KIB + 5 } else { 0 };
        assert!(most <= Some(100 * KIB + record), "{most:?} bytes were shown");
    });
}

#[test]
fn a_close_with_a_full_inbox_lingers_like_any_other() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { inbox_bytes_max: 64 * KIB, ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                if data.len() < 64 * KIB {
                    conn.need(64 * KIB).expect("exactly the limit");
                } else {
                    conn.write(b"too much").expect("room");
                    conn.close();
                }
                0
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, pattern(10 * KIB));
        world.until("the first bytes", |world| world.log.made() == 1 && world.log.shown(0) > 0);
        peer.send_all_while(&mut world, pattern(400 * KIB));
        assert_eq!(peer.read_to_end_while(&mut world).expect("no reset"), b"too much");
        assert_eq!(world.reactor().connections(), 1, "it did not wait for the peer's end");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
    });
}

#[test]
fn to_use_more_than_was_shown_is_a_panic_of_that_handler_only() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| if data == b"lie" { 4 } else { conn.write_some(data) })
        });
        let (mut honest, mut liar) = (world.dial(&address), world.dial(&address));
        liar.send_all_while(&mut world, b"lie");
        assert_eq!(liar.read_to_end_while(&mut world).expect("a clean end"), b"");
        drop(liar);
        world.until("the liar to be gone", |world| world.log.reasons() == [Reason::HandlerPanicked]);
        honest.send_all_while(&mut world, b"truth");
        assert_eq!(honest.read_exact_while(&mut world, 5), b"truth");
        assert_eq!(world.reactor().snapshot().panics, 1);
    });
}

#[test]
fn nothing_is_delivered_while_paused_and_the_rest_comes_after_resume_without_new_bytes() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                if data.len() == 5 {
                    conn.pause();
                    assert!(conn.is_paused());
                    return 2;
                }
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abcde");
        world.until("the first bytes", |world| world.log.made() == 1 && world.log.shown(0) > 0);
        peer.send_all_while(&mut world, b"fgh");
        world.turns(10);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(5)]);
        let id = world.log.id(0);
        on_other(&mut world, id, |other| other.resume());
        world.until("all bytes", |world| world.log.shown(0) >= 5 + 6);
        assert_eq!(world.log.said(0)[2], Said::Data(3), "the rest comes first, and alone");
        assert_eq!(world.log.shown(0), 5 + 3 + 3);
    });
}

#[test]
fn the_rest_is_shown_after_a_resume_from_its_own_timer() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            let seen = Cell::new(0);
            Does::new()
                .on_data(move |conn, data| {
                    seen.set(seen.get() + 1);
                    if seen.get() == 1 {
                        conn.pause();
                        conn.set_timer(millis(5));
                        return 0;
                    }
                    data.len()
                })
                .on_timer(|conn| conn.resume())
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abc");
        world.until("the second showing", |world| world.log.made() == 1 && world.log.said(0).len() >= 4);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(3), Said::Timer, Said::Data(3)]);
    });
}

#[test]
fn resume_after_pause_shows_the_rest_again_even_in_the_same_on_data() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            let seen = Cell::new(0);
            Does::new().on_data(move |conn, data| {
                seen.set(seen.get() + 1);
                if seen.get() == 1 {
                    conn.pause();
                    conn.resume();
                    return 0;
                }
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abc");
        world.until("the first showing", |world| world.log.made() == 1 && world.log.shown(0) > 0);
        world.turns(5);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(3), Said::Data(3)]);
    });
}

#[test]
fn data_and_fin_that_came_while_paused_are_told_in_order_after_resume() {
    each_kind(|kind| {
        let mut world = World::new();
        let address =
            world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Does::new().on_open(|conn| conn.pause()));
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        peer.finish();
        world.until_open(1);
        world.turns(10);
        assert_eq!(world.log.said(0), [Said::Open, Said::HangUp], "that the peer has ended is heard of, once");
        let id = world.log.id(0);
        on_other(&mut world, id, |other| other.resume());
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        let said = world.log.said(0);
        let heard = [Said::Open, Said::HangUp, Said::Data(5), Said::End(0), Said::Close(Reason::PeerClosed)];
        assert_eq!(said, heard);
    });
}

#[test]
fn a_fin_that_came_behind_a_paused_rest_waits_for_it() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, _| {
                conn.pause();
                1
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abc");
        peer.finish();
        for shown in [3, 2, 1] {
            let shown_last = |world: &mut World| {
                let said = world.log.said(0);
                said.iter().rfind(|said| **said != Said::HangUp) == Some(&Said::Data(shown))
            };
            world.until("the next byte", |world| world.log.made() == 1 && shown_last(world));
            world.turns(5);
            assert!(shown_last(&mut world));
            let id = world.log.id(0);
            on_other(&mut world, id, |other| other.resume());
        }
        world.until_empty();
        let said = world.log.said(0);
        assert_eq!(said.iter().filter(|said| **said == Said::HangUp).count(), 1);
        assert_eq!(said[5..], [Said::End(0), Said::Close(Reason::PeerClosed)]);
    });
}

/// Answers each byte with 32 of it, as far as there is room.
fn expander() -> Does {
    let carried = shared(Vec::new());
    let carry = carried.clone();
    Does::new()
        .on_data(move |conn, data| {
            if !carry.borrow().is_empty() {
                return 0;
            }
            let answer: Vec<u8> = data.iter().flat_map(|byte| [*byte; 32]).collect();
            let sent = conn.write_some(&answer);
            let used = sent.div_ceil(32);
            *carry.borrow_mut() = answer[sent..used * 32].to_vec();
            used
        })
        .on_writable(move |conn| {
            let mut carried = carried.borrow_mut();
            let sent = conn.write_some(&carried);
            carried.drain(..sent);
        })
}

fn expanded(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| [*byte; 32]).collect()
}

#[test]
fn a_rest_left_by_a_short_write_is_shown_again_after_on_writable() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| expander());
        let mut peer = world.dial(&address);
        // 3 MiB of answers.
        let asked = pattern(96 * KIB);
        let mut sent = 0;
        let (mut got, mut buffer) = (Vec::new(), vec![0; 256 * KIB]);
        world.until("all answers", |_| {
            sent += peer.write_some(&asked[sent..]).expect("a write");
            while let Some(read) = peer.try_read(&mut buffer) {
                let read = read.expect("a read");
                assert!(read > 0, "the end came early");
                got.extend_from_slice(&buffer[..read]);
            }
            got.len() == 32 * asked.len()
        });
        assert_same(&got, &expanded(asked));
        assert!(world.log.said(0).contains(&Said::Writable), "the writes were never short: {:?}", world.log.said(0));
    });
}

#[test]
fn a_fin_waits_behind_a_rest_that_waits_for_room() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| expander());
        let mut peer = world.dial(&address);
        world.until_open(1);
        let asked = pattern(40 * KIB);
        let mut sent = 0;
        world.until("all to be asked", |_| {
            sent += peer.write_some(&asked[sent..]).expect("a write");
            sent == asked.len()
        });
        peer.finish();
        world.turns(10);
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert_same(&got, &expanded(asked));
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        let said = world.log.said(0);
        assert!(said.contains(&Said::Writable), "the writes were never short: {said:?}");
        assert!(said.contains(&Said::End(0)), "{said:?}");
    });
}

#[test]
fn the_end_shows_what_was_never_used() {
    each_kind(|kind| {
        let mut world = World::new();
        let rest = shared(Vec::new());
        let told = rest.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new()
                .on_data(|conn, _| {
                    conn.need(100).expect("below the limit");
                    0
                })
                .on_end(move |conn, rest| {
                    told.borrow_mut().extend_from_slice(rest);
                    conn.write(b"half a frame").expect("room");
                    conn.close();
                })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hal");
        peer.finish();
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"half a frame");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        assert_eq!(*rest.borrow(), b"hal");
    });
}

#[test]
fn a_half_open_connection_can_go_on_writing_until_it_closes() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| {
            let left = Rc::new(Cell::new(3 * MIB / 2));
            let more = move |conn: &mut Conn<'_>| {
                let sent = conn.write_some(&pattern(3 * MIB / 2)[3 * MIB / 2 - left.get()..]);
                left.set(left.get() - sent);
                if left.get() == 0 {
                    conn.close();
                }
            };
            let again = more.clone();
            Does::new().on_end(move |conn, _| more(conn)).on_writable(again)
        });
        let mut peer = world.dial(&address);
        peer.finish();
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert_same(&got, pattern(3 * MIB / 2));
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    });
}

#[test]
fn a_lower_inbox_limit_does_not_make_an_end_of_bytes_that_wait() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Arc::new(Limits { inbox_bytes_max: 1000, ..Limits::default() });
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let limits = limits.clone();
            Does::new()
                .on_data(|conn, data| {
                    conn.set_timer(Duration::ZERO);
                    if data.len() < 3000 { 0 } else { data.len() }
                })
                .on_timer(move |conn| conn.set_limits(limits.clone()).expect("good limits"))
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, pattern(2000));
        world.until("the limits to be set", |world| world.log.made() == 1 && world.log.said(0).len() == 3);
        peer.send_all_while(&mut world, pattern(2000));
        world.turns(10);
        // The peer has not ended, so nobody may be told that it has.
        assert!(!world.log.said(0).iter().any(|said| matches!(said, Said::End(_))), "{:?}", world.log.said(0));
        drop(peer);
        let reasons = world.until_empty();
        assert!(matches!(reasons[..], [Reason::InboxLimit] | [Reason::PeerClosed]), "{reasons:?}");
    });
}

// --- output -------------------------------------------------------------------------------------------------------

#[test]
fn a_write_is_taken_whole_or_refused_whole() {
    each_plain_kind("what waits is counted in records; tests/streams/output.rs has the same for them", |kind| {
        let mut world = World::new();
        let total = shared(0);
        let told = total.clone();
        let address = world.listen(kind, tight(Limits::default()), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new()
                .on_open(move |conn| {
                    assert_eq!(conn.room(), MIB);
                    let error = conn.write(&vec![0; MIB + 1]).expect_err("more than ever fits");
                    assert!(matches!(error, WriteError::TooLong { asked, limit: MIB } if asked == MIB + 1), "{error}");
                    assert_eq!(conn.unsent_bytes(), 0);
                    let all = pattern(16 * MIB);
                    for piece in all.chunks(MIB) {
                        let (unsent, room) = (conn.unsent_bytes(), conn.room());
                        assert_eq!(unsent + room, MIB);
                        match conn.write(piece) {
                            Ok(()) => *told.borrow_mut() += piece.len(),
                            Err(WriteError::Full { asked, room: left }) => {
                                assert_eq!((asked, left), (MIB, room));
                                assert_eq!((conn.unsent_bytes(), conn.room()), (unsent, room), "a part was queued");
                                let room = conn.room();
                                conn.write(&piece[..room]).expect("what room() says fits");
                                *told.borrow_mut() += room;
                                assert_eq!(conn.room(), 0);
                                return;
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    panic!("16 MiB fitted");
                })
                .on_writable(|conn| conn.close())
        });
        let mut peer = world.dial(&address);
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert_same(&got, &pattern(16 * MIB)[..*total.borrow()]);
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
        assert_eq!(world.log.said(0), [Said::Open, Said::Writable, Said::Close(Reason::Local)]);
    });
}

#[test]
fn one_on_writable_follows_each_refusal_and_each_short_write() {
    each_kind(|kind| {
        let mut world = World::new();
        let refusals = shared(0);
        let told = refusals.clone();
        let address = world.listen(kind, tight(Limits::default()), move |_: &Conn<'_>| {
            let left = Rc::new(Cell::new(4 * MIB));
            let told = told.clone();
            let more = move |conn: &mut Conn<'_>| {
                let all = pattern(4 * MIB);
                while left.get() > 0 {
                    let rest = &all[all.len() - left.get()..];
                    let piece = &rest[..rest.len().min(100_000)];
                    // Both kinds of refusal in turn, and more than one in one callback.
                    if left.get() % 3 == 0 {
                        let sent = conn.write_some(piece);
                        left.set(left.get() - sent);
                        if sent == piece.len() {
                            continue;
                        }
                    } else if conn.write(piece).is_ok() {
                        left.set(left.get() - piece.len());
                        continue;
                    }
                    assert_eq!(conn.write_some(&[]), 0);
                    assert!(conn.write(&vec![0; conn.room() + 1]).is_err());
                    *told.borrow_mut() += 1;
                    return;
                }
                conn.close();
            };
            let again = more.clone();
            Does::new().on_open(more).on_writable(again)
        });
        let mut peer = world.dial(&address);
        // Else Linux lets the window of one who reads fast grow to more than all of it.
        peer.0.set_recv_buffer_size(64 * 1024).expect("SO_RCVBUF");
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert_same(&got, pattern(4 * MIB));
        drop(peer);
        world.until_empty();
        let told = world.log.said(0).iter().filter(|said| **said == Said::Writable).count();
        assert!(
            told > 2 && told == *refusals.borrow(),
            "{told} for {} refusals: {:?}",
            refusals.borrow(),
            world.log.said(0)
        );
    });
}

#[test]
fn on_writable_follows_a_short_write_even_if_the_kernel_took_all_that_was_accepted() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(b"little").expect("room");
                // Together with the six bytes it is too much, but nothing waits in the outbox.
                assert!(matches!(conn.write(&vec![0; MIB]), Err(WriteError::Full { .. })));
            })
        });
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_exact_while(&mut world, 6), b"little");
        world.until("on_writable", |world| world.log.said(0).len() == 2);
        world.turns(5);
        assert_eq!(world.log.said(0), [Said::Open, Said::Writable]);
    });
}

#[test]
fn nothing_spins_while_a_write_is_refused_again_and_again() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| {
            Does::new()
                .on_open(|conn| while conn.write_some(&[7; 100_000]) > 0 {})
                .on_writable(|conn| assert!(conn.write(&vec![7; MIB]).is_err() || conn.unsent_bytes() > 0))
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        // The peer's kernel may take a little more at first; a spin would never end.
        world.until("silence", |world| {
            let before = world.reactor().snapshot().drives;
            world.turns(30);
            world.reactor().snapshot().drives == before
        });
        // While the peer reads, each on_writable needs news of the kernel.
        let mut buffer = vec![0; 32 * KIB];
        let mut reads = 0;
        for _ in 0..200 {
            reads += usize::from(peer.try_read(&mut buffer).is_some());
            world.turn();
        }
        let told = world.log.said(0).len();
        assert!(told <= reads + 5, "{told} callbacks for {reads} reads");
    });
}

#[test]
fn all_kinds_of_writes_keep_their_order() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| {
            let at = Rc::new(Cell::new(0));
            let more = move |conn: &mut Conn<'_>| {
                let all = pattern(4 * MIB);
                let sizes = [1, 100, 9_000, 3, 70_000, 8_192, 8_191, 150_000, 64 * KIB, 5];
                for round in 0.. {
                    let rest = &all[at.get()..];
                    if rest.is_empty() {
                        return conn.close();
                    }
                    let piece = &rest[..rest.len().min(sizes[(at.get() + round) % sizes.len()])];
                    let done = match (at.get() / 7 + round) % 4 {
                        0 => conn.write(piece).is_ok(),
                        1 => {
                            let (a, b) = piece.split_at(piece.len() / 3);
                            conn.write_vectored(&[a, &[], b]).is_ok()
                        }
                        2 => conn.write_bytes(Bytes::copy_from_slice(piece)).is_ok(),
                        _ => {
                            let sent = conn.write_some(piece);
                            at.set(at.get() + sent);
                            if sent < piece.len() {
                                return;
                            }
                            continue;
                        }
                    };
                    if !done {
                        return;
                    }
                    at.set(at.get() + piece.len());
                }
            };
            let again = more.clone();
            Does::new().on_open(more).on_writable(again)
        });
        let mut peer = world.dial(&address);
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert_same(&got, pattern(4 * MIB));
    });
}

#[test]
fn shared_bytes_wait_without_a_copy_and_are_let_go_when_sent() {
    each_kind(|kind| {
        let mut world = World::new();
        let bytes = Bytes::from(pattern(900 * KIB));
        let given = bytes.clone();
        let address = world.listen(kind, tight(Limits::default()), move |_: &Conn<'_>| {
            let given = given.clone();
            Does::new().on_open(move |conn| {
                conn.write_bytes(given.clone()).expect("room");
                conn.write_bytes(given.slice(..10)).expect("room");
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        let got = peer.read_exact_while(&mut world, 900 * KIB + 10);
        assert_same(&got[..900 * KIB], &bytes);
        assert_same(&got[900 * KIB..], &bytes[..10]);
        world.until("nothing to wait", |world| {
            let id = world.log.id(0);
            world.reactor().context().other(id).is_some_and(|mut other| other.unsent_bytes() == 0)
        });
    });
}

#[test]
fn small_writes_of_one_callback_leave_when_it_ends() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                for byte in b"abcdefghij" {
                    conn.write(&[*byte]).expect("room");
                }
                conn.write_bytes(Bytes::from_static(b"klm")).expect("room");
                assert_eq!((conn.bytes_out(), conn.unsent_bytes(), conn.room()), (0, 13, MIB - 13));
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, b"?");
        let mut buffer = [0; 64];
        let mut got = None;
        world.until("an answer", |_| {
            got = peer.try_read(&mut buffer);
            got.is_some()
        });
        assert_eq!(got.map(|read| read.expect("a read")), Some(13), "it did not leave in one piece");
        assert_eq!(&buffer[..13], b"abcdefghijklm");
    });
}

#[test]
fn below_the_high_mark_an_answer_as_long_as_what_was_shown_is_never_refused() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits {
            inbox_bytes_max: 80 * KIB,
            outbox_bytes_high: 20 * KIB,
            outbox_bytes_low: 5 * KIB,
            outbox_bytes_max: if kind.is_tls() { 120 * KIB } else { 100 * KIB },
            ..Limits::default()
        };
        let address = world.listen(kind, tight(limits), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                let used = data.len().div_ceil(2);
                if conn.unsent_bytes() <= 20 * KIB {
                    conn.write(data).expect("never refused below the high mark");
                    return data.len();
                }
                conn.write_some(&data[..used])
            })
        });
        let mut peer = world.dial(&address);
        let all = pattern(2 * MIB);
        let (mut sent, mut got, mut buffer) = (0, Vec::new(), vec![0; 7_000]);
        world.until("the echo", |_| {
            sent += peer.write_some(&all[sent..]).expect("a write");
            for _ in 0..20 {
                let Some(read) = peer.try_read(&mut buffer) else { break };
                let read = read.expect("a read");
                assert!(read > 0, "the end came early");
                got.extend_from_slice(&buffer[..read]);
            }
            got.len() == all.len()
        });
        assert_same(&got, all);
    });
}

#[test]
fn an_echo_of_a_peer_that_does_not_read_stops_reading_it() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let (flood, mut sent, mut quiet) = (pattern(64 * KIB), 0, 0);
        world.until("the peer to be stopped", |_| {
            let taken = peer.write_some(&flood[sent % flood.len()..]).expect("a write");
            sent += taken;
            quiet = if taken == 0 { quiet + 1 } else { 0 };
            assert!(sent < 64 * MIB, "it is never stopped");
            quiet > 50
        });
        let id = world.log.id(0);
        let waits = world.reactor().context().other(id).expect("it lives").unsent_bytes();
        assert!(waits <= 256 * KIB + 64 * KIB, "{waits} bytes wait");
        let got = peer.read_exact_while(&mut world, sent);
        let wanted: Vec<u8> = flood.iter().copied().cycle().take(sent).collect();
        assert_same(&got, &wanted);
    });
}

// --- the end ------------------------------------------------------------------------------------------------------

#[test]
fn after_finish_input_is_delivered_until_the_peer_ends() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(b"bye").expect("room");
                conn.finish();
                assert!(matches!(conn.write(b"more"), Err(WriteError::NotOpen)));
                assert_eq!((conn.write_some(b"more"), conn.room()), (0, 0));
            })
        });
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"bye");
        peer.send_all_while(&mut world, b"still here");
        world.until("the input", |world| world.log.shown(0) == 10);
        peer.finish();
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        let said = world.log.said(0);
        assert_eq!(said, [Said::Open, Said::Data(10), Said::End(0), Said::Close(Reason::PeerClosed)]);
    });
}

#[test]
fn finish_sends_all_output_before_the_fin_while_input_goes_on() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(pattern(MIB)).expect("room");
                conn.finish();
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, pattern(100 * KIB));
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert_same(&got, pattern(MIB));
        world.until("the input", |world| world.log.shown(0) == 100 * KIB);
        peer.finish();
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Open,
    Data,
    Writable,
    Timer,
    Drain,
    End,
}

/// A handler that brings each of its callbacks about and ends the connection in one of them.
fn ending(at: At, end: fn(&mut Conn<'_>)) -> Does {
    let here = move |now: At, conn: &mut Conn<'_>| {
        if now == at {
            end(conn);
        }
    };
    Does::new()
        .on_open(move |conn| {
            conn.set_timer(Duration::ZERO);
            if at == At::Writable {
                conn.write(b"x").expect("room");
                assert!(conn.write(&vec![0; MIB]).is_err());
            }
            here(At::Open, conn);
        })
        .on_data(move |conn, _| {
            here(At::Data, conn);
            1
        })
        .on_writable(move |conn| here(At::Writable, conn))
        .on_timer(move |conn| here(At::Timer, conn))
        .on_drain(move |conn| here(At::Drain, conn))
        .on_end(move |conn, _| here(At::End, conn))
}

fn only_on_close_follows(end: fn(&mut Conn<'_>), allowed: &[Reason]) {
    each_kind(|kind| {
        for at in [At::Open, At::Data, At::Writable, At::Timer, At::Drain, At::End] {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| ending(at, end));
            let mut peer = world.dial(&address);
            let _ = peer.write_some(b"abcdef");
            if at == At::End {
                peer.finish();
            }
            world.until("the handler", |world| world.log.made() == 1);
            if at == At::Drain {
                world.until("the input", |world| world.log.shown(0) > 6);
                world.reactor().shutdown(Duration::from_secs(10));
            }
            let _ = peer.read_to_end_while(&mut world);
            drop(peer);
            let reasons = world.until_empty();
            assert!(reasons.len() == 1 && allowed.contains(&reasons[0]), "in {at:?}: {reasons:?}");
            let last = match at {
                At::Open => Said::Open,
                At::Data => Said::Data(6),
                At::Writable => Said::Writable,
                At::Timer => Said::Timer,
                At::Drain => Said::Drain,
                At::End => Said::End(0),
            };
            let said = world.log.said(0);
            assert_eq!(said[said.len() - 2], last, "something came between: {said:?}");
        }
    });
}

#[test]
fn after_close_in_any_callback_only_on_close_follows() {
    only_on_close_follows(|conn| conn.close(), &[Reason::Local, Reason::Drain, Reason::PeerClosed]);
}

#[test]
fn after_abort_in_any_callback_only_on_close_follows() {
    only_on_close_follows(|conn| conn.abort(), &[Reason::Aborted]);
}

#[test]
fn to_close_many_times_is_to_close_once() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new()
                .on_open(|conn| {
                    conn.write(b"bye").expect("room");
                    conn.close();
                    conn.finish();
                    conn.close();
                    conn.pause();
                    conn.set_timer(Duration::ZERO);
                })
                .on_close(|conn, _| {
                    conn.close();
                    conn.abort();
                    conn.finish();
                    conn.detach(|_, _| panic!("it is over"));
                })
        });
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"bye");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
        assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Local)]);
    });
}

#[test]
fn writes_after_close_and_in_on_close_are_refused() {
    each_kind(|kind| {
        let mut world = World::new();
        let seen = shared(0);
        let told = seen.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            let refused = move |conn: &mut Conn<'_>| {
                *told.borrow_mut() += 1;
                assert!(matches!(conn.write(b"x"), Err(WriteError::NotOpen)));
                assert!(matches!(conn.write_vectored(&[b"x", b"y"]), Err(WriteError::NotOpen)));
                assert!(matches!(conn.write_bytes(Bytes::from_static(b"x")), Err(WriteError::NotOpen)));
                assert!(matches!(conn.write(&vec![0; 2 * MIB]), Err(WriteError::NotOpen)));
                assert_eq!((conn.write_some(b"x"), conn.room()), (0, 0));
            };
            let again = refused.clone();
            Does::new()
                .on_data(move |conn, data| {
                    conn.write(b"last words").expect("room");
                    conn.close();
                    refused(conn);
                    data.len()
                })
                .on_close(move |conn, _| again(conn))
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"?");
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"last words");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
        assert_eq!((*seen.borrow(), world.reactor().snapshot().panics), (2, 0));
    });
}

#[test]
fn a_close_with_a_mebibyte_queued_reaches_a_slow_peer_that_keeps_sending() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(pattern(MIB)).expect("room");
                conn.close();
            })
        });
        let mut peer = world.dial(&address);
        let (mut got, mut sent, mut buffer) = (Vec::new(), 0, vec![0; 4 * KIB]);
        let flood = pattern(64 * KIB);
        world.until("a clean end", |_| {
            sent += peer.write_some(flood).expect("no reset while all is not read");
            match peer.try_read(&mut buffer) {
                None => false,
                Some(Ok(0)) => true,
                Some(Ok(read)) => {
                    got.extend_from_slice(&buffer[..read]);
                    false
                }
                Some(Err(error)) => panic!("{error} after {} bytes", got.len()),
            }
        });
        assert_same(&got, pattern(MIB));
        assert!(sent > MIB, "only {sent} bytes were read and discarded");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
    });
}

#[test]
fn a_close_while_paused_does_not_reset_what_the_peer_sent() {
    each_kind(|kind| {
        let mut world = World::new();
        let address =
            world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Does::new().on_open(|conn| conn.pause()));
        let mut peer = world.dial(&address);
        let sent = peer.write_some(pattern(100 * KIB)).expect("a write");
        assert!(sent > 0);
        world.until_open(1);
        world.turns(5);
        let id = world.log.id(0);
        on_other(&mut world, id, |other| {
            other.write(b"too much").expect("room");
            other.close();
        });
        assert_eq!(peer.read_to_end_while(&mut world).expect("no reset"), b"too much");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
        assert_eq!(world.log.shown(0), 0);
    });
}

#[test]
fn a_lingering_close_ends_some_time_after_the_peers_last_byte() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let limits = Limits { linger_timeout: millis(400), ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| Does::new().on_open(|conn| conn.close()));
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        let (since, mut last) = (Instant::now(), Instant::now());
        while since.elapsed() < millis(900) {
            last = Instant::now();
            peer.send_all_while(&mut world, b"x");
            turn_for(&mut world, millis(10));
            assert_eq!(world.reactor().connections(), 1, "cut after {:?} although the peer sends", since.elapsed());
        }
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Linger)]);
        assert!(last.elapsed() > millis(390), "{:?}", last.elapsed());
    });
}

#[test]
fn a_lingering_close_ends_in_all_even_if_the_peer_never_stops() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let limits = Limits { linger_timeout: millis(150), linger_total: millis(250), ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| Does::new().on_open(|conn| conn.close()));
        let since = Instant::now();
        let mut peer = world.dial(&address);
        world.until_open(1);
        world.until("the linger to end", |world| {
            let _ = peer.write_some(b"x");
            world.reactor().connections() == 0
        });
        assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::Linger)]);
        assert!(since.elapsed() > millis(240), "{:?}", since.elapsed());
    });
}

#[test]
fn an_abort_drops_what_waits_and_resets() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                conn.write(pattern(MIB)).expect("room");
                conn.abort();
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"?");
        assert_eq!(world.until_empty_after_open(), [Reason::Aborted]);
        let end = peer.read_to_end_while(&mut world);
        match kind {
            // A Unix socket has no reset of its own; but not all may have come.
            Kind::Unix => assert!(end.is_ok_and(|bytes| bytes.len() < MIB)),
            kind if kind.is_unix() => assert_eq!(end.expect_err("a truncation").kind(), ErrorKind::UnexpectedEof),
            _ => assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset),
        }
    });
}

// --- time ---------------------------------------------------------------------------------------------------------

#[test]
fn output_that_does_not_move_ends_the_connection() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { write_stall_timeout: millis(80), ..Limits::default() };
        let address = world.listen(kind, tight(limits), |_: &Conn<'_>| {
            Does::new().on_open(|conn| conn.write(pattern(MIB)).expect("room"))
        });
        let since = Instant::now();
        let peer = world.dial(&address);
        world.until_open(1);
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::WriteStall)]);
        assert!(since.elapsed() >= millis(80), "{:?}", since.elapsed());
        drop(peer);
    });
}

#[test]
fn a_close_to_a_peer_that_does_not_read_ends_with_the_write_stall() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { write_stall_timeout: millis(80), ..Limits::default() };
        let address = world.listen(kind, tight(limits), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(pattern(MIB)).expect("room");
                conn.close();
            })
        });
        let peer = world.dial(&address);
        assert_eq!(world.until_empty_after_open(), [Reason::Timeout(Expiry::WriteStall)]);
        drop(peer);
    });
}

trait UntilEmpty {
    fn until_empty_after_open(&mut self) -> Vec<Reason>;
}

impl UntilEmpty for World {
    /// As `until_empty`, but not before the first connection was there.
    fn until_empty_after_open(&mut self) -> Vec<Reason> {
        self.until("a connection", |world| world.log.made() > 0);
        self.until_empty()
    }
}

#[test]
fn slow_output_that_moves_is_not_cut() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let limits = Limits { write_stall_timeout: millis(250), ..Limits::default() };
        let address = world.listen(kind, tight(limits), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(pattern(MIB / 2)).expect("room");
                conn.close();
            })
        });
        let mut peer = world.dial(&address);
        let (mut got, mut buffer) = (Vec::new(), vec![0; 16 * KIB]);
        let (since, mut ended) = (Instant::now(), false);
        while !ended {
            turn_for(&mut world, millis(20));
            let mut taken = 0;
            while taken < buffer.len() {
                match peer.try_read(&mut buffer[taken..]) {
                    None => break,
                    Some(Ok(0)) => {
                        ended = true;
                        break;
                    }
                    Some(read) => taken += read.expect("no reset"),
                }
            }
            got.extend_from_slice(&buffer[..taken]);
        }
        assert_same(&got, pattern(MIB / 2));
        assert!(since.elapsed() > millis(300), "it was over too soon: the test proves nothing");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
    });
}

#[test]
fn a_lifetime_ends_a_busy_connection_and_flushes_what_it_said() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let limits = Limits { lifetime: Some(millis(400)), ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| Echo);
        let since = Instant::now();
        let mut peer = world.dial(&address);
        world.until_open(1);
        let (mut sent, mut got, mut buffer) = (0, 0, [0; 64]);
        world.until("the end", |_| {
            if sent == got {
                sent += peer.write_some(b"x").unwrap_or(0);
            }
            match peer.try_read(&mut buffer) {
                None => false,
                Some(Ok(0)) => true,
                Some(read) => {
                    got += read.expect("no reset");
                    false
                }
            }
        });
        assert!(since.elapsed() > millis(395) && got > 2, "{:?}, {got}", since.elapsed());
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Timeout(Expiry::Lifetime)]);
    });
}

#[test]
fn an_idle_timeout_ends_only_the_idle_connection() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let limits = Limits { idle_timeout: Some(millis(400)), ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| Echo);
        let (mut busy, mut idle) = (world.dial(&address), world.dial(&address));
        world.until_open(2);
        let since = Instant::now();
        while since.elapsed() < millis(900) {
            busy.send_all_while(&mut world, b"x");
            assert_eq!(busy.read_exact_while(&mut world, 1), b"x");
        }
        assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::Idle)]);
        assert_eq!(idle.read_to_end_while(&mut world).expect("a clean end"), b"");
        busy.send_all_while(&mut world, b"y");
        assert_eq!(busy.read_exact_while(&mut world, 1), b"y");
    });
}

#[test]
fn a_timer_comes_once_not_early_and_may_be_replaced_or_cleared() {
    each_kind(|kind| {
        let mut world = World::new();
        let came = shared(Vec::new());
        let told = came.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            let mut made = None;
            let opened = shared(Instant::now());
            let since = opened.clone();
            Does::new()
                .on_open(move |conn| {
                    *since.borrow_mut() = conn.now();
                    conn.set_timer(Duration::ZERO);
                    conn.set_timer(millis(60));
                })
                .on_timer(move |conn| {
                    let count = told.borrow().len();
                    told.borrow_mut().push(conn.now() - *opened.borrow());
                    match count {
                        // Zero: at once, but in a turn of its own.
                        0 => {
                            made = Some(conn.context().counters().turns);
                            conn.set_timer(Duration::ZERO);
                        }
                        1 => {
                            assert!(made < Some(conn.context().counters().turns));
                            conn.set_timer(millis(5));
                            conn.clear_timer();
                        }
                        _ => unreachable!("a timer that was cleared came"),
                    }
                })
        });
        let peer = world.dial(&address);
        world.until("two timers", |_| came.borrow().len() == 2);
        turn_for(&mut world, millis(30));
        let came = came.borrow();
        assert_eq!(came.len(), 2);
        assert!(came[0] >= millis(60) && came[1] < came[0] + millis(50), "{came:?}");
        drop(peer);
    });
}

#[test]
fn the_longest_timer_never_comes_and_does_not_wake_the_reactor() {
    each_plain_kind("the timers ask once more after a handshake", |kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_open(|conn| conn.set_timer(Duration::MAX))
        });
        let peer = world.dial(&address);
        world.until_open(1);
        world.turns(5);
        assert_eq!(world.reactor().next_deadline(), None);
        assert_eq!(world.log.said(0), [Said::Open]);
        drop(peer);
    });
}

#[test]
fn the_longest_limits_never_end_a_connection() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits {
            connect_timeout: Duration::MAX,
            handshake_timeout: Duration::MAX,
            write_stall_timeout: Duration::MAX,
            idle_timeout: Some(Duration::MAX),
            lifetime: Some(Duration::MAX),
            linger_timeout: Duration::MAX,
            linger_total: Duration::MAX,
            ..Limits::default()
        };
        let address = world.listen(kind, tight(limits), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(pattern(MIB)).expect("room");
                conn.close();
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        world.turns(10);
        assert_same(&peer.read_to_end_while(&mut world).expect("a clean end"), pattern(MIB));
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
    });
}

/// A relay to an echo server hung: output from elsewhere stopped the reading of its peer, on both sides at once.
#[test]
fn output_from_elsewhere_does_not_stop_the_reading() {
    each_kind(|kind| {
        let mut world = World::new();
        let address =
            world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Does::new().on_data(|_, data| data.len()));
        let mut peer = world.dial(&address);
        world.until_open(1);
        let id = world.log.id(0);
        // Far above the high mark, whatever the kernel takes.
        let mut cx = world.reactor().context();
        let mut link = cx.other(id).expect("a connection");
        while link.unsent_bytes() < 512 * 1024 {
            assert!(link.write_some(&[7; 65536]) > 0);
        }
        world.turns(3);
        peer.send_all_while(&mut world, b"heard all the same");
        world.until("the peer is read", |world| world.log.shown(0) == 18);
    });
}
