//! One scenario in a process of its own: a reactor on the thread "reactor", and its peers on another one.
//!
//! Every loss is told: a connection that broke, a listener that ended, a reactor that failed or never began. The rules
//! that hold whatever fails: nobody waits in vain, nothing panics, the callback grammar holds, all descriptors come back,
//! what a peer reads is the beginning of what was sent, one fault costs at most one connection, unless it cost the listener or the reactor and that was told.

use crate::support::{Log, Recorder, descriptors};
use socket2::{Domain, SockAddr, Socket, Type};
use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use windlass::{
    Accept, AcceptEvent, Address, Conn, ConnectConfig, Handler, Limits, ListenConfig, Reactor, ReactorConfig, Reason,
    Remote,
};

/// What can be played.
pub(crate) const SCENARIOS: [&str; 9] =
    ["echo", "half", "push", "slices", "other", "reset", "command", "dial", "crowd"];

/// Says that the rules held, and how many losses there were.
pub(crate) const VERDICT: &str = "played, losses: ";

/// How long anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);

const PUSHED: usize = 700_000;

/// What one call writes in slices: few bytes and many, so that some are gathered and some go to the kernel by themselves.
const SLICES: [usize; 8] = [1, 20_000, 9_000, 100, 40_000, 8_192, 8_191, 60_000];

/// Calls that fail one behind the other, which may cost a connection each.
pub(crate) const TIMES: &str = "TORTURE_TIMES";

/// Bytes of which each tells where it is.
fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 31 / 7 % 251) as u8).collect()
}

/// What a reactor and its peers share.
struct Place {
    hosts: Vec<Address>,
    path: std::path::PathBuf,
}

struct Start {
    listeners: Vec<Option<SockAddr>>,
    remote: Remote,
    refused_dials: usize,
}

/// What the reactor's thread says: what the peers wait for, and the losses that only it sees.
enum News {
    Started(Start),
    Dialled(usize, Result<(), Reason>),
}

#[test]
fn play() {
    let Ok(scenario) = std::env::var("TORTURE_PLAY") else { return };
    let before = descriptors();
    let losses = run(&scenario);
    assert_eq!(descriptors(), before, "descriptors were left behind; losses: {losses:?}");
    eprintln!("{losses:?}\n{VERDICT}{}", losses.len());
}

fn run(scenario: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let hosts: Vec<Socket> = match scenario {
        "dial" => vec![host(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()), {
            host(&SockAddr::unix(folder.path().join("host")).expect("a path"))
        }],
        _ => vec![],
    };
    let place = Place { hosts: hosts.iter().map(name).collect(), path: folder.path().join("socket") };
    let (tell, news) = channel();
    let reactor = std::thread::Builder::new().name("reactor".to_owned()).spawn(move || serve(&place, &tell));
    let reactor = reactor.expect("a thread");
    let mut lost = peers(scenario, &news, &hosts);
    let told = reactor.join().unwrap_or_else(|_| panic!("the reactor's thread panicked; lost: {lost:?}"));
    if told.is_empty() {
        let faults = std::env::var(TIMES).map_or(1, |times| times.parse().expect("a number"));
        assert!(lost.len() <= faults, "{faults} faults, and more losses: {lost:?}");
    }
    lost.extend(told);
    lost
}

fn host(at: &SockAddr) -> Socket {
    let socket = Socket::new(at.domain(), Type::STREAM, None).expect("a socket");
    socket.bind(at).expect("a free address");
    socket.listen(16).expect("a listener");
    socket
}

fn name(host: &Socket) -> Address {
    let at = host.local_addr().expect("an address");
    match at.as_socket() {
        Some(ip) => Address::tcp(ip),
        None => Address::unix(at.as_pathname().expect("a path")).expect("a short path"),
    }
}

// --- the reactor's side -------------------------------------------------------------------------------------------

/// Echoes; what begins with `P` is answered by much, and an end, with `S` by slices. `O` is answered by a connection that
/// said `W` before.
struct Answer {
    waiting: std::rc::Rc<RefCell<Option<windlass::ConnId>>>,
}

impl Handler for Answer {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        match data[0] {
            b'P' => {
                let bytes = pattern(PUSHED);
                conn.write(&bytes[..1]).expect("room");
                // It may have broken meanwhile, which refuses no write.
                let _ = conn.write(&bytes[1..]);
                conn.close();
            }
            b'S' => {
                let bytes = pattern(2 * SLICES.iter().sum::<usize>());
                let _ = conn.write_vectored(&slices(&bytes)).and_then(|()| {
                    // Behind what waits, without a copy.
                    conn.write_bytes(windlass::Bytes::copy_from_slice(&bytes[bytes.len() / 2..]))
                });
                conn.close();
            }
            b'W' => {
                *self.waiting.borrow_mut() = Some(conn.id());
                conn.write(b"W").expect("room");
            }
            b'O' => {
                let waiting = self.waiting.take();
                if let Some(mut other) = waiting.and_then(|id| conn.other(id)) {
                    let bytes = pattern(SLICES.iter().sum());
                    let _ = other.write_vectored(&slices(&bytes));
                    other.close();
                }
                conn.write(b"O").expect("room");
            }
            _ => return conn.write_some(data),
        }
        data.len()
    }
}

/// The bytes in slices of those lengths.
fn slices(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut cut = |length: usize| {
        let (slice, behind) = rest.split_at(length);
        rest = behind;
        slice
    };
    SLICES.iter().map(|length| cut(*length)).collect()
}

struct Dialled {
    number: usize,
    tell: Sender<News>,
    opened: bool,
}

impl Handler for Dialled {
    fn on_open(&mut self, _: &mut Conn<'_>) {
        self.opened = true;
        let _ = self.tell.send(News::Dialled(self.number, Ok(())));
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        conn.write_some(data)
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        if !self.opened {
            let _ = self.tell.send(News::Dialled(self.number, Err(reason)));
        }
    }
}

struct Maker {
    log: Log,
    ended: std::rc::Rc<RefCell<Vec<String>>>,
    waiting: std::rc::Rc<RefCell<Option<windlass::ConnId>>>,
}

impl Accept for Maker {
    type Handler = Recorder<Answer>;

    fn make(&mut self, _: &Conn<'_>) -> Recorder<Answer> {
        self.log.record(Answer { waiting: self.waiting.clone() })
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        if let AcceptEvent::Ended(Some(error)) = event {
            self.ended.borrow_mut().push(format!("a listener ended: {error}"));
        }
    }
}

/// Serves until it is stopped; returns what was lost beyond a connection.
fn serve(place: &Place, tell: &Sender<News>) -> Vec<String> {
    let log = Log::default();
    let told = std::rc::Rc::new(RefCell::new(Vec::new()));
    let mut reactor = match Reactor::new(ReactorConfig::default()) {
        Ok(reactor) => reactor,
        Err(error) => return vec![format!("no reactor: {error}")],
    };
    let limits =
        Limits { connect_timeout: PATIENCE / 2, linger_timeout: Duration::from_millis(300), ..Limits::default() };
    let wanted = ["tcp://127.0.0.1:0".parse().expect("an address"), Address::unix(&place.path).expect("a path")];
    let listeners = wanted.iter().map(|address| {
        let maker = Maker { log: log.clone(), ended: told.clone(), waiting: Default::default() };
        let mut config = ListenConfig { limits: limits.clone(), ..ListenConfig::default() };
        // So that much does not leave at once.
        config.socket.send_buffer_bytes = Some(16 * 1024);
        match reactor.listen(address, config, maker) {
            Ok(id) => reactor.listener_address(id).map(|real| match real.ip() {
                Some(ip) => SockAddr::from(ip),
                None => SockAddr::unix(&place.path).expect("a path"),
            }),
            Err(error) => {
                told.borrow_mut().push(error.to_string());
                None
            }
        }
    });
    let listeners = listeners.collect();
    let mut refused_dials = 0;
    for (number, host) in place.hosts.iter().enumerate() {
        let handler = Dialled { number, tell: tell.clone(), opened: false };
        let config = ConnectConfig { limits: limits.clone(), ..ConnectConfig::default() };
        if let Err(error) = reactor.connect(host, config, handler) {
            told.borrow_mut().push(error.to_string());
            refused_dials += 1;
        }
    }
    let _ = tell.send(News::Started(Start { listeners, remote: reactor.remote(), refused_dials }));
    if let Err(error) = reactor.run() {
        told.borrow_mut().push(error.to_string());
    }
    drop(reactor);
    log.check_over();
    told.take()
}

// --- the peers' side ----------------------------------------------------------------------------------------------

struct Peers {
    start: Start,
    lost: RefCell<Vec<String>>,
}

/// Plays the peers, and tells which of them lost their connection.
fn peers(scenario: &str, news: &Receiver<News>, hosts: &[Socket]) -> Vec<String> {
    let mut dialled = Vec::new();
    let start = loop {
        match news.recv_timeout(PATIENCE) {
            Ok(News::Started(start)) => break start,
            Ok(News::Dialled(number, result)) => dialled.push((number, result)),
            // It never began, and its thread tells why.
            Err(_) => return vec![],
        }
    };
    let peers = Peers { start, lost: RefCell::default() };
    let mut bystander = peers.dial(0);
    peers.ping(&mut bystander, "the bystander, at first");
    for number in 0..peers.start.listeners.len() {
        peers.play(scenario, number);
    }
    while dialled.len() + peers.start.refused_dials < hosts.len() {
        match news.recv_timeout(PATIENCE) {
            Ok(News::Dialled(number, result)) => dialled.push((number, result)),
            Ok(News::Started(_)) => unreachable!("it starts once"),
            // The reactor failed, and its thread tells why.
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(error) => panic!("hang: a dial came to nothing: {error}"),
        }
    }
    for (number, result) in dialled {
        match result {
            Ok(()) => {
                let (socket, _) = hosts[number].accept().expect("who opened is here");
                peers.talk("a dialled one", patient(socket), |socket| exchange(socket, 64 * 1024));
            }
            Err(reason) => peers.lost.borrow_mut().push(format!("a dial: {reason:?}")),
        }
    }
    peers.ping(&mut bystander, "the bystander, at last");
    for number in 0..peers.start.listeners.len() {
        let mut fresh = peers.dial(number);
        peers.ping(&mut fresh, "a fresh one");
    }
    let _ = peers.start.remote.stop(Duration::from_secs(1));
    if let Some(bystander) = bystander {
        peers.talk("the bystander, drained", bystander, |socket| match socket.read(&mut [0])? {
            0 => Ok(()),
            _ => panic!("bytes that nobody sent"),
        });
    }
    peers.lost.into_inner()
}

fn patient(socket: Socket) -> Socket {
    socket.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    socket.set_write_timeout(Some(PATIENCE)).expect("a deadline");
    socket
}

impl Peers {
    /// Connects to a listener; `None` where nobody listens, which its own side tells.
    fn dial(&self, number: usize) -> Option<Socket> {
        let at = self.start.listeners[number].as_ref()?;
        let socket = Socket::new(Domain::from(i32::from(at.family())), Type::STREAM, None).expect("a socket");
        socket.connect(at).ok().map(|()| patient(socket))
    }

    /// Notes a break as a loss, and fails where somebody waits in vain. Gives the socket back if it is well.
    fn talk(&self, who: &str, mut socket: Socket, talk: impl FnOnce(&mut Socket) -> io::Result<()>) -> Option<Socket> {
        match talk(&mut socket) {
            Ok(()) => return Some(socket),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("hang: {who} waits in vain; lost: {:?}", self.lost.borrow())
            }
            Err(error) => self.lost.borrow_mut().push(format!("{who}: {error}")),
        }
        None
    }

    fn ping(&self, place: &mut Option<Socket>, who: &str) {
        if let Some(socket) = place.take() {
            *place = self.talk(who, socket, |socket| exchange(socket, 4));
        }
    }

    fn play(&self, scenario: &str, number: usize) {
        let Some(peer) = self.dial(number) else { return };
        match scenario {
            "echo" => self.talk("an echo", peer, |peer| exchange(peer, 64 * 1024)),
            "half" => self.talk("one that half-closes", peer, |peer| {
                peer.write_all(&pattern(10_000))?;
                let _ = peer.shutdown(Shutdown::Write);
                read_to_end(peer, 10_000)
            }),
            "push" => self.talk("one that is pushed to", peer, |peer| {
                peer.write_all(b"P")?;
                read_to_end(peer, PUSHED)
            }),
            "slices" => self.talk("one that is answered in slices", peer, |peer| {
                peer.write_all(b"S")?;
                read_to_end(peer, 2 * SLICES.iter().sum::<usize>())
            }),
            "other" => {
                let waiting = self.talk("one that waits for another", peer, |peer| {
                    peer.write_all(b"W")?;
                    peer.read_exact(&mut [0])
                });
                let asking = waiting.is_some().then(|| self.dial(number)).flatten();
                let asked = asking.and_then(|peer| {
                    self.talk("one that asks for another", peer, |peer| {
                        peer.write_all(b"O")?;
                        peer.read_exact(&mut [0])
                    })
                });
                waiting.filter(|_| asked.is_some()).and_then(|peer| {
                    self.talk("one that another one writes to", peer, |peer| read_to_end(peer, SLICES.iter().sum()))
                })
            }
            // Whatever comes of it, it is gone.
            "reset" => {
                let _ = (&peer).write_all(b"P").and_then(|()| (&peer).read_exact(&mut [0; 10]));
                let _ = peer.set_linger(Some(Duration::ZERO));
                None
            }
            "command" => self.talk("one that waits for a command", peer, |peer| {
                exchange(peer, 4)?;
                let (tell, told) = channel();
                let call = move |_: &mut windlass::Context<'_>| tell.send(()).expect("somebody waits");
                self.start.remote.run(call).map_err(io::Error::other)?;
                match told.recv_timeout(PATIENCE) {
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => Err(ErrorKind::TimedOut.into()),
                    // Not carried out, since the reactor failed.
                    Err(error) => Err(io::Error::other(error)),
                    Ok(()) => exchange(peer, 4),
                }
            }),
            "crowd" => {
                let mut crowd: Vec<_> = (0..8).map(|_| self.dial(number)).collect();
                crowd.iter_mut().for_each(|peer| self.ping(peer, "one of a crowd"));
                crowd.iter_mut().for_each(|peer| self.ping(peer, "one of a crowd, again"));
                None
            }
            "dial" => None,
            other => panic!("there is no scenario {other}"),
        };
    }
}

/// Sends so many bytes and wants them back.
fn exchange(socket: &mut Socket, count: usize) -> io::Result<()> {
    // Small ones, so that none is a word of the protocol.
    let bytes: Vec<u8> = (0..count).map(|at| (at * 31 / 7 % 61) as u8).collect();
    socket.write_all(&bytes)?;
    let mut answer = vec![0; count];
    socket.read_exact(&mut answer)?;
    assert!(answer == bytes, "other bytes came back");
    Ok(())
}

/// Reads to the end, which comes after so many bytes.
fn read_to_end(socket: &mut Socket, count: usize) -> io::Result<()> {
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    let right = pattern(count.max(answer.len()));
    if let Some(at) = answer.iter().zip(&right).position(|(got, sent)| got != sent) {
        panic!("behind {at} of {count} bytes something is missing, or spoilt");
    }
    read?;
    if answer.len() == count {
        return Ok(());
    }
    // Of TCP a clean end would be a loss that nobody can notice. A Unix socket cannot say that it broke.
    let is_unix = socket.domain()? == Domain::UNIX;
    assert!(is_unix || answer.is_empty(), "a clean end after {} of {count} bytes", answer.len());
    Err(ErrorKind::UnexpectedEof.into())
}
