//! The child processes: servers, load generators and strace.
//!
//! 1. A child is killed and reaped when its handle is dropped; if the harness itself is killed, the kernel kills them.
//! 2. Every wait for a child has a deadline.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

use crate::Outcome;
use crate::holdings;
use crate::launch::Core;
use crate::peer::{PATIENCE, until};

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

    /// The next line of output.
    pub(crate) fn line(&self, time_max: Duration) -> Outcome<String> {
        self.lines.recv_timeout(time_max).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("no line of output within {time_max:?}").into(),
            mpsc::RecvTimeoutError::Disconnected => "it ended without a line of output".into(),
        })
    }

    /// Gives it a line of input.
    pub(crate) fn order(&mut self, line: &str) -> Outcome<()> {
        let input = self.input.as_mut().ok_or("its input is closed")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// Ends its input.
    pub(crate) fn end_input(&mut self) {
        self.input = None;
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
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that said where it listens.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Server {
    /// Starts a server with `listeners` free loopback ports, and waits until it listens on all.
    pub(crate) fn start(command: &[&str], listeners: usize) -> Outcome<Self> {
        let mut command = command.to_vec();
        for _ in 0..listeners {
            command.extend(["--listen", "tcp://127.0.0.1:0"]);
        }
        Server::start_as_is(&command, listeners)
    }

    /// The same, with the whole command line given.
    pub(crate) fn start_as_is(command: &[&str], listeners: usize) -> Outcome<Self> {
        let [program, arguments @ ..] = command else {
            return Err("no program to start".into());
        };
        let process = Process::start(Core::Server, Path::new(program), arguments)?;
        let mut addresses = Vec::new();
        for _ in 0..listeners {
            let line = process.line(PATIENCE).map_err(|error| format!("{program} did not start: {error}"))?;
            let address = line.strip_prefix("listening on tcp://").ok_or(format!("{program} printed `{line}`"))?;
            addresses.push(address.parse()?);
        }
        Ok(Server { process, addresses })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until it has closed what its peers closed.
    pub(crate) fn wait_for_descriptors(&self, count: usize) -> Outcome<()> {
        let what = format!("the server to have no more than {count} descriptors");
        until(&what, PATIENCE, || Ok(holdings::open_descriptors(self.pid())? <= count)).map(drop)
    }
}

/// Limits its open files, and becomes the program.
pub(crate) fn limited(arguments: &[String]) -> Outcome<()> {
    let [count, program, rest @ ..] = arguments else {
        return Err("--limited wants a count and a program".into());
    };
    let count = Some(count.parse()?);
    setrlimit(Resource::Nofile, Rlimit { current: count, maximum: count })?;
    let error = Command::new(program).args(rest).exec();
    Err(format!("cannot run {program}: {error}").into())
}

pub(crate) fn own_executable() -> Outcome<PathBuf> {
    Ok(std::env::current_exe()?)
}

/// The same, as an argument.
pub(crate) fn own_path() -> Outcome<String> {
    Ok(own_executable()?.display().to_string())
}

/// The programs of examples, brought up to date, or those that the environment names.
pub(crate) fn examples<const N: usize>(names: [&str; N]) -> Outcome<[String; N]> {
    let named = names.map(|name| std::env::var_os(format!("WINDLASS_{}", name.to_uppercase())));
    // The bench is `TARGET/release/deps/unlucky-HASH`.
    let own = own_executable()?;
    let target = own.ancestors().nth(3).ok_or("this binary is in no target directory")?;
    if named.iter().any(Option::is_none) {
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--release", "--quiet", "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .args(names.iter().flat_map(|name| ["--example", name]))
            .status()?;
        if !status.success() {
            return Err(format!("cannot build the examples {names:?}").into());
        }
    }
    let mut paths = [const { String::new() }; N];
    for ((path, name), named) in paths.iter_mut().zip(names).zip(named) {
        let program = named.map_or_else(|| target.join("release/examples").join(name), PathBuf::from);
        let program = program.canonicalize().map_err(|error| format!("{}: {error}", program.display()))?;
        *path = program.display().to_string();
    }
    Ok(paths)
}
