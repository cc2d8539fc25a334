//! What a connection costs that is refused: by `Accept::admit`, or by a limit of the server.

use crate::Outcome;
use crate::knock::Knock;
use crate::launch::Core;
use crate::options::Options;
use crate::peer::Peer;
use crate::process::Server;
use crate::refuser;
use crate::report;
use crate::site;
use crate::slices;
use crate::socket::Security;

/// Refused connections in one measured slice.
const REFUSED: usize = 2_048;

/// Whether connections must be open for others to be refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Held,
}

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let count = options.count(REFUSED);
    let text = format!(
        "accepted and closed at once, {} × {} × {count} connections a server; server ns/connection",
        options.rounds, options.slices
    );
    report::title("refusals", &text);
    let contenders = [
        (Peer::own("bare", &["--refuser"])?, Before::Nothing),
        (Peer::own("by admit", &["--host", "--refuse", "127.0.0.0/8"])?, Before::Nothing),
        (Peer::own("by a limit", &["--host", "--per-peer", "1"])?, Before::Held),
        (Peer::own("bare on a thread", &refuser::ON_A_THREAD)?, Before::Nothing),
    ];
    let start = |(peer, before): &(Peer, Before)| {
        let server = Server::start_at(site::loopback(Security::Plain)?, Core::Server, peer, &[], &[])?;
        let mut load = Knock::start(&server)?;
        if *before == Before::Held {
            load.hold()?;
        }
        load.knock(count)?;
        Ok((server, load))
    };
    let windows = slices::alternate(options, &contenders, start, |(server, load)| {
        slices::measure(server, count, || load.knock(count))
    })?;
    for ((peer, _), windows) in contenders.iter().zip(&windows) {
        slices::print_row(&peer.name, windows);
    }
    for ((peer, _), own) in contenders.iter().zip(&windows).skip(1) {
        let ratios = slices::round_ratios(own, &windows[0], options);
        println!("  {} / bare by round: {}", peer.name, report::list(&ratios));
        report::verdict(&format!("refusals: {}", peer.name), report::median(&ratios));
    }
    Ok(())
}
