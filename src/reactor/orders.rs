//! What other threads order, put together by source: what is sent to one connection in a batch leaves at once.
//!
//! Owns the grouping. Orders to one source keep their order.

use crate::command::Order;
use crate::id::SourceId;
use std::collections::HashMap;

/// Orders that were taken from the mailbox and not carried out yet.
#[derive(Default)]
pub(super) struct Orders {
    groups: Vec<(SourceId, Vec<Order>)>,
    places: HashMap<SourceId, usize>,
}

impl Orders {
    pub(super) fn push(&mut self, id: SourceId, order: Order) {
        if let Some((last, orders)) = self.groups.last_mut() {
            if *last == id {
                return orders.push(order);
            }
        }
        match self.places.get(&id) {
            Some(place) => self.groups[*place].1.push(order),
            None => {
                self.places.insert(id, self.groups.len());
                self.groups.push((id, vec![order]));
            }
        }
    }

    /// All of them, by source, in the order in which the sources were first named.
    pub(super) fn take(&mut self) -> Vec<(SourceId, Vec<Order>)> {
        self.places.clear();
        std::mem::take(&mut self.groups)
    }

    /// Takes back the room that [`Orders::take`] gave, emptied.
    pub(super) fn put_back(&mut self, groups: Vec<(SourceId, Vec<Order>)>) {
        if self.groups.is_empty() {
            self.groups = groups;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}
