//! Configurations built from PEM: what is refused and how, what each name gets, and what a reload changes.

use crate::raw::Client;
use crate::support::{Echo, Heard, Kind, World, security};
use rcgen::{BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyPair};
use std::sync::Arc;
use std::time::{Duration, Instant};
use windlass::rustls::client::Resumption;
use windlass::rustls::pki_types::pem::PemObject;
use windlass::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use windlass::rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore};
use windlass::tls::{ClientAuth, Pem, Tickets, UnknownName, Version};
use windlass::{ClientTls, Conn, ListenConfig, Reason, ServerTls, ServerTlsBuilder, TlsFault, tls};

/// A certificate that is its own issuer.
pub(crate) struct Own {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) fn own(name: &str) -> Own {
    dated(name, |_| {})
}

pub(crate) fn dated(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Own {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    Own { chain: made.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
}

impl Own {
    pub(crate) fn server(&self) -> ServerTlsBuilder {
        ServerTls::builder().certificate(Pem::bytes(self.chain.clone()), Pem::bytes(self.key.clone()))
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(&self.chain).expect("a certificate")
    }
}

/// A client that trusts all of these.
pub(crate) fn trusting(all: &[&Own]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    all.iter().for_each(|own| roots.add(own.der()).expect("a root"));
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

pub(crate) fn listen(world: &mut World, server: &ServerTls) -> windlass::Address {
    let config = ListenConfig { tls: Some(server.clone()), ..ListenConfig::default() };
    world.listen(Kind::Tls, config, |_: &Conn<'_>| Echo)
}

/// Shakes hands with one more client; returns whether that went well.
pub(crate) fn shakes(world: &mut World, client: &mut Client) -> bool {
    let mut is_over = false;
    world.until("the handshake's end", |world| {
        client.send_in_pieces(world, 10_000);
        is_over = !client.receive();
        is_over || !client.tls.is_handshaking()
    });
    if !is_over {
        client.write(b"x");
        client.send_in_pieces(world, 10_000);
        world.until("the echo", |world| {
            client.send_in_pieces(world, 10_000);
            is_over = !client.receive();
            is_over || client.read() == b"x"
        });
    }
    !is_over
}

/// A reload that takes everything.
pub(crate) fn reload(tls: &ServerTls, builder: &ServerTlsBuilder) {
    let reloaded = tls.reload(builder).expect("what can be used");
    assert!(reloaded.is_complete(), "{reloaded}");
}

fn says(built: Result<ServerTls, windlass::Error>, words: &[&str]) {
    let error = built.expect_err("it cannot work").to_string();
    words.iter().for_each(|word| assert!(error.contains(word), "{word:?} is not in {error:?}"));
}

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let (good, other) = (own("a.example"), own("b.example"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let (chain, key) = (path("chain.pem", &good.chain), path("key.pem", &good.key));
    let with = |chain: &std::path::Path, key: &std::path::Path| ServerTls::builder().certificate(chain, key).build();
    assert!(with(&chain, &key).is_ok());
    says(ServerTls::builder().build(), &["no certificate"]);
    says(with(&folder.path().join("none.pem"), &key), &["certificate", "none.pem", "No such file"]);
    says(with(&path("empty.pem", b""), &key), &["empty.pem", "there is no certificate"]);
    says(with(&key, &key), &["key.pem", "there is no certificate"]);
    says(with(&chain, &chain), &["private key", "chain.pem", "there is no private key"]);
    says(with(folder.path(), &key), &["certificate", "directory"]);
    says(with(&chain, &path("other.pem", &other.key)), &["chain.pem", "not that of this certificate"]);
    let cut = path("cut.pem", &good.chain[..good.chain.len() / 2]);
    says(with(&cut, &key), &["cut.pem"]);
    let garbage = b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    says(with(&path("garbage.pem", garbage), &key), &["garbage.pem"]);
    let past = dated("a.example", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    says(past.server().build(), &["expired"]);
    let future = dated("a.example", |params| params.not_before = rcgen::date_time_ymd(2100, 1, 1));
    says(future.server().build(), &["not valid yet"]);

    says(good.server().suites(["TLS_NULL"]).build(), &["TLS_NULL", "TLS_AES_128_GCM_SHA256"]);
    let old = ["ECDHE-ECDSA-AES128-GCM-SHA256"];
    says(good.server().suites(old).build(), &["suites", old[0], "none is of TLS 1.3"]);
    assert!(good.server().suites(old).versions(Version::Tls12, Version::Tls12).build().is_ok());
    says(good.server().groups(["X448"]).build(), &["X448", "x25519"]);
    says(good.server().versions(Version::Tls13, Version::Tls12).build(), &["versions", "oldest"]);
    says(good.server().alpn([""]).build(), &["alpn"]);
    says(good.server().client_auth(ClientAuth::Required).build(), &["client_auth", "client_roots"]);
    says(good.server().client_roots(Pem::bytes(good.chain.clone())).build(), &["client_auth"]);
    says(good.server().name("no name", other.server()).build(), &["no name"]);
    says(good.server().name("x.*.example", other.server()).build(), &["x.*.example"]);
    says(good.server().name("B.example", other.server()).name("b.example.", other.server()).build(), &["twice"]);
    says(good.server().name("b.example", ServerTls::builder()).build(), &["no certificate", "b.example"]);
    let nested = other.server().name("c.example", other.server());
    says(good.server().name("b.example", nested).build(), &["names of its own"]);
    let error = ClientTls::builder().roots(Pem::bytes("")).build().expect_err("no root");
    assert!(error.to_string().contains("there is no certificate"), "{error}");
    let roots = || ClientTls::builder().roots(Pem::bytes(good.chain.clone()));
    assert!(roots().server_name("not a name").build().expect_err("no name").to_string().contains("not a name"));
    assert!(roots().build().is_ok());
    // No key, no certificate in Debug.
    let text = format!("{:?}", good.server());
    assert!(!text.contains("BEGIN"), "{text}");
}

#[test]
fn each_name_gets_its_own_configuration() {
    let all = ["usual.example", "a.example", "*.a.example", "deep.b.example"].map(own);
    let [usual, exact, wild, deep] = &all;
    let trusted = trusting(&[usual, exact, wild, deep]);
    for unknown in [UnknownName::Usual, UnknownName::Refused] {
        let server = usual
            .server()
            .unknown_names(unknown)
            .name("A.example.", exact.server().alpn(["exact"]))
            .name("*.a.example", wild.server().versions(Version::Tls12, Version::Tls12))
            .name("deep.b.example", deep.server())
            .build()
            .expect("a server");
        let mut world = World::new();
        let address = listen(&mut world, &server);
        let got = |world: &mut World, name: &str| {
            let mut config = (*trusted).clone();
            config.alpn_protocols = vec![b"exact".to_vec()];
            let mut client = Client::new(&address, Arc::new(config), name);
            shakes(world, &mut client).then_some(client)
        };
        for name in ["a.example", "A.EXAMPLE"] {
            let client = got(&mut world, name).expect("a handshake");
            assert_eq!(client.tls.alpn_protocol(), Some(&b"exact"[..]), "{name}");
        }
        for name in ["x.a.example", "X.A.Example"] {
            let client = got(&mut world, name).expect("a handshake");
            assert_eq!(client.tls.protocol_version(), Some(ProtocolVersion::TLSv1_2), "{name}");
        }
        let client = got(&mut world, "deep.b.example").expect("a handshake");
        assert_eq!(client.tls.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        drop(client);
        // One label only, and no part of a name.
        let unknowns = ["y.x.a.example", "b.example", "xa.example", "usual.example"];
        for name in unknowns {
            let failed = world.log.heard().len();
            let client = got(&mut world, name);
            let is_known = unknown == UnknownName::Usual && name == "usual.example";
            assert_eq!(client.is_some(), is_known, "{name}");
            drop(client);
            if unknown == UnknownName::Refused {
                // Beside the ends of those who were served before.
                let expected = Heard::Failed(Reason::Tls(TlsFault::UnknownName));
                world.until("the refusal", |world| world.log.heard()[failed..].contains(&expected));
            }
        }
        world.until_empty();
    }
}

#[test]
fn of_several_certificates_each_client_gets_the_one_for_its_name() {
    let all = ["a.example", "*.b.example"].map(own);
    let [first, second] = &all;
    let (chain, key) = (Pem::bytes(second.chain.clone()), Pem::bytes(second.key.clone()));
    let server = first.server().certificate(chain, key).build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &server);
    for (name, is_served) in [("a.example", true), ("x.b.example", true), ("c.example", false)] {
        let mut client = Client::new(&address, trusting(&[first, second]), name);
        assert_eq!(shakes(&mut world, &mut client), is_served, "{name}");
    }
    world.until_empty();
}

#[test]
fn suites_and_groups_have_the_names_that_others_give_them_too() {
    let server = own("localhost");
    for (version, name, registered) in [
        (Version::Tls12, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (Version::Tls12, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (Version::Tls12, "ecdhe_ecdsa_chacha20_poly1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        (Version::Tls13, "TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384"),
        (Version::Tls13, "chacha20-poly1305", "TLS13_CHACHA20_POLY1305_SHA256"),
    ] {
        let tls =
            server.server().suites([name]).groups(["CurveP256"]).versions(version, version).build().expect("a server");
        let mut world = World::new();
        let address = listen(&mut world, &tls);
        let mut peer = Client::new(&address, trusting(&[&server]), security::NAME);
        assert!(shakes(&mut world, &mut peer));
        let used = peer.tls.negotiated_cipher_suite().expect("a suite").suite();
        assert_eq!(used.as_str(), Some(registered), "{name}");
        drop(peer);
        world.until_empty();
    }
    // One of TLS 1.3 alone leaves 1.2 out.
    let tls = server.server().suites(["TLS_AES_128_GCM_SHA256"]).build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    for (version, is_spoken) in [(Version::Tls12, false), (Version::Tls13, true)] {
        let client = ClientTls::builder().roots(Pem::bytes(server.chain.clone())).versions(version, version);
        let config = client.build().expect("a client").config();
        assert_eq!(shakes(&mut world, &mut Client::new(&address, config, security::NAME)), is_spoken, "{version:?}");
    }
    // Without TLS in front these are suites with RSA key exchange, which are not to pass for those of TLS 1.3.
    for name in ["AES128-GCM-SHA256", "AES256-GCM-SHA384"] {
        let refused = server.server().suites([name]).build().expect_err("nobody has it").to_string();
        assert!(refused.contains(name), "{refused}");
    }
}

#[test]
fn a_reload_is_for_handshakes_from_then_on_and_a_bad_one_changes_nothing() {
    let (first, second) = (own("localhost"), own("localhost"));
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let put = |chain_bytes: &[u8], key_bytes: &[u8]| {
        std::fs::write(&chain, chain_bytes).expect("a file");
        std::fs::write(&key, key_bytes).expect("a file");
    };
    put(&first.chain, &first.key);
    let builder = ServerTls::builder().certificate(chain.as_path(), key.as_path());
    let server = builder.build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &server);
    let good = |world: &mut World, own: &Own| {
        let mut client = Client::new(&address, trusting(&[own]), "localhost");
        shakes(world, &mut client).then_some(client)
    };
    let mut kept = good(&mut world, &first).expect("the first");
    put(&second.chain, &second.key);
    assert!(good(&mut world, &second).is_none(), "not read again yet");
    reload(&server, &builder);
    let _second = good(&mut world, &second).expect("the second");
    assert!(good(&mut world, &first).is_none());
    for (chain, key) in [(&first.chain[..], &second.key[..]), (b"", &second.key), (&second.chain, b"nothing")] {
        put(chain, key);
        server.reload(&builder).expect_err("files that do not fit");
        assert!(good(&mut world, &second).is_some());
    }
    // What was begun with the first goes on.
    kept.write(b"still here");
    kept.send_in_pieces(&mut world, 10_000);
    world.until("the echo", |_| kept.receive() && kept.read() == b"still here");
}

/// A client that has an issuer's certificate, or none, and remembers sessions.
struct Member {
    config: Arc<ClientConfig>,
}

impl Member {
    fn new(server: &Own, issuer: &CertifiedIssuer<'_, KeyPair>, serial: u64) -> Member {
        let mut params = CertificateParams::new(["member".to_owned()]).expect("a name");
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, issuer).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(server.der()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![made.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a certificate");
        config.resumption = Resumption::in_memory_sessions(8);
        Member { config: Arc::new(config) }
    }

    /// How it was let in; `None` if it was not.
    fn visit(&self, world: &mut World, address: &windlass::Address) -> Option<HandshakeKind> {
        let mut client = Client::new(address, self.config.clone(), "localhost");
        if shakes(world, &mut client) { client.tls.handshake_kind() } else { None }
    }
}

fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer")
}

fn revoking(issuer: &CertifiedIssuer<'_, KeyPair>, serials: &[u64]) -> Pem {
    let revoked = |serial: &u64| rcgen::RevokedCertParams {
        serial_number: (*serial).into(),
        revocation_time: rcgen::date_time_ymd(2024, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(2100, 1, 1),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    Pem::bytes(params.signed_by(issuer).expect("a list").pem().expect("PEM"))
}

#[test]
fn tickets_outlive_a_reload_and_let_in_nobody_who_would_not_be_without_them() {
    let server = own("localhost");
    let (ours, others) = (issuer("ours"), issuer("others"));
    let roots = |issuer: &CertifiedIssuer<'_, KeyPair>| Pem::bytes(issuer.pem());
    let member = |serial| Member::new(&server, &ours, serial);
    let stranger = Member::new(&server, &others, 1);
    let required = || server.server().client_auth(ClientAuth::Required);
    let tls = required().client_roots(roots(&ours)).build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let (one, two) = (member(1), member(2));
    assert_eq!(stranger.visit(&mut world, &address), None);
    for member in [&one, &two] {
        assert_eq!(member.visit(&mut world, &address), Some(HandshakeKind::Full));
        assert_eq!(member.visit(&mut world, &address), Some(HandshakeKind::Resumed));
    }
    // The same again: nothing is forgotten.
    reload(&tls, &required().client_roots(roots(&ours)));
    assert_eq!(one.visit(&mut world, &address), Some(HandshakeKind::Resumed));
    // One is revoked: its ticket may not let it in.
    let revoked = required().client_roots(roots(&ours)).revoked(revoking(&ours, &[1]));
    reload(&tls, &revoked);
    assert_eq!(one.visit(&mut world, &address), None);
    assert_eq!(two.visit(&mut world, &address), Some(HandshakeKind::Resumed));
    // Another issuer: nobody of before.
    reload(&tls, &required().client_roots(roots(&others)));
    assert_eq!(two.visit(&mut world, &address), None);
    assert_eq!(stranger.visit(&mut world, &address), Some(HandshakeKind::Full));
    // Tickets off.
    reload(&tls, &required().client_roots(roots(&ours)).tickets(Tickets::Off));
    for _ in 0..2 {
        assert_eq!(two.visit(&mut world, &address), Some(HandshakeKind::Full));
    }
    // Optional: also without one.
    let optional = server.server().client_auth(ClientAuth::Optional).client_roots(roots(&ours));
    reload(&tls, &optional);
    assert!(shakes(&mut world, &mut Client::new(&address, trusting(&[&server]), "localhost")));
    assert_eq!(stranger.visit(&mut world, &address), None, "a bad one is worse than none");
}

#[test]
fn a_client_resumes_at_another_reactor() {
    let server = own("localhost");
    let tls = server.server().build().expect("a server");
    let mut worlds = [World::new(), World::new()];
    let addresses: Vec<_> = worlds.iter_mut().map(|world| listen(world, &tls)).collect();
    let config = ClientTls::builder().roots(Pem::bytes(server.chain.clone())).build().expect("a client").config();
    for round in 0..20 {
        let here = round % 2;
        let mut client = Client::new(&addresses[here], config.clone(), "localhost");
        assert!(shakes(&mut worlds[here], &mut client));
        let resumed = client.tls.handshake_kind() == Some(HandshakeKind::Resumed);
        assert_eq!(resumed, round > 0, "round {round}");
    }
}

#[test]
fn no_handshake_fails_while_certificates_are_read_again() {
    let seconds = std::env::var("RELOAD_SECONDS").map_or(1, |seconds| seconds.parse().expect("a number"));
    let whole = Duration::from_secs(seconds);
    const EVERY: Duration = Duration::from_millis(100);
    const PER_SECOND: u32 = 200;
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    let owns = [own("localhost"), own("localhost")];
    let put = |own: &Own| {
        std::fs::write(&chain, &own.chain).expect("a file");
        std::fs::write(&key, &own.key).expect("a file");
    };
    put(&owns[0]);
    let builder = ServerTls::builder().certificate(chain.as_path(), key.as_path());
    let server = builder.build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &server);
    let config = trusting(&[&owns[0], &owns[1]]);
    let since = Instant::now();
    let (mut done, mut reloads) = (0, 0);
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut reloads = 0;
            while since.elapsed() < whole {
                put(&owns[reloads % 2]);
                reload(&server, &builder);
                reloads += 1;
                std::thread::park_timeout((EVERY * reloads as u32).saturating_sub(since.elapsed()));
            }
            reloads
        });
        while since.elapsed() < whole {
            if since.elapsed() * PER_SECOND > Duration::from_secs(done) {
                let mut config = (*config).clone();
                config.resumption = Resumption::disabled();
                assert!(shakes(&mut world, &mut Client::new(&address, Arc::new(config), "localhost")));
                done += 1;
            } else {
                world.turn();
            }
        }
        reloads = reloading.join().expect("reloads");
    });
    println!("{done} handshakes, {reloads} reloads, 0 failed");
    world.until_empty();
    // The clients leave without a word, behind their handshakes.
    let heard = world.log.heard();
    assert_eq!(heard, vec![Heard::Broken(Reason::Truncated); done as usize]);
}

#[test]
fn our_own_client_is_built_from_pem_and_resumes() {
    let server = own("localhost");
    let suite = "TLS_CHACHA20_POLY1305_SHA256";
    let tls = server.server().suites([suite]).groups(["P-256"]).alpn(["one", "two"]).build().expect("a server");
    let mut world = World::new();
    let address = listen(&mut world, &tls);
    let client = ClientTls::builder().roots(Pem::bytes(server.chain.clone())).server_name("localhost").alpn(["two"]);
    let config = client.build().expect("a client").config();
    for kind in [HandshakeKind::FullWithHelloRetryRequest, HandshakeKind::Resumed] {
        let mut peer = Client::new(&address, config.clone(), security::NAME);
        assert!(shakes(&mut world, &mut peer));
        assert_eq!(peer.tls.alpn_protocol(), Some(&b"two"[..]));
        let group = peer.tls.negotiated_key_exchange_group().expect("a group").name();
        assert_eq!(group, windlass::rustls::NamedGroup::secp256r1);
        assert!(peer.tls.handshake_kind() == Some(kind) || kind != HandshakeKind::Resumed);
        let used = peer.tls.negotiated_cipher_suite().expect("a suite").suite();
        assert_eq!(used.as_str(), Some("TLS13_CHACHA20_POLY1305_SHA256"));
    }
}
