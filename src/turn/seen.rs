//! What listeners that want to know were told last of their connections.
//!
//! Owns the notes, apart from the connections: those of other listeners shall not be larger for it. Knows no listener.
//!
//! 1. A connection has a note from its admission until it is over.

use crate::id::SourceId;
use std::collections::HashMap;

#[derive(Default)]
pub(crate) struct Notes(HashMap<u32, Seen>);

/// What a listener was told last of a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) stage: Stage,
}

/// How far it was told that the connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Admitted: bytes that move are those of a handshake.
    #[default]
    New,
    Open,
    /// This side has ended.
    WriteClosed,
}

impl Notes {
    /// Begins a connection's note.
    pub(crate) fn begin(&mut self, id: SourceId) {
        self.0.insert(id.slot, Seen::default());
    }

    /// A connection's note; `None` if it was never admitted.
    pub(crate) fn get(&mut self, id: SourceId) -> Option<&mut Seen> {
        self.0.get_mut(&id.slot)
    }

    /// Ends it; says whether there was one.
    pub(crate) fn end(&mut self, id: SourceId) -> bool {
        self.0.remove(&id.slot).is_some()
    }
}
