//! A TLS conversation as most write it, on rustls' ordinary buffered API, which reads and writes the socket itself.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use mio::event::Event;
use mio::{Interest, Registry};
use rustls::{ServerConfig, ServerConnection};

use crate::rig::Outcome;
use crate::rig::bare::Conversation;
use crate::rig::socket::Stream;

/// As large as the plaintext of a record.
const PLAIN_BYTES: usize = 16 * 1024;

pub(crate) struct Shared {
    config: Arc<ServerConfig>,
    plain: Vec<u8>,
}

pub(crate) struct Buffered {
    stream: Stream,
    session: Box<ServerConnection>,
}

impl Buffered {
    pub(crate) fn shared(config: Arc<ServerConfig>) -> Shared {
        Shared { config, plain: vec![0; PLAIN_BYTES] }
    }

    /// Answers what was read last.
    fn answer(&mut self, plain: &mut [u8]) -> Outcome<()> {
        let state = self.session.process_new_packets()?;
        let mut left = state.plaintext_bytes_to_read();
        while left > 0 {
            let count = self.session.reader().read(plain)?;
            self.session.writer().write_all(&plain[..count])?;
            left -= count;
        }
        if state.peer_has_closed() {
            self.session.send_close_notify();
        }
        Ok(())
    }

    /// Sends what the kernel takes; says whether that was all.
    fn flush(&mut self) -> Outcome<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

impl Conversation for Buffered {
    type Shared = Shared;

    fn start(stream: Stream, shared: &Shared) -> Outcome<Self> {
        Ok(Buffered { stream, session: Box::new(ServerConnection::new(shared.config.clone())?) })
    }

    fn drive(&mut self, event: &Event, registry: &Registry, shared: &mut Shared) -> Outcome<bool> {
        if self.session.wants_write() {
            if !self.flush()? {
                return Ok(false);
            }
            self.stream.source().reregister(registry, event.token(), Interest::READABLE)?;
        }
        loop {
            match self.session.read_tls(&mut self.stream) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            self.answer(&mut shared.plain)?;
            if !self.flush()? {
                // Registering anew reports room that came up meanwhile.
                self.stream.source().reregister(registry, event.token(), Interest::WRITABLE)?;
                return Ok(false);
            }
        }
    }
}
