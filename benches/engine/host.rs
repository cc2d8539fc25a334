//! A server of this crate that tells what it counts, in a process of its own.
//!
//! It prints `listening on ADDRESS` for each `--listen`, serves until its input ends, and answers lines there:
//!
//! | order | answer |
//! |---|---|
//! | `connections` | `connections COUNT…`, one for each reactor |
//! | `snapshots` | `snapshots CENSUS`, that of all reactors together |
//! | `drain SECONDS` | `final CENSUS` from each reactor at its end, then `drained DRAINED CUT UNSENT` |
//!
//! With `--obey on` the first byte of a connection says how it is to end; else bytes in are bytes out.

use std::io::BufRead;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use windlass::tls::Pem;
use windlass::{
    Accept, Address, Admission, Conn, Context, Direction, EngineConfig, Error, Handler, Limits, ListenConfig, Next,
    Peer, Readiness, Reason, Remote, Reuse, Server, ServerTls, WatchHandler,
};

use crate::census::Census;
use crate::rig::Outcome;

/// Echo, then close.
pub(crate) const CLOSE: u8 = b'C';
/// No echo: abort.
pub(crate) const ABORT: u8 = b'A';
/// Echo, and do not close before the drain's deadline.
pub(crate) const STAY: u8 = b'S';

/// How often a server with callbacks is asked for its counters.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
enum Guest {
    /// Nothing has come yet.
    Unasked,
    Echo,
    Stubborn,
}

impl Handler for Guest {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        if let Guest::Unasked = self {
            *self = Guest::Echo;
            match data[0] {
                CLOSE => {
                    let taken = conn.write_some(data);
                    conn.close();
                    return taken;
                }
                ABORT => {
                    conn.abort();
                    return data.len();
                }
                STAY => *self = Guest::Stubborn,
                _ => {}
            }
        }
        conn.write_some(data)
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        match self {
            Guest::Stubborn => {}
            Guest::Unasked | Guest::Echo => conn.close(),
        }
    }
}

#[derive(Clone, Copy)]
struct Doorman {
    refused: Option<IpNet>,
    guest: Guest,
}

impl Accept for Doorman {
    type Handler = Guest;

    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        match (self.refused, peer.ip()) {
            (Some(refused), Some(ip)) if refused.contains(&ip.ip()) => Admission::Refuse,
            _ => Admission::Admit,
        }
    }

    fn make(&mut self, _: &Conn<'_>) -> Guest {
        self.guest
    }
}

/// Tells what its reactor counted in the end: it ends after all connections.
struct Last;

impl WatchHandler for Last {
    fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, _: Readiness) -> Next {
        Next::Wait
    }

    fn on_close(&mut self, cx: &mut Context<'_>, _: Reason) {
        println!("final {}", Census::of(&cx.snapshot()).line());
    }
}

/// What the server tells. With any callback it is asked for its counters each second, too.
#[derive(Clone, Copy)]
enum Callbacks {
    None,
    WithoutStates,
    All,
}

struct Options {
    listen: Vec<Address>,
    identity: (PathBuf, PathBuf),
    per_peer_max: Option<usize>,
    engine: EngineConfig,
    config: ListenConfig,
    doorman: Doorman,
    callbacks: Callbacks,
}

/// Serves until its input ends.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let options = parse(arguments)?;
    let server = build(options)?;
    server.listen()?;
    for address in server.local_addresses() {
        println!("listening on {address}");
    }
    for line in std::io::stdin().lock().lines() {
        println!("{}", obey(&server, &line?)?);
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options {
        listen: Vec::new(),
        identity: (PathBuf::new(), PathBuf::new()),
        per_peer_max: None,
        engine: EngineConfig { reactors: 1, ..EngineConfig::default() },
        config: ListenConfig::default(),
        doorman: Doorman { refused: None, guest: Guest::Echo },
        callbacks: Callbacks::None,
    };
    for pair in arguments.chunks(2) {
        let [option, value] = pair else {
            return Err(format!("option without a value: {pair:?}").into());
        };
        match option.as_str() {
            "--listen" => options.listen.push(value.parse()?),
            "--cert" => options.identity.0 = value.into(),
            "--key" => options.identity.1 = value.into(),
            "--reactors" => options.engine.reactors = value.parse()?,
            "--per-peer" => options.per_peer_max = Some(value.parse()?),
            "--refuse" => options.doorman.refused = Some(value.parse()?),
            "--obey" => options.doorman.guest = Guest::Unasked,
            "--reuse" => options.config.reuse = Reuse::Port,
            "--callbacks" => {
                options.callbacks = if value == "all" { Callbacks::All } else { Callbacks::WithoutStates };
            }
            "--idle" => {
                let idle_timeout = Some(Duration::from_secs_f64(value.parse()?));
                options.config.limits = Limits { idle_timeout, ..Limits::default() };
            }
            _ => return Err(format!("unknown option: {option}").into()),
        }
    }
    Ok(options)
}

fn build(options: Options) -> Outcome<Server> {
    let Options { listen, identity: (chain, key), doorman, mut config, .. } = options;
    if listen.iter().any(|address| address.transport().is_tls()) {
        config.tls = Some(ServerTls::builder().certificate(Pem::file(chain), Pem::file(key)).build()?);
    }
    let mut builder = Server::builder().listen_config(config).engine_config(options.engine).handler(move || doorman);
    builder = listen.into_iter().fold(builder, |builder, address| builder.address(address));
    if let Some(connections) = options.per_peer_max {
        builder = builder.per_peer_max(connections);
    }
    if let Callbacks::None = options.callbacks {
        return Ok(builder.build()?);
    }
    let told = Arc::new(AtomicU64::new(0));
    let (errors, states, events) = (told.clone(), told.clone(), told);
    builder = builder.on_error(move |_| count(&errors)).on_event(move |_| count(&events));
    if let Callbacks::All = options.callbacks {
        builder = builder.on_state(move |_, _, _| count(&states));
    }
    let server = builder.build()?;
    let watched = server.clone();
    // It ends with the process.
    thread::spawn(move || {
        loop {
            thread::sleep(SNAPSHOT_EVERY);
            if let Err(error) = watched.snapshots() {
                eprintln!("no snapshots: {error}");
            }
        }
    });
    Ok(server)
}

fn count(told: &AtomicU64) {
    told.fetch_add(1, Ordering::Relaxed);
}

fn obey(server: &Server, line: &str) -> Outcome<String> {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("connections", "") => {
            let counts = server
                .remotes()
                .iter()
                .map(Remote::connections)
                .fold(String::new(), |text, count| format!("{text} {count}"));
            Ok(format!("connections{counts}"))
        }
        ("snapshots", "") => {
            let mut sum = Census::default();
            server.snapshots()?.iter().for_each(|counters| sum.add(&Census::of(counters)));
            Ok(format!("snapshots {}", sum.line()))
        }
        ("drain", seconds) => {
            // Nothing comes through the pairs; they are only watched.
            let pairs = server.remotes().iter().map(watch_to_the_end).collect::<Outcome<Vec<_>>>()?;
            let report = server.shutdown(Duration::from_secs_f64(seconds.parse()?))?;
            drop(pairs);
            Ok(format!("drained {} {} {}", report.drained, report.cut, report.unsent_bytes))
        }
        _ => Err(format!("unknown order `{line}`").into()),
    }
}

fn watch_to_the_end(remote: &Remote) -> Outcome<UnixStream> {
    let (watched, kept) = UnixStream::pair()?;
    watched.set_nonblocking(true)?;
    remote.run(move |cx| {
        let watch: Result<_, Error> = cx.watch(watched, Direction::Read, Last);
        if let Err(error) = watch {
            eprintln!("cannot watch to the end: {error}");
        }
    })?;
    Ok(kept)
}
