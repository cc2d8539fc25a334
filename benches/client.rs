//! The benchmark of clients for threads that wait: what a round trip and bulk cost beside `std::net::TcpStream` and rustls'
//! `StreamOwned`, against the same peers.
//!
//! `cargo bench --bench client -- --help` lists the options; `benches/README.md` says what is measured and how.
//!
//! The peers are threads of this process; processor time is that of the client's threads alone. `--exchange` is the role
//! of a process that does nothing but round trips, to be run under strace.

#[path = "client/calls.rs"]
mod calls;
#[path = "client/peer.rs"]
mod peer;
#[path = "client/plan.rs"]
mod plan;
#[path = "echo/report.rs"]
mod report;
#[path = "client/talker.rs"]
mod talker;

use peer::{Layer, Peer};
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use talker::{Maker, Talker};

/// What a step of the benchmark returns; the error is a sentence for the person who runs it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: cargo bench --bench client -- [OPTIONS]

  --rounds N  rounds of each comparison (5)
  --quick     a smoke run: figures without meaning
  --help      this text

Linux only; the counts of system calls need strace.";

/// How much is measured.
struct Options {
    rounds: usize,
    slices: usize,
    round_trips: usize,
    bulk_bytes: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.first().map(String::as_str) {
        Some("--exchange") => calls::exchange(&arguments[1..]),
        _ => harness(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn harness(arguments: &[String]) -> Outcome<()> {
    // Cargo adds --bench for `cargo bench`, and leaves it out for `cargo test --benches`.
    if arguments.is_empty() {
        println!("nothing to test; run it by `cargo bench --bench client`");
        return Ok(());
    }
    let mut options = Options { rounds: 5, slices: 15, round_trips: 2_000, bulk_bytes: 16 << 20 };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--bench" => {}
            "--quick" => options = Options { rounds: 2, slices: 3, round_trips: 200, bulk_bytes: 1 << 20 },
            "--rounds" => options.rounds = rest.next().ok_or("--rounds wants a number")?.parse::<usize>()?.max(1),
            "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            other => return Err(format!("no option `{other}`; --help lists them").into()),
        }
    }
    for layer in [Layer::Tcp, Layer::Tls] {
        round_trips(layer, &options)?;
    }
    for layer in [Layer::Tcp, Layer::Tls] {
        calls::run(layer, options.round_trips)?;
    }
    both_ways(&options)?;
    descriptors()?;
    black_hole(options.rounds)
}

/// Nanoseconds that this thread has had a processor, by the scheduler's own account.
pub(crate) fn thread_time() -> Outcome<u64> {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(account.split_whitespace().next().ok_or("the scheduler keeps no account")?.parse()?)
}

/// The processor time of 64 bytes there and back, in nanoseconds.
fn round_trips(layer: Layer, options: &Options) -> Outcome<()> {
    let name = match layer {
        Layer::Tcp => "tcp-64",
        Layer::Tls => "tls-64",
    };
    let Options { rounds, slices, round_trips, .. } = *options;
    let text = format!("64 B there and back, {rounds} × {slices} × {round_trips} a client; client ns/round trip");
    report::title(name, &text);
    let peer = Peer::echo(layer)?;
    let slice = |talker: &mut Box<dyn Talker>| {
        let since = thread_time()?;
        for _ in 0..round_trips {
            talker.round_trip(&[7; 64])?;
        }
        Ok((thread_time()? - since) as f64 / round_trips as f64)
    };
    compare(name, options, || peer.connect(Maker::Windlass), || peer.connect(Maker::Std), slice)
}

/// Measures two clients in turn and prints how the first stands to the second.
fn compare(
    name: &str,
    options: &Options,
    ours: impl Fn() -> Outcome<Box<dyn Talker>>,
    theirs: impl Fn() -> Outcome<Box<dyn Talker>>,
    slice: impl Fn(&mut Box<dyn Talker>) -> Outcome<f64>,
) -> Outcome<()> {
    let (mut all_ours, mut all_theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds {
        let (mut ours, mut theirs) = (ours()?, theirs()?);
        let mut round = Vec::new();
        slice(&mut ours)?;
        slice(&mut theirs)?;
        for _ in 0..options.slices {
            let (our, their) = (slice(&mut ours)?, slice(&mut theirs)?);
            round.push(our / their);
            all_ours.push(our);
            all_theirs.push(their);
        }
        ratios.push(report::median(&round));
    }
    println!("  windlass  {}", report::spread(&all_ours));
    println!("  std       {}", report::spread(&all_theirs));
    println!("  windlass / std by round: {}", report::list(&ratios));
    report::verdict(name, report::median(&ratios));
    Ok(())
}

/// Bulk under TLS: windlass with a reading and a writing thread at once, `StreamOwned` one way after the other, as it must.
///
/// The figure is processor time of all client threads for as many bytes each way: theirs by ours.
fn both_ways(options: &Options) -> Outcome<()> {
    let Options { rounds, slices, bulk_bytes, .. } = *options;
    let text = format!("{} MiB each way, {rounds} × {slices} a client; client ms of processor time", bulk_bytes >> 20);
    report::title("tls-both-ways", &text);
    let peer = Peer::bulk()?;
    let (mut all_ours, mut all_theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut our_clock, mut their_clock) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..rounds {
        let (ours, mut theirs) = (peer.client()?, peer.stream()?);
        let mut round = Vec::new();
        for number in 0..=slices {
            let since = Instant::now();
            let our = talker::both_at_once(&ours, bulk_bytes)? as f64 / 1e6;
            let our_time = since.elapsed();
            let their = talker::one_after_the_other(&mut theirs, bulk_bytes)? as f64 / 1e6;
            if number > 0 {
                our_clock += our_time;
                their_clock += since.elapsed() - our_time;
                round.push(their / our);
                all_ours.push(our);
                all_theirs.push(their);
            }
        }
        ratios.push(report::median(&round));
    }
    let rate =
        |clock: Duration| 2.0 * bulk_bytes as f64 * (rounds * slices) as f64 / clock.as_secs_f64() / f64::from(1 << 20);
    println!("  windlass  {}, {:.0} MiB/s both ways together", report::spread(&all_ours), rate(our_clock));
    println!("  std       {}, {:.0} MiB/s one way at a time", report::spread(&all_theirs), rate(their_clock));
    println!("  std / windlass by round: {}", report::list(&ratios));
    report::verdict("tls-both-ways", report::median(&ratios));
    Ok(())
}

/// Open descriptors of this process.
fn open() -> Outcome<usize> {
    Ok(std::fs::read_dir("/proc/self/fd")?.count())
}

fn descriptors() -> Outcome<()> {
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
    report::verdict("descriptors", (open()? - before) as f64 / CLIENTS as f64);
    Ok(())
}

/// How long a connect takes whose first address never answers.
fn black_hole(rounds: usize) -> Outcome<()> {
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
    for _ in 0..rounds {
        let since = Instant::now();
        client.connect(Duration::from_secs(10))?;
        times.push(since.elapsed().as_secs_f64() * 1e3);
    }
    println!("  {}", report::spread(&times));
    report::verdict("black-hole-ms", report::median(&times));
    Ok(())
}
