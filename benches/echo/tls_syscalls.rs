//! System calls per 16 KiB of TLS traffic when both directions are saturated.
//!
//! strace slows the server down so much that its clients are always ahead of it: there is always as much to read as
//! the kernel holds. What it received and what it sent are as many bytes, as it echoes.

use std::collections::BTreeMap;

use crate::Outcome;
use crate::options::Options;
use crate::peer::Peer;
use crate::process::{Load, Server};
use crate::report;
use crate::strace;
use crate::transport::Transport;

const CONNECTIONS: usize = 4;
const MESSAGE_BYTES: usize = 1024 * 1024;
const MESSAGES: usize = 400;
/// The plaintext of a full record.
const RECORD_BYTES: usize = 16 * 1024;

pub(crate) fn run(options: &Options) -> Outcome<()> {
    let text = format!("calls per full record each way; {CONNECTIONS} connections, 1 MiB a message");
    report::title("tls-syscalls", &text);
    for (index, peer) in options.peers(Transport::Tls.security()).into_iter().enumerate() {
        let count = options.messages(MESSAGES);
        let calls = calls(peer, count).map_err(|error| format!("{}: {error}", peer.name))?;
        let per_record = |calls: usize| calls as f64 / (count * (MESSAGE_BYTES / RECORD_BYTES)) as f64;
        let kinds: Vec<String> =
            calls.iter().map(|(name, calls)| format!("{name} {:.3}", per_record(*calls))).collect();
        println!("  {:<18} {:.3} = {}", peer.name, per_record(calls.values().sum()), kinds.join(" + "));
        // Only the server under test has bounds to keep.
        let prefix = if index == 1 { "tls-syscalls" } else { &peer.name };
        for (figure, names) in [("received", ["recv", "read"]), ("sent", ["send", "write"])] {
            let matching = calls.iter().filter(|(call, _)| names.iter().any(|name| call.starts_with(name)));
            report::verdict(
                &format!("{prefix}: calls per record {figure}"),
                per_record(matching.map(|(_, calls)| calls).sum()),
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
