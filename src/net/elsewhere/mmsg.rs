//! Where there are no calls for many datagrams: whoever asks is told so, and goes on with one in a call.

use crate::net::datagram::DatagramSocket;
use crate::net::datagram::arrivals::{Arrived, receive_one};
use crate::net::datagram::calls::{Common, NetworkError, Places};
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// Nothing to receive with.
#[derive(Default)]
pub(in crate::net) struct ReceiveHeaders;

impl ReceiveHeaders {
    pub(in crate::net) fn receive(
        &mut self,
        _: &mut DatagramSocket,
        memory: &mut [u8],
        want: usize,
        places: Places,
        _: &mut Vec<Arrived>,
    ) -> io::Result<()> {
        debug_assert!(want * places.step <= memory.len() && places.len <= places.step, "places: each has its own");
        Err(Errno::NOSYS.into())
    }
}

/// One in a call, and none that are joined.
pub(in crate::net) fn receive_joined(socket: &mut DatagramSocket, memory: &mut [u8]) -> io::Result<Arrived> {
    receive_one(socket, memory)
}

/// The same.
pub(in crate::net) fn receive_message(
    socket: &DatagramSocket,
    memory: &mut [u8],
) -> io::Result<(Arrived, Option<u32>)> {
    Ok((receive_one(socket, memory)?, None))
}

/// Nothing to send with.
#[derive(Default)]
pub(crate) struct SendHeaders;

impl SendHeaders {
    pub(crate) fn send(
        &mut self,
        _: &DatagramSocket,
        _: Common,
        _: &[&[IoSlice<'_>]],
        _: impl Iterator<Item = Option<SocketAddr>>,
    ) -> io::Result<usize> {
        Err(Errno::NOSYS.into())
    }
}

/// There is no queue of them.
pub(crate) fn next_error(_: impl AsFd) -> io::Result<Option<NetworkError>> {
    Ok(None)
}
