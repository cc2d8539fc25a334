//! A client for threads that wait: one interface over TCP, TLS, Unix sockets and datagrams.
//!
//! Owns which connection there is. What carries the bytes is in `client/carrier.rs`, how it comes about in
//! `client/dialling.rs`.
//!
//! 1. The slot is changed under its lock; nobody waits, and no callback runs, while it is held.
//! 2. A connection that broke leaves the slot at once, and its end is told once.

mod builder;
mod carrier;
mod dialling;
mod telling;

use crate::address::Address;
use crate::clock;
use crate::error::{Error, Expiry, Reason};
use crate::handler::ConnState;
use crate::net::stream::Stream;
use crate::settings::ClientConfig;
pub use builder::ClientBuilder;
use builder::{Plan, Timeouts, check_timeout};
use carrier::{Carrier, Kind, not_connected};
use dialling::Deadline;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use telling::{Callbacks, Ends, Teller};

/// How long `close` waits for the peer to take what waits, if no write timeout says so.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A client, for threads that wait: connect, read, write, close, over any transport.
///
/// It reads and writes as a `TcpStream` does, also through a shared reference: clones are handles of the same client, so that
/// one thread may read while another writes and a third one closes. A read or write that takes longer than its timeout
/// fails with `WouldBlock`. The end of a stream is `Ok(0)`; one without TLS' close_notify fails with `UnexpectedEof`. Of
/// datagrams each read takes one and each write sends one, and `Ok(0)` is an empty one.
///
/// A connection that breaks is told once, to `on_error` and to the call that noticed; from then on the client is not
/// connected, and `read`, `write` and `close` fail with `NotConnected`. `connect` connects it again, as often as one likes.
///
/// It blocks: on a reactor's thread it would hold all of its connections up.
///
/// ```
/// use std::io::{Read, Write};
/// use std::time::Duration;
/// use windlass::Client;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = format!("tcp://{}", listener.local_addr()?);
/// # std::thread::spawn(move || { let (socket, _) = listener.accept().unwrap(); std::io::copy(&mut &socket, &mut &socket) });
/// let mut client = Client::builder(address.parse()?).read_timeout(Some(Duration::from_secs(5))).build()?;
/// client.connect(Duration::from_secs(5))?;
/// client.write_all(b"hello")?;
/// client.shutdown_write()?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert_eq!(answer, "hello");
/// client.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

struct Shared {
    plan: Plan,
    slot: Mutex<Slot>,
    timeouts: Mutex<Timeouts>,
    /// Addresses that are tried last.
    shunned: Mutex<Vec<SocketAddr>>,
    teller: Teller,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.plan.address).finish_non_exhaustive()
    }
}

/// The connection there is.
enum Slot {
    Idle,
    /// One is being made.
    Connecting(Attempt),
    /// It was closed while it was being made.
    Cancelled,
    Connected(Arc<Carrier>),
}

/// What [`Client::once`] does when the request is sent.
///
/// ```
/// use std::io::Read;
/// use std::time::Duration;
/// use windlass::{AfterRequest, Client, Server, handler_fn};
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .handler(|| |_: &windlass::Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
///     .build()?;
/// server.listen()?;
/// let client = Client::builder(server.local_addresses()[0].clone()).build()?;
/// // The server reads to our end, and answers.
/// let answer = client.once(&b"ping"[..], AfterRequest::HalfClose, Duration::from_secs(5), |reader| {
///     let mut answer = Vec::new();
///     reader.read_to_end(&mut answer)?;
///     Ok(answer)
/// })?;
/// assert_eq!(answer, b"ping");
/// server.close()?;
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRequest {
    /// The connection stays open both ways: the request says itself where it ends.
    KeepOpen,
    /// This side ends: the end of the stream is that of the request. Datagrams have no such end.
    HalfClose,
}

impl Client {
    /// One whose plan was checked.
    fn of(plan: Plan, timeouts: Timeouts, callbacks: Callbacks) -> Client {
        let (slot, timeouts, teller) = (Mutex::new(Slot::Idle), Mutex::new(timeouts), Teller::new(callbacks));
        Client(Arc::new(Shared { plan, slot, timeouts, shunned: Mutex::default(), teller }))
    }

    /// Begins to say what a client is to be. `address` is of any form that servers listen on.
    pub fn builder(address: Address) -> ClientBuilder {
        ClientBuilder::new(address)
    }

    /// Begins with all that a configuration says, read from a file perhaps. Callbacks are still to be added.
    ///
    /// # Errors
    /// As [`ClientConfig::validate`], and `Config` for keys that only a [`Connector`](crate::Connector) takes.
    pub fn configured(config: &ClientConfig) -> Result<ClientBuilder, Error> {
        let builder = Client::builder(config.address().clone());
        let builder = builder.connect_config(config.connect_config()?).datagram_config(config.datagram_config()?);
        builder.read_timeout(config.read_timeout).write_timeout(config.write_timeout).check_keys()
    }

    /// Connects, and shakes hands if that is asked for, all within `timeout`, or within `Limits::connect_timeout` of
    /// [`ClientBuilder::connect_config`] or of the settings if that is sooner. A connection that there is already is closed
    /// first, without waiting: one whose peer has not taken all is reset.
    ///
    /// All addresses of a name are tried, at most 64 of each lookup, those of IPv6 and IPv4 in turn, each 250 ms after the one
    /// before, a quarter of the time if that is less than a second, or when that has failed. The first one that is ready is taken,
    /// with TLS the first whose handshake is done (RFC 8305). Those whose handshake failed, or that were slower than another one or
    /// than the timeout, are tried last next time.
    ///
    /// # Errors
    /// `Address` for a name that cannot be resolved, `Connect` for one that nobody answers at in time, `Broken` if the
    /// handshake fails, `Cancelled` if another thread called `close` meanwhile, `Connecting` if another thread connects.
    pub fn connect(&self, timeout: Duration) -> Result<(), Error> {
        let connected = self.connect_by(clock::until(Instant::now(), timeout));
        connected.map(drop).inspect_err(|error| self.0.teller.error(error))
    }

    fn connect_by(&self, until: Instant) -> Result<Arc<Carrier>, Error> {
        let shared = &self.0;
        let (claim, old) = Claim::on(shared)?;
        if let Some(old) = old {
            // Whatever comes of that: the new connection is what counts. A peer that does not read gets none of its time.
            let _ = shared.end(&old, Some(Instant::now()));
        }
        let remote = &shared.plan.address;
        let deadline = Deadline::new(Instant::now(), until, &shared.plan.connect.limits);
        shared.teller.state(&Ends::new(None, remote.clone()), ConnState::Dial);
        let kind = shared.dial(deadline)?;
        let local = match &kind {
            Kind::Stream(link) => {
                link.local_address().map(|local| if remote.transport().is_tls() { local.over_tls() } else { local })
            }
            Kind::Datagrams(datagrams) => datagrams.local_address(),
        };
        let carrier = Arc::new(Carrier { kind, ends: Ends::new(local, remote.clone()) });
        if !claim.install(carrier.clone()) {
            return Err(Error::Cancelled);
        }
        shared.teller.tell();
        Ok(carrier)
    }

    /// Whether it is connected, as far as this side can know: not after the peer's end, a reset, or an end of our own. What
    /// the peer has sent already is looked at, but not taken. Datagrams know no connection: there it is whether the socket
    /// is open.
    pub fn is_connected(&self) -> bool {
        self.0.carrier().is_ok_and(|carrier| carrier.is_connected())
    }

    /// Ends the connection: what was written is sent, then our end. A `connect` of another thread is called off; whoever
    /// waits in a read or write returns with `NotConnected`.
    ///
    /// # Errors
    /// `NotConnected`; `Broken` if the peer does not take what waits within the write timeout, or 10 s without one: it is
    /// reset then; or if it is lost because the peer has reset the connection.
    pub fn close(&self) -> Result<(), Error> {
        let carrier = {
            let mut slot = self.0.lock();
            match std::mem::replace(&mut *slot, Slot::Idle) {
                Slot::Connected(carrier) => carrier,
                Slot::Connecting(attempt) => {
                    attempt.call_off();
                    *slot = Slot::Cancelled;
                    return Ok(());
                }
                Slot::Cancelled => {
                    *slot = Slot::Cancelled;
                    return Ok(());
                }
                Slot::Idle => return Err(Error::NotConnected),
            }
        };
        let timeout = self.0.timeouts().write.unwrap_or(CLOSE_TIMEOUT);
        let ended = self.0.end(&carrier, Some(clock::until(Instant::now(), timeout)));
        ended.inspect_err(|error| self.0.teller.error(error))
    }

    /// Ends this side of a stream, once all that was written is sent (half-close); the peer's data still comes.
    ///
    /// # Errors
    /// `NotConnected`, or `WouldBlock` if the write timeout runs out; `Unsupported` for datagrams, which have no end.
    pub fn shutdown_write(&self) -> io::Result<()> {
        let until = self.0.write_until();
        self.0.finish(&self.0.carrier()?, until)
    }

    /// How long a read may take from now on; `None` leaves it to the limits of the configuration.
    ///
    /// # Errors
    /// `Config` for zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> Result<(), Error> {
        check_timeout("read_timeout", timeout)?;
        self.0.timeouts().read = timeout;
        Ok(())
    }

    /// How long a write may take from now on; `None` leaves it to the limits of the configuration.
    ///
    /// # Errors
    /// `Config` for zero.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> Result<(), Error> {
        check_timeout("write_timeout", timeout)?;
        self.0.timeouts().write = timeout;
        Ok(())
    }

    /// What it connects to, as it was given.
    pub fn address(&self) -> &Address {
        &self.0.plan.address
    }

    /// This side's address; `None` while it is not connected.
    pub fn local_address(&self) -> Option<Address> {
        self.0.carrier().ok()?.ends.local.clone()
    }

    /// The peer's address, one of those of its name; `None` while it is not connected.
    pub fn peer_address(&self) -> Option<Address> {
        self.0.carrier().ok()?.peer_address()
    }

    /// Runs `look` on what was agreed on in the TLS handshake; `None` without TLS, and while it is not connected. Meanwhile
    /// nobody else can use the connection, `look` least of all.
    #[cfg(feature = "tls")]
    pub fn tls<T>(&self, look: impl FnOnce(crate::link::session::TlsInfo<'_>) -> T) -> Option<T> {
        match &self.0.carrier().ok()?.kind {
            Kind::Stream(link) => link.tls(look),
            Kind::Datagrams(_) => None,
        }
    }

    /// Connects, sends all of `request`, has `respond` read the answer, and closes; `timeout` bounds it all, and the connecting
    /// as in [`Client::connect`]. A connection that there is already is closed first.
    ///
    /// A stream's request is sent before the answer is read: a peer that does not read on while its answer waits can hold
    /// a long one up until the time is over. Of datagrams the request is one, and each read takes one.
    ///
    /// # Errors
    /// As [`Client::connect`]; `Exchange` with what went wrong then: `TimedOut` at the deadline, what reading `request` or
    /// `respond` returned. It is told to `on_error` once.
    pub fn once<T>(
        &self,
        request: impl Read,
        after: AfterRequest,
        timeout: Duration,
        respond: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> Result<T, Error> {
        let until = clock::until(Instant::now(), timeout);
        let exchanged = self.connect_by(until).and_then(|carrier| {
            let _lent = Lent(&self.0, &carrier);
            let answered = self.0.exchange(&carrier, request, after, until, respond);
            let closed = self.0.leave(&carrier, Some(until));
            let address = || Box::new(self.0.plan.address.clone());
            let answer = answered.map_err(|source| Error::Exchange { address: address(), source: in_time(source) })?;
            closed.map(|()| answer)
        });
        exchanged.inspect_err(|error| self.0.teller.error(error))
    }
}

/// Fails when the time is over.
fn check_time(until: Instant) -> io::Result<()> {
    if Instant::now() < until { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
}

/// Cuts a connection if what it is lent to panics; else it is over already.
struct Lent<'a>(&'a Shared, &'a Arc<Carrier>);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Lent(shared, carrier) = self;
        if shared.take(carrier) {
            carrier.cut();
            shared.teller.state(&carrier.ends, ConnState::Close);
        }
    }
}

/// A deadline over several calls is no matter of one that would block.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "the time for the whole exchange is over"),
        _ => error,
    }
}

/// What is under way of a connect.
#[derive(Default)]
struct Attempt {
    sockets: Vec<Arc<Stream>>,
    waker: Option<Arc<UnixStream>>,
}

impl Attempt {
    /// Wakes whoever waits for it.
    fn call_off(&self) {
        for socket in &self.sockets {
            // One that has failed already needs no waking.
            let _ = socket.shut(Shutdown::Both);
        }
        if let Some(waker) = &self.waker {
            let _ = waker.shutdown(Shutdown::Both);
        }
    }
}

/// The slot while a connect is under way; it is idle again when this is dropped.
struct Claim<'a>(&'a Shared);

impl Claim<'_> {
    fn on(shared: &Shared) -> Result<(Claim<'_>, Option<Arc<Carrier>>), Error> {
        let mut slot = shared.lock();
        let old = match &*slot {
            Slot::Idle => None,
            Slot::Connected(carrier) => Some(carrier.clone()),
            Slot::Connecting(_) | Slot::Cancelled => return Err(Error::Connecting),
        };
        *slot = Slot::Connecting(Attempt::default());
        Ok((Claim(shared), old))
    }

    /// Puts the connection in its place, unless it was called off. Then it is lined up to be told of, before anything that
    /// is done with it.
    fn install(self, carrier: Arc<Carrier>) -> bool {
        let mut slot = self.0.lock();
        let is_wanted = matches!(*slot, Slot::Connecting(_));
        if is_wanted {
            let (teller, ends) = (&self.0.teller, &carrier.ends);
            teller.line_up(ends, ConnState::New);
            if ends.remote.transport().is_tls() {
                teller.line_up(ends, ConnState::Handshake);
            }
            *slot = Slot::Connected(carrier);
            // From here on the slot may be another claim's.
            std::mem::forget(self);
        }
        is_wanted
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut slot = self.0.lock();
        if let Slot::Connecting(_) | Slot::Cancelled = *slot {
            *slot = Slot::Idle;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timeouts(&self) -> MutexGuard<'_, Timeouts> {
        self.timeouts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shunned(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.shunned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_until(&self) -> Option<Instant> {
        self.timeouts().write.map(|timeout| clock::until(Instant::now(), timeout))
    }

    fn carrier(&self) -> io::Result<Arc<Carrier>> {
        match &*self.lock() {
            Slot::Connected(carrier) => Ok(carrier.clone()),
            Slot::Idle | Slot::Connecting(_) | Slot::Cancelled => Err(not_connected()),
        }
    }

    // --- a connect under way --------------------------------------------------------------------------------------

    fn is_cancelled(&self) -> bool {
        matches!(*self.lock(), Slot::Cancelled)
    }

    /// Says what `close` has to call off, unless it has been called.
    fn show(&self, under_way: Attempt) -> Result<(), Error> {
        match &mut *self.lock() {
            Slot::Connecting(attempt) => {
                *attempt = under_way;
                Ok(())
            }
            Slot::Idle | Slot::Cancelled | Slot::Connected(_) => Err(Error::Cancelled),
        }
    }

    // --- a connection ---------------------------------------------------------------------------------------------

    fn read(&self, carrier: &Arc<Carrier>, buffer: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let read = carrier.read(buffer, until).map_err(|error| self.noted(carrier, error))?;
        if read > 0 || matches!(carrier.kind, Kind::Datagrams(_)) {
            self.teller.state(&carrier.ends, ConnState::Read);
        } else {
            self.teller.state(&carrier.ends, ConnState::CloseRead);
        }
        Ok(read)
    }

    fn write(&self, carrier: &Arc<Carrier>, bytes: &[u8], until: Option<Instant>) -> io::Result<usize> {
        let written = carrier.write(bytes, until).map_err(|error| self.noted(carrier, error))?;
        if written > 0 || matches!(carrier.kind, Kind::Datagrams(_)) {
            self.teller.state(&carrier.ends, ConnState::Write);
        }
        Ok(written)
    }

    fn finish(&self, carrier: &Arc<Carrier>, until: Option<Instant>) -> io::Result<()> {
        let Kind::Stream(link) = &carrier.kind else {
            let why = "datagrams have no end that could be said; close the client";
            return Err(io::Error::new(ErrorKind::Unsupported, why));
        };
        link.finish_by(until).map_err(|error| self.noted(carrier, error))?;
        self.teller.state(&carrier.ends, ConnState::CloseWrite);
        Ok(())
    }

    /// Takes a connection that broke out of the slot, and tells so; whoever else notices finds it gone.
    fn noted(&self, carrier: &Arc<Carrier>, error: io::Error) -> io::Error {
        let Some((reason, detail)) = carrier.fatal(&error) else { return error };
        if !self.take(carrier) {
            return not_connected();
        }
        carrier.cut();
        // First, so that a callback for errors that connects again finds the old connection over.
        self.teller.state(&carrier.ends, ConnState::Close);
        self.teller.error(&Error::Broken { address: Box::new(self.plan.address.clone()), reason, detail });
        error
    }

    /// Takes this connection out of the slot, if it is there.
    fn take(&self, carrier: &Arc<Carrier>) -> bool {
        let mut slot = self.lock();
        let is_there = matches!(&*slot, Slot::Connected(there) if Arc::ptr_eq(there, carrier));
        if is_there {
            *slot = Slot::Idle;
        }
        is_there
    }

    /// Ends a connection that is out of the slot.
    fn end(&self, carrier: &Arc<Carrier>, until: Option<Instant>) -> Result<(), Error> {
        let closed = carrier.close(until);
        self.teller.state(&carrier.ends, ConnState::Close);
        let reason = match closed {
            Ok(()) => return Ok(()),
            // Somebody else has closed it.
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Reason::Timeout(Expiry::WriteStall),
            Err(error) => carrier.fatal(&error).map_or(Reason::of(&error), |(reason, _)| reason),
        };
        Err(Error::Broken { address: Box::new(self.plan.address.clone()), reason, detail: None })
    }

    /// Ends a connection, unless somebody else has.
    fn leave(&self, carrier: &Arc<Carrier>, until: Option<Instant>) -> Result<(), Error> {
        if self.take(carrier) { self.end(carrier, until) } else { Ok(()) }
    }

    /// Sends a request and has the answer read.
    fn exchange<T>(
        &self,
        carrier: &Arc<Carrier>,
        mut request: impl Read,
        after: AfterRequest,
        until: Instant,
        respond: impl FnOnce(&mut dyn Read) -> io::Result<T>,
    ) -> io::Result<T> {
        if let Kind::Datagrams(datagrams) = &carrier.kind {
            let mut datagram = Vec::new();
            // One byte too many is refused as any datagram that is too long.
            request.take(datagrams.bytes_max() as u64 + 1).read_to_end(&mut datagram)?;
            carrier.write(&datagram, Some(until))?;
            self.teller.state(&carrier.ends, ConnState::Write);
        } else {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let bytes = match request.read(&mut piece) {
                    Ok(0) => break,
                    Ok(bytes) => bytes,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                check_time(until)?;
                let mut sent = 0;
                while sent < bytes {
                    sent += carrier.write(&piece[sent..bytes], Some(until))?;
                }
                self.teller.state(&carrier.ends, ConnState::Write);
            }
            carrier.flush(Some(until))?;
            if let (AfterRequest::HalfClose, Kind::Stream(link)) = (after, &carrier.kind) {
                link.finish_by(Some(until))?;
                self.teller.state(&carrier.ends, ConnState::CloseWrite);
            }
        }
        respond(&mut Answer { shared: self, carrier, until })
    }
}

/// What an answer is read from.
struct Answer<'a> {
    shared: &'a Shared,
    carrier: &'a Arc<Carrier>,
    until: Instant,
}

impl Read for Answer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // A peer that sends without end is never waited for.
        let read =
            check_time(self.until).and_then(|()| self.carrier.read(buffer, Some(self.until))).map_err(in_time)?;
        let (teller, ends) = (&self.shared.teller, &self.carrier.ends);
        if read > 0 || matches!(self.carrier.kind, Kind::Datagrams(_)) {
            teller.state(ends, ConnState::Read);
        } else {
            teller.state(ends, ConnState::CloseRead);
        }
        Ok(read)
    }
}

impl Read for &Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = self.0.timeouts().read.map(|timeout| clock::until(Instant::now(), timeout));
        self.0.read(&self.0.carrier()?, buffer, until)
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let until = self.0.write_until();
        self.0.write(&self.0.carrier()?, bytes, until)
    }

    fn flush(&mut self) -> io::Result<()> {
        let carrier = self.0.carrier()?;
        carrier.flush(self.0.write_until()).map_err(|error| self.0.noted(&carrier, error))
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Drop for Shared {
    /// Says our end, but waits for nothing.
    fn drop(&mut self) {
        if let Slot::Connected(carrier) = &*self.lock() {
            self.teller.state(&carrier.ends, ConnState::Close);
        }
    }
}
