//! The queue between other threads and a reactor, the request to stop, and the end.
//!
//! Owns the lock and the rule who wakes. Knows neither what is queued nor how a reactor is woken, and never reads the
//! clock: so a model can run it in every order of its threads.
//!
//! 1. Whoever finds the queue empty wakes the reactor; the reactor takes the whole queue: at most one wake per batch.
//! 2. After the end nothing is queued any more, whoever waits for it is told, and the waker is gone: a sender that is
//!    still on its way to wake drops the last handle of it.
//! 3. A stop is told once, behind all that was sent before it was first asked for, with the soonest deadline asked for.

#[cfg(all(test, windlass_model))]
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::PoisonError;
#[cfg(not(all(test, windlass_model)))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What was sent to a reactor (`C`) and not taken yet, what its end came to (`R`), and a handle of what wakes it (`W`).
pub(crate) struct Queue<C, R, W> {
    room: Room,
    inside: Mutex<Inside<C, R, W>>,
    ended: Condvar,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) commands: usize,
    /// Of what commands carry. One that is alone may carry more.
    pub(crate) bytes: usize,
}

struct Inside<C, R, W> {
    commands: VecDeque<C>,
    /// What they carry.
    bytes: usize,
    /// `None` after the end.
    waker: Option<W>,
    /// By when the reactor was asked to be drained.
    stop: Option<Instant>,
    end: Option<R>,
}

/// Why nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// So many commands wait as may.
    Full,
    /// There is no room for what it carries.
    Bytes,
    Ended,
}

impl<C, R, W> std::fmt::Debug for Queue<C, R, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inside = self.lock();
        f.debug_struct("Queue")
            .field("queued", &inside.commands.len())
            .field("has_ended", &inside.end.is_some())
            .finish_non_exhaustive()
    }
}

impl<C, R: Clone, W: Clone> Queue<C, R, W> {
    pub(crate) fn new(room: Room, waker: W) -> Queue<C, R, W> {
        let inside = Inside { commands: VecDeque::new(), bytes: 0, waker: Some(waker), stop: None, end: None };
        Queue { room, inside: Mutex::new(inside), ended: Condvar::new() }
    }

    /// Queues a command that carries so many bytes, and calls `wake` if it is the first one; gives it back if it cannot.
    pub(crate) fn push(&self, command: C, bytes: usize, wake: impl FnOnce(&W)) -> Result<(), (C, Refusal)> {
        let mut inside = self.lock();
        if inside.end.is_some() {
            return Err((command, Refusal::Ended));
        }
        if inside.commands.len() >= self.room.commands {
            return Err((command, Refusal::Full));
        }
        if bytes > 0 && inside.bytes > 0 && bytes > self.room.bytes.saturating_sub(inside.bytes) {
            return Err((command, Refusal::Bytes));
        }
        inside.bytes += bytes;
        append(inside, command, wake);
        Ok(())
    }

    /// Queues a command that this side has asked for, and that is counted there: never refused for lack of room.
    pub(crate) fn push_asked(&self, command: C, wake: impl FnOnce(&W)) {
        let inside = self.lock();
        if inside.end.is_none() {
            append(inside, command, wake);
        }
    }

    /// Asks for a stop by `until`, which `marker` tells in its turn. Never refused for lack of room.
    pub(crate) fn push_stop(&self, until: Instant, marker: C, wake: impl FnOnce(&W)) -> Result<(), Refusal> {
        let mut inside = self.lock();
        if inside.end.is_some() {
            return Err(Refusal::Ended);
        }
        match &mut inside.stop {
            // The marker is on its way already: the limit does not hold it up, so there must be one only.
            Some(asked) => *asked = until.min(*asked),
            None => {
                inside.stop = Some(until);
                append(inside, marker, wake);
            }
        }
        Ok(())
    }

    /// Moves all that is queued into `batch`, which is empty.
    pub(crate) fn take(&self, batch: &mut VecDeque<C>) {
        debug_assert!(batch.is_empty(), "queue 1: a batch is worked off before the next one is taken");
        let mut inside = self.lock();
        inside.bytes = 0;
        std::mem::swap(batch, &mut inside.commands);
    }

    /// By when a stop was asked for, told once.
    pub(crate) fn take_stop(&self) -> Option<Instant> {
        self.lock().stop.take()
    }

    /// The reactor is gone; the first `end` counts. Returns what was still queued.
    pub(crate) fn end(&self, end: R) -> VecDeque<C> {
        let mut inside = self.lock();
        inside.end.get_or_insert(end);
        self.ended.notify_all();
        let (commands, waker) = (std::mem::take(&mut inside.commands), inside.waker.take());
        drop(inside);
        // Behind the lock: it closes a descriptor.
        drop(waker);
        commands
    }

    /// What the end came to, if it has come.
    pub(crate) fn ended(&self) -> Option<R> {
        self.lock().end.clone()
    }

    /// How many commands wait, and whether the end has come.
    pub(crate) fn state(&self) -> (usize, bool) {
        let inside = self.lock();
        (inside.commands.len(), inside.end.is_some())
    }

    /// Waits for the end for as long as `left` says, which is asked again after each waking; `None` when that is over.
    pub(crate) fn wait(&self, left: impl Fn() -> Duration) -> Option<R> {
        let mut inside = self.lock();
        loop {
            if let Some(end) = &inside.end {
                return Some(end.clone());
            }
            let left = left();
            if left.is_zero() {
                return None;
            }
            inside = self.ended.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<C, R, W> Queue<C, R, W> {
    fn lock(&self) -> MutexGuard<'_, Inside<C, R, W>> {
        // No user code runs under the lock; a poisoned one holds a whole queue all the same.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wake is a system call: it comes after the lock is given back, by a handle of its own, since the end may come between.
fn append<C, R, W: Clone>(mut inside: MutexGuard<'_, Inside<C, R, W>>, command: C, wake: impl FnOnce(&W)) {
    let waker = if inside.commands.is_empty() { inside.waker.clone() } else { None };
    inside.commands.push_back(command);
    drop(inside);
    if let Some(waker) = waker {
        wake(&waker);
    }
}

#[cfg(test)]
#[cfg(not(windlass_model))]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn room(commands: usize) -> Room {
        Room { commands, bytes: 100 }
    }

    fn taken<C, R: Clone, W: Clone>(queue: &Queue<C, R, W>) -> Vec<C> {
        let mut batch = VecDeque::new();
        queue.take(&mut batch);
        batch.into()
    }

    #[test]
    fn a_batch_wakes_once_whatever_is_in_it() {
        let (queue, wakes) = (Queue::<_, (), _>::new(room(8), ()), Cell::new(0));
        let wake = |(): &()| wakes.set(wakes.get() + 1);
        let now = Instant::now();
        queue.push(1, 0, wake).expect("room");
        queue.push_stop(now, 0, wake).expect("running");
        queue.push(2, 0, wake).expect("room");
        assert_eq!((taken(&queue), wakes.get()), (vec![1, 0, 2], 1));
        // The marker is in the batch, so this one needs none of its own.
        queue.push_stop(now, 0, wake).expect("running");
        assert_eq!((taken(&queue), wakes.get()), (vec![], 1));
        queue.push(3, 0, wake).expect("room");
        assert_eq!((taken(&queue), wakes.get()), (vec![3], 2));
    }

    #[test]
    fn a_full_queue_refuses_commands_and_not_a_stop() {
        let queue = Queue::<_, (), _>::new(room(1), ());
        queue.push(1, 0, |_| {}).expect("room");
        assert_eq!(queue.push(2, 0, |_| panic!("a wake")), Err((2, Refusal::Full)));
        queue.push_stop(Instant::now(), 0, |_| panic!("a second wake")).expect("running");
        assert_eq!(taken(&queue), [1, 0]);
    }

    #[test]
    fn bytes_are_bounded_and_one_command_always_has_room() {
        let queue = Queue::<_, (), _>::new(room(9), ());
        queue.push(1, 1000, |_| {}).expect("alone");
        assert_eq!(queue.push(2, 1, |_| {}), Err((2, Refusal::Bytes)));
        queue.push(3, 0, |_| {}).expect("it carries nothing");
        assert_eq!(taken(&queue), [1, 3]);
        queue.push(4, 60, |_| {}).expect("room");
        assert_eq!(queue.push(5, 41, |_| {}), Err((5, Refusal::Bytes)));
        queue.push(6, 40, |_| {}).expect("room");
        assert_eq!(queue.push(7, usize::MAX, |_| {}), Err((7, Refusal::Bytes)));
    }

    #[test]
    fn the_soonest_stop_is_told_once() {
        let queue = Queue::<_, (), _>::new(room(1), ());
        let now = Instant::now();
        for seconds in [5, 3, 9] {
            queue.push_stop(now + Duration::from_secs(seconds), 0, |()| {}).expect("running");
        }
        assert_eq!(taken(&queue), [0]);
        assert_eq!(queue.take_stop(), Some(now + Duration::from_secs(3)));
        assert_eq!(queue.take_stop(), None);
        queue.push_stop(now, 0, |()| {}).expect("running");
        assert_eq!(taken(&queue), [0], "what was told does not count any more");
    }

    #[test]
    fn the_end_gives_back_what_was_queued_and_then_all_is_refused() {
        let waker = std::sync::Arc::new(());
        let queue = Queue::new(room(1), waker.clone());
        assert_eq!((queue.ended(), queue.wait(|| Duration::ZERO)), (None, None));
        queue.push(1, 0, |_| {}).expect("room");
        assert_eq!(std::sync::Arc::strong_count(&waker), 2);
        assert_eq!(queue.end("first"), [1]);
        assert_eq!(std::sync::Arc::strong_count(&waker), 1, "the queue keeps no waker");
        assert_eq!(queue.push(2, 0, |_| panic!("a wake")), Err((2, Refusal::Ended)));
        assert_eq!(queue.push_stop(Instant::now(), 0, |_| panic!("a wake")), Err(Refusal::Ended));
        assert!(queue.end("second").is_empty());
        assert_eq!((queue.ended(), queue.wait(|| Duration::MAX)), (Some("first"), Some("first")));
    }
}

/// Every order of a few threads, by `RUSTFLAGS="--cfg windlass_model" cargo test --lib queue::model`.
///
/// A lost wake-up or a waiter that nobody tells is a deadlock, which loom reports. The reactor is modelled after
/// `Core::obey` and `Core::has_work`: it sleeps only when its batch is worked off and no wake came meanwhile, and takes
/// the queue only when it was woken.
#[cfg(test)]
#[cfg(windlass_model)]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::thread;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Sent {
        Item(usize, usize),
        Stop,
    }

    /// What an eventfd under an edge-triggered poll does: wakes add up until the next poll.
    struct Waker {
        raised: Mutex<bool>,
        changed: Condvar,
        wakes: AtomicUsize,
    }

    impl Waker {
        fn wake(&self) {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            *self.raised.lock().expect("lock") = true;
            self.changed.notify_one();
        }

        /// Waits for a wake; loom itself fails a run in which none comes any more.
        fn wait(&self) {
            let mut raised = self.raised.lock().expect("lock");
            while !*raised {
                raised = self.changed.wait(raised).expect("lock");
            }
            *raised = false;
        }

        fn was_raised(&self) -> bool {
            std::mem::take(&mut *self.raised.lock().expect("lock"))
        }
    }

    struct Shared {
        queue: Queue<Sent, &'static str, Arc<Waker>>,
        waker: Arc<Waker>,
    }

    impl Shared {
        fn new(commands_max: usize) -> Arc<Shared> {
            let waker = Waker { raised: Mutex::new(false), changed: Condvar::new(), wakes: AtomicUsize::new(0) };
            let waker = Arc::new(waker);
            let room = Room { commands: commands_max, bytes: usize::MAX };
            Arc::new(Shared { queue: Queue::new(room, waker.clone()), waker })
        }

        fn push(&self, item: Sent) -> Result<(), (Sent, Refusal)> {
            self.queue.push(item, 0, |waker| waker.wake())
        }

        fn push_stop(&self, until: Instant) -> Result<(), Refusal> {
            self.queue.push_stop(until, Sent::Stop, |waker| waker.wake())
        }
    }

    /// The reactor's side of it, one command a turn.
    #[derive(Default)]
    struct Reactor {
        is_waiting: bool,
        commands: VecDeque<Sent>,
        done: Vec<Sent>,
        stops: Vec<Instant>,
        batches: usize,
    }

    impl Reactor {
        fn turn(&mut self, shared: &Shared) {
            if self.commands.is_empty() && !self.is_waiting {
                shared.waker.wait();
                self.is_waiting = true;
            }
            self.turn_at_once(shared);
        }

        fn turn_at_once(&mut self, shared: &Shared) {
            self.is_waiting |= shared.waker.was_raised();
            if self.is_waiting && self.commands.is_empty() {
                self.is_waiting = false;
                shared.queue.take(&mut self.commands);
                self.batches += usize::from(!self.commands.is_empty());
            }
            if let Some(sent) = self.commands.pop_front() {
                if sent == Sent::Stop {
                    self.stops.extend(shared.queue.take_stop());
                }
                self.done.push(sent);
            }
        }

        fn has(&self, count: usize) -> bool {
            self.done.len() >= count
        }
    }

    /// Each sender's items come in its order, without a gap.
    fn assert_in_order(done: &[Sent], sender: usize, count: usize) {
        let numbers = done.iter().filter_map(|sent| match sent {
            Sent::Item(from, number) if *from == sender => Some(*number),
            Sent::Item(..) | Sent::Stop => None,
        });
        assert!(numbers.eq(0..count), "sender {sender}: {done:?}");
    }

    fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    #[test]
    fn nothing_is_lost_or_slept_over_and_a_batch_wakes_once() {
        explore(3, || {
            let shared = Shared::new(8);
            let senders: Vec<_> = [0, 1]
                .map(|sender| {
                    let shared = shared.clone();
                    thread::spawn(move || (0..2).for_each(|n| shared.push(Sent::Item(sender, n)).expect("room")))
                })
                .into();
            let mut reactor = Reactor::default();
            while !reactor.has(4) {
                reactor.turn(&shared);
            }
            senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
            assert_in_order(&reactor.done, 0, 2);
            assert_in_order(&reactor.done, 1, 2);
            assert_eq!(shared.waker.wakes.load(Ordering::Relaxed), reactor.batches);
        });
    }

    #[test]
    fn what_a_full_queue_refused_is_not_carried_out_and_the_rest_is() {
        explore(3, || {
            let shared = Shared::new(1);
            let sender = {
                let shared = shared.clone();
                thread::spawn(move || (0..3).filter(|n| shared.push(Sent::Item(0, *n)).is_ok()).collect::<Vec<_>>())
            };
            let mut reactor = Reactor::default();
            // The first one always finds room.
            reactor.turn(&shared);
            let accepted = sender.join().expect("a sender");
            while !reactor.has(accepted.len()) {
                reactor.turn(&shared);
            }
            assert!(reactor.done.iter().copied().eq(accepted.into_iter().map(|n| Sent::Item(0, n))));
        });
    }

    #[test]
    fn a_stop_comes_behind_what_was_sent_before_it_and_the_soonest_is_told() {
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
        explore(3, move || {
            let shared = Shared::new(1);
            let others = [(0, late), (1, soon)].map(|(sender, until)| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let accepted = shared.push(Sent::Item(sender, 0)).is_ok();
                    shared.push_stop(until).expect("running");
                    accepted
                })
            });
            let mut reactor = Reactor::default();
            while reactor.stops.iter().min() != Some(&soon) {
                reactor.turn(&shared);
            }
            let accepted = others.map(|other| other.join().expect("a sender"));
            let place = |sent: Sent| reactor.done.iter().position(|done| *done == sent);
            // Who asked first is told behind what it had sent; who asked next only shortens the time.
            let is_before_the_stop = |sender: usize| place(Sent::Item(sender, 0)) < place(Sent::Stop);
            assert!((0..2).any(|sender| !accepted[sender] || is_before_the_stop(sender)), "{:?}", reactor.done);
            assert!(shared.waker.wakes.load(Ordering::Relaxed) <= reactor.batches + 1);
        });
    }

    #[test]
    fn the_end_takes_what_was_accepted_refuses_the_rest_and_wakes_whoever_waits() {
        explore(3, || {
            let shared = Shared::new(8);
            let sender = {
                let shared = shared.clone();
                thread::spawn(move || {
                    let accepted = (0..2).take_while(|n| shared.push(Sent::Item(0, *n)).is_ok()).count();
                    // Refused once, refused for good.
                    assert!(accepted == 2 || shared.push(Sent::Item(0, accepted)).is_err());
                    accepted
                })
            };
            let waiters = [(); 2].map(|()| {
                let shared = shared.clone();
                thread::spawn(move || assert_eq!(shared.queue.wait(|| Duration::MAX), Some("first")))
            });
            let mut reactor = Reactor::default();
            reactor.turn_at_once(&shared);
            reactor.done.extend(reactor.commands.drain(..));
            reactor.done.extend(shared.queue.end("first"));
            assert!(shared.push(Sent::Item(1, 0)).is_err() && shared.push_stop(Instant::now()).is_err());
            let accepted = sender.join().expect("a sender");
            waiters.into_iter().for_each(|waiter| waiter.join().expect("a waiter"));
            assert!(shared.queue.end("second").is_empty());
            assert_eq!(Arc::strong_count(&shared.waker), 1, "nobody keeps the reactor's descriptor");
            assert_in_order(&reactor.done, 0, accepted);
            assert_eq!(reactor.done.len(), accepted);
        });
    }
}
