//! A reactor inside calloop, the loop of Wayland compositors and clients.
//!
//! `cargo run --release --example calloop` echoes on free ports, plain and with TLS, beside signals and a timer, which are
//! sources of calloop's; `--help` lists its options. SIGTERM and SIGINT drain, a second one cuts what is left, and the
//! last line is the drain report.
//!
//! The recipe: the reactor's descriptor is a `Generic` source in `Mode::Level`, whose callback does one turn; what a turn
//! leaves in the kernel makes the source ready again. `dispatch` waits no longer than until `next_deadline`, and when that
//! moment is past a turn is done behind it.

#[path = "echo/command.rs"]
mod command;
#[path = "recipe/guest.rs"]
mod guest;
#[path = "recipe/options.rs"]
mod options;
#[path = "recipe/signals.rs"]
mod signals;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[path = "echo/tls.rs"]
mod tls;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, Mode, PostAction};
use options::Options;
use signals::Signals;
use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use windlass::{Reactor, Report, Status};

fn main() -> ExitCode {
    options::run("calloop", serve)
}

/// What the callbacks of all sources share.
struct Host {
    reactor: Reactor,
    signals: Signals,
    /// Given when the reactor has stopped.
    report: Option<Report>,
}

impl Host {
    fn turn(&mut self) -> Result<(), windlass::Error> {
        if let Status::Stopped(report) = self.reactor.poll_once(Some(Duration::ZERO))? {
            self.report = Some(report);
        }
        Ok(())
    }
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut reactor = guest::begin(&options, folder.path())?;
    let signals = Signals::watch(options.drain)?;
    let mut event_loop: EventLoop<'_, Host> = EventLoop::try_new()?;
    let handle = event_loop.handle();

    // A source owns its descriptor: this is another one for the same poll, and the reactor stays with the host.
    let descriptor = reactor.as_fd().try_clone_to_owned()?;
    handle.insert_source(Generic::new(descriptor, Interest::READ, Mode::Level), |_, _, host: &mut Host| {
        host.turn().map_err(io::Error::other)?;
        Ok(PostAction::Continue)
    })?;
    let pipe = signals.as_fd().try_clone_to_owned()?;
    handle.insert_source(Generic::new(pipe, Interest::READ, Mode::Level), |_, _, host: &mut Host| {
        let drain = host.signals.next_drain();
        host.reactor.shutdown(drain);
        Ok(PostAction::Continue)
    })?;
    if let Some(every) = options.stats {
        handle.insert_source(Timer::from_duration(every), move |_, _, host: &mut Host| {
            guest::tell_stats(&host.reactor);
            TimeoutAction::ToDuration(every)
        })?;
    }
    guest::announce(&mut reactor, folder.path())?;

    let mut host = Host { reactor, signals, report: None };
    loop {
        let deadline = host.reactor.next_deadline();
        event_loop.dispatch(deadline.map(|at| at.saturating_duration_since(Instant::now())), &mut host)?;
        if host.reactor.next_deadline().is_some_and(|at| at <= Instant::now()) {
            host.turn()?;
        }
        if let Some(report) = host.report {
            println!("drained: {report}");
            return Ok(());
        }
    }
}
