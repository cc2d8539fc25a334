//! A client's first message, as it comes in.
//!
//! Owns the question whether it is whole, answered at the cost of a glance at each record's header, once: before it is,
//! no object of rustls' is made for a peer that may never finish it. And whether the peer gives up meanwhile, by an alert:
//! that is no fault to be answered.
//!
//! 1. `next` is where the next record begins; all before it is whole.

use crate::tls::ServerTls;
use crate::tls::offer::message;
use std::borrow::Cow;
use std::sync::Arc;

/// A ClientHello on its way.
pub(super) struct Hello {
    server: Arc<ServerTls>,
    /// Where the message begins: behind warnings, which are passed over.
    start: u32,
    next: u32,
    /// Bytes of the message in the records before `next`.
    seen: u32,
    /// Its first four bytes, as far as they were seen: its type and its length.
    head: [u8; 4],
}

/// Record header: type, version, length; RFC 8446, section 5.1.
const HEADER_BYTES: usize = 5;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// What rustls puts up with, here too. Were it less, a record that it takes would count as one that never becomes whole.
const RECORD_BYTES_MAX: usize = 16 * 1024 + 2048 - 1;
const HELLO_BYTES_MAX: u32 = 0xffff;

/// Level and description of an alert; RFC 8446, section 6.
const ALERT_BYTES: usize = 2;
const WARNING: u8 = 1;
const CLOSE_NOTIFY: u8 = 0;
/// What rustls puts up with.
const WARNINGS_MAX: usize = 4;

/// Whether rustls should look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Incomplete,
    /// It is whole, or so wrong that it never will be: rustls says which.
    Complete,
    /// The peer gave up, with this alert.
    Alert(u8),
}

/// What an alert means to the message.
enum Alert {
    /// It may be passed over.
    Warning,
    Other(Parsed),
}

impl Hello {
    pub(super) fn new(server: Arc<ServerTls>) -> Hello {
        Hello { server, start: 0, next: 0, seen: 0, head: [0; 4] }
    }

    pub(super) fn server(&self) -> &ServerTls {
        &self.server
    }

    /// Looks at what came so far, from the first byte on.
    pub(super) fn feed(&mut self, wire: &[u8]) -> Parsed {
        while !self.is_whole() {
            let record = &wire[self.next as usize..];
            let is_known = |kind: &u8| [ALERT, HANDSHAKE].contains(kind);
            if record.first().is_some_and(|kind| !is_known(kind)) || record.get(1).is_some_and(|major| *major != 3) {
                return Parsed::Complete;
            }
            let Some(&[kind, _, _, high, low]) = record.first_chunk::<HEADER_BYTES>() else {
                return Parsed::Incomplete;
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if kind == ALERT {
                match self.hear_alert(length, &record[HEADER_BYTES..]) {
                    Alert::Warning => {
                        self.next += (HEADER_BYTES + ALERT_BYTES) as u32;
                        self.start = self.next;
                        continue;
                    }
                    Alert::Other(heard) => return heard,
                }
            }
            if length == 0 || length > RECORD_BYTES_MAX {
                return Parsed::Complete;
            }
            let body = &record[HEADER_BYTES..];
            let known = self.head.len().min(self.seen as usize);
            let new = body.len().min(length);
            let mut head = self.head;
            head[known..].iter_mut().zip(&body[..new]).for_each(|(place, byte)| *place = *byte);
            if known + new > 0 && head[0] != CLIENT_HELLO {
                return Parsed::Complete;
            }
            if known + new >= head.len() && message_bytes(head) > HELLO_BYTES_MAX {
                return Parsed::Complete;
            }
            if body.len() < length {
                return Parsed::Incomplete;
            }
            self.head = head;
            self.seen += length as u32;
            self.next += (HEADER_BYTES + length) as u32;
        }
        Parsed::Complete
    }

    /// Looks at an alert in front of the message, or between two records of it.
    fn hear_alert(&self, length: usize, body: &[u8]) -> Alert {
        let warnings = self.start as usize / (HEADER_BYTES + ALERT_BYTES);
        Alert::Other(match body {
            // What has no alert's length is none.
            _ if length != ALERT_BYTES => Parsed::Complete,
            // Other warnings than an end harm nothing where no message is under way. They may not hide its name from those who
            // choose by it; rustls refuses too many.
            [WARNING, description, ..] if *description != CLOSE_NOTIFY && self.seen == 0 => {
                if warnings < WARNINGS_MAX {
                    return Alert::Warning;
                }
                Parsed::Complete
            }
            [_, description, ..] => Parsed::Alert(*description),
            [_] | [] => Parsed::Incomplete,
        })
    }

    /// What came of the message, in one piece, without what is in front of it or behind.
    pub(super) fn message<'w>(&self, wire: &'w [u8]) -> Cow<'w, [u8]> {
        message(&wire[self.start as usize..])
    }

    pub(super) fn is_whole(&self) -> bool {
        let head_bytes = self.head.len() as u32;
        self.seen >= head_bytes && self.seen >= head_bytes + message_bytes(self.head)
    }
}

/// The length in a message's head, which it does not count.
fn message_bytes([_, high, middle, low]: [u8; 4]) -> u32 {
    u32::from_be_bytes([0, high, middle, low])
}
