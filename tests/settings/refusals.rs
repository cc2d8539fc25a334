//! What is refused, and how it is told: with key, value and what would do.

use windlass::{ClientConfig, ServerConfig};

const AT: &str = "address = 'tcp://:8080'\n";

/// Errors of a server's file and what they must say.
fn says(text: &str, words: &[&str]) {
    let error = toml::from_str::<ServerConfig>(text).expect_err(text).to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in\n{error}");
    }
    assert!(!error.trim_end().contains('\n'), "a line of the file may be a secret one\n{error}");
}

#[test]
fn a_value_that_cannot_work_is_told_with_key_and_what_would_do() {
    for (line, words) in [
        ("network = 'ip'", &["network cannot be \"ip\"", "tcp, tcp4"][..]),
        ("network = 'tcp'", &["address cannot be \"tcp://:8080\"", "leave the key `network` out"]),
        ("perm-file = '0999'", &["perm-file cannot be \"0999\"", "\"0660\"", "rw-rw----"]),
        ("perm-file = 'rw-rw---'", &["perm-file cannot be \"rw-rw---\""]),
        ("perm-file = 770", &["perm-file cannot be 770", "bare number", "0o660"]),
        ("perm-file = 440", &["perm-file cannot be 440", "\"0660\""]),
        ("perm-file = 0o660", &["perm-file cannot be 432", "TOML's 0o660 comes as 432"]),
        ("perm-file = '01777'", &["perm-file cannot be \"01777\"", "write \"0777\""]),
        ("perm-file = true", &["perm-file cannot be true"]),
        ("group-perm = 'staff'", &["group-perm cannot be \"staff\"", "number of a group"]),
        ("group-perm = -2", &["group-perm cannot be -2"]),
        ("group-perm = 4294967295", &["group-perm cannot be 4294967295"]),
        ("con-idle-timeout = 90", &["con-idle-timeout cannot be 90", "90s"]),
        ("lifetime = '0s'", &["lifetime cannot be \"0s\"", "leave it out"]),
        ("con-idle-timeout = 'soon'", &["con-idle-timeout cannot be \"soon\"", "with its unit"]),
        ("con-idle-timeout = '5M'", &["con-idle-timeout cannot be \"5M\"", "minutes are m"]),
        ("con-idle-timeout = ['5m']", &["con-idle-timeout cannot be [\"5m\"]"]),
        ("reactors = 0", &["reactors cannot be 0", "at least 1"]),
        ("reactors = '2'", &["reactors cannot be \"2\"", "without quotes"]),
        ("backlog = -1", &["backlog cannot be -1", "negative"]),
        ("backlog = 5_000_000_000", &["backlog cannot be 5000000000", "too large"]),
        ("backlog = 1.5", &["backlog cannot be 1.5"]),
        ("connections-max = 0", &["connections-max cannot be 0"]),
        ("per-peer-max = 0", &["per-peer-max cannot be 0"]),
        ("placement = 'random'", &["placement cannot be \"random\"", "\"round-robin\""]),
        ("nodelay = 'yes'", &["nodelay cannot be \"yes\"", "true or false"]),
        ("datagram.ttl = 300", &["datagram.ttl cannot be 300", "too large"]),
        ("datagram.multicast-groups = 'here'", &["datagram.multicast-groups cannot be \"here\"", "239.1.2.3"]),
        ("datagram.multicast-interface = 'lo'", &["datagram.multicast-interface cannot be \"lo\"", "IPv4 address"]),
        ("datagram = 5", &["datagram cannot be a number", "a table of settings"]),
        ("backlog = { a = 1 }", &["backlog"]),
        ("adress = ':80'", &["adress is no key", "did you mean address?", "con-idle-timeout"]),
        ("datagram.nothing = 1", &["datagram.nothing is no key", "bytes-max"]),
        ("read-timeout = '1s'", &["read-timeout cannot be set here", "con-idle-timeout"]),
        (
            "idle-timeout = '1s'\ncon-idle-timeout = '2s'",
            &["idle-timeout is also given as con-idle-timeout", "remove one"],
        ),
    ] {
        says(&format!("{AT}{line}"), words);
    }
}

#[test]
fn keepalive_that_is_off_cannot_be_described() {
    for (key, value) in [("keepalive-idle", "\"1m\""), ("keepalive-interval", "\"5s\""), ("keepalive-count", "3")] {
        says(&format!("{AT}keepalive = false\n{key} = {value}"), &[key, "keepalive is false"]);
        // Whatever comes first.
        let text = format!("{{\"address\": \"tcp://:80\", \"{key}\": {value}, \"keepalive\": false}}");
        let error = serde_json::from_str::<ServerConfig>(&text).expect_err("a contradiction").to_string();
        assert!(error.starts_with(key) && error.contains("keepalive is false: leave the keys out"), "{error}");
    }
}

#[test]
fn json_and_yaml_name_the_key_too() {
    let told = |text: &str| serde_json::from_str::<ServerConfig>(text).expect_err(text).to_string();
    let error = told("{\"address\": \"tcp://:80\",\n \"backlog\": \"x\"}");
    assert!(error.starts_with("backlog cannot be \"x\""), "{error}");
    let error = told("{\"address\": \"tcp://:80\", \"perm-file\": 504}");
    assert!(error.starts_with("perm-file cannot be 504: write permission bits in quotes"), "{error}");
    assert!(told("{\"backlog\": 1, \"backlog\": 2}").contains("backlog is given twice"));
    assert!(told("[]").contains("table of settings"));
    assert!(told("null").contains("table of settings"));
    let nested = format!("{{\"address\": {}1{}}}", "[".repeat(3), "]".repeat(3));
    assert!(told(&nested).starts_with("address[0] cannot be a list: write a text"));
}

#[cfg(not(windlass_oldest))]
#[test]
fn a_refusal_of_yaml_shows_no_line_of_it() {
    let error = serde_saphyr::from_str::<ServerConfig>("address: tcp://:80\nbacklog: x\n").expect_err("no number");
    assert!(error.to_string().contains("backlog cannot be \"x\"") && !error.to_string().contains('|'), "{error}");
    let error = serde_saphyr::from_str::<ServerConfig>("address: tcp://:80\nnonsense: x\n").expect_err("no key");
    assert!(error.to_string().contains("nonsense is no key"), "{error}");
}

#[test]
fn addresses_that_are_none_are_told() {
    says("address = ':8080'", &["\":8080\" has no known scheme", "key `network`"]);
    // Whichever of the two is read last.
    says("network = 'tcp'\naddress = 'tcp://:80'", &["address cannot be \"tcp://:80\"", "leave the key `network` out"]);
    says("network = 'tcp'\naddress = 'here'", &["address cannot be \"here\"", "\"tcp://here\" has no port"]);
    says(
        "network = 'tcp'\naddress = ':99999'",
        &["address cannot be \":99999\"", "\"tcp://:99999\" is out of range", "0 to 65535"],
    );
    let error =
        serde_json::from_str::<ServerConfig>("{\"network\": \"tcp\",\n\"address\": \"here\"}").expect_err("no port");
    assert!(error.to_string().starts_with("address cannot be \"here\""), "{error}");
    says("network = 'tcp6'\naddress = '127.0.0.1:80'", &["IP version"]);
    says("address = []", &["address cannot be []", "at least one"]);
    says("address = [8080]", &["address[0] cannot be 8080", "a text"]);
    says("address = 'tcp://:1,tcp://:2'", &["address cannot be", "several are a list"]);
    says("address = ['tcp://:1', ':2']", &["address[1] cannot be \":2\"", "key `network`"]);
    says("network = 'tcp'\naddress = 'localhost:'", &["address cannot be \"localhost:\"", "HOST:8080"]);
    says("network = 'unix'\naddress = ''", &["address"]);
    let long = "x".repeat(200);
    says(&format!("network = 'unix'\naddress = '/{long}'"), &["201 bytes long, the limit is"]);
}

#[test]
fn what_does_not_fit_together_is_told_by_validate() {
    for (text, words) in [
        ("", &["address cannot be nothing", "tcp://:8080"][..]),
        (
            "address = 'tcp://:1'\noutbox-bytes-low = 500_000",
            &["outbox-bytes-low cannot be 500000: it must not be above outbox-bytes-high"],
        ),
        (
            "address = 'tcp://:1'\noutbox-bytes-max = 1000",
            &["outbox-bytes-max cannot be 1000: it must be at least outbox-bytes-high and inbox-bytes-max together"],
        ),
        (
            "address = 'tcp://:1'\nsend-buffer-bytes = 3_000_000_000",
            &["send-buffer-bytes cannot be 3000000000: it must be at least 1, and below 2 GiB"],
        ),
        ("address = 'tcp://:1'\nqueued-bytes-max = 1", &["queued-bytes-max cannot be 1: it must be at least 1 MiB"]),
        ("address = 'tcp://:1'\nreactors = 5000", &["reactors cannot be 5000", "1,024"]),
        ("address = 'tcp://:1'\nhandshake-threads = 5000", &["handshake-threads cannot be 5000", "1,024"]),
        ("address = 'udp://:1'\ndatagram.bytes-max = 2_000_000", &["datagram.bytes-max cannot be 2000000", "1 MiB"]),
        (
            "address = 'udp://:1'\ndatagram.multicast-groups = '10.0.0.1'",
            &["datagram.multicast-groups cannot be 10.0.0.1"],
        ),
    ] {
        let config: ServerConfig = toml::from_str(text).expect(text);
        let error = config.validate().expect_err(text).to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in {error:?}"));
        let error = windlass::Server::builder()
            .config(&config)
            .and_then(|builder| builder.handler(|| |_: &windlass::Conn<'_>| crate::support::Echo).build());
        assert!(error.is_err(), "{text}");
    }
    let mode =
        ServerConfig { perm_file: 0o1000, ..ServerConfig::default().address("unix:/x".parse().expect("an address")) };
    assert!(mode.validate().expect_err("no bits").to_string().starts_with("perm-file cannot be"));
    let group = ServerConfig {
        group_perm: Some(u32::MAX),
        ..ServerConfig::default().address("unix:/x".parse().expect("an address"))
    };
    assert!(group.validate().expect_err("no group").to_string().starts_with("group-perm cannot be"));
}

#[test]
fn a_client_has_one_address_and_nothing_of_servers() {
    let says = |text: &str, words: &[&str]| {
        let read = toml::from_str::<ClientConfig>(text);
        let error = match read {
            Ok(config) => config.validate().expect_err(text).to_string(),
            Err(error) => error.to_string(),
        };
        words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in\n{error}"));
    };
    says("", &["address cannot be missing"]);
    for all in ["tcp://:1", "tls://:443", "udp://:53", "tcp4://0.0.0.0:1", "tcp://[::]:1"] {
        says(&format!("address = '{all}'"), &["address cannot be", "write the host to connect to"]);
    }
    says("network = 'tcp'\naddress = ':8080'", &["address cannot be tcp://[::]:8080", "write the host to connect to"]);
    says("address = ['tcp://h:1', 'tcp://h:2']", &["address cannot be a list"]);
    says("address = 'tcp://h:1'\nperm-file = '0770'", &["perm-file cannot be set here", "a server's"]);
    says("address = 'tcp://h:1'\nread-timeout = '0s'", &["read-timeout cannot be \"0s\""]);
    says("address = 'tcp://h:1'\nbind = 'here'", &["bind cannot be \"here\"", "IP:PORT"]);
    says("address = 'unix:/x'\nbind = '127.0.0.1:0'", &["bind cannot be", "left out for unix"]);
    says("address = 'tcp://h:1'\nbind = 'unixgram:/x'", &["bind cannot be unixgram:/x"]);
    says("address = 'tcp://h:1'\nconnections-max = 1", &["connections-max cannot be set here"]);
    says("address = 'tcp://h:1'\nreactors = 1", &["reactors is no key"]);
    let zero = ClientConfig {
        write_timeout: Some(std::time::Duration::ZERO),
        ..ClientConfig::new("tcp://h:1".parse().expect("an address"))
    };
    assert!(zero.validate().expect_err("no time").to_string().starts_with("write-timeout cannot be"));
}

/// A key with a default is not turned off by leaving it out.
#[test]
fn only_what_is_off_when_it_is_left_out_is_said_to_be() {
    for key in ["lifetime", "user-timeout", "read-timeout", "write-timeout"] {
        let error = toml::from_str::<ClientConfig>(&format!("address = 'tcp://h:1'\n{key} = '0s'"));
        let error = error.expect_err("no time").to_string();
        assert!(error.contains("longer than zero; to turn it off, leave it out"), "{key}: {error}");
    }
    for key in ["handshake-timeout", "write-stall-timeout", "keepalive-idle", "connect-timeout", "linger-timeout"] {
        let error = toml::from_str::<ClientConfig>(&format!("address = 'tcp://h:1'\n{key} = '0s'"));
        let error = error.expect_err("no time").to_string();
        assert!(error.contains("longer than zero") && !error.contains("leave it out"), "{key}: {error}");
    }
}

/// A client that waits has no reactor; the error names the key of its file.
#[test]
fn what_a_client_has_no_use_for_is_refused_by_its_key() {
    for (text, key) in [
        ("address = 'tcp://h:1'\nlinger-timeout = '1s'", "linger-timeout cannot be 1s"),
        ("address = 'tcp://h:1'\nlinger-total = '1s'", "linger-total cannot be 1s"),
        ("address = 'tcp://h:1'\nbytes-per-turn = 5", "bytes-per-turn cannot be 5"),
        ("address = 'tcp://h:1'\nreads-per-turn = 5", "reads-per-turn cannot be 5"),
        ("address = 'udp://h:1'\ndatagram.send-timeout = '3s'", "datagram.send-timeout cannot be 3s"),
        ("address = 'udp://h:1'\ndatagram.queue-bytes-max = 9999", "datagram.queue-bytes-max cannot be 9999"),
        ("address = 'udp://h:1'\ndatagram.queue-datagrams-max = 7", "datagram.queue-datagrams-max cannot be 7"),
        ("address = 'udp://h:1'\ndatagram.datagrams-per-turn = 7", "datagram.datagrams-per-turn cannot be 7"),
    ] {
        let config: ClientConfig = toml::from_str(text).expect(text);
        config.validate().expect("a connector takes it");
        let built = windlass::Client::configured(&config).and_then(|builder| builder.build());
        let error = built.expect_err(text).to_string();
        assert!(error.starts_with(key), "{error}");
    }
}

#[test]
fn no_file_panics() {
    use proptest::prelude::*;
    let key =
        prop::sample::select(vec!["address", "perm-file", "con-idle-timeout", "backlog", "tls", "datagram", "network"]);
    let value = prop_oneof![
        "\\PC{0,12}".prop_map(|text| format!("{text:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("true".to_owned()),
        Just("[1, [2], 'x']".to_owned()),
        Just("{ a = 1 }".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("nan".to_owned()),
    ];
    let lines = prop::collection::vec((key, value), 0..4);
    proptest!(|(lines in lines)| {
        let text: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        if let Ok(config) = toml::from_str::<ServerConfig>(&text) {
            let _ = config.validate();
        }
        let _ = toml::from_str::<ClientConfig>(&text);
    });
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
#[test]
fn tls_without_tls_is_told() {
    says("address = 'tcp://h:1'\n[tls]\nenabled = true", &["tls cannot be set", "`aws-lc-rs`"]);
}
