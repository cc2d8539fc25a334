//! Options of datagram sockets: from our words to the system's.
//!
//! Owns the order in which they are set. What this system lacks is an error only where it was asked for.

use crate::address::Family;
use crate::config::datagram::{
    Broadcast, DatagramConfig, Fragmentation, Group, IcmpErrors, Interface, Loopback, Offload,
};
use crate::config::{Reuse, Stack};
use crate::net::datagram::{Ip, Receiving, Sending};
use crate::net::options::{self, IsTcp};
use rustix::net::sockopt;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A Unix datagram socket that is not bound yet.
pub(super) fn unix(config: &DatagramConfig) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    options::apply(&socket, &config.socket, IsTcp::No)?;
    Ok(socket)
}

/// A UDP socket that is bound to `at`.
pub(super) fn udp(at: SocketAddr, family: Family, config: &DatagramConfig) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    let ip = match (at.is_ipv6(), family == Family::V6 || config.stack == Stack::V6Only) {
        (false, _) => Ip::V4,
        (true, false) => Ip::V6,
        (true, true) => Ip::V6Only,
    };
    if ip != Ip::V4 {
        // Said either way: the system's default differs.
        socket.set_only_v6(ip == Ip::V6Only)?;
    }
    if config.reuse == Reuse::Port {
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
    }
    socket.set_broadcast(config.broadcast == Broadcast::Allowed)?;
    if ip != Ip::V4 {
        sending_v6(&socket, ip, config)?;
    }
    // What goes over IPv4 from a socket of both families obeys the options of IPv4.
    if ip != Ip::V6Only {
        sending_v4(&socket, ip, config)?;
    }
    fragmentation(&socket, ip, config.fragmentation)?;
    only_joined_groups(&socket, ip);
    receiving(&socket, at, config)?;
    options::apply(&socket, &config.socket, IsTcp::No)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

/// What leaves the socket over IPv6.
fn sending_v6(socket: &Socket, ip: Ip, config: &DatagramConfig) -> io::Result<()> {
    let multicast = &config.multicast;
    if let Some(ttl) = config.ttl {
        socket.set_unicast_hops_v6(ttl.into())?;
    }
    if let Some(tos) = config.tos {
        sockopt::set_ipv6_tclass(socket, tos.into())?;
    }
    if let Some(ttl) = multicast.ttl {
        socket.set_multicast_hops_v6(ttl.into())?;
    }
    match multicast.interface {
        Interface::Any => {}
        Interface::Index(index) => socket.set_multicast_if_v6(index)?,
        // Groups of IPv4 leave there, those of IPv6 where the routes say.
        Interface::Address(_) if ip == Ip::V6 => {}
        Interface::Address(_) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "IPv6 interfaces are named by their number"));
        }
    }
    socket.set_multicast_loop_v6(multicast.loopback == Loopback::On)
}

/// What leaves the socket over IPv4.
fn sending_v4(socket: &Socket, ip: Ip, config: &DatagramConfig) -> io::Result<()> {
    let multicast = &config.multicast;
    if let Some(ttl) = config.ttl {
        if_there_is(ip, socket.set_ttl_v4(ttl.into()))?;
    }
    if let Some(tos) = config.tos {
        if_there_is(ip, socket.set_tos_v4(tos.into()))?;
    }
    if let Some(ttl) = multicast.ttl {
        if_there_is(ip, socket.set_multicast_ttl_v4(ttl.into()))?;
    }
    match multicast.interface {
        Interface::Any => {}
        // Groups of IPv6 leave there in any case.
        Interface::Index(index) => if_there_is(ip, multicast_if_index(socket, index))?,
        Interface::Address(address) => socket.set_multicast_if_v4(&address)?,
    }
    match socket.set_multicast_loop_v4(multicast.loopback == Loopback::On) {
        // It is the default, which a system that has no such option on sockets of IPv6 keeps to.
        Err(_) if ip != Ip::V4 && multicast.loopback == Loopback::On => Ok(()),
        set => set,
    }
}

/// What setting an option of IPv4 has come to, on a socket of both families too, where only Linux is sure to have it: others
/// apply it to what leaves over IPv6 alone.
fn if_there_is(ip: Ip, set: io::Result<()>) -> io::Result<()> {
    match set {
        Err(error) if ip == Ip::V6 && !cfg!(any(target_os = "linux", target_os = "android")) => {
            log::debug!("what leaves over IPv4 does without an option: {error}");
            Ok(())
        }
        set => set,
    }
}

/// Without this a socket receives from every group that any other socket of this host has joined. Kernels that lack the option
/// behave as before.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn only_joined_groups(socket: &Socket, ip: Ip) {
    if ip != Ip::V4 {
        let _ = socket.set_multicast_all_v6(false);
    }
    if ip != Ip::V6Only {
        let _ = socket.set_multicast_all_v4(false);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn only_joined_groups(_: &Socket, _: Ip) {}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn multicast_if_index(socket: &Socket, index: u32) -> io::Result<()> {
    let any = Ipv4Addr::UNSPECIFIED;
    Ok(sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, index)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn multicast_if_index(_: &Socket, _: u32) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "here IPv4 interfaces are named by their address"))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn fragmentation(socket: &Socket, ip: Ip, wanted: Fragmentation) -> io::Result<()> {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery as V4, Ipv6PathMtuDiscovery as V6};
    let is_allowed = wanted == Fragmentation::Allowed;
    if ip != Ip::V4 {
        sockopt::set_ipv6_mtu_discover(socket, if is_allowed { V6::DONT } else { V6::DO })?;
    }
    Ok(sockopt::set_ip_mtu_discover(socket, if is_allowed { V4::DONT } else { V4::DO })?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn fragmentation(_: &Socket, _: Ip, wanted: Fragmentation) -> io::Result<()> {
    match wanted {
        Fragmentation::Allowed => Ok(()),
        Fragmentation::Never => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "fragmentation cannot be forbidden here"))
        }
    }
}

/// What comes with each datagram, and errors of the network. It is as well without what an old kernel lacks.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn receiving(socket: &Socket, at: SocketAddr, config: &DatagramConfig) -> io::Result<()> {
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::{
        IpRecvTos, Ipv4PacketInfo, Ipv4RecvErr, Ipv6RecvErr, Ipv6RecvPacketInfo, Ipv6RecvTClass, RxqOvfl,
    };
    let told = config.icmp_errors == IcmpErrors::Told;
    let _ = setsockopt(socket, RxqOvfl, &1);
    // From either family: a socket of IPv6 has both.
    let _ = setsockopt(socket, IpRecvTos, &true);
    // Which address it was for is known where there is one.
    let asks = at.ip().is_unspecified();
    if at.is_ipv6() {
        let _ = setsockopt(socket, Ipv6RecvTClass, &true);
        let _ = setsockopt(socket, Ipv6RecvPacketInfo, &asks);
        setsockopt(socket, Ipv6RecvErr, &told)?;
    } else {
        let _ = setsockopt(socket, Ipv4PacketInfo, &asks);
    }
    setsockopt(socket, Ipv4RecvErr, &told)?;
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn receiving(_: &Socket, _: SocketAddr, _: &DatagramConfig) -> io::Result<()> {
    Ok(())
}

/// Has the kernel join datagrams, where that is wanted and it can.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn join(socket: &Socket, gro: Offload) -> Receiving {
    use nix::sys::socket::{setsockopt, sockopt::UdpGroSegment};
    match gro {
        Offload::On if setsockopt(socket, UdpGroSegment, &true).is_ok() => Receiving::Joined,
        Offload::On | Offload::Off => Receiving::Batched,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn join(_: &Socket, _: Offload) -> Receiving {
    Receiving::Single
}

/// Whether the kernel can cut messages, where that is wanted.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn segment(socket: &Socket, gso: Offload) -> Sending {
    use nix::sys::socket::{getsockopt, sockopt::UdpGsoSegment};
    match gso {
        Offload::On if getsockopt(socket, UdpGsoSegment).is_ok() => Sending::Segmented { bytes_max: usize::MAX },
        Offload::On | Offload::Off => Sending::Batched,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn segment(_: &Socket, _: Offload) -> Sending {
    Sending::Single
}

/// Becomes a member of a group.
pub(super) fn join_group(socket: &Socket, group: &Group) -> io::Result<()> {
    match (group.address, group.source, group.interface) {
        (IpAddr::V4(address), Some(source), interface) => socket.join_ssm_v4(&source, &address, &v4(interface)?),
        (IpAddr::V4(address), None, Interface::Index(index)) => {
            socket.join_multicast_v4_n(&address, &socket2::InterfaceIndexOrAddress::Index(index))
        }
        (IpAddr::V4(address), None, interface) => socket.join_multicast_v4(&address, &v4(interface)?),
        (IpAddr::V6(address), _, interface) => socket.join_multicast_v6(&address, index(interface)?),
    }
}

/// Is a member no longer.
pub(super) fn leave_group(socket: &Socket, group: &Group) -> io::Result<()> {
    match (group.address, group.source, group.interface) {
        (IpAddr::V4(address), Some(source), interface) => socket.leave_ssm_v4(&source, &address, &v4(interface)?),
        (IpAddr::V4(address), None, Interface::Index(index)) => {
            socket.leave_multicast_v4_n(&address, &socket2::InterfaceIndexOrAddress::Index(index))
        }
        (IpAddr::V4(address), None, interface) => socket.leave_multicast_v4(&address, &v4(interface)?),
        (IpAddr::V6(address), _, interface) => socket.leave_multicast_v6(&address, index(interface)?),
    }
}

fn v4(interface: Interface) -> io::Result<Ipv4Addr> {
    match interface {
        Interface::Any => Ok(Ipv4Addr::UNSPECIFIED),
        Interface::Address(address) => Ok(address),
        Interface::Index(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "with a source an interface is named by its address"))
        }
    }
}

fn index(interface: Interface) -> io::Result<u32> {
    match interface {
        Interface::Any => Ok(0),
        Interface::Index(index) => Ok(index),
        Interface::Address(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "IPv6 interfaces are named by their number"))
        }
    }
}
