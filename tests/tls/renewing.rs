//! Clients whose certificate, roots or sessions are renewed while they run.

use crate::authorities::{Authority, VERSIONS, lasting};
use crate::building::{Own, dated, own, reload};
use rcgen::KeyPair;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use windlass::rustls::version;
use windlass::tls::{ClientAuth, Pem, Tickets, Version};
use windlass::{
    Backoff, Client, ClientTls, ClientTlsBuilder, Conn, ConnectConfig, Connector, Engine, EngineConfig, Handler,
    ListenConfig, Server, ServerTls,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// The certificates that were shown to a server, one for each connection.
type Shown = Arc<Mutex<Vec<Vec<u8>>>>;

struct Members(Shown);

impl Handler for Members {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let shown = conn.tls().and_then(|tls| tls.peer_certificates()).map(|chain| chain[0].to_vec());
        self.0.lock().expect("certificates").push(shown.unwrap_or_default());
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }
}

fn serve(tls: &ServerTls) -> (Server, Shown) {
    let shown = Shown::default();
    let kept = shown.clone();
    let make = move || {
        let kept = kept.clone();
        move |_: &Conn<'_>| Members(kept.clone())
    };
    let server = Server::builder()
        .address("tls://127.0.0.1:0".parse().expect("an address"))
        .engine_config(EngineConfig { reactors: 1, ..EngineConfig::default() })
        .listen_config(ListenConfig { tls: Some(tls.clone()), ..ListenConfig::default() })
        .on_error(|_| {})
        .on_event(|_| {})
        .handler(make)
        .build()
        .expect("a server");
    server.listen().expect("a listener");
    (server, shown)
}

fn client(server: &Server, tls: &ClientTls) -> Client {
    let connect = ConnectConfig { tls: Some(tls.clone()), ..ConnectConfig::default() };
    let builder = Client::builder(server.local_addresses()[0].clone()).connect_config(connect);
    builder.read_timeout(Some(PATIENCE)).build().expect("a client")
}

/// Connects, has a byte echoed, and closes. Whether a session was resumed; `None` if there was no connection.
fn greet(client: &Client) -> Option<bool> {
    client.connect(PATIENCE).ok()?;
    let mut stream = client;
    stream.write_all(b"x").ok()?;
    stream.read_exact(&mut [0]).ok()?;
    let is_resumed = client.tls(|tls| tls.is_resumed());
    let _ = client.close();
    is_resumed
}

fn of(version: &'static windlass::rustls::SupportedProtocolVersion) -> Version {
    if *version == version::TLS12 { Version::Tls12 } else { Version::Tls13 }
}

fn trusting(own: &Own) -> ClientTlsBuilder {
    ClientTls::builder().roots(Pem::bytes(own.chain.clone())).server_name("localhost")
}

/// A certificate of `root`'s and its key, in two files.
fn renew(folder: &Path, root: &Authority) -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["member".to_owned()]).expect("a name");
    let made = params.signed_by(&key, &root.issuer).expect("a certificate");
    std::fs::write(folder.join("me.pem"), made.pem()).expect("a file");
    std::fs::write(folder.join("me.key"), key.serialize_pem()).expect("a file");
    made.der().to_vec()
}

fn showing(folder: &Path, builder: ClientTlsBuilder) -> ClientTlsBuilder {
    builder.certificate(Pem::file(folder.join("me.pem")), Pem::file(folder.join("me.key")))
}

fn last(shown: &Shown) -> Vec<u8> {
    shown.lock().expect("certificates").last().expect("a connection").clone()
}

#[test]
fn a_client_does_not_resume_with_a_server_whose_certificate_has_expired() {
    let mut all = Vec::new();
    for version in VERSIONS {
        let first = dated("localhost", lasting(3));
        let renewed = own("localhost");
        let tls = first.server().build().expect("a server");
        let (server, _) = serve(&tls);
        let trust = trusting(&first).roots(Pem::bytes(renewed.chain.clone())).versions(of(version), of(version));
        let client = client(&server, &trust.build().expect("a client"));
        assert_eq!([greet(&client), greet(&client)], [Some(false), Some(true)], "it took over three seconds");
        all.push((version, renewed, tls, trust, client, server));
    }
    let since = Instant::now();
    for (version, renewed, tls, trust, remembering, server) in &all {
        // Somebody who remembers nothing sees when it has expired.
        while greet(&client(server, &trust.build().expect("a client"))).is_some() {
            assert!(since.elapsed() < PATIENCE, "it does not expire");
        }
        assert_eq!([greet(remembering), greet(remembering)], [None, None], "{version:?}");
        reload(tls, &renewed.server());
        assert_eq!([greet(remembering), greet(remembering)], [Some(false), Some(true)], "{version:?}");
    }
}

#[test]
fn a_reloaded_client_shows_its_new_certificate_and_resumes_nothing_of_the_old_one() {
    let (root, site) = (Authority::root("members"), own("localhost"));
    let folder = tempfile::tempdir().expect("a folder");
    let tls = site.server().client_auth(ClientAuth::Required).client_roots(root.pem()).build().expect("a server");
    let (server, shown) = serve(&tls);
    for version in VERSIONS {
        let first = renew(folder.path(), &root);
        let builder = showing(folder.path(), trusting(&site)).versions(of(version), of(version));
        let tls = builder.build().expect("a client");
        let client = client(&server, &tls);
        assert_eq!([greet(&client), greet(&client)], [Some(false), Some(true)]);
        assert_eq!(last(&shown), first);
        let second = renew(folder.path(), &root);
        assert_eq!(greet(&client), Some(true), "not read again yet");
        // A clone of the one that the client was built with.
        tls.reload(&builder).expect("files that fit");
        assert_eq!([greet(&client), greet(&client)], [Some(false), Some(true)], "{version:?}");
        assert_eq!(last(&shown), second);
        // What cannot be used changes nothing, sessions included.
        std::fs::write(folder.path().join("me.key"), "nothing").expect("a file");
        let error = tls.reload(&builder).expect_err("no key").to_string();
        assert!(error.contains("me.key"), "{error}");
        let mut early = (*tls.config()).clone();
        early.enable_early_data = true;
        assert!(tls.replace(Arc::new(early)).is_err());
        assert_eq!(greet(&client), Some(true), "{version:?}");
        assert_eq!(last(&shown), second);
    }
}

#[test]
fn a_reloaded_client_trusts_its_new_roots_alone() {
    let (old, new) = (own("localhost"), own("localhost"));
    let tls = old.server().build().expect("a server");
    let (server, _) = serve(&tls);
    let trust = trusting(&old).build().expect("a client");
    let client = client(&server, &trust);
    assert_eq!([greet(&client), greet(&client)], [Some(false), Some(true)]);
    trust.reload(&trusting(&new)).expect("other roots");
    assert_eq!(greet(&client), None, "neither verified nor resumed");
    reload(&tls, &new.server());
    assert_eq!([greet(&client), greet(&client)], [Some(false), Some(true)]);
    // The same by a configuration that is given.
    trust.replace(trusting(&old).build().expect("a client").config()).expect("a good one");
    assert_eq!(greet(&client), None);
}

#[test]
fn of_two_reloads_of_a_client_at_once_the_one_that_began_last_counts() {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    let (root, site) = (Authority::root("members"), own("localhost"));
    let folder = tempfile::tempdir().expect("a folder");
    renew(folder.path(), &root);
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a FIFO");
    for by_reload in [true, false] {
        let tls = trusting(&site).build().expect("a client");
        let last = trusting(&site).build().expect("a client").config();
        let before = tls.config();
        std::thread::scope(|scope| {
            let slow = trusting(&site).certificate(Pem::file(folder.path().join("me.pem")), Pem::file(&fifo));
            let begun = scope.spawn({
                let tls = tls.clone();
                move || tls.reload(&slow).expect("files that fit")
            });
            // It opens once the other side reads.
            let mut key = std::fs::File::options().write(true).open(&fifo).expect("the FIFO");
            let (done, wait) = channel();
            let second = scope.spawn({
                let (tls, last, site) = (tls.clone(), last.clone(), &site);
                move || {
                    match by_reload {
                        true => tls.reload(&trusting(site)).expect("the root"),
                        false => tls.replace(last).expect("a good one"),
                    }
                    let _ = done.send(());
                }
            });
            let waited = wait.recv_timeout(Duration::from_millis(200));
            key.write_all(&std::fs::read(folder.path().join("me.key")).expect("a key")).expect("a key");
            drop(key);
            begun.join().expect("the first");
            second.join().expect("the second");
            assert_eq!(waited, Err(RecvTimeoutError::Timeout), "it waits for the one that has begun");
        });
        assert!(!Arc::ptr_eq(&before, &tls.config()));
        assert!(!tls.config().client_auth_cert_resolver.has_certs(), "by reload: {by_reload}");
    }
}

#[test]
fn a_connector_comes_back_with_the_certificate_that_was_reloaded() {
    let (root, site) = (Authority::root("members"), own("localhost"));
    let folder = tempfile::tempdir().expect("a folder");
    let tls = site.server().client_auth(ClientAuth::Required).client_roots(root.pem()).tickets(Tickets::Off);
    let (server, shown) = serve(&tls.build().expect("a server"));
    let first = renew(folder.path(), &root);
    let builder = showing(folder.path(), trusting(&site));
    let tls = builder.build().expect("a client");
    let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() }).expect("an engine");
    let connector = Connector::builder(server.local_addresses()[0].clone())
        .connect_config(ConnectConfig { tls: Some(tls.clone()), ..ConnectConfig::default() })
        .backoff(Backoff { first: Duration::from_millis(10), ..Backoff::default() })
        .start(engine.least_loaded(), |_: &Conn<'_>| crate::support::Echo)
        .expect("a connector");
    let until = |done: &dyn Fn() -> bool| {
        let since = Instant::now();
        while !done() {
            assert!(since.elapsed() < PATIENCE, "it does not come");
            std::thread::yield_now();
        }
    };
    until(&|| shown.lock().expect("certificates").len() == 1 && connector.connection().is_some());
    assert_eq!(last(&shown), first);
    let second = renew(folder.path(), &root);
    tls.reload(&builder).expect("files that fit");
    connector.remote().close(connector.connection().expect("it is connected")).expect("a reactor");
    until(&|| shown.lock().expect("certificates").len() == 2);
    assert_eq!(last(&shown), second);
}
