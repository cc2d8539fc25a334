//! Clients of datagram sockets: each read takes one datagram, each write sends one.

use crate::host::{Diary, Place, builder, free_name, loopback, noise};
use crate::support::PATIENCE;
use std::io::{self, ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use windlass::{
    Address, AfterRequest, Client, ConnState, ConnectConfig, DatagramConfig, Error, IcmpErrors, Offload, SocketOptions,
    Transport,
};

/// A datagram socket that is served by hand.
pub(crate) struct Post {
    pub(crate) address: Address,
    socket: Kind,
    dir: tempfile::TempDir,
}

enum Kind {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

/// Who sent a datagram.
pub(crate) enum Sender {
    Ip(std::net::SocketAddr),
    Unix(std::os::unix::net::SocketAddr),
}

impl Post {
    pub(crate) fn at(place: Place) -> Post {
        let dir = tempfile::tempdir().expect("a directory");
        let (socket, address) = match place {
            Place::V4 | Place::V6 => {
                let socket = UdpSocket::bind(loopback(place)).expect("a free port");
                let address = Address::udp(socket.local_addr().expect("an address"));
                (Kind::Udp(socket), address)
            }
            Place::Path => {
                let path = dir.path().join("socket");
                (Kind::Unix(UnixDatagram::bind(&path).expect("a socket")), Address::unixgram(&path).expect("short"))
            }
            Place::Name => {
                let name = free_name();
                let at = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("a name");
                let socket = UnixDatagram::bind_addr(&at).expect("a socket");
                (Kind::Unix(socket), Address::unixgram_abstract(&name).expect("short"))
            }
        };
        match &socket {
            Kind::Udp(udp) => udp.set_read_timeout(Some(PATIENCE)),
            Kind::Unix(unix) => unix.set_read_timeout(Some(PATIENCE)),
        }
        .expect("SO_RCVTIMEO");
        Post { address, socket, dir }
    }

    pub(crate) fn everywhere(mut scenario: impl FnMut(Post)) {
        for place in [Place::V4, Place::V6, Place::Path, Place::Name] {
            eprintln!("at {place:?}:");
            scenario(Post::at(place));
        }
    }

    pub(crate) fn client(&self) -> Client {
        connected(builder(&self.address).build().expect("a client"))
    }

    pub(crate) fn receive(&self) -> (Vec<u8>, Sender) {
        let mut buffer = vec![0; 300_000];
        let (bytes, from) = match &self.socket {
            Kind::Udp(udp) => udp.recv_from(&mut buffer).map(|(bytes, from)| (bytes, Sender::Ip(from))),
            Kind::Unix(unix) => unix.recv_from(&mut buffer).map(|(bytes, from)| (bytes, Sender::Unix(from))),
        }
        .expect("a datagram");
        buffer.truncate(bytes);
        (buffer, from)
    }

    pub(crate) fn send(&self, bytes: &[u8], to: &Sender) {
        let sent = match (&self.socket, to) {
            (Kind::Udp(udp), Sender::Ip(ip)) => udp.send_to(bytes, ip),
            (Kind::Unix(unix), Sender::Unix(name)) => unix.send_to_addr(bytes, name),
            _ => panic!("a sender of another kind"),
        };
        assert_eq!(sent.expect("a send"), bytes.len());
    }

    /// Sends one datagram back to where it came from.
    pub(crate) fn echo(&self) {
        let (bytes, from) = self.receive();
        self.send(&bytes, &from);
    }

    pub(crate) fn is_unix(&self) -> bool {
        self.address.transport() == Transport::Unixgram
    }
}

fn connected(client: Client) -> Client {
    client.connect(PATIENCE).expect("a socket");
    client
}

/// What one read of so much room brings.
fn read(client: &Client, room: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; room];
    let bytes = (&*client).read(&mut buffer)?;
    buffer.truncate(bytes);
    Ok(buffer)
}

#[test]
fn datagrams_of_any_length_come_back_from_everywhere() {
    Post::everywhere(|post| {
        let client = post.client();
        assert!(client.is_connected());
        assert_eq!(client.peer_address(), Some(post.address.clone()));
        for bytes in [1, 0, 1400, 0, 60_000] {
            let sent = noise(bytes);
            assert_eq!((&client).write(&sent).expect("sent"), bytes);
            post.echo();
            assert_eq!(read(&client, 64 * 1024).expect("the answer"), sent);
        }
        client.close().expect("closed");
        assert!(!client.is_connected() && client.local_address().is_none());
        assert!(matches!(client.close(), Err(Error::NotConnected)));
    });
}

#[test]
fn a_unix_client_has_an_address_of_its_own_to_which_answers_come() {
    let post = Post::at(Place::Path);
    let given = Address::unixgram(post.dir.path().join("own")).expect("a short path");
    for bind in [None, Some(given.clone())] {
        let config = DatagramConfig { bind: bind.clone(), ..DatagramConfig::default() };
        let client = connected(builder(&post.address).datagram_config(config).build().expect("a client"));
        let own = client.local_address().expect("an address");
        assert!(bind.as_ref().is_none_or(|bind| *bind == own), "{own}");
        (&client).write_all(b"hello").expect("sent");
        post.echo();
        assert_eq!(read(&client, 100).expect("the answer"), b"hello");
        client.close().expect("closed");
        assert!(own.path().is_none_or(|path| !path.exists()), "its file is left");
    }
}

#[test]
fn a_datagram_that_is_longer_than_the_buffer_is_not_lost() {
    Post::everywhere(|post| {
        let client = post.client();
        for _ in 0..2 {
            (&client).write_all(&noise(500)).expect("sent");
            (&client).write_all(b"next").expect("sent");
            post.echo();
            post.echo();
            for _ in 0..2 {
                let error = read(&client, 499).expect_err("too little room");
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains("500") && error.to_string().contains("499"), "{error}");
            }
            assert_eq!(read(&client, 500).expect("all of it"), noise(500));
            assert_eq!(read(&client, 500).expect("the next one"), b"next");
        }
        assert!(client.is_connected());
    });
}

#[test]
fn a_datagram_that_was_cut_is_told_and_the_next_one_is_whole() {
    Post::everywhere(|post| {
        let diary = Diary::default();
        let config = DatagramConfig { bytes_max: 100, ..DatagramConfig::default() };
        let client = diary.of(builder(&post.address)).datagram_config(config).build().expect("a client");
        let client = connected(client);
        (&client).write_all(&noise(101)).expect("sent");
        (&client).write_all(&noise(100)).expect("sent");
        post.echo();
        post.echo();
        let error = read(&client, 1000).expect_err("it was cut");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(["101", "100", "bytes_max"].iter().all(|word| error.to_string().contains(word)), "{error}");
        assert_eq!(read(&client, 1000).expect("whole"), noise(100));
        assert!(client.is_connected() && diary.errors().is_empty());
    });
}

#[test]
fn what_is_too_long_is_refused_with_the_limit_and_ends_nothing() {
    Post::everywhere(|post| {
        let client = post.client();
        let limit = match (&post.socket, post.address.ip()) {
            (Kind::Udp(_), Some(ip)) if ip.is_ipv4() => 65_507,
            (Kind::Udp(_), _) => 65_527,
            (Kind::Unix(_), _) => {
                let error = (&client).write(&vec![0; 64 << 20]).expect_err("no buffer holds it");
                match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    Some(Error::Oversize { limit, .. }) => *limit,
                    other => panic!("{other:?}"),
                }
            }
        };
        let error = (&client).write(&vec![0; limit + 1]).expect_err("it is too long");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        assert!(matches!(inner, Some(Error::Oversize { bytes, limit: told }) if (*bytes, *told) == (limit + 1, limit)));
        assert!(error.to_string().contains(&limit.to_string()));
        assert!(client.is_connected());
        // The longest there is goes out.
        let longest = noise(limit);
        assert_eq!((&client).write(&longest).expect("sent"), limit);
        assert!(post.receive().0 == longest, "another datagram came");
    });
}

#[test]
fn a_refused_port_is_told_on_the_next_call_and_ends_nothing() {
    for place in [Place::V4, Place::V6] {
        let post = Post::at(place);
        let diary = Diary::default();
        let client = connected(diary.of(builder(&post.address)).build().expect("a client"));
        let Post { address, socket, .. } = post;
        drop(socket);
        (&client).write_all(b"anybody?").expect("sent");
        assert_eq!(read(&client, 10).expect_err("nobody").kind(), ErrorKind::ConnectionRefused);
        (&client).write_all(b"anybody?").expect("sent");
        assert_eq!((&client).write(b"?").expect_err("nobody").kind(), ErrorKind::ConnectionRefused);
        assert!(client.is_connected() && diary.errors().is_empty());
        // Once somebody is there again, the same client goes on.
        let socket = UdpSocket::bind(address.ip().expect("an IP address")).expect("it is free");
        (&client).write_all(b"hello").expect("sent");
        assert_eq!(socket.recv_from(&mut [0; 10]).expect("a datagram").0, 5);
    }
}

/// What a call said, and how long it took; that it slept meanwhile is checked.
fn slept<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    use nix::time::{ClockId, clock_gettime};
    let busy = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock"));
    let (since, before) = (Instant::now(), busy());
    let said = call();
    let (took, busy) = (since.elapsed(), busy() - before);
    assert!(busy < took / 4 || busy < Duration::from_millis(10), "it was busy for {busy:?} of {took:?}");
    (said, took)
}

/// The error queue of a socket with IP_RECVERR held the refusal that the first read had told: the second one never
/// returned, and kept a core busy.
#[test]
fn a_read_behind_a_refused_one_sleeps_until_its_time_is_over() {
    let time = Duration::from_millis(120);
    for (place, icmp_errors) in
        [Place::V4, Place::V6].into_iter().flat_map(|place| [(place, IcmpErrors::Told), (place, IcmpErrors::Ignored)])
    {
        let Post { address, socket, .. } = Post::at(place);
        drop(socket);
        let config = DatagramConfig { icmp_errors, ..DatagramConfig::default() };
        let client = connected(builder(&address).datagram_config(config).build().expect("a client"));
        client.set_read_timeout(Some(time)).expect("a time");
        for writes in [1, 2, 5] {
            eprintln!("{place:?}, {icmp_errors:?}, {writes} datagrams:");
            // A refusal that has come by then is told by the next of them.
            (0..writes).for_each(|_| drop((&client).write(b"anybody?")));
            let mut refused = 0;
            loop {
                let (read, took) = slept(|| read(&client, 10));
                match read.expect_err("nobody").kind() {
                    ErrorKind::ConnectionRefused => refused += 1,
                    ErrorKind::WouldBlock => break assert!(took >= time && took < PATIENCE, "{took:?}"),
                    other => panic!("{other}"),
                }
            }
            assert!(refused <= writes, "{refused} refusals of {writes} datagrams");
            assert!(writes > 1 || refused == 1);
        }
        // Once somebody is there again, the same client goes on.
        let socket = UdpSocket::bind(address.ip().expect("an IP address")).expect("it is free");
        (&client).write_all(b"hello").expect("sent");
        let (_, from) = socket.recv_from(&mut [0; 10]).expect("a datagram");
        socket.send_to(b"answer", from).expect("sent");
        assert_eq!(read(&client, 10).expect("the answer"), b"answer");
    }
}

#[test]
fn an_exchange_with_nobody_ends_in_time_however_often_its_answer_is_asked_for() {
    let time = Duration::from_millis(120);
    for place in [Place::V4, Place::V6] {
        let Post { address, socket, .. } = Post::at(place);
        drop(socket);
        let client = builder(&address).build().expect("a client");
        let (answer, took) = slept(|| {
            client.once(&b"anybody?"[..], AfterRequest::KeepOpen, time, |answer| {
                assert_eq!(answer.read(&mut [0; 10]).expect_err("nobody").kind(), ErrorKind::ConnectionRefused);
                answer.read(&mut [0; 10])
            })
        });
        let error = answer.expect_err("nobody answers");
        assert!(matches!(&error, Error::Exchange { source, .. } if source.kind() == ErrorKind::TimedOut), "{error}");
        assert!(took >= time && took < PATIENCE, "{took:?}");
    }
}

/// A hook may ask for what nobody here reads: the times at which datagrams left, which wait in the queue of errors.
fn asks_for_times(socket: &socket2::Socket) -> io::Result<()> {
    use nix::sys::socket::{TimestampingFlag as Flag, setsockopt, sockopt::Timestamping};
    let flags = Flag::SOF_TIMESTAMPING_TX_SOFTWARE | Flag::SOF_TIMESTAMPING_SOFTWARE;
    Ok(setsockopt(socket, Timestamping, &flags)?)
}

#[test]
fn notices_that_a_hook_has_asked_for_keep_no_reader_awake() {
    let time = Duration::from_millis(120);
    let socket = SocketOptions { prepare: Some(asks_for_times), ..SocketOptions::default() };
    for place in [Place::V4, Place::V6] {
        let post = Post::at(place);
        let config = DatagramConfig { socket, ..DatagramConfig::default() };
        let client = connected(builder(&post.address).datagram_config(config).build().expect("a client"));
        client.set_read_timeout(Some(time)).expect("a time");
        (&client).write_all(b"hello").expect("sent");
        let (read, took) = slept(|| read(&client, 10));
        assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
        assert!(took >= time);

        let listener = std::net::TcpListener::bind(loopback(place)).expect("a free port");
        let address = Address::tcp(listener.local_addr().expect("an address"));
        let config = ConnectConfig { socket, ..ConnectConfig::default() };
        let client = connected(builder(&address).connect_config(config).build().expect("a client"));
        client.set_read_timeout(Some(time)).expect("a time");
        (&client).write_all(b"hello").expect("sent");
        let (read, took) = slept(|| self::read(&client, 10));
        assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
        assert!(took >= time && client.is_connected());
    }
}

#[test]
fn joined_datagrams_are_read_one_by_one() {
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    for place in [Place::V4, Place::V6] {
        for bytes_max in [64 * 1024, 100] {
            let post = Post::at(place);
            let config = DatagramConfig { gro: Offload::On, bytes_max, ..DatagramConfig::default() };
            let client = connected(builder(&post.address).datagram_config(config).build().expect("a client"));
            client.set_read_timeout(Some(Duration::from_millis(60))).expect("a time");
            (&client).write_all(b"hello").expect("sent");
            let (_, from) = post.receive();
            let (Sender::Ip(from), Kind::Udp(socket)) = (&from, &post.socket) else { panic!("a Unix socket") };
            let to = SockaddrStorage::from(*from);
            let send = |bytes: &[u8], segment: u16| {
                let (parts, cut) = ([io::IoSlice::new(bytes)], [ControlMessage::UdpGsoSegments(&segment)]);
                let sent = sendmsg(socket.as_raw_fd(), &parts, &cut, MsgFlags::empty(), Some(&to));
                assert_eq!(sent.expect("the kernel has UDP_SEGMENT"), bytes.len());
            };
            let (one, two) = (noise(1030), noise(370));
            send(&one, 100);
            post.send(b"", &Sender::Ip(*from));
            send(&two, 120);
            for piece in one.chunks(100) {
                // Too little room loses none of them.
                let error = read(&client, piece.len() - 1).expect_err("too little room");
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(&piece.len().to_string()), "{error}");
                assert_eq!(read(&client, 1000).expect("one"), piece);
            }
            assert_eq!(read(&client, 1000).expect("an empty one"), b"");
            for piece in two.chunks(120) {
                if piece.len() > bytes_max {
                    let error = read(&client, 1000).expect_err("it is longer than it may be");
                    assert_eq!(error.kind(), ErrorKind::InvalidData);
                    assert!(error.to_string().contains("120") && error.to_string().contains("100"), "{error}");
                } else {
                    assert_eq!(read(&client, 1000).expect("one"), piece);
                }
            }
            assert_eq!(read(&client, 1000).expect_err("that was all").kind(), ErrorKind::WouldBlock);
        }
    }
}

/// Whoever received several at once takes one of them: the others wait in memory, of which poll(2) tells nobody.
#[test]
fn joined_datagrams_reach_all_who_wait_for_one() {
    use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, sendmsg};
    const READERS: usize = 4;
    const EACH: usize = 5;
    let post = Post::at(Place::V4);
    let config = DatagramConfig { gro: Offload::On, ..DatagramConfig::default() };
    let client = connected(builder(&post.address).datagram_config(config).build().expect("a client"));
    (&client).write_all(b"hello").expect("sent");
    let (Sender::Ip(from), Kind::Udp(socket)) = (post.receive().1, &post.socket) else { panic!("a Unix socket") };
    let to = SockaddrStorage::from(from);
    for _ in 0..50 {
        let since = Instant::now();
        std::thread::scope(|scope| {
            let reads = || (0..EACH).for_each(|_| assert_eq!(read(&client, 1000).expect("one").len(), 100));
            let readers = [(); READERS].map(|()| scope.spawn(reads));
            let bytes = [7; 100 * READERS * EACH];
            let (parts, cut) = ([io::IoSlice::new(&bytes)], [ControlMessage::UdpGsoSegments(&100)]);
            sendmsg(socket.as_raw_fd(), &parts, &cut, MsgFlags::empty(), Some(&to)).expect("UDP_SEGMENT");
            readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
        });
        // A reader whose time runs out looks once more, and would find what nobody has told it of.
        assert!(since.elapsed() < PATIENCE, "somebody slept beside what it was waiting for");
    }
    // Those who wait are not kept from their time, nor from the end.
    let time = Duration::from_millis(60);
    client.set_read_timeout(Some(time)).expect("a time");
    let waits = || {
        let (read, took) = slept(|| read(&client, 10));
        assert_eq!(read.expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
        assert!(took >= time && took < PATIENCE);
    };
    std::thread::scope(|scope| {
        [(); READERS].map(|()| scope.spawn(waits)).map(|reader| reader.join().expect("no panic"))
    });
    client.set_read_timeout(None).expect("for ever");
    std::thread::scope(|scope| {
        let ended = || assert_eq!(read(&client, 10).expect_err("it was closed").kind(), ErrorKind::NotConnected);
        let readers = [(); READERS].map(|()| scope.spawn(ended));
        client.close().expect("closed");
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
    });
}

#[test]
fn a_unix_receiver_that_is_gone_refuses() {
    for place in [Place::Path, Place::Name] {
        let post = Post::at(place);
        let client = post.client();
        drop(post);
        let error = (&client).write(b"anybody?").expect_err("nobody");
        assert!(matches!(error.kind(), ErrorKind::ConnectionRefused), "{error}");
        assert!(client.is_connected());
    }
    let nobody = Address::unixgram("/nowhere/at/all").expect("a short path");
    let error = builder(&nobody).build().expect("a client").connect(PATIENCE).expect_err("nobody");
    assert!(matches!(&error, Error::Connect { address, .. } if **address == nobody), "{error}");
}

#[test]
fn reads_and_writes_take_no_longer_than_they_may() {
    let time = Duration::from_millis(40);
    Post::everywhere(|post| {
        let client = post.client();
        client.set_read_timeout(Some(time)).expect("a time");
        let since = Instant::now();
        assert_eq!(read(&client, 10).expect_err("nothing comes").kind(), ErrorKind::WouldBlock);
        assert!(since.elapsed() >= time);
        if !post.is_unix() {
            return;
        }
        client.set_write_timeout(Some(time)).expect("a time");
        let since = (0..10_000).find_map(|_| {
            let began = Instant::now();
            (&client).write(b"who reads?").err().map(|error| (began.elapsed(), error.kind()))
        });
        let (took, kind) = since.expect("its queue is short");
        assert_eq!(kind, ErrorKind::WouldBlock);
        assert!(took >= time, "{took:?}");
        // There is room again, and then for whoever waits.
        post.receive();
        (&client).write_all(b"I do").expect("sent");
        client.set_write_timeout(None).expect("for ever");
        std::thread::scope(|scope| {
            scope.spawn(|| (&client).write_all(b"and you").expect("sent"));
            while post.receive().0 != b"and you" {}
        });
    });
}

#[test]
fn they_have_no_end_that_could_be_said() {
    Post::everywhere(|post| {
        let client = post.client();
        assert_eq!(client.shutdown_write().expect_err("no such end").kind(), ErrorKind::Unsupported);
        assert!(client.is_connected());
    });
}

#[test]
fn states_are_dial_new_then_each_datagram_and_close() {
    Post::everywhere(|post| {
        let diary = Diary::default();
        let client = connected(diary.of(builder(&post.address)).build().expect("a client"));
        for bytes in [3, 0] {
            (&client).write(&noise(bytes)).map(drop).expect("sent");
            post.echo();
            read(&client, 100).expect("the answer");
        }
        client.close().expect("closed");
        use ConnState::{Close, Dial, New, Read, Write};
        assert_eq!(diary.every_state(), [Dial, New, Write, Read, Write, Read, Close]);
        assert!(diary.errors().is_empty());
    });
}

/// Bytes without end, one piece at a time.
struct Endless;

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(buffer.len().min(1000))
    }
}

#[test]
fn once_sends_one_datagram_and_reads_one_with_each_read() {
    Post::everywhere(|post| {
        let diary = Diary::default();
        let client = diary.of(builder(&post.address)).build().expect("a client");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (bytes, from) = post.receive();
                post.send(&bytes, &from);
                post.send(b"", &from);
                post.send(b"more", &from);
            });
            let answer = client.once(&b"what?"[..], AfterRequest::HalfClose, PATIENCE, |answer| {
                let mut buffer = [0; 100];
                let counts = [answer.read(&mut buffer)?, answer.read(&mut buffer)?, answer.read(&mut buffer)?];
                Ok((counts, buffer[..4].to_vec()))
            });
            assert_eq!(answer.expect("an answer"), ([5, 0, 4], b"more".to_vec()));
        });
        // Without one, and one that cannot be.
        client.once(io::empty(), AfterRequest::KeepOpen, PATIENCE, |_| Ok(())).expect("sent");
        assert_eq!(post.receive().0, b"");
        let since = Instant::now();
        let error = client
            .once(&b"?"[..], AfterRequest::KeepOpen, Duration::from_millis(50), |answer| answer.read(&mut [0; 10]));
        let error = error.expect_err("nobody answers");
        assert!(matches!(&error, Error::Exchange { source, .. } if source.kind() == ErrorKind::TimedOut), "{error}");
        assert!(since.elapsed() >= Duration::from_millis(50));
        // A request without an end is no datagram, and is not waited for.
        let error = client.once(Endless, AfterRequest::KeepOpen, PATIENCE, |_| Ok(()));
        assert!(error.expect_err("too long").to_string().contains("limit"));
        assert_eq!(diary.errors().len(), 2);
        assert!(!client.is_connected());
        diary.check(false);
    });
}

#[test]
fn a_name_is_resolved_for_them_too() {
    let post = Post::at(Place::V4);
    let ip = post.address.ip().expect("an IP address");
    let name: Address = format!("udp://service.example:{}", ip.port()).parse().expect("an address");
    let resolver = windlass::Resolver::new(move |_| Ok(vec![ip]));
    let client = connected(Client::builder(name.clone()).resolver(resolver).build().expect("a client"));
    assert_eq!((client.address(), client.peer_address()), (&name, Some(post.address.clone())));
    (&client).write_all(b"hello").expect("sent");
    assert_eq!(post.receive().0, b"hello");
}
