//! What is seen of a reactor from outside, without asking it.
//!
//! Owns numbers that the reactor's thread writes and any thread reads. Each is exact; together they are of about one moment.

use crate::clock::Tick;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// How a reactor is, as seen from outside; what [`Remote::health`](crate::Remote::health) tells.
///
/// ```
/// use windlass::{Engine, EngineConfig};
/// let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() })?;
/// let remote = engine.remotes()[0].clone(); // for any thread
/// remote.run(|cx| println!("{} connections", cx.connections().len()))?;
/// assert!(!remote.health().has_ended);
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// It has stopped, or its thread has died.
    pub has_ended: bool,
    /// How long its present turn goes on; `None` while it waits for something to do. A turn takes milliseconds: one of
    /// seconds means that a callback blocks.
    pub busy: Option<Duration>,
    /// Connections: those that connect or shake hands, datagram sockets, and what is on its way to it.
    pub connections: usize,
    /// Listeners that accept.
    pub listeners_accepting: usize,
    /// Listeners that pause, for whatever cause.
    pub listeners_paused: usize,
    /// Commands of other threads that it has not taken yet. Some that stay while it is not busy mean that nobody drives it.
    pub commands_waiting: usize,
}

impl Health {
    /// Whether it lives, and no callback has held its present turn up for longer than `within`.
    pub fn is_responsive(&self, within: Duration) -> bool {
        !self.has_ended && self.busy.is_none_or(|busy| busy <= within)
    }
}

/// What a listener is seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    /// It has no socket, not yet or not any more, or another reactor accepts for it.
    Absent,
    Yes,
    Paused,
}

/// A turn of milliseconds is long; one of these is no turn any more.
const HELD_UP: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Connections of the reactor, those among them that are on their way to it.
    pub(super) load: AtomicUsize,
    /// Connections that have left the reactor and keep their places.
    pub(super) away: AtomicUsize,
    /// TLS handshakes of accepted connections, those on their way to it among them.
    pub(super) handshakes: AtomicUsize,
    /// The tick at which its present turn began, 0 between turns.
    turn: AtomicU64,
    accepting: AtomicUsize,
    paused: AtomicUsize,
}

impl Pulse {
    pub(super) fn turn_begins(&self, now: Tick) {
        self.turn.store(now.nanos(), Ordering::Relaxed);
    }

    pub(super) fn turn_ends(&self) {
        self.turn.store(0, Ordering::Relaxed);
    }

    pub(super) fn listener_changes(&self, from: Accepting, to: Accepting) {
        if let Some(count) = self.count_of(from) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(count) = self.count_of(to) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether its present turn has taken so long that a callback must be blocking.
    pub(super) fn is_held_up(&self, now: Tick) -> bool {
        let turn = self.turn.load(Ordering::Relaxed);
        turn != 0 && now.since(Tick::of_nanos(turn)) > HELD_UP
    }

    fn count_of(&self, state: Accepting) -> Option<&AtomicUsize> {
        match state {
            Accepting::Absent => None,
            Accepting::Yes => Some(&self.accepting),
            Accepting::Paused => Some(&self.paused),
        }
    }

    pub(super) fn health(&self, now: Tick, has_ended: bool, commands_waiting: usize) -> Health {
        let turn = self.turn.load(Ordering::Relaxed);
        Health {
            has_ended,
            busy: (turn != 0 && !has_ended).then(|| now.since(Tick::of_nanos(turn))),
            connections: self.load.load(Ordering::Relaxed),
            listeners_accepting: self.accepting.load(Ordering::Relaxed),
            listeners_paused: self.paused.load(Ordering::Relaxed),
            commands_waiting,
        }
    }
}
