//! Keys and certificates in files of settings, whole and broken, in every place and form: no text shows eight characters
//! of one. `CANARY_CASES` sets how many files are tried.

use crate::support::security;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::sync::{Mutex, OnceLock};
use windlass::{ClientConfig, Server, ServerConfig};

/// Base64, RFC 4648, of a text.
fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32, at: u32| char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
    let mut all = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        all.extend((0..=chunk.len() as u32).map(|at| digit(bits, at)));
        all.extend(std::iter::repeat_n('=', 3 - chunk.len()));
    }
    all
}

/// What must not be seen: eight characters in a row of a key, a certificate, or the Base64 of one.
struct Canary {
    key: String,
    cert: String,
    parts: HashSet<String>,
}

fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

/// The bytes of an item as hexadecimal digits.
fn hex(pem: &str, between: &str) -> String {
    use windlass::rustls::pki_types::pem::{PemObject, SectionKind};
    let (_, der) = <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).expect("an item");
    der.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(between)
}

fn canary() -> &'static Canary {
    static CANARY: OnceLock<Canary> = OnceLock::new();
    CANARY.get_or_init(|| {
        // In lines of 64 characters, as every tool writes them.
        let wrapped = |pem: String, label: &str| {
            let body = body(&pem);
            let lines: String =
                body.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
            format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
        };
        let key = wrapped(security::key_pem(), "PRIVATE KEY");
        let cert = wrapped(security::certificate_pem(), "CERTIFICATE");
        let mut parts = HashSet::new();
        let cased = [&key, &cert].map(|pem| [body(pem).to_lowercase(), body(pem).to_uppercase()]).concat();
        let digits = [&key, &cert].map(|pem| [hex(pem, ""), hex(pem, ":"), hex(pem, "").to_uppercase()]).concat();
        for secret in [vec![body(&key), body(&cert), base64(&key), base64(&cert)], cased, digits].concat() {
            parts.extend(secret.as_bytes().windows(8).map(|part| String::from_utf8_lossy(part).into_owned()));
        }
        Canary { key, cert, parts }
    })
}

/// What of the canary `text` shows.
pub(crate) fn leak(text: &str) -> Option<String> {
    let mut plain = text.to_owned();
    for escape in ["\\0", "\\u{0}", "\\u0000", "\\\\n", "\\n", "\\r", "\\"] {
        plain = plain.replace(escape, "");
    }
    let plain: Vec<u8> = plain.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != 0).collect();
    let parts = &canary().parts;
    plain.windows(8).map(String::from_utf8_lossy).find(|part| parts.contains(&**part)).map(|part| part.into_owned())
}

/// All that files, copies and environments do to PEM.
fn forms(pem: &str) -> Vec<String> {
    let (one_line, plain) = (pem.trim().replace('\n', ""), body(pem));
    let half = plain.len() / 2;
    let (first, tail) = (&plain[..64], &plain[plain.len() - plain.len() % 64..]);
    let own = |label: &str| pem.replacen("-----BEGIN", label, 1);
    vec![
        pem.to_owned(),
        pem.replace('\n', " "),
        one_line.clone(),
        pem.replace('\n', "\\n"),
        pem.replace('\n', "\\\\n"),
        pem.replace('\n', "\\r\\n"),
        pem.replace('\n', ","),
        format!("\"{}\"", pem.replace('\n', "\\n")),
        base64(pem),
        plain.clone(),
        pem.lines().filter(|line| !line.starts_with("-----")).collect::<Vec<_>>().join("\n"),
        plain[..half].to_owned(),
        plain[half..].to_owned(),
        first.to_owned(),
        format!("{tail}\n-----END PRIVATE KEY-----"),
        pem[..pem.len() / 2].to_owned(),
        pem[pem.len() / 2..].to_owned(),
        own("----BEGIN"),
        own("-----begin"),
        own("BEGIN"),
        pem.replace("PRIVATE KEY", "SECRET").replace("CERTIFICATE", "SECRET"),
        pem.replace("-----END", "-----EMD"),
        format!("\u{feff}{pem}"),
        pem.chars().flat_map(|c| [c, '\0']).collect(),
        pem.lines().map(|line| format!("    {line}\n")).collect(),
        plain.as_bytes().chunks(16).map(|part| format!("{},", String::from_utf8_lossy(part))).collect(),
        plain.as_bytes().chunks(20).map(|part| format!("{}-", String::from_utf8_lossy(part))).collect(),
        plain.as_bytes()[half..].chunks(24).map(|part| format!("{} : ", String::from_utf8_lossy(part))).collect(),
        format!("file://{one_line}"),
        format!("/etc/ssl/{plain}"),
        format!("./{plain}.pem"),
        plain.as_bytes().chunks(40).map(|part| format!("{} ", String::from_utf8_lossy(part))).collect(),
        plain.to_lowercase(),
        plain.to_uppercase(),
        hex(pem, ""),
        hex(pem, ":"),
        hex(pem, "")[40..104].to_owned(),
        hex(pem, ":")[60..156].to_owned(),
    ]
}

const OF_SERVERS: &[&str] = &[
    "network",
    "address",
    "perm-file",
    "group-perm",
    "con-idle-timeout",
    "reactors",
    "placement",
    "pinning",
    "backlog",
    "connections-max",
    "reuse-port",
    "drain-timeout",
    "lifetime",
    "nodelay",
    "keepalive-idle",
    "linger",
    "tls",
    "datagram",
    "datagram.ttl",
    "datagram.multicast-groups",
    "datagram.multicast-interface",
    "unknown",
];
const OF_CLIENTS: &[&str] = &[
    "network",
    "address",
    "bind",
    "connect-timeout",
    "read-timeout",
    "nodelay",
    "tls",
    "datagram",
    "datagram.gso",
    "perm-file",
];
const OF_TLS: &[&str] = &[
    "enabled",
    "certs",
    "certs.0",
    "certs.0.cert",
    "certs.0.key",
    "versionMin",
    "version-max",
    "cipherList",
    "curveList",
    "alpn",
    "sessionTicketDisable",
    "truncation",
    "offload",
    "keyLog",
    "clientCA",
    "authClient",
    "client-crl",
    "client-crl-issuers",
    "client-crl-stale",
    "unknown-names",
    "rootCA",
    "server-name",
    "inheritDefault",
    "certPair",
    "rootCAFiles",
    "names",
    "names.x",
    "names.x.alpn",
];

/// A file for a server or client, nested as the predecessor has it or not, and each place in it.
fn file(is_server: bool, is_nested: bool) -> (Value, Vec<String>) {
    let (cert, key) = (&canary().cert, &canary().key);
    let mut tls = json!({ "certs": [{ "cert": cert, "key": key }], "versionMin": "1.2" });
    if !is_server {
        tls["rootCA"] = json!([cert]);
    }
    let (tls, at) = if is_nested { (json!({ "enabled": true, "config": tls }), "tls.config") } else { (tls, "tls") };
    let own = if is_server { OF_SERVERS } else { OF_CLIENTS };
    let places = own.iter().map(|place| (*place).to_owned()).chain(OF_TLS.iter().map(|place| format!("{at}.{place}")));
    (json!({ "network": "tcp", "address": "localhost:1", "tls": tls }), places.collect())
}

/// Where `path` leads to, made if it is not there.
fn at<'a>(mut value: &'a mut Value, path: &str) -> &'a mut Value {
    for part in path.split('.') {
        value = match part.parse::<usize>() {
            Ok(index) if value.is_array() => &mut value[index],
            _ => {
                if !value.is_object() {
                    *value = Value::Object(Map::new());
                }
                &mut value[part]
            }
        };
    }
    value
}

/// Puts the canary into a file at one place, in one of many ways, and may break another key.
fn put(file: &mut Value, place: &str, form: &str, way: usize) {
    let lines = || form.lines().map(|line| json!(line)).collect::<Vec<_>>();
    match way % 6 {
        0 => *at(file, place) = json!(form),
        1 => *at(file, place) = json!([form]),
        2 => *at(file, place) = json!([["x", form], form]),
        3 => *at(file, place) = json!({ form: "x", "key": 5 }),
        4 => *at(file, place) = json!({ "cert": form, "key": { form: form } }),
        _ => *at(file, place) = Value::Array(lines()),
    }
    match way / 6 % 5 {
        0 => {}
        1 => *at(file, "backlog") = json!("x"),
        2 => *at(file, "tls.versionMax") = json!("9"),
        3 => *at(file, "tls.nonsense") = json!(form),
        _ => *at(file, form.split('.').next().unwrap_or("x")) = json!(1),
    }
}

/// TOML with everything on one line that can be.
fn inline_toml(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{} = {}", json!(key), inline_toml(value));
            format!("{{ {} }}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(inline_toml).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

/// All that is said of `error`.
fn told(error: &(impl std::error::Error + 'static), said: &mut Vec<String>) {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        said.extend([error.to_string(), format!("{error:?}"), format!("{error:#?}")]);
        cause = error.source();
    }
}

/// Tells all of an error.
type Tells = Box<dyn Fn(&mut Vec<String>)>;

/// What is said of a file in each format, and what came of it.
fn read<T: serde::de::DeserializeOwned + Debug>(file: &Value, said: &mut Vec<String>) -> Option<T> {
    let json = file.to_string();
    let yaml = serde_saphyr::to_string(file).expect("YAML");
    let toml = toml::to_string(file).expect("TOML");
    let Value::Object(map) = file else { unreachable!("it is a table") };
    let inline: String = map.iter().map(|(key, value)| format!("{} = {}\n", json!(key), inline_toml(value))).collect();
    let mut good = None;
    let mut note = |read: Result<T, Tells>| match read {
        Ok(config) => good = Some(config),
        Err(tell) => tell(said),
    };
    fn boxed<E: std::error::Error + 'static>(error: E) -> Tells {
        Box::new(move |said| told(&error, said))
    }
    note(serde_json::from_str(&json).map_err(boxed));
    note(serde_json::from_value(file.clone()).map_err(boxed));
    note(serde_saphyr::from_str(&json).map_err(boxed));
    note(serde_saphyr::from_str(&yaml).map_err(boxed));
    note(toml::from_str(&toml).map_err(boxed));
    note(toml::from_str(&inline).map_err(boxed));
    good.inspect(|config| said.extend([format!("{config:?}"), format!("{config:#?}")]))
}

/// What the library logs while the tests of this program run.
struct Log;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut logged = LOGGED.lock().expect("no panic");
        logged.truncate(9999);
        logged.push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn cases() -> usize {
    std::env::var("CANARY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000)
}

#[test]
fn no_error_debug_or_log_record_shows_eight_characters_of_a_key() {
    if log::set_logger(&Log).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
    let forms: Vec<_> = [&canary().key, &canary().cert].iter().flat_map(|pem| forms(pem)).collect();
    let files: Vec<_> = [(true, false), (true, true), (false, false), (false, true)]
        .into_iter()
        .flat_map(|(is_server, is_nested)| {
            let (text, places) = file(is_server, is_nested);
            places.into_iter().map(move |place| (is_server, is_nested, text.clone(), place))
        })
        .collect();
    let (ways, mut built) = (30, 0);
    let total = files.len() * forms.len() * ways;
    for case in 0..cases() {
        // A step that shares no factor with their number goes through all of them.
        let step = case * 7919 % total;
        let (is_server, is_nested, mut text, place) = files[step % files.len()].clone();
        let form = &forms[step / files.len() % forms.len()];
        put(&mut text, &place, form, step / files.len() / forms.len());
        let mut said = Vec::new();
        if is_server {
            if let Some(config) = read::<ServerConfig>(&text, &mut said) {
                built += 1;
                let _ = config.validate().inspect_err(|error| told(error, &mut said));
                let _ = Server::builder().config(&config).inspect_err(|error| told(error, &mut said));
                said.extend(config.tls.iter().map(|tls| format!("{:?}", tls.to_builder())));
            }
        } else if let Some(config) = read::<ClientConfig>(&text, &mut said) {
            built += 1;
            said.extend(config.tls.iter().map(|tls| format!("{:?}", tls.to_builder())));
            // To read the platform's roots takes its time.
            if !is_nested || case % 40 == 0 {
                let _ = config.validate().inspect_err(|error| told(error, &mut said));
            }
        }
        let shown = said.iter().find_map(|said| leak(said).map(|part| (part, said)));
        assert_eq!(shown, None, "case {case}: {place} in {text:#}");
    }
    let logged = LOGGED.lock().expect("no panic");
    assert_eq!(logged.iter().find_map(|said| leak(said)), None, "a log record");
    assert!(built > 0 && built < cases(), "{built} of {} could be used", cases());
}

/// What the guide tells to print of a parser's own errors.
#[test]
fn what_is_to_be_printed_of_a_broken_file_shows_no_key() {
    let no_snippet = || serde_saphyr::options! { with_snippet: false };
    let mut broken = 0;
    for (is_server, is_nested) in [(true, false), (true, true), (false, false), (false, true)] {
        let (text, _) = file(is_server, is_nested);
        let Value::Object(map) = &text else { unreachable!("it is a table") };
        let inline = |(key, value): (&String, &Value)| format!("{} = {}\n", json!(key), inline_toml(value));
        let toml: [String; 2] = [toml::to_string(&text).expect("TOML"), map.iter().map(inline).collect()];
        let other: [String; 2] = [text.to_string(), serde_saphyr::to_string(&text).expect("YAML")];
        for case in 0..cases() / 12 {
            let damage = |text: &str| {
                let at = (case * 37) % text.len();
                let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                match case % 6 {
                    0 => text[..at].to_owned(),
                    1 => format!("{}{}", &text[..at], text[at..].replacen('"', "", 1)),
                    2 => format!("{}\"{}", &text[..at], &text[at..]),
                    3 => format!("{}\n{}", &text[..at], &text[at..]),
                    4 => format!("{}{}: *{}", &text[..at], &text[at..], body(&canary().key)),
                    _ => format!("{}\\{}", &text[..at], &text[at..]),
                }
            };
            let mut said: Vec<String> = Vec::new();
            for text in &toml {
                said.extend(
                    toml::from_str::<ServerConfig>(&damage(text)).err().map(|error| error.message().to_owned()),
                );
            }
            for text in &other {
                let text = damage(text);
                said.extend(serde_json::from_str::<ServerConfig>(&text).err().map(|error| error.to_string()));
                let yaml = serde_saphyr::from_str_with_options::<ServerConfig>(&text, no_snippet());
                said.extend(yaml.err().map(|error| error.to_string()));
            }
            broken += said.len();
            let shown = said.iter().find_map(|said| leak(said).map(|part| (part, said)));
            assert_eq!(shown, None, "case {case} of {is_server} {is_nested}");
        }
    }
    assert!(broken > 100, "{broken}");
}

/// A printed error is of use: the canary test would pass if nothing was ever said.
#[test]
fn errors_about_keys_say_where_and_what_would_do() {
    let says = |text: Value, words: &[&dyn Display]| {
        let error = serde_json::from_value::<ServerConfig>(text).expect_err("no settings").to_string();
        words.iter().for_each(|word| assert!(error.contains(&word.to_string()), "{word} is not in {error}"));
    };
    let (cert, key) = (&canary().cert, &canary().key);
    let tls = |tls: Value| json!({ "address": "tls://:1", "tls": tls });
    let nested = json!({ "enabled": true, "config": { "certs": [{ "pub": cert, "key": key }, { "pub": cert, "key": body(key) }] } });
    says(tls(nested), &[&"tls.config.certs[1].key cannot be this text (not shown)", &"-----BEGIN"]);
    says(
        tls(json!({ "alpn": ["h2", key] })),
        &[&"tls.alpn[1] cannot be a text that looks like a key", &"PEM belongs under"],
    );
    says(tls(json!({ body(key): 1 })), &[&"tls.(a key that is not shown) is no key", &"version-min"]);
    says(
        json!({ "address": body(key) }),
        &[&"address cannot be a text that looks like a key or certificate (not shown)"],
    );
    says(tls(json!({ "names": { body(key): {} } })), &[&"tls.names.(a key that is not shown) cannot be a name"]);
    // What no file says is shown as it is.
    let long = "x".repeat(100);
    says(json!({ "address": long }), &[&"address cannot be a text of 100 characters (not shown)"]);
}
