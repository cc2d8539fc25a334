//! Which address a datagram came to and an answer leaves from, what its header said, groups, and shared ports.

use crate::support::post::{Mate, PostHooks, Wire, each_wire, echoing};
use crate::support::{World, skip};
use rustix::net::sockopt;
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use windlass::{
    Address, Datagram, DatagramConfig, DatagramPeer, Ecn, Error, Group, Interface, Loopback, Multicast, Offload, Reuse,
    Stack,
};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

fn udp(text: &str) -> Address {
    text.parse().expect("an address")
}

/// A handler that notes something of each datagram and echoes it.
fn noting<T: 'static>(of: impl Fn(&Datagram<'_>) -> T + 'static) -> (Rc<RefCell<Vec<T>>>, PostHooks) {
    let notes = Rc::new(RefCell::new(Vec::new()));
    let told = notes.clone();
    let handler = PostHooks::new().datagram(move |sock, datagram| {
        told.borrow_mut().push(of(datagram));
        sock.send_to(datagram.from, datagram.data).expect("room");
    });
    (notes, handler)
}

fn port_of(address: &Address) -> u16 {
    address.ip().expect("an IP address").port()
}

/// The interface that loops back.
fn loopback_index() -> u32 {
    rustix::net::netdevice::name_to_index(Mate::at(&udp("udp://127.0.0.1:0")).socket, "lo").expect("an interface lo")
}

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    let cases = [
        ("udp4://0.0.0.0:0", "udp://127.0.0.1:0", "127.0.0.1"),
        ("udp4://0.0.0.0:0", "udp://127.0.0.1:0", "127.0.0.2"),
        ("udp4://0.0.0.0:0", "udp://127.0.0.3:0", "127.8.9.10"),
        ("udp://[::]:0", "udp://127.0.0.1:0", "127.0.0.2"),
        ("udp://[::]:0", "udp://[::1]:0", "::1"),
        ("udp6://[::]:0", "udp://[::1]:0", "::1"),
        ("udp://:0", "udp://127.0.0.1:0", "127.0.0.2"),
    ];
    for (bound, from, asked) in cases {
        for (gro, gso) in [(Offload::Off, Offload::On), (Offload::On, Offload::Off)] {
            eprintln!("{from} asks {asked} of {bound}");
            let mut world = World::new();
            let (notes, handler) = noting(|datagram| (datagram.local, datagram.from.via()));
            let config = DatagramConfig { gro, gso, ..DatagramConfig::default() };
            let (_, address) = world.bind_to(&udp(bound), config, handler);
            let to = SocketAddr::new(ip(asked), port_of(&address));
            let mate = Mate::at(&udp(from));
            // One, and several that leave together.
            for count in [1, 20] {
                (0..count).for_each(|_| mate.send(b"who am I asking?", &Address::udp(to)));
                for _ in 0..count {
                    let (_, from) = mate.read_from_while(&mut world);
                    let from = SocketAddr::try_from(from.expect("an address")).expect("an IP address");
                    assert_eq!(from, to, "the answer comes from elsewhere");
                }
            }
            for (local, via) in notes.borrow().iter() {
                assert_eq!(local.expect("it is told"), ip(asked));
                assert_eq!(via.expect("it is told"), ip(asked));
            }
        }
    }
}

#[test]
fn a_socket_with_one_address_tells_it_and_needs_no_other() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let (notes, handler) = noting(|datagram| (datagram.local, datagram.from.via()));
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        let mate = Mate::new(&mut world, wire);
        mate.send(b"hello", &address);
        assert_eq!(mate.read_while(&mut world), b"hello");
        assert_eq!(*notes.borrow(), [(address.ip().map(|ip| ip.ip()), None)]);
    });
}

#[test]
fn a_peer_of_another_socket_is_sent_to_from_the_own_address() {
    let mut world = World::new();
    let kept = Rc::new(RefCell::new(None));
    let told = kept.clone();
    let handler = PostHooks::new().datagram(move |_, datagram| *told.borrow_mut() = Some(datagram.from.clone()));
    let (_, asked) = world.bind_to(&udp("udp4://0.0.0.0:0"), DatagramConfig::default(), handler);
    let (other, own) = world.bind_to(&udp("udp://127.0.0.1:0"), DatagramConfig::default(), PostHooks::new());
    let mate = Mate::at(&udp("udp://127.0.0.1:0"));
    mate.send(b"hello", &Address::udp(SocketAddr::new(ip("127.0.0.2"), port_of(&asked))));
    world.until("it", |_| kept.borrow().is_some());
    let peer = kept.borrow().clone().expect("it was kept");
    assert_eq!(peer.via(), Some(ip("127.0.0.2")));
    world.with_post(other, |post| post.send_to(&peer, b"from here")).expect("room");
    let (_, from) = mate.read_from_while(&mut world);
    let from = SocketAddr::try_from(from.expect("an address")).expect("an IP address");
    assert_eq!(Some(from), own.ip());
}

#[test]
fn peers_of_one_host_are_told_apart_by_what_they_asked_and_both_are_answered() {
    let mut world = World::new();
    let kept = Rc::new(RefCell::new(Vec::<DatagramPeer>::new()));
    let told = kept.clone();
    let handler = PostHooks::new().datagram(move |sock, datagram| {
        told.borrow_mut().push(datagram.from.clone());
        if told.borrow().len() == 4 {
            // All at once: those that leave from different addresses cannot leave together.
            for (number, peer) in told.borrow().iter().enumerate() {
                for _ in 0..3 {
                    sock.send_to(peer, &[number as u8; 9]).expect("room");
                }
            }
        }
    });
    let (_, address) = world.bind_to(&udp("udp4://0.0.0.0:0"), DatagramConfig::default(), handler);
    let mates = [Mate::at(&udp("udp://127.0.0.1:0")), Mate::at(&udp("udp://127.0.0.1:0"))];
    let asked = ["127.0.0.1", "127.0.0.2"].map(|text| SocketAddr::new(ip(text), port_of(&address)));
    for mate in &mates {
        for to in asked {
            mate.send(b"hello", &Address::udp(to));
        }
    }
    for (n, mate) in mates.iter().enumerate() {
        let mut from = (0..6).map(|_| {
            let (bytes, from) = mate.read_from_while(&mut world);
            (SocketAddr::try_from(from.expect("an address")).expect("an IP address"), usize::from(bytes[0]))
        });
        let mut all: Vec<_> = from.by_ref().collect();
        all.sort();
        let expected: Vec<_> = [(asked[0], 2 * n); 3].into_iter().chain([(asked[1], 2 * n + 1); 3]).collect();
        assert_eq!(all, expected);
    }
    let kept = kept.borrow();
    assert!(kept[0] != kept[1] && kept[0].ip() == kept[1].ip());
}

#[test]
fn congestion_on_the_way_is_told() {
    each_wire(Wire::UDP, |wire| {
        for gro in [Offload::Off, Offload::On] {
            let mut world = World::new();
            let (notes, handler) = noting(|datagram| datagram.ecn);
            let (_, address) = world.bind(wire, DatagramConfig { gro, ..DatagramConfig::default() }, handler);
            let mate = Mate::new(&mut world, wire);
            let bits = [Ecn::NotCapable, Ecn::Capable1, Ecn::Capable0, Ecn::Congested];
            for (bits, _) in bits.iter().enumerate() {
                match wire {
                    Wire::UdpV6 => sockopt::set_ipv6_tclass(&mate.socket, 0x28 | bits as u32).expect("IPV6_TCLASS"),
                    _ => mate.socket.set_tos_v4(0x28 | bits as u32).expect("IP_TOS"),
                }
                mate.send(b"hello", &address);
                mate.read_while(&mut world);
            }
            assert_eq!(*notes.borrow(), bits.map(Some));
        }
    });
}

#[test]
fn congestion_is_told_of_ipv4_peers_of_a_dual_stack_socket_too() {
    let mut world = World::new();
    let (notes, handler) = noting(|datagram| datagram.ecn);
    let (_, address) = world.bind_to(&udp("udp://[::]:0"), DatagramConfig::default(), handler);
    let mate = Mate::at(&udp("udp://127.0.0.1:0"));
    mate.socket.set_tos_v4(3).expect("IP_TOS");
    mate.send(b"hello", &Address::udp(SocketAddr::new(ip("127.0.0.1"), port_of(&address))));
    mate.read_while(&mut world);
    assert_eq!(*notes.borrow(), [Some(Ecn::Congested)]);
}

#[test]
fn peers_of_both_families_in_turns_lose_nothing_of_what_is_told() {
    let mut world = World::new();
    let (notes, handler) = noting(|datagram| (datagram.local, datagram.ecn));
    let (_, address) = world.bind_to(&udp("udp://[::]:0"), DatagramConfig::default(), handler);
    // Another one, whose datagrams bring less, or more.
    let config = DatagramConfig { gro: Offload::Off, ..DatagramConfig::default() };
    let (_, only_v4) = world.bind_to(&udp("udp4://:0"), config, echoing());
    let mates = ["127.0.0.1", "::1"].map(|own| Mate::at(&Address::udp(SocketAddr::new(ip(own), 0))));
    let mut expected = Vec::new();
    for round in 0..30 {
        let asked = ip(["127.0.0.2", "::1"][round % 2]);
        (0..round)
            .for_each(|_| mates[round % 2].send(b"hello", &Address::udp(SocketAddr::new(asked, port_of(&address)))));
        mates[0].send(b"and", &Address::udp(SocketAddr::new(ip("127.0.0.3"), port_of(&only_v4))));
        expected.extend(vec![(Some(asked), Some(Ecn::NotCapable)); round]);
        world.until("them", |_| notes.borrow().len() == expected.len());
    }
    assert_eq!(*notes.borrow(), expected);
}

#[test]
fn what_is_asked_for_is_in_the_header_of_what_is_sent() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let (notes, handler) = noting(|datagram| datagram.ecn);
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        let config = DatagramConfig { tos: Some(0x2a), ttl: Some(3), ..DatagramConfig::default() };
        let sender = PostHooks::new().bound(move |sock| {
            sock.send(b"hello").expect("room");
            let (ttl, tos) = match wire {
                Wire::UdpV6 => (
                    sockopt::ipv6_unicast_hops(&sock).expect("an option").into(),
                    sockopt::ipv6_tclass(&sock).expect("an option"),
                ),
                _ => (sockopt::ip_ttl(&sock).expect("an option"), sockopt::ip_tos(&sock).expect("an option").into()),
            };
            assert_eq!((ttl, tos), (3, 0x2a));
        });
        world.connect_post(&address, config, sender);
        world.until("the echo", |world| world.posts.datagrams(1) == 1);
        assert_eq!(*notes.borrow(), [Some(Ecn::Capable0)]);
    });
}

#[test]
fn dual_stack_sockets_serve_both_families_and_others_their_own() {
    let cases = [
        ("udp://[::]:0", Stack::Dual, true, true),
        ("udp://[::]:0", Stack::V6Only, false, true),
        ("udp6://[::]:0", Stack::Dual, false, true),
        ("udp4://:0", Stack::Dual, true, false),
        ("udp://:0", Stack::Dual, true, true),
    ];
    for (bound, stack, v4, v6) in cases {
        let mut world = World::new();
        let config = DatagramConfig { stack, ..DatagramConfig::default() };
        let (_, address) = world.bind_to(&udp(bound), config, echoing());
        world.turns(2);
        for (text, served) in [("127.0.0.1", v4), ("::1", v6)] {
            let to = Address::udp(SocketAddr::new(ip(text), port_of(&address)));
            let mate = Mate::at(&Address::udp(SocketAddr::new(ip(text), 0)));
            mate.send(b"hello", &to);
            if served {
                assert_eq!(mate.read_while(&mut world), b"hello");
            } else {
                world.turns(3);
                let reached = mate.socket.take_error().expect("SO_ERROR").is_none() && mate.try_read().is_some();
                assert!(!reached, "{bound} as {stack:?} was reached by {text}");
            }
        }
    }
}

#[test]
fn senders_are_spread_over_sockets_that_share_a_port() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let config = DatagramConfig { reuse: Reuse::Port, ..DatagramConfig::default() };
        let (_, address) = world.bind(wire, config.clone(), echoing());
        let (_, same) = world.bind_to(&address, config, echoing());
        assert_eq!(address, same);
        for _ in 0..64 {
            let mate = Mate::new(&mut world, wire);
            mate.send(b"hello", &address);
            assert_eq!(mate.read_while(&mut world), b"hello");
        }
        let (first, second) = (world.posts.datagrams(0), world.posts.datagrams(1));
        assert_eq!(first + second, 64);
        assert!(first > 0 && second > 0, "all went to one");
        let refused = world.reactor().bind(&address, DatagramConfig::default(), echoing());
        assert!(refused.is_err(), "who does not share it cannot have it");
    });
}

// --- groups -------------------------------------------------------------------------------------------------------

/// A group that nobody else uses: tests run at the same time.
fn group(wire: Wire) -> IpAddr {
    static NUMBERS: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(1);
    let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let [high, low] = ((std::process::id() as u16 & 0xff) << 8 | number).to_be_bytes();
    match wire {
        Wire::UdpV4 => Ipv4Addr::new(239, 255, high, low).into(),
        _ => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0x77, u16::from_be_bytes([high, low])).into(),
    }
}

/// Where a member binds: everybody's address of its family.
fn any(wire: Wire) -> Address {
    udp(if wire == Wire::UdpV4 { "udp4://0.0.0.0:0" } else { "udp6://[::]:0" })
}

/// The number of an interface that has a route to groups of IPv6; the one that loops back seldom has.
fn index_v6() -> Option<u32> {
    let routes = std::fs::read_to_string("/proc/net/ipv6_route").ok()?;
    let of_groups = routes.lines().find(|route| route.starts_with("ff00") && route[32..].starts_with(" 08"))?;
    let name = of_groups.split_whitespace().last()?;
    rustix::net::netdevice::name_to_index(Mate::at(&udp("udp://[::1]:0")).socket, name).ok()
}

/// How to send to groups, without a datagram that leaves this host; `None`, and said so, where there is no way.
fn within(wire: Wire) -> Option<Multicast> {
    let interface = match wire {
        Wire::UdpV4 => Interface::Address(Ipv4Addr::LOCALHOST),
        _ => match index_v6() {
            Some(index) => Interface::Index(index),
            None => {
                skip("no interface has a route to groups of IPv6");
                return None;
            }
        },
    };
    Some(Multicast { interface, ttl: Some(0), ..Multicast::default() })
}

#[test]
fn members_of_a_group_receive_what_is_sent_to_it_until_they_leave() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let address = group(wire);
        let Some(multicast) = within(wire) else { return };
        let group = Group { interface: multicast.interface, ..Group::new(address) };
        let config = DatagramConfig {
            multicast: Multicast { groups: vec![group], ..multicast.clone() },
            ..DatagramConfig::default()
        };
        let (notes, handler) = noting(|datagram| datagram.local);
        let leaving = handler.timer(move |sock| {
            sock.leave(&group).expect("it is a member");
            let error = sock.leave(&group).expect_err("not any more");
            assert!(matches!(error, Error::Group { action: "leave", .. }), "{error}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
            sock.join(&group).expect("again");
            sock.join(&group).expect_err("twice");
            sock.leave(&group).expect("it is a member");
        });
        let leaving = leaving.bound(|sock| sock.set_timer(std::time::Duration::from_millis(30)));
        let (_, bound) = world.bind_to(&any(wire), config, leaving);
        let to = DatagramPeer::from(SocketAddr::new(address, port_of(&bound)));
        let sender = DatagramConfig { multicast, ..DatagramConfig::default() };
        let (sender, _) = world.bind_to(&any(wire), sender, PostHooks::new());
        world.turn();
        world.with_post(sender, |post| post.send_to(&to, b"to all")).expect("room");
        world.until("the echo", |world| world.posts.datagrams(1) == 1);
        assert_eq!(*notes.borrow(), [Some(address)], "it was sent to the group");
        world.until("it to leave", |world| world.posts.words(0).contains(&crate::support::post::Word::Timer));
        world.with_post(sender, |post| post.send_to(&to, b"to all")).expect("room");
        world.turns(5);
        assert_eq!((world.posts.datagrams(0), world.reactor().snapshot().panics), (1, 0));
    });
}

#[test]
fn a_group_can_be_joined_by_the_number_of_the_interface() {
    let mut world = World::new();
    let (address, index) = (group(Wire::UdpV4), loopback_index());
    let group = Group { interface: Interface::Index(index), ..Group::new(address) };
    let multicast = Multicast { groups: vec![group], interface: Interface::Index(index), ..Multicast::default() };
    let config = DatagramConfig { multicast, ..DatagramConfig::default() };
    let (id, bound) = world.bind_to(&any(Wire::UdpV4), config, PostHooks::new());
    let to = DatagramPeer::from(SocketAddr::new(address, port_of(&bound)));
    world.with_post(id, |post| post.send_to(&to, b"to all, and me")).expect("room");
    world.until("its own", |world| world.posts.datagrams(0) == 1);
}

#[test]
fn a_group_can_be_joined_for_one_source() {
    let mut world = World::new();
    let address = IpAddr::from(Ipv4Addr::new(232, 1, 2, (std::process::id() % 250) as u8));
    let interface = Interface::Address(Ipv4Addr::LOCALHOST);
    let source = Some(Ipv4Addr::new(127, 0, 0, 2));
    let group = Group { address, source, interface };
    let (notes, handler) = noting(|datagram| datagram.from.ip().map(|ip| ip.ip()));
    let handler = handler.bound(move |sock| sock.join(&group).expect("a group"));
    let (_, bound) = world.bind_to(&any(Wire::UdpV4), DatagramConfig::default(), handler);
    world.turns(2);
    let to = Address::udp(SocketAddr::new(address, port_of(&bound)));
    for own in ["udp://127.0.0.3:0", "udp://127.0.0.2:0"] {
        let mate = Mate::at(&udp(own));
        mate.socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("IP_MULTICAST_IF");
        mate.send(b"hello", &to);
    }
    world.until("the right one", |_| !notes.borrow().is_empty());
    world.turns(3);
    assert_eq!(*notes.borrow(), [Some(ip("127.0.0.2"))]);
}

#[test]
fn what_is_sent_to_a_group_comes_back_only_if_that_is_wanted() {
    each_wire(Wire::UDP, |wire| {
        for loopback in [Loopback::On, Loopback::Off] {
            let Some(multicast) = within(wire) else { return };
            let (mut world, address) = (World::new(), group(wire));
            let group = Group { interface: multicast.interface, ..Group::new(address) };
            let multicast = Multicast { groups: vec![group], loopback, ..multicast };
            let config = DatagramConfig { multicast, ..DatagramConfig::default() };
            let handler = PostHooks::new().bound(move |sock| {
                let port = sock.local_address().and_then(|address| address.ip()).expect("an address").port();
                let to = DatagramPeer::from(SocketAddr::new(address, port));
                sock.send_to(&to, b"to all").expect("room");
                let is_on = match wire {
                    Wire::UdpV4 => sockopt::ip_multicast_loop(&sock).expect("an option"),
                    _ => sockopt::ipv6_multicast_loop(&sock).expect("an option"),
                };
                assert_eq!(is_on, loopback == Loopback::On);
            });
            world.bind_to(&any(wire), config, handler);
            world.turns(5);
            assert_eq!((world.posts.errors(0), world.reactor().snapshot().panics), (vec![], 0));
            // What leaves by the interface that loops back comes back by its nature.
            let is_lo = wire == Wire::UdpV4 || index_v6() == Some(loopback_index());
            assert_eq!(world.posts.datagrams(0) > 0, is_lo || loopback == Loopback::On, "{loopback:?}");
        }
    });
}

#[test]
fn what_is_no_group_or_of_another_family_cannot_be_joined() {
    each_wire(Wire::UDP, |wire| {
        let mut world = World::new();
        let other = group(if wire == Wire::UdpV4 { Wire::UdpV6 } else { Wire::UdpV4 });
        let handler = PostHooks::new().bound(move |sock| {
            let error = sock.join(&Group::new(ip("127.0.0.1"))).expect_err("no group");
            assert!(matches!(error, Error::Config { .. }), "{error}");
            if other.is_ipv6() {
                let error = sock.join(&Group::new(other)).expect_err("of another family");
                assert!(matches!(error, Error::Group { action: "join", .. }), "{error}");
            }
        });
        world.bind(wire, DatagramConfig::default(), handler);
        world.turns(2);
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
    let mut world = World::new();
    let multicast = Multicast { groups: vec![Group::new(group(Wire::UdpV6))], ..Multicast::default() };
    let config = DatagramConfig { multicast, ..DatagramConfig::default() };
    let error = world.reactor().bind(&any(Wire::UdpV4), config, echoing()).expect_err("of another family");
    assert!(matches!(error, Error::Listen { .. }), "{error}");
}
