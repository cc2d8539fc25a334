//! Which files name each other in a circle.
//!
//! A file names another one by a path that begins with `crate::` or `super::`. What a module takes out of its own folder
//! (`use phase::Phase` in `link.rs`) does not count: the folder is the inside of its module.

use crate::source::{File, files, paths};
use std::collections::{BTreeMap, BTreeSet};

/// Name, files and reason of each circle.
const CIRCLES: [(&str, &str, &str); 2] = [
    (
        "loop",
        "command command/batch conn context datagrams dial dial/resolver handler mailbox placement reactor/table source source/connection source/endpoint",
        "a callback is lent the table, so the contract names the table, the table names the sources, and the sources call the contract; orders and closures carry handlers and links to them",
    ),
    (
        "link",
        "link/buffers link/cold link/handshake link/inbox link/input link/outbox link/records link/session",
        "the pool in `link/buffers.rs` keeps the emptied parts of links for reuse, and each part takes its memory from the pool",
    ),
];

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Which files each file names.
fn graph(files: &[File]) -> Graph {
    let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let file_of = |path: &[String]| {
        let ends = (1..=path.len()).rev();
        ends.map(|end| path[..end].join("/")).find(|name| names.contains(name.as_str()))
    };
    let named = |file: &File| paths(file).iter().filter_map(|(_, path)| file_of(path)).collect();
    files.iter().map(|file| (file.name.clone(), named(file))).collect()
}

/// The files that can be reached from `from`.
fn reached(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = next.pop() {
        for other in graph.get(&name).into_iter().flatten() {
            if reached.insert(other.clone()) {
                next.push(other.clone());
            }
        }
    }
    reached
}

/// The strongly connected components of more than one file.
fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reach: BTreeMap<&str, _> = graph.keys().map(|name| (name.as_str(), reached(graph, name))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (name, others) in &reach {
        let both: BTreeSet<String> = others
            .iter()
            .filter(|other| reach.get(other.as_str()).is_some_and(|back| back.contains(*name)))
            .cloned()
            .collect();
        if both.len() > 1 && !circles.contains(&both) {
            circles.push(both);
        }
    }
    circles
}

#[test]
fn files_name_each_other_only_in_the_circles_that_are_listed() {
    let found = circles(&graph(files()));
    let listed: Vec<(&str, BTreeSet<String>)> =
        CIRCLES.iter().map(|(name, files, _)| (*name, files.split(' ').map(str::to_owned).collect())).collect();
    let mut report = String::new();
    for circle in &found {
        match listed.iter().max_by_key(|(_, files)| files.intersection(circle).count()) {
            Some((name, files)) if !files.is_disjoint(circle) => {
                let (new, gone): (Vec<_>, Vec<_>) =
                    (circle.difference(files).collect(), files.difference(circle).collect());
                if !new.is_empty() {
                    report += &format!("\n{new:?} entered the circle `{name}`: move what they name, or list them");
                }
                if !gone.is_empty() {
                    report += &format!("\n{gone:?} left the circle `{name}`: delete them from the list");
                }
            }
            _ => report += &format!("\na new circle: {circle:?}"),
        }
    }
    for (name, files) in &listed {
        if found.iter().all(|circle| circle.is_disjoint(files)) {
            report += &format!("\nthe circle `{name}` is dissolved: delete it");
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn the_circles_are_those_of_the_architecture_page() {
    let page = crate::page::page();
    for (name, files, reason) in CIRCLES {
        let line = format!("| {name} | `{files}` | {reason} |");
        assert!(page.contains(&line), "ARCHITECTURE.md lacks the circle\n{line}");
    }
}

#[test]
fn a_circle_is_found_however_its_paths_are_written() {
    let files = [
        File::new("a", "use crate::{b::{c::C, D}, x};\nmod inside;"),
        File::new("a/inside", "fn f(_: super::super::y::Y) {}"),
        File::new("b", "// use crate::a::A;\n#[cfg(test)]\nmod tests { use crate::a::A; }"),
        File::new("b/c", "fn f(_: crate::a::inside::I<crate::x::X>) {}"),
        File::new("x", "use crate::y::Y as Z;"),
        File::new("y", "use super::a::A;"),
    ];
    let names = |names: &str| names.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(circles(&graph(&files)), [names("a a/inside b/c x y")]);
    let tree = [File::new("a", "use crate::b::B;"), File::new("b", "fn f() -> C { c::new() }"), File::new("b/c", "")];
    assert_eq!(circles(&graph(&tree)), Vec::<BTreeSet<String>>::new());
}
