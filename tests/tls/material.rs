//! What people give in place of a certificate, a key or a list, and what they are told: what it is, where, and how to mend
//! it. Each row is a file, the place that it is given in, and the whole text.
//!
//! What rcgen cannot make is made by `openssl`, where it is installed.

use crate::canary::{listen_to_the_log, was_logged};
use crate::support::skip;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, ExtendedKeyUsagePurpose,
    IsCa, KeyPair,
};
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use windlass::tls::{ClientAuth, ListPolicy, Pem};
use windlass::{ClientTls, ServerTls};

/// Where a file is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A server's chain, with the key of the good one.
    Chain,
    /// A server's key, with the good chain.
    Key,
    /// A server's chain and key, both in the file.
    Both,
    /// The same of a client.
    OwnBoth,
    /// A client's key, with the good chain.
    OwnKey,
    /// A server's issuers of client certificates.
    Issuers,
    Lists,
    /// A client's roots.
    Roots,
}

/// The fields: the file, where it is given, and what is said of it; `{}` is its path.
type Row = (&'static str, Place, &'static str);

use Place::{Both, Chain, Issuers, Key, Lists, OwnBoth, OwnKey, Roots};

include!("material/rows.rs");

/// A good chain and key, and files by name.
struct Made {
    folder: tempfile::TempDir,
    chain: String,
    key: String,
    texts: HashMap<&'static str, Vec<u8>>,
}

/// An item's Base64 in one line, so that lines have numbers that can be written down.
fn short(pem: &str) -> String {
    let mut text = String::new();
    for line in pem.lines() {
        if line.starts_with("-----END") {
            text.push('\n');
        }
        text.push_str(line);
        if line.starts_with('-') {
            text.push('\n');
        }
    }
    text
}

fn params(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    change(&mut params);
    params
}

/// A certificate of its own issuer, and its key.
fn own(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let made = params(change).self_signed(&key).expect("a certificate");
    (short(&made.pem()), short(&key.serialize_pem()))
}

fn authority(name: &str, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    change(&mut params);
    params
}

fn body(pem: &str) -> &str {
    pem.lines().nth(1).expect("Base64")
}

fn der(pem: &str) -> Vec<u8> {
    use windlass::rustls::pki_types::pem::{PemObject, SectionKind};
    <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).expect("an item").1
}

fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(make)
}

fn make() -> Made {
    let new_key = || KeyPair::generate().expect("a key");
    let root = CertifiedIssuer::self_signed(authority("root", |_| {}), new_key()).expect("an issuer");
    let under = |change: fn(&mut CertificateParams)| {
        CertifiedIssuer::signed_by(authority("under", change), new_key(), &root).expect("an issuer")
    };
    let (middle, old_middle) = (under(|_| {}), under(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)));
    let (chain, key) = own(|_| {});
    let leaf_key = new_key();
    let leaf = short(&params(|_| {}).signed_by(&leaf_key, &middle).expect("a certificate").pem());
    let leaf_key = short(&leaf_key.serialize_pem());
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2024, 1, 1),
        next_update: rcgen::date_time_ymd(2100, 1, 1),
        crl_number: 1u64.into(),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = short(&list.signed_by(&root).expect("a list").pem().expect("PEM"));
    let request = params(|_| {}).serialize_request(&new_key()).expect("a request").pem().expect("PEM");
    // As the end of a chain was that a root of 2000 had signed across.
    let old_root = authority("root", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let older = CertifiedIssuer::self_signed(authority("older", |_| {}), new_key()).expect("an issuer");
    let old_root = short(&old_root.signed_by(&new_key(), &older).expect("a certificate").pem());
    let (root, middle, old_middle) = (short(&root.pem()), short(&middle.pem()), short(&old_middle.pem()));
    let both = |(chain, key): (String, String)| chain + &key;
    let spoilt = |pem: &str| pem.replace(body(pem), "MAAA");
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key").serialize_pem();
    let other = || own(|_| {});
    let mut texts: HashMap<&'static str, Vec<u8>> = HashMap::new();
    let mut put = |name, text: String| drop(texts.insert(name, text.into_bytes()));
    put("empty", String::new());
    put("blank", "\n \n".to_owned());
    put("page", "<!DOCTYPE html>\n<html><body>Log in first</body></html>\n".to_owned());
    put("prose", "this is where the certificate goes\n".to_owned());
    put("key", key.clone());
    put("certificate", chain.clone());
    put("list", list.clone());
    put("request", request);
    put("key with spaces", key.trim().replace('\n', " "));
    put("key with \\n", key.trim().replace('\n', "\\n"));
    put("key in one line", key.replace('\n', ""));
    put("chain with spaces", chain.trim().replace('\n', " "));
    put("four dashes", key.replacen("-----BEGIN", "----BEGIN", 1));
    put("long dashes", chain.replace("-----", "\u{2014}"));
    put("small marks", chain.replace("BEGIN CERTIFICATE", "begin certificate"));
    put("misspelt", chain.replace("CERTIFICATE", "CERTIFCATE"));
    put("no END", chain.replace("-----END CERTIFICATE-----\n", ""));
    put("no END in the middle", chain.replace("-----END CERTIFICATE-----\n", "") + &root);
    put("another END", chain.replace("-----END CERTIFICATE-----", "-----END X509 CRL-----"));
    put("no BEGIN", chain.replace("-----BEGIN CERTIFICATE-----\n", ""));
    put("behind a name", format!("KEY={key}"));
    put("mailed", chain.lines().map(|line| format!("> {line}\n")).collect());
    put("a stray character", key.replace("\nM", "\nM*"));
    put("a character short", format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", "MAAAM"));
    put("nothing inside", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".to_owned());
    put("bare certificate", body(&chain).to_owned());
    put("bare key", body(&key).to_owned());
    put("half of a key", body(&ed)[24..].to_owned());
    put("two keys", key.clone() + &ed);
    put("certificate in a key's marks", short(&chain.replace("CERTIFICATE", "PRIVATE KEY")));
    put("key in a certificate's marks", short(&key.replace("PRIVATE KEY", "CERTIFICATE")));
    put("certificate in a list's marks", chain.replace("CERTIFICATE", "X509 CRL"));
    put("spoilt certificate", spoilt(&chain));
    put("spoilt key", spoilt(&key));
    put("spoilt list", spoilt(&list));
    put("one bad root of six", [&root, &middle, &chain, &root, &middle, &spoilt(&root)].map(String::as_str).concat());
    put("X509 CERTIFICATE", chain.replace("CERTIFICATE", "X509 CERTIFICATE"));
    put("PGP", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc\n-----END PGP PRIVATE KEY BLOCK-----\n".to_owned());
    put("key of SSH", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA me@here\n".to_owned());
    put("PuTTY", "PuTTY-User-Key-File-3: ssh-ed25519\n".to_owned());
    put("JWK", "{\"kty\":\"EC\",\"crv\":\"P-256\"}".to_owned());
    put("printed", "Certificate:\n    Data:\n        Version: 3 (0x2)\n".to_owned());
    put("another key", both((chain.clone(), other().1)));
    put("expired", both(own(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))));
    // With a serial number that only webpki reads.
    put("expired, with a long number", {
        let change = |params: &mut CertificateParams| {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            params.serial_number = Some(vec![7; 30].into());
        };
        both(own(change))
    });
    let any = ExtendedKeyUsagePurpose::Any;
    put("for any use", both(own(|params| params.extended_key_usages = vec![any])));
    put("not valid yet", both(own(|params| params.not_before = rcgen::date_time_ymd(2100, 1, 1))));
    put("authority", both(own(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))));
    put("no names", both(own(|params| params.subject_alt_names.clear())));
    let only = |purpose| both(own(|params| params.extended_key_usages = vec![purpose]));
    put("for clients", only(ExtendedKeyUsagePurpose::ClientAuth));
    put("for servers", only(ExtendedKeyUsagePurpose::ServerAuth));
    let joined = |all: &[&String]| all.iter().map(|text| text.as_str()).collect::<String>();
    put("expired in the middle", joined(&[&leaf, &old_middle, &root, &leaf_key]));
    put("own behind its issuer", joined(&[&middle, &leaf, &leaf_key]));
    put("root before its like", joined(&[&leaf, &root, &middle, &leaf_key]));
    put("a stranger", joined(&[&leaf, &chain, &middle, &leaf_key]));
    put("the first twice", joined(&[&leaf, &leaf, &middle, &leaf_key]));
    put("an issuer twice", joined(&[&leaf, &middle, &root, &middle, &leaf_key]));
    put("expired at the end", joined(&[&leaf, &middle, &old_root, &leaf_key]));
    put("two strangers", joined(&[&leaf, &middle, &root, &chain, &old_root, &leaf_key]));
    let many: String = (0..101).map(|_| own(|_| {}).0).collect();
    put("a long chain", leaf.clone() + &middle + &many + &leaf_key);
    // Of the same length each time: its signature and its serial number are.
    let fixed = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let mut wide = CertificateParams::new((1000..4000).map(|n| format!("host{n}.example.org")).collect::<Vec<_>>())
        .expect("names");
    wide.serial_number = Some(7u64.into());
    let large = short(&wide.self_signed(&fixed).expect("a certificate").pem());
    put("a large certificate", large + &short(&fixed.serialize_pem()));
    wide.subject_alt_names.truncate(1000);
    let large: String = (7..11)
        .map(|number: u64| {
            wide.serial_number = Some(number.into());
            short(&wide.self_signed(&fixed).expect("a certificate").pem())
        })
        .collect();
    put("a heavy chain", large + &short(&fixed.serialize_pem()));
    let mut put = |name, bytes: Vec<u8>| drop(texts.insert(name, bytes));
    put("UTF-16", chain.encode_utf16().flat_map(u16::to_le_bytes).collect());
    put("DER", der(&chain));
    put("DER of a key", der(&key));
    put("DER of a list", der(&list));
    put("Java keystore", vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]);
    put("gzip", vec![0x1f, 0x8b, 8, 0]);
    put("ZIP", b"PK\x03\x04".to_vec());
    put("binary", vec![0x30, 0x03, 0x02, 0x01, 0x07]);
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in &texts {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    }
    std::fs::create_dir(folder.path().join("a folder")).expect("a folder");
    let large = std::fs::File::create(folder.path().join("large")).expect("a file");
    large.set_len((64 << 20) + 1).expect("a length");
    Made { folder, chain, key, texts }
}

/// Files that rcgen cannot make; each line makes one.
const OPENSSL: &str = r#"
set -e
openssl() { command openssl "$@" 2>> log; }
fold -w 64 certificate > folded
openssl pkey -in key -out 'encrypted key' -aes256 -passout pass:x
openssl pkcs8 -topk8 -in key -outform DER -out 'DER of an encrypted key' -v2 aes256 -passout pass:x
openssl ec -in key -aes256 -passout pass:x -out 'old encrypted key'
openssl ec -in key -outform DER -out 'DER of SEC 1'
openssl pkey -in key -pubout -out 'public key'
openssl ecparam -name prime256v1 -out 'parameters'
openssl ecparam -name secp256k1 -genkey -noout -out secp256k1
openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out 'written out'
openssl genpkey -algorithm ED448 -out Ed448
openssl genpkey -algorithm X25519 -out X25519
openssl genrsa -out short.pem 1024
openssl pkcs8 -topk8 -nocrypt -in short.pem -out 'RSA-1024'
openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out RSA-PSS
openssl dsaparam -noout -genkey -out DSA 1024
openssl pkcs12 -export -in folded -inkey key -passout pass:x -out 'PKCS 12'
openssl crl2pkcs7 -nocrl -certfile folded -out 'PKCS 7'
openssl crl2pkcs7 -nocrl -certfile folded -outform DER -out 'DER of PKCS 7'
openssl x509 -in folded -trustout -out trusted
openssl req -new -key key -subj /CN=localhost -out request.pem
openssl x509 -req -in request.pem -signkey key -days 30 -out v1.pem
cat v1.pem key > 'version 1'
openssl x509 -in folded -text -noout -out 'printed by openssl'
base64 < key > 'Base64 of PEM'
if command -v ssh-keygen >> log; then ssh-keygen -q -t ecdsa -N '' -f OpenSSH; fi
"#;

/// Whether `openssl` has made its files.
fn has_openssl(folder: &Path) -> bool {
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(|| {
        let run = Command::new("sh").args(["-c", OPENSSL]).current_dir(folder).output().expect("a shell");
        run.status.success() || {
            skip("openssl is not installed, or makes not all kinds of keys");
            false
        }
    })
}

fn told(place: Place, path: &Path) -> String {
    let Made { chain, key, .. } = made();
    let (chain, key) = (Pem::bytes(chain.as_str()), Pem::bytes(key.as_str()));
    let server = || ServerTls::builder().certificate(chain.clone(), key.clone());
    let asking = || server().client_auth(ClientAuth::Required);
    let client = || ClientTls::builder().roots(chain.clone());
    let server = match place {
        Chain => Ok(ServerTls::builder().certificate(path, key)),
        Key => Ok(ServerTls::builder().certificate(chain, path)),
        Both => Ok(ServerTls::builder().certificate(path, path)),
        Issuers => Ok(asking().client_roots(path)),
        Lists => Ok(asking().client_roots(chain.clone()).revoked(path).foreign_lists(ListPolicy::Warn)),
        OwnBoth => Err(client().certificate(path, path)),
        OwnKey => Err(client().certificate(chain.clone(), path)),
        Roots => Err(ClientTls::builder().roots(path)),
    };
    let built = match server {
        Ok(server) => server.build().map(drop),
        Err(client) => client.build().map(drop),
    };
    built.map_or_else(|error| error.to_string(), |()| "taken".to_owned())
}

#[test]
fn each_fault_is_called_by_its_name_with_its_place_and_what_mends_it() {
    let made = made();
    let folder = made.folder.path();
    let mut wrong = Vec::new();
    for (name, place, text) in ROWS {
        let path = folder.join(name);
        let is_made = made.texts.contains_key(name) || ["a folder", "missing", "large"].contains(name);
        if !is_made && !has_openssl(folder) {
            continue;
        }
        if *name == "OpenSSH" && !path.exists() {
            skip("ssh-keygen is not installed");
            continue;
        }
        let told = told(*place, &path);
        // In the text as it is, in a command as a shell wants it.
        let plain = path.display().to_string();
        let told = told.replace(&format!("'{plain}'"), "{}").replace(&plain, "{}");
        if told != *text {
            wrong.push(format!("    ({name:?}, {place:?}, {told:?}),"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows are told otherwise:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}

#[test]
fn what_only_some_peers_mind_is_taken_and_warned_of_with_what_mends_it() {
    listen_to_the_log();
    let expired = "it expired at 2020-01-01T00:00:00Z; renew it, or correct this machine's clock; peers that do not know \
                   another way to a root refuse the chain";
    let unneeded = "it has issued none of the chain, and peers have no use for it; remove it";
    let copy = |number| format!("it is the same as item {number} (line {}), and not sent; remove it", number * 3 - 2);
    let unnamed = "it has no subjectAltName: rustls, Go and browsers look for its names nowhere else (RFC 9525) and refuse \
                   it; reissue it with `-addext subjectAltName=DNS:host.example.org`";
    for (name, place, item, why) in [
        ("no names", Both, 1, unnamed.to_owned()),
        ("expired in the middle", Both, 2, expired.to_owned()),
        ("expired at the end", Both, 3, expired.to_owned()),
        ("expired at the end", OwnBoth, 3, expired.to_owned()),
        ("a stranger", Both, 2, unneeded.to_owned()),
        ("two strangers", Both, 4, unneeded.to_owned()),
        ("the first twice", Both, 2, copy(1)),
        ("an issuer twice", OwnBoth, 4, copy(2)),
    ] {
        let path = made().folder.path().join(name);
        assert_eq!(told(place, &path), "taken", "{name}");
        let (path, line) = (path.display(), item * 3 - 2);
        let warning = format!("tls: certificate {path} is used, but of its item {item} (line {line}): {why}");
        assert!(was_logged(&warning), "{name}: {warning}");
    }
}

#[test]
fn a_file_that_may_not_be_read_is_told_with_what_would_let_it() {
    use std::os::unix::fs::PermissionsExt;
    let path = made().folder.path().join("unreadable");
    std::fs::write(&path, &made().chain).expect("a file");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).expect("a mode");
    if std::fs::read(&path).is_ok() {
        return skip("root may read every file");
    }
    let why =
        "Permission denied (os error 13); let the user that this program runs as read it, and enter its directories";
    assert_eq!(told(Chain, &path), format!("cannot use certificate {}: {why}", path.display()));
}

#[test]
fn a_key_in_place_of_a_files_name_is_told_from_a_name() {
    let key = &made().key;
    let lost =
        "its newlines are missing: they became spaces; quote \"$PEM\" in a shell, and use `|` instead of `>` in YAML";
    let bare = "its BEGIN and END lines are missing: it is the Base64 of a private key (PKCS #8); put -----BEGIN PRIVATE \
                KEY----- before it and -----END PRIVATE KEY----- behind it, each on its own line";
    for (given, why) in [
        (key.trim().replace('\n', " "), lost),
        (body(key).to_owned(), bare),
        (format!("\"{}\"", body(key)), bare),
        (key.clone(), "it is PEM, not the name of a file"),
    ] {
        let told = told(Key, Path::new(&given));
        let what = format!("private key from a text of {} bytes that is not shown, as it may be a key", given.len());
        let mend = "name a file, or give the PEM itself with all of its lines";
        let error = std::fs::File::open(&given).expect_err("no file");
        assert_eq!(told, format!("cannot use {what}: {error}; as a text: {why}; {mend}"));
    }
}

/// Roots of the machine that are no PEM, as a child process finds them: the library that reads them has the line in its text.
#[cfg(feature = "platform-roots")]
#[test]
fn platform_roots_that_are_broken_are_not_shown() {
    const ASKED: &str = "WINDLASS_PLATFORM_ROOTS";
    if std::env::var_os(ASKED).is_some() {
        println!(
            "told: {}",
            ClientTls::builder().build().map_or_else(|error| error.to_string(), |_| "taken".to_owned())
        );
        return;
    }
    let made = made();
    let path = made.folder.path().join("roots");
    for text in [made.key.trim().replace('\n', " "), made.chain.replace("-----\n", " ")] {
        std::fs::write(&path, &text).expect("a file");
        let run = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "material::platform_roots_that_are_broken_are_not_shown", "--nocapture"])
            .env(ASKED, "1")
            .env("SSL_CERT_FILE", &path)
            .env_remove("SSL_CERT_DIR")
            .output()
            .expect("a child");
        let told = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(
            told.contains("told: cannot use the platform's roots: a file of them cannot be read; SSL_CERT_FILE"),
            "{told}"
        );
        let body = &text[60..];
        let parts = (0..body.len() - 8).filter(|at| told.contains(&body[*at..at + 8]));
        assert_eq!(parts.count(), 0, "{told}");
    }
}

#[test]
fn the_commands_that_are_told_mend_the_file() {
    let folder = made().folder.path();
    if !has_openssl(folder) {
        return;
    }
    for (name, place) in [
        ("DER", Chain),
        ("DER of a key", Key),
        ("DER of a list", Lists),
        ("DER of SEC 1", Key),
        ("DER of an encrypted key", Key),
        ("encrypted key", OwnKey),
        ("old encrypted key", Key),
        ("PKCS 12", Chain),
        ("PKCS 12", Key),
        ("PKCS 7", Chain),
        ("DER of PKCS 7", Roots),
        ("trusted", Chain),
        ("X509 CERTIFICATE", Chain),
        ("UTF-16", Chain),
        ("Base64 of PEM", Key),
    ] {
        let told = told(place, &folder.join(name));
        let command = told.split('`').nth(1).unwrap_or_else(|| panic!("{name}: no command in {told:?}"));
        // Where OpenSSL would ask for a password.
        let command = command.replacen(
            " -in ",
            " -passin pass:x -in ",
            usize::from(name.contains("encrypt") || name.contains("12")),
        );
        let run = Command::new("sh").args(["-c", &command]).output().expect("a shell");
        assert!(run.status.success(), "{name}: {command}: {}", String::from_utf8_lossy(&run.stderr));
        let mended = folder.join(format!("{name}.pem"));
        assert_eq!(self::told(place, &mended), "taken", "{name}: {command}");
    }
}
