//! Which records rustls is shown, and when no more.
//!
//! Owns the way along the wire, one record at a time, and how key updates are counted. What a record means rustls knows.

use crate::config::RECORD_BYTES;
use crate::link::quota::Quota;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;
use rustls::{CommonState, PeerMisbehaved, ProtocolVersion};

/// rustls' two kinds of connection; their states are of different types.
pub(super) trait RustlsConnection {
    type Data;
    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn is_handshaking(&self) -> bool;
    /// Whether its protocol version has key updates.
    fn has_key_updates(&self) -> bool;
    /// Whether it has something to say by itself.
    fn wants_write(&self) -> bool;
}

impl RustlsConnection for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(wire)
    }

    fn is_handshaking(&self) -> bool {
        CommonState::is_handshaking(self)
    }

    fn has_key_updates(&self) -> bool {
        self.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

impl RustlsConnection for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, wire: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(wire)
    }

    fn is_handshaking(&self) -> bool {
        CommonState::is_handshaking(self)
    }

    fn has_key_updates(&self) -> bool {
        self.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    fn wants_write(&self) -> bool {
        CommonState::wants_write(self)
    }
}

/// What of the wire rustls has seen, and how much more it may be shown.
pub(super) struct Records<'q> {
    pub(super) seen: usize,
    pub(super) quota: &'q mut Quota,
    /// How much plaintext there was before the record that was shown last, if that may be a key update.
    pub(super) before: Option<usize>,
}

/// Whether another record was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Shown,
    /// None is whole.
    None,
    /// One is, and has to wait.
    QuotaUsed,
}

impl Records<'_> {
    /// Whether the record that was shown last has data in it.
    pub(super) fn has_brought_some(&self, opened: usize) -> bool {
        self.before.is_some_and(|before| before < opened)
    }

    /// Shows the next record, if it is whole. The quota is for those behind the handshake: a handshake has limits of its own.
    pub(super) fn show(
        &mut self,
        wire: &[u8],
        opened: usize,
        rustls: &impl RustlsConnection,
    ) -> Result<Next, rustls::Error> {
        if self.before.take() == Some(opened) && rustls.has_key_updates() {
            self.quota.updates = self.quota.updates.checked_sub(1).ok_or(TOO_MANY)?;
            self.quota.records = self.quota.records.saturating_sub(UPDATE_WEIGHT - 1);
        }
        let Some(length) = record_length(&wire[self.seen..]) else { return Ok(Next::None) };
        if !rustls.is_handshaking() {
            if self.quota.records == 0 {
                return Ok(Next::QuotaUsed);
            }
            self.quota.records -= 1;
            self.before = (length >= KEY_UPDATE_BYTES).then_some(opened);
        }
        self.seen += length;
        Ok(Next::Shown)
    }
}

/// The length of the record at the beginning of `wire`, with its header; `None` if it is not whole. What cannot become a
/// record is shown as it is: rustls knows what is wrong with it.
fn record_length(wire: &[u8]) -> Option<usize> {
    let [kind, major, _, high, low, ..] = *wire else { return None };
    let length = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if !(20..=24).contains(&kind) || major != 3 || length > RECORD_BYTES {
        return Some(wire.len());
    }
    (length <= wire.len()).then_some(length)
}

const HEADER_BYTES: usize = 5;

/// A key update takes as long as so many records with data, and counts as many.
const UPDATE_WEIGHT: usize = 4;

/// The shortest record that has a key update in it: the message, its type and a tag. Empty ones are shorter.
const KEY_UPDATE_BYTES: usize = HEADER_BYTES + 5 + 1 + 16;

/// What a peer did that sends more key updates than it may.
const TOO_MANY: rustls::Error = rustls::Error::PeerMisbehaved(PeerMisbehaved::TooManyKeyUpdateRequests);
