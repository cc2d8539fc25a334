//! Every type that `lib.rs` exports has an example in its documentation.

use crate::source::files;

/// What is not our own.
const FOREIGN: &str = "Bytes";

#[test]
fn every_exported_type_has_an_example() {
    let root = files().iter().find(|file| file.name == "lib").expect("lib.rs");
    let exports = root.text.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let words = exports.flat_map(|export| export.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let names: Vec<&str> = words.filter(|word| word.starts_with(char::is_uppercase) && *word != FOREIGN).collect();
    assert!(names.len() > 100, "{names:?}");
    let without: Vec<&&str> = names.iter().filter(|name| !has_example(name)).collect();
    assert!(without.is_empty(), "without an example: {without:?}");
}

fn has_example(name: &str) -> bool {
    let items = ["struct", "enum", "trait"].map(|kind| format!("pub {kind} {name}"));
    let is_item = |line: &str| {
        let end = |item: &String| line.trim_start().strip_prefix(item.as_str()).map(|rest| rest.chars().next());
        items.iter().filter_map(end).any(|next| next.is_none_or(|c| !c.is_alphanumeric() && c != '_'))
    };
    files().iter().any(|file| {
        let lines: Vec<&str> = file.text.lines().collect();
        let item = lines.iter().position(|line| is_item(line));
        let above = item.map(|at| lines[..at].iter().rev().take_while(|line| !line.is_empty()));
        above.is_some_and(|mut above| above.any(|line| line.contains("/// ```")))
    })
}
