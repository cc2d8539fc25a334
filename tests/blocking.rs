//! Links on threads that wait: they read and write like sockets, and nothing is lost on the way to them and back.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use support::{Hooks, Kind, World};
use windlass::{BlockingLink, Conn, Handler, Limits, Link, ListenConfig, Reactor, ReactorConfig, Reason};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two links that are connected to each other; with TLS the first is the client.
fn pair(kind: Kind) -> (BlockingLink, BlockingLink) {
    let (one, other): (OwnedFd, OwnedFd) = if kind.is_unix() {
        let (one, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        (one.into(), other.into())
    } else {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let one = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        (one.into(), listener.accept().expect("a connection").0.into())
    };
    let link = |fd| Link::new(fd, Limits::default()).expect("a link");
    let (one, other) = (link(one), link(other));
    #[cfg(feature = "tls")]
    let (one, other) = if kind.is_tls() {
        let one = one.with_tls_client(&support::security::client()).expect("a client");
        (one, other.with_tls_server(&support::security::server()).expect("a server"))
    } else {
        (one, other)
    };
    let waiting = thread::spawn(move || other.into_blocking().expect("the server's side"));
    let one = one.into_blocking().expect("the client's side");
    let other = waiting.join().expect("no panic");
    for link in [&one, &other] {
        link.set_read_timeout(Some(PATIENCE));
        link.set_write_timeout(Some(PATIENCE));
    }
    (one, other)
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

#[test]
fn copying_what_is_read_to_what_is_written_is_an_echo_server() {
    support::each_kind(|kind| {
        let (client, server) = pair(kind);
        let echo = thread::spawn(move || std::io::copy(&mut &server, &mut &server).expect("an echo"));
        let (client, sent) = (Arc::new(client), noise(3_000_000));
        let reader = client.clone();
        let answers = thread::spawn(move || {
            let mut got = Vec::new();
            (&*reader).read_to_end(&mut got).expect("all of it");
            got
        });
        (&*client).write_all(&sent).expect("written");
        client.finish().expect("our end");
        // Compared in one go, so that a failure does not print megabytes.
        assert!(answers.join().expect("no panic") == sent, "other bytes came back");
        assert_eq!(echo.join().expect("no panic"), sent.len() as u64);
    });
}

#[test]
fn both_directions_go_at_once() {
    support::each_kind(|kind| {
        let (one, other) = pair(kind);
        let (one, other) = (Arc::new(one), Arc::new(other));
        let bytes = noise(4_000_000);
        thread::scope(|scope| {
            for (from, to) in [(&one, &other), (&other, &one)] {
                let bytes = &bytes;
                scope.spawn(move || {
                    (&**from).write_all(bytes).expect("written");
                    from.finish().expect("our end");
                });
                scope.spawn(move || {
                    let mut got = Vec::new();
                    (&**to).read_to_end(&mut got).expect("all of it");
                    assert!(got == *bytes, "other bytes came");
                });
            }
        });
    });
}

/// A read ends where a descriptor was passed along: what lies behind it is neither held back nor left unread by a close, which
/// would make the kernel answer it with a reset.
#[test]
fn bytes_behind_a_passed_descriptor_are_read_and_a_close_takes_them() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    theirs.set_nonblocking(true).expect("a mode");
    let link = Link::new(ours, Limits::default()).expect("a link").into_blocking().expect("a link that blocks");
    link.set_read_timeout(Some(PATIENCE));
    let mut peer = support::Peer::plain(theirs);
    let send = |peer: &mut support::Peer| {
        peer.write_with_a_descriptor(b"descriptor");
        peer.write_with_a_descriptor(b"descriptor");
        peer.write_some(b"request").expect("a write");
    };
    send(&mut peer);
    let mut all = [0; 27];
    (&link).read_exact(&mut all).expect("all of it");
    link.set_read_timeout(Some(Duration::from_millis(1)));
    assert_eq!((&link).read(&mut all).expect_err("no more yet").kind(), ErrorKind::WouldBlock);
    send(&mut peer);
    link.close().expect("closed");
    drop(link);
    assert_eq!(peer.try_read(&mut [0; 8]).expect("an end").expect("a clean one, not a reset"), 0);
}

#[test]
fn a_read_that_takes_too_long_would_block_and_the_next_one_is_as_good() {
    support::each_kind(|kind| {
        let (one, other) = pair(kind);
        one.set_read_timeout(Some(Duration::from_millis(30)));
        let since = Instant::now();
        let error = (&one).read(&mut [0; 8]).expect_err("nothing came");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(since.elapsed() >= Duration::from_millis(30));
        (&other).write_all(b"late").expect("written");
        let mut got = [0; 4];
        one.set_read_timeout(Some(PATIENCE));
        (&one).read_exact(&mut got).expect("four bytes");
        assert_eq!(&got, b"late");
    });
}

#[test]
fn a_write_that_nobody_reads_would_block_and_goes_on_later() {
    support::each_kind(|kind| {
        let (one, other) = pair(kind);
        one.set_write_timeout(Some(Duration::from_millis(30)));
        let bytes = noise(64 * 1024);
        let mut sent = 0;
        let error = loop {
            match (&one).write(&bytes[sent % bytes.len()..]) {
                Ok(n) => sent += n,
                Err(error) => break error,
            }
            assert!(sent < 1 << 30, "nothing stops it");
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let reader = thread::spawn(move || {
            let mut got = vec![0; sent];
            (&other).read_exact(&mut got).expect("all that was taken");
            (got, other)
        });
        one.set_write_timeout(Some(PATIENCE));
        (&one).flush().expect("the rest leaves");
        let (got, _other) = reader.join().expect("no panic");
        assert!(got.chunks(bytes.len()).all(|piece| *piece == bytes[..piece.len()]), "other bytes came");
    });
}

#[test]
fn who_waits_in_a_read_is_woken_by_a_close_elsewhere() {
    support::each_kind(|kind| {
        let (one, other) = pair(kind);
        let one = Arc::new(one);
        let (reader, (tell, told)) = (one.clone(), mpsc::channel());
        let waiting = thread::spawn(move || {
            tell.send(()).expect("told");
            (&*reader).read(&mut [0; 8])
        });
        told.recv_timeout(PATIENCE).expect("it runs");
        one.close().expect("closed");
        // It may have read the end of a link that was closed before it came to wait.
        match waiting.join().expect("no panic") {
            Ok(n) => assert_eq!(n, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotConnected, "{error}"),
        }
        assert_eq!((&*one).write(b"x").expect_err("it is over").kind(), ErrorKind::NotConnected);
        assert_eq!(one.close().expect_err("it is over").kind(), ErrorKind::NotConnected);
        assert!(!one.is_connected());
        let mut rest = Vec::new();
        (&other).read_to_end(&mut rest).expect("an end in order");
    });
}

#[test]
fn what_was_written_before_a_close_arrives_however_late_it_is_read() {
    support::each_kind(|kind| {
        let (client, server) = pair(kind);
        // More than the reader's side of the system takes at once, less than both sides.
        let sent = noise(if kind.is_unix() { 100_000 } else { 400_000 });
        (&server).write_all(&sent).expect("written");
        server.close().expect("an orderly end");
        drop(server);
        let mut got = Vec::new();
        (&client).read_to_end(&mut got).expect("all of it, and no reset");
        assert!(got == sent, "{} of {} bytes came", got.len(), sent.len());
    });
}

#[test]
fn whether_it_is_connected_is_known_without_taking_what_has_come() {
    support::each_kind(|kind| {
        let (one, other) = pair(kind);
        assert!(one.is_connected() && other.is_connected());
        (&other).write_all(b"last words").expect("written");
        other.close().expect("closed");
        let until = Instant::now() + PATIENCE;
        while one.is_connected() && kind.is_tls() {
            assert!(Instant::now() < until, "it does not notice");
        }
        let mut got = Vec::new();
        (&one).read_to_end(&mut got).expect("all of it, and the end");
        assert_eq!(got, b"last words");
        assert!(!one.is_connected());
    });
}

#[test]
fn a_reset_is_an_error_and_an_end_without_close_notify_is_no_end() {
    support::each_kind(|kind| {
        let (one, other) = pair(kind);
        if kind.is_tls() {
            let socket = other.into_link().expect("a link").into_parts().fd;
            drop(socket);
            let error = (&one).read(&mut [0; 8]).expect_err("it was cut");
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
        } else {
            // Unread bytes make the kernel reset (TCP) or say ECONNRESET (Unix).
            (&one).write_all(b"unread").expect("written");
            drop(other.into_link().expect("a link").into_parts().fd);
            let error = (&one).read(&mut [0; 8]).expect_err("it was reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        assert!(!one.is_connected());
    });
}

struct Relay(mpsc::Sender<Link>);

impl Handler for Relay {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        // The first byte was for the reactor; the rest goes along with the link.
        let tell = self.0.clone();
        conn.write(b"go on").expect("room");
        conn.detach(move |link, _| tell.send(link).expect("somebody waits"));
        data.len().min(1)
    }
}

#[test]
fn a_connection_of_a_reactor_goes_on_on_a_thread_and_back() {
    support::each_kind(|kind| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let address = if kind.is_unix() {
            kind.of(windlass::Address::unix(folder.path().join("s")).expect("short"))
        } else {
            kind.of("tcp://127.0.0.1:0".parse().expect("an address"))
        };
        let (tell, links) = mpsc::channel();
        let config = support::listening(&address, ListenConfig::default());
        let id = reactor.listen(&address, config, move |_: &Conn<'_>| Relay(tell.clone())).expect("a listener");
        let address = reactor.listener_address(id).expect("it listens");
        let client = thread::spawn(move || {
            let fd: OwnedFd = match address.ip() {
                Some(ip) => std::net::TcpStream::connect(ip).expect("a connection").into(),
                None => std::os::unix::net::UnixStream::connect(address.path().expect("a path")).expect("one").into(),
            };
            let link = Link::new(fd, Limits::default()).expect("a link");
            #[cfg(feature = "tls")]
            let link =
                if kind.is_tls() { link.with_tls_client(&support::security::client()).expect("TLS") } else { link };
            let client = link.into_blocking().expect("a client");
            client.set_read_timeout(Some(PATIENCE));
            (&client).write_all(b"!hello").expect("written");
            let mut got = [0; 10];
            (&client).read_exact(&mut got).expect("ten bytes");
            client.finish().expect("our end");
            let mut rest = Vec::new();
            (&client).read_to_end(&mut rest).expect("the end");
            (got, rest)
        });
        let until = Instant::now() + PATIENCE;
        let link = loop {
            reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
            if let Ok(link) = links.try_recv() {
                break link;
            }
            assert!(Instant::now() < until, "no link came");
        };
        let blocking = link.into_blocking().expect("a thread's");
        blocking.set_read_timeout(Some(PATIENCE));
        let mut hello = [0; 5];
        (&blocking).read_exact(&mut hello).expect("what the reactor had left");
        (&blocking).write_all(&hello).expect("written");
        let back = blocking.into_link().expect("a link again");
        struct Rest(std::rc::Rc<std::cell::Cell<Option<Reason>>>);
        impl Handler for Rest {
            fn on_data(&mut self, _: &mut Conn<'_>, data: &[u8]) -> usize {
                data.len()
            }
            fn on_end(&mut self, conn: &mut Conn<'_>, _: &[u8]) {
                conn.write(b"bye").expect("room");
                conn.close();
            }
            fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
                self.0.set(Some(reason));
            }
        }
        let ended = std::rc::Rc::default();
        reactor.context().adopt(back, Rest(std::rc::Rc::clone(&ended))).expect("adopted");
        while ended.get().is_none() {
            reactor.poll_once(Some(Duration::from_millis(1))).expect("a turn");
            assert!(Instant::now() < until, "it does not end");
        }
        assert_eq!(ended.get(), Some(Reason::PeerClosed));
        assert_eq!(client.join().expect("no panic"), (*b"go onhello", b"bye".to_vec()));
    });
}

/// How long this thread has had a processor.
fn busy() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(told.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds"))
}

#[test]
fn a_link_that_came_with_a_full_outbox_reads_what_comes_and_waits_without_a_spin() {
    // A reactor reads nothing until such a link's output has left. Reads of a thread once waited for that as well, and
    // asked the kernel again and again whether there was something to read: there was.
    support::each_kind(|kind| {
        let mut world = World::new();
        let (tell, links) = mpsc::channel();
        let address = world.listen(kind, ListenConfig::default(), move |_: &Conn<'_>| {
            let tell = tell.clone();
            Hooks::new().data(move |conn, _| {
                while conn.write_some(&[7; 64 * 1024]) > 0 {}
                let tell = tell.clone();
                conn.detach(move |link, _| tell.send(link).expect("somebody waits"));
                1
            })
        });
        let mut peer = world.dial(&address);
        peer.send_all_while(&mut world, b"!left");
        let mut link = None;
        world.until("the link", |_| {
            link = links.try_recv().ok();
            link.is_some()
        });
        let blocking = link.expect("a link").into_blocking().expect("a thread's");
        // On a thread of its own, since such a read had no end.
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut got = [0; 4];
            for _ in 0..2 {
                (&blocking).read_exact(&mut got).expect("four bytes");
                tell.send((got, Duration::ZERO)).expect("somebody waits");
            }
            blocking.set_read_timeout(Some(Duration::from_millis(200)));
            let before = busy();
            assert_eq!((&blocking).read(&mut got).expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
            tell.send((got, busy() - before)).expect("somebody waits");
        });
        let (left, _) = told.recv_timeout(PATIENCE).expect("what the reactor had left");
        assert_eq!(peer.write_some(b"more").expect("a write"), 4);
        let (more, _) = told.recv_timeout(PATIENCE).expect("what came later");
        assert_eq!((&left, &more), (b"left", b"more"));
        let (_, busy) = told.recv_timeout(PATIENCE).expect("the end of a read");
        assert!(busy < Duration::from_millis(50), "busy for {busy:?} of 200 ms in which nothing came");
    });
}

#[test]
fn one_descriptor_is_all_that_it_has() {
    support::alone("one_descriptor_is_all_that_it_has", || {
        support::each_kind(|kind| {
            let before = support::descriptors();
            let (one, other) = pair(kind);
            assert_eq!(support::descriptors(), before + 2);
            drop((one, other));
            assert_eq!(support::descriptors(), before);
        });
    });
}
