//! What a server's callbacks cost: instructions per message with all of them and a snapshot each second, beside none;
//! and processor time, since instructions do not count system calls.
//!
//! Under callgrind a message takes some fifty times as long, so that there are so many more snapshots per message than
//! at full speed.

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::callgrind;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices;

/// Under callgrind.
const MESSAGES: usize = 20_000;
/// In one measured slice.
const TIMED: usize = 8_000;
const CONNECTIONS: usize = 64;
const MESSAGE_BYTES: usize = 64;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.count(MESSAGES);
    report::title("callbacks", "user-mode instructions per message of a server, by callgrind");
    let peers = [
        Peer::own("no callbacks", &["--host"])?,
        Peer::own("callbacks", &["--host", "--callbacks", "all"])?,
        Peer::own("without on_state", &["--host", "--callbacks", "few"])?,
        Peer { name: "echo example".to_owned(), ..options.windlass.clone() },
    ];
    let mut each = Vec::new();
    for peer in &peers {
        let failed = |error| format!("{}: {error}", peer.name);
        let once = total(peer, count).map_err(failed)?;
        let twice = total(peer, 2 * count).map_err(failed)?;
        each.push((twice - once) / count as f64);
        println!("  {:<18} {:.1}", peer.name, (twice - once) / count as f64);
    }
    report.verdict("callbacks", each[1] / each[0]);
    report.verdict("callbacks: without on_state", each[2] / each[0]);
    processor_time(&peers, options, report)
}

fn processor_time(peers: &[Peer], options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.count(TIMED);
    println!("  server ns/message, {} × {count} messages a server:", options.rounds);
    let start = |peer: &Peer| {
        let server = Server::start(peer, Transport::Tcp, &[], &[])?;
        let mut load = Load::start(&server)?;
        load.connect(CONNECTIONS)?;
        load.echo(CONNECTIONS, MESSAGE_BYTES, count)?;
        Ok((server, load))
    };
    let windows = slices::alternate(options.rounds, peers, start, |(server, load)| {
        slices::measure(server, count, || load.echo(CONNECTIONS, MESSAGE_BYTES, count))
    })?;
    for (peer, windows) in peers.iter().zip(&windows) {
        slices::print_row(&peer.name, windows);
    }
    for (peer, own) in peers.iter().zip(&windows).skip(1) {
        let ratios = slices::round_ratios(own, &windows[0], options.rounds);
        report
            .verdict(&format!("callbacks: processor time, {} / {}", peer.name, peers[0].name), report::median(&ratios));
    }
    Ok(())
}

/// Instructions of a server's whole life with `count` messages in it.
fn total(peer: &Peer, count: usize) -> Outcome<f64> {
    callgrind::total(
        |wrapper| Server::start(peer, Transport::Tcp, &[], wrapper),
        |load| {
            load.connect(CONNECTIONS)?;
            load.echo(CONNECTIONS, MESSAGE_BYTES, count).map(drop)
        },
    )
}
