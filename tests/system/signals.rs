//! SIGPIPE: no send raises it, whoever has left, and whatever the program does with it.

use crate::support::blocking::{Client, Tale};
use crate::support::{Hooks, Kind, World, alone, each_kind, each_plain_kind, listening};
use signal_hook::consts::SIGPIPE;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use windlass::{
    Address, BlockingConfig, Bytes, Conn, Engine, EngineConfig, Handler, ListenConfig, Reactor, ReactorConfig, Reason,
    Server, WriteError,
};

/// One way to send, of a file of 300,000 bytes or otherwise.
type Send = fn(&mut Conn<'_>, Arc<File>) -> Result<(), WriteError>;

const SENDS: [(&str, Send); 7] = [
    ("bytes", |conn, _| conn.write(&[1; 100_000])),
    ("slices", |conn, _| conn.write_vectored(&[&[1; 50_000], &[2; 50_000]])),
    ("owned bytes", |conn, _| conn.write_bytes(Bytes::from(vec![1; 100_000]))),
    ("a small range of a file", |conn, file| conn.send_file(file, 0..100)),
    ("a range of a file", |conn, file| conn.send_file(file, 0..50_000)),
    ("a file", |conn, file| conn.send_file(file, 0..300_000)),
    ("a file between bytes", |conn, file| {
        conn.write(&[1; 20_000])?;
        conn.send_file(file, 0..300_000)?;
        conn.write(&[2; 20_000])?;
        conn.finish();
        Ok(())
    }),
];

/// What the handlers of a test share: what they send next, a word to the test and its answer when the peer has left.
struct Shared {
    send: Mutex<usize>,
    asks: Sender<()>,
    left: Mutex<Receiver<()>>,
    file: Arc<File>,
    closed: Tale<Reason>,
}

struct Sends(Arc<Shared>);

impl Handler for Sends {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        self.0.asks.send(()).expect("the test waits");
        self.0.left.lock().expect("no panic").recv().expect("the peer has left");
        let (_, send) = SENDS[*self.0.send.lock().expect("no panic")];
        send(conn, self.0.file.clone()).expect("room");
        data.len()
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        self.0.closed.tell(reason);
    }
}

/// Has the peers of a server leave before each way to send. `serve` begins to listen, and tells where, and what is returned.
fn sends_to_those_who_left<T>(kind: Kind, serve: impl FnOnce(&World, Arc<Shared>) -> (Address, T)) -> T {
    let raised = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGPIPE, raised.clone()).expect("a handler");
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&[7; 300_000]).expect("written");
    let ((asks, asked), (leaves, left)) = (channel(), channel());
    let (left, closed) = (Mutex::new(left), Tale::default());
    let shared = Arc::new(Shared { send: Mutex::new(0), asks, left, file: file.into(), closed: closed.clone() });
    let world = World::new();
    let (address, served) = serve(&world, shared.clone());
    for (number, (what, _)) in SENDS.into_iter().enumerate() {
        *shared.send.lock().expect("no panic") = number;
        let mut peer = Client::dial(&address);
        peer.send(b"get");
        asked.recv_timeout(Duration::from_secs(20)).expect("it came");
        // An end and then a reset: the next send says EPIPE, not ECONNRESET.
        peer.finish();
        peer.reset();
        leaves.send(()).expect("the handler waits");
        closed.until_count(what, number + 1);
        assert!(!raised.load(Ordering::Relaxed), "{what} over {kind:?} raised SIGPIPE");
    }
    served
}

/// The words of /proc/thread-self/status behind `key`: a mask of signals.
fn mask(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("a mask");
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).expect("a number")
}

const BIT: u64 = 1 << (SIGPIPE - 1);

/// Where a server of `kind` listens on a thread that `world` lives longer than.
fn place(world: &World, kind: Kind) -> Address {
    let tcp = "tcp://127.0.0.1:0".parse().expect("an address");
    kind.of(if kind.is_unix() { Address::unix(world.path("socket")).expect("a path") } else { tcp })
}

#[test]
fn no_send_on_a_callers_thread_raises_sigpipe_and_the_threads_mask_stays_as_it_was() {
    alone("signals::no_send_on_a_callers_thread_raises_sigpipe_and_the_threads_mask_stays_as_it_was", || {
        each_kind(|kind| {
            let (tell, told) = channel();
            let (ends, ended) = channel();
            let remote = sends_to_those_who_left(kind, |world, shared| {
                let address = place(world, kind);
                std::thread::spawn(move || {
                    assert_eq!(mask("SigBlk") & BIT, 0);
                    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
                    let config = listening(&address, ListenConfig::default());
                    let id = reactor.listen(&address, config, move |_: &Conn<'_>| Sends(shared.clone())).expect("it");
                    tell.send((reactor.listener_address(id).expect("it listens"), reactor.remote())).expect("a test");
                    reactor.run().expect("a report");
                    ends.send((mask("SigBlk") & BIT, mask("SigPnd") & BIT)).expect("a test");
                });
                told.recv().expect("it listens")
            });
            remote.shutdown(Duration::ZERO).expect("it runs");
            assert_eq!(ended.recv().expect("it ran"), (0, 0), "blocked, pending");
        });
    });
}

/// Has SIGPIPE end this process, as it ends any that is not written in Rust: std ignores it.
fn let_sigpipe_kill() {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_default(SIGPIPE, always).expect("a handler");
}

/// Sends a file on this thread to a peer that has left in order. The kernel takes the first piece of it, which brings a reset.
fn send_a_file_to_who_has_left() {
    let mut world = World::new();
    let peer = Arc::new(Mutex::new(None::<Client>));
    let leaves = peer.clone();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), move |_: &Conn<'_>| {
        let leaves = leaves.clone();
        Hooks::new().data(move |conn, data| {
            let mut peer = leaves.lock().expect("no panic").take().expect("it has sent");
            peer.finish();
            drop(peer);
            let file = tempfile::tempfile().expect("a file");
            file.set_len(1_000_000).expect("a long file");
            conn.send_file(file, 0..1_000_000).expect("room");
            data.len()
        })
    });
    let mut client = Client::dial(&address);
    client.send(b"get");
    *peer.lock().expect("no panic") = Some(client);
    world.until("the end", |world| world.log.reasons().len() == 1);
}

/// The peer ends in order and closes; the first piece of the file, which the kernel takes, brings its reset, and the second
/// fails within the same sendfile(2), which then says that it has sent a part.
#[test]
fn a_file_whose_first_piece_brings_the_peers_reset_ends_no_program() {
    alone("signals::a_file_whose_first_piece_brings_the_peers_reset_ends_no_program", || {
        let_sigpipe_kill();
        for _ in 0..20 {
            send_a_file_to_who_has_left();
            assert_eq!((mask("SigBlk") & BIT, mask("SigPnd") & BIT), (0, 0), "blocked, pending");
        }
    });
}

/// A signal that is blocked waits until it is unblocked.
#[cfg(target_os = "linux")]
#[test]
fn a_program_that_blocks_sigpipe_itself_finds_none_of_ours_when_it_unblocks_it() {
    alone("signals::a_program_that_blocks_sigpipe_itself_finds_none_of_ours_when_it_unblocks_it", || {
        let_sigpipe_kill();
        let set = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGPIPE);
        set.thread_block().expect("a mask");
        for _ in 0..20 {
            send_a_file_to_who_has_left();
            assert_eq!((mask("SigBlk") & BIT, mask("SigPnd") & BIT), (BIT, 0), "blocked, pending");
        }
        set.thread_unblock().expect("a mask");
    });
}

#[test]
fn no_send_on_an_engines_thread_raises_sigpipe_and_none_waits_there() {
    alone("signals::no_send_on_an_engines_thread_raises_sigpipe_and_none_waits_there", || {
        each_kind(|kind| {
            let engine = sends_to_those_who_left(kind, |world, shared| {
                let engine = Engine::start(EngineConfig { reactors: 1, ..EngineConfig::default() }).expect("an engine");
                let address = place(world, kind);
                let config = listening(&address, ListenConfig::default());
                let make = move || {
                    let shared = shared.clone();
                    move |_: &Conn<'_>| Sends(shared.clone())
                };
                let listening = engine.listen(&address, config, make).expect("it listens");
                (listening.address().clone(), engine)
            });
            let pending = engine.ask(0, |_| mask("SigPnd") & BIT).expect("an answer");
            assert_eq!(pending, 0);
            engine.shutdown(Duration::ZERO).expect("a report");
        });
    });
}

#[test]
fn a_file_that_a_blocking_link_goes_on_with_raises_no_sigpipe() {
    alone("signals::a_file_that_a_blocking_link_goes_on_with_raises_no_sigpipe", || {
        each_plain_kind("files are read and sealed", |kind| {
            let raised = Arc::new(AtomicBool::new(false));
            signal_hook::flag::register(SIGPIPE, raised.clone()).expect("a handler");
            let mut world = World::new();
            let (gives, given) = channel();
            let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
                let gives = gives.clone();
                Hooks::new().data(move |conn, data| {
                    let file = tempfile::tempfile().expect("a file");
                    file.set_len(100_000_000).expect("a long file");
                    conn.send_file(file, 0..100_000_000).expect("room");
                    let gives = gives.clone();
                    conn.detach(move |link, _| gives.send(link).expect("a test"));
                    data.len()
                })
            });
            let mut peer = Client::dial(&address);
            peer.send(b"get");
            let mut link = None;
            world.until("the link", |_| {
                link = given.try_recv().ok();
                link.is_some()
            });
            let link = link.expect("a link").into_blocking().expect("it lives");
            peer.finish();
            peer.reset();
            link.close().expect_err("nobody reads the file");
            assert!(!raised.load(Ordering::Relaxed), "over {kind:?}");
            assert_eq!((mask("SigBlk") & BIT, mask("SigPnd") & BIT), (0, 0), "blocked, pending");
        });
    });
}

#[test]
fn a_blocking_handler_may_start_processes_that_know_sigpipe() {
    alone("signals::a_blocking_handler_may_start_processes_that_know_sigpipe", || {
        let masks = Tale::default();
        let tells = masks.clone();
        let server = Server::builder().address("tcp://127.0.0.1:0".parse().expect("an address"));
        let server = server.blocking_handler(BlockingConfig::default(), move |_, _| {
            tells.tell(mask("SigBlk") & BIT);
            Ok(())
        });
        let server = server.build().expect("a server");
        server.listen().expect("it listens");
        let _peer = Client::dial(&server.local_addresses()[0]);
        assert_eq!(masks.until_count("the handler", 1), [0]);
    });
}
