//! A server of this crate that tells what happens to it, in a process of its own.
//!
//! It prints `listening on ADDRESS` for each `--listen`, and a line `event …` for what its listeners are told. The line
//! `stats` on its input is answered by `stats CONNECTIONS OPENED CLOSED PANICS QUEUED` and a count for each of [`REASONS`].
//!
//! What it does with a connection depends on the first byte; see `Ending`.

use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use windlass::{
    Accept, AcceptEvent, Address, Conn, Expiry, Handler, Limits, ListenConfig, PauseCause, Reactor, ReactorConfig,
    Reason, Remote, Status,
};

use crate::rig::Outcome;
use crate::rig::hosted::Hosted;
use crate::rig::until::PATIENCE;

/// How long a connection that began with [`NAP`] is not read.
const NAP_TIME: Duration = Duration::from_millis(20);

pub(crate) const CLOSE: u8 = b'C';
pub(crate) const ABORT: u8 = b'A';
pub(crate) const PANIC: u8 = b'P';
pub(crate) const NAP: u8 = b'N';

/// The reasons that are told apart.
pub(crate) const REASONS: [Reason; 8] = [
    Reason::PeerClosed,
    Reason::Local,
    Reason::Aborted,
    Reason::Reset,
    Reason::Timeout(Expiry::Idle),
    Reason::Timeout(Expiry::Linger),
    Reason::HandlerPanicked,
    Reason::QueueLimit,
];

/// What a connection asked for by its first byte.
enum Ending {
    Unasked,
    /// Echo, then whatever the peer does.
    None,
    /// Nothing is read for a while, and nothing answered.
    Sleepy,
}

struct Guest(Ending);

impl Handler for Guest {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match self.0 {
            Ending::None => return conn.write_some(data),
            Ending::Sleepy => return data.len(),
            Ending::Unasked => {}
        }
        match data[0] {
            CLOSE => {
                let taken = conn.write_some(data);
                conn.close();
                taken
            }
            ABORT => {
                conn.abort();
                data.len()
            }
            // A panic that prints nothing.
            PANIC => std::panic::resume_unwind(Box::new("on purpose")),
            NAP => {
                self.0 = Ending::Sleepy;
                conn.pause();
                conn.set_timer(NAP_TIME);
                data.len()
            }
            _ => {
                self.0 = Ending::None;
                conn.write_some(data)
            }
        }
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        conn.resume();
    }
}

struct Doorman;

impl Accept for Doorman {
    type Handler = Guest;

    fn make(&mut self, _: &Conn<'_>) -> Guest {
        Guest(Ending::Unasked)
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        match event {
            AcceptEvent::Failed { .. } => println!("event failed"),
            AcceptEvent::Paused(PauseCause::Starved(errno)) => println!("event starved {errno}"),
            AcceptEvent::Paused(_) => println!("event paused"),
            AcceptEvent::Resumed => println!("event resumed"),
            AcceptEvent::Ended(Some(error)) => println!("event broken {}", error.raw_os_error().unwrap_or(0)),
            AcceptEvent::Ended(None) => println!("event ended"),
            _ => println!("event unknown"),
        }
    }
}

/// Serves until its input ends.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let (mut config, mut addresses, mut queued_bytes_max) = (ListenConfig::default(), Vec::new(), None);
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--queued-max" => queued_bytes_max = Some(value.parse()?),
            [option, value] if option == "--idle" => {
                let idle_timeout = Some(Duration::from_secs_f64(value.parse()?));
                config.limits = Limits { idle_timeout, ..Limits::default() };
            }
            [option, value] if option == "--listen" => addresses.push(value.parse::<Address>()?),
            _ => return Err(format!("unknown option: {pair:?}").into()),
        }
    }
    let mut reactor = Reactor::new(ReactorConfig { queued_bytes_max, ..ReactorConfig::default() })?;
    for address in addresses {
        let id = reactor.listen(&address, config.clone(), Doorman)?;
        println!("listening on {}", reactor.listener_address(id).ok_or("the listener is gone")?);
    }
    let remote = reactor.remote();
    let most_queued = Arc::new(AtomicUsize::new(0));
    let told = most_queued.clone();
    std::thread::spawn(move || obey(&remote, &told));
    while !matches!(reactor.poll_once(None)?, Status::Stopped(_)) {
        most_queued.fetch_max(reactor.queued_bytes(), Ordering::Relaxed);
    }
    Ok(())
}

fn obey(remote: &Remote, most_queued: &Arc<AtomicUsize>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if line == "stats" {
            let queued = most_queued.load(Ordering::Relaxed);
            let told = remote.run(move |cx| {
                let counters = cx.counters();
                let (opened, closed, panics) = (counters.opened, counters.closed_total(), counters.panics);
                let reasons = REASONS.map(|reason| counters.closed_for(reason).to_string()).join(" ");
                println!("stats {} {opened} {closed} {panics} {} {reasons}", cx.connections().len(), queued);
            });
            if told.is_err() {
                break;
            }
        }
    }
    // The reactor may be gone already.
    let _ = remote.stop(Duration::ZERO);
}

/// What a host counted.
pub(crate) struct Stats {
    pub(crate) connections: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) panics: u64,
    /// The most bytes that there were in all queues behind a turn.
    pub(crate) most_queued: u64,
    /// Connections that ended for each of [`REASONS`].
    pub(crate) reasons: Vec<u64>,
    /// Lines about listeners since the last question.
    pub(crate) events: Vec<String>,
}

impl Stats {
    pub(crate) fn closed_for(&self, reason: Reason) -> u64 {
        REASONS.iter().position(|known| *known == reason).map_or(0, |index| self.reasons[index])
    }
}

/// Asks a host for its counts.
pub(crate) fn ask(server: &mut Hosted) -> Outcome<Stats> {
    server.process.order("stats")?;
    let mut events = Vec::new();
    loop {
        let line = server.process.line(PATIENCE)?;
        if let Some(event) = line.strip_prefix("event ") {
            events.push(event.to_owned());
            continue;
        }
        let numbers = line.strip_prefix("stats ").ok_or_else(|| format!("the host printed `{line}`"))?;
        let numbers = numbers.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let &[connections, opened, closed, panics, most_queued, ref reasons @ ..] = numbers.as_slice() else {
            return Err(format!("the host printed `{line}`").into());
        };
        return Ok(Stats { connections, opened, closed, panics, most_queued, reasons: reasons.to_vec(), events });
    }
}
