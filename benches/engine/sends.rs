//! Messages a second that four threads send to the connections of one other thread, through `Remote::send`, through
//! `Remote::tell` and the handlers' `on_message`, or through a channel of the same capacity.

use std::time::{Duration, Instant};

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::child::{Process, numbers, own_executable};
use crate::rig::launch::Core;
use crate::rig::peer::Peer;
use crate::rig::process::{Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::slices;
use crate::rig::strace;
use crate::tally::{CONNECTIONS, MESSAGE_BYTES, SENDERS};

/// Of one sender in one measured slice. What waits for one connection is far below the limit on its output.
const MESSAGES: usize = 25_000;
/// Of one sender under strace, in so many portions, between which the mailbox is empty.
const TRACED: usize = 10_000;
const PORTIONS: usize = 100;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// Bytes, which the reactor writes.
pub(crate) fn sends(options: &Options, report: &mut Report) -> Outcome<()> {
    let own = &["--outlet", "remote"];
    run("remote-sends", own, options, report)?;
    let windlass = Peer::own("windlass", own)?;
    count_wakes(&windlass, options.asked.count(TRACED), report)
}

/// Messages, which the handlers write.
pub(crate) fn tells(options: &Options, report: &mut Report) -> Outcome<()> {
    run("remote-tells", &["--outlet", "tell"], options, report)
}

fn run(scenario: &str, own: &'static [&'static str], options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.count(MESSAGES);
    let text = format!(
        "{SENDERS} threads, {MESSAGE_BYTES} B to {CONNECTIONS} connections of one other, {} × {} messages, \
         nothing pinned; messages/s",
        options.rounds,
        count * SENDERS
    );
    report::title(scenario, &text);
    let contenders = [
        Peer::own("windlass", own)?,
        Peer::own("channel, gathered", &["--outlet", "gathered"])?,
        Peer::own("channel, singly", &["--outlet", "singly"])?,
    ];
    let start = |peer: &Peer| {
        let mut exchange = Exchange::start(peer)?;
        exchange.send(count)?;
        Ok(exchange)
    };
    let windows = slices::alternate(options.rounds, &contenders, start, |exchange| exchange.send(count))?;
    for (peer, windows) in contenders.iter().zip(&windows) {
        let rates: Vec<f64> = windows.iter().map(|sent| sent.per_second).collect();
        let refused = windows.iter().map(|sent| sent.refused as f64).collect::<Vec<_>>();
        println!(
            "  {:<18} {:<34} no room {:.0} times a slice",
            peer.name,
            report::spread(&rates),
            report::median(&refused)
        );
    }
    for (index, (peer, other)) in contenders.iter().zip(&windows).enumerate().skip(1) {
        let pairs = windows[0].iter().zip(other);
        let ratios = slices::by_round(pairs.map(|(own, other)| own.per_second / other.per_second), options.rounds);
        println!("  windlass / {} by round: {}", peer.name, report::list(&ratios));
        // The channel that gathers is the one that an expert would write.
        let alone = format!("{scenario}: windlass / {}", peer.name);
        report.verdict(if index == 1 { scenario } else { &alone }, report::median(&ratios));
    }
    Ok(())
}

/// How often the reactor was woken, and how often it looked.
fn count_wakes(peer: &Peer, count: usize, report: &mut Report) -> Outcome<()> {
    let mut exchange = Exchange::start(peer)?;
    let (turns_before, commands_before) = exchange.counters()?;
    let portion = count / PORTIONS;
    let calls =
        strace::count(exchange.outlet.pid(), || (0..PORTIONS).try_for_each(|_| exchange.send(portion).map(drop)))?;
    let (turns, commands) = exchange.counters()?;
    // The second question for the counters is a command and a turn. Each portion's answer is a write, too.
    let (turns, commands) = (turns - turns_before - 1, commands - commands_before - 1);
    let wakes = calls.get("write").copied().unwrap_or(0).saturating_sub(PORTIONS);
    let kinds: Vec<String> = calls.iter().map(|(name, calls)| format!("{name} {calls}")).collect();
    println!("  under strace: {commands} commands, {turns} turns, {wakes} wakes; {}", kinds.join(", "));
    report.verdict("remote-sends: wakes per turn", wakes as f64 / turns as f64);
    Ok(())
}

/// An outlet and what receives its messages.
struct Exchange {
    outlet: Server,
    inlets: Process,
}

struct Sent {
    per_second: f64,
    /// How often a sender found no room.
    refused: u64,
}

impl Exchange {
    fn start(peer: &Peer) -> Outcome<Self> {
        let outlet = Server::start_anywhere(peer, Transport::Tcp, &[])?;
        let inlets = Process::start(Core::All, &own_executable()?, &["--inlets", &outlet.address])?;
        expect_ok(&inlets)?;
        Ok(Exchange { outlet, inlets })
    }

    /// Has each sender send `count` messages, and waits until all have come.
    fn send(&mut self, count: usize) -> Outcome<Sent> {
        let begun = Instant::now();
        self.inlets.order(&format!("expect {}", count * SENDERS))?;
        self.outlet.process.order(&format!("send {count}"))?;
        expect_ok(&self.inlets).map_err(|error| format!("{}: {error}", self.outlet.name()))?;
        let elapsed = begun.elapsed();
        match self.outlet_says("sent")?.as_slice() {
            &[refused, 0] => Ok(Sent { per_second: (count * SENDERS) as f64 / elapsed.as_secs_f64(), refused }),
            other => Err(format!("{} could not deliver: {other:?}", self.outlet.name()).into()),
        }
    }

    /// Turns and commands of the reactor so far.
    fn counters(&mut self) -> Outcome<(u64, u64)> {
        self.outlet.process.order("counters")?;
        match self.outlet_says("counters")?.as_slice() {
            &[turns, commands] => Ok((turns, commands)),
            other => Err(format!("an outlet counted {other:?}").into()),
        }
    }

    fn outlet_says(&self, word: &str) -> Outcome<Vec<u64>> {
        numbers(&self.outlet.process.line_after(word, ANSWER_TIME_MAX)?)
    }
}

fn expect_ok(inlets: &Process) -> Outcome<()> {
    match inlets.line(ANSWER_TIME_MAX)?.as_str() {
        "ok" => Ok(()),
        other => Err(other.to_owned().into()),
    }
}
