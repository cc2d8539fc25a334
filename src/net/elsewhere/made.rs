//! The file that bind(2) has just created. Without `O_PATH` it is changed by its path: a link is not followed, but another
//! file of ours could be hit. A stream socket listens only later; a datagram socket can be reached before, by whom the umask
//! lets.

use crate::net::socket_file::{SocketFile, Wanted, is_own_socket, strange, swapped};
use rustix::fs::{AtFlags, CWD, Gid, Mode, chmodat, chownat};
use socket2::Socket;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A new file has the permissions that the umask leaves.
pub(in crate::net) const MARKS_NEW: bool = false;

/// The permissions that bind(2) creates the file with cannot be chosen here.
pub(in crate::net) fn mode_before(_: &Socket, _: &Wanted) -> io::Result<()> {
    Ok(())
}

pub(in crate::net) fn give(path: &Path, whole: PathBuf, (): (), wanted: &Wanted) -> io::Result<SocketFile> {
    let made = fs::symlink_metadata(path)?;
    if !is_own_socket(&made) {
        return Err(strange(&made, made.mode()));
    }
    let owned = SocketFile::new(whole, &made);
    if let Some(group) = wanted.group {
        chownat(CWD, path, None, Some(Gid::from_raw(group)), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    chmodat(CWD, path, Mode::from_raw_mode(wanted.mode as _), AtFlags::SYMLINK_NOFOLLOW)?;
    if owned.is_at(path) { Ok(owned) } else { Err(swapped()) }
}
