//! What `guide/planning.md` says of descriptors, threads and bytes, compared with the library.
#![cfg(target_os = "linux")]

mod support;

use std::time::Duration;
use support::{Hooks, Sink, World, alone, descriptors, descriptors_become, each_kind};
use windlass::{Conn, EngineConfig, Limits, ListenConfig, Placement, Reactor, ReactorConfig, Server};

const PAGE: &str = include_str!("../guide/planning.md");

#[test]
fn descriptors_are_as_many_as_the_page_says() {
    alone("descriptors_are_as_many_as_the_page_says", || {
        assert!(PAGE.contains("| a reactor | 3, and one more with"));
        let before = descriptors();
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        assert_eq!(descriptors(), before + 3);
        reactor.arm_descriptor().expect("a timer");
        assert_eq!(descriptors(), before + 4);
        drop(reactor);
        assert_eq!(descriptors(), before);

        assert!(PAGE.contains("| a connection, plain or with TLS | 1 |") && PAGE.contains("| a listener | 1,"));
        each_kind(|kind| {
            let mut world = World::new();
            let before = descriptors();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
            assert_eq!(descriptors(), before + 1);
            let peers: Vec<_> = (0..5).map(|_| world.dial(&address)).collect();
            world.until_open(5);
            assert_eq!(descriptors(), before + 1 + 2 * 5, "one of each end");
            drop(peers);
            world.until_empty();
        });
    });
}

#[test]
fn a_server_has_a_listener_an_address_and_a_thread_a_reactor() {
    alone("a_server_has_a_listener_an_address_and_a_thread_a_reactor", || {
        let threads = || std::fs::read_dir("/proc/self/task").expect("/proc").count();
        for (placement, listeners) in [(Placement::default(), 2), (Placement::Kernel, 6)] {
            let (open, running) = (descriptors(), threads());
            let engine = EngineConfig { reactors: 3, placement, ..EngineConfig::default() };
            let server = Server::builder()
                .address("tcp://127.0.0.1:0".parse().expect("an address"))
                .address("tcp://127.0.0.1:0".parse().expect("an address"))
                .engine_config(engine)
                .handler(|| |_: &Conn<'_>| Sink)
                .build()
                .expect("a server");
            server.listen().expect("it listens");
            assert_eq!(threads(), running + 3 + 1, "one a reactor, and the one that waits for the end");
            assert_eq!(descriptors(), open + 3 * 3 + listeners, "{placement:?}");
            server.shutdown(Duration::from_secs(10)).expect("a report");
            drop(server);
            descriptors_become(open);
        }
    });
}

/// Rounded up to what the queues take their memory in.
#[test]
fn what_a_stalled_connection_holds_is_what_its_limits_say() {
    const GRAIN: usize = 128 * 1024;
    let limits = Limits::default();
    assert_eq!((limits.outbox_bytes_max, limits.inbox_bytes_max), (1 << 20, 256 << 10));
    assert!(PAGE.contains("| up to 1 MiB | [`Limits::outbox") && PAGE.contains("| up to 256 KiB | [`Limits::inbox"));
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().open(|conn| while conn.write_some(&[7; 65_536]) > 0 {})
        });
        let _peer = world.dial(&address);
        world.until_open(1);
        world.turns(3);
        let held = world.reactor().queued_bytes();
        assert!(held > 512 * 1024 && held <= limits.outbox_bytes_max + GRAIN, "{kind:?}: {held} bytes of output");

        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Hooks::new().data(|conn, _| {
                conn.pause();
                0
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        let mut sent = 0;
        for _ in 0..200 {
            sent += peer.write_some(&[7; 16_384]).expect("a write");
            world.turn();
        }
        let held = world.reactor().queued_bytes();
        assert!(sent > 0 && held > 0 && held <= limits.inbox_bytes_max + GRAIN, "{kind:?}: {held} bytes of input");
    });
}

#[test]
fn the_defaults_are_those_of_the_page() {
    let (engine, reactor) = (EngineConfig::default(), ReactorConfig::default());
    assert_eq!((engine.queued_bytes_max, reactor.queued_bytes_max), (None, None));
    assert_eq!(reactor.mailbox_bytes_max, 64 << 20);
    assert_eq!(windlass::DatagramConfig::default().queue_bytes_max, 1 << 20);
    let blocking = windlass::BlockingConfig::default();
    assert_eq!((blocking.threads_max, blocking.stack_bytes), (4096, 512 << 10));
    for (connections, each, says) in [(100_000_u64, 3_980, "398 MB"), (100_000, 138, "13.8 MB")] {
        assert!(PAGE.contains(says), "{says}");
        assert_eq!(format!("{} MB", (connections * each) as f64 / 1e6), says);
    }
    let limits = Limits::default();
    let most = 100_000 * (limits.outbox_bytes_max + limits.inbox_bytes_max) as u64;
    assert_eq!(most / 1_000_000_000, 131);
    assert!(PAGE.contains("131 GB"));
}
