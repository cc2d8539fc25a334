//! One scenario in a process of its own: a reactor on the thread "reactor", and its peers on another one.
//!
//! Every loss is told: a connection that broke, a listener that ended, a reactor that failed or never began. The rules
//! that hold whatever fails: nobody waits in vain, nothing panics, the callback grammar holds, all descriptors come back,
//! one fault costs at most one connection, unless it cost the listener or the reactor and that was told.

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
pub(crate) const SCENARIOS: [&str; 7] = ["echo", "half", "push", "reset", "command", "dial", "crowd"];

/// Says that the rules held, and how many losses there were.
pub(crate) const VERDICT: &str = "played, losses: ";

/// How long anybody waits.
const PATIENCE: Duration = Duration::from_secs(5);

const PUSHED: usize = 700_000;

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
        assert!(lost.len() <= 1, "one fault, and several losses: {lost:?}");
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

/// Echoes; what begins with `P` is answered by much, and an end.
struct Answer;

impl Handler for Answer {
    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        if data[0] != b'P' {
            return conn.write_some(data);
        }
        conn.write(&data[..1]).expect("room");
        conn.write(&vec![7; PUSHED - 1]).expect("room");
        conn.close();
        data.len()
    }
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
}

impl Accept for Maker {
    type Handler = Recorder<Answer>;

    fn make(&mut self, _: &Conn<'_>) -> Recorder<Answer> {
        self.log.record(Answer)
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
        let maker = Maker { log: log.clone(), ended: told.clone() };
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
                peer.write_all(&[1; 10_000])?;
                let _ = peer.shutdown(Shutdown::Write);
                read_to_end(peer, 10_000)
            }),
            "push" => self.talk("one that is pushed to", peer, |peer| {
                peer.write_all(b"P")?;
                read_to_end(peer, PUSHED)
            }),
            // Whatever comes of it, it is gone.
            "reset" => {
                let _ = (&peer).write_all(b"P").and_then(|()| (&peer).read_exact(&mut [0; 10]));
                let _ = peer.set_linger(Some(Duration::ZERO));
                None
            }
            "command" => self.talk("one that waits for a command", peer, |peer| {
                exchange(peer, 4)?;
                let (tell, told) = channel();
                let call = move |_: &mut windlass::Turn<'_>| tell.send(()).expect("somebody waits");
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
    socket.read_to_end(&mut answer)?;
    if answer.len() == count {
        return Ok(());
    }
    // Of TCP a clean end would be a loss that nobody can notice. A Unix socket cannot say that it broke.
    let is_unix = socket.domain()? == Domain::UNIX;
    assert!(is_unix || answer.is_empty(), "a clean end after {} of {count} bytes", answer.len());
    Err(ErrorKind::UnexpectedEof.into())
}
