//! Addresses and datagram sockets, each an enum over UDP and Unix.
//!
//! Owns how they are spelled, opened and read. Knows nothing of datagrams' content. Both ends of the benchmark use it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use mio::event::Source;
use mio::net::{UdpSocket, UnixDatagram};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use socket2::SockRef;

/// No datagram is longer.
pub(crate) const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// What the kernel cuts is at most one datagram's bytes, and at most so many pieces.
const CALL_BYTES_MAX: usize = 65_000;
const DATAGRAMS_PER_CALL_MAX: usize = 64;

/// What a socket is bound or connected to: `udp://127.0.0.1:0` or `unixgram:/path`.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Udp(SocketAddr),
    Unixgram(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let udp = text.strip_prefix("udp://").and_then(|ip| ip.parse().ok()).map(Address::Udp);
        let address = udp.or_else(|| text.strip_prefix("unixgram:").map(|path| Address::Unixgram(path.into())));
        address.ok_or_else(|| format!("`{text}` is not udp://IP:PORT or unixgram:PATH"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Udp(ip) => write!(f, "udp://{ip}"),
            Address::Unixgram(path) => write!(f, "unixgram:{}", path.display()),
        }
    }
}

/// Who sent a datagram.
pub(crate) enum Origin {
    Udp(SocketAddr),
    Unixgram(std::os::unix::net::SocketAddr),
}

/// A datagram socket that does not block.
pub(crate) enum Socket {
    Udp(UdpSocket),
    Unixgram(UnixDatagram),
}

impl Socket {
    /// Binds, and returns the address it got. The kernel is asked to keep so many bytes for a UDP socket.
    pub(crate) fn bind(address: &Address, receive_buffer_bytes: Option<usize>) -> io::Result<(Self, Address)> {
        match address {
            Address::Udp(ip) => {
                let socket = UdpSocket::bind(*ip)?;
                if let Some(bytes) = receive_buffer_bytes {
                    SockRef::from(&socket).set_recv_buffer_size(bytes)?;
                }
                let bound = Address::Udp(socket.local_addr()?);
                Ok((Socket::Udp(socket), bound))
            }
            Address::Unixgram(path) => Ok((Socket::Unixgram(UnixDatagram::bind(path)?), address.clone())),
        }
    }

    /// Connects to a server, which can answer. A path of its own, made of the server's and `number`, stays behind.
    pub(crate) fn connect(address: &Address, number: usize) -> io::Result<Self> {
        match address {
            Address::Udp(ip) => {
                let any_port = SocketAddr::new(ip.ip(), 0);
                let socket = UdpSocket::bind(any_port)?;
                socket.connect(*ip)?;
                Ok(Socket::Udp(socket))
            }
            Address::Unixgram(path) => {
                let mut own = path.clone().into_os_string();
                own.push(format!(".{number}"));
                let socket = UnixDatagram::bind(own)?;
                socket.connect(path)?;
                Ok(Socket::Unixgram(socket))
            }
        }
    }

    pub(crate) fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, Origin)> {
        match self {
            Socket::Udp(socket) => socket.recv_from(buffer).map(|(count, origin)| (count, Origin::Udp(origin))),
            Socket::Unixgram(socket) => {
                socket.recv_from(buffer).map(|(count, origin)| (count, Origin::Unixgram(origin)))
            }
        }
    }

    pub(crate) fn send_to(&self, bytes: &[u8], origin: &Origin) -> io::Result<usize> {
        match (self, origin) {
            (Socket::Udp(socket), Origin::Udp(ip)) => socket.send_to(bytes, *ip),
            (Socket::Unixgram(socket), Origin::Unixgram(address)) => match address.as_pathname() {
                Some(path) => socket.send_to(bytes, path),
                None => Err(ErrorKind::AddrNotAvailable.into()),
            },
            (Socket::Udp(_), Origin::Unixgram(_)) | (Socket::Unixgram(_), Origin::Udp(_)) => {
                Err(ErrorKind::InvalidInput.into())
            }
        }
    }

    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => socket.recv(buffer),
            Socket::Unixgram(socket) => socket.recv(buffer),
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => socket.send(bytes),
            Socket::Unixgram(socket) => socket.send(bytes),
        }
    }

    /// Has the kernel cut what is sent at a time into datagrams of so many bytes; returns how many may be sent so.
    pub(crate) fn send_many_of(&self, datagram_bytes: usize) -> io::Result<usize> {
        match self {
            Socket::Udp(socket) => {
                let segment_bytes = i32::try_from(datagram_bytes).map_err(io::Error::other)?;
                setsockopt(socket, UdpGsoSegment, &segment_bytes)?;
                Ok((CALL_BYTES_MAX / datagram_bytes).clamp(1, DATAGRAMS_PER_CALL_MAX))
            }
            Socket::Unixgram(_) => Ok(1),
        }
    }

    /// To be registered with a poll.
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Socket::Udp(socket) => socket,
            Socket::Unixgram(socket) => socket,
        }
    }
}
