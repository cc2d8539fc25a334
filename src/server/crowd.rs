//! Whether more connections come than there are threads for, and what of that is to be told.
//!
//! Owns the state of one such episode. Knows no thread and no clock.
//!
//! 1. An episode tells each of its troubles once, and its end once, at the earliest `CALM` after the last trouble.

use std::time::{Duration, Instant};

/// An episode ends when there was no trouble for so long: a server at its limit would else tell of each connection.
pub(super) const CALM: Duration = Duration::from_secs(1);

/// What may go wrong when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// A connection has to wait for a thread.
    Waits,
    /// The system has no thread for it.
    Lacks,
    /// A connection was refused.
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Crowd(Option<Episode>);

#[derive(Debug)]
struct Episode {
    last: Instant,
    /// By trouble, whether it was told.
    told: [bool; 3],
    refused: u64,
}

impl Crowd {
    /// There is trouble; returns whether this episode has not told of it yet.
    pub(super) fn meets(&mut self, trouble: Trouble, now: Instant) -> bool {
        let episode = self.0.get_or_insert(Episode { last: now, told: [false; 3], refused: 0 });
        episode.last = now;
        episode.refused += u64::from(trouble == Trouble::Refused);
        !std::mem::replace(&mut episode.told[trouble as usize], true)
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Nobody waits, and there is room. Returns how many were refused if the episode ends with that.
    pub(super) fn eases(&mut self, now: Instant) -> Option<u64> {
        let ended = self.0.take_if(|episode| now.saturating_duration_since(episode.last) >= CALM);
        ended.map(|episode| episode.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_tells_each_trouble_once_and_ends_when_it_was_calm_for_a_while() {
        let (begin, mut crowd) = (Instant::now(), Crowd::default());
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!((crowd.is_on(), crowd.eases(at(0))), (false, None));
        assert!(crowd.meets(Trouble::Waits, at(0)) && crowd.is_on());
        for millis in 1..100 {
            assert!(!crowd.meets(Trouble::Waits, at(millis)));
            assert_eq!(crowd.meets(Trouble::Refused, at(millis)), millis == 1);
            assert_eq!(crowd.meets(Trouble::Lacks, at(millis)), millis == 1);
            assert_eq!(crowd.eases(at(millis)), None);
        }
        assert_eq!(crowd.eases(at(1098)), None);
        assert_eq!(crowd.eases(at(1099)), Some(99));
        assert_eq!((crowd.is_on(), crowd.eases(at(9000))), (false, None));
        assert!(crowd.meets(Trouble::Refused, at(9000)), "another episode");
        assert_eq!(crowd.eases(at(10_000)), Some(1));
    }
}
