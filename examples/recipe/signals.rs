//! SIGTERM and SIGINT as bytes in a pipe, for loops that watch descriptors.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(crate) struct Signals {
    pipe: UnixStream,
    drain: Duration,
    seen: usize,
}

impl Signals {
    /// `drain` is how long a drain may take after the first signal; the second one cuts it.
    pub(crate) fn watch(drain: Duration) -> io::Result<Signals> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Signals { pipe, drain, seen: 0 })
    }

    /// Takes note of the signals that came; how long the drain may take after them.
    pub(crate) fn next_drain(&mut self) -> Duration {
        let mut bytes = [0; 64];
        while let Ok(n @ 1..) = self.pipe.read(&mut bytes) {
            self.seen += n;
        }
        if self.seen > 1 { Duration::ZERO } else { self.drain }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
