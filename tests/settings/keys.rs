//! Each key, in each format.

use crate::{client, round_trips, server};
use std::time::Duration;
use windlass::{
    Address, Broadcast, ClientConfig, DatagramConfig, Fragmentation, Group, IcmpErrors, Interface, Keepalive, Limits,
    Loopback, Multicast, Nodelay, Offload, Pinning, Placement, Reuse, ServerConfig, SocketOptions, Stack,
};

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

fn usual() -> ServerConfig {
    ServerConfig::default().address(address("tcp://:8080"))
}

fn limits(limits: Limits) -> ServerConfig {
    ServerConfig { limits, ..usual() }
}

fn socket(socket: SocketOptions) -> ServerConfig {
    ServerConfig { socket, ..usual() }
}

fn datagram(datagram: DatagramConfig) -> ServerConfig {
    ServerConfig { datagram, ..usual() }
}

fn multicast(multicast: Multicast) -> ServerConfig {
    datagram(DatagramConfig { multicast, ..DatagramConfig::default() })
}

/// Each key of servers, and what it comes to.
fn of_servers() -> Vec<(&'static str, ServerConfig)> {
    let l = Limits::default;
    let s = SocketOptions::default;
    let d = DatagramConfig::default;
    let m = Multicast::default;
    let keepalive =
        |idle, interval, count| socket(SocketOptions { keepalive: Some(Keepalive { idle, interval, count }), ..s() });
    vec![
        ("perm-file = '0660'", ServerConfig { perm_file: 0o660, ..usual() }),
        ("perm-file = 'rw-rw-r--'", ServerConfig { perm_file: 0o664, ..usual() }),
        ("perm-file = '-rw-------'", ServerConfig { perm_file: 0o600, ..usual() }),
        ("group-perm = 4000000000", ServerConfig { group_perm: Some(4_000_000_000), ..usual() }),
        ("group-perm = 0", ServerConfig { group_perm: Some(0), ..usual() }),
        ("group-perm = -1", usual()),
        ("con-idle-timeout = '90s'", usual().con_idle_timeout(SECONDS(90))),
        ("con-idle-timeout = '1h30m'", usual().con_idle_timeout(SECONDS(5400))),
        ("Con-Idle-Timeout = '1m0s'", usual().con_idle_timeout(SECONDS(60))),
        ("conIdleTimeout = '0s'", usual()),
        ("idle-timeout = '250ms'", usual().con_idle_timeout(Duration::from_millis(250))),
        ("reactors = 3", ServerConfig { reactors: 3, ..usual() }),
        ("placement = 'round-robin'", ServerConfig { placement: Placement::RoundRobin, ..usual() }),
        ("placement = 'kernel'", ServerConfig { placement: Placement::Kernel, ..usual() }),
        ("placement = 'least-connections'", usual()),
        ("pinning = 'pinned'", ServerConfig { pinning: Pinning::Pinned, ..usual() }),
        ("connections-max = 50_000", ServerConfig { connections_max: Some(50_000), ..usual() }),
        ("per-peer-max = 100", ServerConfig { per_peer_max: Some(100), ..usual() }),
        ("accepts-per-second = 200", ServerConfig { accepts_per_second: Some(200), ..usual() }),
        ("handshakes-max = 7", ServerConfig { handshakes_max: 7, ..usual() }),
        ("handshake-threads = 2", ServerConfig { handshake_threads: Some(2), ..usual() }),
        ("queued-bytes-max = 50_331_648", ServerConfig { queued_bytes_max: Some(48 << 20), ..usual() }),
        ("backlog = 12", ServerConfig { backlog: 12, ..usual() }),
        ("reuse-port = true", ServerConfig { reuse: Reuse::Port, ..usual() }),
        ("v6-only = true", ServerConfig { stack: Stack::V6Only, ..usual() }),
        ("drain-timeout = '0s'", ServerConfig { drain_timeout: Duration::ZERO, ..usual() }),
        ("drain-timeout = '5m'", ServerConfig { drain_timeout: SECONDS(300), ..usual() }),
        ("handshake-timeout = '3s'", limits(Limits { handshake_timeout: SECONDS(3), ..l() })),
        ("write-stall-timeout = '4s'", limits(Limits { write_stall_timeout: SECONDS(4), ..l() })),
        ("lifetime = '1d'", limits(Limits { lifetime: Some(SECONDS(86_400)), ..l() })),
        ("linger-timeout = '5s'", limits(Limits { linger_timeout: SECONDS(5), ..l() })),
        ("linger-total = '6s'", limits(Limits { linger_total: SECONDS(6), ..l() })),
        ("inbox-bytes-max = 65536", limits(Limits { inbox_bytes_max: 65_536, ..l() })),
        ("outbox-bytes-max = 4194304", limits(Limits { outbox_bytes_max: 4_194_304, ..l() })),
        ("outbox-bytes-high = 300_000", limits(Limits { outbox_bytes_high: 300_000, ..l() })),
        ("outbox-bytes-low = 0", limits(Limits { outbox_bytes_low: 0, ..l() })),
        ("bytes-per-turn = 4096", limits(Limits { bytes_per_turn: 4096, ..l() })),
        ("reads-per-turn = 2", limits(Limits { reads_per_turn: 2, ..l() })),
        ("nodelay = false", socket(SocketOptions { nodelay: Nodelay::Off, ..s() })),
        ("keepalive = false", socket(SocketOptions { keepalive: None, ..s() })),
        ("keepalive = true", usual()),
        ("keepalive-idle = '2m'", keepalive(SECONDS(120), SECONDS(15), 9)),
        ("keepalive-interval = '5s'", keepalive(SECONDS(60), SECONDS(5), 9)),
        ("keepalive-count = 3", keepalive(SECONDS(60), SECONDS(15), 3)),
        ("receive-buffer-bytes = 100000", socket(SocketOptions { receive_buffer_bytes: Some(100_000), ..s() })),
        ("send-buffer-bytes = 200000", socket(SocketOptions { send_buffer_bytes: Some(200_000), ..s() })),
        ("user-timeout = '20s'", socket(SocketOptions { user_timeout: Some(SECONDS(20)), ..s() })),
        ("linger = '0s'", socket(SocketOptions { linger: Some(Duration::ZERO), ..s() })),
        ("datagram.bytes-max = 2000", datagram(DatagramConfig { bytes_max: 2000, ..d() })),
        ("datagram.queue-bytes-max = 3000", datagram(DatagramConfig { queue_bytes_max: 3000, ..d() })),
        ("datagram.queue-datagrams-max = 40", datagram(DatagramConfig { queue_datagrams_max: 40, ..d() })),
        ("datagram.send-timeout = '1s'", datagram(DatagramConfig { send_timeout: SECONDS(1), ..d() })),
        ("datagram.full-pause = '1ms'", datagram(DatagramConfig { full_pause: Duration::from_millis(1), ..d() })),
        ("datagram.datagrams-per-turn = 5", datagram(DatagramConfig { datagrams_per_turn: 5, ..d() })),
        ("datagram.gso = false", datagram(DatagramConfig { gso: Offload::Off, ..d() })),
        ("datagram.gro = true", datagram(DatagramConfig { gro: Offload::On, ..d() })),
        ("datagram.dont-fragment = true", datagram(DatagramConfig { fragmentation: Fragmentation::Never, ..d() })),
        ("datagram.icmp-errors = false", datagram(DatagramConfig { icmp_errors: IcmpErrors::Ignored, ..d() })),
        ("datagram.broadcast = true", datagram(DatagramConfig { broadcast: Broadcast::Allowed, ..d() })),
        ("datagram.ttl = 3", datagram(DatagramConfig { ttl: Some(3), ..d() })),
        ("datagram.tos = 0", datagram(DatagramConfig { tos: Some(0), ..d() })),
        (
            "datagram.multicast-groups = ['239.1.2.3', 'ff02::5']",
            multicast(Multicast {
                groups: ["239.1.2.3", "ff02::5"].map(|ip| Group::new(ip.parse().expect("an address"))).to_vec(),
                ..m()
            }),
        ),
        ("datagram.multicast-interface = 3", multicast(Multicast { interface: Interface::Index(3), ..m() })),
        ("datagram.multicast-interface = 0", multicast(Multicast { interface: Interface::Index(0), ..m() })),
        (
            "datagram.multicast-interface = '127.0.0.1'",
            multicast(Multicast { interface: Interface::Address(std::net::Ipv4Addr::LOCALHOST), ..m() }),
        ),
        ("datagram.multicast-ttl = 2", multicast(Multicast { ttl: Some(2), ..m() })),
        ("datagram.multicast-loopback = false", multicast(Multicast { loopback: Loopback::Off, ..m() })),
    ]
}

#[test]
fn each_key_of_a_server_sets_its_field_and_is_written_as_it_is_read() {
    for (line, expected) in of_servers() {
        let read = server(&format!("address = 'tcp://:8080'\n{line}"));
        assert_eq!(read, expected, "{line}");
        if cfg!(feature = "tls") || !line.starts_with("handshake-threads") {
            expected.validate().unwrap_or_else(|error| panic!("{line}: {error}"));
        } else {
            assert!(expected.validate().expect_err("there is no TLS").to_string().contains("without TLS"));
        }
        round_trips(&expected);
    }
}

#[test]
fn every_key_is_among_those_tested() {
    let keys_of = |text: &str| {
        let error = toml::from_str::<ServerConfig>(text).expect_err("an unknown key").to_string();
        let (_, keys) = error.trim_end().rsplit_once("there are ").expect("a list");
        keys.split(", ").map(str::to_owned).collect::<Vec<_>>()
    };
    let tested: Vec<_> = of_servers().iter().map(|(line, _)| line.split_once(" =").expect("a key").0).collect();
    for key in keys_of("nothing = 1") {
        let elsewhere = ["network", "address", "tls", "datagram"];
        assert!(elsewhere.contains(&key.as_str()) || tested.contains(&key.as_str()), "{key}");
    }
    for key in keys_of("datagram.nothing = 1") {
        assert!(tested.contains(&format!("datagram.{key}").as_str()), "datagram.{key}");
    }
}

#[test]
fn network_and_address_make_an_address_in_either_order() {
    for (text, expected) in [
        ("network = 'tcp'\naddress = ':8080'", "tcp://:8080"),
        ("address = 'localhost:http'\nnetwork = 'TCP4'", "tcp4://localhost:http"),
        ("network = 'tcp6'\naddress = '[::1]:80'", "tcp6://[::1]:80"),
        ("network = 'udp'\naddress = '127.0.0.1:0'", "udp://127.0.0.1:0"),
        ("network = 'unix'\naddress = '/run/x.sock'", "unix:/run/x.sock"),
        ("network = 'unixgram'\naddress = '@name'", "unixgram:@name"),
        ("network = 'tls'\naddress = ':443'", "tls://:443"),
        ("network = 'tls+unix'\naddress = '/run/x.sock'", "tls+unix:/run/x.sock"),
        ("address = 'tls+unix:@name'", "tls+unix:@name"),
    ] {
        assert_eq!(server(text).addresses, [address(expected)], "{text}");
        assert_eq!(client(text).address(), &address(expected), "{text}");
        round_trips(&server(text));
        round_trips(&client(text));
    }
    let several = server("network = 'tcp'\naddress = [':1', ':2']");
    assert_eq!(several.addresses, [address("tcp://:1"), address("tcp://:2")]);
    let mixed = server("address = ['tcp://:1', 'unix:/run/x.sock', 'udp://:1']");
    assert_eq!(mixed.addresses.len(), 3);
    round_trips(&mixed);
}

#[test]
fn each_format_has_the_same_settings() {
    let of_toml = server(
        "network = 'unix'\naddress = '/run/x.sock'\nperm-file = '0o660'\ngroup-perm = 12\ncon-idle-timeout = '5m'\n\
         nodelay = true\n[datagram]\nttl = 3\n",
    );
    let of_json = r#"{"network": "unix", "address": "/run/x.sock", "perm-file": "0660", "group-perm": 12,
        "con-idle-timeout": "5m", "nodelay": true, "per-peer-max": null, "tls": null, "datagram": {"ttl": 3}}"#;
    assert_eq!(serde_json::from_str::<ServerConfig>(of_json).expect("JSON"), of_toml);
    let value = of_json.parse::<serde_json::Value>().expect("JSON");
    assert_eq!(serde_json::from_value::<ServerConfig>(value).expect("a value"), of_toml);
    reads_as_yaml(&of_toml);
}

#[cfg(windlass_oldest)]
fn reads_as_yaml(_: &ServerConfig) {}

#[cfg(not(windlass_oldest))]
fn reads_as_yaml(of_toml: &ServerConfig) {
    let of_yaml = "network: unix\naddress: /run/x.sock\nperm-file: 0660\ngroup-perm: 12\ncon-idle-timeout: 5m\n\
                   nodelay: true\nper-peer-max: ~\ndatagram:\n  ttl: 3\n";
    assert_eq!(&serde_saphyr::from_str::<ServerConfig>(of_yaml).expect("YAML"), of_toml);
    for text in ["perm-file: \"0660\"", "perm-file: rw-rw----", "perm-file: 0o660"] {
        let read = serde_saphyr::from_str::<ServerConfig>(&of_yaml.replace("perm-file: 0660", text));
        assert_eq!(&read.unwrap_or_else(|error| panic!("{text}: {error}")), of_toml, "{text}");
    }
}

#[test]
fn what_is_by_default_is_not_written() {
    assert_eq!(toml::to_string(&usual()).expect("TOML"), "address = \"tcp://[::]:8080\"\n");
    assert_eq!(toml::to_string(&ServerConfig::default()).expect("TOML"), "");
    let text =
        toml::to_string(&ServerConfig { perm_file: 0o600, ..usual() }.con_idle_timeout(SECONDS(5400))).expect("TOML");
    assert_eq!(text, "address = \"tcp://[::]:8080\"\nperm-file = \"0600\"\ncon-idle-timeout = \"1h30m\"\n");
}

#[test]
fn what_no_text_tells_is_not_written() {
    let group =
        Group { source: Some(std::net::Ipv4Addr::LOCALHOST), ..Group::new("239.1.2.3".parse().expect("an IP")) };
    let grouped = multicast(Multicast { groups: vec![group], ..Multicast::default() });
    let unnamed = ServerConfig::default().address(Address::unix_unnamed());
    let connecting = limits(Limits { connect_timeout: SECONDS(1), ..Limits::default() });
    let hook = SocketOptions { prepare: Some(|_| Ok(())), ..SocketOptions::default() };
    let shut = ServerConfig { perm_file: 0, ..usual() };
    for config in [grouped, unnamed, connecting, socket(hook), shut] {
        let error = toml::to_string(&config).expect_err("no text");
        assert!(error.to_string().contains("cannot be written"), "{error}");
    }
    let none = socket(SocketOptions { receive_buffer_bytes: Some(0), ..SocketOptions::default() });
    let told = none.validate().expect_err("no buffer").to_string();
    assert!(told.starts_with("receive-buffer-bytes cannot be 0: it must be at least 1"), "{told}");
    let client = ClientConfig { socket: hook, ..ClientConfig::new(address("tcp://h:1")) };
    assert!(toml::to_string(&client).expect_err("no text").to_string().contains("cannot be written"));
}

#[test]
fn each_key_of_a_client_sets_its_field() {
    let at = |text| ClientConfig::new(address(text));
    let usual = || at("tcp://localhost:80");
    for (line, expected) in [
        ("address = 'tcp://localhost:80'", usual()),
        ("address = 'tcp://localhost:80'\nconnect-timeout = '3s'", usual().connect_timeout(SECONDS(3))),
        (
            "address = 'tcp://localhost:80'\nread-timeout = '4s'",
            ClientConfig { read_timeout: Some(SECONDS(4)), ..usual() },
        ),
        (
            "address = 'tcp://localhost:80'\nwrite-timeout = '5s'",
            ClientConfig { write_timeout: Some(SECONDS(5)), ..usual() },
        ),
        ("address = 'tcp://localhost:80'\ncon-idle-timeout = '6s'", usual().con_idle_timeout(SECONDS(6))),
        (
            "address = 'tcp://localhost:80'\nbind = '127.0.0.1:0'",
            ClientConfig { bind: Some(address("tcp://127.0.0.1:0")), ..usual() },
        ),
        (
            "bind = '[::1]:5'\nnetwork = 'udp'\naddress = 'h:1'",
            ClientConfig { bind: Some(address("udp://[::1]:5")), ..at("udp://h:1") },
        ),
        (
            "address = 'unixgram:/x'\nbind = 'unixgram:/me'",
            ClientConfig { bind: Some(address("unixgram:/me")), ..at("unixgram:/x") },
        ),
        (
            "address = 'tcp://localhost:80'\nnodelay = false",
            ClientConfig { socket: SocketOptions { nodelay: Nodelay::Off, ..SocketOptions::default() }, ..usual() },
        ),
        (
            "address = 'udp://localhost:80'\ndatagram.ttl = 9",
            ClientConfig {
                datagram: DatagramConfig { ttl: Some(9), ..DatagramConfig::default() },
                ..at("udp://localhost:80")
            },
        ),
    ] {
        assert_eq!(client(line), expected, "{line}");
        expected.validate().unwrap_or_else(|error| panic!("{line}: {error}"));
        round_trips(&expected);
    }
    let config = client("address = 'udp://127.0.0.1:1'\nbind = '127.0.0.1:0'\nsend-buffer-bytes = 5000");
    let datagram = config.datagram_config().expect("a configuration");
    assert_eq!((datagram.socket.send_buffer_bytes, datagram.bind), (Some(5000), Some(address("udp://127.0.0.1:0"))));
    let connect = client("address = 'tcp://h:1'\nbind = '127.0.0.1:0'\nconnect-timeout = '1s'").connect_config();
    let connect = connect.expect("a configuration");
    assert_eq!((connect.bind, connect.limits.connect_timeout), ("127.0.0.1:0".parse().ok(), SECONDS(1)));
}

#[test]
fn fields_reach_the_configurations_that_they_are_for() {
    let config = server(
        "address = 'tcp://:8080'\nbacklog = 12\naccepts-per-second = 9\nreactors = 3\nconnections-max = 20\n\
         handshakes-max = 5\nqueued-bytes-max = 9_000_000\nperm-file = '0600'\ngroup-perm = 7\nreuse-port = true\nv6-only = true\nplacement = 'kernel'\n\
         pinning = 'pinned'\ncon-idle-timeout = '5s'\nsend-buffer-bytes = 7000\ndatagram.ttl = 4",
    );
    let listen = config.listen_config().expect("a configuration");
    assert_eq!((listen.backlog, listen.accepts_per_second, listen.reuse), (12, Some(9), Reuse::Port));
    assert_eq!((listen.unix_mode, listen.unix_group, listen.stack), (0o600, Some(7), Stack::V6Only));
    assert_eq!((listen.limits.idle_timeout, listen.socket.send_buffer_bytes), (Some(SECONDS(5)), Some(7000)));
    let datagram = config.datagram_config().expect("a configuration");
    assert_eq!((datagram.unix_mode, datagram.unix_group, datagram.ttl), (0o600, Some(7), Some(4)));
    assert_eq!(
        (datagram.stack, datagram.reuse, datagram.socket.send_buffer_bytes),
        (Stack::V6Only, Reuse::Port, Some(7000))
    );
    let engine = config.engine_config().expect("a configuration");
    assert_eq!((engine.reactors, engine.connections_max, engine.reactor.handshakes_max), (3, 20, 5));
    assert_eq!(engine.queued_bytes_max, Some(9_000_000));
    assert_eq!((engine.placement, engine.pinning), (Placement::Kernel, Pinning::Pinned));
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn the_file_that_comes_with_the_echo_example_can_be_used() {
    let config = server(include_str!("../../examples/echo/echo.toml"));
    config.validate().expect("a configuration");
    assert_eq!(config.addresses, [address("tcp://127.0.0.1:7007")]);
    round_trips(&config);
}
