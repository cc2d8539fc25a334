//! Addresses for a name, looked up on threads of their own: the system's lookup blocks, for as long as it likes.
//!
//! Owns those threads, and who waits for which answer. A thread that is done takes what waits for one, or ends.
//!
//! 1. A question that somebody waits for is not asked again: all who ask get its answer.
//! 2. A lookup that somebody waits for counts against its resolver's share. One that nobody waits for any more keeps its thread
//!    and answers nobody: who asks the same then asks anew.
//! 3. No resolver has more threads than it leaves to the others, and all but the system's leave a share to that one.

use crate::address::{Address, AddressError, Family};
use crate::cores;
use crate::handler::guarded;
use crate::net::sigpipe;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Finds the addresses of a name. The system's way is the default; [`Resolver::new`] puts another in its place, such as a
/// service registry, or addresses that are known already.
///
/// Lookups run on threads of their own, at most 64 of each resolver (clones are the same one) and 512 in a process. The same
/// question is asked once, however many wait for the answer. A lookup that hangs and that nobody waits for any more keeps its
/// thread, but not its place among the 64, and who asks the same question asks anew. No resolver has more threads than it leaves
/// to the others: one that always hangs gets 224, and then no more until some return.
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

    /// Looks up on a thread for lookups; `then` is called there with what was found, unless the ticket is dropped first.
    ///
    /// # Errors
    /// There is no such thread, and none can be started; `then` is not called.
    pub(crate) fn find(
        &self,
        address: &Address,
        family: Family,
        then: impl FnOnce(Found) + Send + 'static,
    ) -> io::Result<Ticket> {
        let question = Question { resolver: self.number(), address: address.clone(), family };
        LOOKUPS.ask(question, self.clone(), Box::new(then))
    }

    /// What tells it from others that live.
    fn number(&self) -> usize {
        self.0.as_ref().map_or(SYSTEM, |own| Arc::as_ptr(own).cast::<()>() as usize)
    }

    fn look_up(&self, address: &Address, family: Family) -> Found {
        let failed = |error| AddressError::ResolutionFailed(address.to_string(), error);
        let look_up = || match &self.0 {
            None => address.targets_of(family),
            // The text of its error is its code, too.
            Some(own) => match own(address) {
                Ok(found) => address.targets_among(found.into_iter()),
                Err(error) => Err(failed(io::Error::new(error.kind(), error.to_string()))),
            },
        };
        guarded(look_up).unwrap_or_else(|| Err(failed(io::Error::other("the resolver panicked"))))
    }
}

/// Stands for somebody who waits for what a lookup finds.
#[derive(Debug)]
pub(crate) struct Ticket {
    question: Question,
    number: u64,
}

impl Drop for Ticket {
    /// A lookup that nobody waits for any more leaves its share to others.
    fn drop(&mut self) {
        let mut inside = LOOKUPS.lock();
        let given_up = inside.give_up(self);
        // Without another thread they wait for one of those that there are.
        let _ = LOOKUPS.start(&mut inside);
        drop(inside);
        let _ = guarded(|| drop(given_up));
    }
}

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    resolver: usize,
    address: Address,
    family: Family,
}

/// A question with its number and who answers it.
#[derive(Clone)]
struct Query {
    number: u64,
    question: Question,
    resolver: Resolver,
}

/// Who waits for the answer to a question, by the numbers of their tickets.
struct Asked {
    lookup: u64,
    waiters: BTreeMap<u64, Then>,
}

type Then = Box<dyn FnOnce(Found) + Send>;

// --- the threads ------------------------------------------------------------------------------------------------------

/// Lookups of one resolver that run at once and that somebody waits for.
const SHARE: usize = 64;

/// Threads in a process, those of lookups that nobody waits for any more included.
const THREADS_MAX: usize = 512;

/// The number of the system's resolver.
const SYSTEM: usize = 0;

static LOOKUPS: LazyLock<Lookups> = LazyLock::new(Lookups::default);

#[derive(Default)]
struct Lookups(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    asked: HashMap<Question, Asked>,
    /// By resolver; only of those that have something in them.
    shares: BTreeMap<usize, Share>,
    threads: usize,
    /// The last number of a lookup or a ticket.
    numbers: u64,
}

/// What one resolver has.
#[derive(Default)]
struct Share {
    threads: usize,
    /// Those of its threads whose answer somebody waits for.
    wanted: usize,
    /// Not begun yet, the oldest first.
    queue: BTreeMap<u64, Query>,
}

impl Inside {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Takes the next lookup that may have a thread now, and counts it as begun.
    fn next(&mut self) -> Option<Query> {
        let left = THREADS_MAX.saturating_sub(self.threads);
        let may_begin = |resolver: usize, share: &Share| {
            let left = if resolver == SYSTEM { left } else { left.saturating_sub(SHARE) };
            !share.queue.is_empty() && share.wanted < SHARE && share.threads < left
        };
        let (_, share) = self.shares.iter_mut().find(|(resolver, share)| may_begin(**resolver, share))?;
        let (_, lookup) = share.queue.pop_first()?;
        share.threads += 1;
        share.wanted += 1;
        self.threads += 1;
        Some(lookup)
    }

    /// A lookup gives its thread back; whoever waits for its answer is returned.
    fn end(&mut self, lookup: &Query) -> BTreeMap<u64, Then> {
        self.threads -= 1;
        let is_wanted = self.asked.get(&lookup.question).is_some_and(|asked| asked.lookup == lookup.number);
        self.share(&lookup.question, |share| {
            share.threads -= 1;
            share.wanted -= usize::from(is_wanted);
        });
        let asked = if is_wanted { self.asked.remove(&lookup.question) } else { None };
        asked.map(|asked| asked.waiters).unwrap_or_default()
    }

    /// Somebody waits no longer. Returns what is to be dropped outside the lock: user code may be in it.
    fn give_up(&mut self, ticket: &Ticket) -> Option<(Then, Option<Query>)> {
        let asked = self.asked.get_mut(&ticket.question)?;
        let then = asked.waiters.remove(&ticket.number)?;
        if !asked.waiters.is_empty() {
            return Some((then, None));
        }
        let number = asked.lookup;
        self.asked.remove(&ticket.question);
        let queued = self.share(&ticket.question, |share| {
            let queued = share.queue.remove(&number);
            share.wanted -= usize::from(queued.is_none());
            queued
        });
        Some((then, queued))
    }

    fn share<T>(&mut self, question: &Question, change: impl FnOnce(&mut Share) -> T) -> T {
        let share = self.shares.entry(question.resolver).or_default();
        let changed = change(share);
        if share.threads == 0 && share.queue.is_empty() {
            self.shares.remove(&question.resolver);
        }
        changed
    }
}

impl Lookups {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No user code runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&'static self, question: Question, resolver: Resolver, then: Then) -> io::Result<Ticket> {
        let mut inside = self.lock();
        let ticket = Ticket { number: inside.number(), question: question.clone() };
        if let Some(asked) = inside.asked.get_mut(&question) {
            asked.waiters.insert(ticket.number, then);
            return Ok(ticket);
        }
        let lookup = Query { number: inside.number(), question: question.clone(), resolver };
        let (number, waiters) = (lookup.number, BTreeMap::from([(ticket.number, then)]));
        inside.share(&question, |share| share.queue.insert(number, lookup));
        inside.asked.insert(question, Asked { lookup: number, waiters });
        let started = self.start(&mut inside);
        // Before the ticket is dropped, if it is in vain.
        drop(inside);
        started.map(|()| ticket)
    }

    /// Starts a thread for each lookup that may have one.
    ///
    /// # Errors
    /// There is none, and none can be started. Where there are others, they will come to it.
    fn start(&'static self, inside: &mut Inside) -> io::Result<()> {
        while let Some(lookup) = inside.next() {
            let (signals, number, taken) = (sigpipe::inherited(), lookup.number, lookup.clone());
            let work = move || {
                signals.undo();
                cores::roam();
                self.work(taken);
            };
            let name = cores::name("windlass-lookup", &format!("-{number}"));
            if let Err(error) = std::thread::Builder::new().name(name).spawn(work) {
                inside.threads -= 1;
                let others = inside.threads;
                inside.share(&lookup.question.clone(), |share| {
                    share.threads -= 1;
                    share.wanted -= 1;
                    share.queue.insert(number, lookup);
                });
                return if others == 0 { Err(error) } else { Ok(()) };
            }
        }
        Ok(())
    }

    fn work(&'static self, first: Query) {
        let mut next = Some(first);
        while let Some(lookup) = next {
            let found = lookup.resolver.look_up(&lookup.question.address, lookup.question.family);
            // Before the resolver may be gone: another one may get its number then.
            let waiters = self.lock().end(&lookup);
            // It may be the last that holds user code, whose drop panics.
            let _ = guarded(|| drop(lookup));
            for then in waiters.into_values() {
                let found = match &found {
                    Ok(addresses) => Ok(addresses.clone()),
                    Err(error) => Err(error.again()),
                };
                let _ = guarded(|| then(found));
            }
            let mut inside = self.lock();
            next = inside.next();
            // What may begin beside it.
            let _ = self.start(&mut inside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

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

    /// What panics whatever is done with it.
    #[derive(Debug)]
    struct Spiteful;

    impl Drop for Spiteful {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("on purpose");
            }
        }
    }

    impl std::fmt::Display for Spiteful {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("on purpose");
        }
    }

    impl std::error::Error for Spiteful {}

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
    fn a_lookup_that_nobody_waits_for_any_more_answers_nobody_and_is_asked_anew() {
        // A connector whose first lookup hung for good waited for the same one at each attempt.
        let (slow, hold, asked) = hanging();
        let ask = || slow.find(&name(1), Family::Any, |_| ()).expect("a thread");
        for count in 1..=3 {
            let ticket = ask();
            until("it to begin", || *asked.lock().expect("the lock") == count);
            drop(ticket);
        }
        let (tell, told) = mpsc::channel();
        let last = slow.find(&name(1), Family::Any, move |found| tell.send(found.is_ok()).expect("we wait"));
        until("it to begin", || *asked.lock().expect("the lock") == 4);
        drop(hold);
        assert_eq!((told.recv(), told.recv().is_err()), (Ok(true), true), "answered once");
        drop(last);
    }

    #[test]
    fn a_resolver_that_always_hangs_leaves_threads_to_the_others() {
        // Lookups that were given up took all threads of the process, and `localhost` waited for one.
        let (slow, hold, asked) = hanging();
        let share = |look: fn(&Share) -> usize| LOOKUPS.lock().shares.get(&slow.number()).map_or(0, look);
        for number in 0..THREADS_MAX + 10 {
            let before = *asked.lock().expect("the lock");
            let ticket = slow.find(&name(number), Family::Any, |_| ()).expect("a thread");
            until("it to begin, or to have to wait", || {
                *asked.lock().expect("the lock") > before || share(|share| share.queue.len()) > 0
            });
            drop(ticket);
        }
        assert!(share(|share| share.threads) <= (THREADS_MAX - SHARE) / 2, "{}", share(|share| share.threads));
        assert_eq!(share(|share| share.wanted + share.queue.len()), 0, "nothing of what was given up is left");
        let others = Resolver::new(|_| Ok(vec![([127, 0, 0, 1], 1).into()]));
        let begun = Instant::now();
        assert!(find(&others, "tcp://host.example:1", Family::Any).is_ok());
        assert!(find(&Resolver::system(), "tcp4://localhost:80", Family::V4).is_ok());
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        drop(hold);
        until("the threads to end", || share(|share| share.threads) == 0);
    }

    #[test]
    fn a_panic_behind_a_lookup_costs_no_thread() {
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
        // Both of these ended the thread, and who waited was told nothing.
        let spiteful = Resolver::new(|_| std::panic::panic_any(Spiteful));
        let unspeakable = Resolver::new(|_| Err(io::Error::other(Spiteful)));
        let all = [(fails, "no such service"), (none, ""), (panics, "panicked")];
        for (resolver, says) in all.into_iter().chain([(spiteful, "panicked"), (unspeakable, "panicked")]) {
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
