//! The states of one connection that a blocking handler serves, reported as they happen on whichever threads use it.
//!
//! Owns their order.
//!
//! 1. No callback runs under the lock, and none while another one of this connection does: the thread that reports goes on
//!    with what came meanwhile.
//! 2. What is to happen behind Close happens when that was reported.

use crate::address::Address;
use crate::blocking::ended::{Ended, has_room};
use crate::handler::ConnState;
use crate::server::callbacks::Callbacks;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) struct States {
    callbacks: Callbacks,
    local: Address,
    peer: Option<Address>,
    pending: Mutex<Pending>,
}

#[derive(Default)]
struct Pending {
    ended: Ended,
    waiting: VecDeque<ConnState>,
    reporting: Reporting,
    behind_close: Option<Box<dyn FnOnce() + Send>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Reporting {
    #[default]
    Nobody,
    Somebody,
}

impl States {
    /// `None` if nobody wants to know.
    pub(super) fn new(callbacks: &Callbacks, local: &Address, peer: Option<&Address>) -> Option<Arc<States>> {
        callbacks.state.as_ref()?;
        let (callbacks, local, peer) = (callbacks.clone(), local.clone(), peer.cloned());
        Some(Arc::new(States { callbacks, local, peer, pending: Mutex::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a state, or has it reported by the thread that reports another one just now.
    pub(super) fn report(&self, state: ConnState) {
        let mut pending = self.lock();
        if has_room(pending.waiting.len(), state) && pending.ended.admits(state) {
            pending.waiting.push_back(state);
            self.report_waiting(pending);
        }
    }

    /// Reports the end, and does `then` behind it.
    pub(super) fn close(&self, then: impl FnOnce() + Send + 'static) {
        self.lock().behind_close = Some(Box::new(then));
        self.report(ConnState::Close);
    }

    fn report_waiting<'a>(&'a self, mut pending: MutexGuard<'a, Pending>) {
        if pending.reporting == Reporting::Somebody {
            return;
        }
        pending.reporting = Reporting::Somebody;
        while let Some(state) = pending.waiting.pop_front() {
            drop(pending);
            self.callbacks.tell_state(&self.local, self.peer.as_ref(), state);
            pending = self.lock();
            if state == ConnState::Close {
                if let Some(then) = pending.behind_close.take() {
                    drop(pending);
                    then();
                    pending = self.lock();
                }
            }
        }
        pending.reporting = Reporting::Nobody;
    }
}
