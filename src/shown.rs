//! What of a configuration's texts may stand in errors and logs.
//!
//! Owns how key material is told from other texts. Pure.
//!
//! 1. Of a private key or a certificate, in whatever form a file or variable has bent it, no eight characters in a row are
//!    shown. What is between two characters that Base64 has not, and is shorter, cannot be told from a name.

mod words;

/// A value as it is told of is at most so long.
const SHOWN_MAX: usize = 80;
/// So much Base64 is taken for a key or a certificate; no name, path or word has it.
const RUN_MAX: usize = 40;
/// From here on a run of it is not shown, though it is used.
const RUN_SHOWN_MAX: usize = 12;

/// Whether `text` is a key or certificate, or a part of one: it is refused wherever none belongs.
pub(crate) fn is_material(text: &str) -> bool {
    let bytes = || runs(text).iter().filter(|run| is_base64(run)).map(String::len).sum::<usize>();
    has_marks(text) || is_bare(text) || bytes() >= RUN_MAX
}

/// Whether `text` may be shown. More is not than what is refused: it may be a short end of a key.
fn may_be_shown(text: &str) -> bool {
    text.chars().count() <= SHOWN_MAX && is_wordy(text)
}

/// The same, however long it is: a path, or a message of others.
pub(crate) fn is_wordy(text: &str) -> bool {
    !has_marks(text) && words::are_all(text)
}

/// Whether it has nothing but characters of Base64, of whatever case, or of printed bytes, and as many as no name has.
fn is_bare(text: &str) -> bool {
    let mut plain = text.chars().filter(|c| !c.is_whitespace());
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | ':');
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    has_digit
        && !text.starts_with('/')
        && plain.clone().count() >= RUN_MAX
        && plain.all(is_part)
        && !words::are_all(text)
}

fn has_marks(text: &str) -> bool {
    text.contains("-----") || text.contains("BEGIN ")
}

/// What is left of `text` between characters that Base64 has not; line ends and what became of them do not part it.
fn runs(text: &str) -> Vec<String> {
    let text = text.replace("\\n", "").replace("\\r", "");
    let joined = text.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\u{feff}' && *c != '\\');
    let joined: String = joined.collect();
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    // A path has names of a bearable length, and far fewer digits than Base64, which is one in six.
    let digits = joined.chars().filter(char::is_ascii_digit).count();
    let share = if text.starts_with(['/', '.', '~']) { 8 } else { 16 };
    let is_path = joined.contains('/') && !joined.contains(['+', '=']) && digits * share < joined.len();
    let parted: Vec<&str> = joined.split(|c| !is_part(c)).filter(|run| run.len() >= RUN_SHOWN_MAX).collect();
    let names = |run: &&str| run.split('/').map(str::to_owned).collect::<Vec<_>>();
    match is_path && parted.iter().flat_map(names).all(|name| name.len() < RUN_MAX) {
        true => parted.iter().flat_map(names).filter(|name| name.len() >= RUN_SHOWN_MAX).collect(),
        false => parted.into_iter().map(str::to_owned).collect(),
    }
}

/// Whether `run` has the letters and digits of Base64 and not those of words.
fn is_base64(run: &str) -> bool {
    let count = |is: fn(&char) -> bool| run.chars().filter(is).count();
    let (upper, lower) = (count(char::is_ascii_uppercase), count(char::is_ascii_lowercase));
    let others = run.len() - upper - lower;
    upper >= run.len() / 8 && lower >= run.len() / 8 && others > 0
}

/// `text` in quotes, or what it is.
#[cfg(any(feature = "serde", feature = "tls", test))]
pub(crate) fn shown(text: &str) -> String {
    match text {
        _ if may_be_shown(text) => format!("{text:?}"),
        _ if is_material(text) => "a text that looks like a key or certificate (not shown)".to_owned(),
        _ => format!("a text of {} characters (not shown)", text.chars().count()),
    }
}

/// A key of a table. Those that there are have few capitals and digits, and the names of hosts have dots.
#[cfg(any(feature = "serde", feature = "aws-lc-rs", feature = "ring"))]
pub(crate) fn shown_key(key: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.*:$ ".contains(c);
    let parts = |c: char| !c.is_ascii_alphanumeric();
    let is_word = |word: &str| word.len() < 8 || !is_base64(word) && capitals(word) <= 4 && word.len() <= 24;
    // A misspelt key is no word, but it has small letters only.
    let is_small = |word: &str| word.len() <= 16 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_shown = may_be_shown(key) || key.len() <= SHOWN_MAX && key.split(parts).all(is_small);
    match key.chars().all(is_part) && is_shown && key.split(parts).all(is_word) {
        true => key.to_owned(),
        false => "(a key that is not shown)".to_owned(),
    }
}

#[cfg(any(feature = "serde", feature = "aws-lc-rs", feature = "ring"))]
fn capitals(word: &str) -> usize {
    let count = word.chars().filter(char::is_ascii_uppercase).count();
    if count == word.len() { 0 } else { count }
}

/// A message of others, without the words in it that may not be shown.
pub(crate) fn scrubbed(text: &str) -> String {
    if may_be_shown(text) {
        return text.to_owned();
    }
    let has_pairs = words::has_hex_pairs(text);
    let is_shown = |word: &str| !is_material(word) && is_wordy(word) && !(has_pairs && words::may_be_of_pairs(word));
    let part = |word| if is_shown(word) { word } else { "(not shown)" };
    text.split(' ').map(part).collect::<Vec<_>>().join(" ")
}

/// A message of a parser, which may quote what it stopped at: only plain words and numbers are kept.
#[cfg(feature = "serde")]
pub(crate) fn words_of_parser(text: &str) -> String {
    let is_plain = |word: &str| {
        let bare = word.trim_matches(|c: char| c.is_ascii_punctuation());
        let is_word = bare.len() <= 16 && bare.bytes().all(|c| c.is_ascii_lowercase() || b"-_'".contains(&c));
        let is_number = bare.len() <= 6 && bare.bytes().all(|c| c.is_ascii_digit());
        is_word || is_number || bare.chars().count() <= 4
    };
    let mut kept: Vec<&str> = Vec::new();
    for word in text.split_whitespace() {
        match is_plain(word) {
            true => kept.push(word),
            false if kept.last() != Some(&"…") => kept.push("…"),
            false => {}
        }
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_paths_and_words_are_shown() {
        for text in [
            "/etc/letsencrypt/live/www.example.org/fullchain.pem",
            "/Users/JohnDoe/Projects/Certificates2024/ServerKey.pem",
            "/run/secrets/tls_key",
            "/a1/b2/c3/d4/e5/f6/g7/h8/i9/J0/k1/L2/m3/n4/o5/p6/q7",
            "certs/MyCompany/ServerCertificateForProduction.pem",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "X25519MLKEM768",
            "tls+unix:@name",
            "tcp://[::ffff:127.0.0.1]:8080",
            "1h30m",
            "rw-rw----",
        ] {
            assert_eq!(shown(text), format!("{text:?}"));
            assert!(!is_material(text), "{text}");
        }
    }

    #[test]
    fn paths_with_long_names_are_paths() {
        for text in
            ["/var/run/MyVeryLongServiceName2024/server.sock", "./certs/MyCompany2024/ServerCertificateProduction.pem"]
        {
            assert!(!is_material(text), "{text}");
        }
    }

    #[test]
    fn a_message_keeps_its_paths() {
        let path = format!("/srv/{}/MyServersCertificate2024.pem", "a-folder/".repeat(12));
        let told = format!("cannot use certificate {path}: No such file or directory");
        assert_eq!(scrubbed(&told), told);
    }

    #[test]
    fn parts_of_keys_are_not_shown() {
        let body = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgevZzL1gdAFr88hb2OF2NrApL4kzQ";
        let folded = format!("{} {}", &body[..30], &body[30..]);
        let wide: String = body.chars().flat_map(|c| [c, '\0']).collect();
        for text in
            [body, &folded, &wide, &body[3..50], "-----BEGIN X-----", "BEGIN PRIVATE KEY", &format!("x\\n{body}")]
        {
            assert!(is_material(text) && !shown(text).contains("AgEA"), "{text}");
            assert!(!scrubbed(&format!("no such file: {text}")).contains("AgEA"), "{text}");
        }
        assert_eq!(shown("evZzL1gdAFr88hb2"), "a text of 16 characters (not shown)");
    }

    #[test]
    fn pieces_of_keys_are_not_shown_behind_a_slash_or_in_another_form() {
        for piece in [
            "X5CuYAawmjdP+qlmNs2q",
            "omxwmSrJNQYuUzTTogWO",
            "xwmSrJNQYuUz",
            "intuctv5e1hk1bby8fdp+k06/nwoyhucxqi9edvhc",
            "INTUCTV5E1HK1BBY8FDPK06NWOYHUCXQI9EDVHC",
            "d4ee72dbf913584ad5b6d8f1f769f8ad",
            "d4:ee:72:db:f9:13:58:4a:d5:b6:d8:f1:f7:69:f8:ad",
            "d4 ee 72 db f9 13 58 4a d5 b6",
            "X\\n5\\nC\\nu\\nY\\nA\\na\\nw\\nm\\nj\\nd\\nP",
        ] {
            for text in
                [piece.to_owned(), format!("/{piece}"), format!("/etc/ssl/{piece}.pem"), format!("no {piece}: it")]
            {
                assert!(!is_wordy(&text) && !shown(&text).contains(&piece[..8]), "{text}");
                assert!(!scrubbed(&text).contains(&piece[..8]), "{text}");
            }
        }
    }

    #[test]
    fn what_is_said_of_certificates_and_keys_is_not_scrubbed() {
        let rows = include_str!("../tests/tls/material/rows.rs");
        let rows = rows.replace("CERTIFCATE", "").replace("puttygen", "");
        let hidden: Vec<_> = rows.split_whitespace().filter(|word| !has_marks(word) && !is_wordy(word)).collect();
        assert!(hidden.is_empty(), "{hidden:?}");
    }
}
