//! An echo server that takes in only whom its rules allow, by network; the rules can be replaced while it runs.
//!
//! `cargo run --release --example admit -- --rules FILE [--listen ADDRESS]...`. A rule is `allow NETWORK` or
//! `deny NETWORK`, one a line, as in `deny 10.0.0.0/8`; the first that fits counts, and whom none fits is allowed. SIGHUP
//! reads the file again; if anything is wrong with it the old rules stay.

#[path = "echo/signals.rs"]
mod signals;

use ipnet::IpNet;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signals::on_signals;
use std::error::Error;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use windlass::{Accept, Address, Admission, Conn, EngineConfig, Handler, Peer, Server};

const USAGE: &str = "usage: admit --rules FILE [--listen ADDRESS]...";

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(30);

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

/// Whom to let in.
#[derive(Debug, Default)]
struct Rules(Vec<(IpNet, Admission)>);

impl Rules {
    fn read(path: &Path) -> Result<Rules, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut rules = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            let fault = |what: &str| format!("{}:{}: {what}: {line:?}", path.display(), number + 1);
            let (admission, network) = match line.split_once(char::is_whitespace) {
                _ if line.is_empty() => continue,
                Some(("allow", network)) => (Admission::Admit, network),
                Some(("deny", network)) => (Admission::Refuse, network),
                _ => return Err(fault("write allow NETWORK or deny NETWORK")),
            };
            let network = network.trim();
            // One address is a network of its own.
            let parsed = network.parse::<IpNet>().ok().or_else(|| network.parse::<IpAddr>().ok().map(IpNet::from));
            rules
                .push((parsed.ok_or_else(|| fault("write the network as in 10.0.0.0/8 or 2001:db8::/32"))?, admission));
        }
        Ok(Rules(rules))
    }

    fn decide(&self, ip: IpAddr) -> Admission {
        self.0.iter().find(|(network, _)| network.contains(&ip)).map_or(Admission::Admit, |(_, admission)| *admission)
    }
}

/// The rules that hold now, shared by all reactors: read for each connection, written hardly ever.
#[derive(Clone, Default)]
struct Current(Arc<RwLock<Arc<Rules>>>);

impl Current {
    fn get(&self) -> Arc<Rules> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}

struct Door(Current);

impl Accept for Door {
    type Handler = Echo;

    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        // Unix peers have no network.
        peer.ip().map_or(Admission::Admit, |ip| self.0.get().decide(ip.ip()))
    }

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        Echo
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (mut rules, mut listen) = (None, Vec::<Address>::new());
    while let Some(arg) = args.next() {
        let fault = match (arg.as_str(), args.next()) {
            ("--help" | "-h", _) => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            ("--rules", Some(path)) => {
                rules = Some(PathBuf::from(path));
                continue;
            }
            ("--listen", Some(address)) => match address.parse() {
                Ok(address) => {
                    listen.push(address);
                    continue;
                }
                Err(error) => format!("--listen: {error}"),
            },
            ("--rules" | "--listen", None) => format!("{arg} needs a value"),
            _ => format!("{arg} is not an option; {USAGE}"),
        };
        eprintln!("admit: {fault}");
        return ExitCode::from(2);
    }
    let Some(rules) = rules else {
        eprintln!("admit: --rules is missing; {USAGE}");
        return ExitCode::from(2);
    };
    match serve(rules, listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("admit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(path: PathBuf, mut listen: Vec<Address>) -> Result<(), Box<dyn Error>> {
    let current = Current::default();
    current.set(Rules::read(&path)?);
    if listen.is_empty() {
        listen.push("tcp://127.0.0.1:0".parse()?);
    }
    let door = current.clone();
    let mut builder = Server::builder()
        .engine_config(EngineConfig { reactors: 2, ..EngineConfig::default() })
        .handler(move || Door(door.clone()))
        .on_error(|error| eprintln!("admit: {error}"));
    for address in listen {
        builder = builder.address(address);
    }
    let server = builder.build()?;
    server.listen()?;
    let first = server.remotes().into_iter().next().ok_or("it has no reactor")?;
    let (stopped, mut signals) = (server.clone(), 0);
    first.run(move |cx| {
        let reload = move |_: &mut windlass::Context<'_>, _| match Rules::read(&path) {
            Ok(rules) => {
                eprintln!("admit: {} rules read again", rules.0.len());
                current.set(rules);
            }
            Err(error) => eprintln!("admit: the old rules stay: {error}"),
        };
        let stop = move |_: &mut windlass::Context<'_>, came| {
            signals += came;
            stopped.stop(if signals == 1 { DRAIN } else { Duration::ZERO });
        };
        let watched = on_signals(cx, &[SIGHUP], reload).and_then(|()| on_signals(cx, &[SIGTERM, SIGINT], stop));
        if let Err(error) = watched {
            eprintln!("admit: signals are not watched: {error}");
        }
        for address in server_addresses(cx) {
            println!("listening on {address}");
        }
        let _ = io::stdout().flush();
    })?;
    println!("drained: {}", server.wait(Duration::MAX)?);
    Ok(())
}

fn server_addresses(cx: &windlass::Context<'_>) -> Vec<Address> {
    cx.listeners().into_iter().map(|(_, address)| address).collect()
}
