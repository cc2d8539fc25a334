//! How many connections each peer address has, for all reactors together.
//!
//! Owns a table of fixed size without locks. Knows nothing of connections.
//!
//! 1. A slot is free, or holds the digest of one address and how many connections that has; both change in one step.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Addresses that are told apart at once: half a MiB. Beyond it, and where too many share a place, addresses are let in
/// uncounted.
const SLOTS: usize = 64 * 1024;

/// Slots that are looked at for one address.
const PROBES: usize = 16;

const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// Counts of connections by peer address. Of IPv6 addresses the first 64 bits count, which is what one customer has.
pub(crate) struct Peers {
    slots: Box<[AtomicU64]>,
    /// Seeded at random, so that nobody can choose addresses that collide.
    hasher: RandomState,
    max: u64,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peers").field("max", &self.max).finish_non_exhaustive()
    }
}

/// What becomes of one more connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Counted,
    /// There is no slot for its address.
    Uncounted,
    /// Its address has as many as it may.
    Refused,
}

impl Peers {
    pub(crate) fn new(max: usize) -> Peers {
        let slots = (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Peers { slots, hasher: RandomState::new(), max: (max as u64).min(COUNT_MASK) }
    }

    /// The places of an address, and its digest, which is not 0.
    fn places(&self, ip: IpAddr) -> (impl Iterator<Item = &AtomicU64>, u64) {
        let key: u64 = match ip.to_canonical() {
            IpAddr::V4(v4) => u64::from(u32::from(v4)) | 1 << 63,
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
        };
        let hash = self.hasher.hash_one(key);
        let digest = (hash >> COUNT_BITS).max(1);
        let first = hash as usize;
        ((0..PROBES).map(move |probe| &self.slots[(first.wrapping_add(probe)) % SLOTS]), digest)
    }

    /// Counts one more connection of `ip`, if it may have one.
    pub(crate) fn enter(&self, ip: IpAddr) -> Entry {
        let (mut places, digest) = self.places(ip);
        if let Some(entry) = places.find_map(|slot| self.enter_slot(slot, digest, Match::Same)) {
            return entry;
        }
        let (mut places, _) = self.places(ip);
        places.find_map(|slot| self.enter_slot(slot, digest, Match::SameOrFree)).unwrap_or(Entry::Uncounted)
    }

    fn enter_slot(&self, slot: &AtomicU64, digest: u64, wanted: Match) -> Option<Entry> {
        let mut seen = slot.load(Ordering::Relaxed);
        // Each round another thread has changed the slot.
        loop {
            let count = match seen >> COUNT_BITS {
                found if found == digest => seen & COUNT_MASK,
                0 if wanted == Match::SameOrFree => 0,
                _ => return None,
            };
            if count >= self.max {
                return Some(Entry::Refused);
            }
            let next = digest << COUNT_BITS | (count + 1);
            match slot.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Entry::Counted),
                Err(now) => seen = now,
            }
        }
    }

    /// A connection of `ip` is over, counted or not.
    pub(crate) fn leave(&self, ip: IpAddr) {
        let (places, digest) = self.places(ip);
        for slot in places {
            let left = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |seen| {
                let count = seen & COUNT_MASK;
                (seen >> COUNT_BITS == digest).then(|| if count <= 1 { 0 } else { seen - 1 })
            });
            if left.is_ok() {
                return;
            }
        }
    }
}

/// Which slots an address may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Same,
    SameOrFree,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_as_it_may_and_no_other_is_meant() {
        let peers = Peers::new(2);
        let (one, mapped): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), "::ffff:192.0.2.1".parse().expect("an address"));
        let other: IpAddr = [192, 0, 2, 2].into();
        assert_eq!(
            [peers.enter(one), peers.enter(mapped), peers.enter(one)],
            [Entry::Counted, Entry::Counted, Entry::Refused]
        );
        assert_eq!(peers.enter(other), Entry::Counted);
        peers.leave(mapped);
        assert_eq!([peers.enter(one), peers.enter(one)], [Entry::Counted, Entry::Refused]);
        let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().expect("v6"), "2001:db8::ffff".parse().expect("v6"));
        assert_eq!([peers.enter(a), peers.enter(b), peers.enter(a)], [Entry::Counted, Entry::Counted, Entry::Refused]);
    }

    #[test]
    fn all_is_free_again_when_all_have_left() {
        let peers = Peers::new(1);
        let all: Vec<IpAddr> = (0..20_000u32).map(|n| IpAddr::from(n.to_be_bytes())).collect();
        let counted = all.iter().filter(|ip| peers.enter(**ip) == Entry::Counted).count();
        assert!(counted > 19_900, "{counted}");
        all.iter().for_each(|ip| peers.leave(*ip));
        assert!(peers.slots.iter().all(|slot| slot.load(Ordering::Relaxed) == 0));
    }
}
