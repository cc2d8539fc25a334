//! The load generator's short TLS connections: connect, full handshake, close by both sides, and again.
//!
//! Owns the connections. Knows nothing of orders or processes.
//!
//! 1. The client ends first, with a close_notify and a FIN behind its Finished, and closes when it has read all that
//!    the server had to say, so that no connection is reset.
//! 2. A server that ends without a close_notify, or says anything else, is an error.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;

use crate::rig::Outcome;
use crate::rig::certificate;
use crate::rig::client::Timing;
use crate::rig::scratch::Scratch;
use crate::rig::session;
use crate::rig::socket::{Address, Stream};

const EVENTS_PER_TURN: usize = 1024;
const SILENCE_MAX: Duration = Duration::from_secs(10);
const STANDARD_INPUT: Token = Token(usize::MAX - 1);

/// When no new connection is begun.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// So many have been begun.
    Count(usize),
    /// There is something to read on standard input.
    Told,
}

pub(crate) struct Handshaker {
    address: Address,
    config: Arc<ClientConfig>,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    /// How many were ever begun; picks source addresses.
    begun: usize,
    scratch: Scratch,
}

struct Connection {
    stream: Stream,
    session: UnbufferedClientConnection,
    part: Vec<u8>,
    phase: Phase,
    started: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Handshaking,
    /// Our close_notify is sent.
    Closing,
    /// The server's close_notify has come as well.
    Closed,
}

impl Handshaker {
    pub(crate) fn new(address: Address, config: Arc<ClientConfig>) -> Outcome<Self> {
        Ok(Handshaker {
            address,
            config,
            poll: Poll::new()?,
            connections: Vec::new(),
            begun: 0,
            scratch: Scratch::new(),
        })
    }

    /// Has `width` connections open at a time; returns when all that were begun are over.
    pub(crate) fn run(&mut self, width: usize, until: Until) -> Outcome<Timing> {
        let started = Instant::now();
        let (mut left, width) = match until {
            Until::Count(count) => (count, width.min(count)),
            Until::Told => (usize::MAX, width),
        };
        if matches!(until, Until::Told) {
            self.poll.registry().register(&mut SourceFd(&0), STANDARD_INPUT, Interest::READABLE)?;
        }
        self.connections = (0..width).map(|_| None).collect();
        for slot in 0..width {
            self.begin(slot)?;
        }
        left -= width;
        let mut latencies_ns = Vec::new();
        let mut live = width;
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        while live > 0 {
            self.wait(&mut events, latencies_ns.len())?;
            for event in &events {
                if event.token() == STANDARD_INPUT {
                    left = 0;
                } else if let Some(latency) = self.drive(event.token().0)? {
                    latencies_ns.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
                    if left > 0 {
                        left -= 1;
                        self.begin(event.token().0)?;
                    } else {
                        live -= 1;
                    }
                }
            }
        }
        if matches!(until, Until::Told) {
            self.poll.registry().deregister(&mut SourceFd(&0))?;
        }
        latencies_ns.sort_unstable();
        Ok(Timing { elapsed: started.elapsed(), latencies_ns })
    }

    fn wait(&mut self, events: &mut Events, done: usize) -> Outcome<()> {
        match self.poll.poll(events, Some(SILENCE_MAX)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
            Ok(()) if events.is_empty() => {
                Err(format!("no event for {SILENCE_MAX:?}; {done} handshakes were done").into())
            }
            Ok(()) => Ok(()),
        }
    }

    fn begin(&mut self, slot: usize) -> Outcome<()> {
        let number = self.begun;
        self.begun += 1;
        let started = Instant::now();
        let mut stream = Stream::connect(&self.address, number)
            .map_err(|error| format!("connection {number} to {}: {error}", self.address))?;
        stream.source().register(self.poll.registry(), Token(slot), Interest::READABLE)?;
        let session = UnbufferedClientConnection::new(self.config.clone(), certificate::NAME.try_into()?)?;
        let mut connection = Connection { stream, session, part: Vec::new(), phase: Phase::Handshaking, started };
        connection.take(&mut self.scratch, 0)?;
        self.connections[slot] = Some(connection);
        Ok(())
    }

    /// Reads what there is; says how long the connection took if it is over.
    fn drive(&mut self, slot: usize) -> Outcome<Option<Duration>> {
        // A connection that is over may have another event in the same turn.
        let Some(connection) = &mut self.connections[slot] else {
            return Ok(None);
        };
        let ended = connection.drive(&mut self.scratch).map_err(|error| format!("handshake: {error}"))?;
        if !ended {
            return Ok(None);
        }
        let latency = connection.started.elapsed();
        self.connections[slot] = None;
        Ok(Some(latency))
    }
}

impl Connection {
    fn drive(&mut self, scratch: &mut Scratch) -> Outcome<bool> {
        loop {
            match self.stream.read(scratch.room()) {
                Ok(0) if self.phase == Phase::Closed => return Ok(true),
                Ok(0) => return Err("the server ended without a close_notify".into()),
                Ok(count) => self.take(scratch, count)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Opens what was read and sends the answer, which so little room is always there for.
    fn take(&mut self, scratch: &mut Scratch, count: usize) -> Outcome<()> {
        let peer_closed = scratch.open(&mut self.session, &mut self.part, count)?;
        if !scratch.plain.is_empty() {
            return Err("the server sent bytes that are no echo".into());
        }
        let ends = self.phase == Phase::Handshaking && !self.session.is_handshaking();
        if ends {
            session::close(&mut self.session, &mut scratch.sealed)?;
        }
        if !scratch.sealed.bytes().is_empty() {
            self.stream.write_all(scratch.sealed.bytes())?;
        }
        if ends {
            self.stream.end()?;
            self.phase = Phase::Closing;
        }
        if peer_closed {
            self.phase = Phase::Closed;
        }
        Ok(())
    }
}
