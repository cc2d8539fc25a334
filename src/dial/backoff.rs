//! How long to wait before a connect is tried again.
//!
//! Owns the arithmetic. Chance is an argument.

use crate::config::lasting;
use crate::error::Error;
use std::time::Duration;

/// How a [`Connector`](crate::Connector) waits between attempts: twice as long each time, by a random part of up to a half
/// less, so that many clients that lost the same server do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure. Default: 100 ms.
    pub first: Duration,
    /// The longest wait. Default: 30 s.
    pub max: Duration,
    /// A connection that lived for so long was a good one: after its end the waits begin anew. Default: 10 s.
    pub stable_after: Duration,
    /// After so many failures in a row it gives up. Default: `None`, never.
    pub attempts_max: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_millis(100),
            max: Duration::from_secs(30),
            stable_after: Duration::from_secs(10),
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

    proptest! {
        #[test]
        fn a_wait_is_between_the_half_and_the_whole(first in 1u64..u64::MAX, failures in 0u32.., chance: u64) {
            let first = Duration::from_nanos(first);
            let backoff = Backoff { first, max: Duration::MAX, ..Backoff::default() };
            let (delay, whole) = (backoff.delay(failures, chance), backoff.delay(failures, 0));
            prop_assert!(delay <= whole && delay >= whole / 2);
        }
    }
}
