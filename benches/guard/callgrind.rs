//! The process of a subject, and what callgrind counts in it.

use crate::rig::{Outcome, callgrind};
use crate::subjects::MESSAGE;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread;

/// Of one subject, done once.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    pub(crate) system_calls: f64,
}

/// A step of the coarse clock within a drive, and keys and signatures that are long, only ever add.
const RUNS: usize = 3;

/// What a subject costs that is done `times` in each run: the least of all runs.
pub(crate) fn cost(subject: &str, times: usize) -> Outcome<Cost> {
    let mut least = run(subject, times)?;
    for _ in 1..RUNS {
        let cost = run(subject, times)?;
        least.instructions = least.instructions.min(cost.instructions);
        least.system_calls = least.system_calls.min(cost.system_calls);
    }
    Ok(least)
}

fn run(subject: &str, times: usize) -> Outcome<Cost> {
    let folder = tempfile::tempdir()?;
    let log = folder.path().join("log");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*guard*counted*", "--trace-syscalls=yes"])
        .arg(format!("--log-file={}", log.display()))
        .arg(format!("--callgrind-out-file={}", folder.path().join("out").display()))
        .arg(std::env::current_exe()?)
        .args(["--subject", subject])
        .arg(folder.path())
        .arg(listener.local_addr()?.to_string())
        .stdin(Stdio::null())
        .spawn()?;
    let pid = child.id();
    // It ends with the subject, or waits for its connection as long as this process lives.
    thread::spawn(move || answer(&listener, pid));
    let status = child.wait()?;
    if !status.success() {
        return Err(format!("{subject}: {status} under valgrind").into());
    }
    let log = fs::read_to_string(log)?;
    let times = times as f64;
    Ok(Cost { instructions: callgrind::collected(&log)? / times, system_calls: system_calls(&log) as f64 / times })
}

/// Counts the calls between each two marks. Reading the clock is none: only valgrind hides that the kernel maps it.
///
/// Lines look like `SYSCALL[1234,1](45) sys_recvfrom ( …`, with `...` in place of a name when a call goes on.
fn system_calls(log: &str) -> usize {
    let names = log.lines().filter_map(|line| {
        let (_, rest) = line.strip_prefix("SYSCALL[")?.split_once(')')?;
        rest.trim_start().split(['(', ' ']).next()
    });
    let (mut count, mut is_counted) = (0, false);
    for name in names {
        match name {
            "sys_getppid" => is_counted = !is_counted,
            "..." | "sys_clock_gettime" => {}
            _ => count += usize::from(is_counted),
        }
    }
    count
}

/// Sends back what comes once the process sleeps: it has found no answer then, and has begun to wait for one.
fn answer(listener: &TcpListener, pid: u32) -> io::Result<()> {
    let (mut peer, _) = listener.accept()?;
    peer.set_nodelay(true)?;
    let mut message = [0; MESSAGE.len()];
    loop {
        peer.read_exact(&mut message)?;
        while !sleeps(pid)? {
            thread::yield_now();
        }
        peer.write_all(&message)?;
    }
}

fn sleeps(pid: u32) -> io::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").ok_or(io::ErrorKind::InvalidData)?;
    Ok(rest.starts_with('S'))
}
