//! Datagrams that wait for the kernel to take them.
//!
//! Owns the queue and its order. Knows nothing of sockets or time, but when each came.
//!
//! 1. Entries stand in the order in which they came, and name bytes that are theirs alone.
//! 2. `waiting` is the sum of the bytes of entries that are not gone; `gone` and `held` count those in these states.
//! 3. All entries before `head` are gone.

use crate::clock::Tick;
use crate::net::datagram::peer::DatagramPeer;

/// What waits of one endpoint. It has memory only while something waits.
#[derive(Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    waiting: usize,
    gone: usize,
    held: usize,
    head: usize,
    /// Bytes of memory that it was last counted for.
    counted: usize,
}

/// One datagram.
pub(crate) struct Entry {
    /// `None`: to the peer that the socket is connected to.
    pub(crate) to: Option<DatagramPeer>,
    start: usize,
    len: usize,
    pub(crate) since: Tick,
    pub(crate) state: State,
    /// The one before it in a chain of `Found`, while there is one.
    before: usize,
}

/// How far a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not offered yet.
    Fresh,
    /// Offered once: the socket told of an older trouble instead.
    Tried,
    /// Its receiver is full, and is tried again later.
    Held,
    /// Sent, or given up.
    Gone,
}

/// The first datagram for each receiver that is full, by a digest of that; those that share a place are chained.
pub(crate) struct Found([usize; PLACES]);

const PLACES: usize = 512;

const NOWHERE: usize = usize::MAX;

impl Default for Found {
    fn default() -> Found {
        Found([NOWHERE; PLACES])
    }
}

impl Found {
    fn place(to: &Option<DatagramPeer>) -> usize {
        to.as_ref().map_or(0, DatagramPeer::digest) % PLACES
    }
}

impl Entry {
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// A queue that grew beyond this gives its memory back, in bytes.
const KEPT_BYTES: usize = 256 * 1024;

/// And in entries.
const KEPT_ENTRIES: usize = 1024;

impl Outgoing {
    /// Datagrams that wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether just one datagram waits, and may leave from any of our addresses.
    pub(crate) fn is_one_from_anywhere(&self) -> bool {
        let via = |entry: &Entry| entry.to.as_ref().and_then(DatagramPeer::via);
        self.len() == 1 && self.entries.get(self.head).is_some_and(|entry| via(entry).is_none())
    }

    /// Brings the sum of what all queues hold up to date with what this one holds.
    pub(super) fn count(&mut self, held_by_all: &mut usize) {
        let holds = self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>();
        *held_by_all = *held_by_all - self.counted + holds;
        self.counted = holds;
    }

    /// Takes this one out of the sum.
    pub(super) fn count_out(&mut self, held_by_all: &mut usize) {
        *held_by_all -= std::mem::take(&mut self.counted);
    }

    /// Bytes that wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting
    }

    /// Datagrams and bytes that wait for one peer. Costs a look at each datagram.
    pub(crate) fn waiting_to(&self, peer: &DatagramPeer) -> (usize, usize) {
        let theirs = self.entries.iter().filter(|entry| entry.state != State::Gone && entry.to.as_ref() == Some(peer));
        theirs.fold((0, 0), |(datagrams, bytes), entry| (datagrams + 1, bytes + entry.len))
    }

    /// Whether something waits that may be offered.
    pub(crate) fn has_ready(&self) -> bool {
        self.ready() > 0
    }

    /// How many wait for nothing but a call.
    pub(crate) fn ready(&self) -> usize {
        self.len() - self.held
    }

    /// Whether any receiver is known to be full.
    pub(crate) fn has_held(&self) -> bool {
        self.held > 0
    }

    /// Whether a datagram waits for the receiver of the one at `index` that is full, by what was found before.
    pub(crate) fn is_behind_held(&self, index: usize, found: &Found) -> bool {
        let to = &self.entries[index].to;
        let mut at = if self.held == 0 { NOWHERE } else { found.0[Found::place(to)] };
        while at != NOWHERE {
            if self.entries[at].to == *to {
                return true;
            }
            at = self.entries[at].before;
        }
        false
    }

    /// Notes in `found` that the receiver of the one at `index` is full; it is the first one for it.
    pub(crate) fn find(&mut self, index: usize, found: &mut Found) {
        let entry = &mut self.entries[index];
        let last = &mut found.0[Found::place(&entry.to)];
        entry.before = std::mem::replace(last, index);
    }

    /// When the oldest one came.
    pub(crate) fn oldest(&self) -> Option<Tick> {
        self.entries.get(self.head).map(|entry| entry.since)
    }

    pub(crate) fn push(&mut self, to: Option<DatagramPeer>, bytes: &[u8], now: Tick) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.waiting += bytes.len();
        self.entries.push(Entry { to, start, len: bytes.len(), since: now, state: State::Fresh, before: NOWHERE });
    }

    /// The first `count` entries from the first that waits on, and the index of that; some behind it may be gone.
    pub(crate) fn window(&self, count: usize) -> (usize, &[Entry]) {
        (self.head, &self.entries[self.head..self.head.saturating_add(count).min(self.entries.len())])
    }

    pub(crate) fn entry(&self, index: usize) -> &Entry {
        &self.entries[index]
    }

    pub(crate) fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start..][..entry.len]
    }

    /// One is sent, or given up.
    pub(crate) fn mark_done(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        debug_assert!(entry.state != State::Gone, "outgoing 2: a datagram goes once");
        self.held -= usize::from(entry.state == State::Held);
        entry.state = State::Gone;
        self.waiting -= entry.len;
        self.gone += 1;
        while self.entries.get(self.head).is_some_and(|entry| entry.state == State::Gone) {
            self.head += 1;
        }
    }

    /// One was offered, and the socket told of something else.
    pub(crate) fn note_tried(&mut self, index: usize) {
        self.entries[index].state = State::Tried;
    }

    /// The last one was.
    pub(crate) fn note_last_tried(&mut self) {
        if let Some(last) = self.entries.last_mut() {
            last.state = State::Tried;
        }
    }

    /// Its receiver is full.
    pub(crate) fn hold(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        self.held += usize::from(entry.state != State::Held);
        entry.state = State::Held;
    }

    /// Full receivers may be tried again.
    pub(crate) fn release(&mut self) {
        self.held = 0;
        for entry in &mut self.entries[self.head..] {
            if entry.state == State::Held {
                entry.state = State::Fresh;
            }
        }
    }

    /// Whom one was for.
    pub(crate) fn to(&self, index: usize) -> Option<DatagramPeer> {
        self.entries[index].to.clone()
    }

    /// Forgets what is gone, if that is more than what waits, in datagrams or (beyond a little) in bytes; entries that wait keep their order, but not their index.
    pub(crate) fn compact(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
            self.entries.clear();
            (self.gone, self.head) = (0, 0);
        }
        let gone_bytes = self.bytes.len() - self.waiting;
        if self.gone <= self.len() && gone_bytes <= self.waiting + KEPT_BYTES {
            return;
        }
        let (mut end, bytes) = (0, &mut self.bytes);
        self.entries.retain_mut(|entry| {
            if entry.state == State::Gone {
                return false;
            }
            bytes.copy_within(entry.start..entry.start + entry.len, end);
            entry.start = end;
            end += entry.len;
            true
        });
        self.bytes.truncate(end);
        (self.gone, self.head) = (0, 0);
    }

    /// Whether its memory is worth keeping for the next endpoint.
    pub(crate) fn is_small(&self) -> bool {
        self.bytes.capacity() <= KEPT_BYTES && self.entries.capacity() <= KEPT_ENTRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    /// What overtook a datagram that waits for its full receiver would break the order that Unix sockets promise.
    #[test]
    fn nothing_overtakes_what_waits_for_the_same_receiver_and_nobody_else_is_held_up() {
        let (mut outgoing, mut found) = (Outgoing::default(), Found::default());
        for port in [1, 2, 1, 2] {
            outgoing.push(Some(SocketAddr::from(([127, 0, 0, 1], port)).into()), b"x", Tick::test(0));
        }
        let behind = |outgoing: &Outgoing, found: &Found| [2, 3].map(|index| outgoing.is_behind_held(index, found));
        assert_eq!(behind(&outgoing, &found), [false, false]);
        outgoing.hold(0);
        outgoing.find(0, &mut found);
        assert_eq!(behind(&outgoing, &found), [true, false]);
        outgoing.hold(1);
        outgoing.find(1, &mut found);
        assert_eq!(behind(&outgoing, &found), [true, true]);
        outgoing.release();
        assert_eq!(behind(&outgoing, &found), [false, false], "they may have room again");
    }

    #[test]
    fn the_memory_of_a_queue_is_counted_once_however_often_it_is_looked_at() {
        let (mut outgoing, mut held_by_all) = (Outgoing::default(), 1_000);
        for bytes in [100, 10_000] {
            outgoing.push(None, &vec![0; bytes], Tick::test(0));
            for _ in 0..2 {
                outgoing.count(&mut held_by_all);
                let holds = outgoing.bytes.capacity() + outgoing.entries.capacity() * size_of::<Entry>();
                assert_eq!(held_by_all, 1_000 + holds);
            }
        }
        outgoing.count_out(&mut held_by_all);
        assert_eq!(held_by_all, 1_000);
    }

    proptest! {
        #[test]
        fn what_waits_keeps_its_order_and_its_bytes(
            ops in prop::collection::vec((0usize..300, any::<u8>(), 0u8..4), 1..120)
        ) {
            let (mut outgoing, mut model) = (Outgoing::default(), Vec::<Vec<u8>>::new());
            let waiting = |outgoing: &Outgoing| {
                let (first, entries) = outgoing.window(usize::MAX);
                let waits = entries.iter().enumerate().filter(|(_, entry)| entry.state != State::Gone);
                waits.map(|(index, _)| first + index).collect::<Vec<_>>()
            };
            for (len, fill, op) in ops {
                match op {
                    0 if !model.is_empty() => {
                        outgoing.mark_done(waiting(&outgoing)[len % model.len()]);
                        model.remove(len % model.len());
                        outgoing.compact();
                    }
                    1 if !model.is_empty() => outgoing.hold(waiting(&outgoing)[len % model.len()]),
                    2 if fill < 100 => outgoing.release(),
                    _ => {
                        outgoing.push(None, &vec![fill; len], Tick::test(0));
                        model.push(vec![fill; len]);
                    }
                }
                let indices = waiting(&outgoing);
                let waits: Vec<_> =
                    indices.iter().map(|index| outgoing.bytes(outgoing.entry(*index)).to_vec()).collect();
                let held = indices.iter().filter(|index| outgoing.entry(**index).state == State::Held).count();
                prop_assert_eq!((outgoing.has_held(), outgoing.has_ready()), (held > 0, held < model.len()));
                prop_assert_eq!(&waits, &model);
                prop_assert_eq!(outgoing.waiting_bytes(), model.iter().map(Vec::len).sum::<usize>());
                prop_assert_eq!(outgoing.len(), model.len());
            }
        }
    }
}
