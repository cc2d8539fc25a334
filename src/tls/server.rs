//! How a listener speaks TLS: one configuration or one for each name, built from PEM or given, and replaced while
//! running.
//!
//! Owns what listeners share of it: a handshake takes the configuration that is current when its first message is
//! whole.
//!
//! 1. What is current was checked before it became so; what cannot be used replaces nothing.
//! 2. Nobody is served by another configuration than that of the name which rustls reads in the first message.

use super::{NO_EARLY_DATA, Offload, Truncation, asked};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use super::{check::Tried, pem::Pem};
use crate::error::{Error, TlsFault};
use crate::tls::offer::{Unreadable, name_in};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use build::{ClientAuth, ServerTlsBuilder, Tickets, UnknownName};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub use reloaded::{Instead, NotTaken, Reloaded};
pub use resumption::check_resumed;
use rustls::server::ServerConfig;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use rustls::{
    server::{ProducesTickets, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod build;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod namesakes;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod reload;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod reloaded;
mod resumption;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod revocation;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod scopes;

/// How a listener speaks TLS. Clones share what is replaced: one kept aside reloads the certificates of all listeners.
///
/// ```no_run
/// use std::path::Path;
/// use windlass::{ListenConfig, ServerTls};
/// # fn main() -> Result<(), windlass::Error> {
/// let builder = ServerTls::builder().certificate(Path::new("chain.pem"), Path::new("key.pem"));
/// let tls = builder.build()?;
/// let config = ListenConfig { tls: Some(tls.clone()), ..ListenConfig::default() };
/// tls.reload(&builder)?; // after the files have changed, while it serves
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ServerTls {
    current: Arc<Current>,
    /// Default: refused.
    pub truncation: Truncation,
    /// Whether its handshakes are worked on by other threads, where the reactor has some. Default: if they may take long.
    pub offload: Offload,
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
/// What `build` and `reload` do about a revocation list that is not as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListPolicy {
    /// They fail, and name it.
    #[default]
    Refuse,
    /// They log a warning that names it, and use it.
    Warn,
}

/// What clones share.
struct Current {
    choice: RwLock<Arc<Choice>>,
    /// Held by who replaces it, from its first look at the old one on. No handshake waits for it.
    turn: Mutex<()>,
}

/// Configurations, of which each handshake takes one.
struct Choice {
    /// For clients that ask for no name, and for unknown names.
    usual: Entry,
    exact: HashMap<Box<str>, Slot>,
    /// By what follows the first label.
    wildcards: HashMap<Box<str>, Slot>,
    unknown: Unknown,
}

/// What a name has.
#[cfg_attr(not(any(feature = "aws-lc-rs", feature = "ring")), expect(dead_code, reason = "only built"))]
enum Slot {
    Taken(Entry),
    /// Nothing of it could be used so far.
    LeftOut,
}

impl Slot {
    fn entry(&self) -> Option<&Entry> {
        match self {
            Slot::Taken(entry) => Some(entry),
            Slot::LeftOut => None,
        }
    }
}

/// What a name that nobody has gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    Usual,
    #[cfg_attr(not(any(feature = "aws-lc-rs", feature = "ring")), expect(dead_code, reason = "only built"))]
    Refused,
}

/// One configuration, and what outlives it when it is replaced.
#[derive(Clone)]
struct Entry {
    config: Arc<ServerConfig>,
    speed: Speed,
    /// `None` of one that was given.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    built: Option<Built>,
}

/// What an entry was built of.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[derive(Clone)]
struct Built {
    served: Vec<Served>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    asks: Asks,
    /// Of the builder's own.
    tickets: Option<Arc<dyn ProducesTickets>>,
}

/// What is asked of clients, apart from who issues their certificates.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asks {
    client_auth: ClientAuth,
    /// How often lists were given.
    lists: usize,
    /// That of lists of unknown issuers is not here: it says which are taken, not what they mean.
    stale: ListPolicy,
}

/// A certificate, and where its chain comes from.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[derive(Clone)]
struct Served {
    /// Its place among those that were given, of which some may be left out.
    at: usize,
    chain: Pem,
    key: Arc<CertifiedKey>,
    /// Whether it may be asked to sign for a trial.
    is_tried: Tried,
    speed: Speed,
}

/// How long its signatures may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speed {
    #[cfg_attr(not(any(feature = "aws-lc-rs", feature = "ring")), expect(dead_code, reason = "only built"))]
    Quick,
    /// Long, or nobody knows.
    Slow,
}

/// What a handshake is done with.
pub(crate) struct Chosen {
    pub(crate) config: Arc<ServerConfig>,
    /// Whether other threads should do it.
    pub(crate) is_offloaded: bool,
    /// `None` where all names get the same.
    pub(crate) guard: Option<Guard>,
}

/// What a handshake goes by, and of what that was chosen: to see that it is what the name that rustls reads leads to. That
/// was read before, by other code; if the two ever differ, a client has found out how to be served by rules of its choice.
pub(crate) struct Guard {
    choice: Arc<Choice>,
    config: Arc<ServerConfig>,
    hello: Hello,
}

/// Whether a first message could be read before rustls read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hello {
    Read,
    Unreadable,
}

impl Guard {
    /// Whether a client that asks for `name`, as rustls sees it, may be served.
    pub(crate) fn admit(&self, name: Option<&str>) -> Result<(), TlsFault> {
        let entry = self.choice.entry(name)?;
        if self.hello == Hello::Read && Arc::ptr_eq(&entry.config, &self.config) {
            Ok(())
        } else {
            Err(TlsFault::Misbehaved)
        }
    }
}

impl From<Arc<ServerConfig>> for ServerTls {
    /// One configuration for all names, as rustls knows it. It may serve many listeners and reactors, which then share
    /// its tickets. If it asks for client certificates, call [`check_resumed`] first, or their holders resume for as long
    /// as their tickets last, also when they were revoked or have expired.
    fn from(config: Arc<ServerConfig>) -> ServerTls {
        ServerTls::new(Choice::of(&config), Truncation::default(), Offload::default())
    }
}

impl ServerTls {
    fn new(choice: Choice, truncation: Truncation, offload: Offload) -> ServerTls {
        let current = Current { choice: RwLock::new(Arc::new(choice)), turn: Mutex::new(()) };
        ServerTls { current: Arc::new(current), truncation, offload }
    }

    fn choice(&self) -> Arc<Choice> {
        self.current.choice.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn swap(&self, choice: Choice) {
        *self.current.choice.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(choice);
    }

    /// The right to look at what is current and to replace it, once whoever had it before is done.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.current.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another configuration, given as rustls knows it, for handshakes from now on; connections that there are
    /// keep theirs. From any thread. If it asks for client certificates, call [`check_resumed`] first.
    ///
    /// # Errors
    /// As [`ServerTls::validate`]; the old one stays then.
    ///
    /// # Threads
    /// It waits for a `reload` that has begun before it, so that the last one counts.
    pub fn replace(&self, config: Arc<ServerConfig>) -> Result<(), Error> {
        let choice = Choice::of(&config);
        choice.usual.validate()?;
        let _turn = self.turn();
        self.swap(choice);
        Ok(())
    }

    /// Checks that the configuration can work.
    ///
    /// # Errors
    /// `Error::Config` names the field that cannot.
    pub fn validate(&self) -> Result<(), Error> {
        let choice = self.choice();
        let mut all = choice.exact.values().chain(choice.wildcards.values()).filter_map(Slot::entry);
        choice.usual.validate().and_then(|()| all.try_for_each(Entry::validate))
    }

    /// The configuration for a client with this first message, `None` if that will never be whole. Whatever is wrong with one
    /// that cannot be read rustls finds again, with the usual configuration, and says it better; nobody is served by that
    /// without having passed its [`Guard`].
    pub(crate) fn choose(&self, hello: Option<&[u8]>) -> Result<Chosen, TlsFault> {
        let choice = self.choice();
        if !choice.is_by_name() {
            return Ok(self.chosen(&choice.usual, None));
        }
        let (entry, state) = match hello.map(name_in) {
            Some(Ok(name)) => (choice.entry(name.as_deref())?, Hello::Read),
            Some(Err(Unreadable)) | None => (&choice.usual, Hello::Unreadable),
        };
        let guard = Guard { config: entry.config.clone(), choice: choice.clone(), hello: state };
        Ok(self.chosen(entry, Some(guard)))
    }

    fn chosen(&self, entry: &Entry, guard: Option<Guard>) -> Chosen {
        let is_offloaded = self.offload.applies(|| entry.speed == Speed::Slow);
        Chosen { config: entry.config.clone(), is_offloaded, guard }
    }
}

impl Choice {
    fn of(config: &ServerConfig) -> Choice {
        let config = Arc::new(asked::noting(config));
        let usual = Entry {
            config,
            speed: Speed::Slow,
            #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
            built: None,
        };
        Choice { usual, exact: HashMap::new(), wildcards: HashMap::new(), unknown: Unknown::Usual }
    }

    /// Whether clients get different ones for different names.
    fn is_by_name(&self) -> bool {
        !(self.exact.is_empty() && self.wildcards.is_empty() && self.unknown == Unknown::Usual)
    }

    /// That of a client that asks for `name`, in lower case.
    fn entry(&self, name: Option<&str>) -> Result<&Entry, TlsFault> {
        match (name.map(|name| self.find(name)), self.unknown) {
            (Some(Some(slot)), _) => slot.entry().ok_or(TlsFault::UnknownName),
            (None, _) | (Some(None), Unknown::Usual) => Ok(&self.usual),
            (Some(None), Unknown::Refused) => Err(TlsFault::UnknownName),
        }
    }

    /// That of a name in lower case: its own, then that of a wildcard, which stands for one label; RFC 9525, section
    /// 6.3.
    fn find(&self, name: &str) -> Option<&Slot> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let wildcard = || name.split_once('.').and_then(|(_, parent)| self.wildcards.get(parent));
        self.exact.get(name).or_else(wildcard)
    }
}

impl Entry {
    /// What it means that it stays.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    fn staying(&self) -> Instead {
        match &self.built {
            Some(built) => reloaded::staying(built.served.iter().map(|one| &*one.key)),
            None => Instead::LastGood,
        }
    }

    fn validate(&self) -> Result<(), Error> {
        match self.config.max_early_data_size {
            0 => Ok(()),
            bytes => Err(Error::Config { field: "max_early_data_size", value: bytes.to_string(), why: NO_EARLY_DATA }),
        }
    }
}

// Not derived: what rustls shows of a configuration may change, and keys must never be shown.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("truncation", &self.truncation).finish_non_exhaustive()
    }
}
