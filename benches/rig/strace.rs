//! strace, attached to a running server: it counts system calls, and makes them fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::rig::Outcome;
use crate::rig::account;
use crate::rig::child::{self, Process};
use crate::rig::launch::Core;
use crate::rig::until::{PATIENCE, until};

/// Attaching interrupts the call that a server waits in; what follows from that is over after this.
const SETTLE: Duration = Duration::from_millis(150);
/// The same where every call counts.
const SETTLE_TO_COUNT: Duration = Duration::from_millis(500);

pub(crate) struct Tracer {
    strace: Process,
    directory: TempDir,
}

/// One finished system call.
pub(crate) struct Call {
    /// Seconds since the epoch.
    pub(crate) time: f64,
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) result: i64,
    /// What went wrong, by its name: `EMFILE`.
    pub(crate) errno: Option<String>,
    /// It never reached the kernel.
    pub(crate) is_injected: bool,
}

impl Call {
    /// The first argument, if it is a number.
    pub(crate) fn descriptor(&self) -> Option<i64> {
        self.arguments.split(',').next()?.trim().parse().ok()
    }

    pub(crate) fn failed_with(&self, errno: &str) -> bool {
        self.errno.as_deref() == Some(errno)
    }
}

/// What was seen, in order.
pub(crate) struct Log {
    pub(crate) calls: Vec<Call>,
    /// When the first signal came, if they were traced.
    pub(crate) signalled: Option<f64>,
}

pub(crate) fn is_installed() -> bool {
    child::is_installed("strace")
}

impl Tracer {
    /// Traces the calls named, and injects the faults given as `CALL:error=E:when=…`, counted from now on.
    pub(crate) fn attach(pid: u32, calls: &str, injections: &[String]) -> Outcome<Self> {
        let directory = child::directory()?;
        let log = directory.path().join("strace").display().to_string();
        let mut arguments: Vec<String> =
            ["-f", "-ttt", "-qq", "-s", "0", "-e", "signal=SIGTERM", "-o", &log, "-p"].map(str::to_owned).to_vec();
        arguments.extend([pid.to_string(), "-e".to_owned(), format!("trace={calls}")]);
        for injection in injections {
            arguments.extend(["-e".to_owned(), format!("inject={injection}")]);
        }
        let strace = Process::start(Core::Load, Path::new("strace"), &arguments)?;
        until("strace to attach (is it installed and allowed to?)", PATIENCE, || account::is_traced(pid))?;
        thread::sleep(SETTLE);
        Ok(Tracer { strace, directory })
    }

    /// Lets the server go and tells what was seen.
    pub(crate) fn detach(self) -> Outcome<Log> {
        let text = self.end()?;
        Ok(Log {
            calls: text.lines().filter_map(parse).collect(),
            signalled: text.lines().find(|line| line.contains("--- SIG")).and_then(time),
        })
    }

    /// Lets the server go and returns what strace wrote.
    fn end(mut self) -> Outcome<String> {
        // It has ended already if the server has.
        if self.strace.wait(Duration::ZERO).is_err() {
            self.strace.signal(Signal::INT)?;
            self.strace.wait(PATIENCE)?;
        }
        Ok(fs::read_to_string(self.directory.path().join("strace"))?)
    }
}

/// Counts by name the calls a process enters while `work` runs; calls before and after are left out by their time.
pub(crate) fn count(pid: u32, work: impl FnOnce() -> Outcome<()>) -> Outcome<BTreeMap<String, usize>> {
    let tracer = Tracer::attach(pid, "all", &[])?;
    thread::sleep(SETTLE_TO_COUNT);
    let begin = seconds_since_epoch()?;
    work()?;
    let end = seconds_since_epoch()?;
    Ok(tally(&tracer.end()?, begin, end))
}

/// Prints what was counted of a server, for each of `count` units of work, and returns the sum.
pub(crate) fn print_row(name: &str, calls: &BTreeMap<String, usize>, count: usize) -> f64 {
    let each = |calls: usize| calls as f64 / count as f64;
    let kinds: Vec<String> = calls.iter().map(|(name, calls)| format!("{name} {:.3}", each(*calls))).collect();
    let total = each(calls.values().sum());
    println!("  {name:<18} {total:.3} = {}", kinds.join(" + "));
    total
}

/// The seconds in `PID  SECONDS …`.
fn time(line: &str) -> Option<f64> {
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Lines look like `1234  1700000000.123456 recvfrom(5, …`; a call is resumed by a line with `<...` in place of a name.
fn tally(log: &str, begin: f64, end: f64) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in log.lines().filter(|line| time(line).is_some_and(|time| (begin..end).contains(&time))) {
        let call = line.split_whitespace().nth(2);
        if let Some((name, _)) = call.and_then(|call| call.split_once('(')) {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}

fn seconds_since_epoch() -> Outcome<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// Reads `PID  SECONDS name(arguments) = RESULT [ERRNO (text)] [(INJECTED)]`; calls cut in two are left out.
fn parse(line: &str) -> Option<Call> {
    let (call, result) = line.rsplit_once(" = ")?;
    let (_, call) = call.split_once('.')?;
    let (_, call) = call.split_once(' ')?;
    let (name, arguments) = call.split_once('(')?;
    let mut words = result.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let errno = words.next().filter(|word| word.starts_with('E')).map(str::to_owned);
    let is_injected = line.ends_with("(INJECTED)");
    Some(Call {
        time: time(line)?,
        name: name.to_owned(),
        arguments: arguments.trim_end().trim_end_matches(')').to_owned(),
        result: number,
        errno,
        is_injected,
    })
}
