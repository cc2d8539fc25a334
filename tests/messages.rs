//! Values on their way to handlers: from other threads, from other handlers of the reactor, and what becomes of those that
//! nobody takes.

mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;
use support::{Kind, World, each_kind};
use windlass::{
    Conn, ConnId, Context, DatagramHandler, Datagrams, Engine, EngineConfig, Error, Handler, ListenConfig, Message,
    Reactor, ReactorConfig, Remote, Server, Undelivered,
};

/// Writes each number that it is told, pauses at the first input, and passes on what it is asked to.
struct Listener;

struct PassOn(ConnId, u32);

impl Handler for Listener {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.pause();
        data.len()
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        if let Some(number) = message.take::<u32>() {
            assert_ne!(number, u32::MAX, "the test panics");
            conn.write(&number.to_be_bytes()).expect("room");
        } else if let Some(PassOn(to, number)) = message.take() {
            conn.other(to).expect("it lives").tell(number).expect("room");
        }
    }
}

/// What came back, with the reason.
type Lost = Rc<RefCell<Vec<(ConnId, Message, String)>>>;

fn lost(world: &mut World) -> Lost {
    let lost = Lost::default();
    let all = lost.clone();
    world.reactor().on_undelivered(move |what, why| {
        let Undelivered::Message(id, message) = what else { panic!("{what:?}") };
        all.borrow_mut().push((id, message, why.to_string()));
    });
    lost
}

#[test]
fn messages_arrive_in_their_order_also_while_paused_from_threads_and_from_other_handlers() {
    each_kind(|kind| {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Listener);
        let (mut one, mut two) = (world.dial(&address), world.dial(&address));
        world.until_open(2);
        let (first, second) = (world.log.id(0), world.log.id(1));
        one.send_all_while(&mut world, b"x");
        world.until("the pause", |world| world.log.shown(0) == 1);
        let remote = world.reactor().remote();
        std::thread::spawn(move || {
            (0..100u32).for_each(|number| remote.tell(first, number).expect("room"));
            remote.tell(first, PassOn(second, 7)).expect("room");
            remote.tell(first, 100u32).expect("room");
        })
        .join()
        .expect("a thread");
        let expected: Vec<u8> = (0..=100u32).flat_map(u32::to_be_bytes).collect();
        assert_eq!(one.read_exact_while(&mut world, expected.len()), expected);
        assert_eq!(two.read_exact_while(&mut world, 4), 7u32.to_be_bytes());
    });
}

#[test]
fn what_nobody_takes_comes_back_with_the_reason() {
    let mut world = World::new();
    let lost = lost(&mut world);
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Listener);
    let peer = world.dial(&address);
    world.until_open(1);
    let (id, remote) = (world.log.id(0), world.reactor().remote());
    remote.tell(id, "of another type").expect("room");
    remote.close(id).expect("room");
    remote.tell(id, 1u32).expect("room");
    world.until("both", |_| lost.borrow().len() == 2);
    drop(peer);
    world.until_empty();
    remote.tell(id, 2u32).expect("room");
    world.until("the third", |_| lost.borrow().len() == 3);
    let mut lost = lost.borrow_mut();
    assert!(lost.iter().all(|(to, message, _)| *to == id && !message.is_taken()));
    assert_eq!(lost[0].1.take::<&str>(), Some("of another type"));
    assert_eq!(lost[1].1.take::<u32>(), Some(1));
    let reasons: Vec<&str> = lost.iter().map(|(_, _, why)| &why[..]).collect();
    let reason = |error: Error| error.to_string();
    assert_eq!(reasons, [reason(Error::NotTaken), reason(Error::NotOpen), reason(Error::Gone)]);
    assert_eq!(world.reactor().snapshot().undelivered, 3);
}

#[test]
fn a_message_that_its_sender_cannot_send_comes_back_to_it() {
    let mut reactor = Reactor::new(ReactorConfig { mailbox_commands_max: 1, ..ReactorConfig::default() }).expect("one");
    let other = Reactor::new(ReactorConfig::default()).expect("another");
    let mut world = World::new();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Listener);
    let _peer = world.dial(&address);
    world.until_open(1);
    let strange = world.log.id(0);
    let untold = other.remote().tell(strange, String::from("mine")).expect_err("another reactor's");
    assert!(untold.value == "mine" && matches!(untold.why, Error::Gone), "{untold:?}");
    let id = reactor.context().adopt(support_link(), Listener).unwrap_or_else(|_| panic!("adopted"));
    reactor.remote().tell(id, 1u32).expect("room for one");
    let untold = reactor.remote().tell(id, 2u32).expect_err("no room");
    assert!(untold.value == 2 && matches!(untold.why, Error::MailboxFull { limit: 1, .. }), "{untold:?}");
    let remote = reactor.remote();
    drop(reactor);
    let untold = remote.tell(id, 3u32).expect_err("it is gone");
    assert!(untold.value == 3 && matches!(untold.why, Error::ReactorGone), "{untold:?}");
}

fn support_link() -> windlass::Link {
    let (near, far) = std::os::unix::net::UnixStream::pair().expect("a pair");
    std::mem::forget(far);
    windlass::Link::new(near, windlass::Limits::default()).expect("a link")
}

#[test]
fn a_panic_over_a_message_ends_its_own_connection_only() {
    let mut world = World::new();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Listener);
    let (_one, mut two) = (world.dial(&address), world.dial(&address));
    world.until_open(2);
    let remote = world.reactor().remote();
    remote.tell(world.log.id(0), u32::MAX).expect("room");
    remote.tell(world.log.id(1), 5u32).expect("room");
    assert_eq!(two.read_exact_while(&mut world, 4), 5u32.to_be_bytes());
    assert_eq!(world.reactor().snapshot().panics, 1);
}

struct Tells(mpsc::Sender<String>);

impl DatagramHandler for Tells {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &windlass::Datagram<'_>) {}

    fn on_message(&mut self, _: &mut Datagrams<'_>, message: &mut Message) {
        if let Some(text) = message.take() {
            self.0.send(text).expect("the test");
        }
    }
}

#[test]
fn datagram_sockets_are_told_as_well_and_what_they_leave_comes_back() {
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let (sender, told) = mpsc::channel();
    let (back, left) = mpsc::channel();
    reactor.on_undelivered(move |what, why| {
        let Undelivered::EndpointMessage(id, mut message) = what else { panic!("{what:?}") };
        back.send((id, message.take::<u8>(), why.to_string())).expect("the test");
    });
    let address = "udp://127.0.0.1:0".parse().expect("an address");
    let id = reactor.bind(&address, windlass::DatagramConfig::default(), Tells(sender)).expect("a socket");
    reactor.remote().tell_endpoint(id, String::from("hello")).expect("room");
    reactor.remote().tell_endpoint(id, 9u8).expect("room");
    let told = loop {
        reactor.poll_once(Some(std::time::Duration::ZERO)).expect("a turn");
        if let (Ok(told), Ok(left)) = (told.try_recv(), left.try_recv()) {
            break (told, left);
        }
    };
    assert_eq!(told, (String::from("hello"), (id, Some(9), Error::NotTaken.to_string())));
}

/// What connections of one reactor have in common, without `Send`.
struct Visits(Rc<RefCell<u32>>);

struct Visitor;

impl Handler for Visitor {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        let visits = conn.context().with_local(|visits: &mut Visits, cx| {
            assert!(cx.local::<Visits>().is_none(), "it is out");
            *visits.0.borrow_mut() += 1;
            *visits.0.borrow()
        });
        let visits = visits.expect("it was set before anybody could connect");
        let remotes = conn.context().remotes().len();
        conn.write(format!("{visits} of {remotes}").as_bytes()).expect("room");
        data.len()
    }
}

#[test]
fn what_a_factory_sets_aside_is_there_for_all_addresses_of_a_reactor() {
    use std::io::Write;
    let server = Server::builder()
        .address("tcp://127.0.0.1:0".parse().expect("an address"))
        .address("tcp://127.0.0.1:0".parse().expect("an address"))
        .engine_config(EngineConfig { reactors: 1, ..EngineConfig::default() })
        .handler(|cx: &mut Context<'_>| {
            assert!(cx.set_local(Visits(Rc::default())).is_none());
            |_: &Conn<'_>| Visitor
        })
        .build()
        .expect("a server");
    server.listen().expect("two addresses");
    for (visit, address) in server.local_addresses().iter().enumerate() {
        let mut peer = std::net::TcpStream::connect(address.ip().expect("TCP")).expect("a connection");
        peer.write_all(b"x").expect("a write");
        let mut answer = [0; 6];
        peer.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, *format!("{} of 1", visit + 1).as_bytes());
    }
}

/// Has three timers of its own, and cancels one of them.
struct Timed;

impl Handler for Timed {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.tell_after(std::time::Duration::from_millis(20), 2u8);
        conn.tell_after(std::time::Duration::from_millis(10), 1u8);
        let never = conn.tell_after(std::time::Duration::from_millis(15), 9u8);
        assert!(conn.context().cancel(never));
        data.len()
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        let number: u8 = message.take().expect("a number");
        conn.write(&[number]).expect("room");
    }
}

#[test]
fn a_connection_has_as_many_timers_as_it_likes() {
    let mut world = World::new();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Timed);
    let mut peer = world.dial(&address);
    peer.send_all_while(&mut world, b"x");
    assert_eq!(peer.read_exact_while(&mut world, 2), [1, 2]);
    // Those of a connection that is over come to nothing.
    peer.send_all_while(&mut world, b"x");
    world.until("the timers", |world| world.log.shown(0) == 2);
    drop(peer);
    world.until_empty();
    let undelivered = world.reactor().snapshot().undelivered;
    let due = std::time::Instant::now() + std::time::Duration::from_millis(40);
    world.until("their time", |_| std::time::Instant::now() > due);
    assert_eq!((world.reactor().snapshot().undelivered, world.reactor().snapshot().panics), (undelivered, 0));
}

/// Answers each number that it is told, takes nothing else, and tells the test its id.
struct Counted(mpsc::Sender<(Remote, ConnId)>);

impl Handler for Counted {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.0.send((conn.remote(), conn.id())).expect("the test waits");
    }

    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }

    fn on_message(&mut self, conn: &mut Conn<'_>, message: &mut Message) {
        if let Some(number) = message.take::<u32>() {
            conn.write(&number.to_be_bytes()).expect("room");
        }
    }
}

/// An engine with one connection on each of its reactors, all peers of which are here.
fn engine(reactors: usize, mailbox_commands_max: usize) -> (Engine, Vec<(Remote, ConnId, TcpStream)>) {
    let reactor = ReactorConfig { mailbox_commands_max, ..ReactorConfig::default() };
    let engine = Engine::start(EngineConfig { reactors, reactor, ..EngineConfig::default() }).expect("an engine");
    let (tell, told) = mpsc::channel();
    let make = move || {
        let tell = tell.clone();
        move |_: &Conn<'_>| Counted(tell.clone())
    };
    let listening = engine.listen(&"tcp://127.0.0.1:0".parse().expect("an address"), ListenConfig::default(), make);
    let address = listening.expect("it listens").address().ip().expect("TCP");
    let peers = (0..reactors).map(|_| {
        let peer = TcpStream::connect(address).expect("a connection");
        let (remote, id) = told.recv().expect("it opens");
        (remote, id, peer)
    });
    let peers = peers.collect();
    (engine, peers)
}

fn read_number(peer: &mut TcpStream) -> u32 {
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).expect("a number");
    u32::from_be_bytes(bytes)
}

/// Holds a reactor up until what it returns is dropped.
fn hold_up(remote: &Remote) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let hold = move |_: &mut Context<'_>| {
        tell.send(()).expect("the test waits");
        let _ = held.recv();
    };
    remote.run(hold).expect("room");
    told.recv().expect("it begins");
    release
}

#[test]
fn each_reactor_runs_what_all_are_told_and_those_that_are_gone_are_reported() {
    let (engine, _peers) = engine(3, 16);
    let (tell, told) = mpsc::channel();
    let all = engine.tell_all(move |cx| tell.send((cx.number(), cx.remote())).expect("the test waits"));
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let mut numbers: Vec<(usize, Remote)> = told.iter().collect();
    numbers.sort_by_key(|(number, _)| *number);
    let expected: Vec<(usize, Remote)> = engine.remotes().iter().cloned().enumerate().collect();
    assert_eq!(numbers, expected);
    assert_eq!(numbers.iter().map(|(_, remote)| remote).collect::<HashSet<_>>().len(), 3, "they differ");
    engine.remotes()[1].shutdown(Duration::ZERO).expect("a report");
    let (tell, told) = mpsc::channel();
    let some = engine.tell_all(move |cx| tell.send(cx.number()).expect("the test waits"));
    assert!(matches!(some[..], [Ok(()), Err(Error::ReactorGone), Ok(())]), "{some:?}");
    let mut numbers: Vec<usize> = told.iter().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 2]);
}

#[test]
fn a_callback_reaches_all_reactors_and_its_own_after_it_has_returned() {
    let (engine, _peers) = engine(2, 16);
    let (tell, told) = mpsc::channel();
    let asked = engine.ask(1, move |cx| {
        let again = tell.clone();
        let all = cx.tell_all(move |cx| again.send(Some(cx.number())).expect("the test waits"));
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        if cx.number() == 1 {
            tell.send(None).expect("the test waits");
        }
    });
    asked.expect("an answer");
    let order: Vec<Option<usize>> = told.iter().collect();
    assert_eq!(order.len(), 3);
    let (own, returned) = (order.iter().position(|it| *it == Some(1)), order.iter().position(Option::is_none));
    assert!(own > returned && order.contains(&Some(0)), "{order:?}");
}

#[test]
fn what_nobody_took_on_any_reactor_comes_back_by_the_engine() {
    let (engine, mut peers) = engine(2, 16);
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let back = move |what, why: &Error| {
        let Undelivered::Message(id, mut message) = what else { panic!("{what:?}") };
        let value = message.take::<&str>().expect("it was not taken");
        tell.lock().expect("no panic").send((id, value, why.to_string())).expect("the test waits");
    };
    engine.on_undelivered(back).expect("it is told");
    for (remote, id, peer) in &mut peers {
        remote.tell(*id, "not a number").expect("room");
        assert_eq!(told.recv().expect("it comes back"), (*id, "not a number", Error::NotTaken.to_string()));
        remote.abort(*id).expect("room");
        peer.read(&mut [0]).expect_err("a reset");
        remote.tell(*id, "too late").expect("room");
        assert_eq!(told.recv().expect("it comes back"), (*id, "too late", Error::Gone.to_string()));
    }
}

#[test]
fn what_nobody_took_comes_back_by_the_server_and_a_panic_there_ends_nothing() {
    let (tell, opened) = mpsc::channel();
    let (give, given) = mpsc::channel();
    let (give, panics) = (std::sync::Mutex::new(give.clone()), std::sync::Mutex::new(give));
    let server = Server::builder()
        .address("tcp://127.0.0.1:0".parse().expect("an address"))
        .engine_config(EngineConfig { reactors: 1, ..EngineConfig::default() })
        .handler(move || {
            let tell = tell.clone();
            move |_: &Conn<'_>| Counted(tell.clone())
        })
        .on_undelivered(move |what, why| {
            let Undelivered::Bytes(_, bytes) = what else { panic!("the test panics") };
            let text = format!("{}: {why}", String::from_utf8_lossy(&bytes));
            give.lock().expect("no panic").send(text).expect("the test waits");
        })
        .on_error(move |error| panics.lock().expect("no panic").send(error.to_string()).expect("the test waits"))
        .build()
        .expect("a server");
    server.listen().expect("it listens");
    let address = server.local_addresses()[0].ip().expect("TCP");
    let mut peer = TcpStream::connect(address).expect("a connection");
    let (remote, id) = opened.recv().expect("it opens");
    remote.tell(id, "no number").expect("room");
    let panicked = Error::CallbackPanicked { callback: "on_undelivered" }.to_string();
    assert_eq!(given.recv().expect("the panic"), panicked);
    remote.tell(id, 7u32).expect("room");
    assert_eq!(read_number(&mut peer), 7, "it serves on");
    remote.close(id).expect("room");
    remote.send(id, "late".into()).expect("room");
    assert!(given.recv().expect("it comes back").starts_with("late: "));
    assert!(server.tell_all(|_| ()).iter().all(Result::is_ok));
    server.close().expect("it ends");
    assert!(server.tell_all(|_| ()).is_empty(), "there is none any more");
}

#[test]
fn a_thread_waits_until_a_full_mailbox_has_room() {
    let (engine, mut peers) = engine(1, 2);
    let (remote, id, mut peer) = peers.remove(0);
    let release = hold_up(&remote);
    remote.tell(id, 1u32).expect("room");
    remote.send(id, 2u32.to_be_bytes().to_vec().into()).expect("room");
    let untold = remote.tell(id, 3u32).expect_err("it is full");
    assert!(untold.value == 3 && matches!(untold.why, Error::MailboxFull { limit: 2, .. }), "{untold:?}");
    let untold = remote.tell_timeout(id, 3u32, Duration::from_millis(1)).expect_err("it stays full");
    assert!(untold.value == 3 && matches!(untold.why, Error::MailboxFull { limit: 2, .. }), "{untold:?}");
    let unsent = remote.send_timeout(id, "three".into(), Duration::ZERO).expect_err("it stays full");
    assert!(unsent.bytes == "three" && matches!(unsent.why, Error::MailboxFull { .. }), "{unsent:?}");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            remote.tell_timeout(id, 3u32, Duration::MAX).expect("there will be room");
            remote.send_timeout(id, 4u32.to_be_bytes().to_vec().into(), Duration::MAX).expect("there will be room");
        });
        drop(release);
        waits.join().expect("no panic");
    });
    assert_eq!([(); 4].map(|()| read_number(&mut peer)), [1, 2, 3, 4]);
    drop(engine);
}

#[test]
fn four_threads_that_wait_get_all_of_their_messages_through_a_mailbox_of_two() {
    const EACH: u32 = 500;
    let (engine, mut peers) = engine(1, 2);
    let (remote, id, mut peer) = peers.remove(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let remote = remote.clone();
            scope.spawn(move || {
                for number in 0..EACH {
                    let number = thread * EACH + number;
                    remote.tell_timeout(id, number, Duration::from_secs(60)).expect("there will be room");
                }
            });
        }
        let mut next = [0; 4];
        for _ in 0..4 * EACH {
            let number = read_number(&mut peer);
            let thread = (number / EACH) as usize;
            assert_eq!(number % EACH, next[thread], "in the order of each thread");
            next[thread] += 1;
        }
        assert_eq!(next, [EACH; 4]);
    });
    drop(engine);
}

#[test]
fn who_waits_for_room_hears_of_the_reactors_end_and_a_reactor_does_not_wait() {
    let (engine, mut peers) = engine(2, 1);
    let (remote, id, _peer) = peers.remove(0);
    let waiter = remote.clone();
    for reactor in 0..2 {
        let remote = remote.clone();
        let refused = engine.ask(reactor, move |_| {
            let untold = remote.tell_timeout(id, 1u32, Duration::ZERO).expect_err("it must not wait");
            let unsent = remote.send_timeout(id, "one".into(), Duration::ZERO).expect_err("it must not wait");
            assert!(untold.value == 1 && unsent.bytes == "one");
            matches!((untold.why, unsent.why), (Error::OnReactorThread, Error::OnReactorThread))
        });
        assert!(refused.expect("an answer"), "neither on its own thread nor on another reactor's");
    }
    let release = hold_up(&remote);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            // One of these finds the mailbox full, or the reactor gone.
            (0..).find_map(|number: u32| waiter.tell_timeout(id, number, Duration::MAX).err()).map(|untold| untold.why)
        });
        remote.stop(Duration::ZERO).expect("it runs");
        drop(release);
        let why = waits.join().expect("no panic");
        assert!(matches!(why, Some(Error::ReactorGone)), "{why:?}");
    });
}
