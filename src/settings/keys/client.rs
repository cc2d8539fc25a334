//! The keys of a client.

use super::shared::{Holds, Shared, address, hook, network_key, of_address, taken};
use super::{Key, Section, file, read, table};
use crate::address::{Address, Transport};
use crate::config::{Limits, SocketOptions};
use crate::document::Node;
use crate::settings::ClientConfig;
use serde::de::{Deserializer, Error};
use std::net::SocketAddr;

impl Holds for ClientConfig {
    fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    fn socket(&mut self) -> &mut SocketOptions {
        &mut self.socket
    }
}

const OWN: &[Key<ClientConfig>] = &[
    network_key(),
    Key::own(
        "address",
        |s, node, scope| {
            let one = if let Node::List(list) = node { list } else { std::slice::from_ref(node) };
            let [one] = one else { return Err(node.refused_unseen("a client connects to one; give it alone")) };
            address(one, scope).map(|address| s.address = address)
        },
        |s| of_address(&s.address),
    ),
    Key::own(
        "bind",
        |s, node, _| {
            let text = node.text()?;
            let ip = text.parse::<SocketAddr>();
            let is_udp = s.address.transport() == Transport::Udp;
            let ip = ip.map(|ip| if is_udp { Address::udp(ip) } else { Address::tcp(ip) });
            let why = "write IP:PORT, as in \"127.0.0.1:0\", or unixgram:/PATH";
            let bind = ip.or_else(|_| text.parse()).map_err(|_| node.refused(why))?;
            s.bind = Some(taken(node, bind)?);
            Ok(())
        },
        |s| {
            let written = |bind: &Address| bind.ip().map_or_else(|| of_address(bind), |ip| ip.to_string().into());
            s.bind.as_ref().map_or(Node::Null, written)
        },
    ),
    Key::of("connect-timeout", |s| Box::new(&mut s.limits.connect_timeout)),
    Key::of("read-timeout", |s| Box::new(&mut s.read_timeout)),
    Key::of("write-timeout", |s| Box::new(&mut s.write_timeout)),
];

const TABLES: &[Key<ClientConfig>] = &[
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    Key::own(
        "tls",
        |s, node, scope| {
            s.tls = super::tls::read_tls(node)?;
            if s.tls.is_none() && s.address.transport().is_tls() {
                let why = "to trust the platform's roots, leave the table out; to trust whom it says, set tls.enabled to true";
                let told = format!("cannot be off for {}: {why}; or write tcp:// or unix:", s.address);
                return Err(crate::document::Refusal::new(told));
            }
            if scope.said("network").is_some() && s.tls.is_some() {
                s.address = s.address.clone().over_tls();
            }
            Ok(())
        },
        |s| super::tls::write_tls(s.tls.as_ref()),
    ),
    #[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
    super::shared::no_tls(),
    Key::of("datagram", |s| Box::new(&mut s.datagram)),
];

const SERVERS: &str = "it is a server's; remove it";

impl Section for ClientConfig {
    const KEYS: &'static [&'static [Key<ClientConfig>]] = &[OWN, Shared::<ClientConfig>::KEYS, TABLES];
    const OLD: &'static [&'static [Key<ClientConfig>]] = &[&[hook()]];
    const FOREIGN: &'static [(&'static str, &'static str)] =
        &[("perm-file", SERVERS), ("group-perm", SERVERS), ("backlog", SERVERS), ("connections-max", SERVERS)];
}

/// One that is still to be told its address.
fn blank() -> ClientConfig {
    ClientConfig::new(Address::unix_unnamed())
}

fn read_client<'de, D: Deserializer<'de>>(from: D) -> Result<ClientConfig, D::Error> {
    let config = read(blank(), from)?;
    let why = "address cannot be missing: say what to connect to, as in \"tcp://localhost:8080\"";
    if config.address == blank().address { Err(D::Error::custom(why)) } else { Ok(config) }
}

file!(ClientConfig, read_client, |config| table(config, &blank()));
