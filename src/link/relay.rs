//! What a link knows of a relay: that its input goes to another link, and whether that one has room.
//!
//! Owns the marks and the time that two links share. What is passed on, and when, is the connections'.

use crate::clock::Tick;
use crate::error::Reason;
use crate::link::buffers::Pool;
use crate::link::input::Received;
use crate::link::outbox::Segment;
use crate::link::phase::{Phase, Signal};
use crate::link::{Delivery, Link};
use crate::net::stream::ShortRead;
use crate::net::system::pipe::Pipe;
use std::io;

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

    /// Whether its bytes may go through a pipe, in either direction.
    pub(crate) fn may_be_spliced(&self) -> bool {
        !self.is_tls() && self.stream.may_be_spliced()
    }

    /// Bytes that it is likely to take without a rest that waits.
    pub(crate) fn splice_room(&self) -> usize {
        self.stream.output_room().min(self.room(0))
    }

    /// Takes up to `bytes_max` bytes that the kernel holds into a pipe; `None` if a read is to tell what there is.
    pub(crate) fn receive_piped(&mut self, pipe: &mut Pipe, bytes_max: usize, now: Tick) -> Option<usize> {
        match pipe.fill(&self.stream, bytes_max) {
            Ok(0) => None,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported) => None,
            // An error of the socket is told once.
            result => match self.received(result.map(|filled| (filled, ShortRead::ProvesNothing)), bytes_max, now) {
                Received::Bytes(filled) => Some(filled),
                Received::Nothing => Some(0),
            },
        }
    }

    /// Sends what is in a pipe until the kernel blocks; the rest waits, as what is written does.
    pub(crate) fn send_piped(&mut self, pipe: &mut Pipe, pool: &mut Pool, now: Tick) {
        debug_assert!(self.cold.outbox.is_empty(), "link 1: bytes would overtake those that wait");
        while pipe.len() > 0 && !matches!(self.phase, Phase::Closed(_)) {
            let result = pipe.send(&self.stream);
            if matches!(&result, Err(error) if error.kind() == io::ErrorKind::Unsupported) {
                break;
            }
            if !matches!(self.took(result, pool, now), Some(taken) if taken > 0) {
                break;
            }
        }
        if pipe.len() > 0 {
            let mut chunk = pool.chunk(pipe.len());
            if let Err(error) = pipe.read(&mut chunk) {
                // They are lost, and an end in order would hide that.
                self.signal(Signal::Failed(Reason::of(&error)), now);
            }
            if chunk.is_empty() {
                return pool.take_back(chunk);
            }
            self.cold.outbox.push_ready_segment(Segment::Copied(chunk), now, pool);
        }
    }
}
