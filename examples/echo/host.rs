//! What the echo server runs on: the main thread alone, or reactor threads.
//!
//! A program is one or the other, and calls `Reactor` or `Engine` directly. This one is both, since it is measured: a
//! process of one thread makes its system calls a few percent faster than one of two.

use crate::signals::on_signals;
use crate::{AN_HOUR, Echo};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use windlass::{
    Accept, AcceptEvent, Address, Conn, Context, Counters, DatagramConfig, Engine, EngineConfig, Error, ListenConfig,
    PauseCause, Reactor, ReactorConfig, Report,
};

/// Makes the handlers of a listener, and prints why it does not accept.
struct Door(Address);

impl Accept for Door {
    type Handler = Echo;

    fn make(&mut self, _: &Conn<'_>) -> Echo {
        Echo
    }

    fn on_event(&mut self, event: &AcceptEvent) {
        match event {
            AcceptEvent::Ended(Some(error)) => eprintln!("echo: {} is not listened on any more: {error}", self.0),
            AcceptEvent::Paused(cause @ PauseCause::Starved(_)) => {
                eprintln!("echo: accepting on {} pauses: {cause}", self.0)
            }
            _ => {}
        }
    }
}

pub(crate) enum Host {
    Alone(Reactor),
    Threads(Arc<Engine>),
}

impl Host {
    /// So many reactors; `config.reactor` is for each.
    pub(crate) fn new(config: EngineConfig) -> Result<Host, Error> {
        if config.reactors == 1 {
            let reactor = ReactorConfig { connections_max: config.connections_max, ..config.reactor };
            return Ok(Host::Alone(Reactor::new(reactor)?));
        }
        Ok(Host::Threads(Arc::new(Engine::start(config)?)))
    }

    /// Listens, and tells the real address.
    pub(crate) fn listen(&mut self, address: &Address, config: ListenConfig) -> Result<Address, Error> {
        match self {
            Host::Alone(reactor) => {
                let id = reactor.listen(address, config, Door(address.clone()))?;
                reactor.listener_address(id).ok_or(Error::Gone)
            }
            Host::Threads(engine) => {
                let at = address.clone();
                Ok(engine.listen(address, config, move || Door(at.clone()))?.address().clone())
            }
        }
    }

    /// Binds a datagram socket, and tells the real address.
    pub(crate) fn bind(&mut self, address: &Address, config: DatagramConfig) -> Result<Address, Error> {
        match self {
            Host::Alone(reactor) => {
                let id = reactor.bind(address, config, Echo)?;
                reactor.endpoint_address(id).ok_or(Error::Gone)
            }
            Host::Threads(engine) => Ok(engine.bind(address, config, || Echo)?.address().clone()),
        }
    }

    /// Has `act` run on the first reactor after signals.
    pub(crate) fn on_signals(
        &mut self,
        signals: &'static [i32],
        act: impl FnMut(&mut Context<'_>, usize) + Send + 'static,
    ) -> io::Result<()> {
        match self {
            Host::Alone(reactor) => on_signals(&mut reactor.context(), signals, act),
            Host::Threads(engine) => engine.ask(0, move |cx| on_signals(cx, signals, act)).map_err(io::Error::other)?,
        }
    }

    /// The first of these signals drains, the second one cuts what is left.
    pub(crate) fn stop_on(&mut self, signals: &'static [i32], drain: Duration) -> io::Result<()> {
        let engines = match self {
            Host::Alone(_) => None,
            Host::Threads(engine) => Some(Arc::downgrade(engine)),
        };
        let mut seen = 0;
        self.on_signals(signals, move |cx, came| {
            seen += came;
            let drain = if seen == 1 { drain } else { Duration::ZERO };
            match &engines {
                None => cx.shutdown(drain),
                Some(engines) => engines.upgrade().iter().for_each(|engine| engine.stop(drain)),
            }
        })
    }

    /// Runs until it is stopped; every so often `tell` is shown what was counted.
    pub(crate) fn run(self, every: Option<Duration>, tell: fn(&[Counters])) -> Result<Report, Error> {
        match self {
            Host::Alone(mut reactor) => {
                if let Some(every) = every {
                    tell_again(&mut reactor.context(), every, tell);
                }
                reactor.run()
            }
            Host::Threads(engine) => loop {
                match engine.wait(every.unwrap_or(AN_HOUR)) {
                    Err(Error::NotDriven) if every.is_some() => tell(&engine.snapshots()?),
                    Err(Error::NotDriven) => {}
                    ended => return ended,
                }
            },
        }
    }
}

fn tell_again(cx: &mut Context<'_>, every: Duration, tell: fn(&[Counters])) {
    cx.after(every, move |cx| {
        tell(&[cx.snapshot()]);
        tell_again(cx, every, tell);
    });
}
