//! A table `tls` that is switched off, and what stays plain or is refused by it.

use crate::support::security;
use serde_json::{Value, json};
use windlass::{ClientConfig, ServerConfig};

fn server(tls: Value) -> Result<ServerConfig, String> {
    let file = json!({ "network": "tcp", "address": "127.0.0.1:0", "tls": tls });
    serde_json::from_value(file).map_err(|error| error.to_string())
}

/// What such a table says of roots and names would be lost, and a client would trust whom it never named.
#[test]
fn a_client_is_refused_whose_address_is_for_tls_and_whose_table_is_off() {
    for address in ["tls://a.example:1", "tls4://a.example:1", "tls+unix:/run/x.sock"] {
        for tls in [
            json!({ "enabled": false, "root-ca": ["/nowhere"], "server-name": "b.example" }),
            json!({ "config": { "rootCA": ["/nowhere"], "versionMin": "1.3" }, "server-name": "b.example" }),
            json!({ "enabled": "false" }),
            json!({ "config": {} }),
        ] {
            let text = json!({ "address": address, "tls": tls }).to_string();
            let error = serde_json::from_str::<ClientConfig>(&text).expect_err(&text).to_string();
            assert!(error.starts_with(&format!("tls cannot be off for {address}: ")), "{error}");
            assert!(error.contains("set tls.enabled to true") && error.contains("leave the table out"), "{error}");
        }
    }
    let by_network = json!({ "network": "tls", "address": "a.example:1", "tls": { "enabled": false } });
    let error = serde_json::from_value::<ClientConfig>(by_network).expect_err("a contradiction").to_string();
    assert!(error.starts_with("tls cannot be off for tls://a.example:1"), "{error}");
    // What is plain stays so.
    let plain = json!({ "network": "tcp", "address": "a.example:1", "tls": { "enabled": false, "root-ca": "/x" } });
    let plain: ClientConfig = serde_json::from_value(plain).expect("settings");
    assert_eq!((plain.address.to_string(), plain.tls), ("tcp://a.example:1".to_owned(), None));
}

#[test]
fn a_client_of_a_tls_unix_address_needs_a_name_also_without_a_table() {
    for text in [r#"{"address": "tls+unix:/x"}"#, r#"{"address": "tls+unix:/x", "tls": {}}"#] {
        let config: ClientConfig = serde_json::from_str(text).expect("settings");
        let error = config.validate().expect_err("no name").to_string();
        assert!(error.starts_with("tls.server-name cannot be nothing"), "{error}");
    }
}

#[test]
fn what_a_table_says_that_is_off_is_not_judged_but_its_keys_are_known() {
    for config in [
        json!({ "versionMin": "TLS 1.0" }),
        json!({ "cipherList": ["rsa_aes_128_gcm_sha256", "ecdhe_rsa_aes_128_cbc_sha"] }),
        json!({ "curveList": ["P521"] }),
        json!({ "authClient": "require" }),
        json!({ "certs": "here", "clientCA": 5, "rootCA": ["x"], "inheritDefault": true }),
    ] {
        for tls in [json!({ "enabled": false, "config": config }), json!({ "config": config })] {
            assert_eq!(server(tls.clone()).unwrap_or_else(|error| panic!("{tls}: {error}")).tls, None);
        }
        let mut flat = config.clone();
        flat["enabled"] = json!(false);
        assert_eq!(server(flat.clone()).unwrap_or_else(|error| panic!("{flat}: {error}")).tls, None);
    }
    for tls in [json!({ "enabled": false, "certz": 1 }), json!({ "config": { "certz": 1 } })] {
        let error = server(tls).expect_err("an unknown key");
        assert!(error.contains("certz is no key"), "{error}");
    }
    let error = server(json!({ "Enabled": "perhaps" })).expect_err("no switch");
    assert!(error.starts_with("tls.Enabled cannot be \"perhaps\""), "{error}");
}

#[test]
fn what_had_no_effect_on_a_go_server_does_not_keep_it_from_starting() {
    let pair = json!({ "key": security::key_pem(), "pub": security::certificate_pem() });
    for more in [
        json!({ "rootCA": [security::certificate_pem()], "rootCAFiles": ["/x"] }),
        json!({ "inheritDefault": true }),
        json!({ "clientCA": [security::certificate_pem()], "authClient": "none" }),
        json!({ "clientCA": [security::certificate_pem()], "clientCAFiles": ["/nowhere"], "authClient": "" }),
        json!({ "cipherList": ["", "ecdhe_ecdsa_aes_128_gcm_sha256"], "curveList": ["X25519", ""] }),
        json!({ "cipherList": [""], "curveList": [""] }),
    ] {
        let mut config = json!({ "certs": [pair] });
        more.as_object().expect("a table").iter().for_each(|(key, value)| config[key] = value.clone());
        let read =
            server(json!({ "enabled": true, "config": config })).unwrap_or_else(|error| panic!("{more}: {error}"));
        read.validate().unwrap_or_else(|error| panic!("{more}: {error}"));
    }
    let client = json!({ "network": "tcp", "address": "a:1",
        "tls": { "enabled": true, "config": { "clientCA": ["/nowhere"], "authClient": "strict", "versionMin": "1.3" } } });
    let client: ClientConfig = serde_json::from_value(client).expect("settings");
    assert!(client.tls.is_some());
    // With our own flat keys it is a slip.
    for key in ["rootCA", "inheritDefault"] {
        let error = server(json!({ key: ["x"] })).expect_err("a client's");
        assert!(error.starts_with(&format!("tls.{key} cannot be set here")), "{error}");
    }
}

/// A file with secrets of sessions is made where it was asked for, and nowhere else.
#[test]
fn no_word_for_a_switch_is_the_file_of_a_key_log() {
    use windlass::tls::KeyLog;
    let log =
        |value: Value| server(json!({ "key-log": value })).map(|config| config.tls.expect("a table").terms.key_log);
    for text in ["off", "OFF", "Off", "false", "False"] {
        assert_eq!(log(json!(text)), Ok(KeyLog::Off), "{text}");
    }
    for text in ["environment", "Environment"] {
        assert_eq!(log(json!(text)), Ok(KeyLog::Environment), "{text}");
    }
    for text in ["no", "No", "NONE", "on", "true", "disabled", "keys.log", "", "a\n/b"] {
        let error = log(json!(text)).expect_err(text);
        assert!(error.starts_with("tls.key-log cannot be ") && error.contains("with a /"), "{error}");
    }
    for text in ["./keys.log", "/run/off", "logs/keys", "/Users/Jane/Certs2024/MyServer20240601/Keys1.log"] {
        assert_eq!(log(json!(text)), Ok(KeyLog::File(text.into())), "{text}");
    }
    // A file by such a name reads as that file.
    for name in ["off", "environment", "true", "false", "keys"] {
        let mut config = windlass::TlsClientConfig::default();
        config.terms.key_log = KeyLog::File(name.into());
        let text = serde_json::to_string(&config).expect("JSON");
        let read: windlass::TlsClientConfig = serde_json::from_str(&text).expect("what was written");
        assert_eq!(read.terms.key_log, KeyLog::File(format!("./{name}").into()), "{text}");
    }
}

#[test]
fn what_is_asked_of_clients_is_read_word_by_word() {
    use windlass::tls::ClientAuth;
    let auth =
        |text: &str| server(json!({ "auth-client": text })).map(|config| config.tls.expect("a table").auth_client);
    for (text, expected) in [
        ("strict", ClientAuth::Required),
        ("Strict Require Verify", ClientAuth::Required),
        ("require-verify", ClientAuth::Required),
        ("require and verify", ClientAuth::Required),
        ("RequireAndVerifyClientCert", ClientAuth::Required),
        ("verify", ClientAuth::Optional),
        ("NoClientCert", ClientAuth::None),
    ] {
        assert_eq!(auth(text), Ok(expected), "{text}");
    }
    for text in ["nonstrict", "not verify", "no-verify", "none strict", "strictly", "unverified", "and", "noverify", ""]
    {
        let error = auth(text).expect_err(text);
        assert!(error.starts_with("tls.auth-client cannot be "), "{error}");
        assert!(error.contains("\"none\", \"verify\", \"strict\""), "{error}");
    }
}

#[test]
fn faults_of_a_names_own_table_say_whose_they_are() {
    let own = json!({ "key": security::key_pem(), "pub": security::certificate_pem() });
    let named = |table: Value| {
        let mut table = table;
        table["certs"] = json!([own]);
        let read = server(json!({ "certs": [own], "names": { "x.example": table } }))?;
        read.validate().map_err(|error| error.to_string())
    };
    for (table, words) in [
        (json!({ "version-min": "1.3", "version-max": "1.2" }), "tls.version-min cannot be 1.3 to 1.2 (for x.example)"),
        (json!({ "alpn": "" }), "(for x.example)"),
        (json!({ "cipher-list": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" }), "(for x.example)"),
        (json!({ "cipher-list": "NONSENSE" }), "(for x.example)"),
        (json!({ "version-min": "9" }), "tls.names.\"x.example\".version-min cannot be \"9\""),
        (json!({ "client-ca": [5] }), "tls.names.\"x.example\".client-ca[0] cannot be"),
    ] {
        let error = named(table.clone()).expect_err(words);
        assert!(error.contains(words), "{table}: {words} is not in {error}");
    }
}

#[test]
fn a_name_is_one_name_in_whatever_case_and_many_are_read_at_once() {
    let error =
        server(json!({ "names": { "a.example": {}, "A.Example": {} } })).expect_err("a name that is given twice");
    assert!(error.contains("tls.names.") && error.contains(".example\" is given twice"), "{error}");
    let names: serde_json::Map<_, _> = (0..20_000).map(|number| (format!("n{number}.example"), json!({}))).collect();
    assert_eq!(server(json!({ "names": names })).expect("settings").tls.expect("a table").names.len(), 20_000);
}
