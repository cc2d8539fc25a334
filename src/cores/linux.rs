//! The cores of a thread, sched_setaffinity(2).

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// Has the calling thread run wherever the process may: a new thread inherits the cores of the one that started it, which may
/// be pinned. Where the first thread of the process may run counts, besides where this one may.
pub(crate) fn roam() {
    if let Some(all) = widened() {
        // Refused, it stays where it is.
        let _ = sched_setaffinity(None, &all);
    }
}

/// Whether the calling thread may run on fewer cores than it could.
pub(super) fn may_roam() -> bool {
    widened().is_some()
}

/// Where the calling thread could run besides, with where it may.
fn widened() -> Option<CpuSet> {
    let first = sched_getaffinity(Some(rustix::process::getpid())).ok()?;
    let own = sched_getaffinity(None).ok()?;
    let mut all = own;
    (0..CpuSet::MAX_CPU).filter(|core| first.is_set(*core)).for_each(|core| all.set(core));
    (all != own).then_some(all)
}

/// Has the calling thread run on the `index`-th of the cores that it may use, counted round and round.
pub(crate) fn pin(index: usize) -> io::Result<()> {
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let mut chosen = CpuSet::new();
    chosen.set(cores[index % cores.len()]);
    Ok(sched_setaffinity(None, &chosen)?)
}
