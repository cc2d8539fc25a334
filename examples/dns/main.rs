//! A small name server for one zone, over UDP and TCP on the same port.
//!
//! `cargo run --release --example dns` serves example.test on a free port and tells how to talk to it; `--help` tells the
//! rest. SIGTERM and SIGINT drain.

#[path = "../echo/command.rs"]
mod command;
#[path = "../echo/signals.rs"]
mod signals;

mod answer;
mod message;
mod zone;

use answer::{Over, answer};
use message::QUERY_BYTES_MAX;
use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use windlass::framing::{Found, LengthPrefixed};
use windlass::{
    Address, Conn, Datagram, DatagramConfig, DatagramHandler, Datagrams, Handler, Limits, ListenConfig, Reactor,
    ReactorConfig,
};
use zone::Zone;

const USAGE: &str = "\
usage: dns [--listen IP:PORT] [--zone FILE]

It serves on UDP and TCP; without --listen on a free port of 127.0.0.1. FILE has a record on each line, NAME TTL TYPE DATA,
of the types SOA (which comes first), NS, A, AAAA, CNAME, MX and TXT; without --zone it is examples/dns/example.zone.";

const EXAMPLE: &str = include_str!("example.zone");

/// How long a TCP connection may be silent; RFC 7766, 6.2.3.
const IDLE: Duration = Duration::from_secs(10);

/// How many TCP connections there may be at once.
const CONNECTIONS_MAX: usize = 1000;

/// Queries in a stream, which are well below the inbox's limit, and their answers; RFC 1035, 4.2.2.
const QUERIES: LengthPrefixed = LengthPrefixed::u16_be(QUERY_BYTES_MAX as usize);
const ANSWERS: LengthPrefixed = LengthPrefixed::u16_be(u16::MAX as usize);

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(5);

/// How many free ports are tried until one is free for both transports.
const PORT_TRIES: usize = 10;

/// Queries that come as datagrams, one in each.
struct OverUdp(Rc<Zone>);

impl DatagramHandler for OverUdp {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        if datagram.is_truncated {
            return;
        }
        if let Some(answer) = answer(&self.0, datagram.data, Over::Udp) {
            // What cannot be sent now is lost, as datagrams may be: the client asks again.
            let _ = sock.send_to(datagram.from, &answer);
        }
    }
}

/// Queries that come in a stream, each with its length before it in two bytes.
struct OverTcp(Rc<Zone>);

impl Handler for OverTcp {
    /// Called again at once while a whole query is left.
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match QUERIES.first(data) {
            Ok(Found::Frame { payload, used }) => {
                let Some(answer) = answer(&self.0, payload, Over::Tcp) else {
                    conn.close();
                    return 0;
                };
                match ANSWERS.write(&[&answer], |slices| conn.write_vectored(slices)) {
                    Ok(()) => return used,
                    // The client does not read its answers: it is asked again when there is room.
                    Err(windlass::WriteError::Full { .. }) => {}
                    Err(_) => conn.close(),
                }
            }
            // Not shown again before it is whole.
            Ok(Found::Incomplete { need }) => conn.need(need).unwrap_or_else(|_| conn.close()),
            Err(_) => conn.close(),
        }
        0
    }
}

/// Listens on one port for both; returns where.
fn listen(reactor: &mut Reactor, at: SocketAddr, zone: &Rc<Zone>) -> Result<SocketAddr, Box<dyn Error>> {
    let limits = Limits { idle_timeout: Some(IDLE), ..Limits::default() };
    let streams = ListenConfig { limits, connections_max: CONNECTIONS_MAX, ..ListenConfig::default() };
    let datagrams = DatagramConfig { bytes_max: QUERY_BYTES_MAX.into(), ..DatagramConfig::default() };
    for tries_left in (0..PORT_TRIES).rev() {
        let served = zone.clone();
        let id = reactor.listen(&Address::tcp(at), streams.clone(), move |_: &Conn<'_>| OverTcp(served.clone()))?;
        let real = reactor.listener_address(id).and_then(|real| real.ip()).ok_or("the listener is gone")?;
        match reactor.bind(&Address::udp(real), datagrams.clone(), OverUdp(zone.clone())) {
            Ok(_) => return Ok(real),
            // Somebody else has this port for UDP.
            Err(_) if at.port() == 0 && tries_left > 0 => reactor.context().remove_listener(id)?,
            Err(error) => return Err(error.into()),
        }
    }
    Err("no port is free".into())
}

struct Options {
    listen: SocketAddr,
    zone: Option<PathBuf>,
}

fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let zone = match &options.zone {
        None => Zone::parse(EXAMPLE)?,
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Zone::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    let zone = Rc::new(zone);
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let mut seen = 0;
    let stops = [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT];
    signals::on_signals(&mut reactor.context(), &stops, move |cx, signals| {
        seen += signals;
        cx.shutdown(if seen == 1 { DRAIN } else { Duration::ZERO });
    })?;
    let real = listen(&mut reactor, options.listen, &zone)?;
    println!("listening on {}", Address::udp(real));
    println!("listening on {}", Address::tcp(real));
    println!("  serving {}, {} names", zone.origin, zone.name_count());
    let dig = format!("dig @{} -p {}", real.ip(), real.port());
    println!("  try: {dig} {} MX", zone.origin);
    if options.zone.is_none() {
        println!("       {dig} www.example.test");
        println!("       {dig} big.example.test TXT   (too long for UDP: dig asks again over TCP)");
    }
    io::stdout().flush()?;
    let report = reactor.run()?;
    println!("drained: {report}");
    Ok(())
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { listen: SocketAddr::from(([127, 0, 0, 1], 0)), zone: None };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--listen" => {
                let value = value()?;
                options.listen = value.parse().map_err(|_| format!("--listen: {value} is not IP:PORT"))?;
            }
            "--zone" => options.zone = Some(value()?.into()),
            _ => return Err(format!("{name} is not an option; --help lists them")),
        }
    }
    Ok(Some(options))
}

fn main() -> ExitCode {
    command::run("dns", USAGE, parse(std::env::args().skip(1)), |options| serve(&options))
}
