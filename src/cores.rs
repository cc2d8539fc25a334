//! The processor cores of this machine, and which of them a thread runs on.
//!
//! Owns the calls. Knows nothing of what threads do.

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod elsewhere;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
use elsewhere as system;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
use linux as system;

use std::num::NonZero;
pub(crate) use system::{pin, roam};

/// How many threads can run at once; 1 if the system does not tell. Whether the calling thread is pinned does not matter.
pub(crate) fn count() -> usize {
    let count = || std::thread::available_parallelism().map_or(1, NonZero::get);
    if !system::may_roam() {
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
