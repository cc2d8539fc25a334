//! Processor time of the server per message, under a steady load, server against server.

use crate::options::Options;
use crate::plan::Shape;
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server};
use crate::rig::report::{self, Report};
use crate::rig::slices::{self, Ratio};

pub(crate) fn run(shape: Shape, options: &Options, report: &mut Report) -> Outcome<()> {
    let peers = options.peers(shape.transport.security());
    measure(shape, "server", shape.server_options, &peers, options, report)
}

/// Measures `peers`, each of which is a `what`, beside the first of them.
pub(crate) fn measure(
    shape: Shape,
    what: &str,
    server_options: &[&str],
    peers: &[&Peer],
    options: &Options,
    report: &mut Report,
) -> Outcome<()> {
    let connections = options.connections(shape.connections);
    let bytes = shape.message_bytes;
    let count = options.asked.count(shape.messages);
    let text = format!(
        "{connections} connections, {bytes} B a message, {} × {count} messages a {what}; {what} ns/message",
        options.rounds
    );
    report::title(shape.name, &text);
    let start = |peer: &Peer| {
        let server = Server::start(peer, shape.transport, server_options, &[])?;
        let mut load = Load::start(&server)?;
        load.connect(connections)?;
        load.echo(connections, bytes, connections.max(count))?;
        Ok((server, load))
    };
    let slice =
        |server: &Server, load: &mut Load| slices::measure(server, count, || load.echo(connections, bytes, count));
    slices::compare(shape.name, (options.rounds, Ratio::Cost), peers, start, slice, report)
}
