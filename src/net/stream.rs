//! Stream sockets: TCP and Unix as one.
//!
//! Owns the calls and their flags (never a SIGPIPE). Knows nothing of queues, phases or deadlines.
//!
//! 1. A shared stream is alone again before its descriptor is given away.
//! 2. `ShortRead::IsDry` is said only where the kernel ends a read early for nothing but the lack of bytes (A1).
//! 3. A stream that was taken out of its place is not used there; one that is still to be connected refuses what needs a socket.

use crate::address::Address;
use crate::config::SocketOptions;
use crate::net::options::{self, IsTcp};
use crate::net::{Registry, SOCKADDR_UN_BYTES, TcpInfo, sigpipe, system, uninterrupted, unmapped};
use mio::net::{TcpStream, UnixStream};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Notices that are dropped at once; if there are more, poll(2) says so again.
const NOTICES_DROPPED: usize = 1024;

/// Who is at the other end of a Unix socket, as the kernel knew it at connect; unix(7), SO_PEERCRED.
///
/// ```
/// use windlass::{Admission, Peer};
/// /// Of a Unix socket, only this user and root are let in.
/// fn admit(peer: &Peer<'_>, own_uid: u32) -> Admission {
///     match peer.credentials() {
///         Some(peer) if peer.uid == own_uid || peer.uid == 0 => Admission::Admit,
///         _ => Admission::Refuse,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The process; 0 if it lives in another process namespace.
    pub pid: i32,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

/// A connected, or connecting, stream socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// An adopted one over IP that is not plain TCP: MPTCP, SCTP, or TCP with a layer of the kernel's on it.
    OtherIp(TcpStream),
    /// One that a waiting thread looks at, too.
    Shared(Arc<Stream>),
    /// There is none yet, or it was taken out.
    Taken,
}

/// A stream on its way to be a link's. One that does not get there is ended, whoever has a copy of its descriptor.
#[derive(Debug)]
pub(crate) struct Unclaimed(Stream);

impl Unclaimed {
    pub(crate) fn new(stream: Stream) -> Unclaimed {
        Unclaimed(stream)
    }

    /// The stream, which is the caller's to end.
    pub(crate) fn claim(mut self) -> Stream {
        self.0.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if !self.0.is_taken() {
            // It fails where there is no connection yet, and nobody to be told.
            let _ = self.0.shut(Shutdown::Both);
        }
    }
}

/// What stands for the socket where there is none, for users who ask for it all the same: all calls of sockets fail on it.
fn nowhere() -> BorrowedFd<'static> {
    static NOWHERE: OnceLock<Option<File>> = OnceLock::new();
    NOWHERE.get_or_init(|| File::open("/dev/null").ok()).as_ref().map_or(rustix::fs::CWD, AsFd::as_fd)
}

/// What uses a stream that was taken out breaks stream 3.
#[cold]
fn taken() -> ! {
    unreachable!("stream 3: a stream that was taken out is not used")
}

/// What a read that is shorter than its buffer says of the bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShortRead {
    /// There are none yet, and an event will tell of the next; but on an event that told urgent data, an end or an error.
    IsDry,
    /// The kernel may have stopped in front of more: only `WouldBlock` says that there are none.
    ProvesNothing,
}

/// How far a connect is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    /// Writability tells.
    Waiting,
    /// A Unix listener's backlog is full: no event will come, try again later.
    Busy,
}

/// What the kernel is to report about a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Reads, writes and urgent data.
    Both,
    /// Reads and urgent data only: with all, a Unix socket reports each message twice.
    Reads,
}

/// Where to connect to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Ip(SocketAddr),
    Unix(SockAddr),
}

impl Target {
    /// The target of a Unix address, `None` for others.
    pub(crate) fn unix(address: &Address) -> Option<io::Result<Target>> {
        if let Some(path) = address.path() {
            return Some(SockAddr::unix(path).map(Target::Unix));
        }
        let name = [b"\0", address.abstract_name()?].concat();
        Some(SockAddr::unix(OsStr::from_bytes(&name)).map(Target::Unix))
    }
}

/// recv(2), by the shortest way.
#[inline]
fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    uninterrupted(|| Ok(rustix::net::recv(socket, &mut *buffer, RecvFlags::empty())?.0))
}

impl Stream {
    /// A socket that can connect to `target`.
    pub(crate) fn unconnected(
        target: &Target,
        options: &SocketOptions,
        bind: Option<SocketAddr>,
    ) -> io::Result<Stream> {
        let (domain, is_tcp) = match target {
            Target::Ip(ip) => (Domain::for_address(*ip), IsTcp::Yes),
            Target::Unix(_) => (Domain::UNIX, IsTcp::No),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let own = bind.filter(|_| is_tcp == IsTcp::Yes);
        if let Some(own) = own {
            options::share_port(&socket, own)?;
        }
        options::apply(&socket, options, is_tcp)?;
        if let Some(own) = own {
            socket.bind(&own.into())?;
        }
        let fd = OwnedFd::from(socket);
        Ok(match is_tcp {
            IsTcp::Yes => Stream::Tcp(TcpStream::from(fd)),
            IsTcp::No => Stream::Unix(UnixStream::from(fd)),
        })
    }

    /// Shows a hook of the user's the socket itself.
    pub(crate) fn show<T>(&self, hook: impl FnOnce(&Socket) -> T) -> T {
        hook(&SockRef::from(self))
    }

    /// Begins to connect an unconnected socket; after `Busy` it may be called again.
    pub(crate) fn connect(&self, target: &Target) -> io::Result<Progress> {
        let (address, full) = match target {
            Target::Ip(ip) => (SockAddr::from(*ip), None),
            Target::Unix(address) => (address.clone(), Some(io::ErrorKind::WouldBlock)),
        };
        match SockRef::from(self).connect(&address) {
            Ok(()) => Ok(Progress::Done),
            Err(error) if full == Some(error.kind()) => Ok(Progress::Busy),
            // An interrupted connect goes on in the kernel, connect(2).
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Progress::Waiting),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                Ok(Progress::Waiting)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes over a connected stream socket of either kind, and makes it one of ours.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Stream> {
        let socket = Socket::from(fd);
        if socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a stream socket"));
        }
        socket.peer_addr()?;
        let domain = socket.local_addr()?.domain();
        options::apply_adopted(&socket)?;
        let fd = OwnedFd::from(socket);
        match domain {
            Domain::IPV4 | Domain::IPV6 if system::kind::is_plain_tcp(&fd) => Ok(Stream::Tcp(TcpStream::from(fd))),
            Domain::IPV4 | Domain::IPV6 => Ok(Stream::OtherIp(TcpStream::from(fd))),
            Domain::UNIX => Ok(Stream::Unix(UnixStream::from(fd))),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a TCP nor a Unix socket")),
        }
    }

    /// Sets on an accepted stream what this system does not let it inherit from its listener.
    pub(crate) fn apply_accepted(&self, options: &SocketOptions) -> io::Result<()> {
        let is_tcp = if self.is_tcp() { IsTcp::Yes } else { IsTcp::No };
        options::apply_accepted(&SockRef::from(self), options, is_tcp)
    }

    /// Whether the connect under way is done.
    pub(crate) fn progress(&self) -> io::Result<Progress> {
        let socket = SockRef::from(self);
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(Progress::Done),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(Progress::Waiting),
            Err(error) => Err(error),
        }
    }

    /// Whether the kernel connected the socket to itself, as it may when nobody listens on an ephemeral port.
    pub(crate) fn is_self_connected(&self) -> bool {
        match self {
            Stream::Tcp(tcp) | Stream::OtherIp(tcp) => {
                matches!((tcp.local_addr(), tcp.peer_addr()), (Ok(a), Ok(b)) if a == b)
            }
            Stream::Unix(_) | Stream::Taken => false,
            Stream::Shared(shared) => shared.is_self_connected(),
        }
    }

    /// recv(2): how many bytes came, and what it means if those are fewer than there was room for.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<(usize, ShortRead)> {
        match self {
            Stream::Tcp(tcp) => Ok((receive(tcp, buffer)?, system::kind::TCP_SHORT_READ)),
            Stream::Unix(unix) => uninterrupted(|| system::kind::read_unix(unix, buffer)),
            Stream::OtherIp(ip) => Ok((receive(ip, buffer)?, ShortRead::ProvesNothing)),
            Stream::Shared(shared) => shared.read(buffer),
            Stream::Taken => taken(),
        }
    }

    /// How many bytes a read of one would bring: it takes none.
    pub(crate) fn peek(&self) -> io::Result<usize> {
        let mut byte = [0; 1];
        let (read, _) = rustix::net::recv(self, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
        Ok(read)
    }

    /// shutdown(2) of one side or both.
    pub(crate) fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.there()?;
        SockRef::from(self).shutdown(how)
    }

    /// Refuses what needs a socket where there is none.
    fn there(&self) -> io::Result<()> {
        if self.is_taken() { Err(io::ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    /// send(2).
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        uninterrupted(|| Ok(rustix::net::send(self, bytes, sigpipe::NONE)?))
    }

    /// sendmsg(2) of all slices at once.
    pub(crate) fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_slices(slices, sigpipe::NONE)
    }

    /// The same, where more follows at once: a packet that is not full waits for it, `MSG_MORE` of send(2).
    pub(crate) fn write_slices_before_more(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_slices(slices, sigpipe::NONE | system::MORE)
    }

    fn send_slices(&self, slices: &[IoSlice<'_>], flags: SendFlags) -> io::Result<usize> {
        uninterrupted(|| {
            let mut none = SendAncillaryBuffer::default();
            Ok(rustix::net::sendmsg(self, slices, &mut none, flags)?)
        })
    }

    /// Says FIN, shutdown(2).
    pub(crate) fn end(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(Shutdown::Write)
    }

    /// Resets the connection: unsent bytes are dropped and the peer is told, though somebody has a copy of the descriptor. A
    /// Unix socket has no reset; its peer sees an end. Elsewhere than on Linux a copy holds the reset back.
    pub(crate) fn reset(&self) {
        // It can fail only on a socket that is already dead, and then there is nobody to be told.
        if !self.is_tcp() {
            let _ = self.shut(Shutdown::Both);
        } else if !system::is_reset_at_once(self) {
            let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
        }
    }

    /// Memory of the kernel that output keeps, in flight and unsent; 0 where the system does not tell.
    pub(crate) fn kernel_bytes(&self) -> u32 {
        system::kind::output_bytes(self.as_fd())
    }

    /// Bytes that it is likely to take before it blocks; 0 where the system does not tell.
    pub(crate) fn output_room(&self) -> usize {
        system::kind::output_room(self.as_fd())
    }

    /// The error that waits on the socket, SO_ERROR.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        SockRef::from(self).take_error().unwrap_or_else(Some)
    }

    /// How long ago the peer was last seen to take bytes that were sent to it, as far as the system tells (TCP on Linux):
    /// neither resending to a peer that is gone nor a window that stays closed counts.
    pub(crate) fn last_progress(&self) -> Option<Duration> {
        let info = self.is_tcp().then(|| TcpInfo::of(self))??;
        Some(info.since_sent.max(info.since_acknowledged))
    }

    /// The peer's address where it has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(tcp) | Stream::OtherIp(tcp) => tcp.peer_addr().ok().map(unmapped),
            Stream::Unix(_) | Stream::Taken => None,
            Stream::Shared(shared) => shared.peer(),
        }
    }

    /// The peer's name, as the kernel knows it.
    pub(crate) fn peer_address(&self) -> io::Result<Address> {
        self.there()?;
        name(&SockRef::from(self).peer_addr()?)
    }

    /// This side's name, as the kernel knows it.
    pub(crate) fn local_address(&self) -> io::Result<Address> {
        self.there()?;
        name(&SockRef::from(self).local_addr()?)
    }

    /// Who is at the other end, `None` where the system does not tell.
    pub(crate) fn peer_credentials(&self) -> Option<PeerCredentials> {
        match self {
            Stream::Unix(unix) => system::peer_credentials(unix),
            Stream::Shared(shared) => shared.peer_credentials(),
            Stream::Tcp(_) | Stream::OtherIp(_) | Stream::Taken => None,
        }
    }

    /// What a fresh stream of this kind registers.
    pub(crate) fn watched_first(&self) -> Watched {
        match self {
            Stream::Tcp(_) | Stream::OtherIp(_) => Watched::Both,
            Stream::Unix(_) | Stream::Taken => Watched::Reads,
            Stream::Shared(shared) => shared.watched_first(),
        }
    }

    pub(crate) fn is_tcp(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::OtherIp(_) => true,
            Stream::Unix(_) | Stream::Taken => false,
            Stream::Shared(shared) => shared.is_tcp(),
        }
    }

    /// Whether its bytes may go through a pipe; splice(2).
    pub(crate) fn may_be_spliced(&self) -> bool {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => true,
            // Layers on TCP may have their own idea of it.
            Stream::OtherIp(_) | Stream::Shared(_) | Stream::Taken => false,
        }
    }

    /// Whether it was taken out.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Stream::Taken)
    }

    /// Takes the stream out of its place.
    pub(crate) fn take(&mut self) -> Stream {
        std::mem::replace(self, Stream::Taken)
    }

    /// Empties the queue of notices that an option set by a hook may fill (SO_TIMESTAMPING): while it holds anything, poll(2)
    /// does not sleep. An error of the connection itself is not in it. Unix sockets have none.
    pub(crate) fn drop_notices(&self) {
        for _ in 0..NOTICES_DROPPED {
            if !self.is_tcp() || !matches!(system::mmsg::next_error(self), Ok(Some(_))) {
                break;
            }
        }
    }

    /// Itself, and a handle for a thread that waits for it.
    pub(crate) fn shared(self) -> (Stream, Arc<Stream>) {
        let shared = match self {
            Stream::Shared(shared) => shared,
            alone @ (Stream::Tcp(_) | Stream::Unix(_) | Stream::OtherIp(_) | Stream::Taken) => Arc::new(alone),
        };
        (Stream::Shared(shared.clone()), shared)
    }

    /// Itself alone, if nobody else has a handle any more.
    pub(crate) fn alone(self) -> Stream {
        match self {
            Stream::Shared(shared) => Arc::try_unwrap(shared).unwrap_or_else(Stream::Shared),
            alone @ (Stream::Tcp(_) | Stream::Unix(_) | Stream::OtherIp(_) | Stream::Taken) => alone,
        }
    }

    fn interest(&self, watched: Watched) -> Interest {
        match (self.is_tcp(), watched) {
            (true, _) | (false, Watched::Both) => system::urgent(Interest::READABLE | Interest::WRITABLE),
            (false, Watched::Reads) => system::urgent(Interest::READABLE),
        }
    }

    /// Asks the kernel to report under `word`.
    pub(crate) fn register(&mut self, registry: &Registry, word: usize, watched: Watched) -> io::Result<()> {
        let interest = self.interest(watched);
        match self {
            Stream::Tcp(tcp) | Stream::OtherIp(tcp) => registry.register(tcp, Token(word), interest),
            Stream::Unix(unix) => registry.register(unix, Token(word), interest),
            Stream::Shared(shared) => {
                registry.register(&mut SourceFd(&shared.as_fd().as_raw_fd()), Token(word), interest)
            }
            Stream::Taken => taken(),
        }
    }

    /// Changes what the kernel is to report.
    pub(crate) fn reregister(&mut self, registry: &Registry, word: usize, watched: Watched) -> io::Result<()> {
        let interest = self.interest(watched);
        match self {
            Stream::Tcp(tcp) | Stream::OtherIp(tcp) => registry.reregister(tcp, Token(word), interest),
            Stream::Unix(unix) => registry.reregister(unix, Token(word), interest),
            Stream::Shared(shared) => {
                registry.reregister(&mut SourceFd(&shared.as_fd().as_raw_fd()), Token(word), interest)
            }
            Stream::Taken => taken(),
        }
    }

    /// Ends the kernel's reports. Not needed before a close, unless the descriptor has duplicates.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(tcp) | Stream::OtherIp(tcp) => registry.deregister(tcp),
            Stream::Unix(unix) => registry.deregister(unix),
            Stream::Shared(shared) => registry.deregister(&mut SourceFd(&shared.as_fd().as_raw_fd())),
            Stream::Taken => taken(),
        }
    }
}

/// A socket's name in our words.
pub(crate) fn name(address: &SockAddr) -> io::Result<Address> {
    if let Some(ip) = address.as_socket() {
        return Ok(Address::tcp(unmapped(ip)));
    }
    if address.len() as usize > SOCKADDR_UN_BYTES {
        return Ok(Address::unix_unnamed());
    }
    let named = match (address.as_pathname(), address.as_abstract_namespace()) {
        (Some(path), _) => {
            // Apple's systems fill the place up with NULs.
            let path = path.as_os_str().as_bytes().split(|byte| *byte == 0).next();
            Address::unix(OsStr::from_bytes(path.unwrap_or_default()))
        }
        (None, Some(bytes)) => Address::unix_abstract(bytes),
        (None, None) => Ok(Address::unix_unnamed()),
    };
    Ok(named.unwrap_or(Address::unix_unnamed()))
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(tcp) | Stream::OtherIp(tcp) => tcp.as_fd(),
            Stream::Unix(unix) => unix.as_fd(),
            Stream::Shared(shared) => shared.as_fd(),
            Stream::Taken => nowhere(),
        }
    }
}

impl From<Stream> for OwnedFd {
    fn from(stream: Stream) -> OwnedFd {
        match stream {
            Stream::Tcp(tcp) | Stream::OtherIp(tcp) => tcp.into(),
            Stream::Unix(unix) => unix.into(),
            Stream::Shared(shared) => {
                let alone = Arc::try_unwrap(shared).ok();
                alone.expect("stream 1: it is given away when no thread looks at it any more").into()
            }
            Stream::Taken => taken(),
        }
    }
}
