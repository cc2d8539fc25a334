//! The rules: each looks at one file and returns what it finds there.

use crate::source::{File, Findings, find, item_end, lists, paths};
use crate::{
    BOOL_FREE, CLOCK_READERS, CODE_LINES_MAX, FUNCTION_LINES_MAX, LONG_FUNCTIONS, NO_NAMES, PLACES, STATES,
    SYSTEM_WORDS, SYSTEMS, is_exception, row_of,
};
use std::collections::BTreeSet;

pub(crate) fn names_of_higher_rows(file: &File) -> Findings {
    let Some(own) = row_of(&file.name) else { return vec![] };
    let mut findings = Vec::new();
    for (line, path) in paths(file) {
        let module = path.first().map_or("", String::as_str);
        let finding = match row_of(module) {
            Some(row) if row <= own => continue,
            Some(row) => format!("names `{module}` of row {row} and stands in row {own}"),
            None => format!("names `crate::{module}`, which is no module: name where it is made"),
        };
        if findings.last().is_none_or(|(at, what)| *at != line || *what != finding) {
            findings.push((line, finding));
        }
    }
    findings
}

pub(crate) fn names_out_of_place(file: &File) -> Findings {
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

pub(crate) fn systems_asked_for(file: &File) -> Findings {
    if lists(SYSTEMS, &file.name) {
        return vec![];
    }
    let asked = file.code.iter().filter(|token| SYSTEM_WORDS.contains(&token.text.as_str()));
    asked
        .map(|token| (token.line, format!("names {}: take what `net::system` or `platform` has", token.text)))
        .collect()
}

pub(crate) fn bool_fields(file: &File) -> Findings {
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

pub(crate) fn clock_readings(file: &File) -> Findings {
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
pub(crate) fn unchecked_additions(file: &File) -> Findings {
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

pub(crate) fn unsafe_or_unwrapped(file: &File) -> Findings {
    let unsafe_tokens = file.all.iter().filter(|token| token.text == "unsafe");
    let mut findings: Findings = unsafe_tokens.map(|token| (token.line, "unsafe".to_owned())).collect();
    let unwraps = find(&file.code, &[".", "unwrap", "("]);
    findings.extend(unwraps.map(|line| (line, "unwrap: expect, with the invariant".to_owned())));
    findings
}

pub(crate) fn missing_header(file: &File) -> Findings {
    if file.text.starts_with("//! ") { vec![] } else { vec![(1, "does not open with a `//!` header".to_owned())] }
}

pub(crate) fn too_long(file: &File) -> Findings {
    let lines = file.code.iter().map(|token| token.line).collect::<BTreeSet<_>>();
    if lines.len() <= CODE_LINES_MAX {
        return vec![];
    }
    let last = lines.last().copied().unwrap_or(1);
    vec![(last, format!("has {} lines of code, more than {CODE_LINES_MAX}: which noun should leave?", lines.len()))]
}

pub(crate) fn long_functions(file: &File) -> Findings {
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
pub(crate) fn states_passed_over(file: &File) -> Findings {
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

pub(crate) fn empty_names(file: &File) -> Findings {
    let in_path = file.name.split('/').map(|part| (1, part));
    let mods = file.all.windows(2).filter(|pair| pair[0].text == "mod");
    let in_code = mods.map(|pair| (pair[1].line, pair[1].text.as_str()));
    let empty = in_path.chain(in_code).filter(|(_, name)| NO_NAMES.contains(name));
    empty.map(|(line, name)| (line, format!("`{name}` names no noun"))).collect()
}

/// That the rules find what they are for.
mod tests {
    use super::*;
    use crate::source::tokens;

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
        let systems =
            "fn f() -> bool {\n    cfg!(target_os = \"linux\")\n}\n#[cfg(target_vendor = \"apple\")]\nfn g() {}";
        assert_eq!(lines(systems_asked_for(&File::new("post", systems))), [2, 4]);
        assert_eq!(systems_asked_for(&File::new("net/linux/mmsg", systems)), []);
        let fields =
            "struct A<'a> {\n    b: &'a u8,\n    c: Option<bool>,\n}\nfn f(_: bool) -> bool {}\nstruct D(bool);";
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
        let sums =
            "fn f() {\n a(Instant::now() + self.pause);\n b(now + timeout);\n c(now + A_WHILE, now() + A_WHILE);\n}";
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
}
