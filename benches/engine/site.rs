//! Where servers listen that a load generator talks to.

use crate::Outcome;
use crate::child::Directory;
use crate::process::Site;
use crate::self_signed;
use crate::socket::Security;

/// A free loopback port.
pub(crate) fn loopback(security: Security) -> Outcome<Site> {
    let directory = Directory::create()?;
    Ok(match security {
        Security::Plain => Site { directory, listen: "tcp://127.0.0.1:0".to_owned(), key: None },
        Security::Tls => Site { directory, listen: "tls://127.0.0.1:0".to_owned(), key: Some(&self_signed::P256) },
    })
}
