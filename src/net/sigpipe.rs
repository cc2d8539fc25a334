//! SIGPIPE, which a send raises when the peer has gone. Its default action ends the process.
//!
//! Chooses what prevents that: a flag of the call, a socket option where the system has no such flag, and the thread's signal
//! mask for sendfile(2), which has neither (`net/linux/mask`). It does not ask whether the process ignores the signal: the process may change
//! that at any moment, from any thread, while only the thread itself changes its mask.
//!
//! 1. A SIGPIPE raised by a call of ours is never delivered.

use crate::net::system;
use rustix::net::SendFlags;
use socket2::Socket;
use std::io;

/// The flag for every send; on Apple's systems the sockets have an option instead.
pub(crate) const NONE: SendFlags = system::NO_SIGPIPE;

/// Sets that option on a socket that was accepted or adopted, or is one of a pair; socket2 sets it on those that it creates.
pub(crate) fn prepare(socket: &Socket) -> io::Result<()> {
    system::no_sigpipe(socket)
}

pub(crate) use system::mask::{block, inherited};
