//! Every stream scenario, and the echo program, under dice.

use crate::rig::{self, Rig, each, end, rig, typed};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Rates per mille, in the shim's order: short, interrupt, again, accept, starve, connect, shuffle, repeat, idle, hold, wake.
const PROFILES: [[u32; 11]; 8] = [
    [100, 20, 30, 30, 0, 100, 300, 50, 5, 50, 100],
    [400, 0, 0, 0, 0, 0, 500, 0, 0, 0, 0],
    [0, 150, 0, 200, 0, 300, 0, 0, 0, 0, 0],
    [0, 0, 250, 0, 0, 0, 500, 0, 0, 0, 500],
    [0, 0, 0, 0, 0, 0, 700, 200, 30, 0, 0],
    [0, 0, 0, 50, 0, 0, 200, 0, 0, 300, 300],
    [300, 50, 100, 100, 0, 300, 500, 200, 20, 200, 300],
    [50, 5, 10, 10, 0, 50, 100, 20, 2, 20, 50],
];

/// Where in a profile the rate of `starve` is: it costs a tenth of a second each time, which scenarios do not wait for.
const STARVE: usize = 4;

/// Scenarios that do not hold under the shim, and why that says nothing of the library.
const UNFIT: [(&str, &str); 20] = [
    (
        "bytes::a_reset_by_the_peer_is_told_at_once",
        "it wants its greeting sent before the reset, or a Unix socket has none",
    ),
    ("bytes::callbacks_come_in_their_order", "it wants its bytes in one piece"),
    (
        "copies::the_peer_hears_of_an_idle_end_though_somebody_has_a_copy_of_the_socket",
        "an idle end says close_notify once, and the shim may cut that short",
    ),
    (
        "copies::the_peer_hears_of_a_dropped_reactor_though_somebody_has_a_copy_of_the_socket",
        "a dropped reactor says close_notify once, and the shim may cut that short",
    ),
    (
        "copies::the_peer_hears_that_its_answer_is_lost_though_somebody_has_a_copy_of_the_socket",
        "output that the shim held up goes on, so that nothing stalls",
    ),
    (
        "input::a_handler_that_leaves_too_much_loses_its_connection",
        "it wants two peers accepted in the order they came",
    ),
    ("input::a_paused_connection_is_shown_nothing_until_it_is_resumed", "it wants its bytes in one piece"),
    ("input::to_use_more_than_was_shown_is_a_panic_of_the_handler", "it wants its bytes in one piece"),
    ("input::what_is_left_is_shown_again_at_once_and_what_is_not_used_with_more", "it wants its bytes in one piece"),
    (
        "listening::a_full_listener_pauses_and_resumes_when_a_connection_ends",
        "it counts pauses; held-up accepts make more",
    ),
    ("listening::a_socket_that_listens_already_is_taken_over", "it wants an answer within five turns"),
    ("listening::all_addresses_are_dual_stack_unless_asked_otherwise", "it wants an answer within five turns"),
    ("listening::each_family_is_reached_at_its_own_address", "it wants an answer within five turns"),
    ("listening::want_of_descriptors_pauses_accepting_and_loses_nobody", "it makes and counts real faults of accept"),
    (
        "output::a_slow_reader_is_not_read_above_the_high_mark_and_again_below_the_low_one",
        "its peer looks stuck when output that the shim held up goes on",
    ),
    (
        "overload::clients_that_never_read_fill_no_more_than_the_bound_and_others_are_served",
        "its peers look stuck while the shim holds their output up",
    ),
    (
        "overload::one_turn_shows_no_more_of_a_connection_than_its_budget",
        "the shim tells an event twice in a turn, and each has its share",
    ),
    (
        "sending_files::one_turn_sends_no_more_of_a_file_than_its_budget",
        "the shim tells an event twice in a turn, and each has its share",
    ),
    (
        "overload::those_that_stand_still_for_the_longest_are_cut_first_and_see_a_reset",
        "its peers look stuck while the shim holds their output up",
    ),
    (
        "overload::who_has_begun_a_message_is_neither_cut_nor_idle_for_want_of_room",
        "its message comes in pieces that the shim holds up for longer than it may be idle",
    ),
];

/// Scenarios that take long, by their timeouts or their bytes: they run with every so many seeds.
const LONG: [&str; 16] = [
    "bytes::a_peer_that_half_closes_gets_its_whole_answer",
    "bytes::a_peer_that_reads_late_holds_no_more_than_the_queues_and_loses_nothing",
    "bytes::very_many_bytes_come_back",
    "client::a_connect_that_nobody_answers_times_out",
    "crowd::a_thousand_peers_are_counted_exactly",
    "crowd::connections_that_come_and_go_at_once_are_all_told",
    "input::a_rest_left_by_a_short_write_is_shown_again_after_on_writable",
    "timeouts::a_busy_peer_does_not_outlive_its_deadline",
    "timeouts::a_byte_in_either_direction_is_life",
    "timeouts::a_lifetime_ends_cleanly_whatever_the_connection_does",
    "timeouts::a_peer_that_goes_on_sending_is_not_left_for_its_silence",
    "timeouts::a_peer_that_never_ends_is_left_after_the_linger_timeout",
    "timeouts::a_peer_that_sends_for_ever_is_left_after_the_whole_linger",
    "timeouts::idle_timeout_closes_only_the_idle_connection_and_on_time",
    "timeouts::one_long_write_that_drains_slowly_is_life",
    "timeouts::output_that_does_not_move_ends_the_connection_with_a_reset",
];

const LONG_EVERY: u64 = 16;

/// One of each profile and no long scenario without `TORTURE_SEEDS`: the whole suite stays under two minutes.
const SEEDS: u64 = 8;

const PATIENCE: Duration = Duration::from_secs(120);

/// Those with the long scenarios come first, so that nobody waits for them at the end.
fn seeds() -> Vec<u64> {
    let mut seeds: Vec<u64> = (1..=rig::seeds_asked().unwrap_or(SEEDS)).collect();
    seeds.sort_by_key(|seed| seed % LONG_EVERY != 0);
    seeds
}

fn under_dice(rig: &Rig, program: &std::path::Path, seed: u64, starve: u32) -> Command {
    let mut rates = PROFILES[seed as usize % PROFILES.len()];
    rates[STARVE] = starve;
    let rates = rates.map(|rate| rate.to_string()).join(",");
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", &rig.shim).env("TORTURE_SEED", seed.to_string()).env("TORTURE_RATES", rates);
    command
}

#[test]
fn stream_scenarios_hold_under_every_seed() {
    let Some(rig) = rig() else { return };
    let list = rig::run(Command::new(&rig.streams).args(["--list"]), PATIENCE).told;
    for name in UNFIT.iter().map(|(name, _)| name).chain(&LONG) {
        assert!(list.contains(&format!("{name}: test\n")), "there is no scenario {name} any more");
    }
    each(&seeds(), 5, |seed| {
        let mut command = under_dice(rig, &rig.streams, *seed, 0);
        command.args(["--test-threads=1", "--exact"]);
        let long = LONG.iter().filter(|_| seed % LONG_EVERY != 0);
        for name in UNFIT.iter().map(|(name, _)| name).chain(long) {
            command.args(["--skip", name]);
        }
        let ran = rig::run(&mut command, PATIENCE);
        if ran.went_well() {
            return Ok(());
        }
        let failed: Vec<&str> = ran.told.lines().filter(|line| line.ends_with("FAILED")).collect();
        Err(format!("seed {seed}: {failed:?}\n  replay: {}\n  {}", typed(&command), ran.last_words()))
    });
}

// --- the echo program ---------------------------------------------------------------------------------------------

#[test]
fn the_echo_program_serves_everybody_and_drains_under_every_seed() {
    let Some(rig) = rig() else { return };
    each(&seeds(), 5, |seed| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("echo");
        let mut command = under_dice(rig, &rig.echo, *seed, 20);
        command.args(["--listen", "tcp://127.0.0.1:0", "--drain", "0.2", "--listen"]);
        command.arg(format!("unix:{}", path.display()));
        let told = |what: String| format!("seed {seed}: {what}\n  replay: {}", typed(&command));
        let mut server = command_of(&command).stdout(Stdio::piped()).spawn().expect("a process");
        let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let port = lines.next().and_then(|line| Some(line.split_once("127.0.0.1:")?.1.to_owned()));
        let ready = port.is_some() && lines.next().is_some();
        let served = match port {
            Some(port) if ready => std::panic::catch_unwind(|| {
                talk(*seed, || stream(TcpStream::connect(format!("127.0.0.1:{port}"))));
                talk(*seed, || stream(UnixStream::connect(&path)));
            }),
            _ => Ok(()),
        };
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&server), rustix::process::Signal::TERM);
        let status = end(&mut server, PATIENCE);
        let rest: Vec<String> = lines.collect();
        if !ready {
            return Err(told(format!("it did not listen: {status:?}")));
        }
        if let Err(panic) = served {
            let why = panic.downcast_ref::<String>().cloned();
            return Err(told(why.unwrap_or_else(|| "a peer was not served".to_owned())));
        }
        let drained = rest.last().is_some_and(|line| line.starts_with("drained: "));
        if !drained || !status.is_some_and(|status| status.success()) || path.exists() {
            return Err(told(format!("SIGTERM did not drain it: {status:?}, {rest:?}")));
        }
        Ok(())
    });
}

/// The same command again; `Command` is not `Clone`.
fn command_of(command: &Command) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args());
    again.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    again
}

/// A blocking stream of either kind, with a deadline.
trait Stream: Read + Write + Send {
    fn patient(self) -> Self;
    fn finish(&self);
    fn twin(&self) -> Self;
}

impl Stream for TcpStream {
    fn patient(self) -> TcpStream {
        self.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        self.set_write_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        self
    }

    fn finish(&self) {
        self.shutdown(Shutdown::Write).expect("a shutdown");
    }

    fn twin(&self) -> TcpStream {
        self.try_clone().expect("a descriptor")
    }
}

impl Stream for UnixStream {
    fn patient(self) -> UnixStream {
        self.set_read_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        self.set_write_timeout(Some(Duration::from_secs(20))).expect("a deadline");
        self
    }

    fn finish(&self) {
        self.shutdown(Shutdown::Write).expect("a shutdown");
    }

    fn twin(&self) -> UnixStream {
        self.try_clone().expect("a descriptor")
    }
}

fn stream<S: Stream>(connected: std::io::Result<S>) -> S {
    connected.unwrap_or_else(|error| panic!("cannot connect: {error}")).patient()
}

/// Peers of all sorts, and one beside them who must never notice.
fn talk<S: Stream>(seed: u64, connect: impl Fn() -> S) {
    let mut bystander = connect();
    let mut ping = |when: &str| {
        let mut answer = [0; 4];
        bystander.write_all(b"ping").unwrap_or_else(|error| panic!("the bystander cannot write {when}: {error}"));
        bystander.read_exact(&mut answer).unwrap_or_else(|error| panic!("the bystander is not served {when}: {error}"));
        assert_eq!(answer, *b"ping", "{when}");
    };
    ping("at first");
    let bytes: Vec<u8> = (0..64_000 + seed as usize * 97 % 200_000).map(|at| (at * 31 / 7) as u8).collect();
    // All of it back, although the peer ends its own side first.
    let mut whole = connect();
    let mut writer = whole.twin();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&bytes).expect("a write");
            writer.finish();
        });
        let mut answer = Vec::new();
        whole.read_to_end(&mut answer).unwrap_or_else(|error| panic!("an echo of {}: {error}", answer.len()));
        assert!(answer == bytes, "{} of {} bytes came back, or others", answer.len(), bytes.len());
    });
    ping("after an echo");
    // Gone without reading: a reset.
    let mut rude = connect();
    rude.write_all(&bytes[..1000]).expect("a write");
    rude.read_exact(&mut [0; 1]).expect("a byte");
    drop(rude);
    // Gone at once.
    drop(connect());
    for size in [1, 2, 100] {
        let mut short = connect();
        short.write_all(&bytes[..size]).expect("a write");
        let mut answer = vec![0; size];
        short.read_exact(&mut answer).unwrap_or_else(|error| panic!("an echo of {size}: {error}"));
        assert!(answer == bytes[..size]);
    }
    ping("at last");
}
