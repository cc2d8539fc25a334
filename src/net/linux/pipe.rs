//! A pipe through which bytes go from one socket to another without a copy; splice(2), pipe(7).
//!
//! Owns the calls. What of its errors are the sockets' is theirs; a call that this system or these sockets refuse is
//! `Unsupported`, and may be made another way.
//!
//! 1. It holds as many bytes as `len` says.

use crate::net::system::mask;
use crate::net::uninterrupted;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What it is asked to have room for: it holds 64 pieces of whatever length, and a piece is no longer than a packet.
const ROOM_BYTES: usize = 256 * 1024;

/// An empty pipe, or one with bytes between two sockets.
pub(crate) struct Pipe {
    output: OwnedFd,
    input: OwnedFd,
    len: usize,
}

impl Pipe {
    pub(crate) fn new() -> io::Result<Pipe> {
        let (output, input) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where the user has too many pipes it stays smaller, and moves less at a time.
        let _ = fcntl_setpipe_size(&input, ROOM_BYTES);
        Ok(Pipe { output, input, len: 0 })
    }

    /// Bytes that are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes up to `bytes_max` bytes that `socket` has received. That it takes none does not say that there are none: the end
    /// and the mark of urgent data look alike.
    pub(crate) fn fill(&mut self, socket: impl AsFd, bytes_max: usize) -> io::Result<usize> {
        let filled = uninterrupted(|| {
            splice(&socket, None, &self.input, None, bytes_max, SpliceFlags::NONBLOCK).map_err(unsupported)
        })?;
        self.len += filled;
        Ok(filled)
    }

    /// Has `socket` send bytes that are in it.
    pub(crate) fn send(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let (output, socket) = (&self.output, socket.as_fd());
        let send = |left| splice(output, None, socket, None, left, SpliceFlags::NONBLOCK);
        let sent = uninterrupted(|| mask::without(self.len, send).map_err(unsupported))?;
        self.len -= sent;
        Ok(sent)
    }

    /// Appends the bytes that are in it to `chunk`, which has room for them.
    pub(crate) fn read(&mut self, chunk: &mut Vec<u8>) -> io::Result<()> {
        while self.len > 0 {
            match uninterrupted(|| Ok(rustix::io::read(&self.output, spare_capacity(chunk))?))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.len -= read,
            }
        }
        Ok(())
    }
}

/// What is no failure of a socket: the call is unknown, or forbidden, or there is no memory for it.
fn unsupported(error: Errno) -> io::Error {
    match error {
        Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::NOMEM | Errno::BADF => {
            io::ErrorKind::Unsupported.into()
        }
        error => error.into(),
    }
}
