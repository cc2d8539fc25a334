//! The keys of a client.

use super::shared::{Holds, Places, Probes, Shared};
use super::text::{lasting, of_time};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use super::tls::Tls;
use super::value::{Read, Value};
use super::{Key, Section, TableOf, read, write, write_table};
use crate::address::{Address, Transport};
use crate::config::{Limits, SocketOptions};
use crate::settings::ClientConfig;
use serde::de::{Deserialize, Deserializer, MapAccess};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::net::SocketAddr;

/// A client's table while it is read. Its address comes last.
struct Client {
    config: ClientConfig,
    places: Places,
    probes: Probes,
}

impl Default for Client {
    fn default() -> Client {
        Client {
            config: ClientConfig::new(Address::unix_unnamed()),
            places: Places::default(),
            probes: Probes::default(),
        }
    }
}

impl Holds for Client {
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

const OWN: &[Key<Client>] = &[
    Key::new("network", |s, v| s.places.read_network(v), |_| Value::Nothing),
    Key::new("address", |s, v| s.places.read_address(v), |s| Places::written(&s.config.address)),
    Key::new(
        "bind",
        |s, v| {
            let text = v.text()?;
            let ip = text.parse::<SocketAddr>().map(Address::tcp);
            let unfit = |_| "write IP:PORT, as in \"127.0.0.1:0\", or unixgram:/PATH".to_owned();
            s.config.bind = Some(ip.or_else(|_| text.parse()).map_err(unfit)?);
            Ok(())
        },
        |s| match s.config.bind.as_ref() {
            None => Value::Nothing,
            Some(bind) => bind.ip().map_or_else(|| Places::written(bind), |ip| ip.to_string().into()),
        },
    ),
    Key::new(
        "connect-timeout",
        |s, v| lasting(v).map(|time| s.config.limits.connect_timeout = time),
        |s| of_time(s.config.limits.connect_timeout),
    ),
    Key::new(
        "read-timeout",
        |s, v| lasting(v).map(|time| s.config.read_timeout = Some(time)),
        |s| s.config.read_timeout.map(of_time).into(),
    ),
    Key::new(
        "write-timeout",
        |s, v| lasting(v).map(|time| s.config.write_timeout = Some(time)),
        |s| s.config.write_timeout.map(of_time).into(),
    ),
];

impl Section for Client {
    const PATH: &'static str = "";
    const KEYS: &'static [&'static [Key<Client>]] = &[OWN, Shared::<Client>::LIMITS, Shared::<Client>::SOCKET];
    const TABLES: &'static [&'static str] = &["tls", "datagram"];
    const FOREIGN: &'static [(&'static str, &'static str)] = &[
        ("perm-file", "it is a server's; remove it"),
        ("group-perm", "it is a server's; remove it"),
        ("backlog", "it is a server's; remove it"),
        ("connections-max", "it is a server's; remove it"),
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
        let mut addresses = self.places.addresses()?;
        let Some(address) = addresses.pop() else {
            return Err("address cannot be missing: say what to connect to, as in \"tcp://localhost:8080\"".to_owned());
        };
        if !addresses.is_empty() {
            return Err("address cannot be a list: a client connects to one; give the first alone".to_owned());
        }
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        let address = if self.config.tls.is_some() { self.places.over_tls(address) } else { address };
        if address.transport() == Transport::Udp {
            self.config.bind = self.config.bind.take().map(|bind| bind.ip().map_or(bind, Address::udp));
        }
        self.config.address = address;
        Ok(())
    }
}

impl<'de> Deserialize<'de> for ClientConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ClientConfig, D::Error> {
        read(from).map(|client: Client| client.config)
    }
}

impl Serialize for ClientConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write(&Client { config: self.clone(), places: Places::default(), probes: Probes::default() }, to)
    }
}
