//! The file that bind(2) has just created. It can only be found by its path, where the folder's owner may have put another
//! file or a link since. So it is opened without following links, recognised, and changed through the descriptor.

use crate::net::socket_file::{SocketFile, Wanted, is_own_socket, strange, swapped};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, chownat, fchmod, open};
use socket2::Socket;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Links from descriptors to files, proc(5). Before Linux 6.6 this is the only way to chmod(2) a file that is open with
/// `O_PATH`.
const DESCRIPTORS: &str = "/proc/thread-self/fd";

/// A file without permissions is new: nothing else that is ours has none.
pub(in crate::net) const MARKS_NEW: bool = true;

/// Chooses the permissions that bind(2) creates the file with, minus the umask.
pub(in crate::net) fn mode_before(socket: &Socket, wanted: &Wanted) -> io::Result<Mode> {
    // No permissions at all: they mark the file as new, and nobody can reach it yet. Without /proc (in a chroot) they
    // cannot be changed later, so they are right from the start, and only the group is set a moment later.
    let first = if Path::new(DESCRIPTORS).exists() { 0 } else { wanted.mode };
    let first = Mode::from_raw_mode(first);
    fchmod(socket, first)?;
    Ok(first)
}

pub(in crate::net) fn give(path: &Path, whole: PathBuf, first: Mode, wanted: &Wanted) -> io::Result<SocketFile> {
    let made = fs::symlink_metadata(path)?;
    let mode = Mode::from_raw_mode(made.mode());
    let is_new = made.file_type().is_socket() && made.nlink() == 1 && first.contains(mode);
    let owned = SocketFile::new(whole, &made);
    if !is_new || !is_own_socket(&made) {
        // Without permissions it is ours, or that of somebody who could have removed ours. Any other one may be needed.
        if !is_new || !mode.is_empty() {
            owned.keep();
        }
        return Err(strange(&made, first.as_raw_mode()));
    }
    let file = File::from(open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?);
    if !owned.is(&file.metadata()?) {
        return Err(swapped());
    }
    if let Some(group) = wanted.group {
        chownat(&file, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH)?;
    }
    if mode.as_raw_mode() != wanted.mode {
        if first.as_raw_mode() == wanted.mode {
            let why = "the umask takes permissions off the socket's file, and without /proc they cannot be given back";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        let link = format!("{DESCRIPTORS}/{}", file.as_raw_fd());
        fs::set_permissions(link, Permissions::from_mode(wanted.mode))?;
    }
    if owned.is_at(path) { Ok(owned) } else { Err(swapped()) }
}
