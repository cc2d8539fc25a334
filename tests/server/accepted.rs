//! A hook that sees each accepted socket before it is used: it may set what it likes, and refuse.

use crate::support::blocking::{Client, Rig, Tale, until};
use crate::support::{Echo, Heard, PATIENCE, World, each_kind};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use windlass::{
    BlockingConfig, Conn, ConnState, ListenConfig, PrepareAccepted, Reason, Server, ServerBuilder, ServerError,
};

/// So that the hook has something to set that no default has.
const LINGER: std::time::Duration = std::time::Duration::from_secs(77);

fn linger_of(socket: impl std::os::fd::AsFd) -> Option<std::time::Duration> {
    socket2::SockRef::from(&socket).linger().expect("SO_LINGER")
}

/// Both kinds of handlers; each echoes, and tells what the socket has.
fn echoing(builder: ServerBuilder, blocks: bool, seen: &Tale<Option<std::time::Duration>>) -> ServerBuilder {
    let tell = seen.clone();
    if blocks {
        return builder.blocking_handler(BlockingConfig::default(), move |mut reader, mut writer| {
            tell.tell(linger_of(reader.link()));
            io::copy(&mut reader, &mut writer).map(drop)
        });
    }
    builder.handler(move || {
        let tell = tell.clone();
        move |conn: &Conn<'_>| {
            tell.tell(linger_of(conn));
            Echo
        }
    })
}

#[test]
fn it_sees_each_connection_once_before_it_is_used_and_what_it_sets_holds() {
    for (reactors, blocks) in [(1, false), (3, false), (1, true)] {
        each_kind(|kind| {
            let (rig, seen, count) = (Rig::new(), Tale::default(), Arc::new(AtomicUsize::new(0)));
            let counted = count.clone();
            let builder = rig.builder(reactors).prepare_accepted(move |socket| {
                counted.fetch_add(1, Ordering::Relaxed);
                // Whoever speaks first is the client: of TLS nothing has been said.
                assert_eq!(socket.nodelay_or_unix(), Some(true));
                socket.set_linger(Some(LINGER))
            });
            let (server, address) = rig.listen(echoing(builder, blocks, &seen), kind);
            for _ in 0..5 {
                let mut client = Client::dial(&address);
                client.echoes(b"hello");
                client.close();
            }
            assert_eq!((seen.all(), count.load(Ordering::Relaxed)), (vec![Some(LINGER); 5], 5));
            until("all to be over", || server.open_connections() == 0);
            assert!(rig.errors.all().is_empty(), "{:?}", rig.errors.all());
        });
    }
}

trait Asks {
    fn nodelay_or_unix(&self) -> Option<bool>;
}

impl Asks for socket2::Socket {
    /// The options of the listener are there already.
    fn nodelay_or_unix(&self) -> Option<bool> {
        match self.local_addr().expect("an address").as_socket() {
            Some(_) => self.tcp_nodelay().ok(),
            None => Some(true),
        }
    }
}

/// Refuses those whose turn it is, by error or by panic.
fn refusing(builder: ServerBuilder, panics: bool) -> ServerBuilder {
    let count = AtomicUsize::new(0);
    builder.prepare_accepted(move |_| match count.fetch_add(1, Ordering::Relaxed) % 3 {
        2 => Ok(()),
        _ if panics => panic!("on purpose"),
        _ => Err(io::Error::new(ErrorKind::PermissionDenied, "not this one")),
    })
}

#[test]
fn whom_it_refuses_is_closed_told_and_counted_once_and_others_are_served() {
    for (blocks, panics) in [(false, false), (true, false), (false, true), (true, true)] {
        each_kind(|kind| {
            let (rig, seen) = (Rig::new(), Tale::default());
            let troubles = Tale::default();
            let tell = troubles.clone();
            // Each place that a refused one would keep is missed by the next.
            let builder = refusing(rig.builder(1), panics).per_peer_max(1);
            let builder = echoing(builder, blocks, &seen).on_error(move |error| match error {
                ServerError::Unprepared { local, peer, source } => {
                    assert!(error.to_string().contains("prepare_accepted: not this one"), "{error}");
                    assert_eq!(peer.is_some(), local.ip().is_some());
                    tell.tell(Some(source.kind()));
                }
                ServerError::Connection { reason: Reason::HandlerPanicked, .. } => tell.tell(None),
                other => panic!("{other}"),
            });
            let (server, address) = rig.listen(builder, kind);
            for round in 1..=3 {
                for _ in 0..2 {
                    match Client::try_dial(&address) {
                        Ok(mut refused) => assert_eq!(refused.read_to_close(), 0),
                        Err(error) => assert!(kind.is_tls(), "{error}"),
                    }
                }
                let mut client = Client::dial(&address);
                client.echoes(b"hello");
                client.close();
                until("its end", || server.open_connections() == 0);
                assert_eq!(troubles.count(), 2 * round);
            }
            let wanted = if panics { None } else { Some(ErrorKind::PermissionDenied) };
            assert_eq!(troubles.all(), vec![wanted; 6]);
            let counters = server.snapshots().expect("counters")[0];
            let refused = if panics { (0, 6) } else { (6, 0) };
            assert_eq!((counters.refused, counters.panics), refused);
            assert_eq!((counters.accepted, counters.failed), (9, 6));
            rig.until_stated(ConnState::Close, 3);
            assert_eq!(rig.stated(ConnState::New), 3, "of the others nothing was told");
            server.shutdown(PATIENCE).expect("a report");
        });
    }
}

#[test]
fn a_server_runs_its_own_hook_in_place_of_that_of_its_listen_config() {
    let ran = Tale::default();
    let hook = |name: &'static str| {
        let tell = ran.clone();
        move |_: &socket2::Socket| {
            tell.tell(name);
            Ok(())
        }
    };
    let config =
        ListenConfig { prepare_accepted: Some(PrepareAccepted::new(hook("config"))), ..ListenConfig::default() };
    let builder = Server::builder().listen_config(config).handler(|| |_: &Conn<'_>| Echo);
    let builder = builder.address("tcp://127.0.0.1:0".parse().expect("an address"));
    for (builder, wanted) in [(builder.clone(), "config"), (builder.prepare_accepted(hook("server")), "server")] {
        let server = builder.build().expect("a server");
        server.listen().expect("it listens");
        Client::dial(&server.local_addresses()[0]).echoes(b"hello");
        assert_eq!(ran.all().last(), Some(&wanted));
        server.shutdown(PATIENCE).expect("a report");
    }
    assert_eq!(ran.count(), 2);
}

#[test]
fn a_listener_of_a_reactor_tells_its_maker() {
    each_kind(|kind| {
        let mut world = World::new();
        let hook = PrepareAccepted::new(|_| Err(ErrorKind::PermissionDenied.into()));
        let config = ListenConfig { prepare_accepted: Some(hook), ..ListenConfig::default() };
        let address = world.listen(kind, config, |_: &Conn<'_>| Echo);
        let refused = crate::support::blocking::connect(&address).expect("a connection");
        world.until("the refusal", |world| world.reactor().snapshot().refused == 1);
        drop(refused);
        assert_eq!(
            (world.reactor().connections(), world.log.heard()),
            (0, vec![Heard::Unprepared(ErrorKind::PermissionDenied)])
        );
    });
}
