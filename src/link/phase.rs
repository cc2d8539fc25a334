//! Where a link is in its life, and what moves it.
//!
//! Owns every state change of a link (`Phase::after`) and every deadline (`deadline`): both are pure and total. Knows no
//! socket, queue or handler; what a change entails (FIN, callbacks, removal) is done by whoever asked for it.
//!
//! 1. `Closed` is the end: nothing leads out of it.
//! 2. Every phase has a deadline, but `Open`, `HalfOpen` and `WriteClosed` with the idle timeout off (A6).
//! 3. The first reason that is no ordinary end is the one that stays.

use crate::clock::Tick;
use crate::config::Limits;
use crate::error::{Expiry, Reason};

/// Where a link is in its life. On the way of each message it is matched and not compared, which would look at reasons, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The kernel connects.
    Connecting,
    /// TLS shakes hands; plain links pass at once.
    Handshaking,
    /// Bytes go both ways.
    Open,
    /// The peer has ended.
    HalfOpen,
    /// Finish was asked; output waits. Input is still delivered.
    Finishing,
    /// Our FIN is sent; the peer's data still comes.
    WriteClosed,
    /// Close was asked; output waits. Input is discarded.
    Flushing(Reason),
    /// Our FIN is sent; input is discarded until the peer's.
    Lingering(Reason),
    /// It is over.
    Closed(Reason),
}

/// What moves a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The kernel has connected.
    Connected,
    /// The handshake is done.
    Secured,
    /// The peer's end was reached, behind all that was delivered.
    PeerEnded,
    /// End our side; input is still wanted.
    Finish,
    /// End both; input from now on is discarded.
    Close(Reason),
    /// The outbox is empty and our end is said.
    Flushed,
    /// A system call or the peer broke it.
    Failed(Reason),
    /// The peer broke the protocol: what answers it is still sent, its input is discarded.
    Broken(Reason),
    /// End at once, by reset.
    Abort,
    /// Begin a handshake in the middle.
    #[cfg_attr(not(any(test, feature = "tls")), expect(dead_code, reason = "there is no other layer to begin"))]
    Upgrade,
    /// A deadline ran out.
    Expired(Expiry),
}

impl Signal {
    /// Whether the peer is to see a reset instead of an end (A9), whatever reason is told.
    pub(crate) fn resets(self) -> bool {
        matches!(self, Signal::Abort | Signal::Expired(Expiry::WriteStall | Expiry::Drain))
    }
}

impl Phase {
    /// The phase that follows this one on `signal`; `None` where the signal cannot come in this phase.
    pub(crate) fn after(self, signal: Signal) -> Option<Phase> {
        use Phase::{Closed, Connecting, Finishing, Flushing, HalfOpen, Handshaking, Lingering, Open, WriteClosed};
        Some(match (self, signal) {
            (Closed(reason), _) => Closed(reason),
            (_, Signal::Abort) => Closed(Reason::Aborted),
            (Flushing(first) | Lingering(first), Signal::Failed(later)) => Closed(graver(first, later)),
            (_, Signal::Failed(reason)) => Closed(reason),

            (Handshaking | Open | HalfOpen | Finishing, Signal::Broken(reason)) => Flushing(reason),
            (WriteClosed, Signal::Broken(reason)) => Lingering(reason),
            (Connecting | Flushing(_) | Lingering(_), Signal::Broken(_)) => return None,

            (Connecting, Signal::Connected) => Handshaking,
            (Connecting | Handshaking, Signal::Finish) => Closed(Reason::Local),
            (Connecting | Handshaking, Signal::Close(reason)) => Closed(reason),
            (Connecting, Signal::Secured | Signal::PeerEnded | Signal::Flushed | Signal::Upgrade) => return None,

            (Handshaking, Signal::Secured) => Open,
            (Handshaking, Signal::PeerEnded) => Closed(Reason::PeerClosed),
            (Handshaking, Signal::Connected | Signal::Flushed | Signal::Upgrade) => return None,

            (Open, Signal::PeerEnded) => HalfOpen,
            (Open, Signal::Finish) => Finishing,
            (Open, Signal::Close(reason)) => Flushing(reason),
            (Open, Signal::Upgrade) => Handshaking,
            (Open, Signal::Connected | Signal::Secured | Signal::Flushed) => return None,

            (HalfOpen, Signal::Finish) => Flushing(Reason::PeerClosed),
            (HalfOpen, Signal::Close(reason)) => Flushing(graver(Reason::PeerClosed, reason)),
            (HalfOpen, Signal::Connected | Signal::Secured | Signal::PeerEnded) => return None,
            (HalfOpen, Signal::Flushed | Signal::Upgrade) => return None,

            (Finishing, Signal::PeerEnded) => Flushing(Reason::PeerClosed),
            (Finishing, Signal::Finish) => Finishing,
            (Finishing, Signal::Close(reason)) => Flushing(reason),
            (Finishing, Signal::Flushed) => WriteClosed,
            (Finishing, Signal::Connected | Signal::Secured | Signal::Upgrade) => return None,

            (WriteClosed, Signal::PeerEnded) => Closed(Reason::PeerClosed),
            (WriteClosed, Signal::Finish) => WriteClosed,
            (WriteClosed, Signal::Close(reason)) => Lingering(reason),
            (WriteClosed, Signal::Connected | Signal::Secured) => return None,
            (WriteClosed, Signal::Flushed | Signal::Upgrade) => return None,

            (Flushing(first), Signal::PeerEnded | Signal::Finish) => Flushing(first),
            (Flushing(first), Signal::Close(later)) => Flushing(graver(first, later)),
            (Flushing(reason), Signal::Flushed) => Lingering(reason),
            (Flushing(_), Signal::Connected | Signal::Secured | Signal::Upgrade) => return None,

            (Lingering(reason), Signal::PeerEnded) => Closed(reason),
            (Lingering(first), Signal::Finish) => Lingering(first),
            (Lingering(first), Signal::Close(later)) => Lingering(graver(first, later)),
            (Lingering(_), Signal::Connected | Signal::Secured) => return None,
            (Lingering(_), Signal::Flushed | Signal::Upgrade) => return None,

            (phase, Signal::Expired(expiry)) => phase.after_expiry(expiry)?,
        })
    }

    /// What a deadline does. Those of one phase cannot run out in another, but the drain's ends all.
    fn after_expiry(self, expiry: Expiry) -> Option<Phase> {
        use Phase::{Closed, Connecting, Finishing, Flushing, HalfOpen, Handshaking, Lingering, Open, WriteClosed};
        let reason = Reason::Timeout(expiry);
        Some(match (self, expiry) {
            (Closed(first), _) => Closed(first),
            (Flushing(first) | Lingering(first), Expiry::Drain) => Closed(graver(first, reason)),
            (_, Expiry::Drain) => Closed(reason),
            (Connecting, Expiry::Connect) | (Handshaking, Expiry::Handshake) => Closed(reason),
            (Open | HalfOpen | Finishing | WriteClosed, Expiry::Idle) => Closed(reason),
            (Open | HalfOpen | Finishing, Expiry::WriteStall) => Closed(reason),
            (Open | HalfOpen | Finishing, Expiry::Lifetime) => Flushing(reason),
            (WriteClosed, Expiry::Lifetime) => Lingering(reason),
            (Flushing(first), Expiry::WriteStall) | (Lingering(first), Expiry::Linger) => Closed(graver(first, reason)),
            (Connecting | Handshaking | WriteClosed | Lingering(_), Expiry::WriteStall) => return None,
            (Connecting | Handshaking | Flushing(_) | Lingering(_), Expiry::Idle | Expiry::Lifetime) => return None,
            (Connecting, Expiry::Handshake | Expiry::Linger) => return None,
            (Handshaking, Expiry::Connect | Expiry::Linger) => return None,
            (Open | HalfOpen | Finishing | WriteClosed | Flushing(_), Expiry::Connect | Expiry::Handshake) => {
                return None;
            }
            (Open | HalfOpen | Finishing | WriteClosed | Flushing(_), Expiry::Linger) => return None,
            (Lingering(_), Expiry::Connect | Expiry::Handshake) => return None,
        })
    }

    /// Why it ends, once it does.
    pub(crate) fn reason(self) -> Option<Reason> {
        match self {
            Phase::Flushing(reason) | Phase::Lingering(reason) | Phase::Closed(reason) => Some(reason),
            Phase::Connecting | Phase::Handshaking | Phase::Open => None,
            Phase::HalfOpen | Phase::Finishing | Phase::WriteClosed => None,
        }
    }

    /// Whether the handler may queue output.
    pub(crate) fn takes_output(self) -> bool {
        matches!(self, Phase::Open | Phase::HalfOpen)
    }

    /// Whether input goes to the handler.
    pub(crate) fn delivers_input(self) -> bool {
        matches!(self, Phase::Open | Phase::Finishing | Phase::WriteClosed)
    }

    /// Whether input is read and thrown away.
    pub(crate) fn discards_input(self) -> bool {
        matches!(self, Phase::Flushing(_) | Phase::Lingering(_))
    }

    /// Whether callbacks other than `on_close` may run.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Phase::Open | Phase::HalfOpen | Phase::Finishing | Phase::WriteClosed)
    }
}

/// The first reason, unless it is an ordinary end and the later one is not.
fn graver(first: Reason, later: Reason) -> Reason {
    if first.is_ordinary() && !later.is_ordinary() { later } else { first }
}

/// What the deadlines are counted from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// When the connection was begun or accepted.
    pub(crate) opened: Tick,
    /// When the present phase began.
    pub(crate) entered: Tick,
    /// When a byte last moved, either way.
    pub(crate) active: Tick,
    /// Since when waiting output has not moved; `None` while none waits.
    pub(crate) stalled: Option<Tick>,
}

/// The next deadline of a link in `phase`, and which it is; `None` only where A6 allows it.
pub(crate) fn deadline(phase: Phase, facts: Facts, limits: &Limits) -> Option<(Tick, Expiry)> {
    let stall = || facts.stalled.map(|since| (since.after(limits.write_stall_timeout), Expiry::WriteStall));
    let idle = || limits.idle_timeout.map(|idle| (facts.active.after(idle), Expiry::Idle));
    let life = || limits.lifetime.map(|life| (facts.opened.after(life), Expiry::Lifetime));
    let sooner = |a: Option<(Tick, Expiry)>, b: Option<(Tick, Expiry)>| match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    };
    match phase {
        Phase::Connecting => Some((facts.opened.after(limits.connect_timeout), Expiry::Connect)),
        Phase::Handshaking => Some((facts.entered.after(limits.handshake_timeout), Expiry::Handshake)),
        Phase::Open | Phase::HalfOpen => sooner(stall(), sooner(idle(), life())),
        Phase::WriteClosed => sooner(idle(), life()),
        Phase::Finishing => {
            let stall = stall().or(Some((facts.entered.after(limits.write_stall_timeout), Expiry::WriteStall)));
            sooner(stall, sooner(idle(), life()))
        }
        Phase::Flushing(_) => {
            let since = facts.stalled.unwrap_or(facts.entered);
            Some((since.after(limits.write_stall_timeout), Expiry::WriteStall))
        }
        Phase::Lingering(_) => {
            let silent = facts.active.max(facts.entered).after(limits.linger_timeout);
            Some((silent.min(facts.entered.after(limits.linger_total)), Expiry::Linger))
        }
        // Removed in the same drive; this only makes sure of it.
        Phase::Closed(_) => Some((facts.entered, Expiry::Linger)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use std::time::Duration;

    const R: Reason = Reason::Local;
    const PHASES: [Phase; 9] = [
        Phase::Connecting,
        Phase::Handshaking,
        Phase::Open,
        Phase::HalfOpen,
        Phase::Finishing,
        Phase::WriteClosed,
        Phase::Flushing(R),
        Phase::Lingering(R),
        Phase::Closed(R),
    ];
    const EXPIRIES: [Expiry; 7] = [
        Expiry::Connect,
        Expiry::Handshake,
        Expiry::Idle,
        Expiry::WriteStall,
        Expiry::Lifetime,
        Expiry::Linger,
        Expiry::Drain,
    ];

    fn signals() -> Vec<Signal> {
        let mut all = vec![
            Signal::Connected,
            Signal::Secured,
            Signal::PeerEnded,
            Signal::Finish,
            Signal::Close(R),
            Signal::Flushed,
            Signal::Failed(Reason::Reset),
            Signal::Broken(Reason::Bug),
            Signal::Abort,
            Signal::Upgrade,
        ];
        all.extend(EXPIRIES.map(Signal::Expired));
        // A new signal does not compile here, and then belongs into the list above.
        all.iter().for_each(|signal| match signal {
            Signal::Connected | Signal::Secured | Signal::PeerEnded | Signal::Finish | Signal::Close(_) => {}
            Signal::Flushed | Signal::Failed(_) | Signal::Broken(_) | Signal::Abort | Signal::Upgrade => {}
            Signal::Expired(_) => {}
        });
        all
    }

    fn short(phase: Phase) -> String {
        format!("{phase:?}").replace("Timeout(", "").replace("))", ")")
    }

    /// The whole table as it stands in ARCHITECTURE.md.
    fn table() -> String {
        let mut text = String::from("| signal |");
        for phase in PHASES {
            let _ = write!(text, " {} |", short(phase).replace("(Local)", "(r)"));
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(PHASES.len()));
        for signal in signals() {
            let _ = write!(text, "\n| {signal:?} |");
            for phase in PHASES {
                let cell = phase
                    .after(signal)
                    .map_or("–".to_owned(), |next| if next == phase { "=".to_owned() } else { short(next) });
                let _ = write!(text, " {cell} |");
            }
        }
        text.push('\n');
        text
    }

    #[test]
    fn the_table_is_the_one_in_the_architecture_page() {
        let page = include_str!("../../ARCHITECTURE.md");
        let table = table();
        println!("{table}");
        assert!(page.contains(&table), "ARCHITECTURE.md must hold this table:\n{table}");
    }

    #[test]
    fn every_phase_reaches_its_end_by_its_own_deadlines() {
        let limits = Limits { idle_timeout: Some(Duration::from_secs(5)), ..Limits::default() };
        for start in PHASES {
            let (mut phase, mut now) = (start, Tick::test(0));
            for step in 0.. {
                if let Phase::Closed(_) = phase {
                    break;
                }
                assert!(step < 4, "{start:?} does not end");
                let facts = Facts { opened: now, entered: now, active: now, stalled: Some(now) };
                let (due, expiry) = deadline(phase, facts, &limits).expect("a deadline");
                assert!(due > now, "{phase:?} expires at once");
                phase = phase.after(Signal::Expired(expiry)).expect("its own deadline can run out");
                now = due;
            }
        }
    }

    #[test]
    fn only_three_phases_may_lack_a_deadline() {
        let now = Tick::test(9);
        for phase in PHASES {
            let facts = Facts { opened: now, entered: now, active: now, stalled: None };
            let none = deadline(phase, facts, &Limits::default()).is_none();
            assert_eq!(none, matches!(phase, Phase::Open | Phase::HalfOpen | Phase::WriteClosed), "{phase:?}");
        }
    }

    #[test]
    fn waiting_output_always_has_a_deadline() {
        let now = Tick::test(9);
        for phase in [Phase::Open, Phase::HalfOpen, Phase::Finishing, Phase::Flushing(R)] {
            let facts = Facts { opened: now, entered: now, active: now, stalled: Some(now) };
            let due = deadline(phase, facts, &Limits::default());
            assert_eq!(due, Some((now.after(Duration::from_secs(30)), Expiry::WriteStall)), "{phase:?}");
        }
    }

    #[test]
    fn the_linger_ends_two_seconds_after_the_last_byte_and_thirty_in_all() {
        let second = |n: u64| Tick::test(n * 1_000_000_000);
        for (active, due) in [(0, 12), (15, 17), (39, 40), (60, 40)] {
            let facts = Facts { opened: second(0), entered: second(10), active: second(active), stalled: None };
            let got = deadline(Phase::Lingering(R), facts, &Limits::default());
            assert_eq!(got, Some((second(due), Expiry::Linger)));
        }
    }

    #[test]
    fn the_first_extraordinary_reason_stays() {
        let lingering = Phase::Lingering(Reason::HandlerPanicked);
        let expired = Signal::Expired(Expiry::Linger);
        assert_eq!(lingering.after(expired), Some(Phase::Closed(Reason::HandlerPanicked)));
        let ordinary = Phase::Lingering(Reason::Local);
        assert_eq!(ordinary.after(expired), Some(Phase::Closed(Reason::Timeout(Expiry::Linger))));
        assert_eq!(ordinary.after(Signal::Failed(Reason::Reset)), Some(Phase::Closed(Reason::Reset)));
        let half = Phase::HalfOpen.after(Signal::Close(Reason::Local));
        assert_eq!(half, Some(Phase::Flushing(Reason::PeerClosed)));
    }
}
