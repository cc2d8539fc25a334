//! Whoever sent a datagram can be answered: now or later, from here or elsewhere.

use crate::support::post::{Mate, PostHooks, Wire, Word, each_wire, echoing};
use crate::support::{World, names_of_peers};
use socket2::{Domain, Socket, Type};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Bytes, Conn, DatagramConfig, DatagramPeer, Error, ListenConfig, SendError, Transport};

/// A place that a handler leaves something in.
fn shared<T>(value: T) -> (Rc<RefCell<T>>, Rc<RefCell<T>>) {
    let shared = Rc::new(RefCell::new(value));
    (shared.clone(), shared)
}

/// A handler that keeps who has sent to it.
fn keeping(kept: Rc<RefCell<Option<DatagramPeer>>>) -> PostHooks {
    PostHooks::new().datagram(move |_, datagram| *kept.borrow_mut() = Some(datagram.from.clone()))
}

#[test]
fn the_sender_is_told_and_can_be_answered_from_a_timer() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (kept, told) = shared(None);
        let late = kept.clone();
        let handler = PostHooks::new()
            .datagram(move |sock, datagram| {
                *told.borrow_mut() = Some(datagram.from.clone());
                sock.set_timer(Duration::from_millis(5));
            })
            .timer(move |sock| {
                let peer = late.borrow().clone().expect("it was kept");
                sock.send_to(&peer, b"later").expect("room");
            });
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        let mate = Mate::new(&mut world, wire);
        mate.send(b"hello", &address);
        assert_eq!(mate.read_while(&mut world), b"later");
        let peer = kept.borrow().clone().expect("it was kept");
        assert_eq!(peer, mate.peer());
        assert_eq!((peer.address(), peer.is_unnamed()), (mate.address(), false));
        assert_eq!(world.posts.words(0), [Word::Bound, Word::Datagram(5), Word::Timer]);
    });
}

#[test]
fn a_sender_can_be_answered_from_another_handler_and_from_outside() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (kept, told) = shared(None);
        let (id, address) = world.bind(wire, DatagramConfig::default(), keeping(told));
        let of_others = kept.clone();
        let other = PostHooks::new().datagram(move |sock, datagram| {
            let peer = of_others.borrow().clone().expect("it was kept");
            assert!(sock.context().endpoint(id).expect("it lives").waiting() == (0, 0));
            sock.context().endpoint(id).expect("it lives").send_to(&peer, datagram.data).expect("room");
            assert_eq!(sock.context().endpoint(id).expect("it lives").waiting(), (1, datagram.data.len()));
            let own = sock.id();
            assert!(sock.context().endpoint(own).is_none(), "that is the one whose callback it is");
        });
        let (_, other) = world.bind(wire, DatagramConfig::default(), other);
        let mate = Mate::new(&mut world, wire);
        mate.send(b"hello", &address);
        world.until("the sender to be told", |_| kept.borrow().is_some());
        mate.send(b"through another", &other);
        let (bytes, from) = mate.read_from_while(&mut world);
        assert_eq!(bytes, b"through another");
        assert_eq!(from, mate_address(&world, id), "it comes from the one that was written to");
        let peer = kept.borrow().clone().expect("it was kept");
        world.with_post(id, |post| post.send_to(&peer, b"from outside")).expect("room");
        assert_eq!(mate.read_while(&mut world), b"from outside");
    });
}

/// Where an endpoint is bound, in the system's words.
fn mate_address(world: &World, id: windlass::EndpointId) -> crate::support::post::From {
    let address = world.endpoint_address(id);
    let named = match (address.ip(), address.path(), address.abstract_name()) {
        (Some(ip), ..) => ip.into(),
        (_, Some(path), _) => rustix::net::SocketAddrUnix::new(path).expect("a path").into(),
        (_, _, Some(name)) => rustix::net::SocketAddrUnix::new_abstract_name(name).expect("a name").into(),
        (None, None, None) => return None,
    };
    Some(named)
}

#[test]
fn a_connections_handler_can_send_datagrams() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let mate = Mate::new(&mut world, wire);
        let to = mate.peer();
        let (id, _) = world.bind(wire, DatagramConfig::default(), PostHooks::new());
        let address = world.listen(crate::support::Kind::Tcp, ListenConfig::default(), move |_: &Conn<'_>| {
            let to = to.clone();
            crate::support::Hooks::new().data(move |conn, data| {
                conn.context().endpoint(id).expect("it lives").send_to(&to, data).expect("room");
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"as a datagram");
        assert_eq!(mate.read_while(&mut world), b"as a datagram");
        drop(peer);
        world.until("the connection to end", |world| world.log.reasons().len() == 1);
    });
}

#[test]
fn a_sender_can_be_answered_from_another_thread() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (kept, told) = shared(None);
        let (id, address) = world.bind(wire, DatagramConfig::default(), keeping(told));
        let mate = Mate::new(&mut world, wire);
        mate.send(b"hello", &address);
        world.until("the sender to be told", |_| kept.borrow().is_some());
        let (remote, peer) = (world.reactor().remote(), kept.borrow().clone());
        let thread = std::thread::spawn(move || {
            for number in 0..300u32 {
                remote.send_datagram(id, peer.clone(), Bytes::copy_from_slice(&number.to_be_bytes())).expect("room");
            }
        });
        let got = mate.read_many_while(&mut world, 300);
        thread.join().expect("it sent");
        assert!(got.iter().map(Vec::as_slice).eq((0..300).map(u32::to_be_bytes)));
    });
}

#[test]
fn what_another_thread_sends_and_is_refused_comes_back_to_on_error() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (seen, told) = shared(Vec::new());
        let handler = PostHooks::new().error(move |_, error| {
            if let windlass::DatagramError::Refused { to, bytes, why } = error {
                told.borrow_mut().push((to.clone(), bytes.clone(), why.to_string()));
            }
        });
        let (id, _) = world.bind(wire, DatagramConfig::default(), handler);
        let remote = world.reactor().remote();
        remote.send_datagram(id, None, Bytes::from_static(b"to whom?")).expect("a command");
        world.until("the refusal", |_| seen.borrow().len() == 1);
        let (to, bytes, why) = seen.borrow_mut().pop().expect("a refusal");
        assert_eq!((to, &bytes[..]), (None, &b"to whom?"[..]));
        assert_eq!(why, Error::NoPeer.to_string());
        remote.close_endpoint(id).expect("a command");
        world.until_post_closed(0);
        remote.send_datagram(id, None, Bytes::from_static(b"too late")).expect("a command");
        world.until("it to be counted", |world| world.reactor().snapshot().undelivered == 1);
        let mut elsewhere = World::new();
        let unsent = elsewhere.reactor().remote().send_datagram(id, None, Bytes::from_static(b"lost"));
        let unsent = unsent.expect_err("of another reactor");
        assert!(matches!(unsent.why, Error::Gone) && unsent.bytes == b"lost"[..]);
        assert!(matches!(elsewhere.reactor().remote().close_endpoint(id), Err(Error::Gone)));
        world.drop_reactor();
        let unsent = remote.send_datagram(id, None, Bytes::from_static(b"lost")).expect_err("it is gone");
        assert!(matches!(unsent.why, Error::ReactorGone) && unsent.bytes == b"lost"[..]);
    });
}

#[test]
fn who_has_no_name_cannot_be_answered_and_that_is_told() {
    each_wire(Wire::UNIX, |wire| {
        let mut world = World::new();
        let (seen, told) = shared(Vec::new());
        let handler = PostHooks::new().datagram(move |sock, datagram| {
            let error = sock.send_to(datagram.from, b"who are you?").expect_err("nobody to answer");
            told.borrow_mut().push((datagram.from.is_unnamed(), datagram.from.to_string(), error.to_string()));
            assert!(matches!(error, SendError::Unanswerable));
        });
        let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
        Mate::unbound(&address).send(b"hello", &address);
        world.until("it", |_| !seen.borrow().is_empty());
        let unanswerable = (true, "unixgram:".to_owned(), Error::Unanswerable.to_string());
        assert_eq!(*seen.borrow(), [unanswerable]);
    });
}

#[test]
fn senders_with_the_longest_names_are_answered_and_a_longer_one_does_no_harm() {
    let mut world = World::new();
    let (_, by_path) = world.bind(Wire::UnixPath, DatagramConfig::default(), echoing());
    let stem = world.path("").as_os_str().len();
    let long = |length: usize| {
        let path = world.path(&"p".repeat(length - stem));
        let mate = Mate::unbound(&by_path);
        let path = rustix::net::SocketAddrUnix::new(&path).expect("the system takes it");
        rustix::net::bind(&mate.socket, &path).expect("a free path");
        mate
    };
    let (longest, longer) = (long(107), long(108));
    longest.send(b"hello", &by_path);
    assert_eq!(longest.read_while(&mut world), b"hello");
    let name = |length| format!("{:x<length$}", format!("windlass {} ", std::process::id()));
    for bytes in [name(107).into_bytes(), [&name(50).into_bytes()[..], b"\0\0\xff\n"].concat()] {
        let mate = Mate::unbound(&by_path);
        let place = rustix::net::SocketAddrUnix::new_abstract_name(&bytes).expect("a name");
        rustix::net::bind(&mate.socket, &place).expect("a free name");
        mate.send(b"hello", &by_path);
        assert_eq!(mate.read_while(&mut world), b"hello");
    }
    // The system takes one byte more than an address of this library, with no NUL at its end.
    let handler = PostHooks::new().datagram(|sock, datagram| {
        assert!(datagram.from.is_unnamed());
        assert!(matches!(sock.send_to(datagram.from, b"x"), Err(SendError::Unanswerable)));
    });
    let (_, address) = world.bind(Wire::UnixPath, DatagramConfig::default(), handler);
    longer.send(b"hello", &address);
    world.until("it to come", |world| world.posts.datagrams(1) == 1);
    assert_eq!(world.reactor().snapshot().panics, 0);
}

#[test]
fn a_socket_with_the_longest_name_can_be_taken_over_and_so_can_one_that_is_connected_to_it() {
    for n in 0..4 {
        let mut world = World::new();
        let (name, called) = names_of_peers(&world.path("")).remove(n);
        let called = called.with_transport(Transport::Unixgram).expect("a name");
        let [named, connected] = [(); 2].map(|()| Socket::new(Domain::UNIX, Type::DGRAM, None).expect("a socket"));
        rustix::net::bind(&named, &name).expect("a free name");
        rustix::net::connect(&connected, &name).expect("a peer");
        let recorded = world.record_post(PostHooks::new());
        let id = world
            .reactor()
            .context()
            .bind_on(OwnedFd::from(named), DatagramConfig::default(), recorded)
            .expect("taken");
        world.turns(1);
        assert_eq!(world.endpoint_address(id), called);
        let handler = world.record_post(PostHooks::new().bound(|sock| sock.send(b"hello").expect("room")));
        let other = world.reactor().context().bind_on(OwnedFd::from(connected), DatagramConfig::default(), handler);
        let other = other.expect("taken");
        world.until("the datagram", |world| world.reactor().snapshot().datagrams.datagrams_in > 0);
        world.close_post(id);
        world.close_post(other);
        world.until("the end", |world| world.reactor().connections() == 0);
    }
}

#[test]
fn a_connected_socket_gets_its_peers_datagrams_only() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (peer, stranger) = (Mate::new(&mut world, wire), Mate::new(&mut world, wire));
        let (of_peer, seen) = (peer.peer(), Rc::new(RefCell::new(Vec::new())));
        let told = seen.clone();
        let handler = PostHooks::new()
            .bound(move |sock| {
                assert_eq!(sock.peer(), Some(&of_peer));
                sock.send(b"hello").expect("room");
            })
            .datagram(move |sock, datagram| {
                told.borrow_mut().push(datagram.data.to_vec());
                assert_eq!(Some(datagram.from), sock.peer());
            });
        let (_, address) = world.connect_post(&peer.address(), DatagramConfig::default(), handler);
        assert_eq!(peer.read_while(&mut world), b"hello");
        // A Unix socket refuses a stranger, UDP drops what it sends.
        let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stranger.send(b"stranger", &address)));
        assert_eq!(refused.is_err(), wire.is_unix());
        peer.send(b"peer", &address);
        world.until("the peer's", |_| !seen.borrow().is_empty());
        world.turns(3);
        assert_eq!(*seen.borrow(), [b"peer"]);
    });
}

#[test]
fn a_connected_and_a_bound_endpoint_talk_to_each_other() {
    each_wire(Wire::ALL, |wire| {
        let mut world = World::new();
        let (_, address) = world.bind(wire, DatagramConfig::default(), echoing());
        let (seen, told) = shared(Vec::new());
        let handler = PostHooks::new()
            .bound(|sock| (0..100u8).for_each(|number| sock.send(&[number]).expect("room")))
            .datagram(move |_, datagram| told.borrow_mut().extend_from_slice(datagram.data));
        world.connect_post(&address, DatagramConfig::default(), handler);
        world.until("all answers", |_| seen.borrow().len() == 100);
        assert!(seen.borrow().iter().copied().eq(0..100));
    });
}
