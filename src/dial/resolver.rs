//! Addresses for a name, looked up on threads of their own: the system's lookup blocks, for as long as it likes.
//!
//! Owns those threads, and who waits for which answer.
//!
//! 1. A question that is asked already is not asked again: all who ask get its answer.
//! 2. A lookup that somebody waits for counts against its resolver's share of the threads; one that nobody waits for any more
//!    counts against nobody's.

use crate::address::{Address, AddressError, Family};
use crate::cores;
use crate::handler::guarded;
use crate::net::sigpipe;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Finds the addresses of a name. The system's way is the default; [`Resolver::new`] puts another in its place, such as a
/// service registry, or addresses that are known already.
///
/// Lookups run on threads of their own, at most 64 of each resolver (clones are the same one) and 512 in a process. The same
/// question is asked once, however many wait for the answer. A lookup that hangs and that nobody waits for any more keeps its
/// thread, but not its place among the 64.
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
    /// The system's: getaddrinfo(3), asked for IPv6 and for IPv4 apart, and services(5) for the name of a port.
    pub fn system() -> Resolver {
        Resolver(None)
    }

    /// A lookup of one's own. It is asked for every address that is not an IP address already, once for both families, and
    /// returns those to be tried, the best first; [`Address::family`] says which family is wanted. It may block. `0.0.0.0` and
    /// `[::]` among them are left out; see [`Address::is_unspecified`].
    ///
    /// # Threads
    /// On one of the threads for lookups. A panic in it counts as an error.
    pub fn new(look_up: impl Fn(&Address) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Resolver {
        Resolver(Some(Arc::new(look_up)))
    }

    /// The lookups that `address` needs, in the order of preference.
    pub(crate) fn families(&self, address: &Address) -> Vec<Family> {
        match (address.family(), &self.0) {
            (Family::Any, None) if address.host_name().is_some() => vec![Family::V6, Family::V4],
            (family, None) => vec![family],
            (_, Some(_)) => vec![Family::Any],
        }
    }

    /// Looks up on a thread for lookups; `then` is called there with what was found, unless the ticket is dropped before.
    ///
    /// # Errors
    /// There is no such thread, and none can be started; `then` is not called.
    pub(crate) fn find(
        &self,
        address: &Address,
        family: Family,
        then: impl FnOnce(Found) + Send + 'static,
    ) -> io::Result<Ticket> {
        let ticket = Arc::new(());
        let question = Question { resolver: self.number(), address: address.clone(), family };
        LOOKUPS.ask(question, self.clone(), Waiter { wanted: Arc::downgrade(&ticket), then: Box::new(then) })?;
        Ok(Ticket(Some(ticket)))
    }

    /// What tells it from others that live.
    fn number(&self) -> usize {
        self.0.as_ref().map_or(0, |own| Arc::as_ptr(own).cast::<()>() as usize)
    }

    fn look_up(&self, address: &Address, family: Family) -> Found {
        let look_up = || match &self.0 {
            None => address.targets_of(family),
            Some(own) => {
                let failed = |error| AddressError::ResolutionFailed(address.to_string(), error);
                address.targets_among(own(address).map_err(failed)?.into_iter())
            }
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(look_up)).unwrap_or_else(|_| {
            let panicked = io::Error::other("the resolver panicked");
            Err(AddressError::ResolutionFailed(address.to_string(), panicked))
        })
    }
}

/// Stands for somebody who wants to know what a lookup finds.
#[derive(Debug)]
pub(crate) struct Ticket(Option<Arc<()>>);

impl Drop for Ticket {
    /// A lookup that nobody waits for any more leaves its share to others.
    fn drop(&mut self) {
        self.0 = None;
        // Without another thread they wait for one of those that there are.
        let _ = LOOKUPS.go_on(&mut LOOKUPS.lock());
    }
}

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    resolver: usize,
    address: Address,
    family: Family,
}

/// Who waits for an answer.
struct Waiter {
    wanted: Weak<()>,
    then: Box<dyn FnOnce(Found) + Send>,
}

impl Waiter {
    fn is_wanted(&self) -> bool {
        self.wanted.strong_count() > 0
    }
}

// --- the threads ------------------------------------------------------------------------------------------------------

/// Lookups of one resolver that run at once and that somebody waits for.
const SHARE: usize = 64;

/// Threads in a process, those of lookups that nobody waits for any more included.
const THREADS_MAX: usize = 512;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(10);

static LOOKUPS: LazyLock<Lookups> = LazyLock::new(Lookups::default);

#[derive(Default)]
struct Lookups {
    inside: Mutex<Inside>,
    came: Condvar,
}

#[derive(Default)]
struct Inside {
    /// Not begun yet.
    queue: VecDeque<(Question, Resolver)>,
    /// Who waits for the answers of those that are.
    begun: HashMap<Question, Vec<Waiter>>,
    /// The same, of those that are not.
    waiting: HashMap<Question, Vec<Waiter>>,
    threads: usize,
    /// Threads that were started so far: the number of the last one.
    started: u64,
    idle: usize,
}

impl Inside {
    /// Where in the queue the first lookup is that somebody waits for and whose resolver has a share left.
    fn next(&self) -> Option<usize> {
        let is_wanted = |waiters: &Vec<Waiter>| waiters.iter().any(Waiter::is_wanted);
        let mut shares = HashMap::new();
        self.begun.iter().filter(|(_, waiters)| is_wanted(waiters)).for_each(|(question, _)| {
            *shares.entry(question.resolver).or_insert(0) += 1;
        });
        let has_share = |question: &Question| shares.get(&question.resolver).is_none_or(|taken| *taken < SHARE);
        self.queue
            .iter()
            .position(|(question, _)| has_share(question) && self.waiting.get(question).is_some_and(is_wanted))
    }

    /// Takes out what nobody waits for any more before it was begun; it is user code that is dropped.
    fn take_unwanted(&mut self) -> Vec<(Vec<Waiter>, Resolver)> {
        let mut unwanted = Vec::new();
        for at in (0..self.queue.len()).rev() {
            let waiters = self.waiting.get(&self.queue[at].0);
            if !waiters.is_some_and(|waiters| waiters.iter().any(Waiter::is_wanted)) {
                if let Some(queued) = self.queue.remove(at) {
                    let waiters = self.waiting.remove(&queued.0).unwrap_or_default();
                    unwanted.push((waiters, queued.1));
                }
            }
        }
        unwanted
    }
}

impl Lookups {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No user code runs under the lock.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&'static self, question: Question, resolver: Resolver, waiter: Waiter) -> io::Result<()> {
        let mut inside = self.lock();
        if let Some(waiters) = inside.begun.get_mut(&question) {
            waiters.push(waiter);
            return Ok(());
        }
        let waiters = inside.waiting.entry(question.clone()).or_default();
        waiters.push(waiter);
        if waiters.len() == 1 {
            inside.queue.push_back((question.clone(), resolver));
        }
        match self.go_on(&mut inside) {
            Err(error) if inside.threads == 0 => {
                inside.queue.retain(|(queued, _)| *queued != question);
                let refused = inside.waiting.remove(&question);
                drop(inside);
                drop(refused);
                Err(error)
            }
            // Those threads that there are will come to it.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Sees to it that a thread takes what can be begun.
    fn go_on(&'static self, inside: &mut Inside) -> io::Result<()> {
        if inside.next().is_none() {
            return Ok(());
        }
        if inside.queue.len() > inside.idle && inside.threads < THREADS_MAX {
            let signals = sigpipe::inherited();
            let work = || {
                signals.undo();
                cores::roam();
                self.work();
            };
            let name = cores::name("windlass-lookup", &format!("-{}", inside.started + 1));
            std::thread::Builder::new().name(name).spawn(work)?;
            inside.threads += 1;
            inside.started += 1;
        }
        self.came.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut inside = self.lock();
        loop {
            let unwanted = inside.take_unwanted();
            if !unwanted.is_empty() {
                drop(inside);
                for one in unwanted {
                    let _ = guarded(|| drop(one));
                }
                inside = self.lock();
                continue;
            }
            if let Some((question, resolver)) = inside.next().and_then(|at| inside.queue.remove(at)) {
                let waiters = inside.waiting.remove(&question).unwrap_or_default();
                inside.begun.insert(question.clone(), waiters);
                drop(inside);
                let found = resolver.look_up(&question.address, question.family);
                // Before the resolver may be gone: another one may get its number then.
                let waiters = self.lock().begun.remove(&question);
                // It may be the last that holds user code, whose drop panics.
                let _ = guarded(|| drop(resolver));
                answer(waiters.unwrap_or_default(), found);
                inside = self.lock();
                continue;
            }
            inside.idle += 1;
            let (back, waited) = self.came.wait_timeout(inside, IDLE).unwrap_or_else(PoisonError::into_inner);
            inside = back;
            inside.idle -= 1;
            if waited.timed_out() && inside.next().is_none() {
                inside.threads -= 1;
                return;
            }
        }
    }
}

/// Tells all who wait, each with a copy of its own.
fn answer(waiters: Vec<Waiter>, found: Found) {
    for waiter in waiters {
        let found = match &found {
            Ok(addresses) => Ok(addresses.clone()),
            Err(error) => Err(error.again()),
        };
        let _ = guarded(move || {
            if waiter.is_wanted() {
                (waiter.then)(found)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    fn find(resolver: &Resolver, address: &str, family: Family) -> Found {
        let (tell, told) = mpsc::channel();
        let ticket = resolver.find(&address.parse().expect("an address"), family, move |found| drop(tell.send(found)));
        let _ticket = ticket.expect("a thread");
        told.recv().expect("an answer")
    }

    /// A resolver that hangs until the sender is dropped, and counts what it is asked.
    fn hanging() -> (Resolver, mpsc::Sender<()>, Arc<Mutex<usize>>) {
        let (hold, held) = mpsc::channel::<()>();
        let (held, asked) = (Mutex::new(held), Arc::new(Mutex::new(0)));
        let counted = asked.clone();
        let resolver = Resolver::new(move |_| {
            *counted.lock().expect("the lock") += 1;
            let _ = held.lock().expect("the lock").recv();
            Ok(vec![([127, 0, 0, 1], 1).into()])
        });
        (resolver, hold, asked)
    }

    fn name(number: usize) -> Address {
        format!("tcp://host{number}.example:1").parse().expect("an address")
    }

    fn until(what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !done() {
            assert!(Instant::now() < end, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn more_lookups_than_threads_are_all_answered() {
        let (tell, told) = mpsc::channel();
        let resolver = Resolver::new(|address| Ok(vec![([127, 0, 0, 1], address.to_string().len() as u16).into()]));
        let mut tickets = Vec::new();
        for number in 0..5 * SHARE {
            let tell = tell.clone();
            let ticket = resolver
                .find(&name(number), Family::Any, move |found| tell.send(found.expect("one").len()).expect("we wait"));
            tickets.push(ticket.expect("a thread"));
        }
        drop(tell);
        assert_eq!(told.iter().sum::<usize>(), 5 * SHARE);
    }

    #[test]
    fn lookups_that_hang_hold_up_neither_other_resolvers_nor_those_that_come_when_nobody_waits_for_them() {
        let (slow, hold, asked) = hanging();
        let waiting: Vec<_> =
            (0..2 * SHARE).map(|number| slow.find(&name(number), Family::Any, |_| ()).expect("a thread")).collect();
        until("its share", || *asked.lock().expect("the lock") == SHARE);
        let begun = Instant::now();
        assert!(find(&Resolver::system(), "tcp4://localhost:80", Family::V4).is_ok());
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        assert_eq!(*asked.lock().expect("the lock"), SHARE, "no more than its share");
        // What was given up before it began is never begun, and what had begun makes room.
        waiting.into_iter().rev().for_each(drop);
        let next = slow.find(&name(9999), Family::Any, |_| ()).expect("a thread");
        until("the next one", || *asked.lock().expect("the lock") == SHARE + 1);
        drop((next, hold));
    }

    #[test]
    fn the_same_question_is_asked_once_and_all_who_ask_get_the_answer() {
        let (slow, hold, asked) = hanging();
        let (tell, told) = mpsc::channel();
        let ask = |address: &Address| {
            let tell = tell.clone();
            slow.find(address, Family::Any, move |found| drop(tell.send(found.map_err(|error| error.to_string()))))
        };
        let first = ask(&name(1)).expect("a thread");
        until("it to begin", || *asked.lock().expect("the lock") == 1);
        let tickets: Vec<_> = (0..10).map(|_| ask(&name(1)).expect("a thread")).collect();
        drop(first);
        drop(hold);
        drop(tell);
        let answers: Vec<_> = (0..10).map(|_| told.recv_timeout(Duration::from_secs(30)).expect("an answer")).collect();
        assert!(answers.iter().all(|answer| *answer == Ok(vec![([127, 0, 0, 1], 1).into()])), "{answers:?}");
        assert_eq!(*asked.lock().expect("the lock"), 1);
        drop(tickets);
    }

    #[test]
    fn a_panic_behind_a_lookup_costs_no_thread() {
        struct Spiteful;
        impl Drop for Spiteful {
            fn drop(&mut self) {
                panic!("on purpose");
            }
        }
        let resolver = Resolver::new(|_| Ok(vec![([127, 0, 0, 1], 1).into()]));
        for number in 0..2 * SHARE {
            let (spiteful, (tell, told)) = (Spiteful, mpsc::channel());
            let then = move |_| {
                let _tell = tell;
                drop(spiteful);
            };
            let _ticket = resolver.find(&name(number), Family::Any, then).expect("a thread");
            assert_eq!(told.recv(), Err::<(), _>(mpsc::RecvError));
        }
        assert!(find(&resolver, "tcp://host.example:1", Family::Any).is_ok());
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
        let _tickets = [1, 2].map(|number| resolver.find(&name(number), Family::Any, |_| ()).expect("a thread"));
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
            let error = find(&resolver, "tcp://db.example:5432", Family::Any).expect_err("an error").to_string();
            assert!(error.contains("db.example:5432") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_system_is_asked_for_one_family_and_knows_this_host() {
        let system = Resolver::system();
        for (text, families) in [
            ("tcp://localhost:80", vec![Family::V6, Family::V4]),
            ("tcp4://localhost:80", vec![Family::V4]),
            ("tcp6://localhost:80", vec![Family::V6]),
            ("tcp://127.0.0.1:http", vec![Family::Any]),
        ] {
            assert_eq!(system.families(&text.parse().expect("an address")), families, "{text}");
        }
        let found = find(&system, "tcp://localhost:http", Family::V4).expect("addresses");
        assert_eq!(found, [([127, 0, 0, 1], 80).into()]);
        let found = find(&system, "tcp4://127.0.0.1:http", Family::V4).expect("addresses");
        assert_eq!(found, [([127, 0, 0, 1], 80).into()]);
        let own = Resolver::new(|_| Ok(Vec::new()));
        assert_eq!(own.families(&"tcp4://db.example:1".parse().expect("an address")), [Family::Any]);
    }
}
