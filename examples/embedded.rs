//! A reactor inside somebody else's loop, beside sources that it knows nothing of: standard input and signals.
//!
//! `cargo run --release --example embedded` echoes on a free TCP port and sends each line that is typed to all
//! connections. `quit`, the end of the input or SIGTERM drain, a second signal cuts what is left, and the last line is
//! the drain report.
//!
//! The loop is poll(2), which stands for epoll, glib, winit or whatever a program has already. All it needs of the
//! reactor is its descriptor, watched level-triggered for reads, and the time of `next_deadline`. While nothing happens
//! it sleeps and makes no system call.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use windlass::{Bytes, Conn, Handler, ListenConfig, Reactor, ReactorConfig, Status};

/// How long a drain may take.
const DRAIN: Duration = Duration::from_secs(10);

/// A line is sent in pieces of at most this many bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut reactor = Reactor::new(ReactorConfig::default())?;
    let id = reactor.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), |_: &Conn<'_>| Echo)?;
    let mut signals = Signals::watch()?;
    let mut typed = Typed::Coming { input: File::from(io::stdin().as_fd().try_clone_to_owned()?), line: Vec::new() };
    println!("listening on {}", reactor.listener_address(id).ok_or("the listener is gone")?);
    io::stdout().flush()?;

    loop {
        let ready = wait(&reactor, &signals, &typed)?;
        if ready.signalled {
            reactor.shutdown(signals.next_drain());
        }
        if ready.typed {
            typed = typed.read(&mut reactor);
        }
        if let Status::Stopped(report) = reactor.poll_once(Some(Duration::ZERO))? {
            println!("drained: {report}");
            return Ok(());
        }
    }
}

struct Ready {
    signalled: bool,
    typed: bool,
}

/// Sleeps until somebody has something to do.
fn wait(reactor: &Reactor, signals: &Signals, typed: &Typed) -> io::Result<Ready> {
    let mut fds = vec![PollFd::new(reactor, PollFlags::IN), PollFd::new(&signals.pipe, PollFlags::IN)];
    if let Typed::Coming { input, .. } = typed {
        fds.push(PollFd::new(input, PollFlags::IN));
    }
    // None is poll's -1: for as long as nothing happens.
    let left = reactor.next_deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let timeout = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let is_ready = |index: usize| fds.get(index).is_some_and(|fd: &PollFd<'_>| !fd.revents().is_empty());
    Ok(Ready { signalled: is_ready(1), typed: is_ready(2) })
}

/// SIGTERM and SIGINT, as bytes in a pipe.
struct Signals {
    pipe: UnixStream,
    seen: usize,
}

impl Signals {
    fn watch() -> io::Result<Signals> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Signals { pipe, seen: 0 })
    }

    /// Takes note of the signals that came; how long the drain may take after them.
    fn next_drain(&mut self) -> Duration {
        let mut bytes = [0; 64];
        while let Ok(n @ 1..) = self.pipe.read(&mut bytes) {
            self.seen += n;
        }
        if self.seen > 1 { Duration::ZERO } else { DRAIN }
    }
}

/// What comes from standard input.
enum Typed {
    /// `line` is the beginning of one.
    Coming { input: File, line: Vec<u8> },
    /// It asked to quit, or has ended: it is not polled any more, since an end is ready for ever.
    Over,
}

impl Typed {
    /// Reads once, which cannot block when poll said so, and sends whole lines to everybody.
    fn read(self, reactor: &mut Reactor) -> Typed {
        let Typed::Coming { mut input, mut line } = self else { return Typed::Over };
        let mut bytes = [0; 4096];
        match input.read(&mut bytes) {
            Ok(n @ 1..) => line.extend_from_slice(&bytes[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => {
                broadcast(reactor, line);
                reactor.shutdown(DRAIN);
                return Typed::Over;
            }
        }
        while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
            let rest = line.split_off(end + 1);
            if line.trim_ascii() == b"quit" {
                reactor.shutdown(DRAIN);
                return Typed::Over;
            }
            broadcast(reactor, std::mem::replace(&mut line, rest));
        }
        if line.len() >= LINE_BYTES_MAX {
            broadcast(reactor, std::mem::take(&mut line));
        }
        Typed::Coming { input, line }
    }
}

/// Sends `bytes` to every connection, without a copy for each if they are many.
fn broadcast(reactor: &mut Reactor, bytes: Vec<u8>) {
    let bytes = Bytes::from(bytes);
    let mut missed = 0;
    let mut cx = reactor.context();
    for id in cx.connections() {
        let sent = cx.other(id).map(|mut other| other.write_bytes(bytes.clone()));
        // A peer that does not read misses lines; it does not hold the others up.
        missed += usize::from(matches!(sent, Some(Err(_))));
    }
    if missed > 0 {
        eprintln!("{missed} connections could not take the line");
    }
}
