//! Options of datagram sockets: from our words to the system's.
//!
//! Owns the order in which they are set. What this system lacks is an error only where it was asked for.

use crate::address::Family;
use crate::config::datagram::{Broadcast, DatagramConfig, Group, Interface, Loopback};
use crate::config::{Reuse, Stack};
use crate::net::datagram::Ip;
use crate::net::options::{self, IsTcp};
use crate::net::system::{self, datagram::groups};
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
        options::one_family(&socket, ip == Ip::V6Only)?;
    }
    if config.reuse == Reuse::Port {
        socket.set_reuse_address(true)?;
        system::share_datagrams(&socket)?;
    }
    socket.set_broadcast(config.broadcast == Broadcast::Allowed)?;
    if ip != Ip::V4 {
        sending_v6(&socket, ip, config)?;
    }
    // What goes over IPv4 from a socket of both families obeys the options of IPv4.
    if ip != Ip::V6Only {
        sending_v4(&socket, ip, config)?;
    }
    system::datagram::fragmentation(&socket, ip, config.fragmentation)?;
    system::datagram::only_joined_groups(&socket, ip);
    system::datagram::receiving(&socket, at, config)?;
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
        system::datagram::set_traffic_class(socket, tos)?;
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
        Interface::Index(index) => if_there_is(ip, system::datagram::multicast_if_index(socket, index))?,
        Interface::Address(address) => socket.set_multicast_if_v4(&address)?,
    }
    match socket.set_multicast_loop_v4(multicast.loopback == Loopback::On) {
        // It is the default, which a system keeps to that has no such option on sockets of IPv6, or in one byte only.
        Err(_) if multicast.loopback == Loopback::On => Ok(()),
        set => set,
    }
}

/// What setting an option of IPv4 has come to, on a socket of both families too, where only Linux is sure to have it: others
/// apply it to what leaves over IPv6 alone.
fn if_there_is(ip: Ip, set: io::Result<()>) -> io::Result<()> {
    match set {
        Err(error) if ip == Ip::V6 && !system::HAS_V4_OPTIONS_ON_V6 => {
            log::debug!("what leaves over IPv4 does without an option: {error}");
            Ok(())
        }
        set => set,
    }
}

/// Becomes a member of a group.
pub(super) fn join_group(socket: &Socket, group: &Group) -> io::Result<()> {
    match (group.address, group.source, group.interface) {
        (IpAddr::V4(address), Some(source), interface) => groups::join_source(socket, source, address, v4(interface)?),
        (IpAddr::V4(address), None, Interface::Index(index)) => groups::join_by_index(socket, address, index),
        (IpAddr::V4(address), None, interface) => socket.join_multicast_v4(&address, &v4(interface)?),
        (IpAddr::V6(address), _, interface) => socket.join_multicast_v6(&address, index(interface)?),
    }
}

/// Is a member no longer.
pub(super) fn leave_group(socket: &Socket, group: &Group) -> io::Result<()> {
    match (group.address, group.source, group.interface) {
        (IpAddr::V4(address), Some(source), interface) => groups::leave_source(socket, source, address, v4(interface)?),
        (IpAddr::V4(address), None, Interface::Index(index)) => groups::leave_by_index(socket, address, index),
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
