//! Datagrams that go in come out, whole, each as one, and in the order of their sender.

use crate::support::World;
use crate::support::post::{Mate, PostHooks, Wire, Word, each_wire, echoing};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use windlass::{DatagramConfig, DatagramPeer, Offload, SendError, SocketOptions};

/// Bytes of which no two neighbourhoods look alike.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn datagrams_of_all_lengths_come_back_whole() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (_, address) = world.bind(wire, DatagramConfig::default(), echoing());
        let mate = Mate::new(&mut world, wire);
        let lengths = [0, 1, 64, 1400, 65_507];
        for length in lengths {
            let bytes = pattern(length);
            mate.send_while(&mut world, &bytes, &address);
            assert!(mate.read_while(&mut world) == bytes, "{length} bytes came back as others");
        }
        assert_eq!(mate.try_read(), None);
        let words: Vec<_> = [Word::Bound].into_iter().chain(lengths.map(Word::Datagram)).collect();
        assert_eq!(world.posts.words(0), words);
        let counted = world.reactor().snapshot().datagrams;
        let bytes: usize = lengths.iter().sum();
        assert_eq!((counted.datagrams_in, counted.datagrams_out), (5, 5));
        assert_eq!((counted.bytes_in, counted.bytes_out), (bytes as u64, bytes as u64));
        assert_eq!((counted.truncated, counted.refused, counted.undelivered), (0, 0, 0));
    });
}

#[test]
fn an_empty_datagram_is_a_datagram_and_no_end() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (_, address) = world.bind(wire, DatagramConfig::default(), echoing());
        let mate = Mate::new(&mut world, wire);
        for bytes in [&b""[..], b"", b"between", b""] {
            mate.send(bytes, &address);
        }
        assert_eq!(mate.read_many_while(&mut world, 4), [&b""[..], b"", b"between", b""]);
        assert_eq!(world.posts.datagrams(0), 4);
        assert_eq!(world.posts.reason(0), None);
    });
}

/// The limit that a datagram of so many bytes is refused with, and in which words; `None` if it is taken.
fn refused(world: &mut World, wire: Wire, config: &DatagramConfig, bytes: usize) -> Option<(usize, String)> {
    let to = Mate::new(world, wire).peer();
    let (id, _) = world.bind(wire, config.clone(), PostHooks::new());
    let error = world.with_post(id, |post| post.send_to(&to, &vec![7; bytes])).err()?;
    let text = error.to_string();
    let SendError::Oversize { limit, bytes: told } = error else { panic!("{error}") };
    assert_eq!(told, bytes);
    Some((limit, text))
}

#[test]
fn a_datagram_that_is_too_long_is_refused_with_the_limit() {
    let mut world = World::new();
    let config = DatagramConfig::default();
    assert_eq!(refused(&mut world, Wire::UdpV4, &config, 65_507), None);
    let (limit, text) = refused(&mut world, Wire::UdpV4, &config, 65_508).expect("too long");
    assert_eq!(limit, 65_507);
    assert!(text.contains("65508 bytes") && text.contains("65507"), "{text}");
    assert_eq!(refused(&mut world, Wire::UdpV6, &config, 65_527), None);
    assert_eq!(refused(&mut world, Wire::UdpV6, &config, 65_528).expect("too long").0, 65_527);
    let socket = SocketOptions { send_buffer_bytes: Some(16 * 1024), ..SocketOptions::default() };
    let config = DatagramConfig { socket, ..config };
    // Linux doubles what is asked for, and needs 32 bytes of it.
    let limit = 2 * 16 * 1024 - 32;
    for wire in [Wire::UnixPath, Wire::UnixAbstract] {
        assert_eq!(refused(&mut world, wire, &config, limit), None);
        assert_eq!(refused(&mut world, wire, &config, limit + 1).expect("too long").0, limit);
    }
    world.turns(3);
    let counted = world.reactor().snapshot().datagrams;
    // To nobody: the mates are gone.
    assert_eq!((counted.refused, counted.datagrams_out + counted.undelivered), (4, 4));
}

#[test]
fn a_unix_datagram_as_long_as_the_limit_arrives() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let (to, config) = (mate.peer(), DatagramConfig::default());
        let length = Rc::new(RefCell::new(0));
        let told = length.clone();
        let handler = PostHooks::new().bound(move |sock| {
            *told.borrow_mut() = sock.datagram_bytes_max();
            sock.send_to(&to, &vec![7; sock.datagram_bytes_max()]).expect("room");
        });
        world.bind(wire, config, handler);
        assert_eq!(mate.read_while(&mut world).len(), *length.borrow());
        assert!(*length.borrow() > 65_507);
    });
}

#[test]
fn what_is_longer_than_bytes_max_is_cut_and_that_is_told() {
    each_wire(Wire::ALL, |wire| {
        for gro in [Offload::Off, Offload::On] {
            let mut world = World::new();
            let seen = Rc::new(RefCell::new(Vec::new()));
            let told = seen.clone();
            let handler = PostHooks::new().datagram(move |_, datagram| {
                told.borrow_mut().push((datagram.data.to_vec(), datagram.is_truncated));
            });
            let config = DatagramConfig { bytes_max: 100, gro, ..DatagramConfig::default() };
            let (id, address) = world.bind(wire, config, handler);
            let mate = Mate::new(&mut world, wire);
            let bytes = pattern(40_000);
            for length in [99, 100, 101, 40_000, 0, 7] {
                mate.send(&bytes[..length], &address);
            }
            world.until("all datagrams", |world| world.posts.datagrams(0) == 6);
            let expected = [(99, false), (100, false), (100, true), (100, true), (0, false), (7, false)];
            assert_eq!(*seen.borrow(), expected.map(|(length, cut)| (bytes[..length].to_vec(), cut)));
            let stats = world.with_post(id, |post| post.stats());
            assert_eq!((stats.datagrams_in, stats.truncated, stats.bytes_in), (6, 2, 406));
        }
    });
}

#[test]
fn a_unix_datagram_longer_than_the_default_is_cut_and_that_is_told() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let told = seen.clone();
        let handler = PostHooks::new().datagram(move |_, datagram| {
            told.borrow_mut().push((datagram.data.len(), datagram.is_truncated));
        });
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        let mate = Mate::new(&mut world, wire);
        mate.send_while(&mut world, &pattern(65_536), &address);
        mate.send_while(&mut world, &pattern(100_000), &address);
        world.until("both", |_| seen.borrow().len() == 2);
        assert_eq!(*seen.borrow(), [(65_536, false), (65_536, true)]);
    });
}

#[test]
fn with_a_larger_bytes_max_longer_unix_datagrams_come_whole() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let config = DatagramConfig { bytes_max: 200_000, ..DatagramConfig::default() };
        let (_, address) = world.bind(wire, config, echoing());
        let mate = Mate::new(&mut world, wire);
        let bytes = pattern(150_000);
        mate.send_while(&mut world, &bytes, &address);
        assert!(mate.read_while(&mut world) == bytes);
    });
}

#[test]
fn of_many_senders_each_finds_its_datagrams_once_and_in_their_order() {
    const SENDERS: usize = 20;
    const EACH: u32 = 50;
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let seen = Rc::new(RefCell::new(HashMap::<DatagramPeer, Vec<u32>>::new()));
        let told = seen.clone();
        let handler = PostHooks::new().datagram(move |sock, datagram| {
            let number = u32::from_be_bytes(datagram.data[..4].try_into().expect("a number"));
            told.borrow_mut().entry(datagram.from.clone()).or_default().push(number);
            sock.send_to(datagram.from, datagram.data).expect("room");
        });
        let socket = SocketOptions { receive_buffer_bytes: Some(4 << 20), ..SocketOptions::default() };
        let (_, address) = world.bind(wire, DatagramConfig { socket, ..DatagramConfig::default() }, handler);
        let mates: Vec<_> = (0..SENDERS).map(|_| Mate::new(&mut world, wire)).collect();
        let mut answers = vec![Vec::new(); SENDERS];
        for number in 0..EACH {
            for (mate, answers) in mates.iter().zip(&mut answers) {
                // Lengths that can be put together and ones that cannot.
                let bytes = [&number.to_be_bytes()[..], &vec![9; (number as usize / 4) % 7 * 100]].concat();
                mate.send_while(&mut world, &bytes, &address);
                answers.extend(mate.read_all());
            }
        }
        world.until("all answers", |_| {
            mates.iter().zip(&mut answers).for_each(|(mate, answers)| answers.extend(mate.read_all()));
            answers.iter().all(|answers| answers.len() >= EACH as usize)
        });
        world.turns(5);
        for (mate, answers) in mates.iter().zip(&answers) {
            assert_eq!(mate.try_read(), None, "more came than was sent");
            let numbers = answers.iter().map(|bytes| u32::from_be_bytes(bytes[..4].try_into().expect("a number")));
            assert!(numbers.eq(0..EACH), "the order of the answers is another");
            assert!(seen.borrow()[&mate.peer()].iter().copied().eq(0..EACH), "the order is another");
        }
        assert_eq!(seen.borrow().len(), SENDERS);
    });
}

#[test]
fn a_callback_may_send_thousands_and_each_leaves_once_and_in_order() {
    const COUNT: u32 = 3000;
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let mates: Vec<_> = (0..3).map(|_| Mate::new(&mut world, wire)).collect();
        mates.iter().for_each(|mate| mate.socket.set_recv_buffer_size(4 << 20).expect("SO_RCVBUF"));
        let to: Vec<_> = mates.iter().map(Mate::peer).collect();
        let handler = PostHooks::new().bound(move |sock| {
            for number in 0..COUNT {
                // Runs of one peer, and peers that take turns.
                let peer = &to[if number < COUNT / 2 { number / 100 } else { number } as usize % 3];
                sock.send_to(peer, &number.to_be_bytes()).expect("room");
            }
        });
        world.bind(wire, DatagramConfig::default(), handler);
        world.turns(3);
        let got: Vec<Vec<u32>> = mates
            .iter()
            .map(|mate| mate.read_all())
            .map(|all| all.iter().map(|bytes| u32::from_be_bytes(bytes[..].try_into().expect("a number"))).collect())
            .collect();
        assert!(got.iter().all(|numbers| numbers.is_sorted()), "the order is another");
        let mut all = got.concat();
        all.sort_unstable();
        assert!(all.iter().copied().eq(0..COUNT), "{} of {COUNT} came", all.len());
        assert_eq!(world.reactor().snapshot().datagrams.datagrams_out, COUNT.into());
    });
}

#[test]
fn stats_count_exactly() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let other = if wire.is_unix() { Wire::UdpV4 } else { Wire::UnixAbstract };
        let stranger = Mate::new(&mut world, other).peer();
        let handler = PostHooks::new().datagram(move |sock, datagram| {
            sock.send_to(datagram.from, b"four").expect("room");
            sock.send_to(&stranger, b"never").expect_err("another kind");
            sock.send(b"never").expect_err("no peer");
            sock.send_to(datagram.from, &vec![0; sock.datagram_bytes_max() + 1]).expect_err("too long");
        });
        let config = DatagramConfig { bytes_max: 10, ..DatagramConfig::default() };
        let (id, address) = world.bind(wire, config, handler);
        for length in [0, 5, 10, 11, 500] {
            mate.send_while(&mut world, &pattern(length), &address);
            assert_eq!(mate.read_while(&mut world), b"four");
        }
        let stats = world.with_post(id, |post| post.stats());
        assert_eq!((stats.datagrams_in, stats.bytes_in, stats.truncated), (5, 35, 2));
        assert_eq!((stats.datagrams_out, stats.bytes_out), (5, 20));
        assert_eq!((stats.refused, stats.undelivered, stats.dropped_by_kernel), (15, 0, 0));
        assert_eq!(world.reactor().snapshot().datagrams, stats);
        world.close_post(id);
        world.until_post_closed(0);
        let kept = world.reactor().snapshot().datagrams;
        assert_eq!((kept.datagrams_in, kept.bytes_in, kept.truncated), (5, 35, 2), "they stay counted");
        // The recorder tries two more in on_close.
        assert_eq!((kept.datagrams_out, kept.bytes_out, kept.refused), (5, 20, 17));
    });
}

#[test]
fn what_the_kernel_drops_is_counted() {
    each_wire(Wire::UDP, |wire| {
        for gro in [Offload::Off, Offload::On] {
            let mut world = World::new();
            let socket = SocketOptions { receive_buffer_bytes: Some(4096), ..SocketOptions::default() };
            let config = DatagramConfig { socket, gro, ..DatagramConfig::default() };
            let (id, address) = world.bind(wire, config, PostHooks::new());
            world.turn();
            let mate = Mate::new(&mut world, wire);
            let mut sent = 0;
            for round in 1..=3 {
                for _ in 0..200 {
                    mate.send(&[1; 300], &address);
                    sent += 1;
                }
                world.until("the flood to be over", |world| world.posts.datagrams(0) > 0);
                world.turns(5);
                // The count comes with the next ones; of the very first drop there is no room for it in the first one's
                // headers.
                for marker in [2 * round - 1, 2 * round] {
                    mate.send(b"marker", &address);
                    sent += 1;
                    world
                        .until("the marker", |world| world.posts.count(0, |word| *word == Word::Datagram(6)) == marker);
                }
                let stats = world.with_post(id, |post| post.stats());
                assert!(stats.dropped_by_kernel > 0);
                assert_eq!(stats.datagrams_in + stats.dropped_by_kernel, sent, "{stats:?}");
            }
        }
    });
}
