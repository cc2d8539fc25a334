//! TLS records of one session, over rustls' unbuffered API: opens what was read, seals what is to be sent.
//!
//! Owns the status loop of rustls and the buffer that sealed bytes stand in. Knows nothing of sockets. The yardstick
//! and the load generator are its two users.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};

use crate::rig::Outcome;

/// Plaintext that is sealed in one go: four full records.
pub(crate) const PLAIN_BYTES_MAX: usize = 64 * 1024;
/// What sealing adds to that, and a flight of a handshake.
const OVERHEAD_BYTES: usize = 4 * 1024;
/// The largest part of a record or handshake message that may be left unread: 64 KiB in at most five records.
pub(crate) const PARTIAL_BYTES_MAX: usize = 66 * 1024;

/// One side of a session.
pub(crate) trait Side {
    type Data;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(wire)
    }
}

/// Bytes to be sent, in a buffer that is filled from the front and never shrinks.
pub(crate) struct Sealed {
    buffer: Vec<u8>,
    filled: usize,
}

impl Sealed {
    pub(crate) fn new() -> Self {
        Sealed { buffer: vec![0; PLAIN_BYTES_MAX + OVERHEAD_BYTES], filled: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }

    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Appends what `fill` writes, in a larger buffer if it asks for one.
    fn append(&mut self, mut fill: impl FnMut(&mut [u8]) -> Result<usize, Refusal>) -> Outcome<()> {
        loop {
            match fill(&mut self.buffer[self.filled..]) {
                Ok(count) => {
                    self.filled += count;
                    return Ok(());
                }
                Err(Refusal::TooSmall(required)) => self.buffer.resize(self.filled + required, 0),
                Err(Refusal::Fault(text)) => return Err(text.into()),
            }
        }
    }
}

enum Refusal {
    TooSmall(usize),
    Fault(String),
}

impl From<EncodeError> for Refusal {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Refusal::TooSmall(size.required_size),
            other => Refusal::Fault(other.to_string()),
        }
    }
}

impl From<EncryptError> for Refusal {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Refusal::TooSmall(size.required_size),
            other => Refusal::Fault(other.to_string()),
        }
    }
}

/// What became of bytes that were read.
pub(crate) struct Opened {
    /// How many of them are done with; the rest comes again, unchanged, before what follows it.
    pub(crate) eaten: usize,
    /// The peer's close_notify was among them.
    pub(crate) peer_closed: bool,
}

/// Opens the whole records of `wire`: appends plaintext to `plain`, and answers of the handshake to `sealed`.
pub(crate) fn open(side: &mut impl Side, wire: &mut [u8], plain: &mut Vec<u8>, sealed: &mut Sealed) -> Outcome<Opened> {
    let mut opened = Opened { eaten: 0, peer_closed: false };
    loop {
        let UnbufferedStatus { mut discard, state } = side.process(&mut wire[opened.eaten..]);
        let is_idle = match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    plain.extend_from_slice(record.payload);
                    discard += record.discard;
                }
                false
            }
            ConnectionState::EncodeTlsData(mut data) => {
                sealed.append(|room| Ok(data.encode(room)?))?;
                false
            }
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                false
            }
            ConnectionState::PeerClosed => {
                opened.peer_closed = true;
                false
            }
            ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake | ConnectionState::Closed => true,
            other => return Err(format!("rustls is in an unexpected state: {other:?}").into()),
        };
        opened.eaten += discard;
        if is_idle {
            return Ok(opened);
        }
    }
}

/// Seals at most `PLAIN_BYTES_MAX` bytes at the end of `sealed`.
pub(crate) fn seal(side: &mut impl Side, plain: &[u8], sealed: &mut Sealed) -> Outcome<()> {
    write(side, |mut traffic| sealed.append(|room| Ok(traffic.encrypt(plain, room)?)))
}

/// Puts a close_notify at the end of `sealed`.
pub(crate) fn close(side: &mut impl Side, sealed: &mut Sealed) -> Outcome<()> {
    write(side, |mut traffic| sealed.append(|room| Ok(traffic.queue_close_notify(room)?)))
}

fn write<S: Side>(side: &mut S, act: impl FnOnce(WriteTraffic<'_, S::Data>) -> Outcome<()>) -> Outcome<()> {
    match side.process(&mut []).state? {
        ConnectionState::WriteTraffic(traffic) => act(traffic),
        other => Err(format!("rustls takes no data to send: {other:?}").into()),
    }
}
