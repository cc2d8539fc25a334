//! Which texts that were given for a path may be shown.
//!
//! A key that lost its newlines or its marks is taken for a path, and its text must not get into a log. What it looks like
//! decides: names are made of words, Base64 is not.

use std::path::Path;

/// Longer than any path that the system takes.
const PATH_BYTES_MAX: usize = 4096;

/// Below this it holds no key: the shortest, of Ed25519, has 64 characters in Base64, and half of one has 32.
const KEY_CHARS_MIN: usize = 24;

/// The same for a text without any dot, and not from the root: the last line of a key may have no more.
const LINE_CHARS_MIN: usize = 16;

/// A run of letters and digits of this length is looked at by itself.
const RUN_CHARS_MIN: usize = 16;

/// Letters and digits to a word: in Base64 case or kind change after 2.2 characters, in names after 4 and more.
const PER_WORD_MIN: usize = 3;
const PER_WORD_MIN_IN_A_RUN: usize = 6;

/// In Base64 every second letter is a capital one, in names every fifth.
const CAPITALS_SHARE: usize = 3;

/// No name has so many letters and digits, small and capital, without anything between: what DER has at its beginning looks
/// more like words than keys do.
const RUN_CHARS_MAX: usize = 40;

/// As many hexadecimal digits in a row are a key or a digest.
const HEX_DIGITS_MAX: usize = 63;

/// Whether it looks like a path.
pub(super) fn may_be(path: &Path) -> bool {
    path.to_str().is_some_and(is_wordy)
}

/// Whether its folder is there and its last name is plainly no secret; that much of a key is no folder.
pub(super) fn is_known(path: &Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return false;
    };
    // Every text without a slash has the working directory for its folder, and 1 in 64 keys begins with one.
    parent.components().count() > 1 && is_wordy(name) && parent.is_dir()
}

/// What is said in its place.
pub(super) fn instead_of(path: &Path) -> String {
    format!("a text of {} bytes that is no file's name", path.as_os_str().len())
}

/// For a command line.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn is_wordy(text: &str) -> bool {
    if text.len() > PATH_BYTES_MAX || text.contains(char::is_control) || text.contains("---") || text.contains("\\n") {
        return false;
    }
    let runs = || text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| !run.is_empty());
    if runs().any(|run| run.len() > HEX_DIGITS_MAX && run.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return false;
    }
    let count: usize = runs().map(str::len).sum();
    let has_both =
        |text: &str| text.contains(|c: char| c.is_ascii_uppercase()) && text.contains(|c: char| c.is_ascii_lowercase());
    // A path of any length has a dot, or begins at the root or at a folder: Base64 has no dot.
    let is_placed = text.contains('.') || text.starts_with(['/', '~']);
    if count < if is_placed { KEY_CHARS_MIN } else { LINE_CHARS_MIN } || !has_both(text) {
        return true;
    }
    let is_run = |run: &str| {
        let letters = run.bytes().filter(u8::is_ascii_alphabetic).count();
        let capitals = run.bytes().filter(u8::is_ascii_uppercase).count();
        let is_mixed = capitals * CAPITALS_SHARE > letters || run.len() < PER_WORD_MIN_IN_A_RUN * words(run);
        has_both(run) && (run.len() >= RUN_CHARS_MAX || run.len() >= RUN_CHARS_MIN && is_mixed)
    };
    // What may be Base64, slashes and all.
    let is_stretch = |stretch: &str| {
        let runs = || stretch.split(['+', '/', '=']).filter(|run| !run.is_empty());
        let count: usize = runs().map(str::len).sum();
        count >= KEY_CHARS_MIN && has_both(stretch) && count < PER_WORD_MIN * runs().map(words).sum::<usize>()
    };
    let mut stretches = text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c));
    is_placed && !runs().any(is_run) && !stretches.any(is_stretch)
}

/// `DigiCertRoot2` has four.
fn words(run: &str) -> usize {
    let mut last = None;
    let mut words = 0;
    for kind in run.bytes().map(|byte| (byte.is_ascii_digit(), byte.is_ascii_uppercase())) {
        let goes_on = match (last, kind) {
            (None, _) => false,
            (Some(last), kind) if last == kind => true,
            // A capital goes before small letters.
            (Some((false, true)), (false, false)) => true,
            _ => false,
        };
        words += usize::from(!goes_on);
        last = Some(kind);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_shown() {
        for path in [
            "cert.pem",
            "tls.key",
            "/etc/letsencrypt/live/www.example.org/fullchain.pem",
            "/etc/ssl/certs/DigiCert_Global_Root_G2.pem",
            "/etc/ssl/A1.pem",
            "/home/Alice/Projects/MyServer2/certs/server.key",
            "/run/secrets/tls_key",
            "../certs/ISRG_Root_X1.crt",
            "C/Users/x.pem",
            "/var/lib/kubelet/pods/6f1b0e1c-5a0d-4c52-9f55-2f3f1f0a8f33/volumes/tls/tls.crt",
            "/nix/store/5lzd0k3xnqvvhv0pcqdq3cd0a8s5z1gd-cacert/etc/ssl/certs/ca-bundle.crt",
            "/tmp/.tmpAbC1x9/chain.pem",
            "",
        ] {
            assert!(may_be(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn what_looks_like_a_key_is_not() {
        for text in [
            "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
            "INTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC",
            "/INTuctv5E1hK1bbY8fdpK06nwoyHUCXqI9EdVhC",
            "/tmp/.tmpYQVPvT/MDBaMA8xDTALBgNVBAMMBGxlYWYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARJ",
            "/etc/ssl/DTALBgNVBAMMBGxlYWYwWTATBgcq",
            "\"MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp\".pem",
            "MC4CAQAwBQYDK2VwBCIE.INTuctv5E1hK1bbY8fdp",
            "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1DNENBUUF3QlFZREsyVndCQ0lFSU5UdQ==",
            "-----BEGIN PRIVATE KEY-----",
            "one\ntwo",
            "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
        ] {
            assert!(!may_be(Path::new(text)), "{text}");
            assert!(!instead_of(Path::new(text)).contains(&text[..4]));
        }
    }
}
