//! Datagram sockets for the tests: the transports, plain mates at the other end, and handlers made of closures whose
//! callbacks are recorded and held to their grammar.
//!
//! `( on_bound ( on_datagram | on_writable | on_timer | on_drain | on_error )* )? on_close`, and once it closes only
//! `on_error` and `on_close`.

use super::World;
use super::book::{self, At, Book};
use rustix::net::{RecvFlags, SendFlags, SocketAddrAny, SocketAddrUnix};
use socket2::{Domain, Socket, Type};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use windlass::{
    Address, Context, Datagram, DatagramConfig, DatagramError, DatagramHandler, DatagramPeer, Datagrams, EndpointId,
    Error, OtherEndpoint, Reason, SendError,
};

/// The transports over which every datagram scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    UdpV4,
    UdpV6,
    UnixPath,
    UnixAbstract,
}

impl Wire {
    pub const ALL: &[Wire] = &[Wire::UdpV4, Wire::UdpV6, Wire::UnixPath, Wire::UnixAbstract];
    pub const UDP: &[Wire] = &[Wire::UdpV4, Wire::UdpV6];
    pub const UNIX: &[Wire] = &[Wire::UnixPath, Wire::UnixAbstract];

    pub fn is_unix(self) -> bool {
        matches!(self, Wire::UnixPath | Wire::UnixAbstract)
    }
}

/// Runs a scenario over some transports; the output of a failed one names it.
pub fn each_wire(wires: &[Wire], mut scenario: impl FnMut(Wire)) {
    for wire in wires.iter().copied() {
        eprintln!("over {wire:?}:");
        scenario(wire);
    }
}

// --- the record ---------------------------------------------------------------------------------------------------

/// One callback, as it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Bound,
    /// So many bytes came.
    Datagram(usize),
    Writable,
    Timer,
    Drain,
    Error,
    Close(Reason),
}

impl book::Word for Word {
    type Id = EndpointId;

    fn next(self, at: At) -> Option<At> {
        match (at, self) {
            (At::Made, Word::Bound) => Some(At::Open),
            (At::Open, Word::Datagram(_) | Word::Writable | Word::Timer | Word::Drain | Word::Error) => Some(At::Open),
            (At::Ending, Word::Error) => Some(At::Ending),
            (At::Made | At::Open | At::Ending | At::Panicked, Word::Close(_)) => Some(At::Closed),
            _ => None,
        }
    }
}

/// What all recorders of a world recorded; handlers are numbered from 0 in the order in which they were made.
#[derive(Clone, Default)]
pub struct PostLog {
    book: Book<Word>,
    /// What `on_error` was told as text, each with the handler's number.
    errors: Rc<RefCell<Vec<(usize, String)>>>,
}

impl PostLog {
    /// Wraps a handler so that its callbacks are recorded here.
    pub fn record<H: DatagramHandler>(&self, handler: H) -> PostRecorder<H> {
        PostRecorder { handler, log: self.clone(), serial: self.book.add() }
    }

    /// The callbacks of one handler so far.
    pub fn words(&self, serial: usize) -> Vec<Word> {
        self.book.with(serial, |entry| entry.words.clone())
    }

    /// How often one handler was called so.
    pub fn count(&self, serial: usize, is: impl Fn(&Word) -> bool) -> usize {
        self.book.with(serial, |entry| entry.words.iter().filter(|word| is(word)).count())
    }

    /// Datagrams that one handler was shown.
    pub fn datagrams(&self, serial: usize) -> usize {
        self.count(serial, |word| matches!(word, Word::Datagram(_)))
    }

    /// What `on_error` of one handler was told, as text.
    pub fn errors(&self, serial: usize) -> Vec<String> {
        self.errors.borrow().iter().filter(|(of, _)| *of == serial).map(|(_, text)| text.clone()).collect()
    }

    /// Why one handler was closed, if it was.
    pub fn reason(&self, serial: usize) -> Option<Reason> {
        self.book.with(serial, |entry| match entry.words.last() {
            Some(Word::Close(reason)) => Some(*reason),
            _ => None,
        })
    }

    /// Fails the test if a callback came that the grammar does not allow.
    pub fn check(&self) {
        self.book.check();
    }

    /// Fails the test if a handler was not told `on_close`, too.
    pub fn check_over(&self) {
        self.book.check_over();
    }
}

thread_local! {
    /// The record of this thread's world, so that [`close`] need not be given it.
    static LOG: RefCell<Option<PostLog>> = const { RefCell::new(None) };
}

fn closing(id: EndpointId) {
    LOG.with_borrow(|log| log.as_ref().expect("a world").book.begin_end(id));
}

/// Closes an endpoint from its own callback; only `on_error` and `on_close` may follow.
pub fn close(sock: &mut Datagrams<'_>) {
    sock.close();
    closing(sock.id());
}

/// Closes an endpoint from elsewhere on its reactor.
pub fn close_other(cx: &mut Context<'_>, id: EndpointId) {
    cx.endpoint(id).expect("it lives").close();
    closing(id);
}

/// A handler whose callbacks are recorded and held to the grammar.
pub struct PostRecorder<H> {
    handler: H,
    log: PostLog,
    serial: usize,
}

impl<H: DatagramHandler> DatagramHandler for PostRecorder<H> {
    fn on_bound(&mut self, sock: &mut Datagrams<'_>) {
        let _visit = self.log.book.enter(self.serial, Word::Bound, sock.id());
        self.handler.on_bound(sock);
    }

    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        let _visit = self.log.book.enter(self.serial, Word::Datagram(datagram.data.len()), sock.id());
        self.handler.on_datagram(sock, datagram);
    }

    fn on_writable(&mut self, sock: &mut Datagrams<'_>) {
        let _visit = self.log.book.enter(self.serial, Word::Writable, sock.id());
        self.handler.on_writable(sock);
    }

    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        let _visit = self.log.book.enter(self.serial, Word::Timer, sock.id());
        self.handler.on_timer(sock);
    }

    fn on_error(&mut self, sock: &mut Datagrams<'_>, error: &DatagramError) {
        let _visit = self.log.book.enter(self.serial, Word::Error, sock.id());
        self.log.errors.borrow_mut().push((self.serial, error.to_string()));
        self.handler.on_error(sock, error);
    }

    fn on_drain(&mut self, sock: &mut Datagrams<'_>) {
        let _visit = self.log.book.enter(self.serial, Word::Drain, sock.id());
        self.handler.on_drain(sock);
    }

    fn on_close(&mut self, sock: &mut Datagrams<'_>, reason: Reason) {
        let _visit = self.log.book.enter(self.serial, Word::Close(reason), sock.id());
        self.handler.on_close(sock, reason);
        let to = DatagramPeer::from(SocketAddr::from(([127, 0, 0, 1], 9)));
        if !matches!((sock.send_to(&to, b"x"), sock.send(b"x")), (Err(SendError::NotOpen), Err(SendError::NotOpen))) {
            self.log.book.fault(self.serial, "a send in on_close was taken");
        }
    }
}

// --- handlers -----------------------------------------------------------------------------------------------------

type Hook = Box<dyn FnMut(&mut Datagrams<'_>)>;
type DatagramHook = Box<dyn FnMut(&mut Datagrams<'_>, &Datagram<'_>)>;
type ErrorHook = Box<dyn FnMut(&mut Datagrams<'_>, &DatagramError)>;
type CloseHook = Box<dyn FnMut(&mut Datagrams<'_>, Reason)>;

/// A handler made of closures; what none was given for does what the library does by default.
#[derive(Default)]
pub struct PostHooks {
    bound: Option<Hook>,
    datagram: Option<DatagramHook>,
    writable: Option<Hook>,
    timer: Option<Hook>,
    drain: Option<Hook>,
    error: Option<ErrorHook>,
    close: Option<CloseHook>,
}

impl PostHooks {
    pub fn new() -> PostHooks {
        PostHooks::default()
    }

    pub fn bound(mut self, hook: impl FnMut(&mut Datagrams<'_>) + 'static) -> PostHooks {
        self.bound = Some(Box::new(hook));
        self
    }

    pub fn datagram(mut self, hook: impl FnMut(&mut Datagrams<'_>, &Datagram<'_>) + 'static) -> PostHooks {
        self.datagram = Some(Box::new(hook));
        self
    }

    pub fn writable(mut self, hook: impl FnMut(&mut Datagrams<'_>) + 'static) -> PostHooks {
        self.writable = Some(Box::new(hook));
        self
    }

    pub fn timer(mut self, hook: impl FnMut(&mut Datagrams<'_>) + 'static) -> PostHooks {
        self.timer = Some(Box::new(hook));
        self
    }

    pub fn drain(mut self, hook: impl FnMut(&mut Datagrams<'_>) + 'static) -> PostHooks {
        self.drain = Some(Box::new(hook));
        self
    }

    pub fn error(mut self, hook: impl FnMut(&mut Datagrams<'_>, &DatagramError) + 'static) -> PostHooks {
        self.error = Some(Box::new(hook));
        self
    }

    pub fn close(mut self, hook: impl FnMut(&mut Datagrams<'_>, Reason) + 'static) -> PostHooks {
        self.close = Some(Box::new(hook));
        self
    }
}

/// What every callback does by default.
struct Silent;

impl DatagramHandler for Silent {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &Datagram<'_>) {}
}

impl DatagramHandler for PostHooks {
    fn on_bound(&mut self, sock: &mut Datagrams<'_>) {
        match &mut self.bound {
            Some(hook) => hook(sock),
            None => Silent.on_bound(sock),
        }
    }

    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        match &mut self.datagram {
            Some(hook) => hook(sock, datagram),
            None => Silent.on_datagram(sock, datagram),
        }
    }

    fn on_writable(&mut self, sock: &mut Datagrams<'_>) {
        match &mut self.writable {
            Some(hook) => hook(sock),
            None => Silent.on_writable(sock),
        }
    }

    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        match &mut self.timer {
            Some(hook) => hook(sock),
            None => Silent.on_timer(sock),
        }
    }

    fn on_error(&mut self, sock: &mut Datagrams<'_>, error: &DatagramError) {
        match &mut self.error {
            Some(hook) => hook(sock, error),
            None => Silent.on_error(sock, error),
        }
    }

    fn on_drain(&mut self, sock: &mut Datagrams<'_>) {
        match &mut self.drain {
            Some(hook) => hook(sock),
            None => {
                Silent.on_drain(sock);
                closing(sock.id());
            }
        }
    }

    fn on_close(&mut self, sock: &mut Datagrams<'_>, reason: Reason) {
        match &mut self.close {
            Some(hook) => hook(sock, reason),
            None => Silent.on_close(sock, reason),
        }
    }
}

/// Every datagram goes back to where it came from.
pub fn echoing() -> PostHooks {
    PostHooks::new().datagram(|sock, datagram| sock.send_to(datagram.from, datagram.data).expect("room"))
}

// --- the world ----------------------------------------------------------------------------------------------------

impl World {
    /// A free address of such a kind.
    pub fn free_post(&mut self, wire: Wire) -> Address {
        static NAMES: AtomicUsize = AtomicUsize::new(0);
        let number = NAMES.fetch_add(1, Ordering::Relaxed);
        match wire {
            Wire::UdpV4 => "udp://127.0.0.1:0".parse().expect("an address"),
            Wire::UdpV6 => "udp://[::1]:0".parse().expect("an address"),
            Wire::UnixPath => Address::unixgram(self.path(&format!("post{number}"))).expect("a short path"),
            Wire::UnixAbstract => {
                let name = format!("windlass test {} {number}", std::process::id());
                Address::unixgram_abstract(name).expect("a short name")
            }
        }
    }

    /// Binds to a free address and tells the real one; everything of it is recorded.
    pub fn bind(&mut self, wire: Wire, config: DatagramConfig, handler: impl DatagramHandler) -> (EndpointId, Address) {
        let address = self.free_post(wire);
        self.bind_to(&address, config, handler)
    }

    /// Binds to `address` and tells the real one; everything of it is recorded.
    pub fn bind_to(
        &mut self,
        address: &Address,
        config: DatagramConfig,
        handler: impl DatagramHandler,
    ) -> (EndpointId, Address) {
        let handler = self.record_post(handler);
        let id = self.reactor().bind(address, config, handler).expect("an endpoint");
        (id, self.reactor().endpoint_address(id).expect("it is bound"))
    }

    /// Where an endpoint is bound.
    pub fn endpoint_address(&self, id: EndpointId) -> Address {
        self.reactor.as_ref().and_then(|reactor| reactor.endpoint_address(id)).expect("it is bound")
    }

    /// Makes a socket that talks to `peer` alone; everything of it is recorded.
    pub fn connect_post(
        &mut self,
        peer: &Address,
        config: DatagramConfig,
        handler: impl DatagramHandler,
    ) -> (EndpointId, Address) {
        let handler = self.record_post(handler);
        let id = self.reactor().connect_datagrams(peer, config, handler).expect("an endpoint");
        (id, self.reactor().endpoint_address(id).expect("it is bound"))
    }

    /// A recorded handler, for calls that these do not make.
    pub fn record_post<H: DatagramHandler>(&mut self, handler: H) -> PostRecorder<H> {
        LOG.set(Some(self.posts.clone()));
        self.posts.record(handler)
    }

    /// Does something to an endpoint from outside its callbacks.
    pub fn with_post<T>(&mut self, id: EndpointId, call: impl FnOnce(&mut OtherEndpoint<'_>) -> T) -> T {
        if self.reactor().context().endpoint(id).is_none() {
            // It was begun just now.
            self.turn();
        }
        call(&mut self.reactor().context().endpoint(id).expect("it lives"))
    }

    /// Closes an endpoint from outside.
    pub fn close_post(&mut self, id: EndpointId) {
        self.with_post(id, |_| ());
        close_other(&mut self.reactor().context(), id);
    }

    /// Turns until an endpoint has been told `on_close`, and says why.
    pub fn until_post_closed(&mut self, serial: usize) -> Reason {
        self.until("the endpoint to be closed", |world| world.posts.reason(serial).is_some());
        self.posts.reason(serial).expect("it is closed")
    }

    /// How many turns the reactor does within about `length` when it is left alone.
    pub fn turns_within(&mut self, length: std::time::Duration) -> u64 {
        let before = self.reactor().snapshot().turns;
        let since = std::time::Instant::now();
        while let Some(left) = length.checked_sub(since.elapsed()) {
            self.reactor().poll_once(Some(left)).expect("a turn");
            self.posts.check();
        }
        self.reactor().snapshot().turns - before
    }
}

// --- the other end ------------------------------------------------------------------------------------------------

/// A plain non-blocking datagram socket that a test reads and writes while the world turns.
pub struct Mate {
    pub socket: Socket,
}

/// Where a datagram came from.
pub type From = Option<SocketAddrAny>;

impl Mate {
    /// One that is bound to a free address.
    pub fn new(world: &mut World, wire: Wire) -> Mate {
        let address = world.free_post(wire);
        Mate::at(&address)
    }

    /// One that is bound to `address`.
    pub fn at(address: &Address) -> Mate {
        let mate = Mate::unbound(address);
        rustix::net::bind(&mate.socket, &place(address)).expect("a free address");
        mate
    }

    /// One of the kind of `address` that is bound to nothing.
    pub fn unbound(address: &Address) -> Mate {
        let domain = address.ip().map_or(Domain::UNIX, Domain::for_address);
        let socket = Socket::new(domain, Type::DGRAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("a non-blocking socket");
        if domain != Domain::UNIX {
            // What is sent to it while the test looks elsewhere shall not be lost.
            socket.set_recv_buffer_size(4 << 20).expect("SO_RCVBUF");
        }
        Mate { socket }
    }

    /// Where it is bound.
    pub fn address(&self) -> Address {
        self.peer().address()
    }

    /// Its IP address.
    pub fn ip(&self) -> SocketAddr {
        self.socket.local_addr().expect("an address").as_socket().expect("an IP address")
    }

    /// It, as a peer.
    pub fn peer(&self) -> DatagramPeer {
        let local = self.socket.local_addr().expect("an address");
        if let Some(ip) = local.as_socket() {
            return DatagramPeer::from(ip);
        }
        let address = match (local.as_pathname(), local.as_abstract_namespace()) {
            (Some(path), _) => Address::unixgram(path),
            (None, Some(name)) => Address::unixgram_abstract(name),
            (None, None) => panic!("it has no name"),
        };
        DatagramPeer::resolve(&address.expect("an address")).expect("a peer")
    }

    /// Sends one datagram; `false` if the kernel has no room.
    pub fn try_send(&self, bytes: &[u8], to: &Address) -> bool {
        let flags = SendFlags::NOSIGNAL;
        match rustix::net::sendto(&self.socket, bytes, flags, &place(to)) {
            Ok(sent) => assert_eq!(sent, bytes.len()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS) => return false,
            Err(error) => panic!("cannot send to {to}: {error}"),
        }
        true
    }

    /// Sends one datagram.
    pub fn send(&self, bytes: &[u8], to: &Address) {
        assert!(self.try_send(bytes, to), "no room for a datagram");
    }

    /// Sends one datagram, while the world turns as long as the kernel has no room.
    pub fn send_while(&self, world: &mut World, bytes: &[u8], to: &Address) {
        world.until("room for a datagram", |_| self.try_send(bytes, to));
    }

    /// Reads one datagram and who sent it; `None` if there is none now.
    pub fn try_read_from(&self) -> Option<(Vec<u8>, From)> {
        let mut buffer = vec![0; 300 * 1024];
        match rustix::net::recvfrom(self.socket.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, count, from)) => {
                buffer.truncate(count);
                Some((buffer, from))
            }
            Err(rustix::io::Errno::AGAIN) => None,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }

    /// Reads one datagram; `None` if there is none now.
    pub fn try_read(&self) -> Option<Vec<u8>> {
        self.try_read_from().map(|(bytes, _)| bytes)
    }

    /// Reads all datagrams that there are now.
    pub fn read_all(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.try_read()).collect()
    }

    /// Reads one datagram and who sent it, while the world turns.
    pub fn read_from_while(&self, world: &mut World) -> (Vec<u8>, From) {
        let mut got = None;
        world.until("a datagram", |_| {
            got = got.take().or_else(|| self.try_read_from());
            got.is_some()
        });
        got.expect("a datagram")
    }

    /// Reads one datagram, while the world turns.
    pub fn read_while(&self, world: &mut World) -> Vec<u8> {
        self.read_from_while(world).0
    }

    /// Reads so many datagrams, while the world turns.
    pub fn read_many_while(&self, world: &mut World, count: usize) -> Vec<Vec<u8>> {
        let mut got = Vec::new();
        world.until("all datagrams", |_| {
            got.extend(self.read_all());
            got.len() >= count
        });
        got
    }
}

/// An address in the system's words.
fn place(address: &Address) -> SocketAddrAny {
    match (address.ip(), address.path(), address.abstract_name()) {
        (Some(ip), ..) => ip.into(),
        (_, Some(path), _) => SocketAddrUnix::new(path).expect("a path").into(),
        (_, _, Some(name)) => SocketAddrUnix::new_abstract_name(name).expect("a name").into(),
        (None, None, None) => panic!("{address} is no place to send to"),
    }
}
