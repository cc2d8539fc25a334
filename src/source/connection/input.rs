//! How a connection's input comes to its handler.
//!
//! Owns the order of shown bytes: what waits before what came, and the peer's end behind both.

use crate::config::Limits;
use crate::error::Reason;
use crate::handler::ConnState;
use crate::id::SourceId;
use crate::link::buffers::Scratch;
use crate::link::phase::Signal;
use crate::source::connection::{Connection, Origin};
use crate::turn::Turn;

/// What may still be read of a connection in one turn.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    pub(super) reads: usize,
}

impl Budget {
    pub(super) fn of(limits: &Limits) -> Budget {
        Budget { bytes: limits.bytes_per_turn, reads: limits.reads_per_turn }
    }

    /// What is left of it after one read.
    pub(super) fn after_read(self, bytes: usize) -> Budget {
        Budget { bytes: self.bytes.saturating_sub(bytes), reads: self.reads.saturating_sub(1) }
    }
}

impl Connection {
    /// Shows what waits, reads within the budget, and tells the peer's end once all before it was shown.
    pub(super) fn take_input(&mut self, id: SourceId, budget: Budget, scratch: &mut Scratch, turn: &mut Turn<'_>) {
        if self.link.has_unread() {
            if self.link.may_show_rest() && !self.is_leaving(turn) {
                self.show_rest(id, turn);
            }
            self.check_inbox(turn);
        }
        let Budget { mut bytes, reads } = budget;
        for _ in 0..reads {
            if !self.link.may_read() || bytes == 0 || self.is_leaving(turn) {
                break;
            }
            let Some(allowed) = self.allowed(bytes, turn) else { break };
            let desk = &mut *turn.desk;
            let piece = self.link.piece(allowed, scratch);
            let Some((read, came)) = self.link.receive_opened(piece, scratch, &mut desk.buffers, desk.now) else {
                break;
            };
            bytes = allowed - read;
            if !came.is_empty() && self.link.phase().delivers_input() {
                self.deliver(id, came, turn);
            }
        }
        if self.link.end_is_due() && !self.is_leaving(turn) {
            if self.link.is_truncated() {
                self.link.signal(Signal::Close(Reason::Truncated), turn.desk.now);
            } else {
                self.tell_end(id, turn);
            }
        }
    }

    /// Shows bytes that were just read, behind those that wait, and keeps what is left.
    pub(super) fn deliver(&mut self, id: SourceId, bytes: &[u8], turn: &mut Turn<'_>) {
        let wanted = self.link.may_deliver() && !self.is_leaving(turn);
        if wanted && !self.link.has_unread() && bytes.len() >= self.link.need() {
            let first = self.show_once(id, bytes, turn);
            if first != Some(bytes.len()) {
                self.keep(id, bytes, first, turn);
            }
            return;
        }
        self.link.keep_input(bytes, &mut turn.desk.buffers.pool);
        if wanted && self.link.may_show_rest() {
            self.show_rest(id, turn);
        }
        self.check_inbox(turn);
    }

    /// Keeps what is left of bytes that are being shown for the first time.
    #[inline(never)]
    pub(super) fn keep(&mut self, id: SourceId, bytes: &[u8], first: Option<usize>, turn: &mut Turn<'_>) {
        let used = self.show_on(id, bytes, first, turn);
        // What is left before an upgrade is the beginning of the handshake.
        if used < bytes.len() && (self.link.phase().delivers_input() || self.is_upgrading()) {
            self.link.keep_input(&bytes[used..], &mut turn.desk.buffers.pool);
        }
        self.check_inbox(turn);
    }

    /// A handler that waits for more than it may leave waits for ever.
    fn check_inbox(&mut self, turn: &mut Turn<'_>) {
        if self.link.is_stuck() && !self.is_leaving(turn) {
            self.link.signal(Signal::Close(Reason::InboxLimit), turn.desk.now);
        }
    }

    /// Shows what waits in the inbox.
    fn show_rest(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        if let Some(rest) = self.link.take_rest() {
            let used = self.show(id, rest.bytes(), turn);
            self.link.put_rest_back(rest, used, &mut turn.desk.buffers.pool);
        }
    }

    /// Calls `on_data` until all is used, nothing is used, or input is no longer wanted; returns how much was used.
    fn show(&mut self, id: SourceId, bytes: &[u8], turn: &mut Turn<'_>) -> usize {
        let first = self.show_once(id, bytes, turn);
        self.show_on(id, bytes, first, turn)
    }

    /// Calls `on_data`; `None` if it panicked.
    #[inline(always)]
    pub(super) fn show_once(&mut self, id: SourceId, bytes: &[u8], turn: &mut Turn<'_>) -> Option<usize> {
        self.link.about_to_show();
        self.call(id, turn, |handler, conn| handler.on_data(conn, bytes))
    }

    /// Goes on as [`show`](Connection::show), after the first call.
    fn show_on(&mut self, id: SourceId, bytes: &[u8], first: Option<usize>, turn: &mut Turn<'_>) -> usize {
        let (mut used, mut called) = (0, first);
        while let Some(n) = called {
            let rest = bytes.len() - used;
            if n > rest {
                if let Some(missed) = turn.desk.misused.passes() {
                    log::error!("connection {id}: on_data used {n} of {rest} bytes{missed}");
                }
                self.panicked(turn);
                break;
            }
            used += n;
            if used == bytes.len() {
                return used;
            }
            if n == 0 || !self.link.may_deliver() || self.is_leaving(turn) || self.link.need() > bytes.len() - used {
                break;
            }
            called = self.show_once(id, &bytes[used..], turn);
        }
        self.link.shown(bytes.len() - used, &mut turn.desk.buffers.pool);
        used
    }

    fn tell_end(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        self.link.signal(Signal::PeerEnded, turn.desk.now);
        if let Origin::Observed = self.origin {
            self.tell_progress(id, turn);
            self.tell_state(id, ConnState::CloseRead, turn);
        }
        match self.link.take_rest() {
            None => {
                self.call(id, turn, |handler, conn| handler.on_end(conn, &[]));
            }
            Some(rest) => {
                let len = rest.bytes().len();
                self.call(id, turn, |handler, conn| handler.on_end(conn, rest.bytes()));
                // A link that leaves takes it along: its next handler is told of the end again.
                let used = if self.is_leaving(turn) { 0 } else { len };
                self.link.put_rest_back(rest, used, &mut turn.desk.buffers.pool);
            }
        }
    }
}
