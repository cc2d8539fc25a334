//! Values on their way to handlers: from other threads, from other handlers of the reactor, and what becomes of those that
//! nobody takes.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use support::{Kind, World, each_kind};
use windlass::{
    Conn, ConnId, Context, DatagramHandler, Datagrams, EngineConfig, Error, Handler, ListenConfig, Message, Reactor,
    ReactorConfig, Server, Undelivered,
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
    use std::io::{Read, Write};
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
