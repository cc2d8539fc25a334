//! Endpoints and connections of one reactor do not starve each other.

use crate::support::post::{Mate, PostHooks, Wire, each_wire, echoing};
use crate::support::{Echo, Kind, World};
use std::cell::Cell;
use std::rc::Rc;
use windlass::{Conn, DatagramConfig, ListenConfig, SocketOptions};

#[test]
fn a_flooded_endpoint_does_not_starve_a_connection_or_another_endpoint() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let socket = SocketOptions { receive_buffer_bytes: Some(8 << 20), ..SocketOptions::default() };
        let config = DatagramConfig { socket, datagrams_per_turn: 5, ..DatagramConfig::default() };
        let (_, flooded) = world.bind(wire, config, PostHooks::new());
        let (_, quiet) = world.bind(wire, DatagramConfig::default(), echoing());
        let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let (flood, mate) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let mut peer = world.dial(&address);
        world.until_open(1);
        for round in 0..20u8 {
            // More waits than a turn may take.
            for _ in 0..200 {
                if !flood.try_send(&[0; 40], &flooded) {
                    break;
                }
            }
            let before = world.posts.datagrams(0);
            assert_eq!(peer.write_some(&[round; 3]).expect("a write"), 3);
            mate.send(&[round; 7], &quiet);
            world.turns(2);
            let (mut buffer, taken) = ([0; 9], world.posts.datagrams(0) - before);
            assert_eq!(peer.try_read(&mut buffer).expect("the echo is there").expect("a read"), 3);
            assert_eq!(mate.try_read(), Some(vec![round; 7]), "the echo is there");
            // An endpoint may be driven twice in a turn: for an event, and for what it left before.
            assert!((5..=20).contains(&taken), "{taken} datagrams in two turns");
        }
        drop(peer);
        world.until("the connection to end", |world| world.log.reasons().len() == 1);
    });
}

#[test]
fn more_than_a_turn_takes_needs_no_further_event() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let config = DatagramConfig { datagrams_per_turn: 3, ..DatagramConfig::default() };
        let (_, address) = world.bind(wire, config, PostHooks::new());
        let mate = Mate::new(&mut world, wire);
        (0..100).for_each(|_| mate.send(b"x", &address));
        world.until("all", |world| world.posts.datagrams(0) == 100);
        assert!(world.reactor().snapshot().turns >= 33);
    });
}

#[test]
fn two_endpoints_that_answer_each_other_for_ever_let_others_live() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (_, first) = world.bind(wire, DatagramConfig::default(), echoing());
        let rallies = Rc::new(Cell::new(0));
        let counted = rallies.clone();
        let handler =
            PostHooks::new().bound(|sock| sock.send(b"ball").expect("room")).datagram(move |sock, datagram| {
                counted.set(counted.get() + 1);
                sock.send(datagram.data).expect("room");
            });
        world.connect_post(&first, DatagramConfig::default(), handler);
        let (_, other) = world.bind(wire, DatagramConfig::default(), echoing());
        let mate = Mate::new(&mut world, wire);
        for _ in 0..50 {
            mate.send(b"me", &other);
            assert_eq!(mate.read_while(&mut world), b"me");
        }
        world.until("some rallies", |_| rallies.get() > 20);
    });
}

#[test]
fn an_idle_endpoint_costs_no_turn() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (_, address) = world.bind(wire, DatagramConfig::default(), echoing());
        world.connect_post(&address, DatagramConfig::default(), PostHooks::new());
        let mate = Mate::new(&mut world, wire);
        mate.send(b"x", &address);
        mate.read_while(&mut world);
        world.turns(3);
        let turns = world.turns_within(std::time::Duration::from_millis(100));
        assert!(turns <= 3, "{turns} turns while nothing happened");
        assert!(world.reactor().next_deadline().is_none());
    });
}
