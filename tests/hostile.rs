//! Hostile and unlucky peers, and handlers that do their worst.

mod scripted;
mod support;

use scripted::{Does, Shared, assert_same, limited, on_other, on_reactor, pattern, shared, tight};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use support::{Echo, Heard, Kind, Log, Peer, Said, Sink, World, dialling, each_kind, each_plain_kind};
use windlass::{
    Accept, Address, Bytes, Conn, ConnId, ConnectConfig, Context, Direction, Error, Handler, Limits, Link,
    ListenConfig, Next, Reason, Undelivered,
};

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

// --- names and slots ----------------------------------------------------------------------------------------------

/// What the handlers of the reuse test share.
struct Chaos {
    live: Vec<ConnId>,
    faults: Vec<String>,
    random: u64,
    address: Option<Address>,
    log: Log,
    ended: usize,
}

impl Chaos {
    fn roll(&mut self, sides: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % sides
    }
}

/// Echoes words of one peer, and ends others at random.
struct Tagged {
    tag: Option<[u8; 4]>,
    dials: bool,
    chaos: Shared<Chaos>,
}

impl Handler for Tagged {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.chaos.borrow_mut().live.push(conn.id());
        if self.dials {
            conn.write(b"dial").expect("room");
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let chaos = self.chaos.clone();
        let mut chaos = chaos.borrow_mut();
        let words = data.len() / 4 * 4;
        for word in data[..words].chunks(4) {
            let tag = *self.tag.get_or_insert_with(|| word.try_into().expect("four bytes"));
            if word != tag {
                chaos.faults.push(format!("{:?} was shown {word:?} of another", tag));
            }
        }
        if self.dials {
            conn.close();
            return words;
        }
        conn.write(&data[..words]).expect("room");
        for _ in 0..chaos.roll(4) {
            let sides = chaos.live.len() as u64;
            let pick = chaos.roll(sides) as usize;
            let id = chaos.live[pick];
            if let Some(mut other) = conn.other(id) {
                if chaos.roll(3) == 0 {
                    other.close()
                } else {
                    other.abort()
                }
                // Whoever begins now may get a slot that is just free, in the same batch of events.
                if chaos.roll(2) == 0 {
                    let next = Tagged { tag: None, dials: true, chaos: self.chaos.clone() };
                    let address = chaos.address.clone().expect("an address");
                    let next = chaos.log.record(next);
                    conn.connect(&address, dialling(&address, ConnectConfig::default()), next)
                        .expect("a connect that begins");
                }
            }
        }
        words
    }

    fn on_close(&mut self, conn: &mut Conn<'_>, _: Reason) {
        let id = conn.id();
        let mut chaos = self.chaos.borrow_mut();
        chaos.live.retain(|live| *live != id);
        chaos.ended += 1;
    }
}

#[test]
fn no_event_reaches_the_next_occupant_of_a_slot() {
    each_kind(|kind| {
        let mut world = World::new();
        let chaos = shared(Chaos {
            live: Vec::new(),
            faults: Vec::new(),
            random: 0x1234_5678_9ABC_DEF1,
            address: None,
            log: world.log.clone(),
            ended: 0,
        });
        let inside = chaos.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| Tagged {
            tag: None,
            dials: false,
            chaos: inside.clone(),
        });
        chaos.borrow_mut().address = Some(address.clone());
        let mut made = 0u32;
        let mut next = |world: &mut World| {
            made += 1;
            (world.dial(&address), made.to_be_bytes())
        };
        let mut peers: Vec<(Peer, [u8; 4])> = (0..256).map(|_| next(&mut world)).collect();
        world.until_open(256);
        let mut buffer = [0; 1024];
        for _ in 0..16 {
            for (peer, tag) in &mut peers {
                let _ = peer.write_some(&[*tag, *tag].concat());
            }
            world.turns(2);
            for (peer, tag) in &mut peers {
                let over = loop {
                    match peer.try_read(&mut buffer) {
                        None => break false,
                        Some(Ok(0) | Err(_)) => break true,
                        Some(Ok(read)) => {
                            // Words never come in parts here: they are written whole.
                            assert!(buffer[..read].chunks(4).all(|word| word == tag), "bytes of another came");
                        }
                    }
                };
                if over {
                    (*peer, *tag) = next(&mut world);
                }
            }
        }
        assert_eq!(chaos.borrow().faults, Vec::<String>::new());
        assert!(chaos.borrow().ended > if kind.is_tls() { 200 } else { 500 }, "only {} ended", chaos.borrow().ended);
        drop(peers);
        world.until_empty();
        assert_eq!((chaos.borrow().live.len(), world.reactor().snapshot().panics), (0, 0));
    });
}

#[test]
fn a_stale_name_never_means_whoever_came_after() {
    each_kind(|kind| {
        let mut world = World::new();
        let back = shared(0);
        let told = back.clone();
        world.reactor().on_undelivered(move |what, why| {
            let Undelivered::Bytes(_, bytes) = what else { panic!("{what:?}") };
            assert!(bytes == "ghost" && matches!(why, Error::Gone));
            *told.borrow_mut() += 1;
        });
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let remote = world.reactor().remote();
        let mut stale = Vec::new();
        for round in 0..30 {
            let mut peer = world.dial(&address);
            world.until_open(1);
            for id in &stale {
                remote.send(*id, Bytes::from_static(b"ghost")).expect("room");
                remote.close(*id).expect("room");
                remote.abort(*id).expect("room");
            }
            world.turn();
            peer.send_all_while(&mut world, b"alive");
            assert_eq!(peer.read_exact_while(&mut world, 5), b"alive");
            stale.push(world.log.id(round));
            drop(peer);
            world.until_empty();
        }
        assert_eq!(*back.borrow(), (0..30).sum::<usize>());
        stale.sort();
        stale.dedup();
        assert_eq!(stale.len(), 30, "a name came twice");
    });
}

// --- urgent data --------------------------------------------------------------------------------------------------

fn collector() -> (Shared<Vec<u8>>, impl Accept) {
    let got = shared(Vec::new());
    let told = got.clone();
    let accept = move |_: &Conn<'_>| {
        let told = told.clone();
        Does::new().on_data(move |_, data| {
            told.borrow_mut().extend_from_slice(data);
            data.len()
        })
    };
    (got, accept)
}

fn without_urgent(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != b'!').collect()
}

/// Runs a scenario over the sockets that know urgent data. Over Unix sockets Linux does since 5.15, if it is built so.
fn each_urgent_kind(scenario: impl Fn(Kind)) {
    scenario(Kind::Tcp);
    let (one, _other) = UnixStream::pair().expect("a pair");
    match socket2::SockRef::from(&one).send_out_of_band(b"!") {
        Ok(_) => scenario(Kind::Unix),
        Err(error) => eprintln!("not over Unix sockets: they know no urgent data here: {error}"),
    }
}

#[test]
fn urgent_data_in_the_middle_of_a_stream_stalls_nothing() {
    each_urgent_kind(urgent_data_in_the_middle);
}

fn urgent_data_in_the_middle(kind: Kind) {
    let mut world = World::new();
    let (got, accept) = collector();
    let address = world.listen(kind, ListenConfig::default(), accept);
    let mut peer = world.dial(&address);
    world.until_open(1);
    let mut wanted = Vec::new();
    for round in 0..60 {
        peer.write_some(b"abc").expect("a write");
        if round % 3 == 1 {
            world.turns(2);
        }
        peer.0.send_out_of_band(b"!").expect("urgent data");
        if round % 3 == 2 {
            world.turns(2);
        }
        peer.write_some(b"def").expect("a write");
        wanted.extend_from_slice(b"abcdef");
        if round % 4 > 0 {
            world.until("what is behind the mark", |_| without_urgent(&got.borrow()).len() == wanted.len());
        }
    }
    world.until("all", |_| without_urgent(&got.borrow()).len() == wanted.len());
    assert_same(&without_urgent(&got.borrow()), &wanted);
    peer.0.send_out_of_band(b"!").expect("urgent data");
    peer.finish();
    assert_eq!(world.until_empty(), [Reason::PeerClosed]);
}

#[test]
fn urgent_data_between_large_pieces_loses_nothing() {
    each_urgent_kind(urgent_data_between_large_pieces);
}

fn urgent_data_between_large_pieces(kind: Kind) {
    let mut world = World::new();
    let (got, accept) = collector();
    let address = world.listen(kind, ListenConfig::default(), accept);
    let mut peer = world.dial(&address);
    world.until_open(1);
    let piece = without_urgent(pattern(300 * KIB));
    for _ in 0..4 {
        peer.send_all_while(&mut world, &piece);
        peer.0.send_out_of_band(b"!").expect("urgent data");
    }
    peer.send_all_while(&mut world, &piece);
    peer.finish();
    assert_eq!(world.until_empty(), [Reason::PeerClosed]);
    assert_same(&without_urgent(&got.borrow()), &piece.repeat(5));
}

#[test]
fn urgent_data_that_came_while_paused_hides_nothing_after_resume() {
    let mut world = World::new();
    let got = shared(Vec::new());
    let told = got.clone();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), move |_: &Conn<'_>| {
        let told = told.clone();
        Does::new().on_open(|conn| conn.pause()).on_data(move |_, data| {
            told.borrow_mut().extend_from_slice(data);
            data.len()
        })
    });
    let mut peer = world.dial(&address);
    world.until_open(1);
    peer.write_some(b"before").expect("a write");
    peer.0.send_out_of_band(b"!").expect("urgent data");
    world.turns(5);
    peer.write_some(b"behind").expect("a write");
    world.turns(5);
    assert_eq!(world.log.said(0), [Said::Open], "urgent data ends no pause");
    let id = world.log.id(0);
    on_other(&mut world, id, |other| other.resume());
    world.until("all", |_| without_urgent(&got.borrow()) == b"beforebehind");
    drop(peer);
}

// --- resets and ends ----------------------------------------------------------------------------------------------

#[test]
fn a_reset_is_told_at_once_even_while_paused() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_open(|conn| {
                conn.write(b"never read").expect("room");
                conn.pause();
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.write_some(b"never shown").expect("a write");
        world.turns(5);
        peer.reset();
        assert_eq!(world.until_empty(), [Reason::Reset]);
        assert_eq!(world.log.said(0), [Said::Open, Said::Close(Reason::Reset)]);
    });
}

#[test]
fn a_reset_in_every_phase_ends_the_connection_once() {
    type Stage = (&'static str, fn(&mut Conn<'_>), bool);
    let stages: [Stage; 10] = [
        ("open", |_| {}, false),
        ("paused", |conn| conn.pause(), false),
        ("blocked", |conn| conn.write(pattern(MIB)).expect("room"), false),
        (
            "finishing",
            |conn| {
                conn.write(pattern(MIB)).expect("room");
                conn.finish();
            },
            false,
        ),
        ("write closed", |conn| conn.finish(), false),
        (
            "flushing",
            |conn| {
                conn.write(pattern(MIB)).expect("room");
                conn.close();
            },
            false,
        ),
        ("lingering", |conn| conn.close(), false),
        ("half open", |_| {}, true),
        ("half open and blocked", |conn| conn.write(pattern(MIB)).expect("room"), true),
        (
            "finishing behind the peer's end",
            |conn| {
                conn.write(pattern(MIB)).expect("room");
                conn.finish();
            },
            true,
        ),
    ];
    for (name, stage, half) in stages {
        eprintln!("{name}:");
        let mut world = World::new();
        let address = world.listen(Kind::Tcp, tight(Limits::default()), move |_: &Conn<'_>| {
            Does::new().on_open(stage).on_end(|_, _| {})
        });
        let peer = world.dial(&address);
        world.until_open(1);
        if half {
            peer.finish();
            // Who is blocked above the high mark does not read on, up to the end.
            world.until("the end", |world| name != "half open" || world.log.said(0).contains(&Said::End(0)));
        }
        world.turns(5);
        let mut bystander = world.dial(&address);
        world.until_open(2);
        peer.reset();
        world.until("the reset", |world| !world.log.reasons().is_empty());
        assert_eq!(world.log.reasons(), [Reason::Reset], "{name}");
        drop(bystander.read_exact_while(&mut world, 0));
    }
}

#[test]
fn a_reset_behind_unread_data_ends_the_connection_once() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { bytes_per_turn: 16 * KIB, ..Limits::default() };
        let address = world.listen(kind, limited(limits), |_: &Conn<'_>| {
            Does::new().on_open(|conn| conn.write(b"never read").expect("room"))
        });
        for _ in 0..10 {
            let mut peer = world.dial(&address);
            let before = world.log.made();
            world.until("it to open", |world| world.log.made() == before + 1);
            peer.write_some(pattern(150 * KIB)).expect("a write");
            world.turn();
            peer.reset();
            assert_eq!(world.until_empty().last(), Some(&Reason::Reset));
        }
        assert_eq!(world.log.reasons().len(), 10);
    });
}

#[test]
fn a_reset_before_the_accept_troubles_nobody() {
    let mut world = World::new();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    for _ in 0..20 {
        world.dial(&address).reset();
    }
    let mut peer = world.dial(&address);
    peer.send_all_while(&mut world, b"hello");
    assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
    world.until("those who were reset to be gone", |world| world.reactor().connections() == 1);
    assert_eq!(world.log.heard(), Vec::<Heard>::new());
}

#[test]
fn data_and_end_in_one_event_are_both_told() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        for round in 0..20 {
            let mut peer = world.dial(&address);
            if round % 2 == 0 {
                world.until_open(1);
            }
            peer.write_some(b"all at once").expect("a write");
            peer.finish();
            assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"all at once");
            assert_eq!(world.until_empty().last(), Some(&Reason::PeerClosed));
            let said = world.log.said(round);
            assert_eq!(said, [Said::Open, Said::Data(11), Said::End(0), Said::Close(Reason::PeerClosed)]);
        }
    });
}

#[test]
fn a_peer_that_no_longer_reads_ends_only_itself() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let (mut deaf, mut bystander) = (world.dial(&address), world.dial(&address));
        world.until_open(2);
        deaf.0.shutdown(Shutdown::Read).expect("a shutdown");
        for _ in 0..10 {
            let _ = deaf.write_some(b"are you there?");
            world.turns(2);
        }
        let _ = deaf.0.shutdown(Shutdown::Write);
        world.until("the deaf one to end", |world| world.log.reasons().len() == 1);
        let reasons = world.log.reasons();
        assert!(matches!(reasons[0], Reason::PeerClosed | Reason::Reset | Reason::Truncated), "{reasons:?}");
        bystander.send_all_while(&mut world, b"x");
        assert_eq!(bystander.read_exact_while(&mut world, 1), b"x");
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

#[test]
fn a_request_one_byte_at_a_time_is_the_same_request() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return 0 };
                conn.write(&data[..=end]).expect("room");
                end + 1
            })
        });
        let mut peer = world.dial(&address);
        for byte in b"one\ntwo\nthree\n" {
            peer.send_all_while(&mut world, &[*byte]);
            world.turn();
        }
        assert_eq!(peer.read_exact_while(&mut world, 14), b"one\ntwo\nthree\n");
    });
}

// --- handlers that do their worst ---------------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Open,
    Data,
    Writable,
    Timer,
    Drain,
    End,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    CloseAll,
    AbortAll,
    AbortAllAndItself,
    RemoveListeners,
    Stop,
    StopNow,
    Detach,
}

fn commit(deed: Deed, conn: &mut Conn<'_>) {
    match deed {
        Deed::CloseAll | Deed::AbortAll | Deed::AbortAllAndItself => {
            for id in conn.context().connections() {
                let mut other = conn.other(id).expect("it was listed");
                if deed == Deed::CloseAll {
                    other.close()
                } else {
                    other.abort()
                }
                // Twice is once.
                other.close();
                other.finish();
            }
            if deed == Deed::AbortAllAndItself {
                conn.abort();
                conn.close();
            }
        }
        Deed::RemoveListeners => {
            for (id, _) in conn.context().listeners() {
                conn.context().remove_listener(id).expect("it was listed");
                let _ = conn.context().pause_listener(id);
            }
        }
        Deed::Stop => conn.context().shutdown(Duration::from_secs(10)),
        Deed::StopNow => conn.context().shutdown(Duration::ZERO),
        Deed::Detach => conn.detach(|link, _| drop(link)),
    }
}

fn villain(at: At, deed: Deed) -> Does {
    let here = move |now: At, conn: &mut Conn<'_>| {
        if now == at {
            commit(deed, conn);
        }
    };
    Does::new()
        .on_open(move |conn| {
            conn.set_timer(Duration::ZERO);
            if at == At::Writable {
                conn.write(b"x").expect("room");
                assert!(conn.write(&vec![0; MIB]).is_err());
            }
            here(At::Open, conn);
        })
        .on_data(move |conn, data| {
            here(At::Data, conn);
            data.len()
        })
        .on_writable(move |conn| here(At::Writable, conn))
        .on_timer(move |conn| here(At::Timer, conn))
        .on_drain(move |conn| {
            here(At::Drain, conn);
            conn.close();
        })
        .on_end(move |conn, _| {
            here(At::End, conn);
            conn.close();
        })
        .on_close(move |conn, _| here(At::Close, conn))
}

#[test]
fn a_handler_can_end_everything_in_every_callback() {
    let places = [At::Open, At::Data, At::Writable, At::Timer, At::Drain, At::End, At::Close];
    let deeds = [
        Deed::CloseAll,
        Deed::AbortAll,
        Deed::AbortAllAndItself,
        Deed::RemoveListeners,
        Deed::Stop,
        Deed::StopNow,
        Deed::Detach,
    ];
    each_kind(|kind| {
        for at in places {
            for deed in deeds {
                let mut world = World::new();
                let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
                    Does::new().on_data(|conn, data| conn.write_some(data))
                });
                let evil = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| villain(at, deed));
                let mut peers: Vec<Peer> = (0..4).map(|_| world.dial(&address)).collect();
                world.until_open(4);
                let mut peer = world.dial(&evil);
                // Events of everybody are in one batch.
                for peer in peers.iter_mut().chain([&mut peer]) {
                    let _ = peer.write_some(b"hello");
                }
                peer.finish();
                if at == At::Drain {
                    world.reactor().shutdown(Duration::from_secs(10));
                }
                world.until("the villain", |world| world.log.made() >= 5);
                world.turns(3);
                let (peers_gone, mut rest) = (shared(()), peers);
                rest.push(peer);
                drop(rest);
                world.until("everybody to be gone", |world| world.reactor().connections() == 0);
                drop(peers_gone);
                world.log.check_over();
                assert_eq!(world.log.reasons().len(), 5, "{at:?} {deed:?}");
                assert_eq!(world.reactor().snapshot().panics, 0, "{at:?} {deed:?}");
            }
        }
    });
}

#[test]
fn ten_thousand_writes_to_others_in_one_callback_do_not_recurse() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                let others = conn.context().connections();
                for n in 0..10_000u32 {
                    let id = others[n as usize % others.len()];
                    conn.other(id).expect("it lives").write(&n.to_be_bytes()).expect("room");
                }
                data.len()
            })
        });
        let mut peers: Vec<Peer> = (0..3).map(|_| world.dial(&address)).collect();
        world.until_open(3);
        peers[0].send_all_while(&mut world, b"go");
        let got = [peers[1].read_exact_while(&mut world, 20_000), peers[2].read_exact_while(&mut world, 20_000)];
        for (first, got) in (0..2).zip(got) {
            let words: Vec<u32> =
                got.chunks(4).map(|word| u32::from_be_bytes(word.try_into().expect("four bytes"))).collect();
            assert!(words.iter().step_by(1).zip((words[0]..).step_by(2)).all(|(a, b)| *a == b), "peer {first}");
        }
    });
}

#[test]
fn a_chain_of_five_thousand_ends_does_not_recurse() {
    let mut world = World::new();
    let ids: Shared<Vec<ConnId>> = shared(Vec::new());
    let mut peers = Vec::new();
    for n in 0..5_000usize {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        peers.push(theirs);
        let next = ids.clone();
        let handler = world.log.record(Does::new().on_close(move |conn, reason| {
            assert_eq!(reason, Reason::Aborted);
            let next = next.borrow().get(n + 1).copied();
            if let Some(mut next) = next.and_then(|id| conn.other(id)) {
                next.abort();
            }
        }));
        let link = Link::new(ours, Limits::default()).expect("a link");
        ids.borrow_mut().push(world.reactor().context().adopt(link, handler).expect("adopted"));
    }
    world.until_open(5_000);
    let first = ids.borrow()[0];
    on_other(&mut world, first, |other| other.abort());
    // Each end is driven in its own turn, and none inside another.
    while world.reactor().connections() > 0 {
        world.reactor().poll_once(Some(Duration::from_millis(1))).expect("a turn");
    }
    world.log.check_over();
    assert_eq!(world.reactor().snapshot().panics, 0);
}

/// Panics when it is dropped.
struct Spite;

impl Drop for Spite {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "out of spite");
    }
}

struct Spiteful {
    _spite: Spite,
}

impl Handler for Spiteful {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match data {
            b"detach" => conn.detach(|link, _| drop(link)),
            b"close" => conn.close(),
            b"abort" => conn.abort(),
            b"panic" => panic!("on purpose"),
            _ => {}
        }
        data.len()
    }
}

#[test]
fn a_handler_that_panics_when_dropped_harms_nobody_else() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let evil = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Spiteful { _spite: Spite });
        let mut bystander = world.dial(&address);
        let words: [&[u8]; 5] = [b"detach", b"close", b"abort", b"panic", b""];
        for (round, word) in words.into_iter().enumerate() {
            let mut peer = world.dial(&evil);
            peer.send_all_while(&mut world, word);
            peer.finish();
            let _ = peer.read_to_end_while(&mut world);
            drop(peer);
            world.until("it to be gone", |world| world.log.reasons().len() == round + 1);
            bystander.send_all_while(&mut world, b"x");
            assert_eq!(bystander.read_exact_while(&mut world, 1), b"x");
        }
        assert_eq!(world.reactor().snapshot().panics, 5 + 1);
        let _last = world.dial(&evil);
        world.until_open(2);
        world.drop_reactor();
        world.log.check_over();
    });
}

#[test]
fn closures_that_panic_when_dropped_harm_nobody() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut bystander = world.dial(&address);
        world.until_open(1);
        // A listener's maker.
        let place = world.free_address(kind);
        let held = Spite;
        let accept = move |_: &Conn<'_>| {
            let _ = &held;
            Sink
        };
        let id = world.try_listen(&place, ListenConfig::default(), accept).expect("a listener");
        world.turns(2);
        world.reactor().context().remove_listener(id).expect("it lives");
        world.until("the first panic", |world| world.reactor().snapshot().panics == 1);
        // A watch, a job and a command.
        let held = Spite;
        let (ours, _theirs) = UnixStream::pair().expect("a pair");
        let handler = move |_: &mut Context<'_>, _: std::os::fd::BorrowedFd<'_>, _| {
            let _ = &held;
            Next::Wait
        };
        let watch = world.reactor().context().watch(ours, Direction::Read, handler).expect("a watch");
        world.turns(2);
        world.reactor().context().unwatch(watch);
        world.until("the second panic", |world| world.reactor().snapshot().panics == 2);
        let held = Spite;
        world.reactor().after(Duration::ZERO, move |_| drop(held));
        world.until("the third panic", |world| world.reactor().snapshot().panics == 3);
        let held = Spite;
        world.reactor().remote().run(move |_| drop(held)).expect("room");
        world.until("the fourth panic", |world| world.reactor().snapshot().panics == 4);
        bystander.send_all_while(&mut world, b"x");
        assert_eq!(bystander.read_exact_while(&mut world, 1), b"x");
    });
}

#[test]
fn an_adopter_that_is_refused_and_panics_when_dropped_harms_nobody() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_drain(|_| {}).on_data(|conn, data| conn.write_some(data))
        });
        let mut bystander = world.dial(&address);
        world.until_open(1);
        world.reactor().shutdown(Duration::from_secs(10));
        world.turns(2);
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let link = Link::new(ours, Limits::default()).expect("a link");
        let held = Spite;
        world.reactor().remote().adopt(link, move |_| Spiteful { _spite: held }).expect("room");
        world.turns(3);
        assert_eq!(std::io::Read::read(&mut theirs, &mut [0; 8]).expect("an end"), 0);
        bystander.send_all_while(&mut world, b"x");
        assert_eq!(bystander.read_exact_while(&mut world, 1), b"x");
    });
}

#[test]
fn a_handler_that_never_stops_writing_starves_nobody_and_stays_bounded() {
    each_plain_kind("it counts turns, and the pieces that a read brings", |kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let endless = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            let more = |conn: &mut Conn<'_>| {
                while conn.write_some(&pattern(MIB)[..60_000]) == 60_000 {}
                assert!(conn.unsent_bytes() <= MIB + MIB / 128);
            };
            Does::new().on_open(more).on_writable(more)
        });
        let mut peers: Vec<Peer> = (0..10).map(|_| world.dial(&address)).collect();
        let mut reader = world.dial(&endless);
        world.until_open(11);
        let mut buffer = vec![0; 256 * KIB];
        for _ in 0..20 {
            for peer in &mut peers {
                assert_eq!(peer.write_some(b"x").expect("a write"), 1);
            }
            for _ in 0..2 {
                while let Some(Ok(1..)) = reader.try_read(&mut buffer) {}
                world.turn();
            }
            for peer in &mut peers {
                let read = peer.try_read(&mut buffer).expect("an echo within two turns").expect("a read");
                assert_eq!(read, 1);
            }
        }
        assert_eq!(world.reactor().snapshot().panics, 0);
    });
}

#[test]
fn one_connection_that_floods_takes_a_bounded_share_of_each_turn() {
    each_plain_kind("it counts turns and the bytes on the socket", |kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let flooded = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let mut peers: Vec<Peer> = (0..50).map(|_| world.dial(&address)).collect();
        let mut flood = world.dial(&flooded);
        world.until_open(51);
        let (bytes, mut buffer, mut total) = (vec![7; MIB], [0; 64], 0);
        for _ in 0..30 {
            for peer in &mut peers {
                assert_eq!(peer.write_some(b"x").expect("a write"), 1);
            }
            for _ in 0..2 {
                loop {
                    let taken = flood.write_some(&bytes).expect("a write");
                    total += taken;
                    if taken == 0 {
                        break;
                    }
                }
                let before = world.reactor().snapshot().bytes_in;
                world.turn();
                let read = world.reactor().snapshot().bytes_in - before;
                assert!(read <= 2 * 256 * KIB as u64 + 50, "{read} bytes in one turn");
            }
            for peer in &mut peers {
                let read = peer.try_read(&mut buffer).expect("an echo within two turns").expect("a read");
                assert_eq!(read, 1);
            }
        }
        assert!(total > 4 * MIB, "{total} bytes are no flood");
        flood.finish();
        world.until("the flood to be read", |world| world.log.reasons() == [Reason::PeerClosed]);
        assert_eq!(world.reactor().snapshot().bytes_in, total as u64 + 30 * 50);
    });
}

#[test]
fn a_handler_that_says_again_by_resuming_for_ever_starves_nobody() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let busy = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, _| {
                conn.resume();
                0
            })
        });
        let (mut peer, mut bystander) = (world.dial(&busy), world.dial(&address));
        world.until_open(2);
        peer.send_all_while(&mut world, b"x");
        for _ in 0..20 {
            bystander.send_all_while(&mut world, b"hello");
            assert_eq!(bystander.read_exact_while(&mut world, 5), b"hello");
        }
        let turns = world.reactor().snapshot().turns as usize;
        assert!(
            world.log.said(0).len().max(world.log.said(1).len()) <= 2 * turns,
            "it was called more than once a turn"
        );
        drop(peer);
        world.until("it to be gone", |world| world.reactor().connections() == 1);
    });
}

#[test]
fn a_deadline_ends_a_connection_that_keeps_the_reactor_busy() {
    each_kind(|kind| {
        let mut world = World::new();
        let limits = Limits { lifetime: Some(Duration::from_millis(60)), ..Limits::default() };
        let busy = world.listen(kind, limited(limits), |_: &Conn<'_>| Sink);
        let mut flood = world.dial(&busy);
        let bytes = vec![7; MIB];
        world.until("the deadline", |world| {
            while flood.write_some(&bytes).is_ok_and(|taken| taken > 0) {}
            world.log.made() == 1 && flood.try_read(&mut [0; 8]).is_some_and(|read| read.is_ok_and(|read| read == 0))
        });
        drop(flood);
        world.until("the end", |world| world.reactor().connections() == 0);
        let reasons = world.log.reasons();
        assert!(reasons.len() == 1 && reasons[0] != Reason::Local, "{reasons:?}");
    });
}

#[test]
fn what_other_threads_close_and_peers_close_at_once_ends_once() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let remote = world.reactor().remote();
        for round in 0..50 {
            let peer = world.dial(&address);
            world.until_open(1);
            let id = world.log.id(round);
            if round % 3 == 0 {
                remote.abort(id).expect("room");
            } else {
                remote.close(id).expect("room");
            }
            if round % 2 == 0 {
                drop(peer)
            } else {
                peer.reset()
            }
            world.until_empty();
        }
        assert_eq!(world.log.reasons().len(), 50);
    });
}

#[test]
fn closures_on_the_reactor_may_end_everything_too() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let peers: Vec<Peer> = (0..20).map(|_| world.dial(&address)).collect();
        world.until_open(20);
        on_reactor(&mut world, |cx| {
            for id in cx.connections() {
                let mut other = cx.other(id).expect("it was listed");
                other.write(b"bye").expect("room");
                other.close();
            }
            cx.shutdown(Duration::from_secs(5));
        });
        for mut peer in peers {
            assert_eq!(peer.read_to_end_while(&mut world).expect("a clean end"), b"bye");
        }
        let reasons = world.until_empty();
        assert!(reasons.len() == 20 && reasons.iter().all(|reason| matches!(reason, Reason::Local | Reason::Drain)));
    });
}
