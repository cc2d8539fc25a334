//! How a client that waits connects: lookups, attempts and handshakes side by side, by poll(2), within one deadline.
//!
//! Owns the attempts. What is done when is the race's to say (`dial/race.rs`). Each attempt is shown to the client, whose `close`
//! ends them all; then there is one descriptor.

use crate::address::{Address, Family};
use crate::blocking::BlockingLink;
use crate::blocking::opening::Unopened;
use crate::client::carrier::{Datagrams, Kind};
use crate::client::{Attempt as Shown, Plan, Shared};
use crate::clock::{self, Tick};
use crate::config::Limits;
use crate::dial;
use crate::dial::race::{Attempt, Race, Step};
use crate::dial::resolver::{Found, Ticket};
use crate::error::{Error, Expiry};
use crate::link::Link;
use crate::link::phase::Phase;
use crate::link::session::Session;
use crate::net::Readiness;
use crate::net::datagram::DatagramSocket;
use crate::net::stream::{Progress, Stream, Target};
use crate::net::wait::{Wish, pair, wait_for_any, wake};
use std::io::{self, ErrorKind, Read};
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

/// A connect under way.
struct Dialling {
    race: Race<Error>,
    trials: Vec<(Attempt, BlockingLink)>,
    winner: Option<Kind>,
    /// The socket of an attempt that found a full backlog, for the next one.
    spare: Option<Stream>,
    tell: mpsc::Sender<(Family, Found)>,
    told: mpsc::Receiver<(Family, Found)>,
    tickets: Vec<Ticket>,
    /// Wakes who waits, when a lookup has ended or the client is closed; there is none while sockets are all that is waited for.
    wake: Option<(UnixStream, Arc<UnixStream>)>,
}

impl Dialling {
    fn new(race: Race<Error>) -> Dialling {
        let (tell, told) = mpsc::channel();
        Dialling { race, trials: Vec::new(), winner: None, spare: None, tell, told, tickets: Vec::new(), wake: None }
    }

    fn waker(&mut self) -> io::Result<&Arc<UnixStream>> {
        if self.wake.is_none() {
            let (sleeper, waker) = pair()?;
            self.wake = Some((sleeper, Arc::new(waker)));
        }
        self.wake.as_ref().map(|(_, waker)| waker).ok_or_else(|| ErrorKind::NotConnected.into())
    }
}

impl Shared {
    /// Connects, and shakes hands, before the deadline.
    pub(super) fn dial(&self, deadline: Deadline) -> Result<Kind, Error> {
        let Plan { address, resolver, .. } = &self.plan;
        let shunned = self.shunned().clone();
        let (race, _) = dial::race(address, resolver, &shunned, Instant::now(), deadline.until)?;
        let mut dialling = Dialling::new(race);
        let mut late = Expiry::Connect;
        let failed = loop {
            if self.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let now = Instant::now();
            match dialling.race.step(now) {
                Step::Look(family) => self.look_up(family, &mut dialling).map_err(|source| self.refused(source))?,
                Step::Start(attempt, target) => {
                    if let Err(error) = self.start(attempt, &target, &mut dialling, now) {
                        dialling.race.failed(attempt, error, now);
                    }
                }
                Step::Wait(until) => self.wait(until.saturating_duration_since(now), &mut dialling)?,
                Step::Cancel(attempt) => dialling.trials.retain(|(other, link)| {
                    if *other == attempt && link.is_shaking_hands() {
                        late = Expiry::Handshake;
                    }
                    *other != attempt
                }),
                Step::Won => break None,
                Step::Failed(failed) => break Some(dial::failure(failed, address, deadline.name, late)),
            }
        };
        *self.shunned() = dialling.race.shunned();
        dialling.winner.ok_or_else(|| failed.unwrap_or(Error::Cancelled))
    }

    fn refused(&self, source: io::Error) -> Error {
        dial::refused(&self.plan.address, source)
    }

    /// Asks for the addresses of one family. A lookup that nobody waits for any more ends by itself.
    fn look_up(&self, family: Family, dialling: &mut Dialling) -> io::Result<()> {
        let waker = Arc::downgrade(dialling.waker()?);
        let tell = dialling.tell.clone();
        let found = move |found| {
            // Who does not wait any more is told nothing.
            let _ = tell.send((family, found));
            waker.upgrade().into_iter().for_each(|waker| wake(&*waker));
        };
        dialling.tickets.push(self.plan.resolver.find(&self.plan.address, family, found)?);
        Ok(())
    }

    /// Begins to connect a socket of its own.
    fn start(&self, attempt: Attempt, target: &Target, dialling: &mut Dialling, now: Instant) -> Result<(), Error> {
        let Plan { address, connect, datagram, .. } = &self.plan;
        if address.transport().is_datagram() {
            let at = if let Target::Ip(ip) = target { Address::udp(*ip) } else { address.clone() };
            let socket = DatagramSocket::connect(&at, datagram)?;
            dialling.race.ready(attempt);
            let datagrams = Datagrams::new(socket, datagram.bytes_max, datagram.full_pause);
            dialling.winner = Some(Kind::Datagrams(datagrams));
            return Ok(());
        }
        // Before there is a socket, which a failure would have to end.
        let session = Session::dialled(connect, address)?;
        let made = dialling.spare.take();
        let made = made.map_or_else(|| Stream::unconnected(target, &connect.socket, connect.bind), Ok);
        let stream = made.map_err(|source| self.refused(source))?;
        let progress = stream.connect(target).map_err(|source| self.refused(source))?;
        if progress == Progress::Busy {
            dialling.spare = Some(stream);
            dialling.race.busy(attempt, now);
            return Ok(());
        }
        let limits = Arc::new(connect.limits.clone());
        let link = Link::in_phase(stream, None, limits, Phase::Connecting, session, Tick::of(Instant::now()));
        dialling.trials.push((attempt, BlockingLink::new(link)));
        if progress == Progress::Done {
            let last = dialling.trials.len() - 1;
            self.go_on(dialling, |index| (index == last).then(Readiness::default));
        }
        Ok(())
    }

    /// Waits for attempts and lookups for so long at most, and goes on with those of which there is news.
    fn wait(&self, time: Duration, dialling: &mut Dialling) -> Result<(), Error> {
        let under_way = dialling.trials.len();
        let due = dialling.trials.iter().filter_map(|(_, link)| link.end_if_due()).min();
        self.go_on(dialling, |_| None);
        if dialling.trials.len() < under_way {
            return Ok(());
        }
        if dialling.trials.is_empty() {
            dialling.waker().map_err(|source| self.refused(source))?;
        }
        let sockets = dialling.trials.iter().map(|(_, link)| link.socket().clone()).collect();
        self.show(Shown { sockets, waker: dialling.wake.as_ref().map(|(_, waker)| waker.clone()) })?;
        let time = due.map_or(time, |due| time.min(due.saturating_duration_since(Instant::now())));
        let sleeper = dialling.wake.iter().map(|(sleeper, _)| Wish::to_read(sleeper));
        let wishes: Vec<_> = dialling.trials.iter().map(|(_, link)| link.wish()).chain(sleeper).collect();
        let ready = wait_for_any(&wishes, time).map_err(|source| self.refused(source))?;
        drop(wishes);
        if let Some((sleeper, _)) = &mut dialling.wake {
            let _ = sleeper.read(&mut [0; 8]);
        }
        for (family, found) in dialling.told.try_iter() {
            dialling.race.found(family, found.map_err(Error::from), Instant::now());
        }
        self.go_on(dialling, |index| ready.get(index).copied().flatten());
        Ok(())
    }

    /// Goes on with the attempts of which there is news, and with those that are over.
    fn go_on(&self, dialling: &mut Dialling, news: impl Fn(usize) -> Option<Readiness>) {
        for index in (0..dialling.trials.len()).rev() {
            let (_, link) = &dialling.trials[index];
            let Some(opened) = link.try_opening(news(index)) else { continue };
            let (attempt, link) = dialling.trials.swap_remove(index);
            let error = match opened {
                Ok(()) => {
                    dialling.race.ready(attempt);
                    // Of two that are ready at once the first one counts.
                    dialling.winner.get_or_insert(Kind::Stream(link));
                    continue;
                }
                Err(Unopened::Unmade(source)) => self.refused(source),
                Err(Unopened::Broken(reason, detail)) => {
                    dialling.race.shun(attempt);
                    dial::broken(&self.plan.address, reason, detail)
                }
            };
            dialling.race.failed(attempt, error, Instant::now());
        }
    }
}
