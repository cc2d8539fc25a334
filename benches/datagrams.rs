//! The datagram benchmark: what a datagram costs in a server or receiver built on this crate, beside what it costs in
//! the best hand-written loop over mio; and whether a flooded receiver knows what it missed.
//!
//! `cargo bench --bench datagrams -- --help` lists scenarios and options; `benches/README.md` says what is measured and
//! how.
//!
//! The one binary plays several roles, each a process of its own:
//!
//! - the harness (no role argument), which starts the others, sleeps while they work, and reads the kernel's accounts;
//! - `--launch CORE PROGRAM …`, which pins itself to a core, asks to die with the harness, and becomes PROGRAM;
//! - `--load ADDRESS`, the load generator, which takes orders on its standard input;
//! - `--bare --listen ADDRESS`, the yardstick server, which has the interface of the `echo` example;
//! - `--bare-receiver --listen ADDRESS`, the yardstick of what only receives;
//! - `--receiver [--gro on] --listen ADDRESS`, a receiver of this crate.

#[path = "echo/account.rs"]
mod account;
#[path = "echo/answer.rs"]
mod answer;
#[path = "echo/asked.rs"]
mod asked;
#[path = "datagrams/bare.rs"]
mod bare;
#[path = "echo/child.rs"]
mod child;
#[path = "datagrams/client.rs"]
mod client;
#[path = "datagrams/flood.rs"]
mod flood;
#[path = "datagrams/gro.rs"]
mod gro;
#[path = "echo/launch.rs"]
mod launch;
#[path = "datagrams/load.rs"]
mod load;
#[path = "datagrams/options.rs"]
mod options;
#[path = "echo/outcome.rs"]
mod outcome;
#[path = "unlucky/pattern.rs"]
mod pattern;
#[path = "echo/peer.rs"]
mod peer;
#[path = "datagrams/plan.rs"]
mod plan;
#[path = "datagrams/process.rs"]
mod process;
#[path = "datagrams/receiver.rs"]
mod receiver;
#[path = "echo/report.rs"]
mod report;
#[path = "datagrams/sender.rs"]
mod sender;
#[path = "echo/slices.rs"]
mod slices;
#[path = "datagrams/socket.rs"]
mod socket;
#[path = "datagrams/steady.rs"]
mod steady;
#[path = "echo/strace.rs"]
mod strace;
#[path = "datagrams/syscalls.rs"]
mod syscalls;
#[path = "datagrams/tally.rs"]
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
        Some("--bare") => bare::echo(&arguments[1..]),
        Some("--bare-receiver") => bare::receive(&arguments[1..]),
        Some("--receiver") => receiver::run(&arguments[1..]),
        _ => harness(&arguments),
    };
    outcome::exit_code(outcome)
}

/// Runs the scenarios asked for.
fn harness(arguments: &[String]) -> Outcome<()> {
    let Some(options) = options::parse(arguments)? else { return Ok(()) };
    child::remove_stale_directories();
    asked::run_each(&options.scenarios, Scenario::name, |scenario| run_scenario(scenario, &options))
}

fn run_scenario(scenario: Scenario, options: &Options) -> Outcome<()> {
    match scenario {
        Scenario::Steady(shape) => steady::run(shape, options),
        Scenario::Gro => gro::run(options),
        Scenario::Flood => flood::run(options),
        Scenario::Syscalls => syscalls::run(options),
    }
}
