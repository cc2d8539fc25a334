//! What a recipe is asked on its command line.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "\
usage: NAME [--idle SECONDS] [--drain SECONDS] [--stats SECONDS] [--events-per-turn N]

An echo server on free loopback ports, plain and with TLS, inside a loop that is not windlass's. SECONDS may be a fraction.
--idle closes connections that are silent for so long; --stats has the foreign loop print, by a timer of its own, how many
turns the reactor has made; --events-per-turn is how many of the kernel's events a turn takes, 1,024 unless it is given.";

pub(crate) struct Options {
    pub(crate) idle: Option<Duration>,
    pub(crate) drain: Duration,
    pub(crate) stats: Option<Duration>,
    pub(crate) events_per_turn: usize,
}

/// Runs `work` with the options of the recipe `name`.
pub(crate) fn run(name: &str, work: impl FnOnce(Options) -> Result<(), Box<dyn Error>>) -> ExitCode {
    crate::command::run(name, &USAGE.replace("NAME", name), parse(std::env::args().skip(1)), work)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { idle: None, drain: Duration::from_secs(10), stats: None, events_per_turn: 1024 };
    while let Some(name) = args.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        if !["--idle", "--drain", "--stats", "--events-per-turn"].contains(&name.as_str()) {
            return Err(format!("{name} is not an option; --help lists them"));
        }
        let value = args.next().ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--idle" => options.idle = Some(seconds(&name, &value)?),
            "--drain" => options.drain = seconds(&name, &value)?,
            "--stats" => options.stats = Some(seconds(&name, &value)?).filter(|every| !every.is_zero()),
            _ => options.events_per_turn = value.parse().map_err(|_| format!("{name}: {value} is not a number"))?,
        }
    }
    Ok(Some(options))
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let number: f64 = value.parse().map_err(|_| format!("{name}: {value} is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|error| format!("{name}: {value}: {error}"))
}
