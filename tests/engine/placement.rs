//! Where accepted connections go.

use crate::support::blocking::{Client, Rig, Shooter, Tale, connect, engine, listen_config, until};
use crate::support::{Echo, Hooks, Kind, PATIENCE, each_kind};
use std::sync::mpsc;
use std::time::Duration;
use windlass::{
    Address, Conn, Datagram, DatagramConfig, DatagramHandler, Datagrams, Engine, EngineConfig, ListenConfig, Placement,
    ReactorConfig, Remote, Reuse,
};

/// The configuration of a listener of this kind.
pub(crate) fn config(kind: Kind) -> ListenConfig {
    if kind.is_tls() { listen_config() } else { ListenConfig::default() }
}

/// An engine that echoes at one address.
pub(crate) fn echoing(rig: &Rig, kind: Kind, plan: EngineConfig) -> (Engine, Address) {
    let engine = Engine::start(plan).expect("an engine");
    let listening = engine.listen(&rig.address(kind), config(kind), || |_: &Conn<'_>| Echo).expect("it listens");
    let address = listening.address().clone();
    (engine, address)
}

/// Ends it, and checks that nothing is left.
pub(crate) fn end(engine: &Engine) -> windlass::Report {
    let report = engine.shutdown(PATIENCE).expect("a report");
    assert_eq!(engine.connections(), 0);
    assert!(engine.join().expect("outside of callbacks").iter().all(Result::is_ok));
    report
}

fn loads(engine: &Engine) -> Vec<usize> {
    engine.remotes().iter().map(Remote::connections).collect()
}

/// What is named by the counters of all reactors together.
pub(crate) fn sum(engine: &Engine, count: fn(&windlass::Counters) -> u64) -> u64 {
    engine.snapshots().expect("counters").iter().map(count).sum()
}

#[test]
fn long_connections_among_short_ones_are_spread_evenly() {
    const LONG: usize = 1000;
    windlass::raise_descriptor_limit().expect("descriptors");
    each_kind(|kind| {
        let rig = Rig::new();
        let (engine, address) = echoing(&rig, kind, engine(3));
        let mut long = Vec::new();
        let mut short = Vec::new();
        for number in 0..LONG {
            long.push(Client::dial(&address));
            // Short ones come in bursts that would pull a mere turn out of step.
            if number % (if kind.is_tls() { 8 } else { 2 }) == 0 {
                short.extend((0..number % 5).map(|_| Client::dial(&address)));
                short.truncate(3);
            }
            // A busy machine may know of those who have left only later.
            if number % 8 == 0 {
                until("it to know who is there", || engine.connections() == long.len() + short.len());
            }
        }
        drop(short);
        until("the short ones to have left", || engine.connections() == LONG);
        let loads = loads(&engine);
        let most = *loads.iter().max().expect("reactors");
        assert!(most as f64 / (LONG as f64 / loads.len() as f64) <= 1.05, "{loads:?}");
        long.iter_mut().step_by(7).for_each(|client| client.echoes(b"hello"));
        drop(long);
        until("all to have left", || engine.connections() == 0);
        assert_eq!(sum(&engine, |c| c.accepted), sum(&engine, |c| c.opened) + sum(&engine, |c| c.failed));
        end(&engine);
    });
}

#[test]
fn turns_go_round_evenly_whoever_stays() {
    each_kind(|kind| {
        let rig = Rig::new();
        let plan = EngineConfig { placement: Placement::RoundRobin, ..engine(3) };
        let (engine, address) = echoing(&rig, kind, plan);
        let mut stay = Vec::new();
        for number in 0..60 {
            let mut client = Client::dial(&address);
            client.echoes(b"hello");
            if number % 3 == 0 {
                stay.push(client);
            }
        }
        let opened: Vec<u64> = engine.snapshots().expect("counters").iter().map(|counters| counters.opened).collect();
        assert_eq!(opened, [20; 3]);
        drop(stay);
        end(&engine);
    });
}

#[test]
fn the_kernel_spreads_over_all_reactors_on_one_port() {
    each_kind(|kind| {
        let rig = Rig::new();
        let plan = EngineConfig { placement: Placement::Kernel, ..engine(3) };
        let mut address = rig.address(kind);
        // A port that is chosen, then the same by its number.
        for _ in 0..2 {
            let engine = Engine::start(plan.clone()).expect("an engine");
            let listening = engine.listen(&address, config(kind), || |_: &Conn<'_>| Echo).expect("it listens");
            assert!(address.ip().is_none_or(|ip| ip.port() == 0) || *listening.address() == address);
            address = listening.address().clone();
            let served = || {
                let counters = engine.snapshots().expect("counters");
                counters.iter().filter(|counters| counters.opened > 0).count()
            };
            until("all reactors to serve", || {
                Client::dial(&address).echoes(b"hello");
                served() == 3
            });
            end(&engine);
            assert!(connect(&address).is_err());
        }
    });
}

/// Fills a reactor's mailbox while a callback holds it up; it goes on when the sender is dropped.
pub(crate) fn hold(remote: &Remote) -> mpsc::Sender<()> {
    let (go, held) = mpsc::channel::<()>();
    let (tell, told) = mpsc::channel();
    let hold = move |_: &mut windlass::Context<'_>| {
        tell.send(()).expect("a taker");
        let _ = held.recv();
    };
    remote.run(hold).expect("it runs");
    told.recv_timeout(PATIENCE).expect("it is held");
    go
}

#[test]
fn a_full_mailbox_loses_no_stream() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin] {
        each_kind(|kind| {
            let rig = Rig::new();
            const ROOM: usize = 4;
            let reactor = ReactorConfig { mailbox_commands_max: ROOM, ..ReactorConfig::default() };
            let (engine, address) = echoing(&rig, kind, EngineConfig { placement, reactor, ..engine(2) });
            let go = hold(&engine.remotes()[1]);
            let taken = (0..=ROOM).take_while(|_| engine.remotes()[1].run(|_| {}).is_ok()).count();
            assert!(taken <= ROOM, "a mailbox for {ROOM} took {taken}");
            let mut clients: Vec<Client> = (0..6).map(|_| Client::dial(&address)).collect();
            clients.iter_mut().for_each(|client| client.echoes(b"hello"));
            assert_eq!(loads(&engine), [6, 0], "all stay with the reactor that accepts");
            drop(go);
            clients.iter_mut().for_each(|client| client.echoes(b"again"));
            drop(clients);
            until("all to have left, and room for a question", || {
                engine.connections() == 0 && engine.snapshots().is_ok()
            });
            assert_eq!(sum(&engine, |c| c.failed), 0);
            end(&engine);
        });
    }
}

#[test]
fn a_reactor_that_has_stopped_loses_no_stream() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin] {
        each_kind(|kind| {
            let rig = Rig::new();
            let (engine, address) = echoing(&rig, kind, EngineConfig { placement, ..engine(3) });
            engine.remotes()[2].shutdown(Duration::ZERO).expect("a report");
            let mut clients: Vec<Client> = (0..9).map(|_| Client::dial(&address)).collect();
            clients.iter_mut().for_each(|client| client.echoes(b"hello"));
            assert_eq!(engine.remotes()[2].connections(), 0);
            drop(clients);
            let report = engine.shutdown(PATIENCE).expect("a report");
            assert_eq!(report.cut, 0);
            assert_eq!(engine.connections(), 0);
        });
    }
}

#[test]
fn what_the_backlog_held_is_handed_over_and_served_before_the_others_stop() {
    for placement in [Placement::LeastConnections, Placement::RoundRobin] {
        each_kind(|kind| {
            let rig = Rig::new();
            let engine = Engine::start(EngineConfig { placement, ..engine(3) }).expect("an engine");
            let greet = |_: &Conn<'_>| Hooks::new().open(|conn| conn.write(b"hello").expect("room"));
            let listening = engine.listen(&rig.address(kind), config(kind), move || greet).expect("it listens");
            let go = hold(&engine.remotes()[0]);
            let begin = |_| {
                let socket = connect(listening.address()).expect("a place");
                Client::begin(socket.into(), listening.address()).expect("a handshake")
            };
            let clients: Vec<_> = (0..30).map(begin).collect();
            engine.stop(PATIENCE);
            drop(go);
            // All at once: a peer that says nothing hears of the drain a moment later, and shakes hands only when it is read.
            std::thread::scope(|scope| {
                for mut client in clients {
                    scope.spawn(move || assert_eq!(client.read_to_end().expect("an end in order"), b"hello"));
                }
            });
            let report = engine.wait(PATIENCE).expect("a report");
            assert_eq!((report.drained, report.cut), (30, 0));
            assert_eq!(engine.connections(), 0);
        });
    }
}

#[test]
fn a_listener_is_paused_resumed_and_removed_on_all_reactors() {
    for placement in [Placement::LeastConnections, Placement::Kernel] {
        each_kind(|kind| {
            let rig = Rig::new();
            let engine = Engine::start(EngineConfig { placement, ..engine(2) }).expect("an engine");
            let listening =
                engine.listen(&rig.address(kind), config(kind), || |_: &Conn<'_>| Echo).expect("it listens");
            let mut client = Client::dial(listening.address());
            client.echoes(b"hello");
            listening.pause();
            // Behind the pause, which comes in the turn after.
            engine.snapshots().and_then(|_| engine.snapshots()).expect("counters");
            let waiting = connect(listening.address()).expect("the backlog takes it");
            engine.snapshots().expect("counters");
            assert_eq!(engine.connections(), 1);
            listening.resume();
            let mut late = Client::over(waiting.into(), listening.address()).expect("a handshake");
            late.echoes(b"hello");
            listening.remove();
            until("nobody to listen", || connect(listening.address()).is_err());
            client.echoes(b"what is open");
            late.echoes(b"lives on");
            let again = engine.listen(listening.address(), config(kind), || |_: &Conn<'_>| Echo).expect("it is free");
            Client::dial(again.address()).echoes(b"hello");
            drop((client, late));
            end(&engine);
        });
    }
}

/// Answers with its reactor's thread.
struct Namer(Tale<String>);

impl DatagramHandler for Namer {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        self.0.tell(std::thread::current().name().unwrap_or_default().to_owned());
        sock.send_to(datagram.from, datagram.data).expect("room");
    }
}

#[test]
fn datagrams_on_a_shared_port_are_served_by_all_reactors() {
    let engine = Engine::start(engine(3)).expect("an engine");
    let names = Tale::default();
    let told = names.clone();
    let config = DatagramConfig { reuse: Reuse::Port, ..DatagramConfig::default() };
    let address = "udp://127.0.0.1:0".parse().expect("an address");
    let bound = engine.bind(&address, config, move || Namer(told.clone())).expect("it is bound");
    assert_eq!((bound.endpoints().len(), engine.connections()), (3, 3));
    for (remote, _) in bound.endpoints() {
        assert_eq!(remote.connections(), 1);
    }
    until("all reactors to serve", || {
        let shooter = Shooter::to(bound.address());
        shooter.send(b"hello");
        assert_eq!(shooter.receive(), b"hello");
        let mut names = names.all();
        names.sort();
        names.dedup();
        names.len() == 3
    });
    assert_eq!(end(&engine).drained, 3);
}

#[test]
fn an_exclusive_datagram_address_is_on_the_reactor_with_the_fewest_connections() {
    let rig = Rig::new();
    let engine = Engine::start(engine(3)).expect("an engine");
    for number in 1..=6 {
        let unixgram = Address::unixgram(rig.path()).expect("a short path");
        let told = Tale::default();
        let names = told.clone();
        let bound =
            engine.bind(&unixgram, DatagramConfig::default(), move || Namer(names.clone())).expect("it is bound");
        assert_eq!((bound.endpoints().len(), engine.connections()), (1, number));
        let shooter = Shooter::to(bound.address());
        shooter.send(b"hello");
        assert_eq!(shooter.receive(), b"hello");
    }
    assert_eq!(loads(&engine), [2; 3]);
    end(&engine);
}

#[cfg(feature = "tls")]
#[test]
fn handshakes_of_all_reactors_together_are_no_more_than_each_may_have() {
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let rig = Rig::new();
        let reactor = ReactorConfig { handshakes_max: 2, ..ReactorConfig::default() };
        let plan = EngineConfig { reactor, ..engine(2) };
        let (engine, address) = echoing(&rig, kind, plan);
        // They say nothing, so that each is a handshake for as long as it stays.
        let mut silent: Vec<_> = (0..8).map(|_| connect(&address).expect("the backlog has room")).collect();
        until("both to be full", || loads(&engine) == [2, 2]);
        until("the listener to pause", || engine.health()[0].listeners_paused == 1);
        assert_eq!(sum(&engine, |counters| counters.accepted), 4);
        // What comes free is taken by the next ones, and nobody else.
        silent.drain(..4);
        until("the next ones", || sum(&engine, |counters| counters.accepted) == 8);
        assert_eq!(loads(&engine), [2, 2]);
        drop(silent);
        let mut client = Client::dial(&address);
        client.echoes(b"room again");
        client.close();
        end(&engine);
    }
}

#[test]
fn the_kernel_spreads_over_all_reactors_at_a_mapped_address_too() {
    for address in ["tcp://127.0.0.1:0", "tcp://[::ffff:127.0.0.1]:0"] {
        let engine = Engine::start(EngineConfig { placement: Placement::Kernel, ..engine(2) }).expect("an engine");
        let listening = engine
            .listen(&address.parse().expect("an address"), ListenConfig::default(), || |_: &Conn<'_>| Echo)
            .expect("it listens");
        // By a hash of addresses: that one of two gets none of 60 is chance of 2 in 2^60.
        let mut clients: Vec<Client> = (0..60).map(|_| Client::dial(listening.address())).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"hello"));
        assert!(loads(&engine).iter().all(|load| *load > 0), "{address}: {:?}", loads(&engine));
        drop(clients);
        until("all to have left", || engine.connections() == 0);
        end(&engine);
    }
}
