//! What a TLS connection costs that says nothing: accept, full handshake, close by both sides.

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices::{self, Ratio};

/// Open at a time.
const CONNECTIONS: usize = 64;
/// Connections in one measured slice.
const SHORT: usize = 1_000;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.count(SHORT);
    let text = format!(
        "accept, full handshake with P-256 and X25519, two tickets, close; {CONNECTIONS} at a time; server ns/connection"
    );
    let transport = Transport::Tls;
    let start = |peer: &Peer| {
        let server = Server::start(peer, transport, &[], &[])?;
        let mut load = Load::start(&server)?;
        load.handshakes(CONNECTIONS, count)?;
        Ok((server, load))
    };
    let slice =
        |server: &Server, load: &mut Load| slices::measure(server, count, || load.handshakes(CONNECTIONS, count));
    report::title("tls-handshakes", &text);
    let peers = options.peers(transport.security());
    slices::compare("tls-handshakes", (options.rounds, Ratio::Cost), &peers, start, slice, report)
}
