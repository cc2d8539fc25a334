//! The kinds of sockets that servers are measured over.

use rcgen::PKCS_RSA_SHA256;

use crate::Outcome;
use crate::child::Directory;
use crate::launch::Core;
use crate::peer::Peer;
use crate::process::{Server, Site};
use crate::self_signed::{self, Kind};
use crate::socket::Security;

/// Of 2,048 bits.
static RSA: Kind = Kind::new(&PKCS_RSA_SHA256);

/// Which kind of socket a scenario runs over.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    Tcp,
    Tls,
    /// With an RSA key, whose signatures take five times as long.
    TlsRsa,
    Unix,
    TlsUnix,
}

impl Transport {
    pub(crate) fn security(self) -> Security {
        match self {
            Transport::Tcp | Transport::Unix => Security::Plain,
            Transport::Tls | Transport::TlsRsa | Transport::TlsUnix => Security::Tls,
        }
    }

    /// An address to listen on, and what belongs to it.
    fn site(self) -> Outcome<Site> {
        let directory = Directory::create()?;
        let socket = directory.file("socket");
        let listen = match self {
            Transport::Tcp => "tcp://127.0.0.1:0".to_owned(),
            Transport::Tls | Transport::TlsRsa => "tls://127.0.0.1:0".to_owned(),
            Transport::Unix => format!("unix:{}", socket.display()),
            Transport::TlsUnix => format!("tls+unix:{}", socket.display()),
        };
        let key = match self {
            Transport::Tcp | Transport::Unix => None,
            Transport::Tls | Transport::TlsUnix => Some(&self_signed::P256),
            Transport::TlsRsa => Some(&RSA),
        };
        Ok(Site { directory, listen, key })
    }
}

impl Server {
    /// Starts a server on its core and waits until it listens; `wrapper` is a command that runs it, or nothing.
    pub(crate) fn start(peer: &Peer, transport: Transport, options: &[&str], wrapper: &[String]) -> Outcome<Self> {
        Server::start_at(transport.site()?, Core::Server, peer, options, wrapper)
    }
}
