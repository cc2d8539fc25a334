//! An echo server: bytes in are bytes out, over every transport that windlass has.
//!
//! `cargo run --release --example echo` listens on free ports and tells how to talk to it; `--help` tells the rest.
//! SIGTERM and SIGINT drain, a second one aborts, and the last line is the drain report. SIGHUP reads the certificates
//! again.

mod options;
mod signals;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;

use options::{Asked, Options, USAGE, parse};
use signals::on_signals;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use windlass::{
    Address, Conn, Counters, Datagram, DatagramConfig, DatagramHandler, Datagrams, Engine, EngineConfig, Error,
    Handler, Limits, ListenConfig, ReactorConfig, SocketOptions, Transport, Turn,
};

/// Without anything to tell the main thread wakes so seldom.
const AN_HOUR: Duration = Duration::from_secs(3600);

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
    let options = match parse(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Help) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("echo: {error}");
            return ExitCode::from(2);
        }
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let explains = options.listen.is_empty();
    let listen = if explains { everything(folder.path())? } else { options.listen.clone() };

    let mut reactor = ReactorConfig::default();
    if let Some(threads) = options.handshake_threads {
        add_threads(&mut reactor, threads)?;
    }
    let (reactors, connections_max) = (options.reactors, options.max_connections);
    let config = EngineConfig { reactors, connections_max, reactor, ..EngineConfig::default() };
    let engine = Arc::new(Engine::start(config)?);
    let plain =
        ListenConfig { limits: Limits { idle_timeout: options.idle, ..Limits::default() }, ..ListenConfig::default() };
    let secured = secured(&listen, &options, &plain, folder.path(), &engine)?;
    let mut real = Vec::new();
    for address in &listen {
        real.push(if address.transport().is_datagram() {
            let socket = SocketOptions { receive_buffer_bytes: options.receive_buffer, ..SocketOptions::default() };
            engine.bind(address, DatagramConfig { socket, ..DatagramConfig::default() }, || Echo)?.address().clone()
        } else {
            let config = if address.transport().is_tls() { &secured } else { &plain };
            engine.listen(address, config.clone(), || |_: &Conn<'_>| Echo)?.address().clone()
        });
    }
    // Whoever reads that it listens may send a signal.
    watch_signals(&engine, options.drain)?;
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

    let report = loop {
        match engine.wait(options.stats.unwrap_or(AN_HOUR)) {
            Err(Error::NotDriven) if options.stats.is_some() => tell_stats(&engine)?,
            Err(Error::NotDriven) => {}
            ended => break ended?,
        }
    };
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
    engine: &Engine,
) -> Result<ListenConfig, Box<dyn std::error::Error>> {
    if !listen.iter().any(|address| address.transport().is_tls()) {
        return Ok(plain.clone());
    }
    let files =
        tls::Files { identity: options.cert.clone().zip(options.key.clone()), client_ca: options.client_ca.clone() };
    let builder = tls::server(&files, folder)?;
    let server = builder.build()?;
    let reloaded = server.clone();
    let reload = move |_: &mut Turn<'_>, _| match reloaded.reload(&builder) {
        Ok(()) => eprintln!("echo: certificates read again"),
        Err(error) => eprintln!("echo: the old certificates stay: {error}"),
    };
    engine.ask(0, |turn| on_signals(turn, &[signal_hook::consts::SIGHUP], reload))??;
    Ok(ListenConfig { tls: Some(server), ..plain.clone() })
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn secured(
    _: &[Address],
    _: &Options,
    plain: &ListenConfig,
    _: &Path,
    _: &Engine,
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

/// The first SIGTERM or SIGINT drains, the second one cuts what is left.
fn watch_signals(engine: &Arc<Engine>, drain: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let (mut seen, engines) = (0, Arc::downgrade(engine));
    let stop = move |_: &mut Turn<'_>, signals| {
        seen += signals;
        if let Some(engine) = engines.upgrade() {
            engine.stop(if seen == 1 { drain } else { Duration::ZERO });
        }
    };
    engine
        .ask(0, move |turn| on_signals(turn, &[signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT], stop))??;
    Ok(())
}

/// Prints what all reactors counted.
fn tell_stats(engine: &Engine) -> Result<(), Error> {
    let all = engine.snapshots()?;
    let sum = |count: fn(&Counters) -> u64| all.iter().map(count).sum::<u64>();
    println!(
        "stats: accepted {} opened {} closed {} turns {} drives {} panics {} datagrams in {} out {} refused {} dropped {}",
        sum(|counters| counters.accepted),
        sum(|counters| counters.opened),
        sum(Counters::closed_total),
        sum(|counters| counters.turns),
        sum(|counters| counters.drives),
        sum(|counters| counters.panics),
        sum(|counters| counters.datagrams.datagrams_in),
        sum(|counters| counters.datagrams.datagrams_out),
        sum(|counters| counters.datagrams.refused),
        sum(|counters| counters.datagrams.dropped_by_kernel)
    );
    Ok(())
}
