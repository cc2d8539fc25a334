//! What a program can check of CONVENTIONS.md and ARCHITECTURE.md.
//!
//! The tables below are the laws, `rules.rs` applies them, `circles.rs` and `page.rs` compare the code with
//! ARCHITECTURE.md, `words.rs` and `examples.rs` read what users read. A finding names file and line. Sources are read as tokens (`source.rs`): comments, strings and code under
//! `#[cfg(test)]` do not count, unless a rule says so.

mod circles;
mod examples;
mod page;
mod rules;
mod source;
mod words;

use rules::*;
use source::{check, files, lists};

/// Who may name whom: a file names its own row and those before it. `folder/*` stands for all files of a folder.
pub(crate) const ROWS: [(&str, &str); 8] = [
    (
        "words",
        "address address/* clock config config/* cores cores/* counters document error error/* framing framing/* id message platform seldom shown shown/* tls tls/*",
    ),
    ("sockets", "net net/*"),
    ("link", "link link/* post post/*"),
    (
        "loop",
        "handler factory conn datagrams command command/* dial dial/* mailbox mailbox/* placement context context/* source source/* reactor reactor/*",
    ),
    ("threads", "engine"),
    ("faces", "blocking blocking/* client client/* connector connector/* server server/* settings settings/*"),
    ("models", "fuzzing"),
    ("pages", "guide"),
];

/// Re-exports, and so stands above all rows.
pub(crate) const ROOT: &str = "lib";

/// Where other crates may be named.
const PLACES: [(&str, &str); 13] = [
    // Loops of others, for examples.
    ("calloop", "nowhere"),
    ("tokio", "nowhere"),
    ("mio", "net net/* mailbox source source/* reactor reactor/*"),
    ("socket2", "net net/*"),
    ("rustix", "net net/* cores/linux"),
    ("nix", "net net/*"),
    ("signal_hook", "server/signals"),
    ("slab", "reactor/table"),
    ("dns_lookup", "address"),
    ("rustls", "tls tls/* link/session link/session/*"),
    ("x509_cert", "tls tls/*"),
    ("serde", "document settings/keys settings/keys/*"),
    ("humantime", "settings/keys/text tls/failure"),
];

/// Who may read the clock (A8).
const CLOCK_READERS: [(&str, &str); 13] = [
    ("seldom", "a line of the log, on paths that are rare"),
    ("net/elsewhere", "the clock of net/coarse, where the system has none of that kind"),
    ("tls/tests", "a measurement, built with the tests only"),
    ("link/session/pace", "a measurement, built with the tests only"),
    ("reactor/core", "the one clock of a reactor"),
    ("server", "a deadline for blocking handlers, which no reactor drives"),
    ("server/workers", "the same"),
    ("blocking", "it has no reactor whose time it could take"),
    ("client", "the same"),
    ("client/carrier", "the same"),
    ("client/dialling", "the same"),
    ("engine", "a deadline for reactors, which are not its own"),
    ("mailbox", "other threads wait there, and have no turn whose time they could take"),
];

/// File, word and reason of each exception from the two tables above. One that is not needed any more is a finding.
const EXCEPTIONS: [(&str, &str, &str); 7] = [
    ("config", "socket2", "the `prepare` hook shows the user the raw socket"),
    ("config/accepted", "socket2", "so does the hook of accepted sockets"),
    ("fuzzing", "rustls", "configurations for sessions that are shown any bytes"),
    ("lib", "rustls", "re-exported, so that users build configurations of the same version"),
    ("server", "socket2", "its builder takes such a hook"),
    ("tls/key_log", "rustix", "flags of open(2), and its errors, that std has no names for"),
    ("source/acceptor", "rustix", "accept(2)'s errors are told apart by their `Errno` names; no call is made"),
];

/// Who may ask what system this is built for: others take what these choose.
const SYSTEMS: &str = "platform cores net net/linux net/linux/* net/elsewhere net/elsewhere/*";

/// Words that ask so.
const SYSTEM_WORDS: [&str; 4] = ["target_os", "target_vendor", "target_env", "target_family"];

/// Files whose states must be enums.
const BOOL_FREE: &str = "link link/* post post/* source source/*";

const CODE_LINES_MAX: usize = 600;

const FUNCTION_LINES_MAX: usize = 60;

/// File and function of what is longer, and why.
const LONG_FUNCTIONS: [(&str, &str, &str); 2] =
    [("error/alert", "of", "a table of texts"), ("error/fault", "texts", "a table of texts")];

/// What tells a state, a signal, or what is to be done: a new one must be looked at wherever one of these is matched.
const STATES: [&str; 19] = [
    "Phase",
    "Signal",
    "Input",
    "Output",
    "Delivery",
    "Owed",
    "Answering",
    "Goodbye",
    "Security",
    "Step",
    "Role",
    "RoleKind",
    "Origin",
    "Cause",
    "Next",
    "Order",
    "Life",
    "Local",
    "Command",
];

const NO_NAMES: [&str; 5] = ["util", "common", "helpers", "types", "prelude"];

// --- the rules --------------------------------------------------------------------------------------------------------

#[test]
fn every_file_stands_in_a_row() {
    check(
        |file| {
            if file.name == ROOT || row_of(&file.name).is_some() { vec![] } else { vec![(1, "is in no row".into())] }
        },
    );
}

#[test]
fn a_file_names_its_own_row_or_lower_ones() {
    check(names_of_higher_rows);
}

#[test]
fn other_crates_are_named_in_their_places_only() {
    check(names_out_of_place);
}

#[test]
fn every_exception_is_needed() {
    for (name, word, reason) in EXCEPTIONS {
        assert!(!reason.is_empty(), "{name}: {word} needs a reason");
        let file = files().iter().find(|file| file.name == name);
        let names_it = file.is_some_and(|file| file.code.iter().any(|token| token.text == word));
        assert!(names_it, "tests/tidy.rs: src/{name}.rs does not name {word} any more: delete the exception");
    }
}

#[test]
fn few_files_ask_what_system_they_are_built_for() {
    check(systems_asked_for);
}

#[test]
fn links_and_sources_have_no_bool_fields() {
    check(bool_fields);
}

#[test]
fn only_the_reactor_reads_the_clock() {
    check(clock_readings);
}

#[test]
fn no_configured_time_is_added_to_the_clock_where_it_may_overflow() {
    check(unchecked_additions);
}

#[test]
fn nothing_is_unsafe_or_unwrapped() {
    check(unsafe_or_unwrapped);
}

#[test]
fn every_file_opens_with_its_header() {
    check(missing_header);
}

#[test]
fn no_file_is_too_long() {
    check(too_long);
}

#[test]
fn no_function_is_too_long() {
    check(long_functions);
}

#[test]
fn no_state_is_passed_over() {
    check(states_passed_over);
}

#[test]
fn every_name_says_something() {
    check(empty_names);
}

fn row_of(name: &str) -> Option<usize> {
    ROWS.iter().position(|(_, files)| lists(files, name))
}

fn is_exception(name: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|(file, exception, _)| *file == name && *exception == word)
}
