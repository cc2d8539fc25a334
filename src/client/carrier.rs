//! What carries a client's bytes: a stream, or datagrams.
//!
//! Owns how each is read and written by threads that wait. Knows no callbacks.
//!
//! 1. Nobody waits while holding a lock.

use crate::address::Address;
use crate::blocking::BlockingLink;
use crate::client::telling::Ends;
use crate::config::datagram::DATAGRAM_BYTES;
use crate::error::{Error, Reason};
use crate::net::datagram::peer::DatagramPeer;
use crate::net::datagram::{DatagramSocket, Message, Receiving, Refusal};
use crate::net::wait::{Wanted, wait};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One connection of a client.
pub(super) struct Carrier {
    pub(super) kind: Kind,
    pub(super) ends: Arc<Ends>,
}

pub(super) enum Kind {
    Stream(BlockingLink),
    Datagrams(Datagrams),
}

impl Carrier {
    pub(super) fn read(&self, buffer: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        match &self.kind {
            Kind::Stream(link) => link.read_by(buffer, until),
            Kind::Datagrams(datagrams) => datagrams.read(buffer, until),
        }
    }

    pub(super) fn write(&self, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
        match &self.kind {
            Kind::Stream(link) => link.write_by(bytes, until),
            Kind::Datagrams(datagrams) => datagrams.write(bytes, until),
        }
    }

    pub(super) fn flush(&self, until: Option<Instant>) -> io::Result<()> {
        match &self.kind {
            Kind::Stream(link) => link.flush_by(until),
            Kind::Datagrams(_) => Ok(()),
        }
    }

    /// Whether it can carry data both ways, as far as this side can know.
    pub(super) fn is_connected(&self) -> bool {
        match &self.kind {
            Kind::Stream(link) => link.is_connected(),
            Kind::Datagrams(datagrams) => !datagrams.is_closed(),
        }
    }

    /// Why an error that it returned ends it, if it does: a timeout and a refused datagram end nothing.
    pub(super) fn fatal(&self, error: &io::Error) -> Option<(Reason, Option<String>)> {
        match (&self.kind, error.kind()) {
            (_, ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
            (Kind::Datagrams(datagrams), _) => datagrams.is_closed().then_some((Reason::Local, None)),
            (Kind::Stream(link), _) => {
                let (reason, detail) = link.ended();
                // An end of our own that was said already, maybe with the peer's: nothing but that call is refused.
                let is_refusal =
                    matches!(reason, None | Some(Reason::PeerClosed)) && error.kind() == ErrorKind::BrokenPipe;
                (!is_refusal).then(|| (reason.unwrap_or_else(|| Reason::of(error)), detail))
            }
        }
    }

    /// The peer's address, as the system knows it.
    pub(super) fn peer_address(&self) -> Option<Address> {
        match &self.kind {
            Kind::Stream(link) => {
                let peer = link.peer_address()?;
                Some(if self.ends.remote.transport().is_tls() { peer.over_tls() } else { peer })
            }
            Kind::Datagrams(datagrams) => datagrams.peer_address(),
        }
    }

    /// Ends it at once: whoever waits elsewhere returns.
    pub(super) fn cut(&self) {
        match &self.kind {
            Kind::Stream(link) => _ = link.cut(),
            Kind::Datagrams(datagrams) => datagrams.close(),
        }
    }

    /// Ends it in order, by then at the latest. Whoever waits elsewhere returns.
    pub(super) fn close(&self, until: Option<Instant>) -> io::Result<()> {
        match &self.kind {
            Kind::Stream(link) => link.close_by(until),
            Kind::Datagrams(datagrams) => {
                datagrams.close();
                Ok(())
            }
        }
    }
}

/// Datagrams to and from one peer.
pub(super) struct Datagrams {
    socket: DatagramSocket,
    received: Mutex<Received>,
    /// The socket is free for another reader, or there is something in memory.
    changed: Condvar,
    closed: AtomicBool,
    /// How long to pause when the network's own queue is full, which no event announces the end of.
    full_pause: Duration,
}

/// What was received, and what of it has not been taken yet.
struct Received {
    memory: Vec<u8>,
    /// The longest datagram that is given whole.
    bytes_max: usize,
    waiting: Option<Waiting>,
    reading: Reading,
    /// Readers that wait for their turn.
    queued: usize,
}

/// Whether a reader has the socket. What it receives may be more than it takes, and poll(2) would wake no other reader for the rest: so
/// others wait until it is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Nobody,
    Somebody,
}

/// A reader that has the socket.
struct HasSocket<'a>(&'a Datagrams);

impl Drop for HasSocket<'_> {
    fn drop(&mut self) {
        let mut received = self.0.lock();
        received.reading = Reading::Nobody;
        if received.queued > 0 {
            self.0.changed.notify_all();
        }
    }
}

/// Datagrams that wait in memory: one, or several that the kernel has joined.
#[derive(Clone, Copy)]
struct Waiting {
    start: usize,
    end: usize,
    /// How long each is; the last may be shorter.
    segment: usize,
}

/// What a try without waiting came to.
enum Tried<T> {
    Done(T),
    /// Something must be waited for, for so long at most.
    Waits(Wanted, Wanted, Option<Duration>),
}

impl Datagrams {
    pub(super) fn new(socket: DatagramSocket, bytes_max: usize, full_pause: Duration) -> Datagrams {
        let room = match socket.receiving() {
            Receiving::Joined => bytes_max.max(DATAGRAM_BYTES),
            Receiving::Batched | Receiving::Single => bytes_max,
        };
        let received = Mutex::new(Received {
            memory: vec![0; room],
            bytes_max,
            waiting: None,
            reading: Reading::Nobody,
            queued: 0,
        });
        let (changed, closed) = (Condvar::new(), AtomicBool::new(false));
        Datagrams { socket, received, changed, closed, full_pause }
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn local_address(&self) -> Option<Address> {
        self.socket.local_address().ok()
    }

    /// The longest datagram that can be sent.
    pub(super) fn bytes_max(&self) -> usize {
        self.socket.datagram_bytes_max()
    }

    fn peer_address(&self) -> Option<Address> {
        self.socket.peer().map(DatagramPeer::address)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Whoever waits for the socket is woken by it, and whoever waits for that one by this.
        let _ = self.socket.shut();
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Waits until `step` has done its work, for at most as long as is left until `until`.
    fn repeat<T>(&self, until: Option<Instant>, mut step: impl FnMut() -> io::Result<Tried<T>>) -> io::Result<T> {
        let mut left = None;
        loop {
            if self.is_closed() {
                return Err(not_connected());
            }
            let (reads, writes, pause) = match step() {
                Ok(Tried::Done(done)) => return Ok(done),
                Ok(Tried::Waits(reads, writes, pause)) => (reads, writes, pause),
                // The end that a closed socket reads is none of a peer's.
                Err(_) if self.is_closed() => return Err(not_connected()),
                Err(error) => return Err(self.told(error)),
            };
            if left == Some(Duration::ZERO) {
                // Also where something came, as long as that was of no use.
                return Err(ErrorKind::WouldBlock.into());
            }
            left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let time = left.map_or(pause, |left| Some(pause.map_or(left, |pause| pause.min(left))));
            if wait(&self.socket, reads, writes, time)?.is_some_and(|ready| ready.error) {
                if let Some(error) = self.socket.take_network_errors() {
                    return Err(error);
                }
            }
        }
    }

    /// An error that a call returned. What the network has answered with is told once: as long as its queue of errors holds
    /// it, waiting is no sleep.
    fn told(&self, error: io::Error) -> io::Error {
        if Refusal::of(&error, false) == Refusal::Earlier {
            if let Some(further) = self.socket.take_network_errors() {
                log::trace!("client: told of {error}; the network's first answer was {further}");
            }
        }
        error
    }

    /// Waits for the socket, or for something in memory, which needs no socket.
    fn turn(&self, until: Option<Instant>) -> io::Result<Option<HasSocket<'_>>> {
        let mut received = self.lock();
        loop {
            if self.is_closed() {
                return Err(not_connected());
            }
            if received.waiting.is_some() {
                return Ok(None);
            }
            if received.reading == Reading::Nobody {
                received.reading = Reading::Somebody;
                return Ok(Some(HasSocket(self)));
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(ErrorKind::WouldBlock.into());
            }
            received.queued += 1;
            received = match left {
                Some(left) => self.changed.wait_timeout(received, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(received).unwrap_or_else(PoisonError::into_inner),
            };
            received.queued -= 1;
        }
    }

    /// Takes one datagram. One that is longer than `buffer` stays, and is taken by the next call that has room.
    fn read(&self, buffer: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        loop {
            let Some(_has) = self.turn(until)? else {
                // Somebody else may have taken it meanwhile.
                match self.lock().take_waiting(buffer) {
                    Some(taken) => return taken,
                    None => continue,
                }
            };
            return self.receive(buffer, until);
        }
    }

    /// Receives one, having the socket.
    fn receive(&self, buffer: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        self.repeat(until, || match self.lock().take(&self.socket, buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Tried::Waits(Wanted::Yes, Wanted::No, None)),
            Ok(_) if self.is_closed() => Err(not_connected()),
            taken => taken.map(Tried::Done),
        })
    }

    fn write(&self, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
        let limit = self.socket.limit(None, bytes.len());
        if bytes.len() > limit {
            return Err(io::Error::new(ErrorKind::InvalidInput, Error::Oversize { bytes: bytes.len(), limit }));
        }
        self.repeat(until, || {
            let Err(error) = self.socket.send(bytes, None) else { return Ok(Tried::Done(bytes.len())) };
            match Refusal::of(&error, false) {
                Refusal::Full => Ok(Tried::Waits(Wanted::No, Wanted::Yes, None)),
                Refusal::Congested => Ok(Tried::Waits(Wanted::No, Wanted::No, Some(self.full_pause))),
                _ => Err(error),
            }
        })
    }
}

impl Received {
    /// Takes one from memory, or else from the socket.
    fn take(&mut self, socket: &DatagramSocket, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(taken) = self.take_waiting(buffer) {
            return taken;
        }
        let Message { len, segment } = socket.receive(&mut self.memory)?;
        self.take_of(Waiting { start: 0, end: len, segment: segment.unwrap_or(len) }, buffer)
    }

    fn take_waiting(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        self.waiting.map(|waiting| self.take_of(waiting, buffer))
    }

    /// Takes the first one of `waiting`; the others stay.
    fn take_of(&mut self, waiting: Waiting, buffer: &mut [u8]) -> io::Result<usize> {
        let len = waiting.segment.min(waiting.end - waiting.start);
        let next = Waiting { start: waiting.start + len, ..waiting };
        let rest = (next.start < next.end).then_some(next);
        let max = self.bytes_max;
        if len > max {
            self.waiting = rest;
            let why = format!("a datagram of {len} bytes was cut to {max}; raise DatagramConfig::bytes_max");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        if len > buffer.len() {
            self.waiting = Some(waiting);
            let why =
                format!("a datagram of {len} bytes waits, and there is room for {}; read it with more", buffer.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        self.waiting = rest;
        buffer[..len].copy_from_slice(&self.memory[waiting.start..][..len]);
        Ok(len)
    }
}

/// What a call says that needs a connection.
pub(super) fn not_connected() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, Error::NotConnected)
}
