//! The processor cores of this machine, and which of them a thread runs on.
//!
//! Owns the calls. Knows nothing of what threads do.

use std::io;
use std::num::NonZero;

/// How many threads can run at once; 1 if the system does not tell. Whether the calling thread is pinned does not matter.
pub(crate) fn count() -> usize {
    let count = || std::thread::available_parallelism().map_or(1, NonZero::get);
    if widened().is_none() {
        return count();
    }
    let roaming = move || {
        roam();
        count()
    };
    let asked = std::thread::Builder::new().name(name("windlass-cores", "")).spawn(roaming);
    asked.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(count)
}

/// The name of a thread, of which Linux keeps 15 bytes: `prefix` is cut, `suffix` is not.
pub(crate) fn name(prefix: &str, suffix: &str) -> String {
    let mut end = prefix.len().min(NAME_BYTES.saturating_sub(suffix.len()));
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &prefix[..end])
}

/// TASK_COMM_LEN without the NUL; prctl(2), "PR_SET_NAME".
const NAME_BYTES: usize = 15;

/// Has the calling thread run wherever the process may: a new thread inherits the cores of the one that started it, which may
/// be pinned. Where the first thread of the process may run counts, besides where this one may.
pub(crate) fn roam() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(all) = widened() {
        // Refused, it stays where it is.
        let _ = rustix::thread::sched_setaffinity(None, &all);
    }
}

/// Where the calling thread could run besides, with where it may.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn widened() -> Option<rustix::thread::CpuSet> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let first = sched_getaffinity(Some(rustix::process::getpid())).ok()?;
    let own = sched_getaffinity(None).ok()?;
    let mut all = own;
    (0..CpuSet::MAX_CPU).filter(|core| first.is_set(*core)).for_each(|core| all.set(core));
    (all != own).then_some(all)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn widened() -> Option<std::convert::Infallible> {
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_number() {
        for (prefix, suffix, expected) in [
            ("loop", "-0", "loop-0"),
            ("a-very-long-service-name", "-12", "a-very-long--12"),
            ("exactly-15-byte", "", "exactly-15-byte"),
            ("äöüäöüäöü", "-7", "äöüäöü-7"),
            ("", "-1", "-1"),
        ] {
            assert_eq!(name(prefix, suffix), expected);
        }
    }
}
