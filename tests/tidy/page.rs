//! That the lists of ARCHITECTURE.md say what the code says.
//!
//! Whatever stands in backquotes on the page is compared too: files exist, `name` in `file.rs` is defined there, and
//! `Type::name` belongs to that type.

use crate::ROWS;
use crate::source::{File, Token, files, item_end, root};
use std::collections::{BTreeSet, HashSet};
use std::fs;

const PAGE_LINES_MAX: usize = 350;

const WORDS_MAX: usize = 75;

pub(crate) fn page() -> String {
    fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the page")
}

/// The rows of the table in a section, without its head: each a list of cells.
fn rows(page: &str, section: &str) -> Vec<Vec<String>> {
    let (_, text) = page.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section}"));
    let text = text.split("\n## ").next().unwrap_or(text);
    let table = text.lines().filter(|line| line.starts_with("| "));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = table.skip(1).map(cells).collect();
    assert!(!rows.is_empty(), "the section {section} has no table");
    rows
}

/// What stands in backquotes, outside of blocks of code, with the text between each and the one before it.
fn quoted(page: &str) -> Vec<(String, String)> {
    let text: String = page.split("```").step_by(2).collect();
    let parts: Vec<&str> = text.split('`').collect();
    parts.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

fn text(token: Option<&Token>) -> &str {
    token.map_or("", |token| token.text.as_str())
}

/// Whether `file` defines something with one of these keywords.
fn defines(file: &File, keywords: &[&str], name: &str) -> bool {
    file.all.windows(2).any(|pair| keywords.contains(&pair[0].text.as_str()) && pair[1].text == name)
}

/// The words of each file, and the types that it defines.
struct Index<'a>(Vec<(HashSet<&'a str>, HashSet<&'a str>)>);

impl<'a> Index<'a> {
    fn new(files: &'a [File]) -> Index<'a> {
        let of = |file: &'a File| {
            let words: HashSet<&str> = file.all.iter().map(|token| token.text.as_str()).collect();
            let defines = |pair: &&[Token]| ["struct", "enum", "trait"].contains(&pair[0].text.as_str());
            let types = file.all.windows(2).filter(defines).map(|pair| pair[1].text.as_str()).collect();
            (words, types)
        };
        Index(files.iter().map(of).collect())
    }

    fn is_type(&self, name: &str) -> bool {
        self.0.iter().any(|(_, types)| types.contains(name))
    }

    /// Whether a type has such a function, field, variant or constant, as far as words can say: its file, or one with code
    /// for it, has that word.
    fn belongs(&self, of: &str, name: &str) -> bool {
        let has = |(words, types): &(HashSet<&str>, HashSet<&str>)| {
            let concerns = types.contains(of) || (words.contains("impl") && words.contains(of));
            concerns && words.contains(name)
        };
        self.is_type(of) && self.0.iter().any(has)
    }
}

fn path_exists(path: &str) -> bool {
    // A pattern: its folder.
    let path = path.split('*').next().unwrap_or(path).trim_end_matches('/');
    let below = [root().join("src").join(path), root().join(path)];
    below.iter().any(|path| path.exists()) || root().join("src").join(format!("{path}.rs")).exists()
}

fn is_path(quoted: &str) -> bool {
    let plain = quoted.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./*".contains(c));
    plain
        && !quoted.starts_with('.')
        && (quoted.contains('/') || [".rs", ".md", ".txt"].iter().any(|end| quoted.ends_with(end)))
}

#[test]
fn the_page_is_short() {
    let lines = page().lines().count();
    assert!(lines <= PAGE_LINES_MAX, "ARCHITECTURE.md has {lines} lines, more than {PAGE_LINES_MAX}");
}

#[test]
fn whatever_the_page_quotes_is_there() {
    let (page, files) = (page(), files());
    let index = Index::new(files);
    let mut report = String::new();
    let mut before = String::new();
    for (between, quoted) in quoted(&page) {
        if is_path(&quoted) {
            if !path_exists(&quoted) {
                report += &format!("\n`{quoted}` does not exist");
            } else if between.split_whitespace().eq(["in"]) {
                let name = before.rsplit("::").next().unwrap_or_default().trim_end_matches("()");
                let file = files.iter().find(|file| quoted == format!("{}.rs", file.name));
                let keywords = ["fn", "struct", "enum", "trait", "const", "static"];
                if !file.is_some_and(|file| defines(file, &keywords, name)) {
                    report += &format!("\n`{quoted}` does not define `{name}`");
                }
            }
        } else if let Some((of, name)) = quoted.split_once("::") {
            let name = name.split('(').next().unwrap_or(name);
            if of.starts_with(char::is_uppercase) && !index.belongs(of, name) {
                report += &format!("\n`{quoted}` is not there");
            }
        }
        before = quoted;
    }
    assert!(report.is_empty(), "ARCHITECTURE.md: {report}");
}

#[test]
fn each_word_of_the_list_is_a_type() {
    let (page, index) = (page(), Index::new(files()));
    let rows = rows(&page, "Words");
    let words: Vec<&str> = rows.iter().flat_map(|row| row[0].split(", ")).collect();
    assert!(words.len() <= WORDS_MAX, "{} words, more than {WORDS_MAX}", words.len());
    for (at, word) in words.iter().enumerate() {
        assert!(index.is_type(word), "{word} is no struct, enum or trait in src");
        assert!(!words[..at].contains(word), "{word} is listed twice");
    }
}

#[test]
fn the_rows_are_those_of_the_architecture_page() {
    let page = page();
    for (number, (row, files)) in ROWS.iter().enumerate() {
        let line = format!("| {number} | {row} | `{files}` |");
        assert!(page.contains(&line), "ARCHITECTURE.md lacks the row\n{line}");
    }
}

#[test]
fn the_causes_are_those_of_the_code() {
    let files = files();
    let code = &files.iter().find(|file| file.name == "source").expect("src/source.rs").code;
    let at = code.windows(2).position(|pair| pair[0].text == "enum" && pair[1].text == "Cause").expect("enum Cause");
    let body = &code[at + 3..item_end(code, at) - 1];
    let mut depth = 0usize;
    let mut causes = Vec::new();
    for (index, token) in body.iter().enumerate() {
        match token.text.as_str() {
            "(" | "{" | "<" => depth += 1,
            ")" | "}" | ">" => depth -= 1,
            name if depth == 0 && (index == 0 || body[index - 1].text == ",") => causes.push(format!("`{name}`")),
            _ => {}
        }
    }
    let told: Vec<String> = rows(&page(), "Causes").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(told, causes, "the causes in ARCHITECTURE.md and those of src/source.rs");
}

#[test]
fn every_invariant_that_the_code_cites_is_listed() {
    let page = page();
    let listed: BTreeSet<u32> =
        page.lines().filter_map(|line| line.strip_prefix("- **A")?.split_once("**")?.0.parse().ok()).collect();
    assert!(listed.iter().copied().eq(1..=listed.len() as u32), "numbers without a gap: {listed:?}");
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            for cited in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
                let digits = cited.strip_prefix('A').filter(|digits| (1..=2).contains(&digits.len()));
                let Some(invariant) = digits.and_then(|digits| digits.parse().ok()) else { continue };
                assert!(listed.contains(&invariant), "src/{}.rs:{}: {cited} is no invariant", file.name, number + 1);
            }
        }
    }
}

#[test]
fn a_turn_has_the_steps_that_the_page_says() {
    let (page, files) = (page(), files());
    let (_, section) = page.split_once("\n## One turn\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let steps: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .filter_map(|line| line.split('`').nth(1)?.strip_prefix("Core::"))
        .collect();
    let code = &files.iter().find(|file| file.name == "reactor").expect("src/reactor.rs").code;
    let at = code.windows(2).position(|pair| pair[0].text == "fn" && pair[1].text == "poll_once").expect("poll_once");
    // What begins and ends a turn is in neither.
    let others = ["context", "wait", "begin_turn", "has_mail", "note_poll", "end_turn"];
    let calls: Vec<&str> = code[at..item_end(code, at)]
        .windows(4)
        .filter(|call| call[0].text == "core" && call[1].text == "." && call[3].text == "(")
        .map(|call| call[2].text.as_str())
        .filter(|name| !others.contains(name))
        .collect();
    assert_eq!(steps, calls, "the steps in ARCHITECTURE.md and those of Reactor::poll_once");
}

#[test]
fn the_order_of_callbacks_names_every_callback() {
    let (page, files) = (page(), files());
    let grammar = page.lines().find(|line| line.starts_with("( on_open")).expect("the order of callbacks");
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("on_"));
        words.map(str::to_owned).collect()
    };
    let code = &files.iter().find(|file| file.name == "handler").expect("src/handler.rs").code;
    let at = code.windows(2).position(|pair| pair[0].text == "trait" && pair[1].text == "Handler").expect("the trait");
    let named: Vec<&str> = code[at..item_end(code, at)]
        .windows(2)
        .filter(|pair| pair[0].text == "fn")
        .map(|pair| pair[1].text.as_str())
        .collect();
    assert_eq!(words(grammar), words(&named.join(" ")));
}

// --- bounds -----------------------------------------------------------------------------------------------------------

/// A bound's value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Number(u64),
    Micros(u64),
    /// `None`, or the largest number.
    Off,
}

/// What the code says: numbers, their products and shifts, times, `Some` of these, and `None`.
fn evaluate(code: &[Token]) -> Option<Value> {
    let words: Vec<&str> = code.iter().map(|token| token.text.as_str()).collect();
    match words[..] {
        ["None"] | ["usize", ":", ":", "MAX"] => Some(Value::Off),
        ["Some", "(", .., ")"] => evaluate(&code[2..code.len() - 1]),
        ["Duration", ":", ":", unit, "(", .., ")"] => {
            let micros = match unit {
                "from_secs" => 1_000_000,
                "from_millis" => 1000,
                "from_micros" => 1,
                _ => return None,
            };
            let Value::Number(units) = evaluate(&code[5..code.len() - 1])? else { return None };
            Some(Value::Micros(units * micros))
        }
        [number] => Some(Value::Number(number.replace('_', "").parse().ok()?)),
        [.., "*", last] => {
            let (Value::Number(a), Value::Number(b)) =
                (evaluate(&code[..code.len() - 2])?, evaluate(&code[code.len() - 1..])?)
            else {
                return None;
            };
            assert!(!last.is_empty());
            Some(Value::Number(a * b))
        }
        [number, "<", "<", bits] => Some(Value::Number(number.parse::<u64>().ok()? << bits.parse::<u32>().ok()?)),
        _ => None,
    }
}

/// What the page says: `64 KiB`, `1,024`, `250 ms`, `off`.
fn read(cell: &str) -> Option<Value> {
    if cell == "off" {
        return Some(Value::Off);
    }
    let (number, unit) = cell.split_once(' ').unwrap_or((cell, ""));
    let number: u64 = number.replace(',', "").parse().ok()?;
    Some(match unit {
        "" => Value::Number(number),
        "KiB" => Value::Number(number << 10),
        "MiB" => Value::Number(number << 20),
        "s" => Value::Micros(number * 1_000_000),
        "ms" => Value::Micros(number * 1000),
        "us" => Value::Micros(number),
        _ => return None,
    })
}

/// The value of a constant, or the default of a field `Struct::field`.
fn value_of<'a>(file: &'a File, bound: &str) -> Option<&'a [Token]> {
    let code = &file.code;
    let (from, to, name) = match bound.split_once("::") {
        Some((of, field)) => {
            let is_default = |at: usize| {
                text(code.get(at)) == "impl" && text(code.get(at + 1)) == "Default" && text(code.get(at + 3)) == of
            };
            let at = (0..code.len()).find(|at| is_default(*at))?;
            (at, item_end(code, at), field)
        }
        None => (0, code.len(), bound),
    };
    let is_it = |at: usize| {
        text(code.get(at)) == name && text(code.get(at + 1)) == ":" && (from > 0 || text(code.get(at - 1)) == "const")
    };
    let at = (from.max(1)..to).find(|at| is_it(*at))?;
    // A constant has its type in between.
    let begin = if from > 0 { at + 2 } else { (at..to).find(|at| text(code.get(*at)) == "=")? + 1 };
    let mut depth = 0usize;
    let end = (begin..to).find(|at| {
        match text(code.get(*at)) {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(text(code.get(*at)), "," | ";" | "}")
    })?;
    Some(&code[begin..end])
}

#[test]
fn the_bounds_have_the_names_and_defaults_that_the_page_says() {
    let files = files();
    let mut report = String::new();
    for row in rows(&page(), "Bounds") {
        let [_, bounds, defaults, place] = &row[..] else { panic!("four cells: {row:?}") };
        let place = place.trim_matches('`');
        let Some(file) = files.iter().find(|file| place == format!("{}.rs", file.name)) else {
            report += &format!("\n{bounds}: there is no {place}");
            continue;
        };
        let (bounds, defaults): (Vec<_>, Vec<_>) = (bounds.split(" / ").collect(), defaults.split(" / ").collect());
        assert_eq!(bounds.len(), defaults.len(), "a default for each bound: {row:?}");
        for (bound, default) in bounds.iter().zip(defaults) {
            let bound = bound.trim_matches('`');
            match value_of(file, bound) {
                None => report += &format!("\n{bound} is not in {place}"),
                Some(code) if evaluate(code).is_none() || evaluate(code) != read(default) => {
                    let code: Vec<&str> = code.iter().map(|token| token.text.as_str()).collect();
                    report += &format!("\n{bound} is {} in {place}, and {default} on the page", code.join(" "));
                }
                Some(_) => {}
            }
        }
    }
    assert!(report.is_empty(), "ARCHITECTURE.md: {report}");
}

#[test]
fn a_value_is_read_as_it_is_written_on_either_side() {
    let cases = [
        ("const A: usize = 64 * 1024;", "64 KiB"),
        ("const A: u64 = 64 << 20;", "64 MiB"),
        ("const A: usize = 65_536;", "65,536"),
        ("const A: Duration = Duration::from_millis(250);", "250 ms"),
        ("const A: usize = usize::MAX;", "off"),
    ];
    for (code, told) in cases {
        let file = File::new("a", code);
        assert_eq!(value_of(&file, "A").and_then(evaluate), read(told), "{code}");
        assert!(read(told).is_some(), "{told}");
    }
    let text = "struct L { f: Option<u8> }\nimpl Default for L { fn default() -> L { L { e: 1, f: Some(2 * 3) } } }";
    let file = File::new("a", text);
    assert_eq!(value_of(&file, "L::f").and_then(evaluate), Some(Value::Number(6)));
    assert_eq!(value_of(&file, "L::g"), None);
}
