//! What a process holds: resident memory, descriptors, and how many of those it may have.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::rig::Outcome;
use crate::rig::account::number_after;

/// Resident memory in bytes, counted twice.
#[derive(Clone, Copy)]
pub(crate) struct Resident {
    /// `VmRSS`: cheap counters, which may lag by some pages a core.
    pub(crate) status: u64,
    /// `Rss` of smaps_rollup: the page tables walked, which is exact.
    pub(crate) walked: u64,
}

pub(crate) fn resident(pid: u32) -> Outcome<Resident> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Resident { status: number_after(&status, "VmRSS:")? * 1024, walked: number_after(&rollup, "Rss:")? * 1024 })
}

pub(crate) fn open_descriptors(pid: u32) -> Outcome<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Raises the soft limit on open files to the hard one; children inherit it.
pub(crate) fn raise_descriptor_limit() -> Outcome<()> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })?;
    Ok(())
}
