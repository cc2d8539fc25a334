//! A proxy of two coupled connections: bytes, half-closes and resets go through, and a slow reader slows its sender down.
//!
//! `proxy LISTEN TARGET`, both addresses: `proxy tcp://127.0.0.1:8000 unix:/run/app.sock`. The accepted side is not read until the
//! other one is open; from then on neither handler is called before its end.

#[path = "echo/command.rs"]
mod command;

use windlass::{
    Address, AddressError, Conn, ConnId, ConnectConfig, Handler, ListenConfig, Reactor, ReactorConfig, Reason,
};

/// The side that was accepted.
struct Front {
    target: Address,
}

impl Handler for Front {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        conn.pause(); // until the other side is open
        let back = Back { front: Some(conn.id()) };
        if let Err(error) = conn.connect(&self.target, ConnectConfig::default(), back) {
            eprintln!("proxy: {error}");
            conn.abort();
        }
    }

    fn on_data(&mut self, _: &mut Conn<'_>, _: &[u8]) -> usize {
        0
    }
}

/// The side that was dialled; it knows the other one until they are coupled.
struct Back {
    front: Option<ConnId>,
}

impl Handler for Back {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let coupled = self.front.take().is_some_and(|front| conn.relay(front).is_ok());
        if !coupled {
            conn.close(); // the other side did not wait
        }
    }

    fn on_data(&mut self, _: &mut Conn<'_>, _: &[u8]) -> usize {
        0
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        // The connect failed.
        if let Some(mut front) = self.front.and_then(|front| conn.other(front)) {
            front.abort();
        }
    }
}

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let asked = <[String; 2]>::try_from(args).map(Some).map_err(|_| "usage: proxy LISTEN TARGET");
    command::run("proxy", "", asked, serve)
}

fn serve([listen, target]: [String; 2]) -> Result<(), Box<dyn std::error::Error>> {
    let target: Address = target.parse()?;
    if target.is_unspecified() {
        return Err(AddressError::NoTarget(target.to_string()).into());
    }
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let make = move |_: &Conn<'_>| Front { target: target.clone() };
    let id = reactor.listen(&listen.parse()?, ListenConfig::default(), make)?;
    println!("listening on {}", reactor.listener_address(id).ok_or("the listener is gone")?);
    reactor.run()?;
    Ok(())
}
