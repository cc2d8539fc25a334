//! The yardstick's TLS conversation, on rustls' unbuffered API: records are opened where they were read, and sealed
//! 64 KiB at a time into one buffer that all connections share.
//!
//! 1. A connection keeps ciphertext only while it has part of a record, or bytes the kernel did not take.

use std::io::ErrorKind;
use std::sync::Arc;

use mio::event::Event;
use mio::{Interest, Registry};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;

use crate::rig::Outcome;
use crate::rig::bare::{Conversation, Unsent};
use crate::rig::scratch::{READ_BYTES, Scratch};
use crate::rig::session::{self, PLAIN_BYTES_MAX};
use crate::rig::socket::Stream;

pub(crate) struct Shared {
    config: Arc<ServerConfig>,
    scratch: Scratch,
}

pub(crate) struct Tls {
    stream: Stream,
    session: Box<UnbufferedServerConnection>,
    /// Ciphertext that is not a whole record yet.
    part: Vec<u8>,
    unsent: Unsent,
}

impl Tls {
    pub(crate) fn shared(config: Arc<ServerConfig>) -> Shared {
        Shared { config, scratch: Scratch::new() }
    }

    /// Answers `count` bytes that were read.
    fn answer(&mut self, scratch: &mut Scratch, count: usize) -> Outcome<()> {
        let peer_closed = scratch.open(&mut *self.session, &mut self.part, count)?;
        let Scratch { plain, sealed, .. } = scratch;
        for piece in plain.chunks(PLAIN_BYTES_MAX) {
            session::seal(&mut *self.session, piece, sealed)?;
            self.unsent.send(&mut self.stream, sealed.bytes())?;
            sealed.clear();
        }
        if peer_closed {
            session::close(&mut *self.session, sealed)?;
        }
        self.unsent.send(&mut self.stream, sealed.bytes())?;
        Ok(())
    }
}

impl Conversation for Tls {
    type Shared = Shared;

    fn start(stream: Stream, shared: &Shared) -> Outcome<Self> {
        let session = Box::new(UnbufferedServerConnection::new(shared.config.clone())?);
        Ok(Tls { stream, session, part: Vec::new(), unsent: Unsent::default() })
    }

    fn drive(&mut self, event: &Event, registry: &Registry, shared: &mut Shared) -> Outcome<bool> {
        if !self.unsent.is_empty() {
            if !self.unsent.flush(&mut self.stream)? {
                return Ok(false);
            }
            self.unsent = Unsent::default();
            self.stream.source().reregister(registry, event.token(), Interest::READABLE)?;
        }
        loop {
            let (count, is_dry) = match self.stream.read_short(shared.scratch.room()) {
                Ok((0, _)) => return Ok(true),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.answer(&mut shared.scratch, count)?;
            if !self.unsent.is_empty() {
                // Registering anew reports room that came up meanwhile.
                self.stream.source().reregister(registry, event.token(), Interest::WRITABLE)?;
                return Ok(false);
            }
            if count < READ_BYTES && is_dry && !event.is_read_closed() {
                return Ok(false);
            }
        }
    }
}
