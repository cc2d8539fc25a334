//! What is counted. A subject is called again and again, and does the same each time.
//!
//! 1. Nothing runs beside it: it says something, takes turns until the handler was called, and reads the answer.
//! 2. Only the library's side is counted, and nothing of that depends on how long anything takes.

use crate::host::{COUNTS, Host, PATIENCE, watched};
use crate::rig::Outcome;
use crate::rig::self_signed;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use windlass::rustls::client::Resumption;
use windlass::rustls::{ClientConfig, ClientConnection, StreamOwned};
use windlass::tls::{Pem, ServerTlsBuilder, UnknownName};
use windlass::{Address, Bytes, Client, ServerTls};

pub(crate) const MESSAGE: [u8; 64] = [7; 64];
/// As much as a TLS record can carry.
const RECORD: [u8; 16 * 1024] = [7; 16 * 1024];
/// Names that a server has configurations for: as many as can be read under callgrind, and enough to be seen if all of them
/// were compared.
const NAMES: usize = 100;
/// First messages that take turns.
const HELLOS: usize = 64;
/// Never over while anything is counted.
const IDLE: Duration = Duration::from_secs(3_600);
/// How long a turn of a handshake waits: it may be the client's turn to go on.
const STEP: Duration = Duration::from_millis(1);

/// Each with how often a run counts it. Before that it is done an eighth as often.
pub(crate) const SUBJECTS: [(&str, usize); 15] = [
    ("tcp-64", 1_024),
    ("tcp-64-idle", 1_024),
    ("unix-64", 1_024),
    ("unix-64-idle", 1_024),
    ("tls-64", 1_024),
    ("tls-64-idle", 1_024),
    ("tls-16k", 512),
    ("udp-64", 1_024),
    ("udp-any-64", 1_024),
    ("unixgram-64", 1_024),
    ("accept-echo-close", 512),
    ("tls-handshake", 128),
    ("tls-unknown-name", 256),
    ("blocking-round-trip", 1_024),
    ("remote-send", 1_024),
];

type Subject = Box<dyn FnMut() -> Outcome<()>>;

/// The process under callgrind: `NAME FOLDER PEER`, where PEER is an address that echoes once this process sleeps.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let [name, folder, peer] = arguments else { return Err("--subject wants a name, a folder and a peer".into()) };
    let (_, count) = SUBJECTS.iter().find(|(known, _)| known == name).ok_or("no such subject")?;
    let mut subject = subject(name, Path::new(folder), peer.parse()?)?;
    (0..count / 8).try_for_each(|_| subject())?;
    COUNTS.store(true, Ordering::Relaxed);
    (0..*count).try_for_each(|_| subject())
}

fn subject(name: &str, folder: &Path, peer: SocketAddr) -> Outcome<Subject> {
    let idle = name.ends_with("-idle").then_some(IDLE);
    let path = folder.join("socket");
    let mut host = Host::new()?;
    Ok(match name.trim_end_matches("-idle") {
        "tcp-64" => {
            let peer = connect(&host.listen("tcp://127.0.0.1:0", idle, None)?)?;
            host.until_called()?;
            echo(host, peer, &MESSAGE)
        }
        "unix-64" => {
            host.listen(&format!("unix:{}", path.display()), idle, None)?;
            let peer = UnixStream::connect(path)?;
            host.until_called()?;
            echo(host, peer, &MESSAGE)
        }
        "tls-64" | "tls-16k" => {
            let peer = Tls::listen(&mut host, idle)?.connect(&mut host)?;
            if name == "tls-16k" { echo(host, peer, &RECORD) } else { echo(host, peer, &MESSAGE) }
        }
        "udp-64" => udp(host, "udp://127.0.0.1:0")?,
        "udp-any-64" => udp(host, "udp4://0.0.0.0:0")?,
        "unixgram-64" => {
            host.bind(&format!("unixgram:{}", path.display()))?;
            let socket = UnixDatagram::bind(folder.join("peer"))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(path)?;
            echo(host, UnixStream::from(OwnedFd::from(socket)), &MESSAGE)
        }
        "accept-echo-close" => {
            let address = host.listen("tcp://127.0.0.1:0", None, None)?;
            Box::new(move || accept_echo_close(&mut host, &address))
        }
        "tls-handshake" => {
            let tls = Tls::listen(&mut host, None)?;
            Box::new(move || tls.handshake(&mut host))
        }
        "tls-unknown-name" => unknown_name(host)?,
        "blocking-round-trip" => {
            let mut client = Client::builder(Address::tcp(peer)).build()?;
            client.connect(PATIENCE)?;
            Box::new(move || watched(|| exchange(&mut client, &MESSAGE, || Ok(()))))
        }
        "remote-send" => remote_send(host)?,
        _ => return Err("a subject without a body".into()),
    })
}

/// Says something, has it answered, and wants it back.
fn exchange<const N: usize>(
    peer: &mut (impl Read + Write),
    message: &[u8; N],
    answer: impl FnOnce() -> Outcome<()>,
) -> Outcome<()> {
    peer.write_all(message)?;
    answer()?;
    let mut back = [0; N];
    peer.read_exact(&mut back)?;
    if back == *message { Ok(()) } else { Err("other bytes came back".into()) }
}

fn echo<const N: usize>(mut host: Host, mut peer: impl Read + Write + 'static, message: &'static [u8; N]) -> Subject {
    Box::new(move || exchange(&mut peer, message, || host.until_called()))
}

fn udp(mut host: Host, at: &str) -> Outcome<Subject> {
    let port = host.bind(at)?.ip().ok_or("no IP address")?.port();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    // It has a peer, so that it is read and written as a stream is.
    Ok(echo(host, TcpStream::from(OwnedFd::from(socket)), &MESSAGE))
}

fn connect(address: &Address) -> Outcome<TcpStream> {
    let socket = TcpStream::connect(address.ip().ok_or("no IP address")?)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn accept_echo_close(host: &mut Host, address: &Address) -> Outcome<()> {
    let mut peer = connect(address)?;
    host.until_called()?;
    exchange(&mut peer, &MESSAGE, || host.until_called())?;
    peer.shutdown(Shutdown::Write)?;
    host.until_called()
}

/// `Remote::send`, and the turn that carries it out.
fn remote_send(mut host: Host) -> Outcome<Subject> {
    let mut peer = connect(&host.listen("tcp://127.0.0.1:0", None, None)?)?;
    host.until_called()?;
    let remote = host.reactor.remote();
    let id = host.reactor.context().connections().into_iter().next().ok_or("nobody is connected")?;
    Ok(Box::new(move || {
        let bytes = Bytes::copy_from_slice(&MESSAGE);
        watched(|| remote.send(id, bytes)).map_err(|unsent| unsent.why)?;
        host.turn(PATIENCE)?;
        Ok(peer.read_exact(&mut [0; MESSAGE.len()])?)
    }))
}

/// A first message that asks for a name which is none of many: the connection is accepted, refused with an alert, and ended.
fn unknown_name(mut host: Host) -> Outcome<Subject> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let own = || ServerTls::builder().certificate(Pem::bytes(chain.as_str()), Pem::bytes(key.as_str()));
    let named = |builder: ServerTlsBuilder, number| builder.name(format!("host{number}.example.org"), own());
    let tls = (0..NAMES).fold(own().unknown_names(UnknownName::Refused), named).build()?;
    let address = host.listen("tls://127.0.0.1:0", None, Some(tls))?;
    let config = Arc::new(self_signed::client(windlass::tls::provider(), made.cert.der())?);
    let hello = || -> Outcome<Vec<u8>> {
        let mut hello = Vec::new();
        ClientConnection::new(config.clone(), "nobody.example.org".try_into()?)?.write_tls(&mut hello)?;
        Ok(hello)
    };
    // Their extensions have no order, and what is read of them depends on it.
    let mut hellos = (0..HELLOS).map(|_| hello()).collect::<Outcome<Vec<_>>>()?.into_iter().cycle();
    Ok(Box::new(move || {
        let mut peer = connect(&address)?;
        peer.write_all(&hellos.next().ok_or("no first message")?)?;
        peer.set_nonblocking(true)?;
        host.until("an alert", |_| peer.peek(&mut [0]).is_ok())?;
        if peer.read(&mut [0; MESSAGE.len()])? == 0 {
            return Err("no alert came".into());
        }
        drop(peer);
        host.until("the connection to be gone", |reactor| reactor.connections() == 0)
    }))
}

/// A listener with TLS, and what its clients need.
struct Tls {
    address: Address,
    client: Arc<ClientConfig>,
}

impl Tls {
    fn listen(host: &mut Host, idle: Option<Duration>) -> Outcome<Tls> {
        let (server, certificate) = self_signed::server(windlass::tls::provider())?;
        let mut client = self_signed::client(windlass::tls::provider(), &certificate)?;
        // Each handshake is a full one.
        client.resumption = Resumption::disabled();
        let address = host.listen("tls://127.0.0.1:0", idle, Some(ServerTls::from(server)))?;
        Ok(Tls { address, client: Arc::new(client) })
    }

    fn connect(&self, host: &mut Host) -> Outcome<StreamOwned<ClientConnection, TcpStream>> {
        let before = host.calls();
        let mut socket = connect(&self.address)?;
        socket.set_nonblocking(true)?;
        let mut session = ClientConnection::new(self.client.clone(), "localhost".try_into()?)?;
        let mut go_on = || match session.complete_io(&mut socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            Ok(_) | Err(_) => Ok(()),
        };
        while host.calls() == before {
            go_on()?;
            host.turn(STEP)?;
        }
        // Takes the tickets.
        go_on()?;
        socket.set_nonblocking(false)?;
        Ok(StreamOwned::new(session, socket))
    }

    /// A connection that says nothing: its handshake, and its end on both sides.
    fn handshake(&self, host: &mut Host) -> Outcome<()> {
        let mut peer = self.connect(host)?;
        peer.conn.send_close_notify();
        peer.flush()?;
        peer.sock.shutdown(Shutdown::Write)?;
        host.until_called()?;
        match peer.read(&mut [0]) {
            Ok(0) => Ok(()),
            other => Err(format!("not a clean end: {other:?}").into()),
        }
    }
}
