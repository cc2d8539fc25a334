//! 50,000 connections at once, over three servers that listen on one port, and what each of them holds in memory.

use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::child;
use crate::rig::holdings::{self, Resident};
use crate::rig::launch::Core;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server, Site, Transport};
use crate::rig::report::{self, Report};

const CONNECTIONS: usize = 50_000;
/// Servers, and load generators.
const PROCESSES: usize = 3;
/// Descriptors of a process that are no connections, and how uneven the kernel's hash may be.
const DESCRIPTORS_BESIDE: usize = 1_000;
/// Opened first by each load generator and kept, so that what every server needs is in memory before counting starts.
const WARM_UP: usize = 64;
const MESSAGE_BYTES: usize = 64;
/// After the last connection was opened.
const SETTLE: Duration = Duration::from_millis(500);

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    let each = options.asked.count(CONNECTIONS).div_ceil(PROCESSES).max(WARM_UP);
    let text = format!(
        "{} connections to {PROCESSES} servers on one port, {MESSAGE_BYTES} B echoed on each at once; resident bytes",
        each * PROCESSES
    );
    report::title("fifty-thousand", &text);
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let wanted = (each + DESCRIPTORS_BESIDE) as u64;
    if descriptors < wanted {
        println!(
            "  skipped: the hard limit is {descriptors} open files a process, and {wanted} are wanted (ulimit -Hn)"
        );
        return Ok(());
    }
    let peer = Peer::own("host", &["--host", "--reuse", "port"])?;
    let mut servers = vec![Server::start_anywhere(&peer, Transport::Tcp, &[])?];
    for _ in 1..PROCESSES {
        let site = Site { directory: child::directory()?, listen: servers[0].address.clone(), key: None };
        servers.push(Server::start_at(site, Core::All, &peer, &[], &[])?);
    }
    let bare_descriptors = holdings::open_descriptors(servers[0].pid())?;
    let mut loads = (0..PROCESSES).map(|_| Load::start_on(Core::All, &servers[0])).collect::<Outcome<Vec<_>>>()?;
    loads.iter_mut().try_for_each(|load| load.connect(WARM_UP))?;
    let before = held(&servers, bare_descriptors)?;
    loads.iter_mut().try_for_each(|load| load.connect(each - WARM_UP))?;
    for load in &mut loads {
        let answer = load.echo(each, MESSAGE_BYTES, each)?;
        println!("  {each} messages at once: the last came back after {:.0} ms", answer.elapsed_ns as f64 / 1e6);
    }
    let after = held(&servers, bare_descriptors)?;
    let total: usize = after.iter().map(|held| held.connections).sum();
    if total != each * PROCESSES {
        return Err(format!("the servers have {total} connections, not {}", each * PROCESSES).into());
    }
    for (before, after) in before.iter().zip(&after) {
        println!(
            "  {} connections, Rss {}, VmRSS {} KiB: {:.0} B for each of the last {}",
            after.connections,
            after.resident.walked / 1024,
            after.resident.status / 1024,
            growth(before, after),
            after.connections - before.connections
        );
    }
    let growths: Vec<f64> = before.iter().zip(&after).map(|(before, after)| growth(before, after)).collect();
    report.verdict("fifty-thousand: B per connection", report::median(&growths));
    Ok(())
}

struct Held {
    connections: usize,
    resident: Resident,
}

fn held(servers: &[Server], bare_descriptors: usize) -> Outcome<Vec<Held>> {
    thread::sleep(SETTLE);
    let each = servers.iter().map(|server| {
        let connections = holdings::open_descriptors(server.pid())? - bare_descriptors;
        Ok(Held { connections, resident: holdings::resident(server.pid())? })
    });
    each.collect()
}

fn growth(before: &Held, after: &Held) -> f64 {
    (after.resident.walked as f64 - before.resident.walked as f64)
        / (after.connections - before.connections).max(1) as f64
}
