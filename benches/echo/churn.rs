//! What a short connection costs: accept, one echo, close by the client; and what very many of them leave behind.

use crate::Outcome;
use crate::cpu;
use crate::holdings;
use crate::memory;
use crate::options::Options;
use crate::peer::Peer;
use crate::plan;
use crate::process::{Load, Server};
use crate::slices;
use crate::socket::Security;
use crate::transport::Transport;

/// Open at a time.
const CONNECTIONS: usize = 64;
const MESSAGE_BYTES: usize = 64;
/// Short connections in one measured slice.
const SHORT: usize = 1_000;
/// Short connections before memory is read again.
const VERY_MANY: usize = 200_000;

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let count = options.messages(SHORT);
    let text =
        format!("accept, {MESSAGE_BYTES} B echoed, close by the client; {CONNECTIONS} at a time; server ns/connection");
    let start = |peer: &&Peer| started(peer, &[], count);
    let slice = |server: &Server, load: &mut Load| {
        slices::measure(server, count, || load.churn(CONNECTIONS, MESSAGE_BYTES, count))
    };
    cpu::compare("churn", &text, options, &options.peers(Security::Plain), start, slice)?;
    leftovers(options)
}

/// Resident memory of the server under test before and after very many short connections with idle timeouts.
fn leftovers(options: &Options) -> Outcome<()> {
    let count = options.messages(VERY_MANY);
    let (server, mut load) = started(&options.windlass, plan::IDLE_60, options.messages(SHORT))?;
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
