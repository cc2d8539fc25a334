//! A circuit breaker: after some failures in a row nothing is tried for a while, then one try decides.
//!
//! Owns the counting. Time is an argument, what is tried is the caller's.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a circuit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Circuit {
    /// Everything is let through; so many have failed in a row.
    Closed(u32),
    /// Nothing is let through until then.
    Open(Instant),
    /// One is on its way, and decides.
    HalfOpen,
}

/// Longer waits are as long.
const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) struct Breaker {
    failures_max: u32,
    open_for: Duration,
    circuit: Mutex<Circuit>,
}

/// What comes of a call through a breaker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Called<T, E> {
    Done(T),
    Failed(E),
    /// It was not tried.
    Refused,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32, open_for: Duration) -> Breaker {
        Breaker { failures_max, open_for, circuit: Mutex::new(Circuit::Closed(0)) }
    }

    fn lock(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn circuit(&self) -> Circuit {
        *self.lock()
    }

    /// Tries, unless the circuit is open.
    pub(crate) fn call<T, E>(&self, now: Instant, attempt: impl FnOnce() -> Result<T, E>) -> Called<T, E> {
        {
            let mut circuit = self.lock();
            match *circuit {
                Circuit::Closed(_) => {}
                Circuit::Open(until) if now >= until => *circuit = Circuit::HalfOpen,
                Circuit::Open(_) | Circuit::HalfOpen => return Called::Refused,
            }
        }
        // No lock is held while it is tried.
        let done = attempt();
        let mut circuit = self.lock();
        match done {
            Ok(done) => {
                *circuit = Circuit::Closed(0);
                Called::Done(done)
            }
            Err(error) => {
                let failures = if let Circuit::Closed(failures) = *circuit { failures + 1 } else { self.failures_max };
                let is_over = failures >= self.failures_max;
                *circuit = if is_over {
                    Circuit::Open(now.checked_add(self.open_for).unwrap_or(now + A_YEAR))
                } else {
                    Circuit::Closed(failures)
                };
                Called::Failed(error)
            }
        }
    }
}
