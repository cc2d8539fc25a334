//! What a short connection costs: accept, one echo, close by the client; and what very many of them leave behind.

use crate::memory;
use crate::options::Options;
use crate::plan;
use crate::rig::Outcome;
use crate::rig::holdings;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices::{self, Ratio};
use crate::rig::socket::Security;

/// Open at a time.
const CONNECTIONS: usize = 64;
const MESSAGE_BYTES: usize = 64;
/// Short connections in one measured slice.
const SHORT: usize = 1_000;
/// Short connections before memory is read again.
const VERY_MANY: usize = 200_000;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.count(SHORT);
    let text =
        format!("accept, {MESSAGE_BYTES} B echoed, close by the client; {CONNECTIONS} at a time; server ns/connection");
    let start = |peer: &Peer| started(peer, &[], count);
    let slice = |server: &Server, load: &mut Load| {
        slices::measure(server, count, || load.churn(CONNECTIONS, MESSAGE_BYTES, count))
    };
    report::title("churn", &text);
    let peers = options.peers(Security::Plain);
    slices::compare("churn", (options.rounds, Ratio::Cost), &peers, start, slice, report)?;
    leftovers(options)
}

/// Resident memory of the server under test before and after very many short connections with idle timeouts.
fn leftovers(options: &Options) -> Outcome<()> {
    let count = options.asked.count(VERY_MANY);
    let (server, mut load) = started(&options.windlass, plan::IDLE_60, options.asked.count(SHORT))?;
    let before = holdings::resident(server.pid())?;
    load.churn(CONNECTIONS, MESSAGE_BYTES, count)?;
    let after = holdings::resident(server.pid())?;
    println!(
        "  {} --idle 60: {} resident before and {} after {count} short connections",
        options.windlass.name,
        memory::kib(before.walked),
        memory::kib(after.walked)
    );
    Ok(())
}

fn started(peer: &Peer, server_options: &[&str], warm_up: usize) -> Outcome<(Server, Load)> {
    let server = Server::start(peer, Transport::Tcp, server_options, &[])?;
    let mut load = Load::start(&server)?;
    load.connect(CONNECTIONS)?;
    load.churn(CONNECTIONS, MESSAGE_BYTES, warm_up)?;
    Ok((server, load))
}
