//! Handshakes: in pieces, in silence, too many, and what is known after them.

use crate::raw::{Client, dial};
use crate::support::{Echo, Heard, Kind, Sink, World, security};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use windlass::rustls::server::ServerConfig;
use windlass::rustls::{CipherSuite, ClientConfig, ProtocolVersion, version};
use windlass::{
    Conn, ConnectConfig, Expiry, Limits, ListenConfig, PauseCause, ReactorConfig, Reason, ServerTls, TlsFault, tls,
};

const KINDS: [Kind; 2] = [Kind::Tls, Kind::TlsUnix];

#[test]
fn a_handshake_in_single_bytes_is_a_handshake() {
    for kind in KINDS {
        for bytes in [1, 7, 300] {
            let mut world = World::new();
            let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
            let mut client = Client::usual(&address);
            client.shake(&mut world, bytes);
            client.write(b"hello");
            client.send_in_pieces(&mut world, bytes);
            world.until("the echo", |_| client.receive() && client.read() == b"hello");
        }
    }
}

#[test]
fn no_handler_is_made_before_the_handshake_is_done() {
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |conn: &Conn<'_>| {
        assert!(conn.tls().is_some());
        Sink
    });
    let mut client = Client::usual(&address);
    client.send_in_pieces(&mut world, 10_000);
    world.until("the server's flight", |_| client.receive() && !client.tls.is_handshaking());
    // The client is done, and its Finished is not sent yet.
    world.turns(20);
    assert_eq!((world.log.made(), world.reactor().connections()), (0, 1));
    client.send_in_pieces(&mut world, 10_000);
    world.until_open(1);
}

#[test]
fn a_peer_that_is_silent_or_slow_is_closed_at_the_handshakes_deadline() {
    for drips in [false, true] {
        let mut world = World::new();
        let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
        let address = world.listen(Kind::Tls, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| Sink);
        let hello = Client::usual(&address).records();
        world.until("that one to be gone", |world| world.log.heard().len() == 1);
        let failed = 1;
        let since = Instant::now();
        let mut peer = dial(&address);
        let mut sent = 0;
        world.until("the deadline", |world| {
            if drips && since.elapsed() > Duration::from_millis(10 * sent as u64) {
                sent += peer.write_some(&hello[sent..=sent]).unwrap_or(0);
            }
            world.log.heard().len() > failed
        });
        let took = since.elapsed();
        assert!(took >= Duration::from_millis(299) && took < Duration::from_millis(450), "{took:?}");
        let expected = Heard::Failed(Reason::Timeout(Expiry::Handshake));
        assert_eq!(world.log.heard().last(), Some(&expected));
        assert_eq!(world.log.made(), 0);
        drop(peer);
        world.until_empty();
    }
}

#[test]
fn a_listener_pauses_at_the_limit_of_handshakes_and_goes_on_when_one_is_done_or_fails() {
    for kind in KINDS {
        let mut world = World::with(ReactorConfig { handshakes_max: 2, ..ReactorConfig::default() });
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut silent = [dial(&address), dial(&address)];
        world.until("both to be held", |world| world.reactor().connections() == 2);
        let mut late = world.dial(&address);
        world.until("the pause", |world| world.log.heard() == [Heard::Paused(PauseCause::HandshakeLimit)]);
        world.turns(20);
        assert_eq!((world.reactor().connections(), world.log.made()), (2, 0));
        // One of the silent ones turns out not to speak TLS, which makes room.
        silent[0].send_all_while(&mut world, b"GET /");
        late.send_all_while(&mut world, b"hello");
        assert_eq!(late.read_exact_while(&mut world, 5), b"hello");
        let mut later = world.dial(&address);
        later.send_all_while(&mut world, b"again");
        assert_eq!(later.read_exact_while(&mut world, 5), b"again");
        drop(silent);
        drop((late, later));
        world.until_empty();
        assert!(world.log.heard().contains(&Heard::Resumed));
    }
}

/// A client's configuration like the usual one, changed.
fn client(change: impl FnOnce(&mut ClientConfig)) -> Arc<ClientConfig> {
    let mut config = (*security::client().config()).clone();
    change(&mut config);
    Arc::new(config)
}

/// The usual server's configuration, changed.
fn server(change: impl FnOnce(&mut ServerConfig)) -> ListenConfig {
    let mut config = security::server_config();
    change(&mut config);
    ListenConfig { tls: Some(ServerTls::from(Arc::new(config))), ..ListenConfig::default() }
}

#[test]
fn a_handler_can_ask_for_version_suite_group_protocol_name_and_resumption() {
    let mut world = World::new();
    let told = Rc::new(RefCell::new(Vec::new()));
    let hears = told.clone();
    let config = server(|config| {
        config.alpn_protocols = vec![b"two".to_vec(), b"one".to_vec()];
        config.ticketer = windlass::rustls::crypto::aws_lc_rs::Ticketer::new().expect("a ticketer");
    });
    let address = world.listen(Kind::Tls, config, move |conn: &Conn<'_>| {
        let tls = conn.tls().expect("it is secured");
        assert!(tls.suite().is_some() && tls.group().is_some() && tls.peer_certificates().is_none());
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).expect("text");
        let name = tls.server_name().map(str::to_owned);
        hears.borrow_mut().push((tls.version().expect("a version"), text(tls.alpn()), name, tls.is_resumed()));
        Echo
    });
    let config = client(|config| config.alpn_protocols = vec![b"one".to_vec()]);
    for _ in 0..2 {
        let mut client = Client::new(&address, config.clone(), "LocalHost");
        client.shake(&mut world, 4000);
        client.write(b"x");
        client.send_in_pieces(&mut world, 4000);
        world.until("the echo", |_| client.receive() && client.read() == b"x");
    }
    let name = Some("localhost".to_owned());
    let first = (ProtocolVersion::TLSv1_3, "one".to_owned(), name.clone(), false);
    let second = (ProtocolVersion::TLSv1_3, "one".to_owned(), name, true);
    assert_eq!(*told.borrow(), [first, second]);
}

#[test]
fn tls_1_2_works_and_no_common_protocol_is_told() {
    for kind in KINDS {
        let mut world = World::new();
        let old = ClientConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[&version::TLS12])
            .expect("a version");
        let mut roots = windlass::rustls::RootCertStore::empty();
        roots.add(security::certificate()).expect("a root");
        let old = old.with_root_certificates(roots).with_no_client_auth();
        let suite = Rc::new(RefCell::new(None));
        let hears = suite.clone();
        let address = world.listen(kind, ListenConfig::default(), move |conn: &Conn<'_>| {
            let tls = conn.tls().expect("it is secured");
            *hears.borrow_mut() = tls.suite().zip(tls.version());
            Echo
        });
        let mut client = Client::new(&address, Arc::new(old), security::NAME);
        client.shake(&mut world, 100);
        client.write(b"old");
        client.send_in_pieces(&mut world, 10);
        world.until("the echo", |_| client.receive() && client.read() == b"old");
        let (suite, version) = suite.borrow().expect("a suite");
        assert_eq!(version, ProtocolVersion::TLSv1_2);
        assert_ne!(suite, CipherSuite::TLS13_AES_256_GCM_SHA384);

        let config = server(|config| config.alpn_protocols = vec![b"mine".to_vec()]);
        let picky = world.listen(kind, config, |_: &Conn<'_>| Sink);
        let yours = client_of(&picky, |config| config.alpn_protocols = vec![b"yours".to_vec()]);
        let mut stranger = yours;
        stranger.send_in_pieces(&mut world, 10_000);
        world.until("the alert", |_| !stranger.receive());
        drop(stranger);
        let refused = Heard::Failed(Reason::Tls(TlsFault::NoApplicationProtocol));
        world.until("it to be told", |world| world.log.heard().contains(&refused));
    }
}

fn client_of(address: &windlass::Address, change: impl FnOnce(&mut ClientConfig)) -> Client {
    Client::new(address, client(change), security::NAME)
}

#[test]
fn a_burst_of_hellos_leaves_turns_short_for_those_who_are_established() {
    let mut world =
        World::with(ReactorConfig { handshake_budget: Duration::from_nanos(1), ..ReactorConfig::default() });
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let mut established = world.dial(&address);
    established.send_all_while(&mut world, b"a");
    assert_eq!(established.read_exact_while(&mut world, 1), b"a");
    let mut burst: Vec<Client> = (0..10).map(|_| Client::usual(&address)).collect();
    for client in &mut burst {
        let hello = client.records();
        assert_eq!(client.peer.write_some(&hello).expect("room"), hello.len());
    }
    world.until("all to be accepted", |world| world.reactor().connections() == 11);
    assert_eq!(established.write_some(b"b").expect("room"), 1);
    // With no time at all one step is taken each turn; the echo does not wait for the ten.
    let mut turns = 0;
    world.until("the echo", |_| {
        turns += 1;
        established.try_read(&mut [0; 8]).is_some()
    });
    assert!(turns <= 4, "the echo took {turns} turns");
    let answered = burst.iter_mut().filter_map(|client| client.peer.try_read(&mut [0; 8])).count();
    assert!(answered < 10, "all had their turn before");
    for mut client in burst {
        world.until("its handshake", |_| !client.receive() || client.tls.wants_write());
    }
}

#[test]
fn both_ends_in_one_reactor_resume_and_know_each_other() {
    for kind in KINDS {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let hooks = crate::support::Hooks::new().open(|conn| {
            let tls = conn.tls().expect("it is secured");
            assert_eq!(tls.server_name(), Some(security::NAME));
            assert_eq!(tls.peer_certificates().map(<[_]>::len), Some(1));
            conn.write(b"ping").expect("room");
        });
        let hooks = hooks.data(|conn, data| {
            assert_eq!(data, b"ping");
            conn.close();
            data.len()
        });
        world.connect(&address, ConnectConfig::default(), hooks);
        world.until("both to end", |world| world.log.reasons().len() == 2);
        let mut reasons = world.log.reasons();
        reasons.sort_by_key(|reason| reason.index());
        assert_eq!(reasons, [Reason::PeerClosed, Reason::Local]);
    }
}
