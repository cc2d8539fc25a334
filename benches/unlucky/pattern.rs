//! Bytes that say where in a stream they belong, and the dice.

/// A prime, so that the pattern does not repeat in step with any piece of a stream.
const PERIOD: usize = 65_521;

/// The longest piece that can be asked for at once.
pub(crate) const PIECE_BYTES_MAX: usize = 1 << 20;

/// A stream of bytes without end; one that is lost, doubled or moved is noticed.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut dice = Dice::new(1);
        let period: Vec<u8> = std::iter::repeat_with(|| (dice.roll() >> 32) as u8).take(PERIOD).collect();
        Pattern(period.iter().copied().cycle().take(PERIOD + PIECE_BYTES_MAX).collect())
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

/// A xorshift generator: random choices that a seed repeats.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(2).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.roll() >> 16) % end
    }
}
