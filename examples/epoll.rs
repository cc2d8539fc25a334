//! A reactor inside a loop over epoll(7), as servers written by hand have one.
//!
//! `cargo run --release --example epoll` echoes on free ports, plain and with TLS, beside signals and a timer of the loop's
//! own; `--help` lists its options. SIGTERM and SIGINT drain, a second one cuts what is left, and the last line is the
//! drain report.
//!
//! The recipe: have the reactor's descriptor tell of deadlines as well (`arm_descriptor`), add it level-triggered, and do a
//! turn when it is readable. The loop needs no timeout for the reactor; what a turn leaves undone makes it readable again.

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

use options::Options;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use signals::Signals;
use std::error::Error;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use windlass::Status;

const REACTOR: u64 = 0;
const SIGNALS: u64 = 1;

fn main() -> ExitCode {
    options::run("epoll", serve)
}

fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut reactor = guest::begin(&options, folder.path())?;
    reactor.arm_descriptor()?;
    let mut signals = Signals::watch(options.drain)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    // Without EventFlags::ET: more events than one turn takes are told again.
    epoll::add(&epoll, &reactor, epoll::EventData::new_u64(REACTOR), epoll::EventFlags::IN)?;
    epoll::add(&epoll, &signals, epoll::EventData::new_u64(SIGNALS), epoll::EventFlags::IN)?;
    guest::announce(&mut reactor, folder.path())?;

    let mut tick = options.stats.map(|every| Instant::now() + every);
    loop {
        let ready = wait(&epoll, tick)?;
        if ready.contains(&SIGNALS) {
            reactor.shutdown(signals.next_drain());
        }
        if let (Some(every), true) = (options.stats, tick.is_some_and(|tick| tick <= Instant::now())) {
            guest::tell_stats(&reactor);
            tick = Some(Instant::now() + every);
        }
        if ready.contains(&REACTOR) {
            if let Status::Stopped(report) = reactor.poll_once(Some(Duration::ZERO))? {
                println!("drained: {report}");
                return Ok(());
            }
        }
    }
}

/// Sleeps until something is ready, and says what; at most until `deadline`, which is the loop's own.
fn wait(epoll: &OwnedFd, deadline: Option<Instant>) -> Result<Vec<u64>, Errno> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    let mut events = Vec::with_capacity(2);
    match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(events.iter().map(|event| event.data.u64()).collect()),
        Err(errno) => Err(errno),
    }
}
