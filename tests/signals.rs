//! Signals that stop a server, or have it called back: real ones, sent to a child that runs the server.
#![cfg(feature = "signals")]

#[path = "examples/running.rs"]
mod running;

use running::{PATIENCE, Running, dial, exchange};
use rustix::process::Signal;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use windlass::{Conn, Error, Handler, Report, Server, ServerBuilder, ServerEvent, Signals, handler_fn};

/// Runs `serve` in a child, and `test` with it.
fn with_child(name: &str, serve: impl FnOnce(), test: impl FnOnce(Running)) {
    if std::env::var("WINDLASS_ALONE").is_ok_and(|alone| alone == name) {
        // Behind the name of the test, which the harness has begun the line with.
        println!();
        return serve();
    }
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("WINDLASS_ALONE", name);
    test(Running::of(command.stdout(Stdio::piped()).spawn().expect("a child")));
}

/// Runs a test in a child that nobody sends a signal to.
fn alone(name: &str, body: impl FnOnce()) {
    with_child(name, body, |child| {
        let (told, ended_well) = child.rest();
        assert!(ended_well && told.contains("1 passed"), "{told}");
    });
}

/// A server whose events are lines of the child's output.
fn tells(builder: ServerBuilder) -> Server {
    let builder = builder.address("tcp://127.0.0.1:0".parse().expect("an address"));
    builder.on_event(|event| println!("{event}")).build().expect("a server")
}

fn echoes() -> Server {
    tells(Server::builder().handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data))))
}

fn told(report: Result<Report, Error>) {
    match report {
        Ok(report) => println!("returned {} drained, {} cut", report.drained, report.cut),
        Err(error) => println!("returned {error:?}"),
    }
}

const LONG: Duration = Duration::from_secs(600);

fn until_line(child: &mut Running, wanted: &str) {
    while child.line() != wanted {}
}

#[test]
fn sigterm_drains_a_server_that_is_run_until_a_signal() {
    drains_on("sigterm_drains_a_server_that_is_run_until_a_signal", Signal::TERM);
}

#[test]
fn sigint_drains_a_server_that_is_run_until_a_signal() {
    drains_on("sigint_drains_a_server_that_is_run_until_a_signal", Signal::INT);
}

fn drains_on(name: &str, signal: Signal) {
    with_child(
        name,
        || told(echoes().run_until_signal(LONG)),
        |mut child| {
            let mut peer = dial(&child.tcp());
            assert_eq!(exchange(&mut peer, "hello"), "hello");
            child.signal(signal);
            assert_eq!(peer.read(&mut [0; 1]).expect("an end in order"), 0);
            let (rest, ended_well) = child.rest();
            assert!(ended_well && rest.contains("returned 1 drained, 0 cut\n"), "{rest}");
        },
    );
}

/// Stays open while its server drains.
struct Stays;

impl Handler for Stays {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }

    fn on_drain(&mut self, _: &mut Conn<'_>) {}
}

#[test]
fn a_second_signal_closes_what_a_drain_waits_for() {
    with_child(
        "a_second_signal_closes_what_a_drain_waits_for",
        || told(tells(Server::builder().handler(|| |_: &Conn<'_>| Stays)).run_until_signal(LONG)),
        |mut child| {
            let mut peer = dial(&child.tcp());
            assert_eq!(exchange(&mut peer, "hello"), "hello");
            child.signal(Signal::TERM);
            until_line(&mut child, "draining");
            // It is still there.
            assert_eq!(exchange(&mut peer, "again"), "again");
            child.signal(Signal::INT);
            let (rest, ended_well) = child.rest();
            assert!(ended_well && rest.contains("returned 0 drained, 1 cut\n"), "{rest}");
        },
    );
}

#[test]
fn a_hangup_calls_back_each_time_and_ends_nothing() {
    with_child(
        "a_hangup_calls_back_each_time_and_ends_nothing",
        || {
            let mut count = 0;
            let signals = Signals::new().expect("they are caught").on_hangup(move || {
                count += 1;
                println!("hangup {count}");
            });
            told(signals.expect("it is caught").run(&echoes(), LONG));
        },
        |mut child| {
            let mut peer = dial(&child.tcp());
            for number in 1..=3 {
                child.signal(Signal::HUP);
                until_line(&mut child, &format!("hangup {number}"));
                assert_eq!(exchange(&mut peer, "hello"), "hello");
            }
            child.signal(Signal::TERM);
            let (rest, ended_well) = child.rest();
            assert!(ended_well && rest.contains("returned 1 drained, 0 cut\n"), "{rest}");
        },
    );
}

#[test]
fn a_hangup_still_ends_a_program_that_asked_for_no_callback() {
    with_child(
        "a_hangup_still_ends_a_program_that_asked_for_no_callback",
        || told(echoes().run_until_signal(LONG)),
        |mut child| {
            child.tcp();
            child.signal(Signal::HUP);
            assert!(!child.rest().1, "it was ended by the signal");
        },
    );
}

#[test]
fn a_signal_that_comes_before_the_server_runs_is_not_lost() {
    alone("a_signal_that_comes_before_the_server_runs_is_not_lost", || {
        let signals = Signals::new().expect("they are caught");
        signal_hook::low_level::raise(signal_hook::consts::SIGTERM).expect("a signal");
        signals.run(&echoes(), LONG).expect("a report");
        // And of two the second one cuts.
        let signals = Signals::new().expect("they are caught");
        signal_hook::low_level::raise(signal_hook::consts::SIGTERM).expect("a signal");
        signal_hook::low_level::raise(signal_hook::consts::SIGINT).expect("a signal");
        signals.run(&echoes(), LONG).expect("a report");
    });
}

#[test]
fn a_server_that_ends_by_other_means_needs_no_signal() {
    alone("a_server_that_ends_by_other_means_needs_no_signal", || {
        let (begins, begun) = mpsc::channel();
        let listening = move |event: &ServerEvent| {
            if matches!(event, ServerEvent::Listening(_)) {
                begins.send(()).expect("a test");
            }
        };
        let server = Server::builder().handler(|| |_: &Conn<'_>| Stays).on_event(listening);
        let server = server.address("tcp://127.0.0.1:0".parse().expect("an address")).build().expect("a server");
        let run = server.clone();
        let running = std::thread::spawn(move || run.run_until_signal(LONG));
        begun.recv_timeout(PATIENCE).expect("it listens");
        server.stop(LONG);
        running.join().expect("no panic").expect("a report");
        // One that is over returns its report at once.
        server.run_until_signal(LONG).expect("a report");
    });
}

#[test]
fn a_server_that_cannot_listen_does_not_wait_for_a_signal() {
    let server = Server::builder().handler(|| |_: &Conn<'_>| Stays);
    let server = server.address("unix:/nowhere/at/all.sock".parse().expect("an address")).build().expect("a server");
    let error = server.run_until_signal(LONG).expect_err("there is no such folder");
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
}

#[test]
fn a_reactor_that_is_held_up_beyond_the_deadline_is_an_error_and_no_wait_without_end() {
    alone("a_reactor_that_is_held_up_beyond_the_deadline_is_an_error_and_no_wait_without_end", || {
        let server = echoes();
        server.listen().expect("it listens");
        let (goes_on, waits) = mpsc::channel::<()>();
        let (held, holds) = mpsc::channel();
        let remote = server.remotes().into_iter().next().expect("a reactor");
        remote
            .run(move |_| {
                held.send(()).expect("a test");
                let _ = waits.recv();
            })
            .expect("it runs");
        holds.recv_timeout(PATIENCE).expect("it is held up");
        let signals = Signals::new().expect("they are caught");
        signal_hook::low_level::raise(signal_hook::consts::SIGTERM).expect("a signal");
        let error = signals.run(&server, Duration::ZERO).expect_err("it is held up");
        assert!(matches!(error, Error::NotDriven), "{error:?}");
        drop(goes_on);
        server.wait(PATIENCE).expect("a report");
    });
}

#[test]
fn a_callback_cannot_wait_for_signals_on_its_own_reactor() {
    alone("a_callback_cannot_wait_for_signals_on_its_own_reactor", || {
        let server = echoes();
        server.listen().expect("it listens");
        let (weak, (tells, told)) = (server.downgrade(), mpsc::channel());
        let remote = server.remotes().into_iter().next().expect("a reactor");
        let call = move |_: &mut windlass::Context<'_>| {
            let refused = weak.upgrade().map(|server| server.run_until_signal(LONG));
            tells.send(matches!(refused, Some(Err(Error::OnReactorThread)))).expect("a test");
        };
        remote.run(call).expect("it runs");
        assert!(told.recv_timeout(PATIENCE).expect("an answer"));
        server.close().expect("a report");
    });
}

#[test]
fn behind_a_run_no_thread_is_left_and_other_code_still_has_its_signals() {
    alone("behind_a_run_no_thread_is_left_and_other_code_still_has_its_signals", || {
        let raise = || signal_hook::low_level::raise(signal_hook::consts::SIGTERM).expect("a signal");
        let others = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, others.clone()).expect("a handler");
        let before = threads();
        let descriptors = || std::fs::read_dir("/dev/fd").expect("descriptors").count();
        let open = descriptors();
        let signals = Signals::new().expect("they are caught");
        raise();
        signals.run(&echoes(), LONG).expect("a report");
        assert!(others.swap(false, Ordering::SeqCst), "the other code was told too");
        raise();
        assert!(others.load(Ordering::SeqCst), "it is told behind the run");
        // The server's own thread ends behind its last event.
        let until = Instant::now() + PATIENCE;
        while (threads(), descriptors()) != (before, open) {
            assert!(Instant::now() < until, "{:?}, before {:?}", (threads(), descriptors()), (before, open));
            std::thread::yield_now();
        }
    });
}

/// How many threads this process has, where the system tells.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.count())
}
