//! The processor cores of this machine, and which of them a thread runs on.
//!
//! Owns the calls. Knows nothing of what threads do.

use std::io;
use std::num::NonZero;

/// How many threads can run at once; 1 if the system does not tell.
pub(crate) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Has the calling thread run on the `index`-th of the cores that it may use, counted round and round;
/// sched_setaffinity(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn pin(index: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let allowed = sched_getaffinity(None)?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let mut chosen = CpuSet::new();
    chosen.set(cores[index % cores.len()]);
    Ok(sched_setaffinity(None, &chosen)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn pin(_: usize) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system pins no threads"))
}
