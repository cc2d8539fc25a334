//! What one source is told at once.
//!
//! Owns how small sends wait for their turn. Knows nothing of links.

use crate::command::Order;
use bytes::Bytes;

/// Orders to one source, in their order; no more than `ReactorConfig::commands_per_turn`.
///
/// Small sends behind the first are copied here as they are taken from the mailbox. By source they are read in another
/// order than that in which their senders allocated them; with thousands on their way each would wait for memory.
pub(crate) struct Batch {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

enum Entry {
    /// So many of the bytes are to be sent.
    Small(usize),
    Order(Order),
}

/// One of a batch.
pub(crate) enum Item<'a> {
    /// Queue these bytes.
    Send(&'a [u8]),
    Order(Order),
}

/// Up to so many bytes are copied.
const SMALL: usize = 256;

impl Batch {
    /// The first is as it came: most batches have no other.
    pub(crate) fn of(first: Order) -> Batch {
        Batch { entries: vec![Entry::Order(first)], bytes: Vec::new() }
    }

    pub(crate) fn push(&mut self, order: Order) {
        match order {
            Order::Send(bytes) if bytes.len() <= SMALL => {
                self.bytes.extend_from_slice(&bytes);
                self.entries.push(Entry::Small(bytes.len()));
            }
            order => self.entries.push(Entry::Order(order)),
        }
    }

    pub(crate) fn for_each(self, mut tell: impl FnMut(Item<'_>)) {
        let mut rest = self.bytes.as_slice();
        for entry in self.entries {
            match entry {
                Entry::Small(len) => {
                    let (bytes, behind) = rest.split_at(len);
                    rest = behind;
                    tell(Item::Send(bytes));
                }
                Entry::Order(order) => tell(Item::Order(order)),
            }
        }
    }
}

impl Item<'_> {
    pub(crate) fn into_order(self) -> Order {
        match self {
            Item::Send(bytes) => Order::Send(Bytes::copy_from_slice(bytes)),
            Item::Order(order) => order,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_ones_and_others_come_back_in_their_order() {
        let lengths = [0, 1, SMALL, SMALL + 1, 0, 3];
        let mut batch = Batch::of(Order::Pause);
        for (n, length) in lengths.into_iter().enumerate() {
            batch.push(Order::Send(vec![n as u8; length].into()));
            batch.push(Order::Pause);
        }
        let (mut sent, mut pauses) = (Vec::new(), -1);
        batch.for_each(|told| match told.into_order() {
            Order::Send(bytes) => sent.push(bytes),
            Order::Pause => {
                pauses += 1;
                assert_eq!(usize::try_from(pauses), Ok(sent.len()));
            }
            _ => panic!("neither was pushed"),
        });
        let expected = lengths.into_iter().enumerate().map(|(n, length)| vec![n as u8; length]);
        assert!(sent.into_iter().eq(expected));
    }
}
