//! How a link writes: what is gathered, what goes to the kernel at once, what waits, and who is owed `on_writable`.
//!
//! Owns the rules only; the state is the link's.

use crate::clock::Tick;
use crate::error::WriteError;
use crate::link::buffers::{Buffers, FileShare, GATHER_BYTES, Pool};
use crate::link::outbox::Outbox;
use crate::link::phase::{Phase, Signal};
use crate::link::{Answering, Link, Output, Owed};
use bytes::Bytes;
use std::io::{self, IoSlice};

/// Writes of at least this many bytes go to the kernel at once instead of into the gather buffer.
const DIRECT_BYTES: usize = 8 * 1024;

/// sendfile(2) costs less a byte than all else that a turn does, and is interrupted less often for it: against pieces of
/// 256 KiB a megabyte at a time saves a sixteenth.
const SENDFILE_FACTOR: usize = 4;

impl Link {
    /// How many bytes a write would take, `gathered` of this link's being in the gather buffer.
    pub(crate) fn room(&self, gathered: usize) -> usize {
        if !self.phase.takes_output() {
            return 0;
        }
        let room =
            if self.cold.is_at_rest() { self.limits.outbox_bytes_max } else { self.writable(self.cold.outbox.len()) };
        room.saturating_sub(gathered)
    }

    /// Refuses `asked` bytes if they do not fit whole.
    pub(super) fn check_room(&mut self, asked: usize, gathered: usize) -> Result<(), WriteError> {
        if !self.phase.takes_output() {
            return Err(WriteError::NotOpen);
        }
        let room = self.room(gathered);
        if asked <= room {
            return Ok(());
        }
        let limit = self.limits.outbox_bytes_max;
        if asked > limit {
            return Err(WriteError::TooLong { asked, limit });
        }
        self.mark_writable_pending(Owed::Writable);
        Err(WriteError::Full { asked, room })
    }

    fn mark_writable_pending(&mut self, owed: Owed) {
        if self.cold.owed != Owed::Throttled {
            self.cold.owed = owed;
        }
    }

    /// Takes all of `slices` or nothing.
    pub(crate) fn write(&mut self, slices: &[&[u8]], buffers: &mut Buffers, now: Tick) -> Result<(), WriteError> {
        let asked = slices.iter().map(|slice| slice.len()).sum();
        self.check_room(asked, buffers.gather.len())?;
        slices.iter().for_each(|slice| self.accept(slice, buffers, now));
        Ok(())
    }

    /// Takes what fits of `bytes` and says how much.
    pub(crate) fn write_some(&mut self, bytes: &[u8], buffers: &mut Buffers, now: Tick) -> usize {
        let room = self.room(buffers.gather.len());
        if bytes.len() > room {
            if !self.phase.takes_output() {
                return 0;
            }
            self.mark_writable_pending(Owed::Writable);
        }
        let taken = bytes.len().min(room);
        self.accept(&bytes[..taken], buffers, now);
        taken
    }

    /// Takes all of `bytes`, without a copy if they must wait, or nothing.
    pub(crate) fn write_bytes(&mut self, bytes: &Bytes, buffers: &mut Buffers, now: Tick) -> Result<(), WriteError> {
        self.check_room(bytes.len(), buffers.gather.len())?;
        if self.is_tls() || (self.cold.outbox.is_empty() && bytes.len() < DIRECT_BYTES) {
            self.accept(bytes, buffers, now);
            return Ok(());
        }
        self.answer();
        let taken = if self.cold.outbox.is_empty() { self.transmit(bytes, buffers, now) } else { 0 };
        if taken < bytes.len() {
            self.cold.outbox.push_shared(bytes.slice(taken..), now, &mut buffers.pool);
        }
        self.throttle();
        Ok(())
    }

    /// Takes bytes that have room: gathers few, sends many, queues behind what waits.
    fn accept(&mut self, bytes: &[u8], buffers: &mut Buffers, now: Tick) {
        self.answer();
        let is_small = bytes.len() < DIRECT_BYTES && buffers.gather.len() + bytes.len() <= GATHER_BYTES;
        if is_small && self.gathers() {
            buffers.gather.extend_from_slice(bytes);
            return;
        }
        if self.is_tls() {
            self.seal(bytes, buffers, now);
        } else if self.cold.outbox.is_empty() && !matches!(self.phase, Phase::Closed(_)) {
            let taken = self.transmit(bytes, buffers, now);
            if taken < bytes.len() {
                self.cold.outbox.push(&bytes[taken..], now, &mut buffers.pool);
            }
        } else {
            self.cold.outbox.push(bytes, now, &mut buffers.pool);
        }
        self.throttle();
    }

    /// Whether small writes are gathered: with TLS behind a full outbox too, into one record, which costs more than its bytes.
    #[inline]
    fn gathers(&self) -> bool {
        if self.cold.is_at_rest() {
            return !matches!(self.phase, Phase::Closed(_));
        }
        self.is_tls() || (self.cold.outbox.is_empty() && !matches!(self.phase, Phase::Closed(_)))
    }

    /// Takes note of a write: if the handler is being shown input, it is an answer.
    pub(super) fn answer(&mut self) {
        if self.answering == Answering::Shown {
            self.answering = Answering::Answered;
        }
    }

    /// Above the high mark `on_writable` is owed, and if the output answers input the peer is not read.
    ///
    /// Output from elsewhere is bounded by its own writer. Not to read the peer for it would gain nothing, and two
    /// sides that do so wait for each other for ever.
    pub(super) fn throttle(&mut self) {
        if self.cold.outbox.len() > self.limits.outbox_bytes_high {
            self.mark_writable_pending(if self.answering == Answering::Answered {
                Owed::Throttled
            } else {
                Owed::Writable
            });
        }
    }

    /// Offers the gather buffer and then `bytes` to the kernel until it blocks, or the link breaks; what it leaves of the
    /// gather buffer is queued. Returns how many of `bytes` it took.
    ///
    /// The caller queues the rest. So nothing that is written after a failure can overtake what failed, and what was lost is
    /// counted when the link is closed.
    fn transmit(&mut self, bytes: &[u8], buffers: &mut Buffers, now: Tick) -> usize {
        debug_assert!(self.cold.outbox.is_empty(), "link 1: bytes would overtake those that wait");
        let gathered = buffers.gather.len();
        let mut sent = 0;
        while sent < gathered + bytes.len() {
            let result = match (buffers.gather.get(sent..).unwrap_or(&[]), &bytes[sent.saturating_sub(gathered)..]) {
                ([], rest) => self.stream.write(rest),
                (rest, []) => self.stream.write(rest),
                (first, second) => self.stream.write_slices(&[IoSlice::new(first), IoSlice::new(second)]),
            };
            match self.took(result, &mut buffers.pool, now) {
                Some(0) | None => break,
                Some(taken) => sent += taken,
            }
        }
        if sent < gathered {
            self.cold.outbox.push(&buffers.gather[sent..], now, &mut buffers.pool);
        }
        buffers.gather.clear();
        sent.saturating_sub(gathered)
    }

    /// What a write's result means: bytes that were taken, 0 if it would block, `None` if the link broke.
    pub(super) fn took(&mut self, result: io::Result<usize>, pool: &mut Pool, now: Tick) -> Option<usize> {
        match result {
            Ok(taken) if taken > 0 => {
                self.bytes_out += taken as u64;
                self.active = now.into();
                Some(taken)
            }
            Ok(_) => {
                self.cold.open(pool).output = Output::Blocked;
                Some(0)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.cold.open(pool).output = Output::Blocked;
                Some(0)
            }
            // Still interrupted after many tries: it stays free, and the source says `Again`.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            Err(error) => {
                self.signal(Signal::Failed(self.refused(&error)), now);
                None
            }
        }
    }

    /// Lets waiting output be offered again: the kernel reports room only when much is free. Returns since when nothing moved.
    pub(crate) fn try_output_again(&mut self) -> Option<Tick> {
        self.unblock();
        self.cold.outbox.stalled()
    }

    /// Judges what the kernel took when it was offered again: it may only have filled what was left of its buffer. Where the
    /// system says when the peer took something last, that counts, and what the kernel took gives half of the time once
    /// more: a peer that reads 4 KB/s may open its window only every half minute.
    pub(crate) fn judge_progress(&mut self, stalled: Option<Tick>, now: Tick) {
        let Some(stalled) = stalled else { return };
        if self.cold.outbox.begun().is_some_and(|begun| begun > stalled) {
            // All of it was taken, and what waits now was written since.
            return;
        }
        let Some(ago) = self.stream.last_progress() else { return };
        let has_taken = self.cold.outbox.stalled().is_some_and(|moved| moved > stalled);
        let earliest = if has_taken { now.before(self.limits.write_stall_timeout / 2) } else { stalled };
        self.cold.outbox.set_moved(stalled.max(now.before(ago)).max(earliest));
    }

    /// Whether output waits that the kernel may take.
    pub(crate) fn may_flush(&self) -> bool {
        self.cold.output == Output::Free && !self.cold.outbox.is_empty() && !matches!(self.phase, Phase::Closed(_))
    }

    /// Offers the kernel what waits, until it blocks or nothing is left; at most `outbox_bytes_max` bytes, and of files
    /// `bytes_per_turn`, or [`SENDFILE_FACTOR`] times as much where the kernel sends them by itself.
    pub(crate) fn flush(&mut self, buffers: &mut Buffers, now: Tick) {
        let is_read = self.is_tls() || self.cold.outbox.file().is_some_and(|file| file.must_be_read());
        let factor = if is_read { 1 } else { SENDFILE_FACTOR };
        let mut file_budget = self.limits.bytes_per_turn.saturating_mul(factor);
        while self.may_flush() {
            if !self.cold.outbox.has_ready() {
                match self.send_some_of_file(file_budget, buffers, now) {
                    Some(sent) if sent < file_budget => file_budget -= sent,
                    Some(_) => {
                        buffers.files = FileShare::Sent;
                        break;
                    }
                    None => break,
                }
                continue;
            }
            let mut slices = [IoSlice::new(&[]); Outbox::SLICES_MAX];
            let filled = self.cold.outbox.slices(&mut slices);
            let result = match &slices[..filled] {
                several if self.cold.outbox.has_files() => self.stream.write_slices_before_more(several),
                [only] => self.stream.write(only),
                several => self.stream.write_slices(several),
            };
            match self.took(result, &mut buffers.pool, now) {
                Some(taken) if taken > 0 => self.cold.outbox.advance(taken, now, &mut buffers.pool),
                _ => break,
            }
        }
    }

    /// Whether `on_writable` is due: it is owed, and the outbox is at its low mark.
    ///
    /// Asked only after a flush or while nothing waits, so that a write that is refused again and again cannot spin.
    pub(crate) fn writable_is_due(&self) -> bool {
        self.cold.owed != Owed::Nothing
            && self.phase.is_open()
            && self.cold.outbox.len() <= self.limits.outbox_bytes_low
    }

    /// The debt is paid: `on_writable` is about to be called. A rest that waits for nothing else is shown after it.
    pub(crate) fn clear_writable_pending(&mut self) {
        let Some(cold) = self.cold.there() else { return };
        cold.owed = Owed::Nothing;
        if cold.need as usize <= cold.inbox.len() + 1 {
            cold.need = 0;
        }
    }

    /// Sends what was gathered for this link. If the link is over it only waits to be counted as lost.
    pub(crate) fn send_gathered(&mut self, buffers: &mut Buffers, now: Tick) {
        if buffers.gather.is_empty() {
            return;
        }
        if let Phase::Closed(_) = self.phase {
            self.loses_output();
            self.cold.outbox.push(&buffers.gather, now, &mut buffers.pool);
            return buffers.gather.clear();
        }
        if self.is_tls() {
            self.seal(&[], buffers, now);
            return self.throttle();
        }
        let result = self.stream.write(&buffers.gather);
        if self.sent_gathered(result, buffers, now) {
            self.active = now.into();
        }
    }

    /// What follows from one write of the gather buffer; whether the kernel took it whole, as it nearly always does. The caller
    /// takes note then that a byte moved.
    #[inline(always)]
    pub(super) fn sent_gathered(&mut self, result: io::Result<usize>, buffers: &mut Buffers, now: Tick) -> bool {
        match result {
            Ok(sent) if sent == buffers.gather.len() => {
                self.bytes_out += sent as u64;
                buffers.gather.clear();
                true
            }
            result => {
                self.sent_in_part(result, buffers, now);
                false
            }
        }
    }

    #[cold]
    fn sent_in_part(&mut self, result: io::Result<usize>, buffers: &mut Buffers, now: Tick) {
        match result {
            Ok(sent) if sent > 0 => {
                self.bytes_out += sent as u64;
                self.active = now.into();
                buffers.gather.drain(..sent);
                self.transmit(&[], buffers, now);
                self.throttle();
            }
            result => {
                self.took(result, &mut buffers.pool, now);
                self.cold.outbox.push(&buffers.gather, now, &mut buffers.pool);
                buffers.gather.clear();
                self.throttle();
            }
        }
    }

    /// Whether output waits, or `on_writable` is owed.
    #[inline]
    pub(crate) fn has_output_business(&self) -> bool {
        !self.cold.is_at_rest() && (!self.cold.outbox.is_empty() || self.cold.owed != Owed::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::error::Reason;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    fn open_link() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (Link::new(ours, Limits::default()).expect("a link"), theirs)
    }

    fn came(mut peer: UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).expect("an end");
        bytes
    }

    /// A link that moves to another reactor brings with it what it holds, in both directions.
    #[test]
    fn what_a_link_holds_is_what_the_pool_has_given_it() {
        let (mut link, _peer) = open_link();
        let (mut buffers, now) = (Buffers::default(), Tick::test(1));
        assert_eq!((link.held_bytes(), link.progress()), (0, None));
        link.keep_input(&[1; 5_000], &mut buffers.pool);
        link.accept(&[1; 2_000_000], &mut buffers, now);
        assert!(link.has_input() && link.has_output());
        assert_eq!(link.held_bytes(), buffers.pool.held());
    }

    /// If writes of other connections kept their reader from being read, a relay to an echo server would hang.
    #[test]
    fn above_the_high_mark_only_who_answers_is_not_read() {
        for (is_shown, owed) in [(true, Owed::Throttled), (false, Owed::Writable)] {
            let (mut link, _peer) = open_link();
            let (mut buffers, now) = (Buffers::default(), Tick::test(1));
            if is_shown {
                link.about_to_show();
            }
            let high = link.limits.outbox_bytes_high;
            while link.cold.outbox.len() < high {
                assert_eq!(link.cold.owed, Owed::Nothing);
                let taken = high.saturating_sub(link.cold.outbox.len()).min(DIRECT_BYTES);
                link.accept(&vec![1; taken], &mut buffers, now);
                link.send_gathered(&mut buffers, now);
            }
            assert_eq!((link.cold.outbox.len(), link.cold.owed), (high, Owed::Nothing));
            link.accept(&[1], &mut buffers, now);
            link.send_gathered(&mut buffers, now);
            assert_eq!(link.cold.owed, owed);
        }
    }

    /// The second slice of one write was sent although the first had failed: the peer saw a stream with a hole.
    #[test]
    fn nothing_is_sent_behind_a_send_that_failed() {
        let (mut link, peer) = open_link();
        let (mut buffers, now) = (Buffers::default(), Tick::test(1));
        link.accept(&[1; 20_000], &mut buffers, now);
        link.signal(Signal::Failed(Reason::Os(105)), now);
        for length in [20_000, 10] {
            link.accept(&vec![2; length], &mut buffers, now);
            link.send_gathered(&mut buffers, now);
            link.flush(&mut buffers, now);
        }
        assert_eq!(link.discard(&mut buffers), 20_010, "what was lost is counted");
        drop(link);
        assert_eq!(came(peer), [1; 20_000]);
    }

    #[test]
    fn what_was_gathered_when_the_link_broke_is_lost_and_counted() {
        let (mut link, peer) = open_link();
        let (mut buffers, now) = (Buffers::default(), Tick::test(1));
        link.write(&[b"hello"], &mut buffers, now).expect("room");
        link.signal(Signal::Abort, now);
        link.send_gathered(&mut buffers, now);
        assert!(buffers.gather.is_empty(), "it is nobody else's");
        assert_eq!(link.discard(&mut buffers), 5);
        drop(link);
        assert_eq!(came(peer), b"");
    }
}
