//! How a reactor ends: its drain, the cut at the deadline, and what becomes of what is left.
//!
//! Owns the order in which sources are told. Listeners come first, so that what the kernel has completed is opened before
//! anybody is told of the drain.

use crate::clock::Tick;
use crate::command::{Command, Local, Order};
use crate::error::Error;
use crate::id::SourceId;
use crate::link::handshake::FIRST_WORDS;
use crate::mailbox::Report;
use crate::reactor::Status;
use crate::reactor::core::Core;
use crate::turn::{Life, Roster};

/// Rounds of local commands at the end: one for those there are, one for what they bring in. Nothing new is begun then.
const LOCAL_ROUNDS: usize = 2;

impl Core {
    pub(super) fn begin_drain(&mut self, until: Tick) {
        match &mut self.desk.life {
            Life::Stopped(_) | Life::Cutting(_) => return,
            Life::Draining { until: earlier, .. } => {
                *earlier = (*earlier).min(until);
                return;
            }
            Life::Running => self.desk.life = Life::Draining { until, report: Report::default() },
        }
        log::info!("reactor {}: draining {} connections", self.number, self.desk.connections);
        let listeners: Vec<SourceId> = self.desk.listeners.iter().map(|(id, _)| *id).collect();
        for id in listeners {
            self.order(id, Order::Drain);
        }
        // What the kernel had completed is opened, and told of the drain, before anybody else is told.
        let told = self.table.lively();
        self.obey_local();
        for id in told {
            self.order(id, Order::Drain);
        }
        // Handshakes are told when they open, which they may never do.
        for id in self.table.shaking_hands() {
            self.order(id, Order::Hurry);
        }
        self.turn().after(FIRST_WORDS, |turn| {
            let hurried = turn.table.shaking_hands().into_iter().map(|id| Local::Order(id, Order::Hurry));
            turn.desk.local.extend(hurried);
        });
    }

    /// Whether the drain is over; cuts what is left at its deadline.
    pub(super) fn check_drain(&mut self) -> Status {
        let Life::Draining { until, report } = self.desk.life else { return self.status() };
        if self.desk.connections > 0 && self.desk.judged >= until {
            self.desk.life = Life::Cutting(report);
            self.end_connections(|| Order::Cut);
        }
        if let (Life::Draining { report, .. } | Life::Cutting(report), 0) = (self.desk.life, self.desk.connections) {
            self.desk.life = Life::Stopped(report);
            // What callbacks began last has handlers, too.
            self.obey_local();
            self.end_others(|| Order::Cut);
            log::info!("reactor {}: stopped: {report}", self.number);
            self.end_mailbox(Some(report));
        }
        self.status()
    }

    /// Ends every connection, those that local commands still bring in among them: their handlers must be told too.
    pub(super) fn end_connections(&mut self, order: impl Fn() -> Order) {
        for _ in 0..LOCAL_ROUNDS {
            self.obey_local();
        }
        for id in self.table.lively() {
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
                Command::Order(id, Order::Send(bytes)) => self.tell_undelivered(id, bytes, &Error::ReactorGone),
                Command::Accepted(handed) => {
                    drop(handed);
                    self.desk.remote.load_less();
                }
                other => self.drop_guarded(other),
            }
        }
    }
}
