//! The peer's IP address and port, in 18 bytes: each connection has one.
//!
//! Owns the packing. An IPv6 flow label is dropped, and an IPv4 address that is mapped into IPv6 is one of IPv4.
//!
//! A scope, which link-local addresses alone have, is kept in the address: RFC 4291, section 2.5.6, has the 54 bits behind
//! fe80::/10 zero. Should somebody use them, the scope is not kept.

use crate::net::unmapped;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// An IP address and port, or none: no peer has port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerIp {
    /// Of IPv4, too, mapped.
    ip: [u8; 16],
    port: u16,
}

/// Where a scope stands in the address.
const SCOPE: std::ops::Range<usize> = 4..8;

/// Whether an address is link-local, and what may be its scope in it.
fn scope_of(ip: &Ipv6Addr) -> Option<u32> {
    let [0xfe, 0x80, 0, 0, a, b, c, d, ..] = ip.octets() else { return None };
    Some(u32::from_be_bytes([a, b, c, d]))
}

impl From<Option<SocketAddr>> for PeerIp {
    fn from(peer: Option<SocketAddr>) -> PeerIp {
        let Some(peer) = peer.map(unmapped) else { return PeerIp { ip: [0; 16], port: 0 } };
        let ip = match peer {
            SocketAddr::V4(v4) => v4.ip().to_ipv6_mapped().octets(),
            SocketAddr::V6(v6) => {
                let mut ip = v6.ip().octets();
                if scope_of(v6.ip()) == Some(0) {
                    ip[SCOPE].copy_from_slice(&v6.scope_id().to_be_bytes());
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
        let scope = scope_of(&ip.into()).unwrap_or(0);
        if scope != 0 {
            ip[SCOPE].fill(0);
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
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(None)), None);
        let (mapped, plain) = ("[::ffff:192.0.2.1]:80".parse().ok(), "192.0.2.1:80".parse().ok());
        assert_eq!(Option::<SocketAddr>::from(PeerIp::from(mapped)), plain);
    }
}
