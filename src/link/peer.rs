//! The peer's IP address and port, in 18 bytes: each connection has one.
//!
//! Owns the packing. An IPv6 flow label is dropped, and an IPv4 address that is mapped into IPv6 is one of IPv4.
//!
//! A scope, which link-local addresses alone have, is kept in the address: RFC 4291, section 2.5.6, has the 54 bits behind
//! fe80::/10 zero. What is kept so begins as a multicast address does, which no peer has. Should somebody use those bits,
//! the address is kept as it is, without its scope.

use crate::net::unmapped;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An IP address and port, or none: no peer has port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerIp {
    /// Of IPv4, too, mapped.
    ip: [u8; 16],
    port: u16,
}

/// How a link-local address begins, and what it begins with when its scope stands behind that.
const LINK_LOCAL: [u8; 8] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0];
const SCOPED: [u8; 4] = [0xff, 0x80, 0, 0];

impl From<Option<SocketAddr>> for PeerIp {
    fn from(peer: Option<SocketAddr>) -> PeerIp {
        let Some(peer) = peer.map(unmapped) else { return PeerIp { ip: [0; 16], port: 0 } };
        let ip = match peer {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
            SocketAddr::V6(v6) => {
                let mut ip = v6.ip().octets();
                if v6.scope_id() != 0 && ip.starts_with(&LINK_LOCAL) {
                    ip[..4].copy_from_slice(&SCOPED);
                    ip[4..8].copy_from_slice(&v6.scope_id().to_be_bytes());
                }
                ip
            }
        };
        PeerIp { ip, port: peer.port() }
    }
}

impl From<PeerIp> for Option<SocketAddr> {
    fn from(PeerIp { mut ip, port }: PeerIp) -> Option<SocketAddr> {
        if port == 0 {
            return None;
        }
        let mut scope = 0;
        if let [0xff, 0x80, 0, 0, a, b, c, d, ..] = ip {
            scope = u32::from_be_bytes([a, b, c, d]);
            ip[..8].copy_from_slice(&LINK_LOCAL);
        }
        Some(match IpAddr::V6(ip.into()).to_canonical() {
            IpAddr::V4(v4) => SocketAddr::from((v4, port)),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was_and_takes_18_bytes() {
        assert_eq!(size_of::<PeerIp>(), 18);
        let texts = ["192.0.2.1:80", "0.0.0.0:1", "[2001:db8::1]:443", "[::1]:65535", "[fe80::1%3]:9", "[fe80::1]:9"];
        for text in texts.into_iter().chain(["[fe80::ffff:ffff:ffff:ffff%4294967295]:9", "[ff02::1]:9"]) {
            let ip: SocketAddr = text.parse().expect("an address");
            assert_eq!(Option::<SocketAddr>::from(PeerIp::from(Some(ip))), Some(ip));
        }
        // Bits that others leave zero are no scope.
        let used: SocketAddr = "[fe80:0:1:2::1]:9".parse().expect("an address");
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(Some(used))), Some(used));
        let scoped = "[fe80:0:1:2::1%3]:9".parse().ok();
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(scoped)), Some(used));
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(None)), None);
        let (mapped, plain) = ("[::ffff:192.0.2.1]:80".parse().ok(), "192.0.2.1:80".parse().ok());
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(mapped)), plain);
    }
}
