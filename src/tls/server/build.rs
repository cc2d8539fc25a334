//! Server configurations built from PEM: certificates, names, client certificates, tickets.
//!
//! Owns the order in which they are checked, and what of a former entry outlives a reload: ticket keys, and what was
//! good where nothing good is in its place.

use super::namesakes::Namesakes;
use super::reloaded::{Instead, Made, News, Unmade, staying};
use super::revocation::{Lists, Measure, may_sign_lists};
use super::scopes::Scopes;
use super::{Asks, Built, Choice, Entry, ListPolicy, Served, ServerTls, Speed, resumption};
use crate::error::Error;
use crate::tls::check::{self, Shown, Trial, Tried};
use crate::tls::key_log::Logs;
use crate::tls::material::{self, Side};
use crate::tls::pem::Pem;
use crate::tls::pem::files::Files;
use crate::tls::settings::{Settings, Version};
use crate::tls::{KeyLog, Offload, Truncation, asked};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert, ServerConfig,
    WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{DistinguishedName, RootCertStore, SignatureAlgorithm};
use std::fmt;
use std::sync::Arc;

/// Whether clients show certificates; RFC 8446, section 4.3.2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked, and may have none; one that is shown must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// How sessions are resumed; RFC 8446, section 2.2, and RFC 5077. Who resumes is checked as who does not: a client whose
/// certificate has expired or was revoked, or whose issuer is not trusted any more, is not let in by its ticket.
#[derive(Clone, Default)]
pub enum Tickets {
    /// By tickets that this process encrypts, with keys that change every six hours. All reactors and listeners of one
    /// `ServerTls` share them; a reload keeps them.
    #[default]
    Rotating,
    /// Never.
    Off,
    /// By tickets that are encrypted elsewhere: for keys that several processes share.
    Given(Arc<dyn ProducesTickets>),
}

/// What a client gets that asks for a name that no configuration is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// The configuration that clients without a name get, too.
    #[default]
    Usual,
    /// The alert unrecognized_name, RFC 6066, and `TlsFault::UnknownName` for the listener. Clients that ask for no
    /// name still get the usual configuration.
    Refused,
}

/// Builds a [`ServerTls`]; begun by [`ServerTls::builder`]. Nothing is read before `build`.
///
/// ```no_run
/// # use windlass::tls::{ClientAuth, Pem};
/// # use windlass::ServerTls;
/// let tls = ServerTls::builder()
///     .certificate(Pem::file("chain.pem"), Pem::file("key.pem"))
///     .name("*.example.org", ServerTls::builder().certificate(Pem::file("org.pem"), Pem::file("org.key")))
///     .alpn(["h2", "http/1.1"]);
/// let server = tls.build()?;
/// // Later, when the files have changed:
/// for fault in server.reload(&tls)?.faults {
///     eprintln!("{fault}");
/// }
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ServerTlsBuilder {
    settings: Settings,
    identities: Vec<Identity>,
    client_auth: ClientAuth,
    client_roots: Vec<Pem>,
    revoked: Vec<Pem>,
    list_issuers: Vec<Pem>,
    stale_lists: ListPolicy,
    foreign_lists: ListPolicy,
    tickets: Tickets,
    names: Vec<(String, ServerTlsBuilder)>,
    unknown: UnknownName,
    truncation: Truncation,
    offload: Offload,
    key_log: KeyLog,
}

#[derive(Clone)]
struct Identity {
    chain: Pem,
    key: Key,
}

#[derive(Clone)]
enum Key {
    Pem(Pem),
    Elsewhere(Arc<dyn SigningKey>),
}

impl ServerTls {
    /// Begins with nothing: at least a certificate must be given.
    pub fn builder() -> ServerTlsBuilder {
        ServerTlsBuilder::default()
    }
}

impl ServerTlsBuilder {
    /// A certificate chain, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC 1). Of several, each
    /// client gets the first that is for the name it asks for and whose key it can check; if there is none for the name,
    /// the first whose key it can check. With very many, `name` is quicker.
    pub fn certificate(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identities.push(Identity { chain: chain.into(), key: Key::Pem(key.into()) });
        self
    }

    /// A certificate chain whose key is elsewhere, in a security module or another process. `SigningKey` signs on one of
    /// `ReactorConfig::handshake_threads`; without them on the reactor's, which it holds up for as long as it takes.
    ///
    /// `build` asks it for its public key, which must be that of the certificate if it tells one, and for no signature: a
    /// security module may not be open yet, or take long.
    pub fn certificate_with_key(mut self, chain: impl Into<Pem>, key: Arc<dyn SigningKey>) -> Self {
        self.identities.push(Identity { chain: chain.into(), key: Key::Elsewhere(key) });
        self
    }

    /// A configuration of its own for a name: `example.org`, or `*.example.org` for names with one label more. An exact
    /// name goes before a wildcard. Case and a trailing dot do not matter.
    ///
    /// A client's first message is read for its name before the handshake begins. One that cannot be read so, though rustls
    /// takes it, is refused: `TlsFault::Misbehaved`.
    pub fn name(mut self, name: impl Into<String>, builder: ServerTlsBuilder) -> Self {
        self.names.push((name.into(), builder));
        self
    }

    /// Default: the usual configuration.
    pub fn unknown_names(mut self, unknown: UnknownName) -> Self {
        self.unknown = unknown;
        self
    }

    /// Application protocols (ALPN, RFC 7301), the best first. Default: none, and none is asked for.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.settings.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// The oldest and the newest version. Default: 1.2 and 1.3.
    pub fn versions(mut self, oldest: Version, newest: Version) -> Self {
        (self.settings.oldest, self.settings.newest) = (oldest, newest);
        self
    }

    /// Cipher suites by their registered names, or OpenSSL's, the best first. Default: all that the provider has. If none is
    /// of TLS 1.2, that version is not spoken.
    pub fn suites<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.settings.suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// Key exchange groups by name (`X25519`, `secp256r1`, `X25519MLKEM768`), the best first. Default: all that the
    /// provider has.
    pub fn groups<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.settings.groups = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether clients show certificates. Default: none; else `client_roots` must be given.
    pub fn client_auth(mut self, client_auth: ClientAuth) -> Self {
        self.client_auth = client_auth;
        self
    }

    /// Who may issue client certificates. May be called again, for more of them.
    pub fn client_roots(mut self, roots: impl Into<Pem>) -> Self {
        self.client_roots.push(roots.into());
        self
    }

    /// Lists of revoked client certificates (CRL, RFC 5280, section 5). May be called again, for more of them. Of several
    /// lists of one issuer and one scope (issuing distribution point) the newest counts, by its date and then its number,
    /// wherever it stands.
    ///
    /// Lists of several scopes all count, complete ones too: a client is refused if a certificate that it shows is on any
    /// list of its issuer. It needs one that is for it: complete, or for one of its distribution points if it has some.
    ///
    /// Once there is one, each issuer in a client's chain needs one: a client whose issuer has none is refused, since
    /// nobody knows whether it was revoked, and the cause that is reported says `unknown revocation status`. `build` and
    /// `reload` log a warning for each of `client_roots` that has none. Two issuers of one name, as after a change of keys, have
    /// a list each.
    ///
    /// `build` and `reload` refuse, and name, a list whose signature is not by its issuer's key; delta and indirect lists,
    /// and those for some reasons alone; and lists with critical extensions that are not known. What they do about stale lists and those of strangers can be set.
    pub fn revoked(mut self, lists: impl Into<Pem>) -> Self {
        self.revoked.push(lists.into());
        self
    }

    /// What is done about a list whose next update is overdue, or whose own date is more than five minutes ahead, if
    /// there is no newer one of its issuer. Default: refused.
    ///
    /// A list may become stale while the server runs: if that is refused, clients whose issuer's list it is are refused
    /// from then on, also those with a ticket, until a reload brings a newer one. With [`ListPolicy::Warn`] they are let in, and the
    /// next `reload` logs the warning: reload at least as often as lists are renewed.
    pub fn stale_lists(mut self, policy: ListPolicy) -> Self {
        self.stale_lists = policy;
        self
    }

    /// What is done about a list whose issuer is none of `client_roots` and `list_issuers`. Its signature cannot be
    /// checked before a client shows a chain with that issuer. Default: refused, since most likely it is the wrong file,
    /// with which clients of the right issuer would all be refused.
    pub fn foreign_lists(mut self, policy: ListPolicy) -> Self {
        self.foreign_lists = policy;
        self
    }

    /// Certificates of issuers between `client_roots` and clients, to check the lists of those issuers that are given to
    /// `revoked`. Nobody is let in because of them: clients still show their whole chain. May be called again.
    pub fn list_issuers(mut self, issuers: impl Into<Pem>) -> Self {
        self.list_issuers.push(issuers.into());
        self
    }

    /// Default: rotating.
    pub fn tickets(mut self, tickets: Tickets) -> Self {
        self.tickets = tickets;
        self
    }

    /// Default: refused.
    pub fn truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// Default: by other threads, where the reactor has some, for keys that may sign slowly.
    pub fn offload(mut self, offload: Offload) -> Self {
        self.offload = offload;
        self
    }

    /// Whether the secrets of sessions are written to a file. **Whoever reads it reads the traffic**; see [`KeyLog`].
    /// Configurations of names have their own. Default: off.
    pub fn key_log(mut self, key_log: KeyLog) -> Self {
        self.key_log = key_log;
        self
    }

    pub(super) fn server(&self, choice: Choice) -> ServerTls {
        ServerTls::new(choice, self.truncation, self.offload)
    }

    /// The same with all of its files read, each once. What could not be read is told where it is used.
    pub(super) fn read(&self, files: &mut Files) -> ServerTlsBuilder {
        let mut read = self.clone();
        for identity in &mut read.identities {
            identity.chain = identity.chain.read(files);
            if let Key::Pem(pem) = &identity.key {
                identity.key = Key::Pem(pem.read(files));
            }
        }
        for pem in read.client_roots.iter_mut().chain(&mut read.revoked).chain(&mut read.list_issuers) {
            *pem = pem.read(files);
        }
        for (_, builder) in &mut read.names {
            *builder = builder.read(files);
        }
        read
    }

    pub(super) fn names(&self) -> &[(String, ServerTlsBuilder)] {
        &self.names
    }

    pub(super) fn unknown(&self) -> UnknownName {
        self.unknown
    }

    /// What it describes, apart from names. Where something cannot be used, but was good in `old`, that stays.
    pub(super) fn entry(&self, old: Option<&Entry>, logs: &mut Logs) -> Result<Made, Unmade> {
        let mut faults = Vec::new();
        match self.made(old.and_then(|old| old.built.as_ref()), logs, &mut faults) {
            Ok((entry, news)) => Ok(Made { entry, faults, news }),
            Err(why) => Err(Unmade { why, beside: faults.into_iter().map(|(error, _)| error).collect() }),
        }
    }

    fn made(&self, old: Option<&Built>, logs: &mut Logs, faults: &mut Faults) -> Result<(Entry, News), Error> {
        let provider = self.settings.provider()?;
        let found = self.found(&provider, old, faults)?;
        let unusable = |what: &str, why: String| Error::Tls { what: what.to_owned(), why };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.settings.versions()?)
            .map_err(|error| unusable("versions, suites and groups together", error.to_string()))?;
        let (verifier, mut news) = match (self.verifier(&provider), old) {
            (Ok(None), _) => (None, News::None),
            (Ok(verifier), _) => (verifier, News::Some),
            (Err(error), old) => {
                let Some(old) = old.filter(|old| old.verifier.is_some() && old.asks == self.asks()) else {
                    return Err(error);
                };
                faults.push((error, Instead::LastGood));
                (old.verifier.clone(), News::None)
            }
        };
        let asks = verifier.as_ref().map_or(&[][..], |verifier| verifier.root_hint_subjects());
        let served = self.tried(found, asks, &provider, faults)?;
        if served.iter().any(|(_, freshness)| *freshness == News::Some) {
            news = News::Some;
        }
        let served: Vec<Served> = served.into_iter().map(|(one, _)| one).collect();
        let is_slow = served.iter().any(|one| one.speed == Speed::Slow);
        let speed = if is_slow { Speed::Slow } else { Speed::Quick };
        let builder = match &verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        };
        let keys = served.iter().map(|one| one.key.clone()).collect();
        let mut config = builder.with_cert_resolver(Arc::new(FirstFit(keys)));
        config.alpn_protocols = self.settings.alpn()?;
        check::protocols(&config.alpn_protocols)?;
        config.key_log = logs.open(&self.key_log)?;
        // Tickets hold the sessions, encrypted: nothing is stored here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let kept = old.and_then(|old| old.tickets.clone());
        let tickets = match (&self.tickets, kept) {
            (Tickets::Off, _) => {
                config.send_tls13_tickets = 0;
                None
            }
            (Tickets::Given(tickets), _) => {
                config.ticketer = tickets.clone();
                None
            }
            (Tickets::Rotating, kept) => {
                let tickets = match kept {
                    Some(kept) => kept,
                    None => rotating().map_err(|error| unusable("ticket keys", error.to_string()))?,
                };
                config.ticketer = tickets.clone();
                Some(tickets)
            }
        };
        // So ticket keys may outlive what clients are checked against.
        resumption::check(&mut config, verifier.clone());
        let built = Some(Built { served, verifier, asks: self.asks(), tickets });
        Ok((Entry { config: Arc::new(asked::noting(&config)), speed, built }, news))
    }

    /// The certificates that can be read now, and the last good ones of those that cannot.
    fn found<'a>(
        &self,
        provider: &Arc<CryptoProvider>,
        old: Option<&'a Built>,
        faults: &mut Faults,
    ) -> Result<Vec<Found<'a>>, Error> {
        let mut found = Vec::new();
        for (at, identity) in self.identities.iter().enumerate() {
            let last = old.and_then(|old| self.last_good(at, old));
            match (identity.read(provider), last) {
                (Ok(key), _) => found.push(Found { at, one: identity.serving(key, at), news: News::Some, last }),
                (Err(error), Some(last)) => {
                    faults.push((error, staying([&*last.key].into_iter())));
                    found.push(Found { at, one: Served { at, ..last.clone() }, news: News::None, last: None });
                }
                (Err(error), None) => faults.push((error, Instead::Nothing)),
            }
        }
        let none = || Error::Tls {
            what: "no certificate".to_owned(),
            why: "a server needs one; give its chain and key in PEM".to_owned(),
        };
        match (found.is_empty(), faults.is_empty()) {
            (false, _) => Ok(found),
            (true, true) => Err(none()),
            (true, false) => Err(faults.remove(0).0),
        }
    }

    /// Those of them that a peer can take, and the last good ones of those that none can. A last good one that no peer can
    /// take with the present settings was good with others only: nothing of the entry can be used then.
    fn tried(
        &self,
        found: Vec<Found<'_>>,
        asks: &[DistinguishedName],
        provider: &Arc<CryptoProvider>,
        faults: &mut Faults,
    ) -> Result<Vec<(Served, News)>, Error> {
        let versions = self.settings.versions()?;
        let mut trial = Trial::of(provider, &versions);
        let (mut served, mut first, mut failed) = (Vec::new(), None, Vec::new());
        for Found { at, one, news, last } in found {
            let pem = &self.identities[at].chain;
            let mut attempt = |one: &Served| {
                let shown = Shown { pem, key: one.key.clone(), is_tried: one.is_tried };
                let bytes = check::sizes(&shown)?;
                // Whoever is asked for does not depend on what is shown: nothing of the entry can be used then.
                let crowded = check::names(asks, bytes).err();
                if crowded.is_none() {
                    trial.one(&shown, asks)?;
                }
                Ok((shown, crowded))
            };
            let (tried, one, news) = match (attempt(&one), last) {
                (Err(error), Some(last)) => {
                    let last = Served { at, ..last.clone() };
                    let tried = attempt(&last);
                    let instead = match tried {
                        Ok(_) => staying([&*last.key].into_iter()),
                        Err(_) => return Err(error),
                    };
                    faults.push((error, instead));
                    (tried, last, News::None)
                }
                (Err(error), None) if news == News::None => return Err(error),
                (tried, _) => (tried, one, news),
            };
            match tried {
                Ok((_, Some(crowded))) => return Err(crowded),
                Ok((shown, None)) => {
                    served.push((one, news));
                    first.get_or_insert(shown);
                }
                Err(error) => failed.push((error, Instead::Nothing)),
            }
        }
        // None is left: that the first cannot be used is why.
        let why = if first.is_none() && !failed.is_empty() { Some(failed.remove(0).0) } else { None };
        faults.append(&mut failed);
        why.map_or(Ok(()), Err)?;
        first.map_or(Ok(()), |first| trial.end(&first))?;
        Ok(served)
    }

    /// What was served before in the place of an identity: that of the same chain, or what stood at its position, unless it
    /// is that of another one.
    fn last_good<'a>(&self, at: usize, old: &'a Built) -> Option<&'a Served> {
        let chain = self.identities[at].chain.place();
        let of_others = |one: &&Served| !self.identities.iter().any(|other| other.chain.place() == one.chain);
        let same = old.served.iter().find(|one| one.chain == chain);
        // Where none was served at a position, those behind it do not move up.
        same.or_else(|| old.served.iter().find(|one| one.at == at).filter(of_others))
    }

    /// What it asks of clients, apart from who issues their certificates.
    fn asks(&self) -> Asks {
        Asks { client_auth: self.client_auth, lists: self.revoked.len(), stale: self.stale_lists }
    }

    /// Whether an entry asks of clients what is wanted of them now.
    pub(super) fn asks_as(&self, old: &Entry) -> bool {
        match &old.built {
            Some(old) => old.asks == self.asks(),
            // Nobody knows what one that was given asks for; it cannot be less than nothing.
            None => self.client_auth == ClientAuth::None,
        }
    }

    /// Who checks client certificates; `None` if they are not asked for.
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Option<Arc<dyn ClientCertVerifier>>, Error> {
        if self.client_auth == ClientAuth::None {
            return match self.client_roots.iter().chain(&self.revoked).chain(&self.list_issuers).next() {
                None => Ok(None),
                _ => Err(Error::Config {
                    field: "client_auth",
                    value: "None".to_owned(),
                    why: "client roots or revocation lists are given; ask for client certificates too",
                }),
            };
        }
        let mut roots = RootCertStore::empty();
        for pem in &self.client_roots {
            pem.add_roots(&mut roots)?;
        }
        if roots.is_empty() {
            let why = "client_roots must say who may issue client certificates";
            return Err(Error::Config { field: "client_auth", value: format!("{:?}", self.client_auth), why });
        }
        let (roots, mut between) = (Arc::new(roots), RootCertStore::empty());
        for pem in &self.list_issuers {
            for issuer in pem.chain()? {
                if !may_sign_lists(&issuer) {
                    let why = "its key usage lets it sign no revocation lists (cRLSign), so that nobody can use those it signs; \
                               have it issued anew with that usage";
                    return Err(pem.unfit("issuer of revocation lists", why.to_owned()));
                }
                between.add(issuer).map_err(|error| pem.unfit("issuer of revocation lists", error.to_string()))?;
            }
        }
        let measure = Measure {
            roots: &roots,
            between: &between,
            provider,
            stale: self.stale_lists,
            foreign: self.foreign_lists,
            now: UnixTime::now(),
        };
        let mut verifiers = Vec::new();
        for set in measure.choose(&self.revoked)? {
            let one = self.verifier_of(&roots, provider, set.lists)?;
            verifiers.push(Scopes::of(one, set.several, self.stale_lists));
        }
        let first = verifiers.remove(0);
        Ok(Some(Namesakes::of(first, verifiers)))
    }

    fn verifier_of(
        &self,
        roots: &Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
        lists: Lists,
    ) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).with_crls(lists);
        if self.stale_lists == ListPolicy::Refuse {
            builder = builder.enforce_revocation_expiration();
        }
        if self.client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        let failed = |error: rustls::server::VerifierBuilderError| Error::Tls {
            what: "client roots and revocation lists".to_owned(),
            why: error.to_string(),
        };
        builder.build().map_err(failed)
    }
}

/// What cannot be used, and what is in its place.
type Faults = Vec<(Error, Instead)>;

/// A certificate that may be served.
struct Found<'a> {
    /// Which identity it is of.
    at: usize,
    one: Served,
    /// Whether it was read just now.
    news: News,
    /// What was served in its place before.
    last: Option<&'a Served>,
}

impl Identity {
    fn serving(&self, key: CertifiedKey, at: usize) -> Served {
        let is_tried = match &self.key {
            Key::Pem(_) => Tried::Yes,
            Key::Elsewhere(_) => Tried::No,
        };
        let speed = match (&self.key, key.key.algorithm()) {
            (Key::Elsewhere(_), _) | (_, SignatureAlgorithm::RSA) => Speed::Slow,
            _ => Speed::Quick,
        };
        Served { at, chain: self.chain.place(), key: Arc::new(key), is_tried, speed }
    }

    fn read(&self, provider: &Arc<CryptoProvider>) -> Result<CertifiedKey, Error> {
        match &self.key {
            Key::Pem(key) => material::with_pem_key(&self.chain, key, Side::Server, provider),
            Key::Elsewhere(key) => material::with_key(&self.chain, key.clone(), Side::Server, provider),
        }
    }
}

/// Gives each client the first certificate that is for the name it asks for and whose signatures it can check, or, where
/// there is none, the first with such signatures.
#[derive(Debug)]
struct FirstFit(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for FirstFit {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        // One alone is not looked at for each handshake.
        let name = hello.server_name().filter(|_| self.0.len() > 1);
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let own = name.and_then(|name| self.0.iter().filter(fits).find(|key| is_for(key, &name)));
        own.or_else(|| self.0.iter().find(fits)).or(self.0.first()).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
}

fn rotating() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::Ticketer::new();
    #[cfg(not(feature = "aws-lc-rs"))]
    rustls::crypto::ring::Ticketer::new()
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tickets::Rotating => "Rotating",
            Tickets::Off => "Off",
            Tickets::Given(_) => "Given",
        })
    }
}

impl fmt::Debug for ServerTlsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTlsBuilder")
            .field("settings", &self.settings)
            .field("chains", &self.identities.iter().map(|identity| &identity.chain).collect::<Vec<_>>())
            .field("client_auth", &self.client_auth)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
