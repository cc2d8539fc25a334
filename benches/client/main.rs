//! The benchmark of clients for threads that wait: what a round trip and bulk cost beside `std::net::TcpStream` and rustls'
//! `StreamOwned`, against the same peers.
//!
//! `cargo bench --bench client -- --help` lists the options; `benches/README.md` says what is measured and how.
//!
//! The peers are threads of this process; processor time is that of the client's threads alone. `--exchange` is the role
//! of a process that does nothing but round trips, to be run under strace.

mod calls;
mod peer;
#[allow(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../rig/mod.rs"]
mod rig;
mod talker;

use peer::{Layer, Peer};
use rig::Outcome;
use rig::account::own_thread_ns;
use rig::asked::{Asked, Rounds};
use rig::bench::{Bench, Scenario};
use rig::report::{self, Report, at_least, at_most};
use rig::slices;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use talker::{Bulk, Carried, Maker, Talker};

const USAGE: &str = "\
usage: cargo bench --bench client -- [SCENARIO…] [OPTIONS]

Compares `Client` with `std::net::TcpStream` and rustls' `StreamOwned`. Without a name all scenarios run.

  --rounds N  rounds of each comparison (5)
  --quick     a smoke run: figures without meaning
  --help      this text

Linux only; the counts of system calls need strace.

scenarios:";

/// How much is measured.
struct Options {
    rounds: Rounds,
    round_trips: usize,
    bulk_bytes: u64,
}

const BENCH: Bench<Options> = Bench {
    roles: &[("--exchange", calls::exchange)],
    usage: USAGE,
    options: &["--rounds N", "--quick"],
    scenarios: &[
        Scenario::new("tcp-64", |options, report| round_trips("tcp-64", Layer::Tcp, options, report)),
        Scenario::new("tls-64", |options, report| round_trips("tls-64", Layer::Tls, options, report)),
        Scenario::new("tcp-64-calls", |options, report| calls::run(Layer::Tcp, options.round_trips, report)),
        Scenario::new("tls-64-calls", |options, report| calls::run(Layer::Tls, options.round_trips, report)),
        Scenario::new("tls-both-ways", both_ways),
        Scenario::new("descriptors", descriptors),
        Scenario::new("black-hole-ms", black_hole),
    ],
    bounds: &[
        ("tcp-64", at_most(1.3)),
        ("tls-64", at_most(1.3)),
        ("tcp-64-calls", at_most(1.0)),
        ("tls-64-calls", at_most(1.0)),
        ("tls-both-ways", at_least(0.9)),
        ("descriptors", at_most(1.0)),
        ("black-hole-ms", at_most(300.0)),
    ],
    prepare,
};

fn main() -> ExitCode {
    BENCH.main()
}

fn prepare(asked: Asked) -> Outcome<Options> {
    let usual = asked.pick(Rounds { count: 5, slices: 15 }, Rounds { count: 2, slices: 3 });
    let (round_trips, bulk_bytes) = asked.pick((2_000, 16 << 20), (200, 1 << 20));
    Ok(Options { rounds: asked.rounds_or(usual)?, round_trips, bulk_bytes })
}

/// The processor time of 64 bytes there and back, in nanoseconds.
fn round_trips(name: &str, layer: Layer, options: &Options, report: &mut Report) -> Outcome<()> {
    let Options { rounds, round_trips, .. } = *options;
    report::title(name, &format!("64 B there and back, {rounds} × {round_trips} a client; client ns/round trip"));
    let peer = Peer::echo(layer)?;
    let slice = |talker: &mut Box<dyn Talker>| {
        let since = own_thread_ns()?;
        for _ in 0..round_trips {
            talker.round_trip(&[7; 64])?;
        }
        Ok((own_thread_ns()? - since) as f64 / round_trips as f64)
    };
    let start = |maker: &Maker| {
        let mut talker = peer.connect(*maker)?;
        slice(&mut talker)?;
        Ok(talker)
    };
    let slices = slices::alternate(rounds, &[Maker::Windlass, Maker::Std], start, slice)?;
    let (ours, theirs) = (&slices[0], &slices[1]);
    println!("  windlass  {}", report::spread(ours));
    println!("  std       {}", report::spread(theirs));
    let ratios = slices::by_round(ours.iter().zip(theirs).map(|(our, their)| our / their), rounds);
    println!("  windlass / std by round: {}", report::list(&ratios));
    report.verdict(name, report::median(&ratios));
    Ok(())
}

/// Bulk under TLS: windlass with a reading and a writing thread at once, `StreamOwned` one way after the other, as it must.
///
/// The figure is processor time of all client threads for as many bytes each way: theirs by ours.
fn both_ways(options: &Options, report: &mut Report) -> Outcome<()> {
    let Options { rounds, bulk_bytes, .. } = *options;
    let text = format!("{} MiB each way, {rounds} a client; client ms of processor time", bulk_bytes >> 20);
    report::title("tls-both-ways", &text);
    let peer = Peer::bulk()?;
    let start = |maker: &Maker| {
        let mut bulk = Bulk::connect(&peer, *maker)?;
        bulk.carry(bulk_bytes)?;
        Ok(bulk)
    };
    let makers = [Maker::Windlass, Maker::Std];
    let slices = slices::alternate(rounds, &makers, start, |bulk| bulk.carry(bulk_bytes))?;
    let (ours, theirs) = (&slices[0], &slices[1]);
    let row = |slices: &[Carried]| {
        let clock: Duration = slices.iter().map(|carried| carried.clock).sum();
        let rate = 2.0 * bulk_bytes as f64 * slices.len() as f64 / clock.as_secs_f64() / f64::from(1 << 20);
        let spread = report::spread(&slices.iter().map(|carried| carried.processor_ms).collect::<Vec<f64>>());
        format!("{spread}, {rate:.0} MiB/s")
    };
    println!("  windlass  {} both ways together", row(ours));
    println!("  std       {} one way at a time", row(theirs));
    let pairs = ours.iter().zip(theirs);
    let ratios = slices::by_round(pairs.map(|(our, their)| their.processor_ms / our.processor_ms), rounds);
    println!("  std / windlass by round: {}", report::list(&ratios));
    report.verdict("tls-both-ways", report::median(&ratios));
    Ok(())
}

/// Open descriptors of this process.
fn open() -> Outcome<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn descriptors(_: &Options, report: &mut Report) -> Outcome<()> {
    const CLIENTS: usize = 50;
    report::title("descriptors", "of each connected client");
    // Nobody accepts here: what is counted is the clients' own.
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = windlass::Address::tcp(listener.local_addr()?);
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| windlass::Client::builder(address.clone()).build()).collect::<Result<_, _>>()?;
    let before = open()?;
    for client in &clients {
        client.connect(Duration::from_secs(10))?;
    }
    report.verdict("descriptors", (open()? - before) as f64 / CLIENTS as f64);
    Ok(())
}

/// How long a connect takes whose first address never answers.
fn black_hole(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("black-hole-ms", "a connect to two addresses, of which the first never answers");
    let hole = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)?;
    hole.bind(&SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)).into())?;
    hole.listen(0)?;
    let silent = hole.local_addr()?.as_socket().ok_or("no IP address")?;
    let mut fillers = Vec::new();
    loop {
        let filler = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None)?;
        filler.set_nonblocking(true)?;
        // On loopback a connect is done, or its SYN was dropped, when the call returns.
        let is_full = filler.connect(&silent.into()).is_err() && filler.peer_addr().is_err();
        fillers.push(filler);
        if is_full {
            break;
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let there = listener.local_addr()?;
    let resolver = windlass::Resolver::new(move |_| Ok(vec![silent, there]));
    let client = windlass::Client::builder("tcp://service.example:1".parse()?).resolver(resolver).build()?;
    let mut times = Vec::new();
    for _ in 0..options.rounds.count {
        let since = Instant::now();
        client.connect(Duration::from_secs(10))?;
        times.push(since.elapsed().as_secs_f64() * 1e3);
    }
    println!("  {}", report::spread(&times));
    report.verdict("black-hole-ms", report::median(&times));
    Ok(())
}
