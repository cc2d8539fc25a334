//! What a datagram costs that only comes in, when the kernel hands over many in one piece: a receiver with receive
//! offload beside one that calls `recv_from` for each. The sender is the same for both, and segments in the kernel.

use crate::options::Options;
use crate::orders::ROOMY;
use crate::rig::Outcome;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices::{self, Ratio, Window};
use crate::sender::Shape;

const NAME: &str = "udp-gro";
/// As many as fit into the 64 KiB of a call.
const SHAPE: Shape = Shape { datagram_bytes: 1_400, datagrams_per_call: 44 };
/// In one measured slice.
const CALLS: usize = 2_000;
/// More lost datagrams, by hundreds, mean that the receivers did not do the same work.
const LOST_PERCENT_MAX: u64 = 1;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let calls = options.asked.count(CALLS);
    let text = format!(
        "one sender, {} × {} B a call, {} × {} datagrams a receiver; receiver ns/datagram",
        SHAPE.datagrams_per_call,
        SHAPE.datagram_bytes,
        options.rounds,
        calls * SHAPE.datagrams_per_call
    );
    report::title(NAME, &text);
    let start = |peer: &Peer| {
        let server = Server::start(peer, Transport::Udp, ROOMY, &[])?;
        let mut load = Load::start(&server)?;
        load.stream(SHAPE, calls)?;
        Ok((server, load))
    };
    let slice = |server: &Server, load: &mut Load| measure(server, load, calls);
    let peers: Vec<&Peer> = options.receivers.iter().collect();
    slices::compare(NAME, (options.rounds, Ratio::Work), &peers, start, slice, report)
}

/// Charges a receiver for what it got, which may be a little less than what was sent.
fn measure(server: &Server, load: &mut Load, calls: usize) -> Outcome<Window> {
    let sent = calls * SHAPE.datagrams_per_call;
    let mut received = 0;
    let mut window = slices::measure(server, sent, || {
        let (answer, count) = load.stream(SHAPE, calls)?;
        received = count;
        Ok(answer)
    })?;
    let lost = sent as u64 - received;
    if lost * 100 > sent as u64 * LOST_PERCENT_MAX {
        return Err(format!("{lost} of {sent} datagrams were lost; is net.core.rmem_max below 4 MiB?").into());
    }
    window.server_ns *= sent as f64 / received as f64;
    Ok(window)
}
