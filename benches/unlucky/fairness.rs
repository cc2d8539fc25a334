//! One sender at full speed beside a thousand echo connections: how much longer do they wait, and how long beside the
//! same sender at the bare loop?

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::account;
use crate::rig::child::{self, Process};
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::process::Load;
use crate::rig::report::{self, Report, median};
use crate::rig::until::PATIENCE;

const CONNECTIONS: usize = 1_000;
const MESSAGE_BYTES: usize = 64;
const MESSAGES: usize = 60_000;
const MESSAGES_QUICK: usize = 10_000;
const ROUNDS: usize = 5;
const ROUNDS_QUICK: usize = 2;
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
    let count = options.asked.pick(MESSAGES, MESSAGES_QUICK);
    let text = format!("{CONNECTIONS} echo connections beside one sender at full speed");
    report::title("fairness", &text);
    let (windlass, bare) = ([options.echo.as_str()], [options.own.as_str(), "--bare"]);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut gave_up = None;
    for _ in 0..options.asked.pick(ROUNDS, ROUNDS_QUICK) {
        ours.push(round(&windlass, count).map_err(|error| format!("windlass: {error}"))?);
        // A loop without a budget may serve nobody but the sender: that is its result.
        if gave_up.is_none() {
            match round(&bare, count) {
                Ok(round) => theirs.push(round),
                Err(error) => gave_up = Some(error.to_string()),
            }
        }
    }
    tell("windlass", &ours);
    tell("bare", &theirs);
    let of = |rounds: &[Round], what: fn(&Round) -> f64| median(&rounds.iter().map(what).collect::<Vec<f64>>());
    let waited = of(&ours, |round| round.waited) * 100.0;
    report::note(&format!("{waited:.1} % of the time something else had the server's core: the machine's noise"));
    report.at_most(
        "p99 beside the sender / without it",
        of(&ours, |round| round.beside_ms / round.alone_ms),
        SLOWER_MAX,
    );
    match gave_up {
        Some(error) => report::note(&format!("bare: {error}; there is nothing to compare with")),
        None => {
            let (ours, theirs) = (of(&ours, |round| round.beside_ms), of(&theirs, |round| round.beside_ms));
            report.at_most("p99 beside the sender, windlass / bare", ours / theirs, 1.0);
        }
    }
    Ok(())
}

fn tell(name: &str, rounds: &[Round]) {
    for round in rounds {
        report::note(&format!(
            "{name:<9} p99 {:.2} ms alone, {:.2} ms beside a sender of {:.0} MB/s; waited {:.1} %",
            round.alone_ms,
            round.beside_ms,
            round.flood_mb_per_second,
            round.waited * 100.0
        ));
    }
}

fn round(command: &[&str], count: usize) -> Outcome<Round> {
    let server = Hosted::start(Core::Server, command, &[ANYWHERE])?;
    let mut load = Load::play(Core::Load, &["--load", &format!("tcp://{}", server.address())])?;
    load.connect(CONNECTIONS)?;
    let mut p99_ms = || -> Outcome<f64> { Ok(load.echo(CONNECTIONS, MESSAGE_BYTES, count)?.p99_ns as f64 / 1e6) };
    p99_ms()?;
    let before = account::scheduled(server.pid())?;
    let begun = Instant::now();
    let alone_ms = p99_ms()?;
    let flood = ["--flood".to_owned(), server.address().to_string()];
    let mut flood = Process::start(Core::Load, &child::own_executable()?, &flood)?;
    thread::sleep(RUN_UP);
    let beside_ms = p99_ms()?;
    let waited = (account::scheduled(server.pid())?.waited_ns - before.waited_ns) as f64;
    let waited = waited / begun.elapsed().as_nanos() as f64;
    flood.end_input();
    let flood_mb_per_second = flood.line(PATIENCE)?.parse()?;
    Ok(Round { alone_ms, beside_ms, flood_mb_per_second, waited })
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
