//! A server with few descriptors and many clients: those inside are served, and those outside are let in when a
//! descriptor comes free, without any help from a new connect.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::options::Options;
use crate::peer::{Peer, echo_on_each};
use crate::rig::Outcome;
use crate::rig::account;
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::report::{self, Report, largest};
use crate::rig::strace::{self, Tracer};
use crate::rig::until::{PATIENCE, until};

const DESCRIPTORS: usize = 64;
const CLIENTS: usize = 200;
/// Clients that close at a time.
const LEAVING: usize = 10;
/// Echoes on each established connection while others wait.
const ROUNDS: usize = 50;
/// Connects in the traced window, which must not make the server try more often.
const LATECOMERS: usize = 10;

/// If nobody was accepted for so long, the server is full.
const SETTLE: Duration = Duration::from_millis(200);

const TRIES_PER_SECOND_MAX: f64 = 20.0;
const CPU_PERCENT_MAX: f64 = 5.0;
const SERVED_WITHIN_MS: f64 = 500.0;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("starvation", &format!("{CLIENTS} clients of a server with {DESCRIPTORS} descriptors"));
    let limit = DESCRIPTORS.to_string();
    let server = Hosted::start(Core::Server, &[&options.own, "--limited", &limit, &options.echo], &[ANYWHERE])?;
    let mut outside = Vec::new();
    let mut inside = Vec::new();
    for number in 0..CLIENTS {
        let mut peer = Peer::dial(server.address(), number)?;
        peer.write(b"e")?;
        outside.push(peer);
    }
    let mut before = 0;
    while inside.len() > before || inside.is_empty() {
        before = inside.len();
        thread::sleep(SETTLE);
        admit(&mut outside, &mut inside)?;
    }
    let places = inside.len();
    report.condition(
        &format!("{places} of {CLIENTS} clients are inside, {} wait for want of descriptors", outside.len()),
        places <= DESCRIPTORS && !outside.is_empty(),
    );

    let window = options.asked.pick(Duration::from_secs(10), Duration::from_secs(2));
    let ran = |pid| account::scheduled(pid).map(|scheduled| scheduled.ran_ns);
    let before = ran(server.pid())?;
    thread::sleep(window);
    let percent = (ran(server.pid())? - before) as f64 / window.as_nanos() as f64 * 100.0;
    report.at_most("% of a core while starved", percent, CPU_PERCENT_MAX);

    let rounds = (0..ROUNDS).map(|_| echo_on_each(&mut inside)).collect::<Outcome<Vec<Duration>>>()?;
    let slowest = largest(rounds.iter().map(Duration::as_secs_f64)) * 1e3;
    report.condition(&format!("{ROUNDS} echoes on each of {places} inside, at most {slowest:.1} ms a round"), true);

    count_tries(&server, &mut outside, window, report)?;

    let mut slowest = 0.0_f64;
    let all = inside.len() + outside.len();
    while !outside.is_empty() {
        let leaving = LEAVING.min(outside.len());
        let expected = outside.len() - leaving;
        inside.drain(..leaving);
        let took = until("those who waited to be served", PATIENCE, || {
            admit(&mut outside, &mut inside)?;
            Ok(outside.len() <= expected)
        })?;
        slowest = slowest.max(took.as_secs_f64() * 1e3);
    }
    report.at_most("ms until those who waited were served, at most", slowest, SERVED_WITHIN_MS);
    echo_on_each(&mut inside)?;
    report.condition(&format!("all {all} clients were served at last, none helped by a new connect"), true);
    Ok(())
}

/// Limits its open files, and becomes the program.
pub(crate) fn limited(arguments: &[String]) -> Outcome<()> {
    let [count, program, rest @ ..] = arguments else {
        return Err("--limited wants a count and a program".into());
    };
    let count = Some(count.parse()?);
    setrlimit(Resource::Nofile, Rlimit { current: count, maximum: count })?;
    let error = Command::new(program).args(rest).exec();
    Err(format!("cannot run {program}: {error}").into())
}

/// Moves inside whoever was answered.
fn admit(outside: &mut Vec<Peer>, inside: &mut Vec<Peer>) -> Outcome<()> {
    let mut number = 0;
    while let Some(peer) = outside.get_mut(number) {
        if peer.is_answered()? {
            inside.push(outside.swap_remove(number));
        } else {
            number += 1;
        }
    }
    Ok(())
}

/// Counts what a starved server tries, while new clients connect.
fn count_tries(server: &Hosted, outside: &mut Vec<Peer>, window: Duration, report: &mut Report) -> Outcome<()> {
    if !strace::is_installed() {
        report::skipped("accept tries: strace is not installed");
        return Ok(());
    }
    let tracer = Tracer::attach(server.pid(), "accept,accept4", &[])?;
    for number in 0..LATECOMERS {
        let mut peer = Peer::dial(server.address(), CLIENTS + number)?;
        peer.write(b"e")?;
        outside.push(peer);
        thread::sleep(window / LATECOMERS as u32);
    }
    let log = tracer.detach()?;
    let tries = log.calls.iter().filter(|call| call.failed_with("EMFILE")).count();
    report.condition(&format!("{tries} accept tries in {window:?}, all for lack of descriptors"), {
        tries == log.calls.len() && tries > 0
    });
    report.at_most("accept tries/s while starved", tries as f64 / window.as_secs_f64(), TRIES_PER_SECOND_MAX);
    Ok(())
}
