//! Client certificates that a rustls configuration demands, as it is given: who is refused learns it, and costs little.

use crate::hostile::{Issuer, authority, showing};
use crate::raw::{Client, dial};
use crate::support::{Heard, Hooks, Kind, Peer, World, alone, security};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use windlass::rustls::client::Resumption;
use windlass::rustls::pki_types::{PrivateKeyDer, ServerName};
use windlass::rustls::server::WebPkiClientVerifier;
use windlass::rustls::{AlertDescription, ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, version};
use windlass::{Address, Conn, Limits, ListenConfig, Reason, ServerTls, TlsFault, tls};

/// A listener's configuration that wants a certificate of this issuer from its clients.
fn demanding(issuer: &Issuer) -> ListenConfig {
    let mut roots = RootCertStore::empty();
    roots.add(issuer.der().clone()).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider());
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![security::certificate()], PrivateKeyDer::try_from(security::key()).expect("a key"))
        .expect("a certificate and its key");
    ListenConfig { tls: Some(ServerTls::from(Arc::new(config))), ..ListenConfig::default() }
}

/// An issuer with another name than all others.
fn another() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "another");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer")
}

/// Carries on until the server has ended it, and says with which alert.
fn refused(world: &mut World, client: &mut Client) -> Option<AlertDescription> {
    let mut waiting = Vec::new();
    world.until("the refusal", |_| {
        waiting.extend(client.records());
        let sent = client.peer.write_some(&waiting).expect("no reset before the end was read");
        waiting.drain(..sent);
        !client.receive()
    });
    match client.fault.take() {
        Some(Error::AlertReceived(alert)) => Some(alert),
        None => None,
        Some(other) => panic!("{other}"),
    }
}

#[test]
fn a_refused_certificate_is_told_by_its_alert_and_disturbs_no_other() {
    let (root, namesake, stranger) = (authority(None), authority(None), another());
    let mut deep = vec![authority(Some(&root))];
    while deep.len() < 100 {
        let next = authority(deep.last());
        deep.push(next);
    }
    let chain: Vec<_> = deep.iter().rev().map(|issuer| issuer.der().clone()).collect();
    let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    use AlertDescription as Alert;
    let cases = [
        ("none", security::client().config(), TlsFault::NoCertificate, Alert::CertificateRequired),
        ("of a namesake", showing(&namesake, vec![], |_| {}), TlsFault::BadSignature, Alert::DecryptError),
        ("of a stranger", showing(&stranger, vec![], |_| {}), TlsFault::UnknownIssuer, Alert::UnknownCA),
        ("expired", showing(&root, vec![], expired), TlsFault::CertificateExpired, Alert::CertificateExpired),
        ("100 deep", showing(&deep[99], chain, |_| {}), TlsFault::BadCertificate, Alert::CertificateUnknown),
    ];
    let cases = cases.map(|(what, config, fault, alert)| (what, config, fault, Some(alert)));
    // For what is merely too much rustls has no alert.
    let heavy = ("16 MB", showing(&root, vec![root.der().clone(); 40_000], |_| {}), TlsFault::TooLarge, None);
    let mut world = World::new();
    let seen = Rc::new(RefCell::new(None));
    let sees = seen.clone();
    let address = world.listen(Kind::Tls, demanding(&root), move |conn: &Conn<'_>| {
        let chain = conn.tls().and_then(|tls| tls.peer_certificates()).expect("a chain");
        *sees.borrow_mut() = Some(chain.iter().map(|certificate| certificate.as_ref().to_vec()).collect::<Vec<_>>());
        Hooks::new().data(|conn, data| conn.write_some(data))
    });
    let welcome = showing(&root, vec![root.der().clone()], |_| {});
    let mut good = Client::new(&address, welcome.clone(), security::NAME);
    good.shake(&mut world, 10_000);
    world.until_open(1);
    let shown = seen.take().expect("a chain");
    assert!(shown.len() == 2 && shown[1] == root.der().as_ref(), "{} certificates", shown.len());
    for (what, config, fault, alert) in cases.into_iter().chain([heavy]) {
        eprintln!("{what}:");
        let failed = world.log.heard().len();
        let mut client = Client::new(&address, config, security::NAME);
        let told = refused(&mut world, &mut client);
        assert!(alert.is_none() || told == alert, "{what}: {told:?}");
        drop(client);
        world.until("it to be gone", |world| world.reactor().connections() == 1);
        assert_eq!(world.log.heard()[failed..], [Heard::Failed(Reason::Tls(fault))], "{what}");
        good.write(b"hello");
        good.send_in_pieces(&mut world, 10_000);
        world.until("the echo", |_| good.receive() && good.read() == b"hello");
    }
    assert_eq!(world.log.made(), 1);
}

// --- what it costs ---------------------------------------------------------------------------------------------------

/// Memory of this process that is in use.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages: usize = statm.split(' ').nth(1).expect("a second field").parse().expect("a number");
    pages * rustix::param::page_size()
}

/// A peer of TLS 1.2, whose certificates are not encrypted, that has heard the server's demand for one.
fn asked(world: &mut World, address: &Address) -> Peer {
    let mut roots = RootCertStore::empty();
    roots.add(security::certificate()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&version::TLS12])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(security::NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector");
    let mut peer = dial(address);
    peer.send_all_while(world, &hello);
    let answer = peer.read_exact_while(world, 1);
    assert_eq!(answer, [22]);
    peer
}

/// The first record of a Certificate message that says to be so long.
fn beginning(bytes: u32) -> Vec<u8> {
    let [_, a, b, c] = bytes.to_be_bytes();
    let [_, d, e, f] = (bytes - 3).to_be_bytes();
    [&[22, 3, 3, 0, 7, 11, a, b, c, d, e, f][..]].concat()
}

/// Kibibytes of nothing, as records that go on with a message.
fn going_on(kibibytes: usize) -> Vec<u8> {
    [&[22, 3, 3, 4, 0][..], &[0; 1024]].concat().repeat(kibibytes)
}

#[test]
fn certificates_without_end_cost_a_bounded_amount_each() {
    alone("members::certificates_without_end_cost_a_bounded_amount_each", || {
        const PEERS: usize = 64;
        let root = authority(None);
        let mut world = World::new();
        let limits = Limits { linger_timeout: std::time::Duration::from_secs(20), ..Limits::default() };
        let address = world.listen(Kind::Tls, ListenConfig { limits, ..demanding(&root) }, |_: &Conn<'_>| Hooks::new());
        let piece = going_on(60);
        let mut warm = asked(&mut world, &address);
        warm.send_all_while(&mut world, &[&beginning(65_000)[..], &piece].concat());
        let before = resident_bytes();
        // As much as a message may have, and the end never comes.
        let mut peers: Vec<Peer> = (0..PEERS).map(|_| asked(&mut world, &address)).collect();
        for peer in &mut peers {
            peer.send_all_while(&mut world, &[&beginning(65_000)[..], &piece].concat());
        }
        world.turns(20);
        assert_eq!((world.reactor().connections(), world.log.heard().len()), (PEERS + 1, 0));
        let each = resident_bytes().saturating_sub(before) / PEERS;
        assert!(each < 96 * 1024, "{each} bytes for each peer");
        drop(peers);
        drop(warm);
        world.until_empty();
        // More than a message may have is refused at its beginning, and what follows is not kept.
        let failed = world.log.heard().len();
        let mut endless = asked(&mut world, &address);
        let before = resident_bytes();
        endless.send_all_while(&mut world, &beginning(16_000_000));
        for _ in 0..16_000 / 60 {
            endless.send_all_while(&mut world, &piece);
        }
        let more = resident_bytes().saturating_sub(before);
        assert!(more < 1024 * 1024, "{more} bytes for one peer");
        endless.finish();
        endless.read_to_end_while(&mut world).expect("an end, no reset");
        drop(endless);
        world.until_empty();
        assert_eq!(world.log.heard()[failed..], [Heard::Failed(Reason::Tls(TlsFault::TooLarge))]);
    });
}
