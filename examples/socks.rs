//! A SOCKS5 proxy (RFC 1928) for `curl --socks5-hostname`, `ssh` and browsers: CONNECT, with a password (RFC 1929) or without.
//!
//! `cargo run --release --example socks --features signals -- --listen tcp://127.0.0.1:1080`; `--help` lists the options. Names
//! are looked up on other threads. By default only public addresses are allowed, and no packet is sent to another one, whatever
//! name it has; `--allow` lists the allowed targets instead. Client and target are coupled by `Conn::relay`: ends and resets
//! are passed on, and a slow side slows the other one down. SIGTERM and SIGINT drain it.

#[path = "echo/command.rs"]
mod command;

use std::{error::Error, fs::read_to_string, net::IpAddr, process::ExitCode, time::Duration};
use windlass::{Address, Conn, ConnId, ConnectConfig, Handler, ListenConfig, Reason, Resolver, Server};

const USAGE: &str = "\
usage: socks [--listen ADDRESS] [--user NAME --password-file PATH] [--allow HOST:PORT]...

A SOCKS5 proxy, on a free port of 127.0.0.1 unless --listen names another address. With --allow it connects to these targets
and to no others; without it to all but loopback, link-local, private, multicast and unspecified addresses.";

/// How long a client may take until its request is complete, and a drain. Connecting has a timeout of its own.
const PATIENCE: Duration = Duration::from_secs(10);
/// Networks that are not public; RFC 6890.
const LOCAL: &str = "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 \
    224.0.0.0/4 255.255.255.255/32 ::/127 fc00::/7 fe80::/10 ff00::/8";

struct Options {
    listen: Address,
    /// The message of RFC 1929 with the right name and password; empty if none are asked for.
    login: Vec<u8>,
    allow: Vec<Address>,
    /// Returns only allowed addresses of a name.
    resolver: Resolver,
}

/// A client or its target.
struct Side {
    options: &'static Options,
    stage: Stage,
}

/// What comes next.
enum Stage {
    Greeting,
    Login,
    Request,
    /// This target is being connected for a client, which is paused until they are coupled.
    Target(ConnId),
    /// What the relay does.
    Done,
}

impl Handler for Side {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let Stage::Target(client) = self.stage else { return conn.set_timer(PATIENCE) };
        self.stage = Stage::Done;
        // Both fail only if the client did not wait.
        conn.other(client).iter_mut().for_each(|client| drop(client.write(&reply(0))));
        conn.relay(client).unwrap_or_else(|_| conn.abort());
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let Some((used, answer)) = self.step(conn, data) else { return 0 };
        let _ = conn.write(&answer); // refused only if it is closing
        if used == 0 {
            conn.close();
        }
        used
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        conn.close();
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
        let Stage::Target(client) = self.stage else { return };
        let Some(mut client) = conn.other(client) else { return };
        // RFC 1928, section 6.
        let code = match reason {
            Reason::Unreachable | Reason::Unresolved => 4,
            Reason::Refused | Reason::SelfConnected | Reason::Reset => 5,
            Reason::Timeout(_) | Reason::Unresponsive => 6,
            _ => 1,
        };
        let _ = client.write(&reply(code));
        client.close();
    }
}

impl Side {
    /// Takes one message of a client: its length and the answer; `None` if it is incomplete, length 0 if it is refused.
    fn step(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> Option<(usize, Vec<u8>)> {
        // The bytes after a byte that says how many they are.
        let field = |at: usize| data.get(at + 1..)?.get(..usize::from(data[at]));
        match (&self.stage, data[0]) {
            (Stage::Greeting, 5) => {
                let methods = field(1)?;
                let method = if self.options.login.is_empty() { 0 } else { 2 };
                self.stage = if method == 0 { Stage::Request } else { Stage::Login };
                Some(if methods.contains(&method) { (2 + methods.len(), vec![5, method]) } else { (0, vec![5, 0xff]) })
            }
            (Stage::Login, 1) => {
                let end = 3 + field(1)?.len() + field(2 + field(1)?.len())?.len();
                self.stage = Stage::Request;
                // The time that this takes does not reveal how much of it is right.
                let differs = self.options.login.iter().zip(data).fold(0, |sum, (one, other)| sum | (one ^ other));
                Some(if self.options.login.len() == end && differs == 0 { (end, vec![1, 0]) } else { (0, vec![1, 1]) })
            }
            (Stage::Request, 5) => {
                let &[_, command, _, kind, ref rest @ ..] = data else { return None };
                let (host, end) = match kind {
                    _ if command != 1 => return Some((0, reply(7))),
                    1 => (IpAddr::from(*rest.first_chunk::<4>()?).to_string(), 10),
                    4 => (IpAddr::from(*rest.first_chunk::<16>()?).to_string(), 22),
                    3 => (String::from_utf8_lossy(field(4)?).to_ascii_lowercase(), 7 + field(4)?.len()),
                    _ => return Some((0, reply(8))),
                };
                let port = u16::from_be_bytes(*data.get(..end)?.last_chunk()?);
                let target = Address::tcp_host(&host, port).ok().filter(|target| self.allows(target));
                let Some(target) = target else { return Some((0, reply(2))) };
                conn.clear_timer();
                conn.pause();
                self.stage = Stage::Done;
                let side = Side { options: self.options, stage: Stage::Target(conn.id()) };
                let (config, resolver) = (ConnectConfig::default(), self.options.resolver.clone());
                let begun = conn.context().connect_with(&target, config, resolver, side).is_ok();
                Some(if begun { (end, vec![]) } else { (0, reply(1)) })
            }
            _ => Some((0, vec![])), // this is not SOCKS5
        }
    }

    /// Whether `target` is allowed. The addresses of a name are then checked by the resolver.
    fn allows(&self, target: &Address) -> bool {
        // These names mean this machine; RFC 6761.
        let is_remote = |name: &str| name != "localhost" && !name.ends_with(".localhost");
        let is_public = target.ip().map_or(target.host_name().is_some_and(is_remote), |ip| is_public(ip.ip()));
        if self.options.allow.is_empty() { is_public } else { self.options.allow.contains(target) }
    }
}

fn reply(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

fn is_public(ip: IpAddr) -> bool {
    LOCAL.split(' ').all(|net| !net.parse::<ipnet::IpNet>().expect("a network").contains(&ip.to_canonical()))
}

/// Returns `None` if help is asked for.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<&'static Options>, Box<dyn Error>> {
    let (mut listen, mut user, mut password, mut allow) =
        ("tcp://127.0.0.1:0".parse()?, String::new(), String::new(), vec![]);
    while let Some(name) = args.next() {
        let value = args.next().unwrap_or_default();
        match name.as_str() {
            "--help" | "-h" => return Ok(None),
            "--listen" => listen = value.parse()?,
            "--user" => user = value,
            "--password-file" => password = read_to_string(&value).map_err(|error| format!("{value}: {error}"))?,
            "--allow" => allow.push(format!("tcp://{value}").to_ascii_lowercase().parse()?),
            _ => return Err(format!("{name} is not an option; --help lists them").into()),
        }
    }
    let password = password.trim_end_matches(['\r', '\n']);
    let login = match (u8::try_from(user.len())?, u8::try_from(password.len())?) {
        (0, 0) => Vec::new(),
        (0, _) | (_, 0) => return Err("--user and --password-file belong together".into()),
        (name, secret) => [&[1, name], user.as_bytes(), &[secret], password.as_bytes()].concat(),
    };
    let public = Resolver::new(|name| {
        let found = name.resolve().map_err(std::io::Error::other)?;
        Ok(found.into_iter().filter(|found| is_public(found.ip())).collect())
    });
    let resolver = if allow.is_empty() { public } else { Resolver::system() };
    Ok(Some(Box::leak(Box::new(Options { listen, login, allow, resolver }))))
}

fn main() -> ExitCode {
    command::run("socks", USAGE, parse(std::env::args().skip(1)), |options| {
        let server = Server::builder()
            .address(options.listen.clone())
            .listen_config(ListenConfig { connections_max: 10_000, ..ListenConfig::default() })
            .handler(move || move |_: &Conn<'_>| Side { options, stage: Stage::Greeting })
            .build()?;
        server.listen()?;
        println!("listening on {}", server.local_addresses()[0]);
        println!("drained: {}", server.run_until_signal(PATIENCE)?);
        Ok(())
    })
}
