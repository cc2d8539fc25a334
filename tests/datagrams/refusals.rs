//! A kernel that refuses what most can do: nothing is lost, and the socket says how it goes on.
//!
//! A small library in front of the system calls refuses them (`shim.c`, built here with the C compiler; without one the
//! tests are skipped, and say so). Each test runs itself again under it.
#![cfg(target_env = "gnu")]

use crate::support::post::{Mate, PostHooks, Wire, each_wire, echoing};
use crate::support::{World, skip};
use rustix::io::Errno;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Address, Conn, DatagramConfig, ListenConfig, Offload, Receiving, Sending, Stack};

/// Runs `body` in a process of its own in which the kernel refuses so.
fn refusing(name: &str, refusal: &str, body: impl FnOnce()) {
    if std::env::var("WINDLASS_REFUSES").is_ok_and(|word| word == refusal) {
        return body();
    }
    let dir = tempfile::tempdir().expect("a directory");
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/datagrams/shim.c");
    let library = dir.path().join("shim.so");
    let built = Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    if !built.is_ok_and(|status| status.success()) {
        skip("no C compiler, so nothing can be refused");
        return;
    }
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args(["--exact", &format!("refusals::{name}"), "--nocapture", "--test-threads=1"]);
    let output = command.env("WINDLASS_REFUSES", refusal).env("LD_PRELOAD", library).output().expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{refusal}: {told}{errors}");
}

/// Whether this process is one in which the kernel refuses in another way.
fn is_anothers(refusal: &str) -> bool {
    std::env::var("WINDLASS_REFUSES").is_ok_and(|word| word != refusal)
}

const LENGTHS: [usize; 18] = [40, 90, 90, 90, 50, 30, 30, 1400, 1400, 1400, 7, 200, 200, 10, 10, 2000, 2000, 60];

/// Sends runs and single datagrams to several peers, all of which must get theirs, in order and with no error; returns
/// how the socket sends behind that.
fn sends_all(wire: Wire) -> Sending {
    let mut world = World::new();
    let mates: Vec<_> = (0..3).map(|_| Mate::new(&mut world, wire)).collect();
    let to: Vec<_> = mates.iter().map(Mate::peer).collect();
    let paths = Rc::new(RefCell::new(None));
    let told = paths.clone();
    let handler = PostHooks::new()
        .bound(move |sock| {
            // The first peer's are single ones: they share calls with the runs of the others.
            sock.send_to(&to[0], &[1; 11]).expect("room");
            // One behind the other: of peers that take turns some datagrams may go alone, by the chance of their ports.
            for peer in &to[1..] {
                for (number, length) in LENGTHS.into_iter().enumerate() {
                    sock.send_to(peer, &vec![number as u8; length]).expect("room");
                }
            }
            sock.send_to(&to[0], &[2; 12]).expect("room");
            sock.set_timer(Duration::from_millis(1));
        })
        .timer(move |sock| match sock.waiting() {
            (0, 0) => *told.borrow_mut() = Some(sock.paths().1),
            _ => sock.set_timer(Duration::from_millis(1)),
        });
    world.bind(wire, DatagramConfig::default(), handler);
    world.until("all to be sent", |world| {
        assert_eq!(world.posts.errors(0), Vec::<String>::new());
        paths.borrow().is_some()
    });
    let expected: Vec<_> = LENGTHS.into_iter().enumerate().map(|(n, length)| vec![n as u8; length]).collect();
    assert_eq!(mates[0].read_all(), [vec![1; 11], vec![2; 12]]);
    assert!(mates[1].read_all() == expected && mates[2].read_all() == expected);
    let stats = world.reactor().snapshot().datagrams;
    assert_eq!((stats.datagrams_out, stats.undelivered), (2 * LENGTHS.len() as u64 + 2, 0));
    paths.take().expect("it was told")
}

#[test]
fn where_messages_cannot_be_cut_all_is_sent_all_the_same() {
    for errno in [Errno::IO, Errno::INVAL, Errno::MSGSIZE, Errno::OPNOTSUPP] {
        let refusal = format!("cuts:{}", errno.raw_os_error());
        if is_anothers(&refusal) {
            continue;
        }
        refusing("where_messages_cannot_be_cut_all_is_sent_all_the_same", &refusal, || {
            each_wire(Wire::UDP, |wire| match sends_all(wire) {
                Sending::Batched => assert!(matches!(errno, Errno::IO | Errno::OPNOTSUPP)),
                // Shorter and shorter ones were tried.
                Sending::Segmented { bytes_max } => assert!(bytes_max < 10, "{bytes_max}"),
                Sending::Single => panic!("that was not refused"),
            });
        });
    }
}

#[test]
fn where_the_kernel_itself_cuts_nothing_all_is_sent_all_the_same() {
    refusing("where_the_kernel_itself_cuts_nothing_all_is_sent_all_the_same", "no-checksums", || {
        // Without a checksum a datagram over IPv6 is not received.
        assert_ne!(sends_all(Wire::UdpV4), Sending::Segmented { bytes_max: usize::MAX });
    });
}

#[test]
fn where_only_short_messages_can_be_cut_longer_ones_go_alone() {
    for errno in [Errno::INVAL, Errno::MSGSIZE] {
        let refusal = format!("long-cuts:1000:{}", errno.raw_os_error());
        if is_anothers(&refusal) {
            continue;
        }
        refusing("where_only_short_messages_can_be_cut_longer_ones_go_alone", &refusal, || {
            each_wire(Wire::UDP, |wire| {
                let Sending::Segmented { bytes_max } = sends_all(wire) else { panic!("short ones can be cut") };
                assert_eq!(bytes_max, 1399);
            });
        });
    }
}

#[test]
fn where_the_calls_for_many_are_lacking_one_at_a_time_is_sent_and_received() {
    let refusal = format!("many:{}", Errno::NOSYS.raw_os_error());
    refusing("where_the_calls_for_many_are_lacking_one_at_a_time_is_sent_and_received", &refusal, || {
        each_wire(Wire::UDP, |wire| {
            assert_eq!(sends_all(wire), Sending::Single);
            let mut world = World::new();
            let paths = Rc::new(RefCell::new(None));
            let told = paths.clone();
            let handler = echoing().timer(move |sock| *told.borrow_mut() = Some(sock.paths()));
            let handler = handler.bound(|sock| sock.set_timer(Duration::from_millis(10)));
            let (_, address) = world.bind(wire, DatagramConfig::default(), handler);
            let mate = Mate::new(&mut world, wire);
            for number in 0..100u8 {
                mate.send(&[number; 20], &address);
            }
            let got = mate.read_many_while(&mut world, 100);
            assert!(got.iter().map(|bytes| bytes[0]).eq(0..100));
            world.until("the timer", |_| paths.borrow().is_some());
            assert_eq!(paths.take(), Some((Receiving::Single, Sending::Single)));
        });
    });
}

#[test]
fn a_send_queue_of_the_network_that_is_full_is_waited_for_without_spinning() {
    let refusal = format!("full:{}", Errno::NOBUFS.raw_os_error());
    refusing("a_send_queue_of_the_network_that_is_full_is_waited_for_without_spinning", &refusal, || {
        let mut world = World::new();
        let mate = Mate::new(&mut world, Wire::UdpV4);
        let to = mate.peer();
        let handler = PostHooks::new().bound(move |sock| {
            (0..100u8).for_each(|number| sock.send_to(&to, &[number; 20]).expect("room"));
        });
        let config = DatagramConfig { full_pause: Duration::from_millis(10), ..DatagramConfig::default() };
        let (id, _) = world.bind(Wire::UdpV4, config, handler);
        let turns = world.turns_within(Duration::from_millis(100));
        assert!(turns < 40, "{turns} turns of waiting");
        assert_eq!(world.with_post(id, |post| post.waiting()), (100, 2000));
        let got = mate.read_many_while(&mut world, 100);
        assert!(got.iter().map(|bytes| bytes[0]).eq(0..100));
        assert_eq!(world.posts.errors(0), Vec::<String>::new());
    });
}

#[test]
fn a_udp_socket_that_cannot_send_fills_its_queue_refuses_and_tells_when_there_is_room() {
    let refusal = format!("full:{}", Errno::NOMEM.raw_os_error());
    let name = "a_udp_socket_that_cannot_send_fills_its_queue_refuses_and_tells_when_there_is_room";
    refusing(name, &refusal, || {
        let mut world = World::new();
        let mate = Mate::new(&mut world, Wire::UdpV4);
        let (to, again) = (mate.peer(), mate.peer());
        let handler = PostHooks::new()
            .bound(move |sock| {
                let refused = (0..600).filter(|_| sock.send_to(&to, &[1; 20]).is_err()).count();
                assert_eq!(refused, 100);
            })
            .writable(move |sock| sock.send_to(&again, &[2; 20]).expect("room"));
        let config = DatagramConfig { queue_datagrams_max: 500, ..DatagramConfig::default() };
        let (id, _) = world.bind(Wire::UdpV4, config, handler);
        let got = mate.read_many_while(&mut world, 501);
        assert!(got.iter().map(|bytes| bytes[0]).eq([1; 500].into_iter().chain([2])));
        world.turns(3);
        let stats = world.with_post(id, |post| post.stats());
        assert_eq!((stats.refused, stats.datagrams_out, stats.undelivered), (100, 501, 0));
        assert_eq!(world.posts.count(0, |word| *word == crate::support::post::Word::Writable), 1);
    });
}

#[test]
fn a_system_that_lacks_what_receiving_needs_is_told_and_waited_for_without_spinning() {
    let refusal = format!("starved:{}", Errno::NOMEM.raw_os_error());
    refusing("a_system_that_lacks_what_receiving_needs_is_told_and_waited_for_without_spinning", &refusal, || {
        let mut world = World::new();
        let (_, address) = world.bind(Wire::UdpV4, DatagramConfig::default(), echoing());
        let mate = Mate::new(&mut world, Wire::UdpV4);
        mate.send(b"hello", &address);
        let turns = world.turns_within(Duration::from_millis(100));
        assert!(turns < 40, "{turns} turns of waiting");
        assert_eq!(mate.read_while(&mut world), b"hello");
        assert_eq!(world.posts.errors(0).len(), 20);
    });
}

#[test]
fn where_each_call_takes_one_message_all_are_sent_in_order() {
    refusing("where_each_call_takes_one_message_all_are_sent_in_order", "more-than-one", || {
        each_wire(Wire::UDP, |wire| {
            assert_eq!(sends_all(wire), Sending::Segmented { bytes_max: usize::MAX });
        });
    });
}

#[test]
fn without_ipv6_all_addresses_are_those_of_ipv4_unless_only_ipv6_was_asked_for() {
    let name = "without_ipv6_all_addresses_are_those_of_ipv4_unless_only_ipv6_was_asked_for";
    refusing(name, "no-ipv6", || {
        for (family, at) in [("", "[::]:0"), ("", ":0"), ("6", ":0"), ("6", "[::]:0")] {
            for stack in [Stack::Dual, Stack::V6Only] {
                eprintln!("tcp{family}://{at} and udp{family}://{at}, {stack:?}:");
                let address = |transport| format!("{transport}{family}://{at}").parse::<Address>().expect("an address");
                let mut world = World::new();
                let datagrams = DatagramConfig { stack, ..DatagramConfig::default() };
                let bound = world.reactor().bind(&address("udp"), datagrams, echoing());
                let streams = ListenConfig { stack, ..ListenConfig::default() };
                let listens = world.reactor().listen(&address("tcp"), streams, |_: &Conn<'_>| crate::support::Echo);
                if family.is_empty() && stack == Stack::Dual {
                    let own = world.endpoint_address(bound.expect("a socket")).ip().expect("an IP address");
                    assert!(own.is_ipv4() && own.ip().is_unspecified(), "{own}");
                    let own = world.reactor().listener_address(listens.expect("it listens")).expect("it lives");
                    assert!(own.ip().is_some_and(|own| own.is_ipv4()), "{own}");
                } else {
                    for error in [bound.map(drop), listens.map(drop)] {
                        let error = error.expect_err("nothing of IPv4 was asked for").to_string();
                        assert!(error.contains("not supported"), "{error}");
                    }
                }
            }
        }
    });
}

/// Each answer cost a call or two, and a new plan of all that waited.
#[test]
fn answers_from_an_address_that_is_gone_are_given_up_together_and_each_is_told() {
    // Two calls for 256 answers to a peer, and a few more for their ends, in each of six scenarios.
    let refusal = format!("sources:{}:{}", 6 * 16, Errno::INVAL.raw_os_error());
    refusing("answers_from_an_address_that_is_gone_are_given_up_together_and_each_is_told", &refusal, || {
        each_wire(Wire::UDP, |wire| {
            // Cut by the kernel, each for itself, and for itself as each is longer than the one before.
            for (gso, longer) in [(Offload::On, 0), (Offload::Off, 0), (Offload::On, 1)] {
                let mut world = World::new();
                let handler = PostHooks::new()
                    .datagram(move |sock, datagram| {
                        assert!(datagram.from.via().is_some());
                        (0..640).for_each(|n| sock.send_to(datagram.from, &vec![7; 100 + n * longer]).expect("room"));
                    })
                    .error(move |sock, _| {
                        assert_eq!(sock.paths().1 == Sending::Batched, gso == Offload::Off, "{:?}", sock.paths());
                    });
                let all = if wire == Wire::UdpV4 { "udp4://:0" } else { "udp6://:0" };
                let config = DatagramConfig { gso, ..DatagramConfig::default() };
                let (id, address) = world.bind_to(&all.parse().expect("an address"), config, handler);
                let port = address.ip().expect("an IP address").port();
                let mate = Mate::new(&mut world, wire);
                mate.send(b"who is there?", &Address::udp(SocketAddr::new(mate.ip().ip(), port)));
                world.until("all to be told", |world| world.posts.errors(0).len() == 640);
                let stats = world.with_post(id, |post| post.stats());
                assert_eq!((stats.datagrams_out, stats.undelivered), (0, 640));
            }
        });
    });
}

/// NFS with root_squash gives files to nobody, FUSE may give all the same mode.
#[test]
fn a_file_system_that_gives_files_another_owner_or_mode_is_told_and_keeps_none_that_is_surely_ours() {
    let name = "a_file_system_that_gives_files_another_owner_or_mode_is_told_and_keeps_none_that_is_surely_ours";
    if !rustix::process::geteuid().is_root() {
        skip("only root can give files away");
        return;
    }
    let cases = [("owner:65534", "of user 65534 with mode 000", false), ("mode:493", "of user 0 with mode 755", true)];
    for (refusal, found, stays) in cases {
        if is_anothers(refusal) {
            continue;
        }
        refusing(name, refusal, || {
            let mut world = World::new();
            let [datagrams, streams] = ["datagrams", "streams"].map(|name| world.path(name));
            let at = Address::unixgram(&datagrams).expect("a path");
            let bound = world.reactor().bind(&at, DatagramConfig::default(), echoing());
            let at = Address::unix(&streams).expect("a path");
            let echo = |_: &Conn<'_>| crate::support::Echo;
            let listens = world.reactor().listen(&at, ListenConfig::default(), echo);
            for (path, result) in [(datagrams, bound.map(drop)), (streams, listens.map(drop))] {
                let text = result.expect_err("another owner or mode").to_string();
                assert!(text.contains(found) && text.contains("root_squash"), "{text}");
                assert_eq!(path.exists(), stays, "{text}");
            }
        });
    }
}
