//! The command line.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::rig::Outcome;
use crate::rig::asked::Asked;
use crate::rig::child::own_executable;
use crate::rig::peer::example;

pub(crate) const USAGE: &str = "\
usage: cargo bench --bench unlucky -- [SCENARIO…] [OPTIONS]

Without a name all scenarios run. The exit status is 1 if a condition failed, if something could not be measured, or,
but for `--quick`, if a figure is over its bound.

  --quick   smaller counts, a minute in all
  --seed N  repeats the random choices of a run
  --help    this text

WINDLASS_ECHO and WINDLASS_PROXY name binaries in place of the `echo` and `proxy` examples, which are otherwise built
first. Linux only; without strace some scenarios or rows are skipped.

scenarios:";

pub(crate) const OPTIONS: &[&str] = &["--quick", "--seed N"];

pub(crate) struct Options {
    pub(crate) asked: Asked,
    pub(crate) seed: u64,
    /// This program, which is a host in another role.
    pub(crate) own: String,
    /// The programs of the examples of that name.
    pub(crate) echo: String,
    pub(crate) proxy: String,
}

impl Options {
    pub(crate) fn new(asked: Asked) -> Outcome<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
        Ok(Options {
            seed: asked.number("--seed")?.unwrap_or(u64::from(now)),
            own: own_executable()?.display().to_string(),
            echo: example("echo")?.display().to_string(),
            proxy: example("proxy")?.display().to_string(),
            asked,
        })
    }
}
