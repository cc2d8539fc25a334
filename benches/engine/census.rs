//! What hosts count, as it goes over a pipe.

use windlass::{Counters, Expiry, Reason};

use crate::rig::Outcome;

/// The reasons that are told apart.
pub(crate) const REASONS: [Reason; 8] = [
    Reason::PeerClosed,
    Reason::Local,
    Reason::Aborted,
    Reason::Reset,
    Reason::Truncated,
    Reason::Timeout(Expiry::Idle),
    Reason::Drain,
    Reason::Timeout(Expiry::Drain),
];

/// What one or more reactors counted.
#[derive(Clone, Default)]
pub(crate) struct Census {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Connections that ended for each of [`REASONS`].
    pub(crate) reasons: [u64; REASONS.len()],
}

impl Census {
    pub(crate) fn of(counters: &Counters) -> Self {
        Census {
            accepted: counters.accepted,
            refused: counters.refused,
            failed: counters.failed,
            opened: counters.opened,
            closed: counters.closed_total(),
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            reasons: REASONS.map(|reason| counters.closed_for(reason)),
        }
    }

    pub(crate) fn closed_for(&self, reason: Reason) -> u64 {
        REASONS.iter().position(|known| *known == reason).map_or(0, |index| self.reasons[index])
    }

    pub(crate) fn add(&mut self, other: &Census) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.failed += other.failed;
        self.opened += other.opened;
        self.closed += other.closed;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.reasons.iter_mut().zip(other.reasons).for_each(|(sum, more)| *sum += more);
    }

    /// As numbers with spaces between them.
    pub(crate) fn line(&self) -> String {
        let own = [self.accepted, self.refused, self.failed, self.opened, self.closed, self.bytes_in, self.bytes_out];
        let texts: Vec<String> = own.iter().chain(&self.reasons).map(u64::to_string).collect();
        texts.join(" ")
    }

    pub(crate) fn read(numbers: &[u64]) -> Outcome<Self> {
        match *numbers {
            [accepted, refused, failed, opened, closed, bytes_in, bytes_out, ref reasons @ ..] => {
                let reasons = reasons.try_into()?;
                Ok(Census { accepted, refused, failed, opened, closed, bytes_in, bytes_out, reasons })
            }
            _ => Err(format!("{numbers:?} is no census").into()),
        }
    }
}
