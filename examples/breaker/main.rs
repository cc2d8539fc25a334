//! A circuit breaker around a connect; `breaker.rs` is the breaker.
//!
//! `breaker ADDRESS [--failures N] [--open SECONDS] [--every SECONDS] [--tries N]` connects again and again, `--every` 0.2 s,
//! closes at once, and prints what came of it. After `--failures` (3) in a row the circuit is open for `--open` (1 s): nothing
//! is tried. Then one attempt decides. A server that is started meanwhile closes the circuit.

mod breaker;
#[path = "../echo/command.rs"]
mod command;

use breaker::{Breaker, Called, Circuit};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use windlass::{Address, Client};

const USAGE: &str = "usage: breaker ADDRESS [--failures N] [--open SECONDS] [--every SECONDS] [--tries N]";

/// How long one connect may take.
const TIMEOUT: Duration = Duration::from_secs(2);

struct Options {
    address: Address,
    failures: u32,
    open: Duration,
    every: Duration,
    tries: u64,
}

fn main() -> ExitCode {
    command::run("breaker", USAGE, parse(std::env::args().skip(1)), run)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let seconds = |name: &str, value: String| {
        let seconds = value.parse::<f64>().map_err(|error| format!("{name}: {error}"))?;
        Duration::try_from_secs_f64(seconds).map_err(|error| format!("{name}: {error}"))
    };
    let count = |name: &str, value: String| value.parse::<u64>().map_err(|error| format!("{name}: {error}"));
    let (mut address, mut failures, mut tries) = (None, 3, u64::MAX);
    let (mut open, mut every) = (Duration::from_secs(1), Duration::from_millis(200));
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--failures" => failures = count(&name, value()?)?.clamp(1, 1_000_000) as u32,
            "--tries" => tries = count(&name, value()?)?,
            "--open" => open = seconds(&name, value()?)?,
            "--every" => every = seconds(&name, value()?)?,
            option if option.starts_with('-') => return Err(format!("{name} is not an option; {USAGE}")),
            text => address = Some(text.parse::<Address>().map_err(|error| error.to_string())?),
        }
    }
    Ok(Some(Options { address: address.ok_or(USAGE)?, failures, open, every, tries }))
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let client = Client::builder(options.address).build()?;
    let breaker = Breaker::new(options.failures, options.open);
    for _ in 0..options.tries {
        let said = match breaker.call(Instant::now(), || client.connect(TIMEOUT)) {
            Called::Done(()) => {
                client.close()?;
                "connected".to_owned()
            }
            Called::Failed(error) => error.to_string(),
            Called::Refused => "not tried".to_owned(),
        };
        let circuit = match breaker.circuit() {
            Circuit::Closed(_) => "closed",
            Circuit::Open(_) => "open",
            Circuit::HalfOpen => "half open",
        };
        writeln!(io::stdout(), "{circuit}: {said}")?;
        std::thread::sleep(options.every);
    }
    Ok(())
}
