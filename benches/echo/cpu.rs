//! Processor time of the server per message, under a steady load, server against server.

use crate::Outcome;
use crate::options::Options;
use crate::peer::Peer;
use crate::plan::Shape;
use crate::process::{Load, Server};
use crate::report;
use crate::slices::{self, Window};

pub(crate) fn run(shape: Shape, options: &Options) -> Outcome<()> {
    let connections = options.connections(shape.connections);
    let bytes = shape.message_bytes;
    let count = options.messages(shape.messages);
    let text = format!(
        "{connections} connections, {bytes} B a message, {} × {} × {count} messages a server; \
         server ns/message",
        options.rounds, options.slices
    );
    let start = |peer: &&Peer| {
        let server = Server::start(peer, shape.transport, shape.server_options, &[])?;
        let mut load = Load::start(&server)?;
        load.connect(connections)?;
        load.echo(connections, bytes, connections.max(count))?;
        Ok((server, load))
    };
    let slice =
        |server: &Server, load: &mut Load| slices::measure(server, count, || load.echo(connections, bytes, count));
    compare(shape.name, &text, options, &options.peers(shape.transport.security()), start, slice)
}

/// Measures all servers in turn and prints each one's ratio to the yardstick, and that of the second, which is the one
/// under test, to those behind it.
pub(crate) fn compare(
    name: &str,
    text: &str,
    options: &Options,
    peers: &[&Peer],
    start: impl Fn(&&Peer) -> Outcome<(Server, Load)>,
    slice: impl Fn(&Server, &mut Load) -> Outcome<Window>,
) -> Outcome<()> {
    report::title(name, text);
    let windows = slices::alternate(options, peers, start, |(server, load)| slice(server, load))?;
    for (peer, measured) in peers.iter().zip(&windows) {
        slices::print_row(&peer.name, measured);
    }
    for (index, peer) in peers.iter().enumerate().skip(1) {
        let ratios = slices::round_ratios(&windows[index], &windows[0], options);
        let pair = format!("{} / {}", peer.name, peers[0].name);
        println!("  {pair} by round: {}", report::list(&ratios));
        let figure = if index == 1 { name } else { &pair };
        report::verdict(figure, report::median(&ratios));
    }
    for (peer, measured) in peers.iter().zip(&windows).skip(2) {
        let ratios = slices::round_ratios(&windows[1], measured, options);
        report::verdict(&format!("{name}: {} / {}", peers[1].name, peer.name), report::median(&ratios));
    }
    Ok(())
}
