//! How datagrams leave: many in a call where the system can, and what its refusals mean.
//!
//! Owns the rules only; the state is the post's.

use crate::clock::Tick;
use crate::net::datagram::calls::{Common, SENT};
use crate::net::datagram::peer::DatagramPeer;
use crate::net::datagram::{Bound, DatagramSocket, Refusal, Sending};
use crate::net::system::mmsg::SendHeaders;
use crate::post::outgoing::{Found, Outgoing, State};
use crate::post::runs::{Runs, WINDOW};
use crate::post::{DatagramError, Life, Pace, Post};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// They are boxed where they are used, and are kept so.
type Spare = Vec<Box<Outgoing>>;

/// What sending needs beside the datagrams; one serves all endpoints of a reactor.
#[derive(Default)]
pub(crate) struct Departures {
    runs: Runs,
    /// Emptied queues, for the next endpoint.
    spare: Spare,
    /// Bytes of memory that queues hold which still wait when they have been offered.
    held: usize,
    headers: SendHeaders,
}

/// Queues that are kept for reuse.
const SPARE_KEPT: usize = 4;

impl Departures {
    /// An empty queue.
    pub(super) fn outgoing(&mut self) -> Box<Outgoing> {
        self.spare.pop().unwrap_or_default()
    }

    /// Counts a queue that goes on waiting.
    pub(super) fn count(&mut self, outgoing: &mut Outgoing) {
        outgoing.count(&mut self.held);
    }

    /// Counts a queue no more, which is dropped with what waits in it.
    pub(super) fn forget(&mut self, outgoing: &mut Outgoing) {
        outgoing.count_out(&mut self.held);
    }

    /// Bytes that queues hold.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Sends one datagram from an address of ours, and says how many were sent.
    #[inline(never)]
    fn send_from(
        &mut self,
        via: IpAddr,
        socket: &DatagramSocket,
        to: Option<SocketAddr>,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let common = Common { segment: None, via: Some(via) };
        let message = [IoSlice::new(bytes)];
        self.headers.send(socket, common, &[&message], std::iter::once(to))
    }

    /// Takes an emptied queue back.
    pub(super) fn take_back(&mut self, mut outgoing: Box<Outgoing>) {
        outgoing.count_out(&mut self.held);
        if self.spare.len() < SPARE_KEPT && outgoing.is_small() {
            self.spare.push(outgoing);
        }
    }
}

/// The first and the longest wait for a Unix receiver that is full; no event tells when it is no longer.
const HELD_FIRST: Duration = Duration::from_millis(1);
const HELD_LONGEST: Duration = Duration::from_millis(64);

/// Full receivers that are tried in a millisecond.
const HELD_TRIES: u32 = 64;

impl Post {
    /// Whether something waits that the kernel may take.
    pub(crate) fn may_send(&self) -> bool {
        self.pace == Pace::Free
            && !matches!(self.life, Life::Closed(_))
            && self.outgoing.as_ref().is_some_and(|outgoing| outgoing.has_ready())
    }

    /// Offers the kernel what waits, until it refuses or nothing is left.
    pub(crate) fn flush(&mut self, departures: &mut Departures, now: Tick) {
        let Some(outgoing) = &self.outgoing else { return };
        // Each round sends all that it looks at, settles something, learns something of the socket, or stops.
        let rounds = 2 * outgoing.len() + 8;
        for _ in 0..rounds {
            if !self.may_send() {
                break;
            }
            match self.socket.sending() {
                Sending::Segmented { bytes_max } => self.send_together(departures, bytes_max, now),
                Sending::Batched => self.send_together(departures, 0, now),
                Sending::Single => self.send_singly(now),
            };
        }
        self.tidy(departures);
    }

    /// Sends one datagram without queueing it, and says how far it is. What the kernel does not take is offered once more
    /// from the queue, and there a refusal is told.
    pub(super) fn send_at_once(
        &mut self,
        to: Option<&DatagramPeer>,
        bytes: &[u8],
        departures: &mut Departures,
    ) -> State {
        if self.outgoing.is_some() || self.pace != Pace::Free {
            return State::Fresh;
        }
        let sent = match via(&self.socket, to) {
            Some(via) if self.socket.sending() != Sending::Single => {
                departures.send_from(via, &self.socket, to.and_then(DatagramPeer::ip), bytes)
            }
            Some(_) | None => self.socket.send(bytes, to).map(|()| 1),
        };
        match sent {
            Ok(0) => State::Fresh,
            Ok(_) => {
                self.stats.datagrams_out += 1;
                self.stats.bytes_out += bytes.len() as u64;
                State::Gone
            }
            Err(error) => self.refused_at_once(error),
        }
    }

    #[cold]
    fn refused_at_once(&mut self, error: io::Error) -> State {
        if Refusal::of(&error, false) != Refusal::Earlier || self.socket.is_unix() {
            return State::Fresh;
        }
        if !self.explained() {
            self.suspect_error = Some(error);
        }
        State::Tried
    }

    // --- many in a call -------------------------------------------------------------------------------------------

    fn send_together(&mut self, departures: &mut Departures, segment_bytes_max: usize, now: Tick) {
        let Some(outgoing) = &self.outgoing else { return };
        if outgoing.is_one_from_anywhere() {
            return self.send_one(now);
        }
        let (first, entries) = outgoing.window(WINDOW);
        departures.runs.plan(entries, segment_bytes_max);
        let mut next = 0;
        while next < departures.runs.runs().len() {
            let Some(outgoing) = &self.outgoing else { break };
            let few = departures.runs.order().len() <= FEW;
            let call = if few { call::<FEW> } else { call::<WINDOW> };
            let (asked, segment, sent) = call(&self.socket, outgoing, first, departures, next);
            let (sent, error) = match sent {
                Ok(sent) => (sent, None),
                Err(error) => (0, Some(error)),
            };
            for run in &departures.runs.runs()[next..next + sent] {
                self.count_sent(first, &departures.runs.order()[run.first..run.first + run.count]);
            }
            next += sent;
            if let Some(error) = error {
                match (Refusal::of(&error, segment.is_some()), segment) {
                    (refusal @ (Refusal::SegmentTooLong | Refusal::CannotSegment), Some(segment)) => {
                        self.judge_cutting(first, next, refusal, segment, departures, now);
                    }
                    _ => {
                        let order = self.without_source(first, next, &error, &departures.runs);
                        self.refused(first, order.unwrap_or(departures.runs.of(next)), error, now);
                    }
                }
                return;
            }
            if sent < asked {
                // What stands in the way is told at the next call, if it stands there still.
                return;
            }
        }
    }

    /// The one that waits: what many need is not made ready for it.
    fn send_one(&mut self, now: Tick) {
        let Some(outgoing) = &self.outgoing else { return };
        let (index, entries) = outgoing.window(1);
        let to = entries[0].to.as_ref();
        match self.socket.send(outgoing.bytes(&entries[0]), to) {
            Ok(()) => self.count_sent(index, &[0]),
            Err(error) => self.refused(index, &[0], error, now),
        }
    }

    /// A call that was to cut messages longer than `segment` was refused, maybe for another cause: a source address that is
    /// gone is EINVAL, too. The first datagram of its first run is sent alone, and only if the kernel takes it that was the
    /// cutting.
    fn judge_cutting(
        &mut self,
        first: usize,
        run: usize,
        refusal: Refusal,
        segment: u16,
        departures: &mut Departures,
        now: Tick,
    ) {
        let Some(outgoing) = &self.outgoing else { return };
        let alone = &departures.runs.of(run)[..1];
        let entry = outgoing.entry(first + usize::from(alone[0]));
        let common = Common { segment: None, via: via(&self.socket, entry.to.as_ref()) };
        let to = entry.to.as_ref().and_then(DatagramPeer::ip);
        let message = [IoSlice::new(outgoing.bytes(entry))];
        match departures.headers.send(&self.socket, common, &[&message], std::iter::once(to)) {
            Ok(0) => {}
            Ok(_) => {
                self.count_sent(first, alone);
                let bytes_max = usize::from(segment) - 1;
                self.socket.segment_less((refusal == Refusal::SegmentTooLong).then_some(bytes_max));
            }
            Err(error) => {
                let order = self.without_source(first, run, &error, &departures.runs);
                self.refused(first, order.unwrap_or(alone), error, now);
            }
        }
    }

    /// Of a run that was refused, if the address is gone that it was to leave from: all in the plan that are for its peer, from
    /// it on. They leave from the same address, and one call for each would say the same.
    fn without_source<'a>(&self, first: usize, run: usize, error: &io::Error, runs: &'a Runs) -> Option<&'a [u16]> {
        let outgoing = self.outgoing.as_ref()?;
        let order = runs.from(run);
        let entry = |index: &u16| outgoing.entry(first + usize::from(*index));
        let refused = entry(&order[0]);
        via(&self.socket, refused.to.as_ref()).filter(|_| error.kind() == io::ErrorKind::InvalidInput)?;
        let count = order.iter().take_while(|index| entry(index).to == refused.to).count();
        Some(&order[..count])
    }

    fn count_sent(&mut self, first: usize, order: &[u16]) {
        let Some(outgoing) = &mut self.outgoing else { return };
        for index in order {
            let index = first + usize::from(*index);
            let entry = outgoing.entry(index);
            self.stats.datagrams_out += 1;
            self.stats.bytes_out += entry.len() as u64;
            if entry.state == State::Tried {
                // So the error was an earlier one's.
                self.faults.extend(self.suspect_error.take().map(|source| DatagramError::Socket { source }));
            }
            outgoing.mark_done(index);
        }
    }

    /// The kernel refused the first message of a call, for no cause that cutting could be.
    fn refused(&mut self, first: usize, order: &[u16], error: io::Error, now: Tick) {
        match Refusal::of(&error, false) {
            Refusal::Full => self.pace = Pace::Blocked,
            Refusal::Congested => self.pace = Pace::Waits(now.after(self.limits.full_pause)),
            Refusal::NoCall => self.socket.send_singly(),
            Refusal::Earlier => self.suspect_error(first + usize::from(order[0]), error),
            Refusal::Datagram | Refusal::SegmentTooLong | Refusal::CannotSegment => {
                for index in order {
                    let source = error.raw_os_error().map_or(error.kind().into(), io::Error::from_raw_os_error);
                    self.give_up(first + usize::from(*index), source);
                }
            }
        }
    }

    /// An error was told at a datagram and may be an earlier one's, in which case this one was not sent: it is offered once
    /// more, and as often again as the network has answered to something: that was never this one.
    fn suspect_error(&mut self, index: usize, error: io::Error) {
        let explained = self.explained();
        let Some(outgoing) = &mut self.outgoing else { return };
        if outgoing.entry(index).state != State::Tried {
            outgoing.note_tried(index);
            self.suspect_error = (!explained).then_some(error);
        } else if !explained {
            self.suspect_error = None;
            self.give_up(index, error);
        }
    }

    fn give_up(&mut self, index: usize, source: io::Error) {
        let Some(outgoing) = &mut self.outgoing else { return };
        let (to, bytes) = (outgoing.to(index), outgoing.entry(index).len());
        outgoing.mark_done(index);
        self.stats.undelivered += 1;
        self.faults.push_back(DatagramError::Send { to, bytes, source });
    }

    // --- one in a call --------------------------------------------------------------------------------------------

    fn send_singly(&mut self, now: Tick) {
        let Some(outgoing) = &self.outgoing else { return };
        let (first, entries) = outgoing.window(usize::MAX);
        let last = first + entries.len();
        let (mut sent, mut held, mut found) = (false, 0u32, Found::default());
        for index in first..last {
            if self.pace != Pace::Free {
                break;
            }
            let Some(outgoing) = &mut self.outgoing else { break };
            let entry = outgoing.entry(index);
            if entry.state == State::Gone {
                continue;
            }
            match (entry.state, outgoing.is_behind_held(index, &found)) {
                (_, true) => {
                    outgoing.hold(index);
                    continue;
                }
                (State::Held, false) => {
                    outgoing.find(index, &mut found);
                    continue;
                }
                (State::Fresh | State::Tried | State::Gone, false) => {}
            }
            match self.socket.send(outgoing.bytes(entry), entry.to.as_ref()) {
                Ok(()) => {
                    sent = true;
                    self.count_sent(index, &[0]);
                }
                Err(error) if self.socket.is_unix() => {
                    if self.refused_by_unix(index, error) {
                        held += 1;
                        self.outgoing.iter_mut().for_each(|outgoing| outgoing.find(index, &mut found));
                    }
                }
                Err(error) => {
                    self.refused(index, &[0], error, now);
                    return;
                }
            }
        }
        if held > 0 {
            // To try many costs as much as it takes, also if one of them reads a little.
            let first = (HELD_FIRST * (held / HELD_TRIES)).clamp(HELD_FIRST, HELD_LONGEST);
            let longer = if sent { first } else { (2 * self.held_for).clamp(first, HELD_LONGEST) };
            self.held_for = longer;
            self.held_until = self.held_until.min(now.after(longer));
        }
    }

    /// A Unix socket has no network that could tell of earlier datagrams: what fails is this one. Whether its receiver is
    /// full is what is returned.
    fn refused_by_unix(&mut self, index: usize, error: io::Error) -> bool {
        let Some(outgoing) = &mut self.outgoing else { return false };
        match Refusal::of(&error, false) {
            Refusal::Full if outgoing.entry(index).to.is_none() => {
                // Of the one peer of a connected socket the kernel tells.
                self.pace = Pace::Blocked;
                false
            }
            Refusal::Full | Refusal::Congested => {
                outgoing.hold(index);
                true
            }
            _ => {
                self.give_up(index, error);
                false
            }
        }
    }
}

/// Which of our addresses a datagram leaves from. What another socket has learned of a peer does not change where this one
/// sends from.
fn via(socket: &DatagramSocket, to: Option<&DatagramPeer>) -> Option<IpAddr> {
    match socket.bound() {
        Bound::All => to.and_then(DatagramPeer::via),
        Bound::One => None,
    }
}

/// Datagrams for which a small call is made ready.
const FEW: usize = 16;

/// Sends as many runs from `next` on as have the same control messages, in one call. Returns how many it asked for, how long
/// the pieces of the longer ones were to be, if any was to be cut, and how many were taken.
fn call<const SLICES: usize>(
    socket: &DatagramSocket,
    outgoing: &Outgoing,
    first: usize,
    departures: &mut Departures,
    next: usize,
) -> (usize, Option<u16>, io::Result<usize>) {
    use crate::post::runs::Run;
    let entry = |index: u16| outgoing.entry(first + usize::from(index));
    let (order, runs) = (departures.runs.order(), &departures.runs.runs()[next..]);
    let via = |run: &Run| via(socket, entry(order[run.first]).to.as_ref());
    let mut common = Common { segment: None, via: via(&runs[0]) };
    // The longest of the datagrams that go alone: they may be sent by a call that cuts longer messages.
    let mut longest = 0;
    let mut count = 0;
    for run in &runs[..runs.len().min(SENT)] {
        let segment = common.segment.map_or(usize::MAX, usize::from);
        let fits = match run.count {
            1 => run.len <= segment,
            _ => run.len == segment || (common.segment.is_none() && longest <= run.len),
        };
        if via(run) != common.via || !fits {
            break;
        }
        if run.count > 1 {
            common.segment = u16::try_from(run.len).ok();
        }
        longest = longest.max(run.len);
        count += 1;
    }
    debug_assert!(count > 0, "post: a call that offers nothing would be made for ever");
    let runs = &runs[..count];
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut messages: [&[IoSlice<'_>]; SENT] = [&[]; SENT];
    let indices = runs.iter().flat_map(|run| &order[run.first..run.first + run.count]);
    for (slice, index) in slices.iter_mut().zip(indices) {
        *slice = IoSlice::new(outgoing.bytes(entry(*index)));
    }
    let mut rest = &slices[..];
    for (message, run) in messages.iter_mut().zip(runs) {
        (*message, rest) = rest.split_at(run.count);
    }
    let to = runs.iter().map(|run| entry(order[run.first]).to.as_ref().and_then(DatagramPeer::ip));
    (count, common.segment, departures.headers.send(socket, common, &messages[..count], to))
}
