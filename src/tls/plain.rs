//! What servers and clients with TLS are to be, as plain values, which settings in files hold.
//!
//! Owns the fields, and how those about client certificates fit together; what else is wrong the builders tell.

use crate::error::Error;
use crate::shown::shown_key;
use crate::tls::{
    ClientAuth, ClientTls, ClientTlsBuilder, KeyLog, ListPolicy, Offload, Pem, ServerTls, ServerTlsBuilder, Tickets,
    Truncation, UnknownName, Version,
};
use std::collections::BTreeMap;

/// A certificate chain, its own certificate first, and the private key for that.
///
/// ```
/// use windlass::tls::Pem;
/// use windlass::{CertPair, TlsServerConfig};
/// let pair = CertPair { chain: Pem::file("chain.pem"), key: Pem::file("key.pem") };
/// let config = TlsServerConfig { certs: vec![pair], ..TlsServerConfig::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertPair {
    /// The chain.
    pub chain: Pem,
    /// The key.
    pub key: Pem,
}

/// Whether sessions are resumed; RFC 8446, section 2.2, and RFC 5077.
///
/// ```
/// use windlass::{Roots, SessionTickets, TlsClientConfig, TlsTerms};
/// let terms = TlsTerms { alpn: vec!["h2".into()], session_tickets: SessionTickets::Off, ..TlsTerms::default() };
/// let config = TlsClientConfig { roots: Roots::Platform, terms, ..TlsClientConfig::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionTickets {
    /// They are, by tickets whose keys change every six hours.
    #[default]
    On,
    /// Each connection makes a full handshake.
    Off,
}

/// What servers and clients set alike.
///
/// ```
/// use windlass::{Roots, SessionTickets, TlsClientConfig, TlsTerms};
/// let terms = TlsTerms { alpn: vec!["h2".into()], session_tickets: SessionTickets::Off, ..TlsTerms::default() };
/// let config = TlsClientConfig { roots: Roots::Platform, terms, ..TlsClientConfig::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsTerms {
    /// The oldest version. Default: 1.2.
    pub version_min: Version,
    /// The newest version. Default: 1.3.
    pub version_max: Version,
    /// Cipher suites by name, the best first. Default: all. If none is of TLS 1.2, that version is not spoken.
    pub cipher_list: Vec<String>,
    /// Key exchange groups by name, the best first. Default: all.
    pub curve_list: Vec<String>,
    /// Application protocols, the best first. Default: none.
    pub alpn: Vec<String>,
    /// Default: on.
    pub session_tickets: SessionTickets,
    /// What a FIN without close_notify means. Default: refused.
    pub truncation: Truncation,
    /// Whether handshake threads work on its handshakes. Default: if they may take long.
    pub offload: Offload,
    /// Whether secrets of sessions are written to a file: **whoever reads it reads the traffic**. Default: off.
    pub key_log: KeyLog,
}

impl Default for TlsTerms {
    fn default() -> TlsTerms {
        TlsTerms {
            version_min: Version::Tls12,
            version_max: Version::Tls13,
            cipher_list: Vec::new(),
            curve_list: Vec::new(),
            alpn: Vec::new(),
            session_tickets: SessionTickets::On,
            truncation: Truncation::Refused,
            offload: Offload::Auto,
            key_log: KeyLog::Off,
        }
    }
}

/// How a server speaks TLS.
///
/// In a file it is the table `tls` of a server: see the [guide](crate::guide::settings).
///
/// ```
/// use windlass::tls::Pem;
/// use windlass::{CertPair, TlsServerConfig};
/// let pair = CertPair { chain: Pem::file("chain.pem"), key: Pem::file("key.pem") };
/// let config = TlsServerConfig { certs: vec![pair], ..TlsServerConfig::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsServerConfig {
    /// Certificates and keys; at least one is needed. Of several, a client gets one for the name that it asks for.
    pub certs: Vec<CertPair>,
    /// Whether clients show certificates. Default: none.
    pub auth_client: ClientAuth,
    /// Who may issue them.
    pub client_ca: Vec<Pem>,
    /// Those that were revoked.
    pub client_crl: Vec<Pem>,
    /// Issuers of such lists that are between `client_ca` and clients; `ServerTlsBuilder::list_issuers`.
    pub client_crl_issuers: Vec<Pem>,
    /// What becomes of a list that is past its next update. Default: it is refused.
    pub client_crl_stale: ListPolicy,
    /// What becomes of a list of an issuer that is not known. Default: it is refused.
    pub client_crl_foreign: ListPolicy,
    /// Versions, lists and the like.
    pub terms: TlsTerms,
    /// Configurations of their own for names, as `ServerTlsBuilder::name`.
    pub names: BTreeMap<String, TlsServerConfig>,
    /// What a client gets that asks for another name. Default: this configuration.
    pub unknown_names: UnknownName,
}

impl TlsServerConfig {
    /// With this certificate chain and key, all else by default.
    pub fn new(chain: impl Into<Pem>, key: impl Into<Pem>) -> TlsServerConfig {
        let pair = CertPair { chain: chain.into(), key: key.into() };
        TlsServerConfig { certs: vec![pair], ..TlsServerConfig::default() }
    }

    /// Whether what is said of client certificates fits together, for the clients that ask for `name`.
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        let of =
            |value: &str| if name.is_empty() { value.to_owned() } else { format!("{value} for {}", shown_key(name)) };
        let has_lists = !(self.client_crl.is_empty() && self.client_crl_issuers.is_empty());
        match (self.auth_client, self.client_ca.is_empty(), !has_lists) {
            (ClientAuth::None, true, true) | (ClientAuth::Optional | ClientAuth::Required, false, _) => {
                self.names.iter().try_for_each(|(name, own)| own.check(name))
            }
            (ClientAuth::None, ..) => {
                let why =
                    "tls.client-ca or tls.client-crl is given: write \"strict\" or \"verify\", or leave those out";
                Err(Error::Config { field: "tls.auth-client", value: of("none"), why })
            }
            (ClientAuth::Optional | ClientAuth::Required, true, _) => {
                let why = "tls.auth-client asks clients for certificates: name those of who may issue them";
                Err(Error::Config { field: "tls.client-ca", value: of("nothing"), why })
            }
        }
    }

    /// What builds it, and reads its files again: `ServerTls::reload`.
    pub fn to_builder(&self) -> ServerTlsBuilder {
        let mut builder = ServerTls::builder()
            .client_auth(self.auth_client)
            .versions(self.terms.version_min, self.terms.version_max)
            .suites(self.terms.cipher_list.iter().cloned())
            .groups(self.terms.curve_list.iter().cloned())
            .alpn(self.terms.alpn.iter().map(String::as_bytes))
            .unknown_names(self.unknown_names)
            .stale_lists(self.client_crl_stale)
            .foreign_lists(self.client_crl_foreign)
            .truncation(self.terms.truncation)
            .offload(self.terms.offload)
            .key_log(self.terms.key_log.clone());
        if self.terms.session_tickets == SessionTickets::Off {
            builder = builder.tickets(Tickets::Off);
        }
        for pair in &self.certs {
            builder = builder.certificate(pair.chain.clone(), pair.key.clone());
        }
        builder = self.client_ca.iter().cloned().fold(builder, ServerTlsBuilder::client_roots);
        builder = self.client_crl.iter().cloned().fold(builder, ServerTlsBuilder::revoked);
        builder = self.client_crl_issuers.iter().cloned().fold(builder, ServerTlsBuilder::list_issuers);
        // Who logs keys means those of all names.
        let own = |own: &TlsServerConfig| match own.terms.key_log {
            KeyLog::Off => own.to_builder().key_log(self.terms.key_log.clone()),
            _ => own.to_builder(),
        };
        self.names.iter().fold(builder, |builder, (name, config)| builder.name(name.clone(), own(config)))
    }
}

/// Which certificates a client trusts servers by.
///
/// ```
/// use windlass::{Roots, SessionTickets, TlsClientConfig, TlsTerms};
/// let terms = TlsTerms { alpn: vec!["h2".into()], session_tickets: SessionTickets::Off, ..TlsTerms::default() };
/// let config = TlsClientConfig { roots: Roots::Platform, terms, ..TlsClientConfig::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// What this machine trusts.
    #[default]
    Platform,
    /// These, and what this machine trusts.
    PlatformAnd(Vec<Pem>),
    /// These alone.
    Only(Vec<Pem>),
}

/// How a client speaks TLS.
///
/// In a file it is the table `tls` of a client: see the [guide](crate::guide::settings).
///
/// ```
/// use windlass::{Roots, SessionTickets, TlsClientConfig, TlsTerms};
/// let terms = TlsTerms { alpn: vec!["h2".into()], session_tickets: SessionTickets::Off, ..TlsTerms::default() };
/// let config = TlsClientConfig { roots: Roots::Platform, terms, ..TlsClientConfig::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsClientConfig {
    /// The name, or IP address, that the server's certificate must be for. Default: the host of the address.
    pub server_name: Option<String>,
    /// Default: the platform's.
    pub roots: Roots,
    /// What is shown to servers that ask. Default: nothing.
    pub cert: Option<CertPair>,
    /// Versions, lists and the like.
    pub terms: TlsTerms,
}

impl TlsClientConfig {
    /// What builds it.
    pub fn to_builder(&self) -> ClientTlsBuilder {
        let mut builder = ClientTls::builder()
            .versions(self.terms.version_min, self.terms.version_max)
            .suites(self.terms.cipher_list.iter().cloned())
            .groups(self.terms.curve_list.iter().cloned())
            .alpn(self.terms.alpn.iter().map(String::as_bytes))
            .truncation(self.terms.truncation)
            .offload(self.terms.offload)
            .key_log(self.terms.key_log.clone());
        if self.terms.session_tickets == SessionTickets::Off {
            builder = builder.resumption(0);
        }
        builder = match &self.roots {
            Roots::Platform => builder,
            Roots::PlatformAnd(roots) => roots.iter().cloned().fold(builder, ClientTlsBuilder::more_roots),
            // Without any the builder would trust the platform's.
            Roots::Only(roots) if roots.is_empty() => builder.roots(Pem::bytes("")),
            Roots::Only(roots) => roots.iter().cloned().fold(builder, ClientTlsBuilder::roots),
        };
        if let Some(pair) = &self.cert {
            builder = builder.certificate(pair.chain.clone(), pair.key.clone());
        }
        match &self.server_name {
            None => builder,
            Some(name) => builder.server_name(name.clone()),
        }
    }
}
