//! The command line.

use crate::Outcome;
use crate::asked::Asked;
use crate::peer::Peer;
use crate::plan::Scenario;

const USAGE: &str = "\
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

const SELF_CHECK: &str = "--self-check";

pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: usize,
    /// Slices of work a server does in one round.
    pub(crate) slices: usize,
    /// The `echo` example, or what takes its place.
    pub(crate) windlass: Peer,
    pub(crate) others: Vec<Peer>,
    /// One reactor is compared with one.
    pub(crate) self_check: bool,
    quick: bool,
}

impl Options {
    /// A number of messages or connections: less in a smoke run.
    pub(crate) fn count(&self, count: usize) -> usize {
        if self.quick { count.div_ceil(50) } else { count }
    }
}

/// `None` if there is nothing to run.
pub(crate) fn parse(arguments: &[String]) -> Outcome<Option<Options>> {
    let Some(asked) = Asked::parse(arguments, "engine", &[SELF_CHECK], usage)? else { return Ok(None) };
    let mut scenarios = asked.scenarios(&Scenario::ALL, Scenario::name)?;
    if scenarios.is_empty() {
        scenarios.extend(Scenario::ALL);
    }
    Ok(Some(Options {
        scenarios,
        self_check: asked.has(SELF_CHECK),
        rounds: asked.rounds(),
        slices: asked.slices(),
        windlass: Peer::windlass()?,
        others: asked.others,
        quick: asked.quick,
    }))
}

fn usage() -> String {
    Scenario::ALL.into_iter().fold(USAGE.to_owned(), |text, scenario| text + "\n  " + scenario.name())
}
