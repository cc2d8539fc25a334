//! strace, attached to a running server: it counts system calls, and makes them fail.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::Outcome;
use crate::account;
use crate::child::Process;
use crate::launch::Core;
use crate::peer::{PATIENCE, until};

/// Attaching interrupts the call that a server waits in; what follows from that is over after this.
const SETTLE: Duration = Duration::from_millis(150);

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

impl Tracer {
    pub(crate) fn is_installed() -> bool {
        Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
    }

    /// Traces the calls named, and injects the faults given as `CALL:error=E:when=…`, counted from now on.
    pub(crate) fn attach(pid: u32, calls: &str, injections: &[String]) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("windlass-bench-").tempdir()?;
        let log = directory.path().join("strace").display().to_string();
        let mut arguments: Vec<String> =
            ["-f", "-ttt", "-qq", "-s", "0", "-e", "signal=SIGTERM", "-o", &log, "-p"].map(str::to_owned).to_vec();
        arguments.extend([pid.to_string(), "-e".to_owned(), format!("trace={calls}")]);
        for injection in injections {
            arguments.extend(["-e".to_owned(), format!("inject={injection}")]);
        }
        let strace = Process::start(Core::Load, Path::new("strace"), &arguments)?;
        until("strace to attach (is it allowed to?)", PATIENCE, || account::is_traced(pid))?;
        thread::sleep(SETTLE);
        Ok(Tracer { strace, directory })
    }

    /// Lets the server go and tells what was seen.
    pub(crate) fn detach(mut self) -> Outcome<Log> {
        // It has ended already if the server has.
        if self.strace.wait(Duration::ZERO).is_err() {
            self.strace.signal(Signal::INT)?;
            self.strace.wait(PATIENCE)?;
        }
        let text = std::fs::read_to_string(self.directory.path().join("strace"))?;
        Ok(Log {
            calls: text.lines().filter_map(parse).collect(),
            signalled: text.lines().find(|line| line.contains("--- SIG")).and_then(time),
        })
    }
}

/// The seconds in `PID  SECONDS …`.
fn time(line: &str) -> Option<f64> {
    line.split_whitespace().nth(1)?.parse().ok()
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
