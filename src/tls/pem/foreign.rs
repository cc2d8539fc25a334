//! What was given in place of what is wanted, and the command that makes the one of the other.
//!
//! Owns the texts; whoever reads one is about to mend a file, and has OpenSSL's program at hand.

use super::Wanted;
use super::der::{self, Kind};
use super::items::{Item, Label, decoded, is_utf16};

/// What a text without any item is.
pub(super) fn what_it_is(bytes: &[u8], wanted: Wanted, name: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = text.trim().trim_start_matches('\u{feff}').trim_start_matches(['"', '\'', ' ']).trim();
    let noun = wanted.item();
    if bytes.is_empty() || plain.is_empty() {
        return format!("there is no {noun} in it: it is empty");
    }
    if is_utf16(bytes) {
        return format!(
            "it is UTF-16, and PEM is ASCII; `iconv -f UTF-16 -t UTF-8 < {name} > {name}.pem` converts \
            it"
        );
    }
    // Base64 may begin as DER does, with a 0.
    let is_text = bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
    if let Some(kind) = der::kind(bytes).filter(|_| !is_text) {
        return in_der(kind, wanted, name);
    }
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] => {
            return format!(
                "it is a Java keystore; `keytool -importkeystore -srckeystore {name} -destkeystore {name}.p12 \
                 -deststoretype PKCS12` converts it to PKCS #12, and {}",
                mend(Kind::Pkcs12, "", wanted, &format!("{name}.p12"))
            );
        }
        [0x1f, 0x8b, ..] => return format!("it is compressed; `gunzip < {name} > {name}.pem` unpacks it"),
        [b'P', b'K', 3, 4, ..] => return format!("it is a ZIP archive; `unzip {name}` unpacks it"),
        _ => {}
    }
    let lower: String = plain.chars().take(200).collect::<String>().to_ascii_lowercase();
    let begins = |with: &[&str]| with.iter().any(|with| lower.starts_with(with));
    if begins(&["<!doctype html", "<html", "<?xml", "<head", "<body"]) {
        return format!("it is an HTML page, not a {noun}; open it to see why, then download the file again");
    }
    if begins(&["ssh-", "ecdsa-sha2-", "sk-"]) {
        return format!("it is an SSH public key, not a {noun}; TLS needs keys and certificates of its own");
    }
    if begins(&["putty-user-key-file"]) {
        return format!(
            "it is a PuTTY key; `puttygen {name} -O private-openssh -o {name}.ssh` and then `ssh-keygen -p -N '' -m \
             PEM -f {name}.ssh` convert it to PEM"
        );
    }
    if begins(&["{"]) && lower.contains("\"kty\"") {
        return format!("it is a key in JSON (JWK), not a {noun} in PEM");
    }
    if begins(&["certificate:", "certificate revocation list", "private-key:"]) {
        return format!("it is the printed text of a {noun}, without its PEM; use the file that it was printed from");
    }
    base64(plain, wanted, name)
        .unwrap_or_else(|| format!("there is no {noun} in it: no line is like {}", begin(wanted)))
}

/// Base64 is written in lines of 64 or 76 characters, and by some in shorter ones.
const LINE_CHARS_MIN: usize = 16;

/// Below this it may be a word.
const BASE64_CHARS_MIN: usize = 24;

/// Base64 of something, without marks.
fn base64(plain: &str, wanted: Wanted, name: &str) -> Option<String> {
    let end = plain.trim_end_matches(['"', '\'', ',', ';']).replace("\\n", "");
    let body: Vec<u8> = end.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(byte);
    // Its lines have a length, words of prose have not.
    let is_prose = end.split_ascii_whitespace().rev().skip(1).any(|word| word.len() < LINE_CHARS_MIN);
    if body.len() < BASE64_CHARS_MIN || is_prose || !body.iter().all(is_base64) {
        return None;
    }
    // Whatever is missing at its end: its first bytes tell what it is.
    let whole = decoded(&body).or_else(|| decoded(&body[..body.len() / 4 * 4])).unwrap_or_default();
    if whole.starts_with(b"-----BEGIN") || whole.starts_with(b"\xef\xbb\xbf-----BEGIN") {
        return Some(format!(
            "it is the Base64 of PEM, as in a Kubernetes secret; `base64 -d < {name} > {name}.pem` decodes it"
        ));
    }
    let noun = wanted.item();
    let (begin, end) = (begin(wanted), begin(wanted).replace("BEGIN", "END"));
    Some(match der::kind(&whole) {
        Some(Kind::Unknown) | None => format!(
            "it looks like Base64, or part of it, without BEGIN and END lines; a {noun} has {begin} before it and \
             {end} behind it, each on its own line"
        ),
        Some(kind) if is_wanted(kind, wanted) => format!(
            "its BEGIN and END lines are missing: it is the Base64 of {}; put {} before it and {} behind it, each on \
             its own line",
            thing(kind),
            begin_of(kind),
            begin_of(kind).replace("BEGIN", "END")
        ),
        Some(kind @ (Kind::Pkcs12 | Kind::Pkcs7)) => {
            let mend = mend(kind, "-inform DER ", wanted, &format!("{name}.der"));
            format!("it is {} in Base64; `base64 -d < {name} > {name}.der`, and {mend}", thing(kind))
        }
        Some(kind) => format!("it is {} in Base64, not a {noun}; {}", thing(kind), mend(kind, "", wanted, name)),
    })
}

fn in_der(kind: Kind, wanted: Wanted, name: &str) -> String {
    let mend = mend(kind, "-inform DER ", wanted, name);
    match kind {
        Kind::Pkcs12 | Kind::Pkcs7 => format!("it is {}; {mend}", thing(kind)),
        Kind::Unknown => format!("it is binary data (DER) but not a {}, or it is cut off; {mend}", wanted.item()),
        kind if is_wanted(kind, wanted) => format!("it is {} in DER, not in PEM; {mend}", thing(kind)),
        kind => format!("it is {} in DER, not a {}; {mend}", thing(kind), wanted.item()),
    }
}

/// Nothing of it is wanted, only what may be beside that.
pub(super) fn only_beside(item: &Item, wanted: Wanted) -> String {
    let (noun, is) = (wanted.item(), label_thing(&item.label));
    let other = match wanted {
        Wanted::Key => "the key file",
        Wanted::Certificate | Wanted::Root => "the certificate file",
        Wanted::List => "the file of the list",
    };
    let (number, line) = (item.number, item.line);
    format!("there is no {noun} in it: item {number} (line {line}) is {is}; name {other} instead")
}

/// An item that is neither wanted nor may be beside what is.
pub(super) fn wrong_item(item: &Item, wanted: Wanted, name: &str) -> String {
    let noun = wanted.item();
    let what = label_thing(&item.label);
    match &item.label {
        Label::OldCertificate => format!(
            "it is {what} with the old label X509 CERTIFICATE; `sed -E 's/X\\.?509 CERT/CERT/' {name} > {name}.pem` \
             renames it"
        ),
        Label::TrustedCertificate if matches!(wanted, Wanted::Certificate | Wanted::Root) => format!(
            "it is a certificate with OpenSSL's trust settings; `openssl x509 -in {name} -out {name}.pem` removes \
             them"
        ),
        Label::EncryptedKey | Label::OldEncryptedKey if wanted == Wanted::Key => {
            format!("it is {what}; {}", mend(Kind::EncryptedKey, "", wanted, name))
        }
        Label::OpenSshKey if wanted == Wanted::Key => format!(
            "it is {what}; `ssh-keygen -p -N '' -m PEM -f {name}` converts it in place, unless it is an Ed25519 key, \
             for which OpenSSH has no other format"
        ),
        Label::Other(_) => match item.label.shown() {
            Some(label) => format!("its label {label} is not known; did you mean {}?", begin(wanted)),
            None => format!("its label is not known; did you mean {}?", begin(wanted)),
        },
        label => {
            let kind = label_kind(label);
            let tail =
                kind.map_or_else(|| format!("name the file of a {noun} instead"), |kind| mend(kind, "", wanted, name));
            match kind {
                Some(Kind::Pkcs7) => format!("it is {what}; {tail}"),
                _ => format!("it is {what}, not a {noun}; {tail}"),
            }
        }
    }
}

/// webpki reads none with more, and no message of rustls or GnuTLS has room for one.
const CERTIFICATE_BYTES_MAX: usize = 65_535;

/// A certificate that rustls does not take.
pub(in crate::tls) fn bad_certificate(bytes: &[u8], wanted: Wanted, name: &str, error: &rustls::Error) -> String {
    if bytes.len() > CERTIFICATE_BYTES_MAX {
        let count = bytes.len();
        return format!(
            "it has {count} bytes, and peers take at most {CERTIFICATE_BYTES_MAX}; reissue it with fewer names"
        );
    }
    match (der::kind(bytes), der::says(bytes)) {
        (_, Some(says)) if says.version < 3 => format!(
            "it is an X.509 certificate of version {}, which TLS peers refuse; reissue it with extensions, as \
             `openssl x509 -req … -extfile EXTENSIONS` does",
            says.version
        ),
        (Some(Kind::Certificate), _) | (_, Some(_)) => format!("it cannot be read: {error}; reissue it"),
        (Some(Kind::Unknown) | None, _) => {
            "its content is not a certificate, or is cut off; restore the original file".to_owned()
        }
        (Some(kind), _) => {
            format!("it is labelled as a certificate but contains {}; {}", thing(kind), mend(kind, "", wanted, name))
        }
    }
}

/// Why it is no revocation list, if it is none. What of one cannot be used is for rustls to say.
pub(super) fn bad_list(bytes: &[u8], name: &str) -> Option<String> {
    match der::kind(bytes) {
        Some(Kind::List) => None,
        Some(Kind::Unknown) | None => {
            Some("its content is not a revocation list, or is cut off; restore the original file".to_owned())
        }
        Some(kind) => {
            let mend = mend(kind, "", Wanted::List, name);
            Some(format!("it is labelled as a revocation list but contains {}; {mend}", thing(kind)))
        }
    }
}

/// A private key that rustls does not take.
pub(in crate::tls) fn bad_key(bytes: &[u8], name: &str, error: &rustls::Error) -> String {
    const MAKE: &str = "`openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes a P-256 key";
    match (der::key_kind(bytes), der::kind(bytes)) {
        (Some(kind), Some(Kind::Key | Kind::RsaKey | Kind::EcKey | Kind::DsaKey)) => {
            let is_short = kind.strip_prefix("an RSA key of ").and_then(|rest| rest.split_once(' '));
            match is_short.and_then(|(bits, _)| bits.parse::<usize>().ok()) {
                Some(bits) if bits < 2048 => {
                    format!("it is {kind}, and at least 2048 are required; {MAKE}, which needs a new certificate")
                }
                Some(bits) if bits > 8192 => {
                    format!("it is {kind}, and at most 8192 are supported; {MAKE}, which needs a new certificate")
                }
                _ if kind.contains("written out") => format!(
                    "it is {kind}; `openssl ec -in {name} -param_enc named_curve -out {name}.pem` names the curve"
                ),
                Some(_) => format!("it is {kind}, and damaged: {}; restore the original file", plain(error)),
                None => format!("it is {kind}, which is not supported; {MAKE}, which needs a new certificate"),
            }
        }
        (_, Some(Kind::Unknown) | None) => {
            "its content is not a private key, or is cut off; restore the original file".to_owned()
        }
        (_, Some(kind)) => {
            format!(
                "it is labelled as a private key but contains {}; {}",
                thing(kind),
                mend(kind, "", Wanted::Key, name)
            )
        }
    }
}

fn plain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::General(text) => text.clone(),
        error => error.to_string(),
    }
}

fn is_wanted(kind: Kind, wanted: Wanted) -> bool {
    match wanted {
        Wanted::Certificate | Wanted::Root => kind == Kind::Certificate,
        Wanted::Key => matches!(kind, Kind::Key | Kind::RsaKey | Kind::EcKey | Kind::EncryptedKey),
        Wanted::List => kind == Kind::List,
    }
}

fn begin(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Certificate | Wanted::Root => "-----BEGIN CERTIFICATE-----",
        Wanted::Key => "-----BEGIN PRIVATE KEY-----",
        Wanted::List => "-----BEGIN X509 CRL-----",
    }
}

fn begin_of(kind: Kind) -> &'static str {
    match kind {
        Kind::RsaKey => "-----BEGIN RSA PRIVATE KEY-----",
        Kind::EcKey => "-----BEGIN EC PRIVATE KEY-----",
        Kind::EncryptedKey => "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        Kind::Key => "-----BEGIN PRIVATE KEY-----",
        Kind::List => "-----BEGIN X509 CRL-----",
        _ => "-----BEGIN CERTIFICATE-----",
    }
}

fn thing(kind: Kind) -> &'static str {
    match kind {
        Kind::Certificate => "a certificate",
        Kind::Request => "a certificate request",
        Kind::List => "a revocation list",
        Kind::Key => "a private key (PKCS #8)",
        Kind::EncryptedKey => "an encrypted private key",
        Kind::RsaKey => "a private key (PKCS #1)",
        Kind::DsaKey => "a DSA private key",
        Kind::EcKey => "a private key (SEC 1)",
        Kind::PublicKey => "a public key",
        Kind::Pkcs12 => "a PKCS #12 archive",
        Kind::Pkcs7 => "a PKCS #7 file",
        Kind::Unknown => "something else",
    }
}

fn label_kind(label: &Label) -> Option<Kind> {
    Some(match label {
        Label::Certificate | Label::OldCertificate | Label::TrustedCertificate => Kind::Certificate,
        Label::Key | Label::OpenSshKey => Kind::Key,
        Label::RsaKey => Kind::RsaKey,
        Label::EcKey => Kind::EcKey,
        Label::DsaKey => Kind::DsaKey,
        Label::EncryptedKey | Label::OldEncryptedKey => Kind::EncryptedKey,
        Label::PublicKey => Kind::PublicKey,
        Label::Request => Kind::Request,
        Label::List => Kind::List,
        Label::Pkcs7 => Kind::Pkcs7,
        Label::Parameters | Label::Pgp | Label::Other(_) => return None,
    })
}

fn label_thing(label: &Label) -> &'static str {
    match label {
        Label::OpenSshKey => "a private key in OpenSSH's own format",
        Label::OldEncryptedKey => "an encrypted private key in the traditional format",
        Label::Parameters => "a block of parameters",
        Label::Pgp => "a PGP key",
        label => label_kind(label).map_or("something else", thing),
    }
}

/// What makes something that is wanted of such a thing.
fn mend(kind: Kind, form: &str, wanted: Wanted, name: &str) -> String {
    let certificates = matches!(wanted, Wanted::Certificate | Wanted::Root);
    match (kind, wanted) {
        (Kind::Certificate, _) if certificates => {
            format!("`openssl x509 {form}-in {name} -out {name}.pem` converts it")
        }
        (Kind::List, Wanted::List) => format!("`openssl crl {form}-in {name} -out {name}.pem` converts it"),
        (Kind::Key | Kind::RsaKey | Kind::EcKey, Wanted::Key) => {
            format!("`openssl pkey {form}-in {name} -out {name}.pem` converts it")
        }
        (Kind::EncryptedKey, Wanted::Key) => {
            format!("`openssl pkey {form}-in {name} -out {name}.pem` decrypts it")
        }
        (Kind::Pkcs12, Wanted::Key) => {
            format!("`openssl pkcs12 -in {name} -nocerts -nodes -out {name}.pem` takes the key out of it")
        }
        (Kind::Pkcs12, _) if certificates => {
            format!("`openssl pkcs12 -in {name} -nokeys -out {name}.pem` takes the certificates out of it")
        }
        (Kind::Pkcs7, _) if certificates => {
            format!("`openssl pkcs7 {form}-in {name} -print_certs -out {name}.pem` takes the certificates out of it")
        }
        (Kind::List, _) if certificates => "give revocation lists to `revoked`".to_owned(),
        (Kind::Request, _) if certificates => {
            "give the certificate that a CA issued for it; `openssl x509 -req` issues one".to_owned()
        }
        (Kind::PublicKey, Wanted::Key) => "give the private key that it belongs to".to_owned(),
        (Kind::DsaKey, Wanted::Key) => {
            "TLS has no use for it; `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes a P-256 \
             key, which needs a new certificate"
                .to_owned()
        }
        (_, Wanted::Certificate) => "name the certificate file instead".to_owned(),
        (_, Wanted::Root) => "name the file of the issuer's certificate instead".to_owned(),
        (_, Wanted::Key) => "name the key file instead".to_owned(),
        (_, Wanted::List) => "name the file of the list instead".to_owned(),
    }
}
