//! What stands between a server's reactors and its user: limits in front of the handlers, and the callbacks.
//!
//! Owns the calling of the three callbacks; a panic in one is told by the error callback and ends nothing.

use crate::address::Address;
use crate::conn::Conn;
use crate::datagrams::{Datagram, Datagrams};
use crate::error::{Error, Reason};
use crate::handler::{Accept, AcceptEvent, Admission, ConnState, DatagramHandler, PauseCause, Peer, guarded};
use crate::mailbox::{Driving, Report};
use crate::post::DatagramError;
use crate::server::peers::{Entry, Peers};
use std::panic::resume_unwind;
use std::sync::Arc;

/// Something that happened to a server. Its text is what people log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// It listens at this address, with the port that the system chose.
    Listening(Address),
    /// Accepting at this address pauses until something comes free.
    AcceptPaused(Address, PauseCause),
    /// It goes on.
    AcceptResumed(Address),
    /// The server was asked to stop: nothing new is accepted.
    Draining,
    /// All connections have ended, or were cut.
    Drained(Report),
    /// The server is gone.
    Gone,
}

impl std::fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServerEvent::Listening(address) => write!(f, "listening on {address}"),
            ServerEvent::AcceptPaused(address, cause) => write!(f, "accepting on {address} pauses: {cause}"),
            ServerEvent::AcceptResumed(address) => write!(f, "accepting on {address} goes on"),
            ServerEvent::Draining => f.write_str("draining"),
            ServerEvent::Drained(report) => write!(f, "drained: {report}"),
            ServerEvent::Gone => f.write_str("gone"),
        }
    }
}

type OnError = dyn Fn(&Error) + Send + Sync;
type OnState = dyn Fn(&Address, Option<&Address>, ConnState) + Send + Sync;
type OnEvent = dyn Fn(&ServerEvent) + Send + Sync;

/// A server's callbacks.
#[derive(Clone, Default)]
pub(super) struct Callbacks {
    pub(super) error: Option<Arc<OnError>>,
    pub(super) state: Option<Arc<OnState>>,
    pub(super) event: Option<Arc<OnEvent>>,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

impl Callbacks {
    pub(super) fn tell_error(&self, error: &Error) {
        log::debug!("server: {error}");
        if let Some(call) = &self.error {
            let _driving = Driving::callback();
            if guarded(|| call(error)).is_none() {
                log::error!("server: the error callback panicked");
            }
        }
    }

    pub(super) fn tell_event(&self, event: &ServerEvent) {
        log::info!("server: {event}");
        if let Some(call) = &self.event {
            let _driving = Driving::callback();
            if guarded(|| call(event)).is_none() {
                self.tell_error(&Error::CallbackPanicked { callback: "on_event" });
            }
        }
    }

    /// Runs a callback that the user's [`Accept`] has. Its panic is told here, and goes on to the reactor, which counts it.
    fn run<T>(&self, callback: &'static str, call: impl FnOnce() -> T) -> T {
        guarded(call).unwrap_or_else(|| {
            self.tell_error(&Error::CallbackPanicked { callback });
            resume_unwind(Box::new(callback))
        })
    }

    fn tell_state(&self, local: &Address, remote: Option<&Address>, state: ConnState) {
        if let Some(call) = &self.state {
            if guarded(|| call(local, remote, state)).is_none() {
                self.tell_error(&Error::CallbackPanicked { callback: "on_state" });
            }
        }
    }
}

/// A user's [`Accept`], with the server's limits and callbacks in front of it.
pub(super) struct Front<A> {
    pub(super) inner: A,
    pub(super) local: Address,
    pub(super) callbacks: Callbacks,
    pub(super) peers: Option<Arc<Peers>>,
}

impl<A> Front<A> {
    fn failed(&self, peer: Option<std::net::SocketAddr>, reason: Reason) {
        let peer = peer.map(|ip| Box::new(self.remote(Address::tcp(ip))));
        self.callbacks.tell_error(&Error::Connection { local: Box::new(self.local.clone()), peer, reason });
    }

    /// A peer's address, of the transport that is spoken here.
    fn remote(&self, address: Address) -> Address {
        if self.local.transport().is_tls() { address.over_tls() } else { address }
    }
}

impl<A: Accept> Accept for Front<A> {
    type Handler = A::Handler;

    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        let Some((peers, ip)) = self.peers.as_ref().zip(peer.ip()) else { return self.inner.admit(peer) };
        if peers.enter(ip.ip()) == Entry::Refused {
            log::debug!("server: {ip} has as many connections as it may");
            return Admission::Refuse;
        }
        let admission = guarded(|| self.inner.admit(peer));
        if admission != Some(Admission::Admit) {
            peers.leave(ip.ip());
        }
        // The reactor tells of a panic, as it does without a limit.
        admission.unwrap_or_else(|| resume_unwind(Box::new("admit")))
    }

    fn make(&mut self, conn: &Conn<'_>) -> A::Handler {
        self.inner.make(conn)
    }

    fn answer_plain(&mut self, peer: &Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        self.callbacks.run("Accept::answer_plain", || self.inner.answer_plain(peer, bytes))
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        match event {
            // Refused, or given up here: that is no error.
            AcceptEvent::Failed { reason: Reason::Local | Reason::Drain, .. } => {}
            AcceptEvent::Failed { peer, reason } if reason.is_trouble() => self.failed(*peer, *reason),
            AcceptEvent::Failed { .. } => {}
            AcceptEvent::Broken { peer, reason } => self.failed(*peer, *reason),
            AcceptEvent::Paused(cause) => {
                self.callbacks.tell_event(&ServerEvent::AcceptPaused(self.local.clone(), *cause));
            }
            AcceptEvent::Resumed => self.callbacks.tell_event(&ServerEvent::AcceptResumed(self.local.clone())),
            AcceptEvent::Ended(Some(error)) => {
                let source = error.raw_os_error().map_or(error.kind().into(), std::io::Error::from_raw_os_error);
                self.callbacks.tell_error(&Error::Accept { address: Box::new(self.local.clone()), source });
            }
            AcceptEvent::Ended(None) => {}
        }
        self.callbacks.run("Accept::on_event", || self.inner.on_event(event));
    }

    fn on_left(&mut self, peer: &Peer<'_>) {
        if let Some((peers, ip)) = self.peers.as_ref().zip(peer.ip()) {
            peers.leave(ip.ip());
        }
        self.callbacks.run("Accept::on_left", || self.inner.on_left(peer));
    }

    fn wants_states(&self) -> bool {
        self.callbacks.state.is_some() || self.inner.wants_states()
    }

    fn on_state(&mut self, peer: &Peer<'_>, state: ConnState) {
        if self.callbacks.state.is_some() {
            let remote = peer.address().map(|address| self.remote(address));
            let local = peer.local_address().map(|address| self.remote(address));
            self.callbacks.tell_state(local.as_ref().unwrap_or(&self.local), remote.as_ref(), state);
        }
        if self.inner.wants_states() {
            self.callbacks.run("Accept::on_state", || self.inner.on_state(peer, state));
        }
    }
}

/// A user's [`DatagramHandler`], with the server's callbacks in front of it.
pub(super) struct DatagramFront<H> {
    pub(super) inner: H,
    pub(super) callbacks: Callbacks,
    pub(super) local: Address,
    pub(super) sent: u64,
}

impl<H> DatagramFront<H> {
    /// Tells of datagrams that were queued since it was asked last.
    fn tell_writes(&mut self, sock: &Datagrams<'_>, remote: Option<&Address>) {
        if self.callbacks.state.is_none() {
            return;
        }
        let stats = sock.stats();
        let queued = stats.datagrams_out + stats.undelivered + sock.waiting().0 as u64;
        for _ in self.sent..queued {
            self.callbacks.tell_state(&self.local, remote, ConnState::Write);
        }
        self.sent = self.sent.max(queued);
    }
}

impl<H: DatagramHandler> DatagramHandler for DatagramFront<H> {
    fn on_bound(&mut self, sock: &mut Datagrams<'_>) {
        self.local = sock.local_address().unwrap_or(self.local.clone());
        self.callbacks.tell_state(&self.local, None, ConnState::New);
        self.inner.on_bound(sock);
        self.tell_writes(sock, None);
    }

    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        if self.callbacks.state.is_none() {
            return self.inner.on_datagram(sock, datagram);
        }
        // What was sent meanwhile from elsewhere is no answer to this one.
        self.tell_writes(sock, None);
        let remote = datagram.from.address();
        self.callbacks.tell_state(&self.local, Some(&remote), ConnState::Read);
        self.inner.on_datagram(sock, datagram);
        self.tell_writes(sock, Some(&remote));
    }

    fn on_writable(&mut self, sock: &mut Datagrams<'_>) {
        self.inner.on_writable(sock);
        self.tell_writes(sock, None);
    }

    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        self.inner.on_timer(sock);
        self.tell_writes(sock, None);
    }

    fn on_error(&mut self, sock: &mut Datagrams<'_>, error: &DatagramError) {
        let (address, what) = (Box::new(self.local.clone()), error.to_string());
        self.callbacks.tell_error(&Error::Datagram { address, what });
        self.inner.on_error(sock, error);
        self.tell_writes(sock, None);
    }

    fn on_drain(&mut self, sock: &mut Datagrams<'_>) {
        self.inner.on_drain(sock);
        self.tell_writes(sock, None);
    }

    fn on_close(&mut self, sock: &mut Datagrams<'_>, reason: Reason) {
        let closed = guarded(|| self.inner.on_close(sock, reason));
        self.tell_writes(sock, None);
        let reason = if closed.is_none() && !reason.is_trouble() { Reason::HandlerPanicked } else { reason };
        if reason.is_trouble() {
            let local = Box::new(self.local.clone());
            self.callbacks.tell_error(&Error::Connection { local, peer: None, reason });
        }
        self.callbacks.tell_state(&self.local, None, ConnState::Close);
        closed.unwrap_or_else(|| resume_unwind(Box::new("on_close")));
    }
}
