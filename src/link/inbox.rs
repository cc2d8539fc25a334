//! Bytes that the handler left for later.
//!
//! Owns them in one piece. Knows nothing of sockets, limits or handlers. An empty inbox owns no memory.
//!
//! 1. `start` is at most the buffer's length, and an inbox that holds a `Rest` holds at least one byte.

use crate::link::buffers::Pool;

/// Input of one link that waits.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    rest: Option<Box<Rest>>,
}

/// The memory of an inbox that is not empty.
#[derive(Default)]
pub(crate) struct Rest {
    buffer: Vec<u8>,
    start: usize,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rest").field("len", &self.bytes().len()).finish()
    }
}

impl Rest {
    /// What waits.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Gives the buffer away.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        self.start = 0;
        std::mem::take(&mut self.buffer)
    }
}

impl Inbox {
    /// One that nothing waits in.
    pub(crate) const EMPTY: Inbox = Inbox { rest: None };

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.bytes().len())
    }

    /// Bytes of memory that what waits keeps.
    pub(crate) fn held(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.buffer.capacity())
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_none()
    }

    /// What waits.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], |rest| rest.bytes())
    }

    /// Appends a copy of `bytes`.
    pub(crate) fn push(&mut self, bytes: &[u8], pool: &mut Pool) {
        if bytes.is_empty() {
            return;
        }
        let rest = self.rest.get_or_insert_with(|| pool.rest());
        if rest.buffer.capacity() == 0 {
            rest.buffer = pool.chunk(bytes.len());
        }
        if rest.start > 0 && rest.buffer.len() + bytes.len() > rest.buffer.capacity() {
            // Used bytes in front make room first; only then does the buffer grow.
            rest.buffer.drain(..rest.start);
            rest.start = 0;
        }
        if rest.buffer.len() + bytes.len() > rest.buffer.capacity() {
            let mut larger = pool.chunk(rest.buffer.len() + bytes.len());
            larger.extend_from_slice(&rest.buffer);
            pool.take_back(std::mem::replace(&mut rest.buffer, larger));
        }
        rest.buffer.extend_from_slice(bytes);
    }

    /// Lends the bytes out, so that a handler can see them while the link is lent too.
    pub(crate) fn take(&mut self) -> Option<Box<Rest>> {
        self.rest.take()
    }

    /// Takes lent bytes back, without the first `used` of them; gives memory back if none is left.
    ///
    /// Nothing was pushed meanwhile: only a read pushes, and none happens while a handler runs.
    pub(crate) fn put_back(&mut self, mut rest: Box<Rest>, used: usize, pool: &mut Pool) {
        debug_assert!(self.rest.is_none(), "inbox 1: two rests");
        rest.start += used;
        assert!(rest.start <= rest.buffer.len(), "inbox 1: more was used than waited");
        if rest.start == rest.buffer.len() {
            pool.take_rest_back(rest);
        } else {
            self.rest = Some(rest);
        }
    }

    /// Drops all that waits.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        self.rest.take().into_iter().for_each(|rest| pool.take_rest_back(rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_queue_of_bytes_in_one_piece(
            ops in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9_000), 0usize..9_000), 0..40)
        ) {
            let (mut inbox, mut pool, mut model) = (Inbox::default(), Pool::default(), Vec::new());
            for (bytes, used) in ops {
                inbox.push(&bytes, &mut pool);
                model.extend(bytes);
                prop_assert_eq!(inbox.bytes(), &model[..]);
                if let Some(rest) = inbox.take() {
                    let used = used.min(model.len());
                    inbox.put_back(rest, used, &mut pool);
                    model.drain(..used);
                }
                prop_assert_eq!(inbox.bytes(), &model[..]);
                prop_assert_eq!(inbox.len(), model.len());
                prop_assert_eq!(inbox.held(), pool.held());
                prop_assert_eq!(inbox.is_empty(), model.is_empty());
            }
        }
    }
}
