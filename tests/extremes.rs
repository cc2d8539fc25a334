//! Every number of every configuration at 0, 1 and its largest: it is refused by its name, or what it configures works.
//! A field that is new fails here until it has its place.
#![cfg(any(target_os = "linux", target_os = "android"))]

mod support;

use std::cell::RefCell;
use std::fmt::Debug;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::{Kind, PATIENCE, dialling, listening};
use windlass::{
    Address, AfterRequest, Backoff, BlockingConfig, Client, ClientConfig, Conn, ConnectConfig, Connector, Datagram,
    DatagramConfig, DatagramHandler, DatagramPeer, Datagrams, Engine, EngineConfig, Error, Group, Handler, Keepalive,
    Limits, Link, ListenConfig, Multicast, Reactor, ReactorConfig, Reason, Server, ServerConfig, SocketOptions,
};

// --- numbers ------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Zero,
    One,
    Max,
}

const EDGES: [Edge; 3] = [Edge::Zero, Edge::One, Edge::Max];

/// A type of numbers; of times the one is the shortest there is.
trait Number {
    fn at(edge: Edge) -> Self;
}

impl Number for usize {
    fn at(edge: Edge) -> usize {
        [0, 1, usize::MAX][edge as usize]
    }
}

impl Number for u32 {
    fn at(edge: Edge) -> u32 {
        [0, 1, u32::MAX][edge as usize]
    }
}

impl Number for u8 {
    fn at(edge: Edge) -> u8 {
        [0, 1, u8::MAX][edge as usize]
    }
}

impl Number for Duration {
    fn at(edge: Edge) -> Duration {
        [Duration::ZERO, SHORTEST, Duration::MAX][edge as usize]
    }
}

impl<T: Number> Number for Option<T> {
    fn at(edge: Edge) -> Option<T> {
        Some(T::at(edge))
    }
}

const SHORTEST: Duration = Duration::from_nanos(1);

/// How long to look whether something happens that need not.
const A_MOMENT: Duration = Duration::from_millis(300);

/// A field, and what sets it.
type Field<C> = (&'static str, fn(&mut C, Edge));

/// The names of a struct's fields, as its `Debug` tells them.
fn names(value: &impl Debug) -> Vec<String> {
    let text = format!("{value:#?}");
    let own = text
        .lines()
        .filter_map(|line| line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '}', ']', ')'])));
    own.filter_map(|line| line.split_once(": ")).map(|(name, _)| name.to_owned()).collect()
}

/// Each field is in the table, or among those that are no numbers.
fn is_complete<C: Debug>(value: &C, table: &[Field<C>], others: &[&str]) {
    let names = names(value);
    for name in &names {
        let is_known = table.iter().any(|(field, _)| field == name) || others.contains(&name.as_str());
        assert!(is_known, "the field {name} has no place in this test");
    }
    for name in table.iter().map(|(field, _)| field).chain(others) {
        assert!(names.iter().any(|field| field == name), "there is no field {name}");
    }
}

/// What became of a configuration.
#[derive(Debug)]
enum Outcome {
    Refused(Error),
    Works,
    /// It ended as its times say, before it could do anything.
    RanOut,
}

/// Runs each field at each edge. Only a time that is the shortest there is may run out.
fn walk<C: Default>(table: &[Field<C>], mut run: impl FnMut(C) -> Outcome) {
    for (field, set) in table {
        for edge in EDGES {
            let mut config = C::default();
            set(&mut config, edge);
            let ran = catch_unwind(AssertUnwindSafe(|| run(config)));
            match ran.unwrap_or_else(|_| panic!("{field} at {edge:?} panics")) {
                Outcome::Works => {}
                Outcome::Refused(Error::Config { field: told, value, why }) => {
                    let dashed = field.replace('_', "-");
                    let is_named = told.starts_with(field) || told.ends_with(&dashed);
                    let is_named = is_named || why.contains(field) || why.contains(&dashed);
                    assert!(is_named, "{field} at {edge:?} is refused as {told}, {value}: {why}");
                }
                Outcome::RanOut if edge == Edge::One => {}
                other => panic!("{field} at {edge:?}: {other:?}"),
            }
        }
    }
}

const LIMITS: &[Field<Limits>] = &[
    ("inbox_bytes_max", |c, e| c.inbox_bytes_max = usize::at(e)),
    ("outbox_bytes_max", |c, e| c.outbox_bytes_max = usize::at(e)),
    ("outbox_bytes_high", |c, e| c.outbox_bytes_high = usize::at(e)),
    ("outbox_bytes_low", |c, e| c.outbox_bytes_low = usize::at(e)),
    ("connect_timeout", |c, e| c.connect_timeout = Duration::at(e)),
    ("handshake_timeout", |c, e| c.handshake_timeout = Duration::at(e)),
    ("write_stall_timeout", |c, e| c.write_stall_timeout = Duration::at(e)),
    ("idle_timeout", |c, e| c.idle_timeout = Option::at(e)),
    ("lifetime", |c, e| c.lifetime = Option::at(e)),
    ("linger_timeout", |c, e| c.linger_timeout = Duration::at(e)),
    ("linger_total", |c, e| c.linger_total = Duration::at(e)),
    ("bytes_per_turn", |c, e| c.bytes_per_turn = usize::at(e)),
    ("reads_per_turn", |c, e| c.reads_per_turn = usize::at(e)),
];

fn probes(options: &mut SocketOptions) -> &mut Keepalive {
    options.keepalive.get_or_insert_default()
}

const SOCKET: &[Field<SocketOptions>] = &[
    ("keepalive", |c, e| probes(c).idle = Duration::at(e)),
    ("keepalive", |c, e| probes(c).interval = Duration::at(e)),
    ("keepalive", |c, e| probes(c).count = u32::at(e)),
    ("receive_buffer_bytes", |c, e| c.receive_buffer_bytes = Option::at(e)),
    ("send_buffer_bytes", |c, e| c.send_buffer_bytes = Option::at(e)),
    ("user_timeout", |c, e| c.user_timeout = Option::at(e)),
    ("linger", |c, e| c.linger = Option::at(e)),
];

const LISTEN: &[Field<ListenConfig>] = &[
    ("backlog", |c, e| c.backlog = u32::at(e)),
    ("accepts_per_turn", |c, e| c.accepts_per_turn = usize::at(e)),
    ("accepts_per_second", |c, e| c.accepts_per_second = Option::at(e)),
    ("connections_max", |c, e| c.connections_max = usize::at(e)),
    ("unix_mode", |c, e| c.unix_mode = u32::at(e)),
    ("unix_group", |c, e| c.unix_group = Option::at(e)),
    ("starved_pause", |c, e| c.starved_pause = Duration::at(e)),
];

const REACTOR: &[Field<ReactorConfig>] = &[
    ("events_per_turn", |c, e| c.events_per_turn = usize::at(e)),
    ("mailbox_commands_max", |c, e| c.mailbox_commands_max = usize::at(e)),
    ("mailbox_bytes_max", |c, e| c.mailbox_bytes_max = usize::at(e)),
    ("commands_per_turn", |c, e| c.commands_per_turn = usize::at(e)),
    ("connections_max", |c, e| c.connections_max = usize::at(e)),
    ("queued_bytes_max", |c, e| c.queued_bytes_max = Option::at(e)),
    ("handshakes_max", |c, e| c.handshakes_max = usize::at(e)),
    ("slow_callback", |c, e| c.slow_callback = Option::at(e)),
    ("handshake_budget", |c, e| c.handshake_budget = Duration::at(e)),
];

const ENGINE: &[Field<EngineConfig>] = &[
    ("reactors", |c, e| c.reactors = usize::at(e)),
    ("connections_max", |c, e| c.connections_max = usize::at(e)),
    ("queued_bytes_max", |c, e| c.queued_bytes_max = Option::at(e)),
];

const BLOCKING: &[Field<BlockingConfig>] = &[
    ("threads_max", |c, e| c.threads_max = usize::at(e)),
    ("stack_bytes", |c, e| c.stack_bytes = usize::at(e)),
    ("waiting_max", |c, e| c.waiting_max = usize::at(e)),
    ("timeout", |c, e| c.timeout = Option::at(e)),
];

const BACKOFF: &[Field<Backoff>] = &[
    ("first", |c, e| {
        c.first = Duration::at(e);
        c.max = c.max.max(c.first);
    }),
    ("max", |c, e| c.max = Duration::at(e)),
    ("stable_after", |c, e| c.stable_after = Duration::at(e)),
    ("spread", |c, e| c.spread = Duration::at(e)),
    ("attempts_max", |c, e| c.attempts_max = Option::at(e)),
];

const DATAGRAM: &[Field<DatagramConfig>] = &[
    ("unix_mode", |c, e| c.unix_mode = u32::at(e)),
    ("unix_group", |c, e| c.unix_group = Option::at(e)),
    ("bytes_max", |c, e| c.bytes_max = usize::at(e)),
    ("queue_bytes_max", |c, e| c.queue_bytes_max = usize::at(e)),
    ("queue_datagrams_max", |c, e| c.queue_datagrams_max = usize::at(e)),
    ("send_timeout", |c, e| c.send_timeout = Duration::at(e)),
    ("full_pause", |c, e| c.full_pause = Duration::at(e)),
    ("datagrams_per_turn", |c, e| c.datagrams_per_turn = usize::at(e)),
    ("ttl", |c, e| c.ttl = Option::at(e)),
    ("tos", |c, e| c.tos = Option::at(e)),
];

const MULTICAST: &[Field<Multicast>] = &[("ttl", |c, e| c.ttl = Option::at(e))];

#[test]
fn every_field_has_its_place_among_the_numbers_or_is_none() {
    is_complete(&Limits::default(), LIMITS, &[]);
    is_complete(&SocketOptions::default(), SOCKET, &["nodelay", "prepare"]);
    assert_eq!(names(&Keepalive::default()), ["idle", "interval", "count"]);
    let tls = if cfg!(feature = "tls") { &["tls"][..] } else { &[] };
    is_complete(
        &ListenConfig::default(),
        LISTEN,
        &[&["limits", "socket", "stack", "reuse", "prepare_accepted"], tls].concat(),
    );
    is_complete(&ConnectConfig::default(), &[], &[&["limits", "socket", "bind"], tls].concat());
    let threads = if cfg!(feature = "tls") { &["handshake_threads"][..] } else { &[] };
    is_complete(&ReactorConfig::default(), REACTOR, threads);
    is_complete(&EngineConfig::default(), ENGINE, &["name", "pinning", "placement", "reactor"]);
    is_complete(&BlockingConfig::default(), BLOCKING, &[]);
    is_complete(&Backoff::default(), BACKOFF, &[]);
    let others =
        ["socket", "stack", "reuse", "bind", "gso", "gro", "fragmentation", "icmp_errors", "broadcast", "multicast"];
    is_complete(&DatagramConfig::default(), DATAGRAM, &others);
    is_complete(&Multicast::default(), MULTICAST, &["groups", "loopback", "interface"]);
    assert_eq!(names(&Group::new([224, 0, 0, 1].into())), ["address", "source", "interface"]);
}

// --- streams ------------------------------------------------------------------------------------------------------

struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

/// Says a word and waits for it to come back.
struct Asks {
    word: &'static [u8],
    came: usize,
    ended: Rc<RefCell<Option<Reason>>>,
}

impl Handler for Asks {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        conn.write(self.word).expect("room");
    }
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        self.came += data.len();
        if self.came == self.word.len() {
            conn.close();
        }
        data.len()
    }
    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        let is_done = self.came == self.word.len();
        *self.ended.borrow_mut() = Some(if is_done { Reason::Local } else { reason });
    }
}

/// Echoes a word over a reactor, an accepted and a dialled connection so configured.
fn echoes(kind: Kind, reactor: ReactorConfig, listen: ListenConfig, connect: ConnectConfig) -> Outcome {
    let dir = tempfile::tempdir().expect("a directory");
    let place = if kind.is_unix() {
        Address::unix(dir.path().join("socket")).expect("a short path")
    } else {
        "tcp://127.0.0.1:0".parse().expect("an address")
    };
    let address = kind.of(place);
    let begun = (|| {
        let mut reactor = Reactor::new(reactor)?;
        let id = reactor.listen(&address, listening(&address, listen), |_: &Conn<'_>| Echo)?;
        let address = reactor.listener_address(id).expect("it listens");
        let ended = Rc::new(RefCell::new(None));
        let asks = Asks { word: b"x", came: 0, ended: ended.clone() };
        reactor.connect(&address, dialling(&address, connect), asks)?;
        Ok((reactor, ended))
    })();
    let (mut reactor, ended) = match begun {
        Ok(begun) => begun,
        // Of one connection that may be there the listener's side has none left.
        Err(error) => return Outcome::Refused(error),
    };
    let until = Instant::now() + PATIENCE;
    while ended.borrow().is_none() && Instant::now() < until {
        reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
    }
    assert_eq!(reactor.snapshot().panics, 0);
    let reason = *ended.borrow();
    match reason {
        Some(Reason::Local) => Outcome::Works,
        Some(Reason::Timeout(_) | Reason::PeerClosed | Reason::Reset | Reason::Unresponsive) => Outcome::RanOut,
        Some(Reason::Truncated) => Outcome::RanOut,
        other => panic!("{other:?}"),
    }
}

fn each_stream(mut scenario: impl FnMut(Kind)) {
    support::each_kind(&mut scenario);
}

#[test]
fn each_limit_of_a_connection_is_refused_or_served() {
    each_stream(|kind| {
        walk(LIMITS, |limits| {
            let listen = ListenConfig { limits, ..ListenConfig::default() };
            echoes(kind, ReactorConfig::default(), listen, ConnectConfig::default())
        });
        walk(LIMITS, |limits| {
            let connect = ConnectConfig { limits, ..ConnectConfig::default() };
            echoes(kind, ReactorConfig::default(), ListenConfig::default(), connect)
        });
    });
}

#[test]
fn each_option_of_a_socket_is_refused_or_served() {
    each_stream(|kind| {
        walk(SOCKET, |socket| {
            let listen = ListenConfig { socket, ..ListenConfig::default() };
            echoes(kind, ReactorConfig::default(), listen, ConnectConfig::default())
        });
        walk(SOCKET, |socket| {
            let connect = ConnectConfig { socket, ..ConnectConfig::default() };
            echoes(kind, ReactorConfig::default(), ListenConfig::default(), connect)
        });
    });
}

#[test]
fn each_number_of_a_listener_is_refused_or_served() {
    each_stream(|kind| {
        walk(LISTEN, |listen| match listen.unix_group {
            // Nobody but root may give a file away.
            Some(0 | 1) if !rustix::process::geteuid().is_root() => Outcome::Works,
            _ => echoes(kind, ReactorConfig::default(), listen, ConnectConfig::default()),
        });
    });
}

#[test]
fn each_number_of_a_reactor_is_refused_or_served() {
    each_stream(|kind| {
        walk(REACTOR, |reactor| {
            if reactor.connections_max == 1 {
                // The echo takes two.
                return Reactor::new(reactor).map_or_else(Outcome::Refused, |_| Outcome::Works);
            }
            echoes(kind, reactor, ListenConfig::default(), ConnectConfig::default())
        });
    });
}

/// Echoes over plain sockets until nobody asks.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(socket) = socket else { return };
            std::thread::spawn(move || std::io::copy(&mut &socket, &mut &socket));
        }
    });
    at
}

/// What an error of input or output is, if the time was too short.
fn ran_out(error: &std::io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::NotConnected => Outcome::RanOut,
        _ => panic!("{error}"),
    }
}

fn client_echoes(built: Result<Client, Error>, timeout: Duration) -> Outcome {
    let client = match built {
        Ok(client) => client,
        Err(error) => return Outcome::Refused(error),
    };
    match client.connect(timeout) {
        Ok(()) => {}
        Err(Error::Connect { source, .. }) if source.kind() == ErrorKind::TimedOut => return Outcome::RanOut,
        Err(error) => return Outcome::Refused(error),
    }
    let exchanged = (&client).write_all(b"x").and_then(|()| (&client).read_exact(&mut [0]));
    match exchanged {
        Ok(()) => Outcome::Works,
        Err(error) => ran_out(&error),
    }
}

#[test]
fn each_number_of_a_client_is_refused_or_served() {
    let at = Address::tcp(echo_server());
    let builder = || Client::builder(at.clone()).read_timeout(Some(PATIENCE)).write_timeout(Some(PATIENCE));
    walk(LIMITS, |limits| {
        let config = ConnectConfig { limits, ..ConnectConfig::default() };
        client_echoes(builder().connect_config(config).build(), PATIENCE)
    });
    walk(SOCKET, |socket| {
        let config = ConnectConfig { socket, ..ConnectConfig::default() };
        client_echoes(builder().connect_config(config).build(), PATIENCE)
    });
    #[derive(Default)]
    struct Times {
        read: Option<Duration>,
        write: Option<Duration>,
    }
    const TIMES: &[Field<Times>] =
        &[("read_timeout", |c, e| c.read = Option::at(e)), ("write_timeout", |c, e| c.write = Option::at(e))];
    walk(TIMES, |times| {
        let client = Client::builder(at.clone()).read_timeout(times.read).write_timeout(times.write);
        client_echoes(client.build(), PATIENCE)
    });
    for edge in EDGES {
        let timeout = Duration::at(edge);
        let outcome = client_echoes(builder().build(), timeout);
        assert!(matches!((edge, &outcome), (Edge::Max, Outcome::Works) | (Edge::Zero | Edge::One, Outcome::RanOut)));
        let client = builder().build().expect("a client");
        let once =
            client.once(&b"x"[..], AfterRequest::HalfClose, timeout, |answer| answer.read_to_end(&mut Vec::new()));
        assert_eq!(once.is_ok(), edge == Edge::Max, "{once:?}");
    }
}

#[test]
fn each_limit_of_a_blocking_link_is_refused_or_served() {
    let at = echo_server();
    walk(LIMITS, |limits| {
        let link = match Link::new(TcpStream::connect(at).expect("a connection"), limits).and_then(Link::into_blocking)
        {
            Ok(link) => link,
            Err(error) => return Outcome::Refused(error),
        };
        link.set_read_timeout(Some(PATIENCE));
        let exchanged = (&link).write_all(b"x").and_then(|()| (&link).read_exact(&mut [0]));
        exchanged.map_or_else(|error| ran_out(&error), |()| Outcome::Works)
    });
    for edge in EDGES {
        let link = Link::new(TcpStream::connect(at).expect("a connection"), Limits::default()).expect("a link");
        let link = link.into_blocking().expect("it blocks");
        link.set_read_timeout(Option::at(edge));
        link.set_write_timeout(Option::at(edge));
        let exchanged = (&link).write_all(b"x").and_then(|()| (&link).read_exact(&mut [0]));
        match exchanged {
            Ok(()) => {}
            Err(error) => assert!(edge != Edge::Max && matches!(ran_out(&error), Outcome::RanOut)),
        }
    }
}

// --- servers ------------------------------------------------------------------------------------------------------

/// Builds a server, has a word echoed and stops it.
fn serves(builder: windlass::ServerBuilder) -> Outcome {
    let builder = builder.address("tcp://127.0.0.1:0".parse().expect("an address"));
    let server = match builder.build() {
        Ok(server) => server,
        Err(error) => return Outcome::Refused(error),
    };
    if let Err(error) = server.listen() {
        return Outcome::Refused(error);
    }
    let at = server.local_addresses()[0].ip().expect("an IP address");
    let mut peer = TcpStream::connect(at).expect("a connection");
    peer.set_read_timeout(Some(PATIENCE)).expect("a time");
    peer.write_all(b"x").expect("room");
    let mut word = [0];
    let outcome = match peer.read(&mut word) {
        Ok(1) => Outcome::Works,
        Ok(_) => Outcome::RanOut,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Outcome::RanOut,
        Err(error) => panic!("{error}"),
    };
    drop(peer);
    server.shutdown(PATIENCE).expect("it stops");
    outcome
}

fn one_reactor() -> EngineConfig {
    EngineConfig { reactors: 1, ..EngineConfig::default() }
}

#[test]
fn each_number_of_a_server_is_refused_or_served() {
    walk(ENGINE, |engine| serves(Server::builder().engine_config(engine).handler(|| |_: &Conn<'_>| Echo)));
    walk(REACTOR, |reactor| {
        let engine = EngineConfig { reactor, ..one_reactor() };
        serves(Server::builder().engine_config(engine).handler(|| |_: &Conn<'_>| Echo))
    });
    walk(BLOCKING, |blocking| {
        let echo = |mut reader, mut writer| std::io::copy(&mut reader, &mut writer).map(drop);
        serves(Server::builder().engine_config(one_reactor()).blocking_handler(blocking, echo))
    });
    #[derive(Default)]
    struct PerPeer(usize);
    walk(&[("per_peer_max", |c: &mut PerPeer, e| c.0 = usize::at(e))], |PerPeer(max)| {
        serves(Server::builder().engine_config(one_reactor()).per_peer_max(max).handler(|| |_: &Conn<'_>| Echo))
    });
}

const OF_SERVERS: &[Field<ServerConfig>] = &[
    ("perm_file", |c, e| c.perm_file = u32::at(e)),
    ("group_perm", |c, e| c.group_perm = Option::at(e)),
    ("reactors", |c, e| c.reactors = usize::at(e)),
    ("connections_max", |c, e| c.connections_max = Option::at(e)),
    ("queued_bytes_max", |c, e| c.queued_bytes_max = Option::at(e)),
    ("per_peer_max", |c, e| c.per_peer_max = Option::at(e)),
    ("accepts_per_second", |c, e| c.accepts_per_second = Option::at(e)),
    ("handshakes_max", |c, e| c.handshakes_max = usize::at(e)),
    ("handshake_threads", |c, e| c.handshake_threads = Option::at(e)),
    ("backlog", |c, e| c.backlog = u32::at(e)),
    ("drain_timeout", |c, e| c.drain_timeout = Duration::at(e)),
];

#[test]
fn each_number_of_the_settings_is_refused_or_served() {
    let tls = if cfg!(feature = "aws-lc-rs") || cfg!(feature = "ring") { &["tls"][..] } else { &[] };
    let others = ["addresses", "placement", "pinning", "reuse", "stack", "limits", "socket", "datagram"];
    is_complete(&ServerConfig::default(), OF_SERVERS, &[&others[..], tls].concat());
    let run = |config: ServerConfig| {
        let config = ServerConfig {
            reactors: if config.reactors == ServerConfig::default().reactors { 1 } else { config.reactors },
            ..config
        };
        let config = config.address("tcp://127.0.0.1:0".parse().expect("an address"));
        match Server::builder().config(&config) {
            // `serves` adds an address of its own.
            Ok(builder) => serves(builder.handler(|| |_: &Conn<'_>| Echo)),
            Err(error) => Outcome::Refused(error),
        }
    };
    walk(OF_SERVERS, |config| {
        if config.handshake_threads.is_some() && cfg!(not(feature = "tls")) {
            return Outcome::Works;
        }
        run(config)
    });
    walk(LIMITS, |limits| run(ServerConfig { limits, ..ServerConfig::default() }));
    walk(SOCKET, |socket| run(ServerConfig { socket, ..ServerConfig::default() }));

    let at = Address::tcp(echo_server());
    struct Of(ClientConfig);
    impl Default for Of {
        fn default() -> Of {
            Of(ClientConfig::new("tcp://127.0.0.1:1".parse().expect("an address")))
        }
    }
    const OF_CLIENTS: &[Field<Of>] = &[
        ("read_timeout", |c, e| c.0.read_timeout = Option::at(e)),
        ("write_timeout", |c, e| c.0.write_timeout = Option::at(e)),
    ];
    let known =
        [&["address", "bind", "limits", "socket", "datagram", "read_timeout", "write_timeout"][..], tls].concat();
    assert_eq!(names(&Of::default().0).iter().filter(|name| !known.contains(&name.as_str())).count(), 0);
    let run = |config: ClientConfig| {
        let config = ClientConfig { address: at.clone(), ..config };
        client_echoes(Client::configured(&config).and_then(|builder| builder.build()), PATIENCE)
    };
    walk(OF_CLIENTS, |Of(config)| run(config));
    walk(LIMITS, |limits| run(ClientConfig { limits, ..Of::default().0 }));
}

#[test]
fn each_number_of_a_connector_is_refused_or_served() {
    let engine = Engine::start(one_reactor()).expect("an engine");
    let at = Address::tcp(echo_server());
    let run = |builder: windlass::ConnectorBuilder, patience: Duration| {
        let (tell, told) = std::sync::mpsc::channel();
        struct Tells(std::sync::mpsc::Sender<()>);
        impl Handler for Tells {
            fn on_open(&mut self, conn: &mut Conn<'_>) {
                conn.write(b"x").expect("room");
            }
            fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
                let _ = self.0.send(());
                data.len()
            }
        }
        let connector = match builder.start(engine.least_loaded(), move |_: &Conn<'_>| Tells(tell.clone())) {
            Ok(connector) => connector,
            Err(error) => return Outcome::Refused(error),
        };
        let echoed = told.recv_timeout(patience);
        connector.stop();
        if echoed.is_ok() { Outcome::Works } else { Outcome::RanOut }
    };
    walk(BACKOFF, |backoff| run(Connector::builder(at.clone()).backoff(backoff), PATIENCE));
    walk(BACKOFF, |backoff| {
        // One that never connects, and waits between its tries.
        let nobody = Address::tcp(TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address"));
        let (tell, told) = std::sync::mpsc::channel();
        let builder =
            Connector::builder(nobody).backoff(backoff).on_state(move |state| drop(tell.send(state.to_string())));
        match builder.start(engine.least_loaded(), |_: &Conn<'_>| Echo) {
            Ok(connector) => {
                let told = (0..3).map(|_| told.recv_timeout(PATIENCE)).collect::<Result<Vec<_>, _>>();
                connector.stop();
                told.map_or(Outcome::RanOut, |_| Outcome::Works)
            }
            Err(error) => Outcome::Refused(error),
        }
    });
    // Of limits those that a connector knows no field for are the connection's.
    walk(&LIMITS[4..6], |limits| {
        let patience = if limits.connect_timeout == SHORTEST { A_MOMENT } else { PATIENCE };
        let config = ConnectConfig { limits, ..ConnectConfig::default() };
        run(Connector::builder(at.clone()).connect_config(config), patience)
    });
    engine.shutdown(PATIENCE).expect("it stops");
}

// --- datagrams ----------------------------------------------------------------------------------------------------

struct EchoesDatagrams;

impl DatagramHandler for EchoesDatagrams {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        sock.send_to(datagram.from, datagram.data).expect("room");
    }
}

struct Awaits(Rc<RefCell<usize>>, DatagramPeer);

impl DatagramHandler for Awaits {
    fn on_bound(&mut self, sock: &mut Datagrams<'_>) {
        sock.send_to(&self.1, b"x").expect("room");
    }
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        *self.0.borrow_mut() += datagram.data.len();
    }
}

fn datagrams_echo(is_unix: bool, config: DatagramConfig) -> Outcome {
    let dir = tempfile::tempdir().expect("a directory");
    let place = |name: &str| match is_unix {
        true => Address::unixgram(dir.path().join(name)).expect("a short path"),
        false => "udp://127.0.0.1:0".parse().expect("an address"),
    };
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let id = match reactor.bind(&place("one"), config.clone(), EchoesDatagrams) {
        Ok(id) => id,
        Err(error) => return Outcome::Refused(error),
    };
    let is_short = config.send_timeout == SHORTEST;
    let to = DatagramPeer::resolve(&reactor.endpoint_address(id).expect("it is bound")).expect("a peer");
    let came = Rc::new(RefCell::new(0));
    if let Err(error) = reactor.bind(&place("two"), config, Awaits(came.clone(), to)) {
        return Outcome::Refused(error);
    }
    let until = Instant::now() + if is_short { A_MOMENT } else { PATIENCE };
    while *came.borrow() == 0 && Instant::now() < until {
        reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
    }
    assert_eq!(reactor.snapshot().panics, 0);
    if *came.borrow() == 1 { Outcome::Works } else { Outcome::RanOut }
}

#[test]
fn each_number_of_datagrams_is_refused_or_served() {
    for is_unix in [false, true] {
        let skips = |config: &DatagramConfig| {
            // Nobody but root may give a file away; and one with no permissions is sent to by root alone.
            let is_files = matches!(config.unix_group, Some(0 | 1)) || config.unix_mode < 0o200;
            is_unix && is_files && !rustix::process::geteuid().is_root()
        };
        walk(DATAGRAM, |config| if skips(&config) { Outcome::Works } else { datagrams_echo(is_unix, config) });
        walk(MULTICAST, |multicast| datagrams_echo(is_unix, DatagramConfig { multicast, ..DatagramConfig::default() }));
        walk(SOCKET, |socket| datagrams_echo(is_unix, DatagramConfig { socket, ..DatagramConfig::default() }));
    }
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = Address::udp(echo.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let mut bytes = [0; 100];
        while let Ok((count, from)) = echo.recv_from(&mut bytes) {
            let _ = echo.send_to(&bytes[..count], from);
        }
    });
    walk(DATAGRAM, |config| {
        let client = Client::builder(at.clone()).datagram_config(config).read_timeout(Some(PATIENCE));
        client_echoes(client.build(), PATIENCE)
    });
    walk(SOCKET, |socket| {
        let config = DatagramConfig { socket, ..DatagramConfig::default() };
        let client = Client::builder(at.clone()).datagram_config(config).read_timeout(Some(PATIENCE));
        client_echoes(client.build(), PATIENCE)
    });
}

// --- calls --------------------------------------------------------------------------------------------------------

#[test]
fn times_that_are_given_to_calls_may_be_the_longest_there_are() {
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let ran = Rc::new(RefCell::new(0));
    for edge in EDGES {
        let ran = ran.clone();
        reactor.after(Duration::at(edge), move |_| *ran.borrow_mut() += 1);
    }
    let remote = reactor.remote();
    reactor
        .listen(&"tcp://127.0.0.1:0".parse().expect("an address"), ListenConfig::default(), |_: &Conn<'_>| Echo)
        .expect("it listens");
    while *ran.borrow() < 2 {
        reactor.poll_once(Some(Duration::MAX)).expect("a turn");
    }
    assert!(remote.health().is_responsive(Duration::MAX));
    reactor.shutdown(Duration::MAX);
    while !matches!(reactor.poll_once(Some(Duration::MAX)).expect("a turn"), windlass::Status::Stopped(_)) {}
    assert_eq!(*ran.borrow(), 2);
    remote.wait(Duration::MAX).expect("it has stopped");

    let engine = Engine::start(EngineConfig { reactors: 2, ..EngineConfig::default() }).expect("an engine");
    engine.shutdown(Duration::MAX).expect("it stops");
    engine.wait(Duration::MAX).expect("it has stopped");
    let builder = Server::builder().engine_config(one_reactor()).handler(|| |_: &Conn<'_>| Echo);
    let server = builder.address("tcp://127.0.0.1:0".parse().expect("an address")).build().expect("a server");
    server.listen().expect("it listens");
    server.shutdown(Duration::MAX).expect("it stops");
    server.wait(Duration::MAX).expect("it has stopped");
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn numbers_of_tls_are_refused_or_served() {
    for edge in EDGES {
        let threads = windlass::tls::HandshakeThreads::new(usize::at(edge));
        assert_eq!(threads.is_ok(), edge == Edge::One);
        if let Err(error) = threads {
            assert!(error.to_string().starts_with("threads"), "{error}");
        }
        let pem = support::security::certificate_pem();
        let client =
            windlass::ClientTls::builder().roots(windlass::tls::Pem::bytes(pem)).resumption(usize::at(edge)).build();
        assert_eq!(client.is_ok(), edge != Edge::Max);
        if let Err(error) = client {
            assert!(error.to_string().starts_with("resumption"), "{error}");
        }
    }
}
