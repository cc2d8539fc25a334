//! Clients that end their connections in every way there is, and count what they sent and received.
//!
//! Owns one thread's part: batches of connections of one kind, opened together and ended together.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::SockRef;

use crate::host;
use crate::rig::Outcome;
use crate::rig::certificate;
use crate::rig::dial::dial;

const MESSAGE_BYTES: usize = 32;
/// Source addresses of those that are served: 127.0.0.2 to 127.0.0.191. The ones behind them are refused.
const SERVED_SOURCES: usize = 190;
const REFUSED_SOURCES: usize = 9;
/// What the host is to refuse: 127.0.0.192 and up.
pub(crate) const REFUSED: &str = "127.0.0.192/26";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client closes when its message is back.
    Clean,
    /// It ends its side behind its message, and reads to the end.
    HalfClose,
    /// It resets when its message is back.
    Reset,
    /// It resets at once.
    ResetAtOnce,
    /// The server refuses it.
    Refused,
    /// It says no more when its message is back.
    Idle,
    /// The server echoes, and closes.
    ServerClose,
    /// The server aborts.
    ServerAbort,
    /// The client speaks HTTP to a port with TLS.
    PlainToTls,
    /// Its hello is garbage.
    BadHello,
    /// TLS, ended by both sides in order.
    Tls,
    /// TLS, and the client's FIN without a close_notify.
    TlsTruncated,
    /// It stays until the server's drain, which it cuts short.
    Drained,
    /// It stays, and closes when the server does.
    Polite,
}

/// What clients sent and received, TLS and all.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: Traffic) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// Where the clients connect.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// One that closes idle connections soon.
    pub(crate) idle: SocketAddr,
    pub(crate) config: Arc<ClientConfig>,
}

impl Places {
    /// Plays `count` connections of a kind, so many at a time; returns their traffic.
    pub(crate) fn play(&self, ending: Ending, count: usize, width: usize) -> Outcome<Traffic> {
        let mut sum = Traffic::default();
        for first in (0..count).step_by(width) {
            let numbers = first..count.min(first + width);
            let open = numbers.map(|number| self.begin(ending, number)).collect::<Outcome<Vec<_>>>()?;
            for client in open {
                sum.add(client.end(ending).map_err(|error| format!("{ending:?}: {error}"))?);
            }
        }
        Ok(sum)
    }

    /// Opens a connection, and does what comes before its end.
    pub(crate) fn begin(&self, ending: Ending, number: usize) -> Outcome<Client> {
        let source = match ending {
            Ending::Refused => SERVED_SOURCES + number % REFUSED_SOURCES,
            _ => number % SERVED_SOURCES,
        };
        let address = match ending {
            Ending::PlainToTls | Ending::BadHello | Ending::Tls | Ending::TlsTruncated => self.tls,
            Ending::Idle => self.idle,
            _ => self.plain,
        };
        let stream = TcpStream::from(dial(address, source).map_err(|error| format!("{ending:?} {number}: {error}"))?);
        stream.set_read_timeout(Some(ANSWER_TIME_MAX))?;
        let mut counted = Counted { stream, traffic: Traffic::default() };
        let session = match ending {
            Ending::Tls | Ending::TlsTruncated => {
                Some(ClientConnection::new(self.config.clone(), certificate::NAME.try_into()?)?)
            }
            _ => None,
        };
        let text = message(ending);
        match session {
            None => {
                counted.write_all(&text)?;
                Ok(Client::Plain(counted))
            }
            Some(session) => {
                let mut stream = StreamOwned::new(session, counted);
                stream.write_all(&text)?;
                stream.flush()?;
                Ok(Client::Tls(Box::new(stream)))
            }
        }
    }
}

/// What a client says first.
fn message(ending: Ending) -> Vec<u8> {
    let first = match ending {
        Ending::Clean | Ending::HalfClose | Ending::Reset | Ending::Idle | Ending::Polite => b'E',
        Ending::Tls | Ending::TlsTruncated => b'E',
        Ending::ServerClose => host::CLOSE,
        Ending::ServerAbort => host::ABORT,
        Ending::Drained => host::STAY,
        Ending::PlainToTls => return b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        // The header of a record with a handshake message of 27 bytes, which is none.
        Ending::BadHello => return [&[22, 3, 1, 0, 27][..], &[0xA5; 27]].concat(),
        Ending::ResetAtOnce | Ending::Refused => return Vec::new(),
    };
    let mut text = vec![b'.'; MESSAGE_BYTES];
    text[0] = first;
    text
}

/// A connection that counts its bytes.
pub(crate) struct Counted {
    stream: TcpStream,
    traffic: Traffic,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.traffic.received += count as u64;
        Ok(count)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(bytes)?;
        self.traffic.sent += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client that has said its message.
pub(crate) enum Client {
    Plain(Counted),
    Tls(Box<StreamOwned<ClientConnection, Counted>>),
}

impl Client {
    /// Waits for the echo.
    pub(crate) fn heard(mut self) -> Outcome<Self> {
        let mut echo = [0; MESSAGE_BYTES];
        match &mut self {
            Client::Plain(client) => client.read_exact(&mut echo)?,
            Client::Tls(client) => client.read_exact(&mut echo)?,
        }
        Ok(self)
    }

    /// What it has sent and received so far.
    pub(crate) fn traffic(&self) -> Traffic {
        match self {
            Client::Plain(client) => client.traffic,
            Client::Tls(client) => client.sock.traffic,
        }
    }

    /// Ends it as its kind does, and returns what it has sent and received.
    pub(crate) fn end(self, ending: Ending) -> Outcome<Traffic> {
        match self {
            Client::Plain(client) => client.end(ending),
            Client::Tls(client) => end_tls(*client, ending),
        }
    }
}

impl Counted {
    fn end(mut self, ending: Ending) -> Outcome<Traffic> {
        let mut echo = [0; MESSAGE_BYTES];
        match ending {
            Ending::Clean => self.read_exact(&mut echo)?,
            Ending::Reset => {
                self.read_exact(&mut echo)?;
                self.reset()?;
            }
            Ending::ResetAtOnce => self.reset()?,
            Ending::HalfClose => {
                self.stream.shutdown(Shutdown::Write)?;
                self.read_to_the_end()?;
            }
            Ending::Refused | Ending::Idle | Ending::ServerClose | Ending::ServerAbort | Ending::PlainToTls => {
                self.read_to_the_end()?;
            }
            Ending::BadHello | Ending::Drained | Ending::Polite => self.read_to_the_end()?,
            Ending::Tls | Ending::TlsTruncated => return Err("it has TLS".into()),
        }
        Ok(self.traffic)
    }

    /// Has the close be a reset.
    fn reset(&self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    /// Reads until the server's end, or its reset.
    fn read_to_the_end(&mut self) -> io::Result<()> {
        loop {
            match self.read(&mut [0; 1024]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn end_tls(mut client: StreamOwned<ClientConnection, Counted>, ending: Ending) -> Outcome<Traffic> {
    client.read_exact(&mut [0; MESSAGE_BYTES])?;
    if ending == Ending::Tls {
        client.conn.send_close_notify();
        client.conn.write_tls(&mut client.sock)?;
    }
    client.sock.stream.shutdown(Shutdown::Write)?;
    // What still comes, the close_notify of the server among it, is only counted.
    client.sock.read_to_the_end()?;
    Ok(client.sock.traffic)
}
