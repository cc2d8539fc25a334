//! TLS that begins in the middle (STARTTLS), and plain text that comes where TLS was to begin.

use crate::raw::{Client, dial};
use crate::support::{Heard, Hooks, Kind, Said, Sink, World, security};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use windlass::{
    Accept, Address, ClientTls, Conn, ConnectConfig, Error, Expiry, Handler, Limits, ListenConfig, Peer, Reason,
    TlsFault, WriteError,
};

const KINDS: [Kind; 2] = [Kind::Tcp, Kind::Unix];
const ASK: &[u8] = b"STARTTLS\n";
const GO: &[u8] = b"go\n";

/// A server of lines in plain, that becomes an echo of bytes under TLS. `shown` gets all that it is shown.
fn upgrading(shown: Rc<RefCell<Vec<u8>>>) -> impl Handler {
    let is_secured = Rc::new(RefCell::new(false));
    let secured = is_secured.clone();
    Hooks::new()
        .data(move |conn, data| {
            shown.borrow_mut().extend_from_slice(data);
            if *is_secured.borrow() {
                return conn.write_some(data);
            }
            if !data.starts_with(ASK) {
                return if data.len() < ASK.len() { 0 } else { data.len() };
            }
            conn.write(GO).expect("room");
            conn.start_tls_server(&security::server()).expect("an open plain connection");
            assert!(matches!(conn.write(b"x"), Err(WriteError::NotOpen)) && conn.room() == 0);
            assert!(matches!(conn.start_tls_server(&security::server()), Err(Error::NotOpen)));
            ASK.len()
        })
        .secured(move |conn| {
            assert!(conn.tls().is_some_and(|tls| tls.server_name() == Some(security::NAME)));
            *secured.borrow_mut() = true;
        })
}

fn listen(world: &mut World, kind: Kind, limits: Limits) -> (Address, Rc<RefCell<Vec<u8>>>) {
    let shown = Rc::new(RefCell::new(Vec::new()));
    let shows = shown.clone();
    let config = ListenConfig { limits, ..ListenConfig::default() };
    (world.listen(kind, config, move |_: &Conn<'_>| upgrading(shows.clone())), shown)
}

fn ask(world: &mut World, client: &mut Client) {
    client.peer.send_all_while(world, ASK);
    assert_eq!(client.peer.read_exact_while(world, GO.len()), GO);
}

#[test]
fn a_plain_connection_becomes_a_secured_one_in_the_middle() {
    for kind in KINDS {
        for bytes in [1, 10_000] {
            let mut world = World::new();
            let (address, shown) = listen(&mut world, kind, Limits::default());
            let mut client = Client::usual(&address);
            ask(&mut world, &mut client);
            client.shake(&mut world, bytes);
            client.write(b"hello");
            client.send_in_pieces(&mut world, bytes);
            world.until("the echo", |_| client.receive() && client.read() == b"hello");
            assert_eq!(*shown.borrow(), [ASK, b"hello"].concat());
            assert!(world.log.said(0).contains(&Said::Secured));
            client.tls.send_close_notify();
            client.send_in_pieces(&mut world, 10_000);
            drop(client);
            assert_eq!(world.until_empty(), [Reason::PeerClosed]);
        }
    }
}

#[test]
fn what_was_said_in_plain_never_passes_for_something_said_under_tls() {
    for kind in KINDS {
        for injected in [&b"RCPT TO: somebody\n"[..], b"\n", b"\x16", b"\x16\x03\x01\x00\x02xx"] {
            let mut world = World::new();
            let (address, shown) = listen(&mut world, kind, Limits::default());
            let mut client = Client::usual(&address);
            client.peer.send_all_while(&mut world, &[ASK, injected].concat());
            assert_eq!(client.peer.read_exact_while(&mut world, GO.len()), GO);
            let hello = client.records();
            let _ = client.peer.write_some(&hello);
            // An alert and the end, or the end at once.
            let _ = client.peer.read_to_end_while(&mut world);
            drop(client);
            world.until_empty();
            assert!(matches!(world.log.reasons()[..], [Reason::Tls(_)]), "{:?}", world.log.reasons());
            // The handler is shown the plain bytes once, before TLS, and none of them after it.
            assert_eq!(*shown.borrow(), [ASK, injected].concat());
            assert!(!world.log.said(0).contains(&Said::Secured));
        }
    }
}

#[test]
fn a_hello_right_behind_the_request_is_the_beginning_of_the_handshake() {
    for kind in KINDS {
        let mut world = World::new();
        let (address, _) = listen(&mut world, kind, Limits::default());
        let mut client = Client::usual(&address);
        let hello = client.records();
        for piece in [ASK, &hello[..7]].concat().chunks(200).chain([&hello[7..100], &hello[100..]]) {
            client.peer.send_all_while(&mut world, piece);
            world.turn();
        }
        assert_eq!(client.peer.read_exact_while(&mut world, GO.len()), GO);
        client.shake(&mut world, 10_000);
        client.write(b"hello");
        client.send_in_pieces(&mut world, 10_000);
        world.until("the echo", |_| client.receive() && client.read() == b"hello");
    }
}

/// A client that asks for TLS, and says hello under it.
fn asking(tls: ClientTls, got: Rc<RefCell<Vec<u8>>>) -> impl Handler {
    let is_secured = Rc::new(RefCell::new(false));
    let secured = is_secured.clone();
    Hooks::new()
        .open(|conn| conn.write(ASK).expect("room"))
        .data(move |conn, data| {
            if *is_secured.borrow() {
                got.borrow_mut().extend_from_slice(data);
                conn.close();
            } else {
                assert_eq!(data, GO);
                conn.start_tls_client(&tls).expect("an open plain connection");
            }
            data.len()
        })
        .secured(move |conn| {
            *secured.borrow_mut() = true;
            conn.write(b"hello").expect("room");
        })
}

#[test]
fn both_sides_of_ours_upgrade() {
    for kind in KINDS {
        let mut world = World::new();
        let (address, _) = listen(&mut world, kind, Limits::default());
        let got = Rc::new(RefCell::new(Vec::new()));
        let client = asking(security::client(), got.clone());
        world.connect(&address, ConnectConfig::default(), client);
        world.until("both to end", |world| world.log.reasons().len() == 2);
        assert_eq!(*got.borrow(), b"hello");
        let mut reasons = world.until_empty();
        reasons.sort_by_key(|reason| reason.index());
        assert_eq!(reasons, [Reason::PeerClosed, Reason::Local]);
    }
}

#[test]
fn what_was_written_before_leaves_before_the_handshake() {
    let mut world = World::new();
    let before = vec![b'p'; 200_000];
    let says = before.clone();
    let address = world.listen(Kind::Tcp, ListenConfig::default(), move |_: &Conn<'_>| {
        let says = says.clone();
        Hooks::new().open(move |conn| {
            conn.write(&says).expect("room");
            conn.write(GO).expect("room");
            conn.start_tls_server(&security::server()).expect("an open plain connection");
        })
    });
    let mut client = Client::usual(&address);
    // The hello comes while plain bytes still wait.
    let hello = client.records();
    client.peer.send_all_while(&mut world, &hello);
    world.turns(5);
    assert_eq!(client.peer.read_exact_while(&mut world, before.len() + GO.len()), [&before, GO].concat());
    client.shake(&mut world, 10_000);
    world.until("the handshake", |world| world.log.said(0).contains(&Said::Secured));
}

#[test]
fn an_upgrade_is_refused_where_it_cannot_be() {
    let mut world = World::new();
    let half = world.listen(Kind::Tcp, ListenConfig::default(), |_: &Conn<'_>| {
        Hooks::new()
            .open(|conn| {
                let nameless = security::nameless();
                let error = conn.start_tls_client(&nameless).expect_err("no name");
                assert!(error.to_string().contains("server_name"), "{error}");
                assert!(conn.room() > 0, "nothing has changed");
            })
            .end(|conn, _| {
                assert!(matches!(conn.start_tls_server(&security::server()), Err(Error::NotOpen)));
                conn.close();
            })
    });
    drop(dial(&half));
    let secured = world.listen(Kind::Tls, ListenConfig::default(), |_: &Conn<'_>| {
        Hooks::new().open(|conn| {
            assert!(matches!(conn.start_tls_server(&security::server()), Err(Error::NotOpen)));
        })
    });
    let mut client = Client::usual(&secured);
    client.shake(&mut world, 10_000);
    drop(client);
    assert_eq!(world.until_empty().len(), 2);
}

#[test]
fn a_silent_peer_is_closed_and_the_handlers_own_timer_waits() {
    let mut world = World::new();
    let limits = Limits { handshake_timeout: Duration::from_millis(200), ..Limits::default() };
    let address = world.listen(Kind::Tcp, ListenConfig { limits, ..ListenConfig::default() }, |_: &Conn<'_>| {
        Hooks::new().open(|conn| {
            conn.set_timer(Duration::from_millis(1));
            conn.start_tls_server(&security::server()).expect("an open plain connection");
        })
    });
    let since = Instant::now();
    let peer = dial(&address);
    world.until("the deadline", |world| !world.log.reasons().is_empty());
    assert!(since.elapsed() >= Duration::from_millis(199));
    assert_eq!(world.log.reasons(), [Reason::Timeout(Expiry::Handshake)]);
    drop(peer);
    let mut client = Client::usual(&address);
    world.until("the timer's time", |_| since.elapsed() > Duration::from_millis(205));
    client.shake(&mut world, 10_000);
    world.until("the timer", |world| world.log.said(1).contains(&Said::Timer));
    let said = world.log.said(1);
    assert_eq!(said[..3], [Said::Open, Said::Secured, Said::Timer]);
}

#[test]
fn a_drain_is_told_when_the_upgrade_is_done() {
    let mut world = World::new();
    let (address, _) = listen(&mut world, Kind::Tcp, Limits::default());
    let mut client = Client::usual(&address);
    ask(&mut world, &mut client);
    world.reactor().context().shutdown(Duration::from_secs(10));
    world.turns(3);
    assert_eq!(world.reactor().connections(), 1);
    world.until("the end", |world| {
        client.send_in_pieces(world, 10_000);
        let _ = client.receive();
        world.log.said(0).contains(&Said::Drain)
    });
    drop(client);
    assert_eq!(world.until_empty(), [Reason::Drain]);
    let said = world.log.said(0);
    assert_eq!(said[said.len() - 3..], [Said::Secured, Said::Drain, Said::Close(Reason::Drain)]);
}

#[test]
fn an_upgrading_link_goes_on_in_other_hands() {
    for kind in KINDS {
        let mut world = World::new();
        let log = world.log.clone();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let log = log.clone();
            Hooks::new().data(move |conn, _| {
                conn.write(GO).expect("room");
                conn.start_tls_server(&security::server()).expect("an open plain connection");
                let log = log.clone();
                conn.detach(move |link, cx| {
                    cx.adopt(link, log.record(crate::support::Echo)).expect("a place");
                });
                ASK.len()
            })
        });
        let mut client = Client::usual(&address);
        let hello = client.records();
        client.peer.send_all_while(&mut world, &[ASK, &hello].concat());
        assert_eq!(client.peer.read_exact_while(&mut world, GO.len()), GO);
        client.shake(&mut world, 10_000);
        client.write(b"hello");
        client.send_in_pieces(&mut world, 10_000);
        world.until("the echo", |_| client.receive() && client.read() == b"hello");
        assert_eq!(world.log.said(1)[0], Said::Open);
    }
}

// --- plain text at a listener with TLS --------------------------------------------------------------------------------

/// Answers HTTP in HTTP.
struct Polite;

impl Accept for Polite {
    type Handler = Sink;

    fn make(&mut self, _: &Conn<'_>) -> Sink {
        Sink
    }

    fn answer_plain(&mut self, peer: &Peer<'_>, bytes: &[u8]) -> Option<Vec<u8>> {
        assert!(peer.local_address().is_some());
        assert!(!bytes.starts_with(b"PANIC"), "as asked");
        bytes.starts_with(b"GET ").then(|| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())
    }
}

#[test]
fn a_listener_may_answer_plain_text_in_plain_text() {
    for kind in [Kind::Tls, Kind::TlsUnix] {
        let mut world = World::new();
        let address = world.listen(kind, ListenConfig::default(), Polite);
        for (said, answer, ends) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false),
            (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", true),
            (b"SSH-2.0-x\r\n", b"\x15\x03\x03\x00\x02\x02\x32", true),
            (b"PANIC", b"\x15\x03\x03\x00\x02\x02\x32", false),
        ] {
            let heard = world.log.heard().len();
            let mut peer = dial(&address);
            peer.send_all_while(&mut world, said);
            if ends {
                peer.finish();
            }
            assert_eq!(peer.read_to_end_while(&mut world).expect("an end"), answer);
            drop(peer);
            world.until_empty();
            assert_eq!(world.log.heard()[heard..], [Heard::Failed(Reason::Tls(TlsFault::NotTls))]);
        }
        assert_eq!(world.reactor().snapshot().panics, 1);
    }
}
