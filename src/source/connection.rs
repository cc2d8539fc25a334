//! A link and its handler: the only place where a connection's callbacks are called.
//!
//! Owns the order of things in one drive: what the kernel said, waiting output, input, the end. Knows no table; other
//! connections are reached through the turn.
//!
//! 1. A handler is called only in a phase that allows it, and `on_close` once, last (A3).
//! 2. It answers `Wait` only if nothing is left that no event would announce (A1).

mod dialling;
mod draining;
mod expiry;
mod holding_back;
mod input;
mod role;
mod short;
mod states;

use crate::clock::Tick;
use crate::command::batch::Told;
use crate::command::{Adopter, Observed, Order};
use crate::conn::Conn;
use crate::error::{Expiry, Reason};
use crate::handler::{ConnState, Handler, Next, guarded};
use crate::id::SourceId;
use crate::link::Link;
use crate::link::buffers::Scratch;
use crate::link::handshake::{Elsewhere, Stepped};
use crate::link::phase::{Phase, Signal};
use crate::net::Readiness;
use crate::net::stream::Watched;
use crate::source::Cause;
use crate::turn::Turn;
use bytes::Bytes;
use input::Budget;
use role::{Held, Role, RoleKind};
use short::Gait;

pub(crate) struct Connection {
    link: Link,
    held: Held,
    role_kind: RoleKind,
    origin: Origin,
    /// The slot of the acceptor, which outlives its connections, or `SourceId::NO_SLOT`.
    acceptor: u32,
    /// What the kernel was last asked to report; `None` before it was asked.
    watched: Option<Watched>,
    gait: Gait,
}

/// Where the link comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Accepted,
    /// The listener is told how it comes along.
    Observed,
    Dialled,
    /// An attempt of a connect, which nobody but the connect knows.
    Attempted,
    Adopted,
}

impl Connection {
    fn new(link: Link, role: Role, origin: Origin) -> Connection {
        let (role_kind, held) = role.packed();
        Connection { link, held, role_kind, origin, acceptor: SourceId::NO_SLOT, watched: None, gait: Gait::Long }
    }

    pub(crate) fn accepted(link: Link, acceptor: u32, observed: Observed) -> Connection {
        let origin = match observed {
            Observed::No => Origin::Accepted,
            Observed::Yes => Origin::Observed,
        };
        Connection { acceptor, ..Connection::new(link, Role::Accepted, origin) }
    }

    pub(crate) fn adopted(link: Link, handler: Box<dyn Handler>, now: Tick) -> Connection {
        Connection::taken_over(link, Role::Given(handler), now)
    }

    pub(crate) fn adopted_by(link: Link, adopter: Adopter, now: Tick) -> Connection {
        Connection::taken_over(link, Role::Adopter(adopter), now)
    }

    fn taken_over(mut link: Link, role: Role, now: Tick) -> Connection {
        link.settle_in(now);
        Connection::new(link, role, Origin::Adopted)
    }

    /// Whether others may see it: not before it was driven, which a local command will do, and no attempt of a connect.
    pub(crate) fn has_begun(&self) -> bool {
        self.role_kind != RoleKind::Accepted && self.counts()
    }

    /// Whether it counts as a connection: attempts of a connect do not.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self.origin, Origin::Attempted)
    }

    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.link.phase(), Phase::Connecting)
    }

    pub(crate) fn is_shaking_hands(&self) -> bool {
        matches!(self.link.phase(), Phase::Handshaking)
    }

    pub(crate) fn link(&mut self) -> &mut Link {
        self.gait = Gait::Long;
        &mut self.link
    }

    pub(crate) fn link_ref(&self) -> &Link {
        &self.link
    }

    pub(crate) fn into_link(self) -> Link {
        self.link
    }

    /// The slot of the acceptor that it counts for.
    pub(crate) fn acceptor(&self) -> Option<u32> {
        (self.acceptor != SourceId::NO_SLOT).then_some(self.acceptor)
    }

    pub(crate) fn deadline(&self) -> Option<Tick> {
        let mut due = self.link.phase_deadline().map_or(Tick::NEVER, |(due, _)| due);
        if !self.is_upgrading() {
            due = due.min(self.link.timer());
        }
        if self.role_kind == RoleKind::Coming {
            due = self.dial().map_or(due, |dial| dial.wake);
        }
        (due != Tick::NEVER).then_some(due)
    }

    /// Whether TLS shakes hands in the middle: the handler is told nothing until it is done.
    fn is_upgrading(&self) -> bool {
        matches!(self.link.phase(), Phase::Handshaking) && self.role_kind == RoleKind::Live
    }

    /// Does what `cause` asks for, and all that follows from it within the turn's budget.
    pub(crate) fn drive(&mut self, id: SourceId, cause: Cause, scratch: &mut Scratch, turn: &mut Turn<'_>) -> Next {
        let (steps, expires) = (matches!(cause, Cause::Step), matches!(cause, Cause::Expired));
        let mut stalled = None;
        match cause {
            Cause::Ready(ready) => self.note(ready, turn),
            Cause::Again | Cause::Step | Cause::Arrived(_) => {}
            Cause::Depart => self.depart(id, turn),
            Cause::Return(mut away) => {
                let (is_upgrade, desk) = (self.is_upgrading(), &mut *turn.desk);
                if self.link.come_back(&mut away, &mut desk.buffers, desk.now).is_some() {
                    self.follow_step(id, is_upgrade, away.plain(), turn);
                } else {
                    self.fail_step(turn);
                }
            }
            // What the deadline is about is tried once more before it ends anything.
            Cause::Expired if self.link.phase_deadline().is_some_and(|(due, _)| due <= turn.desk.judged) => {
                stalled = self.link.try_output_again();
            }
            Cause::Expired => {}
            Cause::Order(order) => self.obey(id, order, turn),
            Cause::Orders(batch) => batch.for_each(|told| match told {
                Told::Send(bytes) => self.send(id, bytes, turn),
                Told::Order(order) => self.obey(id, order, turn),
            }),
        }
        if self.role_kind != RoleKind::Live {
            self.begin(id, turn);
        }
        if self.link.has_output_business() {
            self.send_waiting(id, turn);
        }
        if expires {
            self.link.judge_progress(stalled, turn.desk.now);
            self.expire(id, turn);
        }
        if steps {
            self.take_step(id, scratch, turn);
        }
        if let Origin::Attempted = self.origin {
            if let Some(next) = self.leave_race(turn) {
                return next;
            }
        }
        self.go_on(id, Budget::of(self.link.limits()), scratch, turn)
    }

    /// Takes input within the budget, and ends the drive.
    fn go_on(&mut self, id: SourceId, budget: Budget, scratch: &mut Scratch, turn: &mut Turn<'_>) -> Next {
        self.take_input(id, budget, scratch, turn);
        if self.link.owes_hangup() && !self.is_leaving(turn) {
            self.link.hangup_told();
            self.call(id, turn, |handler, conn| handler.on_hangup(conn));
        }
        let next = self.finish_drive(id, turn);
        self.set_gait(next, &mut turn.desk.buffers.pool);
        next
    }

    /// Runs one callback with this connection lent; `None` if it panicked, or nobody is called back.
    #[inline(always)]
    fn call<T>(
        &mut self,
        id: SourceId,
        turn: &mut Turn<'_>,
        callback: impl FnOnce(&mut dyn Handler, &mut Conn<'_>) -> T,
    ) -> Option<T> {
        let acceptor = self.acceptor;
        let Held::Live(handler) = &mut self.held else { return None };
        let mut conn = Conn { id, acceptor, link: &mut self.link, turn: turn.again() };
        let called = guarded(|| callback(handler.as_mut(), &mut conn));
        if called.is_none() {
            self.panicked(turn);
        }
        called
    }

    fn panicked(&mut self, turn: &mut Turn<'_>) {
        turn.desk.counters.panics += 1;
        turn.desk.parting = None;
        self.link.signal(Signal::Close(Reason::HandlerPanicked), turn.desk.now);
    }

    // --- causes ---------------------------------------------------------------------------------------------------

    fn note(&mut self, ready: Readiness, turn: &mut Turn<'_>) {
        self.link.note(ready);
        let connecting = matches!(self.link.phase(), Phase::Connecting);
        if ready.error && !connecting && (!self.link.may_read() || self.is_unread(turn)) {
            self.link.check_error(turn.desk.now);
        }
    }

    fn obey(&mut self, id: SourceId, order: Order, turn: &mut Turn<'_>) {
        let now = turn.desk.now;
        match order {
            Order::Send(bytes) => {
                self.make_room(bytes.len(), turn);
                if let Err(why) = self.link.write_bytes(&bytes, &mut turn.desk.buffers, now) {
                    turn.desk.undelivered.push((id, bytes, why));
                }
            }
            Order::Finish => self.link.signal(Signal::Finish, now),
            Order::Close => self.link.signal(Signal::Close(turn.closing_reason()), now),
            Order::Abort => {
                // What was sent before it has left before it.
                self.link.send_gathered(&mut turn.desk.buffers, now);
                self.link.signal(Signal::Abort, now);
            }
            Order::Pause => self.link.pause(&mut turn.desk.buffers.pool),
            Order::Resume => self.link.resume(),
            Order::Drain => self.drain(id, turn),
            Order::Hurry => self.link.hurry_handshake(turn.drain_share(), now),
            Order::Cut => self.link.signal(Signal::Expired(Expiry::Drain), now),
            Order::Relieve => self.link.signal(Signal::Failed(Reason::QueueLimit), now),
            Order::ReactorDropped => self.link.signal(Signal::Failed(Reason::ReactorDropped), now),
            Order::Found(family, found) => self.note_found(family, *found, turn),
            Order::Raced(attempt, outcome) => self.note_raced(attempt, outcome, turn),
            Order::SendTo(..)
            | Order::Remove
            | Order::Release(_)
            | Order::Freed
            | Order::SeatBack
            | Order::Unfeed(_) => {}
        }
    }

    /// Queues what another thread sent.
    fn send(&mut self, id: SourceId, bytes: &[u8], turn: &mut Turn<'_>) {
        self.make_room(bytes.len(), turn);
        if let Err(why) = self.link.write(&[bytes], &mut turn.desk.buffers, turn.desk.now) {
            turn.desk.undelivered.push((id, Bytes::copy_from_slice(bytes), why));
        }
    }

    /// Others of a batch may wait in the gather buffer only for this drive's end.
    fn make_room(&mut self, bytes: usize, turn: &mut Turn<'_>) {
        if bytes > self.link.room(turn.desk.buffers.gather.len()) {
            self.link.send_gathered(&mut turn.desk.buffers, turn.desk.now);
        }
    }

    // --- the beginning --------------------------------------------------------------------------------------------

    /// Goes on with a connect, and opens what is established.
    fn begin(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        if matches!(self.link.phase(), Phase::Connecting) {
            self.connect(id, turn);
            self.go_on_dialling(id, turn);
        }
        if self.role_kind == RoleKind::Accepted {
            self.role_kind = RoleKind::Admitted;
            self.tell_state(id, ConnState::New, turn);
        }
        if matches!(self.link.phase(), Phase::Handshaking) && !self.link.is_tls() {
            // A plain link has no handshake.
            self.link.signal(Signal::Secured, turn.desk.now);
        }
        if self.origin == Origin::Attempted && self.link.phase().is_lively() {
            return;
        }
        if self.watched.is_none() && !matches!(self.link.phase(), Phase::Connecting | Phase::Closed(_)) {
            self.register(id, turn);
        }
        if !matches!(self.role_kind, RoleKind::Live | RoleKind::Gone) && self.link.phase().is_lively() {
            self.open(id, turn);
            turn.announce_drain(id, self.bytes_before_request(turn.desk.now));
        }
    }

    fn register(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let first = self.link.stream().watched_first();
        match self.link.stream_mut().register(&turn.desk.registry, id.word(), first) {
            Ok(()) => self.watched = Some(first),
            Err(error) => self.link.signal(Signal::Failed(Reason::of(&error)), turn.desk.now),
        }
    }

    /// Takes the handshake's next step, and opens what is established by it.
    fn take_step(&mut self, id: SourceId, scratch: &mut Scratch, turn: &mut Turn<'_>) {
        let is_upgrade = self.is_upgrading();
        let desk = &mut *turn.desk;
        let elsewhere = if desk.handshakes.have_threads() { Elsewhere::Possible } else { Elsewhere::No };
        match guarded(|| self.link.take_step(elsewhere, scratch, &mut desk.buffers, desk.now)) {
            Some(Stepped::Taken(bytes)) => self.follow_step(id, is_upgrade, bytes, turn),
            Some(Stepped::Elsewhere) => {
                desk.handshakes.push_elsewhere(id, desk.now, self.link.limits().handshake_timeout);
            }
            None => self.fail_step(turn),
        }
    }

    /// A step panicked.
    fn fail_step(&mut self, turn: &mut Turn<'_>) {
        turn.desk.counters.panics += 1;
        self.link.fail_step(&mut turn.desk.buffers, turn.desk.now);
    }

    /// Sends the handshake's next step to another thread, which the mailbox is told by when it is done.
    fn depart(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let Some(mut away) = self.link.depart(&mut turn.desk.buffers, turn.desk.now) else { return };
        let remote = turn.remote();
        turn.desk.handshakes.send_away(Box::new(move || {
            // Of a panic there is no result, which tells it.
            let _ = guarded(|| away.open());
            remote.bring_back(id, away);
        }));
    }

    /// Opens what is established by a step, and delivers what was opened behind it.
    fn follow_step(&mut self, id: SourceId, is_upgrade: bool, bytes: &[u8], turn: &mut Turn<'_>) {
        match self.link.phase() {
            Phase::Handshaking => {}
            Phase::Open => {
                if !matches!(self.role_kind, RoleKind::Live | RoleKind::Gone) {
                    self.open(id, turn);
                }
                if is_upgrade {
                    self.call(id, turn, |handler, conn| handler.on_secured(conn));
                }
                // A request may have come behind the handshake's last words.
                let beyond = if bytes.is_empty() { self.link.bytes_in() } else { 0 };
                if !bytes.is_empty() && self.link.phase().delivers_input() {
                    self.deliver(id, bytes, turn);
                }
                turn.announce_drain(id, beyond);
            }
            Phase::Connecting
            | Phase::HalfOpen
            | Phase::Finishing
            | Phase::WriteClosed
            | Phase::Flushing(_)
            | Phase::Lingering(_)
            | Phase::Closed(_) => {
                if self.link.owes_retort() {
                    self.retort(bytes, turn);
                }
                self.give_up(turn);
            }
        }
    }

    /// Answers a peer that speaks no TLS: by what the listener says, or by an alert.
    fn retort(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        let mut answer = None;
        if self.is_before_its_handler() {
            match self.ask_maker(turn, |maker, peer| maker.answer_plain(peer, bytes)) {
                Some(Some(said)) => answer = said,
                Some(None) => turn.desk.counters.panics += 1,
                None => {}
            }
        }
        self.link.retort(answer.as_deref(), &mut turn.desk.buffers, turn.desk.now);
    }

    /// A handshake failed: it counts as under way no longer, though its alert may still be on the way.
    fn give_up(&mut self, turn: &mut Turn<'_>) {
        if self.is_before_its_handler() {
            self.role_kind = RoleKind::Refused;
            self.leave_handshake(turn);
        }
    }

    fn leave_handshake(&self, turn: &mut Turn<'_>) {
        if self.link.is_tls() {
            turn.desk.leave_handshake();
        }
    }

    /// Makes the handler and tells it.
    fn open(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let handler = match self.take_role() {
            Role::Accepted | Role::Admitted => {
                self.leave_handshake(turn);
                self.make(id, turn)
            }
            Role::Given(handler) => Some(handler),
            Role::Adopter(adopter) => {
                let conn = Conn { id, acceptor: self.acceptor, link: &mut self.link, turn: turn.again() };
                guarded(|| adopter(&conn))
            }
            role @ (Role::Dialling(_) | Role::Racing(_) | Role::Refused | Role::Live(_) | Role::Gone) => {
                self.set_role(role);
                return;
            }
        };
        let Some(handler) = handler else {
            self.never_made(Reason::HandlerPanicked, turn);
            return self.panicked(turn);
        };
        self.set_role(Role::Live(handler));
        turn.desk.counters.opened += 1;
        self.states_begin(id, turn);
        self.call(id, turn, |handler, conn| handler.on_open(conn));
    }

    fn make(&mut self, id: SourceId, turn: &mut Turn<'_>) -> Option<Box<dyn Handler>> {
        let acceptor = self.acceptor()?;
        let mut maker = turn.table.maker(acceptor).and_then(Option::take)?;
        let conn = Conn { id, acceptor: self.acceptor, link: &mut self.link, turn: turn.again() };
        let made = guarded(|| maker.make(&conn));
        if let Some(place) = turn.table.maker(acceptor) {
            *place = Some(maker);
        }
        made
    }

    // --- output ---------------------------------------------------------------------------------------------------

    /// Offers waiting output to the kernel, and tells the handler when there is room again.
    fn send_waiting(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let desk = &mut *turn.desk;
        let flushes = self.link.may_flush();
        if flushes {
            self.link.flush(&mut desk.buffers, desk.now);
        }
        if (flushes || self.link.unsent_bytes() == 0) && self.link.writable_is_due() && !self.is_leaving(turn) {
            self.link.pay();
            self.call(id, turn, |handler, conn| handler.on_writable(conn));
        }
    }

    fn is_leaving(&self, turn: &Turn<'_>) -> bool {
        turn.desk.parting.is_some()
    }

    // --- the end --------------------------------------------------------------------------------------------------

    fn finish_drive(&mut self, id: SourceId, turn: &mut Turn<'_>) -> Next {
        let desk = &mut *turn.desk;
        self.link.send_gathered(&mut desk.buffers, desk.now);
        if let Origin::Observed = self.origin {
            self.tell_progress(id, turn);
        }
        let desk = &mut *turn.desk;
        if desk.parting.is_some() && !matches!(self.link.phase(), Phase::Closed(_)) {
            return self.part(id, turn);
        }
        self.link.settle(&mut desk.buffers, desk.now);
        match self.origin {
            Origin::Observed => self.tell_ends(id, turn),
            // It may have ended only now.
            Origin::Attempted => drop(self.leave_race(turn)),
            Origin::Accepted | Origin::Dialled | Origin::Adopted => {}
        }
        if let Phase::Closed(reason) = self.link.phase() {
            self.close(id, reason, turn);
            return Next::Remove;
        }
        self.watch(id, turn);
        if self.link.queues_step(turn.desk.now) {
            turn.desk.handshakes.push(id, turn.desk.now, self.link.limits().handshake_timeout);
        }
        if let Phase::Closed(_) = self.link.phase() {
            return Next::Again;
        }
        if self.link.wants_again() && !self.is_held_back(id, turn) { Next::Again } else { Next::Wait }
    }

    /// Asks the kernel for what is needed now: of Unix streams, writability only while they are blocked.
    fn watch(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let wanted = self.link.watched();
        if self.watched.is_some_and(|watched| watched != wanted) {
            match self.link.stream_mut().reregister(&turn.desk.registry, id.word(), wanted) {
                Ok(()) => self.watched = Some(wanted),
                Err(error) => self.link.signal(Signal::Failed(Reason::of(&error)), turn.desk.now),
            }
        }
    }

    /// Tells the handler, or the listener if there never was one, that it is over.
    fn close(&mut self, id: SourceId, reason: Reason, turn: &mut Turn<'_>) {
        self.link.take_leave(reason, &mut turn.desk.buffers);
        let lost = self.link.unsent_bytes() as u64;
        if log::log_enabled!(log::Level::Debug) {
            let peer = self.link.peer_ip().map(|ip| format!(" of {ip}")).unwrap_or_default();
            let ended = reason.with_detail(self.link.failure_detail());
            log::debug!("connection {id}{peer}: ended: {ended}; {lost} bytes of output were not sent");
        }
        if lost > 0 {
            turn.desk.counters.bytes_lost += lost;
            if reason.is_failure_here() {
                self.link.log_lost(lost);
            }
        }
        if self.counts() {
            turn.account_close(lost);
        }
        if let Origin::Adopted = self.origin {
            // It may have duplicates elsewhere, for which the kernel would go on reporting.
            let _ = self.link.stream_mut().deregister(&turn.desk.registry);
        }
        match self.take_role() {
            // Nobody listens for these.
            Role::Dialling(dial) => {
                dialling::call_off(&dial, turn);
                self.say_close(id, dial.handler, reason, turn);
            }
            Role::Given(handler) => {
                self.say_close(id, handler, reason, turn);
            }
            Role::Live(handler) => {
                let closing = self.say_close(id, handler, reason, turn);
                self.tell_trouble(closing, turn);
            }
            Role::Adopter(adopter) => {
                if guarded(|| drop(adopter)).is_none() {
                    turn.desk.counters.panics += 1;
                }
                self.never_made(reason, turn);
            }
            Role::Accepted | Role::Admitted => {
                self.leave_handshake(turn);
                self.never_made(reason, turn);
            }
            Role::Refused => self.never_made(reason, turn),
            Role::Racing(_) | Role::Gone => {}
        }
        // Not before: `on_close` may ask what was lost.
        self.link.discard(&mut turn.desk.buffers);
        turn.desk.parting = None;
        self.tell_left(id, turn);
    }

    /// Tells a handler that it is over, and returns what its listener is to be told: of a good end that panicked, the panic.
    fn say_close(
        &mut self,
        id: SourceId,
        mut handler: Box<dyn Handler>,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Reason {
        turn.desk.counters.count_closed(reason);
        let panics = turn.desk.counters.panics;
        let mut conn = Conn { id, acceptor: self.acceptor, link: &mut self.link, turn: turn.again() };
        if guarded(|| handler.on_close(&mut conn, reason)).is_none() {
            turn.desk.counters.panics += 1;
        }
        // A handler's own Drop is user code too.
        if guarded(|| drop(handler)).is_none() {
            turn.desk.counters.panics += 1;
        }
        if turn.desk.counters.panics > panics && !reason.is_trouble() { Reason::HandlerPanicked } else { reason }
    }

    /// Leaves the reactor alive: the kernel reports no more, the handler is told, and the reactor hands the link on.
    fn part(&mut self, id: SourceId, turn: &mut Turn<'_>) -> Next {
        // A stream that is still registered can be taken off; if it cannot, it is closed already.
        let _ = self.link.stream_mut().deregister(&turn.desk.registry);
        // To its old handler it is closed; to the new one it is what it was.
        let phase = self.link.set_phase(Phase::Closed(Reason::Detached));
        if let Role::Live(handler) = self.take_role() {
            let closing = self.say_close(id, handler, Reason::Detached, turn);
            self.tell_trouble(closing, turn);
        }
        self.tell_left(id, turn);
        self.link.set_phase(phase);
        Next::Remove
    }
}
