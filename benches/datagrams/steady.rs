//! Processor time of the server per datagram, under a steady load, server against server.

use crate::Outcome;
use crate::options::Options;
use crate::peer::Peer;
use crate::plan::{Ratio, Shape};
use crate::process::{self, Load, Server};
use crate::report;
use crate::slices::{self, Window};

pub(crate) fn run(shape: Shape, options: &Options) -> Outcome<()> {
    let Shape { name, transport, peers, window, datagram_bytes, .. } = shape;
    let count = options.count(shape.datagrams);
    let text = format!(
        "{peers} peers, {window} in flight each, {datagram_bytes} B a datagram, {} × {} × {count} datagrams a server; \
         server ns/datagram",
        options.rounds, options.slices
    );
    report::title(name, &text);
    let start = |peer: &Peer| {
        let server = Server::start(peer, transport, process::ROOMY)?;
        let mut load = Load::start(&server)?;
        load.connect(shape.terms(options))?;
        load.echo(count)?;
        Ok((server, load))
    };
    let slice = |server: &Server, load: &mut Load| slices::measure(server, count, || load.echo(count));
    compare(name, options, &options.servers, shape.ratio, start, slice)
}

/// Measures all peers in turn, and prints how each one stands to the first, which is the yardstick; the second is the
/// one under test.
pub(crate) fn compare(
    name: &str,
    options: &Options,
    peers: &[Peer],
    ratio: Ratio,
    start: impl Fn(&Peer) -> Outcome<(Server, Load)>,
    slice: impl Fn(&Server, &mut Load) -> Outcome<Window>,
) -> Outcome<()> {
    let windows = slices::alternate(options, peers, start, |(server, load)| slice(server, load))?;
    for (peer, measured) in peers.iter().zip(&windows) {
        slices::print_row(&peer.name, measured);
    }
    for (index, peer) in peers.iter().enumerate().skip(1) {
        let (own, bare) = (&windows[index], &windows[0]);
        let (ratios, pair) = match ratio {
            Ratio::Cost => (slices::round_ratios(own, bare, options), format!("{} / {}", peer.name, peers[0].name)),
            Ratio::Work => (slices::round_ratios(bare, own, options), format!("{} / {}", peers[0].name, peer.name)),
        };
        println!("  {pair} by round: {}", report::list(&ratios));
        let figure = if index == 1 { name } else { &pair };
        report::verdict(figure, report::median(&ratios));
    }
    Ok(())
}
