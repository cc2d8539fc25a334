//! Client configurations built from PEM and the platform's roots.

use super::ClientTls;
use crate::error::Error;
use crate::shown::shown;
use crate::tls::check::{self, Shown, Tried};
use crate::tls::key_log::Logs;
use crate::tls::material::{self, Side};
use crate::tls::pem::Pem;
use crate::tls::pem::files::Files;
use crate::tls::settings::{Settings, Version};
use crate::tls::{KeyLog, Offload, Truncation};
use rustls::RootCertStore;
use rustls::client::{ClientConfig, Resumption};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;

/// Builds a [`ClientTls`]; begun by [`ClientTls::builder`]. Nothing is read before `build`.
///
/// ```
/// use windlass::{Client, ClientTls};
/// let tls = ClientTls::builder().build()?; // trusts the roots of the system
/// let client = Client::builder("tls://example.org:443".parse()?).with_tls(tls, "example.org").build()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientTlsBuilder {
    settings: Settings,
    platform: Platform,
    roots: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    server_name: Option<String>,
    sessions: usize,
    truncation: Truncation,
    offload: Offload,
    key_log: KeyLog,
}

/// Whether the platform's roots are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Platform {
    Trusted,
    Replaced,
}

/// Servers whose sessions are remembered, unless another number is given.
const SESSIONS: usize = 256;

/// Upper bound: memory for all of them is reserved at build.
const SESSIONS_MAX: usize = 65_536;

impl ClientTls {
    /// Begins with the platform's roots, both versions, and no certificate.
    pub fn builder() -> ClientTlsBuilder {
        ClientTlsBuilder {
            settings: Settings::default(),
            platform: Platform::Trusted,
            roots: Vec::new(),
            identity: None,
            server_name: None,
            sessions: SESSIONS,
            truncation: Truncation::default(),
            offload: Offload::default(),
            key_log: KeyLog::default(),
        }
    }

    /// Builds anew, reading all files again, and takes the result for handshakes from now on: each `Client`, `Connector`
    /// and connect with this `ClientTls` or a clone shows the new certificate and trusts the new roots when it connects
    /// next. Connections that there are keep what they have; sessions that are remembered are not resumed. From any
    /// thread; it blocks for as long as reading takes.
    ///
    /// The `server_name`, `truncation` and `offload` of the clones stay.
    ///
    /// # Errors
    /// As [`ClientTlsBuilder::build`]; what was current stays then.
    ///
    /// # Threads
    /// A `reload` or [`replace`](ClientTls::replace) waits for one that has begun before it, so that the last one counts.
    pub fn reload(&self, builder: &ClientTlsBuilder) -> Result<(), Error> {
        let _turn = self.turn();
        self.swap(builder.build()?.config());
        Ok(())
    }
}

impl ClientTlsBuilder {
    /// Trusts these roots instead of the platform's. May be called again, for more of them.
    pub fn roots(mut self, roots: impl Into<Pem>) -> Self {
        self.platform = Platform::Replaced;
        self.roots.push(roots.into());
        self
    }

    /// Trusts these roots besides those that are trusted without them.
    pub fn more_roots(mut self, roots: impl Into<Pem>) -> Self {
        self.roots.push(roots.into());
        self
    }

    /// The certificate chain and key to show to servers that ask for one.
    pub fn certificate(mut self, chain: impl Into<Pem>, key: impl Into<Pem>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// The name, or IP address, that the server's certificate must be for. Default: the host of the address.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Application protocols (ALPN, RFC 7301), the best first. Default: none.
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

    /// Key exchange groups by name, the best first. Default: all that the provider has.
    pub fn groups<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.settings.groups = names.into_iter().map(Into::into).collect();
        self
    }

    /// Servers whose sessions are remembered, to be resumed, up to 65,536; 0 for none. All connects with this `ClientTls` and its
    /// clones share them. Default: 256.
    pub fn resumption(mut self, servers: usize) -> Self {
        self.sessions = servers;
        self
    }

    /// Default: refused.
    pub fn truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// Default: by other threads, where the reactor has some, if there is a certificate to sign for.
    pub fn offload(mut self, offload: Offload) -> Self {
        self.offload = offload;
        self
    }

    /// Whether the secrets of sessions are written to a file. **Whoever reads it reads the traffic**; see [`KeyLog`].
    /// Default: off.
    pub fn key_log(mut self, key_log: KeyLog) -> Self {
        self.key_log = key_log;
        self
    }

    /// Reads and checks everything, as [`ServerTlsBuilder::build`](crate::ServerTlsBuilder::build) does, and shows its own
    /// certificate, if there is one, to itself.
    ///
    /// # Errors
    /// `Error::Tls` names the file, the item and line in it, name or list, what is wrong with it, and how to mend it;
    /// `Error::Config` where settings do not fit.
    pub fn build(&self) -> Result<ClientTls, Error> {
        let unusable = |what: &str, why: String| Error::Tls { what: what.to_owned(), why };
        let mut roots = match self.platform {
            Platform::Trusted => platform_roots()?,
            Platform::Replaced => RootCertStore::empty(),
        };
        let mut files = Files::default();
        for pem in &self.roots {
            pem.read(&mut files).add_roots(&mut roots)?;
        }
        let (provider, versions) = (self.settings.provider()?, self.settings.versions()?);
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .map_err(|error| unusable("versions, suites and groups together", error.to_string()))?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let (chain, key) = (chain.read(&mut files), key.read(&mut files));
                let key = Arc::new(material::with_pem_key(&chain, &key, Side::Client, &provider)?);
                let shown = Shown { pem: &chain, key: key.clone(), is_tried: Tried::Yes };
                check::client(&shown, &provider, &versions)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from((*key).clone())))
            }
        };
        config.alpn_protocols = self.settings.alpn()?;
        check::protocols(&config.alpn_protocols)?;
        config.key_log = Logs::default().open(&self.key_log)?;
        config.resumption = match self.sessions {
            0 => Resumption::disabled(),
            servers if servers > SESSIONS_MAX => {
                let why = "it must be at most 65,536: there is memory for so many from the start";
                return Err(Error::Config { field: "resumption", value: servers.to_string(), why });
            }
            servers => Resumption::in_memory_sessions(servers),
        };
        let server_name = match &self.server_name {
            None => None,
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|_| Error::Config {
                field: "server_name",
                value: shown(name),
                why: "no certificate can be for it; give a DNS name or an IP address",
            })?),
        };
        let made = ClientTls::from(Arc::new(config));
        Ok(ClientTls { server_name, truncation: self.truncation, offload: self.offload, ..made })
    }
}

/// What this machine trusts. Roots that cannot be read are passed over, as other programs do; none at all is an error.
fn platform_roots() -> Result<RootCertStore, Error> {
    #[cfg(feature = "platform-roots")]
    {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(found.certs);
        log::debug!("tls: {} of the platform's roots, {ignored} ignored", roots.len());
        if roots.is_empty() {
            // Its text of a fault in PEM has the line that it is in.
            let told = |error: &rustls_native_certs::Error| match &error.kind {
                rustls_native_certs::ErrorKind::Io { inner, path } => Pem::file(path).called(inner),
                _ => "a file of them cannot be read; SSL_CERT_FILE and SSL_CERT_DIR say which".to_owned(),
            };
            let why = found.errors.first().map_or("there are none".to_owned(), told);
            return Err(Error::Tls { what: "the platform's roots".to_owned(), why });
        }
        Ok(roots)
    }
    #[cfg(not(feature = "platform-roots"))]
    Err(Error::Tls {
        what: "the platform's roots".to_owned(),
        why: "windlass was built without the feature `platform-roots`; give roots".to_owned(),
    })
}
