//! System calls per message, by kind.

use crate::options::Options;
use crate::plan::{self, Shape};
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server};
use crate::rig::report::{self, Report};
use crate::rig::strace;

const MESSAGES: usize = 16_000;

pub(crate) fn run(options: &Options, _: &mut Report) -> Outcome<()> {
    for shape in [plan::TCP_64, plan::UNIX_64] {
        report::title(&format!("syscalls, {}", shape.name), "calls per message");
        for peer in options.peers(shape.transport.security()) {
            row(peer, shape, options.asked.count(MESSAGES)).map_err(|error| format!("{}: {error}", peer.name))?;
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
    strace::print_row(&peer.name, &calls, count);
    Ok(())
}
