//! What the integration tests share: a world with one reactor on the test's own thread, peers, and a recorder of
//! callbacks.
//!
//! Everything is single-threaded: a test drives the reactor and its peers in turn, so nothing sleeps. A handler given to
//! [`World::listen`] or [`World::connect`] is wrapped in a [`Recorder`], which checks the callback grammar of ARCHITECTURE.md at every
//! call; when the world ends it checks that `on_close` came exactly once for every handler.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its own part of it")]

pub mod blocking;
mod book;
mod hooks;
mod peer;
pub mod post;
mod record;
#[cfg(feature = "tls")]
pub mod security;
mod skips;
pub mod strangers;

pub use hooks::Hooks;
pub use peer::Peer;
use record::Recording;
pub use record::{Heard, Log, Recorder, Said};
use rustix::net::SocketAddrUnix;
pub use skips::skip;
use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use windlass::{
    Accept, Address, Bytes, Conn, ConnId, ConnectConfig, Error, Handler, ListenConfig, ListenerId, Reactor,
    ReactorConfig, Reason, Status, Transport,
};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The transports over which every stream scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Unix,
    #[cfg(feature = "tls")]
    Tls,
    #[cfg(feature = "tls")]
    TlsUnix,
}

impl Kind {
    pub const ALL: &[Kind] = &[
        Kind::Tcp,
        Kind::Unix,
        #[cfg(feature = "tls")]
        Kind::Tls,
        #[cfg(feature = "tls")]
        Kind::TlsUnix,
    ];

    /// Whether its sockets are Unix sockets, which know no reset.
    pub fn is_unix(self) -> bool {
        match self {
            Kind::Tcp => false,
            Kind::Unix => true,
            #[cfg(feature = "tls")]
            Kind::Tls => false,
            #[cfg(feature = "tls")]
            Kind::TlsUnix => true,
        }
    }

    pub fn is_tls(self) -> bool {
        !matches!(self, Kind::Tcp | Kind::Unix)
    }

    /// An address of sockets, as this kind is written.
    pub fn of(self, address: Address) -> Address {
        let transport = match (self.is_tls(), self.is_unix()) {
            (false, _) => return address,
            (true, false) => Transport::Tls,
            (true, true) => Transport::TlsUnix,
        };
        address.with_transport(transport).expect("the same kind of place")
    }
}

/// Whether so many bytes on a socket can have carried so many of the handlers': exactly those, or with TLS a handshake
/// of each connection and a little for each record more.
pub fn carried(kind: Kind, on_socket: u64, bytes: u64, connections: u64) -> bool {
    if kind.is_tls() {
        on_socket > bytes && on_socket < bytes + bytes / 64 + connections * 4096
    } else {
        on_socket == bytes
    }
}

/// The configuration of a listener at `address`, with TLS if it is to speak that.
pub fn listening(address: &Address, config: ListenConfig) -> ListenConfig {
    #[cfg(feature = "tls")]
    if config.tls.is_none() && address.transport().is_tls() {
        return ListenConfig { tls: Some(security::server()), ..config };
    }
    let _ = address;
    config
}

/// The configuration of a connect to `address`, with TLS if it is to speak that.
pub fn dialling(address: &Address, config: ConnectConfig) -> ConnectConfig {
    #[cfg(feature = "tls")]
    if config.tls.is_none() && address.transport().is_tls() {
        return ConnectConfig { tls: Some(security::client()), ..config };
    }
    let _ = address;
    config
}

/// Runs a scenario over every transport; the output of a failed one names it.
pub fn each_kind(scenario: impl FnMut(Kind)) {
    over(Kind::ALL, scenario);
}

/// Runs a scenario over every transport, over all of them at once: one that mostly waits for time to pass.
pub fn each_kind_at_once(scenario: impl Fn(Kind) + Sync) {
    at_once(Kind::ALL, scenario);
}

/// Runs a scenario with every one of `cases`, each on a thread of its own; the output of a failed one names it.
pub fn at_once<T: Copy + Debug + Send + Sync>(cases: &[T], scenario: impl Fn(T) + Sync) {
    let scenario = &scenario;
    std::thread::scope(|scope| {
        let run = |case: &T| {
            let case = *case;
            let name = format!("{case:?}");
            std::thread::Builder::new().name(name).spawn_scoped(scope, move || scenario(case)).expect("a thread")
        };
        let threads: Vec<_> = cases.iter().map(run).collect();
        let failed =
            |(thread, case): (ScopedJoinHandle<'_, ()>, &T)| thread.join().is_err().then(|| format!("{case:?}"));
        let failed: Vec<_> = threads.into_iter().zip(cases).filter_map(failed).collect();
        assert!(failed.is_empty(), "failed over {}", failed.join(", "));
    });
}

/// Runs a scenario over the transports without TLS, for which `why` is the reason.
pub fn each_plain_kind(why: &str, scenario: impl FnMut(Kind)) {
    eprintln!("not over TLS: {why}");
    over(&[Kind::Tcp, Kind::Unix], scenario);
}

fn over(kinds: &[Kind], mut scenario: impl FnMut(Kind)) {
    for kind in kinds.iter().copied() {
        eprintln!("over {kind:?}:");
        scenario(kind);
    }
}

/// Open descriptors of this process; means something only in a test that runs [`alone`].
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Waits until so many descriptors are open: a thread that looked a name up may hold one for a moment longer.
pub fn descriptors_become(count: usize) {
    let since = Instant::now();
    while descriptors() != count {
        assert!(since.elapsed() < PATIENCE, "{} descriptors, and not {count}", descriptors());
        std::thread::yield_now();
    }
}

/// Runs the body of the test `name` in a process of its own.
pub fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var("WINDLASS_ALONE").is_ok_and(|alone| alone == name) {
        return body();
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("our own path"));
    let command = command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env("WINDLASS_ALONE", name);
    let output = command.output().expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

// --- socket files -------------------------------------------------------------------------------------------------

/// A file's permissions, not those of what a link leads to.
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

/// A file's number, not that of what a link leads to.
pub fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).expect("a file").ino()
}

/// The names that a Unix peer may bind its own socket to, up to the longest of each sort, and the address that windlass
/// has for each. A path of 108 bytes fills `sun_path`, unix(7): no NUL ends it, and the kernel reports one byte more than
/// `sockaddr_un` holds.
pub fn names_of_peers(dir: &Path) -> Vec<(SocketAddrUnix, Address)> {
    let dir = dir.to_str().expect("a plain path").trim_end_matches('/');
    let path = |bytes: usize| PathBuf::from(format!("{dir}/{}", "x".repeat(bytes - dir.len() - 1)));
    let at_path = |path: &Path| SocketAddrUnix::new(path).expect("a path");
    let at_name = |name: &[u8]| SocketAddrUnix::new_abstract_name(name).expect("a name");
    // The longest abstract name, of this test's own.
    let mut longest = format!("{dir} ").into_bytes();
    longest.resize(107, b'y');
    let with_nuls = [&longest[..60], b"\0\0"].concat();
    vec![
        (at_name(&with_nuls), Address::unix_abstract(&with_nuls).expect("a name")),
        (at_path(&path(108)), Address::unix_unnamed()),
        (at_path(&path(107)), Address::unix(path(107)).expect("the longest path")),
        (at_name(&longest), Address::unix_abstract(&longest).expect("the longest name")),
    ]
}

/// Nothing but a socket that nobody has open is replaced: `bind` tries every other kind of file, and links to such
/// sockets as `open` makes.
pub fn refuses_what_is_in_the_way<S, T: Debug>(
    world: &mut World,
    open: fn(&Path) -> io::Result<S>,
    bind: impl Fn(&mut World, &Path) -> Result<T, Error>,
) {
    let [file, directory, live, stale, fifo] =
        ["file", "directory", "live", "stale", "fifo"].map(|name| world.path(name));
    fs::write(&file, b"precious").expect("a file");
    fs::create_dir(&directory).expect("a directory");
    let _live = open(&live).expect("a socket");
    drop(open(&stale).expect("a socket"));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a fifo");
    let nothing = world.path("nothing");
    let links = [("to file", &file), ("to live", &live), ("to stale", &stale), ("to nothing", &nothing)];
    let links = links.map(|(name, target)| {
        let link = world.path(name);
        symlink(target, &link).expect("a link");
        (link, "symbolic link")
    });
    let others = [(file.clone(), "file"), (directory, "directory"), (fifo, "not a socket")];
    for (path, what) in others.into_iter().chain(links) {
        let before = inode(&path);
        let error = bind(world, &path).expect_err(what);
        assert!(matches!(error, Error::PathTaken { .. }), "{}: {error}", path.display());
        let text = error.to_string();
        assert!(text.contains(what) && text.contains(&path.display().to_string()), "{text}");
        assert_eq!(inode(&path), before, "{} was replaced", path.display());
    }
    assert_eq!(fs::read(&file).expect("the file"), b"precious");
    assert!(stale.exists() && live.exists() && !nothing.exists());
    assert_eq!(world.reactor().connections(), 0);
}

/// Of four who start at once on a dead socket that `open` makes, one binds it and the others are told that it is in use.
pub fn one_of_many_starters_wins(
    open: fn(&Path) -> io::Result<()>,
    bind: impl Fn(&mut World, &Path, u32) -> Result<(), Error> + Sync,
) {
    let folder = tempfile::tempdir().expect("a folder");
    for round in 0..40 {
        let path = folder.path().join(format!("race-{round}.sock"));
        open(&path).expect("a socket that goes stale");
        let start = std::sync::Barrier::new(4);
        let starter = || {
            let mut world = World::new();
            start.wait();
            let bound = bind(&mut world, &path, 0o770);
            // Nobody leaves before all have tried.
            start.wait();
            match bound {
                Ok(()) => 1,
                Err(Error::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => 0,
                Err(error) => panic!("{error}"),
            }
        };
        let won: usize = std::thread::scope(|scope| {
            let starters: Vec<_> = (0..4).map(|_| scope.spawn(starter)).collect();
            starters.into_iter().map(|starter| starter.join().expect("a starter")).sum()
        });
        assert_eq!(won, 1, "round {round}");
    }
}

// --- handlers -----------------------------------------------------------------------------------------------------

/// Bytes in are bytes out.
pub struct Echo;

impl Handler for Echo {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

/// Takes all input and does nothing else.
pub struct Sink;

impl Handler for Sink {
    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }
}

// --- the world ----------------------------------------------------------------------------------------------------

/// A reactor on this thread, a directory for its socket files, and the record of its callbacks.
pub struct World {
    reactor: Option<Reactor>,
    pub log: Log,
    pub posts: post::PostLog,
    dir: tempfile::TempDir,
    paths: usize,
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl World {
    pub fn new() -> World {
        World::with(ReactorConfig::default())
    }

    pub fn with(config: ReactorConfig) -> World {
        #[cfg(feature = "tls")]
        let config = security::elsewhere(config);
        let reactor = Some(Reactor::new(config).expect("a reactor"));
        World {
            reactor,
            log: Log::default(),
            posts: post::PostLog::default(),
            dir: tempfile::tempdir().expect("a directory"),
            paths: 0,
        }
    }

    /// The reactor; panics after [`World::drop_reactor`].
    pub fn reactor(&mut self) -> &mut Reactor {
        self.reactor.as_mut().expect("the reactor lives")
    }

    /// Drops the reactor, the record stays.
    pub fn drop_reactor(&mut self) {
        self.reactor = None;
    }

    /// A path in this world's directory.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// A free address to listen on.
    pub fn free_address(&mut self, kind: Kind) -> Address {
        if kind.is_unix() {
            self.paths += 1;
            return kind.of(Address::unix(self.path(&format!("socket{}", self.paths))).expect("a short path"));
        }
        kind.of("tcp://127.0.0.1:0".parse().expect("an address"))
    }

    /// Listens on a free address and tells the real one; everything of it is recorded.
    pub fn listen(&mut self, kind: Kind, config: ListenConfig, accept: impl Accept) -> Address {
        let address = self.free_address(kind);
        let id = self.try_listen(&address, config, accept).expect("a listener");
        self.reactor().listener_address(id).expect("it listens")
    }

    /// Listens on `address`; everything of it is recorded.
    pub fn try_listen(
        &mut self,
        address: &Address,
        config: ListenConfig,
        accept: impl Accept,
    ) -> Result<ListenerId, Error> {
        let log = self.log.clone();
        let config = listening(address, config);
        self.reactor().listen(address, config, Recording { accept, log })
    }

    /// A maker of which everything is recorded, for calls that these do not make.
    pub fn record_accept<A: Accept>(&self, accept: A) -> impl Accept + use<A> {
        Recording { accept, log: self.log.clone() }
    }

    /// Begins to connect from the reactor with a recorded handler.
    pub fn connect(&mut self, address: &Address, config: ConnectConfig, handler: impl Handler) -> ConnId {
        let handler = self.log.record(handler);
        let config = dialling(address, config);
        self.reactor().connect(address, config, handler).expect("a connect that begins")
    }

    /// One turn that waits at most a millisecond, and a look at the grammar.
    pub fn turn(&mut self) -> Status {
        let status = self.reactor().poll_once(Some(Duration::from_millis(1))).expect("a turn");
        self.log.check();
        self.posts.check();
        #[cfg(feature = "tls")]
        security::pump_all();
        status
    }

    /// So many turns.
    pub fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.turn();
        }
    }

    /// Turns until the condition holds; fails the test, naming `what`, if that takes too long.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&mut World) -> bool) {
        let since = Instant::now();
        while !condition(self) {
            assert!(since.elapsed() < PATIENCE, "waited in vain for {what}; closed so far: {:?}", self.log.reasons());
            self.turn();
        }
    }

    /// Turns until `count` connections are open, in the handlers' eyes.
    pub fn until_open(&mut self, count: usize) {
        self.until("connections to be open", |world| world.log.open() == count);
    }

    /// Turns until the reactor has no connection, and says why they ended.
    pub fn until_empty(&mut self) -> Vec<Reason> {
        self.until("no connection to be left", |world| world.reactor().connections() == 0);
        self.log.reasons()
    }

    /// Queues bytes on the connection of a handler, from outside.
    pub fn send(&mut self, serial: usize, bytes: impl Into<Bytes>) {
        let id = self.log.id(serial);
        self.reactor().remote().send(id, bytes.into()).expect("a send");
    }

    /// Connects a peer; the kernel completes the connection, the reactor need not turn.
    pub fn dial(&mut self, address: &Address) -> Peer {
        Peer::dial(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let (Some(reactor), false) = (&self.reactor, std::thread::panicking()) {
            // Whatever began lives, or has ended and was told.
            let counted = reactor.snapshot();
            let begun = counted.accepted + counted.dialled + counted.adopted + counted.bound;
            let ended = counted.closed_total() + counted.failed;
            assert_eq!(begun, ended + reactor.connections() as u64, "{counted:?}");
        }
        self.reactor = None;
        if !std::thread::panicking() {
            self.log.check_over();
            self.posts.check_over();
        }
    }
}
