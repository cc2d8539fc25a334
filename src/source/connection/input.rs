//! How a connection's input comes to its handler.
//!
//! Owns the order of shown bytes: what waits before what came, and the peer's end behind both.

use crate::config::Limits;
use crate::context::Context;
use crate::error::Reason;
use crate::handler::ConnState;
use crate::id::SourceId;
use crate::link::buffers::Scratch;
use crate::link::phase::Signal;
use crate::link::quota::{Quota, RECORDS_PER_TURN};
use crate::source::connection::{Connection, Origin};

/// What may still be read of a connection in one turn.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    pub(super) bytes: usize,
    pub(super) reads: usize,
    /// Records, where there is TLS.
    pub(super) records: usize,
}

impl Budget {
    pub(super) fn of(limits: &Limits) -> Budget {
        Budget { bytes: limits.bytes_per_turn, reads: limits.reads_per_turn, records: RECORDS_PER_TURN }
    }

    /// What is left of it after one read, and of the records so many.
    pub(super) fn after_read(self, bytes: usize, records: usize) -> Budget {
        Budget { bytes: self.bytes.saturating_sub(bytes), reads: self.reads.saturating_sub(1), records }
    }
}

impl Connection {
    /// Shows what waits, reads within the budget, and tells the peer's end once all before it was shown.
    pub(super) fn take_input(&mut self, id: SourceId, budget: Budget, scratch: &mut Scratch, cx: &mut Context<'_>) {
        if self.link.has_unread() {
            if self.link.may_show_rest() && !self.is_detaching(cx) {
                self.show_rest(id, cx);
            }
            self.check_inbox(cx);
        }
        let Budget { mut bytes, reads, records } = budget;
        let mut quota = Quota { records, ..Quota::TURN };
        for _ in 0..reads {
            if !self.link.may_read() || bytes == 0 || quota.is_used() || self.is_detaching(cx) {
                break;
            }
            // What was read already may be opened in any case: that frees what it holds.
            let allowed = if self.link.has_unopened() { Some(bytes) } else { self.allowed(bytes, cx) };
            let Some(allowed) = allowed else { break };
            let state = &mut *cx.state;
            let piece = self.link.piece(allowed, scratch);
            let Some((read, came)) =
                self.link.receive_opened(piece, &mut quota, scratch, &mut state.buffers, state.now)
            else {
                break;
            };
            bytes = allowed - read;
            if !came.is_empty() && self.link.phase().delivers_input() {
                self.deliver(id, came, cx);
            }
        }
        if self.link.end_is_due() && !self.is_detaching(cx) {
            if self.link.is_truncated() {
                self.link.signal(Signal::Close(Reason::Truncated), cx.state.now);
            } else {
                self.tell_end(id, cx);
            }
        }
    }

    /// Opens all records of a link that leaves: whoever takes it finds plaintext.
    pub(super) fn open_all(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) {
        let state = &mut *cx.state;
        if !self.link.has_unopened() || !self.link.phase().delivers_input() {
            return;
        }
        let mut quota = Quota::ALL;
        if let Some((_, came)) = self.link.receive_opened(0, &mut quota, scratch, &mut state.buffers, state.now) {
            self.link.keep_input(came, &mut state.buffers.pool);
        }
    }

    /// Shows bytes that were just read, behind those that wait, and keeps what is left.
    pub(super) fn deliver(&mut self, id: SourceId, bytes: &[u8], cx: &mut Context<'_>) {
        let wanted = self.link.may_deliver() && !self.is_detaching(cx);
        if wanted && !self.link.has_unread() && bytes.len() >= self.link.need() {
            let first = self.show_once(id, bytes, cx);
            if first != Some(bytes.len()) || cx.state.successor.is_some() {
                self.keep(id, bytes, first, cx);
            }
            return;
        }
        self.link.keep_input(bytes, &mut cx.state.buffers.pool);
        if wanted && self.link.may_show_rest() {
            self.show_rest(id, cx);
        }
        self.check_inbox(cx);
    }

    /// Keeps what is left of bytes that are being shown for the first time.
    #[inline(never)]
    pub(super) fn keep(&mut self, id: SourceId, bytes: &[u8], first: Option<usize>, cx: &mut Context<'_>) {
        let used = self.show_on(id, bytes, first, cx);
        // What is left before an upgrade is the beginning of the handshake.
        if used < bytes.len() && (self.link.phase().delivers_input() || self.is_upgrading()) {
            self.link.keep_input(&bytes[used..], &mut cx.state.buffers.pool);
        }
        self.check_inbox(cx);
    }

    /// A handler that waits for more than it may leave waits for ever.
    fn check_inbox(&mut self, cx: &mut Context<'_>) {
        if self.link.is_stuck() && !self.is_detaching(cx) {
            self.link.signal(Signal::Close(Reason::InboxLimit), cx.state.now);
        }
    }

    /// Shows what waits in the inbox.
    fn show_rest(&mut self, id: SourceId, cx: &mut Context<'_>) {
        if let Some(rest) = self.link.take_rest() {
            let used = self.show(id, rest.bytes(), cx);
            self.link.put_rest_back(rest, used, &mut cx.state.buffers.pool);
        }
    }

    /// Calls `on_data` until all is used, nothing is used, or input is no longer wanted; returns how much was used.
    fn show(&mut self, id: SourceId, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        let first = self.show_once(id, bytes, cx);
        self.show_on(id, bytes, first, cx)
    }

    /// Calls `on_data`; `None` if it panicked. A handler that it sets has not taken over yet.
    #[inline(always)]
    pub(super) fn show_once(&mut self, id: SourceId, bytes: &[u8], cx: &mut Context<'_>) -> Option<usize> {
        self.link.about_to_show();
        self.call_once(id, cx, |handler, conn| handler.on_data(conn, bytes))
    }

    /// Goes on as [`show`](Connection::show), after the first call.
    fn show_on(&mut self, id: SourceId, bytes: &[u8], first: Option<usize>, cx: &mut Context<'_>) -> usize {
        let (mut used, mut called) = (0, first);
        while let Some(n) = called {
            let rest = bytes.len() - used;
            if n > rest {
                if let Some(missed) = cx.state.misused.passes() {
                    log::error!("connection {id}: on_data used {n} of {rest} bytes{missed}");
                }
                self.panicked(cx);
                break;
            }
            used += n;
            let is_replaced = cx.state.successor.is_some();
            if is_replaced {
                self.hand_over(id, cx);
            }
            if used == bytes.len() {
                return used;
            }
            // What the one before waited for more of is new to one that took over.
            let waits = n == 0 && !is_replaced;
            if waits || !self.link.may_deliver() || self.is_detaching(cx) || self.link.need() > bytes.len() - used {
                break;
            }
            called = self.show_once(id, &bytes[used..], cx);
        }
        self.link.shown(bytes.len() - used, &mut cx.state.buffers.pool);
        used
    }

    /// Takes note of the peer's end, which has come to the front.
    pub(super) fn note_end(&mut self, id: SourceId, cx: &mut Context<'_>) {
        self.link.signal(Signal::PeerEnded, cx.state.now);
        if let Origin::Observed = self.origin {
            self.tell_progress(id, cx);
            // A handler that takes over after it hears of it again, the listener does not.
            if cx.state.reported.end_reading(id) {
                self.tell_state(id, ConnState::CloseRead, cx);
            }
        }
    }

    fn tell_end(&mut self, id: SourceId, cx: &mut Context<'_>) {
        self.note_end(id, cx);
        match self.link.take_rest() {
            None => {
                self.call(id, cx, |handler, conn| handler.on_end(conn, &[]));
            }
            Some(rest) => {
                let len = rest.bytes().len();
                self.call_once(id, cx, |handler, conn| handler.on_end(conn, rest.bytes()));
                // A link that leaves takes it along, and its next handler is told of the end again, as is one that takes over
                // here. A relay passes it on.
                let goes_on = self.is_detaching(cx) || self.link.is_relayed() || cx.state.successor.is_some();
                self.link.put_rest_back(rest, if goes_on { 0 } else { len }, &mut cx.state.buffers.pool);
                if cx.state.successor.is_some() {
                    self.hand_over(id, cx);
                }
            }
        }
    }
}
