//! A client's end of a connection, played by the harness: a plain socket that does not block.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use socket2::Socket;

use crate::rig::Outcome;
use crate::rig::dial::dial;
use crate::rig::until::{PATIENCE, until};

pub(crate) struct Peer {
    pub(crate) socket: Socket,
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Bytes(usize),
    /// The other side ended in order.
    End,
    /// It did not.
    Reset,
}

impl Peer {
    /// Connects, as [`dial`] does.
    pub(crate) fn dial(address: SocketAddr, number: usize) -> Outcome<Self> {
        let socket = dial(address, number).map_err(|error| format!("connection {number} to {address}: {error}"))?;
        socket.set_nonblocking(true)?;
        Ok(Peer { socket })
    }

    /// Writes what the kernel takes now.
    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> Outcome<usize> {
        match self.socket.write(bytes) {
            Ok(count) => Ok(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a few bytes, which the kernel takes whole.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        match self.write_some(bytes)? {
            count if count == bytes.len() => Ok(()),
            count => Err(format!("the kernel took {count} of {} bytes", bytes.len()).into()),
        }
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Outcome<Heard> {
        match self.socket.read(buffer) {
            Ok(0) => Ok(Heard::End),
            Ok(count) => Ok(Heard::Bytes(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Heard::Nothing),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Ok(Heard::Reset)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a byte came that answers one of ours; an end is an error.
    pub(crate) fn is_answered(&mut self) -> Outcome<bool> {
        match self.read(&mut [0])? {
            Heard::Nothing => Ok(false),
            Heard::Bytes(_) => Ok(true),
            end => Err(format!("a connection that should be served ended: {end:?}").into()),
        }
    }

    /// Ends our side.
    pub(crate) fn finish(&self) -> Outcome<()> {
        Ok(self.socket.shutdown(Shutdown::Write)?)
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) -> Outcome<()> {
        Ok(self.socket.set_linger(Some(Duration::ZERO))?)
    }
}

/// Has one byte echoed on each; returns how long it took.
pub(crate) fn echo_on_each(peers: &mut [Peer]) -> Outcome<Duration> {
    for peer in &mut *peers {
        peer.write(b"e")?;
    }
    let mut waiting: Vec<&mut Peer> = peers.iter_mut().collect();
    until("an echo on each connection", PATIENCE, || {
        retain_fallible(&mut waiting, |peer| Ok(!peer.is_answered()?))?;
        Ok(waiting.is_empty())
    })
}

/// `Vec::retain_mut` with a question that can fail; then the first error is told, and the rest kept.
pub(crate) fn retain_fallible<T>(items: &mut Vec<T>, mut keep: impl FnMut(&mut T) -> Outcome<bool>) -> Outcome<()> {
    let mut outcome = Ok(());
    items.retain_mut(|item| {
        if outcome.is_err() {
            return true;
        }
        keep(item).unwrap_or_else(|error| {
            outcome = Err(error);
            true
        })
    });
    outcome
}
