//! Waiting for one socket, by a thread that has nothing else to do; poll(2).

use crate::net::Readiness;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// Waits until `socket` can be read or written, as is wanted, or for as long as `timeout` says. `None` if nothing came, or a
/// signal.
pub(crate) fn wait(
    socket: impl AsFd,
    reads: Wanted,
    writes: Wanted,
    timeout: Option<Duration>,
) -> io::Result<Option<Readiness>> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, reads == Wanted::Yes);
    flags.set(PollFlags::OUT, writes == Wanted::Yes);
    poll_one(&socket, flags, timeout)
}

/// Whether `socket` can be read now, and whether the peer has ended, also behind bytes that wait to be read.
pub(crate) fn look(socket: impl AsFd) -> io::Result<Option<Readiness>> {
    poll_one(&socket, PollFlags::IN | PEER_ENDED, Some(Duration::ZERO))
}

/// Where the system knows it, of the peer's end.
#[cfg(any(target_os = "linux", target_os = "android"))]
const PEER_ENDED: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const PEER_ENDED: PollFlags = PollFlags::empty();

fn poll_one(socket: &impl AsFd, flags: PollFlags, timeout: Option<Duration>) -> io::Result<Option<Readiness>> {
    let mut polled = [PollFd::new(socket, flags)];
    // A time that the system cannot count never comes.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let said = polled[0].revents();
    Ok(Some(Readiness {
        readable: said.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
        writable: said.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR),
        ended: said.intersects(PollFlags::HUP | PEER_ENDED),
        error: said.intersects(PollFlags::ERR | PollFlags::NVAL),
        priority: false,
    }))
}

/// Waits until a connect of one of `sockets` is decided, or for as long as `timeout` says; says of which.
pub(crate) fn wait_for_connects<S: AsFd>(sockets: &[S], timeout: Option<Duration>) -> io::Result<Vec<usize>> {
    let mut polled: Vec<PollFd<'_>> = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::OUT)).collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    Ok(polled.iter().enumerate().filter(|(_, polled)| !polled.revents().is_empty()).map(|(index, _)| index).collect())
}

/// Whether something is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    No,
    Yes,
}
