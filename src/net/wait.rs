//! Waiting for one socket or several, by a thread that has nothing else to do; poll(2).

use crate::net::system::PEER_ENDED;
use crate::net::{Readiness, sigpipe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Waits until `socket` can be read or written, as is wanted, or for as long as `timeout` says. `None` if nothing came, or a
/// signal.
pub(crate) fn wait(
    socket: impl AsFd,
    reads: Wanted,
    writes: Wanted,
    timeout: Option<Duration>,
) -> io::Result<Option<Readiness>> {
    poll_one(&socket, flags(reads, writes), timeout)
}

fn flags(reads: Wanted, writes: Wanted) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, reads == Wanted::Yes);
    flags.set(PollFlags::OUT, writes == Wanted::Yes);
    flags
}

/// Whether `socket` can be read now, and whether the peer has ended, also behind bytes that wait to be read.
pub(crate) fn look(socket: impl AsFd) -> io::Result<Option<Readiness>> {
    poll_one(&socket, PollFlags::IN | PEER_ENDED, Some(Duration::ZERO))
}

fn poll_one(socket: &impl AsFd, flags: PollFlags, timeout: Option<Duration>) -> io::Result<Option<Readiness>> {
    let mut polled = [PollFd::new(socket, flags)];
    // A time that the system cannot count never comes.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut polled, timeout.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Some(readiness(polled[0].revents())))
}

fn readiness(said: PollFlags) -> Readiness {
    Readiness {
        readable: said.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR),
        writable: said.intersects(PollFlags::OUT | PollFlags::HUP | PollFlags::ERR),
        ended: said.intersects(PollFlags::HUP | PEER_ENDED),
        error: said.intersects(PollFlags::ERR | PollFlags::NVAL),
        priority: false,
    }
}

/// A socket, and what is waited for.
pub(crate) struct Wish<'a>(PollFd<'a>);

impl<'a> Wish<'a> {
    pub(crate) fn new(socket: &'a impl AsFd, reads: Wanted, writes: Wanted) -> Wish<'a> {
        Wish(PollFd::new(socket, flags(reads, writes)))
    }

    pub(crate) fn to_read(socket: &'a impl AsFd) -> Wish<'a> {
        Wish::new(socket, Wanted::Yes, Wanted::No)
    }
}

/// Waits until one of several sockets can be used as is wished, or for as long as `timeout` says; says what each can.
pub(crate) fn wait_for_any(wishes: &[Wish<'_>], timeout: Duration) -> io::Result<Vec<Option<Readiness>>> {
    let mut polled: Vec<PollFd<'_>> = wishes.iter().map(|wish| wish.0.clone()).collect();
    let timeout = Timespec::try_from(timeout).ok();
    match poll(&mut polled, timeout.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let said = |polled: &PollFd<'_>| (!polled.revents().is_empty()).then(|| readiness(polled.revents()));
    Ok(polled.iter().map(said).collect())
}

/// Two ends: a thread waits to read one, others wake it with the other. Neither blocks.
pub(crate) fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (sleeper, waker) = UnixStream::pair()?;
    for end in [&sleeper, &waker] {
        end.set_nonblocking(true)?;
        // The standard library does so on sockets that it makes one by one.
        sigpipe::prepare(&SockRef::from(end))?;
    }
    Ok((sleeper, waker))
}

/// Wakes who waits to read the other end, if it is still there. It raises no SIGPIPE.
pub(crate) fn wake(waker: impl AsFd) {
    let _ = rustix::net::send(waker, &[0], sigpipe::NONE);
}

/// Whether something is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    No,
    Yes,
}
