//! What is to be looked at before deadlines may end anything.
//!
//! Owns the rule only. A loop that was held up finds deadlines past although peers and other threads acted in time: what
//! they did is in the kernel and in the mailbox. So a deadline is judged only after every event and command that was pending
//! when it passed has been handled. Knows no poll, no mailbox and no timers.
//!
//! 1. It ends: by the first poll that has room for all, or after as many as there are sources for; and one batch later.

use crate::clock::Tick;

/// Whether the last poll reported all that the kernel had ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polled {
    All,
    /// It had no room for all, or was interrupted.
    Part,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hearing {
    /// No deadline is past.
    #[default]
    None,
    /// So many more polls at most report all that was ready at `until`.
    Kernel { until: Tick, polls: usize },
    /// Then come the commands, up to and with that batch.
    Mailbox { until: Tick, batch: u64 },
}

/// What a turn has come to, before its deadlines.
#[derive(Clone, Copy, Debug)]
pub(super) struct TurnState {
    /// A moment before the poll.
    pub(super) asked: Tick,
    /// The first deadline.
    pub(super) due: Option<Tick>,
    pub(super) polled: Polled,
    /// Polls that report every source there is once, as the kernel does.
    pub(super) polls: usize,
    /// Batches that were taken from the mailbox so far.
    pub(super) batches: u64,
    /// Whether the last one is carried out.
    pub(super) is_done: bool,
    /// Whether the mailbox was woken for another one.
    pub(super) has_mail: bool,
}

/// After so many polls with room for `events` each the kernel has reported each of the sources once.
pub(super) fn polls_of(sources: usize, events: usize) -> usize {
    sources / events + 1
}

impl Hearing {
    /// One turn more was worked; returns up to which moment deadlines may be judged now.
    pub(super) fn go_on(&mut self, seen: TurnState) -> Option<Tick> {
        if *self == Hearing::None {
            if seen.due.is_none_or(|due| due > seen.asked) {
                return Some(seen.asked);
            }
            *self = Hearing::Kernel { until: seen.asked, polls: seen.polls };
        }
        if let Hearing::Kernel { until, polls } = *self {
            if seen.polled == Polled::Part && polls > 0 {
                *self = Hearing::Kernel { until, polls: polls - 1 };
                return None;
            }
            *self = Hearing::Mailbox { until, batch: seen.batches + u64::from(seen.has_mail) };
        }
        match *self {
            Hearing::Mailbox { until, batch } if seen.batches > batch || (seen.batches == batch && seen.is_done) => {
                *self = Hearing::None;
                Some(until)
            }
            Hearing::Mailbox { .. } | Hearing::Kernel { .. } | Hearing::None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(asked: u64) -> TurnState {
        let (asked, due) = (Tick::test(asked), Some(Tick::test(50)));
        TurnState { asked, due, polled: Polled::All, polls: 3, batches: 7, is_done: true, has_mail: false }
    }

    #[test]
    fn where_nothing_waits_a_deadline_is_judged_at_once_but_not_one_that_passed_behind_the_poll() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.go_on(seen(49)), Some(Tick::test(49)));
        assert_eq!(hearing.go_on(seen(50)), Some(Tick::test(50)));
        assert_eq!(hearing.go_on(TurnState { due: None, ..seen(60) }), Some(Tick::test(60)));
    }

    #[test]
    fn a_deadline_is_put_off_for_no_more_polls_than_report_each_source_once() {
        assert_eq!([0, 255, 256, 10_000].map(|sources| polls_of(sources, 256)), [1, 1, 2, 40]);
    }

    #[test]
    fn a_poll_without_room_puts_it_off_for_as_many_polls_as_there_are_sources_for() {
        let mut hearing = Hearing::default();
        let full = |asked| TurnState { polled: Polled::Part, ..seen(asked) };
        assert_eq!([60, 61, 62].map(|asked| hearing.go_on(full(asked))), [None; 3]);
        assert_eq!(hearing.go_on(full(63)), Some(Tick::test(60)), "not what passed meanwhile");
        assert_eq!(hearing.go_on(full(64)), None);
        assert_eq!(hearing.go_on(seen(65)), Some(Tick::test(64)));
    }

    #[test]
    fn what_the_mailbox_held_is_carried_out_first() {
        let mut hearing = Hearing::default();
        // One batch is being worked off, and another one waits behind it.
        let working = TurnState { is_done: false, has_mail: true, ..seen(60) };
        assert_eq!(hearing.go_on(working), None);
        assert_eq!(hearing.go_on(TurnState { batches: 8, is_done: false, ..seen(61) }), None);
        assert_eq!(
            hearing.go_on(TurnState { batches: 8, is_done: true, has_mail: true, ..seen(62) }),
            Some(Tick::test(60))
        );
    }
}
