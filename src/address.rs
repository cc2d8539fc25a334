//! What is listened on or connected to, and what a socket's own or its peer's name is shown as.
//!
//! Owns the text forms and the resolution of host and service names. Knows nothing of sockets, TLS or configuration.
//! Parsing makes no system call; only [`Address::resolve`] does.
//!
//! 1. The place is a path, a name or unnamed exactly when the transport is a Unix one.
//! 2. A literal IP address is of the address's family.
//! 3. A path is not empty, holds no NUL and fits the system's limit; an abstract name is not empty and fits it too.
//! 4. What parses is shown as text that parses to an equal address, and shown text holds no control character.

mod parse;

use crate::platform;
use std::collections::HashSet;
use std::fmt::{self, Display, Write};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::path::Path;

/// The longest path a Unix socket can have; the field in the kernel also holds a NUL (`unix(7)`, `unix(4)`).
const PATH_BYTES_MAX: usize = platform::SUN_PATH_BYTES - 1;
/// The longest abstract name; a NUL stands before it in the same field.
const ABSTRACT_BYTES_MAX: usize = 107;
/// The longest host name, without the final dot (RFC 1035, 2.3.4).
const HOST_BYTES_MAX: usize = 253;
/// The longest part of a host name between two dots (RFC 1035, 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// What an error about the kind of an address tells the reader to use.
const HOST_SCHEMES: &str = "tcp, tls or udp";
const UNIX_SCHEMES: &str = "unix, tls+unix or unixgram";
/// What an error about the scheme tells the reader to write.
const FORMS: &str = "tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT (each also with 4 or 6, as in tcp4://), \
    unix:/PATH, unix:@NAME, tls+unix:/PATH or unixgram:/PATH";
/// Services that are known where `/etc/services` is absent or does not list them, in its form.
const SERVICES: &str = "http 80/any\n https 443/any\n ssh 22/any\n domain 53/any\n smtp 25/any\n \
    imap 143/any\n imaps 993/any\n pop3 110/any\n ntp 123/any\n syslog 514/any\n echo 7/any";

/// The kind of socket an [`Address`] is for.
///
/// ```
/// use windlass::{Address, Family, Transport};
/// let address: Address = "tcp6://[::1]:80".parse()?;
/// assert_eq!((address.transport(), address.family()), (Transport::Tcp, Family::V6));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A TCP stream.
    Tcp,
    /// TLS over a TCP stream.
    Tls,
    /// UDP datagrams.
    Udp,
    /// A Unix stream.
    Unix,
    /// TLS over a Unix stream.
    TlsUnix,
    /// Unix datagrams.
    Unixgram,
}

impl Transport {
    const ALL: [Self; 6] = [Self::Tcp, Self::Tls, Self::Udp, Self::Unix, Self::TlsUnix, Self::Unixgram];

    /// The scheme of its addresses, without the family, colon or slashes: `tcp`, `tls+unix`.
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Udp => "udp",
            Self::Unix => "unix",
            Self::TlsUnix => "tls+unix",
            Self::Unixgram => "unixgram",
        }
    }

    /// Whether it carries datagrams, not a stream.
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::Unixgram)
    }

    /// Whether its addresses are Unix ones (a path or a name), not a host and a port.
    pub const fn is_unix(self) -> bool {
        matches!(self, Self::Unix | Self::TlsUnix | Self::Unixgram)
    }

    /// Whether it is secured by TLS.
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsUnix)
    }
}

/// The IP version that an [`Address`] is limited to.
///
/// ```
/// use windlass::{Address, Family, Transport};
/// let address: Address = "tcp6://[::1]:80".parse()?;
/// assert_eq!((address.transport(), address.family()), (Transport::Tcp, Family::V6));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Both; listening on all addresses is dual stack.
    Any,
    /// IPv4 only: `tcp4://`, `tls4://`, `udp4://`.
    V4,
    /// IPv6 only: `tcp6://`, `tls6://`, `udp6://`. Listening on all addresses then leaves IPv4 out.
    V6,
}

impl Family {
    const fn suffix(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }

    const fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// What is listened on or connected to, and what a socket's own or its peer's name is shown as.
///
/// | form | meaning |
/// |---|---|
/// | `tcp://HOST:PORT` | TCP; `tcp4://` and `tcp6://` are limited to that family |
/// | `tls://HOST:PORT` | TLS over TCP; also `tls4://`, `tls6://` |
/// | `udp://HOST:PORT` | UDP; also `udp4://`, `udp6://` |
/// | `unix:/path` | Unix stream; `unix:relative/path` and `unix:///path` are accepted too |
/// | `unix:@name` | Unix stream with a name in Linux's abstract namespace |
/// | `tls+unix:...` | Unix stream with TLS |
/// | `unixgram:...` | Unix datagrams |
///
/// `HOST` is a name, an IPv4 address, an IPv6 address in brackets (with a numeric scope, as in `[fe80::1%3]`), or
/// nothing, which means all addresses. `PORT` is a number, 0 for one that the system chooses, or the name of a service.
/// Parsing neither resolves names nor makes any other system call.
///
/// All addresses (`tcp://:80`, `tcp://0.0.0.0:80`, `tcp://[::]:80`) can be listened on but not connected to; see
/// [`is_unspecified`](Address::is_unspecified).
///
/// Shown as text it parses to an equal address, with three exceptions that no text gives: an unnamed Unix peer
/// (`unix:`), a path or name that is not UTF-8 or holds control characters (those are escaped, so that a peer cannot
/// forge log lines), and a constructed relative path that begins with `@` (shown as `./@...`, the same file).
///
/// ```
/// use windlass::{Address, Transport};
///
/// let address: Address = "tls://[::1]:443".parse()?;
/// assert_eq!(address.transport(), Transport::Tls);
/// assert_eq!(address.ip(), Some("[::1]:443".parse().unwrap()));
/// assert_eq!(address.to_string(), "tls://[::1]:443");
/// # Ok::<(), windlass::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    transport: Transport,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Host(Host, Port, Family),
    Path(Box<Path>),
    Abstract(Box<[u8]>),
    Unnamed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    /// The number is an IPv6 address's scope, 0 for none.
    Ip(IpAddr, u32),
    Name(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Port {
    Number(u16),
    Service(Box<str>),
}

/// Why a text is no [`Address`], or why an address cannot be used.
///
/// Each holds the text, or what the address is shown as, and its message names the fault and the next step.
///
/// ```
/// use windlass::{Address, AddressError};
/// let refused = "tcp://localhost".parse::<Address>();
/// assert!(matches!(refused, Err(AddressError::NoPort(_))));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing is written, or nothing after the scheme.
    #[error("the address {0:?} is empty: write {forms}", forms = FORMS)]
    Empty(String),
    /// It does not begin with a scheme that is known, or lacks the slashes after it.
    #[error("the address {0:?} has an unknown scheme: write {forms}", forms = FORMS)]
    UnknownScheme(String),
    /// No port follows the host.
    #[error("the address {0:?} has no port: add one, as in HOST:8080 (0 is any free port)")]
    NoPort(String),
    /// The port is a number that is too large or negative.
    #[error("the port of {0:?} is out of range: write a number from 0 to 65535")]
    PortOutOfRange(String),
    /// Nobody can tell which colon parts the host from the port.
    #[error("the address {0:?} has too many colons: put IPv6 in brackets, as in [::1]:80")]
    TooManyColons(String),
    /// The host is neither a name nor an IP address.
    #[error(
        "the host of {0:?} is malformed: write an ASCII host name, an IPv4 address with four \
         numbers, or an IPv6 address in brackets, with its scope (if any) as a number"
    )]
    BadHost(String),
    /// What was given as a host alone is none: see [`Address::tcp_host`].
    #[error("the host {0:?} cannot be used: {1}")]
    NoHost(String, &'static str),
    /// The scheme asks for one IP version and the host is an address of the other.
    #[error("the host of {0:?} is not of the scheme's IP version: change or drop its 4 or 6")]
    FamilyMismatch(String),
    /// A Unix socket's path or abstract name is longer than the system allows.
    #[error("the path of {text:?} is {bytes} bytes long, the limit is {bytes_max}: shorten it")]
    #[allow(missing_docs, reason = "the message says what they are")]
    PathTooLong { text: String, bytes: usize, bytes_max: usize },
    /// It holds a line break or the like, or the path a NUL, which no path can.
    #[error("the address {0:?} holds a NUL or other control character: remove it")]
    ControlCharacter(String),
    /// This platform lacks Unix sockets, or abstract names for them.
    #[error("this platform lacks {1}, for {0:?}: use another kind of address")]
    Unsupported(String, &'static str),
    /// The port is not a number, and no service has that name.
    #[error("the service of {0:?} is unknown: write the port as a number")]
    UnknownService(String),
    /// The system could not resolve the host name.
    #[error("cannot resolve {0:?}: {1}: check the host name and the system's resolver")]
    ResolutionFailed(String, #[source] io::Error),
    /// The host name resolves, but to no address that the scheme admits.
    #[error("the host of {0:?} has no address that its scheme admits: check both")]
    NoAddress(String),
    /// It cannot be connected to: it means all addresses of this machine, or its name resolves to nothing else. See
    /// [`Address::is_unspecified`].
    #[error(
        "{0:?} cannot be connected to: its host is empty, or its address 0.0.0.0 or [::], which can only be listened \
         on: write the host's name or IP address (127.0.0.1 or [::1] for this machine)"
    )]
    NoTarget(String),
    /// An address with a host stands where a Unix one is needed, or the other way round.
    #[error("the address {0:?} is of the wrong kind here: use a {1} address")]
    WrongKind(String, &'static str),
}

impl AddressError {
    /// The same once more, for somebody else who waits for the answer.
    pub(crate) fn again(&self) -> AddressError {
        match self {
            Self::ResolutionFailed(address, source) => {
                Self::ResolutionFailed(address.clone(), io::Error::new(source.kind(), source.to_string()))
            }
            Self::NoAddress(address) => Self::NoAddress(address.clone()),
            Self::NoTarget(address) => Self::NoTarget(address.clone()),
            Self::UnknownService(address) => Self::UnknownService(address.clone()),
            other => Self::ResolutionFailed(String::new(), io::Error::other(other.to_string())),
        }
    }
}

impl Address {
    /// The TCP address of `ip`. An IPv6 flow label is dropped.
    pub fn tcp(ip: SocketAddr) -> Self {
        Self::of_ip(Transport::Tcp, ip)
    }

    /// The TCP address of a host and a port that are given apart, as in a `host` and a `port` key of a settings file. `host` is
    /// a name or an IP address; an IPv6 address has no brackets here, and may have a numeric scope (`fe80::1%3`). Nothing is
    /// resolved. Port 0 is any free port, to listen on. For TLS or UDP, [`with_transport`](Self::with_transport) follows.
    ///
    /// ```
    /// use windlass::Address;
    /// assert_eq!(Address::tcp_host("example.org", 80)?, "tcp://example.org:80".parse()?);
    /// assert_eq!(Address::tcp_host("::1", 80)?, "tcp://[::1]:80".parse()?);
    /// assert!(Address::tcp_host("", 80).is_err()); // all addresses of this machine are "tcp://:80"
    /// # Ok::<(), windlass::AddressError>(())
    /// ```
    ///
    /// # Errors
    /// `NoHost`: the host is empty, contains a port or brackets, or is neither a name nor an IP address.
    pub fn tcp_host(host: &str, port: u16) -> Result<Self, AddressError> {
        let host = parse::parse_host_alone(host)?;
        Self::checked(Transport::Tcp, Place::Host(host, Port::Number(port), Family::Any))
    }

    /// The TLS-over-TCP address of `ip`. An IPv6 flow label is dropped.
    pub fn tls(ip: SocketAddr) -> Self {
        Self::of_ip(Transport::Tls, ip)
    }

    /// The UDP address of `ip`. An IPv6 flow label is dropped.
    pub fn udp(ip: SocketAddr) -> Self {
        Self::of_ip(Transport::Udp, ip)
    }

    /// The Unix stream address of a path, which is taken as it is: here `@` does not mean an abstract name.
    ///
    /// # Errors
    /// The path is empty, holds a NUL or is too long (107 bytes on Linux and illumos, 103 elsewhere), or the platform lacks Unix
    /// sockets.
    pub fn unix(path: impl AsRef<Path>) -> Result<Self, AddressError> {
        Self::checked(Transport::Unix, Place::Path(path.as_ref().into()))
    }

    /// The Unix datagram address of a path.
    ///
    /// # Errors
    /// As for [`unix`](Self::unix).
    pub fn unixgram(path: impl AsRef<Path>) -> Result<Self, AddressError> {
        Self::checked(Transport::Unixgram, Place::Path(path.as_ref().into()))
    }

    /// The Unix stream address of an abstract name, without the NUL or `@` before it; any bytes will do.
    ///
    /// # Errors
    /// The name is empty or longer than 107 bytes, or the platform is neither Linux nor Android.
    pub fn unix_abstract(name: impl AsRef<[u8]>) -> Result<Self, AddressError> {
        Self::checked(Transport::Unix, Place::Abstract(name.as_ref().into()))
    }

    /// The Unix datagram address of an abstract name.
    ///
    /// # Errors
    /// As for [`unix_abstract`](Self::unix_abstract).
    pub fn unixgram_abstract(name: impl AsRef<[u8]>) -> Result<Self, AddressError> {
        Self::checked(Transport::Unixgram, Place::Abstract(name.as_ref().into()))
    }

    /// A Unix stream peer without a name. It is shown as `unix:`, which does not parse.
    pub const fn unix_unnamed() -> Self {
        Self { transport: Transport::Unix, place: Place::Unnamed }
    }

    /// A Unix datagram peer without a name, which cannot be answered. It is shown as `unixgram:`, which does not parse.
    pub const fn unixgram_unnamed() -> Self {
        Self { transport: Transport::Unixgram, place: Place::Unnamed }
    }

    /// The same place over another transport, as in turning TCP into TLS.
    ///
    /// # Errors
    /// One of the two is a Unix transport and the other is not.
    pub fn with_transport(self, transport: Transport) -> Result<Self, AddressError> {
        match (self.transport.is_unix(), transport.is_unix()) {
            (true, false) => Err(AddressError::WrongKind(self.to_string(), HOST_SCHEMES)),
            (false, true) => Err(AddressError::WrongKind(self.to_string(), UNIX_SCHEMES)),
            (true, true) | (false, false) => Ok(Self { transport, ..self }),
        }
    }

    /// The same place over TLS; what is no plain stream stays as it is.
    pub(crate) fn over_tls(self) -> Self {
        let transport = match self.transport {
            Transport::Tcp => Transport::Tls,
            Transport::Unix => Transport::TlsUnix,
            other @ (Transport::Tls | Transport::TlsUnix | Transport::Udp | Transport::Unixgram) => other,
        };
        Self { transport, ..self }
    }

    /// The kind of socket it is for.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The family that the scheme asks for; [`Family::Any`] for `tcp://127.0.0.1:80` and for Unix addresses.
    pub const fn family(&self) -> Family {
        match self.place {
            Place::Host(_, _, family) => family,
            Place::Path(_) | Place::Abstract(_) | Place::Unnamed => Family::Any,
        }
    }

    /// The IP address and port, if both are written as numbers, so that there is nothing to resolve.
    ///
    /// All addresses (`tcp://:80`) are `[::]`, which is dual stack for [`Family::Any`], or `0.0.0.0` for
    /// [`Family::V4`].
    pub fn ip(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Host(Host::Ip(ip, scope), Port::Number(port), _) => Some(socket_addr(ip, scope, port)),
            _ => None,
        }
    }

    /// Whether it means all addresses of this machine: no host (`tcp://:80`), `0.0.0.0`, `[::]` or `[::ffff:0.0.0.0]`.
    ///
    /// Such an address can be listened on. Every way to connect refuses it with [`AddressError::NoTarget`]: no packet may
    /// be sent to it (RFC 1122, 3.2.1.3; RFC 4291, 2.5.2), and systems connect to themselves instead, so that an empty
    /// host in a proxy's request would reach what listens on this machine alone. The same holds for a name that resolves
    /// to it, as some filters of names do: such an address is left out. To connect to a listener on all addresses of this
    /// machine, write `127.0.0.1` or `[::1]` and its port.
    ///
    /// ```
    /// use windlass::Address;
    /// assert!("tcp://:80".parse::<Address>()?.is_unspecified());
    /// assert!(!"tcp://127.0.0.1:80".parse::<Address>()?.is_unspecified());
    /// # Ok::<(), windlass::AddressError>(())
    /// ```
    pub fn is_unspecified(&self) -> bool {
        matches!(self.place, Place::Host(Host::Ip(ip, _), ..) if ip.to_canonical().is_unspecified())
    }

    /// Refuses what cannot be connected to, before anything is looked up.
    pub(crate) fn check_target(&self) -> Result<(), AddressError> {
        if self.is_unspecified() { Err(AddressError::NoTarget(self.to_string())) } else { Ok(()) }
    }

    /// The IP addresses of one family to connect to, or of both; see [`is_unspecified`](Self::is_unspecified).
    pub(crate) fn targets_of(&self, family: Family) -> Result<Vec<SocketAddr>, AddressError> {
        if self.host_name().is_none() {
            return self.targets();
        }
        let (hints, port) = (dns_lookup::AddrInfoHints::default(), self.port()?);
        let hints = match family {
            Family::Any => return self.targets(),
            Family::V4 => dns_lookup::AddrInfoHints { address: dns_lookup::AddrFamily::Inet.into(), ..hints },
            Family::V6 => dns_lookup::AddrInfoHints { address: dns_lookup::AddrFamily::Inet6.into(), ..hints },
        };
        let hints = dns_lookup::AddrInfoHints { socktype: dns_lookup::SockType::Stream.into(), ..hints };
        let failed = |source| AddressError::ResolutionFailed(self.to_string(), source);
        let found =
            dns_lookup::getaddrinfo(self.host_name(), None, Some(hints)).map_err(|error| failed(error.into()))?;
        let found: Vec<_> = found.collect::<Result<_, _>>().map_err(failed)?;
        self.targets_among(found.into_iter().map(|found| {
            let mut address = found.sockaddr;
            address.set_port(port);
            address
        }))
    }

    /// The IP addresses to connect to, as [`resolve`](Self::resolve) finds them; see [`is_unspecified`](Self::is_unspecified).
    pub(crate) fn targets(&self) -> Result<Vec<SocketAddr>, AddressError> {
        self.check_target()?;
        self.targets_among(self.resolve()?.into_iter())
    }

    /// Those of `found` that this address may mean and that can be connected to. What a name has as
    /// `::ffff:192.0.2.1` is an address of IPv4, unless IPv6 was asked for.
    pub(crate) fn targets_among(
        &self,
        found: impl Iterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, AddressError> {
        let as_it_is = self.host_name().is_none() || self.family() == Family::V6;
        let plain = |found: SocketAddr| match found.ip().to_canonical() {
            ip @ IpAddr::V4(_) if !as_it_is => SocketAddr::new(ip, found.port()),
            IpAddr::V4(_) | IpAddr::V6(_) => found,
        };
        let mut targets = self.admitted(found.map(plain))?;
        targets.retain(|target| !target.ip().to_canonical().is_unspecified());
        if targets.is_empty() { Err(AddressError::NoTarget(self.to_string())) } else { Ok(targets) }
    }

    /// The host's name, if it is not an IP address: what a TLS client checks the server's certificate against.
    pub fn host_name(&self) -> Option<&str> {
        match &self.place {
            Place::Host(Host::Name(name), ..) => Some(name),
            _ => None,
        }
    }

    /// The path, if it is a Unix address that has one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The abstract name, without the NUL or `@` before it, if it is a Unix address that has one.
    pub fn abstract_name(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Abstract(name) => Some(name),
            _ => None,
        }
    }

    /// Finds the IP addresses: those of its family, in the resolver's order, each once, and at least one.
    ///
    /// A service name is looked up in `/etc/services` (`services(5)`), then among a few well-known ones. A host and
    /// port written as numbers give that one address without any system call.
    ///
    /// # Threads
    /// Resolving a host name blocks, for as long as the system's resolver takes: keep it off a reactor's thread.
    ///
    /// # Errors
    /// The service is unknown, the resolver fails, it knows no address of the family, or this is a Unix address.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, AddressError> {
        let port = self.port()?;
        let name = match &self.place {
            Place::Host(Host::Name(name), ..) => &**name,
            Place::Host(Host::Ip(ip, scope), ..) => return Ok(vec![socket_addr(*ip, *scope, port)]),
            _ => return Err(AddressError::WrongKind(self.to_string(), HOST_SCHEMES)),
        };
        let found = (name, port)
            .to_socket_addrs()
            .map_err(|source| AddressError::ResolutionFailed(self.to_string(), source))?;
        self.admitted(found)
    }

    fn port(&self) -> Result<u16, AddressError> {
        match &self.place {
            Place::Host(_, Port::Number(port), _) => Ok(*port),
            Place::Host(_, Port::Service(name), _) => self.look_up(name),
            _ => Err(AddressError::WrongKind(self.to_string(), HOST_SCHEMES)),
        }
    }

    fn look_up(&self, service: &str) -> Result<u16, AddressError> {
        let protocol = if self.transport.is_datagram() { "udp" } else { "tcp" };
        // An absent file lists nothing.
        let listed = cfg!(unix).then(|| std::fs::read("/etc/services").ok());
        let listed = listed.flatten().unwrap_or_default();
        service_port(&String::from_utf8_lossy(&listed), service, protocol)
            .or_else(|| service_port(SERVICES, service, "any"))
            .ok_or_else(|| AddressError::UnknownService(self.to_string()))
    }

    /// Those of `found` that this address may mean: of its family, each once.
    fn admitted(&self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, AddressError> {
        let mut seen = HashSet::new();
        let admits = |found: &SocketAddr| self.family().admits(found.ip());
        let admitted: Vec<_> = found.filter(admits).filter(|found| seen.insert(*found)).collect();
        match admitted.is_empty() {
            true => Err(AddressError::NoAddress(self.to_string())),
            false => Ok(admitted),
        }
    }

    fn of_ip(transport: Transport, ip: SocketAddr) -> Self {
        let scope = match ip {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        let host = Host::Ip(ip.ip(), scope);
        let place = Place::Host(host, Port::Number(ip.port()), Family::Any);
        Self { transport, place }
    }

    /// Holds a Unix address to invariant 3 and to what the platform has.
    fn checked(transport: Transport, place: Place) -> Result<Self, AddressError> {
        let address = Self { transport, place };
        let text = || address.to_string();
        let (bytes, bytes_max) = match &address.place {
            Place::Path(_) | Place::Abstract(_) if !cfg!(unix) => {
                return Err(AddressError::Unsupported(text(), "Unix sockets"));
            }
            Place::Abstract(_) if !platform::HAS_ABSTRACT_NAMES => {
                return Err(AddressError::Unsupported(text(), "abstract Unix socket names"));
            }
            Place::Path(path) if path.as_os_str().as_encoded_bytes().contains(&0) => {
                return Err(AddressError::ControlCharacter(text()));
            }
            Place::Path(path) => (path.as_os_str().len(), PATH_BYTES_MAX),
            Place::Abstract(name) => (name.len(), ABSTRACT_BYTES_MAX),
            Place::Host(..) | Place::Unnamed => return Ok(address),
        };
        match bytes {
            0 => Err(AddressError::Empty(text())),
            _ if bytes <= bytes_max => Ok(address),
            _ => Err(AddressError::PathTooLong { text: text(), bytes, bytes_max }),
        }
    }
}

impl TryFrom<&str> for Address {
    type Error = AddressError;

    fn try_from(text: &str) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:", self.transport.scheme(), self.family().suffix())?;
        match &self.place {
            Place::Host(host, port, _) => {
                match host {
                    Host::Ip(IpAddr::V4(ip), _) => write!(f, "//{ip}:"),
                    Host::Ip(IpAddr::V6(ip), 0) => write!(f, "//[{ip}]:"),
                    Host::Ip(IpAddr::V6(ip), scope) => write!(f, "//[{ip}%{scope}]:"),
                    Host::Name(name) => write!(f, "//{name}:"),
                }?;
                match port {
                    Port::Number(port) => write!(f, "{port}"),
                    Port::Service(name) => f.write_str(name),
                }
            }
            Place::Path(path) => {
                let path = path.to_string_lossy();
                // The parser takes a first `//` away, and a first `@` for an abstract name.
                f.write_str(match path.as_bytes() {
                    [b'/', b'/', ..] => "//",
                    [b'@', ..] => "./",
                    _ => "",
                })?;
                write_escaped(f, &path)
            }
            Place::Abstract(name) => {
                f.write_char('@')?;
                write_escaped(f, &String::from_utf8_lossy(name))
            }
            Place::Unnamed => Ok(()),
        }
    }
}

/// Peers choose their own paths and names; a raw line break in one would forge a log line.
fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    text.chars().try_for_each(|c| match c.is_control() {
        true => write!(f, "{}", c.escape_default()),
        false => f.write_char(c),
    })
}

/// The port of a service, or of one of its aliases, in the lines of `services(5)`.
fn service_port(services: &str, name: &str, protocol: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let official = words.next()?;
        let port = words.next()?.strip_suffix(protocol)?.strip_suffix('/')?;
        let mut names = words.chain([official]);
        names.find(|listed| *listed == name).and(port.parse().ok())
    })
}

fn socket_addr(ip: IpAddr, scope: u32, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;
    use std::net::Ipv6Addr;

    fn address(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ip(text: &str) -> SocketAddr {
        text.parse().expect(text)
    }

    /// The lines of a table, each with `N` words.
    fn rows<const N: usize>(table: &str) -> impl Iterator<Item = [&str; N]> {
        let lines = table.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| Vec::from_iter(line.split_whitespace()).try_into().expect(line))
    }

    #[track_caller]
    fn refused(outcome: Result<Address, AddressError>, variant: &str, told: &str) {
        let error = outcome.expect_err(told);
        assert!(format!("{error:?}").starts_with(variant), "{error:?} is not {variant}");
        assert!(error.to_string().contains(told), "{error} does not tell {told}");
    }

    #[test]
    fn every_host_form_parses_and_is_shown_again() {
        let table = "
            tcp://127.0.0.1:80          Tcp Any 127.0.0.1:80        =
            tcp4://127.0.0.1:80         Tcp V4  127.0.0.1:80        =
            tcp6://[::1]:80             Tcp V6  [::1]:80            =
            tls://[::1]:443             Tls Any [::1]:443           =
            tls4://10.0.0.1:443         Tls V4  10.0.0.1:443        =
            tls6://[2001:db8::1]:443    Tls V6  [2001:db8::1]:443   =
            udp://1.2.3.4:65535         Udp Any 1.2.3.4:65535       =
            udp4://1.2.3.4:0            Udp V4  1.2.3.4:0           =
            udp6://[fe80::1%3]:53       Udp V6  [fe80::1%3]:53      =
            tcp://[::ffff:1.2.3.4]:080  Tcp Any [::ffff:1.2.3.4]:80 tcp://[::ffff:1.2.3.4]:80
            tcp://[0:0::0%0]:80         Tcp Any [::]:80             tcp://[::]:80
            tcp://:8080                 Tcp Any [::]:8080           tcp://[::]:8080
            tcp4://:8080                Tcp V4  0.0.0.0:8080        tcp4://0.0.0.0:8080
            tcp6://:0                   Tcp V6  [::]:0              tcp6://[::]:0";
        for [text, transport, family, at, shown] in rows(table) {
            let parsed = address(text);
            let facts = format!("{:?} {:?}", parsed.transport(), parsed.family());
            assert_eq!(facts, format!("{transport} {family}"), "{text}");
            assert_eq!(parsed.ip(), Some(ip(at)), "{text}");
            assert_eq!(parsed.resolve().expect(text), [ip(at)]);
            assert_eq!(parsed.to_string(), if shown == "=" { text } else { shown });
            assert_eq!((parsed.path(), parsed.abstract_name(), parsed.host_name()), (None, None, None));
        }
    }

    #[test]
    fn names_and_services_are_kept_until_they_are_resolved() {
        let table = "tls4://a-b.example_1.org.:443 udp6://x:0 tcp://0xygen:http tls://[fe80::1%3]:http";
        for text in table.split_whitespace() {
            assert_eq!((address(text).to_string(), address(text).ip()), (text.to_owned(), None));
        }
        assert_eq!(address("tls://example.org:443").host_name(), Some("example.org"));
        let table = "
            tcp://:http                 [::]:80
            udp4://:domain              0.0.0.0:53
            tcp://[fe80::1%3]:https     [fe80::1%3]:443
            tcp://127.0.0.1:syslog      127.0.0.1:514
            tcp4://localhost:http       127.0.0.1:80";
        for [text, at] in rows(table) {
            assert_eq!(address(text).resolve().expect(text), [ip(at)], "{text}");
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn every_unix_form_parses_and_is_shown_again() {
        let table = "
            unix:/run/a.sock    Unix     /run/a.sock    - =
            unix:///run/a.sock  Unix     /run/a.sock    - unix:/run/a.sock
            unix:////run/a.sock Unix     //run/a.sock   - =
            unix:run/a:c.sock   Unix     run/a:c.sock   - =
            unix://run/a.sock   Unix     run/a.sock     - unix:run/a.sock
            unix:./@a           Unix     ./@a           - =
            unix:@a/b:é         Unix     -              a/b:é =
            tls+unix:/run/é     TlsUnix  /run/é         - =
            tls+unix:@@         TlsUnix  -              @ =
            unixgram:/run/log   Unixgram /run/log       - =
            unixgram:@log       Unixgram -              log =";
        for [text, transport, path, name, shown] in rows(table) {
            let parsed = address(text);
            assert_eq!(format!("{:?}", parsed.transport()), transport, "{text}");
            assert_eq!((parsed.family(), parsed.ip()), (Family::Any, None), "{text}");
            assert_eq!(parsed.path().and_then(Path::to_str).unwrap_or("-"), path, "{text}");
            assert_eq!(parsed.abstract_name().unwrap_or(b"-"), name.as_bytes(), "{text}");
            assert_eq!(parsed.to_string(), if shown == "=" { text } else { shown });
        }
        assert_eq!(address("unix:/a b").path(), Some(Path::new("/a b")));
    }

    #[test]
    fn a_faulty_text_is_refused_by_an_error_that_names_it_and_the_next_step() {
        let table = "
            tcp://                  Empty           tcp://HOST:PORT
            127.0.0.1:80            UnknownScheme   tcp://HOST:PORT
            localhost               UnknownScheme   unix:/PATH
            :80                     UnknownScheme   udp://HOST:PORT
            tcp:127.0.0.1:80        UnknownScheme   tcp://HOST:PORT
            tcp46://:80             UnknownScheme   tcp4://
            unix4:/a                UnknownScheme   unix:/PATH
            TCP://:80               UnknownScheme   tcp://HOST:PORT
            tcp://localhost         NoPort          HOST:8080
            tcp://localhost:        NoPort          HOST:8080
            tcp://[::1]             NoPort          HOST:8080
            tcp://[::1]:            NoPort          HOST:8080
            tcp://:65536            PortOutOfRange  65535
            tcp://:-1               PortOutOfRange  65535
            tcp://:99999999999999   PortOutOfRange  65535
            tcp://::1:80            TooManyColons   [::1]:80
            tcp://a:80:             TooManyColons   [::1]:80
            tcp://[::1]:80:80       TooManyColons   [::1]:80
            tcp://[::1:80           BadHost         brackets
            tcp://[::1]80           BadHost         brackets
            tcp://[127.0.0.1]:80    BadHost         brackets
            tcp://[fe80::1%eth0]:80 BadHost         scope
            tcp://[fe80::1%+1]:80   BadHost         scope
            tcp://127.1:80          BadHost         four
            tcp://010.0.0.1:80      BadHost         four
            tcp://256.0.0.1:80      BadHost         four
            tcp://0x7f000001:80     BadHost         four
            tcp://a..b:80           BadHost         name
            tcp://user@host:80      BadHost         name
            tcp://é:80              BadHost         ASCII
            tcp4://[::1]:80         FamilyMismatch  version
            udp6://127.0.0.1:80     FamilyMismatch  version
            tcp://:80/              UnknownService  number
            tcp://:+80              UnknownService  number";
        for [text, variant, told] in rows(table) {
            refused(text.parse(), variant, told);
            refused(text.parse(), variant, &format!("{text:?}"));
        }
        refused("".parse(), "Empty", "tcp://HOST:PORT");
        refused("tcp://a\0b:80".parse(), "ControlCharacter", r#""tcp://a\0b:80""#);
        refused(format!("tcp://{}:80", "a.".repeat(130)).parse(), "BadHost", "name");
        refused(format!("tcp://{}:80", "a".repeat(64)).parse(), "BadHost", "name");
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_faulty_unix_address_is_refused_as_text_and_by_the_constructors() {
        for text in ["unix:", "unix://", "unix:@", "tls+unix:", "unixgram:@"] {
            refused(text.parse(), "Empty", "unix:/PATH");
        }
        refused(Address::unix(""), "Empty", r#""unix:""#);
        refused(Address::unixgram_abstract(""), "Empty", r#""unixgram:@""#);
        refused("unixgram:/a\nb".parse(), "ControlCharacter", "remove it");
        refused(Address::unixgram("/a\0b"), "ControlCharacter", "NUL");
        for (prefix, bytes_max) in [("unix:", 107), ("unix:@", 107), ("tls+unix:///", 106)] {
            let text = format!("{prefix}{}", "x".repeat(bytes_max));
            assert_eq!(address(&text).to_string(), text.replace("///", "/"));
            refused(format!("{text}x").parse(), "PathTooLong", "108 bytes long, the limit is 107");
        }
        refused(Address::unix_abstract([b'x'; 108]), "PathTooLong", "108 bytes");
    }

    #[cfg(not(unix))]
    #[test]
    fn unix_addresses_are_refused_where_the_platform_lacks_them() {
        refused("unix:/a".parse(), "Unsupported", "Unix sockets");
        refused("tls+unix:@a".parse(), "Unsupported", "Unix sockets");
    }

    #[test]
    fn constructed_addresses_equal_parsed_ones() {
        let scoped = ip("[fe80::1%3]:80");
        assert_eq!(Address::tcp(scoped), address("tcp://[fe80::1%3]:80"));
        assert_eq!(Address::tls(scoped), Address::try_from("tls://[fe80::1%3]:80").expect("tls"));
        assert_eq!(Address::udp(ip("1.2.3.4:5")), address("udp://1.2.3.4:5"));
        let labelled = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 7, 0);
        assert_eq!(Address::tcp(labelled.into()), address("tcp://[::1]:80"));
    }

    #[test]
    fn a_host_and_a_port_given_apart_are_the_address_that_they_make_together() {
        let table = "
            127.0.0.1       tcp://127.0.0.1:80
            example.org     tcp://example.org:80
            example.org.    tcp://example.org.:80
            ::1             tcp://[::1]:80
            fe80::1%3       tcp://[fe80::1%3]:80
            ::ffff:1.2.3.4  tcp://[::ffff:1.2.3.4]:80
            0.0.0.0         tcp://0.0.0.0:80";
        for [host, whole] in rows(table) {
            assert_eq!(Address::tcp_host(host, 80).expect(host), address(whole), "{host}");
        }
        assert_eq!(Address::tcp_host("a", 0).expect("any free port"), address("tcp://a:0"));
        for (host, told) in [
            ("", "it is empty"),
            ("example.org:80", "give it as the port"),
            ("127.0.0.1:80", "give it as the port"),
            ("[::1]", "without them"),
            ("[::1]:80", "without them"),
            ("tcp://a", "a scheme"),
            ("a b", "ASCII host name"),
            ("127.1", "four numbers"),
            ("fe80::1%eth0", "as a number"),
            ("a\nb", r#""a\nb""#),
        ] {
            refused(Address::tcp_host(host, 80), "NoHost", told);
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn peers_cannot_forge_log_lines_with_their_names() {
        let shown = |made: Result<Address, AddressError>| made.expect("valid").to_string();
        assert_eq!(shown(Address::unixgram("//a")), "unixgram:////a");
        assert_eq!(shown(Address::unix("@a")), "unix:./@a");
        assert_eq!(shown(Address::unix("/a\nb")), r"unix:/a\nb");
        assert_eq!(shown(Address::unix_abstract(b"a\0\xffb")), "unix:@a\\u{0}\u{fffd}b");
        assert_eq!(shown(Address::unixgram_abstract("a")), "unixgram:@a");
        assert_eq!(Address::unix_unnamed().to_string(), "unix:");
        assert_eq!(Address::unixgram_unnamed().to_string(), "unixgram:");
    }

    #[test]
    fn a_transport_changes_only_into_one_of_the_same_kind() {
        let tls = address("tcp6://[::1]:80").with_transport(Transport::Tls).expect("tls");
        assert_eq!(tls, address("tls6://[::1]:80"));
        refused(tls.with_transport(Transport::Unix), "WrongKind", r#""tls6://[::1]:80""#);
        let unnamed = Address::unix_unnamed().with_transport(Transport::TlsUnix).expect("unix");
        assert_eq!(unnamed.to_string(), "tls+unix:");
        refused(unnamed.with_transport(Transport::Udp), "WrongKind", "tcp, tls or udp");
    }

    #[test]
    fn resolution_faults_name_the_text_and_keep_their_cause() {
        let fault = |address: Address| address.resolve().expect_err("no address");
        let error = fault(address("tcp://127.0.0.1:no-such-service"));
        assert!(matches!(error, AddressError::UnknownService(_)), "{error}");
        let error = fault(Address::unix_unnamed());
        assert!(matches!(error, AddressError::WrongKind(..)), "{error}");
        // The standard library refuses a NUL before it asks any resolver.
        let place = Place::Host(Host::Name("a\0b".into()), Port::Number(80), Family::Any);
        let error = fault(Address { transport: Transport::Tcp, place });
        assert!(matches!(error, AddressError::ResolutionFailed(..)), "{error}");
        assert!(error.source().is_some());
    }

    #[test]
    fn resolved_addresses_keep_their_order_and_lose_duplicates_and_the_other_family() {
        let found = ["[::1]:80", "1.1.1.1:80", "[::1]:80", "[::2]:80"].map(ip);
        let of = |text| address(text).admitted(found.into_iter()).expect(text);
        assert_eq!(of("tcp://a:80"), [found[0], found[1], found[3]]);
        assert_eq!(of("tcp6://a:80"), [found[0], found[3]]);
        assert_eq!(of("tcp4://a:80"), [found[1]]);
        let error = address("tcp4://a:80").admitted([found[0]].into_iter()).expect_err("only IPv6");
        assert!(matches!(error, AddressError::NoAddress(_)), "{error}");
        assert!(error.to_string().contains("tcp4://a:80"), "{error}");
    }

    #[test]
    fn all_addresses_can_be_listened_on_but_are_no_target() {
        for text in
            "tcp://:80 tls://:443 udp://:53 tcp4://:80 tcp6://:80 tcp://:http tcp://0.0.0.0:80 tcp4://0.0.0.0:1 \
            tcp://[::]:80 tls6://[::]:443 udp://[::%3]:53 tcp://[::ffff:0.0.0.0]:80 tcp://[::0.0.0.0]:80"
                .split_ascii_whitespace()
        {
            let address = address(text);
            assert!(address.is_unspecified() && address.resolve().is_ok(), "{text}");
            refused(address.targets().map(|_| address.clone()), "NoTarget", "write the host's name or IP address");
            refused(
                address.check_target().map(|()| address.clone()),
                "NoTarget",
                &format!("{:?}", address.to_string()),
            );
        }
        for text in ["tcp://127.0.0.1:0", "tcp://[::1]:80", "udp://[::ffff:127.0.0.1]:53", "tcp://0.0.0.1:80"] {
            assert!(!address(text).is_unspecified(), "{text}");
            assert_eq!(address(text).targets().expect(text), address(text).resolve().expect(text));
        }
        for text in ["tcp://localhost:80", "unix:/a"] {
            assert!(!address(text).is_unspecified() && address(text).check_target().is_ok(), "{text}");
        }
    }

    #[test]
    fn a_name_that_resolves_to_all_addresses_has_no_target() {
        let among = |found: &[&str]| address("tcp://a:80").targets_among(found.iter().map(|text| ip(text)));
        assert_eq!(among(&["0.0.0.0:80", "192.0.2.1:80", "[::]:80"]).expect("one"), [ip("192.0.2.1:80")]);
        for found in [&["0.0.0.0:80"][..], &["[::]:80", "0.0.0.0:80"], &["[::ffff:0.0.0.0]:80"]] {
            refused(among(found).map(|_| address("tcp://a:80")), "NoTarget", r#""tcp://a:80""#);
        }
    }

    #[test]
    fn an_ipv4_address_in_the_form_of_ipv6_is_connected_to_as_ipv4() {
        let found = ["[::ffff:192.0.2.1]:80", "192.0.2.1:80", "[2001:db8::1]:80"].map(ip);
        let among = |text| address(text).targets_among(found.into_iter()).expect(text);
        assert_eq!(among("tcp://a:80"), [found[1], found[2]]);
        assert_eq!(among("tcp4://a:80"), [found[1]]);
        assert_eq!(among("tcp6://a:80"), [found[0], found[2]]);
    }

    #[test]
    fn a_services_file_is_read_by_name_alias_and_protocol() {
        let file = "# words\nhttp 80/tcp www web # hidden\n\nbroken\nshell\t514/tcp\nsyslog 514/udp\nodd x/tcp";
        let port = |name, protocol| service_port(file, name, protocol);
        assert_eq!((port("http", "tcp"), port("web", "tcp")), (Some(80), Some(80)));
        assert_eq!((port("syslog", "udp"), port("syslog", "tcp")), (Some(514), None));
        assert_eq!(["hidden", "broken", "odd"].map(|name| port(name, "tcp")), [None; 3]);
        assert_eq!(service_port(SERVICES, "http", "any"), Some(80));
        assert_eq!(service_port(SERVICES, "echo", "any"), Some(7));
    }

    #[test]
    fn no_text_makes_parsing_panic_and_all_that_parses_comes_back_from_its_shown_form() {
        let starts = "tcp tls udp unix unixgram tls+unix [".split(' ').collect::<Vec<_>>();
        let joints = " 4 6 : :// :// ://[".split(' ').collect::<Vec<_>>();
        let pieces = ": : // / @ [ ] % ::1 1 4 6 80 a . - é \n \0 http".split(' ').collect::<Vec<_>>();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as usize % bound
        };
        let mut parsed_count = 0;
        for _ in 0..200_000 {
            let mut text = format!("{}{}", starts[below(starts.len())], joints[below(joints.len())]);
            (0..below(8)).for_each(|_| text.push_str(pieces[below(pieces.len())]));
            let Ok(parsed) = text.parse::<Address>() else {
                continue;
            };
            let shown = parsed.to_string();
            assert_eq!(address(&shown), parsed, "{text:?} is shown as {shown:?}");
            assert_eq!(address(&shown).to_string(), shown, "{text:?}");
            parsed_count += 1;
        }
        assert!(parsed_count > 10_000, "only {parsed_count}: the pieces no longer fit the forms");
    }
}
