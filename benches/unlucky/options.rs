//! The command line.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::Outcome;
use crate::child;

const USAGE: &str = "\
usage: cargo bench --bench unlucky -- [SCENARIO…] [OPTIONS]

Without a name all scenarios run; the exit status is an error if a condition failed or could not be measured.

  --quick   smaller counts, a minute in all
  --seed N  repeats the random choices of a run
  --help    this text

WINDLASS_ECHO and WINDLASS_PROXY name binaries in place of the `echo` and `proxy` examples, which are otherwise built
first. Linux only; without strace some scenarios or rows are skipped.

scenarios:";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Starvation,
    AcceptFaults,
    AcceptErrnos,
    DrainOwed,
    DrainRead,
    ShutdownMoments,
    ProxySlow,
    WaysToDie,
    Panics,
    /// Last, when the machine has come to rest.
    Fairness,
}

impl Scenario {
    const ALL: [Scenario; 10] = [
        Scenario::Starvation,
        Scenario::AcceptFaults,
        Scenario::AcceptErrnos,
        Scenario::DrainOwed,
        Scenario::DrainRead,
        Scenario::ShutdownMoments,
        Scenario::ProxySlow,
        Scenario::WaysToDie,
        Scenario::Panics,
        Scenario::Fairness,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scenario::Starvation => "starvation",
            Scenario::AcceptFaults => "accept-faults",
            Scenario::AcceptErrnos => "accept-errnos",
            Scenario::DrainOwed => "drain-owed",
            Scenario::DrainRead => "drain-read",
            Scenario::ShutdownMoments => "shutdown-moments",
            Scenario::ProxySlow => "proxy-slow",
            Scenario::WaysToDie => "ways-to-die",
            Scenario::Panics => "panics",
            Scenario::Fairness => "fairness",
        }
    }
}

pub(crate) struct Options {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) seed: u64,
    quick: bool,
    /// The programs of the examples of that name.
    pub(crate) echo: String,
    pub(crate) proxy: String,
}

impl Options {
    /// The one in a full run, the other in a quick one.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

pub(crate) enum Request {
    Run(Options),
    Explain(String),
}

pub(crate) fn parse(arguments: &[String]) -> Outcome<Request> {
    let mut scenarios = Vec::new();
    let mut seed = None;
    let (mut quick, mut bench) = (false, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            // Cargo adds it for `cargo bench`, and leaves it out for `cargo test --benches`.
            "--bench" => bench = true,
            "--quick" => quick = true,
            "--seed" => seed = Some(rest.next().ok_or("--seed wants a number")?.parse::<u64>()?),
            "--help" => return Ok(Request::Explain(usage())),
            name => scenarios.push(scenario(name)?),
        }
    }
    if arguments.is_empty() && !bench {
        return Ok(Request::Explain("nothing to test; run it by `cargo bench --bench unlucky`".to_owned()));
    }
    if scenarios.is_empty() {
        scenarios.extend(Scenario::ALL);
    }
    let seed = seed.unwrap_or(u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()));
    let [echo, proxy] = child::examples(["echo", "proxy"])?;
    Ok(Request::Run(Options { scenarios, seed, quick, echo, proxy }))
}

fn usage() -> String {
    Scenario::ALL.into_iter().fold(USAGE.to_owned(), |text, scenario| text + "\n  " + scenario.name())
}

fn scenario(name: &str) -> Outcome<Scenario> {
    let found = Scenario::ALL.into_iter().find(|scenario| scenario.name() == name);
    Ok(found.ok_or_else(|| format!("no scenario or option `{name}`; --help lists them"))?)
}
