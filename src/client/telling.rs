//! What a client tells its user, and in which order.
//!
//! Owns the callbacks. Several threads use a client at once, and states are told one after the other, as they happened.
//!
//! 1. No callback runs under the lock, and no state is told while another one is: whoever tells goes on with what came
//!    meanwhile.
//! 2. No error is told inside the telling of another one.

use crate::address::Address;
use crate::blocking::ended::{Ended, has_room};
use crate::error::Error;
use crate::handler::{ConnState, guarded};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

pub(super) type OnError = dyn Fn(&Error) + Send + Sync;
pub(super) type OnState = dyn Fn(Option<&Address>, &Address, ConnState) + Send + Sync;

/// A client's callbacks.
#[derive(Clone, Default)]
pub(super) struct Callbacks {
    pub(super) error: Option<Arc<OnError>>,
    pub(super) state: Option<Arc<OnState>>,
}

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

/// One connection, as it is told of.
pub(super) struct Ends {
    /// This side's address, if there is one already.
    pub(super) local: Option<Address>,
    pub(super) remote: Address,
    ended: Mutex<Ended>,
}

impl Ends {
    pub(super) fn new(local: Option<Address>, remote: Address) -> Arc<Ends> {
        Arc::new(Ends { local, remote, ended: Mutex::default() })
    }

    /// Whether a state may be told now.
    fn admits(&self, state: ConnState) -> bool {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).admits(state)
    }
}

#[derive(Default)]
struct Pending {
    states: VecDeque<(Arc<Ends>, ConnState)>,
    telling: Telling,
    /// Threads that tell an error just now.
    in_error: Vec<ThreadId>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Telling {
    #[default]
    Nobody,
    Somebody,
}

#[derive(Default)]
pub(super) struct Teller {
    callbacks: Callbacks,
    pending: Mutex<Pending>,
}

impl Teller {
    pub(super) fn new(callbacks: Callbacks) -> Teller {
        Teller { callbacks, pending: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells an error, once; its panic ends nothing. Those of calls that its callback makes are told to that alone.
    pub(super) fn error(&self, error: &Error) {
        log::debug!("client: {error}");
        let Some(call) = &self.callbacks.error else { return };
        let thread = thread::current().id();
        let mut pending = self.lock();
        if pending.in_error.contains(&thread) {
            return;
        }
        pending.in_error.push(thread);
        drop(pending);
        if guarded(|| call(error)).is_none() {
            log::error!("client: the error callback panicked");
        }
        self.lock().in_error.retain(|other| *other != thread);
    }

    /// Tells a state, or has it told by the thread that tells another one just now.
    pub(super) fn state(&self, ends: &Arc<Ends>, state: ConnState) {
        self.line_up(ends, state);
        self.tell();
    }

    /// Takes note of a state that [`Teller::tell`] is to tell. It calls nobody back.
    pub(super) fn line_up(&self, ends: &Arc<Ends>, state: ConnState) {
        if self.callbacks.state.is_none() {
            return;
        }
        let mut pending = self.lock();
        if ends.admits(state) && has_room(pending.states.len(), state) {
            pending.states.push_back((ends.clone(), state));
        }
    }

    pub(super) fn tell(&self) {
        let Some(call) = &self.callbacks.state else { return };
        let mut pending = self.lock();
        if pending.telling == Telling::Somebody {
            return;
        }
        pending.telling = Telling::Somebody;
        while let Some((ends, state)) = pending.states.pop_front() {
            drop(pending);
            if guarded(|| call(ends.local.as_ref(), &ends.remote, state)).is_none() {
                self.error(&Error::CallbackPanicked { callback: "on_state" });
            }
            pending = self.lock();
        }
        pending.telling = Telling::Nobody;
    }
}
