//! Listening sockets: TCP and Unix as one, with the care of Unix socket files.
//!
//! Owns the order of bind, permissions and listen, so that no peer can connect before mode and group are set. Knows nothing
//! of connections.

use crate::address::{Address, Family};
use crate::config::{ListenConfig, Reuse, SocketOptions, Stack};
use crate::error::Error;
use crate::net::options::{self, IsTcp};
use crate::net::sigpipe;
use crate::net::socket_file::{self, SocketFile, Wanted};
use crate::net::stream::{Stream, Target, name};
use crate::net::{Registry, system, unmapped};
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Interest, Token};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// An adopted one over IP that is not plain TCP, as `Stream::OtherIp`.
    OtherIp(TcpListener),
    /// The file first: while the socket is open its inode cannot be another's, so it is removed before the close.
    Unix(Option<SocketFile>, UnixListener),
}

impl Listener {
    /// Binds and listens; of a name with several addresses, on the first that can be bound.
    pub(crate) fn bind(address: &Address, config: &ListenConfig) -> Result<Listener, Error> {
        let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
        if let Some(path) = address.path() {
            return bind_path(address, path, config);
        }
        if let Some(target) = Target::unix(address) {
            let Target::Unix(at) = target.map_err(refused)? else {
                return Err(refused(io::ErrorKind::Unsupported.into()));
            };
            return bind_name(&at, config).map_err(refused);
        }
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for at in places(address, config.stack)? {
            match bind_tcp(at, address.family(), config) {
                Ok(tcp) => return Ok(Listener::Tcp(tcp)),
                // No IPv6, or not that address: the next one may do. Others, a taken port above all, must be told.
                Err(error) if is_lack(&error) => last = error,
                Err(error) => return Err(refused(error)),
            }
        }
        Err(refused(last))
    }

    /// Takes over a listening socket, makes it one of ours and gives it what accepted ones shall inherit. A Unix socket's file
    /// stays when it is closed.
    pub(crate) fn adopt(fd: OwnedFd, options: &SocketOptions) -> io::Result<Listener> {
        let socket = Socket::from(fd);
        if !system::listens(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen; call listen(2) first"));
        }
        if socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a stream socket"));
        }
        let domain = socket.local_addr()?.domain();
        options::apply_adopted(&socket)?;
        let fd = OwnedFd::from(socket);
        let options = SocketOptions { prepare: None, ..*options };
        match domain {
            Domain::IPV4 | Domain::IPV6 if system::kind::is_plain_tcp(&fd) => {
                options::apply(&SockRef::from(&fd), &options, IsTcp::Yes)?;
                Ok(Listener::Tcp(TcpListener::from(fd)))
            }
            Domain::IPV4 | Domain::IPV6 => {
                options::apply_foreign(&SockRef::from(&fd), &options)?;
                Ok(Listener::OtherIp(TcpListener::from(fd)))
            }
            Domain::UNIX => Ok(Listener::Unix(None, UnixListener::from(fd))),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a TCP nor a Unix socket")),
        }
    }

    /// accept(2): the stream, non-blocking and closed on exec, and where it comes from (`None` for Unix peers).
    pub(crate) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(tcp) => accept_ip(tcp).map(|(stream, peer)| (Stream::Tcp(stream), Some(peer))),
            Listener::OtherIp(ip) => accept_ip(ip).map(|(stream, peer)| (Stream::OtherIp(stream), Some(peer))),
            Listener::Unix(_, unix) => {
                system::accept_unix(unix).map(|stream| (Stream::Unix(UnixStream::from(stream)), None))
            }
        }
    }

    /// The real address, with the port that the system chose.
    pub(crate) fn local_address(&self) -> io::Result<Address> {
        name(&SockRef::from(self).local_addr()?)
    }

    /// Where it is really bound, in the family of its socket, so that another one can share it.
    pub(crate) fn bound_at(&self) -> io::Result<Option<SocketAddr>> {
        Ok(SockRef::from(self).local_addr()?.as_socket())
    }

    /// Asks the kernel to report waiting connections under `word`.
    pub(crate) fn register(&mut self, registry: &Registry, word: usize) -> io::Result<()> {
        match self {
            Listener::Tcp(tcp) | Listener::OtherIp(tcp) => registry.register(tcp, Token(word), Interest::READABLE),
            Listener::Unix(_, unix) => registry.register(unix, Token(word), Interest::READABLE),
        }
    }

    /// Ends the kernel's reports, also where the descriptor has duplicates.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Listener::Tcp(tcp) | Listener::OtherIp(tcp) => registry.deregister(tcp),
            Listener::Unix(_, unix) => registry.deregister(unix),
        }
    }
}

/// accept(2) of a socket that is no Unix one.
fn accept_ip(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    sigpipe::prepare(&SockRef::from(&stream)).map_err(aborted)?;
    Ok((stream, unmapped(peer)))
}

/// The error of a connection that accept(2) has returned, as accept(2) says it. Apple's systems refuse any option with EINVAL
/// where the peer has left already, which of accept(2) itself would mean that the listener is broken.
pub(super) fn aborted(error: io::Error) -> io::Error {
    log::debug!("an accepted connection cannot be prepared: {error}");
    io::Error::from_raw_os_error(Errno::CONNABORTED.raw_os_error())
}

/// Where a socket for `address` may be bound, the first choice first.
pub(super) fn places(address: &Address, stack: Stack) -> Result<Vec<SocketAddr>, Error> {
    let mut all = address.resolve()?;
    if let (Some(SocketAddr::V6(v6)), Family::Any, Stack::Dual) = (address.ip(), address.family(), stack) {
        if v6.ip().is_unspecified() {
            // All addresses, also where the system has no IPv6.
            all.push(SocketAddr::from(([0, 0, 0, 0], v6.port())));
        }
    }
    Ok(all)
}

/// Whether the system has no such family or address.
pub(super) fn is_lack(error: &io::Error) -> bool {
    let lacks = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    error.raw_os_error().is_some_and(|errno| lacks.contains(&Errno::from_raw_os_error(errno)))
}

fn bind_tcp(at: SocketAddr, family: Family, config: &ListenConfig) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() {
        options::one_family(&socket, family == Family::V6 || config.stack == Stack::V6Only)?;
    }
    socket.set_reuse_address(true)?;
    if config.reuse == Reuse::Port {
        system::share_connections(&socket)?;
    }
    options::apply(&socket, &config.socket, IsTcp::Yes)?;
    socket.bind(&at.into())?;
    listen(&socket, config)?;
    Ok(TcpListener::from(OwnedFd::from(socket)))
}

fn listen(socket: &Socket, config: &ListenConfig) -> io::Result<()> {
    socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))
}

/// A Unix socket that is not bound yet.
fn unix(config: &ListenConfig) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    options::apply(&socket, &config.socket, IsTcp::No)?;
    Ok(socket)
}

/// Binds to a name without a file.
fn bind_name(at: &SockAddr, config: &ListenConfig) -> io::Result<Listener> {
    let socket = unix(config)?;
    socket.bind(at)?;
    listen(&socket, config)?;
    Ok(Listener::Unix(None, UnixListener::from(OwnedFd::from(socket))))
}

/// Binds to a path, and listens only when its file has mode and group, so that nobody can connect before.
fn bind_path(address: &Address, path: &Path, config: &ListenConfig) -> Result<Listener, Error> {
    let wanted = Wanted { kind: Type::STREAM, mode: config.unix_mode, group: config.unix_group };
    let socket = unix(config).map_err(|source| Error::Listen { address: Box::new(address.clone()), source })?;
    let file = socket_file::bind(address, path, &wanted, &socket, || listen(&socket, config))?;
    Ok(Listener::Unix(Some(file), UnixListener::from(OwnedFd::from(socket))))
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(tcp) | Listener::OtherIp(tcp) => tcp.as_fd(),
            Listener::Unix(_, unix) => unix.as_fd(),
        }
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> OwnedFd {
        match listener {
            Listener::Tcp(tcp) | Listener::OtherIp(tcp) => tcp.into(),
            // Whoever gets the socket gets the care of its file too.
            Listener::Unix(file, unix) => {
                file.into_iter().for_each(SocketFile::keep);
                unix.into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_cannot_be_prepared_is_no_fault_of_the_listener() {
        for errno in [Errno::INVAL, Errno::BADF, Errno::NOTSOCK, Errno::MFILE] {
            let error = aborted(io::Error::from_raw_os_error(errno.raw_os_error()));
            assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted, "{errno}");
        }
    }
}
