//! What stands for `net/linux` on other systems: what they have in its place, or a refusal. The names are the same.
//!
//! Options that were asked for are refused where they cannot be had; what only saves time is gone without.

pub(in crate::net) mod datagram;
pub(in crate::net) mod made;
pub(crate) mod mmsg;
pub(crate) mod timer;

use crate::config::Keepalive;
use crate::net::stream::{PeerCredentials, Stream};
use mio::Interest;
use mio::net::{UnixListener, UnixStream};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, SocketAddrAny, SocketAddrUnix};
use socket2::{Socket, TcpKeepalive};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// poll(2) tells of the peer's end by readability alone.
pub(super) const PEER_ENDED: PollFlags = PollFlags::empty();

/// The flag of a send that raises no SIGPIPE.
#[cfg(not(target_vendor = "apple"))]
pub(super) const NO_SIGPIPE: SendFlags = SendFlags::NOSIGNAL;
/// There is none; `no_sigpipe` does it.
#[cfg(target_vendor = "apple")]
pub(super) const NO_SIGPIPE: SendFlags = SendFlags::empty();

/// There is no flag of a send behind which more follows.
pub(super) const MORE: SendFlags = SendFlags::empty();

/// Whether accepted TCP sockets have what their listener was given: of some options, on some systems.
pub(super) const INHERITS_TCP_OPTIONS: bool = false;

/// Whether sockets of IPv6 take options of IPv4: on some systems.
pub(super) const HAS_V4_OPTIONS_ON_V6: bool = false;

/// Only connected sockets are told what the network answers, one error at a time; SO_ERROR.
pub(crate) const HAS_ERROR_QUEUE: bool = false;

/// What is reset by its close is still open.
pub(crate) const RESET_WAKES: bool = false;

/// A connect(2) to a full Unix listener is refused, as one to nobody.
pub(super) const FULL_LOOKS_DEAD: bool = true;

/// What the kernel counts of a datagram's room in the buffer of a Unix socket beside its bytes.
pub(super) const UNIX_DATAGRAM_OVERHEAD: usize = 0;

/// Nanoseconds since some moment in the past.
pub(super) fn nanos() -> u64 {
    static BASE: OnceLock<Instant> = OnceLock::new();
    BASE.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// SO_NOSIGPIPE, which sockets of Apple's systems have in place of the flag.
#[cfg(target_vendor = "apple")]
pub(super) fn no_sigpipe(socket: &Socket) -> io::Result<()> {
    socket.set_nosigpipe(true)
}

/// Nothing is to be set: each send has the flag.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn no_sigpipe(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// accept4(2) without the peer's address, which mio fails to parse where it fills its place.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn accept_unix(listener: &UnixListener) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    Ok(rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?)
}

/// accept(2), the same where there is no accept4(2).
#[cfg(target_vendor = "apple")]
pub(super) fn accept_unix(listener: &UnixListener) -> io::Result<OwnedFd> {
    let socket = Socket::from(rustix::net::accept(listener)?);
    super::options::apply_adopted(&socket).map_err(super::listener::aborted)?;
    Ok(socket.into())
}

/// SO_ACCEPTCONN: whether it is a listening socket.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn listens(socket: &Socket) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_acceptconn(socket)?)
}

/// Apple's systems do not say; accept(2) fails if it is none.
#[cfg(target_vendor = "apple")]
pub(super) fn listens(_: &Socket) -> io::Result<bool> {
    Ok(true)
}

/// Has the kernel spread connections over all listeners of the port that ask for it; SO_REUSEPORT_LB, setsockopt(2).
#[cfg(target_os = "freebsd")]
pub(super) fn share_connections(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

/// The same by SO_REUSEPORT.
#[cfg(target_os = "dragonfly")]
pub(super) fn share_connections(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Others take SO_REUSEPORT too, if they know it, but give all connections to one of the listeners.
#[cfg(not(any(target_os = "freebsd", target_os = "dragonfly")))]
pub(super) fn share_connections(_: &Socket) -> io::Result<()> {
    let why = "this system does not spread connections over listeners; leave Reuse::Port and Placement::Kernel out";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Lets several datagram sockets have one port, over which FreeBSD and DragonFly spread the senders.
#[cfg(not(any(target_os = "freebsd", target_os = "illumos", target_os = "solaris")))]
pub(super) fn share_datagrams(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(target_os = "freebsd")]
pub(super) fn share_datagrams(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port_lb(true)
}

/// SO_REUSEADDR does it.
#[cfg(any(target_os = "illumos", target_os = "solaris"))]
pub(super) fn share_datagrams(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Refuses.
pub(super) fn set_user_timeout(_: &Socket, _: Duration) -> io::Result<()> {
    let why = "user_timeout (TCP_USER_TIMEOUT) is unknown here; leave it out";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// bind(2) chooses the port.
pub(super) fn leave_port_to_connect(_: &Socket) {}

/// When silent peers are asked whether they are still there.
#[cfg(not(target_os = "openbsd"))]
pub(super) fn probes(keepalive: &Keepalive) -> TcpKeepalive {
    let probes = TcpKeepalive::new().with_time(keepalive.idle);
    probes.with_interval(keepalive.interval).with_retries(keepalive.count)
}

/// They are asked, at the times that are set for all connections; sysctl(2).
#[cfg(target_os = "openbsd")]
pub(super) fn probes(_: &Keepalive) -> TcpKeepalive {
    TcpKeepalive::new()
}

/// No event tells of urgent data, and no short read proves anything (A1).
pub(super) fn urgent(interest: Interest) -> Interest {
    interest
}

/// A reset comes with the last close.
pub(super) fn is_reset_at_once(_: &Stream) -> bool {
    false
}

/// Not told.
pub(super) fn peer_credentials(_: &UnixStream) -> Option<PeerCredentials> {
    None
}

/// There is no such call that takes a place in the file as Linux does: files are read.
pub(super) fn send_file(_: BorrowedFd<'_>, _: &File, _: &mut u64, _: usize) -> rustix::io::Result<usize> {
    Err(Errno::NOSYS)
}

/// Not needed for what is read.
pub(super) fn set_cork(_: BorrowedFd<'_>, _: bool) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// recvmsg(2) of one datagram, which says that it was cut, but not how long it was: one byte more, at least.
pub(super) fn receive_whole(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(receive_whole_from(socket, buffer)?.0)
}

/// The same, and who sent it.
pub(super) fn receive_whole_from(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<SocketAddrAny>)> {
    let mut none = RecvAncillaryBuffer::default();
    let room = buffer.len();
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut none, RecvFlags::DONTWAIT)?;
    let len = if got.flags.contains(ReturnFlags::TRUNC) { room + 1 } else { got.bytes };
    Ok((len, got.address))
}

/// Refuses.
pub(super) fn bind_anywhere(_: &Socket) -> io::Result<()> {
    let why = "this system names no sockets by itself: give DatagramConfig::bind";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Refuses, as `Address` has done before.
pub(super) fn abstract_name(_: &[u8]) -> rustix::io::Result<SocketAddrUnix> {
    Err(Errno::INVAL)
}

/// There are none.
pub(super) fn unix_name(_: &SocketAddrUnix) -> Option<&[u8]> {
    None
}

/// What kind of stream socket it is.
pub(in crate::net) mod kind {
    use crate::net::stream::ShortRead;
    use mio::net::UnixStream;
    use std::io::{self, Read};
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// A read ends at the mark of urgent data, of which no event tells.
    pub(in crate::net) const TCP_SHORT_READ: ShortRead = ShortRead::ProvesNothing;

    /// Nothing depends on it.
    pub(in crate::net) fn is_plain_tcp(_: &OwnedFd) -> bool {
        true
    }

    /// Not told.
    pub(in crate::net) fn output_bytes(_: BorrowedFd<'_>) -> u32 {
        0
    }

    /// Not told.
    pub(in crate::net) fn output_room(_: BorrowedFd<'_>) -> usize {
        0
    }

    /// These systems drop control messages that nobody asked for without a word.
    pub(in crate::net) fn read_unix(mut unix: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, ShortRead)> {
        Ok((unix.read(buffer)?, ShortRead::ProvesNothing))
    }
}

/// Here nothing is sent by sendfile(2), and no mask is needed.
pub(crate) mod mask {
    pub(crate) fn block() {}

    pub(crate) struct Inherited;

    pub(crate) fn inherited() -> Inherited {
        Inherited
    }

    impl Inherited {
        pub(crate) fn undo(self) {}
    }
}

/// There is no call that moves bytes from one socket to another: they are read and written.
pub(crate) mod pipe {
    use std::io;
    use std::os::fd::AsFd;

    /// There is none.
    pub(crate) enum Pipe {}

    impl Pipe {
        pub(crate) fn new() -> io::Result<Pipe> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(crate) fn len(&self) -> usize {
            match *self {}
        }

        pub(crate) fn fill(&mut self, _: impl AsFd, _: usize) -> io::Result<usize> {
            match *self {}
        }

        pub(crate) fn send(&mut self, _: impl AsFd) -> io::Result<usize> {
            match *self {}
        }

        pub(crate) fn read(&mut self, _: &mut Vec<u8>) -> io::Result<()> {
            match *self {}
        }
    }
}

/// Not told.
pub(in crate::net) mod tcp_info {
    use crate::net::tcp_info::TcpInfo;

    pub(in crate::net) fn ask(_: &std::os::fd::BorrowedFd<'_>) -> Option<TcpInfo> {
        None
    }
}
