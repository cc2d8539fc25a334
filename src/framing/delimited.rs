//! Frames that end with a delimiter.
//!
//! Owns the rule, the delimiter and the search for it.

use crate::framing::search::Search;
use crate::framing::{Found, FrameError, Frames, Framing, whole};

/// Frames that end with a delimiter of one or more bytes, which is not part of the payload.
///
/// It remembers how far it has searched the frame that is not complete: keep one for each connection. Each byte that equals
/// the delimiter's last byte costs a comparison with the delimiter; keep it short.
///
/// ```
/// use windlass::framing::{Delimited, Found};
/// let mut heads = Delimited::new(b"\r\n\r\n", 8 * 1024);
/// let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// assert_eq!(heads.first(&request[..25]), Ok(Found::Incomplete { need: 26 }));
/// assert_eq!(heads.first(request), Ok(Found::Frame { payload: b"GET / HTTP/1.1\r\nHost: a", used: 27 }));
/// ```
#[derive(Clone, Debug)]
pub struct Delimited<D = &'static [u8]> {
    delimiter: D,
    limit: usize,
    search: Search,
}

impl<D: AsRef<[u8]>> Delimited<D> {
    /// Frames of up to `limit` bytes before the delimiter, which is a byte string, an array (`[0]`) or a `Vec`.
    ///
    /// # Panics
    /// If the delimiter is empty.
    pub fn new(delimiter: D, limit: usize) -> Delimited<D> {
        assert!(!delimiter.as_ref().is_empty(), "a delimiter must have at least one byte");
        Delimited { delimiter, limit, search: Search::default() }
    }

    /// The first frame of `data`. After `Incomplete` show it the same bytes with more behind them.
    ///
    /// # Errors
    /// `TooLong`, as soon as there is no delimiter within the limit.
    pub fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError> {
        let delimiter = self.delimiter.as_ref();
        let within = self.limit.saturating_add(delimiter.len());
        match self.search.find(data, delimiter, within) {
            Some(end) => Ok(Found::Frame { payload: &data[..end], used: end + delimiter.len() }),
            None if data.len() >= within => {
                self.search.forget();
                Err(FrameError::TooLong { limit: self.limit, length: None })
            }
            None => Ok(Found::Incomplete { need: data.len() + 1 }),
        }
    }

    /// All complete frames of `data`.
    pub fn frames<'d>(&mut self, data: &'d [u8]) -> Frames<'d, &mut Delimited<D>> {
        Frames::new(self, data)
    }

    /// Forgets how far the last bytes were searched, because the next call of `first` may show others.
    pub fn forget(&mut self) {
        self.search.forget();
    }

    /// Calls `write` once, with the slices of `payload` and the delimiter. Returns what it returned.
    ///
    /// # Errors
    /// Those of `write`; `PayloadTooLong` over the limit, `PayloadHasDelimiter` if a reader would find the delimiter earlier than
    /// at the end of the payload.
    pub fn write<T, E: From<FrameError>>(
        &self,
        payload: &[&[u8]],
        write: impl FnOnce(&[&[u8]]) -> Result<T, E>,
    ) -> Result<T, E> {
        whole::length(payload, self.limit)?;
        let delimiter = self.delimiter.as_ref();
        if whole::ends_early(payload, delimiter) {
            return Err(FrameError::PayloadHasDelimiter.into());
        }
        whole::write(&[], payload, delimiter, write)
    }

    #[cfg(test)]
    pub(super) fn looked(&self) -> usize {
        self.search.looked
    }
}

impl<D: AsRef<[u8]>> Framing for Delimited<D> {
    fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError> {
        Delimited::first(self, data)
    }

    fn forget(&mut self) {
        Delimited::forget(self);
    }
}
