//! TLS handshakes that wait for their next step.
//!
//! Owns their order, and how many accepted ones may be under way. Knows nothing of sessions or budgets.
//!
//! Oldest first, as in any queue. Once the oldest has waited for a quarter of its time the queue is longer than it can be
//! served, and newest first: those still have time to come to their end, and whoever gives up early gives up unserved.

use crate::clock::Tick;
use crate::id::SourceId;
use std::collections::VecDeque;
use std::time::Duration;

/// What of a handshake's time may pass in the queue until others go first.
const PATIENCE: u32 = 4;

pub(crate) struct Handshakes {
    waiting: VecDeque<Waiting>,
    /// Accepted connections whose handshake is not done.
    under_way: usize,
    under_way_max: usize,
}

struct Waiting {
    id: SourceId,
    /// When it has waited too long for the queue's order to hold.
    stale: Tick,
}

impl Handshakes {
    pub(crate) fn new(under_way_max: usize) -> Handshakes {
        Handshakes { waiting: VecDeque::new(), under_way: 0, under_way_max }
    }

    /// Steps that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Queues the next step of a handshake that may take `timeout` in all.
    pub(crate) fn push(&mut self, id: SourceId, now: Tick, timeout: Duration) {
        self.waiting.push_back(Waiting { id, stale: now.after(timeout / PATIENCE) });
    }

    /// Takes the one whose turn it is, passing over those at the front that are gone.
    pub(crate) fn next(&mut self, now: Tick, lives: impl Fn(SourceId) -> bool) -> Option<SourceId> {
        while let Some(oldest) = self.waiting.front() {
            if lives(oldest.id) {
                let taken = if oldest.stale <= now { self.waiting.pop_back() } else { self.waiting.pop_front() };
                return taken.map(|waiting| waiting.id);
            }
            self.waiting.pop_front();
        }
        None
    }

    /// Whether no more may be accepted.
    pub(crate) fn is_full(&self) -> bool {
        self.under_way >= self.under_way_max
    }

    /// One more was accepted.
    pub(crate) fn enter(&mut self) {
        self.under_way += 1;
    }

    /// One of the accepted is done or over; says whether others may have waited for that.
    pub(crate) fn leave(&mut self) -> bool {
        let was_full = self.is_full();
        self.under_way -= 1;
        was_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: u32) -> SourceId {
        SourceId { reactor: 1, slot, sequence: 0 }
    }

    fn seconds(n: u64) -> Tick {
        Tick::test(n * 1_000_000_000)
    }

    #[test]
    fn the_oldest_goes_first_until_it_has_waited_a_quarter_of_its_time() {
        let mut queue = Handshakes::new(9);
        for slot in 0..4 {
            queue.push(id(slot), seconds(0), Duration::from_secs(8));
        }
        assert_eq!(queue.next(seconds(1), |_| true), Some(id(0)));
        assert_eq!(queue.next(seconds(2), |_| true), Some(id(3)), "newest first");
        queue.push(id(4), seconds(3), Duration::from_secs(8));
        assert_eq!(queue.next(seconds(3), |_| true), Some(id(4)), "newest first");
        assert_eq!(queue.next(seconds(3), |id| id.slot != 1), Some(id(2)), "the dead are passed over");
        assert_eq!(queue.next(seconds(3), |_| true), None);
    }

    #[test]
    fn no_more_are_accepted_than_the_limit_and_one_that_leaves_makes_room() {
        let mut queue = Handshakes::new(2);
        queue.enter();
        assert!(!queue.is_full());
        queue.enter();
        assert!(queue.is_full());
        assert!(queue.leave(), "others may have waited");
        assert!(!queue.leave());
    }
}
