//! A client's first message, as it comes in.
//!
//! Owns the question whether it is whole, answered at the cost of a glance at each record's header, once: before it is,
//! no object of rustls' is made for a peer that may never finish it.
//!
//! 1. `next` is where the next record begins; all before it is whole.

use crate::error::TlsFault;
use crate::link::buffers::Sealed;
use rustls::server::{Acceptor, ServerConfig};
use std::sync::Arc;

/// A ClientHello on its way.
pub(super) struct Hello {
    config: Arc<ServerConfig>,
    next: u32,
    /// Bytes of the message in the records before `next`.
    seen: u32,
    /// Its first four bytes, as far as they were seen: its type and its length.
    head: [u8; 4],
}

/// What is there of it.
pub(super) enum Heard {
    Part,
    /// All of it, with the name that it asks for.
    Whole(Option<Box<str>>),
}

/// Record header: type, version, length; RFC 8446, section 5.1.
const HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_PLAIN_BYTES_MAX: usize = 16 * 1024;
const HELLO_BYTES_MAX: u32 = 0xffff;

/// Whether rustls should look at it.
enum Scan {
    Part,
    /// It is whole, or so wrong that it never will be: rustls says which.
    Judge,
}

impl Hello {
    pub(super) fn new(config: Arc<ServerConfig>) -> Hello {
        Hello { config, next: 0, seen: 0, head: [0; 4] }
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Looks at what came so far, from the first byte on. A fault's alert is in `out`.
    pub(super) fn hear(&mut self, wire: &[u8], out: &mut Sealed) -> Result<Heard, TlsFault> {
        match self.scan(wire) {
            Scan::Part => Ok(Heard::Part),
            Scan::Judge => judge(wire, out).map(Heard::Whole),
        }
    }

    fn scan(&mut self, wire: &[u8]) -> Scan {
        loop {
            let record = &wire[self.next as usize..];
            if record.first().is_some_and(|kind| *kind != HANDSHAKE) || record.get(1).is_some_and(|major| *major != 3) {
                return Scan::Judge;
            }
            let Some(&[_, _, _, high, low]) = record.first_chunk::<HEADER_BYTES>() else { return Scan::Part };
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length == 0 || length > RECORD_PLAIN_BYTES_MAX {
                return Scan::Judge;
            }
            let body = &record[HEADER_BYTES..];
            let known = self.head.len().min(self.seen as usize);
            let new = body.len().min(length);
            let mut head = self.head;
            head[known..].iter_mut().zip(&body[..new]).for_each(|(place, byte)| *place = *byte);
            let [kind, length_bytes @ ..] = head;
            if known + new > 0 && kind != CLIENT_HELLO {
                return Scan::Judge;
            }
            let message = u32::from_be_bytes([0, length_bytes[0], length_bytes[1], length_bytes[2]]);
            let has_head = known + new >= head.len();
            if has_head && message > HELLO_BYTES_MAX {
                return Scan::Judge;
            }
            if body.len() < length {
                return Scan::Part;
            }
            self.head = head;
            self.seen += length as u32;
            self.next += (HEADER_BYTES + length) as u32;
            if has_head && self.seen >= 4 + message {
                return Scan::Judge;
            }
        }
    }
}

/// Has rustls read the message; returns the name that it asks for.
fn judge(mut wire: &[u8], out: &mut Sealed) -> Result<Option<Box<str>>, TlsFault> {
    let mut acceptor = Acceptor::default();
    while !wire.is_empty() {
        if acceptor.read_tls(&mut wire).is_err() {
            return Err(TlsFault::TooLarge);
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                // A name is the same in any case; rustls' certificate resolvers are given it in lower case too.
                return Ok(accepted.client_hello().server_name().map(|name| name.to_ascii_lowercase().into()));
            }
            Err((error, mut alert)) => {
                log::debug!("tls: {error}");
                let mut bytes = Vec::new();
                // Writing into a vector cannot fail; without the alert the peer sees only the end.
                let _ = alert.write_all(&mut bytes);
                out.push(&bytes);
                return Err(TlsFault::of(&error));
            }
        }
    }
    // It looked whole and is not: rustls and we would wait for different things.
    Err(TlsFault::Misbehaved)
}
