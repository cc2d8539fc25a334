//! What a client tells its user, and in which order.
//!
//! Owns the callbacks. Several threads use a client at once, and states are told one after the other, as they happened.
//!
//! 1. No callback runs under the lock, and no state is told while another one is: whoever tells goes on with what came
//!    meanwhile.

use crate::address::Address;
use crate::error::Error;
use crate::handler::{ConnState, guarded};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// Where a state was reached: this side's address, if there is one already, and the peer's.
pub(super) type Ends = Arc<(Option<Address>, Address)>;

#[derive(Default)]
struct Pending {
    states: VecDeque<(Ends, ConnState)>,
    telling: Telling,
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

    /// Tells an error, once; its panic ends nothing.
    pub(super) fn error(&self, error: &Error) {
        log::debug!("client: {error}");
        if let Some(call) = &self.callbacks.error {
            if guarded(|| call(error)).is_none() {
                log::error!("client: the error callback panicked");
            }
        }
    }

    /// Tells a state, or has it told by the thread that tells another one just now.
    pub(super) fn state(&self, ends: &Ends, state: ConnState) {
        let Some(call) = &self.callbacks.state else { return };
        let mut pending = self.lock();
        pending.states.push_back((ends.clone(), state));
        if pending.telling == Telling::Somebody {
            return;
        }
        pending.telling = Telling::Somebody;
        while let Some((ends, state)) = pending.states.pop_front() {
            drop(pending);
            if guarded(|| call(ends.0.as_ref(), &ends.1, state)).is_none() {
                self.error(&Error::CallbackPanicked { callback: "on_state" });
            }
            pending = self.lock();
        }
        pending.telling = Telling::Nobody;
    }
}
