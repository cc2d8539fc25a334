//! Lists of operations against plain models.
//!
//! Owns what a list of bytes means to each of the pure parts, and how the part and its model must agree. Each function
//! takes any bytes and panics at the first difference. Fuzzers call them (`fuzz/`), and `cargo test` does, with the bytes of
//! a small generator; nothing else is built with them.

use crate::address::{Address, Transport};
use crate::clock::Tick;
use crate::config::Limits;
use crate::error::{Expiry, Reason};
use crate::id::SourceId;
use crate::link::buffers::Pool;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use crate::link::buffers::{KEPT_BYTES_MAX, Scratch, Sealed};
use crate::link::inbox::Inbox;
use crate::link::outbox::Outbox;
use crate::link::phase::{Facts, Phase, Signal, deadline};
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use crate::link::quota::Quota;
use crate::link::session::{Session, Template};
use crate::reactor::table::Table;
use crate::reactor::timers::Timers;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::io::IoSlice;
use std::mem::discriminant;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use std::sync::Arc;
use std::time::Duration;

/// More than this is not queued: a list of operations shall not become a test of memory.
const BYTES_MAX: usize = 1 << 19;

/// Bytes as they are used up. What is behind the end is zero.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// Mostly small numbers, some around a page, a few that are larger than the largest chunk.
    fn size(&mut self) -> usize {
        match self.byte() {
            kind @ 0..200 => usize::from(kind),
            200..230 => 3_900 + self.number() % 400,
            230..245 => self.number(),
            _ => self.number() * 4,
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()]
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Bytes of which each run differs from its neighbours, so that one in the wrong place shows.
#[derive(Default)]
struct Content(u32);

impl Content {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + size_of::<u32>());
        while bytes.len() < count {
            self.0 = self.0.wrapping_add(0x9e37_79b9);
            bytes.extend_from_slice(&self.0.to_ne_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

fn starts_with(model: &VecDeque<u8>, shown: &[u8]) -> bool {
    let (front, back) = model.as_slices();
    let here = front.len().min(shown.len());
    front[..here] == shown[..here] && back.starts_with(&shown[here..])
}

// --- link -------------------------------------------------------------------------------------------------------------

/// Two outboxes that share a pool are two queues of bytes.
pub fn outbox(data: &[u8]) {
    let (mut input, mut content, mut pool) = (Input(data), Content::default(), Pool::default());
    let mut pairs: [(Outbox, VecDeque<u8>, Option<Tick>); 2] = Default::default();
    let mut millis = 0;
    while let Some(op) = input.next() {
        let (outbox, model, moved) = &mut pairs[usize::from(op >> 7)];
        millis += u64::from(op);
        let now = Tick::test(millis);
        match op % 8 {
            kind @ 0..=4 => {
                let bytes = content.take(input.size());
                if model.len() + bytes.len() > BYTES_MAX {
                    continue;
                }
                if !bytes.is_empty() {
                    moved.get_or_insert(now);
                }
                model.extend(&bytes);
                if kind < 3 {
                    outbox.push(&bytes, now, &mut pool);
                } else {
                    outbox.push_shared(bytes.into(), now, &mut pool);
                }
            }
            5 | 6 => {
                let count = (input.size() * 2).min(model.len());
                outbox.advance(count, now, &mut pool);
                model.drain(..count);
                if count > 0 {
                    *moved = Some(now);
                }
            }
            _ => {
                assert_eq!(outbox.clear(&mut pool), model.len() as u64);
                model.clear();
            }
        }
        if model.is_empty() {
            *moved = None;
        }
        assert_eq!((outbox.len(), outbox.is_empty()), (model.len(), model.is_empty()));
        assert_eq!(outbox.stalled(), *moved);
        assert_shown(outbox, model);
    }
}

fn assert_shown(outbox: &Outbox, model: &VecDeque<u8>) {
    let mut slices = [IoSlice::new(&[]); Outbox::SLICES_MAX];
    let filled = outbox.slices(&mut slices);
    let mut shown = Vec::with_capacity(model.len());
    slices[..filled].iter().for_each(|slice| shown.extend_from_slice(slice));
    assert!(starts_with(model, &shown), "other bytes than were queued");
    assert!(slices[..filled].iter().all(|slice| !slice.is_empty()), "outbox 3");
    assert!(filled == Outbox::SLICES_MAX || shown.len() == model.len(), "not all is shown");
}

/// Two inboxes that share a pool are two queues of bytes, each in one piece.
pub fn inbox(data: &[u8]) {
    let (mut input, mut content, mut pool) = (Input(data), Content::default(), Pool::default());
    let mut pairs: [(Inbox, VecDeque<u8>); 2] = Default::default();
    while let Some(op) = input.next() {
        let (inbox, model) = &mut pairs[usize::from(op >> 7)];
        match op % 8 {
            0..=3 => {
                let bytes = content.take(input.size());
                if model.len() + bytes.len() > BYTES_MAX {
                    continue;
                }
                inbox.push(&bytes, &mut pool);
                model.extend(bytes);
            }
            4..=6 => {
                let used = input.size().min(model.len());
                let lent = inbox.take();
                assert_eq!((lent.is_none(), inbox.len()), (model.is_empty(), 0));
                if let Some(rest) = lent {
                    assert!(rest.bytes().len() == model.len() && starts_with(model, rest.bytes()));
                    inbox.put_back(rest, used, &mut pool);
                    model.drain(..used);
                }
            }
            _ => {
                inbox.clear(&mut pool);
                model.clear();
            }
        }
        assert_eq!((inbox.len(), inbox.is_empty()), (model.len(), model.is_empty()));
        assert!(inbox.bytes().len() == model.len() && starts_with(model, inbox.bytes()));
    }
}

const CLOSE_REASONS: [Reason; 5] =
    [Reason::Local, Reason::Drain, Reason::HandlerPanicked, Reason::InboxLimit, Reason::ReactorDropped];
const FAIL_REASONS: [Reason; 4] = [Reason::Reset, Reason::Unresponsive, Reason::Os(5), Reason::Bug];
const EXPIRIES: [Expiry; 7] = [
    Expiry::Connect,
    Expiry::Handshake,
    Expiry::Idle,
    Expiry::WriteStall,
    Expiry::Lifetime,
    Expiry::Linger,
    Expiry::Drain,
];

/// A life goes forward only, keeps its gravest reason, and ends by its own deadlines.
pub fn phase(data: &[u8]) {
    let mut input = Input(data);
    let mut phase = input.pick(&[Phase::Connecting, Phase::Handshaking, Phase::Open]);
    let seconds = |n: u8| (n > 64).then(|| Duration::from_secs(n.into()));
    let (idle_timeout, lifetime) = (seconds(input.byte()), seconds(input.byte()));
    let limits = Limits { idle_timeout, lifetime, ..Limits::default() };
    let start = Tick::test(0);
    let mut facts = Facts { opened: start, entered: start, active: start, stalled: None };
    let mut now = start;
    while let Some(op) = input.next() {
        now = now.after(Duration::from_millis(input.byte().into()));
        let signal = match op % 17 {
            0 => Signal::Connected,
            1 => Signal::Secured,
            2 => Signal::PeerEnded,
            3 => Signal::Finish,
            4 => Signal::Close(input.pick(&CLOSE_REASONS)),
            5 => Signal::Flushed,
            6 => Signal::Failed(input.pick(&FAIL_REASONS)),
            7 => Signal::Abort,
            8 => Signal::Expired(input.pick(&EXPIRIES)),
            16 => Signal::Broken(input.pick(&FAIL_REASONS)),
            9 | 10 => {
                facts.active = now;
                continue;
            }
            11 | 12 => {
                facts.stalled = (op % 17 == 11).then_some(now);
                continue;
            }
            _ => match deadline(phase, facts, &limits) {
                Some((due, expiry)) => {
                    now = now.max(due);
                    assert!(phase.after(Signal::Expired(expiry)).is_some(), "{phase:?}: {expiry:?} cannot run out");
                    Signal::Expired(expiry)
                }
                None => continue,
            },
        };
        let Some(next) = phase.after(signal) else { continue };
        assert_step(phase, signal, next);
        if next != phase {
            facts.entered = now;
        }
        phase = next;
        assert_deadline(phase, facts, &limits);
    }
    assert_ends(phase, facts, &limits);
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Connecting => 0,
        Phase::Handshaking => 1,
        Phase::Open => 2,
        Phase::HalfOpen | Phase::Finishing => 3,
        Phase::WriteClosed | Phase::Flushing(_) => 4,
        Phase::Lingering(_) => 5,
        Phase::Closed(_) => 6,
    }
}

fn reason(phase: Phase) -> Option<Reason> {
    match phase {
        Phase::Flushing(reason) | Phase::Lingering(reason) | Phase::Closed(reason) => Some(reason),
        Phase::Connecting | Phase::Handshaking | Phase::Open => None,
        Phase::HalfOpen | Phase::Finishing | Phase::WriteClosed => None,
    }
}

fn assert_step(phase: Phase, signal: Signal, next: Phase) {
    let step = format!("{phase:?} + {signal:?} = {next:?}");
    assert!(rank(next) > rank(phase) || discriminant(&next) == discriminant(&phase), "{step} goes back");
    if rank(phase) >= rank(Phase::Open) {
        assert!(phase.takes_output() || !next.takes_output(), "{step} takes output again");
        assert!(phase.delivers_input() || !next.delivers_input(), "{step} delivers again");
    }
    assert!(!(next.delivers_input() && next.discards_input()), "{step}");
    assert!(next.is_open() || !(next.takes_output() || next.delivers_input()), "{step}");
    match (phase, reason(phase), reason(next)) {
        (Phase::Closed(first), _, later) => assert_eq!(later, Some(first), "{step}"),
        (_, Some(first), Some(later)) if first != later => {
            assert!(signal == Signal::Abort || (first.is_ordinary() && !later.is_ordinary()), "{step} hides {first:?}");
        }
        (_, Some(_), later) => assert!(later.is_some(), "{step} forgets why"),
        (_, None, _) => {}
    }
}

fn assert_deadline(phase: Phase, facts: Facts, limits: &Limits) {
    let due = deadline(phase, facts, limits);
    let may_lack = matches!(phase, Phase::Open | Phase::HalfOpen | Phase::WriteClosed) && limits.idle_timeout.is_none();
    assert!(due.is_some() || may_lack, "A6: {phase:?} has no deadline");
    if let (Some(stalled), true) = (facts.stalled, phase.takes_output() || matches!(phase, Phase::Finishing)) {
        let stall = stalled.after(limits.write_stall_timeout);
        assert!(due.is_some_and(|(due, _)| due <= stall), "{phase:?}: waiting output has no deadline");
    }
}

fn assert_ends(mut phase: Phase, facts: Facts, limits: &Limits) {
    for _ in 0..5 {
        phase = match deadline(phase, facts, limits) {
            _ if matches!(phase, Phase::Closed(_)) => return,
            Some((_, expiry)) => phase.after(Signal::Expired(expiry)).expect("its own deadline can run out"),
            None => phase.after(Signal::Close(Reason::Local)).expect("whatever is open can be closed"),
        };
    }
    panic!("{phase:?} does not end");
}

// --- reactor ----------------------------------------------------------------------------------------------------------

/// A table of places, of which no id comes back, and the queue of those that want to be driven again.
pub fn table(data: &[u8]) {
    let (mut input, mut table) = (Input(data), Table::new(1));
    let (mut live, mut again) = (BTreeMap::<u32, SourceId>::new(), Vec::<SourceId>::new());
    let (mut stale, mut seen, mut queued) = (Vec::<SourceId>::new(), HashSet::new(), HashSet::new());
    while let Some(op) = input.next() {
        let count = if op < 240 { 1 } else { input.number() % 2_000 };
        let at = input.number();
        for n in 0..count {
            let last = live.values().next_back().copied();
            let near = last.map_or(0, |last| (at + n * 7) as u32 % (last.slot + 1));
            let picked = live.range(near..).next().map(|(_, id)| *id);
            match (op % 8, picked) {
                (0..=2, _) | (3..=5, None) => {
                    let id = table.reserve().expect("room");
                    assert!(seen.insert(id), "table 1: {id} came back");
                    assert_eq!(live.insert(id.slot, id), None, "{id} is taken");
                }
                (3 | 4, Some(id)) => {
                    // Sometimes from the end, so that there is something to give back.
                    let id = last.filter(|_| at % 2 == 0).unwrap_or(id);
                    let kept = table.remove(id);
                    live.remove(&id.slot);
                    stale.push(id);
                    let slots = live.keys().next_back().map_or(0, |last| *last as usize + 1);
                    assert!(kept.is_none_or(|kept| kept == slots), "{kept:?} slots are kept and {slots} used");
                }
                (5, Some(id)) => {
                    table.wake(id);
                    if queued.insert(id) {
                        again.push(id);
                    }
                }
                (6, _) => {
                    let mut queue = Vec::new();
                    table.take_again(&mut queue);
                    assert_eq!(queue, std::mem::take(&mut again), "table 2");
                    queued.clear();
                }
                _ => stale.iter().rev().take(4).for_each(|id| assert_stale(&mut table, *id)),
            }
        }
        assert_eq!((table.len(), table.wants_again()), (live.len(), !again.is_empty()));
        assert!(table.ids().iter().eq(live.values()));
        if let Some((slot, id)) = live.iter().next_back() {
            assert_eq!((table.id_at(*slot), table.is_reserved(*id)), (Some(*id), true));
        }
    }
}

fn assert_stale(table: &mut Table, id: SourceId) {
    table.wake(id);
    let mut taken = None;
    table.take(id, &mut taken);
    assert!(taken.is_none() && table.get(id).is_none() && !table.is_reserved(id), "A4: {id} is found");
    assert_eq!(table.remove(id), None, "A4: {id} is removed twice");
    assert_ne!(table.id_at(id.slot), Some(id));
}

/// One deadline for each slot: the soonest, but for its rounding.
pub fn timers(data: &[u8]) {
    let rounded = |due: Tick, now| Timers::as_kept(due.rounded(now));
    let (mut input, mut timers, mut model) = (Input(data), Timers::default(), BTreeMap::<u32, (Tick, Tick)>::new());
    let mut now = Tick::test(0);
    while let Some(op) = input.next() {
        match op % 8 {
            0..=4 => {
                let wait = Duration::from_micros(input.number() as u64) * (1 << (op >> 4));
                let slot = u32::from(input.byte()) * if op % 8 == 4 { 97 } else { 1 };
                let asked = if op == 4 { Tick::NEVER } else { now.after(wait) };
                timers.arm(slot, asked, now);
                let (soonest, latest) = model.entry(slot).or_insert((asked, rounded(asked, now)));
                if asked < *latest {
                    *latest = rounded(asked, now).min(*latest);
                }
                *soonest = asked.min(*soonest);
            }
            5 | 6 => {
                now = now.after(Duration::from_micros(input.number() as u64) * (1 << (op >> 5)));
                let mut last = None;
                while let Some(slot) = timers.pop(now) {
                    let (soonest, latest) = model.remove(&slot).expect("only what was armed fires, and once");
                    assert!((soonest <= latest || soonest == Tick::NEVER) && latest <= now, "slot {slot} is early");
                    assert!(last <= Some(latest), "slot {slot} is out of order");
                    last = Some(latest);
                }
                assert!(model.values().all(|(_, latest)| *latest > now), "something is late");
            }
            _ => {
                let slots = input.number();
                timers.truncate(slots);
                model.retain(|slot, _| (*slot as usize) < slots);
            }
        }
        assert_eq!(timers.next(), model.values().map(|(_, latest)| *latest).min());
    }
}

// --- address ----------------------------------------------------------------------------------------------------------

const PIECES: [&str; 40] = [
    "tcp",
    "tls",
    "udp",
    "unix",
    "unixgram",
    "tls+unix",
    "4",
    "6",
    ":",
    "://",
    "//",
    "/",
    "@",
    "[",
    "]",
    "%",
    "::1",
    "fe80::1",
    "::ffff:1.2.3.4",
    "127.0.0.1",
    "0",
    "1",
    "80",
    "65535",
    "65536",
    "-1",
    "+",
    ".",
    "./",
    "..",
    "-",
    "_",
    "a",
    "0x",
    "example.org",
    "http",
    "é",
    "\n",
    "\0",
    "\u{7f}",
];

/// Text that parses comes back from what it is shown as; nothing shown can break a line.
pub fn address(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => assert_text(&String::from_utf8_lossy(input.rest())),
        1 | 2 => {
            let pieces = input.rest().iter().map(|byte| PIECES[usize::from(*byte) % PIECES.len()]);
            assert_text(&pieces.collect::<String>());
        }
        _ => assert_constructed(&mut input),
    }
}

fn assert_text(text: &str) {
    match text.parse::<Address>() {
        Ok(address) => assert_parsed(&address, text),
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains(char::is_control), "{text:?} breaks a line in {told:?}");
        }
    }
}

fn assert_parsed(address: &Address, text: &str) {
    let shown = address.to_string();
    assert!(!shown.contains(char::is_control), "{text:?} breaks a line in {shown:?}");
    let again = shown.parse::<Address>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(*address, again, "{text:?} is shown as {shown:?}");
    assert_eq!(again.to_string(), shown, "{text:?}");
    let is_unix = address.path().is_some() || address.abstract_name().is_some();
    assert_eq!(address.transport().is_unix(), is_unix, "address 1: {text:?}");
    if let Some(ip) = address.ip() {
        assert_eq!(address.resolve().expect("an IP address needs no resolver"), [ip], "{text:?}");
    }
    let all =
        [Transport::Tcp, Transport::Tls, Transport::Udp, Transport::Unix, Transport::TlsUnix, Transport::Unixgram];
    for transport in all {
        let moved = address.clone().with_transport(transport);
        assert_eq!(moved.is_ok(), transport.is_unix() == is_unix, "{text:?}");
        let back = moved.ok().and_then(|moved| moved.with_transport(address.transport()).ok());
        assert!(back.is_none_or(|back| back == *address), "{text:?}");
    }
}

fn assert_constructed(input: &mut Input<'_>) {
    let kind = input.byte();
    if kind < 64 {
        let (port, scope) = (input.number() as u16, input.number() as u32);
        let mut octets = [0; 16];
        octets.iter_mut().for_each(|octet| *octet = input.byte());
        let [a, b, c, d, ..] = octets;
        let ip = match kind % 2 {
            0 => SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port),
            _ => SocketAddrV6::new(octets.into(), port, 0, scope).into(),
        };
        let made = [Address::tcp, Address::tls, Address::udp][usize::from(kind) % 3](ip);
        assert_eq!(made.ip(), Some(ip));
        assert_parsed(&made, &made.to_string());
        return;
    }
    let bytes = input.rest();
    let path = OsStr::from_bytes(bytes);
    let made = match kind % 4 {
        0 => Address::unix(path),
        1 => Address::unixgram(path),
        2 => Address::unix_abstract(bytes),
        _ => Address::unixgram_abstract(bytes),
    };
    let shown = made.as_ref().map_or_else(ToString::to_string, ToString::to_string);
    assert!(!shown.contains(char::is_control), "{bytes:?} breaks a line in {shown:?}");
    let is_text = std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(char::is_control));
    match made {
        // A path that begins with an `@` is the exception: it is shown with a `./` before it.
        Ok(address) if is_text && (kind % 4 >= 2 || bytes[0] != b'@') => assert_parsed(&address, &shown),
        Ok(_) | Err(_) => {}
    }
}

// --- sessions ---------------------------------------------------------------------------------------------------------

/// A session that is shown any bytes, or a hello that was tampered with, opens nothing, keeps little and does not panic.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
pub fn session(data: &[u8]) {
    let mut input = Input(data);
    let mut hello = Sealed::default();
    let mut client = secured_client();
    let mut quota = Quota::ALL;
    assert_eq!(client.open(&mut [], 0, &mut quota, &mut Vec::new(), &mut hello).consumed, 0);
    let mut wire = match input.byte() % 3 {
        0 => Vec::new(),
        _ => hello.bytes().to_vec(),
    };
    for _ in 0..input.byte() % 4 {
        let (at, mask) = (input.number(), input.byte());
        if let Some(byte) = wire.get_mut(at) {
            *byte ^= mask;
        }
    }
    wire.truncate(input.number().max(1));
    let mut side = if input.byte() % 4 == 0 { client } else { secured_server() };
    let cut = 1 + input.number() % 2_000;
    wire.extend_from_slice(input.rest());
    let (mut scratch, mut sealed, mut kept, mut seen) = (Scratch::new(), Sealed::default(), Vec::new(), 0);
    for piece in wire.chunks(cut) {
        scratch.bytes()[..piece.len()].copy_from_slice(piece);
        let (bytes, plain) = scratch.wire(&kept, piece.len());
        let opened = side.open(bytes, seen, &mut quota, plain, &mut sealed);
        assert!(plain.is_empty() && opened.consumed + opened.seen <= bytes.len());
        seen = opened.seen;
        kept = bytes[opened.consumed..].to_vec();
        bytes.fill(0xa5);
        assert!(!side.is_secured());
        if opened.fault.is_some() || kept.len() >= KEPT_BYTES_MAX {
            break;
        }
    }
    let said = sealed.len();
    side.seal(b"not before the handshake's end", &mut kept[..seen], &mut sealed).expect("nothing to be said");
    side.close(&mut kept[..seen], &mut sealed);
    assert_eq!(sealed.len(), said, "something was said before the handshake's end");
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn secured_server() -> Session {
    use crate::tls::{ServerTls, provider};
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::server::ResolvesServerCertUsingSni::new()));
    Template::new(&ServerTls::from(Arc::new(config))).session()
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn secured_client() -> Session {
    use crate::tls::{ClientTls, provider};
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let tls = ClientTls::from(Arc::new(config)).for_server("localhost").expect("a name");
    Session::client(&tls, None).expect("a name is given")
}

#[cfg(test)]
mod tests {
    /// Tells which input it was if the target panics.
    struct Told<'a>(u64, &'a [u8]);

    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("input {}: {:02x?}", self.0, self.1);
            }
        }
    }

    fn smoke(target: fn(&[u8]), inputs: u64, bytes_max: u64) {
        for seed in 1..=inputs {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut next = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state >> 16
            };
            let data: Vec<u8> = (0..next() % bytes_max).map(|_| next() as u8).collect();
            let told = Told(seed, &data);
            target(told.1);
        }
    }

    #[test]
    fn an_outbox_is_a_queue_of_bytes() {
        smoke(super::outbox, 100, 150);
    }

    #[test]
    fn an_inbox_is_a_queue_of_bytes_in_one_piece() {
        smoke(super::inbox, 100, 150);
    }

    #[test]
    fn a_phase_goes_forward_and_ends() {
        smoke(super::phase, 20_000, 64);
    }

    #[test]
    fn no_id_comes_back_and_no_stale_one_finds_anything() {
        smoke(super::table, 30, 200);
    }

    #[test]
    fn a_timer_fires_for_the_soonest_deadline_of_its_slot() {
        smoke(super::timers, 1_000, 500);
    }

    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    #[test]
    fn no_bytes_open_anything_before_the_handshake_is_done() {
        smoke(super::session, 300, 700);
    }

    #[test]
    fn an_address_comes_back_from_its_shown_form() {
        smoke(super::address, 40_000, 24);
    }
}
