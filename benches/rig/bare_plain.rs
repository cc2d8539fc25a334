//! The yardstick's plain conversation: bytes in are bytes out.

use std::io::ErrorKind;

use mio::event::Event;
use mio::{Interest, Registry};

use crate::rig::Outcome;
use crate::rig::bare::{Conversation, Unsent};
use crate::rig::socket::Stream;

const READ_BUFFER_BYTES: usize = 64 * 1024;

pub(crate) struct Plain {
    stream: Stream,
    unsent: Unsent,
}

impl Plain {
    pub(crate) fn shared() -> Vec<u8> {
        vec![0; READ_BUFFER_BYTES]
    }
}

impl Conversation for Plain {
    /// The read buffer.
    type Shared = Vec<u8>;

    fn start(stream: Stream, _: &Vec<u8>) -> Outcome<Self> {
        Ok(Plain { stream, unsent: Unsent::default() })
    }

    fn drive(&mut self, event: &Event, registry: &Registry, buffer: &mut Vec<u8>) -> Outcome<bool> {
        if !self.unsent.is_empty() {
            if !self.unsent.flush(&mut self.stream)? {
                return Ok(false);
            }
            self.stream.source().reregister(registry, event.token(), Interest::READABLE)?;
        }
        loop {
            let (count, is_dry) = match self.stream.read_short(buffer) {
                Ok((0, _)) => return Ok(true),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.unsent.send(&mut self.stream, &buffer[..count])?;
            if !self.unsent.is_empty() {
                // Registering anew reports room that came up meanwhile.
                self.stream.source().reregister(registry, event.token(), Interest::WRITABLE)?;
                return Ok(false);
            }
            if count < buffer.len() && is_dry && !event.is_read_closed() {
                return Ok(false);
            }
        }
    }
}
