//! What is measured: the scenarios, their sizes, and the bounds they are held to.

use crate::client::Terms;
use crate::options::Options;
use crate::rig::bench::Scenario;
use crate::rig::process::Transport;
use crate::rig::report::{Bounds, at_least, at_most};
use crate::rig::slices::Ratio;
use crate::{flood, gro, steady, syscalls};

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

pub(crate) const SCENARIOS: &[Scenario<Options>] = &[
    Scenario::new("udp-16x16x64", |options, report| steady::run(UDP_16, options, report)),
    Scenario::new("udp-4x32x1400", |options, report| steady::run(UDP_4, options, report)),
    Scenario::new("udp-1x1x64", |options, report| steady::run(UDP_1, options, report)),
    Scenario::new("unixgram-16x1x64", |options, report| steady::run(UNIXGRAM_16, options, report)),
    Scenario::new("unixgram-1x1x64", |options, report| steady::run(UNIXGRAM_1, options, report)),
    Scenario::new("udp-gro", gro::run),
    Scenario::new("udp-flood", flood::run),
    Scenario::new("udp-syscalls", syscalls::run),
];

/// What a figure of the server under test is held to. A figure that is not listed has no bound.
pub(crate) const BOUNDS: Bounds = &[
    ("udp-16x16x64", at_least(1.2)),
    ("udp-4x32x1400", at_least(1.2)),
    ("udp-1x1x64", at_least(0.97)),
    ("unixgram-16x1x64", at_most(1.05)),
    ("unixgram-1x1x64", at_most(1.05)),
    ("udp-gro", at_least(3.0)),
    ("udp-syscalls", at_most(0.5)),
];
