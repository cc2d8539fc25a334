//! What comes sealed and is of no use: floods of it, and messages behind the handshake that belong into it.

use crate::hostile::{hello, still_serves};
use crate::raw::Client;
use crate::sealing::Forger;
use crate::support::{Echo, Kind, Sink, World};
use windlass::rustls::{ContentType, SupportedProtocolVersion, version};
use windlass::{Address, Conn, Limits, ListenConfig, Reason, TlsFault};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&version::TLS12, &version::TLS13];

/// The longest that may come, with its header.
const RECORD_BYTES_MAX: usize = 18 * 1024 + 5;

const WARNING: u8 = 1;
const FATAL: u8 = 2;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;
const RECORD_OVERFLOW: u8 = 22;

fn echo(world: &mut World) -> Address {
    world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo)
}

/// The connection is refused, and its stream ends without a reset; tells the alert in front of that end. For what is
/// merely too much rustls has none.
fn refused(world: &mut World, forger: &mut Forger, fault: TlsFault) -> Option<u8> {
    let alert = forger.hear_answer(world).map(|(kind, body)| {
        assert!(kind == ContentType::Alert && body.len() == 2 && body[0] == FATAL, "{kind:?} {body:?}");
        assert_eq!(forger.hear(world), None);
        body[1]
    });
    forger.peer.finish();
    assert_eq!(world.until_empty().last(), Some(&Reason::Tls(fault)));
    alert
}

/// The bytes come back.
fn echoes(world: &mut World, forger: &mut Forger, bytes: &[u8]) {
    forger.say(world, ContentType::ApplicationData, bytes);
    assert_eq!(forger.hear_answer(world), Some((ContentType::ApplicationData, bytes.to_vec())));
}

#[test]
fn the_first_renegotiation_is_declined_and_the_second_is_fatal() {
    let mut world = World::new();
    let address = echo(&mut world);
    let mut forger = Forger::new(&mut world, &address, &version::TLS12);
    echoes(&mut world, &mut forger, b"before");
    let again = &hello()[5..];
    forger.say(&mut world, ContentType::Handshake, again);
    assert_eq!(forger.hear(&mut world), Some((ContentType::Alert, vec![WARNING, NO_RENEGOTIATION])));
    echoes(&mut world, &mut forger, b"between");
    forger.say(&mut world, ContentType::Handshake, again);
    refused(&mut world, &mut forger, TlsFault::Misbehaved);
    still_serves(&mut world, &address);
}

#[test]
fn a_few_warnings_behind_the_handshake_are_passed_over_and_a_flood_is_fatal() {
    for version in VERSIONS {
        let mut world = World::new();
        let address = echo(&mut world);
        let mut forger = Forger::new(&mut world, &address, version);
        for _ in 0..4 {
            forger.say(&mut world, ContentType::Alert, &[WARNING, USER_CANCELED]);
        }
        echoes(&mut world, &mut forger, b"hello");
        forger.say(&mut world, ContentType::Alert, &[WARNING, USER_CANCELED]);
        refused(&mut world, &mut forger, TlsFault::Misbehaved);
        still_serves(&mut world, &address);
    }
}

#[test]
fn what_belongs_into_the_handshake_is_fatal_behind_it() {
    let hello = hello();
    for version in VERSIONS {
        let mut world = World::new();
        let address = echo(&mut world);
        let again = (*version == version::TLS13).then_some((ContentType::Handshake, &hello[5..]));
        for (kind, body) in [(ContentType::ChangeCipherSpec, &[1][..])].into_iter().chain(again) {
            let mut forger = Forger::new(&mut world, &address, version);
            forger.say(&mut world, kind, body);
            assert!(refused(&mut world, &mut forger, TlsFault::Misbehaved).is_some());
        }
        still_serves(&mut world, &address);
    }
}

#[test]
fn a_record_that_is_too_long_is_answered_by_its_own_alert() {
    for version in VERSIONS {
        let mut world = World::new();
        let address = echo(&mut world);
        let mut forger = Forger::new(&mut world, &address, version);
        forger.say(&mut world, ContentType::ApplicationData, &[7; 16 * 1024 + 1]);
        assert_eq!(refused(&mut world, &mut forger, TlsFault::TooLarge), Some(RECORD_OVERFLOW));
        let mut forger = Forger::new(&mut world, &address, version);
        forger.peer.send_all_while(&mut world, &[23, 3, 3, 0xff, 0xff]);
        assert!(refused(&mut world, &mut forger, TlsFault::TooLarge).is_some());
        still_serves(&mut world, &address);
    }
}

/// What rustls lets pass in a row.
const EMPTY_RECORDS_MAX: usize = 32;

#[test]
fn empty_records_among_data_are_passed_over_and_leave_turns_short() {
    const ROUNDS: usize = 2_000;
    const TURN_BYTES: usize = 16 * 1024;
    for version in VERSIONS {
        let mut world = World::new();
        let limits = Limits { bytes_per_turn: TURN_BYTES, ..Limits::default() };
        let config = ListenConfig { limits, ..ListenConfig::default() };
        let address = world.listen(Kind::Tls, config, |_: &Conn<'_>| Sink);
        let ordinary = echo(&mut world);
        let mut forger = Forger::new(&mut world, &address, version);
        world.until_open(1);
        let mut other = world.dial(&ordinary);
        other.send_all_while(&mut world, b"a");
        assert_eq!(other.read_exact_while(&mut world, 1), b"a");
        let mut wire = Vec::new();
        for _ in 0..ROUNDS {
            (0..EMPTY_RECORDS_MAX).for_each(|_| wire.extend(forger.seal(ContentType::ApplicationData, &[])));
            wire.extend(forger.seal(ContentType::ApplicationData, b"x"));
        }
        let (mut sent, mut rounds, mut most) = (0, 0, 0);
        while sent < wire.len() {
            sent += forger.peer.write_some(&wire[sent..]).expect("a write");
            let before = world.reactor().snapshot().bytes_in;
            world.turn();
            most = most.max(world.reactor().snapshot().bytes_in - before);
            rounds += 1;
            if rounds % 16 == 0 {
                let since = world.reactor().snapshot().turns;
                other.send_all_while(&mut world, b"b");
                assert_eq!(other.read_exact_while(&mut world, 1), b"b");
                let took = world.reactor().snapshot().turns - since;
                assert!(took <= 6, "the echo took {took} turns");
            }
        }
        world.until("all of it", |world| world.log.shown(0) == ROUNDS);
        // The budget, and at most a record that goes over it.
        assert!(most <= (TURN_BYTES + RECORD_BYTES_MAX) as u64, "{most} bytes in one turn");
    }
}

#[test]
fn a_flood_of_empty_records_is_fatal() {
    for version in VERSIONS {
        let mut world = World::new();
        let address = echo(&mut world);
        let mut forger = Forger::new(&mut world, &address, version);
        for _ in 0..EMPTY_RECORDS_MAX {
            forger.say(&mut world, ContentType::ApplicationData, &[]);
        }
        echoes(&mut world, &mut forger, b"hello");
        for _ in 0..=EMPTY_RECORDS_MAX {
            forger.say(&mut world, ContentType::ApplicationData, &[]);
        }
        refused(&mut world, &mut forger, TlsFault::Misbehaved);
        still_serves(&mut world, &address);
    }
}

#[test]
fn key_updates_to_a_handler_that_says_nothing_wait_as_one_answer() {
    const ROUNDS: usize = 200;
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
    let mut client = Client::usual(&address);
    client.shake(&mut world, 10_000);
    world.until_open(1);
    let before = world.reactor().snapshot().bytes_out;
    for _ in 0..ROUNDS / 100 {
        for _ in 0..100 {
            client.tls.refresh_traffic_keys().expect("TLS 1.3");
            client.write(b"x");
        }
        // It sends and never reads.
        let records = client.records();
        client.peer.send_all_while(&mut world, &records);
    }
    world.until("all of it", |world| world.log.shown(0) == ROUNDS);
    assert_eq!(world.reactor().snapshot().bytes_out, before);
    let id = world.log.id(0);
    world.reactor().remote().close(id).expect("a close");
    world.until("the end", |_| {
        !client.receive() || client.tls.process_new_packets().is_ok_and(|io| io.peer_has_closed())
    });
    assert_eq!(client.fault, None);
    // One answer, close_notify, and their records' headers.
    let said = world.reactor().snapshot().bytes_out - before;
    assert!(said < 200, "{said} bytes of answers");
}
