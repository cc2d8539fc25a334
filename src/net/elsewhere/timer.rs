//! Where a timer is no descriptor: it is refused.
//!
//! kqueue(2) has timers of its own (EVFILT_TIMER), which mio does not offer.

use mio::Registry;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

/// There is none.
pub(crate) struct Timer(Infallible);

impl Timer {
    pub(crate) fn new(_: &Registry, _: usize) -> io::Result<Timer> {
        let why = "this system has no timerfd_create(2); wait no longer than until Reactor::next_deadline";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    pub(crate) fn set(&self, _: Duration) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn stop(&self) -> io::Result<()> {
        match self.0 {}
    }
}
