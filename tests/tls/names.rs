//! Who is served by the rules of which name: those of the name that rustls reads in the first message, however that message
//! is cut, padded, mixed with others and sent. A client that could choose would choose the rules that ask for nothing.

use crate::hostile::counted;
use crate::raw::{Client, dial};
use crate::refusals::{Issuer, TLS12, TLS13, Versions, issued, issuer};
use crate::support::{Echo, Heard, Hooks, Kind, Peer, World};
use proptest::prelude::*;
use rcgen::{CertificateParams, SanType};
use std::cell::RefCell;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use windlass::rustls::pki_types::{PrivateKeyDer, ServerName};
use windlass::rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore};
use windlass::tls::{ClientAuth, HandshakeThreads, Offload, Pem, UnknownName};
use windlass::{Conn, Limits, Link, ListenConfig, ReactorConfig, Reason, ServerTls, ServerTlsBuilder, TlsFault, tls};

/// Its clients show certificates.
const ADMIN: &str = "admin.example.org";
const OTHER: &str = "other.example.org";
/// No configuration is for it.
const NOBODY: &str = "nobody.example.org";
const BOTH: [Versions; 2] = [TLS12, TLS13];

// --- a site with rules for names -----------------------------------------------------------------------------------------

struct Material {
    site: Issuer,
    members: Issuer,
    chain: Vec<u8>,
    key: Vec<u8>,
}

fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let (site, members) = (issuer("site"), issuer("members"));
        let names = |params: &mut CertificateParams| {
            let names = [OTHER, NOBODY].map(|name| SanType::DnsName(name.try_into().expect("a name")));
            params.subject_alt_names.extend(names);
        };
        let own = issued(&site, ADMIN, names);
        let pem = |label: &str, der: &[u8]| crate::support::security::pem(label, der).into_bytes();
        let (chain, key) = (pem("CERTIFICATE", &own.0[0]), pem("PRIVATE KEY", own.1.secret_der()));
        Material { site, members, chain, key }
    })
}

/// The usual rules ask for nothing, those of `ADMIN` for a certificate; which is used is told by the protocol. The one group
/// is none that clients guess: each is asked to begin anew.
fn rules(unknown: UnknownName) -> ServerTlsBuilder {
    let its = material();
    let with = |protocol: &str| {
        let builder = ServerTls::builder().certificate(Pem::bytes(its.chain.clone()), Pem::bytes(its.key.clone()));
        builder.groups(["secp256r1"]).alpn([protocol])
    };
    let admin = with("admin").client_auth(ClientAuth::Required).client_roots(Pem::bytes(its.members.pem()));
    with("usual").name(ADMIN, admin).name(OTHER, with("other")).unknown_names(unknown)
}

fn client(versions: Versions, is_member: bool, padding: &[usize]) -> Arc<ClientConfig> {
    let its = material();
    let mut roots = RootCertStore::empty();
    roots.add(its.site.der().clone()).expect("a root");
    let config = ClientConfig::builder_with_provider(tls::provider()).with_protocol_versions(versions);
    let config = config.expect("versions").with_root_certificates(roots);
    let mut config = if is_member {
        let own = issued(&its.members, "member", |_| {});
        let key = PrivateKeyDer::try_from(own.1.secret_der().to_vec()).expect("a key");
        config.with_client_auth_cert(own.0, key).expect("a key that fits")
    } else {
        config.with_no_client_auth()
    };
    config.alpn_protocols = ["usual", "admin", "other"].map(|name| name.as_bytes().to_vec()).into();
    config.alpn_protocols.extend(padding.iter().map(|bytes| vec![b'p'; *bytes]));
    Arc::new(config)
}

/// Its first message, and a client that has sent it.
fn opening(mut config: Arc<ClientConfig>, name: Option<&str>) -> (ClientConnection, Vec<u8>) {
    Arc::make_mut(&mut config).enable_sni = name.is_some();
    let name = ServerName::try_from(name.unwrap_or(OTHER).to_owned()).expect("a name");
    let mut tls = ClientConnection::new(config, name).expect("a client");
    let mut records = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut records).expect("a vector");
    }
    (tls, bodies(&records).concat())
}

/// The same, with a message of so many bytes, if it is not longer by itself.
fn opening_of(versions: Versions, is_member: bool, name: Option<&str>, bytes: usize) -> (ClientConnection, Vec<u8>) {
    let bare = opening(client(versions, is_member, &[]), name).1.len();
    let mut left = bytes.saturating_sub(bare);
    let mut padding = Vec::new();
    while left >= 2 {
        // One byte alone would remain, and each has a length in front of it.
        let taken = if left == 257 { 255 } else { left.min(256) };
        padding.push(taken - 1);
        left -= taken;
    }
    let (tls, message) = opening(client(versions, is_member, &padding), name);
    assert!(message.len() == bytes || bytes < bare + 2, "{} and not {bytes}", message.len());
    (tls, message)
}

fn bodies(mut records: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while let Some((header, rest)) = records.split_first_chunk::<5>() {
        let (body, rest) = rest.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
        bodies.push(body.to_vec());
        records = rest;
    }
    bodies
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &counted(body)[..]].concat()
}

fn records(message: &[u8], bytes: usize) -> Vec<u8> {
    message.chunks(bytes).flat_map(|piece| record(HANDSHAKE, piece)).collect()
}

const CHANGE: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const WARNING: [u8; 2] = [1, 90];

/// A connection that was opened: the name that was asked for, the protocol, and whether a certificate was shown.
type Opening = (Option<String>, String, bool);

struct Site {
    world: World,
    address: windlass::Address,
    opened: Rc<RefCell<Vec<Opening>>>,
}

impl Site {
    fn new(unknown: UnknownName) -> Site {
        let mut world = World::new();
        let opened = Rc::new(RefCell::new(Vec::new()));
        let opens = opened.clone();
        let listen = ListenConfig { tls: Some(rules(unknown).build().expect("a server")), ..ListenConfig::default() };
        let address = world.listen(Kind::Tls, listen, move |conn: &Conn<'_>| {
            let tls = conn.tls().expect("a handshake that is done");
            let protocol = String::from_utf8_lossy(tls.alpn().unwrap_or_default()).into_owned();
            let has_shown = tls.peer_certificates().is_some_and(|chain| !chain.is_empty());
            opens.borrow_mut().push((tls.server_name().map(str::to_owned), protocol, has_shown));
            Echo
        });
        Site { world, address, opened }
    }

    /// Sends these pieces, each at a turn of its own, and goes on as a client does; says how it was opened, or what was wrong.
    fn visit(&mut self, tls: ClientConnection, pieces: &[&[u8]]) -> Result<Opening, TlsFault> {
        let client = Client { tls, peer: dial(&self.address), fault: None };
        self.go_on(client, pieces)
    }

    fn go_on(&mut self, mut client: Client, pieces: &[&[u8]]) -> Result<Opening, TlsFault> {
        let (opened, failed) = (self.opened.borrow().len(), self.world.log.heard().len());
        for piece in pieces {
            self.send(&mut client.peer, piece);
        }
        let (mut waiting, mut is_told) = (Vec::new(), false);
        let mut rounds = 0;
        self.world.until("an opening or a refusal", |world| {
            is_told = is_told || !client.receive();
            if !is_told {
                waiting.extend(client.records());
                waiting.drain(..client.peer.write_some(&waiting).unwrap_or(waiting.len()));
            }
            rounds += 1;
            if rounds > 20 && client.tls.is_handshaking() {
                // A message that is not whole is waited for. Who was refused has no output left to end.
                let _ = client.peer.0.shutdown(Shutdown::Write);
            }
            // Whoever is told leaves: the server lingers for that.
            is_told
                || self.opened.borrow().len() > opened
                || world.log.heard().len() > failed
                || world.reactor().connections() == 0
        });
        drop(client);
        self.world.until_empty();
        let opened = self.opened.borrow().get(opened).cloned();
        match (opened, self.world.log.heard().get(failed)) {
            // Who leaves at once truncates.
            (Some(opened), None | Some(Heard::Broken(_))) => Ok(opened),
            (None, Some(Heard::Failed(Reason::Tls(fault)))) => Err(*fault),
            (None, Some(Heard::Failed(_)) | None) => Err(TlsFault::AlertReceived(0)),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a piece, unless it is refused before.
    fn send(&mut self, peer: &mut Peer, piece: &[u8]) {
        // Else the second piece waits until the first is acknowledged.
        peer.0.set_tcp_nodelay(true).expect("an option");
        let mut sent = 0;
        self.world.until("a piece to be sent", |_| match peer.write_some(&piece[sent..]) {
            Ok(bytes) => {
                sent += bytes;
                sent == piece.len()
            }
            Err(_) => true,
        });
        // One in which it is accepted, one in which it is read, and one more.
        self.world.turns(3);
    }
}

/// Whoever was opened as `ADMIN` has shown a certificate, and each got the rules of its name.
fn check(opened: &Opening, unknown: UnknownName) {
    let (name, protocol, has_shown) = opened;
    let expected = match name.as_deref() {
        Some(ADMIN) => ("admin", true),
        Some(OTHER) => ("other", false),
        Some(_) if unknown == UnknownName::Refused => panic!("{opened:?} is nobody"),
        _ => ("usual", false),
    };
    assert_eq!((protocol.as_str(), *has_shown), expected, "{opened:?}");
}

/// In one piece, and in two that end at each place that may matter.
fn cuts(wire: &[u8]) -> Vec<Vec<&[u8]>> {
    let places = [1, 4, 5, 6, 8, 9, 10, 43, 44, 16_388, 16_389, 16_390, wire.len() - 1]
        .into_iter()
        .filter(|at| *at < wire.len());
    let halves = places.map(|at| vec![&wire[..at], &wire[at..]]);
    std::iter::once(vec![wire]).chain(halves).collect()
}

// --- ways in that there were ---------------------------------------------------------------------------------------------

#[test]
fn a_second_hello_in_the_same_write_gets_nobody_past_the_rules_of_a_name() {
    for (unknown, name, fault) in [
        (UnknownName::Usual, ADMIN, TlsFault::NoCertificate),
        (UnknownName::Refused, ADMIN, TlsFault::NoCertificate),
        (UnknownName::Refused, NOBODY, TlsFault::UnknownName),
    ] {
        let mut site = Site::new(unknown);
        for between in [vec![], record(CHANGE, &[1]), record(ALERT, &WARNING)] {
            for cut in [10_000, 300] {
                // What asks to begin anew is the same for all: that of a name which is served tells it.
                let (mut tls, first) = opening(client(TLS13, false, &[]), Some(name));
                let (_, honest) = opening(client(TLS13, false, &[]), Some(OTHER));
                let mut probe = dial(&site.address);
                probe.send_all_while(&mut site.world, &record(HANDSHAKE, &honest));
                let header = probe.read_exact_while(&mut site.world, 5);
                let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
                let mut retry = [header, probe.read_exact_while(&mut site.world, length)].concat();
                drop(probe);
                site.world.until_empty();
                // It repeats the client's session id, which is of 32 bytes, behind the header, the head, version and random.
                retry[5 + 4 + 2 + 32 + 1..][..32].copy_from_slice(&first[4 + 2 + 32 + 1..][..32]);
                tls.read_tls(&mut &retry[..]).expect("bytes");
                tls.process_new_packets().expect("it begins anew");
                let mut client = Client { tls, peer: dial(&site.address), fault: None };
                // Without the change of ciphers that is in front of it, and that means nothing.
                let again = record(HANDSHAKE, bodies(&client.records()).last().expect("a second hello"));
                assert!(again.len() > 200, "a second hello");
                let wire = [records(&first, cut), between.clone(), again].concat();
                site.send(&mut client.peer, &wire);
                let mut answer = vec![0; retry.len()];
                let mut came = 0;
                site.world.until("an answer", |_| {
                    match client.peer.try_read(&mut answer[came..]) {
                        Some(Ok(read @ 1..)) => came += read,
                        Some(_) => return true,
                        None => {}
                    }
                    came == retry.len() || came == 7
                });
                if came == retry.len() {
                    assert_eq!(answer, retry, "it is asked to begin anew, as was foreseen");
                }
                let served = site.go_on(client, &[]);
                assert!(served.is_err(), "{name}: {served:?}");
                if between.first() != Some(&ALERT) {
                    assert_eq!(served, Err(fault), "{name}");
                }
            }
        }
    }
}

#[test]
fn a_first_message_with_the_beginning_of_the_next_gets_nobody_past_the_rules_of_a_name() {
    for (unknown, name) in [(UnknownName::Usual, ADMIN), (UnknownName::Refused, NOBODY)] {
        let mut site = Site::new(unknown);
        for cut in [10_000, 100] {
            // A key of 65 bytes comes next: that much can be foreseen.
            for foreseen in [&[16][..], &[16, 0, 0, 66, 65]] {
                let (tls, first) = opening(client(TLS12, false, &[]), Some(name));
                let mut client = Client { tls, peer: dial(&site.address), fault: None };
                let wire = [records(&first, cut), record(HANDSHAKE, foreseen)].concat();
                site.send(&mut client.peer, &wire);
                site.world.turns(4);
                let mut is_told = false;
                site.world.until("the server's answer", |world| {
                    is_told = !client.receive();
                    is_told || client.tls.wants_write() || world.reactor().connections() == 0
                });
                let flight = client.records();
                let rest = if flight.is_empty() || is_told {
                    Vec::new()
                } else {
                    let [high, low] = [flight[3], flight[4]];
                    let end = 5 + usize::from(u16::from_be_bytes([high, low]));
                    let rest = flight[5..end].get(foreseen.len()..).unwrap_or_default();
                    [&record(HANDSHAKE, rest)[..], &flight[end..]].concat()
                };
                let opened = site.opened.borrow().len();
                site.send(&mut client.peer, &rest);
                let _ = client.peer.0.shutdown(Shutdown::Write);
                site.world.turns(4);
                drop(client);
                site.world.until_empty();
                assert_eq!(site.opened.borrow().get(opened), None, "{name}");
            }
        }
    }
}

#[test]
fn a_record_longer_than_records_are_gets_nobody_past_the_rules_of_a_name() {
    for versions in BOTH {
        for (unknown, name, fault) in [
            (UnknownName::Usual, ADMIN, TlsFault::NoCertificate),
            (UnknownName::Refused, NOBODY, TlsFault::UnknownName),
        ] {
            let mut site = Site::new(unknown);
            for bytes in [16_384, 16_385, 17_136, 18_431, 18_432] {
                let (_, message) = opening_of(versions, false, Some(name), bytes);
                let count = cuts(&record(HANDSHAKE, &message)).len();
                for way in 0..count {
                    let (tls, message) = opening_of(versions, false, Some(name), bytes);
                    let wire = record(HANDSHAKE, &message);
                    let served = site.visit(tls, &cuts(&wire)[way]);
                    let fault = if bytes == 18_432 { TlsFault::TooLarge } else { fault };
                    assert_eq!(served, Err(fault), "{name}: {bytes} bytes, way {way}");
                }
            }
        }
    }
}

#[test]
fn the_longest_messages_get_nobody_past_the_rules_of_a_name() {
    for versions in BOTH {
        for (unknown, name, fault) in [
            (UnknownName::Usual, ADMIN, TlsFault::NoCertificate),
            (UnknownName::Refused, NOBODY, TlsFault::UnknownName),
        ] {
            let mut site = Site::new(unknown);
            for bytes in [65_446, 65_461, 65_511, 65_516, 65_531, 65_535, 65_538, 65_539] {
                for cut in [16_384, 18_431, 1_000] {
                    let (tls, message) = opening_of(versions, false, Some(name), bytes);
                    let wire = records(&message, cut);
                    let served = site.visit(tls, &[&wire]);
                    assert_eq!(served, Err(fault), "{name}: {bytes} bytes by {cut}");
                }
            }
        }
    }
}

/// rustls reads records of versions that TLS never had, and those end no message's hope of becoming whole.
#[test]
fn a_record_of_another_protocols_version_gets_nobody_past_the_rules_of_a_name() {
    for version in [[0xfe, 0xff], [0xfe, 0xfd], [2, 0]] {
        for versions in BOTH {
            for (unknown, name) in [(UnknownName::Usual, ADMIN), (UnknownName::Refused, NOBODY)] {
                let mut site = Site::new(unknown);
                let count = cuts(&record(HANDSHAKE, &opening(client(versions, false, &[]), Some(name)).1)).len();
                for way in 0..count {
                    let (tls, message) = opening(client(versions, false, &[]), Some(name));
                    let mut wire = record(HANDSHAKE, &message);
                    wire[1..3].copy_from_slice(&version);
                    let served = site.visit(tls, &cuts(&wire)[way]);
                    assert!(served.is_err(), "{name}: {version:?}, way {way}: {served:?}");
                }
            }
        }
    }
}

// --- wherever a handshake is done ----------------------------------------------------------------------------------------

/// What a name's rules cannot be told from in time: rustls takes it, and nothing may come of it but an alert.
fn unforeseen() -> (ClientConnection, Vec<u8>) {
    let (tls, message) = opening(client(TLS13, false, &[]), Some(ADMIN));
    let mut wire = record(HANDSHAKE, &message);
    wire[1..3].copy_from_slice(&[0xfe, 0xff]);
    (tls, wire)
}

const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];

#[test]
fn what_rustls_reads_as_another_name_is_answered_by_an_alert_alone_on_each_thread() {
    for (elsewhere, offload) in [(0, Offload::Never), (1, Offload::Always)] {
        let handshake_threads = (elsewhere > 0).then(|| HandshakeThreads::new(elsewhere).expect("a thread"));
        let mut world = World::with(ReactorConfig { handshake_threads, ..ReactorConfig::default() });
        let tls = rules(UnknownName::Usual).offload(offload).build().expect("a server");
        let listen = ListenConfig { tls: Some(tls), ..ListenConfig::default() };
        let address = world.listen(Kind::Tls, listen, |_: &Conn<'_>| Echo);
        let (_, wire) = unforeseen();
        let mut peer = dial(&address);
        peer.send_all_while(&mut world, &wire[..5]);
        world.turns(3);
        peer.send_all_while(&mut world, &wire[5..]);
        assert_eq!(peer.read_to_end_while(&mut world).expect("an end"), DECODE_ERROR);
        drop(peer);
        world.until_empty();
        assert_eq!(world.log.heard(), [Heard::Failed(Reason::Tls(TlsFault::Misbehaved))]);
        assert_eq!(world.log.made(), 0);
    }
}

#[test]
fn what_rustls_reads_as_another_name_is_answered_by_an_alert_alone_in_the_middle() {
    let mut world = World::new();
    let tls = rules(UnknownName::Usual).build().expect("a server");
    let secured = Rc::new(RefCell::new(false));
    let is_secured = secured.clone();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), move |_: &Conn<'_>| {
        let (tls, secured) = (tls.clone(), secured.clone());
        Hooks::new()
            .open(move |conn| conn.start_tls_server(&tls).expect("an open plain connection"))
            .secured(move |_| *secured.borrow_mut() = true)
    });
    let (_, wire) = unforeseen();
    let mut peer = dial(&address);
    for piece in [&wire[..5], &wire[5..]] {
        peer.send_all_while(&mut world, piece);
        world.turns(3);
    }
    assert_eq!(peer.read_to_end_while(&mut world).expect("an end"), DECODE_ERROR);
    drop(peer);
    assert_eq!(world.until_empty(), [Reason::Tls(TlsFault::Misbehaved)]);
    assert!(!*is_secured.borrow());
}

#[test]
fn what_rustls_reads_as_another_name_is_answered_by_an_alert_alone_where_a_thread_waits() {
    use std::io::{Read, Write};
    let (address, waits) = waiting(1);
    let mut peer = TcpStream::connect(address).expect("a connection");
    let (_, wire) = unforeseen();
    peer.write_all(&wire).expect("a write");
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).expect("an end");
    assert_eq!(answer, DECODE_ERROR);
    let told = waits.join().expect("no panic").concat();
    assert!(told.contains("its first message") && told.contains(ADMIN), "{told}");
}

/// A thread that shakes hands with so many, one after the other, and what it was told of those that it refused.
fn waiting(count: usize) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let waits = move || {
        let tls = rules(UnknownName::Usual).build().expect("a server");
        let shake = |_| {
            let (accepted, _) = listener.accept().expect("a connection");
            let link = Link::new(accepted, Limits::default()).and_then(|link| link.with_tls_server(&tls));
            link.expect("a link").into_blocking().map_or_else(|error| error.to_string(), |_| String::new())
        };
        (0..count).map(shake).collect()
    };
    (address, std::thread::spawn(waits))
}

// --- what is told of those who are refused -------------------------------------------------------------------------------

#[test]
fn nobody_is_told_of_the_name_that_another_client_asked_for() {
    use std::io::{Read, Write};
    let (address, waits) = waiting(2);
    let mut first = TcpStream::connect(address).expect("a connection");
    let name = ServerName::try_from(OTHER).expect("a name");
    // It is asked to begin anew, and names what it asks for twice.
    let mut tls = ClientConnection::new(client(TLS13, false, &[]), name).expect("a client");
    tls.complete_io(&mut first).expect("a handshake");
    drop(first);
    let mut second = TcpStream::connect(address).expect("a connection");
    let hello = [&[1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
    second.write_all(&record(HANDSHAKE, &hello)).expect("a write");
    second.read_to_end(&mut Vec::new()).expect("an end");
    let told = waits.join().expect("no panic");
    assert!(told[1].contains("TLS 1.1") && !told[1].contains("example.org"), "{told:?}");
}

#[test]
fn what_a_client_offers_is_told_the_same_however_its_message_is_cut() {
    use std::io::{Read, Write};
    let mut told = Vec::new();
    for cut in [10_000, 40, 7] {
        let (address, waits) = waiting(1);
        let mut provider = (*tls::provider()).clone();
        provider.kx_groups.retain(|group| group.name() == NamedGroup::X25519);
        let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_protocol_versions(TLS13);
        let config = config.expect("versions").with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let (_, message) = opening(Arc::new(config), Some(OTHER));
        let mut peer = TcpStream::connect(address).expect("a connection");
        peer.write_all(&records(&message, cut)).expect("a write");
        peer.read_to_end(&mut Vec::new()).expect("an end");
        told.extend(waits.join().expect("no panic"));
    }
    assert!(told.iter().all(|text| text.contains("it offers X25519; here: secp256r1; asked for")), "{told:?}");
}

// --- any message at all --------------------------------------------------------------------------------------------------

/// What a hostile client does with its first message, besides cutting it.
#[derive(Clone, Copy, Debug)]
enum Trick {
    Nothing,
    /// Another message, of this name, in the same records.
    Merged(&'static str),
    /// Behind it.
    Behind(&'static str),
    /// In front of it.
    Before(&'static str),
    WarningBefore,
    WarningWithin,
    ChangeBefore,
    ChangeWithin,
    ChangeBehind,
    /// The version of each record.
    Version(u8, u8),
    /// A byte of the message is another one.
    Flipped(usize, u8),
}

fn trick() -> impl Strategy<Value = Trick> {
    let name = || prop::sample::select(vec![ADMIN, OTHER, NOBODY]);
    prop_oneof![
        6 => Just(Trick::Nothing),
        2 => name().prop_map(Trick::Merged),
        2 => name().prop_map(Trick::Behind),
        1 => name().prop_map(Trick::Before),
        1 => Just(Trick::WarningBefore),
        1 => Just(Trick::WarningWithin),
        1 => Just(Trick::ChangeBefore),
        1 => Just(Trick::ChangeWithin),
        1 => Just(Trick::ChangeBehind),
        1 => (prop::sample::select(vec![2u8, 3, 0xfe]), any::<u8>()).prop_map(|(major, minor)| Trick::Version(major, minor)),
        2 => (any::<usize>(), 1u8..).prop_map(|(at, mask)| Trick::Flipped(at, mask)),
    ]
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(0), 2 => 600usize..16_000, 2 => 16_370usize..16_400, 2 => 18_420usize..18_450, 3 => 65_480usize..=65_539]
}

/// Lengths that share out so many bytes; the last is used again and again.
fn share(bytes: &[u8], lengths: &[usize], least: usize, most: usize) -> Vec<Vec<u8>> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for length in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at((*length).clamp(least, most).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = more;
    }
    pieces
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let length =
        prop_oneof![1usize..10, 10usize..600, 600usize..20_000, Just(16_384), Just(16_385), Just(18_431), Just(70_000)];
    prop::collection::vec(length, 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn each_is_served_by_the_rules_of_its_name_or_not_at_all(
        versions in 0usize..2,
        is_member in any::<bool>(),
        name in prop::sample::select(vec![Some(ADMIN), Some(OTHER), Some(NOBODY), None]),
        unknown in prop::sample::select(vec![UnknownName::Usual, UnknownName::Refused]),
        bytes in size(),
        trick in trick(),
        record_lengths in lengths(),
        write_lengths in lengths(),
    ) {
        let versions = BOTH[versions];
        let (tls, mut message) = opening_of(versions, is_member, name, bytes);
        let other = |name| opening(client(versions, is_member, &[]), Some(name)).1;
        match trick {
            Trick::Merged(name) => message.extend(other(name)),
            Trick::Flipped(at, mask) => {
                // Near the beginning, where what counts is.
                let at = at % message.len().min(700);
                message[at] ^= mask;
            }
            _ => {}
        }
        // Too many headers for so long a message are too much.
        let least = if message.len() > 10_000 { 100 } else { 1 };
        let pieces = share(&message, &record_lengths, least, 18_431);
        let mut records: Vec<_> = pieces.iter().map(|piece| record(HANDSHAKE, piece)).collect();
        let middle = records.len() / 2;
        match trick {
            Trick::Behind(name) => records.push(record(HANDSHAKE, &other(name))),
            Trick::Before(name) => records.insert(0, record(HANDSHAKE, &other(name))),
            Trick::WarningBefore => records.insert(0, record(ALERT, &WARNING)),
            Trick::WarningWithin => records.insert(middle, record(ALERT, &WARNING)),
            Trick::ChangeBefore => records.insert(0, record(CHANGE, &[1])),
            Trick::ChangeWithin => records.insert(middle, record(CHANGE, &[1])),
            Trick::ChangeBehind => records.push(record(CHANGE, &[1])),
            Trick::Version(major, minor) => records.iter_mut().for_each(|record| record[1..3].copy_from_slice(&[major, minor])),
            Trick::Nothing | Trick::Merged(_) | Trick::Flipped(..) => {}
        }
        let wire = records.concat();
        let pieces = share(&wire, &write_lengths, wire.len() / 20 + 1, 70_000);
        let mut site = Site::new(unknown);
        let served = site.visit(tls, &pieces.iter().map(Vec::as_slice).collect::<Vec<_>>());
        if let Ok(opened) = &served {
            check(opened, unknown);
        }
        let is_honest = matches!(trick, Trick::Nothing | Trick::WarningBefore | Trick::Version(3, _));
        if is_honest {
            match (name, is_member, unknown) {
                (Some(ADMIN), false, _) => prop_assert_eq!(served, Err(TlsFault::NoCertificate)),
                (Some(NOBODY), _, UnknownName::Refused) => prop_assert_eq!(served, Err(TlsFault::UnknownName)),
                _ => prop_assert_eq!(served.map(|opened| opened.0), Ok(name.map(str::to_owned))),
            }
        }
    }
}
