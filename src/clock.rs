//! Moments as 8-byte ticks.
//!
//! Owns the conversion between `Instant` and `Tick`. Knows nothing of who waits. It never reads the clock after its
//! base is set: time is an argument, and only the reactor asks for it (A8).

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A moment, in nanoseconds since the first reactor of this process was made.
///
/// One base for the whole process, so that a link can move between reactors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(u64);

static BASE: OnceLock<Instant> = OnceLock::new();

/// Where the ticks start: an hour before `now` at the first call, so that recent pasts have ticks too.
fn base(now: Instant) -> Instant {
    *BASE.get_or_init(|| now.checked_sub(Duration::from_secs(3600)).unwrap_or(now))
}

/// When `delay` is over; what is too far to count is an age away.
pub(crate) fn until(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).unwrap_or(now + Duration::from_secs(u32::MAX.into()))
}

impl Tick {
    /// The moment that never comes.
    pub(crate) const NEVER: Tick = Tick(u64::MAX);

    /// The tick of `instant`; moments before the base are the base.
    pub(crate) fn of(instant: Instant) -> Tick {
        Tick(nanos(instant.saturating_duration_since(base(instant))))
    }

    /// The instant of this tick, `None` for one that `Instant` cannot hold (`NEVER` among them).
    pub(crate) fn instant(self) -> Option<Instant> {
        if self == Tick::NEVER {
            return None;
        }
        BASE.get()?.checked_add(Duration::from_nanos(self.0))
    }

    /// This moment and `duration` more; `NEVER` where that is too far to count.
    pub(crate) fn after(self, duration: Duration) -> Tick {
        Tick(self.0.saturating_add(nanos(duration)))
    }

    /// This moment less `duration`, at the earliest the base.
    pub(crate) fn before(self, duration: Duration) -> Tick {
        Tick(self.0.saturating_sub(nanos(duration)))
    }

    /// How long it is from `earlier` to this moment, zero if it was before.
    pub(crate) fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The next moment at or after this one that is a multiple of a step of at most a fiftieth of the time from `now`.
    ///
    /// Deadlines rounded so fall together, and none fires early.
    pub(crate) fn rounded(self, now: Tick) -> Tick {
        let fiftieth = self.0.saturating_sub(now.0) / 50;
        if self == Tick::NEVER || fiftieth == 0 {
            return self;
        }
        let step = 1u64 << fiftieth.ilog2();
        Tick(self.0.saturating_add(step - 1) & !(step - 1))
    }

    /// This moment as a plain number, to be kept where other threads read it.
    pub(crate) fn nanos(self) -> u64 {
        self.0
    }

    /// The moment of such a number.
    pub(crate) fn of_nanos(nanos: u64) -> Tick {
        Tick(nanos)
    }

    #[cfg(any(fuzzing, test))]
    pub(crate) fn test(nanos: u64) -> Tick {
        Tick(nanos)
    }
}

/// A moment in `BYTES` bytes, in steps of 2^`SHIFT` nanoseconds: rounded up, so that what is counted from it is never early.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed<const BYTES: usize, const SHIFT: u32>([u8; BYTES]);

/// A moment of the past, to a millisecond; for 36 years.
pub(crate) type Coarse = Packed<5, 20>;

/// A deadline, to 66 µs; for 584 years.
pub(crate) type Fine = Packed<6, 16>;

impl<const BYTES: usize, const SHIFT: u32> From<Tick> for Packed<BYTES, SHIFT> {
    /// Without a look at what is special: of all but `NEVER` the upper bits are clear.
    #[inline]
    fn from(tick: Tick) -> Self {
        let steps = (tick.0.saturating_add((1 << SHIFT) - 1) as i64) >> SHIFT;
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(&steps.to_le_bytes()[..BYTES]);
        Packed(bytes)
    }
}

impl<const BYTES: usize, const SHIFT: u32> From<Packed<BYTES, SHIFT>> for Tick {
    #[inline]
    fn from(Packed(packed): Packed<BYTES, SHIFT>) -> Tick {
        let mut bytes = [0; 8];
        bytes[..BYTES].copy_from_slice(&packed);
        let steps = u64::from_le_bytes(bytes);
        if steps == u64::MAX >> (64 - 8 * BYTES) { Tick::NEVER } else { Tick(steps << SHIFT) }
    }
}

impl<const BYTES: usize, const SHIFT: u32> std::fmt::Debug for Packed<BYTES, SHIFT> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Tick::from(*self).fmt(f)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_late_by_at_most_a_fiftieth_and_never_early() {
        for now in [0u64, 17, 5_000_000_000] {
            for wait in [0u64, 1, 49, 50, 99, 1_000, 60_000_000_000, u64::MAX / 2] {
                let due = Tick(now + wait);
                let rounded = due.rounded(Tick(now));
                assert!(rounded >= due && rounded.0 - due.0 <= wait / 50, "{now} {wait}");
            }
        }
    }

    #[test]
    fn the_longest_duration_never_comes() {
        assert_eq!(Tick(7).after(Duration::MAX), Tick::NEVER);
        assert_eq!(Tick::NEVER.instant(), None);
        assert_eq!(Tick::NEVER.rounded(Tick(3)), Tick::NEVER);
    }

    #[test]
    fn a_packed_moment_is_never_early_and_late_by_one_step() {
        let year = 31_536_000_000_000_000;
        for nanos in [0, 1, 65_536, 65_537, 1_000_000, 1_048_576, 1_048_577, 36 * year] {
            let (tick, coarse, fine) = (Tick(nanos), Coarse::from(Tick(nanos)), Fine::from(Tick(nanos)));
            assert!(Tick::from(coarse).0 - tick.0 < 1 << 20 && Tick::from(fine).0 - tick.0 < 1 << 16, "{nanos}");
            assert_eq!((Coarse::from(Tick::from(coarse)), Fine::from(Tick::from(fine))), (coarse, fine));
        }
        assert_eq!(Tick::from(Coarse::from(Tick::NEVER)), Tick::NEVER);
        assert_eq!(Tick::from(Fine::from(Tick::NEVER)), Tick::NEVER);
    }

    #[test]
    fn an_instant_comes_back_as_it_was() {
        let now = Instant::now();
        assert_eq!(Tick::of(now).instant(), Some(now));
    }
}
