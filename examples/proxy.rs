//! A proxy of two coupled links: bytes go through without a copy of ours, and each side waits for the other.
//!
//! `proxy LISTEN TARGET`, both addresses: `proxy tcp://127.0.0.1:8000 unix:/run/app.sock`. A half-close is passed on, and
//! so is a reset. What waits between the two is bounded by the limits of the links.

use std::process::ExitCode;
use windlass::{
    Address, AddressError, Conn, ConnId, ConnectConfig, Handler, ListenConfig, Reactor, ReactorConfig, Reason,
};

/// One side of a pair; both are handlers of this kind.
struct Side {
    other: Option<ConnId>,
    /// Where to, for the side that was accepted and has no other yet.
    target: Option<Address>,
}

impl Handler for Side {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let me = conn.id();
        match (self.target.take(), self.other) {
            (Some(target), _) => {
                conn.pause(); // until the other side is open
                match conn.connect(&target, ConnectConfig::default(), Side { other: Some(me), target: None }) {
                    Ok(id) => self.other = Some(id),
                    Err(error) => {
                        eprintln!("proxy: {error}");
                        conn.abort();
                    }
                }
            }
            (None, Some(client)) => match conn.other(client) {
                Some(mut client) => client.resume(),
                None => conn.close(), // it did not wait
            },
            (None, None) => conn.close(),
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let Some(mut other) = self.other.and_then(|id| conn.other(id)) else { return data.len() };
        let taken = other.write_some(data);
        if taken < data.len() {
            conn.pause(); // until the other side has room
        }
        taken
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        if let Some(mut other) = self.other.and_then(|id| conn.other(id)) {
            other.resume();
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, _rest: &[u8]) {
        match self.other.and_then(|id| conn.other(id)) {
            Some(mut other) => other.finish(),
            None => conn.close(),
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        if let Some(mut other) = self.other.and_then(|id| conn.other(id)) {
            match reason {
                Reason::PeerClosed | Reason::Local | Reason::Drain => other.close(),
                _ => other.abort(),
            }
        }
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [listen, target] = args.as_slice() else {
        eprintln!("usage: proxy LISTEN TARGET   (tcp://HOST:PORT, unix:/path)");
        return ExitCode::from(2);
    };
    match serve(listen, target) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(listen: &str, target: &str) -> Result<(), Box<dyn std::error::Error>> {
    let target: Address = target.parse()?;
    if target.is_unspecified() {
        return Err(AddressError::NoTarget(target.to_string()).into());
    }
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let make = move |_: &Conn<'_>| Side { other: None, target: Some(target.clone()) };
    let id = reactor.listen(&listen.parse()?, ListenConfig::default(), make)?;
    let real = reactor.listener_address(id).ok_or("the listener is gone")?;
    println!("listening on {real}");
    reactor.run()?;
    Ok(())
}
