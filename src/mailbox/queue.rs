//! The queue between other threads and a reactor, the request to stop, and the end.
//!
//! Owns the lock and the rule who wakes. Knows neither what is queued nor how a reactor is woken, and never reads the
//! clock: so a model can run it in every order of its threads.
//!
//! 1. Whoever finds the queue empty wakes the reactor; the reactor takes the whole queue: at most one wake per batch.
//! 2. After the end nothing is queued any more, whoever waits for it is told, and the waker is gone: a sender that is
//!    still on its way to wake drops the last handle of it.
//! 3. A stop is told once, behind all that was sent before it was first asked for, with the soonest deadline asked for.

#[cfg(windlass_model)]
use loom::sync::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::PoisonError;
#[cfg(not(windlass_model))]
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What was sent to a reactor (`C`) and not taken yet, what its end came to (`R`), and a handle of what wakes it (`W`).
pub(crate) struct Queue<C, R, W> {
    room: Room,
    inside: Mutex<Inside<C, R, W>>,
    /// The end has come, or room that somebody waits for.
    changed: Condvar,
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
    /// Threads that wait for room.
    waiting: usize,
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
        let inside =
            Inside { commands: VecDeque::new(), bytes: 0, waiting: 0, waker: Some(waker), stop: None, end: None };
        Queue { room, inside: Mutex::new(inside), changed: Condvar::new() }
    }

    /// Queues a command that carries so many bytes, and calls `wake` if it is the first one; gives it back if it cannot.
    pub(crate) fn push(&self, command: C, bytes: usize, wake: impl FnOnce(&W)) -> Result<(), (C, Refusal)> {
        self.push_within(command, bytes, || Duration::ZERO, wake)
    }

    /// As `push`, and waits for room for as long as `left` says, which is asked again after each waking. Who comes meanwhile and
    /// finds room does not wait behind those who do.
    pub(crate) fn push_within(
        &self,
        command: C,
        bytes: usize,
        left: impl Fn() -> Duration,
        wake: impl FnOnce(&W),
    ) -> Result<(), (C, Refusal)> {
        let mut inside = self.lock();
        while let Some(refusal) = inside.refuses(self.room, bytes) {
            let left = if refusal == Refusal::Ended { Duration::ZERO } else { left() };
            if left.is_zero() {
                return Err((command, refusal));
            }
            inside.waiting += 1;
            inside = self.changed.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
            inside.waiting -= 1;
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
        if inside.waiting > 0 {
            // All of them: there is room for as many as may wait, and nobody knows how much each one carries.
            self.changed.notify_all();
        }
    }

    /// By when a stop was asked for, told once.
    pub(crate) fn take_stop(&self) -> Option<Instant> {
        self.lock().stop.take()
    }

    /// The reactor is gone; the first `end` counts. Returns what was still queued.
    pub(crate) fn end(&self, end: R) -> VecDeque<C> {
        let mut inside = self.lock();
        inside.end.get_or_insert(end);
        self.changed.notify_all();
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
            inside = self.changed.wait_timeout(inside, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<C, R, W> Queue<C, R, W> {
    fn lock(&self) -> MutexGuard<'_, Inside<C, R, W>> {
        // No user code runs under the lock; a poisoned one holds a whole queue all the same.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C, R, W> Inside<C, R, W> {
    /// Why a command that carries so many bytes cannot be queued.
    fn refuses(&self, room: Room, bytes: usize) -> Option<Refusal> {
        if self.end.is_some() {
            return Some(Refusal::Ended);
        }
        if self.commands.len() >= room.commands {
            return Some(Refusal::Full);
        }
        let is_too_much = bytes > 0 && self.bytes > 0 && bytes > room.bytes.saturating_sub(self.bytes);
        is_too_much.then_some(Refusal::Bytes)
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

    /// Begins to wait for room on another thread, and returns when it does.
    fn wait_for_room<'scope, 'env>(
        scope: &'scope std::thread::Scope<'scope, 'env>,
        queue: &'env Queue<u32, (), ()>,
        command: u32,
        bytes: usize,
    ) -> std::thread::ScopedJoinHandle<'scope, Result<(), (u32, Refusal)>> {
        let before = queue.lock().waiting;
        let thread = scope.spawn(move || queue.push_within(command, bytes, || Duration::from_secs(60), |()| {}));
        while queue.lock().waiting == before {
            std::thread::yield_now();
        }
        thread
    }

    #[test]
    fn who_waits_for_room_gets_it_when_the_queue_is_taken() {
        let queue = Queue::new(room(1), ());
        queue.push(1, 100, |()| {}).expect("room");
        std::thread::scope(|scope| {
            let waits = wait_for_room(scope, &queue, 2, 0);
            assert_eq!(taken(&queue), [1]);
            assert_eq!(waits.join().expect("no panic"), Ok(()));
        });
        assert_eq!((taken(&queue), queue.lock().waiting), (vec![2], 0));
        let queue = Queue::new(room(9), ());
        queue.push(1, 100, |()| {}).expect("room");
        std::thread::scope(|scope| {
            let waits = [wait_for_room(scope, &queue, 2, 60), wait_for_room(scope, &queue, 3, 40)];
            assert_eq!(queue.push(4, 1, |()| {}), Err((4, Refusal::Bytes)));
            assert_eq!(taken(&queue), [1]);
            waits.into_iter().for_each(|waits| assert_eq!(waits.join().expect("no panic"), Ok(())));
        });
        let mut both = taken(&queue);
        both.sort_unstable();
        assert_eq!(both, [2, 3]);
    }

    #[test]
    fn who_waits_for_room_is_refused_when_the_time_is_up_or_the_end_comes() {
        let queue = Queue::new(room(1), ());
        queue.push(1, 0, |()| {}).expect("room");
        let asked = Cell::new(0);
        let left = || {
            asked.set(asked.get() + 1);
            Duration::from_nanos(u64::from(asked.get() < 3))
        };
        assert_eq!(queue.push_within(2, 0, left, |()| panic!("a wake")), Err((2, Refusal::Full)));
        assert_eq!(asked.get(), 3);
        std::thread::scope(|scope| {
            let waits = wait_for_room(scope, &queue, 2, 0);
            assert_eq!(queue.end(()), [1]);
            assert_eq!(waits.join().expect("no panic"), Err((2, Refusal::Ended)));
        });
        assert_eq!(queue.push_within(3, 0, || panic!("nothing to wait for"), |()| {}), Err((3, Refusal::Ended)));
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
