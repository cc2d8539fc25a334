//! The loop itself: driving it, timers, watches, the mailbox, listeners, links that come and go.

mod scripted;
mod support;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use scripted::{Does, assert_same, on_other, on_reactor, pattern, shared, tight};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use support::post::PostHooks;
use support::{Echo, Heard, Kind, Peer, Said, Sink, World, alone, descriptors, each_kind, each_plain_kind, listening};
use windlass::{
    Accept, Address, Admission, Bytes, Conn, ConnId, ConnectConfig, Context, DatagramConfig, Direction, Error, Handler,
    Limits, Link, ListenConfig, Next, PauseCause, Reactor, ReactorConfig, Readiness, Reason, Status, Undelivered,
    WatchHandler, WriteError,
};

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Whether a descriptor is readable now, for a foreign loop.
fn is_readable(fd: &impl AsFd, wait: Duration) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    rustix::event::poll(&mut fds, Some(&wait)).expect("poll") > 0
}

/// A `Remote` kept the descriptor that wakes its reactor, for as long as it lived: a program that makes reactors and holds
/// on to their remotes ran out of descriptors.
#[test]
fn a_remote_that_outlives_its_reactor_keeps_no_descriptor() {
    alone("a_remote_that_outlives_its_reactor_keeps_no_descriptor", || {
        let (before, mut kept) = (descriptors(), Vec::new());
        for number in 0..20 {
            let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
            let remote = reactor.remote();
            // Others send, and ask for the end, while it ends.
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let remote = remote.clone();
                    thread::spawn(move || while remote.run(|_| ()).is_ok() || !remote.health().has_ended {})
                })
                .collect();
            if number % 2 == 0 {
                remote.stop(Duration::ZERO).expect("it lives");
                reactor.run().expect("an end");
            } else {
                reactor.poll_once(Some(Duration::ZERO)).expect("a turn");
            }
            drop(reactor);
            senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
            assert!(matches!(remote.run(|_| ()), Err(Error::ReactorGone)) && remote.stop(Duration::ZERO).is_err());
            kept.push(remote);
            assert_eq!(descriptors(), before, "after {number} reactors");
        }
    });
}

// --- the turn -----------------------------------------------------------------------------------------------------

#[test]
fn a_reactor_can_be_driven_by_a_foreign_loop() {
    each_kind(|kind| {
        let mut world = World::new();
        let timers = shared(0);
        let told = timers.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new()
                .on_data(|conn, data| {
                    conn.set_timer(millis(20));
                    conn.write_some(data)
                })
                .on_timer(move |_| *told.borrow_mut() += 1)
        });
        let mut foreign = mio::Poll::new().expect("a poll");
        let fd = world.reactor().as_fd().as_raw_fd();
        foreign
            .registry()
            .register(&mut mio::unix::SourceFd(&fd), mio::Token(7), mio::Interest::READABLE)
            .expect("a poll can be polled");
        let mut events = mio::Events::with_capacity(8);
        let mut peer = world.dial(&address);
        peer.write_some(b"hello").expect("a write");
        let (mut buffer, mut got, since) = ([0; 64], 0, Instant::now());
        while *timers.borrow() == 0 {
            assert!(since.elapsed() < support::PATIENCE, "waited in vain");
            let left = world.reactor().next_deadline().map(|due| due.saturating_duration_since(Instant::now()));
            foreign.poll(&mut events, Some(left.unwrap_or(Duration::from_secs(5)))).expect("poll");
            let is_due = world.reactor().next_deadline().is_some_and(|due| due <= Instant::now());
            if !events.is_empty() || is_due {
                // A foreign poll reports edges, so the reactor is driven until it has nothing left.
                while is_readable(&world.reactor().as_fd(), Duration::ZERO)
                    || world.reactor().next_deadline().is_some_and(|due| due <= Instant::now())
                {
                    assert_eq!(world.reactor().poll_once(Some(Duration::ZERO)).expect("a turn"), Status::Running);
                }
            }
            if let Some(read) = peer.try_read(&mut buffer) {
                got += read.expect("a read");
            }
        }
        assert_eq!(got, 5);
        assert_eq!(world.reactor().next_deadline(), None);
    });
}

#[test]
fn an_idle_reactor_has_nothing_to_do_and_nothing_to_wait_for() {
    each_plain_kind("the timers ask once more after a handshake", |kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peers: Vec<Peer> = (0..20).map(|_| world.dial(&address)).collect();
        world.until_open(20);
        for peer in &mut peers {
            peer.send_all_while(&mut world, b"x");
            assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        }
        world.turns(5);
        assert_eq!(world.reactor().next_deadline(), None);
        assert!(!is_readable(&world.reactor().as_fd(), millis(30)), "the poll is readable");
        let before = world.reactor().snapshot();
        let since = Instant::now();
        world.reactor().poll_once(Some(millis(50))).expect("a turn");
        assert!(since.elapsed() >= millis(49), "woken after {:?}", since.elapsed());
        assert_eq!(world.reactor().snapshot().drives, before.drives);
    });
}

#[test]
fn next_deadline_is_past_while_something_waits_to_be_done() {
    let mut world = World::new();
    assert_eq!(world.reactor().next_deadline(), None);
    world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    assert!(world.reactor().next_deadline().is_some_and(|due| due <= Instant::now()), "a local command waits");
    world.turns(3);
    assert_eq!(world.reactor().next_deadline(), None);
    let job = world.reactor().after(Duration::from_secs(5), |_| {});
    let due = world.reactor().next_deadline().expect("a timer");
    assert!(due > Instant::now() + Duration::from_secs(4) && due < Instant::now() + Duration::from_secs(6));
    assert!(world.reactor().context().cancel(job));
    assert_eq!(world.reactor().next_deadline(), None);
}

#[test]
fn a_limit_of_one_event_a_turn_serves_fifty_connections() {
    each_kind(|kind| {
        let mut world = World::with(ReactorConfig { events_per_turn: 1, ..ReactorConfig::default() });
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peers: Vec<Peer> = (0..50).map(|_| world.dial(&address)).collect();
        world.until_open(50);
        for round in 0..3u8 {
            for peer in &mut peers {
                assert_eq!(peer.write_some(&[round; 100]).expect("a write"), 100);
            }
            for peer in &mut peers {
                assert_eq!(peer.read_exact_while(&mut world, 100), [round; 100]);
            }
        }
        let remote = world.reactor().remote();
        let done = shared(false);
        let told = done.clone();
        world.reactor().after(Duration::ZERO, move |_| *told.borrow_mut() = true);
        let (say, hear) = mpsc::channel();
        remote.run(move |_| say.send(()).expect("a hearer")).expect("room");
        world.until("timer and command", |_| *done.borrow() && hear.try_recv().is_ok());
        peers.iter().for_each(Peer::finish);
        assert_eq!(world.until_empty(), [Reason::PeerClosed; 50]);
    });
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    for config in [
        ReactorConfig { events_per_turn: 0, ..ReactorConfig::default() },
        ReactorConfig { mailbox_commands_max: 0, ..ReactorConfig::default() },
        ReactorConfig { commands_per_turn: 0, ..ReactorConfig::default() },
        ReactorConfig { connections_max: 0, ..ReactorConfig::default() },
    ] {
        assert!(matches!(Reactor::new(config), Err(Error::Config { .. })));
    }
}

// --- timers of the reactor ----------------------------------------------------------------------------------------

#[test]
fn jobs_run_in_the_order_of_their_times_and_not_early() {
    let mut world = World::new();
    let ran = shared(Vec::new());
    for wait in [30u64, 0, 10, 20, 0, 10] {
        let ran = ran.clone();
        let asked = Instant::now();
        world.reactor().after(millis(wait), move |cx| {
            assert!(cx.now() >= asked + millis(wait), "early");
            ran.borrow_mut().push(wait);
        });
    }
    world.until("all jobs", |_| ran.borrow().len() == 6);
    assert_eq!(*ran.borrow(), [0, 0, 10, 10, 20, 30]);
    assert_eq!(world.reactor().snapshot().panics, 0);
}

#[test]
fn equal_times_run_in_the_order_in_which_they_were_asked_for() {
    let mut world = World::new();
    let ran = shared(Vec::new());
    let told = ran.clone();
    on_reactor(&mut world, move |cx| {
        for n in 0..50 {
            let told = told.clone();
            cx.after(Duration::ZERO, move |_| told.borrow_mut().push(n));
        }
    });
    world.until("all jobs", |_| ran.borrow().len() == 50);
    assert_eq!(*ran.borrow(), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_job_may_be_cancelled_once_and_never_after_it_ran() {
    let mut world = World::new();
    let ran = shared(0);
    let (a, b) = (ran.clone(), ran.clone());
    let first = world.reactor().after(Duration::ZERO, move |_| *a.borrow_mut() += 1);
    let second = world.reactor().after(Duration::ZERO, move |_| *b.borrow_mut() += 10);
    assert!(world.reactor().context().cancel(second));
    assert!(!world.reactor().context().cancel(second));
    world.until("the job", |_| *ran.borrow() == 1);
    assert!(!world.reactor().context().cancel(first));
    world.turns(3);
    assert_eq!(*ran.borrow(), 1);
}

#[test]
fn a_job_can_cancel_another_that_is_due_in_the_same_turn() {
    let mut world = World::new();
    let ran = shared(0);
    let told = ran.clone();
    let victim = shared(None);
    let aimed = victim.clone();
    on_reactor(&mut world, move |cx| {
        cx.after(Duration::ZERO, move |cx| assert!(cx.cancel(aimed.borrow_mut().take().expect("made"))));
        *victim.borrow_mut() = Some(cx.after(Duration::ZERO, move |_| *told.borrow_mut() += 1));
    });
    world.turns(5);
    assert_eq!((*ran.borrow(), world.reactor().snapshot().panics), (0, 0));
}

fn forever(cx: &mut Context<'_>, count: Rc<Cell<u32>>) {
    cx.after(Duration::ZERO, move |cx| {
        count.set(count.get() + 1);
        forever(cx, count);
    });
}

#[test]
fn a_job_that_makes_itself_again_with_no_delay_starves_nobody() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let count = Rc::new(Cell::new(0));
        forever(&mut world.reactor().context(), count.clone());
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        let (turns, ran) = (world.reactor().snapshot().turns, count.get());
        assert!(u64::from(ran) <= turns + 1, "{ran} runs in {turns} turns");
    });
}

#[test]
fn the_longest_job_never_runs_and_is_dropped_with_the_reactor() {
    let mut world = World::new();
    let held = Rc::new(());
    let inside = held.clone();
    world.reactor().after(Duration::MAX, move |_| drop(inside));
    assert_eq!(world.reactor().next_deadline(), None);
    world.turns(2);
    assert_eq!(Rc::strong_count(&held), 2);
    world.drop_reactor();
    assert_eq!(Rc::strong_count(&held), 1);
}

#[test]
fn a_panic_in_a_job_ends_nothing() {
    let mut world = World::new();
    world.reactor().after(Duration::ZERO, |_| panic!("on purpose"));
    world.until("the panic", |world| world.reactor().snapshot().panics == 1);
    on_reactor(&mut world, |_| {});
}

#[test]
fn a_hundred_thousand_jobs_can_be_made_and_cancelled() {
    let mut world = World::new();
    let ids: Vec<_> = (0..100_000u64).map(|n| world.reactor().after(millis(1000 + n % 977), |_| {})).collect();
    assert!(ids.iter().all(|id| world.reactor().context().cancel(*id)));
    assert_eq!(world.reactor().next_deadline(), None);
}

// --- watches ------------------------------------------------------------------------------------------------------

fn read_all(fd: BorrowedFd<'_>) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 64]);
    while let Ok(n @ 1..) = rustix::io::read(fd, &mut buffer) {
        all.extend_from_slice(&buffer[..n]);
    }
    all
}

fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK | rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe")
}

#[test]
fn a_watched_pipe_tells_each_write_and_its_end() {
    let mut world = World::new();
    let (reader, writer) = pipe();
    let heard = shared((Vec::new(), false));
    let told = heard.clone();
    let watch = move |_: &mut Context<'_>, fd: BorrowedFd<'_>, ready: Readiness| {
        told.borrow_mut().0.extend(read_all(fd));
        told.borrow_mut().1 |= ready.ended;
        if ready.ended { Next::Remove } else { Next::Wait }
    };
    world.reactor().context().watch(reader, Direction::Read, watch).expect("a watch");
    for n in 1..=3 {
        rustix::io::write(&writer, b"x").expect("a write");
        world.until("the byte", |_| heard.borrow().0.len() == n);
    }
    drop(writer);
    world.until("the end", |_| heard.borrow().1);
}

#[test]
fn a_descriptor_that_was_ready_before_it_was_watched_is_told() {
    let mut world = World::new();
    let event = rustix::event::eventfd(3, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd");
    let heard = shared(0);
    let told = heard.clone();
    let watch = move |_: &mut Context<'_>, fd: BorrowedFd<'_>, ready: Readiness| {
        assert!(ready.readable);
        let mut count = [0; 8];
        if rustix::io::read(fd, &mut count).is_ok() {
            *told.borrow_mut() += u64::from_ne_bytes(count);
        }
        Next::Wait
    };
    let ours = event.try_clone().expect("a duplicate");
    world.reactor().context().watch(event, Direction::Read, watch).expect("a watch");
    world.until("what waited", |_| *heard.borrow() == 3);
    rustix::io::write(&ours, &4u64.to_ne_bytes()).expect("a write");
    world.until("what came", |_| *heard.borrow() == 7);
}

#[test]
fn a_watch_made_in_a_callback_of_a_connection_is_told_too() {
    each_kind(|kind| {
        let mut world = World::new();
        let heard = shared(0);
        let told = heard.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_open(move |conn| {
                let (reader, writer) = pipe();
                rustix::io::write(&writer, b"abc").expect("a write");
                let (told, id) = (told.clone(), conn.id());
                let watch = move |cx: &mut Context<'_>, fd: BorrowedFd<'_>, _: Readiness| {
                    let _keep = &writer;
                    *told.borrow_mut() += read_all(fd).len();
                    cx.other(id).expect("it lives").write(b"heard").expect("room");
                    Next::Remove
                };
                conn.context().watch(reader, Direction::Read, watch).expect("a watch");
            })
        });
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_exact_while(&mut world, 5), b"heard");
        assert_eq!(*heard.borrow(), 3);
    });
}

#[test]
fn a_watch_that_says_again_is_called_again_and_starves_nobody() {
    let mut world = World::new();
    let (reader, writer) = pipe();
    rustix::io::write(&writer, b"0123456789").expect("a write");
    let heard = shared(Vec::new());
    let told = heard.clone();
    let watch = move |cx: &mut Context<'_>, fd: BorrowedFd<'_>, ready: Readiness| {
        assert!(ready.readable);
        let mut byte = [0];
        match rustix::io::read(fd, &mut byte) {
            Ok(1) => {
                told.borrow_mut().push((byte[0], cx.counters().turns));
                Next::Again
            }
            _ => Next::Wait,
        }
    };
    world.reactor().context().watch(reader, Direction::Read, watch).expect("a watch");
    world.until("all bytes", |_| heard.borrow().len() == 10);
    let turns: Vec<u64> = heard.borrow().iter().map(|(_, cx)| *cx).collect();
    assert!(turns.windows(2).all(|pair| pair[0] < pair[1] || pair[1] - turns[0] <= 1), "{turns:?}");
    drop(writer);
}

struct Told {
    ready: fn() -> Next,
    closed: scripted::Shared<Vec<Reason>>,
}

impl WatchHandler for Told {
    fn on_ready(&mut self, _: &mut Context<'_>, fd: BorrowedFd<'_>, _: Readiness) -> Next {
        read_all(fd);
        (self.ready)()
    }

    fn on_close(&mut self, _: &mut Context<'_>, reason: Reason) {
        self.closed.borrow_mut().push(reason);
    }
}

#[test]
fn a_watch_is_told_once_why_it_ends() {
    let cases: [(fn() -> Next, Reason); 2] =
        [(|| Next::Remove, Reason::Local), (|| panic!("on purpose"), Reason::HandlerPanicked)];
    for (ready, reason) in cases {
        let mut world = World::new();
        let (reader, writer) = pipe();
        let closed = shared(Vec::new());
        let handler = Told { ready, closed: closed.clone() };
        let id = world.reactor().context().watch(reader, Direction::Read, handler).expect("a watch");
        rustix::io::write(&writer, b"x").expect("a write");
        world.until("the end", |_| !closed.borrow().is_empty());
        world.reactor().context().unwatch(id);
        world.turns(3);
        assert_eq!(*closed.borrow(), [reason]);
        // The descriptor was dropped with it.
        assert!(rustix::io::write(&writer, b"x").is_err());
    }
}

#[test]
fn a_watch_that_panics_when_it_is_told_its_end_ends_nothing_else() {
    struct Spiteful;
    impl WatchHandler for Spiteful {
        fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, _: Readiness) -> Next {
            panic!("on purpose")
        }

        fn on_close(&mut self, _: &mut Context<'_>, _: Reason) {
            panic!("on purpose, again")
        }
    }
    let mut world = World::new();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let mut neighbour = world.dial(&address);
    let (reader, writer) = pipe();
    world.reactor().context().watch(reader, Direction::Read, Spiteful).expect("a watch");
    rustix::io::write(&writer, b"x").expect("a write");
    world.until("two panics", |world| world.reactor().snapshot().panics == 2);
    assert!(rustix::io::write(&writer, b"x").is_err(), "the descriptor was dropped with it");
    neighbour.send_all_while(&mut world, b"hello");
    assert_eq!(neighbour.read_exact_while(&mut world, 5), b"hello");
}

#[test]
fn unwatch_drain_and_drop_end_a_watch() {
    for (how, reason) in [(0, Reason::Local), (1, Reason::Drain), (2, Reason::ReactorDropped)] {
        let mut world = World::new();
        let (reader, _writer) = pipe();
        let closed = shared(Vec::new());
        let handler = Told { ready: || Next::Wait, closed: closed.clone() };
        let id = world.reactor().context().watch(reader, Direction::Read, handler).expect("a watch");
        world.turns(2);
        match how {
            0 => world.reactor().context().unwatch(id),
            1 => world.reactor().shutdown(Duration::from_secs(1)),
            _ => world.drop_reactor(),
        }
        if how < 2 {
            world.until("the end", |_| !closed.borrow().is_empty());
            world.turns(2);
        }
        assert_eq!(*closed.borrow(), [reason]);
    }
}

#[test]
fn an_unwatched_descriptor_with_a_duplicate_is_not_reported_any_more() {
    let mut world = World::new();
    let (reader, writer) = pipe();
    let duplicate = reader.try_clone().expect("a duplicate");
    let closed = shared(Vec::new());
    let handler = Told { ready: || Next::Wait, closed: closed.clone() };
    let id = world.reactor().context().watch(reader, Direction::Read, handler).expect("a watch");
    world.turns(2);
    world.reactor().context().unwatch(id);
    world.until("the end", |_| !closed.borrow().is_empty());
    rustix::io::write(&writer, b"x").expect("a write");
    assert!(!is_readable(&world.reactor().as_fd(), millis(20)));
    drop(duplicate);
}

#[test]
fn a_plain_file_cannot_be_watched_and_nothing_remains_of_it() {
    let mut world = World::new();
    let file = std::fs::File::create(world.path("file")).expect("a file");
    let handler = |_: &mut Context<'_>, _: BorrowedFd<'_>, _: Readiness| Next::Wait;
    let refused = world.reactor().context().watch(file, Direction::Read, handler);
    assert!(matches!(refused, Err(Error::Descriptor { .. })), "{refused:?}");
    world.turns(2);
    assert_eq!(world.reactor().next_deadline(), None);
}

#[test]
fn a_descriptor_watched_for_writing_is_told_room() {
    let mut world = World::new();
    let (reader, writer) = pipe();
    while rustix::io::write(&writer, &[0; 4096]).is_ok() {}
    let heard = shared(0);
    let told = heard.clone();
    let watch = move |_: &mut Context<'_>, _: BorrowedFd<'_>, ready: Readiness| {
        *told.borrow_mut() += usize::from(ready.writable);
        Next::Wait
    };
    world.reactor().context().watch(writer, Direction::Write, watch).expect("a watch");
    world.turns(5);
    assert_eq!(*heard.borrow(), 0);
    read_all(reader.as_fd());
    world.until("room", |_| *heard.borrow() > 0);
}

// --- the mailbox --------------------------------------------------------------------------------------------------

#[test]
fn commands_of_one_remote_are_carried_out_in_their_order() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let (remote, id) = (world.reactor().remote(), world.log.id(0));
        let sender = thread::spawn(move || {
            for n in 0..20_000u32 {
                remote.send(id, Bytes::copy_from_slice(&n.to_be_bytes())).expect("room");
            }
            remote.finish(id).expect("room");
        });
        let got = peer.read_to_end_while(&mut world).expect("a clean end");
        sender.join().expect("the sender");
        let wanted: Vec<u8> = (0..20_000u32).flat_map(u32::to_be_bytes).collect();
        assert_same(&got, &wanted);
        drop(peer);
        world.until_empty();
    });
}

#[test]
fn many_threads_lose_nothing_and_wake_a_sleeping_reactor() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let id = world.log.id(0);
        let threads: Vec<_> = (0..4u8)
            .map(|thread| {
                let remote = world.reactor().remote();
                thread::spawn(move || {
                    for n in 0..2_000u32 {
                        let mut message = [0; 5];
                        message[0] = thread;
                        message[1..].copy_from_slice(&n.to_be_bytes());
                        remote.send(id, Bytes::copy_from_slice(&message)).expect("room");
                    }
                })
            })
            .collect();
        let got = peer.read_exact_while(&mut world, 4 * 2_000 * 5);
        threads.into_iter().for_each(|thread| thread.join().expect("a sender"));
        let mut next = [0u32; 4];
        for message in got.chunks(5) {
            let n = u32::from_be_bytes(message[1..].try_into().expect("four bytes"));
            assert_eq!(n, next[message[0] as usize], "of thread {}", message[0]);
            next[message[0] as usize] += 1;
        }
        // A reactor that sleeps for as long as nothing comes is woken.
        let remote = world.reactor().remote();
        let (say, hear) = mpsc::channel();
        let asker = thread::spawn(move || {
            remote.run(move |_| say.send(()).expect("a hearer")).expect("room");
        });
        while hear.try_recv().is_err() {
            world.reactor().poll_once(None).expect("a turn");
        }
        asker.join().expect("the asker");
    });
}

#[test]
fn a_remote_can_finish_close_and_abort() {
    each_kind(|kind| {
        for way in 0..3 {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
            let mut peer = world.dial(&address);
            world.until_open(1);
            let (remote, id) = (world.reactor().remote(), world.log.id(0));
            let reason = match way {
                0 => remote.finish(id).map(|()| Reason::PeerClosed),
                1 => remote.close(id).map(|()| Reason::Local),
                _ => remote.abort(id).map(|()| Reason::Aborted),
            };
            let end = peer.read_to_end_while(&mut world);
            assert_eq!(end.is_ok(), way < 2 || kind == Kind::Unix, "{end:?}");
            drop(peer);
            assert_eq!(world.until_empty(), [reason.expect("room")]);
            // All of them do nothing to one that is gone.
            assert!(remote.finish(id).is_ok() && remote.close(id).is_ok() && remote.abort(id).is_ok());
            world.turns(2);
        }
    });
}

#[test]
fn what_cannot_be_delivered_comes_back_with_the_reason() {
    each_kind(|kind| {
        let mut world = World::new();
        let back = shared(Vec::new());
        let told = back.clone();
        world.reactor().on_undelivered(move |what, why| {
            let Undelivered::Bytes(id, bytes) = what else { panic!("{what:?}") };
            let why = match why {
                Error::Gone => "gone",
                Error::NotOpen => "not open",
                Error::Full { .. } => "full",
                Error::TooLong { .. } => "too long",
                _ => "other",
            };
            told.borrow_mut().push((id, bytes, why));
        });
        let address =
            world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| Does::new().on_data(|_, data| data.len()));
        let peer = world.dial(&address);
        world.until_open(1);
        let (remote, id) = (world.reactor().remote(), world.log.id(0));
        let big = Bytes::from(pattern(MIB));
        for _ in 0..4 {
            remote.send(id, big.clone()).expect("room");
        }
        remote.send(id, Bytes::from(vec![0; MIB + 1])).expect("room");
        world.until("what is too much", |_| back.borrow().len() >= 3);
        assert_eq!(back.borrow().last().map(|last| last.2), Some("too long"));
        assert!(
            back.borrow().iter().rev().skip(1).all(|(of, bytes, why)| (*of, *why, bytes.len()) == (id, "full", MIB))
        );
        back.borrow_mut().clear();
        remote.finish(id).expect("room");
        remote.send(id, Bytes::from_static(b"late")).expect("room");
        world.until("what is late", |_| !back.borrow().is_empty());
        assert_eq!(*back.borrow(), [(id, Bytes::from_static(b"late"), "not open")]);
        back.borrow_mut().clear();
        // In one batch it still is there, and takes nothing any more.
        remote.abort(id).expect("room");
        remote.send(id, Bytes::from_static(b"behind")).expect("room");
        world.until("what is behind", |_| !back.borrow().is_empty());
        assert_eq!(*back.borrow(), [(id, Bytes::from_static(b"behind"), "not open")]);
        back.borrow_mut().clear();
        remote.send(id, Bytes::from_static(b"too late")).expect("room");
        world.until("what is too late", |_| !back.borrow().is_empty());
        assert_eq!(*back.borrow(), [(id, Bytes::from_static(b"too late"), "gone")]);
        assert!(world.reactor().snapshot().undelivered >= 5);
        drop(peer);
    });
}

#[test]
fn what_was_sent_before_an_abort_in_one_batch_is_taken_by_the_kernel() {
    each_kind(|kind| {
        let mut world = World::new();
        let taken = shared(0);
        let told = taken.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_close(move |conn, _| *told.borrow_mut() = conn.bytes_out())
        });
        let _peer = world.dial(&address);
        world.until_open(1);
        let (remote, id) = (world.reactor().remote(), world.log.id(0));
        let before = world.reactor().snapshot().bytes_out;
        remote.send(id, Bytes::from(vec![7; 100])).expect("room");
        remote.abort(id).expect("room");
        assert_eq!(world.until_empty(), [Reason::Aborted]);
        assert!(*taken.borrow() >= before + 100, "{} of {before} and 100", taken.borrow());
    });
}

#[test]
fn a_batch_of_sends_is_refused_nothing_that_would_fit_one_by_one() {
    each_kind(|kind| {
        let mut world = World::new();
        let lost = shared(0);
        let counted = lost.clone();
        world.reactor().on_undelivered(move |_, _| *counted.borrow_mut() += 1);
        let limits = Limits {
            inbox_bytes_max: 2 * KIB,
            outbox_bytes_max: 32 * KIB,
            outbox_bytes_high: 4 * KIB,
            outbox_bytes_low: KIB,
            ..Limits::default()
        };
        let address =
            world.listen(kind, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| Does::new());
        let mut peer = world.dial(&address);
        world.until_open(1);
        let (remote, id) = (world.reactor().remote(), world.log.id(0));
        for number in 0..60 {
            remote.send(id, Bytes::from(vec![number; KIB])).expect("room");
        }
        let all: Vec<u8> = (0..60).flat_map(|number| [number; KIB]).collect();
        assert_same(&peer.read_exact_while(&mut world, all.len()), &all);
        assert_eq!(*lost.borrow(), 0);
    });
}

#[test]
fn a_mailbox_holds_so_many_bytes_and_one_send_of_any_length() {
    let mut world = World::with(ReactorConfig { mailbox_bytes_max: 1000, ..ReactorConfig::default() });
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Sink);
    let _peer = world.dial(&address);
    world.until_open(1);
    let (remote, id) = (world.reactor().remote(), world.log.id(0));
    let bytes = |count| Bytes::from(vec![7; count]);
    remote.send(id, bytes(5000)).expect("it is alone");
    let back = remote.send(id, bytes(1)).expect_err("no room");
    assert!(matches!(back.why, Error::MailboxFull { limit: 1000, unit: "bytes" }), "{}", back.why);
    assert_eq!(back.bytes.len(), 1);
    remote.run(|_| ()).expect("it carries none");
    world.turns(2);
    remote.send(id, bytes(600)).expect("room");
    remote.send(id, bytes(400)).expect("room");
    remote.send(id, bytes(0)).expect("it carries none");
    let back = remote.send(id, bytes(400)).expect_err("no room");
    assert_eq!(back.bytes.len(), 400);
    remote.stop(Duration::ZERO).expect("a stop is never refused");
    world.until_empty();
}

#[test]
fn a_full_mailbox_gives_everything_back_and_a_stop_still_passes() {
    let mut world = World::with(ReactorConfig { mailbox_commands_max: 3, ..ReactorConfig::default() });
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Sink);
    let _peer = world.dial(&address);
    world.until_open(1);
    let (remote, id) = (world.reactor().remote(), world.log.id(0));
    for _ in 0..3 {
        remote.send(id, Bytes::from_static(b"x")).expect("room");
    }
    let back = remote.send(id, Bytes::from_static(b"mine")).expect_err("it is full");
    assert!(matches!(back.why, Error::MailboxFull { limit: 3, unit: "commands" }));
    assert_eq!(back.bytes, Bytes::from_static(b"mine"));
    assert!(matches!(remote.run(|_| {}), Err(Error::MailboxFull { .. })));
    assert!(matches!(remote.close(id), Err(Error::MailboxFull { .. })));
    let (a, b) = UnixStream::pair().expect("a pair");
    let link = Link::new(a, Limits::default()).expect("a link");
    let back = remote.adopt(link, |_| Sink).expect_err("it is full");
    assert!(matches!(back.why, Error::MailboxFull { .. }));
    drop((back, b));
    remote.stop(Duration::ZERO).expect("a stop is never refused");
    world.until_empty();
    assert!(matches!(remote.stop(Duration::ZERO), Err(Error::ReactorGone)));
    let back = remote.send(id, Bytes::from_static(b"mine")).expect_err("it is gone");
    assert!(matches!(back.why, Error::ReactorGone) && back.bytes == Bytes::from_static(b"mine"));
}

#[test]
fn an_id_of_another_reactor_reaches_nobody() {
    let (mut one, mut two) = (World::new(), World::new());
    let address = one.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let other = two.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let (_a, _b) = (one.dial(&address), two.dial(&other));
    one.until_open(1);
    two.until_open(1);
    let foreign = two.log.id(0);
    assert_ne!(one.log.id(0), foreign);
    assert!(one.reactor().context().other(foreign).is_none());
    let back = one.reactor().remote().send(foreign, Bytes::from_static(b"x")).expect_err("of another reactor");
    assert!(matches!(back.why, Error::Gone));
    assert!(matches!(one.reactor().remote().close(foreign), Err(Error::Gone)));
    one.turns(2);
    assert_eq!((one.log.open(), two.log.open()), (1, 1));
}

#[test]
fn a_remote_waits_for_the_end_but_not_for_itself() {
    let mut world = World::new();
    let remote = world.reactor().remote();
    let (say, hear) = mpsc::channel();
    let inside = remote.clone();
    remote
        .run(move |_| {
            let refused = matches!(inside.wait(Duration::from_secs(5)), Err(Error::OnReactorThread));
            say.send(refused).expect("a hearer");
        })
        .expect("room");
    world.turns(2);
    assert_eq!(hear.try_recv(), Ok(true));
    assert!(matches!(remote.wait(millis(5)), Err(Error::NotDriven)));
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let remote = remote.clone();
            thread::spawn(move || remote.shutdown(Duration::from_secs(5)))
        })
        .collect();
    let report = world.reactor().run().expect("an end");
    for waiter in waiters {
        assert_eq!(waiter.join().expect("a waiter").expect("a report"), report);
    }
    assert_eq!(remote.wait(Duration::ZERO).expect("a report"), report);
}

#[test]
fn a_remote_of_a_dropped_reactor_says_so_and_gives_bytes_back() {
    let mut world = World::new();
    let remote = world.reactor().remote();
    let waiting = remote.clone();
    let waiter = thread::spawn(move || waiting.wait(Duration::from_secs(10)));
    let dropped = Rc::new(());
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Sink);
    let _peer = world.dial(&address);
    world.until_open(1);
    let id = world.log.id(0);
    let back = shared(Vec::new());
    let told = back.clone();
    world.reactor().on_undelivered(move |what, why| {
        let Undelivered::Bytes(_, bytes) = what else { panic!("{what:?}") };
        told.borrow_mut().push((bytes, matches!(why, Error::ReactorGone | Error::Gone)));
    });
    remote.send(id, Bytes::from_static(b"stuck")).expect("room");
    world.drop_reactor();
    assert_eq!(*back.borrow(), [(Bytes::from_static(b"stuck"), true)]);
    assert!(matches!(waiter.join().expect("the waiter"), Err(Error::ReactorGone)));
    assert!(matches!(remote.run(|_| {}), Err(Error::ReactorGone)));
    assert_eq!(world.log.reasons(), [Reason::ReactorDropped]);
    drop(dropped);
}

#[test]
fn a_flood_of_commands_does_not_keep_connections_waiting() {
    each_plain_kind("it counts turns, and a handshake takes some", |kind| {
        let mut world = World::with(ReactorConfig { commands_per_turn: 10, ..ReactorConfig::default() });
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let remote = world.reactor().remote();
        for _ in 0..5_000 {
            let count = count.clone();
            remote.run(move |_| _ = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).expect("room");
        }
        world.turn();
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        let ran = count.load(std::sync::atomic::Ordering::Relaxed);
        assert!(ran < 1000, "{ran} commands went before");
        world.until("all commands", |_| count.load(std::sync::atomic::Ordering::Relaxed) == 5_000);
    });
}

// --- listeners ----------------------------------------------------------------------------------------------------

#[test]
fn a_paused_listener_keeps_its_backlog_until_it_is_resumed() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.free_address(kind);
        let id = world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        world.reactor().context().pause_listener(id).expect("it lives");
        world.turns(3);
        let mut peers: Vec<Peer> = (0..5).map(|_| world.dial(&address)).collect();
        world.turns(10);
        assert_eq!(world.log.made(), 0);
        assert_eq!(world.reactor().next_deadline(), None, "it spins");
        world.reactor().context().resume_listener(id).expect("it lives");
        world.until_open(5);
        for peer in &mut peers {
            peer.send_all_while(&mut world, b"x");
            assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        }
        assert_eq!(world.log.heard(), [Heard::Paused(PauseCause::Asked), Heard::Resumed]);
    });
}

#[test]
fn a_listener_that_is_paused_or_resumed_twice_tells_so_once() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.free_address(kind);
        let id = world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
        let told = |world: &mut World, pause: bool| {
            let cx = &mut world.reactor().context();
            if pause { cx.pause_listener(id) } else { cx.resume_listener(id) }.expect("it lives");
            world.turns(2);
            world.log.heard()
        };
        assert_eq!(told(&mut world, false), []);
        for _ in 0..2 {
            assert_eq!(told(&mut world, true), [Heard::Paused(PauseCause::Asked)]);
        }
        for _ in 0..2 {
            assert_eq!(told(&mut world, false), [Heard::Paused(PauseCause::Asked), Heard::Resumed]);
        }
    });
}

#[test]
fn a_full_listener_that_is_removed_tells_its_pause_once_and_its_end() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.free_address(kind);
        let config = ListenConfig { connections_max: 1, ..ListenConfig::default() };
        let id = world.try_listen(&address, config, |_: &Conn<'_>| Echo).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        let _served = world.dial(&address);
        world.until_open(1);
        let _waits = Peer::dial(&address).expect("the backlog has room");
        let paused = Heard::Paused(PauseCause::ConnectionLimit);
        world.until("a pause", |world| world.log.heard().contains(&paused));
        world.reactor().context().remove_listener(id).expect("it lives");
        world.until("its end", |world| world.log.heard().contains(&Heard::Ended(None)));
        assert_eq!(world.log.heard(), [paused, Heard::Ended(None)]);
    });
}

#[test]
fn a_removed_listener_refuses_and_its_connections_stay() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.free_address(kind);
        let id = world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        let mut peer = world.dial(&address);
        world.until_open(1);
        assert_eq!(world.reactor().context().listeners(), [(id, address.clone())]);
        world.reactor().context().remove_listener(id).expect("it lives");
        world.until("the end of the listener", |world| world.log.heard() == [Heard::Ended(None)]);
        assert_eq!(world.reactor().context().listeners(), []);
        assert_eq!(world.reactor().listener_address(id), None);
        assert!(Peer::dial(&address).is_err());
        if let Some(path) = address.path() {
            assert!(!path.exists(), "the socket file stays");
        }
        for again in [world.reactor().context().remove_listener(id), world.reactor().context().pause_listener(id)] {
            assert!(matches!(again, Err(Error::Gone)), "{again:?}");
        }
        peer.send_all_while(&mut world, b"x");
        assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        peer.finish();
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    });
}

#[test]
fn those_who_were_accepted_when_their_listener_was_removed_are_served() {
    each_kind(|kind| {
        let mut world = World::new();
        let shared_id = shared(None);
        let known = shared_id.clone();
        let address = world.free_address(kind);
        let accept = move |_: &Conn<'_>| {
            let known = known.clone();
            Does::new()
                .on_open(move |conn| {
                    if let Some(id) = known.borrow_mut().take() {
                        conn.context().remove_listener(id).expect("it lives");
                    }
                })
                .on_data(|conn, data| conn.write_some(data))
        };
        let id = world.try_listen(&address, ListenConfig::default(), accept).expect("a listener");
        *shared_id.borrow_mut() = Some(id);
        let address = world.reactor().listener_address(id).expect("it listens");
        let mut peers: Vec<Peer> = (0..10).map(|_| world.dial(&address)).collect();
        world.until_open(10);
        for peer in &mut peers {
            peer.send_all_while(&mut world, b"x");
            assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        }
    });
}

#[test]
fn a_released_listener_can_still_be_used_elsewhere() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.free_address(kind);
        let id = world.try_listen(&address, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
        let address = world.reactor().listener_address(id).expect("it listens");
        let (say, hear) = mpsc::channel();
        world.reactor().context().release_listener(id, move |fd| say.send(fd).expect("a hearer")).expect("it lives");
        let mut released = None;
        world.until("the socket", |_| {
            released = hear.try_recv().ok();
            released.is_some()
        });
        let mut waiting = world.dial(&address);
        world.turns(5);
        assert_eq!(world.log.made(), 0, "it still accepts");
        // Another reactor takes it, with its backlog.
        let mut heir = World::new();
        let log = heir.log.clone();
        let accept = move |_: &Conn<'_>| log.record(Echo);
        heir.reactor()
            .context()
            .listen_on(released.expect("a socket"), listening(&address, ListenConfig::default()), accept)
            .expect("it listens");
        waiting.send_all_while(&mut heir, b"x");
        assert_eq!(waiting.read_exact_while(&mut heir, 1), b"x");
    });
}

#[test]
fn std_listeners_can_be_adopted_and_other_sockets_cannot() {
    let mut world = World::new();
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let unix = UnixListener::bind(world.path("std")).expect("a listener");
    let (tcp_at, unix_at) = (tcp.local_addr().expect("an address"), world.path("std"));
    let log = world.log.clone();
    let accept = move |_: &Conn<'_>| log.record(Echo);
    let again = accept.clone();
    world.reactor().context().listen_on(tcp, ListenConfig::default(), accept).expect("adopted");
    let id = world.reactor().context().listen_on(unix, ListenConfig::default(), again).expect("adopted");
    for address in [Address::tcp(tcp_at), Address::unix(&unix_at).expect("a path")] {
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"x");
        assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
    }
    world.reactor().context().remove_listener(id).expect("it lives");
    world.turns(3);
    assert!(unix_at.exists(), "the file of an adopted socket was removed");
    let (a, _b) = UnixStream::pair().expect("a pair");
    let refused = world.reactor().context().listen_on(a, ListenConfig::default(), |_: &Conn<'_>| Echo);
    assert!(matches!(refused, Err(Error::Descriptor { .. })), "{refused:?}");
    let file = std::fs::File::create(world.path("file")).expect("a file");
    let refused = world.reactor().context().listen_on(file, ListenConfig::default(), |_: &Conn<'_>| Echo);
    assert!(matches!(refused, Err(Error::Descriptor { .. })), "{refused:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn listeners_of_mptcp_and_sctp_are_adopted_with_any_options_and_serve() {
    use socket2::{Domain, Protocol, Socket, Type};
    use windlass::{Keepalive, SocketOptions};
    for protocol in [Protocol::MPTCP, Protocol::SCTP] {
        let listener = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(protocol))?;
            socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
            socket.listen(8)?;
            std::io::Result::Ok(socket)
        };
        if let Err(error) = listener() {
            eprintln!("not over protocol {protocol:?}, which this system lacks: {error}");
            continue;
        }
        let plain = SocketOptions::default();
        let timeout = SocketOptions { user_timeout: Some(Duration::from_secs(20)), ..plain };
        let probing = SocketOptions { keepalive: Some(Keepalive::default()), ..plain };
        let large = SocketOptions { linger: Some(Duration::ZERO), receive_buffer_bytes: Some(100_000), ..plain };
        for socket in [plain, timeout, probing, large] {
            let mut world = World::new();
            let listener = listener().expect("one could be made");
            let at = listener.local_addr().expect("an address");
            let log = world.log.clone();
            let config = ListenConfig { socket, ..ListenConfig::default() };
            let accept = move |_: &Conn<'_>| log.record(Echo);
            world.reactor().context().listen_on(listener, config, accept).expect("adopted");
            let peer = Socket::new(Domain::IPV4, Type::STREAM, Some(protocol)).expect("a socket");
            peer.connect(&at).expect("it listens");
            peer.send(b"x").expect("room");
            peer.set_nonblocking(true).expect("a mode");
            let mut echo = [std::mem::MaybeUninit::uninit()];
            world.until("the echo", |_| peer.recv(&mut echo).is_ok_and(|read| read == 1));
        }
    }
}

#[test]
fn listeners_can_be_added_paused_and_removed_in_callbacks() {
    each_kind(|kind| {
        let mut world = World::new();
        let second = world.free_address(kind);
        let log = world.log.clone();
        let found = shared(None);
        let told = found.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let (second, log, told) = (second.clone(), log.clone(), told.clone());
            let made = Rc::new(Cell::new(None));
            Does::new().on_data(move |conn, data| {
                let cx = conn.context();
                match data {
                    b"add" => {
                        let log = log.clone();
                        let accept = move |_: &Conn<'_>| log.record(Echo);
                        let id = cx
                            .listen(&second, listening(&second, ListenConfig::default()), accept)
                            .expect("a listener");
                        *told.borrow_mut() = cx.listener_address(id);
                        assert_eq!(cx.listeners().len(), 2);
                        made.set(Some(id));
                    }
                    b"pause" => cx.pause_listener(made.get().expect("made")).expect("it lives"),
                    b"resume" => cx.resume_listener(made.get().expect("made")).expect("it lives"),
                    _ => cx.remove_listener(made.get().expect("made")).expect("it lives"),
                }
                conn.write(b"done").expect("room");
                data.len()
            })
        });
        let mut control = world.dial(&address);
        let mut say = |world: &mut World, word: &[u8]| {
            control.send_all_while(world, word);
            assert_eq!(control.read_exact_while(world, 4), b"done");
        };
        say(&mut world, b"add");
        let second = found.borrow().clone().expect("an address");
        let mut first = world.dial(&second);
        first.send_all_while(&mut world, b"x");
        assert_eq!(first.read_exact_while(&mut world, 1), b"x");
        say(&mut world, b"pause");
        let mut waiting = world.dial(&second);
        waiting.send_all_while(&mut world, b"y");
        world.turns(5);
        assert_eq!(world.log.made(), 2);
        say(&mut world, b"resume");
        assert_eq!(waiting.read_exact_while(&mut world, 1), b"y");
        say(&mut world, b"remove");
        world.turns(3);
        assert!(Peer::dial(&second).is_err());
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

#[test]
fn a_listener_at_its_limit_lets_the_rest_wait_and_goes_on_by_itself() {
    each_kind(|kind| {
        let mut world = World::new();
        let config = ListenConfig { connections_max: 2, ..ListenConfig::default() };
        let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
        let mut peers: Vec<Peer> = (0..6).map(|_| world.dial(&address)).collect();
        world.until_open(2);
        world.turns(5);
        assert_eq!(world.log.made(), 2);
        while let Some(mut peer) = (!peers.is_empty()).then(|| peers.remove(0)) {
            peer.send_all_while(&mut world, b"x");
            assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        }
        world.until("all to be served", |world| world.log.reasons().len() == 6);
        let heard = world.log.heard();
        assert_eq!(heard.first(), Some(&Heard::Paused(PauseCause::ConnectionLimit)));
        assert_eq!(heard.last(), Some(&Heard::Resumed), "{heard:?}");
    });
}

struct Picky;

impl Accept for Picky {
    type Handler = Echo;

    fn admit(&mut self, _: &windlass::Peer<'_>) -> Admission {
        Admission::Refuse
    }

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        unreachable!("nobody is admitted")
    }
}

#[test]
fn who_is_not_admitted_is_closed_at_once_told_and_counted() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), Picky);
        let mut peers: Vec<Peer> = (0..5).map(|_| world.dial(&address)).collect();
        for peer in &mut peers {
            assert_eq!(peer.read_to_close_while(&mut world), b"");
        }
        world.turns(3);
        let counters = world.reactor().snapshot();
        assert_eq!((counters.accepted, counters.refused, counters.opened, counters.panics), (5, 5, 0, 0));
        assert_eq!(world.log.heard(), vec![Heard::Failed(Reason::Local); 5]);
        assert_eq!(world.reactor().connections(), 0);
    });
}

// --- links that come ----------------------------------------------------------------------------------------------

/// A link of a socket, which speaks what its kind says.
fn link_of(kind: Kind, socket: OwnedFd) -> Link {
    let link = Link::new(socket, Limits::default()).expect("a link");
    #[cfg(feature = "tls")]
    if kind.is_tls() {
        return link.with_tls_server(&support::security::server()).expect("a fresh link");
    }
    let _ = kind;
    link
}

fn pair(kind: Kind) -> (OwnedFd, Peer) {
    let (near, far): (OwnedFd, OwnedFd) = if kind.is_unix() {
        let (a, b) = UnixStream::pair().expect("a pair");
        b.set_nonblocking(true).expect("non-blocking");
        (a.into(), b.into())
    } else {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (far, _) = listener.accept().expect("a connection");
        far.set_nonblocking(true).expect("non-blocking");
        (near.into(), far.into())
    };
    (near, Peer::guest(far.into(), kind))
}

#[test]
fn an_existing_socket_can_be_adopted_with_what_waits_in_it() {
    each_kind(|kind| {
        let mut world = World::new();
        let (ours, mut peer) = pair(kind);
        peer.write_some(b"early").expect("a write");
        let link = link_of(kind, ours);
        let handler = world.log.record(Echo);
        let id = world.reactor().context().adopt(link, handler).expect("adopted");
        assert!(world.reactor().context().other(id).is_none(), "it has not begun yet");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"early");
        assert_eq!(world.log.id(0), id);
        peer.finish();
        assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        assert_eq!(world.reactor().snapshot().adopted, 1);
    });
}

/// The sockets that a process gets which is started now, by their numbers.
fn inherited() -> String {
    let listed = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("ls(1)");
    String::from_utf8(listed.stdout).expect("text")
}

#[test]
fn a_process_that_is_started_gets_no_socket_that_was_taken_over() {
    use socket2::{Domain, SockAddr, Socket, Type};
    let mut world = World::new();
    // As C makes them, and as an older process hands them over.
    let open = |domain, kind| {
        let socket = Socket::new(domain, kind, None).expect("a socket");
        socket.set_cloexec(false).expect("a flag");
        socket
    };
    let any = SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut numbers = Vec::new();
    let mut noted = |socket: Socket| {
        let number = format!("socket:[{}]", rustix::fs::fstat(&socket).expect("a socket").st_ino);
        assert!(inherited().contains(&number), "it is inherited before it is taken over");
        numbers.push(number);
        socket
    };
    for (domain, at) in [(Domain::IPV4, any.clone()), (Domain::UNIX, SockAddr::unix(world.path("s")).expect("a path"))]
    {
        let listener = open(domain, Type::STREAM);
        listener.bind(&at).expect("a free address");
        listener.listen(8).expect("a listener");
        let stream = open(domain, Type::STREAM);
        stream.connect(&listener.local_addr().expect("an address")).expect("a connection");
        let datagrams = open(domain, Type::DGRAM);
        let at = if domain == Domain::UNIX { SockAddr::unix(world.path("d")).expect("a path") } else { at };
        datagrams.bind(&at).expect("a free address");
        let [listener, stream, datagrams] = [listener, stream, datagrams].map(&mut noted);
        let make = world.record_accept(|_: &Conn<'_>| Echo);
        world.reactor().context().listen_on(listener, ListenConfig::default(), make).expect("taken over");
        let link = Link::new(stream, Limits::default()).expect("a link");
        let handler = world.log.record(Echo);
        world.reactor().context().adopt(link, handler).expect("taken over");
        let handler = world.record_post(PostHooks::new());
        world.reactor().context().bind_on(datagrams, DatagramConfig::default(), handler).expect("taken over");
    }
    world.turns(3);
    let listed = inherited();
    assert!(numbers.iter().all(|number| !listed.contains(number)), "{numbers:?}: {listed}");
}

#[test]
fn what_is_no_connected_stream_cannot_be_a_link() {
    let unconnected = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let datagram = std::os::unix::net::UnixDatagram::pair().expect("a pair").0;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let (pipe, _writer) = pipe();
    let refused = [
        Link::new(unconnected, Limits::default()),
        Link::new(datagram, Limits::default()),
        Link::new(listener, Limits::default()),
        Link::new(pipe, Limits::default()),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::Descriptor { .. })), "{refused:?}");
    }
    let (a, _b) = UnixStream::pair().expect("a pair");
    let limits = Limits { inbox_bytes_max: 0, ..Limits::default() };
    assert!(matches!(Link::new(a, limits), Err(Error::Config { .. })));
}

#[test]
fn an_adopted_socket_with_a_duplicate_is_not_reported_after_its_end() {
    each_kind(|kind| {
        let mut world = World::new();
        let (ours, mut peer) = pair(kind);
        let duplicate = ours.try_clone().expect("a duplicate");
        let link = link_of(kind, ours);
        let handler = world.log.record(Does::new().on_open(|conn| conn.abort()));
        world.reactor().context().adopt(link, handler).expect("adopted");
        world.until_empty();
        let _ = peer.write_some(b"x");
        world.turns(3);
        assert!(!is_readable(&world.reactor().as_fd(), millis(10)));
        drop(duplicate);
    });
}

#[test]
fn another_thread_can_give_a_link() {
    each_kind(|kind| {
        let mut world = World::new();
        let (ours, mut peer) = pair(kind);
        let remote = world.reactor().remote();
        let giver = thread::spawn(move || {
            let link = link_of(kind, ours);
            remote.adopt(link, |conn| {
                assert!(conn.room() > 0);
                Echo
            })
        });
        giver.join().expect("the giver").expect("room");
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        peer.finish();
        world.until("the end", |world| world.reactor().connections() == 0);
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

#[test]
fn a_link_that_comes_while_draining_is_closed() {
    each_plain_kind("a hello that nobody reads makes the kernel reset", |kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Does::new().on_drain(|_| {}));
        let holder = world.dial(&address);
        world.until_open(1);
        world.reactor().shutdown(Duration::from_secs(10));
        world.turns(2);
        let (ours, mut peer) = pair(kind);
        let link = link_of(kind, ours);
        let refused = world.reactor().context().adopt(link, Sink).expect_err("it drains");
        assert!(matches!(refused.why, Error::Draining), "{refused}");
        drop(refused);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        let (ours, mut peer) = pair(kind);
        let link = link_of(kind, ours);
        world.reactor().remote().adopt(link, |_| Sink).expect("room");
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"");
        drop(holder);
        world.until_empty();
    });
}

// --- links that go ------------------------------------------------------------------------------------------------

#[test]
fn a_detached_link_can_be_taken_apart_into_socket_and_bytes() {
    each_plain_kind("records that were not sent are of no use to another", |kind| {
        let mut world = World::new();
        let parts = shared(None);
        let told = parts.clone();
        let address = world.listen(kind, tight(Limits::default()), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_data(move |conn, _| {
                conn.write(pattern(900 * KIB)).expect("room");
                let told = told.clone();
                conn.detach(move |link, _| *told.borrow_mut() = Some((link.bytes_out(), link.into_parts())));
                assert!(matches!(conn.write(b"x"), Err(WriteError::NotOpen)));
                assert_eq!((conn.room(), conn.write_some(b"x")), (0, 0));
                2
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abcde");
        world.until("the parts", |_| parts.borrow().is_some());
        assert_eq!(world.log.reasons(), [Reason::Detached]);
        assert_eq!(world.reactor().connections(), 0);
        let (sent, parts) = parts.borrow_mut().take().expect("parts");
        assert_eq!(parts.unread, b"cde");
        assert_same(&parts.unsent, &pattern(900 * KIB)[sent as usize..]);
        let mut socket = socket2::Socket::from(parts.fd);
        socket.set_nonblocking(false).expect("blocking");
        let got = peer.read_exact_while(&mut world, sent as usize);
        assert_same(&got, pattern(sent as usize));
        socket.write_all(b"by hand").expect("a write");
        assert_eq!(peer.read_exact_while(&mut world, 7), b"by hand");
        peer.send_all_while(&mut world, b"hand");
        let mut buffer = [0; 4];
        socket.read_exact(&mut buffer).expect("a read");
        assert_eq!(&buffer, b"hand");
    });
}

/// Echoes, until it has seen `at` bytes: then it leaves, with a rest and with output that waits.
struct Leaver {
    at: usize,
    seen: usize,
    to: windlass::Remote,
}

impl Handler for Leaver {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let used = conn.write_some(&data[..data.len().div_ceil(2)]);
        self.seen += used;
        if self.seen >= self.at {
            let to = self.to.clone();
            conn.detach(move |link, _| to.adopt(link, |_| Echo).expect("room"));
        }
        used
    }
}

fn stream_through_two_reactors(kind: Kind, heir: &mut dyn FnMut(), to: windlass::Remote) {
    let mut world = World::new();
    let address = world.listen(kind, tight(Limits::default()), move |_: &Conn<'_>| Leaver {
        at: 100 * KIB,
        seen: 0,
        to: to.clone(),
    });
    let mut peer = world.dial(&address);
    let all = pattern(600 * KIB);
    let (mut sent, mut got, mut buffer) = (0, Vec::new(), vec![0; 16 * KIB]);
    let mut finished = false;
    world.until("the echo and its end", |_| {
        heir();
        if !finished {
            sent += peer.write_some(&all[sent..]).expect("a write");
            finished = sent == all.len();
            if finished {
                peer.finish();
            }
        }
        match peer.try_read(&mut buffer) {
            None => false,
            Some(Ok(0)) => true,
            Some(read) => {
                got.extend_from_slice(&buffer[..read.expect("no reset")]);
                false
            }
        }
    });
    assert_same(&got, all);
    assert_eq!(world.log.reasons(), [Reason::Detached]);
}

#[test]
fn a_stream_that_moves_to_another_reactor_of_the_thread_loses_nothing() {
    each_kind(|kind| {
        let mut heir = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let to = heir.remote();
        let mut drive = || _ = heir.poll_once(Some(Duration::ZERO)).expect("a turn");
        stream_through_two_reactors(kind, &mut drive, to);
        assert_eq!(heir.snapshot().closed_for(Reason::PeerClosed), 1);
    });
}

#[test]
fn a_stream_that_moves_to_another_thread_loses_nothing() {
    each_kind(|kind| {
        let (say, hear) = mpsc::channel();
        let heir = thread::spawn(move || {
            let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
            say.send(reactor.remote()).expect("a hearer");
            reactor.run().expect("an end");
            reactor.snapshot().adopted
        });
        let to = hear.recv().expect("a remote");
        stream_through_two_reactors(kind, &mut || {}, to.clone());
        to.shutdown(Duration::from_secs(5)).expect("a report");
        assert_eq!(heir.join().expect("the heir"), 1);
    });
}

#[test]
fn a_link_can_be_adopted_again_at_once_with_another_handler() {
    each_kind(|kind| {
        let mut world = World::new();
        let log = world.log.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let log = log.clone();
            Does::new().on_data(move |conn, data| {
                let next = log.record(Echo);
                conn.write(b"switching;").expect("room");
                conn.detach(move |link, cx| _ = cx.adopt(link, next).expect("adopted"));
                data.iter().position(|byte| *byte == b';').map_or(data.len(), |at| at + 1)
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"upgrade;echo this");
        assert_eq!(peer.read_exact_while(&mut world, 19), b"switching;echo this");
        assert_ne!(world.log.id(0), world.log.id(1));
        peer.finish();
        world.until_empty();
        assert_eq!(world.log.reasons(), [Reason::Detached, Reason::PeerClosed]);
    });
}

#[test]
fn a_link_that_leaves_after_its_peers_end_tells_its_new_handler_of_the_end() {
    each_kind(|kind| {
        let mut world = World::new();
        let log = world.log.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let log = log.clone();
            Does::new().on_end(move |conn, _| {
                let next = log.record(Does::new());
                conn.detach(move |link, cx| _ = cx.adopt(link, next).expect("adopted"));
            })
        });
        let peer = world.dial(&address);
        peer.finish();
        world.until("the second handler", |world| world.log.made() == 2);
        world.turns(10);
        let said = world.log.said(1);
        assert_eq!(
            said.get(..2),
            Some(&[Said::Open, Said::End(0)][..]),
            "nobody will ever end this connection: {said:?}"
        );
        drop(peer);
    });
}

#[test]
fn a_paused_link_that_leaves_shows_its_rest_and_its_end_to_the_new_handler() {
    each_kind(|kind| {
        let mut world = World::new();
        let log = world.log.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let log = log.clone();
            Does::new()
                .on_data(|conn, _| {
                    conn.pause();
                    conn.set_timer(millis(10));
                    1
                })
                .on_timer(move |conn| {
                    let next = log.record(Does::new());
                    conn.detach(move |link, cx| {
                        assert_eq!(link.unread(), b"bc");
                        cx.adopt(link, next).expect("adopted");
                    });
                })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"abc");
        world.until("the first byte", |world| world.log.made() == 1 && world.log.shown(0) > 0);
        peer.send_all_while(&mut world, b"def");
        peer.finish();
        world.until("both ends", |world| world.log.reasons().len() == 2);
        assert_eq!(world.log.shown(1), 2 + 3);
        assert_eq!(world.log.said(1).iter().rev().nth(1), Some(&Said::End(0)));
    });
}

#[test]
fn a_link_detached_after_close_gets_on_close_alone_in_its_new_place() {
    each_kind(|kind| {
        let mut world = World::new();
        let log = world.log.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let log = log.clone();
            Does::new().on_open(move |conn| {
                conn.write(b"bye").expect("room");
                conn.close();
                let next = log.record(Does::new());
                conn.detach(move |link, cx| _ = cx.adopt(link, next).expect("adopted"));
            })
        });
        let mut peer = world.dial(&address);
        assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"bye");
        drop(peer);
        world.until("both ends", |world| world.log.reasons().len() == 2);
        assert_eq!(world.log.said(1), [Said::Close(Reason::Local)]);
    });
}

// --- others -------------------------------------------------------------------------------------------------------

#[test]
fn what_is_written_to_another_connection_between_turns_is_sent() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        world.until_open(1);
        world.turns(3);
        let id = world.log.id(0);
        world.reactor().context().other(id).expect("it lives").write(b"hello").expect("room");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        // And it stays before what the connection's own callbacks write.
        world.reactor().context().other(id).expect("it lives").write(b"first").expect("room");
        peer.send_all_while(&mut world, b"second");
        assert_eq!(peer.read_exact_while(&mut world, 11), b"firstsecond");
    });
}

#[test]
fn the_other_of_oneself_and_of_those_who_are_gone_is_nobody() {
    each_kind(|kind| {
        let mut world = World::new();
        let gone = shared(None::<ConnId>);
        let known = gone.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let known = known.clone();
            Does::new()
                .on_data(move |conn, data| {
                    let own = conn.id();
                    assert!(conn.other(own).is_none());
                    assert!(!conn.context().connections().contains(&own));
                    let gone = known.borrow().expect("an id");
                    assert!(conn.other(gone).is_none());
                    conn.write_some(data)
                })
                .on_close(|conn, _| {
                    let own = conn.id();
                    assert!(conn.other(own).is_none());
                })
        });
        drop(world.dial(&address));
        world.until("one to come and go", |world| world.log.reasons().len() == 1);
        *gone.borrow_mut() = Some(world.log.id(0));
        // Whoever comes next takes the slot, not the name.
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"x");
        assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
        drop(peer);
        world.until_empty();
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

/// One half of a proxy.
struct Half {
    other: scripted::Shared<[Option<ConnId>; 2]>,
    me: usize,
}

impl Handler for Half {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.other.borrow_mut()[self.me] = Some(conn.id());
        match self.other.borrow()[1 - self.me].and_then(|id| conn.other(id)) {
            Some(mut other) => other.resume(),
            None => conn.pause(),
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let Some(mut other) = self.other.borrow()[1 - self.me].and_then(|id| conn.other(id)) else {
            conn.close();
            return data.len();
        };
        let used = other.write_some(data);
        assert!(other.unsent_bytes() <= MIB + MIB / 128);
        if used < data.len() {
            conn.pause();
        }
        used
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        if let Some(mut other) = self.other.borrow()[1 - self.me].and_then(|id| conn.other(id)) {
            other.resume();
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        assert_eq!(rest, b"");
        match self.other.borrow()[1 - self.me].and_then(|id| conn.other(id)) {
            Some(mut other) => other.finish(),
            None => conn.close(),
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        if let Some(mut other) = self.other.borrow()[1 - self.me].and_then(|id| conn.other(id)) {
            other.close();
        }
    }
}

#[test]
fn a_proxy_of_two_links_is_whole_bounded_and_passes_each_end_on() {
    let pairs = Kind::ALL.iter().flat_map(|kind| Kind::ALL.iter().map(|back| (*kind, *back)));
    for (kind, back) in pairs {
        eprintln!("over {kind:?} and {back:?}:");
        let mut world = World::new();
        let (ours, mut server) = pair(back);
        let links = shared([None, None]);
        let front = links.clone();
        let address =
            world.listen(kind, tight(Limits::default()), move |_: &Conn<'_>| Half { other: front.clone(), me: 0 });
        let mut client = world.dial(&address);
        world.until_open(1);
        let link = link_of(back, ours);
        let handler = world.log.record(Half { other: links, me: 1 });
        world.reactor().context().adopt(link, handler).expect("adopted");
        // The client floods, and the server does not read: all is bounded.
        let all = pattern(12 * MIB);
        let (mut sent, mut quiet) = (0, 0);
        world.until("the client to be stopped", |_| {
            let taken = client.write_some(&all[sent..(sent + 64 * KIB).min(all.len())]).expect("a write");
            sent += taken;
            quiet = if taken == 0 { quiet + 1 } else { 0 };
            quiet > 20 || sent == all.len()
        });
        let (mut answered, mut at_server, mut at_client) = (0, Vec::new(), Vec::new());
        let (mut ends, mut finished) = ([false; 2], [false; 2]);
        let mut buffer = vec![0; 64 * KIB];
        world.until("both ends", |_| {
            // The server answers with the same bytes, after its own pace.
            if !finished[0] {
                sent += client.write_some(&all[sent..]).expect("a write");
                finished[0] = sent == all.len();
                if finished[0] {
                    client.finish();
                }
            }
            while let (false, Some(read)) = (ends[0], server.try_read(&mut buffer)) {
                let read = read.expect("no reset");
                ends[0] |= read == 0;
                at_server.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
            if answered < MIB {
                answered += server.write_some(&all[answered..MIB]).expect("a write");
            }
            if ends[0] && answered == MIB && !finished[1] {
                server.finish();
                finished[1] = true;
            }
            while let Some(read) = client.try_read(&mut buffer) {
                let read = read.expect("no reset");
                ends[1] |= read == 0;
                at_client.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
            ends == [true; 2]
        });
        assert_same(&at_server, all);
        assert_same(&at_client, &all[..MIB]);
        assert_eq!(world.until_empty(), [Reason::PeerClosed; 2]);
        assert_eq!(world.reactor().snapshot().panics, 0);
    }
}

#[test]
fn one_message_goes_to_a_hundred_connections_in_order() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                let message = Bytes::copy_from_slice(data);
                for id in conn.context().connections() {
                    conn.other(id).expect("it lives").write_bytes(message.clone()).expect("room");
                }
                conn.write_bytes(message).expect("room");
                data.len()
            })
        });
        let mut peers: Vec<Peer> = (0..100).map(|_| world.dial(&address)).collect();
        world.until_open(100);
        let large = pattern(20_000);
        for message in [&b"small"[..], large, b"end"] {
            peers[3].send_all_while(&mut world, message);
            for peer in &mut peers {
                assert_same(&peer.read_exact_while(&mut world, message.len()), message);
            }
        }
    });
}

#[test]
fn one_slow_receiver_of_a_broadcast_holds_nobody_up() {
    each_kind(|kind| {
        let mut world = World::new();
        let refused = shared(0);
        let told = refused.clone();
        let address = world.listen(kind, tight(Limits::default()), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_data(move |conn, data| {
                let message = Bytes::from(pattern(100 * KIB));
                for id in conn.context().connections() {
                    if conn.other(id).expect("it lives").write_bytes(message.clone()).is_err() {
                        *told.borrow_mut() += 1;
                    }
                }
                data.len()
            })
        });
        let mut speaker = world.dial(&address);
        world.until_open(1);
        let mut quick = world.dial(&address);
        world.until_open(2);
        let slow = world.dial(&address);
        world.until_open(3);
        for _ in 0..25 {
            speaker.send_all_while(&mut world, b"!");
            assert_same(&quick.read_exact_while(&mut world, 100 * KIB), pattern(100 * KIB));
        }
        assert!(*refused.borrow() > 5, "{} were refused", refused.borrow());
        assert_eq!(world.log.said(1), [Said::Open]);
        drop(slow);
        let id = world.log.id(2);
        world.until("the slow one to go", |world| world.log.reasons().len() == 1);
        assert!(world.reactor().context().other(id).is_none());
    });
}

#[test]
fn one_connection_can_pause_resume_finish_close_and_abort_another() {
    each_kind(|kind| {
        let mut world = World::new();
        let target = shared(None::<ConnId>);
        let known = target.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let known = known.clone();
            Does::new().on_data(move |conn, data| {
                let Some(id) = known.borrow().filter(|id| *id != conn.id()) else { return conn.write_some(data) };
                let mut other = conn.other(id).expect("it lives");
                match data {
                    b"pause" => other.pause(),
                    b"resume" => other.resume(),
                    b"finish" => other.finish(),
                    b"close" => other.close(),
                    _ => other.abort(),
                }
                conn.write(b"done").expect("room");
                data.len()
            })
        });
        let mut control = world.dial(&address);
        world.until_open(1);
        let mut say = |world: &mut World, word: &[u8]| {
            control.send_all_while(world, word);
            assert_eq!(control.read_exact_while(world, 4), b"done");
        };
        for end in [&b"finish"[..], b"close", b"abort"] {
            let mut peer = world.dial(&address);
            world.until_open(2);
            let id = world.log.id(world.log.made() - 1);
            *target.borrow_mut() = Some(id);
            say(&mut world, b"pause");
            peer.send_all_while(&mut world, b"x");
            world.turns(5);
            assert!(peer.try_read(&mut [0; 8]).is_none(), "it was not paused");
            say(&mut world, b"resume");
            assert_eq!(peer.read_exact_while(&mut world, 1), b"x");
            say(&mut world, end);
            let got = peer.read_to_end_while(&mut world);
            assert_eq!(got.is_ok(), kind == Kind::Unix || end != b"abort", "{got:?}");
            drop(peer);
            world.until("it to end", |world| world.log.open() == 1);
        }
        assert_eq!(world.log.reasons(), [Reason::PeerClosed, Reason::Local, Reason::Aborted]);
    });
}

#[test]
fn the_shutdown_of_an_idle_reactor_stops_at_once_with_an_empty_report() {
    let mut world = World::new();
    world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    world.turns(2);
    world.reactor().shutdown(Duration::from_secs(30));
    let report = world.reactor().run().expect("an end");
    assert_eq!((report.drained, report.cut, report.unsent_bytes), (0, 0, 0));
    assert!(matches!(world.reactor().poll_once(None), Ok(Status::Stopped(_))));
    let refused = world.reactor().listen(
        &"tcp://127.0.0.1:0".parse().expect("an address"),
        ListenConfig::default(),
        |_: &Conn<'_>| Echo,
    );
    assert!(matches!(refused, Err(Error::ReactorGone | Error::Draining)), "{refused:?}");
}

#[test]
fn a_connection_told_by_another_of_its_refusal_gets_its_own_on_writable() {
    each_plain_kind("what waits is counted in records", |kind| {
        let mut world = World::new();
        let address = world.listen(kind, tight(Limits::default()), |_: &Conn<'_>| Sink);
        let mut peer = world.dial(&address);
        world.until_open(1);
        let id = world.log.id(0);
        on_other(&mut world, id, |other| {
            while other.write(pattern(300 * KIB)).is_ok() {}
            assert_eq!(other.unsent_bytes() + other.room(), MIB);
        });
        world.turns(5);
        assert_eq!(world.log.said(0), [Said::Open]);
        let mut buffer = vec![0; 64 * KIB];
        world.until("on_writable", |world| {
            while peer.try_read(&mut buffer).is_some() {}
            world.log.said(0).contains(&Said::Writable)
        });
        world.turns(5);
        assert_eq!(world.log.said(0), [Said::Open, Said::Writable]);
    });
}

#[test]
fn a_dialled_connection_without_a_world_around_it_works_with_run() {
    // The plainest use: one reactor, `run`, stopped from a callback.
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let listen = "tcp://127.0.0.1:0".parse().expect("an address");
    let id = reactor.listen(&listen, ListenConfig::default(), |_: &Conn<'_>| Echo).expect("a listener");
    let address = reactor.listener_address(id).expect("it listens");
    let heard = shared(Vec::new());
    let told = heard.clone();
    let client = Does::new().on_open(|conn| conn.write(b"ping").expect("room")).on_data(move |conn, data| {
        told.borrow_mut().extend_from_slice(data);
        if told.borrow().len() == 4 {
            conn.context().shutdown(Duration::from_secs(5));
        }
        data.len()
    });
    reactor.connect(&address, ConnectConfig::default(), client).expect("a connect");
    let report = reactor.run().expect("an end");
    assert_eq!((report.drained, report.cut), (2, 0));
    assert_eq!(*heard.borrow(), b"ping");
}

/// Closes every connection that there is, and counts them.
struct Lists(Rc<Cell<Option<usize>>>);

impl WatchHandler for Lists {
    fn on_ready(&mut self, cx: &mut Context<'_>, _: BorrowedFd<'_>, _: Readiness) -> Next {
        self.0.set(Some(cx.connections().len()));
        for id in cx.connections() {
            cx.other(id).expect("a connection that is listed").close();
        }
        Next::Remove
    }
}

#[test]
fn what_is_accepted_in_a_turn_is_there_for_nobody_before_it_begins() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        world.turn();
        let seen = Rc::new(Cell::new(None));
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        world.reactor().context().watch(ours, Direction::Read, Lists(seen.clone())).expect("a watch");
        world.turn();
        let peers = [world.dial(&address), world.dial(&address)];
        // It is reported behind the listener, in the same turn.
        theirs.write_all(b"go").expect("room");
        world.turn();
        assert_eq!((seen.get(), world.reactor().snapshot().failed), (Some(0), 0));
        drop(peers);
        world.until_empty();
    });
}
