//! One request and its answer: what is on standard input is sent to ADDRESS, what comes back is printed.
//!
//! `once ADDRESS [--timeout SECONDS] [--half-close] [--ca PEM] [--allow-truncation]`. ADDRESS is of any transport: `tcp://`, `tls://`, `unix:`,
//! `udp://` and so on. One deadline (default: 10 s) bounds it all, from the name's lookup to the answer's last byte. With
//! `--half-close` our side ends behind the request, and the answer is all until the peer's end; without it the answer is
//! what comes first. An end of the answer without TLS' close_notify is an error, since it may have been cut;
//! `--allow-truncation` takes it for the end all the same, as some old servers need.
//!
//! `printf hello | cargo run --release --example once -- tcp://127.0.0.1:7007`

#[path = "echo/command.rs"]
mod command;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use windlass::{Address, AfterRequest, Client};

const USAGE: &str = "usage: once ADDRESS [--timeout SECONDS] [--half-close] [--ca PEM] [--allow-truncation]";

struct Options {
    address: Address,
    timeout: Duration,
    after: AfterRequest,
    ca: Option<String>,
    allows_truncation: bool,
}

fn main() -> ExitCode {
    command::run("once", USAGE, parse(std::env::args().skip(1)), exchange)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let (mut address, mut timeout, mut after, mut ca) = (None, 10.0, AfterRequest::KeepOpen, None);
    let mut allows_truncation = false;
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--timeout" => timeout = value()?.parse::<f64>().map_err(|error| format!("{name}: {error}"))?,
            "--half-close" => after = AfterRequest::HalfClose,
            "--ca" => ca = Some(value()?),
            "--allow-truncation" => allows_truncation = true,
            option if option.starts_with('-') => return Err(format!("{name} is not an option; {USAGE}")),
            text => address = Some(text.parse::<Address>().map_err(|error| error.to_string())?),
        }
    }
    let address = address.ok_or(USAGE)?;
    let timeout = Duration::try_from_secs_f64(timeout).map_err(|error| format!("--timeout: {error}"))?;
    Ok(Some(Options { address, timeout, after, ca, allows_truncation }))
}

fn exchange(options: Options) -> Result<(), Box<dyn Error>> {
    let builder = configured(Client::builder(options.address.clone()), &options)?;
    let client = builder.build()?;
    let reads_to_end = options.after == AfterRequest::HalfClose;
    let answer = client.once(io::stdin().lock(), options.after, options.timeout, |answer| {
        let mut bytes = Vec::new();
        if reads_to_end {
            answer.read_to_end(&mut bytes)?;
        } else {
            bytes.resize(64 * 1024, 0);
            let read = answer.read(&mut bytes)?;
            bytes.truncate(read);
        }
        Ok(bytes)
    })?;
    io::stdout().write_all(&answer)?;
    Ok(())
}

/// With TLS where the address says so: the roots of `--ca`, or those that this machine trusts.
#[cfg(all(any(feature = "aws-lc-rs", feature = "ring"), feature = "platform-roots"))]
fn configured(builder: windlass::ClientBuilder, options: &Options) -> Result<windlass::ClientBuilder, windlass::Error> {
    use windlass::tls::Pem;
    use windlass::{ClientTls, ConnectConfig, Truncation};
    if !options.address.transport().is_tls() {
        return Ok(builder);
    }
    let tls = ClientTls::builder();
    let tls = if let Some(ca) = &options.ca { tls.roots(Pem::file(ca)) } else { tls };
    let tls = if options.allows_truncation { tls.truncation(Truncation::Tolerated) } else { tls };
    Ok(builder.connect_config(ConnectConfig { tls: Some(tls.build()?), ..ConnectConfig::default() }))
}

#[cfg(not(all(any(feature = "aws-lc-rs", feature = "ring"), feature = "platform-roots")))]
fn configured(builder: windlass::ClientBuilder, options: &Options) -> Result<windlass::ClientBuilder, String> {
    match options {
        Options { ca: None, allows_truncation: false, .. } => Ok(builder),
        _ => Err("--ca, --allow-truncation: this program was built without TLS".to_owned()),
    }
}
