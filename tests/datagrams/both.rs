//! IPv4 over sockets of both families: what is asked for and what is answered holds there as on sockets of IPv4. What was
//! sent is looked at where it arrives.

use crate::support::post::{Mate, PostHooks, echoing};
use crate::support::{PATIENCE, World, alone};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use std::io::{IoSliceMut, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use windlass::{
    Address, Client, DatagramConfig, DatagramPeer, EndpointId, Group, Interface, Loopback, Multicast, Offload,
    SendError, Sending, Stack,
};

fn udp(text: &str) -> Address {
    text.parse().expect("an address")
}

fn port_of(address: &Address) -> u16 {
    address.ip().expect("an IP address").port()
}

/// A receiver that is told what the headers said.
struct Looks(Mate);

impl Looks {
    fn at(own: &str) -> Looks {
        let mate = Mate::at(&udp(own));
        if mate.ip().is_ipv4() {
            setsockopt(&mate.socket, sockopt::Ipv4RecvTtl, &true).expect("IP_RECVTTL");
            setsockopt(&mate.socket, sockopt::IpRecvTos, &true).expect("IP_RECVTOS");
        } else {
            setsockopt(&mate.socket, sockopt::Ipv6RecvHopLimit, &true).expect("IPV6_RECVHOPLIMIT");
            setsockopt(&mate.socket, sockopt::Ipv6RecvTClass, &true).expect("IPV6_RECVTCLASS");
        }
        Looks(mate)
    }

    /// How many hops the next datagram may still go, and its type of service.
    fn try_read(&self) -> Option<(i32, i32)> {
        let (mut data, mut control) = ([0; 70_000], nix::cmsg_space!(i32, i32, i32));
        let mut parts = [IoSliceMut::new(&mut data)];
        let fd = self.0.socket.as_raw_fd();
        let came = recvmsg::<SockaddrStorage>(fd, &mut parts, Some(&mut control), MsgFlags::MSG_DONTWAIT).ok()?;
        let (mut ttl, mut tos) = (-1, -1);
        for message in came.cmsgs().expect("they fit") {
            match message {
                ControlMessageOwned::Ipv4Ttl(told) | ControlMessageOwned::Ipv6HopLimit(told) => ttl = told,
                ControlMessageOwned::Ipv4Tos(told) => tos = told.into(),
                ControlMessageOwned::Ipv6TClass(told) => tos = told,
                _ => {}
            }
        }
        Some((ttl, tos))
    }

    fn read_while(&self, world: &mut World) -> (i32, i32) {
        let mut came = None;
        world.until("a datagram", |_| {
            came = came.or_else(|| self.try_read());
            came.is_some()
        });
        came.expect("a datagram")
    }
}

/// The ways to name a peer: as it is, and as a socket of both families names one of IPv4.
fn names(ip: SocketAddr) -> Vec<DatagramPeer> {
    let mapped = match ip.ip() {
        IpAddr::V4(v4) => Some(SocketAddr::new(v4.to_ipv6_mapped().into(), ip.port())),
        IpAddr::V6(_) => None,
    };
    [Some(ip), mapped].into_iter().flatten().map(DatagramPeer::from).collect()
}

fn send(world: &mut World, id: EndpointId, to: &DatagramPeer, count: usize) {
    world.with_post(id, |post| (0..count).for_each(|_| post.send_to(to, &[7; 100]).expect("room")));
}

#[test]
fn hops_and_type_of_service_are_as_asked_for_in_what_arrives() {
    let asked = || DatagramConfig { ttl: Some(7), tos: Some(0xb8), ..DatagramConfig::default() };
    let cases = [
        ("udp4://:0", "udp://127.0.0.1:0"),
        ("udp6://:0", "udp://[::1]:0"),
        ("udp://:0", "udp://[::1]:0"),
        ("udp://:0", "udp://127.0.0.1:0"),
    ];
    for (bound, receiver) in cases {
        eprintln!("from {bound} to {receiver}:");
        let mut world = World::new();
        let looks = Looks::at(receiver);
        let to = looks.0.ip();
        let (id, own) = world.bind_to(&udp(bound), asked(), PostHooks::new());
        let is_v4_only = own.ip().is_some_and(|ip| ip.is_ipv4());
        // Alone, and as one message that is cut.
        for (peer, count) in names(to).iter().flat_map(|peer| [(peer, 1), (peer, 20)]) {
            if is_v4_only && peer.ip() != Some(to) {
                continue;
            }
            send(&mut world, id, peer, count);
            (0..count).for_each(|_| assert_eq!(looks.read_while(&mut world), (7, 0xb8)));
        }
        // Connected, with an address of its own that is of both families.
        let config = DatagramConfig { bind: Some(udp(bound)), ..asked() };
        let hello = PostHooks::new().bound(|sock| sock.send(b"hello").expect("room"));
        world.connect_post(&Address::udp(to), config.clone(), hello);
        assert_eq!(looks.read_while(&mut world), (7, 0xb8));
        let client = Client::builder(Address::udp(to)).datagram_config(config).build().expect("a client");
        client.connect(PATIENCE).expect("a socket");
        (&client).write_all(b"hello").expect("sent");
        assert_eq!(looks.read_while(&mut world), (7, 0xb8));
    }
}

/// A group that nobody else uses: tests run at the same time.
fn group() -> Ipv4Addr {
    static NUMBERS: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(1);
    let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Ipv4Addr::new(239, 254, std::process::id() as u8, number)
}

#[test]
fn what_is_said_of_groups_holds_for_those_of_ipv4() {
    let lo = rustix::net::netdevice::name_to_index(Mate::at(&udp("udp://127.0.0.1:0")).socket, "lo").expect("lo");
    for bound in ["udp4://:0", "udp://:0"] {
        for interface in [Interface::Address(Ipv4Addr::LOCALHOST), Interface::Index(lo)] {
            eprintln!("from {bound} by {interface:?}:");
            let (mut world, group) = (World::new(), group());
            let looks = Looks::at("udp4://:0");
            looks.0.socket.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST).expect("a member");
            let multicast = Multicast { interface, ttl: Some(5), loopback: Loopback::Off, ..Multicast::default() };
            let config = DatagramConfig { multicast, tos: Some(0x20), ..DatagramConfig::default() };
            // What leaves by the interface that loops back comes back by its nature.
            let handler = PostHooks::new()
                .bound(|sock| assert!(!rustix::net::sockopt::ip_multicast_loop(sock).expect("IP_MULTICAST_LOOP")));
            let (id, _) = world.bind_to(&udp(bound), config, handler);
            let to = SocketAddr::new(group.into(), looks.0.ip().port());
            for peer in names(to).iter().take(if bound == "udp://:0" { 2 } else { 1 }) {
                send(&mut world, id, peer, 1);
                assert_eq!(looks.read_while(&mut world), (5, 0x20));
            }
            assert_eq!(world.reactor().snapshot().panics, 0);
        }
    }
    // What cannot be: an address names no interface of IPv6 alone.
    let multicast = Multicast { interface: Interface::Address(Ipv4Addr::LOCALHOST), ..Multicast::default() };
    let config = DatagramConfig { multicast, stack: Stack::V6Only, ..DatagramConfig::default() };
    let error = World::new().reactor().bind(&udp("udp://[::]:0"), config, echoing()).expect_err("no such interface");
    assert!(error.to_string().contains("their number"), "{error}");
}

/// Two spellings of one peer were two peers, and only one of them the sender.
#[test]
fn peers_that_are_named_as_a_socket_of_both_families_names_them_are_those_of_ipv4() {
    let plain: SocketAddr = "127.0.0.1:9".parse().expect("an address");
    for peer in names(plain) {
        assert_eq!((peer.clone(), peer.ip(), peer.to_string()), (plain.into(), Some(plain), format!("udp://{plain}")));
    }
    let mapped = DatagramPeer::resolve(&udp("udp://[::ffff:127.0.0.1]:9")).expect("a peer");
    assert_eq!(mapped, DatagramPeer::from(plain));
    // A socket of IPv4 reaches it under either name, a client too.
    let mate = Mate::at(&udp("udp://127.0.0.1:0"));
    let mut world = World::new();
    let (id, _) = world.bind_to(&udp("udp4://:0"), DatagramConfig::default(), PostHooks::new());
    for peer in names(mate.ip()) {
        send(&mut world, id, &peer, 1);
        assert_eq!(mate.read_while(&mut world), [7; 100]);
    }
    let written = udp(&format!("udp://[::ffff:127.0.0.1]:{}", mate.ip().port()));
    for bind in [None, Some(udp("udp://:0")), Some(udp("udp4://:0"))] {
        let config = DatagramConfig { bind, ..DatagramConfig::default() };
        let client = Client::builder(written.clone()).datagram_config(config).build().expect("a client");
        client.connect(PATIENCE).expect("a socket");
        (&client).write_all(b"hello").expect("sent");
        assert_eq!(mate.read_while(&mut world), b"hello");
        assert_eq!(client.peer_address(), Some(Address::udp(mate.ip())));
    }
}

#[test]
fn what_the_network_says_of_an_ipv4_peer_names_its_ipv4_address() {
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut world = World::new();
    let to = DatagramPeer::from(nobody);
    let handler = PostHooks::new().bound(move |sock| sock.send_to(&to, b"is anybody there?").expect("room"));
    world.bind_to(&udp("udp://:0"), DatagramConfig::default(), handler);
    world.until("a refusal", |world| !world.posts.errors(0).is_empty());
    let told = world.posts.errors(0).remove(0);
    assert!(told.contains(&nobody.to_string()) && !told.contains("ffff"), "{told}");
}

/// A socket of both families is told by IPV6_PKTINFO where a question was sent to, which no answer can leave from.
#[test]
fn questions_to_groups_and_broadcasts_are_answered_from_an_address_of_ours() {
    for (bound, gro) in ["udp4://:0", "udp://:0"].into_iter().flat_map(|b| [(b, Offload::Off), (b, Offload::On)]) {
        let (mut world, group) = (World::new(), group());
        let joined = Group { interface: Interface::Address(Ipv4Addr::LOCALHOST), ..Group::new(group.into()) };
        let multicast = Multicast { groups: vec![joined], ..Multicast::default() };
        let config = DatagramConfig { multicast, gro, ..DatagramConfig::default() };
        let vias = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let told = vias.clone();
        let handler = PostHooks::new().datagram(move |sock, datagram| {
            told.borrow_mut().push((datagram.local, datagram.from.via()));
            assert_eq!(sock.paths().1, Sending::Segmented { bytes_max: usize::MAX });
            // More than one, so that they leave as one message.
            (0..3).for_each(|_| sock.send_to(datagram.from, datagram.data).expect("room"));
        });
        let (_, address) = world.bind_to(&udp(bound), config, handler);
        world.turns(2);
        let everybody = Ipv4Addr::new(127, 255, 255, 255);
        for asked in [group, everybody, Ipv4Addr::new(127, 0, 0, 9), group] {
            let mate = Mate::at(&udp("udp://127.0.0.1:0"));
            mate.socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("IP_MULTICAST_IF");
            mate.socket.set_broadcast(true).expect("SO_BROADCAST");
            for count in [1, 20] {
                eprintln!("{count} questions to {asked}, of {bound} with gro {gro:?}:");
                let to = Address::udp(SocketAddr::new(asked.into(), port_of(&address)));
                (0..count).for_each(|_| mate.send(b"who is there?", &to));
                for _ in 0..3 * count {
                    let (bytes, from) = mate.read_from_while(&mut world);
                    assert_eq!(bytes, b"who is there?");
                    let from = SocketAddr::try_from(from.expect("an address")).expect("an IP address").ip();
                    let is_own = if asked == Ipv4Addr::new(127, 0, 0, 9) { from == asked } else { from.is_loopback() };
                    assert!(is_own && from != everybody, "the answer is from {from}");
                }
                for (local, via) in vias.borrow_mut().drain(..) {
                    assert_eq!(local, Some(asked.into()));
                    assert!(via.is_none_or(|via| !via.is_multicast() && via != everybody), "{via:?}");
                }
            }
        }
        assert_eq!(world.posts.errors(0), Vec::<String>::new());
        assert_eq!(world.reactor().snapshot().panics, 0);
    }
}

/// Whether the address that a question came to is the host's alone is asked with a socket of its own.
#[test]
fn questions_are_answered_without_a_descriptor_to_spare_and_what_was_not_found_out_is_not_kept() {
    let name = "both::questions_are_answered_without_a_descriptor_to_spare_and_what_was_not_found_out_is_not_kept";
    alone(name, || {
        let mut world = World::new();
        let vias = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let told = vias.clone();
        let handler = PostHooks::new().datagram(move |sock, datagram| {
            told.borrow_mut().push(datagram.from.via());
            sock.send_to(datagram.from, datagram.data).expect("room");
        });
        let (_, address) = world.bind_to(&udp("udp://:0"), DatagramConfig::default(), handler);
        let mate = Mate::at(&udp("udp://127.0.0.1:0"));
        mate.socket.set_broadcast(true).expect("SO_BROADCAST");
        let mut ask = |asked: Ipv4Addr| {
            mate.send(b"who is there?", &Address::udp(SocketAddr::new(asked.into(), port_of(&address))));
            let (_, from) = mate.read_from_while(&mut world);
            let from = SocketAddr::try_from(from.expect("an address")).expect("an IP address").ip();
            (vias.borrow_mut().pop().expect("it was asked"), from)
        };
        let [known, alike, new] = [[127, 0, 0, 1], [127, 1, 0, 1], [127, 0, 0, 9]].map(Ipv4Addr::from);
        let everybody = Ipv4Addr::new(127, 255, 255, 255);
        for asked in [known, alike] {
            assert_eq!(ask(asked), (Some(asked.into()), asked.into()));
        }
        let old = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let next = mate.socket.try_clone().expect("the lowest number that is free").as_raw_fd() as u64;
        let tight = rustix::process::Rlimit { current: Some(next), ..old };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, tight).expect("a lower limit");
        for asked in [known, alike] {
            assert_eq!(ask(asked), (Some(asked.into()), asked.into()), "it was found out before");
        }
        for asked in [new, everybody] {
            assert_eq!(ask(asked), (None, known.into()), "the system chooses");
        }
        rustix::process::setrlimit(rustix::process::Resource::Nofile, old).expect("the old limit");
        assert_eq!(ask(new), (Some(new.into()), new.into()));
        assert_eq!(ask(everybody), (None, known.into()));
    });
}

#[test]
fn only_groups_that_the_socket_itself_has_joined_are_received() {
    for bound in ["udp4://:0", "udp://:0"] {
        let (mut world, joined, others) = (World::new(), group(), group());
        let interface = Interface::Address(Ipv4Addr::LOCALHOST);
        let multicast =
            Multicast { groups: vec![Group { interface, ..Group::new(joined.into()) }], ..Multicast::default() };
        let config = DatagramConfig { multicast, ..DatagramConfig::default() };
        let (_, address) = world.bind_to(&udp(bound), config, echoing());
        world.turns(2);
        let other = Mate::at(&udp("udp4://:0"));
        other.socket.join_multicast_v4(&others, &Ipv4Addr::LOCALHOST).expect("a member");
        let mate = Mate::at(&udp("udp://127.0.0.1:0"));
        mate.socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).expect("IP_MULTICAST_IF");
        let to = |ip: Ipv4Addr| Address::udp(SocketAddr::new(ip.into(), port_of(&address)));
        mate.send(b"for others", &to(others));
        mate.send(b"for the group", &to(joined));
        mate.send(b"for it alone", &to(Ipv4Addr::LOCALHOST));
        assert_eq!(mate.read_while(&mut world), b"for the group");
        assert_eq!(mate.read_while(&mut world), b"for it alone");
        assert_eq!(world.posts.datagrams(0), 2);
    }
}

#[test]
fn the_longest_datagram_is_that_of_the_family_it_goes_over() {
    let cases = [("udp4://:0", "127.0.0.1", 65_507), ("udp://:0", "127.0.0.1", 65_507), ("udp://:0", "::1", 65_527)];
    for (bound, peer, limit) in cases {
        let mut world = World::new();
        let mate = Mate::at(&Address::udp(SocketAddr::new(peer.parse().expect("an IP address"), 0)));
        let (id, _) = world.bind_to(&udp(bound), DatagramConfig::default(), PostHooks::new());
        for peer in names(mate.ip()).iter().take(if bound == "udp://:0" { 2 } else { 1 }) {
            let error = world.with_post(id, |post| post.send_to(peer, &vec![1; limit + 1])).expect_err("too long");
            let SendError::Oversize { bytes, limit: told } = error else { panic!("{error}") };
            assert_eq!((bytes, told), (limit + 1, limit));
            world.with_post(id, |post| post.send_to(peer, &vec![1; limit])).expect("room");
            assert_eq!(mate.read_while(&mut world).len(), limit);
        }
        let config = DatagramConfig { bind: Some(udp(bound)), ..DatagramConfig::default() };
        let client = Client::builder(Address::udp(mate.ip())).datagram_config(config).build().expect("a client");
        client.connect(PATIENCE).expect("a socket");
        let error = (&client).write(&vec![1; limit + 1]).expect_err("too long");
        assert!(error.to_string().contains(&limit.to_string()), "{error}");
        (&client).write_all(&vec![1; limit]).expect("sent");
        assert_eq!(mate.read_while(&mut world).len(), limit);
    }
}
