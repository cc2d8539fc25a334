//! The other end of a connection: a plain non-blocking socket that a test reads and writes while the world turns.

#[cfg(feature = "tls")]
use super::security::Secured;
use super::{Kind, World};
use socket2::{Domain, SockAddr, Socket, Type};
#[cfg(feature = "tls")]
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;
use std::time::Duration;
use windlass::Address;

/// The other end of a connection: a non-blocking socket, with TLS on it or not. Dropping it closes it.
pub struct Peer(pub Rc<Socket>, Layer);

/// What lies on the socket.
enum Layer {
    Plain,
    #[cfg(feature = "tls")]
    Tls(Rc<RefCell<Secured>>),
}

impl Drop for Peer {
    fn drop(&mut self) {
        match &self.1 {
            Layer::Plain => {}
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => Secured::take_leave(tls),
        }
    }
}

/// A Unix socket that passes a descriptor along with all that is written to it: SCM_RIGHTS of unix(7).
struct Passing<'a>(&'a Socket);

impl Write for &Passing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        let passed = [self.0.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        assert!(rights.push(SendAncillaryMessage::ScmRights(&passed)));
        Ok(sendmsg(self.0, &[IoSlice::new(bytes)], &mut rights, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Peer {
    /// A peer on a connected socket.
    pub fn plain(socket: impl Into<Socket>) -> Peer {
        Peer(Rc::new(socket.into()), Layer::Plain)
    }

    /// The accepting side of a connection of such a kind.
    pub fn host(socket: Socket, kind: Kind) -> Peer {
        let peer = Peer::plain(socket);
        #[cfg(feature = "tls")]
        if kind.is_tls() {
            let tls = Secured::server(&peer.0);
            return peer.over(tls);
        }
        let _ = kind;
        peer
    }

    /// The dialling side of a connection of such a kind.
    pub fn guest(socket: Socket, kind: Kind) -> Peer {
        let peer = Peer::plain(socket);
        #[cfg(feature = "tls")]
        if kind.is_tls() {
            let tls = Secured::client(&peer.0);
            return peer.over(tls);
        }
        let _ = kind;
        peer
    }

    #[cfg(feature = "tls")]
    fn over(mut self, tls: Rc<RefCell<Secured>>) -> Peer {
        self.1 = Layer::Tls(tls);
        self
    }

    /// Connects to a listener.
    ///
    /// # Errors
    /// What the system says.
    pub fn dial(address: &Address) -> io::Result<Peer> {
        let (domain, at) = match (address.ip(), address.path(), address.abstract_name()) {
            (Some(ip), ..) => (Domain::for_address(ip), SockAddr::from(ip)),
            (_, Some(path), _) => (Domain::UNIX, SockAddr::unix(path)?),
            (_, _, Some(name)) => (Domain::UNIX, SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()))?),
            (None, None, None) => panic!("{address} is no place to connect to"),
        };
        let socket = Socket::new(domain, Type::STREAM, None)?;
        // Else thousands of peers in TIME_WAIT leave no port 0 to those who listen next.
        socket.set_reuse_address(true)?;
        if domain != Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        socket.connect(&at)?;
        socket.set_nonblocking(true)?;
        #[cfg(feature = "tls")]
        if address.transport().is_tls() {
            return Ok(Peer::guest(socket, Kind::Tls));
        }
        Ok(Peer::plain(socket))
    }

    /// Ends its output.
    pub fn finish(&self) {
        match &self.1 {
            Layer::Plain => self.0.shutdown(Shutdown::Write).expect("a shutdown"),
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => tls.borrow_mut().finish(),
        }
    }

    /// Closes with a reset (TCP); a Unix socket resets only if it leaves input unread.
    pub fn reset(mut self) {
        self.1 = Layer::Plain;
        self.0.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }

    /// The port that it connected from (TCP).
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").as_socket().expect("an IP address").port()
    }

    /// Reads once; `None` if there is nothing now.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let result = match &self.1 {
            Layer::Plain => (&*self.0).read(buffer),
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => tls.borrow_mut().read(buffer),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            result => {
                self.acknowledge();
                Some(result)
            }
        }
    }

    /// Acknowledges what came (TCP). Else Linux may hold it back for 40 ms, for which a sender with small buffers waits.
    fn acknowledge(&self) {
        #[cfg(target_os = "linux")]
        let _ = self.0.set_tcp_quickack(true);
    }

    /// Writes what the kernel takes now; 0 if it takes nothing.
    pub fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = match &self.1 {
            Layer::Plain => (&*self.0).write(bytes),
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => tls.borrow_mut().write(bytes),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// Writes few bytes, and passes a descriptor along with what carries them (Unix).
    pub fn write_with_a_descriptor(&mut self, bytes: &[u8]) {
        let passing = Passing(&self.0);
        match &self.1 {
            Layer::Plain => (&passing).write_all(bytes).expect("a write"),
            #[cfg(feature = "tls")]
            Layer::Tls(tls) => tls.borrow_mut().write_by(bytes, &mut &passing).expect("a write"),
        }
    }

    /// Sends all, while the world turns.
    pub fn send_all_while(&mut self, world: &mut World, bytes: &[u8]) {
        let mut sent = 0;
        world.until("the peer to send all", |_| {
            sent += self.write_some(&bytes[sent..]).expect("a write");
            sent == bytes.len()
        });
    }

    /// Reads exactly `count` bytes, while the world turns.
    pub fn read_exact_while(&mut self, world: &mut World, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        world.until("the peer to read what it expects", |_| {
            while filled < count {
                match self.try_read(&mut bytes[filled..]) {
                    None => break,
                    Some(Ok(0)) => panic!("the end came after {filled} of {count} bytes"),
                    Some(result) => filled += result.expect("a read"),
                }
            }
            filled == count
        });
        bytes
    }

    /// Reads until the connection is closed, in whatever way: before its handshake TLS has no end of its own.
    pub fn read_to_close_while(&mut self, world: &mut World) -> Vec<u8> {
        match self.read_to_end_while(world) {
            Ok(bytes) => bytes,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                Vec::new()
            }
        }
    }

    /// Reads until the end, while the world turns, and tells all that came.
    ///
    /// # Errors
    /// The error that ended it: `ConnectionReset` if it was a reset.
    pub fn read_to_end_while(&mut self, world: &mut World) -> io::Result<Vec<u8>> {
        let (mut all, mut buffer, mut end) = (Vec::new(), vec![0; 64 * 1024], None);
        world.until("the peer to read the end", |_| {
            while end.is_none() {
                match self.try_read(&mut buffer) {
                    None => break,
                    Some(Ok(0)) => end = Some(Ok(())),
                    Some(Ok(count)) => all.extend_from_slice(&buffer[..count]),
                    Some(Err(error)) => end = Some(Err(error)),
                }
            }
            end.is_some()
        });
        end.unwrap_or(Ok(())).map(|()| all)
    }
}
