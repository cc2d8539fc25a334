//! Every call with every fault: the n-th call of a kind fails, or three from there on, for n = 1, 2, … until there is no
//! n-th call.

use crate::play::{SCENARIOS, TIMES, VERDICT};
use crate::rig::{self, Rig, each, end, rig, typed};
use rustix::io::Errno;
use std::io::{BufRead, BufReader, Read, Seek};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use windlass::{Conn, EngineConfig, Error, Handler, Server};

/// A kind of call, the errors of it that nobody may notice, and those that may cost what they hit.
const FAULTS: [(&str, &[Errno], &[Errno]); 20] = [
    (
        "recv",
        &[Errno::INTR, Errno::AGAIN],
        &[Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NOMEM, Errno::NOBUFS],
    ),
    (
        "send",
        &[Errno::INTR, Errno::AGAIN],
        &[Errno::PIPE, Errno::CONNRESET, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::NOMEM, Errno::NOBUFS],
    ),
    ("sendmsg", &[Errno::INTR, Errno::AGAIN], &[Errno::PIPE, Errno::CONNRESET, Errno::NOMEM, Errno::NOBUFS]),
    (
        "accept",
        &[
            Errno::INTR,
            Errno::AGAIN,
            Errno::CONNABORTED,
            Errno::PROTO,
            Errno::PERM,
            Errno::NETDOWN,
            Errno::HOSTUNREACH,
            Errno::TIMEDOUT,
            Errno::NOPROTOOPT,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
        ],
        &[Errno::INVAL, Errno::BADF],
    ),
    ("epoll_wait", &[Errno::INTR], &[Errno::BADF, Errno::INVAL]),
    ("epoll_ctl", &[], &[Errno::NOSPC, Errno::NOMEM]),
    (
        "connect",
        &[Errno::INTR],
        &[
            Errno::AGAIN,
            Errno::CONNREFUSED,
            Errno::ADDRNOTAVAIL,
            Errno::NETUNREACH,
            Errno::ACCESS,
            Errno::NOBUFS,
            Errno::TIMEDOUT,
        ],
    ),
    ("socket", &[], &[Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::AFNOSUPPORT, Errno::ACCESS]),
    ("bind", &[], &[Errno::ADDRINUSE, Errno::ACCESS, Errno::NOMEM]),
    ("listen", &[], &[Errno::ADDRINUSE, Errno::OPNOTSUPP]),
    ("setsockopt", &[], &[Errno::INVAL, Errno::NOMEM, Errno::NOPROTOOPT]),
    ("getsockopt", &[], &[Errno::NOBUFS, Errno::NOMEM]),
    ("getpeername", &[], &[Errno::NOTCONN, Errno::NOBUFS, Errno::INVAL]),
    ("getsockname", &[], &[Errno::NOBUFS]),
    ("shutdown", &[], &[Errno::NOTCONN, Errno::NOBUFS]),
    ("close", &[Errno::INTR, Errno::IO], &[]),
    ("fcntl", &[], &[Errno::MFILE, Errno::PERM]),
    ("eventfd", &[], &[Errno::MFILE, Errno::NFILE, Errno::NOMEM]),
    ("epoll_create", &[], &[Errno::MFILE, Errno::NFILE, Errno::NOMEM]),
    (WAKE, &[Errno::AGAIN], &[]),
];

/// The one kind of call that other threads make.
const WAKE: &str = "wake";

/// More calls of a kind than a scenario makes.
const CALLS_MAX: usize = 500;

/// Of the lines of the table, so many make one for a run that was not asked for all.
const SAMPLE: usize = 61;

const PATIENCE: Duration = Duration::from_secs(20);

struct Line {
    scenario: &'static str,
    kind: &'static str,
    errno: Errno,
    may_lose: bool,
    /// So many calls fail, one behind the other.
    times: usize,
}

fn lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for scenario in SCENARIOS {
        for (kind, unnoticed, costly) in FAULTS {
            let costs = unnoticed.iter().map(|errno| (errno, false)).chain(costly.iter().map(|errno| (errno, true)));
            for (errno, may_lose) in costs {
                lines.extend([1, 3].map(|times| Line { scenario, kind, errno: *errno, may_lose, times }));
            }
        }
    }
    lines
}

#[test]
fn one_fault_costs_at_most_what_it_hit() {
    let Some(rig) = rig() else { return };
    let mut lines = lines();
    if let Ok(scenario) = std::env::var("TORTURE_SCENARIO") {
        lines.retain(|line| line.scenario == scenario);
        assert!(!lines.is_empty(), "there is no scenario {scenario}");
    } else if rig::seeds_asked().is_none() {
        lines = lines.into_iter().enumerate().filter_map(|(at, line)| (at % SAMPLE == 0).then_some(line)).collect();
    }
    let runs = AtomicUsize::new(0);
    each(&lines, 3, |line| {
        for call in 1..=CALLS_MAX {
            runs.fetch_add(1, Ordering::Relaxed);
            if !was_hit(rig, line, call)? {
                return Ok(());
            }
        }
        Err(format!("{} makes more than {CALLS_MAX} calls of {}", line.scenario, line.kind))
    });
    println!("{} runs", runs.into_inner());
}

/// Plays a scenario in which one call fails; whether there was such a call.
fn was_hit(rig: &Rig, line: &Line, call: usize) -> Result<bool, String> {
    let mut command = Command::new(&rig.torture);
    command.env("LD_PRELOAD", &rig.shim).env("TORTURE_LOG", "1").env("TORTURE_PLAY", line.scenario);
    command.env("RUST_BACKTRACE", "0");
    command.env("TORTURE_FAIL", format!("{}:{call}:{}:{}", line.kind, line.errno.raw_os_error(), line.times));
    command.env(TIMES, line.times.to_string());
    if line.kind != WAKE {
        command.env("TORTURE_THREAD", "reactor");
    }
    command.args(["--exact", "play::play", "--nocapture", "--test-threads=1"]);
    let ran = rig::run(&mut command, PATIENCE);
    let hit = ran.told.contains("torture: failed");
    let losses = ran.told.lines().find_map(|line| line.strip_prefix(VERDICT));
    let right = ran.went_well() && losses.is_some_and(|losses| losses == "0" || hit && line.may_lose);
    if right {
        return Ok(hit);
    }
    let what = format!("{}: {} from call {call} of {} with {:?}", line.scenario, line.times, line.kind, line.errno);
    Err(format!("{what}\n  replay: {}\n  {}", typed(&command), ran.last_words()))
}

// --- the echo program ---------------------------------------------------------------------------------------------

/// What a program does before it listens.
const BEGINNINGS: [&str; 9] =
    ["socket", "bind", "listen", "setsockopt", "getsockname", "fcntl", "eventfd", "epoll_create", "epoll_ctl"];

#[test]
fn the_echo_program_tells_what_it_lacks_at_the_start_and_exits_with_1() {
    let Some(rig) = rig() else { return };
    each(&BEGINNINGS, 1, |kind| {
        let mut refusals = 0;
        for call in 1..=CALLS_MAX {
            match begin(rig, kind, call)? {
                Begun::Whole => break,
                Begun::Refused => refusals += 1,
                Begun::InSpite => {}
            }
        }
        if refusals > 0 { Ok(()) } else { Err(format!("no call of {kind} is needed: the test proves nothing")) }
    });
}

enum Begun {
    /// There was no such call.
    Whole,
    /// The call failed, and the program began without it.
    InSpite,
    Refused,
}

fn begin(rig: &Rig, kind: &str, call: usize) -> Result<Begun, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("echo");
    let mut log = tempfile::tempfile().expect("a file");
    let mut command = Command::new(&rig.echo);
    command.env("LD_PRELOAD", &rig.shim).env("TORTURE_LOG", "1");
    command.env("TORTURE_FAIL", format!("{kind}:{call}:{}", Errno::NOMEM.raw_os_error()));
    command.args(["--listen", "tcp://127.0.0.1:0", "--listen", &format!("unix:{}", path.display())]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone().expect("a descriptor"));
    let mut server = command.spawn().expect("a process");
    let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let listens = lines.by_ref().take(2).count() == 2;
    if listens {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM);
    }
    let status = end(&mut server, PATIENCE);
    let mut told = String::new();
    log.rewind().expect("a file");
    log.read_to_string(&mut told).expect("text");
    let hit = told.contains("torture: failed");
    let code = status.and_then(|status| status.code());
    match (listens, code) {
        (true, Some(0)) if hit => Ok(Begun::InSpite),
        (true, Some(0)) => Ok(Begun::Whole),
        (false, Some(1)) if told.lines().any(|line| line.starts_with("echo: ")) && !path.exists() => Ok(Begun::Refused),
        _ => {
            Err(format!("call {call} of {kind}: listens {listens}, {status:?}, {told}\n  replay: {}", typed(&command)))
        }
    }
}

#[test]
fn a_server_says_why_and_ends_when_a_reactors_poll_fails() {
    let name = "faults::a_server_says_why_and_ends_when_a_reactors_poll_fails";
    if std::env::var_os("TORTURE_FAIL").is_none() {
        let Some(rig) = rig() else { return };
        for reactor in ["reactor-0", "reactor-2"] {
            let mut command = Command::new(&rig.torture);
            command
                .env("LD_PRELOAD", &rig.shim)
                .env("TORTURE_FAIL", format!("epoll_wait:5:{}:9", Errno::BADF.raw_os_error()));
            command.env("TORTURE_THREAD", reactor).args(["--exact", name, "--nocapture", "--test-threads=1"]);
            let output = command.output().expect("a process");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        return;
    }
    let (tell, told) = std::sync::mpsc::channel();
    let server = Server::builder()
        .address("tcp://127.0.0.1:0".parse().expect("an address"))
        .engine_config(EngineConfig { reactors: 3, name: "reactor".to_owned(), ..EngineConfig::default() })
        .handler(|| |_: &Conn<'_>| Nothing)
        .on_error(move |error| _ = tell.send(error.to_string()))
        .build()
        .expect("a server");
    server.listen().expect("it listens");
    // Each asks all of them, so that each polls again.
    (0..10).for_each(|_| _ = server.snapshots());
    let error = told.recv_timeout(PATIENCE).expect("an error");
    assert!(error.contains("has ended, and its connections are closed: Bad file descriptor"), "{error}");
    assert!(matches!(server.wait(PATIENCE), Err(Error::ReactorGone)));
    assert_eq!(told.try_recv().ok(), None, "told once");
}

struct Nothing;

impl Handler for Nothing {
    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }
}
