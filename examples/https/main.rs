//! A small web server for the files of a folder, over HTTP/1.1, plain or with TLS.
//!
//! `cargo run --release --example https -- --root FOLDER` listens on free loopback ports and tells how to talk to it.
//! SIGTERM and SIGINT drain: what was asked is answered to its end.

#[path = "../echo/command.rs"]
mod command;
#[path = "../echo/signals.rs"]
mod signals;
#[path = "../echo/tls.rs"]
mod tls;

mod exchange;
mod options;
mod request;
mod site;

use exchange::Exchange;
use options::{Options, USAGE, parse};
use site::Site;
use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Accept, Address, Conn, Limits, ListenConfig, Peer, Reactor};

/// How long a connection may be silent between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(30);

/// What is asked for in plain where TLS is spoken is answered in plain.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 33\r\n\
    Connection: close\r\n\r\nThis port speaks TLS: use https.\r\n";

/// What a request in plain HTTP begins with. Who says anything else gets TLS' own alert.
const METHODS: [&str; 9] = ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "];

struct Front {
    site: Rc<RefCell<Site>>,
}

impl Accept for Front {
    type Handler = Exchange;

    fn make(&mut self, _: &Conn<'_>) -> Exchange {
        Exchange::new(self.site.clone())
    }

    fn answer_plain(&mut self, _: &Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        METHODS.iter().any(|method| bytes.starts_with(method.as_bytes())).then(|| NOT_TLS.to_vec())
    }
}

fn main() -> ExitCode {
    command::run("https", USAGE, parse(std::env::args_os().skip(1)), serve)
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let listen: Vec<Address> = if options.listen.is_empty() {
        vec!["tcp://127.0.0.1:0".parse()?, "tls://127.0.0.1:0".parse()?]
    } else {
        options.listen
    };
    let mut reactor = Reactor::new(Default::default())?;
    let site = Rc::new(RefCell::new(Site::open(&options.root)?));
    let limits = Limits { idle_timeout: Some(KEEP_ALIVE), ..Limits::default() };
    let plain = ListenConfig { limits, ..ListenConfig::default() };
    let mut secured = plain.clone();
    let trusts = if options.identity.is_some() { "" } else { " --cacert " };
    if listen.iter().any(|address| address.transport().is_tls()) {
        let files = tls::Files { identity: options.identity, client_ca: None };
        secured.tls = Some(tls::server(&files, folder.path())?.alpn(["http/1.1"]).build()?);
    }
    // Whoever reads that it listens may send a signal.
    let mut seen = 0;
    let stops = [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT];
    signals::on_signals(&mut reactor.context(), &stops, move |cx, signals| {
        seen += signals;
        cx.shutdown(if seen == 1 { DRAIN } else { Duration::ZERO });
    })?;
    for address in &listen {
        let is_tls = address.transport().is_tls();
        let config = if is_tls { secured.clone() } else { plain.clone() };
        let id = reactor.listen(address, config, Front { site: site.clone() })?;
        let real = reactor.listener_address(id).ok_or("the listener is gone")?;
        println!("listening on {real}");
        match real.ip() {
            Some(ip) if is_tls && !trusts.is_empty() => {
                println!("  curl{trusts}{} https://{ip}/", folder.path().join(tls::CERTIFICATE).display());
            }
            Some(ip) => println!("  curl {}://{ip}/", if is_tls { "https" } else { "http" }),
            None => {}
        }
    }
    println!("serving {}", options.root.display());
    io::stdout().flush()?;
    let report = reactor.run()?;
    println!("drained: {report}");
    Ok(())
}
