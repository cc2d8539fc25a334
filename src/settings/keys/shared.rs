//! Keys that servers and clients share: limits of connections, options of sockets, addresses.

use super::text::{lasting, of_time, time};
use super::value::{Read, Value};
use super::{Key, Section};
use crate::address::{Address, AddressError};
use crate::config::{Keepalive, Limits, Nodelay, SocketOptions};
use std::marker::PhantomData;

/// A table that holds limits and options.
pub(super) trait Holds: Section {
    fn limits(&self) -> &Limits;
    fn limits_mut(&mut self) -> &mut Limits;
    fn socket(&self) -> &SocketOptions;
    fn socket_mut(&mut self) -> &mut SocketOptions;
    fn probes_mut(&mut self) -> &mut Probes;
}

/// What was said of keepalive so far: who switches it off cannot say how it shall be, in whatever order the keys stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Probes {
    #[default]
    Unsaid,
    Off,
    Detailed,
}

/// The keys, for a table that holds what they are about.
pub(super) struct Shared<S>(PhantomData<S>);

impl<S: Holds> Shared<S> {
    pub(super) const LIMITS: &'static [Key<S>] = &[
        Key::spelled(
            "con-idle-timeout",
            &["idle-timeout"],
            |s, v| lasting(v).map(|time| s.limits_mut().idle_timeout = Some(time)),
            |s| s.limits().idle_timeout.map(of_time).into(),
        ),
        Key::new(
            "handshake-timeout",
            |s, v| lasting(v).map(|time| s.limits_mut().handshake_timeout = time),
            |s| of_time(s.limits().handshake_timeout),
        ),
        Key::new(
            "write-stall-timeout",
            |s, v| lasting(v).map(|time| s.limits_mut().write_stall_timeout = time),
            |s| of_time(s.limits().write_stall_timeout),
        ),
        Key::new(
            "lifetime",
            |s, v| lasting(v).map(|time| s.limits_mut().lifetime = Some(time)),
            |s| s.limits().lifetime.map(of_time).into(),
        ),
        Key::new(
            "linger-timeout",
            |s, v| lasting(v).map(|time| s.limits_mut().linger_timeout = time),
            |s| of_time(s.limits().linger_timeout),
        ),
        Key::new(
            "linger-total",
            |s, v| lasting(v).map(|time| s.limits_mut().linger_total = time),
            |s| of_time(s.limits().linger_total),
        ),
        Key::new(
            "inbox-bytes-max",
            |s, v| v.count().map(|bytes| s.limits_mut().inbox_bytes_max = bytes),
            |s| s.limits().inbox_bytes_max.into(),
        ),
        Key::new(
            "outbox-bytes-max",
            |s, v| v.count().map(|bytes| s.limits_mut().outbox_bytes_max = bytes),
            |s| s.limits().outbox_bytes_max.into(),
        ),
        Key::new(
            "outbox-bytes-high",
            |s, v| v.count().map(|bytes| s.limits_mut().outbox_bytes_high = bytes),
            |s| s.limits().outbox_bytes_high.into(),
        ),
        Key::new(
            "outbox-bytes-low",
            |s, v| v.number().map(|bytes| s.limits_mut().outbox_bytes_low = bytes),
            |s| s.limits().outbox_bytes_low.into(),
        ),
        Key::new(
            "bytes-per-turn",
            |s, v| v.count().map(|bytes| s.limits_mut().bytes_per_turn = bytes),
            |s| s.limits().bytes_per_turn.into(),
        ),
        Key::new(
            "reads-per-turn",
            |s, v| v.count().map(|reads| s.limits_mut().reads_per_turn = reads),
            |s| s.limits().reads_per_turn.into(),
        ),
    ];

    pub(super) const SOCKET: &'static [Key<S>] = &[
        Key::new(
            "nodelay",
            |s, v| v.truth().map(|is_on| s.socket_mut().nodelay = if is_on { Nodelay::On } else { Nodelay::Off }),
            |s| (s.socket().nodelay == Nodelay::On).into(),
        ),
        Key::new(
            "keepalive",
            |s, v| v.truth().and_then(|is_on| switch(s, is_on)),
            |s| s.socket().keepalive.is_some().into(),
        ),
        Key::new(
            "keepalive-idle",
            |s, v| keepalive(s).and_then(|keepalive| lasting(v).map(|time| keepalive.idle = time)),
            |s| s.socket().keepalive.map(|keepalive| of_time(keepalive.idle)).into(),
        ),
        Key::new(
            "keepalive-interval",
            |s, v| keepalive(s).and_then(|keepalive| lasting(v).map(|time| keepalive.interval = time)),
            |s| s.socket().keepalive.map(|keepalive| of_time(keepalive.interval)).into(),
        ),
        Key::new(
            "keepalive-count",
            |s, v| keepalive(s).and_then(|keepalive| v.count().map(|count| keepalive.count = count)),
            |s| s.socket().keepalive.map(|keepalive| keepalive.count).into(),
        ),
        Key::new(
            "receive-buffer-bytes",
            |s, v| v.count().map(|bytes| s.socket_mut().receive_buffer_bytes = Some(bytes)),
            |s| s.socket().receive_buffer_bytes.into(),
        ),
        Key::new(
            "send-buffer-bytes",
            |s, v| v.count().map(|bytes| s.socket_mut().send_buffer_bytes = Some(bytes)),
            |s| s.socket().send_buffer_bytes.into(),
        ),
        Key::new(
            "user-timeout",
            |s, v| lasting(v).map(|time| s.socket_mut().user_timeout = Some(time)),
            |s| s.socket().user_timeout.map(of_time).into(),
        ),
        Key::new(
            "linger",
            |s, v| time(v).map(|time| s.socket_mut().linger = Some(time)),
            |s| s.socket().linger.map(of_time).into(),
        ),
    ];
}

const CONTRADICTION: &str = "keepalive is false: leave the keys out that say how it is, or that one";

/// Turns keepalive on or off.
fn switch<S: Holds>(section: &mut S, is_on: bool) -> Read<()> {
    let said = std::mem::replace(section.probes_mut(), if is_on { Probes::Detailed } else { Probes::Off });
    match (is_on, said) {
        (true, _) => {}
        (false, Probes::Unsaid | Probes::Off) => section.socket_mut().keepalive = None,
        (false, Probes::Detailed) => return Err(CONTRADICTION.to_owned()),
    }
    Ok(())
}

/// How keepalive of a table is.
fn keepalive<S: Holds>(section: &mut S) -> Read<&mut Keepalive> {
    if std::mem::replace(section.probes_mut(), Probes::Detailed) == Probes::Off {
        return Err(CONTRADICTION.to_owned());
    }
    Ok(section.socket_mut().keepalive.get_or_insert_default())
}

/// Addresses as they are read: the network may stand behind them.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    network: Option<String>,
    texts: Vec<String>,
}

const NETWORKS: [&str; 12] =
    ["tcp", "tcp4", "tcp6", "tls", "tls4", "tls6", "udp", "udp4", "udp6", "unix", "unixgram", "tls+unix"];

impl Places {
    pub(super) fn read_network(&mut self, value: &Value) -> Read<()> {
        let known = value.text().ok().and_then(|text| NETWORKS.iter().find(|known| text.eq_ignore_ascii_case(known)));
        let Some(known) = known else { return Err(format!("it must be one of {}", NETWORKS.join(", "))) };
        self.network = Some((*known).to_owned());
        self.addresses().map(drop)
    }

    pub(super) fn read_address(&mut self, value: &Value) -> Read<()> {
        self.texts = value.texts()?.into_iter().map(str::to_owned).collect();
        if self.texts.is_empty() {
            return Err("name at least one, such as \"tcp://:8080\"".to_owned());
        }
        // Without a network what has no scheme may still get one.
        if self.network.is_some() { self.addresses().map(drop) } else { Ok(()) }
    }

    /// What they are, once all has been read.
    pub(super) fn addresses(&self) -> Read<Vec<Address>> {
        self.texts.iter().map(|text| self.address(text)).collect()
    }

    fn address(&self, text: &str) -> Read<Address> {
        let whole = text.parse::<Address>();
        let Some(network) = &self.network else {
            return whole.map_err(|error| match error {
                AddressError::UnknownScheme(_) => {
                    format!("the address {text:?} has no known scheme: give the key `network` too, or {error}")
                }
                error => error.to_string(),
            });
        };
        if whole.is_ok() {
            return Err(format!("the address {text:?} says its network itself: leave the key `network` out"));
        }
        let slashes = if network.contains("unix") { "" } else { "//" };
        format!("{network}:{slashes}{text}").parse().map_err(|error: AddressError| error.to_string())
    }

    /// An address as it is written.
    pub(super) fn written(address: &Address) -> Value {
        let text = address.to_string();
        if text.parse().is_ok_and(|read: Address| read == *address) {
            text.into()
        } else {
            Value::Unfit("an address without a name, or with one that is no text")
        }
    }

    /// Over TLS where a network was said that leaves it open.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    pub(super) fn over_tls(&self, address: Address) -> Address {
        if self.network.is_some() { address.over_tls() } else { address }
    }
}
