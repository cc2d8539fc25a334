//! What becomes of servers of this crate in bad company and on bad days: descriptors run out, accept(2) fails, peers
//! stop reading, reset, vanish or flood, handlers panic, and a shutdown comes at any moment.
//!
//! `cargo bench --bench unlucky -- --help` lists scenarios and options. Each prints rows: a figure beside its bound
//! (`PASS` or `over`), or a condition (`PASS` or `FAILED`).
//!
//! The one binary plays several roles, each a process of its own:
//!
//! - the harness (no role argument), which starts the others, plays the peers, and reads the kernel's accounts;
//! - `--launch CORE PROGRAM …`, which pins itself to a core, asks to die with the harness, and becomes PROGRAM;
//! - `--limited COUNT PROGRAM …`, which limits its open files and becomes PROGRAM;
//! - `--host --listen ADDRESS …`, a server of this crate that tells what happens to it;
//! - `--load ADDRESS`, the load generator of the echo benchmark, and `--flood ADDRESS`, one sender at full speed;
//! - `--bare --listen ADDRESS`, the yardstick server `bare` of the echo benchmark.

mod accepting;
mod deaths;
mod draining;
mod fairness;
mod host;
mod moments;
mod options;
mod overload;
mod peer;
mod plan;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../rig/mod.rs"]
mod rig;
mod slow;
mod stalled;
mod starvation;

use std::process::ExitCode;

use options::Options;
use rig::bench::Bench;

const BENCH: Bench<Options> = Bench {
    roles: &[
        ("--limited", starvation::limited),
        ("--host", host::run),
        ("--load", rig::load::run),
        ("--flood", fairness::flood),
        ("--bare", rig::bare::run),
    ],
    usage: options::USAGE,
    options: options::OPTIONS,
    scenarios: plan::SCENARIOS,
    bounds: &[],
    prepare: Options::new,
};

fn main() -> ExitCode {
    BENCH.main()
}
