//! One descriptor for a foreign loop: it waits for that without a timeout of its own, and misses nothing.
#![cfg(any(target_os = "linux", target_os = "android"))]

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::{Conn, Handler, Limits, Link, ListenConfig, Reactor, ReactorConfig, Reason, Status};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

fn armed(config: ReactorConfig) -> Reactor {
    let mut reactor = Reactor::new(config).expect("a reactor");
    reactor.arm_descriptor().expect("a timer");
    reactor
}

/// Whether the descriptor becomes readable within so long.
fn is_readable(reactor: &Reactor, within: Duration) -> bool {
    let within = Timespec::try_from(within).expect("a time");
    poll(&mut [PollFd::new(reactor, PollFlags::IN)], Some(&within)).expect("poll(2)") > 0
}

/// One turn, when the descriptor says so; it must.
fn turn(reactor: &mut Reactor) -> Status {
    assert!(is_readable(reactor, PATIENCE), "the descriptor says nothing");
    reactor.poll_once(Some(Duration::ZERO)).expect("a turn")
}

fn until(reactor: &mut Reactor, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "in vain");
        turn(reactor);
    }
}

/// Turns until the descriptor says nothing more.
fn settle(reactor: &mut Reactor) {
    while is_readable(reactor, Duration::ZERO) {
        reactor.poll_once(Some(Duration::ZERO)).expect("a turn");
    }
}

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

fn listen(reactor: &mut Reactor, limits: Limits) -> std::net::SocketAddr {
    let config = ListenConfig { limits, ..ListenConfig::default() };
    let id = reactor.listen(&"tcp://127.0.0.1:0".parse().expect("an address"), config, |_: &Conn<'_>| Echo);
    reactor.listener_address(id.expect("a listener")).and_then(|address| address.ip()).expect("it listens")
}

/// Nothing would ever take its event, and a loop that still watches it would spin.
#[test]
fn the_descriptor_of_a_stopped_reactor_says_nothing() {
    let mut reactor = armed(ReactorConfig::default());
    reactor.shutdown(Duration::ZERO);
    while !matches!(turn(&mut reactor), Status::Stopped(_)) {}
    reactor.shutdown(Duration::ZERO);
    reactor.after(Duration::ZERO, |_| {});
    reactor.arm_descriptor().expect("nothing to do");
    assert!(!is_readable(&reactor, Duration::from_millis(20)));
}

#[test]
fn deadlines_of_every_kind_make_the_descriptor_readable() {
    let mut reactor = armed(ReactorConfig::default());
    let heard: Rc<RefCell<Vec<String>>> = Rc::default();
    struct Timed(Rc<RefCell<Vec<String>>>);
    impl Handler for Timed {
        fn on_open(&mut self, conn: &mut Conn<'_>) {
            conn.set_timer(Duration::from_millis(4));
            conn.tell_after(Duration::from_millis(8), ());
        }
        fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
            data.len()
        }
        fn on_timer(&mut self, _: &mut Conn<'_>) {
            self.0.borrow_mut().push("timer".to_owned());
        }
        fn on_message(&mut self, _: &mut Conn<'_>, message: &mut windlass::Message) {
            let _ = message.take::<()>();
            self.0.borrow_mut().push("message".to_owned());
        }
        fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
            self.0.borrow_mut().push(format!("{reason:?}"));
        }
    }
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let limits = Limits { idle_timeout: Some(Duration::from_millis(30)), ..Limits::default() };
    let link = Link::new(ours, limits).expect("a link");
    let first = heard.clone();
    reactor.after(Duration::from_millis(1), move |_| first.borrow_mut().push("after".to_owned()));
    reactor.context().adopt(link, Timed(heard.clone())).unwrap_or_else(|_| panic!("adopted"));
    until(&mut reactor, || heard.borrow().len() == 4);
    // A machine with other work may let some of them pass before it looks.
    heard.borrow_mut().sort();
    assert_eq!(*heard.borrow(), ["Timeout(Idle)", "after", "message", "timer"]);
}

#[test]
fn while_nothing_is_due_it_says_nothing_and_a_nearer_deadline_moves_it() {
    let mut reactor = armed(ReactorConfig::default());
    settle(&mut reactor);
    assert!(!is_readable(&reactor, Duration::from_millis(30)), "nothing is due");
    let fired = Rc::new(Cell::new(0));
    let far = fired.clone();
    reactor.after(Duration::from_secs(3600), move |_| far.set(100));
    settle(&mut reactor);
    let turns = reactor.snapshot().turns;
    assert!(!is_readable(&reactor, Duration::from_millis(30)), "an hour is not over");
    for _ in 0..3 {
        let near = fired.clone();
        reactor.after(Duration::from_millis(2), move |_| near.set(near.get() + 1));
        let before = fired.get();
        until(&mut reactor, || fired.get() == before + 1);
    }
    let far = reactor.after(Duration::from_millis(20), |_| panic!("it was cancelled"));
    assert!(reactor.context().cancel(far));
    settle(&mut reactor);
    assert!(!is_readable(&reactor, Duration::from_millis(40)), "nothing is left but an hour");
    assert!(reactor.snapshot().turns - turns < 20, "{} turns", reactor.snapshot().turns - turns);
}

#[test]
fn what_is_asked_between_turns_is_done() {
    let mut reactor = armed(ReactorConfig::default());
    settle(&mut reactor);
    let address = listen(&mut reactor, Limits::default());
    let mut peer = TcpStream::connect(address).expect("a connection");
    until(&mut reactor, {
        let connections = Rc::new(Cell::new(0));
        let seen = connections.clone();
        move || {
            seen.set(seen.get() + 1);
            connections.get() > 3
        }
    });
    settle(&mut reactor);
    assert_eq!(reactor.connections(), 1);
    let id = reactor.context().connections()[0];
    settle(&mut reactor);
    // Bytes, from outside of any callback.
    reactor.context().other(id).expect("it is there").write(b"hello").expect("room");
    turn(&mut reactor);
    let mut buffer = [0; 5];
    peer.read_exact(&mut buffer).expect("the bytes");
    assert_eq!(&buffer, b"hello");
    settle(&mut reactor);
    // Of another thread.
    let remote = reactor.remote();
    std::thread::spawn(move || remote.send(id, windlass::Bytes::from_static(b"there")))
        .join()
        .expect("a thread")
        .expect("room");
    turn(&mut reactor);
    peer.read_exact(&mut buffer).expect("the bytes");
    assert_eq!(&buffer, b"there");
    settle(&mut reactor);
    // The end, which waits for nobody.
    drop(peer);
    reactor.shutdown(PATIENCE);
    while !matches!(turn(&mut reactor), Status::Stopped(_)) {}
}

/// Of several events that come at once one turn takes one: the descriptor stays readable, for a loop that hears of edges, too.
#[test]
fn what_one_turn_leaves_is_said_again_to_loops_of_levels_and_of_edges() {
    for flags in [epoll::EventFlags::IN, epoll::EventFlags::IN | epoll::EventFlags::ET] {
        for events_per_turn in [1, 2, 1024] {
            let mut reactor = armed(ReactorConfig { events_per_turn, ..ReactorConfig::default() });
            let limits = Limits { bytes_per_turn: 10_000, reads_per_turn: 2, ..Limits::default() };
            let address = listen(&mut reactor, limits);
            let outer = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
            epoll::add(&outer, &reactor, epoll::EventData::new_u64(0), flags).expect("a descriptor");
            let mut peers: Vec<_> = (0..20).map(|_| TcpStream::connect(address).expect("a connection")).collect();
            let message = vec![7; 50_000];
            for peer in &mut peers {
                peer.write_all(&message).expect("room in the kernel");
                peer.set_nonblocking(true).expect("a mode");
            }
            let mut missing = vec![message.len(); peers.len()];
            let mut buffer = vec![0; 65_536];
            let since = Instant::now();
            while missing.iter().any(|left| *left > 0) {
                assert!(since.elapsed() < PATIENCE, "{missing:?}");
                let mut events = Vec::with_capacity(1);
                // A loop whose peers read meanwhile waits without end if nothing is said.
                let wait = Timespec::try_from(PATIENCE).expect("a time");
                epoll::wait(&outer, rustix::buffer::spare_capacity(&mut events), Some(&wait)).expect("epoll_wait(2)");
                assert_eq!(events.len(), 1, "{missing:?}");
                reactor.poll_once(Some(Duration::ZERO)).expect("a turn");
                for (peer, left) in peers.iter_mut().zip(&mut missing) {
                    match peer.read(&mut buffer) {
                        Ok(read) => *left -= read,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                }
            }
            settle(&mut reactor);
            assert!(!is_readable(&reactor, Duration::from_millis(10)), "it goes on without end");
        }
    }
}

#[test]
fn a_drain_ends_by_the_descriptor_alone_at_its_deadline_at_the_latest() {
    struct Stays;
    impl Handler for Stays {
        fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
            data.len()
        }
        fn on_drain(&mut self, _: &mut Conn<'_>) {}
    }
    let mut reactor = armed(ReactorConfig::default());
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let link = Link::new(ours, Limits::default()).expect("a link");
    reactor.context().adopt(link, Stays).unwrap_or_else(|_| panic!("adopted"));
    settle(&mut reactor);
    reactor.shutdown(Duration::from_millis(30));
    let report = loop {
        if let Status::Stopped(report) = turn(&mut reactor) {
            break report;
        }
    };
    assert_eq!(report.cut, 1);
    assert!(!is_readable(&reactor, Duration::ZERO), "it is over");
}

#[test]
fn a_reactor_that_runs_by_itself_may_be_armed_too() {
    let mut reactor = armed(ReactorConfig::default());
    reactor.arm_descriptor().expect("it is already");
    reactor.after(Duration::from_millis(5), |cx| cx.shutdown(Duration::ZERO));
    reactor.run().expect("a report");
}

/// How late a deadline of a millisecond is, in a loop over epoll(7) that waits without a timeout. Prints the figures; the machine's
/// other work is in them.
#[test]
#[ignore = "a measurement: cargo test --release --test descriptor -- --ignored --nocapture"]
fn lateness_of_deadlines_of_a_millisecond() {
    const COUNT: usize = 2_000;
    let mut reactor = armed(ReactorConfig::default());
    let late: Rc<RefCell<Vec<Duration>>> = Rc::default();
    struct Ticking {
        due: Instant,
        late: Rc<RefCell<Vec<Duration>>>,
    }
    impl Ticking {
        fn again(&mut self, conn: &mut Conn<'_>) {
            // From now on, and not from the turn's time, which may be older.
            self.due = Instant::now() + Duration::from_millis(1);
            let turn = conn.now();
            conn.set_timer(self.due - turn);
        }
    }
    impl Handler for Ticking {
        fn on_open(&mut self, conn: &mut Conn<'_>) {
            self.again(conn);
        }
        fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
            data.len()
        }
        fn on_timer(&mut self, conn: &mut Conn<'_>) {
            self.late.borrow_mut().push(self.due.elapsed());
            self.again(conn);
        }
    }
    let report = |what: &str, late: &mut Vec<Duration>| {
        late.sort();
        let at = |share: usize| late[(late.len() - 1) * share / 1000].as_nanos() / 1000;
        println!(
            "{what}: late by p50 {} us, p99 {} us, p99.9 {} us, at most {} us",
            at(500),
            at(990),
            at(999),
            at(1000)
        );
    };

    // `Reactor::after`, which rounds nothing.
    let mut jobs = Vec::new();
    for _ in 0..COUNT {
        let fired = Rc::new(Cell::new(None));
        let fires = fired.clone();
        let due = Instant::now() + Duration::from_millis(1);
        reactor.after(Duration::from_millis(1), move |_| fires.set(Some(Instant::now())));
        until(&mut reactor, || fired.get().is_some());
        jobs.push(fired.get().expect("it fired").saturating_duration_since(due));
    }
    report("Reactor::after", &mut jobs);

    // `Conn::set_timer`, which rounds by up to a fiftieth and 66 us.
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let link = Link::new(ours, Limits::default()).expect("a link");
    let ticking = Ticking { due: Instant::now(), late: late.clone() };
    reactor.context().adopt(link, ticking).unwrap_or_else(|_| panic!("adopted"));
    until(&mut reactor, || late.borrow().len() == COUNT);
    report("Conn::set_timer", &mut late.borrow_mut());

    // The same without the timer, in a loop that waits by poll(2) until the deadline, in milliseconds rounded up.
    let mut plain = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let mut jobs = Vec::new();
    for _ in 0..COUNT {
        let fired = Rc::new(Cell::new(None));
        let fires = fired.clone();
        let due = Instant::now() + Duration::from_millis(1);
        plain.after(Duration::from_millis(1), move |_| fires.set(Some(Instant::now())));
        while fired.get().is_none() {
            plain.poll_once(None).expect("a turn");
        }
        jobs.push(fired.get().expect("it fired").saturating_duration_since(due));
    }
    report("without it, Reactor::after", &mut jobs);
}
