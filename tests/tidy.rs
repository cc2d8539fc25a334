//! What a program can check of CONVENTIONS.md and of the rows in ARCHITECTURE.md.
//!
//! The rules are the tables below. Each finding says file and line. Sources are read as tokens, so that comments, strings
//! and what stands under `#[cfg(test)]` do not count, unless a rule says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Who may name whom: a file names its own row and those before it. `folder/*` stands for all files of a folder.
const ROWS: [(&str, &str); 8] = [
    (
        "words",
        "address address/* clock config config/* cores cores/* counters document error error/* framing framing/* id platform seldom shown shown/* tls tls/*",
    ),
    ("sockets", "net net/*"),
    ("link", "link link/* post post/*"),
    (
        "loop",
        "handler conn datagrams command command/* dial dial/* mailbox mailbox/* placement context context/* source source/* reactor reactor/*",
    ),
    ("threads", "engine"),
    ("faces", "blocking blocking/* client client/* connector connector/* server server/* settings settings/*"),
    ("models", "fuzzing"),
    ("pages", "guide"),
];

/// Re-exports, and so stands above all rows.
const ROOT: &str = "lib";

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
fn the_rows_are_those_of_the_architecture_page() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page");
    for (number, (row, files)) in ROWS.iter().enumerate() {
        let line = format!("| {number} | {row} | `{files}` |");
        assert!(page.contains(&line), "ARCHITECTURE.md lacks the row\n{line}");
    }
}

#[test]
fn other_crates_are_named_in_their_places_only() {
    check(names_out_of_place);
}

#[test]
fn every_exception_is_needed() {
    for (name, word, reason) in EXCEPTIONS {
        assert!(!reason.is_empty(), "{name}: {word} needs a reason");
        let file = files().into_iter().find(|file| file.name == name);
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

type Findings = Vec<(usize, String)>;

fn names_of_higher_rows(file: &File) -> Findings {
    let Some(own) = row_of(&file.name) else { return vec![] };
    let mut findings = Vec::new();
    for (line, module) in modules_named(file) {
        match row_of(&module) {
            Some(row) if row <= own => {}
            Some(row) => findings.push((line, format!("names `{module}` of row {row} and stands in row {own}"))),
            None => {
                findings.push((line, format!("names `crate::{module}`, which is no module: name where it is made")))
            }
        }
    }
    findings
}

fn names_out_of_place(file: &File) -> Findings {
    let mut findings = Vec::new();
    for (word, places) in PLACES {
        if lists(places, &file.name) || is_exception(&file.name, word) {
            continue;
        }
        let found = file.code.iter().filter(|token| token.text == word);
        findings.extend(found.map(|token| (token.line, format!("names {word}, whose places are: {places}"))));
    }
    findings
}

fn systems_asked_for(file: &File) -> Findings {
    if lists(SYSTEMS, &file.name) {
        return vec![];
    }
    let asked = file.code.iter().filter(|token| SYSTEM_WORDS.contains(&token.text.as_str()));
    asked
        .map(|token| (token.line, format!("names {}: take what `net::system` or `platform` has", token.text)))
        .collect()
}

fn bool_fields(file: &File) -> Findings {
    if !lists(BOOL_FREE, &file.name) {
        return vec![];
    }
    let mut findings = Vec::new();
    for at in 0..file.code.len() {
        if file.code[at].text != "struct" {
            continue;
        }
        let body = &file.code[at..item_end(&file.code, at)];
        let bools = body.iter().filter(|token| matches!(token.text.as_str(), "bool" | "AtomicBool"));
        findings.extend(bools.map(|token| (token.line, "a bool field: name the states in an enum".to_owned())));
    }
    findings
}

fn clock_readings(file: &File) -> Findings {
    if CLOCK_READERS.iter().any(|(name, _)| *name == file.name) {
        return vec![];
    }
    let mut findings = Vec::new();
    for reading in [&["Instant", ":", ":", "now"][..], &["SystemTime", ":", ":", "now"], &[".", "elapsed", "("]] {
        let found = find(&file.code, reading);
        findings.extend(found.map(|line| (line, format!("reads the clock: {}", reading.concat()))));
    }
    findings
}

/// `Instant + Duration` panics where the sum is too far to count: `clock::until` and `Tick::after` do not.
fn unchecked_additions(file: &File) -> Findings {
    if file.name == "clock" {
        return vec![];
    }
    let mut findings = Vec::new();
    for sum in [&["now", "(", ")", "+"][..], &["now", "+"]] {
        for window in file.code.windows(sum.len() + 1) {
            let (head, last) = window.split_at(sum.len());
            // Constants are short.
            let is_constant = last[0].text.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            if head.iter().map(|token| token.text.as_str()).eq(sum.iter().copied()) && !is_constant {
                findings.push((last[0].line, "adds to the clock: take clock::until".to_owned()));
            }
        }
    }
    findings
}

fn unsafe_or_unwrapped(file: &File) -> Findings {
    let unsafe_tokens = file.all.iter().filter(|token| token.text == "unsafe");
    let mut findings: Findings = unsafe_tokens.map(|token| (token.line, "unsafe".to_owned())).collect();
    let unwraps = find(&file.code, &[".", "unwrap", "("]);
    findings.extend(unwraps.map(|line| (line, "unwrap: expect, with the invariant".to_owned())));
    findings
}

fn missing_header(file: &File) -> Findings {
    if file.text.starts_with("//! ") { vec![] } else { vec![(1, "does not open with a `//!` header".to_owned())] }
}

fn too_long(file: &File) -> Findings {
    let lines = file.code.iter().map(|token| token.line).collect::<BTreeSet<_>>();
    if lines.len() <= CODE_LINES_MAX {
        return vec![];
    }
    let last = lines.last().copied().unwrap_or(1);
    vec![(last, format!("has {} lines of code, more than {CODE_LINES_MAX}: which noun should leave?", lines.len()))]
}

fn long_functions(file: &File) -> Findings {
    let mut findings = Vec::new();
    for at in 0..file.code.len() {
        if file.code[at].text != "fn" {
            continue;
        }
        let body = &file.code[at..item_end(&file.code, at)];
        let lines = body.iter().map(|token| token.line).collect::<BTreeSet<_>>().len();
        let name = body.get(1).map_or("", |token| token.text.as_str());
        let is_allowed = LONG_FUNCTIONS.iter().any(|(file_name, long, _)| *file_name == file.name && *long == name);
        if lines > FUNCTION_LINES_MAX && !is_allowed {
            findings.push((file.code[at].line, format!("a function of {lines} lines, more than {FUNCTION_LINES_MAX}")));
        }
    }
    findings
}

/// An arm `_` beside arms that name a state. What stands in the arms' own braces is theirs.
fn states_passed_over(file: &File) -> Findings {
    let text = |at: usize| file.code.get(at).map_or("", |token| token.text.as_str());
    let mut findings = Vec::new();
    for at in (0..file.code.len()).filter(|at| text(*at) == "match") {
        // The arms begin at the first brace outside of parentheses.
        let mut depth = 0usize;
        let Some(open) = (at..file.code.len()).find(|at| {
            match text(*at) {
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && text(*at) == "{"
        }) else {
            continue;
        };
        let (mut braces, mut is_pattern, mut names_state, mut wildcard) = (0usize, true, false, None);
        for at in open..file.code.len() {
            match text(at) {
                "{" | "(" | "[" => braces += 1,
                "}" | ")" | "]" => braces -= 1,
                "=" if braces == 1 && text(at + 1) == ">" => is_pattern = false,
                _ => {}
            }
            let ends_arm = braces == 1 && (text(at) == "," || text(at) == "}");
            if braces == 0 {
                break;
            }
            if is_pattern && STATES.contains(&text(at)) && text(at + 1) == ":" {
                names_state = true;
            }
            if is_pattern && braces == 1 && text(at) == "_" && text(at + 1) == "=" && text(at - 1) != "|" {
                wildcard = Some(file.code[at].line);
            }
            is_pattern |= ends_arm;
        }
        if let (true, Some(line)) = (names_state, wildcard) {
            findings.push((line, "`_` stands for states: name them".to_owned()));
        }
    }
    findings
}

fn empty_names(file: &File) -> Findings {
    let in_path = file.name.split('/').map(|part| (1, part));
    let mods = file.all.windows(2).filter(|pair| pair[0].text == "mod");
    let in_code = mods.map(|pair| (pair[1].line, pair[1].text.as_str()));
    let empty = in_path.chain(in_code).filter(|(_, name)| NO_NAMES.contains(name));
    empty.map(|(line, name)| (line, format!("`{name}` names no noun"))).collect()
}

// --- the tables -------------------------------------------------------------------------------------------------------

fn lists(list: &str, name: &str) -> bool {
    list.split(' ').any(|entry| match entry.strip_suffix('*') {
        Some(folder) => name.starts_with(folder),
        None => name == entry,
    })
}

fn row_of(name: &str) -> Option<usize> {
    ROWS.iter().position(|(_, files)| lists(files, name))
}

fn is_exception(name: &str, word: &str) -> bool {
    EXCEPTIONS.iter().any(|(file, exception, _)| *file == name && *exception == word)
}

// --- the sources ------------------------------------------------------------------------------------------------------

struct File {
    /// Its path below `src`, without `.rs`.
    name: String,
    text: String,
    all: Vec<Token>,
    /// Those that do not stand under `#[cfg(test)]`.
    code: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
struct Token {
    line: usize,
    /// A word, one other character, or a quote for a literal in quotes.
    text: String,
}

impl File {
    fn new(name: &str, text: &str) -> File {
        let all = tokens(text);
        let code = without_tests(&all);
        File { name: name.to_owned(), text: text.to_owned(), all, code }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    let src = root().join("src");
    let mut folders = vec![src.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&src).expect("below src").with_extension("");
                let name = below.to_string_lossy().replace('\\', "/");
                files.push(File::new(&name, &fs::read_to_string(&path).expect("a source")));
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(files.iter().any(|file| file.name == ROOT), "src/lib.rs was not found");
    files
}

/// Applies a rule to every file, and fails with all that it finds.
fn check(rule: impl Fn(&File) -> Findings) {
    let mut report = String::new();
    for file in files() {
        for (line, what) in rule(&file) {
            report += &format!("\nsrc/{}.rs:{line}: {what}", file.name);
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// The lines on which a sequence of tokens begins.
fn find<'a>(code: &'a [Token], sequence: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let starts = code
        .windows(sequence.len())
        .filter(|window| window.iter().map(|token| token.text.as_str()).eq(sequence.iter().copied()));
    starts.map(|window| window[0].line)
}

/// Where the item that begins at `at` ends: behind its `;`, or behind the braces that close it.
fn item_end(code: &[Token], at: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in code.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && token.text == "}" {
                    return index + 1;
                }
            }
            ";" if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

fn without_tests(all: &[Token]) -> Vec<Token> {
    let mut code = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
        let here = all[at..].iter().take(attribute.len()).map(|token| token.text.as_str());
        if here.eq(attribute) {
            at = item_end(all, at + attribute.len());
        } else {
            code.push(all[at].clone());
            at += 1;
        }
    }
    code
}

/// Every module that a path of `file` begins with, as seen from the crate's root: `crate::x`, `super::x`, and each branch
/// of `crate::{…}`.
fn modules_named(file: &File) -> Vec<(usize, String)> {
    let code = &file.code;
    let word = |at: usize| code.get(at).map_or("", |token| token.text.as_str());
    let leads_on = |at: usize| word(at + 1) == ":" && word(at + 2) == ":";
    let mut named = Vec::new();
    for start in 0..code.len() {
        let mut at = start;
        let above = match word(start) {
            "crate" => Some(0),
            "super" if start < 3 || word(start - 3) != "super" => {
                let mut depth = file.name.split('/').count();
                while word(at + 3) == "super" && leads_on(at) {
                    at += 3;
                    depth = depth.saturating_sub(1);
                }
                Some(depth.saturating_sub(1))
            }
            _ => None,
        };
        // Whatever lies below a module of this file's own folder stands in the same row.
        if above == Some(0) && leads_on(at) {
            named.extend(branches(code, at + 3));
        }
    }
    named
}

/// The first words of a path's rest: one, or those of a group.
fn branches(code: &[Token], at: usize) -> Vec<(usize, String)> {
    let Some(first) = code.get(at) else { return vec![] };
    if first.text != "{" {
        return vec![(first.line, first.text.clone())];
    }
    let mut named = Vec::new();
    let mut depth = 0usize;
    for (index, token) in code.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            _ => {}
        }
        let begins = matches!(code[index - 1].text.as_str(), "{" | ",");
        if depth == 1 && begins && !matches!(token.text.as_str(), "{" | "," | "}") {
            named.push((token.line, token.text.clone()));
        }
    }
    named
}

// --- tokens -----------------------------------------------------------------------------------------------------------

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let rest = &chars[at..];
        let (length, word) = match token_length(rest) {
            Piece::Nothing(length) => (length, None),
            Piece::Literal(length) => (length, Some("\"".to_owned())),
            Piece::Token(length) => (length, Some(rest[..length].iter().collect())),
        };
        tokens.extend(word.map(|text| Token { line, text }));
        line += rest[..length].iter().filter(|c| **c == '\n').count();
        at += length;
    }
    tokens
}

/// What stands first, and how many characters it has.
enum Piece {
    /// Space or a comment.
    Nothing(usize),
    /// Something in quotes.
    Literal(usize),
    Token(usize),
}

fn token_length(rest: &[char]) -> Piece {
    let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
    match rest {
        ['/', '/', ..] => Piece::Nothing(length_until(rest, |c| c == '\n')),
        ['/', '*', ..] => Piece::Nothing(block_comment_length(rest)),
        ['"', ..] => Piece::Literal(quoted_length(rest, '"')),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Piece::Literal(quoted_length(rest, '\'')),
        [c, ..] if c.is_whitespace() => Piece::Nothing(1),
        [c, ..] if is_word(c) => {
            let word = length_until(rest, |c| !is_word(&c));
            let hashes = length_until(&rest[word..], |c| c != '#');
            let ends_raw = rest[..word].last() == Some(&'r') && word <= 2;
            match rest.get(word + hashes) {
                Some('"') if ends_raw => Piece::Literal(word + hashes + raw_length(&rest[word + hashes..], hashes)),
                _ => Piece::Token(word),
            }
        }
        _ => Piece::Token(1),
    }
}

fn length_until(rest: &[char], end: impl Fn(char) -> bool) -> usize {
    rest.iter().position(|c| end(*c)).unwrap_or(rest.len())
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_length(rest: &[char], hashes: usize) -> usize {
    let closes = |at: usize| rest[at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    (1..rest.len()).find(|at| closes(*at)).map_or(rest.len(), |at| at + 1 + hashes)
}

// --- the rules find what they are for ---------------------------------------------------------------------------------

fn lines(findings: Findings) -> Vec<usize> {
    findings.into_iter().map(|(line, _)| line).collect()
}

#[test]
fn a_path_upwards_is_found_however_it_is_written() {
    let upwards = [
        "use crate::reactor::Reactor;",
        "use crate::{address::Address, reactor::{self, Table}};",
        "use crate::{\n    reactor::Reactor};",
        "fn f(_: &crate::reactor::Reactor) {}",
        "use super::super::reactor::Reactor;",
        "use crate::Reactor;",
        "use crate::*;",
    ];
    for text in upwards {
        assert_eq!(names_of_higher_rows(&File::new("link/phase", text)).len(), 1, "{text}");
    }
    assert_eq!(lines(names_of_higher_rows(&File::new("id", "\nuse super::conn::Conn;"))), [2]);
    let level = [
        "use crate::{clock::{self, Tick}, config::Limits};",
        "use super::outbox::Outbox;",
        "pub(crate) fn f() {}",
        "// use crate::reactor::Reactor;",
        "const TEXT: &str = \"crate::reactor::\";",
        "#[cfg(test)]\nmod tests {\n    use crate::reactor::Reactor;\n}",
    ];
    for text in level {
        assert_eq!(names_of_higher_rows(&File::new("link/phase", text)), [], "{text}");
    }
}

#[test]
fn what_is_out_of_place_is_found() {
    assert_eq!(
        lines(names_out_of_place(&File::new("link", "\nuse mio::Token;\nfn f() { slab::Slab::new(); }"))),
        [2, 3]
    );
    assert_eq!(names_out_of_place(&File::new("config", "fn f(_: &socket2::Socket) {}")), []);
    let systems = "fn f() -> bool {\n    cfg!(target_os = \"linux\")\n}\n#[cfg(target_vendor = \"apple\")]\nfn g() {}";
    assert_eq!(lines(systems_asked_for(&File::new("post", systems))), [2, 4]);
    assert_eq!(systems_asked_for(&File::new("net/linux/mmsg", systems)), []);
    let fields = "struct A<'a> {\n    b: &'a u8,\n    c: Option<bool>,\n}\nfn f(_: bool) -> bool {}\nstruct D(bool);";
    assert_eq!(lines(bool_fields(&File::new("link/inbox", fields))), [3, 6]);
    assert_eq!(bool_fields(&File::new("net", fields)), []);
    let clock = "fn f() { let a = Instant::now(); }\nfn g() { a.elapsed(); }";
    assert_eq!(lines(clock_readings(&File::new("turn", clock))), [1, 2]);
    assert_eq!(clock_readings(&File::new("reactor/core", clock)), []);
}

#[test]
fn what_must_not_be_is_found() {
    let text = "fn f() { a\n    .unwrap(); }\n#[cfg(test)]\nmod tests {\n    fn g() { b.unwrap(); unsafe {} }\n}";
    assert_eq!(lines(unsafe_or_unwrapped(&File::new("turn", text))), [5, 2]);
    assert_eq!(unsafe_or_unwrapped(&File::new("lib", "#![forbid(unsafe_code)]\nfn f() { a.unwrap_or(0); }")), []);
    assert_eq!(lines(missing_header(&File::new("turn", "// no header\n"))), [1]);
    let sums = "fn f() {\n a(Instant::now() + self.pause);\n b(now + timeout);\n c(now + A_WHILE, now() + A_WHILE);\n}";
    assert_eq!(lines(unchecked_additions(&File::new("client", sums))), [2, 3]);
    assert_eq!(unchecked_additions(&File::new("clock", sums)), []);
    assert_eq!(lines(empty_names(&File::new("net/util", "mod common {}"))), [1, 1]);
    let long = format!("fn f() {{\n}}\nfn g() {{\n{}}}", "a();\n".repeat(FUNCTION_LINES_MAX - 1));
    assert_eq!(lines(long_functions(&File::new("turn", &long))), [3]);
    let short = format!("fn g() {{\n{}}}", "a();\n".repeat(FUNCTION_LINES_MAX - 2));
    assert_eq!(long_functions(&File::new("turn", &short)), []);
    let matches =
        "fn f() { match (a, b) {\n (Phase::Open, _) => {}\n _ => match c {\n  1 => Phase::Open,\n  _ => d,\n }}}";
    assert_eq!(lines(states_passed_over(&File::new("turn", matches))), [3]);
    let named = "fn f() { match a {\n Phase::Open => match n { 1 => 2, _ => 3 },\n Phase::Closed(_) => 4,\n}}";
    assert_eq!(states_passed_over(&File::new("turn", named)), []);
    let line = "fn f() {}\n\n// a comment\n";
    assert_eq!(too_long(&File::new("turn", &line.repeat(CODE_LINES_MAX))), []);
    assert_eq!(too_long(&File::new("turn", &line.repeat(CODE_LINES_MAX + 1))).len(), 1);
}

#[test]
fn literals_and_lifetimes_are_told_apart() {
    let text = "a<'b> 'c' '\\'' \"d\\\"e\" r#\"f\"g\"# br\"h\" /* i /* j */ k */ l";
    let words: Vec<String> = tokens(text).into_iter().map(|token| token.text).collect();
    assert_eq!(words, ["a", "<", "'", "b", ">", "\"", "\"", "\"", "\"", "\"", "l"]);
}
