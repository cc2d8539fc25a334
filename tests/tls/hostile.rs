//! Peers who mean ill, by TLS: HOSTILE's rows that need a hand-made message or a crowd of odd records.

use crate::raw::{Client, dial};
use crate::support::{Echo, Heard, Kind, Peer, Sink, World, security};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use windlass::rustls::client::Resumption;
use windlass::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use windlass::rustls::{AlertDescription, ClientConfig, ClientConnection, Error, HandshakeKind};
use windlass::tls::{ClientAuth, Pem};
use windlass::{Address, Conn, ListenConfig, Reason, ServerTls, TlsFault};

// --- hand-made hellos -------------------------------------------------------------------------------------------------

/// Puts extensions behind, or in front of, those of a hello in one record, and cuts the result into records.
pub(crate) fn with_extensions(hello: &[u8], front: &[u8], back: &[u8]) -> Vec<u8> {
    let body = &hello[9..];
    let mut at = 2 + 32;
    at += 1 + usize::from(body[at]);
    at += 2 + usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    at += 1 + usize::from(body[at]);
    let extensions = [front, &body[at + 2..], back].concat();
    let length = u16::try_from(extensions.len()).expect("a length that can be written");
    let body = [&body[..at], &length.to_be_bytes(), &extensions].concat();
    let message = [&[1], &(body.len() as u32).to_be_bytes()[1..], &body].concat();
    let record = |piece: &[u8]| [&[22, 3, 1], &(piece.len() as u16).to_be_bytes()[..], piece].concat();
    message.chunks(16_000).flat_map(record).collect()
}

pub(crate) fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

pub(crate) fn counted(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

pub(crate) const SERVER_NAME: u16 = 0;
const PRE_SHARED_KEY: u16 = 41;

/// A hello without a name and without tickets: nothing that would stand twice.
pub(crate) fn hello() -> Vec<u8> {
    let mut config = (*security::client().config()).clone();
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(security::NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector");
    hello
}

/// Sends a hello, and says what kind of record answers it first.
fn answer(world: &mut World, address: &Address, hello: &[u8]) -> u8 {
    let mut peer = dial(address);
    peer.send_all_while(world, hello);
    let first = peer.read_exact_while(world, 1)[0];
    drop(peer);
    world.until_empty();
    first
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// The listener lives: an ordinary client is served.
pub(crate) fn still_serves(world: &mut World, address: &Address) {
    let mut peer = world.dial(address);
    peer.send_all_while(world, b"hello");
    assert_eq!(peer.read_exact_while(world, 5), b"hello");
    drop(peer);
    world.until_empty();
}

#[test]
fn odd_names_end_in_a_handshake_or_an_alert() {
    let names =
        ServerTls::builder().certificate(Pem::bytes(security::certificate_pem()), Pem::bytes(security::key_pem()));
    let named = names.clone().name("localhost", names).build().expect("a server");
    for tls in [security::server(), named] {
        let mut world = World::new();
        let config = ListenConfig { tls: Some(tls), ..ListenConfig::default() };
        let address = world.listen(Kind::Tls, config, |_: &Conn<'_>| Echo);
        let plain = hello();
        let long = [b"a".repeat(63), b"b".repeat(63), b"c".repeat(63), b"d".repeat(63)].join(&b'.');
        let cases: [(&[u8], u8); 9] = [
            (b"localhost", HANDSHAKE),
            (b"LOCALHOST", HANDSHAKE),
            (b"localhost.", 0),
            (b"127.0.0.1", 0),
            (&long, 0),
            (b"a\0b", 0),
            (b"", 0),
            (b"\xff\xfe", 0),
            (b"*", 0),
        ];
        for (name, expected) in cases {
            let list = counted(&[&[0][..], &counted(name)].concat());
            let hello = with_extensions(&plain, &extension(SERVER_NAME, &list), &[]);
            let first = answer(&mut world, &address, &hello);
            assert!(first == expected || expected == 0 && [ALERT, HANDSHAKE].contains(&first), "{name:?}: {first}");
        }
        assert!(world.log.heard().iter().all(|heard| !matches!(heard, Heard::Failed(Reason::HandlerPanicked))));
        still_serves(&mut world, &address);
    }
}

/// Else a client would choose the configuration that checks less, and be known by the name of the one that checks more.
#[test]
fn a_hello_is_served_by_its_name_however_its_records_are_cut() {
    let builder =
        || ServerTls::builder().certificate(Pem::bytes(security::certificate_pem()), Pem::bytes(security::key_pem()));
    let tls = builder().alpn(["usual"]).name("localhost", builder().alpn(["named"])).build().expect("a server");
    for filler in [0u8, 150] {
        for bytes in [1, 7, 500, 16_000] {
            let mut config = (*security::client().config()).clone();
            config.alpn_protocols = vec![b"usual".to_vec(), b"named".to_vec()];
            config.alpn_protocols.extend((0..filler).map(|n| vec![n; 250]));
            let mut world = World::new();
            let listen = ListenConfig { tls: Some(tls.clone()), ..ListenConfig::default() };
            let address = world.listen(Kind::Tls, listen, |_: &Conn<'_>| Echo);
            let mut client = Client::new(&address, Arc::new(config), "localhost");
            let (whole, mut message) = (client.records(), Vec::new());
            let mut rest = &whole[..];
            while let Some((header, more)) = rest.split_first_chunk::<5>() {
                let (body, more) = more.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
                message.extend_from_slice(body);
                rest = more;
            }
            let record = |piece: &[u8]| [&[22, 3, 1], &counted(piece)[..]].concat();
            let records: Vec<u8> = message.chunks(bytes).flat_map(record).collect();
            client.peer.send_all_while(&mut world, &records);
            let mut is_refused = false;
            world.until("the handshake, or a refusal", |world| {
                is_refused = !client.receive();
                client.send_in_pieces(world, 10_000);
                is_refused || !client.tls.is_handshaking()
            });
            let what = format!("{} bytes by {bytes}", message.len());
            // Six bytes for each one are too much.
            assert_eq!(is_refused, filler > 0 && bytes == 1, "{what}: {:?}", world.log.heard());
            assert!(is_refused || client.tls.alpn_protocol() == Some(&b"named"[..]), "{what}");
        }
    }
}

#[test]
fn ten_thousand_extensions_and_hundreds_of_keys_disturb_nobody() {
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let plain = hello();
    let many: Vec<u8> = (0..10_000u16).flat_map(|kind| extension(0x5000 + kind, &[])).collect();
    let twice = extension(0x5000, &[]).repeat(2);
    let psk = |count: usize, bytes: usize| {
        let identities = [counted(&vec![7; bytes]), vec![0; 4]].concat().repeat(count);
        let binders = [&[32][..], &[9; 32]].concat().repeat(count);
        extension(PRE_SHARED_KEY, &[counted(&identities), counted(&binders)].concat())
    };
    for hello in [
        with_extensions(&plain, &many, &[]),
        with_extensions(&plain, &twice, &[]),
        with_extensions(&plain, &[], &psk(700, 40)),
        with_extensions(&plain, &[], &psk(1, 60_000)),
    ] {
        let first = answer(&mut world, &address, &hello);
        assert!([ALERT, HANDSHAKE].contains(&first), "{first}");
    }
    still_serves(&mut world, &address);
}

#[test]
fn a_ticket_with_a_flipped_bit_is_no_ticket_and_no_error() {
    let mut world = World::new();
    let certificate = Pem::bytes(security::certificate_pem());
    let tls = ServerTls::builder().certificate(certificate, Pem::bytes(security::key_pem()));
    let config = ListenConfig { tls: Some(tls.build().expect("a server")), ..ListenConfig::default() };
    let address = world.listen(Kind::Tls, config, |_: &Conn<'_>| Echo);
    let mut config = (*security::client().config()).clone();
    config.resumption = Resumption::in_memory_sessions(4);
    let config = Arc::new(config);
    let visit = |world: &mut World| {
        let mut client = Client::new(&address, config.clone(), security::NAME);
        client.shake(world, 10_000);
        client.write(b"x");
        client.send_in_pieces(world, 10_000);
        world.until("tickets and the echo", |_| client.receive() && client.read() == b"x");
        client.tls.handshake_kind()
    };
    visit(&mut world);
    assert_eq!(visit(&mut world), Some(HandshakeKind::Resumed));
    world.until_empty();
    // The ticket is the middle of the last extension; behind it there are four bytes of age and the binder.
    let mut hello = Client::new(&address, config.clone(), security::NAME).records();
    world.until_empty();
    let middle = hello.len() - 80;
    hello[middle] ^= 4;
    assert_eq!(answer(&mut world, &address, &hello), HANDSHAKE);
}

// --- odd records ------------------------------------------------------------------------------------------------------

/// Sends records until the server has enough; says why it had.
fn until_enough(world: &mut World, peer: &mut Peer, record: &[u8], count: usize) -> Reason {
    let failed = world.log.heard().len();
    for _ in 0..count {
        if peer.write_some(record).is_err() || world.log.heard().len() > failed {
            break;
        }
        world.turn();
    }
    let _ = peer.read_to_end_while(world);
    peer.finish();
    world.until("the refusal", |world| world.log.heard().len() > failed);
    match world.log.heard()[failed] {
        Heard::Failed(reason) => reason,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn floods_of_cipher_changes_and_warnings_are_fatal() {
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let hello = hello();
    let change = [20, 3, 3, 0, 1, 1];
    let warning = [21, 3, 3, 0, 2, 1, 90];
    for (first, record) in [(&hello[..], &change[..]), (&hello, &warning), (&[], &warning), (&[], &change)] {
        let mut peer = dial(&address);
        peer.send_all_while(&mut world, first);
        let reason = until_enough(&mut world, &mut peer, record, 100);
        assert!(matches!(reason, Reason::Tls(_)), "{reason:?} for {record:?} behind {} bytes", first.len());
        drop(peer);
        world.until_empty();
    }
    still_serves(&mut world, &address);
}

#[test]
fn tens_of_thousands_of_tiny_records_are_a_stream_like_any_other() {
    const RECORDS: usize = 65_536;
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let mut client = Client::usual(&address);
    client.shake(&mut world, 10_000);
    let mut other = world.dial(&address);
    let (mut said, mut got) = (0, 0);
    while got < RECORDS {
        for _ in 0..256.min(RECORDS - said) {
            client.write(&[said as u8]);
            said += 1;
        }
        let records = client.records();
        client.peer.send_all_while(&mut world, &records);
        world.turn();
        assert!(client.receive());
        for byte in client.read() {
            assert_eq!(byte, got as u8);
            got += 1;
        }
        if said % 8192 == 0 && said < RECORDS {
            other.send_all_while(&mut world, b"hello");
            assert_eq!(other.read_exact_while(&mut world, 5), b"hello");
        }
    }
}

/// Each costs 4 us, and rustls forgets how many there were as soon as a byte of data comes: 1.1 million of them, and nobody
/// was closed.
#[test]
fn key_updates_have_a_limit_in_time_that_data_between_them_does_not_reset() {
    for bytes in [1, 200] {
        let mut world = World::new();
        let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let ordinary = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut client = Client::usual(&address);
        client.shake(&mut world, 10_000);
        let mut other = world.dial(&ordinary);
        let mut sent = 0;
        world.until("the alert", |world| {
            for _ in 0..16 {
                client.tls.refresh_traffic_keys().expect("TLS 1.3");
                client.write(&vec![b'x'; bytes]);
                sent += 1;
            }
            let records = client.records();
            client.peer.send_all_while(world, &records);
            other.send_all_while(world, b"hello");
            assert_eq!(other.read_exact_while(world, 5), b"hello");
            !client.receive()
        });
        assert_eq!(client.fault, Some(Error::AlertReceived(AlertDescription::UnexpectedMessage)));
        // 255 at once, 20 a second more, and what was on its way.
        assert!(sent > 255, "{sent}");
        drop((client, other));
        let reasons = world.until_empty();
        assert!(reasons.contains(&Reason::Tls(TlsFault::Misbehaved)), "{reasons:?}");
    }
}

// --- client certificates ----------------------------------------------------------------------------------------------

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority(issuer: Option<&Issuer>) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    match issuer {
        None => CertifiedIssuer::self_signed(params, key).expect("an issuer"),
        Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).expect("an issuer"),
    }
}

/// A client's configuration with a chain: its own certificate, issued by `issuer`, and then `others`.
pub(crate) fn showing(
    issuer: &Issuer,
    others: Vec<CertificateDer<'static>>,
    change: impl FnOnce(&mut CertificateParams),
) -> Arc<ClientConfig> {
    let mut params = CertificateParams::new(["member".to_owned()]).expect("a name");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let own = params.signed_by(&key, issuer).expect("a certificate").der().clone();
    let mut roots = windlass::rustls::RootCertStore::empty();
    roots.add(security::certificate()).expect("a root");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let chain = std::iter::once(own).chain(others).collect();
    let config = ClientConfig::builder_with_provider(windlass::tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key);
    Arc::new(config.expect("a chain and its key"))
}

#[test]
fn bad_client_certificates_are_refused_by_kind() {
    let root = authority(None);
    let mut deep = vec![authority(Some(&root))];
    while deep.len() < 100 {
        let next = authority(deep.last());
        deep.push(next);
    }
    let chain: Vec<_> = deep.iter().rev().map(|issuer| issuer.der().clone()).collect();
    let stranger = authority(None);
    let heavy = |count: usize| vec![root.der().clone(); count];
    let tls = ServerTls::builder()
        .certificate(Pem::bytes(security::certificate_pem()), Pem::bytes(security::key_pem()))
        .client_auth(ClientAuth::Required)
        .client_roots(Pem::bytes(root.pem()));
    let mut world = World::new();
    let config = ListenConfig { tls: Some(tls.build().expect("a server")), ..ListenConfig::default() };
    let address = world.listen(Kind::Tls, config, |conn: &Conn<'_>| {
        assert!(conn.tls().and_then(|tls| tls.peer_certificates()).is_some_and(|chain| !chain.is_empty()));
        Sink
    });
    let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let cases = [
        ("none", security::client().config(), TlsFault::NoCertificate),
        ("of a stranger of the same name", showing(&stranger, vec![], |_| {}), TlsFault::BadSignature),
        ("expired", showing(&root, vec![], expired), TlsFault::CertificateExpired),
        ("100 deep", showing(deep.last().expect("one"), chain, |_| {}), TlsFault::BadCertificate),
        ("200 KB", showing(&root, heavy(600), |_| {}), TlsFault::TooLarge),
        ("16 MB", showing(&root, heavy(40_000), |_| {}), TlsFault::TooLarge),
    ];
    for (what, config, fault) in cases {
        let failed = world.log.heard().len();
        let mut client = Client::new(&address, config, security::NAME);
        let mut waiting = Vec::new();
        world.until(what, |_| {
            waiting.extend(client.records());
            let sent = client.peer.write_some(&waiting).unwrap_or(waiting.len());
            waiting.drain(..sent);
            !client.receive()
        });
        drop(client);
        world.until_empty();
        assert_eq!(world.log.heard()[failed..], [Heard::Failed(Reason::Tls(fault))], "{what}");
    }
    let mut good = Client::new(&address, showing(&root, vec![], |_| {}), security::NAME);
    good.shake(&mut world, 10_000);
    world.until_open(1);
}
