//! Clients that speak TLS, and servers that should not be spoken to.

use crate::host::{Diary, Guest, Host, Wire, builder};
use crate::support::{Kind, PATIENCE, security};
use rcgen::{CertificateParams, KeyPair};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;
use windlass::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use windlass::rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use windlass::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use windlass::rustls::server::WebPkiClientVerifier;
use windlass::rustls::{
    ClientConfig, ConnectionTrafficSecrets, ContentType, DigitallySignedStruct, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SignatureScheme, StreamOwned, SupportedCipherSuite, SupportedProtocolVersion,
    version,
};
use windlass::{Address, ClientTls, ConnState, ConnectConfig, Error, Reason, Resolver, TlsFault, tls};

const KINDS: [Kind; 2] = [Kind::Tls, Kind::TlsUnix];

/// A certificate that is its own issuer, and its key.
struct Own(CertificateDer<'static>, PrivateKeyDer<'static>);

fn own(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Own {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    Own(made.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
}

fn roots(own: &Own) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(own.0.clone()).expect("a root");
    roots
}

fn serving(own: &Own) -> ServerConfig {
    ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.0.clone()], own.1.clone_key())
        .expect("a certificate and its key")
}

fn trusting(own: &Own) -> ClientTls {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots(own))
        .with_no_client_auth();
    Arc::new(config).into()
}

/// Why a connect to such a server fails, in our words and in those of TLS, and what the server heard.
fn refusal(kind: Kind, server: ServerConfig, client: ClientTls, name: &str) -> (Reason, String, String) {
    let host = Host::new(kind);
    let diary = Diary::default();
    let client = diary.of(builder(&host.address)).with_tls(client, name).build().expect("a client");
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| Guest::speaking(host.accept_raw(), server).err().map(|error| error.to_string()));
        let error = client.connect(PATIENCE).expect_err("it cannot be trusted");
        let Error::Broken { reason, detail, .. } = &error else { panic!("{error}") };
        assert_eq!(diary.errors(), [error.to_string()]);
        assert_eq!(diary.states(), [windlass::ConnState::Dial]);
        assert!(!client.is_connected());
        let heard = serving.join().expect("no panic").expect("an alert");
        (*reason, detail.clone().expect("what TLS said"), heard)
    })
}

#[test]
fn a_certificate_of_another_issuer_name_or_time_is_refused() {
    let good = own("localhost", |_| {});
    let other = own("localhost", |params| params.distinguished_name.push(rcgen::DnType::CommonName, "another"));
    let named = own("other.example", |_| {});
    let past = own("localhost", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let cases = [
        (&good, &other, "localhost", TlsFault::UnknownIssuer, "asked for \"localhost\""),
        (&named, &named, "localhost", TlsFault::WrongName, "it is for \"other.example\""),
        (&good, &good, "127.0.0.1", TlsFault::WrongName, "asked for \"127.0.0.1\", and it is for \"localhost\""),
        (&past, &past, "localhost", TlsFault::CertificateExpired, "it was valid until 2020-01-01T00:00:00Z"),
    ];
    for kind in KINDS {
        for (shown, trusted, name, fault, says) in &cases {
            let (reason, detail, heard) = refusal(kind, serving(shown), trusting(trusted), name);
            assert_eq!(reason, Reason::Tls(*fault), "{detail}");
            assert!(detail.contains(says), "{detail}");
            let heard = heard.to_lowercase();
            assert!(heard.contains("alert"), "{heard}");
        }
    }
}

#[test]
fn no_version_in_common_is_told() {
    let good = own("localhost", |_| {});
    let only = |version: &'static SupportedProtocolVersion| {
        let config = ClientConfig::builder_with_provider(tls::provider()).with_protocol_versions(&[version]);
        let config = config.expect("a version").with_root_certificates(roots(&good)).with_no_client_auth();
        ClientTls::from(Arc::new(config))
    };
    let server = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&version::TLS13])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![good.0.clone()], good.1.clone_key())
        .expect("a certificate and its key");
    for kind in KINDS {
        let host = Host::new(kind);
        let client = builder(&host.address).with_tls(only(&version::TLS12), "localhost").build().expect("a client");
        std::thread::scope(|scope| {
            let server = server.clone();
            scope.spawn(|| assert!(Guest::speaking(host.accept_raw(), server).is_err()));
            let error = client.connect(PATIENCE).expect_err("no version");
            // protocol_version
            let reason = Reason::Tls(TlsFault::AlertReceived(70));
            assert!(matches!(error, Error::Broken { reason: told, .. } if told == reason), "{error}");
        });
    }
}

#[test]
fn a_client_without_the_certificate_that_is_asked_for_is_told_so_once() {
    let good = own("localhost", |_| {});
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&good)), tls::provider());
    let verifier = verifier.build().expect("a verifier");
    for (version, in_connect) in [(&version::TLS12, true), (&version::TLS13, false)] {
        // certificate_required
        let server = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_client_cert_verifier(verifier.clone())
            .with_single_cert(vec![good.0.clone()], good.1.clone_key())
            .expect("a certificate and its key");
        for kind in KINDS {
            let host = Host::new(kind);
            let diary = Diary::default();
            let builder = diary.of(builder(&host.address)).with_tls(trusting(&good), "localhost");
            let mut client = builder.build().expect("a client");
            std::thread::scope(|scope| {
                let server = server.clone();
                scope.spawn(|| assert!(Guest::speaking(host.accept_raw(), server).is_err()));
                // With TLS 1.3 the client's side of the handshake is done before the server has looked.
                match client.connect(PATIENCE) {
                    Err(error) => assert!(matches!(error, Error::Broken { .. }), "{error}"),
                    Ok(()) => {
                        assert!(!in_connect);
                        client.read(&mut [0; 8]).expect_err("it was refused");
                    }
                }
            });
            assert_eq!(diary.reasons.all(), [Reason::Tls(TlsFault::AlertReceived(116))]);
            assert_eq!(diary.errors().len(), 1, "{:?}", diary.errors());
            assert!(!client.is_connected());
            diary.check(true);
        }
    }
}

#[test]
fn a_server_that_speaks_plain_text_is_told_apart() {
    for kind in KINDS {
        for words in [&b"220 mail.example ESMTP\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let host = Host::new(kind);
            let diary = Diary::default();
            let client = diary.of(host.builder()).build().expect("a client");
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut wire = host.accept_raw();
                    wire.write_all(words).expect("written");
                    // However it ends.
                    let _ = wire.read_to_end(&mut Vec::new());
                });
                let error = client.connect(PATIENCE).expect_err("no TLS");
                let reason = Reason::Tls(TlsFault::NotTls);
                assert!(matches!(error, Error::Broken { reason: told, .. } if told == reason), "{error}");
            });
            assert_eq!(diary.errors().len(), 1);
            diary.check(true);
        }
    }
}

#[test]
fn tls_to_a_server_that_hangs_up_and_plain_text_to_one_with_tls_fail() {
    for kind in KINDS {
        let host = Host::new(kind);
        let client = host.client();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut wire = host.accept_raw();
                wire.read_exact(&mut [0; 100]).expect("a hello");
                wire.0.shutdown(std::net::Shutdown::Write).expect("a shutdown");
                let _ = wire.read_to_end(&mut Vec::new());
            });
            let error = client.connect(PATIENCE).expect_err("no handshake");
            assert!(matches!(error, Error::Broken { .. }), "{error}");
        });
        let plain = match host.address.ip() {
            Some(ip) => Address::tcp(ip),
            None => Address::unix(host.address.path().expect("a path")).expect("a short path"),
        };
        let client = builder(&plain).build().expect("a client");
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(Guest::on(host.accept_raw(), kind).is_err()));
            client.connect(PATIENCE).expect("a connection");
            let mut client = &client;
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("written");
            // An alert, and then the end: both may be behind a reset.
            let _ = client.read_to_end(&mut Vec::new());
            assert!(!client.is_connected());
        });
    }
}

#[test]
fn garbage_behind_the_handshake_ends_it_and_is_told_once() {
    for kind in KINDS {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, guest) = host.pair(diary.of(host.builder()));
        let mut socket = guest.socket();
        socket.write_all(&[23, 3, 3, 0, 40]).and_then(|()| socket.write_all(&[7; 40])).expect("written");
        client.read(&mut [0; 8]).expect_err("it cannot be decrypted");
        assert_eq!(diary.reasons.all(), [Reason::Tls(TlsFault::BadRecord)]);
        assert!(!client.is_connected());
        assert_eq!(diary.errors().len(), 1);
        diary.check(true);
    }
}

#[test]
fn garbage_that_is_connected_asks_for_is_told_to_whoever_reads() {
    for kind in KINDS {
        let host = Host::new(kind);
        let diary = Diary::default();
        let (mut client, guest) = host.pair(diary.of(host.builder()));
        let mut socket = guest.socket();
        socket.write_all(&[23, 3, 3, 0, 40]).and_then(|()| socket.write_all(&[7; 40])).expect("written");
        crate::support::blocking::until("it to be noticed", || !client.is_connected());
        assert!(diary.errors().is_empty());
        client.read(&mut [0; 8]).expect_err("it cannot be decrypted");
        assert_eq!(diary.reasons.all(), [Reason::Tls(TlsFault::BadRecord)]);
        diary.check(true);
    }
}

#[test]
fn with_tls_speaks_it_also_where_the_address_does_not_say_so() {
    for kind in KINDS {
        let host = Host::new(kind);
        let plain = match host.address.ip() {
            Some(ip) => Address::tcp(ip),
            None => Address::unix(host.address.path().expect("a path")).expect("a short path"),
        };
        // The name that is given stands above that of the configuration.
        let good = own("given.example", |_| {});
        let client = trusting(&good).for_server(security::NAME).expect("a name");
        let diary = Diary::default();
        let builder = diary.of(builder(&plain)).with_tls(client, "given.example");
        let client = builder.build().expect("a client");
        assert_eq!(client.address(), &host.address);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut guest = Guest::speaking(host.accept_raw(), serving(&good)).expect("a handshake");
                let Guest::Tls(stream) = &guest else { panic!("plain") };
                assert_eq!(stream.conn.server_name(), Some("given.example"));
                guest.echo();
            });
            client.connect(PATIENCE).expect("a connection");
            assert_eq!(client.tls(|tls| tls.version()), Some(Some(ProtocolVersion::TLSv1_3)));
            let mut wire = &client;
            wire.write_all(b"hello").and_then(|()| client.shutdown_write()).expect("written");
            let mut got = Vec::new();
            wire.read_to_end(&mut got).expect("an end in order");
            assert_eq!(got, b"hello");
        });
        client.close().expect("closed");
        diary.check(true);
    }
}

#[test]
fn older_tls_carries_as_much() {
    let good = own("localhost", |_| {});
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&version::TLS12])
        .expect("a version")
        .with_root_certificates(roots(&good))
        .with_no_client_auth();
    for kind in KINDS {
        let host = Host::new(kind);
        let client = builder(&host.address).with_tls(Arc::new(config.clone()).into(), "localhost");
        let client = client.build().expect("a client");
        std::thread::scope(|scope| {
            scope.spawn(|| Guest::speaking(host.accept_raw(), serving(&good)).expect("a handshake").echo());
            client.connect(PATIENCE).expect("a connection");
            let sent = crate::host::noise(200_000);
            let reading = scope.spawn(|| {
                let mut got = Vec::new();
                (&client).read_to_end(&mut got).expect("an end in order");
                got
            });
            (&client).write_all(&sent).and_then(|()| client.shutdown_write()).expect("written");
            assert!(reading.join().expect("no panic") == sent, "other bytes came");
        });
    }
}

#[test]
fn a_connection_that_is_kept_as_it_is_needs_no_second_plan() {
    // The configuration of the address form is as good as `with_tls`.
    for kind in KINDS {
        let host = Host::new(kind);
        let config = ConnectConfig { tls: Some(security::client()), ..ConnectConfig::default() };
        let client = windlass::Client::builder(host.address.clone()).connect_config(config).build().expect("a client");
        let guest = host.connect(&client);
        assert!(client.is_connected());
        drop(guest);
    }
}

/// A NewSessionTicket; RFC 8446, section 4.6.1.
const TICKET: [u8; 19] = [4, 0, 0, 15, 0, 0, 28, 32, 0, 0, 0, 0, 1, 0, 0, 1, 7, 0, 0];

/// Records without data, of a server that goes on without rustls.
fn tickets(stream: StreamOwned<ServerConnection, Wire>, count: u64) -> (Wire, Vec<u8>) {
    let StreamOwned { conn, sock } = stream;
    let Some(SupportedCipherSuite::Tls13(suite)) = conn.negotiated_cipher_suite() else { panic!("not TLS 1.3") };
    let (first, secrets) = conn.dangerous_extract_secrets().expect("secrets").tx;
    let (key, iv) = match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } | ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("another cipher"),
    };
    let mut encrypter = suite.aead_alg.encrypter(key, iv);
    let sealed = (first..first + count).flat_map(|number| {
        let (typ, version) = (ContentType::Handshake, ProtocolVersion::TLSv1_2);
        let message = OutboundPlainMessage { typ, version, payload: OutboundChunks::Single(&TICKET) };
        encrypter.encrypt(message, number).expect("a record").encode()
    });
    (sock, sealed.collect())
}

#[test]
fn a_server_that_sends_records_without_data_holds_no_read_beyond_its_time_nor_a_close() {
    // They had been read on and on as long as more had come, under the lock that everybody else needs.
    let mut config = security::server_config();
    config.enable_secret_extraction = true;
    for kind in KINDS {
        let host = Host::new(kind);
        let client = builder(&host.address).with_tls(security::client(), "localhost").build().expect("a client");
        std::thread::scope(|scope| {
            let config = config.clone();
            let (go, told) = std::sync::mpsc::channel();
            let host = &host;
            scope.spawn(move || {
                let Guest::Tls(stream) = Guest::speaking(host.accept_raw(), config).expect("a handshake") else {
                    panic!("plain");
                };
                let (mut wire, records) = tickets(*stream, 30_000);
                go.send(()).expect("somebody waits");
                // Until the client has gone.
                let _ = wire.write_all(&records);
            });
            client.connect(PATIENCE).expect("a connection");
            told.recv_timeout(PATIENCE).expect("records");
            let time = Duration::from_millis(10);
            client.set_read_timeout(Some(time)).expect("a time");
            let error = (&client).read(&mut [0; 8]).expect_err("there is no data");
            // It had gone on to the end of all that was sent, for minutes. Now it is refused as soon as it is too much.
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
            client.set_read_timeout(None).expect("for ever");
            let reading = scope.spawn(|| (&client).read(&mut [0; 8]));
            // It may be over already, by the flood.
            let _ = client.close();
            let read = reading.join().expect("no panic");
            assert!(read.is_err(), "{read:?}");
        });
    }
}

/// Believes nothing, and fails at it.
#[derive(Debug)]
struct Panics;

impl ServerCertVerifier for Panics {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, windlass::rustls::Error> {
        panic!("on purpose")
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, windlass::rustls::Error> {
        panic!("on purpose")
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, windlass::rustls::Error> {
        self.verify_tls12_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn a_verifier_that_panics_does_so_at_its_caller_and_leaves_nothing_behind() {
    for kind in KINDS {
        let host = Host::new(kind);
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Panics))
            .with_no_client_auth();
        let client = builder(&host.address).with_tls(Arc::new(config).into(), "localhost").build().expect("a client");
        for _ in 0..2 {
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(Guest::on(host.accept_raw(), kind).is_err()));
                let connect = std::panic::AssertUnwindSafe(|| client.connect(PATIENCE));
                assert!(std::panic::catch_unwind(connect).is_err(), "it goes on");
            });
            assert!(!client.is_connected());
            assert!(matches!(client.close(), Err(Error::NotConnected)));
        }
    }
}

/// TLS failed at the first address, and the others were never tried.
#[test]
fn an_address_whose_handshake_fails_is_left_for_the_next_and_the_winner_alone_is_told() {
    for how in ["speaks no TLS", "hangs up", "stays silent"] {
        let bad = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = bad.local_addr().expect("an address");
        let came = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counts = came.clone();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in bad.incoming().flatten() {
                counts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if how == "speaks no TLS" {
                    let _ = stream.write_all(b"220 hello\r\n");
                }
                kept.extend((how != "hangs up").then_some(stream));
            }
        });
        let host = Host::new(Kind::Tls);
        let there = host.address.ip().expect("an IP address");
        let diary = Diary::default();
        let name: Address = "tls://service.example:1".parse().expect("an address");
        let resolver = Resolver::new(move |_| Ok(vec![at, there]));
        let client = diary.of(builder(&name)).resolver(resolver).build().expect("a client");
        for number in 1..3 {
            let guest = host.connect(&client);
            assert_eq!(client.peer_address().and_then(|peer| peer.ip()), Some(there), "{how}");
            assert_eq!(
                diary.every_state()[(number - 1) * 4..],
                [ConnState::Dial, ConnState::New, ConnState::Handshake]
            );
            client.close().expect("closed");
            drop(guest);
        }
        assert!(diary.errors().is_empty(), "{how}: {:?}", diary.errors());
        // The second time the good one comes first.
        assert_eq!(came.load(std::sync::atomic::Ordering::Relaxed), 1, "{how}");
        drop(host);
        let error = client.connect(std::time::Duration::from_secs(1)).expect_err("nobody is left");
        let told = error.to_string();
        if how == "stays silent" {
            assert!(matches!(error, Error::Broken { reason: Reason::Timeout(_), .. }), "{told}");
        } else {
            assert!(matches!(error, Error::Broken { .. }) && told.contains("the last of 2 addresses"), "{told}");
        }
    }
}
