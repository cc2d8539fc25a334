//! Bytes that go in come out, whole and in order, and each side can end.

use crate::support::{Echo, Hooks, Peer, Said, World, carried, each_kind};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use windlass::{Conn, ListenConfig, Reason};

/// Bytes of which no two neighbourhoods look alike, the same ones each time; eight at a step, which a debug build feels.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    let (mut bytes, mut state) = (Vec::with_capacity(count + 8), 0x9E37_79B9_7F4A_7C15u64);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// The largest echo: 64 MiB, less where the compiler does not help.
const LARGE: usize = if cfg!(debug_assertions) { 16 << 20 } else { 64 << 20 };

/// Sends all of `bytes` and reads them back at the same time, from where the peer stands.
fn exchange(world: &mut World, peer: &mut Peer, bytes: &[u8], mut sent: usize) {
    let (mut got, mut buffer) = (0, vec![0; 256 * 1024]);
    world.until("the echo to be whole", |_| {
        sent += peer.write_some(&bytes[sent..]).expect("a write");
        while let Some(result) = peer.try_read(&mut buffer) {
            let count = result.expect("a read");
            assert!(count > 0, "the end came after {got} bytes");
            assert!(bytes[got..].starts_with(&buffer[..count]), "other bytes came back near {got}");
            got += count;
        }
        got == bytes.len()
    });
}

fn echo_of(count: usize) {
    let bytes = pattern(count);
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        exchange(&mut world, &mut peer, &bytes, 0);
        peer.finish();
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        let counters = world.reactor().snapshot();
        assert!(carried(kind, counters.bytes_in, count as u64, 1), "{counters:?}");
        assert!(carried(kind, counters.bytes_out, count as u64, 1), "{counters:?}");
    });
}

#[test]
fn one_byte_comes_back() {
    echo_of(1);
}

#[test]
fn many_bytes_come_back() {
    echo_of(64 * 1024);
}

#[test]
fn very_many_bytes_come_back() {
    echo_of(LARGE);
}

#[test]
fn a_peer_that_reads_late_holds_no_more_than_the_queues_and_loses_nothing() {
    let bytes = pattern(LARGE);
    each_kind(|kind| {
        let mut world = World::new();
        let mut config = ListenConfig::default();
        config.socket.receive_buffer_bytes = Some(64 * 1024);
        config.socket.send_buffer_bytes = Some(64 * 1024);
        let bound = config.limits.outbox_bytes_max + config.limits.inbox_bytes_max;
        let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        peer.0.set_send_buffer_size(64 * 1024).expect("SO_SNDBUF");
        peer.0.set_recv_buffer_size(64 * 1024).expect("SO_RCVBUF");
        // Before the end of its handshake it would seem to be stuck.
        world.until_open(1);
        let (mut sent, mut stuck) = (0, 0);
        world.until("the peer to be stuck", |_| {
            let count = peer.write_some(&bytes[sent..]).expect("a write");
            sent += count;
            stuck = if count == 0 { stuck + 1 } else { 0 };
            stuck == 100
        });
        // Four kernel buffers, which Linux doubles, are between the two and not ours.
        assert!(sent <= bound + 4 * 2 * 64 * 1024, "{sent} bytes were taken from a peer that reads nothing");
        exchange(&mut world, &mut peer, &bytes, sent);
        drop(peer);
        world.until_empty();
    });
}

/// A handler that answers the end of its input with `answer` and closes.
fn answering(answer: Vec<u8>) -> Hooks {
    let rest = Rc::new(RefCell::new((answer, 0)));
    let again = rest.clone();
    let go_on = move |conn: &mut Conn<'_>, rest: &RefCell<(Vec<u8>, usize)>| {
        let (answer, sent) = &mut *rest.borrow_mut();
        *sent += conn.write_some(&answer[*sent..]);
        if *sent == answer.len() {
            conn.close();
        }
    };
    Hooks::new().end(move |conn, _| go_on(conn, &rest)).writable(move |conn| go_on(conn, &again))
}

#[test]
fn a_peer_that_half_closes_gets_its_whole_answer() {
    let answer = pattern(8 << 20);
    each_kind(|kind| {
        let mut world = World::new();
        let of_each = answer.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| answering(of_each.clone()));
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"everything, please");
        peer.finish();
        world.until("the end to be told", |world| world.log.made() == 1 && world.log.said(0).contains(&Said::End(0)));
        world.turns(20);
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        assert!(got == answer, "{} of {} bytes came", got.len(), answer.len());
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    });
}

#[test]
fn after_finish_input_is_still_delivered() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().open(|conn| {
                conn.write(b"speak").expect("room");
                conn.finish();
                assert!(matches!(conn.write(b"more"), Err(windlass::WriteError::NotOpen)));
            })
        });
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"speak");
        let words = pattern(300_000);
        peer.send_all_while(&mut world, &words);
        world.until("all to be delivered", |world| world.log.shown(0) == words.len());
        peer.finish();
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        assert!(!world.log.said(0).contains(&Said::Writable));
    });
}

#[test]
fn close_delivers_all_output_although_the_peer_still_sends() {
    each_kind(|kind| {
        let mut world = World::new();
        let last_words = pattern(900_000);
        let of_each = last_words.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let words = of_each.clone();
            Hooks::new().data(move |conn, _| {
                conn.write(&words).expect("room");
                conn.close();
                0
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, &pattern(2 << 20));
        let got = peer.read_to_end_while(&mut world).expect("an end, not a reset");
        assert!(got == last_words, "{} of {} bytes came", got.len(), last_words.len());
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
        assert_eq!(world.log.said(0).len(), 3, "after close only on_close follows: {:?}", world.log.said(0));
    });
}

#[test]
fn abort_drops_what_waits_and_resets() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().data(|conn, _| {
                conn.write(&pattern(1000)).expect("room");
                conn.abort();
                0
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"go");
        let end = peer.read_to_end_while(&mut world);
        assert_eq!(world.until_empty(), [Reason::Aborted]);
        if kind.is_unix() {
            // A Unix socket has no reset of its own.
            assert!(end.is_err() || end.is_ok_and(|bytes| bytes.len() <= 1000));
        } else {
            assert_eq!(end.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_reset_by_the_peer_is_told_at_once() {
    for paused in [false, true] {
        each_kind(|kind| {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
                Hooks::new().open(move |conn| {
                    conn.write(b"unread").expect("room");
                    if paused {
                        conn.pause();
                    }
                })
            });
            let peer = world.dial(&address);
            world.until_open(1);
            // The greeting stays unread, so that a Unix socket resets, too.
            peer.reset();
            assert_eq!(world.until_empty(), [Reason::Reset]);
            assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Reset)]);
        });
    }
}

#[test]
fn callbacks_come_in_their_order() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().open(|conn| conn.set_timer(std::time::Duration::from_millis(1)))
        });
        let mut peer = world.dial(&address);
        world.until("the timer", |world| world.log.made() == 1 && world.log.said(0).len() == 2);
        peer.send_all_while(&mut world, b"hello");
        world.until("the bytes", |world| world.log.said(0).len() == 3);
        peer.finish();
        let reasons = world.until_empty();
        assert_eq!(reasons, [Reason::PeerClosed]);
        let close = Said::Close(Reason::PeerClosed);
        assert_eq!(world.log.said(0), [Said::Open, Said::Timer, Said::Data(5), Said::End(0), close]);
    });
}

#[test]
fn after_close_in_on_open_only_on_close_follows() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().open(|conn| {
                conn.set_timer(std::time::Duration::ZERO);
                conn.write(b"bye").expect("room");
                conn.close();
                assert_eq!(conn.room(), 0);
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"bye");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
        assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Local)]);
    });
}
