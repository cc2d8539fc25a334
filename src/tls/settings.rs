//! What servers and clients configure alike: versions, cipher suites and key exchange groups, by name.
//!
//! Owns the names and the provider that results.

use crate::error::Error;
use crate::shown::shown;
use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use std::sync::Arc;

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// TLS 1.2, RFC 5246.
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

/// Versions, suites and groups; empty lists stand for all that the provider has.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) oldest: Version,
    pub(super) newest: Version,
    pub(super) suites: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) alpn: Vec<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Settings {
        let (oldest, newest) = (Version::Tls12, Version::Tls13);
        Settings { oldest, newest, suites: Vec::new(), groups: Vec::new(), alpn: Vec::new() }
    }
}

const ALPN_BYTES_MAX: usize = 255;

impl Settings {
    pub(super) fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
        let all = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
        let wanted = all.into_iter().filter(|(version, _)| (self.oldest..=self.newest).contains(version));
        let versions: Vec<_> = wanted.map(|(_, version)| version).collect();
        if versions.is_empty() {
            let why = "the oldest version must not be above the newest";
            // Not so, the oldest is 1.3 and the newest 1.2.
            return Err(Error::Config { field: "versions", value: "1.3 to 1.2".to_owned(), why });
        }
        Ok(versions)
    }

    /// The provider with only the suites and groups that were named, in their order.
    pub(super) fn provider(&self) -> Result<Arc<CryptoProvider>, Error> {
        let all = super::provider();
        if self.suites.is_empty() && self.groups.is_empty() {
            return Ok(all);
        }
        let mut provider = (*all).clone();
        if !self.suites.is_empty() {
            let plain = |suite: &rustls::SupportedCipherSuite| plain_suite(&suite_name(suite.suite()));
            // OpenSSL's names of AES suites with RSA, which nobody has any more, are those of TLS 1.3 without their TLS.
            let may_be = |suite: &rustls::SupportedCipherSuite, name: &str| {
                let name = name.to_ascii_uppercase();
                suite.tls13().is_none() || name.starts_with("TLS") || !name.contains("AES")
            };
            let is = |suite: &rustls::SupportedCipherSuite, name: &str| {
                plain(suite) == plain_suite(name) && may_be(suite, name)
            };
            let known = |name: &str| all.cipher_suites.iter().find(|suite| is(suite, name)).copied();
            let names = || all.cipher_suites.iter().map(|suite| suite_name(suite.suite())).collect();
            provider.cipher_suites = pick("cipher suite", &self.suites, known, names)?;
            // rustls would leave the newest version out, and say nothing.
            if self.newest == Version::Tls13 && !provider.cipher_suites.iter().any(|suite| suite.tls13().is_some()) {
                let why =
                    "none is of TLS 1.3: add one, such as TLS_AES_128_GCM_SHA256, or let 1.2 be the newest version";
                return Err(Error::Config { field: "suites", value: self.suites.join(", "), why });
            }
        }
        if !self.groups.is_empty() {
            let known = |name: &str| all.kx_groups.iter().find(|group| group_name(group.name()) == plain_group(name));
            let names = || all.kx_groups.iter().map(|group| group_name(group.name())).collect();
            provider.kx_groups = pick("key exchange group", &self.groups, |name| known(name).copied(), names)?;
        }
        Ok(Arc::new(provider))
    }

    pub(super) fn alpn(&self) -> Result<Vec<Vec<u8>>, Error> {
        match self.alpn.iter().find(|name| name.is_empty() || name.len() > ALPN_BYTES_MAX) {
            None => Ok(self.alpn.clone()),
            Some(bad) => {
                let value = shown(&String::from_utf8_lossy(bad));
                Err(Error::Config { field: "alpn", value, why: "a protocol's name has 1 to 255 bytes" })
            }
        }
    }
}

fn pick<T>(
    what: &str,
    names: &[String],
    find: impl Fn(&str) -> Option<T>,
    known: impl Fn() -> Vec<String>,
) -> Result<Vec<T>, Error> {
    names
        .iter()
        .map(|name| {
            find(name).ok_or_else(|| Error::Tls {
                what: format!("{what} {}", shown(name)),
                why: format!("it is none of {}", known().join(", ")),
            })
        })
        .collect()
}

/// The registered (IANA) name; rustls marks those of TLS 1.3 by one of its own.
fn suite_name(suite: rustls::CipherSuite) -> String {
    suite.as_str().unwrap_or_default().replace("TLS13_", "TLS_")
}

/// What all spellings of a suite's name have alike: `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`, as registered, is
/// `ECDHE-RSA-AES128-GCM-SHA256` for OpenSSL, which leaves out the hash of ChaCha20-Poly1305, as Go does too.
fn plain_suite(name: &str) -> String {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let plain = plain.strip_prefix("TLS13").or(plain.strip_prefix("TLS")).unwrap_or(&plain).replace("WITH", "");
    match plain.strip_suffix("SHA256") {
        Some(rest) if rest.contains("CHACHA20") => rest.to_owned(),
        _ => plain,
    }
}

fn group_name(group: rustls::NamedGroup) -> String {
    plain_group(group.as_str().unwrap_or_default())
}

fn plain_group(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "p-256" | "p256" | "prime256v1" | "curvep256" => "secp256r1".to_owned(),
        "p-384" | "p384" | "curvep384" => "secp384r1".to_owned(),
        other => other.to_owned(),
    }
}
