//! The seam to the system: sockets, their options, and what the kernel says about them.
//!
//! Owns the system calls on sockets and the translation of kernel events. Knows nothing of links, handlers or time.
//! Every call here is non-blocking, but the resolution of names.

// What systems do not have in common: the same names in both.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use linux as system;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) mod elsewhere;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use elsewhere as system;

pub(crate) mod coarse;
pub(crate) mod datagram;
pub(crate) mod file;
pub(crate) mod listener;
pub(crate) mod options;
pub(crate) mod sigpipe;
pub(crate) mod socket_file;
pub(crate) mod stream;
pub(crate) mod tcp_info;
pub(crate) mod wait;
pub(crate) mod watched;

pub(crate) use mio::Registry;
pub use stream::PeerCredentials;
pub use tcp_info::TcpInfo;
pub use watched::Direction;

use crate::platform;
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;

/// What the kernel said about a descriptor; epoll(7), kqueue(2).
///
/// ```
/// use std::os::fd::{AsFd, BorrowedFd};
/// use std::os::unix::net::UnixStream;
/// use windlass::{Context, Direction, Next, Reactor, ReactorConfig, Readiness, WatchHandler};
/// struct Doorbell;
/// impl WatchHandler for Doorbell {
///     fn on_ready(&mut self, _: &mut Context<'_>, _: BorrowedFd<'_>, ready: Readiness) -> Next {
///         println!("{ready:?}");
///         Next::Remove // `Wait` once a read has said `WouldBlock`
///     }
/// }
/// let (watched, _bell) = UnixStream::pair()?;
/// watched.set_nonblocking(true)?;
/// let mut reactor = Reactor::new(ReactorConfig::default())?;
/// let id = reactor.context().watch(watched, Direction::Read, Doorbell)?;
/// reactor.context().unwatch(id);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Readiness {
    /// A read may not block.
    pub readable: bool,
    /// A write may not block.
    pub writable: bool,
    /// The peer has ended its side.
    pub ended: bool,
    /// An error waits.
    pub error: bool,
    /// Urgent data waits.
    pub priority: bool,
}

impl Readiness {
    /// Whether it tells of input, and of nothing that needs a second look. Room for output may be told, too.
    #[inline]
    pub(crate) fn is_input_alone(self) -> bool {
        self.readable & !self.ended & !self.error & !self.priority
    }

    /// What `event` says.
    pub(crate) fn of(event: &mio::event::Event) -> Readiness {
        Readiness {
            readable: event.is_readable(),
            writable: event.is_writable(),
            ended: event.is_read_closed(),
            error: event.is_error() || event.is_write_closed(),
            priority: event.is_priority(),
        }
    }
}

/// The size of `sockaddr_un`, unix(7) and unix(4). The name of a peer may be reported as longer: a path that fills its place has
/// no NUL behind it, but one is counted, and the BSDs count what they cut. Such names are not looked at.
pub(crate) const SOCKADDR_UN_BYTES: usize = 2 + platform::SUN_PATH_BYTES;

/// An address as people write it: a socket of both families names those of IPv4 `[::ffff:192.0.2.7]:80`; RFC 4291, section
/// 2.5.5.2.
pub(crate) fn unmapped(ip: SocketAddr) -> SocketAddr {
    match ip {
        SocketAddr::V4(_) => ip,
        SocketAddr::V6(v6) => v6.ip().to_ipv4_mapped().map_or(ip, |v4| SocketAddr::from((v4, v6.port()))),
    }
}

/// As high as Apple's systems let the soft limit of open descriptors be; setrlimit(2).
const OPEN_MAX: u64 = 10_240;

/// Raises the soft limit of open descriptors to the hard one, setrlimit(2), and returns it; `u64::MAX` means no limit. On Apple's
/// systems, where the hard one is none, it becomes 10,240.
///
/// For the whole process: programs that select(2) on high descriptors, and children that inherit the limit, may mind.
///
/// # Errors
/// What the system says; the limit stays then.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(limit.maximum.unwrap_or(u64::MAX));
    }
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        // Apple's systems refuse to do without a limit though they name none.
        Err(Errno::INVAL) if limit.maximum.is_none() => {
            limit.current = Some(OPEN_MAX);
            setrlimit(Resource::Nofile, limit)?;
        }
        set => set?,
    }
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// Times a call is tried again after EINTR until it counts as blocked; non-blocking calls hardly ever see one.
const INTERRUPTS_MAX: u32 = 16;

/// Makes `call` again while a signal interrupts it.
#[inline(always)]
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match call() {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => once_more(call),
        done => done,
    }
}

#[cold]
fn once_more<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..INTERRUPTS_MAX {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
    call()
}
