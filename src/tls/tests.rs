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
    let server = ServerTls::from(Arc::new(config.clone()));
    assert!(server.validate().is_ok());
    config.max_early_data_size = 1;
    let config = Arc::new(config);
    let error = ServerTls::from(config.clone()).validate().expect_err("early data");
    assert!(error.to_string().starts_with("max_early_data_size cannot be 1"), "{error}");
    assert!(server.replace(config).is_err());
    assert!(server.validate().is_ok(), "the old one stays");
}
