//! Whether a text is made of names and words, or may be a part of a key.
//!
//! Owns how likely a text is as each of both. Pure.
//!
//! 1. Eight characters in a row that are as likely Base64 or hexadecimal digits as words are no words. A piece of fewer
//!    cannot be told from a name, and passes.
//!
//! In Base64 each character says nothing of the next one; in names the case seldom changes, letters follow each other as
//! in words, and digits stay together. What both would cost to write down, in tenths of a bit, is compared.

use std::sync::LazyLock;

/// From here on characters in a row are looked at.
const LOOKED_AT_MIN: usize = 8;

/// A name of fewer is no word by itself: Base64 has them by chance.
const WORD_CHARS_MIN: usize = 3;

/// So much more likely a name must be: 2^19 times.
const MARGIN: u32 = 190;

/// Longer names are no words, whatever they look like; it also bounds the work.
const NAME_CHARS_MAX: usize = 255;

/// No name has as many hexadecimal digits in a row, or pairs of them with something between.
const HEX_DIGITS_MIN: usize = 16;
const HEX_PAIRS_MIN: usize = 6;

/// The largest number of 64 bits has 20 decimal digits.
const DECIMAL_DIGITS_MAX: usize = 20;

/// What texts write for line ends and zeros, which tools put between the characters of a key.
const ESCAPES: [&str; 7] = ["\\u{0}", "\\u0000", "\\x00", "\\n", "\\r", "\\t", "\\0"];

/// What names of files, hosts, settings and their errors are made of.
const WORDS: &str = "abstract acceptance accepted accepting access account acme address addresses admin agent algorithm alias \
    alpine alpn amazon anchor anchors answered api app apps architecture archive archives attempts auth \
    authclient authorities authority aws azure backend backup balancer baltimore base basic basicconstraints \
    beginning bin bitnami bits blocking boot brackets broker browsers bundle bytes cacert cacerts cache callback canceled \
    capability capitals centos cert certbot certificate certificates certification certpair certs certutil chain \
    character characters cipher cipherlist client clientca clients cloud cluster com commands common comodo \
    company compiled complete compressed conf config configuration connect connection connections constraints \
    consul container containing contains contents control converts copy corp critical crl crt current curve \
    curvelist customer customers cyber daemon data database datagram datagrams deadline debian debug decrypt \
    decrypted decrypts default delivers demo departed deploy descriptor descriptors destkeystore deststoretype \
    dev development dhparam digi digicert digital directories directory docker document documents domain domains \
    download draining ecc ecdsa edge elastic elasticsearch encrypt encrypted endpoint entrust environment envoy \
    error etc everybody everything example exchange expired export extended extendedkeyusage extension \
    extensions external extracted fedora file files final finished folder followed forbidden fragment fragmented \
    frontend full fullchain gateway gathered gitlab global globalsign google grafana group groups grpc gunzip \
    handlers handling handshake haproxy home host hostname hosts http httpd https iconv ideaprojects identity \
    idle illegal important inappropriate inc indirect ingress input install insufficient integration interface \
    intermediate internal internet interval intervals issuer issuing istio java jenkins json kafka keepalive key \
    keys keystore keytool keyusage kube kubelet kubernetes lab labelled lets letsencrypt lib libraries library \
    lifetime limit linger linux list listen live load local localdomain localhost log logs lookup loopback mail \
    main malformed manager master max meanwhile measurement member members message method microsoft min missing misspelt \
    mlkem mnt mongodb monitoring multicast mutual my mycompany mysql name names negative negotiate net network \
    new newlines nextcloud nginx nocerts node nodes nokeys nomad number occupant office offload old open openssl \
    opensuse opt options org organization original outgoing output overflow overtake owner pair panicked \
    parameters party passphrase passwd password path peer pem permission permissions permitted persistent \
    pinning pkcs pki placement plaintext platform policy postgres postgresql prepared primary prime256v1 private \
    prod production produktion profile program programdata progress project projects prometheus protocol \
    protocols proxy public purpose puttygen queue quo quovadis rabbit rabbitmq reactors read received record \
    redhat redis register registry release reloaded remote renew renewed replaced replica request required \
    resolved resolver response revocation revoked root rootca roots router rsa run runtime sample san schluessel \
    secondary secp256k1 secp256r1 secp384r1 secret secrets security self send serial server servers service \
    services session settings setup sha256 sha384 share shared sign signature signed signing site smtp sni sock \
    socket somebody something source spool srckeystore srv ssl stage staging stale standard starfield start \
    state storage store stranger stream stronger subject subjectaltname suite suites supported switched symbolic \
    sys system systemd table team temp temporary terms test testing tests ticket timeout tls tls+unix tmp \
    together token tools traefik transport truncated truncation trust trusted truststore tunnel ubuntu umgebung \
    unexpected universal unix unixgram unobtainable unrecognized unsupported unzip upload usage user username \
    users usr vadis validation value var variable vault verifier verifiers verify verisign version versionmax \
    versionmin volume volumes web webhook whatever wildcard windlass with work worker workspace write www x25519 \
    zertifikat zertifikate";

/// The letters that follow each letter from `a` to `z` most often, half of all pairs; and a third of them.
const OFTEN: [&str; 26] = [
    "cdilmnprst",
    "",
    "aehkot",
    "aei",
    "acdlmnrst",
    "",
    "e",
    "ae",
    "clmnost",
    "",
    "",
    "aei",
    "aeio",
    "adegist",
    "lmnprt",
    "aery",
    "",
    "aeio",
    "ehit",
    "aehior",
    "n",
    "e",
    "",
    "",
    "",
    "",
];
const AT_TIMES: [&str; 26] = [
    "bfgkuvy",
    "aeiloru",
    "ilrsu",
    "borsu",
    "befgiopvwx",
    "aefilor",
    "aioru",
    "iotu",
    "abdefgkprvz",
    "a",
    "aeios",
    "odstuy",
    "blmpsu",
    "cfknou",
    "abcdgikosuvw",
    "hilopstu",
    "u",
    "cdgklmnprstuy",
    "acklmopsuy",
    "clpstuy",
    "abdeilmprst",
    "ai",
    "aeio",
    "t",
    "acnpst",
    "e",
];

/// Whether `text` is made of words: nothing in it may be a part of a key.
pub(super) fn are_all(text: &str) -> bool {
    let mut text = text.to_owned();
    ESCAPES.iter().for_each(|escape| text = text.replace(escape, ""));
    let is_dropped = |c: char| c != ' ' && (c.is_whitespace() || c.is_control() || c == '\u{feff}' || c == '\\');
    text.retain(|c| !is_dropped(c));
    let text = without_uuids(&text);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    !has_hex_pairs(&text) && text.split(|c| !is_part(c)).all(is_wordy)
}

/// Whether it has a row of pairs of hexadecimal digits, as keys are printed.
pub(super) fn has_hex_pairs(text: &str) -> bool {
    let mut count = 0;
    parts_of_pairs(text).any(|part| {
        count = if is_pair(part) { count + 1 } else { 0 };
        count >= HEX_PAIRS_MIN
    })
}

/// Whether a word of such a text may be of that row.
pub(super) fn may_be_of_pairs(word: &str) -> bool {
    parts_of_pairs(word).any(is_pair)
}

fn parts_of_pairs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '/').filter(|part| !part.is_empty())
}

fn is_pair(part: &str) -> bool {
    part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// UUIDs are in many paths, and no key is cut as they are.
fn without_uuids(text: &str) -> String {
    const LENGTHS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_uuid = |part: &str| {
        let groups: Vec<&str> = part.split('-').collect();
        let is_hex = |group: &str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
        groups.iter().map(|group| group.len()).eq(LENGTHS) && groups.iter().all(|group| is_hex(group))
    };
    let parts = text.split('/').map(|part| if is_uuid(part) { "" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// A stretch of what Base64 has, with slashes: names that are words by themselves do not count for the others.
fn is_wordy(stretch: &str) -> bool {
    let names = stretch.split_inclusive('/');
    let mut unknown = String::new();
    for name in names {
        let bare = name.trim_end_matches('/');
        match bare.len() >= WORD_CHARS_MIN && is_of_words(bare) {
            true if !is_likely(&unknown) => return false,
            true => unknown.clear(),
            false => unknown.push_str(name.strip_prefix("tmp").unwrap_or(name)),
        }
    }
    is_likely(&unknown)
}

/// Whether it is nothing but words, and a number behind them.
fn is_of_words(name: &str) -> bool {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if name.len() > NAME_CHARS_MAX || name.len() - letters.len() > 4 {
        return false;
    }
    let is_cased = |word: &str| {
        let rest = || word.bytes().skip(1).filter(u8::is_ascii_alphabetic);
        rest().all(|byte| byte.is_ascii_lowercase()) || !word.bytes().any(|byte| byte.is_ascii_lowercase())
    };
    // Where a word ends that everything before has led to.
    let mut ends = vec![true];
    ends.resize(name.len() + 1, false);
    for from in 0..name.len() {
        for word in words_at(name, from).filter(|_| ends[from]).collect::<Vec<_>>() {
            ends[from + word] |= is_cased(&name[from..from + word]);
        }
    }
    ends[name.len()] || !letters.is_empty() && ends[letters.len()]
}

/// The words, by their first byte.
static BY_FIRST: LazyLock<Vec<Vec<&'static str>>> = LazyLock::new(|| {
    let mut all = vec![Vec::new(); 256];
    WORDS.split_ascii_whitespace().for_each(|word| all[usize::from(word.as_bytes()[0])].push(word));
    all
});

/// The lengths of the words that begin there, in any case.
fn words_at(name: &str, from: usize) -> impl Iterator<Item = usize> {
    let rest = &name.as_bytes()[from..];
    let is_here =
        move |word: &&&str| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word.as_bytes());
    BY_FIRST[usize::from(rest[0].to_ascii_lowercase())].iter().filter(is_here).map(|word| word.len())
}

/// Whether it is too short to be looked at, or much likelier a name than a part of a key.
fn is_likely(text: &str) -> bool {
    let text = text.trim_matches('/');
    if text.len() < LOOKED_AT_MIN {
        return true;
    }
    if text.len() > NAME_CHARS_MAX {
        return false;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.len() <= DECIMAL_DIGITS_MAX;
    }
    let has_hex =
        text.split('/').any(|run| run.len() >= HEX_DIGITS_MIN && run.bytes().all(|byte| byte.is_ascii_hexdigit()));
    !has_hex && as_name(text) + MARGIN <= as_key(text)
}

/// The cost as Base64, or as what it becomes where all letters are made small or capital.
fn as_key(text: &str) -> u32 {
    let has_both = text.contains(|c: char| c.is_ascii_lowercase()) && text.contains(|c: char| c.is_ascii_uppercase());
    text.bytes().map(|byte| if has_both || !byte.is_ascii_alphabetic() { 60 } else { 50 }).sum()
}

/// The cost as names, where each part is a word or letters that follow each other.
fn as_name(text: &str) -> u32 {
    const WORD: u32 = 80;
    const YEAR: u32 = 80;
    let bytes = text.as_bytes();
    let mut best = vec![u32::MAX; bytes.len() + 1];
    best[0] = 0;
    for from in 0..bytes.len() {
        let mut reach = |length: usize, cost: u32| {
            let cased: u32 = (from..from + length).map(|at| as_cased(bytes, at)).sum();
            best[from + length] = best[from + length].min(best[from] + cost + cased);
        };
        reach(1, as_next(&bytes[..from], bytes[from]));
        words_at(text, from).for_each(|length| reach(length, WORD));
        if matches!(bytes[from..], [b'2', b'0', tens, ones, ..] if tens.is_ascii_digit() && ones.is_ascii_digit()) {
            reach(4, YEAR);
        }
    }
    best[bytes.len()]
}

/// The cost of a character behind others, whatever its case. Numbers of more than four digits are as likely in keys.
fn as_next(before: &[u8], byte: u8) -> u32 {
    let letter = char::from(byte.to_ascii_lowercase());
    let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    match (before.last().map(u8::to_ascii_lowercase), byte) {
        (Some(b'/'), b'/') => 80,
        (_, b'/') => 35,
        (_, b'+') => 90,
        (_, b'=') => 40,
        (_, b'0'..=b'9') => match digits {
            0 => 65,
            1..=3 => 45,
            _ => 60,
        },
        (Some(b'0'..=b'9'), _) => 85,
        (Some(before @ b'a'..=b'z'), _) => {
            let of = usize::from(before - b'a');
            match (OFTEN[of].contains(letter), AT_TIMES[of].contains(letter)) {
                (true, _) => 25,
                (false, true) => 42,
                (false, false) => 70,
            }
        }
        _ => 45,
    }
}

/// The cost of its case, which changes where a word begins.
fn as_cased(bytes: &[u8], at: usize) -> u32 {
    let is_upper = |at: usize| bytes[at].is_ascii_uppercase();
    let has_letter = |at: Option<usize>| at.filter(|at| bytes[*at].is_ascii_alphabetic());
    let before = has_letter(at.checked_sub(1));
    let first = before.and_then(|before| has_letter(before.checked_sub(1)));
    match (bytes[at].is_ascii_alphabetic(), before.map(is_upper), is_upper(at)) {
        (false, ..) => 0,
        (true, None, _) => 10,
        (true, Some(false), false) => 3,
        (true, Some(false), true) => 30,
        (true, Some(true), false) if first.is_some_and(is_upper) => 25,
        (true, Some(true), false) => 5,
        (true, Some(true), true) if first.is_some_and(is_upper) => 5,
        (true, Some(true), true) => 20,
    }
}
