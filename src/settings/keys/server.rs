//! The keys of a server.

use super::shared::{Holds, Shared, address, hook, network_key, of_address};
use super::text::{indexed, of_permissions, permissions, switch, time, words};
use super::{Key, Section, Setting, file, read, table};
use crate::config::{Limits, Reuse, SocketOptions, Stack};
use crate::document::Node;
use crate::engine::Pinning;
use crate::placement::Placement;
use crate::settings::ServerConfig;

impl Holds for ServerConfig {
    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    fn socket(&mut self) -> &mut SocketOptions {
        &mut self.socket
    }
}

const PLACEMENTS: &[(&str, Placement)] = &[
    ("least-connections", Placement::LeastConnections),
    ("round-robin", Placement::RoundRobin),
    ("kernel", Placement::Kernel),
];

const OWN: &[Key<ServerConfig>] = &[
    network_key(),
    Key::own(
        "address",
        |s, node, scope| {
            s.addresses = indexed(node, |node| address(node, scope))?;
            let why = "name at least one, such as \"tcp://:8080\"";
            if s.addresses.is_empty() { Err(node.refused(why)) } else { Ok(()) }
        },
        |s| Node::of_list(s.addresses.iter().map(of_address).collect()),
    ),
    Key::own(
        "perm-file",
        |s, node, _| permissions(node).map(|bits| s.perm_file = bits.unwrap_or(s.perm_file)),
        |s| of_permissions(s.perm_file),
    ),
    Key::own(
        "group-perm",
        |s, node, _| {
            s.group_perm = match node {
                Node::Whole(-1) => None,
                Node::Whole(group @ 0..0xffff_ffff) => u32::try_from(*group).ok(),
                _ => return Err(node.refused("write the number of a group, or -1 for no change")),
            };
            Ok(())
        },
        |s| s.group_perm.write(),
    ),
    Key::of("reactors", |s| Box::new(&mut s.reactors)),
    Key::of("placement", |s| words(&mut s.placement, PLACEMENTS)),
    Key::of("pinning", |s| words(&mut s.pinning, &[("free", Pinning::Free), ("pinned", Pinning::Pinned)])),
    Key::of("connections-max", |s| Box::new(&mut s.connections_max)),
    Key::of("per-peer-max", |s| Box::new(&mut s.per_peer_max)),
    Key::of("accepts-per-second", |s| Box::new(&mut s.accepts_per_second)),
    Key::of("handshakes-max", |s| Box::new(&mut s.handshakes_max)),
    Key::of("handshake-threads", |s| Box::new(&mut s.handshake_threads)),
    Key::of("queued-bytes-max", |s| Box::new(&mut s.queued_bytes_max)),
    Key::of("backlog", |s| Box::new(&mut s.backlog)),
    Key::of("reuse-port", |s| switch(&mut s.reuse, Reuse::Port, Reuse::Exclusive)),
    Key::of("v6-only", |s| switch(&mut s.stack, Stack::V6Only, Stack::Dual)),
    Key::own("drain-timeout", |s, n, _| time(n).map(|time| s.drain_timeout = time), |s| s.drain_timeout.write()),
];

const TABLES: &[Key<ServerConfig>] = &[
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    Key::own(
        "tls",
        |s, node, scope| {
            s.tls = super::tls::read_tls(node)?;
            if scope.said("network").is_some() && s.tls.is_some() {
                s.addresses = s.addresses.drain(..).map(crate::address::Address::over_tls).collect();
            }
            Ok(())
        },
        |s| super::tls::write_tls(s.tls.as_ref()),
    ),
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    super::shared::no_tls(),
    Key::of("datagram", |s| Box::new(&mut s.datagram)),
];

/// A server connects to nobody: what is said of it would be lost.
const fn connect_timeout() -> Key<ServerConfig> {
    Key::own(
        "connect-timeout",
        |_, _, _| Ok(()),
        |s| match s.limits.connect_timeout == Limits::default().connect_timeout {
            true => Node::Null,
            false => Node::Unfit("a connect timeout of a server"),
        },
    )
}

impl Section for ServerConfig {
    const KEYS: &'static [&'static [Key<ServerConfig>]] = &[OWN, Shared::<ServerConfig>::KEYS, TABLES];
    const OLD: &'static [&'static [Key<ServerConfig>]] = &[&[hook(), connect_timeout()]];
    const FOREIGN: &'static [(&'static str, &'static str)] = &[
        ("connect-timeout", "it is a client's; remove it"),
        ("read-timeout", "it is a client's; of a server's connections con-idle-timeout is"),
        ("write-timeout", "it is a client's; of a server's connections write-stall-timeout is"),
        ("bind", "it is a client's; where a server listens is its address"),
    ];
}

file!(ServerConfig, |from| read(ServerConfig::default(), from), |config| table(config, &ServerConfig::default()));
