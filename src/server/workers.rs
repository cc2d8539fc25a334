//! Handlers that block: threads that serve one connection each, from its first byte to its last.
//!
//! Owns the threads and the connections that they serve or that wait for one. Knows nothing of reactors.
//!
//! 1. `open` counts every connection from its admission until its handler has returned, and is never above `open_max`.
//! 2. What is to be told is told outside the lock, in its order, by one thread at a time.

use crate::blocking::BlockingLink;
use crate::context::{Context, Seat};
use crate::cores;
use crate::engine::Engine;
use crate::error::Error;
use crate::handler::guarded;
use crate::link::Link;
use crate::mailbox::Report;
use crate::net::sigpipe;
use crate::server::callbacks::{Callbacks, ServerEvent};
use crate::server::crowd::{CALM, Crowd, Trouble};
use crate::server::states::States;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How many connections a server with a blocking handler serves.
///
/// Threads are started as connections need them, and end after 10 s without work. One whose handler waits for its peer
/// takes 14 to 18 KiB of resident memory (Linux on x86-64, with a buffer of 1 or 8 KiB), 16 KiB of the kernel's, and its
/// `stack_bytes` of address space; each of the default 4,096 counts against the
/// limits of the user and the container (`ulimit -u`, `pids.max`). Where connections idle for long, or come in tens of
/// thousands, take [`ServerBuilder::handler`](crate::ServerBuilder::handler).
///
/// When all threads are busy, connections wait. That is told by [`ServerEvent::ThreadsBusy`], and when more come than may
/// wait, by [`ServerEvent::ThreadsFull`]; each once, until [`ServerEvent::ThreadsFree`] says that it is over.
///
/// ```
/// use windlass::{BlockingConfig, Server};
/// let config = BlockingConfig { threads_max: 64, waiting_max: 256, ..BlockingConfig::default() };
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .blocking_handler(config, |mut reader, mut writer| std::io::copy(&mut reader, &mut writer).map(drop))
///     .build()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockingConfig {
    /// Connections that are served at once, by a thread each. Default: 4,096.
    pub threads_max: usize,
    /// Connections that may wait for a thread, accepted and not served; more are closed at once. Default: 1,024.
    pub waiting_max: usize,
    /// The stack of each thread, of which only what the handler touches takes memory; from 64 KiB to 1 GiB. A handler
    /// that needs more aborts the process, as any thread does. Default: 512 KiB.
    pub stack_bytes: usize,
    /// How long a read or write of a handler may take. Default: none.
    pub timeout: Option<Duration>,
}

impl Default for BlockingConfig {
    fn default() -> BlockingConfig {
        BlockingConfig { threads_max: 4096, waiting_max: 1024, stack_bytes: 512 * 1024, timeout: None }
    }
}

impl BlockingConfig {
    /// How many connections there may be, served and waiting.
    fn open_max(&self) -> usize {
        self.threads_max.saturating_add(self.waiting_max)
    }

    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |field, value: &str, why| Err(Error::Config { field, value: value.to_owned(), why });
        if self.threads_max == 0 {
            return refuse("threads_max", "0", "it must be at least 1");
        }
        if !(64 * 1024..=1 << 30).contains(&self.stack_bytes) {
            return refuse("stack_bytes", &self.stack_bytes.to_string(), "it must be from 64 KiB to 1 GiB");
        }
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            return refuse("timeout", "0", "it must be longer than zero");
        }
        Ok(())
    }
}

/// What a blocking handler reads from. It can be sent to another thread.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use windlass::{BlockingConfig, Reader, Server, Writer};
/// fn greet(reader: Reader, mut writer: Writer) -> std::io::Result<()> {
///     let mut name = String::new();
///     BufReader::new(reader).read_line(&mut name)?;
///     writeln!(writer, "hello, {}", name.trim_end())
/// }
/// let builder = Server::builder().blocking_handler(BlockingConfig::default(), greet);
/// ```
#[derive(Clone, Debug)]
pub struct Reader(Arc<BlockingLink>);

/// What a blocking handler writes to. It can be sent to another thread.
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
/// use windlass::{BlockingConfig, Reader, Server, Writer};
/// fn greet(reader: Reader, mut writer: Writer) -> std::io::Result<()> {
///     let mut name = String::new();
///     BufReader::new(reader).read_line(&mut name)?;
///     writeln!(writer, "hello, {}", name.trim_end())
/// }
/// let builder = Server::builder().blocking_handler(BlockingConfig::default(), greet);
/// ```
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

impl Read for &Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for &Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.0).flush()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

/// What serves a connection.
pub(super) type Serve = dyn Fn(Reader, Writer) -> io::Result<()> + Send + Sync;

/// Called when a connection is over, with what its handler said; `None` if it panicked.
pub(super) type Done = Box<dyn FnOnce(Option<io::Result<()>>) + Send>;

/// A connection that is to be served.
pub(super) struct Job {
    pub(super) link: Link,
    /// Where its states are reported, if anybody wants to know.
    pub(super) states: Option<Arc<States>>,
    pub(super) done: Done,
    /// Its place within the limits of listener, reactor and engine, until its handler has returned.
    pub(super) seat: Option<Seat>,
}

/// The end of a connection, told by whoever comes first: its thread, or a server that is over.
#[derive(Clone)]
struct LastWord(Arc<Mutex<Option<Done>>>);

impl LastWord {
    /// Tells it, or waits until it was told.
    fn tell(&self, outcome: Option<io::Result<()>>) {
        // Under the lock: nobody else waits for it but the server's end.
        let mut done = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = done.take() {
            done(outcome);
        }
    }
}

thread_local! {
    /// Whose connection this thread serves, as an address that is only compared.
    static SERVES: Cell<*const Workers> = const { Cell::new(std::ptr::null()) };
}

pub(super) struct Workers {
    config: BlockingConfig,
    serve: Arc<Serve>,
    callbacks: Callbacks,
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
    waiting: VecDeque<Job>,
    /// What the threads serve now.
    served: Vec<Arc<BlockingLink>>,
    /// How often a reactor looks at limits in time, if one does.
    watches: Option<Duration>,
    /// What one did that has ended.
    orphan: Option<Looks>,
    /// Connections that a thread has taken, and whose end it has not counted.
    taken: Vec<LastWord>,
    /// Those of them whose end is counted and being told.
    telling_ends: Vec<LastWord>,
    threads: usize,
    /// Threads that were started so far: the number of the last one.
    started: u64,
    idle: usize,
    crowd: Crowd,
    /// Whether an idle thread looks for the end of the crowd.
    watched: bool,
    /// What is to be told.
    news: VecDeque<News>,
    telling: bool,
    ended: Ended,
    report: Report,
}

enum News {
    Event(ServerEvent),
    Error(Error),
}

impl Inside {
    /// Notes a trouble, and what of it is to be told.
    fn meets(&mut self, trouble: Trouble, news: impl FnOnce(&Inside) -> News) {
        if self.ended == Ended::No && self.crowd.meets(trouble, Instant::now()) {
            self.tell(news(self));
        }
    }

    /// Ends an episode if it is over.
    fn eases(&mut self, config: &BlockingConfig) {
        if !self.crowd.is_on() || !self.waiting.is_empty() || self.open >= config.open_max() || self.ended != Ended::No
        {
            return;
        }
        if let Some(refused) = self.crowd.eases(Instant::now()) {
            self.tell(News::Event(ServerEvent::ThreadsFree { refused }));
        }
    }

    fn tell(&mut self, news: News) {
        // A callback that never ends does not fill the memory.
        if self.news.len() < NEWS_MAX {
            self.news.push_back(news);
        }
    }
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
    pub(super) fn new(config: BlockingConfig, serve: Arc<Serve>, callbacks: Callbacks) -> Arc<Workers> {
        let (inside, work, changed) = (Mutex::default(), Condvar::new(), Condvar::new());
        Arc::new(Workers { config, serve, callbacks, inside, work, changed })
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
        let has_room = inside.open < self.config.open_max();
        let is_taken = has_room && inside.ended != Ended::Yes;
        if is_taken {
            inside.eases(&self.config);
            inside.open += 1;
            inside.coming += 1;
        } else if !has_room {
            inside.meets(Trouble::Refused, |inside| News::Event(ServerEvent::ThreadsFull { connections: inside.open }));
        }
        self.tell_news(inside);
        is_taken.then_some(())
    }

    /// Tells what is to be told, unless another thread is at it, which goes on with it then.
    fn tell_news<'a>(&'a self, mut inside: MutexGuard<'a, Inside>) {
        while !inside.telling {
            let Some(news) = inside.news.pop_front() else { break };
            inside.telling = true;
            drop(inside);
            match news {
                News::Event(event) => self.callbacks.tell_event(&event),
                News::Error(error) => {
                    log::error!("server: no thread for a blocking handler: {error}");
                    self.callbacks.tell_failure(error);
                }
            }
            inside = self.lock();
            inside.telling = false;
            self.changed.notify_all();
        }
    }

    /// A connection with a place was over before it came here.
    pub(super) fn release_coming(&self) {
        let mut inside = self.lock();
        inside.coming -= 1;
        self.released(inside);
    }

    /// A connection that came here is over.
    pub(super) fn release(&self) {
        self.released(self.lock());
    }

    fn released<'a>(&'a self, mut inside: MutexGuard<'a, Inside>) {
        inside.open -= 1;
        inside.eases(&self.config);
        self.tell_news(inside);
        self.changed.notify_all();
    }

    /// Serves a connection that has a place, now or when a thread is free.
    pub(super) fn serve(self: &Arc<Workers>, job: Job) {
        let mut inside = self.lock();
        inside.coming -= 1;
        if inside.ended == Ended::Yes {
            drop(inside);
            return (job.done)(Some(Ok(())));
        }
        inside.waiting.push_back(job);
        let starts = inside.idle < inside.waiting.len() && inside.threads < self.config.threads_max;
        inside.threads += usize::from(starts);
        inside.started += u64::from(starts);
        let number = inside.started;
        if !starts && inside.idle < inside.waiting.len() {
            inside.meets(Trouble::Waits, |inside| News::Event(ServerEvent::ThreadsBusy { threads: inside.threads }));
        }
        self.work.notify_one();
        self.tell_news(inside);
        if !starts {
            return;
        }
        let name = cores::name("windlass-worker", &format!("-{number}"));
        let (workers, signals) = (self.clone(), sigpipe::inherited());
        let thread = std::thread::Builder::new().name(name.clone()).stack_size(self.config.stack_bytes);
        let work = move || {
            signals.undo();
            cores::roam();
            workers.work();
        };
        if let Err(source) = thread.spawn(work) {
            // Those that run go on with what waits; if there is none, it is refused, and the next connection tries again.
            let mut inside = self.lock();
            inside.threads -= 1;
            inside.meets(Trouble::Lacks, |_| News::Error(Error::Thread { name, source }));
            let refused = if inside.threads > 0 {
                inside
                    .meets(Trouble::Waits, |inside| News::Event(ServerEvent::ThreadsBusy { threads: inside.threads }));
                VecDeque::new()
            } else {
                std::mem::take(&mut inside.waiting)
            };
            for _ in &refused {
                inside.meets(Trouble::Refused, |inside| {
                    News::Event(ServerEvent::ThreadsFull { connections: inside.open })
                });
            }
            self.tell_news(inside);
            for job in refused {
                drop(job.link);
                (job.done)(Some(Ok(())));
            }
        }
    }

    /// Whether this thread serves a connection of these.
    pub(super) fn serve_here(&self) -> bool {
        std::ptr::eq(SERVES.get(), self)
    }

    /// Has a reactor look at the limits in time of connections whose handlers are in no call of theirs; the shortest of the
    /// limits is `shortest`.
    pub(super) fn watch(self: &Arc<Workers>, shortest: Duration, cx: &mut Context<'_>) {
        let interval = (shortest / 8).clamp(WATCH_LEAST, WATCH_MOST);
        let mut inside = self.lock();
        let before = inside.watches;
        inside.watches = Some(before.map_or(interval, |before| before.min(interval)));
        drop(inside);
        if before.is_none() {
            Looks { workers: Arc::downgrade(self), interval }.go_on(cx);
        }
    }

    /// Has a reactor of `engine` look after limits in time, if one did that has ended.
    pub(super) fn watch_on(&self, engine: &Engine) {
        let orphan = self.lock().orphan.take();
        if let Some(looks) = orphan {
            // Refused or not run, it is an orphan again, of a reactor whose end is told, too.
            let _ = engine.least_loaded().run_asked(move |cx| looks.go_on(cx));
        }
    }

    /// Ends what has outlived a limit in time. Returns when to look again; not if nothing is served any more.
    fn look(&self) -> Option<Duration> {
        let served = self.lock().served.clone();
        for served in served {
            served.end_if_due();
        }
        let mut inside = self.lock();
        if inside.open == 0 {
            inside.watches = None;
        }
        inside.watches
    }

    /// Serves one connection after another, until there are none for a while.
    fn work(&self) {
        loop {
            let Some((job, last)) = self.next() else { return };
            self.serve_one(job, &last);
        }
    }

    fn next(&self) -> Option<(Job, LastWord)> {
        let until = Instant::now() + IDLE_THREAD;
        let mut inside = self.lock();
        loop {
            if let Some(mut next) = inside.waiting.pop_front() {
                let done = std::mem::replace(&mut next.done, Box::new(|_| ()));
                let last = LastWord(Arc::new(Mutex::new(Some(done))));
                inside.taken.push(last.clone());
                return Some((next, last));
            }
            if inside.ended != Ended::No {
                inside.threads -= 1;
                return None;
            }
            inside.eases(&self.config);
            if !inside.news.is_empty() && !inside.telling {
                self.tell_news(inside);
                inside = self.lock();
                continue;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                inside.threads -= 1;
                return None;
            }
            let watches = inside.crowd.is_on() && !std::mem::replace(&mut inside.watched, true);
            let left = if watches { left.min(CALM) } else { left };
            inside.idle += 1;
            inside = self.work.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
            inside.idle -= 1;
            inside.watched &= !watches;
        }
    }

    fn serve_one(&self, job: Job, last: &LastWord) {
        let Job { link, states, seat, .. } = job;
        // What a handler returns may be its own, whose drop is user code.
        let outcome = guarded(|| match link.into_blocking() {
            Ok(mut link) => {
                if let Some(states) = states {
                    link.observe(move |state| states.report(state));
                }
                link.set_read_timeout(self.config.timeout);
                link.set_write_timeout(self.config.timeout);
                self.run(&Arc::new(link))
            }
            Err(error) => Some(Err(error.into())),
        });
        let outcome = outcome.flatten();
        {
            let mut inside = self.lock();
            if inside.ended == Ended::Draining {
                inside.report.drained += 1;
            }
            inside.taken.retain(|other| !Arc::ptr_eq(&other.0, &last.0));
            inside.telling_ends.push(last.clone());
        }
        last.tell(outcome);
        self.lock().telling_ends.retain(|other| !Arc::ptr_eq(&other.0, &last.0));
        drop(seat);
    }

    /// Runs the handler, and closes what it leaves open.
    fn run(&self, link: &Arc<BlockingLink>) -> Option<io::Result<()>> {
        let is_cut = {
            let mut inside = self.lock();
            inside.served.push(link.clone());
            inside.ended == Ended::Yes
        };
        let outcome = if is_cut {
            Some(Ok(()))
        } else {
            SERVES.set(self);
            let outcome = guarded(|| (self.serve)(Reader(link.clone()), Writer(link.clone())));
            SERVES.set(std::ptr::null());
            outcome
        };
        // As on a reactor, an idle connection that is ended is no trouble.
        let is_trouble = link.ended().0.is_none_or(|reason| reason.is_trouble() || !reason.is_timeout());
        // It may be over already. What else fails is output that the handler believes to be on its way.
        let closed = link.close().or_else(|error| match error.kind() {
            io::ErrorKind::NotConnected => Ok(()),
            _ => Err(error),
        });
        self.lock().served.retain(|other| !Arc::ptr_eq(other, link));
        outcome.map(|outcome| if is_trouble { outcome.and(closed) } else { Ok(()) })
    }

    /// What ends from now on has been drained.
    pub(super) fn begin_drain(&self) {
        let mut inside = self.lock();
        if inside.ended == Ended::No {
            inside.ended = Ended::Draining;
            inside.news.clear();
        }
        drop(inside);
        self.work.notify_all();
    }

    /// Goes on with what is open until `until`, then cuts it; says what came of it.
    pub(super) fn drain(&self, until: impl Fn() -> Instant) -> Report {
        self.begin_drain();
        let mut inside = self.lock();
        while inside.open > 0 || inside.telling {
            let left = until().saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // The deadline may be moved forward meanwhile, and the reactors that looked at limits in time are over.
            let left = left.min(LOOK_AGAIN);
            inside = self.changed.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
            if inside.watches.is_some() {
                drop(inside);
                self.look();
                inside = self.lock();
            }
        }
        inside.ended = Ended::Yes;
        let (waiting, served) = (std::mem::take(&mut inside.waiting), inside.served.clone());
        inside.report.cut += (waiting.len() + inside.taken.len()) as u64;
        let mut report = inside.report;
        drop(inside);
        self.work.notify_all();
        for job in waiting {
            (job.done)(Some(Ok(())));
        }
        report.unsent_bytes += served.iter().map(|link| link.cut() as u64).sum::<u64>();
        // Handlers that notice have a moment to return; nothing is told of the others behind the server's own end.
        let until = Instant::now() + CUT_GRACE;
        let mut inside = self.lock();
        while inside.open > 0 && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            inside = self.changed.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let untold: Vec<LastWord> = inside.taken.iter().chain(&inside.telling_ends).cloned().collect();
        drop(inside);
        // Of one that is being told just now this waits for the end.
        untold.iter().for_each(|last| last.tell(Some(Ok(()))));
        report
    }
}

/// Looks at limits in time every so often, as long as anything is served; dropped before, by a reactor that ends, it is left
/// to another one.
struct Looks {
    /// Nobody's, once nothing is served.
    workers: Weak<Workers>,
    interval: Duration,
}

impl Looks {
    fn go_on(mut self, cx: &mut Context<'_>) {
        cx.after(self.interval, move |cx| match self.workers.upgrade().and_then(|workers| workers.look()) {
            Some(interval) => {
                self.interval = interval;
                self.go_on(cx);
            }
            None => self.end(),
        });
    }

    fn end(mut self) {
        self.workers = Weak::new();
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.upgrade() {
            let looks = Looks { workers: std::mem::take(&mut self.workers), interval: self.interval };
            let other = workers.lock().orphan.replace(looks);
            // One is enough.
            other.into_iter().for_each(Looks::end);
        }
    }
}

/// How often limits in time are looked at, at the most and at the least.
const WATCH_LEAST: Duration = Duration::from_millis(10);
const WATCH_MOST: Duration = Duration::from_secs(1);

/// How long handlers whose connections were cut may take to return before the server's end is told.
const CUT_GRACE: Duration = Duration::from_millis(300);

/// What may wait to be told; more is not.
const NEWS_MAX: usize = 16;

/// A thread without work ends after so long.
const IDLE_THREAD: Duration = Duration::from_secs(10);

/// How often a drain looks whether its deadline was moved.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::OnceLock;

    /// News that another thread raised while a callback ran was dropped.
    #[test]
    fn what_happens_while_a_callback_is_told_is_told_behind_it() {
        let (told, workers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(OnceLock::<Weak<Workers>>::new()));
        let (tell, meanwhile) = (told.clone(), workers.clone());
        let on_event = move |event: &ServerEvent| {
            let mut told = tell.lock().expect("no panic");
            told.push(event.to_string());
            if told.len() == 1 {
                let workers = meanwhile.get().and_then(Weak::upgrade).expect("they are there");
                let mut inside = workers.lock();
                inside.tell(News::Event(ServerEvent::ThreadsFree { refused: 7 }));
                workers.tell_news(inside);
            }
        };
        let callbacks = Callbacks { event: Some(Arc::new(on_event)), ..Callbacks::default() };
        let serve: Arc<Serve> = Arc::new(|_, _| Ok(()));
        let made = Workers::new(BlockingConfig::default(), serve, callbacks);
        workers.set(Arc::downgrade(&made)).expect("it is the first");
        let mut inside = made.lock();
        inside.tell(News::Event(ServerEvent::ThreadsBusy { threads: 1 }));
        made.tell_news(inside);
        let told = told.lock().expect("no panic");
        assert!(told.len() == 2 && told[1].contains('7'), "{told:?}");
    }
}
