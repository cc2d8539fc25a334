//! How far a delimiter was searched for.
//!
//! Owns the count only; the bytes are shown anew with each call.
//!
//! 1. No delimiter ends within the first `searched` bytes of what is shown, unless they are others than last time.

/// A search that goes on where it stopped.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    searched: usize,
    /// All bytes that were compared.
    #[cfg(test)]
    pub(super) looked: usize,
}

impl Search {
    /// Where `delimiter`, which is not empty, begins in the first `within` bytes of `data`.
    pub(super) fn find(&mut self, data: &[u8], delimiter: &[u8], within: usize) -> Option<usize> {
        let last = *delimiter.last()?;
        let data = &data[..data.len().min(within)];
        // Fewer bytes than last time: they are others.
        let mut at = if self.searched > data.len() { 0 } else { self.searched };
        while let Some(offset) = data[at..].iter().position(|byte| *byte == last) {
            self.count(offset + 1);
            at += offset + 1;
            if data[..at].ends_with(delimiter) {
                self.forget();
                return Some(at - delimiter.len());
            }
        }
        self.count(data.len() - at);
        self.searched = data.len();
        None
    }

    pub(super) fn forget(&mut self) {
        self.searched = 0;
    }

    #[cfg(test)]
    fn count(&mut self, bytes: usize) {
        self.looked += bytes;
    }

    #[cfg(not(test))]
    fn count(&mut self, _: usize) {}
}
