//! Processor time of a proxy per message, between a steady load and an echo server: `Conn::relay` beside handlers that
//! pass on by `write_some` and `pause`, as the guide has them.

use std::io::Read;
use std::path::PathBuf;

use windlass::tls::Pem;
use windlass::{
    Address, Conn, ConnId, ConnectConfig, EngineConfig, Handler, ListenConfig, Reason, Server as Proxy, ServerTls,
};

use crate::cpu;
use crate::options::Options;
use crate::plan::Shape;
use crate::rig::Outcome;
use crate::rig::child::own_executable;
use crate::rig::hosted::{ANYWHERE, Hosted};
use crate::rig::launch::Core;
use crate::rig::peer::Peer;
use crate::rig::report::Report;

pub(crate) fn run(shape: Shape, options: &Options, report: &mut Report) -> Outcome<()> {
    // The echo server shares the load's core.
    let own = own_executable()?.display().to_string();
    let echo = Hosted::start(Core::Load, &[&own, "--bare"], &[ANYWHERE])?;
    let target = format!("tcp://{}", echo.address());
    let by_hand = Peer::own("by handlers", &["--proxy", "--how", "handlers"])?;
    let relay = Peer::own("relay", &["--proxy", "--how", "relay"])?;
    cpu::measure(shape, "proxy", &["--target", &target], &[&by_hand, &relay], options, report)
}

#[derive(Clone, Copy)]
enum How {
    Relay,
    Handlers,
}

/// One side of a proxied connection.
struct Side {
    how: How,
    /// Where an accepted one connects to.
    target: Option<Address>,
    other: Option<ConnId>,
}

impl Side {
    fn with_other(&self, conn: &mut Conn<'_>, change: impl FnOnce(&mut windlass::Other<'_>)) {
        if let Some(mut other) = self.other.and_then(|other| conn.other(other)) {
            change(&mut other);
        }
    }
}

impl Handler for Side {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        match (self.target.take(), self.how) {
            (Some(target), how) => {
                conn.pause();
                let dialled = Side { how, target: None, other: Some(conn.id()) };
                self.other = conn.connect(&target, ConnectConfig::default(), dialled).ok();
            }
            (None, How::Handlers) => self.with_other(conn, |other| other.resume()),
            (None, How::Relay) => {
                if self.other.is_none_or(|other| conn.relay(other).is_err()) {
                    conn.abort();
                }
            }
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let Some(mut other) = self.other.and_then(|other| conn.other(other)) else { return data.len() };
        let taken = other.write_some(data);
        if taken < data.len() {
            conn.pause();
        }
        taken
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        self.with_other(conn, |other| other.resume());
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, _: &[u8]) {
        self.with_other(conn, |other| other.finish());
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        self.with_other(conn, |other| other.close());
    }
}

/// The proxy: one reactor, until its input ends.
pub(crate) fn proxy(arguments: &[String]) -> Outcome<()> {
    let (mut listen, mut target, mut how) = (Vec::new(), None, How::Relay);
    let (mut chain, mut key) = (PathBuf::new(), PathBuf::new());
    for pair in arguments.chunks(2) {
        match pair {
            [option, value] if option == "--listen" => listen.push(value.parse::<Address>()?),
            [option, value] if option == "--target" => target = Some(value.parse::<Address>()?),
            [option, value] if option == "--how" && value == "handlers" => how = How::Handlers,
            [option, value] if option == "--how" && value == "relay" => how = How::Relay,
            [option, value] if option == "--cert" => chain = value.into(),
            [option, value] if option == "--key" => key = value.into(),
            _ => return Err(format!("unknown option: {pair:?}").into()),
        }
    }
    let target = target.ok_or("--target is missing")?;
    let mut config = ListenConfig::default();
    if listen.iter().any(|address| address.transport().is_tls()) {
        config.tls = Some(ServerTls::builder().certificate(Pem::file(chain), Pem::file(key)).build()?);
    }
    let builder = Proxy::builder().listen_config(config);
    let builder = listen.into_iter().fold(builder, |builder, address| builder.address(address));
    let server = builder
        .engine_config(EngineConfig { reactors: 1, ..EngineConfig::default() })
        .handler(move || {
            let target = target.clone();
            move |_: &Conn<'_>| Side { how, target: Some(target.clone()), other: None }
        })
        .build()?;
    server.listen()?;
    for address in server.local_addresses() {
        println!("listening on {address}");
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
