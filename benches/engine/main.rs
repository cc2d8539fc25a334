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
//! - `--bare --listen ADDRESS`, the yardstick server `bare` of the echo benchmark;
//! - `--host --listen ADDRESS …`, a server of this crate that tells what it counts;
//! - `--refuser [--thread own] --listen ADDRESS`, a hand-written loop that accepts and closes at once;
//! - `--knock ADDRESS`, a load that is refused;
//! - `--outlet KIND --listen ADDRESS`, threads that send through one other, and `--inlets ADDRESS`, what receives that;
//! - `--isolated SIZE`, a harness in a network of its own.

mod callbacks;
mod census;
mod counters;
mod crowd;
mod endings;
mod host;
mod hosted;
mod inlets;
mod knock;
mod names;
mod options;
mod outlet;
mod placement;
mod plan;
mod reactors;
mod refusals;
mod refuser;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../rig/mod.rs"]
mod rig;
mod sends;
mod tally;

use std::process::ExitCode;

use options::Options;
use rig::bench::Bench;

const BENCH: Bench<Options> = Bench {
    roles: &[
        ("--load", rig::load::run),
        ("--bare", rig::bare::run),
        ("--host", host::run),
        ("--refuser", refuser::run),
        ("--knock", knock::run),
        ("--outlet", outlet::run),
        ("--inlets", inlets::run),
        ("--isolated", counters::isolated),
    ],
    usage: options::USAGE,
    options: options::OPTIONS,
    scenarios: plan::SCENARIOS,
    bounds: plan::BOUNDS,
    prepare: Options::new,
};

fn main() -> ExitCode {
    BENCH.main()
}
