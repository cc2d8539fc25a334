//! Which name a client asks for (SNI).
//!
//! rustls' unbuffered connections do not tell it, and to have the message read a second time only for that costs a
//! fiftieth of a handshake. So the configuration's certificate resolver, which is told, stands behind one that takes
//! note. It runs inside the call that reads the message, on the same thread: there the note waits until that call returns.

use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static ASKED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The same configuration, and it takes note of names.
pub(crate) fn noting(config: &ServerConfig) -> ServerConfig {
    let mut config = config.clone();
    config.cert_resolver = Arc::new(Noting(config.cert_resolver));
    config
}

/// The name that was asked for since the last call; rustls has put it in lower case.
pub(crate) fn take() -> Option<Box<str>> {
    ASKED.take()
}

#[derive(Debug)]
struct Noting(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        ASKED.set(hello.server_name().map(Box::from));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}
