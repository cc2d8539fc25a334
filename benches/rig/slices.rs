//! Slices of work that servers do in turn: what each costs, and how it stands to the one beside it.

use std::thread;
use std::time::Duration;

use crate::rig::Outcome;
use crate::rig::account;
use crate::rig::answer::Answer;
use crate::rig::asked::Rounds;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server};
use crate::rig::report::{self, Report};

/// Lets a server finish its last turn: the kernel's account of a thread is exact while it sleeps.
const SETTLE: Duration = Duration::from_millis(5);

/// One measured slice.
pub(crate) struct Window {
    /// Processor time of the server per unit of work.
    pub(crate) server_ns: f64,
    /// How much of the slice the server waited for its core, which is then not its own: distrust the figures.
    waited_percent: f64,
    pub(crate) answer: Answer,
}

/// Charges a server for the `count` units of work that `work` has it do.
pub(crate) fn measure(server: &Server, count: usize, work: impl FnOnce() -> Outcome<Answer>) -> Outcome<Window> {
    thread::sleep(SETTLE);
    let before = account::scheduled(server.pid())?;
    let answer = work().map_err(|error| format!("{}: {error}", server.name()))?;
    thread::sleep(SETTLE);
    let after = account::scheduled(server.pid())?;
    Ok(Window {
        server_ns: (after.ran_ns - before.ran_ns) as f64 / count as f64,
        waited_percent: (after.waited_ns - before.waited_ns) as f64 / answer.elapsed_ns as f64 * 100.0,
        answer,
    })
}

/// Which way round two servers are compared.
#[derive(Clone, Copy)]
pub(crate) enum Ratio {
    /// Processor time of the one under test by that of the yardstick: less is better.
    Cost,
    /// The other way round: what the one under test does in the same processor time. More is better.
    Work,
}

impl Ratio {
    /// By round, and what is divided by what.
    fn of(self, own: (&Peer, &[Window]), other: (&Peer, &[Window]), rounds: Rounds) -> (String, Vec<f64>) {
        let (above, below) = match self {
            Ratio::Cost => (own, other),
            Ratio::Work => (other, own),
        };
        (format!("{} / {}", above.0.name, below.0.name), round_ratios(above.1, below.1, rounds))
    }
}

/// Measures servers in turn and prints how each stands to the first, which is the yardstick, and the second, which is the one
/// under test, to those behind it.
pub(crate) fn compare(
    name: &str,
    (rounds, ratio): (Rounds, Ratio),
    peers: &[&Peer],
    start: impl Fn(&Peer) -> Outcome<(Server, Load)>,
    slice: impl Fn(&Server, &mut Load) -> Outcome<Window>,
    report: &mut Report,
) -> Outcome<()> {
    let windows = alternate(rounds, peers, |peer| start(peer), |(server, load)| slice(server, load))?;
    for (peer, measured) in peers.iter().zip(&windows) {
        print_row(&peer.name, measured);
    }
    let contenders: Vec<(&Peer, &[Window])> = peers.iter().copied().zip(windows.iter().map(Vec::as_slice)).collect();
    for (index, own) in contenders.iter().enumerate().skip(1) {
        let (pair, ratios) = ratio.of(*own, contenders[0], rounds);
        println!("  {pair} by round: {}", report::list(&ratios));
        report.verdict(if index == 1 { name } else { &pair }, report::median(&ratios));
    }
    for other in contenders.iter().skip(2) {
        let (pair, ratios) = ratio.of(contenders[1], *other, rounds);
        report.verdict(&format!("{name}: {pair}"), report::median(&ratios));
    }
    Ok(())
}

/// Has contenders work in turn, and returns the slices of each.
///
/// A round has fresh processes, warmed up by `start`; each contender then works for many short slices, in turn with
/// the others, so that what disturbs the machine for a while disturbs all of them.
pub(crate) fn alternate<C, P, W>(
    rounds: Rounds,
    contenders: &[C],
    start: impl Fn(&C) -> Outcome<P>,
    slice: impl Fn(&mut P) -> Outcome<W>,
) -> Outcome<Vec<Vec<W>>> {
    let mut windows: Vec<Vec<W>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds.count {
        let mut started = contenders.iter().map(&start).collect::<Outcome<Vec<_>>>()?;
        for _ in 0..rounds.slices {
            for (processes, windows) in started.iter_mut().zip(&mut windows) {
                windows.push(slice(processes)?);
            }
        }
    }
    Ok(windows)
}

/// One ratio a round: the median over its slices, each beside the slice that ran next to it.
pub(crate) fn round_ratios(own: &[Window], yardstick: &[Window], rounds: Rounds) -> Vec<f64> {
    let pairs = own.iter().zip(yardstick);
    by_round(pairs.map(|(own, yardstick)| own.server_ns / yardstick.server_ns), rounds)
}

/// The median of each round, of one figure a slice.
pub(crate) fn by_round(figures: impl Iterator<Item = f64>, rounds: Rounds) -> Vec<f64> {
    figures.collect::<Vec<_>>().chunks(rounds.slices).map(report::median).collect()
}

/// Medians over the rounds of one server.
pub(crate) fn print_row(name: &str, windows: &[Window]) {
    let column = |value: fn(&Window) -> f64| -> Vec<f64> { windows.iter().map(value).collect() };
    let microseconds = |value: fn(&Window) -> f64| report::median(&column(value)) / 1_000.0;
    println!(
        "  {name:<18} {:<24} p50 {:.0} µs, p99 {:.0} µs, p999 {:.0} µs, slice {:.2} s, waited {:.0} %",
        report::spread(&column(|window| window.server_ns)),
        microseconds(|window| window.answer.p50_ns as f64),
        microseconds(|window| window.answer.p99_ns as f64),
        microseconds(|window| window.answer.p999_ns as f64),
        report::median(&column(|window| window.answer.elapsed_ns as f64)) / 1e9,
        report::median(&column(|window| window.waited_percent)),
    );
}
