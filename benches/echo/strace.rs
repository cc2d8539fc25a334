//! System calls of a running server, as strace sees them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::Outcome;
use crate::account;
use crate::child::{Directory, Process};
use crate::launch::Core;

const ATTACH_TIME_MAX: Duration = Duration::from_secs(10);
/// Attaching interrupts the call a server waits in; what follows from that is over after this.
const SETTLE: Duration = Duration::from_millis(500);

/// Counts by name the calls a process enters while `work` runs; calls before and after are left out by their time.
pub(crate) fn count(pid: u32, work: impl FnOnce() -> Outcome<()>) -> Outcome<BTreeMap<String, usize>> {
    let directory = Directory::create()?;
    let log = directory.file("strace");
    let log_text = log.display().to_string();
    let pid_text = pid.to_string();
    let arguments = ["-f", "-ttt", "-qq", "-s", "0", "-e", "signal=none", "-o", &log_text, "-p", &pid_text];
    let strace = Process::start(Core::Load, Path::new("strace"), &arguments)?;
    let deadline = Instant::now() + ATTACH_TIME_MAX;
    while !account::is_traced(pid)? {
        if Instant::now() > deadline {
            return Err("strace did not attach; is it installed and allowed to?".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(SETTLE);
    let begin = seconds_since_epoch()?;
    work()?;
    let end = seconds_since_epoch()?;
    strace.stop(Signal::INT)?;
    Ok(tally(&fs::read_to_string(log)?, begin, end))
}

/// Lines look like `1234  1700000000.123456 recvfrom(5, …`; a call is resumed by a line with `<...` in place of a name.
fn tally(log: &str, begin: f64, end: f64) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for line in log.lines() {
        let mut words = line.split_whitespace();
        let time = words.nth(1).and_then(|time| time.parse::<f64>().ok());
        let name = words.next().and_then(|call| call.split_once('(')).map(|(name, _)| name);
        if let (Some(_), Some(name)) = (time.filter(|time| (begin..end).contains(time)), name) {
            *calls.entry(name.to_owned()).or_insert(0) += 1;
        }
    }
    calls
}

fn seconds_since_epoch() -> Outcome<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}
