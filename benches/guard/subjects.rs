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
use windlass::{Address, Bytes, Client, TlsServer};

pub(crate) const MESSAGE: [u8; 64] = [7; 64];
/// Never over while anything is counted.
const IDLE: Duration = Duration::from_secs(3_600);
/// How long a turn of a handshake waits: it may be the client's turn to go on.
const STEP: Duration = Duration::from_millis(1);

/// Each with how often a run counts it. Before that it is done an eighth as often.
pub(crate) const SUBJECTS: [(&str, usize); 13] = [
    ("tcp-64", 1_024),
    ("tcp-64-idle", 1_024),
    ("unix-64", 1_024),
    ("unix-64-idle", 1_024),
    ("tls-64", 1_024),
    ("tls-64-idle", 1_024),
    ("udp-64", 1_024),
    ("udp-any-64", 1_024),
    ("unixgram-64", 1_024),
    ("accept-echo-close", 512),
    ("tls-handshake", 128),
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
            echo(host, peer)
        }
        "unix-64" => {
            host.listen(&format!("unix:{}", path.display()), idle, None)?;
            let peer = UnixStream::connect(path)?;
            host.until_called()?;
            echo(host, peer)
        }
        "tls-64" => {
            let peer = Tls::listen(&mut host, idle)?.connect(&mut host)?;
            echo(host, peer)
        }
        "udp-64" => udp(host, "udp://127.0.0.1:0")?,
        "udp-any-64" => udp(host, "udp4://0.0.0.0:0")?,
        "unixgram-64" => {
            host.bind(&format!("unixgram:{}", path.display()))?;
            let socket = UnixDatagram::bind(folder.join("peer"))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(path)?;
            echo(host, UnixStream::from(OwnedFd::from(socket)))
        }
        "accept-echo-close" => {
            let address = host.listen("tcp://127.0.0.1:0", None, None)?;
            Box::new(move || accept_echo_close(&mut host, &address))
        }
        "tls-handshake" => {
            let tls = Tls::listen(&mut host, None)?;
            Box::new(move || tls.handshake(&mut host))
        }
        "blocking-round-trip" => {
            let mut client = Client::builder(Address::tcp(peer)).build()?;
            client.connect(PATIENCE)?;
            Box::new(move || watched(|| exchange(&mut client, || Ok(()))))
        }
        "remote-send" => remote_send(host)?,
        _ => return Err("a subject without a body".into()),
    })
}

/// Says something, has it answered, and wants it back.
fn exchange(peer: &mut (impl Read + Write), answer: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    peer.write_all(&MESSAGE)?;
    answer()?;
    let mut back = [0; MESSAGE.len()];
    peer.read_exact(&mut back)?;
    if back == MESSAGE { Ok(()) } else { Err("other bytes came back".into()) }
}

fn echo(mut host: Host, mut peer: impl Read + Write + 'static) -> Subject {
    Box::new(move || exchange(&mut peer, || host.until_called()))
}

fn udp(mut host: Host, at: &str) -> Outcome<Subject> {
    let port = host.bind(at)?.ip().ok_or("no IP address")?.port();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((Ipv4Addr::LOCALHOST, port))?;
    // It has a peer, so that it is read and written as a stream is.
    Ok(echo(host, TcpStream::from(OwnedFd::from(socket))))
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
    exchange(&mut peer, || host.until_called())?;
    peer.shutdown(Shutdown::Write)?;
    host.until_called()
}

/// `Remote::send`, and the turn that carries it out.
fn remote_send(mut host: Host) -> Outcome<Subject> {
    let mut peer = connect(&host.listen("tcp://127.0.0.1:0", None, None)?)?;
    host.until_called()?;
    let remote = host.reactor.remote();
    let id = host.reactor.turn().connections().into_iter().next().ok_or("nobody is connected")?;
    Ok(Box::new(move || {
        let bytes = Bytes::copy_from_slice(&MESSAGE);
        watched(|| remote.send(id, bytes)).map_err(|unsent| unsent.why)?;
        host.turn(PATIENCE)?;
        Ok(peer.read_exact(&mut [0; MESSAGE.len()])?)
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
        let address = host.listen("tls://127.0.0.1:0", idle, Some(TlsServer::from(server)))?;
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
