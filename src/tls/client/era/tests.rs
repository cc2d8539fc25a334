//! When a client stops to resume.

use super::*;
use crate::tls::{ClientTls, provider};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ResolvesServerCert, ServerConfig};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConnection, HandshakeKind, RootCertStore, ServerConnection, version};
use std::sync::Mutex;
use std::time::Duration;

/// A clock that stands until it is set.
#[derive(Debug)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// Shows what was put there last.
#[derive(Debug)]
struct Shown(Mutex<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.lock().expect("a certificate").clone())
    }
}

/// A certificate under `issuer`, valid for so many days of 2030.
fn certified(issuer: &rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, last_day: u8) -> Arc<CertifiedKey> {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2030, 1, 1), rcgen::date_time_ymd(2030, 1, last_day));
    let key = rcgen::KeyPair::generate().expect("a key");
    let made = params.signed_by(&key, issuer).expect("a certificate");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let key = provider().key_provider.load_private_key(key).expect("a key");
    Arc::new(CertifiedKey::new(vec![made.der().clone()], key))
}

/// Seconds at which a day of January 2030 begins.
fn day(day: u64) -> u64 {
    1_893_456_000 + (day - 1) * 86_400
}

fn shake(client: &ClientTls, server: &Arc<ServerConfig>) -> Result<HandshakeKind, rustls::Error> {
    let era = client.era();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(era.config().clone(), name).expect("a client");
    let mut server = ServerConnection::new(server.clone()).expect("a server");
    for _ in 0..4 {
        let (mut there, mut back) = (Vec::new(), Vec::new());
        while client.wants_write() {
            client.write_tls(&mut there).expect("a vector");
        }
        let mut there = &there[..];
        while !there.is_empty() {
            server.read_tls(&mut there).expect("bytes");
            server.process_new_packets()?;
        }
        while server.wants_write() {
            server.write_tls(&mut back).expect("a vector");
        }
        let mut back = &back[..];
        while !back.is_empty() {
            client.read_tls(&mut back).expect("bytes");
            client.process_new_packets()?;
        }
    }
    let kind = client.handshake_kind().expect("a handshake");
    if kind != HandshakeKind::Resumed {
        era.saw(client.peer_certificates().unwrap_or_default());
    }
    Ok(kind)
}

#[test]
fn a_server_whose_certificate_has_expired_is_not_resumed_with_and_a_renewed_one_is_verified() {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let issuer = rcgen::CertifiedIssuer::self_signed(params, key).expect("an issuer");
    for version in [&version::TLS12, &version::TLS13] {
        let clock = Arc::new(Clock(AtomicU64::new(day(2))));
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).expect("a root");
        let mut config = ClientConfig::builder_with_details(provider(), clock.clone())
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        let given = Arc::new(config);
        let client = ClientTls::from(given.clone());
        let shown = Arc::new(Shown(Mutex::new(certified(&issuer, 10))));
        let mut server = ServerConfig::builder_with_details(provider(), clock.clone())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        server.ticketer = Ticketer::new().expect("a ticketer");
        let server = Arc::new(server);
        let at = |seconds: u64| {
            clock.0.store(seconds, Ordering::Relaxed);
            shake(&client, &server)
        };
        use HandshakeKind::{Full, Resumed};
        assert_eq!([at(day(10) - 3600), at(day(10) - 60), at(day(10))], [Ok(Full), Ok(Resumed), Ok(Resumed)]);
        // It has expired: what was remembered does not help.
        assert!(at(day(10) + 1).is_err() && at(day(10) + 2).is_err(), "{version:?}");
        // Nor does it help another one that was made of the same configuration and remembers sessions at the same place.
        for seconds in [day(10) - 30, day(10) + 3] {
            clock.0.store(seconds, Ordering::Relaxed);
            let another = ClientTls::from(given.clone());
            assert_eq!(shake(&another, &server).ok(), (seconds < day(10)).then_some(Full), "{version:?}");
        }
        *shown.0.lock().expect("a certificate") = certified(&issuer, 20);
        assert_eq!(
            [at(day(20) - 3600), at(day(20) - 60), at(day(20))],
            [Ok(Full), Ok(Resumed), Ok(Resumed)],
            "{version:?}"
        );
        // Renewed in time: the first handshake behind the old one's end is a full one, the next ones are not.
        *shown.0.lock().expect("a certificate") = certified(&issuer, 30);
        assert_eq!([at(day(20) + 60), at(day(20) + 61)], [Ok(Full), Ok(Resumed)], "{version:?}");
    }
}

#[test]
fn an_era_ends_with_the_first_of_the_certificates_that_were_needed() {
    let clock = Arc::new(Clock(AtomicU64::new(day(5))));
    let config = ClientConfig::builder_with_details(provider(), clock.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let key = rcgen::KeyPair::generate().expect("a key");
    let issuer = rcgen::CertifiedIssuer::self_signed(rcgen::CertificateParams::default(), key).expect("an issuer");
    let ending = |last_day| certified(&issuer, last_day).cert[0].clone();
    let era = Era::of(Arc::new(config));
    let is_over = |seconds: u64| {
        clock.0.store(seconds, Ordering::Relaxed);
        era.is_over()
    };
    assert!(!is_over(day(31)), "nobody was seen");
    clock.0.store(day(5), Ordering::Relaxed);
    // One that has expired was not needed; what is no certificate has no end.
    era.saw(&[ending(25), ending(3), CertificateDer::from(vec![1, 2, 3])]);
    assert_eq!([is_over(day(25)), is_over(day(25) + 1)], [false, true]);
    clock.0.store(day(5), Ordering::Relaxed);
    era.saw(&[ending(20), ending(15)]);
    era.saw(&[ending(28)]);
    era.saw(&[]);
    assert_eq!([is_over(day(15)), is_over(day(15) + 1)], [false, true]);
    assert!(!era.next().is_over());
}
