//! What is measured: the scenarios, their sizes, and the bounds they are held to.

use crate::process::Transport;

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
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 13] = [
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
        }
    }

    /// Whether it compares processor time, and so runs when no name is given.
    pub(crate) fn is_default(self) -> bool {
        matches!(self, Scenario::Cpu(_) | Scenario::Active | Scenario::Churn)
    }
}

/// The largest value a figure of the server under test may have. A figure that is not listed has no bound.
const BOUNDS: [(&str, f64); 12] = [
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
];

pub(crate) fn bound(figure: &str) -> Option<f64> {
    BOUNDS.iter().find(|(name, _)| *name == figure).map(|(_, bound)| *bound)
}
