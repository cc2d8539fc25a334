//! One sender at full speed beside a thousand echo connections: how much longer do they wait, and how long beside the
//! same sender at the bare loop?

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::account;
use crate::child::{self, Process, Server};
use crate::launch::Core;
use crate::options::Options;
use crate::peer::PATIENCE;
use crate::report::{Report, median};

const CONNECTIONS: usize = 1_000;
const MESSAGE_BYTES: usize = 64;
const MESSAGES: usize = 60_000;
const MESSAGES_QUICK: usize = 10_000;
const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 2;
/// Longer than the load generator's own patience, which gives the better message.
const LOAD_TIME_MAX: Duration = Duration::from_secs(330);
/// Until the sender is at full speed.
const RUN_UP: Duration = Duration::from_millis(200);

const SLOWER_MAX: f64 = 3.0;

/// One server's round.
#[derive(Clone, Copy)]
struct Round {
    alone_ms: f64,
    beside_ms: f64,
    flood_mb_per_second: f64,
    /// Part of the time in which the server was ready to run but something else had its core.
    waited: f64,
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.pick(MESSAGES, MESSAGES_QUICK);
    let (windlass, bare) = (&options.echo, child::own_path()?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut gave_up = None;
    for _ in 0..options.pick(ROUNDS, ROUNDS_QUICK) {
        ours.push(round(windlass, count).map_err(|error| format!("windlass: {error}"))?);
        // A loop without a budget may serve nobody but the sender: that is its result.
        if gave_up.is_none() {
            match round(&bare, count) {
                Ok(round) => theirs.push(round),
                Err(error) => gave_up = Some(error.to_string()),
            }
        }
    }
    tell("windlass", &ours, report);
    tell("bare", &theirs, report);
    let of = |rounds: &[Round], what: fn(&Round) -> f64| median(&rounds.iter().map(what).collect::<Vec<f64>>());
    let waited = of(&ours, |round| round.waited) * 100.0;
    report.note(&format!("{waited:.1} % of the time something else had the server's core: the machine's noise"));
    report.figure(
        "p99 beside the sender / without it",
        of(&ours, |round| round.beside_ms / round.alone_ms),
        SLOWER_MAX,
    );
    match gave_up {
        Some(error) => report.note(&format!("bare: {error}; there is nothing to compare with")),
        None => {
            let (ours, theirs) = (of(&ours, |round| round.beside_ms), of(&theirs, |round| round.beside_ms));
            report.figure("p99 beside the sender, windlass / bare", ours / theirs, 1.0);
        }
    }
    Ok(())
}

fn tell(name: &str, rounds: &[Round], report: &mut Report) {
    for round in rounds {
        report.note(&format!(
            "{name:<9} p99 {:.2} ms alone, {:.2} ms beside a sender of {:.0} MB/s; waited {:.1} %",
            round.alone_ms,
            round.beside_ms,
            round.flood_mb_per_second,
            round.waited * 100.0
        ));
    }
}

fn round(program: &str, count: usize) -> Outcome<Round> {
    let server = Server::start(&[program], 1)?;
    let own = child::own_executable()?;
    let address = format!("tcp://{}", server.address());
    let mut load = Process::start(Core::Load, &own, &["--load", &address])?;
    order(&mut load, &format!("connect {CONNECTIONS}"))?;
    let echo = format!("echo {CONNECTIONS} {MESSAGE_BYTES} {count}");
    order(&mut load, &echo)?;
    let before = account::scheduled(server.pid())?;
    let begun = Instant::now();
    let alone_ms = p99_ms(&order(&mut load, &echo)?)?;
    let mut flood = start_flood(&own, server.address())?;
    thread::sleep(RUN_UP);
    let beside_ms = p99_ms(&order(&mut load, &echo)?)?;
    let waited = (account::scheduled(server.pid())?.waited_ns - before.waited_ns) as f64;
    let waited = waited / begun.elapsed().as_nanos() as f64;
    flood.end_input();
    let flood_mb_per_second = flood.line(PATIENCE)?.parse()?;
    Ok(Round { alone_ms, beside_ms, flood_mb_per_second, waited })
}

fn start_flood(own: &Path, address: SocketAddr) -> Outcome<Process> {
    Process::start(Core::Load, own, &["--flood", &address.to_string()])
}

fn order(load: &mut Process, order: &str) -> Outcome<String> {
    load.order(order)?;
    let answer = load.line(LOAD_TIME_MAX).map_err(|error| format!("load generator, `{order}`: {error}"))?;
    match answer.strip_prefix("ok") {
        Some(rest) => Ok(rest.to_owned()),
        None => Err(format!("load generator, `{order}`: {answer}").into()),
    }
}

/// The third of ELAPSED P50 P99 P999, in nanoseconds.
fn p99_ms(answer: &str) -> Outcome<f64> {
    let p99: f64 = answer.split_whitespace().nth(2).ok_or("an answer without a p99")?.parse()?;
    Ok(p99 / 1e6)
}

/// Sends and takes back as fast as it can until its input ends; then tells how many MB came back in a second.
pub(crate) fn flood(arguments: &[String]) -> Outcome<()> {
    let [address] = arguments else {
        return Err("--flood wants an address".into());
    };
    let mut stream = TcpStream::connect(address)?;
    let mut input = stream.try_clone()?;
    let received = Arc::new(AtomicU64::new(0));
    let tally = received.clone();
    thread::spawn(move || {
        let piece = vec![b'f'; 1 << 20];
        while stream.write_all(&piece).is_ok() {}
    });
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(count @ 1..) = input.read(&mut buffer) {
            tally.fetch_add(count as u64, Ordering::Relaxed);
        }
    });
    let begun = Instant::now();
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    println!("{}", received.load(Ordering::Relaxed) as f64 / 1e6 / begun.elapsed().as_secs_f64());
    Ok(())
}
