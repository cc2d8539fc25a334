//! A connect on a reactor: its lookups, its attempts, and how the one that is ready becomes the connection.
//!
//! Owns the dial, a connection without a socket that has the id its caller knows, and the attempts, connections without a
//! handler that nobody else knows. What is done when is the race's to say (`dial/race.rs`).
//!
//! 1. An attempt tells its dial once what it came to. What tells a dial that is over is dropped, and its socket closed.

use crate::address::Family;
use crate::clock::{self, Tick};
use crate::command::{Local, Order};
use crate::config::Limits;
use crate::context::{Context, DetachRequest, Place};
use crate::dial::race::{Attempt, Failed, Step};
use crate::dial::resolver::Found;
use crate::dial::{self, Dial, Failure, Outcome, Progress as Told, Trial};
use crate::error::{Expiry, Reason};
use crate::handler::Next;
use crate::id::SourceId;
use crate::link::Link;
use crate::link::phase::{Phase, Signal};
use crate::link::session::Session;
use crate::net::stream::{Progress, Stream, Target, Watched};
use crate::source::connection::role::{Held, Role};
use crate::source::connection::{Connection, Origin};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Connection {
    pub(crate) fn dialled(dial: Box<Dial>, limits: Arc<Limits>, now: Tick) -> Connection {
        let link = Link::in_phase(Stream::Taken, None, limits, Phase::Connecting, None, now);
        Connection::new(link, Role::Dialling(dial), Origin::Dialled)
    }

    pub(crate) fn attempt(link: Link, trial: Box<Trial>) -> Connection {
        Connection::new(link, Role::Racing(trial), Origin::Attempted)
    }

    // --- the dial -------------------------------------------------------------------------------------------------

    /// Does what the race says, until it waits or is over.
    pub(super) fn go_on_dialling(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let mut dial = match self.take_role() {
            Role::Dialling(dial) => dial,
            other => {
                self.set_role(other);
                return;
            }
        };
        let now = self.time_of(&mut dial, cx);
        let mut late = Expiry::Connect;
        loop {
            match dial.race.step(now) {
                Step::Look(family) => look_up(&mut dial, id, family, cx),
                Step::Start(attempt, target) => {
                    // What found a full backlog is the same attempt once more.
                    if dial.begun.1 != Some(attempt) {
                        dial.tell(Told::Trying(target.clone()), cx);
                    }
                    if let Err(error) = start(&mut dial, id, attempt, target, self.link.shared_limits(), cx) {
                        dial.race.failed(attempt, error, now);
                    }
                }
                Step::Cancel(attempt) => {
                    if shakes_hands(&dial, Some(attempt), cx) {
                        late = Expiry::Handshake;
                    }
                    cancel(&mut dial, attempt, cx);
                }
                Step::Wait(until) => {
                    dial.wake = Tick::of(until);
                    self.set_role(Role::Dialling(dial));
                    return;
                }
                Step::Won => {
                    let over = Told::Over(dial.race.shunned(), None);
                    dial.tell(over, cx);
                    if let Some((link, watched)) = dial.winner.take() {
                        self.take_over(id, link, watched, cx);
                    }
                    break;
                }
                Step::Failed(failed) => {
                    self.fail_to_connect(id, &mut dial, failed, late, cx);
                    break;
                }
            }
        }
        self.set_role(Role::Given(dial.handler));
    }

    /// What time it is for a race: nothing ends before all was looked at that has come, and what moved during a hold-up gets its
    /// time once more.
    fn time_of(&self, dial: &mut Dial, cx: &Context<'_>) -> Instant {
        let (now, judged) = (cx.now(), cx.state.judged);
        let due = Tick::of(dial.race.until());
        if due > judged {
            return now.min(dial.race.until() - Duration::from_nanos(1));
        }
        let has_moved = || dial.begun.0 >= judged || shakes_hands(dial, None, cx);
        if self.link.excuses_connect(due, judged) && has_moved() {
            dial.race.extend(clock::until(now, self.link.limits().connect_timeout));
        }
        now
    }

    fn fail_to_connect(
        &mut self,
        id: SourceId,
        dial: &mut Dial,
        failed: Failed<Failure>,
        late: Expiry,
        cx: &mut Context<'_>,
    ) {
        let mut reason = Reason::Timeout(late);
        let failed = failed.map(|failure| {
            reason = failure.reason;
            self.link.fail_as(failure.session);
            failure.error
        });
        let error = dial::failure(failed, &dial.plan.address, "connect_timeout", late);
        log::debug!("connection {id}: {error}");
        let over = Told::Over(dial.race.shunned(), Some(error));
        dial.tell(over, cx);
        self.link.signal(Signal::Failed(reason), cx.state.now);
    }

    /// The winner's link becomes the dial's.
    fn take_over(&mut self, id: SourceId, link: Link, watched: Option<Watched>, cx: &mut Context<'_>) {
        let dialled = std::mem::replace(&mut self.link, link);
        self.link.take_place_of(&dialled);
        cx.state.buffers.pool.count_in(self.link.held_bytes());
        if watched.is_some() {
            // What came meanwhile is reported once more.
            let wanted = self.link.watched();
            match self.link.stream_mut().reregister(&cx.state.registry, id.word(), wanted) {
                Ok(()) => self.watched = Some(wanted),
                Err(error) => self.link.signal(Signal::Failed(Reason::of(&error)), cx.state.now),
            }
        }
    }

    pub(super) fn note_found(&mut self, family: Family, found: Found, cx: &Context<'_>) {
        if let Some(dial) = self.dial_mut() {
            dial.race.found(family, found.map_err(|error| Failure::of(Reason::Unresolved, error.into())), cx.now());
        }
    }

    /// An attempt tells what it came to.
    pub(super) fn note_raced(&mut self, attempt: Attempt, outcome: Outcome, cx: &Context<'_>) {
        let Some(dial) = self.dial_mut() else { return };
        let (address, now) = (&dial.plan.address, cx.now());
        dial.attempts.retain(|(other, _)| *other != attempt);
        match outcome {
            Outcome::Ready(link, watched) => {
                // Of two that are ready in one turn the first one counts.
                if dial.winner.is_none() {
                    dial.race.ready(attempt);
                    dial.winner = Some((*link, watched));
                }
            }
            Outcome::Busy(stream) => {
                dial.spare = Some(stream);
                dial.race.busy(attempt, now);
            }
            Outcome::Unmade(reason, source) => {
                let error = dial::refused(address, source);
                dial.race.failed(attempt, Failure::of(reason, error), now);
            }
            Outcome::Broken(reason, detail, session) => {
                let error = dial::broken(address, reason, detail);
                dial.race.shun(attempt);
                dial.race.failed(attempt, Failure { reason, error, session }, now);
            }
        }
    }

    // --- an attempt -----------------------------------------------------------------------------------------------

    /// Connects, or asks after it.
    pub(super) fn connect(&mut self, id: SourceId, cx: &mut Context<'_>) {
        let Held::Other(Some(coming)) = &mut self.held else { return };
        let Role::Racing(racing) = &mut **coming else { return };
        let begun = racing.target.take().map_or(Ok(Progress::Done), |target| self.link.stream().connect(&target));
        let progress = match begun {
            Ok(Progress::Done) => self.link.try_connecting(cx.state.now),
            begun => begun,
        };
        match progress {
            Ok(Progress::Waiting) if self.watched.is_none() => self.register(id, cx),
            Ok(Progress::Done | Progress::Waiting) => {}
            Ok(Progress::Busy) => {
                racing.unmade = Some(Ok(()));
                self.link.signal(Signal::Close(Reason::Local), cx.state.now);
            }
            Err(error) => {
                let is_own = self.link.stream().is_self_connected();
                let reason = if is_own { Reason::SelfConnected } else { Reason::of(&error) };
                racing.unmade = Some(Err(error));
                self.link.signal(Signal::Failed(reason), cx.state.now);
            }
        }
    }

    /// Tells the dial what an attempt came to. One that is ready leaves its place; one that failed goes on to its end alone.
    pub(super) fn leave_race(&mut self, cx: &mut Context<'_>) -> Option<Next> {
        let phase = self.link.phase();
        if matches!(phase, Phase::Connecting | Phase::Handshaking) {
            return None;
        }
        let racing = match self.take_role() {
            Role::Racing(racing) => racing,
            other => {
                self.set_role(other);
                return None;
            }
        };
        let (dial, attempt, watched) = (racing.dial, racing.attempt, self.watched);
        let outcome = match (phase.reason(), racing.unmade) {
            (_, Some(Ok(()))) => Outcome::Busy(self.link.stream_mut().take()),
            (Some(reason), Some(Err(error))) => Outcome::Unmade(reason, error),
            (Some(reason), None) => {
                let detail = self.link.failure_detail().map(str::to_owned);
                Outcome::Broken(reason, detail, self.link.take_failure())
            }
            (None, Some(Err(_)) | None) => {
                let then = move |link, _, cx: &mut Context<'_>| {
                    let ready = Outcome::Ready(Box::new(link), watched);
                    cx.state.local.push_back(Local::Order(dial, Order::Raced(attempt, ready)));
                };
                cx.state.detach_request = Some(DetachRequest { then: Box::new(then), place: Place::GivenBack });
                return Some(Next::Remove);
            }
        };
        cx.state.local.push_back(Local::Order(dial, Order::Raced(attempt, outcome)));
        None
    }
}

/// Whether this attempt, or any, is connected and not ready.
fn shakes_hands(dial: &Dial, which: Option<Attempt>, cx: &Context<'_>) -> bool {
    let is_meant = |attempt| which.is_none_or(|which| which == attempt);
    dial.attempts.iter().any(|(attempt, place)| is_meant(*attempt) && cx.table.is_shaking_hands(*place))
}

/// Asks for the addresses of one family.
fn look_up(dial: &mut Dial, id: SourceId, family: Family, cx: &mut Context<'_>) {
    if dial.tickets.is_empty() {
        dial.tell(Told::Looking, cx);
    }
    let remote = cx.remote();
    let then = move |found| remote.tell_found(id, family, found);
    match dial.plan.resolver.find(&dial.plan.address, family, then) {
        Ok(ticket) => dial.tickets.push(ticket),
        Err(source) => {
            let error = dial::refused(&dial.plan.address, source);
            dial.race.found(family, Err(Failure::of(Reason::Unresolved, error)), cx.now());
        }
    }
}

/// Begins an attempt in a place of its own.
fn start(
    dial: &mut Dial,
    id: SourceId,
    attempt: Attempt,
    target: Target,
    limits: Arc<Limits>,
    cx: &mut Context<'_>,
) -> Result<(), Failure> {
    let (address, config) = (&dial.plan.address, &dial.plan.config);
    let made = dial.spare.take().map_or_else(|| Stream::unconnected(&target, &config.socket, config.bind), Ok);
    let stream = made.map_err(|source| Failure::of(Reason::of(&source), dial::refused(address, source)))?;
    let session = Session::dialled(config, address).map_err(|error| Failure::of(Reason::Bug, error))?;
    let place = cx.table.reserve().map_err(|error| Failure::of(Reason::Bug, error))?;
    let link = Link::in_phase(stream, None, limits, Phase::Connecting, session, cx.state.now);
    let trial = Trial { dial: id, attempt, target: Some(target), unmade: None };
    cx.table.attempt(place, link, Box::new(trial));
    cx.state.local.push_back(Local::Begin(place));
    dial.attempts.push((attempt, place));
    dial.begun = (cx.state.now, Some(attempt));
    Ok(())
}

fn cancel(dial: &mut Dial, attempt: Attempt, cx: &mut Context<'_>) {
    let place = dial.attempts.iter().position(|(other, _)| *other == attempt);
    let ended = place.map(|at| dial.attempts.swap_remove(at).1);
    cx.state.local.extend(ended.map(|place| Local::Order(place, Order::Close)));
}

/// Ends all attempts of a dial that is over.
pub(super) fn call_off(dial: &Dial, cx: &mut Context<'_>) {
    cx.state.local.extend(dial.attempts.iter().map(|(_, place)| Local::Order(*place, Order::Close)));
}
