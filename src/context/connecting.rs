//! How a callback begins to connect.
//!
//! Owns what is checked before a connect begins, and what it begins with. Knows nothing of how it goes on.

use crate::address::Address;
use crate::clock::{self, Tick};
use crate::command::Local;
use crate::config::ConnectConfig;
use crate::context::{Context, check_stream};
use crate::dial::resolver::Resolver;
use crate::dial::{self, Dial, Plan};
use crate::error::Error;
use crate::handler::Handler;
use crate::id::ConnId;
use crate::link::session::Session;
use crate::net::stream::Stream;
use std::sync::Arc;

impl Context<'_> {
    /// Begins to connect, and returns at once: names are looked up on other threads, IPv6 and IPv4 apart. Addresses of both
    /// families are tried in turn, each 250 ms after the one before or when that has failed, and the first one that is ready is
    /// the connection: with TLS the first whose handshake is done (RFC 8305). At most 64 addresses of each lookup are tried.
    /// Lookup, connect and handshake together end after `Limits::connect_timeout`; with less than a second the next address is tried
    /// after a quarter of that.
    ///
    /// `handler` gets `on_open` with this id, or `on_close` alone if there is no connection: with the reason of the last attempt,
    /// [`Reason::Unresolved`](crate::Reason::Unresolved) if no address was found, `Timeout(Connect)` at the deadline, or
    /// `Timeout(Handshake)` if a handshake was under way then. Before
    /// there is a connection [`Conn`](crate::Conn) has neither addresses nor a usable descriptor. A connect counts as one
    /// connection, however many attempts are under way.
    ///
    /// # Errors
    /// `Address`, `Transport`, `Config`, `Descriptor` (no socket could be made), `Connections` or `Draining`; the
    /// handler is dropped then, without a callback.
    pub fn connect(
        &mut self,
        address: &Address,
        config: ConnectConfig,
        handler: impl Handler,
    ) -> Result<ConnId, Error> {
        self.connect_with(address, config, Resolver::system(), handler)
    }

    /// As [`Context::connect`], but `resolver` finds the addresses of a name. It can leave out those that must not be connected
    /// to: no packet is sent to them. A proxy, for example, that lets its clients name any host would otherwise connect them to
    /// services of its own machine and network.
    ///
    /// `resolver` is not asked if `address` is an IP address. If it returns none, `on_close` is called with
    /// [`Reason::Unresolved`](crate::Reason::Unresolved).
    ///
    /// ```
    /// use windlass::{Conn, ConnectConfig, ConnId, Error, Resolver, handler_fn};
    ///
    /// fn connect(conn: &mut Conn<'_>, resolver: Resolver) -> Result<ConnId, Error> {
    ///     let address = "tcp://example.org:80".parse()?;
    ///     let handler = handler_fn(|_, data| data.len());
    ///     conn.context().connect_with(&address, ConnectConfig::default(), resolver, handler)
    /// }
    ///
    /// // Clones are one resolver: a lookup of one name is shared by all connects that wait for it.
    /// let resolver = Resolver::new(|name| {
    ///     let found = name.resolve().map_err(std::io::Error::other)?;
    ///     Ok(found.into_iter().filter(|found| !found.ip().to_canonical().is_loopback()).collect())
    /// });
    /// # let _ = (connect, resolver);
    /// ```
    ///
    /// # Errors
    /// As [`Context::connect`].
    pub fn connect_with(
        &mut self,
        address: &Address,
        config: ConnectConfig,
        resolver: Resolver,
        handler: impl Handler,
    ) -> Result<ConnId, Error> {
        let plan = Plan { address: address.clone(), config, resolver, shunned: Vec::new(), watcher: None };
        self.dial(plan, Box::new(handler))
    }

    /// Begins to connect as `plan` says.
    pub(crate) fn dial(&mut self, plan: Plan, handler: Box<dyn Handler>) -> Result<ConnId, Error> {
        let Plan { address, config, resolver, shunned, .. } = &plan;
        config.validate()?;
        self.check_begins()?;
        Session::dialled(config, address)?;
        check_stream(address, config.wants())?;
        if config.bind.is_some() && address.transport().is_unix() {
            let why = "ConnectConfig::bind is for IP addresses; leave it out";
            return Err(Error::Transport { address: Box::new(address.clone()), why });
        }
        let (now, limits) = (self.now(), Arc::new(config.limits.clone()));
        let (race, known) = dial::race(address, resolver, shunned, now, clock::until(now, limits.connect_timeout))?;
        let spare = known.map(|target| Stream::unconnected(&target, &config.socket, config.bind)).transpose();
        let spare = spare.map_err(|source| Error::Descriptor { action: "make a socket to connect", source })?;
        let id = self.table.reserve()?;
        self.state.connection_begins();
        self.state.counters.dialled += 1;
        let (tickets, attempts, winner) = (Vec::new(), Vec::new(), None);
        let (wake, begun) = (Tick::NEVER, (self.state.now, None));
        let dial = Dial { plan, handler, race, spare, tickets, attempts, winner, wake, begun };
        self.state.local.push_back(Local::Dial { id, dial: Box::new(dial), limits });
        Ok(ConnId(id))
    }
}
