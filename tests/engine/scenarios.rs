//! One table of what streams promise, over engines: every transport, 1, 2 and 4 reactors, every placement, none of the reactors held up
//! or one of them, on which nobody else depends; and over handlers that block.
//!
//! All of a stage's scenarios run at once, on one engine and one listener: the first byte that a client sends names its scenario.

use crate::placement::{config, hold};
use crate::support::blocking::{Client, Rig, Tale, connect, engine, until};
use crate::support::{Kind, PATIENCE, at_once};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use windlass::{
    BlockingConfig, Conn, Counters, Engine, EngineConfig, Handler, Limits, ListenConfig, Placement, Reader, Reason,
    Remote, Writer,
};

/// What a client asks for by its first byte.
const ECHO: u8 = b'e';
const ECHO_AND_RESET: u8 = b'r';
const ECHO_THROUGH_A_DRAIN: u8 = b'd';
const ANSWER_AT_THE_END: u8 = b'h';
const END_FIRST: u8 = b'f';
const ANSWER: u8 = b'b';
const FLOOD: u8 = b'n';
const ABORT: u8 = b'a';
const PANIC: u8 = b'p';
const TRAVEL: u8 = b't';
const SEND_A_FILE: u8 = b'F';

/// What a server says first, so that a client knows that it is served.
const GREETING: &[u8] = b"!";

const OUTBOX: usize = 96 * 1024;
const IDLE: usize = 6;
const MIDWAY: usize = 3;

/// What all connections of a stage have in common.
#[derive(Clone)]
struct Props {
    answer: Arc<[u8]>,
    file: Arc<File>,
    /// What was asked for, why it ended, and how many bytes had come by then.
    ends: Tale<(u8, Option<Reason>, usize)>,
    full: Tale<()>,
    remotes: Arc<OnceLock<Vec<Remote>>>,
    held: Option<usize>,
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at * 31) ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

impl Props {
    fn new(rig: &Rig, kind: Kind, held: Option<usize>) -> Props {
        let answer: Arc<[u8]> = pattern(if kind.is_tls() { 300_000 } else { 1 << 20 }).into();
        let path = rig.path();
        std::fs::write(&path, &answer).expect("a file");
        let file = Arc::new(File::open(path).expect("the file"));
        Props { answer, file, ends: Tale::default(), full: Tale::default(), remotes: Arc::default(), held }
    }

    fn until_over(&self, asked: u8) -> (Option<Reason>, usize) {
        let told = self.ends.until(&format!("the end of {:?}", char::from(asked)), |told| {
            told.iter().any(|(other, ..)| *other == asked)
        });
        let of = told.into_iter().find(|(other, ..)| *other == asked).expect("just seen");
        (of.1, of.2)
    }
}

/// Serves whatever is asked for.
struct Actor {
    props: Props,
    asked: Option<u8>,
    came: usize,
    /// How much of the answer was written.
    answered: usize,
}

impl Actor {
    fn new(props: Props) -> Actor {
        Actor { props, asked: None, came: 0, answered: 0 }
    }

    fn answer(&mut self, conn: &mut Conn<'_>) {
        self.answered += conn.write_some(&self.props.answer[self.answered..]);
        if self.answered == self.props.answer.len() {
            conn.close();
        }
    }

    fn begin(&mut self, conn: &mut Conn<'_>) {
        match self.asked {
            Some(END_FIRST) => conn.finish(),
            Some(ANSWER) => self.answer(conn),
            Some(FLOOD) => {
                while conn.write_some(&self.props.answer) == self.props.answer.len() {}
                self.props.full.tell(());
            }
            Some(ABORT) => {
                conn.write(b"this may be lost").expect("room");
                conn.abort();
            }
            Some(PANIC) => panic!("asked for"),
            Some(TRAVEL) => {
                let props = self.props.clone();
                conn.detach(move |link, _| {
                    let remotes = props.remotes.get().expect("they are known");
                    let free = (0..remotes.len()).filter(|number| Some(*number) != props.held);
                    let to = &remotes[free.max().expect("one that goes on")];
                    let next = Actor { asked: Some(ECHO), ..Actor::new(props.clone()) };
                    to.adopt(link, move |_| next).expect("it is taken");
                });
            }
            Some(SEND_A_FILE) => {
                conn.write(b"head").expect("room");
                let len = self.props.answer.len() as u64;
                conn.send_file(self.props.file.clone(), 0..len).expect("room");
                conn.write(b"tail").expect("room");
                conn.close();
            }
            _ => {}
        }
    }
}

impl Handler for Actor {
    fn on_open(&mut self, conn: &mut Conn<'_>) {
        if self.asked.is_none() {
            conn.write(GREETING).expect("room");
        }
    }

    fn on_data(&mut self, conn: &mut Conn<'_>, data: &[u8]) -> usize {
        if self.asked.is_none() {
            self.asked = Some(data[0]);
            self.begin(conn);
            return 1;
        }
        let used = match self.asked {
            Some(ECHO | ECHO_AND_RESET | ECHO_THROUGH_A_DRAIN) => conn.write_some(data),
            _ => data.len(),
        };
        self.came += used;
        used
    }

    fn on_writable(&mut self, conn: &mut Conn<'_>) {
        if let Some(ANSWER | ANSWER_AT_THE_END) = self.asked {
            self.answer(conn);
        }
    }

    fn on_end(&mut self, conn: &mut Conn<'_>, _: &[u8]) {
        match self.asked {
            Some(ANSWER_AT_THE_END) => self.answer(conn),
            _ => conn.close(),
        }
    }

    fn on_drain(&mut self, conn: &mut Conn<'_>) {
        if self.asked != Some(ECHO_THROUGH_A_DRAIN) {
            conn.close();
        }
    }

    fn on_close(&mut self, _: &mut Conn<'_>, reason: Reason) {
        self.props.ends.tell((self.asked.unwrap_or(0), Some(reason), self.came));
    }
}

/// Tells the end of a blocking handler, however it comes.
struct Ends(Props, u8, usize);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.ends.tell((self.1, None, self.2));
    }
}

/// The same by a thread that waits.
fn serve(mut reader: Reader, mut writer: Writer, props: &Props) -> io::Result<()> {
    let (mut asked, mut all) = ([0], Vec::new());
    writer.write_all(GREETING)?;
    if reader.read(&mut asked)? == 0 {
        return Ok(());
    }
    let mut ends = Ends(props.clone(), asked[0], 0);
    match asked[0] {
        END_FIRST => {
            writer.finish()?;
            ends.2 = reader.read_to_end(&mut all)?;
        }
        ANSWER_AT_THE_END => {
            ends.2 = reader.read_to_end(&mut all)?;
            writer.write_all(&props.answer)?;
        }
        ANSWER => writer.write_all(&props.answer)?,
        FLOOD => loop {
            props.full.tell(());
            writer.write_all(&props.answer)?;
        },
        PANIC => panic!("asked for"),
        SEND_A_FILE => {
            writer.write_all(b"head")?;
            let mut file = vec![0; props.answer.len()];
            rustix::io::pread(&*props.file, &mut file, 0)?;
            writer.write_all(&file)?;
            writer.write_all(b"tail")?;
        }
        _ => ends.2 = io::copy(&mut reader, &mut writer)? as usize,
    }
    Ok(())
}

/// Where scenarios run.
struct Stage {
    kind: Kind,
    props: Props,
    address: windlass::Address,
    /// Whether a connection may wait for a reactor that is held up: the kernel does not know of that.
    may_hang: bool,
}

impl Stage {
    /// A client that is served.
    fn dial(&self, asked: u8) -> Client {
        let mut tried = Vec::new();
        loop {
            let socket = connect(&self.address).expect("a place");
            tried.push(Client::begin(socket.into(), &self.address).expect("a hello"));
            let patience = if self.may_hang { Duration::from_millis(5) } else { PATIENCE };
            if let Some(at) = first_served(&tried, patience) {
                let mut client = tried.swap_remove(at);
                assert_eq!(client.read_exact(GREETING.len()), GREETING);
                client.send(&[asked]);
                return client;
            }
            assert!(tried.len() < 500, "nobody is served");
        }
    }
}

/// The first that something has come to.
fn first_served(clients: &[Client], patience: Duration) -> Option<usize> {
    let mut polled: Vec<PollFd<'_>> = clients.iter().map(|client| PollFd::new(client, PollFlags::IN)).collect();
    let patience = Timespec::try_from(patience).expect("a short time");
    poll(&mut polled, Some(&patience)).expect("poll(2)");
    polled.iter().position(|fd| !fd.revents().is_empty())
}

// --- the scenarios ------------------------------------------------------------------------------------------------

fn bytes_come_back_whatever_their_number(stage: &Stage) {
    let mut client = stage.dial(ECHO);
    for bytes in [1, 1000, 70_000, 200_000] {
        client.echoes(&pattern(bytes));
    }
    client.close();
}

fn small_messages_that_are_sent_without_waiting_come_back_in_order(stage: &Stage) {
    let mut client = stage.dial(ECHO);
    let all: Vec<u8> = (0..2000).flat_map(|number| format!("{number:05}").into_bytes()).collect();
    all.chunks(5 * 25).for_each(|some| client.send(some));
    assert_eq!(client.read_exact(all.len()), all);
    client.close();
}

fn a_client_that_ends_first_gets_its_whole_answer(stage: &Stage) {
    let mut client = stage.dial(ANSWER_AT_THE_END);
    client.send(&pattern(50_000));
    client.finish();
    assert!(client.read_to_end().expect("an end in order") == *stage.props.answer);
    assert_eq!(stage.props.until_over(ANSWER_AT_THE_END).1, 50_000);
}

fn a_server_that_ends_first_gets_all_that_is_sent_then(stage: &Stage) {
    let mut client = stage.dial(END_FIRST);
    assert_eq!(client.read_to_end().expect("an end in order"), b"");
    client.send(&pattern(20_000));
    client.finish();
    assert_eq!(stage.props.until_over(END_FIRST).1, 20_000);
}

fn a_reset_in_mid_stream_ends_one_connection(stage: &Stage) {
    let mut client = stage.dial(ECHO_AND_RESET);
    client.send(&pattern(10_000));
    assert_eq!(client.read_exact(5000), pattern(5000));
    client.reset();
    let (reason, _) = stage.props.until_over(ECHO_AND_RESET);
    assert!(stage.kind.is_unix() || reason.is_none_or(|reason| reason == Reason::Reset), "{reason:?}");
}

fn an_answer_larger_than_the_outbox_reaches_a_slow_reader(stage: &Stage) {
    let mut client = stage.dial(ANSWER);
    for piece in stage.props.answer.chunks(3000) {
        assert!(client.read_exact(piece.len()) == piece);
    }
    assert_eq!(client.read_to_end().expect("an end in order"), b"");
}

fn a_peer_that_never_reads_holds_up_nobody(stage: &Stage) {
    let client = stage.dial(FLOOD);
    stage.props.full.until_count("it to be full", 1);
    client.reset();
    stage.props.until_over(FLOOD);
}

fn an_abort_is_seen_as_one(stage: &Stage) {
    let mut client = stage.dial(ABORT);
    let read = client.read_to_end();
    assert!(stage.kind.is_unix() || read.is_err(), "{read:?}");
    assert_eq!(stage.props.until_over(ABORT).0, Some(Reason::Aborted));
}

fn a_panic_ends_one_connection(stage: &Stage) {
    let mut client = stage.dial(PANIC);
    assert_eq!(client.read_to_close(), 0);
    // Else it is waited for, for a while.
    drop(client);
    let (reason, _) = stage.props.until_over(PANIC);
    assert!(reason.is_none_or(|reason| reason == Reason::HandlerPanicked), "{reason:?}");
}

fn a_connection_that_moves_elsewhere_loses_nothing(stage: &Stage) {
    let mut client = stage.dial(TRAVEL);
    client.echoes(&pattern(10_000));
    client.echoes(b"and again");
    client.close();
}

fn a_file_comes_whole_between_what_is_written_around_it(stage: &Stage) {
    let mut client = stage.dial(SEND_A_FILE);
    let all = client.read_to_end().expect("an end in order");
    assert!(all == [b"head", &*stage.props.answer, b"tail"].concat(), "{} bytes", all.len());
}

type Scenario = (&'static str, fn(&Stage));

/// What threads that wait are to do, too.
const OF_BOTH: &[Scenario] = &[
    ("bytes come back", bytes_come_back_whatever_their_number),
    ("pipelined", small_messages_that_are_sent_without_waiting_come_back_in_order),
    ("half-close by the client", a_client_that_ends_first_gets_its_whole_answer),
    ("half-close by the server", a_server_that_ends_first_gets_all_that_is_sent_then),
    ("reset", a_reset_in_mid_stream_ends_one_connection),
    ("slow reader", an_answer_larger_than_the_outbox_reaches_a_slow_reader),
    ("never reads", a_peer_that_never_reads_holds_up_nobody),
    ("panic", a_panic_ends_one_connection),
    ("file", a_file_comes_whole_between_what_is_written_around_it),
];

const OF_REACTORS: &[Scenario] =
    &[("abort", an_abort_is_seen_as_one), ("moved", a_connection_that_moves_elsewhere_loses_nothing)];

/// Runs them all at once, beside connections that are idle, and returns those that wait in mid-stream.
fn play(stage: &Stage, scenarios: &[&[Scenario]], idle: &mut [Client]) -> Vec<Client> {
    std::thread::scope(|scope| {
        for (name, scenario) in scenarios.iter().copied().flatten() {
            let thread = std::thread::Builder::new().name(format!("{name} over {:?}", stage.kind));
            thread.spawn_scoped(scope, move || scenario(stage)).expect("a thread");
        }
    });
    idle.iter_mut().for_each(|client| client.echoes(b"still here"));
    let midway = |_| {
        let mut client = stage.dial(ECHO_THROUGH_A_DRAIN);
        client.send(&pattern(20_000));
        assert_eq!(client.read_exact(5000), pattern(5000));
        client
    };
    (0..MIDWAY).map(midway).collect()
}

/// The rest of what was in mid-stream when a drain began, both ways, and an end in order.
fn finish_midway(clients: Vec<Client>) {
    for mut client in clients {
        client.send(&pattern(20_000));
        let rest = [&pattern(20_000)[5000..], &pattern(20_000)].concat();
        assert!(client.read_exact(rest.len()) == rest);
        client.close();
    }
}

fn sum(counters: &[Counters], count: fn(&Counters) -> u64) -> u64 {
    counters.iter().map(count).sum()
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    reactors: usize,
    placement: Placement,
    /// Whether the last one of the reactors is held up.
    is_held: bool,
}

fn settings() -> Vec<Setting> {
    let mut settings = Vec::new();
    for reactors in [1, 2, 4] {
        for placement in [Placement::Kernel, Placement::LeastConnections, Placement::RoundRobin] {
            for is_held in [false, true] {
                if reactors > 1 || !is_held {
                    settings.push(Setting { reactors, placement, is_held });
                }
            }
        }
    }
    settings
}

impl Setting {
    fn engine(self) -> EngineConfig {
        EngineConfig { placement: self.placement, ..engine(self.reactors) }
    }

    fn held(self) -> Option<usize> {
        self.is_held.then_some(self.reactors - 1)
    }

    /// Whether each reactor has a socket of its own.
    fn is_kernels(self, kind: Kind) -> bool {
        self.placement == Placement::Kernel && !kind.is_unix()
    }

    /// Holds one of them up until what it returns is dropped, if it is to be; connections pass it over then.
    fn hold_up(self, remotes: &[Remote]) -> Option<std::sync::mpsc::Sender<()>> {
        let remote = &remotes[self.held()?];
        let go = hold(remote);
        until("it to be seen as held up", || !remote.health().is_responsive(Duration::from_millis(250)));
        Some(go)
    }
}

fn limited(config: ListenConfig) -> ListenConfig {
    let limits = Limits {
        inbox_bytes_max: OUTBOX / 4,
        outbox_bytes_max: OUTBOX,
        outbox_bytes_high: OUTBOX / 3,
        outbox_bytes_low: OUTBOX / 4,
        ..Limits::default()
    };
    ListenConfig { limits, ..config }
}

fn on_reactors(kind: Kind, setting: Setting) {
    eprintln!("over {kind:?}, {setting:?}");
    let rig = Rig::new();
    let props = Props::new(&rig, kind, setting.held());
    let engine = Engine::start(setting.engine()).expect("an engine");
    props.remotes.set(engine.remotes().to_vec()).expect("once");
    let of_all = props.clone();
    let make = move || {
        let of_all = of_all.clone();
        move |_: &Conn<'_>| Actor::new(of_all.clone())
    };
    let listening = engine.listen(&rig.address(kind), limited(config(kind)), make).expect("it listens");
    let may_hang = setting.is_held && setting.is_kernels(kind);
    let mut stage = Stage { kind, props, address: listening.address().clone(), may_hang };
    let go = setting.hold_up(engine.remotes());
    let mut idle: Vec<Client> = (0..IDLE).map(|_| stage.dial(ECHO)).collect();
    let midway = play(&stage, &[OF_BOTH, OF_REACTORS], &mut idle);
    let loads: Vec<usize> = engine.remotes().iter().map(Remote::connections).collect();
    if !setting.is_kernels(kind) {
        let idles = |load: (usize, &usize)| if Some(load.0) == setting.held() { *load.1 == 0 } else { *load.1 > 0 };
        assert!(loads.iter().enumerate().all(idles), "{loads:?}");
    }
    drop(go);
    until("all others to have left", || engine.connections() == IDLE + MIDWAY);
    // Whoever waited for the one that was held up, and left, may still have to be accepted.
    let counters = || engine.snapshots().expect("counters");
    let is_even = |counters: &[Counters]| {
        sum(counters, |c| c.accepted) + sum(counters, |c| c.adopted)
            == sum(counters, |c| c.opened) + sum(counters, |c| c.failed)
            && sum(counters, |c| c.opened) == sum(counters, |c| c.closed_total()) + (IDLE + MIDWAY) as u64
    };
    until("the counters to add up", || is_even(&counters()));
    let counted = counters();
    assert_eq!((sum(&counted, |c| c.adopted), sum(&counted, |c| c.panics)), (1, 1), "{counted:?}");
    assert_eq!(sum(&counted, |c| c.closed_for(Reason::Detached)), 1);
    assert!(kind.is_tls() || may_hang || sum(&counted, |c| c.failed) == 0);
    let go = setting.hold_up(engine.remotes());
    stage.may_hang = false;
    engine.stop(PATIENCE);
    for mut client in idle {
        assert_eq!(client.read_to_end().expect("an end in order"), b"");
    }
    finish_midway(midway);
    drop(go);
    let report = engine.wait(PATIENCE).expect("a report");
    assert_eq!((report.drained, report.cut, report.unsent_bytes), ((IDLE + MIDWAY) as u64, 0, 0));
    assert_eq!(engine.connections(), 0);
    assert!(engine.join().expect("outside of callbacks").iter().all(Result::is_ok));
    assert!(connect(&stage.address).is_err());
}

fn on_threads(kind: Kind, setting: Setting) {
    eprintln!("over {kind:?}, {setting:?}");
    let rig = Rig::new();
    let props = Props::new(&rig, kind, setting.held());
    let of_all = props.clone();
    let builder = rig.builder(setting.reactors).engine_config(setting.engine()).listen_config(limited(config(kind)));
    let builder =
        builder.blocking_handler(BlockingConfig::default(), move |reader, writer| serve(reader, writer, &of_all));
    let (server, address) = rig.listen(builder, kind);
    let may_hang = setting.is_held && setting.is_kernels(kind);
    let stage = Stage { kind, props, address, may_hang };
    let go = setting.hold_up(&server.remotes());
    let mut idle: Vec<Client> = (0..IDLE).map(|_| stage.dial(ECHO)).collect();
    let midway = play(&stage, &[OF_BOTH], &mut idle);
    drop(go);
    until("all others to have left", || server.open_connections() == IDLE + MIDWAY);
    let counters = || server.snapshots().expect("counters");
    let is_even = |counters: &[Counters]| {
        sum(counters, |c| c.accepted) == sum(counters, |c| c.opened) + sum(counters, |c| c.failed)
            && sum(counters, |c| c.opened) == sum(counters, |c| c.closed_total())
    };
    until("the counters to add up", || is_even(&counters()));
    let panicked = rig.reasons().into_iter().filter(|reason| *reason == Reason::HandlerPanicked).count();
    assert_eq!(panicked, 1, "{:?}", rig.errors.all());
    let go = setting.hold_up(&server.remotes());
    server.stop(PATIENCE);
    finish_midway(midway);
    idle.into_iter().for_each(Client::close);
    drop(go);
    let report = server.wait(PATIENCE).expect("a report");
    assert_eq!((report.drained, report.cut, report.unsent_bytes), ((IDLE + MIDWAY) as u64, 0, 0));
    assert!(server.is_gone() && server.open_connections() == 0);
}

#[test]
fn every_scenario_holds_on_reactors_however_many_wherever_placed_and_whoever_is_held_up() {
    at_once(Kind::ALL, |kind| settings().into_iter().for_each(|setting| on_reactors(kind, setting)));
}

#[test]
fn every_scenario_holds_with_blocking_handlers_however_many_reactors_accept() {
    at_once(Kind::ALL, |kind| settings().into_iter().for_each(|setting| on_threads(kind, setting)));
}

/// The one that accepts for all others.
#[test]
fn connections_of_the_others_go_on_while_the_accepting_reactor_is_held_up() {
    at_once(Kind::ALL, |kind| {
        for placement in [Placement::LeastConnections, Placement::RoundRobin] {
            for reactors in [2, 4] {
                let rig = Rig::new();
                let props = Props::new(&rig, kind, Some(0));
                let engine = Engine::start(EngineConfig { placement, ..engine(reactors) }).expect("an engine");
                let of_all = props.clone();
                let make = move || {
                    let of_all = of_all.clone();
                    move |_: &Conn<'_>| Actor::new(of_all.clone())
                };
                let listening = engine.listen(&rig.address(kind), limited(config(kind)), make).expect("it listens");
                let stage = Stage { kind, props, address: listening.address().clone(), may_hang: false };
                let mut clients: Vec<Client> = (0..3 * reactors).map(|_| stage.dial(ECHO)).collect();
                clients.iter_mut().for_each(|client| client.echoes(b"hello"));
                let own = engine.remotes()[0].connections();
                assert!(own > 0 && own < clients.len());
                let go = hold(&engine.remotes()[0]);
                clients.iter_mut().for_each(|client| client.send(&pattern(1000)));
                // Those of the others; in what order they were placed is not known here.
                let others: Vec<usize> = (0..clients.len() - own).fold(Vec::new(), |mut served, _| {
                    let left: Vec<usize> = (0..clients.len()).filter(|at| !served.contains(at)).collect();
                    let mut polled: Vec<_> = left.iter().map(|at| PollFd::new(&clients[*at], PollFlags::IN)).collect();
                    let patience = Timespec::try_from(PATIENCE).expect("a short time");
                    poll(&mut polled, Some(&patience)).expect("poll(2)");
                    served.push(left[polled.iter().position(|fd| !fd.revents().is_empty()).expect("one is served")]);
                    served
                });
                for at in &others {
                    assert_eq!(clients[*at].read_exact(1000), pattern(1000));
                    clients[*at].echoes(&pattern(30_000));
                }
                drop(go);
                for at in (0..clients.len()).filter(|at| !others.contains(at)) {
                    assert_eq!(clients[at].read_exact(1000), pattern(1000));
                }
                clients.into_iter().for_each(Client::close);
                let report = engine.shutdown(PATIENCE).expect("a report");
                assert_eq!((report.cut, engine.connections()), (0, 0));
            }
        }
    });
}
