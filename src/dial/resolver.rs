//! Addresses for a name, looked up on threads of their own: the system's lookup blocks, for as long as it likes.
//!
//! Owns those threads. There are as many as lookups are under way, at most 8 in a process; more lookups wait for them.

use crate::address::{Address, AddressError};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Finds the addresses of a name. The system's way is the default; [`Resolver::new`] puts another in its place, such as a
/// service registry, or addresses that are known already.
///
/// ```
/// use std::net::SocketAddr;
/// use windlass::{Address, Resolver};
/// let known: SocketAddr = "192.0.2.7:443".parse()?;
/// let resolver = Resolver::new(move |_: &Address| Ok(vec![known]));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Default)]
pub struct Resolver(Option<Arc<Lookup>>);

type Lookup = dyn Fn(&Address) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What a lookup found.
pub(crate) type Found = Result<Vec<SocketAddr>, AddressError>;

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Resolver(own)" } else { "Resolver(system)" })
    }
}

impl Resolver {
    /// The system's: getaddrinfo(3), and services(5) for the name of a port.
    pub fn system() -> Resolver {
        Resolver(None)
    }

    /// A lookup of one's own. It is asked for every address that is not an IP address already, and returns those to be
    /// tried, the best first. It may block.
    ///
    /// # Threads
    /// On one of the threads for lookups. A panic in it counts as an error.
    pub fn new(look_up: impl Fn(&Address) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver(Some(Arc::new(look_up)))
    }

    /// The addresses that are known without a lookup.
    pub(crate) fn known(&self, address: &Address) -> Option<Vec<SocketAddr>> {
        address.ip().map(|ip| vec![ip])
    }

    /// Looks up on a thread for lookups; `then` is told there.
    ///
    /// # Errors
    /// There is no such thread, and none can be started; nothing is told then.
    pub(crate) fn find(&self, address: &Address, then: impl FnOnce(Found) + Send + 'static) -> io::Result<()> {
        let (address, own) = (address.clone(), self.0.clone());
        LOOKUPS.run(Box::new(move || {
            let look_up = || match own {
                None => address.resolve(),
                Some(own) => {
                    let failed = |error| AddressError::ResolutionFailed(address.to_string(), error);
                    let found = own(&address).map_err(failed)?;
                    address.admitted(found.into_iter())
                }
            };
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look_up));
            then(looked.unwrap_or_else(|_| {
                let panicked = io::Error::other("the resolver panicked");
                Err(AddressError::ResolutionFailed(address.to_string(), panicked))
            }));
        }))
    }
}

// --- the threads ------------------------------------------------------------------------------------------------------

/// Lookups that run at once.
const THREADS_MAX: usize = 8;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

static LOOKUPS: Lookups =
    Lookups { inside: Mutex::new(Inside { jobs: VecDeque::new(), threads: 0, idle: 0 }), came: Condvar::new() };

struct Lookups {
    inside: Mutex<Inside>,
    came: Condvar,
}

struct Inside {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Lookups {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No user code runs under the lock.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&'static self, job: Job) -> io::Result<()> {
        let mut inside = self.lock();
        if inside.jobs.len() >= inside.idle && inside.threads < THREADS_MAX {
            let started = std::thread::Builder::new().name("windlass-lookup".to_owned()).spawn(|| self.work());
            match started {
                Ok(_) => inside.threads += 1,
                Err(error) if inside.threads == 0 => return Err(error),
                // Those that there are will come to it.
                Err(_) => {}
            }
        }
        inside.jobs.push_back(job);
        drop(inside);
        self.came.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut inside = self.lock();
        loop {
            if let Some(job) = inside.jobs.pop_front() {
                drop(inside);
                job();
                inside = self.lock();
                continue;
            }
            inside.idle += 1;
            let (back, waited) = self.came.wait_timeout(inside, IDLE).unwrap_or_else(PoisonError::into_inner);
            inside = back;
            inside.idle -= 1;
            if waited.timed_out() && inside.jobs.is_empty() {
                inside.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn find(resolver: &Resolver, address: &str) -> Found {
        let (tell, told) = mpsc::channel();
        resolver.find(&address.parse().expect("an address"), move |found| drop(tell.send(found))).expect("a thread");
        told.recv().expect("an answer")
    }

    #[test]
    fn more_lookups_than_threads_are_all_answered() {
        let (tell, told) = mpsc::channel();
        let resolver = Resolver::new(|address| Ok(vec![([127, 0, 0, 1], address.to_string().len() as u16).into()]));
        for number in 0..5 * THREADS_MAX {
            let tell = tell.clone();
            let address: Address = format!("tcp://host{number}.example:1").parse().expect("an address");
            resolver
                .find(&address, move |found| tell.send(found.expect("addresses").len()).expect("somebody waits"))
                .expect("a thread");
        }
        drop(tell);
        assert_eq!(told.iter().sum::<usize>(), 5 * THREADS_MAX);
    }

    #[test]
    fn what_a_resolver_says_and_does_wrong_names_the_address() {
        let fails = Resolver::new(|_| Err(io::Error::other("no such service")));
        let none = Resolver::new(|_| Ok(Vec::new()));
        let panics = Resolver::new(|_| panic!("on purpose"));
        for (resolver, says) in [(fails, "no such service"), (none, ""), (panics, "panicked")] {
            let error = find(&resolver, "tcp://db.example:5432").expect_err("an error").to_string();
            assert!(error.contains("db.example:5432") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_system_knows_this_host() {
        let found = find(&Resolver::system(), "tcp4://localhost:80").expect("addresses");
        assert!(found.contains(&([127, 0, 0, 1], 80).into()), "{found:?}");
        assert_eq!(
            Resolver::system().known(&"tcp://127.0.0.1:80".parse().expect("one")),
            Some(vec![([127, 0, 0, 1], 80).into()])
        );
    }
}
