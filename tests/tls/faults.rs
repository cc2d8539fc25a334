//! Peers that break the protocol, end it wrongly, or do not speak it: each loses its own connection, and is told why.

use crate::raw::{Client, dial};
use crate::support::{Echo, Heard, Hooks, Kind, Sink, World, security};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windlass::rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use windlass::rustls::sign::CertifiedKey;
use windlass::rustls::{ClientConfig, RootCertStore};
use windlass::{ClientTls, Conn, ConnectConfig, Expiry, Limits, ListenConfig, Reason, TlsFault, Truncation, tls};

const KINDS: [Kind; 2] = [Kind::Tls, Kind::TlsUnix];

/// A record of handshake messages with such a body.
fn handshake_record(body: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

#[test]
fn what_is_no_tls_is_recognised_answered_by_an_alert_and_told() {
    let inputs: [(&str, Vec<u8>); 6] = [
        ("http", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("ssh", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        ("zeros", vec![0; 4096]),
        ("noise", (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect()),
        ("SSLv2", [&[0x80, 0x2e, 1, 3, 1, 0, 0x15][..], &[0; 41]].concat()),
        ("version 9", vec![22, 9, 9, 0, 4, 1, 0, 0, 0]),
    ];
    for (what, bytes) in inputs {
        for kind in KINDS {
            eprintln!("{what} over {kind:?}");
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
            let mut peer = dial(&address);
            peer.send_all_while(&mut world, &bytes);
            let answer = peer.read_to_end_while(&mut world).expect("an end, no reset");
            // A fatal alert, in plain text.
            assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{answer:?}");
            drop(peer);
            world.until_empty();
            assert_eq!((world.log.made(), world.log.heard()), (0, vec![Heard::Failed(Reason::Tls(TlsFault::NotTls))]));
        }
    }
}

#[test]
fn hellos_that_are_too_long_or_wrong_are_refused_with_an_alert() {
    let long = handshake_record(&[1, 2, 0, 0, 3, 3]);
    let empty = handshake_record(&[]);
    let other = handshake_record(&[2, 0, 0, 2, 3, 3]);
    let oversized = [&[22, 3, 1, 0x48, 0x01][..], &[1; 100]].concat();
    let garbled = handshake_record(&[&[1, 0, 0, 60][..], &[0xff; 60]].concat());
    for bytes in [long, empty, other, oversized, garbled] {
        for kind in KINDS {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
            let mut peer = dial(&address);
            peer.send_all_while(&mut world, &bytes);
            let answer = peer.read_to_end_while(&mut world).expect("an end, no reset");
            assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, _]), "{answer:?} to {:?}", &bytes[..9.min(bytes.len())]);
            drop(peer);
            world.until_empty();
            assert!(matches!(world.log.heard()[..], [Heard::Failed(Reason::Tls(_))]), "{:?}", world.log.heard());
        }
    }
}

#[test]
fn a_hello_that_never_ends_costs_a_bounded_amount_and_is_refused() {
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
    let mut peer = dial(&address);
    // 64 KiB in records of one byte: six times as many on the wire.
    let mut wire = Vec::new();
    for byte in [1u8, 0, 0xff, 0xff].into_iter().chain(std::iter::repeat_n(0, 60_000)) {
        wire.extend_from_slice(&handshake_record(&[byte]));
    }
    let mut sent = 0;
    world.until("the server to give up", |world| {
        sent += peer.write_some(&wire[sent.min(wire.len())..]).unwrap_or(0);
        !world.log.heard().is_empty() || matches!(peer.try_read(&mut [0; 64]), Some(Ok(0) | Err(_)))
    });
    drop(peer);
    world.until_empty();
    assert_eq!(world.log.heard(), [Heard::Failed(Reason::Tls(TlsFault::TooLarge))]);
}

#[test]
fn an_end_without_close_notify_is_a_truncation_behind_the_data() {
    for kind in KINDS {
        for truncation in [Truncation::Refused, Truncation::Tolerated] {
            for half_a_record in [false, true] {
                let mut world = World::new();
                let mut tls = security::server();
                tls.truncation = truncation;
                let tls = Some(tls);
                let address = world.listen(kind, ListenConfig { tls, ..ListenConfig::default() }, |_: &Conn<'_>| Sink);
                let mut client = Client::usual(&address);
                client.shake(&mut world, 1000);
                client.write(b"all of it");
                let mut records = client.records();
                if half_a_record {
                    client.write(b"and half a record");
                    let more = client.records();
                    records.extend_from_slice(&more[..more.len() / 2]);
                }
                client.peer.send_all_while(&mut world, &records);
                client.peer.finish();
                world.until("the data", |world| world.log.made() == 1 && world.log.shown(0) == 9);
                drop(client);
                let expected = match truncation {
                    Truncation::Tolerated if !half_a_record => Reason::PeerClosed,
                    _ => Reason::Truncated,
                };
                assert_eq!(world.until_empty(), [expected], "{truncation:?}");
            }
        }
    }
}

#[test]
fn a_record_that_cannot_be_opened_is_answered_by_an_alert_and_told() {
    for kind in KINDS {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut client = Client::usual(&address);
        client.shake(&mut world, 1000);
        client.write(b"a word");
        let mut records = client.records();
        *records.last_mut().expect("a record") ^= 1;
        client.peer.send_all_while(&mut world, &records);
        world.until("the alert", |_| !client.receive());
        drop(client);
        assert_eq!(world.until_empty(), [Reason::Tls(TlsFault::BadRecord)]);
        assert_eq!(world.log.shown(0), 0);
    }
}

#[test]
fn a_flood_of_key_updates_ends_its_own_connection_only() {
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let mut bystander = world.dial(&address);
    bystander.send_all_while(&mut world, b"one");
    let mut client = Client::usual(&address);
    client.shake(&mut world, 1000);
    for _ in 0..40 {
        client.tls.refresh_traffic_keys().expect("an update");
    }
    let records = client.records();
    client.peer.send_all_while(&mut world, &records);
    world.until("the alert", |_| !client.receive());
    drop(client);
    world.until("it to end", |world| world.log.reasons().len() == 1);
    assert!(matches!(world.log.reasons()[..], [Reason::Tls(_)]), "{:?}", world.log.reasons());
    bystander.send_all_while(&mut world, b"two");
    assert_eq!(bystander.read_exact_while(&mut world, 6), b"onetwo");
}

#[test]
fn key_updates_beside_data_are_answered_and_lose_nothing() {
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let mut client = Client::usual(&address);
    client.shake(&mut world, 1000);
    let mut got = Vec::new();
    for round in 0..200u8 {
        client.tls.refresh_traffic_keys().expect("an update");
        client.write(&[round]);
        client.send_in_pieces(&mut world, 100_000);
        assert!(client.receive());
        got.extend(client.read());
    }
    world.until("all of it", |_| {
        assert!(client.receive());
        got.extend(client.read());
        got.len() == 200
    });
    assert!(got.iter().copied().eq(0..200));
}

#[test]
fn records_without_data_do_not_keep_an_idle_connection() {
    let mut world = World::new();
    let idle = Some(Duration::from_millis(200));
    let limits = Limits { idle_timeout: idle, ..Limits::default() };
    let address = world.listen(Kind::Tls, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| Sink);
    let mut client = Client::usual(&address);
    client.shake(&mut world, 1000);
    let since = Instant::now();
    let mut updates = 0;
    world.until("the idle timeout", |world| {
        // Fewer than what rustls takes for a flood.
        if since.elapsed() > Duration::from_millis(20 * updates) && updates < 20 {
            updates += 1;
            client.tls.refresh_traffic_keys().expect("an update");
            let records = client.records();
            let _ = client.peer.write_some(&records);
        }
        world.log.reasons() == [Reason::Timeout(Expiry::Idle)]
    });
    assert!(updates > 5 && since.elapsed() < Duration::from_millis(350), "{updates} in {:?}", since.elapsed());
}

#[derive(Debug)]
struct Panicking;

impl ResolvesServerCert for Panicking {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        panic!("the test")
    }
}

#[test]
fn a_panic_in_a_resolver_ends_that_connection_only() {
    let mut world = World::new();
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Panicking));
    let ill = ListenConfig { tls: Some(Arc::new(config).into()), ..ListenConfig::default() };
    let ill = world.listen(Kind::Tls, ill, |_: &Conn<'_>| Echo);
    let well = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let mut neighbour = world.dial(&well);
    let mut unlucky = world.dial(&ill);
    let end = unlucky.read_to_end_while(&mut world).expect_err("no handshake");
    assert!(matches!(end.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{end}");
    neighbour.send_all_while(&mut world, b"well");
    assert_eq!(neighbour.read_exact_while(&mut world, 4), b"well");
    assert_eq!(world.log.heard(), [Heard::Failed(Reason::HandlerPanicked)]);
    assert_eq!(world.reactor().snapshot().panics, 1);
}

#[test]
fn a_client_refuses_a_certificate_of_another_name_or_of_an_unknown_issuer() {
    let strangers = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let another = security::client().for_server("another.example").expect("a name");
    let unknown = ClientTls::from(Arc::new(strangers)).for_server(security::NAME).expect("a name");
    // The address names no host but an IP address, which the certificate is not for.
    let by_address = security::nameless();
    let cases = [(another, TlsFault::WrongName), (unknown, TlsFault::UnknownIssuer), (by_address, TlsFault::WrongName)];
    for (tls, fault) in cases {
        let mut world = World::new();
        let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let config = ConnectConfig { tls: Some(tls), ..ConnectConfig::default() };
        world.connect(&address, config, Hooks::new().open(|_| panic!("it must not open")));
        world.until("both to end", |world| world.reactor().connections() == 0);
        assert_eq!(world.log.reasons(), [Reason::Tls(fault)]);
        let heard = world.log.heard();
        assert!(matches!(heard[..], [Heard::Failed(Reason::Tls(TlsFault::AlertReceived(_)))]), "{heard:?}");
    }
}

#[test]
fn configurations_that_contradict_the_address_are_refused_by_name() {
    let mut world = World::new();
    let secured = ListenConfig { tls: Some(security::server()), ..ListenConfig::default() };
    let plain: windlass::Address = "tcp://127.0.0.1:0".parse().expect("an address");
    let over_tls: windlass::Address = "tls://127.0.0.1:0".parse().expect("an address");
    let told = |error: windlass::Error| error.to_string();
    let reactor = world.reactor();
    let error = told(reactor.listen(&plain, secured, |_: &Conn<'_>| Sink).expect_err("a contradiction"));
    assert!(error.contains("tcp://127.0.0.1:0") && error.contains("write tls://"), "{error}");
    let error = told(reactor.listen(&over_tls, ListenConfig::default(), |_: &Conn<'_>| Sink).expect_err("no keys"));
    assert!(error.contains("set `tls`"), "{error}");
    let error = told(reactor.connect(&over_tls, ConnectConfig::default(), Sink).expect_err("no roots"));
    assert!(error.contains("set `tls`"), "{error}");
    let nameless = security::nameless();
    let config = ConnectConfig { tls: Some(nameless), ..ConnectConfig::default() };
    let unix = "tls+unix:/nowhere".parse().expect("an address");
    let error = told(reactor.connect(&unix, config, Sink).expect_err("no name"));
    assert!(error.starts_with("server_name cannot be None"), "{error}");
}
