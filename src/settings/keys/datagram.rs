//! The table `datagram` of servers and clients.

use super::text::{Zero, indexed, switch};
use super::{Key, Scope, Section, Setting, fill, table};
use crate::config::datagram::{
    Broadcast, DatagramConfig, Fragmentation, Group, IcmpErrors, Interface, Loopback, Offload,
};
use crate::document::{Node, Read};

impl Section for DatagramConfig {
    const KEYS: &'static [&'static [Key<DatagramConfig>]] = &[&[
        Key::of("bytes-max", |d| Box::new(&mut d.bytes_max)),
        Key::of("queue-bytes-max", |d| Box::new(&mut d.queue_bytes_max)),
        Key::of("queue-datagrams-max", |d| Box::new(&mut d.queue_datagrams_max)),
        Key::of("send-timeout", |d| Box::new(&mut d.send_timeout)),
        Key::of("full-pause", |d| Box::new(&mut d.full_pause)),
        Key::of("datagrams-per-turn", |d| Box::new(&mut d.datagrams_per_turn)),
        Key::of("gso", |d| switch(&mut d.gso, Offload::On, Offload::Off)),
        Key::of("gro", |d| switch(&mut d.gro, Offload::On, Offload::Off)),
        Key::of("dont-fragment", |d| switch(&mut d.fragmentation, Fragmentation::Never, Fragmentation::Allowed)),
        Key::of("icmp-errors", |d| switch(&mut d.icmp_errors, IcmpErrors::Told, IcmpErrors::Ignored)),
        Key::of("broadcast", |d| switch(&mut d.broadcast, Broadcast::Allowed, Broadcast::Refused)),
        Key::of("ttl", |d| Box::new(&mut d.ttl)),
        Key::of("tos", |d| Box::new(Zero(&mut d.tos))),
        Key::of("multicast-groups", |d| Box::new(&mut d.multicast.groups)),
        Key::of("multicast-interface", |d| Box::new(&mut d.multicast.interface)),
        Key::of("multicast-ttl", |d| Box::new(Zero(&mut d.multicast.ttl))),
        Key::of("multicast-loopback", |d| switch(&mut d.multicast.loopback, Loopback::On, Loopback::Off)),
    ]];
}

impl Setting for DatagramConfig {
    fn read(&mut self, node: &Node) -> Read<()> {
        fill(self, &Scope::of::<DatagramConfig>(node)?)
    }

    fn write(&self) -> Node {
        let table = table(self, &DatagramConfig::default());
        if table.is_zero() { Node::Null } else { table }
    }
}

impl Setting for Vec<Group> {
    fn read(&mut self, node: &Node) -> Read<()> {
        let why = "write the IP address of a group, such as \"239.1.2.3\", or a list of them";
        let group = |node: &Node| node.text()?.parse().map(Group::new).map_err(|_| node.refused(why));
        *self = indexed(node, group)?;
        Ok(())
    }

    fn write(&self) -> Node {
        let written = |group: &Group| match group {
            Group { address, source: None, interface: Interface::Any } => address.to_string().into(),
            _ => Node::Unfit("a group with a source or an interface of its own"),
        };
        Node::of_list(self.iter().map(written).collect())
    }
}

impl Setting for Interface {
    fn read(&mut self, node: &Node) -> Read<()> {
        let address = node.text().ok().and_then(|text| text.parse().ok()).map(Interface::Address);
        let mut number = 0;
        let index = Zero(&mut number).read(node).ok().map(|()| Interface::Index(number));
        let why = "write the number of an interface, or its IPv4 address in quotes";
        *self = address.or(index).ok_or_else(|| node.refused(why))?;
        Ok(())
    }

    fn write(&self) -> Node {
        match self {
            Interface::Any => Node::Null,
            Interface::Index(number) => number.write(),
            Interface::Address(address) => address.to_string().into(),
        }
    }
}
