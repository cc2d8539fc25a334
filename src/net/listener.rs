//! Listening sockets: TCP and Unix as one, with the care of Unix socket files.
//!
//! Owns the order of bind, permissions and listen, so that no peer can connect before mode and group are set, and the
//! removal of the file only while it is still ours (device and inode). Knows nothing of connections.

use crate::address::{Address, Family};
use crate::config::{ListenConfig, Reuse, Stack};
use crate::error::Error;
use crate::net::options::{self, IsTcp};
use crate::net::stream::{Stream, Target, name};
use crate::net::{Registry, uninterrupted};
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Token};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The file first: while the socket is open its inode cannot be another's, so it is removed before the close.
    Unix(Option<SocketFile>, UnixListener),
}

/// The file of a Unix listener that this process made; dropping it removes the file if it is still the same one.
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
    fn keep(mut self) {
        self.path = PathBuf::new();
    }

    fn is(&self, found: &Metadata) -> bool {
        found.dev() == self.device && found.ino() == self.inode
    }
}

impl Listener {
    /// Binds and listens; of a name with several addresses, on the first that can be bound.
    pub(crate) fn bind(address: &Address, config: &ListenConfig) -> Result<Listener, Error> {
        let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
        if let Some(path) = address.path() {
            return bind_path(address, path, config);
        }
        if let Some(target) = Target::unix(address) {
            let Target::Unix(at) = target.map_err(refused)? else {
                return Err(refused(io::ErrorKind::Unsupported.into()));
            };
            return bind_unix(&at, config, |_| Ok(())).map(|unix| Listener::Unix(None, unix)).map_err(refused);
        }
        let mut last = io::ErrorKind::AddrNotAvailable.into();
        let mut all = address.resolve()?;
        if let (Some(SocketAddr::V6(v6)), Family::Any) = (address.ip(), address.family()) {
            if v6.ip().is_unspecified() {
                // All addresses, also where the system has no IPv6.
                all.push(SocketAddr::from(([0, 0, 0, 0], v6.port())));
            }
        }
        for at in all {
            match bind_tcp(at, address.family(), config) {
                Ok(tcp) => return Ok(Listener::Tcp(tcp)),
                // No IPv6, or not that address: the next one may do. Others, a taken port above all, must be told.
                Err(error) if is_lack(&error) => last = error,
                Err(error) => return Err(refused(error)),
            }
        }
        Err(refused(last))
    }

    /// Takes over a listening socket and makes it non-blocking. A Unix socket's file stays when it is closed.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Listener> {
        let socket = Socket::from(fd);
        #[cfg(not(any(target_os = "macos", target_os = "ios", target_os = "netbsd", target_os = "openbsd")))]
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen; call listen(2) first"));
        }
        if socket.r#type()? != Type::STREAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a stream socket"));
        }
        let domain = socket.local_addr()?.domain();
        socket.set_nonblocking(true)?;
        let fd = OwnedFd::from(socket);
        match domain {
            Domain::IPV4 | Domain::IPV6 => Ok(Listener::Tcp(TcpListener::from(fd))),
            Domain::UNIX => Ok(Listener::Unix(None, UnixListener::from(fd))),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a TCP nor a Unix socket")),
        }
    }

    /// accept(2): the stream, non-blocking and closed on exec, and where it comes from (`None` for Unix peers).
    pub(crate) fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(tcp) => tcp.accept().map(|(stream, peer)| (Stream::Tcp(stream), Some(peer))),
            Listener::Unix(_, unix) => unix.accept().map(|(stream, _)| (Stream::Unix(stream), None)),
        }
    }

    /// The real address, with the port that the system chose.
    pub(crate) fn local_address(&self) -> io::Result<Address> {
        name(&SockRef::from(self).local_addr()?)
    }

    /// Asks the kernel to report waiting connections under `word`.
    pub(crate) fn register(&mut self, registry: &Registry, word: usize) -> io::Result<()> {
        match self {
            Listener::Tcp(tcp) => registry.register(tcp, Token(word), Interest::READABLE),
            Listener::Unix(_, unix) => registry.register(unix, Token(word), Interest::READABLE),
        }
    }

    /// Ends the kernel's reports, also where the descriptor has duplicates.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Listener::Tcp(tcp) => registry.deregister(tcp),
            Listener::Unix(_, unix) => registry.deregister(unix),
        }
    }
}

/// Whether the system has no such family or address.
fn is_lack(error: &io::Error) -> bool {
    let lacks = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
    error.raw_os_error().is_some_and(|errno| lacks.contains(&Errno::from_raw_os_error(errno)))
}

fn bind_tcp(at: SocketAddr, family: Family, config: &ListenConfig) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() {
        // Said either way: the system's default differs.
        socket.set_only_v6(family == Family::V6 || config.stack == Stack::V6Only)?;
    }
    socket.set_reuse_address(true)?;
    if config.reuse == Reuse::Port {
        socket.set_reuse_port(true)?;
    }
    options::apply(&socket, &config.socket, IsTcp::Yes)?;
    socket.bind(&at.into())?;
    listen(&socket, config)?;
    Ok(TcpListener::from(OwnedFd::from(socket)))
}

fn listen(socket: &Socket, config: &ListenConfig) -> io::Result<()> {
    socket.listen(i32::try_from(config.backlog).unwrap_or(i32::MAX))
}

fn bind_unix(
    at: &SockAddr,
    config: &ListenConfig,
    before_listen: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    options::apply(&socket, &config.socket, IsTcp::No)?;
    socket.bind(at)?;
    before_listen(&socket)?;
    listen(&socket, config)?;
    Ok(UnixListener::from(OwnedFd::from(socket)))
}

/// Binds to a path: clears a stale socket away, sets mode and group, and only then listens, so that nobody can connect
/// before.
fn bind_path(address: &Address, path: &Path, config: &ListenConfig) -> Result<Listener, Error> {
    let refused = |source| Error::Listen { address: Box::new(address.clone()), source };
    let at = SockAddr::unix(path).map_err(refused)?;
    // The process may change its directory before the file is removed.
    let whole = std::path::absolute(path).map_err(refused)?;
    // Between bind and listen a socket looks dead: of two who start at once, one waits here.
    let _turn = lock_folder(&whole).map_err(refused)?;
    clear(address, path, &at)?;
    let mut file = None;
    let unix = bind_unix(&at, config, |_| {
        let made = fs::symlink_metadata(path)?;
        let owned = file.insert(SocketFile { path: whole.clone(), device: made.dev(), inode: made.ino() });
        if let Some(group) = config.unix_group {
            std::os::unix::fs::lchown(path, None, Some(group))?;
        }
        fs::set_permissions(path, Permissions::from_mode(config.unix_mode))?;
        if owned.is(&fs::symlink_metadata(path)?) { Ok(()) } else { Err(io::ErrorKind::AddrInUse.into()) }
    })
    .map_err(refused)?;
    Ok(Listener::Unix(file, unix))
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

/// Removes a socket at `path` that nobody listens on; refuses if anything else is there.
fn clear(address: &Address, path: &Path, at: &SockAddr) -> Result<(), Error> {
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
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(refused)?;
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

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(tcp) => tcp.as_fd(),
            Listener::Unix(_, unix) => unix.as_fd(),
        }
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> OwnedFd {
        match listener {
            Listener::Tcp(tcp) => tcp.into(),
            // Whoever gets the socket gets the care of its file too.
            Listener::Unix(file, unix) => {
                file.into_iter().for_each(SocketFile::keep);
                unix.into()
            }
        }
    }
}
