//! What listeners that want to know were told last of their connections.
//!
//! Owns the notes, apart from the connections: those of other listeners shall not be larger for it. Knows no listener.
//!
//! 1. A connection has a note from its admission until it is over.

use crate::address::Address;
use crate::id::SourceId;

#[derive(Default)]
pub(crate) struct ReportedStates {
    /// By slot.
    notes: Vec<Option<Box<LastReported>>>,
    /// Ends since room was given back last.
    ends: usize,
}

/// What a listener was told last of a connection.
pub(crate) struct LastReported {
    pub(crate) ends: Ends,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) stage: Stage,
    peer: PeerSide,
}

/// Both ends of a connection, asked of the system once; `None` where it did not know.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) local: Option<Address>,
    pub(crate) peer: Option<Address>,
}

/// How far it was told that the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Admitted: bytes that move are those of a handshake.
    New,
    Open,
    /// This side has ended.
    WriteClosed,
}

/// Whether it was told that the peer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerSide {
    Open,
    Ended,
}

impl ReportedStates {
    /// Begins a connection's note.
    pub(crate) fn begin(&mut self, id: SourceId, ends: Ends) {
        let slot = id.slot as usize;
        if self.notes.len() <= slot {
            self.notes.resize_with(slot + 1, || None);
        }
        let note = LastReported { ends, bytes_in: 0, bytes_out: 0, stage: Stage::New, peer: PeerSide::Open };
        self.notes[slot] = Some(Box::new(note));
    }

    /// Takes note that the peer has ended; whether that is news.
    pub(crate) fn end_reading(&mut self, id: SourceId) -> bool {
        self.get(id).is_some_and(|note| std::mem::replace(&mut note.peer, PeerSide::Ended) == PeerSide::Open)
    }

    /// A connection's note; `None` if it was never admitted.
    pub(crate) fn get(&mut self, id: SourceId) -> Option<&mut LastReported> {
        self.notes.get_mut(id.slot as usize)?.as_deref_mut()
    }

    /// Ends a connection's note, and returns it.
    pub(crate) fn end(&mut self, id: SourceId) -> Option<Box<LastReported>> {
        let ended = self.notes.get_mut(id.slot as usize).and_then(Option::take);
        self.ends += 1;
        // So seldom that looking for it costs each end no more than one place.
        if self.ends > self.notes.len().max(KEPT_NOTES) {
            self.ends = 0;
            let used = self.notes.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            self.notes.truncate(used);
            self.notes.shrink_to(KEPT_NOTES.max(2 * used));
        }
        ended
    }
}

/// Room for so many is never given back.
const KEPT_NOTES: usize = 1024;
