//! The load generator's answer to a run.

use std::fmt;
use std::time::Duration;

/// Times in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) elapsed_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
}

impl Answer {
    /// Of a run that took so long, with its latencies sorted.
    pub(crate) fn of(elapsed: Duration, latencies_ns: &[u32]) -> Self {
        let permille = |of| u64::from(permille(latencies_ns, of));
        Answer {
            elapsed_ns: u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            p50_ns: permille(500),
            p99_ns: permille(990),
            p999_ns: permille(999),
        }
    }
}

/// As it goes over the pipe: `ELAPSED P50 P99 P999`.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.elapsed_ns, self.p50_ns, self.p99_ns, self.p999_ns)
    }
}

pub(crate) fn permille(sorted: &[u32], permille: usize) -> u32 {
    let last = sorted.len() - 1;
    sorted[last * permille / 1000]
}
