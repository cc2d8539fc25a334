//! What a drain asks of a connection, and when it may hear of it.
//!
//! Owns what counts as heard. When it is asked is decided in `reactor/drain.rs`.

use crate::clock::Tick;
use crate::context::{Context, FIRST_REQUEST};
use crate::error::Reason;
use crate::id::SourceId;
use crate::link::phase::{Phase, Signal};
use crate::source::connection::Connection;

impl Connection {
    /// Whether nothing more of its peer's is known to wait in the kernel, and, of an accepted one, more than `beyond` bytes have
    /// come.
    pub(crate) fn is_heard(&self, beyond: u64) -> bool {
        let came = self.acceptor().is_none() || self.link.bytes_in() > beyond || self.link.has_ended();
        !self.link.may_read() && came
    }

    /// Bytes that are no first request yet: with TLS those of a handshake that has just ended.
    pub(crate) fn bytes_before_request(&self, now: Tick) -> u64 {
        if self.link.is_tls() && now < self.link.entered().after(FIRST_REQUEST) { self.link.bytes_in() } else { 0 }
    }

    pub(super) fn drain(&mut self, id: SourceId, cx: &mut Context<'_>) {
        match self.link.phase() {
            // Nothing new is connected once draining (A10).
            Phase::Connecting => self.link.signal(Signal::Close(Reason::Drain), cx.state.now),
            Phase::Open | Phase::HalfOpen | Phase::Finishing | Phase::WriteClosed => {
                // Both sides of a relay finish what is under way.
                if !self.link.is_relayed() {
                    self.call(id, cx, |handler, conn| handler.on_drain(conn));
                }
            }
            // A handshake may go on to its end; `open` tells it then. The others are on their way out.
            Phase::Handshaking | Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closed(_) => {}
        }
    }
}
