//! TLS as users give it: what a listener or a connect is configured with, and where cryptography comes from.
//!
//! Owns the words and what is wrong with them; rustls' own configurations are used as they are, or built from files by
//! the builders. Knows nothing of links or sessions.

pub(crate) mod asked;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod check;
mod client;
pub(crate) mod failure;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod key_log;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod material;
pub(crate) mod offer;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod pem;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub(crate) mod plain;
mod server;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod settings;
#[cfg(all(test, any(feature = "aws-lc-rs", feature = "ring")))]
mod tests;
mod threads;
pub(crate) mod validity;

pub use client::ClientTls;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use client::ClientTlsBuilder;
pub(crate) use client::Era;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use key_log::KeyLog;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use pem::Pem;
pub(crate) use server::{Chosen, Guard};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use server::{ClientAuth, Instead, ListPolicy, NotTaken, Reloaded, ServerTlsBuilder, Tickets, UnknownName};
pub use server::{ServerTls, check_resumed};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use settings::Version;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use std::sync::Arc;
pub use threads::{HandshakeThreads, Offload};

/// The cryptography that windlass was built with: aws-lc-rs, or ring if only that feature is on.
///
/// To be given to `rustls::ServerConfig::builder_with_provider` and its like. Nothing is installed for the process, and
/// nothing that another part of the program installed is used.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    #[cfg(feature = "aws-lc-rs")]
    return Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    #[cfg(not(feature = "aws-lc-rs"))]
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What a FIN without a close_notify before it means; RFC 8446, section 6.1.
///
/// ```
/// use windlass::ClientTls;
/// use windlass::Truncation;
/// let tls = ClientTls::builder().truncation(Truncation::Tolerated).build()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncation {
    /// Somebody may have cut the stream: the connection ends with `Reason::Truncated`, behind all data that came.
    #[default]
    Refused,
    /// An end like any other, for protocols that mark their own ends, and peers that never say close_notify. Within a
    /// record it is refused all the same.
    Tolerated,
}

/// 0-RTT data can be replayed by anybody who saw it; handlers could not tell.
const NO_EARLY_DATA: &str = "0-RTT data is not served; leave it off";
