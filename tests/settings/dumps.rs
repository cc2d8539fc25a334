//! Files as the predecessor writes them (nabbar/golib, `socket/config` and `certificates`): what each means here.
//!
//! The files in `dumps/` stand as its encoders write them, but for PEM, which is put in: `@CERT`, and `@BOTH` for a certificate
//! with its key.

use crate::support::security;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;
use windlass::tls::{ClientAuth, Pem, Version};
use windlass::{CertPair, ClientConfig, Roots, Server, ServerConfig, SessionTickets, TlsClientConfig, TlsTerms};

const JSON: usize = 0;
const YAML: usize = 1;

/// A folder with a certificate and its key.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("cert.pem"), security::certificate_pem()).expect("a file");
    std::fs::write(folder.path().join("key.pem"), security::key_pem()).expect("a file");
    folder
}

/// The settings of a dump in each format.
fn dumped<T: DeserializeOwned + Debug>(texts: [&str; 3], folder: &Path) -> [T; 3] {
    let path = |name: &str| folder.join(name).display().to_string();
    let one_line = |text: String| text.replace('\n', "\\n");
    let (cert, key) = (one_line(security::certificate_pem()), one_line(security::key_pem()));
    let texts = texts.map(|text| {
        let text = text.replace("@KEY_FILE", &path("key.pem")).replace("@CHAIN_FILE", &path("cert.pem"));
        text.replace("@BOTH", &format!("{cert}{key}")).replace("@CERT", &cert)
    });
    [
        serde_json::from_str(&texts[0]).unwrap_or_else(|error| panic!("JSON: {error}\n{}", texts[0])),
        serde_saphyr::from_str(&texts[1]).unwrap_or_else(|error| panic!("YAML: {error}\n{}", texts[1])),
        toml::from_str(&texts[2]).unwrap_or_else(|error| panic!("TOML: {error}\n{}", texts[2])),
    ]
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_plain_servers_dump_means_what_it_meant() {
    let files =
        [include_str!("dumps/server.json"), include_str!("dumps/server.yaml"), include_str!("dumps/server.toml")];
    for config in dumped::<ServerConfig>(files, &PathBuf::new()) {
        let expected = ServerConfig { perm_file: 0o660, group_perm: Some(33), ..ServerConfig::default() }
            .address("unix:/run/app/app.sock".parse().expect("an address"))
            .con_idle_timeout(Duration::from_secs(5400));
        assert_eq!(config, expected);
        config.validate().expect("it can be used");
    }
}

#[test]
fn a_secured_servers_dump_means_what_it_meant() {
    let files = [
        include_str!("dumps/server-tls.json"),
        include_str!("dumps/server-tls.yaml"),
        include_str!("dumps/server-tls.toml"),
    ];
    let folder = folder();
    for (format, config) in dumped::<ServerConfig>(files, folder.path()).into_iter().enumerate() {
        assert_eq!(config.addresses, ["tls://127.0.0.1:0".parse().expect("an address")]);
        // Zeros are what nobody said: the predecessor's default, and no timeout.
        assert_eq!((config.perm_file, config.limits.idle_timeout), (0o770, None));
        assert_eq!(config.group_perm, Some(0));
        let tls = config.tls.as_ref().expect("a table");
        let file = |name: &str| Pem::file(folder.path().join(name));
        assert_eq!(tls.certs[0], CertPair { chain: file("cert.pem"), key: file("key.pem") });
        assert_eq!(tls.certs.len(), 2);
        assert_eq!(tls.certs[1].chain, tls.certs[1].key, "both in one text");
        assert_eq!(tls.auth_client, ClientAuth::Required);
        assert_eq!(tls.client_ca.len(), if format == JSON { 3 } else { 2 }, "lists of lists are one list");
        let suites = [
            "TLS_ECDHE_ECDSA_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_AES256_GCM_SHA384",
            "TLS_ECDHE_RSA_CHACHA20_POLY1305_SHA256",
            // Go speaks these whatever the list says.
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
        ];
        let expected = TlsTerms {
            version_min: Version::Tls12,
            version_max: Version::Tls13,
            cipher_list: names(&suites),
            curve_list: names(&["X25519", "P256", "P384"]),
            session_tickets: SessionTickets::Off,
            ..TlsTerms::default()
        };
        assert_eq!(tls.terms, expected);
        config.validate().expect("it can be used");
        crate::round_trips(&config);
        Server::builder().config(&config).expect("a server");
    }
}

#[test]
fn a_plain_clients_dump_means_what_it_meant() {
    let files =
        [include_str!("dumps/client.json"), include_str!("dumps/client.yaml"), include_str!("dumps/client.toml")];
    for config in dumped::<ClientConfig>(files, &PathBuf::new()) {
        assert_eq!(config, ClientConfig::new("udp://localhost:8125".parse().expect("an address")));
        config.validate().expect("it can be used");
    }
}

#[test]
fn a_secured_clients_dump_means_what_it_meant() {
    let files = [
        include_str!("dumps/client-tls.json"),
        include_str!("dumps/client-tls.yaml"),
        include_str!("dumps/client-tls.toml"),
    ];
    for (format, config) in dumped::<ClientConfig>(files, &PathBuf::new()).into_iter().enumerate() {
        assert_eq!(config.address().to_string(), "tls://localhost:8443");
        let tls = config.tls.as_ref().expect("a table");
        assert_eq!(tls.server_name.as_deref(), Some("localhost"));
        let Roots::PlatformAnd(roots) = &tls.roots else {
            panic!("{:?}: its roots were added to the system's", tls.roots)
        };
        assert_eq!(roots.len(), if format == JSON { 2 } else { 1 });
        let pair = tls.cert.as_ref().expect("a pair");
        assert_eq!(pair.chain, pair.key);
        let expected = TlsTerms {
            version_min: Version::Tls13,
            cipher_list: names(&["TLS_AES_128_GCM_SHA256"]),
            ..TlsTerms::default()
        };
        assert_eq!(tls.terms, expected);
        if format == YAML {
            config.validate().expect("it can be used");
        }
        crate::round_trips(&config);
    }
}

#[test]
fn certificates_are_served_only_where_tls_is_enabled() {
    let pair = json!({ "key": security::key_pem(), "pub": security::certificate_pem() });
    let server = |tls: serde_json::Value| {
        let file = json!({ "network": "tcp", "address": ":0", "tls": tls });
        serde_json::from_value::<ServerConfig>(file).expect("settings").tls.is_some()
    };
    assert!(!server(json!({ "config": { "certs": [pair] } })), "it was plain there");
    assert!(server(json!({ "enabled": true, "config": { "certs": [pair] } })));
    assert!(server(json!({ "Enabled": "true", "Config": { "Certs": [pair] } })), "in any case");
    assert!(server(json!({ "certs": [pair] })), "with our own keys the table alone says it");
    assert!(!server(json!({ "enabled": false, "certs": [pair] })));
}

#[test]
fn the_predecessors_older_keys_and_other_spellings_are_taken() {
    let tls = |config: serde_json::Value| {
        let file = json!({ "network": "tcp", "address": "h:1", "tls": { "enabled": true, "config": config } });
        let error = |error: serde_json::Error| error.to_string();
        serde_json::from_value::<ServerConfig>(file).map_err(error).map(|config| config.tls.expect("a table"))
    };
    let pair = |name: &str| CertPair { chain: Pem::file(name), key: Pem::file("k") };
    let old = tls(json!({
        "certPair": [{ "key": "k", "pem": "second" }], "certPairFiles": [{ "key": "k", "pem": "first" }],
        "clientCAFiles": ["a", "b"], "ClientCA": [["c"]], "rootCAFiles": [], "authclient": "verify"
    }));
    let old = old.expect("settings");
    assert_eq!(old.certs, [pair("first"), pair("second")]);
    assert_eq!(old.client_ca.len(), 3);
    assert_eq!(old.auth_client, ClientAuth::Optional);
    for (text, version) in
        [("12", Version::Tls12), ("TLS 1.2", Version::Tls12), ("tls_1.3", Version::Tls13), ("1.3", Version::Tls13)]
    {
        assert_eq!(tls(json!({ "versionMin": text })).expect(text).terms.version_min, version, "{text}");
    }
    for (text, auth) in [
        ("strict", ClientAuth::Required),
        ("require verify", ClientAuth::Required),
        ("RequireAndVerifyClientCert", ClientAuth::Required),
        ("verify", ClientAuth::Optional),
        ("VerifyClientCertIfGiven", ClientAuth::Optional),
        ("NoClientCert", ClientAuth::None),
        ("", ClientAuth::None),
    ] {
        assert_eq!(tls(json!({ "authClient": text })).expect(text).auth_client, auth, "{text}");
    }
    for (config, words) in [
        (json!({ "versionMin": "1.0" }), "tls.config.versionMin cannot be \"1.0\": it is broken and not spoken here"),
        (json!({ "versionMin": "TLS 1.1" }), "tls.config.versionMin cannot be \"TLS 1.1\": it is broken"),
        (
            json!({ "cipherList": ["rsa_aes_128_gcm_sha256"] }),
            "tls.config.cipherList cannot have \"rsa_aes_128_gcm_sha256\"",
        ),
        (json!({ "cipherList": ["ecdhe_rsa_aes_128_cbc_sha"] }), "neither CBC and RC4 nor RSA key exchange are spoken"),
        (json!({ "curveList": ["P521"] }), "tls.config.curveList cannot have \"P521\": this curve is not spoken here"),
        (json!({ "authClient": "require" }), "tls.config.authClient cannot be \"require\""),
        (json!({ "certz": [] }), "tls.config.certz is no key: did you mean certs?"),
        (json!({ "config": {} }), "tls.config.config is no key"),
        (json!(5), "tls.config cannot be a number"),
    ] {
        let error = tls(config).expect_err(words);
        assert!(error.starts_with(words) || error.contains(words), "{words} is not in {error}");
    }
    let twice = json!({ "address": "tls://:1", "tls": { "alpn": "h2", "config": { "alpn": "h2" } } });
    let error = serde_json::from_value::<ServerConfig>(twice).expect_err("twice").to_string();
    assert!(error.contains("is also given as "), "{error}");
}

#[test]
fn roots_of_a_client_are_added_to_the_systems_where_they_were() {
    let roots = |text: &str| toml::from_str::<TlsClientConfig>(text).expect(text).roots;
    let (one, both) = (vec![Pem::file("a")], vec![Pem::file("a"), Pem::file("b")]);
    assert_eq!(roots("enabled = true\nconfig.rootCA = ['a']"), Roots::PlatformAnd(one.clone()));
    assert_eq!(roots("enabled = true\nconfig = { rootCA = ['a'], rootCAFiles = ['b'] }"), Roots::PlatformAnd(both));
    assert_eq!(roots("enabled = true\nconfig.inheritDefault = true"), Roots::Platform);
    // Our own flat keys say what is trusted.
    assert_eq!(roots("rootCA = ['a']"), Roots::Only(one.clone()));
    assert_eq!(roots("root-ca = 'a'\ninherit-default = true"), Roots::PlatformAnd(one));
}

#[test]
fn addresses_as_the_predecessor_has_them_are_taken_or_refused_with_what_to_write() {
    let read = |address: &str| {
        let file = json!({ "network": "tcp", "address": address });
        serde_json::from_value::<ServerConfig>(file).map(|config| config.addresses[0].to_string())
    };
    assert_eq!(read("0:8080").expect("an address"), "tcp://0.0.0.0:8080");
    assert_eq!(read(":8080").expect("an address"), "tcp://[::]:8080");
    let error = read("localhost:").expect_err("no port").to_string();
    assert!(error.starts_with("address cannot be \"localhost:\"") && error.contains("0 is any free port"), "{error}");
}
