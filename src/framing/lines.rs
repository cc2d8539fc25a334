//! Lines, which end with LF or CRLF.
//!
//! Owns the rule and the search for the end of the line that is not complete yet.

use crate::framing::search::Search;
use crate::framing::{Found, FrameError, Frames, Framing, whole};

/// Lines that end with LF or CRLF, which is not part of the payload; an empty line is a frame. A CR elsewhere is part of its line.
///
/// It remembers how far it has searched the line that is not complete: keep one for each connection.
///
/// Bytes behind the last line end are not a line. [`Handler::on_end`](crate::Handler::on_end) shows them as `rest`.
///
/// ```
/// use windlass::framing::{Found, FrameError, Lines};
/// let mut lines = Lines::new(5);
/// assert_eq!(lines.first(b"hello\r\nyou"), Ok(Found::Frame { payload: b"hello", used: 7 }));
/// assert_eq!(lines.first(b"you"), Ok(Found::Incomplete { need: 4 }));
/// assert_eq!(lines.first(b"you too"), Err(FrameError::TooLong { limit: 5, length: None }));
/// ```
#[derive(Clone, Debug)]
pub struct Lines {
    limit: usize,
    pub(super) search: Search,
}

impl Lines {
    /// Lines of up to `limit` bytes, their end not counted.
    pub fn new(limit: usize) -> Lines {
        Lines { limit, search: Search::default() }
    }

    /// The first line of `data`. After `Incomplete` show it the same bytes with more behind them.
    ///
    /// # Errors
    /// `TooLong`, as soon as there are more bytes than a line may have, whether its end has arrived or not.
    pub fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError> {
        // The limit, CR and LF.
        let found = self.search.find(data, b"\n", self.limit.saturating_add(2));
        let line = without_cr(&data[..found.unwrap_or(data.len())]);
        if line.len() > self.limit {
            self.search.forget();
            return Err(FrameError::TooLong { limit: self.limit, length: None });
        }
        Ok(match found {
            Some(end) => Found::Frame { payload: line, used: end + 1 },
            None => Found::Incomplete { need: data.len() + 1 },
        })
    }

    /// All complete lines of `data`.
    pub fn frames<'d>(&mut self, data: &'d [u8]) -> Frames<'d, &mut Lines> {
        Frames::new(self, data)
    }

    /// Forgets how far the last bytes were searched, because the next call of `first` may show others.
    pub fn forget(&mut self) {
        self.search.forget();
    }

    /// Calls `write` once, with the slices of `payload` and LF. Returns what it returned.
    ///
    /// ```
    /// use windlass::framing::Lines;
    /// let mut sent = Vec::new();
    /// let write = |slices: &[&[u8]]| -> std::io::Result<()> { Ok(sent.extend(slices.concat())) };
    /// Lines::new(100).write(&[b"GET ", b"/"], write)?;
    /// assert_eq!(sent, b"GET /\n");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `write`; `PayloadTooLong` over the limit, `PayloadHasDelimiter` if there is an LF in it, or a CR at its end.
    pub fn write<T, E: From<FrameError>>(
        &self,
        payload: &[&[u8]],
        write: impl FnOnce(&[&[u8]]) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write_with_end(payload, b"\n", write)
    }

    /// As [`Lines::write`], with CRLF in place of LF.
    ///
    /// # Errors
    /// As [`Lines::write`].
    pub fn write_crlf<T, E: From<FrameError>>(
        &self,
        payload: &[&[u8]],
        write: impl FnOnce(&[&[u8]]) -> Result<T, E>,
    ) -> Result<T, E> {
        self.write_with_end(payload, b"\r\n", write)
    }

    fn write_with_end<T, E: From<FrameError>>(
        &self,
        payload: &[&[u8]],
        end: &[u8],
        write: impl FnOnce(&[&[u8]]) -> Result<T, E>,
    ) -> Result<T, E> {
        whole::length(payload, self.limit)?;
        let last = payload.iter().rev().find_map(|slice| slice.last());
        if last == Some(&b'\r') || payload.iter().any(|slice| slice.contains(&b'\n')) {
            return Err(FrameError::PayloadHasDelimiter.into());
        }
        whole::write(&[], payload, end, write)
    }
}

impl Framing for Lines {
    fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError> {
        Lines::first(self, data)
    }

    fn forget(&mut self) {
        Lines::forget(self);
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
