//! Bytes that wait for the kernel to take them.
//!
//! Owns the queue. Knows nothing of sockets, limits, TLS or handlers. An empty outbox owns no memory.
//!
//! What waits is bytes that are ready for the kernel, and behind them file ranges, each with the bytes that follow it.
//! Those are as they were written: with TLS they are sealed when the file before them is, in their order.
//!
//! 1. `len` is the sum of the unsent bytes of all segments that are ready.
//! 2. `sent` is less than the first ready segment's length, and 0 when there is none.
//! 3. No segment is empty.
//! 4. `behind_len` is the sum of the bytes behind files, and [`RANGE_WEIGHT`] for each file.

use crate::clock::Tick;
use crate::link::buffers::{CHUNK_BYTES, Pool, QUEUE_CHUNK};
use crate::net::file::FileRange;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// What a file range weighs in the queue, however long it is: it holds a descriptor.
pub(crate) const RANGE_WEIGHT: usize = 4 * 1024;

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
    begun: Option<Tick>,
    behind: VecDeque<Behind>,
    behind_len: usize,
}

/// A file range, and what follows it.
struct Behind {
    file: FileRange,
    then: VecDeque<Segment>,
}

pub(crate) enum Segment {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Segment {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Segment::Copied(chunk) => chunk,
            Segment::Shared(bytes) => bytes,
        }
    }

    /// Gives its memory back.
    pub(crate) fn take_back(self, pool: &mut Pool) {
        match self {
            Segment::Copied(chunk) => pool.take_back(chunk),
            Segment::Shared(bytes) => pool.count_out(bytes.len()),
        }
    }

    /// Bytes of memory that it keeps.
    fn held(&self) -> usize {
        match self {
            Segment::Copied(chunk) => chunk.capacity(),
            Segment::Shared(bytes) => bytes.len(),
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut queue = f.debug_struct("Queue");
        queue
            .field("len", &self.len)
            .field("segments", &self.segments.len())
            .field("files", &self.behind.len())
            .finish()
    }
}

impl Queue {
    /// Whether it is worth keeping: a burst's long ring is not.
    pub(crate) fn is_small(&self) -> bool {
        self.segments.capacity() <= 64 && self.behind.capacity() <= 64
    }

    fn is_empty(&self) -> bool {
        self.len == 0 && self.behind.is_empty()
    }

    /// Where what is written now goes, and the sum that counts it.
    fn end(&mut self) -> (&mut VecDeque<Segment>, &mut usize) {
        match self.behind.back_mut() {
            None => (&mut self.segments, &mut self.len),
            Some(last) => (&mut last.then, &mut self.behind_len),
        }
    }
}

/// Appends a copy of `bytes`.
fn append(segments: &mut VecDeque<Segment>, mut bytes: &[u8], pool: &mut Pool) {
    if let Some(Segment::Copied(chunk)) = segments.back_mut() {
        let (fits, rest) = bytes.split_at(bytes.len().min(chunk.capacity() - chunk.len()));
        chunk.extend_from_slice(fits);
        bytes = rest;
    }
    while !bytes.is_empty() {
        // A chunk that is full will be followed by more: take the larger size then, and only then.
        let follows = matches!(segments.back(), Some(Segment::Copied(_)));
        let size = if follows { CHUNK_BYTES[QUEUE_CHUNK] } else { bytes.len().min(CHUNK_BYTES[QUEUE_CHUNK]) };
        let mut chunk = pool.chunk(size);
        let (fits, rest) = bytes.split_at(bytes.len().min(chunk.capacity()));
        chunk.extend_from_slice(fits);
        segments.push_back(Segment::Copied(chunk));
        bytes = rest;
    }
}

impl Outbox {
    /// One that nothing waits in.
    pub(crate) const EMPTY: Outbox = Outbox { queue: None };

    /// Slices that one write gathers.
    pub(crate) const SLICES_MAX: usize = 64;

    /// What waits weighs so much: its bytes in memory, and [`RANGE_WEIGHT`] for each file range.
    pub(crate) fn len(&self) -> usize {
        self.queue.as_ref().map_or(0, |queue| queue.len + queue.behind_len)
    }

    /// Bytes that wait, those of files among them.
    pub(crate) fn unsent(&self) -> u64 {
        let Some(queue) = &self.queue else { return 0 };
        let files: u64 = queue.behind.iter().map(|behind| behind.file.left()).sum();
        (queue.len + queue.behind_len - queue.behind.len() * RANGE_WEIGHT) as u64 + files
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_none()
    }

    /// Whether bytes wait that can go to the kernel as they are.
    pub(crate) fn has_ready(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.len > 0)
    }

    /// Whether file ranges wait.
    pub(crate) fn has_files(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.behind.is_empty())
    }

    /// Since when nothing was taken, `None` while nothing waits.
    pub(crate) fn stalled(&self) -> Option<Tick> {
        self.queue.as_ref().and_then(|queue| queue.moved)
    }

    /// What waits moved last at that moment.
    pub(crate) fn set_moved(&mut self, moved: Tick) {
        if let Some(queue) = &mut self.queue {
            queue.moved = Some(moved);
        }
    }

    /// Since when something has waited without a break, `None` while nothing waits.
    pub(crate) fn begun(&self) -> Option<Tick> {
        self.queue.as_ref().and_then(|queue| queue.begun)
    }

    /// Bytes of memory that what waits keeps. Costs a look at each piece.
    pub(crate) fn held(&self) -> usize {
        let Some(queue) = &self.queue else { return 0 };
        let behind = queue.behind.iter().flat_map(|behind| &behind.then);
        queue.segments.iter().chain(behind).map(Segment::held).sum()
    }

    /// Queues a copy of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8], now: Tick, pool: &mut Pool) {
        if !bytes.is_empty() {
            let (segments, len) = self.open(now, pool).end();
            *len += bytes.len();
            append(segments, bytes, pool);
        }
    }

    /// Queues `bytes`, without a copy unless they are few: a segment and what it keeps alive would weigh more.
    pub(crate) fn push_shared(&mut self, bytes: Bytes, now: Tick, pool: &mut Pool) {
        if bytes.len() < CHUNK_BYTES[0] {
            return self.push(&bytes, now, pool);
        }
        let (segments, len) = self.open(now, pool).end();
        *len += bytes.len();
        pool.count_in(bytes.len());
        segments.push_back(Segment::Shared(bytes));
    }

    /// Queues a copy of `bytes` in front of all files: with TLS the order of sealing is the order of sending.
    pub(crate) fn push_ready(&mut self, bytes: &[u8], now: Tick, pool: &mut Pool) {
        if !bytes.is_empty() {
            let queue = self.open(now, pool);
            queue.len += bytes.len();
            append(&mut queue.segments, bytes, pool);
        }
    }

    /// The same for a whole segment, without a copy.
    pub(crate) fn push_ready_segment(&mut self, segment: Segment, now: Tick, pool: &mut Pool) {
        let queue = self.open(now, pool);
        queue.len += segment.bytes().len();
        queue.segments.push_back(segment);
    }

    /// Queues a file range that is not empty.
    pub(crate) fn push_file(&mut self, file: FileRange, now: Tick, pool: &mut Pool) {
        let queue = self.open(now, pool);
        queue.behind_len += RANGE_WEIGHT;
        queue.behind.push_back(Behind { file, then: VecDeque::new() });
    }

    /// The first file range that waits.
    pub(crate) fn file(&mut self) -> Option<&mut FileRange> {
        self.queue.as_mut()?.behind.front_mut().map(|behind| &mut behind.file)
    }

    /// Some of the first file is on its way.
    pub(crate) fn file_moved(&mut self, now: Tick) {
        if let Some(queue) = &mut self.queue {
            queue.moved = Some(now);
        }
    }

    /// Takes the first file range out, with what follows it up to the next.
    pub(crate) fn pop_file(&mut self, pool: &mut Pool) -> Option<(FileRange, VecDeque<Segment>)> {
        let queue = self.queue.as_mut()?;
        let Behind { file, then } = queue.behind.pop_front()?;
        queue.behind_len -= RANGE_WEIGHT + then.iter().map(|segment| segment.bytes().len()).sum::<usize>();
        self.give_back_if_empty(pool);
        Some((file, then))
    }

    fn give_back_if_empty(&mut self, pool: &mut Pool) {
        if let Some(queue) = self.queue.take_if(|queue| queue.is_empty()) {
            debug_assert!(queue.segments.is_empty() && queue.sent == 0 && queue.behind_len == 0, "outbox 2, 4");
            pool.take_queue_back(queue);
        }
    }

    fn open(&mut self, now: Tick, pool: &mut Pool) -> &mut Queue {
        self.queue.get_or_insert_with(|| {
            let mut queue = pool.queue();
            (queue.moved, queue.begun) = (Some(now), Some(now));
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
            if let Some(segment) = queue.segments.pop_front() {
                segment.take_back(pool);
            }
        }
        self.give_back_if_empty(pool);
    }

    /// Drops all that waits and says how many bytes it was.
    pub(crate) fn clear(&mut self, pool: &mut Pool) -> u64 {
        let lost = self.unsent();
        let Some(mut queue) = self.queue.take() else { return 0 };
        (queue.len, queue.sent, queue.behind_len) = (0, 0, 0);
        let behind = queue.behind.drain(..).flat_map(|behind| behind.then);
        for segment in queue.segments.drain(..).chain(behind) {
            segment.take_back(pool);
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
                    Op::Clear => { prop_assert_eq!(outbox.clear(&mut pool), model.len() as u64); model.clear(); }
                }
                let shown = shown(&outbox);
                prop_assert_eq!(outbox.len(), model.len());
                prop_assert_eq!(outbox.held(), pool.held());
                prop_assert_eq!(outbox.is_empty(), model.is_empty());
                prop_assert_eq!(outbox.stalled().is_some(), !model.is_empty());
                prop_assert!(!shown.is_empty() || model.is_empty());
                prop_assert_eq!(&shown[..], &model[..shown.len()]);
            }
        }
    }

    /// One burst of small messages would hold its ring for as long as the reactor lives.
    #[test]
    fn a_long_queue_is_not_kept_and_a_short_one_is() {
        for (pieces, capacities) in [(4, 4..=64), (1_000, 0..=0)] {
            let (mut outbox, mut pool, bytes) = (Outbox::default(), Pool::default(), Bytes::from(vec![7u8; 5_000]));
            for _ in 0..pieces {
                outbox.push_shared(bytes.clone(), Tick::test(1), &mut pool);
            }
            outbox.advance(pieces * bytes.len(), Tick::test(1), &mut pool);
            let next = pool.queue();
            assert!(next.is_empty() && capacities.contains(&next.segments.capacity()), "{pieces} pieces");
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
