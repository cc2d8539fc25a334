//! What configurations refuse, where it is no matter of files; `tests/tls/building.rs` has those.

use super::*;
use rustls::server::{ResolvesServerCertUsingSni, ServerConfig};

#[test]
fn early_data_is_refused_by_name() {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    let server = TlsServer::from(Arc::new(config.clone()));
    assert!(server.validate().is_ok());
    config.max_early_data_size = 1;
    let config = Arc::new(config);
    let error = TlsServer::from(config.clone()).validate().expect_err("early data");
    assert!(error.to_string().starts_with("max_early_data_size cannot be 1"), "{error}");
    assert!(server.replace(config).is_err());
    assert!(server.validate().is_ok(), "the old one stays");
}

/// A measurement, run by hand or by `.ci/run long`: `cargo test --release --lib tls::tests -- --ignored --nocapture`
#[test]
#[ignore = "for release builds on a quiet machine"]
fn a_configuration_is_chosen_among_a_thousand_names_in_3_us() {
    const ROUNDS: u32 = 100_000;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let with =
        || TlsServer::builder().certificate(Pem::bytes(made.cert.pem()), Pem::bytes(made.signing_key.serialize_pem()));
    let many = (0..1000).fold(with(), |builder, n| builder.name(format!("host{n}.example.org"), with()));
    let (one, many) = (with().build().expect("a server"), many.build().expect("a server"));
    let client = TlsClient::builder().roots(Pem::bytes(made.cert.pem())).build().expect("a client");
    let name = rustls::pki_types::ServerName::try_from("host777.example.org").expect("a name");
    let mut client = rustls::ClientConnection::new(client.config(), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector");
    for (what, server) in [("one", &one), ("1,000 names", &many)] {
        let since = std::time::Instant::now();
        for _ in 0..ROUNDS {
            std::hint::black_box(server.choose(std::hint::black_box(Some(&hello[5..])))).expect("a configuration");
        }
        let each = since.elapsed() / ROUNDS;
        println!("{what}: {each:?} a hello of {} bytes", hello.len());
        assert!(each.as_nanos() <= 3_000);
    }
}

/// A measurement, run by hand or by `.ci/run long`, as above: chains and keys of their own, from files.
#[test]
#[ignore = "for release builds on a quiet machine"]
fn a_server_with_a_thousand_names_is_built_within_1500_ms() {
    let folder = tempfile::tempdir().expect("a folder");
    let builder = (0..1000).fold(None, |all: Option<TlsServerBuilder>, n| {
        let name = format!("host{n}.example.org");
        let made = rcgen::generate_simple_self_signed([name.clone()]).expect("a certificate");
        let [chain, key] = ["pem", "key"].map(|end| folder.path().join(format!("{n}.{end}")));
        std::fs::write(&chain, made.cert.pem()).expect("a file");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("a file");
        let own = TlsServer::builder().certificate(chain, key);
        Some(match all {
            None => own,
            Some(all) => all.name(name, own),
        })
    });
    let builder = builder.expect("a thousand");
    for what in ["built", "built again"] {
        let since = std::time::Instant::now();
        let server = builder.build().expect("a server");
        let built = since.elapsed();
        assert!(server.reload(&builder).expect("a reload").is_complete());
        println!("1,000 names {what}: {built:?}; reloaded: {:?}", since.elapsed() - built);
        assert!(built.as_millis() <= 1_500);
    }
}
