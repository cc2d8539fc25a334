//! A shutdown at random moments of a busy run, in this process: it is over in time, every handler is told, and no
//! descriptor is left.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use windlass::{
    Address, Conn, ConnectConfig, Context, Handler, ListenConfig, Reactor, ReactorConfig, Reason, Remote, Report,
};

use crate::options::Options;
use crate::rig::Outcome;
use crate::rig::dice::Dice;
use crate::rig::holdings;
use crate::rig::report;

const MOMENTS: usize = 500;
const MOMENTS_QUICK: usize = 60;
const CLIENT_THREADS: usize = 2;
/// Connections that a client thread holds, never read.
const HELD_MAX: usize = 20;
const BUSY_MS_MAX: u64 = 60;
const DEADLINE_MS: (u64, u64) = (100, 300);
const LATE_MS_MAX: f64 = 100.0;
/// The server's own connects.
const DIAL_EVERY: Duration = Duration::from_millis(1);
/// How long a client waits for an answer.
const ANSWER_TIME: Duration = Duration::from_millis(100);

/// What all handlers of a run come to.
#[derive(Default)]
struct Tally {
    made: AtomicU64,
    closed: AtomicU64,
    /// Handlers that were dropped without exactly one `on_close`.
    faults: AtomicU64,
}

/// Echoes, and counts how often it was told the end.
struct Guest {
    tally: Arc<Tally>,
    closes: u32,
    greeting: usize,
}

impl Guest {
    fn new(tally: &Arc<Tally>, greeting: usize) -> Self {
        tally.made.fetch_add(1, Ordering::Relaxed);
        Guest { tally: tally.clone(), closes: 0, greeting }
    }
}

impl Handler for Guest {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        conn.write_some(&vec![7; self.greeting]);
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }

    fn on_close(&mut self, _: &mut Conn<'_>, _: Reason) {
        self.closes += 1;
        self.tally.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.closes != 1 {
            self.tally.faults.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What one moment came to.
struct Moment {
    late_ms: f64,
    made: u64,
    told: Report,
    faults: Vec<String>,
}

pub(crate) fn run(options: &Options, report: &mut report::Report) -> Outcome<()> {
    report::title("shutdown-moments", "shutdowns at random moments of a busy run");
    let count = options.asked.pick(MOMENTS, MOMENTS_QUICK);
    let mut dice = Dice::new(options.seed);
    let mut moments = Vec::with_capacity(count);
    for number in 0..count {
        let moment = moment(&mut dice).map_err(|error| format!("moment {number}, seed {}: {error}", options.seed))?;
        moment.faults.iter().for_each(|fault| report::note(&format!("moment {number}: {fault}")));
        moments.push(moment);
    }
    let sum = |of: fn(&Moment) -> u64| moments.iter().map(of).sum::<u64>();
    report::note(&format!(
        "seed {}: {} handlers made, {} drained, {} cut",
        options.seed,
        sum(|moment| moment.made),
        sum(|moment| moment.told.drained),
        sum(|moment| moment.told.cut)
    ));
    let faulty = moments.iter().filter(|moment| !moment.faults.is_empty()).count();
    report.exactly(
        &format!("of {count} shutdowns, those with a missing or second on_close or a descriptor left"),
        faulty as u64,
        0,
    );
    let latest = report::largest(moments.iter().map(|moment| moment.late_ms));
    report.at_most("ms after the deadline, at most", latest, LATE_MS_MAX);
    Ok(())
}

fn moment(dice: &mut Dice) -> Outcome<Moment> {
    let descriptors = holdings::open_descriptors(std::process::id())?;
    let tally = Arc::new(Tally::default());
    let (sender, receiver) = mpsc::channel();
    let shared = tally.clone();
    let server = thread::spawn(move || serve(&shared, &sender));
    let (remote, address) = receiver.recv()?;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENT_THREADS)
        .map(|_| {
            let (stop, mut dice) = (stop.clone(), Dice::new(dice.roll()));
            thread::spawn(move || be_busy(address, &stop, &mut dice))
        })
        .collect();
    thread::sleep(Duration::from_micros(dice.below(BUSY_MS_MAX * 1000)));
    let deadline = Duration::from_millis(DEADLINE_MS.0 + dice.below(DEADLINE_MS.1 - DEADLINE_MS.0 + 1));
    let asked = Instant::now();
    let told = remote.shutdown(deadline)?;
    let late_ms = asked.elapsed().saturating_sub(deadline).as_secs_f64() * 1e3;

    // It holds the reactor's eventfd.
    drop(remote);
    stop.store(true, Ordering::Relaxed);
    let again = server.join().map_err(|_| "the reactor's thread panicked")??;
    for client in clients {
        client.join().map_err(|_| "a client's thread panicked")?;
    }
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let (made, closed, unpaired) = (count(&tally.made), count(&tally.closed), count(&tally.faults));
    let mut faults = Vec::new();
    if made != closed || unpaired > 0 {
        faults.push(format!("{made} handlers made, {closed} on_close, {unpaired} without exactly one"));
    }
    if again != told {
        faults.push(format!("run says `{again}`, shutdown says `{told}`"));
    }
    let left = holdings::open_descriptors(std::process::id())?;
    if left != descriptors {
        faults.push(format!("{left} descriptors, {descriptors} before"));
    }
    Ok(Moment { late_ms, made, told, faults })
}

fn serve(tally: &Arc<Tally>, sender: &Sender<(Remote, SocketAddr)>) -> Result<Report, windlass::Error> {
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let shared = tally.clone();
    let make = move |_: &Conn<'_>| Guest::new(&shared, 0);
    let id = reactor.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), make)?;
    let address = reactor.listener_address(id).ok_or(windlass::Error::Gone)?;
    dial_on(&mut reactor.context(), address.clone(), tally.clone());
    // Whoever waits for it sees the end of the channel.
    let _ = address.ip().map(|ip| sender.send((reactor.remote(), ip)));
    reactor.run()
}

/// Connects to itself now and then, so that a shutdown finds connects under way and talks between two handlers.
fn dial_on(cx: &mut Context<'_>, address: Address, tally: Arc<Tally>) {
    cx.after(DIAL_EVERY, move |cx| {
        // A reactor that drains refuses, and drops the handler without a callback: only one that is taken counts.
        let handler = Guest::new(&tally, 1000);
        if cx.connect(&address, ConnectConfig::default(), handler).is_err() {
            tally.made.fetch_sub(1, Ordering::Relaxed);
            tally.faults.fetch_sub(1, Ordering::Relaxed);
        } else {
            dial_on(cx, address, tally);
        }
    });
}

/// Opens connections and treats them in turn well, badly and not at all.
fn be_busy(address: SocketAddr, stop: &AtomicBool, dice: &mut Dice) {
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Once the server is gone nobody can be met: that is the end, not a fault.
        let Ok(mut stream) = TcpStream::connect(address) else { break };
        if meet(&mut stream, dice).is_ok() && dice.below(4) == 0 && held.len() < HELD_MAX {
            held.push(stream);
        }
    }
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn meet(stream: &mut TcpStream, dice: &mut Dice) -> std::io::Result<()> {
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    match dice.below(6) {
        0 => Ok(()),
        1 => {
            for _ in 0..dice.below(20) {
                stream.write_all(&[1; 64])?;
                stream.read_exact(&mut [0; 64])?;
            }
            Ok(())
        }
        2 => {
            stream.write_all(&[2; 10_000])?;
            stream.shutdown(Shutdown::Write)?;
            stream.read_to_end(&mut Vec::new()).map(drop)
        }
        // What comes back is never read: at the end it is a reset, or owed for ever.
        3 => stream.write_all(&vec![3; 1 + dice.below(200_000) as usize]),
        4 => {
            stream.set_nonblocking(true)?;
            let piece = vec![4; 256 * 1024];
            for _ in 0..32 {
                if stream.write(&piece).is_err() {
                    break;
                }
            }
            Ok(())
        }
        _ => socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)),
    }
}
