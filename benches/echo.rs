//! The echo benchmark: what a message costs in a server built on this crate, beside what it costs in the best
//! hand-written loop over mio.
//!
//! `cargo bench --bench echo -- --help` lists scenarios and options; `benches/README.md` says what is measured and how.
//!
//! The one binary plays four roles, each a process of its own:
//!
//! - the harness (no role argument), which starts the others, sleeps while they work, and reads the kernel's accounts;
//! - `--launch CORE PROGRAM …`, which pins itself to a core, asks to die with the harness, and becomes PROGRAM;
//! - `--load ADDRESS [CERTIFICATE]`, the load generator, which takes orders on its standard input;
//! - `--listen ADDRESS` or `--rustls buffered --listen ADDRESS`, the yardstick server `bare`, which has the interface of
//!   the `echo` example.

#[path = "echo/account.rs"]
mod account;
#[path = "echo/active.rs"]
mod active;
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
#[path = "echo/callgrind.rs"]
mod callgrind;
#[path = "echo/certificate.rs"]
mod certificate;
#[path = "echo/channel.rs"]
mod channel;
#[path = "echo/child.rs"]
mod child;
#[path = "echo/churn.rs"]
mod churn;
#[path = "echo/client.rs"]
mod client;
#[path = "echo/cpu.rs"]
mod cpu;
#[path = "echo/dial.rs"]
mod dial;
#[path = "echo/handshaker.rs"]
mod handshaker;
#[path = "echo/handshakes.rs"]
mod handshakes;
#[path = "echo/holdings.rs"]
mod holdings;
#[path = "echo/idle.rs"]
mod idle;
#[path = "echo/instructions.rs"]
mod instructions;
#[path = "echo/launch.rs"]
mod launch;
#[path = "echo/load.rs"]
mod load;
#[path = "echo/memory.rs"]
mod memory;
#[path = "echo/options.rs"]
mod options;
#[path = "echo/orders.rs"]
mod orders;
#[path = "echo/outcome.rs"]
mod outcome;
#[path = "echo/peer.rs"]
mod peer;
#[path = "echo/plan.rs"]
mod plan;
#[path = "echo/probe.rs"]
mod probe;
#[path = "echo/process.rs"]
mod process;
#[path = "echo/report.rs"]
mod report;
#[path = "echo/scratch.rs"]
mod scratch;
#[path = "echo/self_signed.rs"]
mod self_signed;
#[path = "echo/session.rs"]
mod session;
#[path = "echo/size.rs"]
mod size;
#[path = "echo/slices.rs"]
mod slices;
#[path = "echo/socket.rs"]
mod socket;
#[path = "echo/storm.rs"]
mod storm;
#[path = "echo/strace.rs"]
mod strace;
#[path = "echo/syscalls.rs"]
mod syscalls;
#[path = "echo/tls_memory.rs"]
mod tls_memory;
#[path = "echo/tls_syscalls.rs"]
mod tls_syscalls;
#[path = "echo/transport.rs"]
mod transport;

use std::process::ExitCode;

use options::Options;
pub(crate) use outcome::Outcome;
use plan::Scenario;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--launch") => launch::run(&arguments[1..]),
        Some("--load") => load::run(&arguments[1..]),
        Some("--listen" | "--rustls") => bare::run(&arguments),
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
        Scenario::Cpu(shape) => cpu::run(shape, options),
        Scenario::Active => active::run(options),
        Scenario::Churn => churn::run(options),
        Scenario::Memory => memory::run(options),
        Scenario::Idle => idle::run(options),
        Scenario::Syscalls => syscalls::run(options),
        Scenario::Instructions => instructions::run(options),
        Scenario::Size => size::run(options),
        Scenario::TlsHandshakes => handshakes::run(options),
        Scenario::TlsMemory => tls_memory::run(options),
        Scenario::TlsSyscalls => tls_syscalls::run(options),
        Scenario::TlsStorm => storm::run(options, "tls-storm", transport::Transport::Tls),
        Scenario::TlsStormRsa => storm::run(options, "tls-storm-rsa", transport::Transport::TlsRsa),
    }
}
