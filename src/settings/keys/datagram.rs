//! The table `datagram` of servers and clients.

use super::text::{lasting, of_time};
use super::value::Value;
use super::{Key, Section};
use crate::config::datagram::{
    Broadcast, DatagramConfig, Fragmentation, Group, IcmpErrors, Interface, Loopback, Offload,
};

impl Section for DatagramConfig {
    const PATH: &'static str = "datagram.";
    const KEYS: &'static [&'static [Key<DatagramConfig>]] = &[QUEUES, NETWORK];
}

const QUEUES: &[Key<DatagramConfig>] = &[
    Key::new("bytes-max", |d, v| v.count().map(|bytes| d.bytes_max = bytes), |d| d.bytes_max.into()),
    Key::new("queue-bytes-max", |d, v| v.count().map(|bytes| d.queue_bytes_max = bytes), |d| d.queue_bytes_max.into()),
    Key::new(
        "queue-datagrams-max",
        |d, v| v.count().map(|count| d.queue_datagrams_max = count),
        |d| d.queue_datagrams_max.into(),
    ),
    Key::new("send-timeout", |d, v| lasting(v).map(|time| d.send_timeout = time), |d| of_time(d.send_timeout)),
    Key::new("full-pause", |d, v| lasting(v).map(|time| d.full_pause = time), |d| of_time(d.full_pause)),
    Key::new(
        "datagrams-per-turn",
        |d, v| v.count().map(|count| d.datagrams_per_turn = count),
        |d| d.datagrams_per_turn.into(),
    ),
];

const NETWORK: &[Key<DatagramConfig>] = &[
    Key::new("gso", |d, v| v.truth().map(|is_on| d.gso = offload(is_on)), |d| (d.gso == Offload::On).into()),
    Key::new("gro", |d, v| v.truth().map(|is_on| d.gro = offload(is_on)), |d| (d.gro == Offload::On).into()),
    Key::new(
        "dont-fragment",
        |d, v| {
            v.truth().map(|never| d.fragmentation = if never { Fragmentation::Never } else { Fragmentation::Allowed })
        },
        |d| (d.fragmentation == Fragmentation::Never).into(),
    ),
    Key::new(
        "icmp-errors",
        |d, v| v.truth().map(|are_told| d.icmp_errors = if are_told { IcmpErrors::Told } else { IcmpErrors::Ignored }),
        |d| (d.icmp_errors == IcmpErrors::Told).into(),
    ),
    Key::new(
        "broadcast",
        |d, v| v.truth().map(|may| d.broadcast = if may { Broadcast::Allowed } else { Broadcast::Refused }),
        |d| (d.broadcast == Broadcast::Allowed).into(),
    ),
    Key::new("ttl", |d, v| v.count().map(|hops| d.ttl = Some(hops)), |d| d.ttl.into()),
    Key::new("tos", |d, v| v.number().map(|tos| d.tos = Some(tos)), |d| d.tos.into()),
    Key::new(
        "multicast-groups",
        |d, v| {
            let parse = |text: &str| match text.parse() {
                Ok(address) => Ok(Group::new(address)),
                Err(_) => Err(format!("{text:?} is no IP address; write those of groups, such as \"239.1.2.3\"")),
            };
            d.multicast.groups = v.texts()?.into_iter().map(parse).collect::<Result<_, _>>()?;
            Ok(())
        },
        |d| Value::of_list(d.multicast.groups.iter().map(of_group).collect()),
    ),
    Key::new(
        "multicast-interface",
        |d, v| {
            let address = v.text().ok().and_then(|text| text.parse().ok()).map(Interface::Address);
            let index = v.count().ok().map(Interface::Index);
            let why = "write the number of an interface, or its IPv4 address in quotes";
            d.multicast.interface = address.or(index).ok_or(why)?;
            Ok(())
        },
        |d| match d.multicast.interface {
            Interface::Any => Value::Nothing,
            Interface::Index(number) => number.into(),
            Interface::Address(address) => address.to_string().into(),
        },
    ),
    Key::new("multicast-ttl", |d, v| v.number().map(|hops| d.multicast.ttl = Some(hops)), |d| d.multicast.ttl.into()),
    Key::new(
        "multicast-loopback",
        |d, v| v.truth().map(|is_on| d.multicast.loopback = if is_on { Loopback::On } else { Loopback::Off }),
        |d| (d.multicast.loopback == Loopback::On).into(),
    ),
];

fn of_group(group: &Group) -> Value {
    match group {
        Group { address, source: None, interface: Interface::Any } => address.to_string().into(),
        _ => Value::Unfit("a group with a source or an interface of its own"),
    }
}

fn offload(is_on: bool) -> Offload {
    if is_on { Offload::On } else { Offload::Off }
}
