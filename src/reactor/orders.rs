//! What other threads order, put together by source: what is sent to one connection in a batch leaves at once.
//!
//! Owns the grouping. Orders to one source keep their order.

use crate::command::Order;
use crate::command::batch::Batch;
use crate::id::SourceId;

/// Orders that were taken from the mailbox and not carried out yet.
#[derive(Default)]
pub(super) struct Orders {
    groups: Vec<(SourceId, Batch)>,
    /// By slot: where its group is.
    places: Vec<Place>,
    /// Numbers batches, so that places of earlier ones are known.
    batch: u32,
}

#[derive(Clone, Copy, Default)]
struct Place {
    batch: u32,
    group: u32,
}

impl Orders {
    pub(super) fn push(&mut self, id: SourceId, order: Order) {
        let slot = id.slot as usize;
        if self.places.len() <= slot {
            self.places.resize(slot + 1, Place::default());
        }
        let place = &mut self.places[slot];
        if place.batch == self.batch {
            if let Some((_, batch)) = self.groups.get_mut(place.group as usize).filter(|(of, _)| *of == id) {
                return batch.push(order);
            }
        }
        *place = Place { batch: self.batch, group: self.groups.len() as u32 };
        self.groups.push((id, Batch::of(order)));
    }

    /// All of them, by source, in the order in which the sources were first named.
    pub(super) fn take(&mut self) -> Vec<(SourceId, Batch)> {
        self.batch = self.batch.wrapping_add(1);
        std::mem::take(&mut self.groups)
    }

    /// Takes back the room that [`Orders::take`] gave, emptied.
    pub(super) fn put_back(&mut self, groups: Vec<(SourceId, Batch)>) {
        if self.groups.is_empty() {
            self.groups = groups;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_to_one_source_stay_in_order_and_a_slots_next_occupant_is_another() {
        let id = |slot, sequence| SourceId { reactor: 0, slot, sequence };
        let mut orders = Orders::default();
        for round in 0..3 {
            for of in [id(7, 1), id(2, 1), id(7, 1), id(7, 2), id(2, 1), id(7, 1)] {
                orders.push(of, Order::Send(vec![round; of.sequence as usize].into()));
            }
            let groups = orders.take();
            let count = groups.into_iter().map(|(id, batch)| {
                let mut orders = 0;
                batch.for_each(|_| orders += 1);
                (id.slot, id.sequence, orders)
            });
            // A stale id between two of its own splits them, and nothing is overtaken within either.
            assert_eq!(count.collect::<Vec<_>>(), [(7, 1, 2), (2, 1, 2), (7, 2, 1), (7, 1, 1)]);
        }
    }
}
