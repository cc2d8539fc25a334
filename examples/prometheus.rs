//! An echo server whose counters are served to a scraper: text over HTTP, made of `snapshots()`. `/health` is for a probe.
//!
//! `cargo run --release --example prometheus` listens on free loopback ports: one echoes, one is for the scraper. The scrape
//! is served by a handler that blocks, on a thread of its own, since it asks all reactors and waits for their answers. Their
//! health is read without asking them, so that the probe is answered while one of them hangs.

#[path = "echo/command.rs"]
mod command;
#[path = "echo/signals.rs"]
mod signals;

use signal_hook::consts::{SIGINT, SIGTERM};
use signals::on_signals;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::Duration;
use windlass::{
    Address, BlockingConfig, Conn, Counters, EngineConfig, Expiry, Handler, Health, Reader, Reason, Server, Writer,
};

const USAGE: &str = "usage: prometheus [--listen ADDRESS] [--metrics ADDRESS] [--reactors N]";

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(30);

/// A reactor whose turn takes longer is not well.
const TURN_MAX: Duration = Duration::from_secs(1);

/// Longer heads are no scraper's.
const HEAD_BYTES_MAX: usize = 8 * 1024;

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

struct Options {
    listen: Address,
    metrics: Address,
    reactors: usize,
}

fn main() -> ExitCode {
    command::run("prometheus", USAGE, parse(std::env::args().skip(1)), serve)
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let free = || "tcp://127.0.0.1:0".parse::<Address>().map_err(|error| error.to_string());
    let mut options = Options { listen: free()?, metrics: free()?, reactors: 2 };
    while let Some(name) = args.next() {
        if matches!(name.as_str(), "--help" | "-h") {
            return Ok(None);
        }
        let mut value = || args.next().ok_or(format!("{name} needs a value"));
        let address = |text: String| text.parse().map_err(|error| format!("{name}: {error}"));
        match name.as_str() {
            "--listen" => options.listen = address(value()?)?,
            "--metrics" => options.metrics = address(value()?)?,
            "--reactors" => options.reactors = value()?.parse().map_err(|error| format!("{name}: {error}"))?,
            _ => return Err(format!("{name} is not an option; {USAGE}")),
        }
    }
    Ok(Some(options))
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let echo = Server::builder()
        .address(options.listen)
        .engine_config(EngineConfig { reactors: options.reactors, ..EngineConfig::default() })
        .handler(|| |_: &Conn<'_>| Echo)
        .build()?;
    let watched = echo.clone();
    let config = BlockingConfig {
        threads_max: 4,
        waiting_max: 16,
        timeout: Some(Duration::from_secs(5)),
        ..BlockingConfig::default()
    };
    let metrics = Server::builder()
        .address(options.metrics)
        .engine_config(EngineConfig { reactors: 1, name: "metrics".to_owned(), ..EngineConfig::default() })
        .blocking_handler(config, move |reader, writer| answer(&watched, reader, writer))
        .build()?;
    echo.listen()?;
    metrics.listen()?;
    let first = metrics.remotes().into_iter().next().ok_or("it has no reactor")?;
    let (stopped, mut signals) = (echo.clone(), 0);
    first.run(move |cx| {
        let stop = move |_: &mut windlass::Context<'_>, came| {
            signals += came;
            stopped.stop(if signals == 1 { DRAIN } else { Duration::ZERO });
        };
        if let Err(error) = on_signals(cx, &[SIGTERM, SIGINT], stop) {
            eprintln!("prometheus: signals are not watched: {error}");
        }
    })?;
    for address in echo.local_addresses() {
        println!("listening on {address}");
    }
    for address in metrics.local_addresses().iter().filter_map(Address::ip) {
        println!("  curl http://{address}/metrics");
        println!("  curl http://{address}/health");
    }
    io::stdout().flush()?;
    // What is scraped outlives what it tells of.
    let report = echo.wait(Duration::MAX)?;
    metrics.close()?;
    println!("drained: {report}");
    Ok(())
}

/// Answers one request and ends: scrapers do not mind.
fn answer(server: &Server, mut reader: Reader, mut writer: Writer) -> io::Result<()> {
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match reader.read(&mut bytes)? {
            0 => return Ok(()),
            n => head.extend_from_slice(&bytes[..n]),
        }
        if head.len() > HEAD_BYTES_MAX {
            return writer.write_all(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n");
        }
    }
    const UNAVAILABLE: &str = "503 Service Unavailable";
    let (status, body) = if head.starts_with(b"GET /health ") {
        let health = server.health();
        let is_well = !health.is_empty() && health.iter().all(|health| health.is_responsive(TURN_MAX));
        (if is_well { "200 OK" } else { UNAVAILABLE }, health.iter().map(line).collect())
    } else if head.starts_with(b"GET /metrics ") {
        match server.snapshots() {
            Ok(all) => ("200 OK", text(server.open_connections(), &all)),
            Err(error) => (UNAVAILABLE, format!("{error}\n")),
        }
    } else {
        ("404 Not Found", "see /metrics and /health\n".to_owned())
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let length = body.len();
    write!(
        writer,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// The health of one reactor.
fn line(health: &Health) -> String {
    let state = match health.busy {
        _ if health.has_ended => "has ended".to_owned(),
        None => "waits".to_owned(),
        Some(busy) => format!("has been busy for {} ms", busy.as_millis()),
    };
    let (accepting, paused) = (health.listeners_accepting, health.listeners_paused);
    format!("{state}; {} connections, {accepting} listeners accept, {paused} pause\n", health.connections)
}

/// The counters of each reactor, as scrapers read them.
fn text(open: usize, all: &[Counters]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "# HELP windlass_connections Connections now.\n# TYPE windlass_connections gauge\nwindlass_connections {open}\n"
    );
    let mut family = |name: &str, help: &str, value: fn(&Counters) -> u64| {
        let _ = write!(text, "# HELP windlass_{name}_total {help}\n# TYPE windlass_{name}_total counter\n");
        for (reactor, counters) in all.iter().enumerate() {
            let _ = writeln!(text, "windlass_{name}_total{{reactor=\"{reactor}\"}} {}", value(counters));
        }
    };
    family("accepted", "Connections accepted.", |counters| counters.accepted);
    family("refused", "Connections refused by admission.", |counters| counters.refused);
    family("opened", "Connections that a handler was made for.", |counters| counters.opened);
    family("failed", "Connections that ended before.", |counters| counters.failed);
    family("received_bytes", "Bytes read.", |counters| counters.bytes_in);
    family("sent_bytes", "Bytes taken by the kernel.", |counters| counters.bytes_out);
    family("lost_bytes", "Bytes written that were never sent.", |counters| counters.bytes_lost);
    family("reads_held_back", "Reads that waited for room in all queues.", |counters| counters.reads_held_back);
    family("turns", "Turns of the loop.", |counters| counters.turns);
    family("panics", "Panics in callbacks.", |counters| counters.panics);
    family("slow_callbacks", "Callbacks that held their reactor up.", |counters| counters.slow_callbacks);
    let reasons = [
        ("peer_closed", Reason::PeerClosed),
        ("local", Reason::Local),
        ("reset", Reason::Reset),
        ("idle", Reason::Timeout(Expiry::Idle)),
        ("write_stall", Reason::Timeout(Expiry::WriteStall)),
        ("handler_panicked", Reason::HandlerPanicked),
    ];
    text.push_str(
        "# HELP windlass_closed_total Connections that ended, by reason.\n# TYPE windlass_closed_total counter\n",
    );
    for (reactor, counters) in all.iter().enumerate() {
        for (name, reason) in reasons {
            let count = counters.closed_for(reason);
            let _ = writeln!(text, "windlass_closed_total{{reactor=\"{reactor}\",reason=\"{name}\"}} {count}");
        }
    }
    text
}
