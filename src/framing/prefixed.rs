//! Frames with their length in front.
//!
//! Owns the forms of a length, and the limit. Remembers nothing between calls.

use crate::framing::{Found, FrameError, Frames, Framing, whole};
use std::ops::Deref;

/// The longest prefix: 64 bits, 7 in each byte.
const HEAD_BYTES_MAX: usize = 10;

/// Frames that begin with the length of their payload, in bytes; the prefix itself is not counted.
///
/// It is a plain value, and remembers nothing: one constant serves all connections.
///
/// ```
/// use windlass::framing::{Found, FrameError, LengthPrefixed};
/// const FRAMES: LengthPrefixed = LengthPrefixed::u16_be(1000);
/// assert_eq!(FRAMES.first(&[0, 2, b'a', b'b', 0]), Ok(Found::Frame { payload: b"ab", used: 4 }));
/// assert_eq!(FRAMES.first(&[0, 2, b'a']), Ok(Found::Incomplete { need: 4 }));
/// assert_eq!(FRAMES.first(&[255, 255]), Err(FrameError::TooLong { limit: 1000, length: Some(65535) }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LengthPrefixed {
    form: Form,
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    U8,
    U16Be,
    U16Le,
    U32Be,
    U32Le,
    Varint,
}

impl LengthPrefixed {
    /// A length of one byte; a `limit` of more than 255 bytes is one of 255.
    pub const fn u8(limit: usize) -> LengthPrefixed {
        LengthPrefixed::of(Form::U8, limit, u8::MAX as u64)
    }

    /// A length of two bytes, big-endian (network order); a `limit` of more than 65,535 bytes is one of 65,535.
    pub const fn u16_be(limit: usize) -> LengthPrefixed {
        LengthPrefixed::of(Form::U16Be, limit, u16::MAX as u64)
    }

    /// A length of two bytes, little-endian; a `limit` of more than 65,535 bytes is one of 65,535.
    pub const fn u16_le(limit: usize) -> LengthPrefixed {
        LengthPrefixed::of(Form::U16Le, limit, u16::MAX as u64)
    }

    /// A length of four bytes, big-endian (network order); a `limit` of more than 2³² − 1 bytes is one of 2³² − 1.
    pub const fn u32_be(limit: usize) -> LengthPrefixed {
        LengthPrefixed::of(Form::U32Be, limit, u32::MAX as u64)
    }

    /// A length of four bytes, little-endian; a `limit` of more than 2³² − 1 bytes is one of 2³² − 1.
    pub const fn u32_le(limit: usize) -> LengthPrefixed {
        LengthPrefixed::of(Form::U32Le, limit, u32::MAX as u64)
    }

    /// A length in 1 to 10 bytes, 7 bits in each, the lowest first: unsigned LEB128, and what Protocol Buffers call a varint
    /// (writeDelimitedTo). A length that is written with more bytes than it needs is read too, as there.
    pub const fn varint(limit: usize) -> LengthPrefixed {
        LengthPrefixed::of(Form::Varint, limit, u64::MAX)
    }

    const fn of(form: Form, limit: usize, range: u64) -> LengthPrefixed {
        let limit = if limit as u64 > range { range as usize } else { limit };
        LengthPrefixed { form, limit }
    }

    /// The longest payload, in bytes.
    pub const fn limit(self) -> usize {
        self.limit
    }

    /// The first frame of `data`.
    ///
    /// # Errors
    /// `TooLong`, as soon as the prefix is complete; `Malformed` for a varint of more than 64 bits.
    pub fn first(self, data: &[u8]) -> Result<Found<'_>, FrameError> {
        let Some((length, head)) = self.length(data)? else {
            return Ok(Found::Incomplete { need: self.head_bytes().unwrap_or(data.len() + 1) });
        };
        let payload = match usize::try_from(length) {
            Ok(payload) if payload <= self.limit => payload,
            _ => return Err(FrameError::TooLong { limit: self.limit, length: Some(length) }),
        };
        let used = payload.saturating_add(head);
        Ok(match data.get(head..used) {
            Some(payload) => Found::Frame { payload, used },
            None => Found::Incomplete { need: used },
        })
    }

    /// All complete frames of `data`.
    pub fn frames(self, data: &[u8]) -> Frames<'_, LengthPrefixed> {
        Frames::new(self, data)
    }

    /// The prefix for a payload of `length` bytes, if the payload is written in another way, for instance by
    /// [`Conn::send_file`](crate::Conn::send_file).
    ///
    /// # Errors
    /// `PayloadTooLong` over the limit, which is never more than the prefix can say.
    pub fn head(self, length: usize) -> Result<Head, FrameError> {
        if length > self.limit {
            return Err(FrameError::PayloadTooLong { limit: self.limit, length });
        }
        let mut head = Head { bytes: [0; HEAD_BYTES_MAX], length: 0 };
        // No cast cuts anything off: the limit is within the range of the form.
        match self.form {
            Form::U8 => head.push(&[length as u8]),
            Form::U16Be => head.push(&(length as u16).to_be_bytes()),
            Form::U16Le => head.push(&(length as u16).to_le_bytes()),
            Form::U32Be => head.push(&(length as u32).to_be_bytes()),
            Form::U32Le => head.push(&(length as u32).to_le_bytes()),
            Form::Varint => {
                let mut rest = length;
                while rest > 0x7f {
                    head.push(&[rest as u8 | 0x80]);
                    rest >>= 7;
                }
                head.push(&[rest as u8]);
            }
        }
        Ok(head)
    }

    /// Calls `write` once, with the prefix and the slices of `payload`. Returns what it returned.
    ///
    /// The payload is not copied, and up to 6 slices need no allocation. `write` is any function that takes slices, such as
    /// [`Conn::write_vectored`](crate::Conn::write_vectored) or [`Other::write_vectored`](crate::Other::write_vectored).
    ///
    /// ```
    /// use windlass::framing::{FrameError, LengthPrefixed};
    /// const FRAMES: LengthPrefixed = LengthPrefixed::varint(1000);
    /// let mut sent = Vec::new();
    /// let write = |slices: &[&[u8]]| -> Result<(), FrameError> { Ok(sent.extend(slices.concat())) };
    /// FRAMES.write(&[b"GET ", &[b'a'; 296]], write)?;
    /// assert_eq!(sent[..5], [0xac, 2, b'G', b'E', b'T']);
    /// # Ok::<(), FrameError>(())
    /// ```
    ///
    /// # Errors
    /// Those of `write`; `PayloadTooLong` over the limit, which is never more than the prefix can say.
    pub fn write<T, E: From<FrameError>>(
        self,
        payload: &[&[u8]],
        write: impl FnOnce(&[&[u8]]) -> Result<T, E>,
    ) -> Result<T, E> {
        let head = self.head(whole::length(payload, self.limit)?)?;
        whole::write(&head, payload, &[], write)
    }

    /// What the prefix says, and how many bytes it has.
    fn length(self, data: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
        let two = data.first_chunk::<2>();
        let four = data.first_chunk::<4>();
        Ok(match self.form {
            Form::U8 => data.first().map(|byte| (u64::from(*byte), 1)),
            Form::U16Be => two.map(|bytes| (u64::from(u16::from_be_bytes(*bytes)), 2)),
            Form::U16Le => two.map(|bytes| (u64::from(u16::from_le_bytes(*bytes)), 2)),
            Form::U32Be => four.map(|bytes| (u64::from(u32::from_be_bytes(*bytes)), 4)),
            Form::U32Le => four.map(|bytes| (u64::from(u32::from_le_bytes(*bytes)), 4)),
            Form::Varint => varint(data)?,
        })
    }

    /// How many bytes every prefix has; `None` if they differ.
    fn head_bytes(self) -> Option<usize> {
        match self.form {
            Form::U8 => Some(1),
            Form::U16Be | Form::U16Le => Some(2),
            Form::U32Be | Form::U32Le => Some(4),
            Form::Varint => None,
        }
    }
}

fn varint(data: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut value = 0u64;
    for (index, byte) in data.iter().take(HEAD_BYTES_MAX).enumerate() {
        // Of the tenth byte one bit has room.
        if index + 1 == HEAD_BYTES_MAX && *byte > 1 {
            return Err(FrameError::Malformed { why: "a length of more than 64 bits" });
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    Ok(None)
}

impl Framing for LengthPrefixed {
    fn first<'d>(&mut self, data: &'d [u8]) -> Result<Found<'d>, FrameError> {
        LengthPrefixed::first(*self, data)
    }
}

/// The prefix of one frame: 1 to 10 bytes, as a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    length: usize,
}

impl Head {
    /// Appends at most as many bytes as there is room for.
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..][..bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl AsRef<[u8]> for Head {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
