//! Who is called back for a connection, in 17 bytes: what a connection only is on its way has a box.
//!
//! Owns the packing. What becomes of whom is the connection's.

use crate::command::Adopter;
use crate::dial::{Dial, Trial};
use crate::handler::Handler;
use crate::id::SourceId;
use crate::source::connection::Connection;

/// Who is called back.
pub(super) enum Role {
    /// The listener wants it, and was not told yet that it is there.
    Accepted,
    /// The acceptor's maker will make the handler once the handshake is done.
    Admitted,
    /// Its handshake failed: no handler will be made, and the listener is told when it is over.
    Refused,
    /// Given to `connect`, which is under way; there is no socket yet.
    Dialling(Box<Dial>),
    /// An attempt of such a connect.
    Racing(Box<Trial>),
    /// Given to `connect` or `adopt`; not open yet.
    Given(Box<dyn Handler>),
    /// To be made when the link is taken over.
    Adopter(Adopter),
    /// It is open, and a handler that took over in the middle waits for its `on_open`.
    Successor(Box<dyn Handler>),
    /// It is open.
    Live(Box<dyn Handler>),
    /// It is coupled with another connection; its handler is told of the end alone.
    Relayed(Relay),
    /// It was never made, or it is over.
    Gone,
}

/// One side of two connections that are coupled.
pub(super) struct Relay {
    pub(super) handler: Box<dyn Handler>,
    pub(super) partner: SourceId,
    /// From this connection's peer to the partner's.
    pub(super) input: Flow,
    /// From the partner's peer to this connection's.
    pub(super) output: Flow,
    /// How much the last reads brought.
    pub(super) pace: Pace,
}

/// Whether much comes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Little,
    /// The last read filled its buffer.
    Once,
    /// Two in a row did.
    Bulk,
}

/// Whether a direction of a relay has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// The end was passed on behind all bytes.
    Ended,
}

/// Which role it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoleKind {
    Accepted,
    Admitted,
    Refused,
    /// Any of those on the way.
    Coming,
    Successor,
    Live,
    Relayed,
    Gone,
}

/// What belongs to it.
pub(super) enum Held {
    Live(Box<dyn Handler>),
    Other(Option<Box<Role>>),
}

impl Role {
    pub(super) fn packed(self) -> (RoleKind, Held) {
        match self {
            Role::Accepted => (RoleKind::Accepted, Held::Other(None)),
            Role::Admitted => (RoleKind::Admitted, Held::Other(None)),
            Role::Refused => (RoleKind::Refused, Held::Other(None)),
            Role::Gone => (RoleKind::Gone, Held::Other(None)),
            Role::Successor(handler) => (RoleKind::Successor, Held::Live(handler)),
            Role::Live(handler) => (RoleKind::Live, Held::Live(handler)),
            relayed @ Role::Relayed(_) => (RoleKind::Relayed, Held::Other(Some(Box::new(relayed)))),
            coming @ (Role::Dialling(_) | Role::Racing(_) | Role::Given(_) | Role::Adopter(_)) => {
                (RoleKind::Coming, Held::Other(Some(Box::new(coming))))
            }
        }
    }

    fn unpacked(role_kind: RoleKind, held: Held) -> Role {
        match (held, role_kind) {
            (Held::Live(handler), RoleKind::Successor) => Role::Successor(handler),
            (
                Held::Live(handler),
                RoleKind::Accepted
                | RoleKind::Admitted
                | RoleKind::Refused
                | RoleKind::Coming
                | RoleKind::Live
                | RoleKind::Relayed
                | RoleKind::Gone,
            ) => Role::Live(handler),
            (Held::Other(Some(coming)), _) => *coming,
            (Held::Other(None), RoleKind::Accepted) => Role::Accepted,
            (Held::Other(None), RoleKind::Admitted) => Role::Admitted,
            (Held::Other(None), RoleKind::Refused) => Role::Refused,
            (
                Held::Other(None),
                RoleKind::Coming | RoleKind::Successor | RoleKind::Live | RoleKind::Relayed | RoleKind::Gone,
            ) => Role::Gone,
        }
    }
}

impl Connection {
    /// Takes the role out, and leaves nobody to be called back.
    pub(super) fn take_role(&mut self) -> Role {
        let role_kind = std::mem::replace(&mut self.role_kind, RoleKind::Gone);
        Role::unpacked(role_kind, std::mem::replace(&mut self.held, Held::Other(None)))
    }

    pub(super) fn set_role(&mut self, role: Role) {
        (self.role_kind, self.held) = role.packed();
    }

    /// Whether it was wanted, and has no handler yet.
    pub(super) fn is_before_its_handler(&self) -> bool {
        matches!(self.role_kind, RoleKind::Accepted | RoleKind::Admitted)
    }

    /// The dial that it is.
    pub(super) fn dial(&self) -> Option<&Dial> {
        let Held::Other(Some(coming)) = &self.held else { return None };
        if let Role::Dialling(dial) = &**coming { Some(dial) } else { None }
    }

    pub(super) fn dial_mut(&mut self) -> Option<&mut Dial> {
        let Held::Other(Some(coming)) = &mut self.held else { return None };
        if let Role::Dialling(dial) = &mut **coming { Some(dial) } else { None }
    }

    /// Its side of the relay that it is part of.
    pub(super) fn relay_side(&self) -> Option<&Relay> {
        let Held::Other(Some(other)) = &self.held else { return None };
        if let Role::Relayed(relay) = &**other { Some(relay) } else { None }
    }

    pub(super) fn relay_side_mut(&mut self) -> Option<&mut Relay> {
        let Held::Other(Some(other)) = &mut self.held else { return None };
        if let Role::Relayed(relay) = &mut **other { Some(relay) } else { None }
    }
}
