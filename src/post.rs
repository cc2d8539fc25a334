//! A datagram socket and what waits to be sent on it.
//!
//! Owns when the kernel is asked to receive and to send, and what its refusals mean. Knows no handler.
//!
//! 1. `outgoing` is `Some` exactly while datagrams wait.
//! 2. Whoever was refused room is owed `on_writable`.

pub(crate) mod outgoing;
mod receiving;
pub(crate) mod runs;
mod sending;

use crate::clock::Tick;
use crate::config::datagram::{DatagramConfig, IcmpErrors};
use crate::counters::DatagramStats;
use crate::error::{Reason, SendError};
use crate::net::Readiness;
use crate::net::datagram::peer::DatagramPeer;
use crate::net::datagram::{DatagramSocket, Sending, Watched};
use bytes::Bytes;
use outgoing::{Outgoing, State};
pub(crate) use sending::Departures;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// A datagram socket and what waits to be sent on it.
pub(crate) struct Post {
    socket: DatagramSocket,
    limits: Limits,
    outgoing: Option<Box<Outgoing>>,
    pace: Pace,
    /// When full Unix receivers are tried again, and how long that was waited for.
    held_until: Tick,
    held_for: Duration,
    /// An error that was told at a datagram and may be an earlier one's: to try again tells.
    suspect_error: Option<io::Error>,
    life: Life,
    incoming: Incoming,
    errors: Errors,
    send_mode: SendMode,
    /// Errors in place of datagrams, one behind the other, of which nothing was explained.
    failures: usize,
    reading: Reading,
    owed: Owed,
    timer: Tick,
    stats: DatagramStats,
    faults: VecDeque<DatagramError>,
}

/// What of a configuration outlives the binding.
struct Limits {
    bytes_max: usize,
    queue_bytes_max: usize,
    queue_datagrams_max: usize,
    send_timeout: Duration,
    full_pause: Duration,
    datagrams_per_turn: usize,
    icmp_errors: IcmpErrors,
}

/// Whether the kernel takes datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// As far as is known.
    Free,
    /// Writability tells.
    Blocked,
    /// It does again at some time that no event tells.
    Waits(Tick),
}

/// How far an endpoint is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// What waits is sent, and then it is closed.
    Flushing(Reason),
    Closed(Reason),
}

/// Whether the kernel may have datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incoming {
    /// It will tell.
    Awaited,
    /// It may; where it gives less than it is asked for, there are no more.
    Likely,
    /// It may, until it says that there is nothing: an error may have ended a call early.
    MustDrain,
}

/// Whether the next datagram is worth waiting for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendMode {
    /// It leaves with them when the drive ends.
    Queue,
    /// One datagram came, alone: its answer leaves at once.
    Once,
}

/// Whether the kernel may have errors to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errors {
    /// It will tell.
    Awaited,
    /// It has some.
    Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Goes,
    Paused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    Writable,
}

/// Something that went wrong with one datagram, or that the network told about one. It ends nothing.
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
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// A datagram could not be sent, and was dropped.
    #[error("cannot send {bytes} bytes to {}: {source}", told(.to))]
    Send {
        /// Where it was to go; `None` if to the peer that the socket is connected to.
        to: Option<DatagramPeer>,
        /// How long it was.
        bytes: usize,
        /// What the system said.
        source: io::Error,
    },
    /// A datagram waited for longer than `DatagramConfig::send_timeout`, and was dropped.
    #[error("{bytes} bytes to {} waited for too long and were dropped", told(.to))]
    Expired {
        /// Where it was to go; `None` if to the peer that the socket is connected to.
        to: Option<DatagramPeer>,
        /// How long it was.
        bytes: usize,
    },
    /// The network answers to a datagram that was sent; ip(7), IP_RECVERR.
    #[error("datagram to {} was not delivered: {source}", told(.to))]
    Network {
        /// Where it was to go, if that is known.
        to: Option<DatagramPeer>,
        /// Who says so: the peer, or a router on the way.
        by: Option<IpAddr>,
        /// Type and code of the ICMP message; RFC 792, RFC 4443.
        icmp: Option<(u8, u8)>,
        /// What the system makes of it.
        source: io::Error,
    },
    /// A datagram that another thread gave to `Remote::send_datagram` was not taken.
    #[error("{} bytes to {} were not taken: {why}", bytes.len(), told(.to))]
    Refused {
        /// Where it was to go; `None` if to the peer that the socket is connected to.
        to: Option<DatagramPeer>,
        /// What was to be sent.
        bytes: Bytes,
        /// Why not.
        #[source]
        why: SendError,
    },
    /// The socket tells of a trouble that may belong to any earlier datagram.
    #[error("socket error: {source}")]
    Socket {
        /// What the system said.
        source: io::Error,
    },
}

impl DatagramError {
    /// Which kind of error of input and output it is; `TimedOut` for a datagram that waited for too long.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            DatagramError::Send { source, .. } | DatagramError::Network { source, .. } => source.kind(),
            DatagramError::Socket { source } => source.kind(),
            DatagramError::Expired { .. } => io::ErrorKind::TimedOut,
            DatagramError::Refused { why, .. } => why.kind(),
        }
    }
}

fn told(to: &Option<DatagramPeer>) -> String {
    to.as_ref().map_or_else(|| "its peer".to_owned(), DatagramPeer::to_string)
}

/// What of a queue one of many Unix receivers may hold, that nobody else is shut out by it.
const SHARE: usize = 4;

/// `on_writable` comes when this part of the queue is in use.
const LOW: usize = 4;

impl Post {
    pub(crate) fn new(socket: DatagramSocket, config: &DatagramConfig) -> Post {
        let limits = Limits {
            bytes_max: config.bytes_max,
            queue_bytes_max: config.queue_bytes_max,
            queue_datagrams_max: config.queue_datagrams_max,
            send_timeout: config.send_timeout,
            full_pause: config.full_pause,
            datagrams_per_turn: config.datagrams_per_turn,
            icmp_errors: config.icmp_errors,
        };
        Post {
            socket,
            limits,
            outgoing: None,
            pace: Pace::Free,
            held_until: Tick::NEVER,
            held_for: Duration::ZERO,
            suspect_error: None,
            life: Life::Open,
            // It may have been sent to before it was watched.
            incoming: Incoming::Likely,
            errors: Errors::Awaited,
            send_mode: SendMode::Queue,
            failures: 0,
            reading: Reading::Goes,
            owed: Owed::Nothing,
            timer: Tick::NEVER,
            stats: DatagramStats::default(),
            faults: VecDeque::new(),
        }
    }

    // --- what it is -----------------------------------------------------------------------------------------------

    pub(crate) fn socket(&self) -> &DatagramSocket {
        &self.socket
    }

    pub(crate) fn socket_mut(&mut self) -> &mut DatagramSocket {
        &mut self.socket
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn stats(&self) -> DatagramStats {
        DatagramStats { dropped_by_kernel: self.socket.dropped().into(), ..self.stats }
    }

    pub(crate) fn timer(&self) -> Tick {
        self.timer
    }

    pub(crate) fn set_timer(&mut self, due: Tick) {
        self.timer = due;
    }

    /// The longest datagram that is shown whole.
    pub(crate) fn bytes_max(&self) -> usize {
        self.limits.bytes_max
    }

    pub(crate) fn datagrams_per_turn(&self) -> usize {
        self.limits.datagrams_per_turn
    }

    /// Datagrams and bytes that wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        self.outgoing.as_ref().map_or((0, 0), |outgoing| (outgoing.len(), outgoing.waiting_bytes()))
    }

    /// When it wants to be driven at the latest.
    pub(crate) fn deadline(&self) -> Tick {
        let paused = if let Pace::Waits(until) = self.pace { until } else { Tick::NEVER };
        paused.min(self.oldest_expires()).min(self.held_until).min(self.timer)
    }

    /// What the kernel is to report.
    pub(crate) fn watched(&self) -> Watched {
        if self.pace == Pace::Blocked { Watched::Both } else { Watched::Reads }
    }

    /// Whether something is left that no event will announce.
    pub(crate) fn wants_again(&self) -> bool {
        self.wants_input() || self.may_send() || !self.faults.is_empty()
    }

    /// The same of what comes.
    #[inline]
    pub(crate) fn wants_input(&self) -> bool {
        self.may_receive() || self.errors == Errors::Waiting
    }

    /// Whether it is open, and nothing waits to be sent, to be told, or to be said that there is room for.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.outgoing.is_none() && self.faults.is_empty() && self.owed == Owed::Nothing && self.life == Life::Open
    }

    /// Whether anything is to be done that another's callback has caused.
    pub(crate) fn needs_drive(&self) -> bool {
        self.life != Life::Open || self.may_send() || !self.faults.is_empty()
    }

    // --- its life -------------------------------------------------------------------------------------------------

    /// Ends it once what waits is sent.
    pub(crate) fn close(&mut self, reason: Reason) {
        if self.life == Life::Open {
            self.life = Life::Flushing(reason);
        }
    }

    /// Ends it now.
    pub(crate) fn cut(&mut self, reason: Reason) {
        if !matches!(self.life, Life::Closed(_)) {
            self.life = Life::Closed(reason);
        }
    }

    /// The drive ends: what is sent from elsewhere waits for others. Ends what has nothing left to send or tell.
    pub(crate) fn end_of_drive(&mut self) {
        self.send_mode = SendMode::Queue;
        if let (Life::Flushing(reason), None, true) = (self.life, &self.outgoing, self.faults.is_empty()) {
            self.life = Life::Closed(reason);
        }
    }

    /// Forgets what waits; returns how many bytes that were.
    pub(crate) fn discard(&mut self, departures: &mut Departures) -> u64 {
        let Some(mut outgoing) = self.outgoing.take() else { return 0 };
        departures.forget(&mut outgoing);
        outgoing.waiting_bytes() as u64
    }

    pub(crate) fn pause(&mut self) {
        self.reading = Reading::Paused;
    }

    pub(crate) fn resume(&mut self) {
        self.reading = Reading::Goes;
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.reading == Reading::Paused
    }

    /// What the kernel said.
    pub(crate) fn note(&mut self, ready: Readiness) {
        if ready.readable && self.incoming == Incoming::Awaited {
            self.incoming = Incoming::Likely;
        }
        if ready.writable && self.pace == Pace::Blocked {
            self.pace = Pace::Free;
        }
        if ready.error || ready.ended {
            self.errors = Errors::Waiting;
            self.incoming = Incoming::MustDrain;
        }
    }

    /// Lets what waits be offered again whose time has come, and all of it where something has waited too long: there may
    /// be room by now, which nothing announces.
    pub(crate) fn try_output_again(&mut self, now: Tick) {
        let is_late = self.oldest_expires() <= now;
        if is_late || matches!(self.pace, Pace::Waits(until) if until <= now) {
            self.pace = Pace::Free;
        }
        // Also where nothing waits any more: a deadline that stays in the past makes the reactor spin.
        if is_late || self.held_until <= now {
            self.held_until = Tick::NEVER;
            if let Some(outgoing) = &mut self.outgoing {
                outgoing.release();
            }
        }
    }

    /// When the oldest that waits has waited too long.
    fn oldest_expires(&self) -> Tick {
        let oldest = self.outgoing.as_ref().and_then(|outgoing| outgoing.oldest());
        oldest.map_or(Tick::NEVER, |since| since.after(self.limits.send_timeout))
    }

    /// Gives up what has waited too long.
    pub(crate) fn expire(&mut self, now: Tick, departures: &mut Departures) {
        let Some(outgoing) = &mut self.outgoing else { return };
        while outgoing.oldest().is_some_and(|since| since.after(self.limits.send_timeout) <= now) {
            let (index, _) = outgoing.window(1);
            let (to, bytes) = (outgoing.to(index), outgoing.entry(index).len());
            outgoing.mark_done(index);
            self.stats.undelivered += 1;
            self.faults.push_back(DatagramError::Expired { to, bytes });
        }
        self.tidy(departures);
    }

    // --- queueing -------------------------------------------------------------------------------------------------

    /// Queues a datagram whole, or refuses it.
    pub(crate) fn send(
        &mut self,
        to: Option<&DatagramPeer>,
        bytes: &[u8],
        departures: &mut Departures,
        now: Tick,
    ) -> Result<(), SendError> {
        if let Err(error) = self.check(to, bytes.len()) {
            self.stats.refused += 1;
            return Err(error);
        }
        let state = match std::mem::replace(&mut self.send_mode, SendMode::Queue) {
            SendMode::Queue => State::Fresh,
            SendMode::Once => self.send_at_once(to, bytes, departures),
        };
        if state != State::Gone {
            self.queue(to, bytes, state, departures, now);
        }
        Ok(())
    }

    #[inline(never)]
    fn queue(&mut self, to: Option<&DatagramPeer>, bytes: &[u8], state: State, departures: &mut Departures, now: Tick) {
        let outgoing = self.outgoing.get_or_insert_with(|| departures.outgoing());
        outgoing.push(to.cloned(), bytes, now);
        if state == State::Tried {
            outgoing.note_last_tried();
        }
        if outgoing.ready() >= runs::WINDOW && self.pace == Pace::Free {
            self.flush(departures, now);
        }
    }

    /// Another thread's datagram was refused, which its handler is told.
    pub(crate) fn refuse(&mut self, to: Option<DatagramPeer>, bytes: Bytes, why: SendError) {
        self.faults.push_back(DatagramError::Refused { to, bytes, why });
    }

    fn check(&mut self, to: Option<&DatagramPeer>, bytes: usize) -> Result<(), SendError> {
        if self.life != Life::Open {
            return Err(SendError::NotOpen);
        }
        match to {
            None if self.socket.peer().is_none() => return Err(SendError::NoPeer),
            None => {}
            Some(peer) if !peer.is_answerable() => return Err(SendError::Unanswerable),
            Some(peer) if !self.socket.reaches(peer) => {
                return Err(SendError::OtherKind(Box::new(peer.address())));
            }
            Some(_) => {}
        }
        let limit = self.socket.limit(to, bytes);
        if bytes > limit {
            return Err(SendError::Oversize { bytes, limit });
        }
        if self.outgoing.is_some() { self.check_room(to, bytes) } else { Ok(()) }
    }

    #[inline(never)]
    fn check_room(&mut self, to: Option<&DatagramPeer>, bytes: usize) -> Result<(), SendError> {
        let Some(outgoing) = &self.outgoing else { return Ok(()) };
        let is_full = outgoing.len() >= self.limits.queue_datagrams_max
            || outgoing.waiting_bytes() + bytes > self.limits.queue_bytes_max;
        let is_hogged = outgoing.has_held()
            && to.is_some_and(|peer| {
                let (datagrams, waiting) = outgoing.waiting_to(peer);
                datagrams >= self.limits.queue_datagrams_max.div_ceil(SHARE)
                    || (datagrams > 0 && waiting + bytes > self.limits.queue_bytes_max / SHARE)
            });
        if is_full || is_hogged {
            self.owed = Owed::Writable;
            return Err(SendError::QueueFull { bytes: outgoing.waiting_bytes(), datagrams: outgoing.len() });
        }
        Ok(())
    }

    /// Whether one more of so many bytes may wait.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let (datagrams, waiting) = self.waiting();
        datagrams < self.limits.queue_datagrams_max && waiting + bytes <= self.limits.queue_bytes_max
    }

    /// Whether `on_writable` is due: it is owed, and little waits.
    pub(crate) fn writable_is_due(&self) -> bool {
        let (datagrams, bytes) = self.waiting();
        self.owed == Owed::Writable
            && self.life == Life::Open
            && datagrams <= self.limits.queue_datagrams_max / LOW
            && bytes <= self.limits.queue_bytes_max / LOW
    }

    /// The debt is paid: `on_writable` is about to be called.
    pub(crate) fn clear_writable_pending(&mut self) {
        self.owed = Owed::Nothing;
    }

    /// Gives an emptied queue back.
    fn tidy(&mut self, departures: &mut Departures) {
        if let Some(mut outgoing) = self.outgoing.take() {
            outgoing.compact();
            if outgoing.is_empty() {
                departures.take_back(outgoing);
            } else {
                departures.count(&mut outgoing);
                self.outgoing = Some(outgoing);
            }
        }
    }

    /// How it receives and sends now.
    pub(crate) fn paths(&self) -> (crate::net::datagram::Receiving, Sending) {
        (self.socket.receiving(), self.socket.sending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn post(config: DatagramConfig) -> Post {
        let address = "udp://127.0.0.1:0".parse().expect("an address");
        Post::new(DatagramSocket::bind(&address, &config).expect("a socket"), &config)
    }

    #[test]
    fn a_full_receiver_gets_a_quarter_of_the_queue_in_datagrams_and_bytes_and_the_others_get_the_rest() {
        let config = DatagramConfig { queue_datagrams_max: 16, queue_bytes_max: 800, ..DatagramConfig::default() };
        let [full, other]: [DatagramPeer; 2] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)).into());
        // Bytes that wait for the full receiver in datagrams of so many, and a datagram more: whether it may wait, too.
        let cases: [(&[usize], usize, bool); 7] = [
            (&[100], 100, true),
            (&[100], 101, false),
            (&[1], 199, true),
            (&[1, 1, 1], 1, true),
            (&[1, 1, 1, 1], 1, false),
            (&[], 800, true),
            (&[], 801, false),
        ];
        for (waiting, bytes, fits) in cases {
            let (mut post, mut departures, now) = (post(config.clone()), Departures::default(), Tick::test(1));
            let mut outgoing = departures.outgoing();
            for (index, bytes) in waiting.iter().enumerate() {
                outgoing.push(Some(full.clone()), &vec![0; *bytes], now);
                outgoing.hold(index);
            }
            post.outgoing = Some(outgoing);
            assert_eq!(
                post.send(Some(&full), &vec![0; bytes], &mut departures, now).is_ok(),
                fits,
                "{waiting:?} {bytes}"
            );
            let left = 800 - post.waiting().1;
            assert!(post.send(Some(&other), &vec![0; left], &mut departures, now).is_ok(), "{left}");
            assert!(post.send(Some(&other), &[0], &mut departures, now).is_err());
        }
    }

    #[test]
    fn who_was_refused_room_is_told_of_it_though_nothing_waits_any_more() {
        let config = DatagramConfig { queue_datagrams_max: 1, ..DatagramConfig::default() };
        let (mut post, mut departures, now) = (post(config), Departures::default(), Tick::test(1));
        assert!(post.is_quiet());
        let to = SocketAddr::from(([127, 0, 0, 1], 1)).into();
        post.send(Some(&to), b"waits", &mut departures, now).expect("room");
        post.send(Some(&to), b"refused", &mut departures, now).expect_err("no room");
        post.discard(&mut departures);
        assert!(!post.is_quiet() && post.writable_is_due());
        post.clear_writable_pending();
        assert!(post.is_quiet());
    }
}
