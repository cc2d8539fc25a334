//! A pool of blocking clients: connections that were good once are used again, if they still are.
//!
//! Owns those that nobody uses. A connection is looked at before it is lent: one whose peer has ended is dropped.

use std::io::{self, Read, Write};
use std::ops::Deref;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use windlass::{Client, ClientBuilder, Error};

pub(crate) struct Pool {
    builder: ClientBuilder,
    /// Connections at once, lent ones among them.
    size: usize,
    /// One that nobody has used for so long is not used again.
    idle_max: Duration,
    inside: Mutex<Inside>,
    returned: Condvar,
}

#[derive(Default)]
struct Inside {
    /// The one that was used last is last.
    idle: Vec<(Client, Instant)>,
    lent: usize,
    made: u64,
    found_dead: u64,
}

/// What a pool counted.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) made: u64,
    pub(crate) found_dead: u64,
}

impl Pool {
    pub(crate) fn new(builder: ClientBuilder, size: usize, idle_max: Duration) -> Pool {
        Pool { builder, size, idle_max, inside: Mutex::default(), returned: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, used before or new, within `timeout`.
    ///
    /// # Errors
    /// What `Client::connect` says; `TimedOut` inside of `Connect` if all were lent all the time.
    pub(crate) fn lend(&self, timeout: Duration) -> Result<Lent<'_>, Error> {
        let until = Instant::now() + timeout;
        let mut inside = self.lock();
        loop {
            while let Some((client, since)) = inside.idle.pop() {
                if since.elapsed() < self.idle_max && client.is_connected() {
                    inside.lent += 1;
                    return Ok(Lent { pool: self, client: Some(client), origin: Origin::Used });
                }
                inside.found_dead += 1;
            }
            if inside.lent < self.size {
                inside.lent += 1;
                drop(inside);
                return self.make(until);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let client = self.builder.clone().build()?;
                let source = io::Error::new(io::ErrorKind::TimedOut, "all connections of the pool are in use");
                return Err(Error::Connect { address: Box::new(client.address().clone()), source });
            }
            inside = self.returned.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn make(&self, until: Instant) -> Result<Lent<'_>, Error> {
        // Its place is given back if it cannot be made.
        let mut lent = Lent { pool: self, client: None, origin: Origin::New };
        let client = self.builder.clone().build()?;
        client.connect(until.saturating_duration_since(Instant::now()))?;
        lent.client = Some(client);
        self.lock().made += 1;
        Ok(lent)
    }

    pub(crate) fn stats(&self) -> Stats {
        let inside = self.lock();
        Stats { made: inside.made, found_dead: inside.found_dead }
    }
}

/// A connection that goes back to its pool when it is dropped, if it is still good.
pub(crate) struct Lent<'a> {
    pool: &'a Pool,
    client: Option<Client>,
    origin: Origin,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was made for this loan.
    New,
    /// It was used before: its peer may have ended it just now, which nobody can see yet.
    Used,
}

impl Lent<'_> {
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Does not give it back: what was asked on it was not answered to the end.
    pub(crate) fn discard(mut self) {
        self.client = None;
    }
}

impl Deref for Lent<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("it is there until it is dropped")
    }
}

impl Read for Lent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&**self).read(buffer)
    }
}

impl Write for Lent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&**self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&**self).flush()
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // Of one that panics in the middle of an answer the rest is still to come.
        let good = self.client.take().filter(|client| !std::thread::panicking() && client.is_connected());
        let mut inside = self.pool.lock();
        inside.lent -= 1;
        inside.idle.extend(good.map(|client| (client, Instant::now())));
        drop(inside);
        self.pool.returned.notify_one();
    }
}
