//! The attempts of a connector: sockets under way, watched by the reactor until one is connected.
//!
//! Owns those sockets. Which of them is begun when is the race's to say.

use crate::address::Transport;
use crate::clock::Tick;
use crate::connector::carried::Carried;
use crate::connector::{ConnectorState, Inner, Phase};
use crate::dial::race::{Race, Step};
use crate::error::{Expiry, Reason};
use crate::handler::Next;
use crate::id::WatchId;
use crate::link::Link;
use crate::link::phase;
use crate::link::session::Session;
use crate::net::stream::{Progress, Stream, Target, Unclaimed};
use crate::net::{Direction, Readiness};
use crate::turn::{TimerId, Turn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What is under way.
#[derive(Default)]
pub(super) struct Racing {
    race: Option<Race>,
    /// Their watches own them: with the reactor they are gone.
    sockets: Vec<(WatchId, Weak<Stream>)>,
    /// When the next one starts.
    next: Option<TimerId>,
    last: Option<io::Error>,
}

impl Racing {
    /// Whether there are no addresses yet.
    pub(super) fn is_looking_up(&self) -> bool {
        self.race.is_none()
    }

    pub(super) fn call_off(self, turn: &mut Turn<'_>) {
        if let Some(next) = self.next {
            turn.cancel(next);
        }
        for (watch, _) in self.sockets {
            turn.unwatch(watch);
        }
    }
}

impl Inner {
    /// Begins with these addresses.
    pub(super) fn race(self: &Arc<Self>, number: u64, addresses: Vec<SocketAddr>, turn: &mut Turn<'_>) {
        let now = turn.now();
        self.with_racing(|racing| racing.race = Some(Race::new(addresses, now)));
        self.go_on(number, turn);
    }

    /// Runs `call` on what is under way, if anything is.
    fn with_racing<T>(&self, call: impl FnOnce(&mut Racing) -> T) -> Option<T> {
        match &mut self.lock().phase {
            Phase::Trying(_, racing) => Some(call(racing)),
            _ => None,
        }
    }

    /// Starts what is due.
    fn go_on(self: &Arc<Self>, number: u64, turn: &mut Turn<'_>) {
        loop {
            if !self.is_current(number) {
                return;
            }
            let now = turn.now();
            let step = self.with_racing(|racing| {
                let step = racing.race.as_mut().map_or(Step::Lost, |race| race.step(now));
                (step, racing.next.take())
            });
            let Some((step, next)) = step else { return };
            if let Some(next) = next {
                turn.cancel(next);
            }
            match step {
                Step::Start(address) => {
                    if let Err(error) = turn.check_begins() {
                        return self.failed(error, turn);
                    }
                    self.tell(&ConnectorState::Connecting(self.at(address)), turn);
                    if !self.is_current(number) {
                        return;
                    }
                    match self.start(number, address, turn) {
                        Ok(None) => {}
                        Ok(Some(stream)) => return self.establish(stream, turn),
                        Err(error) => self.lost(error, turn),
                    }
                }
                Step::Wait(None) => return,
                Step::Wait(Some(at)) => {
                    let this = self.clone();
                    let delay = at.saturating_duration_since(now);
                    let timer = turn.after(delay, move |turn| this.go_on(number, turn));
                    self.with_racing(|racing| racing.next = Some(timer));
                    return;
                }
                Step::Lost => {
                    let last = self.with_racing(|racing| racing.last.take()).flatten();
                    let error = self.refused(last.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()));
                    return self.failed(error, turn);
                }
            }
        }
    }

    /// One attempt has failed.
    fn lost(&self, error: io::Error, turn: &Turn<'_>) {
        let now = turn.now();
        self.with_racing(|racing| {
            racing.last = Some(error);
            if let Some(race) = &mut racing.race {
                race.failed(now);
            }
        });
    }

    /// Begins to connect; returns the stream if it is connected at once.
    fn start(self: &Arc<Self>, number: u64, address: SocketAddr, turn: &mut Turn<'_>) -> io::Result<Option<Stream>> {
        let (target, config) = (Target::Ip(address), &self.plan.config);
        let stream = Stream::unconnected(&target, &config.socket, config.bind)?;
        if stream.connect(&target)? == Progress::Done && decided(&stream)? {
            return Ok(Some(stream));
        }
        let (stream, this) = (Arc::new(stream), self.clone());
        // With the watch an attempt that was not made is over.
        let watched = stream.clone();
        let mut unclaimed = Some(Unclaimed::new(Stream::Shared(stream.clone())));
        let watch = turn.watch(
            stream.clone(),
            Direction::Write,
            move |turn: &mut Turn<'_>, _: BorrowedFd<'_>, _: Readiness| match decided(&watched) {
                Ok(false) => Next::Wait,
                outcome => {
                    if let Some(socket) = unclaimed.take() {
                        this.decide(number, &watched, socket, outcome.map(drop), turn);
                    }
                    Next::Remove
                }
            },
        );
        let watch = watch.map_err(io::Error::from)?;
        self.with_racing(|racing| racing.sockets.push((watch, Arc::downgrade(&stream))));
        Ok(None)
    }

    /// An attempt is decided: its socket goes on as a connection once its watch has ended, or the next one starts.
    fn decide(
        self: &Arc<Self>,
        number: u64,
        decided: &Arc<Stream>,
        socket: Unclaimed,
        outcome: io::Result<()>,
        turn: &mut Turn<'_>,
    ) {
        if !self.is_current(number) {
            return;
        }
        let mine = self.with_racing(|racing| {
            let at = racing.sockets.iter().position(|(_, socket)| socket.as_ptr() == Arc::as_ptr(decided))?;
            Some(racing.sockets.swap_remove(at))
        });
        let Some(Some(_)) = mine else { return };
        let this = self.clone();
        match outcome {
            Err(error) => {
                // Nobody is to be told of a connection that was not made.
                drop(socket.claim());
                self.lost(error, turn);
                self.go_on(number, turn);
            }
            Ok(()) => {
                turn.after(Duration::ZERO, move |turn| {
                    if this.is_current(number) {
                        // The watch, which has ended, had the other handles.
                        this.establish(socket.claim().alone(), turn);
                    }
                });
            }
        }
    }

    /// Hands a connected socket to the reactor.
    fn establish(self: &Arc<Self>, stream: Stream, turn: &mut Turn<'_>) {
        let config = &self.plan.config;
        let session = match Session::dialled(config, &self.plan.address) {
            Ok(session) => session,
            Err(error) => {
                drop(Unclaimed::new(stream));
                return self.failed(error, turn);
            }
        };
        let phase = if session.is_some() { phase::Phase::Handshaking } else { phase::Phase::Open };
        let (peer, limits) = (stream.peer(), Arc::new(config.limits.clone()));
        let link = Link::in_phase(stream, peer, limits, phase, session, Tick::NEVER);
        let carried = Carried::new(self.clone());
        match turn.adopt(link, carried) {
            Ok(id) => self.enter(Phase::Opening(id), turn),
            Err(refused) => self.failed(refused.why, turn),
        }
    }
}

/// Whether a connect is done; one to itself has failed.
fn decided(stream: &Stream) -> io::Result<bool> {
    match stream.progress()? {
        Progress::Done if stream.is_self_connected() => Err(ErrorKind::ConnectionRefused.into()),
        Progress::Done => Ok(true),
        Progress::Waiting | Progress::Busy => Ok(false),
    }
}

/// What the system said to a connect that the reactor has made; `None` if it was made. Only Unix ones are the reactor's; of
/// others the attempt itself knows.
pub(super) fn unmade(transport: Transport, reason: Reason) -> Option<io::Error> {
    match reason {
        _ if !transport.is_unix() => None,
        Reason::Refused => Some(ErrorKind::ConnectionRefused.into()),
        Reason::Unreachable => Some(ErrorKind::NotFound.into()),
        Reason::Timeout(Expiry::Connect) => Some(ErrorKind::TimedOut.into()),
        // With TLS it may be an error of the handshake.
        Reason::Os(errno) if !transport.is_tls() => Some(io::Error::from_raw_os_error(errno)),
        _ => None,
    }
}
