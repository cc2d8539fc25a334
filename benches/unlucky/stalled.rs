//! Downloads through the proxy that nobody reads: what they hold in it.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::holdings;
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::report::{self, Report};
use crate::rig::until::until;

const DOWNLOADS: usize = 200;
const DOWNLOADS_QUICK: usize = 50;
/// Rounds, a millisecond each, without a byte from any server after which all stand still.
const STILL_ROUNDS: usize = 100;
/// Until then the kernel takes a gigabyte or two.
const FILL_TIME_MAX: Duration = Duration::from_secs(60);

/// Of each download: what it holds, its connections, and what malloc makes of both.
const GROWTH_BYTES_MAX: f64 = 50.0 * 1024.0;
/// The pipe that all relays of a reactor share.
pub(crate) const PIPE_DESCRIPTORS: usize = 2;

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let count = options.asked.pick(DOWNLOADS, DOWNLOADS_QUICK);
    report::title("proxy-stalled", &format!("{count} downloads through the proxy that nobody reads"));
    let target = TcpListener::bind("127.0.0.1:0")?;
    let to = format!("tcp://{}", target.local_addr()?);
    let proxy = Hosted::start_as_is(Core::Server, &[&options.proxy, ANYWHERE, &to], 1)?;
    let (start, descriptors) = (holdings::resident(proxy.pid())?.walked, holdings::open_descriptors(proxy.pid())?);
    let mut pairs = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(proxy.address())?;
        let (server, _) = target.accept()?;
        server.set_nonblocking(true)?;
        pairs.push((client, server));
    }
    let (piece, mut sent, mut still) = (vec![7; 64 * 1024], 0, 0);
    until("all downloads to stand still", FILL_TIME_MAX, || {
        let before = sent;
        for (_, server) in &mut pairs {
            match server.write(&piece) {
                Ok(taken) => sent += taken as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        still = if sent == before { still + 1 } else { 0 };
        Ok(still == STILL_ROUNDS)
    })?;
    let growth = holdings::resident(proxy.pid())?.walked.saturating_sub(start) as f64;
    report::note(&format!("{} MB are in the kernel; the proxy grew by {:.1} MB", sent / 1_000_000, growth / 1e6));
    report.at_most("B that the proxy grew by for each download", growth / count as f64, GROWTH_BYTES_MAX);
    let held = holdings::open_descriptors(proxy.pid())?.saturating_sub(descriptors + 2 * count);
    report.at_most("descriptors beyond two for each download", held as f64, PIPE_DESCRIPTORS as f64);
    drop(pairs);
    proxy.wait_for_descriptors(descriptors + PIPE_DESCRIPTORS)
}
