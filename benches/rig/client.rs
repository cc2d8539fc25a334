//! The load generator's connections: a closed loop with one message in flight on each.
//!
//! Owns the connections, what they send and the check of what comes back. Knows nothing of orders or processes.
//!
//! 1. Byte `p` of connection `c` is that of the pattern at `start(c) + p`, so a byte that is lost, doubled, moved or
//!    handed to another connection is noticed.
//! 2. A connection sends only when its last message has come back whole, so nothing but a fault can arrive between
//!    messages.
//! 3. A channel is registered for `WRITABLE` only while the kernel has no room for the rest of a message.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;

use crate::rig::Outcome;
use crate::rig::channel::{Channel, Received};
use crate::rig::pattern::{PIECE_BYTES_MAX, Pattern};
use crate::rig::scratch::Scratch;
use crate::rig::socket::{Address, Stream};

/// A prime, so that streams of neighbours have nothing in common.
const PATTERN_STRIDE: u64 = 7919;
const EVENTS_PER_TURN: usize = 1024;
/// A run that sees no event for this long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A run that takes this long has failed, whatever it sees.
const RUN_TIME_MAX: Duration = Duration::from_secs(300);
/// Connections opened before the server has shown, by an echo on each, that it accepted the ones before; below the
/// smallest usual backlog of 128.
const CONNECTS_PER_BATCH: usize = 120;

/// What happens to a connection whose message came back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// It sends the next message.
    Keep,
    /// It is closed, and a new one sends the next message; its connect counts into the latency.
    Replace,
    /// It rests, and the next one that has not had its turn sends a message.
    Rest,
}

/// How long a run took, and how long its messages did.
pub(crate) struct Timing {
    pub(crate) elapsed: Duration,
    /// One latency a message, in nanoseconds, sorted.
    pub(crate) latencies_ns: Vec<u32>,
}

pub(crate) struct Client {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Nothing is sent on these.
    silent: Vec<Stream>,
    /// How many were ever opened; picks source addresses and patterns.
    opened: usize,
    pattern: Pattern,
    scratch: Scratch,
}

struct Connection {
    channel: Channel,
    /// Where in the pattern the message in flight starts.
    position: u64,
    /// How much of that message has been sent, and has come back.
    sent: usize,
    received: usize,
    blocked: bool,
    started: Instant,
}

/// One run's fixed terms.
#[derive(Clone, Copy)]
struct Terms {
    /// The active connections: the first one's slot, and the way from one to the next.
    first: usize,
    stride: usize,
    size: usize,
    afterwards: Afterwards,
}

impl Client {
    /// With a configuration of TLS if the address wants one.
    pub(crate) fn new(address: Address, tls: Option<Arc<ClientConfig>>) -> Outcome<Self> {
        Ok(Client {
            address,
            tls,
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_PER_TURN),
            connections: Vec::new(),
            silent: Vec::new(),
            opened: 0,
            pattern: Pattern::new(),
            scratch: Scratch::new(),
        })
    }

    /// Opens connections in batches; when it returns each of them has had one byte echoed.
    pub(crate) fn connect(&mut self, count: usize) -> Outcome<()> {
        let goal = self.connections.len() + count;
        while self.connections.len() < goal {
            let first = self.connections.len();
            let batch = CONNECTS_PER_BATCH.min(goal - first);
            for slot in first..first + batch {
                let connection = self.open(slot)?;
                self.connections.push(connection);
            }
            let terms = Terms { first, stride: 1, size: 1, afterwards: Afterwards::Keep };
            self.run(terms, batch, batch)?;
        }
        Ok(())
    }

    /// Has `count` messages echoed over `active` connections, evenly spread among all.
    pub(crate) fn echo(&mut self, active: usize, size: usize, count: usize, afterwards: Afterwards) -> Outcome<Timing> {
        if !(1..=self.connections.len()).contains(&active) || !(1..=PIECE_BYTES_MAX).contains(&size) {
            return Err(format!("cannot run {active} connections with {size} B messages").into());
        }
        if afterwards == Afterwards::Rest && count > self.connections.len() {
            return Err(
                format!("{count} messages are more than one each on {} connections", self.connections.len()).into()
            );
        }
        let stride = if afterwards == Afterwards::Rest { 1 } else { self.connections.len() / active };
        let terms = Terms { first: 0, stride, size, afterwards };
        self.run(terms, active, count)
    }

    /// Opens connections that send nothing. A batch must be smaller than the server's backlog.
    pub(crate) fn connect_silently(&mut self, count: usize) -> Outcome<()> {
        for _ in 0..count {
            self.silent.push(Stream::connect(&self.address, self.opened)?);
            self.opened += 1;
        }
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.connections.clear();
        self.silent.clear();
    }

    fn open(&mut self, slot: usize) -> Outcome<Connection> {
        let number = self.opened;
        self.opened += 1;
        let mut channel = Channel::open(&self.address, number, self.tls.as_ref(), &mut self.scratch)?;
        channel.register(self.poll.registry(), Token(slot), Interest::READABLE)?;
        Ok(Connection {
            channel,
            position: number as u64 * PATTERN_STRIDE,
            sent: 0,
            received: 0,
            blocked: false,
            started: Instant::now(),
        })
    }

    fn run(&mut self, terms: Terms, active: usize, count: usize) -> Outcome<Timing> {
        let mut latencies_ns = Vec::with_capacity(count);
        let begun = Instant::now();
        let mut unstarted = count;
        for slot in (terms.first..).step_by(terms.stride).take(active.min(count)) {
            unstarted -= 1;
            self.start(slot, terms.size, Instant::now())?;
        }
        while latencies_ns.len() < count {
            self.wait(begun, latencies_ns.len(), count)?;
            let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            for event in &events {
                let slot = event.token().0;
                if event.is_writable() {
                    self.send(slot, terms.size)?;
                }
                if !self.receive(slot, terms.size)? {
                    continue;
                }
                let now = Instant::now();
                let latency = now.duration_since(self.connections[slot].started);
                latencies_ns.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
                if unstarted > 0 {
                    let next = match terms.afterwards {
                        Afterwards::Keep => slot,
                        Afterwards::Replace => {
                            self.connections[slot] = self.open(slot)?;
                            slot
                        }
                        Afterwards::Rest => terms.first + (count - unstarted) * terms.stride,
                    };
                    unstarted -= 1;
                    self.start(next, terms.size, now)?;
                }
            }
            self.events = events;
        }
        let elapsed = begun.elapsed();
        latencies_ns.sort_unstable();
        Ok(Timing { elapsed, latencies_ns })
    }

    /// Waits for events; a silent or endless server is an error that says how far it got.
    fn wait(&mut self, begun: Instant, done: usize, count: usize) -> Outcome<()> {
        match self.poll.poll(&mut self.events, Some(SILENCE_MAX)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        if self.events.is_empty() {
            return Err(format!("no event for {SILENCE_MAX:?}; {done} of {count} messages were echoed").into());
        }
        if begun.elapsed() > RUN_TIME_MAX {
            return Err(format!("after {RUN_TIME_MAX:?} only {done} of {count} messages were echoed").into());
        }
        Ok(())
    }

    fn start(&mut self, slot: usize, size: usize, now: Instant) -> Outcome<()> {
        let connection = &mut self.connections[slot];
        connection.started = now;
        connection.sent = 0;
        connection.received = 0;
        self.send(slot, size)
    }

    /// Sends what is left of the message in flight, as far as the kernel takes it.
    fn send(&mut self, slot: usize, size: usize) -> Outcome<()> {
        let connection = &mut self.connections[slot];
        let message = self.pattern.piece(connection.position, size);
        let written = connection
            .channel
            .write(&message[connection.sent..], &mut self.scratch)
            .map_err(|error| format!("write on connection {slot}: {error}"))?;
        connection.sent += written.count;
        if written.is_blocked != connection.blocked {
            connection.blocked = written.is_blocked;
            let interest =
                if written.is_blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            connection.channel.reregister(self.poll.registry(), Token(slot), interest)?;
        }
        Ok(())
    }

    /// Reads and checks what came back; says whether the message in flight is complete.
    fn receive(&mut self, slot: usize, size: usize) -> Outcome<bool> {
        loop {
            let connection = &mut self.connections[slot];
            let received = connection
                .channel
                .read(&mut self.scratch)
                .map_err(|error| format!("read on connection {slot}: {error}"))?;
            let (bytes, is_drained) = match received {
                Received::Nothing => return Ok(false),
                Received::End => return Err(format!("the server closed connection {slot}").into()),
                Received::Bytes { bytes, is_drained } => (bytes, is_drained),
            };
            let begin = connection.position + connection.received as u64;
            if connection.received + bytes.len() > connection.sent || !self.pattern.holds(begin, bytes) {
                return Err(format!("connection {slot} got bytes it did not send").into());
            }
            connection.received += bytes.len();
            if connection.received == size {
                connection.position += size as u64;
                return Ok(true);
            }
            if connection.sent < size && !connection.blocked {
                // The handshake may be done now.
                self.send(slot, size)?;
            }
            if is_drained {
                return Ok(false);
            }
        }
    }
}
