//! System calls per datagram, by kind. A datagram in and its echo out are one datagram.

use std::process::{Command, Stdio};

use crate::Outcome;
use crate::options::Options;
use crate::peer::Peer;
use crate::plan::{self, Shape};
use crate::process::{self, Load, Server};
use crate::report;
use crate::strace;

const DATAGRAMS: usize = 16_000;
/// Echoed before calls are counted.
const WARM_UP: usize = 1_000;

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let shape = plan::UDP_16;
    report::title("udp-syscalls", &format!("calls per datagram under the load of {}", shape.name));
    if !is_installed("strace") {
        println!("  skipped: strace is not installed");
        return Ok(());
    }
    for (index, peer) in options.servers.iter().enumerate() {
        let calls = calls(peer, shape, options).map_err(|error| format!("{}: {error}", peer.name))?;
        // Only the server under test has a bound to keep.
        if index == 1 {
            report::verdict("udp-syscalls", calls);
        }
    }
    Ok(())
}

/// Prints the row of a server, and returns its calls per datagram.
fn calls(peer: &Peer, shape: Shape, options: &Options) -> Outcome<f64> {
    let count = options.count(DATAGRAMS);
    let server = Server::start(peer, shape.transport, process::ROOMY)?;
    let mut load = Load::start(&server)?;
    load.connect(shape.terms(options))?;
    load.echo(count.min(WARM_UP))?;
    let calls = strace::count(server.pid(), || load.echo(count).map(drop))?;
    let per_datagram = |calls: usize| calls as f64 / count as f64;
    let kinds: Vec<String> = calls.iter().map(|(name, calls)| format!("{name} {:.3}", per_datagram(*calls))).collect();
    let total = per_datagram(calls.values().sum());
    println!("  {:<12} {total:.3} = {}", peer.name, kinds.join(" + "));
    Ok(total)
}

fn is_installed(program: &str) -> bool {
    let status = Command::new(program).arg("-V").stdin(Stdio::null()).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
