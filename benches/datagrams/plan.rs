//! What is measured: the scenarios, their sizes, and the bounds they are held to.

use std::ops::RangeInclusive;

use crate::client::Terms;
use crate::options::Options;
use crate::process::Transport;

/// A steady echo load.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) transport: Transport,
    pub(crate) peers: usize,
    /// Datagrams each peer has in flight.
    pub(crate) window: usize,
    pub(crate) datagram_bytes: usize,
    /// Datagrams in one measured slice.
    pub(crate) datagrams: usize,
    pub(crate) ratio: Ratio,
}

impl Shape {
    pub(crate) fn terms(&self, options: &Options) -> Terms {
        Terms {
            peers: self.peers,
            window: self.window,
            datagram_bytes: self.datagram_bytes,
            datagrams_per_call: options.datagrams_per_call,
        }
    }
}

/// Which way round two servers are compared.
#[derive(Clone, Copy)]
pub(crate) enum Ratio {
    /// Processor time of the one under test by that of the yardstick: less is better.
    Cost,
    /// The other way round: what the one under test does in the same processor time. More is better.
    Work,
}

const fn shape(
    name: &'static str,
    transport: Transport,
    [peers, window, datagram_bytes]: [usize; 3],
    datagrams: usize,
    ratio: Ratio,
) -> Shape {
    Shape { name, transport, peers, window, datagram_bytes, datagrams, ratio }
}

pub(crate) const UDP_16: Shape = shape("udp-16x16x64", Transport::Udp, [16, 16, 64], 20_000, Ratio::Work);
const UDP_4: Shape = shape("udp-4x32x1400", Transport::Udp, [4, 32, 1400], 16_000, Ratio::Work);
const UDP_1: Shape = shape("udp-1x1x64", Transport::Udp, [1, 1, 64], 3_000, Ratio::Work);
// The kernel keeps about ten datagrams for a Unix socket (net.unix.max_dgram_qlen): a server never waits for a peer
// that has only one in flight, so that the two cannot wait for each other.
const UNIXGRAM_16: Shape = shape("unixgram-16x1x64", Transport::Unixgram, [16, 1, 64], 16_000, Ratio::Cost);
const UNIXGRAM_1: Shape = shape("unixgram-1x1x64", Transport::Unixgram, [1, 1, 64], 3_000, Ratio::Cost);

#[derive(Clone, Copy)]
pub(crate) enum Scenario {
    Steady(Shape),
    Gro,
    Flood,
    Syscalls,
}

impl Scenario {
    pub(crate) const ALL: [Scenario; 8] = [
        Scenario::Steady(UDP_16),
        Scenario::Steady(UDP_4),
        Scenario::Steady(UDP_1),
        Scenario::Steady(UNIXGRAM_16),
        Scenario::Steady(UNIXGRAM_1),
        Scenario::Gro,
        Scenario::Flood,
        Scenario::Syscalls,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Steady(shape) => shape.name,
            Scenario::Gro => "udp-gro",
            Scenario::Flood => "udp-flood",
            Scenario::Syscalls => "udp-syscalls",
        }
    }
}

/// What a figure of the server under test is held to. A figure that is not listed has no bound.
const BOUNDS: [(&str, RangeInclusive<f64>); 7] = [
    ("udp-16x16x64", 1.2..=f64::INFINITY),
    ("udp-4x32x1400", 1.2..=f64::INFINITY),
    ("udp-1x1x64", 0.97..=f64::INFINITY),
    ("unixgram-16x1x64", f64::NEG_INFINITY..=1.05),
    ("unixgram-1x1x64", f64::NEG_INFINITY..=1.05),
    ("udp-gro", 3.0..=f64::INFINITY),
    ("udp-syscalls", f64::NEG_INFINITY..=0.5),
];

pub(crate) fn bound(figure: &str) -> Option<RangeInclusive<f64>> {
    BOUNDS.iter().find(|(name, _)| *name == figure).map(|(_, bound)| bound.clone())
}
