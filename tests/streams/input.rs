//! What `on_data` is shown, and what waits for it.

use super::bytes::pattern;
use crate::support::{Hooks, Peer, Said, Sink, World, each_kind};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::rc::Rc;
use windlass::{Conn, Error, Limits, Link, ListenConfig, Reason, WriteError};

#[test]
fn a_frame_that_comes_in_pieces_is_shown_whole_and_once() {
    const FRAME: usize = 100_000;
    each_kind(|kind| {
        let mut world = World::new();
        let frames = Rc::new(RefCell::new(Vec::new()));
        let all = frames.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let frames = frames.clone();
            let hooks = Hooks::new().open(|conn| conn.need(FRAME).expect("a need that fits"));
            hooks.data(move |conn, data| {
                conn.need(FRAME).expect("a need that fits");
                frames.borrow_mut().push(data[..FRAME].to_vec());
                FRAME
            })
        });
        let mut peer = world.dial(&address);
        let bytes = pattern(FRAME * 3);
        for piece in bytes.chunks(30_000) {
            peer.send_all_while(&mut world, piece);
            world.turns(2);
        }
        world.until("three frames", |_| all.borrow().len() == 3);
        assert!(all.borrow().concat() == bytes);
        peer.send_all_while(&mut world, b"a rest");
        peer.finish();
        world.until("the end", |world| world.log.said(0).contains(&Said::End(6)));
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        assert_eq!(world.log.said(0).iter().filter(|said| matches!(said, Said::Data(_))).count(), 3);
    });
}

#[test]
fn what_is_left_is_shown_again_at_once_and_what_is_not_used_with_more() {
    each_kind(|kind| {
        let mut world = World::new();
        let shown = Rc::new(RefCell::new(Vec::new()));
        let all = shown.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let shown = shown.clone();
            Hooks::new().data(move |_, data| {
                shown.borrow_mut().push(data.to_vec());
                // Two bytes at a time, a single one not at all.
                if data.len() < 2 { 0 } else { 2 }
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abcde");
        world.until("the first bytes", |_| all.borrow().len() == 3);
        world.turns(5);
        assert_eq!(*all.borrow(), [&b"abcde"[..], b"cde", b"e"]);
        peer.send_all_while(&mut world, b"f");
        world.until("the last bytes", |_| all.borrow().len() == 4);
        assert_eq!(all.borrow()[3], b"ef");
    });
}

#[test]
fn a_paused_connection_is_shown_nothing_until_it_is_resumed() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new()
                .data(|conn, data| {
                    conn.pause();
                    conn.set_timer(std::time::Duration::from_millis(30));
                    data.len().min(3)
                })
                .timer(|conn| conn.resume())
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abcdef");
        world.until("the first bytes", |world| world.log.made() == 1 && world.log.said(0).len() == 2);
        // The end waits behind the bytes that wait.
        peer.finish();
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        let close = Said::Close(Reason::PeerClosed);
        let expected = [Said::Open, Said::Data(6), Said::Timer, Said::Data(3), Said::Timer, Said::End(0), close];
        let mut said = world.log.said(0);
        // Heard of while it was paused, the first time or the second.
        said.remove(said.iter().position(|said| *said == Said::HangUp).expect("the peer's end was heard of"));
        assert_eq!(said, expected);
    });
}

#[test]
fn a_paused_peer_is_not_read() {
    each_kind(|kind| {
        let mut world = World::new();
        let address =
            world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Hooks::new().open(|conn| conn.pause()));
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, &pattern(10_000));
        world.until_open(1);
        world.turns(20);
        // A handshake is read, and what came with its end.
        assert!(kind.is_tls() || world.reactor().snapshot().bytes_in == 0);
        assert_eq!(world.log.shown(0), 0);
        let id = world.log.id(0);
        world.reactor().context().other(id).expect("it lives").resume();
        world.until("the bytes", |world| world.log.shown(0) == 10_000);
    });
}

#[test]
fn a_handler_that_leaves_too_much_loses_its_connection() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { inbox_bytes_max: 10_000, ..Limits::default() };
        let address = world.listen(kind, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| {
            Hooks::new().data(|conn, _| {
                let refused = conn.need(10_001).expect_err("a need above the limit");
                assert!(matches!(refused, Error::Need { asked: 10_001, limit: 10_000 }), "{refused}");
                0
            })
        });
        let mut peer = world.dial(&address);
        let mut other = world.dial(&address);
        other.send_all_while(&mut world, &pattern(9_000));
        peer.send_all_while(&mut world, &pattern(12_000));
        // A reset is sent by aborts and deadlines only (A9), also where the kernel holds bytes that nobody read.
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end, not a reset"), b"");
        drop(peer);
        world.until("the flooder to be gone", |world| world.log.reasons() == [Reason::InboxLimit]);
        let told = Reason::InboxLimit.to_string();
        assert!(["inbox_bytes_max", "relay", "pause"].iter().all(|cause| told.contains(cause)), "{told}");
        world.until("the one below the limit to stay", |world| world.log.open() == 1);
    });
}

#[test]
fn to_use_more_than_was_shown_is_a_panic_of_the_handler() {
    each_kind(|kind| {
        let mut world = World::new();
        let address =
            world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Hooks::new().data(|_, data| data.len() + 1));
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abc");
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::HandlerPanicked]);
        assert_eq!(world.log.said(0), [Said::Open, Said::Data(3), Said::Close(Reason::HandlerPanicked)]);
        assert_eq!(world.reactor().snapshot().panics, 1);
    });
}

#[test]
fn a_rest_left_by_a_short_write_is_shown_again_after_on_writable() {
    each_kind(|kind| {
        let mut world = World::new();
        // Three bytes out for each byte in, and a peer that reads late: on_data can use only part of what it is shown.
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().data(|conn, data| {
                let fits = data.len().min(conn.room() / 3);
                let thrice: Vec<u8> = data[..fits].iter().flat_map(|byte| [*byte; 3]).collect();
                conn.write(&thrice).expect("room");
                if fits < data.len() {
                    let refused = conn.write(&vec![0; conn.room() + 1]).expect_err("more than there is room for");
                    assert!(matches!(refused, WriteError::Full { .. }), "{refused}");
                }
                fits
            })
        });
        let bytes = pattern(2 << 20);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let (mut sent, mut turns, mut got) = (0, 0, Vec::new());
        let mut buffer = vec![0; 64 * 1024];
        world.until("every byte three times", |_| {
            sent += peer.write_some(&bytes[sent..]).expect("a write");
            turns += 1;
            if turns <= 50 {
                return false;
            }
            while let Some(count) = peer.try_read(&mut buffer) {
                got.extend_from_slice(&buffer[..count.expect("a read")]);
            }
            got.len() >= 3 * bytes.len()
        });
        assert!(got.chunks(3).zip(&bytes).all(|(three, byte)| three == [*byte; 3]));
        assert!(world.log.said(0).contains(&Said::Writable), "the outbox was never full: the test proves nothing");
        drop(peer);
    });
}

/// A Unix read ends where a descriptor was passed along. It was taken for the last of the input, and what lay behind it was
/// shown when the peer spoke again: a peer that waited for its answer waited for good.
#[test]
fn bytes_behind_a_passed_descriptor_are_shown_at_once() {
    each_kind(|kind| {
        if !kind.is_unix() {
            return;
        }
        for passed in [1, 2, 5] {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
            let mut peer = world.dial(&address);
            world.until_open(1);
            peer.send_all_while(&mut world, b"hello");
            world.until("the first bytes", |world| world.log.shown(0) == 5);
            let mut sent = 5;
            for _ in 0..passed {
                peer.write_with_a_descriptor(b"descriptor");
                sent += 10;
            }
            sent += peer.write_some(b"request").expect("a write");
            world.until("all bytes", |world| world.log.shown(0) == sent);
            peer.write_with_a_descriptor(b"once more");
            world.until("the last bytes", |world| world.log.shown(0) == sent + 9);
        }
    });
}

#[test]
fn an_end_behind_a_passed_descriptor_is_told_at_once() {
    each_kind(|kind| {
        if !kind.is_unix() {
            return;
        }
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.write_with_a_descriptor(b"descriptor");
        peer.write_some(b"request").expect("a write");
        peer.finish();
        world.until("the end", |world| world.log.said(0).contains(&Said::End(0)));
        assert_eq!(world.log.shown(0), 17);
    });
}

/// With SO_PASSCRED a read ends where the next bytes are another process's, and nothing was passed along.
#[test]
#[cfg(target_os = "linux")]
fn bytes_of_another_process_are_shown_at_once_where_credentials_are_asked_for() {
    let mut world = World::new();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    rustix::net::sockopt::set_socket_passcred(&ours, true).expect("SO_PASSCRED");
    let link = Link::new(ours, Limits::default()).expect("a link");
    let handler = world.log.record(Sink);
    world.reactor().context().adopt(link, handler).expect("adopted");
    let mut peer = Peer::plain(theirs.try_clone().expect("a duplicate"));
    world.until_open(1);
    peer.send_all_while(&mut world, b"hello");
    world.until("the first bytes", |world| world.log.shown(0) == 5);
    peer.write_some(b"ours").expect("a write");
    let out = OwnedFd::from(theirs.try_clone().expect("a duplicate"));
    let child = Command::new("printf").arg("theirs").stdout(out).status().expect("a process");
    assert!(child.success());
    peer.write_some(b"ours again").expect("a write");
    world.until("all bytes", |world| world.log.shown(0) == 5 + 4 + 6 + 10);
}
