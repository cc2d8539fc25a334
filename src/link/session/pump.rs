//! How rustls goes through records, and what it says on the way.
//!
//! Owns the loop over its states. Which records it is shown, `showing.rs` decides.

use crate::link::buffers::Sealed;
use crate::link::quota::Unopened;
use crate::link::session::showing::{Next, Records, RustlsConnection};
use crate::link::session::{Latch, Opened};
use rustls::AlertDescription;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, ReadTraffic, UnbufferedStatus};

/// More than most handshake messages take; larger ones say how much they need.
const ANSWER_BYTES: usize = 2048;

/// Shows rustls one record of `wire` after the other, until none is whole or the quota is used up.
///
/// It ends: each round consumes a record, shows the next one, or takes one answer away.
pub(super) fn pump<R: RustlsConnection>(
    rustls: &mut R,
    wire: &mut [u8],
    mut records: Records<'_>,
    plain: &mut Vec<u8>,
    out: &mut Sealed,
    latch: &mut Latch,
) -> Result<Opened, rustls::Error> {
    let mut consumed = 0;
    records.show(wire, plain.len(), rustls)?;
    let rest = loop {
        let UnbufferedStatus { discard, state, .. } = rustls.process(&mut wire[consumed..records.seen]);
        consumed += discard;
        let goes_on = match state? {
            ConnectionState::ReadTraffic(traffic) => {
                consumed += take(traffic, plain)?;
                let goes_on = consumed < records.seen || rustls.wants_write();
                // As most often: one record, and nothing behind it.
                if !goes_on && consumed == wire.len() && records.has_brought_some(plain.len()) {
                    break Unopened::None;
                }
                goes_on
            }
            ConnectionState::EncodeTlsData(message) => {
                encode(message, out)?;
                true
            }
            ConnectionState::TransmitTlsData(sent) => {
                sent.done();
                true
            }
            ConnectionState::PeerClosed | ConnectionState::Closed => {
                if rustls.is_handshaking() {
                    return Err(rustls::Error::AlertReceived(AlertDescription::CloseNotify));
                }
                *latch = latch.after_peers_close();
                return Ok(Opened::all(wire.len(), None));
            }
            ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) => false,
            // 0-RTT is refused with the configuration; a state that is new to us cannot be passed over.
            _ => return Err(rustls::Error::General("an unknown state".to_owned())),
        };
        if goes_on {
            continue;
        }
        match records.show(wire, plain.len(), rustls) {
            Ok(Next::Shown) => {}
            Ok(Next::None) => break Unopened::None,
            Ok(Next::QuotaUsed) => break Unopened::Records,
            Err(error) => {
                if consumed == records.seen {
                    // rustls has an alert for a record that must not come here, and none for what is merely too much.
                    let _ = rustls.process(&mut CHANGE_CIPHER_SPEC.clone());
                }
                return Err(error);
            }
        }
    };
    // A server may write before it has heard the peer's Finished; that is not the end of the handshake.
    if *latch == Latch::Shaking && !rustls.is_handshaking() {
        *latch = Latch::Secured;
    }
    Ok(Opened { consumed, seen: records.seen - consumed, rest, fault: None })
}

/// A record that may come during a handshake only; RFC 8446, section 5.
const CHANGE_CIPHER_SPEC: [u8; 6] = [20, 3, 3, 0, 1, 1];

/// Takes the plaintext of the records that rustls has opened; returns how many bytes are done with.
fn take<D>(mut traffic: ReadTraffic<'_, '_, D>, plain: &mut Vec<u8>) -> Result<usize, rustls::Error> {
    let mut consumed = 0;
    while let Some(record) = traffic.next_record() {
        let record = record?;
        consumed += record.discard;
        plain.extend_from_slice(record.payload);
    }
    Ok(consumed)
}

pub(super) fn encode<D>(mut message: EncodeTlsData<'_, D>, out: &mut Sealed) -> Result<(), rustls::Error> {
    let mut room = ANSWER_BYTES;
    loop {
        match message.encode(out.room(room)) {
            Ok(written) => {
                out.written(written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => room = needed.required_size,
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
    }
}
