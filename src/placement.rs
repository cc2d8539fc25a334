//! Where accepted connections go, and what reactors may hold together.
//!
//! Owns the choice between reactors and the counts that they share. Knows no threads, and no listener.
//!
//! 1. A quota's count is that of the permits that live and of the connections that they were kept for.

use crate::clock::Tick;
use crate::command::Order;
use crate::handler::PauseCause;
use crate::id::SourceId;
use crate::mailbox::Remote;
use crate::net::stream::{Stream, Unclaimed};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How the connections of a listener are spread over the reactors of an engine.
///
/// ```
/// use windlass::{EngineConfig, Placement};
/// let config = EngineConfig { placement: Placement::RoundRobin, ..EngineConfig::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// One reactor accepts and hands each stream to the reactor with the fewest connections. Right for long connections of
    /// unequal number.
    #[default]
    LeastConnections,
    /// One reactor accepts and hands the streams to all in turn.
    RoundRobin,
    /// Each reactor has a socket of its own on the same port, and the kernel spreads by a hash of both addresses
    /// (SO_REUSEPORT, socket(7); as [`Reuse::Port`](crate::Reuse::Port) on other systems than Linux). Right for very many short
    /// connections. Listeners without ports are placed by fewest connections.
    Kernel,
}

/// A stream that one reactor has accepted for another.
pub(crate) struct Handoff {
    /// The listener there that it is for.
    pub(crate) acceptor: SourceId,
    pub(crate) stream: Unclaimed,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) permit: Permit,
    /// Whether it speaks TLS, and counts as a handshake until that is done.
    pub(crate) shakes_hands: bool,
}

/// How many connections reactors may hold together, and how many they do.
#[derive(Debug)]
pub(crate) struct Quota {
    max: usize,
    used: AtomicUsize,
}

/// A place in some quotas; it is given back when it is dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Permit(Option<Arc<[Arc<Quota>]>>);

impl Quota {
    pub(crate) fn new(max: usize) -> Arc<Quota> {
        Arc::new(Quota { max, used: AtomicUsize::new(0) })
    }

    fn take(&self) -> bool {
        let taken =
            self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < self.max).then_some(used + 1));
        taken.is_ok()
    }

    fn give_back(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// A place in all of `quotas`, or in none.
    pub(crate) fn take(quotas: &Arc<[Arc<Quota>]>) -> Option<Permit> {
        if quotas.is_empty() {
            return Some(Permit(None));
        }
        let taken = quotas.iter().take_while(|quota| quota.take()).count();
        if taken == quotas.len() {
            return Some(Permit(Some(quotas.clone())));
        }
        quotas[..taken].iter().for_each(|quota| quota.give_back());
        None
    }

    /// The place is given back by [`Permit::return_to`] some time.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }

    /// Gives back a place that was kept.
    pub(crate) fn return_to(quotas: &Arc<[Arc<Quota>]>) {
        quotas.iter().for_each(|quota| quota.give_back());
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.iter().for_each(Permit::return_to);
    }
}

/// The reactors among which a listener's connections are spread.
pub(crate) struct Spread {
    placement: Placement,
    /// `None` is the acceptor's own reactor.
    targets: Vec<(Remote, Option<SourceId>)>,
    next: usize,
    limits: ReactorLimits,
}

/// What each of several reactors may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReactorLimits {
    pub(crate) connections_max: usize,
    /// TLS handshakes; `None` for a listener without TLS.
    pub(crate) handshakes_max: Option<usize>,
}

impl ReactorLimits {
    /// What this reactor has as many of as it may.
    fn full_of(&self, remote: &Remote) -> Option<PauseCause> {
        if remote.load() + remote.away() >= self.connections_max {
            return Some(PauseCause::ConnectionLimit);
        }
        self.handshakes_max.filter(|max| remote.handshakes() >= *max).map(|_| PauseCause::HandshakeLimit)
    }
}

impl Spread {
    /// `own` is the reactor that accepts, and each reactor has `limits`.
    pub(crate) fn new(placement: Placement, own: Remote, limits: ReactorLimits) -> Spread {
        Spread { placement, targets: vec![(own, None)], next: 0, limits }
    }

    /// Accepts for a listener of another reactor too, which is closed when this one is.
    pub(crate) fn feed(&mut self, remote: Remote, acceptor: SourceId) {
        self.targets.push((remote, Some(acceptor)));
    }

    /// Accepts no longer for one of the others; its listener there is closed behind what was handed over.
    pub(crate) fn unfeed(&mut self, remote: &Remote) {
        self.targets.retain(|(other, acceptor)| match acceptor {
            Some(acceptor) if other == remote => {
                remote.order_asked(*acceptor, Order::Remove);
                false
            }
            Some(_) | None => true,
        });
    }

    /// What all of the reactors have as many of as they may.
    pub(crate) fn full_of(&self) -> Option<PauseCause> {
        let mut full = None;
        for (remote, _) in &self.targets {
            full = Some(self.limits.full_of(remote)?);
        }
        full
    }

    /// Hands a stream to the reactor whose turn it is, of those that have room. It comes back if that is the one that
    /// accepts, or the other cannot take it.
    pub(crate) fn hand(
        &mut self,
        stream: Stream,
        peer: Option<SocketAddr>,
        permit: Permit,
        now: Tick,
    ) -> Option<(Stream, Permit)> {
        self.next = (self.next + 1) % self.targets.len();
        // Among equals the turns go round, too.
        let in_turn = self.targets[self.next..].iter().chain(&self.targets[..self.next]);
        let has_room = |remote: &Remote| self.limits.full_of(remote).is_none();
        let goes = |remote: &Remote| has_room(remote) && !remote.is_held_up(now);
        // One that a callback holds up would keep them waiting; if all are, any will do.
        let one_goes = self.targets.iter().any(|(remote, _)| goes(remote));
        let mut in_turn = in_turn.filter(|(remote, _)| if one_goes { goes(remote) } else { has_room(remote) });
        let chosen = match self.placement {
            Placement::RoundRobin => in_turn.next(),
            Placement::LeastConnections | Placement::Kernel => in_turn.min_by_key(|(remote, _)| remote.load()),
        };
        match chosen {
            Some((remote, Some(acceptor))) => {
                let shakes_hands = self.limits.handshakes_max.is_some();
                let stream = Unclaimed::new(stream);
                let handed = Handoff { acceptor: *acceptor, stream, peer, permit, shakes_hands };
                let handed = remote.hand(Box::new(handed));
                let back = handed.err()?;
                // The load of a reactor that ended would be the least for ever.
                self.targets.retain(|(remote, _)| !remote.has_ended());
                Some((back.stream.claim(), back.permit))
            }
            _ => Some((stream, permit)),
        }
    }
}

// However it ends: behind all that it has handed over.
impl Drop for Spread {
    fn drop(&mut self) {
        for (remote, acceptor) in &self.targets {
            acceptor.iter().for_each(|acceptor| remote.order_asked(*acceptor, Order::Remove));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_for_all_quotas_or_none() {
        let (two, one) = (Quota::new(2), Quota::new(1));
        let quotas: Arc<[Arc<Quota>]> = Arc::new([two.clone(), one.clone()]);
        let used = || (two.used.load(Ordering::Relaxed), one.used.load(Ordering::Relaxed));
        let first = Permit::take(&quotas).expect("room");
        assert!(Permit::take(&quotas).is_none());
        assert_eq!(used(), (1, 1));
        first.keep();
        assert_eq!(used(), (1, 1));
        Permit::return_to(&quotas);
        drop(Permit::take(&quotas).expect("room"));
        assert_eq!(used(), (0, 0));
    }
}
