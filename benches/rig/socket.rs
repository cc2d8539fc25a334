//! Addresses, listeners and streams, each an enum over TCP and Unix.
//!
//! Owns how they are spelled, opened and read. Knows nothing of messages. Both ends of the benchmark use it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::str::FromStr;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use socket2::SockRef;

use crate::rig::dial::dial;

/// Where a server listens: `tcp://127.0.0.1:0` or `unix:/path`; with TLS `tls://127.0.0.1:0` or `tls+unix:/path`.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) security: Security,
    pub(crate) place: Place,
}

/// What bytes are wrapped in on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    Tls,
}

/// What a socket is bound or connected to.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Ip(SocketAddr),
    Path(PathBuf),
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (security, place) = match text.split_once(':')? {
            ("tcp", rest) => (Security::Plain, Place::Ip(rest.strip_prefix("//")?.parse().ok()?)),
            ("tls", rest) => (Security::Tls, Place::Ip(rest.strip_prefix("//")?.parse().ok()?)),
            ("unix", rest) => (Security::Plain, Place::Path(rest.into())),
            ("tls+unix", rest) => (Security::Tls, Place::Path(rest.into())),
            _ => return None,
        };
        Some(Address { security, place })
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "tcp://IP:PORT, tls://IP:PORT, unix:PATH or tls+unix:PATH";
        Address::parse(text).ok_or_else(|| format!("`{text}` is not one of {FORMS}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.security, &self.place) {
            (Security::Plain, Place::Ip(address)) => write!(f, "tcp://{address}"),
            (Security::Tls, Place::Ip(address)) => write!(f, "tls://{address}"),
            (Security::Plain, Place::Path(path)) => write!(f, "unix:{}", path.display()),
            (Security::Tls, Place::Path(path)) => write!(f, "tls+unix:{}", path.display()),
        }
    }
}

/// A listening socket that does not block.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// To be registered with a poll.
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp(listener) => listener,
            Listener::Unix(listener) => listener,
        }
    }

    /// Listens, and returns the address it got.
    pub(crate) fn bind(address: &Address) -> io::Result<(Self, Address)> {
        match &address.place {
            Place::Ip(ip) => {
                let listener = TcpListener::bind(*ip)?;
                // Accepted sockets inherit the option on Linux, which saves a system call each.
                SockRef::from(&listener).set_tcp_nodelay(true)?;
                let bound = Address { place: Place::Ip(listener.local_addr()?), ..address.clone() };
                Ok((Listener::Tcp(listener), bound))
            }
            Place::Path(path) => {
                let listener = UnixListener::bind(path)?;
                Ok((Listener::Unix(listener), address.clone()))
            }
        }
    }

    pub(crate) fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => Ok(Stream::Tcp(listener.accept()?.0)),
            Listener::Unix(listener) => Ok(Stream::Unix(listener.accept()?.0)),
        }
    }
}

/// A connected socket that does not block.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects, to an IP address as [`dial`] does.
    pub(crate) fn connect(address: &Address, number: usize) -> io::Result<Self> {
        match &address.place {
            Place::Ip(address) => {
                let socket = dial(*address, number)?;
                socket.set_nonblocking(true)?;
                Ok(Stream::Tcp(TcpStream::from_std(socket.into())))
            }
            Place::Path(path) => {
                let stream = std::os::unix::net::UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Ok(Stream::Unix(UnixStream::from_std(stream)))
            }
        }
    }

    /// Ends what this side sends; what the peer still sends can be read.
    pub(crate) fn end(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Reads once; says too whether a short read means that nothing is left: over a Unix socket it may have ended where the
    /// peer passed a descriptor along.
    pub(crate) fn read_short(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        match self {
            Stream::Tcp(stream) => Ok((stream.read(buffer)?, true)),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Stream::Unix(stream) => {
                use nix::sys::socket::{MsgFlags, recvmsg};
                let mut whole = [io::IoSliceMut::new(buffer)];
                let read = recvmsg::<()>(stream.as_raw_fd(), &mut whole, None, MsgFlags::empty())?;
                Ok((read.bytes, !read.flags.contains(MsgFlags::MSG_CTRUNC)))
            }
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            Stream::Unix(stream) => Ok((stream.read(buffer)?, false)),
        }
    }

    /// To be registered with a poll.
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Stream::Tcp(stream) => stream,
            Stream::Unix(stream) => stream,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
