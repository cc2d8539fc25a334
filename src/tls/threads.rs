//! Threads that work on handshakes, so that slow signatures do not hold up reactors.
//!
//! Owns the threads. Knows nothing of sessions: what they are given to do is a closure.

use crate::cores;
use crate::error::Error;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads that sign and verify for reactors: those of `ReactorConfig::handshake_threads`. Clones are the same threads,
/// for several reactors. They end once the last clone is dropped, and have done by then what they were given.
#[derive(Clone)]
pub struct HandshakeThreads(Arc<Shared>);

struct Shared {
    jobs: Sender<Job>,
    count: usize,
}

type Job = Box<dyn FnOnce() + Send>;

/// Whether a connection's handshake is worked on by `HandshakeThreads`, where its reactor has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offload {
    /// If it may take long. A server's does with an RSA key, with a key that is elsewhere
    /// (`ServerTlsBuilder::certificate_with_key`), and with a `rustls::ServerConfig` that was given, of which the keys
    /// cannot be seen; a client's if it has a certificate.
    #[default]
    Auto,
    /// Always: for verifiers and resolvers that take long, or block.
    Always,
    /// Never.
    Never,
}

impl Offload {
    /// Whether it is, where it may take long or not by itself.
    pub(crate) fn applies(self, is_slow: impl FnOnce() -> bool) -> bool {
        match self {
            Offload::Auto => is_slow(),
            Offload::Always => true,
            Offload::Never => false,
        }
    }
}

/// More are a slip of the pen.
const THREADS_MAX: usize = 1024;

impl HandshakeThreads {
    /// Starts so many threads, at most 1,024.
    ///
    /// # Errors
    /// `Config` if there are to be none, or more, `Thread` if the system starts no more; none is left then.
    pub fn new(threads: usize) -> Result<HandshakeThreads, Error> {
        if threads == 0 {
            let why = "at least one thread is needed; without any, leave handshake_threads out";
            return Err(Error::Config { field: "threads", value: "0".to_owned(), why });
        }
        if threads > THREADS_MAX {
            let why = "it must be at most 1,024: more than there are cores help nobody";
            return Err(Error::Config { field: "threads", value: threads.to_string(), why });
        }
        let (jobs, taken) = channel();
        let taken = Arc::new(Mutex::new(taken));
        for number in 0..threads {
            let taken = taken.clone();
            let name = cores::name("windlass-tls", &format!("-{number}"));
            let body = move || {
                cores::roam();
                work(&taken);
            };
            let started = std::thread::Builder::new().name(name.clone()).spawn(body);
            // Those that were started end with what they would take from.
            started.map_err(|source| Error::Thread { name, source })?;
        }
        Ok(HandshakeThreads(Arc::new(Shared { jobs, count: threads })))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.count
    }

    /// Has one of them run `job`, which must not panic, once all that was given before has begun.
    pub(crate) fn run(&self, job: Job) {
        // The threads live as long as this.
        let _ = self.0.jobs.send(job);
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let taken = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = taken else { return };
        job();
    }
}

impl PartialEq for HandshakeThreads {
    /// Whether they are the same threads.
    fn eq(&self, other: &HandshakeThreads) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for HandshakeThreads {}

impl fmt::Debug for HandshakeThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HandshakeThreads").field(&self.0.count).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_done_also_when_the_last_handle_is_dropped() {
        let threads = HandshakeThreads::new(2).expect("threads");
        let (told, done) = channel();
        for number in 0..100 {
            let told = told.clone();
            threads.run(Box::new(move || told.send(number).expect("somebody listens")));
        }
        drop((threads, told));
        let mut done: Vec<_> = done.iter().collect();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..100));
    }

    #[test]
    fn no_threads_are_refused() {
        assert!(HandshakeThreads::new(0).is_err());
    }
}
