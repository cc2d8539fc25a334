//! A user's handlers with a server's limits and callbacks in front of them.
//!
//! Owns what a server does at each call of a user's `Accept` or `DatagramHandler`, and the handler that takes a connection
//! to the thread of a blocking handler.

use crate::address::Address;
use crate::conn::Conn;
use crate::datagrams::{Datagram, Datagrams};
use crate::error::{Reason, ServerError};
use crate::handler::{Accept, AcceptEvent, Admission, ConnState, DatagramHandler, Handler, Maker, Peer, guarded};
use crate::post::DatagramError;
use crate::server::callbacks::{Callbacks, ServerEvent};
use crate::server::peers::{Entry, Peers};
use crate::server::states::States;
use crate::server::workers::{Job, Workers};
use std::cell::RefCell;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;

/// Serves each connection on a thread of its own.
pub(super) struct Blocking(pub(super) FrontParts);

impl Accept for Blocking {
    type Handler = Departing;

    fn make(&mut self, conn: &Conn<'_>) -> Departing {
        let peer = conn.peer_address();
        let local = conn.local_address().unwrap_or(self.0.local.clone());
        Departing { parts: self.0.clone(), local, peer, ip: conn.peer_ip() }
    }
}

/// A connection on its way from its reactor to a thread.
pub(super) struct Departing {
    parts: FrontParts,
    local: Address,
    peer: Option<Address>,
    ip: Option<std::net::SocketAddr>,
}

impl Handler for Departing {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        let Some(workers) = self.parts.workers.clone() else { return conn.close() };
        let FrontParts { callbacks, peers, .. } = self.parts.clone();
        let (local, peer, ip, owner) = (self.local.clone(), self.peer.clone(), self.ip, workers.clone());
        let states = States::new(&callbacks, &local, peer.as_ref());
        let reported = states.clone();
        let done = move |outcome: Option<std::io::Result<()>>| {
            let boxed = |address: &Address| Box::new(address.clone());
            let ends = || (boxed(&local), peer.as_ref().map(boxed));
            // What it returned may be the handler's own, whose drop is user code.
            let told = outcome.and_then(|outcome| {
                guarded(|| {
                    if let Err(source) = outcome {
                        let (local, peer) = ends();
                        callbacks.tell_error(&ServerError::Served { local, peer, source });
                    }
                })
            });
            if told.is_none() {
                let (local, peer) = ends();
                callbacks.tell_error(&ServerError::Connection {
                    local,
                    peer,
                    reason: Reason::HandlerPanicked,
                    detail: None,
                });
            }
            let leave = move || {
                if let Some((peers, ip)) = peers.zip(ip) {
                    peers.leave(ip.ip());
                }
                owner.release();
            };
            match reported {
                Some(states) => states.close(leave),
                None => leave(),
            }
        };
        conn.detach_seated(move |link, seat, cx| {
            let limits = link.limits();
            let shortest = [limits.idle_timeout, limits.lifetime].into_iter().flatten().min();
            workers.serve(Job { link, states, done: Box::new(done), seat });
            if let Some(shortest) = shortest {
                workers.watch(shortest, cx);
            }
        });
    }

    fn on_data(&mut self, _: &mut Conn<'_>, _: &[u8]) -> usize {
        // It leaves before there is any, and the rest goes along.
        0
    }
}

/// What fronts of one address have in common.
#[derive(Clone)]
pub(super) struct FrontParts {
    pub(super) local: Address,
    pub(super) callbacks: Callbacks,
    pub(super) peers: Option<Arc<Peers>>,
    /// Where connections go on, if their handler blocks.
    pub(super) workers: Option<Arc<Workers>>,
}

/// What makes the handlers of all addresses on one reactor. Callbacks never nest, so that each borrow holds.
pub(super) type SharedMaker = Rc<RefCell<dyn Maker>>;

/// The one that a reactor was given, where the reactor keeps it.
pub(super) struct ReactorMaker(pub(super) SharedMaker);

/// What makes the handlers, with the server's limits and callbacks in front of it: one for each address.
pub(super) struct ServerHooks {
    pub(super) inner: SharedMaker,
    pub(super) parts: FrontParts,
}

impl ServerHooks {
    fn failed(&self, peer: Option<std::net::SocketAddr>, reason: Reason, detail: Option<&String>) {
        let peer = peer.map(|ip| Box::new(self.remote(Address::tcp(ip))));
        let local = Box::new(self.parts.local.clone());
        self.parts.callbacks.tell_error(&ServerError::Connection { local, peer, reason, detail: detail.cloned() });
    }

    /// Whether a connection that leaves its reactor goes on with a blocking handler, which tells the end.
    fn goes_on(&self, peer: &Peer<'_>) -> bool {
        self.parts.workers.is_some() && peer.ended() == Some(Reason::Detached)
    }

    /// A peer's address, of the transport that is spoken here.
    fn remote(&self, address: Address) -> Address {
        if self.parts.local.transport().is_tls() { address.over_tls() } else { address }
    }
}

impl Maker for ServerHooks {
    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        let parts = &self.parts;
        let counted = parts.peers.as_ref().zip(peer.ip());
        if let Some((_, ip)) = counted.filter(|(peers, ip)| peers.enter(ip.ip()) == Entry::Refused) {
            log::debug!("server: {ip} is refused: it has as many connections as a peer may");
            return Admission::Refuse;
        }
        let give_back = || counted.into_iter().for_each(|(peers, ip)| peers.leave(ip.ip()));
        if parts.workers.as_ref().is_some_and(|workers| workers.reserve().is_none()) {
            log::debug!("server: there are as many connections for blocking handlers as there may be");
            give_back();
            return Admission::Refuse;
        }
        let admission = guarded(|| self.inner.borrow_mut().admit(peer));
        if admission != Some(Admission::Admit) {
            give_back();
            parts.workers.iter().for_each(|workers| workers.release_coming());
        }
        // The reactor tells of a panic, as it does without a limit.
        admission.unwrap_or_else(|| resume_unwind(Box::new("admit")))
    }

    fn make(&mut self, conn: &Conn<'_>) -> Box<dyn Handler> {
        self.inner.borrow_mut().make(conn)
    }

    fn answer_plain(&mut self, peer: &Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        self.parts.callbacks.run("Accept::answer_plain", || self.inner.borrow_mut().answer_plain(peer, bytes))
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        match event {
            // Refused, or given up here: that is no error.
            AcceptEvent::Failed { reason: Reason::Local | Reason::Drain, .. } => {}
            AcceptEvent::Failed { peer, reason, detail } if reason.is_trouble() => {
                self.failed(*peer, *reason, detail.as_ref());
            }
            AcceptEvent::Failed { .. } => {}
            AcceptEvent::Broken { peer, reason, detail } => self.failed(*peer, *reason, detail.as_ref()),
            AcceptEvent::Unprepared { peer, error } => {
                let peer = peer.map(|ip| Box::new(self.remote(Address::tcp(ip))));
                let (local, source) = (Box::new(self.parts.local.clone()), same(error));
                self.parts.callbacks.tell_error(&ServerError::Unprepared { local, peer, source });
            }
            AcceptEvent::Paused(cause) => {
                self.parts.callbacks.tell_event(&ServerEvent::AcceptPaused(self.parts.local.clone(), *cause));
            }
            AcceptEvent::Resumed => {
                self.parts.callbacks.tell_event(&ServerEvent::AcceptResumed(self.parts.local.clone()))
            }
            AcceptEvent::Ended(Some(error)) => {
                let address = Box::new(self.parts.local.clone());
                self.parts.callbacks.tell_error(&ServerError::Accept { address, source: same(error) });
            }
            AcceptEvent::Ended(None) => {}
        }
        self.parts.callbacks.run("Accept::on_event", || self.inner.borrow_mut().on_event(event));
    }

    fn on_left(&mut self, peer: &Peer<'_>) {
        if !self.goes_on(peer) {
            if let Some((peers, ip)) = self.parts.peers.as_ref().zip(peer.ip()) {
                peers.leave(ip.ip());
            }
            self.parts.workers.iter().for_each(|workers| workers.release_coming());
        }
        self.parts.callbacks.run("Accept::on_left", || self.inner.borrow_mut().on_left(peer));
    }

    fn wants_states(&self) -> bool {
        self.parts.callbacks.state.is_some() || self.inner.borrow().wants_states()
    }

    fn on_state(&mut self, peer: &Peer<'_>, state: ConnState) {
        if self.parts.callbacks.state.is_some() && !(state == ConnState::Close && self.goes_on(peer)) {
            let (local, remote) = match peer.ends {
                Some(ends) => (ends.local.as_ref(), ends.peer.as_ref()),
                None => (None, None),
            };
            self.parts.callbacks.tell_state(local.unwrap_or(&self.parts.local), remote, state);
        }
        if self.inner.borrow().wants_states() {
            self.parts.callbacks.run("Accept::on_state", || self.inner.borrow_mut().on_state(peer, state));
        }
    }
}

/// An error like another one, which cannot be cloned.
fn same(error: &std::io::Error) -> std::io::Error {
    match error.raw_os_error() {
        Some(errno) => std::io::Error::from_raw_os_error(errno),
        None => std::io::Error::new(error.kind(), error.to_string()),
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
        let (address, what, kind) = (Box::new(self.local.clone()), error.to_string(), error.kind());
        self.callbacks.tell_error(&ServerError::Datagram { address, what, kind });
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
            self.callbacks.tell_error(&ServerError::Connection { local, peer: None, reason, detail: None });
        }
        self.callbacks.tell_state(&self.local, None, ConnState::Close);
        closed.unwrap_or_else(|| resume_unwind(Box::new("on_close")));
    }
}
