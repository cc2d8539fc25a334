//! How a link sends file ranges.
//!
//! Owns the rules only: what goes by sendfile(2), what is read, and what follows when a file is done or fails. The bytes
//! behind a file wait as they were written; a link with TLS seals them when their turn has come.

use crate::clock::Tick;
use crate::error::{Reason, WriteError};
use crate::link::Link;
use crate::link::buffers::{Buffers, GATHER_BYTES};
use crate::link::outbox::{RANGE_WEIGHT, Segment};
use crate::link::phase::Signal;
use crate::link::records::SEAL_BYTES;
use crate::net::file::{FileRange, Sent};

/// Ranges of up to this many bytes are gathered with the writes around them, if nothing waits: a read costs no more than
/// another call to send, and they leave in one packet.
const GATHERED_BYTES: usize = 8 * 1024;

/// A piece of a file that the kernel cannot send by itself.
const READ_BYTES: usize = 64 * 1024;

impl Link {
    /// Queues a file range behind all that was written.
    pub(crate) fn send_file(
        &mut self,
        mut file: FileRange,
        buffers: &mut Buffers,
        now: Tick,
    ) -> Result<(), WriteError> {
        let gathered = buffers.gather.len();
        let bytes = usize::try_from(file.left()).unwrap_or(usize::MAX);
        let is_gathered = self.cold.outbox.is_empty() && bytes <= GATHERED_BYTES && gathered + bytes <= GATHER_BYTES;
        self.check_room(if is_gathered { bytes } else { RANGE_WEIGHT }, gathered)?;
        if bytes == 0 {
            return Ok(());
        }
        self.answer();
        if is_gathered {
            buffers.gather.resize(gathered + bytes, 0);
            if let Err(reason) = file.read(&mut buffers.gather[gathered..]) {
                self.signal(Signal::Failed(reason), now);
            }
            return Ok(());
        }
        if self.is_tls() {
            self.seal(&[], buffers, now);
        } else {
            self.cold.outbox.push(&buffers.gather, now, &mut buffers.pool);
            buffers.gather.clear();
        }
        self.cold.outbox.push_file(file, now, &mut buffers.pool);
        self.throttle();
        Ok(())
    }

    /// Sends the next bytes of the first file, at most `budget`, or makes them ready; `None` if it cannot go on.
    pub(super) fn send_some_of_file(&mut self, budget: usize, buffers: &mut Buffers, now: Tick) -> Option<usize> {
        debug_assert!(!self.cold.outbox.has_ready(), "link 1: a file would overtake the bytes before it");
        let is_tls = self.is_tls();
        let file = self.cold.outbox.file()?;
        let sent = if is_tls {
            self.seal_some(budget, buffers, now)?
        } else if file.must_be_read() {
            self.read_some(budget, buffers, now)?
        } else {
            match file.send(&self.stream, budget) {
                Sent::Socket(result) => match self.took(result, &mut buffers.pool, now)? {
                    0 => return None,
                    taken => taken,
                },
                Sent::MustRead => 0,
                Sent::File(reason) => return self.fail_file(reason, now),
            }
        };
        self.cold.outbox.file_moved(now);
        if self.cold.outbox.file().is_some_and(|file| file.left() == 0) {
            self.finish_file(buffers, now);
        }
        Some(sent)
    }

    fn fail_file(&mut self, reason: Reason, now: Tick) -> Option<usize> {
        self.signal(Signal::Failed(reason), now);
        None
    }

    /// Reads a piece and queues it in front of the rest of its file.
    fn read_some(&mut self, budget: usize, buffers: &mut Buffers, now: Tick) -> Option<usize> {
        let file = self.cold.outbox.file()?;
        let mut chunk = buffers.pool.chunk(READ_BYTES);
        chunk.resize(READ_BYTES.min(budget), 0);
        match file.read(&mut chunk) {
            Ok(read) => {
                chunk.truncate(read);
                self.cold.outbox.push_ready_segment(Segment::Copied(chunk), now, &mut buffers.pool);
                Some(read)
            }
            Err(reason) => {
                buffers.pool.take_back(chunk);
                self.fail_file(reason, now)
            }
        }
    }

    /// Reads a piece and seals it.
    fn seal_some(&mut self, budget: usize, buffers: &mut Buffers, now: Tick) -> Option<usize> {
        let file = self.cold.outbox.file()?;
        buffers.sheet.resize(SEAL_BYTES, 0);
        let mut sheet = std::mem::take(&mut buffers.sheet);
        let read = file.read(&mut sheet[..SEAL_BYTES.min(budget)]);
        if let Ok(read) = read {
            self.seal_piece(&sheet[..read], buffers, now);
        }
        buffers.sheet = sheet;
        match read {
            Ok(read) => Some(read),
            Err(reason) => self.fail_file(reason, now),
        }
    }

    /// Seals and sends what was read or has waited.
    fn seal_piece(&mut self, plain: &[u8], buffers: &mut Buffers, now: Tick) {
        let Some(tls) = self.cold.tls() else { return };
        if let Err(fault) = tls.seal(plain, &mut buffers.sealed) {
            self.signal(Signal::Failed(Reason::Tls(fault)), now);
        }
        self.ship(buffers, now);
    }

    /// The first file is sent: what was written behind it is ready now.
    fn finish_file(&mut self, buffers: &mut Buffers, now: Tick) {
        let Some((_, then)) = self.cold.outbox.pop_file(&mut buffers.pool) else { return };
        for segment in then {
            if self.is_tls() {
                for piece in segment.bytes().chunks(SEAL_BYTES) {
                    self.seal_piece(piece, buffers, now);
                }
                segment.take_back(&mut buffers.pool);
            } else {
                self.cold.outbox.push_ready_segment(segment, now, &mut buffers.pool);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    #[test]
    fn a_short_file_leaves_with_what_is_written_before_it_while_there_is_room_for_both() {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&[7; 2 * GATHERED_BYTES]).expect("room");
        let file = Arc::new(file);
        for (before, bytes, is_gathered) in [
            (0, GATHERED_BYTES, true),
            (0, GATHERED_BYTES + 1, false),
            (10_000, 1_000, true),
            (GATHER_BYTES - 1_000, 1_000, true),
            (GATHER_BYTES - 1_000, 1_001, false),
        ] {
            let (ours, _theirs) = UnixStream::pair().expect("a pair");
            let mut link = Link::new(ours, Limits::default()).expect("a link");
            let (mut buffers, now) = (Buffers::default(), Tick::test(1));
            buffers.gather.resize(before, 1);
            let range = FileRange::new(file.clone(), 0..bytes as u64).expect("a range");
            link.send_file(range, &mut buffers, now).expect("room");
            assert_eq!(!link.has_output(), is_gathered, "{bytes} behind {before}");
            let gathered = if is_gathered { [vec![1; before], vec![7; bytes]].concat() } else { Vec::new() };
            assert_eq!(buffers.gather, gathered);
        }
    }
}
