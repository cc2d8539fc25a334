//! The command line.

use crate::Outcome;
use crate::peer::Peer;
use crate::plan::Scenario;

const USAGE: &str = "\
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

pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: usize,
    /// Slices of work a server does in one round.
    pub(crate) slices: usize,
    /// The yardstick, the echo server that has bounds to keep, and the rest.
    pub(crate) servers: Vec<Peer>,
    /// The same for receivers: the yardstick, and the one that has bounds to keep.
    pub(crate) receivers: [Peer; 2],
    /// A receiver of this crate without segmentation offload, unless bare is measured against itself.
    pub(crate) flooded: Option<Peer>,
    /// What a peer of the load sends in one call at most.
    pub(crate) datagrams_per_call: usize,
    quick: bool,
}

impl Options {
    /// A number of datagrams or calls: less in a smoke run.
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
    let mut datagrams_per_call = usize::MAX;
    let (mut quick, mut self_check, mut bench) = (false, false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            // Cargo adds it for `cargo bench`, and leaves it out for `cargo test --benches`.
            "--bench" => bench = true,
            "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
            "--server" => others.push(Peer::named(value()?)?),
            "--singly" => datagrams_per_call = 1,
            "--self-check" => self_check = true,
            "--quick" => quick = true,
            "--help" => return Ok(Request::Explain(usage())),
            name => scenarios.push(scenario(name)?),
        }
    }
    if arguments.is_empty() && !bench {
        return Ok(Request::Explain("nothing to test; run it by `cargo bench --bench datagrams`".to_owned()));
    }
    let few = if quick { 2 } else { 3 };
    let rounds = rounds.unwrap_or(if scenarios.is_empty() || quick { few } else { 7 });
    if scenarios.is_empty() {
        scenarios.extend(Scenario::ALL);
    }
    let (server, receiver, flooded) = tested(self_check)?;
    Ok(Request::Run(Options {
        scenarios,
        rounds,
        slices: if quick { 5 } else { 25 },
        servers: [Peer::own("bare", &["--bare"])?, server].into_iter().chain(others).collect(),
        receivers: [Peer::own("bare", &["--bare-receiver"])?, receiver],
        flooded,
        datagrams_per_call,
        quick,
    }))
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

fn usage() -> String {
    Scenario::ALL.into_iter().fold(USAGE.to_owned(), |text, scenario| text + "\n  " + scenario.name())
}

fn scenario(name: &str) -> Outcome<Scenario> {
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    Ok(found.ok_or_else(|| format!("no scenario or option `{name}`; --help lists them"))?)
}
