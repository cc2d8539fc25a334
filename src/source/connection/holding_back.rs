//! What is read of a connection while all queues of its reactor are full.
//!
//! Owns the rules; when they are full the pool says, and when all are driven again the reactor.

use crate::source::connection::Connection;
use crate::turn::Turn;

/// Bytes that are read of one connection in a turn while all queues are full: who has nothing waiting is served, in small
/// pieces.
const FULL_READ_BYTES: usize = 4 * 1024;

impl Connection {
    /// How many of `budget` bytes may be read now; `None` if what is read would add to what waits.
    #[inline]
    pub(super) fn allowed(&self, budget: usize, turn: &Turn<'_>) -> Option<usize> {
        if !turn.desk.buffers.pool.is_full() {
            return Some(budget);
        }
        (!self.link.is_backed_up()).then_some(budget.min(FULL_READ_BYTES))
    }

    /// Whether all that is left to do is to read it, which waits until there is room: it is driven again then.
    pub(super) fn is_held_back(&self, turn: &mut Turn<'_>) -> bool {
        let is_held_back =
            turn.desk.buffers.pool.is_full() && self.link.is_backed_up() && !self.link.wants_again_unread();
        turn.desk.counters.reads_held_back += u64::from(is_held_back);
        is_held_back
    }
}
