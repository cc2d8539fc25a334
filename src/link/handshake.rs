//! How a link shakes hands: step by step, here or on another thread, at its beginning or in the middle.
//!
//! Owns when a step may be taken, and what is kept for it. What a step does is the session's; in which order those of many
//! links are taken, others decide.
//!
//! 1. While another thread has the session nothing else touches it: the phase is `Handshaking`, in which nothing is read,
//!    sealed or delivered.

#![cfg_attr(
    not(feature = "tls"),
    expect(unreachable_code, unused_variables, reason = "there are no sessions then, and the compiler sees it")
)]

use crate::clock::Tick;
#[cfg(feature = "tls")]
use crate::error::Error;
use crate::error::{Reason, TlsFault};
use crate::link::buffers::{Buffers, KEPT_BYTES_MAX, Scratch, Sealed};
use crate::link::cold::Contents;
use crate::link::input::Received;
use crate::link::phase::{Phase, Signal};
use crate::link::quota::Quota;
use crate::link::records::{Security, Which};
use crate::link::session::{DECODE_ERROR, Opened, Session};
use crate::link::stamp::Stamp;
use crate::link::{HELD_UP, Link};
use std::time::Duration;

/// Whether a peer that speaks something else is owed an answer that it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlainReply {
    None,
    Owed,
}

/// Whether the next step of the handshake waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    None,
    /// Since then.
    Queued(Stamp),
    /// For one on another thread, since then.
    QueuedElsewhere(Stamp),
    /// Another thread has the session, since then.
    Offloaded(Stamp),
}

impl Step {
    /// Since when it is this side that is waited for.
    fn since(self) -> Option<Stamp> {
        match self {
            Step::None => None,
            Step::Queued(since) | Step::QueuedElsewhere(since) | Step::Offloaded(since) => Some(since),
        }
    }
}

/// Whether a handshake may still be given its time once more after a hold-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excuse {
    Left,
    Used,
}

/// Whether there are other threads for steps that take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    No,
    Possible,
}

/// What a step of a handshake came to.
pub(crate) enum Stepped<'s> {
    /// It was taken; this was opened.
    Taken(&'s [u8]),
    /// What came is kept, for another thread to open.
    Elsewhere,
}

/// A session on another thread, with what it is to open there and what came of it.
pub(crate) struct OffloadedSession {
    session: Session,
    wire: Vec<u8>,
    seen: usize,
    plain: Vec<u8>,
    sealed: Sealed,
    which: Which,
    /// `None` before, and after a panic.
    opened: Option<Opened>,
}

impl OffloadedSession {
    /// Takes the step. A panic of the configuration's code goes through it.
    pub(crate) fn open(&mut self) {
        let quota = &mut Quota::TURN.clone();
        self.opened = Some(self.session.open(&mut self.wire, self.seen, quota, &mut self.plain, &mut self.sealed));
    }

    /// What was opened.
    pub(crate) fn plain(&self) -> &[u8] {
        &self.plain
    }
}

/// The type that a peer's first record has; RFC 8446, section 5.1.
const HANDSHAKE_RECORD: u8 = 22;

/// How long a peer may take to say its first words that a drain is to wait for.
pub(crate) const FIRST_WORDS: Duration = Duration::from_secs(1);

/// Reads that one step of a handshake makes.
const STEP_READS: usize = 4;

impl Link {
    /// Whether a step of the handshake should be queued now. Asked once for each: it counts as queued then.
    pub(crate) fn queues_step(&mut self, now: Tick) -> bool {
        let has_input = self.has_unread();
        let Some(tls) = self.cold.tls() else { return false };
        let is_told = tls.session.is_silent() || has_input;
        let comes = is_told || self.input.may_hold();
        if !matches!(self.phase, Phase::Handshaking) || tls.step != Step::None || !comes {
            return false;
        }
        tls.step = Step::Queued(Stamp::of(now, self.opened));
        true
    }

    /// The handshake's time is over; returns whether the peer gets more. The time is the peer's: while its next step waits in
    /// a queue of ours it does not count, unless the peer has gone meanwhile. After a hold-up a peer that has spoken gets
    /// its whole time again, once, since what it said could not be answered.
    pub(crate) fn excuses_handshake(&mut self, due: Tick, judged: Tick, now: Tick) -> bool {
        let Some(tls) = self.cold.tls() else { return false };
        let (step, present) = (tls.step, Stamp::of(now, self.opened));
        if self.input.has_hangup() {
            return false;
        }
        let is_held_up = judged.since(due) > self.limits.handshake_timeout / HELD_UP && tls.excuse == Excuse::Left;
        match &mut tls.step {
            // What another thread takes too long for is the configuration's own code.
            Step::Offloaded(_) if !is_held_up => return false,
            Step::None => return false,
            Step::Queued(since) | Step::QueuedElsewhere(since) | Step::Offloaded(since) => *since = present,
        }
        if is_held_up {
            tls.excuse = Excuse::Used;
            self.entered = now.into();
        } else {
            self.count_out(step, now);
        }
        self.phase_deadline().is_none_or(|(due, _)| due > judged)
    }

    /// The step is taken: it was not the peer that was waited for.
    fn count_out(&mut self, step: Step, now: Tick) {
        if let Some(since) = step.since() {
            self.entered = self.entered().after(now.since(since.tick(self.opened))).into();
        }
    }

    /// Until when a drain waits for the handshake; `Tick::NEVER` where none does.
    pub(super) fn hurried(&self) -> Tick {
        match &self.cold.security {
            Security::Plain => Tick::NEVER,
            Security::Tls(tls) => tls.hurried.tick(self.opened),
        }
    }

    /// Takes a step of the handshake: reads what there is and opens it. What is opened behind the handshake's end is
    /// plaintext; what a peer says that speaks no TLS is itself, see [`Link::owes_plain_reply`].
    ///
    /// A panic of the configuration's code (a certificate resolver, a verifier) goes through it; see [`Link::fail_step`].
    ///
    /// With `elsewhere`, one that may take long is not taken here: it waits for [`Link::offload`].
    pub(crate) fn take_step<'s>(
        &mut self,
        elsewhere: Elsewhere,
        quota: &mut Quota,
        scratch: &'s mut Scratch,
        buffers: &mut Buffers,
        now: Tick,
    ) -> Stepped<'s> {
        let inherited = self.inherit(buffers, now);
        let Some(tls) = self.cold.tls() else { return Stepped::Taken(&[]) };
        let step = std::mem::replace(&mut tls.step, Step::None);
        self.count_out(step, now);
        let Some(tls) = self.cold.tls() else { return Stepped::Taken(&[]) };
        if !matches!(self.phase, Phase::Handshaking) {
            return Stepped::Taken(&[]);
        }
        let room = KEPT_BYTES_MAX - tls.kept.len();
        let (is_not_started, is_silent) = (tls.session.is_not_started(), tls.session.is_silent());
        let has_kept = !tls.kept.is_empty();
        let mut read = 0;
        for _ in 0..STEP_READS {
            if !self.input.may_hold() || read == room {
                break;
            }
            match self.receive(&mut scratch.bytes()[read..room], now) {
                Received::Bytes(n) => read += n,
                Received::Nothing => break,
            }
        }
        // Nothing is spent on a peer that has gone before anything was spent on it, unless it speaks something else: that
        // may have said all it has to say, and wait for an answer.
        let is_hello = has_kept || scratch.bytes()[0] == HANDSHAKE_RECORD;
        let is_gone = self.input.has_ended() && is_not_started && !is_silent && (is_hello || read == 0);
        if !matches!(self.phase, Phase::Handshaking) || is_gone || (read + inherited == 0 && !is_silent) {
            return Stepped::Taken(&[]);
        }
        if elsewhere == Elsewhere::Possible && self.keep_for_elsewhere(read, scratch, buffers, now) {
            return Stepped::Elsewhere;
        }
        self.open(read, quota, scratch, buffers, now);
        Stepped::Taken(scratch.plain())
    }

    /// Keeps what was read, if another thread should open it.
    fn keep_for_elsewhere(&mut self, read: usize, scratch: &mut Scratch, buffers: &mut Buffers, now: Tick) -> bool {
        let Some(tls) = self.cold.tls() else { return false };
        let (wire, _) = scratch.wire(&tls.kept, read);
        if !tls.session.is_offloaded(wire) {
            return false;
        }
        tls.keep(wire, &mut buffers.pool);
        tls.step = Step::QueuedElsewhere(Stamp::of(now, self.opened));
        true
    }

    /// Whether a step is, or will be, with another thread: only then is it known what the bytes before an end meant.
    pub(super) fn has_step_elsewhere(&self) -> bool {
        matches!(&self.cold.security, Security::Tls(tls) if matches!(tls.step, Step::QueuedElsewhere(_) | Step::Offloaded(_)))
    }

    /// Hands the session out to another thread, with what it is to open; `None` if there is nothing for one to do.
    pub(crate) fn offload(&mut self, buffers: &mut Buffers, now: Tick) -> Option<Box<OffloadedSession>> {
        let tls = self.cold.tls()?;
        let step = tls.step;
        if !matches!(step, Step::QueuedElsewhere(_)) || !matches!(self.phase, Phase::Handshaking) {
            return None;
        }
        self.count_out(step, now);
        let tls = self.cold.tls()?;
        tls.step = Step::Offloaded(Stamp::of(now, self.opened));
        let which = Which::of(&tls.session);
        // It may never come back to this link.
        buffers.pool.count_out(tls.kept.capacity());
        Some(Box::new(OffloadedSession {
            session: tls.session.take(),
            wire: std::mem::take(&mut tls.kept),
            seen: std::mem::take(&mut tls.seen) as usize,
            plain: Vec::new(),
            sealed: Sealed::default(),
            which,
            opened: None,
        }))
    }

    /// Takes the session back and does what follows from the step that it took; `None` if that panicked, see
    /// [`Link::fail_step`].
    pub(crate) fn come_back(&mut self, away: &mut OffloadedSession, buffers: &mut Buffers, now: Tick) -> Option<()> {
        let Some(tls) = self.cold.tls() else { return Some(()) };
        let step = std::mem::replace(&mut tls.step, Step::None);
        debug_assert!(matches!(step, Step::Offloaded(_)), "only what departed can come back");
        tls.session = away.session.take();
        self.count_out(step, now);
        let opened = away.opened.take()?;
        buffers.sealed.push(away.sealed.bytes());
        self.follow(away.which, &away.wire, &mut away.plain, opened, buffers, now);
        buffers.pool.count_in(away.wire.capacity());
        buffers.pool.take_back(std::mem::take(&mut away.wire));
        Some(())
    }

    /// The reactor drains. A peer that has said nothing is not waited for, unless it has just come, and others at most until
    /// `until`.
    pub(crate) fn hurry_handshake(&mut self, until: Tick, now: Tick) {
        let (Security::Tls(tls), Phase::Handshaking) = (&self.cold.security, self.phase) else { return };
        let has_spoken = !tls.session.is_not_started() || !tls.kept.is_empty() || !self.cold.inbox.is_empty();
        let is_under_way = has_spoken || tls.step != Step::None || self.input.may_hold();
        // What lies in the kernel may not have been reported yet.
        if !is_under_way && now >= self.entered().after(FIRST_WORDS) && self.stream.peek().is_err() {
            return self.signal(Signal::Close(Reason::Drain), now);
        }
        if let Some(tls) = self.cold.tls() {
            tls.hurried = tls.hurried.min(Stamp::of(until, self.opened));
        }
    }

    /// Begins a handshake in the middle. What was written so far goes out before it, as it is; what the handler leaves of
    /// input is taken for the beginning of the handshake, so that nothing said before it passes for something said after.
    #[cfg(feature = "tls")]
    pub(crate) fn upgrade(&mut self, session: Session, buffers: &mut Buffers, now: Tick) -> Result<(), Error> {
        self.limits.validate_sealed()?;
        if !matches!(self.phase, Phase::Open) || self.is_tls() || self.cold.outbox.has_files() {
            return Err(Error::NotOpen);
        }
        self.send_gathered(buffers, now);
        self.cold.security = Security::of(Some(session));
        self.signal(Signal::Upgrade, now);
        Ok(())
    }

    /// Takes what the handler left before an upgrade for records; says how much.
    fn inherit(&mut self, buffers: &mut Buffers, now: Tick) -> usize {
        let Some(Contents { security: Security::Tls(tls), inbox, .. }) = self.cold.there() else { return 0 };
        let bytes = inbox.bytes().len();
        if bytes == 0 || !matches!(self.phase, Phase::Handshaking) {
            return 0;
        }
        if bytes >= KEPT_BYTES_MAX {
            tls.session.fail();
            self.signal(Signal::Broken(Reason::Tls(TlsFault::TooLarge)), now);
        } else {
            debug_assert!(tls.kept.is_empty(), "a handshake that has begun leaves nothing in the inbox");
            tls.kept = buffers.pool.chunk(bytes);
            tls.kept.extend_from_slice(inbox.bytes());
        }
        self.drop_inbox(buffers);
        self.set_need(0, &mut buffers.pool);
        bytes
    }

    /// Whether the peer turned out to speak something else, and nothing has answered it yet.
    pub(crate) fn owes_plain_reply(&self) -> bool {
        matches!(&self.cold.security, Security::Tls(tls) if tls.plain_reply == PlainReply::Owed)
    }

    /// Answers a peer that speaks something else; by an alert, if there is nothing better to say.
    pub(crate) fn plain_reply(&mut self, answer: Option<&[u8]>, buffers: &mut Buffers, now: Tick) {
        if let Some(tls) = self.cold.tls() {
            tls.plain_reply = PlainReply::None;
            self.cold.outbox.push(answer.unwrap_or(&DECODE_ERROR), now, &mut buffers.pool);
        }
    }

    /// A step panicked: nothing that it left half done is used again, and nothing reaches another link.
    pub(crate) fn fail_step(&mut self, buffers: &mut Buffers, now: Tick) {
        buffers.sealed.clear();
        if let Some(tls) = self.cold.tls() {
            tls.session.fail();
        }
        self.signal(Signal::Failed(Reason::HandlerPanicked), now);
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests;
