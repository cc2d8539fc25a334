//! What a configuration reads, and how often: every item of a file, and every file once. And what fits into no message.

use crate::support::skip;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use windlass::rustls::pki_types::pem::PemObject;
use windlass::rustls::pki_types::{PrivateKeyDer, ServerName};
use windlass::rustls::sign::{Signer, SigningKey};
use windlass::rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme,
};
use windlass::tls::{ClientAuth, Pem, Version, provider};
use windlass::{ClientTls, ServerTls, ServerTlsBuilder};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer(name: &str, key: KeyPair) -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, key).expect("an issuer")
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Chain and key of `localhost`.
fn issued(issuer: &Issuer, key: &KeyPair) -> (String, String) {
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    (params.signed_by(key, issuer).expect("a certificate").pem(), key.serialize_pem())
}

fn server_of(issuer: &Issuer) -> Arc<ServerConfig> {
    let (chain, key) = issued(issuer, &new_key());
    let chain = windlass::rustls::pki_types::CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let config =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().expect("versions");
    Arc::new(config.with_no_client_auth().with_single_cert(vec![chain], key).expect("a certificate"))
}

/// Whether a handshake in memory ends well.
fn shakes(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> bool {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = Connection::from(ClientConnection::new(client.clone(), name).expect("a client"));
    let mut server = Connection::from(ServerConnection::new(server.clone()).expect("a server"));
    for _ in 0..8 {
        for turned in [false, true] {
            let (from, to) = if turned { (&mut server, &mut client) } else { (&mut client, &mut server) };
            let mut flight = Vec::new();
            while from.wants_write() {
                from.write_tls(&mut flight).expect("memory");
            }
            let mut rest = &flight[..];
            while !rest.is_empty() {
                to.read_tls(&mut rest).expect("memory");
                if to.process_new_packets().is_err() {
                    return false;
                }
            }
        }
    }
    !client.is_handshaking() && !server.is_handshaking()
}

fn pipe(folder: &Path, name: &str, content: String) -> Option<PathBuf> {
    let path = folder.join(name);
    let made = Command::new("mkfifo").arg(&path).status();
    if !made.is_ok_and(|status| status.success()) {
        skip("mkfifo is not installed");
        return None;
    }
    let written = path.clone();
    std::thread::spawn(move || std::fs::write(written, content));
    Some(path)
}

#[test]
fn every_root_of_a_file_is_trusted_however_its_lines_end_and_begin() {
    let [first, second] = ["first", "second"].map(|name| issuer(name, new_key()));
    let whole = first.pem() + &second.pem();
    let (first_pem, second_pem) = (first.pem(), second.pem());
    let servers = [&first, &second].map(server_of);
    for (how, text) in [
        ("as it is", whole.clone()),
        ("CRLF", whole.replace('\n', "\r\n")),
        ("CR", whole.replace('\n', "\r")),
        ("no last newline", whole.trim_end().to_owned()),
        ("joined without a newline", format!("{}{second_pem}", first_pem.trim_end())),
        ("a byte order mark", format!("\u{feff}{whole}")),
        ("two byte order marks", format!("\u{feff}{first_pem}\u{feff}{second_pem}")),
        ("indented", whole.lines().map(|line| format!("\t  {line}  \n")).collect()),
        ("text around them", format!("# first:\n{first_pem}\n# and\n\nsubject=CN = second\n{second_pem}\nbye")),
        ("blank lines within", whole.replace('\n', "\n\n")),
        ("a key beside them", format!("{first_pem}{}{second_pem}", new_key().serialize_pem())),
    ] {
        let client = ClientTls::builder().roots(Pem::bytes(text)).build();
        let client = client.unwrap_or_else(|error| panic!("{how}: {error}")).config();
        assert_eq!(servers.each_ref().map(|server| shakes(&client, server)), [true, true], "{how}");
    }
}

/// "Once" went by how a file was spelt: the second reading of a pipe waited for ever.
#[test]
fn a_pipe_is_read_once_although_it_is_named_by_a_link_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = issuer("members", new_key());
    let (chain, key) = issued(&issuer, &new_key());
    let Some(path) = pipe(folder.path(), "both", chain + &key) else { return };
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("both", &link).expect("a link");
    let (done, wait) = std::sync::mpsc::channel();
    let builder = ServerTls::builder().certificate(path.as_path(), link.as_path());
    std::thread::spawn(move || done.send(builder.build().map(drop)));
    wait.recv_timeout(std::time::Duration::from_secs(10)).expect("it is read once").expect("a server");
}

#[test]
fn a_pipe_is_read_once_for_all_that_it_is_named_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = issuer("members", new_key());
    let (chain, key) = issued(&issuer, &new_key());
    // Its own chain and key, another name's, and the issuers of clients: all from one.
    let Some(all) = pipe(folder.path(), "all.pem", chain + &key + &issuer.pem()) else { return };
    let own = || ServerTls::builder().certificate(all.as_path(), all.as_path());
    let builder = own().client_auth(ClientAuth::Required).client_roots(all.as_path()).name("a.example", own());
    let (tell, told) = std::sync::mpsc::channel();
    let building = builder.clone();
    std::thread::spawn(move || tell.send(building.build().map(drop)));
    let built = told.recv_timeout(std::time::Duration::from_secs(10)).expect("not a second reading");
    built.expect("a server");
    // And for a client.
    let (chain, key) = issued(&issuer, &new_key());
    let Some(own) = pipe(folder.path(), "own.pem", chain + &key + &issuer.pem()) else { return };
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let builder = ClientTls::builder().roots(own.as_path()).certificate(own.as_path(), own.as_path());
        tell.send(builder.build().map(drop))
    });
    told.recv_timeout(std::time::Duration::from_secs(10)).expect("not a second reading").expect("a client");
}

#[test]
fn more_client_issuers_than_a_message_can_name_are_refused_also_by_a_reload() {
    let issuer = issuer("members", new_key());
    let (chain, key) = issued(&issuer, &new_key());
    let asking = || {
        ServerTls::builder()
            .certificate(Pem::bytes(chain.as_str()), Pem::bytes(key.as_str()))
            .client_auth(ClientAuth::Optional)
    };
    let shared = new_key().serialize_der();
    let named = |count: usize, length: usize| {
        let one = |number: usize| {
            let key = KeyPair::try_from(shared.as_slice()).expect("a key");
            self::issuer(&format!("{number:0length$}"), key).pem()
        };
        Pem::bytes((0..count).map(one).collect::<String>())
    };
    // A name of 60 characters takes 75 bytes: two for its length, and six times a tag and a length.
    let good = asking().client_roots(named(840, 60));
    let server = good.build().expect("as many as fit");
    let many = asking().client_roots(named(840, 60)).client_roots(named(20, 60));
    let refused = server.reload(&many).expect_err("some more").to_string();
    assert!(refused.contains("client roots: the names of these 860 issuers take 64500 bytes"), "{refused}");
    assert!(many.build().is_err());
    assert!(server.reload(&good).expect("as many as fit").is_complete());
}

#[test]
fn suites_that_do_not_fit_the_key_are_refused_in_each_version() {
    let issuer = issuer("servers", new_key());
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
    let (ec, rsa) = (issued(&issuer, &new_key()), issued(&issuer, &rsa));
    let with = |builder: ServerTlsBuilder, (chain, key): &(String, String)| {
        builder.certificate(Pem::bytes(chain.as_str()), Pem::bytes(key.as_str()))
    };
    let server = |own| with(ServerTls::builder(), own);
    let (for_rsa, for_ec) = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256");
    let thirteen = "TLS_AES_128_GCM_SHA256";
    for (own, fits, other) in [(&ec, for_ec, for_rsa), (&rsa, for_rsa, for_ec)] {
        let old = server(own).versions(Version::Tls12, Version::Tls12);
        assert!(old.clone().suites([fits]).build().is_ok());
        let refused = old.suites([other]).build().expect_err("no suite").to_string();
        assert!(refused.contains("a test handshake in memory failed"), "{refused}");
        // One of 1.3 fits any key, and then 1.2 is left without.
        let refused = server(own).suites([thirteen, other]).build().expect_err("no suite of 1.2").to_string();
        assert!(refused.contains("no suite of TLS 1.2 that is allowed fits a key of"), "{refused}");
        assert!(server(own).suites([thirteen, fits]).build().is_ok());
        assert!(server(own).suites([thirteen]).build().is_ok(), "1.2 is not spoken");
        // Another certificate has it.
        let both = with(with(ServerTls::builder(), &ec), &rsa);
        assert!(both.suites([thirteen, other]).build().is_ok());
    }
    // A client's key is no matter of its suites.
    let client = ClientTls::builder().roots(Pem::bytes(issuer.pem()));
    let client = client.certificate(Pem::bytes(ec.0.as_str()), Pem::bytes(ec.1.as_str()));
    assert!(client.versions(Version::Tls12, Version::Tls12).suites([for_rsa]).build().is_ok());
}

#[test]
fn more_application_protocols_than_a_hello_can_name_are_refused() {
    let issuer = issuer("servers", new_key());
    let (chain, key) = issued(&issuer, &new_key());
    let names = |count: usize| (0..count).map(|n| format!("{n:0250}")).collect::<Vec<_>>();
    let server = |count| {
        let with = ServerTls::builder().certificate(Pem::bytes(chain.as_str()), Pem::bytes(key.as_str()));
        with.alpn(names(count)).build().map(drop)
    };
    let client = |count| ClientTls::builder().roots(Pem::bytes(issuer.pem())).alpn(names(count)).build();
    for refused in [server(260).expect_err("too many"), client(260).map(drop).expect_err("too many")] {
        let text = refused.to_string();
        assert!(text.contains("alpn cannot be 260 names of 65260 bytes"), "{text}");
    }
    server(200).expect("as many as fit");
    let client = client(200).expect("as many as fit");
    assert!(shakes(&client.config(), &server_of(&issuer)), "a peer takes that hello");
}

/// A key that tells whose it is, and must not be asked for more.
#[derive(Debug)]
struct Elsewhere(Arc<dyn SigningKey>);

impl SigningKey for Elsewhere {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        panic!("asked for a signature")
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }

    fn public_key(&self) -> Option<windlass::rustls::pki_types::SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }
}

#[test]
fn a_key_that_is_elsewhere_is_compared_but_signs_nothing_at_build() {
    let issuer = issuer("servers", new_key());
    let (own, other) = (issued(&issuer, &new_key()), issued(&issuer, &new_key()));
    let key = PrivateKeyDer::from_pem_slice(own.1.as_bytes()).expect("a key");
    let key: Arc<dyn SigningKey> = Arc::new(Elsewhere(provider().key_provider.load_private_key(key).expect("a key")));
    let with = |chain: &str| ServerTls::builder().certificate_with_key(Pem::bytes(chain), key.clone()).build();
    assert!(with(&own.0).is_ok());
    let refused = with(&other.0).expect_err("another key").to_string();
    assert!(refused.contains("the private key is not that of this certificate"), "{refused}");
}
