//! Which limit holds where: the table of guide/settings.md, and the places of it that no other test has, a link that another reactor has
//! adopted and a connector's.

use crate::placement::config;
use crate::support::blocking::{Client, Rig, Tale, engine};
use crate::support::{Hooks, Kind, at_once, dialling};
use std::fmt::Debug;
use std::time::{Duration, Instant};
use windlass::{
    BlockingConfig, Conn, ConnectConfig, Connector, Engine, EngineConfig, Expiry, Limits, ListenConfig, ReactorConfig,
    Reason,
};

// --- connections that others than their listener's reactor have ------------------------------------------------------

/// Where the connection under test is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// On the second reactor, where the first one has sent it.
    Adopted,
    /// A connector's.
    Dialled,
}

/// What its peer does, which never reads.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    Waits,
    Sends,
}

/// What the connection under test does.
#[derive(Clone, Copy, Debug)]
enum Does {
    Waits,
    /// Uses nothing of what comes.
    Leaves,
    Floods,
    Closes,
}

/// Why it ended, when, and how much it could write at once.
#[derive(Clone, Copy, Debug)]
struct End {
    reason: Reason,
    after: Duration,
    room: usize,
}

fn handler(does: Does, ends: Tale<End>) -> Hooks {
    let begun = Instant::now();
    let room = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = room.clone();
    let open = move |conn: &mut Conn<'_>| {
        seen.set(conn.room());
        match does {
            Does::Waits | Does::Leaves => {}
            Does::Floods => while conn.write_some(&[7; 64 * 1024]) > 0 {},
            Does::Closes => conn.close(),
        }
    };
    let data = move |_: &mut Conn<'_>, data: &[u8]| if let Does::Leaves = does { 0 } else { data.len() };
    let close = move |_: &mut Conn<'_>, reason| ends.tell(End { reason, after: begun.elapsed(), room: room.get() });
    // What the kernel takes later is followed by more.
    let writable = move |conn: &mut Conn<'_>| while conn.write_some(&[7; 64 * 1024]) > 0 {};
    Hooks::new().open(open).data(data).writable(writable).close(close)
}

/// How a connection with such limits ends there.
fn end_of(kind: Kind, way: Way, limits: &Limits, does: Does, other: Other) -> End {
    let (rig, ends) = (Rig::new(), Tale::default());
    let engine = Engine::start(engine(2)).expect("an engine");
    let second = engine.remotes()[1].clone();
    let told = ends.clone();
    match way {
        Way::Adopted => {
            let listen = ListenConfig { limits: limits.clone(), ..config(kind) };
            let leaving = move || {
                let (second, told) = (second.clone(), told.clone());
                move |_: &Conn<'_>| {
                    let (second, told) = (second.clone(), told.clone());
                    Hooks::new().open(move |conn| {
                        let (second, told) = (second.clone(), told.clone());
                        conn.detach(move |link, _| second.adopt(link, move |_| handler(does, told)).expect("taken"));
                    })
                }
            };
            let listening = engine.listen(&rig.address(kind), listen, leaving).expect("it listens");
            let mut client = Client::dial(listening.address());
            if other == Other::Sends {
                client.send(&[7; 100_000]);
            }
            ends.until_count("its end", 1)[0]
        }
        Way::Dialled => {
            let peer = move |_: &Conn<'_>| {
                Hooks::new().open(move |conn| {
                    conn.pause();
                    if other == Other::Sends {
                        conn.write(&[7; 100_000]).expect("room");
                    }
                })
            };
            let listening = engine.listen(&rig.address(kind), config(kind), move || peer).expect("it listens");
            let connect = ConnectConfig { limits: limits.clone(), ..ConnectConfig::default() };
            let connect = dialling(listening.address(), connect);
            let builder = Connector::builder(listening.address().clone()).connect_config(connect);
            let connector = builder.start(&second, move |_: &Conn<'_>| handler(does, told.clone())).expect("it starts");
            let end = ends.until_count("its end", 1)[0];
            connector.stop();
            end
        }
    }
}

#[test]
fn limits_of_a_connection_hold_for_one_that_moved_and_for_a_connectors() {
    let soon = Duration::from_millis(150);
    let usual = Limits::default();
    let ends = Reason::Timeout;
    let small = Limits {
        inbox_bytes_max: 32 * 1024,
        outbox_bytes_high: 32 * 1024,
        outbox_bytes_low: 0,
        outbox_bytes_max: 128 * 1024,
        linger_timeout: soon,
        ..usual.clone()
    };
    let cases: [(Limits, Does, Other, &[Reason]); 6] = [
        (Limits { idle_timeout: Some(soon), ..usual.clone() }, Does::Waits, Other::Waits, &[ends(Expiry::Idle)]),
        (
            Limits { lifetime: Some(soon), linger_timeout: soon, ..usual.clone() },
            Does::Waits,
            Other::Waits,
            &[ends(Expiry::Lifetime)],
        ),
        (
            Limits { write_stall_timeout: soon, ..small.clone() },
            Does::Floods,
            Other::Waits,
            &[ends(Expiry::WriteStall)],
        ),
        (small, Does::Leaves, Other::Sends, &[Reason::InboxLimit]),
        (Limits { linger_timeout: soon, ..usual.clone() }, Does::Closes, Other::Waits, &[ends(Expiry::Linger)]),
        (Limits { linger_total: soon, ..usual }, Does::Closes, Other::Waits, &[ends(Expiry::Linger)]),
    ];
    at_once(Kind::ALL, |kind| {
        for way in [Way::Adopted, Way::Dialled] {
            for (limits, does, other, reasons) in &cases {
                let end = end_of(kind, way, limits, *does, *other);
                assert!(reasons.contains(&end.reason), "{way:?}, {does:?}: {end:?}");
                // What lingers does so for 2 s by default.
                assert!(end.after < Duration::from_millis(1900), "{way:?}, {does:?}: {end:?}");
                assert!(end.room <= limits.outbox_bytes_max, "{way:?}, {does:?}: {end:?}");
            }
        }
    });
}

// --- the table ------------------------------------------------------------------------------------------------------

const PLACES: [&str; 6] =
    ["handler on a reactor", "blocking handler", "`BlockingLink`", "`Client`", "`Connector`", "adopted elsewhere"];

/// What becomes of a limit in one place.
#[derive(Clone, Copy, PartialEq)]
enum Cell {
    /// Shown by this test, there.
    Holds(&'static str, &'static str),
    /// By the code that drives a listener's connections, too, of which this test shows it.
    Alike(&'static str, &'static str),
    /// And its documentation says so.
    NoEffect,
    Refused(&'static str, &'static str),
    /// There is nothing that it could be about.
    Nothing,
}

use Cell::{Alike, Holds, NoEffect, Nothing, Refused};

/// Of one struct: each limit, and its cells.
type Rows = &'static [(&'static str, [Cell; 6])];

/// A test, as it is cited.
type Shown = (&'static str, &'static str);

const HERE: Shown = ("engine/limits.rs", "limits_of_a_connection_hold_for_one_that_moved_and_for_a_connectors");
const WAITING: Shown = ("faces.rs", "each_limit_is_served_refused_or_documented_where_threads_wait");
const ROOM: Shown = ("faces.rs", "as_much_output_waits_for_a_blocking_peer_as_was_said");
const IDLE: Shown = ("server/deadlines.rs", "an_idle_connection_ends_wherever_it_is_served");
const LIFETIME: Shown = ("server/deadlines.rs", "a_lifetime_is_over_wherever_a_connection_is_served");
const STALL: Shown = ("server/deadlines.rs", "a_peer_that_takes_nothing_is_reset_wherever_it_is_served");
const OF_CLIENTS: Shown = ("client/timeouts.rs", "limits_in_time_hold_for_clients");
const CONNECTS: Shown = ("client/timeouts.rs", "connects_lookups_and_handshakes_that_are_late_are_timeouts");
const ATTEMPT: Shown = ("connector.rs", "an_attempt_ends_at_its_timeout_and_says_so");
const DIAL: Shown = ("connecting.rs", "a_connect_that_nobody_answers_times_out");
const HANDSHAKE: Shown = ("tls/handshakes.rs", "a_peer_that_is_silent_or_slow_is_closed_at_the_handshakes_deadline");
const WRITES: Shown = ("streams/output.rs", "a_write_is_taken_whole_or_refused_whole");
const MARKS: Shown = ("streams/output.rs", "a_slow_reader_is_not_read_above_the_high_mark_and_again_below_the_low_one");
const LINGER: Shown = ("streams/timeouts.rs", "a_peer_that_never_ends_is_left_after_the_linger_timeout");
const LINGERS: Shown = ("streams/timeouts.rs", "a_peer_that_sends_for_ever_is_left_after_the_whole_linger");
const ANY: Shown = ("extremes.rs", "each_limit_of_a_connection_is_refused_or_served");
const OF_LISTENER: Shown = ("extremes.rs", "each_number_of_a_listener_is_refused_or_served");
const PACE: Shown = ("server/limits.rs", "what_waits_when_a_drain_begins_is_served_at_whatever_pace");
const STARVED: Shown = ("streams/listening.rs", "want_of_descriptors_pauses_accepting_and_loses_nobody");
const ADDRESS: Shown = ("server/limits.rs", "the_limit_of_one_address_holds_over_all_reactors_and_for_it_alone");
const REACTOR: Shown = ("server/limits.rs", "the_limit_of_a_reactor_holds_whoever_serves");
const ENGINE: Shown = ("server/limits.rs", "the_limit_of_all_addresses_together_holds_over_all_reactors");
const FULL: Shown = ("streams/listening.rs", "a_full_reactor_pauses_its_listeners_and_refuses_to_connect");
const BOUND: Shown =
    ("streams/overload.rs", "clients_that_never_read_fill_no_more_than_the_bound_and_others_are_served");
const MOVED: Shown = ("streams/overload.rs", "what_waits_in_a_link_counts_where_it_is");
const MAILBOX: Shown = ("reactor.rs", "a_full_mailbox_gives_everything_back_and_a_stop_still_passes");
const MAIL_BYTES: Shown = ("reactor.rs", "a_mailbox_holds_so_many_bytes_and_one_send_of_any_length");
const COMMANDS: Shown = ("reactor.rs", "a_flood_of_commands_does_not_keep_connections_waiting");
const EVENTS: Shown = ("reactor.rs", "a_limit_of_one_event_a_turn_serves_fifty_connections");
const SLOW: Shown = ("observing.rs", "a_callback_that_holds_the_loop_is_counted_and_warned_of_by_its_name");
const SHAKING: Shown =
    ("tls/handshakes.rs", "a_listener_pauses_at_the_limit_of_handshakes_and_goes_on_when_one_is_done_or_fails");
const BURST: Shown = ("tls/handshakes.rs", "a_burst_of_hellos_leaves_turns_short_for_those_who_are_established");
const WORKERS: Shown = ("server/blocking.rs", "more_than_threads_wait_their_turn_and_more_than_may_wait_are_refused");
const STACKS: Shown =
    ("server/blocking.rs", "a_system_that_has_no_more_threads_is_told_once_and_whoever_waits_is_served_in_turn");
const WORK_TIME: Shown =
    ("client/timeouts.rs", "a_blocking_handler_that_waited_in_vain_is_told_as_a_timeout_and_one_that_was_reset_is_not");

const fn holds(shown: Shown) -> Cell {
    Holds(shown.0, shown.1)
}

const fn alike(shown: Shown) -> Cell {
    Alike(shown.0, shown.1)
}

const fn refused(shown: Shown) -> Cell {
    Refused(shown.0, shown.1)
}

/// In the order of [`PLACES`].
const OF_LIMITS: Rows = &[
    ("inbox_bytes_max", [alike(HERE), alike(WAITING), holds(WAITING), holds(WAITING), holds(HERE), holds(HERE)]),
    ("outbox_bytes_max", [holds(WRITES), alike(ROOM), alike(ROOM), holds(ROOM), holds(HERE), holds(HERE)]),
    ("outbox_bytes_high", [holds(MARKS), NoEffect, NoEffect, NoEffect, alike(MARKS), alike(MARKS)]),
    ("outbox_bytes_low", [holds(MARKS), NoEffect, NoEffect, NoEffect, alike(MARKS), alike(MARKS)]),
    ("connect_timeout", [holds(DIAL), Nothing, NoEffect, holds(CONNECTS), holds(ATTEMPT), Nothing]),
    (
        "handshake_timeout",
        [holds(HANDSHAKE), alike(HANDSHAKE), alike(CONNECTS), holds(CONNECTS), alike(HANDSHAKE), alike(HANDSHAKE)],
    ),
    ("write_stall_timeout", [holds(STALL), holds(STALL), holds(STALL), holds(OF_CLIENTS), holds(HERE), holds(HERE)]),
    ("idle_timeout", [holds(IDLE), holds(IDLE), holds(IDLE), holds(OF_CLIENTS), holds(HERE), holds(HERE)]),
    ("lifetime", [holds(LIFETIME), holds(LIFETIME), holds(LIFETIME), holds(OF_CLIENTS), holds(HERE), holds(HERE)]),
    ("linger_timeout", [holds(LINGER), NoEffect, NoEffect, refused(WAITING), holds(HERE), holds(HERE)]),
    ("linger_total", [holds(LINGERS), NoEffect, NoEffect, refused(WAITING), holds(HERE), holds(HERE)]),
    ("bytes_per_turn", [holds(ANY), NoEffect, NoEffect, refused(WAITING), alike(ANY), alike(ANY)]),
    ("reads_per_turn", [holds(ANY), NoEffect, NoEffect, refused(WAITING), alike(ANY), alike(ANY)]),
];

/// What a listener bounds it bounds of what it accepts.
const OF_LISTENERS: Rows = &[
    ("backlog", [holds(OF_LISTENER), alike(OF_LISTENER), Nothing, Nothing, Nothing, Nothing]),
    ("accepts_per_turn", [holds(OF_LISTENER), alike(OF_LISTENER), Nothing, Nothing, Nothing, Nothing]),
    ("accepts_per_second", [holds(PACE), alike(PACE), Nothing, Nothing, Nothing, Nothing]),
    ("connections_max", [holds(ADDRESS), holds(ADDRESS), NoEffect, Nothing, Nothing, NoEffect]),
    ("starved_pause", [holds(STARVED), alike(STARVED), Nothing, Nothing, Nothing, Nothing]),
];

/// Of a link that was adopted elsewhere it is the new reactor's that counts.
const OF_REACTORS: Rows = &[
    ("events_per_turn", [holds(EVENTS), Nothing, Nothing, Nothing, alike(EVENTS), alike(EVENTS)]),
    ("mailbox_commands_max", [holds(MAILBOX), Nothing, Nothing, Nothing, alike(MAILBOX), alike(MAILBOX)]),
    ("mailbox_bytes_max", [holds(MAIL_BYTES), Nothing, Nothing, Nothing, alike(MAIL_BYTES), alike(MAIL_BYTES)]),
    ("commands_per_turn", [holds(COMMANDS), Nothing, Nothing, Nothing, alike(COMMANDS), alike(COMMANDS)]),
    ("connections_max", [holds(REACTOR), holds(REACTOR), NoEffect, Nothing, alike(FULL), alike(FULL)]),
    ("queued_bytes_max", [holds(BOUND), NoEffect, NoEffect, NoEffect, alike(BOUND), holds(MOVED)]),
    ("handshakes_max", [holds(SHAKING), alike(SHAKING), Nothing, Nothing, NoEffect, NoEffect]),
    ("slow_callback", [holds(SLOW), Nothing, Nothing, Nothing, alike(SLOW), alike(SLOW)]),
    ("handshake_budget", [holds(BURST), alike(BURST), Nothing, Nothing, alike(BURST), alike(BURST)]),
];

const OF_ENGINES: Rows = &[
    ("connections_max", [holds(ENGINE), holds(ENGINE), NoEffect, Nothing, NoEffect, NoEffect]),
    ("queued_bytes_max", [alike(BOUND), NoEffect, NoEffect, NoEffect, alike(BOUND), alike(MOVED)]),
];

const OF_THREADS: Rows = &[
    ("threads_max", [Nothing, holds(WORKERS), Nothing, Nothing, Nothing, Nothing]),
    ("waiting_max", [Nothing, holds(WORKERS), Nothing, Nothing, Nothing, Nothing]),
    ("stack_bytes", [Nothing, holds(STACKS), Nothing, Nothing, Nothing, Nothing]),
    ("timeout", [Nothing, holds(WORK_TIME), Nothing, Nothing, Nothing, Nothing]),
];

/// The names of a struct's fields, as its `Debug` tells them.
fn fields(value: &impl Debug) -> Vec<String> {
    let text = format!("{value:#?}");
    let own = text.lines().filter_map(|line| line.strip_prefix("    "));
    let named = own.filter(|line| !line.starts_with([' ', '}', ']', ')'])).filter_map(|line| line.split_once(": "));
    named.map(|(name, _)| name.to_owned()).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).expect(path)
}

/// The lines of the table for these rows; each cell's test is there.
fn lines(of: &str, rows: Rows) -> Vec<String> {
    let line = |(name, cells): &(&str, [Cell; 6])| {
        let told = cells.iter().map(|cell| match cell {
            Holds(file, test) | Alike(file, test) | Refused(file, test) => {
                let defined = format!("fn {test}()");
                assert!(read(&format!("tests/{file}")).contains(&defined), "{of}::{name}: no {defined} in {file}");
                if let Refused(..) = cell { "refused" } else { "holds" }
            }
            NoEffect => "no effect",
            Nothing => "–",
        });
        format!("| `{of}::{name}` | {} |", told.collect::<Vec<_>>().join(" | "))
    };
    rows.iter().map(line).collect()
}

#[test]
fn the_table_of_limits_is_that_of_the_guide_and_each_limit_has_a_row_and_its_tests() {
    // What is no limit.
    let of_listeners = ["limits", "socket", "stack", "reuse", "unix_mode", "unix_group", "prepare_accepted", "tls"];
    let of_engines = ["reactors", "name", "pinning", "placement", "reactor"];
    let structs: [(&str, Rows, Vec<String>, &[&str]); 5] = [
        ("Limits", OF_LIMITS, fields(&Limits::default()), &[]),
        ("ListenConfig", OF_LISTENERS, fields(&ListenConfig::default()), &of_listeners),
        ("ReactorConfig", OF_REACTORS, fields(&ReactorConfig::default()), &["handshake_threads"]),
        ("EngineConfig", OF_ENGINES, fields(&EngineConfig::default()), &of_engines),
        ("BlockingConfig", OF_THREADS, fields(&BlockingConfig::default()), &[]),
    ];
    let mut table = vec![format!("| limit | {} |", PLACES.join(" | ")), format!("|{}", "---|".repeat(7))];
    for (of, rows, fields, others) in structs {
        let limits: Vec<_> = fields.iter().map(String::as_str).filter(|field| !others.contains(field)).collect();
        let listed: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(limits, listed, "the fields of {of}: one without a row");
        table.extend(lines(of, rows));
    }
    let page = read("guide/settings.md");
    let (_, section) = page.split_once("# Which limit holds where\n").expect("the section");
    let told: Vec<_> =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).collect();
    assert!(told == table, "the page should say:\n{}", table.join("\n"));
}
