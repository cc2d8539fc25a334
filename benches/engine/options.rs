//! The command line.

use crate::Outcome;
use crate::peer::Peer;
use crate::plan::Scenario;

const USAGE: &str = "\
usage: cargo bench --bench engine -- [SCENARIO…] [OPTIONS]

Measures what many reactors and the server's face cost. Without a name all scenarios run, with few rounds.

  --rounds N          rounds of each comparison (7 with names, 3 without)
  --server NAME=PATH  one more server with the interface of the `echo` example, for the comparisons of reactors; may be
                      repeated
  --quick             a smoke run: small windows, fewer connections, figures without meaning
  --help              this text

WINDLASS_ECHO=/path/to/binary takes the place of the `echo` example, which is otherwise built first. Linux only;
`remote-sends` needs strace, `callbacks` valgrind, `counters` unshare and ip.

scenarios:";

pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: usize,
    /// Slices of work a server does in one round.
    pub(crate) slices: usize,
    /// The `echo` example, or what takes its place.
    pub(crate) windlass: Peer,
    pub(crate) others: Vec<Peer>,
    quick: bool,
}

impl Options {
    /// A number of messages or connections: less in a smoke run.
    pub(crate) fn count(&self, count: usize) -> usize {
        if self.quick { count.div_ceil(50) } else { count }
    }
}

pub(crate) enum Request {
    Run(Options),
    Explain(String),
}

pub(crate) fn parse(arguments: &[String]) -> Outcome<Request> {
    let mut scenarios = Vec::new();
    let mut rounds = None;
    let mut others = Vec::new();
    let (mut quick, mut bench) = (false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            // Cargo adds it for `cargo bench`, and leaves it out for `cargo test --benches`.
            "--bench" => bench = true,
            "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
            "--server" => others.push(Peer::named(value()?)?),
            "--quick" => quick = true,
            "--help" => return Ok(Request::Explain(usage())),
            name => scenarios.push(scenario(name)?),
        }
    }
    if arguments.is_empty() && !bench {
        return Ok(Request::Explain("nothing to test; run it by `cargo bench --bench engine`".to_owned()));
    }
    let few = if quick { 2 } else { 3 };
    let rounds = rounds.unwrap_or(if scenarios.is_empty() || quick { few } else { 7 });
    if scenarios.is_empty() {
        scenarios.extend(Scenario::ALL);
    }
    let slices = if quick { 5 } else { 25 };
    Ok(Request::Run(Options { scenarios, rounds, slices, windlass: Peer::windlass()?, others, quick }))
}

fn usage() -> String {
    Scenario::ALL.into_iter().fold(USAGE.to_owned(), |text, scenario| text + "\n  " + scenario.name())
}

fn scenario(name: &str) -> Outcome<Scenario> {
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    Ok(found.ok_or_else(|| format!("no scenario or option `{name}`; --help lists them"))?)
}
