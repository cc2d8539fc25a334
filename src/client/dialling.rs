//! How a client that waits connects: lookups, attempts and handshakes side by side, by poll(2), within one deadline.
//!
//! Owns the attempts. What is done when is the race's to say (`dial/race.rs`). Each attempt is shown to the client, whose `close`
//! ends them all; then there is one descriptor.

use crate::address::{Address, Family};
use crate::blocking::BlockingLink;
use crate::blocking::opening::Unopened;
use crate::client::carrier::{Datagrams, Kind};
use crate::client::{Plan, Shared};
use crate::clock::{self, Tick};
use crate::config::Limits;
use crate::dial;
use crate::dial::race::{Attempt, Failed, Race, Step};
use crate::dial::resolver::{Found, Ticket};
use crate::error::{Error, Expiry, Reason};
use crate::link::Link;
use crate::link::phase::Phase;
use crate::link::session::Session;
use crate::net::Readiness;
use crate::net::datagram::DatagramSocket;
use crate::net::stream::{Progress, Stream, Target};
use crate::net::wait::{Wish, pair, wait_for_any, wake};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

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

/// A connect under way.
struct Dialling {
    race: Race<Error>,
    trials: Vec<(Attempt, BlockingLink)>,
    winner: Option<(Attempt, Kind)>,
    /// The socket of an attempt that found a full backlog, for the next one.
    spare: Option<Stream>,
    tell: mpsc::Sender<(Family, Found)>,
    told: mpsc::Receiver<(Family, Found)>,
    tickets: Vec<Ticket>,
    /// Wakes who waits for sockets, when a lookup has ended; there is none where nothing is looked up.
    wake: Option<(UnixStream, Arc<UnixStream>)>,
}

/// What a fresh attempt is.
enum Begun {
    Waiting(BlockingLink),
    Connected(BlockingLink),
    Ready(Kind),
    Busy(Stream),
}

impl Shared {
    /// Connects, and shakes hands, before the deadline.
    pub(super) fn dial(&self, deadline: Deadline) -> Result<Kind, Failure> {
        let Plan { address, resolver, .. } = &self.plan;
        let shunned = self.shunned().clone();
        let (race, _) = dial::race(address, resolver, &shunned, Instant::now(), deadline.until)?;
        let (tell, told) = mpsc::channel();
        let (trials, tickets) = (Vec::new(), Vec::new());
        let mut dialling = Dialling { race, trials, winner: None, spare: None, tell, told, tickets, wake: None };
        let mut shakes_hands = false;
        loop {
            if self.is_cancelled() {
                return Err(Failure::Cancelled);
            }
            let now = Instant::now();
            match dialling.race.step(now) {
                Step::Look(family) => self.look_up(family, &mut dialling)?,
                Step::Start(attempt, target) => self.start(attempt, &target, &mut dialling, now)?,
                Step::Wait(until) => self.wait(until.saturating_duration_since(now), &mut dialling)?,
                Step::Cancel(attempt) => dialling.trials.retain(|(other, link)| {
                    shakes_hands |= *other == attempt && link.is_shaking_hands();
                    *other != attempt
                }),
                Step::Won(attempt) => {
                    *self.shunned() = dialling.race.shunned();
                    let winner = dialling.winner.filter(|(winner, _)| *winner == attempt);
                    return winner.map(|(_, kind)| kind).ok_or(Failure::Cancelled);
                }
                Step::Failed(failed) => {
                    *self.shunned() = dialling.race.shunned();
                    let failed = match failed {
                        Failed::Late(tried) if shakes_hands => {
                            Failed::Last(self.broken(Reason::Timeout(Expiry::Handshake), None), tried)
                        }
                        failed => failed,
                    };
                    return Err(dial::failure(failed, address, deadline.name).into());
                }
            }
        }
    }

    fn broken(&self, reason: Reason, detail: Option<String>) -> Error {
        Error::Broken { address: Box::new(self.plan.address.clone()), reason, detail }
    }

    /// Asks for the addresses of one family. A lookup that nobody waits for any more ends by itself.
    fn look_up(&self, family: Family, dialling: &mut Dialling) -> Result<(), Failure> {
        let refused = |source| dial::refused(&self.plan.address, source);
        let waker = match &dialling.wake {
            Some((_, waker)) => waker.clone(),
            None => {
                let (sleeper, waker) = pair().map_err(refused)?;
                dialling.wake.insert((sleeper, Arc::new(waker))).1.clone()
            }
        };
        self.show(|attempt| attempt.waker = Some(waker.clone()))?;
        let (tell, waker) = (dialling.tell.clone(), Arc::downgrade(&waker));
        let found = move |found| {
            // Who does not wait any more is told nothing.
            let _ = tell.send((family, found));
            waker.upgrade().into_iter().for_each(|waker| wake(&*waker));
        };
        let ticket = self.plan.resolver.find(&self.plan.address, family, found);
        dialling.tickets.push(ticket.map_err(refused)?);
        Ok(())
    }

    fn start(&self, attempt: Attempt, target: &Target, dialling: &mut Dialling, now: Instant) -> Result<(), Failure> {
        match self.begin(target, dialling.spare.take()) {
            Ok(Begun::Ready(kind)) => {
                dialling.winner = Some((attempt, kind));
                dialling.race.ready(attempt);
            }
            Ok(Begun::Busy(stream)) => {
                dialling.spare = Some(stream);
                dialling.race.busy(attempt, now);
            }
            Ok(Begun::Waiting(link)) => dialling.trials.push((attempt, link)),
            Ok(Begun::Connected(link)) => {
                dialling.trials.push((attempt, link));
                self.show_attempts(dialling)?;
                self.go_on(dialling, |_| Some(Readiness::default()));
            }
            Err(error) => dialling.race.failed(attempt, error, now),
        }
        self.show_attempts(dialling)
    }

    /// Begins to connect a socket of its own.
    fn begin(&self, target: &Target, spare: Option<Stream>) -> Result<Begun, Error> {
        let Plan { address, connect, datagram, .. } = &self.plan;
        if address.transport().is_datagram() {
            let at = if let Target::Ip(ip) = target { Address::udp(*ip) } else { address.clone() };
            let socket = DatagramSocket::connect(&at, datagram)?;
            return Ok(Begun::Ready(Kind::Datagrams(Datagrams::new(socket, datagram.bytes_max, datagram.full_pause))));
        }
        // Before there is a socket, which a failure would have to end.
        let session = Session::dialled(connect, address)?;
        let refused = |source| dial::refused(address, source);
        let made = spare.map_or_else(|| Stream::unconnected(target, &connect.socket, connect.bind), Ok);
        let stream = made.map_err(refused)?;
        let progress = stream.connect(target).map_err(refused)?;
        if progress == Progress::Busy {
            return Ok(Begun::Busy(stream));
        }
        let (limits, now) = (Arc::new(connect.limits.clone()), Tick::of(Instant::now()));
        let link = BlockingLink::new(Link::in_phase(stream, None, limits, Phase::Connecting, session, now));
        Ok(if progress == Progress::Done { Begun::Connected(link) } else { Begun::Waiting(link) })
    }

    /// Waits for attempts and lookups for so long at most, and goes on with those of which there is news.
    fn wait(&self, time: Duration, dialling: &mut Dialling) -> Result<(), Failure> {
        if dialling.trials.is_empty() && dialling.wake.is_none() {
            return self.pause(time);
        }
        let under_way = dialling.trials.len();
        let due = dialling.trials.iter().filter_map(|(_, link)| link.end_if_due()).min();
        self.go_on(dialling, |_| None);
        if dialling.trials.len() < under_way {
            return self.show_attempts(dialling);
        }
        let time = due.map_or(time, |due| time.min(due.saturating_duration_since(Instant::now())));
        let sleeper = dialling.wake.iter().map(|(sleeper, _)| Wish::to_read(sleeper));
        let wishes: Vec<_> = dialling.trials.iter().map(|(_, link)| link.wish()).chain(sleeper).collect();
        let ready = wait_for_any(&wishes, time).map_err(|source| dial::refused(&self.plan.address, source))?;
        drop(wishes);
        if let Some((sleeper, _)) = &mut dialling.wake {
            let _ = sleeper.read(&mut [0; 8]);
        }
        for (family, found) in dialling.told.try_iter() {
            dialling.race.found(family, found.map_err(Error::from), Instant::now());
        }
        self.go_on(dialling, |index| ready.get(index).copied().flatten());
        self.show_attempts(dialling)
    }

    /// Goes on with the attempts of which there is news, and with those that are over.
    fn go_on(&self, dialling: &mut Dialling, news: impl Fn(usize) -> Option<Readiness>) {
        for index in (0..dialling.trials.len()).rev() {
            let (attempt, link) = &dialling.trials[index];
            let Some(opened) = link.try_opening(news(index)) else { continue };
            let (attempt, error) = match opened {
                Ok(()) => {
                    dialling.race.ready(*attempt);
                    let (attempt, link) = dialling.trials.swap_remove(index);
                    // Of two that are ready at once the first one counts.
                    dialling.winner.get_or_insert((attempt, Kind::Stream(link)));
                    continue;
                }
                Err(Unopened::Unmade(source)) => (*attempt, dial::refused(&self.plan.address, source)),
                Err(Unopened::Broken(reason, detail)) => {
                    dialling.race.shun(*attempt);
                    (*attempt, self.broken(reason, detail))
                }
            };
            dialling.race.failed(attempt, error, Instant::now());
            dialling.trials.swap_remove(index);
        }
    }

    fn show_attempts(&self, dialling: &Dialling) -> Result<(), Failure> {
        let sockets = dialling.trials.iter().map(|(_, link)| link.socket().clone()).collect();
        self.show(|attempt| attempt.sockets = sockets)
    }
}
