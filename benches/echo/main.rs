//! The echo benchmark: what a message costs in a server built on this crate, beside what it costs in the best
//! hand-written loop over mio.
//!
//! `cargo bench --bench echo -- --help` lists scenarios and options; `benches/README.md` says what is measured and how.
//!
//! The one binary plays five roles, each a process of its own:
//!
//! - the harness (no role argument), which starts the others, sleeps while they work, and reads the kernel's accounts;
//! - `--launch CORE PROGRAM …`, which pins itself to a core, asks to die with the harness, and becomes PROGRAM;
//! - `--load ADDRESS [CERTIFICATE]`, the load generator, which takes orders on its standard input;
//! - `--bare [--rustls buffered] --listen ADDRESS`, the yardstick server `bare`, which has the interface of the `echo`
//!   example;
//! - `--proxy --how HOW --target ADDRESS --listen ADDRESS`, a proxy in front of such a server.

mod active;
mod churn;
mod cpu;
mod handshakes;
mod idle;
mod instructions;
mod memory;
mod options;
mod orders;
mod plan;
mod relay;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../rig/mod.rs"]
mod rig;
mod size;
mod storm;
mod syscalls;
mod tls_memory;
mod tls_syscalls;

use std::process::ExitCode;

use options::Options;
use rig::bench::Bench;

const BENCH: Bench<Options> = Bench {
    roles: &[("--load", rig::load::run), ("--bare", rig::bare::run), ("--proxy", relay::proxy)],
    usage: options::USAGE,
    options: options::OPTIONS,
    scenarios: plan::SCENARIOS,
    bounds: plan::BOUNDS,
    prepare: Options::new,
};

fn main() -> ExitCode {
    BENCH.main()
}
