//! Handlers that panic in every callback: nobody else is closed.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use windlass::{
    Accept, AcceptEvent, Admission, Bytes, Conn, Direction, Handler, ListenConfig, ListenerId, Next, Reactor,
    ReactorConfig, Readiness, Reason, Status, Turn, WatchHandler,
};

use crate::Outcome;
use crate::peer::{Heard, PATIENCE, Peer};
use crate::report::Report;

/// What a panic on purpose says, so that it is not printed.
pub(crate) const DELIBERATE: &str = "a panic on purpose";

const BYSTANDERS: usize = 100;
/// Connections that panic in each place.
const OF_EACH: usize = 10;

/// Keeps panics on purpose from the standard error.
pub(crate) fn hide_deliberate_ones() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        if text != Some(DELIBERATE) {
            told(info);
        }
    }));
}

fn panic_here() -> ! {
    panic!("{DELIBERATE}")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Admit,
    Make,
    Event,
    Open,
    Data,
    /// Says that it used more than it was shown.
    Greed,
    Writable,
    Timer,
    End,
    Close,
    /// In `on_data`, and again in the `on_close` that follows.
    DataAndClose,
    Dropped,
    Drain,
}

impl Place {
    /// Those where a peer provokes the panic; a drain comes last.
    const PROVOKED: [Place; 12] = [
        Place::Admit,
        Place::Make,
        Place::Event,
        Place::Open,
        Place::Data,
        Place::Greed,
        Place::Writable,
        Place::Timer,
        Place::End,
        Place::Close,
        Place::DataAndClose,
        Place::Dropped,
    ];
}

/// What bystanders' handlers were told.
#[derive(Default)]
struct Heardsay {
    closed: Cell<usize>,
    drained: Cell<usize>,
}

struct Guest {
    place: Place,
    heardsay: Rc<Heardsay>,
}

impl Guest {
    fn at(&self, place: Place) {
        if self.place == place {
            panic_here()
        }
    }
}

impl Handler for Guest {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        self.at(Place::Open);
        match self.place {
            Place::Timer => conn.set_timer(Duration::from_millis(1)),
            // More than fits, so that it is owed `on_writable`.
            Place::Writable => while conn.write_some(&[1; 1 << 16]) > 0 {},
            _ => {}
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        self.at(Place::Data);
        self.at(Place::DataAndClose);
        if self.place == Place::Greed { data.len() + 1 } else { conn.write_some(data) }
    }

    fn on_writable(&mut self, _: &mut Conn<'_>) {
        self.at(Place::Writable);
    }

    fn on_timer(&mut self, _: &mut Conn<'_>) {
        self.at(Place::Timer);
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        self.at(Place::Drain);
        conn.close();
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, _: &[u8]) {
        self.at(Place::End);
        conn.close();
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        if self.place == Place::Nowhere {
            let count = if reason == Reason::Drain { &self.heardsay.drained } else { &self.heardsay.closed };
            count.set(count.get() + 1);
        }
        self.at(Place::Close);
        self.at(Place::DataAndClose);
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.at(Place::Dropped);
    }
}

struct Doorman {
    place: Rc<Cell<Place>>,
    heardsay: Rc<Heardsay>,
}

impl Accept for Doorman {
    type Handler = Guest;

    fn admit(&mut self, _: &windlass::Peer<'_>) -> Admission {
        match self.place.get() {
            Place::Admit => panic_here(),
            // The refusal is an event.
            Place::Event => Admission::Refuse,
            _ => Admission::Admit,
        }
    }

    fn make(&mut self, _: &Conn<'_>) -> Guest {
        if self.place.get() == Place::Make {
            panic_here()
        }
        Guest { place: self.place.get(), heardsay: self.heardsay.clone() }
    }

    fn on_event(&mut self, _: &AcceptEvent) {
        if self.place.get() == Place::Event {
            panic_here()
        }
    }
}

struct PanickyWatch;

impl WatchHandler for PanickyWatch {
    fn on_ready(&mut self, _: &mut Turn<'_>, _: std::os::fd::BorrowedFd<'_>, _: Readiness) -> Next {
        panic_here()
    }

    fn on_close(&mut self, _: &mut Turn<'_>, _: Reason) {
        panic_here()
    }
}

/// The reactor and its bystanders, all on this thread.
struct Scene {
    reactor: Reactor,
    listener: ListenerId,
    address: SocketAddr,
    place: Rc<Cell<Place>>,
    heardsay: Rc<Heardsay>,
    bystanders: Vec<Peer>,
}

pub(crate) fn run(report: &mut Report) -> Outcome<()> {
    let mut scene = Scene::new()?;
    for place in Place::PROVOKED {
        scene.provoke(place, report).map_err(|error| format!("{place:?}: {error}"))?;
    }
    scene.panic_outside_connections(report)?;
    report.exactly("other connections closed", scene.heardsay.closed.get() as u64, 0);
    scene.drain(report)
}

impl Scene {
    fn new() -> Outcome<Self> {
        let mut reactor = Reactor::new(ReactorConfig::default())?;
        let place = Rc::new(Cell::new(Place::Nowhere));
        let heardsay = Rc::new(Heardsay::default());
        let doorman = Doorman { place: place.clone(), heardsay: heardsay.clone() };
        let listener = reactor.listen(&"tcp://127.0.0.1:0".parse()?, ListenConfig::default(), doorman)?;
        let address = reactor.listener_address(listener).and_then(|address| address.ip()).ok_or("no address")?;
        let mut scene = Scene { reactor, listener, address, place, heardsay, bystanders: Vec::new() };
        scene.bystanders = scene.dial(Place::Nowhere, BYSTANDERS)?;
        scene.echo()?;
        Ok(scene)
    }

    /// Turns until a condition holds.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> Outcome<bool>) -> Outcome<()> {
        let begun = Instant::now();
        while !holds(self)? {
            if begun.elapsed() > PATIENCE {
                return Err(format!("waited {PATIENCE:?} in vain for {what}").into());
            }
            self.reactor.poll_once(Some(Duration::from_millis(1)))?;
        }
        Ok(())
    }

    /// Connects peers whose handlers will panic there, and waits until they were accepted.
    fn dial(&mut self, place: Place, count: usize) -> Outcome<Vec<Peer>> {
        let goal = self.reactor.snapshot().accepted + count as u64;
        self.place.set(place);
        let peers = (0..count).map(|number| Peer::dial(self.address, number)).collect::<Outcome<Vec<Peer>>>()?;
        self.until("connections to be accepted", |scene| Ok(scene.reactor.snapshot().accepted == goal))?;
        Ok(peers)
    }

    /// Every bystander is still served.
    fn echo(&mut self) -> Outcome<()> {
        let mut bystanders = std::mem::take(&mut self.bystanders);
        for peer in &mut bystanders {
            peer.write(b"e")?;
        }
        let mut answered = 0;
        self.until("an echo on every other connection", |_| {
            while let Some(peer) = bystanders.get_mut(answered) {
                if !peer.is_answered()? {
                    return Ok(false);
                }
                answered += 1;
            }
            Ok(true)
        })?;
        self.bystanders = bystanders;
        Ok(())
    }

    /// Has connections panic in one place, and looks at the others.
    fn provoke(&mut self, place: Place, report: &mut Report) -> Outcome<()> {
        let before = self.reactor.snapshot().panics;
        let mut peers = self.dial(place, OF_EACH)?;
        for peer in &mut peers {
            match place {
                Place::Data | Place::Greed | Place::DataAndClose => peer.write(b"e")?,
                Place::End | Place::Close | Place::Dropped => peer.finish()?,
                _ => {}
            }
        }
        let mut buffer = vec![0; 1 << 18];
        let mut open: Vec<bool> = vec![true; peers.len()];
        self.until("those connections to end", |_| {
            for (peer, open) in peers.iter_mut().zip(&mut open).filter(|(_, open)| **open) {
                match peer.read(&mut buffer)? {
                    Heard::Nothing | Heard::Bytes(_) => {}
                    Heard::End => *open = false,
                    Heard::Reset => return Err("a reset".into()),
                }
            }
            Ok(!open.contains(&true))
        })?;
        drop(peers);
        self.until("those connections to be gone", |scene| Ok(scene.reactor.connections() == BYSTANDERS))?;
        self.place.set(Place::Nowhere);
        self.echo()?;
        let panics = self.reactor.snapshot().panics - before;
        let each = if place == Place::DataAndClose { 2 } else { 1 };
        report.exactly(&format!("{place:?}: panics, {BYSTANDERS} others served"), panics, each * OF_EACH as u64);
        Ok(())
    }

    /// Closures, watches and the rest of user code.
    fn panic_outside_connections(&mut self, report: &mut Report) -> Outcome<()> {
        let before = self.reactor.snapshot().panics;
        self.reactor.after(Duration::ZERO, |_| panic_here());
        self.reactor.remote().run(|_| panic_here())?;
        self.reactor.on_undelivered(|_, _, _| panic_here());
        let gone = self.a_gone_connection()?;
        self.reactor.remote().send(gone, Bytes::from_static(b"lost"))?;
        self.place.set(Place::Event);
        self.reactor.turn().pause_listener(self.listener)?;
        self.reactor.turn().resume_listener(self.listener)?;
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        self.reactor.turn().watch(near, Direction::Read, PanickyWatch)?;
        io::Write::write_all(&mut &far, b"x")?;
        // A watch panics when it is ready, and again when it is told its end.
        let goal = before + 7;
        self.until("the panics of closures, events and watches", |scene| Ok(scene.reactor.snapshot().panics >= goal))?;
        self.place.set(Place::Nowhere);
        self.echo()?;
        let panics = self.reactor.snapshot().panics - before;
        report.exactly(&format!("closures, events, a watch: panics, {BYSTANDERS} others served"), panics, 7);
        Ok(())
    }

    /// The id of a connection that has ended.
    fn a_gone_connection(&mut self) -> Outcome<windlass::ConnId> {
        let before = self.reactor.turn().connections();
        let peer = self.dial(Place::Nowhere, 1)?;
        self.until("a connection to open", |scene| Ok(scene.reactor.turn().connections().len() > before.len()))?;
        let found = self.reactor.turn().connections().into_iter().find(|id| !before.contains(id));
        drop(peer);
        self.until("a connection to end", |scene| Ok(scene.reactor.connections() == before.len()))?;
        // It was a bystander that left by itself.
        self.heardsay.closed.set(self.heardsay.closed.get() - 1);
        Ok(found.ok_or("no connection")?)
    }

    /// Some panic when they are told to drain; the others drain.
    fn drain(mut self, report: &mut Report) -> Outcome<()> {
        let before = self.reactor.snapshot().panics;
        let unhappy = self.dial(Place::Drain, OF_EACH)?;
        self.echo()?;
        self.reactor.shutdown(PATIENCE);
        let peers = RefCell::new(unhappy);
        peers.borrow_mut().append(&mut self.bystanders);
        let mut buffer = [0; 16];
        let mut told = None;
        self.until("the reactor to stop", |scene| {
            let mut outcome = Ok(());
            peers.borrow_mut().retain_mut(|peer| match peer.read(&mut buffer) {
                Ok(Heard::End) => false,
                Ok(Heard::Nothing | Heard::Bytes(_)) => true,
                Ok(Heard::Reset) => {
                    outcome = Err("a reset");
                    false
                }
                Err(_) => false,
            });
            outcome?;
            if let Status::Stopped(report) = scene.reactor.poll_once(Some(Duration::ZERO))? {
                told = Some(report);
            }
            Ok(told.is_some())
        })?;
        let panics = self.reactor.snapshot().panics - before;
        report.exactly("Drain: panics", panics, OF_EACH as u64);
        report.exactly("Drain: others that drained", self.heardsay.drained.get() as u64, BYSTANDERS as u64);
        let cut = told.map_or(0, |told| told.cut);
        report.exactly("Drain: connections cut", cut, 0);
        Ok(())
    }
}
