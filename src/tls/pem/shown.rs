//! Which texts that were given for a path may be shown.
//!
//! A key that lost its newlines or its marks is taken for a path, and its text must not get into a log. What it looks like
//! decides, and what there is: a folder that exists is no part of a key.

use crate::shown::is_wordy;
use std::path::{Component, Path};

/// Longer than any path that the system takes.
const PATH_BYTES_MAX: usize = 4096;

/// What may be shown of a name that is not shown.
const EXTENSIONS: [&str; 13] =
    ["pem", "crt", "cer", "cert", "key", "crl", "der", "csr", "p7b", "p12", "pfx", "jks", "txt"];

/// Whether it looks like a path.
pub(super) fn may_be(path: &Path) -> bool {
    path.to_str().is_some_and(is_shown)
}

/// Whether what is behind its existing folders looks like names.
pub(super) fn is_known(path: &Path) -> bool {
    let rest = folder(path).and_then(|folder| path.strip_prefix(folder).ok());
    rest.is_some_and(may_be)
}

/// Its existing folder, and its extension; `None` if there is no such folder. A key may begin with a slash, so the root is
/// none.
pub(super) fn in_part(path: &Path) -> Option<String> {
    let folder = folder(path)?;
    let extension = path.extension().and_then(|extension| extension.to_str());
    let extension = extension.filter(|extension| EXTENSIONS.contains(extension));
    let dot = if extension.is_some() { "." } else { "" };
    Some(format!("{}/…{dot}{}", folder.display(), extension.unwrap_or_default()))
}

/// The last of its folders that there is.
fn folder(path: &Path) -> Option<&Path> {
    let is_named = |folder: &&Path| folder.components().any(|part| matches!(part, Component::Normal(_)));
    let is_short = path.as_os_str().len() <= PATH_BYTES_MAX;
    path.ancestors().skip(1).take_while(is_named).filter(|_| is_short).find(|folder| folder.is_dir())
}

/// What is said in its place.
pub(super) fn instead_of(path: &Path) -> String {
    format!("a text of {} bytes that is not shown, as it may be a key", path.as_os_str().len())
}

/// For a command line.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn is_shown(text: &str) -> bool {
    text.len() <= PATH_BYTES_MAX && !text.contains(char::is_control) && !text.contains("\\n") && is_wordy(text)
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
            "MyServerCertificate",
            "certs/MyServerCertificate",
            "secrets/TLSServerKey2024",
            "/etc/ssl/certs/GlobalSignECCRootCAR5.pem",
            "/etc/pki/tls/private/MYCOMPANYProdWildcardKEY2024.key",
            "/etc/certs/a---b.pem",
            "/tmp/.tmpAbC1x9/chain.pem",
            "",
        ] {
            assert!(may_be(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn of_a_name_that_is_not_shown_its_folder_and_extension_are() {
        let folder = std::env::temp_dir();
        let digest = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
        for (name, shown) in
            [(format!("{digest}.pem"), "….pem"), (digest.to_owned(), "…"), (format!("a.{digest}"), "…")]
        {
            let path = folder.join(name);
            assert!(!is_known(&path), "{}", path.display());
            assert_eq!(in_part(&path).as_deref().map(Path::new), Some(&*folder.join(shown)));
        }
        assert_eq!(in_part(Path::new(&format!("/{digest}.pem"))), None);
        assert_eq!(in_part(Path::new(digest)), None);
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
            // A digest, as Nix has it in names; shown where the folder exists.
            "/nix/store/5lzd0k3xnqvvhv0pcqdq3cd0a8s5z1gd-cacert/etc/ssl/certs/ca-bundle.crt",
            "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842",
        ] {
            assert!(!may_be(Path::new(text)), "{text}");
            assert!(!instead_of(Path::new(text)).contains(&text[..4]));
        }
    }
}
