//! Keys that servers and clients share: limits of connections, options of sockets, addresses.

use super::text::{Unsaid, Zero, is_rooted, switch, time};
use super::{Key, Scope, Section, Setting};
use crate::address::{Address, AddressError};
use crate::config::{Keepalive, Limits, Nodelay, SocketOptions};
use crate::document::{Node, Read};
use crate::shown::{scrubbed, shown};
use std::marker::PhantomData;

/// A table that holds limits and options.
pub(super) trait Holds: Section {
    fn limits(&mut self) -> &mut Limits;
    fn socket(&mut self) -> &mut SocketOptions;
}

/// The keys, for a table that holds what they are about.
pub(super) struct Shared<S>(PhantomData<S>);

impl<S: Holds> Shared<S> {
    pub(super) const KEYS: &'static [Key<S>] = &[
        Key::also(&["idle-timeout"], Key::of("con-idle-timeout", |s| Box::new(Unsaid(&mut s.limits().idle_timeout)))),
        Key::of("handshake-timeout", |s| Box::new(&mut s.limits().handshake_timeout)),
        Key::of("write-stall-timeout", |s| Box::new(&mut s.limits().write_stall_timeout)),
        Key::of("lifetime", |s| Box::new(&mut s.limits().lifetime)),
        Key::of("linger-timeout", |s| Box::new(&mut s.limits().linger_timeout)),
        Key::of("linger-total", |s| Box::new(&mut s.limits().linger_total)),
        Key::of("inbox-bytes-max", |s| Box::new(&mut s.limits().inbox_bytes_max)),
        Key::of("outbox-bytes-max", |s| Box::new(&mut s.limits().outbox_bytes_max)),
        Key::of("outbox-bytes-high", |s| Box::new(&mut s.limits().outbox_bytes_high)),
        Key::of("outbox-bytes-low", |s| Box::new(Zero(&mut s.limits().outbox_bytes_low))),
        Key::of("bytes-per-turn", |s| Box::new(&mut s.limits().bytes_per_turn)),
        Key::of("reads-per-turn", |s| Box::new(&mut s.limits().reads_per_turn)),
        Key::of("nodelay", |s| switch(&mut s.socket().nodelay, Nodelay::On, Nodelay::Off)),
        Key::of("keepalive", |s| switch(&mut s.socket().keepalive, Some(Keepalive::default()), None)),
        Key::own("keepalive-idle", |s, n, _| detail(s, n)?.idle.read(n), |s| of_detail(s, |k| k.idle.write())),
        Key::own(
            "keepalive-interval",
            |s, n, _| detail(s, n)?.interval.read(n),
            |s| of_detail(s, |k| k.interval.write()),
        ),
        Key::own("keepalive-count", |s, n, _| detail(s, n)?.count.read(n), |s| of_detail(s, |k| k.count.write())),
        Key::of("receive-buffer-bytes", |s| Box::new(&mut s.socket().receive_buffer_bytes)),
        Key::of("send-buffer-bytes", |s| Box::new(&mut s.socket().send_buffer_bytes)),
        Key::of("user-timeout", |s| Box::new(&mut s.socket().user_timeout)),
        Key::own(
            "linger",
            |s, node, _| time(node).map(|time| s.socket().linger = Some(time)),
            |s| s.socket().linger.write(),
        ),
    ];
}

/// What no file can say; it is refused when it is written.
pub(super) const fn hook<S: Holds>() -> Key<S> {
    let read =
        |_: &mut S, node: &Node, _: &Scope<'_>| Err(node.refused_unseen("a hook cannot be read; set it in code"));
    let write = |s: &mut S| s.socket().prepare.map_or(Node::Null, |_| Node::Unfit("a hook of sockets"));
    Key::own("prepare", read, write)
}

/// How keepalive of a table is. It is read behind the key that switches it off.
fn detail<'a, S: Holds>(section: &'a mut S, node: &Node) -> Read<&'a mut Keepalive> {
    let why = "keepalive is false: leave the keys out that say how it is, or that one";
    section.socket().keepalive.as_mut().ok_or_else(|| node.refused(why))
}

fn of_detail<S: Holds>(section: &mut S, of: impl FnOnce(Keepalive) -> Node) -> Node {
    section.socket().keepalive.map_or(Node::Null, of)
}

const NETWORKS: [&str; 12] =
    ["tcp", "tcp4", "tcp6", "tls", "tls4", "tls6", "udp", "udp4", "udp6", "unix", "unixgram", "tls+unix"];

/// The network of addresses without a scheme, which is read with them.
fn network(node: &Node) -> Read<&'static str> {
    let known = node.text().ok().and_then(|text| NETWORKS.iter().find(|known| text.eq_ignore_ascii_case(known)));
    known.copied().ok_or_else(|| node.refused(format_args!("it must be one of {}", NETWORKS.join(", "))))
}

pub(super) const fn network_key<S: Section>() -> Key<S> {
    Key::own("network", |_, n, _| if *n == Node::from("") { Ok(()) } else { network(n).map(drop) }, |_| Node::Null)
}

/// One address. Of the predecessor's, a host `0` is 0.0.0.0.
pub(super) fn address(node: &Node, scope: &Scope<'_>) -> Read<Address> {
    let text = node.text()?;
    let unfit = |error: AddressError| {
        let more = if text.contains(',') { "; several are a list, as in [\"tcp://:80\", \"tcp://:81\"]" } else { "" };
        node.refused(format_args!("{}{more}", scrubbed(&error.to_string())))
    };
    let whole = text.parse::<Address>();
    let full = match (scope.said("network"), whole) {
        (None, Err(AddressError::UnknownScheme(_))) => {
            return Err(node.refused(format_args!(
                "the address {} has no known scheme: give the key `network` too, or write it in full, as in \
                 \"tcp://:8080\" or \"unix:/run/x.sock\"",
                shown(text)
            )));
        }
        (None, whole) => return taken(node, whole.map_err(unfit)?),
        (Some(_), Ok(_)) => {
            return Err(node.refused("the address says its network itself: leave the key `network` out"));
        }
        (Some(said), Err(_)) => match (network(said)?, text.strip_prefix("0:")) {
            // Behind the scheme two slashes would have another meaning.
            (network, _) if network.contains("unix") && text.starts_with('/') => {
                format!("{network}:/{}", text.trim_start_matches('/'))
            }
            (network, _) if network.contains("unix") => format!("{network}:{text}"),
            (network, Some(port)) => format!("{network}://0.0.0.0:{port}"),
            (network, None) => format!("{network}://{text}"),
        },
    };
    taken(node, full.parse().map_err(unfit)?)
}

/// The address that was read: one that has a key's letters must be a path, or an abstract name.
pub(super) fn taken(node: &Node, address: Address) -> Read<Address> {
    let text = address.to_string();
    let is_place = |(_, place): (&str, &str)| place.starts_with('@') || is_rooted(place);
    if node.is_secret() && !text.split_once(':').is_some_and(is_place) { Err(node.refused("")) } else { Ok(address) }
}

/// An address as it is written.
pub(super) fn of_address(address: &Address) -> Node {
    let text = address.to_string();
    let is_same = text.parse().is_ok_and(|read: Address| read == *address);
    if is_same { text.into() } else { Node::Unfit("an address without a name, or with one that is no text") }
}

/// A table `tls` where nothing is known of TLS: it can be switched off alone.
#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
pub(super) const fn no_tls<S>() -> Key<S> {
    let read = |_: &mut S, node: &Node, _: &Scope<'_>| {
        let table = if let Node::Table(table) = node { table.as_slice() } else { &[] };
        let has = |name: &str| table.iter().find(|(key, _)| crate::document::is_same(name, key)).map(|(_, node)| node);
        match (has("enabled"), has("config")) {
            (Some(Node::Truth(false)), _) | (None, Some(_)) => Ok(()),
            _ => {
                let why = "cannot be set: windlass was built without TLS; turn its feature `aws-lc-rs` or `ring` on";
                Err(crate::document::Refusal::new(why))
            }
        }
    };
    Key::own("tls", read, |_| Node::Null)
}
