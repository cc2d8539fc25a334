//! Paths and addresses that have a key's letters, and numbers and dates as formats hand them over.

use serde_json::{Value, json};
use windlass::{ClientConfig, ServerConfig};

fn server(file: Value) -> Result<ServerConfig, String> {
    serde_json::from_value(file).map_err(|error| error.to_string())
}

const SOCKETS: [&str; 5] = [
    "/Users/Jane/Certs2024/MyServer20240601/Cert1.sock",
    "/tmp/TestRun20241101/EchoServer00012345/EchoSocket0001.sock",
    "/tmp/TestRun20241101/EchoServer00012345/EchoSocket0001",
    "@MyAbstractSocketName2024ForTheEchoServerInstance01",
    "./TestRun20241101/EchoServer00012345/EchoSocket0001.sock",
];

#[test]
fn sockets_with_long_names_are_listened_on_and_connected_to() {
    for path in SOCKETS {
        for network in ["unix", "unixgram", "tls+unix"] {
            let whole = format!("{network}:{path}");
            let expected = whole.parse().expect("an address");
            for file in [json!({ "address": whole }), json!({ "network": network, "address": path })] {
                let read = server(file.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
                assert_eq!(read.addresses, [whole.parse().expect("an address")]);
                let read: ClientConfig = serde_json::from_value(file).expect("settings");
                assert_eq!(read.address, expected);
            }
        }
        let bind = format!("unixgram:{path}");
        let file = json!({ "address": "unixgram:/x", "bind": bind });
        let read: ClientConfig = serde_json::from_value(file).expect("settings");
        assert_eq!(read.bind, Some(bind.parse().expect("an address")));
    }
}

#[test]
fn a_key_is_no_socket_and_is_not_shown() {
    let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2OF2NrApL4kzQ";
    for part in [key, &key[..64], &key[20..]] {
        for file in [
            json!({ "network": "unix", "address": part }),
            json!({ "address": format!("unix:{part}") }),
            json!({ "address": format!("unix:/run/{}.sock", part.replace('/', "x")) }),
            json!({ "address": format!("tcp://{}:1", part.replace(['/', '+', '='], "x")) }),
        ] {
            let error = server(file.clone()).expect_err(part);
            assert!(error.starts_with("address cannot be a text that looks like a key"), "{error}");
        }
    }
}

#[test]
fn an_absolute_path_stays_absolute_however_many_slashes_it_has() {
    for path in ["/run/x.sock", "//run/x.sock", "///run/x.sock"] {
        for network in ["unix", "unixgram", "tls+unix"] {
            let read = server(json!({ "network": network, "address": path })).expect("settings");
            assert_eq!(read.addresses[0].to_string(), format!("{network}:/run/x.sock"), "{path}");
        }
    }
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn files_with_long_names_are_files() {
    use windlass::tls::Pem;
    let folder = tempfile::tempdir().expect("a folder");
    let bare = folder.path().join("MyCompany2024ServerCertificateForProduction20240601");
    std::fs::write(&bare, "x").expect("a file");
    let bare = bare.to_str().expect("a text");
    for path in [
        "/tmp/run17/c/My Long Folder/Ab12Cd34Ef56Gh78Ij90.pem",
        "./MyCompany2024/ServerCertificateProduction2024Long.pem",
        "../MyCompany2024/ServerCertificateProduction2024Long.crt",
        "/Users/Jane/Certs2024/MyServer20240601/Cert1.pem",
        bare,
    ] {
        let read = server(json!({ "address": "tls://:1", "tls": { "certs": [path], "client-ca": path } }));
        let tls = read.unwrap_or_else(|error| panic!("{path}: {error}")).tls.expect("a table");
        assert_eq!((&tls.certs[0].chain, &tls.client_ca), (&Pem::file(path), &vec![Pem::file(path)]));
    }
    // What the library says of what is in it is shown as it is.
    let file = json!({ "address": "tls://:1", "tls": { "certs": [bare] } });
    let error = server(file).expect("settings").validate().expect_err("no PEM").to_string();
    assert!(error.contains(bare) && error.contains("-----BEGIN") && !error.contains("not shown"), "{error}");
    let key: String = crate::support::security::key_pem().lines().filter(|line| !line.contains('-')).collect();
    for text in [key.clone(), format!("./{key}.pem"), format!("/etc/ssl/{key}"), format!("/{}", &key[..50])] {
        let error = server(json!({ "tls": { "certs": [text] } })).expect_err("a key");
        assert!(error.contains("it is no path of a file that is there") && !error.contains(&key[..8]), "{error}");
    }
}

/// With serde_json's feature `arbitrary_precision` numbers come so.
#[test]
fn numbers_in_their_digits_are_numbers_and_dates_are_told_as_dates() {
    let digits = |digits: &str| json!({ "$serde_json::private::Number": digits });
    let file = json!({ "reactors": digits("2"), "group-perm": digits("-1"), "datagram": { "ttl": digits("3") } });
    let read = server(file).expect("settings");
    assert_eq!((read.reactors, read.group_perm, read.datagram.ttl), (2, None, Some(3)));
    for (text, told) in [("2.5", "2.5"), ("1e3", "1000.0"), ("-1", "-1"), ("x", "a number")] {
        let error = server(json!({ "reactors": digits(text) })).expect_err(text);
        assert!(error.starts_with(&format!("reactors cannot be {told}")), "{error}");
    }
    let error = toml::from_str::<ServerConfig>("reactors = 1979-05-27").expect_err("a date").to_string();
    assert!(error.starts_with("reactors cannot be a date: write a whole number"), "{error}");
    for (text, told) in [("2.0", "2.0"), ("1e3", "1000.0")] {
        let error = serde_json::from_str::<ServerConfig>(&format!("{{\"reactors\": {text}}}")).expect_err(text);
        assert!(error.to_string().starts_with(&format!("reactors cannot be {told}: ")), "{error}");
    }
}
