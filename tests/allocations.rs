//! In the steady state a message costs no heap allocation, in whatever handler.
//!
//! This package forbids unsafe code, and a counting allocator needs some. So each test runs itself again with a small
//! library in front of malloc(3), built here with the C compiler; without one the tests are skipped, and say so.
//! `WINDLASS_TRACE_ALLOCATIONS=1` prints where the counted ones came from (addresses: `addr2line -Cfie`).
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod scripted;
mod support;

use rustix::net::RecvFlags;
use scripted::{Does, Shared, assert_same, pattern, shared};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use support::post::{Mate, PostHooks, Wire, each_wire, echoing};
use support::{Echo, Kind, Peer, World, each_plain_kind};
use windlass::{Address, Bytes, Conn, ConnId, DatagramConfig, Handler, Limits, ListenConfig, Offload, SocketOptions};

const KIB: usize = 1 << 10;
const SIZES: [usize; 3] = [64, 16 * KIB, 300 * KIB];

/// The library in front of malloc(3), built at the first call; `None` without a C compiler.
fn library() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripted/count.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (fresh, library) = (folder.join(format!("count-{}.so", std::process::id())), folder.join("count.so"));
        let mut command = Command::new("cc");
        let built = command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&fresh).arg(source).status();
        built.ok().filter(std::process::ExitStatus::success)?;
        // Whole or not at all, should another run use it just now.
        std::fs::rename(&fresh, &library).expect("a place for the library");
        Some(library)
    };
    BUILT.get_or_init(build).clone()
}

/// Runs `body` in a process of its own in which allocations are counted.
fn counted(name: &str, body: impl FnOnce()) {
    if std::env::var("WINDLASS_COUNTED").is_ok_and(|counted| counted == name) {
        return body();
    }
    let Some(library) = library() else {
        support::skip("no C compiler, so nothing counts the allocations");
        return;
    };
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    let output = command.env("WINDLASS_COUNTED", name).env("LD_PRELOAD", library).output().expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

/// Tells the library in front of malloc(3); that the file cannot be opened is its answer.
fn tell(word: &str) {
    assert!(File::open(word).is_err());
}

fn count() -> usize {
    let mut text = [0; 16];
    let read = File::open("/allocations/count").and_then(|mut file| file.read(&mut text)).expect("it is loaded");
    String::from_utf8_lossy(&text[..read]).parse().expect("a number")
}

/// A turn in which allocations are counted; nothing but the reactor runs in it.
fn counted_turn(world: &mut World, word: &str) {
    let reactor = world.reactor();
    tell(word);
    let status = reactor.poll_once(Some(Duration::from_millis(1)));
    tell("/allocations/off");
    status.expect("a turn");
}

/// Sends `message` by `from` and reads it whole at each of `to`; allocations of the reactor are counted.
fn pass(
    world: &mut World,
    peers: &mut [Peer],
    from: usize,
    to: &[usize],
    message: &[u8],
    word: &str,
    got: &mut [Vec<u8>],
) {
    got.iter_mut().for_each(Vec::clear);
    let mut sent = 0;
    let mut buffer = vec![0; 32 * KIB];
    let since = std::time::Instant::now();
    while sent < message.len() || to.iter().any(|at| got[*at].len() < message.len()) {
        assert!(since.elapsed() < support::PATIENCE, "waited in vain for the bytes");
        if sent < message.len() {
            sent += peers[from].write_some(&message[sent..]).expect("a write");
        }
        counted_turn(world, word);
        for at in to {
            if let Some(read) = peers[*at].try_read(&mut buffer) {
                let read = read.expect("a read");
                assert!(read > 0, "the end came early");
                got[*at].extend_from_slice(&buffer[..read]);
            }
        }
    }
    to.iter().for_each(|at| assert_same(&got[*at], message));
}

/// Passes messages until nothing can be new any more, and then counts: there must be no allocation.
fn measure(world: &mut World, peers: &mut [Peer], from: usize, to: &[usize], message: &[u8]) {
    measure_expecting(world, peers, from, to, message, 0);
}

/// Passes messages until nothing can be new any more, and then counts the allocations of 40.
fn measure_expecting(
    world: &mut World,
    peers: &mut [Peer],
    from: usize,
    to: &[usize],
    message: &[u8],
    expected: usize,
) {
    let mut got = vec![Vec::new(); peers.len()];
    for _ in 0..30 {
        pass(world, peers, from, to, message, "/allocations/on", &mut got);
    }
    steady(40, expected, &format!("40 messages of {} bytes", message.len()), |word| {
        for _ in 0..40 {
            pass(world, peers, from, to, message, word, &mut got);
        }
    });
}

/// Counts the allocations of `round`, which passes so many messages: they must be `expected`.
///
/// How many connections wait at once, and how much of a message comes at once, is the kernel's to say. On a busy machine there
/// is a new most now and then behind any number of messages, and it costs a buffer, once. So a round with a few more, fewer
/// than one for four messages, is followed by another; what a message costs is in every round.
fn steady(messages: usize, expected: usize, what: &str, mut round: impl FnMut(&str)) {
    const ROUNDS: usize = 6;
    let traces = std::env::var_os("WINDLASS_TRACE_ALLOCATIONS").is_some();
    let mut told = Vec::new();
    while told.last() != Some(&expected) {
        count();
        round(if traces { "/allocations/trace" } else { "/allocations/on" });
        let counted = count();
        told.push(counted);
        let grows = counted > expected && (counted - expected) * 4 < messages && told.len() < ROUNDS;
        assert!(counted == expected || grows, "allocations for {what}: {told:?}, not {expected}");
    }
}

/// Small kernel buffers, so that large messages have to wait.
fn config() -> ListenConfig {
    let socket = SocketOptions {
        send_buffer_bytes: Some(32 * KIB),
        receive_buffer_bytes: Some(32 * KIB),
        ..SocketOptions::default()
    };
    ListenConfig { socket, ..ListenConfig::default() }
}

fn listen(world: &mut World, kind: Kind, config: ListenConfig, accept: impl windlass::Accept) -> Address {
    // Not recorded: a recorder allocates.
    let address = world.free_address(kind);
    let id = world.reactor().listen(&address, config, accept).expect("a listener");
    world.reactor().listener_address(id).expect("it listens")
}

fn until_opened(world: &mut World, count: u64) {
    world.until("connections to be open", |world| world.reactor().snapshot().opened == count);
}

#[test]
fn the_counter_counts() {
    counted("the_counter_counts", || {
        tell("/allocations/on");
        let boxed = std::hint::black_box(Box::new([0u64; 100]));
        tell("/allocations/off");
        assert_eq!(count(), 1);
        drop(boxed);
        assert_eq!(count(), 0);
    });
}

#[test]
fn an_echo_costs_no_allocation() {
    counted("an_echo_costs_no_allocation", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            for size in SIZES {
                let mut world = World::new();
                let address = listen(&mut world, kind, config(), |_: &Conn<'_>| Echo);
                let mut peers = [world.dial(&address)];
                until_opened(&mut world, 1);
                measure(&mut world, &mut peers, 0, &[0], pattern(size));
            }
        });
    });
}

#[cfg(feature = "tls")]
#[test]
fn with_tls_a_record_costs_what_rustls_allocates_for_it() {
    counted("with_tls_a_record_costs_what_rustls_allocates_for_it", || {
        for kind in [Kind::Tls, Kind::TlsUnix] {
            // Of one record each: rustls makes a vector for what it opens, and one for what it seals.
            for size in [1, 64, 8 * KIB, 16 * KIB] {
                let mut world = World::new();
                let config = ListenConfig { tls: Some(support::security::server()), ..ListenConfig::default() };
                let address = listen(&mut world, kind, config, |_: &Conn<'_>| Echo);
                let mut peers = [world.dial(&address)];
                until_opened(&mut world, 1);
                measure_expecting(&mut world, &mut peers, 0, &[0], pattern(size), 40 * 2);
            }
        }
    });
}

/// Answers each frame (its length in four bytes before it) with the same frame, once it has all of it.
fn framed() -> Does {
    Does::new().on_data(|conn, data| {
        let Some((head, rest)) = data.split_first_chunk::<4>() else { return 0 };
        let len = u32::from_be_bytes(*head) as usize;
        if rest.len() < len {
            conn.need(4 + len).expect("below the limit");
            return 0;
        }
        match conn.write(&data[..4 + len]) {
            Ok(()) => 4 + len,
            Err(_) => {
                conn.pause();
                0
            }
        }
    })
}

fn frame(len: usize) -> Vec<u8> {
    [&(len as u32).to_be_bytes(), pattern(len)].concat()
}

#[test]
fn a_frame_costs_no_allocation() {
    counted("a_frame_costs_no_allocation", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            for size in [64, 16 * KIB, 200 * KIB] {
                let mut world = World::new();
                let address = listen(&mut world, kind, config(), |_: &Conn<'_>| framed());
                let mut peers = [world.dial(&address)];
                until_opened(&mut world, 1);
                measure(&mut world, &mut peers, 0, &[0], &frame(size));
            }
        });
    });
}

#[test]
fn a_frame_above_the_default_inbox_costs_no_allocation() {
    counted("a_frame_above_the_default_inbox_costs_no_allocation", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            let mut world = World::new();
            let limits = Limits { inbox_bytes_max: 512 * KIB, ..Limits::default() };
            let address = listen(&mut world, kind, ListenConfig { limits, ..config() }, |_: &Conn<'_>| framed());
            let mut peers = [world.dial(&address)];
            until_opened(&mut world, 1);
            measure(&mut world, &mut peers, 0, &[0], &frame(300 * KIB));
        });
    });
}

/// One half of a proxy.
struct Half(Shared<Vec<ConnId>>);

impl Half {
    fn other(&self, conn: &Conn<'_>) -> Option<ConnId> {
        let own = conn.id();
        self.0.borrow().iter().copied().find(|id| *id != own)
    }
}

impl Handler for Half {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.0.borrow_mut().push(conn.id());
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let other = self.other(conn).expect("both are open");
        let used = conn.other(other).expect("it lives").write_some(data);
        if used < data.len() {
            conn.pause();
        }
        used
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        let other = self.other(conn).expect("both are open");
        conn.other(other).expect("it lives").resume();
    }
}

#[test]
fn a_proxied_message_costs_no_allocation() {
    counted("a_proxied_message_costs_no_allocation", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            for size in SIZES {
                let mut world = World::new();
                let links = shared(Vec::new());
                let address = listen(&mut world, kind, config(), move |_: &Conn<'_>| Half(links.clone()));
                let mut peers = [world.dial(&address), world.dial(&address)];
                until_opened(&mut world, 2);
                measure(&mut world, &mut peers, 0, &[1], pattern(size));
                measure(&mut world, &mut peers, 1, &[0], pattern(size));
            }
        });
    });
}

#[test]
fn a_proxied_message_that_must_wait_costs_no_allocation() {
    counted("a_proxied_message_that_must_wait_costs_no_allocation", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            let mut world = World::new();
            let links = shared(Vec::new());
            // Room for less than a message: the rest waits on the other side, paused.
            let limits = Limits {
                inbox_bytes_max: 64 * KIB,
                outbox_bytes_max: 80 * KIB,
                outbox_bytes_high: 16 * KIB,
                outbox_bytes_low: 4 * KIB,
                ..Limits::default()
            };
            let config = ListenConfig { limits, ..config() };
            let address = listen(&mut world, kind, config, move |_: &Conn<'_>| Half(links.clone()));
            let mut peers = [world.dial(&address), world.dial(&address)];
            until_opened(&mut world, 2);
            measure(&mut world, &mut peers, 0, &[1], pattern(300 * KIB));
        });
    });
}

#[test]
fn a_broadcast_costs_no_allocation() {
    counted("a_broadcast_costs_no_allocation", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            for size in SIZES {
                let mut world = World::new();
                let (ids, message) = (shared(Vec::new()), Bytes::from(pattern(size).to_vec()));
                let address = listen(&mut world, kind, config(), move |_: &Conn<'_>| {
                    let (known, ids, message) = (ids.clone(), ids.clone(), message.clone());
                    let mut seen = 0;
                    Does::new().on_open(move |conn| known.borrow_mut().push(conn.id())).on_data(move |conn, data| {
                        seen += data.len();
                        if seen == size {
                            seen = 0;
                            let own = conn.id();
                            for id in ids.borrow().iter().filter(|id| **id != own) {
                                conn.other(*id).expect("it lives").write_bytes(message.clone()).expect("room");
                            }
                        }
                        data.len()
                    })
                });
                let mut peers: Vec<Peer> = (0..11).map(|_| world.dial(&address)).collect();
                until_opened(&mut world, 11);
                let to: Vec<usize> = (1..11).collect();
                measure(&mut world, &mut peers, 0, &to, pattern(size));
            }
        });
    });
}

#[test]
fn many_blocked_echoes_at_once_cost_at_most_their_chunks() {
    counted("many_blocked_echoes_at_once_cost_at_most_their_chunks", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            let mut world = World::new();
            let address = listen(&mut world, kind, config(), |_: &Conn<'_>| Echo);
            let mut peers: Vec<Peer> = (0..8).map(|_| world.dial(&address)).collect();
            until_opened(&mut world, 8);
            let all = pattern(200 * KIB);
            let (mut sent, mut got, mut buffer) = ([0; 8], [0; 8], vec![0; 32 * KIB]);
            for round in 0..20 {
                if round == 10 {
                    count();
                }
                (sent, got) = (sent.map(|_| 0), got.map(|_| 0));
                let since = std::time::Instant::now();
                while got != [all.len(); 8] {
                    assert!(since.elapsed() < support::PATIENCE, "waited in vain for the bytes");
                    for (n, peer) in peers.iter_mut().enumerate() {
                        if sent[n] < all.len() {
                            sent[n] += peer.write_some(&all[sent[n]..]).expect("a write");
                        }
                    }
                    counted_turn(&mut world, "/allocations/on");
                    // They read only when all is sent, so that all of them wait at once.
                    for (n, peer) in peers.iter_mut().enumerate() {
                        if let Some(read) = peer.try_read(&mut buffer) {
                            got[n] += read.expect("a read");
                        }
                    }
                }
            }
            let count = count();
            // More waits than the pool keeps: then it is a chunk for every 64 KiB, and nothing beside it.
            assert!(count <= 10 * 8 * 4, "{count} allocations for {} messages of 200 KiB", 10 * 8);
        });
    });
}

#[test]
fn timers_and_commands_between_messages_cost_no_more_than_themselves() {
    counted("timers_and_commands_between_messages_cost_no_more_than_themselves", || {
        each_plain_kind("rustls allocates once for each record", |kind| {
            let mut world = World::new();
            let limits = Limits { idle_timeout: Some(Duration::from_secs(60)), ..Limits::default() };
            let address = listen(&mut world, kind, ListenConfig { limits, ..config() }, |_: &Conn<'_>| {
                Does::new().on_data(|conn, data| {
                    conn.set_timer(Duration::from_secs(5));
                    conn.write_some(data)
                })
            });
            let mut peers = [world.dial(&address)];
            until_opened(&mut world, 1);
            measure(&mut world, &mut peers, 0, &[0], pattern(100));
        });
    });
}

// --- datagrams ----------------------------------------------------------------------------------------------------

/// Sends `message` so often at once to an endpoint at `address` and reads as many echoes; allocations of the reactor are
/// counted.
fn echo_datagrams(world: &mut World, mates: &[Mate], address: &Address, message: &[u8], burst: usize, word: &str) {
    for _ in 0..burst {
        for mate in mates {
            mate.send(message, address);
        }
    }
    let since = std::time::Instant::now();
    let (mut left, mut buffer) = (burst * mates.len(), vec![0; message.len() + 1]);
    while left > 0 {
        assert!(since.elapsed() < support::PATIENCE, "waited in vain for the echoes");
        counted_turn(world, word);
        for mate in mates {
            while let Ok((_, read)) = rustix::net::recv(&mate.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                assert_same(&buffer[..read], message);
                left -= 1;
            }
        }
    }
}

#[test]
fn an_echoed_datagram_costs_no_allocation() {
    counted("an_echoed_datagram_costs_no_allocation", || {
        each_wire(Wire::ALL, |wire| {
            // As many as a Unix socket's queue takes.
            for (size, senders, burst) in
                [(64, 1, 1), (0, 1, 3), (64, 1, 10), (1400, 3, 3), (1400, 5, 2), (60_000, 1, 1)]
            {
                for gro in [Offload::Off, Offload::On] {
                    let mut world = World::new();
                    // Not recorded: a recorder allocates.
                    let address = world.free_post(wire);
                    let config = DatagramConfig { gro, ..DatagramConfig::default() };
                    let id = world.reactor().bind(&address, config, echoing()).expect("an endpoint");
                    let address = world.reactor().endpoint_address(id).expect("it is bound");
                    let mates: Vec<_> = (0..senders).map(|_| Mate::new(&mut world, wire)).collect();
                    let mut echo = |word: &str| {
                        echo_datagrams(&mut world, &mates, &address, pattern(size), burst, word);
                    };
                    (0..30).for_each(|_| echo("/allocations/on"));
                    let what = format!("40 bursts of {senders} times {burst} of {size} bytes");
                    steady(40, 0, &what, |word| (0..40).for_each(|_| echo(word)));
                }
            }
        });
    });
}

#[test]
fn a_datagram_to_a_slow_unix_peer_costs_no_allocation() {
    counted("a_datagram_to_a_slow_unix_peer_costs_no_allocation", || {
        each_wire(Wire::UNIX, |wire| {
            let mut world = World::new();
            let address = world.free_post(wire);
            let handler = PostHooks::new().datagram(|sock, datagram| {
                // More than its queue takes.
                (0..40).for_each(|_| sock.send_to(datagram.from, datagram.data).expect("room"));
            });
            world.reactor().bind(&address, DatagramConfig::default(), handler).expect("an endpoint");
            let (mate, mut buffer) = (Mate::new(&mut world, wire), [0; 65]);
            let mut ask = |word: &str| {
                mate.send(pattern(64), &address);
                let (mut left, since) = (40, std::time::Instant::now());
                while left > 0 {
                    assert!(since.elapsed() < support::PATIENCE, "waited in vain for the datagrams");
                    counted_turn(&mut world, word);
                    while let Ok((_, read)) = rustix::net::recv(&mate.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                        assert_same(&buffer[..read], pattern(64));
                        left -= 1;
                    }
                }
            };
            (0..15).for_each(|_| ask("/allocations/on"));
            steady(15, 0, "15 times 40 datagrams", |word| (0..15).for_each(|_| ask(word)));
        });
    });
}
