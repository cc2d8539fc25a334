//! What a callback is lent of its datagram socket, and of others.
//!
//! Owns the public face of a post while its endpoint is driven. What follows for another endpoint happens in that one's own
//! drive (A2).

use crate::address::Address;
use crate::clock::Tick;
use crate::config::datagram::Group;
use crate::context::Context;
use crate::counters::DatagramStats;
use crate::error::{Error, SendError};
use crate::id::{EndpointId, SourceId};
use crate::mailbox::Remote;
use crate::net::datagram::arrivals::Ecn;
use crate::net::datagram::peer::DatagramPeer;
use crate::net::datagram::{Receiving, Sending};
use crate::post::{Departures, Post};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A datagram as it came; lent for one callback.
///
/// ```
/// use windlass::{Datagram, DatagramError, DatagramHandler, Datagrams};
/// struct Echo;
/// impl DatagramHandler for Echo {
///     fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
///         if !datagram.is_truncated {
///             _ = sock.send_to(datagram.from, datagram.data);
///         }
///     }
///
///     fn on_error(&mut self, _: &mut Datagrams<'_>, error: &DatagramError) {
///         eprintln!("{error}"); // it ends nothing
///     }
/// }
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Datagram<'a> {
    /// Who sent it; it can be cloned and kept, to answer later.
    pub from: &'a DatagramPeer,
    /// What is in it; it may be empty.
    pub data: &'a [u8],
    /// The address that it was sent to, where the system tells (UDP on Linux): a group's, a broadcast address, or our own.
    pub local: Option<IpAddr>,
    /// Congestion on its way, where the system tells (UDP on Linux).
    pub ecn: Option<Ecn>,
    /// Whether it was longer than `DatagramConfig::bytes_max`, and the end is lost.
    pub is_truncated: bool,
}

impl std::fmt::Debug for Datagram<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Datagram");
        shown.field("from", self.from).field("bytes", &self.data.len()).field("local", &self.local);
        shown.field("ecn", &self.ecn).field("is_truncated", &self.is_truncated).finish()
    }
}

/// A datagram socket, lent to its handler for one callback.
///
/// ```
/// use windlass::{Datagram, DatagramError, DatagramHandler, Datagrams};
/// struct Echo;
/// impl DatagramHandler for Echo {
///     fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
///         if !datagram.is_truncated {
///             _ = sock.send_to(datagram.from, datagram.data);
///         }
///     }
///
///     fn on_error(&mut self, _: &mut Datagrams<'_>, error: &DatagramError) {
///         eprintln!("{error}"); // it ends nothing
///     }
/// }
/// ```
pub struct Datagrams<'a> {
    pub(crate) id: SourceId,
    pub(crate) post: &'a mut Post,
    pub(crate) cx: Context<'a>,
}

impl std::fmt::Debug for Datagrams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datagrams").field("id", &self.id).field("stats", &self.stats()).finish()
    }
}

impl<'a> Datagrams<'a> {
    /// Its name, for [`Remote`] and [`Context::endpoint`].
    pub fn id(&self) -> EndpointId {
        EndpointId(self.id)
    }

    /// What is common to all callbacks of this reactor: time, timers, listeners, connections, other endpoints.
    pub fn context(&mut self) -> &mut Context<'a> {
        &mut self.cx
    }

    /// The turn's time; it is read once a turn, and not for each call.
    pub fn now(&self) -> Instant {
        self.cx.now()
    }

    /// The way into this reactor from other threads.
    pub fn remote(&self) -> Remote {
        self.cx.remote()
    }

    /// This side's address, with the port or name that the system chose; `None` if the system no longer knows.
    pub fn local_address(&self) -> Option<Address> {
        self.post.socket().local_address().ok()
    }

    /// The peer that the socket is connected to; `None` if it talks to anybody.
    pub fn peer(&self) -> Option<&DatagramPeer> {
        self.post.socket().peer()
    }

    /// What was counted so far.
    pub fn stats(&self) -> DatagramStats {
        self.post.stats()
    }

    /// How it receives and sends: less than was asked for where the system lacks it or the network refused it.
    pub fn paths(&self) -> (Receiving, Sending) {
        self.post.paths()
    }

    /// Queues a datagram for `to`; it may be empty. It leaves when this callback and those of the same turn have returned,
    /// together with others, or waits while the socket is full. Datagrams to one peer keep their order.
    ///
    /// What later keeps it from leaving is told to `on_error`. An answer to a datagram that came to one of several addresses
    /// of this host leaves from there.
    ///
    /// # Errors
    /// `QueueFull` if too many wait (`on_writable` or `on_close` follows), `Oversize` with the limit, `Unanswerable` if the
    /// peer has no name, port 0, or the address `0.0.0.0` or `[::]`, `OtherKind` if it is of another kind or IP version, `NotOpen` after `close`.
    pub fn send_to(&mut self, to: &DatagramPeer, data: &[u8]) -> Result<(), SendError> {
        let state = &mut *self.cx.state;
        self.post.send(Some(to), data, &mut state.departures, state.now)
    }

    /// Queues a datagram for the peer that the socket is connected to; see [`Datagrams::send_to`].
    ///
    /// # Errors
    /// As [`Datagrams::send_to`]; `NoPeer` if the socket is not connected.
    pub fn send(&mut self, data: &[u8]) -> Result<(), SendError> {
        let state = &mut *self.cx.state;
        self.post.send(None, data, &mut state.departures, state.now)
    }

    /// How many datagrams wait to be sent, and how many bytes they have together.
    pub fn waiting(&self) -> (usize, usize) {
        self.post.waiting()
    }

    /// The longest datagram that can be sent, in bytes.
    pub fn datagram_bytes_max(&self) -> usize {
        self.post.socket().datagram_bytes_max()
    }

    /// Becomes a member of a multicast group; `leave` with the same group ends it, and so does the socket's end.
    ///
    /// # Errors
    /// `Config` for a group that cannot be one, `Group` with what the system said.
    pub fn join(&mut self, group: &Group) -> Result<(), Error> {
        group.validate()?;
        let joined = self.post.socket().join(group);
        joined.map_err(|source| Error::Group { action: "join", group: group.address, source })
    }

    /// Is a member of a multicast group no longer.
    ///
    /// # Errors
    /// As [`Datagrams::join`].
    pub fn leave(&mut self, group: &Group) -> Result<(), Error> {
        group.validate()?;
        let left = self.post.socket().leave(group);
        left.map_err(|source| Error::Group { action: "leave", group: group.address, source })
    }

    /// Stops receiving once this callback returns. What comes meanwhile waits in the kernel as long as there is room, and
    /// is dropped there (UDP), or its sender waits (Unix).
    pub fn pause(&mut self) {
        self.post.pause();
    }

    /// Receives again.
    pub fn resume(&mut self) {
        self.post.resume();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.post.is_paused()
    }

    /// Calls `on_timer` after `delay`, late by at most a fiftieth of it or one turn. It replaces the timer set before.
    pub fn set_timer(&mut self, delay: Duration) {
        let due = self.cx.state.now.after(delay);
        self.post.set_timer(due);
    }

    /// Forgets the timer of [`Datagrams::set_timer`].
    pub fn clear_timer(&mut self) {
        self.post.set_timer(Tick::NEVER);
    }

    /// Ends the endpoint once what waits is sent, or has waited for too long. Only `on_error` and `on_close` follow.
    pub fn close(&mut self) {
        let reason = self.cx.closing_reason();
        self.post.close(reason);
    }
}

impl AsFd for Datagrams<'_> {
    /// The socket, to ask or set what is not named here. Reading, writing or closing it breaks the endpoint.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.post.socket().as_fd()
    }
}

/// Another datagram socket of the same reactor, lent by [`Context::endpoint`]; never its handler.
///
/// ```
/// use windlass::{Context, DatagramPeer, EndpointId};
/// fn report(cx: &mut Context<'_>, socket: EndpointId, to: &DatagramPeer, line: &[u8]) {
///     match cx.endpoint(socket) {
///         Some(mut socket) => _ = socket.send_to(to, line),
///         None => println!("{socket:?} is closed"),
///     }
/// }
/// ```
#[derive(Debug)]
pub struct OtherEndpoint<'a> {
    pub(crate) id: SourceId,
    pub(crate) cx: Context<'a>,
}

impl OtherEndpoint<'_> {
    /// Runs `call` on the post, and drives the endpoint next turn if anything follows for it.
    fn with<T>(&mut self, call: impl FnOnce(&mut Post, &mut Departures, Tick) -> T) -> Option<T> {
        let post = self.cx.table.post(self.id)?;
        let done = call(post, &mut self.cx.state.departures, self.cx.state.now);
        if post.needs_drive() {
            self.cx.table.wake(self.id);
        }
        Some(done)
    }

    /// As [`Datagrams::send_to`]; it leaves in the next turn.
    ///
    /// # Errors
    /// As [`Datagrams::send_to`]; `Gone` if there is no such socket.
    pub fn send_to(&mut self, to: &DatagramPeer, data: &[u8]) -> Result<(), SendError> {
        self.with(|post, departures, now| post.send(Some(to), data, departures, now)).unwrap_or(Err(SendError::Gone))
    }

    /// As [`Datagrams::send`]; it leaves in the next turn.
    ///
    /// # Errors
    /// As [`Datagrams::send`].
    pub fn send(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.with(|post, departures, now| post.send(None, data, departures, now)).unwrap_or(Err(SendError::Gone))
    }

    /// As [`Datagrams::waiting`].
    pub fn waiting(&mut self) -> (usize, usize) {
        self.with(|post, _, _| post.waiting()).unwrap_or_default()
    }

    /// As [`Datagrams::stats`].
    pub fn stats(&mut self) -> DatagramStats {
        self.with(|post, _, _| post.stats()).unwrap_or_default()
    }

    /// As [`Datagrams::pause`], at once.
    pub fn pause(&mut self) {
        self.with(|post, _, _| post.pause());
    }

    /// As [`Datagrams::resume`].
    pub fn resume(&mut self) {
        self.with(|post, _, _| post.resume());
        self.cx.table.wake(self.id);
    }

    /// As [`Datagrams::close`].
    pub fn close(&mut self) {
        let reason = self.cx.closing_reason();
        self.with(|post, _, _| post.close(reason));
    }
}
