//! The command line.

use crate::rig::Outcome;
use crate::rig::asked::{Asked, Rounds};
use crate::rig::peer::Peer;
use crate::rig::socket::Security;

pub(crate) const USAGE: &str = "\
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

pub(crate) const OPTIONS: &[&str] = &["--rounds N", "--server NAME=PATH", SELF_CHECK, "--quick", CLEAN_BUILD];
const SELF_CHECK: &str = "--self-check";
pub(crate) const CLEAN_BUILD: &str = "--clean-build";

pub(crate) struct Options {
    pub(crate) asked: Asked,
    pub(crate) rounds: Rounds,
    bare: Peer,
    /// The server that has bounds to keep.
    pub(crate) windlass: Peer,
    bare_tls: Peer,
    /// The yardstick of TLS as most write it.
    bare_tls_buffered: Peer,
    others: Vec<Peer>,
}

impl Options {
    pub(crate) fn new(asked: Asked) -> Outcome<Self> {
        Ok(Options {
            rounds: asked.rounds()?,
            bare: Peer::own("bare", &["--bare"])?,
            windlass: if asked.has(SELF_CHECK) { Peer::own("bare again", &["--bare"])? } else { Peer::windlass()? },
            bare_tls: Peer::own("bare-tls", &["--bare"])?,
            bare_tls_buffered: Peer::own("bare-tls-buffered", &["--bare", "--rustls", "buffered"])?,
            others: asked.others()?,
            asked,
        })
    }

    /// All servers: the yardstick, the one under test, and the rest.
    pub(crate) fn peers(&self, security: Security) -> Vec<&Peer> {
        let own = match security {
            Security::Plain => vec![&self.bare, &self.windlass],
            Security::Tls => vec![&self.bare_tls, &self.windlass, &self.bare_tls_buffered],
        };
        own.into_iter().chain(&self.others).collect()
    }

    /// A number of connections: less in a smoke run if there are many.
    pub(crate) fn connections(&self, count: usize) -> usize {
        if count >= 1_000 { self.asked.pick(count, count / 20) } else { count }
    }
}
