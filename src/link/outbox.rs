//! Bytes that wait for the kernel to take them.
//!
//! Owns the queue. Knows nothing of sockets, limits, TLS or handlers. An empty outbox owns no memory.
//!
//! 1. `len` is the sum of the unsent bytes of all segments.
//! 2. `sent` is less than the first segment's length, and 0 when there is no segment.
//! 3. No segment is empty.

use crate::clock::Tick;
use crate::link::buffers::{CHUNK_BYTES, Pool, QUEUE_CHUNK};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Output of one link that waits.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Option<Box<Queue>>,
}

/// The memory of an outbox that is not empty.
#[derive(Default)]
pub(crate) struct Queue {
    segments: VecDeque<Segment>,
    len: usize,
    sent: usize,
    moved: Option<Tick>,
}

enum Segment {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Segment::Copied(chunk) => chunk,
            Segment::Shared(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("len", &self.len).field("segments", &self.segments.len()).finish()
    }
}

impl Queue {
    /// Whether it is worth keeping: a burst's long ring is not.
    pub(crate) fn is_small(&self) -> bool {
        self.segments.capacity() <= 64
    }
}

impl Outbox {
    /// Slices that one write gathers.
    pub(crate) const SLICES_MAX: usize = 64;

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Since when nothing was taken, `None` while nothing waits.
    pub(crate) fn stalled(&self) -> Option<Tick> {
        self.queue.as_ref().and_then(|queue| queue.moved)
    }

    /// Queues a copy of `bytes`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], now: Tick, pool: &mut Pool) {
        if bytes.is_empty() {
            return;
        }
        let queue = self.open(now, pool);
        queue.len += bytes.len();
        if let Some(Segment::Copied(chunk)) = queue.segments.back_mut() {
            let (fits, rest) = bytes.split_at(bytes.len().min(chunk.capacity() - chunk.len()));
            chunk.extend_from_slice(fits);
            bytes = rest;
        }
        while !bytes.is_empty() {
            // A chunk that is full will be followed by more: take the larger size then, and only then.
            let follows = matches!(queue.segments.back(), Some(Segment::Copied(_)));
            let mut chunk =
                pool.chunk(if follows { CHUNK_BYTES[QUEUE_CHUNK] } else { bytes.len().min(CHUNK_BYTES[QUEUE_CHUNK]) });
            let (fits, rest) = bytes.split_at(bytes.len().min(chunk.capacity()));
            chunk.extend_from_slice(fits);
            queue.segments.push_back(Segment::Copied(chunk));
            bytes = rest;
        }
    }

    /// Queues `bytes`, without a copy unless they are few: a segment and what it keeps alive would weigh more.
    pub(crate) fn push_shared(&mut self, bytes: Bytes, now: Tick, pool: &mut Pool) {
        if bytes.len() < CHUNK_BYTES[0] {
            return self.push(&bytes, now, pool);
        }
        let queue = self.open(now, pool);
        queue.len += bytes.len();
        queue.segments.push_back(Segment::Shared(bytes));
    }

    fn open(&mut self, now: Tick, pool: &mut Pool) -> &mut Queue {
        self.queue.get_or_insert_with(|| {
            let mut queue = pool.queue();
            queue.moved = Some(now);
            queue
        })
    }

    /// Fills `slices` with the first waiting bytes and says how many it filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; Self::SLICES_MAX]) -> usize {
        let Some(queue) = &self.queue else { return 0 };
        let mut skip = queue.sent;
        let mut filled = 0;
        for (slice, segment) in slices.iter_mut().zip(&queue.segments) {
            *slice = IoSlice::new(&segment.bytes()[skip..]);
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Forgets the first `taken` bytes, which the kernel has now; gives memory back.
    pub(crate) fn advance(&mut self, taken: usize, now: Tick, pool: &mut Pool) {
        let Some(queue) = &mut self.queue else {
            assert_eq!(taken, 0, "outbox 1: more was sent than waited");
            return;
        };
        assert!(taken <= queue.len, "outbox 1: more was sent than waited");
        queue.len -= taken;
        queue.sent += taken;
        if taken > 0 {
            queue.moved = Some(now);
        }
        while let Some(first) = queue.segments.front() {
            if queue.sent < first.bytes().len() {
                break;
            }
            queue.sent -= first.bytes().len();
            if let Some(Segment::Copied(chunk)) = queue.segments.pop_front() {
                pool.take_back(chunk);
            }
        }
        if queue.len == 0 {
            debug_assert!(queue.segments.is_empty() && queue.sent == 0, "outbox 2");
            self.queue.take().into_iter().for_each(|queue| pool.take_queue_back(queue));
        }
    }

    /// Drops all that waits and says how many bytes it was.
    pub(crate) fn clear(&mut self, pool: &mut Pool) -> usize {
        let Some(mut queue) = self.queue.take() else { return 0 };
        let lost = std::mem::take(&mut queue.len);
        queue.sent = 0;
        for segment in queue.segments.drain(..) {
            if let Segment::Copied(chunk) = segment {
                pool.take_back(chunk);
            }
        }
        pool.take_queue_back(queue);
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Copy(Vec<u8>),
        Share(Vec<u8>),
        Send(usize),
        Clear,
    }

    fn op() -> impl Strategy<Value = Op> {
        let bytes = prop_oneof![
            8 => prop::collection::vec(any::<u8>(), 0..200),
            1 => prop::collection::vec(any::<u8>(), 4_000..5_000),
            1 => (any::<u8>(), 60_000usize..140_000).prop_map(|(b, n)| vec![b; n]),
        ];
        prop_oneof![
            4 => bytes.clone().prop_map(Op::Copy),
            2 => bytes.prop_map(Op::Share),
            4 => (0usize..100_000).prop_map(Op::Send),
            1 => Just(Op::Clear),
        ]
    }

    fn shown(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); Outbox::SLICES_MAX];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_queue_of_bytes(ops in prop::collection::vec(op(), 0..40)) {
            let (mut outbox, mut pool, mut model) = (Outbox::default(), Pool::default(), Vec::new());
            let now = Tick::test(1);
            for op in ops {
                match op {
                    Op::Copy(bytes) => { outbox.push(&bytes, now, &mut pool); model.extend(bytes); }
                    Op::Share(bytes) => { outbox.push_shared(bytes.clone().into(), now, &mut pool); model.extend(bytes); }
                    Op::Send(n) => {
                        let n = n.min(model.len());
                        outbox.advance(n, now, &mut pool);
                        model.drain(..n);
                    }
                    Op::Clear => { prop_assert_eq!(outbox.clear(&mut pool), model.len()); model.clear(); }
                }
                let shown = shown(&outbox);
                prop_assert_eq!(outbox.len(), model.len());
                prop_assert_eq!(outbox.is_empty(), model.is_empty());
                prop_assert_eq!(outbox.stalled().is_some(), !model.is_empty());
                prop_assert!(!shown.is_empty() || model.is_empty());
                prop_assert_eq!(&shown[..], &model[..shown.len()]);
            }
        }
    }

    #[test]
    fn shared_bytes_are_not_copied() {
        let (mut outbox, mut pool) = (Outbox::default(), Pool::default());
        let bytes = Bytes::from(vec![7u8; 5_000]);
        outbox.push_shared(bytes.clone(), Tick::test(1), &mut pool);
        let mut slices = [IoSlice::new(&[]); Outbox::SLICES_MAX];
        outbox.slices(&mut slices);
        assert_eq!(slices[0].as_ptr(), bytes.as_ptr());
    }
}
