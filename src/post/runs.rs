//! Which datagrams leave together: those of one length to one peer, as one message that the kernel cuts.
//!
//! Owns the grouping, which is pure. Datagrams to one peer keep their order; those to different peers need not.
//!
//! 1. `order` holds each datagram once, those of one run side by side.
//! 2. All of a run are for one peer and of one length, but the last, which may be shorter and not empty.

use crate::net::datagram::peer::DatagramPeer;
use crate::post::outgoing::{Entry, State};

/// Datagrams that are looked at together.
pub(crate) const WINDOW: usize = 256;

/// Datagrams in one run, as the kernel limits it (UDP_MAX_SEGMENTS).
const RUN: usize = 64;

/// Bytes of one run: what one UDP datagram over IPv6 could carry, and a little less than over IPv4.
const RUN_BYTES: usize = 65_487;

/// Places for peers that are looked for; two that share one cost nothing but a shorter run.
const PLACES: usize = 128;

const NONE: u16 = u16::MAX;

/// Datagrams that leave as one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Where in the order it begins.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// The length of its datagrams.
    pub(crate) len: usize,
}

/// One peer's datagrams, in a chain.
#[derive(Clone, Copy)]
struct Chain {
    head: u16,
    tail: u16,
}

/// A plan for some datagrams. It keeps its memory.
#[derive(Default)]
pub(crate) struct Runs {
    order: Vec<u16>,
    runs: Vec<Run>,
    chains: Vec<Chain>,
    next: Vec<u16>,
    places: Vec<u16>,
}

impl Runs {
    /// The indices of datagrams, run by run.
    pub(crate) fn order(&self) -> &[u16] {
        &self.order
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The indices of the datagrams of one run.
    pub(crate) fn of(&self, run: usize) -> &[u16] {
        let run = self.runs[run];
        &self.order[run.first..run.first + run.count]
    }

    /// The indices of the datagrams of one run and of all behind it; those for the same peer come first.
    pub(crate) fn from(&self, run: usize) -> &[u16] {
        &self.order[self.runs[run].first..]
    }

    /// Runs of datagrams of up to `bytes_max` each; longer ones go alone.
    pub(crate) fn plan(&mut self, entries: &[Entry], bytes_max: usize) {
        debug_assert!(entries.len() <= WINDOW, "runs: an index is small");
        self.order.clear();
        self.runs.clear();
        self.chain(entries);
        for chain in 0..self.chains.len() {
            let mut run: Option<(Run, usize)> = None;
            let mut index = self.chains[chain].head;
            while index != NONE {
                let entry = &entries[usize::from(index)];
                let len = entry.len();
                let joins = matches!(&run, Some((run, bytes)) if entry.state == State::Fresh
                    && run.count < RUN && run.len <= bytes_max && 0 < len && len <= run.len && bytes + len <= RUN_BYTES);
                run = match run {
                    Some((mut run, bytes)) if joins => {
                        run.count += 1;
                        if len == run.len {
                            Some((run, bytes + len))
                        } else {
                            // A shorter one is the last.
                            self.runs.push(run);
                            None
                        }
                    }
                    before => {
                        self.runs.extend(before.map(|(run, _)| run));
                        Some((Run { first: self.order.len(), count: 1, len }, len))
                    }
                };
                self.order.push(index);
                if entry.state == State::Tried {
                    // The socket may tell of something else again: nobody else shall be meant by it.
                    self.runs.extend(run.take().map(|(run, _)| run));
                }
                index = self.next[usize::from(index)];
            }
            self.runs.extend(run.map(|(run, _)| run));
        }
    }

    /// Chains the datagrams of each peer.
    fn chain(&mut self, entries: &[Entry]) {
        self.chains.clear();
        self.next.clear();
        self.next.resize(entries.len(), NONE);
        self.places.clear();
        self.places.resize(PLACES, NONE);
        for (index, entry) in entries.iter().enumerate() {
            if entry.state == State::Gone {
                continue;
            }
            let place = &mut self.places[entry.to.as_ref().map_or(0, DatagramPeer::digest) % PLACES];
            let known = self
                .chains
                .get_mut(usize::from(*place))
                .filter(|chain| entries[usize::from(chain.head)].to == entry.to);
            match known {
                Some(chain) => {
                    self.next[usize::from(chain.tail)] = index as u16;
                    chain.tail = index as u16;
                }
                None => {
                    *place = self.chains.len() as u16;
                    self.chains.push(Chain { head: index as u16, tail: index as u16 });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Tick;
    use crate::post::outgoing::Outgoing;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn peer(number: u16) -> DatagramPeer {
        DatagramPeer::from(SocketAddr::from(([10, 0, 0, (number % 3) as u8], number * 64)))
    }

    fn queue(datagrams: &[(u16, usize)]) -> Outgoing {
        let mut outgoing = Outgoing::default();
        for (to, len) in datagrams {
            outgoing.push(Some(peer(*to)), &vec![0; *len], Tick::test(0));
        }
        outgoing
    }

    proptest! {
        #[test]
        fn every_datagram_leaves_once_and_a_peers_in_their_order(
            datagrams in prop::collection::vec((0u16..9, prop::sample::select(vec![0usize, 1, 60, 64, 1400, 9000])), 0..WINDOW),
            bytes_max in prop::sample::select(vec![0usize, 64, 1400, usize::MAX]),
        ) {
            let outgoing = queue(&datagrams);
            let mut runs = Runs::default();
            runs.plan(outgoing.window(WINDOW).1, bytes_max);
            let mut seen: Vec<_> = runs.order().to_vec();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..datagrams.len() as u16).collect::<Vec<_>>());
            for to in 0..9 {
                let theirs: Vec<_> = runs.order().iter().filter(|index| datagrams[usize::from(**index)].0 == to).collect();
                prop_assert!(theirs.is_sorted());
            }
            let mut next = 0;
            for run in runs.runs() {
                prop_assert_eq!(run.first, next);
                next += run.count;
                let of_run: Vec<_> =
                    runs.order()[run.first..next].iter().map(|index| datagrams[usize::from(*index)]).collect();
                let (last, others) = of_run.split_last().expect("no run is empty");
                prop_assert!(others.iter().all(|one| *one == (last.0, run.len)));
                prop_assert!(run.count == 1 || (last.1 > 0 && last.1 <= run.len && run.len <= bytes_max));
                prop_assert!(run.count <= RUN && of_run.iter().map(|one| one.1).sum::<usize>() <= RUN_BYTES);
            }
            prop_assert_eq!(next, datagrams.len());
        }
    }

    #[test]
    fn as_many_as_a_call_may_cut_leave_in_one_run() {
        for (len, most) in [(1_400, RUN_BYTES / 1_400), (10, RUN)] {
            let outgoing = queue(&vec![(1, len); most.min(RUN) + 1]);
            let mut runs = Runs::default();
            runs.plan(outgoing.window(WINDOW).1, usize::MAX);
            let counts: Vec<_> = runs.runs().iter().map(|run| run.count).collect();
            assert_eq!(counts, [most.min(RUN), 1], "of {len} bytes each");
        }
    }

    #[test]
    fn interleaved_peers_get_a_run_each() {
        let outgoing = queue(&[(1, 64), (2, 64), (1, 64), (2, 64), (1, 64), (2, 10), (2, 64)]);
        let mut runs = Runs::default();
        runs.plan(outgoing.window(WINDOW).1, usize::MAX);
        assert_eq!(runs.order(), [0, 2, 4, 1, 3, 5, 6]);
        let run = |first, count, len| Run { first, count, len };
        assert_eq!(runs.runs(), [run(0, 3, 64), run(3, 3, 64), run(6, 1, 64)]);
    }
}
