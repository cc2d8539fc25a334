//! What carries a client's bytes: a stream, or datagrams.
//!
//! Owns how each is read and written by threads that wait. Knows no callbacks.
//!
//! 1. Nobody waits while holding a lock.

use crate::address::Address;
use crate::blocking::BlockingLink;
use crate::client::telling::Ends;
use crate::error::{Error, Reason};
use crate::net::datagram::peer::DatagramPeer;
use crate::net::datagram::{DatagramSocket, Refusal};
use crate::net::wait::{Wanted, wait};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
            Kind::Stream(link) => link.cut(),
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
    closed: AtomicBool,
    /// How long to pause when the network's own queue is full, which no event announces the end of.
    full_pause: Duration,
}

/// A datagram that was received and not taken yet.
struct Received {
    bytes: Vec<u8>,
    waiting: Option<usize>,
}

impl Datagrams {
    pub(super) fn new(socket: DatagramSocket, bytes_max: usize, full_pause: Duration) -> Datagrams {
        let received = Mutex::new(Received { bytes: vec![0; bytes_max], waiting: None });
        Datagrams { socket, received, closed: AtomicBool::new(false), full_pause }
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
        // Whoever waits is woken by it.
        let _ = self.socket.shut();
    }

    /// Waits for the socket, for at most as long as is left.
    fn wait(&self, reads: Wanted, writes: Wanted, until: Option<Instant>) -> io::Result<()> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match wait(&self.socket, reads, writes, left)? {
            None if left.is_some_and(|left| left.is_zero()) => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }

    /// Takes one datagram. One that is longer than `buffer` stays, and is taken by the next call that has room.
    fn read(&self, buffer: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        loop {
            if self.is_closed() {
                return Err(not_connected());
            }
            let taken = self.lock().take(&self.socket, buffer);
            match taken {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(Wanted::Yes, Wanted::No, until)?,
                // The end that a closed socket reads is none of a peer's.
                _ if self.is_closed() => return Err(not_connected()),
                taken => return taken,
            }
        }
    }

    fn write(&self, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
        let limit = self.socket.datagram_bytes_max();
        if bytes.len() > limit {
            return Err(io::Error::new(ErrorKind::InvalidInput, Error::Oversize { bytes: bytes.len(), limit }));
        }
        loop {
            if self.is_closed() {
                return Err(not_connected());
            }
            let Err(error) = self.socket.send(bytes, None) else { return Ok(bytes.len()) };
            match Refusal::of(&error, false) {
                Refusal::Full => self.wait(Wanted::No, Wanted::Yes, until)?,
                Refusal::Congested => {
                    let pause = Instant::now() + self.full_pause;
                    let end = until.map_or(pause, |until| until.min(pause));
                    match self.wait(Wanted::No, Wanted::No, Some(end)) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock && end == pause => {}
                        waited => waited?,
                    }
                }
                _ => return Err(error),
            }
        }
    }
}

impl Received {
    fn take(&mut self, socket: &DatagramSocket, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = match self.waiting {
            Some(bytes) => bytes,
            None => {
                let bytes = socket.receive(&mut self.bytes)?;
                if bytes > self.bytes.len() {
                    let max = self.bytes.len();
                    let why = format!("a datagram of {bytes} bytes was cut to {max}; raise DatagramConfig::bytes_max");
                    return Err(io::Error::new(ErrorKind::InvalidData, why));
                }
                bytes
            }
        };
        if bytes > buffer.len() {
            self.waiting = Some(bytes);
            let why =
                format!("a datagram of {bytes} bytes waits, and there is room for {}; read it with more", buffer.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        self.waiting = None;
        buffer[..bytes].copy_from_slice(&self.bytes[..bytes]);
        Ok(bytes)
    }
}

/// What a call says that needs a connection.
pub(super) fn not_connected() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, Error::NotConnected)
}
