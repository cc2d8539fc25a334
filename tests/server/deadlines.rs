//! Limits in time, wherever a connection is served: on a reactor, by a blocking handler, in a call of its connection or not, and
//! by a thread that waits on a link that was detached.

use crate::support::blocking::{Client, Rig, connect, listen_config, until};
use crate::support::{Echo, Hooks, Kind, PATIENCE, each_kind_at_once};
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};
use windlass::{
    BlockingConfig, BlockingLink, Conn, ConnState, Error, Limits, ListenConfig, ServerBuilder, ServerEvent, WeakServer,
};

/// Where a connection is served.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Reactor,
    /// A blocking handler that reads.
    Thread,
    /// A blocking handler that is in no call of its connection.
    Elsewhere,
    /// A thread of the user's that waits on a link which a handler has detached.
    Detached,
}

const PLACES: [Place; 4] = [Place::Reactor, Place::Thread, Place::Elsewhere, Place::Detached];

/// Holds handlers up that are in no call, until it is dropped.
#[derive(Clone, Default)]
struct Hold(Arc<(Mutex<bool>, Condvar)>);

impl Hold {
    fn wait(&self) {
        let (open, changed) = &*self.0;
        let waited = changed.wait_timeout_while(open.lock().expect("no panic"), PATIENCE, |open| !*open);
        drop(waited.expect("no panic"));
    }

    fn open(&self) {
        *self.0.0.lock().expect("no panic") = true;
        self.0.1.notify_all();
    }
}

fn echo(mut link: &BlockingLink) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match link.read(&mut buffer)? {
            0 => return Ok(()),
            read => link.write_all(&buffer[..read])?,
        }
    }
}

fn same(outcome: &io::Result<()>) -> io::Result<()> {
    outcome.as_ref().copied().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

/// What a call of a connection came to.
type Came = mpsc::Sender<io::Result<()>>;

fn echoing(place: Place, builder: ServerBuilder, hold: &Hold, came: Came) -> ServerBuilder {
    let hold = hold.clone();
    match place {
        Place::Reactor => builder.handler(|| |_: &Conn<'_>| Echo),
        Place::Thread => builder.blocking_handler(BlockingConfig::default(), move |reader, _| {
            let outcome = echo(reader.link());
            let _ = came.send(same(&outcome));
            outcome
        }),
        Place::Elsewhere => builder.blocking_handler(BlockingConfig::default(), move |_, _| {
            hold.wait();
            Ok(())
        }),
        Place::Detached => builder.handler(move || {
            let came = came.clone();
            move |_: &Conn<'_>| {
                let came = came.clone();
                Hooks::new().open(move |conn| {
                    let came = came.clone();
                    conn.detach(move |link, _| {
                        let wait = move || came.send(echo(&link.into_blocking().expect("it is open")));
                        std::thread::spawn(wait);
                    });
                })
            }
        }),
    }
}

fn check_end(limits: Limits, speaks: Duration) {
    each_kind_at_once(|kind| {
        for place in PLACES {
            let (rig, hold) = (Rig::new(), Hold::default());
            let (came, outcome) = mpsc::channel();
            let config = ListenConfig { limits: limits.clone(), ..listen_config() };
            let builder = echoing(place, rig.builder(1).listen_config(config), &hold, came);
            let (server, address) = rig.listen(builder, kind);
            let mut client = Client::dial(&address);
            let begun = Instant::now();
            if place != Place::Elsewhere {
                // As long as it speaks, it is not idle.
                while begun.elapsed() < speaks {
                    client.echoes(b"hello");
                }
            }
            client.read_to_close();
            assert!(begun.elapsed() < Duration::from_secs(5), "{place:?}: it took {:?}", begun.elapsed());
            if let Place::Thread | Place::Detached = place {
                let ended = outcome.recv_timeout(PATIENCE).expect("it has returned");
                assert_eq!(ended.expect_err("it has not ended by itself").kind(), io::ErrorKind::TimedOut, "{place:?}");
            }
            hold.open();
            until("it to be over", || server.open_connections() == 0);
            // Nothing went wrong.
            assert!(rig.errors.all().is_empty(), "{place:?}: {:?}", rig.errors.all());
            drop(client);
            server.shutdown(PATIENCE).expect("a report");
        }
    });
}

#[test]
fn an_idle_connection_ends_wherever_it_is_served() {
    check_end(
        Limits { idle_timeout: Some(Duration::from_millis(150)), ..Limits::default() },
        Duration::from_millis(300),
    );
}

#[test]
fn a_lifetime_is_over_wherever_a_connection_is_served() {
    check_end(Limits { lifetime: Some(Duration::from_millis(400)), ..Limits::default() }, Duration::from_millis(50));
}

#[test]
fn a_peer_that_takes_nothing_is_reset_wherever_it_is_served() {
    each_kind_at_once(|kind| {
        for place in [Place::Reactor, Place::Thread, Place::Detached] {
            let rig = Rig::new();
            let limits = Limits { write_stall_timeout: Duration::from_millis(200), ..Limits::default() };
            let builder = rig.builder(1).listen_config(ListenConfig { limits, ..listen_config() });
            let (came, outcome) = mpsc::channel();
            let flood = |mut link: &BlockingLink| -> io::Result<()> {
                loop {
                    link.write_all(&[7; 64 * 1024])?;
                }
            };
            let builder = match place {
                Place::Thread => builder.blocking_handler(BlockingConfig::default(), move |_, writer| {
                    let outcome = flood(writer.link());
                    let _ = came.send(same(&outcome));
                    outcome
                }),
                Place::Detached => builder.handler(move || {
                    let came = came.clone();
                    move |_: &Conn<'_>| {
                        let came = came.clone();
                        Hooks::new().open(move |conn| {
                            let came = came.clone();
                            conn.detach(move |link, _| {
                                let wait = move || came.send(flood(&link.into_blocking().expect("it is open")));
                                std::thread::spawn(wait);
                            });
                        })
                    }
                }),
                Place::Reactor | Place::Elsewhere => builder
                    .handler(|| |_: &Conn<'_>| Hooks::new().open(|conn| while conn.write(&[7; 64 * 1024]).is_ok() {})),
            };
            let (server, address) = rig.listen(builder, kind);
            let mut client = Client::dial(&address);
            if place == Place::Reactor {
                rig.errors.until("a stall", |told| told.iter().any(|told| told.text.contains("write stall")));
            } else {
                let ended = outcome.recv_timeout(PATIENCE).expect("it has returned");
                assert_eq!(ended.expect_err("it writes for ever").kind(), io::ErrorKind::TimedOut, "{place:?}");
            }
            client.read_to_close();
            until("it to be over", || server.open_connections() == 0);
            server.shutdown(PATIENCE).expect("a report");
        }
    });
}

/// Its reactor looked after limits of handlers that are in no call, and had stopped.
#[test]
fn limits_in_time_hold_during_a_drain_and_when_a_reactor_has_stopped() {
    each_kind_at_once(|kind| {
        for stops_alone in [false, true] {
            let (rig, hold) = (Rig::new(), Hold::default());
            let (came, _outcome) = mpsc::channel();
            let limits = Limits { lifetime: Some(Duration::from_millis(500)), ..Limits::default() };
            let builder = rig.builder(2).listen_config(ListenConfig { limits, ..listen_config() });
            let (server, address) = rig.listen(echoing(Place::Elsewhere, builder, &hold, came), kind);
            let mut clients = [Client::dial(&address), Client::dial(&address)];
            until("both to be served", || rig.stated(ConnState::New) == 2 && server.open_connections() == 2);
            if stops_alone {
                // The one that was given the first connection, and looks.
                server.remotes()[1].shutdown(PATIENCE).expect("a report");
            } else {
                server.stop(PATIENCE);
            }
            let begun = Instant::now();
            clients.iter_mut().for_each(|client| _ = client.read_to_close());
            assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
            hold.open();
            server.shutdown(PATIENCE).expect("a report");
        }
    });
}

#[test]
fn a_peer_whose_bytes_wait_for_a_handler_is_not_idle() {
    each_kind_at_once(|kind| {
        let (rig, hold) = (Rig::new(), Hold::default());
        let limits = Limits { idle_timeout: Some(Duration::from_millis(100)), ..Limits::default() };
        let held = hold.clone();
        let builder = rig.builder(1).listen_config(ListenConfig { limits, ..listen_config() });
        let builder = builder.blocking_handler(BlockingConfig::default(), move |mut reader, mut writer| {
            held.wait();
            io::copy(&mut reader, &mut writer).map(drop)
        });
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        client.send(b"hello");
        // Longer than it may be idle.
        let (tell, told) = mpsc::channel::<()>();
        assert!(told.recv_timeout(Duration::from_millis(400)).is_err());
        drop(tell);
        hold.open();
        assert_eq!(client.read_exact(5), b"hello");
        drop(client);
        until("it to be over", || server.open_connections() == 0);
        server.shutdown(PATIENCE).expect("a report");
    });
}

#[test]
fn a_blocking_handler_that_would_wait_for_its_own_server_is_refused() {
    for kind in [Kind::Tcp, Kind::Unix] {
        let rig = Rig::new();
        let known = Arc::new(Mutex::new(WeakServer::default()));
        let (tell, told) = mpsc::channel();
        let inner = known.clone();
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |_, _| {
            let server = inner.lock().expect("no panic").upgrade().expect("it lives");
            let answers = [server.shutdown(PATIENCE), server.close(), server.wait(PATIENCE)];
            let _ = tell.send(answers.map(|answer| matches!(answer, Err(Error::OnReactorThread))));
            server.stop(Duration::ZERO);
            Ok(())
        });
        let (server, address) = rig.listen(builder, kind);
        *known.lock().expect("no panic") = server.downgrade();
        let _client = Client::dial(&address);
        assert_eq!(told.recv_timeout(PATIENCE), Ok([true; 3]));
        server.wait(PATIENCE).expect("a report");
    }
}

#[test]
fn nothing_is_told_behind_the_end_of_a_server_whose_handler_does_not_return() {
    for kind in [Kind::Tcp, Kind::Unix] {
        let (rig, hold) = (Rig::new(), Hold::default());
        let held = hold.clone();
        let ((begin, begun), (tell, returned)) = (mpsc::channel(), mpsc::channel());
        let builder = rig.builder(1).blocking_handler(BlockingConfig::default(), move |_, _| {
            let _ = begin.send(());
            held.wait();
            let _ = tell.send(());
            Err(io::Error::other("late"))
        });
        let (server, address) = rig.listen(builder, kind);
        let clients: Vec<_> = (0..3).map(|_| connect(&address).expect("a place")).collect();
        rig.until_stated(ConnState::New, 3);
        (0..3).for_each(|_| begun.recv_timeout(PATIENCE).expect("a handler that begins"));
        let report = server.shutdown(Duration::ZERO).expect("a report");
        assert_eq!(report.cut, 3);
        rig.events.until("its end", |told| told.last() == Some(&ServerEvent::Gone));
        let (states, events) = (rig.states.count(), rig.events.count());
        assert_eq!(rig.stated(ConnState::Close), 3);
        hold.open();
        (0..3).for_each(|_| returned.recv_timeout(PATIENCE).expect("a handler that returns"));
        // What they have to tell they tell behind that, in no time.
        until("the server to be let go of by its threads", || server.open_connections() == 0);
        assert_eq!((rig.states.count(), rig.events.count(), rig.errors.count()), (states, events, 0));
        drop(clients);
    }
}

#[test]
fn output_that_a_lifetime_cuts_off_is_no_end_in_order() {
    for kind in [Kind::Tcp, Kind::Tls] {
        let rig = Rig::new();
        let limits = Limits { lifetime: Some(Duration::from_millis(300)), ..Limits::default() };
        let mut config = ListenConfig { limits, ..listen_config() };
        // So that most of a write waits here, and the kernel has no room for it in the end either.
        config.socket.send_buffer_bytes = Some(4096);
        let builder = rig.builder(1).listen_config(config);
        let (tell, told) = mpsc::channel();
        let builder = builder.blocking_handler(BlockingConfig::default(), move |_, mut writer| {
            let error = loop {
                if let Err(error) = writer.write_all(&[7; 64 * 1024]) {
                    break error;
                }
            };
            let _ = tell.send(error.kind());
            Err(error)
        });
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        assert_eq!(told.recv_timeout(PATIENCE), Ok(io::ErrorKind::TimedOut));
        let ended = client.read_to_end().map(|came| came.len());
        assert!(ended.is_err(), "{kind:?}: {ended:?} bytes, and an end in order");
        until("it to be over", || server.open_connections() == 0);
        server.shutdown(PATIENCE).expect("a report");
    }
}

#[test]
fn an_idle_connection_of_a_blocking_handler_ends_in_order() {
    each_kind_at_once(|kind| {
        let rig = Rig::new();
        let limits = Limits { idle_timeout: Some(Duration::from_millis(100)), ..Limits::default() };
        let builder = rig.builder(1).listen_config(ListenConfig { limits, ..listen_config() });
        let builder = builder.blocking_handler(BlockingConfig::default(), |reader, _| echo(reader.link()));
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        client.echoes(b"hello");
        assert_eq!(client.read_to_end().expect("an end in order"), b"");
        until("it to be over", || server.open_connections() == 0);
        server.shutdown(PATIENCE).expect("a report");
    });
}

#[test]
fn limits_in_time_of_blocking_handlers_hold_in_a_drain_too() {
    each_kind_at_once(|kind| {
        let (rig, hold) = (Rig::new(), Hold::default());
        let limits = Limits { lifetime: Some(Duration::from_millis(400)), ..Limits::default() };
        let held = hold.clone();
        let builder = rig.builder(2).listen_config(ListenConfig { limits, ..listen_config() });
        let builder = builder.blocking_handler(BlockingConfig::default(), move |_, _| {
            held.wait();
            Ok(())
        });
        let (server, address) = rig.listen(builder, kind);
        let mut client = Client::dial(&address);
        until("it to be served", || server.open_connections() == 1);
        let begun = Instant::now();
        server.stop(PATIENCE);
        client.read_to_close();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        hold.open();
        server.wait(PATIENCE).expect("a report");
    });
}
