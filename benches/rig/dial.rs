//! How a client of a benchmark connects.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Socket, Type};

/// Connects; `number` picks the source address, so that closed connections do not use up the ports of one.
///
/// Waits for the kernel's handshake, which on loopback is done before the call returns.
pub(crate) fn dial(address: SocketAddr, number: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip().is_loopback() && address.is_ipv4() {
        let last_octet = 2 + (number % SOURCES) as u8;
        socket.bind(&SocketAddr::from(([127, 0, 0, last_octet], 0)).into())?;
    }
    socket.connect(&address.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// The source addresses are those from 127.0.0.2 on.
const SOURCES: usize = 199;
