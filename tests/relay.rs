//! Two connections that are coupled: bytes, ends, failures and silence go through, over every mix of transports.

#[path = "relay/bulk.rs"]
mod bulk;
mod support;

use proptest::prelude::*;
use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};
use support::{Hooks, Kind, Peer, Said, Sink, World, at_once};
use windlass::{Conn, ConnId, ConnectConfig, Error, Expiry, Handler, Limits, ListenConfig, Reason, Status};

/// Bytes of a flow that must not wait in the reactor when its reader stands still: one read, and a TLS record.
const HELD_MAX: usize = 32 * 1024 + 20 * 1024;

/// Two peers, and between them two connections that are coupled; the left one's handler has number 0.
struct Coupled {
    world: World,
    left: Peer,
    right: Peer,
}

/// Every kind beside every kind.
fn pairs() -> Vec<(Kind, Kind)> {
    Kind::ALL.iter().flat_map(|left| Kind::ALL.iter().map(|right| (*left, *right))).collect()
}

fn each_pair(scenario: impl Fn((Kind, Kind)) + Sync) {
    at_once(&pairs(), scenario);
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A listener whose connections have small buffers to send from.
fn config(limits: Limits) -> ListenConfig {
    let mut config = ListenConfig { limits, ..ListenConfig::default() };
    config.socket.send_buffer_bytes = Some(16 * 1024);
    config
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(31) ^ (n >> 8) ^ seed) as u8).collect()
}

/// Connects a peer to a new listener, whose connection is open then.
fn join<H: Handler>(world: &mut World, kind: Kind, limits: Limits, make: impl FnMut(&Conn<'_>) -> H + 'static) -> Peer {
    join_on(world, kind, config(limits), make)
}

fn join_on<H: Handler>(
    world: &mut World,
    kind: Kind,
    config: ListenConfig,
    make: impl FnMut(&Conn<'_>) -> H + 'static,
) -> Peer {
    let open = world.log.open();
    let address = world.listen(kind, config, make);
    let peer = world.dial(&address);
    world.until_open(open + 1);
    peer
}

impl Coupled {
    fn new((left, right): (Kind, Kind)) -> Coupled {
        Coupled::with((left, right), Limits::default())
    }

    fn with(kinds: (Kind, Kind), limits: Limits) -> Coupled {
        Coupled::on(kinds, &config(limits))
    }

    fn on(kinds: (Kind, Kind), config: &ListenConfig) -> Coupled {
        let mut world = World::new();
        let (left, right) = Coupled::within(&mut world, kinds, config);
        Coupled { world, left, right }
    }

    /// Two more peers, beside what is there.
    fn within(world: &mut World, (left, right): (Kind, Kind), config: &ListenConfig) -> (Peer, Peer) {
        let first = world.log.open();
        let left = join_on(world, left, config.clone(), |_: &Conn<'_>| Sink);
        let right = join_on(world, right, config.clone(), |_: &Conn<'_>| Sink);
        let (one, other) = (world.log.id(first), world.log.id(first + 1));
        world.reactor().context().relay(one, other).expect("two open connections");
        (left, right)
    }

    fn id(&self, serial: usize) -> ConnId {
        self.world.log.id(serial)
    }

    /// Both are over, for these reasons, and the handlers were told nothing else.
    fn expect_over(mut self, left: Reason, right: Reason) {
        self.world.until_empty();
        assert_eq!(self.world.log.said(0), [Said::Open, Said::Close(left)]);
        assert_eq!(self.world.log.said(1), [Said::Open, Said::Close(right)]);
        assert_eq!(self.world.reactor().queued_bytes(), 0);
    }
}

/// The peer may have got some, and never an end in order where there is another.
fn expect_cut(kind: Kind, world: &mut World, peer: &mut Peer) {
    match peer.read_to_end_while(world) {
        Ok(got) => assert_eq!(kind, Kind::Unix, "an end in order behind {} bytes", got.len()),
        Err(error) if kind.is_unix() => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "no close_notify"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
}

#[test]
fn one_that_hears_of_its_peers_end_while_paused_can_be_coupled_then() {
    each_pair(|(left, right)| {
        let mut world = World::new();
        let address = world.listen(right, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut reader = world.dial(&address);
        world.until_open(1);
        let other = world.log.id(0);
        let address = world.listen(left, ListenConfig::default(), move |_: &Conn<'_>| {
            let paused = Hooks::new().open(|conn| conn.pause());
            paused.hangup(move |conn| conn.relay(other).expect("two open connections"))
        });
        let mut writer = world.dial(&address);
        world.until_open(2);
        writer.send_all_while(&mut world, b"through");
        writer.finish();
        assert_eq!(reader.read_exact_while(&mut world, 7), b"through");
        reader.finish();
        assert_eq!(world.until_empty(), [Reason::PeerClosed; 2]);
    });
}

#[test]
fn bytes_go_both_ways_at_once_and_each_end_is_passed_on_behind_them() {
    each_pair(|kinds| {
        let Coupled { mut world, mut left, mut right } = Coupled::new(kinds);
        let (to_right, to_left) = (pattern(1, 1_500_000), pattern(2, 1_200_000));
        let (mut at_right, mut at_left) = (Vec::new(), Vec::new());
        let (mut sent_right, mut sent_left) = (0, 0);
        let mut buffer = vec![0; 10_000];
        world.until("all bytes to arrive", |_| {
            sent_right += left.write_some(&to_right[sent_right..]).expect("a write");
            sent_left += right.write_some(&to_left[sent_left..]).expect("a write");
            // Slowly: one small read a turn of one, two of the other.
            for (peer, into) in [(&mut left, &mut at_left), (&mut right, &mut at_right)] {
                for _ in 0..4 {
                    if let Some(read) = peer.try_read(&mut buffer) {
                        into.extend_from_slice(&buffer[..read.expect("a read")]);
                    }
                }
            }
            at_right.len() == to_right.len() && at_left.len() == to_left.len()
        });
        assert!(at_right == to_right && at_left == to_left, "the bytes are others");
        left.send_all_while(&mut world, b"last of the left");
        left.finish();
        assert_eq!(right.read_to_end_while(&mut world).expect("an end in order"), b"last of the left");
        // The other direction goes on.
        right.send_all_while(&mut world, b"still here");
        assert_eq!(left.read_exact_while(&mut world, 10), b"still here");
        assert_eq!(world.reactor().connections(), 2);
        right.finish();
        assert_eq!(left.read_to_end_while(&mut world).expect("an end in order"), b"");
        Coupled { world, left, right }.expect_over(Reason::PeerClosed, Reason::PeerClosed);
    });
}

/// What the callback that couples leaves, what the other one had left, and an end that came before the call.
#[test]
fn what_was_read_before_goes_first_and_in_order() {
    each_pair(|(left_kind, right_kind)| {
        let mut world = World::new();
        let mut left = join(&mut world, left_kind, Limits::default(), |_: &Conn<'_>| {
            let hooks = Hooks::new().data(|conn, _| {
                conn.pause();
                0
            });
            hooks.end(|_, _| panic!("it goes to the other side"))
        });
        left.send_all_while(&mut world, b"left ");
        world.until("it to be shown", |world| world.log.shown(0) > 0);
        left.send_all_while(&mut world, b"behind");
        left.finish();
        let other = world.log.id(0);
        let mut right = join(&mut world, right_kind, Limits::default(), move |_: &Conn<'_>| {
            Hooks::new().data(move |conn, data| {
                conn.write(b"coupled: ").expect("room");
                conn.other(other).expect("the left one").write(b"from the right: ").expect("room");
                conn.relay(other).expect("two open connections");
                assert!(matches!(conn.relay(other), Err(Error::NotOpen)), "only once");
                conn.detach(|_, _| panic!("it stays"));
                data.len().min(3)
            })
        });
        right.send_all_while(&mut world, b"abcdef");
        assert_eq!(right.read_to_end_while(&mut world).expect("an end in order"), b"coupled: left behind");
        assert_eq!(left.read_exact_while(&mut world, 19), b"from the right: def");
        right.send_all_while(&mut world, b"ghi");
        right.finish();
        assert_eq!(left.read_to_end_while(&mut world).expect("an end in order"), b"ghi");
        assert_eq!(world.until_empty(), [Reason::PeerClosed; 2]);
    });
}

#[test]
fn an_end_that_the_handler_was_told_of_before_is_passed_on_with_its_rest() {
    each_pair(|(left_kind, right_kind)| {
        let mut world = World::new();
        let mut right = join(&mut world, right_kind, Limits::default(), |_: &Conn<'_>| Sink);
        let other = world.log.id(0);
        let mut left = join(&mut world, left_kind, Limits::default(), move |_: &Conn<'_>| {
            let hooks = Hooks::new().data(|_, _| 0);
            hooks.end(move |conn, rest| {
                assert_eq!(rest, b"the rest");
                conn.relay(other).expect("two open connections");
            })
        });
        left.send_all_while(&mut world, b"the rest");
        left.finish();
        assert_eq!(right.read_to_end_while(&mut world).expect("an end in order"), b"the rest");
        right.send_all_while(&mut world, b"an answer");
        right.finish();
        assert_eq!(left.read_to_end_while(&mut world).expect("an end in order"), b"an answer");
        assert_eq!(world.until_empty(), [Reason::PeerClosed; 2]);
    });
}

#[test]
fn a_reset_of_either_peer_resets_the_other_one() {
    each_pair(|(left_kind, right_kind)| {
        if left_kind.is_unix() {
            return; // it has no reset of its own
        }
        for from_left in [true, false] {
            let (kinds, serial) = if from_left { ((left_kind, right_kind), 0) } else { ((right_kind, left_kind), 1) };
            let Coupled { mut world, left, right } = Coupled::new(kinds);
            let (mut resets, mut stays) = if from_left { (left, right) } else { (right, left) };
            resets.send_all_while(&mut world, b"x");
            assert_eq!(stays.read_exact_while(&mut world, 1), b"x");
            resets.reset();
            expect_cut(right_kind, &mut world, &mut stays);
            world.until_empty();
            assert_eq!(world.log.said(serial), [Said::Open, Said::Close(Reason::Reset)]);
            assert_eq!(world.log.said(1 - serial), [Said::Open, Said::Close(Reason::Aborted)]);
        }
    });
}

#[test]
fn an_abort_from_outside_resets_both_peers() {
    each_pair(|kinds| {
        let mut coupled = Coupled::new(kinds);
        let id = coupled.id(1);
        coupled.world.reactor().context().other(id).expect("the right one").abort();
        expect_cut(kinds.0, &mut coupled.world, &mut coupled.left);
        expect_cut(kinds.1, &mut coupled.world, &mut coupled.right);
        coupled.expect_over(Reason::Aborted, Reason::Aborted);
    });
}

#[test]
fn a_tls_stream_that_is_cut_is_no_end_in_order_for_the_other_side() {
    each_pair(|kinds| {
        if !kinds.0.is_tls() {
            return;
        }
        let mut coupled = Coupled::new(kinds);
        coupled.left.send_all_while(&mut coupled.world, b"half of it");
        assert_eq!(coupled.right.read_exact_while(&mut coupled.world, 10), b"half of it");
        coupled.left.0.shutdown(std::net::Shutdown::Write).expect("a FIN without close_notify");
        expect_cut(kinds.1, &mut coupled.world, &mut coupled.right);
        coupled.expect_over(Reason::Truncated, Reason::Aborted);
    });
}

#[test]
fn a_close_from_outside_sends_what_waits_and_ends_both_in_order() {
    each_pair(|kinds| {
        for serial in [0, 1] {
            let mut coupled = Coupled::new(kinds);
            coupled.left.send_all_while(&mut coupled.world, &[7; 30_000]);
            let world = &mut coupled.world;
            world.until("it to be read", |world| world.reactor().snapshot().bytes_in >= 30_000);
            let id = coupled.id(serial);
            coupled.world.reactor().remote().close(id).expect("a mailbox");
            let got = coupled.right.read_to_end_while(&mut coupled.world).expect("an end in order");
            assert_eq!(got.len(), 30_000);
            assert_eq!(coupled.left.read_to_end_while(&mut coupled.world).expect("an end in order"), b"");
            coupled.left.finish();
            coupled.right.finish();
            coupled.expect_over(Reason::Local, Reason::Local);
        }
    });
}

#[test]
fn a_flow_whose_reader_stands_still_holds_little_and_goes_on_when_it_reads() {
    each_pair(|kinds| {
        let Coupled { mut world, mut left, mut right } = Coupled::new(kinds);
        let bytes = pattern(3, 64 * 1024);
        let (mut sent, mut still) = (0, 0);
        world.until("the left one to be blocked", |_| {
            let taken = left.write_some(&bytes[sent % bytes.len()..]).expect("a write");
            sent += taken;
            still = if taken == 0 { still + 1 } else { 0 };
            still > 20
        });
        let (one, other) = (world.log.id(0), world.log.id(1));
        let mut cx = world.reactor().context();
        let source = cx.other(one).expect("the left one").stats();
        let target = cx.other(other).expect("the right one").stats();
        assert_eq!(source.unread_bytes, 0, "it is not read before there is room");
        assert!(target.unsent_bytes > 0, "the kernel took all: the test proves nothing");
        assert!(target.unsent_bytes <= HELD_MAX, "{} bytes wait", target.unsent_bytes);
        let held = world.reactor().queued_bytes();
        assert!(held <= 2 * HELD_MAX, "{held} bytes are held");
        // And costs nothing while it stands still.
        let before = world.reactor().snapshot().drives;
        world.turns(50);
        assert!(world.reactor().snapshot().drives - before < 10, "it spins");
        // The other direction is not held up by it.
        right.send_all_while(&mut world, b"hello");
        assert_eq!(left.read_exact_while(&mut world, 5), b"hello");
        let got = right.read_exact_while(&mut world, sent);
        assert!(got.chunks(bytes.len()).all(|chunk| *chunk == bytes[..chunk.len()]), "the bytes are others");
        left.finish();
        assert_eq!(right.read_to_end_while(&mut world).expect("an end in order"), b"");
        right.finish();
        Coupled { world, left, right }.expect_over(Reason::PeerClosed, Reason::PeerClosed);
    });
}

#[test]
fn a_reset_is_noticed_while_the_flow_stands_still() {
    each_pair(|kinds| {
        if kinds.0.is_unix() {
            return;
        }
        let Coupled { mut world, mut left, mut right } = Coupled::new(kinds);
        let mut still = 0;
        world.until("the left one to be blocked", |_| {
            still = if left.write_some(&[7; 10_000]).expect("a write") == 0 { still + 1 } else { 0 };
            still > 20
        });
        left.reset();
        world.until_empty();
        expect_cut(kinds.1, &mut world, &mut right);
        assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Reset)]);
        assert_eq!(world.log.said(1), [Said::Open, Said::Close(Reason::Aborted)]);
    });
}

#[test]
fn a_peer_that_takes_nothing_is_cut_and_the_other_one_with_it() {
    each_pair(|kinds| {
        let limits = Limits { write_stall_timeout: ms(300), ..Limits::default() };
        let mut coupled = Coupled::with(kinds, limits);
        let left = &mut coupled.left;
        coupled.world.until("the right one to be cut", |world| {
            let _ = left.write_some(&[7; 10_000]);
            !world.log.reasons().is_empty()
        });
        coupled.expect_over(Reason::Aborted, Reason::Timeout(Expiry::WriteStall));
    });
}

#[test]
fn a_byte_on_one_side_is_life_for_both_and_silence_ends_both() {
    // Time passes, so two pairs are enough.
    for kinds in [(Kind::Tcp, Kind::Tcp), (Kind::Unix, Kind::Tcp)] {
        let idle = ms(1_000);
        let limits = Limits { idle_timeout: Some(idle), ..Limits::default() };
        let mut world = World::new();
        let mut left = join(&mut world, kinds.0, limits.clone(), |_: &Conn<'_>| Sink);
        let address = world.listen(kinds.1, config(limits), |_: &Conn<'_>| Sink);
        let (mut right, mut told) = (world.dial(&address), Instant::now());
        world.until("the right one to open", |world| {
            // The left one must not be idle meanwhile: a handshake takes long on a busy machine.
            if told.elapsed() > ms(40) {
                told = Instant::now();
                left.write_some(b"x").expect("a write");
            }
            world.log.open() == 2
        });
        let (one, other) = (world.log.id(0), world.log.id(1));
        world.reactor().context().relay(one, other).expect("two open connections");
        let (began, mut buffer) = (Instant::now(), [0; 64]);
        world.until("twice the idle time", |_| {
            if told.elapsed() > ms(40) {
                told = Instant::now();
                assert_eq!(left.write_some(b"x").expect("a write"), 1);
            }
            let _ = right.try_read(&mut buffer);
            began.elapsed() > idle * 2
        });
        assert_eq!(world.log.reasons(), []);
        let reasons = world.until_empty();
        assert_eq!(reasons[0], Reason::Timeout(Expiry::Idle), "{reasons:?}");
        assert!(matches!(reasons[1], Reason::Aborted | Reason::Timeout(Expiry::Idle)), "{reasons:?}");
    }
}

#[test]
fn a_drain_waits_for_both_directions_and_tells_the_handlers_nothing() {
    each_pair(|kinds| {
        let Coupled { mut world, mut left, mut right } = Coupled::new(kinds);
        left.send_all_while(&mut world, b"a question");
        world.reactor().shutdown(Duration::from_secs(30));
        assert_eq!(right.read_exact_while(&mut world, 10), b"a question");
        // Longer than handlers of others would wait for a first request.
        let began = Instant::now();
        world.until("the drain to be told", |_| began.elapsed() > ms(300));
        right.send_all_while(&mut world, b"an answer");
        right.finish();
        assert_eq!(left.read_to_end_while(&mut world).expect("an end in order"), b"an answer");
        left.finish();
        assert_eq!(right.read_to_end_while(&mut world).expect("an end in order"), b"");
        world.until("the reactor to stop", |world| matches!(world.turn(), Status::Stopped(_)));
        assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::PeerClosed)]);
        assert_eq!(world.log.said(1), [Said::Open, Said::Close(Reason::PeerClosed)]);
    });
}

#[test]
fn a_drain_cuts_both_at_its_deadline() {
    each_pair(|kinds| {
        let mut coupled = Coupled::new(kinds);
        coupled.world.reactor().shutdown(ms(100));
        let cut = Reason::Timeout(Expiry::Drain);
        coupled.expect_over(cut, cut);
    });
}

#[test]
fn a_reactor_that_is_dropped_ends_both_in_order() {
    each_pair(|kinds| {
        let Coupled { mut world, mut left, mut right } = Coupled::new(kinds);
        world.turns(3);
        world.drop_reactor();
        assert_eq!(world.log.reasons(), [Reason::ReactorDropped; 2]);
        for peer in [&mut left, &mut right] {
            let end = (0..1_000_000).find_map(|_| peer.try_read(&mut [0; 8])).expect("an end");
            assert_eq!(end.expect("in order"), 0);
        }
    });
}

#[test]
fn bytes_that_have_nowhere_to_go_reset_both() {
    each_pair(|kinds| {
        let mut coupled = Coupled::new(kinds);
        let id = coupled.id(1);
        coupled.world.reactor().context().other(id).expect("the right one").finish();
        assert_eq!(coupled.right.read_to_end_while(&mut coupled.world).expect("an end in order"), b"");
        coupled.right.send_all_while(&mut coupled.world, b"still taken");
        assert_eq!(coupled.left.read_exact_while(&mut coupled.world, 11), b"still taken");
        coupled.left.send_all_while(&mut coupled.world, b"too late");
        expect_cut(kinds.0, &mut coupled.world, &mut coupled.left);
        coupled.expect_over(Reason::Aborted, Reason::Aborted);
    });
}

#[test]
fn a_handler_that_panics_behind_the_call_ends_both() {
    each_pair(|(left_kind, right_kind)| {
        let mut world = World::new();
        let mut left = join(&mut world, left_kind, Limits::default(), |_: &Conn<'_>| Sink);
        let other = world.log.id(0);
        let mut right = join(&mut world, right_kind, Limits::default(), move |_: &Conn<'_>| {
            Hooks::new().data(move |conn, _| {
                conn.relay(other).expect("two open connections");
                panic!("on purpose");
            })
        });
        right.send_all_while(&mut world, b"x");
        expect_cut(left_kind, &mut world, &mut left);
        right.finish();
        world.until_empty();
        assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Aborted)]);
        assert_eq!(world.log.said(1).last(), Some(&Said::Close(Reason::HandlerPanicked)));
    });
}

#[test]
fn a_relay_is_refused_where_there_is_nothing_to_couple() {
    let mut world = World::new();
    let peers: Vec<Peer> =
        (0..4).map(|_| join(&mut world, Kind::Unix, Limits::default(), |_: &Conn<'_>| Sink)).collect();
    let ids: Vec<ConnId> = (0..4).map(|serial| world.log.id(serial)).collect();
    let mut gone = join(&mut world, Kind::Unix, Limits::default(), |_: &Conn<'_>| Sink);
    let gone_id = world.log.id(4);
    gone.finish();
    gone.read_to_close_while(&mut world);
    world.until("it to go", |world| world.log.open() == 4);
    let mut cx = world.reactor().context();
    assert!(matches!(cx.relay(ids[0], ids[0]), Err(Error::Gone)), "itself");
    assert!(matches!(cx.relay(ids[0], gone_id), Err(Error::Gone)), "nothing");
    assert!(matches!(cx.relay(gone_id, ids[0]), Err(Error::Gone)), "nothing");
    cx.other(ids[1]).expect("it is there").finish();
    assert!(matches!(cx.relay(ids[0], ids[1]), Err(Error::NotOpen)), "it takes no output");
    cx.relay(ids[2], ids[3]).expect("two open connections");
    assert!(matches!(cx.relay(ids[0], ids[2]), Err(Error::NotOpen)), "it is coupled already");
    assert!(matches!(cx.relay(ids[3], ids[2]), Err(Error::NotOpen)), "both are");
    // From within a callback: itself, one that has just begun, and behind a detach.
    let told: Rc<Cell<usize>> = Rc::default();
    let (count, open) = (told.clone(), ids[0]);
    let nowhere = world.free_address(Kind::Tcp);
    let address = world.listen(Kind::Tcp, config(Limits::default()), move |_: &Conn<'_>| {
        let (count, nowhere) = (count.clone(), nowhere.clone());
        Hooks::new().open(move |conn| {
            let me = conn.id();
            assert!(matches!(conn.relay(me), Err(Error::Gone)), "itself");
            assert!(matches!(conn.context().relay(me, open), Err(Error::Gone)), "it is being driven");
            let begun = conn.connect(&nowhere, ConnectConfig::default(), Sink).expect("a beginning");
            assert!(matches!(conn.relay(begun), Err(Error::Gone)), "begun in this turn");
            conn.detach(|link, _| drop(link));
            assert!(matches!(conn.relay(open), Err(Error::NotOpen)), "it leaves");
            count.set(1);
        })
    });
    let _last = world.dial(&address);
    // A failed assertion in the callback would be a panic of the handler.
    world.until("the callback to come to its end", |_| told.get() == 1);
    drop(peers);
}

/// What happens to a relay, in whatever order.
#[derive(Clone, Debug)]
enum Step {
    Send(bool, usize),
    Read(bool, usize),
    Finish(bool),
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 1usize..300_000).prop_map(|(side, bytes)| Step::Send(side, bytes)),
        6 => (any::<bool>(), 1usize..300_000).prop_map(|(side, bytes)| Step::Read(side, bytes)),
        1 => any::<bool>().prop_map(Step::Finish),
        6 => Just(Step::Turn),
    ]
}

/// One direction: what its sender sent, and how much of it has arrived.
struct Flow {
    sent: usize,
    came: usize,
    is_finished: bool,
}

impl Flow {
    fn take(&mut self, bytes: &[u8], all: &[u8]) {
        assert_eq!(bytes, &all[self.came..self.came + bytes.len()], "behind {} bytes", self.came);
        self.came += bytes.len();
        assert!(self.came <= self.sent, "more came than was sent");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_sent_arrives_in_order_and_then_the_end(
        kinds in prop::sample::select(pairs()),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let Coupled { mut world, left, right } = Coupled::new(kinds);
        let all = [pattern(1, 12_000_000), pattern(2, 12_000_000)];
        let mut peers = [left, right];
        let mut flows = [0, 1].map(|_| Flow { sent: 0, came: 0, is_finished: false });
        for step in steps {
            match step {
                Step::Send(side, bytes) => {
                    let (side, flow) = (usize::from(side), &mut flows[usize::from(side)]);
                    if !flow.is_finished {
                        let piece = &all[side][flow.sent..flow.sent + bytes];
                        flow.sent += peers[side].write_some(piece).expect("a write");
                    }
                }
                Step::Read(side, bytes) => {
                    let mut buffer = vec![0; bytes];
                    if let Some(read) = peers[usize::from(side)].try_read(&mut buffer) {
                        let from = 1 - usize::from(side);
                        flows[from].take(&buffer[..read.expect("a read")], &all[from]);
                    }
                }
                Step::Finish(side) => {
                    let side = usize::from(side);
                    if !flows[side].is_finished {
                        flows[side].is_finished = true;
                        peers[side].finish();
                    }
                }
                Step::Turn => world.turns(1),
            }
        }
        for side in [0, 1] {
            if !flows[side].is_finished {
                peers[side].finish();
            }
        }
        for side in [0, 1] {
            let rest = peers[side].read_to_end_while(&mut world).expect("an end in order");
            flows[1 - side].take(&rest, &all[1 - side]);
            assert_eq!(flows[1 - side].came, flows[1 - side].sent);
        }
        assert_eq!(world.until_empty(), [Reason::PeerClosed; 2]);
    }
}
