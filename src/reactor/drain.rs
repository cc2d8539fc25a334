//! How a reactor ends: its drain, the cut at the deadline, and what becomes of what is left.
//!
//! Owns the order in which sources hear of it. Listeners come first, so that what the kernel has completed is opened. A handler
//! hears of the drain behind what its peer had sent by then; nobody waits for that for longer than a moment.

use crate::clock::Tick;
use crate::command::{Command, Local, Order};
use crate::context::{Life, Untold};
use crate::error::Error;
use crate::id::SourceId;
use crate::link::handshake::FIRST_WORDS;
use crate::mailbox::Report;
use crate::reactor::Status;
use crate::reactor::core::Core;
use crate::source::Source;

/// Rounds of local commands at the end: one for those there are, one for what they bring in. Nothing new is begun then.
const LOCAL_ROUNDS: usize = 2;

impl Core {
    pub(super) fn begin_drain(&mut self, until: Tick) {
        match &mut self.state.life {
            Life::Stopped(_) | Life::Cutting(_) => return,
            Life::Draining { until: earlier, .. } => {
                *earlier = (*earlier).min(until);
                return;
            }
            Life::Running => self.state.life = Life::Draining { until, report: Report::default() },
        }
        log::info!("reactor {}: draining {} connections", self.number, self.state.connections);
        self.drain_began = self.state.now;
        let listeners: Vec<SourceId> = self.state.listeners.iter().map(|(id, _)| *id).collect();
        for id in listeners {
            self.order(id, Order::Drain);
        }
        for id in self.table.open_sources() {
            match self.table.get(id) {
                // Nothing new is connected once draining (A10).
                Some(Source::Connection(connection)) if connection.is_connecting() => self.order(id, Order::Drain),
                // It hears of it when it opens, if it does.
                Some(Source::Connection(connection)) if connection.is_shaking_hands() => {}
                Some(Source::Connection(connection)) => {
                    let beyond = connection.bytes_before_request(self.state.now);
                    self.context().announce_drain(id, beyond);
                }
                Some(_) | None => self.context().announce_drain(id, 0),
            }
        }
        // What the kernel had completed is opened.
        self.run_local();
        for id in self.table.shaking_hands() {
            self.order(id, Order::Hurry);
        }
        self.context().after(FIRST_WORDS, |cx| {
            let hurried = cx.table.shaking_hands().into_iter().map(|id| Local::Order(id, Order::Hurry));
            cx.state.local.extend(hurried);
        });
    }

    /// Tells of the drain whoever has nothing more in the kernel, or had its time.
    fn tell_drain(&mut self) {
        // Not before all was looked at that the kernel and the mailbox held when it began.
        if self.state.untold.is_empty() || self.state.judged < self.drain_began {
            return;
        }
        // As with every deadline: what came in time, and was not looked at yet, comes first.
        let judged = self.state.judged;
        let (heard, waiting) = std::mem::take(&mut self.state.untold).into_iter().partition(|untold| {
            untold.until <= judged || self.table.get(untold.id).is_none_or(|source| source.is_heard(untold.beyond))
        });
        self.state.untold = waiting;
        self.tell_drain_to(heard);
    }

    fn tell_drain_to(&mut self, heard: Vec<Untold>) {
        for untold in heard {
            self.order(untold.id, Order::Drain);
        }
    }

    /// When somebody must hear of the drain at the latest.
    pub(super) fn drain_due(&self) -> Tick {
        if self.state.judged < self.drain_began && !self.state.untold.is_empty() {
            return self.drain_began;
        }
        self.state.untold.iter().map(|untold| untold.until).min().unwrap_or(Tick::NEVER)
    }

    /// Whether nothing is left to wait for: a listener that is left is fed by another reactor, which may still hand over what
    /// it has accepted.
    pub(super) fn is_drained(&self) -> bool {
        self.state.connections == 0 && self.state.listeners.is_empty()
    }

    /// Whether the drain is over; cuts what is left at its deadline.
    pub(super) fn check_drain(&mut self) -> Status {
        let Life::Draining { until, .. } = self.state.life else { return self.status() };
        self.tell_drain();
        if self.state.judged >= until && !self.is_drained() {
            let untold = std::mem::take(&mut self.state.untold);
            self.tell_drain_to(untold);
            let report = match self.state.life {
                Life::Draining { report, .. } => report,
                Life::Running | Life::Cutting(_) | Life::Stopped(_) => Report::default(),
            };
            self.state.life = Life::Cutting(report);
            self.end_connections(|| Order::Cut);
        }
        let report = match self.state.life {
            Life::Draining { report, .. } if self.is_drained() => report,
            Life::Cutting(report) if self.state.connections == 0 => report,
            Life::Running | Life::Draining { .. } | Life::Cutting(_) | Life::Stopped(_) => return self.status(),
        };
        self.state.life = Life::Stopped(report);
        // What callbacks began last has handlers, too.
        self.run_local();
        self.end_others(|| Order::Cut);
        self.run_endings();
        log::info!("reactor {}: stopped: {report}", self.number);
        self.end_mailbox(Some(report));
        self.status()
    }

    /// Ends every connection, those that local commands still bring in among them: their handlers must be told too.
    pub(super) fn end_connections(&mut self, order: impl Fn() -> Order) {
        for _ in 0..LOCAL_ROUNDS {
            self.run_local();
        }
        for id in self.table.open_sources() {
            self.order(id, order());
        }
    }

    /// Ends what is left, after the connections: their handlers could still reach watches and listeners.
    pub(super) fn end_others(&mut self, order: impl Fn() -> Order) {
        for id in self.table.ids() {
            self.order(id, order());
        }
    }

    pub(super) fn end_mailbox(&mut self, report: Option<Report>) {
        let mut left = std::mem::take(&mut self.commands);
        left.append(&mut self.mailbox.end(report));
        for command in left {
            match command {
                Command::Order(id, order) => self.tell_lost(id, order, &Error::ReactorGone),
                Command::Accepted(handed) => self.state.lose(&handed),
                other => self.drop_guarded(other),
            }
        }
    }
}
