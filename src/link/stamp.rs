//! A moment in the life of one link, in as few bytes as it takes.
//!
//! Owns the conversion. Knows nothing of what moments are kept for.

use crate::clock::{Coarse, Tick};
use std::time::Duration;

/// A moment in 4 bytes, since each connection keeps it: milliseconds behind the link's beginning. What is too far is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u32);

impl Stamp {
    pub(super) const NEVER: Stamp = Stamp(u32::MAX);
    pub(super) const ZERO: Stamp = Stamp(0);

    #[cfg(test)]
    pub(super) const fn test(millis: u32) -> Stamp {
        Stamp(millis)
    }

    pub(super) fn millis_since(self, before: Stamp) -> u32 {
        self.0.saturating_sub(before.0)
    }

    pub(super) fn later_by(self, millis: u32) -> Stamp {
        Stamp(self.0.saturating_add(millis))
    }

    pub(super) fn of(moment: Tick, opened: Coarse) -> Stamp {
        Stamp(u32::try_from(moment.since(opened.into()).as_millis()).unwrap_or(u32::MAX))
    }

    pub(super) fn tick(self, opened: Coarse) -> Tick {
        if self == Stamp::NEVER { Tick::NEVER } else { Tick::from(opened).after(Duration::from_millis(self.0.into())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_a_millisecond_and_what_is_too_far_never_comes() {
        let (kept, second) = (Coarse::from(Tick::test(5)), Duration::from_secs(1));
        let opened = Tick::from(kept);
        assert_eq!(Stamp::of(opened.after(second), kept).tick(kept), opened.after(second));
        assert_eq!(Stamp::of(Tick::NEVER, kept).tick(kept), Tick::NEVER);
        assert_eq!(Stamp::of(opened.after(second * 5_000_000), kept), Stamp::NEVER);
    }
}
