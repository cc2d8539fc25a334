//! A SOCKS5 proxy (RFC 1928) for `curl --socks5-hostname`, `ssh` and browsers: CONNECT, with a password (RFC 1929) or without.
//!
//! `cargo run --release --example socks --features signals -- --listen tcp://127.0.0.1:1080`; `--help` lists the options. Names
//! are looked up on other threads. By default only public addresses are allowed, and no packet is sent to another one, whatever
//! name it has; `--allow` lists the allowed targets instead. A half-close and a reset are passed on. Bytes that wait between
//! the two sides are bounded by their limits. SIGTERM and SIGINT drain it.

#[path = "../echo/command.rs"]
mod command;
mod options;

use options::{Options, USAGE, parse};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use windlass::{Address, Conn, ConnId, ConnectConfig, Handler, ListenConfig, Reason, Server, Signals};

/// How long a client may take until its request is complete. Connecting has a timeout of its own.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(10);

/// A client or its target.
struct Side {
    options: Arc<Options>,
    stage: Stage,
}

/// What comes next.
enum Stage {
    Greeting,
    Login,
    Request,
    /// This target is being connected for a client.
    Target(ConnId),
    /// Bytes for the other side. A client is paused until its target is connected.
    Relay(ConnId),
}

impl Handler for Side {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let Stage::Target(client) = self.stage else { return conn.set_timer(HANDSHAKE) };
        self.stage = Stage::Relay(client);
        let Some(mut client) = conn.other(client) else { return conn.abort() };
        let _ = client.write(&reply(0)); // refused only if the client is closing
        client.resume();
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let used = match (&self.stage, data[0]) {
            (Stage::Greeting, 5) => self.greet(conn, data),
            (Stage::Login, 1) => self.log_in(conn, data),
            (Stage::Request, 5) => self.dial(conn, data),
            (Stage::Relay(other), _) => return pass_on(conn, *other, data),
            _ => refuse(conn, &[]), // this is not SOCKS5
        };
        used.unwrap_or(0)
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        conn.close();
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        if let Stage::Relay(other) = self.stage {
            conn.other(other).iter_mut().for_each(|other| other.resume());
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, _rest: &[u8]) {
        match self.stage {
            Stage::Relay(other) => conn.other(other).iter_mut().for_each(|other| other.finish()),
            _ => conn.close(),
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        let (Stage::Relay(other) | Stage::Target(other)) = self.stage else { return };
        let Some(mut other) = conn.other(other) else { return };
        match (&self.stage, reason) {
            (Stage::Target(_), _) => {
                let _ = other.write(&reply(code(reason)));
                other.close();
            }
            (_, Reason::PeerClosed | Reason::Local | Reason::Drain) => other.close(),
            _ => other.abort(),
        }
    }
}

/// Each method takes one message of the client and returns its length, or `None` if it is incomplete or was refused.
impl Side {
    fn greet(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> Option<usize> {
        let methods = field(data, 1)?;
        let (method, stage) = if self.options.login.is_some() { (2, Stage::Login) } else { (0, Stage::Request) };
        if !methods.contains(&method) {
            return refuse(conn, &[5, 0xff]);
        }
        self.stage = stage;
        conn.write(&[5, method]).ok().map(|()| 2 + methods.len())
    }

    fn log_in(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> Option<usize> {
        let user = field(data, 1)?;
        let end = 3 + user.len() + field(data, 2 + user.len())?.len();
        if !self.options.admits(&data[..end]) {
            return refuse(conn, &[1, 1]);
        }
        self.stage = Stage::Request;
        conn.write(&[1, 0]).ok().map(|()| end)
    }

    fn dial(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> Option<usize> {
        let &[_, command, _, kind, ref rest @ ..] = data else { return None };
        let (host, end) = match kind {
            _ if command != 1 => return refuse(conn, &reply(7)),
            1 => (IpAddr::from(*rest.first_chunk::<4>()?).to_string(), 10),
            4 => (IpAddr::from(*rest.first_chunk::<16>()?).to_string(), 22),
            3 => (String::from_utf8_lossy(field(data, 4)?).to_ascii_lowercase(), 7 + field(data, 4)?.len()),
            _ => return refuse(conn, &reply(8)),
        };
        let port = u16::from_be_bytes(*data.get(..end)?.last_chunk()?);
        let target = Address::tcp_host(&host, port).ok().filter(|target| self.options.allows(target));
        let Some(target) = target else { return refuse(conn, &reply(2)) };
        let other = Side { options: self.options.clone(), stage: Stage::Target(conn.id()) };
        conn.clear_timer();
        conn.pause();
        let resolver = self.options.resolver.clone();
        match conn.context().connect_with(&target, ConnectConfig::default(), resolver, other) {
            Ok(target) => self.stage = Stage::Relay(target),
            Err(_) => return refuse(conn, &reply(1)),
        }
        Some(end)
    }
}

/// The bytes after a byte at `at` that says how many they are.
fn field(data: &[u8], at: usize) -> Option<&[u8]> {
    data.get(at + 1..)?.get(..usize::from(data[at]))
}

/// Sends `answer` and closes.
fn refuse(conn: &mut Conn<'_>, answer: &[u8]) -> Option<usize> {
    let _ = conn.write(answer); // refused only if it is closing
    conn.close();
    None
}

fn reply(code: u8) -> [u8; 10] {
    [5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// The code of the reply if the target could not be connected; RFC 1928, section 6.
fn code(reason: Reason) -> u8 {
    match reason {
        Reason::Unreachable | Reason::Unresolved => 4,
        Reason::Refused | Reason::SelfConnected | Reason::Reset => 5,
        Reason::Timeout(_) | Reason::Unresponsive => 6,
        _ => 1,
    }
}

/// Writes as much as the other side has room for; its `on_writable` resumes this side.
fn pass_on(conn: &mut Conn<'_>, other: ConnId, data: &[u8]) -> usize {
    let Some(mut other) = conn.other(other) else { return data.len() };
    let taken = other.write_some(data);
    if taken < data.len() {
        conn.pause();
    }
    taken
}

fn main() -> std::process::ExitCode {
    command::run("socks", USAGE, parse(std::env::args().skip(1)), serve)
}

fn serve(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let options = Arc::new(options);
    let signals = Signals::new()?;
    let server = Server::builder()
        .address(options.listen.clone())
        .listen_config(ListenConfig { connections_max: 10_000, ..ListenConfig::default() })
        .handler(move || {
            let options = options.clone();
            move |_: &Conn<'_>| Side { options: options.clone(), stage: Stage::Greeting }
        })
        .build()?;
    server.listen()?;
    println!("listening on {}", server.local_addresses()[0]);
    println!("drained: {}", signals.run(&server, DRAIN)?);
    Ok(())
}
