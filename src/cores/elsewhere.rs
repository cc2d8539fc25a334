//! Where threads are not pinned, each runs wherever the process may.

use std::io;

/// It may already.
pub(crate) fn roam() {}

/// It need not.
pub(super) fn may_roam() -> bool {
    false
}

/// Refuses.
pub(crate) fn pin(_: usize) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system pins no threads"))
}
