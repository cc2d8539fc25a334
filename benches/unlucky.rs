//! What becomes of servers of this crate in bad company and on bad days: descriptors run out, accept(2) fails, peers
//! stop reading, reset, vanish or flood, handlers panic, and a shutdown comes at any moment.
//!
//! `cargo bench --bench unlucky -- --help` lists scenarios and options. Each prints rows: a figure beside its bound
//! (`PASS` or `over`), or a condition (`PASS` or `FAILED`). The exit status is an error if a condition failed or
//! something could not be measured, not if a figure is over its bound.
//!
//! The one binary plays several roles, each a process of its own:
//!
//! - the harness (no role argument), which starts the others, plays the peers, and reads the kernel's accounts;
//! - `--launch CORE PROGRAM …`, which pins itself to a core, asks to die with the harness, and becomes PROGRAM;
//! - `--limited COUNT PROGRAM …`, which limits its open files and becomes PROGRAM;
//! - `--host --listen ADDRESS …`, a server of this crate that tells what happens to it;
//! - `--load ADDRESS`, the load generator of the echo benchmark, and `--flood ADDRESS`, one sender at full speed;
//! - `--listen ADDRESS`, the yardstick server `bare` of the echo benchmark.

#[path = "unlucky/accepting.rs"]
mod accepting;
#[path = "echo/account.rs"]
mod account;
#[path = "echo/answer.rs"]
mod answer;
#[path = "echo/bare.rs"]
mod bare;
#[path = "echo/bare_buffered.rs"]
mod bare_buffered;
#[path = "echo/bare_plain.rs"]
mod bare_plain;
#[path = "echo/bare_tls.rs"]
mod bare_tls;
#[path = "echo/certificate.rs"]
mod certificate;
#[path = "echo/channel.rs"]
mod channel;
#[path = "unlucky/child.rs"]
mod child;
#[path = "echo/client.rs"]
mod client;
#[path = "unlucky/deaths.rs"]
mod deaths;
#[path = "echo/dial.rs"]
mod dial;
#[path = "unlucky/dice.rs"]
mod dice;
#[path = "unlucky/draining.rs"]
mod draining;
#[path = "unlucky/fairness.rs"]
mod fairness;
#[path = "echo/handshaker.rs"]
mod handshaker;
#[path = "echo/holdings.rs"]
mod holdings;
#[path = "unlucky/host.rs"]
mod host;
#[path = "echo/launch.rs"]
mod launch;
#[path = "echo/load.rs"]
mod load;
#[path = "unlucky/moments.rs"]
mod moments;
#[path = "unlucky/options.rs"]
mod options;
#[path = "echo/outcome.rs"]
mod outcome;
#[path = "unlucky/panics.rs"]
mod panics;
#[path = "unlucky/pattern.rs"]
mod pattern;
#[path = "unlucky/peer.rs"]
mod peer;
#[path = "echo/probe.rs"]
mod probe;
#[path = "unlucky/report.rs"]
mod report;
#[path = "echo/scratch.rs"]
mod scratch;
#[path = "echo/session.rs"]
mod session;
#[path = "unlucky/slow.rs"]
mod slow;
#[path = "echo/socket.rs"]
mod socket;
#[path = "unlucky/starvation.rs"]
mod starvation;
#[path = "unlucky/tracer.rs"]
mod tracer;

use std::process::ExitCode;

use options::{Options, Request, Scenario};
pub(crate) use outcome::Outcome;
use report::Report;

fn main() -> ExitCode {
    panics::hide_deliberate_ones();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--launch") => launch::run(&arguments[1..]),
        Some("--limited") => child::limited(&arguments[1..]),
        Some("--host") => host::run(&arguments[1..]),
        Some("--load") => load::run(&arguments[1..]),
        Some("--flood") => fairness::flood(&arguments[1..]),
        Some("--listen") => bare::run(&arguments),
        _ => harness(&arguments),
    };
    outcome::exit_code(outcome)
}

/// Runs the scenarios asked for, one after the other; one that cannot be measured does not stop the next.
fn harness(arguments: &[String]) -> Outcome<()> {
    let options = match options::parse(arguments)? {
        Request::Run(options) => options,
        Request::Explain(text) => {
            println!("{text}");
            return Ok(());
        }
    };
    holdings::raise_descriptor_limit()?;
    let mut report = Report::default();
    for scenario in &options.scenarios {
        report.begin(scenario.name());
        if let Err(error) = run_scenario(*scenario, &options, &mut report) {
            report.not_measured(&error.to_string());
        }
        report.end();
    }
    match report.failures() {
        0 => Ok(()),
        count => Err(format!("{count} conditions failed or could not be measured").into()),
    }
}

fn run_scenario(scenario: Scenario, options: &Options, report: &mut Report) -> Outcome<()> {
    match scenario {
        Scenario::Starvation => starvation::run(options, report),
        Scenario::AcceptFaults => accepting::faults(options, report),
        Scenario::AcceptErrnos => accepting::errnos(report),
        Scenario::DrainOwed => draining::owed(options, report),
        Scenario::DrainRead => draining::read(options, report),
        Scenario::ShutdownMoments => moments::run(options, report),
        Scenario::ProxySlow => slow::run(options, report),
        Scenario::WaysToDie => deaths::run(options, report),
        Scenario::Panics => panics::run(report),
        Scenario::Fairness => fairness::run(options, report),
    }
}
