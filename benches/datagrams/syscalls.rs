//! System calls per datagram, by kind. A datagram in and its echo out are one datagram.

use crate::options::Options;
use crate::orders::ROOMY;
use crate::plan::{self, Shape};
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server};
use crate::rig::report::{self, Report};
use crate::rig::strace;

const DATAGRAMS: usize = 16_000;
/// Echoed before calls are counted.
const WARM_UP: usize = 1_000;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let shape = plan::UDP_16;
    report::title("udp-syscalls", &format!("calls per datagram under the load of {}", shape.name));
    if !strace::is_installed() {
        report::skipped("strace is not installed");
        return Ok(());
    }
    for (index, peer) in options.servers.iter().enumerate() {
        let calls = calls(peer, shape, options).map_err(|error| format!("{}: {error}", peer.name))?;
        // Only the server under test has a bound to keep.
        if index == 1 {
            report.verdict("udp-syscalls", calls);
        }
    }
    Ok(())
}

/// Prints the row of a server, and returns its calls per datagram.
fn calls(peer: &Peer, shape: Shape, options: &Options) -> Outcome<f64> {
    let count = options.asked.count(DATAGRAMS);
    let server = Server::start(peer, shape.transport, ROOMY, &[])?;
    let mut load = Load::start(&server)?;
    load.connect_peers(shape.terms(options))?;
    load.echo_datagrams(count.min(WARM_UP))?;
    let calls = strace::count(server.pid(), || load.echo_datagrams(count).map(drop))?;
    Ok(strace::print_row(&peer.name, &calls, count))
}
