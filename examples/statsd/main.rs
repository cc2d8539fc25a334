//! Counters, gauges and timers over datagrams, as StatsD takes them, printed every second.
//!
//! `cargo run --release --example statsd` listens on a free UDP port and tells how to talk to it; `--help` tells the rest.
//! SIGTERM and SIGINT drain: what the kernel has received already is counted, and printed last.

#[path = "../echo/command.rs"]
mod command;
#[path = "../echo/signals.rs"]
mod signals;

mod metrics;
mod options;

use metrics::Metrics;
use options::{Options, USAGE, parse};
use std::cell::RefCell;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::{
    Address, Context, Datagram, DatagramConfig, DatagramHandler, Datagrams, Reactor, ReactorConfig, SocketOptions,
};

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a socket is still read from when it drains.
const LAST_CALL: Duration = Duration::from_millis(100);

/// Room in the kernel for bursts; it may grant less.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// What all sockets of the reactor share. Callbacks never nest, so the borrow always holds.
type Shared = Rc<RefCell<Metrics>>;

struct Sink(Shared);

impl DatagramHandler for Sink {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        self.0.borrow_mut().take(datagram.data);
    }

    /// Closes a little later, so that what was sent before the signal is counted.
    fn on_drain(&mut self, sock: &mut Datagrams<'_>) {
        sock.set_timer(LAST_CALL);
    }

    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        sock.close();
    }
}

fn main() -> ExitCode {
    command::run("statsd", USAGE, parse(std::env::args().skip(1)), |options| serve(&options))
}

fn serve(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let mut seen = 0;
    let stops = [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT];
    signals::on_signals(&mut reactor.context(), &stops, move |cx, signals| {
        seen += signals;
        cx.shutdown(if seen == 1 { DRAIN } else { Duration::ZERO });
    })?;
    let metrics = Rc::new(RefCell::new(Metrics::new(options.names_max)));
    let socket = SocketOptions { receive_buffer_bytes: Some(RECEIVE_BUFFER_BYTES), ..SocketOptions::default() };
    let config = DatagramConfig { socket, ..DatagramConfig::default() };
    for address in &options.listen {
        let id = reactor.bind(address, config.clone(), Sink(metrics.clone()))?;
        let real = reactor.endpoint_address(id).ok_or("the socket is gone")?;
        println!("listening on {real}");
        println!("  try: {}", how_to_talk(&real));
    }
    io::stdout().flush()?;
    print_every(&mut reactor.context(), options.every, Instant::now(), metrics.clone());

    let report = reactor.run()?;
    let last = metrics.borrow_mut().report(options.every);
    // It may be that nobody reads any more, which is not a failure.
    let _ = writeln!(io::stdout(), "{last}drained: {report}");
    Ok(())
}

/// Prints what came since `before`, and so on. Ends the program when nobody reads what it prints.
fn print_every(cx: &mut Context<'_>, every: Duration, before: Instant, metrics: Shared) {
    cx.after(every, move |cx| {
        let now = cx.now();
        metrics.borrow_mut().dropped = cx.snapshot().datagrams.dropped_by_kernel;
        let report = metrics.borrow_mut().report(now.saturating_duration_since(before));
        match io::stdout().write_all(report.as_bytes()) {
            Ok(()) => print_every(cx, every, now, metrics),
            Err(_) => cx.shutdown(Duration::ZERO),
        }
    });
}

fn how_to_talk(address: &Address) -> String {
    match (address.ip(), address.path(), address.abstract_name()) {
        (Some(ip), _, _) => format!("echo 'hits:1|c' | nc -u -w 1 {} {}", ip.ip(), ip.port()),
        (None, Some(path), _) => format!("echo 'hits:1|c' | socat - UNIX-SENDTO:{}", path.display()),
        (None, None, Some(name)) => {
            format!("echo 'hits:1|c' | socat - ABSTRACT-SENDTO:{}", String::from_utf8_lossy(name))
        }
        (None, None, None) => format!("{address}"),
    }
}
