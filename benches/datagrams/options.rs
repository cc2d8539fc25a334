//! The command line.

use crate::rig::Outcome;
use crate::rig::asked::{Asked, Rounds};
use crate::rig::peer::Peer;

pub(crate) const USAGE: &str = "\
usage: cargo bench --bench datagrams -- [SCENARIO…] [OPTIONS]

Compares the `echo` example (windlass) and a receiver on this crate with hand-written mio loops (bare). Without a name
all scenarios run, with few rounds.

  --rounds N          rounds of each comparison (7 with names, 3 without)
  --server NAME=PATH  one more server with the interface of the `echo` example; may be repeated
  --singly            peers send each datagram in a call of its own; the load is then slower than the servers
  --self-check        bare against itself instead of windlass: shows the noise
  --quick             a smoke run: small windows, figures without meaning
  --help              this text

WINDLASS_ECHO=/path/to/binary takes the place of the `echo` example, which is otherwise built first. Linux only;
`udp-syscalls` needs strace.

scenarios:";

pub(crate) const OPTIONS: &[&str] = &["--rounds N", "--server NAME=PATH", SINGLY, SELF_CHECK, "--quick"];
const SINGLY: &str = "--singly";
const SELF_CHECK: &str = "--self-check";

pub(crate) struct Options {
    pub(crate) asked: Asked,
    pub(crate) rounds: Rounds,
    /// The yardstick, the echo server that has bounds to keep, and the rest.
    pub(crate) servers: Vec<Peer>,
    /// The same for receivers: the yardstick, and the one that has bounds to keep.
    pub(crate) receivers: [Peer; 2],
    /// A receiver of this crate without segmentation offload, unless bare is measured against itself.
    pub(crate) flooded: Option<Peer>,
    /// What a peer of the load sends in one call at most.
    pub(crate) datagrams_per_call: usize,
}

impl Options {
    pub(crate) fn new(asked: Asked) -> Outcome<Self> {
        let (server, receiver, flooded) = tested(asked.has(SELF_CHECK))?;
        Ok(Options {
            rounds: asked.rounds()?,
            datagrams_per_call: if asked.has(SINGLY) { 1 } else { usize::MAX },
            servers: [Peer::own("bare", &["--bare"])?, server].into_iter().chain(asked.others()?).collect(),
            receivers: [Peer::own("bare", &["--bare-receiver"])?, receiver],
            flooded,
            asked,
        })
    }
}

/// What is compared with the yardsticks: an echo server, a receiver, and one to be flooded.
fn tested(self_check: bool) -> Outcome<(Peer, Peer, Option<Peer>)> {
    if self_check {
        let again = "bare again";
        return Ok((Peer::own(again, &["--bare"])?, Peer::own(again, &["--bare-receiver"])?, None));
    }
    let receiver = Peer::own("windlass", &["--receiver", "--gro", "on"])?;
    let flooded = Peer::own("windlass", &["--receiver"])?;
    Ok((Peer::windlass()?, receiver, Some(flooded)))
}
