//! What receives the messages of an outlet, and checks each of them.
//!
//! It opens [`CONNECTIONS`] and prints `ok`; the line `expect COUNT` on its input is answered by `ok` when so many more
//! messages have come, or by `failed: REASON`.

use std::io::{BufRead, ErrorKind, Read};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::rig::Outcome;
use crate::rig::dial::dial;
use crate::tally::{CONNECTIONS, MESSAGE_BYTES, Tally};

const READ_BYTES: usize = 64 * 1024;
/// Nothing came for so long: messages are lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Arguments: an address.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [address] = arguments else {
        return Err("--inlets wants an address".into());
    };
    let mut inlets = Inlets::open(address.strip_prefix("tcp://").ok_or("--inlets wants tcp://IP:PORT")?.parse()?)?;
    println!("ok");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let count = line.strip_prefix("expect ").ok_or_else(|| format!("unknown order `{line}`"))?.parse()?;
        match inlets.expect(count) {
            Ok(()) => println!("ok"),
            Err(error) => println!("failed: {error}"),
        }
    }
    Ok(())
}

struct Inlets {
    poll: Poll,
    inlets: Vec<Inlet>,
}

struct Inlet {
    stream: TcpStream,
    tally: Tally,
    /// The beginning of a message whose rest has not come.
    part: Vec<u8>,
}

impl Inlets {
    fn open(address: SocketAddr) -> Outcome<Self> {
        let poll = Poll::new()?;
        let mut inlets = Vec::new();
        for number in 0..CONNECTIONS {
            let socket = dial(address, number)?;
            socket.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(socket.into());
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            inlets.push(Inlet { stream, tally: Tally::default(), part: Vec::new() });
        }
        Ok(Inlets { poll, inlets })
    }

    /// Takes `count` messages.
    fn expect(&mut self, count: usize) -> Outcome<()> {
        let mut events = Events::with_capacity(CONNECTIONS);
        let mut buffer = vec![0; READ_BYTES];
        let mut came = 0;
        while came < count {
            match self.poll.poll(&mut events, Some(SILENCE_MAX)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            if events.is_empty() {
                return Err(format!("{came} of {count} messages came, then none for {SILENCE_MAX:?}").into());
            }
            for event in &events {
                let number = event.token().0;
                let taken = self.inlets[number].take(&mut buffer);
                came += taken.map_err(|error| format!("connection {number}: {error}"))?;
            }
        }
        if came == count { Ok(()) } else { Err(format!("{came} messages came, not {count}").into()) }
    }
}

impl Inlet {
    /// Reads until there is nothing; returns how many messages came.
    fn take(&mut self, buffer: &mut [u8]) -> Outcome<usize> {
        let mut came = 0;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err("it ended".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(came),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.part.extend_from_slice(&buffer[..count]);
            let messages = self.part.chunks_exact(MESSAGE_BYTES);
            let rest = messages.remainder().len();
            for message in messages {
                self.tally.take(message)?;
                came += 1;
            }
            self.part.drain(..self.part.len() - rest);
            if count < buffer.len() {
                return Ok(came);
            }
        }
    }
}
