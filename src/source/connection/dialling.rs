//! A connect under way: which address is tried, and when a full Unix backlog is tried again.
//!
//! Owns the order of attempts. The socket is the link's, the deadline over all of them the phase's.

use crate::clock::Tick;
use crate::command::{Attempt, Dial};
use crate::error::Reason;
use crate::handler::Handler;
use crate::id::SourceId;
use crate::link::phase::Signal;
use crate::net::stream::Progress;
use crate::source::connection::{Connection, Role};
use crate::turn::Turn;
use std::time::Duration;

/// The first and the longest wait before a full Unix backlog is tried again, in milliseconds.
const RETRY_MS: (u32, u32) = (1, 128);

/// A connect under way and who waits for it.
pub(super) struct Dialling {
    pub(super) dial: Dial,
    pub(super) handler: Box<dyn Handler>,
    /// When the attempt under way began.
    pub(super) begun: Tick,
}

impl Connection {
    /// Tries addresses until one is under way, established, or none is left.
    pub(super) fn connect(&mut self, id: SourceId, turn: &mut Turn<'_>) {
        let mut dialling = match std::mem::replace(&mut self.role, Role::Gone) {
            Role::Dialling(dialling) => dialling,
            other => {
                self.role = other;
                return;
            }
        };
        match self.try_targets(id, &mut dialling, turn) {
            Ok(Progress::Done) => {
                self.role = Role::Given(dialling.handler);
                let peer = self.link.stream().peer();
                self.link.set_peer(peer);
                self.link.signal(Signal::Connected, turn.desk.now);
            }
            Ok(Progress::Waiting | Progress::Busy) => self.role = Role::Dialling(dialling),
            Err(reason) => {
                self.role = Role::Given(dialling.handler);
                self.link.signal(Signal::Failed(reason), turn.desk.now);
            }
        }
    }

    /// Goes through the addresses until one is not refused; the last refusal counts.
    fn try_targets(&mut self, id: SourceId, dialling: &mut Dialling, turn: &mut Turn<'_>) -> Result<Progress, Reason> {
        let dial = &mut dialling.dial;
        loop {
            let refused = match self.attempt(dial, turn.desk.now) {
                Ok(Progress::Waiting) => {
                    if self.watched.is_none() {
                        self.register(id, turn);
                    }
                    return Ok(Progress::Waiting);
                }
                Ok(progress) => return Ok(progress),
                Err(reason) => reason,
            };
            if dial.targets.is_empty() {
                return Err(refused);
            }
            self.link.replace_stream(dial.next_socket().map_err(|error| Reason::of(&error))?);
            self.watched = None;
            dialling.begun = turn.desk.now;
        }
    }

    /// Makes or asks after one attempt.
    fn attempt(&mut self, dial: &mut Dial, now: Tick) -> Result<Progress, Reason> {
        let stream = self.link.stream();
        let (target, waited_ms) = match std::mem::replace(&mut dial.attempt, Attempt::Waiting) {
            Attempt::Fresh(target) => (Some(target), 0),
            Attempt::Retry { target, at, wait_ms } if now < at => {
                dial.attempt = Attempt::Retry { target, at, wait_ms };
                return Ok(Progress::Busy);
            }
            Attempt::Retry { target, wait_ms, .. } => (Some(target), wait_ms),
            Attempt::Waiting | Attempt::None => (None, 0),
        };
        let progress = target.as_ref().map_or_else(|| stream.progress(), |target| stream.connect(target));
        match (progress.map_err(|error| Reason::of(&error))?, target) {
            (Progress::Done, _) if stream.is_self_connected() => Err(Reason::SelfConnected),
            (Progress::Busy, Some(target)) => {
                let wait_ms = (waited_ms * 2).clamp(RETRY_MS.0, RETRY_MS.1);
                let at = now.after(Duration::from_millis(wait_ms.into()));
                dial.attempt = Attempt::Retry { target, at, wait_ms };
                Ok(Progress::Busy)
            }
            (progress, _) => Ok(progress),
        }
    }
}
