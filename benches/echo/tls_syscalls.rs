//! System calls per 16 KiB of TLS traffic when both directions are saturated.
//!
//! strace slows the server down so much that its clients are always ahead of it: there is always as much to read as
//! the kernel holds. What it received and what it sent are as many bytes, as it echoes.

use std::collections::BTreeMap;

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::strace;

const CONNECTIONS: usize = 4;
const MESSAGE_BYTES: usize = 1024 * 1024;
const MESSAGES: usize = 400;
/// The plaintext of a full record.
const RECORD_BYTES: usize = 16 * 1024;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let text = format!("calls per full record each way; {CONNECTIONS} connections, 1 MiB a message");
    report::title("tls-syscalls", &text);
    for (index, peer) in options.peers(Transport::Tls.security()).into_iter().enumerate() {
        let count = options.asked.count(MESSAGES);
        let calls = calls(peer, count).map_err(|error| format!("{}: {error}", peer.name))?;
        let records = count * (MESSAGE_BYTES / RECORD_BYTES);
        strace::print_row(&peer.name, &calls, records);
        // Only the server under test has bounds to keep.
        let prefix = if index == 1 { "tls-syscalls" } else { &peer.name };
        for (figure, names) in [("received", ["recv", "read"]), ("sent", ["send", "write"])] {
            let matching = calls.iter().filter(|(call, _)| names.iter().any(|name| call.starts_with(name)));
            report.verdict(
                &format!("{prefix}: calls per record {figure}"),
                matching.map(|(_, calls)| calls).sum::<usize>() as f64 / records as f64,
            );
        }
    }
    Ok(())
}

fn calls(peer: &Peer, count: usize) -> Outcome<BTreeMap<String, usize>> {
    let server = Server::start(peer, Transport::Tls, &[], &[])?;
    let mut load = Load::start(&server)?;
    load.connect(CONNECTIONS)?;
    load.echo(CONNECTIONS, MESSAGE_BYTES, CONNECTIONS)?;
    strace::count(server.pid(), || load.echo(CONNECTIONS, MESSAGE_BYTES, count).map(drop))
}
