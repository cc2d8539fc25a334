//! How a client that waits connects: a name, several addresses, a handshake, one deadline.
//!
//! Owns the attempts. Each is shown to the client, whose `close` ends them all; then there is one descriptor.

use crate::address::Address;
use crate::blocking::BlockingLink;
use crate::client::carrier::{Datagrams, Kind};
use crate::client::{Plan, Shared};
use crate::clock::{self, Tick};
use crate::config::{ConnectConfig, Limits};
use crate::dial::race::{Race, Step};
use crate::error::Error;
use crate::link::Link;
use crate::link::phase::Phase;
use crate::link::session::Session;
use crate::net::datagram::DatagramSocket;
use crate::net::stream::{Progress, Stream, Target};
use crate::net::wait::wait_for_connects;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// The first and the longest wait before a full Unix backlog is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(128));

/// When a connect must be done, and what says so.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    until: Instant,
    name: &'static str,
}

impl Deadline {
    /// The timeout of the call, or `connect_timeout` if that is over sooner.
    pub(super) fn new(now: Instant, call: Instant, limits: &Limits) -> Deadline {
        let configured = clock::until(now, limits.connect_timeout);
        if configured < call {
            Deadline { until: configured, name: "connect_timeout" }
        } else {
            Deadline { until: call, name: "the timeout of the call" }
        }
    }

    fn missed(self, what: &str) -> io::Error {
        io::Error::new(ErrorKind::TimedOut, format!("{what} within {}", self.name))
    }
}

/// Why there is no connection.
pub(super) enum Failure {
    /// `close` was called meanwhile.
    Cancelled,
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl Shared {
    /// Connects, and shakes hands, before the deadline.
    pub(super) fn dial(&self, deadline: Deadline) -> Result<Kind, Failure> {
        let plan = &self.plan;
        if plan.address.transport().is_datagram() {
            return self.dial_datagrams(deadline);
        }
        // Before there is a socket, which a failure would have to end.
        let session = Session::dialled(&plan.connect, &plan.address)?;
        let socket = match Target::unix(&plan.address) {
            Some(target) => self.dial_unix(&target.map_err(|error| self.refused(error))?, deadline)?,
            None => {
                let addresses = self.look_up(deadline)?;
                self.race(addresses, deadline)?
            }
        };
        let peer = socket.peer();
        let (limits, now) = (Arc::new(plan.connect.limits.clone()), Instant::now());
        let until = deadline.until.min(clock::until(now, limits.handshake_timeout));
        let now = Tick::of(now);
        let link = Link::in_phase(Stream::Shared(socket.clone()), peer, limits, Phase::Handshaking, session, now);
        self.show_attempts(&[socket])?;
        let link = BlockingLink::new(link);
        match link.shake_hands_by(Some(until)) {
            Ok(()) => Ok(Kind::Stream(link)),
            Err(_) if self.is_cancelled() => Err(Failure::Cancelled),
            Err(reason) => {
                let (address, detail) = (Box::new(plan.address.clone()), link.ended().1);
                Err(Error::Broken { address, reason, detail }.into())
            }
        }
    }

    fn refused(&self, source: io::Error) -> Failure {
        if self.is_cancelled() {
            return Failure::Cancelled;
        }
        Error::Connect { address: Box::new(self.plan.address.clone()), source }.into()
    }

    /// The addresses to try. A lookup that nobody waits for any more ends by itself.
    fn look_up(&self, deadline: Deadline) -> Result<Vec<SocketAddr>, Failure> {
        let Plan { address, resolver, .. } = &self.plan;
        if let Some(known) = resolver.known(address) {
            return Ok(known);
        }
        let (tell, told) = mpsc::channel();
        self.show_lookup(tell.clone())?;
        let find = resolver.find(address, move |found| drop(tell.send(Some(found))));
        let _ticket = find.map_err(|error| self.refused(error))?;
        match told.recv_timeout(deadline.until.saturating_duration_since(Instant::now())) {
            Ok(Some(found)) => Ok(found.map_err(Error::from)?),
            Ok(None) => Err(Failure::Cancelled),
            Err(_) => Err(self.refused(deadline.missed("its name was not looked up"))),
        }
    }

    /// Connects to whichever of `addresses` answers first.
    fn race(&self, addresses: Vec<SocketAddr>, deadline: Deadline) -> Result<Arc<Stream>, Failure> {
        let mut race = Race::new(addresses, Instant::now());
        let mut under_way = UnderWay::default();
        let under_way = &mut under_way.0;
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        loop {
            if self.is_cancelled() {
                return Err(Failure::Cancelled);
            }
            let now = Instant::now();
            if now >= deadline.until {
                return Err(self.refused(deadline.missed("nobody answered")));
            }
            let next = match race.step(now) {
                Step::Lost => return Err(self.refused(last)),
                Step::Wait(next) => next.map_or(deadline.until, |next| next.min(deadline.until)),
                Step::Start(address) => {
                    match begin(&Target::Ip(address), &self.plan.connect) {
                        Ok((socket, Progress::Done)) => return Ok(socket),
                        Ok((socket, Progress::Waiting | Progress::Busy)) => {
                            under_way.push(socket);
                            self.show_attempts(under_way)?;
                        }
                        Err(error) => {
                            last = error;
                            race.failed(Instant::now());
                        }
                    }
                    continue;
                }
            };
            let decided = wait_for_connects(under_way, Some(next.saturating_duration_since(now)));
            for index in decided.map_err(|error| self.refused(error))?.into_iter().rev() {
                match done(&under_way[index]) {
                    Ok(Progress::Done) => return Ok(under_way.swap_remove(index)),
                    Ok(Progress::Waiting | Progress::Busy) => {}
                    Err(error) => {
                        last = error;
                        under_way.remove(index);
                        self.show_attempts(under_way)?;
                        race.failed(Instant::now());
                    }
                }
            }
        }
    }

    /// Connects to a Unix listener; one whose backlog is full is asked again.
    fn dial_unix(&self, target: &Target, deadline: Deadline) -> Result<Arc<Stream>, Failure> {
        let mut pause = RETRY.0;
        let (socket, mut progress) = begin(target, &self.plan.connect).map_err(|error| self.refused(error))?;
        self.show_attempts(std::slice::from_ref(&socket))?;
        loop {
            if progress == Progress::Done {
                return Ok(socket);
            }
            let left = deadline.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.refused(deadline.missed("its backlog was full, and had no room")));
            }
            self.pause(left.min(pause))?;
            pause = (pause * 2).min(RETRY.1);
            progress = socket.connect(target).map_err(|error| self.refused(error))?;
        }
    }

    fn dial_datagrams(&self, deadline: Deadline) -> Result<Kind, Failure> {
        let Plan { address, datagram, .. } = &self.plan;
        let made = |socket| Kind::Datagrams(Datagrams::new(socket, datagram.bytes_max, datagram.full_pause));
        if address.transport().is_unix() {
            return Ok(made(DatagramSocket::connect(address, datagram)?));
        }
        let mut last = None;
        for at in self.look_up(deadline)? {
            match DatagramSocket::connect(&Address::udp(at), datagram) {
                Ok(socket) => return Ok(made(socket)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::NotConnected).into())
    }
}

/// Connects that have not won: the peer of one that is made all the same hears that it is over.
#[derive(Default)]
struct UnderWay(Vec<Arc<Stream>>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        for socket in &self.0 {
            // It fails where nothing is under way any more.
            let _ = socket.shut(Shutdown::Both);
        }
    }
}

/// Begins to connect a socket of its own.
fn begin(target: &Target, config: &ConnectConfig) -> io::Result<(Arc<Stream>, Progress)> {
    let socket = Stream::unconnected(target, &config.socket, config.bind)?;
    let progress = match socket.connect(target)? {
        Progress::Done => done(&socket)?,
        progress => progress,
    };
    Ok((Arc::new(socket), progress))
}

/// How far a connect is; one to itself is none.
fn done(socket: &Stream) -> io::Result<Progress> {
    match socket.progress()? {
        Progress::Done if socket.is_self_connected() => Err(ErrorKind::ConnectionRefused.into()),
        progress => Ok(progress),
    }
}
