//! That rustls still writes sessions in the form that is read here, and what becomes of others.

use super::*;
use crate::tls::provider;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerified;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, RootCertStore};
use rustls::{HandshakeKind, ServerConnection, SignatureScheme, SupportedProtocolVersion, version};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Tickets that are the sessions themselves.
#[derive(Debug, Default)]
struct Open(Mutex<Vec<Vec<u8>>>);

impl ProducesTickets for Open {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().expect("sessions").push(plain.to_vec());
        Some(plain.to_vec())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        Some(cipher.to_vec())
    }
}

/// Lets in everybody, or nobody, and counts how often it was asked.
#[derive(Debug)]
struct Moody {
    lets_in: AtomicBool,
    is_mandatory: bool,
    asked: AtomicUsize,
    scheme: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Moody {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.lets_in.load(Ordering::Relaxed) {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(Error::General("not today".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.scheme.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.scheme.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.scheme.supported_verify_schemes()
    }
}

fn made() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    (made.cert.der().clone(), key)
}

struct World {
    own: (CertificateDer<'static>, PrivateKeyDer<'static>),
    verifier: Arc<Moody>,
}

impl World {
    fn new(is_mandatory: bool) -> World {
        let own = made();
        let scheme = rustls::server::WebPkiClientVerifier::builder_with_provider(roots(&own.0), provider());
        let (scheme, asked) = (scheme.build().expect("a verifier"), AtomicUsize::new(0));
        let verifier = Moody { lets_in: AtomicBool::new(true), is_mandatory, asked, scheme };
        World { own, verifier: Arc::new(verifier) }
    }

    fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(self.verifier.clone())
            .with_single_cert(vec![self.own.0.clone()], self.own.1.clone_key())
            .expect("a certificate")
    }

    fn client(&self, version: &'static SupportedProtocolVersion, chain: &[CertificateDer<'static>]) -> ClientConfig {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots(&self.own.0));
        match chain {
            [] => config.with_no_client_auth(),
            chain => {
                config.with_client_auth_cert(chain.to_vec(), self.own.1.clone_key()).expect("a certificate and its key")
            }
        }
    }
}

fn roots(root: &CertificateDer<'static>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    Arc::new(roots)
}

/// Shakes hands in memory; `None` if the server refuses.
fn shake(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(client.clone(), name).expect("a client");
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("a vector");
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            server.read_tls(&mut wire).expect("bytes");
            server.process_new_packets().ok()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("a vector");
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            client.read_tls(&mut wire).expect("bytes");
            client.process_new_packets().ok()?;
        }
    }
    assert!(!server.is_handshaking() && !client.is_handshaking());
    server.handshake_kind()
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

#[test]
fn sessions_are_read_in_the_form_that_rustls_writes_them() {
    let world = World::new(false);
    let more = [made().0, made().0];
    let full = [world.own.0.clone(), more[0].clone(), more[1].clone()];
    for version in VERSIONS {
        for certificates in 0..=3 {
            for (with_name, protocol) in [(true, None), (false, None), (true, Some("h2")), (false, Some("http/1.1"))] {
                let tickets = Arc::new(Open::default());
                let mut server = world.server();
                server.ticketer = tickets.clone();
                server.alpn_protocols = protocol.iter().map(|name| name.as_bytes().to_vec()).collect();
                let mut client = world.client(version, &full[..certificates]);
                (client.enable_sni, client.alpn_protocols) = (with_name, server.alpn_protocols.clone());
                assert_eq!(shake(&Arc::new(server), &Arc::new(client)), Some(HandshakeKind::Full));
                let sessions = tickets.0.lock().expect("sessions").clone();
                assert!(!sessions.is_empty());
                for session in sessions {
                    let what = format!("{version:?}, {certificates}, {with_name}, {protocol:?}");
                    assert_eq!(client_chain(&session).as_deref(), Some(&full[..certificates]), "{what}");
                    refuses_what_is_spoilt(&session);
                }
            }
        }
    }
}

fn refuses_what_is_spoilt(session: &[u8]) {
    for length in 0..session.len() {
        assert_eq!(client_chain(&session[..length]), None, "{length} of {} bytes", session.len());
    }
    assert_eq!(client_chain(&[session, &[0]].concat()), None, "a byte more");
    for value in 2..=255 {
        assert_eq!(client_chain(&[&[value], &session[1..]].concat()), None, "a first byte of {value}");
    }
}

/// With every way to resume: a ticketer, or sessions that the server stores.
fn each_way(world: &World, mut run: impl FnMut(&Arc<ServerConfig>, &'static SupportedProtocolVersion, &str)) {
    for version in VERSIONS {
        for way in ["tickets", "stored"] {
            let mut server = world.server();
            if way == "tickets" {
                server.ticketer = Arc::new(Open::default());
            }
            check_resumed(&mut server, world.verifier.clone());
            run(&Arc::new(server), version, way);
        }
    }
}

#[test]
fn who_resumes_is_let_in_by_what_counts_now() {
    let world = World::new(true);
    each_way(&world, |server, version, way| {
        world.verifier.lets_in.store(true, Ordering::Relaxed);
        let client = Arc::new(world.client(version, std::slice::from_ref(&world.own.0)));
        assert_eq!(shake(server, &client), Some(HandshakeKind::Full), "{way}");
        assert_eq!(shake(server, &client), Some(HandshakeKind::Resumed), "{way}");
        world.verifier.lets_in.store(false, Ordering::Relaxed);
        for _ in 0..3 {
            assert_eq!(shake(server, &client), None, "{way}, {version:?}");
        }
    });
}

#[test]
fn who_has_shown_nothing_resumes_only_where_nothing_must_be_shown() {
    let (optional, required) = (World::new(false), World::new(true));
    each_way(&optional, |server, version, way| {
        let client = Arc::new(optional.client(version, &[]));
        assert_eq!(shake(server, &client), Some(HandshakeKind::Full), "{way}");
        assert_eq!(shake(server, &client), Some(HandshakeKind::Resumed), "{way}");
        // The same tickets and sessions, where a certificate is required, and where none is asked for.
        let mut strict = (**server).clone();
        check_resumed(&mut strict, required.verifier.clone());
        assert_eq!(shake(&Arc::new(strict), &client), Some(HandshakeKind::Full), "{way}: not resumed");
        let member = Arc::new(optional.client(version, std::slice::from_ref(&optional.own.0)));
        assert_eq!(shake(server, &member), Some(HandshakeKind::Full), "{way}");
        let mut open = (**server).clone();
        check(&mut open, None);
        assert_eq!(shake(&Arc::new(open), &member), Some(HandshakeKind::Full), "{way}: not resumed");
        check_resumed(&mut (**server).clone(), rustls::server::WebPkiClientVerifier::no_client_auth());
    });
}

#[test]
fn a_hello_full_of_tickets_costs_no_more_than_a_few_verifications() {
    let world = World::new(true);
    let mut server = world.server();
    server.ticketer = Arc::new(Open::default());
    check_resumed(&mut server, world.verifier.clone());
    let session = {
        let tickets = Arc::new(Open::default());
        let mut server = world.server();
        server.ticketer = tickets.clone();
        let client = Arc::new(world.client(&version::TLS13, std::slice::from_ref(&world.own.0)));
        assert_eq!(shake(&Arc::new(server), &client), Some(HandshakeKind::Full));
        tickets.0.lock().expect("sessions")[0].clone()
    };
    world.verifier.lets_in.store(false, Ordering::Relaxed);
    let hello = |verifications: usize| {
        let before = world.verifier.asked.load(Ordering::Relaxed);
        asked::begin();
        for _ in 0..100 {
            assert_eq!(server.ticketer.decrypt(&session), None);
        }
        assert_eq!(world.verifier.asked.load(Ordering::Relaxed) - before, verifications);
    };
    hello(4);
    hello(4);
    // In a rustls connection of somebody else's, whose hellos nobody here sees, there is no such limit.
    asked::end();
    let before = world.verifier.asked.load(Ordering::Relaxed);
    for _ in 0..10 {
        assert_eq!(server.ticketer.decrypt(&session), None);
    }
    assert_eq!(world.verifier.asked.load(Ordering::Relaxed) - before, 10);
}
