//! The benchmark of many reactors and of the server's face: what it costs to spread work over threads, to refuse, to be
//! told, and whether what is counted is true.
//!
//! `cargo bench --bench engine -- --help` lists scenarios and options; `benches/README.md` says what is measured and
//! how.
//!
//! The one binary plays several roles, each a process of its own:
//!
//! - the harness (no role argument), which starts the others, sleeps while they work, and reads the kernel's accounts;
//! - `--launch CORE PROGRAM …`, which keeps to a core, asks to die with the harness, and becomes PROGRAM;
//! - `--load ADDRESS [CERTIFICATE]`, the load generator of the echo benchmark;
//! - `--listen ADDRESS`, the yardstick server `bare` of the echo benchmark;
//! - `--host --listen ADDRESS …`, a server of this crate that tells what it counts;
//! - `--refuser [--thread own] --listen ADDRESS`, a hand-written loop that accepts and closes at once;
//! - `--knock ADDRESS`, a load that is refused;
//! - `--outlet KIND --listen ADDRESS`, threads that send through one other, and `--inlets ADDRESS`, what receives that;
//! - `--isolated SIZE`, a harness in a network of its own.

#[path = "echo/account.rs"]
mod account;
#[path = "echo/answer.rs"]
mod answer;
#[path = "echo/asked.rs"]
mod asked;
#[path = "echo/bare.rs"]
mod bare;
#[path = "echo/bare_buffered.rs"]
mod bare_buffered;
#[path = "echo/bare_plain.rs"]
mod bare_plain;
#[path = "echo/bare_tls.rs"]
mod bare_tls;
#[path = "engine/callbacks.rs"]
mod callbacks;
#[path = "echo/callgrind.rs"]
mod callgrind;
#[path = "engine/census.rs"]
mod census;
#[path = "echo/certificate.rs"]
mod certificate;
#[path = "echo/channel.rs"]
mod channel;
#[path = "echo/child.rs"]
mod child;
#[path = "echo/client.rs"]
mod client;
#[path = "engine/counters.rs"]
mod counters;
#[path = "engine/crowd.rs"]
mod crowd;
#[path = "echo/dial.rs"]
mod dial;
#[path = "unlucky/dice.rs"]
mod dice;
#[path = "engine/endings.rs"]
mod endings;
#[path = "echo/handshaker.rs"]
mod handshaker;
#[path = "echo/holdings.rs"]
mod holdings;
#[path = "engine/host.rs"]
mod host;
#[path = "engine/hosted.rs"]
mod hosted;
#[path = "engine/inlets.rs"]
mod inlets;
#[path = "engine/knock.rs"]
mod knock;
#[path = "echo/launch.rs"]
mod launch;
#[path = "echo/load.rs"]
mod load;
#[path = "engine/options.rs"]
mod options;
#[path = "echo/outcome.rs"]
mod outcome;
#[path = "engine/outlet.rs"]
mod outlet;
#[path = "echo/peer.rs"]
mod peer;
#[path = "engine/placement.rs"]
mod placement;
#[path = "engine/plan.rs"]
mod plan;
#[path = "echo/probe.rs"]
mod probe;
#[path = "echo/process.rs"]
mod process;
#[path = "engine/reactors.rs"]
mod reactors;
#[path = "engine/refusals.rs"]
mod refusals;
#[path = "engine/refuser.rs"]
mod refuser;
#[path = "echo/report.rs"]
mod report;
#[path = "echo/scratch.rs"]
mod scratch;
#[path = "echo/self_signed.rs"]
mod self_signed;
#[path = "engine/sends.rs"]
mod sends;
#[path = "echo/session.rs"]
mod session;
#[path = "engine/site.rs"]
mod site;
#[path = "echo/slices.rs"]
mod slices;
#[path = "echo/socket.rs"]
mod socket;
#[path = "echo/strace.rs"]
mod strace;
#[path = "engine/tally.rs"]
mod tally;

use std::process::ExitCode;

use options::Options;
pub(crate) use outcome::Outcome;
use plan::Scenario;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--launch") => launch::run(&arguments[1..]),
        Some("--load") => load::run(&arguments[1..]),
        Some("--listen") => bare::run(&arguments),
        Some("--host") => host::run(&arguments[1..]),
        Some("--refuser") => refuser::run(&arguments[1..]),
        Some("--knock") => knock::run(&arguments[1..]),
        Some("--outlet") => outlet::run(&arguments[1..]),
        Some("--inlets") => inlets::run(&arguments[1..]),
        Some("--isolated") => counters::isolated(&arguments[1..]),
        _ => harness(&arguments),
    };
    outcome::exit_code(outcome)
}

/// Runs the scenarios asked for.
fn harness(arguments: &[String]) -> Outcome<()> {
    let Some(options) = options::parse(arguments)? else { return Ok(()) };
    holdings::raise_descriptor_limit()?;
    child::remove_stale_directories();
    asked::run_each(&options.scenarios, Scenario::name, |scenario| run_scenario(scenario, &options))
}

fn run_scenario(scenario: Scenario, options: &Options) -> Outcome<()> {
    match scenario {
        Scenario::Reactors(shape) => reactors::run(shape, options),
        Scenario::Placement => placement::run(options),
        Scenario::Refusals => refusals::run(options),
        Scenario::RemoteSends => sends::run(options),
        Scenario::Callbacks => callbacks::run(options),
        Scenario::FiftyThousand => crowd::run(options),
        Scenario::Counters => counters::run(options),
    }
}
