//! Alerts of a peer are heard, and never answered by one: the peer has gone, and each side would only tell the other that it
//! was told something. RFC 8446, section 6.2: neither side sends anything more.

use crate::hostile::hello;
use crate::raw::{Client, dial};
use crate::sealing::Forger;
use crate::support::{Heard, Hooks, Kind, Peer, Sink, World, security};
use std::net::TcpListener;
use std::sync::Arc;
use windlass::rustls::{ClientConfig, ContentType, RootCertStore, SupportedProtocolVersion, version};
use windlass::tls::{Pem, UnknownName};
use windlass::{Address, Conn, ConnectConfig, ListenConfig, Reason, ServerTls, TlsFault, tls};

const ALERT: u8 = 21;
const CLOSE_NOTIFY: [u8; 7] = [ALERT, 3, 3, 0, 2, 1, 0];

fn fatal(description: u8) -> [u8; 7] {
    [ALERT, 3, 3, 0, 2, 2, description]
}

/// A hello in two records, of which this is the first.
fn half_a_hello() -> Vec<u8> {
    let whole = hello();
    let piece = &whole[5..105];
    [&[22, 3, 1][..], &(piece.len() as u16).to_be_bytes(), piece].concat()
}

/// Sends bytes in such pieces, with a turn behind each, and reads until the end.
fn answer(world: &mut World, peer: &mut Peer, bytes: &[u8], piece: usize) -> Vec<u8> {
    for piece in bytes.chunks(piece) {
        peer.send_all_while(world, piece);
        world.turn();
    }
    peer.read_to_end_while(world).expect("an end, no reset")
}

#[test]
fn an_alert_before_the_hello_is_whole_is_heard_and_not_answered() {
    let level = |level, description| vec![ALERT, 3, 1, 0, 2, level, description];
    let behind = |first: &[u8], alert: &[u8]| [first, alert].concat();
    let warned = behind(&[ALERT, 3, 3, 0, 2, 1, 90], &fatal(80));
    let cases: [(&str, Vec<u8>, u8); 10] = [
        ("fatal", fatal(80).to_vec(), 80),
        ("fatal, of TLS 1.0", level(2, 48), 48),
        ("unknown", fatal(200).to_vec(), 200),
        ("of no level", level(9, 40), 40),
        ("close_notify", CLOSE_NOTIFY.to_vec(), 0),
        ("close_notify as a fatal one", fatal(0).to_vec(), 0),
        ("fatal, within a hello", behind(&half_a_hello(), &fatal(40)), 40),
        ("close_notify within a hello", behind(&half_a_hello(), &CLOSE_NOTIFY), 0),
        ("a warning within a hello", behind(&half_a_hello(), &level(1, 90)), 90),
        ("fatal, behind a warning", warned, 80),
    ];
    for (what, bytes, description) in cases {
        for (kind, piece) in [(Kind::Tls, 1000), (Kind::Tls, 1), (Kind::TlsUnix, 1000), (Kind::TlsUnix, 1)] {
            eprintln!("{what} over {kind:?} in pieces of {piece}");
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
            let mut peer = dial(&address);
            assert_eq!(answer(&mut world, &mut peer, &bytes, piece), [0u8; 0], "{what}");
            drop(peer);
            world.until_empty();
            let fault = TlsFault::AlertReceived(description);
            assert_eq!(world.log.heard(), [Heard::Failed(Reason::Tls(fault))], "{what}");
        }
    }
}

/// Else a client would choose the configuration that checks less, and be known by the name of the one that checks more.
#[test]
fn a_warning_in_front_of_the_hello_hides_its_name_from_nobody() {
    let builder =
        || ServerTls::builder().certificate(Pem::bytes(security::certificate_pem()), Pem::bytes(security::key_pem()));
    let tls = builder().alpn(["usual"]).name("localhost", builder().alpn(["named"]));
    let tls = tls.unknown_names(UnknownName::Refused).build().expect("a server");
    let mut config = (*security::client().config()).clone();
    config.alpn_protocols = vec![b"usual".to_vec(), b"named".to_vec()];
    let config = Arc::new(config);
    for warnings in 0..=4 {
        for piece in [10_000, 1] {
            let mut world = World::new();
            let listen = ListenConfig { tls: Some(tls.clone()), ..ListenConfig::default() };
            let address = world.listen(Kind::Tls, listen, |_: &Conn<'_>| Sink);
            let warned = [ALERT, 3, 3, 0, 2, 1, 90].repeat(warnings);
            for (name, is_served) in [("localhost", true), ("other.example", false)] {
                let mut client = Client::new(&address, config.clone(), name);
                for piece in [warned.clone(), client.records()].concat().chunks(piece) {
                    client.peer.send_all_while(&mut world, piece);
                    world.turn();
                }
                if is_served {
                    client.shake(&mut world, piece);
                    assert_eq!(client.tls.alpn_protocol(), Some(&b"named"[..]), "{warnings} warnings");
                    world.until_open(1);
                    drop(client);
                    world.until("its end", |world| world.reactor().connections() == 0);
                } else {
                    world.until("the refusal", |_| !client.receive());
                    drop(client);
                    world.until("the end", |world| world.reactor().connections() == 0);
                    let refused = Heard::Failed(Reason::Tls(TlsFault::UnknownName));
                    assert_eq!(world.log.heard().last(), Some(&refused), "{warnings} warnings");
                }
            }
        }
    }
}

#[test]
fn warnings_without_end_are_refused_without_an_alert() {
    for piece in [1000, 7] {
        let mut world = World::new();
        let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peer = dial(&address);
        let warnings = [ALERT, 3, 3, 0, 2, 1, 90].repeat(20);
        assert_eq!(answer(&mut world, &mut peer, &warnings, piece), [0u8; 0]);
        drop(peer);
        world.until_empty();
        assert_eq!(world.log.heard(), [Heard::Failed(Reason::Tls(TlsFault::Misbehaved))]);
    }
}

#[test]
fn what_is_no_alert_and_no_hello_is_answered_by_one() {
    // An alert of another length than two bytes, and one of a version that is not known.
    for bytes in [vec![ALERT, 3, 3, 0, 1, 2], vec![ALERT, 3, 3, 0, 4, 2, 80, 2, 80], vec![ALERT, 9, 9, 0, 2, 2, 80]] {
        let mut world = World::new();
        let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peer = dial(&address);
        let answered = answer(&mut world, &mut peer, &bytes, 1000);
        assert!(matches!(answered[..], [ALERT, 3, _, 0, 2, 2, 50]), "{answered:?} to {bytes:?}");
    }
}

fn visiting(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(security::certificate()).expect("a root");
    let config = ClientConfig::builder_with_provider(tls::provider()).with_protocol_versions(&[version]);
    Arc::new(config.expect("a version").with_root_certificates(roots).with_no_client_auth())
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[test]
fn an_alert_behind_the_servers_first_words_is_not_answered() {
    for version in VERSIONS {
        for piece in [1000, 1] {
            let mut world = World::new();
            let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
            let mut client = Client::new(&address, visiting(version), security::NAME);
            let hello = client.records();
            client.peer.send_all_while(&mut world, &hello);
            // All of it leaves in one call.
            let mut first = vec![0; 64 * 1024];
            world.until("an answer", |_| client.peer.try_read(&mut first).is_some());
            assert_eq!(first[0], 22);
            assert_eq!(answer(&mut world, &mut client.peer, &fatal(42), piece), [0u8; 0]);
            drop(client);
            world.until_empty();
            assert_eq!(world.log.heard(), [Heard::Failed(Reason::Tls(TlsFault::AlertReceived(42)))]);
        }
    }
}

#[test]
fn an_alert_behind_the_handshake_is_not_answered() {
    // Warnings but two are forbidden in TLS 1.3, and levels that are none in both.
    for (version, alerts) in VERSIONS.into_iter().zip([&[[2, 80], [9, 80]][..], &[[2, 80], [1, 80], [9, 80]]]) {
        for alert in alerts {
            let mut world = World::new();
            let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
            let mut forger = Forger::new(&mut world, &address, version);
            forger.say(&mut world, ContentType::Alert, alert);
            assert_eq!(forger.hear_answer(&mut world), None, "{alert:?}");
            forger.peer.finish();
            assert_eq!(world.until_empty(), [Reason::Tls(TlsFault::AlertReceived(80))]);
        }
    }
}

#[test]
fn an_alert_that_a_server_answers_with_is_not_answered() {
    let cases: [(Vec<u8>, u8); 4] =
        [(fatal(40).into(), 40), (fatal(112).into(), 112), (vec![ALERT, 3, 3, 0, 2, 7, 70], 70), (fatal(0).into(), 0)];
    for (bytes, description) in cases {
        for piece in [1000, 1] {
            let mut world = World::new();
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address: Address =
                format!("tls://{}", listener.local_addr().expect("an address")).parse().expect("an address");
            let config = ConnectConfig { tls: Some(security::client()), ..ConnectConfig::default() };
            world.connect(&address, config, Hooks::new().open(|_| panic!("it must not open")));
            listener.set_nonblocking(true).expect("a mode");
            let mut accepted = None;
            world.until("a connect", |_| {
                accepted = listener.accept().ok();
                accepted.is_some()
            });
            let (socket, _) = accepted.expect("a connection");
            socket.set_nonblocking(true).expect("a mode");
            let mut peer = Peer::plain(socket);
            let first = peer.read_exact_while(&mut world, 1)[0];
            assert_eq!(first, 22);
            let said = answer(&mut world, &mut peer, &bytes, piece);
            // The rest of the hello, and nothing behind it.
            let length = usize::from(u16::from_be_bytes([said[2], said[3]]));
            assert_eq!(said.len(), 4 + length, "{:?}", &said[4 + length..]);
            assert_eq!(world.until_empty(), [Reason::Tls(TlsFault::AlertReceived(description))]);
        }
    }
}
