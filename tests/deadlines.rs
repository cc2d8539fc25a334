//! A loop that was held up, by a slow callback, a stopped process or a paused machine: whoever acted in time is not cut
//! for it, since what they did lies in the kernel and in the mailbox. And peers that are slow, but not stalled.

mod scripted;
mod support;

use scripted::pattern;
use socket2::{Domain, Socket, Type};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::{Echo, Hooks, Kind, Peer, Said, Sink, World, each_kind, each_kind_at_once};
use windlass::{Bytes, Conn, ConnectConfig, Expiry, Limits, ListenConfig, ReactorConfig, Reason};

/// The deadlines of a scenario. On a machine that is too busy to come to the hold-up in time it is done once more, with longer
/// ones.
struct Pace {
    deadline: Duration,
    since: Instant,
    late: Cell<bool>,
}

/// The first deadline, and how many times as long one that was too short is tried next.
const FIRST: Duration = Duration::from_millis(400);
const LONGER: u32 = 4;

impl Pace {
    /// Runs a scenario at a pace that this machine can hold.
    fn find(first: Duration, scenario: impl Fn(&Pace)) {
        let mut deadline = first;
        loop {
            let pace = Pace { deadline, since: Instant::now(), late: Cell::new(false) };
            let ran = catch_unwind(AssertUnwindSafe(|| scenario(&pace)));
            if !pace.late.get() {
                return ran.unwrap_or_else(|panic| resume_unwind(panic));
            }
            deadline *= LONGER;
            assert!(deadline < first * LONGER.pow(4), "this machine is too busy");
        }
    }

    /// Ends the scenario where so much time has passed that a deadline may pass before the hold-up.
    fn check(&self) {
        if self.since.elapsed() > self.deadline / 2 {
            self.miss();
        }
    }

    /// Ends the scenario, to be done once more.
    fn miss(&self) -> ! {
        self.late.set(true);
        panic!("too late for a deadline of {:?}", self.deadline);
    }

    fn idle(&self) -> ListenConfig {
        with(Limits { idle_timeout: Some(self.deadline), ..Limits::default() })
    }

    /// The loop is not driven until every deadline of now is well past.
    fn hold_up(&self) {
        self.check();
        hold_up(self.deadline);
    }

    /// Connects so many peers, each open before the next one comes.
    fn dial_all(&self, world: &mut World, address: &windlass::Address) -> Vec<Peer> {
        let peers = (1..=PEERS).map(|count| {
            let peer = world.dial(address);
            world.until("it to be open", |world| {
                self.check();
                world.log.open() == count
            });
            peer
        });
        peers.collect()
    }
}

/// Runs a scenario over every transport, at a pace that this machine can hold.
fn each_kind_paced(scenario: impl Fn(Kind, &Pace)) {
    each_kind(|kind| Pace::find(FIRST, |pace| scenario(kind, pace)));
}

/// Every deadline of now is well past then.
fn hold_up(deadline: Duration) {
    let until = Instant::now() + deadline * 11 / 10;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// More peers than one poll, or one turn's commands, can tell of.
const PEERS: usize = 20;

fn small_turns() -> World {
    World::with(ReactorConfig { events_per_turn: 3, commands_per_turn: 3, ..ReactorConfig::default() })
}

fn with(limits: Limits) -> ListenConfig {
    ListenConfig { limits, ..ListenConfig::default() }
}

#[test]
fn who_spoke_in_time_is_not_idle_behind_a_hold_up() {
    each_kind_paced(|kind, pace| {
        let mut world = small_turns();
        let address = world.listen(kind, pace.idle(), |_: &Conn<'_>| Echo);
        let mut peers = pace.dial_all(&mut world, &address);
        let silent = peers.pop();
        for peer in &mut peers {
            assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
        }
        pace.hold_up();
        for peer in &mut peers {
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        }
        world.until("the silent one to be cut", |world| world.log.open() == PEERS - 1);
        assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::Idle)]);
        drop((peers, silent));
        world.until_empty();
    });
}

/// It is held up between the poll and the deadlines of one turn, and the peers speak meanwhile.
#[test]
fn nor_behind_a_callback_that_takes_long() {
    each_kind_paced(|kind, pace| {
        let mut world = small_turns();
        let peers = Rc::new(RefCell::new(Vec::<Peer>::new()));
        let (others, deadline) = (peers.clone(), pace.deadline);
        let address = world.listen(kind, pace.idle(), move |_: &Conn<'_>| {
            let others = others.clone();
            Hooks::new().data(move |conn, data| {
                if data == b"hold" {
                    for peer in others.borrow_mut().iter_mut() {
                        assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
                    }
                    hold_up(deadline);
                }
                conn.write_some(data)
            })
        });
        let mut all = pace.dial_all(&mut world, &address);
        let mut slow = all.pop().expect("a peer");
        *peers.borrow_mut() = all;
        pace.check();
        slow.send_all_while(&mut world, b"hold");
        assert_eq!(slow.read_exact_while(&mut world, 4), b"hold");
        for mut peer in peers.take() {
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        }
        assert!(!world.log.reasons().contains(&Reason::Timeout(Expiry::Idle)));
        drop(slow);
        world.until_empty();
    });
}

#[test]
fn what_other_threads_sent_in_time_is_life() {
    each_kind_paced(|kind, pace| {
        let mut world = small_turns();
        let address = world.listen(kind, pace.idle(), |_: &Conn<'_>| Sink);
        let mut peers = pace.dial_all(&mut world, &address);
        for serial in 0..PEERS {
            world.send(serial, Bytes::from_static(b"hello"));
        }
        pace.hold_up();
        for peer in &mut peers {
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        }
        assert_eq!(world.log.reasons(), []);
        drop(peers);
        world.until_empty();
    });
}

#[test]
fn a_peer_that_read_in_time_is_not_stalled_behind_a_hold_up() {
    each_kind_paced(|kind, pace| {
        let mut world = small_turns();
        let limits = Limits { write_stall_timeout: pace.deadline, outbox_bytes_max: 4 << 20, ..Limits::default() };
        let bytes = pattern(3 << 20);
        let answer = Bytes::from(bytes);
        let address = world.listen(kind, with(limits), move |_: &Conn<'_>| {
            let answer = answer.clone();
            Hooks::new().data(move |conn, data| {
                conn.write_bytes(answer.clone()).expect("room");
                data.len()
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, b"go");
        world.until("the kernel to be full", |world| {
            let was = world.reactor().snapshot().bytes_out;
            world.turns(5);
            was > 0 && was == world.reactor().snapshot().bytes_out
        });
        let mut got = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while let Some(count) = peer.try_read(&mut buffer) {
            got.extend_from_slice(&buffer[..count.expect("a read")]);
        }
        pace.hold_up();
        got.extend(peer.read_exact_while(&mut world, bytes.len() - got.len()));
        assert!(got == bytes, "other bytes came");
        drop(peer);
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    });
}

#[cfg(feature = "tls")]
#[test]
fn handshakes_go_on_behind_a_hold_up_if_the_peers_spoke_in_time() {
    each_kind_paced(|kind, pace| {
        if !kind.is_tls() {
            return;
        }
        let mut world = small_turns();
        let limits = Limits { handshake_timeout: pace.deadline, ..Limits::default() };
        let address = world.listen(kind, with(limits), |_: &Conn<'_>| Echo);
        let mut peers = Vec::new();
        for count in 1..=PEERS {
            // What it wants to say waits in the test's own memory until it is read or written.
            peers.push(world.dial(&address));
            world.until("it to be accepted", |world| {
                pace.check();
                world.reactor().connections() == count
            });
        }
        let silent = world.dial(&address);
        world.until("it to be accepted", |world| world.reactor().connections() == PEERS + 1);
        for peer in &mut peers {
            let _ = peer.try_read(&mut [0; 1]);
        }
        pace.hold_up();
        for peer in &mut peers {
            peer.send_all_while(&mut world, b"hello");
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        }
        drop((peers, silent));
        world.until_empty();
    });
}

#[test]
fn a_connect_that_the_kernel_made_in_time_is_opened_behind_a_hold_up() {
    each_kind_paced(|kind, pace| {
        let mut world = small_turns();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let limits = Limits { connect_timeout: pace.deadline, ..Limits::default() };
        for _ in 0..PEERS {
            let config = ConnectConfig { limits: limits.clone(), ..ConnectConfig::default() };
            world.connect(&address, config, Sink);
        }
        // They begin here, and what comes of them is not looked at.
        world.turn();
        pace.hold_up();
        world.until_open(2 * PEERS);
        assert_eq!(world.log.reasons(), []);
        world.reactor().shutdown(pace.deadline);
        world.until_empty();
    });
}

#[test]
fn what_came_before_a_timer_is_shown_before_it() {
    each_kind_paced(|kind, pace| {
        let mut world = small_turns();
        let deadline = pace.deadline;
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            Hooks::new().open(move |conn| conn.set_timer(deadline)).timer(|conn| conn.close())
        });
        let mut peers = pace.dial_all(&mut world, &address);
        for peer in &mut peers {
            assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
        }
        pace.hold_up();
        drop(peers);
        world.until_empty();
        for serial in 0..PEERS {
            let said = world.log.said(serial);
            assert_eq!(said[..2], [Said::Open, Said::Data(5)], "{said:?}");
        }
    });
}

#[test]
fn what_came_before_a_drains_deadline_is_shown_before_the_cut() {
    each_kind_paced(|kind, pace| {
        let mut world = small_turns();
        // It goes on as if nothing were said.
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Hooks::new().drain(|_| {}));
        let mut peers = pace.dial_all(&mut world, &address);
        world.reactor().shutdown(pace.deadline);
        world.turns(2);
        for peer in &mut peers {
            assert_eq!(peer.write_some(b"hello").expect("a write"), 5);
        }
        pace.hold_up();
        let reasons = world.until_empty();
        assert_eq!(reasons, [Reason::Timeout(Expiry::Drain); PEERS]);
        for serial in 0..PEERS {
            assert!(world.log.said(serial).contains(&Said::Data(5)), "{:?}", world.log.said(serial));
        }
    });
}

/// The kernel reports room only when a third of its send buffer is free, and that may be megabytes: a peer that reads
/// steadily was cut for it.
#[test]
fn a_slow_reader_is_not_stalled_and_one_that_takes_nothing_is() {
    each_kind_at_once(|kind| Pace::find(Duration::from_millis(300), |pace| slow_and_stuck(kind, pace)));
}

fn slow_and_stuck(kind: Kind, pace: &Pace) {
    let stall = pace.deadline;
    let mut world = World::new();
    let limits = Limits { write_stall_timeout: stall, outbox_bytes_max: 32 << 20, ..Limits::default() };
    let address = world.listen(kind, with(limits), |_: &Conn<'_>| {
        Hooks::new().data(|conn, data| {
            conn.write(&vec![7; 24 << 20]).expect("room");
            data.len()
        })
    });
    let mut slow = world.dial(&address);
    world.until_open(1);
    let mut stuck = world.dial(&address);
    world.until_open(2);
    slow.send_all_while(&mut world, b"go");
    let (mut buffer, mut read, mut total) = (vec![0; 16 * 1024], Instant::now(), 0);
    // What the kernel's buffers hold at first is taken at once, so that from then on nothing moves but by its reading.
    world.until("the first megabyte", |world| {
        if !world.log.reasons().is_empty() {
            pace.miss();
        }
        total += slow.try_read(&mut buffer).map_or(0, |count| count.expect("a read"));
        total > 1 << 20
    });
    stuck.send_all_while(&mut world, b"go");
    let began = Instant::now();
    let mut cut = None;
    // However long: at a slow pace that is more than a test waits for anything.
    while began.elapsed() < stall * 7 {
        if read.elapsed() > stall / 3 {
            pace.miss();
        }
        if read.elapsed() > stall / 15 {
            read = Instant::now();
            let mut count = 0;
            while let (true, Some(more)) = (count < buffer.len(), slow.try_read(&mut buffer)) {
                let more = more.unwrap_or(0);
                assert!(more > 0, "the slow reader was cut");
                count += more;
            }
        }
        cut = cut.or((world.log.open() == 1).then(|| began.elapsed()));
        world.turn();
    }
    let cut = cut.expect("the one that takes nothing is cut");
    // The kernels may still move a little by themselves, when the window is probed.
    assert!(cut > stall && cut < stall * 6, "after {cut:?}");
    assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::WriteStall)]);
    drop((slow, stuck));
    world.until_empty();
}

/// A peer that took a long answer slowly, and said nothing meanwhile, was left after two seconds of silence; its next byte
/// made the kernel throw away what it had not read yet.
#[test]
fn a_slow_reader_of_a_last_answer_is_not_left_and_one_that_takes_nothing_is() {
    // Of Unix sockets what the peer has not read stays its own whatever we do.
    let tcp = Kind::ALL.iter().copied().filter(|kind| !kind.is_unix());
    tcp.for_each(|kind| Pace::find(Duration::from_millis(300), |pace| last_answer(kind, pace)));
}

fn last_answer(kind: Kind, pace: &Pace) {
    const ANSWER: usize = 256 * 1024;
    let silence = pace.deadline;
    let mut world = World::new();
    let mut config = with(Limits { linger_timeout: silence, ..Limits::default() });
    // Our kernel takes the answer whole, and theirs little of it.
    config.socket.send_buffer_bytes = Some(4 * ANSWER);
    let address = world.listen(kind, config, |_: &Conn<'_>| {
        Hooks::new().data(|conn, data| {
            conn.write(&vec![7; ANSWER]).expect("room");
            conn.close();
            data.len()
        })
    });
    let dial = |world: &mut World| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(16 * 1024).expect("SO_RCVBUF");
        socket.connect(&address.ip().expect("an IP address").into()).expect("a connect");
        socket.set_nonblocking(true).expect("O_NONBLOCK");
        let mut peer = Peer::guest(socket, kind);
        peer.send_all_while(world, b"go");
        peer
    };
    let mut slow = dial(&mut world);
    let stuck = dial(&mut world);
    let (mut buffer, mut read, mut total, began) = (vec![0; 8 * 1024], Instant::now(), 0, Instant::now());
    while began.elapsed() < silence * 2 {
        if read.elapsed() > silence / 3 {
            pace.miss();
        }
        if read.elapsed() > silence / 10 {
            read = Instant::now();
            total += slow.try_read(&mut buffer).map_or(0, |count| count.expect("a read"));
        }
        assert!(world.log.reasons().len() <= 1, "the slow reader was left after {:?}", began.elapsed());
        world.turn();
    }
    assert!(total < ANSWER, "it was not slow");
    assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::Linger)], "the one that takes nothing");
    // It speaks, which nobody waits for, and still gets all that it was sent.
    assert!(slow.write_some(b"thanks").is_ok());
    total += slow.read_to_end_while(&mut world).expect("the rest").len();
    assert_eq!(total, ANSWER);
    drop((slow, stuck));
    world.until_empty();
}

// --- at length: `cargo test --release --test deadlines -- --ignored` ----------------------------------------------------

/// Three thousand of them, in turns of the usual size.
#[test]
#[ignore = "a measurement, for release builds"]
fn three_thousand_that_acted_in_time_are_not_cut_behind_a_hold_up() {
    const MANY: usize = 3000;
    let long = Duration::from_secs(3);
    windlass::raise_descriptor_limit().expect("a limit");
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { idle_timeout: Some(long), handshake_timeout: long, ..Limits::default() };
        let address = world.listen(kind, with(limits), |_: &Conn<'_>| Echo);
        let dial = |world: &mut World| {
            let peer = world.dial(&address);
            world.reactor().poll_once(Some(Duration::ZERO)).expect("a turn");
            peer
        };
        // With TLS their handshakes are what is held up, too.
        let mut peers: Vec<Peer> = (0..MANY).map(|_| dial(&mut world)).collect();
        // What TLS does not take before its handshake is done is written behind it.
        let said: Vec<usize> = peers.iter_mut().map(|peer| peer.write_some(b"hello").expect("a write")).collect();
        hold_up(long);
        for (peer, said) in peers.iter_mut().zip(said) {
            peer.send_all_while(&mut world, &b"hello"[said..]);
            assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        }
        assert_eq!(world.log.reasons(), [], "over {kind:?}");
        println!("{kind:?}: {MANY} spoke, {MANY} were served, 0 cut");
        // Now it is another thread that speaks.
        let ids: Vec<_> = (0..MANY).map(|serial| world.log.id(serial)).collect();
        let remote = world.reactor().remote();
        for id in ids {
            remote.send(id, Bytes::from_static(b"there")).expect("room");
        }
        hold_up(long);
        for peer in &mut peers {
            assert_eq!(peer.read_exact_while(&mut world, 5), b"there");
        }
        assert_eq!(world.log.reasons(), [], "over {kind:?}");
        println!("{kind:?}: {MANY} were sent to in time, 0 cut");
        drop(peers);
        world.until_empty();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        for _ in 0..MANY {
            let limits = Limits { connect_timeout: long, ..Limits::default() };
            world.connect(&address, ConnectConfig { limits, ..ConnectConfig::default() }, Sink);
        }
        world.turn();
        hold_up(long);
        world.until_open(2 * MANY);
        println!("{kind:?}: {MANY} connects, 0 cut");
        world.reactor().shutdown(Duration::ZERO);
        world.until_empty();
    });
}

/// A file of 100 MB, read at 4, 20 and 40 KB/s for 90 s, behind the usual deadlines.
#[test]
#[ignore = "a measurement, of 90 s"]
fn readers_of_a_few_kilobytes_a_second_are_not_cut() {
    each_kind_at_once(|kind| {
        let mut world = World::new();
        let file = tempfile::tempfile().expect("a file");
        file.set_len(100 << 20).expect("a length");
        let file = std::sync::Arc::new(file);
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let file = file.clone();
            Hooks::new().data(move |conn, data| {
                conn.send_file(file.clone(), 0..100 << 20).expect("room");
                data.len()
            })
        });
        let mut stuck = world.dial(&address);
        world.until_open(1);
        stuck.send_all_while(&mut world, b"go");
        let rates = [4, 20, 40];
        let mut readers = Vec::new();
        for rate in rates {
            let mut peer = world.dial(&address);
            world.until_open(2 + readers.len());
            peer.send_all_while(&mut world, b"go");
            readers.push((rate * 1024, 0, peer));
        }
        let (began, mut buffer, mut cut) = (Instant::now(), vec![0; 1024], None);
        while began.elapsed() < Duration::from_secs(90) {
            for (rate, read, peer) in &mut readers {
                while (*read as f64) < began.elapsed().as_secs_f64() * f64::from(*rate) {
                    let Some(count) = peer.try_read(&mut buffer) else { break };
                    let count = count.unwrap_or(0);
                    assert!(count > 0, "{kind:?}: the reader of {rate} B/s was cut behind {read} bytes");
                    *read += count;
                }
            }
            world.turn();
            cut = cut.or((!world.log.reasons().is_empty()).then(|| began.elapsed()));
        }
        assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::WriteStall)], "{kind:?}");
        println!("{kind:?}: readers of {rates:?} KB/s lived for 90 s; one that took nothing was cut after {cut:?}");
        drop((readers, stuck));
        world.until_empty();
    });
}
