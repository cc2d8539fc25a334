//! A child process of the harness, and the directory it may have.
//!
//! Owns starting it, reading its lines, and killing it. Knows nothing of what it does.
//!
//! 1. A child is killed and reaped when its handle is dropped; if the harness itself is killed, the kernel kills them.
//! 2. Every wait for a child has a deadline.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::rig::Outcome;
use crate::rig::launch::Core;
use crate::rig::until::until;

const STOP_TIME_MAX: Duration = Duration::from_secs(30);
const DIRECTORY_PREFIX: &str = "windlass-bench-";

/// A child that dies with its handle.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program on a core, with its output read line by line.
    pub(crate) fn start<A: AsRef<OsStr>>(core: Core, program: &Path, arguments: &[A]) -> Outcome<Self> {
        let mut child = Command::new(own_executable()?)
            .arg("--launch")
            .arg(core.argument())
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or("a child without an output")?;
        let (sender, lines) = mpsc::channel();
        // The thread ends with the child's output; it reads on so that the child never blocks on a full pipe.
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _handle_was_dropped = sender.send(line);
            }
        });
        Ok(Process { child, input, lines })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it a line of input.
    pub(crate) fn order(&mut self, line: &str) -> Outcome<()> {
        let input = self.input.as_mut().ok_or("a child without an input")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// Ends its input.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// The next line of output.
    pub(crate) fn line(&self, time_max: Duration) -> Outcome<String> {
        self.lines.recv_timeout(time_max).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("no answer within {time_max:?}").into(),
            mpsc::RecvTimeoutError::Disconnected => "it ended without an answer".into(),
        })
    }

    /// The next line, without the word that it must begin with.
    pub(crate) fn line_after(&self, word: &str, time_max: Duration) -> Outcome<String> {
        let line = self.line(time_max)?;
        Ok(line.strip_prefix(word).ok_or_else(|| format!("it said `{line}`, not `{word}`"))?.to_owned())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or("a child without an id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self, time_max: Duration) -> Outcome<ExitStatus> {
        let mut status = None;
        until("a process to end", time_max, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        Ok(status.ok_or("a process without a status")?)
    }

    /// Asks it to end by a signal, and waits until it has.
    pub(crate) fn stop(mut self, signal: Signal) -> Outcome<()> {
        self.signal(signal)?;
        self.wait(STOP_TIME_MAX).map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn own_executable() -> Outcome<PathBuf> {
    Ok(std::env::current_exe()?)
}

/// The numbers of a line, with spaces between them.
pub(crate) fn numbers(line: &str) -> Outcome<Vec<u64>> {
    Ok(line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Whether a tool can be run, by what it says of its version.
pub(crate) fn is_installed(tool: &str) -> bool {
    let status = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A directory for sockets and tool output, removed with its handle.
pub(crate) fn directory() -> Outcome<TempDir> {
    // Not below `target`, whose path may be too long for a socket's name.
    let prefix = format!("{DIRECTORY_PREFIX}{}-", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir()?)
}

/// Removes the directories of runs that were killed.
pub(crate) fn remove_stale_directories() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| name.strip_prefix(DIRECTORY_PREFIX)?.split('-').next());
        if run.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
