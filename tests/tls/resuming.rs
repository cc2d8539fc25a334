//! Clients that resume a session: what authorises them is checked as when they do not.

use crate::authorities::{Authority, DAY, Member, VERSIONS, lasting};
use crate::building::{Own, listen, own, reload, shakes, trusting};
use crate::raw::Client;
use crate::support::World;
use rcgen::KeyPair;
use std::sync::{Arc, Mutex};
use windlass::rustls::client::{ResolvesClientCert, Resumption};
use windlass::rustls::crypto::aws_lc_rs::Ticketer;
use windlass::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use windlass::rustls::server::{ProducesTickets, ServerConfig, WebPkiClientVerifier};
use windlass::rustls::sign::CertifiedKey;
use windlass::rustls::{ClientConfig, HandshakeKind, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use windlass::tls::{self, ClientAuth, Pem, Tickets};
use windlass::{Address, ServerTls, ServerTlsBuilder};

fn given() -> Tickets {
    Tickets::Given(Ticketer::new().expect("a ticketer"))
}

fn demanding(server: &Own, root: &Authority, tickets: Tickets) -> ServerTlsBuilder {
    server.server().client_auth(ClientAuth::Required).client_roots(root.pem()).tickets(tickets)
}

/// What a user builds with rustls, sessions stored or in tickets.
fn made_by_hand(server: &Own, root: &Authority, ticketer: Option<Arc<dyn ProducesTickets>>) -> ServerTls {
    let mut roots = RootCertStore::empty();
    roots.add(root.issuer.der().clone()).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider());
    let verifier = verifier.build().expect("a verifier");
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.clone())
        .with_single_cert(vec![server.der()], PrivateKeyDer::from_pem_slice(&server.key).expect("a key"))
        .expect("a certificate");
    if let Some(ticketer) = ticketer {
        config.ticketer = ticketer;
    }
    tls::check_resumed(&mut config, verifier);
    ServerTls::from(Arc::new(config))
}

#[test]
fn a_member_whose_certificate_has_expired_is_refused_with_its_ticket_too() {
    let (server, root) = (own("localhost"), Authority::root("members"));
    let build = |tickets| demanding(&server, &root, tickets).build().expect("a server");
    let optional = server.server().client_auth(ClientAuth::Optional).client_roots(root.pem());
    let all = [
        ("rotating", build(Tickets::Rotating)),
        ("given", build(given())),
        ("optional", optional.build().expect("a server")),
        ("by hand, tickets", made_by_hand(&server, &root, Some(Ticketer::new().expect("a ticketer")))),
        ("by hand, stored", made_by_hand(&server, &root, None)),
    ];
    let mut world = World::new();
    let mut visitors = Vec::new();
    for (way, tls) in &all {
        let address = listen(&mut world, tls);
        for version in VERSIONS {
            let member = root.member(&server, lasting(4)).speaking(version);
            assert_eq!(
                member.visit(&mut world, &address),
                Some(HandshakeKind::Full),
                "{way}: it took over four seconds"
            );
            let again = member.visit(&mut world, &address);
            assert_eq!(again, Some(HandshakeKind::Resumed), "{way}: it took over four seconds");
            visitors.push((way, version, member, address.clone()));
        }
    }
    let last = root.member(&server, lasting(4)).speaking(VERSIONS[1]);
    let address = visitors[0].3.clone();
    world.until("the last one's end", |world| {
        // A ticket is spent by each try.
        last.visit(world, &address).is_none()
    });
    for (way, version, member, address) in &visitors {
        // Also with the second ticket, and without any.
        for _ in 0..3 {
            assert_eq!(member.visit(&mut world, address), None, "{way}, {version:?}");
        }
    }
}

#[test]
fn a_ticket_counts_for_no_more_at_another_name_or_listener_than_its_certificate() {
    let (server, ours, others) = (own("localhost"), Authority::root("ours"), Authority::root("others"));
    for version in VERSIONS {
        let Tickets::Given(ticketer) = given() else { unreachable!("they are given") };
        let shared = || Tickets::Given(ticketer.clone());
        let theirs = demanding(&server, &others, shared());
        let beside = own("usual.example").server().tickets(shared()).name("localhost", theirs.clone());
        let open = server.server().tickets(shared());
        let mut world = World::new();
        let mut at = |tls: &ServerTlsBuilder| listen(&mut world, &tls.build().expect("a server"));
        let [home, same, strange, named, open] =
            [&demanding(&server, &ours, shared()), &demanding(&server, &ours, shared()), &theirs, &beside, &open]
                .map(&mut at);
        let member = root_member(&ours, &server, version);
        assert_eq!(member.visit(&mut world, &home), Some(HandshakeKind::Full));
        assert_eq!(member.visit(&mut world, &same), Some(HandshakeKind::Resumed), "{version:?}");
        for elsewhere in [&strange, &named] {
            assert_eq!(member.visit(&mut world, elsewhere), None, "{version:?}");
            assert!(member.visit(&mut world, &home).is_some());
        }
        // Where nobody is asked for a certificate none is taken from a ticket either.
        assert_eq!(member.visit(&mut world, &open), Some(HandshakeKind::Full), "{version:?}");
        // Nor does a ticket without a certificate stand in for one.
        let mut anonymous = (*trusting(&[&server])).clone();
        anonymous.resumption = Resumption::in_memory_sessions(8);
        let anonymous = Arc::new(anonymous);
        let visit = |world: &mut World, address: &Address| {
            let mut client = Client::new(address, anonymous.clone(), "localhost");
            shakes(world, &mut client).then(|| client.tls.handshake_kind()).flatten()
        };
        assert_eq!(visit(&mut world, &open), Some(HandshakeKind::Full));
        assert_eq!(visit(&mut world, &open), Some(HandshakeKind::Resumed));
        assert_eq!(visit(&mut world, &home), None);
    }
}

fn root_member(root: &Authority, server: &Own, version: &'static SupportedProtocolVersion) -> Member {
    root.member(server, |params| params.serial_number = Some(1u64.into())).speaking(version)
}

#[test]
fn a_reload_that_changes_whom_the_server_trusts_holds_for_tickets_of_before() {
    let (server, ours, others) = (own("localhost"), Authority::root("ours"), Authority::root("others"));
    for (version, tickets) in
        VERSIONS.into_iter().flat_map(|version| [(version, Tickets::Rotating), (version, given())])
    {
        let build = || demanding(&server, &ours, tickets.clone());
        let tls = build().build().expect("a server");
        let mut world = World::new();
        let address = listen(&mut world, &tls);
        let one = root_member(&ours, &server, version);
        let two = ours.member(&server, |params| params.serial_number = Some(2u64.into())).speaking(version);
        for member in [&one, &two] {
            assert_eq!(member.visit(&mut world, &address), Some(HandshakeKind::Full));
            assert_eq!(member.visit(&mut world, &address), Some(HandshakeKind::Resumed));
        }
        let list = |made: i64, revoked: &[u64]| Pem::bytes(ours.list().dated(made, DAY).revoking(revoked).pem());
        reload(&tls, &build().revoked(list(-2 * DAY, &[1])));
        for _ in 0..3 {
            assert_eq!(one.visit(&mut world, &address), None, "{version:?}");
        }
        // Others go on as before: nothing of theirs has changed.
        assert_eq!(two.visit(&mut world, &address), Some(HandshakeKind::Resumed), "{version:?}");
        reload(&tls, &demanding(&server, &others, tickets.clone()));
        assert_eq!(two.visit(&mut world, &address), None, "{version:?}");
        reload(&tls, &build());
        assert!(two.visit(&mut world, &address).is_some());
        // From asking nobody to asking everybody.
        reload(&tls, &server.server().tickets(tickets.clone()));
        let open = two.visit(&mut world, &address);
        assert_eq!(open, Some(HandshakeKind::Full), "{version:?}: a certificate that is not asked for");
        assert_eq!(two.visit(&mut world, &address), Some(HandshakeKind::Resumed));
        reload(&tls, &build());
        let kind = two.visit(&mut world, &address);
        assert_eq!(kind, Some(HandshakeKind::Full), "{version:?}: a ticket that has no certificate");
    }
}

/// A client whose certificate is exchanged under its sessions.
#[derive(Debug)]
struct Renewing(Mutex<Arc<CertifiedKey>>);

impl ResolvesClientCert for Renewing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.lock().expect("a certificate").clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_renewed_certificate_is_taken_from_a_client_whose_ticket_holds_a_revoked_one() {
    let (server, root) = (own("localhost"), Authority::root("members"));
    let certified = |serial: u64| {
        let mut params = rcgen::CertificateParams::new(["member".to_owned()]).expect("a name");
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        let made: CertificateDer<'static> = params.signed_by(&key, &root.issuer).expect("a certificate").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let key = tls::provider().key_provider.load_private_key(key).expect("a key");
        Arc::new(CertifiedKey::new(vec![made], key))
    };
    for version in VERSIONS {
        let build = || demanding(&server, &root, Tickets::Rotating);
        let tls = build().build().expect("a server");
        let mut world = World::new();
        let address = listen(&mut world, &tls);
        let shown = Arc::new(Renewing(Mutex::new(certified(1))));
        let mut roots = RootCertStore::empty();
        roots.add(server.der()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_client_cert_resolver(shown.clone());
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let mut visit = || {
            let mut client = Client::new(&address, config.clone(), "localhost");
            shakes(&mut world, &mut client).then(|| client.tls.handshake_kind()).flatten()
        };
        assert_eq!([visit(), visit()], [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
        reload(&tls, &build().revoked(Pem::bytes(root.list().revoking(&[1]).pem())));
        *shown.0.lock().expect("a certificate") = certified(2);
        assert_eq!([visit(), visit()], [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)], "{version:?}");
    }
}
