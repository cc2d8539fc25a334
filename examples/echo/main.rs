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
use std::time::Duration;
use windlass::{
    Address, Conn, Datagram, DatagramConfig, DatagramHandler, Datagrams, Handler, Limits, ListenConfig, Reactor,
    ReactorConfig, SocketOptions, Transport, Turn,
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

    let mut config = ReactorConfig { connections_max: options.max_connections, ..ReactorConfig::default() };
    if let Some(threads) = options.handshake_threads {
        add_threads(&mut config, threads)?;
    }
    let mut reactor = Reactor::new(config)?;
    watch_signals(&mut reactor, options.drain)?;
    let plain =
        ListenConfig { limits: Limits { idle_timeout: options.idle, ..Limits::default() }, ..ListenConfig::default() };
    let secured = secured(&listen, &options, &plain, folder.path(), &mut reactor)?;
    for address in &listen {
        let real = if address.transport().is_datagram() {
            let socket = SocketOptions { receive_buffer_bytes: options.receive_buffer, ..SocketOptions::default() };
            let id = reactor.bind(address, DatagramConfig { socket, ..DatagramConfig::default() }, Echo)?;
            reactor.endpoint_address(id)
        } else {
            let config = if address.transport().is_tls() { &secured } else { &plain };
            let id = reactor.listen(address, config.clone(), |_: &Conn<'_>| Echo)?;
            reactor.listener_address(id)
        };
        let real = real.ok_or("the listener is gone")?;
        println!("listening on {real}");
        if explains {
            println!("  talk to it: {}", how_to_talk(&real, folder.path()));
        }
    }
    if explains {
        println!("  stop it with Ctrl-C");
    }
    io::stdout().flush()?;
    if let Some(every) = options.stats {
        tell_stats(&mut reactor.turn(), every);
    }

    let report = reactor.run()?;
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
    reactor: &mut Reactor,
) -> Result<ListenConfig, Box<dyn std::error::Error>> {
    if !listen.iter().any(|address| address.transport().is_tls()) {
        return Ok(plain.clone());
    }
    let files =
        tls::Files { identity: options.cert.clone().zip(options.key.clone()), client_ca: options.client_ca.clone() };
    let builder = tls::server(&files, folder)?;
    let server = builder.build()?;
    let reloaded = server.clone();
    on_signals(reactor, &[signal_hook::consts::SIGHUP], move |_, _| match reloaded.reload(&builder) {
        Ok(()) => eprintln!("echo: certificates read again"),
        Err(error) => eprintln!("echo: the old certificates stay: {error}"),
    })?;
    Ok(ListenConfig { tls: Some(server), ..plain.clone() })
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn secured(
    _: &[Address],
    _: &Options,
    plain: &ListenConfig,
    _: &Path,
    _: &mut Reactor,
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
fn watch_signals(reactor: &mut Reactor, drain: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let mut seen = 0;
    on_signals(reactor, &[signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT], move |turn, signals| {
        seen += signals;
        turn.shutdown(if seen == 1 { drain } else { Duration::ZERO });
    })
}

/// Prints the counters every so often.
fn tell_stats(turn: &mut Turn<'_>, every: Duration) {
    turn.after(every, move |turn| {
        let counters = turn.snapshot();
        println!(
            "stats: accepted {} opened {} closed {} turns {} drives {} panics {} datagrams in {} out {} refused {} dropped {}",
            counters.accepted,
            counters.opened,
            counters.closed_total(),
            counters.turns,
            counters.drives,
            counters.panics,
            counters.datagrams.datagrams_in,
            counters.datagrams.datagrams_out,
            counters.datagrams.refused,
            counters.datagrams.dropped_by_kernel
        );
        tell_stats(turn, every);
    });
}
