//! What is measured: the scenarios, their sizes, and the bounds they are held to.

use crate::options::Options;
use crate::rig::bench::Scenario;
use crate::rig::process::Transport;
use crate::rig::report::{Bounds, at_least, at_most};
use crate::{callbacks, counters, crowd, names, placement, reactors, refusals, sends};

/// A steady echo load on one reactor, and on two.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// Messages in one measured slice.
    pub(crate) messages: usize,
}

const TLS_64: Shape = Shape {
    name: "tls-64x1k-reactors",
    transport: Transport::Tls,
    connections: 64,
    message_bytes: 1_024,
    messages: 10_000,
};
const TCP_64: Shape = Shape { name: "tcp-64x1k-reactors", transport: Transport::Tcp, ..TLS_64 };

pub(crate) const SCENARIOS: &[Scenario<Options>] = &[
    Scenario::new("tls-64x1k-reactors", |options, report| reactors::run(TLS_64, options, report)),
    Scenario::new("tcp-64x1k-reactors", |options, report| reactors::run(TCP_64, options, report)),
    Scenario::new("placement", placement::run),
    Scenario::new("refusals", refusals::run),
    Scenario::new("remote-sends", sends::sends),
    Scenario::new("remote-tells", sends::tells),
    Scenario::new("callbacks", callbacks::run),
    Scenario::new("fifty-thousand", crowd::run),
    Scenario::new("counters", counters::run),
    Scenario::new("thousand-names", names::run),
];

/// What a figure of the server under test is held to. A figure that is not listed has no bound.
pub(crate) const BOUNDS: Bounds = &[
    ("tls-64x1k-reactors", at_least(0.95)),
    ("placement", at_most(1.05)),
    ("refusals: by admit", at_most(1.1)),
    ("refusals: by a limit", at_most(1.1)),
    ("remote-sends", at_least(0.8)),
    ("remote-sends: wakes per turn", at_most(1.0)),
    ("remote-tells", at_least(0.8)),
    ("callbacks", at_most(1.03)),
    ("counters", at_most(0.0)),
    ("thousand-names: ms to build", at_most(1_500.0)),
];
