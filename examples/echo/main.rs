//! An echo server: bytes in are bytes out, over every transport that windlass has.
//!
//! `cargo run --release --example echo` listens on free ports and tells how to talk to it; `--help` tells the rest.
//! SIGTERM and SIGINT drain, a second one aborts, and the last line is the drain report. SIGHUP reads the certificates
//! again. Built with `--features serde` it also takes its settings from a file, `--config FILE.toml`.

mod command;
#[cfg(feature = "serde")]
mod configured;
mod host;
mod options;
mod signals;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;

use host::Host;
use options::{Options, USAGE, parse};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use windlass::{
    Address, Conn, Counters, Datagram, DatagramConfig, DatagramHandler, Datagrams, EngineConfig, Handler, Limits,
    ListenConfig, ReactorConfig, SocketOptions, Transport,
};

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

impl DatagramHandler for Echo {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        // What cannot be answered now is lost, as datagrams may be; `--stats` tells how many.
        let _ = sock.send_to(datagram.from, datagram.data);
    }
}

fn main() -> ExitCode {
    let asked = parse(std::env::args().skip(1)).and_then(|asked| asked.map(plan).transpose());
    command::run("echo", USAGE, asked, |plan| match plan {
        Plan::Asked(options) => serve(options),
        #[cfg(feature = "serde")]
        Plan::Configured(config, options) => configured::serve(*config, &options),
    })
}

/// How long a drain may take, unless it is said.
const DRAIN: Duration = Duration::from_secs(30);

/// Without anything to tell the main thread wakes so seldom.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// What is to be served: what the command line says, or a file.
enum Plan {
    Asked(Options),
    #[cfg(feature = "serde")]
    Configured(Box<configured::Described>, Options),
}

fn plan(options: Options) -> Result<Plan, String> {
    let Some(path) = &options.config else { return Ok(Plan::Asked(options)) };
    #[cfg(feature = "serde")]
    return Ok(Plan::Configured(Box::new(configured::read(path, &options)?), options));
    #[cfg(not(feature = "serde"))]
    Err(format!("--config {}: this one was built without `serde`; build it with --features serde", path.display()))
}

fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let explains = options.listen.is_empty();
    let listen = if explains { everything(folder.path())? } else { options.listen.clone() };

    let mut reactor = ReactorConfig::default();
    if let Some(threads) = options.handshake_threads {
        add_threads(&mut reactor, threads)?;
    }
    let (reactors, connections_max) = (options.reactors.unwrap_or(1), options.max_connections.unwrap_or(usize::MAX));
    let config = EngineConfig { reactors, connections_max, reactor, ..EngineConfig::default() };
    let mut host = Host::new(config)?;
    let idle_timeout = options.idle.filter(|idle| !idle.is_zero());
    let plain = ListenConfig { limits: Limits { idle_timeout, ..Limits::default() }, ..ListenConfig::default() };
    let secured = secured(&listen, &options, &plain, folder.path(), &mut host)?;
    let mut real = Vec::new();
    for address in &listen {
        real.push(if address.transport().is_datagram() {
            let socket = SocketOptions { receive_buffer_bytes: options.receive_buffer, ..SocketOptions::default() };
            host.bind(address, DatagramConfig { socket, ..DatagramConfig::default() })?
        } else {
            host.listen(address, if address.transport().is_tls() { secured.clone() } else { plain.clone() })?
        });
    }
    // Whoever reads that it listens may send a signal.
    host.stop_on(&[signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT], options.drain.unwrap_or(DRAIN))?;
    for real in real {
        println!("listening on {real}");
        if explains {
            println!("  talk to it: {}", how_to_talk(&real, folder.path()));
        }
    }
    if explains {
        println!("  stop it with Ctrl-C");
    }
    io::stdout().flush()?;

    let report = host.run(options.stats, tell_stats)?;
    drop(folder);
    println!("drained: {report}");
    Ok(())
}

#[cfg(feature = "tls")]
fn add_threads(config: &mut ReactorConfig, threads: usize) -> Result<(), windlass::Error> {
    config.handshake_threads = Some(windlass::tls::HandshakeThreads::new(threads)?);
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn add_threads(_: &mut ReactorConfig, _: usize) -> Result<(), &'static str> {
    Err("--handshake-threads: this one was built without TLS")
}

/// One address of each kind.
fn everything(folder: &Path) -> Result<Vec<Address>, Box<dyn std::error::Error>> {
    let mut listen = vec!["tcp://127.0.0.1:0".parse()?, Address::unix(folder.join("echo.sock"))?];
    listen.push("udp://127.0.0.1:0".parse()?);
    listen.push(Address::unixgram(folder.join("gram.sock"))?);
    if cfg!(any(feature = "aws-lc-rs", feature = "ring")) {
        listen.push("tls://127.0.0.1:0".parse()?);
        listen.push(Address::unix(folder.join("tls.sock"))?.with_transport(Transport::TlsUnix)?);
    }
    Ok(listen)
}

/// The configuration with TLS; it is made only if an address asks for it.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn secured(
    listen: &[Address],
    options: &Options,
    plain: &ListenConfig,
    folder: &Path,
    host: &mut Host,
) -> Result<ListenConfig, Box<dyn std::error::Error>> {
    if !listen.iter().any(|address| address.transport().is_tls()) {
        return Ok(plain.clone());
    }
    let files =
        tls::Files { identity: options.cert.clone().zip(options.key.clone()), client_ca: options.client_ca.clone() };
    let builder = tls::server(&files, folder)?;
    let server = builder.build()?;
    let reloaded = server.clone();
    let reload = move |_: &mut windlass::Context<'_>, _| match reloaded.reload(&builder) {
        Ok(reloaded) => {
            eprintln!("echo: certificates read again");
            reloaded.faults.iter().for_each(|fault| eprintln!("echo: {fault}"));
        }
        Err(error) => eprintln!("echo: the old certificates stay: {error}"),
    };
    host.on_signals(&[signal_hook::consts::SIGHUP], reload)?;
    Ok(ListenConfig { tls: Some(server), ..plain.clone() })
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn secured(
    _: &[Address],
    _: &Options,
    plain: &ListenConfig,
    _: &Path,
    _: &mut Host,
) -> Result<ListenConfig, Box<dyn std::error::Error>> {
    Ok(plain.clone())
}

fn how_to_talk(address: &Address, folder: &Path) -> String {
    let trust = folder.join("echo.pem");
    let trust = trust.display();
    if let (Some(ip), true) = (address.ip(), address.transport().is_datagram()) {
        return format!("socat - UDP:{ip}   or   nc -u {} {}", ip.ip(), ip.port());
    }
    if let (Some(path), true) = (address.path(), address.transport().is_datagram()) {
        let (own, path) = (folder.join("me.sock"), path.display());
        return format!("socat - UNIX-SENDTO:{path},bind={}   or   nc -uU {path}", own.display());
    }
    match (address.ip(), address.path(), address.transport().is_tls()) {
        (Some(ip), _, false) => format!("socat - TCP:{ip}   or   nc {} {}", ip.ip(), ip.port()),
        (Some(ip), _, true) => format!("openssl s_client -quiet -connect {ip} -CAfile {trust}"),
        (None, Some(path), false) => format!("socat - UNIX-CONNECT:{0}   or   nc -U {0}", path.display()),
        (None, Some(path), true) => format!("openssl s_client -quiet -unix {} -CAfile {trust}", path.display()),
        (None, None, _) => format!("{address}"),
    }
}

/// Prints what the reactors counted, all together and, if they are several, each.
fn tell_stats(all: &[Counters]) {
    println!("stats: {}", stats(all));
    if all.len() > 1 {
        for (number, counters) in all.iter().enumerate() {
            println!("stats of reactor {number}: {}", stats(std::slice::from_ref(counters)));
        }
    }
}

fn stats(all: &[Counters]) -> String {
    let sum = |count: fn(&Counters) -> u64| all.iter().map(count).sum::<u64>();
    let longest = all.iter().map(|counters| counters.longest_callback).max().unwrap_or_default();
    format!(
        "accepted {} opened {} closed {} turns {} drives {} panics {} datagrams in {} out {} refused {} dropped {} \
         bytes in {} out {} slow callbacks {} longest {} ms",
        sum(|counters| counters.accepted),
        sum(|counters| counters.opened),
        sum(Counters::closed_total),
        sum(|counters| counters.turns),
        sum(|counters| counters.drives),
        sum(|counters| counters.panics),
        sum(|counters| counters.datagrams.datagrams_in),
        sum(|counters| counters.datagrams.datagrams_out),
        sum(|counters| counters.datagrams.refused),
        sum(|counters| counters.datagrams.dropped_by_kernel),
        sum(|counters| counters.bytes_in),
        sum(|counters| counters.bytes_out),
        sum(|counters| counters.slow_callbacks),
        longest.as_millis()
    )
}
