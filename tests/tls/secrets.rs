//! Key material, and certificates that were given inline, get into no text: whatever way of breaking a PEM people and their
//! tools have, whichever place it is put into.
//!
//! `CANARY_CASES` is the number of inputs; `.ci/run long` has 100,000.

use crate::canary::{listen_to_the_log, log_told};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rcgen::{CertificateParams, CertificateRevocationListParams, CertifiedIssuer, KeyPair};
use std::collections::HashSet;
use std::error::Error;
use std::fmt::{Debug, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use windlass::tls::{ClientAuth, KeyLog, Pem};
use windlass::{ClientTls, ServerTls};

const CASES: u32 = 1_200;

/// As many characters in a row of a secret may nowhere be shown.
const SHOWN_CHARS_MAX: usize = 7;

/// Whole ones: keys of several kinds, certificates, chains, lists.
struct Material {
    chain: String,
    key: String,
    all: Vec<String>,
}

fn material() -> &'static Material {
    static MADE: OnceLock<Material> = OnceLock::new();
    MADE.get_or_init(|| {
        // Names are shown where they help, and those of other tests are in the log: these are too short to be found.
        let called = |name: &str| {
            let mut called = rcgen::DistinguishedName::new();
            called.push(rcgen::DnType::CommonName, name);
            called
        };
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.distinguished_name = called("issuer");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an issuer");
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["only-inline".to_owned()]).expect("a name");
        params.distinguished_name = called("leaf");
        let own = params.signed_by(&key, &issuer).expect("a certificate");
        let chain = own.pem() + &issuer.pem();
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: 1u64.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&issuer).expect("a list").pem().expect("PEM");
        let kinds = [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256];
        let keys = kinds.map(|kind| KeyPair::generate_for(kind).expect("a key").serialize_pem());
        let key = key.serialize_pem();
        let mut all = vec![key.clone(), own.pem(), chain.clone(), list, issuer.pem() + &key];
        all.extend(keys);
        Material { chain, key, all }
    })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn decoded(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

/// The lines between the marks, joined.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).collect()
}

/// The same item in every form in which somebody could read it.
fn forms(pem: &str) -> Vec<String> {
    let body = body(pem);
    let items: Vec<String> = pem.split("-----END").map(self::body).filter(|body| body.len() > 20).collect();
    let der: Vec<u8> = items.iter().flat_map(|item| decoded(item)).collect();
    let (hex, pairs) = (hex(&der), in_pairs(&der));
    let cased = [body.to_lowercase(), body.to_uppercase(), pairs];
    let listed: String = der.iter().map(|byte| format!("{byte},")).collect();
    let again = [0, 1, 2].map(|from| base64(&pem.as_bytes()[from..]));
    let again = [&again[..], &cased].concat();
    [vec![body.clone(), hex.to_uppercase(), hex, listed, String::from_utf8_lossy(&der).into_owned()], again].concat()
}

fn windows(text: &str) -> impl Iterator<Item = String> {
    let plain: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let count = (plain.len() + 1).saturating_sub(SHOWN_CHARS_MAX + 1);
    (0..count).map(move |from| plain[from..=from + SHOWN_CHARS_MAX].iter().collect())
}

fn secrets() -> &'static HashSet<String> {
    static ALL: OnceLock<HashSet<String>> = OnceLock::new();
    ALL.get_or_init(|| {
        let all = material().all.iter().flat_map(|pem| forms(pem));
        // Marks are in the Base64 of a whole file too, and are no secret; what is not ASCII is no text of a key.
        let marks = ["-----BEGIN PRIVATE KEY-----\n", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN X509 CRL-----\n"];
        let known: HashSet<String> =
            marks.iter().flat_map(|mark| windows(&base64(mark.as_bytes())).collect::<Vec<_>>()).collect();
        all.flat_map(|form| windows(&form).collect::<Vec<_>>()).filter(|window| !known.contains(window)).collect()
    })
}

/// Finds a part of a secret.
fn shown(text: &str) -> Option<String> {
    windows(text).find(|window| secrets().contains(window))
}

type Breaking = fn(&str) -> Vec<u8>;

/// What becomes of PEM on its way.
const BREAKINGS: [(&str, Breaking); 41] = [
    ("whole", |pem| pem.into()),
    ("without newlines", |pem| pem.replace('\n', "").into()),
    ("with the characters \\n", |pem| pem.trim().replace('\n', "\\n").into()),
    ("with the characters \\r\\n", |pem| pem.trim().replace('\n', "\\r\\n").into()),
    ("with spaces", |pem| pem.trim().replace('\n', " ").into()),
    ("with tabs", |pem| pem.trim().replace('\n', "\t").into()),
    ("with CR", |pem| pem.replace('\n', "\r").into()),
    ("with CRLF", |pem| pem.replace('\n', "\r\n").into()),
    ("with line separators", |pem| pem.replace('\n', "\u{2028}").into()),
    ("Base64 again", |pem| base64(pem.as_bytes()).into()),
    ("twice Base64", |pem| base64(base64(pem.as_bytes()).as_bytes()).into()),
    ("its bare body", |pem| body(pem).into()),
    ("its body in lines", |pem| {
        pem.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\n").into()
    }),
    ("its last line", last_line),
    ("the first half of its body", |pem| body(pem)[..body(pem).len() / 2].into()),
    ("the second half of its body", |pem| body(pem)[body(pem).len() / 2..].into()),
    ("cut in the middle", |pem| pem[..pem.len() / 2].into()),
    ("without its first line", |pem| pem.split_once('\n').expect("lines").1.into()),
    ("without its last line", |pem| pem.trim().rsplit_once('\n').expect("lines").0.into()),
    ("with marks of a kind that is none", |pem| {
        pem.replace("PRIVATE KEY", "PRIVATE KEI").replace("CERT", "CRET").into()
    }),
    ("with marks of another kind", |pem| {
        pem.replace("PRIVATE KEY", "CERTIFICATE").replace("X509 CRL", "PRIVATE KEY").into()
    }),
    ("with marks of an older key", |pem| pem.replace("PRIVATE KEY", "EC PRIVATE KEY").into()),
    ("with marks behind a password", |pem| pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY").into()),
    ("with four dashes", |pem| pem.replace("-----", "----").into()),
    ("with one dash less behind", |pem| pem.replace("-----\n", "----\n").into()),
    ("with its mark run into its body", |pem| pem.replacen("-----\n", "", 1).into()),
    ("with a byte order mark", |pem| format!("\u{feff}{pem}").into()),
    ("in UTF-16", |pem| pem.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ("in UTF-16 with its mark", |pem| format!("\u{feff}{pem}").encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ("indented", |pem| pem.lines().map(|line| format!("    {line}\n")).collect::<String>().into()),
    ("quoted", |pem| format!("\"{}\"", pem.trim()).into()),
    ("behind a name", |pem| format!("KEY={}", pem.trim()).into()),
    ("with something behind it", |pem| format!("{}# my own {}", pem.trim(), body(pem)).into()),
    ("in DER", |pem| decoded(&body(pem))),
    ("in hexadecimal digits", |pem| hex(&decoded(&body(pem))).into()),
    ("its half in hexadecimal digits", |pem| hex(half(&decoded(&body(pem)))).into()),
    ("as openssl prints it", |pem| in_pairs(&decoded(&body(pem))).into()),
    ("as openssl prints it, in lines", |pem| {
        let lines = in_pairs(&decoded(&body(pem)));
        lines.as_bytes().chunks(45).flat_map(|line| [b"    ", line, b"\n"].concat()).collect()
    }),
    ("a part as openssl prints it", |pem| in_pairs(half(&decoded(&body(pem)))).into()),
    ("in small letters", |pem| body(pem).to_lowercase().into()),
    ("in capitals", |pem| body(pem).to_uppercase().into()),
];

fn half(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.len() / 2..]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn in_pairs(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Of those that are long enough to tell something.
fn last_line(pem: &str) -> Vec<u8> {
    let lines = pem.lines().rev().filter(|line| !line.starts_with('-') && line.len() >= 24);
    lines.take(1).collect::<String>().into()
}

/// How the result is given.
const WAYS: usize = 4;

fn given(bytes: &[u8], way: usize, folder: &std::path::Path) -> Pem {
    use std::os::unix::ffi::OsStringExt;
    match way {
        0 => Pem::bytes(bytes),
        1 => {
            let path = folder.join("given.pem");
            std::fs::write(&path, bytes).expect("a file");
            Pem::file(path)
        }
        // In place of a file's name; and as one in a folder that there is.
        2 => Pem::file(PathBuf::from(std::ffi::OsString::from_vec(bytes.into()))),
        _ => Pem::file(
            [folder.as_os_str().as_encoded_bytes(), b"/", bytes]
                .concat()
                .pipe(|path| PathBuf::from(std::ffi::OsString::from_vec(path))),
        ),
    }
}

trait Pipe: Sized {
    fn pipe<T>(self, to: impl FnOnce(Self) -> T) -> T {
        to(self)
    }
}

impl Pipe for Vec<u8> {}

const PLACES: usize = 11;

/// All that can be read of one attempt.
fn told(place: usize, pem: Pem) -> String {
    let Material { chain, key, .. } = material();
    let (chain, key) = (Pem::bytes(chain.as_str()), Pem::bytes(key.as_str()));
    let server = || ServerTls::builder().certificate(chain.clone(), key.clone());
    let asking = || server().client_auth(ClientAuth::Required);
    let client = || ClientTls::builder().roots(chain.clone());
    let mut text = format!("{pem:?}{pem:#?}");
    let mut note = |builder: &dyn Debug, error: Option<windlass::Error>| {
        write!(text, "{builder:?}{builder:#?}").expect("a string");
        let mut next: Option<&dyn Error> = error.as_ref().map(|error| error as &dyn Error);
        while let Some(error) = next {
            write!(text, "{error}{error:?}{error:#?}").expect("a string");
            next = error.source();
        }
    };
    if place < 8 {
        let builder = match place {
            0 => ServerTls::builder().certificate(pem, key.clone()),
            1 => ServerTls::builder().certificate(chain.clone(), pem),
            2 => asking().client_roots(pem),
            3 => asking().client_roots(chain.clone()).revoked(pem),
            4 => server().name("a.example", ServerTls::builder().certificate(pem, key.clone())),
            5 => server().name("a.example", ServerTls::builder().certificate(chain.clone(), pem)),
            6 => server().name("a.example", asking().client_roots(pem)),
            _ => ServerTls::builder().certificate(pem.clone(), pem),
        };
        static KEPT: OnceLock<ServerTls> = OnceLock::new();
        let built = builder.build();
        note(&built.as_ref().map(drop), None);
        note(&builder, built.err());
        note(&"reloaded", KEPT.get_or_init(|| server().build().expect("a server")).reload(&builder).err());
    } else {
        let builder = match place {
            8 => ClientTls::builder().roots(pem),
            9 => client().certificate(pem, key.clone()),
            _ => client().certificate(chain.clone(), pem),
        };
        let built = builder.build();
        note(&builder, built.err());
    }
    text
}

#[test]
fn no_text_shows_a_part_of_a_key_or_of_what_was_given_inline() {
    listen_to_the_log();
    let cases = std::env::var("CANARY_CASES").map_or(CASES, |count| count.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let inputs = (0..material().all.len(), 0..BREAKINGS.len(), 0..BREAKINGS.len() * 3, 0..WAYS, 0..PLACES);
    let run = runner.run(&inputs, |(which, first, second, way, place)| {
        let pem = &material().all[which];
        let mut bytes = BREAKINGS[first].1(pem);
        let mut how = BREAKINGS[first].0.to_owned();
        // One in three is broken twice.
        if let (Some((name, breaking)), Ok(text)) = (BREAKINGS.get(second), String::from_utf8(bytes.clone())) {
            if text.contains('\n') && text.starts_with('-') {
                bytes = breaking(&text);
                write!(how, ", {name}").expect("a string");
            }
        }
        let text = told(place, given(&bytes, way, folder.path()));
        let found = shown(&text);
        prop_assert!(found.is_none(), "item {which} {how}, way {way}, place {place}: {found:?} is in {text}");
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    let found = shown(&log_told());
    assert!(found.is_none(), "{found:?} is in the log");
}

/// What stands around a piece of a key.
const AROUND: [(&str, &str); 8] = [
    ("", ""),
    ("/", ""),
    ("/etc/", ""),
    ("", ".pem"),
    ("", ".key"),
    ("/", ".pem"),
    ("/etc/ssl/", ".key"),
    ("./", "/x"),
];

/// Twelve to forty characters have no marks, and nothing that a reader of PEM would know them by.
#[test]
fn no_text_shows_a_piece_of_a_key_that_is_given_for_a_path_a_name_or_another_value() {
    listen_to_the_log();
    let cases = std::env::var("CANARY_CASES").map_or(CASES, |count| count.parse().expect("a number"));
    // A simpler piece would be no key any more.
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, max_shrink_iters: 0, ..Config::default() });
    let inputs = (proptest::collection::vec(any::<u8>(), 30), 12..=40usize, 0..AROUND.len(), 0..PLACES + 7);
    let run = runner.run(&inputs, |(bytes, length, around, place)| {
        let piece = &base64(&bytes)[..length];
        let given = format!("{}{piece}{}", AROUND[around].0, AROUND[around].1);
        let text = match place.checked_sub(PLACES) {
            None => told(place, Pem::file(&given)),
            Some(place) => told_of_value(place, given),
        };
        let found = windows(piece).find(|window| text.contains(window));
        prop_assert!(found.is_none(), "{piece} around {around}, place {place}: {found:?} is in {text}");
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

/// The error about a value that is no path. What can be used is used: it is a name then, and no error.
fn told_of_value(place: usize, value: String) -> String {
    let Material { chain, key, .. } = material();
    let server = || ServerTls::builder().certificate(Pem::bytes(chain.as_str()), Pem::bytes(key.as_str()));
    let client = || ClientTls::builder().roots(Pem::bytes(chain.as_str()));
    let log = || format!("/no/such/folder/{value}").into();
    let error = match place {
        0 => server().suites([value]).build().err(),
        1 => server().groups([value]).build().err(),
        2 => client().suites([value]).build().err(),
        3 => server().name(format!("{value} "), server()).build().err(),
        4 => client().server_name(format!("{value} ")).build().err(),
        5 => server().key_log(KeyLog::File(log())).build().err(),
        _ => client().build().expect("a client").for_server(&format!("{value} ")).err(),
    };
    let error = error.expect("it is none");
    format!("{error}{error:?}")
}

#[test]
fn a_file_is_still_called_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("www.example.org.key");
    for path in [missing.clone(), PathBuf::from("certs/server.pem"), PathBuf::from("/no/such/Folder2/fullchain.pem")] {
        let builder = ClientTls::builder().roots(Pem::file(&path));
        let told = builder.build().expect_err("no file").to_string();
        let name = path.display().to_string();
        assert!(told.contains(&name) && told.contains("No such file"), "{told}");
        assert!(format!("{builder:?}").contains(&name), "{builder:?}");
    }
    // A name that may be a key, in a folder that there is: of it the extension is told, and what the system says.
    let digest = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    let builder = ClientTls::builder().roots(Pem::file(folder.path().join(format!("{digest}.pem"))));
    let told = builder.build().expect_err("no file").to_string();
    let part = format!("cannot use root certificate {}/….pem: No such file", folder.path().display());
    assert!(told.starts_with(&part) && !told.contains(&digest[..8]), "{told}");
    // A name like a key's, of a file that there is, or in a folder that there is.
    let like = folder.path().join("MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp");
    std::fs::write(&like, "nothing").expect("a file");
    let told = ClientTls::builder().roots(Pem::file(&like)).build().expect_err("no root").to_string();
    assert!(told.contains(&like.display().to_string()), "{told}");
}
