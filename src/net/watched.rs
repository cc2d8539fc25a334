//! Descriptors that belong to somebody else: pipes, eventfds, signalfds, other polls.
//!
//! Owns their registration. Never reads or writes them.

use crate::net::{Readiness, Registry};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Which readiness of a foreign descriptor is told.
///
/// ```
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use windlass::{Context, Direction, Next, Reactor, ReactorConfig, Readiness, WatchHandler};
/// struct Doorbell;
/// impl WatchHandler for Doorbell {
///     fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, ready: Readiness) -> Next {
///         println!("{ready:?}");
///         Next::Remove // `Wait` once a read has said `WouldBlock`
///     }
/// }
/// let (watched, _bell) = UnixStream::pair()?;
/// watched.set_nonblocking(true)?;
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let id = reactor.context().watch(watched, Direction::Read, Doorbell)?;
/// reactor.context().unwatch(id);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// That a read may not block.
    Read,
    /// That a write may not block.
    Write,
    /// Both.
    Both,
}

/// A foreign descriptor and what is to be told of it.
pub(crate) struct Foreign {
    fd: Box<dyn AsFd>,
    direction: Direction,
}

impl Foreign {
    pub(crate) fn new(fd: Box<dyn AsFd>, direction: Direction) -> Foreign {
        Foreign { fd, direction }
    }

    /// What it asks for, as if all of it had been reported.
    pub(crate) fn asked(&self) -> Readiness {
        let readable = matches!(self.direction, Direction::Read | Direction::Both);
        let writable = matches!(self.direction, Direction::Write | Direction::Both);
        Readiness { readable, writable, ..Readiness::default() }
    }

    fn interest(&self) -> Interest {
        match self.direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
            Direction::Both => Interest::READABLE | Interest::WRITABLE,
        }
    }

    pub(crate) fn register(&self, registry: &Registry, word: usize) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.fd.as_fd().as_raw_fd()), Token(word), self.interest())
    }

    pub(crate) fn reregister(&self, registry: &Registry, word: usize) -> io::Result<()> {
        registry.reregister(&mut SourceFd(&self.fd.as_fd().as_raw_fd()), Token(word), self.interest())
    }

    pub(crate) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.fd.as_fd().as_raw_fd()))
    }
}

impl AsFd for Foreign {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
