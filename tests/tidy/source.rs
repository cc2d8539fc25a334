//! The sources as tokens, and the paths in them.

use crate::ROOT;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// Line and text of each finding of one file.
pub(crate) type Findings = Vec<(usize, String)>;

pub(crate) struct File {
    /// Its path below `src`, without `.rs`.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) all: Vec<Token>,
    /// Those that do not stand under `#[cfg(test)]`.
    pub(crate) code: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) line: usize,
    /// A word, one other character, or a quote for a literal in quotes.
    pub(crate) text: String,
}

impl File {
    pub(crate) fn new(name: &str, text: &str) -> File {
        let all = tokens(text);
        let code = without_tests(&all);
        File { name: name.to_owned(), text: text.to_owned(), all, code }
    }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All sources, read once.
pub(crate) fn files() -> &'static [File] {
    static FILES: LazyLock<Vec<File>> = LazyLock::new(read_files);
    &FILES
}

fn read_files() -> Vec<File> {
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
pub(crate) fn check(rule: impl Fn(&File) -> Findings) {
    let mut report = String::new();
    for file in files() {
        for (line, what) in rule(file) {
            report += &format!("\nsrc/{}.rs:{line}: {what}", file.name);
        }
    }
    assert!(report.is_empty(), "{report}");
}

/// The lines on which a sequence of tokens begins.
pub(crate) fn find<'a>(code: &'a [Token], sequence: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let starts = code
        .windows(sequence.len())
        .filter(|window| window.iter().map(|token| token.text.as_str()).eq(sequence.iter().copied()));
    starts.map(|window| window[0].line)
}

/// Where the item that begins at `at` ends: behind its `;`, or behind the braces that close it.
pub(crate) fn item_end(code: &[Token], at: usize) -> usize {
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

pub(crate) fn without_tests(all: &[Token]) -> Vec<Token> {
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

pub(crate) fn lists(list: &str, name: &str) -> bool {
    list.split(' ').any(|entry| match entry.strip_suffix('*') {
        Some(folder) => name.starts_with(folder),
        None => name == entry,
    })
}

/// The paths in `file` that begin with `crate::` or `super::`, each branch of a group by itself, as seen from the crate's
/// root; with the line of its last word.
pub(crate) fn paths(file: &File) -> Vec<(usize, Vec<String>)> {
    let code = &file.code;
    let word = |at: usize| code.get(at).map_or("", |token| token.text.as_str());
    let leads_on = |at: usize| word(at + 1) == ":" && word(at + 2) == ":";
    let mut found = Vec::new();
    for start in 0..code.len() {
        let mut at = start;
        let mut base: Vec<String> = match word(start) {
            "crate" => vec![],
            // The first of several.
            "super" if start < 3 || word(start - 3) != "super" => file.name.split('/').map(str::to_owned).collect(),
            _ => continue,
        };
        while word(at) == "super" && leads_on(at) {
            base.pop();
            if word(at + 3) != "super" {
                break;
            }
            at += 3;
        }
        if leads_on(at) {
            expand(code, at + 3, &base, &mut found);
        }
    }
    found
}

/// Adds what follows `base` at `at`, a path or a group of them; returns where it ends.
fn expand(code: &[Token], mut at: usize, base: &[String], found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let word = |at: usize| code.get(at).map_or("", |token| token.text.as_str());
    if word(at) == "{" {
        at += 1;
        while at < code.len() && word(at) != "}" {
            at = if word(at) == "," { at + 1 } else { expand(code, at, base, found) };
        }
        return at + 1;
    }
    let mut path = base.to_vec();
    loop {
        path.push(word(at).to_owned());
        // A path may go on, but not by arguments of its type.
        if word(at + 1) != ":" || word(at + 2) != ":" || word(at + 3) == "<" {
            break;
        }
        at += 3;
        if word(at) == "{" {
            return expand(code, at, &path, found);
        }
    }
    found.push((code.get(at).map_or(0, |token| token.line), path));
    if word(at + 1) == "as" { at + 3 } else { at + 1 }
}

// --- tokens -----------------------------------------------------------------------------------------------------------

pub(crate) fn tokens(text: &str) -> Vec<Token> {
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
