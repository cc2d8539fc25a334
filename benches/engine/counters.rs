//! Whether what reactors count is true: beside what the kernel counts of the same connections, and their clients.
//!
//! The hosts and their clients have a network of their own, so that the kernel counts nobody else's connections there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use windlass::{Expiry, Reason};

use crate::census::{Census, REASONS};
use crate::endings::{self, Ending, Places, Traffic};
use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::certificate;
use crate::rig::child::{self, Process, own_executable};
use crate::rig::hosted::Hosted;
use crate::rig::launch::Core;
use crate::rig::report::{self, Report};
use crate::rig::self_signed;
use crate::rig::until::until;

/// How many connections end so, and how many of those are open at a time on each thread.
const PLAYED: [(Ending, usize, usize); 12] = [
    (Ending::Clean, 20_000, 64),
    (Ending::HalfClose, 20_000, 64),
    (Ending::Reset, 10_000, 64),
    (Ending::ResetAtOnce, 8_000, 64),
    (Ending::Refused, 15_000, 64),
    (Ending::Idle, 6_000, 500),
    (Ending::ServerClose, 10_000, 64),
    (Ending::ServerAbort, 10_000, 64),
    (Ending::PlainToTls, 2_000, 16),
    (Ending::BadHello, 2_000, 16),
    (Ending::Tls, 1_000, 16),
    (Ending::TlsTruncated, 1_000, 16),
];
/// Open when the drain begins: those that it cuts, and those that close with it.
const DRAINED: usize = 1_000;
const POLITE: usize = 1_000;
const THREADS: usize = 4;
const REACTORS: usize = 2;
const IDLE: &str = "0.3";
const DRAIN: Duration = Duration::from_secs(1);
/// A line of the other harness may take the whole run.
const RUN_TIME_MAX: Duration = Duration::from_secs(300);
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);

/// A network of one's own, in which nothing is up.
const UNSHARE: [&str; 4] = ["unshare", "--map-root-user", "--net", "--"];

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let scale = options.asked.count(50);
    let total = PLAYED.iter().map(|(_, count, _)| count).sum::<usize>() + DRAINED + POLITE;
    let text = format!("{} connections of every ending on {REACTORS} + 1 reactors", total * scale / 50);
    report::title("counters", &text);
    let [unshare, options @ ..] = UNSHARE;
    let tried =
        Command::new(unshare).args(options).args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("  skipped: unshare or ip is not installed, or not allowed to make a network");
        return Ok(());
    }
    let own = own_executable()?.display().to_string();
    let scale = scale.to_string();
    let inside = ["sh", "-c", "ip link set lo up && exec \"$0\" \"$@\"", &own, "--isolated", &scale];
    let arguments: Vec<&str> = options.into_iter().chain(inside).collect();
    let process = Process::start(Core::All, Path::new(unshare), &arguments)?;
    loop {
        let line = process.line(RUN_TIME_MAX)?;
        match line.split_once(": ") {
            Some(("differences", count)) => {
                report.verdict("counters", count.parse()?);
                return Ok(());
            }
            Some(("failed", why)) => return Err(why.to_owned().into()),
            _ => println!("{line}"),
        }
    }
}

/// The harness inside its own network; the argument is the size, in fiftieths.
pub(crate) fn isolated(arguments: &[String]) -> Outcome<()> {
    let [scale] = arguments else {
        return Err("--isolated wants a size".into());
    };
    match compare(scale.parse()?) {
        Ok(differences) => println!("differences: {differences}"),
        Err(error) => println!("failed: {error}"),
    }
    Ok(())
}

/// Plays all endings, and returns how many differences there are between the counts, all added up.
fn compare(scale: usize) -> Outcome<u64> {
    let begun = Instant::now();
    let directory = child::directory()?;
    let (chain, key) = (directory.path().join("certificate.pem"), directory.path().join("key.pem"));
    self_signed::P256.write(&chain, &key)?;
    let (chain_text, key_text) = (chain.display().to_string(), key.display().to_string());
    let reactors = REACTORS.to_string();
    let options = [
        "--obey",
        "on",
        "--reactors",
        &reactors,
        "--refuse",
        endings::REFUSED,
        "--cert",
        &chain_text,
        "--key",
        &key_text,
    ];
    let passive_before = passive_opens()?;
    let mut host = Hosted::own(&["tcp://127.0.0.1:0", "tls://127.0.0.1:0"], &options)?;
    let mut idle = Hosted::own(&["tcp://127.0.0.1:0"], &["--obey", "on", "--idle", IDLE])?;
    let places = Places {
        plain: host.addresses[0],
        tls: host.addresses[1],
        idle: idle.addresses[0],
        config: certificate::client(&chain)?,
    };
    let mut traffic = play(&places, scale)?;

    let (drained, polite) = (DRAINED * scale / 50, POLITE * scale / 50);
    let stay = |ending: Ending, count: usize| {
        (0..count).map(|number| Ok((ending, places.begin(ending, number)?.heard()?))).collect::<Outcome<Vec<_>>>()
    };
    // In the order in which the server closes them.
    let mut open = stay(Ending::Polite, polite)?;
    open.extend(stay(Ending::Drained, drained)?);
    let mut so_far = traffic;
    open.iter().for_each(|(_, client)| so_far.add(client.traffic()));
    let mut living = settle(&mut host, (drained + polite) as u64)?;
    living.add(&settle(&mut idle, 0)?);
    let mut rows = Rows::default();
    rows.compare("bytes in of snapshots with living connections, and sent by clients", living.bytes_in, so_far.sent);
    rows.compare("bytes out, and received by clients", living.bytes_out, so_far.received);
    let last = thread::spawn(move || -> Result<Traffic, String> {
        let mut sum = Traffic::default();
        for (ending, client) in open {
            sum.add(client.end(ending).map_err(|error| format!("{ending:?}: {error}"))?);
        }
        Ok(sum)
    });
    let (mut census, cut) = host.drain(REACTORS, DRAIN)?;
    census.add(&idle.drain(1, DRAIN)?.0);
    traffic.add(last.join().map_err(|_| "a client panicked")??);
    let passive = passive_opens()? - passive_before;

    let reasons: Vec<String> =
        REASONS.iter().zip(census.reasons).map(|(reason, count)| format!("{reason:?} {count}")).collect();
    println!("  closed: {}", reasons.join(", "));
    let played = |wanted: &[Ending]| {
        let counts =
            PLAYED.iter().filter(|(ending, ..)| wanted.contains(ending)).map(|(_, count, _)| count * scale / 50);
        counts.sum::<usize>() as u64
    };
    let all: Vec<Ending> = PLAYED.iter().map(|(ending, ..)| *ending).collect();
    let clients = played(&all) + (drained + polite) as u64;
    rows.compare("accepted, and passive opens of the kernel", census.accepted, passive);
    rows.compare("accepted, and connections of clients", census.accepted, clients);
    rows.compare("accepted, and opened + failed", census.accepted, census.opened + census.failed);
    rows.compare("closed, and opened", census.closed, census.opened);
    rows.compare("bytes in, and sent by clients", census.bytes_in, traffic.sent);
    rows.compare("bytes out, and received by clients", census.bytes_out, traffic.received);
    let refused = played(&[Ending::Refused]);
    let faults = played(&[Ending::PlainToTls, Ending::BadHello]);
    rows.compare("refused", census.refused, refused);
    rows.compare("failed, and refused + failed handshakes", census.failed, refused + faults);
    let by_peer = played(&[Ending::Clean, Ending::HalfClose, Ending::Tls]);
    rows.compare("closed by the peer", census.closed_for(Reason::PeerClosed), by_peer);
    rows.compare("reset", census.closed_for(Reason::Reset), played(&[Ending::Reset, Ending::ResetAtOnce]));
    rows.compare("truncated", census.closed_for(Reason::Truncated), played(&[Ending::TlsTruncated]));
    rows.compare("idle", census.closed_for(Reason::Timeout(Expiry::Idle)), played(&[Ending::Idle]));
    rows.compare("aborted", census.closed_for(Reason::Aborted), played(&[Ending::ServerAbort]));
    rows.compare("closed by handlers at the drain", census.closed_for(Reason::Drain), polite as u64);
    rows.compare("cut by the drain", census.closed_for(Reason::Timeout(Expiry::Drain)), drained as u64);
    rows.compare("cut, as the report says", cut, drained as u64);
    println!("  {:.1} s", begun.elapsed().as_secs_f64());
    Ok(rows.differences)
}

/// Has the clients play all that ends before the drain, on several threads.
fn play(places: &Places, scale: usize) -> Outcome<Traffic> {
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let places = places.clone();
            thread::spawn(move || -> Result<Traffic, String> {
                let mut sum = Traffic::default();
                for (ending, count, width) in PLAYED {
                    let count = count * scale / 50;
                    let own = count / THREADS + usize::from(thread < count % THREADS);
                    sum.add(places.play(ending, own, width).map_err(|error| error.to_string())?);
                }
                Ok(sum)
            })
        })
        .collect();
    let mut sum = Traffic::default();
    for thread in threads {
        sum.add(thread.join().map_err(|_| "a client panicked")??);
    }
    Ok(sum)
}

/// Waits until a host has so many living connections, and returns what it has counted then.
fn settle(host: &mut Hosted, living: u64) -> Outcome<Census> {
    let mut census = Census::default();
    until(&format!("a host to count {living} living connections"), SETTLE_TIME_MAX, || {
        census = host.snapshot()?;
        Ok(census.opened - census.closed == living && census.accepted == census.opened + census.failed)
    })?;
    Ok(census)
}

/// Connections that the kernel has given to listeners of this network, RFC 4022.
fn passive_opens() -> Outcome<u64> {
    let text = std::fs::read_to_string("/proc/self/net/snmp")?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next().ok_or("no Tcp in snmp")?, lines.next().ok_or("no Tcp in snmp")?);
    let found = names.split_whitespace().zip(values.split_whitespace()).find(|(name, _)| *name == "PassiveOpens");
    Ok(found.ok_or("no PassiveOpens in snmp")?.1.parse()?)
}

/// Two counts of one thing, one row each.
#[derive(Default)]
struct Rows {
    differences: u64,
}

impl Rows {
    fn compare(&mut self, what: &str, counted: u64, expected: u64) {
        let difference = counted.abs_diff(expected);
        self.differences += difference;
        let verdict = if difference == 0 { String::new() } else { format!(", not {expected}  DIFFERENT") };
        println!("  {what}: {counted}{verdict}");
    }
}
