//! What a connection costs that is refused: by `Accept::admit`, or by a limit of the server.

use crate::options::Options;
use crate::refuser;
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices;

/// Refused connections in one measured slice.
const REFUSED: usize = 2_048;

/// Whether connections must be open for others to be refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Held,
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.count(REFUSED);
    let text =
        format!("accepted and closed at once, {} × {count} connections a server; server ns/connection", options.rounds);
    report::title("refusals", &text);
    let contenders = [
        (Peer::own("bare", &["--refuser"])?, Before::Nothing),
        (Peer::own("by admit", &["--host", "--refuse", "127.0.0.0/8"])?, Before::Nothing),
        (Peer::own("by a limit", &["--host", "--per-peer", "1"])?, Before::Held),
        (Peer::own("bare on a thread", &refuser::ON_A_THREAD)?, Before::Nothing),
    ];
    let start = |(peer, before): &(Peer, Before)| {
        let server = Server::start(peer, Transport::Tcp, &[], &[])?;
        let mut load = Load::start_to_knock(&server)?;
        if *before == Before::Held {
            load.hold()?;
        }
        load.knock(count)?;
        Ok((server, load))
    };
    let windows = slices::alternate(options.rounds, &contenders, start, |(server, load)| {
        slices::measure(server, count, || load.knock(count))
    })?;
    for ((peer, _), windows) in contenders.iter().zip(&windows) {
        slices::print_row(&peer.name, windows);
    }
    for ((peer, _), own) in contenders.iter().zip(&windows).skip(1) {
        let ratios = slices::round_ratios(own, &windows[0], options.rounds);
        println!("  {} / bare by round: {}", peer.name, report::list(&ratios));
        report.verdict(&format!("refusals: {}", peer.name), report::median(&ratios));
    }
    Ok(())
}
