//! Another handler for a connection, in the middle of its life.
//!
//! Owns when it takes over: as soon as the callback that set it has returned, before anything else is called. The one before it
//! is dropped then. What of the link's state was the old handler's own is the link's to forget.
//!
//! 1. No handler that was set is left behind when a drive ends.

use crate::context::{Context, Untold};
use crate::handler::guarded;
use crate::id::SourceId;
use crate::source::connection::Connection;
use crate::source::connection::role::{Role, RoleKind};

/// Handlers that may follow each other without a callback in between but `on_open`: more are an endless loop.
const SUCCESSORS_MAX: usize = 16;

impl Connection {
    /// Has the handler that the last callback set take over, and those that it sets in turn.
    #[cold]
    #[inline(never)]
    pub(super) fn hand_over(&mut self, id: SourceId, cx: &mut Context<'_>) {
        for _ in 0..SUCCESSORS_MAX {
            let Some(handler) = cx.state.successor.take() else { return };
            let before = self.take_role();
            self.set_role(Role::Successor(handler));
            if guarded(|| drop(before)).is_none() {
                self.panicked(cx);
            }
            if self.link.is_relayed() || self.is_detaching(cx) {
                // It hears of the end alone.
                self.role_kind = RoleKind::Live;
            }
            if self.role_kind == RoleKind::Live || !self.link.phase().is_open() {
                return;
            }
            self.begin_successor(id, cx);
        }
        if cx.state.successor.is_some() {
            if let Some(missed) = cx.state.misused.passes() {
                log::error!(
                    "connection {id}: {SUCCESSORS_MAX} handlers in a row have set another one in on_open{missed}"
                );
            }
            self.panicked(cx);
        }
    }

    /// Tells a handler that took over that its connection is open, and has it hear of a drain that has begun.
    pub(super) fn begin_successor(&mut self, id: SourceId, cx: &mut Context<'_>) {
        self.role_kind = RoleKind::Live;
        self.link.forget_what_was_told();
        self.call_once(id, cx, |handler, conn| handler.on_open(conn));
        if self.link.owes_hangup() {
            cx.table.wake(id);
        }
        if !cx.state.untold.iter().any(|untold: &Untold| untold.id == id) {
            cx.announce_drain(id, 0);
        }
    }

    /// Drops a handler that was to take over, since the callback that set it panicked.
    #[cold]
    pub(super) fn drop_successor(&mut self, cx: &mut Context<'_>) {
        let successor = cx.state.successor.take();
        if guarded(|| drop(successor)).is_none() {
            cx.state.counters.panics += 1;
        }
    }
}
