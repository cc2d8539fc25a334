//! The command line.

use crate::rig::Outcome;
use crate::rig::asked::{Asked, Rounds};
use crate::rig::peer::Peer;

pub(crate) const USAGE: &str = "\
usage: cargo bench --bench engine -- [SCENARIO…] [OPTIONS]

Measures what many reactors and the server's face cost. Without a name all scenarios run, with few rounds.

  --rounds N          rounds of each comparison (7 with names, 3 without)
  --server NAME=PATH  one more server with the interface of the `echo` example, for the comparisons of reactors; may be
                      repeated
  --self-check        one reactor against one in the comparisons of reactors: shows the noise
  --quick             a smoke run: small windows, fewer connections, figures without meaning
  --help              this text

WINDLASS_ECHO=/path/to/binary takes the place of the `echo` example, which is otherwise built first. Linux only;
`remote-sends` needs strace, `callbacks` valgrind, `counters` unshare and ip.

scenarios:";

pub(crate) const OPTIONS: &[&str] = &["--rounds N", "--server NAME=PATH", SELF_CHECK, "--quick"];
pub(crate) const SELF_CHECK: &str = "--self-check";

pub(crate) struct Options {
    pub(crate) asked: Asked,
    pub(crate) rounds: Rounds,
    /// The `echo` example, or what takes its place.
    pub(crate) windlass: Peer,
    pub(crate) others: Vec<Peer>,
}

impl Options {
    pub(crate) fn new(asked: Asked) -> Outcome<Self> {
        Ok(Options { rounds: asked.rounds()?, windlass: Peer::windlass()?, others: asked.others()?, asked })
    }
}
