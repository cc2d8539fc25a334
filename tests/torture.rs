//! Real processes under a preloaded library that makes system calls misbehave: by seed.
//!
//! The library is `torture/shim.c`; what it runs is built with `--cfg rustix_use_libc`, since rustix otherwise makes its
//! system calls past libc, where nobody can be preloaded. Without a C compiler all of this is skipped.
//!
//! `TORTURE_SEEDS=N` runs N seeds and every fault; without it there are a few seeds and a sample of the faults.
//! `TORTURE_SCENARIO=NAME` runs every fault of one scenario.
#![cfg(target_os = "linux")]

mod support;

#[path = "torture/faults.rs"]
mod faults;
#[path = "torture/play.rs"]
mod play;
#[path = "torture/rig.rs"]
mod rig;
#[path = "torture/seeds.rs"]
mod seeds;
