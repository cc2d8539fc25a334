//! The yardsticks: the single-threaded datagram loops an expert would write by hand over bare mio, one that echoes and
//! one that only counts.
//!
//! Each owns a poll and one socket, and makes one system call for a datagram in and one for a datagram out.
//!
//! 1. With a datagram that the kernel had no room for, the socket is registered for `WRITABLE` alone and is not read;
//!    otherwise it is registered for `READABLE` alone, and read until `WouldBlock`.

use std::io::{self, ErrorKind};

use mio::{Events, Interest, Poll, Registry, Token};

use crate::rig::Outcome;
use crate::socket::{Address, DATAGRAM_BYTES_MAX, Origin, Socket};
use crate::tally::Tally;

const EVENTS_PER_TURN: usize = 16;
const SOCKET: Token = Token(0);

/// What is done with the datagrams of one socket.
trait Work {
    /// Reads until there is nothing more or no room to answer.
    fn drive(&mut self, socket: &mut Socket, registry: &Registry) -> Outcome<()>;
}

/// Echoes until it is killed. Arguments: `--listen ADDRESS [--receive-buffer BYTES]`.
pub(crate) fn echo(arguments: &[String]) -> Outcome<()> {
    serve(arguments, Echo { buffer: vec![0; DATAGRAM_BYTES_MAX], unsent: None })
}

/// Counts until it is killed. Arguments: `--listen ADDRESS [--receive-buffer BYTES]`.
pub(crate) fn receive(arguments: &[String]) -> Outcome<()> {
    serve(arguments, Receive { buffer: vec![0; DATAGRAM_BYTES_MAX], tally: Tally::default() })
}

fn serve(arguments: &[String], mut work: impl Work) -> Outcome<()> {
    let (mut address, mut receive_buffer_bytes) = (None, None);
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--listen" => address = Some(value.parse::<Address>()?),
            [option, value] if option == "--receive-buffer" => receive_buffer_bytes = Some(value.parse()?),
            _ => return Err(format!("unknown option: {pair:?}").into()),
        }
    }
    let address = address.ok_or("a yardstick wants --listen ADDRESS")?;
    let (mut socket, bound) =
        Socket::bind(&address, receive_buffer_bytes).map_err(|error| format!("cannot bind {address}: {error}"))?;
    let mut poll = Poll::new()?;
    socket.source().register(poll.registry(), SOCKET, Interest::READABLE)?;
    println!("listening on {bound}");
    let mut events = Events::with_capacity(EVENTS_PER_TURN);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        // Every event is about the one socket.
        if !events.is_empty() {
            work.drive(&mut socket, poll.registry())?;
        }
    }
}

struct Echo {
    buffer: Vec<u8>,
    /// How much of the buffer is a datagram that waits for room, and for whom.
    unsent: Option<(usize, Origin)>,
}

impl Work for Echo {
    fn drive(&mut self, socket: &mut Socket, registry: &Registry) -> Outcome<()> {
        if let Some((count, origin)) = &self.unsent {
            if !send(socket, &self.buffer[..*count], origin) {
                return Ok(());
            }
            self.unsent = None;
            socket.source().reregister(registry, SOCKET, Interest::READABLE)?;
        }
        while let Some((count, origin)) = receive_one(socket, &mut self.buffer)? {
            if !send(socket, &self.buffer[..count], &origin) {
                self.unsent = Some((count, origin));
                // Registering anew reports room that came up meanwhile.
                socket.source().reregister(registry, SOCKET, Interest::WRITABLE)?;
                break;
            }
        }
        Ok(())
    }
}

struct Receive {
    buffer: Vec<u8>,
    tally: Tally,
}

impl Work for Receive {
    fn drive(&mut self, socket: &mut Socket, _: &Registry) -> Outcome<()> {
        while let Some((count, origin)) = receive_one(socket, &mut self.buffer)? {
            if let Some(question) = self.tally.take(&self.buffer[..count]) {
                // An answer that is not sent is asked for again.
                send(socket, &self.tally.answer(question), &origin);
            }
        }
        Ok(())
    }
}

/// The next datagram, if there is one.
fn receive_one(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<(usize, Origin)>> {
    loop {
        match socket.recv_from(buffer) {
            Ok(received) => return Ok(Some(received)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Says whether the kernel is done with a datagram. One that it refuses for good, because its receiver is gone, is no
/// matter for the others.
fn send(socket: &Socket, bytes: &[u8], origin: &Origin) -> bool {
    loop {
        match socket.send_to(bytes, origin) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Ok(_) | Err(_) => return true,
        }
    }
}
