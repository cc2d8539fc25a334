//! What a client talks to here: listeners that are served by hand, and a diary of what the client told.
//!
//! A [`Diary`] checks the grammar of states whenever it is dropped, without being asked.

use crate::support::blocking::Tale;
use crate::support::{Kind, PATIENCE, dialling};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use windlass::{Address, Client, ClientBuilder, ConnState, ConnectConfig, Error, Reason};

// --- listeners ----------------------------------------------------------------------------------------------------

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    V4,
    V6,
    Path,
    Name,
}

/// A listener of one kind.
pub(crate) struct Host {
    pub(crate) kind: Kind,
    pub(crate) address: Address,
    listener: Socket,
    _dir: tempfile::TempDir,
}

/// A number that no other socket of these tests has.
pub(crate) fn serial() -> usize {
    static SERIAL: AtomicUsize = AtomicUsize::new(0);
    SERIAL.fetch_add(1, Ordering::Relaxed)
}

/// A name in Linux's abstract namespace.
pub(crate) fn free_name() -> Vec<u8> {
    format!("windlass-client-{}-{}", std::process::id(), serial()).into_bytes()
}

/// Any port of this host's own addresses.
pub(crate) fn loopback(place: Place) -> SocketAddr {
    let ip: IpAddr = if place == Place::V6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    SocketAddr::new(ip, 0)
}

impl Host {
    /// The plainest place of each kind: IPv4, or a path.
    pub(crate) fn new(kind: Kind) -> Host {
        Host::at(kind, if kind.is_unix() { Place::Path } else { Place::V4 }, 128)
    }

    pub(crate) fn at(kind: Kind, place: Place, backlog: i32) -> Host {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("socket");
        let name = free_name();
        let at = match place {
            Place::V4 | Place::V6 => SockAddr::from(loopback(place)),
            Place::Path => SockAddr::unix(&path).expect("a short path"),
            Place::Name => {
                use std::os::unix::ffi::OsStrExt;
                SockAddr::unix(std::ffi::OsStr::from_bytes(&[b"\0", &name[..]].concat())).expect("a short name")
            }
        };
        let listener = Socket::new(at.domain(), Type::STREAM, None).expect("a socket");
        listener.bind(&at).expect("a free place");
        listener.listen(backlog).expect("a listener");
        // accept(2) keeps to it, too.
        listener.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        let address = match place {
            Place::V4 | Place::V6 => {
                let ip = listener.local_addr().expect("an address").as_socket().expect("an IP address");
                Address::tcp(ip)
            }
            Place::Path => Address::unix(&path).expect("a short path"),
            Place::Name => Address::unix_abstract(&name).expect("a short name"),
        };
        Host { kind, address: kind.of(address), listener, _dir: dir }
    }

    /// Runs a scenario at every place of every kind.
    pub(crate) fn everywhere(mut scenario: impl FnMut(Host)) {
        crate::support::each_kind(|kind| {
            let places = if kind.is_unix() { [Place::Path, Place::Name] } else { [Place::V4, Place::V6] };
            for place in places {
                eprintln!("at {place:?}:");
                scenario(Host::at(kind, place, 128));
            }
        });
    }

    /// A client of it that gives up at last.
    pub(crate) fn builder(&self) -> ClientBuilder {
        builder(&self.address)
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().expect("a client")
    }

    /// The next connection, before anything is said.
    pub(crate) fn accept_raw(&self) -> Wire {
        let (socket, _) = self.listener.accept().expect("a connection");
        socket.set_read_timeout(Some(PATIENCE)).expect("SO_RCVTIMEO");
        socket.set_write_timeout(Some(PATIENCE)).expect("SO_SNDTIMEO");
        Wire(socket)
    }

    /// The next connection, with its handshake done.
    pub(crate) fn accept(&self) -> Guest {
        Guest::on(self.accept_raw(), self.kind).expect("a handshake")
    }

    /// A client and the other end of its connection.
    pub(crate) fn pair(&self, builder: ClientBuilder) -> (Client, Guest) {
        let client = builder.build().expect("a client");
        let guest = self.connect(&client);
        (client, guest)
    }

    /// Connects `client`, and returns the other end.
    pub(crate) fn connect(&self, client: &Client) -> Guest {
        std::thread::scope(|scope| {
            let guest = scope.spawn(|| self.accept());
            client.connect(PATIENCE).expect("a connection");
            guest.join().expect("no panic")
        })
    }
}

/// A client that gives up at last.
pub(crate) fn builder(address: &Address) -> ClientBuilder {
    Client::builder(address.clone())
        .connect_config(dialling(address, ConnectConfig::default()))
        .read_timeout(Some(PATIENCE))
        .write_timeout(Some(PATIENCE))
}

// --- the other end ------------------------------------------------------------------------------------------------

/// A socket that blocks. Dropping it closes it, and says nothing before.
pub(crate) struct Wire(pub(crate) Socket);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The server's end of a client's connection.
pub(crate) enum Guest {
    Plain(Wire),
    #[cfg(feature = "tls")]
    Tls(Box<windlass::rustls::StreamOwned<windlass::rustls::ServerConnection, Wire>>),
}

impl Guest {
    /// # Errors
    /// What TLS says.
    pub(crate) fn on(wire: Wire, kind: Kind) -> io::Result<Guest> {
        #[cfg(feature = "tls")]
        if kind.is_tls() {
            return Guest::speaking(wire, crate::support::security::server_config());
        }
        let _ = kind;
        Ok(Guest::Plain(wire))
    }

    /// Shakes hands as such a server.
    ///
    /// # Errors
    /// What TLS says; its alert has left.
    #[cfg(feature = "tls")]
    pub(crate) fn speaking(mut wire: Wire, config: windlass::rustls::ServerConfig) -> io::Result<Guest> {
        let mut tls = windlass::rustls::ServerConnection::new(Arc::new(config)).expect("a server");
        while tls.is_handshaking() {
            if let Err(error) = tls.complete_io(&mut wire) {
                // However far the peer is.
                while tls.wants_write() && tls.write_tls(&mut wire).is_ok() {}
                return Err(error);
            }
        }
        while tls.wants_write() {
            tls.write_tls(&mut wire)?;
        }
        Ok(Guest::Tls(Box::new(windlass::rustls::StreamOwned::new(tls, wire))))
    }

    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Guest::Plain(wire) => &wire.0,
            #[cfg(feature = "tls")]
            Guest::Tls(stream) => &stream.sock.0,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.write_all(bytes).and_then(|()| self.flush()).expect("a write");
    }

    pub(crate) fn receive(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// All that comes until the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        self.read_to_end(&mut all).expect("an end in order");
        all
    }

    /// Ends its output in order.
    pub(crate) fn finish(&mut self) {
        #[cfg(feature = "tls")]
        if let Guest::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush().expect("a write");
        }
        self.socket().shutdown(Shutdown::Write).expect("a shutdown");
    }

    /// Sends back what comes, then ends.
    pub(crate) fn echo(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match self.read(&mut buffer).expect("a read") {
                0 => break,
                some => self.send(&buffer[..some]),
            }
        }
        self.finish();
    }

    /// Closes with a reset (TCP); a Unix socket resets only if it leaves input unread.
    pub(crate) fn reset(self) {
        self.socket().set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
}

impl Read for Guest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Guest::Plain(wire) => wire.read(buffer),
            #[cfg(feature = "tls")]
            Guest::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Guest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Guest::Plain(wire) => wire.write(bytes),
            #[cfg(feature = "tls")]
            Guest::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Guest::Plain(wire) => wire.flush(),
            #[cfg(feature = "tls")]
            Guest::Tls(stream) => stream.flush(),
        }
    }
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}

/// A TCP listener that answers no SYN, and what fills its backlog.
pub(crate) struct BlackHole {
    pub(crate) ip: SocketAddr,
    _sockets: Vec<Socket>,
}

impl BlackHole {
    pub(crate) fn new(place: Place) -> BlackHole {
        let listener = Socket::new(Domain::for_address(loopback(place)), Type::STREAM, None).expect("a socket");
        listener.bind(&loopback(place).into()).expect("a free port");
        listener.listen(0).expect("a listener");
        let ip = listener.local_addr().expect("an address").as_socket().expect("an IP address");
        let mut sockets = vec![listener];
        loop {
            let filler = Socket::new(Domain::for_address(ip), Type::STREAM, None).expect("a socket");
            filler.set_nonblocking(true).expect("O_NONBLOCK");
            let began = filler.connect(&ip.into());
            // On loopback a connect is done, or its SYN was dropped, when the call returns.
            let is_full = began.is_err() && filler.peer_addr().is_err();
            sockets.push(filler);
            if is_full {
                return BlackHole { ip, _sockets: sockets };
            }
            assert!(sockets.len() < 100, "the backlog does not fill");
        }
    }
}

pub(crate) fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

// --- what a client told -------------------------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    State(ConnState),
    Error(String),
}

/// All that a client told, in its order.
#[derive(Clone, Default)]
pub(crate) struct Diary {
    pub(crate) told: Tale<Told>,
    pub(crate) reasons: Tale<Reason>,
    running: Arc<AtomicUsize>,
}

impl Diary {
    /// Has a client tell this diary, and nothing else.
    pub(crate) fn of(&self, builder: ClientBuilder) -> ClientBuilder {
        let (states, errors) = (self.clone(), self.clone());
        builder
            .on_state(move |local, _, state| {
                assert_eq!(states.running.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                assert_eq!(local.is_none(), state == ConnState::Dial, "{state:?}");
                states.told.tell(Told::State(state));
                states.running.fetch_sub(1, Ordering::SeqCst);
            })
            .on_error(move |error| errors.note(error))
    }

    pub(crate) fn note(&self, error: &Error) {
        if let Error::Broken { reason, .. } = error {
            self.reasons.tell(*reason);
        }
        self.told.tell(Told::Error(error.to_string()));
    }

    /// The states; those that repeat told once.
    pub(crate) fn states(&self) -> Vec<ConnState> {
        let mut states = self.every_state();
        states.dedup();
        states
    }

    pub(crate) fn every_state(&self) -> Vec<ConnState> {
        let state = |told| if let Told::State(state) = told { Some(state) } else { None };
        self.told.all().into_iter().filter_map(state).collect()
    }

    pub(crate) fn errors(&self) -> Vec<String> {
        let error = |told| if let Told::Error(error) = told { Some(error) } else { None };
        self.told.all().into_iter().filter_map(error).collect()
    }

    /// Checks what was told against the grammar of states, when nothing goes on any more.
    pub(crate) fn check(&self, is_tls: bool) {
        let all = self.every_state();
        let mut connections = all.split(|state| *state == ConnState::Dial);
        assert!(connections.next().is_some_and(<[ConnState]>::is_empty), "before the first Dial");
        for whole in connections {
            // What repeats says nothing more.
            let mut one = whole.to_vec();
            one.dedup_by(|a, b| a == b && matches!(a, ConnState::Read | ConnState::Write));
            let Some((last, rest)) = one.split_last() else { continue };
            let at = |state| one.iter().position(|other| *other == state);
            let last_at = |state| one.iter().rposition(|other| *other == state);
            assert_eq!((one[0], *last), (ConnState::New, ConnState::Close), "{one:?}");
            assert!(rest.iter().all(|state| *state != ConnState::Close), "{one:?}");
            assert_eq!(at(ConnState::Handshake), is_tls.then_some(1), "{one:?}");
            for (end, what) in [(ConnState::CloseRead, ConnState::Read), (ConnState::CloseWrite, ConnState::Write)] {
                assert_eq!(at(end), last_at(end), "{one:?}");
                assert!(at(end).is_none() || last_at(what) < at(end), "{one:?}");
            }
            for once in [ConnState::New, ConnState::Handshake] {
                assert_eq!(at(once), last_at(once), "{one:?}");
            }
        }
    }
}
