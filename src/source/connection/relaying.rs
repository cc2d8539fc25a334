//! Two connections that are coupled for good: what one reads, the other sends.
//!
//! Owns when bytes, ends and failures are passed on. Both handlers stay with their connections and are called once more, at
//! the end. A drive works on its own connection, and touches the partner's link in the table; what follows for the partner
//! happens in the partner's own drive, which it is woken for (A2).
//!
//! Few bytes are read and sent; many go through a pipe, which is empty again when the drive ends: what the partner does not take
//! is read out of it, and waits as all its output does. So a pipe is all that differs between the two ways.
//!
//! 1. Nothing is read while output of the partner waits: of either direction no more than [`RELAY_BYTES`] and a TLS record
//!    are on the way, or what the kernel has room for.
//! 2. A source that was blocked is woken by the drive in which its partner's last waiting byte left.
//! 3. The end of a connection ends its partner in the same drive, unless both ends were passed on before.

use crate::conn::Other;
use crate::context::Context;
use crate::error::{Expiry, Reason};
use crate::id::SourceId;
use crate::link::buffers::{Pool, Scratch};
use crate::link::phase::{Phase, Signal};
use crate::link::quota::Quota;
use crate::source::connection::Connection;
use crate::source::connection::input::Budget;
use crate::source::connection::role::{Flow, Pace, Relay, Role, RoleKind};

/// Bytes that are read at once, and so what waits for a partner that takes nothing.
const RELAY_BYTES: usize = 32 * 1024;

/// If less comes at a time, another call costs more than the copies.
const SPLICED_BYTES_MIN: usize = 4 * 1024;

/// What the partner must be told of after a drive.
#[derive(Clone, Copy)]
pub(super) struct Coupled {
    partner: SourceId,
    flows: Flow,
}

/// What the partner can take.
enum Target {
    Room(usize),
    /// Nothing before its output has left, or never: then its own drive ends this connection.
    Full,
    /// Somebody else has ended its output.
    Ended,
    Gone,
}

impl Connection {
    /// Whether it can be coupled.
    pub(crate) fn may_be_relayed(&self) -> bool {
        self.role_kind == RoleKind::Live && self.link.may_be_relayed()
    }

    /// Couples this side. Called outside its own drive, which must follow.
    pub(crate) fn begin_relay(&mut self, partner: SourceId, pool: &mut Pool) {
        self.link().begin_relay(pool);
        self.couple(partner);
    }

    fn couple(&mut self, partner: SourceId) {
        match self.take_role() {
            Role::Live(handler) => {
                let relay = Relay { handler, partner, input: Flow::Open, output: Flow::Open, pace: Pace::Little };
                self.set_role(Role::Relayed(relay));
            }
            role @ (Role::Accepted
            | Role::Admitted
            | Role::Refused
            | Role::Dialling(_)
            | Role::Racing(_)
            | Role::Given(_)
            | Role::Adopter(_)
            | Role::Successor(_)
            | Role::Relayed(_)
            | Role::Gone) => self.set_role(role),
        }
    }

    /// What is to be told to the partner, if there is one; to be asked before the end of a drive, which may drop the handler.
    pub(super) fn coupled(&self) -> Option<Coupled> {
        let Relay { partner, input, output, .. } = self.relay_side()?;
        let both_ended = (*input, *output) == (Flow::Ended, Flow::Ended);
        Some(Coupled { partner: *partner, flows: if both_ended { Flow::Ended } else { Flow::Open } })
    }

    /// Passes on what was read, and reads within the budget as long as the partner takes it.
    pub(super) fn relay(&mut self, id: SourceId, budget: Budget, scratch: &mut Scratch, cx: &mut Context<'_>) {
        if let Some(partner) = cx.state.relay_request.take() {
            self.couple(partner);
        }
        // What callbacks wrote to the partner comes first.
        cx.send_gathered();
        let Some(Relay { partner, .. }) = self.relay_side() else { return };
        let partner = *partner;
        match self.link.phase() {
            Phase::Open | Phase::HalfOpen | Phase::Finishing | Phase::WriteClosed => {
                self.forward(partner, budget, scratch, cx);
                self.pass_end(id, partner, cx);
            }
            Phase::Flushing(_) | Phase::Lingering(_) => self.take_input(id, budget, scratch, cx),
            Phase::Connecting | Phase::Handshaking | Phase::Closed(_) => {}
        }
    }

    fn forward(&mut self, partner: SourceId, budget: Budget, scratch: &mut Scratch, cx: &mut Context<'_>) {
        let Budget { mut bytes, reads, records } = budget;
        let mut quota = Quota { records, ..Quota::TURN };
        let mut splices = self.may_splice(partner, cx);
        for _ in 0..reads {
            let Some(room) = self.forward_rest(partner, cx) else { return };
            if !self.link.may_read() || bytes == 0 || quota.is_used() {
                return;
            }
            // What was read already may be opened in any case: that frees what it holds.
            let allowed = if self.link.has_unopened() { Some(bytes) } else { self.allowed(bytes, cx) };
            let Some(allowed) = allowed else { return };
            let piece = self.link.piece(allowed.min(room), scratch);
            if splices && piece == RELAY_BYTES {
                match self.splice(partner, allowed, cx) {
                    Some(0) => return,
                    Some(moved) => {
                        bytes = allowed - moved;
                        self.note_pace(moved);
                        // Only a read says that nothing is left.
                        splices = moved >= RELAY_BYTES;
                        continue;
                    }
                    None => {}
                }
            }
            let state = &mut *cx.state;
            let Some((read, came)) =
                self.link.receive_opened(piece, &mut quota, scratch, &mut state.buffers, state.now)
            else {
                return;
            };
            bytes = allowed.saturating_sub(read);
            self.note_pace(read);
            splices = read == piece && self.may_splice(partner, cx);
            if self.link.phase().delivers_input() {
                let taken = self.send_on(partner, came, cx);
                // With TLS more may come than there was room for.
                self.link.keep_input(&came[taken..], &mut cx.state.buffers.pool);
            }
        }
        self.forward_rest(partner, cx);
    }

    /// Whether what comes next goes through a pipe.
    fn may_splice(&mut self, partner: SourceId, cx: &mut Context<'_>) -> bool {
        let is_bulk = self.relay_side().is_some_and(|relay| relay.pace == Pace::Bulk);
        if !is_bulk || !self.link.may_be_spliced() {
            return false;
        }
        let partner = cx.table.connection(partner).map(|partner| partner.link_ref());
        partner.is_some_and(|link| link.phase().takes_output() && link.may_be_spliced())
    }

    /// Moves up to `bytes_max` bytes to the partner without a copy, and more than a piece only where the kernel has room for them;
    /// returns how many there were, none if the connection failed; `None` if a read is to tell.
    fn splice(&mut self, partner: SourceId, bytes_max: usize, cx: &mut Context<'_>) -> Option<usize> {
        let Some(mut pipe) = cx.state.buffers.pool.pipe() else {
            // It is asked for again when two more reads were full.
            self.note_pace(0);
            return None;
        };
        let room = cx.table.connection(partner).map_or(0, |partner| partner.link_ref().splice_room());
        let asked = room.clamp(RELAY_BYTES, bytes_max);
        let moved = self.link.receive_piped(&mut pipe, asked, cx.state.now);
        Other { id: partner, cx: cx.reborrow() }.send_piped(&mut pipe);
        cx.state.buffers.pool.take_pipe_back(pipe);
        moved
    }

    /// Takes note of how much came at once.
    fn note_pace(&mut self, came: usize) {
        if let Some(relay) = self.relay_side_mut() {
            relay.pace = relay.pace.after(came);
        }
    }

    /// Passes on what waits; returns how much more the partner takes, `None` if that is nothing now.
    fn forward_rest(&mut self, partner: SourceId, cx: &mut Context<'_>) -> Option<usize> {
        loop {
            let room = self.room_of(partner, cx)?;
            let Some(rest) = self.link.take_rest() else { return Some(room) };
            let piece = &rest.bytes()[..room.min(rest.bytes().len())];
            let (asked, taken) = (piece.len(), self.send_on(partner, piece, cx));
            self.link.put_rest_back(rest, taken, &mut cx.state.buffers.pool);
            if taken < asked {
                self.link.block_relay();
                return None;
            }
        }
    }

    /// How much the partner takes; if that is nothing, this connection is not read before it is woken (relaying 1).
    fn room_of(&mut self, partner: SourceId, cx: &mut Context<'_>) -> Option<usize> {
        let room = match target(partner, cx) {
            Target::Room(room) => room,
            // It is read all the same: whether anything is lost decides how this one ends.
            Target::Ended => RELAY_BYTES,
            Target::Full => 0,
            Target::Gone => {
                debug_assert!(false, "relaying 3: a partner left without a word");
                self.link.signal(Signal::Abort, cx.state.now);
                0
            }
        };
        if room == 0 {
            self.link.block_relay();
            return None;
        }
        self.link.unblock_relay();
        Some(room)
    }

    /// Has the partner send `bytes`; returns how many it took.
    fn send_on(&mut self, partner: SourceId, bytes: &[u8], cx: &mut Context<'_>) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        if let Target::Ended = target(partner, cx) {
            // They have nowhere to go, and an end in order would tell the peer that they had arrived.
            self.link.signal(Signal::Abort, cx.state.now);
            return bytes.len();
        }
        Other { id: partner, cx: cx.reborrow() }.send_at_once(bytes)
    }

    /// Passes the peer's end on, behind all that it sent; one that was cut ends both.
    fn pass_end(&mut self, id: SourceId, partner: SourceId, cx: &mut Context<'_>) {
        if self.link.has_unread() || self.link.has_unopened() {
            return;
        }
        let comes_now = self.link.has_ended() && self.link.phase().delivers_input();
        if comes_now && self.link.is_truncated() {
            return self.link.signal(Signal::Close(Reason::Truncated), cx.state.now);
        }
        if comes_now {
            self.note_end(id, cx);
        } else if !matches!(self.link.phase(), Phase::HalfOpen) {
            return;
        }
        let Some(relay) = self.relay_side_mut() else { return };
        if relay.input == Flow::Open {
            relay.input = Flow::Ended;
            if let Some(partner) = cx.table.connection(partner) {
                partner.link().signal(Signal::Finish, cx.state.now);
                if let Some(relay) = partner.relay_side_mut() {
                    relay.output = Flow::Ended;
                }
            }
            cx.table.wake(partner);
        }
    }

    /// After a drive: tells the partner how this connection ended, or that there is room again.
    pub(super) fn tell_partner(&mut self, coupled: Coupled, cx: &mut Context<'_>) {
        let (closing, now) = (cx.closing_reason(), cx.state.now);
        let Some(partner) = cx.table.connection(coupled.partner) else { return };
        let link = partner.link();
        let before = link.phase();
        let signal = match self.link.phase().reason() {
            // All are told of the latter two.
            None | Some(Reason::ReactorDropped | Reason::Timeout(Expiry::Drain)) => None,
            Some(reason) if reason.is_ordinary() => (coupled.flows == Flow::Open).then_some(Signal::Close(closing)),
            // The partner may be what it ended for: it goes its own way then.
            Some(_) => before.reason().is_none_or(Reason::is_ordinary).then_some(Signal::Abort),
        };
        if let Some(signal) = signal {
            link.signal(signal, now);
        }
        self.link.share_life(link);
        let takes_again = self.link.phase().is_open() && !self.link.has_output();
        let is_freed = takes_again && link.is_relay_blocked() && link.phase().is_open();
        if is_freed || link.phase() != before {
            cx.table.wake(coupled.partner);
        }
    }

    /// A deadline is past: what the partner's peer takes without a word is life as well.
    pub(super) fn hear_partner(&mut self, cx: &mut Context<'_>) {
        let Some(Coupled { partner, .. }) = self.coupled() else { return };
        if let Some(partner) = cx.table.connection(partner) {
            partner.link().note_progress(cx.state.now);
            self.link.share_life(partner.link());
        }
    }
}

fn target(partner: SourceId, cx: &mut Context<'_>) -> Target {
    let Some(partner) = cx.table.connection(partner) else { return Target::Gone };
    let link = partner.link_ref();
    match link.phase() {
        Phase::Open | Phase::HalfOpen if link.has_output() => Target::Full,
        Phase::Open | Phase::HalfOpen => Target::Room(link.room(0).min(RELAY_BYTES)),
        Phase::Finishing | Phase::WriteClosed => Target::Ended,
        Phase::Connecting | Phase::Handshaking => Target::Full,
        Phase::Flushing(_) | Phase::Lingering(_) | Phase::Closed(_) => Target::Full,
    }
}

impl Pace {
    /// What it is when so many bytes have come at once.
    fn after(self, came: usize) -> Pace {
        match self {
            _ if came < SPLICED_BYTES_MIN => Pace::Little,
            Pace::Little if came >= RELAY_BYTES => Pace::Once,
            Pace::Once if came >= RELAY_BYTES => Pace::Bulk,
            Pace::Little | Pace::Once => Pace::Little,
            Pace::Bulk => Pace::Bulk,
        }
    }
}
