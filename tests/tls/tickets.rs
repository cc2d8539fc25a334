//! Tickets that are worth nothing, or are shown more than once: each leads to a handshake, none to an error.

use crate::raw::{Client, dial};
use crate::support::{Echo, Kind, World, security};
use std::sync::Arc;
use windlass::rustls::client::Resumption;
use windlass::rustls::crypto::aws_lc_rs::Ticketer;
use windlass::rustls::server::{ProducesTickets, ServerSessionMemoryCache};
use windlass::rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use windlass::{Address, Conn, ListenConfig, ServerTls, tls};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

fn client(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(security::certificate()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(4);
    Arc::new(config)
}

/// Listens with the usual configuration, changed.
fn listen(world: &mut World, change: impl FnOnce(&mut ServerConfig)) -> Address {
    let mut config = security::server_config();
    change(&mut config);
    let config = ListenConfig { tls: Some(ServerTls::from(Arc::new(config))), ..ListenConfig::default() };
    world.listen(Kind::Tls, config, |_: &Conn<'_>| Echo)
}

/// Shakes hands, hears an echo, ends, and tells which handshake it was.
fn visit(world: &mut World, address: &Address, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut client = Client::new(address, config.clone(), security::NAME);
    client.shake(world, 10_000);
    client.write(b"x");
    client.send_in_pieces(world, 10_000);
    world.until("tickets and the echo", |_| {
        assert!(client.receive(), "{:?}", client.fault);
        client.read() == b"x"
    });
    let kind = client.tls.handshake_kind().expect("a handshake");
    client.tls.send_close_notify();
    client.send_in_pieces(world, 10_000);
    drop(client);
    world.until_empty();
    kind
}

#[test]
fn a_ticket_of_another_server_leads_to_a_full_handshake() {
    for version in VERSIONS {
        let mut world = World::new();
        let [one, two] =
            [(); 2].map(|()| listen(&mut world, |config| config.ticketer = Ticketer::new().expect("a ticketer")));
        let config = client(version);
        assert_eq!(visit(&mut world, &one, &config), HandshakeKind::Full);
        assert_eq!(visit(&mut world, &one, &config), HandshakeKind::Resumed);
        assert_eq!(visit(&mut world, &two, &config), HandshakeKind::Full);
    }
}

/// Whether a hello is answered by the agreement to go on with the session that it names (TLS 1.3).
fn resumes(world: &mut World, address: &Address, hello: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const PRE_SHARED_KEY: [u8; 6] = [0, 41, 0, 2, 0, 0];
    let mut peer = dial(address);
    peer.send_all_while(world, hello);
    let head = peer.read_exact_while(world, 5);
    assert_eq!(head[0], HANDSHAKE);
    let body = peer.read_exact_while(world, usize::from(u16::from_be_bytes([head[3], head[4]])));
    drop(peer);
    world.until_empty();
    body.windows(PRE_SHARED_KEY.len()).any(|bytes| bytes == PRE_SHARED_KEY)
}

#[test]
fn a_ticket_that_is_used_again_is_no_error() {
    let mut world = World::new();
    let forgetful = listen(&mut world, |config| config.ticketer = Ticketer::new().expect("a ticketer"));
    let remembering = listen(&mut world, |config| config.session_storage = ServerSessionMemoryCache::new(8));
    // A server that remembers nothing cannot know; without early data there is nothing to be replayed. One that
    // remembers forgets a session once it was used.
    for (address, again) in [(forgetful, true), (remembering, false)] {
        let config = client(&version::TLS13);
        assert_eq!(visit(&mut world, &address, &config), HandshakeKind::Full);
        let hello = Client::new(&address, config, security::NAME).records();
        world.until_empty();
        let resumed = [(); 3].map(|()| resumes(&mut world, &address, &hello));
        assert_eq!(resumed, [true, again, again]);
        // In TLS 1.2 a session may be resumed any number of times.
        let config = client(&version::TLS12);
        let kinds = [(); 3].map(|()| visit(&mut world, &address, &config));
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed]);
    }
}

/// Makes tickets that are spoilt on their way.
struct Spoiling(Arc<dyn ProducesTickets>, Spoil);

type Spoil = fn(&mut Vec<u8>);

impl std::fmt::Debug for Spoiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spoiling")
    }
}

impl ProducesTickets for Spoiling {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut ticket = self.0.encrypt(plain)?;
        (self.1)(&mut ticket);
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

#[test]
fn a_ticket_that_is_spoilt_leads_to_a_full_handshake() {
    let ways: [(&str, Spoil); 7] = [
        ("its first bit", |ticket| ticket[0] ^= 0x80),
        ("a bit of its nonce", |ticket| ticket[20] ^= 1),
        ("a bit in its middle", |ticket| *ticket.iter_mut().nth_back(60).expect("a byte") ^= 1),
        ("its last bit", |ticket| *ticket.last_mut().expect("a byte") ^= 1),
        ("its end is missing", |ticket| ticket.truncate(ticket.len() - 1)),
        ("one byte of it is left", |ticket| ticket.truncate(1)),
        ("it is long", |ticket| ticket.resize(15_000, 7)),
    ];
    for version in VERSIONS {
        for (what, spoil) in ways {
            let mut world = World::new();
            let address = listen(&mut world, |config| {
                config.ticketer = Arc::new(Spoiling(Ticketer::new().expect("a ticketer"), spoil));
            });
            let config = client(version);
            for _ in 0..2 {
                assert_eq!(visit(&mut world, &address, &config), HandshakeKind::Full, "{what}, {version:?}");
            }
        }
    }
}
