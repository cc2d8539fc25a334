//! A reactor inside tokio's runtime of one thread, for programs that have one and want windlass' connections in it.
//!
//! `cargo run --release --example tokio` echoes on free ports, plain and with TLS, beside a task that waits for signals and
//! a timer of tokio's; `--help` lists its options. SIGTERM and SIGINT drain, a second one cuts what is left, and the last
//! line is the drain report.
//!
//! The recipe: an `AsyncFd` owns the reactor, and one task drives it. tokio watches descriptors edge-triggered: of the
//! reactor's it hears once, even if more events wait there than one turn takes. Then `next_deadline` is past, and another
//! turn follows; so readiness is cleared after each. Other tasks reach the reactor by its `Remote`, which wakes it.

#[path = "echo/command.rs"]
mod command;
#[path = "recipe/guest.rs"]
mod guest;
#[path = "recipe/options.rs"]
mod options;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[path = "echo/tls.rs"]
mod tls;

use options::Options;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::process::ExitCode;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyMutGuard};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout_at;
use windlass::{Reactor, Remote, Report, Status};

fn main() -> ExitCode {
    options::run("tokio", |options| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve(options))
    })
}

async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut reactor = guest::begin(&options, folder.path())?;
    drain_on_signals(reactor.remote(), options.drain)?;
    guest::announce(&mut reactor, folder.path())?;
    println!("drained: {}", drive(reactor, options.stats).await?);
    Ok(())
}

/// Drives the reactor until it has stopped.
async fn drive(reactor: Reactor, stats: Option<Duration>) -> Result<Report, Box<dyn Error>> {
    let mut reactor = watched(reactor)?;
    let mut tick = stats.map(|every| Instant::now() + every);
    loop {
        let until = [reactor.get_ref().next_deadline(), tick].into_iter().flatten().min();
        let mut status = Status::Running;
        if let Some(mut ready) = readable(&mut reactor, until).await? {
            status = ready.get_inner_mut().poll_once(Some(Duration::ZERO))?;
            ready.clear_ready();
        } else if is_past(reactor.get_ref().next_deadline()) {
            status = reactor.get_mut().poll_once(Some(Duration::ZERO))?;
        }
        if let Status::Stopped(report) = status {
            return Ok(report);
        }
        if let (Some(every), true) = (stats, is_past(tick)) {
            guest::tell_stats(reactor.get_ref());
            tick = Some(Instant::now() + every);
        }
    }
}

#[allow(
    deprecated,
    reason = "what tokio has in its place is unsafe; a reactor keeps its descriptor open while it lives"
)]
fn watched(reactor: Reactor) -> io::Result<AsyncFd<Reactor>> {
    AsyncFd::with_interest(reactor, Interest::READABLE)
}

/// Waits until the reactor has events, at most until `until`.
async fn readable(
    reactor: &mut AsyncFd<Reactor>,
    until: Option<Instant>,
) -> io::Result<Option<AsyncFdReadyMutGuard<'_, Reactor>>> {
    let Some(until) = until else { return reactor.readable_mut().await.map(Some) };
    if is_past(Some(until)) {
        // Nothing will be waited for, and the runtime's other tasks must have their turn, too.
        tokio::task::yield_now().await;
    }
    timeout_at(until.into(), reactor.readable_mut()).await.ok().transpose()
}

fn is_past(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| moment <= Instant::now())
}

/// A task that tells the reactor to drain on the first signal, and to cut what is left on the second.
fn drain_on_signals(remote: Remote, drain: Duration) -> io::Result<()> {
    let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    tokio::spawn(async move {
        for drain in [drain, Duration::ZERO] {
            poll_fn(|context| {
                if signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            if remote.stop(drain).is_err() {
                return; // it has stopped already
            }
        }
    });
    Ok(())
}
