//! Reactors inside foreign loops, as the examples have them: bare epoll(7) and poll(2), calloop, tokio.
//!
//! Each recipe must echo, keep its deadlines, take all that the kernel has for it, drain, and do nothing at all while
//! nothing happens.

#[path = "examples/running.rs"]
mod running;

use running::{PATIENCE, Running, dial, exchange, skip};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Those that share their options; `embedded` stands beside them where it needs none.
const RECIPES: [&str; 3] = ["epoll", "calloop", "tokio"];

/// A machine with other work may let a process wait for this long.
const SLACK: Duration = Duration::from_millis(500);

/// What follows from the last thing that happened is over after this.
const SETTLE: Duration = Duration::from_millis(100);

/// Waits for a peer that should say nothing for so long.
fn hear_nothing(stream: &mut TcpStream, time: Duration) {
    stream.set_read_timeout(Some(time)).expect("a timeout");
    let error = stream.read(&mut [0]).expect_err("nothing is said");
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
}

// --- echo, deadlines, the end -----------------------------------------------------------------------------------------

#[test]
fn a_reactor_in_any_loop_echoes_large_and_small_and_drains() {
    for recipe in RECIPES.iter().chain(&["embedded"]) {
        for signal in [Signal::TERM, Signal::INT] {
            let mut running = Running::start_with_input(recipe, &[]);
            let address = running.tcp();
            let mut streams: Vec<_> = (0..20).map(|_| dial(&address)).collect();
            for stream in &mut streams {
                assert_eq!(exchange(stream, "small"), "small", "{recipe}");
            }
            // More than the reactor reads of it in a turn, so that it must be called again without an event.
            let large = "large ".repeat(1 << 18);
            let mut writer = streams[0].try_clone().expect("another handle");
            let sent = large.clone();
            let writes = std::thread::spawn(move || writer.write_all(sent.as_bytes()));
            let mut back = vec![0; large.len()];
            streams[0].read_exact(&mut back).expect("all of it");
            assert!(back == large.as_bytes(), "{recipe}");
            writes.join().expect("a thread").expect("a write");
            running.signal(signal);
            for stream in &mut streams {
                assert_eq!(stream.read(&mut [0]).expect("a clean end"), 0, "{recipe}");
            }
            drop(streams);
            let (rest, ended_well) = running.rest();
            assert!(
                ended_well && rest.ends_with("drained: 20 drained, 0 cut, 0 bytes never sent\n"),
                "{recipe}: {rest}"
            );
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
#[test]
fn a_reactor_in_any_loop_speaks_tls() {
    use std::sync::Arc;
    use windlass::rustls::pki_types::{CertificateDer, pem::PemObject};
    use windlass::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
    for recipe in RECIPES {
        let mut running = Running::start(recipe, &[]);
        running.tcp();
        let address = running.address().strip_prefix("tls://").expect("a TLS address").to_owned();
        let line = running.line();
        let (_, trust) = line.split_once("-CAfile ").expect("what to trust");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(trust).expect("a certificate")).expect("a root");
        let config = ClientConfig::builder_with_provider(windlass::tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a session");
        let mut stream = StreamOwned::new(session, dial(&address));
        assert_eq!(exchange(&mut stream, "hello"), "hello", "{recipe}");
    }
}

#[test]
fn a_reactor_in_any_loop_keeps_its_deadlines() {
    for recipe in RECIPES {
        let mut running = Running::start(recipe, &["--idle", "0.4"]);
        let mut stream = dial(&running.tcp());
        // The timeout runs from a moment between these two.
        let earliest = Instant::now();
        assert_eq!(exchange(&mut stream, "hello"), "hello");
        let latest = Instant::now();
        assert_eq!(stream.read(&mut [0]).expect("a clean end"), 0, "{recipe}");
        let idle = Duration::from_millis(400);
        assert!(earliest.elapsed() >= idle, "{recipe}: closed {:?} after it began to be idle", earliest.elapsed());
        assert!(latest.elapsed() < idle + idle / 50 + SLACK, "{recipe}: closed only after {:?}", latest.elapsed());
    }
}

/// Of an edge-triggered descriptor a loop hears once. One that does not look whether more is there serves a part of those
/// that came together, and sleeps.
#[test]
fn events_that_one_turn_does_not_take_are_served_all_the_same() {
    for recipe in RECIPES {
        let mut running = Running::start(recipe, &["--events-per-turn", "1"]);
        let address = running.tcp();
        let mut streams: Vec<_> = (0..20).map(|_| dial(&address)).collect();
        for stream in &mut streams {
            assert_eq!(exchange(stream, "first"), "first", "{recipe}");
        }
        running.signal(Signal::STOP);
        for stream in &mut streams {
            stream.write_all(b"all at once").expect("a write");
        }
        running.signal(Signal::CONT);
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut back = [0; 11];
            let answer = stream.read_exact(&mut back);
            assert!(answer.is_ok() && &back == b"all at once", "{recipe}: number {number} got {answer:?}");
        }
    }
}

#[test]
fn a_second_signal_cuts_what_is_left() {
    for recipe in RECIPES {
        let mut running = Running::start(recipe, &["--drain", "60"]);
        let address = running.tcp();
        let mut stuck = dial(&address);
        stuck.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        // Until nothing moves any more: the server holds output that nobody reads.
        while stuck.write(&[7; 65536]).is_ok() {}
        running.signal(Signal::TERM);
        // It accepts nothing new, and waits for the one that is stuck.
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(&address).is_ok() {
            assert!(Instant::now() < until, "{recipe} still accepts");
        }
        running.signal(Signal::INT);
        let (rest, ended_well) = running.rest();
        assert!(ended_well && rest.contains(" 1 cut, "), "{recipe}: {rest}");
    }
}

#[test]
fn a_recipe_refuses_what_it_does_not_know() {
    for recipe in RECIPES {
        let output = running::run(recipe, &["--nonsense"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with(&format!("{recipe}: --nonsense is not an option")));
    }
}

// --- nothing while nothing happens ------------------------------------------------------------------------------------

#[test]
fn a_reactor_in_any_loop_makes_no_turn_while_nothing_happens() {
    for recipe in RECIPES {
        let mut running = Running::start(recipe, &["--stats", "0.05"]);
        let address = running.tcp();
        let mut streams: Vec<_> = (0..3).map(|_| dial(&address)).collect();
        for stream in &mut streams {
            assert_eq!(exchange(stream, "hello"), "hello", "{recipe}");
        }
        let mut told = || loop {
            let line = running.line();
            if line.starts_with("stats: connections 3 turns ") {
                return line;
            }
        };
        // What the pipe holds of before; and the first that was written from now on may be of the last turn's middle.
        hear_nothing(&mut streams[0], SETTLE);
        let until = Instant::now() + PATIENCE;
        let (mut last, mut same) = (told(), 0);
        while same < 6 {
            assert!(Instant::now() < until, "{recipe}: it goes on turning: {last}");
            let next = told();
            same = if next == last { same + 1 } else { 0 };
            last = next;
        }
        let turns: u64 = last.rsplit(' ').next().and_then(|turns| turns.parse().ok()).expect("a number");
        // Three accepts and three messages; a turn that finds nothing is not among them.
        assert!(turns <= 16, "{recipe}: {turns} turns for three messages");
    }
}

/// strace of a running program; it lets go of it when it is dropped.
struct Strace {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Strace {
    /// Says why not, if it cannot.
    fn attach(pid: u32) -> Option<Strace> {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let (path, pid) = (log.path().to_str().expect("text").to_owned(), pid.to_string());
        let mut command = Command::new("strace");
        command.args(["-f", "-ttt", "-qq", "-s", "0", "-e", "signal=none", "-o", &path, "-p", &pid]);
        let Ok(child) = command.stderr(Stdio::null()).spawn() else {
            skip("strace is not installed");
            return None;
        };
        let mut strace = Strace { child, log };
        while !is_traced(&pid) {
            if strace.child.try_wait().expect("its state").is_some() {
                skip("strace may not attach");
                return None;
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Some(strace)
    }

    /// The calls that were entered between two moments; lines look like `1234  1700000000.123456 recvfrom(5, …`.
    fn calls_between(&self, begin: f64, end: f64) -> Vec<String> {
        let log = fs::read_to_string(self.log.path()).expect("its log");
        let is_within = |line: &&str| {
            let time = line.split_whitespace().nth(1).and_then(|time| time.parse::<f64>().ok());
            time.is_some_and(|time| (begin..end).contains(&time))
        };
        log.lines().filter(is_within).map(str::to_owned).collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, Signal::INT);
        let _ = self.child.wait();
    }
}

fn is_traced(pid: &str) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

fn seconds_since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64()
}

/// With connections open and no deadline; for half a second each, or `IDLE_SECONDS`.
#[test]
fn a_reactor_in_any_loop_makes_no_system_call_while_nothing_happens() {
    let seconds = std::env::var("IDLE_SECONDS").map_or(0.5, |seconds| seconds.parse().expect("a number"));
    let window = Duration::from_secs_f64(seconds);
    for recipe in RECIPES.iter().chain(&["embedded"]) {
        let mut running = Running::start_with_input(recipe, &[]);
        let address = running.tcp();
        let mut streams: Vec<_> = (0..100).map(|_| dial(&address)).collect();
        let Some(strace) = Strace::attach(running.child.id()) else { return };
        // Under strace; attaching interrupts the call that it waits in.
        for stream in &mut streams {
            assert_eq!(exchange(stream, "hello"), "hello", "{recipe}");
        }
        hear_nothing(&mut streams[0], SETTLE);
        let begin = seconds_since_epoch();
        hear_nothing(&mut streams[0], window);
        let end = seconds_since_epoch();
        assert_eq!(exchange(&mut streams[0], "still here"), "still here");
        // The log has come as far as this.
        let until = Instant::now() + PATIENCE;
        while strace.calls_between(end, f64::INFINITY).is_empty() {
            assert!(Instant::now() < until, "strace writes nothing");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let calls = strace.calls_between(begin, end);
        println!("{recipe}: {} system calls in {:?} with {} connections", calls.len(), window, streams.len());
        assert!(calls.is_empty(), "{recipe}: {calls:#?}");
    }
}
