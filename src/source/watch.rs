//! A foreign descriptor and its handler.
//!
//! Owns neither the descriptor's bytes nor its state: only when its owner is called.

use crate::command::Order;
use crate::context::Context;
use crate::error::Reason;
use crate::handler::{Next, WatchHandler, guarded};
use crate::id::SourceId;
use crate::net::watched::Foreign;
use crate::net::{Readiness, Registry};
use crate::source::Cause;
use std::io;
use std::os::fd::AsFd;

pub(crate) struct Watch {
    foreign: Foreign,
    handler: Box<dyn WatchHandler>,
    /// What the kernel said last: `Again` shows it once more.
    ready: Readiness,
}

impl Watch {
    pub(crate) fn new(foreign: Foreign, handler: Box<dyn WatchHandler>) -> Watch {
        Watch { foreign, handler, ready: Readiness::default() }
    }

    /// Has the kernel report once more what is ready already.
    pub(crate) fn report_again(&self, registry: &Registry, id: SourceId) -> io::Result<()> {
        self.foreign.reregister(registry, id.word())
    }

    /// All that it wants to be told of.
    pub(crate) fn asked(&self) -> Readiness {
        self.foreign.asked()
    }

    pub(crate) fn drive(&mut self, cause: Cause, cx: &mut Context<'_>) -> Next {
        match cause {
            Cause::Ready(ready) => self.ready = ready,
            Cause::Again => {}
            Cause::Order(Order::Remove) => return self.end(Reason::Local, cx),
            Cause::Order(Order::ReactorDropped) => return self.end(Reason::ReactorDropped, cx),
            Cause::Order(Order::Cut) => return self.end(Reason::Drain, cx),
            Cause::Expired | Cause::Order(_) | Cause::Orders(_) => return Next::Wait,
            Cause::Step | Cause::Offload | Cause::OffloadDone(_) | Cause::Arrived(_) => return Next::Wait,
        }
        let called = guarded(|| self.handler.on_ready(cx, self.foreign.as_fd(), self.ready));
        match called {
            Some(Next::Remove) => self.end(Reason::Local, cx),
            Some(next) => next,
            None => {
                cx.state.counters.panics += 1;
                self.end(Reason::HandlerPanicked, cx)
            }
        }
    }

    fn end(&mut self, reason: Reason, cx: &mut Context<'_>) -> Next {
        // The descriptor may live on elsewhere, so the kernel must be told. It fails only if it is closed already.
        let _ = self.foreign.deregister(&cx.state.registry);
        if guarded(|| self.handler.on_close(cx, reason)).is_none() {
            cx.state.counters.panics += 1;
        }
        Next::Remove
    }
}
