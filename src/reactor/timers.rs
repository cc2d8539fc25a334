//! Deadlines of slots: at most one entry for each.
//!
//! Owns a heap in which a slot's entry can be moved forward. An entry belongs to a slot, not to its occupant, and
//! survives it: whoever is there when it fires is asked when it really wants to be driven. So nothing is ever cancelled,
//! and to refresh an idle timeout costs one store elsewhere.
//!
//! 1. `places[slot]` is where the slot's entry stands in `heap`, or `NONE`.
//! 2. No entry is due before its parent.

use crate::clock::Tick;
use crate::reactor::table::room_for;

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    places: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Tick,
    slot: u32,
}

const NONE: u32 = u32::MAX;

impl Timers {
    /// When the first entry is due.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.heap.first().map(|entry| entry.due)
    }

    /// Makes sure that `slot` has an entry at `due` or, to fall together with others, a fiftieth of the wait later.
    pub(crate) fn arm(&mut self, slot: u32, due: Tick, now: Tick) {
        let index = slot as usize;
        if index >= self.places.len() {
            let (used, held) = (self.places.len(), self.places.capacity());
            self.places.reserve_exact(room_for::<u32>(index + 1, held).saturating_sub(used));
            self.places.resize(index + 1, NONE);
        }
        let place = self.places[index];
        if place == NONE {
            let (used, held) = (self.heap.len(), self.heap.capacity());
            self.heap.reserve_exact(room_for::<Entry>(used + 1, held).saturating_sub(used));
            self.heap.push(Entry { due: due.rounded(now), slot });
            self.places[index] = (self.heap.len() - 1) as u32;
            self.rise(self.heap.len() - 1);
        } else if due < self.heap[place as usize].due {
            // An entry that was rounded up from this very moment stays where it is.
            let due = due.rounded(now);
            if due < self.heap[place as usize].due {
                self.heap[place as usize].due = due;
                self.rise(place as usize);
            }
        }
    }

    /// Takes the first entry if it is due, and says whose it is.
    pub(crate) fn pop(&mut self, now: Tick) -> Option<u32> {
        let first = *self.heap.first()?;
        if first.due > now {
            return None;
        }
        self.places[first.slot as usize] = NONE;
        let last = self.heap.pop()?;
        if !self.heap.is_empty() {
            self.heap[0] = last;
            self.places[last.slot as usize] = 0;
            self.sink(0);
        }
        Some(first.slot)
    }

    /// Forgets the entries of all slots from `slots` on: the table has given them back.
    pub(crate) fn truncate(&mut self, slots: usize) {
        if slots >= self.places.len() {
            return;
        }
        self.heap.retain(|entry| (entry.slot as usize) < slots);
        // A sorted vector is a heap.
        self.heap.sort_unstable_by_key(|entry| entry.due);
        self.heap.shrink_to_fit();
        self.places.truncate(slots);
        self.places.shrink_to_fit();
        for (place, entry) in self.heap.iter().enumerate() {
            self.places[entry.slot as usize] = place as u32;
        }
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.heap[at].due < self.heap[(at - 1) / 2].due {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child].due < self.heap[least].due {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].slot as usize] = a as u32;
        self.places[self.heap[b].slot as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_holds_the_earliest_deadline_of_each_slot(
            ops in prop::collection::vec((0u32..40, 0u64..10_000, any::<bool>()), 0..400)
        ) {
            let (mut timers, mut model, mut now) = (Timers::default(), BTreeMap::<u32, u64>::new(), 0u64);
            for (slot, wait, pops) in ops {
                if wait % 37 == 0 {
                    timers.truncate(slot as usize);
                    model.retain(|kept, _| *kept < slot);
                } else if pops {
                    now += wait / 20;
                    while let Some(slot) = timers.pop(Tick::test(now)) {
                        let due = model.remove(&slot);
                        prop_assert!(due.is_some_and(|due| due <= now));
                    }
                    for due in model.values() { prop_assert!(*due + (*due - now.min(*due)) / 50 + 200 > now); }
                } else {
                    timers.arm(slot, Tick::test(now + wait), Tick::test(now));
                    let due = model.entry(slot).or_insert(now + wait);
                    *due = (*due).min(now + wait);
                }
                prop_assert_eq!(timers.heap.len(), model.len());
                let first = model.values().min().copied();
                prop_assert_eq!(timers.next().is_some(), first.is_some());
                if let (Some(next), Some(first)) = (timers.next(), first) {
                    prop_assert!(next >= Tick::test(first), "early");
                }
                for (place, entry) in timers.heap.iter().enumerate() {
                    prop_assert_eq!(timers.places[entry.slot as usize], place as u32);
                    prop_assert!(place == 0 || timers.heap[(place - 1) / 2].due <= entry.due);
                }
            }
        }
    }

    #[test]
    fn ten_thousand_idle_connections_of_one_minute_fire_together() {
        let mut timers = Timers::default();
        let second = 1_000_000_000u64;
        for slot in 0..10_000u32 {
            let now = u64::from(slot) * second / 10_000;
            timers.arm(slot, Tick::test(now + 60 * second), Tick::test(now));
        }
        let mut moments = Vec::new();
        while let Some(due) = timers.next() {
            timers.pop(due);
            if moments.last() != Some(&due) {
                moments.push(due);
            }
        }
        assert!(moments.len() <= 3, "{} wake-ups", moments.len());
    }
}
