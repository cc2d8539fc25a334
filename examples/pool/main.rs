//! A connection pool with a health check, over blocking clients; `pool.rs` is the pool.
//!
//! `cargo run --release --example pool` starts an echo server of its own, and has 8 threads exchange 10,000 messages with it over
//! 4 connections. The server hangs up on every thousandth message: the pool notices, and connects anew.
//! `pool [ADDRESS] [--ca PEM] [--size N] [--threads N] [--messages N]`: the same with another echo server. One with TLS (`tls://`) is
//! trusted by the roots in PEM, of which there may be several, or else by those of this machine.

#[path = "../echo/command.rs"]
mod command;
mod pool;

use pool::{Origin, Pool};
use std::error::Error;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use windlass::{Address, Client, ClientBuilder, Conn, EngineConfig, Handler, Server};

const USAGE: &str = "usage: pool [ADDRESS] [--ca PEM] [--size N] [--threads N] [--messages N]";

const TIMEOUT: Duration = Duration::from_secs(10);

/// One that nobody has used for so long may be gone on its way without a sign.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// After so many messages this server hangs up.
const FICKLE: usize = 1000;

struct Options {
    address: Option<Address>,
    ca: Option<String>,
    size: usize,
    threads: usize,
    messages: usize,
}

/// Echoes, and hangs up now and then.
struct Fickle(usize);

impl Handler for Fickle {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let used = conn.write_some(data);
        self.0 += 1;
        if self.0 == FICKLE {
            conn.close();
        }
        used
    }
}

fn main() -> ExitCode {
    command::run("pool", USAGE, parse(std::env::args().skip(1)), run)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { address: None, ca: None, size: 4, threads: 8, messages: 10_000 };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        let mut number = || value()?.parse().map_err(|error| format!("{name}: {error}"));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--ca" => options.ca = Some(value()?),
            "--size" => options.size = number()?,
            "--threads" => options.threads = number()?,
            "--messages" => options.messages = number()?,
            option if option.starts_with('-') => return Err(format!("{name} is not an option; {USAGE}")),
            text => options.address = Some(text.parse().map_err(|error| format!("{error}"))?),
        }
    }
    if options.size == 0 || options.threads == 0 {
        return Err("--size and --threads must be at least 1".to_owned());
    }
    if options.ca.is_some() && !options.address.as_ref().is_some_and(|address| address.transport().is_tls()) {
        return Err("--ca is for an address with TLS: tls://HOST:PORT or tls+unix:PATH".to_owned());
    }
    Ok(Some(options))
}

/// With TLS where the address says so: the roots of `--ca`, or those that this machine trusts.
#[cfg(all(any(feature = "aws-lc-rs", feature = "ring"), feature = "platform-roots"))]
fn builder(address: Address, ca: Option<&String>) -> Result<ClientBuilder, Box<dyn Error>> {
    use windlass::tls::Pem;
    use windlass::{ClientTls, ConnectConfig};
    if !address.transport().is_tls() {
        return Ok(Client::builder(address));
    }
    let tls = ClientTls::builder();
    let tls = if let Some(ca) = ca { tls.roots(Pem::file(ca)) } else { tls };
    let config = ConnectConfig { tls: Some(tls.build()?), ..ConnectConfig::default() };
    Ok(Client::builder(address).connect_config(config))
}

#[cfg(not(all(any(feature = "aws-lc-rs", feature = "ring"), feature = "platform-roots")))]
fn builder(address: Address, ca: Option<&String>) -> Result<ClientBuilder, Box<dyn Error>> {
    match ca {
        None => Ok(Client::builder(address)),
        Some(_) => Err("--ca: this program was built without TLS".into()),
    }
}

fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let own = match options.address {
        Some(_) => None,
        None => {
            let server = Server::builder()
                .address("tcp://127.0.0.1:0".parse()?)
                .engine_config(EngineConfig { reactors: 1, ..EngineConfig::default() })
                .handler(|| |_: &Conn<'_>| Fickle(0))
                .build()?;
            server.listen()?;
            Some(server)
        }
    };
    let address = match (options.address, &own) {
        (Some(address), _) => address,
        (None, Some(server)) => server.local_addresses().remove(0),
        (None, None) => return Err(USAGE.into()),
    };
    let builder = builder(address, options.ca.as_ref())?.read_timeout(Some(TIMEOUT)).write_timeout(Some(TIMEOUT));
    // What cannot work is refused once, here.
    builder.clone().build()?;
    let pool = Pool::new(builder, options.size, IDLE_MAX);
    let (left, failed) = (AtomicUsize::new(options.messages), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                let take = |left: usize| left.checked_sub(1);
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    if let Err(error) = exchange(&pool) {
                        failed.fetch_add(1, Ordering::Relaxed);
                        eprintln!("pool: {error}");
                    }
                }
            });
        }
    });
    let (stats, took) = (pool.stats(), began.elapsed());
    println!(
        "{} messages in {:.2} s over {} connections, {} of them found dead; {} failed",
        options.messages,
        took.as_secs_f64(),
        stats.made,
        stats.found_dead,
        failed.into_inner()
    );
    if let Some(server) = own {
        server.shutdown(TIMEOUT)?;
    }
    Ok(())
}

/// One message and its echo. A connection that fails on the way is not given back; if it was used before, the peer may have
/// ended it when it was lent, and the message, which does no harm twice, is sent again.
fn exchange(pool: &Pool) -> Result<(), Box<dyn Error>> {
    loop {
        let mut lent = pool.lend(TIMEOUT)?;
        let mut answer = [0; 5];
        let done = lent.write_all(b"hello").and_then(|()| lent.read_exact(&mut answer));
        match (done, lent.origin()) {
            (Ok(()), _) if &answer == b"hello" => return Ok(()),
            (Ok(()), _) => {
                lent.discard();
                return Err("another answer came back".into());
            }
            (Err(_), Origin::Used) => lent.discard(),
            (Err(error), Origin::New) => {
                lent.discard();
                return Err(error.into());
            }
        }
    }
}
