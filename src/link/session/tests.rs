//! Sessions wired back to back through the buffers that links use, without sockets.

use super::*;
use crate::link::buffers::{KEPT_BYTES_MAX, Scratch};
use crate::tls::provider;
use proptest::prelude::*;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{NoServerSessionStorage, ServerConfig, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// One side: a session, what it has received and not opened, and what it has opened.
struct Side {
    session: Session,
    scratch: Scratch,
    kept: Vec<u8>,
    seen: usize,
    plain: Vec<u8>,
    sealed: Sealed,
    fault: Option<TlsFault>,
}

impl Side {
    fn new(session: Session) -> Side {
        let (scratch, sealed) = (Scratch::new(), Sealed::default());
        Side { session, scratch, kept: Vec::new(), seen: 0, plain: Vec::new(), sealed, fault: None }
    }

    /// Opens what came, behind what was kept, in a place that is poisoned afterwards.
    fn take(&mut self, bytes: &[u8]) {
        let was_secured = self.session.is_secured();
        self.scratch.bytes()[..bytes.len()].copy_from_slice(bytes);
        let (wire, plain) = self.scratch.wire(&self.kept, bytes.len());
        let opened = self.session.open(wire, self.seen, &mut Quota::ALL.clone(), plain, &mut self.sealed);
        self.seen = opened.seen;
        self.kept = wire[opened.consumed..].to_vec();
        wire.fill(0xa5);
        assert!(plain.is_empty() || was_secured || self.session.is_secured(), "plaintext before the handshake's end");
        self.plain.extend_from_slice(plain);
        self.fault = self.fault.or(opened.fault);
        assert!(self.kept.len() < KEPT_BYTES_MAX);
    }

    fn say(&mut self, bytes: &[u8]) {
        self.session.seal(bytes, &mut self.kept[..self.seen], &mut self.sealed).expect("keys that are not worn out");
    }

    fn close(&mut self) {
        self.session.close(&mut self.kept[..self.seen], &mut self.sealed);
    }

    fn records(&mut self) -> Vec<u8> {
        let records = self.sealed.bytes().to_vec();
        self.sealed.clear();
        records
    }
}

/// Carries records to and fro, cut into pieces, until nobody has anything to say.
fn carry(one: &mut Side, two: &mut Side, mut cut: impl FnMut() -> usize) {
    loop {
        let (there, back) = (one.records(), two.records());
        if there.is_empty() && back.is_empty() {
            return;
        }
        for (bytes, to) in [(there, &mut *two), (back, &mut *one)] {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(cut().clamp(1, rest.len()));
                to.take(piece);
                rest = more;
            }
        }
    }
}

pub(crate) struct World {
    pub(crate) server: ServerTls,
    pub(crate) client: ClientTls,
}

pub(super) fn world(
    version: &'static SupportedProtocolVersion,
    change: impl FnOnce(&mut ServerConfig, &mut ClientConfig),
) -> World {
    world_of(&rcgen::PKCS_ECDSA_P256_SHA256, version, change)
}

pub(crate) fn world_of(
    algorithm: &'static rcgen::SignatureAlgorithm,
    version: &'static SupportedProtocolVersion,
    change: impl FnOnce(&mut ServerConfig, &mut ClientConfig),
) -> World {
    let pair = rcgen::KeyPair::generate_for(algorithm).expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&pair).expect("a certificate");
    let key = || PrivateKeyDer::try_from(pair.serialize_der()).expect("a key");
    let chain = vec![certificate.der().clone()];
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("a root");
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).allow_unauthenticated();
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain.clone(), key())
        .expect("a key that fits");
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().expect("a ticketer");
    server.session_storage = Arc::new(NoServerSessionStorage {});
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key())
        .expect("a key that fits");
    change(&mut server, &mut client);
    let client = ClientTls::from(Arc::new(client)).for_server("localhost").expect("a name");
    World { server: Arc::new(server).into(), client }
}

/// A server, and the first words of one of its clients.
pub(crate) fn greeting() -> (ServerTls, Vec<u8>) {
    let world = world(&TLS13, |_, _| {});
    let mut client = Side::new(Session::client(&world.client, None).expect("a name"));
    client.take(&[]);
    (world.server, client.records())
}

impl World {
    fn sides(&self) -> (Side, Side) {
        let mut client = Side::new(Session::client(&self.client, None).expect("a name"));
        client.take(&[]);
        (Side::new(Template::new(&self.server).session()), client)
    }
}

/// A cheap source of cuts.
fn cuts(seed: u64, most: usize) -> impl FnMut() -> usize {
    let mut state = seed | 1;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (state >> 33) as usize % most
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn records_arrive_however_they_are_cut(seed in any::<u64>(), most in prop_oneof![1usize..8, 8usize..9_000], large in any::<bool>()) {
        for version in [&TLS12, &TLS13] {
            let world = world(version, |_, client| {
                if large {
                    // A hello of 42 KB.
                    client.alpn_protocols = (0..170u8).map(|n| vec![n; 250]).collect();
                }
            });
            let (mut server, mut client) = world.sides();
            let mut cut = cuts(seed, most);
            carry(&mut client, &mut server, &mut cut);
            prop_assert_eq!((server.fault, client.fault), (None, None));
            prop_assert!(server.session.is_secured() && client.session.is_secured());
            let info = server.session.info().expect("it is secured");
            prop_assert_eq!((info.server_name(), info.peer_certificates().map(<[_]>::len)), (Some("localhost"), Some(1)));
            let (question, answer) = (vec![7; cut() * 3], vec![8; cut() * 5]);
            client.say(&question);
            server.say(&answer);
            carry(&mut client, &mut server, &mut cut);
            prop_assert!(server.plain == question && client.plain == answer);
            // Half-close: one side may go on after the other has ended.
            client.close();
            carry(&mut client, &mut server, &mut cut);
            prop_assert!(server.session.is_peer_closed() && !server.session.is_truncated());
            client.say(b"nothing is said behind it");
            if version.version == ProtocolVersion::TLSv1_3 {
                server.say(b"more");
            }
            server.close();
            carry(&mut client, &mut server, &mut cut);
            prop_assert!(client.session.is_peer_closed());
            prop_assert_eq!(server.plain.len(), question.len());
            prop_assert!(client.kept.is_empty() && server.kept.is_empty());
        }
    }

    #[test]
    fn no_bytes_make_a_session_panic(bytes in prop::collection::vec(any::<u8>(), 0..3_000), valid in 0usize..600, most in 1usize..900) {
        let world = world(&TLS13, |_, _| {});
        let (mut server, mut client) = world.sides();
        let mut hello = client.records();
        hello.truncate(valid);
        hello.extend_from_slice(&bytes);
        let mut cut = cuts(valid as u64, most);
        let mut rest = &hello[..];
        while !rest.is_empty() && server.fault.is_none() {
            let (piece, more) = rest.split_at(cut().clamp(1, rest.len()));
            server.take(piece);
            rest = more;
        }
        client.take(&bytes);
        prop_assert!(server.plain.is_empty() && client.plain.is_empty());
        server.say(b"not before the handshake's end");
        server.close();
    }
}

/// rustls remembers how far it is in what it was shown; to be shown nothing then makes it panic.
#[test]
fn sealing_in_the_middle_of_a_fragmented_message_harms_nothing() {
    let world = world(&TLS13, |server, _| {
        // The tickets that follow the handshake come in many records.
        server.max_fragment_size = Some(64);
        server.send_tls13_tickets = 4;
    });
    let (mut server, mut client) = world.sides();
    let mut said = 0;
    for _ in 0..6 {
        server.take(&client.records());
        for byte in server.records() {
            client.take(&[byte]);
            if client.session.is_secured() {
                client.say(b"x");
                said += 1;
            }
        }
    }
    server.take(&client.records());
    assert_eq!((server.fault, client.fault), (None, None));
    assert!(said > 500 && server.plain.len() == said, "{said} said, {} heard", server.plain.len());
    client.close();
    server.take(&client.records());
    assert!(server.session.is_peer_closed());
}

#[test]
fn after_a_fault_the_alert_is_sealed_and_nothing_else() {
    let world = world(&TLS13, |_, _| {});
    let (mut server, mut client) = world.sides();
    carry(&mut client, &mut server, || 5_000);
    client.say(b"a word");
    let mut records = client.records();
    *records.last_mut().expect("a record") ^= 1;
    server.take(&records);
    assert_eq!(server.fault, Some(TlsFault::BadRecord));
    let alert = server.records();
    assert!(!alert.is_empty());
    server.say(b"a word");
    server.close();
    assert!(server.records().is_empty());
    client.take(&alert);
    assert_eq!(client.fault, Some(TlsFault::AlertReceived(20)));
}

#[test]
fn nothing_of_rustls_is_made_before_a_whole_hello() {
    let world = world(&TLS13, |_, _| {});
    let (mut server, mut client) = world.sides();
    let hello = client.records();
    for byte in &hello[..hello.len() - 1] {
        server.take(&[*byte]);
        assert!(server.session.is_not_started() && server.sealed.len() == 0);
    }
    server.take(&hello[hello.len() - 1..]);
    assert!(!server.session.is_not_started() && server.sealed.len() > 0);
}

/// Whatever the name was chosen by, if rustls reads another one: nothing of its answer leaves, on no version.
#[test]
fn a_server_that_was_chosen_for_another_name_says_nothing_but_an_alert() {
    use crate::tls::{Pem, UnknownName};
    for version in [&TLS12, &TLS13] {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let [chain, key] = [made.cert.pem(), made.signing_key.serialize_pem()].map(|pem| Pem::bytes(pem.into_bytes()));
        let with = || ServerTls::builder().certificate(chain.clone(), key.clone());
        for (named, fault, alert) in [
            ("localhost", TlsFault::Misbehaved, DECODE_ERROR),
            ("other.example.org", TlsFault::UnknownName, UNRECOGNIZED_NAME),
        ] {
            let server = with().name(named, with()).unknown_names(UnknownName::Refused).build().expect("a server");
            let (mut ours, mut client) = world(version, |_, _| {}).sides();
            let hello = client.records();
            // A message without a name, and without extensions.
            let nameless = [&[1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
            let Chosen { config, is_offloaded, guard } = server.choose(Some(&nameless)).expect("the usual one");
            assert!(guard.is_some());
            let rustls = UnbufferedServerConnection::new(config).expect("a server");
            let place = Place::of(is_offloaded);
            ours.session.engine = Engine::Server(Box::new(Server { rustls, place, name: None, guard }));
            ours.take(&hello);
            assert_eq!((ours.fault, ours.records()), (Some(fault), alert.to_vec()));
            let told = ours.session.failure().expect("a text").to_owned();
            assert!(told.contains("asked for \"localhost\""), "{told}");
            assert!(!ours.session.is_secured() && ours.plain.is_empty());
        }
    }
}
