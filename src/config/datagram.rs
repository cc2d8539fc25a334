//! What a datagram socket is told before it is used, and what may wait on it.
//!
//! Owns the numbers and what is wrong with them. Knows nothing of who keeps them.

use crate::address::Address;
use crate::config::{Reuse, SocketOptions, Stack, lasting, positive, refuse};
use crate::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The most bytes that one datagram is received with: more than UDP can carry, and what the kernel joins at most.
pub(crate) const DATAGRAM_BYTES: usize = 64 * 1024;

/// Whether the kernel, or the network card, cuts and joins datagrams for us; udp(7), UDP_SEGMENT and UDP_GRO.
///
/// ```
/// use windlass::{DatagramConfig, Offload};
/// let config = DatagramConfig { gso: Offload::Off, gro: Offload::Off, ..DatagramConfig::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// It does, where it can.
    On,
    /// It does not.
    Off,
}

/// Whether datagrams that are too long for the way may be cut into IP fragments.
///
/// ```
/// use windlass::{DatagramConfig, Fragmentation};
/// let config = DatagramConfig { fragmentation: Fragmentation::Never, ..DatagramConfig::default() };
/// config.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragmentation {
    /// They may: the don't-fragment bit is off, whatever the system's default.
    Allowed,
    /// They may not: the bit is on, and a datagram longer than the path is known to carry fails with EMSGSIZE. Linux
    /// alone; elsewhere binding is refused with it (`Unsupported`).
    Never,
}

/// Whether the errors are told that the network answers with; ip(7), IP_RECVERR.
///
/// ```
/// use windlass::{DatagramConfig, IcmpErrors};
/// let config = DatagramConfig { icmp_errors: IcmpErrors::Told, ..DatagramConfig::default() };
/// config.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpErrors {
    /// They are told to `on_error`, of unconnected sockets too, and so is a send queue of the network that is full. Elsewhere
    /// than on Linux only as with `Ignored`.
    /// Of a [`Client`](crate::Client) the next call returns the oldest of them.
    Told,
    /// Only a connected socket is told, and only of a port or host that refuses.
    Ignored,
}

/// Whether datagrams may go to broadcast addresses; socket(7), SO_BROADCAST.
///
/// ```
/// use windlass::{Broadcast, DatagramConfig};
/// let config = DatagramConfig { broadcast: Broadcast::Allowed, ..DatagramConfig::default() };
/// config.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// They may.
    Allowed,
    /// They fail with EACCES.
    Refused,
}

/// Whether what this host sends to a multicast group comes back to its own members; ip(7), IP_MULTICAST_LOOP.
///
/// ```
/// use windlass::{Loopback, Multicast};
/// let multicast = Multicast { loopback: Loopback::Off, ..Multicast::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loopback {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// A network interface of this host.
///
/// ```
/// use windlass::{Interface, Multicast};
/// let multicast = Multicast { interface: Interface::Any, ..Multicast::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// The one that the system's routes choose.
    Any,
    /// By its number; netdevice(7). Elsewhere than on Linux what is sent to groups of IPv4 cannot be said so (`Unsupported`);
    /// nor, on NetBSD, OpenBSD and illumos, which of them are joined.
    Index(u32),
    /// By its IPv4 address. What a socket of both families sends to groups of IPv6 leaves where the system's routes say.
    Address(Ipv4Addr),
}

/// A multicast group to be a member of.
///
/// ```
/// use windlass::{DatagramConfig, Group, Interface, Multicast};
/// // mDNS, on all interfaces that the system chooses.
/// let group = Group { address: [224, 0, 0, 251].into(), source: None, interface: Interface::Any };
/// let multicast = Multicast { groups: vec![group], ..Multicast::default() };
/// let config = DatagramConfig { multicast, ..DatagramConfig::default() };
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's address, of the socket's family.
    pub address: IpAddr,
    /// Only what this host sends to it (source-specific, RFC 4607; IPv4). NetBSD, OpenBSD and DragonFly refuse it
    /// (`Unsupported`). Default: whatever anybody sends.
    pub source: Option<Ipv4Addr>,
    /// Where to listen.
    pub interface: Interface,
}

impl Group {
    /// Whatever anybody sends to `address`, on the interface that the system chooses.
    pub fn new(address: IpAddr) -> Group {
        Group { address, source: None, interface: Interface::Any }
    }
}

/// What is said of multicast.
///
/// ```
/// use windlass::{DatagramConfig, Loopback, Multicast};
/// // Stays within 4 routers, and does not come back to this host.
/// let multicast = Multicast { ttl: Some(4), loopback: Loopback::Off, ..Multicast::default() };
/// let config = DatagramConfig { multicast, ..DatagramConfig::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Multicast {
    /// Groups to be joined before `on_bound`; `Datagrams::join` joins more. Default: none. Nothing is received of groups that
    /// only other sockets of this host have joined, those of all hosts (224.0.0.1, ff02::1) among them: IP_MULTICAST_ALL
    /// and IPV6_MULTICAST_ALL are off (Linux). A hook may turn them on again; an adopted socket keeps what it has.
    pub groups: Vec<Group>,
    /// How many hops datagrams to groups go. Default: the system's, which is 1.
    pub ttl: Option<u8>,
    /// Default: on.
    pub loopback: Loopback,
    /// Where datagrams to groups leave. Default: any.
    pub interface: Interface,
}

impl Default for Multicast {
    fn default() -> Multicast {
        Multicast { groups: Vec::new(), ttl: None, loopback: Loopback::On, interface: Interface::Any }
    }
}

/// How to bind a datagram socket, and what it may use.
///
/// What is said of hops, type of service, fragments and groups holds for both families of a socket that has both.
///
/// What is said of IP has no effect on Unix sockets: `stack`, `reuse`, `gso`, `gro`, `fragmentation`, `icmp_errors`, `broadcast`,
/// `ttl`, `tos` and `multicast`; and `unix_mode` and `unix_group` have none on others.
///
/// A [`Client`](crate::Client) has no queue: it refuses `queue_bytes_max`, `queue_datagrams_max`, `send_timeout` (its write
/// timeout counts) and `datagrams_per_turn` unless they are as by default, and `gso` has no effect.
///
/// ```
/// use std::time::Duration;
/// use windlass::DatagramConfig;
/// let config = DatagramConfig {
///     bytes_max: 1500,
///     queue_datagrams_max: 1000,
///     send_timeout: Duration::from_secs(1),
///     ..DatagramConfig::default()
/// };
/// config.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DatagramConfig {
    /// Buffer sizes, linger and the hook; what is TCP's own there has no effect.
    pub socket: SocketOptions,
    /// For `udp://` addresses of both families: which the socket takes. Default: dual; `udp6://` is always IPv6 only.
    pub stack: Stack,
    /// Default: exclusive. With `Port` the kernel spreads senders over the sockets (Linux, FreeBSD and DragonFly; elsewhere one of
    /// them may get all), and hands each datagram of a multicast group to all of them.
    pub reuse: Reuse,
    /// The socket file's permission bits. Elsewhere than on Linux the file has those that the umask leaves for a moment, while
    /// datagrams can reach it. Default: 0o770.
    pub unix_mode: u32,
    /// The socket file's group, by number. Default: unchanged.
    pub unix_group: Option<u32>,
    /// The own address of a socket that is connected. Default: one that the system chooses, so that answers come back; for
    /// Unix sockets too on Linux. Elsewhere a connected Unix socket is refused without one.
    pub bind: Option<Address>,
    /// The longest datagram that is received whole; of a longer one the first bytes are shown. Default: 64 KiB, which is
    /// all that UDP can carry.
    pub bytes_max: usize,
    /// Bytes that may wait to be sent. Default: 1 MiB.
    pub queue_bytes_max: usize,
    /// Datagrams that may wait to be sent. Default: 4,096.
    pub queue_datagrams_max: usize,
    /// How long a datagram may wait to be sent; then it is dropped and told to `on_error`. Default: 10 s.
    pub send_timeout: Duration,
    /// How long sending pauses when the network's own queue is full (ENOBUFS), which no event announces the end of.
    /// Default: 10 ms.
    pub full_pause: Duration,
    /// Datagrams that are received in one turn. Default: 256.
    pub datagrams_per_turn: usize,
    /// Datagrams of one length to one peer leave as one. Where the network's own queue is short of room, a part of them may
    /// be lost there without ENOBUFS; `Off` tells all of it. Elsewhere than on Linux they leave
    /// one by one. Default: on.
    pub gso: Offload,
    /// Datagrams of one length from one peer come as one; good for streams of few senders. Each call then receives from
    /// one sender, where without it a call receives from up to 32. Elsewhere than on Linux each
    /// call receives one, either way. Default: off.
    pub gro: Offload,
    /// Default: allowed.
    pub fragmentation: Fragmentation,
    /// Default: told.
    pub icmp_errors: IcmpErrors,
    /// Default: refused.
    pub broadcast: Broadcast,
    /// How many hops datagrams go; IP_TTL, IPV6_UNICAST_HOPS. Default: the system's. From a socket of both families those over
    /// IPv4 obey this, `tos` and `multicast` on Linux; other systems may apply them over IPv6 alone.
    pub ttl: Option<u8>,
    /// Type of service or traffic class, the two bits of ECN among them; IP_TOS, IPV6_TCLASS. Default: 0.
    pub tos: Option<u8>,
    /// Membership of groups, and how to send to them.
    pub multicast: Multicast,
}

impl Default for DatagramConfig {
    fn default() -> DatagramConfig {
        DatagramConfig {
            socket: SocketOptions::default(),
            stack: Stack::Dual,
            reuse: Reuse::Exclusive,
            unix_mode: 0o770,
            unix_group: None,
            bind: None,
            bytes_max: DATAGRAM_BYTES,
            queue_bytes_max: 1024 * 1024,
            queue_datagrams_max: 4096,
            send_timeout: Duration::from_secs(10),
            full_pause: Duration::from_millis(10),
            datagrams_per_turn: 256,
            gso: Offload::On,
            gro: Offload::Off,
            fragmentation: Fragmentation::Allowed,
            icmp_errors: IcmpErrors::Told,
            broadcast: Broadcast::Refused,
            ttl: None,
            tos: None,
            multicast: Multicast::default(),
        }
    }
}

/// The largest `bytes_max`: one datagram takes no more of the reactor's scratch.
const RECEIVED_BYTES_MAX: usize = 1024 * 1024;

impl DatagramConfig {
    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        positive("bytes_max", self.bytes_max)?;
        positive("queue_bytes_max", self.queue_bytes_max)?;
        positive("queue_datagrams_max", self.queue_datagrams_max)?;
        positive("datagrams_per_turn", self.datagrams_per_turn)?;
        lasting("send_timeout", self.send_timeout)?;
        lasting("full_pause", self.full_pause)?;
        super::validate_file(self.unix_mode, self.unix_group)?;
        self.socket.validate()?;
        if self.bytes_max > RECEIVED_BYTES_MAX {
            return refuse("bytes_max", self.bytes_max, "it must be at most 1 MiB");
        }
        if self.queue_bytes_max > u32::MAX as usize {
            return refuse("queue_bytes_max", self.queue_bytes_max, "it must be below 4 GiB");
        }
        if self.ttl == Some(0) {
            return refuse("ttl", 0, "no datagram goes nowhere; it must be at least 1");
        }
        for group in &self.multicast.groups {
            group.validate()?;
        }
        Ok(())
    }
}

impl Group {
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if !self.address.is_multicast() {
            return refuse("group", self.address, "it must be a multicast address, in 224.0.0.0/4 or ff00::/8");
        }
        if let Some(source) = self.source.filter(|_| self.address.is_ipv6()) {
            return refuse("group source", source, "of IPv6 groups only whatever anybody sends can be received");
        }
        if self.address.is_ipv6() && matches!(self.interface, Interface::Address(_)) {
            return refuse("group interface", self.interface, "IPv6 interfaces are named by their number");
        }
        if self.source.is_some() && matches!(self.interface, Interface::Index(_)) {
            return refuse("group interface", self.interface, "with a source it is named by its address");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_field() {
        let base = DatagramConfig::default;
        let grouped = |group| DatagramConfig {
            multicast: Multicast { groups: vec![group], ..Multicast::default() },
            ..DatagramConfig::default()
        };
        let v6 = Group::new("ff02::1".parse().expect("an address"));
        let cases = [
            ("bytes_max", DatagramConfig { bytes_max: 0, ..base() }),
            ("bytes_max", DatagramConfig { bytes_max: 2 << 20, ..base() }),
            ("queue_bytes_max", DatagramConfig { queue_bytes_max: 0, ..base() }),
            ("queue_datagrams_max", DatagramConfig { queue_datagrams_max: 0, ..base() }),
            ("datagrams_per_turn", DatagramConfig { datagrams_per_turn: 0, ..base() }),
            ("send_timeout", DatagramConfig { send_timeout: Duration::ZERO, ..base() }),
            ("full_pause", DatagramConfig { full_pause: Duration::ZERO, ..base() }),
            ("unix_mode", DatagramConfig { unix_mode: 0o1000, ..base() }),
            ("unix_group", DatagramConfig { unix_group: Some(u32::MAX), ..base() }),
            ("ttl", DatagramConfig { ttl: Some(0), ..base() }),
            ("group", grouped(Group::new("10.0.0.1".parse().expect("an address")))),
            ("group source", grouped(Group { source: Some(Ipv4Addr::LOCALHOST), ..v6 })),
            ("group interface", grouped(Group { interface: Interface::Address(Ipv4Addr::LOCALHOST), ..v6 })),
        ];
        base().validate().expect("the defaults");
        for (field, config) in cases {
            let error = config.validate().expect_err(field);
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
