//! The table `tls` of servers and of clients.

use super::text::{of_word, word};
use super::value::{Read, Value};
use super::{Key, Section, TableOf, Written, read, write};
use crate::settings::{CertPair, Roots, SessionTickets, TlsClientConfig, TlsServerConfig, TlsTerms};
use crate::tls::{ClientAuth, Offload, Pem, Truncation, UnknownName, Version};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The table while it is read: it may be switched off.
#[derive(Clone, Debug)]
pub(super) struct Tls<C> {
    config: C,
    is_enabled: bool,
}

impl<C> From<C> for Tls<C> {
    fn from(config: C) -> Tls<C> {
        Tls { config, is_enabled: true }
    }
}

impl<C: Default> Default for Tls<C> {
    fn default() -> Tls<C> {
        C::default().into()
    }
}

impl<C> Tls<C> {
    pub(super) fn into_enabled(self) -> Option<C> {
        self.is_enabled.then_some(self.config)
    }

    /// The table is read by itself, so that nobody could leave it out for being switched off.
    fn alone<E: Error>(self) -> Result<C, E> {
        let why = "tls.enabled cannot be false where nothing but this table is read: leave it out";
        self.into_enabled().ok_or_else(|| E::custom(why))
    }
}

const PEM_LISTS: &str = "name files, or give PEM; to have none, leave it out";

fn pems(value: &Value) -> Read<Vec<Pem>> {
    match value.texts()? {
        texts if texts.is_empty() || texts.contains(&"") => Err(PEM_LISTS.to_owned()),
        texts => Ok(texts.into_iter().map(Pem::of_text).collect()),
    }
}

fn of_pem(pem: &Pem) -> Value {
    let text = pem.text().filter(|text| !text.is_empty() && Pem::of_text(text) == *pem);
    text.map_or(Value::Unfit("a path that is no text, or PEM that does not look like PEM,"), Value::from)
}

fn of_pems(pems: &[Pem]) -> Value {
    Value::of_list(pems.iter().map(of_pem).collect())
}

/// A version, in any of the ways in which people write it; YAML takes it for a number.
fn version(value: &Value) -> Read<Version> {
    let text = match value {
        Value::Fraction(number) => number.to_string(),
        value => value.text().unwrap_or_default().to_ascii_lowercase().replace('_', "."),
    };
    let number = text.strip_prefix("tls").unwrap_or(&text).trim_start_matches([' ', 'v', '-', '.']);
    match number {
        "1.2" => Ok(Version::Tls12),
        "1.3" => Ok(Version::Tls13),
        "1.0" | "1.1" | "1" => Err("it is broken and not spoken here; write \"1.2\" or \"1.3\"".to_owned()),
        _ => Err("write \"1.2\" or \"1.3\"".to_owned()),
    }
}

fn of_version(version: Version) -> Value {
    match version {
        Version::Tls12 => "1.2".into(),
        Version::Tls13 => "1.3".into(),
    }
}

const CLIENT_AUTHS: [(&str, ClientAuth); 3] =
    [("none", ClientAuth::None), ("verify", ClientAuth::Optional), ("strict", ClientAuth::Required)];
const TRUNCATIONS: [(&str, Truncation); 2] = [("refused", Truncation::Refused), ("tolerated", Truncation::Tolerated)];
const OFFLOADS: [(&str, Offload); 3] =
    [("auto", Offload::Auto), ("always", Offload::Always), ("never", Offload::Never)];
const UNKNOWN_NAMES: [(&str, UnknownName); 2] = [("usual", UnknownName::Usual), ("refused", UnknownName::Refused)];

fn client_auth(value: &Value) -> Read<ClientAuth> {
    match value.text().unwrap_or_default() {
        "request" | "require" => {
            Err("a certificate that is shown is checked here: write \"verify\" or \"strict\"".to_owned())
        }
        _ => word(&CLIENT_AUTHS, value),
    }
}

fn names(value: &Value) -> Read<Vec<String>> {
    Ok(value.texts()?.into_iter().map(str::to_owned).collect())
}

fn of_names(names: &[String]) -> Value {
    Value::of_list(names.iter().map(|name| name.as_str().into()).collect())
}

/// Keys of what servers and clients set alike.
struct Alike<C>(PhantomData<C>);

trait HasTerms {
    fn terms(&self) -> &TlsTerms;
    fn terms_mut(&mut self) -> &mut TlsTerms;
}

impl HasTerms for TlsServerConfig {
    fn terms(&self) -> &TlsTerms {
        &self.terms
    }

    fn terms_mut(&mut self) -> &mut TlsTerms {
        &mut self.terms
    }
}

impl HasTerms for TlsClientConfig {
    fn terms(&self) -> &TlsTerms {
        &self.terms
    }

    fn terms_mut(&mut self) -> &mut TlsTerms {
        &mut self.terms
    }
}

impl<C: HasTerms + 'static> Alike<C> {
    const KEYS: &'static [Key<Tls<C>>] = &[
        Key::spelled(
            "enabled",
            &["enable"],
            |s, v| v.truth().map(|is_enabled| s.is_enabled = is_enabled),
            |s| s.is_enabled.into(),
        ),
        Key::spelled(
            "version-min",
            &["versionMin"],
            |s, v| version(v).map(|version| s.config.terms_mut().version_min = version),
            |s| of_version(s.config.terms().version_min),
        ),
        Key::spelled(
            "version-max",
            &["versionMax"],
            |s, v| version(v).map(|version| s.config.terms_mut().version_max = version),
            |s| of_version(s.config.terms().version_max),
        ),
        Key::spelled(
            "cipher-list",
            &["cipherList"],
            |s, v| names(v).map(|names| s.config.terms_mut().cipher_list = names),
            |s| of_names(&s.config.terms().cipher_list),
        ),
        Key::spelled(
            "curve-list",
            &["curveList"],
            |s, v| names(v).map(|names| s.config.terms_mut().curve_list = names),
            |s| of_names(&s.config.terms().curve_list),
        ),
        Key::new(
            "alpn",
            |s, v| names(v).map(|names| s.config.terms_mut().alpn = names),
            |s| of_names(&s.config.terms().alpn),
        ),
        Key::spelled(
            "session-ticket-disable",
            &["sessionTicketDisable"],
            |s, v| {
                let tickets = |is_off| if is_off { SessionTickets::Off } else { SessionTickets::On };
                v.truth().map(|is_off| s.config.terms_mut().session_tickets = tickets(is_off))
            },
            |s| (s.config.terms().session_tickets == SessionTickets::Off).into(),
        ),
        Key::new(
            "truncation",
            |s, v| word(&TRUNCATIONS, v).map(|truncation| s.config.terms_mut().truncation = truncation),
            |s| of_word(&TRUNCATIONS, &s.config.terms().truncation),
        ),
        Key::new(
            "offload",
            |s, v| word(&OFFLOADS, v).map(|offload| s.config.terms_mut().offload = offload),
            |s| of_word(&OFFLOADS, &s.config.terms().offload),
        ),
    ];
}

const OF_SERVERS: &[Key<Tls<TlsServerConfig>>] = &[
    Key::spelled(
        "auth-client",
        &["authClient"],
        |s, v| client_auth(v).map(|auth| s.config.auth_client = auth),
        |s| of_word(&CLIENT_AUTHS, &s.config.auth_client),
    ),
    Key::spelled(
        "client-ca",
        &["clientCA"],
        |s, v| pems(v).map(|pems| s.config.client_ca = pems),
        |s| of_pems(&s.config.client_ca),
    ),
    Key::new("client-crl", |s, v| pems(v).map(|pems| s.config.client_crl = pems), |s| of_pems(&s.config.client_crl)),
    Key::new(
        "unknown-names",
        |s, v| word(&UNKNOWN_NAMES, v).map(|unknown| s.config.unknown_names = unknown),
        |s| of_word(&UNKNOWN_NAMES, &s.config.unknown_names),
    ),
];

const SIZING: (&str, &str) = ("dynamic-sizing-disable", "records are as long as what is written; remove it");

impl Section for Tls<TlsServerConfig> {
    const PATH: &'static str = "tls.";
    const KEYS: &'static [&'static [Key<Self>]] = &[OF_SERVERS, Alike::<TlsServerConfig>::KEYS];
    const TABLES: &'static [&'static str] = &["certs", "names"];
    const FOREIGN: &'static [(&'static str, &'static str)] = &[
        ("root-ca", "it is a client's; who may issue certificates of clients is said by client-ca"),
        ("inherit-default", "there is no default that a server could inherit; remove it"),
        ("server-name", "it is a client's; a server's names are those of its certificates"),
        SIZING,
    ];

    fn read_table<'de, M: MapAccess<'de>>(&mut self, name: &'static str, map: &mut M) -> Result<(), M::Error> {
        if name == "certs" {
            self.config.certs = map.next_value_seed(Pairs)?;
        } else {
            self.config.names = map.next_value_seed(Names)?;
        }
        Ok(())
    }

    fn write_tables<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        write_pairs(&self.config.certs, map)?;
        if self.config.names.is_empty() {
            return Ok(());
        }
        map.serialize_entry("names", &self.config.names)
    }
}

const OF_CLIENTS: &[Key<Tls<TlsClientConfig>>] = &[
    Key::spelled(
        "server-name",
        &["serverName"],
        |s, v| v.text().map(|name| s.config.server_name = Some(name.to_owned())),
        |s| s.config.server_name.clone().into(),
    ),
    Key::spelled(
        "root-ca",
        &["rootCA"],
        |s, v| {
            let roots = pems(v)?;
            s.config.roots = match s.config.roots {
                Roots::Platform | Roots::Only(_) => Roots::Only(roots),
                Roots::PlatformAnd(_) => Roots::PlatformAnd(roots),
            };
            Ok(())
        },
        |s| match &s.config.roots {
            Roots::Platform => Value::Nothing,
            // Left out, it would read as the platform's.
            Roots::Only(roots) if roots.is_empty() => Value::Unfit("a client that trusts nobody"),
            Roots::PlatformAnd(roots) | Roots::Only(roots) => of_pems(roots),
        },
    ),
    Key::spelled(
        "inherit-default",
        &["inheritDefault"],
        |s, v| {
            if v.truth()? {
                s.config.roots = match std::mem::take(&mut s.config.roots) {
                    Roots::Platform => Roots::PlatformAnd(Vec::new()),
                    Roots::PlatformAnd(roots) | Roots::Only(roots) => Roots::PlatformAnd(roots),
                };
            }
            Ok(())
        },
        |s| matches!(s.config.roots, Roots::PlatformAnd(_)).into(),
    ),
];

const SERVERS_ALONE: &str = "it is a server's; what a client shows is certs, and whom it trusts root-ca";

impl Section for Tls<TlsClientConfig> {
    const PATH: &'static str = "tls.";
    const KEYS: &'static [&'static [Key<Self>]] = &[OF_CLIENTS, Alike::<TlsClientConfig>::KEYS];
    const TABLES: &'static [&'static str] = &["certs"];
    const FOREIGN: &'static [(&'static str, &'static str)] =
        &[("client-ca", SERVERS_ALONE), ("client-crl", SERVERS_ALONE), ("auth-client", SERVERS_ALONE), SIZING];

    fn read_table<'de, M: MapAccess<'de>>(&mut self, _: &'static str, map: &mut M) -> Result<(), M::Error> {
        self.config.cert = map.next_value_seed(OnePair)?;
        Ok(())
    }

    fn write_tables<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        write_pairs(self.config.cert.as_slice(), map)
    }

    fn finish(&mut self) -> Read<()> {
        if self.config.roots == Roots::PlatformAnd(Vec::new()) {
            self.config.roots = Roots::Platform;
        }
        Ok(())
    }
}

/// A certificate and key while they are read.
#[derive(Clone, Debug, Default)]
struct Pair {
    chain: Option<Pem>,
    key: Option<Pem>,
}

const PAIR: &[Key<Pair>] = &[
    Key::spelled(
        "cert",
        &["pem", "pub", "chain"],
        |s, v| pem(v).map(|pem| s.chain = Some(pem)),
        |s| s.chain.as_ref().map(of_pem).into(),
    ),
    Key::new("key", |s, v| pem(v).map(|pem| s.key = Some(pem)), |s| s.key.as_ref().map(of_pem).into()),
];

fn pem(value: &Value) -> Read<Pem> {
    match value.text()? {
        "" => Err("name a file, or give PEM".to_owned()),
        text => Ok(Pem::of_text(text)),
    }
}

impl Section for Pair {
    const PATH: &'static str = "tls.certs.";
    const KEYS: &'static [&'static [Key<Pair>]] = &[PAIR];

    fn finish(&mut self) -> Read<()> {
        match (&self.chain, &self.key) {
            (Some(_), Some(_)) => Ok(()),
            _ => Err("tls.certs cannot be without cert and key: name a file for each, or give PEM".to_owned()),
        }
    }
}

/// Pairs in a list, or one alone.
struct Pairs;

impl Pairs {
    fn of(pair: Pair) -> Option<CertPair> {
        Some(CertPair { chain: pair.chain?, key: pair.key? })
    }
}

impl<'de> DeserializeSeed<'de> for Pairs {
    type Value = Vec<CertPair>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<CertPair>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<CertPair>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tables with cert and key for tls.certs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<CertPair>, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = list.next_element_seed(TableOf::<Pair>::new())? {
            pairs.extend(pair.and_then(Pairs::of));
        }
        Ok(pairs)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<CertPair>, A::Error> {
        Ok(TableOf::<Pair>::new().visit_map(map)?.and_then(Pairs::of).into_iter().collect())
    }

    fn visit_unit<E>(self) -> Result<Vec<CertPair>, E> {
        Ok(Vec::new())
    }
}

/// One pair.
struct OnePair;

impl<'de> DeserializeSeed<'de> for OnePair {
    type Value = Option<CertPair>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<CertPair>, D::Error> {
        let mut pairs = Pairs.deserialize(from)?;
        let count = pairs.len();
        if count > 1 {
            let why = "a client shows one; remove the others";
            return Err(D::Error::custom(format_args!("tls.certs cannot be {count} pairs: {why}")));
        }
        Ok(pairs.pop())
    }
}

fn write_pairs<M: SerializeMap>(pairs: &[CertPair], map: &mut M) -> Result<(), M::Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    let pair = |pair: &CertPair| Pair { chain: Some(pair.chain.clone()), key: Some(pair.key.clone()) };
    map.serialize_entry("certs", &pairs.iter().map(pair).map(Written).collect::<Vec<_>>())
}

/// Tables of their own for names.
struct Names;

impl<'de> DeserializeSeed<'de> for Names {
    type Value = BTreeMap<String, TlsServerConfig>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = BTreeMap<String, TlsServerConfig>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of names, with a table for each, for tls.names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains_key(&name) {
                return Err(A::Error::custom(format_args!("tls.names.{name} stands twice: remove one of them")));
            }
            let Some(own) = map.next_value_seed(TableOf::<Tls<TlsServerConfig>>::new())? else {
                return Err(A::Error::custom(format_args!("tls.names.{name} is empty: give it a table, or remove it")));
            };
            names.insert(name, own.into_enabled());
        }
        // One that is switched off is as if it were not there.
        Ok(names.into_iter().filter_map(|(name, own)| Some((name, own?))).collect())
    }
}

impl<'de> Deserialize<'de> for TlsServerConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<TlsServerConfig, D::Error> {
        read(from).and_then(Tls::alone)
    }
}

impl Serialize for TlsServerConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write(&Tls::from(self.clone()), to)
    }
}

impl<'de> Deserialize<'de> for TlsClientConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<TlsClientConfig, D::Error> {
        read(from).and_then(Tls::alone)
    }
}

impl Serialize for TlsClientConfig {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write(&Tls::from(self.clone()), to)
    }
}
