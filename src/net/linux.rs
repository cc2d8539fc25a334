//! What Linux and Android have and other systems lack, or have otherwise. `net/elsewhere` has the same names.

pub(in crate::net) mod datagram;
pub(in crate::net) mod kind;
pub(in crate::net) mod made;
pub(crate) mod mask;
pub(crate) mod mmsg;
pub(crate) mod pipe;
pub(in crate::net) mod tcp_info;
pub(crate) mod timer;

use crate::config::Keepalive;
use crate::net::stream::{PeerCredentials, Stream};
use mio::Interest;
use mio::net::{UnixListener, UnixStream};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rustix::event::PollFlags;
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix, SocketFlags};
use socket2::{Socket, TcpKeepalive};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How poll(2) tells of the peer's end.
pub(super) const PEER_ENDED: PollFlags = PollFlags::RDHUP;

/// The flag of a send that raises no SIGPIPE.
pub(super) const NO_SIGPIPE: SendFlags = SendFlags::NOSIGNAL;

/// The flag of a send behind which more follows.
pub(super) const MORE: SendFlags = SendFlags::MORE;

/// Whether accepted TCP sockets have what their listener was given.
pub(super) const INHERITS_TCP_OPTIONS: bool = true;

/// Whether sockets of IPv6 take options of IPv4, for what they send over it.
pub(super) const HAS_V4_OPTIONS_ON_V6: bool = true;

/// Whether what the network answers to datagrams is queued; ip(7), IP_RECVERR.
pub(crate) const HAS_ERROR_QUEUE: bool = true;

/// Whether a reset wakes who waits for the socket.
pub(crate) const RESET_WAKES: bool = true;

/// Whether connect(2) says of a full listener what it says of one that is gone.
pub(super) const FULL_LOOKS_DEAD: bool = false;

/// What the kernel counts of a datagram's room in the buffer of a Unix socket beside its bytes.
pub(super) const UNIX_DATAGRAM_OVERHEAD: usize = 32;

/// Nanoseconds since some moment in the past; CLOCK_MONOTONIC_COARSE, clock_gettime(2).
#[inline]
pub(super) fn nanos() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    // By libc: rustix looks for the vDSO itself, and crashes under valgrind.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    now.map_or(0, |now| (now.tv_sec() as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec() as u64))
}

/// Nothing is to be set: each send has the flag.
pub(super) fn no_sigpipe(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// accept4(2) without the peer's address, which the peer chooses: mio 1.2.5 parses it in `UnixListener::accept` and panics if
/// the peer has bound a path of 108 bytes, which fills `sun_path` and whose reported length counts a NUL behind it.
pub(super) fn accept_unix(listener: &UnixListener) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?)
}

/// Whether it is a listening socket.
pub(super) fn listens(socket: &Socket) -> io::Result<bool> {
    socket.is_listener()
}

/// Has the kernel spread connections over all listeners of the port that ask for it.
pub(super) fn share_connections(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Has the kernel spread the senders of datagrams over all sockets of the port that ask for it.
pub(super) fn share_datagrams(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// TCP_USER_TIMEOUT, tcp(7).
pub(super) fn set_user_timeout(socket: &Socket, timeout: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(timeout))
}

/// connect(2) chooses the port, for its destination alone; bind(2) would take it from all destinations. Kernels before 4.2 lack
/// the option, and work without it.
pub(super) fn leave_port_to_connect(socket: &Socket) {
    let _ = setsockopt(socket, sockopt::IpBindAddressNoPort, &true);
}

/// When silent peers are asked whether they are still there.
pub(super) fn probes(keepalive: &Keepalive) -> TcpKeepalive {
    let probes = TcpKeepalive::new().with_time(keepalive.idle);
    probes.with_interval(keepalive.interval).with_retries(keepalive.count)
}

/// Urgent data is asked for, too: a read ends at its mark, on TCP and on Unix sockets, and only the event tells (A1).
pub(super) fn urgent(interest: Interest) -> Interest {
    interest | Interest::PRIORITY
}

/// connect(2) to no address: it resets what is connected at once, and wakes whoever waits for the socket.
pub(super) fn is_reset_at_once(stream: &Stream) -> bool {
    rustix::net::connect_unspec(stream).is_ok()
}

/// SO_PEERCRED, unix(7).
pub(super) fn peer_credentials(unix: &UnixStream) -> Option<PeerCredentials> {
    let peer = getsockopt(unix, sockopt::PeerCredentials).ok()?;
    Some(PeerCredentials { pid: peer.pid(), uid: peer.uid(), gid: peer.gid() })
}

/// sendfile(2) from `at` on, which it moves.
pub(super) fn send_file(socket: BorrowedFd<'_>, file: &File, at: &mut u64, count: usize) -> rustix::io::Result<usize> {
    mask::without(count, |left| rustix::fs::sendfile(socket, file, Some(at), left))
}

/// TCP_CORK, tcp(7).
pub(super) fn set_cork(socket: BorrowedFd<'_>, corked: bool) -> rustix::io::Result<()> {
    rustix::net::sockopt::set_tcp_cork(socket, corked)
}

/// recv(2) of one datagram: how long all of it is.
pub(super) fn receive_whole(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let (_, len) = rustix::net::recv(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
    Ok(len)
}

/// recvfrom(2): the same, and who sent it.
pub(super) fn receive_whole_from(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<SocketAddrAny>)> {
    let (_, len, from) = rustix::net::recvfrom(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC)?;
    Ok((len, from))
}

/// Has the kernel name a Unix socket; unix(7), "autobind".
pub(super) fn bind_anywhere(socket: &Socket) -> io::Result<()> {
    Ok(rustix::net::bind(socket, &SocketAddrUnix::new_unnamed())?)
}

/// A name without a file.
pub(super) fn abstract_name(name: &[u8]) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new_abstract_name(name)
}

/// Such a name.
pub(super) fn unix_name(unix: &SocketAddrUnix) -> Option<&[u8]> {
    unix.abstract_name().filter(|name| !name.is_empty())
}
