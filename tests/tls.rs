//! What TLS adds to the promises of streams: faults, ends, facts, and peers who mean ill.
#![cfg(feature = "tls")]

mod support;

#[path = "tls/alerts.rs"]
mod alerts;
#[path = "tls/authorities.rs"]
mod authorities;
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
#[path = "tls/interop.rs"]
mod interop;
#[path = "tls/key_log.rs"]
mod key_log;
#[path = "tls/material.rs"]
mod material;
#[path = "tls/members.rs"]
mod members;
#[path = "tls/names.rs"]
mod names;
#[path = "tls/quota.rs"]
mod quota;
#[path = "tls/raw.rs"]
mod raw;
#[path = "tls/reading.rs"]
mod reading;
#[path = "tls/refusals.rs"]
mod refusals;
#[path = "tls/reloading.rs"]
mod reloading;
#[path = "tls/renewing.rs"]
mod renewing;
#[path = "tls/resuming.rs"]
mod resuming;
#[path = "tls/revocation.rs"]
mod revocation;
#[path = "tls/sealing.rs"]
mod sealing;
#[path = "tls/secrets.rs"]
mod secrets;
#[path = "tls/tickets.rs"]
mod tickets;
#[path = "tls/upgrade.rs"]
mod upgrade;
