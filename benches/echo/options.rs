//! The command line.

use crate::Outcome;
use crate::bare;
use crate::peer::Peer;
use crate::plan::Scenario;
use crate::socket::Security;

const USAGE: &str = "\
usage: cargo bench --bench echo -- [SCENARIO…] [OPTIONS]

Compares the `echo` example (windlass) with a hand-written mio loop (bare). Without a name the scenarios that compare
processor time run, with few rounds.

  --rounds N          rounds of each comparison (7 with names, 3 without)
  --server NAME=PATH  one more server with the interface of the `echo` example; may be repeated
  --self-check        bare against itself instead of windlass: shows the noise
  --quick             a smoke run: small windows, fewer connections, figures without meaning
  --clean-build       let `size` time a build from nothing
  --help              this text

WINDLASS_ECHO=/path/to/binary takes the place of the `echo` example, which is otherwise built first.

scenarios:";

pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: usize,
    /// Slices of work a server does in one round.
    pub(crate) slices: usize,
    pub(crate) bare: Peer,
    /// The server that has bounds to keep.
    pub(crate) windlass: Peer,
    bare_tls: Peer,
    /// The yardstick of TLS as most write it.
    bare_tls_buffered: Peer,
    others: Vec<Peer>,
    pub(crate) quick: bool,
    pub(crate) clean_build: bool,
}

impl Options {
    /// All servers: the yardstick, the one under test, and the rest.
    pub(crate) fn peers(&self, security: Security) -> Vec<&Peer> {
        let own = match security {
            Security::Plain => vec![&self.bare, &self.windlass],
            Security::Tls => vec![&self.bare_tls, &self.windlass, &self.bare_tls_buffered],
        };
        own.into_iter().chain(&self.others).collect()
    }

    /// A number of messages, or of seconds' worth of work: less in a smoke run.
    pub(crate) fn messages(&self, count: usize) -> usize {
        if self.quick { count.div_ceil(50) } else { count }
    }

    /// A number of connections: less in a smoke run if there are many.
    pub(crate) fn connections(&self, count: usize) -> usize {
        if self.quick && count >= 1_000 { count / 20 } else { count }
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
    let (mut quick, mut clean_build, mut self_check, mut bench) = (false, false, false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            // Cargo adds it for `cargo bench`, and leaves it out for `cargo test --benches`.
            "--bench" => bench = true,
            "--rounds" => rounds = Some(value()?.parse::<usize>()?.max(1)),
            "--server" => others.push(Peer::named(value()?)?),
            "--self-check" => self_check = true,
            "--quick" => quick = true,
            "--clean-build" => clean_build = true,
            "--help" => return Ok(Request::Explain(usage())),
            name => scenarios.push(scenario(name)?),
        }
    }
    if arguments.is_empty() && !bench {
        return Ok(Request::Explain("nothing to test; run it by `cargo bench --bench echo`".to_owned()));
    }
    let few = if quick { 2 } else { 3 };
    let named = !scenarios.is_empty();
    if !named {
        scenarios.extend(Scenario::ALL.into_iter().filter(|scenario| scenario.is_default()));
    }
    let windlass = if self_check { Peer::own("bare again", &[])? } else { Peer::windlass()? };
    let rounds = rounds.unwrap_or(if named && !quick { 7 } else { few });
    Ok(Request::Run(Options {
        scenarios,
        rounds,
        slices: if quick { 5 } else { 25 },
        bare: Peer::own("bare", &[])?,
        windlass,
        bare_tls: Peer::own("bare-tls", &[])?,
        bare_tls_buffered: Peer::own("bare-tls-buffered", &bare::BUFFERED)?,
        others,
        quick,
        clean_build,
    }))
}

fn usage() -> String {
    let names = Scenario::ALL.into_iter().map(|scenario| {
        let mark = if scenario.is_default() { " (default)" } else { "" };
        format!("\n  {}{mark}", scenario.name())
    });
    names.fold(USAGE.to_owned(), |text, line| text + &line)
}

fn scenario(name: &str) -> Outcome<Scenario> {
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    Ok(found.ok_or_else(|| format!("no scenario or option `{name}`; --help lists them"))?)
}
