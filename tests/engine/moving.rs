//! Connections that go from reactor to reactor, and bytes that come to them from other threads.

use crate::placement::{config, end, sum};
use crate::support::blocking::{Client, Rig, Tale, engine, until};
use crate::support::{PATIENCE, each_kind};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use windlass::{Bytes, Conn, ConnId, Engine, EngineConfig, Error, Handler, Placement, Reason, Remote};

/// Echoes, and goes on to the next reactor whenever it has echoed so many bytes.
struct Traveller {
    remotes: Arc<OnceLock<Vec<Remote>>>,
    at: usize,
    until_next: usize,
    moves: Tale<usize>,
}

const STAY_BYTES: usize = 48 * 1024;

impl Traveller {
    fn travel(&self, conn: &mut Conn<'_>) {
        let next = Traveller {
            remotes: self.remotes.clone(),
            at: (self.at + 1) % self.remotes.get().expect("they are known").len(),
            until_next: STAY_BYTES,
            moves: self.moves.clone(),
        };
        conn.detach(move |link, _| {
            next.moves.tell(next.at);
            let remote = next.remotes.get().expect("they are known")[next.at].clone();
            remote.adopt(link, move |_| next).expect("it is taken");
        });
    }
}

impl Handler for Traveller {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let used = conn.write_some(&data[..data.len().min(self.until_next)]);
        self.until_next -= used;
        if self.until_next == 0 {
            self.travel(conn);
        }
        used
    }
}

/// The bytes of a stream: each tells where it belongs.
fn pattern(at: usize) -> u8 {
    ((at * 31) ^ (at >> 8) ^ (at >> 16)) as u8
}

#[test]
fn a_live_connection_goes_from_reactor_to_reactor_and_loses_nothing() {
    const BYTES: usize = 2 << 20;
    each_kind(|kind| {
        let rig = Rig::new();
        let (remotes, moves) = (Arc::new(OnceLock::new()), Tale::default());
        let engine = Engine::start(engine(3)).expect("an engine");
        remotes.set(engine.remotes().to_vec()).expect("once");
        let (known, told) = (remotes.clone(), moves.clone());
        let make = move || {
            let (known, told) = (known.clone(), told.clone());
            move |_: &Conn<'_>| Traveller { remotes: known.clone(), at: 0, until_next: STAY_BYTES, moves: told.clone() }
        };
        let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
        let address = listening.address().clone();
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let address = address.clone();
                std::thread::spawn(move || {
                    let mut client = Client::dial(&address);
                    let (mut sent, mut heard) = (0, 0);
                    let mut buffer = vec![0; 32 * 1024];
                    // Both ways at once: up to 200 KB are on their way.
                    while heard < BYTES {
                        while sent < BYTES && sent - heard < 200_000 {
                            let piece: Vec<u8> = (sent..(sent + 10_000).min(BYTES)).map(pattern).collect();
                            client.send(&piece);
                            sent += piece.len();
                        }
                        let count = client.read(&mut buffer).expect("a read");
                        assert!(count > 0, "the end came after {heard} bytes");
                        for byte in &buffer[..count] {
                            assert!(*byte == pattern(heard), "byte {heard} is another one");
                            heard += 1;
                        }
                    }
                    client.close();
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().expect("all of it, in its order"));
        until("all to have left", || engine.connections() == 0);
        let moved = moves.count() as u64;
        assert!(moved >= 2 * (BYTES / STAY_BYTES) as u64, "{moved}");
        assert_eq!((sum(&engine, |c| c.accepted), sum(&engine, |c| c.adopted)), (2, moved));
        assert_eq!(sum(&engine, |c| c.closed_for(Reason::Detached)), moved);
        assert_eq!(sum(&engine, |c| c.opened), 2 + moved);
        assert_eq!(sum(&engine, |c| c.closed_total()), 2 + moved);
        end(&engine);
    });
}

/// Tells who it is and where it lives.
struct Listener(Tale<(ConnId, Remote)>);

impl Handler for Listener {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.0.tell((conn.id(), conn.remote()));
    }

    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }
}

#[test]
fn what_many_threads_send_arrives_whole_and_in_each_ones_order() {
    const SENDERS: u32 = 4;
    const EACH: u32 = 1500;
    const CLIENTS: usize = 6;
    each_kind(|kind| {
        let rig = Rig::new();
        let plan = EngineConfig { placement: Placement::RoundRobin, ..engine(3) };
        let engine = Engine::start(plan).expect("an engine");
        let opened = Tale::default();
        let told = opened.clone();
        let make = move || {
            let told = told.clone();
            move |_: &Conn<'_>| Listener(told.clone())
        };
        let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| Client::dial(listening.address())).collect();
        let all: Vec<(ConnId, Remote)> = opened.until_count("all to be open", CLIENTS);
        let homes = engine.remotes().iter().map(Remote::connections).collect::<Vec<_>>();
        assert_eq!(homes, [2; 3]);
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let all = all.clone();
                std::thread::spawn(move || {
                    let began = Instant::now();
                    for number in 0..EACH {
                        for (id, remote) in &all {
                            let mut bytes = Bytes::from([sender.to_be_bytes(), number.to_be_bytes()].concat());
                            while let Err(unsent) = remote.send(*id, bytes) {
                                assert!(matches!(unsent.why, Error::MailboxFull { .. }), "{unsent}");
                                assert!(began.elapsed() < PATIENCE);
                                bytes = unsent.bytes;
                                std::thread::yield_now();
                            }
                        }
                    }
                })
            })
            .collect();
        for client in &mut clients {
            let heard = client.read_exact((SENDERS * EACH) as usize * 8);
            let mut next = [0u32; SENDERS as usize];
            for message in heard.chunks_exact(8) {
                let word = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().expect("four bytes"));
                let sender = word(0) as usize;
                assert_eq!(word(4), next[sender], "of sender {sender}");
                next[sender] += 1;
            }
            assert_eq!(next, [EACH; SENDERS as usize]);
        }
        senders.into_iter().for_each(|sender| sender.join().expect("no panic"));
        assert_eq!(sum(&engine, |c| c.undelivered), 0);
        let (id, _) = all[0].clone();
        let elsewhere = all.iter().map(|(_, remote)| remote).find(|remote| remote.finish(id).is_err());
        let refused = elsewhere.expect("one of another reactor").send(id, Bytes::from_static(b"x"));
        assert!(matches!(refused, Err(unsent) if matches!(unsent.why, Error::Gone)));
        drop(clients);
        end(&engine);
    });
}

#[test]
fn a_connection_that_is_moved_to_a_reactor_that_has_stopped_comes_back() {
    each_kind(|kind| {
        let rig = Rig::new();
        let engine = Engine::start(engine(2)).expect("an engine");
        let (gone, back) = (engine.remotes()[1].clone(), Tale::default());
        let told = back.clone();
        struct Leaver(Remote, Tale<bool>);
        impl Handler for Leaver {
            fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
                let (gone, told) = (self.0.clone(), self.1.clone());
                conn.detach(move |link, cx| {
                    let refused = gone.adopt(link, |_| crate::support::Echo).expect_err("it has stopped");
                    told.tell(matches!(refused.why, Error::ReactorGone));
                    cx.adopt(*refused.link, crate::support::Echo).expect("taken");
                });
                data.len()
            }
        }
        let make = move || {
            let (gone, told) = (gone.clone(), told.clone());
            move |_: &Conn<'_>| Leaver(gone.clone(), told.clone())
        };
        let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
        engine.remotes()[1].shutdown(std::time::Duration::ZERO).expect("a report");
        let mut client = Client::dial(listening.address());
        client.send(b"go");
        assert_eq!(back.until_count("it to come back", 1), [true]);
        client.echoes(b"hello");
        client.close();
        assert_eq!(engine.shutdown(PATIENCE).expect("a report").cut, 0);
        assert_eq!(engine.connections(), 0);
    });
}

#[test]
fn counters_of_a_reactor_never_fall_when_a_connection_moves_there() {
    const BYTES: usize = 1 << 20;
    each_kind(|kind| {
        let rig = Rig::new();
        let (remotes, moves) = (Arc::new(OnceLock::new()), Tale::default());
        let engine = Engine::start(EngineConfig { placement: Placement::RoundRobin, ..engine(2) }).expect("an engine");
        remotes.set(engine.remotes().to_vec()).expect("once");
        let make = move || {
            let (remotes, moves) = (remotes.clone(), moves.clone());
            move |_: &Conn<'_>| Traveller {
                remotes: remotes.clone(),
                at: 1,
                until_next: STAY_BYTES,
                moves: moves.clone(),
            }
        };
        let listening = engine.listen(&rig.address(kind), config(kind), make).expect("it listens");
        let mut client = Client::dial(listening.address());
        let (mut counted, mut echoed) = ([(0, 0); 2], 0);
        while echoed < BYTES {
            client.echoes(&[7; 16 * 1024]);
            echoed += 16 * 1024;
            for (reactor, before) in counted.iter_mut().enumerate() {
                let both = move |cx: &mut windlass::Context<'_>| (*cx.counters(), cx.snapshot());
                let (counters, snapshot) = engine.ask(reactor, both).expect("an answer");
                for now in [counters, snapshot] {
                    assert!(now.bytes_in <= 4 * BYTES as u64 && now.bytes_out <= 4 * BYTES as u64, "{now:?}");
                }
                let now = (snapshot.bytes_in, snapshot.bytes_out);
                assert!(now.0 >= before.0 && now.1 >= before.1, "{before:?}, then {now:?}");
                *before = now;
            }
        }
        drop(client);
        until("it to have left", || engine.connections() == 0);
        let total = sum(&engine, |c| c.bytes_in);
        assert!(total >= BYTES as u64 && (kind.is_tls() || total == BYTES as u64), "{total}");
        end(&engine);
    });
}
