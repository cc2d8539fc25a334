//! What happens when all queues of a reactor together hold more than they may.
//!
//! Owns when reading is held back, when it goes on, and which connections are cut. Who is held back follows from
//! `Pool::is_full` alone, where it is read; who moves is told by its queue, and by what the kernel holds of it.
//!
//! 1. While it is calm the mark is the bound, and while it is tight the lower one at which that ends: in between nothing
//!    changes.

use crate::clock::Tick;
use crate::command::Order;
use crate::id::SourceId;
use crate::reactor::core::Core;
use crate::source::{Cause, Source};

use std::collections::HashMap;
use std::time::Duration;

/// The bound, and how near it is.
pub(in crate::reactor) struct Relief {
    max: Option<usize>,
    state: State,
    seen: HashMap<SourceId, Progress>,
    /// Until when nothing is logged: it may come and go many times a second.
    quiet_until: Tick,
}

enum State {
    /// All connections are read.
    Calm,
    /// Those that have something waiting are not.
    Tight { look_at: Tick },
}

/// Which connections are cut first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Its output does not move.
    Still,
    /// Its output moved before.
    Reader,
    /// It holds input alone, and may be waiting for us to read it: cut only where nothing else can be.
    HeldBack,
}

impl Rank {
    /// Whether one that has stood still for so long is cut while so much is held, and so many were cut before it.
    fn is_cut(self, still: Duration, held: usize, max: usize, cut: usize) -> bool {
        let (enough, grace) = match self {
            Rank::Still => (low(max), grace(held, max)),
            Rank::Reader => (low(max), READER_GRACE),
            // Also while others make room.
            Rank::HeldBack => (if cut > 0 { usize::MAX } else { max }, READER_GRACE),
        };
        held > enough && still >= grace
    }
}

/// What was seen of a connection.
struct Progress {
    /// What the kernel held of its output.
    bytes: u32,
    /// When that last changed, if it did.
    changed: Option<Tick>,
    /// When it was first seen to have something waiting.
    first: Tick,
}

/// How often those that have something waiting are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long nothing more is logged behind a warning.
const QUIET_AFTER_WARNING: Duration = Duration::from_secs(1);

/// A queue that moved so long after it had begun to wait belongs to a peer that reads: by then its system has filled its
/// buffers, also with what only probes of its window bring.
const FILLED: Duration = Duration::from_secs(2);

/// How long such a queue may stand still: the kernel tells of room only when much of its buffer is free.
const READER_GRACE: Duration = Duration::from_secs(30);

/// How long any other may, by how much more than the bound is held.
fn grace(held: usize, max: usize) -> Duration {
    match held.saturating_sub(max) {
        over if over <= max / 2 => Duration::from_secs(5),
        _ => Duration::from_secs(1),
    }
}

/// At what this ends: an eighth is free.
fn low(max: usize) -> usize {
    max - max / 8
}

impl Relief {
    pub(in crate::reactor) fn new(max: Option<usize>) -> Relief {
        Relief { max, state: State::Calm, seen: HashMap::new(), quiet_until: Tick::of_nanos(0) }
    }

    /// When to look again, without an event.
    pub(in crate::reactor) fn due(&self) -> Option<Tick> {
        match self.state {
            State::Calm => None,
            State::Tight { look_at } => Some(look_at),
        }
    }
}

impl Core {
    /// Bytes that wait in all queues.
    pub(in crate::reactor) fn queued_bytes(&self) -> usize {
        self.state.buffers.pool.held() + self.state.departures.held()
    }

    /// Sees to it that all queues together hold no more than they may. Costs a comparison where there is no bound.
    pub(in crate::reactor) fn relieve(&mut self) {
        let Some(max) = self.relief.max else { return };
        let (held, now) = (self.queued_bytes(), self.state.now);
        match &mut self.relief.state {
            // It may have been more within the turn.
            State::Calm if held <= max => self.read_again(),
            State::Calm => {
                if self.relief.quiet_until <= now {
                    self.relief.quiet_until = now.after(QUIET_AFTER_WARNING);
                    log::warn!("reactor {}: {held} bytes wait in its queues: readers are held back", self.number);
                }
                self.relief.state = State::Tight { look_at: now };
                self.cut_the_longest_still(max);
            }
            State::Tight { .. } if held <= low(max) => {
                self.relief.state = State::Calm;
                self.read_again();
            }
            State::Tight { look_at } if *look_at <= now => {
                self.cut_the_longest_still(max);
                if self.queued_bytes() <= max {
                    // There is room for those that have begun a message.
                    self.read_again();
                }
            }
            State::Tight { .. } => {}
        }
        let bound = match self.relief.state {
            State::Calm => max,
            State::Tight { .. } => low(max),
        };
        let departures = self.state.departures.held();
        self.state.buffers.pool.set_bounds(bound.saturating_sub(departures), max.saturating_sub(departures));
    }

    /// Drives those again that were held back.
    fn read_again(&mut self) {
        for id in self.state.unread.drain() {
            self.table.wake(id);
        }
    }

    /// Cuts connections without progress, the longest first, until enough is free.
    fn cut_the_longest_still(&mut self, max: usize) {
        let now = self.state.now;
        self.relief.state = State::Tight { look_at: now.after(LOOK_EVERY) };
        if self.state.departures.held() > low(max) {
            // It is datagrams that wait, and no connection could make room.
            return;
        }
        let mut before = std::mem::take(&mut self.relief.seen);
        let mut still = Vec::new();
        for id in self.table.open_sources() {
            let Some(Source::Connection(connection)) = self.table.get(id) else { continue };
            let link = connection.link_ref();
            let Some((begun, moved)) = link.progress() else { continue };
            let bytes = link.kernel_bytes();
            let mut progress = Progress { bytes, changed: None, first: now };
            if let Some(then) = before.remove(&id) {
                progress.first = then.first;
                progress.changed = if then.bytes == bytes { then.changed } else { Some(now) };
            }
            let last = progress.changed.map_or(moved, |changed| changed.max(moved));
            // The loop may have been held up, or nobody looked: what moves shows it from the first look on.
            let judged_from = last.max(progress.first);
            let rank = match link.has_output() {
                true if last >= begun.after(FILLED) => Rank::Reader,
                true => Rank::Still,
                false => Rank::HeldBack,
            };
            still.push((rank, last, id, judged_from));
            self.relief.seen.insert(id, progress);
        }
        still.sort_unstable_by_key(|(rank, last, id, _)| (*rank, *last, id.word()));
        let mut cut = 0;
        for (rank, _, id, judged_from) in still {
            if rank.is_cut(now.since(judged_from), self.queued_bytes(), max, cut) {
                cut += 1;
                self.drive(id, Cause::Order(Order::Relieve));
            }
        }
        if cut > 0 && self.relief.quiet_until <= now {
            self.relief.quiet_until = now.after(QUIET_AFTER_WARNING);
            let held = self.queued_bytes();
            log::warn!("reactor {}: {cut} connections without progress were cut, {held} bytes still wait", self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_is_held_the_sooner_who_stands_still_is_cut() {
        let graces = [100, 150, 151, 1000].map(|held| grace(held, 100).as_secs());
        assert_eq!(graces, [5, 5, 1, 1]);
        assert!(low(8) == 7 && low(1 << 20) < 1 << 20);
    }

    #[test]
    fn nobody_is_cut_before_the_grace_or_while_enough_is_free_and_who_may_wait_for_us_only_if_nobody_else_is() {
        let is_cut = |rank: Rank, millis, held, cut| rank.is_cut(Duration::from_millis(millis), held, 800, cut);
        for (rank, grace) in [(Rank::Still, 5_000), (Rank::Reader, 30_000)] {
            let cut =
                [(grace, 701), (grace, 700), (grace - 1, 701)].map(|(millis, held)| is_cut(rank, millis, held, 3));
            assert_eq!(cut, [true, false, false], "{rank:?}");
        }
        assert_eq!([999, 1_000].map(|millis| is_cut(Rank::Still, millis, 1_201, 0)), [false, true]);
        let held_back = [(30_000, 801, 0), (30_000, 801, 1), (30_000, 800, 0), (29_999, 801, 0)];
        let cut = held_back.map(|(millis, held, cut)| is_cut(Rank::HeldBack, millis, held, cut));
        assert_eq!(cut, [true, false, false, false]);
    }
}
