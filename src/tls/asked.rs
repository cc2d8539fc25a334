//! Which name a client asks for (SNI).
//!
//! rustls' unbuffered connections do not tell it, and to have the message read a second time only for that costs a
//! fiftieth of a handshake. So the configuration's certificate resolver, which is told, stands behind one that takes
//! note. It runs inside the call that reads the message, on the same thread: there the note waits until that call returns.
//! It runs before tickets are looked at, so that it also begins the count of those that are verified for one message.

use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use std::cell::{Cell, RefCell};
use std::sync::Arc;

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
    static VERIFICATIONS: Cell<Option<u8>> = const { Cell::new(None) };
}

/// That a hello was read.
pub(crate) struct Seen {
    /// The name that it asks for; rustls has put it in lower case.
    pub(crate) name: Option<Box<str>>,
}

/// How many of a hello's tickets are looked at, if they hold certificates: clients send one or two.
const VERIFICATIONS_PER_HELLO: u8 = 4;

/// The same configuration, and it takes note of names.
pub(crate) fn noting(config: &ServerConfig) -> ServerConfig {
    let mut config = config.clone();
    config.cert_resolver = Arc::new(Noting(config.cert_resolver));
    config
}

/// What was seen of the first hello since the last call; `None` if there was none. Asked before and after each call that may
/// read one: else what a call leaves behind that nobody asks about (a panic, a trial) would be told of somebody else.
pub(crate) fn take() -> Option<Seen> {
    end();
    SEEN.take()
}

/// Whether a certificate may be verified to resume a session; not without end for one hello.
pub(super) fn may_verify() -> bool {
    let left = VERIFICATIONS.get();
    VERIFICATIONS.set(left.map(|left| left.saturating_sub(1)));
    left != Some(0)
}

/// A hello has begun.
pub(super) fn begin() {
    VERIFICATIONS.set(Some(VERIFICATIONS_PER_HELLO));
}

/// What is verified from here on on this thread is of nobody's hello that is seen here.
pub(super) fn end() {
    VERIFICATIONS.set(None);
}

#[derive(Debug)]
struct Noting(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SEEN.with_borrow_mut(|seen| {
            seen.get_or_insert_with(|| Seen { name: hello.server_name().map(Box::from) });
        });
        begin();
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}
