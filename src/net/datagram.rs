//! Datagram sockets: UDP and Unix as one.
//!
//! Owns the socket, its options, and what it has turned out to be able to do. Knows nothing of queues, handlers or time.

pub(crate) mod arrivals;
pub(crate) mod calls;
mod options;
pub(crate) mod peer;

use crate::address::Address;
use crate::config::datagram::{DatagramConfig, Group};
use crate::error::Error;
use crate::net::listener::{is_lack, places};
use crate::net::socket_file::{self, SocketFile, Wanted};
use crate::net::{Registry, sigpipe, system, uninterrupted};
use mio::net::{UdpSocket, UnixDatagram};
use mio::{Interest, Token};
use peer::{DatagramPeer, Destination};
use rustix::net::SendFlags;
use socket2::{Domain, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A bound datagram socket.
#[derive(Debug)]
pub(crate) struct DatagramSocket {
    /// The file first: while the socket is open its inode cannot be another's, so it is removed before the close.
    _file: Option<SocketFile>,
    pub(in crate::net) kind: Kind,
    peer: Option<DatagramPeer>,
    receiving: Receiving,
    sending: Sending,
    bound: Bound,
    /// The one address that it has.
    own: Option<IpAddr>,
    /// Datagrams that the kernel dropped for want of room, as far as it has told.
    pub(in crate::net) dropped: u32,
    /// How many datagrams the next call asks for.
    batch: usize,
    datagram_bytes_max: usize,
}

#[derive(Debug)]
pub(in crate::net) enum Kind {
    Udp(UdpSocket, Ip),
    Unix(UnixDatagram),
}

/// The family of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Ip {
    V4,
    /// And IPv4 by mapped addresses.
    V6,
    V6Only,
}

/// Whether a socket has one address or all of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    One,
    All,
}

/// How datagrams are received.
///
/// ```
/// use windlass::{Datagrams, Receiving, Sending};
/// fn is_fast(sock: &Datagrams<'_>) -> bool {
///     matches!(sock.paths(), (Receiving::Joined, Sending::Segmented { .. }))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiving {
    /// Up to 32 in a call; recvmmsg(2).
    Batched,
    /// Those of one peer in a call, as the kernel joined them; UDP_GRO.
    Joined,
    /// One in a call.
    Single,
}

/// How datagrams are sent.
///
/// ```
/// use windlass::{Datagrams, Receiving, Sending};
/// fn is_fast(sock: &Datagrams<'_>) -> bool {
///     matches!(sock.paths(), (Receiving::Joined, Sending::Segmented { .. }))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Many in a call, and those of one length to one peer as one; sendmmsg(2) and UDP_SEGMENT.
    Segmented {
        /// Longer ones are not put together: the network has refused them.
        bytes_max: usize,
    },
    /// Many in a call; sendmmsg(2).
    Batched,
    /// One in a call.
    Single,
}

/// What one call received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// How long all of it is.
    pub(crate) len: usize,
    /// Joined datagrams are so long each, but the last, which may be shorter.
    pub(crate) segment: Option<usize>,
}

/// What the kernel is to report about a datagram socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    Reads,
    /// Only while a send is blocked: each datagram that leaves would be reported.
    Both,
}

impl Ip {
    /// The longest payload of UDP, without jumbograms; RFC 768, RFC 8200.
    fn bytes_max(self) -> usize {
        match self {
            Ip::V4 => 65_507,
            Ip::V6 | Ip::V6Only => 65_527,
        }
    }
}

/// Errors that are taken from a socket's queue at once; if there are more, poll(2) says so again.
const ERRORS_TAKEN: usize = 1024;

/// Datagrams in the first call, one more than come singly; it asks for more as they come.
const BATCH_FIRST: usize = 2;

impl DatagramSocket {
    /// Binds to an address that the user gave.
    pub(crate) fn bind_checked(address: &Address, config: &DatagramConfig) -> Result<DatagramSocket, Error> {
        check(address)?;
        if config.bind.is_some() {
            let why = "DatagramConfig::bind is for connected sockets; leave it out";
            return Err(Error::Transport { address: Box::new(address.clone()), why });
        }
        DatagramSocket::bind(address, config)
    }

    /// Binds to `address`; of a name with several, to the first that can be bound.
    pub(crate) fn bind(address: &Address, config: &DatagramConfig) -> Result<DatagramSocket, Error> {
        let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
        if let Some(path) = address.path() {
            let wanted = Wanted { kind: Type::DGRAM, mode: config.unix_mode, group: config.unix_group };
            let socket = options::unix(config).map_err(refused)?;
            let file = socket_file::bind(address, path, &wanted, &socket, || Ok(()))?;
            return DatagramSocket::of_unix(socket, Some(file)).map_err(refused);
        }
        if address.transport().is_unix() {
            let socket = bind_name(address, config).map_err(refused)?;
            return DatagramSocket::of_unix(socket, None).map_err(refused);
        }
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for at in places(address, config.stack)? {
            match options::udp(at, address.family(), config).and_then(|socket| DatagramSocket::of_udp(socket, config)) {
                Ok(socket) => return Ok(socket),
                Err(error) if is_lack(&error) => last = error,
                Err(error) => return Err(refused(error)),
            }
        }
        Err(refused(last))
    }

    /// A socket that talks to `address` alone; of a name with several, to the first that there is a way to.
    pub(crate) fn connect(address: &Address, config: &DatagramConfig) -> Result<DatagramSocket, Error> {
        check(address)?;
        if let Some(own) = &config.bind {
            check(own)?;
        }
        let refused = |source| Error::Connect { address: Box::new(address.clone()), source };
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        for peer in DatagramPeer::resolve_all(address)? {
            let bound = match (&config.bind, peer.destination()) {
                (Some(own), _) => DatagramSocket::bind(own, config),
                (None, Some(Destination::Ip(ip))) => {
                    let any: IpAddr =
                        if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
                    DatagramSocket::bind(&Address::udp(SocketAddr::new(any, 0)), config)
                }
                (None, _) => bind_anywhere(config).map_err(refused),
            };
            match bound?.connected(peer) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(refused(last))
    }

    fn connected(mut self, peer: DatagramPeer) -> io::Result<DatagramSocket> {
        uninterrupted(|| match peer.destination() {
            Some(Destination::Ip(ip)) => Ok(rustix::net::connect(&self, &self.named(ip))?),
            Some(Destination::Unix(unix)) => Ok(rustix::net::connect(&self, unix)?),
            None => Err(io::ErrorKind::AddrNotAvailable.into()),
        })?;
        self.peer = Some(peer);
        Ok(self)
    }

    /// Takes over a bound datagram socket of either kind, and makes it one of ours. A Unix socket's file stays.
    pub(crate) fn adopt(fd: OwnedFd, config: &DatagramConfig) -> io::Result<DatagramSocket> {
        let socket = Socket::from(fd);
        if socket.r#type()? != Type::DGRAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a datagram socket"));
        }
        crate::net::options::apply_adopted(&socket)?;
        let (local, peer) = (socket.local_addr()?, socket.peer_addr().ok());
        if local.as_socket().is_some_and(|ip| ip.port() == 0) || (local.is_unnamed() && peer.is_none()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not bound to any address"));
        }
        let mut adopted = match local.domain() {
            Domain::IPV4 | Domain::IPV6 => {
                if let Some(at) = local.as_socket() {
                    system::datagram::receiving(&socket, at, config)?;
                }
                DatagramSocket::of_udp(socket, config)?
            }
            Domain::UNIX => DatagramSocket::of_unix(socket, None)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a UDP nor a Unix socket")),
        };
        if let Some(peer) = peer {
            let named = super::stream::name(&peer).ok().and_then(|peer| DatagramPeer::resolve(&peer).ok());
            // Of a pair of Unix sockets neither has a name, but each has the other.
            adopted.peer = Some(named.unwrap_or_else(DatagramPeer::unnamed));
        }
        Ok(adopted)
    }

    fn of_udp(socket: Socket, config: &DatagramConfig) -> io::Result<DatagramSocket> {
        let local = socket.local_addr()?.as_socket();
        let ip = match local {
            Some(local) if local.is_ipv6() && socket.only_v6()? => Ip::V6Only,
            Some(local) if local.is_ipv6() => Ip::V6,
            Some(_) | None => Ip::V4,
        };
        let all = local.is_some_and(|local| local.ip().is_unspecified());
        let receiving = system::datagram::join(&socket, config.gro);
        let sending = system::datagram::segment(&socket, config.gso);
        for group in &config.multicast.groups {
            options::join_group(&socket, group)?;
        }
        Ok(DatagramSocket {
            _file: None,
            kind: Kind::Udp(UdpSocket::from_std(socket.into()), ip),
            peer: None,
            receiving,
            sending,
            bound: if all { Bound::All } else { Bound::One },
            own: local.map(|local| local.ip().to_canonical()).filter(|_| !all),
            dropped: 0,
            batch: BATCH_FIRST,
            datagram_bytes_max: ip.bytes_max(),
        })
    }

    fn of_unix(socket: Socket, file: Option<SocketFile>) -> io::Result<DatagramSocket> {
        // The kernel refuses what its buffer could never hold.
        let datagram_bytes_max = socket.send_buffer_size()?.saturating_sub(system::UNIX_DATAGRAM_OVERHEAD);
        Ok(DatagramSocket {
            _file: file,
            kind: Kind::Unix(UnixDatagram::from_std(OwnedFd::from(socket).into())),
            peer: None,
            receiving: Receiving::Single,
            sending: Sending::Single,
            bound: Bound::One,
            own: None,
            dropped: 0,
            batch: 1,
            datagram_bytes_max,
        })
    }

    // --- what it is -----------------------------------------------------------------------------------------------

    /// The real address, with the port or name that the system chose.
    pub(crate) fn local_address(&self) -> io::Result<Address> {
        let named = super::stream::name(&SockRef::from(self).local_addr()?)?;
        let transport =
            if self.is_unix() { crate::address::Transport::Unixgram } else { crate::address::Transport::Udp };
        named.with_transport(transport).map_err(io::Error::from)
    }

    /// Where it is really bound, in the family of its socket, so that another one can share it.
    pub(crate) fn bound_at(&self) -> io::Result<Option<SocketAddr>> {
        Ok(SockRef::from(self).local_addr()?.as_socket())
    }

    /// Whom it talks to alone.
    pub(crate) fn peer(&self) -> Option<&DatagramPeer> {
        self.peer.as_ref()
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.kind, Kind::Unix(_))
    }

    /// The longest datagram that can be sent, to any peer.
    pub(crate) fn datagram_bytes_max(&self) -> usize {
        self.datagram_bytes_max
    }

    /// Whether datagrams to `peer` go over IPv4 though the socket is of IPv6: they can carry a little less.
    fn is_mapped(&self, peer: Option<&DatagramPeer>) -> bool {
        let ip = peer.or(self.peer.as_ref()).and_then(DatagramPeer::ip);
        matches!(self.kind, Kind::Udp(_, Ip::V6)) && ip.is_some_and(|ip| ip.is_ipv4())
    }

    /// A peer's address as this socket's family names it.
    fn named(&self, ip: SocketAddr) -> SocketAddr {
        match (&self.kind, ip) {
            (Kind::Udp(_, Ip::V6), SocketAddr::V4(v4)) => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
            _ => ip,
        }
    }

    /// The longest datagram that can be sent to `peer`, or to the one that it is connected to; `bytes` is how long one is.
    pub(crate) fn limit(&self, peer: Option<&DatagramPeer>, bytes: usize) -> usize {
        let over_v4 = Ip::V4.bytes_max();
        if bytes > over_v4 && self.is_mapped(peer) { over_v4 } else { self.datagram_bytes_max }
    }

    /// Whether it may send to `peer` at all: of its kind, and of its family.
    pub(crate) fn reaches(&self, peer: &DatagramPeer) -> bool {
        match (&self.kind, peer.ip()) {
            (Kind::Udp(_, Ip::V4), Some(ip)) => ip.is_ipv4(),
            (Kind::Udp(_, Ip::V6), Some(_)) => true,
            (Kind::Udp(_, Ip::V6Only), Some(ip)) => ip.is_ipv6(),
            (Kind::Unix(_), None) => true,
            (Kind::Udp(..), None) | (Kind::Unix(_), Some(_)) => false,
        }
    }

    pub(crate) fn receiving(&self) -> Receiving {
        self.receiving
    }

    pub(crate) fn sending(&self) -> Sending {
        self.sending
    }

    pub(crate) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The address that a datagram came to, where the kernel did not say.
    pub(in crate::net) fn own(&self) -> Option<IpAddr> {
        self.own
    }

    pub(crate) fn bound(&self) -> Bound {
        self.bound
    }

    fn batch_size(&self) -> usize {
        self.batch
    }

    /// Asks for twice as many as came, so that few headers are made ready for few datagrams.
    fn note_batch(&mut self, came: usize) {
        self.batch = (2 * came).max(BATCH_FIRST);
    }

    /// The system lacks the call for many.
    pub(crate) fn receive_singly(&mut self) {
        self.receiving = Receiving::Single;
    }

    /// The system refuses to cut messages longer than `bytes_max`, or any.
    pub(crate) fn segment_less(&mut self, bytes_max: Option<usize>) {
        self.sending = match bytes_max {
            Some(bytes_max) => Sending::Segmented { bytes_max },
            None => Sending::Batched,
        };
    }

    /// The system lacks the call for many.
    pub(crate) fn send_singly(&mut self) {
        self.sending = Sending::Single;
    }

    // --- what it does ---------------------------------------------------------------------------------------------

    /// Sends one datagram; sendto(2), or send(2) to the peer that it is connected to.
    #[inline(always)]
    pub(crate) fn send(&self, bytes: &[u8], to: Option<&DatagramPeer>) -> io::Result<()> {
        let flags = SendFlags::DONTWAIT | sigpipe::NONE;
        let sent = match to.map(DatagramPeer::destination) {
            None => uninterrupted(|| Ok(rustix::net::send(self, bytes, flags)?)),
            Some(Some(Destination::Ip(ip))) => {
                let ip = self.named(ip);
                uninterrupted(|| Ok(rustix::net::sendto(self, bytes, flags, &ip)?))
            }
            Some(Some(Destination::Unix(unix))) => uninterrupted(|| Ok(rustix::net::sendto(self, bytes, flags, unix)?)),
            Some(None) => Err(io::ErrorKind::AddrNotAvailable.into()),
        };
        sent.map(drop)
    }

    /// Receives one datagram of whomever it is connected to. What is longer than `buffer` is cut; its length is told whole, or
    /// as more than there was room for.
    /// If the kernel joins datagrams it may be several, and `buffer` must have room for `DATAGRAM_BYTES`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Message> {
        if self.receiving == Receiving::Joined {
            let (arrived, _) = system::mmsg::receive_message(self, buffer)?;
            return Ok(Message { len: arrived.len, segment: arrived.segment });
        }
        let len = uninterrupted(|| system::receive_whole(self, buffer))?;
        Ok(Message { len, segment: None })
    }

    /// Ends both directions; whoever waits for it is woken.
    pub(crate) fn shut(&self) -> io::Result<()> {
        SockRef::from(self).shutdown(std::net::Shutdown::Both)
    }

    /// Empties the queue of errors and returns the oldest that the network has answered with, if there is one. While that
    /// queue holds anything, poll(2) does not sleep.
    pub(crate) fn take_network_errors(&self) -> Option<io::Error> {
        if self.is_unix() {
            return None;
        }
        let mut oldest = None;
        for _ in 0..ERRORS_TAKEN {
            match system::mmsg::next_error(self) {
                // What this host refuses by itself was returned by the call that it refused.
                Ok(Some(error)) if error.icmp.is_none() => {}
                Ok(Some(error)) => oldest = oldest.or(Some(error.source)),
                Ok(None) => break,
                // It belongs to the socket, not to the queue.
                Err(error) => return oldest.or(Some(error)),
            }
        }
        oldest
    }

    /// The error that waits on the socket, SO_ERROR.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        SockRef::from(self).take_error().unwrap_or_else(Some)
    }

    pub(crate) fn join(&self, group: &Group) -> io::Result<()> {
        options::join_group(&SockRef::from(self), group)
    }

    pub(crate) fn leave(&self, group: &Group) -> io::Result<()> {
        options::leave_group(&SockRef::from(self), group)
    }

    /// Asks the kernel to report under `word`.
    pub(crate) fn register(&mut self, registry: &Registry, word: usize) -> io::Result<()> {
        match &mut self.kind {
            Kind::Udp(udp, _) => registry.register(udp, Token(word), Interest::READABLE),
            Kind::Unix(unix) => registry.register(unix, Token(word), Interest::READABLE),
        }
    }

    /// Changes what the kernel is to report.
    pub(crate) fn reregister(&mut self, registry: &Registry, word: usize, watched: Watched) -> io::Result<()> {
        let interest = match watched {
            Watched::Reads => Interest::READABLE,
            Watched::Both => Interest::READABLE | Interest::WRITABLE,
        };
        match &mut self.kind {
            Kind::Udp(udp, _) => registry.reregister(udp, Token(word), interest),
            Kind::Unix(unix) => registry.reregister(unix, Token(word), interest),
        }
    }

    /// Ends the kernel's reports, also where the descriptor has duplicates.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match &mut self.kind {
            Kind::Udp(udp, _) => registry.deregister(udp),
            Kind::Unix(unix) => registry.deregister(unix),
        }
    }
}

/// Datagrams only.
fn check(address: &Address) -> Result<(), Error> {
    if address.transport().is_datagram() {
        return Ok(());
    }
    let why = "it is for streams; use listen or connect, or a datagram address, udp:// or unixgram:";
    Err(Error::Transport { address: Box::new(address.clone()), why })
}

/// Whether an error means that the descriptor is no socket any more.
pub(crate) fn is_broken(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::BADF | Errno::NOTSOCK))
}

/// What an error of a send asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The socket's buffer is full, or that of a Unix peer.
    Full,
    /// The network's queue is, or the system lacks memory: no event will tell.
    Congested,
    /// A message cannot be cut into datagrams so long, or cut at all.
    SegmentTooLong,
    CannotSegment,
    /// The system lacks the call.
    NoCall,
    /// It may be the trouble of an earlier datagram, told at this one.
    Earlier,
    /// It is this datagram's.
    Datagram,
}

impl Refusal {
    /// What `error` means for a message that was to be cut, or for a single datagram.
    pub(crate) fn of(error: &io::Error, is_cut: bool) -> Refusal {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN | Errno::INTR) => Refusal::Full,
            Some(Errno::NOBUFS | Errno::NOMEM) => Refusal::Congested,
            Some(Errno::NOSYS) => Refusal::NoCall,
            Some(Errno::INVAL | Errno::MSGSIZE) if is_cut => Refusal::SegmentTooLong,
            Some(Errno::IO | Errno::NOPROTOOPT | Errno::OPNOTSUPP) if is_cut => Refusal::CannotSegment,
            Some(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN) => {
                Refusal::Earlier
            }
            Some(Errno::CONNRESET | Errno::PROTO | Errno::NOPROTOOPT | Errno::MSGSIZE) => Refusal::Earlier,
            _ => Refusal::Datagram,
        }
    }
}

/// Binds to an abstract name, which has no file.
fn bind_name(address: &Address, config: &DatagramConfig) -> io::Result<Socket> {
    let socket = options::unix(config)?;
    let peers = DatagramPeer::resolve_all(address).map_err(io::Error::from)?;
    match peers.first().and_then(DatagramPeer::destination) {
        Some(Destination::Unix(unix)) => rustix::net::bind(&socket, unix)?,
        Some(Destination::Ip(_)) | None => return Err(io::ErrorKind::AddrNotAvailable.into()),
    }
    Ok(socket)
}

/// A Unix socket with an address of its own that nobody had to choose: answers come there; unix(7), "autobind".
fn bind_anywhere(config: &DatagramConfig) -> io::Result<DatagramSocket> {
    let socket = options::unix(config)?;
    system::bind_anywhere(&socket)?;
    DatagramSocket::of_unix(socket, None)
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Udp(udp, _) => udp.as_fd(),
            Kind::Unix(unix) => unix.as_fd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_says_whom_it_reaches() {
        let v4 = DatagramSocket::bind(&"udp://127.0.0.1:0".parse().expect("an address"), &DatagramConfig::default());
        let v4 = v4.expect("a socket");
        let peer = |text: &str| DatagramPeer::from(text.parse::<SocketAddr>().expect("an address"));
        assert!(v4.reaches(&peer("127.0.0.1:9")) && !v4.reaches(&peer("[::1]:9")));
        assert!(matches!(v4.local_address().expect("an address").ip(), Some(ip) if ip.port() > 0));
        let all = DatagramSocket::bind(&"udp4://:0".parse().expect("an address"), &DatagramConfig::default());
        assert_eq!(all.expect("a socket").bound, Bound::All);
    }
}
