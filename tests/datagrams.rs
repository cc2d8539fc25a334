//! What datagram sockets promise, over every datagram transport where it applies.
#![cfg(any(target_os = "linux", target_os = "android"))]

mod support;

#[path = "datagrams/addresses.rs"]
mod addresses;
#[path = "datagrams/answering.rs"]
mod answering;
#[path = "datagrams/both.rs"]
mod both;
#[path = "datagrams/bytes.rs"]
mod bytes;
#[path = "datagrams/files.rs"]
mod files;
#[path = "datagrams/life.rs"]
mod life;
#[path = "datagrams/offload.rs"]
mod offload;
#[path = "datagrams/queues.rs"]
mod queues;
#[path = "datagrams/refusals.rs"]
mod refusals;
#[path = "datagrams/sharing.rs"]
mod sharing;
#[path = "datagrams/troubles.rs"]
mod troubles;
