//! What an idle connection costs in resident memory, and what is left of it when all have gone.

use std::thread;
use std::time::Duration;

use crate::options::Options;
use crate::plan;
use crate::rig::Outcome;
use crate::rig::holdings::{self, Resident};
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Transport};
use crate::rig::report::{self, Report};
use crate::rig::socket::Security;

const SOME: usize = 10_000;
const MOST: usize = 19_000;
/// Opened and closed first, so that code and tables every server needs are in memory before counting starts.
const WARM_UP: usize = 64;
/// After the last connection was closed.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let (some, most) = (options.connections(SOME), options.connections(MOST));
    let text = format!("resident memory with {some} and {most} idle connections, one byte echoed on each");
    report::title("memory", &text);
    for (index, peer) in options.peers(Security::Plain).into_iter().enumerate() {
        let sample = sample(peer, some, most).map_err(|error| format!("{}: {error}", peer.name))?;
        let prefix = if index == 1 { "memory" } else { &peer.name };
        sample.print(&peer.name, prefix, (some, most), report);
    }
    Ok(())
}

/// Resident memory of one server along its life.
struct Sample {
    fresh: Resident,
    none: Resident,
    some: Resident,
    most: Resident,
    gone: Resident,
}

fn sample(peer: &Peer, some: usize, most: usize) -> Outcome<Sample> {
    let server = Server::start(peer, Transport::Tcp, plan::MANY_IDLE_60, &[])?;
    let mut load = Load::start(&server)?;
    let fresh = holdings::resident(server.pid())?;
    let descriptors = holdings::open_descriptors(server.pid())?;
    let close = |load: &mut Load| -> Outcome<()> {
        load.close()?;
        server.wait_for_descriptors(descriptors)?;
        thread::sleep(SETTLE);
        Ok(())
    };
    load.connect(WARM_UP)?;
    close(&mut load)?;
    let none = holdings::resident(server.pid())?;
    load.connect(some)?;
    let some_resident = holdings::resident(server.pid())?;
    load.connect(most - some)?;
    // All of them are still served.
    load.echo(most, 1, most)?;
    let most_resident = holdings::resident(server.pid())?;
    close(&mut load)?;
    let gone = holdings::resident(server.pid())?;
    Ok(Sample { fresh, none, some: some_resident, most: most_resident, gone })
}

impl Sample {
    /// Only what stands under `memory` has bounds to keep.
    fn print(&self, name: &str, prefix: &str, (some, most): (usize, usize), report: &mut Report) {
        for (source, value) in
            [("Rss", (|resident| resident.walked) as fn(&Resident) -> u64), ("VmRSS", |resident| resident.status)]
        {
            let [fresh, none, some, most, gone] =
                [&self.fresh, &self.none, &self.some, &self.most, &self.gone].map(|resident| kib(value(resident)));
            println!(
                "  {name:<12} {source:<6} fresh {fresh}, warm {none}, some {some}, most {most}, all closed {gone}"
            );
        }
        let growth = |from: Resident, to: Resident| to.walked as f64 - from.walked as f64;
        println!(
            "  {name:<12} B per connection: {:.0} for the first {some}, {:.0} for the next {}",
            growth(self.none, self.some) / some as f64,
            growth(self.some, self.most) / (most - some) as f64,
            most - some
        );
        let grown = growth(self.none, self.most);
        report.verdict(&format!("{prefix}: B per connection"), grown / most as f64);
        report.verdict(&format!("{prefix}: % of the growth left"), growth(self.none, self.gone) / grown * 100.0);
    }
}

/// Bytes as a person reads them.
pub(crate) fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes / 1024)
}
