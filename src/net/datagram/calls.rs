//! What calls for many datagrams are told and tell, whatever the system.

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Messages that are sent in one call.
pub(crate) const SENT: usize = 64;

/// Where one datagram after another is received.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// From one to the next.
    pub(crate) step: usize,
    /// The longest datagram that one holds.
    pub(crate) len: usize,
}

/// What the messages of one call have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Common {
    /// Longer messages are cut into datagrams so long.
    pub(crate) segment: Option<u16>,
    /// Which of our addresses they come from.
    pub(crate) via: Option<IpAddr>,
}

/// An error that the network answered to a datagram, ip(7) "IP_RECVERR".
#[derive(Debug)]
pub(crate) struct NetworkError {
    /// Where the datagram was to go.
    pub(crate) to: Option<SocketAddr>,
    /// Who says so; `None` if it is this host.
    pub(crate) by: Option<IpAddr>,
    /// Type and code of the ICMP message.
    pub(crate) icmp: Option<(u8, u8)>,
    pub(crate) source: io::Error,
}
