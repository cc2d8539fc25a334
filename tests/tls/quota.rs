//! Many records that are read at once, and opened over several turns: whatever the handler does with the first of them.

use crate::raw::Client;
use crate::support::{Echo, Kind, Sink, World};
use std::cell::RefCell;
use std::io::Read;
use std::rc::Rc;
use std::time::Duration;
use windlass::{Conn, Handler, Limits, ListenConfig, Reason};

/// Records of one byte each: more than one turn opens.
const RECORDS: usize = 2_000;

/// Records that one turn opens.
const TURN: usize = 256;

/// What the handler does when it is shown something for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Go,
    Pause,
    Need,
    Detach,
    Block,
    Close,
    Finish,
    Abort,
}

/// What was shown and told.
#[derive(Default)]
struct Seen {
    shown: Vec<usize>,
    /// Of the link that was detached.
    rest: Vec<u8>,
    ended: Option<Reason>,
    end: bool,
}

struct Acts {
    act: Act,
    /// Once it has acted it takes what it is shown.
    acts: bool,
    seen: Rc<RefCell<Seen>>,
}

impl Handler for Acts {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let mut seen = self.seen.borrow_mut();
        assert!(data.iter().all(|byte| *byte == b'x'));
        if !std::mem::take(&mut self.acts) {
            seen.shown.push(data.len());
            return data.len();
        }
        if self.act != Act::Need {
            seen.shown.push(data.len());
        }
        match self.act {
            Act::Go => {}
            Act::Pause => {
                conn.pause();
                conn.set_timer(Duration::from_millis(20));
            }
            Act::Need => {
                conn.need(RECORDS).expect("room");
                return 0;
            }
            Act::Detach => {
                let seen = self.seen.clone();
                conn.detach(move |link, _| seen.borrow_mut().rest = link.unread().to_vec());
            }
            Act::Block => {
                let seen = self.seen.clone();
                conn.detach(move |link, _| {
                    let mut rest = vec![0; RECORDS - TURN];
                    let mut link = link.into_blocking().expect("a link that is open");
                    link.read_exact(&mut rest).expect("all that was read");
                    seen.borrow_mut().rest = rest;
                });
            }
            Act::Close => conn.close(),
            Act::Finish => conn.finish(),
            Act::Abort => conn.abort(),
        }
        data.len()
    }

    fn on_timer(&mut self, conn: &mut Conn<'_>) {
        assert_eq!(self.seen.borrow().shown, [TURN], "it is paused");
        conn.resume();
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
        assert!(rest.is_empty());
        self.seen.borrow_mut().end = true;
        conn.close();
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        self.seen.borrow_mut().ended = Some(reason);
    }
}

/// How the peer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    CloseNotify,
    Cut,
}

/// Sends all records in one write, with the end behind them, and takes turns until the connection is over.
fn sends_many(act: Act, end: End, limits: Limits) -> Rc<RefCell<Seen>> {
    let mut world = World::new();
    let seen = Rc::new(RefCell::new(Seen::default()));
    let config = ListenConfig { limits, ..ListenConfig::default() };
    let handler = seen.clone();
    let address = world.listen(Kind::Tls, config, move |_: &Conn<'_>| Acts { act, acts: true, seen: handler.clone() });
    let mut client = Client::usual(&address);
    client.shake(&mut world, 10_000);
    world.until_open(1);
    client.tls.set_buffer_limit(None);
    (0..RECORDS).for_each(|_| client.write(b"x"));
    if end == End::CloseNotify {
        client.tls.send_close_notify();
    }
    let records = client.records();
    assert!(records.len() < 64 * 1024, "the kernel takes them at once");
    client.peer.send_all_while(&mut world, &records);
    client.peer.finish();
    world.until("the end", |_| seen.borrow().ended.is_some());
    drop(client);
    seen
}

#[test]
fn a_turn_opens_so_many_records_and_the_rest_follows_in_order_before_the_end() {
    for end in [End::CloseNotify, End::Cut] {
        let seen = sends_many(Act::Go, end, Limits::default());
        let seen = seen.borrow();
        assert_eq!(seen.shown.iter().sum::<usize>(), RECORDS, "{end:?}");
        assert!(seen.shown.iter().all(|bytes| *bytes <= TURN), "{:?}", seen.shown);
        let reason = if end == End::Cut { Reason::Truncated } else { Reason::PeerClosed };
        assert_eq!((seen.ended, seen.end), (Some(reason), end == End::CloseNotify));
    }
}

#[test]
fn a_pause_in_the_middle_holds_what_was_read_and_a_need_waits_for_all_of_it() {
    for act in [Act::Pause, Act::Need] {
        let seen = sends_many(act, End::CloseNotify, Limits::default());
        let seen = seen.borrow();
        assert_eq!(seen.shown.iter().sum::<usize>(), RECORDS, "{act:?}");
        assert!(seen.end && seen.ended == Some(Reason::PeerClosed), "{act:?}");
        if act == Act::Need {
            assert_eq!(seen.shown, [RECORDS]);
        }
    }
}

#[test]
fn a_link_that_leaves_in_the_middle_takes_all_that_was_read_along_as_plaintext() {
    for act in [Act::Detach, Act::Block] {
        let seen = sends_many(act, End::Cut, Limits::default());
        let seen = seen.borrow();
        assert_eq!(seen.shown, [TURN]);
        assert_eq!(seen.rest, [b'x'; RECORDS - TURN], "{act:?}");
        assert_eq!(seen.ended, Some(Reason::Detached));
    }
}

#[test]
fn an_end_in_the_middle_is_the_end() {
    for (act, reason) in [(Act::Close, Reason::Local), (Act::Abort, Reason::Aborted)] {
        let seen = sends_many(act, End::CloseNotify, Limits::default());
        let seen = seen.borrow();
        assert_eq!((&seen.shown[..], seen.ended, seen.end), (&[TURN][..], Some(reason), false), "{act:?}");
    }
    let seen = sends_many(Act::Finish, End::CloseNotify, Limits::default());
    let seen = seen.borrow();
    assert_eq!(seen.shown.iter().sum::<usize>(), RECORDS, "input still comes behind our own end");
    assert!(seen.end && seen.ended == Some(Reason::PeerClosed), "{:?}", seen.ended);
}

#[test]
fn a_small_inbox_takes_them_as_well() {
    let limits = Limits { inbox_bytes_max: 300, ..Limits::default() };
    let seen = sends_many(Act::Go, End::CloseNotify, limits);
    assert_eq!(seen.borrow().shown.iter().sum::<usize>(), RECORDS);
}

/// One connection that sent tiny records took 17 ms for one read of them, and so did everybody's turn.
#[test]
fn a_flood_of_tiny_records_does_not_keep_the_loop_from_others() {
    let mut world = World::new();
    let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
    let mut flooder = Client::usual(&address);
    flooder.shake(&mut world, 10_000);
    flooder.tls.set_buffer_limit(None);
    let mut other = world.dial(&address);
    other.send_all_while(&mut world, b"a");
    assert_eq!(other.read_exact_while(&mut world, 1), b"a");
    (0..20 * TURN).for_each(|_| flooder.write(b"x"));
    let mut waiting = flooder.records();
    let mut most = 0;
    while !waiting.is_empty() {
        let sent = flooder.peer.write_some(&waiting).expect("a write");
        waiting.drain(..sent);
        let before = world.log.shown(0);
        world.turn();
        most = most.max(world.log.shown(0) - before);
    }
    // Once for what came, and once more since the turn before had left some.
    assert!(0 < most && most <= 2 * TURN, "{most} records in one turn");
    world.until("all of it", |world| world.log.shown(0) == 20 * TURN);
}

/// What sixteen peers send, each as fast as it can.
#[derive(Clone, Copy, Debug)]
enum Flood {
    FullRecords,
    OneByteRecords,
    KeyUpdates,
}

/// Records of one peer for some turns.
fn records(client: &mut Client, flood: Flood) -> Vec<u8> {
    let mut wire = Vec::new();
    match flood {
        Flood::FullRecords => (0..64).for_each(|_| client.write(&[b'x'; 16 * 1024])),
        Flood::OneByteRecords => (0..20_000).for_each(|_| client.write(b"x")),
        Flood::KeyUpdates => {
            for _ in 0..20_000 {
                if client.tls.refresh_traffic_keys().is_err() {
                    break;
                }
                client.write(b"x");
                wire.extend(client.records());
            }
        }
    }
    wire.extend(client.records());
    wire
}

/// Prints how long an echo of a bystander takes beside each kind of flood.
#[test]
#[ignore = "a measurement: --release, on a quiet machine"]
fn a_bystander_beside_sixteen_floods() {
    const PEERS: usize = 16;
    for flood in [Flood::FullRecords, Flood::OneByteRecords, Flood::KeyUpdates] {
        let mut world = World::new();
        let address = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Sink);
        let ordinary = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut other = world.dial(&ordinary);
        other.send_all_while(&mut world, b"a");
        assert_eq!(other.read_exact_while(&mut world, 1), b"a");
        let mut floods: Vec<(Client, Vec<u8>, usize)> = Vec::new();
        for _ in 0..PEERS {
            let mut client = Client::usual(&address);
            client.shake(&mut world, 10_000);
            client.tls.set_buffer_limit(None);
            let wire = records(&mut client, flood);
            floods.push((client, wire, 0));
        }
        let mut took = Vec::new();
        let (mut read, mut quiet) = (0, 0);
        while quiet < 3 {
            for (client, wire, sent) in &mut floods {
                *sent += client.peer.write_some(&wire[*sent..]).unwrap_or(wire.len() - *sent);
            }
            let began = std::time::Instant::now();
            other.send_all_while(&mut world, b"b");
            assert_eq!(other.read_exact_while(&mut world, 1), b"b");
            took.push(began.elapsed());
            // Until nothing more of the floods is read.
            let now = world.reactor().snapshot().bytes_in;
            quiet = if now > read + 100 { 0 } else { quiet + 1 };
            read = now;
        }
        took.sort();
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        println!("{flood:?}: {} echoes, p50 {p50:?}, p99 {p99:?}, longest {:?}", took.len(), took[took.len() - 1]);
    }
}
