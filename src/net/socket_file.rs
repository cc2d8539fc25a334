//! The files of Unix sockets: who may bind a path, what a file is given, and who removes it.
//!
//! Owns the clearing away of stale sockets, mode and group before a peer can reach the socket, and the removal of the file
//! only while it is still ours (device and inode). Knows nothing of what comes through the socket.

use crate::address::Address;
use crate::error::Error;
use crate::net::uninterrupted;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
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
        if fs::symlink_metadata(&self.path).is_ok_and(|found| self.is(&found)) {
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

    fn is(&self, found: &Metadata) -> bool {
        found.dev() == self.device && found.ino() == self.inode
    }
}

/// Binds to a path: clears a stale socket away, and has `bind` make the socket. In the middle of it, when the file is there
/// and nobody may reach the socket yet, `bind` calls what it is given, which sets mode and group.
pub(crate) fn bind<S>(
    address: &Address,
    path: &Path,
    wanted: &Wanted,
    bind: impl FnOnce(&SockAddr, &mut dyn FnMut() -> io::Result<()>) -> io::Result<S>,
) -> Result<(SocketFile, S), Error> {
    let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
    let at = SockAddr::unix(path).map_err(refused)?;
    // The process may change its directory before the file is removed.
    let whole = std::path::absolute(path).map_err(refused)?;
    // Between bind and listen a socket looks dead: of two who start at once, one waits here.
    let _turn = lock_folder(&whole).map_err(refused)?;
    clear(address, path, &at, wanted.kind)?;
    let mut file = None;
    let socket = bind(&at, &mut || {
        let made = fs::symlink_metadata(path)?;
        let owned = file.insert(SocketFile { path: whole.clone(), device: made.dev(), inode: made.ino() });
        if let Some(group) = wanted.group {
            std::os::unix::fs::lchown(path, None, Some(group))?;
        }
        fs::set_permissions(path, Permissions::from_mode(wanted.mode))?;
        if owned.is(&fs::symlink_metadata(path)?) { Ok(()) } else { Err(io::ErrorKind::AddrInUse.into()) }
    })
    .map_err(refused)?;
    let file = file.ok_or_else(|| refused(io::ErrorKind::NotFound.into()))?;
    Ok((file, socket))
}

/// How often, a millisecond apart, the lock of a folder is asked for; who holds it needs it for microseconds.
const LOCK_TRIES: u32 = 1000;

/// Locks the folder of `path` against others who bind sockets in it, until the descriptor is dropped; flock(2).
fn lock_folder(path: &Path) -> io::Result<Option<fs::File>> {
    // A folder that may be written but not listed cannot be locked; one that is not there is told by the bind.
    let Ok(folder) = fs::File::open(path.parent().unwrap_or(Path::new("/"))) else { return Ok(None) };
    for _ in 0..LOCK_TRIES {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(folder)),
            Err(Errno::WOULDBLOCK) => std::thread::park_timeout(Duration::from_millis(1)),
            Err(Errno::INTR) => {}
            // A file system without locks: nothing can be done about it.
            Err(Errno::NOTSUP | Errno::NOLCK | Errno::INVAL | Errno::NOSYS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "somebody holds a lock on the folder of the socket"))
}

/// Removes a socket at `path` that nobody has open; refuses if anything else is there.
fn clear(address: &Address, path: &Path, at: &SockAddr, socket: Type) -> Result<(), Error> {
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
    let probe = Socket::new(Domain::UNIX, socket, None).map_err(refused)?;
    probe.set_nonblocking(true).map_err(refused)?;
    match uninterrupted(|| probe.connect(at)) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let stale = SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() };
            drop(stale);
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Connected, its backlog full, or of another type: it lives.
        Ok(()) | Err(_) => Err(refused(io::ErrorKind::AddrInUse.into())),
    }
}
