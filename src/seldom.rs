//! Lines of the log that somebody else can cause, at most one a second of a kind.
//!
//! Owns the count of those that were left out. A peer that fails a thousand times a second must not fill a disk.

use crate::clock::Tick;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a kind of line is quiet after one.
const QUIET: Duration = Duration::from_secs(1);

/// A kind of line, over the whole process.
pub(crate) struct Seldom {
    /// The tick up to which it is quiet.
    until: AtomicU64,
    missed: AtomicU64,
}

/// How many lines were left out before this one, as its end.
pub(crate) struct Missed(u64);

impl Seldom {
    pub(crate) const fn new() -> Seldom {
        Seldom { until: AtomicU64::new(0), missed: AtomicU64::new(0) }
    }

    /// Whether a line may be written now.
    pub(crate) fn passes(&self) -> Option<Missed> {
        self.passes_at(Tick::of(Instant::now()))
    }

    fn passes_at(&self, now: Tick) -> Option<Missed> {
        let until = self.until.load(Ordering::Relaxed);
        let next = now.after(QUIET).nanos();
        let is_first = now.nanos() >= until
            && self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_first {
            return Some(Missed(self.missed.swap(0, Ordering::Relaxed)));
        }
        self.missed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            missed => write!(f, " ({missed} more like this were not logged)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_line_and_the_next_one_tells_of_the_others() {
        let (seldom, start) = (Seldom::new(), Tick::test(5_000_000_000));
        let at = |ms| start.after(Duration::from_millis(ms));
        assert_eq!(seldom.passes_at(at(0)).expect("the first").to_string(), "");
        assert!((1..100).all(|ms| seldom.passes_at(at(ms)).is_none()));
        let line = seldom.passes_at(at(1000)).expect("a second later").to_string();
        assert_eq!(line, " (99 more like this were not logged)");
        assert_eq!(seldom.passes_at(at(9000)).expect("later").to_string(), "");
    }
}
