//! What the network and the system refuse is told, once, and ends nothing.

use crate::support::post::{Mate, PostHooks, Wire, Word, each_wire};
use crate::support::{World, at_once, skip};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use windlass::{
    Broadcast, DatagramConfig, DatagramError, DatagramPeer, Fragmentation, IcmpErrors, Offload, SendError, Stack,
};

/// Turns that a reactor may do in a while in which nothing happens.
const FEW: u64 = 10;

/// Where nobody is.
fn nobody(world: &mut World, wire: Wire) -> DatagramPeer {
    Mate::new(world, wire).peer()
}

fn assert_idle(world: &mut World) {
    let turns = world.turns_within(Duration::from_millis(100));
    assert!(turns < FEW, "{turns} turns while nothing happened");
}

#[test]
fn a_connected_socket_is_told_once_that_nobody_is_there_and_goes_on() {
    each_wire(Wire::UDP, |wire| {
        at_once(&[IcmpErrors::Told, IcmpErrors::Ignored], |icmp_errors| {
            let mut world = World::new();
            let address = nobody(&mut world, wire).address();
            let seen = Rc::new(RefCell::new(Vec::new()));
            let told = seen.clone();
            let handler = PostHooks::new().error(move |_, error| {
                told.borrow_mut().push(match error {
                    DatagramError::Network { to, source, .. } => (to.as_ref().map(|to| to.address()), source.kind()),
                    DatagramError::Socket { source } => (None, source.kind()),
                    error => panic!("{error}"),
                });
            });
            let config = DatagramConfig { icmp_errors, ..DatagramConfig::default() };
            let (id, _) = world.connect_post(&address, config, handler);
            for round in 1..4 {
                world.with_post(id, |post| post.send(b"anybody there?")).expect("room");
                world.until("it to be told", |_| seen.borrow().len() == round);
                world.turns(5);
                assert_eq!(seen.borrow().len(), round, "{:?}", seen.borrow());
                assert_idle(&mut world);
            }
            let named = (icmp_errors == IcmpErrors::Told).then(|| address.clone());
            assert!(seen.borrow().iter().all(|told| *told == (named.clone(), ErrorKind::ConnectionRefused)));
            // Somebody comes: each datagram was sent, and none is lost for an error of an earlier one.
            let mate = Mate::at(&address);
            for number in 0..5u8 {
                world.with_post(id, |post| post.send(&[number])).expect("room");
            }
            assert_eq!(mate.read_many_while(&mut world, 5), [[0], [1], [2], [3], [4]]);
            let stats = world.with_post(id, |post| post.stats());
            assert_eq!((stats.datagrams_out, stats.undelivered), (8, 0));
            assert_eq!(seen.borrow().len(), 3);
        });
    });
}

#[test]
fn an_unconnected_socket_is_told_whom_it_did_not_reach_if_it_wants() {
    each_wire(Wire::UDP, |wire| {
        at_once(&[IcmpErrors::Told, IcmpErrors::Ignored], |icmp_errors| {
            let mut world = World::new();
            let to = nobody(&mut world, wire);
            let seen = Rc::new(RefCell::new(Vec::new()));
            let told = seen.clone();
            let handler = PostHooks::new().error(move |_, error| {
                let DatagramError::Network { to, by, icmp, source } = error else { panic!("{error}") };
                told.borrow_mut().push((to.clone(), by.is_some(), icmp.is_some(), source.kind()));
            });
            let config = DatagramConfig { icmp_errors, ..DatagramConfig::default() };
            let (id, address) = world.bind(wire, config, handler);
            world.turns(2);
            world.with_post(id, |post| post.send_to(&to, b"anybody there?")).expect("room");
            world.turns(10);
            match icmp_errors {
                IcmpErrors::Told => {
                    assert_eq!(*seen.borrow(), [(Some(to), true, true, ErrorKind::ConnectionRefused)])
                }
                IcmpErrors::Ignored => assert_eq!(*seen.borrow(), []),
            }
            assert_idle(&mut world);
            let mate = Mate::new(&mut world, wire);
            mate.send(b"I am", &address);
            world.until("a datagram", |world| world.posts.datagrams(0) == 1);
            assert_eq!(world.posts.reason(0), None);
        });
    });
}

#[test]
fn a_dead_peer_costs_the_living_ones_around_it_nothing() {
    for gso in [Offload::On, Offload::Off] {
        for icmp_errors in [IcmpErrors::Told, IcmpErrors::Ignored] {
            at_once(&[1u32, 2, 5, 40, 200], |rounds| {
                each_wire(Wire::UDP, |wire| {
                    let mut world = World::new();
                    let living: Vec<_> = (0..3).map(|_| Mate::new(&mut world, wire)).collect();
                    living.iter().for_each(|mate| mate.socket.set_recv_buffer_size(4 << 20).expect("SO_RCVBUF"));
                    let dead = nobody(&mut world, wire);
                    let to: Vec<_> = living.iter().map(Mate::peer).collect();
                    let expected = dead.clone();
                    let handler = PostHooks::new()
                        .bound(move |sock| {
                            for number in 0..rounds {
                                sock.send_to(&dead, &[0; 50]).expect("room");
                                for peer in &to {
                                    // Runs of one length, and single ones.
                                    let length = if number % 10 < 6 { 100 } else { number as usize };
                                    let bytes = [&number.to_be_bytes()[..], &vec![1; length]].concat();
                                    sock.send_to(peer, &bytes).expect("room");
                                    if number % 7 == 0 {
                                        sock.send_to(&dead, &[0; 30]).expect("room");
                                    }
                                }
                            }
                        })
                        .error(move |_, error| {
                            let DatagramError::Network { to, .. } = error else { panic!("{error}") };
                            assert_eq!(to.as_ref(), Some(&expected), "nobody else is meant");
                        });
                    let config = DatagramConfig { gso, icmp_errors, ..DatagramConfig::default() };
                    let (id, _) = world.bind(wire, config, handler);
                    for mate in &living {
                        let got = mate.read_many_while(&mut world, rounds as usize);
                        let numbers = got.iter().map(|bytes| u32::from_be_bytes(bytes[..4].try_into().expect("4")));
                        assert!(numbers.eq(0..rounds), "{} of {rounds} came, or in another order", got.len());
                    }
                    world.turns(3);
                    assert!(living.iter().all(|mate| mate.try_read().is_none()), "more came than was sent");
                    let stats = world.with_post(id, |post| post.stats());
                    let to_dead = rounds + rounds.div_ceil(7) * 3;
                    assert_eq!(stats.datagrams_out, u64::from(3 * rounds + to_dead));
                    assert_eq!(stats.undelivered, 0);
                    let told = world.posts.errors(0).len();
                    assert_eq!(told > 0, icmp_errors == IcmpErrors::Told);
                    assert_idle(&mut world);
                });
            });
        }
    }
}

#[test]
fn a_connected_socket_loses_no_datagram_to_errors_of_earlier_ones() {
    each_wire(Wire::UDP, |wire| {
        for icmp_errors in [IcmpErrors::Told, IcmpErrors::Ignored] {
            for gso in [Offload::On, Offload::Off] {
                let mut world = World::new();
                let address = nobody(&mut world, wire).address();
                let handler = PostHooks::new().bound(|sock| {
                    for number in 0..100 {
                        sock.send(&vec![0; 10 + number % 3]).expect("room");
                    }
                });
                let config = DatagramConfig { icmp_errors, gso, ..DatagramConfig::default() };
                let (id, _) = world.connect_post(&address, config, handler);
                world.until("all to be sent", |world| {
                    let stats = world.with_post(id, |post| post.stats());
                    assert_eq!(stats.undelivered, 0, "{:?}", world.posts.errors(0));
                    stats.datagrams_out == 100
                });
                world.turns(5);
                assert!(!world.posts.errors(0).is_empty());
                assert_idle(&mut world);
            }
        }
    });
}

#[test]
fn a_paused_socket_is_told_of_errors_all_the_same() {
    at_once(&[IcmpErrors::Told, IcmpErrors::Ignored], |icmp_errors| {
        let mut world = World::new();
        let address = nobody(&mut world, Wire::UdpV4).address();
        let config = DatagramConfig { icmp_errors, ..DatagramConfig::default() };
        let (id, _) = world.connect_post(&address, config, PostHooks::new().bound(|sock| sock.pause()));
        world.with_post(id, |post| post.send(b"anybody there?")).expect("room");
        world.until("it to be told", |world| !world.posts.errors(0).is_empty());
        assert_eq!(world.posts.errors(0).len(), 1);
        assert_idle(&mut world);
    });
}

#[test]
fn an_answer_that_meets_the_error_of_an_earlier_datagram_is_sent_all_the_same_and_the_error_told() {
    at_once(&[IcmpErrors::Told, IcmpErrors::Ignored], |icmp_errors| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, Wire::UdpV4);
        let (address, first) = (mate.address(), Rc::new(RefCell::new(Some(mate))));
        let (gone, came) = (first.clone(), Rc::new(RefCell::new(None)));
        let (back, at) = (came.clone(), address.clone());
        let handler = PostHooks::new().datagram(move |sock, _| {
            // The peer goes, what is sent meanwhile comes back as an error, and it is there again.
            drop(gone.take());
            rustix::net::send(&*sock, b"meanwhile", rustix::net::SendFlags::NOSIGNAL).expect("room");
            *back.borrow_mut() = Some(Mate::at(&at));
            sock.send(b"answer").expect("room");
        });
        let config = DatagramConfig { icmp_errors, ..DatagramConfig::default() };
        let (id, local) = world.connect_post(&address, config, handler);
        first.borrow().as_ref().expect("it is there").send(b"question", &local);
        world.until("the question", |world| world.posts.datagrams(0) == 1);
        assert_eq!(came.borrow().as_ref().expect("it is back").read_while(&mut world), b"answer");
        world.until("it to be told", |world| !world.posts.errors(0).is_empty());
        let stats = world.with_post(id, |post| post.stats());
        assert_eq!((stats.datagrams_out, stats.undelivered, world.posts.errors(0).len()), (1, 0, 1));
        assert_idle(&mut world);
    });
}

#[test]
fn what_cannot_be_sent_is_told_each_and_costs_the_others_nothing() {
    for gso in [Offload::On, Offload::Off] {
        let mut world = World::new();
        // Nobody may broadcast unless it was allowed.
        let bad = DatagramPeer::from("255.255.255.255:9".parse::<std::net::SocketAddr>().expect("an address"));
        let mate = Mate::new(&mut world, Wire::UdpV4);
        let (to, expected) = (mate.peer(), bad.clone());
        let seen = Rc::new(RefCell::new(Vec::new()));
        let told = seen.clone();
        let handler = PostHooks::new()
            .bound(move |sock| {
                for number in 0..30u8 {
                    sock.send_to(&to, &[number; 20]).expect("room");
                    sock.send_to(&bad, &[0; 20]).expect("room");
                }
            })
            .error(move |_, error| {
                let DatagramError::Send { to, bytes: 20, source } = error else { panic!("{error}") };
                assert_eq!(to.as_ref(), Some(&expected));
                told.borrow_mut().push(source.kind());
            });
        world.bind(Wire::UdpV4, DatagramConfig { gso, ..DatagramConfig::default() }, handler);
        let got = mate.read_many_while(&mut world, 30);
        assert!(got.iter().map(|bytes| bytes[0]).eq(0..30));
        world.until("all to be told", |_| seen.borrow().len() == 30);
        assert!(seen.borrow().iter().all(|told| *told == ErrorKind::PermissionDenied), "{:?}", seen.borrow());
        assert_idle(&mut world);
    }
}

#[test]
fn nobody_is_at_port_0_or_at_all_addresses_and_that_is_told_at_once() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let ip = Mate::new(&mut world, wire).ip();
        let nobody = [
            SocketAddr::new(ip.ip(), 0),
            (Ipv4Addr::UNSPECIFIED, ip.port()).into(),
            (Ipv6Addr::UNSPECIFIED, ip.port()).into(),
            (Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), ip.port()).into(),
        ];
        let handler = PostHooks::new().bound(move |sock| {
            for ip in nobody {
                let error = sock.send_to(&DatagramPeer::from(ip), b"x").expect_err("nobody is there");
                assert!(matches!(error, SendError::Unanswerable), "{ip}: {error}");
            }
        });
        world.bind(wire, DatagramConfig::default(), handler);
        world.turns(2);
        assert_eq!((world.posts.words(0), world.reactor().snapshot().panics), (vec![Word::Bound], 0));
    });
}

#[test]
fn broadcasts_are_sent_where_they_are_allowed() {
    let mut world = World::new();
    let mate = Mate::at(&"udp://127.255.255.255:0".parse().expect("an address"));
    let to = DatagramPeer::from(mate.ip());
    let handler = PostHooks::new().bound(move |sock| sock.send_to(&to, b"all").expect("room"));
    let config = DatagramConfig { broadcast: Broadcast::Allowed, ..DatagramConfig::default() };
    world.bind(Wire::UdpV4, config, handler);
    assert_eq!(mate.read_while(&mut world), b"all");
}

#[test]
fn a_peer_of_another_kind_or_ip_version_is_refused() {
    let mut world = World::new();
    let peers = Wire::ALL.iter().map(|wire| Mate::new(&mut world, *wire).peer()).collect::<Vec<_>>();
    for (n, wire) in Wire::ALL.iter().enumerate() {
        let peers = peers.clone();
        let handler = PostHooks::new().bound(move |sock| {
            for (at, peer) in peers.iter().enumerate() {
                // Of the Unix kinds each reaches the other. A socket of [::1] is left to the system.
                if at == n || (at >= 2 && n >= 2) || (n == 1 && at == 0) {
                    continue;
                }
                let error = sock.send_to(peer, b"x").expect_err("another kind");
                assert!(matches!(error, SendError::OtherKind(_)), "{error}");
                assert!(error.to_string().contains(&peer.to_string()), "{error}");
            }
        });
        world.bind(*wire, DatagramConfig::default(), handler);
    }
    let v4 = peers[0].clone();
    let handler = PostHooks::new().bound(move |sock| {
        let error = sock.send_to(&v4, b"x").expect_err("another IP version");
        assert!(matches!(error, SendError::OtherKind(_)), "{error}");
    });
    let config = DatagramConfig { stack: Stack::V6Only, ..DatagramConfig::default() };
    world.bind(Wire::UdpV6, config, handler);
    world.turns(3);
    assert_eq!(world.reactor().snapshot().panics, 0);
    assert_eq!(world.posts.words(4), [Word::Bound]);
}

#[test]
fn thousands_of_errors_at_once_are_each_told() {
    const COUNT: usize = 20_000;
    let mut world = World::new();
    let bad = DatagramPeer::from("255.255.255.255:9".parse::<std::net::SocketAddr>().expect("an address"));
    let handler = PostHooks::new().bound(move |sock| {
        (0..COUNT).for_each(|_| sock.send_to(&bad, b"x").expect("room"));
        crate::support::post::close(sock);
    });
    world.bind(Wire::UdpV4, DatagramConfig::default(), handler);
    world.until_post_closed(0);
    assert_eq!(world.posts.errors(0).len(), COUNT);
}

#[test]
fn what_is_too_long_for_the_way_and_must_not_be_cut_is_told_once() {
    let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").ok().and_then(|mtu| mtu.trim().parse().ok());
    if mtu != Some(65_536) {
        skip(&format!("the way back is {mtu:?} bytes wide"));
        return;
    }
    for icmp_errors in [IcmpErrors::Told, IcmpErrors::Ignored] {
        let mut world = World::new();
        let mate = Mate::new(&mut world, Wire::UdpV6);
        let (to, expected) = (mate.peer(), mate.peer());
        let handler = PostHooks::new()
            .bound(move |sock| {
                sock.send_to(&to, b"before").expect("room");
                sock.send_to(&to, &[0; 65_527]).expect("room");
                sock.send_to(&to, b"behind").expect("room");
            })
            .error(move |_, error| {
                let DatagramError::Send { to, bytes: 65_527, source } = error else { panic!("{error}") };
                assert_eq!((to.as_ref(), source.raw_os_error()), (Some(&expected), Some(90)), "EMSGSIZE");
            });
        let fragmentation = Fragmentation::Never;
        let config = DatagramConfig { fragmentation, icmp_errors, ..DatagramConfig::default() };
        let (id, _) = world.bind(Wire::UdpV6, config, handler);
        assert_eq!(mate.read_many_while(&mut world, 2), [b"before", b"behind"]);
        assert_idle(&mut world);
        assert_eq!(world.posts.errors(0).len(), 1, "{:?}", world.posts.errors(0));
        let stats = world.with_post(id, |post| post.stats());
        assert_eq!((stats.datagrams_out, stats.undelivered), (2, 1));
    }
}
