//! Connects to a name by TLS, prints what was agreed on, sends what is typed, and connects again when it ends.
//!
//! `tls_client HOST:PORT [--ca PEM] [--alpn NAME]… [--tries N]`. It trusts the platform's roots, and those of `--ca` besides.
//! After an end it waits half a second at most, then twice as long each time, up to 30 s; after `--tries` (default: no limit)
//! failures in a row it gives up. A later connection resumes the session of an earlier one. The end of standard input ends
//! it.

use std::io::Read;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;
use windlass::tls::Pem;
use windlass::{
    Address, Backoff, ClientTls, Conn, ConnId, ConnectConfig, Connector, ConnectorState, Handler, Reactor, Reason,
    Remote,
};

/// Prints what comes.
struct Talk(Address);

impl Handler for Talk {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let Some(tls) = conn.tls() else { return };
        println!("connected to {}", self.0);
        let version = tls.version().and_then(|version| version.as_str()).unwrap_or("?");
        let suite = tls.suite().and_then(|suite| suite.as_str()).unwrap_or("?");
        let group = tls.group().and_then(|group| group.as_str()).unwrap_or("none");
        println!("  {version}, {suite}, {group}");
        let alpn = tls.alpn().map_or("none".into(), String::from_utf8_lossy);
        println!("  protocol: {alpn}; resumed: {}", if tls.is_resumed() { "yes" } else { "no" });
        let sizes: Vec<_> = tls.peer_certificates().unwrap_or_default().iter().map(|one| one.len()).collect();
        println!("  certificates: {} of {} bytes", sizes.len(), sizes.iter().sum::<usize>());
    }

    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        print!("{}", String::from_utf8_lossy(data));
        data.len()
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        println!("closed: {reason}");
    }
}

/// What is typed goes to the connection there is, on a thread of its own, since a terminal is read by waiting for it.
struct Typing {
    remote: Remote,
    current: Mutex<Option<ConnId>>,
    is_over: AtomicBool,
    /// From the first connection on.
    begun: Once,
}

impl Typing {
    fn current(&self) -> Option<ConnId> {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_current(&self, id: Option<ConnId>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    fn begin(self: &Arc<Self>) {
        let typing = self.clone();
        self.begun.call_once(|| {
            std::thread::spawn(move || typing.type_in());
        });
    }

    fn type_in(&self) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut bytes) {
            let sent = self.current().map(|id| self.remote.send(id, bytes[..count].to_vec().into()));
            if !matches!(sent, Some(Ok(()))) {
                eprintln!("tls_client: not connected, or too much waits: {count} bytes were dropped");
            }
        }
        self.is_over.store(true, Ordering::Release);
        // What the peer still has to say comes before the end; where nothing is connected that is now.
        let finished = self.current().map(|id| self.remote.finish(id));
        if !matches!(finished, Some(Ok(()))) {
            self.end();
        }
    }

    /// Ends the program. It fails only if the reactor has stopped already.
    fn end(&self) {
        let _ = self.remote.stop(Duration::ZERO);
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut address, mut builder, mut alpn, mut tries) = (None, ClientTls::builder(), Vec::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--ca" => builder = builder.more_roots(Pem::file(value()?)),
            "--alpn" => alpn.push(value()?),
            "--tries" => tries = Some(value()?.parse()?),
            _ => address = Some(format!("tls://{}", argument.trim_start_matches("tls://")).parse::<Address>()?),
        }
    }
    let address = address.ok_or("usage: tls_client HOST:PORT [--ca PEM] [--alpn NAME]... [--tries N]")?;
    let config = ConnectConfig { tls: Some(builder.alpn(alpn).build()?), ..ConnectConfig::default() };

    let mut reactor = Reactor::new(Default::default())?;
    let remote = reactor.remote();
    let typing =
        Typing { remote: remote.clone(), current: Mutex::default(), is_over: false.into(), begun: Once::new() };
    let typing = Arc::new(typing);
    let on_state = move |state: &ConnectorState| match state {
        ConnectorState::Connected(id) => {
            typing.set_current(Some(*id));
            typing.begin();
        }
        ConnectorState::Lost(_) => {
            typing.set_current(None);
            if typing.is_over.load(Ordering::Acquire) {
                typing.end();
            }
        }
        ConnectorState::Failed(error) => eprintln!("tls_client: {error}"),
        ConnectorState::Waiting(_) => println!("{state}"),
        ConnectorState::Stopped => typing.end(),
        _ => {}
    };
    let first = Duration::from_millis(500);
    let _connector = Connector::builder(address.clone())
        .connect_config(config)
        .backoff(Backoff { first, attempts_max: tries, ..Backoff::default() })
        .on_state(on_state)
        .start(&remote, move |_: &Conn<'_>| Talk(address.clone()))?;
    reactor.run()?;
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tls_client: {error}");
            ExitCode::FAILURE
        }
    }
}
