//! What a TLS connection costs in resident memory: before its hello, when it is established, and after traffic.

use std::thread;
use std::time::Duration;

use crate::options::Options;
use crate::plan;
use crate::rig::Outcome;
use crate::rig::holdings;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};

const CONNECTIONS: usize = 5_000;
const MESSAGE_BYTES: usize = 16 * 1024;
/// Connections whose messages are on their way at a time; bytes on their way are not what is measured.
const BUSY: usize = 16;
/// Opened and closed first, so that code and buffers every server needs are in memory before counting starts. Few, as
/// what they leave in the heap is used again by those that are counted.
const WARM_UP: usize = 8;
const WARM_UP_BYTES: usize = 256 * 1024;
/// Connects before the server has shown that it accepted them; below the smallest usual backlog.
const CONNECTS_PER_BATCH: usize = 120;
/// After the last connection was opened or closed.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.connections(CONNECTIONS);
    let text = format!("resident bytes per connection, {count} of them");
    report::title("tls-memory", &text);
    for (index, peer) in options.peers(Transport::Tls.security()).into_iter().enumerate() {
        let failed = |error| format!("{}: {error}", peer.name);
        let established = established(peer, count).map_err(failed)?;
        let figures = [
            ("without a hello", silent(peer, count).map_err(failed)?),
            ("established", established.before),
            ("after 16 KiB each way", established.after),
        ];
        // Only the server under test has bounds to keep.
        let prefix = if index == 1 { "tls-memory" } else { &peer.name };
        for (figure, bytes) in figures {
            report.verdict(&format!("{prefix}: B {figure}"), bytes);
        }
    }
    Ok(())
}

/// Bytes per connection.
struct Established {
    before: f64,
    after: f64,
}

fn established(peer: &Peer, count: usize) -> Outcome<Established> {
    let (server, mut load) = started(peer)?;
    let none = resident(&server)?;
    load.connect(count)?;
    let before = (resident(&server)? - none) / count as f64;
    load.sweep(BUSY, MESSAGE_BYTES, count)?;
    let after = (resident(&server)? - none) / count as f64;
    Ok(Established { before, after })
}

/// Bytes per connection that is accepted and has sent nothing.
fn silent(peer: &Peer, count: usize) -> Outcome<f64> {
    let (server, mut load) = started(peer)?;
    let none = resident(&server)?;
    let descriptors = holdings::open_descriptors(server.pid())?;
    let mut open = 0;
    while open < count {
        let batch = CONNECTS_PER_BATCH.min(count - open);
        load.connect_silently(batch)?;
        open += batch;
        server.wait_for_accepts(descriptors + open)?;
    }
    Ok((resident(&server)? - none) / count as f64)
}

/// A server that has served some connections, all of them gone.
fn started(peer: &Peer) -> Outcome<(Server, Load)> {
    let server = Server::start(peer, Transport::Tls, plan::MANY, &[])?;
    let mut load = Load::start(&server)?;
    load.connect(WARM_UP)?;
    let descriptors = holdings::open_descriptors(server.pid())? - WARM_UP;
    load.echo(WARM_UP, WARM_UP_BYTES, 4 * WARM_UP)?;
    load.close()?;
    server.wait_for_descriptors(descriptors)?;
    Ok((server, load))
}

fn resident(server: &Server) -> Outcome<f64> {
    thread::sleep(SETTLE);
    Ok(holdings::resident(server.pid())?.walked as f64)
}
