//! A connection of the load generator, plain or with TLS.
//!
//! Owns the stream and, for TLS, the session and what waits for the kernel. Knows nothing of messages.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use mio::{Interest, Registry, Token};
use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;

use crate::rig::Outcome;
use crate::rig::bare::Unsent;
use crate::rig::certificate;
use crate::rig::scratch::{READ_BYTES, Scratch};
use crate::rig::session::{self, PLAIN_BYTES_MAX};
use crate::rig::socket::{Address, Stream};

pub(crate) enum Channel {
    Plain(Stream),
    Tls(Box<Tls>),
}

pub(crate) struct Tls {
    stream: Stream,
    session: UnbufferedClientConnection,
    part: Vec<u8>,
    unsent: Unsent,
}

/// What became of bytes to be written.
pub(crate) struct Written {
    pub(crate) count: usize,
    /// The kernel has no room for more. If neither this holds nor all bytes are written, the handshake is not done,
    /// and reading will tell.
    pub(crate) is_blocked: bool,
}

/// What a read gave.
pub(crate) enum Received<'a> {
    Nothing,
    /// Perhaps no bytes, if they were not for the user of TLS. Unless drained, there may be more.
    Bytes {
        bytes: &'a [u8],
        is_drained: bool,
    },
    End,
}

impl Channel {
    /// Connects, and with TLS begins the handshake.
    pub(crate) fn open(
        address: &Address,
        number: usize,
        tls: Option<&Arc<ClientConfig>>,
        scratch: &mut Scratch,
    ) -> Outcome<Self> {
        let stream =
            Stream::connect(address, number).map_err(|error| format!("connection {number} to {address}: {error}"))?;
        let Some(config) = tls else {
            return Ok(Channel::Plain(stream));
        };
        let session = UnbufferedClientConnection::new(config.clone(), certificate::NAME.try_into()?)?;
        let mut tls = Tls { stream, session, part: Vec::new(), unsent: Unsent::default() };
        tls.take(scratch, 0)?;
        Ok(Channel::Tls(Box::new(tls)))
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> Outcome<()> {
        Ok(self.stream().source().register(registry, token, interest)?)
    }

    pub(crate) fn reregister(&mut self, registry: &Registry, token: Token, interest: Interest) -> Outcome<()> {
        Ok(self.stream().source().reregister(registry, token, interest)?)
    }

    fn stream(&mut self) -> &mut Stream {
        match self {
            Channel::Plain(stream) => stream,
            Channel::Tls(tls) => &mut tls.stream,
        }
    }

    /// Writes as far as the kernel takes it.
    pub(crate) fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Outcome<Written> {
        let stream = match self {
            Channel::Plain(stream) => stream,
            Channel::Tls(tls) => return tls.write(bytes, scratch),
        };
        let mut count = 0;
        while count < bytes.len() {
            match stream.write(&bytes[count..]) {
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Written { count, is_blocked: true }),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Written { count, is_blocked: false })
    }

    /// Reads once.
    pub(crate) fn read<'a>(&mut self, scratch: &'a mut Scratch) -> Outcome<Received<'a>> {
        let count = loop {
            match self.stream().read(scratch.room()) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        let is_drained = count < READ_BYTES;
        match self {
            _ if count == 0 => Ok(Received::End),
            Channel::Plain(_) => Ok(Received::Bytes { bytes: &scratch.room()[..count], is_drained }),
            Channel::Tls(tls) => {
                tls.take(scratch, count)?;
                Ok(Received::Bytes { bytes: &scratch.plain, is_drained })
            }
        }
    }
}

impl Tls {
    /// Opens what was read, and sends what the handshake has to say.
    fn take(&mut self, scratch: &mut Scratch, count: usize) -> Outcome<()> {
        scratch.open(&mut self.session, &mut self.part, count)?;
        Ok(self.unsent.send(&mut self.stream, scratch.sealed.bytes())?)
    }

    fn write(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Outcome<Written> {
        let mut written = Written { count: 0, is_blocked: !self.unsent.flush(&mut self.stream)? };
        if self.session.is_handshaking() {
            return Ok(written);
        }
        for piece in bytes.chunks(PLAIN_BYTES_MAX) {
            if written.is_blocked {
                break;
            }
            scratch.sealed.clear();
            session::seal(&mut self.session, piece, &mut scratch.sealed)?;
            self.unsent.send(&mut self.stream, scratch.sealed.bytes())?;
            written = Written { count: written.count + piece.len(), is_blocked: !self.unsent.is_empty() };
        }
        Ok(written)
    }
}
