//! Whether a flooded receiver knows what it missed: what it counted and what it was told that the kernel dropped must
//! be what was sent.

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::sender::Shape;

/// Many in a call, so that the sender is faster than any receiver.
const SHAPE: Shape = Shape { datagram_bytes: 64, datagrams_per_call: 64 };
/// Not fewer in a smoke run: a second's worth, and few enough might all find room.
const DATAGRAMS: usize = 1_000_000;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let calls = DATAGRAMS / SHAPE.datagrams_per_call;
    report::title("udp-flood", &format!("{DATAGRAMS} datagrams of {} B at full speed", SHAPE.datagram_bytes));
    let Some(peer) = &options.flooded else {
        println!("  skipped: bare does not ask the kernel what it dropped");
        return Ok(());
    };
    // With the system's receive buffer, which is soon full.
    let server = Server::start(peer, Transport::Udp, &[], &[])?;
    let fate = Load::start(&server)?.flood(SHAPE, calls)?;
    let row = format!(
        "{}: {} received + {} dropped by the kernel, of {} sent, questions among them",
        server.name(),
        fate.received,
        fate.dropped,
        fate.sent
    );
    report.condition(&row, fate.received + fate.dropped == fate.sent);
    if fate.dropped == 0 {
        println!("  nothing was dropped, which proves little");
    }
    Ok(())
}
