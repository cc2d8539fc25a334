//! The poll's descriptor tells of deadlines as well, for a loop around this one that waits for nothing else.
//!
//! Owns the timer, and what it is set to. When anything is due is the core's to say.
//!
//! 1. Between turns it has fired if work waits, or if anybody had the reactor's context since: what was asked there may be due
//!    earlier than all that was known, and the turn that follows looks.

use crate::clock::Tick;
use crate::id::SourceId;
use crate::net::Registry;
use crate::net::system::timer::Timer;
use std::io;
use std::time::Duration;

pub(super) struct Alarm {
    timer: Timer,
    set: Set,
}

/// What the timer was set to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Nothing,
    /// It fires then, or has fired.
    Due(Tick),
    /// It has fired at once.
    Now,
}

impl Alarm {
    /// As the kernel reports it. No source has this word: its slot is the first that a table never has.
    const WORD: usize = SourceId::SLOTS_MAX;

    /// One that has fired.
    pub(super) fn new(registry: &Registry) -> io::Result<Alarm> {
        let timer = Timer::new(registry, Alarm::WORD)?;
        timer.set(Duration::ZERO)?;
        Ok(Alarm { timer, set: Set::Now })
    }

    /// Fires at once: somebody has the context.
    pub(super) fn ring(&mut self) {
        if self.set != Set::Now {
            self.set = Set::Now;
            done(self.timer.set(Duration::ZERO));
        }
    }

    /// Has it fire when something is due, behind a turn; `clock` reads the time.
    pub(super) fn set(&mut self, due: Option<Tick>, clock: impl FnOnce() -> Tick) {
        match due {
            None if self.set == Set::Nothing => {}
            None => {
                self.set = Set::Nothing;
                done(self.timer.stop());
            }
            Some(due) => {
                let now = clock();
                if due > now && self.set == Set::Due(due) {
                    return;
                }
                self.set = Set::Due(due);
                done(self.timer.set(due.since(now)));
            }
        }
    }
}

/// timerfd_settime(2) refuses nothing but times that are none, and descriptors that are no timers.
fn done(result: io::Result<()>) {
    debug_assert!(result.is_ok(), "a timer of our own: {result:?}");
}
