//! The yardstick: the best single-threaded echo loop an expert would write by hand over bare mio.
//!
//! Owns a poll, its listeners and a slab of conversations, of which there are three kinds: plain, TLS, and TLS as most
//! write it. It has no timeouts, no limits and no drain: what it leaves out is what a library must be worth.
//!
//! 1. Token `n` is listener `n`; the tokens after the last listener are slots of the slab.

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use mio::event::Event;
use mio::{Events, Interest, Poll, Registry, Token};

use crate::rig::Outcome;
use crate::rig::bare_buffered::Buffered;
use crate::rig::bare_plain::Plain;
use crate::rig::bare_tls::Tls;
use crate::rig::certificate;
use crate::rig::socket::{Address, Listener, Security, Stream};

const EVENTS_PER_TURN: usize = 1024;

/// What is done with the connections of one server.
///
/// A conversation with unsent bytes is registered for `WRITABLE` alone and is not read; any other is registered for
/// `READABLE` alone. Reading stops at `WouldBlock`, or at a short read that left nothing, without a hang-up in the same
/// event: edge triggering then promises another event.
pub(crate) trait Conversation: Sized {
    /// What all conversations have in common.
    type Shared;

    fn start(stream: Stream, shared: &Self::Shared) -> Outcome<Self>;

    /// Echoes until there is nothing to read or no room to write; says whether the conversation is over.
    fn drive(&mut self, event: &Event, registry: &Registry, shared: &mut Self::Shared) -> Outcome<bool>;
}

struct Options {
    listen: Vec<Address>,
    certificate: PathBuf,
    key: PathBuf,
    is_buffered: bool,
}

/// Serves until it is killed. Options of the `echo` example that are not listed here have no effect.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let options = parse(arguments)?;
    // One process serves one kind, that of its first listener.
    if options.listen.first().is_none_or(|address| address.security == Security::Plain) {
        return serve::<Plain>(&options.listen, Plain::shared());
    }
    let config = certificate::server(&options.certificate, &options.key)?;
    if options.is_buffered {
        serve::<Buffered>(&options.listen, Buffered::shared(config))
    } else {
        serve::<Tls>(&options.listen, Tls::shared(config))
    }
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options =
        Options { listen: Vec::new(), certificate: PathBuf::new(), key: PathBuf::new(), is_buffered: false };
    for pair in arguments.chunks(2) {
        let [option, value] = pair else {
            return Err(format!("option without a value: {pair:?}").into());
        };
        match option.as_str() {
            "--listen" => options.listen.push(value.parse()?),
            "--cert" => options.certificate = value.into(),
            "--key" => options.key = value.into(),
            _ => options.is_buffered |= [option.as_str(), value] == ["--rustls", "buffered"],
        }
    }
    Ok(options)
}

fn serve<C: Conversation>(addresses: &[Address], shared: C::Shared) -> Outcome<()> {
    let mut poll = Poll::new()?;
    let mut listeners = Vec::new();
    for address in addresses {
        let (mut listener, bound) =
            Listener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
        listener.source().register(poll.registry(), Token(listeners.len()), Interest::READABLE)?;
        println!("listening on {bound}");
        listeners.push(listener);
    }
    let registry = poll.registry().try_clone()?;
    let mut server = Bare::<C> { registry, listeners, slots: Vec::new(), free: Vec::new(), shared };
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

struct Bare<C: Conversation> {
    registry: Registry,
    listeners: Vec<Listener>,
    slots: Vec<Option<C>>,
    free: Vec<usize>,
    shared: C::Shared,
}

impl<C: Conversation> Bare<C> {
    fn accept(&mut self, listener: usize) -> Outcome<()> {
        loop {
            let mut stream = match self.listeners[listener].accept() {
                Ok(stream) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                self.slots.len() - 1
            });
            let token = Token(self.listeners.len() + slot);
            stream.source().register(&self.registry, token, Interest::READABLE)?;
            self.slots[slot] = Some(C::start(stream, &self.shared)?);
        }
    }

    fn drive(&mut self, event: &Event) {
        let slot = event.token().0 - self.listeners.len();
        let conversation = self.slots[slot].as_mut().expect("an event names a live connection");
        // An error is a reset by the peer: it ends this connection and no other.
        let ended = conversation.drive(event, &self.registry, &mut self.shared).unwrap_or(true);
        if ended {
            // Closing the descriptor takes it out of the poll.
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }
}

/// Bytes the kernel did not take, of which the first `sent` have gone since.
#[derive(Default)]
pub(crate) struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
}

impl Unsent {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Sends what the kernel takes and keeps the rest; behind what is kept already, nothing is sent.
    pub(crate) fn send(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.is_empty() { write(stream, bytes)? } else { 0 };
        self.bytes.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    /// Sends what was left over; says whether all of it went. The memory is kept.
    pub(crate) fn flush(&mut self, stream: &mut Stream) -> io::Result<bool> {
        self.sent += write(stream, &self.bytes[self.sent..])?;
        if self.sent < self.bytes.len() {
            return Ok(false);
        }
        self.bytes.clear();
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
