//! A datagram socket and its handler: the only place where an endpoint's callbacks are called.
//!
//! Owns the order of things in one drive: errors, what waits to be sent, what came, the end. Knows no table.
//!
//! 1. A handler is called only while the endpoint is open, but for `on_error` while it flushes, and `on_close` once, last.
//! 2. It answers `Wait` only if nothing is left that no event would announce (A1).

use crate::clock::Tick;
use crate::command::Order;
use crate::context::Context;
use crate::counters::DatagramStats;
use crate::datagrams::{Datagram, Datagrams};
use crate::error::{Error, Reason, error_number};
use crate::handler::{DatagramHandler, Next, guarded};
use crate::id::{EndpointId, SourceId};
use crate::message::{Message, Undelivered};
use crate::net::Readiness;
use crate::net::datagram::Watched;
use crate::net::datagram::arrivals::Arrivals;
use crate::post::{Life, Post};
use crate::source::Cause;

pub(crate) struct Endpoint {
    post: Post,
    handler: Box<dyn DatagramHandler>,
    stage: Stage,
    watched: Watched,
}

/// How much its handler has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing yet.
    Made,
    /// `on_bound`.
    Bound,
    /// A callback panicked: only `on_close` follows.
    Panicked,
}

/// Errors that one drive tells; there are only as many as datagrams were sent, or the network's own that were asked for.
const ERRORS_TOLD: usize = 1024;

impl Endpoint {
    pub(crate) fn new(post: Post, handler: Box<dyn DatagramHandler>) -> Endpoint {
        Endpoint { post, handler, stage: Stage::Made, watched: Watched::Reads }
    }

    pub(crate) fn post(&mut self) -> &mut Post {
        &mut self.post
    }

    pub(crate) fn stats(&self) -> DatagramStats {
        self.post.stats()
    }

    pub(crate) fn deadline(&self) -> Option<Tick> {
        Some(self.post.deadline()).filter(|due| *due != Tick::NEVER)
    }

    /// Whether nothing more is known to wait in the kernel.
    pub(crate) fn is_heard(&self) -> bool {
        !self.post.may_receive()
    }

    pub(crate) fn drive(&mut self, id: SourceId, cause: Cause, arrivals: &mut Arrivals, cx: &mut Context<'_>) -> Next {
        if self.stage == Stage::Made && self.post.life() == Life::Open {
            self.stage = Stage::Bound;
            self.call(id, cx, |handler, sock| handler.on_bound(sock));
        }
        let expires = matches!(cause, Cause::Expired);
        match cause {
            Cause::Ready(ready) => self.post.note(ready),
            Cause::Again | Cause::Step | Cause::Offload | Cause::OffloadDone(_) | Cause::Arrived(_) => {}
            // What has waited too long is offered once more before it is given up.
            Cause::Expired => self.post.try_output_again(cx.state.judged),
            Cause::Order(order) => self.run_commands(id, order, cx),
            Cause::Orders(batch) => batch.for_each(|told| self.run_commands(id, told.into_order(), cx)),
        }
        self.post.take_errors();
        self.send_waiting(id, cx);
        if expires {
            self.expire(id, cx);
        }
        self.go_on(id, arrivals, cx)
    }

    /// The same for what the kernel reports, which is never the first thing.
    pub(crate) fn drive_ready(
        &mut self,
        id: SourceId,
        ready: Readiness,
        arrivals: &mut Arrivals,
        cx: &mut Context<'_>,
    ) -> Next {
        debug_assert!(self.stage != Stage::Made, "endpoint 1: `on_bound` comes first");
        self.post.note(ready);
        self.post.take_errors();
        self.send_waiting(id, cx);
        self.go_on(id, arrivals, cx)
    }

    /// The rest of a drive: what came, and what is left behind it.
    #[inline(always)]
    fn go_on(&mut self, id: SourceId, arrivals: &mut Arrivals, cx: &mut Context<'_>) -> Next {
        self.take_arrivals(id, arrivals, cx);
        if !self.post.is_quiet() || self.post.watched() != self.watched {
            return self.end_drive(id, cx);
        }
        self.post.end_of_drive();
        if self.post.wants_input() { Next::Again } else { Next::Wait }
    }

    /// Where more is left than input.
    fn end_drive(&mut self, id: SourceId, cx: &mut Context<'_>) -> Next {
        self.send_waiting(id, cx);
        self.post.end_of_drive();
        if let Life::Closed(reason) = self.post.life() {
            self.close(id, reason, cx);
            return Next::Remove;
        }
        self.watch(id, cx);
        if self.post.wants_again() || matches!(self.post.life(), Life::Closed(_)) { Next::Again } else { Next::Wait }
    }

    /// Runs one callback with the socket lent.
    fn call(
        &mut self,
        id: SourceId,
        cx: &mut Context<'_>,
        callback: impl FnOnce(&mut dyn DatagramHandler, &mut Datagrams<'_>),
    ) {
        if self.stage == Stage::Panicked {
            return;
        }
        let mut sock = Datagrams { id, post: &mut self.post, cx: cx.reborrow() };
        if guarded(|| callback(self.handler.as_mut(), &mut sock)).is_none() {
            cx.state.counters.panics += 1;
            self.stage = Stage::Panicked;
            self.post.cut(Reason::HandlerPanicked);
        }
    }

    fn expire(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let judged = cx.state.judged;
        self.post.expire(judged, &mut cx.state.departures);
        if self.post.timer() <= judged {
            self.post.set_timer(Tick::NEVER);
            if self.post.life() == Life::Open {
                self.call(id, cx, |handler, sock| handler.on_timer(sock));
            }
        }
    }

    fn run_commands(&mut self, id: SourceId, order: Order, cx: &mut Context<'_>) {
        match order {
            Order::SendTo(to, bytes) => {
                // Others of its batch may wait only for this drive's end.
                if !self.post.has_room(bytes.len()) && self.post.may_send() {
                    self.post.flush(&mut cx.state.departures, cx.state.now);
                }
                let state = &mut *cx.state;
                if let Err(why) = self.post.send(to.as_deref(), &bytes, &mut state.departures, state.now) {
                    self.post.refuse(to.map(|to| *to), bytes, why);
                }
            }
            Order::Tell(message) => self.show_message(id, message, cx),
            Order::Close => self.post.close(cx.closing_reason()),
            Order::Pause => self.post.pause(),
            Order::Resume => self.post.resume(),
            Order::Drain if self.post.life() == Life::Open => {
                self.call(id, cx, |handler, sock| handler.on_drain(sock));
            }
            Order::Cut => self.post.cut(Reason::Timeout(crate::error::Expiry::Drain)),
            Order::ReactorDropped => self.post.cut(Reason::ReactorDropped),
            Order::Remove | Order::Abort => self.post.cut(Reason::Aborted),
            Order::Drain
            | Order::Hurry
            | Order::Send(_)
            | Order::Finish
            | Order::Release(_)
            | Order::CapacityAvailable
            | Order::Relieve
            | Order::SeatBack
            | Order::Found(..)
            | Order::Raced(..)
            | Order::Unfeed(_) => {}
        }
    }

    /// Shows the handler a message. What it does not take comes back.
    fn show_message(&mut self, id: SourceId, mut message: Message, cx: &mut Context<'_>) {
        let why = if self.post.life() == Life::Open {
            self.call(id, cx, |handler, sock| handler.on_message(sock, &mut message));
            Error::NotTaken
        } else {
            Error::NotOpen
        };
        if !message.is_taken() {
            cx.state.undelivered.push((Undelivered::EndpointMessage(EndpointId(id), message), why));
        }
    }

    /// Offers the kernel what waits, tells what came of it, and that there is room again.
    #[inline(always)]
    fn send_waiting(&mut self, id: SourceId, cx: &mut Context<'_>) {
        if !self.post.is_quiet() {
            self.send_and_tell(id, cx);
        }
    }

    fn send_and_tell(&mut self, id: SourceId, cx: &mut Context<'_>) {
        if self.post.may_send() {
            let state = &mut *cx.state;
            self.post.flush(&mut state.departures, state.now);
        }
        for _ in 0..ERRORS_TOLD {
            let Some(fault) = self.post.next_fault() else { break };
            log::debug!("endpoint {id}: {fault}");
            if !matches!(self.post.life(), Life::Closed(_)) {
                self.call(id, cx, |handler, sock| handler.on_error(sock, &fault));
            }
        }
        if self.post.writable_is_due() {
            self.post.clear_writable_pending();
            self.call(id, cx, |handler, sock| handler.on_writable(sock));
        }
    }

    /// Receives within the turn's budget, and shows each datagram.
    #[inline(always)]
    fn take_arrivals(&mut self, id: SourceId, arrivals: &mut Arrivals, cx: &mut Context<'_>) {
        let mut budget = self.post.datagrams_per_turn();
        while budget > 0 && self.post.may_receive() {
            self.post.receive(arrivals, budget);
            // An error that came in place of a datagram costs as much.
            let mut shown = arrivals.arrived().len().max(1);
            for arrived in arrivals.arrived() {
                let bytes = arrivals.bytes(arrived);
                match arrived.segment {
                    None => self.show(id, arrived, bytes, cx),
                    Some(segment) => shown += self.show_joined(id, arrived, bytes, segment, cx) - 1,
                }
            }
            budget = budget.saturating_sub(shown);
        }
    }

    /// Shows each of those that were joined; returns how many they are.
    fn show_joined(
        &mut self,
        id: SourceId,
        arrived: &crate::net::datagram::arrivals::Arrived,
        bytes: &[u8],
        segment: usize,
        cx: &mut Context<'_>,
    ) -> usize {
        let mut rest = bytes;
        let mut shown = 0;
        // An empty datagram is one, too.
        loop {
            let (data, behind) = rest.split_at(segment.min(rest.len()));
            rest = behind;
            shown += 1;
            self.show(id, arrived, data, cx);
            if rest.is_empty() {
                return shown;
            }
        }
    }

    /// Shows one datagram. What was received together is shown to its end, paused or not; once it closes, it is counted only.
    #[inline(always)]
    fn show(
        &mut self,
        id: SourceId,
        arrived: &crate::net::datagram::arrivals::Arrived,
        data: &[u8],
        cx: &mut Context<'_>,
    ) {
        let bytes_max = self.post.bytes_max();
        let is_truncated = arrived.is_truncated || data.len() > bytes_max;
        let data = &data[..data.len().min(bytes_max)];
        self.post.count_in(data.len(), is_truncated);
        if self.post.life() == Life::Open {
            let (local, ecn) = (arrived.local, arrived.ecn);
            let datagram = Datagram { from: &arrived.from, data, local, ecn, is_truncated };
            self.call(id, cx, |handler, sock| handler.on_datagram(sock, &datagram));
        }
    }

    /// Asks the kernel for what is needed now: writability only while a send is blocked.
    fn watch(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let wanted = self.post.watched();
        if wanted != self.watched {
            match self.post.socket_mut().reregister(&cx.state.registry, id.word(), wanted) {
                Ok(()) => self.watched = wanted,
                Err(error) => self.post.cut(Reason::Os(error_number(&error).unwrap_or(0))),
            }
        }
    }

    /// Tells the handler that it is over.
    fn close(&mut self, id: SourceId, reason: Reason, cx: &mut Context<'_>) {
        let unsent = self.post.discard(&mut cx.state.departures);
        cx.account_close(unsent);
        cx.state.counters.count_closed(reason);
        // An adopted socket may have duplicates elsewhere, for which the kernel would go on reporting.
        let _ = self.post.socket_mut().deregister(&cx.state.registry);
        cx.state.endpoints.retain(|(endpoint, _)| *endpoint != id);
        let mut sock = Datagrams { id, post: &mut self.post, cx: cx.reborrow() };
        if guarded(|| self.handler.on_close(&mut sock, reason)).is_none() {
            cx.state.counters.panics += 1;
        }
    }
}
