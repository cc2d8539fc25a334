//! What is measured: the scenarios, their sizes, and the bounds they are held to.

use std::ops::RangeInclusive;

use crate::transport::Transport;

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

#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    Cpu(Shape),
    Active,
    Churn,
    Memory,
    Idle,
    Syscalls,
    Instructions,
    Size,
    TlsHandshakes,
    TlsMemory,
    TlsSyscalls,
    TlsStorm,
    TlsStormRsa,
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 22] = [
        Scenario::Cpu(TCP_64),
        Scenario::Cpu(TCP_1000),
        Scenario::Cpu(UNIX_64),
        Scenario::Cpu(TCP_256K),
        Scenario::Cpu(UNIX_256K),
        Scenario::Cpu(IDLE_10000),
        Scenario::Active,
        Scenario::Churn,
        Scenario::Memory,
        Scenario::Idle,
        Scenario::Syscalls,
        Scenario::Instructions,
        Scenario::Size,
        Scenario::Cpu(TLS_64),
        Scenario::Cpu(TLS_256K),
        Scenario::Cpu(TLS_UNIX_64),
        Scenario::Cpu(TLS_UNIX_256K),
        Scenario::TlsHandshakes,
        Scenario::TlsMemory,
        Scenario::TlsSyscalls,
        Scenario::TlsStorm,
        Scenario::TlsStormRsa,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Cpu(shape) => shape.name,
            Scenario::Active => "active-1pct",
            Scenario::Churn => "churn",
            Scenario::Memory => "memory",
            Scenario::Idle => "idle",
            Scenario::Syscalls => "syscalls",
            Scenario::Instructions => "instructions",
            Scenario::Size => "size",
            Scenario::TlsHandshakes => "tls-handshakes",
            Scenario::TlsMemory => "tls-memory",
            Scenario::TlsSyscalls => "tls-syscalls",
            Scenario::TlsStorm => "tls-storm",
            Scenario::TlsStormRsa => "tls-storm-rsa",
        }
    }

    /// Whether it compares processor time, and so runs when no name is given.
    pub(crate) fn is_default(self) -> bool {
        matches!(self, Scenario::Cpu(_) | Scenario::Active | Scenario::Churn | Scenario::TlsHandshakes)
    }
}

/// The largest value a figure of the server under test may have. A figure that is not listed has no bound.
const BOUNDS: [(&str, f64); 25] = [
    ("tcp-64x64", 1.04),
    ("tcp-1000x1k", 1.04),
    ("unix-64x64", 1.04),
    ("tcp-4x256k", 0.95),
    ("unix-4x256k", 0.95),
    ("idle-10000x64", 1.03),
    ("active-1pct", 1.1),
    ("churn", 1.05),
    ("memory: B per connection", 224.0),
    ("memory: % of the growth left", 5.0),
    ("idle: system calls", 0.0),
    ("idle: wake-ups/s", 20.0),
    ("tls-64x64", 1.03),
    ("tls-4x256k", 1.03),
    ("tls-4x256k: windlass / tokio", 0.78),
    ("tls-unix-64x64", 1.03),
    ("tls-unix-4x256k", 1.03),
    ("tls-handshakes", 1.03),
    ("tls-memory: B without a hello", 400.0),
    ("tls-memory: B established", 4_250.0),
    ("tls-memory: B after 16 KiB each way", 4_250.0),
    ("tls-syscalls: calls per record received", 0.3),
    ("tls-syscalls: calls per record sent", 0.3),
    ("tls-storm", 0.3),
    ("tls-storm-rsa", 0.4),
];

pub(crate) fn bound(figure: &str) -> Option<RangeInclusive<f64>> {
    BOUNDS.iter().find(|(name, _)| *name == figure).map(|(_, bound)| f64::NEG_INFINITY..=*bound)
}
