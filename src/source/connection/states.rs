//! What a listener is told of its connections: bad ends, how they come along, and that they are over.
//!
//! Owns who is told when. The maker is taken out of its place while it runs, as handlers are (A2).

use crate::address::Address;
use crate::error::Reason;
use crate::handler::{AcceptEvent, ConnState, Maker, Peer, guarded};
use crate::id::SourceId;
use crate::link::phase::Phase;
use crate::source::connection::{Connection, Origin, Role};
use crate::turn::Turn;
use crate::turn::seen::{Ends, Stage};

impl Connection {
    /// Asks the listener something; `None` if there is none, `Some(None)` if it panicked.
    pub(super) fn ask_maker<T>(
        &self,
        turn: &mut Turn<'_>,
        ask: impl FnOnce(&mut dyn Maker, &Peer<'_>) -> T,
    ) -> Option<Option<T>> {
        self.ask_maker_about(None, turn, ask)
    }

    fn ask_maker_about<T>(
        &self,
        ends: Option<&Ends>,
        turn: &mut Turn<'_>,
        ask: impl FnOnce(&mut dyn Maker, &Peer<'_>) -> T,
    ) -> Option<Option<T>> {
        let acceptor = self.acceptor()?;
        let mut maker = turn.table.maker(acceptor).and_then(Option::take)?;
        let answer = guarded(|| ask(maker.as_mut(), &Peer { link: &self.link, ends }));
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
    pub(super) fn tell_left(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        self.tell_state(id, ConnState::Close, turn);
        self.tell_maker(turn, |maker, peer| maker.on_left(peer));
    }

    /// Tells how the connection comes along, if that is wanted.
    pub(super) fn tell_state(&mut self, id: SourceId, state: ConnState, turn: &mut Turn<'_>) {
        let Origin::Observed(_) = self.origin else { return };
        // Who was never admitted was never there.
        let seen = match state {
            ConnState::New => {
                turn.desk.notes.begin(id, self.ends());
                turn.desk.notes.take(id)
            }
            ConnState::Close => turn.desk.notes.end(id),
            _ => turn.desk.notes.take(id),
        };
        let Some(seen) = seen else { return };
        self.tell_states(&seen.ends, &[state], turn);
        if state != ConnState::Close {
            turn.desk.notes.put_back(id, seen);
        }
    }

    /// Tells several states in one visit; a panic in one does not keep the next from being told.
    fn tell_states(&self, ends: &Ends, states: &[ConnState], turn: &mut Turn<'_>) {
        let mut left = states.iter();
        loop {
            let told = self.ask_maker_about(Some(ends), turn, |maker, peer| {
                left.by_ref().for_each(|state| maker.on_state(peer, *state));
            });
            match told {
                Some(None) => turn.desk.counters.panics += 1,
                Some(Some(())) | None => return,
            }
        }
    }

    /// Both ends, as addresses of what is spoken between them.
    fn ends(&self) -> Ends {
        let spoken = |address: Address| if self.link.is_tls() { address.over_tls() } else { address };
        Ends { local: self.link.local_address().map(spoken), peer: self.link.peer_address().map(spoken) }
    }

    /// The connection is open: from here on bytes are the handlers' own.
    pub(super) fn states_begin(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let Origin::Observed(_) = self.origin else { return };
        let Some(seen) = turn.desk.notes.get(id) else { return };
        (seen.bytes_in, seen.bytes_out, seen.stage) = (self.link.bytes_in(), self.link.bytes_out(), Stage::Open);
        if self.link.is_tls() {
            self.tell_state(id, ConnState::Handshake, turn);
        }
    }

    /// Tells that bytes came and left.
    pub(super) fn tell_progress(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let Some(seen) = turn.desk.notes.get(id).filter(|seen| seen.stage != Stage::New) else { return };
        let (bytes_in, bytes_out) = (self.link.bytes_in(), self.link.bytes_out());
        let (reads, writes) = (bytes_in > seen.bytes_in, bytes_out > seen.bytes_out);
        (seen.bytes_in, seen.bytes_out) = (bytes_in, bytes_out);
        let states: &[ConnState] = match (reads, writes) {
            (true, true) => &[ConnState::Read, ConnState::Write],
            (true, false) => &[ConnState::Read],
            (false, true) => &[ConnState::Write],
            (false, false) => return,
        };
        if let Some(seen) = turn.desk.notes.take(id) {
            self.tell_states(&seen.ends, states, turn);
            turn.desk.notes.put_back(id, seen);
        }
    }

    /// Tells that this side has ended.
    pub(super) fn tell_ends(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let has_ended = match self.link.phase() {
            Phase::WriteClosed | Phase::Lingering(_) => true,
            Phase::Closed(reason) => matches!(reason, Reason::PeerClosed | Reason::Local | Reason::Drain),
            _ => false,
        };
        let is_open = turn.desk.notes.get(id).is_some_and(|seen| seen.stage == Stage::Open);
        if has_ended && is_open && !matches!(self.role, Role::Gone) {
            self.tell_progress(id, turn);
            if let Some(seen) = turn.desk.notes.get(id) {
                seen.stage = Stage::WriteClosed;
            }
            self.tell_state(id, ConnState::CloseWrite, turn);
        }
    }
}

/// Gives an acceptor its maker back.
pub(super) fn put_back(turn: &mut Turn<'_>, acceptor: u32, maker: Box<dyn Maker>) {
    if let Some(place) = turn.table.maker(acceptor) {
        *place = Some(maker);
    }
}
