//! What a server tells by its callbacks: in which order, how often, and what panics there do.

use crate::support::blocking::{Client, Rig, Shooter, Stated, Tale, connect, listen_config, until};
use crate::support::{Echo, Hooks, Kind, each_kind};
use std::time::Duration;
use windlass::{
    Accept, AcceptEvent, Address, Admission, Conn, ConnState, Datagram, DatagramHandler, Datagrams, Expiry, Limits,
    ListenConfig, PauseCause, Peer, Reason, Report, ServerEvent, SocketOptions,
};

fn limited(limits: Limits) -> ListenConfig {
    ListenConfig { limits, ..listen_config() }
}

/// With a kernel that takes little.
fn tight(limits: Limits) -> ListenConfig {
    let socket = SocketOptions { send_buffer_bytes: Some(16 * 1024), ..SocketOptions::default() };
    ListenConfig { socket, ..limited(limits) }
}

/// The states of one peer, those that repeat told once.
fn states_of(states: &[Stated], peer: &Address) -> Vec<ConnState> {
    let told = states.iter().filter(|told| told.remote.as_ref() == Some(peer));
    let mut states: Vec<ConnState> = told.map(|told| told.state).collect();
    states.dedup();
    states
}

#[test]
fn states_come_in_their_order_with_the_right_addresses_on_one_thread() {
    each_kind(|kind| {
        let rig = Rig::new();
        let (server, address) = rig.listen(rig.builder(3).handler(|| |_: &Conn<'_>| Echo), kind);
        let peers: Vec<Address> = (0..9)
            .map(|_| {
                let mut client = Client::dial(&address);
                let peer = client.address(kind);
                client.echoes(b"hello");
                client.close();
                peer
            })
            .collect();
        rig.until_stated(ConnState::Close, 9);
        rig.end(&server);
        let states = rig.states.all();
        assert!(states.iter().all(|told| told.local == address), "{states:?}");
        for peer in &peers {
            let told = states_of(&states, peer);
            if !kind.is_tls() {
                let rest = [ConnState::CloseRead, ConnState::CloseWrite, ConnState::Close];
                assert_eq!(told, [&[ConnState::New, ConnState::Read, ConnState::Write], &rest[..]].concat());
                continue;
            }
            // Tickets, and close_notify behind the peer's end, are written too.
            let at = |state| told.iter().position(|told| *told == state).unwrap_or_else(|| panic!("{told:?}"));
            assert_eq!(told[..2], [ConnState::New, ConnState::Handshake]);
            assert!(at(ConnState::Read) < at(ConnState::CloseRead) && at(ConnState::Write) < at(ConnState::CloseRead));
            assert_eq!(told[told.len() - 2..], [ConnState::CloseWrite, ConnState::Close]);
        }
        assert_eq!(states.iter().filter(|told| told.remote.is_none()).count(), 0);
        assert_eq!(rig.errors.count(), 0);
    });
}

/// The second handler hears of the peer's end as the first did; the listener does so once.
#[test]
fn states_are_those_of_the_connection_whoever_serves_it() {
    each_kind(|kind| {
        let rig = Rig::new();
        let first = |_: &Conn<'_>| {
            Hooks::new().end(|conn, _| {
                let last = Hooks::new().end(|conn, _| conn.close());
                conn.set_handler(last).expect("a half-open connection");
            })
        };
        let (server, address) = rig.listen(rig.builder(1).handler(move || first), kind);
        let mut client = Client::dial(&address);
        let peer = client.address(kind);
        client.send(b"hello");
        client.close();
        rig.until_stated(ConnState::Close, 1);
        rig.end(&server);
        let told = states_of(&rig.states.all(), &peer);
        let ends = [ConnState::CloseRead, ConnState::CloseWrite, ConnState::Close];
        let seen: Vec<_> = told.iter().copied().filter(|state| ends.contains(state)).collect();
        assert_eq!(seen, ends, "{told:?}");
        for once in [ConnState::New, ConnState::Handshake] {
            assert!(told.iter().filter(|state| **state == once).count() <= 1, "{told:?}");
        }
        assert_eq!(rig.errors.count(), 0);
    });
}

#[test]
fn who_ends_first_is_told_first() {
    each_kind(|kind| {
        let rig = Rig::new();
        let half = |_: &Conn<'_>| {
            Hooks::new().data(|conn, data| {
                conn.write(b"bye").expect("room");
                conn.finish();
                data.len()
            })
        };
        let (server, address) = rig.listen(rig.builder(2).handler(move || half), kind);
        let mut client = Client::dial(&address);
        let peer = client.address(kind);
        client.send(b"hello");
        assert_eq!(client.read_to_end().expect("an end in order"), b"bye");
        rig.until_stated(ConnState::CloseWrite, 1);
        client.finish();
        rig.until_stated(ConnState::Close, 1);
        let told = states_of(&rig.states.all(), &peer);
        let at = |state| told.iter().position(|told| *told == state);
        assert!(at(ConnState::CloseWrite) > at(ConnState::Write), "{told:?}");
        assert!(at(ConnState::CloseRead).is_none_or(|read| Some(read) > at(ConnState::CloseWrite)), "{told:?}");
        rig.end(&server);
    });
}

#[cfg(feature = "tls")]
#[test]
fn a_failed_handshake_is_new_an_error_and_close() {
    use windlass::TlsFault;
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let rig = Rig::new();
        let all = Tale::<String>::default();
        let (by_state, by_error) = (all.clone(), all.clone());
        let (rig_states, rig_errors) = (rig.states.clone(), rig.errors.clone());
        let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo);
        let builder = builder
            .on_state(move |local, remote, state| {
                by_state.tell(format!("{state:?}"));
                let (local, remote) = (local.clone(), remote.cloned());
                rig_states.tell(Stated { thread: std::thread::current().id(), local, remote, state });
            })
            .on_error(move |error| {
                by_error.tell("error".to_owned());
                let windlass::ServerError::Connection { local, peer, reason, .. } = error else { panic!("{error}") };
                assert_eq!((*reason, local.transport()), (Reason::Tls(TlsFault::NotTls), kind_of(kind)));
                rig_errors.tell(crate::support::blocking::Trouble {
                    text: error.to_string(),
                    reason: Some(*reason),
                    peer: peer.as_deref().cloned(),
                    callback: None,
                });
            });
        let (server, address) = rig.listen(builder, kind);
        let mut plain = Client::raw(&address);
        let peer = plain.address(kind);
        plain.send(b"GET / HTTP/1.0\r\n\r\n");
        plain.read_to_close();
        drop(plain);
        rig.until_stated(ConnState::Close, 1);
        rig.end(&server);
        assert_eq!(all.all(), ["New", "error", "Close"]);
        let told = rig.errors.all();
        assert_eq!(told[0].peer, (!kind.is_unix()).then_some(peer.clone()));
        let who = if kind.is_unix() { String::new() } else { format!("of {peer} ") };
        let why = "TLS: the peer speaks something else than TLS (it began with an HTTP request); plain text to a TLS port, or \
                   TLS to a plain one: check the port and the scheme on both sides";
        assert_eq!(told[0].text, format!("connection {who}to {address}: {why}"));
    }
}

#[cfg(feature = "tls")]
fn kind_of(kind: Kind) -> windlass::Transport {
    if kind.is_unix() { windlass::Transport::TlsUnix } else { windlass::Transport::Tls }
}

/// Refuses everybody but those whose turn it is, and keeps the record of who left.
struct Door {
    admit: fn(&Peer<'_>) -> Admission,
    left: Tale<Option<Address>>,
    heard: Tale<String>,
}

impl Accept for Door {
    type Handler = Echo;

    fn admit(&mut self, peer: &Peer<'_>) -> Admission {
        (self.admit)(peer)
    }

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        Echo
    }

    fn on_left(&mut self, peer: &Peer<'_>) {
        self.left.tell(peer.address());
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        self.heard.tell(format!("{event:?}"));
    }
}

#[test]
fn of_who_is_refused_nothing_is_told_and_of_who_leaves_once() {
    for per_peer_max in [None, Some(1000)] {
        each_kind(|kind| {
            let rig = Rig::new();
            let (left, heard) = (Tale::default(), Tale::default());
            for admit in [|_: &Peer<'_>| Admission::Refuse, |_: &Peer<'_>| Admission::Admit] {
                let is_refused = left.count() == 0 && heard.count() == 0;
                let (to_left, to_heard) = (left.clone(), heard.clone());
                let mut builder =
                    rig.builder(2).handler(move || Door { admit, left: to_left.clone(), heard: to_heard.clone() });
                if let Some(max) = per_peer_max {
                    builder = builder.per_peer_max(max);
                }
                let server = builder.address(rig.address(kind)).build().expect("a server");
                server.listen().expect("it listens");
                let address = server.local_addresses().remove(0);
                for _ in 0..6 {
                    let mut client = Client::raw(&address);
                    if is_refused {
                        assert_eq!(client.read_to_close(), 0);
                    } else {
                        client = Client::over(connect(&address).expect("a connection").into(), &address)
                            .expect("a handshake");
                        client.echoes(b"hello");
                        client.close();
                    }
                }
                until("nobody to be left", || server.open_connections() == 0);
                let counters = server.snapshots().expect("counters");
                let refused: u64 = counters.iter().map(|counters| counters.refused).sum();
                server.shutdown(Duration::from_secs(20)).expect("a report");
                if is_refused {
                    assert_eq!((left.count(), rig.states.count(), rig.errors.count(), refused), (0, 0, 0, 6));
                    let told = heard.all();
                    assert_eq!(told.iter().filter(|told| told.starts_with("Failed")).count(), 6, "{told:?}");
                } else {
                    // Those that never spoke were let in, too.
                    assert_eq!((left.count(), rig.stated(ConnState::New)), (12, 12));
                    assert_eq!((rig.stated(ConnState::Close), rig.errors.count(), refused), (12, 0, 0));
                }
            }
        });
    }
}

#[test]
fn each_trouble_is_told_once() {
    each_kind(|kind| {
        let rig = Rig::new();
        let limits = Limits { write_stall_timeout: Duration::from_millis(150), ..Limits::default() };
        let play = |_: &Conn<'_>| {
            Hooks::new().data(|conn, data| {
                match data[0] {
                    b'p' => panic!("a handler's own"),
                    b'w' => conn.write(&vec![0; 900_000]).expect("room"),
                    _ => conn.write(b"ok").expect("room"),
                }
                data.len()
            })
        };
        let (server, address) = rig.listen(rig.builder(2).listen_config(tight(limits)).handler(move || play), kind);
        let mut wanted = Vec::new();

        let mut client = Client::dial(&address);
        wanted.push((Reason::HandlerPanicked, client.address(kind)));
        client.send(b"p");
        client.read_to_close();
        drop(client);
        rig.errors.until_count("the panic", 1);

        let socket = connect(&address).expect("a connection");
        socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
        let mut client = Client::over(socket.into(), &address).expect("a handshake");
        wanted.push((Reason::Timeout(Expiry::WriteStall), client.address(kind)));
        client.send(b"w");
        rig.errors.until_count("the write stall", 2);
        drop(client);

        if !kind.is_unix() {
            let mut client = Client::dial(&address);
            wanted.push((Reason::Reset, client.address(kind)));
            client.send(b"o");
            client.read_exact(2);
            client.reset();
            rig.errors.until_count("the reset", 3);
        }
        if kind.is_tls() {
            let mut client = Client::dial(&address);
            wanted.push((Reason::Truncated, client.address(kind)));
            client.send(b"o");
            client.read_exact(2);
            drop(client);
            rig.errors.until_count("the truncation", wanted.len());
        }
        until("nobody to be left", || server.open_connections() == 0);
        rig.end(&server);
        let told = rig.errors.all();
        assert_eq!(told.len(), wanted.len(), "{told:?}");
        for (trouble, (reason, peer)) in told.iter().zip(&wanted) {
            assert_eq!(trouble.reason, Some(*reason));
            assert_eq!(trouble.peer.as_ref(), (!kind.is_unix()).then_some(peer));
        }
        // Whatever end it was, the addresses are told to the last.
        for (_, peer) in &wanted {
            assert_eq!(states_of(&rig.states.all(), peer).last(), Some(&ConnState::Close), "{peer}");
        }
    });
}

#[test]
fn ordinary_ends_are_no_errors() {
    each_kind(|kind| {
        let rig = Rig::new();
        let limits = Limits { idle_timeout: Some(Duration::from_millis(200)), ..Limits::default() };
        let play = |_: &Conn<'_>| {
            Hooks::new().drain(|_| {}).data(|conn, data| {
                match data[0] {
                    b'c' => conn.close(),
                    b'a' => conn.abort(),
                    _ => conn.write(b"ok").expect("room"),
                }
                data.len()
            })
        };
        let (server, address) = rig.listen(rig.builder(2).listen_config(limited(limits)).handler(move || play), kind);
        for word in [b"c", b"a"] {
            let mut client = Client::dial(&address);
            client.send(word);
            client.read_to_close();
        }
        // By the peer, by idleness, and with TLS before it says anything.
        Client::dial(&address).close();
        Client::dial(&address).read_to_close();
        drop(Client::raw(&address));
        // By the end of a drain.
        let mut client = Client::dial(&address);
        client.send(b"o");
        client.read_exact(2);
        rig.end_within(&server, Duration::from_millis(20));
        assert_eq!(rig.errors.count(), 0, "{:?}", rig.errors.all());
        assert_eq!(rig.stated(ConnState::New), rig.stated(ConnState::Close));
    });
}

/// Which of a handler's or listener's calls panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bad {
    Admit,
    Make,
    Open,
    Data,
    End,
    Close,
    Event,
    Left,
    State,
}

struct Trap(Bad);

impl Accept for Trap {
    type Handler = Hooks;

    fn admit(&mut self, _: &Peer<'_>) -> Admission {
        assert!(self.0 != Bad::Admit, "in admit");
        Admission::Admit
    }

    fn make(&mut self, _: &Conn<'_>) -> Hooks {
        let bad = self.0;
        assert!(bad != Bad::Make, "in make");
        Hooks::new()
            .open(move |_| assert!(bad != Bad::Open, "in on_open"))
            .data(move |conn, data| {
                assert!(bad != Bad::Data, "in on_data");
                conn.write_some(data)
            })
            .end(move |conn, _| {
                assert!(bad != Bad::End, "in on_end");
                conn.close();
            })
            .close(move |_, _| assert!(bad != Bad::Close, "in on_close"))
    }

    fn on_event(&mut self, _: &AcceptEvent) {
        assert!(self.0 != Bad::Event, "in on_event");
    }

    fn on_left(&mut self, _: &Peer<'_>) {
        assert!(self.0 != Bad::Left, "in on_left");
    }

    fn wants_states(&self) -> bool {
        self.0 == Bad::State
    }

    fn on_state(&mut self, _: &Peer<'_>, state: ConnState) {
        assert!(state != ConnState::New, "in on_state");
    }
}

/// A peer's whole conversation, however it ends.
fn converse(address: &Address) {
    let Ok(mut client) = Client::try_dial(address) else { return };
    if client.write(b"hello").is_ok() {
        let mut answer = [0; 5];
        let _ = client.read(&mut answer);
        // It may be over already.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| client.finish()));
    }
    client.read_to_close();
}

#[test]
fn a_panic_of_a_handler_or_listener_is_told_once_and_ends_nothing_else() {
    use Bad::{Admit, Close, Data, End, Event, Left, Make, Open, State};
    for (bad, per_peer_max) in [Admit, Make, Open, Data, End, Close, Event, Left, State]
        .into_iter()
        .flat_map(|bad| [(bad, None), (bad, Some(100))])
    {
        for kind in [Kind::Tcp, Kind::Unix] {
            eprintln!("{bad:?} over {kind:?}, {per_peer_max:?}:");
            let rig = Rig::new();
            let mut builder = rig.builder(2);
            if let Some(max) = per_peer_max {
                builder = builder.per_peer_max(max);
            }
            let (server, address) = rig.listen(builder.handler(move || Trap(bad)), kind);
            let mut well = rig.builder(1).handler(|| |_: &Conn<'_>| Echo);
            well = well.address(rig.address(kind));
            let well = well.build().expect("a server");
            well.listen().expect("it listens");
            for _ in 0..3 {
                converse(&address);
            }
            until("nobody to be left", || server.open_connections() == 0);
            Client::dial(&well.local_addresses()[0]).echoes(b"hello");
            let told: Vec<_> = rig.errors.all();
            let panics: u64 = server.snapshots().expect("counters").iter().map(|counters| counters.panics).sum();
            assert!(server.is_running());
            if bad != Event {
                assert_eq!(told.len(), 3, "{bad:?}: {told:?}");
                assert_eq!(panics, 3, "{bad:?}");
            } else {
                assert_eq!(told.len(), 0, "{told:?}");
            }
            for trouble in told {
                assert!(trouble.reason == Some(Reason::HandlerPanicked) || trouble.callback.is_some(), "{trouble:?}");
            }
            let remotes = server.remotes();
            server.shutdown(Duration::from_secs(20)).expect("a report");
            assert!(remotes.iter().all(|remote| remote.connections() == 0));
            well.shutdown(Duration::from_secs(20)).expect("a report");
        }
    }
}

#[test]
fn a_panic_of_the_servers_own_callbacks_ends_nothing() {
    each_kind(|kind| {
        let rig = Rig::new();
        let errors = rig.errors.clone();
        let builder = rig.builder(2).handler(|| |_: &Conn<'_>| Echo);
        let builder = builder
            .on_state(|_, _, state| panic!("in on_state: {state}"))
            .on_event(|event| panic!("in on_event: {event}"))
            .on_error(move |error| {
                errors.tell(crate::support::blocking::Trouble {
                    text: error.to_string(),
                    reason: None,
                    peer: None,
                    callback: None,
                });
                panic!("in on_error: {error}");
            });
        let (server, address) = rig.listen(builder, kind);
        for _ in 0..4 {
            let mut client = Client::dial(&address);
            client.echoes(b"hello");
            client.close();
        }
        until("nobody to be left", || server.open_connections() == 0);
        let report = server.shutdown(Duration::from_secs(20)).expect("a report");
        assert_eq!(report.cut, 0);
        let gone = |told: &[crate::support::blocking::Trouble]| {
            told.iter().filter(|told| told.text == "the callback on_event panicked").count() == 4
        };
        let told = rig.errors.until("each panic to be told", gone);
        let states = told.iter().filter(|told| told.text == "the callback on_state panicked").count();
        assert!(states >= 4 * 6 && states + 4 == told.len(), "{told:?}");
    });
}

#[test]
fn pauses_are_told_with_their_cause_and_sentence() {
    each_kind(|kind| {
        let rig = Rig::new();
        let config = ListenConfig { connections_max: 2, ..listen_config() };
        let builder = rig.builder(2).listen_config(config).handler(|| |_: &Conn<'_>| Echo);
        let (server, address) = rig.listen(builder, kind);
        let mut clients: Vec<Client> = (0..2).map(|_| Client::dial(&address)).collect();
        clients.iter_mut().for_each(|client| client.echoes(b"hello"));
        let paused = ServerEvent::AcceptPaused(address.clone(), PauseCause::ConnectionLimit);
        rig.events.until("a pause", |told| told.contains(&paused));
        clients.remove(0).close();
        let resumed = ServerEvent::AcceptResumed(address.clone());
        rig.events.until("it to go on", |told| told.contains(&resumed));
        clients.remove(0).close();
        let report = rig.end(&server);
        let told: Vec<String> = rig.events.all().iter().map(ToString::to_string).collect();
        let sentences = [
            format!("listening on {address}"),
            format!("accepting on {address} pauses: there are as many connections as there may be"),
            format!("accepting on {address} goes on"),
            "draining".to_owned(),
            format!("drained: {} drained, 0 cut, 0 bytes never sent", report.drained),
            "gone".to_owned(),
        ];
        assert_eq!(told, sentences);
        assert_eq!(report, Report::default());
    });
}

// --- datagrams ----------------------------------------------------------------------------------------------------

fn datagram_addresses(rig: &Rig) -> [Address; 2] {
    ["udp://127.0.0.1:0".parse().expect("an address"), Address::unixgram(rig.path()).expect("a short path")]
}

/// Answers, and panics when it is told to.
struct Post;

impl DatagramHandler for Post {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        assert!(datagram.data != b"panic", "in on_datagram");
        sock.send_to(datagram.from, datagram.data).expect("room");
    }
}

#[test]
fn datagram_states_are_new_read_and_write_for_each_and_close() {
    let rig = Rig::new();
    for address in datagram_addresses(&rig) {
        let rig = Rig::new();
        let server = rig.builder(2).datagram_handler(|| Post).address(address).build().expect("a server");
        server.listen().expect("it listens");
        let address = server.local_addresses().remove(0);
        assert_eq!(server.open_connections(), 1);
        let shooter = Shooter::to(&address);
        for payload in [&b"one"[..], b"", b"three"] {
            shooter.send(payload);
            assert_eq!(shooter.receive(), payload);
        }
        rig.end(&server);
        let told: Vec<_> = rig.states.all();
        assert!(told.iter().all(|one| one.local == address && one.thread == told[0].thread), "{told:?}");
        let read_write = [(ConnState::Read, Some(shooter.address())), (ConnState::Write, Some(shooter.address()))];
        let mut wanted = vec![(ConnState::New, None)];
        (0..3).for_each(|_| wanted.extend(read_write.clone()));
        wanted.push((ConnState::Close, None));
        let told: Vec<_> = told.into_iter().map(|told| (told.state, told.remote)).collect();
        assert_eq!(told, wanted);
        assert_eq!(rig.errors.count(), 0);
    }
}

#[test]
fn a_datagram_handler_that_panics_is_told_once_and_closed() {
    let rig = Rig::new();
    for address in datagram_addresses(&rig) {
        let rig = Rig::new();
        let server = rig.builder(1).datagram_handler(|| Post).address(address).build().expect("a server");
        server.listen().expect("it listens");
        let shooter = Shooter::to(&server.local_addresses()[0]);
        shooter.send(b"panic");
        rig.until_stated(ConnState::Close, 1);
        until("nothing to be left", || server.open_connections() == 0);
        assert!(server.is_running());
        rig.end(&server);
        assert_eq!(rig.reasons(), [Reason::HandlerPanicked]);
        assert_eq!(rig.errors.count(), 1);
        let told: Vec<_> = rig.states.all().iter().map(|told| told.state).collect();
        assert_eq!(told, [ConnState::New, ConnState::Read, ConnState::Close]);
    }
}

/// Panics at its end.
struct Last;

impl DatagramHandler for Last {
    fn on_datagram(&mut self, _: &mut Datagrams<'_>, _: &Datagram<'_>) {}

    fn on_close(&mut self, _: &mut Datagrams<'_>, _: Reason) {
        panic!("in on_close");
    }
}

#[test]
fn a_datagram_handler_that_panics_at_its_end_is_told_and_close_still_comes() {
    let rig = Rig::new();
    for address in datagram_addresses(&rig) {
        let rig = Rig::new();
        let server = rig.builder(1).datagram_handler(|| Last).address(address).build().expect("a server");
        server.listen().expect("it listens");
        rig.end(&server);
        let told: Vec<_> = rig.states.all().iter().map(|told| told.state).collect();
        assert_eq!(told, [ConnState::New, ConnState::Close]);
        let errors = rig.errors.all();
        assert_eq!(errors.len(), 1, "{errors:?}");
    }
}

#[test]
fn what_another_thread_sends_is_told_as_written_and_not_to_the_next_sender() {
    let rig = Rig::new();
    for address in datagram_addresses(&rig) {
        let rig = Rig::new();
        let server = rig.builder(1).datagram_handler(|| Post).address(address).build().expect("a server");
        server.listen().expect("it listens");
        let address = server.local_addresses().remove(0);
        let (one, other) = (Shooter::to(&address), Shooter::to(&address));
        let remote = server.remotes().remove(0);
        let peer = windlass::DatagramPeer::resolve(&other.address()).expect("a peer");
        let (tell, told) = std::sync::mpsc::channel();
        remote.run(move |cx| tell.send(cx.endpoints()[0].0).expect("a taker")).expect("it runs");
        let id = told.recv_timeout(crate::support::PATIENCE).expect("an id");
        remote.send_datagram(id, Some(peer), windlass::Bytes::from_static(b"unasked")).expect("sent");
        assert_eq!(other.receive(), b"unasked");
        one.send(b"ask");
        assert_eq!(one.receive(), b"ask");
        rig.end(&server);
        let told: Vec<_> = rig.states.all().into_iter().map(|told| (told.state, told.remote)).collect();
        let to_one = told.iter().filter(|told| **told == (ConnState::Write, Some(one.address()))).count();
        let writes = told.iter().filter(|told| told.0 == ConnState::Write).count();
        assert_eq!((to_one, writes), (1, 2), "{told:?}");
    }
}
