//! File ranges among written bytes: their order, their bounds, and what becomes of files that change.

use super::bytes::pattern;
use crate::support::{Echo, Hooks, Said, World, each_kind};
use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use windlass::{Behind, Bytes, Conn, Limits, ListenConfig, Parts, Reason, WriteError};

fn file(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.into()
}

/// Small kernel buffers, so that most of what is sent waits.
fn narrow() -> ListenConfig {
    let mut config = ListenConfig::default();
    config.socket.send_buffer_bytes = Some(16 * 1024);
    config
}

fn part(bytes: &[u8], range: &Range<u64>) -> Vec<u8> {
    bytes[range.start as usize..range.end as usize].to_vec()
}

#[test]
fn bytes_and_ranges_arrive_in_the_order_in_which_they_were_queued() {
    each_kind(|kind| {
        let mut world = World::new();
        let bytes = pattern(1_500_000);
        let file = file(&bytes);
        let ranges = [0..1, 5..5, 100..8_000, 7..300_007, 0..1_500_000, 1_499_999..1_500_000, 8_192..16_384];
        let mut expected = Vec::new();
        for (number, range) in ranges.iter().enumerate() {
            expected.extend(vec![number as u8; 10]);
            expected.extend(part(&bytes, range));
            expected.extend(vec![number as u8; 20_000]);
            expected.extend(vec![number as u8; 5_000]);
        }
        let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
            let (file, ranges) = (file.clone(), ranges.clone());
            Hooks::new().open(move |conn| {
                for (number, range) in ranges.iter().enumerate() {
                    conn.write(&[number as u8; 10]).expect("room");
                    conn.send_file(file.clone(), range.clone()).expect("room");
                    conn.write(&[number as u8; 20_000]).expect("room");
                    conn.write_bytes(Bytes::from(vec![number as u8; 5_000])).expect("room");
                }
                conn.close();
            })
        });
        let mut peer = world.dial(&address);
        let got = peer.read_to_end_while(&mut world).expect("an end in order");
        assert!(got == expected, "{} of {} bytes, or others", got.len(), expected.len());
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::Local]);
    });
}

#[test]
fn a_long_range_goes_to_a_slow_reader_without_growing_and_both_sides_still_talk() {
    each_kind(|kind| {
        let mut world = World::new();
        let bytes = pattern(4 << 20);
        let (sent, most) = (file(&bytes), Rc::new(RefCell::new(0)));
        let weight = most.clone();
        let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
            let (sent, weight) = (sent.clone(), weight.clone());
            Hooks::new().open(move |conn| conn.send_file(sent.clone(), 0..4 << 20).expect("room")).data(
                move |conn, data| {
                    let queued = Limits::default().outbox_bytes_max - conn.room();
                    weight.replace_with(|most| (*most).max(queued));
                    conn.write(data).expect("room behind a file");
                    data.len()
                },
            )
        });
        let mut peer = world.dial(&address);
        let mut said = 0;
        let mut got = Vec::new();
        while got.len() < bytes.len() {
            if said < 100 {
                said += peer.write_some(b"x").expect("a write");
            }
            let count = (bytes.len() - got.len()).min(100_000);
            got.extend(peer.read_exact_while(&mut world, count));
        }
        assert!(got == bytes, "other bytes");
        assert_eq!(peer.read_exact_while(&mut world, said), vec![b'x'; said]);
        assert!(*most.borrow() <= 300 * 1024, "{} bytes waited in memory", most.borrow());
    });
}

#[test]
fn a_file_that_was_truncated_resets_its_connection_and_no_other() {
    each_kind(|kind| {
        let mut world = World::new();
        let file = file(&pattern(4 << 20));
        let sent = file.clone();
        let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
            let sent = sent.clone();
            Hooks::new().data(move |conn, data| match data {
                b"f" => {
                    conn.send_file(sent.clone(), 0..4 << 20).expect("room");
                    conn.close();
                    1
                }
                other => conn.write_some(other),
            })
        });
        let (mut peer, mut other) = (world.dial(&address), world.dial(&address));
        peer.send_all_while(&mut world, b"f");
        let begun = peer.read_exact_while(&mut world, 10_000);
        assert_eq!(begun, pattern(10_000));
        file.set_len(1 << 20).expect("truncated");
        let end = peer.read_to_end_while(&mut world);
        if !kind.is_unix() || kind.is_tls() {
            end.expect_err("what was promised cannot pass for whole");
        }
        world.until("the connection to end", |world| world.log.reasons() == [Reason::FileTruncated]);
        other.send_all_while(&mut world, b"well?");
        assert_eq!(other.read_exact_while(&mut world, 5), b"well?");
    });
}

#[test]
fn a_small_range_beyond_the_files_end_is_told_as_well() {
    each_kind(|kind| {
        let mut world = World::new();
        let file = file(b"short");
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let file = file.clone();
            Hooks::new().open(move |conn| {
                conn.write(b"length 6: ").expect("room");
                conn.send_file(file.clone(), 0..6).expect("a failure is no error of the call");
                assert!(matches!(conn.write(b"more"), Err(WriteError::NotOpen)));
            })
        });
        let _peer = world.dial(&address);
        world.until("the end", |world| !world.log.reasons().is_empty());
        assert_eq!(world.log.reasons(), [Reason::FileTruncated]);
    });
}

#[test]
fn what_cannot_be_sent_by_the_kernel_is_read_and_what_cannot_be_read_is_told() {
    each_kind(|kind| {
        let mut world = World::new();
        // sendfile(2) refuses files of /proc, and nobody can read a directory.
        let version = std::fs::read("/proc/version").expect("Linux");
        let length = version.len() as u64;
        // Bytes that wait keep the files from being gathered.
        let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
            Hooks::new()
                .open(move |conn| {
                    conn.write(&[b'x'; 200_000]).expect("room");
                    conn.send_file(File::open("/proc/version").expect("there"), 0..length).expect("room");
                })
                .data(|conn, data| {
                    conn.write(&[b'y'; 200_000]).expect("room");
                    conn.send_file(File::open("/").expect("there"), 0..9).expect("room");
                    data.len()
                })
        });
        let mut peer = world.dial(&address);
        assert!(peer.read_exact_while(&mut world, 200_000).iter().all(|byte| *byte == b'x'));
        assert_eq!(peer.read_exact_while(&mut world, version.len()), version);
        peer.send_all_while(&mut world, b"!");
        // The reset may overtake what was sent before it.
        let mut buffer = [0; 4096];
        world.until("the end", |_| {
            loop {
                match peer.try_read(&mut buffer) {
                    None => return false,
                    Some(Ok(0) | Err(_)) => return true,
                    Some(Ok(count)) => assert!(buffer[..count].iter().all(|byte| *byte == b'y')),
                }
            }
        });
        let eisdir = 21;
        assert_eq!(world.until_empty(), [Reason::FileUnreadable(eisdir)]);
    });
}

#[test]
fn ranges_are_refused_when_too_many_wait_and_on_writable_follows() {
    each_kind(|kind| {
        let mut world = World::new();
        let bytes = pattern(9_000);
        let file = file(&bytes);
        let taken = Rc::new(RefCell::new(0));
        let count = taken.clone();
        let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
            let (file, count) = (file.clone(), count.clone());
            Hooks::new().open(move |conn| {
                loop {
                    match conn.send_file(file.clone(), 0..9_000) {
                        Ok(()) => *count.borrow_mut() += 1,
                        Err(WriteError::Full { asked: 4096, room }) if room < 4096 => break,
                        Err(other) => panic!("{other}"),
                    }
                }
                let wrong = Range { start: 1, end: 0 };
                assert!(matches!(conn.send_file(file.clone(), wrong), Err(WriteError::Range(_))));
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        let many = *taken.borrow();
        assert!((250..=257).contains(&many), "{many} ranges waited");
        for _ in 0..many {
            assert!(peer.read_exact_while(&mut world, bytes.len()) == bytes, "other bytes");
        }
        world.until("the debt to be paid", |world| world.log.said(0).contains(&Said::Writable));
    });
}

#[test]
fn a_drain_sends_ranges_to_their_end_and_its_deadline_counts_what_was_left_of_them() {
    each_kind(|kind| {
        for (reads, deadline) in [(true, 20_000), (false, 50)] {
            let mut world = World::new();
            let bytes = pattern(3 << 20);
            let file = file(&bytes);
            let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
                let file = file.clone();
                Hooks::new().open(move |conn| conn.send_file(file.clone(), 0..3 << 20).expect("room"))
            });
            let mut peer = world.dial(&address);
            world.until_open(1);
            let first = peer.read_exact_while(&mut world, 1_000);
            world.reactor().remote().stop(Duration::from_millis(deadline)).expect("it runs");
            if reads {
                let rest = peer.read_to_end_while(&mut world).expect("an end in order");
                assert!([first, rest].concat() == bytes, "other bytes");
                drop(peer);
                assert_eq!(world.until_empty(), [Reason::Drain]);
            } else {
                let mut report = None;
                world.until("the deadline", |world| {
                    if let windlass::Status::Stopped(said) = world.turn() {
                        report = Some(said);
                    }
                    report.is_some()
                });
                let report = report.expect("a report");
                assert_eq!(report.cut, 1);
                assert!(report.unsent_bytes > 1 << 20 && report.unsent_bytes < 3 << 20, "{report}");
            }
        }
    });
}

#[test]
fn a_link_takes_its_ranges_along_and_apart_it_tells_them() {
    each_kind(|kind| {
        let mut world = World::new();
        let bytes = pattern(2_000_000);
        let file = file(&bytes);
        let address = world.listen(kind, narrow(), move |_: &Conn<'_>| {
            let file = file.clone();
            Hooks::new().open(move |conn| {
                conn.send_file(file.clone(), 0..2_000_000).expect("room");
                conn.write(b"behind").expect("room");
                conn.detach(|link, cx| _ = cx.adopt(link, Echo).expect("adopted"));
            })
        });
        let mut peer = world.dial(&address);
        let got = peer.read_exact_while(&mut world, 2_000_006);
        assert!(got[..2_000_000] == bytes && got[2_000_000..] == *b"behind", "other bytes");
    });
    let (mut world, parts) = (World::new(), Rc::new(RefCell::new(None)));
    let (told, sent) = (parts.clone(), file(b"0123456789"));
    let address = world.listen(crate::support::Kind::Tcp, narrow(), move |_: &Conn<'_>| {
        let (told, sent) = (told.clone(), sent.clone());
        Hooks::new().open(move |conn| {
            conn.write(&pattern(4 << 10)).expect("room");
            conn.send_file(sent.clone(), 0..0).expect("nothing to send");
            conn.write(&pattern(900_000)).expect("room");
            conn.send_file(sent.clone(), 3..7).expect("room");
            conn.write(b"behind").expect("room");
            conn.send_file(sent.clone(), 1..2).expect("room");
            let told = told.clone();
            conn.detach(move |link, _| *told.borrow_mut() = Some((link.unsent_bytes(), link.into_parts())));
        })
    });
    let _peer = world.dial(&address);
    world.until("the parts", |_| parts.borrow().is_some());
    let (waiting, parts) = parts.take().expect("told");
    let shown = format!("{parts:?}");
    assert!(shown.ends_with(&format!(", unread: 0, unsent: {}, behind: 3 }}", parts.unsent.len())), "{shown}");
    let Parts { unsent, behind, .. } = parts;
    assert_eq!(waiting, unsent.len() + 4 + 6 + 1);
    match &behind[..] {
        [Behind::File { range: first, .. }, Behind::Bytes(bytes), Behind::File { range: second, .. }] => {
            assert_eq!((first, &bytes[..], second), (&(3..7), &b"behind"[..], &(1..2)));
        }
        other => panic!("{other:?}"),
    }
}

/// A drive sent its share twice, at its beginning and at its end: whoever is served beside a long file waited twice as long.
#[test]
fn one_turn_sends_no_more_of_a_file_than_its_budget() {
    const BUDGET: usize = 16 << 10;
    each_kind(|kind| {
        let mut world = World::new();
        let bytes = pattern(400_000);
        let sent = file(&bytes);
        let limits = Limits { bytes_per_turn: BUDGET, ..Limits::default() };
        let address = world.listen(kind, ListenConfig { limits, ..ListenConfig::default() }, move |_: &Conn<'_>| {
            let sent = sent.clone();
            Hooks::new().open(move |conn| conn.send_file(sent.clone(), 0..400_000).expect("room"))
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        // Four times as much where the kernel sends it by itself; records and the handshake's end come on top.
        let most = if kind.is_tls() { BUDGET + 4_096 } else { 4 * BUDGET } as u64;
        let (mut before, mut got) = (world.reactor().snapshot().bytes_out, Vec::new());
        let mut piece = vec![0; 400_000];
        world.until("all of it", |world| {
            let now = world.reactor().snapshot().bytes_out;
            assert!(now - before <= most, "{} bytes in one turn", now - before);
            before = now;
            if let Some(read) = peer.try_read(&mut piece) {
                got.extend_from_slice(&piece[..read.expect("bytes")]);
            }
            got.len() == bytes.len()
        });
        assert!(got == bytes, "other bytes");
    });
}
