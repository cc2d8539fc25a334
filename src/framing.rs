//! Frames: where one message ends and the next begins, in a stream that knows no messages.
//!
//! [`Handler::on_data`](crate::Handler::on_data) shows all bytes that were not used before and asks how many were used. The
//! types of this module find the first frame in such bytes, and say how many bytes it used, or how many there must be
//! before it is complete:
//!
//! | type | a frame is |
//! |---|---|
//! | [`Lines`] | all up to LF or CRLF |
//! | [`Delimited`] | all up to a byte or a sequence of bytes |
//! | [`LengthPrefixed`] | its length in 1, 2, 4 or up to 10 bytes, then as many bytes |
//!
//! Each has a limit. Each also writes frames ([`LengthPrefixed::write`]): prefix, payload and delimiter go out in one call, and
//! the payload is not copied. Nothing here reads or writes a socket, and finding frames never allocates. A format of your own
//! implements [`Framing`]. [`MemoryStream`] is for crates that want [`Read`](std::io::Read) and [`Write`](std::io::Write).
//!
//! # One frame a call
//!
//! `on_data` is called again at once while bytes are left, so a handler takes the first frame and returns:
//!
//! ```
//! use windlass::framing::{Found, LengthPrefixed};
//! use windlass::{Conn, Handler};
//!
//! /// Four bytes of length, big-endian, and up to 64 KiB.
//! const FRAMES: LengthPrefixed = LengthPrefixed::u32_be(64 * 1024);
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
//!         match FRAMES.first(data) {
//!             Ok(Found::Frame { payload, used }) => match FRAMES.write(&[payload], |slices| conn.write_vectored(slices)) {
//!                 Ok(()) => used,
//!                 Err(_) => 0, // no room for the answer: the frame is shown again when there is
//!             },
//!             Ok(Found::Incomplete { need }) => {
//!                 // Not called again before the frame is complete.
//!                 let _ = conn.need(need);
//!                 0
//!             }
//!             Err(error) => {
//!                 eprintln!("{error}");
//!                 conn.close();
//!                 0
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! [`Conn::need`](crate::Conn::need) refuses more than `Limits::inbox_bytes_max` (256 KiB by default). Keep the limit of a
//! frame below it: otherwise a longer frame fills the inbox and the connection is closed with
//! [`Reason::InboxLimit`](crate::Reason::InboxLimit), which is also what happens if the result of `need` is ignored as above.
//!
//! # All frames at once
//!
//! [`Frames`] iterates over all complete frames of a slice, for answers that leave together, for datagrams and for bytes that do
//! not come from a handler:
//!
//! ```
//! use windlass::framing::Lines;
//! let mut lines = Lines::new(100);
//! let mut frames = lines.frames(b"one\ntwo\r\nthr");
//! assert_eq!(frames.by_ref().collect::<Result<Vec<_>, _>>()?, [b"one", b"two"]);
//! assert_eq!((frames.used(), frames.need(), frames.rest()), (9, 4, &b"thr"[..]));
//! # Ok::<(), windlass::framing::FrameError>(())
//! ```
//!
//! # Cost
//!
//! The cost of finding frames is linear in the bytes received, however a peer cuts them. A length prefix is read once a call,
//! and `need` keeps the number of calls low. [`Lines`] and [`Delimited`] remember how far they have searched: if a peer sends a
//! line byte by byte, each byte is still compared once, and with [`Frames`] at most twice. So keep one of them in the handler of
//! each connection. After `Incomplete` show it the same bytes with more behind them, as `on_data` does; if those bytes were
//! used in another way, call `forget` first.
//!
//! Bytes that wait for the rest of a frame are copied into the inbox as they arrive, which is linear too.

mod delimited;
mod fault;
mod lines;
mod memory_stream;
mod prefixed;
mod search;
mod whole;

pub use delimited::Delimited;
pub use fault::FrameError;
pub use lines::Lines;
pub use memory_stream::MemoryStream;
pub use prefixed::{Head, LengthPrefixed};

/// The result of looking for the first frame in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'d> {
    /// A complete frame.
    Frame {
        /// Its content, without prefix or delimiter.
        payload: &'d [u8],
        /// The length of the whole frame in bytes, at least 1: what `on_data` returns after it has processed the frame.
        used: usize,
    },
    /// The beginning of a frame, or no bytes at all.
    Incomplete {
        /// How many bytes the frame has at least. It is always more than were shown; pass it to
        /// [`Conn::need`](crate::Conn::need).
        need: usize,
    },
}

/// How frames are found in a stream. Implement it for a format of your own, to use [`Frames`].
///
/// ```
/// use windlass::framing::{Found, FrameError, Frames, Framing};
///
/// /// Netstrings: `5:hello,`
/// struct Netstrings;
///
/// impl Framing for Netstrings {
///     fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError> {
///         let Some(colon) = data.iter().take(4).position(|byte| *byte == b':') else {
///             let is_malformed = data.len() >= 4;
///             return if is_malformed { Err(FrameError::Malformed { why: "no length of up to 3 digits" }) }
///             else { Ok(Found::Incomplete { need: data.len() + 1 }) };
///         };
///         let digits = std::str::from_utf8(&data[..colon]).ok().and_then(|digits| digits.parse::<usize>().ok());
///         let Some(length) = digits else { return Err(FrameError::Malformed { why: "a length that is no number" }) };
///         let need = colon + 1 + length + 1;
///         match data.get(colon + 1..need) {
///             None => Ok(Found::Incomplete { need }),
///             Some([payload @ .., b',']) => Ok(Found::Frame { payload, used: need }),
///             Some(_) => Err(FrameError::Malformed { why: "no comma behind the payload" }),
///         }
///     }
/// }
///
/// let mut frames = Frames::new(Netstrings, b"5:hello,0:,2:a");
/// assert_eq!(frames.next(), Some(Ok(&b"hello"[..])));
/// assert_eq!(frames.next(), Some(Ok(&b""[..])));
/// assert_eq!((frames.next(), frames.need()), (None, 5));
/// ```
pub trait Framing {
    /// The first frame of `data`, which begins where a frame begins. After `Incomplete` the next call shows the same
    /// bytes again, with more behind them.
    ///
    /// # Errors
    /// `TooLong` or `Malformed`. No later frame can be found after that: close the connection.
    fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError>;

    /// Forgets what is remembered of the last bytes, because the next call of `first` may show others. The default does
    /// nothing, for formats that remember nothing.
    fn forget(&mut self) {}
}

impl<F: Framing + ?Sized> Framing for &mut F {
    fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError> {
        (**self).first(data)
    }

    fn forget(&mut self) {
        (**self).forget();
    }
}

/// The complete frames of a slice, in order: an iterator over their payloads.
///
/// It ends at the first frame that is not complete, or after an error. [`Frames::used`] is what `on_data` returns then, and
/// [`Frames::need`] what [`Conn::need`](crate::Conn::need) is called with. To stop earlier, return what `used` was after the
/// last frame that was processed; the others are shown again.
///
/// ```
/// use windlass::framing::Lines;
/// use windlass::{Conn, Handler};
///
/// /// Answers each line by its length.
/// struct Lengths(Lines);
///
/// impl Handler for Lengths {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
///         let mut used = 0;
///         let mut lines = self.0.frames(data);
///         while let Some(line) = lines.next() {
///             match line {
///                 Ok(line) if conn.write(format!("{}\n", line.len()).as_bytes()).is_ok() => used = lines.used(),
///                 Ok(_) => return used, // no room for the answer: the line is shown again when there is
///                 Err(_) => {
///                     conn.close();
///                     return used;
///                 }
///             }
///         }
///         let _ = conn.need(lines.need());
///         used
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Frames<'d, F> {
    framing: F,
    data: &'d [u8],
    used: usize,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    Going,
    Incomplete { need: usize },
    Failed,
}

impl<'d, F: Framing> Frames<'d, F> {
    /// The frames of `data` as `framing` finds them; it may be a `&mut` reference.
    pub fn new(framing: F, data: &'d [u8]) -> Frames<'d, F> {
        Frames { framing, data, used: 0, progress: Progress::Going }
    }

    /// The length in bytes of all frames that were returned so far.
    pub fn used(&self) -> usize {
        self.used
    }

    /// The bytes behind the frames that were returned so far.
    pub fn rest(&self) -> &'d [u8] {
        &self.data[self.used..]
    }

    /// How many bytes the next frame has at least, counted from the beginning of [`Frames::rest`]. 0 until `next` has returned
    /// `None`, and after an error.
    pub fn need(&self) -> usize {
        match self.progress {
            Progress::Incomplete { need } => need,
            Progress::Going | Progress::Failed => 0,
        }
    }
}

impl<'d, F: Framing> Iterator for Frames<'d, F> {
    type Item = Result<&'d [u8], FrameError>;

    /// # Panics
    /// If a [`Framing`] of your own finds a frame that uses no byte, or more than there are.
    fn next(&mut self) -> Option<Self::Item> {
        let Progress::Going = self.progress else { return None };
        let rest = self.rest();
        match self.framing.first(rest) {
            Ok(Found::Frame { payload, used }) => {
                assert!((1..=rest.len()).contains(&used), "a frame that uses {used} of {} bytes", rest.len());
                self.used += used;
                Some(Ok(payload))
            }
            Ok(Found::Incomplete { need }) => {
                // Frames that were returned may be shown again: then other bytes come first.
                if self.used > 0 {
                    self.framing.forget();
                }
                self.progress = Progress::Incomplete { need };
                None
            }
            Err(error) => {
                self.progress = Progress::Failed;
                Some(Err(error))
            }
        }
    }
}

impl<F: Framing> std::iter::FusedIterator for Frames<'_, F> {}

#[cfg(test)]
mod tests;
