//! A listener and the closure that makes handlers.
//!
//! Owns when to accept, and what the errors of accept(2) mean. Accepted streams enter the reactor as local commands. It
//! stays in the table, closed, until the last of its connections that may still need its maker has ended.
//!
//! 1. Whenever it stops before the kernel said that nobody waits, something brings it back: `Again`, a deadline, or the
//!    order that something came free. Under edge triggering no event would.

use crate::clock::Tick;
use crate::command::{Local, Observed, Order};
use crate::config::{Limits, ListenConfig};
use crate::context::{Context, Life, Sharing};
use crate::error::Reason;
use crate::handler::{AcceptEvent, Admission, Maker, Next, PauseCause, Peer, guarded};
use crate::id::SourceId;
use crate::link::Link;
use crate::link::phase::Phase;
use crate::link::session::Template;
use crate::mailbox::{Accepting, Remote};
use crate::net::listener::Listener;
use crate::net::stream::{Stream, Unclaimed};
use crate::net::wait::look;
use crate::placement::{Handoff, Permit, Quota, Spread};
use crate::seldom::Seldom;
use crate::source::Cause;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Acceptor {
    gate: Gate,
    config: Box<ListenConfig>,
    limits: Arc<Limits>,
    /// `None` for plain connections.
    sessions: Option<Template>,
    /// Taken out while it makes a handler.
    maker: Option<Box<dyn Maker>>,
    observed: Observed,
    pace: Option<Pace>,
    /// Consecutive failures of accept(2).
    failures: u32,
    /// Connections of this listener, those on their way among them.
    live: usize,
    /// What is seen of it from outside.
    shown: Accepting,
    /// What it shares with listeners of other reactors.
    quotas: Arc<[Arc<Quota>]>,
    spread: Option<Spread>,
    feeder: Option<Remote>,
}

/// Whether connections are accepted.
enum Gate {
    Open(Listener),
    /// Was full or starved and tries again; it is open once nobody waits any more, or a turn's budget went through.
    Probing(Listener),
    /// It closes with this drive, and takes what the kernel has completed; nobody is told any more that it pauses.
    Closing(Listener),
    /// Asked for; only a resume opens it.
    Paused(Listener),
    /// At a limit: opened when a connection of this reactor ends, or then, since others' are not told here.
    Full(Listener, Tick),
    /// The system lacks something, or accept(2) keeps failing: tried again then, or when a descriptor of ours comes free.
    Starved(Listener, Tick),
    /// As many as a second may bring have come: opened then.
    Paced(Listener, Tick),
    /// Another reactor accepts for it.
    Fed,
    Closed,
}

/// How many connections may be accepted now, of so many a second.
struct Pace {
    interval: Duration,
    tokens_max: u32,
    tokens: u32,
    /// Up to when tokens were counted.
    counted: Tick,
}

impl Pace {
    fn new(accepts_per_second: u32) -> Pace {
        let tokens_max = accepts_per_second.div_ceil(10);
        let interval = Duration::from_secs(1) / accepts_per_second;
        Pace { interval, tokens_max, tokens: tokens_max, counted: Tick::NEVER }
    }

    /// When the next connection may be accepted, if not now.
    fn take(&mut self, now: Tick) -> Result<(), Tick> {
        if self.counted == Tick::NEVER {
            self.counted = now;
        }
        let interval = self.interval.max(Duration::from_nanos(1));
        let due = now.since(self.counted).as_nanos() / interval.as_nanos();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        if due > 0 {
            let full = self.tokens.saturating_add(due) >= self.tokens_max;
            self.tokens = self.tokens.saturating_add(due).min(self.tokens_max);
            self.counted = if full { now } else { self.counted.after(interval * due) };
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err(self.counted.after(interval)),
        }
    }

    /// The connection that was to be accepted did not come.
    fn give_back(&mut self) {
        self.tokens = (self.tokens + 1).min(self.tokens_max);
    }
}

/// What an error of accept(2) asks for.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// Nobody waits.
    Drained,
    /// It is that connection's error, or passes: the next try may be well.
    Passing(i32),
    /// The system lacks descriptors or memory.
    Starved(i32),
    /// The listener itself is broken.
    Fatal,
}

/// What an error of accept(2) means. Networks and security policies may return any error, so none ends the listener but those
/// that say there is none; accept(2), "Error handling".
fn trouble(error: &io::Error) -> Trouble {
    use rustix::io::Errno;
    if error.kind() == io::ErrorKind::WouldBlock {
        return Trouble::Drained;
    }
    // mio has no number for a peer whose address has no family.
    let number = error.raw_os_error().unwrap_or(Errno::AFNOSUPPORT.raw_os_error());
    match Errno::from_raw_os_error(number) {
        Errno::BADF | Errno::INVAL | Errno::NOTSOCK => Trouble::Fatal,
        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Trouble::Starved(number),
        _ => Trouble::Passing(number),
    }
}

/// Consecutive failures of accept(2) after which the listener pauses: they are no longer those of single connections.
const FAILURES_MAX: u32 = 64;

fn is_over(listener: &Listener) -> bool {
    matches!(look(listener), Ok(Some(ready)) if ready.ended)
}

impl Acceptor {
    pub(crate) fn new(
        listener: Option<Listener>,
        config: Box<ListenConfig>,
        maker: Box<dyn Maker>,
        sharing: Sharing,
    ) -> Acceptor {
        let limits = Arc::new(config.limits.clone());
        let sessions = Template::of(&config);
        let gate = listener.map_or(Gate::Fed, Gate::Open);
        let observed = if maker.wants_states() { Observed::Yes } else { Observed::No };
        let pace = config.accepts_per_second.map(Pace::new);
        let (maker, shown) = (Some(maker), Accepting::Absent);
        let Sharing { quotas, spread, feeder } = sharing;
        let (failures, live) = (0, 0);
        Acceptor {
            gate,
            config,
            limits,
            sessions,
            maker,
            observed,
            pace,
            failures,
            live,
            shown,
            quotas,
            spread,
            feeder,
        }
    }

    pub(crate) fn maker(&mut self) -> &mut Option<Box<dyn Maker>> {
        &mut self.maker
    }

    /// What it shares with listeners of other reactors.
    pub(crate) fn quotas(&self) -> &Arc<[Arc<Quota>]> {
        &self.quotas
    }

    /// One of its connections has ended; says whether that was the last thing to wait for.
    pub(crate) fn release(&mut self) -> bool {
        self.live -= 1;
        Permit::return_to(&self.quotas);
        matches!(self.gate, Gate::Closed) && self.live == 0
    }

    pub(crate) fn deadline(&self) -> Option<Tick> {
        match self.gate {
            Gate::Starved(_, until) | Gate::Paced(_, until) => Some(until),
            Gate::Full(_, until) => Some(until).filter(|until| *until != Tick::NEVER),
            Gate::Open(_) | Gate::Probing(_) | Gate::Closing(_) => None,
            Gate::Paused(_) | Gate::Fed | Gate::Closed => None,
        }
    }

    pub(crate) fn drive(&mut self, id: SourceId, cause: Cause, cx: &mut Context<'_>) -> Next {
        let next = self.follow(id, cause, cx);
        let accepting = match self.gate {
            Gate::Open(_) | Gate::Closing(_) => Accepting::Yes,
            Gate::Probing(_) | Gate::Paused(_) | Gate::Full(..) | Gate::Starved(..) | Gate::Paced(..) => {
                Accepting::Paused
            }
            Gate::Fed | Gate::Closed => Accepting::Absent,
        };
        if accepting != self.shown {
            cx.state.remote.listener_changes(self.shown, accepting);
            self.shown = accepting;
        }
        next
    }

    fn follow(&mut self, id: SourceId, cause: Cause, cx: &mut Context<'_>) -> Next {
        match cause {
            Cause::Ready(seen) if seen.ended && self.is_shut_down() => return self.shut_down(id, cx),
            Cause::Ready(_) | Cause::Again | Cause::Step | Cause::Offload | Cause::OffloadDone(_) => {}
            Cause::Expired | Cause::Order(Order::CapacityAvailable) => self.probe(id, cx),
            Cause::Order(Order::Pause) => self.pause(cx),
            Cause::Order(Order::Resume) => self.resume(cx),
            Cause::Order(Order::Drain) if matches!(self.gate, Gate::Fed) => {
                // The reactor that accepts for it removes it, behind what it has accepted; one that has ended did so.
                if let Some(feeder) = self.feeder.take() {
                    let own = cx.remote();
                    let _ = feeder.run_asked(move |cx| cx.unfeed(&own));
                }
                return self.rest();
            }
            Cause::Order(Order::Drain | Order::Remove) => return self.drain(id, cx),
            Cause::Order(Order::Cut | Order::ReactorDropped) => self.close(id, None, cx),
            Cause::Order(Order::Release(then)) => self.give_back(id, then, cx),
            Cause::Order(
                Order::Send(_) | Order::Tell(_) | Order::SendTo(..) | Order::Finish | Order::Close | Order::Abort,
            ) => {}
            Cause::Order(Order::SeatBack) => {
                cx.state.away -= 1;
                cx.state.remote.away_less();
                // What it held of the quotas is given back already.
                self.live -= 1;
                cx.state.free_held();
                return self.rest();
            }
            Cause::Order(Order::Unfeed(remote)) => {
                self.spread.iter_mut().for_each(|spread| spread.unfeed(&remote));
                return self.rest();
            }
            Cause::Order(Order::Hurry | Order::Relieve | Order::Found(..) | Order::Raced(..)) => {}
            Cause::Orders(batch) => {
                let mut next = Next::Wait;
                batch.for_each(|told| match self.follow(id, Cause::Order(told.into_order()), cx) {
                    // One that wants to go on does so, whatever the others say.
                    Next::Wait => {}
                    other => next = other,
                });
                return if let (Gate::Closed, 0) = (&self.gate, self.live) { Next::Remove } else { next };
            }
            Cause::Arrived(handed) => {
                self.arrive(id, handed, cx);
                return self.rest();
            }
        }
        self.accept(id, self.accepts_per_turn(), cx)
    }

    /// With TLS a quarter: what comes of accepting would else wait in front of everybody.
    fn accepts_per_turn(&self) -> usize {
        let accepts = self.config.accepts_per_turn;
        if self.sessions.is_some() { accepts.div_ceil(4) } else { accepts }
    }

    /// What this reactor has as many of as it may.
    fn full_of(&self, cx: &Context<'_>) -> Option<PauseCause> {
        if cx.state.is_full() {
            return Some(PauseCause::ConnectionLimit);
        }
        (self.sessions.is_some() && cx.state.handshakes.is_full()).then_some(PauseCause::HandshakeLimit)
    }

    /// What is accepted from, while the gate is open.
    fn listener(&self) -> Option<&Listener> {
        let (Gate::Open(listener) | Gate::Probing(listener) | Gate::Closing(listener)) = &self.gate else {
            return None;
        };
        Some(listener)
    }

    /// Accepts up to `budget` connections.
    fn accept(&mut self, id: SourceId, budget: usize, cx: &mut Context<'_>) -> Next {
        if let Life::Stopped(_) = cx.state.life {
            return self.rest();
        }
        for _ in 0..budget {
            if self.listener().is_none() {
                return self.rest();
            }
            let Some(permit) = self.permit(id, cx) else { return Next::Wait };
            let Some(accepted) = self.listener().map(Listener::accept) else { return self.rest() };
            match accepted {
                Ok((stream, peer)) => self.take(id, stream, peer, permit, cx),
                Err(error) => {
                    if let Some(next) = self.take_failure(id, error, cx) {
                        return next;
                    }
                }
            }
        }
        self.probed(cx);
        Next::Again
    }

    /// Room for one connection more; without it the gate is closed for a while.
    fn permit(&mut self, id: SourceId, cx: &mut Context<'_>) -> Option<Permit> {
        let (full, until) = match &self.spread {
            None => (self.full_of(cx), Tick::NEVER),
            // When others have room again is not told here.
            Some(spread) => (spread.full_of(), cx.state.now.after(self.config.starved_pause)),
        };
        let full = full.or((self.live >= self.config.connections_max).then_some(PauseCause::ConnectionLimit));
        if let Some(cause) = full {
            self.hold_full(id, cause, until, cx);
            return None;
        }
        let Some(permit) = Permit::take(&self.quotas) else {
            let until = cx.state.now.after(self.config.starved_pause);
            self.hold_full(id, PauseCause::ConnectionLimit, until, cx);
            return None;
        };
        // What is there at the end is taken at once: there is no later.
        let is_last = matches!(self.gate, Gate::Closing(_)) || cx.is_draining();
        let pace = self.pace.as_mut().filter(|_| !is_last);
        if let Some(Err(until)) = pace.map(|pace| pace.take(cx.state.now)) {
            // There is room, so nobody is to believe in a limit any more.
            self.probed(cx);
            if let Some(listener) = self.take_listener() {
                self.gate = Gate::Paced(listener, until);
            }
            return None;
        }
        Some(permit)
    }

    /// One has come: to stay here, to go to another reactor, or to be refused.
    fn take(&mut self, id: SourceId, stream: Stream, peer: Option<SocketAddr>, permit: Permit, cx: &mut Context<'_>) {
        self.failures = 0;
        if stream.apply_accepted(&self.config.socket).is_err() {
            drop(Unclaimed::new(stream));
            cx.state.counters.accepted += 1;
            cx.state.counters.failed += 1;
            return;
        }
        let kept = match &mut self.spread {
            None => Some((stream, permit)),
            Some(spread) => spread.hand(stream, peer, permit, cx.state.now),
        };
        let Some((stream, permit)) = kept else { return };
        cx.state.counters.accepted += 1;
        let link = self.link(stream, peer, cx);
        if let Some(place) = self.admit(id, &link, cx) {
            cx.state.connection_begins();
            if link.is_tls() {
                cx.state.enter_handshake();
            }
            self.take_in(id, place, link, permit, cx);
        }
    }

    /// None has come; what follows from that, if it is not to be tried again at once.
    fn take_failure(&mut self, id: SourceId, error: io::Error, cx: &mut Context<'_>) -> Option<Next> {
        match self.no_one_came(&error) {
            Trouble::Drained => {
                self.failures = 0;
                self.probed(cx);
                Some(Next::Wait)
            }
            Trouble::Passing(errno) => {
                cx.state.counters.accepts_failed += 1;
                // The next failure behind a pause pauses at once.
                self.failures = self.failures.saturating_add(1);
                if self.failures < FAILURES_MAX {
                    return None;
                }
                self.starve(id, errno, cx);
                Some(Next::Wait)
            }
            Trouble::Starved(errno) => {
                self.starve(id, errno, cx);
                // A descriptor of ours that comes free may be what it lacks.
                cx.state.held.push(id);
                Some(Next::Wait)
            }
            Trouble::Fatal => {
                self.close(id, Some(error), cx);
                Some(self.rest())
            }
        }
    }

    /// What an error of accept(2) asks for. No connection used what the pace allowed.
    fn no_one_came(&mut self, error: &io::Error) -> Trouble {
        self.pace.iter_mut().for_each(Pace::give_back);
        trouble(error)
    }

    /// Takes a stream that another reactor has accepted, and counted for this one.
    fn arrive(&mut self, id: SourceId, handed: Box<Handoff>, cx: &mut Context<'_>) {
        if matches!(self.gate, Gate::Closed) || cx.state.is_full() {
            log::debug!("listener {id}: no room for a connection that was accepted for it");
            return cx.state.lose(&handed);
        }
        let Handoff { stream, peer, permit, shakes_hands, .. } = *handed;
        cx.state.counters.accepted += 1;
        let link = self.link(stream.claim(), peer, cx);
        if let Some(place) = self.admit(id, &link, cx) {
            cx.state.connection_arrives();
            if shakes_hands {
                cx.state.handshake_arrives();
            }
            return self.take_in(id, place, link, permit, cx);
        }
        if shakes_hands {
            cx.state.remote.handshake_ends();
        }
        cx.state.remote.load_less();
        // Its descriptor comes free.
        cx.state.free_held();
    }

    fn link(&self, stream: Stream, peer: Option<SocketAddr>, cx: &Context<'_>) -> Link {
        let session = self.sessions.as_ref().map(Template::session);
        Link::in_phase(stream, peer, self.limits.clone(), Phase::Handshaking, session, cx.state.now)
    }

    /// Asks whether a connection is wanted, before a byte of it is read and before the kernel is asked to report; the
    /// place for one that is.
    fn admit(&mut self, id: SourceId, link: &Link, cx: &mut Context<'_>) -> Option<SourceId> {
        let Some(maker) = &mut self.maker else {
            // It is taken out only while it makes a handler, and nothing is accepted then.
            cx.state.counters.failed += 1;
            return None;
        };
        let peer = Peer { link, ends: None };
        let reason = match guarded(|| maker.admit(&peer)) {
            Some(Admission::Admit) => {
                let prepare = self.config.prepare_accepted.as_ref();
                let prepared =
                    prepare.map_or(Some(Ok(())), |hook| guarded(|| link.stream().show(|socket| hook.run(socket))));
                let failed = match prepared {
                    Some(Ok(())) => match cx.table.reserve() {
                        Ok(place) => return Some(place),
                        Err(error) => {
                            static FULL: Seldom = Seldom::new();
                            if let Some(missed) = FULL.passes() {
                                log::warn!("listener {id}: {error}{missed}");
                            }
                            AcceptEvent::Failed { peer: link.peer_ip(), reason: Reason::Local, detail: None }
                        }
                    },
                    Some(Err(error)) => {
                        cx.state.counters.refused += 1;
                        AcceptEvent::Unprepared { peer: link.peer_ip(), error }
                    }
                    None => {
                        cx.state.counters.panics += 1;
                        AcceptEvent::Failed { peer: link.peer_ip(), reason: Reason::HandlerPanicked, detail: None }
                    }
                };
                // It was admitted.
                if guarded(|| maker.on_left(&peer)).is_none() {
                    cx.state.counters.panics += 1;
                }
                return self.not_taken(id, &failed, cx);
            }
            Some(Admission::Refuse) => {
                cx.state.counters.refused += 1;
                Reason::Local
            }
            None => {
                cx.state.counters.panics += 1;
                Reason::HandlerPanicked
            }
        };
        self.not_taken(id, &AcceptEvent::Failed { peer: link.peer_ip(), reason, detail: None }, cx)
    }

    fn not_taken(&mut self, id: SourceId, event: &AcceptEvent, cx: &mut Context<'_>) -> Option<SourceId> {
        log::debug!("listener {id}: a connection was not taken: {event:?}");
        cx.state.counters.failed += 1;
        self.tell(event, cx);
        None
    }

    /// Brings an admitted connection into the reactor.
    fn take_in(&mut self, id: SourceId, place: SourceId, link: Link, permit: Permit, cx: &mut Context<'_>) {
        permit.keep();
        self.live += 1;
        cx.table.accept(place, id.slot, self.observed, link);
        cx.state.local.push_back(Local::Begin(place));
    }

    /// What to say while not accepting.
    fn rest(&self) -> Next {
        match self.gate {
            Gate::Closed if self.live == 0 => Next::Remove,
            Gate::Open(_) | Gate::Probing(_) | Gate::Closing(_) | Gate::Paused(_) => Next::Wait,
            Gate::Full(..) | Gate::Starved(..) => Next::Wait,
            Gate::Paced(..) => Next::Wait,
            Gate::Closed | Gate::Fed => Next::Wait,
        }
    }

    fn take_listener(&mut self) -> Option<Listener> {
        match std::mem::replace(&mut self.gate, Gate::Closed) {
            Gate::Open(listener) | Gate::Probing(listener) | Gate::Closing(listener) => Some(listener),
            Gate::Paused(listener) => Some(listener),
            Gate::Full(listener, _) | Gate::Starved(listener, _) | Gate::Paced(listener, _) => Some(listener),
            Gate::Fed => {
                self.gate = Gate::Fed;
                None
            }
            Gate::Closed => None,
        }
    }

    fn hold_full(&mut self, id: SourceId, cause: PauseCause, until: Tick, cx: &mut Context<'_>) {
        let told = matches!(self.gate, Gate::Probing(_) | Gate::Closing(_)) || cx.is_draining();
        if let Some(listener) = self.take_listener() {
            self.gate = Gate::Full(listener, until);
            cx.state.held.push(id);
            if !told {
                self.tell(&AcceptEvent::Paused(cause), cx);
            }
        }
    }

    fn starve(&mut self, id: SourceId, errno: i32, cx: &mut Context<'_>) {
        let told = matches!(self.gate, Gate::Probing(_) | Gate::Closing(_)) || cx.is_draining();
        if let Some(listener) = self.take_listener() {
            self.gate = Gate::Starved(listener, cx.state.now.after(self.config.starved_pause));
            cx.state.counters.accepts_starved += 1;
            if !told {
                static PAUSED: Seldom = Seldom::new();
                if let Some(missed) = PAUSED.passes() {
                    log::warn!("listener {id}: accepting pauses: {}{missed}", io::Error::from_raw_os_error(errno));
                }
                self.tell(&AcceptEvent::Paused(PauseCause::Starved(errno)), cx);
            }
        }
    }

    /// Tries a gate again that was closed by a limit or by want, not one that was closed by request.
    fn probe(&mut self, id: SourceId, cx: &mut Context<'_>) {
        cx.state.held.retain(|held| *held != id);
        match std::mem::replace(&mut self.gate, Gate::Closed) {
            Gate::Full(listener, _) | Gate::Starved(listener, _) => self.gate = Gate::Probing(listener),
            // Nobody was told.
            Gate::Paced(listener, _) => self.gate = Gate::Open(listener),
            other => self.gate = other,
        }
    }

    /// The probe went well.
    fn probed(&mut self, cx: &mut Context<'_>) {
        if let Gate::Probing(_) = self.gate {
            self.resume(cx);
        }
    }

    fn pause(&mut self, cx: &mut Context<'_>) {
        if let Gate::Paused(_) = self.gate {
            return;
        }
        if let Some(listener) = self.take_listener() {
            self.gate = Gate::Paused(listener);
            self.tell(&AcceptEvent::Paused(PauseCause::Asked), cx);
        }
    }

    fn resume(&mut self, cx: &mut Context<'_>) {
        // Of these nobody was told that they pause.
        if let Gate::Open(_) | Gate::Paced(..) = self.gate {
            return;
        }
        if let Some(listener) = self.take_listener() {
            self.gate = Gate::Open(listener);
            self.tell(&AcceptEvent::Resumed, cx);
        }
    }

    /// Takes what the kernel has completed already, at most the backlog, and closes.
    fn drain(&mut self, id: SourceId, cx: &mut Context<'_>) -> Next {
        self.take_the_last(id, cx);
        self.close(id, None, cx);
        self.rest()
    }

    /// Whether the socket itself says so: an event alone may be a stray one.
    fn is_shut_down(&self) -> bool {
        match &self.gate {
            Gate::Open(listener) | Gate::Probing(listener) | Gate::Closing(listener) => is_over(listener),
            Gate::Paused(listener) => is_over(listener),
            Gate::Full(listener, _) | Gate::Starved(listener, _) | Gate::Paced(listener, _) => is_over(listener),
            Gate::Fed | Gate::Closed => false,
        }
    }

    /// The socket was shut down through another descriptor. accept(2) then fails with EINVAL for TCP, but with EAGAIN for a
    /// Unix socket, as if somebody could still come.
    fn shut_down(&mut self, id: SourceId, cx: &mut Context<'_>) -> Next {
        self.take_the_last(id, cx);
        self.close(id, Some(io::Error::from_raw_os_error(rustix::io::Errno::INVAL.raw_os_error())), cx);
        self.rest()
    }

    fn take_the_last(&mut self, id: SourceId, cx: &mut Context<'_>) {
        if let Some(listener) = self.take_listener() {
            self.gate = Gate::Closing(listener);
        }
        // One more than the backlog, which the kernel counts so. What else it says is of no use: it closes.
        let _ = self.accept(id, self.config.backlog as usize + 1, cx);
    }

    fn close(&mut self, id: SourceId, error: Option<io::Error>, cx: &mut Context<'_>) {
        if let Some(mut listener) = self.take_listener() {
            // An adopted listener may have duplicates elsewhere, for which the kernel would go on reporting.
            let _ = listener.deregister(&cx.state.registry);
            self.ended(id, error, cx);
        } else if let Gate::Fed = self.gate {
            self.gate = Gate::Closed;
            self.ended(id, error, cx);
        }
    }

    fn give_back(&mut self, id: SourceId, then: Box<dyn FnOnce(std::os::fd::OwnedFd) + Send>, cx: &mut Context<'_>) {
        if let Some(mut listener) = self.take_listener() {
            let _ = listener.deregister(&cx.state.registry);
            if guarded(|| then(listener.into())).is_none() {
                cx.state.counters.panics += 1;
            }
            self.ended(id, None, cx);
        }
    }

    fn ended(&mut self, id: SourceId, error: Option<io::Error>, cx: &mut Context<'_>) {
        // It removes what it feeds, behind the last that was handed over.
        self.spread = None;
        cx.state.listeners.retain(|(listener, _)| *listener != id);
        // Nothing more comes for the other reactors, however long connections of this one go on.
        self.spread = None;
        if let Some(error) = &error {
            log::error!("listener {id}: closed: {error}");
        }
        self.tell(&AcceptEvent::Ended(error), cx);
    }

    /// Tells the user; a panic there ends nothing.
    pub(crate) fn tell(&mut self, event: &AcceptEvent, cx: &mut Context<'_>) {
        if let Some(maker) = &mut self.maker {
            if guarded(|| maker.on_event(event)).is_none() {
                cx.state.counters.panics += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_there_is_no_listener_ends_it() {
        use rustix::io::Errno;
        let of = |errno: Errno| trouble(&io::Error::from_raw_os_error(errno.raw_os_error()));
        for fatal in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            assert_eq!(of(fatal), Trouble::Fatal, "{fatal}");
        }
        for lack in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(of(lack), Trouble::Starved(lack.raw_os_error()), "{lack}");
        }
        assert_eq!(of(Errno::AGAIN), Trouble::Drained);
        let told = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        let passing =
            (1..200).map(Errno::from_raw_os_error).filter(|errno| !told.contains(errno) && *errno != Errno::AGAIN);
        for errno in passing {
            assert_eq!(of(errno), Trouble::Passing(errno.raw_os_error()), "{errno}");
        }
        assert!(matches!(trouble(&io::ErrorKind::InvalidInput.into()), Trouble::Passing(_)));
    }

    #[test]
    fn a_second_brings_as_many_as_it_may_and_a_tenth_at_once() {
        let mut pace = Pace::new(20);
        let mut now = Tick::test(0);
        let mut accepted = Vec::new();
        for _ in 0..50 {
            match pace.take(now) {
                Ok(()) => accepted.push(now),
                Err(until) => now = until,
            }
        }
        let at_once = accepted.iter().filter(|at| **at == Tick::test(0)).count();
        assert_eq!(at_once, 2);
        let gaps = accepted[1..].windows(2).map(|pair| pair[1].since(pair[0]));
        assert!(gaps.into_iter().all(|gap| gap == Duration::from_millis(50)), "{accepted:?}");
    }
}
