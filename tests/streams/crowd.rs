//! Many connections at once, and many one after the other.

use crate::support::{Echo, Peer, World, carried, each_kind};
use windlass::{Conn, ListenConfig, Reason};

#[test]
fn a_thousand_peers_are_counted_exactly() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        assert_eq!(world.reactor().connections(), 0);
        assert_eq!(world.reactor().snapshot().accepted, 0);

        // A handshake takes a while where the compiler does not help.
        let count = if kind.is_tls() { 100 } else { 1000 };
        let all = count as u64;
        let mut peers: Vec<Peer> = (0..count).map(|_| world.dial(&address)).collect();
        world.until_open(count);
        assert_eq!(world.reactor().connections(), count);
        let counters = world.reactor().snapshot();
        assert_eq!((counters.accepted, counters.opened, counters.closed_total()), (all, all, 0));

        for (number, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.write_some(&(number as u32).to_be_bytes()).expect("a write"), 4);
        }
        for (number, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.read_exact_while(&mut world, 4), (number as u32).to_be_bytes());
        }
        let counters = world.reactor().snapshot();
        assert!(carried(kind, counters.bytes_in, 4 * all, all), "{counters:?}");
        assert!(carried(kind, counters.bytes_out, 4 * all, all), "{counters:?}");

        peers.truncate(count - 30);
        world.until("thirty to be gone", |world| world.log.open() == count - 30);
        world.turns(3);
        assert_eq!(world.reactor().connections(), count - 30);
        let counters = world.reactor().snapshot();
        assert_eq!(counters.closed_for(Reason::PeerClosed), 30, "{counters:?}");

        peers.clear();
        world.until_empty();
        let counters = world.reactor().snapshot();
        assert_eq!((counters.closed_total(), counters.closed_for(Reason::PeerClosed)), (all, all));
        assert!(carried(kind, counters.bytes_in, 4 * all, all), "{counters:?}");
        assert!(carried(kind, counters.bytes_out, 4 * all, all), "{counters:?}");
        assert_eq!((counters.accepted, counters.opened, counters.failed, counters.panics), (all, all, 0, 0));
    });
}

#[test]
fn connections_that_come_and_go_at_once_are_all_told() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let count = if kind.is_tls() { 200 } else { 2000 };
        for number in 0..count {
            let mut peer = world.dial(&address);
            match number % 4 {
                // Gone before it is accepted, with and without a word and an end.
                0 => {}
                1 => assert_eq!(peer.write_some(b"hello").expect("a write"), 5),
                2 => peer.finish(),
                // Gone while it is served.
                _ => {
                    assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
                    world.turn();
                }
            }
        }
        world.until("all to have come", |world| world.log.made() == count);
        world.until_empty();
        let counters = world.reactor().snapshot();
        assert_eq!(
            (counters.accepted, counters.opened, counters.closed_total()),
            (count as u64, count as u64, count as u64)
        );
        let ends = counters.closed_for(Reason::PeerClosed) + counters.closed_for(Reason::Reset);
        assert_eq!((ends, counters.panics), (count as u64, 0));
        // The listener is as well as before.
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
    });
}

#[test]
fn resets_at_once_leave_nothing_behind() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        for number in 0..200 {
            let mut peer = world.dial(&address);
            if number % 2 == 0 {
                assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
            }
            if number % 3 == 0 {
                world.turn();
            }
            peer.reset();
        }
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        drop(peer);
        world.until_empty();
        let counters = world.reactor().snapshot();
        assert_eq!(counters.opened, counters.closed_total());
        assert_eq!(counters.accepted, counters.opened + counters.failed);
        assert_eq!(counters.panics, 0);
    });
}
