//! How long established connections wait while others handshake as fast as they can.
//!
//! A few connections send a small message each on a schedule; a latency counts from when its message was due. Beside
//! them a process that runs only when its core has nothing else to do keeps the server busy with handshakes. Were both
//! equals, the messages would wait for the storm's own work on the load's core, which is no fault of the server.

use std::thread;
use std::time::Duration;

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::account;
use crate::rig::answer::Answer;
use crate::rig::asked::Rounds;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices;

const WATCHERS: usize = 8;
const MESSAGE_BYTES: usize = 64;
const INTERVAL: Duration = Duration::from_millis(3);
/// Of each watcher, in one slice.
const MESSAGES: usize = 1_000;
const STORM: usize = 64;
/// A slice takes seconds, not the milliseconds that slices have elsewhere.
const SLICES: usize = 3;
/// Until the storm is in full swing.
const SETTLE: Duration = Duration::from_millis(200);
/// A slice in which something else had one of the cores for longer says nothing about a server.
const LATE_NS_MAX: u64 = 500_000;
const WAITED_PERCENT_MAX: f64 = 5.0;

struct Slice {
    answer: Answer,
    late_ns: u64,
    handshakes_per_second: f64,
    /// How much of the time the server ran.
    busy_percent: f64,
    /// And was ready to run, while something else had its core.
    waited_percent: f64,
}

impl Slice {
    fn is_disturbed(&self) -> bool {
        self.late_ns > LATE_NS_MAX || self.waited_percent > WAITED_PERCENT_MAX
    }
}

/// `name` is that of the scenario, `transport` what the storm's handshakes are made with.
pub(crate) fn run(name: &str, transport: Transport, options: &Options, report: &mut Report) -> Outcome<()> {
    let messages = options.asked.pick(MESSAGES, MESSAGES / 10);
    let slices = options.asked.pick(SLICES, 1);
    let text = format!(
        "{WATCHERS} connections, {MESSAGE_BYTES} B every {INTERVAL:?}, beside {STORM} that handshake; {} × {slices} × {} \
         messages a server",
        options.rounds.count,
        WATCHERS * messages
    );
    report::title(name, &text);
    let peers = options.peers(transport.security());
    let start = |peer: &&Peer| Contender::start(peer, transport);
    let measured = slices::alternate(Rounds { slices, ..options.rounds }, &peers, start, |contender| {
        contender.measure(messages).map_err(|error| format!("{}: {error}", contender.server.name()).into())
    })?;
    for (peer, measured) in peers.iter().zip(&measured) {
        print_row(&peer.name, measured);
    }
    for (index, peer) in peers.iter().enumerate().skip(1) {
        let pair = format!("{name}: p99 of {} / {}", peer.name, peers[0].name);
        let figure = if index == 1 { name } else { &pair };
        let ratios = undisturbed_ratios(&measured[index], &measured[0]);
        if ratios.is_empty() {
            println!("  {figure}: the machine was too busy in all of {} slices", measured[index].len());
        } else {
            report.verdict(figure, report::median(&ratios));
        }
    }
    Ok(())
}

/// One ratio of p99s for each slice that nothing disturbed, nor the one beside it.
fn undisturbed_ratios(own: &[Slice], bare: &[Slice]) -> Vec<f64> {
    let pairs = own.iter().zip(bare).filter(|(own, bare)| !own.is_disturbed() && !bare.is_disturbed());
    pairs.map(|(own, bare)| own.answer.p99_ns as f64 / bare.answer.p99_ns as f64).collect()
}

struct Contender {
    server: Server,
    watchers: Load,
    storm: Load,
}

impl Contender {
    fn start(peer: &Peer, transport: Transport) -> Outcome<Self> {
        let server = Server::start(peer, transport, &[], &[])?;
        let (watchers, storm) = (Load::start(&server)?, Load::start_in_background(&server)?);
        Ok(Contender { server, watchers, storm })
    }

    fn measure(&mut self, messages: usize) -> Outcome<Slice> {
        self.storm.storm(STORM)?;
        thread::sleep(SETTLE);
        let before = account::scheduled(self.server.pid())?;
        let (answer, late_ns) = self.watchers.probe(WATCHERS, MESSAGE_BYTES, INTERVAL, messages)?;
        let after = account::scheduled(self.server.pid())?;
        let handshakes_per_second = self.storm.calm()?;
        let percent = |before: u64, after: u64| (after - before) as f64 / answer.elapsed_ns as f64 * 100.0;
        let busy_percent = percent(before.ran_ns, after.ran_ns);
        let waited_percent = percent(before.waited_ns, after.waited_ns);
        Ok(Slice { answer, late_ns, handshakes_per_second, busy_percent, waited_percent })
    }
}

/// Medians over the slices of one server.
fn print_row(name: &str, slices: &[Slice]) {
    let median = |value: fn(&Slice) -> f64| report::median(&slices.iter().map(value).collect::<Vec<_>>());
    println!(
        "  {name:<18} p50 {:.0} µs, p99 {:.0} µs, p999 {:.0} µs; {:.0} handshakes/s, server busy {:.0} %, waited {:.0} %, \
         load late by {:.0} µs; {} of {} slices disturbed",
        median(|slice| slice.answer.p50_ns as f64 / 1e3),
        median(|slice| slice.answer.p99_ns as f64 / 1e3),
        median(|slice| slice.answer.p999_ns as f64 / 1e3),
        median(|slice| slice.handshakes_per_second),
        median(|slice| slice.busy_percent),
        median(|slice| slice.waited_percent),
        median(|slice| slice.late_ns as f64 / 1e3),
        slices.iter().filter(|slice| slice.is_disturbed()).count(),
        slices.len(),
    );
}
