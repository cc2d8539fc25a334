//! Handlers that block: threads that serve one connection each, from its first byte to its last.
//!
//! Owns the threads and the connections that they serve or that wait for one. Knows nothing of reactors.
//!
//! 1. `open` counts every connection from its admission until its handler has returned, and is never above `open_max`.

use crate::blocking::BlockingLink;
use crate::error::Error;
use crate::handler::guarded;
use crate::link::Link;
use crate::mailbox::Report;
use crate::net::sigpipe;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many connections a server with a blocking handler serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockingConfig {
    /// Connections that are served at once, by a thread each. Default: 256.
    pub threads_max: usize,
    /// Connections that may wait for a thread; more are refused. Default: 1,024.
    pub waiting_max: usize,
    /// How long a read or write of a handler may take. Default: none.
    pub timeout: Option<Duration>,
}

impl Default for BlockingConfig {
    fn default() -> BlockingConfig {
        BlockingConfig { threads_max: 256, waiting_max: 1024, timeout: None }
    }
}

impl BlockingConfig {
    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |field, value: &str, why| Err(Error::Config { field, value: value.to_owned(), why });
        if self.threads_max == 0 {
            return refuse("threads_max", "0", "it must be at least 1");
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return refuse("timeout", "0", "it must be longer than zero");
        }
        Ok(())
    }
}

/// What a blocking handler reads from. It can be sent to another thread.
#[derive(Clone, Debug)]
pub struct Reader(Arc<BlockingLink>);

/// What a blocking handler writes to. It can be sent to another thread.
#[derive(Clone, Debug)]
pub struct Writer(Arc<BlockingLink>);

impl Reader {
    /// The connection.
    pub fn link(&self) -> &BlockingLink {
        &self.0
    }
}

impl Writer {
    /// The connection.
    pub fn link(&self) -> &BlockingLink {
        &self.0
    }

    /// Ends our side; the peer's data still comes. See [`BlockingLink::finish`].
    ///
    /// # Errors
    /// As [`BlockingLink::finish`].
    pub fn finish(&self) -> io::Result<()> {
        self.0.finish()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

/// What serves a connection.
pub(super) type Serve = dyn Fn(Reader, Writer) -> io::Result<()> + Send + Sync;

/// Is told when a connection is over, and what its handler said; `None` if it panicked.
pub(super) type Done = Box<dyn FnOnce(Option<io::Result<()>>) + Send>;

pub(super) struct Workers {
    config: BlockingConfig,
    serve: Arc<Serve>,
    inside: Mutex<Inside>,
    /// There may be something to do for idle threads.
    work: Condvar,
    /// Connections or threads came to an end, which the drain waits for.
    changed: Condvar,
}

#[derive(Default)]
struct Inside {
    open: usize,
    /// Those of them that are still with their reactor.
    coming: usize,
    waiting: VecDeque<(Link, Done)>,
    /// What the threads serve now.
    served: Vec<Arc<BlockingLink>>,
    threads: usize,
    idle: usize,
    ended: Ended,
    report: Report,
}

/// Whether connections are still served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ended {
    #[default]
    No,
    /// What is open goes on, and each end counts.
    Draining,
    Yes,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("config", &self.config).field("open", &self.open()).finish_non_exhaustive()
    }
}

impl Workers {
    pub(super) fn new(config: BlockingConfig, serve: Arc<Serve>) -> Arc<Workers> {
        Arc::new(Workers { config, serve, inside: Mutex::default(), work: Condvar::new(), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No user code runs under the lock.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections that have left their reactor and are not over.
    pub(super) fn open(&self) -> usize {
        let inside = self.lock();
        inside.open - inside.coming
    }

    /// A place for one more connection, if there is one.
    pub(super) fn reserve(&self) -> Option<()> {
        let mut inside = self.lock();
        let open_max = self.config.threads_max.saturating_add(self.config.waiting_max);
        let has_room = inside.open < open_max && inside.ended != Ended::Yes;
        has_room.then(|| {
            inside.open += 1;
            inside.coming += 1;
        })
    }

    /// A connection with a place was over before it came here.
    pub(super) fn release_coming(&self) {
        let mut inside = self.lock();
        inside.coming -= 1;
        inside.open -= 1;
        drop(inside);
        self.changed.notify_all();
    }

    /// A connection that came here is over.
    pub(super) fn release(&self) {
        let mut inside = self.lock();
        inside.open -= 1;
        drop(inside);
        self.changed.notify_all();
    }

    /// Serves a connection that has a place, now or when a thread is free.
    pub(super) fn serve(self: &Arc<Workers>, link: Link, done: Done) {
        let mut inside = self.lock();
        inside.coming -= 1;
        if inside.ended == Ended::Yes {
            drop(inside);
            return done(Some(Ok(())));
        }
        inside.waiting.push_back((link, done));
        let starts = inside.idle < inside.waiting.len() && inside.threads < self.config.threads_max;
        inside.threads += usize::from(starts);
        drop(inside);
        self.work.notify_one();
        if !starts {
            return;
        }
        let (workers, signals) = (self.clone(), sigpipe::inherited());
        let work = move || {
            signals.undo();
            workers.work();
        };
        let started = std::thread::Builder::new().name("windlass-worker".to_owned()).spawn(work);
        if let Err(error) = started {
            // Those that run go on; if there is none, the next connection tries again.
            log::error!("server: no thread for a blocking handler: {error}");
            self.lock().threads -= 1;
        }
    }

    /// Serves one connection after another, until there are none for a while.
    fn work(&self) {
        loop {
            let Some((link, done)) = self.next() else { return };
            self.serve_one(link, done);
        }
    }

    fn next(&self) -> Option<(Link, Done)> {
        let until = Instant::now() + IDLE_THREAD;
        let mut inside = self.lock();
        loop {
            if let Some(next) = inside.waiting.pop_front() {
                return Some(next);
            }
            if inside.ended != Ended::No {
                inside.threads -= 1;
                return None;
            }
            inside.idle += 1;
            let left = until.saturating_duration_since(Instant::now());
            let (back, timeout) = self.work.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner);
            inside = back;
            inside.idle -= 1;
            if timeout.timed_out() && inside.waiting.is_empty() {
                inside.threads -= 1;
                return None;
            }
        }
    }

    fn serve_one(&self, link: Link, done: Done) {
        let outcome = match link.into_blocking() {
            Ok(link) => {
                link.set_read_timeout(self.config.timeout);
                link.set_write_timeout(self.config.timeout);
                let link = Arc::new(link);
                let is_cut = {
                    let mut inside = self.lock();
                    inside.served.push(link.clone());
                    inside.ended == Ended::Yes
                };
                let outcome = if is_cut {
                    Some(Ok(()))
                } else {
                    guarded(|| (self.serve)(Reader(link.clone()), Writer(link.clone())))
                };
                // What a handler leaves open is closed: it may have ended or failed, or have panicked.
                let _ = link.close();
                let mut inside = self.lock();
                inside.served.retain(|other| !Arc::ptr_eq(other, &link));
                if inside.ended == Ended::Draining {
                    inside.report.drained += 1;
                }
                outcome
            }
            Err(error) => Some(Err(io::Error::other(error.to_string()))),
        };
        done(outcome);
    }

    /// What ends from now on has been drained.
    pub(super) fn begin_drain(&self) {
        let mut inside = self.lock();
        if inside.ended == Ended::No {
            inside.ended = Ended::Draining;
        }
        drop(inside);
        self.work.notify_all();
    }

    /// Goes on with what is open until `until`, then cuts it; says what came of it.
    pub(super) fn drain(&self, until: impl Fn() -> Instant) -> Report {
        self.begin_drain();
        let mut inside = self.lock();
        while inside.open > 0 {
            let left = until().saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // The deadline may be moved forward meanwhile.
            let left = left.min(LOOK_AGAIN);
            inside = self.changed.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inside.ended = Ended::Yes;
        let (waiting, served) = (std::mem::take(&mut inside.waiting), inside.served.clone());
        inside.report.cut += (waiting.len() + served.len()) as u64;
        let report = inside.report;
        drop(inside);
        self.work.notify_all();
        for (_, done) in waiting {
            done(Some(Ok(())));
        }
        for link in served {
            link.cut();
        }
        report
    }
}

/// A thread without work ends after so long.
const IDLE_THREAD: Duration = Duration::from_secs(10);

/// How often a drain looks whether its deadline was moved.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
