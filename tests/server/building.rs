//! What is refused before anything is started, and how a server begins.

use crate::support::blocking::{Client, Rig, Shooter, connect, listen_config};
use crate::support::{Echo, Kind, each_kind};
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;
use windlass::{
    Address, Conn, Datagram, DatagramConfig, DatagramHandler, Datagrams, EngineConfig, Error, ListenConfig,
    ReactorConfig, Report, Server, ServerBuilder, ServerEvent,
};

/// Datagrams in are datagrams out.
struct EchoDatagrams;

impl DatagramHandler for EchoDatagrams {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        sock.send_to(datagram.from, datagram.data).expect("room");
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn streams() -> ServerBuilder {
    Server::builder().address(address("tcp://127.0.0.1:0")).handler(|| |_: &Conn<'_>| Echo)
}

#[test]
fn whatever_cannot_work_is_refused_by_name_when_it_is_built() {
    let listen = ListenConfig::default;
    let tcp = || Server::builder().address(address("tcp://127.0.0.1:0"));
    let udp = || Server::builder().address(address("udp://127.0.0.1:0"));
    let engine = EngineConfig::default;
    let cases: [(&str, ServerBuilder); 15] = [
        ("handler", tcp()),
        ("address", Server::builder().handler(|| |_: &Conn<'_>| Echo)),
        ("handler", tcp().datagram_handler(|| EchoDatagrams)),
        ("datagram_handler", udp().handler(|| |_: &Conn<'_>| Echo)),
        ("datagram_handler", streams().address(address("udp://127.0.0.1:0"))),
        ("per_peer_max", streams().per_peer_max(0)),
        ("reactors", streams().engine_config(EngineConfig { reactors: 0, ..engine() })),
        ("reactors", streams().engine_config(EngineConfig { reactors: 1025, ..engine() })),
        ("name", streams().engine_config(EngineConfig { name: "a\0b".to_owned(), ..engine() })),
        ("connections_max", streams().engine_config(EngineConfig { connections_max: 0, ..engine() })),
        ("connections_max", streams().listen_config(ListenConfig { connections_max: 0, ..listen() })),
        (
            "events_per_turn",
            streams().engine_config(EngineConfig {
                reactor: ReactorConfig { events_per_turn: 0, ..ReactorConfig::default() },
                ..engine()
            }),
        ),
        ("unix_mode", streams().listen_config(ListenConfig { unix_mode: 0o1777, ..listen() })),
        ("unix_group", streams().listen_config(ListenConfig { unix_group: Some(u32::MAX), ..listen() })),
        ("bytes_max", streams().datagram_config(DatagramConfig { bytes_max: 0, ..DatagramConfig::default() })),
    ];
    for (field, builder) in cases {
        let error = builder.build().expect_err(field);
        let Error::Config { field: told, .. } = &error else { panic!("{field}: {error}") };
        assert_eq!(*told, field, "{error}");
        assert!(error.to_string().starts_with(&format!("{field} cannot be ")), "{error}");
    }
}

#[test]
fn an_address_that_asks_for_tls_needs_its_configuration() {
    for text in ["tls://127.0.0.1:0", "tls+unix:/nowhere/at/all"] {
        let error = streams().address(address(text)).build().expect_err(text);
        let Error::Transport { address, why } = &error else { panic!("{error}") };
        assert!(address.to_string() == text && (why.contains("`tls`")), "{error}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn one_configuration_serves_plain_text_and_tls() {
    let rig = Rig::new();
    let mut builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo);
    for kind in Kind::ALL {
        builder = builder.address(rig.address(*kind));
    }
    let server = builder.build().expect("a server");
    server.listen().expect("it listens");
    for address in server.local_addresses() {
        Client::dial(&address).echoes(b"hello");
    }
    rig.end(&server);
}

#[test]
fn a_server_that_has_not_begun_is_neither_running_nor_gone() {
    let server = streams().build().expect("a server");
    assert!(!server.is_running() && !server.is_gone());
    assert_eq!((server.open_connections(), server.local_addresses(), server.remotes().len()), (0, vec![], 0));
    assert!(server.snapshots().expect("nothing").is_empty());
    assert!(matches!(server.wait(Duration::ZERO), Err(Error::NotDriven)));
}

#[test]
fn all_addresses_are_told_in_their_order_with_their_real_ports() {
    let rig = Rig::new();
    let (path, gram) = (rig.address(Kind::Unix), Address::unixgram(rig.path()).expect("a short path"));
    let asked = [
        address("udp://127.0.0.1:0"),
        address("tcp://127.0.0.1:0"),
        gram.clone(),
        path.clone(),
        address("tcp://127.0.0.1:0"),
        address("udp://127.0.0.1:0"),
    ];
    let mut builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).datagram_handler(|| EchoDatagrams);
    for address in &asked {
        builder = builder.address(address.clone());
    }
    let server = builder.build().expect("a server");
    server.listen().expect("it listens");
    assert!(server.is_running());
    let real = server.local_addresses();
    assert_eq!(real.len(), asked.len());
    for (asked, real) in asked.iter().zip(&real) {
        assert_eq!(asked.transport(), real.transport());
        assert!(asked.ip().map_or(asked == real, |_| real.ip().is_some_and(|ip| ip.port() != 0)), "{real}");
    }
    let told: Vec<ServerEvent> = real.iter().cloned().map(ServerEvent::Listening).collect();
    assert_eq!(rig.events.all(), told);
    assert_eq!(server.open_connections(), 3, "each datagram socket counts as one");
    for address in &real {
        if address.transport().is_datagram() {
            let shooter = Shooter::to(address);
            shooter.send(b"hello");
            assert_eq!(shooter.receive(), b"hello");
        } else {
            Client::dial(address).echoes(b"hello");
        }
    }
    rig.end(&server);
    assert_eq!(server.local_addresses(), real, "they can be asked afterwards, too");
}

#[test]
fn if_one_address_is_taken_none_is_listened_on_and_listen_can_be_tried_again() {
    each_kind(|kind| {
        let rig = Rig::new();
        let owner = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let taken = Address::tcp(owner.local_addr().expect("an address"));
        // A port that was free a moment ago, so that it can be asked whether it is listened on.
        let first = match rig.address(kind) {
            first if kind.is_unix() => first,
            first => {
                let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("an address");
                Address::tcp(free).with_transport(first.transport()).expect("the same kind of place")
            }
        };
        let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo);
        let server = builder.address(first.clone()).address(taken.clone()).build().expect("a server");
        for tried in 1..=2 {
            let error = server.listen().expect_err("it is taken");
            let Error::Listen { address, source } = &error else { panic!("{error}") };
            assert_eq!((&**address, source.kind()), (&taken, std::io::ErrorKind::AddrInUse));
            assert!(connect(&first).is_err(), "the first is not listened on");
            assert!(first.path().is_none_or(|path| !path.exists()));
            assert!(!server.is_running() && !server.is_gone() && server.local_addresses().is_empty());
            let told = rig.errors.all();
            assert_eq!((told.len(), &told[tried - 1].text), (tried, &error.to_string()));
        }
        drop(owner);
        server.listen().expect("it is free");
        for address in server.local_addresses() {
            Client::dial(&address).echoes(b"hello");
        }
        rig.end(&server);
    });
}

#[test]
fn a_taken_datagram_address_leaves_nothing_behind_either() {
    let rig = Rig::new();
    let owner = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let taken = Address::udp(owner.local_addr().expect("an address"));
    let stream = rig.address(Kind::Unix);
    let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).datagram_handler(|| EchoDatagrams);
    let server = builder.address(stream.clone()).address(taken.clone()).build().expect("a server");
    let error = server.listen().expect_err("it is taken");
    assert!(error.to_string().starts_with(&format!("cannot listen on {taken}: ")), "{error}");
    assert!(!stream.path().expect("a path").exists());
    drop(owner);
    server.listen().expect("it is free");
    rig.end(&server);
}

#[test]
fn what_is_in_the_way_of_a_socket_file_is_an_error_and_stays() {
    let rig = Rig::new();
    let path = rig.path();
    std::fs::write(&path, b"precious").expect("a file");
    let unix = Address::unix(&path).expect("a short path");
    let server = rig.builder(1).handler(|| |_: &Conn<'_>| Echo).address(unix).build().expect("a server");
    let error = server.listen().expect_err("a file is in the way");
    assert!(matches!(error, Error::PathTaken { .. }), "{error}");
    assert_eq!(std::fs::read(&path).expect("the file"), b"precious");
}

#[test]
fn a_second_listen_is_an_error_and_disturbs_nothing() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(2).handler(|| |_: &Conn<'_>| Echo), kind);
        let mut client = Client::dial(&address);
        client.echoes(b"before");
        assert!(matches!(server.listen(), Err(Error::AlreadyStarted)));
        assert!(server.is_running());
        client.echoes(b"after");
        Client::dial(&address).echoes(b"and new ones");
        drop(client);
        rig.end(&server);
        assert!(matches!(server.listen(), Err(Error::ServerGone)));
        assert!(server.is_gone());
    });
}

#[test]
fn one_that_is_shut_down_before_it_begins_never_begins() {
    let rig = Rig::new();
    for end in [|server: &Server| server.shutdown(Duration::from_secs(9)), |server: &Server| server.close()] {
        let server = rig.builder(1).handler(|| |_: &Conn<'_>| Echo).address(rig.address(Kind::Unix));
        let server = server.build().expect("a server");
        assert_eq!(end(&server).expect("a report"), Report::default());
        assert!(server.is_gone() && !server.is_running());
        assert!(matches!(server.listen(), Err(Error::ServerGone)));
        assert_eq!(server.wait(Duration::ZERO).expect("a report"), Report::default());
        assert_eq!(end(&server).expect("the same again"), Report::default());
    }
}

#[test]
fn a_server_is_built_again_from_the_same_plan() {
    each_kind(|kind| {
        let rig = Rig::new();
        let plan = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).address(rig.address(kind));
        for _ in 0..3 {
            let server = plan.clone().build().expect("a server");
            server.listen().expect("it listens");
            let mut client = Client::dial(&server.local_addresses()[0]);
            client.echoes(b"hello");
            client.close();
            server.shutdown(Duration::from_secs(20)).expect("a report");
            assert!(server.is_gone());
        }
        let gone = |told: &[ServerEvent]| told.iter().filter(|told| **told == ServerEvent::Gone).count() == 3;
        rig.events.until("three ends", gone);
    });
}

#[test]
fn a_socket_file_gets_the_mode_that_was_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    for (mode, config) in [(0o770, listen_config()), (0o600, ListenConfig { unix_mode: 0o600, ..listen_config() })] {
        let rig = Rig::new();
        let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo).listen_config(config);
        let (server, address) = rig.listen(builder, Kind::Unix);
        let found = std::fs::metadata(address.path().expect("a path")).expect("a file");
        assert_eq!(found.permissions().mode() & 0o777, mode);
        rig.end(&server);
    }
}
