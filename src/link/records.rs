//! How a link with TLS reads and writes: records between the socket and the handler.
//!
//! Owns the unfinished record of each link, and when records are opened, sealed and sent; what a record is, the session
//! knows. An idle link keeps the session and no buffer.
//!
//! 1. What is kept is what rustls has seen of an unfinished message, whole records that had to wait for the next turn
//!    (`Unopened::Records`), and an unfinished record, in this order. Nothing is read while whole records wait, and a link
//!    leaves its reactor without any.
//! 2. What was sealed has left, or is in the outbox, before user code runs: `Buffers::sealed` is empty then.

use crate::clock::Tick;
use crate::config::{RECORD_BYTES, sealing_bytes};
use crate::error::{Expiry, Reason, TlsFault};
use crate::link::buffers::{Buffers, FileShare, KEPT_BYTES_MAX, Pool, Scratch, Sealed};
use crate::link::cold::Contents;
use crate::link::handshake::{Excuse, PlainReply, Step};
use crate::link::input::Received;
use crate::link::phase::{Phase, Signal};
use crate::link::quota::{Allowance, Quota, Unopened};
use crate::link::session::{Opened, Session};
use crate::link::stamp::Stamp;
use crate::link::{Link, Output};
use std::io;

/// What lies between the socket and the handler.
#[derive(Debug)]
pub(super) enum Security {
    Plain,
    Tls(Box<Tls>),
}

/// A session, and the record that is not whole yet.
pub(super) struct Tls {
    pub(super) session: Session,
    /// As the session left it: it remembers what it has done to these bytes.
    pub(super) kept: Vec<u8>,
    /// How much of what is kept the session has seen.
    pub(super) seen: u32,
    rest: Unopened,
    allowance: Allowance,
    pub(super) step: Step,
    close_notify: CloseNotify,
    pub(super) plain_reply: PlainReply,
    pub(super) excuse: Excuse,
    /// Until when a drain waits for the handshake.
    pub(super) hurried: Stamp,
}

/// Whether all that waits is our close_notify, to a peer that has said its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseNotify {
    None,
    Alone,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("session", &self.session).field("kept", &self.kept.len()).finish()
    }
}

impl Tls {
    /// Whether all records were opened, and data can go both ways.
    pub(super) fn is_at_rest(&self) -> bool {
        self.kept.is_empty() && self.rest == Unopened::None && self.session.is_just_open()
    }

    /// Seals `plain`.
    pub(super) fn seal(&mut self, plain: &[u8], out: &mut Sealed) -> Result<(), TlsFault> {
        self.session.seal(plain, &mut self.kept[..self.seen as usize], out)
    }

    /// Seals our close_notify.
    fn close(&mut self, out: &mut Sealed) {
        self.session.close(&mut self.kept[..self.seen as usize], out);
    }

    /// Keeps `rest` of what came, and no memory for nothing.
    pub(super) fn keep(&mut self, rest: &[u8], pool: &mut Pool) {
        if rest.len() > self.kept.capacity() {
            let larger = pool.chunk(rest.len());
            pool.take_back(std::mem::replace(&mut self.kept, larger));
        }
        self.kept.clear();
        self.kept.extend_from_slice(rest);
        if rest.is_empty() && self.kept.capacity() > 0 {
            pool.take_back(std::mem::take(&mut self.kept));
        }
    }
}

impl Security {
    pub(super) fn of(session: Option<Session>) -> Security {
        match session {
            None => Security::Plain,
            Some(session) => {
                let (step, close_notify, plain_reply) = (Step::None, CloseNotify::None, PlainReply::None);
                let (excuse, hurried) = (Excuse::Left, Stamp::NEVER);
                let (kept, seen, rest, allowance) = (Vec::new(), 0, Unopened::None, Allowance::FULL);
                Security::Tls(Box::new(Tls {
                    session,
                    kept,
                    seen,
                    rest,
                    allowance,
                    step,
                    close_notify,
                    plain_reply,
                    excuse,
                    hurried,
                }))
            }
        }
    }
}

/// Which of a session's records are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Later,
}

impl Which {
    pub(super) fn of(session: &Session) -> Which {
        if session.is_not_started() { Which::First } else { Which::Later }
    }
}

/// Plaintext that is sealed by one call: two or three of them fit in the cache with what they are sealed into.
pub(super) const SEAL_BYTES: usize = 64 * 1024;

/// Records that are sent by one call: that of two pieces.
const SHIP_BYTES: usize = 2 * SEAL_BYTES;

/// So that neither rounding nor the tickets behind a handshake take a byte from an empty queue's room.
const SEALING_SLACK: usize = 4096;

impl Link {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.cold.security, Security::Tls(_))
    }

    /// Whether an end of the stream that came without the peer's close_notify counts as one that was cut.
    pub(crate) fn is_truncated(&self) -> bool {
        match &self.cold.security {
            Security::Plain => false,
            // Within a record it is cut whatever its protocol marks.
            Security::Tls(tls) => tls.session.is_truncated() || !tls.kept.is_empty(),
        }
    }

    /// Whether whole records wait to be opened.
    #[inline]
    pub(crate) fn has_unopened(&self) -> bool {
        matches!(&self.cold.security, Security::Tls(tls) if tls.rest == Unopened::Records)
    }

    // --- input ----------------------------------------------------------------------------------------------------

    /// How many bytes to read at once, within the turn's budget: what waits and what is read may not exceed the inbox
    /// together, but a record must fit, since less than one cannot be opened.
    pub(crate) fn piece(&self, budget: usize, scratch: &mut Scratch) -> usize {
        let room = if self.phase.delivers_input() { self.inbox_room() } else { usize::MAX };
        let room = match &self.cold.security {
            Security::Plain => room,
            Security::Tls(tls) => room.max(RECORD_BYTES).saturating_sub(tls.kept.len()).max(1),
        };
        scratch.bytes().len().min(budget).min(room)
    }

    /// Opens what waits, or reads once and opens what came; returns how much was read and what of it is for the handler, `None`
    /// if there was nothing.
    pub(crate) fn receive_opened<'s>(
        &mut self,
        piece: usize,
        quota: &mut Quota,
        scratch: &'s mut Scratch,
        buffers: &mut Buffers,
        now: Tick,
    ) -> Option<(usize, &'s [u8])> {
        let active = self.active;
        if self.has_unopened() {
            self.open(0, quota, scratch, buffers, now);
            return Some((0, scratch.plain()));
        }
        match self.receive(&mut scratch.bytes()[..piece], now) {
            Received::Nothing => None,
            Received::Bytes(read) => match self.cold.security {
                Security::Tls(_) if !self.phase.discards_input() => {
                    // Records without data are no life: else a peer could hold a place by them for ever.
                    self.active = active;
                    self.open(read, quota, scratch, buffers, now);
                    Some((read, scratch.plain()))
                }
                Security::Plain | Security::Tls(_) => Some((read, &scratch.bytes()[..read])),
            },
        }
    }

    /// Opens the records of the first `read` bytes in the scratch, behind what was kept. Answers leave, the phase moves.
    ///
    /// Whatever is sealed here is sent or queued here (records 2).
    pub(super) fn open(
        &mut self,
        read: usize,
        quota: &mut Quota,
        scratch: &mut Scratch,
        buffers: &mut Buffers,
        now: Tick,
    ) {
        let opened_at = self.opened;
        let present = || Stamp::of(now, opened_at);
        let Some(tls) = self.cold.tls() else { return };
        let which = Which::of(&tls.session);
        let (wire, plain) = scratch.wire(&tls.kept, read);
        quota.updates = tls.allowance.at(present);
        let opened = tls.session.open(wire, tls.seen as usize, quota, plain, &mut buffers.sealed);
        tls.allowance.keep(quota.updates, present);
        let is_all = opened.consumed == wire.len() && opened.fault.is_none() && tls.kept.is_empty();
        if is_all
            && buffers.sealed.len() == 0
            && tls.session.is_just_open()
            && !matches!(self.phase, Phase::Handshaking)
        {
            if !plain.is_empty() {
                self.active = now.into();
            }
            return;
        }
        self.follow(which, wire, plain, opened, buffers, now);
    }

    /// Does what follows from records that were opened.
    pub(super) fn follow(
        &mut self,
        which: Which,
        wire: &[u8],
        plain: &mut Vec<u8>,
        opened: Opened,
        buffers: &mut Buffers,
        now: Tick,
    ) {
        let Some(tls) = self.cold.tls() else { return };
        let Opened { consumed, seen, rest, mut fault } = opened;
        if which == Which::First && fault == Some(TlsFault::NotTls) {
            tls.plain_reply = PlainReply::Owed;
            plain.extend_from_slice(wire);
        }
        tls.keep(&wire[consumed..], &mut buffers.pool);
        (tls.seen, tls.rest) = (seen as u32, rest);
        if rest == Unopened::None && tls.kept.len() >= KEPT_BYTES_MAX {
            tls.session.fail();
            fault = Some(TlsFault::TooLarge);
        }
        let (is_secured, is_ended) = (tls.session.is_secured(), tls.session.is_peer_closed());
        if !plain.is_empty() {
            self.active = now.into();
        }
        let is_done = is_secured && fault.is_none() && matches!(self.phase, Phase::Handshaking);
        if is_done {
            // What ends the handshake leaves with what the handler says first: it waits until the drive's end.
            self.cold.outbox.push(buffers.sealed.bytes(), now, &mut buffers.pool);
            buffers.sealed.clear();
        } else {
            self.ship(buffers, now);
        }
        if is_ended {
            self.input = self.input.ended();
        }
        match fault {
            Some(fault) => self.signal(Signal::Broken(Reason::Tls(fault)), now),
            None if is_done => self.signal(Signal::Secured, now),
            None => {}
        }
    }

    /// Gives back what was kept of a record that nobody will open.
    pub(super) fn drop_kept(&mut self, buffers: &mut Buffers) {
        if let Some(tls) = self.cold.tls() {
            (tls.seen, tls.rest) = (0, Unopened::None);
            if tls.kept.capacity() > 0 {
                buffers.pool.take_back(std::mem::take(&mut tls.kept));
            }
        }
    }

    // --- output ---------------------------------------------------------------------------------------------------

    /// How many bytes can be written while so many are queued.
    ///
    /// The limit is one of bytes that are written: what sealing adds to as many may be queued on top of it.
    pub(super) fn writable(&self, queued: usize) -> usize {
        let limit = self.limits.outbox_bytes_max;
        match self.cold.security {
            Security::Plain => limit.saturating_sub(queued),
            Security::Tls(_) => {
                let sealed_max = limit.saturating_add(sealing_bytes(limit)).saturating_add(SEALING_SLACK);
                let free = sealed_max.saturating_sub(queued).saturating_sub(sealing_bytes(0));
                // The most that is not longer than `free` when a 512th of it is added.
                (free - free / 513).saturating_sub(1).min(limit)
            }
        }
    }

    /// Seals the gather buffer and then `bytes`, and sends them, or queues them behind what waits. Behind a file they wait
    /// as they are: records go out in the order in which they are sealed.
    pub(super) fn seal(&mut self, bytes: &[u8], buffers: &mut Buffers, now: Tick) {
        if bytes.is_empty() && buffers.gather.len() <= SEAL_BYTES && self.cold.is_sealed_at_rest() {
            return self.seal_at_rest(buffers, now);
        }
        let mut gather = std::mem::take(&mut buffers.gather);
        if self.cold.outbox.has_files() {
            self.cold.outbox.push(&gather, now, &mut buffers.pool);
            self.cold.outbox.push(bytes, now, &mut buffers.pool);
            gather.clear();
            buffers.gather = gather;
            return;
        }
        for piece in gather.chunks(SEAL_BYTES).chain(bytes.chunks(SEAL_BYTES)) {
            if let Phase::Closed(_) = self.phase {
                // It broke: this is not sealed any more, but counted as lost.
                self.cold.outbox.push_ready(piece, now, &mut buffers.pool);
                continue;
            }
            let Some(tls) = self.cold.tls() else { break };
            if let Err(fault) = tls.seal(piece, &mut buffers.sealed) {
                self.signal(Signal::Failed(Reason::Tls(fault)), now);
                self.cold.outbox.push_ready(piece, now, &mut buffers.pool);
            }
            if buffers.sealed.len() >= SHIP_BYTES {
                self.ship(buffers, now);
            }
        }
        self.ship(buffers, now);
        gather.clear();
        buffers.gather = gather;
    }

    /// Seals the gather buffer, of a link where nothing waits, and sends it.
    fn seal_at_rest(&mut self, buffers: &mut Buffers, now: Tick) {
        let Some(tls) = self.cold.tls() else { return };
        if let Err(fault) = tls.seal(&buffers.gather, &mut buffers.sealed) {
            self.signal(Signal::Failed(Reason::Tls(fault)), now);
            self.cold.outbox.push_ready(&buffers.gather, now, &mut buffers.pool);
        }
        buffers.gather.clear();
        self.ship(buffers, now);
    }

    /// Sends what is sealed, or queues it behind what waits. Once our end is said nothing may follow it; what is sealed for
    /// a link that broke waits to be counted as lost.
    pub(super) fn ship(&mut self, buffers: &mut Buffers, now: Tick) {
        if buffers.sealed.len() == 0 {
            return;
        }
        if matches!(self.phase, Phase::Open) && self.cold.outbox.is_empty() {
            let result = self.stream.write(buffers.sealed.bytes());
            if matches!(result, Ok(sent) if sent == buffers.sealed.len()) {
                self.bytes_out += buffers.sealed.len() as u64;
                self.active = now.into();
                return buffers.sealed.clear();
            }
            let sent = self.took(result, &mut buffers.pool, now).unwrap_or(0);
            self.ship_rest(sent, buffers, now);
        } else {
            self.ship_rest(0, buffers, now);
        }
    }

    /// The same, without the first bytes, which have left.
    fn ship_rest(&mut self, sent: usize, buffers: &mut Buffers, now: Tick) {
        let mut sealed = std::mem::take(&mut buffers.sealed);
        if !matches!(self.phase, Phase::WriteClosed | Phase::Lingering(_)) {
            let bytes = &sealed.bytes()[sent..];
            let waits = self.cold.outbox.has_ready()
                || self.cold.output == Output::Blocked
                || matches!(self.phase, Phase::Closed(_));
            let sent = if waits { 0 } else { self.offer(bytes, &mut buffers.pool, now) };
            self.cold.outbox.push_ready(&bytes[sent..], now, &mut buffers.pool);
        }
        sealed.clear();
        buffers.sealed = sealed;
    }

    /// Offers `bytes` to the kernel until it blocks, or the link breaks; returns how many it took.
    fn offer(&mut self, bytes: &[u8], pool: &mut Pool, now: Tick) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            let result = self.stream.write(&bytes[sent..]);
            match self.took(result, pool, now) {
                Some(0) | None => break,
                Some(taken) => sent += taken,
            }
        }
        sent
    }

    /// Offers the kernel what was held back until the drive's end. Of files a drive sends its share once.
    pub(super) fn uncork(&mut self, buffers: &mut Buffers, now: Tick) {
        let waits = buffers.files == FileShare::Sent && !self.cold.outbox.has_ready();
        if (self.is_tls() || self.cold.outbox.has_files()) && self.may_flush() && !waits {
            self.flush(buffers, now);
        }
        buffers.begin_share();
    }

    /// Says close_notify behind all that waits (A9).
    pub(super) fn say_close(&mut self, buffers: &mut Buffers, now: Tick) {
        let Some(Contents { security: Security::Tls(tls), outbox, .. }) = self.cold.there() else { return };
        let is_answer = tls.session.is_peer_closed();
        tls.close(&mut buffers.sealed);
        if is_answer && outbox.is_empty() {
            tls.close_notify = CloseNotify::Alone;
        }
        self.ship(buffers, now);
    }

    /// What it means that the kernel refused output: nothing, where the peer had ended and may have gone, and only our own
    /// end was left to be said.
    pub(super) fn refused(&self, error: &io::Error) -> Reason {
        match &self.cold.security {
            Security::Tls(tls) if tls.close_notify == CloseNotify::Alone => Reason::PeerClosed,
            Security::Plain | Security::Tls(_) => Reason::of(error),
        }
    }

    /// Says close_notify where the link ends at once and in order; whether it arrives is not waited for.
    pub(crate) fn send_close_notify(&mut self, reason: Reason, buffers: &mut Buffers) {
        let Some(Contents { security: Security::Tls(tls), outbox, .. }) = self.cold.there() else { return };
        let in_order = matches!(reason, Reason::Timeout(Expiry::Idle) | Reason::ReactorDropped);
        if in_order && outbox.is_empty() {
            tls.close(&mut buffers.sealed);
            if buffers.sealed.len() > 0 {
                let _ = self.stream.write(buffers.sealed.bytes());
            }
            buffers.sealed.clear();
        }
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
