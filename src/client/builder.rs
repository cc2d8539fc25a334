//! What a client is to be: where it connects to, how, and whom it tells.
//!
//! Owns what of it can work. Nothing is connected here.

use crate::address::Address;
use crate::client::Client;
use crate::client::telling::Callbacks;
use crate::config::datagram::DatagramConfig;
use crate::config::{ConnectConfig, Limits};
use crate::context::check_stream;
use crate::dial::resolver::Resolver;
use crate::error::Error;
use crate::handler::ConnState;
use crate::link::session::Session;
use crate::settings::by_key;
use std::sync::Arc;
use std::time::Duration;

/// Says what a client is to be; [`Client::builder`] begins it.
///
/// ```
/// use std::time::Duration;
/// use windlass::Client;
/// let client = Client::builder("tcp://127.0.0.1:7007".parse()?)
///     .read_timeout(Some(Duration::from_secs(5)))
///     .on_error(|error| eprintln!("{error}"))
///     .build()?;
/// assert!(!client.is_connected()); // until `connect`
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    plan: Plan,
    timeouts: Timeouts,
    callbacks: Callbacks,
    #[cfg(feature = "tls")]
    upgrade: Option<(crate::tls::ClientTls, String)>,
}

/// What a client connects to, and how.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) address: Address,
    pub(super) connect: ConnectConfig,
    pub(super) datagram: DatagramConfig,
    pub(super) resolver: Resolver,
}

impl Plan {
    /// Refuses what has no effect on clients.
    fn check_unused(&self) -> Result<(), Error> {
        check_limits(&self.connect.limits)?;
        if self.address.transport().is_datagram() { check_queues(&self.datagram) } else { Ok(()) }
    }

    #[cfg(feature = "tls")]
    fn over_tls(mut self, tls: crate::tls::ClientTls) -> Result<Plan, Error> {
        if self.address.transport().is_datagram() {
            let why = "TLS is for streams; leave with_tls out";
            return Err(Error::Transport { address: Box::new(self.address), why });
        }
        self.address = self.address.over_tls();
        self.connect.tls = Some(tls);
        Ok(self)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timeouts {
    pub(super) read: Option<Duration>,
    pub(super) write: Option<Duration>,
}

impl ClientBuilder {
    pub(super) fn new(address: Address) -> ClientBuilder {
        // As long as no configuration is given, only the timeouts of calls count.
        let (connect_timeout, handshake_timeout) = (Duration::MAX, Duration::MAX);
        let write_stall_timeout = Duration::MAX;
        let limits = Limits { connect_timeout, handshake_timeout, write_stall_timeout, ..Limits::default() };
        let (connect, datagram) = (ConnectConfig { limits, ..ConnectConfig::default() }, DatagramConfig::default());
        ClientBuilder {
            plan: Plan { address, connect, datagram, resolver: Resolver::system() },
            timeouts: Timeouts::default(),
            callbacks: Callbacks::default(),
            #[cfg(feature = "tls")]
            upgrade: None,
        }
    }

    /// For stream addresses: the socket, its own address, TLS, and of the limits `inbox_bytes_max`, `outbox_bytes_max`,
    /// `connect_timeout` and `handshake_timeout`. The lookup, the connect and the handshake together end at the earlier of
    /// `connect_timeout` and the timeout of the call, the handshake also after `handshake_timeout`. Both are 10 s in
    /// `Limits::default()`; without a call of this only the timeout of the call counts. `connect_timeout` also ends the lookup
    /// of a datagram address.
    ///
    /// `write_stall_timeout`, `idle_timeout` and `lifetime` hold in every call that waits: it fails with `TimedOut`, and the
    /// connection is over. They have no effect for datagrams.
    ///
    /// The other limits are about turns of a reactor, and are refused unless they are as by default: `linger_timeout`,
    /// `linger_total`, `bytes_per_turn` and `reads_per_turn`. `outbox_bytes_high` and `outbox_bytes_low` have no effect.
    pub fn connect_config(mut self, config: ConnectConfig) -> ClientBuilder {
        self.plan.connect = config;
        self
    }

    /// For datagram addresses: the socket, its own address, the longest datagram. Nothing waits in a queue, so
    /// `queue_bytes_max`, `queue_datagrams_max`, `send_timeout` and `datagrams_per_turn` are refused unless they are as by
    /// default, and `gso` has no effect.
    pub fn datagram_config(mut self, config: DatagramConfig) -> ClientBuilder {
        self.plan.datagram = config;
        self
    }

    /// Speaks TLS, also where the address says `tcp://` or `unix:`, with a server whose certificate is for `server_name`.
    #[cfg(feature = "tls")]
    pub fn with_tls(mut self, tls: crate::tls::ClientTls, server_name: &str) -> ClientBuilder {
        self.upgrade = Some((tls, server_name.to_owned()));
        self
    }

    /// The same, with errors that name the keys of files.
    pub(super) fn check_keys(self) -> Result<ClientBuilder, Error> {
        self.plan.check_unused().map_err(by_key).map(|()| self)
    }

    /// What finds the addresses of a name. Default: the system.
    pub fn resolver(mut self, resolver: Resolver) -> ClientBuilder {
        self.plan.resolver = resolver;
        self
    }

    /// How long a read may take. Default: `None`, until a limit of `connect_config` ends the connection, if one is given.
    pub fn read_timeout(mut self, timeout: Option<Duration>) -> ClientBuilder {
        self.timeouts.read = timeout;
        self
    }

    /// How long a write may take. Default: `None`, until a limit of `connect_config` ends the connection, if one is given.
    pub fn write_timeout(mut self, timeout: Option<Duration>) -> ClientBuilder {
        self.timeouts.write = timeout;
        self
    }

    /// Called with what went wrong, once each: a connect that failed, a connection that broke, an exchange, a callback that
    /// panicked. A timeout of a read or write is told to its caller alone, and so is what goes wrong with calls that this
    /// callback makes: it may connect again.
    ///
    /// # Threads
    /// On the thread whose call it happened in.
    pub fn on_error(mut self, call: impl Fn(&Error) + Send + Sync + 'static) -> ClientBuilder {
        self.callbacks.error = Some(Arc::new(call));
        self
    }

    /// Called with each state of the connection: this side's address (`None` before it has one), the peer's, and what
    /// happened: Dial, New, with TLS Handshake, then Read and Write, CloseRead, CloseWrite, Close. Of a connect that failed
    /// Dial is all. Without it nothing is looked at.
    ///
    /// # Threads
    /// On that of the call that it happened in, or of another one that is telling just now: never two at once. While a call
    /// takes its time up to 1,024 states wait; of more, reads and writes are not told.
    pub fn on_state(
        mut self,
        call: impl Fn(Option<&Address>, &Address, ConnState) + Send + Sync + 'static,
    ) -> ClientBuilder {
        self.callbacks.state = Some(Arc::new(call));
        self
    }

    /// Checks everything. Nothing is connected yet.
    ///
    /// # Errors
    /// `Config`, `Transport` or `Address`, naming what is missing or cannot work.
    pub fn build(self) -> Result<Client, Error> {
        let ClientBuilder { plan, timeouts, callbacks, .. } = self;
        #[cfg(feature = "tls")]
        let plan = match self.upgrade {
            Some((tls, name)) => plan.over_tls(tls.for_server(&name)?)?,
            None => plan,
        };
        for (field, timeout) in [("read_timeout", timeouts.read), ("write_timeout", timeouts.write)] {
            check_timeout(field, timeout)?;
        }
        plan.address.check_target()?;
        plan.connect.validate()?;
        plan.datagram.validate()?;
        plan.check_unused()?;
        if plan.address.transport().is_datagram() {
            if plan.datagram.bind.as_ref().is_some_and(|own| own.transport() != plan.address.transport()) {
                let why = "DatagramConfig::bind and the peer must both be udp:// or both unixgram:";
                return Err(Error::Transport { address: Box::new(plan.address), why });
            }
            #[cfg(feature = "tls")]
            if plan.connect.tls.is_some() {
                let why = "TLS is for streams; leave it out of the configuration";
                return Err(Error::Transport { address: Box::new(plan.address), why });
            }
        } else {
            check_stream(&plan.address, plan.connect.wants())?;
            if plan.connect.bind.is_some() && plan.address.transport().is_unix() {
                let why = "ConnectConfig::bind is for IP addresses; leave it out";
                return Err(Error::Transport { address: Box::new(plan.address), why });
            }
            // Whether there is a name to check the certificate against.
            Session::dialled(&plan.connect, &plan.address)?;
        }
        Ok(Client::of(plan, timeouts, callbacks))
    }
}

/// Refuses what only connections have that reactors drive, so that nobody relies on it here.
fn check_limits(limits: &Limits) -> Result<(), Error> {
    let usual = Limits::default();
    let refuse =
        |field, value: &dyn std::fmt::Debug, why| Err(Error::Config { field, value: format!("{value:?}"), why });
    for (field, set, usual) in [
        ("linger_timeout", limits.linger_timeout, usual.linger_timeout),
        ("linger_total", limits.linger_total, usual.linger_total),
    ] {
        if set != usual {
            return refuse(field, &set, "a client that is closed waits for its write timeout; leave it out");
        }
    }
    for (field, set, usual) in [
        ("bytes_per_turn", limits.bytes_per_turn, usual.bytes_per_turn),
        ("reads_per_turn", limits.reads_per_turn, usual.reads_per_turn),
    ] {
        if set != usual {
            return refuse(field, &set, "it is for reactors, and a client has none; leave it out");
        }
    }
    Ok(())
}

/// The same of datagrams: each write sends one, or waits for as long as it may.
fn check_queues(config: &DatagramConfig) -> Result<(), Error> {
    let usual = DatagramConfig::default();
    if config.send_timeout != usual.send_timeout {
        let why = "nothing waits in a client; use the write timeout";
        return Err(Error::Config { field: "send_timeout", value: format!("{:?}", config.send_timeout), why });
    }
    for (field, set, usual) in [
        ("queue_bytes_max", config.queue_bytes_max, usual.queue_bytes_max),
        ("queue_datagrams_max", config.queue_datagrams_max, usual.queue_datagrams_max),
        ("datagrams_per_turn", config.datagrams_per_turn, usual.datagrams_per_turn),
    ] {
        if set != usual {
            let why = "it is for reactors, and nothing waits in a client; leave it out";
            return Err(Error::Config { field, value: set.to_string(), why });
        }
    }
    Ok(())
}

pub(super) fn check_timeout(field: &'static str, timeout: Option<Duration>) -> Result<(), Error> {
    match timeout {
        Some(timeout) if timeout.is_zero() => {
            Err(Error::Config { field, value: "0s".to_owned(), why: "it must be longer than zero; `None` is no limit" })
        }
        _ => Ok(()),
    }
}
