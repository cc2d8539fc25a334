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

/// Fields of lower rows whose keys in files have names of their own.
const KEYS: [(&str, &str); 9] = [
    ("unix_mode", "perm-file"),
    ("unix_group", "group-perm"),
    ("idle_timeout", "con-idle-timeout"),
    ("group", "datagram.multicast-groups"),
    ("group source", "datagram.multicast-groups"),
    ("group interface", "datagram.multicast-groups"),
    ("client_auth", "tls.auth-client"),
    ("versions", "tls.version-min"),
    ("suites", "tls.cipher-list"),
];

/// Keys of those whose last part is the field's name with hyphens.
const HYPHENED: &str = "connect-timeout handshake-timeout write-stall-timeout lifetime linger-timeout linger-total \
    inbox-bytes-max outbox-bytes-max outbox-bytes-high outbox-bytes-low bytes-per-turn reads-per-turn connections-max \
    accepts-per-second handshakes-max queued-bytes-max keepalive-idle keepalive-interval keepalive-count receive-buffer-bytes \
    send-buffer-bytes user-timeout datagram.bytes-max datagram.queue-bytes-max datagram.queue-datagrams-max \
    datagram.datagrams-per-turn datagram.send-timeout datagram.full-pause datagram.ttl tls.alpn tls.server-name";

/// Reasons of lower rows that name fields, by keys.
const WHYS: [&str; 3] = [
    "it must not be above outbox-bytes-high",
    "it must be at least outbox-bytes-high and inbox-bytes-max together",
    "with TLS it must be at least outbox-bytes-high, inbox-bytes-max and a record (18,437) together",
];

/// An error of a lower row, its field named as in files; those of TLS have nothing that may be secret.
pub(crate) fn by_key(error: Error) -> Error {
    match error {
        Error::Config { field, value, why } => {
            let why = WHYS.into_iter().find(|by_key| by_key.replace('-', "_") == why).unwrap_or(why);
            let own = KEYS.iter().find(|(known, _)| *known == field).map(|(_, key)| *key);
            let plain = field.replace(['_', '.'], "-");
            let hyphened = || HYPHENED.split(' ').find(|key| key.rsplit('.').next() == Some(&plain));
            let field = own.or_else(hyphened).unwrap_or(field);
            Error::Config { field, value: scrubbed(&value), why }
        }
        error => error,
    }
}

fn refuse(field: &'static str, value: impl ToString, why: &'static str) -> Result<(), Error> {
    Err(Error::Config { field, value: value.to_string(), why })
}
