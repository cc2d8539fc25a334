//! Buffers that all links of a reactor share: what is read into, what is gathered, and chunks for what must be kept.
//!
//! Owns the allocations and how many of them are kept for the next link. Knows nothing of what is in them.

use crate::config::READ_BYTES;
use crate::link::cold::Contents;
use crate::link::inbox::Rest;
use crate::link::outbox::Queue;
use crate::net::system::pipe::Pipe;

/// Small writes of one drive are gathered up to this many bytes and leave in one system call.
pub(crate) const GATHER_BYTES: usize = 64 * 1024;

/// Sizes of chunks, in bytes: few waiting bytes shall not hold much memory, many shall not take many pieces.
///
/// The second holds an unfinished TLS record.
pub(crate) const CHUNK_BYTES: [usize; 4] = [4 * 1024, 20 * 1024, 64 * 1024, 256 * 1024];

/// Which of them queued output is put into, when a chunk of it is full.
pub(crate) const QUEUE_CHUNK: usize = 2;

/// Chunks of each size that are kept for reuse: 1.7 MiB a reactor, and at most 6.6 where larger frames are common.
const KEPT: [usize; 4] = [16, 8, 7, 4];

/// A larger chunk is not kept.
const CHUNK_KEPT_BYTES: usize = 1024 * 1024;

/// Queues, rests and contents of links that are kept for reuse, of each.
const HEADS_KEPT: usize = 64;

/// The most of an unfinished record or handshake message that one link keeps: rustls takes handshake messages up to 64
/// KiB, and a peer may cut them into many records.
pub(crate) const KEPT_BYTES_MAX: usize = 68 * 1024;

/// What streams are read into, and records are opened into.
pub(crate) struct Scratch {
    memory: Box<[u8]>,
    start: usize,
    plain: Vec<u8>,
}

impl Scratch {
    /// The kernel copies to the start of a page almost twice as fast as to 16 bytes behind it, where malloc would put a
    /// large buffer (measured: 256 KiB at a time, 1.5 against 0.83 of a bare loop's processor time).
    const ALIGNMENT: usize = 4096;

    pub(crate) fn new() -> Scratch {
        let memory = vec![0; KEPT_BYTES_MAX + READ_BYTES + Self::ALIGNMENT].into_boxed_slice();
        let aligned = memory[KEPT_BYTES_MAX..].as_ptr().align_offset(Self::ALIGNMENT).min(Self::ALIGNMENT);
        Scratch { memory, start: KEPT_BYTES_MAX + aligned, plain: Vec::new() }
    }

    /// What is read into; what was read before is overwritten.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..READ_BYTES]
    }

    /// Puts `kept` in front of the first `read` bytes, and lends both in one piece, with the place for what they open to,
    /// which is empty.
    pub(crate) fn wire(&mut self, kept: &[u8], read: usize) -> (&mut [u8], &mut Vec<u8>) {
        debug_assert!(kept.len() <= KEPT_BYTES_MAX || read == 0, "records 1: nothing is read while records wait");
        let from = self.start - kept.len().min(KEPT_BYTES_MAX);
        let end = from + kept.len();
        self.memory[from..end].copy_from_slice(kept);
        self.plain.clear();
        // Nothing opens to more bytes than it had: without this it would grow step by step.
        self.plain.reserve(kept.len() + read);
        (&mut self.memory[from..end + read], &mut self.plain)
    }

    /// What was opened last.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain
    }
}

/// Sealed bytes on their way out, of one link at a time.
///
/// Its memory stays initialized, since rustls writes into slices.
#[derive(Default)]
pub(crate) struct Sealed {
    memory: Vec<u8>,
    len: usize,
}

impl Sealed {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Drops what was sealed since there were `bytes`.
    #[cfg(feature = "tls")]
    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.len = self.len.min(bytes);
    }

    /// At least `bytes` of memory behind what is sealed.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.memory.len() < self.len + bytes {
            self.memory.resize(self.len + bytes, 0);
        }
        &mut self.memory[self.len..]
    }

    /// The first `bytes` of the room are sealed now.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.len += bytes;
        debug_assert!(self.len <= self.memory.len(), "more was sealed than there was room for");
    }

    /// Appends a record that is whole.
    pub(crate) fn push(&mut self, record: &[u8]) {
        self.room(record.len())[..record.len()].copy_from_slice(record);
        self.written(record.len());
    }
}

/// What the links of one reactor share.
#[derive(Default)]
pub(crate) struct Buffers {
    /// Small writes of the link that is being driven; empty between drives.
    pub(crate) gather: Vec<u8>,
    /// Records of the link that is being driven; empty whenever user code runs.
    pub(crate) sealed: Sealed,
    /// What of a file is read to be sealed; without memory until there is one.
    pub(crate) sheet: Vec<u8>,
    /// Of the link that is being driven.
    pub(super) files: FileShare,
    pub(crate) pool: Pool,
}

impl Buffers {
    /// The next link may send its share of files.
    pub(crate) fn begin_share(&mut self) {
        self.files = FileShare::Left;
    }
}

/// Whether a drive has sent what it may of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FileShare {
    #[default]
    Left,
    Sent,
}

/// Heads are boxed where they are used, and are kept so.
type Spare<T> = Vec<Box<T>>;

/// Empty buffers that wait for the next link, and how much memory those hold that are in use.
///
/// 1. `held` is the sum of the capacities of the chunks that were taken and not given back, and of the bytes that are shared
///    with their writers: a link that comes or goes with some is counted by [`Pool::count_in`] and [`Pool::count_out`].
pub(crate) struct Pool {
    chunks: [Vec<Vec<u8>>; CHUNK_BYTES.len()],
    queues: Spare<Queue>,
    rests: Spare<Rest>,
    contents: Spare<Contents>,
    /// One is enough: it is empty again when the link that has filled it was driven.
    pipe: Option<Pipe>,
    held: usize,
    /// Above it readers are held back.
    mark: usize,
    /// Above it there is more than there may be.
    limit: usize,
}

impl Default for Pool {
    fn default() -> Pool {
        let (queues, rests, contents) = (Spare::new(), Spare::new(), Spare::new());
        let (held, mark, limit) = (0, usize::MAX, usize::MAX);
        Pool { chunks: Default::default(), queues, rests, contents, pipe: None, held, mark, limit }
    }
}

impl Pool {
    /// An empty chunk of the smallest size that holds `bytes`; beyond the largest size, one that holds just them.
    pub(crate) fn chunk(&mut self, bytes: usize) -> Vec<u8> {
        let class = CHUNK_BYTES.iter().position(|size| bytes <= *size).unwrap_or(CHUNK_BYTES.len() - 1);
        let kept = &mut self.chunks[class];
        let chunk = match kept.iter().rposition(|chunk| chunk.capacity() >= bytes) {
            Some(found) => kept.swap_remove(found),
            None => Vec::with_capacity(bytes.max(CHUNK_BYTES[class])),
        };
        self.count_in(chunk.capacity());
        chunk
    }

    /// So many bytes more are held.
    pub(crate) fn count_in(&mut self, bytes: usize) {
        self.held += bytes;
    }

    /// So many bytes less are. A link that came from threads that wait may give back what was never counted here.
    pub(crate) fn count_out(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Bytes that links hold.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Sets how many they may hold before the pool is full, and how many at most.
    pub(crate) fn set_bounds(&mut self, mark: usize, limit: usize) {
        (self.mark, self.limit) = (mark, limit);
    }

    /// Whether they hold so much that readers are held back.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.held > self.mark
    }

    /// Whether they hold more than they may.
    pub(crate) fn is_over(&self) -> bool {
        self.held > self.limit
    }

    /// Takes an emptied chunk back.
    pub(crate) fn take_back(&mut self, mut chunk: Vec<u8>) {
        self.count_out(chunk.capacity());
        chunk.clear();
        let Some(class) = CHUNK_BYTES.iter().rposition(|size| chunk.capacity() >= *size) else { return };
        if self.chunks[class].len() < KEPT[class] && chunk.capacity() <= CHUNK_KEPT_BYTES {
            self.chunks[class].push(chunk);
        }
    }

    /// An empty output queue.
    pub(crate) fn queue(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_default()
    }

    /// Takes an emptied output queue back.
    pub(crate) fn take_queue_back(&mut self, queue: Box<Queue>) {
        if self.queues.len() < HEADS_KEPT && queue.is_small() {
            self.queues.push(queue);
        }
    }

    /// An empty input rest.
    pub(crate) fn rest(&mut self) -> Box<Rest> {
        self.rests.pop().unwrap_or_default()
    }

    /// What a link at rest has none of.
    pub(super) fn contents(&mut self) -> Box<Contents> {
        self.contents.pop().unwrap_or_default()
    }

    /// Takes back what is as in a link at rest.
    pub(super) fn take_contents_back(&mut self, contents: Box<Contents>) {
        if self.contents.len() < HEADS_KEPT {
            self.contents.push(contents);
        }
    }

    /// An empty pipe; `None` if there can be none now.
    pub(crate) fn pipe(&mut self) -> Option<Pipe> {
        self.pipe.take().or_else(|| Pipe::new().ok())
    }

    /// Takes an emptied pipe back; one that could not be emptied is closed.
    pub(crate) fn take_pipe_back(&mut self, pipe: Pipe) {
        if pipe.len() == 0 {
            self.pipe = Some(pipe);
        }
    }

    /// Takes an emptied input rest back, its buffer apart.
    pub(crate) fn take_rest_back(&mut self, mut rest: Box<Rest>) {
        self.take_back(rest.take_buffer());
        if self.rests.len() < HEADS_KEPT {
            self.rests.push(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_held_back_above_the_mark_and_those_with_input_above_the_limit() {
        let mut pool = Pool::default();
        pool.set_bounds(100, 200);
        let mut at = |held: usize| {
            pool.count_out(pool.held());
            pool.count_in(held);
            (pool.is_full(), pool.is_over())
        };
        assert_eq!([100, 101, 200, 201].map(&mut at), [(false, false), (true, false), (true, false), (true, true)]);
    }

    #[test]
    fn what_links_give_back_is_used_again_and_no_more_is_kept_than_the_pool_may_have() {
        let mut pool = Pool::default();
        let many = HEADS_KEPT + 1;
        let contents: Vec<_> = (0..many).map(|_| pool.contents()).collect();
        let queues: Vec<_> = (0..many).map(|_| pool.queue()).collect();
        let rests: Vec<_> = (0..many).map(|_| pool.rest()).collect();
        contents.into_iter().for_each(|contents| pool.take_contents_back(contents));
        queues.into_iter().for_each(|queue| pool.take_queue_back(queue));
        rests.into_iter().for_each(|rest| pool.take_rest_back(rest));
        assert_eq!((pool.contents.len(), pool.queues.len(), pool.rests.len()), (HEADS_KEPT, HEADS_KEPT, HEADS_KEPT));
        drop((pool.contents(), pool.queue(), pool.rest()));
        assert_eq!(
            (pool.contents.len(), pool.queues.len(), pool.rests.len()),
            (HEADS_KEPT - 1, HEADS_KEPT - 1, HEADS_KEPT - 1)
        );
        for (class, bytes) in CHUNK_BYTES.into_iter().enumerate() {
            let chunks: Vec<_> = (0..KEPT[class] + 1).map(|_| pool.chunk(bytes)).collect();
            assert_eq!(pool.held(), (KEPT[class] + 1) * bytes);
            chunks.into_iter().for_each(|chunk| pool.take_back(chunk));
            assert_eq!((pool.chunks[class].len(), pool.held()), (KEPT[class], 0));
            drop(pool.chunk(bytes));
            assert_eq!(pool.chunks[class].len(), KEPT[class] - 1);
            pool.count_out(bytes);
        }
        // What is too small for a class, or too large to be worth keeping.
        let before: Vec<_> = pool.chunks.iter().map(Vec::len).collect();
        pool.take_back(Vec::with_capacity(CHUNK_BYTES[0] - 1));
        pool.take_back(Vec::with_capacity(CHUNK_KEPT_BYTES + 1));
        assert_eq!(pool.chunks.iter().map(Vec::len).collect::<Vec<_>>(), before);
    }
}
