//! Addresses for a name, looked up on threads of their own: the system's lookup blocks, for as long as it likes.
//!
//! Owns those threads. There are as many as lookups are under way, at most 64 in a process; more lookups wait for them.

use crate::address::{Address, AddressError};
use crate::cores;
use crate::handler::guarded;
use crate::net::sigpipe;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
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
    /// tried, the best first. It may block. `0.0.0.0` and `[::]` among them are left out; see
    /// [`Address::is_unspecified`].
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

    /// Looks up on a thread for lookups; `then` is told there, unless the ticket was dropped before the lookup began.
    ///
    /// # Errors
    /// There is no such thread, and none can be started; nothing is told then.
    pub(crate) fn find(&self, address: &Address, then: impl FnOnce(Found) + Send + 'static) -> io::Result<Ticket> {
        let (address, own) = (address.clone(), self.0.clone());
        let (ticket, lookup) = (Arc::new(()), Arc::new(()));
        let (wanted, goes_on) = (Arc::downgrade(&ticket), Arc::downgrade(&lookup));
        LOOKUPS.run(Box::new(move || {
            let _goes_on = lookup;
            if wanted.strong_count() == 0 {
                return;
            }
            let look_up = || match own {
                None => address.targets(),
                Some(own) => {
                    let failed = |error| AddressError::ResolutionFailed(address.to_string(), error);
                    let found = own(&address).map_err(failed)?;
                    address.targets_among(found.into_iter())
                }
            };
            let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look_up));
            then(looked.unwrap_or_else(|_| {
                let panicked = io::Error::other("the resolver panicked");
                Err(AddressError::ResolutionFailed(address.to_string(), panicked))
            }));
        }))?;
        Ok(Ticket { _wanted: ticket, goes_on })
    }
}

/// Stands for somebody who wants to know what a lookup finds.
#[derive(Debug)]
pub(crate) struct Ticket {
    _wanted: Arc<()>,
    goes_on: Weak<()>,
}

impl Ticket {
    /// Whether the lookup waits or goes on.
    pub(crate) fn goes_on(&self) -> bool {
        self.goes_on.strong_count() > 0
    }
}

// --- the threads ------------------------------------------------------------------------------------------------------

/// Lookups that run at once.
const THREADS_MAX: usize = 64;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

static LOOKUPS: Lookups = Lookups {
    inside: Mutex::new(Inside { jobs: VecDeque::new(), threads: 0, started: 0, idle: 0 }),
    came: Condvar::new(),
};

struct Lookups {
    inside: Mutex<Inside>,
    came: Condvar,
}

struct Inside {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that were started so far: the number of the last one.
    started: u64,
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
            let signals = sigpipe::inherited();
            let work = || {
                signals.undo();
                cores::roam();
                self.work();
            };
            let name = cores::name("windlass-lookup", &format!("-{}", inside.started + 1));
            match std::thread::Builder::new().name(name).spawn(work) {
                Ok(_) => {
                    inside.threads += 1;
                    inside.started += 1;
                }
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
                // It may be the last that holds user code, whose drop panics.
                let _ = guarded(job);
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
        let ticket = resolver.find(&address.parse().expect("an address"), move |found| drop(tell.send(found)));
        let _ticket = ticket.expect("a thread");
        told.recv().expect("an answer")
    }

    #[test]
    fn more_lookups_than_threads_are_all_answered() {
        let (tell, told) = mpsc::channel();
        let resolver = Resolver::new(|address| Ok(vec![([127, 0, 0, 1], address.to_string().len() as u16).into()]));
        let mut tickets = Vec::new();
        for number in 0..5 * THREADS_MAX {
            let tell = tell.clone();
            let address: Address = format!("tcp://host{number}.example:1").parse().expect("an address");
            let ticket = resolver
                .find(&address, move |found| tell.send(found.expect("addresses").len()).expect("somebody waits"));
            tickets.push(ticket.expect("a thread"));
        }
        drop(tell);
        assert_eq!(told.iter().sum::<usize>(), 5 * THREADS_MAX);
    }

    #[test]
    fn nobody_looks_up_what_nobody_wants_any_more_and_a_panic_behind_a_lookup_costs_no_thread() {
        struct Spiteful;
        impl Drop for Spiteful {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let address: Address = "tcp://host.example:1".parse().expect("an address");
        let resolver = Resolver::new(|_| Ok(vec![([127, 0, 0, 1], 1).into()]));
        for _ in 0..2 * THREADS_MAX {
            let spiteful = Spiteful;
            let ticket = resolver.find(&address, move |_| drop(spiteful)).expect("a thread");
            while ticket.goes_on() {
                std::thread::yield_now();
            }
        }
        let (hold, held) = mpsc::channel::<()>();
        let (held, asked) = (Mutex::new(held), Arc::new(Mutex::new(0)));
        let counted = asked.clone();
        let slow = Resolver::new(move |_| {
            *counted.lock().expect("the lock") += 1;
            let _ = held.lock().expect("the lock").recv();
            Ok(vec![([127, 0, 0, 1], 1).into()])
        });
        // So many hold all threads that there are; the last one is not begun before it is given up.
        let waiting: Vec<_> = (0..THREADS_MAX).map(|_| slow.find(&address, |_| ()).expect("a thread")).collect();
        let unwanted = slow.find(&address, |_| panic!("it was given up")).expect("a thread");
        let goes_on = unwanted.goes_on.clone();
        drop(unwanted);
        drop(hold);
        while goes_on.strong_count() > 0 || waiting.iter().any(Ticket::goes_on) {
            std::thread::yield_now();
        }
        assert!(*asked.lock().expect("the lock") <= THREADS_MAX);
    }

    #[test]
    fn lookups_at_once_have_threads_of_different_names() {
        let both = Arc::new(std::sync::Barrier::new(2));
        let (tell, told) = mpsc::channel();
        let meets = both.clone();
        let resolver = Resolver::new(move |_| {
            tell.send(std::thread::current().name().unwrap_or_default().to_owned()).expect("somebody waits");
            meets.wait();
            Ok(vec![([127, 0, 0, 1], 1).into()])
        });
        let address = "tcp://host.example:1".parse().expect("an address");
        let _tickets = [(); 2].map(|()| resolver.find(&address, |_| ()).expect("a thread"));
        let names: Vec<String> = told.iter().take(2).collect();
        let is_one = |name: &String| name.starts_with("windlass-") && name.len() <= 15;
        assert!(names[0] != names[1] && names.iter().all(is_one), "{names:?}");
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
