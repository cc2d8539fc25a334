//! How long whoever was driven has held the loop.
//!
//! Owns the measuring, by a clock that costs next to nothing, and what is worth a warning.

use crate::clock::Tick;
use crate::net::coarse;
use std::time::Duration;

/// Warnings are so far apart at least.
const QUIET_AFTER_WARNING: Duration = Duration::from_secs(1);

pub(super) struct Stopwatch {
    /// When the last of those who may hold the loop had done so.
    began: u64,
    /// When the turn began.
    turn: u64,
    slow: Option<Duration>,
    /// Nothing is warned of before.
    quiet_until: Tick,
}

/// Whether somebody has held the loop for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Shortly,
    TooLong,
}

impl Stopwatch {
    pub(super) fn new(slow: Option<Duration>) -> Stopwatch {
        let began = coarse::nanos();
        Stopwatch { began, turn: began, slow, quiet_until: Tick::of_nanos(0) }
    }

    /// Nobody holds the loop now.
    pub(super) fn begin(&mut self) {
        self.began = coarse::nanos();
        self.turn = self.began;
    }

    /// Whether the turn has taken any time: steps of this clock are 1 to 10 ms.
    pub(super) fn has_moved(&self) -> bool {
        coarse::nanos() != self.turn
    }

    /// For how long it was held since, if the clock has moved.
    #[inline]
    pub(super) fn end(&mut self) -> Option<Duration> {
        let now = coarse::nanos();
        if now == self.began {
            return None;
        }
        let held = Duration::from_nanos(now.saturating_sub(self.began));
        self.began = now;
        Some(held)
    }

    pub(super) fn judge(&self, held: Duration) -> Held {
        if self.slow.is_some_and(|slow| held >= slow) { Held::TooLong } else { Held::Shortly }
    }

    /// Warns that `who` has held the loop, unless that was warned of just before.
    pub(super) fn warn(&mut self, reactor: u32, who: &str, held: Duration, now: Tick) {
        if now < self.quiet_until {
            return;
        }
        self.quiet_until = now.after(QUIET_AFTER_WARNING);
        let ms = held.as_millis();
        log::warn!("reactor {reactor}: {who} held the loop for {ms} ms: move slow work to another thread");
    }
}
