//! The keys of a server.

use super::shared::{Holds, Places, Probes, Shared};
use super::text::{lasting, of_permissions, of_time, of_word, permissions, word};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use super::tls::Tls;
use super::value::{Read, Value};
use super::{Key, Section, TableOf, read, write, write_table};
use crate::config::{Limits, Reuse, SocketOptions, Stack};
use crate::engine::Pinning;
use crate::placement::Placement;
use crate::settings::ServerConfig;
use serde::de::{Deserialize, Deserializer, MapAccess};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A server's table while it is read: addresses may stand before their network.
#[derive(Default)]
struct Server {
    config: ServerConfig,
    places: Places,
    probes: Probes,
}

impl Holds for Server {
    fn limits(&self) -> &Limits {
        &self.config.limits
    }

    fn limits_mut(&mut self) -> &mut Limits {
        &mut self.config.limits
    }

    fn socket(&self) -> &SocketOptions {
        &self.config.socket
    }

    fn socket_mut(&mut self) -> &mut SocketOptions {
        &mut self.config.socket
    }

    fn probes_mut(&mut self) -> &mut Probes {
        &mut self.probes
    }
}

const PLACEMENTS: [(&str, Placement); 3] = [
    ("least-connections", Placement::LeastConnections),
    ("round-robin", Placement::RoundRobin),
    ("kernel", Placement::Kernel),
];
const PINNINGS: [(&str, Pinning); 2] = [("free", Pinning::Free), ("pinned", Pinning::Pinned)];

const OWN: &[Key<Server>] = &[
    Key::new("network", |s, v| s.places.read_network(v), |_| Value::Nothing),
    Key::new(
        "address",
        |s, v| s.places.read_address(v),
        |s| Value::of_list(s.config.addresses.iter().map(Places::written).collect()),
    ),
    Key::text(
        "perm-file",
        |s, v| permissions(v).map(|bits| s.config.perm_file = bits),
        |s| of_permissions(s.config.perm_file),
    ),
    Key::new(
        "group-perm",
        |s, v| {
            s.config.group_perm = match v {
                Value::Whole(-1) => None,
                v => match v.number() {
                    Ok(group) if group < u32::MAX => Some(group),
                    _ => return Err("write the number of a group, or -1 for no change".to_owned()),
                },
            };
            Ok(())
        },
        |s| s.config.group_perm.into(),
    ),
    Key::new("reactors", |s, v| v.count().map(|count| s.config.reactors = count), |s| s.config.reactors.into()),
    Key::new(
        "placement",
        |s, v| word(&PLACEMENTS, v).map(|placement| s.config.placement = placement),
        |s| of_word(&PLACEMENTS, &s.config.placement),
    ),
    Key::new(
        "pinning",
        |s, v| word(&PINNINGS, v).map(|pinning| s.config.pinning = pinning),
        |s| of_word(&PINNINGS, &s.config.pinning),
    ),
    Key::new(
        "connections-max",
        |s, v| v.count().map(|count| s.config.connections_max = Some(count)),
        |s| s.config.connections_max.into(),
    ),
    Key::new(
        "per-peer-max",
        |s, v| v.count().map(|count| s.config.per_peer_max = Some(count)),
        |s| s.config.per_peer_max.into(),
    ),
    Key::new(
        "accepts-per-second",
        |s, v| v.count().map(|count| s.config.accepts_per_second = Some(count)),
        |s| s.config.accepts_per_second.into(),
    ),
    Key::new(
        "handshakes-max",
        |s, v| v.count().map(|count| s.config.handshakes_max = count),
        |s| s.config.handshakes_max.into(),
    ),
    Key::new(
        "handshake-threads",
        |s, v| v.count().map(|count| s.config.handshake_threads = Some(count)),
        |s| s.config.handshake_threads.into(),
    ),
    Key::new(
        "queued-bytes-max",
        |s, v| v.count().map(|bytes| s.config.queued_bytes_max = Some(bytes)),
        |s| s.config.queued_bytes_max.into(),
    ),
    Key::new("backlog", |s, v| v.count().map(|count| s.config.backlog = count), |s| s.config.backlog.into()),
    Key::new(
        "reuse-port",
        |s, v| v.truth().map(|may| s.config.reuse = if may { Reuse::Port } else { Reuse::Exclusive }),
        |s| (s.config.reuse == Reuse::Port).into(),
    ),
    Key::new(
        "v6-only",
        |s, v| v.truth().map(|is_only| s.config.stack = if is_only { Stack::V6Only } else { Stack::Dual }),
        |s| (s.config.stack == Stack::V6Only).into(),
    ),
    Key::new(
        "drain-timeout",
        |s, v| lasting(v).map(|time| s.config.drain_timeout = time),
        |s| of_time(s.config.drain_timeout),
    ),
];

impl Section for Server {
    const PATH: &'static str = "";
    const KEYS: &'static [&'static [Key<Server>]] = &[OWN, Shared::<Server>::LIMITS, Shared::<Server>::SOCKET];
    const TABLES: &'static [&'static str] = &["tls", "datagram"];
    const FOREIGN: &'static [(&'static str, &'static str)] = &[
        ("connect-timeout", "it is a client's; remove it"),
        ("read-timeout", "it is a client's; of a server's connections con-idle-timeout is"),
        ("write-timeout", "it is a client's; of a server's connections write-stall-timeout is"),
        ("bind", "it is a client's; where a server listens is its address"),
    ];

    fn read_table<'de, M: MapAccess<'de>>(&mut self, name: &'static str, map: &mut M) -> Result<(), M::Error> {
        if name == "datagram" {
            self.config.datagram = map.next_value_seed(TableOf::new())?.unwrap_or_default();
            return Ok(());
        }
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        {
            self.config.tls = map.next_value_seed(TableOf::new())?.and_then(Tls::into_enabled);
            Ok(())
        }
        #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
        map.next_value_seed(super::NoTls)
    }

    fn write_tables<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        if let Some(tls) = &self.config.tls {
            map.serialize_entry("tls", tls)?;
        }
        write_table(map, "datagram", &self.config.datagram)
    }

    fn finish(&mut self) -> Read<()> {
        self.config.addresses = self.places.addresses()?;
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        if self.config.tls.is_some() {
            let addresses = std::mem::take(&mut self.config.addresses);
            self.config.addresses = addresses.into_iter().map(|address| self.places.over_tls(address)).collect();
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ServerConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ServerConfig, D::Error> {
        read(from).map(|server: Server| server.config)
    }
}

impl Serialize for ServerConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write(&Server { config: self.clone(), places: Places::default(), probes: Probes::default() }, to)
    }
}
