//! A clock that costs next to nothing.
//!
//! Owns the call. It moves in steps of the system's tick, 1 to 10 ms, and says nothing about shorter times.

/// Nanoseconds since some moment in the past; CLOCK_MONOTONIC_COARSE, clock_gettime(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
#[inline]
pub(crate) fn nanos() -> u64 {
    use nix::time::{ClockId, clock_gettime};
    // By libc: rustix looks for the vDSO itself, and crashes under valgrind.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE);
    now.map_or(0, |now| (now.tv_sec() as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec() as u64))
}

/// Nanoseconds since some moment in the past.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn nanos() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static BASE: OnceLock<Instant> = OnceLock::new();
    BASE.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
