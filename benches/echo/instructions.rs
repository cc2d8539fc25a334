//! User-mode instructions per message, counted by callgrind.
//!
//! Two runs that differ only in their number of messages are compared, so that what a server does once cancels out.

use crate::options::Options;
use crate::plan::{self, Shape};
use crate::rig::Outcome;
use crate::rig::callgrind;
use crate::rig::peer::Peer;
use crate::rig::process::Server;
use crate::rig::report::{self, Report};

const MESSAGES: usize = 20_000;
/// Ten for each of 10,000 connections, so that what their first messages cost does not count.
const GROWTH_MESSAGES: usize = 100_000;

/// Whether a message costs more where there are more connections.
pub(crate) fn growth(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("growth", "user-mode instructions per message of 64 B, at 100, 1,000 and 10,000 connections");
    let peer = options.peers(plan::TCP_64.transport.security())[1];
    let mut fewest = None;
    for connections in [100, 1_000, 10_000] {
        let connections = options.connections(connections);
        let shape = Shape { connections, server_options: plan::MANY_IDLE_60, ..plan::TCP_64 };
        let count = connections.max(options.asked.count(GROWTH_MESSAGES));
        let each = (total(peer, shape, 2 * count)? - total(peer, shape, count)?) / count as f64;
        println!("  {connections:<6} connections {each:.1}");
        let least = *fewest.get_or_insert(each);
        if connections > 100 {
            report.verdict("growth", each / least);
        }
    }
    Ok(())
}

pub(crate) fn run(options: &Options, _: &mut Report) -> Outcome<()> {
    for shape in [plan::TCP_64, plan::UNIX_64, plan::TLS_64] {
        report::title(&format!("instructions, {}", shape.name), "user-mode instructions per message, by callgrind");
        let count = options.asked.count(MESSAGES);
        let mut yardstick = None;
        let peers = options.peers(shape.transport.security());
        for peer in &peers {
            let failed = |error| format!("{}: {error}", peer.name);
            let once = total(peer, shape, count).map_err(failed)?;
            let twice = total(peer, shape, 2 * count).map_err(failed)?;
            let each = (twice - once) / count as f64;
            let bare = *yardstick.get_or_insert(each);
            println!("  {:<18} {each:.1}, {:.3} × {}", peer.name, each / bare, peers[0].name);
        }
    }
    Ok(())
}

/// Instructions of a server's whole life with `count` messages in it.
fn total(peer: &Peer, shape: Shape, count: usize) -> Outcome<f64> {
    callgrind::total(
        |wrapper| Server::start(peer, shape.transport, shape.server_options, wrapper),
        |load| {
            load.connect(shape.connections)?;
            load.echo(shape.connections, shape.message_bytes, count).map(drop)
        },
    )
}
