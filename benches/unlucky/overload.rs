//! Very many peers that send without ever reading: a server with a bound for all its queues stays within it, and serves those
//! who read.

use std::thread;
use std::time::{Duration, Instant};

use windlass::Reason;

use crate::host;
use crate::options::Options;
use crate::peer::Peer;
use crate::rig::Outcome;
use crate::rig::holdings;
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::report::{self, Report};
use crate::rig::until::{PATIENCE, until};

const CLIENTS: usize = 2_000;
const CLIENTS_QUICK: usize = 400;
/// Of all queues together.
const BOUND_MIB: u64 = 48;
const BOUND_MIB_QUICK: u64 = 8;
const TIME: Duration = Duration::from_secs(30);
const TIME_QUICK: Duration = Duration::from_secs(4);
const PIECE_BYTES: usize = 64 * 1024;
/// New clients between two looks at the server.
const COMING: usize = 20;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.pick(CLIENTS, CLIENTS_QUICK);
    let bound = options.asked.pick(BOUND_MIB, BOUND_MIB_QUICK);
    let time = options.asked.pick(TIME, TIME_QUICK);
    report::title("overload", &format!("{count} clients that never read, {bound} MiB for all queues, {time:?}"));
    let bytes = (bound << 20).to_string();
    let mut server = Hosted::start(Core::Server, &[&options.own, "--host", "--queued-max", &bytes], &[ANYWHERE])?;
    let mut bystander = Peer::dial(server.address(), 0)?;
    let mut longest = echo(&mut bystander)?;
    let before = holdings::resident(server.pid())?.walked;
    let piece = vec![b'e'; PIECE_BYTES];
    let (mut clients, mut resident) = (Vec::new(), before);
    let begun = Instant::now();
    while begun.elapsed() < time || clients.len() < count {
        for _ in 0..COMING.min(count - clients.len()) {
            clients.push(Peer::dial(server.address(), 1 + clients.len())?);
        }
        for client in &mut clients {
            // One that was cut takes nothing any more.
            while client.write_some(&piece).is_ok_and(|count| count > 0) {}
        }
        resident = resident.max(holdings::resident(server.pid())?.walked);
        longest = longest.max(echo(&mut bystander)?);
        thread::sleep(Duration::from_millis(1));
    }
    let stats = host::ask(&mut server)?;
    let cut = stats.closed_for(Reason::QueueLimit);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    report.at_most("MiB in all queues", mib(stats.most_queued), bound as f64 * 1.25);
    report.at_most("MiB of resident memory more than before", mib(resident - before), bound as f64 * 2.0);
    // Who takes nothing is cut after a while, which a smoke run does not have.
    let cut_min = options.asked.pick(1, 0);
    report.condition(&format!("{cut} of {count} clients were cut"), cut >= cut_min);
    report::note(&format!("one that reads waited for at most {:.1} ms", longest.as_secs_f64() * 1e3));
    Ok(())
}

/// Has a byte echoed.
fn echo(peer: &mut Peer) -> Outcome<Duration> {
    peer.write(b"e")?;
    until("an echo for one that reads", PATIENCE, || peer.is_answered())
}
