//! How evenly least-connections placement spreads long connections that come among short ones.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::dial::dial;
use crate::rig::dice::Dice;
use crate::rig::hosted::Hosted;
use crate::rig::report::{self, Report};
use crate::rig::until::{PATIENCE, until};

const REACTORS: usize = 4;
const LONG: usize = 1_000;
/// In a smoke run, too: fewer are spread by chance.
const LONG_MIN: usize = 100;
/// For each long one.
const SHORT_FOR_LONG: usize = 10;
/// Short connections open at a time; which of them ends next is left to chance.
const SHORT_OPEN: usize = 64;
/// Connections between two looks at the reactors.
const LOOK_EVERY: usize = 500;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let long = options.asked.count(LONG).max(LONG_MIN);
    let text = format!(
        "{long} long connections among {} short ones on {REACTORS} reactors, to the one with the fewest; max / mean",
        long * SHORT_FOR_LONG
    );
    report::title("placement", &text);
    let reactors = REACTORS.to_string();
    let mut figures = Vec::new();
    for round in 0..options.rounds.count {
        figures.push(spread(long, &reactors, round as u64)?);
    }
    report.verdict("placement", report::median(&figures));
    Ok(())
}

/// One round; returns the spread of the long connections alone.
fn spread(long: usize, reactors: &str, seed: u64) -> Outcome<f64> {
    let mut host = Hosted::own(&["tcp://127.0.0.1:0"], &["--reactors", reactors])?;
    let address = host.addresses[0];
    let mut dice = Dice::new(seed);
    let (mut kept, mut short) = (Vec::new(), Vec::new());
    let mut worst: f64 = 0.0;
    for number in 0..long * (1 + SHORT_FOR_LONG) {
        let connection = served(address, number)?;
        if number % (1 + SHORT_FOR_LONG) == 0 {
            kept.push(connection);
        } else {
            short.push(connection);
        }
        if short.len() > SHORT_OPEN {
            short.swap_remove(dice.below(short.len() as u64) as usize);
        }
        if number % LOOK_EVERY == LOOK_EVERY - 1 {
            worst = worst.max(max_over_mean(&host.connections()?));
        }
    }
    drop(short);
    let mut counts = Vec::new();
    until("the short ones to be gone", PATIENCE, || {
        counts = host.connections()?;
        Ok(counts.iter().sum::<u64>() == long as u64)
    })?;
    let opened = host.snapshot()?.opened;
    println!("  long ones {counts:?} of {opened}; all of them on the way: {worst:.3} at worst");
    Ok(max_over_mean(&counts))
}

/// A connection that has had a byte echoed.
fn served(address: SocketAddr, number: usize) -> Outcome<TcpStream> {
    let failed = |error| format!("connection {number}: {error}");
    let mut stream = TcpStream::from(dial(address, number).map_err(failed)?);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"e")?;
    stream.read_exact(&mut [0]).map_err(failed)?;
    Ok(stream)
}

fn max_over_mean(counts: &[u64]) -> f64 {
    let most = counts.iter().copied().max().unwrap_or(0);
    most as f64 * counts.len() as f64 / counts.iter().sum::<u64>().max(1) as f64
}
