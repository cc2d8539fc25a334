//! Connections that end in every way there is, over and over: nothing is left of them.

use std::mem;
use std::net::Shutdown;
use std::time::Instant;

use crate::host;
use crate::options::Options;
use crate::peer::{Heard, Peer};
use crate::rig::Outcome;
use crate::rig::dice::Dice;
use crate::rig::holdings;
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::pattern::Pattern;
use crate::rig::report::{self, Report};
use crate::rig::until::{PATIENCE, until};

const CYCLES: usize = 100_000;
const CYCLES_QUICK: usize = 6_000;
/// Before memory is read for the first time, so that code and buffers every server needs are there.
const WARM_UP: usize = 12_000;
const WARM_UP_QUICK: usize = 6_000;
/// Connections of each way in one batch.
const OF_EACH: usize = 25;
const IDLE_SECONDS: &str = "1";
const GROWTH_PERCENT_MAX: f64 = 1.0;

const SHORT: usize = 100;
const HALF_CLOSED: usize = 10_000;
const LARGE: usize = 256 * 1024;
const UNSENT: usize = 512 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    CleanEnd,
    Reset,
    /// With input unread on both sides.
    ResetUnread,
    /// Our side ends first; then all is read.
    HalfClose,
    /// Closed while most of what was written waits here for a server that does not read.
    Unsent,
    /// Not a byte, until the server's idle timeout.
    Silence,
    /// Closed in the middle of a large echo.
    LargeEcho,
    /// Random bytes, some of them urgent.
    Garbage,
    /// We stop reading, but do not say so.
    ShutRead,
    ServerCloses,
    ServerAborts,
    ServerPanics,
}

impl Way {
    const ALL: [Way; 12] = [
        Way::CleanEnd,
        Way::Reset,
        Way::ResetUnread,
        Way::HalfClose,
        Way::Unsent,
        Way::Silence,
        Way::LargeEcho,
        Way::Garbage,
        Way::ShutRead,
        Way::ServerCloses,
        Way::ServerAborts,
        Way::ServerPanics,
    ];
}

/// A connection on its way out.
struct Dying {
    way: Way,
    peer: Peer,
    received: usize,
}

/// The harness's side of a run.
struct Graveyard {
    pattern: Pattern,
    dice: Dice,
    dialled: usize,
    dying: Vec<Dying>,
    buffer: Vec<u8>,
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Outcome<()> {
    report::title("ways-to-die", "connections end in every way there is, over and over");
    let mut server = Hosted::start(Core::Server, &[&options.own, "--host", "--idle", IDLE_SECONDS], &[ANYWHERE])?;
    let mut graveyard = Graveyard {
        pattern: Pattern::new(),
        dice: Dice::new(options.seed),
        dialled: 0,
        dying: Vec::new(),
        buffer: vec![0; 64 * 1024],
    };
    let cycles = options.asked.pick(CYCLES, CYCLES_QUICK);
    let bare = holdings::open_descriptors(server.pid())?;
    graveyard.bury(&mut server, options.asked.pick(WARM_UP, WARM_UP_QUICK))?;
    let (before, descriptors) = (holdings::resident(server.pid())?, holdings::open_descriptors(server.pid())?);
    let begun = Instant::now();
    let buried = graveyard.bury(&mut server, cycles)?;
    let seconds = begun.elapsed().as_secs_f64();
    let after = holdings::resident(server.pid())?;
    let stats = host::ask(&mut server)?;
    report::note(&format!("{buried} connections died in {} ways in {seconds:.1} s", Way::ALL.len()));
    let reasons = host::REASONS.iter().zip(&stats.reasons).map(|(reason, count)| format!("{reason} {count}"));
    report::note(&format!("as the server saw it: {}", reasons.collect::<Vec<String>>().join(", ")));
    report.exactly("descriptors", holdings::open_descriptors(server.pid())? as u64, descriptors.min(bare) as u64);
    report.exactly("connections left", stats.connections, 0);
    report.exactly("handlers closed", stats.closed, stats.opened);
    report.condition(
        &format!("{} panics, one for each connection that asked for it", stats.panics),
        stats.panics as usize == graveyard.dialled / Way::ALL.len(),
    );
    report::note(&format!("resident {} KiB before, {} KiB after", before.walked / 1024, after.walked / 1024));
    let growth = (after.walked as f64 / before.walked as f64 - 1.0) * 100.0;
    report.at_most("% of resident memory more than before", growth, GROWTH_PERCENT_MAX);
    Ok(())
}

impl Graveyard {
    /// Has at least so many connections die, and waits until the server has none left.
    fn bury(&mut self, server: &mut Hosted, count: usize) -> Outcome<usize> {
        let goal = self.dialled + count;
        let first = self.dialled;
        while self.dialled < goal {
            for _ in 0..OF_EACH {
                for way in Way::ALL {
                    let dying = self.begin(server, way).map_err(|error| format!("{way:?}: {error}"))?;
                    self.dying.push(dying);
                }
            }
            // Those who wait for a timeout are waited for while others die.
            self.watch("a batch of connections to die", |dying| dying.way == Way::Silence)?;
        }
        self.watch("the silent connections to die", |_| false)?;
        until("the server to have no connection", PATIENCE, || Ok(host::ask(server)?.connections == 0))?;
        Ok(self.dialled - first)
    }

    /// Connects, and does what this way begins with.
    fn begin(&mut self, server: &Hosted, way: Way) -> Outcome<Dying> {
        let mut peer = Peer::dial(server.address(), self.dialled)?;
        self.dialled += 1;
        let pattern = &self.pattern;
        match way {
            Way::CleanEnd | Way::Reset => say(&mut peer, b'e', pattern, SHORT)?,
            Way::ResetUnread | Way::LargeEcho => say(&mut peer, b'e', pattern, LARGE)?,
            Way::HalfClose => {
                say(&mut peer, b'e', pattern, HALF_CLOSED)?;
                peer.finish()?;
            }
            Way::Unsent => say(&mut peer, host::NAP, pattern, UNSENT)?,
            Way::Silence => {}
            Way::Garbage => {
                let mut bytes: Vec<u8> = (0..1 + self.dice.below(2000)).map(|_| self.dice.roll() as u8).collect();
                bytes[0] |= 0x80;
                peer.write(&bytes)?;
                peer.socket.send_out_of_band(b"!")?;
            }
            Way::ShutRead => {
                peer.socket.shutdown(Shutdown::Read)?;
                say(&mut peer, b'e', pattern, SHORT)?;
            }
            Way::ServerCloses => peer.write(&[host::CLOSE])?,
            Way::ServerAborts => peer.write(&[host::ABORT])?,
            Way::ServerPanics => peer.write(&[host::PANIC])?,
        }
        Ok(Dying { way, peer, received: 0 })
    }

    /// Waits until all are dead but those that may stay.
    fn watch(&mut self, what: &str, may_stay: impl Fn(&Dying) -> bool) -> Outcome<()> {
        until(what, PATIENCE, || {
            for dying in mem::take(&mut self.dying) {
                let way = dying.way;
                let alive = dying.go_on(&self.pattern, &mut self.buffer);
                self.dying.extend(alive.map_err(|error| format!("{way:?}: {error}"))?);
            }
            Ok(self.dying.iter().all(&may_stay))
        })
        .map(drop)
        .map_err(|error| {
            let left: Vec<Way> = self.dying.iter().filter(|dying| !may_stay(dying)).map(|dying| dying.way).collect();
            format!("{error}: {} left, the first of them {:?}", left.len(), left.first()).into()
        })
    }
}

/// Sends a byte that tells the host what to do, and what the kernel takes of so many more.
fn say(peer: &mut Peer, first: u8, pattern: &Pattern, rest: usize) -> Outcome<()> {
    peer.write(&[first])?;
    let mut sent = 0;
    while sent < rest {
        match peer.write_some(pattern.piece(sent as u64, rest - sent))? {
            0 => break,
            count => sent += count,
        }
    }
    Ok(())
}

impl Dying {
    /// Goes on; gives itself back while it lives.
    fn go_on(mut self, pattern: &Pattern, buffer: &mut [u8]) -> Outcome<Option<Self>> {
        match self.way {
            // Gone without a look back.
            Way::Unsent | Way::Garbage | Way::ShutRead => return Ok(None),
            Way::ResetUnread => return self.peer.reset().map(|()| None),
            _ => {}
        }
        match self.peer.read(buffer)? {
            Heard::Nothing => Ok(Some(self)),
            Heard::Bytes(count) => {
                // The first byte told what to do, the pattern begins behind it.
                let skipped = usize::from(self.received == 0);
                if !pattern.holds((self.received + skipped) as u64 - 1, &buffer[skipped..count]) {
                    return Err(format!("wrong bytes after {}", self.received).into());
                }
                self.received += count;
                match self.way {
                    Way::CleanEnd if self.received == 1 + SHORT => Ok(None),
                    Way::Reset if self.received == 1 + SHORT => self.peer.reset().map(|()| None),
                    // Most of it has not come yet, or lies unread.
                    Way::LargeEcho => Ok(None),
                    Way::CleanEnd | Way::Reset | Way::HalfClose | Way::ServerCloses => Ok(Some(self)),
                    other => Err(format!("{count} bytes came for {other:?}").into()),
                }
            }
            end => {
                let expected = match self.way {
                    Way::HalfClose => end == Heard::End && self.received == 1 + HALF_CLOSED,
                    Way::ServerCloses => end == Heard::End && self.received == 1,
                    Way::Silence | Way::ServerPanics => end == Heard::End,
                    Way::ServerAborts => end == Heard::Reset,
                    _ => false,
                };
                if expected { Ok(None) } else { Err(format!("{end:?} after {} bytes", self.received).into()) }
            }
        }
    }
}
