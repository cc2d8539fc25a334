//! What a server or a client is to be, as plain values that a file can hold.
//!
//! Owns the fields, the keys that they have in files, and what is wrong with them. Turns them into the configurations of
//! lower rows, which do the work.

mod client;
#[cfg(feature = "serde")]
mod keys;
mod server;

use crate::error::Error;
use crate::shown::scrubbed;
pub use client::ClientConfig;
pub use server::ServerConfig;

/// Fields of lower rows, and the keys that they have in files.
const KEYS: [(&str, &str); 39] = [
    ("unix_mode", "perm-file"),
    ("unix_group", "group-perm"),
    ("idle_timeout", "con-idle-timeout"),
    ("connect_timeout", "connect-timeout"),
    ("handshake_timeout", "handshake-timeout"),
    ("write_stall_timeout", "write-stall-timeout"),
    ("lifetime", "lifetime"),
    ("linger_timeout", "linger-timeout"),
    ("linger_total", "linger-total"),
    ("inbox_bytes_max", "inbox-bytes-max"),
    ("outbox_bytes_max", "outbox-bytes-max"),
    ("outbox_bytes_high", "outbox-bytes-high"),
    ("outbox_bytes_low", "outbox-bytes-low"),
    ("bytes_per_turn", "bytes-per-turn"),
    ("reads_per_turn", "reads-per-turn"),
    ("connections_max", "connections-max"),
    ("accepts_per_second", "accepts-per-second"),
    ("handshakes_max", "handshakes-max"),
    ("keepalive.idle", "keepalive-idle"),
    ("keepalive.interval", "keepalive-interval"),
    ("keepalive.count", "keepalive-count"),
    ("receive_buffer_bytes", "receive-buffer-bytes"),
    ("send_buffer_bytes", "send-buffer-bytes"),
    ("user_timeout", "user-timeout"),
    ("bytes_max", "datagram.bytes-max"),
    ("queue_bytes_max", "datagram.queue-bytes-max"),
    ("queue_datagrams_max", "datagram.queue-datagrams-max"),
    ("datagrams_per_turn", "datagram.datagrams-per-turn"),
    ("send_timeout", "datagram.send-timeout"),
    ("full_pause", "datagram.full-pause"),
    ("ttl", "datagram.ttl"),
    ("group", "datagram.multicast-groups"),
    ("group source", "datagram.multicast-groups"),
    ("group interface", "datagram.multicast-groups"),
    ("client_auth", "tls.auth-client"),
    ("versions", "tls.version-min"),
    ("suites", "tls.cipher-list"),
    ("alpn", "tls.alpn"),
    ("server_name", "tls.server-name"),
];

/// An error of a lower row, its field named as in files, without anything that may be secret.
fn by_key(error: Error) -> Error {
    match error {
        Error::Config { field, value, why } => {
            let field = KEYS.iter().find(|(known, _)| *known == field).map_or(field, |(_, key)| key);
            Error::Config { field, value: scrubbed(&value), why }
        }
        #[cfg(feature = "tls")]
        Error::Tls { what, why } => Error::Tls { what: scrubbed(&what), why: scrubbed(&why) },
        error => error,
    }
}

fn refuse(field: &'static str, value: impl ToString, why: &'static str) -> Result<(), Error> {
    Err(Error::Config { field, value: value.to_string(), why })
}
