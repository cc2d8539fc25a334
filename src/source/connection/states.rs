//! What a listener is told of its connections: bad ends, how they come along, and that they are over.
//!
//! Owns who is told when. The maker is taken out of its place while it runs, as handlers are (A2).

use crate::error::Reason;
use crate::handler::{AcceptEvent, ConnState, Maker, Peer, guarded};
use crate::link::phase::Phase;
use crate::source::connection::{Connection, Origin, Role};
use crate::turn::Turn;

/// What a listener was told last of a connection.
#[derive(Default)]
pub(super) struct Seen {
    bytes_in: u64,
    bytes_out: u64,
    stage: Stage,
}

/// How far it was told that the connection is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing, or it was refused.
    #[default]
    Unknown,
    /// Admitted: bytes that move are those of a handshake.
    New,
    Open,
    /// This side has ended.
    WriteClosed,
}

impl Connection {
    /// Asks the listener something; `None` if there is none, `Some(None)` if it panicked.
    pub(super) fn ask_maker<T>(
        &self,
        turn: &mut Turn<'_>,
        ask: impl FnOnce(&mut dyn Maker, &Peer<'_>) -> T,
    ) -> Option<Option<T>> {
        let acceptor = self.acceptor()?;
        let mut maker = turn.table.maker(acceptor).and_then(Option::take)?;
        let answer = guarded(|| ask(maker.as_mut(), &Peer(&self.link)));
        put_back(turn, acceptor, maker);
        Some(answer)
    }

    /// Tells the listener something; a panic there ends nothing.
    fn tell_maker(&self, turn: &mut Turn<'_>, tell: impl FnOnce(&mut dyn Maker, &Peer<'_>)) {
        if let Some(None) = self.ask_maker(turn, tell) {
            turn.desk.counters.panics += 1;
        }
    }

    /// Tells the listener that a connection ended before it had a handler.
    pub(super) fn never_made(&mut self, reason: Reason, turn: &mut Turn<'_>) {
        turn.desk.counters.failed += 1;
        let event = AcceptEvent::Failed { peer: self.link.peer_ip(), reason };
        self.tell_maker(turn, |maker, _| maker.on_event(&event));
    }

    /// Tells the listener that a connection that had a handler came to a bad end.
    pub(super) fn tell_trouble(&self, reason: Reason, turn: &mut Turn<'_>) {
        // Who left before a byte had moved has troubled nobody.
        let never_was = reason == Reason::Reset && self.link.bytes_in() == 0 && self.link.bytes_out() == 0;
        if reason.is_trouble() && !never_was {
            let event = AcceptEvent::Broken { peer: self.link.peer_ip(), reason };
            self.tell_maker(turn, |maker, _| maker.on_event(&event));
        }
    }

    /// Tells the listener that a connection that it admitted is over.
    pub(super) fn tell_left(&mut self, turn: &mut Turn<'_>) {
        self.tell_state(ConnState::Close, turn);
        self.tell_maker(turn, |maker, peer| maker.on_left(peer));
    }

    /// Tells how the connection comes along, if that is wanted.
    pub(super) fn tell_state(&mut self, state: ConnState, turn: &mut Turn<'_>) {
        let Origin::Observed(_, seen) = &mut self.origin else { return };
        match (state, seen.stage) {
            (ConnState::New, _) => seen.stage = Stage::New,
            // Who was never admitted was never there.
            (_, Stage::Unknown) => return,
            (ConnState::CloseWrite, _) => seen.stage = Stage::WriteClosed,
            _ => {}
        }
        self.tell_maker(turn, |maker, peer| maker.on_state(peer, state));
    }

    /// The connection is open: from here on bytes are the handlers' own.
    pub(super) fn states_begin(&mut self, turn: &mut Turn<'_>) {
        let Origin::Observed(_, seen) = &mut self.origin else { return };
        seen.stage = Stage::Open;
        (seen.bytes_in, seen.bytes_out) = (self.link.bytes_in(), self.link.bytes_out());
        if self.link.is_tls() {
            self.tell_state(ConnState::Handshake, turn);
        }
    }

    /// Tells that bytes came and left.
    pub(super) fn tell_progress(&mut self, turn: &mut Turn<'_>) {
        let Origin::Observed(_, seen) = &mut self.origin else { return };
        if !matches!(seen.stage, Stage::Open | Stage::WriteClosed) {
            return;
        }
        let (bytes_in, bytes_out) = (self.link.bytes_in(), self.link.bytes_out());
        let (reads, writes) = (bytes_in > seen.bytes_in, bytes_out > seen.bytes_out);
        (seen.bytes_in, seen.bytes_out) = (bytes_in, bytes_out);
        if reads {
            self.tell_state(ConnState::Read, turn);
        }
        if writes {
            self.tell_state(ConnState::Write, turn);
        }
    }

    /// Tells that this side has ended.
    pub(super) fn tell_ends(&mut self, turn: &mut Turn<'_>) {
        let Origin::Observed(_, seen) = &self.origin else { return };
        let has_ended = match self.link.phase() {
            Phase::WriteClosed | Phase::Lingering(_) => true,
            Phase::Closed(reason) => matches!(reason, Reason::PeerClosed | Reason::Local | Reason::Drain),
            _ => false,
        };
        if has_ended && seen.stage == Stage::Open && !matches!(self.role, Role::Gone) {
            self.tell_progress(turn);
            self.tell_state(ConnState::CloseWrite, turn);
        }
    }
}

/// Gives an acceptor its maker back.
pub(super) fn put_back(turn: &mut Turn<'_>, acceptor: u32, maker: Box<dyn Maker>) {
    if let Some(place) = turn.table.maker(acceptor) {
        *place = Some(maker);
    }
}
