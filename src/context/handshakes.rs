//! TLS handshakes that wait for their next step.
//!
//! Owns their order, how many accepted ones may be under way, and how many other threads work on. Knows nothing of
//! sessions or budgets.
//!
//! Oldest first, as in any queue. Once the oldest has waited for a quarter of its time the queue is longer than it can be
//! served, and newest first: those still have time to come to their end, and whoever gives up early gives up unserved.
//! Steps for other threads wait here too, and not with those threads: whatever dies meanwhile costs nothing.

use crate::clock::Tick;
use crate::config::ReactorConfig;
use crate::id::SourceId;
use crate::link::session::HandshakeThreads;
use std::collections::VecDeque;
use std::time::Duration;

/// What of a handshake's time may pass in the queue until others go first.
const PATIENCE: u32 = 4;

/// Steps that are with another thread at once, for each of them: one that it works on, and the next.
const AWAY_PER_THREAD: usize = 2;

pub(crate) struct Handshakes {
    steps: Steps,
    elsewhere: Steps,
    threads: Option<HandshakeThreads>,
    away: usize,
    /// Accepted connections whose handshake is not done.
    under_way: usize,
    under_way_max: usize,
}

#[derive(Default)]
struct Steps(VecDeque<Waiting>);

struct Waiting {
    id: SourceId,
    /// When it has waited too long for the queue's order to hold.
    stale: Tick,
}

impl Steps {
    fn push(&mut self, id: SourceId, now: Tick, timeout: Duration) {
        self.0.push_back(Waiting { id, stale: now.after(timeout / PATIENCE) });
    }

    /// Takes the one whose turn it is, passing over those at the front that are gone.
    fn next(&mut self, now: Tick, lives: impl Fn(SourceId) -> bool) -> Option<SourceId> {
        while let Some(oldest) = self.0.front() {
            if lives(oldest.id) {
                let taken = if oldest.stale <= now { self.0.pop_back() } else { self.0.pop_front() };
                return taken.map(|waiting| waiting.id);
            }
            self.0.pop_front();
        }
        None
    }
}

impl Handshakes {
    pub(crate) fn of(config: &ReactorConfig) -> Handshakes {
        #[cfg(feature = "tls")]
        let threads = config.handshake_threads.clone();
        #[cfg(not(feature = "tls"))]
        let threads = None;
        Handshakes::new(config.handshakes_max, threads)
    }

    fn new(under_way_max: usize, threads: Option<HandshakeThreads>) -> Handshakes {
        let (steps, elsewhere) = (Steps::default(), Steps::default());
        Handshakes { steps, elsewhere, threads, away: 0, under_way: 0, under_way_max }
    }

    /// Steps that wait to be taken here.
    pub(crate) fn len(&self) -> usize {
        self.steps.0.len()
    }

    /// Whether a turn has something to do.
    pub(crate) fn are_due(&self) -> bool {
        !self.steps.0.is_empty() || (!self.elsewhere.0.is_empty() && !self.threads_are_busy())
    }

    /// Queues the next step of a handshake that may take `timeout` in all.
    pub(crate) fn push(&mut self, id: SourceId, now: Tick, timeout: Duration) {
        self.steps.push(id, now, timeout);
    }

    /// Queues one that another thread shall take.
    pub(crate) fn push_elsewhere(&mut self, id: SourceId, now: Tick, timeout: Duration) {
        self.elsewhere.push(id, now, timeout);
    }

    /// Takes the one whose turn it is here.
    pub(crate) fn next(&mut self, now: Tick, lives: impl Fn(SourceId) -> bool) -> Option<SourceId> {
        self.steps.next(now, lives)
    }

    /// Takes the one whose turn it is on another thread, if one has time.
    pub(crate) fn next_elsewhere(&mut self, now: Tick, lives: impl Fn(SourceId) -> bool) -> Option<SourceId> {
        if self.threads_are_busy() { None } else { self.elsewhere.next(now, lives) }
    }

    fn threads_are_busy(&self) -> bool {
        self.away >= self.threads.as_ref().map_or(0, HandshakeThreads::count) * AWAY_PER_THREAD
    }

    /// Whether there are other threads.
    pub(crate) fn have_threads(&self) -> bool {
        self.threads.is_some()
    }

    /// Has another thread run `job`, which must not panic.
    pub(crate) fn send_away(&mut self, job: Box<dyn FnOnce() + Send>) {
        if let Some(threads) = &self.threads {
            self.away += 1;
            threads.run(job);
        }
    }

    /// What was sent away has come back.
    pub(crate) fn came_back(&mut self) {
        self.away -= 1;
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
        let mut queue = Handshakes::new(9, None);
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
        let mut queue = Handshakes::new(2, None);
        queue.enter();
        assert!(!queue.is_full());
        queue.enter();
        assert!(queue.is_full());
        assert!(queue.leave(), "others may have waited");
        assert!(!queue.leave());
    }

    #[cfg(feature = "tls")]
    #[test]
    fn no_more_are_away_than_the_threads_have_time_for() {
        let mut queue = Handshakes::new(9, Some(HandshakeThreads::new(1).expect("a thread")));
        for slot in 0..3 {
            queue.push_elsewhere(id(slot), seconds(0), Duration::from_secs(8));
        }
        for slot in 0..2 {
            assert_eq!(queue.next_elsewhere(seconds(0), |_| true), Some(id(slot)));
            queue.send_away(Box::new(|| {}));
        }
        assert!(queue.next_elsewhere(seconds(0), |_| true).is_none() && !queue.are_due());
        queue.came_back();
        assert!(queue.are_due());
        assert_eq!(queue.next_elsewhere(seconds(0), |_| true), Some(id(2)));
    }
}
