//! What the statistics server is asked on its command line.

use std::time::Duration;
use windlass::Address;

pub(crate) const USAGE: &str = "\
usage: statsd [--listen ADDRESS]... [--every SECONDS] [--names-max N]

ADDRESS is udp://HOST:PORT (also udp4:// or udp6://), unixgram:/path or unixgram:@name; without --listen it is
udp://127.0.0.1:0, a free port. What came is printed every second, or every SECONDS, which may be a fraction. Lines of
more than N names (10000) are counted as statsd.overflow.

A datagram holds lines: hits:1|c counts (hits:1|c|@0.1 stands for ten), load:0.7|g sets a gauge and load:+1|g or load:-1|g
moves it, query:12.5|ms is a time.";

pub(crate) struct Options {
    pub(crate) listen: Vec<Address>,
    pub(crate) every: Duration,
    pub(crate) names_max: usize,
}

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { listen: Vec::new(), every: Duration::from_secs(1), names_max: 10_000 };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--listen" => options.listen.push(value()?.parse().map_err(|error| format!("--listen: {error}"))?),
            "--every" => options.every = seconds(&value()?)?,
            "--names-max" => {
                let value = value()?;
                options.names_max = value.parse().map_err(|_| format!("--names-max: {value} is not a number"))?;
            }
            _ => return Err(format!("{name} is not an option; --help lists them")),
        }
    }
    if options.listen.is_empty() {
        options.listen.push("udp://127.0.0.1:0".parse().map_err(|error| format!("{error}"))?);
    }
    Ok(Some(options))
}

fn seconds(value: &str) -> Result<Duration, String> {
    let number: f64 = value.parse().map_err(|_| format!("--every: {value} is not a number of seconds"))?;
    match Duration::try_from_secs_f64(number) {
        Ok(every) if every >= Duration::from_millis(1) => Ok(every),
        _ => Err(format!("--every: {value} is not a time of a millisecond or more")),
    }
}
