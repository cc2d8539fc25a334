//! Processor time of the server per datagram, under a steady load, server against server.

use crate::options::Options;
use crate::orders::ROOMY;
use crate::plan::Shape;
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server};
use crate::rig::report::{self, Report};
use crate::rig::slices;

pub(crate) fn run(shape: Shape, options: &Options, report: &mut Report) -> Outcome<()> {
    let Shape { name, transport, peers, window, datagram_bytes, .. } = shape;
    let count = options.asked.count(shape.datagrams);
    let text = format!(
        "{peers} peers, {window} in flight each, {datagram_bytes} B a datagram, {} × {count} datagrams a server; \
         server ns/datagram",
        options.rounds
    );
    report::title(name, &text);
    let start = |peer: &Peer| {
        let server = Server::start(peer, transport, ROOMY, &[])?;
        let mut load = Load::start(&server)?;
        load.connect_peers(shape.terms(options))?;
        load.echo_datagrams(count)?;
        Ok((server, load))
    };
    let slice = |server: &Server, load: &mut Load| slices::measure(server, count, || load.echo_datagrams(count));
    let peers: Vec<&Peer> = options.servers.iter().collect();
    slices::compare(name, (options.rounds, shape.ratio), &peers, start, slice, report)
}
