//! A peer that seals by hand, behind an ordinary handshake: records that no rustls would ever write.

use crate::raw::Client;
use crate::support::{Peer, World, security};
use std::sync::Arc;
use windlass::rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use windlass::rustls::{
    CipherSuite, ClientConfig, ConnectionTrafficSecrets, ContentType, ProtocolVersion, RootCertStore,
    SupportedCipherSuite, SupportedProtocolVersion,
};
use windlass::{Address, tls};

/// An ordinary client's configuration for one version, with a suite whose nonces are simple, and keys that can be had.
fn config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    const SUITES: [CipherSuite; 2] =
        [CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256];
    let mut provider = (*tls::provider()).clone();
    provider.cipher_suites.retain(|suite| SUITES.contains(&suite.suite()));
    let mut roots = RootCertStore::empty();
    roots.add(security::certificate()).expect("a root");
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    Arc::new(config)
}

/// A peer whose handshake is done, and whose records the test makes.
pub(crate) struct Forger {
    pub(crate) peer: Peer,
    version: ProtocolVersion,
    seals: Box<dyn MessageEncrypter>,
    opens: Box<dyn MessageDecrypter>,
    /// How many records were sealed, and opened.
    sealed: u64,
    opened: u64,
    came: Vec<u8>,
}

impl Forger {
    /// Shakes hands, and takes the keys.
    pub(crate) fn new(world: &mut World, address: &Address, version: &'static SupportedProtocolVersion) -> Forger {
        let mut client = Client::new(address, config(version), security::NAME);
        client.shake(world, 10_000);
        let suite = client.tls.negotiated_cipher_suite().expect("a suite");
        let version = client.tls.protocol_version().expect("a version");
        let secrets = client.tls.dangerous_extract_secrets().expect("the keys");
        let ((sealed, ours), (opened, theirs)) = (secrets.tx, secrets.rx);
        let parts = |secrets| match secrets {
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
            _ => panic!("another suite"),
        };
        let ((key, iv), (their_key, their_iv)) = (parts(ours), parts(theirs));
        let (seals, opens) = match suite {
            SupportedCipherSuite::Tls12(suite) => {
                let seals = suite.aead_alg.encrypter(key, iv.as_ref(), &[]);
                (seals, suite.aead_alg.decrypter(their_key, their_iv.as_ref()))
            }
            SupportedCipherSuite::Tls13(suite) => {
                (suite.aead_alg.encrypter(key, iv), suite.aead_alg.decrypter(their_key, their_iv))
            }
        };
        Forger { peer: client.peer, version, seals, opens, sealed, opened, came: Vec::new() }
    }

    /// A record of such a kind and body, sealed.
    pub(crate) fn seal(&mut self, kind: ContentType, body: &[u8]) -> Vec<u8> {
        let version = ProtocolVersion::TLSv1_2;
        let plain = OutboundPlainMessage { typ: kind, version, payload: OutboundChunks::Single(body) };
        let sealed = self.seals.encrypt(plain, self.sealed).expect("a record");
        self.sealed += 1;
        sealed.encode()
    }

    /// Seals a record and sends it.
    pub(crate) fn say(&mut self, world: &mut World, kind: ContentType, body: &[u8]) {
        let record = self.seal(kind, body);
        self.peer.send_all_while(world, &record);
    }

    /// The next record that comes, opened; `None` at the end of the stream.
    pub(crate) fn hear(&mut self, world: &mut World) -> Option<(ContentType, Vec<u8>)> {
        const HEADER_BYTES: usize = 5;
        let mut record = None;
        world.until("a record", |_| {
            loop {
                if let Some(&[kind, _, _, high, low]) = self.came.first_chunk::<HEADER_BYTES>() {
                    let end = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
                    if self.came.len() >= end {
                        let body = self.came.drain(..end).skip(HEADER_BYTES).collect::<Vec<u8>>();
                        record = Some((ContentType::from(kind), body));
                        return true;
                    }
                }
                let mut buffer = [0; 16 * 1024];
                match self.peer.try_read(&mut buffer) {
                    None => return false,
                    Some(Ok(read @ 1..)) => self.came.extend_from_slice(&buffer[..read]),
                    Some(Ok(0)) => return true,
                    Some(other) => panic!("no end, and no record: {other:?}"),
                }
            }
        });
        let (kind, mut body) = record?;
        let message = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, &mut body);
        let plain = self.opens.decrypt(message, self.opened).expect("a record that can be opened");
        self.opened += 1;
        Some((plain.typ, plain.payload.to_vec()))
    }

    /// The next record that is no ticket.
    pub(crate) fn hear_answer(&mut self, world: &mut World) -> Option<(ContentType, Vec<u8>)> {
        loop {
            match self.hear(world) {
                Some((ContentType::Handshake, _)) if self.version == ProtocolVersion::TLSv1_3 => {}
                heard => return heard,
            }
        }
    }
}
