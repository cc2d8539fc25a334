//! What a network does that loopback does not: a slow queue, no way at all. In a network namespace of the test's own, where
//! this user may make one (unshare(1), ip(8), tc(8)); elsewhere it says that it was skipped.

mod support;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use windlass::{
    Address, Client, Conn, ConnectConfig, Connector, ConnectorState, Datagram, DatagramConfig, DatagramError,
    DatagramHandler, DatagramPeer, Datagrams, Group, Handler, IcmpErrors, Interface, Keepalive, ListenConfig, Loopback,
    Multicast, Offload, Reactor, ReactorConfig, Reason, Sending, SocketOptions,
};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the body of the test `name` in a process of its own, in a new network namespace that `setup` has prepared.
fn apart(name: &str, setup: &str, body: impl FnOnce()) {
    if std::env::var("WINDLASS_APART").is_ok_and(|apart| apart == name) {
        return body();
    }
    let setup = format!("ip link set lo up && {setup}");
    let possible = Command::new("unshare").args(["-n", "sh", "-c", &setup]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        support::skip("no network namespace can be made here, or ip and tc are not installed");
        return;
    }
    let test = std::env::current_exe().expect("our own path");
    let run = format!("{setup} && exec {} --exact {name} --nocapture --test-threads=1", test.display());
    let output =
        Command::new("unshare").args(["-n", "sh", "-c", &run]).env("WINDLASS_APART", name).output().expect("a process");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

/// What a sender was told.
#[derive(Default)]
struct Told {
    errors: Vec<String>,
    network: usize,
}

/// Sends all that there is, as soon as there is room.
struct Sender {
    to: DatagramPeer,
    left: u32,
    told: Rc<RefCell<Told>>,
}

impl Sender {
    fn go_on(&mut self, sock: &mut Datagrams<'_>) {
        while self.left > 0 {
            let mut bytes = [0; 500];
            bytes[..4].copy_from_slice(&self.left.to_be_bytes());
            if sock.send_to(&self.to, &bytes).is_err() {
                return;
            }
            self.left -= 1;
        }
    }
}

impl DatagramHandler for Sender {
    fn on_bound(&mut self, sock: &mut Datagrams<'_>) {
        self.go_on(sock);
    }
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &Datagram<'_>) {}
    fn on_writable(&mut self, sock: &mut Datagrams<'_>) {
        self.go_on(sock);
    }
    fn on_error(&mut self, _: &mut Datagrams<'_>, error: &DatagramError) {
        let mut told = self.told.borrow_mut();
        told.errors.push(error.to_string());
        told.network += usize::from(matches!(error, DatagramError::Network { .. }));
    }
}

#[test]
fn a_full_network_queue_is_waited_for_and_nothing_is_lost() {
    // 800 kbit/s and room for ten datagrams: the rest is refused with ENOBUFS, which no event ends.
    let setup = "tc qdisc add dev lo root tbf rate 800kbit burst 2000 limit 6000";
    apart("a_full_network_queue_is_waited_for_and_nothing_is_lost", setup, || {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        receiver.set_nonblocking(true).expect("non-blocking");
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let told = Rc::new(RefCell::new(Told::default()));
        let to = DatagramPeer::from(receiver.local_addr().expect("an address"));
        let sender = Sender { to, left: 200, told: told.clone() };
        // Of a run that the kernel cuts it may take a part, and say nothing of the rest.
        let config = DatagramConfig { icmp_errors: IcmpErrors::Told, gso: Offload::Off, ..DatagramConfig::default() };
        let address = "udp://127.0.0.1:0".parse().expect("an address");
        reactor.bind(&address, config, sender).expect("a socket");
        let (until, mut got) = (Instant::now() + PATIENCE, Vec::new());
        while got.len() < 200 {
            assert!(Instant::now() < until, "only {} came; told: {:?}", got.len(), told.borrow().errors);
            reactor.poll_once(Some(Duration::from_millis(20))).expect("a turn");
            let mut bytes = [0; 600];
            while let Ok(n) = receiver.recv(&mut bytes) {
                assert_eq!(n, 500);
                got.push(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            }
        }
        assert!(got.iter().rev().copied().eq(1..=200), "another order: {got:?}");
        assert!(told.borrow().errors.is_empty(), "{:?}", told.borrow().errors);
        // A pause of 10 ms at a time: it did not spin for the second that all of it took.
        let turns = reactor.snapshot().turns;
        assert!(turns < 2_000, "{turns} turns");
        assert_eq!(reactor.snapshot().datagrams.datagrams_out, 200);
    });
}

#[test]
fn a_network_that_cannot_be_reached_is_told_for_each_datagram_and_ends_nothing() {
    apart("a_network_that_cannot_be_reached_is_told_for_each_datagram_and_ends_nothing", "true", || {
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let told = Rc::new(RefCell::new(Told::default()));
        let to = DatagramPeer::from("192.0.2.1:9".parse::<std::net::SocketAddr>().expect("an address"));
        let sender = Sender { to, left: 3, told: told.clone() };
        let address = "udp://0.0.0.0:0".parse().expect("an address");
        reactor.bind(&address, DatagramConfig::default(), sender).expect("a socket");
        let until = Instant::now() + PATIENCE;
        while told.borrow().errors.len() < 3 {
            assert!(Instant::now() < until, "told: {:?}", told.borrow().errors);
            reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
        }
        for _ in 0..20 {
            reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
        }
        let told = told.borrow();
        assert_eq!(told.errors.len(), 3, "{:?}", told.errors);
        assert!(told.errors.iter().all(|error| error.contains("cannot send 500 bytes to udp://192.0.2.1:9")));
        assert_eq!(reactor.connections(), 1);
    });
}

/// Answers wait until all questions are there; then each is answered with so many datagrams of one length.
struct AnswersLate {
    asked: usize,
    answers: usize,
    peers: Vec<DatagramPeer>,
    gone: &'static str,
    told: Rc<RefCell<Told>>,
    paths: Rc<RefCell<Option<Sending>>>,
}

/// Gives the loopback interface an address, or takes it away.
fn address(verb: &str, address: &str) {
    let status = Command::new("ip").args(["address", verb, address, "dev", "lo"]).status();
    assert!(status.expect("ip(8)").success());
}

impl DatagramHandler for AnswersLate {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        self.peers.push(datagram.from.clone());
        if self.peers.len() == self.asked {
            sock.set_timer(Duration::from_millis(1));
        }
    }
    fn on_timer(&mut self, sock: &mut Datagrams<'_>) {
        if self.peers.is_empty() {
            *self.paths.borrow_mut() = Some(sock.paths().1);
            return;
        }
        address("del", self.gone);
        for _ in 0..self.answers {
            self.peers.iter().for_each(|peer| sock.send_to(peer, &[7; 100]).expect("room"));
        }
        self.peers.clear();
        sock.set_timer(Duration::from_millis(20));
    }
    fn on_error(&mut self, _: &mut Datagrams<'_>, error: &DatagramError) {
        self.told.borrow_mut().errors.push(error.to_string());
    }
}

/// Of an IPv6 address the kernel says EINVAL, as of a message that it cannot cut: GSO was given up for good, for all peers.
#[test]
fn a_source_address_that_is_gone_costs_its_own_answers_and_nothing_else() {
    let setup = "ip address add fd00::8/128 dev lo";
    apart("a_source_address_that_is_gone_costs_its_own_answers_and_nothing_else", setup, || {
        let (v4, v6) = (["10.9.8.7", "127.0.0.1", "127.0.0.2"], ["fd00::7", "::1", "fd00::8"]);
        let sockets = [("udp4://:0", v4), ("udp://:0", v4), ("udp6://:0", v6), ("udp://:0", v6)];
        for (bound, asked, answers) in
            sockets.into_iter().flat_map(|(bound, asked)| [(bound, asked, 1), (bound, asked, 20)])
        {
            eprintln!("{answers} answers of {bound}, which was asked at {asked:?}:");
            let gone = if asked[0].contains(':') { "fd00::7/128" } else { "10.9.8.7/32" };
            address("add", gone);
            let askers = asked.map(|asked| {
                // An address of IPv6 is good a moment after it was given.
                let until = Instant::now() + PATIENCE;
                while UdpSocket::bind((asked, 0)).is_err() {
                    assert!(Instant::now() < until, "{asked} is not ours");
                    std::thread::yield_now();
                }
                let own = if asked.contains(':') { "[::1]:0" } else { "127.0.0.1:0" };
                let asker = UdpSocket::bind(own).expect("a socket");
                asker.set_nonblocking(true).expect("non-blocking");
                (asker, asked)
            });
            let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
            let (told, paths) = (Rc::<RefCell<Told>>::default(), Rc::new(RefCell::new(None)));
            let (peers, asked) = (Vec::new(), askers.len());
            let handler = AnswersLate { asked, answers, peers, gone, told: told.clone(), paths: paths.clone() };
            let id = reactor.bind(&bound.parse().expect("an address"), DatagramConfig::default(), handler);
            let address = reactor.endpoint_address(id.expect("a socket")).expect("an address");
            let port = address.ip().expect("an IP address").port();
            for (asker, asked) in &askers {
                asker.send_to(b"?", (*asked, port)).expect("sent");
            }
            let until = Instant::now() + PATIENCE;
            while paths.borrow().is_none() {
                assert!(Instant::now() < until, "told: {:?}", told.borrow().errors);
                reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
            }
            let came = askers.each_ref().map(|(asker, _)| {
                std::iter::from_fn(|| asker.recv(&mut [0; 200]).ok()).inspect(|bytes| assert_eq!(*bytes, 100)).count()
            });
            assert_eq!(came, [0, answers, answers]);
            assert_eq!(told.borrow().errors.len(), answers, "{:?}", told.borrow().errors);
            assert_eq!(*paths.borrow(), Some(Sending::Segmented { bytes_max: usize::MAX }));
        }
    });
}

/// An interface from which nothing comes back by its nature, with routes to groups and broadcasts.
const LINK: &str = "ip link add d0 type veth peer name d1 && ip link set d0 up && ip link set d1 up && \
                    ip address add 10.1.1.1/24 dev d0 && ip route add default dev d0 && \
                    ip address add fd01::1/64 dev d0 nodad";

/// Notes what came and answers it.
struct Notes(Rc<RefCell<Vec<Vec<u8>>>>);

impl DatagramHandler for Notes {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        self.0.borrow_mut().push(datagram.data.to_vec());
        sock.send_to(datagram.from, b"answer").expect("room");
    }
}

/// Turns until it is so.
fn until(reactor: &mut Reactor, mut done: impl FnMut(&mut Reactor) -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done(reactor) {
        assert!(Instant::now() < until, "waited in vain");
        reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
    }
}

#[test]
fn what_is_sent_to_a_group_comes_back_to_members_only_and_only_if_it_shall() {
    apart("what_is_sent_to_a_group_comes_back_to_members_only_and_only_if_it_shall", LINK, || {
        let index = rustix::net::netdevice::name_to_index(UdpSocket::bind("0.0.0.0:0").expect("a socket"), "d0");
        let interface = Interface::Index(index.expect("d0"));
        let groups: [IpAddr; 2] = ["239.1.2.3".parse().expect("a group"), "ff02::1:77".parse().expect("a group")];
        let cases =
            [("udp4://:0", groups[0]), ("udp6://:0", groups[1]), ("udp://:0", groups[0]), ("udp://:0", groups[1])];
        for (bound, group) in cases {
            for loopback in [Loopback::On, Loopback::Off] {
                eprintln!("{bound} sends to {group}, {loopback:?}:");
                let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
                let mut bind = |groups: Vec<Group>| {
                    let multicast = Multicast { groups, interface, loopback, ..Multicast::default() };
                    let config = DatagramConfig { multicast, ..DatagramConfig::default() };
                    let notes = Rc::<RefCell<Vec<Vec<u8>>>>::default();
                    let id = reactor.bind(&bound.parse().expect("an address"), config, Notes(notes.clone()));
                    (id.expect("a socket"), notes)
                };
                let (member, of_member) = bind(vec![Group { interface, ..Group::new(group) }]);
                let (stranger, of_stranger) = bind(Vec::new());
                let (sender, _) = bind(Vec::new());
                let own: IpAddr =
                    if group.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
                until(&mut reactor, |reactor| reactor.context().endpoint(sender).is_some());
                for id in [member, stranger] {
                    let port = reactor.endpoint_address(id).and_then(|at| at.ip()).expect("an address").port();
                    for (to, bytes) in [(group, &b"to all"[..]), (own, b"to one")] {
                        let to = DatagramPeer::from(SocketAddr::new(to, port));
                        reactor.context().endpoint(sender).expect("it lives").send_to(&to, bytes).expect("room");
                    }
                }
                until(&mut reactor, |_| {
                    [&of_member, &of_stranger].iter().all(|notes| notes.borrow().iter().any(|came| came == b"to one"))
                });
                assert_eq!(of_member.borrow().iter().any(|came| came == b"to all"), loopback == Loopback::On);
                assert_eq!(*of_stranger.borrow(), [b"to one"]);
            }
        }
    });
}

#[test]
fn a_question_to_everybody_is_answered_from_an_address_of_ours() {
    apart("a_question_to_everybody_is_answered_from_an_address_of_ours", LINK, || {
        for (bound, asked) in ["udp4://:0", "udp://:0"]
            .into_iter()
            .flat_map(|bound| ["255.255.255.255", "10.1.1.255", "10.1.1.1"].map(|asked| (bound, asked)))
        {
            eprintln!("{bound} is asked at {asked}:");
            let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
            let notes = Notes(Rc::default());
            let id = reactor.bind(&bound.parse().expect("an address"), DatagramConfig::default(), notes);
            let address = reactor.endpoint_address(id.expect("a socket")).expect("an address");
            let asker = UdpSocket::bind("10.1.1.1:0").expect("a socket");
            asker.set_nonblocking(true).expect("non-blocking");
            asker.set_broadcast(true).expect("SO_BROADCAST");
            asker.send_to(b"?", (asked, address.ip().expect("an IP address").port())).expect("sent");
            let mut answer = None;
            until(&mut reactor, |_| {
                answer = asker.recv_from(&mut [0; 10]).ok();
                answer.is_some()
            });
            assert_eq!(answer.map(|(_, from)| from.ip()), Some([10, 1, 1, 1].into()));
        }
    });
}

/// Adding the longest pause there is to the time panicked.
#[test]
fn a_client_waits_for_a_full_network_queue_asleep_and_no_longer_than_it_may() {
    let setup = "tc qdisc add dev lo root tbf rate 8kbit burst 2000 limit 6000";
    apart("a_client_waits_for_a_full_network_queue_asleep_and_no_longer_than_it_may", setup, || {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for full_pause in [Duration::from_millis(10), Duration::MAX] {
            let config = DatagramConfig { full_pause, ..DatagramConfig::default() };
            let to = Address::udp(receiver.local_addr().expect("an address"));
            let client = Client::builder(to).datagram_config(config).write_timeout(Some(Duration::from_millis(100)));
            let client = client.build().expect("a client");
            client.connect(PATIENCE).expect("a socket");
            let busy = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock");
            let refused = (0..1000).find_map(|_| {
                let (since, before) = (Instant::now(), busy());
                let error = (&client).write(&[7; 500]).err()?;
                Some((error.kind(), since.elapsed(), Duration::from(busy() - before)))
            });
            let (kind, took, busy) = refused.expect("the queue is short");
            assert_eq!(kind, std::io::ErrorKind::WouldBlock);
            assert!(took >= Duration::from_millis(100) && busy < took / 4, "busy for {busy:?} of {took:?}");
        }
    });
}

/// Keeps why its connection ended.
struct Ends(Rc<RefCell<Option<Reason>>>);

impl Handler for Ends {
    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }
    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        *self.0.borrow_mut() = Some(reason);
    }
}

#[test]
fn a_peer_that_vanished_without_a_word_is_noticed_by_its_silence() {
    // The peers' address goes, and what is sent there then is taken and thrown away.
    let setup = format!(
        "{LINK} && ip address add 10.9.8.7/32 dev lo && ip neighbour add 10.9.8.7 lladdr 02:00:00:00:00:01 dev d0"
    );
    apart("a_peer_that_vanished_without_a_word_is_noticed_by_its_silence", &setup, || {
        let second = Duration::from_secs(1);
        let keepalive = Some(Keepalive { idle: second, interval: second, count: 1 });
        let socket = SocketOptions { keepalive, ..SocketOptions::default() };
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let (ended, told) = (Rc::new(RefCell::new(None)), Rc::new(RefCell::new(false)));
        let (of_handler, accepted) = (ended.clone(), told.clone());
        let accept = move |_: &Conn<'_>| {
            *accepted.borrow_mut() = true;
            Ends(of_handler.clone())
        };
        let config = ListenConfig { socket, ..ListenConfig::default() };
        let listener = reactor.listen(&"tcp://10.1.1.1:0".parse().expect("an address"), config, accept);
        let address = reactor.listener_address(listener.expect("a listener")).expect("it listens");
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        silent.bind(&SocketAddr::from(([10, 9, 8, 7], 0)).into()).expect("a port");
        silent.connect(&address.ip().expect("an IP address").into()).expect("a connection");
        // And one that waits for a server that vanishes.
        let server = std::net::TcpListener::bind("10.9.8.7:0").expect("a port");
        let at = Address::tcp(server.local_addr().expect("an address"));
        let config = ConnectConfig { socket, bind: "10.1.1.1:0".parse().ok(), ..ConnectConfig::default() };
        let client = Client::builder(at).connect_config(config).build().expect("a client");
        client.connect(PATIENCE).expect("a connection");
        until(&mut reactor, |_| *told.borrow());
        self::address("del", "10.9.8.7/32");
        let reader = std::thread::spawn(move || (&client).read(&mut [0; 10]).map_err(|error| error.kind()));
        until(&mut reactor, |_| ended.borrow().is_some());
        assert_eq!(*ended.borrow(), Some(Reason::Unresponsive));
        assert_eq!(reader.join().expect("no panic"), Err(std::io::ErrorKind::TimedOut));
    });
}

#[test]
fn a_lossy_network_loses_datagrams_and_nothing_else() {
    let setup = "tc qdisc add dev lo root netem loss 30%";
    apart("a_lossy_network_loses_datagrams_and_nothing_else", setup, || {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        receiver.set_nonblocking(true).expect("non-blocking");
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let told = Rc::new(RefCell::new(Told::default()));
        let to = DatagramPeer::from(receiver.local_addr().expect("an address"));
        let sender = Sender { to, left: 400, told: told.clone() };
        let address = "udp://127.0.0.1:0".parse().expect("an address");
        reactor.bind(&address, DatagramConfig::default(), sender).expect("a socket");
        let until = Instant::now() + PATIENCE;
        let mut got = 0;
        while reactor.snapshot().datagrams.datagrams_out < 400 {
            assert!(Instant::now() < until, "not all left");
            reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
            while receiver.recv(&mut [0; 600]).is_ok() {
                got += 1;
            }
        }
        for _ in 0..20 {
            reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
            while receiver.recv(&mut [0; 600]).is_ok() {
                got += 1;
            }
        }
        assert!((1..400).contains(&got), "{got} of 400 came");
        assert!(told.borrow().errors.is_empty(), "{:?}", told.borrow().errors);
    });
}

/// A handler that counts its `on_open`.
struct Opened(Arc<AtomicUsize>);

impl Handler for Opened {
    fn on_open(&mut self, _: &mut Conn<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
        data.len()
    }
}

/// Connects `PER_SERVER` times to each of two servers from `own`, keeps the connections, and tells how many there are and
/// what was refused.
type Connects = fn(&[Address; 2], SocketAddr) -> (usize, Option<String>);

const PER_SERVER: usize = 80;

fn from(own: SocketAddr) -> ConnectConfig {
    ConnectConfig { bind: Some(own), ..ConnectConfig::default() }
}

fn by_reactor(servers: &[Address; 2], own: SocketAddr) -> (usize, Option<String>) {
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let (opened, mut refused) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    for server in servers {
        for _ in 0..PER_SERVER {
            let begun = reactor.connect(server, from(own), Opened(opened.clone()));
            refused.extend(begun.err().map(|error| error.to_string()));
        }
    }
    let until = Instant::now() + PATIENCE;
    while opened.load(Ordering::Relaxed) + refused.len() < 2 * PER_SERVER && Instant::now() < until {
        reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
    }
    (opened.load(Ordering::Relaxed), refused.pop())
}

fn by_connectors(servers: &[Address; 2], own: SocketAddr) -> (usize, Option<String>) {
    let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
    let (opened, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
    let mut kept = Vec::new();
    for server in servers {
        for _ in 0..PER_SERVER {
            let (made, tells) = (opened.clone(), refused.clone());
            let builder = Connector::builder(server.clone()).connect_config(from(own)).on_state(move |state| {
                if let ConnectorState::Failed(error) = state {
                    *tells.lock().expect("no panic") = Some(error.to_string());
                }
            });
            kept.push(builder.start(&reactor.remote(), move |_: &Conn<'_>| Opened(made.clone())).expect("a connector"));
        }
    }
    let until = Instant::now() + PATIENCE;
    while opened.load(Ordering::Relaxed) < 2 * PER_SERVER && refused.lock().expect("no panic").is_none() {
        assert!(Instant::now() < until, "{} opened", opened.load(Ordering::Relaxed));
        reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
    }
    let refused = refused.lock().expect("no panic").take();
    (opened.load(Ordering::Relaxed), refused)
}

fn by_clients(servers: &[Address; 2], own: SocketAddr) -> (usize, Option<String>) {
    let (mut kept, mut refused) = (Vec::new(), None);
    for server in servers {
        for _ in 0..PER_SERVER {
            let client = Client::builder(server.clone()).connect_config(from(own)).build().expect("a client");
            match client.connect(PATIENCE) {
                Ok(()) => kept.push(client),
                Err(error) => refused = Some(error.to_string()),
            }
        }
    }
    (kept.len(), refused)
}

#[test]
fn connects_from_a_given_address_have_as_many_ports_for_each_destination_as_there_are() {
    // Each bind(2) to port 0 once took one of them from all destinations.
    let name = "connects_from_a_given_address_have_as_many_ports_for_each_destination_as_there_are";
    apart(name, "echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range", || {
        let mut kept = Vec::new();
        let kinds: [(&str, Connects); 3] =
            [("a reactor", by_reactor), ("connectors", by_connectors), ("clients", by_clients)];
        for (own, others) in [("127.0.0.1", ["127.0.0.2", "127.0.0.3"]), ("::1", ["::1", "::1"])] {
            for (what, connects) in kinds {
                // Other servers each time, to which no connection is in TIME_WAIT; on ports that are no ephemeral ones.
                let servers = [0, 1].map(|n| {
                    (7001..8000).find_map(|port| TcpListener::bind((others[n], port)).ok()).expect("a free port")
                });
                let addresses = servers.each_ref().map(|server| Address::tcp(server.local_addr().expect("an address")));
                let own = SocketAddr::new(own.parse().expect("an address"), 0);
                let (opened, refused) = connects(&addresses, own);
                assert_eq!((opened, refused), (2 * PER_SERVER, None), "{what} from {own}");
                kept.extend(servers);
            }
        }
    });
}

#[test]
fn a_given_port_connects_to_two_servers_at_once_and_again_after_a_close() {
    apart("a_given_port_connects_to_two_servers_at_once_and_again_after_a_close", "true", || {
        let servers = ["127.0.0.2:7001", "127.0.0.3:7001"].map(|at| TcpListener::bind(at).expect("a free port"));
        let addresses = servers.each_ref().map(|server| Address::tcp(server.local_addr().expect("an address")));
        let own = SocketAddr::from(([127, 0, 0, 1], 30_000));
        let connect = |to: &Address| {
            let client = Client::builder(to.clone()).connect_config(from(own)).build().expect("a client");
            client.connect(PATIENCE).unwrap_or_else(|error| panic!("from {own}: {error}"));
            client
        };
        let clients = addresses.each_ref().map(connect);
        for server in &servers {
            assert_eq!(server.accept().expect("a connection").1, own);
        }
        // This side ends first, and so waits for late packets.
        drop(clients);
        let server = TcpListener::bind("127.0.0.4:7001").expect("a free port");
        connect(&Address::tcp(server.local_addr().expect("an address")));
        assert_eq!(server.accept().expect("a connection").1, own);
    });
}
