//! Bytes that say where in a stream they belong.

/// A prime, so that the pattern does not repeat in step with any piece of a stream.
const PERIOD: usize = 65_521;

/// The longest piece that can be asked for at once.
pub(crate) const PIECE_BYTES_MAX: usize = 1 << 20;

/// A stream of bytes without end; one that is lost, doubled or moved is noticed.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) fn new() -> Self {
        // The high bits of multiples of a large odd number have no pattern of their own.
        let period = (0..PERIOD as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u8);
        Pattern(period.cycle().take(PERIOD + PIECE_BYTES_MAX).collect())
    }

    /// The bytes from `position` on.
    pub(crate) fn piece(&self, position: u64, bytes: usize) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.0[start..start + bytes.min(PIECE_BYTES_MAX)]
    }

    /// Whether `bytes` are those from `position` on.
    pub(crate) fn holds(&self, position: u64, bytes: &[u8]) -> bool {
        bytes.len() <= PIECE_BYTES_MAX && self.piece(position, bytes.len()) == bytes
    }
}
