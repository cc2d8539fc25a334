//! What can be seen of reactors and connections from outside, and what is said in the log.

mod scripted;
mod support;

use scripted::{Does, shared};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use support::blocking::{Client, Rig, listen_config, until};
use support::{Echo, PATIENCE, World, each_kind};
use windlass::{Conn, Engine, EngineConfig, Health, ListenConfig, Reactor, ReactorConfig, Server, Status, TcpInfo};

// --- the log ------------------------------------------------------------------------------------------------------

thread_local! {
    /// What was logged on this thread.
    static LINES: RefCell<Vec<(log::Level, String)>> = const { RefCell::new(Vec::new()) };
}

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("windlass") {
            LINES.with_borrow_mut(|lines| lines.push((record.level(), record.args().to_string())));
        }
    }

    fn flush(&self) {}
}

fn keep_lines() {
    static LOGGER: Lines = Lines;
    // It is there already if another test was first.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(log::LevelFilter::Debug);
    LINES.with_borrow_mut(Vec::clear);
}

fn lines() -> Vec<(log::Level, String)> {
    LINES.with_borrow(Clone::clone)
}

/// Holds its thread up for so long.
fn block(time: Duration) {
    let (_kept, nothing) = mpsc::channel::<()>();
    assert!(nothing.recv_timeout(time).is_err());
}

const SLOW: Duration = Duration::from_millis(20);

/// A bound on all queues that nothing comes near.
#[test]
fn nobody_is_warned_of_queues_that_hold_little() {
    each_kind(|kind| {
        keep_lines();
        let mut world = World::with(ReactorConfig { queued_bytes_max: Some(4 << 20), ..ReactorConfig::default() });
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"hello");
        assert_eq!(peer.read_exact_while(&mut world, 5), b"hello");
        let warned: Vec<_> = lines().into_iter().filter(|(level, _)| *level <= log::Level::Warn).collect();
        assert!(warned.is_empty(), "{warned:?}");
    });
}

// --- callbacks that hold the loop ---------------------------------------------------------------------------------

#[test]
fn a_callback_that_holds_the_loop_is_counted_and_warned_of_by_its_name() {
    each_kind(|kind| {
        keep_lines();
        let mut world = World::with(ReactorConfig { slow_callback: Some(SLOW), ..ReactorConfig::default() });
        let address = world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| {
            Does::new().on_data(|conn, data| {
                if data == b"!" {
                    block(3 * SLOW);
                }
                conn.write_some(data)
            })
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        for word in [b"!", b"?", b"!"] {
            peer.send_all_while(&mut world, word);
            peer.read_exact_while(&mut world, 1);
        }
        let counted = world.reactor().snapshot();
        assert_eq!(counted.slow_callbacks, 2);
        assert!(counted.longest_callback >= 2 * SLOW, "{:?}", counted.longest_callback);
        // The second one within a second is counted only.
        let id = world.log.id(0);
        let warnings: Vec<_> = lines().into_iter().filter(|(level, _)| *level == log::Level::Warn).collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].1.contains(&format!("connection {id} held the loop for")), "{}", warnings[0].1);
    });
}

#[test]
fn a_closure_that_holds_the_loop_is_warned_of_and_none_is_where_that_is_off() {
    for slow_callback in [Some(SLOW), None] {
        keep_lines();
        let mut reactor = Reactor::new(ReactorConfig { slow_callback, ..ReactorConfig::default() }).expect("a reactor");
        reactor.after(Duration::ZERO, |_| block(3 * SLOW));
        reactor.remote().run(|_| ()).expect("room");
        reactor.shutdown(Duration::ZERO);
        while !matches!(reactor.poll_once(None).expect("a turn"), Status::Stopped(_)) {}
        let said = lines().iter().any(|(_, line)| line.contains("a closure held the loop for"));
        assert_eq!((said, reactor.snapshot().slow_callbacks > 0), (slow_callback.is_some(), slow_callback.is_some()));
        assert!(reactor.snapshot().longest_callback >= 2 * SLOW);
    }
}

#[test]
fn the_teller_of_undelivered_bytes_is_measured_like_any_other() {
    keep_lines();
    let mut world = World::with(ReactorConfig { slow_callback: Some(SLOW), ..ReactorConfig::default() });
    world.reactor().on_undelivered(|_, _| block(3 * SLOW));
    let address = world.listen(support::Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| Echo);
    drop(world.dial(&address));
    world.until("it to have gone", |world| world.log.reasons().len() == 1);
    let (remote, id) = (world.reactor().remote(), world.log.id(0));
    remote.send(id, windlass::Bytes::from_static(b"late")).expect("room");
    world.until("it to be told", |world| world.reactor().snapshot().undelivered == 1);
    assert_eq!(world.reactor().snapshot().slow_callbacks, 1);
    assert!(lines().iter().any(|(_, line)| line.contains("on_undelivered held the loop for")), "{:?}", lines());
}

#[test]
fn waiting_for_something_to_do_is_not_holding_the_loop() {
    let mut reactor =
        Reactor::new(ReactorConfig { slow_callback: Some(SLOW), ..ReactorConfig::default() }).expect("one");
    reactor.after(3 * SLOW, |cx| cx.shutdown(Duration::ZERO));
    reactor.run().expect("an end");
    assert_eq!(reactor.snapshot().slow_callbacks, 0);
}

// --- health -------------------------------------------------------------------------------------------------------

#[test]
fn health_tells_a_reactor_that_waits_from_one_that_hangs_and_one_that_is_over() {
    let engine = Engine::start(EngineConfig { reactors: 2, ..EngineConfig::default() }).expect("an engine");
    let is_well = |health: &Health| health.busy.is_none() && health.commands_waiting == 0;
    until("both to wait", || engine.health().iter().all(is_well));
    let (hold, held) = mpsc::channel::<()>();
    engine.remotes()[1].run(move |_| assert!(held.recv().is_err())).expect("room");
    until("one to hang", || engine.health()[1].busy.is_some_and(|busy| busy > Duration::from_millis(5)));
    engine.remotes()[1].run(|_| ()).expect("room");
    let health = engine.health();
    assert!(health[0].is_responsive(Duration::ZERO), "{health:?}");
    assert!(!health[1].is_responsive(Duration::from_millis(5)), "{health:?}");
    assert!(health[1].is_responsive(Duration::from_secs(3600)), "{health:?}");
    assert_eq!(health[1].commands_waiting, 1);
    drop(hold);
    until("it to wait again", || engine.health().iter().all(is_well));
    engine.shutdown(PATIENCE).expect("an end");
    let health = engine.health();
    assert!(health.iter().all(|health| health.has_ended && !health.is_responsive(PATIENCE)), "{health:?}");
}

#[test]
fn health_tells_listeners_that_accept_from_those_that_pause() {
    each_kind(|kind| {
        let mut world = World::new();
        let full = ListenConfig { connections_max: 1, ..ListenConfig::default() };
        let first = world.listen(kind, full, |_: &Conn<'_>| Echo);
        world.listen(kind, ListenConfig::default(), |_: &Conn<'_>| Echo);
        world.turns(2);
        let remote = world.reactor().remote();
        let seen = || (remote.health().listeners_accepting, remote.health().listeners_paused);
        assert_eq!(seen(), (2, 0));
        let _one = world.dial(&first);
        let other = world.dial(&first);
        world.until("it to be full", |_| seen() == (1, 1));
        assert_eq!(remote.health().connections, 1);
        drop(other);
        drop(_one);
        world.until("it to accept again", |world| seen() == (2, 0) && world.reactor().connections() == 0);
        let listeners: Vec<_> = world.reactor().context().listeners();
        world.reactor().context().pause_listener(listeners[0].0).expect("it lives");
        world.turns(2);
        assert_eq!(seen(), (1, 1));
        for (id, _) in listeners {
            world.reactor().context().remove_listener(id).expect("it lives");
        }
        world.turns(2);
        assert_eq!(seen(), (0, 0));
    });
}

#[test]
fn a_servers_health_is_that_of_its_reactors_and_nothing_before_and_after() {
    each_kind(|kind| {
        let rig = Rig::new();
        let server = Server::builder().address(rig.address(kind)).listen_config(listen_config());
        let engine = EngineConfig { reactors: 2, ..EngineConfig::default() };
        let server = server.engine_config(engine).handler(|| |_: &Conn<'_>| Echo).build().expect("a server");
        assert!(server.health().is_empty());
        server.listen().expect("it listens");
        let mut client = Client::dial(&server.local_addresses()[0]);
        client.send(b"x");
        assert_eq!(client.read_exact(1), b"x");
        let health = server.health();
        assert_eq!(health.len(), 2);
        assert_eq!(health.iter().map(|health| health.connections).sum::<usize>(), 1);
        // One reactor accepts for both.
        until("it to accept", || server.health().iter().map(|health| health.listeners_accepting).sum::<usize>() == 1);
        drop(client);
        server.shutdown(PATIENCE).expect("an end");
        assert!(server.health().is_empty());
    });
}

// --- connections --------------------------------------------------------------------------------------------------

#[test]
fn a_connections_numbers_are_its_own_seen_from_inside_and_outside() {
    each_kind(|kind| {
        let mut world = World::new();
        let inside = shared(None);
        let told = inside.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let told = told.clone();
            Does::new().on_data(move |conn, data| {
                if data.len() == 3 {
                    return 0;
                }
                conn.write(&[b'.'; 100]).expect("room");
                *told.borrow_mut() = Some(conn.stats());
                data.len() - 3
            })
        });
        let began = Instant::now();
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, b"hello");
        peer.read_exact_while(&mut world, 100);
        let seen = inside.borrow().expect("it was asked");
        assert!(seen.unsent_bytes >= 100, "gathered bytes wait too: {seen:?}");
        let id = world.log.id(0);
        let mut cx = world.reactor().context();
        let mut other = cx.other(id).expect("it lives");
        let stats = other.stats();
        assert_eq!((stats.unread_bytes, stats.unsent_bytes), (3, 0));
        assert!(stats.bytes_in >= 5 && stats.bytes_out >= 100, "{stats:?}");
        if !kind.is_tls() {
            assert_eq!((stats.bytes_in, stats.bytes_out), (5, 100));
        }
        assert!(stats.idle <= stats.age && stats.age <= began.elapsed(), "{stats:?}");
        let info = other.tcp_info();
        assert_eq!(info.is_some(), !kind.is_unix());
        if let Some(info) = info {
            assert!(info.round_trip > Duration::ZERO && info.send_segment_bytes_max > 500, "{info:?}");
            assert_eq!((info.lost_segments, info.retransmitted_segments), (0, 0));
        }
    });
}

#[test]
fn tcp_info_is_told_of_sockets_of_any_kind_and_of_nothing_else() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let socket = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    assert!(TcpInfo::of(&socket).is_some());
    assert!(TcpInfo::of(std::fs::File::open("/dev/null").expect("a file")).is_none());
    assert!(TcpInfo::of(std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket")).is_none());
}

#[test]
fn the_end_of_a_connection_is_logged_with_its_id_its_peer_and_what_tls_said() {
    each_kind(|kind| {
        keep_lines();
        let mut world = World::new();
        let told = Rc::new(RefCell::new(None));
        let tells = told.clone();
        let address = world.listen(kind, ListenConfig::default(), move |conn: &Conn<'_>| {
            *tells.borrow_mut() = conn.peer_ip();
            Echo
        });
        let mut peer = world.dial(&address);
        world.until_open(1);
        peer.send_all_while(&mut world, b"x");
        peer.finish();
        assert_eq!(peer.read_to_end_while(&mut world).expect("an end"), b"x");
        drop(peer);
        world.until_empty();
        let id = world.log.id(0);
        let of = told.borrow().map(|ip| format!(" of {ip}")).unwrap_or_default();
        assert_eq!(of.is_empty(), kind.is_unix());
        let ended = format!("connection {id}{of}: ended: ");
        assert!(lines().iter().any(|(level, line)| *level == log::Level::Debug && line.starts_with(&ended)));
        if kind.is_tls() {
            let mut plain = world.dial(&plain_address(&address));
            plain.send_all_while(&mut world, b"this is not TLS at all, whatever the address says");
            drop(plain);
            world.until("it to have failed", |world| world.reactor().snapshot().failed == 1);
            let what = "ended: TLS: the peer speaks something else than TLS (it began with the bytes \"this is \"); ";
            assert!(lines().iter().any(|(_, line)| line.contains(what)), "{:?}", lines());
        }
        assert!(lines().iter().all(|(level, _)| *level >= log::Level::Info), "{:?}", lines());
    });
}

/// The same place without TLS.
fn plain_address(address: &windlass::Address) -> windlass::Address {
    let transport = if address.path().is_some() { windlass::Transport::Unix } else { windlass::Transport::Tcp };
    address.clone().with_transport(transport).expect("a stream address")
}
