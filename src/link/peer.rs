//! The peer's IP address and port, in a quarter less room than `SocketAddr` takes: each connection has one.
//!
//! Owns the packing. An IPv6 flow label is dropped, and an IPv4 address that is mapped into IPv6 is one of IPv4.

use crate::net::unmapped;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An IP address and port, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerIp {
    None,
    V4(Ipv4Addr, u16),
    V6 { ip: Ipv6Addr, port: u16, scope: u32 },
}

impl From<Option<SocketAddr>> for PeerIp {
    fn from(ip: Option<SocketAddr>) -> PeerIp {
        match ip.map(unmapped) {
            None => PeerIp::None,
            Some(SocketAddr::V4(v4)) => PeerIp::V4(*v4.ip(), v4.port()),
            Some(SocketAddr::V6(v6)) => PeerIp::V6 { ip: *v6.ip(), port: v6.port(), scope: v6.scope_id() },
        }
    }
}

impl From<PeerIp> for Option<SocketAddr> {
    fn from(peer: PeerIp) -> Option<SocketAddr> {
        match peer {
            PeerIp::None => None,
            PeerIp::V4(ip, port) => Some(SocketAddr::from((ip, port))),
            PeerIp::V6 { ip, port, scope } => Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was_and_takes_24_bytes() {
        assert_eq!(size_of::<PeerIp>(), 24);
        for text in ["192.0.2.1:80", "[2001:db8::1]:443", "[fe80::1%3]:9"] {
            let ip: SocketAddr = text.parse().expect("an address");
            assert_eq!(Option::<SocketAddr>::from(PeerIp::from(Some(ip))), Some(ip));
        }
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(None)), None);
        let (mapped, plain) = ("[::ffff:192.0.2.1]:80".parse().ok(), "192.0.2.1:80".parse().ok());
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(mapped)), plain);
    }
}
