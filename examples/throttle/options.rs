//! What the throttle is asked on its command line.

use crate::bucket::Rate;
use windlass::{Address, AddressError};

pub(crate) const USAGE: &str = "\
usage: throttle LISTEN TARGET --bytes-per-second N [--burst N]

Both are addresses: tcp://HOST:PORT, unix:/path, unix:@name. Each direction of each connection is limited on its own. --burst
is how many bytes may pass at once behind a silence; a tenth of a second's unless it is given.";

pub(crate) struct Options {
    pub(crate) listen: Address,
    pub(crate) target: Address,
    pub(crate) rate: Rate,
}

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let (mut addresses, mut bytes_per_second, mut burst) = (Vec::new(), None, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--help" | "-h" => return Ok(None),
            "--bytes-per-second" => bytes_per_second = Some(count(&arg, args.next())?),
            "--burst" => burst = Some(count(&arg, args.next())?),
            name if name.starts_with('-') => return Err(format!("{name} is not an option; --help lists them")),
            address => addresses.push(address.parse().map_err(|error| format!("{address}: {error}"))?),
        }
    }
    let bytes_per_second = bytes_per_second.ok_or("--bytes-per-second is needed; --help tells more")?;
    let burst_bytes = burst.unwrap_or((bytes_per_second / 10).max(1));
    let rate = Rate { bytes_per_second, burst_bytes };
    match <[Address; 2]>::try_from(addresses) {
        Ok([_, target]) if target.is_unspecified() => Err(AddressError::NoTarget(target.to_string()).to_string()),
        Ok([listen, target]) => Ok(Some(Options { listen, target, rate })),
        Err(_) => Err("two addresses are needed: where to listen, and where to connect to".to_owned()),
    }
}

fn count(name: &str, value: Option<String>) -> Result<u64, String> {
    let value = value.ok_or(format!("{name} needs a value"))?;
    match value.parse() {
        Ok(number @ 1..) => Ok(number),
        _ => Err(format!("{name}: {value} is not a positive number")),
    }
}
