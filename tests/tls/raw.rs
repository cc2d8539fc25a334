//! A peer that speaks TLS by hand: rustls makes the records, the test decides what becomes of them.

use crate::support::{Peer, World, security};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::sync::Arc;
use windlass::Address;
use windlass::rustls::pki_types::ServerName;
use windlass::rustls::{self, ClientConfig, ClientConnection};

/// A plain socket to a listener that speaks TLS.
pub(crate) fn dial(address: &Address) -> Peer {
    let (domain, at) = match (address.ip(), address.path()) {
        (Some(ip), _) => (Domain::for_address(ip), SockAddr::from(ip)),
        (None, Some(path)) => (Domain::UNIX, SockAddr::unix(path).expect("a path")),
        (None, None) => panic!("{address} is no place to connect to"),
    };
    let socket = Socket::new(domain, Type::STREAM, None).expect("a socket");
    socket.connect(&at).expect("a connection");
    socket.set_nonblocking(true).expect("a mode");
    Peer::plain(socket)
}

/// A client whose records the test carries.
pub(crate) struct Client {
    pub(crate) tls: ClientConnection,
    pub(crate) peer: Peer,
    /// What it says is wrong with what came, or the alert that came.
    pub(crate) fault: Option<rustls::Error>,
}

impl Client {
    pub(crate) fn new(address: &Address, config: Arc<ClientConfig>, name: &str) -> Client {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        Client { tls: ClientConnection::new(config, name).expect("a client"), peer: dial(address), fault: None }
    }

    pub(crate) fn usual(address: &Address) -> Client {
        Client::new(address, security::client().config(), security::NAME)
    }

    /// What it wants to send now.
    pub(crate) fn records(&mut self) -> Vec<u8> {
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).expect("a vector");
        }
        records
    }

    /// Sends what it wants to send, in pieces, with a turn after each.
    pub(crate) fn send_in_pieces(&mut self, world: &mut World, bytes: usize) {
        for piece in self.records().chunks(bytes) {
            self.peer.send_all_while(world, piece);
            world.turn();
        }
    }

    /// Takes what came; false once the other side has ended.
    pub(crate) fn receive(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        while let Some(read) = self.peer.try_read(&mut buffer) {
            let Ok(read @ 1..) = read else { return false };
            let mut bytes = &buffer[..read];
            while !bytes.is_empty() {
                self.tls.read_tls(&mut bytes).expect("bytes");
                if let Err(fault) = self.tls.process_new_packets() {
                    self.fault = Some(fault);
                    return false;
                }
            }
        }
        true
    }

    /// Shakes hands, its records cut into pieces.
    pub(crate) fn shake(&mut self, world: &mut World, bytes: usize) {
        world.until("the handshake", |world| {
            self.send_in_pieces(world, bytes);
            assert!(self.receive(), "the handshake failed");
            !self.tls.is_handshaking() && !self.tls.wants_write()
        });
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).expect("room");
    }

    /// Plaintext that came so far.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.tls.reader().read_to_end(&mut all);
        all
    }
}
