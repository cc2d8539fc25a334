//! What two reactors do with the processor time of one.
//!
//! Nothing is pinned: servers and loads have the same cores. All servers work in turn, so each has them to itself but
//! for its loads, of which there are two: one alone could not keep two reactors busy, and a server that often finds
//! nothing to do takes longer for each message.

use std::thread;

use crate::options::{Options, SELF_CHECK};
use crate::plan::Shape;
use crate::rig::Outcome;
use crate::rig::answer::Answer;
use crate::rig::launch::Core;
use crate::rig::peer::Peer;
use crate::rig::process::{Load, Server};
use crate::rig::report::{self, Report};
use crate::rig::slices;

/// Options of one server, and those of the same server with two reactors.
const ONE: &[&str] = &["--reactors", "1"];
const TWO: &[&str] = &["--reactors", "2"];

const LOADS: usize = 2;

/// A server with so many reactors.
struct Contender<'a> {
    peer: &'a Peer,
    reactors: &'static [&'static str],
}

impl Contender<'_> {
    fn name(&self) -> String {
        match self.reactors {
            [.., count] => format!("{} × {count}", self.peer.name),
            [] => self.peer.name.clone(),
        }
    }
}

/// Has messages echoed by all loads at once; times are those of the slowest.
fn echo(loads: &mut [Load; LOADS], shape: Shape, count: usize) -> Outcome<Answer> {
    let Shape { connections, message_bytes, .. } = shape;
    let answers: Vec<Result<Answer, String>> = thread::scope(|scope| {
        let waiting = loads.iter_mut().map(|load| {
            scope.spawn(move || {
                let answer = load.echo(connections / LOADS, message_bytes, count / LOADS);
                answer.map_err(|error| error.to_string())
            })
        });
        // All are begun before the first is waited for.
        let waiting: Vec<_> = waiting.collect();
        let joined = waiting.into_iter().map(|waiting| waiting.join());
        joined.map(|joined| joined.unwrap_or_else(|_| Err("a load was not waited for".to_owned()))).collect()
    });
    let answers = answers.into_iter().collect::<Result<Vec<Answer>, String>>()?;
    let slowest = |time: fn(&Answer) -> u64| answers.iter().map(time).max().unwrap_or(0);
    Ok(Answer {
        elapsed_ns: slowest(|answer| answer.elapsed_ns),
        p50_ns: slowest(|answer| answer.p50_ns),
        p99_ns: slowest(|answer| answer.p99_ns),
        p999_ns: slowest(|answer| answer.p999_ns),
    })
}

pub(crate) fn run(shape: Shape, options: &Options, report: &mut Report) -> Outcome<()> {
    let Shape { connections, message_bytes, .. } = shape;
    let count = options.asked.count(shape.messages);
    let text = format!(
        "{connections} connections of {LOADS} loads, {message_bytes} B a message, {} × {count} messages a server, \
         nothing pinned; server ns/message",
        options.rounds
    );
    report::title(shape.name, &text);
    let second = if options.asked.has(SELF_CHECK) { ONE } else { TWO };
    let peers: Vec<&Peer> = std::iter::once(&options.windlass).chain(&options.others).collect();
    let bare = Peer::own("bare", &["--bare"])?;
    let mut contenders: Vec<Contender<'_>> =
        peers.iter().flat_map(|peer| [ONE, second].map(|reactors| Contender { peer, reactors })).collect();
    contenders.push(Contender { peer: &bare, reactors: &[] });
    let start = |contender: &Contender<'_>| {
        let server = Server::start_anywhere(contender.peer, shape.transport, contender.reactors)?;
        let mut loads = [Load::start_on(Core::All, &server)?, Load::start_on(Core::All, &server)?];
        loads.iter_mut().try_for_each(|load| load.connect(connections / LOADS))?;
        echo(&mut loads, shape, count)?;
        Ok((server, loads))
    };
    let windows = slices::alternate(options.rounds, &contenders, start, |(server, loads)| {
        slices::measure(server, count, || echo(loads, shape, count))
    })?;
    for (contender, windows) in contenders.iter().zip(&windows) {
        slices::print_row(&contender.name(), windows);
    }
    for (index, (peer, pair)) in peers.iter().zip(windows.chunks(2)).enumerate() {
        // What one takes for a message over what two take: messages per second of processor time, two over one.
        let ratios = slices::round_ratios(&pair[0], &pair[1], options.rounds);
        println!("  {}, 2 reactors / 1 by round: {}", peer.name, report::list(&ratios));
        let other = format!("{}: {}", shape.name, peer.name);
        report.verdict(if index == 0 { shape.name } else { &other }, report::median(&ratios));
    }
    Ok(())
}
