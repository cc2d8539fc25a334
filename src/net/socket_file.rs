//! The files of Unix sockets: who may bind a path, what a file is given, and who removes it.
//!
//! Owns the clearing away of stale sockets, mode and group before a peer can reach the socket, and the removal of the file
//! only while it is still ours (device and inode). Knows nothing of what comes through the socket.
//!
//! 1. The folder may belong to a hostile user, who can replace our files at any moment. So only our own new socket ever gets
//!    another mode or group, and we never wait for a lock that another user could hold.

use crate::address::Address;
use crate::error::Error;
use crate::net::uninterrupted;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the file of a socket is to be.
pub(crate) struct Wanted {
    pub(crate) kind: Type,
    pub(crate) mode: u32,
    pub(crate) group: Option<u32>,
}

/// The file of a Unix socket that this process made; dropping it removes the file if it is still the same one.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_at(&self.path) {
            // If it fails, the next starter finds a stale socket and removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SocketFile {
    /// Leaves the file to somebody else.
    pub(crate) fn keep(mut self) {
        self.path = PathBuf::new();
    }

    fn new(path: PathBuf, made: &Metadata) -> SocketFile {
        SocketFile { path, device: made.dev(), inode: made.ino() }
    }

    /// Whether it is what `path` leads to.
    fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| self.is(&found))
    }

    fn is(&self, found: &Metadata) -> bool {
        found.dev() == self.device && found.ino() == self.inode
    }
}

/// Binds `socket` to a path, whose stale socket it clears away. The file exists without permissions until it has its group
/// and mode; then `finish` is called, which is where a stream socket listens.
pub(crate) fn bind(
    address: &Address,
    path: &Path,
    wanted: &Wanted,
    socket: &Socket,
    finish: impl FnOnce() -> io::Result<()>,
) -> Result<SocketFile, Error> {
    let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
    let at = SockAddr::unix(path).map_err(refused)?;
    // The process may change its directory before the file is removed.
    let whole = std::path::absolute(path).map_err(refused)?;
    // Between bind and listen a socket looks dead: of two who start at once, one waits here.
    let turn = FolderLock::take(&whole).map_err(refused)?;
    clear(address, path, &at, wanted, turn.as_ref())?;
    let bound = made::mode_before(socket, wanted).and_then(|first| {
        socket.bind(&at)?;
        made::give(path, whole, first, wanted)
    });
    let file = bound.map_err(refused)?;
    finish().map_err(refused)?;
    Ok(file)
}

/// The file that bind(2) has just created. It can only be found by its path, where the folder's owner may have put another
/// file or a link since. So it is opened without following links, recognised, and changed through the descriptor.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod made {
    use super::{SocketFile, Wanted, is_own_socket, strange, swapped};
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

    /// Chooses the permissions that bind(2) creates the file with, minus the umask.
    pub(super) fn mode_before(socket: &Socket, wanted: &Wanted) -> io::Result<Mode> {
        // No permissions at all: they mark the file as new, and nobody can reach it yet. Without /proc (in a chroot) they
        // cannot be changed later, so they are right from the start, and only the group is set a moment later.
        let first = if Path::new(DESCRIPTORS).exists() { 0 } else { wanted.mode };
        let first = Mode::from_raw_mode(first);
        fchmod(socket, first)?;
        Ok(first)
    }

    pub(super) fn give(path: &Path, whole: PathBuf, first: Mode, wanted: &Wanted) -> io::Result<SocketFile> {
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
                let why =
                    "the umask takes permissions off the socket's file, and without /proc they cannot be given back";
                return Err(io::Error::new(io::ErrorKind::Unsupported, why));
            }
            let link = format!("{DESCRIPTORS}/{}", file.as_raw_fd());
            fs::set_permissions(link, Permissions::from_mode(wanted.mode))?;
        }
        if owned.is_at(path) { Ok(owned) } else { Err(swapped()) }
    }
}

/// Without `O_PATH` the change is made by path. A link is not followed, but another file of ours could be hit.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod made {
    use super::{SocketFile, Wanted, is_own_socket, strange, swapped};
    use rustix::fs::{AtFlags, CWD, Gid, Mode, chmodat, chownat};
    use socket2::Socket;
    use std::fs;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    /// The permissions that bind(2) creates the file with cannot be chosen here.
    pub(super) fn mode_before(_: &Socket, _: &Wanted) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn give(path: &Path, whole: PathBuf, (): (), wanted: &Wanted) -> io::Result<SocketFile> {
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
}

/// Whether a file is a socket that belongs to this user.
fn is_own_socket(found: &Metadata) -> bool {
    found.file_type().is_socket() && found.uid() == geteuid().as_raw()
}

/// Somebody else has written to the folder.
fn swapped() -> io::Error {
    io::Error::new(
        io::ErrorKind::AddrInUse,
        "the new socket's file was replaced before its mode was set; check who may write to the folder",
    )
}

/// What is at the path of the new socket is not as it was made.
fn strange(found: &Metadata, mode: u32) -> io::Error {
    let kind = match found.file_type().is_socket() {
        true if found.nlink() == 1 => "a socket",
        true => "a socket with several names",
        false => "something else",
    };
    let (owner, has, own) = (found.uid(), found.mode() & 0o7777, geteuid().as_raw());
    let why = format!(
        "in the place of the new socket's file is {kind} of user {owner} with mode {has:03o}, where user {own} and mode \
         {mode:03o} were to be; either somebody has replaced it (check who may write to the folder), or this file system \
         gives files another owner or mode (NFS with root_squash, 9p, FUSE; choose another folder)",
        mode = mode & 0o7777
    );
    io::Error::new(io::ErrorKind::AddrInUse, why)
}

/// A lock that one user's processes take in turn to bind in a folder: a file that nobody else can open, and therefore nobody
/// else can lock; flock(2). The file exists only while the lock is held.
struct FolderLock {
    /// Dropped first: the file is removed while the lock is still held. A file left behind by a crash does no harm.
    _made: SocketFile,
    _held: File,
}

impl FolderLock {
    /// Attempts, a millisecond apart. A holder needs microseconds.
    const TRIES: u32 = 1000;

    /// Writable by the owner and nothing else, which hardly any other file is: a file that somebody moves here is not taken
    /// for the lock.
    const MODE: u16 = 0o200;

    /// Waits until no other process or thread of this user binds in the folder of `socket`. Returns `None` if there can be no
    /// lock: the folder is not writable (bind(2) reports that), or something else occupies the lock's path.
    fn take(socket: &Path) -> io::Result<Option<FolderLock>> {
        let path = socket.with_file_name(format!(".windlass-{}.lock", geteuid().as_raw()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(FolderLock::MODE.into());
        for _ in 0..FolderLock::TRIES {
            let Ok(file) = rustix::fs::open(&path, flags | OFlags::NOCTTY, mode).map(File::from) else {
                return Ok(None);
            };
            let found = file.metadata()?;
            if !FolderLock::is(&found) {
                return Ok(None);
            }
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let made = SocketFile::new(path.clone(), &found);
                    // Otherwise the previous holder has removed it: try again with a new file.
                    if made.is_at(&path) {
                        return Ok(Some(FolderLock { _made: made, _held: file }));
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => std::thread::park_timeout(Duration::from_millis(1)),
                // A file system without locks.
                Err(_) => return Ok(None),
            }
        }
        let why =
            format!("another process of this user has been binding there for a second; it holds {}", path.display());
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    /// Whether a file is this user's lock; its holder may have removed it already.
    fn is(found: &Metadata) -> bool {
        let is_plain = found.is_file() && found.len() == 0 && found.nlink() <= 1;
        is_plain && found.uid() == geteuid().as_raw() && found.mode() & 0o7777 & !u32::from(FolderLock::MODE) == 0
    }
}

/// Removes a socket at `path` that nobody has open; refuses if anything else is there.
fn clear(
    address: &Address,
    path: &Path,
    at: &SockAddr,
    wanted: &Wanted,
    turn: Option<&FolderLock>,
) -> Result<(), Error> {
    let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
    let taken = |what| Error::PathTaken { address: Box::new(address.clone()), what };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refused(error)),
    };
    let kind = found.file_type();
    if !kind.is_socket() {
        return Err(taken(match () {
            () if kind.is_symlink() => "a symbolic link",
            () if kind.is_dir() => "a directory",
            () if kind.is_file() => "a file",
            () => "something that is not a socket",
        }));
    }
    let probe = Socket::new(Domain::UNIX, wanted.kind, None).map_err(refused)?;
    probe.set_nonblocking(true).map_err(refused)?;
    match uninterrupted(|| probe.connect(at)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if !is_own_socket(&found) {
                return Err(taken("a dead socket of another user"));
            }
            drop(SocketFile::new(path.to_owned(), &found));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_abandoned(&found, wanted, turn) => {
            drop(SocketFile::new(path.to_owned(), &found));
            Ok(())
        }
        // It may be alive or dead: connecting takes write permission.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_own_socket(&found) => {
            Err(taken("a socket, dead or alive, whose mode does not let this user connect,"))
        }
        // Connected, its backlog full, or of another type: it lives.
        Ok(()) | Err(_) => Err(refused(io::ErrorKind::AddrInUse.into())),
    }
}

/// Whether the socket is what a process of this user left that was killed between bind(2) and its mode. With the lock nobody
/// is there now, and no socket of ours stays without permissions unless that is what was asked for.
fn is_abandoned(found: &Metadata, wanted: &Wanted, turn: Option<&FolderLock>) -> bool {
    let may_be = cfg!(any(target_os = "linux", target_os = "android")) && wanted.mode != 0 && turn.is_some();
    may_be && is_own_socket(found) && found.mode() & 0o7777 == 0
}
