//! What is read, opened and sealed for the one connection that is driven, shared by all.
//!
//! 1. The kernel reads to the start of a page, where it copies nearly twice as fast; what was left of earlier bytes
//!    stands in front of it.

use crate::rig::Outcome;
use crate::rig::session::{self, PARTIAL_BYTES_MAX, Sealed, Side};

pub(crate) const READ_BYTES: usize = 256 * 1024;
const PAGE_BYTES: usize = 4096;

pub(crate) struct Scratch {
    wire: Vec<u8>,
    /// Where in `wire` bytes are read to.
    start: usize,
    pub(crate) plain: Vec<u8>,
    pub(crate) sealed: Sealed,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        let wire = vec![0; PARTIAL_BYTES_MAX + PAGE_BYTES + READ_BYTES];
        let start = PARTIAL_BYTES_MAX + wire[PARTIAL_BYTES_MAX..].as_ptr().align_offset(PAGE_BYTES);
        Scratch { wire, start, plain: Vec::new(), sealed: Sealed::new() }
    }

    /// Where to read to.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.wire[self.start..self.start + READ_BYTES]
    }

    /// Opens `count` bytes that were read, behind the part that was left of earlier ones; plaintext and answers are in
    /// `plain` and `sealed` then. Says whether the peer has closed.
    pub(crate) fn open(&mut self, side: &mut impl Side, part: &mut Vec<u8>, count: usize) -> Outcome<bool> {
        let begin = self.start.checked_sub(part.len()).ok_or("a part of a record is larger than any record")?;
        let end = self.start + count;
        self.wire[begin..self.start].copy_from_slice(part);
        self.plain.clear();
        self.sealed.clear();
        let opened = session::open(side, &mut self.wire[begin..end], &mut self.plain, &mut self.sealed)?;
        let rest = &self.wire[begin + opened.eaten..end];
        // Almost always nothing, and then it owns no memory.
        *part = rest.to_vec();
        Ok(opened.peer_closed)
    }
}
