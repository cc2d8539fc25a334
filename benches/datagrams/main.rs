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

mod bare;
mod client;
mod flood;
mod gro;
mod load;
mod options;
mod orders;
mod plan;
mod receiver;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../rig/mod.rs"]
mod rig;
mod sender;
mod socket;
mod steady;
mod syscalls;
mod tally;

use std::process::ExitCode;

use options::Options;
use rig::bench::Bench;

const BENCH: Bench<Options> = Bench {
    roles: &[
        ("--load", load::run),
        ("--bare", bare::echo),
        ("--bare-receiver", bare::receive),
        ("--receiver", receiver::run),
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
