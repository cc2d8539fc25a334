//! Which address is tried when; Happy Eyeballs, RFC 8305.
//!
//! Owns the order and the pace. Knows no sockets, and never reads the clock: time is an argument.
//!
//! 1. At any time something is under way, or due, or it is lost.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long an attempt has before the next one starts beside it; RFC 8305, section 8.
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// More addresses of one name are not tried: by the last of these a quarter of a minute has gone.
const ADDRESSES_MAX: usize = 64;

/// A connect to one of several addresses, whichever answers first.
#[derive(Debug)]
pub(crate) struct Race {
    waiting: VecDeque<SocketAddr>,
    under_way: usize,
    next_at: Instant,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin to connect there, beside what is under way.
    Start(SocketAddr),
    /// Wait for what is under way; until then, if there is a time at which the next one starts.
    Wait(Option<Instant>),
    /// Nothing is under way, and nothing is left to try.
    Lost,
}

impl Race {
    /// `addresses` in the order of preference; those of both families take turns.
    pub(crate) fn new(addresses: Vec<SocketAddr>, now: Instant) -> Race {
        let mut waiting = interleaved(addresses);
        waiting.truncate(ADDRESSES_MAX);
        Race { waiting, under_way: 0, next_at: now }
    }

    /// Tells what to do; to be asked again until it says `Wait` or `Lost`.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        if self.under_way > 0 && (self.waiting.is_empty() || now < self.next_at) {
            return Step::Wait((!self.waiting.is_empty()).then_some(self.next_at));
        }
        let Some(address) = self.waiting.pop_front() else { return Step::Lost };
        self.under_way += 1;
        self.next_at = now + ATTEMPT_DELAY;
        Step::Start(address)
    }

    /// An attempt has failed: the next one need not wait.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.next_at = self.next_at.min(now);
    }
}

/// Families take turns, beginning with that of the first one; within a family the order stays. RFC 8305, section 4.
fn interleaved(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv4() == first_is_v4);
    let mut order = VecDeque::new();
    while let Some(address) = first.pop_front() {
        order.push_back(address);
        order.extend(second.pop_front());
    }
    order.extend(second);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn families_take_turns_and_keep_their_order() {
        let given = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"]);
        let order: Vec<_> = interleaved(given.clone()).into();
        assert_eq!(order, [given[0], given[3], given[1], given[4], given[2]]);
        let given = addresses(&["1.1.1.1:1", "[::1]:1", "[::2]:1"]);
        assert_eq!(Vec::from(interleaved(given.clone())), given);
    }

    #[test]
    fn the_next_one_starts_after_a_delay_or_a_failure() {
        let start = Instant::now();
        let given = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1"]);
        let mut race = Race::new(given.clone(), start);
        assert_eq!(race.step(start), Step::Start(given[0]));
        assert_eq!(race.step(start), Step::Wait(Some(start + ATTEMPT_DELAY)));
        let later = start + ATTEMPT_DELAY;
        assert_eq!(race.step(later), Step::Start(given[1]));
        race.failed(later);
        assert_eq!(race.step(later), Step::Start(given[2]));
        assert_eq!(race.step(later), Step::Wait(None));
        race.failed(later);
        assert_eq!(race.step(later), Step::Wait(None));
        race.failed(later);
        assert_eq!(race.step(later), Step::Lost);
    }

    proptest! {
        /// Whatever comes and whenever it is asked, every address is tried once, and only then it is lost.
        #[test]
        fn every_address_is_tried_once(count in 0usize..8, v6 in any::<u8>(), events in prop::collection::vec((any::<bool>(), 0u64..400), 0..40)) {
            let given: Vec<SocketAddr> = (0..count)
                .map(|n| if v6 >> n & 1 == 1 { ([0, 0, 0, 0, 0, 0, 0, n as u16 + 1], 1).into() } else { ([1, 1, 1, n as u8], 1).into() })
                .collect();
            let mut now = Instant::now();
            let mut race = Race::new(given.clone(), now);
            let (mut tried, mut under_way) = (Vec::new(), 0);
            for (fails, millis) in events.into_iter().chain(std::iter::repeat_n((true, 300), 20)) {
                loop {
                    match race.step(now) {
                        Step::Start(address) => {
                            tried.push(address);
                            under_way += 1;
                        }
                        Step::Wait(until) => {
                            prop_assert!(under_way > 0);
                            prop_assert_eq!(until.is_some(), tried.len() < count);
                            break;
                        }
                        Step::Lost => {
                            prop_assert_eq!((under_way, tried.len()), (0, count));
                            break;
                        }
                    }
                }
                if fails && under_way > 0 {
                    under_way -= 1;
                    race.failed(now);
                }
                now += Duration::from_millis(millis);
            }
            tried.sort();
            let mut all = given;
            all.sort();
            prop_assert_eq!(tried, all);
        }
    }
}
