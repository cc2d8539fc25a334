//! System calls per message, by kind.

use crate::Outcome;
use crate::options::Options;
use crate::peer::Peer;
use crate::plan::{self, Shape};
use crate::process::{Load, Server};
use crate::report;
use crate::strace;

const MESSAGES: usize = 16_000;

pub(crate) fn run(options: &Options) -> Outcome<()> {
    for shape in [plan::TCP_64, plan::UNIX_64] {
        report::title(&format!("syscalls, {}", shape.name), "calls per message");
        for peer in options.peers(shape.transport.security()) {
            row(peer, shape, options.messages(MESSAGES)).map_err(|error| format!("{}: {error}", peer.name))?;
        }
    }
    Ok(())
}

fn row(peer: &Peer, shape: Shape, count: usize) -> Outcome<()> {
    let server = Server::start(peer, shape.transport, shape.server_options, &[])?;
    let mut load = Load::start(&server)?;
    load.connect(shape.connections)?;
    load.echo(shape.connections, shape.message_bytes, count.min(1_000))?;
    let calls = strace::count(server.pid(), || load.echo(shape.connections, shape.message_bytes, count).map(drop))?;
    let per_message = |calls: usize| calls as f64 / count as f64;
    let kinds: Vec<String> = calls.iter().map(|(name, calls)| format!("{name} {:.3}", per_message(*calls))).collect();
    println!("  {:<12} {:.3} = {}", peer.name, per_message(calls.values().sum()), kinds.join(" + "));
    Ok(())
}
