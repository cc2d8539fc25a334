//! What users read is plain English: no phrase of the list below, in the pages and in the texts of errors.
//!
//! Pages are README.md, the other pages for strangers, and the guide. Of the sources, the texts of `#[error(…)]` count, and all
//! literals below `src/error`. Blocks of code on a page do not count, except their comments.

use crate::source::{files, root};
use std::fs;

/// Phrase, and what to write instead. A phrase begins and ends at the border of a word.
const PHRASES: [(&str, &str); 43] = [
    ("is told", "say who calls, returns or reports what"),
    ("are told", "say who calls, returns or reports what"),
    ("may be told", "say who calls, returns or reports what"),
    ("is told by", "say who calls, returns or reports what"),
    ("comes along", "\"each state change\""),
    ("come to an end", "ends"),
    ("comes to an end", "ends"),
    ("came to an end", "ended"),
    ("came to nothing", "was not delivered, or failed"),
    ("came to no good end", "failed, or was never established"),
    ("stands against", "prevents"),
    ("what stands", "what is"),
    ("is owed", "name what follows, and after what"),
    ("settle", "name what is done"),
    ("settles", "name what is done"),
    ("pays", "name what is done"),
    ("whoever", "\"a program that\", \"a peer that\""),
    ("for ever", "forever, or without limit"),
    ("of rustls'", "of rustls"),
    ("tls in the middle", "upgrading to TLS (STARTTLS)"),
    ("begun in the middle", "upgrading to TLS (STARTTLS)"),
    ("threads that wait", "blocking"),
    ("after our end", "after we close"),
    ("cuts what is left", "closes the remaining connections"),
    ("of another house", "plain, foreign, or its name"),
    ("of other houses", "plain, foreign, or their names"),
    ("dearest", "most expensive"),
    ("the way in for", "a handle"),
    ("the way into", "a handle"),
    ("goes nowhere", "must be at least 1"),
    ("has this id any more", "no such connection (already closed)"),
    ("the socket tells", "socket error"),
    ("a fiftieth", "2 %"),
    ("has troubled nobody", "is not an error"),
    ("as there may be", "limit reached"),
    ("cannot work", "is invalid"),
    ("eaten", "consumed"),
    ("rouse", "wake"),
    ("gone without", "ignored, or not used"),
    ("in silence", "silently, without an error"),
    ("made anew", "recreated"),
    ("cannot be told from", "cannot be distinguished from"),
    ("take leave", "close"),
];

/// `too` at the end of a sentence or clause reads as a translation; `also` before what it belongs to does not.
const TOO: [&str; 4] = [", too.", ", too;", ", too:", ", too |"];

const PAGES: [&str; 4] = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "RELEASING.md"];

/// The lines and phrases that are found in a text. A phrase may be broken over two lines.
fn found(text: &str) -> Vec<(usize, String)> {
    let lower = text.to_ascii_lowercase().replace('\n', " ");
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let mut found = Vec::new();
    for (phrase, instead) in PHRASES {
        for (at, _) in lower.match_indices(phrase) {
            let (before, behind) = (lower[..at].chars().next_back(), lower[at + phrase.len()..].chars().next());
            if !is_word(before) && !is_word(behind) {
                found.push((line_of(at), format!("\"{phrase}\": write {instead}")));
            }
        }
    }
    for phrase in TOO {
        let too = lower.match_indices(phrase);
        found.extend(too.map(|(at, _)| (line_of(at), format!("\"{phrase}\": write \"also\" before where it belongs"))));
    }
    found.sort();
    found
}

/// A page with its blocks of code blanked, except comments; the lines stay.
fn prose(page: &str) -> String {
    let mut in_code = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if in_code {
            prose += line.split_once("//").map_or("", |(_, comment)| comment);
        } else {
            prose += line;
        }
        prose.push('\n');
    }
    prose
}

/// The literals in quotes of a source, with all else blanked; the lines stay. `only_errors` keeps those of `#[error(…)]` alone.
fn literals(source: &str, only_errors: Option<&str>) -> String {
    let mut texts = String::new();
    let (mut in_text, mut in_scope) = (false, only_errors.is_none());
    for line in source.lines() {
        let trimmed = line.trim_start();
        let is_comment = !in_text && trimmed.starts_with("//");
        in_scope |= only_errors.is_some_and(|attribute| trimmed.starts_with(attribute));
        let mut before = ' ';
        for c in line.chars().filter(|_| !is_comment && in_scope) {
            if c == '"' && before != '\\' {
                in_text = !in_text;
                texts.push(' ');
            } else if in_text {
                texts.push(c);
            }
            before = c;
        }
        in_scope &= only_errors.is_none() || !trimmed.ends_with(")]");
        texts.push('\n');
    }
    texts
}

#[test]
fn what_users_read_is_plain_english() {
    let mut pages: Vec<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    for entry in fs::read_dir(root().join("guide")).expect("the guide") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") {
            pages.push(format!("guide/{name}"));
        }
    }
    pages.sort();
    let mut report = String::new();
    for page in &pages {
        let text = fs::read_to_string(root().join(page)).expect("a page");
        for (line, what) in found(&prose(&text)) {
            report += &format!("\n{page}:{line}: {what}");
        }
    }
    for file in files() {
        let is_of_errors = file.name == "error" || file.name.starts_with("error/");
        for (line, what) in found(&literals(&file.text, if is_of_errors { None } else { Some("#[error(") })) {
            report += &format!("\nsrc/{}.rs:{line}: {what}", file.name);
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// That the rule finds what it is for.
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        found(text).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_phrase_is_found_wherever_it_stands_and_only_as_whole_words() {
        assert_eq!(lines("The handler is\ntold.\nIt pays."), [1, 3]);
        assert_eq!(lines("for every end, beaten, settled, payslip"), [] as [usize; 0]);
        assert_eq!(lines("so are these, too.\nTwo, too many"), [1]);
        assert_eq!(lines(&prose("whoever\n```\nlet whoever = 1; // of another house\n```\nwhoever")), [1, 3, 5]);
    }

    #[test]
    fn only_texts_of_errors_count_in_sources() {
        let source = "/// whoever\n#[error(\"whoever\")]\nlet a = \"whoever\";\n#[error(\n    \"whoever\"\n)]\nB,";
        assert_eq!(lines(&literals(source, Some("#[error("))), [2, 5]);
        assert_eq!(lines(&literals(source, None)), [2, 3, 5]);
    }
}
