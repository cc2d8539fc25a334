//! The TLS side of peers, and the certificate that all tests use.
//!
//! Owns rustls' ordinary, buffered connections: what windlass speaks to is not what windlass is made of. A peer's
//! handshake, and what it could not send yet, go on at every turn of a world, as they would in a process of its own.

use socket2::Socket;
use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::{Rc, Weak};
use std::sync::{Arc, OnceLock};
use windlass::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use windlass::rustls::server::NoServerSessionStorage;
use windlass::rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use windlass::tls::HandshakeThreads;
use windlass::{ClientTls, ReactorConfig, ServerTls, tls};

/// The name that the certificate is for.
pub const NAME: &str = "localhost";

/// A server's and a client's configuration, the certificate, and its key.
type Configurations = (Arc<ServerConfig>, Arc<ClientConfig>, CertificateDer<'static>, Vec<u8>);

fn configurations() -> &'static Configurations {
    static ALL: OnceLock<Configurations> = OnceLock::new();
    ALL.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let mut server = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate and its key");
        server.session_storage = Arc::new(NoServerSessionStorage {});
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let client = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client), made.cert.der().clone(), made.signing_key.serialize_der())
    })
}

/// The certificate, which is its own issuer.
pub fn certificate() -> CertificateDer<'static> {
    configurations().2.clone()
}

/// The certificate's private key, in DER.
pub fn key() -> &'static [u8] {
    &configurations().3
}

/// The certificate in PEM.
pub fn certificate_pem() -> String {
    pem("CERTIFICATE", &certificate())
}

/// Its key in PEM.
pub fn key_pem() -> String {
    pem("PRIVATE KEY", key())
}

/// In PEM, under this label.
pub fn pem(label: &str, der: &[u8]) -> String {
    // The tests' certificate is kept in DER; base64 by hand is less than a crate.
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// What listeners of the tests are configured with.
pub fn server() -> ServerTls {
    configurations().0.clone().into()
}

/// The same as rustls knows it, to be changed.
pub fn server_config() -> ServerConfig {
    (*configurations().0).clone()
}

/// What connects of the tests are configured with.
pub fn client() -> ClientTls {
    ClientTls::from(configurations().1.clone()).for_server(NAME).expect("a name")
}

/// The same without a name, which is then the address's.
pub fn nameless() -> ClientTls {
    let mut client = client();
    client.server_name = None;
    client
}

/// The client's side on a socket that blocks.
pub fn blocking<S: Read + Write>(socket: S) -> StreamOwned<ClientConnection, S> {
    let name = ServerName::try_from(NAME).expect("a name");
    StreamOwned::new(ClientConnection::new(configurations().1.clone(), name).expect("a client"), socket)
}

/// With `HANDSHAKE_THREADS=N` in the environment every test's handshakes are done by so many other threads, unless it has
/// threads of its own.
pub fn elsewhere(mut config: ReactorConfig) -> ReactorConfig {
    static THREADS: OnceLock<Option<HandshakeThreads>> = OnceLock::new();
    let asked = || std::env::var("HANDSHAKE_THREADS").ok();
    let start = || asked().map(|count| HandshakeThreads::new(count.parse().expect("a number")).expect("threads"));
    if config.handshake_threads.is_none() {
        config.handshake_threads = THREADS.get_or_init(start).clone();
    }
    config
}

/// Ciphertext that a peer holds back when the kernel takes no more, beyond what is whole already.
const HELD_BYTES_MAX: usize = 32 * 1024;

/// The TLS side of one peer.
pub struct Secured {
    socket: Rc<Socket>,
    connection: Connection,
    end: End,
}

/// How far its own end is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// To be said when the handshake is done.
    Asked,
    /// close_notify is on its way; the FIN follows when all is sent.
    Notified,
    Said,
}

thread_local! {
    /// Peers that were dropped and have something left to say.
    static GHOSTS: RefCell<Vec<Rc<RefCell<Secured>>>> = const { RefCell::new(Vec::new()) };
    static PEERS: RefCell<Vec<Weak<RefCell<Secured>>>> = const { RefCell::new(Vec::new()) };
}

/// Lets the handshakes and the waiting output of all peers of this thread go on.
pub fn pump_all() {
    let mut ghosts = GHOSTS.take();
    ghosts.retain(|ghost| ghost.borrow_mut().is_leaving());
    GHOSTS.with_borrow_mut(|all| all.append(&mut ghosts));
    let peers = PEERS.with_borrow_mut(|peers| {
        peers.retain(|peer| peer.strong_count() > 0);
        peers.clone()
    });
    for peer in peers.iter().filter_map(Weak::upgrade) {
        // An error is told to whoever reads or writes next.
        let _ = peer.borrow_mut().pump();
    }
}

impl Secured {
    pub fn client(socket: &Rc<Socket>) -> Rc<RefCell<Secured>> {
        let name = ServerName::try_from(NAME).expect("a name");
        let connection = ClientConnection::new(configurations().1.clone(), name).expect("a client");
        Secured::around(socket, connection.into())
    }

    pub fn server(socket: &Rc<Socket>) -> Rc<RefCell<Secured>> {
        let connection = ServerConnection::new(configurations().0.clone()).expect("a server");
        Secured::around(socket, connection.into())
    }

    fn around(socket: &Rc<Socket>, connection: Connection) -> Rc<RefCell<Secured>> {
        let secured = Rc::new(RefCell::new(Secured { socket: socket.clone(), connection, end: End::Open }));
        let _ = secured.borrow_mut().pump();
        PEERS.with_borrow_mut(|peers| peers.push(Rc::downgrade(&secured)));
        secured
    }

    /// Sends what waits; reads only what the handshake needs.
    fn pump(&mut self) -> io::Result<()> {
        self.flush()?;
        while self.connection.is_handshaking() {
            match self.receive() {
                Ok(0) => break,
                Ok(_) => self.flush()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.flush()
    }

    fn receive(&mut self) -> io::Result<usize> {
        let count = loop {
            match self.connection.read_tls(&mut &*self.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        let processed = self.connection.process_new_packets();
        if let Err(error) = processed {
            // The alert.
            let _ = self.flush();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.end == End::Asked && !self.connection.is_handshaking() {
            self.end = End::Notified;
            self.connection.send_close_notify();
        }
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut &*self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.end == End::Notified {
            self.end = End::Said;
            // It fails if the other side is gone, which the next read tells.
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.flush().or_else(|error| if self.end == End::Open { Err(error) } else { Ok(()) })?;
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.receive()?;
            // Answers: the rest of a handshake.
            let _ = self.flush();
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pump()?;
        // During the handshake a little waits inside.
        if !self.connection.is_handshaking() && self.connection.wants_write() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.connection.writer().write(&bytes[..bytes.len().min(HELD_BYTES_MAX)])?;
        self.flush()?;
        Ok(count)
    }

    /// Writes few bytes, once the handshake is done, by another way to the same socket.
    pub fn write_by(&mut self, bytes: &[u8], way: &mut impl Write) -> io::Result<()> {
        self.pump()?;
        assert!(!self.connection.is_handshaking() && !self.connection.wants_write(), "too early");
        self.connection.writer().write_all(bytes)?;
        while self.connection.wants_write() {
            self.connection.write_tls(way)?;
        }
        Ok(())
    }

    pub fn finish(&mut self) {
        self.end = End::Asked;
        let _ = self.pump();
    }

    /// Ends in order, as a process that closes its socket leaves the rest to its kernel: what was written before is still
    /// sent, and close_notify behind it.
    pub fn take_leave(this: &Rc<RefCell<Secured>>) {
        if this.borrow_mut().is_leaving() {
            GHOSTS.with_borrow_mut(|ghosts| ghosts.push(this.clone()));
        }
    }

    /// Goes on to leave; says whether there is more to be done.
    fn is_leaving(&mut self) -> bool {
        if self.pump().is_err() || self.end == End::Said {
            return false;
        }
        if self.connection.is_handshaking() {
            return !self.is_gone();
        }
        if self.end == End::Open {
            self.end = End::Asked;
        }
        self.flush().is_ok() && self.end != End::Said
    }

    /// Whether the other side has ended the socket.
    fn is_gone(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        !matches!(self.socket.peek(&mut byte), Ok(1) | Err(_))
    }
}
