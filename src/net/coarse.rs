//! A clock that costs next to nothing.
//!
//! Owns the call. It moves in steps of the system's tick, 1 to 10 ms, and says nothing about shorter times.

/// Nanoseconds since some moment in the past.
#[inline]
pub(crate) fn nanos() -> u64 {
    crate::net::system::nanos()
}
