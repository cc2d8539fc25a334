//! A load that is refused: its process, and that as the harness sees it.
//!
//! | order | answer |
//! |---|---|
//! | `hold` | `ok` when one connection from each source address has had a byte echoed; they stay |
//! | `knock COUNT` | `ok ELAPSED P50 P99 P999`, in nanoseconds, when so many connections were made and closed by the server |
//!
//! A failed order is answered by `failed: REASON` and ends the process, as does the end of the input.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::rig::Outcome;
use crate::rig::answer::Answer;
use crate::rig::dial::dial;
use crate::rig::launch::Core;
use crate::rig::load::obey_each;
use crate::rig::process::{Load, Server};

/// Source addresses, enough for the ports of closed connections.
const SOURCES: usize = 16;
/// Connections that knock at a time.
const WIDTH: usize = 64;
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(10);

/// Arguments: an address.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [address] = arguments else {
        return Err("--knock wants an address".into());
    };
    let address = address.strip_prefix("tcp://").ok_or("--knock wants tcp://IP:PORT")?.parse()?;
    let mut held = Vec::new();
    obey_each(|order, numbers| obey(address, order, numbers, &mut held))
}

fn obey(address: SocketAddr, order: &str, numbers: &[usize], held: &mut Vec<TcpStream>) -> Outcome<String> {
    match (order, numbers) {
        ("hold", []) => {
            for number in 0..SOURCES {
                let mut stream = connect(address, number)?;
                stream.write_all(b"h")?;
                stream.read_exact(&mut [0])?;
                held.push(stream);
            }
            Ok("ok".to_owned())
        }
        ("knock", &[count]) => {
            let mut latencies_ns = Vec::with_capacity(count);
            let begun = Instant::now();
            for first in (0..count).step_by(WIDTH) {
                let numbers = first..count.min(first + WIDTH);
                let knocking = numbers.map(|number| Ok((Instant::now(), connect(address, number)?)));
                for (started, stream) in knocking.collect::<Outcome<Vec<_>>>()? {
                    be_refused(stream)?;
                    latencies_ns.push(u32::try_from(started.elapsed().as_nanos()).unwrap_or(u32::MAX));
                }
            }
            let elapsed = begun.elapsed();
            latencies_ns.sort_unstable();
            Ok(format!("ok {}", Answer::of(elapsed, &latencies_ns)))
        }
        _ => Err(format!("unknown order `{order}` with {numbers:?}").into()),
    }
}

fn connect(address: SocketAddr, number: usize) -> Outcome<TcpStream> {
    let stream = TcpStream::from(dial(address, number % SOURCES)?);
    stream.set_read_timeout(Some(REFUSAL_TIME_MAX))?;
    Ok(stream)
}

fn be_refused(mut stream: TcpStream) -> Outcome<()> {
    match stream.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err("a byte came from a server that should refuse".into()),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(format!("a connection was not refused: {error}").into()),
    }
}

impl Load {
    /// One that knocks.
    pub(crate) fn start_to_knock(server: &Server) -> Outcome<Self> {
        Load::play(Core::Load, &["--knock", &server.address])
    }

    /// Takes up the places that one address may have.
    pub(crate) fn hold(&mut self) -> Outcome<()> {
        self.order("hold").map(drop)
    }

    pub(crate) fn knock(&mut self, count: usize) -> Outcome<Answer> {
        self.timed_order(&format!("knock {count}"))
    }
}
