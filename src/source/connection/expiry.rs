//! What happens to a connection whose deadline is past.
//!
//! Owns what is looked at once more before anything ends: the drive has offered waiting output again and gone on with a
//! connect, and all that the kernel and the mailbox held has been taken (see `reactor/hearing.rs`).

use crate::clock::Tick;
use crate::context::Context;
use crate::error::{Expiry, Reason};
use crate::id::SourceId;
use crate::link::phase::Signal;
use crate::source::connection::Connection;

impl Connection {
    pub(super) fn expire(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let (now, judged) = (cx.state.now, cx.state.judged);
        self.hear_partner(cx);
        if let Some((due, expiry)) = self.link.phase_deadline() {
            if due <= judged && !self.is_excused(due, expiry, cx) {
                let hurried = expiry == Expiry::Handshake && cx.is_draining();
                let signal = if hurried { Signal::Close(Reason::Drain) } else { Signal::Expired(expiry) };
                self.link.signal(signal, now);
            }
        }
        if self.link.timer() <= judged && !self.is_upgrading() {
            self.link.set_timer(Tick::NEVER);
            if self.link.phase().is_open() && !self.link.is_relayed() {
                self.call(id, cx, |handler, conn| handler.on_timer(conn));
            }
        }
    }

    /// Whether a deadline is past only because this side was late, or did not notice what the peer did.
    fn is_excused(&mut self, due: Tick, expiry: Expiry, cx: &Context<'_>) -> bool {
        let (now, judged) = (cx.state.now, cx.state.judged);
        match expiry {
            // It is this side that does not read.
            Expiry::Idle if self.is_unread(cx) => {
                self.link.touch(now);
                true
            }
            // A peer that still takes what the kernel holds is not silent.
            Expiry::Idle | Expiry::Linger => {
                self.link.note_progress(now);
                self.link.phase_deadline().is_none_or(|(due, _)| due > judged)
            }
            Expiry::Handshake => self.link.excuses_handshake(due, judged, now),
            // The race of its dial has the deadline; see `dialling.rs`.
            Expiry::Connect => true,
            // Whether anything moved was looked at when the output was offered again.
            Expiry::WriteStall => false,
            Expiry::Lifetime | Expiry::Drain => false,
        }
    }
}
