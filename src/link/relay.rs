//! What a link knows of a relay: that its input goes to another link, and whether that one has room.
//!
//! Owns the marks and the time that two links share. What is passed on, and when, is the connections'.

use crate::clock::Tick;
use crate::link::buffers::Pool;
use crate::link::{Delivery, Link};

impl Link {
    /// Whether its input goes to another link.
    pub(crate) fn is_relayed(&self) -> bool {
        self.cold.delivery.is_relayed()
    }

    /// Whether it could be coupled with another link: it is open, both ways or ours, and not coupled yet.
    pub(crate) fn may_be_relayed(&self) -> bool {
        self.phase.takes_output() && !self.is_relayed()
    }

    /// Its input goes to another link from now on. It is not read before its own drive has looked for room there.
    pub(crate) fn begin_relay(&mut self, pool: &mut Pool) {
        let cold = self.cold.open(pool);
        (cold.delivery, cold.need) = (Delivery::RelayBlocked, 0);
        self.timer = Tick::NEVER.into();
    }

    /// The other link has no room: this one is not read.
    pub(crate) fn block_relay(&mut self) {
        self.cold.delivery = Delivery::RelayBlocked;
    }

    /// The other link has room.
    pub(crate) fn unblock_relay(&mut self) {
        self.cold.delivery = Delivery::Relayed;
    }

    /// Whether it is not read before the other link has room.
    pub(crate) fn is_relay_blocked(&self) -> bool {
        self.cold.delivery == Delivery::RelayBlocked
    }

    /// A byte that moved on either of two links was life of both.
    pub(crate) fn share_life(&mut self, other: &mut Link) {
        let last = self.active().max(other.active());
        (self.active, other.active) = (last.into(), last.into());
    }
}
