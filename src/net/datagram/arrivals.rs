//! Datagrams as they come from the kernel, as many at once as it gives.
//!
//! Owns the scratch that they are received into, and the three ways to do so. Knows nothing of handlers.
//!
//! 1. `arrived` says of each datagram of the last call where in `memory` it is; between calls nobody relies on either.

use crate::config::datagram::DATAGRAM_BYTES;
use crate::net::datagram::calls::Places;
use crate::net::datagram::peer::DatagramPeer;
use crate::net::datagram::{DatagramSocket, Receiving};
use crate::net::system::mmsg::{ReceiveHeaders, receive_joined};
use crate::net::{system, uninterrupted};
use std::io;
use std::net::IpAddr;

/// Datagrams that one call receives at most.
const BATCH: usize = 32;

/// Calls that receive one datagram each are made at most so often until what came is shown.
const SINGLES: usize = 16;

/// Where the next datagram is put, behind the place for the one before: a whole page apart they would share the same few
/// lines of the processor's caches.
const STAGGER: usize = 128;

/// Congestion on the way, as two bits of each IP header tell it; RFC 3168, section 5.
///
/// ```
/// use windlass::{Datagram, Ecn};
/// fn is_congested(datagram: &Datagram<'_>) -> bool {
///     datagram.ecn == Some(Ecn::Congested)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecn {
    /// Not-ECT: its sender does not take part.
    NotCapable,
    /// ECT(0).
    Capable0,
    /// ECT(1).
    Capable1,
    /// CE: something on its way was congested.
    Congested,
}

/// One datagram, or several of one length from one peer that were joined.
pub(crate) struct Arrived {
    pub(crate) from: DatagramPeer,
    pub(crate) local: Option<IpAddr>,
    pub(crate) ecn: Option<Ecn>,
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Joined ones are so long each, but the last, which may be shorter.
    pub(crate) segment: Option<usize>,
    pub(crate) is_truncated: bool,
}

/// What the kernel had to say behind the last datagram.
pub(crate) enum Behind {
    /// There may be more.
    More,
    /// It gave less than it was asked for: it has seen its queue empty, or an error that an event tells.
    Short,
    /// There was nothing.
    Nothing,
    /// This error.
    Error(io::Error),
}

/// What datagrams are received into.
#[derive(Default)]
pub(crate) struct Arrivals {
    memory: Vec<u8>,
    arrived: Vec<Arrived>,
    batches: ReceiveHeaders,
}

impl Arrivals {
    /// What the last call received.
    pub(crate) fn arrived(&self) -> &[Arrived] {
        &self.arrived
    }

    /// The bytes of one of them.
    pub(crate) fn bytes(&self, arrived: &Arrived) -> &[u8] {
        &self.memory[arrived.start..][..arrived.len]
    }

    /// Receives up to `max` datagrams, each of up to `bytes_max` bytes.
    #[inline(always)]
    pub(crate) fn receive(&mut self, socket: &mut DatagramSocket, max: usize, bytes_max: usize) -> Behind {
        self.arrived.clear();
        let place = bytes_max.max(DATAGRAM_BYTES) + STAGGER;
        match socket.receiving() {
            Receiving::Batched => self.receive_batch(socket, max.min(BATCH), place),
            Receiving::Joined => self.receive_singles(max, place, |memory| receive_joined(socket, memory)),
            Receiving::Single => self.receive_singles(max, place, |memory| receive_one(socket, memory)),
        }
    }

    /// Makes room for so many datagrams. Zeroed memory costs nothing before it is used.
    fn make_room(&mut self, bytes: usize) {
        if self.memory.len() < bytes {
            self.memory = vec![0; bytes];
        }
    }

    #[inline(never)]
    fn receive_singles(
        &mut self,
        max: usize,
        place: usize,
        mut receive: impl FnMut(&mut [u8]) -> io::Result<Arrived>,
    ) -> Behind {
        self.make_room(SINGLES * place);
        for n in 0..max.min(SINGLES) {
            let start = n * place;
            match receive(&mut self.memory[start..start + place - STAGGER]) {
                Ok(arrived) => self.arrived.push(Arrived { start, ..arrived }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Behind::Nothing,
                Err(error) => return Behind::Error(error),
            }
        }
        Behind::More
    }

    #[inline(always)]
    fn receive_batch(&mut self, socket: &mut DatagramSocket, max: usize, place: usize) -> Behind {
        let want = max.min(socket.batch_size());
        self.make_room(BATCH * place);
        let memory = &mut self.memory;
        match self.batches.receive(
            socket,
            memory,
            want,
            Places { step: place, len: place - STAGGER },
            &mut self.arrived,
        ) {
            Ok(()) => {
                let got = self.arrived.len();
                socket.note_batch(got);
                if got < want { Behind::Short } else { Behind::More }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Behind::Nothing,
            Err(error) if lacks_call(&error) => {
                socket.receive_singly();
                Behind::More
            }
            Err(error) => Behind::Error(error),
        }
    }
}

/// Whether the system has no such call, or does not let us make it.
fn lacks_call(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOSYS.raw_os_error())
}

/// One datagram. Descriptors that a Unix peer passes along are closed by the kernel, since there is no place for them.
pub(in crate::net) fn receive_one(socket: &DatagramSocket, memory: &mut [u8]) -> io::Result<Arrived> {
    let (len, from) = uninterrupted(|| system::receive_whole_from(socket, memory))?;
    Ok(Arrived {
        from: from.map_or_else(DatagramPeer::unnamed, DatagramPeer::named),
        local: socket.own(),
        ecn: None,
        start: 0,
        len: len.min(memory.len()),
        segment: None,
        is_truncated: len > memory.len(),
    })
}
