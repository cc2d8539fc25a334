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
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::launch::Core;

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
        let output = child.stdout.take().expect("the output was asked to be a pipe");
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

    /// The next line of output.
    pub(crate) fn line(&self, time_max: Duration) -> Outcome<String> {
        self.lines.recv_timeout(time_max).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("no answer within {time_max:?}").into(),
            mpsc::RecvTimeoutError::Disconnected => "it ended without an answer".into(),
        })
    }

    /// Asks the child to end by a signal, and waits until it has.
    pub(crate) fn stop(mut self, signal: Signal) -> Outcome<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).ok_or("a child without an id")?;
        kill_process(pid, signal)?;
        let deadline = Instant::now() + STOP_TIME_MAX;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(format!("process {} did not end within {STOP_TIME_MAX:?} of {signal:?}", self.pid()).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
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

/// A directory for sockets and tool output, removed with its handle.
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(crate) fn create() -> Outcome<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Not below `target`, whose path may be too long for a socket's name.
        let path = std::env::temp_dir().join(format!("{DIRECTORY_PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Directory { path })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
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
