//! Server configurations built from PEM: certificates, names, client certificates, tickets.
//!
//! Owns the order in which they are checked, and which ticket keys outlive a reload.

use super::{Choice, Entry, Speed, TlsServer, Unknown};
use crate::error::Error;
use crate::tls::pem::Pem;
use crate::tls::settings::{Settings, Version};
use crate::tls::{KeyLog, Offload, Truncation, asked};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ProducesTickets, ResolvesServerCert, ServerConfig,
    WebPkiClientVerifier,
};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{CertificateError, RootCertStore, SignatureAlgorithm};
use std::collections::HashMap;
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

/// How sessions are resumed; RFC 8446, section 2.2, and RFC 5077.
#[derive(Clone, Default)]
pub enum Tickets {
    /// By tickets that this process encrypts, with keys that change every six hours. All reactors and listeners of one
    /// `TlsServer` share them; a reload keeps them, unless what client certificates are checked against has changed.
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

/// Builds a [`TlsServer`]; begun by [`TlsServer::builder`]. Nothing is read before `build`.
///
/// ```no_run
/// # use windlass::tls::{ClientAuth, Pem};
/// # use windlass::TlsServer;
/// let tls = TlsServer::builder()
///     .certificate(Pem::file("chain.pem"), Pem::file("key.pem"))
///     .name("*.example.org", TlsServer::builder().certificate(Pem::file("org.pem"), Pem::file("org.key")))
///     .alpn(["h2", "http/1.1"]);
/// let server = tls.build()?;
/// // Later, when the files have changed:
/// server.reload(&tls)?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct TlsServerBuilder {
    settings: Settings,
    identities: Vec<Identity>,
    client_auth: ClientAuth,
    client_roots: Vec<Pem>,
    revoked: Vec<Pem>,
    tickets: Tickets,
    names: Vec<(String, TlsServerBuilder)>,
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

impl TlsServer {
    /// Begins with nothing: at least a certificate must be given.
    pub fn builder() -> TlsServerBuilder {
        TlsServerBuilder::default()
    }

    /// Builds anew, reading all files again, and takes the result for handshakes from now on; connections that there
    /// are keep what they have. From any thread; it blocks for as long as reading takes.
    ///
    /// Ticket keys stay, for each name, unless what client certificates are checked against has changed. The
    /// `truncation` and `offload` of listeners stay too.
    ///
    /// # Errors
    /// As [`TlsServerBuilder::build`]; what was current stays then.
    pub fn reload(&self, builder: &TlsServerBuilder) -> Result<(), Error> {
        let choice = builder.choice(Some(&self.choice()))?;
        self.swap(choice);
        Ok(())
    }
}

impl TlsServerBuilder {
    /// A certificate chain, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC 1). Of several, each
    /// client gets the first that is for the name it asks for and whose key it can check; if there is none for the name,
    /// the first whose key it can check. With very many, `name` is quicker.
    pub fn certificate(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identities.push(Identity { chain: chain.into(), key: Key::Pem(key.into()) });
        self
    }

    /// A certificate chain whose key is elsewhere, in a security module or another process. `SigningKey` signs on one of
    /// `ReactorConfig::handshake_threads`; without them on the reactor's, which it holds up for as long as it takes.
    pub fn certificate_with_key(mut self, chain: impl Into<Pem>, key: Arc<dyn SigningKey>) -> Self {
        self.identities.push(Identity { chain: chain.into(), key: Key::Elsewhere(key) });
        self
    }

    /// A configuration of its own for a name: `example.org`, or `*.example.org` for names with one label more. An exact
    /// name goes before a wildcard. Case and a trailing dot do not matter.
    pub fn name(mut self, name: impl Into<String>, builder: TlsServerBuilder) -> Self {
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

    /// Revoked client certificates (CRL, RFC 5280). Once there is one, each issuer in a client's chain needs one.
    pub fn revoked(mut self, lists: impl Into<Pem>) -> Self {
        self.revoked.push(lists.into());
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

    /// Reads and checks everything.
    ///
    /// # Errors
    /// `Error::Tls` names the file, name or list, and what is wrong with it: it cannot be read, holds nothing of the
    /// kind, the key is not that of the certificate, the certificate has expired or is not valid yet, a name stands
    /// twice. `Error::Config` where settings do not fit each other.
    pub fn build(&self) -> Result<TlsServer, Error> {
        Ok(TlsServer::new(self.choice(None)?, self.truncation, self.offload))
    }

    fn choice(&self, old: Option<&Choice>) -> Result<Choice, Error> {
        let usual = self.entry(old.map(|old| &old.usual))?;
        let (mut exact, mut wildcards) = (HashMap::new(), HashMap::new());
        for (name, builder) in &self.names {
            let unfit = |why: &str| Error::Tls { what: format!("name {name:?}"), why: why.to_owned() };
            if !builder.names.is_empty() {
                return Err(unfit("its configuration has names of its own; put them beside it"));
            }
            let plain = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            let (names, old, plain) = match plain.strip_prefix("*.") {
                Some(parent) => (&mut wildcards, old.map(|old| &old.wildcards), parent),
                None => (&mut exact, old.map(|old| &old.exact), plain.as_str()),
            };
            if !matches!(ServerName::try_from(plain), Ok(ServerName::DnsName(_))) {
                return Err(unfit("it is no DNS name, and no *. before one"));
            }
            let entry = builder.entry(old.and_then(|old| old.get(plain))).map_err(|error| match error {
                Error::Tls { what, why } => Error::Tls { what: format!("{what} (for {name})"), why },
                error => error,
            })?;
            if names.insert(Box::from(plain), entry).is_some() {
                return Err(unfit("it stands twice"));
            }
        }
        let unknown = match self.unknown {
            UnknownName::Usual => Unknown::Usual,
            UnknownName::Refused => Unknown::Refused,
        };
        Ok(Choice { usual, exact, wildcards, unknown })
    }

    fn entry(&self, old: Option<&Entry>) -> Result<Entry, Error> {
        let provider = self.settings.provider()?;
        let (mut keys, mut speed) = (Vec::new(), Speed::Quick);
        for identity in &self.identities {
            let key = identity.read(&provider)?;
            if matches!(identity.key, Key::Elsewhere(_)) || key.key.algorithm() == SignatureAlgorithm::RSA {
                speed = Speed::Slow;
            }
            keys.push(Arc::new(key));
        }
        if keys.is_empty() {
            let why = "a server needs one; give its chain and key in PEM".to_owned();
            return Err(Error::Tls { what: "no certificate".to_owned(), why });
        }
        let unusable = |what: &str, why: String| Error::Tls { what: what.to_owned(), why };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&self.settings.versions()?)
            .map_err(|error| unusable("versions, suites and groups together", error.to_string()))?;
        let (verifier, trust) = self.verifier(&provider)?;
        let builder = match verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_cert_resolver(Arc::new(FirstFit(keys)));
        config.alpn_protocols = self.settings.alpn()?;
        config.key_log = self.key_log.open()?;
        // Tickets hold the sessions, encrypted: nothing is stored here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let kept = old.filter(|old| old.trust == trust).and_then(|old| old.tickets.clone());
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
        Ok(Entry { config: Arc::new(asked::noting(&config)), speed, tickets, trust })
    }

    /// Who checks client certificates, and all that it checks them against.
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Verifier, Error> {
        if self.client_auth == ClientAuth::None {
            return match (self.client_roots.first(), self.revoked.first()) {
                (None, None) => Ok((None, Vec::new())),
                _ => Err(Error::Config {
                    field: "client_auth",
                    value: "None".to_owned(),
                    why: "client roots or revocation lists are given; ask for client certificates too",
                }),
            };
        }
        let mut roots = RootCertStore::empty();
        let mut trust = vec![vec![self.client_auth as u8]];
        for pem in &self.client_roots {
            pem.add_roots(&mut roots)?;
            trust.extend(pem.chain()?.iter().map(|root| root.to_vec()));
        }
        if roots.is_empty() {
            let why = "client_roots must say who may issue client certificates";
            return Err(Error::Config { field: "client_auth", value: format!("{:?}", self.client_auth), why });
        }
        let mut lists = Vec::new();
        for pem in &self.revoked {
            lists.extend(pem.revoked()?);
        }
        trust.extend(lists.iter().map(|list| list.to_vec()));
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).with_crls(lists);
        if self.client_auth == ClientAuth::Optional {
            builder = builder.allow_unauthenticated();
        }
        let failed = |error: rustls::server::VerifierBuilderError| Error::Tls {
            what: "client roots and revocation lists".to_owned(),
            why: error.to_string(),
        };
        Ok((Some(builder.build().map_err(failed)?), trust))
    }
}

type Verifier = (Option<Arc<dyn ClientCertVerifier>>, Vec<Vec<u8>>);

impl Identity {
    fn read(&self, provider: &Arc<CryptoProvider>) -> Result<CertifiedKey, Error> {
        let chain = self.chain.chain()?;
        self.check_dates(&chain, provider)?;
        let unfit = |error: rustls::Error| {
            let why = match error {
                rustls::Error::InconsistentKeys(_) => "the private key is not that of this certificate".to_owned(),
                error => error.to_string(),
            };
            self.chain.unfit("certificate", why)
        };
        match &self.key {
            Key::Pem(pem) => {
                let key = provider.key_provider.load_private_key(pem.key()?);
                let key = key.map_err(|error| pem.unfit("private key", error.to_string()))?;
                fitting(chain, key).map_err(unfit)
            }
            Key::Elsewhere(key) => fitting(chain, key.clone()).map_err(unfit),
        }
    }

    /// Whether it is valid now. rustls tells the dates of no certificate, but it refuses one by them before it looks at
    /// anything else, also its issuer.
    fn check_dates(&self, chain: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Result<(), Error> {
        let mut roots = RootCertStore::empty();
        let Some((own, others)) = chain.split_first() else { return Ok(()) };
        if let Err(error) = roots.add(own.clone()) {
            return Err(self.chain.unfit("certificate", error.to_string()));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let (Ok(verifier), Ok(name)) = (verifier, ServerName::try_from("localhost")) else { return Ok(()) };
        match verifier.verify_server_cert(own, others, &name, &[], UnixTime::now()) {
            Err(rustls::Error::InvalidCertificate(
                why @ (CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }),
            )) => Err(self.chain.unfit("certificate", rustls::Error::InvalidCertificate(why).to_string())),
            _ => Ok(()),
        }
    }
}

fn fitting(chain: Vec<CertificateDer<'static>>, key: Arc<dyn SigningKey>) -> Result<CertifiedKey, rustls::Error> {
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A key that is elsewhere may not tell.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
        Err(error) => Err(error),
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

impl fmt::Debug for TlsServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsServerBuilder")
            .field("settings", &self.settings)
            .field("chains", &self.identities.iter().map(|identity| &identity.chain).collect::<Vec<_>>())
            .field("client_auth", &self.client_auth)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
