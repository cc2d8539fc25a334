//! What a client for threads that wait promises: how it connects, carries bytes, ends, and what it tells.

mod support;

#[path = "client/building.rs"]
mod building;
#[path = "client/bytes.rs"]
mod bytes;
#[path = "client/cancelling.rs"]
mod cancelling;
#[path = "client/connecting.rs"]
mod connecting;
#[path = "client/datagrams.rs"]
mod datagrams;
#[path = "client/ending.rs"]
mod ending;
#[path = "client/exchanging.rs"]
mod exchanging;
#[path = "client/host.rs"]
mod host;
#[cfg(feature = "tls")]
#[path = "client/security.rs"]
mod security;
#[path = "client/telling.rs"]
mod telling;
#[path = "client/timeouts.rs"]
mod timeouts;
