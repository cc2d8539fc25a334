//! The turn's work: five funnels that all end in one drive. The reactor feeds the first from its poll.
//!
//! Owns everything of a reactor but its poll: table, timers, state and commands. [`Core::drive`] is the only place where
//! sources are driven. Each funnel has a budget or takes its queue before it starts, so that a turn ends (A7).

mod driving;
mod relief;

use crate::clock::Tick;
use crate::command::{Adopter, Command, Local, Order};
use crate::config::ReactorConfig;
use crate::context::handshakes::Handshakes;
use crate::context::reported::ReportedStates;
use crate::context::{Context, Job, Life, MovedBefore, ReactorState};
use crate::counters::Counters;
use crate::error::Error;
use crate::handler::guarded;
use crate::id::{ConnId, SourceId};
use crate::link::Link;
use crate::link::buffers::{Buffers, Scratch};
use crate::mailbox::{Mailbox, Remote, Room};
use crate::message::Undelivered;
use crate::net::Registry;
use crate::net::datagram::arrivals::Arrivals;
use crate::placement::Handoff;
use crate::post::Departures;
use crate::reactor::Status;
use crate::reactor::hearing::{Hearing, Polled, TurnState, polls_of};
use crate::reactor::orders::Orders;
use crate::reactor::stopwatch::{Held, Stopwatch};
use crate::reactor::table::Table;
use crate::reactor::timers::Timers;
use crate::seldom::Seldom;
use crate::source::acceptor::Acceptor;
use crate::source::connection::Connection;
use crate::source::endpoint::Endpoint;
use crate::source::watch::Watch;
use crate::source::{Cause, Source};
use relief::Relief;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All of the reactor but its poll.
pub(super) struct Core {
    pub(super) number: u32,
    pub(super) table: Table,
    timers: Timers,
    pub(super) state: ReactorState,
    pub(super) mailbox: Arc<Mailbox>,
    /// Commands that were taken from the mailbox and wait for the next turns.
    pub(super) commands: VecDeque<Command>,
    commands_per_turn: usize,
    orders: Orders,
    handshake_budget: Duration,
    mail: Mail,
    /// Batches that were taken from the mailbox.
    batches: u64,
    events_per_turn: usize,
    events: Polled,
    /// A moment before the last poll: whatever the kernel had ready then, that poll reported, or one to come will.
    asked: Tick,
    hearing: Hearing,
    scratch: Scratch,
    arrivals: Arrivals,
    /// Buffers of the funnels, empty between turns.
    queue: Vec<SourceId>,
    due: Vec<u32>,
    drives_since_clock: u32,
    stopwatch: Stopwatch,
    relief: Relief,
    pub(super) drain_began: Tick,
}

/// Whether the mailbox was woken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mail {
    None,
    Waiting,
}

/// A connect begins, its attempt begins, and is ready: all in one turn, if the kernel makes it at once.
const DIAL_ROUNDS: usize = 3;

/// A deadline so far away may come later by a step of the coarse clock: that is less than the fiftieth that it is rounded by.
const FAR: Duration = Duration::from_millis(500);

/// Drives between two readings of the clock.
const DRIVES_PER_CLOCK: u32 = 64;

/// What lies ready for the first turn.
fn state(registry: Registry, mailbox: Arc<Mailbox>, config: &ReactorConfig) -> ReactorState {
    let mut state = ReactorState {
        now: Tick::of(Instant::now()),
        judged: Tick::of(Instant::now()),
        life: Life::Running,
        buffers: Buffers::default(),
        departures: Departures::default(),
        gathered: Vec::new(),
        batch_owner: None,
        local: VecDeque::new(),
        handshakes: Handshakes::of(config),
        jobs: BTreeMap::new(),
        jobs_made: 0,
        endings: BTreeMap::new(),
        counters: Counters::default(),
        locals: HashMap::new(),
        connections: 0,
        connections_max: config.connections_max,
        listeners: Vec::new(),
        endpoints: Vec::new(),
        reported: ReportedStates::default(),
        held: Vec::new(),
        untold: Vec::new(),
        moved_before: MovedBefore::new(),
        misused: Seldom::new(),
        unread: HashSet::new(),
        undelivered: Vec::new(),
        tell_undelivered: None,
        detach_request: None,
        successor: None,
        relay_request: None,
        away: 0,
        registry,
        remotes: Arc::new([Remote(mailbox.clone())]),
        remote: Remote(mailbox),
    };
    let limit = config.queued_bytes_max.unwrap_or(usize::MAX);
    state.buffers.pool.set_bounds(limit, limit);
    state
}

impl Core {
    pub(super) fn new(number: u32, registry: Registry, config: &ReactorConfig) -> io::Result<Core> {
        let room = Room { commands: config.mailbox_commands_max, bytes: config.mailbox_bytes_max };
        let mailbox = Mailbox::new(&registry, number, room)?;
        let mailbox = Arc::new(mailbox);
        let state = state(registry, mailbox.clone(), config);
        Ok(Core {
            number,
            table: Table::new(number),
            timers: Timers::default(),
            state,
            mailbox,
            commands: VecDeque::new(),
            commands_per_turn: config.commands_per_turn,
            orders: Orders::default(),
            handshake_budget: config.handshake_budget,
            mail: Mail::None,
            batches: 0,
            events_per_turn: config.events_per_turn,
            events: Polled::All,
            asked: Tick::of(Instant::now()),
            hearing: Hearing::default(),
            scratch: Scratch::new(),
            arrivals: Arrivals::default(),
            queue: Vec::new(),
            due: Vec::new(),
            drives_since_clock: 0,
            stopwatch: Stopwatch::new(config.slow_callback),
            relief: Relief::new(config.queued_bytes_max),
            drain_began: Tick::NEVER,
        })
    }

    /// The mailbox was woken.
    pub(super) fn has_mail(&mut self) {
        self.mail = Mail::Waiting;
    }

    pub(super) fn context(&mut self) -> Context<'_> {
        Context { state: &mut self.state, table: &mut self.table }
    }

    /// The poll has returned.
    pub(super) fn begin_turn(&mut self) {
        self.read_clock();
        self.stopwatch.begin();
        self.state.remote.turn_begins(self.state.now);
        self.state.counters.turns += 1;
        self.table.begin_turn();
    }

    /// Nobody holds the loop now.
    pub(super) fn restart_stopwatch(&mut self) {
        self.stopwatch.begin();
    }

    /// A turn takes one event more; how many that are.
    pub(super) fn more_events(&mut self) -> usize {
        self.events_per_turn += 1;
        self.events_per_turn
    }

    /// So many events came at once.
    pub(super) fn note_poll(&mut self, polled: Polled, events: usize) {
        self.events = if events >= self.events_per_turn { Polled::Part } else { polled };
    }

    /// All that the poll told is done.
    pub(super) fn end_turn(&self) {
        self.state.remote.turn_ends();
    }

    pub(super) fn read_clock(&mut self) {
        self.state.now = Tick::of(Instant::now());
        self.drives_since_clock = 0;
    }

    /// Whether something waits to be done that no event will announce.
    pub(super) fn has_work(&self) -> bool {
        self.table.wants_again()
            || !self.state.local.is_empty()
            || !self.commands.is_empty()
            || self.state.handshakes.are_due()
            || !self.state.gathered.is_empty()
            || self.mail == Mail::Waiting
            || self.events == Polled::Part
            || matches!(self.state.life, Life::Draining { .. } if self.is_drained())
            || matches!(self.state.life, Life::Cutting(_))
    }

    /// The next deadline of anything.
    pub(super) fn next_due(&self) -> Option<Tick> {
        let mut next = self.timers.next().unwrap_or(Tick::NEVER);
        if let Some((id, _)) = self.state.jobs.first_key_value() {
            next = next.min(id.due);
        }
        if let Life::Draining { until, .. } = self.state.life {
            next = next.min(until).min(self.drain_due());
        }
        if let Some(due) = self.relief.due() {
            next = next.min(due);
        }
        (next != Tick::NEVER).then_some(next)
    }

    /// How long to wait for events; rounded up, since a poll counts milliseconds and must not wake early.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        let wait = if self.has_work() {
            Some(Duration::ZERO)
        } else if let Some(due) = self.next_due() {
            // A moment that was read a step of the coarse clock ago does for what is far away: it comes later by no more.
            if self.stopwatch.has_moved() || due <= self.state.now.after(FAR) {
                self.read_clock();
            }
            let left = due.since(self.state.now);
            Some(timeout.map_or(left, |timeout| timeout.min(left)))
        } else {
            timeout
        };
        self.asked = self.state.now;
        wait
    }

    /// Looks how far deadlines may be judged by now.
    fn judge(&mut self) {
        let reported = TurnState {
            asked: self.asked,
            due: self.next_due(),
            polled: self.events,
            polls: polls_of(self.table.len(), self.events_per_turn),
            batches: self.batches,
            is_done: self.commands.is_empty(),
            has_mail: self.mail == Mail::Waiting,
        };
        if let Some(judged) = self.hearing.go_on(reported) {
            self.state.judged = judged;
        }
    }

    // --- the funnels ----------------------------------------------------------------------------------------------

    pub(super) fn drive_again(&mut self) {
        if !self.table.wants_again() {
            return;
        }
        let mut queue = std::mem::take(&mut self.queue);
        self.table.take_again(&mut queue);
        for id in queue.drain(..) {
            // An event was there first: one share of a turn is enough.
            if self.table.is_spent(id) {
                self.table.wake(id);
            } else {
                self.drive(id, Cause::Again);
            }
        }
        self.queue = queue;
    }

    pub(super) fn drive_due(&mut self) {
        self.judge();
        let now = self.state.judged;
        if let Some(slot) = self.timers.pop(now) {
            self.drive_expired(slot, now);
        }
        self.run_jobs(now);
    }

    fn drive_expired(&mut self, first: u32, now: Tick) {
        let mut due = std::mem::take(&mut self.due);
        due.push(first);
        while let Some(slot) = self.timers.pop(now) {
            due.push(slot);
        }
        for slot in due.drain(..) {
            let Some(id) = self.table.id_at(slot) else { continue };
            match self.table.get(id).and_then(Source::deadline) {
                Some(deadline) if deadline <= now => self.drive(id, Cause::Expired),
                // It was refreshed since, or the slot has another occupant.
                Some(deadline) => self.timers.arm(slot, deadline, now),
                None => {}
            }
        }
        self.due = due;
    }

    fn run_jobs(&mut self, now: Tick) {
        // Jobs that these ones make have later numbers: they wait for the next turn, also with no delay.
        let made = self.state.jobs_made;
        while let Some((id, _)) = self.state.jobs.first_key_value() {
            if id.due > now || id.is_later_than(made) {
                break;
            }
            if let Some((_, job)) = self.state.jobs.pop_first() {
                self.run_closure(job);
            }
        }
    }

    /// Drops what of users' is left.
    pub(super) fn drop_rest(&mut self) {
        let (jobs, endings) = (std::mem::take(&mut self.state.jobs), std::mem::take(&mut self.state.endings));
        let (local, undelivered) = (std::mem::take(&mut self.state.local), self.state.tell_undelivered.take());
        let table = std::mem::replace(&mut self.table, Table::new(self.number));
        self.drop_guarded(jobs);
        self.drop_guarded(endings);
        self.drop_guarded(local);
        self.drop_guarded(undelivered);
        self.drop_guarded(table);
        let locals = std::mem::take(&mut self.state.locals);
        self.drop_guarded(locals);
    }

    /// Runs what was to run last.
    pub(super) fn run_endings(&mut self) {
        for (_, job) in std::mem::take(&mut self.state.endings) {
            self.run_closure(job);
        }
    }

    fn run_closure(&mut self, job: Job) {
        let mut cx = Context { state: &mut self.state, table: &mut self.table };
        if guarded(|| job(&mut cx)).is_none() {
            cx.state.counters.panics += 1;
        }
        cx.send_gathered();
        self.read_stopwatch("a closure", None);
    }

    pub(super) fn run_commands(&mut self) {
        // Asked here, since most turns have nothing of it, and a call costs more than the question.
        if !self.state.local.is_empty() {
            self.run_local();
        }
        // While a batch is being worked off the mailbox fills up to its limit, and then refuses.
        if self.mail == Mail::Waiting && self.commands.is_empty() {
            self.mail = Mail::None;
            self.batches += 1;
            self.mailbox.take(&mut self.commands);
        }
        let budget = self.commands_per_turn.min(self.commands.len());
        for _ in 0..budget {
            let Some(command) = self.commands.pop_front() else { break };
            self.state.counters.commands += 1;
            self.count_drive();
            let command = match command {
                Command::Order(id, order) if budget == 1 => return self.order(id, order),
                Command::Order(id, order) => {
                    self.orders.push(id, order);
                    continue;
                }
                other => other,
            };
            // What comes behind an order may look at what it did.
            self.flush_orders();
            match command {
                Command::Order(id, order) => self.order(id, order),
                Command::Run(job) => self.run_closure(job),
                Command::Adopt(link, adopter) => self.adopt(*link, adopter),
                Command::Accepted(handed) => self.arrive(handed),
                Command::OffloadDone(id, away) => {
                    self.state.handshakes.came_back();
                    self.drive(id, Cause::OffloadDone(away));
                }
                Command::Stop => {
                    if let Some(until) = self.mailbox.take_stop() {
                        self.begin_drain(Tick::of(until));
                    }
                }
            }
        }
        if budget > 0 {
            self.flush_orders();
        }
    }

    /// Carries out what was ordered so far, each source's orders in one drive.
    fn flush_orders(&mut self) {
        if self.orders.is_empty() {
            return;
        }
        let mut groups = self.orders.take();
        for (id, batch) in groups.drain(..) {
            if self.table.get(id).is_some() {
                self.drive(id, Cause::Orders(batch));
            } else {
                // Its place is only reserved, or it is gone: each is told.
                batch.for_each(|told| self.order(id, told.into_order()));
            }
        }
        self.orders.put_back(groups);
    }

    /// Takes steps of handshakes for as long as a turn may, after all other traffic; at least one. Other threads get
    /// theirs.
    pub(super) fn drive_handshakes(&mut self) {
        if !self.state.handshakes.are_due() {
            return;
        }
        self.read_clock();
        let end = self.state.now.after(self.handshake_budget);
        for _ in 0..self.state.handshakes.len() {
            let table = &self.table;
            let Some(id) = self.state.handshakes.next(self.state.now, |id| table.get(id).is_some()) else { break };
            self.drive(id, Cause::Step);
            self.read_clock();
            if self.state.now >= end {
                break;
            }
        }
        // No more than the threads have time for.
        loop {
            let table = &self.table;
            let next = self.state.handshakes.next_elsewhere(self.state.now, |id| table.get(id).is_some());
            let Some(id) = next else { break };
            self.drive(id, Cause::Offload);
        }
    }

    /// Carries out the local commands there are; those that they make wait for the next turn, but for the steps of a connect
    /// that follow at once.
    pub(super) fn run_local(&mut self) {
        for _ in 0..DIAL_ROUNDS {
            let mut dials = false;
            for _ in 0..self.state.local.len() {
                let Some(local) = self.state.local.pop_front() else { break };
                dials |= local.is_of_dial();
                self.run_one_local(local);
            }
            if !dials {
                break;
            }
        }
    }

    fn run_one_local(&mut self, local: Local) {
        let now = self.state.now;
        match local {
            Local::Order(id, order) => self.order(id, order),
            Local::Begin(id) => self.drive(id, Cause::Again),
            Local::Dial { id, dial, limits } => {
                self.install(id, Source::Connection(Connection::dialled(dial, limits, now)));
            }
            Local::Adopt { id, link, handler } => {
                self.install(id, Source::Connection(Connection::adopted(*link, handler, now)));
            }
            Local::Listen { id, listener, config, maker, sharing } => {
                let acceptor = Acceptor::new(listener, config, maker, sharing);
                self.install(id, Source::Acceptor(Box::new(acceptor)));
            }
            Local::Bind { id, post, handler } => {
                self.install(id, Source::Endpoint(Some(Box::new(Endpoint::new(*post, handler)))));
            }
            // The kernel may have reported it while its place was only reserved.
            Local::Watch { id, foreign, handler } => {
                let watch = Watch::new(foreign, handler);
                let reported = watch.report_again(&self.state.registry, id);
                let asked = watch.asked();
                self.table.put(id, Source::Watch(Box::new(watch)));
                if reported.is_err() {
                    // It may be ready, and nobody else will say so.
                    self.drive(id, Cause::Ready(asked));
                }
            }
            Local::Shutdown { until } => self.begin_drain(until),
        }
    }

    /// Puts a new source in its reserved place and drives it for the first time.
    fn install(&mut self, id: SourceId, source: Source) {
        // Nothing new is accepted or connected once draining (A10); what is open already is told when it opens.
        let begins = match &source {
            Source::Acceptor(_) => true,
            Source::Connection(connection) => connection.is_connecting(),
            Source::Endpoint(_) => true,
            Source::Watch(_) => false,
        };
        self.table.put(id, source);
        let cause = match self.state.life {
            Life::Draining { .. } | Life::Cutting(_) if begins => Cause::Order(Order::Drain),
            Life::Stopped(_) if begins => Cause::Order(Order::ReactorDropped),
            Life::Running | Life::Draining { .. } | Life::Cutting(_) | Life::Stopped(_) => Cause::Again,
        };
        self.drive(id, cause);
    }

    fn adopt(&mut self, link: Link, adopter: Adopter) {
        let cx = self.context();
        let place = cx.check_begins().and_then(|()| cx.table.reserve());
        match place {
            Ok(id) => {
                self.state.connection_begins();
                self.state.count_adopted(id, &link);
                let connection = Connection::adopted_by(link, adopter, self.state.now);
                self.install(id, Source::Connection(connection));
            }
            Err(error) => {
                static CLOSED: Seldom = Seldom::new();
                if let Some(missed) = CLOSED.passes() {
                    log::warn!("reactor {}: an adopted connection was closed: {error}{missed}", self.number);
                }
                self.state.counters.adopted += 1;
                self.state.counters.failed += 1;
                self.drop_guarded((link, adopter));
            }
        }
    }

    /// Takes a stream that another reactor has accepted for a listener of this one.
    fn arrive(&mut self, handed: Box<Handoff>) {
        if self.table.get(handed.acceptor).is_some() {
            self.drive(handed.acceptor, Cause::Arrived(handed));
            // One that was admitted begins in the turn in which it came.
            self.run_local();
        } else {
            log::debug!("reactor {}: a connection was accepted for a listener that is gone", self.number);
            self.state.lose(&handed);
        }
    }

    /// Tells one source something; what cannot be told is told to the sender's side.
    pub(super) fn order(&mut self, id: SourceId, order: Order) {
        if self.table.is_reserved(id) {
            match order {
                // It was reserved in vain.
                Order::Remove => {
                    if let Some(kept) = self.table.remove(id) {
                        self.timers.truncate(kept);
                    }
                }
                // Behind what fills the place.
                order => self.state.local.push_back(Local::Order(id, order)),
            }
        } else if self.table.get(id).is_some() {
            self.drive(id, Cause::Order(order));
        } else {
            self.tell_lost(id, order, &Error::Gone);
        }
    }

    /// Tells of an order that carries something for a source that is not there.
    pub(super) fn tell_lost(&mut self, id: SourceId, order: Order, why: &Error) {
        match order {
            Order::Send(bytes) => self.tell_undelivered(Undelivered::Bytes(ConnId(id), bytes), why),
            Order::Tell(message) => self.tell_undelivered(Undelivered::Message(ConnId(id), message), why),
            Order::SendTo(..) => self.state.counters.undelivered += 1,
            other => self.drop_guarded(other),
        }
    }

    pub(super) fn tell_undelivered(&mut self, what: Undelivered, why: &Error) {
        self.state.counters.undelivered += 1;
        if let Some(tell) = &mut self.state.tell_undelivered {
            if guarded(|| tell(what, why)).is_none() {
                self.state.counters.panics += 1;
            }
            self.read_stopwatch("on_undelivered", None);
        }
    }

    /// Looks how long somebody has held the loop who has just come back.
    #[inline]
    fn read_stopwatch(&mut self, who: &'static str, id: Option<SourceId>) {
        if let Some(held) = self.stopwatch.end() {
            self.was_held(held, who, id);
        }
    }

    #[cold]
    fn was_held(&mut self, held: Duration, who: &'static str, id: Option<SourceId>) {
        let counters = &mut self.state.counters;
        counters.longest_callback = counters.longest_callback.max(held);
        if self.stopwatch.judge(held) == Held::TooLong {
            counters.slow_callbacks += 1;
            self.read_clock();
            let who = id.map_or(who.to_owned(), |id| format!("{who} {id}"));
            self.stopwatch.warn(self.number, &who, held, self.state.now);
        }
    }

    /// Reads the clock now and then, so that a long turn does not work with an old one.
    fn count_drive(&mut self) {
        self.drives_since_clock += 1;
        if self.drives_since_clock >= DRIVES_PER_CLOCK {
            self.read_clock();
        }
    }

    pub(super) fn status(&self) -> Status {
        match self.state.life {
            Life::Running => Status::Running,
            Life::Draining { .. } | Life::Cutting(_) => Status::Draining,
            Life::Stopped(report) => Status::Stopped(report),
        }
    }

    pub(super) fn snapshot(&self) -> Counters {
        let mut counters = self.state.counters;
        self.table.count_living(&self.state.moved_before, &mut counters);
        counters
    }
}
