//! The sources of a reactor, by slot and sequence.
//!
//! Owns the slab, the sequences, and the queue of sources that want to be driven again. Knows nothing of polls.
//!
//! 1. A slot's sequence grows with each occupant, also across shrinks of the slab: a stale id finds nothing (A4).
//! 2. A source is in `again` at most once.

use crate::command::Observed;
use crate::context::{MovedBefore, ReactorState};
use crate::counters::Counters;
use crate::dial::Trial;
use crate::error::Error;
use crate::handler::Maker;
use crate::id::{ConnId, SourceId};
use crate::link::Link;
use crate::post::Post;
use crate::source::Source;
use crate::source::connection::Connection;
use crate::source::endpoint::Endpoint;
use slab::Slab;

/// A vector that grows past a page goes straight to a size that malloc maps apart (128 KiB), so that its memory can be
/// given back whole; what is not touched costs nothing. Small steps would leave holes behind for good.
pub(super) fn room_for<T>(len: usize, capacity: usize) -> usize {
    if len <= capacity || len * size_of::<T>() <= 4096 {
        return 0;
    }
    len.max(2 * capacity).max(128 * 1024 / size_of::<T>() + 1)
}

pub(crate) struct Table {
    reactor: u32,
    /// Each slot's source, `None` while it is driven, and before it is there.
    slots: Slab<Option<Source>>,
    /// The sequence of the occupant, or the next one, of each slot ever used.
    sequences: Vec<u32>,
    /// At least every sequence of slots that were forgotten.
    floor: u32,
    again: Vec<SourceId>,
    /// A bit for each slot whose occupant is in `again`; as long as it ever had to be.
    roused: Vec<u64>,
    /// A bit for each of them that has had its share of this turn.
    spent: Vec<u64>,
    /// Removals since the slab was last tidied.
    removals: usize,
}

/// Slots that are worth giving back.
const SHRINK_SLOTS: usize = 1024;

impl Table {
    pub(crate) fn new(reactor: u32) -> Table {
        Table {
            reactor,
            slots: Slab::new(),
            sequences: Vec::new(),
            floor: 0,
            again: Vec::new(),
            roused: Vec::new(),
            spent: Vec::new(),
            removals: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn has(&self, id: SourceId) -> bool {
        self.sequences.get(id.slot as usize) == Some(&id.sequence) && id.reactor == self.reactor
    }

    fn slot(&self, id: SourceId) -> Option<&Option<Source>> {
        if self.has(id) { self.slots.get(id.slot as usize) } else { None }
    }

    fn slot_mut(&mut self, id: SourceId) -> Option<&mut Option<Source>> {
        if self.has(id) { self.slots.get_mut(id.slot as usize) } else { None }
    }

    /// Takes a source out, to be driven by an event. Of an endpoint only the box is taken, and returned.
    #[inline]
    pub(crate) fn take_ready(&mut self, id: SourceId, into: &mut Option<Source>) -> Option<Box<Endpoint>> {
        let slot = self.slot_mut(id)?;
        if let Some(Source::Endpoint(endpoint)) = slot {
            return endpoint.take();
        }
        std::mem::swap(slot, into);
        None
    }

    /// Puts an endpoint where it was taken from.
    pub(crate) fn put_back_endpoint(&mut self, id: SourceId, endpoint: Box<Endpoint>) {
        let Some(Source::Endpoint(place)) = self.get_mut(id) else {
            unreachable!("table 1: a source that is driven keeps its slot")
        };
        *place = Some(endpoint);
    }

    /// Takes a source out, to be driven. It is large: it goes right to where it is wanted, which is empty.
    #[inline]
    pub(crate) fn take(&mut self, id: SourceId, into: &mut Option<Source>) {
        debug_assert!(into.is_none(), "table 1: a source that is driven keeps its slot");
        if let Some(slot) = self.slot_mut(id) {
            std::mem::swap(slot, into);
        }
    }

    /// Puts a source into its reserved place.
    pub(crate) fn put(&mut self, id: SourceId, source: Source) {
        self.put_back(id, &mut Some(source));
    }

    /// Puts a source where it was taken from.
    #[inline]
    pub(crate) fn put_back(&mut self, id: SourceId, source: &mut Option<Source>) {
        debug_assert!(self.is_reserved(id), "table 1: a source that is driven keeps its slot");
        let slot = self.slots.get_mut(id.slot as usize).expect("table 1: a slot has one occupant");
        std::mem::swap(slot, source);
    }

    /// A source that is not being driven.
    pub(crate) fn get(&self, id: SourceId) -> Option<&Source> {
        self.slot(id)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: SourceId) -> Option<&mut Source> {
        self.slot_mut(id)?.as_mut()
    }

    /// Whether a place waits for its source.
    pub(crate) fn is_reserved(&self, id: SourceId) -> bool {
        self.slot(id).is_some_and(Option::is_none)
    }

    /// Frees a slot for the next occupant. Gives memory back when most slots are free, and says then how many are kept.
    pub(crate) fn remove(&mut self, id: SourceId) -> Option<usize> {
        self.slot(id)?;
        self.slots.remove(id.slot as usize);
        // Its id may stay in the queue, where it finds nothing; the next occupant's is put there, too.
        if let Some(word) = self.roused.get_mut(id.slot as usize / 64) {
            *word &= !(1 << (id.slot % 64));
        }
        self.sequences[id.slot as usize] = id.sequence.wrapping_add(1) & SourceId::sequence_mask();
        self.removals += 1;
        let (used, held) = (self.slots.len(), self.slots.capacity());
        (held > SHRINK_SLOTS && used < held / 4 && self.removals > used / 16).then(|| self.tidy())
    }

    /// Gives back the free slots behind the last one that is used; the cost is spread over the removals before.
    fn tidy(&mut self) -> usize {
        self.removals = 0;
        self.slots.shrink_to_fit();
        let kept = self.slots.iter().next_back().map_or(0, |(slot, _)| slot + 1);
        if kept < self.sequences.len() {
            let forgotten = self.sequences.drain(kept..).max().unwrap_or(0);
            self.floor = self.floor.max(forgotten);
            self.sequences.shrink_to_fit();
        }
        kept
    }

    /// What counts as a connection, and is told of a drain: connections that have begun, and endpoints.
    pub(crate) fn open_sources(&self) -> Vec<SourceId> {
        let is_open = |id: &SourceId| match self.get(*id) {
            Some(Source::Connection(connection)) => connection.has_begun(),
            Some(Source::Endpoint(_)) => true,
            Some(Source::Acceptor(_) | Source::Watch(_)) | None => false,
        };
        self.ids().into_iter().filter(is_open).collect()
    }

    /// Ids of all occupied slots, reserved ones too.
    pub(crate) fn ids(&self) -> Vec<SourceId> {
        self.slots.iter().map(|(slot, _)| self.id_of(slot as u32)).collect()
    }

    /// The id of a slot that is occupied.
    fn id_of(&self, slot: u32) -> SourceId {
        SourceId { reactor: self.reactor, slot, sequence: self.sequences[slot as usize] }
    }

    /// Everybody has a share of the turn that begins.
    pub(crate) fn begin_turn(&mut self) {
        self.again.iter().for_each(|id| self.spent[id.slot as usize / 64] &= !(1 << (id.slot % 64)));
    }

    /// Whether a source has had its share of this turn.
    pub(crate) fn is_spent(&self, id: SourceId) -> bool {
        self.spent.get(id.slot as usize / 64).is_some_and(|word| word & (1 << (id.slot % 64)) != 0)
    }

    /// Drives a source again in the next turn, even if somebody wakes it in this one.
    pub(crate) fn wake_next_turn(&mut self, id: SourceId) {
        self.wake(id);
        if let Some(word) = self.spent.get_mut(id.slot as usize / 64) {
            *word |= 1 << (id.slot % 64);
        }
    }

    pub(crate) fn wants_again(&self) -> bool {
        !self.again.is_empty()
    }

    /// Takes the queue of those that want to be driven again into `queue`, which is empty.
    pub(crate) fn take_again(&mut self, queue: &mut Vec<SourceId>) {
        std::mem::swap(&mut self.again, queue);
        queue.iter().for_each(|id| self.roused[id.slot as usize / 64] &= !(1 << (id.slot % 64)));
    }
}

/// What callbacks use of it.
impl Table {
    /// A place for something that a local command will bring.
    pub(crate) fn reserve(&mut self) -> Result<SourceId, Error> {
        if self.slots.len() >= SourceId::SLOTS_MAX {
            return Err(Error::Connections { limit: SourceId::SLOTS_MAX });
        }
        let (used, held) = (self.slots.len(), self.slots.capacity());
        self.slots.reserve_exact(room_for::<Option<Source>>(used + 1, held).saturating_sub(used));
        let entry = self.slots.vacant_entry();
        let slot = entry.key();
        if slot >= self.sequences.len() {
            let (used, held) = (self.sequences.len(), self.sequences.capacity());
            self.sequences.reserve_exact(room_for::<u32>(slot + 1, held).saturating_sub(used));
            self.sequences.resize(slot + 1, self.floor);
        }
        entry.insert(None);
        Ok(self.id_of(slot as u32))
    }

    /// Fills a reserved place with a connection that was accepted.
    pub(crate) fn accept(&mut self, id: SourceId, acceptor: u32, observed: Observed, link: Link) {
        self.put(id, Source::Connection(Connection::accepted(link, acceptor, observed)));
    }

    /// Fills a reserved place with an attempt of a connect.
    pub(crate) fn attempt(&mut self, id: SourceId, link: Link, trial: Box<Trial>) {
        self.put(id, Source::Connection(Connection::attempt(link, trial)));
    }

    /// The link of a connection that is not being driven.
    pub(crate) fn link(&mut self, id: SourceId) -> Option<&mut Link> {
        Some(self.connection(id)?.link())
    }

    /// A connection that is not being driven. What was accepted in this very turn is there for nobody before it begins.
    pub(crate) fn connection(&mut self, id: SourceId) -> Option<&mut Connection> {
        match self.get_mut(id)? {
            Source::Connection(connection) => connection.has_begun().then_some(connection),
            Source::Acceptor(_) | Source::Endpoint(_) | Source::Watch(_) => None,
        }
    }

    /// The post of an endpoint that is not being driven.
    pub(crate) fn post(&mut self, id: SourceId) -> Option<&mut Post> {
        match self.get_mut(id)? {
            Source::Endpoint(endpoint) => Some(endpoint.as_mut()?.post()),
            Source::Acceptor(_) | Source::Connection(_) | Source::Watch(_) => None,
        }
    }

    /// Drives a source soon: in this turn if those that are to be driven again have not had theirs yet.
    pub(crate) fn wake(&mut self, id: SourceId) {
        if self.slot(id).is_none() {
            return;
        }
        let (word, bit) = (id.slot as usize / 64, 1 << (id.slot % 64));
        if word >= self.roused.len() {
            self.roused.resize(word + 1, 0);
            self.spent.resize(word + 1, 0);
        }
        if self.roused[word] & bit == 0 {
            self.roused[word] |= bit;
            self.again.push(id);
        }
    }

    /// The maker of the listener in a slot, unless it is being driven.
    pub(crate) fn maker(&mut self, slot: u32) -> Option<&mut Option<Box<dyn Maker>>> {
        match self.slots.get_mut(slot as usize)?.as_mut()? {
            Source::Acceptor(acceptor) => Some(acceptor.maker()),
            Source::Connection(_) | Source::Endpoint(_) | Source::Watch(_) => None,
        }
    }

    /// The id of whatever is in a slot.
    pub(crate) fn id_at(&self, slot: u32) -> Option<SourceId> {
        self.slots.contains(slot as usize).then(|| self.id_of(slot))
    }

    /// Adds what those count that still live, but for the one that is being driven.
    pub(crate) fn count_living(&self, moved_before: &MovedBefore, counters: &mut Counters) {
        for (n, slot) in &self.slots {
            match slot {
                Some(Source::Connection(connection)) => {
                    let id = self.id_of(n as u32);
                    ReactorState::count_moved(moved_before, id, connection.link_ref(), counters);
                }
                Some(Source::Endpoint(Some(endpoint))) => counters.datagrams.add(&endpoint.stats()),
                Some(Source::Acceptor(_) | Source::Endpoint(None) | Source::Watch(_)) | None => {}
            }
        }
    }

    /// Whether a connection's TLS handshake is not done.
    pub(crate) fn is_shaking_hands(&self, id: SourceId) -> bool {
        match self.get(id) {
            Some(Source::Connection(connection)) => connection.is_shaking_hands(),
            Some(Source::Acceptor(_) | Source::Endpoint(_) | Source::Watch(_)) | None => false,
        }
    }

    /// Connections whose TLS handshake is not done.
    pub(crate) fn shaking_hands(&self) -> Vec<SourceId> {
        self.ids().into_iter().filter(|id| self.is_shaking_hands(*id)).collect()
    }

    /// Every connection but the one that is being driven.
    pub(crate) fn connections(&self) -> Vec<ConnId> {
        let is_connection =
            |id: &SourceId| matches!(self.get(*id), Some(Source::Connection(connection)) if connection.has_begun());
        self.ids().into_iter().filter(is_connection).map(ConnId).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_id_ever_comes_back(ops in prop::collection::vec((any::<bool>(), 0usize..2_000, any::<usize>()), 0..40)) {
            let mut table = Table::new(1);
            let (mut seen, mut live) = (HashSet::new(), Vec::<SourceId>::new());
            for (adds, count, pick) in ops {
                for n in 0..count {
                    if adds {
                        let id = table.reserve().expect("room");
                        prop_assert!(seen.insert((id.slot, id.sequence)), "{} came back", id);
                        live.push(id);
                    } else if !live.is_empty() {
                        // Sometimes from the end, so that the slab has something to give back.
                        let last = live.len() - 1;
                        let id = live.swap_remove(if pick % 2 == 0 { last } else { (pick / 2 + n * 7) % (last + 1) });
                        table.wake(id);
                        table.remove(id);
                        prop_assert!(table.slot(id).is_none());
                    }
                }
                prop_assert_eq!(table.len(), live.len());
                prop_assert!(live.iter().all(|id| table.id_at(id.slot) == Some(*id)));
            }
        }
    }

    #[test]
    fn a_slot_is_queued_once_and_its_next_occupant_is_not() {
        let mut table = Table::new(1);
        let others: Vec<_> = (0..67).map(|_| table.reserve().expect("room")).collect();
        let first = table.reserve().expect("room");
        assert!(others.iter().all(|other| other.slot != first.slot));
        table.wake(first);
        table.wake(first);
        table.remove(first);
        let second = table.reserve().expect("room");
        assert_eq!(second.slot, first.slot);
        let mut queue = Vec::new();
        table.take_again(&mut queue);
        assert_eq!(queue, [first]);
        table.wake(second);
        table.remove(second);
        let third = table.reserve().expect("room");
        table.wake(third);
        queue.clear();
        table.take_again(&mut queue);
        assert_eq!(queue, [second, third], "it does not wait because the one before it was queued");
    }

    #[test]
    fn beyond_a_page_a_vector_grows_to_what_malloc_maps_apart_and_then_doubles() {
        let rooms = [(8, 8), (512, 100), (513, 512), (20_000, 16_385), (50_000, 16_385)];
        let grown = rooms.map(|(len, capacity)| room_for::<u64>(len, capacity));
        assert_eq!(grown, [0, 0, 16_385, 32_770, 50_000]);
    }

    #[test]
    fn memory_is_given_back_when_most_are_gone() {
        let mut table = Table::new(1);
        let ids: Vec<_> = (0..20_000).map(|_| table.reserve().expect("room")).collect();
        for id in &ids {
            table.remove(*id);
        }
        assert!(table.slots.capacity() <= SHRINK_SLOTS, "{}", table.slots.capacity());
        let again = table.reserve().expect("room");
        assert!(ids.iter().all(|id| *id != again));
    }
}
