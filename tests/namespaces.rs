//! What a network does that loopback does not: a slow queue, no way at all. In a network namespace of the test's own, where
//! this user may make one (unshare(1), ip(8), tc(8)); elsewhere it says that it was skipped.

mod support;

use std::cell::RefCell;
use std::net::UdpSocket;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::{
    Datagram, DatagramConfig, DatagramError, DatagramHandler, DatagramPeer, Datagrams, IcmpErrors, Offload, Reactor,
    ReactorConfig,
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
