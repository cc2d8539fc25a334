//! Waiting for what should be so soon.

use std::thread;
use std::time::{Duration, Instant};

use crate::rig::Outcome;

/// How long a condition may take that should come at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Looks at a condition every millisecond until it holds; returns how long that took.
pub(crate) fn until(what: &str, time_max: Duration, mut holds: impl FnMut() -> Outcome<bool>) -> Outcome<Duration> {
    let begun = Instant::now();
    while !holds()? {
        if begun.elapsed() > time_max {
            return Err(format!("waited {time_max:?} in vain for {what}").into());
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(begun.elapsed())
}
