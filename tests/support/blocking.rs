//! What tests of reactors on threads of their own share: peers that block, and what callbacks told, to be waited for.
//!
//! Nothing sleeps: a test waits for what a callback tells, or for what a socket says, for [`PATIENCE`] at most.

use super::{Kind, PATIENCE, listening};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use windlass::{
    Address, ConnState, ListenConfig, Reason, Remote, Report, Server, ServerBuilder, ServerError, ServerEvent,
};

// --- what was told ------------------------------------------------------------------------------------------------

/// What callbacks told, in its order, from any thread.
#[derive(Clone)]
pub struct Tale<T>(Arc<(Mutex<Vec<T>>, Condvar)>);

impl<T> Default for Tale<T> {
    fn default() -> Tale<T> {
        Tale(Arc::default())
    }
}

impl<T: Clone + std::fmt::Debug> Tale<T> {
    pub fn tell(&self, told: T) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).push(told);
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<T> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn count(&self) -> usize {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until what was told so far will do, and returns it; fails the test if that takes too long.
    pub fn until(&self, what: &str, will_do: impl Fn(&[T]) -> bool) -> Vec<T> {
        let (told, changed) = &*self.0;
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(told, PATIENCE, |told| !will_do(told));
        let (told, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "waited in vain for {what}; told so far: {told:?}");
        told.clone()
    }

    /// Waits until so much was told.
    pub fn until_count(&self, what: &str, count: usize) -> Vec<T> {
        self.until(what, |told| told.len() >= count)
    }
}

/// Waits until something holds that nobody tells of; fails the test if that takes too long.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

// --- peers --------------------------------------------------------------------------------------------------------

/// A blocking socket; what takes too long is an error.
pub struct Plain(Socket);

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The client's end of a connection, with TLS or without. Dropping it closes the socket, and says nothing before.
pub enum Client {
    Plain(Plain),
    #[cfg(feature = "tls")]
    Tls(Box<windlass::rustls::StreamOwned<windlass::rustls::ClientConnection, Plain>>),
}

/// A name of its own for each Unix peer, so that they can be told apart.
fn peer_name() -> SockAddr {
    static PEERS: AtomicUsize = AtomicUsize::new(0);
    let name = format!("\0windlass-peer-{}-{}", std::process::id(), PEERS.fetch_add(1, Ordering::Relaxed));
    SockAddr::unix(name).expect("a short name")
}

fn place(address: &Address) -> SockAddr {
    match (address.ip(), address.path()) {
        (Some(ip), _) => SockAddr::from(ip),
        (None, Some(path)) => SockAddr::unix(path).expect("a short path"),
        (None, None) => panic!("{address} is no place to connect to"),
    }
}

/// A plain socket that is connected to `address`, whatever is spoken there.
///
/// # Errors
/// What the system says.
pub fn connect(address: &Address) -> io::Result<Socket> {
    let to = place(address);
    let socket = Socket::new(to.domain(), Type::STREAM, None)?;
    if to.domain() == Domain::UNIX {
        socket.bind(&peer_name())?;
    } else {
        // Else thousands of peers in TIME_WAIT leave no port 0 to those who listen next.
        socket.set_reuse_address(true)?;
        // Else a request behind the end of a handshake waits 40 ms for an acknowledgement.
        socket.set_tcp_nodelay(true)?;
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&to)?;
    Ok(socket)
}

impl Client {
    /// Connects, and shakes hands.
    pub fn dial(address: &Address) -> Client {
        Client::try_dial(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects, and shakes hands.
    ///
    /// # Errors
    /// What the system or TLS says.
    pub fn try_dial(address: &Address) -> io::Result<Client> {
        Client::over(Plain(connect(address)?), address)
    }

    /// A socket without TLS, whatever is spoken there.
    pub fn raw(address: &Address) -> Client {
        Client::Plain(Plain(connect(address).expect("a connection")))
    }

    /// Speaks on a socket what is spoken at `address`; with TLS its first words have been sent, and the rest of the handshake
    /// is done by what is read or written next.
    ///
    /// # Errors
    /// What TLS says.
    pub fn begin(plain: Plain, address: &Address) -> io::Result<Client> {
        #[cfg(feature = "tls")]
        if address.transport().is_tls() {
            let mut stream = super::security::blocking(plain);
            stream.conn.write_tls(&mut stream.sock)?;
            return Ok(Client::Tls(Box::new(stream)));
        }
        let _ = address;
        Ok(Client::Plain(plain))
    }

    /// Speaks on a socket what is spoken at `address`.
    ///
    /// # Errors
    /// What TLS says.
    pub fn over(plain: Plain, address: &Address) -> io::Result<Client> {
        #[cfg(feature = "tls")]
        if address.transport().is_tls() {
            let mut stream = super::security::blocking(plain);
            stream.conn.complete_io(&mut stream.sock)?;
            return Ok(Client::Tls(Box::new(stream)));
        }
        let _ = address;
        Ok(Client::Plain(plain))
    }

    fn socket(&self) -> &Socket {
        match self {
            Client::Plain(plain) => &plain.0,
            #[cfg(feature = "tls")]
            Client::Tls(stream) => &stream.sock.0,
        }
    }

    /// Where it connected from, as an address of the transport that it speaks.
    pub fn address(&self, kind: Kind) -> Address {
        let own = self.socket().local_addr().expect("an address");
        kind.of(match own.as_socket() {
            Some(ip) => Address::tcp(ip),
            None => Address::unix_abstract(own.as_abstract_namespace().expect("a name")).expect("a short name"),
        })
    }

    /// # Errors
    /// What the system or TLS says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Client::Plain(plain) => plain.write_all(bytes),
            #[cfg(feature = "tls")]
            Client::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.write(bytes).expect("a write");
    }

    /// # Errors
    /// What the system or TLS says.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Client::Plain(plain) => plain.read(buffer),
            #[cfg(feature = "tls")]
            Client::Tls(stream) => stream.read(buffer),
        }
    }

    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let (mut bytes, mut filled) = (vec![0; count], 0);
        while filled < count {
            match self.read(&mut bytes[filled..]).expect("a read") {
                0 => panic!("the end came after {filled} of {count} bytes"),
                more => filled += more,
            }
        }
        bytes
    }

    /// All that comes until the end; with TLS, until close_notify.
    ///
    /// # Errors
    /// The error that came instead of the end.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(all),
                more => all.extend_from_slice(&buffer[..more]),
            }
        }
    }

    /// Reads until it is over, in whatever way.
    pub fn read_to_close(&mut self) -> usize {
        let (mut all, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            match self.read(&mut buffer) {
                Ok(more @ 1..) => all += more,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("it is still open: {error}")
                }
                Ok(0) | Err(_) => return all,
            }
        }
    }

    pub fn echoes(&mut self, bytes: &[u8]) {
        self.send(bytes);
        assert_eq!(self.read_exact(bytes.len()), bytes);
    }

    /// Ends its output in order.
    pub fn finish(&mut self) {
        #[cfg(feature = "tls")]
        if let Client::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush().expect("a write");
        }
        self.socket().shutdown(Shutdown::Write).expect("a shutdown");
    }

    /// Ends in order and waits for the other side's end.
    pub fn close(mut self) {
        self.finish();
        self.read_to_end().expect("an end in order");
    }

    /// Closes with a reset (TCP).
    pub fn reset(self) {
        self.socket().set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

impl From<Socket> for Plain {
    fn from(socket: Socket) -> Plain {
        Plain(socket)
    }
}

/// A blocking datagram socket with a name of its own.
pub struct Shooter {
    socket: Socket,
}

impl Shooter {
    pub fn to(address: &Address) -> Shooter {
        let socket = match address.ip() {
            Some(ip) => {
                let socket = Socket::new(Domain::for_address(ip), Type::DGRAM, None).expect("a socket");
                socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("an address");
                socket
            }
            None => {
                let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).expect("a socket");
                socket.bind(&peer_name()).expect("a name");
                socket
            }
        };
        socket.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        let to = match (address.ip(), address.path()) {
            (Some(ip), _) => SockAddr::from(ip),
            (None, Some(path)) => SockAddr::unix(path).expect("a short path"),
            (None, None) => panic!("{address} is no place to send to"),
        };
        socket.connect(&to).expect("somebody there");
        Shooter { socket }
    }

    pub fn address(&self) -> Address {
        let own = self.socket.local_addr().expect("an address");
        match own.as_socket() {
            Some(ip) => Address::udp(ip),
            None => Address::unixgram_abstract(own.as_abstract_namespace().expect("a name")).expect("a short name"),
        }
    }

    pub fn send(&self, bytes: &[u8]) {
        assert_eq!(self.socket.send(bytes).expect("a send"), bytes.len());
    }

    pub fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 64 * 1024];
        let count = (&self.socket).read(&mut buffer).expect("a datagram");
        buffer.truncate(count);
        buffer
    }
}

// --- servers ------------------------------------------------------------------------------------------------------

/// A state, as it was told.
#[derive(Clone, Debug)]
pub struct Stated {
    pub thread: ThreadId,
    pub local: Address,
    pub remote: Option<Address>,
    pub state: ConnState,
}

/// An error, as it was told.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub text: String,
    /// Of a connection.
    pub reason: Option<Reason>,
    pub peer: Option<Address>,
    /// Of a callback that panicked.
    pub callback: Option<&'static str>,
}

impl Trouble {
    fn of(error: &ServerError) -> Trouble {
        let mut trouble = Trouble { text: error.to_string(), reason: None, peer: None, callback: None };
        match error {
            ServerError::Connection { peer, reason, .. } => {
                trouble.reason = Some(*reason);
                trouble.peer = peer.as_deref().cloned();
            }
            ServerError::CallbackPanicked { callback } => trouble.callback = Some(callback),
            _ => {}
        }
        trouble
    }
}

/// A place for a server's socket files, and all that its callbacks told.
pub struct Rig {
    pub states: Tale<Stated>,
    pub errors: Tale<Trouble>,
    pub events: Tale<ServerEvent>,
    dir: tempfile::TempDir,
    paths: AtomicUsize,
}

impl Default for Rig {
    fn default() -> Rig {
        Rig::new()
    }
}

impl Rig {
    pub fn new() -> Rig {
        Rig {
            states: Tale::default(),
            errors: Tale::default(),
            events: Tale::default(),
            dir: tempfile::tempdir().expect("a directory"),
            paths: AtomicUsize::new(0),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join(format!("socket{}", self.paths.fetch_add(1, Ordering::Relaxed)))
    }

    /// A free address to listen on.
    pub fn address(&self, kind: Kind) -> Address {
        if kind.is_unix() {
            return kind.of(Address::unix(self.path()).expect("a short path"));
        }
        kind.of("tcp://127.0.0.1:0".parse().expect("an address"))
    }

    /// A server's plan: so many reactors, and all that is told is kept.
    pub fn builder(&self, reactors: usize) -> ServerBuilder {
        let (states, errors, events) = (self.states.clone(), self.errors.clone(), self.events.clone());
        Server::builder()
            .engine_config(engine(reactors))
            .listen_config(listen_config())
            .on_error(move |error| errors.tell(Trouble::of(error)))
            .on_event(move |event| events.tell(event.clone()))
            .on_state(move |local, remote, state| {
                let (local, remote) = (local.clone(), remote.cloned());
                states.tell(Stated { thread: std::thread::current().id(), local, remote, state });
            })
    }

    /// Listens on one address of this kind, and returns the real one.
    pub fn listen(&self, builder: ServerBuilder, kind: Kind) -> (Server, Address) {
        let server = builder.address(self.address(kind)).build().expect("a server");
        server.listen().expect("it listens");
        let address = server.local_addresses().remove(0);
        (server, address)
    }

    /// So many times this state was told.
    pub fn stated(&self, state: ConnState) -> usize {
        self.states.all().iter().filter(|told| told.state == state).count()
    }

    pub fn until_stated(&self, state: ConnState, count: usize) {
        let what = format!("{count} times {state:?}");
        self.states.until(&what, |told| told.iter().filter(|told| told.state == state).count() >= count);
    }

    /// Reasons of all connections that came to a bad end.
    pub fn reasons(&self) -> Vec<Reason> {
        self.errors.all().iter().filter_map(|trouble| trouble.reason).collect()
    }

    /// Drains it, and checks that nothing is left of it.
    pub fn end(&self, server: &Server) -> Report {
        self.end_within(server, PATIENCE)
    }

    pub fn end_within(&self, server: &Server, drain: Duration) -> Report {
        let remotes = server.remotes();
        let report = server.shutdown(drain).expect("a report");
        self.check_gone(server, &remotes);
        report
    }

    /// Waits until it is told to be gone, and checks that nothing is left of it and that all was told in order.
    pub fn check_gone(&self, server: &Server, remotes: &[Remote]) {
        let events = self.events.until("the end", |told| told.contains(&ServerEvent::Gone));
        assert!(server.is_gone() && !server.is_running() && server.open_connections() == 0);
        for remote in remotes {
            assert_eq!(remote.connections(), 0, "a reactor that has stopped has no connections");
        }
        check_events(&events);
        check_states(&self.states.all());
        for address in server.local_addresses() {
            assert!(address.path().is_none_or(|path| !path.exists()), "{address} is left");
            assert!(address.transport().is_datagram() || connect(&address).is_err(), "{address} is served");
        }
    }
}

/// So many reactors.
pub fn engine(reactors: usize) -> windlass::EngineConfig {
    windlass::EngineConfig { reactors, ..Default::default() }
}

/// The tests' certificate, for addresses that are to speak TLS.
pub fn listen_config() -> ListenConfig {
    #[cfg(feature = "tls")]
    return listening(&"tls://127.0.0.1:0".parse().expect("an address"), ListenConfig::default());
    #[cfg(not(feature = "tls"))]
    listening(&"tcp://127.0.0.1:0".parse().expect("an address"), ListenConfig::default())
}

/// Listening, then what happened to it, Draining, Drained, Gone.
pub fn check_events(events: &[ServerEvent]) {
    let rank = |event: &ServerEvent| match event {
        ServerEvent::Listening(_) => 0,
        ServerEvent::AcceptPaused(..) | ServerEvent::AcceptResumed(_) => 1,
        ServerEvent::Draining => 2,
        ServerEvent::Drained(_) => 3,
        _ => 4,
    };
    let ranks: Vec<u8> = events.iter().map(rank).filter(|rank| *rank != 1).collect();
    assert!(ranks.is_sorted(), "{events:?}");
    assert!(ranks.ends_with(&[2, 3, 4]) && ranks.iter().filter(|rank| **rank > 1).count() == 3, "{events:?}");
    for (at, event) in events.iter().enumerate() {
        if let ServerEvent::Listening(_) = event {
            assert!(!events[..at].contains(event), "told twice: {event}");
        }
    }
}

/// What was told of each connection with a name follows the grammar, on one thread.
pub fn check_states(states: &[Stated]) {
    let mut names: Vec<&Address> = states.iter().filter_map(|told| told.remote.as_ref()).collect();
    names.sort_by_key(|name| name.to_string());
    names.dedup();
    for name in names {
        let told: Vec<&Stated> = states.iter().filter(|told| told.remote.as_ref() == Some(name)).collect();
        if name.transport().is_datagram() {
            continue;
        }
        let order: Vec<ConnState> = told.iter().map(|told| told.state).collect();
        let at = |state| order.iter().position(|other| *other == state);
        let count = |state| order.iter().filter(|other| **other == state).count();
        let fault = format!("{name}: {order:?}");
        // A peer's port may be used again.
        if count(ConnState::New) > 1 {
            assert_eq!(count(ConnState::New), count(ConnState::Close), "{fault}");
            continue;
        }
        assert_eq!((order.first(), order.last()), (Some(&ConnState::New), Some(&ConnState::Close)), "{fault}");
        for once in [ConnState::Handshake, ConnState::CloseRead, ConnState::CloseWrite, ConnState::Close] {
            assert!(count(once) <= 1, "{fault}");
        }
        assert_eq!(count(ConnState::Dial), 0, "{fault}");
        assert!(at(ConnState::Handshake).is_none_or(|at| at == 1), "{fault}");
        let last = |state| order.iter().rposition(|other| *other == state);
        assert!(at(ConnState::CloseRead).is_none_or(|end| last(ConnState::Read) < Some(end)), "{fault}");
        assert!(at(ConnState::CloseWrite).is_none_or(|end| last(ConnState::Write) < Some(end)), "{fault}");
        let is_tls = name.transport().is_tls();
        let talked = count(ConnState::Read) + count(ConnState::Write) > 0;
        assert!(!(is_tls && talked) || at(ConnState::Handshake) == Some(1), "{fault}");
        assert!(is_tls || at(ConnState::Handshake).is_none(), "{fault}");
        assert!(told.iter().all(|other| other.thread == told[0].thread), "{fault}");
        assert!(told.iter().all(|other| other.local == told[0].local), "{name}: {told:?}");
    }
}
