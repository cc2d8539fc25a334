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
use crate::turn::Roster;
use std::collections::HashMap;
use std::time::Duration;

/// The bound, and how near it is.
pub(super) struct Relief {
    max: Option<usize>,
    state: State,
    /// How often readers had been held back when all were last driven again.
    held_back: u64,
}

enum State {
    /// Everybody is read.
    Calm,
    /// Who has something waiting is not read.
    Tight { look_at: Tick, seen: HashMap<SourceId, Seen> },
}

/// What was seen of a connection.
struct Seen {
    /// What the kernel held of its output.
    bytes: u32,
    /// When that last changed, if it did.
    changed: Option<Tick>,
    /// When it was first seen to have something waiting.
    first: Tick,
}

/// How often those that have something waiting are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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
    pub(super) fn new(max: Option<usize>) -> Relief {
        Relief { max, state: State::Calm, held_back: 0 }
    }

    /// When to look again, without an event.
    pub(super) fn due(&self) -> Option<Tick> {
        match self.state {
            State::Calm => None,
            State::Tight { look_at, .. } => Some(look_at),
        }
    }
}

impl Core {
    /// Bytes that wait in all queues.
    pub(super) fn queued_bytes(&self) -> usize {
        self.desk.buffers.pool.held() + self.desk.departures.held()
    }

    /// Sees to it that all queues together hold no more than they may. Costs a comparison where there is no bound.
    pub(super) fn relieve(&mut self) {
        let Some(max) = self.relief.max else { return };
        let (held, now) = (self.queued_bytes(), self.desk.now);
        match &mut self.relief.state {
            // It may have been more within the turn.
            State::Calm if held <= max => self.read_again(),
            State::Calm => {
                log::warn!("reactor {}: {held} bytes wait in its queues: readers are held back", self.number);
                self.relief.state = State::Tight { look_at: now, seen: HashMap::new() };
                self.look_for_the_still(max);
            }
            State::Tight { .. } if held <= low(max) => {
                self.relief.state = State::Calm;
                self.read_again();
            }
            State::Tight { look_at, .. } if *look_at <= now => self.look_for_the_still(max),
            State::Tight { .. } => {}
        }
        let bound = match self.relief.state {
            State::Calm => max,
            State::Tight { .. } => low(max),
        };
        self.desk.buffers.pool.set_mark(bound.saturating_sub(self.desk.departures.held()));
    }

    /// Drives those again that were held back.
    fn read_again(&mut self) {
        if self.relief.held_back != self.desk.counters.reads_held_back {
            self.relief.held_back = self.desk.counters.reads_held_back;
            for id in self.table.lively() {
                self.table.rouse(id);
            }
        }
    }

    /// Cuts those that stand still for the longest, until enough is free.
    fn look_for_the_still(&mut self, max: usize) {
        let now = self.desk.now;
        let State::Tight { look_at, seen } = &mut self.relief.state else { return };
        *look_at = now.after(LOOK_EVERY);
        let mut before = std::mem::take(seen);
        let mut still = Vec::new();
        for id in self.table.lively() {
            let Some(Source::Connection(connection)) = self.table.get(id) else { continue };
            let link = connection.link_ref();
            let Some((begun, moved)) = link.progress() else { continue };
            let bytes = link.kernel_bytes();
            let mut now_seen = Seen { bytes, changed: None, first: now };
            if let Some(then) = before.remove(&id) {
                now_seen.first = then.first;
                now_seen.changed = if then.bytes == bytes { then.changed } else { Some(now) };
            }
            let last = now_seen.changed.map_or(moved, |changed| changed.max(moved));
            // The loop may have been held up, or nobody looked: who moves shows it from the first look on.
            let judged_from = last.max(now_seen.first);
            let is_reader = last >= begun.after(FILLED);
            still.push((is_reader, last, id, judged_from));
            seen.insert(id, now_seen);
        }
        still.sort_unstable_by_key(|(is_reader, last, id, _)| (*is_reader, *last, id.word()));
        let mut cut = 0;
        for (is_reader, _, id, judged_from) in still {
            let held = self.queued_bytes();
            if held <= low(max) {
                break;
            }
            let grace = if is_reader { READER_GRACE } else { grace(held, max) };
            if judged_from.after(grace) <= now {
                cut += 1;
                self.drive(id, Cause::Order(Order::Relieve));
            }
        }
        if cut > 0 {
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
}
