//! Names of what a reactor owns: slot and sequence, never an address.
//!
//! Owns the packing of both into one machine word for the kernel. A stale id finds nothing (A4), since a slot's sequence
//! grows with every new occupant.

use std::fmt;

/// What a reactor knows a source by: its slot and the slot's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SourceId {
    /// The reactor's number in this process.
    pub(crate) reactor: u32,
    /// The place in the reactor's table.
    pub(crate) slot: u32,
    /// How many occupants the place had before.
    pub(crate) sequence: u32,
}

/// Bits of the word that hold the slot: a reactor holds at most 16 million sources. On 32-bit targets it is a million, and a
/// slot's sequence wraps after 4,096 occupants.
pub(crate) const SLOT_BITS: u32 = if usize::BITS >= 64 { 24 } else { 20 };

impl SourceId {
    /// No source has this slot.
    pub(crate) const NO_SLOT: u32 = u32::MAX;

    /// The most slots whose numbers fit the word; the last word of all is the waker's.
    pub(crate) const SLOTS_MAX: usize = ((1u64 << SLOT_BITS) - 1) as usize;

    /// Slot and sequence in one word, as the kernel is told.
    pub(crate) fn word(self) -> usize {
        self.slot as usize | ((self.sequence & Self::sequence_mask()) as usize) << SLOT_BITS
    }

    /// The id that `word` was made of, given the reactor that it came from.
    pub(crate) fn from_word(reactor: u32, word: usize) -> SourceId {
        let slot = (word & ((1usize << SLOT_BITS) - 1)) as u32;
        SourceId { reactor, slot, sequence: (word >> SLOT_BITS) as u32 }
    }

    /// The sequences that the word can tell apart.
    pub(crate) const fn sequence_mask() -> u32 {
        if usize::BITS >= 64 { u32::MAX } else { u32::MAX >> SLOT_BITS }
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.reactor, self.slot, self.sequence)
    }
}

/// Names one connection of one reactor, for as long as it lives and never another one after it.
///
/// Displayed as `reactor.slot.sequence`. A slot's sequence wraps after 2^32 occupants (4,096 on 32-bit targets).
///
/// ```
/// use windlass::{Conn, ConnId, Handler};
/// /// Passes on what comes to another connection of the same reactor.
/// struct Copy {
///     to: ConnId,
/// }
/// impl Handler for Copy {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
///         match conn.other(self.to) {
///             Some(mut other) => other.write_some(data),
///             None => data.len(), // it is closed
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub(crate) SourceId);

/// Names one listener of one reactor, like [`ConnId`] a connection.
///
/// ```
/// use windlass::{Conn, ListenConfig, Reactor, ReactorConfig, handler_fn};
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let make = |_: &Conn<'_>| handler_fn(|conn: &mut Conn<'_>, data: &[u8]| conn.write_some(data));
/// let listener = reactor.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), make)?;
/// assert!(reactor.listener_address(listener).is_some());
/// reactor.context().remove_listener(listener)?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) SourceId);

/// Names one watched descriptor of one reactor, like [`ConnId`] a connection.
///
/// ```
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use windlass::{Context, Direction, Next, Reactor, ReactorConfig, Readiness, WatchHandler};
/// struct Doorbell;
/// impl WatchHandler for Doorbell {
///     fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, ready: Readiness) -> Next {
///         println!("{ready:?}");
///         Next::Remove // `Wait` once a read has said `WouldBlock`
///     }
/// }
/// let (watched, _bell) = UnixStream::pair()?;
/// watched.set_nonblocking(true)?;
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let id = reactor.context().watch(watched, Direction::Read, Doorbell)?;
/// reactor.context().unwatch(id);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchId(pub(crate) SourceId);

/// Names one datagram socket of one reactor, like [`ConnId`] a connection.
///
/// ```
/// use windlass::{Context, DatagramPeer, EndpointId};
/// fn report(cx: &mut Context<'_>, socket: EndpointId, to: &DatagramPeer, line: &[u8]) {
///     match cx.endpoint(socket) {
///         Some(mut socket) => _ = socket.send_to(to, line),
///         None => println!("{socket:?} is closed"),
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub(crate) SourceId);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_keeps_slot_and_sequence() {
        for (slot, sequence) in [(0, 0), (1, 0), (0, 1), (19_000, 7), (SourceId::SLOTS_MAX as u32 - 1, 4_095)] {
            let id = SourceId { reactor: 3, slot, sequence };
            assert_eq!(SourceId::from_word(3, id.word()), id);
            assert_ne!(id.word(), usize::MAX);
        }
    }
}
