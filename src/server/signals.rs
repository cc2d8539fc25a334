//! A server that signals stop.
//!
//! Owns what is registered for the signals, and the sockets that it writes to. A signal does nothing but write a byte; the
//! thread in `Signals::run` does the rest. No thread is started here, and no state is global but signal-hook's own.

use super::{A_YEAR, Server};
use crate::error::Error;
use crate::mailbox::Report;
use crate::net::wait::{Wish, pair, wait_for_any};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Signals that stop a server, and one that has it read its files again. Needs the feature `signals`.
///
/// SIGTERM and SIGINT are caught from [`Signals::new`] on: those that come before [`Signals::run`] are acted on there. SIGHUP is
/// caught from [`Signals::on_hangup`] on, and otherwise left as it is.
///
/// ```
/// use std::time::Duration;
/// use windlass::{Conn, Server, Signals, handler_fn};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let signals = Signals::new()?.on_hangup(|| println!("reading the certificates again"))?;
/// let server = Server::builder()
///     .address("tcp://127.0.0.1:0".parse()?)
///     .handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
///     .on_event(|event| println!("{event}"))
///     .build()?;
/// # signal_hook::low_level::raise(signal_hook::consts::SIGTERM)?; // as somebody else would
/// let report = signals.run(&server, Duration::from_secs(30))?;
/// println!("drained: {report}");
/// # Ok(()) }
/// ```
///
/// # What happens to earlier actions
/// The signals are caught with the crate `signal-hook`. A signal that ended the process by default, or was ignored (as SIGHUP
/// is by nohup(1)), is caught instead. A function that other code had installed with sigaction(2) is still called, and so is
/// everything else that is registered with `signal-hook`: two `Signals` at once both get each signal.
///
/// When `run` returns, or this value is dropped, what it registered is removed. `signal-hook` restores neither the default
/// nor an ignored signal: from then on the signals do nothing unless other code handles them, so that **SIGTERM and SIGINT no
/// longer end the process**. `main` should soon return. A process that is started by exec(2) has the defaults.
///
/// # Threads
/// Any thread may make one and run it. The system delivers a signal to any thread that does not block it.
pub struct Signals {
    stops: Caught,
    hangups: Option<(Caught, Box<dyn FnMut()>)>,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").field("on_hangup", &self.hangups.is_some()).finish_non_exhaustive()
    }
}

impl Signals {
    /// Catches SIGTERM and SIGINT.
    ///
    /// # Errors
    /// `Descriptor` if the system has no descriptors left.
    pub fn new() -> Result<Signals, Error> {
        Ok(Signals { stops: Caught::new(&[SIGTERM, SIGINT])?, hangups: None })
    }

    /// Catches SIGHUP too, and has [`Signals::run`] call `call` after it, on its own thread: the place to reload certificates
    /// ([`ServerTls::reload`](crate::ServerTls::reload)), which reads files and would hold a reactor up. Several signals that
    /// come before it is called are one call. While it runs, the server goes on, but no other signal is acted on. It replaces
    /// an earlier one.
    ///
    /// # Errors
    /// As [`Signals::new`].
    pub fn on_hangup(self, call: impl FnMut() + 'static) -> Result<Signals, Error> {
        Ok(Signals { hangups: Some((Caught::new(&[SIGHUP])?, Box::new(call))), ..self })
    }

    /// Starts the server, unless it was started before, and waits until it is gone: the first SIGTERM or SIGINT drains it
    /// within `drain`, as [`Server::stop`] does; a second one closes the remaining connections at once. The report is
    /// that of [`Server::shutdown`]; `run` also returns when the server was stopped by other means.
    ///
    /// # Errors
    /// Those of [`Server::listen`] but `AlreadyStarted`; those of [`Server::shutdown`]: `NotDriven` if a callback holds a
    /// reactor up beyond the deadline, `ReactorGone` if a reactor has died, `OnReactorThread` in a callback or blocking
    /// handler; `Descriptor` if the system has no descriptors left.
    ///
    /// # Panics
    /// If the callback of [`Signals::on_hangup`] panics. The server then runs on, as after any other call that fails.
    pub fn run(mut self, server: &Server, drain: Duration) -> Result<Report, Error> {
        let shared = &server.0.shared;
        if shared.waits_for_this_thread() {
            return Err(Error::OnReactorThread);
        }
        match server.listen() {
            // If it is gone, its report is still there.
            Ok(()) | Err(Error::AlreadyStarted | Error::ServerGone) => {}
            Err(error) => return Err(error),
        }
        let end = shared.ends.subscribe()?;
        let mut seen = 0;
        while let Err(Error::NotDriven) = shared.wait(Duration::ZERO) {
            let left = shared.time_left();
            if left == Some(Duration::ZERO) {
                break;
            }
            self.wait(&end, left.unwrap_or(A_YEAR).min(A_YEAR))?;
            let came = self.stops.take();
            if came > 0 {
                seen += came;
                server.stop(if seen == 1 { drain } else { Duration::ZERO });
            }
            if let Some((caught, call)) = &mut self.hangups {
                if caught.take() > 0 {
                    call();
                }
            }
        }
        shared.wait(Duration::ZERO)
    }

    /// Waits for a signal or the server's end.
    fn wait(&self, end: &UnixStream, timeout: Duration) -> Result<(), Error> {
        let mut wishes = vec![Wish::to_read(&self.stops.reader), Wish::to_read(end)];
        wishes.extend(self.hangups.iter().map(|(caught, _)| Wish::to_read(&caught.reader)));
        wait_for_any(&wishes, timeout).map(drop).map_err(|source| refused("wait for signals", source))
    }
}

impl Server {
    /// Starts it, unless it was started before, and waits for SIGTERM or SIGINT: the first one drains it within `drain`, a
    /// second one closes the remaining connections at once. Returns the report when it is gone. Needs the feature `signals`.
    ///
    /// It is [`Signals::new`] and [`Signals::run`]: for SIGHUP, for signals that may come before this call, and for what
    /// happens to earlier actions of the signals see [`Signals`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use windlass::{Conn, Server, handler_fn};
    /// # fn main() -> Result<(), windlass::Error> {
    /// let server = Server::builder()
    ///     .address("tcp://127.0.0.1:7007".parse()?)
    ///     .handler(|| |_: &Conn<'_>| handler_fn(|conn, data| conn.write_some(data)))
    ///     .build()?;
    /// println!("drained: {}", server.run_until_signal(Duration::from_secs(30))?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Signals::run`].
    pub fn run_until_signal(&self, drain: Duration) -> Result<Report, Error> {
        Signals::new()?.run(self, drain)
    }
}

/// Signals that write a byte each to a socket, as long as this lives.
struct Caught {
    reader: UnixStream,
    registered: Vec<SigId>,
}

impl Caught {
    fn new(signals: &[i32]) -> Result<Caught, Error> {
        let failed = |source| refused("watch for signals", source);
        let (reader, writer) = pair().map_err(failed)?;
        let mut caught = Caught { reader, registered: Vec::new() };
        for signal in signals {
            let writer = writer.try_clone().map_err(failed)?;
            caught.registered.push(pipe::register(*signal, writer).map_err(failed)?);
        }
        Ok(caught)
    }

    /// How many came since it was asked last. Of thousands at once some may be missed, but never all.
    fn take(&mut self) -> usize {
        let (mut bytes, mut came) = ([0; 64], 0);
        while let Ok(count @ 1..) = self.reader.read(&mut bytes) {
            came += count;
        }
        came
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            unregister(id);
        }
    }
}

/// Sockets that are closed when the server is gone: their other ends wake who waits for that and for signals.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<Vec<UnixStream>>);

impl Ends {
    fn subscribe(&self) -> Result<UnixStream, Error> {
        let (reader, writer) = pair().map_err(|source| refused("wait for signals", source))?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
        Ok(reader)
    }

    /// The server is gone, and was marked so before.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn refused(action: &'static str, source: io::Error) -> Error {
    Error::Descriptor { action, source }
}
