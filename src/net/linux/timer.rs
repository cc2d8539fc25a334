//! A timer that is a descriptor; timerfd_create(2).

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Becomes readable when its time has come. It is not read: to set it again is enough, edge-triggered.
pub(crate) struct Timer(TimerFd);

impl Timer {
    pub(crate) fn new(registry: &Registry, word: usize) -> io::Result<Timer> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
        registry.register(&mut SourceFd(&timer.as_fd().as_raw_fd()), Token(word), Interest::READABLE)?;
        Ok(Timer(timer))
    }

    /// Has it fire once, after `left`; zero is at once.
    pub(crate) fn set(&self, left: Duration) -> io::Result<()> {
        // A time of zero would stop it.
        let left = TimeSpec::from_duration(left.clamp(Duration::from_nanos(1), FOREVER));
        Ok(self.0.set(Expiration::OneShot(left), TimerSetTimeFlags::empty())?)
    }

    pub(crate) fn stop(&self) -> io::Result<()> {
        Ok(self.0.unset()?)
    }
}

/// What every `timespec` can hold.
const FOREVER: Duration = Duration::from_secs(i32::MAX as u64);
