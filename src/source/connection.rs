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
mod relaying;
mod replacing;
mod role;
mod short;
mod states;

use crate::clock::Tick;
use crate::command::batch::Item;
use crate::command::{Adopter, Observed, Order};
use crate::conn::Conn;
use crate::context::Context;
use crate::error::{Error, Expiry, Reason};
use crate::handler::{ConnState, Handler, Next, guarded};
use crate::id::{ConnId, SourceId};
use crate::link::Link;
use crate::link::buffers::Scratch;
use crate::link::handshake::{Elsewhere, Stepped};
use crate::link::phase::{Phase, Signal};
use crate::link::quota::Quota;
use crate::message::{Message, Undelivered};
use crate::net::Readiness;
use crate::net::stream::Watched;
use crate::source::Cause;
use bytes::Bytes;
use input::Budget;
use role::{Held, Relay, Role, RoleKind};
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
        link.reset_for_adoption(now);
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
        let has_handler = matches!(self.role_kind, RoleKind::Live | RoleKind::Successor);
        has_handler && matches!(self.link.phase(), Phase::Handshaking)
    }

    /// Does what `cause` asks for, and all that follows from it within the turn's budget.
    pub(crate) fn drive(&mut self, id: SourceId, cause: Cause, scratch: &mut Scratch, cx: &mut Context<'_>) -> Next {
        let (steps, expires) = (matches!(cause, Cause::Step), matches!(cause, Cause::Expired));
        let mut stalled = None;
        match cause {
            Cause::Ready(ready) => self.note(ready, cx),
            Cause::Again | Cause::Step | Cause::Arrived(_) => {}
            Cause::Offload => self.offload(id, cx),
            Cause::OffloadDone(mut away) => {
                let (is_upgrade, state) = (self.is_upgrading(), &mut *cx.state);
                if self.link.come_back(&mut away, &mut state.buffers, state.now).is_some() {
                    self.follow_step(id, is_upgrade, away.plain(), cx);
                } else {
                    self.fail_step(cx);
                }
            }
            // What the deadline is about is tried once more before it ends anything.
            Cause::Expired if self.link.phase_deadline().is_some_and(|(due, _)| due <= cx.state.judged) => {
                stalled = self.link.try_output_again();
            }
            Cause::Expired => {}
            Cause::Order(order) => self.run_commands(id, order, cx),
            Cause::Orders(batch) => batch.for_each(|told| match told {
                Item::Send(bytes) => self.send(id, bytes, cx),
                Item::Order(order) => self.run_commands(id, order, cx),
            }),
        }
        if self.role_kind != RoleKind::Live {
            self.begin(id, cx);
        }
        if self.link.has_output_business() {
            self.send_waiting(id, cx);
        }
        if expires {
            self.link.judge_progress(stalled, cx.state.now);
            self.expire(id, cx);
        }
        if steps {
            self.take_step(id, scratch, cx);
        }
        if let Origin::Attempted = self.origin {
            if let Some(next) = self.leave_race(cx) {
                return next;
            }
        }
        self.go_on(id, Budget::of(self.link.limits()), scratch, cx)
    }

    /// Takes input within the budget, and ends the drive.
    fn go_on(&mut self, id: SourceId, budget: Budget, scratch: &mut Scratch, cx: &mut Context<'_>) -> Next {
        if self.role_kind != RoleKind::Relayed {
            self.take_input(id, budget, scratch, cx);
        }
        if self.link.is_relayed() {
            self.relay(id, budget, scratch, cx);
        }
        if self.link.owes_hangup() && !self.is_detaching(cx) {
            self.link.hangup_told();
            self.call(id, cx, |handler, conn| handler.on_hangup(conn));
            if cx.state.relay_request.is_some() {
                self.relay(id, budget, scratch, cx);
            }
        }
        if self.is_detaching(cx) {
            self.open_all(scratch, cx);
        }
        let coupled = self.coupled();
        let next = self.finish_drive(id, cx);
        if let Some(coupled) = coupled {
            self.tell_partner(coupled, cx);
        }
        self.set_gait(next, &mut cx.state.buffers.pool);
        next
    }

    /// Runs one callback with this connection lent; `None` if it panicked, or nobody is called back. A handler that it sets
    /// has taken over then.
    #[inline(always)]
    fn call<T>(
        &mut self,
        id: SourceId,
        cx: &mut Context<'_>,
        callback: impl FnOnce(&mut dyn Handler, &mut Conn<'_>) -> T,
    ) -> Option<T> {
        let called = self.call_once(id, cx, callback);
        if cx.state.successor.is_some() {
            self.hand_over(id, cx);
        }
        called
    }

    /// The same, and whoever calls it looks for a handler that was set.
    #[inline(always)]
    fn call_once<T>(
        &mut self,
        id: SourceId,
        cx: &mut Context<'_>,
        callback: impl FnOnce(&mut dyn Handler, &mut Conn<'_>) -> T,
    ) -> Option<T> {
        let acceptor = self.acceptor;
        let Held::Live(handler) = &mut self.held else { return None };
        let mut conn = Conn { id, acceptor, link: &mut self.link, cx: cx.reborrow() };
        let called = guarded(|| callback(handler.as_mut(), &mut conn));
        if called.is_none() {
            self.panicked(cx);
        }
        called
    }

    fn panicked(&mut self, cx: &mut Context<'_>) {
        cx.state.counters.panics += 1;
        cx.state.detach_request = None;
        self.drop_successor(cx);
        self.link.signal(Signal::Close(Reason::HandlerPanicked), cx.state.now);
    }

    // --- causes ---------------------------------------------------------------------------------------------------

    fn note(&mut self, ready: Readiness, cx: &mut Context<'_>) {
        self.link.note(ready);
        let connecting = matches!(self.link.phase(), Phase::Connecting);
        if ready.error && !connecting && (!self.link.may_read() || self.is_unread(cx)) {
            self.link.check_error(cx.state.now);
        }
    }

    fn run_commands(&mut self, id: SourceId, order: Order, cx: &mut Context<'_>) {
        let now = cx.state.now;
        match order {
            Order::Send(bytes) => {
                self.make_room(bytes.len(), cx);
                if let Err(why) = self.link.write_bytes(&bytes, &mut cx.state.buffers, now) {
                    cx.state.undelivered.push((Undelivered::Bytes(ConnId(id), bytes), why.into()));
                }
            }
            Order::Finish => self.link.signal(Signal::Finish, now),
            Order::Close => self.link.signal(Signal::Close(cx.closing_reason()), now),
            Order::Abort => {
                // What was sent before it has left before it.
                self.link.send_gathered(&mut cx.state.buffers, now);
                self.link.signal(Signal::Abort, now);
            }
            Order::Pause => self.link.pause(&mut cx.state.buffers.pool),
            Order::Resume => self.link.resume(),
            Order::Drain => self.drain(id, cx),
            Order::Hurry => self.link.hurry_handshake(cx.drain_share(), now),
            Order::Cut => self.link.signal(Signal::Expired(Expiry::Drain), now),
            Order::Relieve => self.link.signal(Signal::Failed(Reason::QueueLimit), now),
            Order::ReactorDropped => self.link.signal(Signal::Failed(Reason::ReactorDropped), now),
            Order::Found(family, found) => self.note_found(family, *found, cx),
            Order::Raced(attempt, outcome) => self.note_raced(attempt, outcome, cx),
            Order::Tell(message) => self.show_message(id, message, cx),
            Order::SendTo(..)
            | Order::Remove
            | Order::Release(_)
            | Order::CapacityAvailable
            | Order::SeatBack
            | Order::Unfeed(_) => {}
        }
    }

    /// Queues what another thread sent.
    fn send(&mut self, id: SourceId, bytes: &[u8], cx: &mut Context<'_>) {
        self.make_room(bytes.len(), cx);
        if let Err(why) = self.link.write(&[bytes], &mut cx.state.buffers, cx.state.now) {
            let bytes = Bytes::copy_from_slice(bytes);
            cx.state.undelivered.push((Undelivered::Bytes(ConnId(id), bytes), why.into()));
        }
    }

    /// Shows the handler a message. What it does not take comes back.
    fn show_message(&mut self, id: SourceId, mut message: Message, cx: &mut Context<'_>) {
        let is_called = self.role_kind == RoleKind::Live && !self.link.is_relayed();
        let why = if is_called && self.link.phase().is_open() {
            self.call(id, cx, |handler, conn| handler.on_message(conn, &mut message));
            Error::NotTaken
        } else {
            Error::NotOpen
        };
        if !message.is_taken() {
            cx.state.undelivered.push((Undelivered::Message(ConnId(id), message), why));
        }
    }

    /// Others of a batch may wait in the gather buffer only for this drive's end.
    fn make_room(&mut self, bytes: usize, cx: &mut Context<'_>) {
        if bytes > self.link.room(cx.state.buffers.gather.len()) {
            self.link.send_gathered(&mut cx.state.buffers, cx.state.now);
        }
    }

    // --- the beginning --------------------------------------------------------------------------------------------

    /// Goes on with a connect, and opens what is established.
    fn begin(&mut self, id: SourceId, cx: &mut Context<'_>) {
        if self.role_kind == RoleKind::Relayed {
            return;
        }
        if matches!(self.link.phase(), Phase::Connecting) {
            self.connect(id, cx);
            self.go_on_dialling(id, cx);
        }
        if self.role_kind == RoleKind::Accepted {
            self.role_kind = RoleKind::Admitted;
            self.tell_state(id, ConnState::New, cx);
        }
        if matches!(self.link.phase(), Phase::Handshaking) && !self.link.is_tls() {
            // A plain link has no handshake.
            self.link.signal(Signal::Secured, cx.state.now);
        }
        if self.origin == Origin::Attempted && self.link.phase().is_open() {
            return;
        }
        if self.watched.is_none() && !matches!(self.link.phase(), Phase::Connecting | Phase::Closed(_)) {
            self.register(id, cx);
        }
        if !matches!(self.role_kind, RoleKind::Live | RoleKind::Gone) && self.link.phase().is_open() {
            self.open(id, cx);
            cx.announce_drain(id, self.bytes_before_request(cx.state.now));
        }
    }

    fn register(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let first = self.link.stream().watched_first();
        match self.link.stream_mut().register(&cx.state.registry, id.word(), first) {
            Ok(()) => self.watched = Some(first),
            Err(error) => self.link.signal(Signal::Failed(Reason::of(&error)), cx.state.now),
        }
    }

    /// Takes the handshake's next step, and opens what is established by it.
    fn take_step(&mut self, id: SourceId, scratch: &mut Scratch, cx: &mut Context<'_>) {
        let is_upgrade = self.is_upgrading();
        let state = &mut *cx.state;
        let elsewhere = if state.handshakes.have_threads() { Elsewhere::Possible } else { Elsewhere::No };
        match guarded(|| {
            self.link.take_step(elsewhere, &mut Quota::TURN.clone(), scratch, &mut state.buffers, state.now)
        }) {
            Some(Stepped::Taken(bytes)) => self.follow_step(id, is_upgrade, bytes, cx),
            Some(Stepped::Elsewhere) => {
                state.handshakes.push_elsewhere(id, state.now, self.link.limits().handshake_timeout);
            }
            None => self.fail_step(cx),
        }
    }

    /// A step panicked.
    fn fail_step(&mut self, cx: &mut Context<'_>) {
        cx.state.counters.panics += 1;
        self.link.fail_step(&mut cx.state.buffers, cx.state.now);
    }

    /// Sends the handshake's next step to another thread, which the mailbox is told by when it is done.
    fn offload(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let Some(mut away) = self.link.offload(&mut cx.state.buffers, cx.state.now) else { return };
        let remote = cx.remote();
        cx.state.handshakes.send_away(Box::new(move || {
            // Of a panic there is no result, which tells it.
            let _ = guarded(|| away.open());
            remote.bring_back(id, away);
        }));
    }

    /// Opens what is established by a step, and delivers what was opened behind it.
    fn follow_step(&mut self, id: SourceId, is_upgrade: bool, bytes: &[u8], cx: &mut Context<'_>) {
        match self.link.phase() {
            Phase::Handshaking => {}
            Phase::Open => {
                // To a handler that took over meanwhile, `on_open` says it.
                let tells = is_upgrade && self.role_kind == RoleKind::Live;
                if !matches!(self.role_kind, RoleKind::Live | RoleKind::Gone) {
                    self.open(id, cx);
                }
                if tells {
                    self.call(id, cx, |handler, conn| handler.on_secured(conn));
                }
                // A request may have come behind the handshake's last words.
                let beyond = if bytes.is_empty() { self.link.bytes_in() } else { 0 };
                if !bytes.is_empty() && self.link.phase().delivers_input() {
                    self.deliver(id, bytes, cx);
                }
                cx.announce_drain(id, beyond);
            }
            Phase::Connecting
            | Phase::HalfOpen
            | Phase::Finishing
            | Phase::WriteClosed
            | Phase::Flushing(_)
            | Phase::Lingering(_)
            | Phase::Closed(_) => {
                if self.link.owes_plain_reply() {
                    self.plain_reply(bytes, cx);
                }
                self.give_up(cx);
            }
        }
    }

    /// Answers a peer that speaks no TLS: by what the listener says, or by an alert.
    fn plain_reply(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        let mut answer = None;
        if self.is_before_its_handler() {
            match self.ask_maker(cx, |maker, peer| maker.answer_plain(peer, bytes)) {
                Some(Some(said)) => answer = said,
                Some(None) => cx.state.counters.panics += 1,
                None => {}
            }
        }
        self.link.plain_reply(answer.as_deref(), &mut cx.state.buffers, cx.state.now);
    }

    /// A handshake failed: it counts as under way no longer, though its alert may still be on the way.
    fn give_up(&mut self, cx: &mut Context<'_>) {
        if self.is_before_its_handler() {
            self.role_kind = RoleKind::Refused;
            self.leave_handshake(cx);
        }
    }

    fn leave_handshake(&self, cx: &mut Context<'_>) {
        if self.link.is_tls() {
            cx.state.leave_handshake();
        }
    }

    /// Makes the handler and tells it.
    fn open(&mut self, id: SourceId, cx: &mut Context<'_>) {
        if self.role_kind == RoleKind::Successor {
            self.begin_successor(id, cx);
            if cx.state.successor.is_some() {
                self.hand_over(id, cx);
            }
            return;
        }
        let handler = match self.take_role() {
            Role::Accepted | Role::Admitted => {
                self.leave_handshake(cx);
                self.make(id, cx)
            }
            Role::Given(handler) => Some(handler),
            Role::Adopter(adopter) => {
                let conn = Conn { id, acceptor: self.acceptor, link: &mut self.link, cx: cx.reborrow() };
                guarded(|| adopter(&conn))
            }
            role @ (Role::Dialling(_) | Role::Racing(_) | Role::Refused) => return self.set_role(role),
            role @ (Role::Successor(_) | Role::Live(_) | Role::Relayed(_) | Role::Gone) => return self.set_role(role),
        };
        let Some(handler) = handler else {
            self.never_made(Reason::HandlerPanicked, cx);
            return self.panicked(cx);
        };
        self.set_role(Role::Live(handler));
        cx.state.counters.opened += 1;
        self.states_begin(id, cx);
        self.call(id, cx, |handler, conn| handler.on_open(conn));
    }

    fn make(&mut self, id: SourceId, cx: &mut Context<'_>) -> Option<Box<dyn Handler>> {
        let acceptor = self.acceptor()?;
        let mut maker = cx.table.maker(acceptor).and_then(Option::take)?;
        let conn = Conn { id, acceptor: self.acceptor, link: &mut self.link, cx: cx.reborrow() };
        let made = guarded(|| maker.make(&conn));
        if let Some(place) = cx.table.maker(acceptor) {
            *place = Some(maker);
        }
        made
    }

    // --- output ---------------------------------------------------------------------------------------------------

    /// Offers waiting output to the kernel, and tells the handler when there is room again.
    fn send_waiting(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let state = &mut *cx.state;
        let flushes = self.link.may_flush();
        if flushes {
            self.link.flush(&mut state.buffers, state.now);
        }
        if (flushes || self.link.unsent_bytes() == 0) && self.link.writable_is_due() && !self.is_detaching(cx) {
            self.link.clear_writable_pending();
            if self.link.is_relayed() {
                return;
            }
            self.call(id, cx, |handler, conn| handler.on_writable(conn));
        }
    }

    fn is_detaching(&self, cx: &Context<'_>) -> bool {
        cx.state.detach_request.is_some()
    }

    // --- the end --------------------------------------------------------------------------------------------------

    fn finish_drive(&mut self, id: SourceId, cx: &mut Context<'_>) -> Next {
        debug_assert!(cx.state.successor.is_none(), "replacing 1: a handler was set, and did not take over");
        let state = &mut *cx.state;
        self.link.send_gathered(&mut state.buffers, state.now);
        if let Origin::Observed = self.origin {
            self.tell_progress(id, cx);
        }
        let state = &mut *cx.state;
        if state.detach_request.is_some() && !matches!(self.link.phase(), Phase::Closed(_)) {
            return self.part(id, cx);
        }
        self.link.advance_shutdown(&mut state.buffers, state.now);
        match self.origin {
            Origin::Observed => self.tell_ends(id, cx),
            // It may have ended only now.
            Origin::Attempted => drop(self.leave_race(cx)),
            Origin::Accepted | Origin::Dialled | Origin::Adopted => {}
        }
        if let Phase::Closed(reason) = self.link.phase() {
            self.close(id, reason, cx);
            return Next::Remove;
        }
        self.watch(id, cx);
        if self.link.queues_step(cx.state.now) {
            cx.state.handshakes.push(id, cx.state.now, self.link.limits().handshake_timeout);
        }
        if let Phase::Closed(_) = self.link.phase() {
            return Next::Again;
        }
        if self.link.wants_again() && !self.is_held_back(id, cx) { Next::Again } else { Next::Wait }
    }

    /// Asks the kernel for what is needed now: of Unix streams, writability only while they are blocked.
    fn watch(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let wanted = self.link.watched();
        if self.watched.is_some_and(|watched| watched != wanted) {
            match self.link.stream_mut().reregister(&cx.state.registry, id.word(), wanted) {
                Ok(()) => self.watched = Some(wanted),
                Err(error) => self.link.signal(Signal::Failed(Reason::of(&error)), cx.state.now),
            }
        }
    }

    /// Tells the handler, or the listener if there never was one, that it is over.
    fn close(&mut self, id: SourceId, reason: Reason, cx: &mut Context<'_>) {
        self.link.send_close_notify(reason, &mut cx.state.buffers);
        let lost = self.link.unsent_bytes() as u64;
        if log::log_enabled!(log::Level::Debug) {
            let peer = self.link.peer_ip().map(|ip| format!(" of {ip}")).unwrap_or_default();
            let ended = reason.with_detail(self.link.failure_detail());
            log::debug!("connection {id}{peer}: ended: {ended}; {lost} bytes of output were not sent");
        }
        if lost > 0 {
            cx.state.counters.bytes_lost += lost;
            if reason.is_failure_here() {
                self.link.log_lost(lost);
            }
        }
        if self.counts() {
            cx.account_close(lost);
        }
        if let Origin::Adopted = self.origin {
            // It may have duplicates elsewhere, for which the kernel would go on reporting.
            let _ = self.link.stream_mut().deregister(&cx.state.registry);
        }
        match self.take_role() {
            // Nobody listens for these.
            Role::Dialling(dial) => {
                dialling::call_off(&dial, cx);
                self.say_close(id, dial.handler, reason, cx);
            }
            Role::Given(handler) => {
                self.say_close(id, handler, reason, cx);
            }
            Role::Successor(handler) | Role::Live(handler) | Role::Relayed(Relay { handler, .. }) => {
                let closing = self.say_close(id, handler, reason, cx);
                self.tell_trouble(closing, cx);
            }
            Role::Adopter(adopter) => {
                if guarded(|| drop(adopter)).is_none() {
                    cx.state.counters.panics += 1;
                }
                self.never_made(reason, cx);
            }
            Role::Accepted | Role::Admitted => {
                self.leave_handshake(cx);
                self.never_made(reason, cx);
            }
            Role::Refused => self.never_made(reason, cx),
            Role::Racing(_) | Role::Gone => {}
        }
        // Not before: `on_close` may ask what was lost.
        self.link.discard(&mut cx.state.buffers);
        cx.state.detach_request = None;
        self.tell_left(id, cx);
    }

    /// Tells a handler that it is over, and returns what its listener is to be told: of a good end that panicked, the panic.
    fn say_close(
        &mut self,
        id: SourceId,
        mut handler: Box<dyn Handler>,
        reason: Reason,
        cx: &mut Context<'_>,
    ) -> Reason {
        cx.state.counters.count_closed(reason);
        let panics = cx.state.counters.panics;
        let mut conn = Conn { id, acceptor: self.acceptor, link: &mut self.link, cx: cx.reborrow() };
        if guarded(|| handler.on_close(&mut conn, reason)).is_none() {
            cx.state.counters.panics += 1;
        }
        // A handler's own Drop is user code too.
        if guarded(|| drop(handler)).is_none() {
            cx.state.counters.panics += 1;
        }
        if cx.state.counters.panics > panics && !reason.is_trouble() { Reason::HandlerPanicked } else { reason }
    }

    /// Leaves the reactor alive: the kernel reports no more, the handler is told, and the reactor hands the link on.
    fn part(&mut self, id: SourceId, cx: &mut Context<'_>) -> Next {
        // A stream that is still registered can be taken off; if it cannot, it is closed already.
        let _ = self.link.stream_mut().deregister(&cx.state.registry);
        // To its old handler it is closed; to the new one it is what it was.
        let phase = self.link.set_phase(Phase::Closed(Reason::Detached));
        if let Role::Live(handler) = self.take_role() {
            let closing = self.say_close(id, handler, Reason::Detached, cx);
            self.tell_trouble(closing, cx);
        }
        self.tell_left(id, cx);
        self.link.set_phase(phase);
        cx.state.buffers.begin_share();
        Next::Remove
    }
}
