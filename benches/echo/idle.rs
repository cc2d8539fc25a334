//! What the server under test does when nothing happens: nothing, or very little where it has deadlines.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::options::Options;
use crate::plan;
use crate::rig::Outcome;
use crate::rig::account;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::strace;

const CONNECTIONS: usize = 10_000;
/// Between the last connection and the first measurement.
const SETTLE: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let window = Duration::from_secs(options.asked.pick(10, 1));
    let many = options.connections(CONNECTIONS);
    report::title("idle", &format!("{} with nothing to do, for {window:?}", options.windlass.name));
    for (text, connections) in [("no connections", 0), ("connections without deadlines", many)] {
        let seen = watch(options, plan::MANY, connections, window)?;
        println!("  {connections} connections, {text}: {} context switches", seen.switches);
        report.verdict("idle: system calls", seen.calls as f64);
    }
    let seen = watch(options, plan::MANY_IDLE_60, many, window)?;
    println!("  {many} connections with --idle 60: {} context switches, {} system calls", seen.switches, seen.calls);
    report.verdict("idle: wake-ups/s", seen.waits as f64 / window.as_secs_f64());
    Ok(())
}

/// What happened in two windows: one undisturbed, one under strace.
struct Seen {
    switches: u64,
    calls: usize,
    /// Those of the calls that wait for events: one a wake-up.
    waits: usize,
}

fn watch(options: &Options, server_options: &[&str], connections: usize, window: Duration) -> Outcome<Seen> {
    let server = Server::start(&options.windlass, Transport::Tcp, server_options, &[])?;
    let mut load = Load::start(&server)?;
    load.connect(connections)?;
    thread::sleep(SETTLE);
    let before = switches(server.pid())?;
    thread::sleep(window);
    let switches = switches(server.pid())? - before;
    let calls = strace::count(server.pid(), || {
        thread::sleep(window);
        Ok(())
    })?;
    let waits = calls.iter().filter(|(name, _)| name.starts_with("epoll_")).map(|(_, count)| count).sum();
    Ok(Seen { switches, calls: calls.values().sum(), waits })
}

/// Voluntary and involuntary context switches of all live threads.
fn switches(pid: u32) -> Outcome<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("status"))?;
        total += account::number_after(&text, "voluntary_ctxt_switches:")?;
        total += account::number_after(&text, "nonvoluntary_ctxt_switches:")?;
    }
    Ok(total)
}
