//! Who a datagram comes from, or goes to.
//!
//! Owns the address, and from which of our own addresses to answer. Knows no socket.

use crate::address::{Address, AddressError};
use crate::net::system::{abstract_name, unix_name};
use crate::net::{SOCKADDR_UN_BYTES, unmapped};
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};
use std::net::{IpAddr, SocketAddr};

/// Who a datagram comes from, or goes to: an IP address and port, or a Unix address.
///
/// It owns what it holds and can be kept, to answer later. That of a datagram that came to a socket bound to all addresses
/// also holds which of them the datagram was for, so that the answer comes from there. Two are equal if that is equal,
/// too; [`DatagramPeer::ip`] tells the peer alone.
///
/// ```
/// use std::net::SocketAddr;
/// use windlass::DatagramPeer;
/// let ip: SocketAddr = "192.0.2.7:53".parse().unwrap();
/// let peer = DatagramPeer::from(ip);
/// assert_eq!(peer.ip(), Some(ip));
/// assert_eq!(peer.to_string(), "udp://192.0.2.7:53");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DatagramPeer {
    place: Place,
    /// Which of our addresses it wrote to.
    pub(in crate::net) via: Option<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Ip(SocketAddr),
    Unix(SocketAddrUnix),
    /// A Unix socket that is bound to nothing.
    Unnamed,
}

/// Where to send a datagram to, in the system's words.
pub(crate) enum Destination<'a> {
    Ip(SocketAddr),
    Unix(&'a SocketAddrUnix),
}

impl DatagramPeer {
    /// The peer at `address`, of a name with several addresses the first.
    ///
    /// # Threads
    /// Resolving a host name blocks.
    ///
    /// # Errors
    /// As [`Address::resolve`]; [`NoTarget`](AddressError::NoTarget) if it means all addresses, which nothing can be sent to.
    pub fn resolve(address: &Address) -> Result<DatagramPeer, AddressError> {
        let all = DatagramPeer::resolve_all(address)?;
        all.into_iter().next().ok_or_else(|| AddressError::NoAddress(address.to_string()))
    }

    /// The peers at all addresses of a name.
    pub(crate) fn resolve_all(address: &Address) -> Result<Vec<DatagramPeer>, AddressError> {
        let unix = match (address.path(), address.abstract_name()) {
            (Some(path), _) => SocketAddrUnix::new(path),
            (None, Some(name)) => abstract_name(name),
            (None, None) => return Ok(address.targets()?.into_iter().map(DatagramPeer::from).collect()),
        };
        // `Address` has checked its length.
        let unix = unix.map_err(|error| AddressError::ResolutionFailed(address.to_string(), error.into()))?;
        Ok(vec![DatagramPeer { place: Place::Unix(unix), via: None }])
    }

    /// Its IP address and port; `None` for Unix peers. A peer over IPv4 has its IPv4 address, on a socket of both families
    /// too; `[::ffff:192.0.2.7]:53` is the same as `192.0.2.7:53`.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Ip(ip) => Some(ip),
            Place::Unix(_) | Place::Unnamed => None,
        }
    }

    /// Whether it is a Unix socket without a name, which cannot be answered.
    pub fn is_unnamed(&self) -> bool {
        matches!(self.place, Place::Unnamed)
    }

    /// Whether a datagram can be sent to it: it has a name, a port, and an address other than 0.0.0.0 and [::], which would
    /// reach this machine instead of the sender.
    pub(crate) fn is_answerable(&self) -> bool {
        match self.place {
            Place::Ip(ip) => ip.port() != 0 && !ip.ip().is_unspecified(),
            Place::Unix(_) => true,
            Place::Unnamed => false,
        }
    }

    /// Which of our own addresses an answer comes from; `None` if the system chooses, as it does for what came to a group or
    /// to everybody.
    pub fn via(&self) -> Option<IpAddr> {
        self.via
    }

    /// It as an address.
    pub fn address(&self) -> Address {
        let unix = match &self.place {
            Place::Ip(ip) => return Address::udp(*ip),
            Place::Unnamed => return Address::unixgram_unnamed(),
            Place::Unix(unix) => unix,
        };
        let named = match (unix.path(), unix_name(unix)) {
            (Some(path), _) => {
                use std::os::unix::ffi::OsStrExt;
                Address::unixgram(std::ffi::OsStr::from_bytes(path.to_bytes()))
            }
            (None, Some(name)) => Address::unixgram_abstract(name),
            (None, None) => Ok(Address::unixgram_unnamed()),
        };
        // A peer may have bound a path that is one byte longer than ours may be.
        named.unwrap_or(Address::unixgram_unnamed())
    }

    /// The one that the system names.
    pub(crate) fn named(any: SocketAddrAny) -> DatagramPeer {
        let place = match any.address_family() {
            // rustix (1.1.6) asserts that this cannot happen.
            AddressFamily::UNIX if any.addr_len() as usize > SOCKADDR_UN_BYTES => Place::Unnamed,
            AddressFamily::UNIX => match SocketAddrUnix::try_from(any) {
                Ok(unix) if unix.path_bytes().is_some() || unix_name(&unix).is_some() => Place::Unix(unix),
                Ok(_) | Err(_) => Place::Unnamed,
            },
            _ => SocketAddr::try_from(any).map_or(Place::Unnamed, |ip| Place::Ip(unmapped(ip))),
        };
        DatagramPeer { place, via: None }
    }

    /// A Unix socket that is bound to nothing.
    pub(crate) fn unnamed() -> DatagramPeer {
        DatagramPeer { place: Place::Unnamed, via: None }
    }

    /// Where to send to; `None` where nobody can.
    pub(crate) fn destination(&self) -> Option<Destination<'_>> {
        match &self.place {
            Place::Ip(ip) => Some(Destination::Ip(*ip)),
            Place::Unix(unix) => Some(Destination::Unix(unix)),
            Place::Unnamed => None,
        }
    }

    /// A small number that equal peers share.
    pub(crate) fn digest(&self) -> usize {
        match &self.place {
            Place::Ip(SocketAddr::V4(v4)) => {
                let ip = u32::from(*v4.ip());
                (ip ^ ip >> 16) as usize ^ usize::from(v4.port()).wrapping_mul(31)
            }
            Place::Ip(SocketAddr::V6(v6)) => {
                let [.., a, b] = v6.ip().segments();
                usize::from(a) ^ usize::from(b) << 3 ^ usize::from(v6.port()).wrapping_mul(31)
            }
            Place::Unix(unix) => {
                let name = unix.path_bytes().or_else(|| unix_name(unix)).unwrap_or_default();
                name.iter().fold(0, |digest: usize, byte| digest.wrapping_mul(31) ^ usize::from(*byte))
            }
            Place::Unnamed => 0,
        }
    }
}

impl From<SocketAddr> for DatagramPeer {
    fn from(ip: SocketAddr) -> DatagramPeer {
        DatagramPeer { place: Place::Ip(unmapped(ip)), via: None }
    }
}

impl std::fmt::Display for DatagramPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for text in ["udp://127.0.0.1:53", "udp://[::1]:53", "unixgram:/tmp/a", "unixgram:@a b"] {
            let address: Address = text.parse().expect("an address");
            let peer = DatagramPeer::resolve(&address).expect("a peer");
            assert_eq!(peer.address(), address);
            assert!(!peer.is_unnamed() && peer.destination().is_some());
        }
    }

    #[test]
    fn who_has_no_name_cannot_be_reached() {
        let peer = DatagramPeer::unnamed();
        assert!(peer.is_unnamed() && peer.destination().is_none());
        assert_eq!(peer.to_string(), "unixgram:");
    }
}
