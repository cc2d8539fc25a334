//! The files of Unix sockets: who may bind a path, what a file is given, and who removes it.
//!
//! Owns the clearing away of stale sockets, mode and group before a peer can reach the socket, and the removal of the file
//! only while it is still ours (device and inode). Knows nothing of what comes through the socket.
//!
//! 1. The folder may belong to a hostile user, who can replace our files at any moment. So only our own new socket ever gets
//!    another mode or group, and we never wait for a lock that another user could hold.

use crate::address::Address;
use crate::error::Error;
use crate::net::system::{FULL_LOOKS_DEAD, made};
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

    pub(super) fn new(path: PathBuf, made: &Metadata) -> SocketFile {
        SocketFile { path, device: made.dev(), inode: made.ino() }
    }

    /// Whether it is what `path` leads to.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|found| self.is(&found))
    }

    pub(super) fn is(&self, found: &Metadata) -> bool {
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
    let cx = FolderLock::take(&whole).map_err(refused)?;
    clear(address, path, &at, wanted, cx.as_ref())?;
    let bound = made::mode_before(socket, wanted).and_then(|first| {
        socket.bind(&at)?;
        made::give(path, whole, first, wanted)
    });
    let file = bound.map_err(refused)?;
    finish().map_err(refused)?;
    Ok(file)
}

/// Whether a file is a socket that belongs to this user.
pub(super) fn is_own_socket(found: &Metadata) -> bool {
    found.file_type().is_socket() && found.uid() == geteuid().as_raw()
}

/// Somebody else has written to the folder.
pub(super) fn swapped() -> io::Error {
    io::Error::new(
        io::ErrorKind::AddrInUse,
        "the new socket's file was replaced before its mode was set; check who may write to the folder",
    )
}

/// What is at the path of the new socket is not as it was made.
pub(super) fn strange(found: &Metadata, mode: u32) -> io::Error {
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
fn clear(address: &Address, path: &Path, at: &SockAddr, wanted: &Wanted, cx: Option<&FolderLock>) -> Result<(), Error> {
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
            if FULL_LOOKS_DEAD && is_held(at, wanted.kind) {
                return Err(refused(io::ErrorKind::AddrInUse.into()));
            }
            if !is_own_socket(&found) {
                return Err(taken("a dead socket of another user"));
            }
            drop(SocketFile::new(path.to_owned(), &found));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_abandoned(&found, wanted, cx) => {
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

/// Whether somebody has the socket open at `at`, though a connect from a socket of `kind` was refused: one of another kind is
/// then told that the kinds differ.
fn is_held(at: &SockAddr, kind: Type) -> bool {
    let other = if kind == Type::DGRAM { Type::STREAM } else { Type::DGRAM };
    let told = Socket::new(Domain::UNIX, other, None).and_then(|probe| {
        probe.set_nonblocking(true)?;
        uninterrupted(|| probe.connect(at))
    });
    !matches!(told, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether the socket is what a process of this user left that was killed between bind(2) and its mode. With the lock nobody
/// is there now, and no socket of ours stays without permissions unless that is what was asked for.
fn is_abandoned(found: &Metadata, wanted: &Wanted, cx: Option<&FolderLock>) -> bool {
    let may_be = made::MARKS_NEW && wanted.mode != 0 && cx.is_some();
    may_be && is_own_socket(found) && found.mode() & 0o7777 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_held_by_whoever_has_it_open_whether_or_not_it_accepts() {
        let folder = tempfile::tempdir().expect("a folder");
        for kind in [Type::STREAM, Type::DGRAM] {
            let at = SockAddr::unix(folder.path().join(format!("{kind:?}"))).expect("an address");
            let held = Socket::new(Domain::UNIX, kind, None).expect("a socket");
            held.bind(&at).expect("bound");
            assert!(is_held(&at, kind), "{kind:?}");
            if kind == Type::STREAM {
                held.listen(0).expect("listens");
                let peers: Vec<Socket> =
                    (0..3).map(|_| Socket::new(Domain::UNIX, kind, None).expect("a peer")).collect();
                for peer in &peers {
                    peer.set_nonblocking(true).expect("non-blocking");
                    let _ = peer.connect(&at);
                }
                assert!(is_held(&at, kind), "full");
            }
            drop(held);
            assert!(!is_held(&at, kind), "{kind:?}");
        }
    }
}
