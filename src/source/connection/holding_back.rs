//! What is read of a connection while all queues of its reactor are full.
//!
//! Owns the rules. The pool knows whether they are full, and the reactor drives those again that were not read.

use crate::context::Context;
use crate::id::SourceId;
use crate::source::connection::Connection;

/// Bytes that are read of one connection in a turn while all queues are full: small requests are still served.
const FULL_READ_BYTES: usize = 4 * 1024;

impl Connection {
    /// How many of `budget` bytes may be read now; `None` if what is read would add to what waits.
    #[inline]
    pub(super) fn allowed(&self, budget: usize, cx: &Context<'_>) -> Option<usize> {
        if cx.state.buffers.pool.is_full() { self.allowed_of_little(budget, cx) } else { Some(budget) }
    }

    /// The same, while the queues are full.
    fn allowed_of_little(&self, budget: usize, cx: &Context<'_>) -> Option<usize> {
        if self.link.phase().discards_input() {
            return Some(budget);
        }
        // A message that has begun may go on as long as there is any room: only as a whole does it free what it holds.
        let waits = self.link.has_output() || (self.link.has_input() && cx.state.buffers.pool.is_over());
        (self.link.has_hangup() || !waits).then_some(budget.min(FULL_READ_BYTES))
    }

    /// Whether the kernel may hold input that is not read for want of room.
    pub(super) fn is_unread(&self, cx: &Context<'_>) -> bool {
        self.link.may_hold_input() && self.allowed(1, cx).is_none()
    }

    /// Whether all that is left to do is to read it, which waits until there is room: it is driven again then.
    pub(super) fn is_held_back(&self, id: SourceId, cx: &mut Context<'_>) -> bool {
        let is_held_back = self.allowed(1, cx).is_none() && !self.link.wants_again_unread();
        if is_held_back {
            cx.state.counters.reads_held_back += 1;
            cx.state.unread.insert(id);
        }
        is_held_back
    }
}
