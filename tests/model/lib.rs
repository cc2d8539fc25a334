//! Every order of a few threads around the mailbox's queue: `cargo test --release --manifest-path tests/model/Cargo.toml`.
//!
//! A lost wake-up or a waiter that nobody tells is a deadlock, which loom reports. The reactor is modelled after
//! `Core::obey` and `Core::has_work`: it sleeps only when its batch is worked off and no wake came meanwhile, and takes
//! the queue only when it was woken.
#![cfg(test)]

#[expect(dead_code, reason = "the reactor alone calls some of it")]
#[path = "../../src/mailbox/queue.rs"]
mod queue;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use queue::{Queue, Refusal, Room};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
fn who_waits_for_room_gets_it_or_hears_of_the_end() {
    explore(3, || {
        let shared = Shared::new(1);
        let senders = [0, 1].map(|sender| {
            let shared = shared.clone();
            let send = move |n| {
                shared.queue.push_within(Sent::Item(sender, n), 0, || Duration::MAX, |waker| waker.wake())
            };
            thread::spawn(move || (0..2).take_while(|n| send(*n).is_ok()).count())
        });
        let mut reactor = Reactor::default();
        // One more than fit beside it: somebody may have waited.
        while !reactor.has(2) {
            reactor.turn(&shared);
        }
        reactor.done.extend(reactor.commands.drain(..));
        reactor.done.extend(shared.queue.end("end"));
        let accepted = senders.map(|sender| sender.join().expect("a sender"));
        (0..2).for_each(|sender| assert_in_order(&reactor.done, sender, accepted[sender]));
        assert_eq!(reactor.done.len(), accepted.iter().sum::<usize>());
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
