//! What two reactors do with the processor time of one.
//!
//! Nothing is pinned: servers and load have the same cores. All servers work in turn, so each has them to itself but for
//! the load. A server of two reactors may use more time a second, which does not count: only the time per message does.

use crate::Outcome;
use crate::launch::Core;
use crate::options::Options;
use crate::peer::Peer;
use crate::plan::Shape;
use crate::process::{Load, Server};
use crate::report;
use crate::site;
use crate::slices;

/// Options of one server, and those of the same server with two reactors.
const ONE: &[&str] = &["--reactors", "1"];
const TWO: &[&str] = &["--reactors", "2"];

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

pub(crate) fn run(shape: Shape, options: &Options) -> Outcome<()> {
    let Shape { connections, message_bytes, .. } = shape;
    let count = options.count(shape.messages);
    let text = format!(
        "{connections} connections, {message_bytes} B a message, {} × {} × {count} messages a server, nothing pinned; \
         server ns/message",
        options.rounds, options.slices
    );
    report::title(shape.name, &text);
    let second = if options.self_check { ONE } else { TWO };
    let peers: Vec<&Peer> = std::iter::once(&options.windlass).chain(&options.others).collect();
    let bare = Peer::own("bare", &[])?;
    let mut contenders: Vec<Contender<'_>> =
        peers.iter().flat_map(|peer| [ONE, second].map(|reactors| Contender { peer, reactors })).collect();
    contenders.push(Contender { peer: &bare, reactors: &[] });
    let start = |contender: &Contender<'_>| {
        let site = site::loopback(shape.security)?;
        let server = Server::start_at(site, Core::All, contender.peer, contender.reactors, &[])?;
        let mut load = Load::start_on(Core::All, &server)?;
        load.connect(connections)?;
        load.echo(connections, message_bytes, count)?;
        Ok((server, load))
    };
    let windows = slices::alternate(options, &contenders, start, |(server, load)| {
        slices::measure(server, count, || load.echo(connections, message_bytes, count))
    })?;
    for (contender, windows) in contenders.iter().zip(&windows) {
        slices::print_row(&contender.name(), windows);
    }
    for (index, (peer, pair)) in peers.iter().zip(windows.chunks(2)).enumerate() {
        // What one takes for a message over what two take: messages per second of processor time, two over one.
        let ratios = slices::round_ratios(&pair[0], &pair[1], options);
        println!("  {}, 2 reactors / 1 by round: {}", peer.name, report::list(&ratios));
        let other = format!("{}: {}", shape.name, peer.name);
        report::verdict(if index == 0 { shape.name } else { &other }, report::median(&ratios));
    }
    Ok(())
}
