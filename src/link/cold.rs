//! What a link at rest has nothing of, in a box that is there only as long as something waits or is under way.
//!
//! Owns when there is a box: it comes with the first change, and goes when a drive ends and all is as in [`AT_REST`].

use crate::link::buffers::Pool;
use crate::link::inbox::Inbox;
use crate::link::outbox::Outbox;
use crate::link::records::{Security, Tls};
use crate::link::{Deadlines, Delivery, Output, Owed};
use std::ops::{Deref, DerefMut};

/// The box, or none: it reads as [`AT_REST`] then. To change anything makes one.
#[derive(Default)]
pub(super) struct Cold(Option<Box<Contents>>);

#[derive(Debug)]
pub(super) struct Contents {
    pub(super) security: Security,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// How many bytes must wait before they are shown.
    pub(super) need: u32,
    pub(super) output: Output,
    pub(super) delivery: Delivery,
    pub(super) owed: Owed,
    pub(super) deadlines: Deadlines,
}

/// Plain, nothing waits, and all is allowed.
const AT_REST: &Contents = &Contents {
    security: Security::Plain,
    outbox: Outbox::EMPTY,
    inbox: Inbox::EMPTY,
    need: 0,
    output: Output::Free,
    delivery: Delivery::Flowing,
    owed: Owed::Nothing,
    deadlines: Deadlines::Known,
};

impl Cold {
    /// Whether there is no box.
    #[inline(always)]
    pub(super) fn is_at_rest(&self) -> bool {
        self.0.is_none()
    }

    /// Whether all that is in the box is a TLS session with nothing to do.
    pub(super) fn is_sealed_at_rest(&self) -> bool {
        self.0.as_deref().is_some_and(|contents| match &contents.security {
            Security::Plain => false,
            Security::Tls(tls) => tls.is_at_rest() && contents.is_quiet(),
        })
    }

    /// What there is to be changed, without a box for what is not.
    pub(super) fn there(&mut self) -> Option<&mut Contents> {
        self.0.as_deref_mut()
    }

    /// TLS, if it is there.
    pub(super) fn tls(&mut self) -> Option<&mut Tls> {
        match &mut self.there()?.security {
            Security::Plain => None,
            Security::Tls(tls) => Some(tls),
        }
    }

    /// What is about to be changed, on the way of messages: in a box that was used before.
    pub(super) fn open(&mut self, pool: &mut Pool) -> &mut Contents {
        self.0.get_or_insert_with(|| pool.contents())
    }

    /// Gives a box back that nothing is in.
    pub(super) fn release_if_empty(&mut self, pool: &mut Pool) {
        if let Some(contents) = self.0.take_if(|contents| contents.is_at_rest()) {
            pool.take_contents_back(contents);
        }
    }
}

impl Contents {
    fn is_at_rest(&self) -> bool {
        matches!(self.security, Security::Plain) && self.is_quiet()
    }

    /// Whether nothing waits, and nothing was asked for.
    fn is_quiet(&self) -> bool {
        self.outbox.is_empty()
            && self.inbox.is_empty()
            && self.need == 0
            && self.output == Output::Free
            && self.delivery == Delivery::Flowing
            && self.owed == Owed::Nothing
            && self.deadlines == Deadlines::Known
    }
}

impl Default for Contents {
    fn default() -> Contents {
        Contents { security: Security::Plain, outbox: Outbox::EMPTY, inbox: Inbox::EMPTY, ..*AT_REST }
    }
}

impl Deref for Cold {
    type Target = Contents;

    #[inline]
    fn deref(&self) -> &Contents {
        self.0.as_deref().unwrap_or(AT_REST)
    }
}

impl DerefMut for Cold {
    fn deref_mut(&mut self) -> &mut Contents {
        self.0.get_or_insert_default()
    }
}

impl std::fmt::Debug for Cold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}
