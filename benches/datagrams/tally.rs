//! What a receiver counted, how its datagrams are marked, and how it tells.
//!
//! Both ends agree here. A datagram of [`QUESTION_BYTES`] is a question, which carries its number; any other carries
//! its sequence number in its first eight bytes and the complement of it in its last eight, so that one cut or joined
//! in the wrong place is noticed. All numbers are little-endian.

pub(crate) const QUESTION_BYTES: usize = 8;
/// A datagram with room for its marks.
pub(crate) const DATAGRAM_BYTES_MIN: usize = 16;
pub(crate) const ANSWER_BYTES: usize = 6 * 8;

/// All of it since the receiver started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Datagrams but for questions.
    pub(crate) datagrams: u64,
    /// The sum of their sequence numbers, wrapped.
    pub(crate) sequences: u64,
    /// Those with marks that do not fit together.
    pub(crate) spoilt: u64,
    pub(crate) questions: u64,
    /// What the kernel had no room for, as far as the receiver was told.
    pub(crate) dropped: u64,
}

impl Tally {
    /// Counts a datagram; returns the number of a question, to be answered.
    pub(crate) fn take(&mut self, datagram: &[u8]) -> Option<u64> {
        match (datagram.first_chunk(), datagram.last_chunk()) {
            (Some(question), _) if datagram.len() == QUESTION_BYTES => {
                self.questions += 1;
                return Some(u64::from_le_bytes(*question));
            }
            (Some(first), Some(last)) => {
                let sequence = u64::from_le_bytes(*first);
                self.spoilt += u64::from(sequence != !u64::from_le_bytes(*last));
                self.sequences = self.sequences.wrapping_add(sequence);
            }
            _ => self.spoilt += 1,
        }
        self.datagrams += 1;
        None
    }

    pub(crate) fn answer(&self, question: u64) -> [u8; ANSWER_BYTES] {
        let numbers = [question, self.datagrams, self.sequences, self.spoilt, self.questions, self.dropped];
        let mut answer = [0; ANSWER_BYTES];
        for (bytes, number) in answer.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        answer
    }

    /// Reads an answer: the number of the question, and the tally.
    pub(crate) fn read(answer: &[u8]) -> Option<(u64, Self)> {
        let answer: &[u8; ANSWER_BYTES] = answer.try_into().ok()?;
        let number = |index: usize| {
            let bytes: [u8; 8] = std::array::from_fn(|byte| answer[index * 8 + byte]);
            u64::from_le_bytes(bytes)
        };
        let tally = Tally {
            datagrams: number(1),
            sequences: number(2),
            spoilt: number(3),
            questions: number(4),
            dropped: number(5),
        };
        Some((number(0), tally))
    }
}

/// Gives a datagram its marks.
pub(crate) fn mark(datagram: &mut [u8], sequence: u64) {
    let end = datagram.len();
    datagram[..8].copy_from_slice(&sequence.to_le_bytes());
    datagram[end - 8..].copy_from_slice(&(!sequence).to_le_bytes());
}
