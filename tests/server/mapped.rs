//! IPv4 peers of a socket of both families: everybody is shown, and can compare, the IPv4 address that they have.

use crate::support::blocking::{Client as Raw, Rig, Shooter, Tale, connect, until};
use crate::support::{Echo, Kind, PATIENCE};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use windlass::{
    Accept, AcceptEvent, Address, Admission, BlockingConfig, Client, Conn, ConnState, Connector, Datagram,
    DatagramHandler, Datagrams, Engine, Limits, ListenConfig, Peer, Server,
};

/// Where both families are listened on.
fn both(kind: Kind) -> Address {
    kind.of("tcp://:0".parse().expect("an address"))
}

/// How an IPv4 peer reaches it.
fn over_v4(address: &Address) -> Address {
    let port = address.ip().expect("an IP address").port();
    let ip = (Ipv4Addr::LOCALHOST, port).into();
    if address.transport().is_tls() { Address::tls(ip) } else { Address::tcp(ip) }
}

fn kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| !kind.is_unix())
}

/// Notes each address that it is shown.
struct Looks(Tale<String>, Admission);

impl Looks {
    fn see(&self, peer: &Peer<'_>) {
        self.0.tell(format!("{}", peer.ip().expect("an IP address")));
        for address in [peer.address(), peer.local_address()].into_iter().flatten() {
            self.0.tell(format!("{address}"));
        }
    }
}

impl Accept for Looks {
    type Handler = Echo;

    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        self.see(peer);
        assert!(peer.ip().expect("an IP address").ip().is_loopback(), "as IPv4's is, and as a mapped one is not");
        self.1
    }
    fn make(&mut self, conn: &Conn<'_>) -> Echo {
        self.0.tell(format!("{}", conn.peer_ip().expect("an IP address")));
        for address in [conn.peer_address(), conn.local_address()] {
            self.0.tell(format!("{}", address.expect("the system knows")));
        }
        Echo
    }
    fn on_left(&mut self, peer: &Peer<'_>) {
        self.see(peer);
    }
    fn on_event(&mut self, event: &AcceptEvent) {
        if let AcceptEvent::Failed { .. } | AcceptEvent::Broken { .. } = event {
            self.0.tell(format!("{event:?}"));
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.contains("ffff") && text.contains("127.0.0.1:")
}

#[test]
fn whoever_is_told_of_a_connection_is_told_of_its_ipv4_address() {
    for kind in kinds() {
        for reactors in [1, 2] {
            for admission in [Admission::Admit, Admission::Refuse] {
                let (rig, seen) = (Rig::new(), Tale::default());
                let tell = seen.clone();
                let builder = rig.builder(reactors).handler(move || Looks(tell.clone(), admission));
                let server = builder.address(both(kind)).build().expect("a server");
                server.listen().expect("it listens");
                let at = over_v4(&server.local_addresses()[0]);
                if admission == Admission::Admit {
                    let mut client = Raw::dial(&at);
                    let own = client.address(kind);
                    client.echoes(b"hello");
                    client.reset();
                    rig.until_stated(ConnState::Close, 1);
                    for told in rig.states.all() {
                        assert_eq!((told.remote, told.local), (Some(own.clone()), at.clone()));
                    }
                    // One that ends badly is told with its address, as text and as a value.
                    let mut bad = Raw::raw(&at);
                    let own = bad.address(kind);
                    if kind.is_tls() {
                        bad.send(b"this is no TLS");
                        bad.read_to_close();
                        let errors = rig
                            .errors
                            .until("the bad one", |told| told.iter().any(|told| told.peer == Some(own.clone())));
                        assert!(errors.iter().all(|told| is_plain(&told.text)), "{errors:?}");
                    }
                } else {
                    let _ = connect(&at).map(|mut socket| socket.read(&mut [0; 1]));
                    until("it to be refused", || seen.count() > 2);
                }
                server.shutdown(PATIENCE).expect("a report");
                let seen = seen.all();
                assert!(!seen.is_empty() && seen.iter().all(|text| is_plain(text)), "{seen:?}");
            }
        }
    }
}

#[test]
fn a_blocking_handler_sees_the_ipv4_address_of_its_peer() {
    for kind in kinds() {
        let (rig, seen) = (Rig::new(), Tale::default());
        let tell = seen.clone();
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |reader, _| {
            tell.tell((reader.link().peer_address(), reader.link().local_address()));
            Ok(())
        });
        let server = builder.address(both(kind)).build().expect("a server");
        server.listen().expect("it listens");
        let at = over_v4(&server.local_addresses()[0]);
        let client = Raw::dial(&at);
        let own = client.address(kind);
        assert_eq!(seen.until_count("the handler", 1)[0], (Some(own), Some(at)));
    }
}

/// What a user writes need not be what is shown.
#[test]
fn a_target_that_is_written_as_a_mapped_address_is_reached_by_clients_of_every_make() {
    let rig = Rig::new();
    let (server, at) = rig.listen(rig.builder(1).handler(|| |_: &Conn<'_>| Echo), Kind::Tcp);
    let port = at.ip().expect("an IP address").port();
    let mapped: Address = format!("tcp://[::ffff:127.0.0.1]:{port}").parse().expect("an address");
    let client = Client::builder(mapped.clone()).read_timeout(Some(PATIENCE)).build().expect("a client");
    client.connect(PATIENCE).expect("a connection");
    (&client).write_all(b"x").expect("room");
    (&client).read_exact(&mut [0]).expect("the echo");
    assert_eq!((client.address(), client.peer_address()), (&mapped, Some(at.clone())));
    let local = client.local_address().expect("an address");
    assert!(is_plain(&local.to_string()), "{local}");
    let engine = Engine::start(crate::support::blocking::engine(1)).expect("an engine");
    let connector = Connector::builder(mapped).start(engine.least_loaded(), |conn: &Conn<'_>| {
        assert!(conn.peer_ip().is_some_and(|ip| ip.is_ipv4()));
        Echo
    });
    let connector = connector.expect("it starts");
    until("it to connect", || connector.connection().is_some());
    drop((client, connector));
    engine.shutdown(PATIENCE).expect("an end");
    rig.end(&server);
}

struct Answers(Tale<(String, Option<IpAddr>, Option<IpAddr>)>);

impl DatagramHandler for Answers {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        self.0.tell((datagram.from.to_string(), datagram.local, datagram.from.via()));
        // To the one that it came from, and to one that is made of what was seen.
        sock.send_to(datagram.from, datagram.data).expect("room");
        let again: SocketAddr = datagram.from.ip().expect("an IP address").to_string().parse().expect("an address");
        sock.send_to(&again.into(), datagram.data).expect("room");
    }
}

#[test]
fn a_datagram_server_shows_the_ipv4_address_of_a_sender_and_answers_it() {
    let (rig, seen) = (Rig::new(), Tale::default());
    let tell = seen.clone();
    let builder = rig.builder(1).datagram_handler(move || Answers(tell.clone()));
    let server = builder.address("udp://:0".parse().expect("an address")).build().expect("a server");
    server.listen().expect("it listens");
    let port = server.local_addresses()[0].ip().expect("an IP address").port();
    let peer = Shooter::to(&Address::udp((Ipv4Addr::LOCALHOST, port).into()));
    for _ in 0..3 {
        peer.send(b"hello");
        assert_eq!((peer.receive(), peer.receive()), (b"hello".to_vec(), b"hello".to_vec()));
    }
    let here = Some(IpAddr::from(Ipv4Addr::LOCALHOST));
    assert_eq!(seen.all()[0], (peer.address().to_string(), here, here));
    rig.until_stated(ConnState::Write, 6);
    let named: Vec<_> = rig.states.all().into_iter().filter_map(|told| told.remote).collect();
    assert!(named.len() == 9 && named.iter().all(|remote| *remote == peer.address()), "{named:?}");
    drop(server);
}

/// A listener of both families, told what went wrong.
#[test]
fn a_handshake_that_is_late_is_told_with_the_ipv4_address() {
    let rig = Rig::new();
    let limits = Limits { handshake_timeout: std::time::Duration::from_millis(30), ..Limits::default() };
    let config = ListenConfig { limits, ..crate::support::blocking::listen_config() };
    for kind in kinds().filter(|kind| kind.is_tls()) {
        let builder = rig.builder(1).listen_config(config.clone()).handler(|| |_: &Conn<'_>| Echo);
        let server: Server = builder.address(both(kind)).build().expect("a server");
        server.listen().expect("it listens");
        let silent = Raw::raw(&over_v4(&server.local_addresses()[0]));
        let own = silent.address(kind);
        let errors = rig.errors.until_count("the late handshake", 1);
        assert_eq!(errors[0].peer, Some(own.clone()));
        assert!(errors[0].text.starts_with(&format!("connection of {own} to ")), "{}", errors[0].text);
    }
}
