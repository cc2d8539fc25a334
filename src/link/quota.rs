//! How many records of a link are opened in one turn, and how many key updates its peer may send.
//!
//! Owns the numbers. A record costs about 1.5 us to open however short it is, and a key update about 4: a peer that sends
//! tiny ones would hold up all others if only bytes were counted.

use crate::link::stamp::Stamp;

/// Records that are opened of one link in one turn: as long as a turn's bytes take in records of full length.
pub(crate) const RECORDS_PER_TURN: usize = 256;

/// Key updates that a peer may send at once. Other messages behind a handshake, as tickets, count as such.
const UPDATES_BURST: u8 = u8::MAX;

/// One more may come each time so many milliseconds are over, whatever data comes between.
const UPDATE_INTERVAL: u32 = 50;

/// What may be opened by one call.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    pub(crate) records: usize,
    /// Of those, how many may be key updates. Data between them gives none back.
    pub(crate) updates: usize,
}

impl Quota {
    /// Of one turn. How many key updates there may be is the link's to say.
    pub(crate) const TURN: Quota = Quota { records: RECORDS_PER_TURN, updates: usize::MAX };

    /// All there is, for threads that wait, and for a link that leaves its reactor.
    pub(crate) const ALL: Quota = Quota { records: usize::MAX, updates: usize::MAX };

    /// Whether no more is opened in this turn.
    pub(crate) fn is_used(&self) -> bool {
        self.records == 0
    }
}

/// Whether whole records wait to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    None,
    Records,
}

/// How many key updates a peer may still send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    since: Stamp,
    left: u8,
}

impl Allowance {
    pub(super) const FULL: Allowance = Allowance { since: Stamp::ZERO, left: UPDATES_BURST };

    /// How many it is now. The time is asked for only where some were used.
    pub(super) fn at(&mut self, now: impl FnOnce() -> Stamp) -> usize {
        if self.left < UPDATES_BURST {
            let earned = now().millis_since(self.since) / UPDATE_INTERVAL;
            self.since = self.since.later_by(earned.saturating_mul(UPDATE_INTERVAL));
            self.left = u8::try_from(earned.saturating_add(self.left.into())).unwrap_or(UPDATES_BURST);
        }
        self.left.into()
    }

    /// So many of them are left.
    pub(super) fn keep(&mut self, left: usize, now: impl FnOnce() -> Stamp) {
        let left = u8::try_from(left).unwrap_or(UPDATES_BURST);
        if self.left == UPDATES_BURST && left < UPDATES_BURST {
            self.since = now();
        }
        self.left = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_twenty_a_second() {
        let mut allowance = Allowance::FULL;
        let at = |millis| move || Stamp::test(millis);
        assert_eq!(allowance.at(at(1_000)), UPDATES_BURST.into());
        allowance.keep(0, at(1_000));
        assert_eq!(allowance.at(at(1_049)), 0);
        assert_eq!(allowance.at(at(1_120)), 2);
        allowance.keep(1, at(1_120));
        assert_eq!(allowance.at(at(1_149)), 1);
        assert_eq!(allowance.at(at(1_150)), 2);
        assert_eq!(allowance.at(|| Stamp::NEVER), UPDATES_BURST.into());
    }
}
