//! Deadlines of slots: at most one entry for each.
//!
//! Owns a heap in which a slot's entry can be moved forward. An entry belongs to a slot, not to its occupant, and
//! survives it: whoever is there when it fires is asked when it really wants to be driven. So nothing is ever cancelled,
//! and to refresh an idle timeout costs one store elsewhere.
//!
//! 1. `places[slot]` is where the slot's entry stands in `heap`, or `NONE`.
//! 2. No entry is due before its parent.

use crate::clock::Tick;
use crate::id::SLOT_BITS;
use crate::reactor::table::room_for;

#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<Entry>,
    places: Vec<u32>,
    /// What the entries count from: less than twice [`REBASE_UNITS`] ago.
    base: Tick,
}

/// When it is due, in units of 66 µs since the base, and whose it is, in one word.
///
/// What is due beyond the 40 bits, in more than 13 months, fires early, and its slot's occupant arms it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u64);

const UNIT_BITS: u32 = 16;
const UNITS_MAX: u64 = (1 << (u64::BITS - SLOT_BITS)) - 1;
/// The base moves on so many units later: 13 months.
const REBASE_UNITS: u64 = UNITS_MAX / 2;

impl Entry {
    /// Rounded up: never early.
    fn new(due: Tick, base: Tick, slot: u32) -> Entry {
        let units = due.nanos().saturating_sub(base.nanos()).div_ceil(1 << UNIT_BITS).min(UNITS_MAX);
        Entry(units << SLOT_BITS | u64::from(slot))
    }

    fn due(self, base: Tick) -> Tick {
        Tick::of_nanos(base.nanos().saturating_add((self.0 >> SLOT_BITS) << UNIT_BITS))
    }

    /// The same with a base that is `units` later.
    fn rebased(self, units: u64) -> Entry {
        Entry((self.0 >> SLOT_BITS).saturating_sub(units) << SLOT_BITS | u64::from(self.slot()))
    }

    fn slot(self) -> u32 {
        (self.0 & ((1 << SLOT_BITS) - 1)) as u32
    }
}

const NONE: u32 = u32::MAX;

impl Timers {
    /// When the first entry is due.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.heap.first().map(|entry| entry.due(self.base))
    }

    /// Makes sure that `slot` has an entry at `due` or, to fall together with others, a fiftieth of the wait later.
    pub(crate) fn arm(&mut self, slot: u32, due: Tick, now: Tick) {
        if now.nanos().saturating_sub(self.base.nanos()) >> UNIT_BITS >= REBASE_UNITS {
            self.rebase(now);
        }
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
            self.heap.push(Entry::new(due.rounded(now), self.base, slot));
            self.places[index] = (self.heap.len() - 1) as u32;
            self.rise(self.heap.len() - 1);
        } else if due < self.heap[place as usize].due(self.base) {
            // An entry that was rounded up from this very moment stays where it is.
            let entry = Entry::new(due.rounded(now), self.base, slot);
            if entry < self.heap[place as usize] {
                self.heap[place as usize] = entry;
                self.rise(place as usize);
            }
        }
    }

    /// Takes the first entry if it is due, and says whose it is.
    pub(crate) fn pop(&mut self, now: Tick) -> Option<u32> {
        let first = *self.heap.first()?;
        if first.due(self.base) > now {
            return None;
        }
        self.places[first.slot() as usize] = NONE;
        let last = self.heap.pop()?;
        if !self.heap.is_empty() {
            self.heap[0] = last;
            self.places[last.slot() as usize] = 0;
            self.sink(0);
        }
        Some(first.slot())
    }

    /// Forgets the entries of all slots from `slots` on: the table has given them back.
    pub(crate) fn truncate(&mut self, slots: usize) {
        if slots >= self.places.len() {
            return;
        }
        self.heap.retain(|entry| (entry.slot() as usize) < slots);
        self.heap.shrink_to_fit();
        self.places.truncate(slots);
        self.places.shrink_to_fit();
        self.sort();
    }

    /// Counts from `now` on; what is past stays past.
    #[cold]
    fn rebase(&mut self, now: Tick) {
        let units = (now.nanos() - self.base.nanos()) >> UNIT_BITS;
        self.base = Tick::of_nanos(self.base.nanos() + (units << UNIT_BITS));
        self.heap.iter_mut().for_each(|entry| *entry = entry.rebased(units));
        // Among those that are past the slot counts now.
        self.sort();
    }

    /// A sorted vector is a heap.
    fn sort(&mut self) {
        self.heap.sort_unstable();
        for (place, entry) in self.heap.iter().enumerate() {
            self.places[entry.slot() as usize] = place as u32;
        }
    }

    /// When the slot's entry is due.
    #[cfg(test)]
    pub(crate) fn of(&self, slot: u32) -> Option<Tick> {
        let place = *self.places.get(slot as usize).filter(|place| **place != NONE)?;
        Some(self.heap[place as usize].due(self.base))
    }

    /// A moment as an entry of new timers holds it.
    #[cfg(any(fuzzing, test))]
    pub(crate) fn as_kept(due: Tick) -> Tick {
        let base = Tick::default();
        Entry::new(due, base, 0).due(base)
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.heap[at] < self.heap[(at - 1) / 2] {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child] < self.heap[least] {
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
        self.places[self.heap[a].slot() as usize] = a as u32;
        self.places[self.heap[b].slot() as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const UNIT: u64 = 1 << UNIT_BITS;
    /// What an entry may be late by: a fiftieth of the longest wait, and a unit.
    const LATE: u64 = 10_000 * UNIT / 16 / 50 + UNIT;
    const MONTHS_5: u64 = 13_000_000_000_000_000;

    proptest! {
        #[test]
        fn it_holds_the_earliest_deadline_of_each_slot(
            ops in prop::collection::vec((0u32..40, 0u64..10_000, any::<bool>()), 0..400)
        ) {
            let (mut timers, mut model, mut now) = (Timers::default(), BTreeMap::<u32, u64>::new(), 0u64);
            for (slot, wait, pops) in ops {
                let wait = wait * UNIT / 16;
                if wait % 37 == 0 {
                    timers.truncate(slot as usize);
                    model.retain(|kept, _| *kept < slot);
                } else if pops {
                    now += if wait % 41 == 0 { MONTHS_5 } else { wait / 20 };
                    while let Some(slot) = timers.pop(Tick::test(now)) {
                        let due = model.remove(&slot);
                        prop_assert!(due.is_some_and(|due| due <= now));
                    }
                    for due in model.values() { prop_assert!(*due + LATE > now); }
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
                    prop_assert_eq!(timers.places[entry.slot() as usize], place as u32);
                    prop_assert!(place == 0 || timers.heap[(place - 1) / 2] <= *entry);
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
        assert_eq!(timers.base, Tick::test(0), "all are moved once in months, and not for each");
        let mut moments = Vec::new();
        while let Some(due) = timers.next() {
            timers.pop(due);
            if moments.last() != Some(&due) {
                moments.push(due);
            }
        }
        assert!(moments.len() <= 3, "{} wake-ups", moments.len());
    }

    #[test]
    fn what_is_due_in_years_fires_early_and_can_be_armed_again() {
        let (mut timers, mut now, mut fired) = (Timers::default(), 0, 0);
        let due = 60 * MONTHS_5;
        timers.arm(7, Tick::test(due), Tick::test(now));
        while let Some(next) = timers.next() {
            assert!(next.nanos() > now, "it does not spin");
            now = next.nanos();
            assert_eq!(timers.pop(next), Some(7));
            fired += 1;
            if now < due {
                timers.arm(7, Tick::test(due), next);
            }
        }
        assert!(now >= due && fired <= 40, "{fired} times until {now}");
    }
}
