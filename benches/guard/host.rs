//! A reactor that echoes, in turns that are taken one by one; and where callgrind counts.

use crate::rig::Outcome;
use rustix::process::getppid;
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use windlass::{
    Address, Conn, Datagram, DatagramConfig, DatagramHandler, Datagrams, Handler, Limits, ListenConfig, Reactor,
    ReactorConfig, Reason, ServerTls,
};

/// Longer than anything here takes, on a busy machine and under callgrind.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// What has not come of so many turns will not come.
const TURNS_MAX: usize = 10;

/// Off while a subject is made and warms up.
pub(crate) static COUNTS: AtomicBool = AtomicBool::new(false);

/// Does work that is counted. System calls between two calls of getppid(2) belong to it.
pub(crate) fn watched<T>(work: impl FnOnce() -> T) -> T {
    if !COUNTS.load(Ordering::Relaxed) {
        return work();
    }
    let _begins = getppid();
    let done = counted(work);
    let _ends = getppid();
    done
}

/// Callgrind knows this function by its name and counts what is done in it.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    // Not the last thing that is done: callgrind does not see a function end that is left by a jump.
    black_box(work())
}

pub(crate) struct Host {
    pub(crate) reactor: Reactor,
    /// How often handlers were called.
    calls: Rc<Cell<usize>>,
}

impl Host {
    pub(crate) fn new() -> Outcome<Host> {
        Ok(Host { reactor: Reactor::new(ReactorConfig::default())?, calls: Rc::default() })
    }

    /// Returns where it listens.
    pub(crate) fn listen(&mut self, at: &str, idle: Option<Duration>, tls: Option<ServerTls>) -> Outcome<Address> {
        let calls = self.calls.clone();
        let limits = Limits { idle_timeout: idle, ..Limits::default() };
        let config = ListenConfig { limits, tls, ..ListenConfig::default() };
        let id = self.reactor.listen(&at.parse()?, config, move |_: &Conn<'_>| Echo(calls.clone()))?;
        Ok(self.reactor.listener_address(id).ok_or("the listener is gone")?)
    }

    /// Returns where it is bound.
    pub(crate) fn bind(&mut self, at: &str) -> Outcome<Address> {
        let id = self.reactor.bind(&at.parse()?, DatagramConfig::default(), Echo(self.calls.clone()))?;
        Ok(self.reactor.endpoint_address(id).ok_or("the socket is gone")?)
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.get()
    }

    pub(crate) fn turn(&mut self, timeout: Duration) -> Outcome<()> {
        watched(|| self.reactor.poll_once(Some(timeout)))?;
        Ok(())
    }

    /// Takes turns until a handler was called.
    pub(crate) fn until_called(&mut self) -> Outcome<()> {
        let (calls, before) = (self.calls.clone(), self.calls());
        self.until("a handler to be called", |_| calls.get() > before)
    }

    /// Takes turns until something holds.
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&Reactor) -> bool) -> Outcome<()> {
        for _ in 0..TURNS_MAX {
            if holds(&self.reactor) {
                return Ok(());
            }
            self.turn(PATIENCE)?;
        }
        Err(format!("took {TURNS_MAX} turns in vain for {what}").into())
    }
}

/// Is called when a connection is open, when a message has come, and at the end.
struct Echo(Rc<Cell<usize>>);

impl Echo {
    fn count(&self) {
        self.0.set(self.0.get() + 1);
    }
}

impl Handler for Echo {
    fn on_open(&mut self, _: &mut Conn<'_>) {
        self.count();
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        self.count();
        conn.write_some(data)
    }

    fn on_close(&mut self, _: &mut Conn<'_>, _: Reason) {
        self.count();
    }
}

impl DatagramHandler for Echo {
    fn on_datagram(&mut self, sock: &mut Datagrams<'_>, datagram: &Datagram<'_>) {
        self.count();
        // If it is not sent, the peer will miss it and say so.
        let _ = sock.send_to(datagram.from, datagram.data);
    }
}
