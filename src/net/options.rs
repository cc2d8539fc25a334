//! Socket options: from our words to the system's.
//!
//! Owns the order in which they are set. On Linux accepted TCP sockets inherit what the listener has, which saves the
//! system calls per connection; `apply_accepted` sets what is not inherited.

use crate::config::{Nodelay, SocketOptions};
use crate::net::{sigpipe, system};
use rustix::io::Errno;
use socket2::Socket;
use std::io;
use std::net::SocketAddr;

/// Sets what `options` ask for on a socket that is neither bound nor connected yet.
pub(crate) fn apply(socket: &Socket, options: &SocketOptions, is_tcp: IsTcp) -> io::Result<()> {
    buffers(socket, options)?;
    if options.linger.is_some() {
        socket.set_linger(options.linger)?;
    }
    if is_tcp == IsTcp::Yes {
        apply_tcp(socket, options)?;
    }
    match options.prepare {
        Some(prepare) => prepare(socket),
        None => Ok(()),
    }
}

/// Whether TCP's own options apply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsTcp {
    Yes,
    No,
}

fn apply_tcp(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay == Nodelay::On)?;
    probe(socket, options)?;
    user_timeout(socket, options)
}

/// Sets what `options` ask for on an adopted socket over IP that is not plain TCP. MPTCP has some of TCP's own options, SCTP
/// none: it goes without those that it lacks.
pub(crate) fn apply_foreign(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    apply(socket, options, IsTcp::No)?;
    for result in
        [socket.set_tcp_nodelay(options.nodelay == Nodelay::On), probe(socket, options), user_timeout(socket, options)]
    {
        match result {
            Err(error) if is_unknown(&error) => log::debug!("an adopted socket lacks an option of TCP: {error}"),
            other => other?,
        }
    }
    Ok(())
}

/// Whether a socket has no such option.
fn is_unknown(error: &io::Error) -> bool {
    let unknown = [Errno::NOPROTOOPT, Errno::OPNOTSUPP];
    error.raw_os_error().is_some_and(|errno| unknown.contains(&Errno::from_raw_os_error(errno)))
}

/// How long what is sent may stay unacknowledged.
fn user_timeout(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    options.user_timeout.map_or(Ok(()), |timeout| system::set_user_timeout(socket, timeout))
}

/// Lets a socket that connects from `own` share its port with connections to other destinations.
pub(crate) fn share_port(socket: &Socket, own: SocketAddr) -> io::Result<()> {
    if own.port() != 0 {
        // Otherwise a connection in TIME_WAIT would occupy the port for all destinations.
        return socket.set_reuse_address(true);
    }
    system::leave_port_to_connect(socket);
    Ok(())
}

/// Has the kernel ask silent peers whether they are still there. Nothing is to be said where that is off: it is the default
/// of every system.
fn probe(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    let Some(keepalive) = options.keepalive else { return Ok(()) };
    socket.set_tcp_keepalive(&system::probes(&keepalive))
}

/// Sets on an accepted socket what this system does not let it inherit.
pub(crate) fn apply_accepted(socket: &Socket, options: &SocketOptions, is_tcp: IsTcp) -> io::Result<()> {
    match is_tcp {
        IsTcp::Yes if system::INHERITS_TCP_OPTIONS => Ok(()),
        IsTcp::Yes => {
            socket.set_tcp_nodelay(options.nodelay == Nodelay::On)?;
            probe(socket, options)
        }
        // A Unix listener hands nothing down.
        IsTcp::No => buffers(socket, options),
    }
}

/// Gives an adopted socket what our own have: non-blocking, close-on-exec, and no SIGPIPE.
pub(crate) fn apply_adopted(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    sigpipe::prepare(socket)
}

/// Whether a socket of IPv6 takes that family only. Said either way: the system's default differs.
pub(crate) fn one_family(socket: &Socket, is_alone: bool) -> io::Result<()> {
    socket.set_only_v6(is_alone).map_err(|error| match is_alone {
        true => error,
        // OpenBSD has none, and says no more than EINVAL.
        false => {
            io::Error::new(error.kind(), format!("no socket of both families ({error}); use tcp4, tcp6, udp4 or udp6"))
        }
    })
}

fn buffers(socket: &Socket, options: &SocketOptions) -> io::Result<()> {
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    Ok(())
}
