//! The yardstick: the best single-threaded echo loop an expert would write by hand over bare mio.
//!
//! Owns a poll, its listeners and a slab of connections. It has no timeouts, no limits and no drain: what it leaves
//! out is what a library must be worth.
//!
//! 1. A connection with unsent bytes is registered for `WRITABLE` alone and is not read; any other is registered for
//!    `READABLE` alone.
//! 2. Reading stops at `WouldBlock`, or at a short read without a hang-up in the same event: edge triggering then
//!    promises another event.
//! 3. Token `n` is listener `n`; the tokens after the last listener are slots of the slab.

use std::io::{self, ErrorKind, Read, Write};

use mio::event::{Event, Source};
use mio::{Events, Interest, Poll, Registry, Token};

use crate::Outcome;
use crate::socket::{Address, Listener, Stream};

const READ_BUFFER_BYTES: usize = 64 * 1024;
const EVENTS_PER_TURN: usize = 1024;

/// Serves until it is killed. Options other than `--listen` are those of the `echo` example and have no effect.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--listen" => {
                let address: Address = value.parse()?;
                let (mut listener, bound) =
                    Listener::bind(&address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
                listener.register(poll.registry(), Token(listeners.len()), Interest::READABLE)?;
                println!("listening on {bound}");
                listeners.push(listener);
            }
            [_, _] => {}
            _ => return Err(format!("option without a value: {pair:?}").into()),
        }
    }
    let mut server = Bare {
        registry: poll.registry().try_clone()?,
        listeners,
        slots: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; READ_BUFFER_BYTES],
    };
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token().0 < server.listeners.len() {
                server.accept(event.token().0)?;
            } else {
                server.drive(event);
            }
        }
    }
}

struct Bare {
    registry: Registry,
    listeners: Vec<Listener>,
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

impl Bare {
    fn accept(&mut self, listener: usize) -> io::Result<()> {
        loop {
            let mut stream = match self.listeners[listener].accept() {
                Ok(stream) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            let token = Token(self.listeners.len() + slot);
            stream.register(&self.registry, token, Interest::READABLE)?;
            self.slots[slot] = Some(Connection { stream, unsent: Vec::new(), sent: 0 });
        }
    }

    fn drive(&mut self, event: &Event) {
        let slot = event.token().0 - self.listeners.len();
        let connection = self.slots[slot].as_mut().expect("an event names a live connection");
        // An error is a reset by the peer: it ends this connection and no other.
        let ended = connection.drive(event, &self.registry, &mut self.buffer).unwrap_or(true);
        if ended {
            // Closing the descriptor takes it out of the poll.
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }
}

struct Connection {
    stream: Stream,
    /// Bytes the kernel did not take, of which the first `sent` have gone since.
    unsent: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// Echoes until there is nothing to read or no room to write; says whether the connection is over.
    fn drive(&mut self, event: &Event, registry: &Registry, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            if !self.flush()? {
                return Ok(false);
            }
            self.stream.reregister(registry, event.token(), Interest::READABLE)?;
        }
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let taken = write(&mut self.stream, &buffer[..count])?;
            if taken < count {
                self.unsent.extend_from_slice(&buffer[taken..count]);
                // Registering anew reports room that came up meanwhile.
                self.stream.reregister(registry, event.token(), Interest::WRITABLE)?;
                return Ok(false);
            }
            if count < buffer.len() && !event.is_read_closed() {
                return Ok(false);
            }
        }
    }

    /// Writes what was left over; says whether all of it went.
    fn flush(&mut self) -> io::Result<bool> {
        self.sent += write(&mut self.stream, &self.unsent[self.sent..])?;
        if self.sent < self.unsent.len() {
            return Ok(false);
        }
        self.unsent.clear();
        self.sent = 0;
        Ok(true)
    }
}

/// Writes until the kernel takes no more, and returns how much it took.
fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    while taken < bytes.len() {
        match stream.write(&bytes[taken..]) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}
