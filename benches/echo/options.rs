//! The command line.

use crate::Outcome;
use crate::asked::Asked;
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

const SELF_CHECK: &str = "--self-check";
const CLEAN_BUILD: &str = "--clean-build";

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

/// `None` if there is nothing to run.
pub(crate) fn parse(arguments: &[String]) -> Outcome<Option<Options>> {
    let Some(asked) = Asked::parse(arguments, "echo", &[SELF_CHECK, CLEAN_BUILD], usage)? else { return Ok(None) };
    let mut scenarios = asked.scenarios(&Scenario::ALL, Scenario::name)?;
    if scenarios.is_empty() {
        scenarios.extend(Scenario::ALL.into_iter().filter(|scenario| scenario.is_default()));
    }
    Ok(Some(Options {
        scenarios,
        rounds: asked.rounds(),
        slices: asked.slices(),
        bare: Peer::own("bare", &[])?,
        windlass: if asked.has(SELF_CHECK) { Peer::own("bare again", &[])? } else { Peer::windlass()? },
        bare_tls: Peer::own("bare-tls", &[])?,
        bare_tls_buffered: Peer::own("bare-tls-buffered", &bare::BUFFERED)?,
        clean_build: asked.has(CLEAN_BUILD),
        others: asked.others,
        quick: asked.quick,
    }))
}

fn usage() -> String {
    let names = Scenario::ALL.into_iter().map(|scenario| {
        let mark = if scenario.is_default() { " (default)" } else { "" };
        format!("\n  {}{mark}", scenario.name())
    });
    names.fold(USAGE.to_owned(), |text, line| text + &line)
}
