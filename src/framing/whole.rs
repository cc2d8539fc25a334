//! Frames on their way out: prefix, payload and delimiter in one call, and nothing copied.
//!
//! Owns the checks of a payload that is given in slices.

use crate::framing::FrameError;

/// How many slices a frame may have without an allocation.
const SLICES_ON_STACK: usize = 8;

/// The length of a payload, which is at most `limit`.
pub(super) fn length(payload: &[&[u8]], limit: usize) -> Result<usize, FrameError> {
    let length = payload.iter().fold(0usize, |sum, slice| sum.saturating_add(slice.len()));
    if length > limit { Err(FrameError::PayloadTooLong { limit, length }) } else { Ok(length) }
}

/// Hands all slices that are not empty to `write`.
pub(super) fn write<T, E>(
    front: &[u8],
    payload: &[&[u8]],
    back: &[u8],
    write: impl FnOnce(&[&[u8]]) -> Result<T, E>,
) -> Result<T, E> {
    let slices = [front].into_iter().chain(payload.iter().copied()).chain([back]).filter(|slice| !slice.is_empty());
    if payload.len() + 2 > SLICES_ON_STACK {
        return write(&slices.collect::<Vec<_>>());
    }
    let mut whole = [&[][..]; SLICES_ON_STACK];
    let mut count = 0;
    for (place, slice) in whole.iter_mut().zip(slices) {
        *place = slice;
        count += 1;
    }
    write(&whole[..count])
}

/// Whether `delimiter` ends anywhere in `payload` with `delimiter` behind it, but at its very end.
pub(super) fn ends_early(payload: &[&[u8]], delimiter: &[u8]) -> bool {
    let Some((last, front)) = delimiter.split_last() else { return false };
    let parts = || payload.iter().copied().chain([front]);
    parts().enumerate().any(|(index, part)| {
        let before = &payload[..index];
        let ends = part.iter().enumerate().filter(|(_, byte)| *byte == last);
        ends.into_iter().any(|(at, _)| is_end(before, &part[..=at], delimiter))
    })
}

/// Whether `before` and `last`, in one piece, end with `end`.
fn is_end(before: &[&[u8]], last: &[u8], mut end: &[u8]) -> bool {
    for part in [last].into_iter().chain(before.iter().rev().copied()) {
        let common = part.len().min(end.len());
        let (rest, tail) = end.split_at(end.len() - common);
        if !part.ends_with(tail) {
            return false;
        }
        end = rest;
    }
    end.is_empty()
}
