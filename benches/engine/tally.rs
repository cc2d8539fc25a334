//! How messages of threads are marked, so that one that is lost, doubled or overtaken is noticed.
//!
//! Both ends agree here. All numbers are little-endian.

pub(crate) const SENDERS: usize = 4;
pub(crate) const CONNECTIONS: usize = 64;
pub(crate) const MESSAGE_BYTES: usize = 64;

/// Message `sequence` of a sender to a connection: both numbers in front, their complements at the end.
pub(crate) fn message(sender: u32, sequence: u32) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    let marks = [sender, sequence, !sender, !sequence].map(u32::to_le_bytes);
    let places = [0, 4, MESSAGE_BYTES - 8, MESSAGE_BYTES - 4];
    for (mark, place) in marks.iter().zip(places) {
        bytes[place..place + 4].copy_from_slice(mark);
    }
    bytes
}

/// What came on one connection.
#[derive(Clone, Default)]
pub(crate) struct Tally {
    /// The number of the message that comes next, of each sender.
    next: [u32; SENDERS],
}

impl Tally {
    /// Counts a message; an error says what is wrong with it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let number =
            |place: usize| bytes[place..place + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let (sender, sequence) = (number(0), number(4));
        let next = self.next.get_mut(sender as usize).ok_or_else(|| format!("a message of sender {sender}"))?;
        if *next != sequence {
            return Err(format!("message {sequence} of sender {sender} came in place of {next}"));
        }
        if message(sender, sequence) != *bytes {
            return Err(format!("message {sequence} of sender {sender} was spoilt"));
        }
        *next += 1;
        Ok(())
    }
}
