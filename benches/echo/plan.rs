//! What is measured: the scenarios, their sizes, and the bounds they are held to.

use crate::options::Options;
use crate::rig::bench::Scenario;
use crate::rig::process::Transport;
use crate::rig::report::{Bounds, at_most};
use crate::{
    active, churn, cpu, handshakes, idle, instructions, memory, relay, size, storm, syscalls, tls_memory, tls_syscalls,
};

/// A steady echo load.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// Messages in one measured slice.
    pub(crate) messages: usize,
    /// Options the servers get; peers ignore those they do not implement.
    pub(crate) server_options: &'static [&'static str],
}

pub(crate) const IDLE_60: &[&str] = &["--idle", "60"];
/// The servers' limit on connections must not be what a scenario measures.
pub(crate) const MANY: &[&str] = &["--max-connections", "19500"];
pub(crate) const MANY_IDLE_60: &[&str] = &["--idle", "60", "--max-connections", "19500"];

const fn shape(
    name: &'static str,
    transport: Transport,
    connections: usize,
    message_bytes: usize,
    messages: usize,
) -> Shape {
    Shape { name, transport, connections, message_bytes, messages, server_options: &[] }
}

pub(crate) const TCP_64: Shape = shape("tcp-64x64", Transport::Tcp, 64, 64, 8_000);
pub(crate) const UNIX_64: Shape = shape("unix-64x64", Transport::Unix, 64, 64, 16_000);
const TCP_1000: Shape = shape("tcp-1000x1k", Transport::Tcp, 1_000, 1_024, 10_000);
const TCP_256K: Shape = shape("tcp-4x256k", Transport::Tcp, 4, 256 * 1024, 400);
const UNIX_256K: Shape = shape("unix-4x256k", Transport::Unix, 4, 256 * 1024, 400);
pub(crate) const TLS_64: Shape = shape("tls-64x64", Transport::Tls, 64, 64, 8_000);
const TLS_256K: Shape = shape("tls-4x256k", Transport::Tls, 4, 256 * 1024, 300);
const TLS_UNIX_64: Shape = shape("tls-unix-64x64", Transport::TlsUnix, 64, 64, 8_000);
const TLS_UNIX_256K: Shape = shape("tls-unix-4x256k", Transport::TlsUnix, 4, 256 * 1024, 300);
const IDLE_10000: Shape =
    Shape { server_options: MANY_IDLE_60, ..shape("idle-10000x64", Transport::Tcp, 10_000, 64, 10_000) };

const RELAY_64: Shape = shape("relay-64x64", Transport::Tcp, 64, 64, 8_000);
const RELAY_256K: Shape = shape("relay-4x256k", Transport::Tcp, 4, 256 * 1024, 400);
const RELAY_TLS_64: Shape = shape("relay-tls-64x64", Transport::Tls, 64, 64, 8_000);
const RELAY_TLS_256K: Shape = shape("relay-tls-4x256k", Transport::Tls, 4, 256 * 1024, 300);

pub(crate) const SCENARIOS: &[Scenario<Options>] = &[
    Scenario::new("tcp-64x64", |options, report| cpu::run(TCP_64, options, report)),
    Scenario::new("tcp-1000x1k", |options, report| cpu::run(TCP_1000, options, report)),
    Scenario::new("unix-64x64", |options, report| cpu::run(UNIX_64, options, report)),
    Scenario::new("tcp-4x256k", |options, report| cpu::run(TCP_256K, options, report)),
    Scenario::new("unix-4x256k", |options, report| cpu::run(UNIX_256K, options, report)),
    Scenario::new("idle-10000x64", |options, report| cpu::run(IDLE_10000, options, report)),
    Scenario::new("active-1pct", active::run),
    Scenario::new("churn", churn::run),
    Scenario::new("relay-64x64", |options, report| relay::run(RELAY_64, options, report)),
    Scenario::new("relay-4x256k", |options, report| relay::run(RELAY_256K, options, report)),
    Scenario::new("relay-tls-64x64", |options, report| relay::run(RELAY_TLS_64, options, report)),
    Scenario::new("relay-tls-4x256k", |options, report| relay::run(RELAY_TLS_256K, options, report)),
    Scenario::named("memory", memory::run),
    Scenario::named("idle", idle::run),
    Scenario::named("syscalls", syscalls::run),
    Scenario::named("instructions", instructions::run),
    Scenario::named("growth", instructions::growth),
    Scenario::named("size", size::run),
    Scenario::new("tls-64x64", |options, report| cpu::run(TLS_64, options, report)),
    Scenario::new("tls-4x256k", |options, report| cpu::run(TLS_256K, options, report)),
    Scenario::new("tls-unix-64x64", |options, report| cpu::run(TLS_UNIX_64, options, report)),
    Scenario::new("tls-unix-4x256k", |options, report| cpu::run(TLS_UNIX_256K, options, report)),
    Scenario::new("tls-handshakes", handshakes::run),
    Scenario::named("tls-memory", tls_memory::run),
    Scenario::named("tls-syscalls", tls_syscalls::run),
    Scenario::named("tls-storm", |options, report| storm::run("tls-storm", Transport::Tls, options, report)),
    Scenario::named("tls-storm-rsa", |options, report| storm::run("tls-storm-rsa", Transport::TlsRsa, options, report)),
];

/// The largest value a figure of the server under test may have. A figure that is not listed has no bound.
pub(crate) const BOUNDS: Bounds = &[
    ("tcp-64x64", at_most(1.04)),
    ("tcp-1000x1k", at_most(1.04)),
    ("unix-64x64", at_most(1.04)),
    ("tcp-4x256k", at_most(0.95)),
    ("unix-4x256k", at_most(0.95)),
    ("idle-10000x64", at_most(1.03)),
    ("active-1pct", at_most(1.1)),
    ("churn", at_most(1.05)),
    ("memory: B per connection", at_most(144.0)),
    ("memory: % of the growth left", at_most(5.0)),
    ("growth", at_most(1.02)),
    ("idle: system calls", at_most(0.0)),
    ("idle: wake-ups/s", at_most(20.0)),
    ("relay-64x64", at_most(1.02)),
    ("relay-4x256k", at_most(0.75)),
    ("relay-tls-64x64", at_most(1.02)),
    ("tls-64x64", at_most(1.03)),
    ("tls-4x256k", at_most(1.03)),
    ("tls-4x256k: windlass / tokio", at_most(0.78)),
    ("tls-unix-64x64", at_most(1.03)),
    ("tls-unix-4x256k", at_most(1.03)),
    ("tls-handshakes", at_most(1.03)),
    ("tls-memory: B without a hello", at_most(400.0)),
    ("tls-memory: B established", at_most(4_250.0)),
    ("tls-memory: B after 16 KiB each way", at_most(4_250.0)),
    ("tls-syscalls: calls per record received", at_most(0.3)),
    ("tls-syscalls: calls per record sent", at_most(0.3)),
    ("tls-storm", at_most(0.3)),
    ("tls-storm-rsa", at_most(0.4)),
];
