//! Whatever takes too long says so in one way, whichever call it was: `Error::is_timeout`, `is_timeout`, `Reason::is_timeout`.

use crate::host::{BlackHole, Host, Place, builder};
use crate::support::blocking::{Rig, Tale, engine};
use crate::support::{self, Kind, PATIENCE, each_kind};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use windlass::{
    Address, AfterRequest, Backoff, BlockingConfig, Client, Conn, ConnectConfig, Connector, ConnectorState, Engine,
    Error, Handler, Limits, Link, ListenConfig, Reactor, ReactorConfig, Reason, Resolver, Server, is_timeout,
};

const SOON: Duration = Duration::from_millis(20);

/// A resolver that takes longer than anybody waits.
fn slow() -> Resolver {
    Resolver::new(move |_: &Address| {
        let (_keep, never) = std::sync::mpsc::channel::<()>();
        let _ = never.recv_timeout(Duration::from_millis(300));
        Err(io::ErrorKind::TimedOut.into())
    })
}

fn small(address: &Address) -> ConnectConfig {
    let limits = Limits { connect_timeout: PATIENCE, handshake_timeout: PATIENCE, ..Limits::default() };
    support::dialling(address, ConnectConfig { limits, ..ConnectConfig::default() })
}

#[test]
fn connects_lookups_and_handshakes_that_are_late_are_timeouts() {
    let named: Address = "tcp://service.example:1".parse().expect("an address");
    let hole = BlackHole::new(Place::V4);
    let lookup = builder(&named).resolver(slow()).build().expect("a client");
    let connect = builder(&Address::tcp(hole.ip)).build().expect("a client");
    for client in [&lookup, &connect] {
        assert!(client.connect(SOON).expect_err("nobody answers").is_timeout());
        let once = client.once(io::empty(), AfterRequest::KeepOpen, SOON, |_| Ok(()));
        assert!(once.expect_err("nobody answers").is_timeout());
    }
    // What a resolver of one's own says is its timeout.
    let late = builder(&named).resolver(Resolver::new(|_: &Address| Err(io::ErrorKind::TimedOut.into())));
    assert!(late.build().expect("a client").connect(PATIENCE).expect_err("nowhere").is_timeout());
    let lost = builder(&named).resolver(Resolver::new(|_: &Address| Err(io::ErrorKind::NotFound.into())));
    assert!(!lost.build().expect("a client").connect(PATIENCE).expect_err("nowhere").is_timeout());
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_tls()) {
        let host = Host::new(kind);
        assert!(host.client().connect(SOON).expect_err("nobody shakes hands").is_timeout());
        // A link that becomes a blocking one.
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let limits = Limits { handshake_timeout: SOON, ..Limits::default() };
        #[cfg(feature = "tls")]
        {
            let link = Link::new(socket, limits).expect("a link");
            let link = link.with_tls_client(&support::security::client()).expect("a configuration");
            let error = link.into_blocking().expect_err("nobody shakes hands");
            assert!(error.is_timeout() && is_timeout(&error.into()));
        }
        #[cfg(not(feature = "tls"))]
        let _ = Link::new(socket, limits);
    }
    for kind in Kind::ALL.iter().copied().filter(|kind| kind.is_unix()) {
        let host = Host::at(kind, Place::Path, 0);
        let _filler = std::os::unix::net::UnixStream::connect(host.address.path().expect("a path")).expect("the first");
        assert!(host.client().connect(SOON).expect_err("it is full").is_timeout());
    }
}

#[test]
fn reads_writes_closes_and_exchanges_that_are_late_are_timeouts_and_others_are_not() {
    each_kind(|kind| {
        let host = Host::new(kind);
        let built = || Client::builder(host.address.clone()).connect_config(small(&host.address));
        let (client, guest) = host.pair(built().read_timeout(Some(SOON)).write_timeout(Some(SOON)));
        let late = (&client).read(&mut [0; 10]).expect_err("nothing comes");
        assert!(is_timeout(&late), "{late:?}");
        let late = io::copy(&mut io::repeat(7), &mut &client).expect_err("nobody reads");
        assert!(is_timeout(&late), "{late:?}");
        assert!(is_timeout(&(&client).flush().expect_err("nobody reads")));
        assert!(is_timeout(&client.shutdown_write().expect_err("nobody reads")));
        assert!(client.close().expect_err("nobody reads").is_timeout());
        assert!(!is_timeout(&(&client).read(&mut [0; 10]).expect_err("it is closed")));
        assert!(!client.close().expect_err("it is closed").is_timeout());
        drop(guest);
        // An exchange whose answer does not come, whatever becomes of the error on its way.
        let client = built().read_timeout(Some(SOON)).build().expect("a client");
        let (keep, kept) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let serving = scope.spawn(|| host.accept());
            let once = client.once(&b"x"[..], AfterRequest::KeepOpen, Duration::from_secs(1), |answer| {
                answer.read(&mut [0; 1]).inspect_err(|error| {
                    keep.send(is_timeout(error)).expect("somebody looks");
                })
            });
            assert!(once.expect_err("no answer").is_timeout());
            drop(serving.join().expect("no panic"));
        });
        assert_eq!(kept.recv_timeout(PATIENCE), Ok(true));
    });
}

#[test]
fn a_blocking_handler_that_waited_in_vain_is_told_as_a_timeout_and_one_that_was_reset_is_not() {
    each_kind(|kind| {
        let rig = Rig::new();
        let told = Tale::default();
        let tell = told.clone();
        let config = BlockingConfig { timeout: Some(SOON), ..BlockingConfig::default() };
        let builder = rig
            .builder(1)
            .blocking_handler(config, |reader, _| {
                (&reader).read_exact(&mut [0; 1])?;
                Err(Error::NotConnected.into())
            })
            .on_error(move |error| tell.tell((error.is_timeout(), error.kind())));
        let (_server, address) = rig.listen(builder, kind);
        let silent = support::blocking::Client::dial(&address);
        assert!(told.until_count("the silence", 1)[0].0);
        drop(silent);
        let mut talking = support::blocking::Client::dial(&address);
        talking.send(b"x");
        assert_eq!(told.until_count("the failure", 2)[1], (false, io::ErrorKind::NotConnected));
    });
}

/// A relay is a client inside a blocking handler: `?` did not compile there.
#[test]
fn a_blocking_handler_may_be_a_client_and_pass_its_errors_on() {
    let rig = Rig::new();
    let (_there, behind) = rig.listen(
        rig.builder(1).blocking_handler(BlockingConfig::default(), |reader, writer| {
            io::copy(&mut &reader, &mut &writer).map(drop)
        }),
        Kind::Tcp,
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for (target, answers) in [(behind, true), (Address::tcp(nobody), false)] {
        let rig = Rig::new();
        let told = Tale::default();
        let tell = told.clone();
        let builder = rig
            .builder(1)
            .blocking_handler(BlockingConfig::default(), move |reader, writer| {
                let client = Client::builder(target.clone()).build()?;
                client.connect(PATIENCE)?;
                io::copy(&mut &reader, &mut &client)?;
                client.shutdown_write()?;
                io::copy(&mut &client, &mut &writer)?;
                Ok(client.close()?)
            })
            .on_error(move |error| tell.tell((error.kind(), error.to_string())));
        let (_server, address) = rig.listen(builder, Kind::Tcp);
        let mut client = support::blocking::Client::dial(&address);
        if answers {
            client.send(b"through and back");
            client.finish();
            assert_eq!(client.read_to_end().expect("an end"), b"through and back");
        } else {
            let told = told.until_count("the refusal", 1);
            assert_eq!(told[0].0, io::ErrorKind::ConnectionRefused);
            assert!(told[0].1.contains("its handler: cannot connect to tcp://127.0.0.1:"), "{}", told[0].1);
        }
    }
}

struct Silent(Arc<Mutex<Vec<Reason>>>);

impl Handler for Silent {
    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }
    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        self.0.lock().expect("no panic").push(reason);
    }
}

#[test]
fn ends_that_reactors_connectors_and_servers_tell_are_timeouts_where_a_deadline_made_them() {
    // Of a connection.
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let at = "tcp://127.0.0.1:0".parse().expect("an address");
    let limits = Limits { idle_timeout: Some(SOON), ..Limits::default() };
    let told = reasons.clone();
    let listener = reactor
        .listen(&at, ListenConfig { limits, ..ListenConfig::default() }, move |_: &Conn<'_>| Silent(told.clone()));
    let at = reactor.listener_address(listener.expect("it listens")).expect("an address");
    let peer = std::net::TcpStream::connect(at.ip().expect("an IP address")).expect("a connection");
    support::blocking::until("the end of the idle one", || {
        reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
        !reasons.lock().expect("no panic").is_empty()
    });
    assert!(reasons.lock().expect("no panic")[0].is_timeout());
    drop(peer);
    // Of a connector's attempt.
    let hole = BlackHole::new(Place::V4);
    let engine = Engine::start(engine(1)).expect("an engine");
    let failed = Tale::default();
    let tell = failed.clone();
    let limits = Limits { connect_timeout: SOON, ..Limits::default() };
    let connector = Connector::builder(Address::tcp(hole.ip))
        .connect_config(ConnectConfig { limits, ..ConnectConfig::default() })
        .backoff(Backoff { attempts_max: Some(1), ..Backoff::default() })
        .on_state(move |state| {
            if let ConnectorState::Failed(error) = state {
                tell.tell(error.is_timeout());
            }
        })
        .start(engine.least_loaded(), |_: &Conn<'_>| Silent(Arc::default()));
    let connector = connector.expect("it starts");
    assert!(failed.until_count("a failure", 1)[0]);
    // A connector's own refusal is none, and becomes an error of input and output too.
    let unsent = io::Error::from(connector.send(windlass::Bytes::from_static(b"x")).expect_err("it is not connected"));
    assert!(unsent.kind() == io::ErrorKind::NotConnected && !is_timeout(&unsent));
    // Of a server that goes on.
    let server = Server::builder().address("tcp://127.0.0.1:0".parse().expect("an address"));
    let server = server.handler(|| |_: &Conn<'_>| Silent(Arc::default())).build().expect("a server");
    server.listen().expect("it listens");
    assert!(server.wait(SOON).expect_err("it goes on").is_timeout());
    assert!(!server.listen().expect_err("twice").is_timeout());
    // What was cut is no clean end, and what ended by itself is one.
    let peer = std::net::TcpStream::connect(server.local_addresses()[0].ip().expect("an IP")).expect("a connection");
    support::blocking::until("the connection", || server.open_connections() == 1);
    assert!(server.shutdown(PATIENCE).expect("a report").is_clean());
    drop(peer);
}

#[test]
fn a_shutdown_that_cuts_connections_is_not_clean() {
    each_kind(|kind| {
        let rig = Rig::new();
        let echo: fn(windlass::Reader, windlass::Writer) -> io::Result<()> =
            |mut reader, mut writer| io::copy(&mut reader, &mut writer).map(drop);
        let (server, address) = rig.listen(rig.builder(1).blocking_handler(BlockingConfig::default(), echo), kind);
        support::blocking::Client::dial(&address).echoes(b"it is served");
        support::blocking::until("its end", || server.open_connections() == 0);
        let mut client = support::blocking::Client::dial(&address);
        client.echoes(b"it is served");
        let report = server.shutdown(Duration::ZERO).expect("it ends");
        assert!(!report.is_clean() && report.cut == 1, "{report}");
    });
}

#[test]
fn limits_in_time_hold_for_clients() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = Address::tcp(listener.local_addr().expect("an address"));
    let soon = Duration::from_millis(100);
    for limits in [
        Limits { idle_timeout: Some(soon), ..Limits::default() },
        Limits { lifetime: Some(soon), ..Limits::default() },
        Limits { write_stall_timeout: soon, ..Limits::default() },
    ] {
        let stalls = limits.write_stall_timeout == soon;
        let connect = ConnectConfig { limits, ..ConnectConfig::default() };
        let client = Client::builder(at.clone()).connect_config(connect).build().expect("a client");
        let begun = std::time::Instant::now();
        client.connect(PATIENCE).expect("a connection");
        let (peer, _) = listener.accept().expect("it is there");
        let error = loop {
            let done = if stalls { (&client).write(&[7; 64 * 1024]) } else { (&client).read(&mut [0; 1]) };
            if let Err(error) = done {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(is_timeout(&error) && begun.elapsed() >= soon && begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        assert!(!client.is_connected());
        drop(peer);
    }
}
