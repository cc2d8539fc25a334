//! Reading files of certificates and keys: each once for one decision, and not without end.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a file held, or why it could not be read.
pub(super) type Contents = Result<Vec<u8>, Unread>;

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread {
    kind: ErrorKind,
    pub(super) text: String,
}

/// The files that one decision has read. What is named twice, by a link too, is read once: between two readings it may
/// have been replaced, and a pipe gives what it holds only once. Two hard links are two files.
#[derive(Default)]
pub(crate) struct Files {
    named: HashMap<PathBuf, Arc<Contents>>,
    /// By its path without links; not by the number of its inode, which a file that replaces one may have again.
    found: HashMap<PathBuf, Arc<Contents>>,
}

/// Roots of all public issuers take a quarter of a megabyte, the largest revocation lists some ten; a file without an end,
/// such as a device, has more than this.
const BYTES_MAX: u64 = 64 << 20;

impl Files {
    pub(super) fn read(&mut self, path: &Path) -> Arc<Contents> {
        if let Some(contents) = self.named.get(path) {
            return contents.clone();
        }
        // What has no such path, as a pipe in /proc/self/fd, goes by its name alone.
        let plain = std::fs::canonicalize(path).ok();
        let known = plain.as_ref().and_then(|plain| self.found.get(plain)).cloned();
        let contents = known.unwrap_or_else(|| Arc::new(read(path)));
        if let Some(plain) = plain {
            self.found.insert(plain, contents.clone());
        }
        self.named.insert(path.to_owned(), contents.clone());
        contents
    }
}

pub(super) fn read(path: &Path) -> Contents {
    let failed = |error: std::io::Error| {
        let text = match error.kind() {
            ErrorKind::IsADirectory => "it is a directory; name a file in it".to_owned(),
            ErrorKind::PermissionDenied => {
                format!("{error}; let the user that this program runs as read it, and enter its directories")
            }
            _ => error.to_string(),
        };
        Unread { kind: error.kind(), text }
    };
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(failed)?.take(BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > BYTES_MAX {
        let text = "it has more than 64 MiB; name another file".to_owned();
        return Err(Unread { kind: ErrorKind::FileTooLarge, text });
    }
    Ok(bytes)
}

/// Whether there surely is such a file.
pub(super) fn is_there(contents: &Contents) -> bool {
    contents.as_ref().map_or_else(is_there_after, |_| true)
}

fn is_there_after(failed: &Unread) -> bool {
    matches!(failed.kind, ErrorKind::IsADirectory | ErrorKind::FileTooLarge)
}

impl Unread {
    /// Nobody knows whether there is such a file: the text may be a key behind the name of a folder.
    pub(super) fn is_denied(&self) -> bool {
        self.kind == ErrorKind::PermissionDenied
    }
}
