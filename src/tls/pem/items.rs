//! The items of a text in PEM (RFC 7468): there are as many as BEGIN marks, or it is an error with its line.
//!
//! rustls' reader passes over what it does not take for a mark. Here that would lose a root, or a link of a chain,
//! without a word: behind a byte order mark, behind spaces, or behind an END mark whose line has no end.
//!
//! Owns what is taken: a byte order mark, spaces around lines, any of the three ends of lines and none at the end of the
//! text, lines of other text before and behind items, headers within them. Decoding is left to rustls.

use rustls::pki_types::pem::{PemObject, SectionKind};

/// One item, decoded.
pub(super) struct Item {
    /// From 1.
    pub(super) number: usize,
    /// That of its BEGIN mark, from 1.
    pub(super) line: usize,
    pub(super) label: Label,
    /// Empty for what is not used: a key behind a password, or one in a form of its own.
    pub(super) der: Vec<u8>,
}

/// What is wrong, and with which item (number and line).
pub(super) struct Fault {
    pub(super) item: Option<(usize, usize)>,
    pub(super) why: String,
}

/// What a mark says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    Certificate,
    /// The name that it had before RFC 7468.
    OldCertificate,
    /// With OpenSSL's own data behind it.
    TrustedCertificate,
    /// PKCS #8.
    Key,
    /// PKCS #1.
    RsaKey,
    /// SEC 1.
    EcKey,
    DsaKey,
    /// PKCS #8, behind a password.
    EncryptedKey,
    /// Of an older form, behind a password.
    OldEncryptedKey,
    OpenSshKey,
    PublicKey,
    Request,
    List,
    Pkcs7,
    Parameters,
    Pgp,
    /// Shown only if it is made of capitals and spaces.
    Other(String),
}

/// What becomes of an item.
pub(super) enum Use {
    Wanted,
    /// It belongs beside what is wanted, as a key beside its certificate.
    Beside,
    Wrong,
}

const LABELS: [(&str, Label); 24] = [
    ("CERTIFICATE", Label::Certificate),
    ("X509 CERTIFICATE", Label::OldCertificate),
    ("X.509 CERTIFICATE", Label::OldCertificate),
    ("TRUSTED CERTIFICATE", Label::TrustedCertificate),
    ("PRIVATE KEY", Label::Key),
    ("RSA PRIVATE KEY", Label::RsaKey),
    ("EC PRIVATE KEY", Label::EcKey),
    ("DSA PRIVATE KEY", Label::DsaKey),
    ("ENCRYPTED PRIVATE KEY", Label::EncryptedKey),
    ("OPENSSH PRIVATE KEY", Label::OpenSshKey),
    ("PUBLIC KEY", Label::PublicKey),
    ("RSA PUBLIC KEY", Label::PublicKey),
    ("SSH2 PUBLIC KEY", Label::PublicKey),
    ("CERTIFICATE REQUEST", Label::Request),
    ("NEW CERTIFICATE REQUEST", Label::Request),
    ("X509 CRL", Label::List),
    ("PKCS7", Label::Pkcs7),
    ("CMS", Label::Pkcs7),
    ("EC PARAMETERS", Label::Parameters),
    ("DH PARAMETERS", Label::Parameters),
    ("X9.42 DH PARAMETERS", Label::Parameters),
    ("DSA PARAMETERS", Label::Parameters),
    ("PGP PRIVATE KEY BLOCK", Label::Pgp),
    ("PGP PUBLIC KEY BLOCK", Label::Pgp),
];

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const BOM: &str = "\u{feff}";

/// An item whose END mark has not come yet.
struct Open {
    number: usize,
    line: usize,
    text: String,
    label: Label,
    body: Vec<u8>,
}

/// Every item. None at all is no error here, nor is what is no ASCII: `foreign` says what it is.
pub(super) fn of(bytes: &[u8]) -> Result<Vec<Item>, Fault> {
    if is_utf16(bytes) {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(bytes);
    let (mut items, mut open) = (Vec::new(), None);
    for (index, line) in lines(&text).enumerate() {
        take(line, index + 1, &mut items, &mut open)?;
    }
    match open {
        None => Ok(items),
        Some(open) => Err(open.unfit("it has no END line; the rest of the file is missing".to_owned())),
    }
}

/// One line: prose, marks, headers or Base64. An END mark and the next BEGIN mark may share it.
fn take(line: &str, number: usize, items: &mut Vec<Item>, open: &mut Option<Open>) -> Result<(), Fault> {
    // The blank at the end may be a mark's.
    let mut rest = line.trim_start().trim_start_matches(BOM).trim_start();
    while !rest.is_empty() {
        let Some(item) = open else {
            let Some((label, behind)) = mark(rest, BEGIN) else { return prose(rest, number) };
            let item = Open::new(items.len() + 1, number, label);
            if !behind.trim().is_empty() {
                return Err(item.unfit(lost_newlines(behind)));
            }
            *open = Some(item);
            return Ok(());
        };
        let at = rest.find(END);
        if rest.find(BEGIN).is_some_and(|begin| at.is_none_or(|at| begin < at)) {
            return Err(item.unfit(format!("it has no END line before the next BEGIN line, line {number}")));
        }
        let Some(at) = at else { return item.add(rest, number) };
        item.add(&rest[..at], number)?;
        let Some((label, behind)) = mark(&rest[at..], END) else {
            return Err(item.unfit(format!("its END line, line {number}, must be {}", item.end())));
        };
        if label != item.text {
            let why = format!("its END line, line {number}, does not match: it must be {}", item.end());
            return Err(item.unfit(why));
        }
        if let Some(item) = open.take() {
            items.push(item.close()?);
        }
        // Whatever follows on this line is no part of it.
        rest = behind.find(BEGIN).map_or("", |at| &behind[at..]);
    }
    Ok(())
}

/// What stands outside of items: nothing that was meant to be a mark.
fn prose(line: &str, number: usize) -> Result<(), Fault> {
    let fault = |why: String| Err(Fault { item: None, why });
    if line.rfind(BEGIN.trim_end()).is_some_and(|at| at > 0) {
        return fault(format!("line {number} has text before -----BEGIN; remove that text"));
    }
    if line.starts_with(END) {
        return fault(format!("line {number} is an END line without a BEGIN line; the text before it is missing"));
    }
    let is_dash = |c: char| c == '-' || ('\u{2010}'..='\u{2015}').contains(&c) || c == '\u{2212}';
    let plain = line.trim_matches(|c: char| is_dash(c) || c.is_whitespace()).to_ascii_uppercase();
    let dashes = line.chars().filter(|c| is_dash(*c)).count();
    let is_label = |name: &str| LABELS.iter().any(|(label, _)| *label == name.trim());
    let is_meant = match plain.strip_prefix("BEGIN") {
        Some(name) => dashes >= 2 && (name.is_empty() || name.starts_with(' ')) || is_label(name),
        None => plain.strip_prefix("END").is_some_and(is_label),
    };
    if is_meant {
        return fault(format!(
            "line {number} is not a valid BEGIN or END line; write it like -----BEGIN CERTIFICATE-----, in capitals, \
             with one space and five dashes at either end"
        ));
    }
    Ok(())
}

impl Open {
    fn new(number: usize, line: usize, text: &str) -> Open {
        Open { number, line, text: text.to_owned(), label: Label::of(text), body: Vec::new() }
    }

    fn unfit(&self, why: String) -> Fault {
        Fault { item: Some((self.number, self.line)), why }
    }

    fn end(&self) -> String {
        match self.label.shown() {
            Some(label) => format!("{END}{label}{DASHES}"),
            None => "like its BEGIN line".to_owned(),
        }
    }

    /// A header, RFC 1421, or Base64.
    fn add(&mut self, line: &str, number: usize) -> Result<(), Fault> {
        let line = line.trim();
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("Proc-Type") && value.contains("ENCRYPTED") {
                self.label = Label::OldEncryptedKey;
            }
            return Ok(());
        }
        if line.contains("\\n") {
            return Err(self.unfit(lost_newlines(line)));
        }
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte) || byte.is_ascii_whitespace();
        if !self.label.is_opaque() && !line.bytes().all(is_base64) {
            return Err(self.unfit(format!("line {number} is not Base64; restore the original text")));
        }
        self.body.extend(line.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        Ok(())
    }

    fn close(self) -> Result<Item, Fault> {
        let (number, line) = (self.number, self.line);
        if self.label.is_opaque() {
            return Ok(Item { number, line, label: self.label, der: Vec::new() });
        }
        let count = self.body.len();
        match decoded(&self.body) {
            Some(der) if der.is_empty() => {
                Err(self.unfit("there is nothing between its BEGIN and END lines".to_owned()))
            }
            Some(der) => Ok(Item { number, line, label: self.label, der }),
            None => Err(self.unfit(format!(
                "its Base64 ({count} characters) is damaged: characters are missing or added; restore the original \
                 text"
            ))),
        }
    }
}

impl Item {
    pub(super) fn unfit(&self, why: String) -> Fault {
        Fault { item: Some((self.number, self.line)), why }
    }
}

impl Label {
    fn of(text: &str) -> Label {
        let known = LABELS.iter().find(|(name, _)| *name == text).map(|(_, label)| label.clone());
        known.unwrap_or_else(|| Label::Other(text.to_owned()))
    }

    /// For what there is no need to know what it holds.
    fn is_opaque(&self) -> bool {
        matches!(self, Label::OpenSshKey | Label::OldEncryptedKey | Label::Pgp | Label::Other(_))
    }

    /// As a mark has it; a text that is none may be anything.
    pub(super) fn shown(&self) -> Option<&str> {
        const LETTERS_MAX: usize = 40;
        let is_plain = |text: &str| {
            let is_word = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
            text.len() <= LETTERS_MAX && text.split(' ').all(is_word)
        };
        match self {
            Label::Other(text) => Some(text.as_str()).filter(|text| is_plain(text)),
            known => LABELS.iter().find(|(_, label)| label == known).map(|(name, _)| *name),
        }
    }

    pub(super) fn place(&self, wanted: super::Wanted) -> Use {
        use super::Wanted;
        let is_key = matches!(
            self,
            Label::Key
                | Label::RsaKey
                | Label::EcKey
                | Label::EncryptedKey
                | Label::OldEncryptedKey
                | Label::Parameters
        );
        match (self, wanted) {
            (Label::Certificate, Wanted::Certificate | Wanted::Root)
            | (Label::Key | Label::RsaKey | Label::EcKey, Wanted::Key)
            | (Label::List, Wanted::List) => Use::Wanted,
            (Label::Certificate, Wanted::Key | Wanted::List) | (Label::Parameters, Wanted::Key) => Use::Beside,
            (_, Wanted::Certificate | Wanted::Root) if is_key => Use::Beside,
            _ => Use::Wrong,
        }
    }
}

impl Fault {
    pub(super) fn text(&self) -> String {
        match self.item {
            Some((number, line)) => format!("item {number} (line {line}): {}", self.why),
            None => self.why.clone(),
        }
    }
}

/// The label of a mark that the text begins with, and what is behind it.
fn mark<'a>(text: &'a str, begin: &str) -> Option<(&'a str, &'a str)> {
    text.strip_prefix(begin)?.split_once(DASHES)
}

fn lost_newlines(behind: &str) -> String {
    let body = behind.split(DASHES).next().unwrap_or_default();
    let (what, mend) = if behind.contains("\\n") {
        ("they became the two characters \\n", "`printf '%b' \"$PEM\" > FILE` restores them")
    } else if body.starts_with(' ') || body.trim().contains(' ') {
        ("they became spaces", "quote \"$PEM\" in a shell, and use `|` instead of `>` in YAML")
    } else {
        ("everything is on one line", "restore the original lines")
    };
    format!("its newlines are missing: {what}; {mend}")
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.split_inclusive(['\n', '\r']);
    // \r\n ends one line: the \n alone behind it is none.
    let mut was_cr = false;
    ends.filter(move |line| {
        let is_rest = was_cr && *line == "\n";
        was_cr = line.ends_with('\r');
        !is_rest
    })
}

pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'-', 0, b'-', 0, ..] | [0, b'-', 0, b'-', ..])
}

/// Base64, by rustls, which takes no label that it does not know, and treats this one's text as a secret.
pub(super) fn decoded(body: &[u8]) -> Option<Vec<u8>> {
    let text = [b"-----BEGIN PRIVATE KEY-----\n", body, b"\n-----END PRIVATE KEY-----\n"].concat();
    <(SectionKind, Vec<u8>)>::from_pem_slice(&text).ok().map(|(_, der)| der)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Result<Vec<(usize, usize)>, String> {
        let items = of(text.as_bytes()).map_err(|fault| fault.text())?;
        assert!(items.iter().all(|item| item.der == b"abc" && item.label == Label::Certificate));
        Ok(items.iter().map(|item| (item.number, item.line)).collect())
    }

    #[test]
    fn every_begin_mark_is_an_item() {
        let one = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
        let two = |text: &str| assert_eq!(labels(text), Ok(vec![(1, 1), (2, 4)]), "{text:?}");
        two(&format!("{one}{one}"));
        two(&format!("{one}{one}").replace('\n', "\r\n"));
        two(&format!("{one}{one}").replace('\n', "\r"));
        two(format!("{one}{one}").trim_end());
        two(&format!("\u{feff}{one}\u{feff}{one}"));
        two(&format!("{one}{one}").replace("YW", "  YW\t").replace("-----BEGIN", "    -----BEGIN"));
        assert_eq!(labels(&format!("{one}{one}").replace("YWJj\n", "YWJj")), Ok(vec![(1, 1), (2, 3)]));
        assert_eq!(labels(&format!("{}{one}", one.trim_end())), Ok(vec![(1, 1), (2, 3)]));
        assert_eq!(
            labels(&format!("Comment: an issuer\n-- beginning here --\n{one}the end\n{one}")),
            Ok(vec![(1, 3), (2, 7)])
        );
        assert_eq!(labels(""), Ok(vec![]));
    }

    #[test]
    fn what_was_meant_as_a_mark_is_no_prose() {
        let one = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
        for (from, to, words) in [
            ("-----BEGIN", "----BEGIN", "line 1 is not a valid BEGIN"),
            ("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE----", "line 1 is not a valid BEGIN"),
            ("-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE", "line 1 is not a valid BEGIN"),
            ("-----BEGIN CERTIFICATE-----", "-----BEGINCERTIFICATE-----", "line 1 is not a valid BEGIN"),
            ("-----BEGIN", "----- BEGIN", "line 1 is not a valid BEGIN"),
            ("-----BEGIN CERT", "-----begin cert", "line 1 is not a valid BEGIN"),
            ("-----BEGIN CERTIFICATE-----", "\u{2014}BEGIN CERTIFICATE\u{2014}", "line 1 is not a valid BEGIN"),
            ("-----BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE", "line 1 is not a valid BEGIN"),
            ("-----BEGIN", "> -----BEGIN", "line 1 has text before"),
            ("-----BEGIN CERTIFICATE-----", "YWJj-----BEGIN ", "line 1 has text before"),
            ("-----BEGIN CERTIFICATE-----", "YWJj-----BEGIN", "line 1 has text before"),
            ("YWJj\n", "prose: here-----BEGIN \n", "it has no END line before the next BEGIN line, line 2"),
            ("END CERTIFICATE-----", "END CERTIFICATE----------BEGIN ", "line 3 is not a valid BEGIN"),
            ("-----BEGIN CERTIFICATE-----", "", "line 3 is an END line without"),
            ("-----END CERTIFICATE-----", "", "item 1 (line 1): it has no END line"),
            ("-----END CERTIFICATE-----", "-----END CERTIFICATE", "item 1 (line 1): its END line, line 3, must be"),
            ("-----END CERTIFICATE", "-----END X509 CRL", "it must be -----END CERTIFICATE-----"),
            ("\n", " ", "its newlines are missing: they became spaces"),
            ("\n", "\\n", "its newlines are missing: they became the two characters \\n"),
            ("\n", "", "its newlines are missing: everything is on one line"),
            ("YWJj", "YWJjY", "is damaged"),
            ("YWJj", "YW_j", "line 2 is not Base64"),
            ("YWJj", "", "nothing between its BEGIN"),
        ] {
            let told = labels(&one.replace(from, to)).expect_err(to);
            assert!(told.contains(words), "{from:?} to {to:?}: {told}");
        }
        let cut = format!("{}{one}", one.replace("-----END CERTIFICATE-----\n", ""));
        let told = labels(&cut).expect_err("no END");
        assert!(told.contains("item 1 (line 1)") && told.contains("line 3"), "{told}");
    }

    /// What texts are put together of.
    const PIECES: [&str; 18] = [
        "-----BEGIN CERTIFICATE-----",
        "-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "-----BEGIN",
        " ",
        "-----",
        "\n",
        "\r\n",
        "\r",
        "\u{feff}",
        "YWJj",
        "YWJjYWJj",
        "=",
        "prose: here",
        "-----BEGIN ODD-----",
        "-----END ODD-----",
        "\\n",
    ];

    proptest::proptest! {
        #[test]
        fn no_begin_mark_is_lost_in_silence(pieces in proptest::collection::vec(0..PIECES.len(), 0..24)) {
            let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
            if let Ok(items) = of(text.as_bytes()) {
                proptest::prop_assert_eq!(items.len(), text.matches(BEGIN).count(), "{:?}", text);
            }
        }

        #[test]
        fn whatever_it_is_somebody_says_something(bytes: Vec<u8>, begins in 0..4usize) {
            use crate::tls::pem::{Wanted, foreign};
            let begin: [&[u8]; 4] = [b"", b"\x30\x82", b"-----BEGIN PRIVATE KEY-----\n", b"MIIB"];
            let bytes = [begin[begins], &bytes].concat();
            for wanted in [Wanted::Certificate, Wanted::Root, Wanted::Key, Wanted::List] {
                match of(&bytes) {
                    Ok(items) if items.is_empty() => proptest::prop_assert!(!foreign::what_it_is(&bytes, wanted, "F").is_empty()),
                    Ok(_) => {}
                    Err(fault) => proptest::prop_assert!(!fault.text().is_empty()),
                }
            }
        }
    }
}
