//! Rolling restarts: one engine begins to listen at the port of another one, which drains then.

use crate::placement::hold;
use crate::support::blocking::engine;
use crate::support::{Echo, PATIENCE};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use windlass::{Address, Conn, Engine, EngineConfig, ListenConfig, Placement, Reuse};

/// What became of the questions of some clients.
#[derive(Debug, Default)]
struct Asked {
    answered: AtomicU64,
    /// An end in order, without an answer.
    dropped: AtomicU64,
    /// A reset, without an answer.
    reset: AtomicU64,
    refused: AtomicU64,
}

impl Asked {
    fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// Connects and asks, again and again.
    fn ask(&self, at: SocketAddr, goes: &AtomicBool) {
        while goes.load(Ordering::Relaxed) {
            let mut answer = [0; 3];
            let counter = match TcpStream::connect(at) {
                Err(_) => &self.refused,
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    match stream.write_all(b"ask").and_then(|()| stream.read(&mut answer)) {
                        Ok(0) => &self.dropped,
                        Ok(_) => &self.answered,
                        Err(error) => {
                            assert!(error.kind() != std::io::ErrorKind::WouldBlock, "neither answered nor ended");
                            &self.reset
                        }
                    }
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What four clients come to while `restart` restarts what listens there.
    fn during(at: SocketAddr, restarts: usize, mut restart: impl FnMut()) -> Asked {
        let (asked, goes) = (Asked::default(), AtomicBool::new(true));
        std::thread::scope(|scope| {
            (0..4).for_each(|_| _ = scope.spawn(|| asked.ask(at, &goes)));
            for number in 1..=restarts as u64 {
                restart();
                // They are at it all the time.
                while Asked::count(&asked.answered) < 10 * number {
                    std::thread::yield_now();
                }
            }
            goes.store(false, Ordering::Relaxed);
        });
        asked
    }
}

/// A listener of the kernel's that answers on one thread, and takes what is there before it is closed.
struct Bare {
    socket: Socket,
    ends: std::sync::Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Bare {
    fn listen(at: SocketAddr) -> Bare {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(true).expect("an option");
        socket.bind(&SockAddr::from(at)).expect("a port");
        socket.listen(4096).expect("a listener");
        socket.set_nonblocking(true).expect("an option");
        let ends = std::sync::Arc::new(AtomicBool::new(false));
        let (listener, told) = (socket.try_clone().expect("a duplicate"), ends.clone());
        let thread = std::thread::spawn(move || {
            loop {
                let is_last = told.load(Ordering::Relaxed);
                while let Ok((peer, _)) = listener.accept() {
                    peer.set_nonblocking(false).expect("an option");
                    let mut peer = TcpStream::from(peer);
                    let mut question = [0; 3];
                    if peer.read_exact(&mut question).is_ok() {
                        let _ = peer.write_all(b"ans");
                    }
                }
                if is_last {
                    return;
                }
                std::thread::yield_now();
            }
        });
        Bare { socket, ends, thread }
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic");
        drop(self.socket);
    }
}

fn at(port: &Socket) -> SocketAddr {
    port.local_addr().expect("an address").as_socket().expect("an IP address")
}

/// A port that others share, which stays taken while they come and go.
fn port() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_reuse_port(true).expect("an option");
    socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).expect("a port");
    socket
}

fn restarts_of(plan: &EngineConfig, restarts: usize) -> Asked {
    let port = port();
    let start = || {
        let engine = Engine::start(plan.clone()).expect("an engine");
        let config = ListenConfig { reuse: Reuse::Port, ..ListenConfig::default() };
        engine.listen(&Address::tcp(at(&port)), config, || |_: &Conn<'_>| Echo).expect("it listens");
        engine
    };
    let mut serving = start();
    let asked = Asked::during(at(&port), restarts, || {
        let next = start();
        let report = std::mem::replace(&mut serving, next).shutdown(PATIENCE).expect("a report");
        assert_eq!(report.cut, 0);
    });
    serving.shutdown(PATIENCE).expect("a report");
    asked
}

fn bare_restarts(restarts: usize) -> Asked {
    let port = port();
    let mut serving = Bare::listen(at(&port));
    let asked = Asked::during(at(&port), restarts, || {
        let next = Bare::listen(at(&port));
        std::mem::replace(&mut serving, next).end();
    });
    serving.end();
    asked
}

/// How many restarts; the figure of record is of 300.
const RESTARTS: usize = 40;

#[test]
fn a_rolling_restart_leaves_nobody_unanswered_whom_it_has_accepted() {
    let restarts = std::env::var("ROLLING_RESTARTS").ok().and_then(|count| count.parse().ok()).unwrap_or(RESTARTS);
    let bare = bare_restarts(restarts);
    println!("the kernel alone: {bare:?}");
    for (reactors, placement) in [(1, Placement::LeastConnections), (2, Placement::RoundRobin), (2, Placement::Kernel)]
    {
        let asked = restarts_of(&EngineConfig { placement, ..engine(reactors) }, restarts);
        println!("{reactors} {placement:?}: {asked:?}");
        assert_eq!(Asked::count(&asked.dropped), 0, "{asked:?}");
        // What the kernel resets while a listener is closed is a matter of chance; it is not to be more than without us.
        let lost = |asked: &Asked| Asked::count(&asked.reset) + Asked::count(&asked.refused);
        assert!(lost(&asked) <= lost(&bare) + restarts as u64 / 5, "{asked:?}, and the kernel alone: {bare:?}");
    }
}

#[test]
fn questions_that_thousands_had_asked_before_a_drain_are_answered_while_the_mailbox_is_awake() {
    const CLIENTS: usize = 3000;
    windlass::raise_descriptor_limit().expect("descriptors");
    for reactors in [1, 2] {
        let engine = Engine::start(engine(reactors)).expect("an engine");
        let config = ListenConfig { backlog: 4096, ..ListenConfig::default() };
        let listening = engine
            .listen(&"tcp://127.0.0.1:0".parse().expect("an address"), config, || |_: &Conn<'_>| Echo)
            .expect("it listens");
        let at = listening.address().ip().expect("an IP address");
        let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| TcpStream::connect(at).expect("a connection")).collect();
        crate::support::blocking::until("all to be accepted", || engine.connections() == CLIENTS);
        let goes: Vec<_> = engine.remotes().iter().map(hold).collect();
        clients.iter_mut().for_each(|client| client.write_all(b"ask").expect("a write"));
        for remote in engine.remotes() {
            (0..50).for_each(|_| remote.run(|_| ()).expect("room"));
        }
        engine.stop(Duration::from_secs(20));
        drop(goes);
        let mut answered = 0;
        for mut client in clients {
            let mut answer = Vec::new();
            client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            client.read_to_end(&mut answer).expect("an end in order");
            answered += usize::from(answer == b"ask");
        }
        assert_eq!(answered, CLIENTS);
        let report = engine.wait(PATIENCE).expect("a report");
        assert_eq!((report.drained, report.cut), (CLIENTS as u64, 0));
    }
}
