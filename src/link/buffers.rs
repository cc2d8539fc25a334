//! Buffers that all links of a reactor share: what is read into, what is gathered, and chunks for what must be kept.
//!
//! Owns the allocations and how many of them are kept for the next link. Knows nothing of what is in them.

use crate::config::READ_BYTES;
use crate::link::inbox::Rest;
use crate::link::outbox::Queue;

/// Small writes of one drive are gathered up to this many bytes and leave in one system call.
pub(crate) const GATHER_BYTES: usize = 64 * 1024;

/// Sizes of chunks, in bytes: few waiting bytes shall not hold much memory, many shall not take many pieces.
pub(crate) const CHUNK_BYTES: [usize; 3] = [4 * 1024, 64 * 1024, 256 * 1024];

/// Chunks of each size that are kept for reuse: 1.5 MiB a reactor, and more only where larger frames are common.
const KEPT: [usize; 3] = [16, 7, 4];

/// A larger chunk is not kept.
const CHUNK_KEPT_BYTES: usize = 1024 * 1024;

/// Queues and rests that are kept for reuse.
const HEADS_KEPT: usize = 64;

/// What streams are read into.
pub(crate) struct Scratch {
    memory: Box<[u8]>,
    start: usize,
}

impl Scratch {
    /// The kernel copies to the start of a page almost twice as fast as to 16 bytes behind it, where malloc would put a
    /// large buffer (measured: 256 KiB at a time, 1.5 against 0.83 of a bare loop's processor time).
    const ALIGNMENT: usize = 4096;

    pub(crate) fn new() -> Scratch {
        let memory = vec![0; READ_BYTES + Self::ALIGNMENT].into_boxed_slice();
        let start = memory.as_ptr().align_offset(Self::ALIGNMENT).min(Self::ALIGNMENT);
        Scratch { memory, start }
    }

    /// The whole of it; what was read before is overwritten.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..READ_BYTES]
    }
}

/// What the links of one reactor share.
#[derive(Default)]
pub(crate) struct Buffers {
    /// Small writes of the link that is being driven; empty between drives.
    pub(crate) gather: Vec<u8>,
    pub(crate) pool: Pool,
}

/// Heads are boxed where they are used, and are kept so.
type Spare<T> = Vec<Box<T>>;

/// Empty buffers that wait for the next link.
#[derive(Default)]
pub(crate) struct Pool {
    chunks: [Vec<Vec<u8>>; 3],
    queues: Spare<Queue>,
    rests: Spare<Rest>,
}

impl Pool {
    /// An empty chunk of the smallest size that holds `bytes`; beyond the largest size, one that holds just them.
    pub(crate) fn chunk(&mut self, bytes: usize) -> Vec<u8> {
        let class = CHUNK_BYTES.iter().position(|size| bytes <= *size).unwrap_or(CHUNK_BYTES.len() - 1);
        let kept = &mut self.chunks[class];
        match kept.iter().rposition(|chunk| chunk.capacity() >= bytes) {
            Some(found) => kept.swap_remove(found),
            None => Vec::with_capacity(bytes.max(CHUNK_BYTES[class])),
        }
    }

    /// Takes an emptied chunk back.
    pub(crate) fn take_back(&mut self, mut chunk: Vec<u8>) {
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

    /// Takes an emptied input rest back, its buffer apart.
    pub(crate) fn take_rest_back(&mut self, mut rest: Box<Rest>) {
        self.take_back(rest.take_buffer());
        if self.rests.len() < HEADS_KEPT {
            self.rests.push(rest);
        }
    }
}
