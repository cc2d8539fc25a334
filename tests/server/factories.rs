//! What makes the makers of handlers: once on each reactor, before anything is listened on.

use crate::support::blocking::{Client, Rig, Shooter};
use crate::support::{Echo, Kind};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use windlass::{Accept, Address, Admission, Conn, Context, Datagram, DatagramHandler, Datagrams, Error, Handler, Peer};

/// Answers with where it was accepted, and how many are in its room.
struct Guest(Rc<Cell<usize>>);

impl Handler for Guest {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.0.set(self.0.get() + 1);
        let at = conn.accepted_at().expect("its listener lives");
        conn.write(format!("{} {at}\n", self.0.get()).as_bytes()).expect("room");
        conn.finish();
    }

    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }
}

#[test]
fn a_factory_runs_once_on_each_reactor_and_what_it_makes_serves_all_addresses() {
    let (rig, made) = (Rig::new(), Arc::new(AtomicUsize::new(0)));
    let counted = made.clone();
    let mut builder = rig.builder(2).handler(move |cx: &mut Context<'_>| {
        counted.fetch_add(1, Ordering::Relaxed);
        assert_eq!(cx.remotes().len(), 2);
        assert!(cx.listeners().is_empty(), "it comes before the listeners");
        let room = Rc::new(Cell::new(0));
        move |_: &Conn<'_>| Guest(room.clone())
    });
    for kind in Kind::ALL.iter().chain([&Kind::Tcp]) {
        builder = builder.address(rig.address(*kind));
    }
    let server = builder.build().expect("a server");
    server.listen().expect("it listens");
    assert_eq!(made.load(Ordering::Relaxed), 2, "once on each of two reactors");
    let mut rooms = Vec::new();
    for _ in 0..2 {
        for address in server.local_addresses() {
            let told = Client::dial(&address).read_to_end().expect("an answer");
            let told = String::from_utf8(told).expect("text");
            let (number, at) = told.trim().split_once(' ').expect("two words");
            assert_eq!(at, address.to_string(), "whichever reactor serves it");
            rooms.push(number.parse::<usize>().expect("a number"));
        }
    }
    // Nobody knows which reactor served whom, but each room counts from 1 on without a gap.
    let guests = rooms.len();
    let highest = *rooms.iter().max().expect("guests");
    let other = guests - highest;
    let mut expected: Vec<usize> = (1..=highest).chain(1..=other).collect();
    rooms.sort_unstable();
    expected.sort_unstable();
    assert_eq!(rooms, expected);
    rig.end(&server);
}

#[test]
fn nothing_was_listened_on_when_a_factory_fails_on_the_last_reactor() {
    let rig = Rig::new();
    let address = rig.address(Kind::Unix);
    let path = address.to_string().strip_prefix("unix:").expect("a path").to_owned();
    let calls = AtomicUsize::new(0);
    let seen = path.clone();
    let builder = rig.builder(2).address(address.clone()).handler(move || {
        assert!(!Path::new(&seen).exists(), "it listens already");
        assert_ne!(calls.fetch_add(1, Ordering::Relaxed), 1, "the test panics");
        |_: &Conn<'_>| Echo
    });
    let server = builder.build().expect("a server");
    let error = server.listen().expect_err("it panics");
    assert!(matches!(error, Error::CallbackPanicked { callback: "handler" }), "{error}");
    assert!(!Path::new(&path).exists() && !server.is_running());
    // It is not called again with the number that panics.
    server.listen().expect("another try");
    Client::dial(&address).echoes(b"hello");
    server.close().expect("it ends");
}

/// Lets one connection in at a time, wherever it comes.
struct OneAtATime(Admission);

impl Accept for OneAtATime {
    type Handler = Echo;

    fn admit(&mut self, _: &Peer<'_>) -> Admission {
        std::mem::replace(&mut self.0, Admission::Refuse)
    }

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        Echo
    }

    fn on_left(&mut self, _: &Peer<'_>) {
        self.0 = Admission::Admit;
    }
}

#[test]
fn an_accept_counts_over_all_addresses_of_a_reactor() {
    let rig = Rig::new();
    let mut builder = rig.builder(1).handler(|| OneAtATime(Admission::Admit));
    for kind in [Kind::Tcp, Kind::Unix] {
        builder = builder.address(rig.address(kind));
    }
    let server = builder.build().expect("a server");
    server.listen().expect("it listens");
    let addresses = server.local_addresses();
    let mut first = Client::dial(&addresses[0]);
    first.echoes(b"first");
    assert_eq!(Client::raw(&addresses[1]).read_to_close(), 0, "the other address is of the same reactor");
    first.close();
    crate::support::blocking::until("the first one's end", || server.open_connections() == 0);
    Client::dial(&addresses[1]).echoes(b"second");
    rig.end(&server);
}

/// How many datagrams a reactor's sockets have received.
struct Received(usize);

struct Counting;

impl DatagramHandler for Counting {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        let received = sock.context().local::<Received>().expect("the factory of streams ran first");
        received.0 += 1;
        let count = received.0.to_string();
        sock.send_to(datagram.from, count.as_bytes()).expect("room");
    }
}

#[test]
fn datagram_handlers_find_what_the_factory_of_streams_set_aside() {
    let rig = Rig::new();
    let udp: Address = "udp://127.0.0.1:0".parse().expect("an address");
    let builder = rig.builder(1).address(rig.address(Kind::Tcp)).address(udp.clone()).address(udp);
    let server = builder
        .handler(|cx: &mut Context<'_>| {
            cx.set_local(Received(0));
            |_: &Conn<'_>| Echo
        })
        .datagram_handler(|cx: &mut Context<'_>| {
            assert!(cx.local::<Received>().is_some());
            Counting
        })
        .build()
        .expect("a server");
    server.listen().expect("it listens");
    for (number, address) in server.local_addresses()[1..].iter().enumerate() {
        let shooter = Shooter::to(address);
        shooter.send(b"hello");
        assert_eq!(shooter.receive(), (number + 1).to_string().as_bytes());
    }
    rig.end(&server);
}
