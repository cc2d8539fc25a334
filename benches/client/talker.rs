//! The clients that are compared: what each does for a round trip, and for bulk.

use crate::peer::{self, Peer, REQUEST_BYTES};
use crate::rig::Outcome;
use crate::rig::account::own_thread_ns;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};
use windlass::Client;
use windlass::rustls::{ClientConnection, StreamOwned};

/// Whose client it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Maker {
    Windlass,
    /// The standard library, and rustls on top of it.
    Std,
}

/// A client that says something and waits for as much.
pub(crate) trait Talker {
    fn round_trip(&mut self, message: &[u8]) -> Outcome<()>;
}

impl<S: Read + Write> Talker for S {
    fn round_trip(&mut self, message: &[u8]) -> Outcome<()> {
        self.write_all(message)?;
        self.flush()?;
        let mut answer = [0; 64];
        let answer = &mut answer[..message.len()];
        self.read_exact(answer)?;
        if answer == message { Ok(()) } else { Err("other bytes came back".into()) }
    }
}

/// Asks for so many bytes each way.
fn request(down: u64, up: u64) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    request[..8].copy_from_slice(&down.to_le_bytes());
    request[8..].copy_from_slice(&up.to_le_bytes());
    request
}

/// A client that carries bulk.
pub(crate) enum Bulk {
    AtOnce(Client),
    OneAfterTheOther(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// What it took to carry so many bytes each way.
pub(crate) struct Carried {
    /// Of all threads of the client.
    pub(crate) processor_ms: f64,
    pub(crate) clock: Duration,
}

impl Bulk {
    pub(crate) fn connect(peer: &Peer, maker: Maker) -> Outcome<Self> {
        Ok(match maker {
            Maker::Windlass => Bulk::AtOnce(peer.client()?),
            Maker::Std => Bulk::OneAfterTheOther(Box::new(peer.stream()?)),
        })
    }

    pub(crate) fn carry(&mut self, bytes: u64) -> Outcome<Carried> {
        let since = Instant::now();
        let ns = match self {
            Bulk::AtOnce(client) => both_at_once(client, bytes)?,
            Bulk::OneAfterTheOther(stream) => one_after_the_other(stream, bytes)?,
        };
        Ok(Carried { processor_ms: ns as f64 / 1e6, clock: since.elapsed() })
    }
}

/// So many bytes both ways, by two threads; returns the processor time of both.
fn both_at_once(client: &Client, bytes: u64) -> Outcome<u64> {
    let mut wire = client;
    wire.write_all(&request(bytes, bytes))?;
    // Each thread's whole life is its work.
    let timed = |work: &mut dyn FnMut() -> std::io::Result<()>| {
        let since = own_thread_ns().map_err(|error| error.to_string())?;
        work().map_err(|error| error.to_string())?;
        Ok::<u64, String>(own_thread_ns().map_err(|error| error.to_string())? - since)
    };
    thread::scope(|scope| {
        let writing = scope.spawn(|| timed(&mut || peer::write(client, bytes)));
        // And the byte that says that all has come.
        let reading = scope.spawn(|| timed(&mut || peer::read(client, bytes + 1)));
        let joined = |thread: thread::ScopedJoinHandle<'_, Result<u64, String>>| {
            thread.join().map_err(|_| "a thread panicked".to_owned())?
        };
        Ok(joined(writing)? + joined(reading)?)
    })
}

/// So many bytes one way and then the other, by this thread; returns its processor time.
fn one_after_the_other(stream: &mut (impl Read + Write), bytes: u64) -> Outcome<u64> {
    let since = own_thread_ns()?;
    stream.write_all(&request(bytes, 0))?;
    stream.flush()?;
    peer::read(&mut *stream, bytes + 1)?;
    stream.write_all(&request(0, bytes))?;
    peer::write(&mut *stream, bytes)?;
    peer::read(stream, 1)?;
    Ok(own_thread_ns()? - since)
}
