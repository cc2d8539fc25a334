//! A link at rest: open, and nothing that waits in either direction.
//!
//! Owns what that is, and how it reads and writes as long as it is so. The state is the link's.

use crate::clock::{Fine, Tick};
use crate::config::READ_BYTES;
use crate::link::buffers::{Buffers, Scratch};
use crate::link::phase::Phase;
use crate::link::quota::Quota;
use crate::link::{Answering, Input, Link};
use crate::net::stream::ShortRead;

impl Link {
    /// Whether nothing waits and nothing is under way, so that an event of input alone means one read.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        let limits = &self.limits;
        let reads_whole = limits.bytes_per_turn >= READ_BYTES && limits.inbox_bytes_max >= READ_BYTES;
        self.is_quiet() && reads_whole
    }

    /// What of it a callback or a read may have changed.
    #[inline(always)]
    fn is_quiet(&self) -> bool {
        (self.cold.is_at_rest() || self.cold.is_sealed_at_rest())
            && matches!(self.phase, Phase::Open)
            && self.input == Input::Dry
    }

    /// Reads once, of a link at rest that the kernel has told of input; `None` if none came. Returns how much was read, and what
    /// of it is for the handler.
    #[inline]
    pub(crate) fn receive_at_rest<'s>(
        &mut self,
        quota: &mut Quota,
        scratch: &'s mut Scratch,
        buffers: &mut Buffers,
        now: Tick,
    ) -> Option<(usize, &'s [u8])> {
        self.input = Input::Ready;
        if !self.cold.is_at_rest() {
            return self.receive_opened(READ_BYTES, quota, scratch, buffers, now);
        }
        let buffer = scratch.bytes();
        match self.stream.read(buffer) {
            Ok((read, short)) if read > 0 => {
                self.bytes_in += read as u64;
                self.active = now.into();
                if read < buffer.len() && short == ShortRead::IsDry {
                    self.input = Input::Dry;
                }
                Some((read, &buffer[..read]))
            }
            result => {
                self.received_nothing(result, buffer.len(), now);
                None
            }
        }
    }

    /// Sends what was gathered if nothing else is left to be done. Whether it is at rest again, and no deadline earlier:
    /// `timer` is what the handler's was before. That a byte moved was noted when it was read.
    #[inline]
    pub(crate) fn comes_to_rest(&mut self, timer: Fine, buffers: &mut Buffers, now: Tick) -> bool {
        if !self.is_quiet() || self.timer != timer {
            return false;
        }
        self.answering = Answering::No;
        if buffers.gather.is_empty() {
            return true;
        }
        if !self.cold.is_at_rest() {
            self.seal(&[], buffers, now);
            return self.is_quiet();
        }
        let result = self.stream.write(&buffers.gather);
        self.sent_gathered(result, buffers, now)
    }
}
