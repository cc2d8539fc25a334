//! What idle neighbours cost: a message among 10,000 connections of which 1 % are active, beside the same message
//! among the active ones alone.

use crate::options::Options;
use crate::plan;
use crate::rig::Outcome;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices;
use crate::rig::socket::Security;

const ACTIVE: usize = 100;
const CROWD: usize = 10_000;
const MESSAGE_BYTES: usize = 64;
/// In one measured slice.
const MESSAGES: usize = 8_000;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let crowd = options.connections(CROWD);
    let count = options.asked.count(MESSAGES);
    let text = format!("{ACTIVE} active connections of {crowd}, beside {ACTIVE} of {ACTIVE}; server ns/message");
    report::title("active-1pct", &text);
    for (index, peer) in options.peers(Security::Plain).into_iter().enumerate() {
        let windows = slices::alternate(
            options.rounds,
            &[ACTIVE, crowd],
            |connections| {
                let server = Server::start(peer, Transport::Tcp, plan::MANY_IDLE_60, &[])?;
                let mut load = Load::start(&server)?;
                load.connect(*connections)?;
                load.echo(ACTIVE, MESSAGE_BYTES, count)?;
                Ok((server, load))
            },
            |(server, load)| slices::measure(server, count, || load.echo(ACTIVE, MESSAGE_BYTES, count)),
        )?;
        println!("  {}", peer.name);
        slices::print_row("alone", &windows[0]);
        slices::print_row("in a crowd", &windows[1]);
        let ratios = slices::round_ratios(&windows[1], &windows[0], options.rounds);
        println!("  crowd / alone by round: {}", report::list(&ratios));
        let other = format!("{}: crowd / alone", peer.name);
        // Only the server under test has a bound to keep.
        let figure = if index == 1 { "active-1pct" } else { &other };
        report.verdict(figure, report::median(&ratios));
    }
    Ok(())
}
