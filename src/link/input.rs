//! How a link reads: when the kernel is asked, and what is shown to the handler when.
//!
//! Owns the rules only; the state is the link's.

use crate::clock::Tick;
use crate::error::Reason;
use crate::link::buffers::Pool;
use crate::link::inbox::Rest;
use crate::link::phase::Signal;
use crate::link::{Answering, Delivery, Input, Link, Output, Owed};
use crate::net::Readiness;
use crate::net::stream::ShortRead;
use std::io;

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes(usize),
    /// None now, or never: the phase tells.
    Nothing,
}

impl Link {
    /// Takes note of what the kernel said.
    pub(crate) fn note(&mut self, ready: Readiness) {
        let flagged = ready.error || ready.priority;
        if ready.ended || flagged || ready.readable {
            self.input = match self.input {
                known @ (Input::Ended | Input::EndedTold | Input::HangUpTold | Input::HangUp) => known,
                _ if ready.ended => Input::HangUp,
                Input::Flagged => Input::Flagged,
                Input::Ready | Input::Dry => {
                    if flagged {
                        Input::Flagged
                    } else {
                        Input::Ready
                    }
                }
            };
        }
        if ready.writable || ready.error {
            self.unblock();
        }
    }

    /// The kernel may take output again.
    pub(super) fn unblock(&mut self) {
        if let Some(cold) = self.cold.there() {
            cold.output = Output::Free;
        }
    }

    /// A reset is told at once where nobody reads.
    pub(crate) fn check_error(&mut self, now: Tick) {
        if let Some(error) = self.stream.take_error() {
            self.signal(Signal::Failed(self.refused(&error)), now);
        }
    }

    /// Whether the peer's end was read.
    pub(crate) fn has_ended(&self) -> bool {
        self.input.has_ended()
    }

    /// Looks whether the peer's end or an error comes next, without taking what it has sent (plain links).
    pub(crate) fn look_for_end(&mut self, now: Tick) {
        match self.stream.peek() {
            Ok(0) => self.input = self.input.ended(),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                self.input = self.input.ended();
                self.signal(Signal::Failed(Reason::of(&error)), now);
            }
        }
    }

    /// Whether a read is wanted and may bring something.
    pub(crate) fn may_read(&self) -> bool {
        if !self.input.may_hold() && !self.has_unopened() {
            return false;
        }
        if self.phase.delivers_input() {
            self.cold.delivery.takes_input() && self.cold.owed != Owed::Throttled && self.inbox_room() > 0
        } else {
            self.phase.discards_input()
        }
    }

    /// Whether the handler should hear of the peer's end, which it does not come to read.
    pub(crate) fn owes_hangup(&self) -> bool {
        matches!(self.input, Input::HangUp | Input::Ended)
            && self.phase.delivers_input()
            && (self.cold.delivery == Delivery::Paused || self.cold.owed == Owed::Throttled)
            && !self.is_relayed()
    }

    pub(crate) fn hangup_told(&mut self) {
        self.input = if self.input.has_ended() { Input::EndedTold } else { Input::HangUpTold };
    }

    /// Whether input goes to the handler now.
    pub(crate) fn may_deliver(&self) -> bool {
        self.phase.delivers_input() && self.cold.delivery.is_shown()
    }

    /// Whether the handler should see what waits in the inbox.
    pub(crate) fn may_show_rest(&self) -> bool {
        self.may_deliver() && !self.cold.inbox.is_empty() && self.cold.inbox.len() >= self.cold.need as usize
    }

    /// Whether the peer's end has come to the front: all before it was shown, and the rest is not waited for.
    pub(crate) fn end_is_due(&self) -> bool {
        self.input.has_ended()
            && self.may_deliver()
            && !self.has_unopened()
            && (self.cold.inbox.is_empty() || self.cold.owed == Owed::Nothing)
    }

    /// Reads once into `buffer`, which must not be empty.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], now: Tick) -> Received {
        debug_assert!(!buffer.is_empty(), "an empty read would look like the peer's end");
        let result = self.stream.read(buffer);
        self.received(result, buffer.len(), now)
    }

    /// What follows from one read into so many bytes.
    #[inline(always)]
    pub(super) fn received(&mut self, result: io::Result<(usize, ShortRead)>, asked: usize, now: Tick) -> Received {
        match result {
            Ok((0, _)) => {
                self.input = self.input.ended();
                Received::Nothing
            }
            Ok((n, short)) => {
                self.bytes_in += n as u64;
                self.active = now.into();
                if n < asked && self.input == Input::Ready && short == ShortRead::IsDry {
                    self.input = Input::Dry;
                }
                Received::Bytes(n)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.input = Input::Dry;
                Received::Nothing
            }
            // Still interrupted after many tries: it stays ready, and the source says `Again`.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Received::Nothing,
            Err(error) => {
                self.input = self.input.ended();
                self.signal(Signal::Failed(Reason::of(&error)), now);
                Received::Nothing
            }
        }
    }

    /// The same, of a read at rest that brought nothing.
    #[cold]
    pub(super) fn received_nothing(&mut self, result: io::Result<(usize, ShortRead)>, asked: usize, now: Tick) {
        self.received(result, asked, now);
    }

    /// Whether input waits for the handler.
    pub(crate) fn has_unread(&self) -> bool {
        !self.cold.inbox.is_empty()
    }

    /// Keeps a copy of input for later, behind what waits.
    pub(crate) fn keep_input(&mut self, bytes: &[u8], pool: &mut Pool) {
        if !bytes.is_empty() {
            self.cold.open(pool).inbox.push(bytes, pool);
        }
    }

    /// Lends what waits, so that a handler can see it while the link is lent too.
    pub(crate) fn take_rest(&mut self) -> Option<Box<Rest>> {
        self.cold.there()?.inbox.take()
    }

    /// Takes back what was lent, without the first `used` bytes.
    pub(crate) fn put_rest_back(&mut self, rest: Box<Rest>, used: usize, pool: &mut Pool) {
        self.cold.inbox.put_back(rest, used, pool);
    }

    /// Bytes that the inbox can still take.
    pub(crate) fn inbox_room(&self) -> usize {
        self.limits.inbox_bytes_max.saturating_sub(self.cold.inbox.len())
    }

    /// Whether the inbox is full and the handler waits for more all the same.
    pub(crate) fn is_stuck(&self) -> bool {
        self.inbox_room() == 0 && self.may_deliver() && self.cold.owed == Owed::Nothing && !self.may_show_rest()
    }

    /// Forgets what the handler asked for before.
    pub(crate) fn about_to_show(&mut self) {
        if let Some(cold) = self.cold.there() {
            (cold.need, cold.delivery) = (0, Delivery::Flowing);
        }
        self.answering = Answering::Shown;
    }

    /// The handler left `rest` bytes: without more there is nothing new to show, unless it asked for just that.
    pub(crate) fn shown(&mut self, rest: usize, pool: &mut Pool) {
        match self.cold.delivery {
            Delivery::Resumed => self.cold.delivery = Delivery::Flowing,
            Delivery::Flowing | Delivery::Paused => self.set_need((self.cold.need as usize).max(rest + 1), pool),
            // What is left goes to the other link.
            Delivery::Relayed | Delivery::RelayBlocked => {}
        }
    }

    pub(crate) fn need(&self) -> usize {
        self.cold.need as usize
    }

    pub(crate) fn set_need(&mut self, bytes: usize, pool: &mut Pool) {
        if bytes > 0 || !self.cold.is_at_rest() {
            self.cold.open(pool).need = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
    }

    /// Shows the handler nothing more. A relay goes on: its input is not the handler's.
    pub(crate) fn pause(&mut self, pool: &mut Pool) {
        if !self.is_relayed() {
            self.cold.open(pool).delivery = Delivery::Paused;
        }
    }

    /// Lets input flow; the rest is shown even without new bytes.
    pub(crate) fn resume(&mut self) {
        if let Some(cold) = self.cold.there() {
            if cold.delivery == Delivery::Paused {
                cold.delivery = Delivery::Resumed;
            }
            cold.need = 0;
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.cold.delivery == Delivery::Paused
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::config::Limits;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    const READABLE: Readiness =
        Readiness { readable: true, writable: false, ended: false, error: false, priority: false };

    /// A link that holds three bytes, after these events.
    fn told(events: &[Readiness]) -> Link {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut link = Link::new(ours, Limits::default()).expect("a link");
        theirs.write_all(b"abc").expect("a write");
        events.iter().for_each(|event| link.note(*event));
        assert!(link.may_read());
        link
    }

    #[test]
    fn a_short_read_is_the_last_one_unless_an_event_told_what_may_end_it_early() {
        let urgent = Readiness { priority: true, ..READABLE };
        let ended = Readiness { ended: true, ..READABLE };
        let failed = Readiness { error: true, ..READABLE };
        let cases: [(&[Readiness], bool); 6] = [
            (&[READABLE], false),
            (&[READABLE, READABLE], false),
            (&[urgent], true),
            (&[ended], true),
            (&[failed], true),
            // What one event told is not taken back by the next.
            (&[urgent, READABLE], true),
        ];
        for (events, goes_on) in cases {
            let mut link = told(events);
            assert_eq!(link.receive(&mut [0; 8], Tick::test(1)), Received::Bytes(3));
            assert_eq!(link.may_read(), goes_on, "{events:?}");
        }
    }

    #[test]
    fn whatever_an_event_tells_of_input_has_it_read_and_a_full_inbox_has_not() {
        let quiet = Readiness { readable: false, ..READABLE };
        let events = [
            READABLE,
            Readiness { ended: true, ..quiet },
            Readiness { error: true, ..quiet },
            Readiness { priority: true, ..quiet },
        ];
        for event in events {
            let mut link = told(&[event]);
            let mut pool = Pool::default();
            link.keep_input(&vec![0; link.limits.inbox_bytes_max - 1], &mut pool);
            assert!(link.may_read(), "{event:?}");
            link.keep_input(&[0], &mut pool);
            assert!(!link.may_read(), "{event:?}");
        }
    }

    /// Idle connections are many.
    #[test]
    fn who_asks_for_nothing_holds_no_memory_for_it() {
        let mut link = told(&[READABLE]);
        let mut pool = Pool::default();
        link.set_need(0, &mut pool);
        assert!(link.cold.is_at_rest());
        link.set_need(7, &mut pool);
        assert_eq!((link.need(), link.cold.is_at_rest()), (7, false));
        link.set_need(0, &mut pool);
        link.deadlines_known(&mut pool);
        assert!(link.cold.is_at_rest());
    }

    #[test]
    fn a_read_that_fills_its_buffer_is_not_the_last_one() {
        let mut link = told(&[READABLE]);
        assert_eq!(link.receive(&mut [0; 3], Tick::test(1)), Received::Bytes(3));
        assert!(link.may_read());
    }
}
