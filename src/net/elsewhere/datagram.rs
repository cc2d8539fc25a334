//! Options of UDP sockets that other systems lack, or have otherwise.

use crate::config::datagram::{DatagramConfig, Fragmentation, Offload};
use crate::net::datagram::{Ip, Receiving, Sending};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;

fn refused<T>(why: &'static str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// Other systems deliver as they do.
pub(in crate::net) fn only_joined_groups(_: &Socket, _: Ip) {}

pub(in crate::net) fn multicast_if_index(_: &Socket, _: u32) -> io::Result<()> {
    refused("here IPv4 interfaces are named by their address")
}

/// Allowed is what systems do unless they are told.
pub(in crate::net) fn fragmentation(_: &Socket, _: Ip, wanted: Fragmentation) -> io::Result<()> {
    match wanted {
        Fragmentation::Allowed => Ok(()),
        Fragmentation::Never => refused("fragmentation cannot be forbidden here"),
    }
}

/// Datagrams come without what Linux tells beside them.
pub(in crate::net) fn receiving(_: &Socket, _: SocketAddr, _: &DatagramConfig) -> io::Result<()> {
    Ok(())
}

pub(in crate::net) fn join(_: &Socket, _: Offload) -> Receiving {
    Receiving::Single
}

pub(in crate::net) fn segment(_: &Socket, _: Offload) -> Sending {
    Sending::Single
}

/// IPV6_TCLASS.
#[cfg(not(any(target_os = "illumos", target_os = "solaris")))]
pub(in crate::net) fn set_traffic_class(socket: &Socket, tos: u8) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_ipv6_tclass(socket, tos.into())?)
}

#[cfg(any(target_os = "illumos", target_os = "solaris"))]
pub(in crate::net) fn set_traffic_class(_: &Socket, _: u8) -> io::Result<()> {
    refused("tos cannot be set for IPv6 here")
}

/// Memberships of IPv4.
pub(in crate::net) mod groups {
    pub(in crate::net) use by_index::{join_by_index, leave_by_index};
    pub(in crate::net) use of_source::{join_source, leave_source};

    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
    mod by_index {
        use socket2::{InterfaceIndexOrAddress::Index, Socket};
        use std::io;
        use std::net::Ipv4Addr;

        pub(in crate::net) fn join_by_index(socket: &Socket, group: Ipv4Addr, index: u32) -> io::Result<()> {
            socket.join_multicast_v4_n(&group, &Index(index))
        }

        pub(in crate::net) fn leave_by_index(socket: &Socket, group: Ipv4Addr, index: u32) -> io::Result<()> {
            socket.leave_multicast_v4_n(&group, &Index(index))
        }
    }

    #[cfg(not(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly")))]
    mod by_index {
        use super::super::refused;
        use socket2::Socket;
        use std::io;
        use std::net::Ipv4Addr;

        pub(in crate::net) fn join_by_index(_: &Socket, _: Ipv4Addr, _: u32) -> io::Result<()> {
            refused("here IPv4 interfaces are named by their address")
        }

        pub(in crate::net) fn leave_by_index(_: &Socket, _: Ipv4Addr, _: u32) -> io::Result<()> {
            refused("here IPv4 interfaces are named by their address")
        }
    }

    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "illumos", target_os = "solaris"))]
    mod of_source {
        use socket2::Socket;
        use std::io;
        use std::net::Ipv4Addr;

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

    #[cfg(not(any(target_vendor = "apple", target_os = "freebsd", target_os = "illumos", target_os = "solaris")))]
    mod of_source {
        use super::super::refused;
        use socket2::Socket;
        use std::io;
        use std::net::Ipv4Addr;

        pub(in crate::net) fn join_source(_: &Socket, _: Ipv4Addr, _: Ipv4Addr, _: Ipv4Addr) -> io::Result<()> {
            refused("this system knows no groups of one source; leave it out")
        }

        pub(in crate::net) fn leave_source(_: &Socket, _: Ipv4Addr, _: Ipv4Addr, _: Ipv4Addr) -> io::Result<()> {
            refused("this system knows no groups of one source; leave it out")
        }
    }
}
