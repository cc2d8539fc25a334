//! The load generator's peers: a closed loop with a window of datagrams in flight on each.
//!
//! Owns the sockets, what they send and the check of what comes back. Knows nothing of orders or processes.
//!
//! 1. A datagram carries its peer, its place in the window and its sequence number, and then bytes of a pattern that
//!    start where the sequence number says. It comes back to the place it left from, unchanged and once.
//! 2. A place sends only when what it sent last is back, so no more than peers × window are ever in flight. Over UDP,
//!    what a peer sends at a time leaves in one system call (UDP_SEGMENT of udp(7)): the load must be faster than the
//!    server, or the server never has many datagrams to receive at a time.
//! 3. A peer receives no more than a window before the others have their turn, so that a server that is faster than the
//!    load does not keep it with one peer.
//! 4. A socket is registered for `WRITABLE` only while a place waits for the kernel to have room.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use crate::rig::Outcome;
use crate::rig::answer::Answer;
use crate::rig::pattern::Pattern;
use crate::socket::{Address, DATAGRAM_BYTES_MAX, Socket};

/// Peer, place and sequence number.
const HEADER_BYTES: usize = 16;
const EVENTS_PER_TURN: usize = 64;
/// A datagram that is not back after this is lost.
const RETURN_TIME_MAX: Duration = Duration::from_secs(2);
/// How often the late ones are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A prime, so that patterns of neighbours have nothing in common.
const PATTERN_STRIDE: u64 = 7919;

/// What peers do.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) peers: usize,
    /// Datagrams each has in flight.
    pub(crate) window: usize,
    pub(crate) datagram_bytes: usize,
    /// What a peer sends in one call at most; the kernel may set a lower limit.
    pub(crate) datagrams_per_call: usize,
}

pub(crate) struct Client {
    poll: Poll,
    events: Events,
    peers: Vec<Peer>,
    datagram_bytes: usize,
    pattern: Pattern,
    /// The datagrams that are sent, or the one that should have come.
    composed: Vec<u8>,
    received: Vec<u8>,
    next_look: Instant,
}

struct Peer {
    socket: Socket,
    places: Vec<Place>,
    /// How many datagrams it may send in one call.
    datagrams_per_call: usize,
    next_sequence: u64,
    is_blocked: bool,
    reading: Reading,
}

/// Whether a socket may have something to receive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// An event will tell.
    Drained,
    /// No event will come.
    Ready,
}

/// One place in a window.
#[derive(Clone, Copy)]
enum Place {
    Free,
    /// To be sent with others, or as soon as the kernel has room.
    Unsent {
        sequence: u64,
        begun: Instant,
    },
    InFlight {
        sequence: u64,
        begun: Instant,
    },
}

/// What is left to do, and what is done.
struct Run {
    unstarted: usize,
    latencies_ns: Vec<u32>,
}

impl Client {
    /// Connects peers, and has a datagram echoed on each.
    pub(crate) fn connect(address: &Address, terms: Terms) -> Outcome<Self> {
        let Terms { peers, window, datagram_bytes, .. } = terms;
        if peers == 0 || window == 0 || !(HEADER_BYTES..=DATAGRAM_BYTES_MAX).contains(&datagram_bytes) {
            return Err(format!("cannot run {peers} × {window} datagrams of {datagram_bytes} B").into());
        }
        let poll = Poll::new()?;
        let mut connected = Vec::new();
        for number in 0..peers {
            let mut socket = Socket::connect(address, number)
                .map_err(|error| format!("cannot connect peer {number} to {address}: {error}"))?;
            let datagrams_per_call = match terms.datagrams_per_call {
                0 | 1 => 1,
                more => socket.send_many_of(datagram_bytes)?.min(more),
            };
            socket.source().register(poll.registry(), Token(number), Interest::READABLE)?;
            connected.push(Peer {
                socket,
                places: vec![Place::Free; window],
                datagrams_per_call,
                next_sequence: 0,
                is_blocked: false,
                reading: Reading::Drained,
            });
        }
        let mut client = Client {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            peers: connected,
            datagram_bytes,
            pattern: Pattern::new(),
            composed: Vec::new(),
            received: vec![0; DATAGRAM_BYTES_MAX],
            next_look: Instant::now(),
        };
        client.echo(peers)?;
        Ok(client)
    }

    /// Has `count` datagrams echoed.
    pub(crate) fn echo(&mut self, count: usize) -> Outcome<Answer> {
        let begun = Instant::now();
        let mut run = Run { unstarted: count, latencies_ns: Vec::with_capacity(count) };
        self.next_look = begun + LOOK_INTERVAL;
        for place in 0..self.peers[0].places.len() {
            for peer in 0..self.peers.len() {
                self.start(peer, place, &mut run);
            }
        }
        for peer in 0..self.peers.len() {
            self.send(peer)?;
        }
        while run.latencies_ns.len() < count {
            self.wait(&run)?;
            let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            for event in &events {
                let peer = event.token().0;
                if event.is_writable() {
                    self.send(peer)?;
                }
                self.peers[peer].reading = Reading::Ready;
            }
            self.events = events;
            for peer in 0..self.peers.len() {
                if self.peers[peer].reading == Reading::Ready {
                    self.receive(peer, &mut run)?;
                }
            }
        }
        run.latencies_ns.sort_unstable();
        Ok(Answer::of(begun.elapsed(), &run.latencies_ns))
    }

    /// Waits for events if nobody has something to receive, and looks for datagrams that are lost.
    fn wait(&mut self, run: &Run) -> Outcome<()> {
        let is_ready = self.peers.iter().any(|peer| peer.reading == Reading::Ready);
        let time_max = if is_ready { Duration::ZERO } else { LOOK_INTERVAL };
        match self.poll.poll(&mut self.events, Some(time_max)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            other => other?,
        }
        let now = Instant::now();
        if now < self.next_look {
            return Ok(());
        }
        self.next_look = now + LOOK_INTERVAL;
        let places = self.peers.iter().flat_map(|peer| &peer.places);
        let lost = places.filter(|place| place.is_late(now)).count();
        if lost > 0 {
            let back = run.latencies_ns.len();
            return Err(format!("{lost} datagrams did not come back within {RETURN_TIME_MAX:?}; {back} did").into());
        }
        Ok(())
    }

    /// Has a free place be the next to send, if a datagram is left to send.
    fn start(&mut self, peer: usize, place: usize, run: &mut Run) {
        if run.unstarted > 0 {
            run.unstarted -= 1;
            let peer = &mut self.peers[peer];
            peer.places[place] = Place::Unsent { sequence: peer.next_sequence, begun: Instant::now() };
            peer.next_sequence += 1;
        }
    }

    /// Sends what a peer has to send, as far as the kernel has room.
    fn send(&mut self, peer: usize) -> Outcome<()> {
        loop {
            let this = &self.peers[peer];
            let unsent: Vec<usize> = (0..this.places.len())
                .filter(|place| matches!(this.places[*place], Place::Unsent { .. }))
                .take(this.datagrams_per_call)
                .collect();
            if unsent.is_empty() {
                return self.block(peer, false);
            }
            self.composed.clear();
            for place in &unsent {
                self.compose(peer, *place);
            }
            match self.peers[peer].socket.send(&self.composed) {
                Ok(_) => unsent.iter().for_each(|place| self.peers[peer].places[*place].has_sent()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.block(peer, true),
                Err(error) => return Err(format!("send by peer {peer}: {error}").into()),
            }
        }
    }

    fn block(&mut self, peer: usize, is_blocked: bool) -> Outcome<()> {
        let this = &mut self.peers[peer];
        if this.is_blocked != is_blocked {
            this.is_blocked = is_blocked;
            let interest = if is_blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            this.socket.source().reregister(self.poll.registry(), Token(peer), interest)?;
        }
        Ok(())
    }

    /// Checks what came back to a peer, no more than a window of it, and sends as many.
    fn receive(&mut self, peer: usize, run: &mut Run) -> Outcome<()> {
        for _ in 0..self.peers[peer].places.len() {
            let count = match self.peers[peer].socket.recv(&mut self.received) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.peers[peer].reading = Reading::Drained;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("receive by peer {peer}: {error}").into()),
            };
            let (place, begun) = self.check(peer, count)?;
            let latency = begun.elapsed().as_nanos();
            run.latencies_ns.push(u32::try_from(latency).unwrap_or(u32::MAX));
            self.peers[peer].places[place] = Place::Free;
            self.start(peer, place, run);
        }
        self.send(peer)
    }

    /// Finds the place that a datagram of so many bytes left from, and compares it with what was sent.
    fn check(&mut self, peer: usize, count: usize) -> Outcome<(usize, Instant)> {
        let named = self.received[..count].get(4..8).and_then(|bytes| bytes.first_chunk());
        let place = named.map_or(usize::MAX, |bytes| u32::from_le_bytes(*bytes) as usize);
        let Some(Place::InFlight { begun, .. }) = self.peers[peer].places.get(place).copied() else {
            return Err(format!("peer {peer} got {count} B that it did not wait for").into());
        };
        self.composed.clear();
        self.compose(peer, place);
        if self.received[..count] != self.composed {
            return Err(format!("peer {peer} got {count} B that it did not send").into());
        }
        Ok((place, begun))
    }

    /// Adds the datagram of a place.
    fn compose(&mut self, peer: usize, place: usize) {
        let sequence = match self.peers[peer].places[place] {
            Place::Free => return,
            Place::Unsent { sequence, .. } | Place::InFlight { sequence, .. } => sequence,
        };
        self.composed.extend_from_slice(&(peer as u32).to_le_bytes());
        self.composed.extend_from_slice(&(place as u32).to_le_bytes());
        self.composed.extend_from_slice(&sequence.to_le_bytes());
        let position = (peer as u64 + sequence).wrapping_mul(PATTERN_STRIDE);
        let rest = self.datagram_bytes - HEADER_BYTES;
        self.composed.extend_from_slice(self.pattern.piece(position, rest));
    }
}

impl Place {
    fn has_sent(&mut self) {
        if let Place::Unsent { sequence, begun } = *self {
            *self = Place::InFlight { sequence, begun };
        }
    }

    fn is_late(&self, now: Instant) -> bool {
        match self {
            Place::Free => false,
            Place::Unsent { begun, .. } | Place::InFlight { begun, .. } => {
                now.saturating_duration_since(*begun) > RETURN_TIME_MAX
            }
        }
    }
}
