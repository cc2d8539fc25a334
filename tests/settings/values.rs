//! What can stand behind a key: times, permission bits, numbers, lists and words; well written, and as people miss it.

use proptest::prelude::*;
use serde_json::{Value, json};
use std::time::Duration;
use windlass::{Address, Limits, ServerConfig};

/// A server's settings from a file with these keys, in each format.
fn read(keys: &Value) -> [Result<ServerConfig, String>; 3] {
    let mut file = json!({ "address": "tcp://:8080" });
    let Value::Object(keys) = keys else { unreachable!("it is a table") };
    keys.iter().for_each(|(key, value)| file[key] = value.clone());
    let toml = toml::to_string(&file).expect("TOML");
    let yaml = serde_saphyr::to_string(&file).expect("YAML");
    [
        serde_json::from_value(file).map_err(|error| error.to_string()),
        serde_saphyr::from_str(&yaml).map_err(|error| error.to_string()),
        toml::from_str(&toml).map_err(|error| error.to_string()),
    ]
}

fn bits(text: &str) -> Option<u32> {
    let [json, yaml, toml] = read(&json!({ "perm-file": text })).map(|read| read.ok().map(|config| config.perm_file));
    assert!(json == yaml && yaml == toml, "{text}: {json:?} {yaml:?} {toml:?}");
    json
}

fn time(text: &str) -> Option<Duration> {
    serde_json::from_value::<ServerConfig>(json!({ "lifetime": text })).ok().and_then(|config| config.limits.lifetime)
}

#[test]
fn permissions_are_octal_or_symbols() {
    for (text, expected) in [
        ("0770", 0o770),
        ("770", 0o770),
        ("0o660", 0o660),
        ("00000777", 0o777),
        ("rw-rw----", 0o660),
        ("-rw-rw----", 0o660),
        ("srwxrwxrwx", 0o777),
        // Nothing is said: the predecessor's zeros.
        ("0", 0o770),
        ("", 0o770),
    ] {
        assert_eq!(bits(text), Some(expected), "{text}");
    }
    // The predecessor takes them for 0770, and nobody means them who writes them.
    for text in ["00", "000", "0000", "0o0", "0o000", "---------", "----------"] {
        for error in read(&json!({ "perm-file": text })).map(Result::unwrap_err) {
            assert!(error.starts_with("perm-file cannot be ") && error.contains("nobody could connect"), "{error}");
        }
    }
    for text in ["0o", "0x1f", "789", "1000", "01777", "04755", "+70", " 0770", "rw-rw---", "wr-rw----", "drw-rw----"] {
        assert_eq!(bits(text), None, "{text}");
    }
    for text in ["rwsrwxrwx", "٧٧٠", "rw-rw-----r", "0,7,7,0", "'0770'"] {
        assert_eq!(bits(text), None, "{text}");
    }
}

#[test]
fn permissions_in_yaml_need_no_quotes_and_a_bare_number_elsewhere_is_refused() {
    let yaml = |text: &str| {
        let read = serde_saphyr::from_str::<ServerConfig>(&format!("address: tcp://:1\nperm-file: {text}\n"));
        read.map(|config| config.perm_file).map_err(|error| error.to_string())
    };
    for (text, expected) in
        [("0660", 0o660), ("440", 0o440), ("0o600", 0o600), ("rw-------", 0o600), ("~", 0o770), ("'0640'", 0o640)]
    {
        assert_eq!(yaml(text), Ok(expected), "{text}");
    }
    for text in ["[0660]", "{ a: 1 }", "1.5", "true", "999"] {
        let error = yaml(text).expect_err(text);
        assert!(error.starts_with("perm-file cannot be") && error.contains("\"0660\""), "{error}");
        assert!(!error.contains('\n'), "no line of the file\n{error}");
    }
    for number in [-1_i64, 0, 0o660, 440, 770, 1 << 40] {
        for read in [
            toml::from_str::<ServerConfig>(&format!("perm-file = {number}")).map_err(|error| error.to_string()),
            serde_json::from_str(&format!("{{\"perm-file\": {number}}}")).map_err(|error| error.to_string()),
        ] {
            let error = read.expect_err("a bare number");
            assert!(error.starts_with(&format!("perm-file cannot be {number}: ")), "{error}");
            assert!(error.contains("in quotes") && !error.contains("expected"), "{error}");
        }
    }
}

#[test]
fn times_have_units() {
    for (text, expected) in [
        ("90s", 90.0),
        ("5m", 300.0),
        ("1m0s", 60.0),
        ("1h0m0s", 3600.0),
        ("1h30m", 5400.0),
        ("1d2h0m0.5s", 93_600.5),
        ("163µs", 0.000_163),
        ("163μs", 0.000_163),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
    ] {
        assert_eq!(time(text).map(|time| time.as_secs_f64()), Some(expected), "{text}");
    }
    for text in ["", "90", "s", "-5s", "5 parsecs", "5M", "99999999999999999999s", "0s", "0ms"] {
        assert_eq!(time(text), None, "{text}");
    }
    let linger =
        |text: &str| read(&json!({ "linger": text })).map(|read| read.ok().and_then(|config| config.socket.linger));
    assert_eq!(linger("0s"), [Some(Duration::ZERO); 3]);
}

/// Each kind of key with what people write in its place. It is refused with the key's name and what would do.
#[test]
fn what_is_missed_is_refused_by_the_keys_name_in_each_format() {
    let numbers = ["reactors", "backlog", "connections-max", "inbox-bytes-max", "group-perm", "keepalive-count"];
    let times = ["drain-timeout", "lifetime", "con-idle-timeout", "keepalive-idle", "linger"];
    let truths = ["nodelay", "keepalive", "reuse-port", "v6-only"];
    let words = ["placement", "pinning", "network"];
    let both = [json!({ "a": 1 }), json!([true]), json!("'5'"), json!("a,b"), json!("[5]"), json!("x y"), json!(1.5)];
    let wrong = |more: &[Value]| [&both[..], more].concat();
    let kinds = [
        (
            &numbers[..],
            wrong(&[json!("5"), json!("1,000"), json!("5 "), json!(true), json!([5]), json!(-5), json!("")]),
        ),
        (
            &times,
            wrong(&[
                json!(90),
                json!("90"),
                json!("1s,2s"),
                json!("'90s'"),
                json!("\"90s\""),
                json!(true),
                json!(["9s"]),
            ]),
        ),
        (&truths, wrong(&[json!("yes"), json!("'true'"), json!(1), json!(0), json!([true]), json!("")])),
        (&words, wrong(&[json!("tcp,udp"), json!("\"kernel\""), json!(5), json!(true), json!([])])),
    ];
    for (keys, values) in kinds {
        for (key, value) in keys.iter().flat_map(|key| values.iter().map(move |value| (key, value))) {
            for read in read(&json!({ *key: value })) {
                let error = read.err().unwrap_or_else(|| panic!("{key} = {value} is taken"));
                let (told, what) = error.split_once(": ").unwrap_or_else(|| panic!("{key} = {value}: {error}"));
                assert!(told.starts_with(&format!("{key} cannot be ")) && !what.is_empty(), "{key} = {value}: {error}");
                assert!(!error.trim_end().contains('\n'), "{error}");
            }
        }
    }
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn lists_in_one_text_are_refused_with_the_list_to_write() {
    let told = |key: &str, value: Value| {
        read(&json!({ "tls": { key: value } })).map(|read| read.err().unwrap_or_else(|| panic!("{key} is taken")))
    };
    for key in ["alpn", "cipher-list", "curve-list"] {
        for (text, list) in [
            ("one,two", "[\"one\", \"two\"]"),
            ("one, two", "[\"one\", \"two\"]"),
            ("one two", "[\"one\", \"two\"]"),
            ("one;two", "[\"one\", \"two\"]"),
            ("one:two", "[\"one\", \"two\"]"),
            (" one", "[\"one\"]"),
            ("\"one\"", "[\"one\"]"),
            ("'one'", "[\"one\"]"),
            ("[one]\t", "[\"[one]\"]"),
        ] {
            for error in told(key, json!(text)) {
                assert!(error.starts_with(&format!("tls.{key} cannot be ")) && error.contains(list), "{error}");
            }
            for error in told(key, json!(["zero", text])) {
                assert!(error.starts_with(&format!("tls.{key}[1] cannot be ")) && error.contains(list), "{error}");
            }
        }
        for value in [json!(5), json!([5]), json!(true), json!({ "a": 1 }), json!([["a"]]), json!(1.5)] {
            for error in told(key, value) {
                assert!(error.starts_with(&format!("tls.{key}")) && error.contains("a text in quotes"), "{error}");
            }
        }
    }
    for key in ["client-ca", "client-crl", "client-crl-issuers"] {
        for error in told(key, json!("a.pem,b.pem")) {
            assert!(error.contains("several are a list") && error.starts_with(&format!("tls.{key} ")), "{error}");
        }
        for value in [json!(5), json!([5]), json!({ "a": 1 }), json!(""), json!([""])] {
            for error in told(key, value) {
                assert!(error.starts_with(&format!("tls.{key}")), "{error}");
            }
        }
    }
    for error in read(&json!({ "datagram": { "multicast-groups": "239.1.2.3,239.1.2.4" } })).map(Result::unwrap_err) {
        assert!(
            error.starts_with("datagram.multicast-groups cannot be \"239.1.2.3,239.1.2.4\"") && error.contains("list"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn times_read_as_they_were_written(seconds in any::<u64>(), short in 0..10_000u64, nanos in 0..1_000_000_000u32) {
        for time in [Duration::new(seconds, nanos), Duration::new(short, nanos), Duration::from_secs(short)] {
            let written = ServerConfig {
                limits: Limits { lifetime: Some(time).filter(|time| !time.is_zero()), ..Limits::default() },
                ..ServerConfig::default()
            };
            let text = serde_json::to_string(&written).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<ServerConfig>(&text).expect("what was written"), written);
        }
    }

    #[test]
    fn permissions_read_as_they_were_written(mode in 1..=0o777u32) {
        let written = ServerConfig { perm_file: mode, ..ServerConfig::default() };
        let text = serde_json::to_string(&written).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<ServerConfig>(&text).expect("what was written"), written);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,24}", digits in "[-0-9.a-zM ]{0,40}") {
        for text in [text, digits] {
            let _ = time(&text);
            let mode = serde_json::from_value::<ServerConfig>(json!({ "perm-file": text })).map(|config| config.perm_file);
            prop_assert!(mode.unwrap_or_default() <= 0o777);
            let _: Result<Address, _> = text.parse();
            let _ = read(&json!({ "network": "tcp", "address": text }));
        }
    }
}

#[test]
fn a_bad_address_is_blamed_on_the_key_address_in_each_format_and_order() {
    for (network, address, words) in [
        ("tcp", "localhost:99999", "out of range"),
        ("tcp", "here", "has no port"),
        ("tcp6", "127.0.0.1:80", "IP version"),
        ("udp", "[::1:80", "malformed"),
        ("unix", "", "is empty"),
        ("tcp", "tls://h:1", "leave the key `network` out"),
    ] {
        for error in read(&json!({ "network": network, "address": address })).map(Result::unwrap_err) {
            let begins = format!("address cannot be {address:?}: ");
            assert!(error.starts_with(&begins) && error.contains(words), "{words} is not in {error}");
        }
        for error in read(&json!({ "network": network, "address": [address] })).map(Result::unwrap_err) {
            assert!(error.starts_with(&format!("address[0] cannot be {address:?}: ")), "{error}");
        }
    }
    for error in read(&json!({ "network": "ip", "address": ":80" })).map(Result::unwrap_err) {
        assert!(error.starts_with("network cannot be \"ip\": it must be one of tcp"), "{error}");
    }
}
