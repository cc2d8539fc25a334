//! What is refused before anything is connected, each by its name and with what to do instead.

use std::time::Duration;
use windlass::{Address, AddressError, Client, ClientBuilder, ConnectConfig, DatagramConfig, Error, Limits, Resolver};

fn plan(text: &str) -> ClientBuilder {
    let address: Address = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Client::builder(address)
}

fn limits(change: impl FnOnce(&mut Limits)) -> ConnectConfig {
    let mut config = ConnectConfig::default();
    change(&mut config.limits);
    config
}

#[test]
fn whatever_cannot_work_is_refused_by_field_when_it_is_built() {
    let tcp = || plan("tcp://127.0.0.1:1");
    let second_long = Duration::from_secs(1);
    let cases: [(&str, &str, ClientBuilder); 10] = [
        ("read_timeout", "longer than zero", tcp().read_timeout(Some(Duration::ZERO))),
        ("write_timeout", "longer than zero", tcp().write_timeout(Some(Duration::ZERO))),
        ("linger_timeout", "write timeout", tcp().connect_config(limits(|of| of.linger_timeout = second_long))),
        ("linger_total", "write timeout", tcp().connect_config(limits(|of| of.linger_total = second_long))),
        ("bytes_per_turn", "reactors", tcp().connect_config(limits(|of| of.bytes_per_turn = 1))),
        ("reads_per_turn", "reactors", tcp().connect_config(limits(|of| of.reads_per_turn = 1))),
        ("inbox_bytes_max", "", tcp().connect_config(limits(|of| of.inbox_bytes_max = 0))),
        ("outbox_bytes_max", "at least", tcp().connect_config(limits(|of| of.outbox_bytes_max = 1))),
        (
            "bytes_max",
            "",
            plan("udp://127.0.0.1:1").datagram_config(DatagramConfig { bytes_max: 0, ..DatagramConfig::default() }),
        ),
        (
            "unix_mode",
            "permission bits",
            plan("unixgram:/a").datagram_config(DatagramConfig { unix_mode: 0o7000, ..DatagramConfig::default() }),
        ),
    ];
    for (field, step, builder) in cases {
        let error = builder.build().expect_err(field);
        let Error::Config { field: told, why, .. } = &error else { panic!("{field}: {error}") };
        assert_eq!(*told, field, "{error}");
        assert!(why.contains(step) && error.to_string().starts_with(&format!("{field} cannot be ")), "{error}");
    }
}

#[test]
fn an_address_that_asks_for_tls_needs_its_configuration() {
    for text in ["tls://127.0.0.1:1", "tls://host.example:1", "tls+unix:/nowhere", "tls+unix:@nobody"] {
        let error = plan(text).build().expect_err(text);
        let Error::Transport { address, why } = &error else { panic!("{error}") };
        assert!(address.to_string() == text && why.contains("`tls`"), "{error}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn what_tls_cannot_be_used_for_is_refused() {
    use crate::support::security;
    let with = |config: windlass::ClientTls| ConnectConfig { tls: Some(config), ..ConnectConfig::default() };
    // Not for datagrams, and not without being asked for.
    for text in ["udp://127.0.0.1:1", "unixgram:/nowhere"] {
        for builder in
            [plan(text).with_tls(security::client(), "localhost"), plan(text).connect_config(with(security::client()))]
        {
            let error = builder.build().expect_err(text);
            let Error::Transport { address, why } = &error else { panic!("{error}") };
            assert!(address.to_string() == text && why.contains("leave"), "{error}");
        }
    }
    let error = plan("tcp://127.0.0.1:1").connect_config(with(security::client())).build().expect_err("not asked for");
    assert!(matches!(error, Error::Transport { .. }), "{error}");
    // Names that no certificate is for, and none at all.
    for name in ["", "no name", "a..b", "-", "localhost:443"] {
        let error = plan("tcp://127.0.0.1:1").with_tls(security::client(), name).build().expect_err(name);
        let Error::Config { field: "server_name", value, why } = &error else { panic!("{error}") };
        assert!(value.contains(name) && why.contains("host's name"), "{error}");
    }
    let error = plan("tls+unix:/nowhere").connect_config(with(security::nameless())).build().expect_err("no name");
    let Error::Config { field: "server_name", why, .. } = &error else { panic!("{error}") };
    assert!(why.contains("give the name"), "{error}");
    // Sizes that no record fits in.
    let mut config = with(security::client());
    config.limits.inbox_bytes_max = 1;
    (config.limits.outbox_bytes_low, config.limits.outbox_bytes_high) = (1, 1);
    config.limits.outbox_bytes_max = 2;
    let error = plan("tls://127.0.0.1:1").connect_config(config.clone()).build().expect_err("too small");
    assert!(matches!(error, Error::Config { field: "outbox_bytes_max", .. }), "{error}");
    config.tls = None;
    let error = plan("tcp://127.0.0.1:1").connect_config(config).with_tls(security::client(), "localhost");
    let error = error.build().expect_err("too small");
    assert!(matches!(error, Error::Config { field: "outbox_bytes_max", .. }), "{error}");
    // What works: any of the ways to say it.
    plan("tls://localhost:1").connect_config(with(security::nameless())).build().expect("the host is the name");
    plan("tls://127.0.0.1:1").connect_config(with(security::nameless())).build().expect("so is an address");
    for text in ["tcp://127.0.0.1:1", "tls://127.0.0.1:1", "unix:/nowhere", "tls+unix:/nowhere"] {
        let client = plan(text).with_tls(security::nameless(), "localhost").build().expect("a name is given");
        assert!(client.address().transport().is_tls(), "{}", client.address());
    }
}

#[test]
fn addresses_that_are_none_say_what_is_wrong() {
    for text in ["", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:70000", "gopher://127.0.0.1:1", "unix:"] {
        let error = text.parse::<Address>().expect_err(text);
        assert!(!error.to_string().is_empty());
    }
}

/// Systems take them for themselves, so that an empty host in a request would reach what only this machine may.
#[test]
fn all_addresses_are_refused_as_a_target_and_a_name_that_resolves_to_them_too() {
    let refuses = |error: &Error, name: &str| {
        let text = error.to_string();
        assert!(matches!(error, Error::Address(AddressError::NoTarget(_))), "{error:?}");
        assert!(text.contains(name) && text.contains("write the host's name or IP address"), "{text}");
    };
    for text in ["tcp://:1", "tcp4://:1", "tcp6://:1", "tls://:443", "udp://:53", "tcp://0.0.0.0:1", "udp://[::]:1"] {
        let error = plan(text).build().expect_err(text);
        refuses(&error, &text.parse::<Address>().expect(text).to_string());
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    for text in ["tcp://blocked.example:1", "udp://blocked.example:1"] {
        let answers = [([0, 0, 0, 0], port).into(), ([0u16; 8], port).into()];
        let blocked = Resolver::new(move |_: &Address| Ok(answers.to_vec()));
        let client = plan(text).resolver(blocked).build().expect("a client");
        refuses(&client.connect(Duration::from_secs(10)).expect_err("nobody to connect to"), text);
    }
    listener.set_nonblocking(true).expect("a mode");
    assert!(listener.accept().is_err(), "nobody came");
}

#[test]
fn zero_timeouts_are_refused_later_too_and_change_nothing() {
    let client = plan("tcp://127.0.0.1:1").build().expect("a client");
    for set in [Client::set_read_timeout, Client::set_write_timeout] {
        assert!(matches!(set(&client, Some(Duration::ZERO)), Err(Error::Config { .. })));
        set(&client, Some(Duration::from_nanos(1))).expect("a time");
        set(&client, Some(Duration::MAX)).expect("a long time");
        set(&client, None).expect("for ever");
    }
}

#[test]
fn a_client_that_was_built_has_not_begun_anything() {
    let client = plan("tcp://127.0.0.1:1").build().expect("a client");
    assert!(!client.is_connected());
    assert_eq!((client.local_address(), client.peer_address()), (None, None));
    assert_eq!(client.address().to_string(), "tcp://127.0.0.1:1");
    assert!(format!("{client:?}").contains("127.0.0.1"));
}
