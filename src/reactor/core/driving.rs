//! How a source is driven: taken out of its slot, lent the rest of the table, put back, or removed.
//!
//! Owns what follows from a source's answer. The funnels in `core.rs` decide who is driven when.

use crate::clock::Tick;
use crate::context::{Context, DetachRequest, Place, ReactorState, Seat};
use crate::handler::{Next, guarded};
use crate::id::SourceId;
use crate::net::Readiness;
use crate::reactor::core::Core;
use crate::source::endpoint::Endpoint;
use crate::source::{Cause, Source};

impl Core {
    /// Drives what the kernel reported; input of a connection at rest takes the short way.
    pub(in crate::reactor) fn drive_ready(&mut self, id: SourceId, ready: Readiness) {
        let mut taken = None;
        if let Some(endpoint) = self.table.take_ready(id, &mut taken) {
            return self.drive_endpoint(id, ready, endpoint);
        }
        match &mut taken {
            Some(Source::Connection(connection))
                if connection.is_at_rest() && ready.is_input_alone() && !self.state.buffers.pool.is_full() =>
            {
                self.state.counters.drives += 1;
                self.count_drive();
                let mut cx = Context { state: &mut self.state, table: &mut self.table };
                let next = connection.pass(id, &mut self.scratch, &mut cx);
                cx.send_gathered();
                self.read_stopwatch("connection", Some(id));
                match next {
                    // Its deadlines can only have moved back: the timer that it has asks when it fires.
                    None => self.table.put_back(id, &mut taken),
                    Some(next) => self.follow(id, next, &mut taken),
                }
                self.tell_all_undelivered();
            }
            Some(_) => self.drive_taken(id, Cause::Ready(ready), &mut taken),
            None => {}
        }
    }

    // Apart, since connections would pay for its registers.
    #[inline(never)]
    fn drive_endpoint(&mut self, id: SourceId, ready: Readiness, mut endpoint: Box<Endpoint>) {
        self.state.counters.drives += 1;
        self.count_drive();
        let mut cx = Context { state: &mut self.state, table: &mut self.table };
        let next = endpoint.drive_ready(id, ready, &mut self.arrivals, &mut cx);
        cx.send_gathered();
        self.read_stopwatch("endpoint", Some(id));
        let due = endpoint.deadline();
        match next {
            Next::Remove => self.remove(id, Source::Endpoint(Some(endpoint))),
            Next::Wait | Next::Again => {
                self.table.put_back_endpoint(id, endpoint);
                self.come_again(id, next, due);
            }
        }
        self.tell_all_undelivered();
    }

    /// Sees to it that a source is driven when it wants to be.
    fn come_again(&mut self, id: SourceId, next: Next, due: Option<Tick>) {
        // A busy source has its deadline armed too: a peer that keeps us busy must not outlive it.
        if let Some(due) = due {
            self.timers.arm(id.slot, due, self.state.now);
        }
        if next == Next::Again {
            self.table.wake_next_turn(id);
        }
    }

    /// Drives one source, with the table lent to it, and does what it says.
    pub(in crate::reactor) fn drive(&mut self, id: SourceId, cause: Cause) {
        // Moved as the option that it is in its slot: once out and once back.
        let mut taken = None;
        self.table.take(id, &mut taken);
        if taken.is_some() {
            self.drive_taken(id, cause, &mut taken);
        }
    }

    fn drive_taken(&mut self, id: SourceId, cause: Cause, taken: &mut Option<Source>) {
        let Some(source) = taken else { return };
        self.state.counters.drives += 1;
        self.count_drive();
        let mut cx = Context { state: &mut self.state, table: &mut self.table };
        let (kind, next) = (source.kind(), source.drive(id, cause, &mut self.scratch, &mut self.arrivals, &mut cx));
        cx.send_gathered();
        self.read_stopwatch(kind, Some(id));
        self.follow(id, next, taken);
        self.tell_all_undelivered();
    }

    /// Does what a source said.
    fn follow(&mut self, id: SourceId, next: Next, taken: &mut Option<Source>) {
        match next {
            Next::Remove => {
                if let Some(source) = taken.take() {
                    self.remove(id, source);
                }
            }
            Next::Wait | Next::Again => {
                let due = taken.as_ref().and_then(Source::deadline);
                self.table.put_back(id, taken);
                self.come_again(id, next, due);
            }
        }
    }

    #[cfg(test)]
    pub(in crate::reactor) fn arms_every_deadline(&self) -> bool {
        // The entry may be late by its rounding, a fiftieth of a wait that has gone on for a while.
        let is_in_time = |entry: Tick, due: Tick| {
            entry <= due.after(due.since(self.state.now) / 40 + std::time::Duration::from_millis(200))
        };
        let is_armed = |id: SourceId| match self.table.get(id).and_then(Source::deadline) {
            Some(due) => self.timers.of(id.slot).is_some_and(|entry| is_in_time(entry, due)),
            None => true,
        };
        self.table.ids().into_iter().all(is_armed)
    }

    #[cfg(test)]
    pub(in crate::reactor) fn next_timer(&self) -> Option<std::time::Duration> {
        self.timers.next().map(|due| due.since(self.state.now))
    }

    #[inline(always)]
    fn tell_all_undelivered(&mut self) {
        if !self.state.undelivered.is_empty() {
            self.tell_undelivered_ones();
        }
    }

    #[cold]
    fn tell_undelivered_ones(&mut self) {
        for (what, why) in std::mem::take(&mut self.state.undelivered) {
            self.tell_undelivered(what, &why);
        }
    }

    /// A source is over: its slot and what it counted for come free.
    fn remove(&mut self, id: SourceId, source: Source) {
        if let Some(kept) = self.table.remove(id) {
            self.timers.truncate(kept);
        }
        if let Source::Connection(connection) = source {
            let (acceptor, counts) = (connection.acceptor(), connection.counts());
            // What an attempt moved that becomes the connection is counted there.
            if counts || self.state.detach_request.is_none() {
                ReactorState::count_moved(
                    &self.state.moved_before,
                    id,
                    connection.link_ref(),
                    &mut self.state.counters,
                );
            }
            if !self.state.moved_before.is_empty() {
                self.state.moved_before.remove(&id);
            }
            match self.state.detach_request.take() {
                Some(DetachRequest { then, place }) => {
                    let link = connection.into_link();
                    self.state.buffers.pool.count_out(link.held_bytes());
                    let acceptor_id = acceptor.filter(|_| place == Place::Kept).and_then(|slot| self.table.id_at(slot));
                    let seat = acceptor_id.and_then(|acceptor| match self.table.get(acceptor)? {
                        Source::Acceptor(listener) => {
                            let quotas = listener.quotas().clone();
                            Some(Seat { remote: self.state.remote.clone(), acceptor, quotas })
                        }
                        Source::Connection(_) | Source::Endpoint(_) | Source::Watch(_) => None,
                    });
                    match seat {
                        Some(_) => self.state.connection_leaves(),
                        None if counts => self.forget_connection(acceptor),
                        None => {}
                    }
                    self.run_closure(Box::new(move |cx| then(link, seat, cx)));
                }
                None => {
                    drop(connection);
                    if counts {
                        self.forget_connection(acceptor);
                    }
                }
            }
        } else {
            if let Source::Endpoint(Some(endpoint)) = &source {
                self.state.counters.datagrams.add(&endpoint.stats());
                self.state.connection_ends();
            }
            self.drop_guarded(source);
        }
        self.state.free_held();
    }

    pub(in crate::reactor) fn drop_guarded<T>(&mut self, source: T) {
        if guarded(|| drop(source)).is_none() {
            self.state.counters.panics += 1;
        }
    }

    fn forget_connection(&mut self, acceptor: Option<u32>) {
        self.state.connection_ends();
        if let Some(id) = acceptor.and_then(|slot| self.table.id_at(slot)) {
            if let Some(Source::Acceptor(acceptor)) = self.table.get_mut(id) {
                if acceptor.release() {
                    self.table.wake(id);
                }
            }
        }
    }
}
