//! What is measured: the scenarios, their sizes, and the bounds they are held to.

use std::ops::RangeInclusive;

use crate::socket::Security;

/// A steady echo load on one reactor, and on two.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) security: Security,
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// Messages in one measured slice.
    pub(crate) messages: usize,
}

const TLS_64: Shape = Shape {
    name: "tls-64x1k-reactors",
    security: Security::Tls,
    connections: 64,
    message_bytes: 1_024,
    messages: 10_000,
};
const TCP_64: Shape = Shape { name: "tcp-64x1k-reactors", security: Security::Plain, ..TLS_64 };

#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    Reactors(Shape),
    Placement,
    Refusals,
    RemoteSends,
    Callbacks,
    FiftyThousand,
    Counters,
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 8] = [
        Scenario::Reactors(TLS_64),
        Scenario::Reactors(TCP_64),
        Scenario::Placement,
        Scenario::Refusals,
        Scenario::RemoteSends,
        Scenario::Callbacks,
        Scenario::FiftyThousand,
        Scenario::Counters,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Reactors(shape) => shape.name,
            Scenario::Placement => "placement",
            Scenario::Refusals => "refusals",
            Scenario::RemoteSends => "remote-sends",
            Scenario::Callbacks => "callbacks",
            Scenario::FiftyThousand => "fifty-thousand",
            Scenario::Counters => "counters",
        }
    }
}

/// What a figure of the server under test is held to. A figure that is not listed has no bound.
const BOUNDS: [(&str, RangeInclusive<f64>); 8] = [
    ("tls-64x1k-reactors", 0.95..=f64::INFINITY),
    ("placement", f64::NEG_INFINITY..=1.05),
    ("refusals: by admit", f64::NEG_INFINITY..=1.1),
    ("refusals: by a limit", f64::NEG_INFINITY..=1.1),
    ("remote-sends", 0.8..=f64::INFINITY),
    ("remote-sends: wakes per turn", f64::NEG_INFINITY..=1.0),
    ("callbacks", f64::NEG_INFINITY..=1.03),
    ("counters", f64::NEG_INFINITY..=0.0),
];

pub(crate) fn bound(figure: &str) -> Option<RangeInclusive<f64>> {
    BOUNDS.iter().find(|(name, _)| *name == figure).map(|(_, bound)| bound.clone())
}
