//! Connects to a name by TLS, prints what was agreed on, sends what is typed, and connects again when it ends.
//!
//! `tls_client HOST:PORT [--ca PEM] [--alpn NAME]… [--tries N]`. It trusts the platform's roots, and those of `--ca` besides.
//! After an end it waits 0.5 s, then twice as long each time, at most 30 s; after `--tries` (default: no limit) failures
//! in a row it gives up. The end of standard input ends it.

use std::io::Read;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use windlass::tls::Pem;
use windlass::{Address, Conn, ConnId, ConnectConfig, Handler, Reactor, Reason, Remote, TlsClient, Turn};

const WAIT: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What all attempts share, and the thread that reads what is typed.
struct Session {
    address: Address,
    tls: TlsClient,
    tries: u32,
    state: Mutex<State>,
    /// What is typed is read from the first connection on.
    typing: Once,
}

#[derive(Default)]
struct State {
    failures: u32,
    current: Option<ConnId>,
    is_over: bool,
}

impl Session {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection.
struct Talk(Arc<Session>);

impl Handler for Talk {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let mut state = self.0.state();
        state.failures = 0;
        state.current = Some(conn.id());
        drop(state);
        let (session, remote) = (self.0.clone(), conn.remote());
        self.0.typing.call_once(|| {
            std::thread::spawn(move || type_in(&session, &remote));
        });
        let Some(tls) = conn.tls() else { return };
        println!("connected to {}", self.0.address);
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

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        println!("closed: {reason}");
        self.0.state().current = None;
        again(&self.0, conn.turn());
    }
}

/// Connects, or tries again later.
fn connect(session: &Arc<Session>, turn: &mut Turn<'_>) {
    let config = ConnectConfig { tls: Some(session.tls.clone()), ..ConnectConfig::default() };
    if let Err(error) = turn.connect(&session.address, config, Talk(session.clone())) {
        eprintln!("tls_client: {error}");
        again(session, turn);
    }
}

fn again(session: &Arc<Session>, turn: &mut Turn<'_>) {
    let mut state = session.state();
    state.failures += 1;
    if state.is_over || state.failures >= session.tries {
        return turn.shutdown(Duration::ZERO);
    }
    let wait = WAIT.saturating_mul(1 << (state.failures - 1).min(16)).min(WAIT_MAX);
    println!("again in {:.1} s", wait.as_secs_f64());
    let session = session.clone();
    turn.after(wait, move |turn| connect(&session, turn));
}

/// Sends what is typed, on a thread of its own, since a terminal is read by waiting for it; ends with the end of input.
fn type_in(session: &Arc<Session>, remote: &Remote) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = std::io::stdin().read(&mut bytes) {
        let sent = session.state().current.map(|id| remote.send(id, bytes[..count].to_vec().into()));
        if !matches!(sent, Some(Ok(()))) {
            eprintln!("tls_client: not connected, or too much waits: {count} bytes were dropped");
        }
    }
    session.state().is_over = true;
    let session = session.clone();
    // It fails only if the reactor has stopped already.
    let _ = remote.run(move |turn| {
        let current = session.state().current;
        match current.and_then(|id| turn.other(id)) {
            Some(mut conn) => conn.finish(),
            None => turn.shutdown(Duration::ZERO),
        }
    });
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let (mut address, mut builder, mut alpn, mut tries) = (None, TlsClient::builder(), Vec::new(), u32::MAX);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--ca" => builder = builder.more_roots(Pem::file(value()?)),
            "--alpn" => alpn.push(value()?),
            "--tries" => tries = value()?.parse()?,
            _ => address = Some(format!("tls://{}", argument.trim_start_matches("tls://")).parse::<Address>()?),
        }
    }
    let address = address.ok_or("usage: tls_client HOST:PORT [--ca PEM] [--alpn NAME]... [--tries N]")?;
    let tls = builder.alpn(alpn).build()?;
    let session = Arc::new(Session { address, tls, tries, state: Mutex::default(), typing: Once::new() });

    let mut reactor = Reactor::new(Default::default())?;
    connect(&session, &mut reactor.turn());
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
