//! A proxy that lets so many bytes a second through: a slow line, to test programs on.
//!
//! `throttle LISTEN TARGET --bytes-per-second N [--burst N]`, as `throttle tcp://127.0.0.1:8000 tcp://localhost:80
//! --bytes-per-second 20000`. Each direction of each connection has a token bucket of its own. SIGTERM and SIGINT drain,
//! a second one cuts what is left.
//!
//! Where the bucket is empty the connection pauses, and its timer resumes it when there is something in it again: nothing
//! is polled. Meanwhile the kernel's receive buffer fills, and TCP tells the peer to wait.

#[path = "../echo/command.rs"]
mod command;
#[path = "../echo/signals.rs"]
mod signals;

mod bucket;
mod options;

use bucket::{Bucket, Rate};
use options::{Options, USAGE, parse};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use windlass::{Address, Conn, ConnId, ConnectConfig, Handler, Limits, ListenConfig, Reactor, ReactorConfig, Reason};

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(10);

/// One side of a pair; each limits what it reads.
struct Side {
    rate: Rate,
    bucket: Bucket,
    peer: Pairing,
}

/// What a side has for its other side.
enum Pairing {
    /// Nothing yet: it is to connect there.
    To(Address),
    With(ConnId),
}

impl Side {
    fn other(&self) -> Option<ConnId> {
        match self.peer {
            Pairing::To(_) => None,
            Pairing::With(id) => Some(id),
        }
    }
}

impl Handler for Side {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.bucket = Bucket::new(self.rate, conn.now());
        match &self.peer {
            Pairing::To(target) => {
                conn.pause(); // until the other side is open
                let other = Side { peer: Pairing::With(conn.id()), ..*self };
                let config = ConnectConfig { limits: limits(), ..ConnectConfig::default() };
                match conn.connect(target, config, other) {
                    Ok(id) => self.peer = Pairing::With(id),
                    Err(error) => {
                        eprintln!("throttle: {error}");
                        conn.abort();
                    }
                }
            }
            Pairing::With(client) => match conn.other(*client) {
                Some(mut client) => client.resume(),
                None => conn.close(), // it did not wait
            },
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let now = conn.now();
        let allowed = self.bucket.available(now).min(data.len() as u64) as usize;
        let Some(mut other) = self.other().and_then(|id| conn.other(id)) else { return data.len() };
        let taken = other.write_some(&data[..allowed]);
        self.bucket.spend(now, taken as u64);
        if taken < data.len() {
            // Until the other side has room, which `on_writable` tells, or until the bucket holds something.
            conn.pause();
            if taken == allowed {
                conn.set_timer(self.bucket.wait(now, (data.len() - taken) as u64));
            }
        }
        taken
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        conn.resume();
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        if let Some(mut other) = self.other().and_then(|id| conn.other(id)) {
            other.resume(); // if its bucket is empty, it pauses again
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, _rest: &[u8]) {
        match self.other().and_then(|id| conn.other(id)) {
            Some(mut other) => other.finish(),
            None => conn.close(),
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        if let Some(mut other) = self.other().and_then(|id| conn.other(id)) {
            match reason {
                Reason::PeerClosed | Reason::Local | Reason::Drain => other.close(),
                _ => other.abort(),
            }
        }
    }
}

/// Little waits here; the rest waits at the peer.
fn limits() -> Limits {
    Limits { inbox_bytes_max: 32 * 1024, bytes_per_turn: 32 * 1024, ..Limits::default() }
}

fn main() -> ExitCode {
    command::run("throttle", USAGE, parse(std::env::args().skip(1)), serve)
}

fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let Options { listen, target, rate } = options;
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let make =
        move |conn: &Conn<'_>| Side { rate, bucket: Bucket::new(rate, conn.now()), peer: Pairing::To(target.clone()) };
    let config = ListenConfig { limits: limits(), ..ListenConfig::default() };
    let id = reactor.listen(&listen, config, make)?;
    let real = reactor.listener_address(id).ok_or("the listener is gone")?;
    let mut seen = 0;
    let signals = [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT];
    signals::on_signals(&mut reactor.context(), &signals, move |cx, came| {
        seen += came;
        cx.shutdown(if seen == 1 { DRAIN } else { Duration::ZERO });
    })?;
    println!("listening on {real}");
    io::stdout().flush()?;
    println!("drained: {}", reactor.run()?);
    Ok(())
}
