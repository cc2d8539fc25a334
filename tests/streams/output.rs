//! What a connection may be told to send, from here and from other threads, and what bounds it.

use super::bytes::pattern;
use crate::support::{Hooks, Said, Sink, World, each_kind};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use windlass::{Bytes, Conn, Error, Limits, ListenConfig, Reason, Undelivered, WriteError};

/// Small kernel buffers and a small outbox, so that both are soon full.
pub(super) fn narrow() -> ListenConfig {
    let limits = Limits {
        inbox_bytes_max: 64 * 1024,
        outbox_bytes_max: 192 * 1024,
        outbox_bytes_high: 64 * 1024,
        outbox_bytes_low: 16 * 1024,
        ..Limits::default()
    };
    let mut config = ListenConfig { limits, ..ListenConfig::default() };
    config.socket.send_buffer_bytes = Some(16 * 1024);
    config
}

/// An end that is told before a rest whose answer had no room loses the answer: the handler closes, or the peer reads on.
#[test]
fn an_answer_that_was_refused_whole_comes_before_the_end() {
    each_kind(|kind| {
        let mut world = World::new();
        // Below the high mark nothing throttles: the request comes while there is no room for its answer.
        let mut config = narrow();
        config.limits.inbox_bytes_max = 4 * 1024;
        config.limits.outbox_bytes_high = 160 * 1024;
        config.limits.outbox_bytes_low = 4 * 1024;
        let address = world.listen(kind, config, |_: &Conn<'_>| {
            Hooks::new()
                .open(|conn| while conn.write_some(&[b'.'; 64 * 1024]) > 0 {})
                .data(|conn, data| if conn.write(data).is_ok() { data.len() } else { 0 })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, b"abc");
        peer.finish();
        world.until("the request to be shown, and its answer refused", |world| {
            world.log.said(0).iter().any(|said| matches!(said, Said::Data(_)))
        });
        world.turns(20);
        let got = peer.read_to_end_while(&mut world).expect("an end in order");
        assert!(got.ends_with(b"abc"), "the answer is lost: {:?}", world.log.said(0));
    });
}

#[test]
fn a_slow_reader_is_not_read_above_the_high_mark_and_again_below_the_low_one() {
    each_kind(|kind| {
        let mut world = World::new();
        let config = narrow();
        let limits = config.limits.clone();
        let (most, pauses) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (max, count) = (most.clone(), pauses.clone());
        let address = world.listen(kind, config, move |_: &Conn<'_>| {
            let (limits, most, pauses) = (limits.clone(), most.clone(), pauses.clone());
            let mut above = false;
            Hooks::new().data(move |conn, data| {
                let waits = conn.unsent_bytes();
                assert!(waits <= limits.outbox_bytes_high, "read with {waits} bytes waiting");
                assert!(!above || waits <= limits.outbox_bytes_low, "read too soon, with {waits} bytes waiting");
                conn.write(data).expect("below the high mark an answer is never refused");
                above = conn.unsent_bytes() > limits.outbox_bytes_high;
                pauses.set(pauses.get() + usize::from(above));
                most.set(most.get().max(conn.unsent_bytes()));
                data.len()
            })
        });
        let bytes = pattern(3 << 20);
        let mut peer = world.dial(&address);
        // Before the end of its handshake it would seem to be stuck.
        world.until_open(1);
        let (mut sent, mut stuck) = (0, 0);
        world.until("the peer to be stuck", |_| {
            let count = peer.write_some(&bytes[sent..]).expect("a write");
            sent += count;
            stuck = if count == 0 { stuck + 1 } else { 0 };
            stuck == 50
        });
        let taken = world.reactor().snapshot().bytes_in;
        world.turns(20);
        assert_eq!(world.reactor().snapshot().bytes_in, taken, "a stuck peer is not read");
        assert_eq!(world.log.said(0).iter().filter(|said| **said == Said::Writable).count(), 0);
        let (mut got, mut buffer) = (0, vec![0; 8 * 1024]);
        world.until("the echo to be whole", |_| {
            sent += peer.write_some(&bytes[sent..]).expect("a write");
            // A little each turn, so that it stays slow.
            for _ in 0..8 {
                let Some(count) = peer.try_read(&mut buffer) else { break };
                let count = count.expect("a read");
                assert!(bytes[got..].starts_with(&buffer[..count]), "other bytes came back near {got}");
                got += count;
            }
            got == bytes.len()
        });
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        assert!(max.get() <= 192 * 1024, "{} bytes waited", max.get());
        let writables = world.log.said(0).iter().filter(|said| **said == Said::Writable).count();
        assert!(count.get() > 1, "the high mark was never passed twice: the test proves nothing");
        assert!(writables >= count.get() - 1, "{writables} on_writable for {} pauses", count.get());
    });
}

#[test]
fn a_write_is_taken_whole_or_refused_whole() {
    each_kind(|kind| {
        let mut world = World::new();
        let total = Rc::new(Cell::new(0));
        let taken = total.clone();
        let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
            let total = total.clone();
            Hooks::new().open(move |conn| {
                let most = 192 * 1024;
                let too_long = conn.write(&vec![0; most + 1]).expect_err("longer than the outbox");
                assert!(matches!(too_long, WriteError::TooLong { limit, .. } if limit == most), "{too_long}");
                loop {
                    let room = conn.room();
                    match conn.write(&[7; 50_000]) {
                        Ok(()) => total.set(total.get() + 50_000),
                        Err(WriteError::Full { asked, room: told }) => {
                            assert_eq!((asked, told), (50_000, room));
                            break;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
                assert!(matches!(conn.write_vectored(&[&[0; 30_000], &[0; 30_000]]), Err(WriteError::Full { .. })));
                assert!(matches!(conn.write_bytes(Bytes::from(vec![0; 60_000])), Err(WriteError::Full { .. })));
                let room = conn.room();
                assert_eq!(conn.write_some(&[7; 60_000]), room);
                total.set(total.get() + room);
                // Room is told as if sealing took the most it can; what it took less is room again.
                while kind.is_tls() && conn.room() > 0 {
                    total.set(total.get() + conn.write_some(&[7; 60_000]));
                }
                assert_eq!((conn.room(), conn.write_some(b"x")), (0, 0));
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        let got = peer.read_exact_while(&mut world, taken.get());
        assert!(got.iter().all(|byte| *byte == 7), "a refused write left bytes behind");
        world.until("the debt to be paid", |world| world.log.said(0).contains(&Said::Writable));
        world.turns(10);
        assert_eq!(world.log.said(0), [Said::Open, Said::Writable], "several refusals, one on_writable");
    });
}

#[test]
fn shared_bytes_reach_every_connection() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peers: Vec<_> = (0..20).map(|_| world.dial(&address)).collect();
        world.until_open(20);
        let news = Bytes::from(pattern(500_000));
        for serial in 0..20 {
            world.send(serial, news.clone());
        }
        for peer in &mut peers {
            assert!(peer.read_exact_while(&mut world, news.len()) == news);
        }
        drop(peers);
        world.until_empty();
        assert!(news.is_unique(), "somebody still holds the bytes");
    });
}

#[test]
fn writers_on_several_threads_keep_each_message_whole_and_in_order() {
    const WRITERS: u8 = 4;
    const MESSAGES: u32 = 500;
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let (id, remote) = (world.log.id(0), world.reactor().remote());
        let threads: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let remote = remote.clone();
                std::thread::spawn(move || {
                    for number in 0..MESSAGES {
                        // Writer, number, length, and that many bytes of the writer's; 400 bytes on the average.
                        let len = (number * 7 + u32::from(writer)) % 800;
                        let mut message = vec![writer];
                        message.extend(number.to_be_bytes());
                        message.extend(len.to_be_bytes());
                        message.resize(9 + len as usize, writer);
                        remote.send(id, message.into()).expect("room in the mailbox");
                    }
                })
            })
            .collect();
        let mut next = [0; WRITERS as usize];
        for _ in 0..u32::from(WRITERS) * MESSAGES {
            let head = peer.read_exact_while(&mut world, 9);
            let number = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            let len = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            assert_eq!(number, next[usize::from(head[0])], "a message of {} is out of order", head[0]);
            next[usize::from(head[0])] += 1;
            let body = peer.read_exact_while(&mut world, len as usize);
            assert!(body.iter().all(|byte| *byte == head[0]), "a message of {} is torn", head[0]);
        }
        threads.into_iter().for_each(|thread| thread.join().expect("a writer"));
        assert_eq!(next, [MESSAGES; WRITERS as usize]);
        assert_eq!(world.reactor().snapshot().undelivered, 0);
    });
}

#[test]
fn what_a_remote_cannot_deliver_is_told_with_the_bytes_and_why() {
    each_kind(|kind| {
        let mut world = World::new();
        let told = Rc::new(RefCell::new(Vec::new()));
        let all = told.clone();
        world.reactor().on_undelivered(move |what, why| {
            let Undelivered::Bytes(id, bytes) = what else { panic!("{what:?}") };
            all.borrow_mut().push((id, bytes, why.to_string()));
        });
        let address = world.listen(kind, narrow(), |_: &Conn<'_>| Hooks::new().open(|conn| conn.finish()));
        let peer = world.dial(&address);
        world.until_open(1);
        let id = world.log.id(0);
        world.send(0, "finished");
        world.until("one to be told", |_| told.borrow().len() == 1);
        drop(peer);
        world.until_empty();
        world.send(0, "gone");
        world.until("two to be told", |_| told.borrow().len() == 2);

        let told = told.borrow();
        assert_eq!((told[0].0, &told[0].1[..], told[0].2.clone()), (id, &b"finished"[..], Error::NotOpen.to_string()));
        assert_eq!((told[1].0, &told[1].1[..], told[1].2.clone()), (id, &b"gone"[..], Error::Gone.to_string()));
        assert_eq!(world.reactor().snapshot().undelivered, 2);
    });
}

#[test]
fn a_remote_is_refused_what_has_no_room_and_the_rest_arrives() {
    each_kind(|kind| {
        let mut world = World::new();
        let told = Rc::new(RefCell::new(Vec::new()));
        let all = told.clone();
        world.reactor().on_undelivered(move |what, why| {
            let Undelivered::Bytes(_, bytes) = what else { panic!("{what:?}") };
            assert!(matches!(why, Error::Full { .. }), "{why}");
            all.borrow_mut().push(bytes.len());
        });
        let address = world.listen(kind, narrow(), |_: &Conn<'_>| Sink);
        let mut peer = world.dial(&address);
        world.until_open(1);
        (0..100).for_each(|_| world.send(0, vec![7; 20_000]));
        world.until("some to be refused", |_| !told.borrow().is_empty());
        world.turns(5);
        let refused: usize = told.borrow().iter().sum();
        assert_eq!(peer.read_exact_while(&mut world, 100 * 20_000 - refused), vec![7; 2_000_000 - refused]);
        world.turns(5);
        assert!(peer.try_read(&mut [0; 16]).is_none(), "more came than was taken");
    });
}

#[test]
fn ids_are_of_no_use_after_the_end_nor_elsewhere() {
    each_kind(|kind| {
        let mut world = World::new();
        let mut elsewhere = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        drop(world.dial(&address));
        world.until("it to come and go", |world| world.log.reasons().len() == 1);
        world.until_empty();
        let id = world.log.id(0);
        // The next connection may get the same slot; what is meant for the first must not reach it.
        let mut peer = world.dial(&address);
        world.until_open(1);
        assert_ne!(world.log.id(1), id);
        let remote = world.reactor().remote();
        remote.close(id).expect("a command");
        remote.abort(id).expect("a command");
        remote.finish(id).expect("a command");
        remote.send(id, "for the first".into()).expect("a command");
        assert!(world.reactor().context().other(id).is_none());
        world.turns(5);
        assert_eq!((world.log.open(), world.reactor().snapshot().undelivered), (1, 1));
        world.send(1, "for the second");
        assert_eq!(peer.read_exact_while(&mut world, 14), b"for the second");

        let strange = elsewhere.reactor().remote();
        let unsent = strange.send(world.log.id(1), "lost?".into()).expect_err("an id of another reactor");
        assert!(matches!(unsent.why, Error::Gone) && unsent.bytes == "lost?", "{unsent}");
        assert!(matches!(strange.close(world.log.id(1)), Err(Error::Gone)));
        assert!(elsewhere.reactor().context().other(world.log.id(1)).is_none());
    });
}
