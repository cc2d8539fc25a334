//! What a listener is told of its connections: bad ends, how they come along, and that they are over.
//!
//! Owns who is told when. What is asked here reaches no turn, so that the maker stays in its place meanwhile (A2).

use crate::address::Address;
use crate::context::Context;
use crate::context::reported::{Ends, Stage};
use crate::counters::Counters;
use crate::error::Reason;
use crate::handler::{AcceptEvent, ConnState, Maker, Peer, guarded};
use crate::id::SourceId;
use crate::link::phase::Phase;
use crate::reactor::table::Table;
use crate::source::connection::role::RoleKind;
use crate::source::connection::{Connection, Origin};

impl Connection {
    /// Asks the listener something; `None` if there is none, `Some(None)` if it panicked.
    pub(super) fn ask_maker<T>(
        &self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&mut dyn Maker, &Peer<'_>) -> T,
    ) -> Option<Option<T>> {
        let maker = cx.table.maker(self.acceptor()?)?.as_mut()?;
        Some(guarded(|| ask(maker.as_mut(), &Peer { link: &self.link, ends: None })))
    }

    /// Tells the listener something; a panic there ends nothing.
    fn tell_maker(&self, cx: &mut Context<'_>, tell: impl FnOnce(&mut dyn Maker, &Peer<'_>)) {
        if let Some(None) = self.ask_maker(cx, tell) {
            cx.state.counters.panics += 1;
        }
    }

    fn detail(&self) -> Option<String> {
        self.link.failure_detail().map(str::to_owned)
    }

    /// Tells the listener that a connection ended before it had a handler.
    pub(super) fn never_made(&mut self, reason: Reason, cx: &mut Context<'_>) {
        cx.state.counters.failed += 1;
        let event = AcceptEvent::Failed { peer: self.link.peer_ip(), reason, detail: self.detail() };
        self.tell_maker(cx, |maker, _| maker.on_event(&event));
    }

    /// Tells the listener that a connection that had a handler came to a bad end.
    pub(super) fn tell_trouble(&self, reason: Reason, cx: &mut Context<'_>) {
        // Who left before a byte had moved has troubled nobody.
        let never_was = reason == Reason::Reset && self.link.bytes_in() == 0 && self.link.bytes_out() == 0;
        if reason.is_trouble() && !never_was {
            let event = AcceptEvent::Broken { peer: self.link.peer_ip(), reason, detail: self.detail() };
            self.tell_maker(cx, |maker, _| maker.on_event(&event));
        }
    }

    /// Tells the listener that a connection that it admitted is over.
    pub(super) fn tell_left(&mut self, id: SourceId, cx: &mut Context<'_>) {
        self.tell_state(id, ConnState::Close, cx);
        self.tell_maker(cx, |maker, peer| maker.on_left(peer));
    }

    /// Tells how the connection comes along, if that is wanted.
    pub(super) fn tell_state(&mut self, id: SourceId, told: ConnState, cx: &mut Context<'_>) {
        let Origin::Observed = self.origin else { return };
        match told {
            ConnState::New => cx.state.reported.begin(id, self.ends()),
            ConnState::Close => {
                // Who was never admitted was never there.
                if let Some(seen) = cx.state.reported.end(id) {
                    self.tell_states(&seen.ends, &[told], cx.table, &mut cx.state.counters);
                }
                return;
            }
            _ => {}
        }
        let state = &mut *cx.state;
        if let Some(seen) = state.reported.get(id) {
            self.tell_states(&seen.ends, &[told], cx.table, &mut state.counters);
        }
    }

    /// Tells several states; a panic in one does not keep the next from being told.
    fn tell_states(&self, ends: &Ends, states: &[ConnState], table: &mut Table, counters: &mut Counters) {
        let maker = self.acceptor().and_then(|acceptor| table.maker(acceptor)).and_then(Option::as_mut);
        let Some(maker) = maker else { return };
        let peer = Peer { link: &self.link, ends: Some(ends) };
        for state in states {
            if guarded(|| maker.on_state(&peer, *state)).is_none() {
                counters.panics += 1;
            }
        }
    }

    /// Both ends, as addresses of what is spoken between them.
    fn ends(&self) -> Ends {
        let spoken = |address: Address| if self.link.is_tls() { address.over_tls() } else { address };
        Ends { local: self.link.local_address().map(spoken), peer: self.link.peer_address().map(spoken) }
    }

    /// The connection is open: from here on bytes are the handlers' own.
    pub(super) fn states_begin(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let Origin::Observed = self.origin else { return };
        let Some(seen) = cx.state.reported.get(id) else { return };
        (seen.bytes_in, seen.bytes_out, seen.stage) = (self.link.bytes_in(), self.link.bytes_out(), Stage::Open);
        if self.link.is_tls() {
            self.tell_state(id, ConnState::Handshake, cx);
        }
    }

    /// Tells that bytes came and left.
    pub(super) fn tell_progress(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let state = &mut *cx.state;
        let Some(seen) = state.reported.get(id).filter(|seen| seen.stage != Stage::New) else { return };
        let (bytes_in, bytes_out) = (self.link.bytes_in(), self.link.bytes_out());
        let (reads, writes) = (bytes_in > seen.bytes_in, bytes_out > seen.bytes_out);
        (seen.bytes_in, seen.bytes_out) = (bytes_in, bytes_out);
        let states: &[ConnState] = match (reads, writes) {
            (true, true) => &[ConnState::Read, ConnState::Write],
            (true, false) => &[ConnState::Read],
            (false, true) => &[ConnState::Write],
            (false, false) => return,
        };
        self.tell_states(&seen.ends, states, cx.table, &mut state.counters);
    }

    /// Tells that this side has ended.
    pub(super) fn tell_ends(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let has_ended = match self.link.phase() {
            Phase::WriteClosed | Phase::Lingering(_) => true,
            Phase::Closed(reason) => matches!(reason, Reason::PeerClosed | Reason::Local | Reason::Drain),
            Phase::Connecting | Phase::Handshaking | Phase::Open => false,
            Phase::HalfOpen | Phase::Finishing | Phase::Flushing(_) => false,
        };
        let is_open = cx.state.reported.get(id).is_some_and(|seen| seen.stage == Stage::Open);
        if has_ended && is_open && self.role_kind != RoleKind::Gone {
            self.tell_progress(id, cx);
            if let Some(seen) = cx.state.reported.get(id) {
                seen.stage = Stage::WriteClosed;
            }
            self.tell_state(id, ConnState::CloseWrite, cx);
        }
    }
}
