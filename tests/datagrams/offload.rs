//! What the kernel cuts and joins, and what happens where it does not.

use crate::support::World;
use crate::support::post::{Mate, PostHooks, Wire, each_wire};
use std::cell::RefCell;
use std::rc::Rc;
use windlass::{DatagramConfig, Datagrams, Offload, Receiving, Sending, SocketOptions};

/// Runs of equal lengths, each but the last with a shorter one at its end, and some that stand alone.
fn lengths() -> Vec<usize> {
    let mut lengths = vec![1400; 50];
    lengths.push(300);
    lengths.extend([100; 200]);
    lengths.extend([1, 0, 0, 1, 1, 2, 60_000, 60_000, 7, 1000, 1001, 1002, 1002]);
    lengths.extend([1200; 70]);
    lengths
}

/// Bytes that tell their place and are of the length that was asked for, if that is 4 at least.
fn numbered(number: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8; length];
    if let Some(head) = bytes.first_chunk_mut::<4>() {
        *head = (number as u32).to_be_bytes();
    }
    bytes
}

fn big_buffers() -> SocketOptions {
    SocketOptions { receive_buffer_bytes: Some(8 << 20), send_buffer_bytes: Some(8 << 20), ..SocketOptions::default() }
}

#[test]
fn what_was_cut_and_joined_arrives_datagram_by_datagram() {
    each_wire(Wire::UDP, |wire| {
        for (gso, gro) in [
            (Offload::On, Offload::On),
            (Offload::On, Offload::Off),
            (Offload::Off, Offload::On),
            (Offload::Off, Offload::Off),
        ] {
            let mut world = World::new();
            let got = Rc::new(RefCell::new(Vec::new()));
            let told = got.clone();
            let paths = Rc::new(RefCell::new(None));
            let of_receiver = paths.clone();
            let handler = PostHooks::new().bound(move |sock| *of_receiver.borrow_mut() = Some(sock.paths())).datagram(
                move |_, datagram| {
                    assert!(!datagram.is_truncated);
                    told.borrow_mut().push(datagram.data.to_vec());
                },
            );
            let config = DatagramConfig { gso, gro, socket: big_buffers(), ..DatagramConfig::default() };
            let (id, address) = world.bind(wire, config.clone(), handler);
            let sender = PostHooks::new().bound(move |sock| {
                for (number, length) in lengths().into_iter().enumerate() {
                    sock.send(&numbered(number, length)).expect("room");
                }
            });
            world.connect_post(&address, config, sender);
            world.until("all of them", |_| got.borrow().len() >= lengths().len());
            world.turns(3);
            let expected: Vec<_> = lengths().into_iter().enumerate().map(|(n, len)| numbered(n, len)).collect();
            assert!(*got.borrow() == expected, "with gso {gso:?} and gro {gro:?} others arrived");
            let (receiving, sending) = paths.borrow().expect("it is bound");
            assert_eq!(receiving == Receiving::Joined, gro == Offload::On);
            assert_eq!(matches!(sending, Sending::Segmented { .. }), gso == Offload::On);
            let stats = world.with_post(id, |post| post.stats());
            assert_eq!(
                (stats.datagrams_in, stats.bytes_in),
                (lengths().len() as u64, lengths().iter().sum::<usize>() as u64,)
            );
        }
    });
}

#[test]
fn joined_datagrams_that_are_too_long_are_each_cut_and_told() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let got = Rc::new(RefCell::new(Vec::new()));
        let told = got.clone();
        let handler = PostHooks::new().datagram(move |_, datagram| {
            told.borrow_mut().push((datagram.data.to_vec(), datagram.is_truncated));
        });
        let config = DatagramConfig { gro: Offload::On, bytes_max: 100, ..DatagramConfig::default() };
        let (id, address) = world.bind(wire, config, handler);
        let sender = PostHooks::new().bound(|sock: &mut Datagrams<'_>| {
            for number in 0..10 {
                sock.send(&numbered(number, if number == 9 { 50 } else { 150 })).expect("room");
            }
        });
        world.connect_post(&address, DatagramConfig::default(), sender);
        world.until("all of them", |_| got.borrow().len() == 10);
        for (number, (bytes, is_truncated)) in got.borrow().iter().enumerate() {
            let whole = numbered(number, if number == 9 { 50 } else { 150 });
            assert_eq!((&bytes[..], *is_truncated), (&whole[..whole.len().min(100)], number != 9));
        }
        assert_eq!(world.with_post(id, |post| post.stats()).truncated, 9);
    });
}

#[test]
fn empty_datagrams_are_not_lost_between_joined_ones() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let config = DatagramConfig { gro: Offload::On, ..DatagramConfig::default() };
        let (_, address) = world.bind(wire, config, PostHooks::new());
        let mate = Mate::new(&mut world, wire);
        for _ in 0..10 {
            mate.send(b"", &address);
            mate.send(b"full", &address);
        }
        world.until("all of them", |world| world.posts.datagrams(0) == 20);
    });
}
