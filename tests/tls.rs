//! What TLS adds to the promises of streams: faults, ends, facts, and peers who mean ill.
#![cfg(feature = "tls")]

mod support;

#[path = "tls/building.rs"]
mod building;
#[path = "tls/canary.rs"]
mod canary;
#[path = "tls/elsewhere.rs"]
mod elsewhere;
#[path = "tls/faults.rs"]
mod faults;
#[path = "tls/floods.rs"]
mod floods;
#[path = "tls/foreign.rs"]
mod foreign;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/hostile.rs"]
mod hostile;
#[path = "tls/key_log.rs"]
mod key_log;
#[path = "tls/members.rs"]
mod members;
#[path = "tls/raw.rs"]
mod raw;
#[path = "tls/sealing.rs"]
mod sealing;
#[path = "tls/tickets.rs"]
mod tickets;
#[path = "tls/upgrade.rs"]
mod upgrade;
