//! What of a link is its handler's own, and is forgotten when another one takes over: here, or in another reactor.
//!
//! Owns what stays and what does not. When a handler takes over is the connection's.

use crate::clock::Tick;
use crate::link::buffers::Pool;
use crate::link::phase::Phase;
use crate::link::{Delivery, Input, Link, Output};

impl Link {
    /// Begins life in another reactor: whatever the kernel holds is asked for anew.
    pub(crate) fn reset_for_adoption(&mut self, now: Tick) {
        if self.opened() == Tick::NEVER {
            self.opened = now.into();
        }
        if matches!(self.phase, Phase::HalfOpen) {
            // The new handler has to be told of the peer's end, too.
            self.phase = Phase::Open;
        }
        self.entered = now.into();
        self.active = now.into();
        self.timer = Tick::NEVER.into();
        if let Some(cold) = self.cold.there() {
            (cold.delivery, cold.need, cold.output) = (Delivery::Flowing, 0, Output::Free);
        }
        // A new handler has heard of nothing.
        self.input = if self.input.has_ended() { Input::Ended } else { Input::Flagged };
    }

    /// Whether another handler may take over: it is open, or becomes so again with TLS.
    pub(crate) fn may_change_handler(&self) -> bool {
        let is_alive = match self.phase {
            Phase::Handshaking | Phase::Open | Phase::HalfOpen | Phase::Finishing | Phase::WriteClosed => true,
            Phase::Connecting | Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closed(_) => false,
        };
        is_alive && !self.is_relayed()
    }

    /// Another handler takes over when the callback has returned: what the one before waited for is forgotten. Its drive does
    /// not take the short way to its end.
    pub(crate) fn begin_change(&mut self, pool: &mut Pool) {
        let cold = self.cold.open(pool);
        cold.need = 0;
        if cold.delivery == Delivery::Flowing {
            cold.delivery = Delivery::Resumed;
        }
        self.timer = Tick::NEVER.into();
    }

    /// A handler took over, which has heard of nothing: neither of the peer's end nor that it is gone.
    pub(crate) fn forget_what_was_told(&mut self) {
        if matches!(self.phase, Phase::HalfOpen) {
            self.phase = Phase::Open;
        }
        self.input = match self.input {
            Input::EndedTold => Input::Ended,
            Input::HangUpTold => Input::HangUp,
            known @ (Input::Ready | Input::Dry | Input::Flagged | Input::HangUp | Input::Ended) => known,
        };
        if let Some(cold) = self.cold.there() {
            if cold.delivery == Delivery::Resumed {
                cold.delivery = Delivery::Flowing;
            }
        }
    }
}
