//! Options of UDP sockets that not every system has.

use crate::config::datagram::{DatagramConfig, Fragmentation, IcmpErrors, Offload};
use crate::net::datagram::{Ip, Receiving, Sending};
use nix::libc;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SetBool;
use socket2::Socket;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

#[derive(Clone, Copy)]
struct AllGroupsV4;

#[derive(Clone, Copy)]
struct AllGroupsV6;

// socket2 has them on Linux, but not on Android.
nix::setsockopt_impl!(AllGroupsV4, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, bool, SetBool);
nix::setsockopt_impl!(AllGroupsV6, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_ALL, bool, SetBool);

/// Without this a socket receives from every group that any other socket of this host has joined. Kernels that lack the option
/// behave as before.
pub(in crate::net) fn only_joined_groups(socket: &Socket, ip: Ip) {
    if ip != Ip::V4 {
        let _ = setsockopt(socket, AllGroupsV6, &false);
    }
    if ip != Ip::V6Only {
        let _ = setsockopt(socket, AllGroupsV4, &false);
    }
}

pub(in crate::net) fn multicast_if_index(socket: &Socket, index: u32) -> io::Result<()> {
    let any = Ipv4Addr::UNSPECIFIED;
    Ok(rustix::net::sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, index)?)
}

pub(in crate::net) fn fragmentation(socket: &Socket, ip: Ip, wanted: Fragmentation) -> io::Result<()> {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery as V4, Ipv6PathMtuDiscovery as V6};
    let is_allowed = wanted == Fragmentation::Allowed;
    if ip != Ip::V4 {
        rustix::net::sockopt::set_ipv6_mtu_discover(socket, if is_allowed { V6::DONT } else { V6::DO })?;
    }
    Ok(rustix::net::sockopt::set_ip_mtu_discover(socket, if is_allowed { V4::DONT } else { V4::DO })?)
}

/// What comes with each datagram, and errors of the network. It is as well without what an old kernel lacks.
pub(in crate::net) fn receiving(socket: &Socket, at: SocketAddr, config: &DatagramConfig) -> io::Result<()> {
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

/// Has the kernel join datagrams, where that is wanted and it can.
pub(in crate::net) fn join(socket: &Socket, gro: Offload) -> Receiving {
    use nix::sys::socket::sockopt::UdpGroSegment;
    match gro {
        Offload::On if setsockopt(socket, UdpGroSegment, &true).is_ok() => Receiving::Joined,
        Offload::On | Offload::Off => Receiving::Batched,
    }
}

/// Whether the kernel can cut messages, where that is wanted.
pub(in crate::net) fn segment(socket: &Socket, gso: Offload) -> Sending {
    use nix::sys::socket::{getsockopt, sockopt::UdpGsoSegment};
    match gso {
        Offload::On if getsockopt(socket, UdpGsoSegment).is_ok() => Sending::Segmented { bytes_max: usize::MAX },
        Offload::On | Offload::Off => Sending::Batched,
    }
}

/// IPV6_TCLASS, ipv6(7).
pub(in crate::net) fn set_traffic_class(socket: &Socket, tos: u8) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_ipv6_tclass(socket, tos.into())?)
}

/// Memberships of IPv4 that not every system has.
pub(in crate::net) mod groups {
    use socket2::{InterfaceIndexOrAddress::Index, Socket};
    use std::io;
    use std::net::Ipv4Addr;

    pub(in crate::net) fn join_by_index(socket: &Socket, group: Ipv4Addr, index: u32) -> io::Result<()> {
        socket.join_multicast_v4_n(&group, &Index(index))
    }

    pub(in crate::net) fn leave_by_index(socket: &Socket, group: Ipv4Addr, index: u32) -> io::Result<()> {
        socket.leave_multicast_v4_n(&group, &Index(index))
    }

    pub(in crate::net) fn join_source(
        socket: &Socket,
        source: Ipv4Addr,
        group: Ipv4Addr,
        at: Ipv4Addr,
    ) -> io::Result<()> {
        socket.join_ssm_v4(&source, &group, &at)
    }

    pub(in crate::net) fn leave_source(
        socket: &Socket,
        source: Ipv4Addr,
        group: Ipv4Addr,
        at: Ipv4Addr,
    ) -> io::Result<()> {
        socket.leave_ssm_v4(&source, &group, &at)
    }
}
