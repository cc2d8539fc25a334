//! How long to wait before a connect is tried again.
//!
//! Owns the arithmetic. Chance is an argument.

use crate::config::lasting;
use crate::error::Error;
use std::time::Duration;

/// How a [`Connector`](crate::Connector) waits between attempts: twice as long each time, minus a random part of up to a half.
///
/// After a connection that was open has ended, the wait is also random up to `spread`, so that many clients that lose the same
/// server at the same moment do not come back at the same moment. No wait is longer than `max`.
///
/// ```
/// use std::time::Duration;
/// use windlass::Backoff;
/// // Ten attempts, a second apart at first and never more than a minute.
/// let backoff = Backoff {
///     first: Duration::from_secs(1),
///     max: Duration::from_secs(60),
///     attempts_max: Some(10),
///     ..Backoff::default()
/// };
/// backoff.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure. Default: 100 ms.
    pub first: Duration,
    /// The longest wait. Default: 30 s.
    pub max: Duration,
    /// A connection that lived for so long was a good one: after its end the waits begin anew. Default: 10 s.
    pub stable_after: Duration,
    /// The first attempt after the end of a connection waits a random time of up to so long, if that is longer than the wait
    /// after a failure, and at most `max`. Zero switches this off, and then 200 clients of a server that restarts come back
    /// within 50 ms. Default: 1 s.
    pub spread: Duration,
    /// After so many failures in a row it gives up. Default: `None`, never.
    pub attempts_max: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(100),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
            spread: Duration::from_secs(1),
            attempts_max: None,
        }
    }
}

impl Backoff {
    /// Checks that the values can work.
    ///
    /// # Errors
    /// `Error::Config` names the first field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        lasting("first", self.first)?;
        let refuse = |field, value: String, why| Err(Error::Config { field, value, why });
        if self.max < self.first {
            return refuse("max", format!("{:?}", self.max), "it must be at least `first`");
        }
        if self.attempts_max == Some(0) {
            return refuse("attempts_max", "0".to_owned(), "it must be at least 1");
        }
        Ok(())
    }

    /// The wait after so many failures in a row; `chance` is any number.
    pub(crate) fn delay(&self, failures: u32, chance: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.max);
        let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
        whole - Duration::from_nanos(chance % (nanos / 2 + 1))
    }

    /// The wait after the end of a connection that was open; both chances are any numbers.
    pub(crate) fn delay_after_loss(&self, failures: u32, chance: u64, spread_chance: u64) -> Duration {
        let spread = u64::try_from(self.spread.min(self.max).as_nanos()).unwrap_or(u64::MAX);
        self.delay(failures, chance).max(Duration::from_nanos(spread_chance % spread.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_doubles_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(1), ..Backoff::default() };
        let waits: Vec<_> = (1..7).map(|failures| backoff.delay(failures, 0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn chance_takes_up_to_half_of_a_wait_however_short_it_is() {
        let delay = |first, chance| {
            let backoff = Backoff { first: Duration::from_nanos(first), max: Duration::MAX, ..Backoff::default() };
            backoff.delay(1, chance).as_nanos()
        };
        assert_eq!([0, 1, 50, 51].map(|chance| delay(100, chance)), [100, 99, 50, 100]);
        assert_eq!((delay(1, 7), delay(2, 1), delay(2, 2)), (1, 1, 2));
    }

    #[test]
    fn the_end_of_a_connection_is_waited_for_longer_than_a_failure_but_not_beyond_the_longest() {
        let millis = Duration::from_millis;
        let backoff = Backoff { max: millis(600), ..Backoff::default() };
        let most = |backoff: &Backoff| backoff.delay_after_loss(1, 0, 600_000_000);
        assert_eq!(backoff.delay_after_loss(1, 0, 0), millis(100), "no sooner than after a failure");
        assert_eq!(most(&backoff), millis(600));
        assert_eq!(most(&Backoff { spread: Duration::ZERO, ..backoff }), millis(100), "switched off");
        assert_eq!(
            Backoff { max: Duration::MAX, spread: Duration::MAX, ..backoff }.delay_after_loss(1, 0, 7),
            millis(100)
        );
    }

    proptest! {
        #[test]
        fn ends_of_connections_are_spread_over_all_of_the_time(failures in 0u32.., chance: u64, other: u64, spread in 0u64..) {
            let spread = Duration::from_nanos(spread);
            let backoff = Backoff { spread, ..Backoff::default() };
            let (delay, failed) = (backoff.delay_after_loss(failures, chance, other), backoff.delay(failures, chance));
            prop_assert!(delay >= failed && delay <= failed.max(spread).min(backoff.max));
            let whole = u64::try_from(spread.min(backoff.max).as_nanos()).expect("half a minute at most");
            prop_assert!(other > whole || delay >= Duration::from_nanos(other), "each part of it is as likely");
        }

        #[test]
        fn a_wait_is_between_the_half_and_the_whole(first in 1u64..u64::MAX, failures in 0u32.., chance: u64) {
            let first = Duration::from_nanos(first);
            let backoff = Backoff { first, max: Duration::MAX, ..Backoff::default() };
            let (delay, whole) = (backoff.delay(failures, chance), backoff.delay(failures, 0));
            prop_assert!(delay <= whole && delay >= whole / 2);
        }
    }
}
