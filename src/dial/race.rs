//! When a name is looked up, which address is tried when, and which attempt wins; Happy Eyeballs, RFC 8305.
//!
//! Owns the order, the pace and the deadline. Knows no socket and never reads the clock: it learns what lookups and attempts came
//! to and what time it is, and answers with the next [`Step`].
//!
//! 1. At any time something is under way, or due, or it is over.
//! 2. Each attempt that was started fails, is cancelled, or wins; at most one wins. No address has two.

use crate::address::Family;
use crate::clock;
use crate::net::stream::Target;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an attempt has before the next one starts beside it; RFC 8305, section 8.
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long addresses of IPv4 wait for those of IPv6; RFC 8305, section 8.
pub(crate) const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// The first and the longest wait before a full Unix backlog is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(128));

/// Both delays are a quarter of all the time there is at most, so that a short one is enough for several addresses, and so long at
/// least; RFC 8305, section 5.
const DELAY_MIN: Duration = Duration::from_millis(10);

/// What one lookup found is cut to so many addresses, and so many are remembered as those to be tried last.
const ADDRESSES_MAX: usize = 64;

/// Attempts under way at once: so many descriptors a connect may hold.
const ATTEMPTS_MAX: usize = 64;

/// The number of an attempt. What found a full backlog keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct Attempt(usize);

/// What is to be done now.
#[derive(Debug)]
pub(crate) enum Step<E> {
    /// Look up the addresses of this family.
    Look(Family),
    /// Begin to connect there, beside what is under way.
    Start(Attempt, Target),
    /// Wait for what is under way, until then at most.
    Wait(Instant),
    /// End this attempt.
    Cancel(Attempt),
    /// It is over: the first that was ready is the connection.
    Won,
    /// It is over: there is no connection.
    Failed(Failed<E>),
}

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed<E> {
    /// Its name was not looked up before the deadline.
    Unresolved,
    /// None of so many addresses was connected to before the deadline.
    Late(usize),
    /// The last of so many addresses failed with this; with none, a lookup did.
    Last(E, usize),
}

impl<E> Failed<E> {
    /// The same, with another error in it.
    pub(crate) fn map<F>(self, change: impl FnOnce(E) -> F) -> Failed<F> {
        match self {
            Failed::Unresolved => Failed::Unresolved,
            Failed::Late(tried) => Failed::Late(tried),
            Failed::Last(error, tried) => Failed::Last(change(error), tried),
        }
    }
}

/// A connect to one of several addresses of a name: the first that is ready wins.
#[derive(Debug)]
pub(crate) struct Race<E> {
    /// Still to be looked up, the next one last.
    looks: Vec<Family>,
    unanswered: Vec<Family>,
    waiting: Vec<Target>,
    /// Those to be tried last, the latest failure last.
    shunned: Vec<SocketAddr>,
    /// What was started so far, by the numbers of the attempts.
    tried: Vec<Target>,
    under_way: Vec<Attempt>,
    /// Those that found a full backlog.
    busy: Vec<Attempt>,
    won: Option<Attempt>,
    /// Which family is to be tried next, of both.
    next_family: Family,
    /// Before that nothing starts, unless something fails.
    next_at: Instant,
    pause: Duration,
    time: Duration,
    until: Instant,
    last: Option<E>,
}

impl<E> Race<E> {
    /// Tries the one place that is known without a lookup.
    pub(crate) fn to(target: Target, now: Instant, until: Instant) -> Race<E> {
        let mut race = Race::among(Vec::new(), Vec::new(), now, until);
        race.waiting.push(target);
        race
    }

    /// Tries what is found by lookups of these families, those in `shunned` last.
    pub(crate) fn among(mut looks: Vec<Family>, shunned: Vec<SocketAddr>, now: Instant, until: Instant) -> Race<E> {
        looks.reverse();
        Race {
            looks,
            unanswered: Vec::new(),
            waiting: Vec::new(),
            shunned,
            tried: Vec::new(),
            under_way: Vec::new(),
            busy: Vec::new(),
            won: None,
            next_family: Family::V6,
            next_at: now,
            pause: RETRY.0,
            time: until.saturating_duration_since(now),
            until,
            last: None,
        }
    }

    /// When it must be over.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    pub(crate) fn extend(&mut self, until: Instant) {
        self.until = until;
    }

    /// Returns what to do; to be asked again until it says `Wait`, `Won` or `Failed`.
    pub(crate) fn step(&mut self, now: Instant) -> Step<E> {
        if self.won.is_some() || now >= self.until {
            return self.end();
        }
        if let Some(family) = self.looks.pop() {
            self.unanswered.push(family);
            return Step::Look(family);
        }
        if self.has_next() {
            if self.next_at > now {
                return Step::Wait(self.next_at.min(self.until));
            }
            if let Some(attempt) = self.busy.pop().or_else(|| self.pick()) {
                self.under_way.push(attempt);
                self.next_at = clock::until(now, self.delay(ATTEMPT_DELAY));
                return Step::Start(attempt, self.tried[attempt.0].clone());
            }
        }
        if self.under_way.is_empty() && self.unanswered.is_empty() {
            // Race 1: of no lookup and no attempt there is no error either; time is over for those.
            return Step::Failed(
                self.last.take().map_or(Failed::Unresolved, |last| Failed::Last(last, self.tried.len())),
            );
        }
        Step::Wait(self.until)
    }

    /// Cancels what has not won, and then says what came of it.
    fn end(&mut self) -> Step<E> {
        let lost = self.under_way.iter().position(|attempt| Some(*attempt) != self.won);
        if let Some(lost) = lost {
            let attempt = self.under_way[lost];
            if self.won.is_none_or(|won| attempt < won) {
                self.shun(attempt);
            }
            if self.won.is_none() {
                self.last = None;
            }
            return Step::Cancel(self.under_way.remove(lost));
        }
        match (self.won, self.last.take(), self.tried.len()) {
            (Some(_), ..) => Step::Won,
            (None, _, 0) if self.waiting.is_empty() => Step::Failed(Failed::Unresolved),
            // Only a lookup was still waited for.
            (None, Some(last), tried @ 1..) => Step::Failed(Failed::Last(last, tried)),
            (None, _, tried) => Step::Failed(Failed::Late(tried.max(1))),
        }
    }

    /// Whether there is something that may start when its time comes.
    fn has_next(&self) -> bool {
        self.under_way.len() < ATTEMPTS_MAX && (!self.busy.is_empty() || !self.waiting.is_empty())
    }

    fn delay(&self, usual: Duration) -> Duration {
        usual.min((self.time / 4).max(DELAY_MIN))
    }

    /// Takes the next address: what is not shunned, families in turn, in the order of the resolver; RFC 8305, section 4.
    fn pick(&mut self) -> Option<Attempt> {
        let rank = |target: &Target| match target {
            Target::Ip(ip) => (self.shunned.iter().position(|shunned| shunned == ip), family(ip) != self.next_family),
            Target::Unix(_) => (None, false),
        };
        let (best, _) = self.waiting.iter().enumerate().min_by_key(|(_, target)| rank(target))?;
        let target = self.waiting.remove(best);
        if let Target::Ip(ip) = target {
            self.next_family = if ip.is_ipv6() { Family::V4 } else { Family::V6 };
        }
        self.tried.push(target);
        Some(Attempt(self.tried.len() - 1))
    }

    /// A lookup has ended. Addresses of IPv4 wait a moment for those of IPv6 (RFC 8305, section 3).
    pub(crate) fn found(&mut self, asked: Family, found: Result<Vec<SocketAddr>, E>, now: Instant) {
        self.unanswered.retain(|family| *family != asked);
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(error) => {
                if self.tried.is_empty() {
                    self.last = Some(error);
                }
                Vec::new()
            }
        };
        if asked == Family::Any {
            self.next_family = addresses.first().map_or(Family::V6, family);
        }
        self.take_in(addresses);
        if self.tried.is_empty() {
            let waits = self.unanswered.contains(&Family::V6) || self.looks.contains(&Family::V6);
            self.next_at = if waits { clock::until(now, self.delay(RESOLUTION_DELAY)) } else { now };
        } else if self.under_way.is_empty() {
            self.next_at = now;
        }
    }

    /// Takes in as many addresses as there may be, each once; of more, those to be tried last are left out first.
    fn take_in(&mut self, addresses: Vec<SocketAddr>) {
        let (last, first): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|at| self.shunned.contains(at));
        let room = self.waiting.len() + ADDRESSES_MAX;
        for target in first.into_iter().chain(last).map(Target::Ip) {
            if self.waiting.len() < room && !self.waiting.contains(&target) && !self.tried.contains(&target) {
                self.waiting.push(target);
            }
        }
    }

    /// The addresses that are to be tried last next time: with what was known before, those that were connected to in vain
    /// ([`Race::shun`]), and those that had still not answered when a later one won, or at the deadline.
    pub(crate) fn shunned(&mut self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.shunned)
    }

    /// An attempt that was connected comes to nothing: its handshake failed.
    pub(crate) fn shun(&mut self, attempt: Attempt) {
        if let Some(Target::Ip(ip)) = self.tried.get(attempt.0) {
            shun(&mut self.shunned, *ip);
        }
    }

    /// An attempt has failed: the next one need not wait.
    pub(crate) fn failed(&mut self, attempt: Attempt, error: E, now: Instant) {
        if self.remove(attempt) {
            self.last = Some(error);
            self.next_at = self.next_at.min(now);
        }
    }

    /// An attempt found a full Unix backlog, which no event announces the end of: it is made again after a while.
    pub(crate) fn busy(&mut self, attempt: Attempt, now: Instant) {
        if self.remove(attempt) {
            self.busy.push(attempt);
            self.next_at = clock::until(now, self.pause);
            self.pause = (self.pause * 2).min(RETRY.1);
        }
    }

    /// An attempt is ready for use, with TLS its handshake done. Of two only the first wins.
    pub(crate) fn ready(&mut self, attempt: Attempt) {
        if self.won.is_none() && self.under_way.contains(&attempt) {
            self.won = Some(attempt);
        }
    }

    /// Whether it was under way.
    fn remove(&mut self, attempt: Attempt) -> bool {
        let at = self.under_way.iter().position(|under_way| *under_way == attempt);
        at.map(|at| self.under_way.remove(at)).is_some()
    }
}

fn family(ip: &SocketAddr) -> Family {
    if ip.is_ipv4() { Family::V4 } else { Family::V6 }
}

/// Takes note of an address that is to be tried last, behind those that failed earlier.
pub(crate) fn shun(shunned: &mut Vec<SocketAddr>, address: SocketAddr) {
    forgive(shunned, address);
    if shunned.len() == ADDRESSES_MAX {
        shunned.remove(0);
    }
    shunned.push(address);
}

/// An address has proved good.
pub(crate) fn forgive(shunned: &mut Vec<SocketAddr>, address: SocketAddr) {
    shunned.retain(|other| *other != address);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn ip(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn ips(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| ip(text)).collect()
    }

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A race whose lookups have begun.
    fn looking(families: &[Family], shunned: &[&str], start: Instant) -> Race<&'static str> {
        let mut race = Race::among(families.to_vec(), ips(shunned), start, start + millis(10_000));
        for family in families {
            assert!(matches!(race.step(start), Step::Look(asked) if asked == *family));
        }
        race
    }

    fn started(race: &mut Race<&'static str>, now: Instant, expected: &str) -> Attempt {
        match race.step(now) {
            Step::Start(attempt, Target::Ip(at)) if at == ip(expected) => attempt,
            other => panic!("{other:?} and not {expected}"),
        }
    }

    fn waits(race: &mut Race<&'static str>, now: Instant, expected: Instant) {
        match race.step(now) {
            Step::Wait(until) => assert_eq!(until, expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses_of_ipv4_wait_fifty_milliseconds_for_those_of_ipv6_and_no_longer() {
        let start = Instant::now();
        let mut race = looking(&[Family::V6, Family::V4], &[], start);
        waits(&mut race, start, start + millis(10_000));
        race.found(Family::V4, Ok(ips(&["1.1.1.1:1"])), start + millis(7));
        waits(&mut race, start + millis(8), start + millis(57));
        // Those that come in time are tried first, and those that come late beside the others.
        let mut in_time = looking(&[Family::V6, Family::V4], &[], start);
        in_time.found(Family::V4, Ok(ips(&["1.1.1.1:1"])), start);
        in_time.found(Family::V6, Ok(ips(&["[::1]:1"])), start + millis(40));
        started(&mut in_time, start + millis(40), "[::1]:1");
        started(&mut race, start + millis(57), "1.1.1.1:1");
        waits(&mut race, start + millis(58), start + millis(10_000));
        race.found(Family::V6, Ok(ips(&["[::1]:1"])), start + millis(100));
        waits(&mut race, start + millis(101), start + millis(307));
        started(&mut race, start + millis(307), "[::1]:1");
        // That there are none ends the wait, and those of IPv6 wait for nobody.
        let mut none = looking(&[Family::V6, Family::V4], &[], start);
        none.found(Family::V4, Ok(ips(&["1.1.1.1:1"])), start);
        none.found(Family::V6, Err("none"), start + millis(1));
        started(&mut none, start + millis(1), "1.1.1.1:1");
        let mut first = looking(&[Family::V6, Family::V4], &[], start);
        first.found(Family::V6, Ok(ips(&["[::1]:1"])), start);
        started(&mut first, start, "[::1]:1");
    }

    #[test]
    fn families_take_turns_in_the_order_of_the_resolver_and_shunned_addresses_come_last() {
        let start = Instant::now();
        let order = |shunned: &[&str], given: &[&str]| {
            let mut race = looking(&[Family::Any], shunned, start);
            race.found(Family::Any, Ok(ips(given)), start);
            let tried = std::iter::from_fn(|| match race.step(start) {
                Step::Start(attempt, Target::Ip(at)) => {
                    race.failed(attempt, "", start);
                    Some(at.to_string())
                }
                _ => None,
            });
            tried.collect::<Vec<_>>()
        };
        let given = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        assert_eq!(order(&[], &given), ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
        assert_eq!(order(&[], &["1.1.1.1:1", "[::1]:1", "[::2]:1"]), ["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
        let last = order(&["[::1]:1", "1.1.1.1:1"], &given);
        assert_eq!(last, ["[::2]:1", "2.2.2.2:1", "[::3]:1", "[::1]:1", "1.1.1.1:1"]);
    }

    #[test]
    fn the_next_one_starts_after_a_delay_or_a_failure_and_the_last_error_is_told() {
        let start = Instant::now();
        let mut race = looking(&[Family::Any], &[], start);
        race.found(Family::Any, Ok(ips(&["[::1]:1", "1.1.1.1:1", "[::2]:1"])), start);
        let first = started(&mut race, start, "[::1]:1");
        waits(&mut race, start, start + ATTEMPT_DELAY);
        let later = start + ATTEMPT_DELAY;
        let second = started(&mut race, later, "1.1.1.1:1");
        race.failed(first, "first", later);
        let third = started(&mut race, later, "[::2]:1");
        race.failed(third, "third", later);
        waits(&mut race, later, start + millis(10_000));
        race.failed(second, "second", later);
        assert!(matches!(race.step(later), Step::Failed(Failed::Last("second", 3))));
    }

    #[test]
    fn what_had_not_answered_when_another_one_won_is_cancelled_and_comes_last_next_time() {
        let start = Instant::now();
        let mut race = looking(&[Family::Any], &[], start);
        race.found(Family::Any, Ok(ips(&["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"])), start);
        let first = started(&mut race, start, "1.1.1.1:1");
        let second = started(&mut race, start + ATTEMPT_DELAY, "2.2.2.2:1");
        let third = started(&mut race, start + ATTEMPT_DELAY * 2, "3.3.3.3:1");
        race.ready(second);
        race.ready(third);
        assert!(matches!(race.step(start + millis(20_000)), Step::Cancel(lost) if lost == first));
        assert!(matches!(race.step(start), Step::Cancel(lost) if lost == third));
        assert!(matches!(race.step(start), Step::Won) && race.won == Some(second));
        assert_eq!(race.shunned(), ips(&["1.1.1.1:1"]));
    }

    #[test]
    fn the_deadline_is_one_for_lookups_and_attempts() {
        let start = Instant::now();
        let end = start + millis(10_000);
        let mut race = looking(&[Family::V6, Family::V4], &[], start);
        assert!(matches!(race.step(end), Step::Failed(Failed::Unresolved)));
        let mut race = looking(&[Family::Any], &[], start);
        race.found(Family::Any, Ok(ips(&["1.1.1.1:1"])), start);
        let attempt = started(&mut race, start, "1.1.1.1:1");
        assert!(matches!(race.step(end), Step::Cancel(late) if late == attempt));
        assert!(matches!(race.step(end), Step::Failed(Failed::Late(1))));
        let mut race = looking(&[Family::V6, Family::V4], &[], start);
        race.found(Family::V6, Err("v6"), start);
        race.found(Family::V4, Err("v4"), start);
        assert!(matches!(race.step(start), Step::Failed(Failed::Last("v4", 0))));
    }

    #[test]
    fn a_full_backlog_is_tried_again_after_waits_that_grow() {
        let start = Instant::now();
        let mut now = start;
        let mut race = Race::<()>::to(Target::Ip(ip("1.1.1.1:1")), start, start + millis(10_000));
        let mut gaps = Vec::new();
        for _ in 0..10 {
            let Step::Start(attempt, _) = race.step(now) else { panic!("it is due") };
            race.busy(attempt, now);
            let Step::Wait(until) = race.step(now) else { panic!("it waits") };
            gaps.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(gaps, [1, 2, 4, 8, 16, 32, 64, 128, 128, 128]);
        assert!(matches!(race.step(start + millis(10_000)), Step::Failed(Failed::Late(1))));
    }

    #[test]
    fn a_short_time_is_enough_for_several_addresses() {
        // With 200 ms a second address was never tried, and with 40 ms none, where nobody answered for the other family.
        let start = Instant::now();
        let mut race = Race::<()>::among(vec![Family::V6, Family::V4], Vec::new(), start, start + millis(40));
        assert!(matches!((race.step(start), race.step(start)), (Step::Look(Family::V6), Step::Look(Family::V4))));
        race.found(Family::V4, Ok(ips(&["1.1.1.1:1", "2.2.2.2:1"])), start);
        let mut gaps = Vec::new();
        let mut now = start;
        while let Step::Start(..) | Step::Wait(_) = race.step(now) {
            let Step::Wait(until) = race.step(now) else { continue };
            gaps.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(gaps, [10, 10, 20], "two starts, then the deadline");
    }

    #[test]
    fn what_a_lookup_found_is_cut_and_leaves_room_for_the_other_family_and_for_what_is_not_known_to_be_bad() {
        // A name with 64 addresses of IPv6 had none of IPv4.
        let start = Instant::now();
        let many = |first: u8, count: u16| -> Vec<SocketAddr> {
            (0..count).map(|n| ([first, 0, (n >> 8) as u8, n as u8], 1).into()).collect()
        };
        let shunned: Vec<String> = many(1, 3).iter().map(ToString::to_string).collect();
        let shunned: Vec<&str> = shunned.iter().map(String::as_str).collect();
        let mut race = looking(&[Family::V6, Family::V4], &shunned, start);
        race.found(Family::V6, Ok(many(1, 10_000)), start);
        race.found(Family::V4, Ok([many(2, 10), many(2, 10), many(1, 10)].concat()), start);
        assert_eq!(race.waiting.len(), ADDRESSES_MAX + 13);
        assert!(
            race.waiting.contains(&Target::Ip(many(1, 67)[66])) && race.waiting.contains(&Target::Ip(many(2, 10)[9]))
        );
        // No more are under way at once than there may be, and each that fails makes room for another one.
        let mut now = start;
        let mut under_way = Vec::new();
        while under_way.len() < ATTEMPTS_MAX {
            match race.step(now) {
                Step::Start(attempt, _) => under_way.push(attempt),
                _ => now += ATTEMPT_DELAY,
            }
            race.extend(now + millis(10_000));
        }
        waits(&mut race, now + millis(5_000), now + millis(10_000));
        race.failed(under_way[7], "", now);
        assert!(matches!(race.step(now), Step::Start(..)));
        waits(&mut race, now + millis(5_000), now + millis(10_000));
    }

    #[test]
    fn what_had_not_answered_at_the_deadline_comes_last_next_time_and_an_answer_is_not_forgotten_there() {
        let start = Instant::now();
        let end = start + millis(10_000);
        let mut race = looking(&[Family::Any], &[], start);
        race.found(Family::Any, Ok(ips(&["1.1.1.1:1", "2.2.2.2:1"])), start);
        let silent = started(&mut race, start, "1.1.1.1:1");
        let refuses = started(&mut race, start + ATTEMPT_DELAY, "2.2.2.2:1");
        race.failed(refuses, "refused", start + ATTEMPT_DELAY);
        assert!(matches!(race.step(end), Step::Cancel(late) if late == silent));
        assert!(matches!(race.step(end), Step::Failed(Failed::Late(2))));
        assert_eq!(race.shunned(), ips(&["1.1.1.1:1"]));
        // There was no time to try what was known.
        let mut race = Race::<()>::to(Target::Ip(ip("1.1.1.1:1")), start, start);
        assert!(matches!(race.step(start), Step::Failed(Failed::Late(1))));
        // All there were had answered, and only a lookup was still waited for.
        let mut race = looking(&[Family::V6, Family::V4], &[], start);
        race.found(Family::V4, Ok(ips(&["1.1.1.1:1"])), start);
        let refuses = started(&mut race, start + RESOLUTION_DELAY, "1.1.1.1:1");
        race.failed(refuses, "refused", start + RESOLUTION_DELAY);
        waits(&mut race, start + RESOLUTION_DELAY, end);
        assert!(matches!(race.step(end), Step::Failed(Failed::Last("refused", 1))));
    }

    /// What may happen, each to whoever is the so-many-th under way.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Found(bool),
        Fails(usize),
        Ready(usize),
        Busy(usize),
        Time(u64),
    }

    fn given() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![prop::collection::vec(0u8..5, 0..5), prop::collection::vec(0u8..90, 0..200)]
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            any::<bool>().prop_map(Event::Found),
            (0usize..4).prop_map(Event::Fails),
            (0usize..4).prop_map(Event::Fails),
            (0usize..12).prop_map(Event::Ready),
            (0usize..4).prop_map(Event::Busy),
            (0u64..400).prop_map(Event::Time),
        ]
    }

    proptest! {
        /// Whatever comes, and whenever: each attempt fails, is cancelled or wins, one at most, and what has not won is cancelled
        /// before the end is told; no address is tried twice but a full one, and no more at once than there may be; it waits only
        /// while something is under way or due, and it ends by its deadline.
        #[test]
        fn a_race_ends_once_and_loses_nothing(
            found in (given(), given()),
            shunned in prop::collection::vec(0u8..90, 0..90),
            seconds in 0u64..40,
            events in prop::collection::vec(event(), 0..60),
        ) {
            let start = Instant::now();
            let until = start + millis(1_000 * seconds);
            let v4: Vec<SocketAddr> = found.0.iter().map(|n| ([1, 1, 1, *n], 1).into()).collect();
            let v6: Vec<SocketAddr> = found.1.iter().map(|n| ([0, 0, 0, 0, 0, 0, 0, u16::from(*n) + 1], 1).into()).collect();
            let each_once = |found: &[SocketAddr]| found.iter().collect::<HashSet<_>>().len().min(ADDRESSES_MAX);
            let all_found = each_once(&v4) + each_once(&v6);
            let shunned: Vec<SocketAddr> = shunned.into_iter().map(|n| ([1, 1, 1, n], 1).into()).collect();
            let mut race = Race::among(vec![Family::V6, Family::V4], shunned, start, until);
            let (mut now, mut asked, mut under_way) = (start, Vec::new(), Vec::<(Attempt, Target)>::new());
            let (mut tried, mut won, mut ends) = (Vec::new(), None, 0);
            let rest = std::iter::repeat_n(Event::Time(400), 101);
            for event in events.into_iter().chain(rest) {
                for _ in 0..200 {
                    match race.step(now) {
                        Step::Look(family) => asked.push(family),
                        Step::Start(attempt, target) => {
                            prop_assert!(won.is_none() && now < until);
                            let Target::Ip(at) = target else { panic!("an IP address") };
                            prop_assert!(!tried.contains(&at), "{at} twice");
                            tried.push(at);
                            under_way.push((attempt, target));
                            prop_assert!(under_way.len() <= ATTEMPTS_MAX);
                        }
                        Step::Cancel(attempt) => {
                            prop_assert!(won.is_some() || now >= until);
                            prop_assert!(Some(attempt) != won);
                            let before = under_way.len();
                            under_way.retain(|(other, _)| *other != attempt);
                            prop_assert_eq!(under_way.len() + 1, before);
                        }
                        Step::Wait(at) => {
                            prop_assert!(won.is_none() && at > now && at <= until);
                            prop_assert!(at < until || !asked.is_empty() || !under_way.is_empty() || tried.len() < all_found);
                            break;
                        }
                        Step::Won => {
                            prop_assert_eq!(race.won, won);
                            prop_assert_eq!(under_way.len(), 1);
                            ends += 1;
                        }
                        Step::Failed(failed) => {
                            prop_assert!(under_way.is_empty() && won.is_none());
                            let all = asked.is_empty() && tried.len() == all_found;
                            prop_assert!(now >= until || (matches!(failed, Failed::Last(..) | Failed::Unresolved) && all));
                            ends += 1;
                        }
                    }
                    if ends > 0 {
                        break;
                    }
                }
                if ends > 0 {
                    break;
                }
                match event {
                    Event::Found(is_ok) if !asked.is_empty() => {
                        let family = asked.remove(0);
                        let found = if family == Family::V4 { &v4 } else { &v6 };
                        if is_ok || !found.is_empty() {
                            race.found(family, Ok(found.clone()), now);
                        } else {
                            race.found(family, Err(()), now);
                        }
                    }
                    Event::Fails(at) if at < under_way.len() => {
                        let (attempt, _) = under_way.remove(at);
                        race.failed(attempt, (), now);
                        // What is told twice counts once.
                        race.failed(attempt, (), now);
                    }
                    Event::Ready(at) if at < under_way.len() => {
                        let attempt = under_way[at].0;
                        won = won.or(Some(attempt));
                        race.ready(attempt);
                    }
                    Event::Busy(at) if at < under_way.len() => {
                        let (attempt, target) = under_way.remove(at);
                        let Target::Ip(at) = target else { panic!("an IP address") };
                        tried.retain(|other| *other != at);
                        race.busy(attempt, now);
                    }
                    Event::Time(time) => now += millis(time),
                    Event::Found(_) | Event::Fails(_) | Event::Ready(_) | Event::Busy(_) => {}
                }
            }
            prop_assert_eq!(ends, 1);
        }
    }
}
