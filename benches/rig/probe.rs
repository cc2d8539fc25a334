//! The load generator's watchers: TLS connections that send on a schedule, and how long each echo takes.
//!
//! 1. A message is sent when it is due, however many are on their way, and its latency counts from that moment: what
//!    holds up one message must not keep others from being sent, or from having waited.
//! 2. One thread sends for all, and wakes up when a message is due or an echo has come.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConfig, ClientConnection};

use crate::rig::Outcome;
use crate::rig::certificate;
use crate::rig::socket::{Address, Place};

const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Between the last connect and the first message.
const LEAD: Duration = Duration::from_millis(5);

/// What the watchers send.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) connections: usize,
    pub(crate) message_bytes: usize,
    /// Between two messages of one connection; the connections are spread over it.
    pub(crate) interval: Duration,
    /// Messages of each connection.
    pub(crate) messages: usize,
}

/// Nanoseconds, sorted.
#[derive(Default)]
pub(crate) struct Seen {
    /// One a message.
    pub(crate) latencies_ns: Vec<u32>,
    /// How long after it was due each message was sent, which is the fault of this machine and of no server.
    pub(crate) late_ns: Vec<u32>,
}

struct Watcher {
    socket: TcpStream,
    session: ClientConnection,
    /// When the messages on their way were due.
    due: VecDeque<Instant>,
    message: Vec<u8>,
    /// How much of the first message on its way has come back.
    received: usize,
}

pub(crate) fn run(address: &Address, config: &Arc<ClientConfig>, schedule: Schedule) -> Outcome<Seen> {
    // The kernel would otherwise wake the thread up to 50 µs late.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let open = |number| Watcher::open(address, config, number, schedule.message_bytes);
    let mut watchers = (0..schedule.connections).map(open).collect::<Outcome<Vec<_>>>()?;
    let mut seen = Seen::default();
    let step = schedule.interval / u32::try_from(schedule.connections)?;
    let mut due = Instant::now() + LEAD;
    for number in 0..schedule.messages * schedule.connections {
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            receive(&mut watchers, wait, &mut seen)?;
        }
        watchers[number % schedule.connections].send(due)?;
        seen.late_ns.push(nanoseconds(due.elapsed()));
        due += step;
    }
    while watchers.iter().any(|watcher| !watcher.due.is_empty()) {
        if !receive(&mut watchers, SILENCE_MAX, &mut seen)? {
            return Err(format!("no echo for {SILENCE_MAX:?}").into());
        }
    }
    seen.latencies_ns.sort_unstable();
    seen.late_ns.sort_unstable();
    Ok(seen)
}

/// Waits for echoes and takes what there is; says whether there was anything.
fn receive(watchers: &mut [Watcher], wait: Duration, seen: &mut Seen) -> Outcome<bool> {
    let wait = Timespec::try_from(wait)?;
    let mut sockets: Vec<PollFd<'_>> =
        watchers.iter().map(|watcher| PollFd::new(&watcher.socket, PollFlags::IN)).collect();
    let ready = poll(&mut sockets, Some(&wait))?;
    let is_ready: Vec<bool> = sockets.iter().map(|socket| !socket.revents().is_empty()).collect();
    for (watcher, _) in watchers.iter_mut().zip(is_ready).filter(|(_, is_ready)| *is_ready) {
        watcher.receive(seen)?;
    }
    Ok(ready > 0)
}

impl Watcher {
    /// Connects and has one byte echoed, so that the handshake is over.
    fn open(address: &Address, config: &Arc<ClientConfig>, number: usize, message_bytes: usize) -> Outcome<Self> {
        let Place::Ip(ip) = address.place else {
            return Err("watchers connect over TCP alone".into());
        };
        let mut socket = TcpStream::connect(ip)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        let mut session = ClientConnection::new(config.clone(), certificate::NAME.try_into()?)?;
        let mut stream = rustls::Stream::new(&mut session, &mut socket);
        stream.write_all(&[1])?;
        stream.read_exact(&mut [0])?;
        socket.set_nonblocking(true)?;
        let message = (number * 31..).take(message_bytes).map(|byte| byte as u8).collect();
        Ok(Watcher { socket, session, due: VecDeque::new(), message, received: 0 })
    }

    /// So little always has room in the kernel.
    fn send(&mut self, due: Instant) -> Outcome<()> {
        self.session.writer().write_all(&self.message)?;
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket).map_err(|error| format!("a watcher cannot send: {error}"))?;
        }
        self.due.push_back(due);
        Ok(())
    }

    fn receive(&mut self, seen: &mut Seen) -> Outcome<()> {
        match self.session.read_tls(&mut self.socket) {
            Ok(0) => return Err("the server closed a watcher's connection".into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("a watcher cannot read: {error}").into()),
        }
        let mut left = self.session.process_new_packets()?.plaintext_bytes_to_read();
        let mut bytes = vec![0; self.message.len()];
        while left > 0 {
            let rest = &mut bytes[self.received..];
            let count = self.session.reader().read(rest)?;
            if rest[..count] != self.message[self.received..self.received + count] {
                return Err("a watcher got bytes it did not send".into());
            }
            left -= count;
            self.received += count;
            if self.received == self.message.len() {
                let due = self.due.pop_front().ok_or("a watcher got more bytes than it sent")?;
                seen.latencies_ns.push(nanoseconds(due.elapsed()));
                self.received = 0;
            }
        }
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX)
}
