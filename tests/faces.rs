//! What is configured holds on every face: for reactors, `Client`, `BlockingLink`, `Connector` and in files of settings. Each
//! field is served, refused by name, or documented as without effect. One that is new breaks the build or a test here.
#![cfg(any(target_os = "linux", target_os = "android"))]

mod support;

use nix::sys::socket::{getsockopt, sockopt as nix_sockopt};
use rustix::net::sockopt;
use socket2::Socket;
use std::cell::RefCell;
use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::{Echo, Hooks, Kind, PATIENCE, World, dialling};
use windlass::{
    Address, Broadcast, Client, Conn, ConnectConfig, Connector, DatagramConfig, DatagramHandler, Engine, EngineConfig,
    Error, Fragmentation, IcmpErrors, Interface, Keepalive, Limits, Link, ListenConfig, Loopback, Multicast, Nodelay,
    Offload, Reactor, ReactorConfig, Reuse, SocketOptions, Stack,
};

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

/// The names of a struct's fields, as its `Debug` tells them.
fn names(value: &impl Debug) -> Vec<String> {
    let text = format!("{value:#?}");
    let own = text.lines().filter_map(|line| line.strip_prefix("    "));
    let named = own.filter(|line| !line.starts_with([' ', '}', ']', ')'])).filter_map(|line| line.split_once(": "));
    named.map(|(name, _)| name.to_owned()).collect()
}

// --- limits, for threads that wait --------------------------------------------------------------------------------

/// What a face does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Served,
    /// By an error that names it.
    Refused,
    /// And its documentation says so.
    Without,
}

use Place::{Refused, Served, Without};

/// Each limit, one that would be felt at once, and what `Client` and `BlockingLink` do with it.
type Limit = (&'static str, fn(&mut Limits), Place, Place);

const SOON: Duration = Duration::from_nanos(1);

const LIMITS: &[Limit] = &[
    ("inbox_bytes_max", |l| l.inbox_bytes_max = 1, Served, Served),
    ("outbox_bytes_max", |l| l.outbox_bytes_max = 512 * 1024, Served, Served),
    ("outbox_bytes_high", |l| l.outbox_bytes_high = 64 * 1024, Without, Without),
    ("outbox_bytes_low", |l| l.outbox_bytes_low = 0, Without, Without),
    ("connect_timeout", |l| l.connect_timeout = SOON, Served, Without),
    ("handshake_timeout", |l| l.handshake_timeout = SOON, Served, Served),
    ("write_stall_timeout", |l| l.write_stall_timeout = SOON, Refused, Without),
    ("idle_timeout", |l| l.idle_timeout = Some(SOON), Refused, Without),
    ("lifetime", |l| l.lifetime = Some(SOON), Refused, Without),
    ("linger_timeout", |l| l.linger_timeout = SOON, Refused, Without),
    ("linger_total", |l| l.linger_total = SOON, Refused, Without),
    ("bytes_per_turn", |l| l.bytes_per_turn = 1, Refused, Without),
    ("reads_per_turn", |l| l.reads_per_turn = 1, Refused, Without),
];

/// The comment above `item` in a file of the sources.
fn documentation(file: &str, item: &str) -> String {
    let text = std::fs::read_to_string(format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"))).expect("the sources");
    let end = text.lines().position(|line| line.trim_start().starts_with(item)).expect(item);
    let before: Vec<_> = text.lines().take(end).collect();
    let comment = before.iter().rev().take_while(|line| line.trim_start().starts_with(['/', '#']));
    comment.copied().collect::<Vec<_>>().join("\n")
}

/// Echoes over plain sockets until nobody asks.
fn echo_server() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = Address::tcp(listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            // Else the end of each piece waits for an acknowledgement.
            socket.set_nodelay(true).expect("TCP_NODELAY");
            std::thread::spawn(move || io::copy(&mut &socket, &mut &socket));
        }
    });
    at
}

fn exchange(mut stream: impl Read + Write) {
    let word = [7; 100_000];
    let mut came = vec![0; word.len()];
    for (piece, room) in word.chunks(10_000).zip(came.chunks_mut(10_000)) {
        stream.write_all(piece).expect("sent");
        stream.read_exact(room).expect("it comes back");
    }
    assert_eq!(came, word);
}

#[test]
fn each_limit_is_served_refused_or_documented_where_threads_wait() {
    let listed: Vec<_> = LIMITS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names(&Limits::default()), listed, "a field without a place");
    let at = echo_server();
    for (name, set, of_client, of_link) in LIMITS {
        let mut limits = Limits::default();
        set(&mut limits);
        let connect = ConnectConfig { limits: limits.clone(), ..ConnectConfig::default() };
        let built = Client::builder(at.clone()).connect_config(connect).read_timeout(Some(PATIENCE)).build();
        match of_client {
            Refused => assert!(built.expect_err(name).to_string().starts_with(name)),
            Served | Without => {
                let client = built.expect(name);
                let connected = client.connect(PATIENCE);
                if *name == "connect_timeout" {
                    let error = connected.expect_err("it is over at once").to_string();
                    assert!(error.ends_with("nobody answered within connect_timeout"), "{error}");
                } else {
                    connected.expect(name);
                    exchange(&client);
                }
            }
        }
        let socket = TcpStream::connect(at.ip().expect("an IP address")).expect("a connection");
        let link = Link::new(socket, limits).and_then(Link::into_blocking).expect(name);
        link.set_read_timeout(Some(PATIENCE));
        exchange(&link);
        let told = |place, file, item| {
            let told = documentation(file, item).contains(&format!("`{name}`"));
            assert!(told || place == Served, "{item} does not say what becomes of {name}");
        };
        told(*of_client, "client/builder.rs", "pub fn connect_config");
        told(*of_link, "blocking.rs", "pub struct BlockingLink");
    }
}

#[test]
fn as_much_output_waits_for_a_blocking_peer_as_was_said() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = Address::tcp(listener.local_addr().expect("an address"));
    for bytes in [60_000, 4096] {
        let limits = Limits {
            outbox_bytes_max: bytes,
            outbox_bytes_high: 1024,
            outbox_bytes_low: 0,
            inbox_bytes_max: 1024,
            ..Limits::default()
        };
        let config = ConnectConfig { limits, ..ConnectConfig::default() };
        let client = Client::builder(at.clone()).connect_config(config).write_timeout(Some(Duration::from_millis(50)));
        let client = client.build().expect("a client");
        client.connect(PATIENCE).expect("a connection");
        let (mut peer, _) = listener.accept().expect("a connection");
        // Nobody reads: what the kernel does not take waits here, and no more is taken.
        let mut taken = 0;
        while let Ok(more) = (&client).write(&[7; 64 * 1024]) {
            taken += more;
        }
        // What the kernel has comes, and what waits here does not by itself.
        peer.set_read_timeout(Some(Duration::from_millis(400))).expect("a time");
        let mut came = vec![0; 256 * 1024];
        while let Ok(more) = peer.read(&mut came) {
            taken -= more;
        }
        assert!((1..=bytes).contains(&taken), "{taken} bytes wait where {bytes} may");
    }
}

// --- options of sockets -------------------------------------------------------------------------------------------

/// What hooks were shown; tests that look take turns.
static SHOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    SHOWN.lock().expect("no panic").clear();
    turn
}

fn shown() -> Vec<String> {
    SHOWN.lock().expect("no panic").clone()
}

/// What the system says of a stream's socket.
fn of_stream(socket: &Socket, is_tcp: bool) -> String {
    let linger = socket.linger().expect("SO_LINGER");
    let buffers = (socket.recv_buffer_size().expect("SO_RCVBUF"), socket.send_buffer_size().expect("SO_SNDBUF"));
    if !is_tcp {
        return format!("{linger:?} {buffers:?}");
    }
    let probes = socket.keepalive().expect("SO_KEEPALIVE").then(|| {
        let idle = socket.tcp_keepalive_time().expect("TCP_KEEPIDLE");
        (
            idle,
            socket.tcp_keepalive_interval().expect("TCP_KEEPINTVL"),
            socket.tcp_keepalive_retries().expect("TCP_KEEPCNT"),
        )
    });
    let nodelay = socket.tcp_nodelay().expect("TCP_NODELAY");
    let user = socket.tcp_user_timeout().expect("TCP_USER_TIMEOUT");
    format!("{linger:?} {buffers:?} {nodelay} {probes:?} {user:?}")
}

fn show_tcp(socket: &Socket) -> io::Result<()> {
    SHOWN.lock().expect("no panic").push(of_stream(socket, true));
    Ok(())
}

fn show_unix(socket: &Socket) -> io::Result<()> {
    SHOWN.lock().expect("no panic").push(of_stream(socket, false));
    Ok(())
}

/// Options that are all others than by default, and what the system says of a socket that has them.
fn unusual(is_tcp: bool) -> (SocketOptions, String) {
    let second = Duration::from_secs(1);
    let options = SocketOptions {
        nodelay: Nodelay::Off,
        keepalive: Some(Keepalive { idle: 77 * second, interval: 7 * second, count: 3 }),
        receive_buffer_bytes: Some(50_000),
        send_buffer_bytes: Some(60_000),
        user_timeout: Some(20 * second),
        linger: Some(5 * second),
        prepare: Some(if is_tcp { show_tcp } else { show_unix }),
    };
    let SocketOptions { nodelay, keepalive, receive_buffer_bytes, send_buffer_bytes, user_timeout, linger, prepare } =
        options;
    let _ = prepare;
    // Linux doubles buffers.
    let buffers = (2 * receive_buffer_bytes.expect("said"), 2 * send_buffer_bytes.expect("said"));
    let expected = if is_tcp {
        let probes = keepalive.map(|keepalive| (keepalive.idle, keepalive.interval, keepalive.count));
        format!("{linger:?} {buffers:?} {} {probes:?} {user_timeout:?}", nodelay == Nodelay::On)
    } else {
        format!("{linger:?} {buffers:?}")
    };
    (options, expected)
}

#[test]
fn each_option_of_a_socket_reaches_connections_of_every_make() {
    for kind in [Kind::Tcp, Kind::Unix] {
        let _turn = turn();
        let (socket, expected) = unusual(kind == Kind::Tcp);
        let mut world = World::new();
        let accepted = Rc::new(RefCell::new(Vec::new()));
        let told = accepted.clone();
        let config = ListenConfig { socket, ..ListenConfig::default() };
        let address = world.listen(kind, config, move |conn: &Conn<'_>| {
            told.borrow_mut().push(of_stream(&socket2::SockRef::from(conn), kind == Kind::Tcp));
            Echo
        });
        assert_eq!(shown(), std::slice::from_ref(&expected), "the listener");
        let config = dialling(&address, ConnectConfig { socket, ..ConnectConfig::default() });
        world.connect(&address, config.clone(), Hooks::new());
        world.until("a connection", |_| accepted.borrow().len() == 1);
        let client = Client::builder(address.clone()).connect_config(config.clone()).build().expect("a client");
        client.connect(PATIENCE).expect("a connection");
        let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() }).expect("an engine");
        let connector = Connector::builder(address.clone()).connect_config(config);
        let connector = connector.start(engine.least_loaded(), |_: &Conn<'_>| Echo).expect("it starts");
        world.until("a third one", |_| accepted.borrow().len() == 3);
        connector.stop();
        assert_eq!(shown(), vec![expected.clone(); 4]);
        // A Unix listener hands its linger down to nobody, and needs not: close(2) waits for no Unix peer.
        let inherited = if kind == Kind::Tcp { expected } else { expected.replace("Some(5s)", "None") };
        assert_eq!(*accepted.borrow(), vec![inherited; 3]);
    }
}

#[test]
fn an_own_address_is_taken_or_refused_by_clients_of_every_make() {
    let dir = tempfile::tempdir().expect("a directory");
    let unix = Address::unix(dir.path().join("socket")).expect("a short path");
    let config = ConnectConfig { bind: "127.0.0.1:0".parse().ok(), ..ConnectConfig::default() };
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() }).expect("an engine");
    let refusals = [
        reactor.connect(&unix, config.clone(), Echo).map(drop),
        Client::builder(unix.clone()).connect_config(config.clone()).build().map(drop),
        Connector::builder(unix).connect_config(config).start(engine.least_loaded(), |_: &Conn<'_>| Echo).map(drop),
    ];
    for refused in refusals {
        let error = refused.expect_err("a Unix socket has no IP address");
        assert!(error.to_string().contains("ConnectConfig::bind"), "{error}");
    }
    // Datagrams: one of the peer's kind, and none for a socket that is not connected.
    let own = DatagramConfig { bind: Some(address("udp://127.0.0.1:0")), ..DatagramConfig::default() };
    let at = Address::unixgram(dir.path().join("datagrams")).expect("a short path");
    let refusals = [
        reactor.connect_datagrams(&at, own.clone(), Nothing).map(drop),
        Client::builder(at).datagram_config(own.clone()).build().map(drop),
        reactor.bind(&address("udp://127.0.0.1:0"), own, Nothing).map(drop),
    ];
    for refused in refusals {
        let error = refused.expect_err("it is of another kind");
        assert!(
            matches!(error, Error::Transport { .. }) && error.to_string().contains("DatagramConfig::bind"),
            "{error}"
        );
    }
}

// --- datagrams ----------------------------------------------------------------------------------------------------

struct Nothing;

impl DatagramHandler for Nothing {
    fn on_datagram(&mut self, _: &mut windlass::Datagrams<'_>, _: &windlass::Datagram<'_>) {}
}

/// What the system says of a datagram socket before it is bound.
fn show_datagrams(socket: &Socket) -> io::Result<()> {
    let is_v6 = socket.domain()? == socket2::Domain::IPV6;
    let is_v6_only = is_v6 && socket.only_v6()?;
    let mut said = vec![
        format!("buffers {} {}", socket.recv_buffer_size()?, socket.send_buffer_size()?),
        format!("linger {:?} reuse {} broadcast {}", socket.linger()?, socket.reuse_port()?, socket.broadcast()?),
    ];
    if is_v6 {
        said.push(format!("v6: hops {} {}", socket.unicast_hops_v6()?, socket.multicast_hops_v6()?));
        said.push(format!("class {} loop {}", sockopt::ipv6_tclass(socket)?, socket.multicast_loop_v6()?));
        said.push(format!("all {}", socket.multicast_all_v6()?));
    }
    if !is_v6_only {
        said.push(format!("v4: hops {} {}", socket.ttl_v4()?, socket.multicast_ttl_v4()?));
        said.push(format!("class {} loop {}", socket.tos_v4()?, socket.multicast_loop_v4()?));
        said.push(format!("all {} at {}", socket.multicast_all_v4()?, socket.multicast_if_v4()?));
        said.push(format!("fragments {:?}", sockopt::ip_mtu_discover(socket)? == sockopt::Ipv4PathMtuDiscovery::DONT));
    }
    said.push(format!("errors {}", getsockopt(socket, nix_sockopt::Ipv4RecvErr)?));
    SHOWN.lock().expect("no panic").push(said.join(", "));
    Ok(())
}

/// A configuration whose fields are all others than by default, and what the system says of a socket that has it.
fn of_datagrams(bound: &str) -> (DatagramConfig, String) {
    let config = DatagramConfig {
        socket: SocketOptions { prepare: Some(show_datagrams), ..unusual(true).0 },
        stack: Stack::Dual,
        reuse: Reuse::Port,
        unix_mode: 0o700,
        unix_group: None,
        bind: Some(address(bound)),
        bytes_max: 1000,
        queue_bytes_max: 2000,
        queue_datagrams_max: 30,
        send_timeout: Duration::from_secs(1),
        full_pause: Duration::from_millis(1),
        datagrams_per_turn: 5,
        gso: Offload::Off,
        gro: Offload::On,
        fragmentation: Fragmentation::Never,
        icmp_errors: IcmpErrors::Ignored,
        broadcast: Broadcast::Allowed,
        ttl: Some(7),
        tos: Some(0x20),
        multicast: Multicast {
            groups: Vec::new(),
            ttl: Some(5),
            loopback: Loopback::Off,
            interface: Interface::Address(Ipv4Addr::LOCALHOST),
        },
    };
    let mut expected = vec!["buffers 100000 120000", "linger Some(5s) reuse true broadcast true"];
    if bound != "udp4://:0" {
        expected.extend(["v6: hops 7 5", "class 32 loop false", "all false"]);
    }
    expected.extend(["v4: hops 7 5", "class 32 loop false", "all false at 127.0.0.1", "fragments false"]);
    expected.push("errors false");
    (config, expected.join(", "))
}

/// What a `Client` does with each field; those of reactors are all served.
const OF_CLIENTS: &[(&str, Place)] = &[
    ("socket", Served),
    ("stack", Served),
    ("reuse", Served),
    ("unix_mode", Served),
    ("unix_group", Served),
    ("bind", Served),
    ("bytes_max", Served),
    ("queue_bytes_max", Refused),
    ("queue_datagrams_max", Refused),
    ("send_timeout", Refused),
    ("full_pause", Served),
    ("datagrams_per_turn", Refused),
    ("gso", Without),
    ("gro", Served),
    ("fragmentation", Served),
    ("icmp_errors", Served),
    ("broadcast", Served),
    ("ttl", Served),
    ("tos", Served),
    ("multicast", Served),
];

#[test]
fn each_option_of_datagrams_reaches_sockets_of_every_make_or_is_documented() {
    let listed: Vec<_> = OF_CLIENTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names(&DatagramConfig::default()), listed, "a field without a place");
    for (name, place) in OF_CLIENTS {
        for (file, item) in
            [("client/builder.rs", "pub fn datagram_config"), ("config/datagram.rs", "pub struct Datagram")]
        {
            let is_told = documentation(file, item).contains(&format!("`{name}`"));
            assert!(is_told || *place == Served, "{item} does not say what becomes of {name}");
        }
    }
    for bound in ["udp4://:0", "udp://:0"] {
        let _turn = turn();
        let (config, expected) = of_datagrams(bound);
        let peer = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let to = Address::udp(peer.local_addr().expect("an address"));
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        reactor.bind(&address(bound), DatagramConfig { bind: None, ..config.clone() }, Nothing).expect("a socket");
        reactor.connect_datagrams(&to, config.clone(), Nothing).expect("a socket");
        // Of what a client refuses the first one is named; without any of it the rest is taken.
        let usual = DatagramConfig::default();
        let refusals: [(&str, DatagramConfig); 4] = [
            ("queue_bytes_max", DatagramConfig { queue_bytes_max: config.queue_bytes_max, ..usual.clone() }),
            (
                "queue_datagrams_max",
                DatagramConfig { queue_datagrams_max: config.queue_datagrams_max, ..usual.clone() },
            ),
            ("send_timeout", DatagramConfig { send_timeout: config.send_timeout, ..usual.clone() }),
            ("datagrams_per_turn", DatagramConfig { datagrams_per_turn: config.datagrams_per_turn, ..usual.clone() }),
        ];
        let refused = OF_CLIENTS.iter().filter(|(_, place)| *place == Refused).map(|(name, _)| *name);
        assert!(refused.eq(refusals.iter().map(|(name, _)| *name)), "each refusal is looked at");
        for (name, config) in refusals {
            let error = Client::builder(to.clone()).datagram_config(config).build().expect_err(name).to_string();
            assert!(error.starts_with(&format!("{name} cannot be ")), "{error}");
        }
        let config = DatagramConfig {
            queue_bytes_max: usual.queue_bytes_max,
            queue_datagrams_max: usual.queue_datagrams_max,
            send_timeout: usual.send_timeout,
            datagrams_per_turn: usual.datagrams_per_turn,
            ..config
        };
        let client = Client::builder(to).datagram_config(config).build().expect("a client");
        client.connect(PATIENCE).expect("a socket");
        assert_eq!(shown(), vec![expected; 3], "{bound}");
        (&client).write_all(b"hello").expect("sent");
        peer.set_read_timeout(Some(PATIENCE)).expect("a time");
        peer.recv(&mut [0; 10]).expect("it arrives");
    }
}

#[test]
fn a_clients_own_datagram_file_has_the_mode_that_was_asked_for() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let (peer, own) = (dir.path().join("peer"), dir.path().join("own"));
    let _peer = std::os::unix::net::UnixDatagram::bind(&peer).expect("a socket");
    let bind = Some(Address::unixgram(&own).expect("a short path"));
    let config = DatagramConfig { bind, unix_mode: 0o640, ..DatagramConfig::default() };
    let client = Client::builder(Address::unixgram(&peer).expect("a short path")).datagram_config(config);
    let client = client.build().expect("a client");
    client.connect(PATIENCE).expect("a socket");
    assert_eq!(std::fs::metadata(&own).expect("a file").permissions().mode() & 0o777, 0o640);
}

// --- files of settings --------------------------------------------------------------------------------------------

/// Whatever a file can say of limits, sockets and datagrams is read back as it was written, for servers and clients.
#[cfg(feature = "serde")]
#[test]
fn each_field_is_kept_by_a_file_or_documented_as_said_elsewhere() {
    use windlass::{ClientConfig, ServerConfig};
    let (socket, datagram) = (unusual(true).0, of_datagrams("udp://:0").0);
    // A hook is no text; what both kinds of sockets have is said once, for both.
    let socket = SocketOptions { prepare: None, ..socket };
    let common = DatagramConfig::default();
    let datagram = DatagramConfig {
        socket: common.socket,
        stack: common.stack,
        reuse: common.reuse,
        unix_mode: common.unix_mode,
        unix_group: common.unix_group,
        bind: common.bind,
        ..datagram
    };
    let mut limits = Limits::default();
    LIMITS.iter().for_each(|(_, set, ..)| set(&mut limits));
    limits.outbox_bytes_high = 100_000;
    limits.outbox_bytes_low = 1000;
    // A server connects to nobody.
    let of_server = Limits { connect_timeout: Limits::default().connect_timeout, ..limits.clone() };
    let server = ServerConfig { limits: of_server, socket, datagram: datagram.clone(), ..ServerConfig::default() };
    let server = server.address(address("tcp://:8080"));
    let text = toml::to_string(&server).expect("TOML");
    assert_eq!(toml::from_str::<ServerConfig>(&text).expect(&text), server);
    let client = ClientConfig { limits, socket, datagram, ..ClientConfig::new(address("tcp://127.0.0.1:8080")) };
    let text = toml::to_string(&client).expect("TOML");
    assert_eq!(toml::from_str::<ClientConfig>(&text).expect(&text), client);
    let error = toml::from_str::<ServerConfig>("address = 'tcp://:1'\nconnect-timeout = '1s'").expect_err("a client's");
    assert!(error.to_string().contains("connect-timeout"), "{error}");
}
