//! Relays that much goes through: by a pipe between plain streams of Linux, by copies otherwise. Nobody can tell which.

use super::support::{Kind, World, alone, descriptors};
use super::{Coupled, config, each_pair, join, ms, pairs, pattern};
use windlass::{Conn, Expiry, Limits, ListenConfig, Reason};

/// Enough for many pieces, and for the two full reads before a pipe is taken.
const BULK: usize = 600_000;

/// Sockets as they are, tiny ones, and those that can only send little at a time.
fn configs() -> [ListenConfig; 3] {
    let mut tiny = ListenConfig::default();
    tiny.socket.send_buffer_bytes = Some(2 * 1024);
    tiny.socket.receive_buffer_bytes = Some(2 * 1024);
    [ListenConfig::default(), tiny, config(Limits::default())]
}

/// Has the left peer send `bytes` and the right one read them, a piece each a turn.
fn pass(world: &mut World, [from, to]: [&mut super::Peer; 2], bytes: &[u8], piece: usize) {
    let (mut sent, mut came) = (0, Vec::new());
    let mut buffer = vec![0; piece];
    world.until("all bytes to arrive", |_| {
        let end = bytes.len().min(sent + piece);
        sent += from.write_some(&bytes[sent..end]).expect("a write");
        for _ in 0..4 {
            if let Some(read) = to.try_read(&mut buffer) {
                came.extend_from_slice(&buffer[..read.expect("a read")]);
            }
        }
        came.len() == bytes.len()
    });
    assert!(came == bytes, "the bytes are others");
}

#[test]
fn many_bytes_and_single_ones_and_many_again_arrive_in_order_and_are_counted() {
    for listen in configs() {
        each_pair(|kinds| {
            let Coupled { mut world, mut left, mut right } = Coupled::on(kinds, &listen);
            let mut sent = 0;
            for seed in [0, 1] {
                let [from, to] = if seed == 0 { [&mut left, &mut right] } else { [&mut right, &mut left] };
                let bytes = pattern(seed, BULK);
                pass(&mut world, [from, to], &bytes, 200_000);
                // A piece of one byte fills as much of a pipe as one of many does.
                for single in bytes[..1_000].chunks(100) {
                    single.iter().for_each(|byte| from.send_all_while(&mut world, &[*byte]));
                    assert_eq!(to.read_exact_while(&mut world, single.len()), single);
                }
                pass(&mut world, [from, to], &bytes, 1_000_000);
                sent += 2 * bytes.len() + 1_000;
            }
            let counted = world.reactor().snapshot();
            if !kinds.0.is_tls() && !kinds.1.is_tls() {
                assert_eq!((counted.bytes_in, counted.bytes_out), (sent as u64, sent as u64));
            }
            left.finish();
            assert_eq!(right.read_to_end_while(&mut world).expect("an end in order"), b"");
            right.finish();
            assert_eq!(left.read_to_end_while(&mut world).expect("an end in order"), b"");
            Coupled { world, left, right }.expect_over(Reason::PeerClosed, Reason::PeerClosed);
        });
    }
}

/// Has the left peer send until nothing moves any more, in a relay that much has gone through; its right one reads nothing.
fn blocked(kinds: (Kind, Kind), limits: Limits) -> (Coupled, usize) {
    let mut coupled = Coupled::on(kinds, &config(limits));
    let id = coupled.id(1);
    let Coupled { world, left, right } = &mut coupled;
    pass(world, [left, right], &pattern(1, BULK), 300_000);
    let (bytes, mut sent, mut still) = (pattern(2, 1_000_000), 0, 0);
    world.until("the left one to be blocked", |world| {
        let taken = left.write_some(&bytes[sent % bytes.len()..]).expect("a write");
        sent += taken;
        still = if taken == 0 { still + 1 } else { 0 };
        let waits = world.reactor().context().other(id).expect("the right one").unsent_bytes();
        still > 20 && waits > 0
    });
    (coupled, sent)
}

#[test]
fn whatever_cuts_a_relay_that_stands_still_each_byte_is_sent_or_counted_as_lost() {
    for how in ["abort", "reset", "stall", "drain"] {
        each_pair(|kinds| {
            if kinds.0.is_tls() || kinds.1.is_tls() || (how == "reset" && kinds.1.is_unix()) {
                return; // they count records; it has no reset of its own
            }
            let write_stall_timeout = if how == "stall" { ms(300) } else { Limits::default().write_stall_timeout };
            let (coupled, mut sent) = blocked(kinds, Limits { write_stall_timeout, ..Limits::default() });
            let id = coupled.id(1);
            let Coupled { mut world, mut left, right } = coupled;
            let waits = world.reactor().context().other(id).expect("the right one").unsent_bytes();
            assert!(waits <= 32 * 1024, "{waits} bytes wait");
            let mut right = Some(right);
            match how {
                "abort" => world.reactor().context().other(id).expect("the right one").abort(),
                "reset" => right.take().into_iter().for_each(super::Peer::reset),
                "drain" => world.reactor().shutdown(ms(100)),
                // The kernel may take some more; then it stands still again.
                _ => world.until("it to be cut", |world| {
                    sent += left.write_some(&[7; 10_000]).unwrap_or(0);
                    !world.log.reasons().is_empty()
                }),
            }
            let reasons = world.until_empty();
            let expected = match how {
                "abort" => [Reason::Aborted, Reason::Aborted],
                "reset" => [Reason::Reset, Reason::Aborted],
                "drain" => [Reason::Timeout(Expiry::Drain), Reason::Timeout(Expiry::Drain)],
                _ => [Reason::Timeout(Expiry::WriteStall), Reason::Aborted],
            };
            assert!(expected.iter().all(|reason| reasons.contains(reason)), "{how}: {reasons:?}");
            let counted = world.reactor().snapshot();
            assert!(counted.bytes_lost <= 32 * 1024, "{how}: {}", counted.bytes_lost);
            assert_eq!(counted.bytes_in, counted.bytes_out + counted.bytes_lost, "{how}");
            assert!(counted.bytes_in <= (BULK + sent) as u64);
            drop((left, right));
        });
    }
}

#[test]
fn a_relay_that_stood_still_goes_on_where_it_was() {
    each_pair(|kinds| {
        let (Coupled { mut world, left, mut right }, sent) = blocked(kinds, Limits::default());
        left.finish();
        let bytes = pattern(2, 1_000_000);
        let got = right.read_to_end_while(&mut world).expect("an end in order");
        assert_eq!(got.len(), sent);
        assert!(got.chunks(bytes.len()).all(|chunk| *chunk == bytes[..chunk.len()]), "the bytes are others");
        right.finish();
        Coupled { world, left, right }.expect_over(Reason::PeerClosed, Reason::PeerClosed);
    });
}

/// splice(2) ends at the mark of urgent data, and says then what it says when there is nothing.
#[test]
fn urgent_data_among_many_bytes_holds_nothing_up() {
    for behind in [10, BULK] {
        let Coupled { mut world, mut left, mut right } = Coupled::on((Kind::Tcp, Kind::Tcp), &ListenConfig::default());
        pass(&mut world, [&mut left, &mut right], &pattern(1, BULK), 300_000);
        left.0.set_nonblocking(false).expect("a mode");
        left.0.send(b"before").expect("a write");
        left.0.send_out_of_band(b"!").expect("urgent data");
        left.0.set_nonblocking(true).expect("a mode");
        let rest = pattern(2, behind);
        left.send_all_while(&mut world, &rest[..10]);
        assert_eq!(right.read_exact_while(&mut world, 16), [b"before", &rest[..10]].concat());
        pass(&mut world, [&mut left, &mut right], &rest[10..], 300_000);
        left.finish();
        assert_eq!(right.read_to_end_while(&mut world).expect("an end in order"), b"");
        right.finish();
        Coupled { world, left, right }.expect_over(Reason::PeerClosed, Reason::PeerClosed);
    }
}

/// What a relay reads of a socket takes its error along, and the next read would see an end in order.
#[test]
fn a_reset_behind_many_bytes_is_never_an_end_in_order() {
    for kinds in pairs().into_iter().filter(|(left, _)| *left == Kind::Tcp) {
        for _ in 0..20 {
            let mut coupled = Coupled::on(kinds, &ListenConfig::default());
            let Coupled { world, left, right } = &mut coupled;
            pass(world, [left, right], &pattern(1, BULK), 300_000);
            left.write_some(&pattern(2, 100_000)).expect("a write");
            let Coupled { mut world, left, mut right } = coupled;
            left.reset();
            super::expect_cut(kinds.1, &mut world, &mut right);
            assert_eq!(world.until_empty(), [Reason::Reset, Reason::Aborted]);
        }
    }
}

#[test]
fn a_handler_that_panics_beside_a_relay_takes_nothing_of_it_along() {
    let Coupled { mut world, mut left, mut right } = Coupled::on((Kind::Tcp, Kind::Unix), &ListenConfig::default());
    pass(&mut world, [&mut left, &mut right], &pattern(1, BULK), 300_000);
    let mut loud = join(&mut world, Kind::Tcp, Limits::default(), |_: &Conn<'_>| {
        super::Hooks::new().data(|_, _| panic!("on purpose"))
    });
    loud.send_all_while(&mut world, b"x");
    pass(&mut world, [&mut left, &mut right], &pattern(2, BULK), 300_000);
    pass(&mut world, [&mut right, &mut left], &pattern(3, BULK), 300_000);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn one_pipe_serves_all_relays_of_a_reactor_and_none_is_made_for_little() {
    alone("bulk::one_pipe_serves_all_relays_of_a_reactor_and_none_is_made_for_little", || {
        let mut world = World::new();
        let listen = ListenConfig::default();
        let mut relays: Vec<_> =
            (0..3).map(|_| Coupled::within(&mut world, (Kind::Tcp, Kind::Unix), &listen)).collect();
        let before = descriptors();
        for (left, right) in &mut relays {
            for _ in 0..20 {
                pass(&mut world, [left, right], &pattern(1, 20_000), 20_000);
            }
        }
        assert_eq!(descriptors(), before, "copies cost none");
        for (left, right) in &mut relays {
            pass(&mut world, [left, right], &pattern(2, BULK), 300_000);
            pass(&mut world, [right, left], &pattern(3, BULK), 300_000);
            assert_eq!(descriptors(), before + 2, "both ends of one pipe");
        }
    });
}

#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn without_a_descriptor_for_a_pipe_bytes_are_copied() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    alone("bulk::without_a_descriptor_for_a_pipe_bytes_are_copied", || {
        let Coupled { mut world, mut left, mut right } = Coupled::on((Kind::Tcp, Kind::Tcp), &ListenConfig::default());
        let (before, usual) = (descriptors(), getrlimit(Resource::Nofile));
        setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..usual }).expect("a lower limit");
        let all: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        pass(&mut world, [&mut left, &mut right], &pattern(1, BULK), 300_000);
        setrlimit(Resource::Nofile, usual).expect("as it was");
        drop(all);
        assert_eq!(descriptors(), before, "there was room for a pipe");
        pass(&mut world, [&mut left, &mut right], &pattern(1, BULK), 300_000);
        assert_eq!(descriptors(), before + 2);
    });
}

/// splice(2) raises SIGPIPE where a send with a flag does not, and std ignores it only in programs written in Rust.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn bytes_for_a_peer_that_has_left_end_no_program() {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    alone("bulk::bytes_for_a_peer_that_has_left_end_no_program", || {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_default(signal_hook::consts::SIGPIPE, always).expect("a handler");
        for kinds in
            [(Kind::Tcp, Kind::Tcp), (Kind::Tcp, Kind::Unix), (Kind::Unix, Kind::Tcp), (Kind::Unix, Kind::Unix)]
        {
            for _ in 0..10 {
                let Coupled { mut world, mut left, mut right } = Coupled::on(kinds, &ListenConfig::default());
                pass(&mut world, [&mut left, &mut right], &pattern(1, BULK), 300_000);
                // Its end is in order; what comes then brings its reset, and what comes behind that fails.
                right.finish();
                left.send_all_while(&mut world, b"x");
                drop(right);
                world.until("both to be over", |world| {
                    let _ = rustix::net::send(&*left.0, &[7; 200_000], rustix::net::SendFlags::NOSIGNAL);
                    world.log.reasons().len() == 2
                });
            }
        }
    });
}
