//! What a TLS connection costs that says nothing: accept, full handshake, close by both sides.

use crate::Outcome;
use crate::cpu;
use crate::options::Options;
use crate::peer::Peer;
use crate::process::{Load, Server};
use crate::slices;
use crate::transport::Transport;

/// Open at a time.
const CONNECTIONS: usize = 64;
/// Connections in one measured slice.
const SHORT: usize = 1_000;

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let count = options.messages(SHORT);
    let text = format!(
        "accept, full handshake with P-256 and X25519, two tickets, close; {CONNECTIONS} at a time; server ns/connection"
    );
    let transport = Transport::Tls;
    let start = |peer: &&Peer| {
        let server = Server::start(peer, transport, &[], &[])?;
        let mut load = Load::start(&server)?;
        load.handshakes(CONNECTIONS, count)?;
        Ok((server, load))
    };
    let slice =
        |server: &Server, load: &mut Load| slices::measure(server, count, || load.handshakes(CONNECTIONS, count));
    cpu::compare("tls-handshakes", &text, options, &options.peers(transport.security()), start, slice)
}
