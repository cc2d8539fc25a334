//! The table `tls` of servers and of clients, in our spelling and in the predecessor's.

use super::text::{Unsaid, indexed, is_rooted, names, switch, words};
use super::{Key, Scope, Section, Setting, TWICE, file, fill, table};
use crate::document::{Node, Read, Refusal};
use crate::shown::{is_material, shown, shown_key};
use crate::tls::plain::{CertPair, Roots, SessionTickets, TlsClientConfig, TlsServerConfig, TlsTerms};
use crate::tls::{ClientAuth, KeyLog, ListPolicy, Offload, Pem, Truncation, UnknownName, Version};
use serde::de::{Deserialize, Deserializer, Error};
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::Path;

/// What both sides have.
pub(super) trait Side: Section + Default {
    fn terms(&mut self) -> &mut TlsTerms;
    fn add(&mut self, pairs: Vec<CertPair>) -> Read<()>;
}

impl Side for TlsServerConfig {
    fn terms(&mut self) -> &mut TlsTerms {
        &mut self.terms
    }

    fn add(&mut self, pairs: Vec<CertPair>) -> Read<()> {
        self.certs.extend(pairs);
        Ok(())
    }
}

impl Side for TlsClientConfig {
    fn terms(&mut self) -> &mut TlsTerms {
        &mut self.terms
    }

    fn add(&mut self, mut pairs: Vec<CertPair>) -> Read<()> {
        let count = pairs.len() + self.cert.iter().len();
        self.cert = pairs.pop().or(self.cert.take());
        let why = "a client shows one; remove the others";
        if count > 1 { Err(Refusal::new(format!("cannot be {count} pairs: {why}"))) } else { Ok(()) }
    }
}

/// Reads the table; `None` where it is switched off, and then only its keys are looked at. The predecessor's is, unless it
/// says that it is on.
pub(super) fn read_tls<C: Side>(node: &Node) -> Read<Option<C>> {
    let (mut config, scope) = (C::default(), Scope::of::<C>(node)?);
    let is_on = match scope.found.iter().find(|(name, _, node)| *name == "enabled" && **node != Node::Null) {
        None => !scope.is_nested,
        Some((_, at, node)) => truth(node).map_err(|refusal| refusal.within(at))?,
    };
    if !is_on {
        if scope.node("enabled").is_none() && scope.found.iter().any(|(.., node)| !node.is_zero()) {
            log::warn!("settings: tls.config says something, and tls.enabled = true is missing: TLS is off");
        }
        return Ok(None);
    }
    fill(&mut config, &scope)?;
    // A list of suites was for TLS 1.2 alone: those of TLS 1.3 were always there.
    let terms = config.terms();
    let is_newer = |name: &String| !name.to_ascii_uppercase().contains("ECDHE");
    let has_older_alone = !terms.cipher_list.is_empty() && !terms.cipher_list.iter().any(is_newer);
    if scope.is_nested && has_older_alone && terms.version_max == Version::Tls13 {
        let newer = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
        terms.cipher_list.extend(newer.map(str::to_owned));
    }
    Ok(Some(config))
}

pub(super) fn write_tls<C: Side>(config: Option<&C>) -> Node {
    config.map_or(Node::Null, |config| table(config, &C::default()))
}

fn truth(node: &Node) -> Read<bool> {
    let mut truth = false;
    switch(&mut truth, true, false).read(node)?;
    Ok(truth)
}

/// What the tables of both sides have.
struct Both<C>(PhantomData<C>);

impl<C: Side> Both<C> {
    const KEYS: &'static [Key<C>] = &[
        Key::also(&["enable"], Key::own("enabled", |_, node, _| truth(node).map(drop), |_| Node::Null)),
        Key::of("version-min", |s| Box::new(&mut s.terms().version_min)),
        Key::of("version-max", |s| Box::new(&mut s.terms().version_max)),
        Key::own("cipher-list", suites, |s| s.terms().cipher_list.write()),
        Key::own("curve-list", curves, |s| s.terms().curve_list.write()),
        Key::of("alpn", |s| Box::new(&mut s.terms().alpn)),
        Key::of("session-ticket-disable", |s| {
            switch(&mut s.terms().session_tickets, SessionTickets::Off, SessionTickets::On)
        }),
        Key::of("truncation", |s| words(&mut s.terms().truncation, TRUNCATIONS)),
        Key::of("offload", |s| words(&mut s.terms().offload, OFFLOADS)),
        Key::of("key-log", |s| Box::new(&mut s.terms().key_log)),
    ];

    /// Keys of the predecessor, some of it long ago. Whatever it says of sizes, records are never made smaller than what is
    /// written.
    const OLD: &'static [Key<C>] = &[
        Key::own("cert-pair-files", |s, node, _| s.add(pairs(node)?), |_| Node::Null),
        Key::own("cert-pair", |s, node, _| s.add(pairs(node)?), |_| Node::Null),
        Key::own(
            "dynamic-sizing-disable",
            |_, _, scope| {
                let why = "cannot be set here: records are as long as what is written; remove it";
                if scope.is_nested { Ok(()) } else { Err(Refusal::new(why)) }
            },
            |_| Node::Null,
        ),
    ];
}

const TRUNCATIONS: &[(&str, Truncation)] = &[("refused", Truncation::Refused), ("tolerated", Truncation::Tolerated)];
const OFFLOADS: &[(&str, Offload)] = &[("auto", Offload::Auto), ("always", Offload::Always), ("never", Offload::Never)];
const UNKNOWN_NAMES: &[(&str, UnknownName)] = &[("usual", UnknownName::Usual), ("refused", UnknownName::Refused)];

/// In any of the ways in which people write it; YAML takes it for a number.
impl Setting for Version {
    fn read(&mut self, node: &Node) -> Read<()> {
        let is_simple = matches!(node, Node::Text(_) | Node::Whole(_) | Node::Fraction(_));
        let text = if is_simple { node.to_string().to_ascii_lowercase() } else { String::new() };
        *self = match text.replace("tls", "").replace([' ', '.', '_', '-', 'v', '"'], "").as_str() {
            "12" => Version::Tls12,
            "13" => Version::Tls13,
            "1" | "10" | "11" => return Err(node.refused("it is broken and not spoken here; write \"1.2\" or \"1.3\"")),
            _ => return Err(node.refused("write \"1.2\" or \"1.3\"")),
        };
        Ok(())
    }

    fn write(&self) -> Node {
        if *self == Version::Tls12 { "1.2".into() } else { "1.3".into() }
    }
}

impl Setting for KeyLog {
    fn read(&mut self, node: &Node) -> Read<()> {
        let text = if let Node::Text(text) = node { text } else { "" };
        *self = match text.to_ascii_lowercase().as_str() {
            _ if *node == Node::Truth(false) => KeyLog::Off,
            "off" | "false" => KeyLog::Off,
            "environment" => KeyLog::Environment,
            // A word may be meant to switch it off.
            _ if text.contains('/') && is_path(text) => KeyLog::File(text.into()),
            _ => {
                let why = "name a file by a text with a /, as in \"./keys\", or write \"environment\" or \"off\"";
                return Err(node.refused(why));
            }
        };
        Ok(())
    }

    fn write(&self) -> Node {
        match self {
            KeyLog::Off => Node::Null,
            KeyLog::Environment => "environment".into(),
            KeyLog::File(path) => match path.to_str() {
                None => Node::Unfit("a path that is no text"),
                Some(path) if path.contains('/') => path.into(),
                Some(name) => format!("./{name}").into(),
            },
        }
    }
}

const AUTHS: &str = "it must be one of \"none\", \"verify\", \"strict\"";
const UNCHECKED: &str = "a certificate that is shown is checked here: write \"verify\" or \"strict\"";

/// Also as the predecessor and Go name it: `strict require verify`, `VerifyClientCertIfGiven`.
impl Setting for ClientAuth {
    fn read(&mut self, node: &Node) -> Read<()> {
        let text = if let Node::Text(text) = node { text.to_ascii_lowercase() } else { String::new() };
        let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let has = |word| words.contains(&word);
        *self = match words.as_slice() {
            ["none" | "noclientcert"] => ClientAuth::None,
            ["verifyclientcertifgiven"] => ClientAuth::Optional,
            ["requireandverifyclientcert"] => ClientAuth::Required,
            ["requestclientcert" | "requireanyclientcert"] => return Err(node.refused(UNCHECKED)),
            words if !words.iter().all(|word| ["strict", "require", "and", "verify", "request"].contains(word)) => {
                return Err(node.refused(AUTHS));
            }
            _ if has("strict") || has("require") && has("verify") => ClientAuth::Required,
            _ if has("verify") => ClientAuth::Optional,
            _ if has("require") || has("request") => return Err(node.refused(UNCHECKED)),
            _ => return Err(node.refused(AUTHS)),
        };
        Ok(())
    }

    fn write(&self) -> Node {
        match self {
            ClientAuth::None => "none".into(),
            ClientAuth::Optional => "verify".into(),
            ClientAuth::Required => "strict".into(),
        }
    }
}

/// Names; of the predecessor's, empty ones say nothing.
fn listed(node: &Node, scope: &Scope<'_>) -> Read<Vec<String>> {
    let mut names = names(node)?;
    if scope.is_nested && names.iter().any(String::is_empty) {
        log::warn!("settings: an empty name in a list of tls.config has no effect");
        names.retain(|name| !name.is_empty());
    }
    Ok(names)
}

fn suites<C: Side>(section: &mut C, node: &Node, scope: &Scope<'_>) -> Read<()> {
    let mut names = listed(node, scope)?;
    for name in &mut names {
        let plain = name.to_ascii_uppercase().replace('-', "_");
        let bare = plain.strip_prefix("TLS_").unwrap_or(&plain);
        if plain.contains("CBC") || plain.contains("RC4") || bare.starts_with("RSA_") || plain.ends_with("_SHA") {
            let why = "neither CBC and RC4 nor RSA key exchange are spoken here: remove it, or write a suite with ECDHE \
                       and GCM or CHACHA20, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
            return Err(Refusal::new(format!("cannot have {}: {why}", shown(name))));
        }
        // As the predecessor writes them: without TLS, or without the hash.
        if name.contains('_') && bare == plain {
            let hash = if bare.contains("128") { "_SHA256" } else { "_SHA384" };
            *name = format!("TLS_{bare}{}", if bare.ends_with("GCM") { hash } else { "" });
        }
    }
    section.terms().cipher_list = names;
    Ok(())
}

fn curves<C: Side>(section: &mut C, node: &Node, scope: &Scope<'_>) -> Read<()> {
    section.terms().curve_list = listed(node, scope)?;
    let unspoken = section.terms().curve_list.iter().find(|name| name.contains("521"));
    let why = "this curve is not spoken here: remove it, or write X25519, P256 or P384";
    unspoken.map_or(Ok(()), |name| Err(Refusal::new(format!("cannot have {}: {why}", shown(name)))))
}

/// Whether `text` is the path of a file: no key is, but a file may have a key's letters, if it is there or ends as files do.
fn is_path(text: &str) -> bool {
    let has_end = || Path::new(text).extension().is_some_and(|end| end.len() <= 5);
    let is_key = || is_material(text) && !(is_rooted(text) && has_end() || Path::new(text).exists());
    !text.contains(char::is_control) && !is_key()
}

/// PEM, or the path of a file.
fn pem(node: &Node) -> Read<Pem> {
    let Node::Text(text) = node else { return Err(node.refused_unseen("write the path of a file, or PEM, in quotes")) };
    if text.is_empty() {
        return Err(node.refused("name a file, or give PEM"));
    }
    if !text.contains("-----BEGIN") {
        let why = "it is no path of a file that is there, and no PEM: that has a line -----BEGIN, and newlines";
        return if is_path(text) { Ok(Pem::of_text(text)) } else { Err(node.refused_unseen(why)) };
    }
    // Quoted once more, as the predecessor writes YAML and environments have it.
    let bare = text.trim().trim_matches('"');
    let is_on_one_line = !bare.contains('\n') && bare.contains("\\n");
    Ok(if is_on_one_line { Pem::of_text(&bare.replace("\\r", "").replace("\\n", "\n")) } else { Pem::of_text(text) })
}

fn pems(node: &Node) -> Read<Vec<Pem>> {
    match node {
        Node::List(list) if list.is_empty() => Err(node.refused("name files, or give PEM; to have none, leave it out")),
        Node::List(_) => {
            let item = |item: &Node| if let Node::List(_) = item { pems(item) } else { pem(item).map(|pem| vec![pem]) };
            Ok(indexed(node, item)?.concat())
        }
        Node::Text(text) if text.contains(',') && !text.contains("-----") => {
            Err(node.refused_unseen("several are a list, as in [\"one.pem\", \"other.pem\"]"))
        }
        node => pem(node).map(|pem| vec![pem]),
    }
}

impl Setting for Pem {
    fn read(&mut self, node: &Node) -> Read<()> {
        pem(node).map(|pem| *self = pem)
    }

    fn write(&self) -> Node {
        let text = self.text().filter(|text| pem(&Node::from(*text)).is_ok_and(|read| read == *self));
        text.map_or(Node::Unfit("a path that is no text, or PEM that does not look like PEM,"), Node::from)
    }
}

impl Setting for Vec<Pem> {
    fn read(&mut self, node: &Node) -> Read<()> {
        pems(node).map(|pems| *self = pems)
    }

    fn write(&self) -> Node {
        let list: Vec<_> = self.iter().map(Setting::write).collect();
        // Alone, it would be taken for several.
        let has_comma = matches!(list.as_slice(), [Node::Text(text)] if text.contains(','));
        if has_comma { Node::List(list) } else { Node::of_list(list) }
    }
}

impl Section for CertPair {
    const KEYS: &'static [&'static [Key<CertPair>]] = &[&[
        Key::also(&["pem", "pub", "chain"], Key::of("cert", |s| Box::new(&mut s.chain))),
        Key::of("key", |s| Box::new(&mut s.key)),
    ]];
}

fn no_pair() -> CertPair {
    CertPair { chain: Pem::file(""), key: Pem::file("") }
}

/// A table with both, or one file or text that has both.
fn pair(node: &Node) -> Read<CertPair> {
    if let Node::Text(_) = node {
        return pem(node).map(|both| CertPair { chain: both.clone(), key: both });
    }
    let mut pair = no_pair();
    fill(&mut pair, &Scope::of::<CertPair>(node)?)?;
    let why = "cannot be without cert and key: name a file for each, or give PEM";
    if [&pair.chain, &pair.key].contains(&&Pem::file("")) { Err(Refusal::new(why)) } else { Ok(pair) }
}

/// Pairs in a list, or a table alone.
fn pairs(node: &Node) -> Read<Vec<CertPair>> {
    let why = "write a list: of tables with cert and key, or of files that have both, as in [\"both.pem\"]";
    if let Node::Text(_) = node { Err(node.refused_unseen(why)) } else { indexed(node, pair) }
}

fn of_pairs(pairs: &[CertPair]) -> Node {
    let pairs: Vec<_> = pairs.iter().map(|pair| table(pair, &no_pair())).collect();
    if pairs.is_empty() { Node::Null } else { Node::List(pairs) }
}

const LIST_POLICIES: &[(&str, ListPolicy)] = &[("refuse", ListPolicy::Refuse), ("warn", ListPolicy::Warn)];

const ISSUERS: &str = "it is a client's; who may issue certificates of clients is said by client-ca";

impl Section for TlsServerConfig {
    const KEYS: &'static [&'static [Key<Self>]] = &[
        Both::<Self>::KEYS,
        &[
            Key::of("auth-client", |s| Box::new(&mut s.auth_client)),
            Key::own("client-ca", issuers, |s| s.client_ca.write()),
            Key::of("client-crl", |s| Box::new(&mut s.client_crl)),
            Key::of("client-crl-issuers", |s| Box::new(&mut s.client_crl_issuers)),
            Key::of("client-crl-stale", |s| words(&mut s.client_crl_stale, LIST_POLICIES)),
            Key::of("client-crl-foreign", |s| words(&mut s.client_crl_foreign, LIST_POLICIES)),
            Key::of("unknown-names", |s| words(&mut s.unknown_names, UNKNOWN_NAMES)),
            Key::own("certs", |s, node, _| s.add(pairs(node)?), |s| of_pairs(&s.certs)),
            Key::own("names", read_names, write_names),
        ],
    ];
    const OLD: &'static [&'static [Key<Self>]] =
        &[Both::<Self>::OLD, &[Key::own("client-ca-files", issuers, |_| Node::Null)]];
    const FOREIGN: &'static [(&'static str, &'static str)] = &[
        ("root-ca", ISSUERS),
        ("root-ca-files", ISSUERS),
        ("inherit-default", "there is no default that a server could inherit; remove it"),
        ("server-name", "it is a client's; a server's names are those of its certificates"),
    ];
    const NESTED: Option<&'static str> = Some("config");
}

fn issuers(section: &mut TlsServerConfig, node: &Node, scope: &Scope<'_>) -> Read<()> {
    let issuers = pems(node)?;
    match scope.is_nested && section.auth_client == ClientAuth::None {
        true => log::warn!("settings: clientCA of tls.config has no effect, since authClient is none"),
        false => section.client_ca.extend(issuers),
    }
    Ok(())
}

/// Tables of their own for names. One that is switched off is as if it were not there.
fn read_names(section: &mut TlsServerConfig, node: &Node, _: &Scope<'_>) -> Read<()> {
    let Node::Table(names) = node else {
        return Err(node.refused_unseen("write a table of names, with a table for each"));
    };
    let mut seen = BTreeSet::new();
    for (name, own) in names {
        let own = match own {
            _ if is_material(name) => Err(Refusal::new("cannot be a name: it looks like a key or certificate")),
            _ if !seen.insert(name.to_ascii_lowercase()) => Err(Refusal::new(TWICE)),
            Node::Null => Err(Refusal::new("is empty: give it a table, or remove it")),
            own => read_tls(own),
        };
        let at = shown_key(name);
        let at = if at.contains('.') { format!("{at:?}") } else { at };
        if let Some(own) = own.map_err(|refusal| refusal.within(&at))? {
            section.names.insert(name.clone(), own);
        }
    }
    Ok(())
}

fn write_names(section: &mut TlsServerConfig) -> Node {
    let names: Vec<_> = section.names.iter().map(|(name, own)| (name.clone(), write_tls(Some(own)))).collect();
    if names.is_empty() { Node::Null } else { Node::Table(names) }
}

const SERVERS_ALONE: &str = "it is a server's; what a client shows is certs, and whom it trusts root-ca";

/// Trusts these too; instead of the platform's, unless those were asked for.
fn trust(section: &mut TlsClientConfig, node: &Node, scope: &Scope<'_>) -> Read<()> {
    let more = pems(node)?;
    let and_platform = scope.is_nested || matches!(scope.node("inherit-default"), Some(node) if truth(node)?);
    section.roots = match std::mem::take(&mut section.roots) {
        Roots::Platform if and_platform => Roots::PlatformAnd(more),
        Roots::Platform => Roots::Only(more),
        Roots::PlatformAnd(roots) => Roots::PlatformAnd([roots, more].concat()),
        Roots::Only(roots) => Roots::Only([roots, more].concat()),
    };
    Ok(())
}

fn of_roots(section: &mut TlsClientConfig) -> Node {
    match &section.roots {
        Roots::Platform => Node::Null,
        // Left out, it would read as the platform's.
        Roots::Only(roots) if roots.is_empty() => Node::Unfit("a client that trusts nobody"),
        Roots::PlatformAnd(roots) | Roots::Only(roots) => roots.write(),
    }
}

impl Section for TlsClientConfig {
    const KEYS: &'static [&'static [Key<Self>]] = &[
        Both::<Self>::KEYS,
        &[
            Key::of("server-name", |s| Box::new(Unsaid(&mut s.server_name))),
            Key::own(
                "inherit-default",
                |_, node, _| truth(node).map(drop),
                |s| Node::Truth(matches!(&s.roots, Roots::PlatformAnd(roots) if !roots.is_empty())),
            ),
            Key::own("root-ca", trust, of_roots),
            Key::own("certs", |s, node, _| s.add(pairs(node)?), |s| of_pairs(s.cert.as_slice())),
        ],
    ];
    const OLD: &'static [&'static [Key<Self>]] =
        &[Both::<Self>::OLD, &[Key::own("root-ca-files", trust, |_| Node::Null)]];
    const FOREIGN: &'static [(&'static str, &'static str)] = &[
        ("client-ca", SERVERS_ALONE),
        ("client-ca-files", SERVERS_ALONE),
        ("client-crl", SERVERS_ALONE),
        ("client-crl-issuers", SERVERS_ALONE),
        ("client-crl-stale", SERVERS_ALONE),
        ("client-crl-foreign", SERVERS_ALONE),
        ("auth-client", SERVERS_ALONE),
    ];
    const NESTED: Option<&'static str> = Some("config");
}

/// Who reads the table by itself cannot leave it out for being switched off.
fn alone<'de, C: Side, D: Deserializer<'de>>(from: D) -> Result<C, D::Error> {
    let node = Node::deserialize(from)?;
    let why = "enabled cannot be false where nothing but the table tls is read: leave the table out";
    read_tls(&node).map_err(D::Error::custom)?.ok_or_else(|| D::Error::custom(why))
}

file!(TlsServerConfig, alone, |config| write_tls(Some(config)));
file!(TlsClientConfig, alone, |config| write_tls(Some(config)));
