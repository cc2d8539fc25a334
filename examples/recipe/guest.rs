//! The echo server that the recipes put into a foreign loop: what is the same, whatever the loop is.

use crate::options::Options;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use windlass::{Address, Conn, Handler, Limits, ListenConfig, Reactor, ReactorConfig};

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

/// A reactor that listens on free loopback ports: plain and, if it was built with that, with TLS. The certificate goes into
/// `folder`.
pub(crate) fn begin(options: &Options, folder: &Path) -> Result<Reactor, Box<dyn Error>> {
    let config = ReactorConfig { events_per_turn: options.events_per_turn, ..ReactorConfig::default() };
    let mut reactor = Reactor::new(config)?;
    let limits = Limits { idle_timeout: options.idle, ..Limits::default() };
    let plain = ListenConfig { limits, ..ListenConfig::default() };
    for (address, config) in
        [("tcp://127.0.0.1:0", Some(plain.clone())), ("tls://127.0.0.1:0", secured(plain, folder)?)]
    {
        if let Some(config) = config {
            reactor.listen(&address.parse::<Address>()?, config, |_: &Conn<'_>| Echo)?;
        }
    }
    Ok(reactor)
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn secured(plain: ListenConfig, folder: &Path) -> Result<Option<ListenConfig>, Box<dyn Error>> {
    let tls = crate::tls::server(&Default::default(), folder)?.build()?;
    Ok(Some(ListenConfig { tls: Some(tls), ..plain }))
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
fn secured(_: ListenConfig, _: &Path) -> Result<Option<ListenConfig>, Box<dyn Error>> {
    Ok(None)
}

/// Tells where it listens. Whoever reads it may send a signal: they are watched before.
pub(crate) fn announce(reactor: &mut Reactor, folder: &Path) -> io::Result<()> {
    for (_, address) in reactor.context().listeners() {
        println!("listening on {address}");
        match address.ip() {
            Some(ip) if address.transport().is_tls() => {
                let trust = folder.join("echo.pem");
                println!("  talk to it: openssl s_client -quiet -connect {ip} -CAfile {}", trust.display());
            }
            Some(ip) => println!("  talk to it: nc {} {}", ip.ip(), ip.port()),
            None => {}
        }
    }
    println!("  stop it with Ctrl-C");
    io::stdout().flush()
}

/// Tells how far the reactor is, which costs it no turn.
pub(crate) fn tell_stats(reactor: &Reactor) {
    let counters = reactor.snapshot();
    println!("stats: connections {} turns {}", reactor.connections(), counters.turns);
}
