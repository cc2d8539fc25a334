//! An echo server: bytes in are bytes out, over every transport that windlass has.
//!
//! `cargo run --release --example echo` listens on free ports and tells how to talk to it; `--help` tells the rest.
//! SIGTERM and SIGINT drain, a second one aborts, and the last line is the drain report.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;
use windlass::{Address, Conn, Direction, Handler, Limits, ListenConfig, Next, Reactor, ReactorConfig, Turn};

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

const USAGE: &str = "\
usage: echo [--listen ADDRESS]... [--cert PEM --key PEM] [--client-ca PEM] [--reactors N]
            [--idle SECONDS] [--max-connections N] [--drain SECONDS] [--stats SECONDS]

ADDRESS is tcp://HOST:PORT, tcp4://, tcp6://, unix:/path or unix:@name. Without --listen it listens on free
loopback ports and on a Unix socket in a temporary folder. SECONDS may be a fraction.";

struct Options {
    listen: Vec<Address>,
    idle: Option<Duration>,
    max_connections: usize,
    drain: Duration,
    stats: Option<Duration>,
}

enum Asked {
    Help,
    Run(Options),
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
    let mut options = Options {
        listen: Vec::new(),
        idle: None,
        max_connections: usize::MAX,
        drain: Duration::from_secs(30),
        stats: None,
    };
    while let Some(arg) = args.next() {
        let (name, inline) = match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (arg, None),
        };
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(Asked::Help);
        }
        let known = ["--listen", "--cert", "--key", "--client-ca", "--reactors", "--idle"];
        if !known.contains(&name.as_str()) && !["--max-connections", "--drain", "--stats"].contains(&name.as_str()) {
            return Err(format!("{name} is not an option; --help lists them"));
        }
        let value = inline.or_else(|| args.next()).ok_or(format!("{name} needs a value"))?;
        match name.as_str() {
            "--listen" => options.listen.push(value.parse().map_err(|error| format!("--listen: {error}"))?),
            "--idle" => options.idle = Some(seconds(&name, &value)?).filter(|idle| !idle.is_zero()),
            "--drain" => options.drain = seconds(&name, &value)?,
            "--stats" => options.stats = Some(seconds(&name, &value)?).filter(|every| !every.is_zero()),
            "--max-connections" => options.max_connections = count(&name, &value)?,
            "--reactors" if count(&name, &value)? == 1 => {}
            "--reactors" => return Err("--reactors: more than one is not available yet".to_owned()),
            _ => return Err(format!("{name}: TLS is not available yet")),
        }
    }
    Ok(Asked::Run(options))
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let number: f64 = value.parse().map_err(|_| format!("{name}: {value} is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|error| format!("{name}: {value}: {error}"))
}

fn count(name: &str, value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name}: {value} is not a positive number")),
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
    let mut listen = options.listen;
    let mut folder = None;
    let explains = listen.is_empty();
    if explains {
        let made = tempfile::tempdir()?;
        listen.push("tcp://127.0.0.1:0".parse()?);
        listen.push(Address::unix(made.path().join("echo.sock"))?);
        folder = Some(made);
    }

    let config = ReactorConfig { connections_max: options.max_connections, ..ReactorConfig::default() };
    let mut reactor = Reactor::new(config)?;
    watch_signals(&mut reactor, options.drain)?;
    for address in &listen {
        let limits = Limits { idle_timeout: options.idle, ..Limits::default() };
        let config = ListenConfig { limits, ..ListenConfig::default() };
        let id = reactor.listen(address, config, |_: &Conn<'_>| Echo)?;
        let real = reactor.listener_address(id).ok_or("the listener is gone")?;
        println!("listening on {real}");
        if explains {
            println!("  talk to it: {}", how_to_talk(&real));
        }
    }
    if explains {
        println!("  tls, udp and unixgram are not available yet; stop it with Ctrl-C");
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

fn how_to_talk(address: &Address) -> String {
    match (address.ip(), address.path()) {
        (Some(ip), _) => format!("socat - TCP:{ip}   or   nc {} {}", ip.ip(), ip.port()),
        (None, Some(path)) => format!("socat - UNIX-CONNECT:{0}   or   nc -U {0}", path.display()),
        (None, None) => format!("{address}"),
    }
}

/// The first SIGTERM or SIGINT drains, the second one cuts what is left.
fn watch_signals(reactor: &mut Reactor, drain: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
    }
    let mut pipe = reader.try_clone()?;
    let mut seen = 0;
    reactor.turn().watch(reader, Direction::Read, move |turn: &mut Turn<'_>, _: std::os::fd::BorrowedFd<'_>, _| {
        let mut bytes = [0; 64];
        while let Ok(n @ 1..) = io::Read::read(&mut pipe, &mut bytes) {
            seen += n;
        }
        match seen {
            0 => {}
            1 => turn.shutdown(drain),
            _ => turn.shutdown(Duration::ZERO),
        }
        Next::Wait
    })?;
    Ok(())
}

/// Prints the counters every so often.
fn tell_stats(turn: &mut Turn<'_>, every: Duration) {
    turn.after(every, move |turn| {
        let counters = turn.counters();
        println!(
            "stats: accepted {} opened {} closed {} turns {} drives {} panics {}",
            counters.accepted,
            counters.opened,
            counters.closed_total(),
            counters.turns,
            counters.drives,
            counters.panics
        );
        tell_stats(turn, every);
    });
}
