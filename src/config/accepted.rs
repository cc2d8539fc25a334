//! A hook that sees each accepted socket before it is used.
//!
//! Owns the user's closure. Knows no reactor: who runs it guards it.

use socket2::Socket;
use std::io;
use std::sync::Arc;

/// What is done with each accepted socket before it is used: it may set options that have no name here, and may refuse the
/// connection. See [`ListenConfig::prepare_accepted`](crate::ListenConfig::prepare_accepted).
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::sync::Arc;
/// use windlass::{ListenConfig, PrepareAccepted};
/// let seen = Arc::new(AtomicU64::new(0));
/// let counted = seen.clone();
/// let hook = PrepareAccepted::new(move |socket| {
///     counted.fetch_add(1, Ordering::Relaxed);
///     socket.set_recv_buffer_size(64 * 1024)
/// });
/// let config = ListenConfig { prepare_accepted: Some(hook), ..ListenConfig::default() };
/// # config.validate()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone)]
pub struct PrepareAccepted(Arc<Hook>);

type Hook = dyn Fn(&Socket) -> io::Result<()> + Send + Sync;

impl PrepareAccepted {
    /// A hook that may capture what it needs; it is shared by all reactors that accept.
    pub fn new(hook: impl Fn(&Socket) -> io::Result<()> + Send + Sync + 'static) -> PrepareAccepted {
        PrepareAccepted(Arc::new(hook))
    }

    pub(crate) fn run(&self, socket: &Socket) -> io::Result<()> {
        (self.0)(socket)
    }
}

impl std::fmt::Debug for PrepareAccepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrepareAccepted")
    }
}
