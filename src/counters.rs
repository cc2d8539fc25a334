//! What a reactor counts.
//!
//! Owns the numbers, kept without atomics or clock reads: a snapshot is a copy.

use crate::error::Reason;
use std::time::Duration;

/// What a reactor counted since it was made.
///
/// ```
/// use windlass::{Reactor, ReactorConfig, Reason};
/// let reactor = Reactor::new(ReactorConfig::default())?;
/// let counters = reactor.snapshot();
/// println!("{} accepted, {} closed, {} of them reset", counters.accepted, counters.closed_total(), counters.closed_for(Reason::Reset));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections that listeners accepted, those refused afterwards among them.
    pub accepted: u64,
    /// Of those: refused by `Accept::admit` or by `ListenConfig::prepare_accepted`.
    pub refused: u64,
    /// Connections that ended before their handler was made, those that were refused among them.
    pub failed: u64,
    /// Accept calls that failed and were passed over (ECONNABORTED and its like).
    pub accepts_failed: u64,
    /// Times that a listener paused because the system lacked descriptors or memory, or accept(2) kept failing.
    pub accepts_starved: u64,
    /// Connections begun by `connect`.
    pub dialled: u64,
    /// Links adopted, or given for it and refused.
    pub adopted: u64,
    /// Connections whose `on_open` was called.
    pub opened: u64,
    closed: Closed,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Bytes of output that were accepted and that the kernel had not taken when their connection ended; with TLS, of records
    /// where they were sealed already. What the kernel took and a reset destroyed is not known.
    pub bytes_lost: u64,
    /// Times that a connection with something waiting was not read because all queues together held more than
    /// `ReactorConfig::queued_bytes_max`.
    pub reads_held_back: u64,
    /// Turns.
    pub turns: u64,
    /// Times that a source was driven.
    pub drives: u64,
    /// Commands of other threads that were carried out.
    pub commands: u64,
    /// Bytes sent from elsewhere that could not be delivered, in messages.
    pub undelivered: u64,
    /// Panics in callbacks, each counted once.
    pub panics: u64,
    /// Times that callbacks, all those of one source in one turn, took longer than `ReactorConfig::slow_callback`.
    pub slow_callbacks: u64,
    /// The longest time that the callbacks of one source took in one turn, in steps of the system's clock tick: zero for
    /// what is shorter.
    pub longest_callback: Duration,
    /// Datagram sockets that were bound or adopted.
    pub bound: u64,
    /// What all datagram sockets counted.
    pub datagrams: DatagramStats,
}

/// What is known of one connection; [`Conn::stats`](crate::Conn::stats), [`Other::stats`](crate::Other::stats).
///
/// ```
/// use windlass::{Conn, Handler};
/// struct Meter;
/// impl Handler for Meter {
///     fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
///         let stats = conn.stats();
///         println!("{} bytes in, {} out, {:?} old", stats.bytes_in, stats.bytes_out, stats.age);
///         data.len()
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnStats {
    /// Bytes read, on the network: with TLS those of its records.
    pub bytes_in: u64,
    /// Bytes that the kernel took.
    pub bytes_out: u64,
    /// Bytes of input that its handler has left, and waits for more.
    pub unread_bytes: usize,
    /// Bytes of output that wait.
    pub unsent_bytes: usize,
    /// Since it was accepted, dialled or adopted.
    pub age: Duration,
    /// Since a byte moved last, in either direction.
    pub idle: Duration,
}

/// What was counted of datagrams: of one socket, or of all of a reactor.
///
/// ```
/// use windlass::{Reactor, ReactorConfig};
/// let stats = Reactor::new(ReactorConfig::default())?.snapshot().datagrams;
/// assert_eq!((stats.datagrams_in, stats.dropped_by_kernel), (0, 0));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramStats {
    /// Received and shown.
    pub datagrams_in: u64,
    /// Taken by the kernel.
    pub datagrams_out: u64,
    /// Bytes of those that were received.
    pub bytes_in: u64,
    /// Bytes of those that the kernel took.
    pub bytes_out: u64,
    /// Received in part: they were longer than `DatagramConfig::bytes_max`.
    pub truncated: u64,
    /// Refused by a call of ours: too long, no room, or nobody to go to.
    pub refused: u64,
    /// Accepted and never sent: the system refused them, or they waited for too long. Each was told to `on_error`.
    pub undelivered: u64,
    /// Received by the kernel and dropped, since they were not taken fast enough; SO_RXQ_OVFL of socket(7), UDP on
    /// Linux. It is told with the next datagram that is received; that of the very first drop with the one after that, and
    /// until then it counts as one.
    pub dropped_by_kernel: u64,
}

impl DatagramStats {
    pub(crate) fn add(&mut self, other: &DatagramStats) {
        self.datagrams_in += other.datagrams_in;
        self.datagrams_out += other.datagrams_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.truncated += other.truncated;
        self.refused += other.refused;
        self.undelivered += other.undelivered;
        self.dropped_by_kernel += other.dropped_by_kernel;
    }
}

/// Connections that ended after their handler was made, by [`Reason::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Closed([u64; Reason::KINDS]);

impl Default for Closed {
    fn default() -> Closed {
        Closed([0; Reason::KINDS])
    }
}

impl Counters {
    /// One more connection ended for `reason`.
    pub(crate) fn count_closed(&mut self, reason: Reason) {
        self.closed.0[reason.index()] += 1;
    }

    /// Connections that ended for `reason`.
    pub fn closed_for(&self, reason: Reason) -> u64 {
        self.closed.0[reason.index()]
    }

    /// Connections that ended after their handler was made.
    pub fn closed_total(&self) -> u64 {
        self.closed.0.iter().sum()
    }
}
