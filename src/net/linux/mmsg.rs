//! Many datagrams in one system call: recvmmsg(2), sendmmsg(2), and what the kernel cuts and joins by itself.
//!
//! Owns the message headers and the control messages in them. Knows nothing of queues. Linux only.
//!
//! 1. The kernel leaves in a header how much of its room for control messages was used, and takes that for the room the
//!    next time. So sockets share headers only if each datagram of theirs brings the same ones: those of one family, before
//!    the kernel has dropped any datagram of theirs, and behind that. Whenever the room was too small they are made anew.

use crate::net::datagram::arrivals::{Arrived, Ecn};
use crate::net::datagram::calls::{Common, NetworkError, Places, SENT};
use crate::net::datagram::peer::DatagramPeer;
use crate::net::datagram::{Bound, DatagramSocket, Ip, Kind};
use crate::net::uninterrupted;
use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrIn, SockaddrIn6, SockaddrLike,
    SockaddrStorage, recvmmsg, recvmsg, sendmmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

/// Messages in one call.
const RECEIVED: usize = 32;

/// What a control message may take: two addresses, counters and bits, and a little for what a hook has asked for.
fn control_room() -> Vec<u8> {
    cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo, u32, i32, i32, [u64; 4])
}

type Headers = MultiHeaders<SockaddrStorage>;

/// Messages for which smaller calls are made ready: for what comes singly, and for a few.
const SINGLE: usize = 2;
const FEW: usize = 8;

/// Headers to receive with: for sockets with one address and with all, before a drop and behind it.
type Sets<A> = [[Option<MultiHeaders<A>>; 2]; 2];

/// Headers to receive with, by the family of the sockets.
#[derive(Default)]
pub(in crate::net) struct ReceiveHeaders {
    v4: Sets<SockaddrIn>,
    v6: Sets<SockaddrIn6>,
}

/// What an IPv4 address is that a datagram came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    /// This host's alone.
    Unicast,
    /// All of a subnet.
    Broadcast,
}

/// What is known of addresses, each at its place, where a later one may take it; zero is none.
struct Casts {
    unicast: [AtomicU32; CAST_PLACES],
    broadcast: [AtomicU32; CAST_PLACES],
}

const CAST_PLACES: usize = 1 << CAST_BITS;
const CAST_BITS: u32 = 6;

static CASTS: Casts = Casts::new();

impl Casts {
    const fn new() -> Casts {
        Casts {
            unicast: [const { AtomicU32::new(0) }; CAST_PLACES],
            broadcast: [const { AtomicU32::new(0) }; CAST_PLACES],
        }
    }

    /// A place that all bits count for: the addresses of a host often end alike, as 10.0.0.1 and 127.0.0.1 do.
    fn place(number: u32) -> usize {
        // 2³² by the golden ratio, whose multiples spread well (Knuth, TAOCP 3, 6.4).
        (number.wrapping_mul(0x9e37_79b9) >> (u32::BITS - CAST_BITS)) as usize
    }

    fn known(&self, number: u32) -> Option<Cast> {
        let place = Casts::place(number);
        if self.unicast[place].load(Ordering::Relaxed) == number {
            Some(Cast::Unicast)
        } else if self.broadcast[place].load(Ordering::Relaxed) == number {
            Some(Cast::Broadcast)
        } else {
            None
        }
    }

    fn note(&self, number: u32, cast: Cast) {
        let places = match cast {
            Cast::Unicast => &self.unicast,
            Cast::Broadcast => &self.broadcast,
        };
        places[Casts::place(number)].store(number, Ordering::Relaxed);
    }
}

/// Whether an IPv4 address that a datagram came to is this host's alone, so that an answer can leave from there. A socket of
/// IPv6 is told only where the datagram was sent to, which may be a group or a broadcast.
fn is_unicast(ip: Ipv4Addr) -> bool {
    if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
        return false;
    }
    let number = u32::from(ip);
    let cast = CASTS.known(number).or_else(|| {
        // What could not be found out is asked again at the next datagram; this one's answer leaves from where it may.
        let cast = ask_cast(ip)?;
        CASTS.note(number, cast);
        Some(cast)
    });
    cast == Some(Cast::Unicast)
}

/// Asks the system's routes: only sockets with SO_BROADCAST may connect to the broadcast address of a subnet; ip(7). `None`
/// if it does not say, for want of descriptors above all.
fn ask_cast(ip: Ipv4Addr) -> Option<Cast> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    match connect(&socket, &SocketAddrV4::new(ip, DISCARD)) {
        Ok(()) => Some(Cast::Unicast),
        Err(rustix::io::Errno::ACCESS) => Some(Cast::Broadcast),
        Err(_) => None,
    }
}

/// A port to connect to, to which nothing is sent.
const DISCARD: u16 = 9;

/// One message that was received, in our words; [`read_control`] says what its control messages add.
#[inline(always)]
fn arrived<A>(message: &RecvMsg<'_, '_, A>, from: DatagramPeer, start: usize, own: Option<IpAddr>) -> Arrived {
    Arrived {
        from,
        local: own,
        ecn: None,
        start,
        len: message.bytes,
        segment: None,
        is_truncated: message.flags.contains(MsgFlags::MSG_TRUNC),
    }
}

/// What control messages say that is not of one datagram.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// How many datagrams the kernel has dropped so far.
    Dropped(u32),
    /// There was no room for all of them, and none is looked at.
    TooShort,
}

/// Adds to `arrived` what the control messages of its datagram say.
#[inline(always)]
fn read_control<A>(message: &RecvMsg<'_, '_, A>, bound: Bound, arrived: &mut Arrived) -> Beside {
    let Ok(messages) = message.cmsgs() else { return Beside::TooShort };
    let mut beside = Beside::Nothing;
    for message in messages {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                arrived.local = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                // Of a group or a broadcast it is the address that routes to the sender choose.
                let own = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                if bound == Bound::All && !own.is_unspecified() {
                    arrived.from.via = Some(own.into());
                }
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                arrived.local = Some(ip.to_canonical());
                // A link-local one means nothing without its interface: the system chooses by where the answer goes.
                let is_own = match ip.to_ipv4_mapped() {
                    Some(v4) => is_unicast(v4),
                    None => !ip.is_multicast() && !ip.is_unicast_link_local(),
                };
                if bound == Bound::All && is_own {
                    arrived.from.via = Some(ip.to_canonical());
                }
            }
            ControlMessageOwned::Ipv4Tos(tos) => arrived.ecn = Some(Ecn::of(tos)),
            ControlMessageOwned::Ipv6TClass(class) => arrived.ecn = Some(Ecn::of(class as u8)),
            ControlMessageOwned::UdpGroSegments(segment) => {
                arrived.segment = usize::try_from(segment).ok().filter(|segment| *segment > 0);
            }
            ControlMessageOwned::RxqOvfl(dropped) => beside = Beside::Dropped(dropped),
            _ => {}
        }
    }
    beside
}

fn ip_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::from(*v4));
    }
    address.as_sockaddr_in6().map(|v6| SocketAddr::from(*v6))
}

impl ReceiveHeaders {
    /// Receives up to `want` datagrams into `memory`.
    #[inline]
    pub(in crate::net) fn receive(
        &mut self,
        socket: &mut DatagramSocket,
        memory: &mut [u8],
        want: usize,
        places: Places,
        into: &mut Vec<Arrived>,
    ) -> io::Result<()> {
        match socket.kind {
            Kind::Udp(_, Ip::V4) | Kind::Unix(_) => receive_from(&mut self.v4, socket, memory, want, places, into),
            Kind::Udp(_, Ip::V6 | Ip::V6Only) => receive_from(&mut self.v6, socket, memory, want, places, into),
        }
    }
}

/// The same with the headers of one family.
#[inline]
fn receive_from<A: SockaddrLike + Copy>(
    sets: &mut Sets<A>,
    socket: &mut DatagramSocket,
    memory: &mut [u8],
    want: usize,
    places: Places,
    into: &mut Vec<Arrived>,
) -> io::Result<()>
where
    SocketAddr: From<A>,
{
    let set = &mut sets[socket.bound() as usize][usize::from(socket.dropped() > 0)];
    if want <= SINGLE {
        receive_up_to::<SINGLE, A>(set, socket, memory, want, places, into)
    } else if want <= FEW {
        receive_up_to::<FEW, A>(set, socket, memory, want, places, into)
    } else {
        receive_up_to::<RECEIVED, A>(set, socket, memory, want, places, into)
    }
}

#[inline(never)]
fn receive_up_to<const MAX: usize, A: SockaddrLike + Copy>(
    set: &mut Option<MultiHeaders<A>>,
    socket: &mut DatagramSocket,
    memory: &mut [u8],
    want: usize,
    places: Places,
    into: &mut Vec<Arrived>,
) -> io::Result<()>
where
    SocketAddr: From<A>,
{
    let headers = set.get_or_insert_with(|| MultiHeaders::preallocate(RECEIVED, Some(control_room())));
    let mut rest = memory;
    let mut slices: [[IoSliceMut<'_>; 1]; MAX] = std::array::from_fn(|_| {
        let (place, behind) = std::mem::take(&mut rest).split_at_mut(places.step);
        rest = behind;
        [IoSliceMut::new(&mut place[..places.len])]
    });
    let fd = socket.as_fd().as_raw_fd();
    let (mut dropped, mut is_short) = (None, false);
    let messages = recvmmsg(fd, headers, slices[..want.min(MAX)].iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
    for (n, message) in messages.enumerate() {
        let from = message.address.map_or_else(DatagramPeer::unnamed, |ip| SocketAddr::from(ip).into());
        into.push(arrived(&message, from, n * places.step, socket.own()));
        let Some(arrived) = into.last_mut() else { continue };
        match read_control(&message, socket.bound(), arrived) {
            Beside::Nothing => {}
            Beside::Dropped(count) => dropped = dropped.max(Some(count)),
            Beside::TooShort => is_short = true,
        }
    }
    if is_short {
        *set = None;
    }
    if let Some(dropped) = dropped {
        socket.note_dropped(dropped);
    } else if is_short {
        // What there was no room for is the count of drops: from now on it comes with each datagram.
        socket.note_dropped(1);
    }
    Ok(())
}

/// recvmsg(2) of datagrams that the kernel may have joined, UDP_GRO of udp(7).
pub(in crate::net) fn receive_joined(socket: &mut DatagramSocket, memory: &mut [u8]) -> io::Result<Arrived> {
    let (arrived, dropped) = receive_message(socket, memory)?;
    if let Some(dropped) = dropped {
        socket.note_dropped(dropped);
    }
    Ok(arrived)
}

/// The same, with how many datagrams the kernel has dropped so far, where it says so.
pub(in crate::net) fn receive_message(
    socket: &DatagramSocket,
    memory: &mut [u8],
) -> io::Result<(Arrived, Option<u32>)> {
    let mut control = [0; 256];
    uninterrupted(|| {
        let fd = socket.as_fd().as_raw_fd();
        let mut slices = [IoSliceMut::new(memory)];
        let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
        let from = message.address.as_ref().and_then(ip_of);
        let from = from.map_or_else(DatagramPeer::unnamed, DatagramPeer::from);
        let mut arrived = arrived(&message, from, 0, socket.own());
        let dropped = match read_control(&message, socket.bound(), &mut arrived) {
            Beside::Dropped(dropped) => Some(dropped),
            Beside::Nothing | Beside::TooShort => None,
        };
        Ok((arrived, dropped))
    })
}

/// Headers to send with, by the control messages that they have room for.
#[derive(Default)]
pub(crate) struct SendHeaders {
    plain: Option<Headers>,
    segments: Option<Headers>,
    from_v4: [Option<Headers>; 2],
    from_v6: [Option<Headers>; 2],
    addresses: Vec<Option<SockaddrStorage>>,
}

/// Headers with room for `control`, made when they are first needed.
fn with_room(place: &mut Option<Headers>, control: impl FnOnce() -> Option<Vec<u8>>) -> &mut Headers {
    place.get_or_insert_with(|| MultiHeaders::preallocate(SENT, control()))
}

impl SendHeaders {
    /// Sends messages, each the bytes of its slices, to where `to` says (`None`: where the socket is connected to). Returns
    /// how many the kernel took. Linux takes IPv4 addresses, of peers and of ours, on a socket of both families as they are.
    pub(crate) fn send(
        &mut self,
        socket: &DatagramSocket,
        common: Common,
        messages: &[&[IoSlice<'_>]],
        to: impl Iterator<Item = Option<SocketAddr>>,
    ) -> io::Result<usize> {
        self.addresses.clear();
        self.addresses.extend(to.map(|ip| ip.map(SockaddrStorage::from)));
        let segment = common.segment.unwrap_or(0);
        let cuts = usize::from(common.segment.is_some());
        let (v4, v6) = match common.via {
            None => (None, None),
            Some(IpAddr::V4(ip)) => (Some(packet_info_v4(ip)), None),
            Some(IpAddr::V6(ip)) => (None, Some(packet_info_v6(ip))),
        };
        let cut = ControlMessage::UdpGsoSegments(&segment);
        let (headers, control) = match (&v4, &v6, cuts) {
            (None, None, 0) => (with_room(&mut self.plain, || None), [None, None]),
            (None, None, _) => (with_room(&mut self.segments, || Some(cmsg_space!(u16))), [Some(cut), None]),
            (Some(from), _, 0) => {
                let headers = with_room(&mut self.from_v4[0], || Some(cmsg_space!(libc::in_pktinfo)));
                (headers, [Some(ControlMessage::Ipv4PacketInfo(from)), None])
            }
            (Some(from), _, _) => {
                let headers = with_room(&mut self.from_v4[1], || Some(cmsg_space!(libc::in_pktinfo, u16)));
                (headers, [Some(ControlMessage::Ipv4PacketInfo(from)), Some(cut)])
            }
            (None, Some(from), 0) => {
                let headers = with_room(&mut self.from_v6[0], || Some(cmsg_space!(libc::in6_pktinfo)));
                (headers, [Some(ControlMessage::Ipv6PacketInfo(from)), None])
            }
            (None, Some(from), _) => {
                let headers = with_room(&mut self.from_v6[1], || Some(cmsg_space!(libc::in6_pktinfo, u16)));
                (headers, [Some(ControlMessage::Ipv6PacketInfo(from)), Some(cut)])
            }
        };
        let fd = socket.as_fd().as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let addresses = &self.addresses[..];
        let sent = match control {
            [None, _] => sendmmsg(fd, headers, messages, addresses, [], flags)?,
            [Some(one), None] => sendmmsg(fd, headers, messages, addresses, [one], flags)?,
            [Some(one), Some(two)] => sendmmsg(fd, headers, messages, addresses, [one, two], flags)?,
        };
        Ok(sent.count())
    }
}

fn packet_info_v4(from: Ipv4Addr) -> libc::in_pktinfo {
    let any = libc::in_addr { s_addr: 0 };
    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: libc::in_addr { s_addr: u32::from(from).to_be() }, ipi_addr: any }
}

fn packet_info_v6(from: Ipv6Addr) -> libc::in6_pktinfo {
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 }
}

/// Takes the oldest error from the queue of a UDP or TCP socket; `None` if there is none. Unix sockets have no such queue,
/// and would give a message.
pub(crate) fn next_error(socket: impl AsFd) -> io::Result<Option<NetworkError>> {
    let mut control = [0; 512];
    let mut head = [0; 64];
    let fd = socket.as_fd().as_raw_fd();
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let mut slices = [IoSliceMut::new(&mut head)];
    let message = match recvmsg::<SockaddrStorage>(fd, &mut slices, Some(&mut control), flags) {
        Ok(message) => message,
        Err(nix::errno::Errno::EAGAIN) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut told = NetworkError {
        to: message.address.as_ref().and_then(ip_of),
        by: None,
        icmp: None,
        source: io::ErrorKind::Other.into(),
    };
    for message in message.cmsgs().into_iter().flatten() {
        let (error, by) = match message {
            ControlMessageOwned::Ipv4RecvErr(error, by) => {
                (error, by.map(|by| Ipv4Addr::from(u32::from_be(by.sin_addr.s_addr)).into()))
            }
            ControlMessageOwned::Ipv6RecvErr(error, by) => {
                (error, by.map(|by| Ipv6Addr::from(by.sin6_addr.s6_addr).to_canonical()))
            }
            _ => continue,
        };
        told.source = io::Error::from_raw_os_error(error.ee_errno as i32);
        if matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6) {
            told.icmp = Some((error.ee_type, error.ee_code));
            told.by = by.filter(|by: &IpAddr| !by.is_unspecified());
        }
    }
    Ok(Some(told))
}

impl DatagramSocket {
    fn note_dropped(&mut self, dropped: u32) {
        self.dropped = self.dropped.max(dropped);
    }
}

impl Ecn {
    fn of(tos: u8) -> Ecn {
        match tos & 3 {
            0 => Ecn::NotCapable,
            1 => Ecn::Capable1,
            2 => Ecn::Capable0,
            _ => Ecn::Congested,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn what_an_address_is_stays_known_beside_others_that_end_alike() {
        let known = Casts::new();
        let ending_alike = [[127, 0, 0, 1], [10, 0, 0, 1], [172, 17, 0, 1], [192, 168, 0, 1], [192, 168, 1, 1]];
        let numbers = ending_alike.map(u32::from_be_bytes);
        assert!(numbers.iter().all(|number| known.known(*number).is_none()));
        for number in numbers {
            known.note(number, Cast::Unicast);
            // The broadcast of its subnet.
            known.note(number | 255, Cast::Broadcast);
        }
        let places: HashSet<_> = numbers.into_iter().map(Casts::place).collect();
        assert_eq!(places.len(), numbers.len());
        for number in numbers {
            assert_eq!(known.known(number), Some(Cast::Unicast));
            assert_eq!(known.known(number | 255), Some(Cast::Broadcast));
        }
    }
}
