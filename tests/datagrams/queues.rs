//! What waits to be sent: how much, how long, and that nothing spins meanwhile.

use crate::support::World;
use crate::support::post::{Mate, PostHooks, Wire, Word, close, each_wire, echoing};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use windlass::{DatagramConfig, DatagramError, Reason, SendError, SocketOptions};

/// Turns that a reactor may do in a while in which nothing happens but a timer of up to 64 ms.
const FEW: u64 = 40;

fn numbers(all: &[Vec<u8>]) -> Vec<u32> {
    all.iter().map(|bytes| u32::from_be_bytes(bytes[..4].try_into().expect("a number"))).collect()
}

#[test]
fn a_full_unix_peer_gets_all_in_order_once_it_reads() {
    for count in [12, 20, 30, 300, 1000u32] {
        each_wire(Wire::UNIX, |wire| {
            let mut world = World::new();
            let mate = Mate::new(&mut world, wire);
            let to = mate.peer();
            let handler = PostHooks::new().bound(move |sock| {
                (0..count).for_each(|number| sock.send_to(&to, &number.to_be_bytes()).expect("room"));
            });
            let (id, _) = world.bind(wire, DatagramConfig::default(), handler);
            world.turns(20);
            let waiting = world.with_post(id, |post| post.waiting());
            assert!(waiting.0 > 0 && waiting.1 == 4 * waiting.0, "{waiting:?}");
            let queued = world.reactor().queued_bytes();
            assert!(queued > waiting.1, "{queued} bytes keep {waiting:?}");
            let got = mate.read_many_while(&mut world, count as usize);
            assert!(numbers(&got).into_iter().eq(0..count), "the order is another");
            assert_eq!(world.with_post(id, |post| post.waiting()), (0, 0));
            world.until("the queue to be given back", |world| world.reactor().queued_bytes() == 0);
            assert_eq!(world.posts.words(0), [Word::Bound]);
        });
    }
}

#[test]
fn what_waits_counts_among_all_queues_until_its_socket_is_closed() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let to = mate.peer();
        let handler = PostHooks::new().bound(move |sock| {
            (0..100u32).for_each(|number| sock.send_to(&to, &number.to_be_bytes()).expect("room"));
        });
        let (id, _) =
            world.bind(wire, DatagramConfig { send_timeout: Duration::from_millis(50), ..Default::default() }, handler);
        world.turns(3);
        assert!(world.reactor().queued_bytes() > 0);
        world.close_post(id);
        world.until("its end", |world| world.reactor().connections() == 0);
        assert_eq!(world.reactor().queued_bytes(), 0);
    });
}

#[test]
fn a_full_unix_peer_holds_up_nobody_else() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let (full, free) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let to = full.peer();
        let handler = PostHooks::new()
            .bound(move |sock| (0..40u32).for_each(|n| sock.send_to(&to, &n.to_be_bytes()).expect("room")))
            .datagram(|sock, datagram| sock.send_to(datagram.from, datagram.data).expect("room"));
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        world.turns(3);
        for number in 0..500u32 {
            free.send(&number.to_be_bytes(), &address);
            // At once, with no waiting for the other one.
            let got = (0..3).find_map(|_| {
                world.turn();
                free.try_read()
            });
            assert_eq!(got.as_deref(), Some(&number.to_be_bytes()[..]));
        }
        let got = full.read_many_while(&mut world, 40);
        assert!(numbers(&got).into_iter().eq(0..40), "the order is another");
    });
}

#[test]
fn a_held_unix_peer_does_not_make_the_reactor_spin() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let full = Mate::new(&mut world, wire);
        let to = full.peer();
        let handler =
            PostHooks::new().bound(move |sock| (0..40).for_each(|_| sock.send_to(&to, b"held").expect("room")));
        world.bind(wire, DatagramConfig::default(), handler);
        world.turns(20);
        let turns = world.turns_within(Duration::from_millis(400));
        assert!(turns < FEW, "{turns} turns while nothing happened");
    });
}

#[test]
fn what_waits_too_long_is_dropped_and_told_and_nothing_spins_behind_it() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let full = Mate::new(&mut world, wire);
        let (to, expected) = (full.peer(), full.peer());
        let seen = Rc::new(RefCell::new(0));
        let told = seen.clone();
        let handler = PostHooks::new()
            .bound(move |sock| (0..30).for_each(|_| sock.send_to(&to, b"held").expect("room")))
            .error(move |_, error| {
                assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
                let DatagramError::Expired { to, bytes } = error else { panic!("{error}") };
                assert_eq!((to.as_ref(), *bytes), (Some(&expected), 4));
                *told.borrow_mut() += 1;
            });
        let config = DatagramConfig { send_timeout: Duration::from_millis(150), ..DatagramConfig::default() };
        let (id, _) = world.bind(wire, config, handler);
        world.until("them to be dropped", |_| *seen.borrow() > 0);
        let stats = world.with_post(id, |post| post.stats());
        assert_eq!((stats.datagrams_out + stats.undelivered, stats.undelivered), (30, *seen.borrow()));
        assert_eq!(world.with_post(id, |post| post.waiting()), (0, 0));
        let turns = world.turns_within(Duration::from_millis(400));
        assert!(turns < FEW, "{turns} turns while nothing happened");
        // What was taken before is there.
        assert_eq!(full.read_all().len() as u64, stats.datagrams_out);
    });
}

#[test]
fn a_full_queue_refuses_and_on_writable_comes_once() {
    each_wire(Wire::UNIX, |wire| {
        for by_bytes in [false, true] {
            let mut world = World::new();
            let mate = Mate::new(&mut world, wire);
            let to = mate.peer();
            let refusals = Rc::new(RefCell::new(Vec::new()));
            let told = refusals.clone();
            let handler = PostHooks::new().bound(move |sock| {
                for _ in 0..100 {
                    if let Err(error) = sock.send_to(&to, &[7; 100]) {
                        told.borrow_mut().push(error);
                    }
                }
            });
            let config = match by_bytes {
                false => DatagramConfig { queue_datagrams_max: 40, ..DatagramConfig::default() },
                true => DatagramConfig { queue_bytes_max: 4000, ..DatagramConfig::default() },
            };
            let (id, _) = world.bind(wire, config, handler);
            world.turns(10);
            assert_eq!(refusals.borrow().len(), 60);
            for refusal in refusals.borrow().iter() {
                assert!(matches!(refusal, SendError::QueueFull { datagrams: 40, bytes: 4000 }), "{refusal}");
            }
            assert_eq!(world.posts.words(0), [Word::Bound]);
            let got = mate.read_many_while(&mut world, 40);
            assert_eq!(got.len(), 40);
            world.turns(5);
            assert_eq!(world.posts.words(0), [Word::Bound, Word::Writable]);
            let stats = world.with_post(id, |post| post.stats());
            assert_eq!((stats.refused, stats.datagrams_out), (60, 40));
        }
    });
}

#[test]
fn one_unix_peer_cannot_take_the_whole_queue() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let (full, free) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let to = full.peer();
        let config = DatagramConfig { queue_datagrams_max: 80, ..DatagramConfig::default() };
        let handler = echoing().bound(move |sock| (0..12).for_each(|_| sock.send_to(&to, b"held").expect("room")));
        let (id, address) = world.bind(wire, config, handler);
        world.turns(3);
        let to = full.peer();
        let refused = (0..200).find_map(|_| world.with_post(id, |post| post.send_to(&to, b"more")).err());
        let refused = refused.expect("its share is a part of the queue");
        assert!(matches!(refused, SendError::QueueFull { datagrams, .. } if datagrams <= 40), "{refused}");
        free.send(b"me too", &address);
        assert_eq!(free.read_while(&mut world), b"me too");
        world.until("the refused one's share to be free", |world| {
            full.read_all();
            world.posts.count(0, |word| *word == Word::Writable) == 1
        });
    });
}

#[test]
fn a_unix_socket_whose_own_buffer_is_unread_goes_on_once_that_is_read() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let (slow, other) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let (to, to_other) = (slow.peer(), other.peer());
        // What is sent and not read yet counts against the buffer of the sender.
        let handler = PostHooks::new().bound(move |sock| {
            (0..10u32).for_each(|n| sock.send_to(&to, &[&n.to_be_bytes()[..], &[0; 60_000]].concat()).expect("room"));
            (0..10u32).for_each(|n| sock.send_to(&to_other, &n.to_be_bytes()).expect("room"));
        });
        world.bind(wire, DatagramConfig::default(), handler);
        world.turns(20);
        let turns = world.turns_within(Duration::from_millis(200));
        assert!(turns < FEW, "{turns} turns while nothing happened");
        let mut got = [Vec::new(), Vec::new()];
        world.until("all", |_| {
            got[0].extend(slow.read_all());
            got[1].extend(other.read_all());
            got.iter().all(|got| got.len() == 10)
        });
        assert!(got.iter().all(|got| numbers(got).into_iter().eq(0..10)), "the order is another");
        assert_eq!(world.posts.errors(0), Vec::<String>::new());
    });
}

#[test]
fn many_full_unix_peers_get_theirs_in_order_however_they_read() {
    const PEERS: usize = 40;
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let mates: Vec<_> = (0..PEERS).map(|_| Mate::new(&mut world, wire)).collect();
        let to: Vec<_> = mates.iter().map(Mate::peer).collect();
        let handler = PostHooks::new().bound(move |sock| {
            for number in 0..50u32 {
                to.iter().for_each(|peer| sock.send_to(peer, &number.to_be_bytes()).expect("room"));
            }
        });
        world.bind(wire, DatagramConfig::default(), handler);
        let (mut got, mut round) = (vec![Vec::new(); PEERS], 0);
        world.until("all", |_| {
            round += 1;
            for (n, (mate, got)) in mates.iter().zip(&mut got).enumerate() {
                // Some read all, some one by one, some late.
                match n % 3 {
                    0 => got.extend(mate.read_all()),
                    1 => got.extend(mate.try_read()),
                    _ if round > 50 => got.extend(mate.read_all()),
                    _ => {}
                }
            }
            got.iter().all(|got| got.len() == 50)
        });
        assert!(got.iter().all(|got| numbers(got).into_iter().eq(0..50)), "the order is another");
    });
}

#[test]
fn a_long_datagram_is_taken_while_another_peer_is_full() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let (full, free) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let to = full.peer();
        let handler = echoing().bound(move |sock| (0..20).for_each(|_| sock.send_to(&to, b"held").expect("room")));
        let config = DatagramConfig { queue_bytes_max: 40_000, ..DatagramConfig::default() };
        let (_, address) = world.bind(wire, config, handler);
        world.turns(3);
        for _ in 0..3 {
            // More than one peer may have waiting, but nothing waits for this one.
            free.send(&[7; 20_000], &address);
            assert_eq!(free.read_while(&mut world).len(), 20_000);
        }
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

#[test]
fn a_connected_unix_socket_waits_for_its_peer_without_spinning_and_goes_on_at_once() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let handler = PostHooks::new()
            .bound(|sock| (0..400u32).for_each(|number| sock.send(&number.to_be_bytes()).expect("room")));
        let (id, _) = world.connect_post(&mate.address(), DatagramConfig::default(), handler);
        world.turns(5);
        assert!(world.with_post(id, |post| post.waiting()).0 > 300);
        let turns = world.turns_within(Duration::from_millis(200));
        assert!(turns < FEW, "{turns} turns while nothing happened");
        let got = mate.read_many_while(&mut world, 400);
        assert!(numbers(&got).into_iter().eq(0..400), "the order is another");
    });
}

#[test]
fn a_unix_peer_that_is_gone_is_told_and_the_others_get_theirs() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let (living, gone) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let (to, to_gone) = (living.peer(), gone.peer());
        drop(gone);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (told, expected) = (seen.clone(), to_gone.clone());
        let handler = PostHooks::new()
            .bound(move |sock| {
                for number in 0..5u32 {
                    sock.send_to(&to, &number.to_be_bytes()).expect("room");
                    sock.send_to(&to_gone, b"to nobody").expect("room");
                }
            })
            .error(move |_, error| {
                let DatagramError::Send { to, bytes: 9, source } = error else { panic!("{error}") };
                assert_eq!(to.as_ref(), Some(&expected));
                told.borrow_mut().push(source.kind());
            });
        world.bind(wire, DatagramConfig::default(), handler);
        let got = living.read_many_while(&mut world, 5);
        assert!(numbers(&got).into_iter().eq(0..5));
        world.until("all to be told", |_| seen.borrow().len() == 5);
        let refused = std::io::ErrorKind::ConnectionRefused;
        assert!(seen.borrow().iter().all(|kind| *kind == refused), "{:?}", seen.borrow());
        let turns = world.turns_within(Duration::from_millis(100));
        assert!(turns < FEW, "{turns} turns while nothing happened");
    });
}

#[test]
fn a_peer_that_goes_while_datagrams_wait_for_it_is_told() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let full = Mate::new(&mut world, wire);
        let to = full.peer();
        let handler = PostHooks::new()
            .bound(move |sock| (0..40u32).for_each(|n| sock.send_to(&to, &n.to_be_bytes()).expect("room")));
        let (id, _) = world.bind(wire, DatagramConfig::default(), handler);
        world.turns(5);
        let waiting = world.with_post(id, |post| post.waiting()).0;
        assert!(waiting > 0);
        drop(full);
        world.until("all to be told", |world| world.posts.errors(0).len() == waiting);
        assert_eq!(world.with_post(id, |post| post.waiting()), (0, 0));
        assert_eq!(world.with_post(id, |post| post.stats()).undelivered, waiting as u64);
    });
}

#[test]
fn a_connected_unix_peer_that_goes_while_datagrams_wait_for_it_is_told_at_once() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let handler = PostHooks::new().bound(|sock| (0..40).for_each(|_| sock.send(b"held").expect("room")));
        let (id, _) = world.connect_post(&mate.address(), DatagramConfig::default(), handler);
        world.turns(5);
        let waiting = world.with_post(id, |post| post.waiting()).0;
        assert!(waiting > 20);
        drop(mate);
        world.until("all to be told", |world| {
            world.posts.errors(0).iter().filter(|error| error.starts_with("cannot send")).count() == waiting
        });
        assert_eq!(world.with_post(id, |post| post.waiting()), (0, 0));
        let turns = world.turns_within(Duration::from_millis(100));
        assert!(turns < FEW, "{turns} turns while nothing happened");
    });
}

#[test]
fn a_connected_unix_socket_tells_that_its_peer_is_gone_and_stays() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let (id, _) = world.connect_post(&mate.address(), DatagramConfig::default(), PostHooks::new());
        world.turns(3);
        drop(mate);
        for round in 1..4 {
            world.with_post(id, |post| post.send(b"anybody there?")).expect("room");
            world.until("it to be told", |world| world.posts.errors(0).len() == round);
        }
        assert!(world.posts.errors(0).iter().all(|error| error.starts_with("cannot send 14 bytes to its peer: ")));
        assert_eq!(world.posts.reason(0), None);
        let turns = world.turns_within(Duration::from_millis(100));
        assert!(turns < FEW, "{turns} turns while nothing happened");
    });
}

#[test]
fn a_udp_socket_whose_buffer_is_full_goes_on_without_spinning() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        mate.socket.set_recv_buffer_size(8 << 20).expect("SO_RCVBUF");
        let to = mate.peer();
        let handler = PostHooks::new().bound(move |sock| {
            for number in 0..200u32 {
                sock.send_to(&to, &[&number.to_be_bytes()[..], &[0; 3000]].concat()).expect("room");
            }
        });
        let socket = SocketOptions { send_buffer_bytes: Some(2048), ..SocketOptions::default() };
        let config = DatagramConfig { socket, ..DatagramConfig::default() };
        let (id, _) = world.bind(wire, config, handler);
        let mut got = Vec::new();
        world.until("all to be sent", |world| {
            got.extend(mate.read_all());
            world.with_post(id, |post| post.stats()).datagrams_out == 200
        });
        world.turns(2);
        got.extend(mate.read_all());
        assert!(numbers(&got).is_sorted());
        let turns = world.turns_within(Duration::from_millis(100));
        assert!(turns < FEW, "{turns} turns while nothing happened");
    });
}

#[test]
fn a_closed_socket_sends_what_waits_first() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let to = mate.peer();
        let handler = PostHooks::new().bound(move |sock| {
            (0..60u32).for_each(|n| sock.send_to(&to, &n.to_be_bytes()).expect("room"));
            close(sock);
            assert!(matches!(sock.send_to(&to, b"more"), Err(SendError::NotOpen)));
        });
        world.bind(wire, DatagramConfig::default(), handler);
        world.turns(3);
        assert_eq!(world.posts.reason(0).is_none(), wire.is_unix(), "a full Unix peer is waited for");
        let got = mate.read_many_while(&mut world, 60);
        assert!(numbers(&got).into_iter().eq(0..60));
        assert_eq!(world.until_post_closed(0), Reason::Local);
        assert_eq!(world.posts.words(0), [Word::Bound, Word::Close(Reason::Local)]);
        assert_eq!(world.reactor().connections(), 0);
    });
}

#[test]
fn a_closed_socket_waits_no_longer_than_send_timeout() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let to = mate.peer();
        let handler = PostHooks::new().bound(move |sock| {
            (0..40).for_each(|_| sock.send_to(&to, b"held").expect("room"));
            close(sock);
        });
        let config = DatagramConfig { send_timeout: Duration::from_millis(50), ..DatagramConfig::default() };
        world.bind(wire, config, handler);
        assert_eq!(world.until_post_closed(0), Reason::Local);
        let out = world.reactor().snapshot().datagrams.datagrams_out;
        assert_eq!(world.posts.errors(0).len() as u64, 40 - out, "each was told");
    });
}
