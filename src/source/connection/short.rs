//! The short way of a connection at rest: one read, one callback, one send, and nothing left.
//!
//! Owns when it may be gone. It asks nothing that is known: all that could follow from an event, or from the drive before, was
//! found not to when the connection came to rest. What is not so after the callback goes on by the long way, from there.
//!
//! 1. Whoever touches the link outside its own drives takes it from the short way (`Connection::link`).
//! 2. The two ways do the same, call by call; a test compares them on any sequence of events.

use crate::context::Context;
use crate::handler::Next;
use crate::id::SourceId;
use crate::link::buffers::{Pool, Scratch};
use crate::link::quota::Quota;
use crate::source::connection::input::Budget;
use crate::source::connection::{Connection, Origin, RoleKind};

/// By which way input is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gait {
    Long,
    /// The last drive left the connection at rest.
    Short,
}

impl Connection {
    /// Whether input, and nothing else, may take the short way.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        self.gait == Gait::Short
    }

    /// Decides how the next input is taken, after a drive that ended so.
    pub(super) fn set_gait(&mut self, next: Next, pool: &mut Pool) {
        let is_ordinary = self.role_kind == RoleKind::Live && self.origin != Origin::Observed;
        #[cfg(test)]
        let is_ordinary = is_ordinary && !tests::LONG_ONLY.get();
        // Whoever drove it asks for its deadlines next.
        self.link.deadlines_known(pool);
        let is_at_rest = next == Next::Wait && self.link.is_at_rest() && is_ordinary;
        self.gait = if is_at_rest { Gait::Short } else { Gait::Long };
    }

    /// Takes the input of a connection at rest. `None` if it is at rest again, and no deadline has become earlier.
    #[inline]
    pub(crate) fn pass(&mut self, id: SourceId, scratch: &mut Scratch, cx: &mut Context<'_>) -> Option<Next> {
        #[cfg(test)]
        tests::PASSES.set(tests::PASSES.get() + 1);
        let (now, timer) = (cx.state.now, self.link.timer_set());
        let (mut spent, mut quota) = (0, Quota::TURN);
        if let Some((read, bytes)) = self.link.receive_at_rest(&mut quota, scratch, &mut cx.state.buffers, now) {
            spent = read;
            let is_shown = !bytes.is_empty() && self.link.phase().delivers_input();
            let first = if is_shown { self.show_once(id, bytes, cx) } else { Some(bytes.len()) };
            if first != Some(bytes.len()) {
                self.keep(id, bytes, first, cx);
            } else if cx.state.detach_request.is_none() && self.link.comes_to_rest(timer, &mut cx.state.buffers, now) {
                return None;
            } else if cx.state.successor.is_some() {
                self.hand_over(id, cx);
            }
        }
        let budget = Budget::of(self.link.limits()).after_read(spent, quota.records);
        Some(self.go_on(id, budget, scratch, cx))
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Limits, ReactorConfig};
    use crate::conn::Conn;
    use crate::error::Reason;
    use crate::handler::Handler;
    use crate::id::ConnId;
    use crate::link::Link;
    use crate::reactor::Reactor;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::cell::{Cell, RefCell};
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;
    #[cfg(feature = "tls")]
    use {
        crate::link::session::tests as session_tests,
        rcgen::PKCS_ED25519,
        rustls::version::TLS13,
        rustls::{ClientConnection, StreamOwned},
    };

    thread_local! {
        /// Nobody goes the short way.
        pub(super) static LONG_ONLY: Cell<bool> = const { Cell::new(false) };
        /// How many times it was gone.
        pub(super) static PASSES: Cell<u64> = const { Cell::new(0) };
    }

    /// What two connections and their peers did, in order.
    type Log = Rc<RefCell<Vec<String>>>;

    /// Does as its plan says, one entry for each piece of input that it is shown.
    struct Planned {
        name: usize,
        plan: Rc<Vec<u8>>,
        shown: Rc<Cell<usize>>,
        ids: Rc<Cell<[Option<ConnId>; 2]>>,
        log: Log,
    }

    impl Planned {
        fn say(&self, what: impl std::fmt::Display) {
            self.log.borrow_mut().push(format!("{}: {what}", self.name));
        }
    }

    impl Handler for Planned {
        fn on_open(&mut self, conn: &mut Conn<'_>) {
            let mut ids = self.ids.get();
            ids[self.name] = Some(conn.id());
            self.ids.set(ids);
            self.say("open");
        }

        fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
            self.say(format_args!("{} bytes, {}", data.len(), data[0]));
            let step = self.plan[self.shown.get() % self.plan.len()];
            self.shown.set(self.shown.get() + 1);
            let other = self.ids.get()[1 - self.name];
            match step % 26 {
                0..=8 => return conn.write_some(data),
                9 => return data.len() / 2,
                10 => return 0,
                11 => {
                    let refused = conn.need(data.len() + 10).is_err();
                    self.say(format_args!("need refused: {refused}"));
                    return 0;
                }
                12 => conn.pause(),
                13 => conn.set_timer(Duration::ZERO),
                14 => conn.set_timer(Duration::from_secs(5)),
                15 => {
                    let limits = Limits { idle_timeout: Some(Duration::from_secs(7)), ..Limits::default() };
                    conn.set_limits(Arc::new(limits)).expect("limits that fit");
                }
                16 => {
                    let written = conn.write(&[step; 400_000]).is_ok();
                    self.say(format_args!("written: {written}"));
                }
                17 => conn.close(),
                18 => conn.finish(),
                19 => conn.abort(),
                20 => return data.len() + 1,
                21 => {
                    let written = other.and_then(|id| conn.other(id)).map(|mut other| {
                        other.pause();
                        other.write(&data[..data.len().min(100)]).is_ok()
                    });
                    self.say(format_args!("to the other: {written:?}"));
                }
                22 => {
                    if let Some(mut other) = other.and_then(|id| conn.other(id)) {
                        other.resume();
                    }
                    let sent = conn.remote().send(conn.id(), Bytes::from_static(b"remote")).is_ok();
                    self.say(format_args!("remote: {sent}"));
                }
                23 => {
                    let relayed = other.map(|id| conn.relay(id).map_err(|error| error.to_string()));
                    self.say(format_args!("relayed: {relayed:?}"));
                    return data.len() / 3;
                }
                24 => {
                    let next = Planned {
                        name: self.name,
                        plan: self.plan.clone(),
                        shown: self.shown.clone(),
                        ids: self.ids.clone(),
                        log: self.log.clone(),
                    };
                    let set = conn.set_handler(next).map_err(|error| error.to_string());
                    self.say(format_args!("another handler: {set:?}"));
                    return data.len().min(usize::from(self.plan[0]));
                }
                _ => {
                    let log = self.log.clone();
                    conn.detach(move |link, _| {
                        let (unread, unsent) = (link.unread().len(), link.unsent_bytes());
                        log.borrow_mut().push(format!("left with {unread} and {unsent}"));
                    });
                }
            }
            data.len()
        }

        fn on_writable(&mut self, conn: &mut Conn<'_>) {
            self.say(format_args!("writable, {}", conn.unsent_bytes()));
        }

        fn on_timer(&mut self, conn: &mut Conn<'_>) {
            self.say("timer");
            conn.resume();
        }

        fn on_hangup(&mut self, conn: &mut Conn<'_>) {
            self.say("hangup");
            conn.resume();
        }

        fn on_end(&mut self, conn: &mut Conn<'_>, rest: &[u8]) {
            self.say(format_args!("end, {}", rest.len()));
            conn.close();
        }

        fn on_close(&mut self, conn: &mut Conn<'_>, reason: Reason) {
            self.say(format_args!("closed: {reason:?}, {} in, {} out", conn.bytes_in(), conn.bytes_out()));
        }
    }

    /// The other end of a connection.
    trait Far {
        /// Goes on with what comes before the first byte; whether that is done.
        fn begins(&mut self) -> bool {
            true
        }

        fn exchange(&mut self, step: u8) -> String;
    }

    /// Writes, reads what there is, or ends; says what came of it.
    fn exchange<S: Read + Write>(stream: &mut S, step: u8, shut: impl Fn(&mut S, Shutdown)) -> String {
        match step % 16 {
            0..=5 => format!("{:?}", stream.write(&[step; 64]).map_err(|error| error.kind())),
            6 => format!("{:?}", stream.write(&[step; 1]).map_err(|error| error.kind())),
            7 => format!("{:?}", stream.write(&[step; 10_000]).map_err(|error| error.kind())),
            8 => format!("{:?}", stream.write(&[step; 100_000]).map_err(|error| error.kind())),
            9..=13 => {
                let (mut buffer, mut read) = (vec![0; 65_536], 0);
                loop {
                    match stream.read(&mut buffer) {
                        Ok(0) => break format!("{read} and an end"),
                        Ok(count) => read += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break format!("{read}"),
                        Err(error) => break format!("{read} and {:?}", error.kind()),
                    }
                }
            }
            14 => {
                shut(stream, Shutdown::Write);
                "ended".to_owned()
            }
            _ => "nothing".to_owned(),
        }
    }

    impl Far for UnixStream {
        fn exchange(&mut self, step: u8) -> String {
            exchange(self, step, |stream, how| drop(stream.shutdown(how)))
        }
    }

    impl Far for TcpStream {
        fn exchange(&mut self, step: u8) -> String {
            exchange(self, step, |stream, how| drop(stream.shutdown(how)))
        }
    }

    #[cfg(feature = "tls")]
    impl Far for StreamOwned<ClientConnection, UnixStream> {
        fn begins(&mut self) -> bool {
            let _ = self.conn.complete_io(&mut self.sock);
            !self.conn.is_handshaking() && !self.conn.wants_write()
        }

        fn exchange(&mut self, step: u8) -> String {
            if step == 255 {
                self.conn.refresh_traffic_keys().expect("TLS 1.3");
            }
            exchange(self, step, |stream, _| {
                stream.conn.send_close_notify();
                let _ = stream.conn.write_tls(&mut stream.sock);
            })
        }
    }

    type Pair = fn() -> (Link, Box<dyn Far>);

    fn link(socket: impl Into<OwnedFd>) -> Link {
        Link::new(socket, Limits::default()).expect("a link")
    }

    fn unix() -> (Link, Box<dyn Far>) {
        let (near, far) = UnixStream::pair().expect("a pair");
        far.set_nonblocking(true).expect("O_NONBLOCK");
        (link(near), Box::new(far))
    }

    #[cfg(feature = "tls")]
    fn tls() -> (Link, Box<dyn Far>) {
        thread_local! {
            // What is compared counts bytes: signatures of one length, and no handshake shorter than the one before.
            static WORLD: session_tests::World = session_tests::world_of(&PKCS_ED25519, &TLS13, |_, client| {
                client.resumption = rustls::client::Resumption::disabled();
            });
        }
        WORLD.with(|world| {
            let (near, far) = UnixStream::pair().expect("a pair");
            far.set_nonblocking(true).expect("O_NONBLOCK");
            let name = "localhost".try_into().expect("a name");
            let client = ClientConnection::new(world.client.config(), name).expect("a client");
            let near = link(near).with_tls_server(&world.server).expect("a configuration that works");
            (near, Box::new(StreamOwned::new(client, far)) as Box<dyn Far>)
        })
    }

    fn tcp() -> (Link, Box<dyn Far>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connect");
        far.set_nonblocking(true).expect("O_NONBLOCK");
        far.set_nodelay(true).expect("TCP_NODELAY");
        (link(listener.accept().expect("a connection").0), Box::new(far))
    }

    /// Runs all of a script; of the reactor's counters those that tell what was done are in the log's last line.
    fn run(pair: Pair, plan: &Rc<Vec<u8>>, steps: &[(bool, u8)]) -> Vec<String> {
        let mut reactor = Reactor::new(ReactorConfig::default()).expect("a reactor");
        let (log, shown, ids) = (Log::default(), Rc::new(Cell::new(0)), Rc::new(Cell::new([None; 2])));
        let mut peers: Vec<Box<dyn Far>> = Vec::new();
        for name in 0..2 {
            let (link, far) = pair();
            peers.push(far);
            let handler =
                Planned { name, plan: plan.clone(), shown: shown.clone(), ids: ids.clone(), log: log.clone() };
            reactor.context().adopt(link, handler).unwrap_or_else(|_| panic!("adopted"));
        }
        while !peers.iter_mut().all(|peer| peer.begins()) {
            settle(&mut reactor);
        }
        settle(&mut reactor);
        for (which, step) in steps {
            let said = peers[usize::from(*which)].exchange(*step);
            log.borrow_mut().push(format!("peer {which} {step}: {said}"));
            settle(&mut reactor);
            assert!(reactor.arms_every_deadline(), "step {which} {step}");
        }
        let done = reactor.snapshot();
        let counted = (done.drives, done.bytes_in, done.bytes_out, done.panics, done.undelivered, done.commands);
        log.borrow_mut().push(format!("{counted:?}"));
        log.take()
    }

    /// Turns until all that is there was served, timers that are due at once too.
    fn settle(reactor: &mut Reactor) {
        let mut quiet_turns = 0;
        while quiet_turns < 6 {
            reactor.poll_once(Some(Duration::ZERO)).expect("a turn");
            let is_due = reactor.next_timer().is_some_and(|wait| wait < Duration::from_secs(1));
            quiet_turns = if is_due { 0 } else { quiet_turns + 1 };
        }
    }

    fn compare(pair: Pair, plan: Vec<u8>, steps: &[(bool, u8)]) {
        let plan = Rc::new(plan);
        LONG_ONLY.set(true);
        let long = run(pair, &plan, steps);
        LONG_ONLY.set(false);
        let short = run(pair, &plan, steps);
        assert_eq!(short, long);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn both_ways_do_the_same(
            plan in prop::collection::vec(any::<u8>(), 1..12),
            steps in prop::collection::vec((any::<bool>(), any::<u8>()), 1..40),
        ) {
            compare(unix, plan, &steps);
        }
    }

    #[cfg(feature = "tls")]
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn both_ways_do_the_same_with_tls(
            plan in prop::collection::vec(any::<u8>(), 1..12),
            steps in prop::collection::vec((any::<bool>(), any::<u8>()), 1..40),
        ) {
            compare(tls, plan, &steps);
        }
    }

    #[test]
    fn the_short_way_is_gone_by_every_message_of_an_echo() {
        let pairs: &[Pair] = &[
            unix,
            tcp,
            #[cfg(feature = "tls")]
            tls,
        ];
        for &pair in pairs {
            let steps: Vec<(bool, u8)> = (0..40).map(|n| (n % 4 < 2, if n % 2 == 0 { 0 } else { 9 })).collect();
            let before = PASSES.get();
            compare(pair, vec![0], &steps);
            assert_eq!(PASSES.get() - before, 20, "all of the short run and none of the long one");
        }
    }
}
