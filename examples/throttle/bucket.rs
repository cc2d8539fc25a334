//! A token bucket: how many bytes may pass now, and how long to wait for more.
//!
//! Owns one moment: that at which the bucket was, or would have been, empty. Reads no clock. Nothing is rounded away between
//! calls, so that the rate holds however often it is asked.
//!
//! 1. What was spent up to any moment is at most `burst` and what flowed in until then.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) bytes_per_second: u64,
    pub(crate) burst_bytes: u64,
}

impl Rate {
    fn time_for(self, bytes: u64) -> Duration {
        // Rounded up: a byte never passes early.
        let nanos = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(self.bytes_per_second));
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }

    fn bytes_in(self, time: Duration) -> u64 {
        let bytes = time.as_nanos() * u128::from(self.bytes_per_second) / 1_000_000_000;
        bytes.try_into().unwrap_or(u64::MAX)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// When it was empty, if nothing has been spent since.
    empty_at: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate, now: Instant) -> Bucket {
        let empty_at = now.checked_sub(rate.time_for(rate.burst_bytes)).unwrap_or(now);
        Bucket { rate, empty_at }
    }

    /// How many bytes may pass now.
    pub(crate) fn available(&self, now: Instant) -> u64 {
        self.rate.bytes_in(now.saturating_duration_since(self.empty_at)).min(self.rate.burst_bytes)
    }

    /// So many have passed; no more than are available.
    pub(crate) fn spend(&mut self, now: Instant, bytes: u64) {
        debug_assert!(bytes <= self.available(now), "bucket 1: {bytes} bytes are not there");
        // What flows into a full bucket is lost.
        let full_since = now.checked_sub(self.rate.time_for(self.rate.burst_bytes));
        let empty_at = full_since.map_or(self.empty_at, |since| self.empty_at.max(since));
        self.empty_at = empty_at + self.rate.time_for(bytes);
    }

    /// How long until it is worth while to go on, with `wanted` bytes that wait: until all of them may pass, but at most
    /// half a burst. A timer that is somewhat late finds the bucket fuller then, and not full, which would lose time.
    pub(crate) fn wait(&self, now: Instant, wanted: u64) -> Duration {
        let piece = wanted.min(self.rate.burst_bytes.div_ceil(2));
        (self.empty_at + self.rate.time_for(piece)).saturating_duration_since(now)
    }
}
